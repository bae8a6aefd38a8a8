//! The graph of UMAP: how surely each point belongs with its neighbours.
//!
//! From McInnes, Healy and Melville, "UMAP: Uniform Manifold Approximation and Projection for
//! Dimension Reduction", 2018. Each point measures distances by its own scale, so that its
//! memberships sum to the logarithm (to base 2) of the number of neighbours; the two views of an
//! edge are joined by the probabilistic union.

use lookalike_neighbours::{Codes, Metric, Neighbour};
use rayon::prelude::*;

use crate::contents::visit_others;

/// A scale is at least this share of the mean distance.
const MIN_SCALE: f32 = 1e-3;
/// Memberships may sum to so much more or less than they should.
const TOLERANCE: f32 = 1e-5;
/// Steps of the search for a scale.
const MAX_STEPS: usize = 64;

/// Edges between neighbours, each in both directions, with memberships above 0 and up to 1.
pub(super) struct FuzzyGraph {
    /// Where each point's edges begin, and behind them the number of all edges.
    starts: Vec<usize>,
    /// The point at the other end, ascending for each point.
    others: Vec<u32>,
    memberships: Vec<f32>,
}

impl FuzzyGraph {
    /// The graph of codes that all differ, more than `neighbours` of them, from the nearest ones of
    /// each, itself among them, as [`visit_others`] finds them. `progress` hears how many codes
    /// have been compared.
    pub fn of_codes(
        codes: Codes,
        metric: Metric,
        neighbours: usize,
        progress: impl FnMut(usize),
    ) -> Self {
        let each = neighbours - 1;
        let mut nearest = Vec::with_capacity(codes.len() * each);
        let near = |other: &Neighbour| (other.index as u32, other.distance.max(0.0));
        let visit = |_, others: &[Neighbour]| nearest.extend(others.iter().map(near));
        visit_others(codes, metric, each, visit, progress);
        Self::of_neighbours(&nearest, each)
    }

    /// The graph of points that have `each` nearest others, the nearest first, with their
    /// distances.
    fn of_neighbours(nearest: &[(u32, f32)], each: usize) -> Self {
        let all: f64 = nearest.iter().map(|&(_, d)| f64::from(d)).sum();
        // The point itself, at no distance, counts.
        let mean = |sum: f64, points: usize| (sum / (points * (each + 1)) as f64) as f32;
        let mean_of_all = mean(all, (nearest.len() / each).max(1));
        // Each point's own view of its edges.
        let views: Vec<f32> = nearest
            .par_chunks_exact(each)
            .flat_map_iter(|row| {
                let own: f64 = row.iter().map(|&(_, d)| f64::from(d)).sum();
                let distances = row.iter().map(|&(_, distance)| distance);
                memberships(distances, mean(own, 1), mean_of_all)
            })
            .collect();
        let view = |from: usize, to: u32| {
            let row = from * each..(from + 1) * each;
            let at = nearest[row].iter().position(|&(other, _)| other == to)?;
            Some(views[from * each + at])
        };
        let mut edges: Vec<Vec<(u32, f32)>> = vec![Vec::new(); nearest.len() / each];
        for (at, (&(to, _), &there)) in nearest.iter().zip(&views).enumerate() {
            let from = at / each;
            let back = view(to as usize, from as u32);
            // Of an edge that both ends see, each end adds its own direction.
            let membership = union(there, back.unwrap_or(0.0));
            if membership > 0.0 {
                edges[from].push((to, membership));
                if back.is_none() {
                    edges[to as usize].push((from as u32, membership));
                }
            }
        }
        let mut graph = Self {
            starts: vec![0],
            others: Vec::with_capacity(edges.iter().map(Vec::len).sum()),
            memberships: Vec::new(),
        };
        for mut edges in edges {
            edges.sort_unstable_by_key(|&(other, _)| other);
            for (other, membership) in edges {
                graph.others.push(other);
                graph.memberships.push(membership);
            }
            graph.starts.push(graph.others.len());
        }
        graph
    }

    /// A point's edges: the other end, and the membership.
    pub fn edges(&self, point: usize) -> impl Iterator<Item = (usize, f32)> {
        let edges = self.starts[point]..self.starts[point + 1];
        let others = self.others[edges.clone()].iter().map(|&o| o as usize);
        others.zip(self.memberships[edges].iter().copied())
    }

    /// The largest membership, 0 without edges.
    pub fn largest(&self) -> f32 {
        self.memberships.iter().copied().fold(0.0, f32::max)
    }
}

/// Whether either of two independent events happens.
fn union(a: f32, b: f32) -> f32 {
    a + b - a * b
}

