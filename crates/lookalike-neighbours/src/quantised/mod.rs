//! Codes of which a few leading coordinates are compared with all, in 8 bits, and proven bounds on
//! what that leaves out, so that the answer is the exact one.
//!
//! Codes vary along some directions far more than along others. A code `x` (of length 1 for the
//! cosine metric) is taken from the codes' mean, `a = x - c`, and divided into its coordinates `h`
//! along the leading principal directions and the rest, of length `t`. Kept are `h` in steps `s`
//! of each direction's own, rounded to 8 bits, `h ≈ s ∘ q`; the length `t`; and all of `a`, in
//! steps `z` of each dimension's own, rounded to 16 bits, `a ≈ z ∘ r`. With `b = y - c` for a query
//! `y`, in the same way `g` and `u`, every metric but Manhattan orders by
//!
//! ```text
//! key(x) = bias(x) - a·b        bias = -c·a for cosine and dot, |a|²/2 for Euclidean
//! ```
//!
//! since `x·y` is `a·b + c·a` and something that depends on the query alone, and so is half of
//! `|x - y|²`. By Cauchy's inequality `a·b` is within `t u` of `h·g` (the bound of the lower
//! dimensions in Cha and Chung, *An enhanced technique for k-nearest neighbor queries with
//! non-spatial selection predicates*, 1998, is of this kind). The scan takes `q` for `h/s`, and a
//! query rounded to 16 bits for `w = s ∘ g`: all products and sums are exact in 32 bits, and it is
//! wrong by at most `|w| · max |h/s - q|` besides, plus the rounding of the query. Codes that may
//! be among the nearest by that, mostly less than one in a hundred, are compared again by `r`,
//! which is wrong by some ten thousandth; those that are left are the candidates, of which the
//! caller knows the exact codes.
//!
//! Rows are scanned in blocks of 16. Once they are [sorted](Quantised::sort), each block's are near
//! each other, and its [box](boxes) tells of most blocks that nothing in them is near enough: since
//!
//! ```text
//! key(x) = |a - b|²/2 - |b|²/2                            for Euclidean
//! key(x) = |a - b|²/2 - |x|²/2 - |y|²/2 + c·y, |x| ≤ 1    for cosine
//! ```
//!
//! a bound of `|a - b|` is one of the key.

mod boxes;
mod dots;
mod frame;
mod order;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::eigen;
use crate::metric::dot;
use crate::{Codes, Metric};
use boxes::{Boxes, Quad};
use dots::ROWS;
use frame::{Frame, Seen};
use order::Threads;

/// Steps of the coarse numbers on either side of the middle.
const STEPS: f64 = 127.0;
/// Steps of the fine numbers on either side of the middle.
const FINE_STEPS: f64 = i16::MAX as f64;
/// Keys that are less exact than this are of no use, and might not be finite.
const MAX_ERROR: f32 = 1e30;
/// Rows that may lie outside the ranges before these do not suit the codes any more: this many,
/// and this share.
const MAX_LOOSE: usize = 64;
const MAX_LOOSE_SHARE: usize = 100;
/// Rows that a thread quantises at a time: whole blocks.
const ROWS_TOGETHER: usize = 64 * ROWS;
/// Changes since rows were sorted that are too few to sort them again: this many, and this share.
const MAX_SCATTERED: usize = 1024;
const MAX_SCATTERED_SHARE: usize = 2;

/// Codes to be searched for exact neighbours, in two bytes a float and some 45 beside: rows that
/// can be added, changed and removed.
#[derive(Debug)]
pub struct Quantised {
    frame: Frame,
    len: usize,
    /// Leading coordinates: blocks of [`ROWS`] rows as [`dots`] wants them.
    coarse: Vec<i8>,
    /// Row after row.
    fine: Vec<i16>,
    /// For each row of the blocks the bias; infinite where a row is not to be found by the scan.
    biases: Vec<f32>,
    /// For each row of the blocks the length of what leading coordinates leave out; infinite where
    /// these are outside the range of their steps.
    rests: Vec<f32>,
    /// Around each block's rows, once these are sorted: before, they would be wide and tell
    /// nothing.
    boxes: Option<Boxes>,
    /// Rows that were added, changed or moved since all were sorted.
    scattered: usize,
    /// Rows whose leading coordinates are outside that range.
    clipped: usize,
    /// Rows outside the range of the fine steps, and their codes.
    loose: BTreeMap<usize, Vec<f32>>,
    bounds: Bounds,
}

