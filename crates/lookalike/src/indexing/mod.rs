//! From a source to a gallery.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lookalike_autoencoder::Autoencoder;
use lookalike_gallery::{DiffusionState, Gallery, Payload, Point, model_fingerprint, point_id};
use lookalike_images::{Image, Images, Source, fit_with};
use lookalike_neighbours::DiffusionConfig;
use lookalike_sources::Source as Files;
use serde::Serialize;

use crate::source::PADDING;
use crate::{AskedRules, Error, Skips, Source as AnySource};
use crate::{catalogue, rules};

pub(crate) mod files;
mod pruning;
mod storing;

use storing::Storing;

/// Images that are encoded and stored at a time, and the bytes of pixels that they may hold: what
/// is stored is durable, so this is also the most work that a killed run loses. Each batch ends
/// with a write to the disk, which smaller ones would wait for more often.
const BATCH: usize = 4_000;
const BATCH_BYTES: usize = 64 << 20;

/// How far indexing is, told after every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IndexProgress {
    /// Images read from the source so far.
    pub images: usize,
    /// Of those, images that were stored.
    pub stored: usize,
    /// What was passed over.
    pub skipped: u64,
    /// Images in the source, if it says.
    pub expected: Option<usize>,
}

/// What indexing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IndexSummary {
    /// Images in the source.
    pub images: usize,
    /// Images that were encoded; the others were known, perhaps under another name.
    pub encoded: usize,
    /// Images that were not in the gallery.
    pub added: usize,
    /// Images that were there with other pixels or another label.
    pub changed: usize,
    /// Images that were there already.
    pub unchanged: usize,
    /// Points that were removed, because the source no longer has them.
    pub removed: usize,
    /// What was passed over, what could not be stored among it.
    pub skipped: u64,
    /// Images that could not be stored, however often it was tried: only on a cluster.
    pub not_stored: usize,
    /// Of the images encoded, those that are nothing but the background: transparent drawings of
    /// its colour among them.
    pub flat: usize,
    /// Points in the gallery now.
    pub points: usize,
    /// What a person should know about it: that labels came from elsewhere before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Encodes a source into a gallery: images that are there already are left alone, so that a run
/// that was stopped is completed by running it again. Then the index and, with `diffusion`, the
/// neighbour graph are brought up to date.
///
/// # Errors
///
/// When the gallery belongs to another model, the source cannot be read to its end, or the
/// gallery cannot be written. What was stored before the error stays stored.
pub fn index(
    source: &dyn Source,
    model: &Autoencoder,
    gallery: &dyn Gallery,
    diffusion: bool,
    progress: impl FnMut(IndexProgress),
) -> Result<IndexSummary, Error> {
    check_model(model, gallery)?;
    index_pixels(source, model, gallery, None, diffusion, progress)
}

/// As [`index`]; what cannot be stored goes to `skips`, if there are any.
fn index_pixels(
    source: &dyn Source,
    model: &Autoencoder,
    gallery: &dyn Gallery,
    skips: Option<&Skips>,
    diffusion: bool,
    mut progress: impl FnMut(IndexProgress),
) -> Result<IndexSummary, Error> {
    let mut indexer = Indexer {
        source: source.name(),
        identity: catalogue::identity(gallery, source.name())?,
        model,
        storing: Storing::new(gallery, skips),
        gallery,
        seen: HashSet::new(),
        summary: IndexSummary::default(),
    };
    let mut images = source.read()?;
    loop {
        let batch = next_batch(&mut images)?;
        if batch.is_empty() {
            break;
        }
        indexer.store(batch)?;
        progress(IndexProgress {
            images: indexer.summary.images,
            stored: indexer.summary.added + indexer.summary.changed,
            skipped: indexer.summary.skipped,
            expected: source.len(),
        });
    }
    let summary = indexer.summary;
    Ok(IndexSummary {
        points: bring_up_to_date(gallery, diffusion)?,
        ..summary
    })
}

/// What [`index_source`] does besides storing what is new or changed.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// Bring the neighbour graph up to date, which [`Rerank::Diffusion`](lookalike_gallery::Rerank)
    /// needs, if there are no more than [`MAX_DIFFUSED`] points.
    pub diffusion: bool,
    /// Remove the points of images that the source no longer has. Nothing is removed unless the
    /// source could be listed to its end.
    pub prune: bool,
    /// Remove also all that is left of a folder that had images and now lists none, and of a source
    /// that lists nothing at all: without this, pruning refuses it, for so does a folder whose disk
    /// is not mounted.
    pub prune_emptied: bool,
    /// Read every image anew, whatever its size and its times say.
    pub reread: bool,
    /// The longer side in pixels of the thumbnail that is kept of each image that is encoded; 0:
    /// none is. Of data sets of pixels none is kept: they show themselves.
    pub thumbnail: usize,
    /// What is asked for of how pictures are read. What is not is as the gallery's
    /// [rules](crate::ReadingRules) say, whatever the source was opened with.
    pub rules: AskedRules,
    /// When this becomes true, indexing files ends before its next batch with
    /// [`Stopped`](Error::Stopped); what was stored stays stored.
    pub stop: Option<Arc<AtomicBool>>,
}

