//! Comparing a query with every row, and those again that may be among the nearest.

#[cfg(target_arch = "x86_64")]
use super::dots::{Avx2, Avx512};
use super::dots::{Dots, Portable, ROWS};
use super::{Quantised, Query};
use crate::shortlist::Shortlist;

/// The candidates among the rows of the blocks.
pub(super) fn shortlist(
    codes: &Quantised,
    query: &Query,
    k: usize,
    admitted: Option<&[u64]>,
) -> Shortlist {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
        {
            // SAFETY: the processor has all three, checked on the lines above.
            return unsafe { scan_avx512(codes, query, k, admitted) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, checked on the line above.
            return unsafe { scan_avx2(codes, query, k, admitted) };
        }
    }
    // SAFETY: any processor has what this needs.
    unsafe { scan::<Portable>(codes, query, k, admitted) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn scan_avx512(codes: &Quantised, query: &Query, k: usize, admitted: Option<&[u64]>) -> Shortlist {
    // SAFETY: compiled for these, and so is whoever calls this.
    unsafe { scan::<Avx512>(codes, query, k, admitted) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scan_avx2(codes: &Quantised, query: &Query, k: usize, admitted: Option<&[u64]>) -> Shortlist {
    // SAFETY: compiled for AVX2, and so is whoever calls this.
    unsafe { scan::<Avx2>(codes, query, k, admitted) }
}

/// Blocks that are scanned before rows are compared again: what is written down of them stays in
/// the processor's innermost caches.
const CHUNK: usize = 512;

/// # Safety
///
/// That of [`Dots::dots`].
#[inline(always)]
unsafe fn scan<D: Dots>(
    codes: &Quantised,
    query: &Query,
    k: usize,
    admitted: Option<&[u64]>,
) -> Shortlist {
    let mut list = Shortlist::new(k);
    let blocks = codes.biases.len() / ROWS;
    let mut lowers = [[0.0f32; ROWS]; CHUNK];
    let mut near: Vec<(f32, usize)> = Vec::new();
    for first in (0..blocks).step_by(CHUNK) {
        let lowers = &mut lowers[..CHUNK.min(blocks - first)];
        for (block, lowers) in (first..).zip(&mut *lowers) {
            // SAFETY: the caller's promise is that of `dots`.
            *lowers = unsafe { lower_bounds::<D>(codes, query, block, admitted) };
        }
        if list.limit == f32::INFINITY {
            // What seems nearest first, so that little else has to be compared again.
            // SAFETY: as above.
            let seeming = unsafe { seeming_nearest::<D>(codes, query, first, lowers, k) };
            for (block, row) in seeming {
                compare_again(codes, query, (first + block) * ROWS + row, &mut list);
                lowers[block][row] = f32::INFINITY;
            }
        }
        for (block, lowers) in (first..).zip(&*lowers) {
            // SAFETY: as above.
            let mut bits = unsafe { D::not_above(lowers, list.limit) };
            while bits != 0 {
                let row = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if lowers[row] != f32::INFINITY {
                    D::prefetch(codes.fine_of(block * ROWS + row));
                    near.push((lowers[row], block * ROWS + row));
                }
            }
        }
        for (lower, row) in near.drain(..) {
            #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must be compared")]
            if !(lower > list.limit) {
                compare_again(codes, query, row, &mut list);
            }
        }
    }
    list
}

/// Lower bounds of the keys of a block's rows; infinite for rows that are not admitted.
///
/// # Safety
///
/// That of [`Dots::dots`].
#[inline(always)]
unsafe fn lower_bounds<D: Dots>(
    codes: &Quantised,
    query: &Query,
    block: usize,
    admitted: Option<&[u64]>,
) -> [f32; ROWS] {
    let mask = match admitted {
        Some(admitted) => (admitted[block / 4] >> (block % 4 * ROWS)) as u16,
        None => u16::MAX,
    };
    if mask == 0 {
        return [f32::INFINITY; ROWS];
    }
    let size = codes.block();
    let numbers = &codes.coarse[block * size..(block + 1) * size];
    // SAFETY: the caller's promise is that of `dots`.
    let dots = unsafe { D::dots(numbers, &query.pairs) };
    let biases = &codes.biases.as_chunks::<ROWS>().0[block];
    let rests = &codes.rests.as_chunks::<ROWS>().0[block];
    let mut lowers = [0.0; ROWS];
    for row in 0..ROWS {
        let error = query.coarse_error + query.rest * rests[row];
        lowers[row] = biases[row] - query.unit * dots[row] as f32 - error;
    }
    if mask != u16::MAX {
        for (row, lower) in lowers.iter_mut().enumerate() {
            if mask >> row & 1 == 0 {
                *lower = f32::INFINITY;
            }
        }
    }
    lowers
}

/// Of the blocks from `first` on, the places of those rows, at most one of a block, whose keys are
/// the smallest if what leading coordinates leave out has no part in them.
///
/// # Safety
///
/// That of [`Dots::smallest`].
#[inline(always)]
unsafe fn seeming_nearest<D: Dots>(
    codes: &Quantised,
    query: &Query,
    first: usize,
    lowers: &[[f32; ROWS]],
    count: usize,
) -> Vec<(usize, usize)> {
    let rests = &codes.rests.as_chunks::<ROWS>().0[first..];
    let keys = |block: usize| {
        let mut keys = lowers[block];
        for (key, rest) in keys.iter_mut().zip(&rests[block]) {
            *key += query.rest * rest;
        }
        keys
    };
    let mut least: Vec<(f32, usize)> = Vec::with_capacity(lowers.len());
    for block in 0..lowers.len() {
        // SAFETY: the caller's promise is that of `smallest`.
        least.push((unsafe { D::smallest(&keys(block)) }, block));
    }
    if count < least.len() {
        least.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0));
        least.truncate(count);
    }
    let place = |(key, block): (f32, usize)| {
        let row = keys(block).iter().position(|&other| other == key);
        row.filter(|_| key < f32::INFINITY).map(|row| (block, row))
    };
    least.into_iter().filter_map(place).collect()
}

/// Offers a row by its fine numbers.
#[inline(always)]
fn compare_again(codes: &Quantised, query: &Query, row: usize, list: &mut Shortlist) {
    let key = codes.biases[row] - product(codes.fine_of(row), &query.weights);
    list.offer(row, key - query.fine_error, key + query.fine_error, None);
}

/// Sixteen running sums, because a single one could not be vectorised.
#[inline(always)]
fn product(numbers: &[i16], weights: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (numbers, numbers_left) = numbers.as_chunks::<LANES>();
    let (weights, weights_left) = weights.as_chunks::<LANES>();
    for (numbers, weights) in numbers.iter().zip(weights) {
        for lane in 0..LANES {
            sums[lane] += f32::from(numbers[lane]) * weights[lane];
        }
    }
    let left = numbers_left.iter().zip(weights_left);
    let left: f32 = left
        .map(|(&number, weight)| f32::from(number) * weight)
        .sum();
    sums.iter().sum::<f32>() + left
}