/// Upper bounds over all rows but the loose ones.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    /// Of what 8 bits leave out of leading coordinates, in steps.
    coarse: f64,
    /// Of what 16 bits leave out, in steps.
    fine: f64,
    /// Of the length of `a`.
    length: f64,
    bias: f64,
}

impl Bounds {
    fn of_both(self, other: Self) -> Self {
        Self {
            coarse: self.coarse.max(other.coarse),
            fine: self.fine.max(other.fine),
            length: self.length.max(other.length),
            bias: self.bias.max(other.bias),
        }
    }
}

/// A query, ready for the scan.
struct Query {
    /// Pairs of 16-bit numbers.
    pairs: Vec<i32>,
    /// What a unit of the products of 16-bit numbers stands for.
    unit: f32,
    /// The length of what leading coordinates leave out.
    rest: f32,
    /// For the distance of boxes, and what keys are beside half the squared distance; none where
    /// there are no boxes, and for the dot product, which does not follow from distances.
    boxes: Option<(Vec<Quad>, f32)>,
    /// `z ∘ b`.
    weights: Vec<f32>,
    /// `b`.
    from_centre: Vec<f64>,
    /// How far keys may be from the truth: by 8 bits, by 16, and by the codes themselves.
    coarse_error: f32,
    fine_error: f32,
    rounding: f32,
}

impl Quantised {
    /// Codes of a sample that are looked at, at most.
    pub const SAMPLE: usize = frame::SAMPLE;

    /// No codes yet; directions and steps are those that suit codes like those of the sample, of
    /// which [`SAMPLE`](Self::SAMPLE) are looked at, at equal distances. None for the Manhattan
    /// metric, which is no inner product, and for a sample of nothing or of what is not finite.
    pub fn new(sample: Codes, metric: Metric) -> Option<Self> {
        Some(Self::empty(Frame::fit(sample, metric)?))
    }

    /// All these codes, sorted, and for each row which of them it is. All threads of the current
    /// rayon pool take part. None where [`new`](Self::new) gives none, and where a search might
    /// take more cycles of the processor for each code.
    pub(crate) fn of(codes: Codes, metric: Metric, max_cycles: f64) -> Option<(Self, Vec<usize>)> {
        let frame = Frame::fit(codes, metric).filter(|frame| frame.max_cycles <= max_cycles)?;
        let starts: Vec<usize> = (0..codes.len()).step_by(ROWS_TOGETHER).collect();
        let parts: Vec<Self> = starts
            .into_par_iter()
            .map(|start| {
                let mut part = Self::empty(frame.clone());
                for row in start..codes.len().min(start + ROWS_TOGETHER) {
                    part.push(codes.row(row));
                }
                part
            })
            .collect();
        let mut all = Self::empty(frame);
        parts.into_iter().for_each(|part| all.append(part));
        let order = all.sort_by(Threads::All);
        Some((all, order))
    }

    fn empty(frame: Frame) -> Self {
        Self {
            frame,
            len: 0,
            coarse: Vec::new(),
            fine: Vec::new(),
            biases: Vec::new(),
            rests: Vec::new(),
            boxes: None,
            scattered: 0,
            clipped: 0,
            loose: BTreeMap::new(),
            bounds: Bounds::default(),
        }
    }