impl IndexOptions {
    fn check_stop(&self, source: &str) -> Result<(), Error> {
        let stop = self.stop.as_ref();
        match stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            true => Err(Error::Stopped {
                source_name: source.to_owned(),
            }),
            false => Ok(()),
        }
    }
}

impl Default for IndexOptions {
    /// No neighbour graph, nothing pruned, thumbnails of [`THUMBNAIL`] pixels, read by the
    /// gallery's rules.
    fn default() -> Self {
        Self {
            diffusion: false,
            prune: false,
            prune_emptied: false,
            reread: false,
            thumbnail: THUMBNAIL,
            rules: AskedRules::default(),
            stop: None,
        }
    }
}

/// What pictures are decoded to for a model and thumbnails of `thumbnail` pixels. A query is
/// decoded to the same as what it is compared with, so that an image finds itself at no distance at
/// all.
pub fn decode_target(model: &Autoencoder, thumbnail: usize) -> (usize, usize) {
    let shape = model.shape();
    // Decoders give twice the target at the least, if there is as much.
    // Small thumbnails, and none, change nothing.
    let least = |side: usize| side.max(thumbnail.max(THUMBNAIL) / 2);
    (least(shape.width), least(shape.height))
}

/// The longer side of a thumbnail in pixels, unless another is asked for: about 3 KB of a
/// photograph.
pub const THUMBNAIL: usize = 128;

/// Keeps a gallery in step with a source of any kind: reads, decodes, encodes and stores what is
/// new or changed, all at the same time. What is there with the same size and time of change is not
/// read; what is there with the same content, perhaps under another name, is not encoded.
///
/// Pictures are read by the rules that the gallery keeps, and by what the options ask for; of a new
/// gallery that is how `source` was opened, which is kept with it. What cannot be read or decoded
/// goes to the source's [`Skips`](crate::Skips). A run that was stopped is completed by running it
/// again.
///
/// # Errors
///
/// When the gallery belongs to another model or cannot be written, rules are asked for that do not
/// fit it, or nothing of the source can be read; with `prune` also when the source could not be
/// listed to its end, or a folder of it lists nothing any more ([`Emptied`](Error::Emptied)); for a
/// sample, and for a part that is to be pruned. What was stored before the error stays stored.
pub fn index_source(
    source: AnySource,
    model: &Autoencoder,
    gallery: &dyn Gallery,
    options: IndexOptions,
    progress: impl FnMut(IndexProgress),
) -> Result<IndexSummary, Error> {
    refuse_chosen(&source, options.prune)?;
    check_model(model, gallery)?;
    let (source, note) = rules::admit(source, &options.rules, model, gallery)?;
    let mut summary = match source.files() {
        Some(files) => index_files(&source, files, model, gallery, &options, progress)?,
        None => {
            let skips = Some(source.skips().as_ref());
            index_pixels(&source, model, gallery, skips, options.diffusion, progress)?
        }
    };
    summary.notes.extend(note);
    Ok(summary)
}

fn index_files(
    source: &AnySource,
    files: &dyn Files,
    model: &Autoencoder,
    gallery: &dyn Gallery,
    options: &IndexOptions,
    progress: impl FnMut(IndexProgress),
) -> Result<IndexSummary, Error> {
    let outcome = files::store(source, files, model, gallery, options, progress)?;
    let mut summary = outcome.summary;
    if let Some(seen) = &outcome.seen {
        if !outcome.complete {
            return Err(Error::Unusable(format!(
                "nothing was pruned: part of {} could not be listed, and what is in it is not gone; see what was passed over, mend it and run again",
                source.name()
            )));
        }
        summary.removed = pruning::prune(files.name(), gallery, seen, options.prune_emptied)?;
    }
    summary.points = bring_up_to_date(gallery, options.diffusion)?;
    Ok(summary)
}

/// The most points whose neighbour graph is built: comparing each with all takes minutes from there
/// on.
pub const MAX_DIFFUSED: usize = 200_000;

