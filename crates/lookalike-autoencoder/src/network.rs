//! Running a [`Plan`]: forward with gradients for training, and folded for inference.

use std::ops::Range;

use lookalike_images::InputShape;
use lookalike_kernels::{Example, Input, Precision};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::architecture::{Initial, Layer, Norm, Plan};
use crate::batch::{normalise, to_floats};
use crate::device::Processor;
use crate::ops::{self, EPSILON};
use crate::optimiser::{AdamState, adam_step};

/// A model's numbers in host memory, in the plan's order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    pub parameters: Vec<Vec<f32>>,
    pub means: Vec<Vec<f32>>,
    pub variances: Vec<Vec<f32>>,
}

impl Weights {
    /// Draws the initial weights; `mean_pixel` (0 to 1, per channel) starts the output's bias.
    pub fn initial(plan: &Plan, mean_pixel: &[f32], seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = |len: usize, variance: f32| {
            let bound = (3.0 * variance).sqrt();
            (0..len)
                .map(|_| bound * (2.0 * random.random::<f32>() - 1.0))
                .collect::<Vec<f32>>()
        };
        let parameters = plan
            .parameters
            .iter()
            .map(|parameter| {
                let len = parameter.len();
                match parameter.initial {
                    Initial::He { fan_in } => uniform(len, 2.0 / fan_in as f32),
                    Initial::Small { fan_in, fan_out } => {
                        uniform(len, 0.1 / (fan_in + fan_out) as f32)
                    }
                    Initial::Constant(value) => vec![value; len],
                    Initial::OutputBias => mean_pixel.iter().map(|&p| logit(p)).collect(),
                }
            })
            .collect();
        let channels = || plan.statistics.iter().map(|(_, channels)| *channels);
        Self {
            parameters,
            means: channels().map(|c| vec![0.0; c]).collect(),
            variances: channels().map(|c| vec![1.0; c]).collect(),
        }
    }

    /// Makes the floats of codes from `first` on `factor` times as long: the encoder's last layer
    /// gives them so, and the decoder's first takes them so.
    ///
    /// # Panics
    ///
    /// If these layers are not linear, as they are in the bottleneck.
    pub fn lengthen_codes(&mut self, plan: &Plan, first: usize, factor: f32) {
        let (
            Some(&Layer::Linear {
                outputs,
                weight,
                bias,
                relu: false,
            }),
            Some(&Layer::Linear {
                outputs: decoded,
                weight: decoding,
                ..
            }),
        ) = (plan.encoder.last(), plan.decoder.first())
        else {
            unreachable!("a code that is a vector lies between linear layers");
        };
        for parameter in [weight, bias] {
            for row in self.parameters[parameter].chunks_exact_mut(outputs) {
                row[first..].iter_mut().for_each(|value| *value *= factor);
            }
        }
        let rows = &mut self.parameters[decoding][first * decoded..];
        rows.iter_mut().for_each(|value| *value /= factor);
    }

    /// Takes apart what a plan's parameters and statistics are one after another.
    pub fn split(plan: &Plan, parameters: &[f32], means: &[f32], variances: &[f32]) -> Self {
        let statistics = plan.statistics_ranges();
        Self {
            parameters: split(parameters, &plan.parameter_ranges()),
            means: split(means, &statistics),
            variances: split(variances, &statistics),
        }
    }
}

/// Inverse of the sigmoid, kept within ±4.6 for data that is nearly all black or all white.
fn logit(p: f32) -> f32 {
    let p = p.clamp(0.01, 0.99);
    (p / (1.0 - p)).ln()
}

/// A network in training, with its optimiser.
pub(crate) struct Trainable {
    pub plan: Plan,
    learner: Learner,
    weight_decay: f64,
}

enum Learner {
    Cpu(Box<ops::cpu::Learner>),
    #[cfg(feature = "burn")]
    Burn(Box<ops::burn::Learner>),
}

