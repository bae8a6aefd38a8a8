//! From a stream of images to a gallery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lookalike_gallery::{DiffusionState, Gallery};
use lookalike_neighbours::DiffusionConfig;
use serde::Serialize;

use crate::opening::short;
use crate::rules;
use crate::{Encoder, Error, ImageStream, Progress, RuleOverrides};

mod facts;
pub(crate) mod pipeline;
mod pruning;
mod stage;
mod storing;
mod tiling;

pub use tiling::{DEFAULT_TILES, MIN_TILES};

/// What indexing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IndexSummary {
    /// Images in the source.
    pub images: usize,
    /// Images that were encoded; the others were known, perhaps under another name.
    pub encoded: usize,
    /// Images of which tiles were made.
    pub tiled: usize,
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

/// What [`index`] does besides storing what is new or changed.
#[derive(Clone)]
pub struct IndexOptions<'a> {
    /// Bring the neighbour graph up to date, which [`Rerank::Diffusion`](lookalike_gallery::Rerank)
    /// needs, if there are no more than [`MAX_DIFFUSION_POINTS`] points.
    pub diffusion: bool,
    /// Remove the points of images that the source no longer has. Nothing is removed unless the
    /// source could be listed to its end.
    pub prune: bool,
    /// Remove also all that is left of a folder that had images and now lists none, and of a source
    /// that lists nothing at all: without this, pruning refuses it, for so does a folder whose disk
    /// is not mounted.
    pub prune_emptied: bool,
    /// Read every image anew, whatever its size and its times say, and find out the
    /// [facts](lookalike_gallery::Facts) of those that have none: galleries did not always keep
    /// them.
    pub reread: bool,
    /// The longer side in pixels of the thumbnail that is kept of each image that is encoded; 0:
    /// none is. Of data sets of pixels none is kept, for they show themselves, unless their source
    /// is [transient](lookalike_sources::Source::is_transient).
    pub thumbnail: usize,
    /// What is asked for of how pictures are read. What is not is as the gallery's
    /// [rules](crate::ReadingRules) say, whatever the source was opened with.
    pub rules: RuleOverrides,
    /// When this becomes true, indexing files ends before its next batch with
    /// [`Stopped`](Error::Stopped); what was stored stays stored.
    pub stop: Option<Arc<AtomicBool>>,
    /// Hears after every batch how many images of the source have been gone through
    /// ([`Indexing`](crate::Phase::Indexing)) and, where some were stored, how many in all
    /// ([`Storing`](crate::Phase::Storing)).
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl IndexOptions<'_> {
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

impl Default for IndexOptions<'_> {
    /// No neighbour graph, nothing pruned, thumbnails of [`DEFAULT_THUMBNAIL_SIDE`] pixels, read by
    /// the gallery's rules.
    fn default() -> Self {
        Self {
            diffusion: false,
            prune: false,
            prune_emptied: false,
            reread: false,
            thumbnail: DEFAULT_THUMBNAIL_SIDE,
            rules: RuleOverrides::default(),
            stop: None,
            progress: None,
        }
    }
}

/// What pictures are decoded to for an encoder and thumbnails of `thumbnail` pixels. A query is
/// decoded to the same as what it is compared with, so that an image finds itself at no distance at
/// all.
pub fn decode_target(encoder: &dyn Encoder, thumbnail: usize) -> (usize, usize) {
    let (width, height) = encoder.decode_sides();
    // Decoders give twice the target at the least, if there is as much.
    // Small thumbnails, and none, change nothing.
    let least = |side: usize| side.max(thumbnail.max(DEFAULT_THUMBNAIL_SIDE) / 2);
    (least(width), least(height))
}

/// The longer side of a thumbnail in pixels, unless another is asked for: about 3 KB of a
/// photograph.
pub const DEFAULT_THUMBNAIL_SIDE: usize = 128;

/// Keeps a gallery in step with a source of any kind: reads, decodes, encodes and stores what is
/// new or changed, all at the same time. What is there with the same size and time of change is not
/// read; what is there with the same content, perhaps under another name, is not encoded.
///
/// Pictures are read by the rules that the gallery keeps, and by what the options ask for; of a new
/// gallery that is how the stream was opened, which is kept with it. What cannot be read or decoded
/// goes to the stream's [`Skips`](crate::Skips). A run that was stopped is completed by running it
/// again.
///
/// # Errors
///
/// When the gallery belongs to another encoder or cannot be written, rules are asked for that do
/// not fit it, or nothing of the source can be read; with `prune` also when the source could not be
/// listed to its end, or a folder of it lists nothing any more ([`Emptied`](Error::Emptied)); for a
/// sample, and for a part that is to be pruned. What was stored before the error stays stored.
pub fn index(
    stream: ImageStream,
    encoder: &dyn Encoder,
    gallery: &dyn Gallery,
    options: IndexOptions,
) -> Result<IndexSummary, Error> {
    refuse_chosen(&stream, options.prune)?;
    check_encoder(encoder, gallery)?;
    let (stream, note) = rules::admit(stream, &options.rules, encoder, gallery)?;
    let outcome = pipeline::store(&stream, encoder, gallery, &options)?;
    let mut summary = outcome.summary;
    if let Some(seen) = &outcome.seen {
        if !outcome.complete {
            return Err(Error::PartlyListed {
                source_name: stream.name().to_owned(),
            });
        }
        summary.removed = pruning::prune(stream.name(), gallery, seen, options.prune_emptied)?;
    }
    summary.points = bring_up_to_date(gallery, options.diffusion)?;
    summary.notes.extend(note);
    Ok(summary)
}

/// The most points whose neighbour graph is built: comparing each with all takes minutes from there
/// on.
pub const MAX_DIFFUSION_POINTS: usize = 200_000;

/// Refuses to keep a gallery in step with some images of a source that were chosen from it.
fn refuse_chosen(stream: &ImageStream, prune: bool) -> Result<(), Error> {
    if stream.reading().sample.is_some() {
        return Err(Error::Unusable(format!(
            "cannot index a sample of {}: a gallery holds all of a source, or one part of several; read it without a sample",
            stream.name()
        )));
    }
    if prune && stream.reading().part.is_some() {
        return Err(Error::Unusable(format!(
            "cannot prune by a part of {}: what the other parts hold would be removed; prune by the whole source",
            stream.name()
        )));
    }
    Ok(())
}

/// Refuses an encoder that is not the gallery's.
fn check_encoder(encoder: &dyn Encoder, gallery: &dyn Gallery) -> Result<(), Error> {
    let info = gallery.describe()?;
    let fingerprint = encoder.fingerprint();
    if info.model_fingerprint == fingerprint {
        return Ok(());
    }
    Err(Error::WrongModel {
        gallery: info.name,
        model: info.model_fingerprint,
        others: format!("not with {}", short(&fingerprint)),
        advice: "use its model, or make another gallery",
    })
}

/// Index and, if wished, neighbour graph after the last change; says how many points there are.
pub(crate) fn bring_up_to_date(gallery: &dyn Gallery, diffusion: bool) -> Result<usize, Error> {
    gallery.optimise()?;
    let info = gallery.describe()?;
    let few = (2..=MAX_DIFFUSION_POINTS).contains(&info.points);
    let due = matches!(
        info.diffusion,
        DiffusionState::Absent | DiffusionState::Stale
    );
    if let Some(folder) = gallery.as_embedded()
        && diffusion
        && few
        && due
    {
        folder.build_diffusion(&DiffusionConfig::default())?;
    }
    gallery.flush()?;
    Ok(info.points)
}
