//! How the values of a measure are distributed.

use serde::{Deserialize, Serialize};

/// Bars of a histogram.
const BARS: usize = 40;

/// What makes values comparable: their distances on it are about equally probable on both sides of
/// the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Linear,
    /// For what is positive and skewed; anything below `least` counts as it.
    Logarithmic {
        least: f64,
    },
    /// The square root, for shares that crowd at 0.
    Root,
    /// The square root of what is missing to 1, for shares that crowd there.
    RootOfRest,
}

impl Scale {
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic { least } => value.max(least).ln(),
            Self::Root => value.max(0.0).sqrt(),
            Self::RootOfRest => -(1.0 - value).max(0.0).sqrt(),
        }
    }

    /// The value at a place; beyond the end of a scale the one at its end.
    pub(super) fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear => place,
            Self::Logarithmic { .. } => place.exp(),
            Self::Root => place.max(0.0).powi(2),
            Self::RootOfRest => 1.0 - place.min(0.0).powi(2),
        }
    }
}

/// What is usual of a measure.
#[derive(Debug)]
pub(super) struct Usual {
    pub(super) count: usize,
    /// Of the values; 0 where there are none.
    pub(super) median: f64,
    /// The median's place on the scale.
    pub(super) centre: f64,
    /// Robust standard deviation on the scale.
    pub(super) spread: f64,
    /// In order.
    values: Vec<f64>,
}

impl Usual {
    pub(super) fn of(values: &[f64], scale: Scale) -> Self {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let median = middle(&values);
        let centre = scale.place(median);
        let deviations = values
            .iter()
            .map(|&value| (scale.place(value) - centre).abs());
        let mut deviations: Vec<f64> = deviations.collect();
        deviations.sort_unstable_by(f64::total_cmp);
        // Scaled so that they would be standard deviations were the places normal.
        let spread = match middle(&deviations) {
            mad if mad > 0.0 => 1.4826 * mad,
            // More than half are alike: then the mean deviation.
            _ => 1.2533 * deviations.iter().sum::<f64>() / values.len().max(1) as f64,
        };
        Self {
            count: values.len(),
            median,
            centre,
            spread,
            values,
        }
    }

    /// The share of values above one.
    pub(super) fn share_above(&self, value: f64) -> f64 {
        let above = self.values.partition_point(|&other| other <= value);
        (self.count - above) as f64 / self.count.max(1) as f64
    }

    /// The values in bars of equal width on the scale, as wide as to show the threshold too.
    pub(super) fn histogram(&self, scale: Scale, threshold: Option<f64>) -> Histogram {
        let (Some(&least), Some(&most)) = (self.values.first(), self.values.last()) else {
            return Histogram::default();
        };
        let shown = threshold.into_iter().map(|value| scale.place(value));
        let low = shown.clone().fold(scale.place(least), f64::min);
        let high = shown.fold(scale.place(most), f64::max);
        let width = (high - low) / BARS as f64;
        let mut counts = vec![0; BARS];
        for &value in &self.values {
            let bar = match width > 0.0 {
                true => ((scale.place(value) - low) / width) as usize,
                false => 0,
            };
            counts[bar.min(BARS - 1)] += 1;
        }
        let edges = (0..=BARS).map(|bar| scale.value(low + width * bar as f64));
        Histogram {
            edges: edges.collect(),
            counts,
        }
    }
}

/// The middle of values in order; 0 if there are none.
fn middle(values: &[f64]) -> f64 {
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(0.0)
}

/// How many pictures have which values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Where the bars begin, and where the last one ends: one more than there are bars, not at
    /// equal distances where the measure has another scale. Nothing where there are no values.
    pub edges: Vec<f64>,
    /// How many pictures are in each bar.
    pub counts: Vec<usize>,
}

impl Histogram {
    /// The bar that a value within the edges falls into.
    pub fn bar(&self, value: f64) -> Option<usize> {
        let last = self.counts.len().checked_sub(1)?;
        let before = self.edges.partition_point(|&edge| edge <= value);
        Some(before.saturating_sub(1).min(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_go_there_and_back() {
        for scale in [
            Scale::Linear,
            Scale::Logarithmic { least: 1e-3 },
            Scale::Root,
            Scale::RootOfRest,
        ] {
            for value in [0.01, 0.3, 0.5, 0.99] {
                let back = scale.value(scale.place(value));
                assert!((back - value).abs() < 1e-12, "{scale:?}: {value} {back}");
            }
            assert!(scale.place(0.2) < scale.place(0.3));
        }
        assert_eq!(Scale::RootOfRest.value(0.1), 1.0);
        assert_eq!(Scale::Root.value(-0.1), 0.0);
    }

    #[test]
    fn histograms_hold_everything_and_show_the_threshold() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        let scale = Scale::Logarithmic { least: 1.0 };
        let histogram = Usual::of(&values, scale).histogram(scale, Some(0.1));
        assert_eq!(histogram.counts.iter().sum::<usize>(), 1000);
        assert_eq!(histogram.edges.len(), histogram.counts.len() + 1);
        assert!(histogram.edges.is_sorted());
        assert_eq!(histogram.bar(1e9), Some(histogram.counts.len() - 1));
        let bar = histogram.bar(500.0).unwrap();
        assert!(histogram.edges[bar] <= 500.0 && 500.0 < histogram.edges[bar + 1]);
        let same = Usual::of(&[3.0; 7], Scale::Linear).histogram(Scale::Linear, None);
        assert_eq!(same.counts[0], 7);
        let none = Usual::of(&[], Scale::Linear).histogram(Scale::Linear, None);
        assert_eq!(none, Histogram::default());
    }
}
