//! From `f32` to bf16.

use super::pairs::pair;
use super::{Bf16, Factor, Factors, Kernel};
use crate::precision::PairSet;

/// The nearest bf16, the even one of two; denormals become zero with their sign, a NaN a quiet NaN.
///
/// That is what the instruction of AVX512-BF16 does, so all sets agree to the bit.
#[inline(always)]
pub(crate) fn rounded(value: f32) -> u16 {
    const INFINITE: u32 = 0x7F80_0000;
    const QUIET: u32 = 0x40;
    let bits = value.to_bits();
    let magnitude = bits & 0x7FFF_FFFF;
    // Half of the last place, less a little if the kept bits are even: then a tie is not carried.
    let nearest = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    let nearest = if magnitude > INFINITE {
        bits >> 16 | QUIET
    } else {
        nearest
    };
    let nearest = if magnitude < f32::MIN_POSITIVE.to_bits() {
        bits >> 16 & 0x8000
    } else {
        nearest
    };
    nearest as u16
}

/// What one instruction rounds.
const BLOCK: usize = 16;

/// The numbers from `at` on, `count` of them, and zeros.
#[inline(always)]
fn block(values: &[f32], at: usize, count: usize) -> [f32; BLOCK] {
    let mut block = [0.0; BLOCK];
    block[..count].copy_from_slice(&values[at..][..count]);
    block
}

/// Rounds floats; both slices are of one length.
pub(crate) fn round(set: PairSet, values: &[f32], out: &mut [u16]) {
    Bf16::run(set, Round { values, out });
}

struct Round<'a> {
    values: &'a [f32],
    out: &'a mut [u16],
}

impl Kernel<Bf16> for Round<'_> {
    #[inline(always)]
    unsafe fn run<F: Factors<Bf16>>(self) {
        let Self { values, out } = self;
        assert_eq!(values.len(), out.len(), "rounding: length of the result");
        let mut at = 0;
        while at < out.len() {
            // A constant length where it can be: then nothing is copied.
            if out.len() >= BLOCK {
                // The last block goes back over numbers done already.
                at = at.min(out.len() - BLOCK);
                // SAFETY: the caller has the set.
                let halves = unsafe { F::rounded(block(values, at, BLOCK)) };
                out[at..][..BLOCK].copy_from_slice(&halves);
            } else {
                // SAFETY: the caller has the set.
                let halves = unsafe { F::rounded(block(values, 0, out.len())) };
                out.copy_from_slice(&halves[..out.len()]);
            }
            at += BLOCK;
        }
    }
}

/// Rounds two rows of floats into pairs; all three slices are of one length.
pub(crate) fn round_pairs(set: PairSet, first: &[f32], second: &[f32], out: &mut [u32]) {
    Bf16::run(set, RoundPairs { first, second, out });
}

struct RoundPairs<'a> {
    first: &'a [f32],
    second: &'a [f32],
    out: &'a mut [u32],
}

impl Kernel<Bf16> for RoundPairs<'_> {
    #[inline(always)]
    unsafe fn run<F: Factors<Bf16>>(self) {
        let Self { first, second, out } = self;
        assert_eq!(
            first.len(),
            out.len(),
            "rounding pairs: length of the result"
        );
        assert_eq!(
            first.len(),
            second.len(),
            "rounding pairs: length of the second half"
        );
        let mut at = 0;
        while at < out.len() {
            let count = out.len().min(BLOCK);
            at = at.min(out.len() - count);
            let blocks = if count == BLOCK {
                [first, second].map(|values| block(values, at, BLOCK))
            } else {
                [first, second].map(|values| block(values, at, count))
            };
            // SAFETY: the caller has the set.
            let [firsts, seconds] = unsafe { [F::rounded(blocks[0]), F::rounded(blocks[1])] };
            let mut pairs = [0; BLOCK];
            for (to, (first, second)) in pairs.iter_mut().zip(firsts.into_iter().zip(seconds)) {
                *to = pair(first, second);
            }
            if count == BLOCK {
                out[at..][..BLOCK].copy_from_slice(&pairs);
            } else {
                out.copy_from_slice(&pairs[..count]);
            }
            at += BLOCK;
        }
    }
}
