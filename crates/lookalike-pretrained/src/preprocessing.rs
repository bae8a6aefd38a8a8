//! How an image is brought to what a model takes, as the files beside the model say.

use lookalike_images::{Filter, InputShape, Pixels, fit, resize};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::PretrainedError;
use crate::files::Files;

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
            Self::Squash { height, width } => (width, height),
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

/// What the first file that says something says.
fn described(
    files: &mut Files,
    graph: GraphInput,
    size: Option<usize>,
    normalise: bool,
) -> Result<Option<Described>, PretrainedError> {
    if let Some(json) = files.json(HUGGING_FACE)? {
        let section = Section::new(files, HUGGING_FACE, &json)?;
        return hugging_face(&section, normalise).map(Some);
    }
    if let Some(json) = files.json(OPEN_CLIP)? {
        let file = Section::new(files, OPEN_CLIP, &json)?;
        if let Some(section) = file.section("preprocess_cfg")? {
            let vision = match file.section("model_cfg")? {
                Some(model) => model.section("vision_cfg")?,
                None => None,
            };
            let size = match vision {
                Some(vision) => vision.sides("image_size")?,
                None => None,
            }
            .or(graph.sides())
            .or(size.map(|size| (size, size)));
            return open_clip(files, &section, size, normalise).map(Some);
        }
    }
    for name in PREPROCESS_CFG {
        if let Some(json) = files.json(name)? {
            let size = graph.sides().or(size.map(|size| (size, size)));
            let section = Section::new(files, name, &json)?;
            return open_clip(files, &section, size, normalise).map(Some);
        }
    }
    if let Some(json) = files.json(CONFIG)?
        && let Some(section) = Section::new(files, CONFIG, &json)?.section("pretrained_cfg")?
    {
        return timm(&section, normalise).map(Some);
    }
    Ok(None)
}

impl GraphInput {
    fn sides(&self) -> Option<(usize, usize)> {
        self.height.zip(self.width)
    }
}

/// `preprocessor_config.json`, as transformers writes it.
fn hugging_face(config: &Section<'_>, normalise: bool) -> Result<Described, PretrainedError> {
    for key in [
        "do_pad",
        "do_flip_channel_order",
        "rescale_offset",
        "include_top",
        "do_thumbnail",
    ] {
        // EfficientNet normalises twice with `include_top`, others pad or swap channels.
        if config.flag(key)? == Some(true) {
            return Err(config.wrong(key, "false: this step is not supported"));
        }
    }
    let class = match config.text("image_processor_type")? {
        Some(class) => Some(class),
        None => config.text("feature_extractor_type")?,
    };
    let class = class.unwrap_or("");
    let do_resize = config.flag("do_resize")?.unwrap_or(config.has("size"));
    let do_crop = config
        .flag("do_center_crop")?
        .unwrap_or(config.has("crop_size"));
    let mut crop = match do_crop {
        true => Some(config.required(
            "crop_size",
            config.sides("crop_size")?,
            "a number of pixels, or height and width",
        )?),
        false => None,
    };
    let mut resize = match do_resize {
        true => hugging_face_size(config, class, do_crop)?,
        false => Resize::None,
    };
    if do_resize && (config.has("crop_pct") || class.starts_with("ConvNext")) {
        let (Resize::Shortest { side } | Resize::Squash { height: side, .. }) = resize else {
            return Err(config.wrong("size", "shortest_edge, as crop_pct is given"));
        };
        let percent = config.required(
            "crop_pct",
            config.number("crop_pct")?,
            "a number from 0 to 1",
        )?;
        if !(percent > 0.0 && percent <= 1.0) {
            return Err(config.wrong("crop_pct", "a number from 0 to 1"));
        }
        // Small images are cropped, large ones squashed: so ConvNext was evaluated.
        if side < 384 {
            let scaled = bounded(config, "crop_pct", f64::from(side as u32) / percent)?;
            resize = Resize::Shortest { side: scaled };
            crop = Some((side, side));
        } else {
            resize = Resize::Squash {
                height: side,
                width: side,
            };
            crop = None;
        }
    }
    let interpolation = match do_resize {
        true => match config.number("resample")? {
            Some(1.0) => Filter::Lanczos,
            Some(2.0) => Filter::Bilinear,
            Some(3.0) => Filter::Bicubic,
            _ => return Err(config.wrong("resample", "1 (lanczos), 2 (bilinear) or 3 (bicubic)")),
        },
        false => Filter::Bicubic,
    };
    let rescale = match config.flag("do_rescale")?.unwrap_or(true) {
        true => config.number("rescale_factor")?.unwrap_or(1.0 / 255.0),
        false => 1.0,
    };
    if !rescale.is_finite() || rescale <= 0.0 {
        return Err(config.wrong("rescale_factor", "a number above 0, mostly 1/255"));
    }
    let do_normalise = match config.flag("do_normalize")? {
        Some(flag) => flag,
        None if config.has("image_mean") => true,
        None if normalise => return Err(config.wrong("do_normalize", "true or false")),
        None => false,
    };
    Ok(Described {
        file: Some(config.file()),
        resize,
        interpolation,
        crop: crop.map(|(height, width)| Crop {
            height,
            width,
            middle: Middle::Down,
            fill: [0; 3],
        }),
        rescale: rescale as f32,
        normalise: match do_normalise && normalise {
            true => Some((config.mean("image_mean")?, config.std("image_std")?)),
            false => None,
        },
    })
}

