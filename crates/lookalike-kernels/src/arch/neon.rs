//! NEON: 4 lanes, 32 registers; every 64-bit ARM has it.

use crate::factors::SplitPairs;
use crate::vector::Vector;
use std::arch::aarch64::*;

/// A q register.
#[derive(Clone, Copy)]
pub(crate) struct Vector4(float32x4_t);

// SAFETY: loads and stores move 4 floats, the partial ones copy the first `count` through an array.
// NEON is part of the aarch64 baseline.
unsafe impl Vector for Vector4 {
    const LANES: usize = 4;
    const SUMS: usize = 28;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: NEON is there.
        Self(unsafe { vdupq_n_f32(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for 4 floats.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; 4];
        // SAFETY: the caller vouches for `count` floats, at most 4.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
            Self::load(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for 4 floats.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        let mut lanes = [0.0; 4];
        // SAFETY: the caller vouches for `count` floats, at most 4.
        unsafe {
            self.store(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: NEON is there.
        Self(unsafe { vfmaq_f32(sum.0, self.0, factor.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: NEON is there.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: NEON is there.
        Self(unsafe { vmaxq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        // SAFETY: NEON is there.
        unsafe { vaddvq_f32(self.0) }
    }
}

// SAFETY: reads 4 pairs of bf16; NEON is part of the aarch64 baseline.
unsafe impl SplitPairs for Vector4 {
    #[inline(always)]
    unsafe fn split(from: *const u16) -> [Self; 2] {
        // SAFETY: the caller vouches for 4 pairs. A bf16 is the upper half of a float.
        unsafe {
            let uint16x4x2_t(first, second) = vld2_u16(from);
            [first, second]
                .map(|halves| Self(vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(halves)))))
        }
    }
}
