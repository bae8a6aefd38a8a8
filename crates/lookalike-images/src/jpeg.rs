//! JPEG, decoded at the size that is needed.
//!
//! A photograph of 12 megapixels goes to a network as 128 x 128. Of a block of 8 x 8 pixels an eighth of the size
//! needs one coefficient out of 64, a quarter four, a half sixteen. The others must be passed over bit by bit,
//! which is nearly all the work; so they are passed over several at a time, by a table, and in a progressive file
//! the scans that hold only such are not read at all. Decoders made for whole pictures do neither.
//!
//! Sequential and progressive Huffman-coded files of 8 bits are decoded, in any division of the components into
//! scans, with 1, 3 or 4 components. Files that end before their last row are refused.

mod bits;
mod planes;
mod transform;

use bits::{Bits, Huffman};
use planes::{Component, colours};
use transform::{ZIGZAG, samples};

use crate::decode::{Budget, Format};
use crate::error::ImageError;
use crate::pixels::Pixels;
use crate::resample::Part;

/// Scans of one file. Encoders make about ten; each costs a pass over all blocks, however short it is.
const MAX_SCANS: usize = 100;

/// From this many blocks on it pays to make the tables that skip coefficients.
const MANY_BLOCKS: usize = 1500;

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

/// Decodes a file. `needed` is given the EXIF structure and says how many pixels the picture must have at least in
/// width and height, if fewer than all are enough.
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

