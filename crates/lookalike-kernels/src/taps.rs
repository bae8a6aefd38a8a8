//! Which taps meet which pixels: every 3x3 convolution and every gradient of one, an axis at a time.
//!
//! All of them are correlations of a padded image with a small kernel, once their output pixels are
//! split by parity where parity matters:
//!
//! | | outputs | advance | taps, as sums of the kernel's |
//! |---|---|---|---|
//! | stride s | all | s | 0, 1, 2 |
//! | after upsampling | by parity | 1 | 0+1, 2 and 0, 1+2 |
//! | input gradient, stride 1 | all | 1 | 2, 1, 0 |
//! | input gradient, stride 2 | by parity | 1 | 2, 0 and 1 |
//! | input gradient, upsampling | all | 2 | 2, 1+2, 0+1, 0 |
//!
//! After upsampling, a kernel three pixels wide only ever sees two pixels of the small image, so two
//! taps per axis do the work of three: 4 multiply-adds for 9. Its gradients take 16 for 36.

use crate::convolution::Convolution;

/// Output pixels `first`, `first + step`, … (`count` of them); number t is the correlation of the taps
/// with the input from `start + t · advance` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) first: usize,
    pub(crate) step: usize,
    pub(crate) count: usize,
    pub(crate) start: isize,
    pub(crate) advance: usize,
    /// One entry per tap: which of the three kernel taps it sums up, as bits.
    pub(crate) taps: &'static [u8],
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
                phase.start + ((phase.count - 1) * phase.advance + phase.taps.len()) as isize
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
            });
        }
        let phase = |parity: usize, taps| {
            let first = (parity + self.padding) % 2;
            Phase {
                first,
                step: 2,
                count: (self.output + 1 - first) / 2,
                start: (first as isize - padding - parity as isize) / 2,
                advance: 1,
                taps,
            }
        };
        Phases {
            phases: [phase(0, &[0b011, 0b100]), phase(1, &[0b001, 0b110])],
            len: 2,
        }
    }

    /// From the output's gradient to the input's.
    pub(crate) fn backward(&self) -> Phases {
        let start = self.padding as isize - 2;
        let all = |advance, taps| {
            Phases::one(Phase {
                first: 0,
                step: 1,
                count: self.input,
                start,
                advance,
                taps,
            })
        };
        if self.upsample {
            return all(2, &[0b100, 0b110, 0b011, 0b001]);
        }
        if self.stride == 1 {
            return all(1, &[0b100, 0b010, 0b001]);
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
            }
        };
        Phases {
            phases: [phase(0, &[0b100, 0b001]), phase(1, &[0b010])],
            len: 2,
        }
    }
}
