//! Comparing a query with every row, and those again that may be among the nearest.

use std::collections::BinaryHeap;

#[cfg(target_arch = "x86_64")]
use super::dots::{Avx2, Avx512};
use super::dots::{Dots, Portable, ROWS};
use super::{Quantised, Query};
use crate::shortlist::{Bound, Shortlist};

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

/// The first limit comes from all blocks that are as near as the nearest ones of so many groups,
/// and of one group more for so many rows wanted; but from no more than so many blocks for each.
const FIRST_GROUPS: usize = 16;
const WANTED_A_GROUP: usize = 16;
const MAX_FIRST_BLOCKS: usize = 16;
/// Rows that are gathered before they are compared again: what is kept of them is on its way to the
/// processor meanwhile.
const GATHERED: usize = 64;

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
    // SAFETY: the caller's promise is that of `half_gaps`.
    let bounds = unsafe { bounds_of_blocks::<D>(codes, query, admitted) };

    // What seems nearest first, so that little else has to be compared again.
    let mut least: Vec<f32> = Vec::with_capacity(bounds.len());
    for bounds in &bounds {
        // SAFETY: the caller's promise is that of `smallest`.
        least.push(unsafe { D::smallest(bounds) });
    }
    let first = FIRST_GROUPS + k / WANTED_A_GROUP;
    let near_enough = match first < least.len() {
        true => *least.select_nth_unstable_by(first, f32::total_cmp).1,
        false => f32::INFINITY,
    };
    // SAFETY: the caller's promise is that of `not_above`.
    let mut blocks = unsafe { blocks_within::<D>(&bounds, near_enough) };
    blocks.truncate(first * MAX_FIRST_BLOCKS);
    let mut seeming: BinaryHeap<(Bound, usize)> = BinaryHeap::new();
    let mut farthest = f32::INFINITY;
    for block in blocks {
        // SAFETY: the caller's promise is that of `dots`.
        let mut keys = unsafe { lower_bounds::<D>(codes, query, block, admitted) };
        // As if what leading coordinates leave out had no part in the distance.
        for (key, rest) in keys
            .iter_mut()
            .zip(&codes.rests.as_chunks::<ROWS>().0[block])
        {
            *key += query.rest * rest;
        }
        // SAFETY: the caller's promise is that of `not_above`.
        let mut rows = unsafe { D::not_above(&keys, farthest) };
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            rows &= rows - 1;
            if keys[row] < farthest {
                seeming.push((Bound(keys[row]), block * ROWS + row));
                if seeming.len() > k {
                    seeming.pop();
                }
                if seeming.len() == k
                    && let Some((Bound(key), _)) = seeming.peek()
                {
                    farthest = *key;
                }
            }
        }
    }
    let mut compared: Vec<usize> = seeming.into_iter().map(|(_, row)| row).collect();
    compared.sort_unstable();
    for &row in &compared {
        compare_again(codes, query, row, &mut list);
    }

    // SAFETY: the caller's promise is that of `not_above`.
    let blocks = unsafe { blocks_within::<D>(&bounds, list.limit) };
    let bounds = bounds.as_flattened();
    let mut near: Vec<(f32, usize)> = Vec::with_capacity(GATHERED + ROWS);
    for block in blocks {
        if bounds[block] > list.limit {
            continue;
        }
        // SAFETY: the caller's promise is that of `dots`.
        let lowers = unsafe { lower_bounds::<D>(codes, query, block, admitted) };
        // SAFETY: the caller's promise is that of `not_above`.
        let mut rows = unsafe { D::not_above(&lowers, list.limit) };
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            rows &= rows - 1;
            let (lower, row) = (lowers[row], block * ROWS + row);
            if lower != f32::INFINITY && compared.binary_search(&row).is_err() {
                D::prefetch(codes.fine_of(row));
                near.push((lower, row));
            }
        }
        if near.len() >= GATHERED {
            compare_all_again(codes, query, &mut near, &mut list);
        }
    }
    compare_all_again(codes, query, &mut near, &mut list);
    list
}

/// Blocks whose bounds are not above the limit.
///
/// # Safety
///
/// That of [`Dots::not_above`].
#[inline(always)]
unsafe fn blocks_within<D: Dots>(bounds: &[[f32; ROWS]], limit: f32) -> Vec<usize> {
    let mut blocks = Vec::with_capacity(bounds.len());
    for (group, bounds) in bounds.iter().enumerate() {
        // SAFETY: the caller's promise.
        let mut within = unsafe { D::not_above(bounds, limit) };
        while within != 0 {
            let block = within.trailing_zeros() as usize;
            within &= within - 1;
            if bounds[block] != f32::INFINITY {
                blocks.push(group * ROWS + block);
            }
        }
    }
    blocks
}

/// Lower bounds of the keys of each block's rows, by groups of blocks; infinite for blocks that
/// have none that are admitted.
///
/// # Safety
///
/// That of [`Dots::half_gaps`].
#[inline(always)]
unsafe fn bounds_of_blocks<D: Dots>(
    codes: &Quantised,
    query: &Query,
    admitted: Option<&[u64]>,
) -> Vec<[f32; ROWS]> {
    let blocks = codes.biases.len() / ROWS;
    let mut bounds = vec![[f32::NEG_INFINITY; ROWS]; blocks.div_ceil(ROWS)];
    if let (Some((quads, beside)), Some(boxes)) = (&query.boxes, &codes.boxes) {
        for (group, bounds) in bounds.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let gaps = unsafe { D::half_gaps(boxes.of_group(group), quads) };
            for (bound, gap) in bounds.iter_mut().zip(gaps) {
                *bound = gap + beside;
            }
        }
    }
    for (block, bound) in bounds.as_flattened_mut().iter_mut().enumerate() {
        if block >= blocks || admitted_of(admitted, block) == 0 {
            *bound = f32::INFINITY;
        }
    }
    bounds
}

/// A bit for each of a block's rows.
#[inline(always)]
fn admitted_of(admitted: Option<&[u64]>, block: usize) -> u16 {
    match admitted {
        Some(admitted) => (admitted[block / 4] >> (block % 4 * ROWS)) as u16,
        None => u16::MAX,
    }
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
    let admitted = admitted_of(admitted, block);
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
    if admitted != u16::MAX {
        for (row, lower) in lowers.iter_mut().enumerate() {
            if admitted >> row & 1 == 0 {
                *lower = f32::INFINITY;
            }
        }
    }
    lowers
}

/// Offers rows that are still near enough by their fine numbers.
#[inline(always)]
fn compare_all_again(
    codes: &Quantised,
    query: &Query,
    near: &mut Vec<(f32, usize)>,
    list: &mut Shortlist,
) {
    for (lower, row) in near.drain(..) {
        #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must be compared")]
        if !(lower > list.limit) {
            compare_again(codes, query, row, list);
        }
    }
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
