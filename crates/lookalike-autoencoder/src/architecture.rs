//! The three networks, as plans: which layers, of which shapes, with which parameters.
//!
//! A [`Plan`] is data. It knows nothing of devices; [`crate::network`] runs it.

mod builder;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use lookalike_images::InputShape;
use lookalike_kernels::Convolution;
use serde::{Deserialize, Serialize};

use self::builder::Builder;
use crate::error::AutoencoderError;

/// Smallest side, in pixels, that a network takes.
pub const MIN_SIDE: usize = 8;
/// Largest side, in pixels, that a network takes.
pub const MAX_SIDE: usize = 1024;

/// Images that are encoded at a time, and the floats that their largest activation may have, at
/// most: hundreds of digits, but a few photographs.
const MAX_IMAGES_TOGETHER: usize = 1024;
const MAX_ACTIVATION: usize = 16 << 20;

/// What the names of the encoder's tensors begin with.
const ENCODER: &str = "encoder";

/// Which network an autoencoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// The article's network: Conv 32, pool, Conv 32, pool = the code (7x7x32 for MNIST);
    /// Conv 32, up, Conv 32, up, Conv 1. 28,353 parameters on 28x28x1.
    Conv,
    /// The network of the article's notebook: the code is 4x4x8 = 128 floats; one convolution
    /// is *valid*. 4,385 parameters on 28x28x1.
    Compact,
    /// Strided convolutions with batch norm, and a linear bottleneck of `code_dim` floats.
    Bottleneck,
}

impl Architecture {
    /// Every architecture, in the order of the command line's help.
    pub const ALL: [Architecture; 3] = [Self::Bottleneck, Self::Conv, Self::Compact];
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conv => "conv",
            Self::Compact => "compact",
            Self::Bottleneck => "bottleneck",
        })
    }
}

impl FromStr for Architecture {
    type Err = AutoencoderError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|a| a.to_string() == name)
            .ok_or_else(|| AutoencoderError::unknown("architecture", name, &Self::ALL))
    }
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Initial {
    /// Uniform with variance 2 / fan-in, for layers followed by ReLU (He et al. 2015).
    He { fan_in: usize },
    /// Uniform with a twentieth of the variance of Glorot and Bengio (2010), 0.1 / (fan-in +
    /// fan-out), for the layers that give codes and images. What such a layer starts with stays
    /// in it, and in the codes it is noise: from the full variance P@5 after 2 epochs on 30,000
    /// digits is .949, from this .959.
    Small { fan_in: usize, fan_out: usize },
    /// All the same.
    Constant(f32),
    /// The logit of the data's mean pixel, per channel: the network starts at the best constant
    /// answer. Without it these networks sit on an all-black plateau for hundreds of steps.
    OutputBias,
}

/// One learned tensor of the plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    pub initial: Initial,
}

impl Parameter {
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Batch norm after a layer, by the indices of its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Norm {
    pub gamma: usize,
    pub beta: usize,
    /// Index into the running means and variances.
    pub statistics: usize,
    pub channels: usize,
    pub relu: bool,
}

/// One layer; the usize fields named after tensors are indices into [`Plan::parameters`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Layer {
    /// 3x3 convolution; `bias` is absent where batch norm follows.
    Convolution {
        geometry: Convolution,
        weight: usize,
        bias: Option<usize>,
        norm: Option<Norm>,
    },
    /// 2x2 max pooling, stride 2, 'same'.
    MaxPool {
        height: usize,
        width: usize,
        channels: usize,
    },
    /// Fully connected; `weight` is inputs x outputs.
    Linear {
        outputs: usize,
        weight: usize,
        bias: usize,
        relu: bool,
    },
}

