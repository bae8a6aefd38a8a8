//! How good a model's answers are on a labelled collection.

use lookalike_autoencoder::Autoencoder;
use lookalike_eval::{Baselines, EvalError, Labelled, Options, Scores, baselines, evaluate};
use lookalike_images::Collection;
use lookalike_neighbours::{Codes, DiffusionConfig, Metric};

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

/// A collection's pixels as vectors, 0 to 1, one image after another.
pub fn pixel_vectors(collection: &Collection) -> Vec<f32> {
    let pixels = collection.pixels().iter();
    pixels.map(|&p| f32::from(p) / 255.0).collect()
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
