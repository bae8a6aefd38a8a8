//! Bringing an image to the shape that a network takes.

use serde::{Deserialize, Serialize};

use crate::pixels::{MAX_SIDE, Pixels};
use crate::resample::{Part, resample, whole};

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

/// How an image of other proportions is brought to a shape.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Width and height are scaled each on its own: everything is seen, distorted.
    #[default]
    Stretch,
    /// The middle is cut out in the shape's proportions.
    Crop,
    /// All of it is seen undistorted, in the middle, with a background beside it.
    Pad,
}

impl std::fmt::Display for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stretch => "stretch",
            Self::Crop => "crop",
            Self::Pad => "pad",
        })
    }
}

impl std::str::FromStr for Fit {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Stretch, Self::Crop, Self::Pad]
            .into_iter()
            .find(|fit| fit.to_string() == name)
            .ok_or_else(|| format!("unknown fit {name:?}: use crop, pad or stretch"))
    }
}

/// Brings an image to `shape`: scaled (not cropped) to its sides, grey made colour or colour made
/// grey.
///
/// It is [`fit_with`] and [`Fit::Stretch`].
pub fn fit(pixels: &Pixels, shape: InputShape) -> Pixels {
    fit_with(pixels, shape, Fit::Stretch, [255; 3])
}

/// Brings an image to `shape`, grey made colour or colour made grey.
///
/// Scaling is bicubic (Catmull-Rom), over as many pixels as fall on one: what is scaled down does
/// not alias. Grey is the luma of Rec. 709. An image that already has the shape comes back as it
/// is. A shape that no image has (another number of channels than 1 or 3, a side of 0 or above
/// 65,535) is read as the nearest one that exists.
/// `background` (red, green, blue) is what [`Fit::Pad`] puts beside the image.
pub fn fit_with(pixels: &Pixels, shape: InputShape, how: Fit, background: [u8; 3]) -> Pixels {
    fit_part(pixels, whole(pixels), shape, how, background)
}

/// As [`fit_with`], for a part of a picture. A picture that has the shape comes back as it is if
/// all of it is meant.
pub(crate) fn fit_part(
    pixels: &Pixels,
    part: Part,
    shape: InputShape,
    how: Fit,
    background: [u8; 3],
) -> Pixels {
    let (height, width) = (
        shape.height.clamp(1, MAX_SIDE),
        shape.width.clamp(1, MAX_SIDE),
    );
    let grey = shape.channels < 3;
    // Colour becomes grey before it is scaled up, but after it is scaled down, and grey becomes
    // colour after scaling: the dearest part sees the fewest values.
    let shrinks = width * height < pixels.width() * pixels.height();
    let fitted = match (pixels.channels(), grey) {
        (3, true) if !shrinks => place(&to_grey(pixels), part, width, height, how, background),
        _ => place(pixels, part, width, height, how, background),
    };
    match (fitted.channels(), grey) {
        (3, true) => to_grey(&fitted),
        (1, false) => {
            let mut colour = to_colour(&fitted);
            if how == Fit::Pad {
                // The background may have a colour, even if the image has none.
                lay_beside(&mut colour, inside(part, width, height), background);
            }
            colour
        }
        _ => fitted,
    }
}

/// Scales and cuts, or pads, to the sides given.
fn place(
    pixels: &Pixels,
    part: Part,
    width: usize,
    height: usize,
    how: Fit,
    background: [u8; 3],
) -> Pixels {
    match how {
        Fit::Stretch => scale_part(pixels, part, width, height),
        Fit::Crop => scale_part(pixels, middle(part, width, height), width, height),
        Fit::Pad => {
            let [left, top, inner_width, inner_height] = inside(part, width, height);
            let inner = scale_part(pixels, part, inner_width, inner_height);
            let channels = pixels.channels();
            let colour = Pixels::trusted(1, 1, 3, background.to_vec());
            let fill = match channels {
                1 => to_grey(&colour),
                _ => colour,
            };
            let mut data = fill.data().repeat(width * height);
            let rows = data.chunks_exact_mut(width * channels).skip(top);
            for (row, from) in rows.zip(inner.data().chunks_exact(inner_width * channels)) {
                row[left * channels..][..from.len()].copy_from_slice(from);
            }
            Pixels::trusted(width, height, channels, data)
        }
    }
}

/// The middle of a part in the proportions given.
fn middle([left, top, right, bottom]: Part, width: usize, height: usize) -> Part {
    let (across, along) = (right - left, bottom - top);
    let (width, height) = (width as f64, height as f64);
    let wanted = (along * width / height).min(across);
    let (cut_x, cut_y) = match wanted < across {
        true => ((across - wanted) / 2.0, 0.0),
        false => (0.0, (along - across * height / width).max(0.0) / 2.0),
    };
    [left + cut_x, top + cut_y, right - cut_x, bottom - cut_y]
}

/// Where a padded image lies: left, top, width, height.
fn inside([left, top, right, bottom]: Part, width: usize, height: usize) -> [usize; 4] {
    let (across, along) = (right - left, bottom - top);
    let scaled = |side: f64, most: usize| (side.round() as usize).clamp(1, most);
    let (inner_width, inner_height) = if across * height as f64 > width as f64 * along {
        (width, scaled(along * width as f64 / across, height))
    } else {
        (scaled(across * height as f64 / along, width), height)
    };
    let (left, top) = ((width - inner_width) / 2, (height - inner_height) / 2);
    [left, top, inner_width, inner_height]
}

