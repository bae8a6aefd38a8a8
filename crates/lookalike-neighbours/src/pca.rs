//! Principal components.

use crate::Codes;
use crate::eigen;
use crate::matrix::{Matrix, add_product};

/// The directions in which a set of codes varies most.
#[derive(Clone, Debug)]
pub struct Pca {
    dims: usize,
    mean: Vec<f32>,
    /// One direction per row.
    directions: Vec<f32>,
    variances: Vec<f64>,
}

/// Up to this many dimensions the whole covariance is solved; beyond, its cube is too much work.
const EXACT: usize = 1024;
/// Up to this many dimensions the covariance may be formed to be iterated: 128 MiB.
const MAX_FORMED: usize = 4096;
/// Directions that are iterated beside the wanted ones, so that those settle fast.
const SPARE: usize = 64;
/// Products with the covariance that the directions go through.
const ROUNDS: usize = 16;
/// Codes that are turned to `f64` at a time.
const BLOCK: usize = 4096;
/// Lower bound of a standard deviation that [`Pca::project_half_whitened`] divides by, as a share
/// of the largest: components that are nothing but rounding errors must not count.
const MIN_DEVIATION: f64 = 1e-3;

impl Pca {
    /// Finds the first `components` directions, or as many as there are dimensions.
    ///
    /// Exact up to 1024 dimensions: the covariance, in `f64`, and its eigenvectors. Beyond that,
    /// subspace iteration from a fixed random start (Halko, Martinsson and Tropp, *Finding
    /// structure with randomness*, 2011). At least 1 component is found, whatever is asked.
    pub fn fit(codes: Codes, components: usize) -> Self {
        let dims = codes.dims();
        let components = components.clamp(1, dims);
        let count = codes.len().saturating_sub(1).max(1) as f64;
        let (mean, mut solved) = solve(codes, components, EXACT);
        solved.values.truncate(components);
        Self {
            dims,
            mean: mean.iter().map(|&value| value as f32).collect(),
            directions: solved.vectors.iter().map(|&value| value as f32).collect(),
            variances: solved.values.iter().map(|v| v.max(0.0) / count).collect(),
        }
    }

    /// Number of directions.
    pub fn components(&self) -> usize {
        self.variances.len()
    }

    /// The directions, one per row of as many values as the codes have dimensions; orthonormal.
    pub fn directions(&self) -> &[f32] {
        &self.directions
    }

    /// The mean of the codes, which projections are relative to.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Variance along each direction, largest first.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// Coordinates of `codes` along the directions, [`components`](Self::components) for each.
    ///
    /// # Panics
    /// If the codes have other dimensions than those of [`fit`](Self::fit).
    pub fn project(&self, codes: Codes) -> Vec<f32> {
        assert_eq!(codes.dims(), self.dims, "codes of other dimensions");
        let mut out = Vec::with_capacity(codes.len() * self.components());
        let mut centred = Vec::new();
        for block in codes.data().chunks(BLOCK * self.dims) {
            centred.clear();
            for row in block.chunks_exact(self.dims) {
                centred.extend(row.iter().zip(&self.mean).map(|(value, mean)| value - mean));
            }
            let start = out.len();
            out.resize(start + block.len() / self.dims * self.components(), 0.0);
            add_product(
                Matrix::new(&centred, self.dims),
                Matrix::new(&self.directions, self.dims).transposed(),
                &mut out[start..],
            );
        }
        out
    }

    /// [`project`](Self::project), each coordinate times its factor of
    /// [`half_whitening`](Self::half_whitening).
    ///
    /// # Panics
    /// As [`project`](Self::project).
    pub fn project_half_whitened(&self, codes: Codes) -> Vec<f32> {
        let mut coordinates = self.project(codes);
        let factors = self.half_whitening();
        for row in coordinates.chunks_exact_mut(factors.len()) {
            for (value, factor) in row.iter_mut().zip(&factors) {
                *value *= factor;
            }
        }
        coordinates
    }

    /// For each direction, one over the square root of the standard deviation: halfway between
    /// plain components, where few decide, and whitened ones, where noise counts as much as
    /// anything. A standard deviation below a thousandth of the largest is taken as that.
    pub fn half_whitening(&self) -> Vec<f32> {
        let floor = MIN_DEVIATION * self.variances[0].sqrt();
        let factor = |variance: &f64| match variance.sqrt().max(floor) {
            // Codes without variance have no coordinates to divide.
            0.0 => 1.0,
            deviation => (1.0 / deviation.sqrt()) as f32,
        };
        self.variances.iter().map(factor).collect()
    }
}

/// The mean of codes, and the `count` directions (or as many as there are dimensions) in which they
/// vary most, one per row, orthonormal but for zeros where codes span fewer; exact up to `exact`
/// dimensions.
pub(crate) fn leading_directions(codes: Codes, count: usize, exact: usize) -> (Vec<f64>, Vec<f64>) {
    let count = count.clamp(1, codes.dims());
    let (mean, solved) = solve(codes, count, exact);
    (mean, solved.vectors)
}

