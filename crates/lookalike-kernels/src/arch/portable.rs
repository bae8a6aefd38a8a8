//! Plain Rust: eight floats in an array, which the compiler puts where it can.

// Lane by lane, which the compiler makes vectors of.
#![allow(clippy::needless_range_loop)]

use crate::factors::{SplitPairs, widened};
use crate::vector::Vector;

/// Eight floats.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

// SAFETY: loads and stores move 8 floats, the partial ones the first `count`. No instruction set is
// asked for: methods without pointers are safe code, and unsafe only because the trait's are.
unsafe impl Vector for Portable {
    const LANES: usize = 8;
    const SUMS: usize = 6;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for 8 floats; an array of floats has the alignment of one.
        Self(unsafe { *from.cast::<[f32; 8]>() })
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; 8];
        // SAFETY: the caller vouches for `count` floats, at most 8.
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count) };
        Self(lanes)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for 8 floats; an array of floats has the alignment of one.
        unsafe { *to.cast::<[f32; 8]>() = self.0 };
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        // SAFETY: the caller vouches for `count` floats, at most 8.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), to, count) };
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // Not `f32::mul_add`: without the instruction that is a call into the mathematics library.
        let mut out = sum.0;
        for lane in 0..8 {
            out[lane] += self.0[lane] * factor.0[lane];
        }
        Self(out)
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let mut out = self.0;
        for lane in 0..8 {
            out[lane] += other.0[lane];
        }
        Self(out)
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        let mut out = self.0;
        for lane in 0..8 {
            out[lane] = if out[lane] > other.0[lane] {
                out[lane]
            } else {
                other.0[lane]
            };
        }
        Self(out)
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        self.0.iter().sum()
    }
}

// SAFETY: reads 8 pairs; no instruction set is asked for.
unsafe impl SplitPairs for Portable {
    #[inline(always)]
    unsafe fn split(from: *const u16) -> [Self; 2] {
        // SAFETY: the caller vouches for 8 pairs; an array of numbers has the alignment of one.
        let pairs = unsafe { *from.cast::<[[u16; 2]; 8]>() };
        [0, 1].map(|which| Self(pairs.map(|pair| widened(pair[which]))))
    }
}
