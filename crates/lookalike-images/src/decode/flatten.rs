//! Any decoded picture as pixels of 8 bits.

use image::DynamicImage;

use crate::error::ImageError;
use crate::pixels::Pixels;

/// Makes 8 bits, and 1 or 3 channels; transparency is laid over a colour.
pub(crate) fn flatten(picture: DynamicImage, background: [u8; 3]) -> Result<Pixels, ImageError> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let grey_background = background[0] == background[1] && background[1] == background[2];
    let wide = background.map(|v| u64::from(v) * 257);
    let eight = |v: u16| lay_over(u64::from(v), u64::from(u16::MAX), 0);
    let (channels, data) = match picture {
        DynamicImage::ImageLuma8(grey) => (1, grey.into_raw()),
        DynamicImage::ImageRgb8(colour) => (3, colour.into_raw()),
        DynamicImage::ImageRgba8(colour) => (3, over(&colour.into_raw(), background)),
        DynamicImage::ImageLumaA8(grey) if grey_background => {
            let lay = |p: &[u8]| lay_over_8(p[0], p[1], background[0]);
            (1, grey.into_raw().chunks_exact(2).map(lay).collect())
        }
        DynamicImage::ImageLuma16(grey) => (1, grey.iter().map(|&v| eight(v)).collect()),
        DynamicImage::ImageRgb16(colour) => (3, colour.iter().map(|&v| eight(v)).collect()),
        other if other.color().has_color() || !grey_background => {
            let rgba = other.into_rgba16().into_raw();
            let lay = |p: &[u16]| {
                std::array::from_fn::<_, 3, _>(|i| lay_over(p[i].into(), p[3].into(), wide[i]))
            };
            (3, rgba.chunks_exact(4).flat_map(lay).collect())
        }
        other => {
            let grey = other.into_luma_alpha16().into_raw();
            let lay = |p: &[u16]| lay_over(p[0].into(), p[1].into(), wide[0]);
            (1, grey.chunks_exact(2).map(lay).collect())
        }
    };
    Pixels::new(width, height, channels, data)
}

fn over(rgba: &[u8], background: [u8; 3]) -> Vec<u8> {
    let mut data = vec![0; rgba.len() / 4 * 3];
    for (out, pixel) in data.chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
        for ((out, &value), below) in out.iter_mut().zip(pixel).zip(background) {
            *out = lay_over_8(value, pixel[3], below);
        }
    }
    data
}

/// An 8-bit value with its opacity over another, rounded.
fn lay_over_8(value: u8, opacity: u8, below: u8) -> u8 {
    let [value, opacity, below] = [value, opacity, below].map(u32::from);
    ((value * opacity + below * (255 - opacity) + 127) / 255) as u8
}

/// A 16-bit value with its opacity over another, rounded to 8 bits.
fn lay_over(value: u64, opacity: u64, below: u64) -> u8 {
    let one = u64::from(u16::MAX);
    let mixed = value * opacity + below * (one - opacity);
    ((mixed * 255 + one * one / 2) / (one * one)) as u8
}
