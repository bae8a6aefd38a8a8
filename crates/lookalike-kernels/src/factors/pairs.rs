//! Pairs of bf16, one pair to a lane, with instructions for them and without.

use super::round::{round, round_pairs, rounded};
use super::{Buffer, Factor, Factors, Kernel};
use crate::arch;
use crate::dispatch::InstructionSet;
use crate::precision::PairSet;
use crate::vector::Vector;

/// Factors rounded to bf16.
///
/// A pair is two numbers in memory, one behind the other ([`pair`] makes one of them). The
/// multiply-add treats denormals as zero, operands and results, and rounds after the second
/// number's product and after the first's.
pub(crate) struct Bf16;

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
pub(super) struct Split<V>([V; 2]);

// SAFETY: loads read what `Factors` says, partial ones through a zeroed array. `rounded` is safe
// code, and unsafe only because the trait's is.
unsafe impl<V: SplitPairs> Factors<Bf16> for Split<V> {
    type Sums = V;

    #[inline(always)]
    unsafe fn broadcast(from: *const u16) -> Self {
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
        // SAFETY: the caller has the set and vouches for `count` pairs, at most `LANES`, for which
        // the array has room.
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

    #[inline(always)]
    unsafe fn rounded(floats: [f32; 16]) -> [u16; 16] {
        let mut halves = [0; 16];
        for (half, float) in halves.iter_mut().zip(floats) {
            *half = rounded(float);
        }
        halves
    }
}

impl Factor for Bf16 {
    type Set = PairSet;
    type Element = u16;
    type Lane = u32;
    type Elements<'a> = Buffer<u16>;

    const PER_LANE: usize = 2;

    fn lanes(set: PairSet) -> usize {
        set.set().lanes()
    }

    fn run(set: PairSet, kernel: impl Kernel<Self>) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512bf16,avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn avx512_bf16(kernel: impl Kernel<Bf16>) {
            // SAFETY: the function has AVX-512 and AVX512-BF16 switched on.
            unsafe { kernel.run::<arch::avx512_bf16::Pairs16>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn avx512(kernel: impl Kernel<Bf16>) {
            // SAFETY: the function has AVX-512 switched on.
            unsafe { kernel.run::<Split<arch::avx512::Vector16>>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2(kernel: impl Kernel<Bf16>) {
            // SAFETY: the function has AVX2 and FMA switched on.
            unsafe { kernel.run::<Split<arch::avx2::Vector8>>() }
        }

        match set.set() {
            // SAFETY: a `PairSet` is native only where AVX512-BF16 and the set are there.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 if set.native() => unsafe { avx512_bf16(kernel) },
            // SAFETY: a set is only ever one of `InstructionSet::available`, so the features are
            // there.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: NEON is part of the aarch64 baseline.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => unsafe { kernel.run::<Split<arch::neon::Vector4>>() },
            // SAFETY: no instruction set is asked for.
            _ => unsafe { kernel.run::<Split<arch::portable::Portable>>() },
        }
    }

    fn elements(set: PairSet, floats: &[f32]) -> Buffer<u16> {
        let mut halves = Buffer::new(floats.len() + 1);
        halves[floats.len()] = 0;
        round(set, floats, &mut halves[..floats.len()]);
        halves
    }

    #[inline(always)]
    fn lane([first, second]: [f32; 2]) -> u32 {
        pair(rounded(first), rounded(second))
    }

    fn join(set: PairSet, [first, second]: [&[f32]; 2], lanes: &mut [u32]) {
        round_pairs(set, first, second, lanes);
    }

    fn join_filled(
        set: PairSet,
        room: &mut [f32],
        lanes: &mut [u32],
        mut fill: impl FnMut(usize, &mut [f32]),
    ) {
        let (first, second) = room[..2 * lanes.len()].split_at_mut(lanes.len());
        fill(0, first);
        fill(1, second);
        round_pairs(set, first, second, lanes);
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
