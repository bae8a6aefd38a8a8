//! Adam and AdamW over a network's parameters.

use burn::backend::Flex;
use burn::tensor::{Device, Gradients, Tensor};
use burn_flex::FlexTensor;
use lookalike_kernels::AdamStep;

use crate::network::{to_host, vector};
use crate::ops::Path;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Running means of each parameter's gradient and squared gradient, and the steps taken.
pub(crate) struct Adam {
    first: Vec<Tensor<1>>,
    second: Vec<Tensor<1>>,
    /// Steps taken so far.
    pub steps: u32,
    weight_decay: f32,
    path: Path,
}

/// [`Adam`] in host memory, for a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AdamState {
    pub first: Vec<Vec<f32>>,
    pub second: Vec<Vec<f32>>,
    pub steps: u32,
}

impl AdamState {
    /// Before the first step, for parameters of these lengths.
    pub fn new(lengths: impl Iterator<Item = usize> + Clone) -> Self {
        Self {
            first: lengths.clone().map(|len| vec![0.0; len]).collect(),
            second: lengths.map(|len| vec![0.0; len]).collect(),
            steps: 0,
        }
    }
}

impl Adam {
    /// Continues from `state`; `weight_decay` is decoupled (0 is plain Adam).
    pub fn new(state: &AdamState, weight_decay: f64, device: &Device, path: Path) -> Self {
        let load = |all: &[Vec<f32>]| all.iter().map(|v| vector(v, device)).collect();
        Self {
            first: load(&state.first),
            second: load(&state.second),
            steps: state.steps,
            weight_decay: weight_decay as f32,
            path,
        }
    }

    /// The state in host memory.
    pub fn state(&self) -> AdamState {
        let host = |all: &[Tensor<1>]| all.iter().map(|t| to_host(t.clone())).collect();
        AdamState {
            first: host(&self.first),
            second: host(&self.second),
            steps: self.steps,
        }
    }

    /// Moves every parameter that has a gradient.
    pub fn step(&mut self, parameters: &mut [Tensor<1>], grads: &mut Gradients, rate: f64) {
        self.steps += 1;
        let step = AdamStep {
            learning_rate: rate as f32,
            beta1: BETA_1,
            beta2: BETA_2,
            epsilon: EPSILON,
            weight_decay: self.weight_decay,
            step: self.steps,
        };
        let moments = self.first.iter_mut().zip(&mut self.second);
        for (parameter, (first, second)) in parameters.iter_mut().zip(moments) {
            let Some(gradient) = parameter.grad_remove(grads) else {
                continue;
            };
            // Taken out so that the buffers are held once and can be changed in place.
            let take = |tensor: &mut Tensor<1>| {
                let device = tensor.device();
                std::mem::replace(tensor, Tensor::empty([0], &device))
            };
            let value = take(parameter).inner();
            let (value, m, v) = match self.path {
                Path::Kernels => step_kernels(&step, value, gradient, take(first), take(second)),
                Path::Burn => step_burn(&step, value, gradient, take(first), take(second)),
            };
            *parameter = Tensor::from_inner(value).require_grad();
            *first = m;
            *second = v;
        }
    }
}

type Stepped = (Tensor<1>, Tensor<1>, Tensor<1>);

fn step_kernels(
    step: &AdamStep,
    value: Tensor<1>,
    gradient: Tensor<1>,
    first: Tensor<1>,
    second: Tensor<1>,
) -> Stepped {
    let (mut value, mut first, mut second) = (flex(value), flex(first), flex(second));
    let gradient = flex(gradient);
    lookalike_kernels::adam(
        step,
        value.storage_mut(),
        gradient.storage(),
        first.storage_mut(),
        second.storage_mut(),
    );
    (
        Tensor::from_primitive::<Flex>(value),
        Tensor::from_primitive::<Flex>(first),
        Tensor::from_primitive::<Flex>(second),
    )
}

/// The CPU tensor behind `tensor`, contiguous.
fn flex(tensor: Tensor<1>) -> FlexTensor {
    let tensor = tensor
        .try_into_primitive::<Flex>()
        .expect("the kernel path runs on Flex tensors");
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn step_burn(
    step: &AdamStep,
    value: Tensor<1>,
    gradient: Tensor<1>,
    first: Tensor<1>,
    second: Tensor<1>,
) -> Stepped {
    let first = first * step.beta1 + gradient.clone() * (1.0 - step.beta1);
    let second = second * step.beta2 + gradient.square() * (1.0 - step.beta2);
    let count = step.step as i32;
    let rate = step.learning_rate / (1.0 - step.beta1.powi(count));
    let correction = 1.0 - step.beta2.powi(count);
    let denominator = (second.clone() / correction).sqrt() + step.epsilon;
    let decayed = value * (1.0 - step.learning_rate * step.weight_decay);
    (decayed - first.clone() * rate / denominator, first, second)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    /// Ten steps on f(x) = Σ (x - i)² from 0, on both paths.
    fn descend(path: Path) -> Vec<f32> {
        let device = Device::flex();
        let target = Tensor::<1>::from_data(
            TensorData::from([0.0f32, 1.0, 2.0, -3.0]),
            &device.clone().autodiff(),
        );
        let mut parameters =
            vec![Tensor::<1>::zeros([4], &device.clone().autodiff()).require_grad()];
        let mut adam = Adam::new(&AdamState::new([4].into_iter()), 0.01, &device, path);
        for _ in 0..10 {
            let loss = (parameters[0].clone() - target.clone()).square().sum();
            adam.step(&mut parameters, &mut loss.backward(), 0.1);
        }
        to_host(parameters.remove(0).inner())
    }

    #[test]
    fn both_paths_take_the_same_steps() {
        let (kernels, burn) = (descend(Path::Kernels), descend(Path::Burn));
        for (a, b) in kernels.iter().zip(&burn) {
            assert!((a - b).abs() < 1e-5, "{kernels:?} {burn:?}");
        }
        assert_eq!(kernels[0], 0.0);
        assert!(kernels[1] > 0.8 && kernels[3] < -0.8, "{kernels:?}");
    }
}
