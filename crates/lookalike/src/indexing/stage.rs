//! The middle of the pipeline: finds out what is to be done for each entry, and makes the points
//! and pictures to store.

use std::collections::{BTreeMap, HashMap};

use lookalike_gallery::{Facts, Gallery, Payload, Point, Tiles, point_id};
use lookalike_images::{DecodeOptions, Decoded, Pixels, thumbnail};
use lookalike_sources::{Entry, SkipKind, SkipReason, Skipped, is_image_name};
use rayon::prelude::*;
use uuid::Uuid;

use crate::encoder::encode_all;
use crate::indexing::pipeline::Outcome;
use crate::indexing::tiling::{Tiling, Windows};
use crate::indexing::{IndexSummary, decode_target, facts};
use crate::stream::Raw;
use crate::{Encoder, Error, ImageStream};

/// Bytes of files that are held while their contents are looked up together.
const READ_BYTES: u64 = 128 << 20;
/// What a file is taken to have whose size is not known before it is read.
const TYPICAL_BYTES: u64 = 4 << 20;
/// Contents in one question to the gallery: an answer from a cluster takes long, however few it is
/// about.
const LOOKED_UP: usize = 64;

pub(super) type Item = Result<Entry, Skipped>;

/// What is stored at a time.
#[derive(Default)]
pub(super) struct Batch {
    pub points: Vec<Point>,
    /// Each under its content's hash.
    pub thumbnails: Vec<(String, Vec<u8>)>,
    pub tiles: Vec<(String, Tiles)>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.tiles.is_empty()
    }

    /// To be done before the points are stored, so that none is ever without.
    pub fn put_blobs(&self, gallery: &dyn Gallery) -> Result<(), Error> {
        let thumbnails: Vec<_> = self
            .thumbnails
            .iter()
            .map(|(hash, bytes)| (hash.as_str(), bytes.as_slice()))
            .collect();
        gallery.put_thumbnails(&thumbnails)?;
        if let (Some(folder), false) = (gallery.as_embedded(), self.tiles.is_empty()) {
            let tiles = self
                .tiles
                .iter()
                .map(|(hash, tiles)| (hash.as_str(), tiles));
            folder.put_tiles(&tiles.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// The middle of the pipeline.
pub(super) struct Stage<'a> {
    pub stream: &'a ImageStream,
    pub name: &'a str,
    /// What ids are made of.
    pub identity: String,
    pub encoder: &'a dyn Encoder,
    pub gallery: &'a dyn Gallery,
    /// Whether everything is read, whatever its size and its times say.
    pub reread: bool,
    /// The longer side of a thumbnail in pixels; 0: none.
    pub thumbnail: usize,
    /// Whether an image may be there under another name: the gallery was not empty.
    pub looks_up: bool,
    /// Makes tiles, if the gallery keeps some.
    pub tiling: Option<Tiling<'a>>,
}

/// What is to be done for an entry.
pub(super) enum Decision {
    /// It is there already.
    Unchanged,
    /// Its code is known.
    Known(Box<Point>),
    /// It is to be encoded.
    Encode(Box<Fresh>),
    /// Its tiles are to be encoded, and the rest is as known.
    Tile(Box<Tiled>),
    Skipped(Skipped),
}

/// What comparing an entry with its point tells.
enum Comparison {
    Decided(Decision),
    /// It is new or has changed; its content may be there under another name.
    Read(Box<ReadEntry>),
}

/// An entry and its content, whose hash is in the payload.
struct ReadEntry {
    entry: Entry,
    raw: Raw,
    payload: Payload,
    /// What is to be done if its tiles are there.
    known: Option<Decision>,
}

impl Comparison {
    /// The hash of a content that is to be looked up.
    fn hash(&self) -> Option<&str> {
        match self {
            Self::Decided(_) => None,
            Self::Read(read) => Some(&read.payload.blake3),
        }
    }
}

/// An image whose code is not known.
pub(super) struct Fresh {
    payload: Payload,
    /// The encoder's input.
    pixels: Vec<u8>,
    thumbnail: Option<Vec<u8>>,
    /// Whether it is nothing but the background.
    flat: bool,
    tiles: Option<Windows>,
}

/// An image whose code is known, and those of its tiles are not.
pub(super) struct Tiled {
    blake3: String,
    tiles: Windows,
    then: Decision,
}

impl Stage<'_> {
    /// The most pictures that are encoded for an image.
    pub fn inputs(&self) -> usize {
        1 + self.tiling.as_ref().map_or(0, Tiling::most)
    }

    /// Whether tiles of a content are to be made.
    fn lacks_tiles(&self, blake3: &str) -> bool {
        let tiling = self.tiling.as_ref();
        // What cannot be read is made anew, and then writing says why.
        tiling.is_some_and(|tiling| tiling.lacks(blake3).unwrap_or(true))
    }

    /// From a chunk of the listing to points to store.
    pub fn prepare(&self, items: Vec<Item>, outcome: &mut Outcome) -> Result<Batch, Error> {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            let key = match &item {
                Ok(entry) => &entry.key,
                Err(skipped) => &skipped.key,
            };
            let id = point_id(&self.identity, key);
            if let Some(seen) = &mut outcome.seen {
                seen.insert(id, key);
            }
            match item {
                Ok(entry) => entries.push((id, entry)),
                Err(skipped) => {
                    outcome.complete &= !hides_others(&skipped);
                    self.stream.skips().add(skipped);
                }
            }
        }
        let there = self.there(&entries.iter().map(|(id, _)| *id).collect::<Vec<_>>())?;
        let decisions = self.decisions(entries, &there)?;
        self.assemble(decisions, &mut outcome.summary)
    }

    /// The points of these ids that are there.
    pub fn there(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Point>, Error> {
        if !self.looks_up {
            return Ok(HashMap::new());
        }
        let points = self.gallery.retrieve(ids)?.into_iter();
        Ok(points.map(|point| (point.id, point)).collect())
    }

    /// Encodes what is to be encoded; what was passed over is noted.
    pub fn assemble(
        &self,
        decisions: Vec<Decision>,
        summary: &mut IndexSummary,
    ) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        let mut payloads = Vec::new();
        let mut pixels = Vec::new();
        // Each content's once: it may come under several names.
        let mut windows = BTreeMap::new();
        for decision in decisions {
            let decision = match decision {
                Decision::Tile(tiled) => {
                    windows.insert(tiled.blake3, tiled.tiles);
                    tiled.then
                }
                decision => decision,
            };
            match decision {
                Decision::Skipped(skipped) => {
                    self.stream.skips().add(skipped);
                    continue;
                }
                Decision::Unchanged | Decision::Tile(_) => {}
                Decision::Known(point) => batch.points.push(*point),
                Decision::Encode(fresh) => {
                    pixels.extend_from_slice(&fresh.pixels);
                    let hash = fresh.payload.blake3.clone();
                    windows.extend(fresh.tiles.map(|tiles| (hash.clone(), tiles)));
                    batch
                        .thumbnails
                        .extend(fresh.thumbnail.map(|bytes| (hash, bytes)));
                    summary.flat += usize::from(fresh.flat);
                    payloads.push(fresh.payload);
                }
            }
            summary.images += 1;
        }
        summary.encoded += payloads.len();
        summary.tiled += windows.len();
        let mut inputs = payloads.len();
        for tiles in windows.values() {
            pixels.extend_from_slice(&tiles.pixels);
            inputs += tiles.regions.len();
        }
        let codes = encode_all(self.encoder, &pixels, inputs)?;
        let dims = self.encoder.code_dim();
        let (codes, mut of_tiles) = codes.split_at(payloads.len() * dims);
        for (hash, tiles) in windows {
            let codes = of_tiles.split_off(..tiles.regions.len() * dims);
            let tiles = tiles.with_codes(codes.unwrap_or_default());
            batch.tiles.push((hash, tiles));
        }
        let codes = codes.chunks_exact(dims.max(1));
        let encoded = payloads.into_iter().zip(codes);
        let encoded = encoded.map(|(payload, code)| Point::new(code.to_vec(), payload));
        batch.points.extend(encoded);
        Ok(batch)
    }

    /// Finds out with as little work as can be what is to be done for each entry: size and time of
    /// change first, then the content's hash, then the picture.
    pub fn decisions(
        &self,
        entries: Vec<(Uuid, Entry)>,
        there: &HashMap<Uuid, Point>,
    ) -> Result<Vec<Decision>, Error> {
        let compare = |(id, entry): (Uuid, Entry)| self.compare(entry, there.get(&id));
        if !self.looks_up {
            let nothing = HashMap::new();
            let compared = entries.into_par_iter().map(compare);
            return Ok(compared
                .map(|comparison| self.decide(comparison, &nothing))
                .collect());
        }
        let mut decisions = Vec::with_capacity(entries.len());
        for group in read_together(entries) {
            let comparisons: Vec<Comparison> = group.into_par_iter().map(compare).collect();
            let twins = self.twins(&comparisons)?;
            decisions.par_extend(
                comparisons
                    .into_par_iter()
                    .map(|one| self.decide(one, &twins)),
            );
        }
        Ok(decisions)
    }

    /// Points with the contents that were read.
    fn twins(&self, comparisons: &[Comparison]) -> Result<HashMap<String, Point>, Error> {
        let hashes: Vec<_> = comparisons.iter().filter_map(Comparison::hash).collect();
        let found = hashes
            .par_chunks(LOOKED_UP)
            .map(|hashes| self.gallery.with_content(hashes));
        Ok(found.try_reduce(HashMap::new, |mut all, some| {
            all.extend(some);
            Ok(all)
        })?)
    }

    /// What can be told of an entry by its stamp, or else by its content's hash.
    fn compare(&self, entry: Entry, there: Option<&Point>) -> Comparison {
        let stamped = Payload {
            source: self.name.to_owned(),
            key: entry.key.clone(),
            label: entry.label.clone(),
            // Data sets of pixels hold no files that a person could open.
            location: entry.pixels().is_none().then(|| entry.location.clone()),
            bytes: entry.stamp.map(|stamp| stamp.bytes),
            modified: entry.stamp.and_then(|stamp| stamp.modified),
            changed: entry.stamp.and_then(|stamp| stamp.changed),
            origin: (self.identity != self.name).then(|| self.identity.clone()),
            extra: entry.extra.clone(),
            ..Payload::default()
        };
        let same = |point: &Point, known: Point| match known == *point {
            true => Decision::Unchanged,
            false => Decision::Known(Box::new(known)),
        };
        if let Some(point) = there
            && !self.reread
            && stamped.modified.is_some()
            && (point.payload.bytes, point.payload.modified) == (stamped.bytes, stamped.modified)
            // Galleries did not always keep it.
            && (point.payload.changed.is_none() || point.payload.changed == stamped.changed)
            && !self.lacks_tiles(&point.payload.blake3)
        {
            let known = self.under_another_name(point, &stamped);
            return Comparison::Decided(same(point, known));
        }
        let raw = match Raw::read(&entry, self.stream.reading()) {
            Ok(raw) => raw,
            Err(skipped) => return Comparison::Decided(Decision::Skipped(skipped)),
        };
        let hash = raw.blake3();
        let known = there.filter(|point| point.payload.blake3 == hash);
        let known = known.map(|point| {
            let known = self.under_another_name(point, &stamped);
            same(point, self.with_facts(known, &raw, &entry))
        });
        if !self.lacks_tiles(&hash)
            && let Some(known) = known
        {
            return Comparison::Decided(known);
        }
        Comparison::Read(Box::new(ReadEntry {
            known,
            payload: Payload {
                blake3: hash,
                ..stamped
            },
            raw,
            entry,
        }))
    }

    /// Decides what is not decided yet, by the points that have the same contents.
    fn decide(&self, comparison: Comparison, twins: &HashMap<String, Point>) -> Decision {
        let ReadEntry {
            entry,
            raw,
            payload,
            known,
        } = match comparison {
            Comparison::Decided(decision) => return decision,
            Comparison::Read(read) => *read,
        };
        let twin = || {
            let twin = twins.get(&payload.blake3)?;
            let known = self.under_another_name(twin, &payload);
            let known = self.with_facts(known, &raw, &entry);
            Some(Decision::Known(Box::new(known)))
        };
        if let Some(known) = known.or_else(twin) {
            let options = &self.stream.reading().decode;
            let tiles = self.windows(&raw, &entry, &payload.blake3, options, None);
            return match tiles {
                None => known,
                Some(tiles) => Decision::Tile(Box::new(Tiled {
                    blake3: payload.blake3,
                    tiles,
                    then: known,
                })),
            };
        }
        let options = self.decoding();
        let mut facts = Facts::default();
        self.set_exif(&mut facts, &raw);
        let decoded = match raw.decode(&entry, &options) {
            Ok(decoded) => decoded,
            Err(skipped) => return Decision::Skipped(skipped),
        };
        let pixels = match self.encoder.prepare(&decoded) {
            Ok(pixels) => pixels,
            Err(error) => {
                return Decision::Skipped(entry.skipped(SkipReason {
                    kind: SkipKind::Unsupported,
                    reason: error.to_string(),
                }));
            }
        };
        facts::add_measures(&mut facts, &decoded.pixels);
        // A side beyond u32 would be an image of more than 16 TiB.
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let payload = Payload {
            width: side(decoded.width),
            height: side(decoded.height),
            facts,
            ..payload
        };
        let tiles = self.windows(&raw, &entry, &payload.blake3, &options, Some(&decoded));
        // Without its thumbnail an image can still be found. Data sets of pixels show themselves,
        // unless they are gone when the program ends.
        let shows_itself = entry.pixels().is_some() && !self.stream.source().is_transient();
        let kept = (self.thumbnail > 0 && !shows_itself)
            .then(|| thumbnail(&decoded.pixels, self.thumbnail).ok());
        Decision::Encode(Box::new(Fresh {
            payload,
            pixels: pixels.into_data(),
            flat: is_flat(&decoded.pixels, options.background),
            thumbnail: kept.flatten(),
            tiles,
        }))
    }

    /// The windows of a picture whose tiles are to be made.
    fn windows(
        &self,
        raw: &Raw,
        entry: &Entry,
        blake3: &str,
        options: &DecodeOptions,
        decoded: Option<&Decoded>,
    ) -> Option<Windows> {
        let tiling = self.tiling.as_ref()?;
        if !tiling.lacks_or_holds(blake3).unwrap_or(true) {
            return None;
        }
        // Without tiles an image can still be found as a whole.
        tiling.windows(raw, entry, options, decoded).ok()
    }

    /// How pictures are decoded.
    fn decoding(&self) -> DecodeOptions {
        DecodeOptions {
            target: Some(decode_target(self.encoder, self.thumbnail)),
            ..self.stream.reading().decode.clone()
        }
    }

    /// A point whose content was read and is known, with its facts found out if everything is read
    /// anew. It is decoded only if it was never measured.
    fn with_facts(&self, mut known: Point, raw: &Raw, entry: &Entry) -> Point {
        if !self.reread {
            return known;
        }
        let facts = &mut known.payload.facts;
        self.set_exif(facts, raw);
        if !facts.is_measured()
            && let Ok(decoded) = raw.decode(entry, &self.decoding())
        {
            facts::add_measures(facts, &decoded.pixels);
        }
        known
    }

    /// Sets what a camera wrote, unless that is not to be kept.
    fn set_exif(&self, facts: &mut Facts, raw: &Raw) {
        if !self.stream.reading().no_exif {
            facts::set_exif(facts, raw.exif());
        }
    }

    /// What is known of a point's content, for another entry that has it.
    fn under_another_name(&self, point: &Point, entry: &Payload) -> Point {
        let mut facts = point.payload.facts.clone();
        if self.stream.reading().no_exif {
            facts.clear_exif();
        }
        let mut payload = Payload {
            width: point.payload.width,
            height: point.payload.height,
            blake3: point.payload.blake3.clone(),
            facts,
            ..entry.clone()
        };
        payload.keep_all_of(&point.payload);
        Point::new(point.code.clone(), payload)
    }
}

