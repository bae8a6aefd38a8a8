//! How good a model's answers are: by labels, and, where there are none, by finding the originals of changed copies.

use lookalike_autoencoder::Autoencoder;
use lookalike_eval::{
    Baselines, EvalError, Labelled, Options, Scores, SelfScores, baselines, evaluate,
    self_retrieval,
};
use lookalike_images::{Collection, Distorter, Distortion, Pixels, histogram};
use lookalike_neighbours::{Codes, DiffusionConfig, Metric};
use rayon::prelude::*;
use serde::Serialize;

use crate::Error;

/// Asks the collection's codes with each of its images (left out of its own answer), or with each
/// image of `queries`, and scores the answers by label. Labels are read for nothing else.
///
/// # Errors
///
/// When a collection has no labels or another shape than the model.
pub fn assess(
    model: &Autoencoder,
    collection: &Collection,
    queries: Option<&Collection>,
    metric: Metric,
    rerank: Option<DiffusionConfig>,
) -> Result<Scores, Error> {
    let codes = model.encode_collection(collection, |_| {})?;
    let asked = queries
        .map(|q| model.encode_collection(q, |_| {}))
        .transpose()?;
    let dims = model.code_dim();
    let options = Options { rerank };
    with_labels(
        collection,
        &codes,
        dims,
        queries,
        asked.as_deref(),
        |g, q| evaluate(g, q, metric, &options),
    )
}

/// The same for what needs no learning: raw pixels and their principal components.
///
/// # Errors
///
/// When a collection has no labels.
pub fn assess_baselines(
    collection: &Collection,
    queries: Option<&Collection>,
) -> Result<Baselines, Error> {
    with_pixels(collection, queries, |g, q| baselines(g, q))
}

/// The same for raw pixels alone.
///
/// # Errors
///
/// When a collection has no labels.
pub fn assess_pixels(
    collection: &Collection,
    queries: Option<&Collection>,
    metric: Metric,
) -> Result<Scores, Error> {
    with_pixels(collection, queries, |g, q| {
        evaluate(g, q, metric, &Options::default())
    })
}

/// The same for colour histograms ([`histogram`], cosine distance); `None` for grey images.
///
/// # Errors
///
/// When a collection has no labels.
pub fn assess_histogram(
    collection: &Collection,
    queries: Option<&Collection>,
) -> Result<Option<Scores>, Error> {
    if collection.shape().channels < 3 {
        return Ok(None);
    }
    let codes = histogram_vectors(collection);
    let asked = queries.map(histogram_vectors);
    let dims = codes.len() / collection.len();
    let options = Options::default();
    with_labels(
        collection,
        &codes,
        dims,
        queries,
        asked.as_deref(),
        |g, q| evaluate(g, q, Metric::Cosine, &options),
    )
    .map(Some)
}

/// How well changed copies of images find their originals: what [`assess_self`] found.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct SelfAssessment {
    /// How the copies were changed.
    pub distortion: Distortion,
    /// The model's codes.
    pub model: SelfScores,
    /// Raw pixels, cosine distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels_cosine: Option<SelfScores>,
    /// Colour histograms, cosine distance; only of colour images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<SelfScores>,
}

/// Copies that ask, at most.
const MOST_COPIES: usize = 2000;
/// Makes the copies' draws others than those of any training.
const COPIES: u64 = 0x636f_7069_6573;

/// The change of [`assess_self`]'s copies: a crop to 85 % to 100 % of each side, half of
/// [`Distortion::strength`]'s range (rotation 8.5°, scale 7.5 %, shear 0.1, shift 5 %, elastic 0.1), and for colour
/// images half of [`Distortion::with_colour`]'s (brightness, contrast and saturation 10 %, hue 3°, gamma 0.075).
pub fn copying(channels: usize) -> Distortion {
    let places = Distortion::strength(0.5).with_crop(0.15);
    match channels {
        3 => places.with_colour(0.5),
        _ => places,
    }
}

