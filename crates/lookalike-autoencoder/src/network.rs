//! Running a [`Plan`]: forward with gradients for training, and folded for inference.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};
use lookalike_images::InputShape;
use lookalike_kernels::{Input, Loss, Network, Precision, Workspace};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::architecture::{Initial, Layer, Norm, Plan};
use crate::batch::{normalise, to_floats};
use crate::ops::engine::{self, Engine, Step, Stepped};
use crate::ops::{EPSILON, Path, reference};

/// Share of each batch in the running statistics of batch norm.
const MOMENTUM: f64 = 0.1;

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
}

/// Inverse of the sigmoid, kept within ±4.6 for data that is nearly all black or all white.
fn logit(p: f32) -> f32 {
    let p = p.clamp(0.01, 0.99);
    (p / (1.0 - p)).ln()
}

/// A network in training: parameters that collect gradients, and running statistics.
pub(crate) struct Trainable {
    pub plan: Plan,
    /// All of them, in the plan's order.
    pub parameters: Tensor<1>,
    means: Tensor<1>,
    variances: Tensor<1>,
    /// Autodiff device.
    pub device: Device,
    engine: Option<Engine>,
}

/// What a step's loss is made of.
pub(crate) struct Judged {
    pub inputs: Tensor<2>,
    pub targets: Tensor<2>,
    pub loss: Loss,
    /// Standard normal numbers for a variational plan, `batch x code_dim`, else empty.
    pub noise: Vec<f32>,
    /// Weight of a variational code's divergence, beside the mean loss.
    pub divergence_weight: f64,
}

impl Trainable {
    /// Puts `weights` on `device`; the precision is for [`Path::Kernels`].
    pub fn new(
        plan: Plan,
        weights: &Weights,
        device: &Device,
        path: Path,
        precision: Precision,
    ) -> Self {
        let autodiff = device.clone().autodiff();
        Self {
            parameters: vector(&weights.parameters.concat(), &autodiff).require_grad(),
            means: vector(&weights.means.concat(), device),
            variances: vector(&weights.variances.concat(), device),
            engine: (path == Path::Kernels).then(|| Engine::new(&plan, precision)),
            plan,
            device: autodiff,
        }
    }

    /// The numbers as they are now, in host memory.
    pub fn weights(&self) -> Weights {
        let statistics = self.plan.statistics_ranges();
        Weights {
            parameters: split(
                &to_host(self.parameters.clone().inner()),
                &self.plan.parameter_ranges(),
            ),
            means: split(&to_host(self.means.clone()), &statistics),
            variances: split(&to_host(self.variances.clone()), &statistics),
        }
    }

    /// The mean loss of a batch (images `[batch, input_len]`, channels last, 0 to 1), ready for
    /// `backward`. The running statistics of batch norm follow the batch's.
    pub fn loss(&mut self, judged: Judged) -> Tensor<1> {
        let stepped = match &self.engine {
            Some(engine) => Step {
                engine: engine.clone(),
                loss: judged.loss,
                noise: Arc::new(judged.noise),
                divergence_weight: judged.divergence_weight as f32,
            }
            .take(self.parameters.clone(), judged.inputs, judged.targets),
            None => self.layer_by_layer(judged),
        };
        if !self.plan.statistics.is_empty() {
            let follow = |running: &mut Tensor<1>, batch: Tensor<1>| {
                *running =
                    running.clone().mul_scalar(1.0 - MOMENTUM) + batch.inner().mul_scalar(MOMENTUM);
            };
            follow(&mut self.means, stepped.means);
            follow(&mut self.variances, stepped.variances);
        }
        stepped.loss
    }

    /// The same by Burn's own operations.
    fn layer_by_layer(&self, judged: Judged) -> Stepped {
        let mut statistics = Vec::new();
        let mut run = |layers: &[Layer], x: Tensor<2>| {
            layers
                .iter()
                .fold(x, |x, layer| self.layer(x, layer, &mut statistics))
        };
        let mut code = run(&self.plan.encoder, judged.inputs);
        let mut divergence = None;
        if self.plan.variational {
            let [batch, width] = code.dims();
            let dim = width / 2;
            let mean = code.clone().slice([0..batch, 0..dim]);
            // Within ±10: exp() of what a fresh network says must not overflow.
            let log_variance = code.slice([0..batch, dim..width]).clamp(-10.0, 10.0);
            let noise = matrix(judged.noise, batch, &self.device);
            code = mean.clone() + noise * (log_variance.clone() * 0.5).exp();
            // Divergence of N(mean, variance) from N(0, 1), summed over the code.
            let sum = (mean.square() + log_variance.clone().exp() - log_variance - 1.0).sum();
            divergence = Some(sum.mul_scalar(0.5 * judged.divergence_weight / batch as f64));
        }
        let logits = run(&self.plan.decoder, code);
        let loss = reference::sigmoid_loss(logits, judged.targets, judged.loss);
        let (means, variances) = statistics.into_iter().unzip();
        let flat = |all: Vec<Tensor<1>>| match all.is_empty() {
            true => Tensor::zeros([0], &self.device),
            false => Tensor::cat(all, 0),
        };
        Stepped {
            loss: match divergence {
                Some(divergence) => loss + divergence,
                None => loss,
            },
            means: flat(means),
            variances: flat(variances),
        }
    }