/// A point's memberships of neighbours at these ascending distances: 1 for the nearest that is
/// apart from it, and beyond that exp(-excess / scale). The scale is found by bisection so that
/// they sum to log2 of the number of neighbours, the point itself among them.
///
/// `mean` is that of the point's distances and `mean_of_all` that of all points', the zero to
/// itself among them; they bound the scale where no scale gives that sum.
fn memberships(
    distances: impl Iterator<Item = f32> + Clone,
    mean: f32,
    mean_of_all: f32,
) -> impl Iterator<Item = f32> {
    let nearest = distances.clone().find(|&d| d > 0.0).unwrap_or(0.0);
    let excesses = distances.map(move |distance| distance - nearest);
    let membership = |excess: f32, scale: f32| match excess > 0.0 {
        true => (-(excess / scale)).exp(),
        false => 1.0,
    };
    let wanted = ((excesses.clone().count() + 1) as f32).log2();
    let (mut low, mut high, mut scale) = (0.0, f32::INFINITY, 1.0f32);
    for _ in 0..MAX_STEPS {
        let sum: f32 = excesses.clone().map(|e| membership(e, scale)).sum();
        if (sum - wanted).abs() < TOLERANCE {
            break;
        }
        if sum > wanted {
            high = scale;
            scale = (low + high) / 2.0;
        } else {
            low = scale;
            scale = match high == f32::INFINITY {
                true => 2.0 * scale,
                false => (low + high) / 2.0,
            };
        }
    }
    let scale = scale.max(MIN_SCALE * if nearest > 0.0 { mean } else { mean_of_all });
    excesses.map(move |excess| membership(excess, scale))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(distances: &[f32]) -> Vec<f32> {
        let mean = distances.iter().sum::<f32>() / (distances.len() + 1) as f32;
        memberships(distances.iter().copied(), mean, mean).collect()
    }

    fn near(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn memberships_by_hand() {
        // x = exp(-1 / scale): 1 + x + x² = log2 4, so x is the golden ratio's inverse.
        let x = (5f32.sqrt() - 1.0) / 2.0;
        let found = of(&[1.0, 2.0, 3.0]);
        assert_eq!(found[0], 1.0);
        assert!(near(found[1], x) && near(found[2], x * x), "{found:?}");
        // Only differences and proportions count.
        let scaled = of(&[20.0, 30.0, 40.0]);
        assert!(near(scaled[1], x) && near(scaled[2], x * x), "{scaled:?}");
        // Neighbours at no distance belong wholly, as does the nearest apart from them.
        assert_eq!(of(&[0.0, 0.0, 2.0]), [1.0; 3]);
        assert_eq!(of(&[0.0; 3]), [1.0; 3]);
        assert_eq!(of(&[1.0; 3]), [1.0; 3]);
    }

    #[test]
    fn a_graph_by_hand() {
        // On a line: 0, 1, 3, 6. Each has two nearest others, so memberships sum to log2 3.
        let rows = [
            [(1, 1.0), (2, 3.0)],
            [(0, 1.0), (2, 2.0)],
            [(1, 2.0), (3, 3.0)],
            [(2, 3.0), (1, 5.0)],
        ];
        let graph = FuzzyGraph::of_neighbours(rows.as_flattened(), 2);
        let y = 3f32.log2() - 1.0;
        let edges = |point| graph.edges(point).collect::<Vec<_>>();
        let same = |found: Vec<(usize, f32)>, expected: &[(usize, f32)]| {
            let alike = |(a, b): (&(usize, f32), &(usize, f32))| a.0 == b.0 && near(a.1, b.1);
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(alike), "{found:?}");
        };
        // Seen by one end only: 0 to 2 and 3 to 1. Seen by both: the others, of which one end is
        // certain.
        same(edges(0), &[(1, 1.0), (2, y)]);
        same(edges(1), &[(0, 1.0), (2, 1.0), (3, y)]);
        same(edges(2), &[(0, y), (1, 1.0), (3, 1.0)]);
        same(edges(3), &[(1, y), (2, 1.0)]);
        assert_eq!(graph.largest(), 1.0);
        assert!(near(union(0.5, 0.5), 0.75));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn memberships_fall_with_distance_and_sum_to_the_logarithm(
            steps in prop::collection::vec(0.1f32..10.0, 2..20),
        ) {
            let distances: Vec<f32> = steps
                .iter()
                .scan(0.0, |sum, step| { *sum += step; Some(*sum) })
                .collect();
            let found = of(&distances);
            prop_assert!(found.iter().all(|m| (0.0..=1.0).contains(m)));
            prop_assert!(found.is_sorted_by(|a, b| a >= b));
            let wanted = ((distances.len() + 1) as f32).log2();
            prop_assert!((found.iter().sum::<f32>() - wanted).abs() < 1e-3, "{found:?}");
        }

        #[test]
        fn graphs_are_symmetrical(
            values in prop::collection::vec(-10f32..10.0, 40..60),
            each in 2usize..8,
            cosine: bool,
        ) {
            let dims = 2;
            let codes = Codes::new(&values[..values.len() / dims * dims], dims).unwrap();
            let metric = if cosine { Metric::Cosine } else { Metric::Euclidean };
            let graph = FuzzyGraph::of_codes(codes, metric, each, |_| {});
            for point in 0..codes.len() {
                let edges: Vec<_> = graph.edges(point).collect();
                prop_assert!(edges.is_sorted_by(|a, b| a.0 < b.0));
                for (other, membership) in edges {
                    prop_assert!(other != point && membership > 0.0 && membership <= 1.0);
                    let back = graph.edges(other).find(|edge| edge.0 == point);
                    prop_assert_eq!(back, Some((point, membership)));
                }
            }
        }
    }
}
