//! Whole networks against a plain one in f64: its loss, and the slopes of that loss by finite
//! differences.

use super::{numbers, with_threads};
use crate::precision::{Arithmetic, PairSet};
use crate::*;
use proptest::prelude::*;
use proptest::sample::select;

/// A network that computes in f64, layer by layer, image by image.
struct Plain<'a> {
    layers: &'a [Layer],
    parameters: Vec<f64>,
    example: &'a Example<'a>,
    batch: usize,
}

impl Plain<'_> {
    /// The logits, and the divergence.
    fn outputs(&self, input: &[f64]) -> (Vec<f64>, f64) {
        let mut x = input.to_vec();
        let mut shape = (0, 0, 0);
        let mut divergence = 0.0;
        for layer in self.layers {
            match *layer {
                Layer::Convolution {
                    geometry,
                    weight,
                    bias,
                    norm,
                } => {
                    x = self.convolution(&geometry, weight, bias, &x);
                    shape = (
                        geometry.output_height(),
                        geometry.output_width(),
                        geometry.out_channels,
                    );
                    if let Some(norm) = norm {
                        self.normalise(&norm, shape.2, &mut x);
                    } else if geometry.relu {
                        x.iter_mut().for_each(|x| *x = x.max(0.0));
                    }
                }
                Layer::MaxPool => x = pool(shape, &x),
                Layer::Linear {
                    inputs,
                    outputs,
                    weight,
                    bias,
                    relu,
                } => {
                    let w = &self.parameters[weight..][..inputs * outputs];
                    let b = &self.parameters[bias..][..outputs];
                    x = x
                        .chunks_exact(inputs)
                        .flat_map(|x| {
                            (0..outputs).map(move |o| {
                                let terms = x.iter().enumerate();
                                let sum: f64 = terms.map(|(i, x)| x * w[i * outputs + o]).sum();
                                if relu {
                                    (sum + b[o]).max(0.0)
                                } else {
                                    sum + b[o]
                                }
                            })
                        })
                        .collect();
                }
                Layer::Sample { dim } => {
                    let mut sample = Vec::new();
                    let noise = self.example.noise.chunks_exact(dim);
                    for (code, noise) in x.chunks_exact(2 * dim).zip(noise) {
                        for c in 0..dim {
                            let (mean, log) = (code[c], code[dim + c].clamp(-10.0, 10.0));
                            sample.push(mean + f64::from(noise[c]) * (0.5 * log).exp());
                            divergence += 0.5 * (mean * mean + log.exp() - log - 1.0);
                        }
                    }
                    x = sample;
                }
            }
        }
        let weight = f64::from(self.example.divergence_weight);
        (x, divergence * weight / self.batch as f64)
    }

    fn convolution(
        &self,
        c: &Convolution,
        weight: usize,
        bias: Option<usize>,
        x: &[f64],
    ) -> Vec<f64> {
        let scale = 1 + usize::from(c.upsample);
        let (rows, columns) = (c.output_height(), c.output_width());
        let mut y = Vec::new();
        for x in x.chunks_exact(c.input_len(1)) {
            for pixel in 0..rows * columns {
                for o in 0..c.out_channels {
                    let mut sum = bias.map_or(0.0, |bias| self.parameters[bias + o]);
                    for k in 0..9 {
                        let row = pixel / columns * c.stride + k / 3;
                        let column = pixel % columns * c.stride + k % 3;
                        let (top, left) = (c.padding.top, c.padding.left);
                        let inside = (top..top + c.height * scale).contains(&row)
                            && (left..left + c.width * scale).contains(&column);
                        if !inside {
                            continue;
                        }
                        let from = (row - top) / scale * c.width + (column - left) / scale;
                        for i in 0..c.in_channels {
                            let at = weight + (o * c.in_channels + i) * 9 + k;
                            sum += self.parameters[at] * x[from * c.in_channels + i];
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }

    fn normalise(&self, norm: &BatchNorm, channels: usize, x: &mut [f64]) {
        for c in 0..channels {
            let (mean, variance) = moments(x, channels, c);
            let scale =
                self.parameters[norm.gamma + c] / (variance + f64::from(norm.epsilon)).sqrt();
            for x in x.iter_mut().skip(c).step_by(channels) {
                *x = (*x - mean) * scale + self.parameters[norm.beta + c];
                if norm.relu {
                    *x = x.max(0.0);
                }
            }
        }
    }

    fn loss(&self) -> f64 {
        let input: Vec<f64> = self.example.inputs.iter().map(|&x| x.into()).collect();
        let (logits, divergence) = self.outputs(&input);
        let sum: f64 = logits
            .iter()
            .zip(self.example.targets)
            .map(|(&x, &target)| {
                let target = f64::from(target);
                match self.example.loss {
                    Loss::MeanSquaredError => (1.0 / (1.0 + (-x).exp()) - target).powi(2),
                    Loss::BinaryCrossEntropy => x.max(0.0) - x * target + (-x.abs()).exp().ln_1p(),
                    Loss::LinearSquaredError => (x - target).powi(2),
                }
            })
            .sum();
        sum / logits.len() as f64 + divergence
    }
}

/// Mean and biased variance of a channel.
fn moments(x: &[f64], channels: usize, c: usize) -> (f64, f64) {
    let count = (x.len() / channels) as f64;
    let values = || x.iter().skip(c).step_by(channels);
    let mean = values().sum::<f64>() / count;
    (
        mean,
        values().map(|x| (x - mean).powi(2)).sum::<f64>() / count,
    )
}

fn pool((height, width, channels): (usize, usize, usize), x: &[f64]) -> Vec<f64> {
    let mut y = Vec::new();
    for x in x.chunks_exact(height * width * channels) {
        for row in (0..height).step_by(2) {
            for column in (0..width).step_by(2) {
                for c in 0..channels {
                    let window = (0..4).map(|k| (row + k / 2, column + k % 2));
                    let best = window
                        .filter(|&(row, column)| row < height && column < width)
                        .map(|(row, column)| x[(row * width + column) * channels + c])
                        .fold(f64::NEG_INFINITY, f64::max);
                    y.push(best);
                }
            }
        }
    }
    y
}

/// Puts layers in a row, giving each its place in the parameters.
#[derive(Clone, Debug, Default)]
struct Builder {
    layers: Vec<Layer>,
    parameters: usize,
    statistics: usize,
    /// Height, width, channels.
    shape: (usize, usize, usize),
}

impl Builder {
    fn new(shape: (usize, usize, usize)) -> Self {
        Self {
            shape,
            ..Self::default()
        }
    }

    fn take(&mut self, len: usize) -> usize {
        self.parameters += len;
        self.parameters - len
    }

    fn convolve(mut self, out_channels: usize, kind: usize, relu: bool, norm: bool) -> Self {
        let (height, width, in_channels) = self.shape;
        let geometry = Convolution {
            height,
            width,
            in_channels,
            out_channels,
            stride: if kind == 1 { 2 } else { 1 },
            padding: Padding::same(),
            upsample: kind == 2,
            relu,
        };
        let weight = self.take(geometry.weight_len());
        let bias = (!norm).then(|| self.take(out_channels));
        let norm = norm.then(|| {
            self.statistics += out_channels;
            BatchNorm {
                gamma: self.take(out_channels),
                beta: self.take(out_channels),
                statistics: self.statistics - out_channels,
                epsilon: 1e-3,
                relu,
            }
        });
        self.shape = (
            geometry.output_height(),
            geometry.output_width(),
            out_channels,
        );
        self.layers.push(Layer::Convolution {
            geometry,
            weight,
            bias,
            norm,
        });
        self
    }

    fn pool(mut self) -> Self {
        let (height, width, channels) = self.shape;
        self.shape = (height.div_ceil(2), width.div_ceil(2), channels);
        self.layers.push(Layer::MaxPool);
        self
    }

    fn linear(mut self, shape: (usize, usize, usize), relu: bool) -> Self {
        let inputs = self.shape.0 * self.shape.1 * self.shape.2;
        let outputs = shape.0 * shape.1 * shape.2;
        let (bias, weight) = (self.take(outputs), self.take(inputs * outputs));
        self.shape = shape;
        self.layers.push(Layer::Linear {
            inputs,
            outputs,
            weight,
            bias,
            relu,
        });
        self
    }

    fn sample(mut self) -> Self {
        let dim = self.shape.0 * self.shape.1 * self.shape.2 / 2;
        self.shape = (1, 1, dim);
        self.layers.push(Layer::Sample { dim });
        self
    }

    fn output_len(&self) -> usize {
        self.shape.0 * self.shape.1 * self.shape.2
    }
}

#[derive(Debug)]
struct Case {
    builder: Builder,
    parameters: Vec<f32>,
    inputs: Vec<f32>,
    targets: Vec<f32>,
    noise: Vec<f32>,
    batch: usize,
    loss: Loss,
}

struct Results {
    loss: f64,
    gradient: Vec<f32>,
    means: Vec<f32>,
    variances: Vec<f32>,
}

impl Case {
    fn new(builder: Builder, input: usize, batch: usize, loss: Loss, seed: u64) -> Self {
        let dim = builder.layers.iter().find_map(|layer| match layer {
            Layer::Sample { dim } => Some(*dim),
            _ => None,
        });
        let parameters = numbers(seed, builder.parameters);
        Self {
            inputs: numbers(seed + 1, batch * input),
            targets: numbers(seed + 2, batch * builder.output_len())
                .iter()
                .map(|x| x.abs())
                .collect(),
            noise: numbers(seed + 3, batch * dim.unwrap_or(0)),
            parameters: parameters.iter().map(|p| 0.4 * p).collect(),
            builder,
            batch,
            loss,
        }
    }

    fn example(&self) -> Example<'_> {
        Example {
            inputs: &self.inputs,
            targets: &self.targets,
            loss: self.loss,
            noise: &self.noise,
            divergence_weight: 0.3,
        }
    }

    fn run(&self, arithmetic: impl Into<Arithmetic>) -> Results {
        let mut network = Network::with(arithmetic, &self.builder.layers, true);
        let mut workspace = Workspace::new(&network);
        let mut results = Results {
            loss: f64::NAN,
            gradient: vec![f32::NAN; network.parameter_len()],
            means: vec![f32::NAN; network.statistics_len()],
            variances: vec![f32::NAN; network.statistics_len()],
        };
        network.load(&self.parameters);
        // Twice: what the first pass left in the workspace must not matter.
        for _ in 0..2 {
            results.loss = network.gradient(
                &mut workspace,
                self.batch,
                &self.example(),
                &mut Gradient {
                    parameters: &mut results.gradient,
                    means: &mut results.means,
                    variances: &mut results.variances,
                },
            );
        }
        results
    }

    /// Compares the loss and up to 60 of the slopes.
    fn check(&self, set: InstructionSet) {
        let example = self.example();
        let plain = Plain {
            layers: &self.builder.layers,
            parameters: self.parameters.iter().map(|&p| p.into()).collect(),
            example: &example,
            batch: self.batch,
        };
        let got = self.run(set);
        let want = plain.loss();
        assert!(
            (got.loss - want).abs() <= 2e-5 * want.abs(),
            "loss {} on {set:?}, not {want}: {:?}",
            got.loss,
            self.builder.layers
        );
        const STEP: f64 = 1e-6;
        let largest = got
            .gradient
            .iter()
            .fold(0.0f64, |m, &g| m.max(g.abs().into()));
        let every = self.parameters.len().div_ceil(60);
        let (mut off, mut compared) = (0, 0);
        for at in (0..self.parameters.len()).step_by(every) {
            let nudged = |step: f64| {
                let mut parameters = plain.parameters.clone();
                parameters[at] += step;
                Plain {
                    parameters,
                    ..plain
                }
                .loss()
            };
            let slope = (nudged(STEP) - nudged(-STEP)) / (2.0 * STEP);
            compared += 1;
            let error = (slope - f64::from(got.gradient[at])).abs();
            off +=
                usize::from(error.is_nan() || error > 1e-3 * slope.abs() + 3e-4 * largest + 1e-8);
        }
        // A value within rounding of a ReLU's corner, or of a tie, may fall on the other side in
        // f32.
        assert!(
            off * 30 <= compared,
            "{off} of {compared} slopes are off on {set:?}: {:?}",
            self.builder.layers
        );
    }
}

prop_compose! {
    /// A few layers of any kind, small.
    fn networks()(
        (height, width, channels) in (3usize..10, 3usize..10, 1usize..4),
        layers in prop::collection::vec((0usize..6, 1usize..20, any::<bool>(), any::<bool>()), 0..5),
        // Convolution, stride, upsampling; linear.
        last in 0usize..4,
        batch in 2usize..20,
        bce in any::<bool>(),
        seed in any::<u32>(),
    ) -> Case {
        let mut builder = Builder::new((height, width, channels));
        for (kind, out, relu, norm) in layers {
            let large = builder.shape.0 * builder.shape.1 > 200;
            builder = match kind {
                2 if large => builder.convolve(out, 1, relu, norm),
                0..3 => builder.convolve(out, kind, relu, norm),
                3 => builder.convolve(out, if large { 1 } else { 0 }, relu, false).pool(),
                4 => builder.linear((2, 3, out), relu),
                _ if builder.layers.iter().any(|l| matches!(l, Layer::Sample { .. })) => builder,
                _ => builder.linear((1, 1, 2 * out), false).sample(),
            };
        }
        let builder = match last {
            3 => builder.linear((1, 1, 7), false),
            kind => builder.convolve(2, kind, false, false),
        };
        let loss = if bce { Loss::BinaryCrossEntropy } else { Loss::MeanSquaredError };
        Case::new(builder, height * width * channels, batch, loss, seed.into())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loss_and_gradient_agree_with_plain_f64(case in networks(), set in select(InstructionSet::available())) {
        case.check(set);
    }
}

/// The article's network, narrower, on images whose first layers are taken in strips.
fn article(side: usize, channels: usize) -> Builder {
    Builder::new((side, side, 1))
        .convolve(channels, 0, true, false)
        .pool()
        .convolve(channels, 0, true, false)
        .pool()
        .convolve(channels, 0, true, false)
        .convolve(channels, 2, true, false)
        .convolve(1, 2, false, false)
}

fn bottleneck() -> Builder {
    Builder::new((12, 12, 1))
        .convolve(8, 1, true, true)
        .convolve(16, 1, true, true)
        .linear((1, 1, 5), false)
        .linear((3, 3, 16), true)
        .convolve(9, 2, true, true)
        .convolve(8, 2, true, true)
        .convolve(1, 0, false, false)
}

#[test]
fn the_articles_network_agrees_with_plain_f64() {
    for set in InstructionSet::available() {
        Case::new(article(20, 18), 20 * 20, 5, Loss::MeanSquaredError, 3).check(set);
    }
}

#[test]
fn a_bottleneck_with_batch_norm_agrees_with_plain_f64() {
    for set in InstructionSet::available() {
        Case::new(bottleneck(), 144, 11, Loss::BinaryCrossEntropy, 4).check(set);
    }
}

#[test]
fn statistics_are_those_of_the_batch() {
    let builder = Builder::new((5, 7, 2))
        .convolve(3, 0, true, true)
        .convolve(1, 0, false, false);
    let case = Case::new(builder, 70, 6, Loss::MeanSquaredError, 5);
    let got = case.run(InstructionSet::in_use());
    let Layer::Convolution {
        geometry, weight, ..
    } = case.builder.layers[0]
    else {
        unreachable!("a convolution was put first");
    };
    let plain = Plain {
        layers: &case.builder.layers,
        parameters: case.parameters.iter().map(|&p| p.into()).collect(),
        example: &case.example(),
        batch: 6,
    };
    let x: Vec<f64> = case.inputs.iter().map(|&x| x.into()).collect();
    let y = plain.convolution(&geometry, weight, None, &x);
    for c in 0..3 {
        let (mean, variance) = moments(&y, 3, c);
        let count = (y.len() / 3) as f64;
        assert!((f64::from(got.means[c]) - mean).abs() < 1e-5);
        assert!((f64::from(got.variances[c]) - variance * count / (count - 1.0)).abs() < 1e-5);
    }
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    for (builder, input) in [(article(16, 9), 256), (bottleneck(), 144)] {
        let case = Case::new(builder, input, 37, Loss::BinaryCrossEntropy, 6);
        let run = |threads| {
            with_threads(threads, || {
                let results = case.run(InstructionSet::in_use());
                (
                    results.loss,
                    results.gradient,
                    results.means,
                    results.variances,
                )
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3));
    }
}

#[test]
fn a_forward_pass_of_floats_and_of_bytes() {
    let builder = article(13, 6);
    let bytes: Vec<u8> = (0..5 * 169).map(|i| (i * 37 % 256) as u8).collect();
    let floats: Vec<f32> = bytes
        .iter()
        .map(|&b| f32::from(b) * (1.0 / 255.0))
        .collect();
    let case = Case::new(builder, 169, 5, Loss::MeanSquaredError, 7);
    let plain = Plain {
        layers: &case.builder.layers,
        parameters: case.parameters.iter().map(|&p| p.into()).collect(),
        example: &case.example(),
        batch: 5,
    };
    let x: Vec<f64> = floats.iter().map(|&x| x.into()).collect();
    let (want, _) = plain.outputs(&x);
    for set in InstructionSet::available() {
        let mut network = Network::with(set, &case.builder.layers, false);
        network.load(&case.parameters);
        let mut workspace = Workspace::new(&network);
        let mut run = |input| {
            let mut y = vec![f32::NAN; 5 * network.output_len()];
            network.forward(&mut workspace, 5, input, &mut y);
            y
        };
        let y = run(Input::Floats(&floats));
        assert_eq!(y, run(Input::Bytes(&bytes)));
        for (y, want) in y.iter().zip(&want) {
            assert!((f64::from(*y) - want).abs() < 1e-4 * (1.0 + want.abs()));
        }
    }
}

/// Every kind of layer and of copy into a frame, on channels enough for bf16.
fn for_bf16() -> [(Builder, usize); 4] {
    let variational = Builder::new((9, 7, 8))
        .convolve(11, 1, true, true)
        .linear((1, 1, 20), false)
        .sample()
        .linear((3, 2, 12), true)
        .convolve(9, 2, false, true)
        .convolve(8, 0, true, false)
        .linear((1, 1, 9), false);
    // The first two are those of the command line, narrower; in the third no layer is too narrow.
    let wide = Builder::new((10, 9, 8))
        .convolve(17, 0, true, false)
        .pool()
        .convolve(16, 1, true, false)
        .convolve(9, 2, false, false);
    [
        (article(20, 18), 400),
        (bottleneck(), 144),
        (wide, 720),
        (variational, 504),
    ]
}

#[test]
fn bf16_gives_the_loss_and_the_direction_of_f32() {
    for (builder, input) in for_bf16() {
        // An image without a partner in every part, and one in the last part only.
        for batch in [13, 112] {
            // Not the squared error: far up the sigmoid it multiplies what differs in the logits.
            let (builder, kind) = (builder.clone(), Loss::BinaryCrossEntropy);
            let case = Case::new(builder, input, batch, kind, 8);
            let want = case.run(InstructionSet::in_use());
            for set in PairSet::available() {
                let got = case.run(set);
                let layers = &case.builder.layers;
                assert_ne!(got.gradient, want.gradient, "f32 on {set:?}: {layers:?}");
                let off = (got.loss - want.loss).abs() / want.loss;
                assert!(off < 1e-2, "loss off by {off} on {set:?}: {layers:?}");
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
                    products.sum()
                };
                let length = |a: &[f32]| dot(a, a).sqrt();
                let (got, want) = (&got.gradient[..], &want.gradient[..]);
                let cosine = dot(got, want) / (length(got) * length(want));
                assert!(cosine > 0.999, "cosine {cosine} on {set:?}: {layers:?}");
                let longer = length(got) / length(want);
                assert!(
                    (longer - 1.0).abs() < 1e-2,
                    "{longer} times as long: {layers:?}"
                );
            }
        }
    }
}

#[test]
fn bf16_gives_the_same_bits_on_any_number_of_threads() {
    for (builder, input) in for_bf16() {
        let case = Case::new(builder, input, 37, Loss::BinaryCrossEntropy, 9);
        let run = |threads| {
            with_threads(threads, || {
                let results = case.run(PairSet::in_use());
                (
                    results.loss,
                    results.gradient,
                    results.means,
                    results.variances,
                )
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3));
    }
}

#[test]
fn layers_too_narrow_for_bf16_stay_f32() {
    for (channels, same) in [(7, true), (8, false)] {
        let builder = Builder::new((9, 9, channels))
            .convolve(30, 0, true, true)
            .convolve(channels, 1, true, false)
            .linear((1, 1, channels), false);
        let case = Case::new(builder, 81 * channels, 6, Loss::MeanSquaredError, 10);
        let set = PairSet::in_use();
        let (floats, halves) = (case.run(set.set()), case.run(set));
        assert_eq!(floats.gradient == halves.gradient, same);
    }
}

#[test]
fn a_forward_pass_of_bytes_in_bf16() {
    let builder = Builder::new((7, 6, 9))
        .convolve(10, 0, true, false)
        .pool()
        .convolve(8, 2, true, false)
        .linear((1, 1, 12), false);
    let bytes: Vec<u8> = (0..5 * 378).map(|i| (i * 37 % 256) as u8).collect();
    let floats: Vec<f32> = bytes
        .iter()
        .map(|&b| f32::from(b) * (1.0 / 255.0))
        .collect();
    let case = Case::new(builder, 378, 5, Loss::MeanSquaredError, 11);
    let run = |arithmetic: Arithmetic, input| {
        let mut network = Network::with(arithmetic, &case.builder.layers, false);
        network.load(&case.parameters);
        let mut y = vec![f32::NAN; 5 * network.output_len()];
        network.forward(&mut Workspace::new(&network), 5, input, &mut y);
        y
    };
    for set in PairSet::available() {
        let y = run(set.into(), Input::Bytes(&bytes));
        assert_eq!(y, run(set.into(), Input::Floats(&floats)));
        let exact = run(set.set().into(), Input::Floats(&floats));
        assert_ne!(y, exact);
        let largest = exact.iter().fold(0.0f32, |m, y| m.max(y.abs()));
        for (y, exact) in y.iter().zip(exact) {
            assert!((y - exact).abs() < 0.02 * largest, "{y}, not {exact}");
        }
    }
}

#[test]
#[should_panic(expected = "max pooling follows a convolution without batch norm")]
fn pooling_alone_is_refused() {
    let builder = Builder::new((4, 4, 2)).convolve(3, 0, true, true).pool();
    Network::new(&builder.layers, true);
}
