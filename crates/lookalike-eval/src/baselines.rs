//! What retrieval is worth without a network.

use std::hash::Hash;

use lookalike_neighbours::{Codes, Metric, Pca};
use rayon::prelude::*;
use serde::Serialize;

use crate::evaluation::{EvalError, Labelled, Options, Scores, evaluate};

/// Principal components of pixels that are scored.
const PIXEL_COMPONENTS: usize = 64;

/// Scores of simple descriptors that are made of pixels.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Baselines {
    /// Raw pixels, Euclidean distance.
    pub pixels_euclidean: Scores,
    /// Raw pixels, cosine distance.
    pub pixels_cosine: Scores,
    /// Each image less its own mean, cosine distance.
    pub pixels_centred: Scores,
    /// The first 64 principal components of the gallery's pixels, cosine distance: on them the
    /// better of the two metrics. Fewer components where the images have fewer.
    pub pca_64: Scores,
    /// The same half whitened, see [`Pca::project_half_whitened`].
    pub pca_64_half_whitened: Scores,
}

/// Scores pixels, and what can be made of them without training, as [`evaluate`] scores codes.
///
/// Images are rows of `dims` values, with a label each. The components are those of the gallery,
/// also when there are separate queries. The pixels are taken over, because they are centred in
/// place: a copy of 10,000 images of 64 x 64 x 3 values would be half a GiB.
///
/// # Errors
/// As [`evaluate`], and when the values are not whole rows or not finite.
pub fn baselines<L: Eq + Hash + Sync>(
    dims: usize,
    (mut pixels, labels): (Vec<f32>, &[L]),
    mut queries: Option<(Vec<f32>, &[L])>,
) -> Result<Baselines, EvalError> {
    let options = Options::default();
    let gallery = labelled(&pixels, dims, labels)?;
    let asked = asked(&queries, dims)?;
    let pixels_euclidean = evaluate(gallery, asked, Metric::Euclidean, &options)?;
    let pixels_cosine = evaluate(gallery, asked, Metric::Cosine, &options)?;
    let pca = Pca::fit(gallery.codes(), PIXEL_COMPONENTS);
    let pca_64 = projected(gallery, asked, &pca, Pca::project)?;
    let pca_64_half_whitened = projected(gallery, asked, &pca, Pca::project_half_whitened)?;
    centre_rows(&mut pixels, dims);
    if let Some((pixels, _)) = &mut queries {
        centre_rows(pixels, dims);
    }
    let gallery = labelled(&pixels, dims, labels)?;
    Ok(Baselines {
        pixels_euclidean,
        pixels_cosine,
        pixels_centred: evaluate(
            gallery,
            self::asked(&queries, dims)?,
            Metric::Cosine,
            &options,
        )?,
        pca_64,
        pca_64_half_whitened,
    })
}

/// Scores the first `components` principal components of any vectors, half whitened (see
/// [`Pca::project_half_whitened`]), by cosine distance. The components are those of the gallery;
/// there are fewer where the vectors have fewer dimensions.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_half_whitened<L: Eq + Hash + Sync>(
    gallery: Labelled<L>,
    queries: Option<Labelled<L>>,
    components: usize,
) -> Result<Scores, EvalError> {
    if let Some(queries) = queries
        && queries.codes().dims() != gallery.codes().dims()
    {
        return Err(EvalError::Dims {
            queries: queries.codes().dims(),
            gallery: gallery.codes().dims(),
        });
    }
    let pca = Pca::fit(gallery.codes(), components);
    projected(gallery, queries, &pca, Pca::project_half_whitened)
}

fn projected<L: Eq + Hash + Sync>(
    gallery: Labelled<L>,
    queries: Option<Labelled<L>>,
    pca: &Pca,
    project: impl Fn(&Pca, Codes) -> Vec<f32>,
) -> Result<Scores, EvalError> {
    let codes = project(pca, gallery.codes());
    let asked = queries.map(|queries| (project(pca, queries.codes()), queries.labels()));
    let gallery = labelled(&codes, pca.components(), gallery.labels())?;
    let queries = self::asked(&asked, pca.components())?;
    evaluate(gallery, queries, Metric::Cosine, &Options::default())
}

fn labelled<'a, L>(
    codes: &'a [f32],
    dims: usize,
    labels: &'a [L],
) -> Result<Labelled<'a, L>, EvalError> {
    Labelled::new(Codes::new(codes, dims)?, labels)
}

fn asked<'a, L>(
    queries: &'a Option<(Vec<f32>, &'a [L])>,
    dims: usize,
) -> Result<Option<Labelled<'a, L>>, EvalError> {
    queries
        .as_ref()
        .map(|(codes, labels)| labelled(codes, dims, labels))
        .transpose()
}

/// Takes from every value the mean of its row.
fn centre_rows(rows: &mut [f32], dims: usize) {
    rows.par_chunks_exact_mut(dims).for_each(|row| {
        let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / dims as f64;
        for value in row {
            *value = (f64::from(*value) - mean) as f32;
        }
    });
}
