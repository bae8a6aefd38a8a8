//! Running a [`Plan`]: forward with gradients for training, and folded for inference.

use burn::tensor::{Device, Tensor, TensorData};
use lookalike_images::InputShape;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::architecture::{Initial, Layer, Norm, Plan};
use crate::ops::{EPSILON, Path};

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
    pub path: Path,
    pub parameters: Vec<Tensor<1>>,
    means: Vec<Tensor<1>>,
    variances: Vec<Tensor<1>>,
    /// Autodiff device.
    pub device: Device,
}

impl Trainable {
    /// Puts `weights` on `device`.
    pub fn new(plan: Plan, weights: &Weights, device: &Device, path: Path) -> Self {
        let autodiff = device.clone().autodiff();
        let parameters = weights
            .parameters
            .iter()
            .map(|p| vector(p, &autodiff).require_grad())
            .collect();
        let plain = |all: &[Vec<f32>]| all.iter().map(|v| vector(v, device)).collect();
        Self {
            parameters,
            means: plain(&weights.means),
            variances: plain(&weights.variances),
            plan,
            path,
            device: autodiff,
        }
    }

    /// The numbers as they are now, in host memory.
    pub fn weights(&self) -> Weights {
        let host = |all: &[Tensor<1>]| all.iter().map(|t| to_host(t.clone())).collect();
        Weights {
            parameters: self
                .parameters
                .iter()
                .map(|t| to_host(t.clone().inner()))
                .collect(),
            means: host(&self.means),
            variances: host(&self.variances),
        }
    }

    /// Encodes `[batch, input_len]`, channels last, 0 to 1, into `[batch, code_dim]`; for a
    /// variational plan into mean and log-variance, `[batch, 2 code_dim]`.
    pub fn encode(&mut self, input: Tensor<2>) -> Tensor<2> {
        let layers = std::mem::take(&mut self.plan.encoder);
        let code = layers.iter().fold(input, |x, layer| self.layer(x, layer));
        self.plan.encoder = layers;
        code
    }

    /// Decodes `[batch, code_dim]` into logits, `[batch, input_len]`.
    pub fn decode(&mut self, code: Tensor<2>) -> Tensor<2> {
        let layers = std::mem::take(&mut self.plan.decoder);
        let logits = layers.iter().fold(code, |x, layer| self.layer(x, layer));
        self.plan.decoder = layers;
        logits
    }

    fn layer(&mut self, x: Tensor<2>, layer: &Layer) -> Tensor<2> {
        let parameter = |i: usize| self.parameters[i].clone();
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
                let y = self
                    .path
                    .convolution(x, parameter(*weight), bias, *geometry);
                self.normalise(y, *norm)
            }
            Layer::MaxPool {
                height,
                width,
                channels,
            } => self.path.max_pool(x, *height, *width, *channels),
            Layer::Linear {
                outputs,
                weight,
                bias,
                relu,
            } => self
                .path
                .linear(x, parameter(*weight), parameter(*bias), *outputs, *relu),
        }
    }

    fn normalise(&mut self, y: Tensor<2>, norm: Option<Norm>) -> Tensor<2> {
        let Some(norm) = norm else { return y };
        let [batch, width] = y.dims();
        let count = (batch * width / norm.channels) as f64;
        let gamma = self.parameters[norm.gamma].clone();
        let beta = self.parameters[norm.beta].clone();
        let normalised = self.path.batch_norm(y, gamma, beta, norm.relu);
        let follow = |running: &mut Tensor<1>, batch: Tensor<1>, correction: f64| {
            *running = running.clone().mul_scalar(1.0 - MOMENTUM)
                + batch.inner().mul_scalar(MOMENTUM * correction);
        };
        follow(&mut self.means[norm.statistics], normalised.mean, 1.0);
        // The running variance is the unbiased one, as in every framework.
        let unbiased = count / (count - 1.0).max(1.0);
        follow(
            &mut self.variances[norm.statistics],
            normalised.variance,
            unbiased,
        );
        normalised.output
    }
}

/// One layer of a network that no longer learns.
enum FoldedLayer {
    Convolution {
        geometry: lookalike_kernels::Convolution,
        weight: Tensor<1>,
        bias: Tensor<1>,
    },
    MaxPool {
        height: usize,
        width: usize,
        channels: usize,
    },
    Linear {
        outputs: usize,
        weight: Tensor<1>,
        bias: Tensor<1>,
        relu: bool,
    },
}

