//! The turns and mirrors that a file says its picture is to be shown by (EXIF, TIFF).

use image::metadata::Orientation;

use crate::pixels::Pixels;
use crate::resample::Part;

/// Whether width becomes height.
pub(super) fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Where a part of a picture is when it is turned: its far edges become near ones, or the other way
/// round.
pub(super) fn upright_part(
    [_, _, across, along]: Part,
    pixels: &Pixels,
    orientation: Orientation,
) -> Part {
    let (width, height) = (pixels.width() as f64, pixels.height() as f64);
    let near = |side: f64| (0.0, side);
    let far = |side: f64, all: f64| (all - side, all);
    let (x, y) = match orientation {
        Orientation::NoTransforms => (near(across), near(along)),
        Orientation::FlipHorizontal => (far(across, width), near(along)),
        Orientation::Rotate180 => (far(across, width), far(along, height)),
        Orientation::FlipVertical => (near(across), far(along, height)),
        Orientation::Rotate90FlipH => (near(along), near(across)),
        Orientation::Rotate90 => (far(along, height), near(across)),
        Orientation::Rotate270FlipH => (far(along, height), far(across, width)),
        Orientation::Rotate270 => (near(along), far(across, width)),
    };
    [x.0, y.0, x.1, y.1]
}

/// Turns a picture as its file says that it is to be shown.
pub(super) fn upright(pixels: Pixels, orientation: Orientation) -> Pixels {
    if orientation == Orientation::NoTransforms {
        return pixels;
    }
    let (width, height) = (pixels.width(), pixels.height());
    let channels = pixels.channels();
    let (to_width, to_height) = match turns(orientation) {
        true => (height, width),
        false => (width, height),
    };
    // By EXIF's number: mirrored left to right after turning, and where a pixel comes from.
    let from = |x: usize, y: usize| match orientation {
        Orientation::NoTransforms => (x, y),
        Orientation::FlipHorizontal => (width - 1 - x, y),
        Orientation::Rotate180 => (width - 1 - x, height - 1 - y),
        Orientation::FlipVertical => (x, height - 1 - y),
        // 5: rows become columns.
        Orientation::Rotate90FlipH => (y, x),
        Orientation::Rotate90 => (y, height - 1 - x),
        // 7
        Orientation::Rotate270FlipH => (width - 1 - y, height - 1 - x),
        Orientation::Rotate270 => (width - 1 - y, x),
    };
    let mut data = Vec::with_capacity(pixels.data().len());
    for y in 0..to_height {
        for x in 0..to_width {
            let (x, y) = from(x, y);
            data.extend_from_slice(&pixels.data()[(y * width + x) * channels..][..channels]);
        }
    }
    Pixels::trusted(to_width, to_height, channels, data)
}
