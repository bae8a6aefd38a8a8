//! What a kernel asks of an instruction set that multiplies bf16 by pairs, and how any set can.

use super::rounded;
use crate::vector::Vector;

/// A register full of pairs of bf16, one pair to each lane of a register of sums.
///
/// A pair is two numbers in memory, one behind the other ([`pair`] makes one of them). The multiply-add
/// treats denormals as zero, operands and results, and rounds after the second number's product and after
/// the first's.
///
/// # Safety
///
/// As for [`Vector`]: every method may only be called where the instruction set is there, and they
/// touch the numbers that they name and no more.
pub(crate) unsafe trait Pairs: Copy {
    /// The sums' register.
    type Sums: Vector;

    /// All lanes the pair at `from`, which need be aligned to a bf16 only.
    unsafe fn splat(from: *const u16) -> Self;
    /// Reads `LANES` pairs.
    unsafe fn load(from: *const u16) -> Self;
    /// Reads `count` pairs, at most `LANES`; the other lanes are zero.
    unsafe fn load_partial(from: *const u16, count: usize) -> Self;
    /// sums + first · first + second · second.
    unsafe fn multiply_add(self, other: Self, sums: Self::Sums) -> Self::Sums;
    /// [`rounded`], sixteen at a time.
    #[inline(always)]
    unsafe fn rounded(values: [f32; 16]) -> [u16; 16] {
        let mut halves = [0; 16];
        for (half, value) in halves.iter_mut().zip(values) {
            *half = rounded(value);
        }
        halves
    }
}

/// A register type that can take pairs apart.
///
/// # Safety
///
/// As for [`Vector`].
pub(crate) unsafe trait SplitPairs: Vector {
    /// Reads `LANES` pairs and gives their first numbers and their second ones, as floats.
    unsafe fn split(from: *const u16) -> [Self; 2];
}

/// Pairs as two registers of floats, for sets without instructions for bf16: the same sums, at two
/// multiply-adds instead of one.
#[derive(Clone, Copy)]
pub(crate) struct Split<V>([V; 2]);

// SAFETY: loads read what `Pairs` says, partial ones through a zeroed array.
unsafe impl<V: SplitPairs> Pairs for Split<V> {
    type Sums = V;

    #[inline(always)]
    unsafe fn splat(from: *const u16) -> Self {
        // SAFETY: the caller has the set and vouches for two numbers.
        Self(unsafe { [V::splat(widened(*from)), V::splat(widened(*from.add(1)))] })
    }

    #[inline(always)]
    unsafe fn load(from: *const u16) -> Self {
        // SAFETY: the caller has the set and vouches for `LANES` pairs.
        Self(unsafe { V::split(from) })
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const u16, count: usize) -> Self {
        let mut pairs = [0u16; 2 * 16];
        const { assert!(V::LANES <= 16) };
        // SAFETY: the caller has the set and vouches for `count` pairs, at most `LANES`, for which the
        // array has room.
        unsafe {
            std::ptr::copy_nonoverlapping(from, pairs.as_mut_ptr(), 2 * count);
            Self(V::split(pairs.as_ptr()))
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, other: Self, sums: V) -> V {
        // SAFETY: the caller has the set.
        unsafe {
            let sums = self.0[1].multiply_add(other.0[1], sums);
            self.0[0].multiply_add(other.0[0], sums)
        }
    }
}

/// A bf16 as a float: its bits are the upper half of the float's.
#[inline(always)]
pub(crate) fn widened(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// Two bf16 that lie in memory as an array of them would.
#[inline(always)]
pub(super) fn pair(first: u16, second: u16) -> u32 {
    let (low, high) = if cfg!(target_endian = "little") {
        (first, second)
    } else {
        (second, first)
    };
    u32::from(low) | u32::from(high) << 16
}
