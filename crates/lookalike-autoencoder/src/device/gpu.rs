//! Finding and opening GPUs without a panic.
//!
//! Burn opens a device at its first operation, on a thread of its own, and panics there if it
//! cannot. So each device is opened here first by a call that answers, and then adds some
//! numbers; the outcome holds for the life of the process.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};

#[cfg(any(feature = "vulkan", feature = "metal"))]
use burn::tensor::wgpu::{WgpuBackend, WgpuInitError, wgpu};
use burn::tensor::{Device, Tensor};

use super::{DeviceChoice, Gpu, Processor};
use crate::error::AutoencoderError;

/// A GPU, or why it cannot compute.
type Opened = Result<Gpu, String>;

/// The best adapter that Vulkan has; software, such as lavapipe, comes last.
#[cfg(feature = "vulkan")]
pub(super) fn vulkan() -> Result<Gpu, AutoencoderError> {
    static OUTCOME: OnceLock<Opened> = OnceLock::new();
    once(&OUTCOME, DeviceChoice::Vulkan, || {
        through_wgpu(WgpuBackend::Vulkan)
    })
}

/// The best adapter that Metal has.
#[cfg(feature = "metal")]
pub(super) fn metal() -> Result<Gpu, AutoencoderError> {
    static OUTCOME: OnceLock<Opened> = OnceLock::new();
    once(&OUTCOME, DeviceChoice::Metal, || {
        through_wgpu(WgpuBackend::Metal)
    })
}

/// The first NVIDIA GPU that `CUDA_VISIBLE_DEVICES` shows.
#[cfg(feature = "cuda")]
pub(super) fn cuda() -> Result<Gpu, AutoencoderError> {
    static OUTCOME: OnceLock<Opened> = OnceLock::new();
    once(&OUTCOME, DeviceChoice::Cuda, || {
        // SAFETY: this loads the driver's library by its name and unloads it; the library's
        // initialisers run, which is what any use of the driver does, and no other code.
        if !unsafe { cudarc::driver::sys::is_culib_present() } {
            return Err("the NVIDIA driver (libcuda) is not installed".to_owned());
        }
        // The driver, the device and its context, in the order in which Burn opens them. Held
        // until Burn has the context too: making one takes long.
        let context = cudarc::driver::CudaContext::new(0)
            .map_err(|e| format!("the NVIDIA driver answers {e}"))?;
        let opened = tried(Device::cuda(0), false);
        drop(context);
        opened
    })
}

#[cfg(any(feature = "vulkan", feature = "metal"))]
fn through_wgpu(api: WgpuBackend) -> Opened {
    match Device::wgpu_options().graphics_api(api).init_with_setup() {
        Ok((device, setup)) => {
            let kind = setup.adapter.get_info().device_type;
            tried(device, kind == wgpu::DeviceType::Cpu)
        }
        Err(WgpuInitError::AdapterUnavailable { .. }) => Err(format!(
            "{api:?} has no device on this machine, its driver is not installed, or this user may not open it"
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// `device`, if it can add.
fn tried(device: Device, software: bool) -> Opened {
    let numbers = Tensor::<1>::from_floats([1.0, 2.0, 4.0], &device);
    let sum = numbers.sum().try_into_data().map_err(|e| e.to_string())?;
    match sum.try_into_vec::<f32>() {
        Ok(sum) if sum == [7.0] => {
            let name = device.identity().map(|identity| identity.name);
            Ok(Gpu {
                processor: Processor::Burn(device),
                name: name.unwrap_or_else(|| "unnamed".to_owned()),
                software,
            })
        }
        other => Err(format!("it adds 1, 2 and 4 to {other:?}")),
    }
}

/// What `open` says, the first time and every time.
fn once(
    outcome: &OnceLock<Opened>,
    choice: DeviceChoice,
    open: impl FnOnce() -> Opened,
) -> Result<Gpu, AutoencoderError> {
    let outcome = outcome.get_or_init(|| calmly(open));
    outcome.clone().map_err(|why| {
        AutoencoderError::Device(format!(
            "cannot compute on {choice}: {why}; use the device auto or cpu, or see docs/gpu.md"
        ))
    })
}

/// `open`, where a panic is an answer too, and prints nothing.
///
/// A last resort. What can be asked of a driver is asked before Burn opens it, but not all can: a
/// driver too old for a symbol panics where the symbol is first used, and the runtimes unwrap
/// most of what a driver may refuse, on a thread of their own.
fn calmly(open: impl FnOnce() -> Opened) -> Opened {
    let first = Arc::new(OnceLock::<String>::new());
    let hook = panic::take_hook();
    let seen = first.clone();
    panic::set_hook(Box::new(move |panic| {
        seen.get_or_init(|| panic.payload_as_str().unwrap_or("it panics").to_owned());
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(open));
    panic::set_hook(hook);
    outcome.unwrap_or_else(|_| Err(first.get().cloned().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer() {
        let on_a_thread = || -> Opened {
            let thread = std::thread::spawn(|| panic!("symbol cuFancy is missing"));
            thread.join().expect("the thread has panicked")
        };
        assert_eq!(
            calmly(on_a_thread).err().as_deref(),
            Some("symbol cuFancy is missing")
        );
    }
}
