//! From files to a gallery: listed, read, decoded, encoded and stored, all at the same time.
//!
//! ```text
//! list ──(entries)──► compare, read, decode, fit, encode ──(points)──► store
//! a thread            all threads of the pool                          a thread
//! ```
//!
//! Both queues are bounded, so the slowest stage sets the pace and memory does not grow with the source. What is
//! stored is durable; what is not is found again by the next run.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lookalike_autoencoder::Autoencoder;
use lookalike_gallery::{Gallery, Payload, Point, Upserted, point_id};
use lookalike_images::thumbnail;
use lookalike_sources::{Content, Entry, SkipKind, Skipped, Source as Files, is_image_name};
use rayon::prelude::*;
use uuid::Uuid;

use crate::indexing::storing::Storing;
use crate::indexing::{IndexOptions, IndexProgress, IndexSummary, decode_target};
use crate::source::{PADDING, Source, decode_bytes};
use crate::{Error, Skips};

/// Entries taken at a time, and the bytes that those may hold which had to be read on the way past.
const CHUNK: usize = 1024;
const CHUNK_BYTES: usize = 32 << 20;
/// Bytes of pixels, brought to the model's shape, that are encoded at a time.
const PIXEL_BYTES: usize = 64 << 20;

/// What indexing saw of the source.
pub(super) struct Outcome {
    pub summary: IndexSummary,
    /// The ids of all that the source holds, what was passed over included, if they were wanted.
    pub seen: Option<HashSet<Uuid>>,
    /// Whether all of it was listed.
    pub complete: bool,
}

/// Brings the gallery up to date with what a source holds; what the source no longer holds stays.
pub(super) fn store(
    source: &Source,
    files: &dyn Files,
    model: &Autoencoder,
    gallery: &dyn Gallery,
    options: IndexOptions,
    mut progress: impl FnMut(IndexProgress),
) -> Result<Outcome, Error> {
    let entries = source.entries()?;
    let stage = Stage {
        source,
        name: files.name(),
        model,
        gallery,
        thumbnail: options.thumbnail,
        looks_up: gallery.describe()?.points > 0,
    };
    let expected = lookalike_images::Source::len(source);
    let chunk = CHUNK.min(PIXEL_BYTES / model.shape().values()).max(1);
    let mut outcome = Outcome {
        summary: IndexSummary::default(),
        // 16 bytes an image, which would add up.
        seen: options.prune.then(HashSet::new),
        complete: true,
    };
    let stored = Mutex::new(Done::default());
    let total = || *stored.lock().expect("nobody panics with it");
    thread::scope(|scope| {
        let (to_work, chunks) = sync_channel(2);
        let (to_store, batches) = sync_channel(1);
        scope.spawn(move || list(entries, chunk, &to_work));
        let storing = scope.spawn(|| write(gallery, source.skips(), batches, &stored));
        for items in chunks {
            // Leaving the loop hangs up on both threads, which then end.
            let batch = stage.prepare(items, &mut outcome)?;
            if !batch.points.is_empty() && to_store.send(batch).is_err() {
                break;
            }
            let stored = total();
            progress(IndexProgress {
                images: outcome.summary.images,
                stored: stored.points.added + stored.points.changed,
                skipped: source.skips().total(),
                expected,
            });
        }
        drop(to_store);
        storing.join().expect("storing does not panic")
    })?;
    let Done { points, lost } = total();
    let summary = &mut outcome.summary;
    summary.added = points.added;
    summary.changed = points.changed;
    summary.not_stored = lost;
    summary.unchanged = summary.images - points.added - points.changed - lost;
    summary.skipped = source.skips().total();
    Ok(outcome)
}

type Item = Result<Entry, Skipped>;

/// Lists the source in chunks, until nobody listens.
fn list(entries: impl Iterator<Item = Item>, most: usize, to: &SyncSender<Vec<Item>>) {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    for item in entries {
        if let Ok(entry) = &item
            && let Content::Bytes(content) = &entry.content
        {
            bytes += content.len();
        }
        chunk.push(item);
        if chunk.len() == most || bytes >= CHUNK_BYTES {
            if to.send(std::mem::take(&mut chunk)).is_err() {
                return;
            }
            bytes = 0;
        }
    }
    if !chunk.is_empty() {
        // Nobody listens any more: nobody needs it.
        let _ = to.send(chunk);
    }
}

/// What storing did so far.
#[derive(Clone, Copy, Default)]
struct Done {
    points: Upserted,
    /// Points that were not taken.
    lost: usize,
}