    /// One layer; batch norm adds its batch's mean and unbiased variance to `statistics`, in the
    /// order of the plan.
    fn layer(
        &self,
        x: Tensor<2>,
        layer: &Layer,
        statistics: &mut Vec<(Tensor<1>, Tensor<1>)>,
    ) -> Tensor<2> {
        let ranges = self.plan.parameter_ranges();
        let parameter = |i: usize| self.parameters.clone().slice([ranges[i].clone()]);
        match layer {
            Layer::Convolution {
                geometry,
                weight,
                bias,
                norm,
            } => {
                let bias = bias.map_or_else(
                    || Tensor::zeros([geometry.out_channels], &self.device),
                    parameter,
                );
                let y = reference::convolution(x, parameter(*weight), bias, *geometry);
                let Some(norm) = norm else { return y };
                let [batch, width] = y.dims();
                let count = (batch * width / norm.channels) as f64;
                let (gamma, beta) = (parameter(norm.gamma), parameter(norm.beta));
                let normalised = reference::batch_norm(y, gamma, beta, norm.relu);
                // The running variance is the unbiased one, as in every framework.
                let unbiased = count / (count - 1.0).max(1.0);
                statistics.push((normalised.mean, normalised.variance.mul_scalar(unbiased)));
                normalised.output
            }
            Layer::MaxPool {
                height,
                width,
                channels,
            } => reference::max_pool(x, *height, *width, *channels),
            Layer::Linear {
                outputs,
                weight,
                bias,
                relu,
            } => reference::linear(x, parameter(*weight), parameter(*bias), *outputs, *relu),
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
    Kernels {
        network: Box<Network>,
        /// Memory of passes that are over, for those to come.
        idle: Mutex<Vec<Workspace>>,
    },
    Burn {
        layers: Vec<Layer>,
        parameters: Vec<Tensor<1>>,
        device: Device,
    },
}

impl Inference {
    /// Folds `weights` and puts them on `device`; `normalises` says whether the encoder takes every
    /// image [normalised](normalise).
    pub fn new(
        plan: &Plan,
        weights: &Weights,
        device: &Device,
        path: Path,
        normalises: bool,
    ) -> Self {
        let plan = fold(plan, weights);
        let half = |layers: &[Layer]| Half::new(&plan, layers, device, path);
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
        device: &Device,
        path: Path,
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
            half: Half::new(&folded, &folded.plan.encoder, device, path),
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
    fn new(folded: &Folded, layers: &[Layer], device: &Device, path: Path) -> Self {
        match path {
            Path::Kernels => {
                let layers = engine::layers(&folded.plan, layers);
                let mut network = Network::new(&layers, false);
                network.load(&folded.parameters.concat());
                Self::Kernels {
                    network: Box::new(network),
                    idle: Mutex::default(),
                }
            }
            Path::Burn => Self::Burn {
                layers: layers.to_vec(),
                parameters: folded
                    .parameters
                    .iter()
                    .map(|p| vector(p, device))
                    .collect(),
                device: device.clone(),
            },
        }
    }

    fn run(&self, batch: usize, input: Input, output: &mut [f32]) {
        match self {
            Self::Kernels { network, idle } => {
                let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
                let taken = idle().pop();
                let mut workspace = taken.unwrap_or_else(|| Workspace::new(network));
                network.forward(&mut workspace, batch, input, output);
                idle().push(workspace);
            }
            Self::Burn {
                layers,
                parameters,
                device,
            } => {
                let floats = match input {
                    Input::Floats(floats) => floats.to_vec(),
                    Input::Bytes(bytes) => {
                        let mut floats = vec![0.0; bytes.len()];
                        to_floats(bytes, &mut floats);
                        floats
                    }
                };
                let x = matrix(floats, batch, device);
                let y = layers.iter().fold(x, |x, layer| match layer {
                    Layer::Convolution {
                        geometry,
                        weight,
                        bias,
                        ..
                    } => {
                        let bias = bias.expect("a folded convolution has a bias");
                        let (weight, bias) = (&parameters[*weight], &parameters[bias]);
                        reference::convolution(x, weight.clone(), bias.clone(), *geometry)
                    }
                    Layer::MaxPool {
                        height,
                        width,
                        channels,
                    } => reference::max_pool(x, *height, *width, *channels),
                    Layer::Linear {
                        outputs,
                        weight,
                        bias,
                        relu,
                    } => {
                        let (weight, bias) = (&parameters[*weight], &parameters[*bias]);
                        reference::linear(x, weight.clone(), bias.clone(), *outputs, *relu)
                    }
                });
                output.copy_from_slice(&to_host(y));
            }
        }
    }
}

/// A plan without batch norm, and its parameters.
struct Folded {
    plan: Plan,
    parameters: Vec<Vec<f32>>,
}

/// Folds every batch norm into the convolution before it, whose bias takes the place of `beta`.
fn fold(plan: &Plan, weights: &Weights) -> Folded {
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

pub(crate) fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

pub(crate) fn matrix(values: Vec<f32>, rows: usize, device: &Device) -> Tensor<2> {
    let columns = values.len() / rows.max(1);
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

pub(crate) fn to_host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("the networks compute in f32")
}
