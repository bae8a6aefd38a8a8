//! AVX-512: 16 lanes, 32 registers, masks for the tails.

use super::avx2::Vector8;
use crate::factors::SplitPairs;
use crate::vector::Vector;
use std::arch::x86_64::*;

/// A zmm register.
#[derive(Clone, Copy)]
pub(crate) struct Vector16(pub(super) __m512);

#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

// SAFETY: loads and stores move 16 floats, the masked ones the first `count`: masked-out lanes are
// not accessed. The methods are called only from functions that have AVX-512 switched on.
unsafe impl Vector for Vector16 {
    const LANES: usize = 16;
    const SUMS: usize = 28;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has AVX-512.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for 16 floats.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller vouches for `count` floats; the others are masked out.
        Self(unsafe { _mm512_maskz_loadu_ps(mask(count), from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for 16 floats.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        // SAFETY: the caller vouches for `count` floats; the others are masked out.
        unsafe { _mm512_mask_storeu_ps(to, mask(count), self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller has AVX-512.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller has AVX-512.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the caller has AVX-512.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }

    #[inline(always)]
    unsafe fn totals(registers: [Self; 8]) -> [f32; 8] {
        // SAFETY: the caller has AVX-512, of which AVX2 is a part.
        unsafe {
            let mut halves = [Vector8::splat(0.0); 8];
            for (half, register) in halves.iter_mut().zip(registers) {
                let high = _mm512_extractf32x8_ps::<1>(register.0);
                *half = Vector8(_mm256_add_ps(_mm512_castps512_ps256(register.0), high));
            }
            Vector8::totals(halves)
        }
    }
}

// SAFETY: reads 16 pairs of 32 bits; called only where AVX-512 is switched on.
unsafe impl SplitPairs for Vector16 {
    #[inline(always)]
    unsafe fn split(from: *const u16) -> [Self; 2] {
        // SAFETY: the caller vouches for 16 pairs. A bf16 is the upper half of a float.
        unsafe {
            let pairs = _mm512_loadu_si512(from.cast());
            let upper = _mm512_set1_epi32(!0xFFFF);
            [
                Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs))),
                Self(_mm512_castsi512_ps(_mm512_and_si512(pairs, upper))),
            ]
        }
    }
}
