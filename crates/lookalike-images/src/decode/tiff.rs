//! TIFF pictures of a palette, which the TIFF decoder does not know: their places in the palette are read as if they
//! were grey, and looked up.

use std::io::Cursor;

use image::RgbImage;
use image::metadata::Orientation;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::{Budget, Format};
use crate::error::ImageError;

const PHOTOMETRIC: u16 = 262;
const ORIENTATION: u16 = 274;
const COLOUR_MAP: u16 = 320;

fn damaged(reason: impl ToString) -> ImageError {
    ImageError::Decode {
        format: Format::Tiff,
        reason: reason.to_string(),
    }
}

/// One file's byte order.
struct Order<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Order<'_> {
    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.big {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        })
    }

    fn long(&self, at: usize) -> Option<usize> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        } as usize)
    }

    /// Where in the file the entry of the first page with a number is.
    fn entry(&self, tag: u16) -> Option<usize> {
        let directory = self.long(4)?;
        let entries = usize::from(self.short(directory)?);
        (0..entries)
            .map(|entry| directory + 2 + 12 * entry)
            .find(|&at| self.short(at) == Some(tag))
    }

    /// The value of an entry that is one short number.
    fn value(&self, tag: u16) -> Option<u16> {
        self.short(self.entry(tag)? + 8)
    }
}

/// The first page, if it has a palette. Nothing, if it has none.
pub(super) fn palette(
    bytes: &[u8],
    budget: &Budget,
) -> Result<Option<(RgbImage, Orientation)>, ImageError> {
    let file = Order {
        bytes,
        big: bytes.starts_with(b"MM"),
    };
    if file.short(2) != Some(42) || file.value(PHOTOMETRIC) != Some(3) {
        return Ok(None);
    }
    let photometric = file
        .entry(PHOTOMETRIC)
        .ok_or_else(|| damaged("no colours"))?
        + 8;
    let orientation = file
        .value(ORIENTATION)
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or(Orientation::NoTransforms);

    budget.memory(bytes.len() as u64)?;
    let mut grey = bytes.to_vec();
    // Black is zero: values are given as they are.
    let one = if file.big { [0, 1] } else { [1, 0] };
    grey[photometric..photometric + 2].copy_from_slice(&one);
    let mut decoder = Decoder::new(Cursor::new(grey)).map_err(damaged)?;
    let (width, height) = decoder.dimensions().map_err(damaged)?;
    budget.sides(width as usize, height as usize)?;
    let pixels = u64::from(width) * u64::from(height);
    // The copy, the places, one strip of them, the colours, and those once more turned.
    budget.memory(bytes.len() as u64 + 8 * pixels)?;
    let ColorType::Gray(bits @ (1 | 2 | 4 | 8)) = decoder.colortype().map_err(damaged)? else {
        return Err(damaged(
            "its palette is not of 1, 2, 4 or 8 bits; save it with 8",
        ));
    };
    let mut limits = Limits::default();
    limits.decoding_buffer_size = pixels as usize;
    limits.intermediate_buffer_size = pixels as usize + (1 << 16);
    decoder = decoder.with_limits(limits);
    let DecodingResult::U8(places) = decoder.read_image().map_err(damaged)? else {
        return Err(damaged("its palette's places are not of 8 bits"));
    };

    let map = file
        .entry(COLOUR_MAP)
        .ok_or_else(|| damaged("its palette is missing"))?;
    let map = file
        .long(map + 8)
        .ok_or_else(|| damaged("its palette is cut off"))?;
    let colours = 1usize << bits;
    let mut table = Vec::with_capacity(colours);
    for place in 0..colours {
        let value = |channel: usize| file.short(map + 2 * (channel * colours + place));
        let (Some(r), Some(g), Some(b)) = (value(0), value(1), value(2)) else {
            return Err(damaged("its palette is cut off"));
        };
        table.push([r, g, b].map(|v| (v >> 8) as u8));
    }
    let row = (width as usize * usize::from(bits)).div_ceil(8);
    if places.len() < row * height as usize {
        return Err(damaged("it ends before its last row"));
    }
    let mut out = RgbImage::new(width, height);
    let mask = (1u16 << bits) as usize - 1;
    for (out, places) in out
        .chunks_exact_mut(3 * width as usize)
        .zip(places.chunks_exact(row))
    {
        for (x, out) in out.chunks_exact_mut(3).enumerate() {
            let bit = x * usize::from(bits);
            let place = usize::from(places[bit / 8]) >> (8 - usize::from(bits) - bit % 8) & mask;
            out.copy_from_slice(&table[place]);
        }
    }
    Ok(Some((out, orientation)))
}
