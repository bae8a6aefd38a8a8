//! What the files beside a model say about its preprocessing, in each of the forms they come in.

use lookalike_images::Filter;
use serde_json::Value;

use super::section::bounded;
use super::{
    CONFIG, Crop, Described, GraphInput, HUGGING_FACE, Middle, OPEN_CLIP, PREPROCESS_CFG, Resize,
    Section, shortest,
};
use crate::PretrainedError;
use crate::files::Files;

/// What the first file that says something says.
pub(super) fn described(
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