/// The `size` of transformers: a number has a meaning that depends on the class.
fn hugging_face_size(
    config: &Section<'_>,
    class: &str,
    crops: bool,
) -> Result<Resize, PretrainedError> {
    const EXPECTED: &str =
        "a number of pixels, {\"shortest_edge\": …} or {\"height\": …, \"width\": …}";
    if let Some(size) = config.section("size")? {
        let keys: Vec<&str> = size.map.keys().map(String::as_str).collect();
        return match keys.as_slice() {
            ["shortest_edge"] => {
                let side = size.side("shortest_edge")?;
                Ok(Resize::Shortest { side })
            }
            ["height", "width"] | ["width", "height"] => Ok(Resize::Squash {
                height: size.side("height")?,
                width: size.side("width")?,
            }),
            _ => Err(config.wrong("size", EXPECTED)),
        };
    }
    let (height, width) = config.required("size", config.sides("size")?, EXPECTED)?;
    const SHORTEST: [&str; 8] = [
        "CLIP",
        "ChineseCLIP",
        "Bit",
        "ConvNext",
        "LevitImage",
        "LevitFeature",
        "MobileNetV",
        "PoolFormer",
    ];
    const SQUARE: [&str; 6] = ["ViT", "DeiT", "Beit", "Siglip", "EfficientNet", "Swin"];
    let is = |names: &[&str]| names.iter().any(|name| class.starts_with(name));
    if height == width && is(&SHORTEST) {
        Ok(Resize::Shortest { side: height })
    } else if height != width || is(&SQUARE) || !crops {
        Ok(Resize::Squash { height, width })
    } else {
        Err(config.wrong("size", "{\"shortest_edge\": …} or {\"height\": …, \"width\": …}, as the image processor is not known"))
    }
}

/// `preprocess_cfg`, as open_clip and Immich write it.
fn open_clip(
    files: &Files,
    config: &Section<'_>,
    size: Option<(usize, usize)>,
    normalise: bool,
) -> Result<Described, PretrainedError> {
    if !matches!(config.text("mode")?, None | Some("RGB")) {
        return Err(config.wrong("mode", "\"RGB\""));
    }
    let Some((height, width)) = config.sides("size")?.or(size) else {
        let path = files.path(&files.image);
        return Err(PretrainedError::NoSize { path });
    };
    let fill = match config.map.get("fill_color") {
        None | Some(Value::Null) => [0; 3],
        Some(fill) => {
            let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let fill = match fill {
                Value::Array(bytes) => bytes.iter().map(byte).collect::<Option<Vec<u8>>>(),
                one => byte(one).map(|byte| vec![byte; 3]),
            };
            let fill = fill.and_then(|bytes| <[u8; 3]>::try_from(bytes).ok());
            config.required("fill_color", fill, "a number from 0 to 255, or three")?
        }
    };
    let (shortest, crop) = shortest(height, width);
    let (resize, crop) = match config.text("resize_mode")? {
        None | Some("shortest") => (shortest, Some(crop)),
        Some("longest") => (
            Resize::Contain { height, width },
            Some(Crop { fill, ..crop }),
        ),
        Some("squash") => (Resize::Squash { height, width }, None),
        _ => return Err(config.wrong("resize_mode", "\"shortest\", \"longest\" or \"squash\"")),
    };
    Ok(Described {
        file: Some(config.file()),
        resize,
        interpolation: match config.has("interpolation") {
            true => config.interpolation()?,
            false => Filter::Bicubic,
        },
        crop,
        rescale: 1.0 / 255.0,
        normalise: match normalise {
            true => Some((config.mean("mean")?, config.std("std")?)),
            false => None,
        },
    })
}

