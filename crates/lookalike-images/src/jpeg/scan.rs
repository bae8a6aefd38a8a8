//! One scan: its header, and where its entropy-coded data end.

use super::damaged;
use super::frame::Frame;
use crate::error::ImageError;

/// What one scan holds.
pub(super) struct Scan {
    /// For each component its place in the frame, and its tables.
    pub(super) parts: Vec<(usize, usize, usize)>,
    /// The band of coefficients.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Bits known before (0: none), and left open.
    pub(super) high: u8,
    pub(super) low: u8,
}

impl Scan {
    pub(super) fn new(body: &[u8], frame: &Frame) -> Result<Self, ImageError> {
        let nonsense = || damaged("a scan header of it makes no sense");
        let (&count, rest) = body.split_first().ok_or_else(nonsense)?;
        let count = usize::from(count);
        let (names, rest) = rest.split_at_checked(2 * count).ok_or_else(nonsense)?;
        let &[first, last, bits] = rest.first_chunk().ok_or_else(nonsense)?;
        if !(1..=frame.components.len()).contains(&count) {
            return Err(nonsense());
        }
        let mut parts: Vec<(usize, usize, usize)> = Vec::new();
        for name in names.chunks_exact(2) {
            let place = frame.components.iter().position(|c| c.id == name[0]);
            let place = place.ok_or_else(nonsense)?;
            let (dc, ac) = (usize::from(name[1] >> 4), usize::from(name[1] & 15));
            if dc > 3 || ac > 3 || parts.iter().any(|part| part.0 == place) {
                return Err(nonsense());
            }
            parts.push((place, dc, ac));
        }
        let blocks = |part: &(usize, usize, usize)| {
            let (across, along) = frame.components[part.0].sampling;
            across * along
        };
        if count > 1 && parts.iter().map(blocks).sum::<usize>() > 10 {
            return Err(nonsense());
        }
        let mut scan = Self {
            parts,
            first: 0,
            last: 63,
            high: 0,
            low: 0,
        };
        if !frame.progressive {
            let twice = |part: &(usize, usize, usize)| frame.components[part.0].complete;
            if scan.parts.iter().any(twice) {
                return Err(damaged("it has the data of a component twice"));
            }
            return Ok(scan);
        }
        (scan.first, scan.last) = (first.into(), last.into());
        (scan.high, scan.low) = (bits >> 4, bits & 15);
        let band = match scan.first {
            0 => scan.last == 0,
            _ => scan.first <= scan.last && scan.last < 64 && count == 1,
        };
        let precise = scan.low <= 13 && (scan.high == 0 || scan.high == scan.low + 1);
        if !band || !precise {
            return Err(nonsense());
        }
        Ok(scan)
    }
}

/// Entropy-coded data.
pub(super) struct Coded {
    /// Bytes of the file, up to the next marker.
    pub(super) length: usize,
    /// Where in the data without stuffing the segments between restarts end.
    pub(super) ends: Vec<usize>,
}

/// Finds the end of entropy-coded data, and copies them without the zeros stuffed behind 0xff, if
/// asked to.
pub(super) fn coded(rest: &[u8], mut data: Option<&mut Vec<u8>>) -> Result<Coded, ImageError> {
    let mut ends = Vec::new();
    let mut at = 0;
    let mut keep = |bytes: &[u8]| {
        if let Some(data) = data.as_mut() {
            data.extend_from_slice(bytes);
        }
        data.as_ref().map_or(0, |data| data.len())
    };
    loop {
        let Some(run) = memchr::memchr(0xff, &rest[at..]) else {
            ends.push(keep(&rest[at..]));
            at = rest.len();
            break;
        };
        let escape = at + run;
        match rest.get(escape + 1) {
            Some(0) => {
                keep(&rest[at..=escape]);
                at = escape + 2;
            }
            // Fill bytes.
            Some(0xff) => {
                keep(&rest[at..escape]);
                at = escape + 1;
            }
            Some(&marker @ 0xd0..=0xd7) => {
                ends.push(keep(&rest[at..escape]));
                if usize::from(marker - 0xd0) != (ends.len() - 1) % 8 {
                    return Err(damaged("its restart markers are out of order"));
                }
                at = escape + 2;
            }
            _ => {
                ends.push(keep(&rest[at..escape]));
                at = escape;
                break;
            }
        }
    }
    Ok(Coded { length: at, ends })
}
