//! Another device against the CPU. The device is named, and the tests are asked for:
//!
//! ```sh
//! LOOKALIKE_TEST_DEVICE=vulkan cargo test --release -p lookalike-autoencoder \
//!     --features vulkan --test gpu -- --ignored
//! ```

mod common;

use std::ops::ControlFlow;

use common::{GREY, shapes};
use lookalike_autoencoder::{
    Architecture, Autoencoder, DeviceChoice, Objective, Observer, TrainConfig, TrainStep, train,
};

/// The loss of each epoch so far, after each step.
#[derive(Default)]
struct Losses(Vec<f64>);

impl Observer for Losses {
    fn step(&mut self, step: &TrainStep) -> ControlFlow<()> {
        self.0.push(step.loss);
        ControlFlow::Continue(())
    }
}

fn device() -> DeviceChoice {
    let name = std::env::var("LOOKALIKE_TEST_DEVICE")
        .expect("LOOKALIKE_TEST_DEVICE names the device to test, such as vulkan");
    let device: DeviceChoice = name.parse().unwrap();
    println!("testing {}", device.describe().unwrap());
    device
}

/// The largest difference of two lists, as a share of the largest of `expected`.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected
        .iter()
        .fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |m: f32, d| if d <= m { m } else { d }) / scale
}

#[test]
#[ignore = "needs the device that LOOKALIKE_TEST_DEVICE names"]
fn learns_what_the_cpu_learns() {
    let device = device();
    let collection = shapes(48, GREY);
    for (architecture, objective) in [
        (Architecture::Conv, Objective::Reconstruct),
        (Architecture::Compact, Objective::Denoise),
        (Architecture::Bottleneck, Objective::Augment),
        (Architecture::Bottleneck, Objective::Variational),
    ] {
        let config = TrainConfig {
            epochs: 2,
            batch: 16,
            seed: 3,
            ..TrainConfig::with_objective(architecture, objective)
        };
        let learn = |device| {
            let mut losses = Losses::default();
            let model = train(&collection, &config, device, None, &mut losses).unwrap();
            (model, losses.0)
        };
        let (_, cpu) = learn(DeviceChoice::Cpu);
        let (model, gpu) = learn(device);
        println!("{architecture} {objective}\n  cpu {cpu:?}\n  gpu {gpu:?}");
        assert_eq!(gpu.len(), 6);
        for (step, (gpu, cpu)) in gpu.iter().zip(&cpu).enumerate() {
            let error = (gpu - cpu).abs() / cpu;
            // Adam takes nearly the sign of a gradient at first, so rounding grows fast.
            let tolerance = if step < 3 { 1e-3 } else { 5e-3 };
            assert!(
                error < tolerance,
                "{architecture} {objective}, step {step}: {gpu} against {cpu}"
            );
        }

        // What it learned means the same on the CPU.
        let bytes = model.to_bytes();
        let again = Autoencoder::from_bytes(&bytes, "the model", DeviceChoice::Cpu).unwrap();
        for (what, found, expected) in [
            (
                "codes",
                model.encode_collection(&collection, |_| {}).unwrap(),
                again.encode_collection(&collection, |_| {}).unwrap(),
            ),
            (
                "pixels",
                as_floats(model.reconstruct(collection.pixels()).unwrap()),
                as_floats(again.reconstruct(collection.pixels()).unwrap()),
            ),
        ] {
            let difference = difference(&found, &expected);
            println!("  {what} differ by {difference}");
            assert!(
                difference < 5e-3,
                "{architecture} {objective}: {what} differ by {difference}"
            );
        }
    }
}

fn as_floats(pixels: Vec<u8>) -> Vec<f32> {
    pixels.into_iter().map(f32::from).collect()
}