impl Trainable {
    /// Goes on from `weights` and `adam`; the precision is for the CPU, and `weight_decay` is
    /// decoupled (0 is plain Adam).
    pub fn new(
        plan: Plan,
        weights: &Weights,
        adam: AdamState,
        weight_decay: f64,
        processor: &Processor,
        precision: Precision,
    ) -> Self {
        let learner = match processor {
            Processor::Cpu => {
                let learner = ops::cpu::Learner::new(&plan, weights, adam, precision);
                Learner::Cpu(Box::new(learner))
            }
            #[cfg(feature = "burn")]
            Processor::Burn(device) => Learner::Burn(Box::new(ops::burn::Learner::new(
                &plan, weights, adam, device,
            ))),
        };
        Self {
            plan,
            learner,
            weight_decay,
        }
    }

    /// The numbers as they are now.
    pub fn weights(&self) -> Weights {
        match &self.learner {
            Learner::Cpu(learner) => learner.weights(&self.plan),
            #[cfg(feature = "burn")]
            Learner::Burn(learner) => learner.weights(),
        }
    }

    /// The optimiser as it is now.
    pub fn adam(&self) -> AdamState {
        match &self.learner {
            Learner::Cpu(learner) => learner.adam().clone(),
            #[cfg(feature = "burn")]
            Learner::Burn(learner) => learner.adam(),
        }
    }

    /// The mean loss of a batch, images channels last, 0 to 1. Its gradient is kept for
    /// [`step`](Self::step); the running statistics of batch norm follow the batch's.
    pub fn loss(&mut self, batch: usize, example: &Example) -> f64 {
        match &mut self.learner {
            Learner::Cpu(learner) => learner.loss(batch, example),
            #[cfg(feature = "burn")]
            Learner::Burn(learner) => learner.loss(batch, example),
        }
    }

    /// Moves the parameters along the last gradient.
    pub fn step(&mut self, rate: f64) {
        let step = |taken: u32| adam_step(taken + 1, rate, self.weight_decay);
        match &mut self.learner {
            Learner::Cpu(learner) => learner.step(&step(learner.steps())),
            #[cfg(feature = "burn")]
            Learner::Burn(learner) => learner.step(&step(learner.steps())),
        }
    }

    #[cfg(test)]
    pub fn gradient(&self) -> Vec<f32> {
        match &self.learner {
            Learner::Cpu(learner) => learner.gradient().to_vec(),
            #[cfg(feature = "burn")]
            Learner::Burn(learner) => learner.gradient(),
        }
    }
}

/// A network for inference: batch norm folded into the layer before it.
pub(crate) struct Inference {
    encoder: Half,
    decoder: Half,
    input_len: usize,
    normalises: bool,
    /// Floats that the encoder gives: the code's, or twice as many.
    encoder_width: usize,
    code_dim: usize,
}

/// Encoder or decoder.
enum Half {
    Cpu(Box<ops::cpu::Half>),
    #[cfg(feature = "burn")]
    Burn(ops::burn::Half),
}

impl Inference {
    /// Folds `weights` and hands them to `processor`; `normalises` says whether the encoder takes
    /// every image [normalised](normalise).
    pub fn new(plan: &Plan, weights: &Weights, processor: &Processor, normalises: bool) -> Self {
        let plan = fold(plan, weights);
        let half = |layers: &[Layer]| Half::new(&plan, layers, processor);
        Self {
            encoder: half(&plan.plan.encoder),
            decoder: half(&plan.plan.decoder),
            input_len: plan.plan.input_len(),
            normalises,
            encoder_width: plan.plan.code_dim * if plan.plan.variational { 2 } else { 1 },
            code_dim: plan.plan.code_dim,
        }
    }

    /// Codes of images given as bytes, channels last: `code_dim` floats an image, into `codes`.
    pub fn encode(&self, images: &[u8], codes: &mut [f32]) {
        let batch = images.len() / self.input_len;
        let width = self.encoder_width;
        if width == self.code_dim {
            let run = |input: Input| self.encoder.run(batch, input, codes);
            with_input(images, self.input_len, self.normalises, run);
            return;
        }
        // A variational encoder gives the log-variance behind the mean.
        let mut both = vec![0.0; batch * width];
        let run = |input: Input| self.encoder.run(batch, input, &mut both);
        with_input(images, self.input_len, self.normalises, run);
        let rows = both.chunks_exact(width);
        for (code, row) in codes.chunks_exact_mut(self.code_dim).zip(rows) {
            code.copy_from_slice(&row[..self.code_dim]);
        }
    }

