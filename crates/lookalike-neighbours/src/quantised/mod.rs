//! Codes in 8 bits a float, all of which are compared at little cost, and proven bounds on what
//! that leaves out, so that the answer is the exact one.
//!
//! A code `x` (of length 1 for the cosine metric) is kept as `a = x - c`, where `c` is the middle
//! of their ranges, in steps `s` of each dimension's own, rounded to 8 bits and to 16:
//! `a ≈ s ∘ q` and `a ≈ s ∘ r / 254`. With `b = y - c` for a query `y`, every metric but
//! Manhattan orders by
//!
//! ```text
//! key(x) = bias(x) - a·b        bias = -c·a for cosine and dot, |a|²/2 for Euclidean
//! ```
//!
//! since `x·y` is `a·b + c·a` and something that depends on the query alone, and so is half of
//! `|x - y|²`. The scan takes `q` for `a/s`, and a query rounded to 16 bits for `w = s ∘ b`: all
//! products and sums are exact in 32 bits. By Cauchy's inequality it is wrong by at most
//! `|w| · max |a/s - q|`, plus the rounding of the query. Codes that may be among the nearest by
//! that are compared again by `r`, which is wrong by some 250 times less; those that are left are
//! the candidates, of which the caller knows the exact codes.

mod dots;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::Metric;
use crate::metric::dot;
use dots::{ROWS, WIDTH};

/// Steps of the coarse numbers on either side of the middle.
const STEPS: f64 = 127.0;
/// Steps of the fine numbers within one of the coarse, of which 16 bits hold 129.
const FINE_STEPS: f64 = 254.0;
/// How much wider than what was seen the range of values is taken to be.
const MARGIN: f64 = 1.1;
/// The narrowest range of a dimension, as a share of the widest.
const MIN_RANGE: f64 = 1e-3;
/// Keys that are less exact than this are of no use, and might not be finite.
const MAX_ERROR: f32 = 1e30;
/// Rows that may lie outside the range before the steps do not suit the codes any more: this many,
/// and this share.
const MAX_LOOSE: usize = 64;
const MAX_LOOSE_SHARE: usize = 100;

/// Codes to be searched for exact neighbours, in 3 bytes a float: rows that can be added, changed
/// and removed.
#[derive(Debug)]
pub struct Quantised {
    metric: Metric,
    dims: usize,
    len: usize,
    centre: Vec<f64>,
    steps: Vec<f64>,
    /// Blocks of [`ROWS`] rows as [`dots`] wants them.
    coarse: Vec<i8>,
    /// Row after row.
    fine: Vec<i16>,
    /// One for each row of the blocks; infinite where a row is not to be found by the scan.
    biases: Vec<f32>,
    /// Rows outside the range of the steps, and their codes.
    loose: BTreeMap<usize, Vec<f32>>,
    bounds: Bounds,
}

/// Upper bounds over all rows but the loose ones.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    /// Of what 8 bits leave out.
    coarse: f64,
    /// Of what 16 bits leave out.
    fine: f64,
    /// Of the length of `a`.
    length: f64,
    bias: f64,
}

/// A query, ready for the scan.
struct Query {
    /// Pairs of 16-bit numbers.
    pairs: Vec<i32>,
    /// What a unit of the products of 16-bit numbers stands for.
    unit: f32,
    /// `s ∘ b / 254`.
    weights: Vec<f32>,
    /// `b`.
    from_centre: Vec<f64>,
    /// How far keys may be from the truth: by 8 bits, by 16, and by the codes themselves.
    coarse_error: f32,
    fine_error: f32,
    rounding: f32,
}

/// The range of each dimension's values, of the codes that are to be quantised.
#[derive(Clone, Debug)]
pub struct Ranges {
    metric: Metric,
    /// The least and the most.
    ranges: Vec<(f64, f64)>,
}

impl Ranges {
    /// Of no codes yet, of `dims` floats, which are to be compared by `metric`.
    pub fn new(dims: usize, metric: Metric) -> Self {
        Self {
            metric,
            ranges: vec![(f64::INFINITY, f64::NEG_INFINITY); dims],
        }
    }

    /// Widens the ranges so that they hold a code's values.
    pub fn include(&mut self, code: &[f32]) {
        let scale = scale_of(code, self.metric);
        for ((low, high), &value) in self.ranges.iter_mut().zip(code) {
            let value = f64::from(value) * scale;
            (*low, *high) = (low.min(value), high.max(value));
        }
    }
}

