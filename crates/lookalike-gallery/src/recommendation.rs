use lookalike_neighbours::Metric;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Filter;

/// A question by examples: what is like these and unlike those?
#[derive(Clone, Debug, PartialEq)]
pub struct RecommendRequest {
    /// What is wanted; at least one.
    pub like: Vec<Example>,
    /// What is not.
    pub unlike: Vec<Example>,
    /// How the examples are weighed.
    pub strategy: Strategy,
    /// How many points are wanted. Examples that are points of the gallery are not among them.
    pub k: usize,
    /// As in a [`SearchRequest`](crate::SearchRequest).
    pub metric: Option<Metric>,
    /// As in a [`SearchRequest`](crate::SearchRequest).
    pub exact: bool,
    /// Only points at this [distance](crate::Hit::distance) or nearer.
    pub max_distance: Option<f32>,
    /// Only points that pass this filter.
    pub filter: Option<Filter>,
}

impl RecommendRequest {
    /// The `k` points most like all of `like`, plainly.
    pub fn new(like: Vec<Example>, k: usize) -> Self {
        RecommendRequest {
            like,
            unlike: Vec::new(),
            strategy: Strategy::default(),
            k,
            metric: None,
            exact: false,
            max_distance: None,
            filter: None,
        }
    }
}

/// One example.
#[derive(Clone, Debug, PartialEq)]
pub enum Example {
    /// A point of the gallery.
    Id(Uuid),
    /// Any code.
    Code(Vec<f32>),
}

/// How a [`RecommendRequest`]'s examples are weighed. The average and the best score mean what they
/// mean in Qdrant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The points nearest to `p + (p - n)`, where `p` is the mean of the liked codes and `n` that
    /// of the others; to `p`, if there are no others. Under the cosine metric, where lengths mean
    /// nothing, the means are of codes of length 1. A hit's distance is from that code.
    Average,
    /// The points nearest to that code corrected by a logistic regression, which tells what is
    /// liked from what is not, and from some codes of the gallery. A few examples hardly move it, a
    /// single one without others not at all, and the more there are of both kinds, the more they
    /// count. A hit's distance is from the corrected code.
    #[default]
    Learned,
    /// Each point by the example nearest to it. Points that are nearer to a liked one come first,
    /// the nearest first; then the others, the farthest from their example first. A hit's distance
    /// is from the nearest liked example; its score is `s(-distance)` for the former and
    /// `-s(-distance from the nearest example that is not liked)` for the latter, where `s(x) = (x
    /// / (1 + |x|) + 1) / 2`.
    BestScore,
}

/// A point's distances from the nearest liked example and, where there are any, from the nearest
/// other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Between {
    pub(crate) liked: f32,
    unliked: Option<f32>,
}

impl Between {
    pub(crate) fn new(
        code: &[f32],
        like: &[Vec<f32>],
        unlike: &[Vec<f32>],
        metric: Metric,
    ) -> Self {
        let nearest = |examples: &[Vec<f32>]| {
            let distances = examples
                .iter()
                .map(|example| metric.distance(example, code));
            distances.min_by(f32::total_cmp)
        };
        Between {
            liked: nearest(like).unwrap_or(f32::INFINITY),
            unliked: nearest(unlike),
        }
    }

    /// The distance that counts against the point, if one does.
    fn against(&self) -> Option<f32> {
        self.unliked.filter(|unliked| *unliked <= self.liked)
    }

    /// Which comes first by [`Strategy::BestScore`]. By distances, which differ where rounded
    /// scores do not.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        match (self.against(), other.against()) {
            (None, None) => self.liked.total_cmp(&other.liked),
            (None, Some(_)) => std::cmp::Ordering::Less,
            (Some(_), None) => std::cmp::Ordering::Greater,
            (Some(one), Some(other)) => other.total_cmp(&one),
        }
    }

    pub(crate) fn score(&self) -> f32 {
        let squeezed = |x: f32| (x / (1.0 + x.abs()) + 1.0) / 2.0;
        match self.against() {
            None => squeezed(-self.liked),
            Some(unliked) => -squeezed(-unliked),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_the_scores(
            numbers in proptest::collection::vec((-50i8..50, proptest::option::of(-50i8..50)), 2..12),
        ) {
            let mut all: Vec<_> = numbers
                .iter()
                .map(|&(liked, unliked)| Between {
                    liked: liked.into(),
                    unliked: unliked.map(f32::from),
                })
                .collect();
            all.sort_by(Between::order);
            prop_assert!(all.is_sorted_by(|a, b| a.score() >= b.score()), "{all:?}");
        }
    }
}
