//! Whole networks: layers in a row, forward and backward, as few passes over memory as can be.
//!
//! A network is compiled into *stages*: a convolution with what follows it (bias, ReLU, max pooling or
//! batch norm), a linear layer, or the sampling of a variational code. What a layer-by-layer run does
//! in passes of its own is folded into the copies that a convolution makes anyway (see
//! [`Load`](crate::frame::Load)):
//!
//! * *Pooling* happens on a few rows of a convolution's output while they are in the first cache;
//!   the large image is never kept, and its gradient is spread out again row by row.
//! * *Batch norm* (Ioffe and Szegedy, 2015) keeps only the convolution's raw output. Its moments
//!   are summed up while an image's output is in the cache; the next stage applies scale, shift and
//!   ReLU as it reads. Backward, the sums that the gradient needs are taken from the next stage's
//!   dx while that is in the cache, and the gradient itself is computed as the convolution reads
//!   its dy.
//! * The *loss* is taken of an image right after its logits, and its gradient goes back at once.
//!
//! Stages between which nothing has to be known of the whole batch (no batch norm, no linear layer)
//! form a *segment*: a few images at a time go through all of its stages, forward and, for the last
//! segment, backward again, and find everything in the second cache. The article's network is a
//! single segment.
//!
//! Sums over a batch (gradients, moments, losses) are made in a fixed number of parts that are added
//! up in order, so a result has the same bits on any number of threads. All memory belongs to the
//! [`Workspace`] and to the threads: once it has seen its largest batch, nothing is allocated.

mod backward;
mod forward;
mod plane;
mod workspace;

pub use workspace::Workspace;

use crate::convolution::{Convolution, Prepared};
use crate::dispatch::InstructionSet;
use crate::frame::Scaling;
use crate::linear;
use crate::loss::Loss;
use crate::precision::{Arithmetic, Precision};
use crate::scratch::Lines;
use rayon::prelude::*;
use std::ops::Range;

/// One layer; `weight`, `bias` and the like say where in the flat parameters theirs begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layer {
    /// A 3x3 convolution; its weight is (out_channels, in_channels, 3, 3). With `norm` its own ReLU
    /// is switched off.
    Convolution {
        /// Sizes and what is fused with it.
        geometry: Convolution,
        /// Where the weight begins.
        weight: usize,
        /// Where the bias begins.
        bias: Option<usize>,
        /// Batch norm after it, in training.
        norm: Option<BatchNorm>,
    },
    /// 2x2 max pooling with stride 2 of the convolution right before it, which has no batch norm;
    /// an odd side's last window is narrower.
    MaxPool,
    /// y = x · w + b; the weight is (inputs, outputs).
    Linear {
        /// Floats in.
        inputs: usize,
        /// Floats out.
        outputs: usize,
        /// Where the weight begins.
        weight: usize,
        /// Where the bias begins.
        bias: usize,
        /// ReLU after it.
        relu: bool,
    },
    /// The variational code (Kingma and Welling, 2014): of `dim` means and `dim` log-variances
    /// (taken as within ±10), mean + noise · e^(log-variance / 2).
    Sample {
        /// Floats of the code.
        dim: usize,
    },
}

/// Batch norm: where its parameters begin, and where its statistics do in the two slices of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Where the scale begins, one float per channel.
    pub gamma: usize,
    /// Where the shift begins.
    pub beta: usize,
    /// Where its means begin in the means, and its variances in the variances.
    pub statistics: usize,
    /// Added to the variance under the root.
    pub epsilon: f32,
    /// ReLU after it.
    pub relu: bool,
}

/// The images that a network reads.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// As the network wants them.
    Floats(&'a [f32]),
    /// To be divided by 255.
    Bytes(&'a [u8]),
}

/// What a training step is about.
#[derive(Clone, Copy, Debug)]
pub struct Example<'a> {
    /// (batch, input_len) floats.
    pub inputs: &'a [f32],
    /// (batch, output_len) floats, 0 to 1.
    pub targets: &'a [f32],
    /// How the output, through a sigmoid, is compared with them.
    pub loss: Loss,
    /// Standard normal numbers for a [`Layer::Sample`], (batch, dim), else empty.
    pub noise: &'a [f32],
    /// Weight of the code's divergence from the standard normal, summed over the code and averaged
    /// over the batch, beside the mean loss.
    pub divergence_weight: f32,
}

/// Where a training step's results go; all of it is overwritten.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// As long as the parameters.
    pub parameters: &'a mut [f32],
    /// Each batch norm's means of this batch.
    pub means: &'a mut [f32],
    /// Each batch norm's variances of this batch (unbiased: divided by the count less one).
    pub variances: &'a mut [f32],
}