/// A network for inference: batch norm folded into the layer before it.
pub(crate) struct Inference {
    encoder: Vec<FoldedLayer>,
    decoder: Vec<FoldedLayer>,
    device: Device,
    path: Path,
    input_len: usize,
    code_dim: usize,
}

impl Inference {
    /// Folds `weights` and puts them on `device`.
    pub fn new(plan: &Plan, weights: &Weights, device: &Device, path: Path) -> Self {
        let fold = |layers: &[Layer]| {
            layers
                .iter()
                .map(|layer| fold_layer(layer, weights, device))
                .collect()
        };
        Self {
            encoder: fold(&plan.encoder),
            decoder: fold(&plan.decoder),
            device: device.clone(),
            path,
            input_len: plan.input_len(),
            code_dim: plan.code_dim,
        }
    }

    /// Codes of images given as floats 0 to 1, channels last: `code_dim` floats an image.
    pub fn encode(&self, images: Vec<f32>) -> Vec<f32> {
        flush_denormals();
        let batch = images.len() / self.input_len;
        let x = matrix(images, batch, &self.device);
        let code = self.run(&self.encoder, x);
        // A variational encoder gives the log-variance behind the mean.
        let [_, width] = code.dims();
        let code = if width > self.code_dim {
            code.slice([0..batch, 0..self.code_dim])
        } else {
            code
        };
        to_host(code)
    }

    /// Reconstructions (0 to 1) of codes.
    pub fn decode(&self, codes: Vec<f32>) -> Vec<f32> {
        let batch = codes.len() / self.code_dim;
        let logits = self.run(&self.decoder, matrix(codes, batch, &self.device));
        to_host(burn::tensor::activation::sigmoid(logits))
    }

    fn run(&self, layers: &[FoldedLayer], x: Tensor<2>) -> Tensor<2> {
        layers.iter().fold(x, |x, layer| match layer {
            FoldedLayer::Convolution {
                geometry,
                weight,
                bias,
            } => self
                .path
                .convolution(x, weight.clone(), bias.clone(), *geometry),
            FoldedLayer::MaxPool {
                height,
                width,
                channels,
            } => self.path.max_pool(x, *height, *width, *channels),
            FoldedLayer::Linear {
                outputs,
                weight,
                bias,
                relu,
            } => self
                .path
                .linear(x, weight.clone(), bias.clone(), *outputs, *relu),
        })
    }
}

fn fold_layer(layer: &Layer, weights: &Weights, device: &Device) -> FoldedLayer {
    let bias_of = |bias: Option<usize>, len: usize| {
        bias.map_or_else(|| vec![0.0; len], |i| weights.parameters[i].clone())
    };
    match layer {
        Layer::Convolution {
            geometry,
            weight,
            bias,
            norm,
        } => {
            let mut geometry = *geometry;
            let mut bias = bias_of(*bias, geometry.out_channels);
            let mut weight = weights.parameters[*weight].clone();
            if let Some(norm) = norm {
                let each = weight.len() / geometry.out_channels;
                for (channel, row) in weight.chunks_exact_mut(each).enumerate() {
                    let (scale, shift) = scale_shift(norm, weights, channel);
                    row.iter_mut().for_each(|w| *w *= scale);
                    bias[channel] = bias[channel] * scale + shift;
                }
                geometry.relu = norm.relu;
            }
            FoldedLayer::Convolution {
                geometry,
                weight: vector(&weight, device),
                bias: vector(&bias, device),
            }
        }
        Layer::MaxPool {
            height,
            width,
            channels,
        } => FoldedLayer::MaxPool {
            height: *height,
            width: *width,
            channels: *channels,
        },
        Layer::Linear {
            outputs,
            weight,
            bias,
            relu,
        } => FoldedLayer::Linear {
            outputs: *outputs,
            weight: vector(&weights.parameters[*weight], device),
            bias: vector(&weights.parameters[*bias], device),
            relu: *relu,
        },
    }
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

/// Lets this thread and the workers of its pool take denormal numbers as zero: all of them, or
/// which of them computes would decide the result.
pub(crate) fn flush_denormals() {
    lookalike_kernels::flush_denormals();
    rayon::broadcast(|_| lookalike_kernels::flush_denormals());
}
