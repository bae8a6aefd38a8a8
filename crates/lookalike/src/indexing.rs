//! From a source to a gallery.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use lookalike_autoencoder::{Architecture, Autoencoder};
use lookalike_gallery::{
    DiffusionState, EmbeddedGallery, Gallery, Payload, Point, model_fingerprint, point_id,
};
use lookalike_images::{Image, Images, Source, fit};
use lookalike_neighbours::{DiffusionConfig, Metric};
use serde::Serialize;

use crate::Error;

/// Images that are encoded and stored at a time, and the bytes of pixels that they may hold: what
/// is stored is durable, so this is also the most work that a killed run loses. Each batch ends
/// with a write to the disk, which smaller ones would wait for more often.
const BATCH: usize = 4_000;
const BATCH_BYTES: usize = 64 << 20;

/// The metric that suits a model: cosine for the linear bottleneck, Euclidean for the article's
/// networks.
pub fn default_metric(model: &Autoencoder) -> Metric {
    match model.config().architecture {
        Architecture::Bottleneck => Metric::Cosine,
        Architecture::Conv | Architecture::Compact => Metric::Euclidean,
    }
}

/// Makes an empty gallery for `model`, by `metric` or the model's default.
///
/// # Errors
///
/// When something is there already, or the folder cannot be written.
pub fn create_gallery(
    path: impl AsRef<Path>,
    model: &Autoencoder,
    metric: Option<Metric>,
) -> Result<EmbeddedGallery, Error> {
    let metric = metric.unwrap_or_else(|| default_metric(model));
    let bytes = model.to_bytes();
    Ok(EmbeddedGallery::create(
        path,
        metric,
        model.code_dim(),
        &bytes,
    )?)
}

/// Opens the gallery that `name` means: a folder's path. `qdrant://` addresses are named in the
/// error as what they are, a cluster, which this version cannot open.
///
/// # Errors
///
/// When there is none, it is damaged, or another process has it open.
pub fn open_gallery(name: &str) -> Result<EmbeddedGallery, Error> {
    refuse_cluster(name)?;
    Ok(EmbeddedGallery::open(name)?)
}

/// Opens the gallery `name` if it fits `model` and `metric` (none: whatever it has), or makes it.
///
/// # Errors
///
/// When it is there with another model or metric, and as [`open_gallery`].
pub fn open_or_create_gallery(
    name: &str,
    model: &Autoencoder,
    metric: Option<Metric>,
) -> Result<EmbeddedGallery, Error> {
    refuse_cluster(name)?;
    Ok(EmbeddedGallery::open_or_create_with(
        name,
        metric,
        default_metric(model),
        model.code_dim(),
        &model.to_bytes(),
    )?)
}

fn refuse_cluster(name: &str) -> Result<(), Error> {
    if name.starts_with("qdrant://") || name.starts_with("qdrants://") {
        return Err(Error::Unusable(format!(
            "the gallery {name} is on a Qdrant cluster, which this version cannot open: give a path"
        )));
    }
    Ok(())
}

/// How far indexing is, told after every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IndexProgress {
    /// Images read from the source so far.
    pub images: usize,
    /// Of those, images that were encoded and stored.
    pub stored: usize,
    /// Images in the source, if it says.
    pub expected: Option<usize>,
}

/// What indexing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IndexSummary {
    /// Images in the source.
    pub images: usize,
    /// Images that were not in the gallery.
    pub added: usize,
    /// Images that were there with other pixels or another label.
    pub changed: usize,
    /// Images that were there already.
    pub unchanged: usize,
    /// Points in the gallery now.
    pub points: usize,
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
    mut progress: impl FnMut(IndexProgress),
) -> Result<IndexSummary, Error> {
    let info = gallery.describe()?;
    let fingerprint = model_fingerprint(&model.to_bytes());
    if info.model_fingerprint != fingerprint {
        return Err(Error::Unusable(format!(
            "the gallery {} was made with model {}, not with {}: use its model, or make another gallery",
            info.name,
            short(&info.model_fingerprint),
            short(&fingerprint)
        )));
    }
    let mut indexer = Indexer {
        source: source.name(),
        model,
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
            expected: source.len(),
        });
    }
    let mut summary = indexer.summary;
    gallery.optimise()?;
    let info = gallery.describe()?;
    if diffusion && info.points > 1 && info.diffusion != DiffusionState::Fresh {
        gallery.build_diffusion(&DiffusionConfig::default())?;
    }
    gallery.flush()?;
    summary.points = info.points;
    Ok(summary)
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

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}

struct Indexer<'a> {
    source: &'a str,
    model: &'a Autoencoder,
    gallery: &'a dyn Gallery,
    seen: HashSet<String>,
    summary: IndexSummary,
}

impl Indexer<'_> {
    fn store(&mut self, batch: Vec<Image>) -> Result<(), Error> {
        let ids: Vec<_> = batch
            .iter()
            .map(|image| point_id(self.source, &image.key))
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
                    pixels.extend_from_slice(fit(&image.pixels, self.model.shape()).data());
                    waiting.push(payload);
                }
            }
        }
        let codes = self.model.encode(&pixels)?;
        let encoded = waiting
            .into_iter()
            .zip(codes.chunks_exact(self.model.code_dim()));
        points.extend(encoded.map(|(payload, code)| Point::new(code.to_vec(), payload)));
        let stored = self.gallery.upsert(&points)?;
        self.summary.images += batch.len();
        self.summary.added += stored.added;
        self.summary.changed += stored.changed;
        self.summary.unchanged += batch.len() - stored.added - stored.changed;
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
            ..Payload::default()
        }
    }
}
