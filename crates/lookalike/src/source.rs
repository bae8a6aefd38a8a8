//! Sources of every kind, read and decoded.
//!
//! `lookalike-sources` lists files, wherever they lie; `lookalike-images` decodes them, and knows
//! the data sets that hold pixels themselves (MNIST, IDX). [`Source`] is both under one name, so
//! that every command takes every source.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use lookalike_images::{
    DecodeOptions, Decoded, Fit, GreyRange, Image, ImageError, Images, InputShape, Pixels, Region,
    Source as Pictures, SourceError, decode, deep_values, fit_with, open as open_pictures,
};
use lookalike_sources::{
    Drawing, Entries, Entry, LabelFrom, Part, PartNumber, Rank, SkipKind, Skipped, Source as Files,
    SourceOptions, existing, open as open_files,
};
use rayon::prelude::*;

use crate::Error;
use crate::skips::Skips;

/// How a source is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Labels, limits, hidden files.
    pub source: SourceOptions,
    /// Background and limits of pictures.
    pub decode: DecodeOptions,
    /// Only the images of this part.
    pub part: Option<PartNumber>,
    /// A fair sample of so many images, and its seed.
    pub sample: Option<(usize, u64)>,
}

/// A source of images of any kind, opened.
pub struct Source {
    /// What it was opened by.
    spec: String,
    kind: Kind,
    reading: Reading,
    /// What images are brought to while they are read; none: they come as they are.
    shape: Option<(InputShape, Fit)>,
    skips: Arc<Skips>,
}

enum Kind {
    /// Pixels as they are, with numbers for keys.
    Pictures(Box<dyn Pictures>),
    /// Files to decode.
    Files(Box<dyn Files>),
}

/// Opens a source of any kind: `mnist:train`, an IDX file, and all that [`lookalike_sources::open`]
/// takes. What is passed over while it is read goes to `skips`.
///
/// # Errors
///
/// When `spec` names nothing that can be opened.
pub fn open_source(spec: &str, reading: Reading, skips: Arc<Skips>) -> Result<Source, Error> {
    let kind = match is_pictures(spec) {
        true => Kind::Pictures(open_pictures(spec)?),
        false => {
            let files = open_files(spec, &reading.source).map_err(with_pixels)?;
            Kind::Files(match reading.part {
                Some(part) => Box::new(Part::new(files, part)),
                None => files,
            })
        }
    };
    Ok(Source {
        spec: spec.to_owned(),
        kind,
        reading,
        shape: None,
        skips,
    })
}

/// Names the data sets of pixels to somebody whose source was not found.
fn with_pixels(error: lookalike_sources::SourceError) -> Error {
    match error {
        lookalike_sources::SourceError::Spec { spec, reason } => {
            lookalike_sources::SourceError::Spec {
                spec,
                reason: match reason.strip_suffix(lookalike_sources::SOURCES) {
                    Some(reason) => format!(
                        "{reason}{}, an IDX file, mnist:train or mnist:test",
                        lookalike_sources::SOURCES
                    ),
                    None => reason,
                },
            }
            .into()
        }
        other => other.into(),
    }
}

/// Whether `lookalike-images` opens it: MNIST, or a file that is no other kind by its name.
fn is_pictures(spec: &str) -> bool {
    if spec.starts_with("mnist:") {
        return true;
    }
    let path = Path::new(spec);
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    // As MNIST's files are called, plain or packed; others are told by their beginning.
    let idx = ["-ubyte", "-ubyte.gz", ".idx", ".idx.gz"]
        .iter()
        .any(|end| name.ends_with(end));
    path.is_file() && (idx || begins_as_idx(path))
}

/// IDX begins with two zeros and the type of its numbers.
fn begins_as_idx(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0xff; 3];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == [0, 0, 8]
}

impl Source {
    /// Brings images to a shape while they are read, by all threads.
    #[must_use]
    pub fn fitted(mut self, shape: InputShape, how: Fit) -> Self {
        self.reading.decode.target = Some((shape.width, shape.height));
        self.shape = Some((shape, how));
        self
    }

    /// Reads a fair sample of at most `count` images, unless a sample was asked for already.
    #[must_use]
    pub fn sampled(mut self, count: usize, seed: u64) -> Self {
        self.reading.sample.get_or_insert((count, seed));
        self
    }

    /// The listing of the source, where there is one: none for data sets of pixels.
    pub(crate) fn files(&self) -> Option<&dyn Files> {
        match &self.kind {
            Kind::Files(files) => Some(&**files),
            Kind::Pictures(_) => None,
        }
    }

