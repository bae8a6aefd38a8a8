//! A convolution, or the gradient of its input, as correlations.

use crate::convolution::Convolution;
use crate::correlate::{Filter, Geometry};
use crate::factors::Factor;
use crate::frame::Frame;
use crate::scratch::Scratch;
use crate::taps::Phases;

/// The channels on either side of a correlation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the convolution's input channels to its output channels.
    Forward,
    /// From the output's gradient to the input's.
    Backward,
}

/// One pair of phases: where it reads, where it writes, and its filter.
struct Phased<T: Factor> {
    from: usize,
    to: usize,
    vertical: &'static [u8],
    horizontal: &'static [u8],
    filter: Filter<T>,
}

/// The filters that make up one convolution (or the gradient of its input), one for each pair of
/// phases: at most four.
pub(crate) struct Filters<T: Factor> {
    direction: Direction,
    /// Channels read and written.
    channels: (usize, usize),
    phases: [Option<Phased<T>>; 4],
}

impl<T: Factor> Filters<T> {
    /// `frame` holds the image that is read, `target` has the width and the channels of the one
    /// that is written.
    pub(crate) fn new(
        set: T::Set,
        direction: Direction,
        vertical: &Phases,
        horizontal: &Phases,
        frame: &Frame,
        target: (usize, usize),
        relu: bool,
    ) -> Self {
        let (target_width, channels) = target;
        let mut phases = [const { None }; 4];
        let pairs = vertical
            .iter()
            .flat_map(|v| horizontal.iter().map(move |h| (v, h)));
        for (slot, (v, h)) in phases.iter_mut().zip(pairs) {
            let geometry = Geometry {
                height: v.count,
                width: h.count,
                input_pixel: h.advance * frame.channels,
                input_row: v.advance * frame.row(),
                segments: v.taps.len(),
                segment_len: h.taps.len() * frame.channels,
                segment_stride: frame.row(),
                output_pixel: h.step * channels,
                output_row: v.step * target_width * channels,
                channels,
            };
            *slot = Some(Phased {
                from: frame.at(v.start, h.start),
                to: (v.first * target_width + h.first) * channels,
                vertical: v.taps,
                horizontal: h.taps,
                filter: Filter::new(set, geometry, relu),
            });
        }
        Self {
            direction,
            channels: (frame.channels, channels),
            phases,
        }
    }

    /// Takes over the convolution's weight (out, in, 3, 3) and bias.
    pub(crate) fn pack(&mut self, weight: &[f32], bias: Option<&[f32]>) {
        let (read, written) = self.channels;
        let taps = taps_first(weight, self.direction, read, written);
        for phased in self.phases.iter_mut().flatten() {
            let (vertical, horizontal) = (phased.vertical, phased.horizontal);
            let fill = |k: usize, row: &mut [f32]| {
                let (tap, channel) = (k / read, k % read);
                let (tap_y, tap_x) = (
                    vertical[tap / horizontal.len()],
                    horizontal[tap % horizontal.len()],
                );
                row.fill(0.0);
                for kernel in
                    (0..9).filter(|kernel| tap_y >> (kernel / 3) & tap_x >> (kernel % 3) & 1 == 1)
                {
                    let taps = &taps[(kernel * read + channel) * written..][..written];
                    for (sum, tap) in row.iter_mut().zip(taps) {
                        *sum += tap;
                    }
                }
            };
            phased.filter.pack(fill, bias);
        }
    }

    /// Writes every pixel of one image.
    pub(crate) fn apply(&self, padded: &[T::Element], out: &mut [f32]) {
        for phased in self.phases.iter().flatten() {
            phased
                .filter
                .apply(&padded[phased.from..], &mut out[phased.to..]);
        }
    }

    /// Whether [`apply_rows`](Self::apply_rows) can be called: all rows are of one phase.
    pub(crate) fn by_rows(&self) -> bool {
        self.phases.iter().flatten().count() == 1
    }

    /// Writes `rows` rows from row `top` on; `out` begins with them.
    pub(crate) fn apply_rows(
        &self,
        top: usize,
        rows: usize,
        padded: &[T::Element],
        out: &mut [f32],
    ) {
        for phased in self.phases.iter().flatten() {
            let from = phased.from + top * phased.filter.input_row();
            phased.filter.apply_rows(rows, &padded[from..], out);
        }
    }
}

/// The weight as (ky, kx, read, written).
fn taps_first(weight: &[f32], direction: Direction, read: usize, written: usize) -> Scratch {
    /// A block of 8 x 8 kernels is read and written in few cache lines.
    const SIDE: usize = 8;
    let mut taps = Scratch::new(weight.len());
    for first in (0..read).step_by(SIDE) {
        for to in 0..written {
            for from in first..(first + SIDE).min(read) {
                let kernel = match direction {
                    Direction::Forward => to * read + from,
                    Direction::Backward => from * written + to,
                };
                for (k, &value) in weight[kernel * 9..][..9].iter().enumerate() {
                    taps[(k * read + from) * written + to] = value;
                }
            }
        }
    }
    taps
}

impl<T: Factor> Filters<T> {
    /// For a whole convolution.
    pub(crate) fn forward(
        set: T::Set,
        c: &Convolution,
        vertical: &Phases,
        horizontal: &Phases,
        frame: &Frame,
    ) -> Self {
        // After upsampling a grid one longer than the output is written, and boxed afterwards.
        let width = c.output_width() + usize::from(c.upsample);
        let (target, relu) = ((width, c.out_channels), c.relu && !c.upsample);
        let direction = Direction::Forward;
        Self::new(set, direction, vertical, horizontal, frame, target, relu)
    }

    /// For the gradient of its input.
    pub(crate) fn backward(
        set: T::Set,
        c: &Convolution,
        vertical: &Phases,
        horizontal: &Phases,
        frame: &Frame,
    ) -> Self {
        let target = (c.width, c.in_channels);
        let direction = Direction::Backward;
        Self::new(set, direction, vertical, horizontal, frame, target, false)
    }
}
