//! One stream of images from any source: listed, read, decoded and brought to a model's input.
//!
//! `lookalike-sources` lists what there is: files, wherever they lie, and data sets that hold
//! pixels themselves (MNIST, IDX); `lookalike-images` decodes. An [`ImageStream`] joins the two,
//! and is what training, indexing, evaluation, queries and originals read.

use std::collections::VecDeque;
use std::sync::Arc;

use lookalike_images::{
    Collection, CollectionError, DecodeOptions, Decoded, Fit, GreyRange, Image, InputShape,
    deep_values,
};
use lookalike_sources::{
    Content, Drawing, Entries, Entry, InMemory, LabelFrom, Part, PartNumber, Rank, RawPixels,
    Skipped, Source, SourceOptions, open,
};
use rayon::prelude::*;

use crate::Error;
use crate::skips::Skips;

mod encode;
mod queries;
mod raw;

pub use encode::{Encoded, Follow};
pub use queries::{QueryImage, open_queries};
pub(crate) use raw::Raw;

use raw::decode_entry;

/// How a source is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Labels, limits, hidden files.
    pub source: SourceOptions,
    /// Background and limits of pictures.
    pub decode: DecodeOptions,
    /// Only the images of this part.
    pub part: Option<PartNumber>,
    /// Whether what cameras wrote about photographs (EXIF) is not kept with them in a gallery;
    /// their orientation is applied all the same.
    pub no_exif: bool,
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
    /// image has colour. Looks at the first [`INSPECTED_IMAGES`] images.
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
        for (_, decoded) in seen.take(INSPECTED_IMAGES) {
            let next = Looked::at(&decoded);
            found = Some(found.map_or(next, |found| found.and(next)));
        }
        match (found, first) {
            (Some(looked), _) => Ok(looked.shape()),
            (None, Some(skipped)) => Err(Error::NoneReadable {
                source_name: self.name().to_owned(),
                first: Box::new(skipped),
            }),
            (None, None) => Err(Error::Collection(CollectionError::Empty {
                name: self.name().to_owned(),
            })),
        }
    }

    /// Which values of grey pictures with more than 8 bits are black and white, by those of the
    /// first [`INSPECTED_IMAGES`] images: from their percentile 0.1 to their percentile 99.9. None
    /// where a range was asked for, or no picture has more than 8 bits of grey.
    ///
    /// # Errors
    ///
    /// When the source cannot be read.
    pub fn suitable_grey_range(&self) -> Result<Option<GreyRange>, Error> {
        if self.reading.decode.grey_range.is_some() {
            return Ok(None);
        }
        let limits = self.reading.source.limits;
        let mut entries = self.entries()?.flatten().take(INSPECTED_IMAGES);
        let mut values: Vec<f32> = Vec::new();
        loop {
            let some = together(&mut entries, INSPECTED_IMAGES, |entry| entry.content.held());
            if some.is_empty() {
                return Ok(GreyRange::of_values(values));
            }
            let found = some.par_iter().filter_map(|entry| {
                // Raw pixels have 8 bits.
                let bytes = entry.read(&limits).ok()?;
                deep_values(&bytes, &self.reading.decode, VALUES_EACH).ok()?
            });
            values.par_extend(found.flatten());
        }
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
            let items = together(&mut entries, AT_ONCE, |item| {
                item.as_ref().map_or(0, |entry| entry.content.held())
            });
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

/// What [`Fit::Pad`] adds, everywhere: a model does not know what it was trained with.
pub const PADDING: [u8; 3] = [255; 3];

/// Values of one picture that a range of grey is chosen by.
const VALUES_EACH: usize = 1 << 14;

/// Images that are looked at to choose a network's shape.
pub const INSPECTED_IMAGES: usize = 64;
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
/// Bytes of files that are held for that, beyond which no more are added.
const BYTES_AT_ONCE: usize = 64 << 20;

/// The next items: at most `count`, and no more once those have [`BYTES_AT_ONCE`]. Packed archives
/// and tables give the bytes of files with their entries.
fn together<T>(
    items: &mut dyn Iterator<Item = T>,
    count: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> Vec<T> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while some.len() < count && bytes < BYTES_AT_ONCE {
        let Some(item) = items.next() else {
            break;
        };
        bytes += bytes_of(&item);
        some.push(item);
    }
    some
}

impl Iterator for Decoding<'_> {
    type Item = Image;

    fn next(&mut self) -> Option<Image> {
        while self.ready.is_empty() {
            let items = together(&mut self.held, AT_ONCE, |item| match item {
                Ok(Held::Entry(entry)) => entry.content.held(),
                _ => 0,
            });
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
