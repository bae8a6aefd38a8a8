//! JPEG XL, by the crate `jxl-oxide`.

use image::{DynamicImage, ImageBuffer};
use jxl_oxide::{AllocTracker, EnumColourEncoding, JxlImage, JxlThreadPool, RenderingIntent};

use super::{Budget, Format};
use crate::error::ImageError;

/// The first picture of a file, upright, and its colour profile where it is not brought to sRGB.
pub(super) fn decode(
    bytes: &[u8],
    budget: &Budget,
) -> Result<(DynamicImage, Option<Vec<u8>>), ImageError> {
    let damaged = |error: Box<dyn std::error::Error + Send + Sync>| ImageError::Decode {
        format: Format::JpegXl,
        reason: error.to_string(),
    };
    let memory = usize::try_from(budget.options.max_memory).unwrap_or(usize::MAX);
    let mut image = JxlImage::builder()
        .alloc_tracker(AllocTracker::with_limit(memory))
        .pool(JxlThreadPool::none())
        .read(bytes)
        .map_err(damaged)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    budget.sides(width, height)?;
    let format = image.pixel_format();
    if format.has_black() {
        return Err(ImageError::UnsupportedKind {
            format: Format::JpegXl,
            reason: "its colours are CMYK; save it as RGB".to_owned(),
        });
    }
    // Floats of all channels, twice for filters, and what they become.
    let pixels = width as u64 * height as u64;
    budget.memory(pixels * (8 * format.channels() as u64 + 8))?;
    if !image.is_loading_done() || image.num_loaded_keyframes() == 0 {
        return Err(damaged("it ends before its picture does".into()));
    }
    // Without a profile of its own it says in words how its colours are meant, which can be
    // computed.
    let own = image.original_icc().map(<[u8]>::to_vec);
    let coded = image.image_header().metadata.xyb_encoded;
    let profile = own.filter(|_| !coded);
    if profile.is_none() {
        let intent = RenderingIntent::Relative;
        image.request_color_encoding(match format.is_grayscale() {
            true => EnumColourEncoding::gray_srgb(intent),
            false => EnumColourEncoding::srgb(intent),
        });
    }
    let render = image.render_frame(0).map_err(damaged)?;
    let mut stream = render.stream();
    let (width, height) = (stream.width(), stream.height());
    let channels = stream.channels() as usize;
    let mut values = vec![0_u16; width as usize * height as usize * channels];
    if stream.write_to_buffer(&mut values) < values.len() {
        return Err(damaged("it has fewer pixels than it says".into()));
    }
    let deep = image.image_header().metadata.bit_depth.bits_per_sample() > 8;
    let picture = match channels {
        // Grey of 8 bits has no range that it could be scaled by.
        1 if !deep => {
            let eight = values.iter().map(|value| (value >> 8) as u8).collect();
            ImageBuffer::from_raw(width, height, eight).map(DynamicImage::ImageLuma8)
        }
        1 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageLuma16),
        2 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageLumaA16),
        3 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageRgb16),
        4 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageRgba16),
        _ => None,
    };
    let picture = picture.ok_or_else(|| damaged("it has no colours that are known".into()))?;
    Ok((picture, profile))
}
