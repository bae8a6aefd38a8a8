//! Which instruction set runs, decided once.

use std::sync::OnceLock;

/// An instruction set for which the kernels are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// x86-64 with AVX-512 (F, VL, BW, DQ): 16 lanes.
    Avx512,
    /// x86-64 with AVX2 and FMA: 8 lanes.
    Avx2,
    /// 64-bit ARM: 4 lanes.
    Neon,
    /// Whatever the compiler makes of plain Rust.
    Portable,
}

impl InstructionSet {
    /// Those that this processor has, the best one first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx2 && avx512 {
                sets.push(Self::Avx512);
            }
            if avx2 {
                sets.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Self::Neon);
        sets.push(Self::Portable);
        sets
    }

    /// The one in use: the best, or the one that the environment variable `LOOKALIKE_SIMD` names
    /// (`avx512`, `avx2`, `neon`, `portable`) if this processor has it.
    pub fn in_use() -> Self {
        static IN_USE: OnceLock<InstructionSet> = OnceLock::new();
        *IN_USE.get_or_init(|| {
            let sets = Self::available();
            let wanted = std::env::var("LOOKALIKE_SIMD").unwrap_or_default();
            let named = sets.iter().find(|set| set.name() == wanted);
            *named.unwrap_or(&sets[0])
        })
    }

    /// Floats in one of its registers.
    pub(crate) fn lanes(self) -> usize {
        lanes(self)
    }

    /// Its name, as `LOOKALIKE_SIMD` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }
}

/// Compiles a function once per instruction set and makes it take the set as its first argument.
///
/// The body is generic over a [`Vector`](crate::vector::Vector) `V` and is inlined into one
/// function per set that has the set's features switched on, so that the vector's methods become
/// single instructions and plain loops are vectorised for that set. Everything that the body calls
/// on its hot path must be `#[inline(always)]`.
macro_rules! per_instruction_set {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$v:ident>($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name(set: $crate::dispatch::InstructionSet, $($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::extra_unused_type_parameters)]
            fn body<$v: $crate::vector::Vector>($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            fn avx512($($arg: $type),*) $(-> $out)? {
                body::<$crate::arch::avx512::Vector16>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) $(-> $out)? {
                body::<$crate::arch::avx2::Vector8>($($arg),*)
            }

            match set {
                // SAFETY: a set is only ever one of `InstructionSet::available`, so the features
                // are there.
                #[cfg(target_arch = "x86_64")]
                $crate::dispatch::InstructionSet::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::dispatch::InstructionSet::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                $crate::dispatch::InstructionSet::Neon => body::<$crate::arch::neon::Vector4>($($arg),*),
                _ => body::<$crate::arch::portable::Portable>($($arg),*),
            }
        }
    };
}
pub(crate) use per_instruction_set;

per_instruction_set! {
    fn lanes<V>() -> usize {
        V::LANES
    }
}