/// Asks with a changed copy ([`copying`]) of each image, or of 2,000 at even steps through a larger collection, and
/// looks for its original among all images. No label is read. `with_baselines` asks raw pixels and, of colour images,
/// histograms as well. The copies are the same at every call.
///
/// # Errors
///
/// When the collection has another shape than the model, or fewer than two images.
pub fn assess_self(
    model: &Autoencoder,
    collection: &Collection,
    metric: Metric,
    with_baselines: bool,
) -> Result<SelfAssessment, Error> {
    let shape = collection.shape();
    let distortion = copying(shape.channels);
    let asked = collection.len().min(MOST_COPIES);
    let originals: Vec<usize> = (0..asked).map(|i| i * collection.len() / asked).collect();
    let mut copies = vec![0; asked * shape.values()];
    copies
        .par_chunks_exact_mut(shape.values())
        .zip(&originals)
        .for_each_init(
            || {
                (
                    Distorter::new(&distortion, shape),
                    vec![0.0; shape.values()],
                )
            },
            |(distorter, floats), (copy, &original)| {
                distorter.apply(collection.image(original), COPIES ^ original as u64, floats);
                for (byte, &value) in copy.iter_mut().zip(floats.iter()) {
                    *byte = (value * 255.0).round() as u8;
                }
            },
        );
    let score = |gallery: &[f32], queries: &[f32], metric| -> Result<SelfScores, Error> {
        let gallery = Codes::new(gallery, gallery.len() / collection.len())?;
        let queries = Codes::new(queries, gallery.dims())?;
        Ok(self_retrieval(gallery, queries, &originals, metric)?)
    };
    let codes = model.encode_collection(collection, |_| {})?;
    let model = score(&codes, &model.encode(&copies)?, metric)?;
    drop(codes);
    let (mut pixels_cosine, mut of_histograms) = (None, None);
    if with_baselines {
        let floats = floats(&copies);
        pixels_cosine = Some(score(&pixel_vectors(collection), &floats, Metric::Cosine)?);
        if shape.channels == 3 {
            let histograms: Vec<f32> = copies
                .chunks_exact(shape.values())
                .flat_map(|copy| histogram_vector(shape.width, shape.height, copy))
                .collect();
            let gallery = histogram_vectors(collection);
            of_histograms = Some(score(&gallery, &histograms, Metric::Cosine)?);
        }
    }
    Ok(SelfAssessment {
        distortion,
        model,
        pixels_cosine,
        histogram: of_histograms,
    })
}

fn histogram_vectors(collection: &Collection) -> Vec<f32> {
    let shape = collection.shape();
    (0..collection.len())
        .flat_map(|i| histogram_vector(shape.width, shape.height, collection.image(i)))
        .collect()
}

fn histogram_vector(width: usize, height: usize, colours: &[u8]) -> [f32; 64] {
    let pixels = Pixels::new(width, height, 3, colours.to_vec());
    histogram(&pixels.expect("an image of a collection has its shape"))
}

fn floats(pixels: &[u8]) -> Vec<f32> {
    pixels.iter().map(|&p| f32::from(p) / 255.0).collect()
}

/// A collection's pixels as vectors, 0 to 1, one image after another.
pub fn pixel_vectors(collection: &Collection) -> Vec<f32> {
    floats(collection.pixels())
}

fn with_pixels<T>(
    collection: &Collection,
    queries: Option<&Collection>,
    score: impl FnOnce(Labelled<&str>, Option<Labelled<&str>>) -> Result<T, EvalError>,
) -> Result<T, Error> {
    let pixels = pixel_vectors(collection);
    let asked = queries.map(pixel_vectors);
    let dims = collection.shape().values();
    with_labels(collection, &pixels, dims, queries, asked.as_deref(), score)
}

/// Joins vectors with their collections' labels and hands both to `score`.
fn with_labels<T>(
    collection: &Collection,
    vectors: &[f32],
    dims: usize,
    queries: Option<&Collection>,
    asked: Option<&[f32]>,
    score: impl FnOnce(Labelled<&str>, Option<Labelled<&str>>) -> Result<T, EvalError>,
) -> Result<T, Error> {
    let gallery_labels = labels(collection)?;
    let gallery = Labelled::new(Codes::new(vectors, dims)?, &gallery_labels)?;
    match (queries, asked) {
        (Some(queries), Some(asked)) => {
            let query_labels = labels(queries)?;
            let queries = Labelled::new(Codes::new(asked, dims)?, &query_labels)?;
            Ok(score(gallery, Some(queries))?)
        }
        _ => Ok(score(gallery, None)?),
    }
}

fn labels(collection: &Collection) -> Result<Vec<&str>, Error> {
    (0..collection.len())
        .map(|i| {
            collection.label(i).ok_or_else(|| {
                Error::Unusable(format!(
                    "cannot score {}: image {} has no label, and an answer is right when its label is the query's",
                    collection.name(),
                    collection.key(i)
                ))
            })
        })
        .collect()
}