fn solve(codes: Codes, components: usize, exact: usize) -> (Vec<f64>, eigen::Eigen) {
    let mean = codes.mean();
    let solved = match codes.dims() <= exact {
        true => eigen::symmetric(scatter(codes, &mean), codes.dims(), components),
        false => iterate(codes, &mean, components),
    };
    (mean, solved)
}

/// The sum of outer products of the centred codes.
fn scatter(codes: Codes, mean: &[f64]) -> Vec<f64> {
    let dims = codes.dims();
    let mut scatter = vec![0.0f64; dims * dims];
    let mut centred = Vec::new();
    for block in codes.data().chunks(BLOCK * dims) {
        centre(block, mean, &mut centred);
        let rows = Matrix::new(&centred, dims);
        add_product(rows.transposed(), rows, &mut scatter);
    }
    scatter
}

fn centre(block: &[f32], mean: &[f64], centred: &mut Vec<f64>) {
    centred.clear();
    for row in block.chunks_exact(mean.len()) {
        centred.extend(
            row.iter()
                .zip(mean)
                .map(|(&value, mean)| f64::from(value) - mean),
        );
    }
}

/// Applies the scatter matrix, without forming it, to `directions` (one per row).
fn spread(codes: Codes, mean: &[f64], directions: &[f64]) -> Vec<f64> {
    let dims = codes.dims();
    let count = directions.len() / dims;
    let mut out = vec![0.0; directions.len()];
    let mut centred = Vec::new();
    // Fewer rows at a time, because there are many dimensions.
    for block in codes.data().chunks(BLOCK / 8 * dims) {
        centre(block, mean, &mut centred);
        let rows = Matrix::new(&centred, dims);
        let mut along = vec![0.0; count * (block.len() / dims)];
        add_product(Matrix::new(directions, dims), rows.transposed(), &mut along);
        add_product(Matrix::new(&along, block.len() / dims), rows, &mut out);
    }
    out
}

fn iterate(codes: Codes, mean: &[f64], components: usize) -> eigen::Eigen {
    let dims = codes.dims();
    let count = (components + SPARE).min(dims);
    // Multiplications to form the scatter matrix and apply it each round, against applying the
    // codes and their transpose each round.
    let formed = codes.len() * dims + (ROUNDS + 1) * count * dims;
    let unformed = 2 * (ROUNDS + 1) * codes.len() * count;
    let matrix = (dims <= MAX_FORMED && formed < unformed).then(|| scatter(codes, mean));
    let apply = |directions: &[f64]| match &matrix {
        None => spread(codes, mean, directions),
        Some(matrix) => {
            let mut out = vec![0.0; directions.len()];
            let (left, right) = (Matrix::new(directions, dims), Matrix::new(matrix, dims));
            add_product(left, right, &mut out);
            out
        }
    };
    let mut state = 0u64;
    let mut directions: Vec<f64> = (0..count * dims).map(|_| random(&mut state)).collect();
    orthonormalise(&mut directions, dims);
    for _ in 0..ROUNDS {
        directions = apply(&directions);
        orthonormalise(&mut directions, dims);
    }
    // Rayleigh and Ritz: the best directions within the space they span.
    let spread = apply(&directions);
    let mut small = vec![0.0; count * count];
    add_product(
        Matrix::new(&directions, dims),
        Matrix::new(&spread, dims).transposed(),
        &mut small,
    );
    let inner = eigen::symmetric(small, count, components);
    let mut vectors = vec![0.0; components * dims];
    add_product(
        Matrix::new(&inner.vectors, count),
        Matrix::new(&directions, dims),
        &mut vectors,
    );
    vectors.chunks_exact_mut(dims).for_each(eigen::point_up);
    eigen::Eigen {
        values: inner.values,
        vectors,
    }
}

/// Between -1 and 1, by SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Replaces the directions by orthonormal ones that span the same space: along the eigenvectors of
/// their inner products, by matrix products alone; twice, because the first time leaves the
/// rounding errors of directions that were nearly alike. What is nothing but such errors (the codes
/// span fewer dimensions) becomes zero.
fn orthonormalise(directions: &mut Vec<f64>, dims: usize) {
    let count = directions.len() / dims;
    // Of equal length first: the iteration makes the leading ones longer by orders of magnitude.
    for direction in directions.chunks_exact_mut(dims) {
        let length = eigen::dot(direction, direction).sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for _ in 0..2 {
        let rows = Matrix::new(&*directions, dims);
        let mut gram = vec![0.0; count * count];
        add_product(rows, rows.transposed(), &mut gram);
        let mut solved = eigen::symmetric(gram, count, count);
        let floor = 1e-13 * solved.values[0];
        for (vector, &value) in solved.vectors.chunks_exact_mut(count).zip(&solved.values) {
            let scale = if value > floor {
                1.0 / value.sqrt()
            } else {
                0.0
            };
            vector.iter_mut().for_each(|share| *share *= scale);
        }
        let mut turned = vec![0.0; directions.len()];
        add_product(Matrix::new(&solved.vectors, count), rows, &mut turned);
        *directions = turned;
    }
}
