//! One stream of images from any source: listed, read, decoded and brought to a model's input.
//!
//! `lookalike-sources` lists what there is: files, wherever they lie, and data sets that hold
//! pixels themselves (MNIST, IDX); `lookalike-images` decodes. An [`ImageStream`] joins the two,
//! and is what training, indexing, evaluation, queries and originals read.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use lookalike_images::{
    Collection, CollectionError, DecodeOptions, Decoded, Fit, GreyRange, Image, ImageError,
    InputShape, Pixels, Region, decode, deep_values,
};
use lookalike_sources::{
    Content, Drawing, Entries, Entry, InMemory, LabelFrom, Part, PartNumber, Rank, RawPixels,
    SkipKind, SkipReason, Skipped, Source, SourceOptions, existing, open,
};
use rayon::prelude::*;

use crate::encoder::encode_all;
use crate::skips::Skips;
use crate::{Encoder, Error, THUMBNAIL, decode_target};

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

/// The images of a source of any kind, read and decoded by all threads, in bounded batches and in
/// order. What cannot be read is passed over and counted.
pub struct ImageStream {
    /// What it was opened by; none for one that a program gave.
    spec: Option<String>,
    source: Box<dyn Source>,
    reading: Reading,
    /// What images are brought to while they are read; none: they come as they are.
    shape: Option<(InputShape, Fit)>,
    skips: Arc<Skips>,
}

impl ImageStream {
    /// Opens a source of any kind by what [`lookalike_sources::open`] takes: a folder, an archive,
    /// a table, a pattern of many, an address, an IDX file, `mnist:train`. What is passed over
    /// while it is read goes to `skips`.
    ///
    /// # Errors
    ///
    /// When `spec` names nothing that can be opened.
    pub fn open(spec: &str, reading: Reading, skips: Arc<Skips>) -> Result<Self, Error> {
        let source = open(spec, &reading.source)?;
        Ok(Self {
            spec: Some(spec.to_owned()),
            ..Self::of(source, reading, skips)
        })
    }

    /// A stream of a source that a program gives.
    pub fn of(source: Box<dyn Source>, reading: Reading, skips: Arc<Skips>) -> Self {
        Self {
            spec: None,
            source: match reading.part {
                Some(part) => Box::new(Part::new(source, part)),
                None => source,
            },
            reading,
            shape: None,
            skips,
        }
    }

    /// A stream of images in memory.
    pub fn of_collection(collection: &Collection) -> Self {
        let entries = (0..collection.len()).map(|index| {
            let image = collection.copy(index);
            Entry {
                location: format!("{}#{}", collection.name(), image.key),
                key: image.key,
                label: image.label,
                sample: None,
                extra: Default::default(),
                stamp: None,
                content: Content::Pixels(RawPixels {
                    width: image.pixels.width(),
                    height: image.pixels.height(),
                    channels: image.pixels.channels(),
                    data: image.pixels.into_data().into(),
                }),
            }
        });
        let source = InMemory::new(collection.name(), entries.collect());
        let source = source.expect("a collection's keys are unique");
        Self::of(Box::new(source), Reading::default(), Arc::default())
    }

    /// The source's name, which is part of its images' ids.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// About how many images there are, if that is known without reading. Some may be passed over.
    pub fn len_hint(&self) -> Option<usize> {
        let all = self.source.len_hint();
        let all = all.and_then(|len| usize::try_from(len).ok());
        all.map(|all| match self.reading.sample {
            Some((count, _)) => all.min(count),
            None => all,
        })
    }

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

