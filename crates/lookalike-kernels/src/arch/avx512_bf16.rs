//! AVX512-BF16: 32 bf16 to a register, multiplied and added up by pairs.

use super::avx512::Vector16;
use crate::factors::{Bf16, Factors};
use std::arch::x86_64::*;

/// A zmm register of pairs.
#[derive(Clone, Copy)]
pub(crate) struct Pairs16(__m512i);

impl Pairs16 {
    #[inline(always)]
    fn halves(self) -> __m512bh {
        // SAFETY: both are 64 bytes of plain bits.
        unsafe { std::mem::transmute(self.0) }
    }
}

// SAFETY: loads read 16 pairs of 32 bits, the masked ones the first `count`: masked-out lanes are
// not accessed. The methods are called only from functions that have AVX-512 and AVX512-BF16
// switched on.
unsafe impl Factors<Bf16> for Pairs16 {
    type Sums = Vector16;

    #[inline(always)]
    unsafe fn broadcast(from: *const u16) -> Self {
        // SAFETY: the caller has AVX-512 and vouches for two numbers, of any alignment.
        Self(unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) })
    }

    #[inline(always)]
    unsafe fn load(from: *const u16) -> Self {
        // SAFETY: the caller vouches for 16 pairs.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const u16, count: usize) -> Self {
        let mask = ((1u32 << count) - 1) as __mmask16;
        // SAFETY: the caller vouches for `count` pairs; the others are masked out.
        Self(unsafe { _mm512_maskz_loadu_epi32(mask, from.cast()) })
    }

    #[inline(always)]
    unsafe fn multiply_add(self, other: Self, sums: Vector16) -> Vector16 {
        // SAFETY: the caller has AVX512-BF16.
        Vector16(unsafe { _mm512_dpbf16_ps(sums.0, self.halves(), other.halves()) })
    }

    #[inline(always)]
    unsafe fn rounded(floats: [f32; 16]) -> [u16; 16] {
        // SAFETY: the caller has AVX512-BF16; sixteen floats are read from an array of sixteen, and
        // the result is as large as an array of sixteen bf16.
        unsafe { std::mem::transmute(_mm512_cvtneps_pbh(_mm512_loadu_ps(floats.as_ptr()))) }
    }
}
