//! UMAP: a graph of likeness, and points in the plane that follow it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lookalike_neighbours::{Codes, Metric, nearest};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use umap_rs::{GraphParams, LearnedManifold, Umap, UmapConfig};

use super::QUERIES;
use crate::Error;

/// Rounds of moving every point: many for few points, which are quick, and learn little from each.
const EPOCHS: usize = 200;
const EPOCHS_OF_FEW: usize = 500;
/// So many are few.
const FEW: usize = 10_000;
/// Points that each is pushed from whenever it is pulled to a neighbour.
const PUSHES: usize = 5;
/// Moves are not longer than this, times the epoch's rate.
const MAX_STEP: f32 = 4.0;

/// How alike neighbours are: symmetrical, and between 0 and 1.
pub(super) struct Graph {
    manifold: LearnedManifold,
}

impl Graph {
    /// The graph of codes that all differ, more than `neighbours` of them, from the exact nearest ones of each.
    /// `progress` hears how many have been compared.
    pub fn new(
        codes: Codes,
        metric: Metric,
        neighbours: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Self, Error> {
        let count = codes.len();
        let mut indices = Vec::with_capacity(count * neighbours);
        let mut distances = Vec::with_capacity(count * neighbours);
        for start in (0..count).step_by(QUERIES) {
            let end = (start + QUERIES).min(count);
            let found = nearest(codes, codes.rows(start, end), metric, neighbours);
            for (own, found) in (start..).zip(found) {
                // Each is its own nearest, even if others are as near.
                indices.push(own as u32);
                distances.push(0.0);
                let others = found.iter().filter(|other| other.index != own);
                for other in others.take(neighbours - 1) {
                    indices.push(other.index as u32);
                    distances.push(other.distance.max(0.0));
                }
            }
            progress(end);
        }
        let shape = (count, neighbours);
        let unfit = |what: &dyn std::fmt::Display| {
            Error::Unusable(format!(
                "cannot lay out {count} codes: their graph of neighbours could not be made ({what}); please report it"
            ))
        };
        let indices = Array2::from_shape_vec(shape, indices).map_err(|error| unfit(&error))?;
        let distances = Array2::from_shape_vec(shape, distances).map_err(|error| unfit(&error))?;
        let rows = ArrayView2::from_shape((count, codes.dims()), codes.data());
        let rows = rows.map_err(|error| unfit(&error))?;
        let config = UmapConfig {
            graph: GraphParams {
                n_neighbors: neighbours,
                // Cosine distances have an end, but none is so far that it says nothing.
                disconnection_distance: Some(f32::INFINITY),
                ..GraphParams::default()
            },
            ..UmapConfig::default()
        };
        // What does not fit, the crate answers with a panic.
        let learn = || Umap::new(config).learn_manifold(rows, indices.view(), distances.view());
        let manifold = catch_unwind(AssertUnwindSafe(learn)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            unfit(&text.unwrap_or("no reason was given"))
        })?;
        Ok(Self { manifold })
    }
}

/// Moves points until neighbours in the graph are near each other and others are not; `progress` hears the epochs that
/// are done, and of how many.
///
/// An edge pulls in as many epochs as its likeness is a share of the largest; every pull comes with pushes from points
/// drawn by lot. All points move at once, from where the others were before the epoch, so that neither the order nor
/// the number of threads matters.
pub(super) fn optimise(
    graph: &Graph,
    places: &mut Vec<[f32; 2]>,
    mut progress: impl FnMut(usize, usize),
) {
    let likeness = graph.manifold.graph();
    let (starts, tails, weights) = (likeness.indptr(), likeness.indices(), likeness.data());
    let largest = weights
        .iter()
        .fold(f32::MIN_POSITIVE, |most, &w| most.max(w));
    let curve = Curve::of(graph.manifold.curve_params());
    let epochs = match places.len() <= FEW {
        true => EPOCHS_OF_FEW,
        false => EPOCHS,
    };
    let mut before = places.clone();
    for epoch in 0..epochs {
        let rate = 1.0 - epoch as f32 / epochs as f32;
        std::mem::swap(&mut before, places);
        places
            .par_iter_mut()
            .enumerate()
            .with_min_len(256)
            .for_each(|(point, place)| {
                *place = before[point];
                let mut random = Random::new(epoch, point);
                for edge in starts.index(point)..starts.index(point + 1) {
                    let share = f64::from(weights[edge] / largest);
                    let times = |epochs: usize| (epochs as f64 * share).floor();
                    if times(epoch + 1) <= times(epoch) {
                        continue;
                    }
                    // The edge is there both ways, and moves both its ends each time.
                    let tail = before[tails[edge] as usize];
                    for _ in 0..2 {
                        curve.pull(place, tail, rate);
                    }
                    for _ in 0..PUSHES {
                        let other = random.below(before.len());
                        if other != point {
                            curve.push(place, before[other], rate);
                        }
                    }
                }
            });
        progress(epoch + 1, epochs);
    }
}

/// Likeness in the plane: 1 / (1 + a d^2b) at the distance d.
struct Curve {
    a: f32,
    b: f32,
}

impl Curve {
    fn of((a, b): (f32, f32)) -> Self {
        Self { a, b }
    }

    /// Towards `other`, along the gradient of the logarithm of the likeness.
    fn pull(&self, place: &mut [f32; 2], other: [f32; 2], rate: f32) {
        let square = square(*place, other);
        if square > 0.0 {
            let power = square.powf(self.b);
            let by = -2.0 * self.a * self.b * power / (square * (1.0 + self.a * power));
            step(place, other, by, rate);
        }
    }

    /// Away from `other`, along the gradient of the logarithm of what is missing to 1.
    fn push(&self, place: &mut [f32; 2], other: [f32; 2], rate: f32) {
        let square = square(*place, other);
        if square > 0.0 {
            let power = square.powf(self.b);
            // What is added keeps the step of nearly equal places finite.
            let by = 2.0 * self.b / ((0.001 + square) * (1.0 + self.a * power));
            step(place, other, by, rate);
        }
    }
}

fn square(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

fn step(place: &mut [f32; 2], other: [f32; 2], by: f32, rate: f32) {
    for (value, other) in place.iter_mut().zip(other) {
        *value += (by * (*value - other)).clamp(-MAX_STEP, MAX_STEP) * rate;
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014), of an epoch and a point.
struct Random(u64);

impl Random {
    fn new(epoch: usize, point: usize) -> Self {
        let mut random = Self(((epoch as u64) << 40) ^ point as u64);
        // Neighbouring states are spread.
        random.0 = random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Below `count`, which is below 2^32.
    fn below(&mut self, count: usize) -> usize {
        (((self.next() >> 32) * count as u64) >> 32) as usize
    }
}