struct ConvolutionStage {
    prepared: Prepared,
    weight: Range<usize>,
    bias: Option<Range<usize>>,
    pooled: bool,
    norm: Option<NormStage>,
    /// Floats of a row before pooling.
    large_row: usize,
    /// Floats of a row after pooling.
    row: usize,
}

struct NormStage {
    at: BatchNorm,
    channels: usize,
    gamma: Lines,
    beta: Lines,
}

struct LinearStage {
    prepared: linear::Prepared,
    weight: Range<usize>,
    bias: Range<usize>,
}

// A network has a handful of stages: their size does not matter.
#[allow(clippy::large_enum_variant)]
enum Kind {
    Convolution(ConvolutionStage),
    Linear(LinearStage),
    Sample { dim: usize },
}

struct Stage {
    kind: Kind,
    /// Floats of an image in and out.
    input: usize,
    output: usize,
}

impl Stage {
    fn norm(&self) -> Option<&NormStage> {
        match &self.kind {
            Kind::Convolution(stage) => stage.norm.as_ref(),
            _ => None,
        }
    }
}

/// Layers in a row, with their weights packed for the processor.
pub struct Network {
    set: InstructionSet,
    stages: Vec<Stage>,
    /// Runs of stages that an image goes through without waiting for the others.
    segments: Vec<Range<usize>>,
    parameters: usize,
    statistics: usize,
    training: bool,
}

impl Network {
    /// `training`: [`gradient`](Self::gradient) will be asked for. Weights are all zero until
    /// [`load`](Self::load) is called.
    ///
    /// # Panics
    ///
    /// If there are no layers, if a layer's input is not as long as the output before it, or if max
    /// pooling does not follow a convolution without batch norm.
    pub fn new(layers: &[Layer], training: bool) -> Self {
        Self::in_precision(Precision::F32, layers, training)
    }

