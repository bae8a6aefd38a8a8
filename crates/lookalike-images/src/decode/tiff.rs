//! TIFF pictures that the crate `image` does not give: those of a palette, whose places in it are
//! read as if they were grey, and looked up; and grey ones with more than 8 bits, by a range of
//! values.

use std::io::Cursor;

use image::RgbImage;
use image::metadata::Orientation;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::{Budget, Format};
use crate::error::ImageError;
use crate::grey_range::GreyRange;
use crate::pixels::Pixels;

const PHOTOMETRIC: u16 = 262;
const ORIENTATION: u16 = 274;
const COLOUR_MAP: u16 = 320;

fn damaged(reason: impl ToString) -> ImageError {
    ImageError::Decode {
        format: Format::Tiff,
        reason: reason.to_string(),
    }
}

/// What the decoder says, told apart.
fn told(error: tiff::TiffError, budget: &Budget) -> ImageError {
    match error {
        tiff::TiffError::UnsupportedError(error) => ImageError::UnsupportedKind {
            format: Format::Tiff,
            reason: format!("{error}; save it anew, with 8 or 16 bits a channel"),
        },
        tiff::TiffError::LimitsExceeded => ImageError::Memory {
            bytes: budget.options.max_memory.saturating_add(1),
            limit: budget.options.max_memory,
        },
        error => damaged(error),
    }
}

/// The first page's values, if it is grey with more than 8 bits and one channel.
fn deep_values(
    bytes: &[u8],
    budget: &Budget,
) -> Result<Option<(usize, usize, u32, DecodingResult)>, ImageError> {
    let told = |error| told(error, budget);
    // Whatever is wrong with other pages is said by those who read them.
    let Ok(mut decoder) = Decoder::new(Cursor::new(bytes)) else {
        return Ok(None);
    };
    let Ok(ColorType::Gray(bits @ (9..=64))) = decoder.colortype() else {
        return Ok(None);
    };
    let (width, height) = decoder.dimensions().map_err(told)?;
    budget.sides(width as usize, height as usize)?;
    let pixels = u64::from(width) * u64::from(height);
    let whole = pixels * u64::from(bits.next_power_of_two().max(16)) / 8;
    // The values, one strip of them, the bytes, and those once more turned.
    budget.memory(2 * whole + 2 * pixels)?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = whole as usize;
    limits.intermediate_buffer_size = whole as usize + (1 << 16);
    let mut decoder = decoder.with_limits(limits);
    let values = decoder.read_image().map_err(told)?;
    Ok(Some((
        width as usize,
        height as usize,
        u32::from(bits),
        values,
    )))
}

/// The first page by the range of the options, if it is grey with more than 8 bits.
pub(super) fn deep_grey(
    bytes: &[u8],
    budget: &Budget,
) -> Result<Option<(Pixels, Orientation)>, ImageError> {
    let Some((width, height, bits, values)) = deep_values(bytes, budget)? else {
        return Ok(None);
    };
    let unsigned = 2f64.powi(bits as i32) - 1.0;
    let own = |low, high| budget.options.grey_range.or(GreyRange::new(low, high));
    let range = match &values {
        DecodingResult::F16(_) | DecodingResult::F32(_) | DecodingResult::F64(_) => own(0.0, 1.0),
        DecodingResult::I16(_) | DecodingResult::I32(_) | DecodingResult::I64(_) => {
            own(-(unsigned + 1.0) / 2.0, (unsigned - 1.0) / 2.0)
        }
        _ => own(0.0, unsigned),
    };
    let range = range.ok_or_else(|| damaged("its values have no range"))?;
    let mut data = each(&values, |value| range.byte(value));
    if data.len() < width * height {
        return Err(damaged("it ends before its last row"));
    }
    data.truncate(width * height);
    let file = Order {
        bytes,
        big: bytes.starts_with(b"MM"),
    };
    let orientation = match file.short(2) {
        Some(42) => file.orientation(),
        _ => Orientation::NoTransforms,
    };
    Ok(Some((Pixels::new(width, height, 1, data)?, orientation)))
}

/// Some values of the first page, if it is grey with more than 8 bits: every n-th, so that there
/// are at most `most`.
pub(super) fn sampled(
    bytes: &[u8],
    budget: &Budget,
    most: usize,
) -> Result<Option<Vec<f32>>, ImageError> {
    let Some((_, _, _, values)) = deep_values(bytes, budget)? else {
        return Ok(None);
    };
    let values = each(&values, |value| value as f32);
    let step = values.len().div_ceil(most.max(1)).max(1);
    Ok(Some(values.into_iter().step_by(step).collect()))
}

fn each<T>(values: &DecodingResult, make: impl Fn(f64) -> T) -> Vec<T> {
    match values {
        DecodingResult::U8(values) => values.iter().map(|&v| make(v.into())).collect(),
        DecodingResult::U16(values) => values.iter().map(|&v| make(v.into())).collect(),
        DecodingResult::U32(values) => values.iter().map(|&v| make(v.into())).collect(),
        DecodingResult::U64(values) => values.iter().map(|&v| make(v as f64)).collect(),
        DecodingResult::I8(values) => values.iter().map(|&v| make(v.into())).collect(),
        DecodingResult::I16(values) => values.iter().map(|&v| make(v.into())).collect(),
        DecodingResult::I32(values) => values.iter().map(|&v| make(v.into())).collect(),
        DecodingResult::I64(values) => values.iter().map(|&v| make(v as f64)).collect(),
        DecodingResult::F16(values) => values.iter().map(|v| make(v.to_f64())).collect(),
        DecodingResult::F32(values) => values.iter().map(|&v| make(v.into())).collect(),
        DecodingResult::F64(values) => values.iter().map(|&v| make(v)).collect(),
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

    fn orientation(&self) -> Orientation {
        self.value(ORIENTATION)
            .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
            .unwrap_or(Orientation::NoTransforms)
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
    let orientation = file.orientation();

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
        return Err(ImageError::UnsupportedKind {
            format: Format::Tiff,
            reason: "its palette is not of 1, 2, 4 or 8 bits; save it with 8".to_owned(),
        });
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