/// Refuses to keep a gallery in step with some images of a source that were chosen from it, and to
/// prune where nothing is ever gone.
fn refuse_chosen(source: &AnySource, prune: bool) -> Result<(), Error> {
    if prune && source.files().is_none() {
        return Err(Error::Unusable(format!(
            "cannot prune {}: it is a data set of pixels, of which nothing is ever gone",
            source.name()
        )));
    }
    if source.reading().sample.is_some() {
        return Err(Error::Unusable(format!(
            "cannot index a sample of {}: a gallery holds all of a source, or one part of several; read it without a sample",
            source.name()
        )));
    }
    if prune && source.reading().part.is_some() {
        return Err(Error::Unusable(format!(
            "cannot prune by a part of {}: what the other parts hold would be removed; prune by the whole source",
            source.name()
        )));
    }
    Ok(())
}

/// Refuses a model that is not the gallery's.
fn check_model(model: &Autoencoder, gallery: &dyn Gallery) -> Result<(), Error> {
    let info = gallery.describe()?;
    let fingerprint = model_fingerprint(&model.to_bytes());
    if info.model_fingerprint == fingerprint {
        return Ok(());
    }
    Err(Error::Unusable(format!(
        "the gallery {} was made with model {}, not with {}: use its model, or make another gallery",
        info.name,
        crate::opening::short(&info.model_fingerprint),
        crate::opening::short(&fingerprint)
    )))
}

/// Index and, if wished, neighbour graph after the last change; says how many points there are.
pub(crate) fn bring_up_to_date(gallery: &dyn Gallery, diffusion: bool) -> Result<usize, Error> {
    gallery.optimise()?;
    let info = gallery.describe()?;
    let few = (2..=MAX_DIFFUSED).contains(&info.points);
    let due = matches!(
        info.diffusion,
        DiffusionState::Absent | DiffusionState::Stale
    );
    if diffusion && few && due {
        gallery.build_diffusion(&DiffusionConfig::default())?;
    }
    gallery.flush()?;
    Ok(info.points)
}

fn next_batch(images: &mut Images) -> Result<Vec<Image>, Error> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Some(image) = images.next().transpose()? else {
            break;
        };
        bytes += image.pixels.data().len();
        batch.push(image);
    }
    Ok(batch)
}

struct Indexer<'a> {
    source: &'a str,
    /// What ids are made of.
    identity: String,
    model: &'a Autoencoder,
    storing: Storing<'a>,
    gallery: &'a dyn Gallery,
    seen: HashSet<String>,
    summary: IndexSummary,
}

impl Indexer<'_> {
    fn store(&mut self, batch: Vec<Image>) -> Result<(), Error> {
        let ids: Vec<_> = batch
            .iter()
            .map(|image| point_id(&self.identity, &image.key))
            .collect();
        let there: HashMap<_, _> = self
            .gallery
            .retrieve(&ids)?
            .into_iter()
            .map(|point| (point.id, point))
            .collect();
        let mut points = Vec::new();
        let mut pixels = Vec::new();
        let mut waiting = Vec::new();
        for (image, id) in batch.iter().zip(&ids) {
            if !self.seen.insert(image.key.clone()) {
                return Err(Error::Unusable(format!(
                    "cannot index {}: it gives the key '{}' twice",
                    self.source, image.key
                )));
            }
            let payload = self.payload(image);
            match there.get(id) {
                Some(point) if point.payload == payload => {}
                // The same pixels under another label keep their code.
                Some(point) if point.payload.blake3 == payload.blake3 => {
                    points.push(Point {
                        payload,
                        ..point.clone()
                    });
                }
                _ => {
                    pixels.extend_from_slice(
                        fit_with(&image.pixels, self.model.shape(), self.model.fit(), PADDING)
                            .data(),
                    );
                    waiting.push(payload);
                }
            }
        }
        self.summary.encoded += waiting.len();
        let codes = self.model.encode(&pixels)?;
        let encoded = waiting
            .into_iter()
            .zip(codes.chunks_exact(self.model.code_dim()));
        points.extend(encoded.map(|(payload, code)| Point::new(code.to_vec(), payload)));
        let (stored, lost) = self.storing.store(&points)?;
        self.summary.images += batch.len();
        self.summary.added += stored.added;
        self.summary.changed += stored.changed;
        self.summary.not_stored += lost;
        self.summary.skipped += lost as u64;
        self.summary.unchanged += batch.len() - stored.added - stored.changed - lost;
        Ok(())
    }

    fn payload(&self, image: &Image) -> Payload {
        // A side beyond u32 would be an image of more than 16 TiB.
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        Payload {
            source: self.source.to_owned(),
            key: image.key.clone(),
            label: image.label.clone(),
            width: side(image.pixels.width()),
            height: side(image.pixels.height()),
            blake3: image.pixels.blake3(),
            origin: (self.identity != self.source).then(|| self.identity.clone()),
            ..Payload::default()
        }
    }
}