    /// Reconstructions (0 to 1) of codes.
    pub fn decode(&self, codes: &[f32]) -> Vec<f32> {
        let batch = codes.len() / self.code_dim;
        let mut logits = vec![0.0; batch * self.input_len];
        self.decoder.run(batch, Input::Floats(codes), &mut logits);
        let mut images = vec![0.0; logits.len()];
        lookalike_kernels::sigmoid(&logits, &mut images);
        images
    }
}

/// Hands images to a network as it takes them.
fn with_input(images: &[u8], len: usize, normalises: bool, run: impl FnOnce(Input)) {
    if !normalises {
        return run(Input::Bytes(images));
    }
    let mut floats = vec![0.0; images.len()];
    floats
        .par_chunks_exact_mut(len)
        .zip(images.par_chunks_exact(len))
        .with_min_len(16)
        .for_each(|(floats, image)| {
            to_floats(image, floats);
            normalise(floats);
        });
    run(Input::Floats(&floats));
}

/// The encoder without its last layer, for inference.
pub(crate) struct Trunk {
    half: Half,
    input_len: usize,
    normalises: bool,
    /// Height, width and channels of the map that it gives.
    pub map: [usize; 3],
    /// The indices of the last layer's weight and bias among the plan's parameters.
    pub linear: [usize; 2],
}

impl Trunk {
    /// Of an encoder that ends in a linear layer behind a map; none of another.
    pub fn new(
        plan: &Plan,
        weights: &Weights,
        processor: &Processor,
        normalises: bool,
    ) -> Option<Self> {
        let (last, before) = plan.encoder.split_last()?;
        let &Layer::Linear { weight, bias, .. } = last else {
            return None;
        };
        let Some(Layer::Convolution { geometry, .. }) = before.last() else {
            return None;
        };
        // Parameters come in the order of the layers, so that those behind need not be copied.
        let plan = Plan {
            encoder: before.to_vec(),
            decoder: Vec::new(),
            parameters: plan.parameters[..weight].to_vec(),
            ..plan.clone()
        };
        let weights = Weights {
            parameters: weights.parameters[..weight].to_vec(),
            means: weights.means.clone(),
            variances: weights.variances.clone(),
        };
        let map = [
            geometry.output_height(),
            geometry.output_width(),
            geometry.out_channels,
        ];
        let folded = fold(&plan, &weights);
        Some(Self {
            half: Half::new(&folded, &folded.plan.encoder, processor),
            input_len: folded.plan.input_len(),
            normalises,
            map,
            linear: [weight, bias],
        })
    }

    /// The maps of `batch` images given as bytes, channels last, one after another.
    pub fn maps(&self, batch: usize, images: &[u8]) -> Vec<f32> {
        let mut maps = vec![0.0; batch * self.map.iter().product::<usize>()];
        let run = |input: Input| self.half.run(batch, input, &mut maps);
        with_input(images, self.input_len, self.normalises, run);
        maps
    }
}

impl Half {
    fn new(folded: &Folded, layers: &[Layer], processor: &Processor) -> Self {
        let Folded { plan, parameters } = folded;
        match processor {
            Processor::Cpu => Self::Cpu(Box::new(ops::cpu::Half::new(plan, layers, parameters))),
            #[cfg(feature = "burn")]
            Processor::Burn(device) => Self::Burn(ops::burn::Half::new(layers, parameters, device)),
        }
    }

    fn run(&self, batch: usize, input: Input, output: &mut [f32]) {
        match self {
            Self::Cpu(half) => half.run(batch, input, output),
            #[cfg(feature = "burn")]
            Self::Burn(half) => half.run(batch, input, output),
        }
    }
}

