//! Adam and AdamW over a network's parameters.

use lookalike_kernels::AdamStep;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Running means of every parameter's gradient and squared gradient, and the steps taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AdamState {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
    pub steps: u32,
}

impl AdamState {
    /// Before the first step, for so many parameters.
    pub fn new(parameters: usize) -> Self {
        Self {
            first: vec![0.0; parameters],
            second: vec![0.0; parameters],
            steps: 0,
        }
    }
}

/// Step number `step`, from 1, with this learning rate; `weight_decay` is decoupled (0 is plain
/// Adam).
pub(crate) fn adam_step(step: u32, rate: f64, weight_decay: f64) -> AdamStep {
    AdamStep {
        learning_rate: rate as f32,
        beta1: BETA_1,
        beta2: BETA_2,
        epsilon: EPSILON,
        weight_decay: weight_decay as f32,
        step,
    }
}