/// A segment that is more than a table.
enum Segment<'a> {
    Frame(&'a [u8], u8),
    Scan(&'a [u8]),
}

/// A file while it is read.
struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    ended: bool,
    /// Whether it ended without its end marker.
    unmarked: bool,
    quantisation: [Option<[f32; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// MCUs between restarts; 0 without.
    restart: usize,
    scans: usize,
    jfif: bool,
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
    /// Parts of the colour profile as they come, from their numbers on.
    profile: Vec<&'a [u8]>,
    frame: Option<Frame>,
}

/// A picture while it is read.
struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    /// Samples that a block of the finest component is made into, a side: 8, or 4, 2, 1 for a reduced picture.
    samples: usize,
    /// The largest sampling factors.
    most: (usize, usize),
    components: Vec<Component>,
    planned: bool,
    /// Whether a scan was not read, because no pixel depends on it.
    passed_over: bool,
}

/// What one scan holds.
struct Scan {
    /// For each component its place in the frame, and its tables.
    parts: Vec<(usize, usize, usize)>,
    /// The band of coefficients.
    first: usize,
    last: usize,
    /// Bits known before (0: none), and left open.
    high: u8,
    low: u8,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Self {
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
    fn next_segment(&mut self) -> Result<Option<Segment<'a>>, ImageError> {
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

    fn begin_frame(&mut self, body: &[u8], kind: u8, budget: &Budget) -> Result<(), ImageError> {
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
            most: (most(|c| c.sampling.0), most(|c| c.sampling.1)),
            components,
            planned: false,
            passed_over: false,
        });
        Ok(())
    }

    /// Reads one scan, header and data.
    fn scan(
        &mut self,
        body: &[u8],
        budget: &Budget,
        needed: impl Fn() -> Option<(usize, usize)>,
    ) -> Result<(), ImageError> {
        let Some(frame) = self.frame.as_mut() else {
            return Err(damaged("its data come before its frame header"));
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

/// Entropy-coded data.
struct Coded {
    /// Bytes of the file, up to the next marker.
    length: usize,
    /// Where in the data without stuffing the segments between restarts end.
    ends: Vec<usize>,
}

/// Finds the end of entropy-coded data, and copies them without the zeros stuffed behind 0xff, if asked to.
fn coded(rest: &[u8], mut data: Option<&mut Vec<u8>>) -> Result<Coded, ImageError> {
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

impl Scan {
    fn new(body: &[u8], frame: &Frame) -> Result<Self, ImageError> {
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

impl Frame {
    /// Chooses the size that the picture is decoded at, and makes room for it.
    fn plan(
        &mut self,
        needed: Option<(usize, usize)>,
        bytes: usize,
        budget: &Budget,
    ) -> Result<(), ImageError> {
        self.planned = true;
        if let Some((width, height)) = needed {
            let enough = |samples: &usize| {
                (self.width * samples).div_ceil(8) >= width
                    && (self.height * samples).div_ceil(8) >= height
            };
            self.samples = [1, 2, 4].into_iter().find(enough).unwrap_or(8);
        }
        let (width, height) = self.reduced();
        let mcus = self.mcus();
        let mut memory = bytes + width * height * self.channels();
        let mut blocks = 0;
        for component in &mut self.components {
            memory += component.plan(
                (self.width, self.height),
                self.samples,
                self.most,
                mcus,
                self.progressive,
            );
            blocks += component.blocks();
        }
        // A block takes a bit of a progressive scan and two of a sequential one, at least: a file that promises
        // more than it can hold is refused before there is room for it. Of several scans, only the first is here.
        let first = self
            .components
            .iter()
            .map(Component::blocks)
            .min()
            .unwrap_or(blocks);
        if first / 8 > bytes {
            return Err(damaged("it ends before its last row"));
        }
        budget.memory(memory as u64)?;
        for component in &mut self.components {
            component.make_room();
        }
        Ok(())
    }

    /// Width and height of the picture that is made.
    fn reduced(&self) -> (usize, usize) {
        let reduce = |side: usize| (side * self.samples).div_ceil(8);
        (reduce(self.width), reduce(self.height))
    }

    fn channels(&self) -> usize {
        self.components.len().min(3)
    }

    fn mcus(&self) -> (usize, usize) {
        let mcus = |side: usize, most: usize| side.div_ceil(8 * most);
        (
            mcus(self.width, self.most.0),
            mcus(self.height, self.most.1),
        )
    }

    /// Whether no pixel depends on a scan.
    fn skips(&self, scan: &Scan) -> bool {
        let component = &self.components[scan.parts[0].0];
        self.progressive && scan.first > component.last
    }

    /// Calls `each` for every block of a scan: the component's place among the scan's parts, and the block's column
    /// and row.
    #[inline(always)]
    fn each_block(
        &mut self,
        scan: &Scan,
        reader: &mut Reader,
        mut each: impl FnMut(
            &mut Component,
            &mut Reader,
            usize,
            (usize, usize),
        ) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let alone = scan.parts.len() == 1;
        let (columns, rows) = match alone {
            true => self.components[scan.parts[0].0].real_blocks,
            false => self.mcus(),
        };
        for row in 0..rows {
            for column in 0..columns {
                reader.begin_unit()?;
                for (part, &(place, _, _)) in scan.parts.iter().enumerate() {
                    let component = &mut self.components[place];
                    let (across, along) = if alone { (1, 1) } else { component.sampling };
                    for y in 0..along {
                        for x in 0..across {
                            let at = (column * across + x, row * along + y);
                            each(component, reader, part, at)?;
                        }
                    }
                }
            }
            if reader.bits.overrun() {
                return Err(reader.ended());
            }
        }
        for &(place, _, _) in &scan.parts {
            self.components[place].complete |= scan.first == 0;
        }
        Ok(())
    }

    fn read_sequential(
        &mut self,
        scan: &Scan,
        reader: &mut Reader,
        dc: &[Option<Huffman>; 4],
        ac: &[Option<Huffman>; 4],
    ) -> Result<(), ImageError> {
        let tables: Vec<_> = (scan.parts.iter())
            .filter_map(|&(_, d, a)| dc[d].as_ref().zip(ac[a].as_ref()))
            .collect();
        let mut block = [0f32; 64];
        self.each_block(scan, reader, |component, reader, part, at| {
            let (dc, ac) = tables[part];
            let factors = component.factors.as_ref().expect("set before the scan");
            let count = reader.block((dc, ac), part, component.last, factors, &mut block)?;
            let size = component.size;
            let (out, stride) = component.block_mut(at);
            samples(&block, count, size, out, stride);
            Ok(())
        })
    }

    fn read_progressive(
        &mut self,
        scan: &Scan,
        reader: &mut Reader,
        dc: &[Option<Huffman>; 4],
        ac: &[Option<Huffman>; 4],
    ) -> Result<(), ImageError> {
        let low = u32::from(scan.low);
        if scan.first > 0 {
            let Some(table) = &ac[scan.parts[0].2] else {
                return Err(damaged("a Huffman table of it is missing"));
            };
            let band = scan.first..=scan.last;
            return self.each_block(scan, reader, |component, reader, _, at| {
                let block = component.coefficients_mut(at);
                match scan.high {
                    0 => reader.band(table, band.clone(), low, block),
                    _ => reader.refined_band(table, band.clone(), low, block),
                }
            });
        }
        self.each_block(scan, reader, |component, reader, part, at| {
            let first = &mut component.coefficients_mut(at)[0];
            if scan.high > 0 {
                *first |= (reader.bits.take(1) << low) as i16;
                return Ok(());
            }
            let Some(table) = &dc[scan.parts[part].1] else {
                return Err(damaged("a Huffman table of it is missing"));
            };
            *first = (mean(&mut reader.bits, &mut reader.predictions[part], table)? << low) as i16;
            Ok(())
        })
    }

    /// Makes samples of a progressive picture's coefficients.
    fn transform(&mut self) {
        for component in &mut self.components {
            let Some(factors) = component.factors else {
                continue;
            };
            let (columns, rows) = component.real_blocks;
            let mut block = [0f32; 64];
            for at in (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row))) {
                let (mut count, last) = (0, component.last);
                for (k, &value) in component.coefficients_mut(at).iter().enumerate() {
                    block[usize::from(ZIGZAG[k])] = f32::from(value) * factors[k];
                    if value != 0 && k <= last {
                        count = k + 1;
                    }
                }
                let size = component.size;
                let (out, stride) = component.block_mut(at);
                samples(&block, count, size, out, stride);
            }
        }
    }
}

/// Where one scan stands in its data.
struct Reader<'a> {
    data: &'a [u8],
    ends: &'a [usize],
    segment: usize,
    restart: usize,
    /// Units left before the next restart.
    left: usize,
    bits: Bits<'a>,
    /// The mean of the block before, for each part of the scan.
    predictions: [i32; 4],
    /// Blocks that a progressive scan leaves out, still to come.
    run: u32,
}

impl Reader<'_> {
    fn ended(&self) -> ImageError {
        damaged("it ends before its last row")
    }

    /// Before every MCU: restarts when it is time.
    #[inline(always)]
    fn begin_unit(&mut self) -> Result<(), ImageError> {
        if self.restart > 0 {
            if self.left == 0 {
                self.begin_segment()?;
            }
            self.left -= 1;
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), ImageError> {
        self.check_end()?;
        self.segment += 1;
        let &end = self.ends.get(self.segment).ok_or_else(|| self.ended())?;
        self.bits = Bits::new(&self.data[self.ends[self.segment - 1]..end]);
        self.predictions = [0; 4];
        self.run = 0;
        self.left = self.restart;
        Ok(())
    }

    fn check_end(&self) -> Result<(), ImageError> {
        match self.bits.overrun() {
            true => Err(self.ended()),
            false => Ok(()),
        }
    }

    /// Reads a block up to coefficient `last`, dequantised and in rows; passes over the rest. Gives how many
    /// coefficients there are up to the last that is not zero.
    #[inline(always)]
    fn block(
        &mut self,
        (dc, ac): (&Huffman, &Huffman),
        part: usize,
        last: usize,
        factors: &[f32; 64],
        block: &mut [f32; 64],
    ) -> Result<usize, ImageError> {
        let mut bits = self.bits;
        let mean = mean(&mut bits, &mut self.predictions[part], dc)? as f32 * factors[0];
        if last == 0 {
            block[0] = mean;
            bits.skip(ac, 1)?;
            self.bits = bits;
            return Ok(1);
        }
        block.fill(0.0);
        block[0] = mean;
        let (mut next, mut count) = (1, 1);
        while next <= last {
            let value = if let Some((zeros, value)) = bits.short_coefficient(ac) {
                next += zeros;
                value
            } else {
                let symbol = bits.symbol(ac)?;
                let size = u32::from(symbol & 15);
                if size == 0 {
                    if symbol != 0xf0 {
                        self.bits = bits;
                        return Ok(count);
                    }
                    next += 16;
                    continue;
                }
                next += usize::from(symbol >> 4);
                bits.value(size)
            };
            if next > 63 {
                return Err(damaged("a block of it has more than 64 coefficients"));
            }
            if next <= last {
                block[usize::from(ZIGZAG[next])] = value as f32 * factors[next];
                count = next + 1;
            }
            next += 1;
        }
        bits.skip(ac, next)?;
        self.bits = bits;
        Ok(count)
    }

    /// A band of coefficients of a progressive picture for the first time.
    #[inline(always)]
    fn band(
        &mut self,
        table: &Huffman,
        band: std::ops::RangeInclusive<usize>,
        low: u32,
        block: &mut [i16],
    ) -> Result<(), ImageError> {
        if self.run > 0 {
            self.run -= 1;
            return Ok(());
        }
        let mut next = *band.start();
        while next <= *band.end() {
            let symbol = self.bits.symbol(table)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if zeros < 15 {
                    self.run = (1 << zeros) - 1 + self.bits.take(zeros);
                    return Ok(());
                }
                next += 16;
                continue;
            }
            next += zeros as usize;
            let value = self.bits.value(size);
            if next > *band.end() {
                return Err(damaged("a block of it has too many coefficients"));
            }
            block[next] = (value << low) as i16;
            next += 1;
        }
        Ok(())
    }

    /// One more bit of a band of coefficients.
    #[inline(always)]
    fn refined_band(
        &mut self,
        table: &Huffman,
        band: std::ops::RangeInclusive<usize>,
        low: u32,
        block: &mut [i16],
    ) -> Result<(), ImageError> {
        let bit = 1i16 << low;
        let mut next = *band.start();
        if self.run == 0 {
            while next <= *band.end() {
                let symbol = self.bits.symbol(table)?;
                let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut value = 0;
                if size == 0 {
                    if zeros < 15 {
                        self.run = (1 << zeros) + self.bits.take(zeros);
                        break;
                    }
                } else if size == 1 {
                    value = if self.bits.take(1) == 1 { bit } else { -bit };
                } else {
                    return Err(damaged("a refinement of it adds more than a bit"));
                }
                // Coefficients known before are refined on the way and do not count as zeros.
                while next <= *band.end() {
                    if block[next] != 0 {
                        self.refine(&mut block[next], bit);
                    } else if zeros == 0 {
                        if value != 0 {
                            block[next] = value;
                        }
                        break;
                    } else {
                        zeros -= 1;
                    }
                    next += 1;
                }
                next += 1;
            }
        }
        if self.run > 0 {
            for known in block[next.min(band.end() + 1)..=*band.end()].iter_mut() {
                if *known != 0 {
                    self.refine(known, bit);
                }
            }
            self.run -= 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn refine(&mut self, known: &mut i16, bit: i16) {
        if self.bits.take(1) == 1 && *known & bit == 0 {
            let by = if *known < 0 { -bit } else { bit };
            *known = known.wrapping_add(by);
        }
    }
}

/// The first coefficient of a block, which is its mean: the difference from the one before is coded.
#[inline(always)]
fn mean(bits: &mut Bits, before: &mut i32, table: &Huffman) -> Result<i32, ImageError> {
    let size = bits.symbol(table)?;
    if size > 11 {
        return Err(damaged("a mean of a block of it is out of range"));
    }
    *before = before.wrapping_add(bits.value(size.into()));
    Ok(*before)
}

#[cfg(test)]
mod tests;