/// Stores what comes, until nothing more comes or storing fails.
fn write(
    gallery: &dyn Gallery,
    skips: &Skips,
    batches: Receiver<Batch>,
    done: &Mutex<Done>,
) -> Result<(), Error> {
    let mut storing = Storing::new(gallery, Some(skips));
    for batch in batches {
        batch.put_thumbnails(gallery)?;
        let (upserted, lost) = storing.store(&batch.points)?;
        let mut done = done.lock().expect("nobody panics with it");
        done.points.added += upserted.added;
        done.points.changed += upserted.changed;
        done.points.unchanged += upserted.unchanged;
        done.lost += lost;
    }
    Ok(())
}

/// Brings the points of some of a source's files up to date, under another name for the source: the id of each, in
/// their order, or why it was passed over; and what storing them did.
pub(crate) fn store_some(
    source: &Source,
    name: &str,
    keys: &[&str],
    model: &Autoencoder,
    gallery: &dyn Gallery,
    thumbnail: usize,
) -> Result<(Vec<Result<Uuid, String>>, Upserted), Error> {
    let files = source.files().expect("it is no data set of pixels");
    let stage = Stage {
        source,
        name,
        model,
        gallery,
        thumbnail,
        looks_up: true,
    };
    let ids: Vec<_> = keys.iter().map(|key| point_id(name, key)).collect();
    let there = stage.there(&ids)?;
    let mut fates = Vec::new();
    let mut outcomes = Vec::new();
    for (key, id) in keys.iter().zip(&ids) {
        let fate = match files.get(key) {
            Ok(entry) => stage.fate(entry, there.get(id))?,
            Err(error) => {
                outcomes.push(Err(error.to_string()));
                continue;
            }
        };
        outcomes.push(match &fate {
            Fate::Skipped(skipped) => Err(skipped.reason.clone()),
            _ => Ok(*id),
        });
        fates.push(fate);
    }
    let batch = stage.assemble(fates, &mut IndexSummary::default())?;
    batch.put_thumbnails(gallery)?;
    Ok((outcomes, gallery.upsert(&batch.points)?))
}

/// What is stored at a time.
#[derive(Default)]
struct Batch {
    points: Vec<Point>,
    /// Each under its content's hash.
    thumbnails: Vec<(String, Vec<u8>)>,
}

impl Batch {
    /// To be done before the points are stored, so that none is ever without.
    fn put_thumbnails(&self, gallery: &dyn Gallery) -> Result<(), Error> {
        let thumbnails: Vec<_> = self
            .thumbnails
            .iter()
            .map(|(hash, bytes)| (hash.as_str(), bytes.as_slice()))
            .collect();
        Ok(gallery.put_thumbnails(&thumbnails)?)
    }
}

/// The middle of the way.
struct Stage<'a> {
    source: &'a Source,
    name: &'a str,
    model: &'a Autoencoder,
    gallery: &'a dyn Gallery,
    /// The longer side of a thumbnail in pixels; 0: none.
    thumbnail: usize,
    /// Whether an image may be there under another name: the gallery was not empty.
    looks_up: bool,
}

/// What becomes of an entry.
enum Fate {
    /// It is there already.
    Unchanged,
    /// Its code is known.
    Known(Box<Point>),
    /// It is to be encoded.
    Encode(Box<Fresh>),
    Skipped(Skipped),
}

/// An image whose code is not known.
struct Fresh {
    payload: Payload,
    /// Brought to the model's shape.
    pixels: Vec<u8>,
    thumbnail: Option<Vec<u8>>,
}

