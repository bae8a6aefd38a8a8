//! The k-nearest-neighbour graph of a gallery.

use rayon::prelude::*;
use thiserror::Error;

use crate::{Codes, DiffusionConfig, Metric, Neighbour, nearest_others};

/// Why a graph, or a set of diffusion rows, could not be built.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum GraphError {
    /// A setting of the diffusion that cannot work.
    #[error("diffusion cannot run with {setting} {value}: {expected}")]
    Config {
        /// Name of the field.
        setting: &'static str,
        /// What it was.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// More codes than the graph's 32-bit indices can tell apart.
    #[error("a neighbour graph holds at most {} codes, got {codes}", u32::MAX)]
    TooMany {
        /// Number of codes.
        codes: usize,
    },
    /// Neighbours that were found for another gallery.
    #[error("code {row} of {codes} has neighbour {neighbour}: find the neighbours again")]
    Neighbour {
        /// Which code.
        row: usize,
        /// Its impossible neighbour.
        neighbour: usize,
        /// Number of codes.
        codes: usize,
    },
    /// Stored parts that do not fit together.
    #[error("the stored {what} is damaged ({problem}): build it again")]
    Parts {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A sparse symmetric matrix, `S = D^-1/2 W D^-1/2`, of the affinities between near codes.
///
/// Two codes are joined when either is among the other's nearest, half as much if only one is: a
/// code that is near to many but to which few are near passes on less. With cosine and dot the
/// affinity of a pair is its similarity, without the negative, to the power `gamma`; with
/// Euclidean and Manhattan it is `exp(-gamma d² / (3 σ_i σ_j))` where `σ` is a code's distance to
/// its farthest kept neighbour (Zelnik-Manor and Perona, *Self-tuning spectral clustering*,
/// 2004). `D` holds the row sums of `W`, so the eigenvalues of `S` lie between -1 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnGraph {
    metric: Metric,
    gamma: f32,
    links: SparseRows,
    /// `D^-1/2`; 0 for a code like no other.
    scales: Vec<f32>,
    /// `σ` of every code.
    reaches: Vec<f32>,
}

/// The stored form of a [`KnnGraph`]: plain numbers, to be checked by [`KnnGraph::from_parts`].
#[derive(Clone, Debug, PartialEq)]
pub struct GraphParts {
    /// Metric of the codes.
    pub metric: Metric,
    /// Power of the affinity.
    pub gamma: f32,
    /// Where each row of links starts, and where the last one ends: one more than there are codes.
    pub offsets: Vec<u64>,
    /// The linked codes, ascending within a row.
    pub indices: Vec<u32>,
    /// Their entries of `S`.
    pub weights: Vec<f32>,
    /// `D^-1/2` of every code.
    pub scales: Vec<f32>,
    /// Distance of every code to its farthest neighbour.
    pub reaches: Vec<f32>,
}

impl KnnGraph {
    /// The graph of the exact neighbours of `codes`.
    ///
    /// # Errors
    /// If `config` is not [valid](DiffusionConfig::validate) or there are too many codes.
    pub fn build(
        codes: Codes,
        metric: Metric,
        config: &DiffusionConfig,
    ) -> Result<Self, GraphError> {
        config.validate()?;
        check_count(codes.len())?;
        let neighbours = nearest_others(codes, metric, config.neighbours);
        Self::from_neighbours(&neighbours, metric, config)
    }

    /// The graph of neighbours that were found elsewhere, for instance by an index: of each code
    /// the nearest others, nearest first. Only the first `config.neighbours` of each are read.
    ///
    /// # Errors
    /// If `config` is not [valid](DiffusionConfig::validate), if there are too many codes, or if
    /// a neighbour is not one of the codes, is the code itself, or its distance is not a number.
    pub fn from_neighbours(
        neighbours: &[Vec<Neighbour>],
        metric: Metric,
        config: &DiffusionConfig,
    ) -> Result<Self, GraphError> {
        config.validate()?;
        let codes = neighbours.len();
        check_count(codes)?;
        let kept = |row: usize| neighbours[row].iter().take(config.neighbours);
        for row in 0..codes {
            let wrong = |n: &&Neighbour| n.index >= codes || n.index == row || n.distance.is_nan();
            if let Some(neighbour) = kept(row).find(wrong) {
                return Err(GraphError::Neighbour {
                    row,
                    neighbour: neighbour.index,
                    codes,
                });
            }
        }
        let reaches: Vec<f32> = (0..codes)
            .map(|row| kept(row).map(|n| n.distance).fold(0.0, f32::max))
            .collect();
        let mut found: Vec<(u32, u32, f32)> = Vec::new();
        for row in 0..codes {
            for near in kept(row) {
                let scale = reaches[row] * reaches[near.index];
                let weight = affinity(metric, config.gamma, near.distance, scale);
                if weight >= FAINTEST {
                    let (from, to) = (row as u32, near.index as u32);
                    found.push((from, to, weight / 2.0));
                    found.push((to, from, weight / 2.0));
                }
            }
        }
        found.par_sort_unstable_by_key(|&(row, column, _)| (row, column));
        // A pair that both codes name is there twice in each direction, with the same affinity:
        // the sum does not depend on the order.
        let pairs: Vec<(u32, u32, f32)> = found
            .chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
            .map(|same| (same[0].0, same[0].1, same.iter().map(|pair| pair.2).sum()))
            .collect();
        let mut degrees = vec![0.0f64; codes];
        for &(row, _, weight) in &pairs {
            degrees[row as usize] += f64::from(weight);
        }
        let scales: Vec<f64> = degrees
            .iter()
            .map(|&degree| match degree > 0.0 {
                true => 1.0 / degree.sqrt(),
                false => 0.0,
            })
            .collect();
        let mut links = SparseRows::with_capacity(codes, pairs.len());
        let mut pairs = pairs.into_iter().peekable();
        for row in 0..codes {
            while let Some((_, column, weight)) = pairs.next_if(|pair| pair.0 as usize == row) {
                let scale = scales[row] * scales[column as usize];
                links.push(column, (f64::from(weight) * scale) as f32);
            }
            links.end_row();
        }
        Ok(Self {
            metric,
            gamma: config.gamma,
            links,
            scales: scales.into_iter().map(|scale| scale as f32).collect(),
            reaches,
        })
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether the graph has no codes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of entries of `S` that are not zero: twice the number of joined pairs.
    pub fn links(&self) -> usize {
        self.links.indices.len()
    }

    /// The codes linked with code `index`, ascending, and their entries of `S`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn row(&self, index: usize) -> (&[u32], &[f32]) {
        self.links.row(index)
    }

    /// Where the diffusion of a query from outside begins: at its nearest codes, as much at each
    /// as if the query were a code of the graph. Give [`DiffusionConfig::neighbours`] of them.
    ///
    /// Neighbours that are not codes of this graph are passed over. If no affinity is left (a
    /// query unlike everything), the result is empty, and distance alone can rank.
    pub fn start(&self, neighbours: &[Neighbour]) -> Vec<(usize, f32)> {
        let reach = neighbours.iter().map(|n| n.distance).fold(0.0, f32::max);
        let mut start: Vec<(usize, f32)> = neighbours
            .iter()
            .filter(|near| near.index < self.len())
            .filter_map(|near| {
                let scale = reach * self.reaches[near.index];
                let weight = affinity(self.metric, self.gamma, near.distance, scale);
                let weight = weight * self.scales[near.index];
                (weight > 0.0).then_some((near.index, weight))
            })
            .collect();
        let total: f32 = start.iter().map(|&(_, weight)| weight).sum();
        start.iter_mut().for_each(|(_, weight)| *weight /= total);
        start
    }

    /// Plain numbers to store.
    pub fn to_parts(&self) -> GraphParts {
        GraphParts {
            metric: self.metric,
            gamma: self.gamma,
            offsets: self.links.offsets.clone(),
            indices: self.links.indices.clone(),
            weights: self.links.values.clone(),
            scales: self.scales.clone(),
            reaches: self.reaches.clone(),
        }
    }

    /// A graph from its stored numbers.
    ///
    /// # Errors
    /// If the parts do not fit together: lengths, order, indices or values out of range.
    pub fn from_parts(parts: GraphParts) -> Result<Self, GraphError> {
        let what = "neighbour graph";
        let damaged = |problem| Err(GraphError::Parts { what, problem });
        let links = SparseRows::from_parts(what, parts.offsets, parts.indices, parts.weights)?;
        let sound = |values: &[f32]| {
            let fine = |value: &f32| value.is_finite() && *value >= 0.0;
            values.len() == links.len() && values.iter().all(fine)
        };
        if !sound(&parts.scales) {
            return damaged("its scales are not one finite number for each code");
        }
        // A reach is a largest distance, and a distance by dot product can be negative or, from
        // huge codes, infinite; only the number of them and NaN can be wrong.
        if parts.reaches.len() != links.len() || parts.reaches.iter().any(|r| r.is_nan()) {
            return damaged("its reaches are not one number for each code");
        }
        if !(parts.gamma.is_finite() && parts.gamma > 0.0) {
            return damaged("its gamma is not a positive number");
        }
        if !links.values.iter().all(|value| (0.0..=1.0).contains(value)) {
            return damaged("a weight is not between 0 and 1");
        }
        Ok(Self {
            metric: parts.metric,
            gamma: parts.gamma,
            links,
            scales: parts.scales,
            reaches: parts.reaches,
        })
    }
}

/// Fainter links carry nothing, but would slow every step down with tiny numbers.
const FAINTEST: f32 = 1e-6;

/// How strongly two codes at `distance` are joined; `scale` is the product of their reaches.
fn affinity(metric: Metric, gamma: f32, distance: f32, scale: f32) -> f32 {
    match metric {
        Metric::Cosine => (1.0 - distance).max(0.0).powf(gamma),
        Metric::Dot => (-distance).max(0.0).powf(gamma).min(f32::MAX),
        Metric::Euclidean | Metric::Manhattan if distance == 0.0 => 1.0,
        Metric::Euclidean | Metric::Manhattan => {
            let ratio = distance * distance / scale;
            // A pair of reach 0 has other codes at distance 0: anything farther is no neighbour.
            if ratio.is_finite() {
                (-gamma / 3.0 * ratio).exp()
            } else {
                0.0
            }
        }
    }
}

fn check_count(codes: usize) -> Result<(), GraphError> {
    match codes > u32::MAX as usize {
        true => Err(GraphError::TooMany { codes }),
        false => Ok(()),
    }
}

/// Rows of (index, value) pairs, end to end (the CSR form).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SparseRows {
    pub(crate) offsets: Vec<u64>,
    pub(crate) indices: Vec<u32>,
    pub(crate) values: Vec<f32>,
}

