//! The CPU's kernels as a backend extension: forward on Burn's Flex tensors, and the
//! hand-written backward passes that Burn's autodiff calls.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;
use lookalike_kernels::{self as kernels, Convolution, Loss};

use super::EPSILON;

/// See [`super::Path`] for the meaning and the shapes of each operation.
#[backend_extension(Flex, Autodiff)]
pub(super) trait NetworkOps: Backend {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Convolution,
    ) -> FloatTensor<Self>;

    fn max_pool(
        x: FloatTensor<Self>,
        height: usize,
        width: usize,
        channels: usize,
    ) -> FloatTensor<Self>;

    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        outputs: usize,
        relu: bool,
    ) -> FloatTensor<Self>;

    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    fn sigmoid_loss(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        kind: Loss,
    ) -> FloatTensor<Self>;
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

/// Rows of the tensor's first axis.
fn rows(x: &FlexTensor) -> usize {
    x.shape()[0]
}

fn max_pool_forward(
    x: &FlexTensor,
    height: usize,
    width: usize,
    channels: usize,
) -> (FlexTensor, Vec<u8>) {
    let batch = rows(x);
    let len = height.div_ceil(2) * width.div_ceil(2) * channels;
    let mut y = vec![0.0; batch * len];
    let mut choice = vec![0; batch * len];
    kernels::max_pool_forward(
        batch,
        height,
        width,
        channels,
        floats(x),
        &mut y,
        &mut choice,
    );
    (tensor(y, &[batch, len]), choice)
}

fn sigmoid_loss_with_gradient(
    logits: &FlexTensor,
    targets: &FlexTensor,
    kind: Loss,
) -> (FlexTensor, FlexTensor) {
    let mut gradient = vec![0.0; floats(logits).len()];
    let loss = kernels::sigmoid_loss(kind, floats(logits), floats(targets), &mut gradient);
    let shape: Vec<usize> = logits.shape().iter().copied().collect();
    (tensor(vec![loss as f32], &[1]), tensor(gradient, &shape))
}

impl NetworkOps for Flex {
    fn convolution(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        geometry: Convolution,
    ) -> FlexTensor {
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        let batch = rows(&x);
        let mut y = vec![0.0; geometry.output_len(batch)];
        kernels::conv_forward(
            &geometry,
            batch,
            floats(&x),
            floats(&weight),
            Some(floats(&bias)),
            &mut y,
        );
        tensor(y, &[batch, geometry.output_len(1)])
    }

    fn max_pool(x: FlexTensor, height: usize, width: usize, channels: usize) -> FlexTensor {
        max_pool_forward(&contiguous(x), height, width, channels).0
    }

    fn linear(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        outputs: usize,
        relu: bool,
    ) -> FlexTensor {
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        let (batch, inputs) = (rows(&x), x.shape()[1]);
        let mut y = vec![0.0; batch * outputs];
        kernels::linear_forward(
            batch,
            inputs,
            outputs,
            floats(&x),
            floats(&weight),
            Some(floats(&bias)),
            relu,
            &mut y,
        );
        tensor(y, &[batch, outputs])
    }

    fn batch_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        relu: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (x, gamma, beta) = (contiguous(x), contiguous(gamma), contiguous(beta));
        let channels = floats(&gamma).len();
        let (batch, width) = (rows(&x), x.shape()[1]);
        let mut y = vec![0.0; batch * width];
        let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
        kernels::batch_norm_forward(
            batch * width / channels,
            channels,
            floats(&x),
            floats(&gamma),
            floats(&beta),
            EPSILON,
            relu,
            &mut y,
            &mut mean,
            &mut variance,
        );
        (
            tensor(y, &[batch, width]),
            tensor(mean, &[channels]),
            tensor(variance, &[channels]),
        )
    }

    fn sigmoid_loss(logits: FlexTensor, targets: FlexTensor, kind: Loss) -> FlexTensor {
        sigmoid_loss_with_gradient(&contiguous(logits), &contiguous(targets), kind).0
    }
}

type Lifted<C> = <Autodiff<Flex, C> as burn::backend::BackendTypes>::FloatTensorPrimitive;

#[derive(Debug)]
struct ConvolutionBackward;

