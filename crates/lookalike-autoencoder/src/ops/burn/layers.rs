//! A network's layers and losses, made of Burn's own operations.

use burn::tensor::Tensor;
use burn::tensor::activation;
use burn::tensor::module;
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use lookalike_kernels::{Convolution, Loss};

use crate::ops::EPSILON;

/// Output of batch norm in training, with the batch's statistics (biased variance).
pub(crate) struct Normalised {
    pub output: Tensor<2>,
    pub mean: Tensor<1>,
    pub variance: Tensor<1>,
}

/// Channels last, flat, to Burn's channels first.
fn to_map(x: Tensor<2>, height: usize, width: usize, channels: usize) -> Tensor<4> {
    let [batch, _] = x.dims();
    x.reshape([batch, height, width, channels])
        .permute([0, 3, 1, 2])
}

fn to_rows(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.permute([0, 2, 3, 1])
        .reshape([batch, height * width * channels])
}

/// Grows each side by what 'same' pooling or padding asks, with `value`.
fn pad(x: Tensor<4>, sides: [usize; 4], value: f32) -> Tensor<4> {
    let [left, right, top, bottom] = sides;
    if sides == [0; 4] {
        return x;
    }
    x.pad((left, right, top, bottom), value)
}

/// 3x3 convolution; `weight` is out x in x 3 x 3, flat; `bias` one float per output channel.
pub(crate) fn convolution(
    x: Tensor<2>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    geometry: Convolution,
) -> Tensor<2> {
    let Convolution {
        height,
        width,
        in_channels,
        out_channels,
        stride,
        padding,
        upsample,
        relu,
    } = geometry;
    let mut x = to_map(x, height, width, in_channels);
    if upsample {
        let options = InterpolateOptions::new(InterpolateMode::Nearest)
            .with_output_size([2 * height, 2 * width]);
        x = module::interpolate(x, options);
    }
    let x = pad(
        x,
        [padding.left, padding.right, padding.top, padding.bottom],
        0.0,
    );
    let weight = weight.reshape([out_channels, in_channels, 3, 3]);
    let options = ConvOptions::new([stride, stride], [0, 0], [1, 1], 1);
    let y = module::conv2d(x, weight, Some(bias), options);
    to_rows(if relu { activation::relu(y) } else { y })
}

/// 2x2 max pooling with stride 2, 'same': sides become ceil(side / 2).
pub(crate) fn max_pool(x: Tensor<2>, height: usize, width: usize, channels: usize) -> Tensor<2> {
    let x = to_map(x, height, width, channels);
    let x = pad(x, [0, width % 2, 0, height % 2], f32::MIN);
    let [batch, channels, height, width] = x.dims();
    // The four pixels of each window side by side; a maximum over them is differentiable on
    // every backend.
    let windows = x.reshape([batch, channels, height / 2, 2, width / 2, 2]);
    let pooled = windows.max_dim(5).max_dim(3);
    to_rows(pooled.reshape([batch, channels, height / 2, width / 2]))
}

/// Fully connected layer; `weight` is inputs x outputs, flat.
pub(crate) fn linear(
    x: Tensor<2>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    outputs: usize,
    relu: bool,
) -> Tensor<2> {
    let [_, inputs] = x.dims();
    let y = x.matmul(weight.reshape([inputs, outputs])) + bias.unsqueeze::<2>();
    if relu { activation::relu(y) } else { y }
}

/// Batch norm over all but the last `channels` of each row (Ioffe and Szegedy 2015), with the
/// batch's own statistics.
pub(crate) fn batch_norm(
    x: Tensor<2>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    relu: bool,
) -> Normalised {
    let [batch, width] = x.dims();
    let [channels] = gamma.dims();
    let rows = x.reshape([batch * width / channels, channels]);
    let mean = rows.clone().mean_dim(0);
    let centred = rows - mean.clone();
    let variance = centred.clone().square().mean_dim(0);
    let scale = gamma.unsqueeze::<2>() / (variance.clone() + EPSILON).sqrt();
    let y = centred * scale + beta.unsqueeze::<2>();
    let y = if relu { activation::relu(y) } else { y };
    Normalised {
        output: y.reshape([batch, width]),
        mean: mean.detach().reshape([channels]),
        variance: variance.detach().reshape([channels]),
    }
}

/// Mean loss of `logits`, through a sigmoid where `kind` has one, against `targets`, one float.
pub(crate) fn sigmoid_loss(logits: Tensor<2>, targets: Tensor<2>, kind: Loss) -> Tensor<1> {
    match kind {
        Loss::LinearSquaredError => (logits - targets).square().mean(),
        Loss::MeanSquaredError => (activation::sigmoid(logits) - targets).square().mean(),
        // max(x, 0) - x t + ln(1 + e^-|x|): stable for any logit.
        Loss::BinaryCrossEntropy => (activation::relu(logits.clone()) - logits.clone() * targets
            + (-logits.abs()).exp().log1p())
        .mean(),
    }
}
