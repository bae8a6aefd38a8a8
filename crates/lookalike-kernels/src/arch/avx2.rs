//! AVX2 with FMA: 8 lanes, 16 registers, masked moves for the tails.

use crate::factors::SplitPairs;
use crate::vector::Vector;
use std::arch::x86_64::*;

/// A ymm register.
#[derive(Clone, Copy)]
pub(crate) struct Vector8(pub(super) __m256);

/// All bits set in the first `count` lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn mask(count: usize) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
    }
}

// SAFETY: loads and stores move 8 floats, the masked ones the first `count`: masked-out lanes are
// not accessed. The methods are called only from functions that have AVX2 and FMA switched on.
unsafe impl Vector for Vector8 {
    const LANES: usize = 8;
    const SUMS: usize = 12;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has AVX2.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for 8 floats.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller vouches for `count` floats; the others are masked out.
        Self(unsafe { _mm256_maskload_ps(from, mask(count)) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for 8 floats.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        // SAFETY: the caller vouches for `count` floats; the others are masked out.
        unsafe { _mm256_maskstore_ps(to, mask(count), self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller has FMA.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller has AVX2.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the caller has AVX2.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        // SAFETY: the caller has AVX2.
        unsafe {
            let four = _mm_add_ps(
                _mm256_castps256_ps128(self.0),
                _mm256_extractf128_ps::<1>(self.0),
            );
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    unsafe fn totals(r: [Self; 8]) -> [f32; 8] {
        // SAFETY: the caller has AVX2; eight floats are written to an array of eight.
        unsafe {
            // Neighbours are added pairwise, three times: sums of four lanes, then the two halves.
            let fours = |a: Self, b: Self, c: Self, d: Self| {
                _mm256_hadd_ps(_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0))
            };
            let (low, high) = (fours(r[0], r[1], r[2], r[3]), fours(r[4], r[5], r[6], r[7]));
            let crossed = _mm256_permute2f128_ps::<0x21>(low, high);
            let straight = _mm256_blend_ps::<0xF0>(low, high);
            let mut totals = [0.0; 8];
            _mm256_storeu_ps(totals.as_mut_ptr(), _mm256_add_ps(crossed, straight));
            totals
        }
    }
}

// SAFETY: reads 8 pairs of 32 bits; called only where AVX2 is switched on.
unsafe impl SplitPairs for Vector8 {
    #[inline(always)]
    unsafe fn split(from: *const u16) -> [Self; 2] {
        // SAFETY: the caller vouches for 8 pairs. A bf16 is the upper half of a float.
        unsafe {
            let pairs = _mm256_loadu_si256(from.cast());
            let upper = _mm256_set1_epi32(!0xFFFF);
            [
                Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))),
                Self(_mm256_castsi256_ps(_mm256_and_si256(pairs, upper))),
            ]
        }
    }
}