impl Backward<Flex, 3> for ConvolutionBackward {
    /// Input, weight, output and geometry.
    type State = (FlexTensor, FlexTensor, FlexTensor, Convolution);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_weight, node_bias] = ops.parents;
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let (x, weight, y, geometry) = ops.state;
        let batch = rows(&x);
        let mut dx = node_x
            .is_some()
            .then(|| vec![0.0; geometry.input_len(batch)]);
        let mut dweight = vec![0.0; geometry.weight_len()];
        let mut dbias = vec![0.0; geometry.out_channels];
        kernels::conv_backward(
            &geometry,
            batch,
            floats(&x),
            floats(&weight),
            floats(&y),
            floats(&dy),
            dx.as_deref_mut(),
            &mut dweight,
            node_bias.is_some().then_some(dbias.as_mut_slice()),
        );
        if let (Some(node), Some(dx)) = (node_x, dx) {
            grads.register::<Flex>(node.id, tensor(dx, &[batch, geometry.input_len(1)]));
        }
        if let Some(node) = node_weight {
            grads.register::<Flex>(node.id, tensor(dweight, &[geometry.weight_len()]));
        }
        if let Some(node) = node_bias {
            grads.register::<Flex>(node.id, tensor(dbias, &[geometry.out_channels]));
        }
    }
}

#[derive(Debug)]
struct MaxPoolBackward;

impl Backward<Flex, 1> for MaxPoolBackward {
    /// Which of its window's pixels each output took; height, width and channels of the input.
    type State = (Vec<u8>, [usize; 3]);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let (choice, [height, width, channels]) = ops.state;
        let Some(node) = node else { return };
        let batch = rows(&dy);
        let len = height * width * channels;
        let mut dx = vec![0.0; batch * len];
        kernels::max_pool_backward(
            batch,
            height,
            width,
            channels,
            floats(&dy),
            &choice,
            &mut dx,
        );
        grads.register::<Flex>(node.id, tensor(dx, &[batch, len]));
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    /// Input, weight, output, and whether the output was rectified.
    type State = (FlexTensor, FlexTensor, FlexTensor, bool);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_weight, node_bias] = ops.parents;
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let (x, weight, y, relu) = ops.state;
        let (batch, inputs, outputs) = (rows(&x), x.shape()[1], y.shape()[1]);
        let mut dx = node_x.is_some().then(|| vec![0.0; batch * inputs]);
        let mut dweight = vec![0.0; inputs * outputs];
        let mut dbias = vec![0.0; outputs];
        kernels::linear_backward(
            batch,
            inputs,
            outputs,
            floats(&x),
            floats(&weight),
            floats(&y),
            relu,
            floats(&dy),
            dx.as_deref_mut(),
            &mut dweight,
            node_bias.is_some().then_some(dbias.as_mut_slice()),
        );
        if let (Some(node), Some(dx)) = (node_x, dx) {
            grads.register::<Flex>(node.id, tensor(dx, &[batch, inputs]));
        }
        if let Some(node) = node_weight {
            grads.register::<Flex>(node.id, tensor(dweight, &[inputs * outputs]));
        }
        if let Some(node) = node_bias {
            grads.register::<Flex>(node.id, tensor(dbias, &[outputs]));
        }
    }
}

/// What batch norm's backward pass reads.
#[derive(Clone, Debug)]
struct NormState {
    x: FlexTensor,
    gamma: FlexTensor,
    mean: FlexTensor,
    variance: FlexTensor,
    y: FlexTensor,
    relu: bool,
}

#[derive(Debug)]
struct BatchNormBackward;

impl Backward<Flex, 3> for BatchNormBackward {
    type State = NormState;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_gamma, node_beta] = ops.parents;
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let state = ops.state;
        let channels = floats(&state.gamma).len();
        let (batch, width) = (rows(&state.x), state.x.shape()[1]);
        let mut dx = vec![0.0; batch * width];
        let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
        kernels::batch_norm_backward(
            batch * width / channels,
            channels,
            floats(&state.x),
            floats(&state.gamma),
            floats(&state.mean),
            floats(&state.variance),
            EPSILON,
            state.relu,
            floats(&state.y),
            floats(&dy),
            &mut dx,
            &mut dgamma,
            &mut dbeta,
        );
        if let Some(node) = node_x {
            grads.register::<Flex>(node.id, tensor(dx, &[batch, width]));
        }
        if let Some(node) = node_gamma {
            grads.register::<Flex>(node.id, tensor(dgamma, &[channels]));
        }
        if let Some(node) = node_beta {
            grads.register::<Flex>(node.id, tensor(dbeta, &[channels]));
        }
    }
}