/// Whether a picture is nothing but a colour.
fn is_flat(pixels: &Pixels, [red, green, blue]: [u8; 3]) -> bool {
    let grey = red == green && green == blue;
    match pixels.channels() {
        1 => grey && pixels.data().iter().all(|&value| value == red),
        _ => pixels
            .data()
            .chunks_exact(3)
            .all(|pixel| pixel == [red, green, blue]),
    }
}

/// Entries in groups whose files can be held in memory.
fn read_together(entries: Vec<(Uuid, Entry)>) -> Vec<Vec<(Uuid, Entry)>> {
    let mut groups = vec![Vec::new()];
    let mut held = 0;
    for (id, entry) in entries {
        let bytes = entry.stamp.map_or(TYPICAL_BYTES, |stamp| stamp.bytes);
        if held > 0 && bytes > READ_BYTES.saturating_sub(held) {
            groups.push(Vec::new());
            held = 0;
        }
        held = held.saturating_add(bytes);
        groups.last_mut().expect("there is one").push((id, entry));
    }
    groups
}

/// Whether trouble may hide other images from the listing: of a folder, of the rest of an archive,
/// of a line of a list.
fn hides_others(skipped: &Skipped) -> bool {
    use SkipKind::{Bomb, Damaged, Missing, NotUtf8, TooMany, Truncated, Unreadable, Unsupported};
    match skipped.kind {
        Bomb | Damaged | TooMany | Truncated => true,
        // Of an image by its name, it is that image's own trouble.
        Missing | NotUtf8 | Unreadable | Unsupported => !is_image_name(&skipped.key),
        _ => false,
    }
}
