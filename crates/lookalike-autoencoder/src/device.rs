//! Which processor computes.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
#[cfg(any(feature = "vulkan", feature = "metal"))]
use burn::tensor::DeviceKind;

use crate::error::AutoencoderError;
use crate::ops::Path;

/// What the user may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The best there is: a GPU if this build supports one, else the CPU.
    #[default]
    Auto,
    /// This machine's processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// A GPU through Vulkan.
    Vulkan,
    /// An Apple GPU.
    Metal,
}

impl DeviceChoice {
    /// Every choice, in the order of the command line's help.
    pub const ALL: [DeviceChoice; 5] =
        [Self::Auto, Self::Cpu, Self::Cuda, Self::Vulkan, Self::Metal];

    /// Burn's device and the path of the operations on it.
    pub(crate) fn open(self) -> Result<(Device, Path), AutoencoderError> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Auto | Self::Cuda => Ok((Device::cuda(0), Path::Burn)),
            #[cfg(feature = "metal")]
            Self::Metal => Ok((Device::metal(DeviceKind::DefaultDevice), Path::Burn)),
            #[cfg(all(feature = "metal", not(feature = "cuda")))]
            Self::Auto => Ok((Device::metal(DeviceKind::DefaultDevice), Path::Burn)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok((Device::vulkan(DeviceKind::DefaultDevice), Path::Burn)),
            #[cfg(all(feature = "vulkan", not(any(feature = "cuda", feature = "metal"))))]
            Self::Auto => Ok((Device::vulkan(DeviceKind::DefaultDevice), Path::Burn)),
            #[cfg(not(any(feature = "cuda", feature = "vulkan", feature = "metal")))]
            Self::Auto => Ok((Device::flex(), Path::Kernels)),
            Self::Cpu => Ok((Device::flex(), Path::Kernels)),
            #[cfg(not(all(feature = "cuda", feature = "vulkan", feature = "metal")))]
            other => Err(AutoencoderError::Device(format!(
                "this build of Lookalike has no support for {other}: use --device auto or cpu, or build it with --features {other}"
            ))),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = AutoencoderError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|d| d.to_string() == name)
            .ok_or_else(|| AutoencoderError::unknown("device", name, &Self::ALL))
    }
}
