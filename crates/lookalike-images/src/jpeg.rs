//! JPEG, decoded at the size that is needed.
//!
//! A photograph of 12 megapixels goes to a network as 128 x 128. Of a block of 8 x 8 pixels an
//! eighth of the size needs one coefficient out of 64, a quarter four, a half sixteen. The others
//! must be passed over bit by bit, which is nearly all the work; so they are passed over several at
//! a time, by a table, and in a progressive file the scans that hold only such are not read at all.
//! Decoders made for whole pictures do neither.
//!
//! Sequential and progressive Huffman-coded files of 8 bits are decoded, in any division of the
//! components into scans, with 1, 3 or 4 components. Files that end before their last row are
//! refused.

mod bits;
mod coefficients;
mod colour;
mod frame;
mod markers;
mod planes;
mod scan;
mod transform;

use colour::colours;
use markers::{File, Segment};
use planes::Component;

use crate::decode::{Budget, Format};
use crate::error::ImageError;
use crate::pixels::Pixels;
use crate::resample::Part;

fn unsupported(reason: impl Into<String>) -> ImageError {
    ImageError::UnsupportedKind {
        format: Format::Jpeg,
        reason: reason.into(),
    }
}

fn damaged(reason: impl Into<String>) -> ImageError {
    ImageError::Decode {
        format: Format::Jpeg,
        reason: reason.into(),
    }
}

/// What comes of a file.
pub(crate) struct Picture<'a> {
    /// The picture, perhaps reduced, as it lies in the file.
    pub(crate) pixels: Pixels,
    /// The file's sides in pixels.
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// What of the pixels is picture, from the upper left.
    pub(crate) part: Part,
    /// The TIFF structure that holds the orientation, if any.
    pub(crate) exif: Option<&'a [u8]>,
    /// The colour profile, if all its parts are there.
    pub(crate) profile: Option<Vec<u8>>,
}

/// Says how many pixels a picture needs in width and height, given its EXIF structure; none: all.
type Needed<'a> = dyn Fn(Option<&[u8]>) -> Option<(usize, usize)> + 'a;

/// Decodes a file. `needed` is given the EXIF structure and says how many pixels the picture must
/// have at least in width and height, if fewer than all are enough.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    budget: &Budget,
    needed: &Needed<'_>,
) -> Result<Picture<'a>, ImageError> {
    let mut file = File::new(bytes);
    loop {
        match file.next_segment()? {
            Some(Segment::Frame(body, kind)) => file.begin_frame(body, kind, budget)?,
            Some(Segment::Scan(body)) => {
                let exif = file.exif;
                file.scan(body, budget, || needed(exif))?;
            }
            None => break,
        }
    }
    let Some(frame) = file.frame.as_mut() else {
        return Err(damaged("it ends before its picture begins"));
    };
    if frame.progressive && file.unmarked {
        let open = |component: &Component| component.open_bits.iter().any(|&bits| bits > 0);
        if frame.components.iter().any(open) {
            return Err(damaged("it ends before its last scan"));
        }
        // A scan that was passed over may be the one that is cut off.
        if frame.passed_over {
            decode(bytes, budget, &|_| None)?;
        }
    }
    if frame.progressive {
        frame.transform();
    }
    if let Some(missing) = frame
        .components
        .iter()
        .find(|component| !component.complete)
    {
        let id = missing.id;
        return Err(damaged(format!(
            "it ends before the data of its component {id}"
        )));
    }
    let pixels = colours(frame, file.jfif, file.adobe)?;
    let extent = |side: usize| (side * frame.samples) as f64 / 8.0;
    Ok(Picture {
        part: [0.0, 0.0, extent(frame.width), extent(frame.height)],
        pixels,
        width: frame.width,
        height: frame.height,
        exif: file.exif,
        profile: joined(file.profile),
    })
}

/// The parts of a colour profile, each with its number and the number of parts before it, in one.
fn joined(mut parts: Vec<&[u8]>) -> Option<Vec<u8>> {
    parts.sort_by_key(|part| part[0]);
    let numbered = |(at, part): (usize, &&[u8])| {
        usize::from(part[0]) == at + 1 && usize::from(part[1]) == parts.len()
    };
    let whole = !parts.is_empty() && parts.iter().enumerate().all(numbered);
    whole.then(|| parts.iter().flat_map(|part| &part[2..]).copied().collect())
}

#[cfg(test)]
mod tests;