    /// Adds the rows of another that has the same frame. Neither has boxes, and this one has whole
    /// blocks.
    fn append(&mut self, other: Self) {
        debug_assert!(self.len.is_multiple_of(ROWS));
        let first = self.len;
        self.len += other.len;
        self.coarse.extend(other.coarse);
        self.fine.extend(other.fine);
        self.biases.extend(other.biases);
        self.rests.extend(other.rests);
        self.scattered += other.scattered;
        self.clipped += other.clipped;
        let loose = other.loose.into_iter();
        self.loose
            .extend(loose.map(|(row, code)| (first + row, code)));
        self.bounds = self.bounds.of_both(other.bounds);
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Floats of a code.
    pub fn dims(&self) -> usize {
        self.frame.dims()
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the steps suit the codes: where they do not, answers are right, but slow, and all
    /// should be quantised anew.
    pub fn is_apt(&self) -> bool {
        self.clipped + self.loose.len() <= MAX_LOOSE + self.len / MAX_LOOSE_SHARE
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
            self.rests.resize(self.biases.len(), 0.0);
            if let Some(boxes) = &mut self.boxes {
                boxes.resize(self.biases.len() / ROWS);
            }
        }
        self.fine.resize(self.len * self.dims(), 0);
        self.write(row, code);
    }

    /// Puts a code in the place of another.
    ///
    /// # Panics
    /// If there is no such row, or the code has another number of dimensions.
    pub fn set(&mut self, row: usize, code: &[f32]) {
        assert!(row < self.len, "there is no row {row}");
        self.release(row);
        self.write(row, code);
    }

    /// Removes a row; the last takes its place.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn swap_remove(&mut self, row: usize) {
        assert!(row < self.len, "there is no row {row}");
        let last = self.len - 1;
        self.release(row);
        if let Some(code) = self.loose.remove(&last) {
            self.loose.insert(row, code);
        }
        let (from, to) = (self.place(last), self.place(row));
        for at in 0..self.frame.leading {
            self.coarse[to + pair_of(at)] = self.coarse[from + pair_of(at)];
        }
        let dims = self.dims();
        let fine = last * dims;
        self.fine.copy_within(fine..fine + dims, row * dims);
        self.fine.truncate(fine);
        self.biases[row] = self.biases[last];
        self.rests[row] = self.rests[last];
        self.biases[last] = f32::INFINITY;
        self.rests[last] = 0.0;
        self.len = last;
        self.scattered += 1;
        if row != last && self.biases[row] != f32::INFINITY {
            self.box_row(row);
        }
        if last.is_multiple_of(ROWS) {
            self.biases.truncate(last);
            self.rests.truncate(last);
            self.coarse.truncate(last * self.frame.leading);
            if let Some(boxes) = &mut self.boxes {
                boxes.resize(last / ROWS);
            }
        }
    }

    /// Whether so many rows have changed since they were [sorted](Self::sort) that it is worth
    /// while again. Searches are right in any order. Never for the dot product, of which boxes tell
    /// nothing.
    pub fn is_scattered(&self) -> bool {
        let few = MAX_SCATTERED.max(self.len / MAX_SCATTERED_SHARE);
        self.frame.metric != Metric::Dot && self.scattered > few
    }

    /// Puts near rows next to each other, so that searches pass over most of them. Gives for each
    /// row where it was.
    pub fn sort(&mut self) -> Vec<usize> {
        self.sort_by(Threads::Own)
    }

