//! Training and inference on `lookalike-kernels`.

use std::sync::{Mutex, PoisonError};

use lookalike_kernels::{
    AdamStep, BatchNorm, Example, Gradient, Input, Layer, Network, Precision, Workspace,
};

use super::{EPSILON, MOMENTUM};
use crate::architecture::{self, Plan};
use crate::network::Weights;
use crate::optimiser::AdamState;

/// A network in training, with its memory and the optimiser's.
pub(crate) struct Learner {
    network: Network,
    workspace: Workspace,
    /// All of them, in the plan's order.
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    running: Statistics,
    batch: Statistics,
    adam: AdamState,
}

/// Means and (unbiased) variances of every batch norm's channels, in the plan's order.
struct Statistics {
    means: Vec<f32>,
    variances: Vec<f32>,
}

impl Learner {
    pub fn new(plan: &Plan, weights: &Weights, adam: AdamState, precision: Precision) -> Self {
        let mut layers = layers(plan, &plan.encoder);
        if plan.variational {
            layers.push(Layer::Sample { dim: plan.code_dim });
        }
        layers.extend(self::layers(plan, &plan.decoder));
        let network = Network::in_precision(precision, &layers, true);
        let statistics = || vec![0.0; network.statistics_len()];
        Self {
            workspace: Workspace::new(&network),
            parameters: weights.parameters.concat(),
            gradient: vec![0.0; network.parameter_len()],
            running: Statistics {
                means: weights.means.concat(),
                variances: weights.variances.concat(),
            },
            batch: Statistics {
                means: statistics(),
                variances: statistics(),
            },
            network,
            adam,
        }
    }

    /// The mean loss of a batch. Its gradient is kept for [`step`](Self::step); the running
    /// statistics follow the batch's.
    pub fn loss(&mut self, batch: usize, example: &Example) -> f64 {
        self.network.load(&self.parameters);
        let loss = self.network.gradient(
            &mut self.workspace,
            batch,
            example,
            &mut Gradient {
                parameters: &mut self.gradient,
                means: &mut self.batch.means,
                variances: &mut self.batch.variances,
            },
        );
        let follow = |running: &mut [f32], batch: &[f32]| {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = *running * (1.0 - MOMENTUM) + *batch * MOMENTUM;
            }
        };
        follow(&mut self.running.means, &self.batch.means);
        follow(&mut self.running.variances, &self.batch.variances);
        f64::from(loss as f32)
    }

    /// Moves the parameters along the last gradient.
    pub fn step(&mut self, step: &AdamStep) {
        lookalike_kernels::adam(
            step,
            &mut self.parameters,
            &self.gradient,
            &mut self.adam.first,
            &mut self.adam.second,
        );
        self.adam.steps = step.step;
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u32 {
        self.adam.steps
    }

    pub fn adam(&self) -> &AdamState {
        &self.adam
    }

    /// The numbers as they are now.
    pub fn weights(&self, plan: &Plan) -> Weights {
        Weights::split(
            plan,
            &self.parameters,
            &self.running.means,
            &self.running.variances,
        )
    }

    #[cfg(test)]
    pub fn gradient(&self) -> &[f32] {
        &self.gradient
    }
}

/// Encoder or decoder, for inference.
pub(crate) struct Half {
    network: Network,
    /// Memory of passes that are over, for those to come.
    idle: Mutex<Vec<Workspace>>,
}

impl Half {
    /// Of a plan without batch norm, and all of its parameters.
    pub fn new(plan: &Plan, layers: &[architecture::Layer], parameters: &[Vec<f32>]) -> Self {
        let mut network = Network::new(&self::layers(plan, layers), false);
        network.load(&parameters.concat());
        Self {
            network,
            idle: Mutex::default(),
        }
    }

    pub fn run(&self, batch: usize, input: Input, output: &mut [f32]) {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut workspace = taken.unwrap_or_else(|| Workspace::new(&self.network));
        self.network.forward(&mut workspace, batch, input, output);
        idle().push(workspace);
    }
}

/// A part of a plan as the kernels take it.
fn layers(plan: &Plan, layers: &[architecture::Layer]) -> Vec<Layer> {
    let parameters = plan.parameter_ranges();
    let statistics = plan.statistics_ranges();
    let at = |parameter: usize| parameters[parameter].start;
    layers
        .iter()
        .map(|layer| match layer {
            architecture::Layer::Convolution {
                geometry,
                weight,
                bias,
                norm,
            } => Layer::Convolution {
                geometry: *geometry,
                weight: at(*weight),
                bias: bias.map(at),
                norm: norm.map(|norm| BatchNorm {
                    gamma: at(norm.gamma),
                    beta: at(norm.beta),
                    statistics: statistics[norm.statistics].start,
                    epsilon: EPSILON,
                    relu: norm.relu,
                }),
            },
            architecture::Layer::MaxPool { .. } => Layer::MaxPool,
            architecture::Layer::Linear {
                outputs,
                weight,
                bias,
                relu,
            } => Layer::Linear {
                inputs: plan.parameters[*weight].len() / outputs,
                outputs: *outputs,
                weight: at(*weight),
                bias: at(*bias),
                relu: *relu,
            },
        })
        .collect()
}