    /// What was passed over.
    pub fn skips(&self) -> &Arc<Skips> {
        &self.skips
    }

    /// How it is read.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The shape that suits the source for a network, if nobody says another: that of its images if
    /// they are small and all alike, and otherwise [`DEFAULT_SIDE`] pixels each way; grey if no
    /// image has colour. Looks at the first [`LOOKED_AT`] images.
    ///
    /// # Errors
    ///
    /// When the source cannot be read or has no images.
    pub fn suitable_shape(&self) -> Result<InputShape, Error> {
        let mut found: Option<Looked> = None;
        let mut first: Option<Skipped> = None;
        match &self.kind {
            Kind::Pictures(pictures) => {
                let image = pictures.read()?.next().transpose()?;
                found = image.map(|image| Looked::at(&image.pixels));
            }
            Kind::Files(files) => {
                let mut options = self.reading.decode.clone();
                options.target = Some((DEFAULT_SIDE, DEFAULT_SIDE));
                let limits = self.reading.source.limits;
                // What cannot be read is told when it is read in earnest, if there is anything
                // else.
                let first = &mut first;
                let seen = files.entries()?.filter_map(|entry| {
                    let looked = entry.and_then(|entry| {
                        let bytes = entry.read(&limits).map_err(|why| entry.skipped(why))?;
                        decode_bytes(&entry, &bytes, &options)
                    });
                    looked
                        .map_err(|skipped| first.get_or_insert(skipped).clone())
                        .ok()
                });
                for decoded in seen.take(LOOKED_AT) {
                    let next = Looked::decoded(&decoded);
                    found = Some(found.map_or(next, |found| found.and(next)));
                }
            }
        }
        match (found, first) {
            (Some(looked), _) => Ok(looked.shape()),
            (None, Some(skipped)) => Err(Error::Unusable(format!(
                "no image of {} can be read; the first, {}: {}",
                self.name(),
                skipped.location,
                skipped.reason
            ))),
            (None, None) => Err(Error::Source(SourceError::Empty {
                name: self.name().to_owned(),
            })),
        }
    }

    /// Which values of grey pictures with more than 8 bits are black and white, by those of the
    /// first [`LOOKED_AT`] images: from their percentile 0.1 to their percentile 99.9. None where a
    /// range was asked for, or no picture has more than 8 bits of grey.
    ///
    /// # Errors
    ///
    /// When the source cannot be read.
    pub fn suitable_grey_range(&self) -> Result<Option<GreyRange>, Error> {
        let Kind::Files(files) = &self.kind else {
            return Ok(None);
        };
        if self.reading.decode.grey_range.is_some() {
            return Ok(None);
        }
        let limits = self.reading.source.limits;
        let entries: Vec<Entry> = files.entries()?.flatten().take(LOOKED_AT).collect();
        let values: Vec<f32> = entries
            .par_iter()
            .filter_map(|entry| {
                let bytes = entry.read(&limits).ok()?;
                deep_values(&bytes, &self.reading.decode, VALUES_EACH).ok()?
            })
            .flatten()
            .collect();
        Ok(GreyRange::of_values(values))
    }

    /// Takes these values of grey pictures with more than 8 bits as black and white, unless others
    /// were asked for already.
    #[must_use]
    pub fn with_grey_range(mut self, range: Option<GreyRange>) -> Self {
        let own = &mut self.reading.decode.grey_range;
        *own = own.or(range);
        self
    }

    /// To be read in another way. It is opened anew only where that changes what is listed.
    ///
    /// # Errors
    ///
    /// When it can no longer be opened.
    pub(crate) fn read_as(self, reading: Reading) -> Result<Self, Error> {
        let (before, now) = (&self.reading, &reading);
        let is_listed_alike = before.source.label == now.source.label
            && before.source.limits == now.source.limits
            && before.source.hidden == now.source.hidden
            && before.part == now.part;
        match is_listed_alike {
            true => Ok(Self { reading, ..self }),
            false => Ok(Self {
                shape: self.shape,
                ..open_source(&self.spec, reading, self.skips)?
            }),
        }
    }

    /// All entries, in order.
    pub(crate) fn entries(&self) -> Result<Entries, Error> {
        let Kind::Files(files) = &self.kind else {
            unreachable!("only files have entries");
        };
        Ok(files.entries()?)
    }

