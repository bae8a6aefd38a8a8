//! The pixels that the components of a picture make together.

use super::damaged;
use super::frame::Frame;
use super::planes::{Spread, spread_row};
use crate::error::ImageError;
use crate::pixels::Pixels;

/// What the components are.
#[derive(Clone, Copy, PartialEq)]
enum Space {
    Grey,
    Rgb,
    /// Luma and chroma of BT.601, full range.
    Luma,
    /// Inks, as Adobe writes them: 255 is none.
    Inks,
    /// Inks, of which the first three are coded as luma and chroma.
    LumaInks,
}

/// Which colours a file means, as libjpeg decides: an Adobe marker says it, or the components'
/// names.
fn space(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Space {
    let names: Vec<u8> = frame
        .components
        .iter()
        .map(|component| component.id)
        .collect();
    match (names.len(), adobe) {
        (1, _) => Space::Grey,
        (4, Some(2)) => Space::LumaInks,
        (4, _) => Space::Inks,
        (_, _) if jfif => Space::Luma,
        (_, Some(0)) => Space::Rgb,
        (_, None) if names == *b"RGB" => Space::Rgb,
        _ => Space::Luma,
    }
}

/// The pixels of a picture whose components are all there; frees their samples.
pub(super) fn colours(
    frame: &mut Frame,
    jfif: bool,
    adobe: Option<u8>,
) -> Result<Pixels, ImageError> {
    let (width, height) = frame.reduced();
    let space = space(frame, jfif, adobe);
    let components = std::mem::take(&mut frame.components);
    let spreads: Vec<(Spread, Spread)> = (components.iter())
        .map(|c| {
            let spread = |size, factor, most| Spread::new(size * factor, frame.samples * most);
            (
                spread(c.size.0, c.sampling.0, frame.max_sampling.0),
                spread(c.size.1, c.sampling.1, frame.max_sampling.1),
            )
        })
        .collect();
    let channels = components.len().min(3);
    let mut data = vec![0; width * height * channels];
    let mut rows = vec![vec![0; width]; components.len()];
    let mut mixed = Vec::new();
    for (y, out) in data.chunks_exact_mut(width * channels).enumerate() {
        for ((component, &spread), row) in components.iter().zip(&spreads).zip(&mut rows) {
            spread_row(component, spread, y, &mut mixed, row);
        }
        colour_row(space, &rows, out);
    }
    Pixels::new(width, height, channels, data).map_err(|error| damaged(error.to_string()))
}

fn colour_row(space: Space, rows: &[Vec<u8>], out: &mut [u8]) {
    match rows {
        [grey] => out.copy_from_slice(grey),
        [a, b, c, inks @ ..] => {
            let three = a.iter().zip(b).zip(c).zip(out.chunks_exact_mut(3));
            if matches!(space, Space::Luma | Space::LumaInks) {
                for (((&y, &blue), &red), out) in three {
                    out.copy_from_slice(&from_luma(y, blue, red));
                }
            } else {
                for (((&r, &g), &b), out) in three {
                    out.copy_from_slice(&[r, g, b]);
                }
            }
            if let [black] = inks {
                for (out, &black) in out.chunks_exact_mut(3).zip(black) {
                    for value in out {
                        let ink = match space {
                            Space::LumaInks => 255 - *value,
                            _ => *value,
                        };
                        let product = u32::from(ink) * u32::from(black);
                        *value = ((product + 127) / 255) as u8;
                    }
                }
            }
        }
        _ => unreachable!("there are 1, 3 or 4 components"),
    }
}

/// BT.601, full range, in 1/65,536.
#[inline(always)]
fn from_luma(y: u8, blue: u8, red: u8) -> [u8; 3] {
    let y = (i32::from(y) << 16) + 32_768;
    let (blue, red) = (i32::from(blue) - 128, i32::from(red) - 128);
    [
        y + 91_881 * red,
        y - 22_554 * blue - 46_802 * red,
        y + 116_130 * blue,
    ]
    .map(|v| (v >> 16).clamp(0, 255) as u8)
}
