//! The kernels' path against Burn's own operations: values and gradients.

use burn::tensor::{Device, Tensor};
use lookalike_kernels::{Convolution, Loss, Padding};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Path;
use crate::network::{matrix, to_host};

/// Numbers of one operation's inputs, and a weighting of its outputs that makes a scalar.
struct Case {
    random: ChaCha8Rng,
    device: Device,
}

impl Case {
    fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            device: Device::flex().autodiff(),
        }
    }

    fn draw(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| self.random.random::<f32>() * 2.0 - 1.0)
            .collect()
    }

    fn rows(&self, values: &[f32], rows: usize) -> Tensor<2> {
        matrix(values.to_vec(), rows, &self.device).require_grad()
    }

    fn flat(&self, values: &[f32]) -> Tensor<1> {
        crate::network::vector(values, &self.device).require_grad()
    }
}

/// Output and gradients of `operation` on a path, as host vectors.
fn run(
    case: &Case,
    path: Path,
    x: (&[f32], usize),
    parameters: &[&[f32]],
    weights: &[f32],
    operation: &dyn Fn(Path, Tensor<2>, &[Tensor<1>]) -> Tensor<2>,
) -> Vec<Vec<f32>> {
    let x = case.rows(x.0, x.1);
    let parameters: Vec<Tensor<1>> = parameters.iter().map(|p| case.flat(p)).collect();
    let y = operation(path, x.clone(), &parameters);
    let [rows, _] = y.dims();
    let weights = matrix(weights.to_vec(), rows, &case.device);
    let grads = (y.clone() * weights).sum().backward();
    let mut all = vec![to_host(y.inner()), to_host(x.grad(&grads).unwrap())];
    all.extend(parameters.iter().map(|p| to_host(p.grad(&grads).unwrap())));
    all
}

fn assert_close(kernels: &[Vec<f32>], burn: &[Vec<f32>], tolerance: f32) {
    assert_eq!(kernels.len(), burn.len());
    for (which, (a, b)) in kernels.iter().zip(burn).enumerate() {
        assert_eq!(a.len(), b.len());
        let scale = b.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        for (i, (x, y)) in a.iter().zip(b).enumerate() {
            assert!(
                (x - y).abs() <= tolerance * scale,
                "result {which}, element {i}: kernels {x}, Burn {y}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn convolution_agrees(
        seed in 0u64..1000,
        batch in 1usize..4,
        height in 2usize..12,
        width in 2usize..12,
        in_channels in 1usize..20,
        out_channels in 1usize..36,
        kind in 0usize..4,
    ) {
        let (stride, upsample, padding) = match kind {
            0 => (1, false, Padding::same()),
            1 => (2, false, Padding::same()),
            2 => (1, true, Padding { bottom: 0, ..Padding::same() }),
            _ => (1, true, Padding::valid()),
        };
        let geometry = Convolution {
            height, width, in_channels, out_channels, stride, padding, upsample, relu: seed % 2 == 0,
        };
        let mut case = Case::new(seed);
        let x = case.draw(geometry.input_len(batch));
        let weight = case.draw(geometry.weight_len());
        let bias = case.draw(out_channels);
        let weights = case.draw(geometry.output_len(batch));
        let operation = |path: Path, x, p: &[Tensor<1>]| {
            path.convolution(x, p[0].clone(), p[1].clone(), geometry)
        };
        let go = |path| run(&case, path, (&x, batch), &[&weight, &bias], &weights, &operation);
        assert_close(&go(Path::Kernels), &go(Path::Burn), 2e-5);
    }

    #[test]
    fn max_pool_agrees(
        seed in 0u64..1000, batch in 1usize..4, height in 1usize..9, width in 1usize..9, channels in 1usize..20,
    ) {
        let mut case = Case::new(seed);
        let x = case.draw(batch * height * width * channels);
        let weights = case.draw(batch * height.div_ceil(2) * width.div_ceil(2) * channels);
        let operation = |path: Path, x, _: &[Tensor<1>]| path.max_pool(x, height, width, channels);
        let go = |path| run(&case, path, (&x, batch), &[], &weights, &operation);
        assert_close(&go(Path::Kernels), &go(Path::Burn), 1e-6);
    }

    #[test]
    fn linear_agrees(
        seed in 0u64..1000, batch in 1usize..20, inputs in 1usize..80, outputs in 1usize..50,
    ) {
        let mut case = Case::new(seed);
        let x = case.draw(batch * inputs);
        let weight = case.draw(inputs * outputs);
        let bias = case.draw(outputs);
        let weights = case.draw(batch * outputs);
        let operation = |path: Path, x, p: &[Tensor<1>]| {
            path.linear(x, p[0].clone(), p[1].clone(), outputs, seed % 2 == 0)
        };
        let go = |path| run(&case, path, (&x, batch), &[&weight, &bias], &weights, &operation);
        assert_close(&go(Path::Kernels), &go(Path::Burn), 1e-5);
    }

    #[test]
    fn batch_norm_agrees(
        seed in 0u64..1000, batch in 2usize..9, places in 2usize..20, channels in 1usize..40, relu: bool,
    ) {
        let mut case = Case::new(seed);
        let x = case.draw(batch * places * channels);
        let gamma = case.draw(channels);
        let beta = case.draw(channels);
        let weights = case.draw(x.len());
        let operation = |path: Path, x, p: &[Tensor<1>]| {
            path.batch_norm(x, p[0].clone(), p[1].clone(), relu).output
        };
        let go = |path| run(&case, path, (&x, batch), &[&gamma, &beta], &weights, &operation);
        // Four rows can have a small variance, and its root's inverse magnifies rounding.
        assert_close(&go(Path::Kernels), &go(Path::Burn), 1e-3);
    }

    #[test]
    fn sigmoid_loss_agrees(seed in 0u64..1000, batch in 1usize..9, width in 1usize..300, bce: bool) {
        let kind = if bce { Loss::BinaryCrossEntropy } else { Loss::MeanSquaredError };
        let mut case = Case::new(seed);
        let logits: Vec<f32> = case.draw(batch * width).iter().map(|v| v * 8.0).collect();
        let targets: Vec<f32> = case.draw(batch * width).iter().map(|v| v.abs()).collect();
        let targets = matrix(targets, batch, &case.device);
        let operation = |path: Path, x, _: &[Tensor<1>]| {
            path.sigmoid_loss(x, targets.clone(), kind).reshape([1, 1])
        };
        let go = |path| run(&case, path, (&logits, batch), &[], &[2.0], &operation);
        assert_close(&go(Path::Kernels), &go(Path::Burn), 1e-5);
    }
}
