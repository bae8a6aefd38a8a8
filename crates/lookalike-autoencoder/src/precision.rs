//! In which numbers training multiplies.

use std::fmt;
use std::str::FromStr;

use lookalike_kernels::{self as kernels, bf16_pays, has_bf16};
use serde::{Deserialize, Serialize};

use crate::device::{DeviceChoice, Processor};
use crate::error::AutoencoderError;

/// What the user may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// [`Precision::Bf16`] on a CPU that is faster in it ([`bf16_pays`]): models trained in it find
    /// as well (`docs/quality-tried.md`). [`Precision::F32`] everywhere else.
    #[default]
    Auto,
    /// [`Precision::F32`].
    F32,
    /// [`Precision::Bf16`].
    Bf16,
}

impl PrecisionChoice {
    /// Every choice, in the order of the command line's help.
    pub const ALL: [PrecisionChoice; 3] = [Self::Auto, Self::F32, Self::Bf16];

    /// What a run with this choice is trained in on a device of this machine.
    pub fn resolve(self, device: DeviceChoice) -> Precision {
        match self {
            Self::Auto if device.resolve() == DeviceChoice::Cpu && bf16_pays() => Precision::Bf16,
            Self::Auto | Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for PrecisionChoice {
    type Err = AutoencoderError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|p| p.to_string() == name)
            .ok_or_else(|| AutoencoderError::unknown("precision", name, &Self::ALL))
    }
}

/// What the factors of a training step's products are. Weights, outputs, gradients and all sums are
/// `f32` in any case, and so is everything about encoding: a gallery's codes never depend on this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bf16 (8 bits of significand), except in layers with fewer than 8 channels on a
    /// side. Only on the CPU, and only where it has AVX512-BF16.
    Bf16,
}

impl Precision {
    /// As the kernels take it, if this machine and device have it.
    pub(crate) fn open(
        self,
        processor: &Processor,
    ) -> Result<kernels::Precision, AutoencoderError> {
        self.open_where(*processor == Processor::Cpu, has_bf16())
    }

    fn open_where(
        self,
        on_cpu: bool,
        has_bf16: bool,
    ) -> Result<kernels::Precision, AutoencoderError> {
        let fail = |why| Err(AutoencoderError::Precision(why));
        match self {
            Self::F32 => Ok(kernels::Precision::F32),
            Self::Bf16 if !on_cpu => {
                fail("it is for the CPU alone, so choose that where it has AVX512-BF16")
            }
            Self::Bf16 if !has_bf16 => fail(
                "this processor has no AVX512-BF16 (or LOOKALIKE_SIMD has switched AVX-512 off)",
            ),
            Self::Bf16 => Ok(kernels::Precision::Bf16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_auto_follows_the_processor() {
        for choice in PrecisionChoice::ALL {
            let again: PrecisionChoice = choice.to_string().parse().unwrap();
            assert_eq!(again, choice);
        }
        let error = "f16".parse::<PrecisionChoice>().unwrap_err().to_string();
        assert!(error.contains("auto, f32, bf16"), "{error}");
        let auto = PrecisionChoice::default();
        let suited = match bf16_pays() {
            true => Precision::Bf16,
            false => Precision::F32,
        };
        assert_eq!(auto.resolve(DeviceChoice::Cpu), suited);
        assert_eq!(auto.resolve(DeviceChoice::Cuda), Precision::F32);
        for device in DeviceChoice::ALL {
            assert_eq!(PrecisionChoice::Bf16.resolve(device), Precision::Bf16);
            assert_eq!(PrecisionChoice::F32.resolve(device), Precision::F32);
        }
    }

    #[test]
    fn bf16_wants_its_processor() {
        for (on_cpu, has_bf16, told) in
            [(true, false, "no AVX512-BF16"), (false, true, "CPU alone")]
        {
            let error = Precision::Bf16.open_where(on_cpu, has_bf16).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(told) && error.contains("train in f32"),
                "{error}"
            );
            let plain = Precision::F32.open_where(on_cpu, has_bf16);
            assert_eq!(plain.unwrap(), kernels::Precision::F32);
        }
        let opened = Precision::Bf16.open_where(true, true);
        assert_eq!(opened.unwrap(), kernels::Precision::Bf16);
        assert_eq!(Precision::Bf16.open(&Processor::Cpu).is_ok(), has_bf16());
    }
}
