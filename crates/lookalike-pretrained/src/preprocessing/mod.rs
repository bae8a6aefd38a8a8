//! How an image is brought to what a model takes, as the files beside the model say.

use lookalike_images::{Filter, Fit, InputShape, Pixels, fit, fit_with, resize};
use serde::{Deserialize, Serialize};

use crate::PretrainedError;
use crate::files::Files;

mod formats;
mod section;

pub(crate) use section::{Section, shown};

use formats::described;

/// The longest side that a model may ask for.
pub(crate) const MAX_SIDE: usize = 4096;

/// The files that may say how images are preprocessed, in the order in which they are looked for.
const HUGGING_FACE: &str = "preprocessor_config.json";
const OPEN_CLIP: &str = "open_clip_config.json";
const PREPROCESS_CFG: [&str; 2] = ["preprocess_cfg.json", "visual/preprocess_cfg.json"];
const CONFIG: &str = "config.json";

/// How an image is brought to what a model takes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Preprocessing {
    /// How the image is scaled.
    pub resize: Resize,
    /// The filter with which it is scaled.
    pub interpolation: Filter,
    /// What is cut from the middle of the scaled image; without, it is used whole.
    pub crop: Option<Crop>,
    /// Height of what the model sees.
    pub height: usize,
    /// Width of what the model sees.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// How the values of an image are ordered.
    pub layout: Layout,
    /// How bytes become the model's numbers.
    pub values: Values,
}

/// How an image is scaled before it is cropped.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Resize {
    /// Not at all.
    None,
    /// The shorter side gets this length, the longer its share, rounded down.
    Shortest {
        /// The length.
        side: usize,
    },
    /// Both sides get their length, whatever the proportions.
    Squash {
        /// The height.
        height: usize,
        /// The width.
        width: usize,
    },
    /// The smallest image of the same proportions that covers these sides.
    Cover {
        /// The height.
        height: usize,
        /// The width.
        width: usize,
    },
    /// The largest image of the same proportions inside these sides.
    Contain {
        /// The height.
        height: usize,
        /// The width.
        width: usize,
    },
    /// As for the autoencoders of this project: [`fit_with`].
    Fitted {
        /// The height.
        height: usize,
        /// The width.
        width: usize,
        /// How other proportions are brought to these.
        fit: Fit,
        /// The colour beside a padded image: red, green, blue.
        background: [u8; 3],
    },
}

/// What is cut from the middle of an image; where the image is smaller, it is padded.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crop {
    /// Height of what is left.
    pub height: usize,
    /// Width of what is left.
    pub width: usize,
    /// Where the middle is if an odd number of pixels is cut away.
    pub middle: Middle,
    /// The colour beside images that are smaller.
    pub fill: [u8; 3],
}

/// How half a pixel is rounded where an image is cropped.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Middle {
    /// Down, as transformers does.
    Down,
    /// To the even number, as torchvision does.
    Even,
}

/// How the values of an image are ordered.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One plane after another.
    ChannelsFirst,
    /// One pixel after another.
    ChannelsLast,
}

/// How bytes become the numbers that a model takes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// The bytes themselves: the model does the rest.
    Bytes,
    /// (byte x `rescale` - `mean`) / `std`.
    Normalised {
        /// Mostly 1 / 255.
        rescale: f32,
        /// One number per channel.
        mean: Vec<f32>,
        /// One number per channel.
        std: Vec<f32>,
    },
}

/// What a model's graph says about its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GraphInput {
    pub(crate) height: Option<usize>,
    pub(crate) width: Option<usize>,
    pub(crate) channels: usize,
    pub(crate) layout: Layout,
    pub(crate) bytes: bool,
}

/// What the caller says.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) mean: Option<&'a [f32]>,
    pub(crate) std: Option<&'a [f32]>,
    pub(crate) size: Option<usize>,
}

/// What a file says, before it is held against the graph.
struct Described {
    file: Option<String>,
    resize: Resize,
    interpolation: Filter,
    crop: Option<Crop>,
    rescale: f32,
    /// Mean and standard deviation.
    normalise: Option<(Vec<f32>, Vec<f32>)>,
}