impl Quantised {
    /// No codes yet; the steps are those that suit codes of these ranges. None for the Manhattan
    /// metric, which is no inner product, and for the ranges of nothing.
    pub fn new(ranges: &Ranges) -> Option<Self> {
        let Ranges { metric, ranges } = ranges;
        let is_empty = ranges.first().is_none_or(|(low, high)| low > high);
        if *metric == Metric::Manhattan || is_empty {
            return None;
        }
        let widest = ranges.iter().map(|(low, high)| high - low);
        let widest = widest.fold(0.0, f64::max);
        // Codes that are all alike have no range: any will do.
        let narrowest = match widest * MIN_RANGE {
            narrowest if narrowest > 0.0 => narrowest,
            _ => 1.0,
        };
        let steps = ranges
            .iter()
            .map(|(low, high)| (high - low).max(narrowest) * MARGIN / (2.0 * STEPS));
        Some(Self {
            metric: *metric,
            dims: ranges.len(),
            len: 0,
            steps: steps.collect(),
            centre: ranges
                .iter()
                .map(|(low, high)| (low + high) / 2.0)
                .collect(),
            coarse: Vec::new(),
            fine: Vec::new(),
            biases: Vec::new(),
            loose: BTreeMap::new(),
            bounds: Bounds::default(),
        })
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Floats of a code.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the steps suit the codes: where they do not, answers are right, but slow, and all
    /// should be quantised anew.
    pub fn is_apt(&self) -> bool {
        self.loose.len() <= MAX_LOOSE + self.len / MAX_LOOSE_SHARE
    }

    /// Adds a code as the last row.
    ///
    /// # Panics
    /// If it has another number of dimensions.
    pub fn push(&mut self, code: &[f32]) {
        let row = self.len;
        self.len += 1;
        if row.is_multiple_of(ROWS) {
            self.coarse.resize(self.coarse.len() + self.block(), 0);
            self.biases.resize(self.biases.len() + ROWS, f32::INFINITY);
        }
        self.fine.resize(self.len * self.dims, 0);
        self.write(row, code);
    }

    /// Puts a code in the place of another.
    ///
    /// # Panics
    /// If there is no such row, or the code has another number of dimensions.
    pub fn set(&mut self, row: usize, code: &[f32]) {
        assert!(row < self.len, "there is no row {row}");
        self.loose.remove(&row);
        self.write(row, code);
    }

    /// Removes a row; the last takes its place.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn swap_remove(&mut self, row: usize) {
        assert!(row < self.len, "there is no row {row}");
        let last = self.len - 1;
        self.loose.remove(&row);
        if let Some(code) = self.loose.remove(&last) {
            self.loose.insert(row, code);
        }
        let (from, to) = (self.place(last), self.place(row));
        for pair in 0..self.width() / 2 {
            for half in 0..2 {
                let at = pair * 2 * ROWS + half;
                self.coarse[to + at] = self.coarse[from + at];
            }
        }
        let fine = last * self.dims;
        self.fine
            .copy_within(fine..fine + self.dims, row * self.dims);
        self.fine.truncate(fine);
        self.biases[row] = self.biases[last];
        self.biases[last] = f32::INFINITY;
        self.len = last;
        if last.is_multiple_of(ROWS) {
            self.biases.truncate(last);
            self.coarse.truncate(last * self.width());
        }
    }

    /// Rows among which are the `k` nearest to `query` and all that are as far as the last of them,
    /// by the exact distances of [`Metric::distance`], in no order. Of the rows whose bits are set
    /// in `admitted`, the first row being the lowest bit of the first word, if that is given.
    ///
    /// Mostly few more than `k`; where many codes are equally far, as many.
    ///
    /// # Panics
    /// If the query has another number of dimensions, or `admitted` is too short.
    pub fn candidates(&self, query: &[f32], k: usize, admitted: Option<&[u64]>) -> Vec<usize> {
        assert_eq!(
            query.len(),
            self.dims,
            "a query needs the codes' dimensions"
        );
        let words = self.len.div_ceil(64);
        assert!(admitted.is_none_or(|admitted| admitted.len() >= words));
        if k == 0 || self.is_empty() {
            return Vec::new();
        }
        let is_admitted =
            |row: usize| admitted.is_none_or(|admitted| admitted[row / 64] >> (row % 64) & 1 == 1);
        let Some(query) = self.query(query) else {
            return (0..self.len).filter(|&row| is_admitted(row)).collect();
        };
        let mut shortlist = scan::shortlist(self, &query, k, admitted);
        for (&row, code) in &self.loose {
            if is_admitted(row) {
                let key = self.key(&query, code);
                // Such a code may be longer than all that the bounds know of.
                let error = query.rounding + 4.0 * f32::EPSILON * key.abs();
                shortlist.offer(row, key - error, key + error, None);
            }
        }
        shortlist.into_candidates().collect()
    }

    /// Dimensions, filled up for the scan.
    fn width(&self) -> usize {
        self.dims.next_multiple_of(WIDTH)
    }

    /// Bytes of a block.
    fn block(&self) -> usize {
        ROWS * self.width()
    }

    /// Where the first number of a row lies.
    fn place(&self, row: usize) -> usize {
        row / ROWS * self.block() + row % ROWS * 2
    }

