//! The CPU's training step as a backend extension: `lookalike-kernels` on the floats of Burn's Flex
//! tensors, with a backward pass of our own that Burn's autodiff calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor, TensorData};
use burn_flex::FlexTensor;
use lookalike_kernels::{BatchNorm, Example, Gradient, Layer, Loss, Network, Precision, Workspace};

use super::EPSILON;
use crate::architecture::{self, Plan};

/// A network made ready for training, with its memory.
#[derive(Clone)]
pub(crate) struct Engine(Arc<Mutex<Inner>>);

struct Inner {
    network: Network,
    workspace: Workspace,
    /// The gradient of the step before: if nobody holds it any more, its memory is used again.
    gradient: Option<FlexTensor>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// What a step computes beside its tensors.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub engine: Engine,
    pub loss: Loss,
    /// Standard normal numbers for a variational code, else empty.
    pub noise: Arc<Vec<f32>>,
    /// Weight of that code's divergence.
    pub divergence_weight: f32,
}

/// Loss `[1]`, and the batch's means and (unbiased) variances, flat.
pub(crate) struct Stepped {
    pub loss: Tensor<1>,
    pub means: Tensor<1>,
    pub variances: Tensor<1>,
}

impl Engine {
    /// For training on `plan`.
    pub fn new(plan: &Plan, precision: Precision) -> Self {
        let mut layers = layers(plan, &plan.encoder);
        if plan.variational {
            layers.push(Layer::Sample { dim: plan.code_dim });
        }
        layers.extend(self::layers(plan, &plan.decoder));
        let network = Network::in_precision(precision, &layers, true);
        Self(Arc::new(Mutex::new(Inner {
            workspace: Workspace::new(&network),
            network,
            gradient: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in the middle of a step leaves nothing that the next one reads.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Step {
    /// The loss of a batch, differentiable by the parameters.
    pub fn take(self, parameters: Tensor<1>, inputs: Tensor<2>, targets: Tensor<2>) -> Stepped {
        let (loss, means, variances) = <Dispatch as NetworkOps>::loss(
            parameters.into_dispatch(),
            inputs.into_dispatch(),
            targets.into_dispatch(),
            self,
        );
        Stepped {
            loss: Tensor::from_dispatch(loss),
            means: Tensor::from_dispatch(means),
            variances: Tensor::from_dispatch(variances),
        }
    }

    /// Loss, means, variances and gradient.
    fn compute(
        &self,
        parameters: FlexTensor,
        inputs: FlexTensor,
        targets: FlexTensor,
    ) -> [FlexTensor; 4] {
        let [parameters, inputs, targets] = [parameters, inputs, targets].map(contiguous);
        let batch = inputs.shape()[0];
        let mut inner = self.engine.lock();
        let inner = &mut *inner;
        inner.network.load(floats(&parameters));
        let len = inner.network.parameter_len();
        let mut gradient = inner
            .gradient
            .take()
            .unwrap_or_else(|| tensor(vec![0.0; len], &[len]));
        let statistics = inner.network.statistics_len();
        let (mut means, mut variances) = (vec![0.0; statistics], vec![0.0; statistics]);
        let example = Example {
            inputs: floats(&inputs),
            targets: floats(&targets),
            loss: self.loss,
            noise: &self.noise,
            divergence_weight: self.divergence_weight,
        };
        let loss = inner.network.gradient(
            &mut inner.workspace,
            batch,
            &example,
            &mut Gradient {
                parameters: gradient.storage_mut(),
                means: &mut means,
                variances: &mut variances,
            },
        );
        inner.gradient = Some(gradient.clone());
        [
            tensor(vec![loss as f32], &[1]),
            tensor(means, &[statistics]),
            tensor(variances, &[statistics]),
            gradient,
        ]
    }
}

/// A part of a plan as the kernels take it.
pub(crate) fn layers(plan: &Plan, layers: &[architecture::Layer]) -> Vec<Layer> {
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

#[backend_extension(Flex, Autodiff)]
trait NetworkOps: Backend {
    /// Loss `[1]`, means and variances of the batch norms; see [`Step`].
    fn loss(
        parameters: FloatTensor<Self>,
        inputs: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        step: Step,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// A contiguous tensor, copied only if it was a view.
fn contiguous(x: FlexTensor) -> FlexTensor {
    if x.as_slice::<f32>().is_some() {
        x
    } else {
        x.to_contiguous()
    }
}

/// The floats of a tensor that [`contiguous`] gave.
fn floats(x: &FlexTensor) -> &[f32] {
    x.as_slice()
        .expect("a tensor made contiguous gives its floats as a slice")
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, Shape::from(shape.to_vec())))
}

impl NetworkOps for Flex {
    fn loss(
        parameters: FlexTensor,
        inputs: FlexTensor,
        targets: FlexTensor,
        step: Step,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [loss, means, variances, _] = step.compute(parameters, inputs, targets);
        (loss, means, variances)
    }
}

type Lifted<C> = <Autodiff<Flex, C> as burn::backend::BackendTypes>::FloatTensorPrimitive;

#[derive(Debug)]
struct LossBackward;

impl Backward<Flex, 1> for LossBackward {
    /// The loss's gradient by the parameters: the step computes both at once, image by image.
    type State = FlexTensor;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let slope = contiguous(grads.consume::<Flex>(&ops.node));
        let Some(node) = node else { return };
        let slope = floats(&slope)[0];
        let gradient = if slope == 1.0 {
            ops.state
        } else {
            let scaled: Vec<f32> = floats(&ops.state).iter().map(|g| g * slope).collect();
            let len = scaled.len();
            tensor(scaled, &[len])
        };
        grads.register::<Flex>(node.id, gradient);
    }
}

impl<C: CheckpointStrategy> NetworkOps for Autodiff<Flex, C> {
    fn loss(
        parameters: Lifted<C>,
        inputs: Lifted<C>,
        targets: Lifted<C>,
        step: Step,
    ) -> (Lifted<C>, Lifted<C>, Lifted<C>) {
        let prepared = LossBackward
            .prepare::<C>([parameters.node()])
            .compute_bound()
            .stateful();
        let [loss, means, variances, gradient] = step.compute(
            parameters.into_primitive(),
            inputs.into_primitive(),
            targets.into_primitive(),
        );
        let loss = match prepared {
            OpsKind::Tracked(step) => step.finish(gradient, loss),
            OpsKind::UnTracked(step) => step.finish(loss),
        };
        (loss, Lifted::<C>::new(means), Lifted::<C>::new(variances))
    }
}
