//! Which processor computes.

#[cfg(any(feature = "cuda", feature = "vulkan", feature = "metal"))]
mod gpu;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::error::AutoencoderError;

/// Who computes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Processor {
    /// `lookalike-kernels`, on this machine's processor.
    Cpu,
    /// Burn's own operations, on any device of its.
    #[cfg(feature = "burn")]
    Burn(burn::tensor::Device),
}

/// A GPU that has computed something.
#[derive(Clone)]
struct Gpu {
    processor: Processor,
    /// As its driver calls it.
    name: String,
    /// Whether it is a program on the processor that acts as a GPU.
    software: bool,
}

/// What the user may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The best there is: a GPU if this build supports one and this machine has it, else the CPU.
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

    /// What `auto` tries before the CPU, best first.
    const GPUS: [DeviceChoice; 3] = [Self::Cuda, Self::Metal, Self::Vulkan];

    /// What this choice means on this machine: never [`DeviceChoice::Auto`], everything else as
    /// it is.
    ///
    /// The first call that asks for `Auto` opens the first GPU that works and decides for the
    /// life of the process. Adapters that are software on the processor do not count.
    pub fn resolve(self) -> Self {
        static AUTO: OnceLock<DeviceChoice> = OnceLock::new();
        match self {
            Self::Auto => *AUTO.get_or_init(|| {
                let hardware = |gpu: &Self| matches!(gpu.open_gpu(), Ok(gpu) if !gpu.software);
                Self::GPUS.into_iter().find(hardware).unwrap_or(Self::Cpu)
            }),
            other => other,
        }
    }

    /// The device for people: "cpu", or "vulkan (NVIDIA H200)".
    ///
    /// # Errors
    ///
    /// The device cannot be used; the message says why and what to do.
    pub fn describe(self) -> Result<String, AutoencoderError> {
        match self.resolve() {
            Self::Cpu => Ok(Self::Cpu.to_string()),
            gpu => gpu
                .open_gpu()
                .map(|found| format!("{gpu} ({})", found.name)),
        }
    }

    /// Who computes on it.
    pub(crate) fn open(self) -> Result<Processor, AutoencoderError> {
        match self.resolve() {
            Self::Cpu => Ok(Processor::Cpu),
            gpu => gpu.open_gpu().map(|found| found.processor),
        }
    }

    /// The GPU, or why this build or this machine has none of this kind.
    fn open_gpu(self) -> Result<Gpu, AutoencoderError> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda => gpu::cuda(),
            #[cfg(feature = "metal")]
            Self::Metal => gpu::metal(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => gpu::vulkan(),
            other => Err(AutoencoderError::Device(format!(
                "this build of Lookalike has no support for {other}: use the device auto or cpu, or build it with the feature {other}"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in(choice: DeviceChoice) -> bool {
        match choice {
            DeviceChoice::Auto | DeviceChoice::Cpu => true,
            DeviceChoice::Cuda => cfg!(feature = "cuda"),
            DeviceChoice::Vulkan => cfg!(feature = "vulkan"),
            DeviceChoice::Metal => cfg!(feature = "metal"),
        }
    }

    #[test]
    fn names_are_read_as_written() {
        for choice in DeviceChoice::ALL {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        let said = "tpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert!(said.contains("tpu") && said.contains("vulkan"), "{said}");
    }

    #[test]
    fn the_cpu_computes_on_our_kernels() {
        assert_eq!(DeviceChoice::Cpu.open().unwrap(), Processor::Cpu);
        assert_eq!(DeviceChoice::Cpu.describe().unwrap(), "cpu");
    }

    /// On any machine: with a GPU, without one, and with a driver that does not work.
    #[test]
    fn auto_always_finds_a_device() {
        let found = DeviceChoice::Auto.resolve();
        assert_ne!(found, DeviceChoice::Auto);
        assert!(built_in(found), "{found}");
        assert_eq!(DeviceChoice::Auto.resolve(), found);
        let processor = DeviceChoice::Auto.open().unwrap();
        assert_eq!(processor == Processor::Cpu, found == DeviceChoice::Cpu);
        assert_eq!(
            DeviceChoice::Auto.describe().unwrap(),
            found.describe().unwrap()
        );
    }

    #[test]
    fn a_device_that_is_not_there_is_an_answer() {
        for choice in DeviceChoice::GPUS {
            // Opened twice: the second answer is the first one.
            let answers = [choice.open(), choice.open()].map(|answer| match answer {
                Ok(processor) => processor != Processor::Cpu,
                Err(error) => {
                    let said = error.to_string();
                    assert!(said.contains(&choice.to_string()), "{said}");
                    assert!(said.contains("the device auto or cpu"), "{said}");
                    assert_eq!(said.contains("the feature"), !built_in(choice), "{said}");
                    false
                }
            });
            assert_eq!(answers[0], answers[1], "{choice}");
            assert!(built_in(choice) || !answers[0], "{choice}");
        }
    }
}
