//! A convolution, or the gradient of its input, as correlations.

use crate::convolution::Convolution;
use crate::correlate::{Filter, Geometry};
use crate::dispatch::InstructionSet;
use crate::frame::Frame;
use crate::scratch::Scratch;
use crate::taps::Phases;

/// The filters that make up one convolution (or the gradient of its input), one for each pair of
/// phases: at most four.
pub(crate) struct Filters([Option<(usize, usize, Filter)>; 4]);

impl Filters {
    /// `frame` holds the image that is read, `target` has the width and the channels of the one that
    /// is written, `taps` is (ky, kx, channels read, channels written).
    pub(crate) fn new(
        set: InstructionSet,
        vertical: &Phases,
        horizontal: &Phases,
        frame: &Frame,
        target: (usize, usize),
        taps: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
    ) -> Self {
        let (target_width, channels) = target;
        let mut filters = [const { None }; 4];
        let pairs = vertical
            .iter()
            .flat_map(|v| horizontal.iter().map(move |h| (v, h)));
        for (slot, (v, h)) in filters.iter_mut().zip(pairs) {
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
            let fill = |k: usize, row: &mut [f32]| {
                let (tap, channel) = (k / frame.channels, k % frame.channels);
                let (tap_y, tap_x) = (v.taps[tap / h.taps.len()], h.taps[tap % h.taps.len()]);
                row.fill(0.0);
                for kernel in
                    (0..9).filter(|kernel| tap_y >> (kernel / 3) & tap_x >> (kernel % 3) & 1 == 1)
                {
                    let taps = &taps[(kernel * frame.channels + channel) * channels..][..channels];
                    for (sum, tap) in row.iter_mut().zip(taps) {
                        *sum += tap;
                    }
                }
            };
            let from = frame.at(v.start, h.start);
            let to = (v.first * target_width + h.first) * channels;
            *slot = Some((from, to, Filter::new(set, geometry, fill, bias, relu)));
        }
        Self(filters)
    }

    pub(crate) fn apply(&self, padded: &[f32], out: &mut [f32]) {
        for (from, to, filter) in self.0.iter().flatten() {
            filter.apply(&padded[*from..], &mut out[*to..]);
        }
    }
}

/// The weight as (ky, kx, from, to), where `from` and `to` are the channels on either side of the
/// correlation and `names` says which of them is the output and which the input.
pub(crate) fn taps_first(
    c: &Convolution,
    weight: &[f32],
    from: usize,
    to: usize,
    names: impl Fn(usize, usize) -> (usize, usize),
) -> Scratch {
    let mut taps = Scratch::new(weight.len());
    for f in 0..from {
        for t in 0..to {
            let (output, input) = names(f, t);
            let kernel = &weight[(output * c.in_channels + input) * 9..][..9];
            for (k, &value) in kernel.iter().enumerate() {
                taps[(k * from + f) * to + t] = value;
            }
        }
    }
    taps
}
