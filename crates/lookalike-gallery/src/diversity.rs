use lookalike_neighbours::Metric;
use serde::{Deserialize, Serialize};

use crate::GalleryError;

/// Neighbours that differ among themselves: maximal marginal relevance (Carbonell and Goldstein
/// 1998).
///
/// Of the `candidates` nearest the one at the smallest distance from the query is taken first, and
/// then, again and again, the one for which
///
/// ```text
/// lambda * (-distance from the query) - (1 - lambda) * max over those taken (-distance from it)
/// ```
///
/// is largest: near to the query, and far from what was taken. Distances are those of the request's
/// metric. Of equals the one nearer to the query is taken, so that the answer is the same every
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mmr {
    /// From 0, only different from what was taken, to 1, only near to the query: the plain order.
    pub lambda: f32,
    /// How many of the nearest are chosen from; at least as many as are wanted. The work grows with
    /// this times the number wanted.
    pub candidates: usize,
}

impl Default for Mmr {
    /// Half and half, of 100.
    fn default() -> Self {
        Mmr {
            lambda: 0.5,
            candidates: 100,
        }
    }
}

impl Mmr {
    pub(crate) fn check(&self) -> Result<(), GalleryError> {
        match (0.0..=1.0).contains(&self.lambda) {
            true => Ok(()),
            false => Err(GalleryError::BadRequest(format!(
                "diversity with lambda {} was asked for; give 0 (all different) to 1 (all near)",
                self.lambda
            ))),
        }
    }

    /// Which `k` of the candidates, nearest first with their distances from the query, are taken,
    /// in this order.
    pub(crate) fn choose(
        &self,
        candidates: &[(&[f32], f32)],
        metric: Metric,
        k: usize,
    ) -> Vec<usize> {
        let lambda = f64::from(self.lambda);
        // Per candidate minus the distance to the nearest of those taken; none is near before there
        // is one.
        let mut likeness: Vec<Option<f64>> = vec![None; candidates.len()];
        let mut left: Vec<usize> = (0..candidates.len()).collect();
        let mut taken = Vec::new();
        while taken.len() < k && !left.is_empty() {
            let worth = |&index: &usize| {
                let near = lambda * -f64::from(candidates[index].1);
                near - (1.0 - lambda) * likeness[index].unwrap_or(0.0)
            };
            let mut best = 0;
            // The first is the nearest whatever lambda, also where distances can be negative.
            if !taken.is_empty() {
                for at in 1..left.len() {
                    if worth(&left[at]) > worth(&left[best]) {
                        best = at;
                    }
                }
            }
            let index = left.remove(best);
            for &other in &left {
                let distance = metric.distance(candidates[index].0, candidates[other].0);
                let like = -f64::from(distance);
                likeness[other] = Some(likeness[other].map_or(like, |most| most.max(like)));
            }
            taken.push(index);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Codes, nearest to the query of zeros and ones first.
    fn sorted(codes: &[[i8; 3]], metric: Metric) -> Vec<(Vec<f32>, f32)> {
        let query = [1.0, 0.0, 1.0];
        let mut codes: Vec<_> = codes
            .iter()
            .map(|code| code.map(f32::from).to_vec())
            .map(|code| (metric.distance(&query, &code), code))
            .map(|(distance, code)| (code, distance))
            .collect();
        codes.sort_by(|a, b| a.1.total_cmp(&b.1));
        codes
    }

    fn choose(codes: &[(Vec<f32>, f32)], metric: Metric, lambda: f32, k: usize) -> Vec<usize> {
        let candidates: Vec<_> = codes.iter().map(|(c, d)| (c.as_slice(), *d)).collect();
        let mmr = Mmr {
            lambda,
            candidates: codes.len(),
        };
        mmr.choose(&candidates, metric, k)
    }

    proptest! {
        #[test]
        fn each_is_the_best_by_the_formula(
            codes in proptest::collection::vec(any::<[i8; 3]>(), 0..30),
            metric in 0usize..4,
            lambda in 0f32..=1.0,
            k in 0usize..35,
        ) {
            let metric = Metric::ALL[metric];
            let codes = sorted(&codes, metric);
            let taken = choose(&codes, metric, lambda, k);
            prop_assert_eq!(taken.len(), k.min(codes.len()));
            let distinct: HashSet<_> = taken.iter().collect();
            prop_assert_eq!(distinct.len(), taken.len(), "none twice");
            prop_assert!(taken.first().is_none_or(|first| *first == 0), "the nearest first");
            let worth = |index: usize, before: &[usize]| {
                let like = |other: &usize| -f64::from(metric.distance(&codes[index].0, &codes[*other].0));
                let most = before.iter().map(like).fold(f64::NEG_INFINITY, f64::max);
                f64::from(lambda) * -f64::from(codes[index].1) - (1.0 - f64::from(lambda)) * most
            };
            for at in 1..taken.len() {
                let before = &taken[..at];
                for index in (0..codes.len()).filter(|index| !before.contains(index)) {
                    let (one, other) = (worth(taken[at], before), worth(index, before));
                    prop_assert!(one > other || (one == other && taken[at] <= index));
                }
            }
        }

        #[test]
        fn lambda_one_is_the_plain_order(
            codes in proptest::collection::vec(any::<[i8; 3]>(), 0..30),
            metric in 0usize..4,
        ) {
            let metric = Metric::ALL[metric];
            let codes = sorted(&codes, metric);
            let taken = choose(&codes, metric, 1.0, codes.len());
            prop_assert!(taken.into_iter().eq(0..codes.len()));
        }
    }

    #[test]
    fn twins_come_last() {
        let codes = sorted(
            &[[1, 0, 2], [1, 0, 2], [1, 0, 2], [4, 0, 1], [1, -5, 1]],
            Metric::Euclidean,
        );
        assert_eq!(choose(&codes, Metric::Euclidean, 0.5, 3), [0, 3, 4]);
        assert_eq!(choose(&codes, Metric::Euclidean, 1.0, 3), [0, 1, 2]);
    }

    #[test]
    fn a_senseless_lambda_is_refused() {
        for lambda in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
            let mmr = Mmr {
                lambda,
                candidates: 9,
            };
            let error = mmr.check().unwrap_err();
            assert!(error.to_string().contains("give 0"), "{error}");
        }
        Mmr::default().check().unwrap();
    }
}