    fn sort_by(&mut self, threads: Threads) -> Vec<usize> {
        let (leading, steps) = (self.frame.leading, &self.frame.leading_steps);
        // Rows whose place is not known come last, as their blocks are never passed over.
        let is_known = |&row: &usize| self.rests[row].is_finite() && self.biases[row].is_finite();
        let (mut order, others): (Vec<usize>, _) = (0..self.len).partition(is_known);
        let value = |row: usize, at: usize| match steps.get(at) {
            Some(&step) => f32::from(self.coarse[self.place(row) + pair_of(at)]) * step as f32,
            None => self.rests[row],
        };
        order::by_nearness(&mut order, leading + 1, &value, threads);
        order.extend::<Vec<usize>>(others);
        let mut coarse = vec![0; self.coarse.len()];
        for (row, &from) in order.iter().enumerate() {
            let (from, to) = (self.place(from), self.place(row));
            for at in 0..leading {
                coarse[to + pair_of(at)] = self.coarse[from + pair_of(at)];
            }
        }
        self.coarse = coarse;
        order::permute(&mut self.fine, self.frame.dims(), &order);
        order::permute(&mut self.biases, 1, &order);
        order::permute(&mut self.rests, 1, &order);
        if !self.loose.is_empty() {
            let places = order.iter().enumerate();
            let places = places.filter_map(|(row, from)| Some((row, self.loose.remove(from)?)));
            self.loose = places.collect::<Vec<_>>().into_iter().collect();
        }
        let mut boxes = Boxes::new(&self.frame);
        boxes.resize(self.biases.len() / ROWS);
        self.boxes = Some(boxes);
        for row in 0..self.len {
            if self.biases[row] != f32::INFINITY {
                self.box_row(row);
            }
        }
        self.scattered = 0;
        order
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
            self.dims(),
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

    /// Bytes of a block.
    fn block(&self) -> usize {
        ROWS * self.frame.leading
    }

    /// Where the first number of a row lies.
    fn place(&self, row: usize) -> usize {
        row / ROWS * self.block() + row % ROWS * 2
    }

    fn fine_of(&self, row: usize) -> &[i16] {
        let dims = self.dims();
        &self.fine[row * dims..(row + 1) * dims]
    }

    /// Makes the box of a row's block, if there are boxes, take it in by its coordinates as they
    /// are kept.
    fn box_row(&mut self, row: usize) {
        let place = self.place(row);
        let Some(boxes) = &mut self.boxes else {
            return;
        };
        let (block, rest) = (row / ROWS, f64::from(self.rests[row]));
        if rest.is_infinite() {
            return boxes.open(block);
        }
        let leading = self
            .frame
            .leading_steps
            .iter()
            .enumerate()
            .map(|(at, step)| {
                let value = f64::from(self.coarse[place + pair_of(at)]);
                ((value - 0.5) * step, (value + 0.5) * step)
            });
        boxes.take_in(block, leading, rest, self.bounds.length);
    }

    /// Forgets what a row was that is about to be written anew or moved.
    fn release(&mut self, row: usize) {
        self.loose.remove(&row);
        if std::mem::take(&mut self.rests[row]) == f32::INFINITY {
            self.clipped -= 1;
        }
    }

    fn write(&mut self, row: usize, code: &[f32]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, checked on the line above.
            return unsafe { self.write_avx2(row, code) };
        }
        self.write_any(row, code);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn write_avx2(&mut self, row: usize, code: &[f32]) {
        self.write_any(row, code);
    }

    #[inline(always)]
    fn write_any(&mut self, row: usize, code: &[f32]) {
        self.scattered += 1;
        let seen = self.frame.see(code);
        let (place, dims) = (self.place(row), self.dims());
        let most = |count: usize| count as f64 / 4.0 * 1.000_001;
        let mut fine_left = 0.0;
        for (dim, (value, step)) in seen
            .from_centre
            .iter()
            .zip(&self.frame.fine_steps)
            .enumerate()
        {
            let exact = value / step;
            let fine = exact.round().clamp(-FINE_STEPS, FINE_STEPS);
            self.fine[row * dims + dim] = fine as i16;
            fine_left += (exact - fine).powi(2);
        }
        let bias = self.bias(&seen);
        // Values within the range leave at most half a step.
        if !(fine_left <= most(dims) && bias.abs() < f64::from(MAX_ERROR)) {
            self.biases[row] = f32::INFINITY;
            self.loose.insert(row, code.to_vec());
            return;
        }
        let mut coarse_left = 0.0;
        for (at, (value, step)) in seen
            .leading
            .iter()
            .zip(&self.frame.leading_steps)
            .enumerate()
        {
            let exact = value / step;
            let coarse = exact.round().clamp(-STEPS, STEPS);
            self.coarse[place + pair_of(at)] = coarse as i8;
            coarse_left += (exact - coarse).powi(2);
        }
        let bounds = &mut self.bounds;
        if coarse_left <= most(seen.leading.len()) {
            bounds.coarse = bounds.coarse.max(coarse_left.sqrt());
            self.rests[row] = round_up(seen.rest);
        } else {
            self.rests[row] = f32::INFINITY;
            self.clipped += 1;
        }
        bounds.fine = bounds.fine.max(fine_left.sqrt());
        bounds.length = bounds.length.max(seen.square.sqrt());
        bounds.bias = bounds.bias.max(bias.abs());
        self.biases[row] = bias as f32;
        self.box_row(row);
    }

    fn bias(&self, seen: &Seen) -> f64 {
        match self.frame.metric {
            Metric::Euclidean => seen.square / 2.0,
            _ => -eigen::dot(&seen.from_centre, &self.frame.centre),
        }
    }

    /// None for a query whose keys would leave the range of `f32`.
    fn query(&self, code: &[f32]) -> Option<Query> {
        let seen = self.frame.see(code);
        let weights = weigh(&seen.leading, &self.frame.leading_steps);
        // So that no sum of products leaves 32 bits.
        let most = (f64::from(i32::MAX) / (STEPS * weights.len() as f64)).floor();
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
        let pairs = rounded.as_chunks::<2>().0.iter();
        let pairs = pairs
            .map(|&[low, high]| i32::from(low as i16 as u16) | (i32::from(high as i16) << 16))
            .collect();
        let fine_weights = weigh(&seen.from_centre, &self.frame.fine_steps);
        // Sums of `f32` and of what is rounded to it, here and in exact distances: as in `screen`.
        let rounding = (self.dims() + 16) as f64 * f64::from(f32::EPSILON);
        let length = self.bounds.length + seen.square.sqrt();
        let centre = length_of(&self.frame.centre);
        let size = match self.frame.metric {
            Metric::Euclidean => length * length,
            // The distance has what the key leaves out, too.
            _ => (length + centre) * (length + centre),
        };
        let rounding = rounding * (size + self.bounds.bias) + f64::from(f32::MIN_POSITIVE);
        let beside = match self.frame.metric {
            Metric::Euclidean => Some(-seen.square / 2.0),
            Metric::Cosine => {
                // The query is `b + c`; codes are no longer than 1.
                let terms = self.frame.centre.iter().zip(&seen.from_centre);
                let (inner, square) = terms.fold((0.0, 0.0), |(inner, square), (c, b)| {
                    (inner + c * (b + c), square + (b + c) * (b + c))
                });
                Some(inner - (1.0 + square) / 2.0)
            }
            _ => None,
        };
        let boxes = beside.zip(self.boxes.as_ref()).map(|(beside, boxes)| {
            let quads = boxes.query(&seen.leading, seen.rest, length);
            (quads, (beside - rounding) as f32)
        });
        let error =
            |weights: &[f64], left: f64| ((length_of(weights) * left + rounding) * 1.001) as f32;
        let query = Query {
            pairs,
            unit: unit as f32,
            rest: round_up(seen.rest),
            boxes,
            coarse_error: error(&weights, self.bounds.coarse) + (STEPS * lost * 1.001) as f32,
            fine_error: error(&fine_weights, self.bounds.fine),
            rounding: error(&[], 0.0),
            weights: fine_weights.into_iter().map(|w| w as f32).collect(),
            from_centre: seen.from_centre,
        };
        (query.coarse_error < MAX_ERROR && query.rest < MAX_ERROR).then_some(query)
    }

    /// The key of a code that is known.
    fn key(&self, query: &Query, code: &[f32]) -> f32 {
        let scale = scale_of(code, self.frame.metric);
        let values = code.iter().map(|&value| f64::from(value) * scale);
        let terms = values.zip(&self.frame.centre).zip(&query.from_centre);
        let key: f64 = match self.frame.metric {
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

/// Where a leading coordinate lies from the first of its row.
fn pair_of(at: usize) -> usize {
    at / 2 * 2 * ROWS + at % 2
}

fn weigh(values: &[f64], steps: &[f64]) -> Vec<f64> {
    values.iter().zip(steps).map(|(v, step)| v * step).collect()
}

fn length_of(values: &[f64]) -> f64 {
    eigen::dot(values, values).sqrt()
}

/// At least the value.
fn round_up(value: f64) -> f32 {
    (value * (1.0 + 1e-6)) as f32
}
