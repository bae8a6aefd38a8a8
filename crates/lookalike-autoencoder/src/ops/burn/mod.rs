//! Training and inference by Burn's own operations: on GPUs, and as the reference that the kernels
//! are tested against.

use burn::tensor::{Device, Tensor, TensorData};
use lookalike_kernels::{AdamStep, Example, Input};

use super::MOMENTUM;
use crate::architecture::{Layer, Plan};
use crate::batch::to_floats;
use crate::network::Weights;
use crate::optimiser::AdamState;

mod layers;

/// A network in training.
pub(crate) struct Learner {
    plan: Plan,
    /// All of them, in the plan's order; they collect gradients.
    parameters: Tensor<1>,
    gradient: Option<Tensor<1>>,
    means: Tensor<1>,
    variances: Tensor<1>,
    first: Tensor<1>,
    second: Tensor<1>,
    steps: u32,
    /// Autodiff device.
    device: Device,
}

impl Learner {
    pub fn new(plan: &Plan, weights: &Weights, adam: AdamState, device: &Device) -> Self {
        let autodiff = device.clone().autodiff();
        Self {
            plan: plan.clone(),
            parameters: vector(&weights.parameters.concat(), &autodiff).require_grad(),
            gradient: None,
            means: vector(&weights.means.concat(), device),
            variances: vector(&weights.variances.concat(), device),
            first: vector(&adam.first, device),
            second: vector(&adam.second, device),
            steps: adam.steps,
            device: autodiff,
        }
    }

    /// The mean loss of a batch. Its gradient is kept for [`step`](Self::step); the running
    /// statistics follow the batch's.
    pub fn loss(&mut self, batch: usize, example: &Example) -> f64 {
        let mut statistics = Vec::new();
        let mut run = |layers: &[Layer], x: Tensor<2>| {
            layers
                .iter()
                .fold(x, |x, layer| self.layer(x, layer, &mut statistics))
        };
        let inputs = matrix(example.inputs.to_vec(), batch, &self.device);
        let targets = matrix(example.targets.to_vec(), batch, &self.device);
        let mut code = run(&self.plan.encoder, inputs);
        let mut divergence = None;
        if self.plan.variational {
            let [batch, width] = code.dims();
            let dim = width / 2;
            let mean = code.clone().slice([0..batch, 0..dim]);
            // Within ±10: exp() of what a fresh network says must not overflow.
            let log_variance = code.slice([0..batch, dim..width]).clamp(-10.0, 10.0);
            let noise = matrix(example.noise.to_vec(), batch, &self.device);
            code = mean.clone() + noise * (log_variance.clone() * 0.5).exp();
            // Divergence of N(mean, variance) from N(0, 1), summed over the code.
            let sum = (mean.square() + log_variance.clone().exp() - log_variance - 1.0).sum();
            let weight = 0.5 * example.divergence_weight / batch as f32;
            divergence = Some(sum.mul_scalar(weight));
        }
        let logits = run(&self.plan.decoder, code);
        let mut loss = layers::sigmoid_loss(logits, targets, example.loss);
        if let Some(divergence) = divergence {
            loss = loss + divergence;
        }
        if !statistics.is_empty() {
            let (means, variances): (Vec<_>, Vec<_>) = statistics.into_iter().unzip();
            let follow = |running: &mut Tensor<1>, batch: Vec<Tensor<1>>| {
                let batch = Tensor::cat(batch, 0).inner();
                *running = running.clone().mul_scalar(1.0 - MOMENTUM) + batch.mul_scalar(MOMENTUM);
            };
            follow(&mut self.means, means);
            follow(&mut self.variances, variances);
        }
        let value = f64::from(to_host(loss.clone().inner())[0]);
        self.gradient = self.parameters.grad_remove(&mut loss.backward());
        value
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
        let y = forward(x, layer, parameter, &self.device);
        let Layer::Convolution {
            norm: Some(norm), ..
        } = layer
        else {
            return y;
        };
        let [batch, width] = y.dims();
        let count = (batch * width / norm.channels) as f64;
        let (gamma, beta) = (parameter(norm.gamma), parameter(norm.beta));
        let normalised = layers::batch_norm(y, gamma, beta, norm.relu);
        // The running variance is the unbiased one, as in every framework.
        let unbiased = count / (count - 1.0).max(1.0);
        statistics.push((normalised.mean, normalised.variance.mul_scalar(unbiased)));
        normalised.output
    }

