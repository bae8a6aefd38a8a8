//! Whether changed copies of images find their originals: a score that needs no labels.

use lookalike_neighbours::{Codes, Metric, Neighbour, nearest};
use serde::Serialize;

use crate::evaluation::EvalError;

/// How far down an original is looked for.
const DEPTH: usize = 100;

/// How well copies find their originals. Shares and means lie between 0 and 1.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct SelfScores {
    /// Images in the gallery.
    pub images: usize,
    /// Copies that asked.
    pub queries: usize,
    /// Dimensions of a code.
    pub dims: usize,
    /// Share of copies whose original comes first.
    pub recall_at_1: f64,
    /// Share of copies whose original is among the first five.
    pub recall_at_5: f64,
    /// Mean of 1 / the original's rank; a rank beyond 100 counts as 0.
    pub mrr: f64,
}

/// Asks with copies of images of the gallery: `originals` has the row of the gallery that each
/// query is a copy of.
///
/// Neighbours are exact. Where other images are exactly as near as the original, the scores are
/// those expected when ties are broken by chance: a model whose codes are all alike is not praised
/// for it.
///
/// # Errors
/// If there is nothing to ask or to answer with, or if dimensions differ.
///
/// # Panics
/// If there are not as many originals as queries, or one is not in the gallery.
pub fn self_retrieval(
    gallery: Codes,
    queries: Codes,
    originals: &[usize],
    metric: Metric,
) -> Result<SelfScores, EvalError> {
    if queries.dims() != gallery.dims() {
        return Err(EvalError::Dims {
            queries: queries.dims(),
            gallery: gallery.dims(),
        });
    }
    if gallery.len() < 2 || queries.is_empty() {
        return Err(EvalError::TooFew {
            images: gallery.len(),
        });
    }
    assert_eq!(originals.len(), queries.len(), "an original for each query");
    assert!(
        originals.iter().all(|&original| original < gallery.len()),
        "originals are rows of the gallery"
    );
    let answers = nearest(gallery, queries, metric, DEPTH);
    let count = queries.len() as f64;
    let mut sums = [0.0; 3];
    for (answer, &original) in answers.iter().zip(originals) {
        for (sum, value) in sums.iter_mut().zip(judge(answer, original)) {
            *sum += value;
        }
    }
    let [recall_at_1, recall_at_5, mrr] = sums.map(|sum| sum / count);
    Ok(SelfScores {
        images: gallery.len(),
        queries: queries.len(),
        dims: gallery.dims(),
        recall_at_1,
        recall_at_5,
        mrr,
    })
}

/// Recall at 1 and at 5 and the reciprocal rank of one answer.
fn judge(answer: &[Neighbour], original: usize) -> [f64; 3] {
    let Some(found) = answer.iter().find(|n| n.index == original) else {
        return [0.0; 3];
    };
    let before = |n: &&Neighbour| n.distance < found.distance;
    let nearer = answer.iter().filter(before).count();
    let alike = answer
        .iter()
        .filter(|n| n.distance == found.distance)
        .count();
    let within = |k: usize| k.saturating_sub(nearer).min(alike) as f64 / alike as f64;
    let ranks = nearer + 1..=nearer + alike;
    let reciprocal = ranks.map(|rank| 1.0 / rank as f64).sum::<f64>() / alike as f64;
    [within(1), within(5), reciprocal]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(gallery: &[f32], queries: &[f32], originals: &[usize]) -> SelfScores {
        let codes = |data| Codes::new(data, 1).unwrap();
        self_retrieval(codes(gallery), codes(queries), originals, Metric::Euclidean).unwrap()
    }

    #[test]
    fn ranks_count() {
        let gallery = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        // Ranks 1, 2, and 8 of 8.
        let found = scores(&gallery, &[0.1, 0.6, 9.0], &[0, 0, 0]);
        assert_eq!((found.images, found.queries, found.dims), (8, 3, 1));
        assert!((found.recall_at_1 - 1.0 / 3.0).abs() < 1e-12);
        assert!((found.recall_at_5 - 2.0 / 3.0).abs() < 1e-12);
        assert!((found.mrr - (1.0 + 0.5 + 0.125) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn ties_are_broken_by_chance() {
        // Ten codes alike: the original is first once in ten.
        let found = scores(&[1.0; 10], &[1.0, 1.0], &[0, 9]);
        assert!((found.recall_at_1 - 0.1).abs() < 1e-12);
        assert!((found.recall_at_5 - 0.5).abs() < 1e-12);
        let mean = (1..=10).map(|rank| 1.0 / f64::from(rank)).sum::<f64>() / 10.0;
        assert!((found.mrr - mean).abs() < 1e-12);
    }

    #[test]
    fn an_original_too_far_down_counts_for_nothing() {
        let gallery: Vec<f32> = (0..300).map(|i| i as f32).collect();
        let found = scores(&gallery, &[0.0], &[299]);
        assert_eq!(
            (found.recall_at_1, found.recall_at_5, found.mrr),
            (0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn what_cannot_be_asked_is_an_error() {
        let one = Codes::new(&[1.0], 1).unwrap();
        let error = self_retrieval(one, one, &[0], Metric::Cosine).unwrap_err();
        assert_eq!(error, EvalError::TooFew { images: 1 });
        let two = Codes::new(&[1.0, 2.0], 2).unwrap();
        let error = self_retrieval(one, two, &[0], Metric::Cosine).unwrap_err();
        assert_eq!(
            error,
            EvalError::Dims {
                queries: 2,
                gallery: 1
            }
        );
    }
}
