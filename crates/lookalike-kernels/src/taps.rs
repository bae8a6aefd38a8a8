//! Which taps meet which pixels: every 3x3 convolution and every gradient of one, an axis at a
//! time.
//!
//! All of them are correlations of a padded image with a small kernel, once their output pixels are
//! split by parity where parity matters:
//!
//! | | outputs | advance | taps, as sums of the kernel's |
//! |---|---|---|---|
//! | stride s | all | s | 0, 1, 2 |
//! | after upsampling | by parity | 1 | 0, 2 and 1 |
//! | input gradient, stride 1 | all | 1 | 2, 1, 0 |
//! | input gradient, stride 2 | by parity | 1 | 2, 0 and 1 |
//! | input gradient, upsampling | all | 2 | 2, 1, 0 |
//!
//! Nearest-neighbour upsampling is zeros put between the pixels and then a box of two pixels that
//! slides over them, and convolutions may change places. So the box comes last: the convolution
//! takes the pixels with zeros between (which is the input gradient of a stride of 2: 9
//! multiply-adds for each small pixel, not 36), on a grid one longer than the output, and
//! neighbours on that grid are added. Backward, neighbours of the gradient are added first, and a
//! convolution of stride 2 is left: 9 for 36 again, for the input's gradient and for the weight's.

use crate::convolution::Convolution;

/// Output pixels `first`, `first + step`, … (`count` of them); number t is the correlation of the
/// taps with the input from `start + t · advance` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) first: usize,
    pub(crate) step: usize,
    pub(crate) count: usize,
    pub(crate) start: isize,
    pub(crate) advance: usize,
    /// One entry per tap: which of the three kernel taps it is, as bits.
    pub(crate) taps: &'static [u8],
    /// Pixels behind the last tap's that belong to the box of the last tap.
    pub(crate) boxed: usize,
}

/// The one or two phases of an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    phases: [Phase; 2],
    len: usize,
}

impl Phases {
    fn one(phase: Phase) -> Self {
        Self {
            phases: [phase; 2],
            len: 1,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Phase> {
        self.phases[..self.len]
            .iter()
            .filter(|phase| phase.count > 0)
    }

    /// Zeros needed before an input of `len` pixels, and the whole length with those and the ones
    /// needed behind it.
    pub(crate) fn padded(&self, len: usize) -> (usize, usize) {
        let before = self
            .iter()
            .map(|phase| -phase.start)
            .max()
            .unwrap_or(0)
            .max(0);
        let end = self
            .iter()
            .map(|phase| {
                let last = (phase.count - 1) * phase.advance;
                phase.start + (last + phase.taps.len() + phase.boxed) as isize
            })
            .max()
            .unwrap_or(0);
        (before as usize, (before + end.max(len as isize)) as usize)
    }
}

/// One axis of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    stride: usize,
    upsample: bool,
    padding: usize,
    input: usize,
    output: usize,
}

impl Axis {
    pub(crate) fn vertical(c: &Convolution) -> Self {
        Self {
            stride: c.stride,
            upsample: c.upsample,
            padding: c.padding.top,
            input: c.height,
            output: c.output_height(),
        }
    }

    pub(crate) fn horizontal(c: &Convolution) -> Self {
        Self {
            stride: c.stride,
            upsample: c.upsample,
            padding: c.padding.left,
            input: c.width,
            output: c.output_width(),
        }
    }

    /// From the input to the output.
    pub(crate) fn forward(&self) -> Phases {
        let padding = self.padding as isize;
        if !self.upsample {
            return Phases::one(Phase {
                first: 0,
                step: 1,
                count: self.output,
                start: -padding,
                advance: self.stride,
                taps: &[0b001, 0b010, 0b100],
                boxed: 0,
            });
        }
        // Place t of the grid is output t - 1 without its box. Where t - 1 - padding is even, taps
        // 0 and 2 meet pixels and tap 1 a zero.
        let phase = |parity: usize, taps| {
            let first = (parity + self.padding + 1) % 2;
            Phase {
                first,
                step: 2,
                count: (self.output + 2 - first) / 2,
                start: (first as isize - 1 - padding + parity as isize) / 2,
                advance: 1,
                taps,
                boxed: 0,
            }
        };
        Phases {
            phases: [phase(0, &[0b001, 0b100]), phase(1, &[0b010])],
            len: 2,
        }
    }

    /// From the output's gradient to the input's.
    pub(crate) fn backward(&self) -> Phases {
        let start = self.padding as isize - 2;
        let all = |advance, boxed| {
            Phases::one(Phase {
                first: 0,
                step: 1,
                count: self.input,
                start,
                advance,
                taps: &[0b100, 0b010, 0b001],
                boxed,
            })
        };
        if self.upsample {
            return all(2, 1);
        }
        if self.stride == 1 {
            return all(1, 0);
        }
        let phase = |parity: usize, taps: &'static [u8]| {
            let first = (parity + self.padding) % 2;
            Phase {
                first,
                step: 2,
                count: (self.input + 1 - first) / 2,
                start: ((first + self.padding - parity) / 2) as isize + 1 - taps.len() as isize,
                advance: 1,
                taps,
                boxed: 0,
            }
        };
        Phases {
            phases: [phase(0, &[0b100, 0b001]), phase(1, &[0b010])],
            len: 2,
        }
    }
}
