//! Bringing an image to the shape that a network takes.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Rgb};
use serde::{Deserialize, Serialize};

use crate::pixels::{LONGEST_SIDE, Pixels};

/// What a network takes: every image is brought to this.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InputShape {
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

impl InputShape {
    /// The shape of an image.
    pub fn of(pixels: &Pixels) -> Self {
        Self {
            channels: pixels.channels(),
            height: pixels.height(),
            width: pixels.width(),
        }
    }

    /// Values of one image: channels x height x width.
    pub fn values(self) -> usize {
        self.channels * self.height * self.width
    }
}

impl std::fmt::Display for InputShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// Brings an image to `shape`: scaled (not cropped) to its sides, grey made colour or colour made grey.
///
/// Scaling down averages over the area that falls on a pixel, scaling up interpolates linearly (a
/// triangle filter as wide as the larger of the two pixels). Grey is the luma of Rec. 709. An image that
/// already has the shape comes back as it is. A shape that no image has (another number of
/// channels than 1 or 3, a side of 0 or above 65,535) is read as the nearest one that exists.
pub fn fit(pixels: &Pixels, shape: InputShape) -> Pixels {
    let (height, width) = (
        shape.height.clamp(1, LONGEST_SIDE),
        shape.width.clamp(1, LONGEST_SIDE),
    );
    let grey = shape.channels < 3;
    // Colour becomes grey before scaling and grey becomes colour after it, so that the scaling, which is
    // the dear part, sees the fewer channels.
    match (pixels.channels(), grey) {
        (1, true) | (3, false) => scale(pixels, width, height),
        (1, false) => to_colour(&scale(pixels, width, height)),
        _ => scale(&to_grey(pixels), width, height),
    }
}

/// Scales to the sides given with a triangle filter.
pub(crate) fn scale(pixels: &Pixels, width: usize, height: usize) -> Pixels {
    if (pixels.width(), pixels.height()) == (width, height) {
        return pixels.clone();
    }
    let (from_width, from_height) = (pixels.width() as u32, pixels.height() as u32);
    let (to_width, to_height) = (width as u32, height as u32);
    let data = if pixels.channels() == 1 {
        let buffer: ImageBuffer<Luma<u8>, &[u8]> =
            ImageBuffer::from_raw(from_width, from_height, pixels.data())
                .expect("pixels fill their sides");
        imageops::resize(&buffer, to_width, to_height, FilterType::Triangle).into_raw()
    } else {
        let buffer: ImageBuffer<Rgb<u8>, &[u8]> =
            ImageBuffer::from_raw(from_width, from_height, pixels.data())
                .expect("pixels fill their sides");
        imageops::resize(&buffer, to_width, to_height, FilterType::Triangle).into_raw()
    };
    Pixels::trusted(width, height, pixels.channels(), data)
}

/// Three equal channels from one.
pub(crate) fn to_colour(pixels: &Pixels) -> Pixels {
    if pixels.channels() == 3 {
        return pixels.clone();
    }
    let data = pixels.data().iter().flat_map(|&v| [v; 3]).collect();
    Pixels::trusted(pixels.width(), pixels.height(), 3, data)
}

/// The luma of Rec. 709 on the values as stored. Its weights, in 1/65,536, sum to one: grey stays grey.
fn to_grey(pixels: &Pixels) -> Pixels {
    let luma = |rgb: &[u8]| {
        let sum =
            13_933 * u32::from(rgb[0]) + 46_871 * u32::from(rgb[1]) + 4_732 * u32::from(rgb[2]);
        ((sum + 32_768) >> 16) as u8
    };
    let data = pixels.data().chunks_exact(3).map(luma).collect();
    Pixels::trusted(pixels.width(), pixels.height(), 1, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(channels: usize, height: usize, width: usize) -> InputShape {
        InputShape {
            channels,
            height,
            width,
        }
    }

    #[test]
    fn the_same_shape_is_the_identity() {
        let pixels = Pixels::new(3, 2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(fit(&pixels, InputShape::of(&pixels)), pixels);
    }

    #[test]
    fn luma_weighs_green_most() {
        let pixels = Pixels::new(3, 1, 3, vec![255, 0, 0, 0, 255, 0, 0, 0, 255]).unwrap();
        assert_eq!(fit(&pixels, shape(1, 1, 3)).data(), [54, 182, 18]);
    }

    #[test]
    fn halving_averages() {
        let pixels = Pixels::new(
            4,
            4,
            1,
            (0..16)
                .map(|i| if (i / 4 + i) % 2 == 0 { 200 } else { 100 })
                .collect(),
        )
        .unwrap();
        for value in fit(&pixels, shape(1, 2, 2)).data() {
            assert!((145..=155).contains(value), "{value}");
        }
    }

    proptest! {
        #[test]
        fn flat_images_stay_flat(v: u8, w in 1usize..9, h in 1usize..9, c in prop_oneof![Just(1usize), Just(3)],
                                 to_w in 1usize..20, to_h in 1usize..20, to_c in prop_oneof![Just(1usize), Just(3)]) {
            let pixels = Pixels::new(w, h, c, vec![v; w * h * c]).unwrap();
            let fitted = fit(&pixels, shape(to_c, to_h, to_w));
            prop_assert_eq!(InputShape::of(&fitted), shape(to_c, to_h, to_w));
            prop_assert!(fitted.data().iter().all(|&x| x == v));
        }

        #[test]
        fn grey_survives_colour(data in proptest::collection::vec(any::<u8>(), 12)) {
            let pixels = Pixels::new(4, 3, 1, data).unwrap();
            let colour = fit(&pixels, shape(3, 3, 4));
            prop_assert_eq!(fit(&colour, shape(1, 3, 4)), pixels);
        }
    }
}
