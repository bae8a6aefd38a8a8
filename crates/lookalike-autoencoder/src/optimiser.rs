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

/// Running means of every parameter's gradient and squared gradient, and the steps taken.
pub(crate) struct Adam {
    first: Tensor<1>,
    second: Tensor<1>,
    steps: u32,
    weight_decay: f32,
    path: Path,
}

/// [`Adam`] in host memory, for a checkpoint.
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

impl Adam {
    /// Continues from `state`; `weight_decay` is decoupled (0 is plain Adam).
    pub fn new(state: &AdamState, weight_decay: f64, device: &Device, path: Path) -> Self {
        Self {
            first: vector(&state.first, device),
            second: vector(&state.second, device),
            steps: state.steps,
            weight_decay: weight_decay as f32,
            path,
        }
    }

    /// The state in host memory.
    pub fn state(&self) -> AdamState {
        AdamState {
            first: to_host(self.first.clone()),
            second: to_host(self.second.clone()),
            steps: self.steps,
        }
    }

    /// Moves the parameters, if they have a gradient.
    pub fn step(&mut self, parameters: &mut Tensor<1>, grads: &mut Gradients, rate: f64) {
        self.steps += 1;
        let step = AdamStep {
            learning_rate: rate as f32,
            beta1: BETA_1,
            beta2: BETA_2,
            epsilon: EPSILON,
            weight_decay: self.weight_decay,
            step: self.steps,
        };
        let Some(gradient) = parameters.grad_remove(grads) else {
            return;
        };
        // Taken out so that the buffers are held once and can be changed in place.
        let take = |tensor: &mut Tensor<1>| {
            let device = tensor.device();
            std::mem::replace(tensor, Tensor::empty([0], &device))
        };
        let value = take(parameters).inner();
        let (first, second) = (take(&mut self.first), take(&mut self.second));
        let (value, first, second) = match self.path {
            Path::Kernels => step_kernels(&step, value, gradient, first, second),
            Path::Burn => step_burn(&step, value, gradient, first, second),
        };
        *parameters = Tensor::from_inner(value).require_grad();
        self.first = first;
        self.second = second;
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
        let mut parameters = Tensor::<1>::zeros([4], &device.clone().autodiff()).require_grad();
        let mut adam = Adam::new(&AdamState::new(4), 0.01, &device, path);
        for _ in 0..10 {
            let loss = (parameters.clone() - target.clone()).square().sum();
            adam.step(&mut parameters, &mut loss.backward(), 0.1);
        }
        to_host(parameters.inner())
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
