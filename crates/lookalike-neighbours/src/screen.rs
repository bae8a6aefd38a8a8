//! Fast, slightly inexact keys that order a gallery by distance, with a proven bound on their
//! error, so that the few candidates worth an exact distance can be told apart from the rest.
//!
//! Every key comes from a sum of `dims` rounded `f32` terms. Whatever the order of summation, such
//! a sum of `x_i y_i` is within `γ |x| |y|` of the true one, where `γ = d u / (1 - d u)` and
//! `u = 2^-24` (Higham, *Accuracy and Stability of Numerical Algorithms*, 3.1). The slack of 16
//! roundings added to `d` covers the rest: centring or normalising the rows, rounding their norms,
//! the additions around the product, and the final rounding of exact distances to `f32`, which
//! can turn a difference into a tie.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::metric::dot;
use crate::pairwise::{absolute_differences, inner_products};
use crate::{Codes, Metric};

/// Keys whose error is asked for at once.
pub(crate) const TOGETHER: usize = 32;

/// Rows made ready for keys: centred for Euclidean, normalised for cosine, as they are otherwise.
pub(crate) struct Rows<'a> {
    data: Cow<'a, [f32]>,
    /// Length of each row as it lies in `data`.
    norms: Vec<f32>,
    dims: usize,
}

/// A gallery, ready to be compared with blocks of queries.
pub(crate) struct Screen<'a> {
    metric: Metric,
    gallery: Rows<'a>,
    centre: Vec<f64>,
    /// Relative error of a sum over the dimensions.
    gamma: f32,
    /// Absolute error from terms too small for `f32`.
    underflow: f32,
}

impl<'a> Screen<'a> {
    pub(crate) fn new(gallery: Codes<'a>, metric: Metric) -> Self {
        Self::of_data(Cow::Borrowed(gallery.data()), gallery.dims(), metric)
    }

    fn of_data(data: Cow<'a, [f32]>, dims: usize, metric: Metric) -> Self {
        let unit = f64::from(f32::EPSILON) / 2.0;
        let sum = (dims + 16) as f64 * unit;
        let centre = match metric {
            // Distances do not change when all codes move together, but the rounding error of
            // their products shrinks with the length of the codes.
            Metric::Euclidean => Codes::from_rows(&data, dims).mean(),
            _ => Vec::new(),
        };
        Self {
            metric,
            gallery: Rows::new(data, dims, metric, &centre),
            centre,
            gamma: (sum / (1.0 - sum).max(0.5)) as f32,
            underflow: (dims + 16) as f32 * 4.0 * f32::MIN_POSITIVE,
        }
    }

    pub(crate) fn prepare<'q>(&self, queries: Codes<'q>) -> Rows<'q> {
        let data = Cow::Borrowed(queries.data());
        Rows::new(data, queries.dims(), self.metric, &self.centre)
    }

    pub(crate) fn len(&self) -> usize {
        self.gallery.norms.len()
    }

    /// Writes the keys of gallery codes `start..end` to `out`, one row per query.
    ///
    /// A key is the distance, or for Euclidean its square.
    pub(crate) fn keys(&self, queries: &Rows, start: usize, end: usize, out: &mut [f32]) {
        let gallery = self.gallery.codes().rows(start, end);
        if self.metric == Metric::Manhattan {
            return absolute_differences(queries.codes(), gallery, out);
        }
        inner_products(queries.codes(), gallery, out);
        let norms = &self.gallery.norms[start..end];
        for (row, &length) in out.chunks_exact_mut(norms.len().max(1)).zip(&queries.norms) {
            distances(self.metric, length, norms, row);
        }
    }

    /// How far the keys of the gallery codes from `first` on may be from the truth; at most
    /// [`TOGETHER`] of them. A bound can be infinite or NaN when codes are too long for `f32`.
    #[inline(always)]
    pub(crate) fn errors(&self, query_norm: f32, first: usize, keys: &[f32]) -> [f32; TOGETHER] {
        let norms = &self.gallery.norms[first..first + keys.len()];
        let mut errors = [0.0; TOGETHER];
        for (error, (&norm, &key)) in errors.iter_mut().zip(norms.iter().zip(keys)) {
            let relative = match self.metric {
                Metric::Cosine => 2.0,
                Metric::Euclidean => (query_norm + norm) * (query_norm + norm),
                Metric::Dot => query_norm * norm,
                Metric::Manhattan => key,
            };
            *error = self.gamma * relative + self.underflow;
        }
        errors
    }

    /// The distance that a key stands for.
    #[inline(always)]
    pub(crate) fn distance(&self, key: f32) -> f32 {
        match self.metric {
            Metric::Euclidean => key.max(0.0).sqrt(),
            _ => key,
        }
    }
}

impl Screen<'static> {
    /// Of rows of its own.
    pub(crate) fn of_rows(data: Vec<f32>, dims: usize, metric: Metric) -> Self {
        Self::of_data(Cow::Owned(data), dims, metric)
    }
}

impl<'a> Rows<'a> {
    fn new(mut data: Cow<'a, [f32]>, dims: usize, metric: Metric, centre: &[f64]) -> Self {
        match metric {
            Metric::Euclidean => data.to_mut().par_chunks_mut(dims).for_each(|row| {
                for (value, middle) in row.iter_mut().zip(centre) {
                    *value = (f64::from(*value) - middle) as f32;
                }
            }),
            Metric::Cosine => data.to_mut().par_chunks_mut(dims).for_each(|row| {
                let norm = dot(row, row).sqrt();
                if norm > 0.0 {
                    for value in row {
                        *value = (f64::from(*value) / norm) as f32;
                    }
                }
            }),
            Metric::Dot | Metric::Manhattan => {}
        }
        let norms = match metric {
            // Not used: cosine's rows have length 1 or 0, and L1 has its own bound.
            Metric::Cosine | Metric::Manhattan => vec![1.0; data.len() / dims],
            _ => data
                .par_chunks(dims)
                .map(|row| dot(row, row).sqrt() as f32)
                .collect(),
        };
        Self { data, norms, dims }
    }

    pub(crate) fn norm(&self, row: usize) -> f32 {
        self.norms[row]
    }

    fn codes(&self) -> Codes<'_> {
        Codes::from_rows(&self.data, self.dims)
    }
}

/// Turns a query's inner products into keys; the query has the length `length`, the codes `norms`.
fn distances(metric: Metric, length: f32, norms: &[f32], row: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, checked on the line above.
            return unsafe { distances_avx512(metric, length, norms, row) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, checked on the line above.
            return unsafe { distances_avx2(metric, length, norms, row) };
        }
    }
    distances_any(metric, length, norms, row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn distances_avx512(metric: Metric, length: f32, norms: &[f32], row: &mut [f32]) {
    distances_any(metric, length, norms, row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn distances_avx2(metric: Metric, length: f32, norms: &[f32], row: &mut [f32]) {
    distances_any(metric, length, norms, row);
}

#[inline(always)]
fn distances_any(metric: Metric, length: f32, norms: &[f32], row: &mut [f32]) {
    match metric {
        Metric::Cosine => row.iter_mut().for_each(|key| *key = 1.0 - *key),
        Metric::Dot => row.iter_mut().for_each(|key| *key = -*key),
        _ => {
            let square = length * length;
            for (key, &norm) in row.iter_mut().zip(norms) {
                *key = (square + norm * norm) - 2.0 * *key;
            }
        }
    }
}