    /// What is to be read: all, or a sample.
    fn chosen(&self) -> Result<Box<dyn Iterator<Item = Result<Held, Skipped>> + Send + '_>, Error> {
        let entries = self.entries()?;
        Ok(match self.reading.sample {
            Some((count, seed)) => Box::new(self.draw(entries, count, seed).into_iter().map(Ok)),
            None => Box::new(entries.map(|item| item.map(Held::Entry))),
        })
    }

    /// Draws `count` images of all, every set of so many with the same chance: those whose keys
    /// have the lowest hashes. The order of the listing does not matter, and the sample of fewer is
    /// the beginning of the sample of more.
    ///
    /// What a stream gives but once is decoded on the way past if it may be among them, so that no
    /// more is held than pixels brought to shape; the rest is read when it is known which are.
    fn draw(&self, mut entries: Entries, count: usize, seed: u64) -> Vec<Held> {
        let mut drawing = Drawing::new(count, seed);
        loop {
            let items: Vec<_> = entries.by_ref().take(AT_ONCE).collect();
            if items.is_empty() {
                return drawing.into_drawn();
            }
            let candidates: Vec<Result<(Rank, Held), Skipped>> = items
                .into_par_iter()
                .filter_map(|item| {
                    let entry = match item {
                        Ok(entry) => entry,
                        Err(skipped) => return Some(Err(skipped)),
                    };
                    let rank = drawing.rank(&entry.key);
                    drawing.takes(rank).then(|| {
                        let held = match entry.content.is_lazy() {
                            true => Held::Entry(entry),
                            false => Held::Image(self.image(entry)?),
                        };
                        Ok((rank, held))
                    })
                })
                .collect();
            for candidate in candidates {
                match candidate {
                    Ok((rank, held)) => drawing.offer(rank, held),
                    Err(skipped) => self.skips.add(skipped),
                }
            }
        }
    }

    fn image(&self, entry: Entry) -> Result<Image, Skipped> {
        let decoded = decode_entry(&entry, &self.reading)?.1;
        let pixels = match self.shape {
            Some((shape, how)) => decoded.fit(shape, how, PADDING),
            None => decoded.pixels,
        };
        Ok(Image {
            key: entry.key,
            label: entry.label,
            pixels,
        })
    }
}

/// Reads and decodes an entry: the bytes' BLAKE3 and the picture.
fn decode_entry(entry: &Entry, reading: &Reading) -> Result<(String, Decoded), Skipped> {
    let bytes = entry
        .read(&reading.source.limits)
        .map_err(|why| entry.skipped(why))?;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    Ok((hash, decode_bytes(entry, &bytes, &reading.decode)?))
}

