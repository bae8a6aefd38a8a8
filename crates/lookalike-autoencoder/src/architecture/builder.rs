//! The layers of each network, one after the other.

use lookalike_images::InputShape;
use lookalike_kernels::{Convolution, Padding};

use super::{ENCODER, Initial, Layer, Norm, Parameter, Plan};
use crate::error::AutoencoderError;

/// Channels of the first strided stage; each further stage doubles them up to [`MAX_STAGE_WIDTH`].
const FIRST_STAGE: usize = 32;
const MAX_STAGE_WIDTH: usize = 256;
/// Strided stages are added until the longer side is at most this many pixels.
const MIN_MAP_SIDE: usize = 5;

/// Walks from the input to the output, keeping the present map's shape.
pub(super) struct Builder {
    plan: Plan,
    height: usize,
    width: usize,
    channels: usize,
    part: &'static str,
    convolutions: usize,
    linears: usize,
}

/// What a convolution does besides its channels.
#[derive(Clone, Copy)]
struct Options {
    stride: usize,
    upsample: bool,
    padding: Padding,
    relu: bool,
    norm: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stride: 1,
            upsample: false,
            padding: Padding::same(),
            relu: true,
            norm: false,
        }
    }
}

impl Builder {
    pub fn new(shape: InputShape) -> Self {
        Self {
            plan: Plan {
                shape,
                encoder: Vec::new(),
                decoder: Vec::new(),
                parameters: Vec::new(),
                statistics: Vec::new(),
                code_dim: 0,
                code_map: [0; 3],
                variational: false,
            },
            height: shape.height,
            width: shape.width,
            channels: shape.channels,
            part: ENCODER,
            convolutions: 0,
            linears: 0,
        }
    }

    pub fn conv(mut self) -> Plan {
        let (full, half) = ((self.height, self.width), halve(self.height, self.width));
        self.convolve(32, Options::default());
        self.pool();
        self.convolve(32, Options::default());
        self.pool();
        self.end_encoder_with_map();
        self.convolve(32, Options::default());
        self.convolve_up(32, half, true, false);
        self.output(full);
        self.plan
    }

    pub fn compact(mut self) -> Result<Plan, AutoencoderError> {
        // Pooling three times, doubling twice, losing 2 to the valid convolution and doubling
        // again gives back the side only where side = 4 modulo 8.
        for side in [self.height, self.width] {
            if side % 8 != 4 {
                let message = format!(
                    "the compact network's valid convolution gives back sides of 12, 20, 28, 36, … pixels only, not {side}: choose another size or network"
                );
                return Err(AutoencoderError::setting("shape", message));
            }
        }
        self.convolve(16, Options::default());
        self.pool();
        self.convolve(8, Options::default());
        self.pool();
        self.convolve(8, Options::default());
        self.pool();
        self.end_encoder_with_map();
        let up = Options {
            upsample: true,
            ..Options::default()
        };
        self.convolve(8, Options::default());
        self.convolve(8, up);
        let valid = Options {
            padding: Padding::valid(),
            ..up
        };
        self.convolve(16, valid);
        let full = (self.plan.shape.height, self.plan.shape.width);
        self.output(full);
        Ok(self.plan)
    }

    pub fn bottleneck(
        mut self,
        code_dim: usize,
        variational: bool,
    ) -> Result<Plan, AutoencoderError> {
        if !(1..=4096).contains(&code_dim) {
            let message = format!("a code of {code_dim} floats: it must be 1 to 4096");
            return Err(AutoencoderError::setting("code_dim", message));
        }
        // Shape before each stage and the stage's channels, for the way back.
        let mut stages = Vec::new();
        let mut channels = FIRST_STAGE;
        while self.height.max(self.width) > MIN_MAP_SIDE {
            stages.push(((self.height, self.width), channels));
            let strided = Options {
                stride: 2,
                norm: true,
                ..Options::default()
            };
            self.convolve(channels, strided);
            channels = (channels * 2).min(MAX_STAGE_WIDTH);
        }
        let map = (self.height, self.width, self.channels);
        let flat = map.0 * map.1 * map.2;
        let outputs = if variational { 2 * code_dim } else { code_dim };
        self.linear(flat, outputs, false);
        self.plan.code_dim = code_dim;
        self.plan.code_map = [1, 1, code_dim];
        self.plan.variational = variational;
        self.begin_decoder();
        self.linear(code_dim, flat, true);
        (self.height, self.width, self.channels) = map;
        for &(size, channels) in stages.iter().rev() {
            self.convolve_up(channels / 2, size, true, true);
        }
        let last = Options {
            relu: false,
            ..Options::default()
        };
        self.convolve(self.plan.shape.channels, last);
        Ok(self.plan)
    }

