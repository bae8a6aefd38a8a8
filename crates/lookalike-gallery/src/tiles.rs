//! Tiles: windows of a picture and their codes, kept as one blob for each content.
//!
//! All numbers little-endian: format (u32), floats of a code (u32), number of tiles (u32); then for
//! each its region (x, y, width, height: u32 each), a step (f32), and the code in steps (i8 each).
//! 8 bits a float leave an error of at most half a step, the 254th part of the code's largest
//! value: far less than by what codes of windows that overlap by half differ, at half the room of
//! 16-bit floats.

use serde::Serialize;

use crate::GalleryError;
use crate::point::check_code;

const FORMAT: u32 = 1;
/// Bytes before the first tile.
const HEAD: usize = 12;
/// Bytes of a tile beside its code.
const BESIDE: usize = 20;
/// Steps on either side of zero.
const STEPS: f32 = 127.0;

/// The most tiles of one image.
pub const MAX_TILES: usize = 1_000;

/// A part of a picture, in pixels of the upright original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rectangle {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// The tiles of one content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tiles {
    /// Where each is. None for a picture that is too small for any.
    pub regions: Vec<Rectangle>,
    /// Their codes, one after another.
    pub codes: Vec<f32>,
}

/// What a gallery has of tiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TileInfo {
    /// Different contents whose tiles are kept.
    pub images: usize,
    /// Different contents of points whose tiles are not kept.
    pub missing: usize,
    /// Tiles of all images.
    pub tiles: usize,
    /// Bytes of all tiles on disk.
    pub bytes: u64,
    /// Bytes of memory that a search among them takes.
    pub memory: u64,
}

impl Tiles {
    /// The blob that is kept, if codes of `dims` floats can be.
    pub(crate) fn to_bytes(&self, dims: usize) -> Result<Vec<u8>, GalleryError> {
        let count = self.regions.len();
        if self.codes.len() != count * dims || count > MAX_TILES {
            return Err(GalleryError::BadRequest(format!(
                "{count} tiles with {} floats of codes were to be stored; give up to {MAX_TILES} tiles with {dims} \
                 floats each",
                self.codes.len()
            )));
        }
        let mut bytes = Vec::with_capacity(HEAD + count * (BESIDE + dims));
        for number in [FORMAT, dims as u32, count as u32] {
            bytes.extend(number.to_le_bytes());
        }
        for (region, code) in self
            .regions
            .iter()
            .zip(self.codes.chunks_exact(dims.max(1)))
        {
            check_code(code, dims, || "the code of a tile".into())?;
            for number in [region.x, region.y, region.width, region.height] {
                bytes.extend(number.to_le_bytes());
            }
            let largest = code
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            // Codes of nothing but zeros, and of the smallest numbers, have no step.
            let step = match largest / STEPS {
                step if step.is_normal() => step,
                _ => 1.0,
            };
            bytes.extend(step.to_le_bytes());
            let steps = code.iter().map(|value| (value / step).round() as i8);
            bytes.extend(steps.map(|step| step as u8));
        }
        Ok(bytes)
    }

    /// How many tiles a blob of this length holds.
    pub(crate) fn count_in(bytes: usize, dims: usize) -> usize {
        bytes.saturating_sub(HEAD) / (BESIDE + dims)
    }
}

/// A tile as it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Packed<'a> {
    pub(crate) region: Rectangle,
    pub(crate) step: f32,
    /// The code in steps.
    pub(crate) numbers: &'a [u8],
}

/// The tiles in a blob, if it is one of codes of `dims` floats, and whole.
pub(crate) fn unpack(
    bytes: &[u8],
    dims: usize,
) -> Option<impl ExactSizeIterator<Item = Packed<'_>>> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let count = number(8)? as usize;
    let fits = number(0)? == FORMAT && number(4)? as usize == dims && count <= MAX_TILES;
    let tiles = bytes.get(HEAD..)?;
    if !fits || tiles.len() != count * (BESIDE + dims) {
        return None;
    }
    let tiles = tiles.chunks_exact(BESIDE + dims).map(|tile| {
        let number = |at: usize| [tile[at], tile[at + 1], tile[at + 2], tile[at + 3]];
        let side = |at: usize| u32::from_le_bytes(number(at));
        Packed {
            region: Rectangle {
                x: side(0),
                y: side(4),
                width: side(8),
                height: side(12),
            },
            step: f32::from_le_bytes(number(16)),
            numbers: &tile[BESIDE..],
        }
    });
    Some(tiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiles() -> Tiles {
        let region = |x| Rectangle {
            x,
            y: 2,
            width: 3,
            height: u32::MAX,
        };
        Tiles {
            regions: vec![region(0), region(7), region(9)],
            codes: vec![0.5, -1.0, 0.25, 0.0, 0.0, 0.0, 3e17, -7e16, 1.0],
        }
    }

    #[test]
    fn codes_come_back_within_half_a_step() {
        let tiles = tiles();
        let bytes = tiles.to_bytes(3).unwrap();
        assert_eq!(Tiles::count_in(bytes.len(), 3), 3);
        let found: Vec<_> = unpack(&bytes, 3).unwrap().collect();
        let regions: Vec<_> = found.iter().map(|tile| tile.region).collect();
        assert_eq!(regions, tiles.regions);
        for (found, code) in found.iter().zip(tiles.codes.chunks(3)) {
            let largest = code
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            for (&number, value) in found.numbers.iter().zip(code) {
                let error = (f32::from(number as i8) * found.step - value).abs();
                assert!(error <= largest / 253.9, "{error} of {largest}");
            }
        }
        let nothing = Tiles::default().to_bytes(3).unwrap();
        assert_eq!(unpack(&nothing, 3).unwrap().len(), 0);
    }

    #[test]
    fn what_is_no_blob_of_tiles_is_refused() {
        let bytes = tiles().to_bytes(3).unwrap();
        assert!(unpack(&bytes, 4).is_none());
        assert!((0..bytes.len()).all(|length| unpack(&bytes[..length], 3).is_none()));
        let mut many = bytes.clone();
        many[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(unpack(&many, 3).is_none());
        let mut newer = bytes;
        newer[0] = 2;
        assert!(unpack(&newer, 3).is_none());
        let short = Tiles {
            codes: vec![0.0; 5],
            ..tiles()
        };
        assert!(short.to_bytes(3).is_err());
        let broken = Tiles {
            codes: vec![f32::NAN; 9],
            ..tiles()
        };
        assert!(broken.to_bytes(3).is_err());
    }
}