    /// Moves the parameters along the last gradient.
    pub fn step(&mut self, step: &AdamStep) {
        self.steps = step.step;
        let Some(gradient) = self.gradient.take() else {
            return;
        };
        let first = self.first.clone() * step.beta1 + gradient.clone() * (1.0 - step.beta1);
        let second = self.second.clone() * step.beta2 + gradient.square() * (1.0 - step.beta2);
        let count = step.step as i32;
        let rate = step.learning_rate / (1.0 - step.beta1.powi(count));
        let correction = 1.0 - step.beta2.powi(count);
        let denominator = (second.clone() / correction).sqrt() + step.epsilon;
        let value = self.parameters.clone().inner();
        let decayed = value * (1.0 - step.learning_rate * step.weight_decay);
        let moved = decayed - first.clone() * rate / denominator;
        self.parameters = Tensor::from_inner(moved).require_grad();
        (self.first, self.second) = (first, second);
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    pub fn adam(&self) -> AdamState {
        AdamState {
            first: to_host(self.first.clone()),
            second: to_host(self.second.clone()),
            steps: self.steps,
        }
    }

    /// The numbers as they are now.
    pub fn weights(&self) -> Weights {
        Weights::split(
            &self.plan,
            &to_host(self.parameters.clone().inner()),
            &to_host(self.means.clone()),
            &to_host(self.variances.clone()),
        )
    }

    #[cfg(test)]
    pub fn gradient(&self) -> Vec<f32> {
        to_host(self.gradient.clone().expect("a gradient"))
    }
}

/// Encoder or decoder, for inference.
pub(crate) struct Half {
    layers: Vec<Layer>,
    parameters: Vec<Tensor<1>>,
    device: Device,
}

impl Half {
    /// Of a plan without batch norm, and all of its parameters.
    pub fn new(layers: &[Layer], parameters: &[Vec<f32>], device: &Device) -> Self {
        Self {
            layers: layers.to_vec(),
            parameters: parameters.iter().map(|p| vector(p, device)).collect(),
            device: device.clone(),
        }
    }

    pub fn run(&self, batch: usize, input: Input, output: &mut [f32]) {
        let floats = match input {
            Input::Floats(floats) => floats.to_vec(),
            Input::Bytes(bytes) => {
                let mut floats = vec![0.0; bytes.len()];
                to_floats(bytes, &mut floats);
                floats
            }
        };
        let parameter = |index: usize| self.parameters[index].clone();
        let x = matrix(floats, batch, &self.device);
        let y = self
            .layers
            .iter()
            .fold(x, |x, layer| forward(x, layer, parameter, &self.device));
        output.copy_from_slice(&to_host(y));
    }
}

/// One layer, but for its batch norm.
fn forward(
    x: Tensor<2>,
    layer: &Layer,
    parameter: impl Fn(usize) -> Tensor<1>,
    device: &Device,
) -> Tensor<2> {
    match layer {
        Layer::Convolution {
            geometry,
            weight,
            bias,
            ..
        } => {
            let bias = match bias {
                Some(bias) => parameter(*bias),
                None => Tensor::zeros([geometry.out_channels], device),
            };
            layers::convolution(x, parameter(*weight), bias, *geometry)
        }
        Layer::MaxPool {
            height,
            width,
            channels,
        } => layers::max_pool(x, *height, *width, *channels),
        Layer::Linear {
            outputs,
            weight,
            bias,
            relu,
        } => layers::linear(x, parameter(*weight), parameter(*bias), *outputs, *relu),
    }
}

fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn matrix(values: Vec<f32>, rows: usize, device: &Device) -> Tensor<2> {
    let columns = values.len() / rows.max(1);
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

fn to_host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("the networks compute in f32")
}
