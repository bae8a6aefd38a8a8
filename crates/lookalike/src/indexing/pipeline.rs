//! From a stream of images to a gallery: listed, read, decoded, encoded and stored, all at the same
//! time.
//!
//! ```text
//! list ──(entries)──► compare, read, decode, fit, encode ──(points)──► store
//! a thread            all threads of the pool ([`Stage`])              a thread
//! ```
//!
//! Both queues are bounded, so the slowest stage sets the pace and memory does not grow with the
//! source. What is stored is durable; what is not is found again by the next run.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lookalike_gallery::{Gallery, Upserted, point_id};
use uuid::Uuid;

use crate::catalogue;
use crate::indexing::pruning::Seen;
use crate::indexing::stage::{Batch, Decision, Item, Stage};
use crate::indexing::storing::Storing;
use crate::indexing::tiling::Tiling;
use crate::indexing::{IndexOptions, IndexSummary};
use crate::{Encoder, Error, ImageStream, Phase, Progress, Skips};

/// Entries taken at a time, and the bytes that those may hold which had to be read on the way past.
const CHUNK: usize = 1024;
const CHUNK_BYTES: usize = 32 << 20;
/// Bytes of pixels, brought to the encoder's input, that are encoded at a time.
const PIXEL_BYTES: usize = 64 << 20;
/// What indexing saw of the source.
pub(super) struct Outcome {
    pub summary: IndexSummary,
    /// The ids of all that the source holds, what was passed over included, if they were wanted.
    pub seen: Option<Seen>,
    /// Whether all of it was listed.
    pub complete: bool,
}

/// Brings the gallery up to date with what a source holds; what the source no longer holds stays.
pub(super) fn store(
    stream: &ImageStream,
    encoder: &dyn Encoder,
    gallery: &dyn Gallery,
    options: &IndexOptions,
) -> Result<Outcome, Error> {
    let entries = stream.entries()?;
    let stage = Stage {
        stream,
        name: stream.name(),
        identity: catalogue::identity(gallery, stream.name())?,
        encoder,
        gallery,
        thumbnail: options.thumbnail,
        reread: options.reread,
        looks_up: gallery.describe()?.points > 0,
        tiling: Tiling::of(gallery, encoder)?,
    };
    let expected = stream.len_hint();
    let chunk = CHUNK
        .min(PIXEL_BYTES / (stage.inputs() * encoder.shape().values()).max(1))
        .max(1);
    let mut outcome = Outcome {
        summary: IndexSummary::default(),
        // 16 bytes an image, which would add up.
        seen: options.prune.then(Seen::default),
        complete: true,
    };
    let stored = Mutex::new(Done::default());
    let total = || *stored.lock().expect("nobody panics with it");
    let tell = |phase, done, total| {
        if let Some(progress) = options.progress {
            progress(Progress::new(phase, done, total));
        }
    };
    let mut told = 0;
    thread::scope(|scope| {
        let (to_work, chunks) = sync_channel(2);
        let (to_store, batches) = sync_channel(1);
        scope.spawn(move || list(entries, chunk, &to_work));
        let storing = scope.spawn(|| write(gallery, stream.skips(), batches, &stored));
        for items in chunks {
            // Leaving the loop hangs up on both threads, which then end.
            options.check_stop(stream.name())?;
            let batch = stage.prepare(items, &mut outcome)?;
            if !batch.is_empty() && to_store.send(batch).is_err() {
                break;
            }
            tell(Phase::Indexing, outcome.summary.images, expected);
            let Done { points, .. } = total();
            if points.added + points.changed > told {
                told = points.added + points.changed;
                tell(Phase::Storing, told, None);
            }
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
    summary.skipped = stream.skips().total();
    Ok(outcome)
}

/// Lists the source in chunks, until nobody listens.
fn list(entries: impl Iterator<Item = Item>, most: usize, to: &SyncSender<Vec<Item>>) {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    for item in entries {
        bytes += item.as_ref().map_or(0, |entry| entry.content.held());
        chunk.push(item);
        if chunk.len() == most || bytes >= CHUNK_BYTES {
            if to.send(std::mem::take(&mut chunk)).is_err() {
                return;
            }
            bytes = 0;
        }
    }
    if !chunk.is_empty() {
        // The receiver may be gone; then nobody waits for it.
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
    let mut storing = Storing::new(gallery, skips);
    for batch in batches {
        batch.put_blobs(gallery)?;
        let (upserted, lost) = storing.store(&batch.points)?;
        let mut done = done.lock().expect("nobody panics with it");
        done.points.added += upserted.added;
        done.points.changed += upserted.changed;
        done.points.unchanged += upserted.unchanged;
        done.lost += lost;
    }
    Ok(())
}

/// Brings the points of some of a source's images up to date, under another name for the source:
/// the id of each, in their order, or why it was passed over; and what storing them did.
pub(crate) fn store_some(
    stream: &ImageStream,
    name: &str,
    keys: &[&str],
    encoder: &dyn Encoder,
    gallery: &dyn Gallery,
    thumbnail: usize,
) -> Result<(Vec<Result<Uuid, String>>, Upserted), Error> {
    let stage = Stage {
        stream,
        name,
        identity: name.to_owned(),
        encoder,
        gallery,
        thumbnail,
        reread: false,
        looks_up: true,
        tiling: Tiling::of(gallery, encoder)?,
    };
    let ids: Vec<_> = keys.iter().map(|key| point_id(name, key)).collect();
    let there = stage.there(&ids)?;
    let mut entries = Vec::with_capacity(keys.len());
    let mut outcomes = Vec::with_capacity(keys.len());
    for (key, id) in keys.iter().zip(&ids) {
        let entry = stream.source().get(key).map_err(|error| error.to_string());
        outcomes.push(entry.map(|entry| {
            entries.push((*id, entry));
            *id
        }));
    }
    let decisions = stage.decisions(entries, &there)?;
    for (outcome, decision) in outcomes
        .iter_mut()
        .filter(|one| one.is_ok())
        .zip(&decisions)
    {
        if let Decision::Skipped(skipped) = decision {
            *outcome = Err(skipped.reason.clone());
        }
    }
    let batch = stage.assemble(decisions, &mut IndexSummary::default())?;
    batch.put_blobs(gallery)?;
    Ok((outcomes, gallery.upsert(&batch.points)?))
}