/// A plan without batch norm, and its parameters.
pub(crate) struct Folded {
    pub plan: Plan,
    pub parameters: Vec<Vec<f32>>,
}

/// Folds every batch norm into the convolution before it, whose bias takes the place of `beta`.
pub(crate) fn fold(plan: &Plan, weights: &Weights) -> Folded {
    let mut plan = plan.clone();
    let mut parameters = weights.parameters.clone();
    for layer in plan.encoder.iter_mut().chain(&mut plan.decoder) {
        let Layer::Convolution {
            geometry,
            weight,
            bias,
            norm,
        } = layer
        else {
            continue;
        };
        let Some(folded) = norm.take() else { continue };
        let each = parameters[*weight].len() / geometry.out_channels;
        let mut shifts = vec![0.0; geometry.out_channels];
        for (channel, total) in shifts.iter_mut().enumerate() {
            let (scale, shift) = scale_shift(&folded, weights, channel);
            let before = bias.map_or(0.0, |bias| weights.parameters[bias][channel]);
            *total = before * scale + shift;
            parameters[*weight][channel * each..][..each]
                .iter_mut()
                .for_each(|w| *w *= scale);
        }
        parameters[folded.beta] = shifts;
        *bias = Some(folded.beta);
        geometry.relu = folded.relu;
    }
    Folded { plan, parameters }
}

/// Batch norm of one channel as y = x scale + shift.
fn scale_shift(norm: &Norm, weights: &Weights, channel: usize) -> (f32, f32) {
    let gamma = weights.parameters[norm.gamma][channel];
    let beta = weights.parameters[norm.beta][channel];
    let mean = weights.means[norm.statistics][channel];
    let variance = weights.variances[norm.statistics][channel];
    let scale = gamma / (variance + EPSILON).sqrt();
    (scale, beta - mean * scale)
}

/// Mean pixel of 8-bit images, 0 to 1, per channel.
pub(crate) fn mean_pixel(pixels: &[u8], shape: InputShape) -> Vec<f32> {
    let mut sums = vec![0u64; shape.channels];
    for pixel in pixels.chunks_exact(shape.channels) {
        for (sum, &value) in sums.iter_mut().zip(pixel) {
            *sum += u64::from(value);
        }
    }
    let count = (pixels.len() / shape.channels).max(1) as f64;
    sums.iter()
        .map(|&s| (s as f64 / count / 255.0) as f32)
        .collect()
}

/// Takes apart what was put one after another.
pub(crate) fn split(flat: &[f32], ranges: &[Range<usize>]) -> Vec<Vec<f32>> {
    ranges.iter().map(|r| flat[r.clone()].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;

    #[test]
    fn lengthened_codes_are_drawn_as_before() {
        let shape = InputShape {
            channels: 1,
            height: 16,
            width: 16,
        };
        let plan = Plan::new(Architecture::Bottleneck, shape, 8, false).unwrap();
        let mut weights = Weights::initial(&plan, &[0.3], 5);
        // Biases begin at 0.
        for parameter in weights.parameters.iter_mut().filter(|p| p.len() == 8) {
            parameter.iter_mut().for_each(|value| *value += 0.4);
        }
        let image: Vec<u8> = (0..=255).collect();
        let see = |weights: &Weights| {
            let inference = Inference::new(&plan, weights, &Processor::Cpu, true);
            let mut code = vec![0.0; 8];
            inference.encode(&image, &mut code);
            let drawn = inference.decode(&code);
            (code, drawn)
        };
        let (code, drawn) = see(&weights);
        weights.lengthen_codes(&plan, 5, 2.0);
        let (longer, drawn_from_longer) = see(&weights);
        for (at, (value, before)) in longer.iter().zip(&code).enumerate() {
            let factor = if at < 5 { 1.0 } else { 2.0 };
            assert!(
                (value - factor * before).abs() < 1e-5,
                "{longer:?}, {code:?}"
            );
        }
        for (value, before) in drawn_from_longer.iter().zip(&drawn) {
            assert!((value - before).abs() < 1e-5);
        }
    }
}