/// A network for one input shape: layers, parameters and batch-norm statistics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub shape: InputShape,
    pub encoder: Vec<Layer>,
    pub decoder: Vec<Layer>,
    pub parameters: Vec<Parameter>,
    /// Name prefix and channels of each batch norm.
    pub statistics: Vec<(String, usize)>,
    /// Floats of a code.
    pub code_dim: usize,
    /// Height, width and channels of the code where it is a map, else 1, 1, `code_dim`.
    pub code_map: [usize; 3],
    /// The encoder's last layer gives mean and log-variance, twice `code_dim` floats.
    pub variational: bool,
}

impl Plan {
    /// Plans `architecture` for images of `shape`.
    ///
    /// `code_dim` is read by [`Architecture::Bottleneck`] only; the others' code is fixed by the
    /// shape. `variational` needs the bottleneck.
    ///
    /// # Errors
    ///
    /// When the shape cannot be taken by the architecture; the message says which can.
    pub fn new(
        architecture: Architecture,
        shape: InputShape,
        code_dim: usize,
        variational: bool,
    ) -> Result<Self, AutoencoderError> {
        check_shape(shape)?;
        if variational && architecture != Architecture::Bottleneck {
            let message = format!(
                "the variational objective needs the linear code of the bottleneck network; {architecture} has none"
            );
            return Err(AutoencoderError::setting("architecture", message));
        }
        match architecture {
            Architecture::Conv => Ok(Builder::new(shape).conv()),
            Architecture::Compact => Builder::new(shape).compact(),
            Architecture::Bottleneck => Builder::new(shape).bottleneck(code_dim, variational),
        }
    }

    /// Learned numbers in all.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }

    /// The encoder alone, as a plan whose output is the code. Its parameters and statistics are the
    /// first of this plan's.
    pub fn encoder_alone(&self) -> Self {
        let (parameters, statistics) = self.encoder_ends();
        Self {
            decoder: Vec::new(),
            parameters: self.parameters[..parameters].to_vec(),
            statistics: self.statistics[..statistics].to_vec(),
            ..self.clone()
        }
    }

    /// The decoder alone, as a plan whose input is the code. Its parameters and statistics are the
    /// last of this plan's.
    pub fn decoder_alone(&self) -> Self {
        let (parameters, statistics) = self.encoder_ends();
        let mut decoder = self.decoder.clone();
        for layer in &mut decoder {
            match layer {
                Layer::Convolution {
                    weight, bias, norm, ..
                } => {
                    *weight -= parameters;
                    bias.iter_mut().for_each(|bias| *bias -= parameters);
                    if let Some(norm) = norm {
                        norm.gamma -= parameters;
                        norm.beta -= parameters;
                        norm.statistics -= statistics;
                    }
                }
                Layer::Linear { weight, bias, .. } => {
                    *weight -= parameters;
                    *bias -= parameters;
                }
                Layer::MaxPool { .. } => {}
            }
        }
        Self {
            encoder: Vec::new(),
            decoder,
            parameters: self.parameters[parameters..].to_vec(),
            statistics: self.statistics[statistics..].to_vec(),
            ..self.clone()
        }
    }

    /// How many of the parameters, and of the statistics, are the encoder's.
    pub fn encoder_ends(&self) -> (usize, usize) {
        let of_encoder = |name: &str| name.starts_with(ENCODER);
        (
            self.parameters
                .iter()
                .filter(|p| of_encoder(&p.name))
                .count(),
            self.statistics
                .iter()
                .filter(|(n, _)| of_encoder(n))
                .count(),
        )
    }

    /// Where each parameter lies when all are put one after another.
    pub fn parameter_ranges(&self) -> Vec<Range<usize>> {
        consecutive(self.parameters.iter().map(Parameter::len))
    }

    /// Where each batch norm's means (and variances) lie when all are put one after another.
    pub fn statistics_ranges(&self) -> Vec<Range<usize>> {
        consecutive(self.statistics.iter().map(|(_, channels)| *channels))
    }

