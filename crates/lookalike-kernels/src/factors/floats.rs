//! Floats as they are, one to a lane.

use super::{Factor, Factors, Kernel};
use crate::arch;
use crate::dispatch::InstructionSet;
use crate::vector::Vector;

/// Factors in `f32`.
pub(crate) struct F32;

/// A register of floats.
#[derive(Clone, Copy)]
struct Floats<V>(V);

// SAFETY: reads what `Factors` says, through the vector type. `rounded` is safe code, and unsafe
// only because the trait's is.
unsafe impl<V: Vector> Factors<F32> for Floats<V> {
    type Sums = V;

    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> Self {
        // SAFETY: the caller has the set and vouches for a float.
        Self(unsafe { V::splat(*from) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has the set and vouches for `LANES` floats.
        Self(unsafe { V::load(from) })
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller has the set and vouches for `count` floats, at most `LANES`.
        Self(unsafe { V::load_partial(from, count) })
    }

    #[inline(always)]
    unsafe fn multiply_add(self, other: Self, sums: V) -> V {
        // SAFETY: the caller has the set.
        unsafe { self.0.multiply_add(other.0, sums) }
    }

    #[inline(always)]
    unsafe fn rounded(floats: [f32; 16]) -> [f32; 16] {
        floats
    }
}

impl Factor for F32 {
    type Set = InstructionSet;
    type Element = f32;
    type Lane = f32;
    type Elements<'a> = &'a [f32];

    const PER_LANE: usize = 1;

    fn lanes(set: InstructionSet) -> usize {
        set.lanes()
    }

    fn run(set: InstructionSet, kernel: impl Kernel<Self>) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn avx512(kernel: impl Kernel<F32>) {
            // SAFETY: the function has AVX-512 switched on.
            unsafe { kernel.run::<Floats<arch::avx512::Vector16>>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2(kernel: impl Kernel<F32>) {
            // SAFETY: the function has AVX2 and FMA switched on.
            unsafe { kernel.run::<Floats<arch::avx2::Vector8>>() }
        }

        match set {
            // SAFETY: a set is only ever one of `InstructionSet::available`, so the features are
            // there.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: NEON is part of the aarch64 baseline.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => unsafe { kernel.run::<Floats<arch::neon::Vector4>>() },
            // SAFETY: no instruction set is asked for.
            _ => unsafe { kernel.run::<Floats<arch::portable::Portable>>() },
        }
    }

    fn elements(_set: InstructionSet, floats: &[f32]) -> &[f32] {
        floats
    }

    #[inline(always)]
    fn lane([float, _]: [f32; 2]) -> f32 {
        float
    }

    fn join(_set: InstructionSet, [row, _]: [&[f32]; 2], lanes: &mut [f32]) {
        lanes.copy_from_slice(row);
    }

    fn join_filled(
        _set: InstructionSet,
        _room: &mut [f32],
        lanes: &mut [f32],
        mut fill: impl FnMut(usize, &mut [f32]),
    ) {
        fill(0, lanes);
    }
}