/// Decodes an entry's bytes.
pub(crate) fn decode_bytes(
    entry: &Entry,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<Decoded, Skipped> {
    decode(bytes, options).map_err(|error| Skipped {
        key: entry.key.clone(),
        location: entry.location.clone(),
        kind: kind_of(&error),
        reason: error.to_string(),
    })
}

/// The sort of trouble that a picture gives.
fn kind_of(error: &ImageError) -> SkipKind {
    match error {
        ImageError::TooLarge { .. }
        | ImageError::Sides { .. }
        | ImageError::FileTooLarge { .. }
        | ImageError::Memory { .. } => SkipKind::TooLarge,
        ImageError::Unsupported { .. }
        | ImageError::UnsupportedKind { .. }
        | ImageError::Unknown { .. } => SkipKind::Unsupported,
        _ => SkipKind::Damaged,
    }
}

/// What [`Fit::Pad`] adds, everywhere: a model does not know what it was trained with.
pub const PADDING: [u8; 3] = [255; 3];

/// Values of one picture that a range of grey is chosen by.
const VALUES_EACH: usize = 1 << 14;

/// Images that are looked at to choose a network's shape.
pub const LOOKED_AT: usize = 64;
/// The side of a network's input, in pixels, for images of many or of large sizes.
pub const DEFAULT_SIDE: usize = 64;

/// What images have in common.
#[derive(Clone, Copy)]
struct Looked {
    /// Width and height, if all have the same.
    sides: Option<(usize, usize)>,
    colour: bool,
}

impl Looked {
    fn at(pixels: &Pixels) -> Self {
        let grey = |pixel: &[u8]| pixel[0] == pixel[1] && pixel[1] == pixel[2];
        Self {
            sides: Some((pixels.width(), pixels.height())),
            colour: pixels.channels() == 3 && !pixels.data().chunks_exact(3).all(grey),
        }
    }

    fn decoded(decoded: &Decoded) -> Self {
        Self {
            sides: Some((decoded.width, decoded.height)),
            ..Self::at(&decoded.pixels)
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            sides: self.sides.filter(|_| self.sides == other.sides),
            colour: self.colour || other.colour,
        }
    }

    fn shape(self) -> InputShape {
        let small = |side: usize| (8..=DEFAULT_SIDE).contains(&side);
        let sides = self.sides.filter(|&(w, h)| small(w) && small(h));
        let (width, height) = sides.unwrap_or((DEFAULT_SIDE, DEFAULT_SIDE));
        InputShape {
            channels: if self.colour { 3 } else { 1 },
            height,
            width,
        }
    }
}

impl Pictures for Source {
    fn name(&self) -> &str {
        match &self.kind {
            Kind::Pictures(pictures) => pictures.name(),
            Kind::Files(files) => files.name(),
        }
    }

    fn len(&self) -> Option<usize> {
        match &self.kind {
            // How many of them are in a part is not known before they are read.
            Kind::Pictures(pictures) => pictures.len().filter(|_| self.reading.part.is_none()),
            Kind::Files(files) => files.len_hint().and_then(|len| usize::try_from(len).ok()),
        }
        .map(|all| match self.reading.sample {
            Some((count, _)) => all.min(count),
            None => all,
        })
    }

    fn read(&self) -> Result<Images<'_>, SourceError> {
        match &self.kind {
            Kind::Pictures(pictures) => {
                let mut images = pictures.read()?;
                if let Some(part) = self.reading.part {
                    let has = move |image: &Result<Image, SourceError>| {
                        image.as_ref().map_or(true, |image| part.has(&image.key))
                    };
                    images = Box::new(images.filter(has));
                }
                if let Some((count, seed)) = self.reading.sample
                    && pictures.len().is_none_or(|all| all > count)
                {
                    let mut drawing = Drawing::new(count, seed);
                    for image in images {
                        let image = image?;
                        drawing.offer(drawing.rank(&image.key), image);
                    }
                    images = Box::new(drawing.into_drawn().into_iter().map(Ok));
                }
                let Some((shape, how)) = self.shape else {
                    return Ok(images);
                };
                Ok(Box::new(images.map(move |image| {
                    image.map(|image| Image {
                        pixels: fit_with(&image.pixels, shape, how, PADDING),
                        ..image
                    })
                })))
            }
            Kind::Files(_) => {
                let held = self.chosen().map_err(|error| SourceError::Spec {
                    spec: self.name().to_owned(),
                    reason: error.to_string(),
                })?;
                Ok(Box::new(Decoding {
                    source: self,
                    held,
                    ready: VecDeque::new(),
                }))
            }
        }
    }

    fn get(&self, key: &str) -> Result<Image, SourceError> {
        match &self.kind {
            Kind::Pictures(pictures) => pictures.get(key),
            Kind::Files(files) => {
                let failed = |reason: String| SourceError::Spec {
                    spec: format!("{}#{key}", self.name()),
                    reason,
                };
                let entry = files.get(key).map_err(|error| failed(error.to_string()))?;
                self.image(entry).map_err(|skipped| failed(skipped.reason))
            }
        }
    }
}

/// An image that is to be read, or has been.
enum Held {
    Entry(Entry),
    Image(Image),
}

/// Entries read and decoded by all threads, a few at a time, given in their order.
struct Decoding<'a> {
    source: &'a Source,
    held: Box<dyn Iterator<Item = Result<Held, Skipped>> + Send + 'a>,
    ready: VecDeque<Image>,
}

/// Entries decoded at a time. Without a shape to bring them to they are whole pictures, so it is
/// few.
const AT_ONCE: usize = 32;