    /// Floats of the largest activation that one image makes.
    pub fn widest(&self) -> usize {
        let output = |layer: &Layer| match layer {
            Layer::Convolution { geometry, .. } => geometry.output_len(1),
            Layer::MaxPool { .. } => 0,
            Layer::Linear { outputs, .. } => *outputs,
        };
        let layers = self.encoder.iter().chain(&self.decoder);
        layers.map(output).max().unwrap_or(0).max(self.input_len())
    }

    /// Images to encode at a time: as many as keep the largest activation at 64 MiB.
    pub fn images_together(&self) -> usize {
        (MAX_ACTIVATION / self.widest()).clamp(1, MAX_IMAGES_TOGETHER)
    }

    /// Floats of one image.
    pub fn input_len(&self) -> usize {
        self.shape.channels * self.shape.height * self.shape.width
    }
}

fn consecutive(lengths: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    lengths
        .scan(0, |end, len| {
            let start = *end;
            *end += len;
            Some(start..*end)
        })
        .collect()
}

fn check_shape(shape: InputShape) -> Result<(), AutoencoderError> {
    let sides = MIN_SIDE..=MAX_SIDE;
    if !matches!(shape.channels, 1 | 3)
        || !sides.contains(&shape.height)
        || !sides.contains(&shape.width)
    {
        let message = format!(
            "no network for images of {} channels, {} x {} pixels: channels must be 1 or 3 and sides {MIN_SIDE} to {MAX_SIDE}",
            shape.channels, shape.height, shape.width
        );
        return Err(AutoencoderError::setting("shape", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MNIST: InputShape = InputShape {
        channels: 1,
        height: 28,
        width: 28,
    };

    fn output_of(plan: &Plan) -> usize {
        match plan.decoder.last().unwrap() {
            Layer::Convolution { geometry, .. } => geometry.output_len(1),
            other => panic!("the decoder ends in {other:?}"),
        }
    }

    #[test]
    fn the_articles_networks_have_exactly_its_parameters() {
        let conv = Plan::new(Architecture::Conv, MNIST, 0, false).unwrap();
        assert_eq!(conv.parameter_count(), 28_353);
        assert_eq!(conv.code_map, [7, 7, 32]);
        let compact = Plan::new(Architecture::Compact, MNIST, 0, false).unwrap();
        assert_eq!(compact.parameter_count(), 4_385);
        assert_eq!(compact.code_map, [4, 4, 8]);
        assert_eq!(compact.code_dim, 128);
        assert_eq!(output_of(&conv), 784);
        assert_eq!(output_of(&compact), 784);
    }

    #[test]
    fn the_bottleneck_gives_back_every_shape() {
        for channels in [1, 3] {
            for (height, width) in [(16, 16), (28, 28), (17, 40), (33, 129), (256, 256), (64, 9)] {
                let shape = InputShape {
                    channels,
                    height,
                    width,
                };
                let plan = Plan::new(Architecture::Bottleneck, shape, 32, false).unwrap();
                assert_eq!(output_of(&plan), channels * height * width, "{shape:?}");
                let plan = Plan::new(Architecture::Conv, shape, 0, false).unwrap();
                assert_eq!(output_of(&plan), channels * height * width, "{shape:?}");
            }
        }
    }

    #[test]
    fn shapes_that_no_network_takes_are_refused() {
        let shape = |channels, height, width| InputShape {
            channels,
            height,
            width,
        };
        for bad in [
            shape(2, 28, 28),
            shape(1, 7, 28),
            shape(3, 28, 1025),
            shape(1, 0, 0),
        ] {
            assert!(Plan::new(Architecture::Bottleneck, bad, 32, false).is_err());
        }
        let error = Plan::new(Architecture::Compact, shape(1, 32, 32), 0, false).unwrap_err();
        assert!(error.to_string().contains("28"), "{error}");
        assert!(Plan::new(Architecture::Bottleneck, MNIST, 0, false).is_err());
        assert!(Plan::new(Architecture::Conv, MNIST, 0, true).is_err());
    }
}
