//! How far apart two codes are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A measure of distance between two codes. Smaller is always nearer.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// One minus the cosine of the angle: 0 to 2. A code of zeros is at distance 1 from all.
    Cosine,
    /// The straight line, L2.
    Euclidean,
    /// The inner product, negated, so that a larger product is nearer. It can be negative.
    Dot,
    /// The sum of absolute differences, L1.
    Manhattan,
}

/// A name that is no metric.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("unknown metric {0:?}: use cosine, euclidean, dot or manhattan")]
pub struct MetricError(String);

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 4] = [
        Metric::Cosine,
        Metric::Euclidean,
        Metric::Dot,
        Metric::Manhattan,
    ];

    /// The name on the command line and in files: `cosine`, `euclidean`, `dot`, `manhattan`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Cosine => "cosine",
            Metric::Euclidean => "euclidean",
            Metric::Dot => "dot",
            Metric::Manhattan => "manhattan",
        }
    }

    /// The distance between `a` and `b`: `1 - cos`, L2, `-a·b` or L1.
    ///
    /// Summed in `f64` and rounded once, so that it stays right for near-duplicates.
    ///
    /// # Panics
    /// If the two differ in length.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(
            a.len(),
            b.len(),
            "a distance needs codes of equal dimensions"
        );
        let distance = match self {
            Metric::Cosine => {
                let scale = (dot(a, a) * dot(b, b)).sqrt();
                if scale > 0.0 {
                    1.0 - (dot(a, b) / scale).clamp(-1.0, 1.0)
                } else {
                    1.0
                }
            }
            Metric::Euclidean => sum(a, b, |x, y| (x - y) * (x - y)).sqrt(),
            // Adding zero turns -0 into 0, which would otherwise sort before it.
            Metric::Dot => -dot(a, b) + 0.0,
            Metric::Manhattan => sum(a, b, |x, y| (x - y).abs()),
        };
        distance as f32
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(name: &str) -> Result<Self, MetricError> {
        Metric::ALL
            .into_iter()
            .find(|metric| metric.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| MetricError(name.to_owned()))
    }
}

/// The inner product in `f64`.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |x, y| x * y)
}

/// Sums `term` over pairs. Eight running sums, because a single one could not be vectorised.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += term(f64::from(x[lane]), f64::from(y[lane]));
        }
    }
    let rest: f64 = a_rest
        .iter()
        .zip(b_rest)
        .map(|(&x, &y)| term(f64::from(x), f64::from(y)))
        .sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_by_hand() {
        let (a, b) = ([3.0, 4.0], [0.0, 5.0]);
        assert_eq!(Metric::Cosine.distance(&a, &b), 0.2);
        assert_eq!(Metric::Euclidean.distance(&a, &b), 10f32.sqrt());
        assert_eq!(Metric::Dot.distance(&a, &b), -20.0);
        assert_eq!(Metric::Manhattan.distance(&a, &b), 4.0);
    }

    #[test]
    fn zero_codes_are_at_cosine_distance_one() {
        assert_eq!(Metric::Cosine.distance(&[0.0; 3], &[1.0; 3]), 1.0);
        assert_eq!(Metric::Cosine.distance(&[0.0; 3], &[0.0; 3]), 1.0);
        assert!(Metric::Dot.distance(&[0.0], &[1.0]).is_sign_positive());
    }

    #[test]
    fn extremes_do_not_overflow_on_the_way() {
        let huge = [f32::MAX; 9];
        assert_eq!(Metric::Cosine.distance(&huge, &huge), 0.0);
        let tiny = [f32::MIN_POSITIVE; 9];
        assert_eq!(Metric::Cosine.distance(&tiny, &huge), 0.0);
    }

    #[test]
    fn names_go_both_ways() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
        }
        assert_eq!("Cosine".parse::<Metric>().unwrap(), Metric::Cosine);
        let error = "cosin".parse::<Metric>().unwrap_err().to_string();
        assert!(error.contains("cosin") && error.contains("manhattan"));
    }
}
