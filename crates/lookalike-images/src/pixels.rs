//! The pixels of an image.

use std::fmt;
use std::str::FromStr;

use crate::error::ImageError;

/// The longest side an image may have; products of two sides and three channels stay far from
/// overflow.
pub(crate) const MAX_SIDE: usize = 65_535;

/// 8-bit pixels, rows top to bottom, channels interleaved (height x width x channels).
///
/// There is 1 channel (grey) or there are 3 (red, green, blue), as in an ordinary PNG (sRGB, 0 is
/// black).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    width: usize,
    height: usize,
    channels: usize,
    data: Vec<u8>,
}

/// A rectangle of an image, in pixels from its upper left corner. It is written `x,y,width,height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width, at least 1.
    pub width: usize,
    /// Height, at least 1.
    pub height: usize,
}

impl Region {
    /// The pixels of a copy of another size that a region of the whole picture touches.
    fn on_copy(self, whole: (usize, usize), copy: (usize, usize)) -> Result<Self, ImageError> {
        let inside = |start: usize, length: usize, whole: usize| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
        };
        if !inside(self.x, self.width, whole.0) || !inside(self.y, self.height, whole.1) {
            return Err(ImageError::Region {
                region: self,
                width: whole.0,
                height: whole.1,
            });
        }
        let along = |start: usize, length: usize, whole: usize, side: usize| {
            let first = (start * side / whole).min(side - 1);
            let end = ((start + length) * side).div_ceil(whole).min(side);
            (first, end.saturating_sub(first).max(1))
        };
        let (x, width) = along(self.x, self.width, whole.0, copy.0);
        let (y, height) = along(self.y, self.height, whole.1, copy.1);
        Ok(Self {
            x,
            y,
            width,
            height,
        })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.x, self.y, self.width, self.height)
    }
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<usize>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[x, y, width, height]) if width > 0 && height > 0 => Ok(Self {
                x,
                y,
                width,
                height,
            }),
            _ => Err("expected X,Y,WIDTH,HEIGHT in pixels, as in 10,20,100,80".to_owned()),
        }
    }
}

impl Pixels {
    /// Takes `data` of exactly `height * width * channels` bytes.
    ///
    /// # Errors
    ///
    /// When `channels` is neither 1 nor 3, a side is 0 or above 65,535, or `data` has another
    /// length.
    pub fn new(
        width: usize,
        height: usize,
        channels: usize,
        data: Vec<u8>,
    ) -> Result<Self, ImageError> {
        if channels != 1 && channels != 3 {
            return Err(ImageError::Channels { channels });
        }
        let side = 1..=MAX_SIDE;
        if !side.contains(&width) || !side.contains(&height) {
            return Err(ImageError::Sides { width, height });
        }
        let expected = width * height * channels;
        if data.len() != expected {
            return Err(ImageError::DataLength {
                width,
                height,
                channels,
                expected,
                found: data.len(),
            });
        }
        Ok(Self::trusted(width, height, channels, data))
    }