    fn write(&mut self, row: usize, code: &[f32]) {
        assert_eq!(code.len(), self.dims, "a code needs the others' dimensions");
        let scale = scale_of(code, self.metric);
        let place = self.place(row);
        // Sums of squares: of what is left by either kind of numbers, and of `a`.
        let (mut coarse_left, mut fine_left, mut square, mut inner) = (0.0, 0.0, 0.0, 0.0);
        for (dim, &value) in code.iter().enumerate() {
            let (step, middle) = (self.steps[dim], self.centre[dim]);
            let value = f64::from(value) * scale - middle;
            let exact = value / step;
            let coarse = exact.round().clamp(-STEPS, STEPS);
            let fine = (exact * FINE_STEPS)
                .round()
                .clamp(-f64::from(i16::MAX), f64::from(i16::MAX));
            self.coarse[place + dim / 2 * 2 * ROWS + dim % 2] = coarse as i8;
            self.fine[row * self.dims + dim] = fine as i16;
            coarse_left += (exact - coarse).powi(2);
            fine_left += (exact - fine / FINE_STEPS).powi(2);
            square += value * value;
            inner += value * middle;
        }
        let bias = match self.metric {
            Metric::Euclidean => square / 2.0,
            _ => -inner,
        };
        // Values within the range leave at most half a step.
        let most = self.dims as f64 / 4.0;
        let is_within = coarse_left <= most && fine_left * FINE_STEPS * FINE_STEPS <= most * 1.001;
        let is_loose = !(is_within && bias.abs() < f64::from(MAX_ERROR));
        if is_loose {
            self.biases[row] = f32::INFINITY;
            self.loose.insert(row, code.to_vec());
            return;
        }
        self.biases[row] = bias as f32;
        let bounds = &mut self.bounds;
        bounds.coarse = bounds.coarse.max(coarse_left.sqrt());
        bounds.fine = bounds.fine.max(fine_left.sqrt());
        bounds.length = bounds.length.max(square.sqrt());
        bounds.bias = bounds.bias.max(bias.abs());
    }

    /// None for a query whose keys would leave the range of `f32`.
    fn query(&self, code: &[f32]) -> Option<Query> {
        let scale = scale_of(code, self.metric);
        let from_centre: Vec<f64> = code
            .iter()
            .zip(&self.centre)
            .map(|(&value, middle)| f64::from(value) * scale - middle)
            .collect();
        let weights: Vec<f64> = from_centre
            .iter()
            .zip(&self.steps)
            .map(|(value, step)| value * step)
            .collect();
        // So that no sum of products leaves 32 bits.
        let most = (f64::from(i32::MAX) / (STEPS * self.dims as f64)).floor();
        let most = most.clamp(1.0, f64::from(i16::MAX));
        let largest = weights.iter().fold(0.0f64, |most, w| most.max(w.abs()));
        let unit = match largest > 0.0 {
            true => f64::from(((largest / most) as f32).max(f32::MIN_POSITIVE)),
            false => 1.0,
        };
        let rounded: Vec<f64> = weights
            .iter()
            .map(|w| (w / unit).round().clamp(-most, most))
            .collect();
        let lost: f64 = weights
            .iter()
            .zip(&rounded)
            .map(|(w, rounded)| (w - rounded * unit).abs())
            .sum();
        let mut pairs = vec![0; self.width() / 2];
        for (pair, two) in pairs.iter_mut().zip(rounded.chunks(2)) {
            let high = two.get(1).copied().unwrap_or_default();
            *pair = i32::from(two[0] as i16 as u16) | (i32::from(high as i16) << 16);
        }
        let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
        let weight = square(&weights).sqrt();
        // Sums of `f32` and of what is rounded to it, here and in exact distances: as in `screen`.
        let rounding = (self.dims + 16) as f64 * f64::from(f32::EPSILON);
        let length = self.bounds.length + square(&from_centre).sqrt();
        let centre = square(&self.centre).sqrt();
        let size = match self.metric {
            Metric::Euclidean => length * length,
            // The distance has what the key leaves out, too.
            _ => (length + centre) * (length + centre),
        };
        let rounding = rounding * (size + self.bounds.bias) + f64::from(f32::MIN_POSITIVE);
        let error = |left: f64| ((weight * left + rounding) * 1.001) as f32;
        let fine_weight = |w: f64| (w / FINE_STEPS) as f32;
        let query = Query {
            pairs,
            unit: unit as f32,
            coarse_error: error(self.bounds.coarse) + (STEPS * lost * 1.001) as f32,
            fine_error: error(self.bounds.fine),
            rounding: error(0.0),
            weights: weights.into_iter().map(fine_weight).collect(),
            from_centre,
        };
        (query.coarse_error < MAX_ERROR).then_some(query)
    }

    /// The key of a code that is known.
    fn key(&self, query: &Query, code: &[f32]) -> f32 {
        let scale = scale_of(code, self.metric);
        let values = code.iter().map(|&value| f64::from(value) * scale);
        let terms = values.zip(&self.centre).zip(&query.from_centre);
        let key: f64 = match self.metric {
            Metric::Euclidean => terms
                .map(|((value, middle), b)| (value - middle) * ((value - middle) / 2.0 - b))
                .sum(),
            _ => terms
                .map(|((value, middle), b)| -(value - middle) * (middle + b))
                .sum(),
        };
        key as f32
    }
}

/// What the values of a code are multiplied by.
fn scale_of(code: &[f32], metric: Metric) -> f64 {
    if metric != Metric::Cosine {
        return 1.0;
    }
    match dot(code, code).sqrt() {
        norm if norm > 0.0 => 1.0 / norm,
        _ => 0.0,
    }
}