impl SparseRows {
    pub(crate) fn with_capacity(rows: usize, entries: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            indices: Vec::with_capacity(entries),
            values: Vec::with_capacity(entries),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.offsets.truncate(1);
        self.indices.clear();
        self.values.clear();
    }

    pub(crate) fn push(&mut self, index: u32, value: f32) {
        self.indices.push(index);
        self.values.push(value);
    }

    pub(crate) fn end_row(&mut self) {
        self.offsets.push(self.indices.len() as u64);
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    pub(crate) fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        (&self.indices[range.clone()], &self.values[range])
    }

    /// Checks everything that reading rows relies on: every slice is in range, every index is a
    /// row, every value is finite.
    pub(crate) fn from_parts(
        what: &'static str,
        offsets: Vec<u64>,
        indices: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self, GraphError> {
        let damaged = |problem| Err(GraphError::Parts { what, problem });
        if offsets.first() != Some(&0) || !offsets.is_sorted() {
            return damaged("its offsets do not ascend from 0");
        }
        if offsets.last() != Some(&(indices.len() as u64)) || indices.len() != values.len() {
            return damaged("its offsets, indices and values differ in length");
        }
        if values.iter().any(|value| !value.is_finite()) {
            return damaged("a value is not finite");
        }
        let rows = Self {
            offsets,
            indices,
            values,
        };
        let len = rows.len();
        if rows.indices.iter().any(|&index| index as usize >= len) {
            return damaged("an index is beyond the last code");
        }
        Ok(rows)
    }
}