/// `pretrained_cfg`, as timm writes it.
fn timm(config: &Section<'_>, normalise: bool) -> Result<Described, PretrainedError> {
    const INPUT_SIZE: &str = "channels, height and width, as in [3, 224, 224]";
    let size = config.numbers("input_size")?;
    let &[_, height, width] = size.as_slice() else {
        return Err(config.wrong("input_size", INPUT_SIZE));
    };
    let height = bounded(config, "input_size", height)?;
    let width = bounded(config, "input_size", width)?;
    let percent = config.number("crop_pct")?.unwrap_or(0.875);
    if !(percent > 0.0 && percent <= 2.0) {
        return Err(config.wrong("crop_pct", "a number above 0 and up to 2"));
    }
    let scaled = |side: usize| bounded(config, "crop_pct", side as f64 / percent);
    let (scaled_height, scaled_width) = (scaled(height)?, scaled(width)?);
    let (shortest, _) = shortest(scaled_height, scaled_width);
    let mean = config.mean("mean")?;
    let (resize, fill) = match config.text("crop_mode")? {
        None | Some("center") => (shortest, [0; 3]),
        Some("squash") => (
            Resize::Squash {
                height: scaled_height,
                width: scaled_width,
            },
            [0; 3],
        ),
        Some("border") => {
            let fill: Vec<u8> = mean
                .iter()
                .map(|m| (255.0 * m).round_ties_even() as u8)
                .collect();
            let fill = <[u8; 3]>::try_from(fill).unwrap_or([0; 3]);
            (
                Resize::Contain {
                    height: scaled_height,
                    width: scaled_width,
                },
                fill,
            )
        }
        _ => return Err(config.wrong("crop_mode", "\"center\", \"squash\" or \"border\"")),
    };
    Ok(Described {
        file: Some(config.file()),
        resize,
        interpolation: config.interpolation()?,
        crop: Some(Crop {
            height,
            width,
            middle: Middle::Even,
            fill,
        }),
        rescale: 1.0 / 255.0,
        normalise: match normalise {
            true => Some((mean, config.std("std")?)),
            false => None,
        },
    })
}

/// A number of pixels, rounded down.
fn bounded(config: &Section<'_>, key: &str, side: f64) -> Result<usize, PretrainedError> {
    match side.floor() {
        side if (1.0..=MAX_SIDE as f64).contains(&side) => Ok(side as usize),
        _ => Err(config.wrong(key, &format!("sides of 1 to {MAX_SIDE} pixels"))),
    }
}

