//! The networks' operations on Burn tensors, each with two paths that mean the same.
//!
//! Activations are `[batch, height * width * channels]`, channels last; parameters are flat.
//! On the CPU ([`Path::Kernels`]) an operation is one of `lookalike-kernels`, joined to Burn's
//! runtime dispatch as a backend extension with a hand-written backward pass ([`kernels`]). On
//! every other device, and as the reference in tests ([`Path::Burn`]), it is made of Burn's own
//! differentiable operations ([`reference`]).

mod kernels;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use lookalike_kernels::{Convolution, Loss};

use kernels::NetworkOps;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `lookalike-kernels`: tensors of Burn's Flex backend only.
    Kernels,
    /// Burn's own operations: any backend.
    #[cfg_attr(
        not(any(test, feature = "cuda", feature = "vulkan", feature = "metal")),
        expect(dead_code, reason = "a build for the CPU alone needs it in tests only")
    )]
    Burn,
}

/// Output of batch norm in training, with the batch's statistics (biased variance).
pub(crate) struct Normalised {
    pub output: Tensor<2>,
    pub mean: Tensor<1>,
    pub variance: Tensor<1>,
}

/// Added to the variance under the root, as everywhere.
pub(crate) const EPSILON: f32 = 1e-5;

impl Path {
    /// 3x3 convolution; `weight` is out x in x 3 x 3, flat; `bias` one float per output channel.
    pub fn convolution(
        self,
        x: Tensor<2>,
        weight: Tensor<1>,
        bias: Tensor<1>,
        geometry: Convolution,
    ) -> Tensor<2> {
        match self {
            Self::Kernels => Tensor::from_dispatch(<Dispatch as NetworkOps>::convolution(
                x.into_dispatch(),
                weight.into_dispatch(),
                bias.into_dispatch(),
                geometry,
            )),
            Self::Burn => reference::convolution(x, weight, bias, geometry),
        }
    }

    /// 2x2 max pooling with stride 2, 'same': sides become ceil(side / 2).
    pub fn max_pool(self, x: Tensor<2>, height: usize, width: usize, channels: usize) -> Tensor<2> {
        match self {
            Self::Kernels => Tensor::from_dispatch(<Dispatch as NetworkOps>::max_pool(
                x.into_dispatch(),
                height,
                width,
                channels,
            )),
            Self::Burn => reference::max_pool(x, height, width, channels),
        }
    }

    /// Fully connected layer; `weight` is inputs x outputs, flat.
    pub fn linear(
        self,
        x: Tensor<2>,
        weight: Tensor<1>,
        bias: Tensor<1>,
        outputs: usize,
        relu: bool,
    ) -> Tensor<2> {
        match self {
            Self::Kernels => Tensor::from_dispatch(<Dispatch as NetworkOps>::linear(
                x.into_dispatch(),
                weight.into_dispatch(),
                bias.into_dispatch(),
                outputs,
                relu,
            )),
            Self::Burn => reference::linear(x, weight, bias, outputs, relu),
        }
    }

    /// Batch norm over all but the last `channels` of each row (Ioffe and Szegedy 2015), with
    /// the batch's own statistics.
    pub fn batch_norm(
        self,
        x: Tensor<2>,
        gamma: Tensor<1>,
        beta: Tensor<1>,
        relu: bool,
    ) -> Normalised {
        match self {
            Self::Kernels => {
                let (output, mean, variance) = <Dispatch as NetworkOps>::batch_norm(
                    x.into_dispatch(),
                    gamma.into_dispatch(),
                    beta.into_dispatch(),
                    relu,
                );
                Normalised {
                    output: Tensor::from_dispatch(output),
                    mean: Tensor::from_dispatch(mean),
                    variance: Tensor::from_dispatch(variance),
                }
            }
            Self::Burn => reference::batch_norm(x, gamma, beta, relu),
        }
    }

    /// Mean loss of sigmoid(`logits`) against `targets`, one float.
    pub fn sigmoid_loss(self, logits: Tensor<2>, targets: Tensor<2>, kind: Loss) -> Tensor<1> {
        match self {
            Self::Kernels => Tensor::from_dispatch(<Dispatch as NetworkOps>::sigmoid_loss(
                logits.into_dispatch(),
                targets.into_dispatch(),
                kind,
            )),
            Self::Burn => reference::sigmoid_loss(logits, targets, kind),
        }
    }
}

#[cfg(test)]
mod tests;
