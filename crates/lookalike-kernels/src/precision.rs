//! In which numbers products are made, decided once.

use crate::dispatch::InstructionSet;

/// What the factors of a layer's products are.
///
/// Inputs, outputs, weights and gradients are `f32` in either case, and so are the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Factors as they are.
    #[default]
    F32,
    /// Factors rounded to bf16: the exponents of `f32`, 8 bits of significand instead of 24. Twice
    /// the multiply-adds in an instruction where [`has_bf16`]; slower than [`F32`](Self::F32)
    /// elsewhere.
    Bf16,
}

/// Whether the processor multiplies bf16 itself: AVX512-BF16 is there and AVX-512 is in use.
pub fn has_bf16() -> bool {
    PairSet::in_use().native()
}

/// Whether products of bf16 are faster than those of `f32` here.
///
/// They are on AMD's processors from Zen 4 on, which multiply pairs of bf16 as often as single
/// `f32`. Intel's do so half as often, which leaves what rounding the factors costs: training
/// takes a quarter longer on a Sapphire Rapids. The processor alone decides, and no measurement, so
/// that a seed gives the same model in every run.
pub fn bf16_pays() -> bool {
    has_bf16() && is_amd()
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    name.as_flattened() == b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

/// An instruction set, and whether it multiplies pairs of bf16 itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PairSet {
    set: InstructionSet,
    /// Only ever true for [`InstructionSet::Avx512`] on a processor with AVX512-BF16.
    native: bool,
}

impl PairSet {
    /// The best for an instruction set.
    pub(crate) fn of(set: InstructionSet) -> Self {
        #[cfg(target_arch = "x86_64")]
        let native = set == InstructionSet::Avx512 && is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let native = false;
        Self { set, native }
    }

    pub(crate) fn in_use() -> Self {
        Self::of(InstructionSet::in_use())
    }

    /// Every one that this processor has.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        for set in InstructionSet::available() {
            let best = Self::of(set);
            all.push(best);
            if best.native {
                all.push(Self {
                    native: false,
                    ..best
                });
            }
        }
        all
    }

    pub(crate) fn set(self) -> InstructionSet {
        self.set
    }

    pub(crate) fn native(self) -> bool {
        self.native
    }
}

/// A precision, and the instruction set that works in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    F32(InstructionSet),
    Bf16(PairSet),
}

impl Arithmetic {
    /// On the set in use.
    pub(crate) fn in_use(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32(InstructionSet::in_use()),
            Precision::Bf16 => Self::Bf16(PairSet::in_use()),
        }
    }

    /// Every one that this processor has.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let floats = InstructionSet::available().into_iter().map(Self::F32);
        let pairs = PairSet::available().into_iter().map(Self::Bf16);
        floats.chain(pairs).collect()
    }

    /// For everything that is done in `f32`.
    pub(crate) fn set(self) -> InstructionSet {
        match self {
            Self::F32(set) => set,
            Self::Bf16(set) => set.set(),
        }
    }
}

impl From<InstructionSet> for Arithmetic {
    fn from(set: InstructionSet) -> Self {
        Self::F32(set)
    }
}

impl From<PairSet> for Arithmetic {
    fn from(set: PairSet) -> Self {
        Self::Bf16(set)
    }
}

/// A layer's products in both directions.
pub(crate) struct Ways<F> {
    pub(crate) forward: F,
    /// If the input's gradient is asked for.
    pub(crate) backward: Option<F>,
}

/// A layer's products in its precision: `F` on floats, `H` on bf16.
pub(crate) enum Products<F, H> {
    F32(Ways<F>),
    Bf16(PairSet, Ways<H>),
}