    fn end_encoder_with_map(&mut self) {
        self.plan.code_dim = self.height * self.width * self.channels;
        self.plan.code_map = [self.height, self.width, self.channels];
        self.begin_decoder();
    }

    fn begin_decoder(&mut self) {
        self.part = "decoder";
        self.convolutions = 0;
        self.linears = 0;
    }

    fn push(&mut self, layer: Layer) {
        if self.part == ENCODER {
            self.plan.encoder.push(layer);
        } else {
            self.plan.decoder.push(layer);
        }
    }

    fn parameter(&mut self, name: String, shape: Vec<usize>, initial: Initial) -> usize {
        self.plan.parameters.push(Parameter {
            name,
            shape,
            initial,
        });
        self.plan.parameters.len() - 1
    }

    fn norm(&mut self, name: &str, channels: usize, relu: bool) -> Norm {
        let gamma = self.parameter(
            format!("{name}.weight"),
            vec![channels],
            Initial::Constant(1.0),
        );
        let beta = self.parameter(
            format!("{name}.bias"),
            vec![channels],
            Initial::Constant(0.0),
        );
        self.plan.statistics.push((name.to_owned(), channels));
        Norm {
            gamma,
            beta,
            statistics: self.plan.statistics.len() - 1,
            channels,
            relu,
        }
    }

    fn convolve(&mut self, out_channels: usize, options: Options) {
        self.convolutions += 1;
        let name = format!("{}.conv{}", self.part, self.convolutions);
        let geometry = Convolution {
            height: self.height,
            width: self.width,
            in_channels: self.channels,
            out_channels,
            stride: options.stride,
            padding: options.padding,
            upsample: options.upsample,
            relu: options.relu && !options.norm,
        };
        let fan_in = 9 * self.channels;
        let initial = if options.relu {
            Initial::He { fan_in }
        } else {
            Initial::Small {
                fan_in,
                fan_out: 9 * out_channels,
            }
        };
        let shape = vec![out_channels, self.channels, 3, 3];
        let weight = self.parameter(format!("{name}.weight"), shape, initial);
        let (bias, norm) = if options.norm {
            let norm = format!("{}.norm{}", self.part, self.convolutions);
            (None, Some(self.norm(&norm, out_channels, options.relu)))
        } else {
            let initial = if options.relu {
                Initial::Constant(0.0)
            } else {
                Initial::OutputBias
            };
            let bias = self.parameter(format!("{name}.bias"), vec![out_channels], initial);
            (Some(bias), None)
        };
        (self.height, self.width) = (geometry.output_height(), geometry.output_width());
        self.channels = out_channels;
        self.push(Layer::Convolution {
            geometry,
            weight,
            bias,
            norm,
        });
    }

    /// Upsampling convolution to exactly `size`, which is twice the present size or one less on
    /// either side: an odd side loses the padding at its end.
    fn convolve_up(&mut self, out_channels: usize, size: (usize, usize), relu: bool, norm: bool) {
        let padding = Padding {
            bottom: 1 + size.0 - 2 * self.height,
            right: 1 + size.1 - 2 * self.width,
            ..Padding::same()
        };
        let options = Options {
            upsample: true,
            padding,
            relu,
            norm,
            ..Options::default()
        };
        self.convolve(out_channels, options);
    }

    fn output(&mut self, size: (usize, usize)) {
        self.convolve_up(self.plan.shape.channels, size, false, false);
    }

    fn pool(&mut self) {
        self.push(Layer::MaxPool {
            height: self.height,
            width: self.width,
            channels: self.channels,
        });
        (self.height, self.width) = halve(self.height, self.width);
    }

    /// A fully connected layer. It is not normalised: batch norm behind the code costs mAP.
    fn linear(&mut self, inputs: usize, outputs: usize, relu: bool) {
        self.linears += 1;
        let name = format!("{}.linear{}", self.part, self.linears);
        let initial = if relu {
            Initial::He { fan_in: inputs }
        } else {
            Initial::Small {
                fan_in: inputs,
                fan_out: outputs,
            }
        };
        let weight = self.parameter(format!("{name}.weight"), vec![inputs, outputs], initial);
        let zero = Initial::Constant(0.0);
        let bias = self.parameter(format!("{name}.bias"), vec![outputs], zero);
        self.push(Layer::Linear {
            outputs,
            weight,
            bias,
            relu,
        });
    }
}

fn halve(height: usize, width: usize) -> (usize, usize) {
    (height.div_ceil(2), width.div_ceil(2))
}