/// An object of a JSON file, which knows where it is.
pub(crate) struct Section<'a> {
    path: std::path::PathBuf,
    /// The keys around it, each with a dot behind.
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn new(
        files: &Files,
        name: &str,
        value: &'a Value,
    ) -> Result<Self, PretrainedError> {
        let path = files.path(name);
        match value {
            Value::Object(map) => Ok(Self {
                path,
                prefix: String::new(),
                map,
            }),
            other => Err(PretrainedError::Value {
                path,
                key: "the document".to_owned(),
                value: shown(other),
                expected: "an object".to_owned(),
            }),
        }
    }

    fn file(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    pub(crate) fn wrong(&self, key: &str, expected: &str) -> PretrainedError {
        PretrainedError::Value {
            path: self.path.clone(),
            key: format!("{}{key}", self.prefix),
            value: self.map.get(key).map_or("missing".to_owned(), shown),
            expected: expected.to_owned(),
        }
    }

    pub(crate) fn required<T>(
        &self,
        key: &str,
        value: Option<T>,
        expected: &str,
    ) -> Result<T, PretrainedError> {
        value.ok_or_else(|| self.wrong(key, expected))
    }

    /// Whether there is a value; `null` is none.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    fn typed<T>(
        &self,
        key: &str,
        get: impl Fn(&'a Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, PretrainedError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => get(value)
                .ok_or_else(|| self.wrong(key, expected))
                .map(Some),
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, PretrainedError> {
        self.typed(key, Value::as_bool, "true or false")
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, PretrainedError> {
        self.typed(key, Value::as_f64, "a number")
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, PretrainedError> {
        self.typed(key, Value::as_str, "a text")
    }

    /// An object inside; any other value is `None`, for keys that may also have a plain value.
    pub(crate) fn section(&self, key: &str) -> Result<Option<Self>, PretrainedError> {
        match self.map.get(key) {
            Some(Value::Object(map)) => Ok(Some(Self {
                path: self.path.clone(),
                prefix: format!("{}{key}.", self.prefix),
                map,
            })),
            _ => Ok(None),
        }
    }

    fn numbers(&self, key: &str) -> Result<Vec<f64>, PretrainedError> {
        let list = |value: &'a Value| value.as_array()?.iter().map(Value::as_f64).collect();
        let numbers = self.typed(key, list, "a list of numbers")?;
        self.required(key, numbers, "a list of numbers")
    }

    /// One side in pixels.
    fn side(&self, key: &str) -> Result<usize, PretrainedError> {
        let side = self.number(key)?;
        let side = self.required(key, side, "a number of pixels")?;
        bounded(self, key, side)
    }

    /// Height and width: a number for both, a list of two, or an object.
    fn sides(&self, key: &str) -> Result<Option<(usize, usize)>, PretrainedError> {
        const EXPECTED: &str = "a number of pixels, or height and width";
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(_)) => self.side(key).map(|side| Some((side, side))),
            Some(Value::Array(_)) => match self.numbers(key)?.as_slice() {
                &[height, width] => Ok(Some((
                    bounded(self, key, height)?,
                    bounded(self, key, width)?,
                ))),
                _ => Err(self.wrong(key, EXPECTED)),
            },
            Some(Value::Object(_)) => match self.section(key)? {
                Some(inner) if inner.map.len() == 2 => {
                    Ok(Some((inner.side("height")?, inner.side("width")?)))
                }
                _ => Err(self.wrong(key, EXPECTED)),
            },
            Some(_) => Err(self.wrong(key, EXPECTED)),
        }
    }

    fn mean(&self, key: &str) -> Result<Vec<f32>, PretrainedError> {
        self.channels(key, |_| true, "one number for each channel")
    }

    fn std(&self, key: &str) -> Result<Vec<f32>, PretrainedError> {
        self.channels(
            key,
            |number| number > 0.0,
            "one number above 0 for each channel",
        )
    }

    fn channels(
        &self,
        key: &str,
        valid: impl Fn(f64) -> bool,
        expected: &str,
    ) -> Result<Vec<f32>, PretrainedError> {
        let numbers = self.numbers(key)?;
        if !matches!(numbers.len(), 1 | 3) || !numbers.iter().all(|&n| n.is_finite() && valid(n)) {
            return Err(self.wrong(key, expected));
        }
        Ok(numbers.into_iter().map(|number| number as f32).collect())
    }

    fn interpolation(&self) -> Result<Filter, PretrainedError> {
        match self.text("interpolation")? {
            Some("bilinear") => Ok(Filter::Bilinear),
            Some("bicubic") => Ok(Filter::Bicubic),
            Some("lanczos") => Ok(Filter::Lanczos),
            _ => Err(self.wrong("interpolation", "\"bilinear\", \"bicubic\" or \"lanczos\"")),
        }
    }
}

/// A value as JSON, not too long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
