//! A file's segments: tables, the header of its picture, scans.

use super::bits::{Bits, Huffman};
use super::coefficients::Reader;
use super::frame::Frame;
use super::planes::Component;
use super::scan::{Scan, coded};
use super::{damaged, unsupported};
use crate::decode::Budget;
use crate::error::ImageError;

/// Scans of one file. Encoders make about ten; each costs a pass over all blocks, however short it
/// is.
const MAX_SCANS: usize = 100;

/// From this many blocks on it pays to make the tables that skip coefficients.
const MANY_BLOCKS: usize = 1500;

/// A segment that is more than a table.
pub(super) enum Segment<'a> {
    Frame(&'a [u8], u8),
    Scan(&'a [u8]),
}

/// A file while it is read.
pub(super) struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    ended: bool,
    /// Whether it ended without its end marker.
    pub(super) unmarked: bool,
    quantisation: [Option<[f32; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// MCUs between restarts; 0 without.
    restart: usize,
    scans: usize,
    pub(super) jfif: bool,
    pub(super) adobe: Option<u8>,
    pub(super) exif: Option<&'a [u8]>,
    /// Parts of the colour profile as they come, from their numbers on.
    pub(super) profile: Vec<&'a [u8]>,
    pub(super) frame: Option<Frame>,
}

impl<'a> File<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            // Behind the marker that makes it a JPEG.
            at: 2,
            ended: false,
            unmarked: false,
            quantisation: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart: 0,
            scans: 0,
            jfif: false,
            adobe: None,
            exif: None,
            profile: Vec::new(),
            frame: None,
        }
    }

    /// Reads tables up to a frame's header or a scan's; nothing at the end.
    pub(super) fn next_segment(&mut self) -> Result<Option<Segment<'a>>, ImageError> {
        while !self.ended {
            // What is no marker between segments is passed over, as by every decoder.
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let marker = memchr::memchr(0xff, rest).and_then(|start| {
                let code = rest[start..].iter().position(|&byte| byte != 0xff)?;
                Some((rest[start + code], self.at + start + code + 1))
            });
            let Some((marker, behind)) = marker else {
                return self.end_without_marker();
            };
            self.at = behind;
            match marker {
                0x00 | 0x01 | 0xd0..=0xd8 => continue,
                0xd9 => {
                    self.ended = true;
                    continue;
                }
                _ => {}
            }
            let Some(body) = self.body() else {
                return self.end_without_marker();
            };
            match marker {
                0xc0..=0xc2 => return Ok(Some(Segment::Frame(body, marker))),
                0xc4 => self.huffman_tables(body)?,
                0xc3 | 0xc5..=0xc7 | 0xc8..=0xcf => {
                    let kind = match marker {
                        0xc3 | 0xc7 | 0xcb | 0xcf => "lossless",
                        0xc5 | 0xc6 => "hierarchical",
                        _ => "arithmetic",
                    };
                    return Err(unsupported(format!(
                        "its coding is {kind}; save it as an ordinary JPEG"
                    )));
                }
                0xda => return Ok(Some(Segment::Scan(body))),
                0xdb => self.quantisation_tables(body)?,
                0xdc => {
                    return Err(unsupported(
                        "it gives its height late; save it as an ordinary JPEG",
                    ));
                }
                0xdd => {
                    let body = body
                        .first_chunk()
                        .ok_or_else(|| damaged("its DRI is too short"))?;
                    self.restart = usize::from(u16::from_be_bytes(*body));
                }
                0xe0 => self.jfif |= body.starts_with(b"JFIF\0"),
                0xe1 if self.exif.is_none() => self.exif = body.strip_prefix(b"Exif\0\0"),
                // At most 255 parts, each numbered by a byte.
                0xe2 if self.profile.len() < 255 => {
                    let part = body.strip_prefix(b"ICC_PROFILE\0");
                    self.profile.extend(part.filter(|part| part.len() > 2));
                }
                0xee if body.starts_with(b"Adobe") => self.adobe = body.get(11).copied(),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The end of a file without its last marker: no harm, if all that the picture needs is there.
    fn end_without_marker(&mut self) -> Result<Option<Segment<'a>>, ImageError> {
        self.ended = true;
        self.unmarked = true;
        match &self.frame {
            Some(_) => Ok(None),
            None => Err(damaged("it ends before its picture begins")),
        }
    }

    /// The body of a segment, without its length.
    fn body(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let body = rest.get(2..length)?;
        self.at += length;
        Some(body)
    }

    fn quantisation_tables(&mut self, mut body: &[u8]) -> Result<(), ImageError> {
        let short = || damaged("a quantisation table of it is too short");
        while let Some((&kind, rest)) = body.split_first() {
            let wide = usize::from(kind >> 4);
            let table = self.quantisation.get_mut(usize::from(kind & 15));
            let (Some(table), 0 | 1) = (table, wide) else {
                return Err(damaged("a quantisation table of it has no such number"));
            };
            let size = 64 << wide;
            let values = rest.get(..size).ok_or_else(short)?;
            *table = Some(std::array::from_fn(|i| match wide {
                0 => f32::from(values[i]),
                _ => f32::from(u16::from_be_bytes([values[2 * i], values[2 * i + 1]])),
            }));
            body = &rest[size..];
        }
        Ok(())
    }

    fn huffman_tables(&mut self, mut body: &[u8]) -> Result<(), ImageError> {
        let short = || damaged("a Huffman table of it is too short");
        while let Some((&kind, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
            let size: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let symbols = rest.get(..size).filter(|_| size <= 256).ok_or_else(short)?;
            let tables = match kind >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(damaged("a Huffman table of it is of no known kind")),
            };
            let table = tables.get_mut(usize::from(kind & 15));
            let table = table.ok_or_else(|| damaged("a Huffman table of it has no such number"))?;
            *table = Some(Huffman::new(counts, symbols)?);
            body = &rest[size..];
        }
        Ok(())
    }

    pub(super) fn begin_frame(
        &mut self,
        body: &[u8],
        kind: u8,
        budget: &Budget,
    ) -> Result<(), ImageError> {
        if self.frame.is_some() {
            return Err(damaged("it has two pictures in one"));
        }
        let short = || damaged("its frame header is too short");
        let (&[bits, h1, h0, w1, w0, count], parts) = body.split_first_chunk().ok_or_else(short)?;
        let height = usize::from(u16::from_be_bytes([h1, h0]));
        let width = usize::from(u16::from_be_bytes([w1, w0]));
        if bits != 8 {
            return Err(unsupported(format!(
                "it has {bits} bits a sample, not 8; save it as an ordinary JPEG"
            )));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unsupported(format!(
                "it has {count} components, not 1, 3 or 4; save it as an ordinary JPEG"
            )));
        }
        budget.sides(width, height)?;
        let parts = parts.get(..3 * usize::from(count)).ok_or_else(short)?;
        let mut components: Vec<Component> = Vec::new();
        for part in parts.chunks_exact(3) {
            let (across, along) = match count {
                // The factors of a single component mean nothing.
                1 => (1, 1),
                _ => (usize::from(part[1] >> 4), usize::from(part[1] & 15)),
            };
            if !(1..=4).contains(&across) || !(1..=4).contains(&along) || part[2] > 3 {
                return Err(damaged("its frame header makes no sense"));
            }
            if components.iter().any(|other| other.id == part[0]) {
                return Err(damaged("two components of it have one name"));
            }
            components.push(Component::new(part[0], (across, along), part[2].into()));
        }
        let most = |factor: fn(&Component) -> usize| {
            components.iter().map(factor).max().expect("components")
        };
        self.frame = Some(Frame {
            width,
            height,
            progressive: kind == 0xc2,
            samples: 8,
            max_sampling: (most(|c| c.sampling.0), most(|c| c.sampling.1)),
            components,
            planned: false,
            passed_over: false,
        });
        Ok(())
    }

    /// Reads one scan, header and data.
    pub(super) fn scan(
        &mut self,
        body: &[u8],
        budget: &Budget,
        needed: impl Fn() -> Option<(usize, usize)>,
    ) -> Result<(), ImageError> {
        let Some(frame) = self.frame.as_mut() else {
            return Err(damaged("its scan data come before its frame header"));
        };
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(damaged(format!("it has more than {MAX_SCANS} scans")));
        }
        let scan = Scan::new(body, frame)?;
        for &(place, _, _) in &scan.parts {
            let component = &mut frame.components[place];
            if component.factors.is_none() {
                let table = self.quantisation[component.table];
                component.factors =
                    Some(table.ok_or_else(|| damaged("a quantisation table of it is missing"))?);
            }
        }
        if !frame.planned {
            frame.plan(needed(), self.bytes.len() - self.at, budget)?;
        }
        let rest = &self.bytes[self.at..];
        if frame.progressive {
            for &(place, _, _) in &scan.parts {
                frame.components[place].open_bits[scan.first..=scan.last].fill(scan.low);
            }
        }
        if frame.skips(&scan) {
            frame.passed_over = true;
            self.at += coded(rest, None)?.length;
            return Ok(());
        }
        let blocks: usize = scan
            .parts
            .iter()
            .map(|part| frame.components[part.0].blocks())
            .sum();
        let mut data = Vec::new();
        let coded = coded(rest, Some(&mut data))?;
        self.at += coded.length;
        for &(_, dc, ac) in &scan.parts {
            let missing = || damaged("a Huffman table of it is missing");
            if scan.first == 0 && scan.high == 0 && self.dc[dc].is_none() {
                return Err(missing());
            }
            if scan.last > 0 {
                let table = self.ac[ac].as_mut().ok_or_else(missing)?;
                if !frame.progressive && blocks > MANY_BLOCKS {
                    table.prepare_to_skip();
                }
            }
        }
        let mut reader = Reader {
            data: &data,
            ends: &coded.ends,
            segment: 0,
            restart: self.restart,
            left: self.restart,
            bits: Bits::new(&data[..coded.ends[0]]),
            predictions: [0; 4],
            run: 0,
        };
        if frame.progressive {
            frame.read_progressive(&scan, &mut reader, &self.dc, &self.ac)?;
        } else {
            frame.read_sequential(&scan, &mut reader, &self.dc, &self.ac)?;
        }
        reader.check_end()
    }
}
