//! Comparing a query with every row, and keeping those that may be among the nearest.

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
    let (size, error) = (codes.block(), query.coarse_error);
    let biases = codes.biases.as_chunks::<ROWS>().0;
    for (block, biases) in biases.iter().enumerate() {
        let mask = match admitted {
            Some(admitted) => (admitted[block / 4] >> (block % 4 * ROWS)) as u16,
            None => u16::MAX,
        };
        if mask == 0 {
            continue;
        }
        let numbers = &codes.coarse[block * size..(block + 1) * size];
        // SAFETY: the caller's promise is that of `dots`.
        let dots = unsafe { D::dots(numbers, &query.pairs) };
        let keys: [f32; ROWS] =
            std::array::from_fn(|row| biases[row] - query.unit * dots[row] as f32);
        // One look at all of them, because most codes are far from most queries.
        let may = keys.map(|key| key - error <= list.limit);
        if !may.iter().fold(false, |any, &may| any | may) {
            continue;
        }
        for (row, key) in keys.into_iter().enumerate() {
            if mask >> row & 1 == 1 && key < f32::INFINITY {
                list.offer(block * ROWS + row, key - error, key + error, None);
            }
        }
    }
    let mut again = Shortlist::new(k);
    for row in list.into_candidates() {
        let fine = &codes.fine[row * codes.dims..(row + 1) * codes.dims];
        let key = codes.biases[row] - product(fine, &query.weights);
        again.offer(row, key - query.fine_error, key + query.fine_error, None);
    }
    again
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
