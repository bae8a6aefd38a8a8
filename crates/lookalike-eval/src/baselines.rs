//! What retrieval is worth without a network.

use std::hash::Hash;

use lookalike_neighbours::{Codes, Metric};
use serde::Serialize;

use crate::evaluation::{EvalError, Labelled, Options, Scores, evaluate};
use crate::pca::Pca;

/// Scores of the simple ways.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Baselines {
    /// Raw pixels, Euclidean distance.
    pub pixels_euclidean: Scores,
    /// Raw pixels, cosine distance.
    pub pixels_cosine: Scores,
    /// The first 64 principal components of the gallery's pixels, cosine distance: on them the
    /// better of the two metrics. Fewer components where the images have fewer.
    pub pca_64: Scores,
}

/// Scores raw pixels and their principal components as [`evaluate`] scores codes.
///
/// The components are those of the gallery, also when there are separate queries.
///
/// # Errors
/// As [`evaluate`].
pub fn baselines<L: Eq + Hash + Sync>(
    gallery: Labelled<L>,
    queries: Option<Labelled<L>>,
) -> Result<Baselines, EvalError> {
    let options = Options::default();
    let pixels = |metric| evaluate(gallery, queries, metric, &options);
    let pixels_euclidean = pixels(Metric::Euclidean)?;
    let pixels_cosine = pixels(Metric::Cosine)?;
    let pca = Pca::fit(gallery.codes(), 64);
    let gallery_codes = pca.project(gallery.codes());
    let query_codes = queries.map(|queries| pca.project(queries.codes()));
    let gallery = relabelled(&gallery_codes, pca.components(), gallery.labels())?;
    let queries = match (&query_codes, queries) {
        (Some(codes), Some(queries)) => {
            Some(relabelled(codes, pca.components(), queries.labels())?)
        }
        _ => None,
    };
    Ok(Baselines {
        pixels_euclidean,
        pixels_cosine,
        pca_64: evaluate(gallery, queries, Metric::Cosine, &options)?,
    })
}

fn relabelled<'a, L>(
    codes: &'a [f32],
    dims: usize,
    labels: &'a [L],
) -> Result<Labelled<'a, L>, EvalError> {
    Labelled::new(Codes::new(codes, dims)?, labels)
}