fn lay_beside(pixels: &mut Pixels, [left, top, width, height]: [usize; 4], colour: [u8; 3]) {
    let stride = 3 * pixels.width();
    let mut data = std::mem::replace(pixels, Pixels::trusted(0, 0, 3, Vec::new())).into_data();
    let (all_width, all_height) = (stride / 3, data.len() / stride);
    for (y, row) in data.chunks_exact_mut(stride).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            if !(top..top + height).contains(&y) || !(left..left + width).contains(&x) {
                pixel.copy_from_slice(&colour);
            }
        }
    }
    *pixels = Pixels::trusted(all_width, all_height, 3, data);
}

/// Scales to the sides given.
pub(crate) fn scale(pixels: &Pixels, width: usize, height: usize) -> Pixels {
    scale_part(pixels, whole(pixels), width, height)
}

fn scale_part(pixels: &Pixels, part: Part, width: usize, height: usize) -> Pixels {
    if (pixels.width(), pixels.height()) == (width, height) && part == whole(pixels) {
        return pixels.clone();
    }
    resample(pixels, part, width, height)
}

/// Three equal channels from one.
pub(crate) fn to_colour(pixels: &Pixels) -> Pixels {
    if pixels.channels() == 3 {
        return pixels.clone();
    }
    let data = pixels.data().iter().flat_map(|&v| [v; 3]).collect();
    Pixels::trusted(pixels.width(), pixels.height(), 3, data)
}

/// The luma of Rec. 709 on the values as stored. Its weights, in 1/65,536, sum to one: grey stays
/// grey.
pub(crate) fn to_grey(pixels: &Pixels) -> Pixels {
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

    /// Left half black, right half white, 40 x 20.
    fn halves(channels: usize) -> Pixels {
        let data = (0..800 * channels)
            .map(|i| if i / channels % 40 < 20 { 0 } else { 255 })
            .collect();
        Pixels::new(40, 20, channels, data).unwrap()
    }

    #[test]
    fn cropping_keeps_the_middle() {
        let fitted = fit_with(&halves(1), shape(1, 10, 4), Fit::Crop, [9; 3]);
        assert_eq!((fitted.width(), fitted.height()), (4, 10));
        for row in fitted.data().chunks(4) {
            assert!(row[0] < 5 && row[3] > 250, "{row:?}");
        }
        // The whole height is kept; a quarter of the width.
        let tall = Pixels::new(1, 4, 1, vec![0, 100, 100, 0]).unwrap();
        let fitted = fit_with(&tall, shape(1, 2, 1), Fit::Crop, [9; 3]);
        assert_eq!(fitted.data(), [100, 100]);
    }

    #[test]
    fn padding_shows_everything() {
        for channels in [1, 3] {
            let fitted = fit_with(&halves(channels), shape(3, 8, 8), Fit::Pad, [1, 2, 3]);
            let pixel = |x: usize, y: usize| &fitted.data()[(8 * y + x) * 3..][..3];
            for x in 0..8 {
                for y in [0, 1, 6, 7] {
                    assert_eq!(pixel(x, y), [1, 2, 3], "{x} {y}");
                }
                for y in 2..6 {
                    assert_eq!(pixel(x, y)[0] > 127, x >= 4, "{x} {y}");
                }
            }
        }
        let grey = fit_with(&halves(3), shape(1, 40, 10), Fit::Pad, [255, 0, 0]);
        assert_eq!((grey.data()[0], grey.data()[399]), (54, 54));
    }

    #[test]
    fn fits_are_read_as_they_are_written() {
        for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
            assert_eq!(fit.to_string().parse(), Ok(fit));
        }
        assert!("squeeze".parse::<Fit>().unwrap_err().contains("pad"));
    }

    #[test]
    fn scaling_down_does_not_alias() {
        // Columns one pixel wide, to a fifth: grey everywhere.
        let data = (0..100 * 10).map(|i| (i % 2 * 255) as u8).collect();
        let fitted = fit(&Pixels::new(100, 10, 1, data).unwrap(), shape(1, 2, 20));
        assert!(
            fitted.data()[1..19].iter().all(|v| (120..136).contains(v)),
            "{fitted:?}"
        );
    }

    proptest! {
        #[test]
        fn every_fit_gives_the_shape(w in 1usize..50, h in 1usize..50, c in prop_oneof![Just(1usize), Just(3)],
                                     to_w in 1usize..50, to_h in 1usize..50, to_c in prop_oneof![Just(1usize), Just(3)],
                                     v: u8) {
            let pixels = Pixels::new(w, h, c, vec![v; w * h * c]).unwrap();
            for how in [Fit::Stretch, Fit::Crop, Fit::Pad] {
                let fitted = fit_with(&pixels, shape(to_c, to_h, to_w), how, [v; 3]);
                prop_assert_eq!(InputShape::of(&fitted), shape(to_c, to_h, to_w));
                prop_assert!(fitted.data().iter().all(|&x| x == v));
            }
        }

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