#[derive(Debug)]
struct SigmoidLossBackward;

impl Backward<Flex, 1> for SigmoidLossBackward {
    /// The loss's gradient by the logits, computed in the forward pass.
    type State = FlexTensor;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let Some(node) = node else { return };
        let scale = floats(&dy)[0];
        let gradient = if scale == 1.0 {
            ops.state
        } else {
            let scaled = floats(&ops.state).iter().map(|g| g * scale).collect();
            let shape: Vec<usize> = ops.state.shape().iter().copied().collect();
            tensor(scaled, &shape)
        };
        grads.register::<Flex>(node.id, gradient);
    }
}

impl<C: CheckpointStrategy> NetworkOps for Autodiff<Flex, C> {
    fn convolution(
        x: Lifted<C>,
        weight: Lifted<C>,
        bias: Lifted<C>,
        geometry: Convolution,
    ) -> Lifted<C> {
        let prepared = ConvolutionBackward
            .prepare::<C>([x.node(), weight.node(), bias.node()])
            .compute_bound()
            .stateful();
        let (x, weight) = (
            contiguous(x.into_primitive()),
            contiguous(weight.into_primitive()),
        );
        let y = Flex::convolution(x.clone(), weight.clone(), bias.into_primitive(), geometry);
        match prepared {
            OpsKind::Tracked(step) => step.finish((x, weight, y.clone(), geometry), y),
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn max_pool(x: Lifted<C>, height: usize, width: usize, channels: usize) -> Lifted<C> {
        let prepared = MaxPoolBackward
            .prepare::<C>([x.node()])
            .compute_bound()
            .stateful();
        let (y, choice) =
            max_pool_forward(&contiguous(x.into_primitive()), height, width, channels);
        match prepared {
            OpsKind::Tracked(step) => step.finish((choice, [height, width, channels]), y),
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn linear(
        x: Lifted<C>,
        weight: Lifted<C>,
        bias: Lifted<C>,
        outputs: usize,
        relu: bool,
    ) -> Lifted<C> {
        let prepared = LinearBackward
            .prepare::<C>([x.node(), weight.node(), bias.node()])
            .compute_bound()
            .stateful();
        let (x, weight) = (
            contiguous(x.into_primitive()),
            contiguous(weight.into_primitive()),
        );
        let y = Flex::linear(
            x.clone(),
            weight.clone(),
            bias.into_primitive(),
            outputs,
            relu,
        );
        match prepared {
            OpsKind::Tracked(step) => step.finish((x, weight, y.clone(), relu), y),
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn batch_norm(
        x: Lifted<C>,
        gamma: Lifted<C>,
        beta: Lifted<C>,
        relu: bool,
    ) -> (Lifted<C>, Lifted<C>, Lifted<C>) {
        let prepared = BatchNormBackward
            .prepare::<C>([x.node(), gamma.node(), beta.node()])
            .compute_bound()
            .stateful();
        let (x, gamma) = (
            contiguous(x.into_primitive()),
            contiguous(gamma.into_primitive()),
        );
        let (y, mean, variance) =
            Flex::batch_norm(x.clone(), gamma.clone(), beta.into_primitive(), relu);
        let statistics = (
            Lifted::<C>::new(mean.clone()),
            Lifted::<C>::new(variance.clone()),
        );
        let y = match prepared {
            OpsKind::Tracked(step) => {
                let state = NormState {
                    x,
                    gamma,
                    mean,
                    variance,
                    y: y.clone(),
                    relu,
                };
                step.finish(state, y)
            }
            OpsKind::UnTracked(step) => step.finish(y),
        };
        (y, statistics.0, statistics.1)
    }

    fn sigmoid_loss(logits: Lifted<C>, targets: Lifted<C>, kind: Loss) -> Lifted<C> {
        let prepared = SigmoidLossBackward
            .prepare::<C>([logits.node()])
            .compute_bound()
            .stateful();
        let (loss, gradient) = sigmoid_loss_with_gradient(
            &contiguous(logits.into_primitive()),
            &contiguous(targets.into_primitive()),
            kind,
        );
        match prepared {
            OpsKind::Tracked(step) => step.finish(gradient, loss),
            OpsKind::UnTracked(step) => step.finish(loss),
        }
    }
}
