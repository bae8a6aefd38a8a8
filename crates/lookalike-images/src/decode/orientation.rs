//! The turns and mirrors that a file says its picture is to be shown by (EXIF, TIFF).

use image::metadata::Orientation;

use crate::pixels::Pixels;
use crate::resample::Part;
use crate::turn::Turn;

/// Whether width becomes height.
pub(super) fn turns(orientation: Orientation) -> bool {
    turn(orientation).exchanges_sides()
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
    match turn(orientation) {
        Turn::None => pixels,
        turn => pixels.turned(turn),
    }
}

/// EXIF's words name a rotation and then a mirror, left to right.
fn turn(orientation: Orientation) -> Turn {
    match orientation {
        Orientation::NoTransforms => Turn::None,
        Orientation::FlipHorizontal => Turn::Mirrored,
        Orientation::Rotate180 => Turn::Rotated180,
        Orientation::FlipVertical => Turn::Flipped,
        Orientation::Rotate90FlipH => Turn::Transposed,
        Orientation::Rotate90 => Turn::Rotated90,
        Orientation::Rotate270FlipH => Turn::Transversed,
        Orientation::Rotate270 => Turn::Rotated270,
    }
}