impl Stage<'_> {
    /// From a chunk of the listing to points to store.
    fn prepare(&self, items: Vec<Item>, outcome: &mut Outcome) -> Result<Batch, Error> {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            let key = match &item {
                Ok(entry) => &entry.key,
                Err(skipped) => &skipped.key,
            };
            if let Some(seen) = &mut outcome.seen {
                seen.insert(point_id(self.name, key));
            }
            match item {
                Ok(entry) => entries.push(entry),
                Err(skipped) => {
                    outcome.complete &= !hides_others(&skipped);
                    self.source.skips().add(skipped);
                }
            }
        }
        let ids: Vec<_> = entries
            .iter()
            .map(|e| point_id(self.name, &e.key))
            .collect();
        let there = self.there(&ids)?;
        let fates: Vec<Fate> = entries
            .into_par_iter()
            .zip(&ids)
            .map(|(entry, id)| self.fate(entry, there.get(id)))
            .collect::<Result<_, Error>>()?;

        self.assemble(fates, &mut outcome.summary)
    }

    /// The points of these ids that are there.
    fn there(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Point>, Error> {
        if !self.looks_up {
            return Ok(HashMap::new());
        }
        let points = self.gallery.retrieve(ids)?.into_iter();
        Ok(points.map(|point| (point.id, point)).collect())
    }

    /// Encodes what is to be encoded; what was passed over is noted.
    fn assemble(&self, fates: Vec<Fate>, summary: &mut IndexSummary) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        let mut payloads = Vec::new();
        let mut pixels = Vec::new();
        for fate in fates {
            match fate {
                Fate::Skipped(skipped) => {
                    self.source.skips().add(skipped);
                    continue;
                }
                Fate::Unchanged => {}
                Fate::Known(point) => batch.points.push(*point),
                Fate::Encode(fresh) => {
                    pixels.extend_from_slice(&fresh.pixels);
                    let hash = fresh.payload.blake3.clone();
                    batch
                        .thumbnails
                        .extend(fresh.thumbnail.map(|bytes| (hash, bytes)));
                    payloads.push(fresh.payload);
                }
            }
            summary.images += 1;
        }
        summary.encoded += payloads.len();
        let codes = self.model.encode(&pixels)?;
        let codes = codes.chunks_exact(self.model.code_dim());
        let encoded = payloads.into_iter().zip(codes);
        let encoded = encoded.map(|(payload, code)| Point::new(code.to_vec(), payload));
        batch.points.extend(encoded);
        Ok(batch)
    }

    /// Finds out with as little work as can be what is to be done for an entry: size and time of change first, then
    /// the content's hash, then the picture.
    fn fate(&self, entry: Entry, there: Option<&Point>) -> Result<Fate, Error> {
        let stamped = Payload {
            source: self.name.to_owned(),
            key: entry.key.clone(),
            label: entry.label.clone(),
            location: Some(entry.location.clone()),
            bytes: entry.stamp.map(|stamp| stamp.bytes),
            modified: entry.stamp.and_then(|stamp| stamp.modified),
            extra: entry.extra.clone(),
            ..Payload::default()
        };
        // What is known of the same content under `point`, for this entry.
        let known = |point: &Point| {
            let payload = Payload {
                width: point.payload.width,
                height: point.payload.height,
                blake3: point.payload.blake3.clone(),
                ..stamped.clone()
            };
            Point::new(point.code.clone(), payload)
        };
        let same = |point: &Point, known: Point| match known == *point {
            true => Fate::Unchanged,
            false => Fate::Known(Box::new(known)),
        };
        if let Some(point) = there
            && stamped.modified.is_some()
            && (point.payload.bytes, point.payload.modified) == (stamped.bytes, stamped.modified)
        {
            return Ok(same(point, known(point)));
        }
        let reading = self.source.reading();
        let bytes = match entry.read(&reading.source.limits) {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Fate::Skipped(entry.skipped(why))),
        };
        let hash = blake3::hash(&bytes).to_hex().to_string();
        if let Some(point) = there.filter(|point| point.payload.blake3 == hash) {
            return Ok(same(point, known(point)));
        }
        if self.looks_up
            && let Some(twin) = self.gallery.with_content(&[&hash])?.get(&hash)
        {
            return Ok(Fate::Known(Box::new(known(twin))));
        }
        let (shape, how) = (self.model.shape(), self.model.fit());
        let mut options = reading.decode.clone();
        options.target = Some(decode_target(self.model, self.thumbnail));
        let decoded = match decode_bytes(&entry, &bytes, &options) {
            Ok(decoded) => decoded,
            Err(skipped) => return Ok(Fate::Skipped(skipped)),
        };
        let pixels = decoded.fit(shape, how, PADDING);
        // A side beyond u32 would be an image of more than 16 TiB.
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let payload = Payload {
            width: side(decoded.width),
            height: side(decoded.height),
            blake3: hash,
            ..stamped
        };
        // Without its thumbnail an image can still be found.
        let kept = (self.thumbnail > 0).then(|| thumbnail(&decoded.pixels, self.thumbnail).ok());
        Ok(Fate::Encode(Box::new(Fresh {
            payload,
            pixels: pixels.into_data(),
            thumbnail: kept.flatten(),
        })))
    }
}

/// Whether trouble may hide other images from the listing: of a folder, of the rest of an archive, of a line of a list.
fn hides_others(skipped: &Skipped) -> bool {
    use SkipKind::{Bomb, Damaged, Missing, NotUtf8, TooMany, Truncated, Unreadable, Unsupported};
    match skipped.kind {
        Bomb | Damaged | TooMany | Truncated => true,
        // Of an image by its name, it is that image's own trouble.
        Missing | NotUtf8 | Unreadable | Unsupported => !is_image_name(&skipped.key),
        _ => false,
    }
}