impl Iterator for Decoding<'_> {
    type Item = Result<Image, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            let items: Vec<_> = self.held.by_ref().take(AT_ONCE).collect();
            if items.is_empty() {
                return None;
            }
            let images: Vec<Result<Image, Skipped>> = items
                .into_par_iter()
                .map(|item| match item? {
                    Held::Entry(entry) => self.source.image(entry),
                    Held::Image(image) => Ok(image),
                })
                .collect();
            for image in images {
                match image {
                    Ok(image) => self.ready.push_back(image),
                    Err(skipped) => self.source.skips.add(skipped),
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// Opens queries and hands them to `ask` one by one, with the source's name and a name to show: a
/// picture file, one image of a source as `SOURCE#KEY`, or all images of a folder, an archive or a
/// table.
///
/// # Errors
///
/// When there is no such image, or the only one asked for cannot be decoded; what cannot be decoded
/// among many goes to `skips`. And those of `ask`.
pub fn open_queries<E: From<Error>>(
    spec: &str,
    reading: &Reading,
    skips: &Arc<Skips>,
    mut ask: impl FnMut(&str, &str, Query) -> Result<(), E>,
) -> Result<(), E> {
    if existing(Path::new(spec)).is_none() && spec.contains('#') {
        let (source, query) = divided(spec, reading, skips)?;
        return ask(&source, spec, query);
    }
    if is_pictures(spec) {
        return Err(Error::Unusable(format!(
            "{spec} is a whole collection; name one image of it: {spec}#7"
        ))
        .into());
    }
    let source = open_source(spec, reading.clone(), skips.clone())?;
    let files = source.files().expect("it is no data set of pixels");
    let mut asked = 0_usize;
    let mut entries = source.entries()?.peekable();
    let mut last = None;
    while let Some(item) = entries.next() {
        let alone = asked == 0 && entries.peek().is_none();
        let found = item.and_then(|entry| Ok((source.query_of(&entry)?, entry)));
        match found {
            Ok((query, entry)) => {
                asked += 1;
                let name = if alone { spec } else { &entry.location };
                ask(files.name(), name, query)?;
            }
            Err(skipped) => {
                last = Some(skipped.to_string());
                skips.add(skipped);
            }
        }
    }
    match asked {
        0 => Err(Error::Unusable(last.unwrap_or_else(|| format!("{spec} holds no image"))).into()),
        _ => Ok(()),
    }
}

/// The image that `SOURCE#KEY` names, and its source's name. Names of sources and keys may hold the
/// sign as well: the first that divides them into a source and a key of it does.
fn divided(spec: &str, reading: &Reading, skips: &Arc<Skips>) -> Result<(String, Query), Error> {
    let mut failed = None;
    for (at, _) in spec.match_indices('#') {
        let (source, key) = (&spec[..at], &spec[at + 1..]);
        let found = open_source(source, reading.clone(), skips.clone()).and_then(|source| {
            let query = source.query(key)?;
            Ok((pictures_name(&source), query))
        });
        match found {
            Ok(found) => return Ok(found),
            Err(error) => {
                // Of several, what a source that exists says tells most.
                let exists = source.starts_with("mnist:") || existing(Path::new(source)).is_some();
                if failed.is_none() || exists {
                    failed = Some(error);
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| Error::Unusable(format!("{spec} names no image"))))
}

fn pictures_name(source: &Source) -> String {
    Pictures::name(source).to_owned()
}

/// An image to ask with.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its key, label and pixels.
    pub image: Image,
    /// BLAKE3 of the original's bytes; of the pixels where there is no file.
    pub blake3: String,
}

impl Query {
    /// A region of it, in pixels of the whole picture, upright. It stays the same image: only what
    /// is looked at is less.
    ///
    /// # Errors
    ///
    /// When the region is not within the image. It must have been read whole, without
    /// [`DecodeOptions::target`].
    pub fn region(mut self, region: Region) -> Result<Self, Error> {
        self.image.pixels = self.image.pixels.crop(region)?;
        Ok(self)
    }
}

impl From<Image> for Query {
    fn from(image: Image) -> Self {
        Self {
            blake3: image.pixels.blake3(),
            image,
        }
    }
}

impl Source {
    /// The image with a key, to ask with.
    ///
    /// # Errors
    ///
    /// When there is no such image, or it cannot be decoded.
    pub fn query(&self, key: &str) -> Result<Query, Error> {
        match &self.kind {
            Kind::Pictures(pictures) => Ok(pictures.get(key)?.into()),
            Kind::Files(files) => self
                .query_of(&files.get(key)?)
                .map_err(|skipped| Error::Unusable(skipped.to_string())),
        }
    }

    fn query_of(&self, entry: &Entry) -> Result<Query, Skipped> {
        let (blake3, decoded) = decode_entry(entry, &self.reading)?;
        Ok(Query {
            image: Image {
                key: entry.key.clone(),
                label: entry.label.clone(),
                pixels: decoded.pixels,
            },
            blake3,
        })
    }
}

/// Where labels come from, as typed: `parent`, `none`, or a column's name.
pub fn label_from(text: &str) -> LabelFrom {
    match text {
        "parent" => LabelFrom::Parent,
        "none" => LabelFrom::None,
        column => LabelFrom::Column(column.to_owned()),
    }
}

#[cfg(test)]
mod tests;