    /// For callers inside the crate whose parts fit by construction.
    pub(crate) fn trusted(width: usize, height: usize, channels: usize, data: Vec<u8>) -> Self {
        debug_assert_eq!(data.len(), width * height * channels);
        Self {
            width,
            height,
            channels,
            data,
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// 1 (grey) or 3 (red, green, blue).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The bytes, `height * width * channels` of them.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The bytes, given away.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// The part of it that a region covers.
    ///
    /// # Errors
    ///
    /// When the region reaches beyond the image, or is empty.
    pub fn crop(&self, region: Region) -> Result<Self, ImageError> {
        self.crop_of(region, (self.width, self.height))
    }

    /// As [`crop`](Self::crop), of a smaller copy of a picture of the width and height `whole`,
    /// whose pixels the region counts: all that it touches.
    ///
    /// # Errors
    ///
    /// When the region reaches beyond the whole picture, or is empty.
    pub fn crop_of(&self, region: Region, whole: (usize, usize)) -> Result<Self, ImageError> {
        let Region {
            x,
            y,
            width,
            height,
        } = region.on_copy(whole, (self.width, self.height))?;
        let row = self.width * self.channels;
        let rows = self.data.chunks_exact(row).skip(y).take(height);
        let columns = x * self.channels..(x + width) * self.channels;
        let data = rows
            .flat_map(|row| &row[columns.clone()])
            .copied()
            .collect();
        Ok(Self::trusted(width, height, self.channels, data))
    }

    /// The BLAKE3 hash, in hex, of width, height and channels (each a little-endian `u32`) and the
    /// data.
    ///
    /// It says whether two images have the same pixels, whatever files they came from.
    pub fn blake3(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for number in [self.width, self.height, self.channels] {
            // Sides are at most 65,535.
            hasher.update(&(number as u32).to_le_bytes());
        }
        hasher.update(&self.data);
        hasher.finalize().to_hex().to_string()
    }
}

/// A picture as it came from its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The image's name within its source: unique there, and the same at every reading.
    pub key: String,
    /// The class that the data set gives it, if any. Training never reads it.
    pub label: Option<String>,
    /// The picture.
    pub pixels: Pixels,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert!(Pixels::new(2, 3, 1, vec![0; 6]).is_ok());
        assert!(matches!(
            Pixels::new(2, 3, 2, vec![0; 12]),
            Err(ImageError::Channels { channels: 2 })
        ));
        assert!(matches!(
            Pixels::new(0, 3, 1, vec![]),
            Err(ImageError::Sides { .. })
        ));
        assert!(matches!(
            Pixels::new(usize::MAX, usize::MAX, 3, vec![]),
            Err(ImageError::Sides { .. })
        ));
        let error = Pixels::new(2, 3, 3, vec![0; 17]).unwrap_err().to_string();
        assert!(error.contains("18") && error.contains("17"), "{error}");
    }

    #[test]
    fn a_region_means_the_same_part_of_a_smaller_copy() {
        let whole = (1_000, 500);
        let on_copy = |region: &str| {
            let region: Region = region.parse().unwrap();
            region.on_copy(whole, (100, 50)).map(|r| r.to_string())
        };
        assert_eq!(on_copy("0,0,1000,500").unwrap(), "0,0,100,50");
        assert_eq!(on_copy("500,250,500,250").unwrap(), "50,25,50,25");
        assert_eq!(on_copy("999,499,1,1").unwrap(), "99,49,1,1");
        assert_eq!(on_copy("5,5,10,10").unwrap(), "0,0,2,2", "all it touches");
        for outside in ["999,0,2,1", &format!("0,{},1,1", usize::MAX)] {
            let error = on_copy(outside).unwrap_err();
            assert!(matches!(error, ImageError::Region { width: 1_000, .. }));
        }
        let empty = Region {
            x: 0,
            y: 0,
            width: 0,
            height: 1,
        };
        assert!(empty.on_copy(whole, (100, 50)).is_err());
    }

    #[test]
    fn the_hash_is_of_sides_and_data() {
        let hash = |w, h, c| Pixels::new(w, h, c, (0..12).collect()).unwrap().blake3();
        assert_eq!(hash(3, 4, 1), hash(3, 4, 1));
        assert_ne!(hash(3, 4, 1), hash(4, 3, 1));
        assert_ne!(hash(2, 2, 3), hash(4, 3, 1));
        let mut bytes = vec![3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0];
        bytes.extend(0..12);
        assert_eq!(hash(3, 4, 1), blake3::hash(&bytes).to_hex().to_string());
    }

    #[test]
    fn a_region_is_what_it_covers() {
        let data: Vec<u8> = (0..4 * 3 * 3).collect();
        let pixels = Pixels::new(4, 3, 3, data).unwrap();
        let part = pixels.crop("1,1,2,2".parse().unwrap()).unwrap();
        assert_eq!((part.width(), part.height(), part.channels()), (2, 2, 3));
        assert_eq!(
            part.data(),
            [15, 16, 17, 18, 19, 20, 27, 28, 29, 30, 31, 32]
        );
        assert_eq!(pixels.crop("0,0,4,3".parse().unwrap()).unwrap(), pixels);
        for beyond in [
            "0,0,5,1",
            "0,3,1,1",
            "3,2,1,2",
            "18446744073709551615,0,2,1",
        ] {
            let error = pixels
                .crop(beyond.parse().unwrap())
                .unwrap_err()
                .to_string();
            assert!(error.contains(beyond) && error.contains("4 x 3"), "{error}");
        }
        for wrong in ["", "1,2,3", "1,2,3,4,5", "0,0,0,1", "-1,0,1,1", "a,b,c,d"] {
            assert!(wrong.parse::<Region>().is_err(), "{wrong}");
        }
    }
}