    /// The same with factors of that precision in the products of convolutions and linear layers,
    /// forward and backward. With [`Precision::Bf16`], those that have fewer than 8 channels
    /// (floats, if linear) on either side stay `f32`: copying is most of their work. Parameters,
    /// outputs and gradients are `f32` in any case.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn in_precision(precision: Precision, layers: &[Layer], training: bool) -> Self {
        Self::with(Arithmetic::in_use(precision), layers, training)
    }

    pub(crate) fn with(
        arithmetic: impl Into<Arithmetic>,
        layers: &[Layer],
        training: bool,
    ) -> Self {
        let arithmetic = arithmetic.into();
        let set = arithmetic.set();
        let between = |inputs: usize, outputs: usize| match inputs.min(outputs) < BF16_FROM {
            true => Arithmetic::F32(set),
            false => arithmetic,
        };
        let mut stages: Vec<Stage> = Vec::new();
        let (mut parameters, mut statistics) = (0, 0);
        let mut take = |start: usize, len: usize| {
            parameters = parameters.max(start + len);
            start..start + len
        };
        for (index, layer) in layers.iter().enumerate() {
            let dx = training && index > 0;
            let stage = match *layer {
                Layer::MaxPool => {
                    let before = index.checked_sub(1).map(|i| layers[i]);
                    assert!(
                        matches!(before, Some(Layer::Convolution { norm: None, .. })),
                        "network: max pooling follows a convolution without batch norm"
                    );
                    continue;
                }
                Layer::Convolution {
                    mut geometry,
                    weight,
                    bias,
                    norm,
                } => {
                    geometry.relu &= norm.is_none();
                    let pooled = matches!(layers.get(index + 1), Some(Layer::MaxPool));
                    let channels = geometry.out_channels;
                    let (height, width) = (geometry.output_height(), geometry.output_width());
                    let (rows, columns) = match pooled {
                        true => (height.div_ceil(2), width.div_ceil(2)),
                        false => (height, width),
                    };
                    Stage {
                        input: geometry.input_len(1),
                        output: rows * columns * channels,
                        kind: Kind::Convolution(ConvolutionStage {
                            prepared: Prepared::new(
                                between(geometry.in_channels, channels),
                                &geometry,
                                pooled,
                                dx,
                            ),
                            weight: take(weight, geometry.weight_len()),
                            bias: bias.map(|bias| take(bias, channels)),
                            pooled,
                            norm: norm.map(|at| {
                                take(at.gamma, channels);
                                take(at.beta, channels);
                                statistics = statistics.max(at.statistics + channels);
                                NormStage {
                                    at,
                                    channels,
                                    gamma: Lines::zeroed(channels),
                                    beta: Lines::zeroed(channels),
                                }
                            }),
                            large_row: width * channels,
                            row: columns * channels,
                        }),
                    }
                }
                Layer::Linear {
                    inputs,
                    outputs,
                    weight,
                    bias,
                    relu,
                } => Stage {
                    input: inputs,
                    output: outputs,
                    kind: Kind::Linear(LinearStage {
                        prepared: linear::Prepared::new(
                            between(inputs, outputs),
                            inputs,
                            outputs,
                            relu,
                            dx,
                        ),
                        weight: take(weight, inputs * outputs),
                        bias: take(bias, outputs),
                    }),
                },
                Layer::Sample { dim } => Stage {
                    input: 2 * dim,
                    output: dim,
                    kind: Kind::Sample { dim },
                },
            };
            if let Some(before) = stages.last() {
                assert_eq!(
                    before.output, stage.input,
                    "network: layer {index} takes as many floats as the one before gives"
                );
            }
            stages.push(stage);
        }
        assert!(!stages.is_empty(), "network: no layers");
        let mut segments: Vec<Range<usize>> = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            let convolution = |stage: &Stage| matches!(stage.kind, Kind::Convolution(_));
            let goes_on = index > 0
                && convolution(stage)
                && convolution(&stages[index - 1])
                && stages[index - 1].norm().is_none();
            match segments.last_mut() {
                Some(segment) if goes_on => segment.end += 1,
                _ => segments.push(index..index + 1),
            }
        }
        Self {
            set,
            stages,
            segments,
            parameters,
            statistics,
            training,
        }
    }

    /// Floats of an input image.
    pub fn input_len(&self) -> usize {
        self.stages[0].input
    }

    /// Floats of an image's output.
    pub fn output_len(&self) -> usize {
        self.stages[self.stages.len() - 1].output
    }

    /// Floats of all parameters.
    pub fn parameter_len(&self) -> usize {
        self.parameters
    }

    /// Floats of all batch norms' means (and of their variances).
    pub fn statistics_len(&self) -> usize {
        self.statistics
    }

    /// Packs the parameters: to be called whenever they have changed.
    ///
    /// # Panics
    ///
    /// If there are fewer parameters than the layers say.
    pub fn load(&mut self, parameters: &[f32]) {
        assert!(
            parameters.len() >= self.parameters,
            "network: {} parameters, not {}",
            self.parameters,
            parameters.len()
        );
        let training = self.training;
        self.stages
            .par_iter_mut()
            .with_max_len(1)
            .for_each(|stage| match &mut stage.kind {
                Kind::Convolution(stage) => {
                    let weight = &parameters[stage.weight.clone()];
                    let bias = stage.bias.clone().map(|range| &parameters[range]);
                    stage.prepared.pack_forward(weight, bias);
                    if training {
                        stage.prepared.pack_backward(weight);
                    }
                    if let Some(norm) = &mut stage.norm {
                        let take = |at: usize| &parameters[at..at + norm.channels];
                        norm.gamma.copy_from_slice(take(norm.at.gamma));
                        norm.beta.copy_from_slice(take(norm.at.beta));
                    }
                }
                Kind::Linear(stage) => {
                    let weight = &parameters[stage.weight.clone()];
                    let bias = &parameters[stage.bias.clone()];
                    stage.prepared.pack_forward(weight, Some(bias));
                    if training {
                        stage.prepared.pack_backward(weight);
                    }
                }
                Kind::Sample { .. } => {}
            });
    }
}

/// Channels on the narrower side of a layer from which bf16 is used if asked for.
const BF16_FROM: usize = 8;

/// Images that go through a segment together.
const IMAGES_TOGETHER: usize = 8;

/// A batch norm's numbers for one batch, in the workspace.
struct NormNumbers {
    mean: Lines,
    /// Of the unbiased estimate: divided by the count less one.
    unbiased: Lines,
    inverse: Lines,
    scale: Lines,
    shift: Lines,
    a: Lines,
    b: Lines,
    d: Lines,
}

impl NormNumbers {
    fn new(channels: usize) -> Self {
        let lines = || Lines::zeroed(channels);
        Self {
            mean: lines(),
            unbiased: lines(),
            inverse: lines(),
            scale: lines(),
            shift: lines(),
            a: lines(),
            b: lines(),
            d: lines(),
        }
    }

    fn scaling(&self, relu: bool) -> Scaling<'_> {
        Scaling {
            scale: &self.scale,
            shift: &self.shift,
            relu,
        }
    }
}