    /// The source behind it.
    pub fn source(&self) -> &dyn Source {
        &*self.source
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
        let mut reading = self.reading.clone();
        reading.decode.target = Some((DEFAULT_SIDE, DEFAULT_SIDE));
        // What cannot be read is told when it is read in earnest, if there is anything else.
        let seen = self.entries()?.filter_map(|entry| {
            let looked = entry.and_then(|entry| decode_entry(&entry, &reading));
            let skipped = |skipped: Skipped| first.get_or_insert(skipped).clone();
            looked.map_err(skipped).ok()
        });
        for (_, decoded) in seen.take(LOOKED_AT) {
            let next = Looked::at(&decoded);
            found = Some(found.map_or(next, |found| found.and(next)));
        }
        match (found, first) {
            (Some(looked), _) => Ok(looked.shape()),
            (None, Some(skipped)) => Err(Error::Unusable(format!(
                "no image of {} can be read; the first, {}: {}",
                self.name(),
                skipped.location,
                skipped.reason
            ))),
            (None, None) => Err(Error::Collection(CollectionError::Empty {
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
        if self.reading.decode.grey_range.is_some() {
            return Ok(None);
        }
        let limits = self.reading.source.limits;
        let entries: Vec<Entry> = self.entries()?.flatten().take(LOOKED_AT).collect();
        let values: Vec<f32> = entries
            .par_iter()
            .filter_map(|entry| {
                // Raw pixels have 8 bits.
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
        match &self.spec {
            Some(spec) if !is_listed_alike => Ok(Self {
                shape: self.shape,
                ..Self::open(spec, reading, self.skips)?
            }),
            _ => Ok(Self { reading, ..self }),
        }
    }

    /// All entries, in order.
    pub(crate) fn entries(&self) -> Result<Entries, Error> {
        Ok(self.source.entries()?)
    }

    /// What is to be read: all, or a sample, of which `image` makes images that are held where an
    /// entry can be read but once.
    fn chosen(
        &self,
        image: &(dyn Fn(Entry) -> Result<Image, Skipped> + Sync),
    ) -> Result<Box<dyn Iterator<Item = Result<Held, Skipped>> + Send + '_>, Error> {
        let mut entries = self.entries()?.peekable();
        if let Some((count, seed)) = self.reading.sample {
            // A data set that is wanted whole keeps its order, in which MNIST is trained.
            let all = self
                .source
                .len_hint()
                .is_some_and(|all| all <= count as u64);
            if !(all && matches!(entries.peek(), Some(Ok(first)) if first.pixels().is_some())) {
                let drawn = self.draw(entries, count, seed, image);
                return Ok(Box::new(drawn.into_iter().map(Ok)));
            }
        }
        Ok(Box::new(entries.map(|item| item.map(Held::Entry))))
    }

    /// Draws `count` images of all, every set of so many with the same chance: those whose keys
    /// have the lowest hashes. The order of the listing does not matter, and the sample of fewer is
    /// the beginning of the sample of more.
    ///
    /// What a stream gives but once is decoded on the way past if it may be among them, so that no
    /// more is held than pixels brought to shape; the rest is read when it is known which are.
    fn draw(
        &self,
        mut entries: impl Iterator<Item = Result<Entry, Skipped>>,
        count: usize,
        seed: u64,
        image: &(dyn Fn(Entry) -> Result<Image, Skipped> + Sync),
    ) -> Vec<Held> {
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
                            false => Held::Image(image(entry)?),
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

/// What an entry holds, read and not decoded.
pub(crate) enum Raw {
    /// The bytes of a picture file.
    File(Vec<u8>),
    /// Pixels as the data set has them.
    Pixels(Pixels),
}

impl Raw {
    /// Reads an entry.
    pub(crate) fn read(entry: &Entry, reading: &Reading) -> Result<Self, Skipped> {
        let skipped = |kind, reason: String| entry.skipped(SkipReason { kind, reason });
        match entry.pixels() {
            Some(raw) => Pixels::new(raw.width, raw.height, raw.channels, raw.data.to_vec())
                .map(Self::Pixels)
                .map_err(|error| skipped(kind_of(&error), error.to_string())),
            None => entry
                .read(&reading.source.limits)
                .map(Self::File)
                .map_err(|why| entry.skipped(why)),
        }
    }

    /// BLAKE3 of a file's bytes, or of pixels with their shape.
    pub(crate) fn blake3(&self) -> String {
        match self {
            Self::File(bytes) => blake3::hash(bytes).to_hex().to_string(),
            Self::Pixels(pixels) => pixels.blake3(),
        }
    }

    /// Decodes what was read of `entry`.
    pub(crate) fn decode(self, entry: &Entry, options: &DecodeOptions) -> Result<Decoded, Skipped> {
        match self {
            Self::Pixels(pixels) => Ok(pixels.into()),
            Self::File(bytes) => decode(&bytes, options).map_err(|error| {
                entry.skipped(SkipReason {
                    kind: kind_of(&error),
                    reason: error.to_string(),
                })
            }),
        }
    }
}

/// Reads and decodes an entry: the content's BLAKE3 and the picture.
fn decode_entry(entry: &Entry, reading: &Reading) -> Result<(String, Decoded), Skipped> {
    let raw = Raw::read(entry, reading)?;
    Ok((raw.blake3(), raw.decode(entry, &reading.decode)?))
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
    fn at(decoded: &Decoded) -> Self {
        let grey = |pixel: &[u8]| pixel[0] == pixel[1] && pixel[1] == pixel[2];
        let pixels = &decoded.pixels;
        Self {
            sides: Some((decoded.width, decoded.height)),
            colour: pixels.channels() == 3 && !pixels.data().chunks_exact(3).all(grey),
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

impl ImageStream {
    /// All images, or those of the part and the sample; what cannot be read goes to the
    /// [skips](Self::skips).
    ///
    /// # Errors
    ///
    /// When nothing of the source can be read.
    pub fn images(&self) -> Result<impl Iterator<Item = Image> + Send + '_, Error> {
        Ok(Decoding {
            stream: self,
            held: self.chosen(&|entry| self.image(entry))?,
            ready: VecDeque::new(),
        })
    }

    /// Reads up to `limit` images into memory, each brought to `shape`; without one, to that of the
    /// first.
    ///
    /// # Errors
    ///
    /// When the source cannot be read, has no images, or gives a key twice, or no image has the
    /// shape.
    pub fn load(
        &self,
        shape: Option<InputShape>,
        limit: Option<usize>,
    ) -> Result<Collection, Error> {
        let images = self.images()?.take(limit.unwrap_or(usize::MAX));
        Ok(Collection::of(self.name(), shape, images)?)
    }
}

/// Images and their codes, in the stream's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// The key of each image.
    pub keys: Vec<String>,
    /// The label of each image, if it has one.
    pub labels: Vec<Option<String>>,
    /// The codes, one after another.
    pub codes: Vec<f32>,
    /// Floats of a code.
    pub dims: usize,
}

impl ImageStream {
    /// Encodes up to `limit` images, some at a time: only their codes stay in memory. What cannot
    /// be read goes to the [skips](Self::skips).
    ///
    /// # Errors
    ///
    /// When nothing of the source can be read, or the encoder fails.
    pub fn encode(&self, encoder: &dyn Encoder, limit: Option<usize>) -> Result<Encoded, Error> {
        let mut encoded = Encoded {
            dims: encoder.code_dim(),
            ..Encoded::default()
        };
        let mut reading = self.reading.clone();
        let target = decode_target(encoder, THUMBNAIL);
        reading.decode.target.get_or_insert(target);
        let prepare = |entry: Entry| {
            let (_, picture) = decode_entry(&entry, &reading)?;
            let pixels = encoder.prepare(&picture).map_err(|error| {
                entry.skipped(SkipReason {
                    kind: SkipKind::Unsupported,
                    reason: error.to_string(),
                })
            })?;
            Ok(Image {
                key: entry.key,
                label: entry.label,
                pixels,
            })
        };
        let most = (ENCODED_BYTES / encoder.shape().values().max(1)).clamp(1, ENCODED_AT_ONCE);
        let mut held = self.chosen(&prepare)?;
        loop {
            let left = limit.map_or(most, |limit| (limit - encoded.keys.len()).min(most));
            let (mut items, mut bytes) = (Vec::new(), 0);
            while items.len() < left && bytes < ENCODED_BYTES {
                let Some(item) = held.next() else {
                    break;
                };
                bytes += match &item {
                    Ok(Held::Entry(entry)) => entry.content.held(),
                    _ => 0,
                };
                items.push(item);
            }
            if items.is_empty() {
                return Ok(encoded);
            }
            let prepared: Vec<Result<Image, Skipped>> = items
                .into_par_iter()
                .map(|item| match item? {
                    Held::Image(image) => Ok(image),
                    Held::Entry(entry) => prepare(entry),
                })
                .collect();
            let (mut inputs, before) = (Vec::new(), encoded.keys.len());
            for image in prepared {
                match image {
                    Ok(image) => {
                        inputs.extend_from_slice(image.pixels.data());
                        encoded.keys.push(image.key);
                        encoded.labels.push(image.label);
                    }
                    Err(skipped) => self.skips.add(skipped),
                }
            }
            let count = encoded.keys.len() - before;
            encoded.codes.extend(encode_all(encoder, &inputs, count)?);
        }
    }
}

/// Images that [`ImageStream::encode`] holds at a time, and the bytes that their files and their
/// pixels may take.
const ENCODED_AT_ONCE: usize = 1024;
const ENCODED_BYTES: usize = 64 << 20;

/// An image that is to be read, or has been.
enum Held {
    Entry(Entry),
    Image(Image),
}

/// Entries read and decoded by all threads, a few at a time, given in their order.
struct Decoding<'a> {
    stream: &'a ImageStream,
    held: Box<dyn Iterator<Item = Result<Held, Skipped>> + Send + 'a>,
    ready: VecDeque<Image>,
}

/// Entries decoded at a time. Without a shape to bring them to they are whole pictures, so it is
/// few.
const AT_ONCE: usize = 32;

impl Iterator for Decoding<'_> {
    type Item = Image;

    fn next(&mut self) -> Option<Image> {
        while self.ready.is_empty() {
            let items: Vec<_> = self.held.by_ref().take(AT_ONCE).collect();
            if items.is_empty() {
                return None;
            }
            let images: Vec<Result<Image, Skipped>> = items
                .into_par_iter()
                .map(|item| match item? {
                    Held::Entry(entry) => self.stream.image(entry),
                    Held::Image(image) => Ok(image),
                })
                .collect();
            for image in images {
                match image {
                    Ok(image) => self.ready.push_back(image),
                    Err(skipped) => self.stream.skips.add(skipped),
                }
            }
        }
        self.ready.pop_front()
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
    let stream = ImageStream::open(spec, reading.clone(), skips.clone())?;
    let mut asked = 0_usize;
    let mut entries = stream.entries()?.peekable();
    if matches!(entries.peek(), Some(Ok(first)) if first.pixels().is_some()) {
        return Err(Error::Unusable(format!(
            "{spec} is a whole collection; name one image of it: {spec}#7"
        ))
        .into());
    }
    let mut last = None;
    while let Some(item) = entries.next() {
        let alone = asked == 0 && entries.peek().is_none();
        let found = item.and_then(|entry| Ok((stream.query_of(&entry)?, entry)));
        match found {
            Ok((query, entry)) => {
                asked += 1;
                let name = if alone { spec } else { &entry.location };
                ask(stream.name(), name, query)?;
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
        let found = ImageStream::open(source, reading.clone(), skips.clone()).and_then(|stream| {
            let query = stream.query(key)?;
            Ok((stream.name().to_owned(), query))
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

/// An image to ask with.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its key in its source.
    pub key: String,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// What it shows.
    pub picture: Decoded,
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
        self.picture = self.picture.pixels.crop(region)?.into();
        Ok(self)
    }
}

impl From<Image> for Query {
    fn from(image: Image) -> Self {
        Self {
            key: image.key,
            label: image.label,
            blake3: image.pixels.blake3(),
            picture: image.pixels.into(),
        }
    }
}

impl From<Query> for Image {
    fn from(query: Query) -> Self {
        Self {
            key: query.key,
            label: query.label,
            pixels: query.picture.pixels,
        }
    }
}

impl ImageStream {
    /// The image with a key, to ask with.
    ///
    /// # Errors
    ///
    /// When there is no such image, or it cannot be decoded.
    pub fn query(&self, key: &str) -> Result<Query, Error> {
        self.query_of(&self.source.get(key)?)
            .map_err(|skipped| Error::Unusable(skipped.to_string()))
    }

    fn query_of(&self, entry: &Entry) -> Result<Query, Skipped> {
        let (blake3, picture) = decode_entry(entry, &self.reading)?;
        Ok(Query {
            key: entry.key.clone(),
            label: entry.label.clone(),
            picture,
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