impl Preprocessing {
    /// Finds what the files, the graph and the caller say, and whether it goes together.
    pub(crate) fn resolve(
        files: &mut Files,
        graph: GraphInput,
        asked: Asked<'_>,
    ) -> Result<Self, PretrainedError> {
        let needs_normalisation = !graph.bytes && (asked.mean.is_none() || asked.std.is_none());
        let described = match described(files, graph, asked.size, needs_normalisation)? {
            Some(described) => described,
            None => undescribed(files, graph, asked, needs_normalisation)?,
        };
        let (height, width) = match (described.crop, described.resize) {
            (Some(crop), _) => (crop.height, crop.width),
            (None, Resize::Squash { height, width }) => (height, width),
            // Images keep their sides or proportions: the graph has to say what it takes.
            (None, _) => match (graph.height, graph.width) {
                (Some(height), Some(width)) => (height, width),
                _ => {
                    let path = files.path(&files.image);
                    return Err(PretrainedError::NoSize { path });
                }
            },
        };
        for (side, fixed) in [(height, graph.height), (width, graph.width)] {
            if fixed.is_some_and(|fixed| fixed != side) {
                let graph = (graph.height.unwrap_or(height), graph.width.unwrap_or(width));
                let said = match &described.file {
                    Some(file) => format!("{file} says {width}x{height} pixels"),
                    None => format!("{width}x{height} pixels were asked for"),
                };
                return Err(PretrainedError::Unsupported {
                    path: files.path(&files.image),
                    reason: format!(
                        "its graph takes {}x{} pixels, but {said}; correct the file, or export the model for that \
                         size",
                        graph.1, graph.0
                    ),
                });
            }
        }
        if let (Some(size), Some(file)) = (asked.size, &described.file)
            && (size, size) != (height, width)
        {
            return Err(PretrainedError::Option {
                option: "size",
                path: files.path(&files.image),
                reason: format!("{file} says {width}x{height} pixels; leave the size out"),
            });
        }
        Ok(Self {
            resize: described.resize,
            interpolation: described.interpolation,
            crop: described.crop,
            height,
            width,
            channels: graph.channels,
            layout: graph.layout,
            values: values(files, graph, asked, described.rescale, described.normalise)?,
        })
    }

    /// The image at the model's size, as bytes, in the number of channels the model takes; `None`
    /// where the preprocessing neither resizes nor crops it and it has another size.
    pub(crate) fn picture(&self, pixels: &Pixels) -> Option<Pixels> {
        if let Resize::Fitted {
            fit, background, ..
        } = self.resize
        {
            let shape = InputShape {
                channels: self.channels,
                height: self.height,
                width: self.width,
            };
            return Some(fit_with(pixels, shape, fit, background));
        }
        let (old_width, old_height) = (pixels.width(), pixels.height());
        let (width, height) = self.resize.sides(old_width, old_height);
        let crop = self.crop.unwrap_or(Crop {
            height,
            width,
            middle: Middle::Down,
            fill: [0; 3],
        });
        if (crop.width, crop.height) != (self.width, self.height) {
            return None;
        }
        let channels = InputShape {
            channels: self.channels,
            ..InputShape::of(pixels)
        };
        let pixels = fit(pixels, channels);
        // Only what is left after cropping is made, from the part of the image that it comes from:
        // an image of extreme proportions would be scaled to a very long one.
        let (left, across, before) = crop.middle.cut(width, crop.width);
        let (top, along, above) = crop.middle.cut(height, crop.height);
        let (step_x, step_y) = (
            old_width as f64 / width as f64,
            old_height as f64 / height as f64,
        );
        let part = [
            left as f64 * step_x,
            top as f64 * step_y,
            (left + across) as f64 * step_x,
            (top + along) as f64 * step_y,
        ];
        let inner = resize(&pixels, part, across, along, self.interpolation);
        if (across, along) == (crop.width, crop.height) {
            return Some(inner);
        }
        let fill = fit(
            &Pixels::new(1, 1, 3, crop.fill.to_vec()).ok()?,
            InputShape {
                channels: self.channels,
                height: 1,
                width: 1,
            },
        );
        let mut data = fill.data().repeat(crop.width * crop.height);
        let stride = crop.width * self.channels;
        let rows = data.chunks_exact_mut(stride).skip(above);
        for (row, from) in rows.zip(inner.data().chunks_exact(across * self.channels)) {
            row[before * self.channels..][..from.len()].copy_from_slice(from);
        }
        Pixels::new(crop.width, crop.height, self.channels, data).ok()
    }

    /// The values of a picture in the model's order, by a function from channel and byte.
    pub(crate) fn arrange<T>(
        &self,
        picture: &Pixels,
        value: impl Fn(usize, u8) -> T,
        out: &mut Vec<T>,
    ) {
        let channels = self.channels;
        match self.layout {
            Layout::ChannelsLast => {
                out.extend(
                    picture
                        .data()
                        .iter()
                        .enumerate()
                        .map(|(i, &byte)| value(i % channels, byte)),
                );
            }
            Layout::ChannelsFirst => {
                for channel in 0..channels {
                    let plane = picture.data().iter().skip(channel).step_by(channels);
                    out.extend(plane.map(|&byte| value(channel, byte)));
                }
            }
        }
    }
}

