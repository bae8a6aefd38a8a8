//! The pixels of an image.

use crate::error::ImageError;

/// The longest side an image may have; products of two sides and three channels stay far from overflow.
pub(crate) const LONGEST_SIDE: usize = 65_535;

/// 8-bit pixels, rows top to bottom, channels interleaved (height x width x channels).
///
/// There is 1 channel (grey) or there are 3 (red, green, blue), as in an ordinary PNG (sRGB, 0 is black).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    width: usize,
    height: usize,
    channels: usize,
    data: Vec<u8>,
}

impl Pixels {
    /// Takes `data` of exactly `height * width * channels` bytes.
    ///
    /// # Errors
    ///
    /// When `channels` is neither 1 nor 3, a side is 0 or above 65,535, or `data` has another length.
    pub fn new(
        width: usize,
        height: usize,
        channels: usize,
        data: Vec<u8>,
    ) -> Result<Self, ImageError> {
        if channels != 1 && channels != 3 {
            return Err(ImageError::Channels { channels });
        }
        let side = 1..=LONGEST_SIDE;
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

    /// The BLAKE3 hash, in hex, of width, height and channels (each a little-endian `u32`) and the data.
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
    fn the_hash_is_of_sides_and_data() {
        let hash = |w, h, c| Pixels::new(w, h, c, (0..12).collect()).unwrap().blake3();
        assert_eq!(hash(3, 4, 1), hash(3, 4, 1));
        assert_ne!(hash(3, 4, 1), hash(4, 3, 1));
        assert_ne!(hash(2, 2, 3), hash(4, 3, 1));
        let mut bytes = vec![3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0];
        bytes.extend(0..12);
        assert_eq!(hash(3, 4, 1), blake3::hash(&bytes).to_hex().to_string());
    }
}