impl Resize {
    /// Width and height of the scaled image.
    fn sides(self, width: usize, height: usize) -> (usize, usize) {
        let by_ratio = |target_height: usize, target_width: usize, larger: bool| {
            let across = width as f64 / target_width as f64;
            let along = height as f64 / target_height as f64;
            let ratio = if larger {
                across.max(along)
            } else {
                across.min(along)
            };
            let scaled = |side: usize| ((side as f64 / ratio).round_ties_even() as usize).max(1);
            (scaled(width), scaled(height))
        };
        match self {
            Self::None => (width, height),
            Self::Shortest { side } if width <= height => (side, side * height / width),
            Self::Shortest { side } => (side * width / height, side),
            Self::Squash { height, width } | Self::Fitted { height, width, .. } => (width, height),
            Self::Cover { height, width } => by_ratio(height, width, false),
            Self::Contain { height, width } => by_ratio(height, width, true),
        }
    }
}

impl Middle {
    /// Of a side: where what is kept begins, how much it is, and how much is padded before it.
    fn cut(self, side: usize, wanted: usize) -> (usize, usize, usize) {
        match side.checked_sub(wanted) {
            None if self == Self::Down => (0, side, (wanted - side).div_ceil(2)),
            None => (0, side, (wanted - side) / 2),
            Some(away) => {
                let half_up = self == Self::Even && away % 4 == 3;
                (away / 2 + usize::from(half_up), wanted, 0)
            }
        }
    }
}

fn values(
    files: &Files,
    graph: GraphInput,
    asked: Asked<'_>,
    rescale: f32,
    normalise: Option<(Vec<f32>, Vec<f32>)>,
) -> Result<Values, PretrainedError> {
    if graph.bytes {
        return Ok(Values::Bytes);
    }
    let (mean, std) = normalise.unwrap_or_else(|| (vec![0.0], vec![1.0]));
    let choose = |option: &'static str, asked: Option<&[f32]>, said: Vec<f32>| {
        let numbers = asked.map_or(said, <[f32]>::to_vec);
        let wrong = |reason: String| PretrainedError::Option {
            option,
            path: files.path(&files.image),
            reason,
        };
        if numbers
            .iter()
            .any(|n| !n.is_finite() || (option == "std" && *n <= 0.0))
        {
            return Err(wrong(format!(
                "{numbers:?} has a number that cannot be used"
            )));
        }
        match numbers.len() {
            1 => Ok(vec![numbers[0]; graph.channels]),
            n if n == graph.channels => Ok(numbers),
            n => Err(wrong(format!(
                "it has {n} numbers, the model {} channels",
                graph.channels
            ))),
        }
    };
    Ok(Values::Normalised {
        rescale,
        mean: choose("mean", asked.mean, mean)?,
        std: choose("std", asked.std, std)?,
    })
}

/// Where no file says anything: the shorter side to the model's, and the middle, as most models
/// were trained.
fn undescribed(
    files: &Files,
    graph: GraphInput,
    asked: Asked<'_>,
    needs_normalisation: bool,
) -> Result<Described, PretrainedError> {
    let path = files.path(&files.image);
    if needs_normalisation {
        return Err(PretrainedError::NoNormalisation { path });
    }
    let side = |side: Option<usize>| side.or(asked.size);
    let (Some(height), Some(width)) = (side(graph.height), side(graph.width)) else {
        return Err(PretrainedError::NoSize { path });
    };
    if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
        return Err(PretrainedError::Option {
            option: "size",
            path,
            reason: format!("sides of 1 to {MAX_SIDE} pixels are supported"),
        });
    }
    let (resize, crop) = shortest(height, width);
    Ok(Described {
        file: None,
        resize,
        interpolation: Filter::Bicubic,
        crop: Some(crop),
        rescale: 1.0 / 255.0,
        normalise: None,
    })
}

/// As torchvision's `Resize` and `CenterCrop`.
fn shortest(height: usize, width: usize) -> (Resize, Crop) {
    let resize = match height == width {
        true => Resize::Shortest { side: height },
        false => Resize::Cover { height, width },
    };
    let crop = Crop {
        height,
        width,
        middle: Middle::Even,
        fill: [0; 3],
    };
    (resize, crop)
}

impl GraphInput {
    fn sides(&self) -> Option<(usize, usize)> {
        self.height.zip(self.width)
    }
}
