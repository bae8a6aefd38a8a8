//! The gradient of a convolution's weight, as sums of outer products.

use crate::convolution::Convolution;
use crate::dispatch::InstructionSet;
use crate::factors::Factor;
use crate::frame::Frame;
use crate::outer::{Outer, Strides};
use crate::taps::{Axis, Phases};
use rayon::prelude::*;
use std::ops::Range;

/// Which of the two images gives the left-hand factors of a weight gradient's outer products.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Roles {
    /// The input's windows times the output's gradient: sums (ky, kx, input, output).
    Windows,
    /// The output's gradient times the input's windows, for few output channels: sums (ky, output,
    /// kx, input).
    FewOutputs,
    /// After upsampling: 3x3 windows of the boxed gradient of the output times the small input:
    /// sums (2 - ky, 2 - kx, output, input).
    Upsampled,
}

/// How the gradient of the weight is summed up.
pub(crate) struct WeightGradient {
    roles: Roles,
    stride: usize,
    in_channels: usize,
    out_channels: usize,
    pub(crate) inputs: Frame,
    /// For one image; `images` is set for each group.
    outer: Outer,
    from_inputs: usize,
    from_outputs: usize,
}

impl WeightGradient {
    pub(crate) fn new(
        set: InstructionSet,
        c: &Convolution,
        vertical: &Phases,
        horizontal: &Phases,
        outputs: Frame,
    ) -> Self {
        let lanes = set.lanes();
        let (ic, oc) = (c.in_channels, c.out_channels);
        let common = Outer {
            images: 1,
            height: outputs.height,
            width: outputs.width,
            left: outputs.strides(),
            segments: 1,
            segment_len: oc,
            segment_stride: 0,
            right: outputs.strides(),
            right_len: oc.next_multiple_of(lanes),
            sums_row: oc.next_multiple_of(lanes),
        };
        if c.upsample {
            let inputs = Frame::new(c.height, c.width, ic, None);
            let (v, h) = (vertical.iter().next(), horizontal.iter().next());
            let starts = v.zip(h).map_or((0, 0), |(v, h)| (v.start, h.start));
            let strides = outputs.strides();
            let outer = Outer {
                height: c.height,
                width: c.width,
                left: Strides {
                    pixel: 2 * strides.pixel,
                    row: 2 * strides.row,
                    image: strides.image,
                },
                segments: 3,
                segment_len: 3 * oc,
                segment_stride: outputs.row(),
                right: inputs.strides(),
                right_len: ic.next_multiple_of(lanes),
                sums_row: ic.next_multiple_of(lanes),
                ..common
            };
            let from_outputs = outputs.at(starts.0, starts.1);
            return Self {
                roles: Roles::Upsampled,
                stride: 1,
                in_channels: ic,
                out_channels: oc,
                inputs,
                outer,
                from_inputs: 0,
                from_outputs,
            };
        }
        let (vertical, horizontal) = (Axis::vertical(c).forward(), Axis::horizontal(c).forward());
        let inputs = Frame::new(c.height, c.width, ic, Some((&vertical, &horizontal)));
        let strides = inputs.strides();
        let strides = Strides {
            pixel: c.stride * strides.pixel,
            row: c.stride * strides.row,
            image: strides.image,
        };
        let few = oc < lanes / 2 && oc < 3 * ic;
        let (roles, outer) = if few {
            let right_len = (3 * ic).next_multiple_of(lanes);
            (
                Roles::FewOutputs,
                Outer {
                    right: strides,
                    right_len,
                    sums_row: right_len,
                    ..common
                },
            )
        } else {
            let windows = Outer {
                left: strides,
                segments: 3,
                segment_len: 3 * ic,
                segment_stride: inputs.row(),
                ..common
            };
            (Roles::Windows, windows)
        };
        let from_inputs = inputs.at(-(c.padding.top as isize), -(c.padding.left as isize));
        let from_outputs = outputs.at(0, 0);
        Self {
            roles,
            stride: c.stride,
            in_channels: ic,
            out_channels: oc,
            inputs,
            outer,
            from_inputs,
            from_outputs,
        }
    }

    pub(crate) fn sums_len(&self) -> usize {
        let rows = match self.roles {
            Roles::Windows => 9 * self.in_channels,
            Roles::FewOutputs => 3 * self.out_channels,
            Roles::Upsampled => 9 * self.out_channels,
        };
        rows * self.outer.sums_row
    }

    /// Adds a group of framed images, or some rows of the output of one.
    ///
    /// `outputs` begins with the first of `rows`; after upsampling these must be all.
    pub(crate) fn add_to<T: Factor>(
        &self,
        set: T::Set,
        images: usize,
        rows: Range<usize>,
        inputs: &[T::Lane],
        outputs: &[T::Lane],
        sums: &mut [f32],
    ) {
        let (inputs, outputs) = (&inputs[self.from_inputs..], &outputs[self.from_outputs..]);
        if self.roles == Roles::Upsampled {
            let outer = Outer {
                images,
                ..self.outer
            };
            outer.add_to::<T>(set, outputs, inputs, sums);
            return;
        }
        let inputs = &inputs[rows.start * self.stride * self.inputs.row()..];
        let outer = Outer {
            images,
            height: rows.len(),
            ..self.outer
        };
        if self.roles == Roles::Windows {
            outer.add_to::<T>(set, inputs, outputs, sums);
            return;
        }
        let per_row = self.out_channels * outer.sums_row;
        for (ky, sums) in sums.chunks_exact_mut(per_row).enumerate() {
            outer.add_to::<T>(set, outputs, &inputs[ky * self.inputs.row()..], sums);
        }
    }

    /// Puts the sums where they belong in (output, input, 3, 3).
    pub(crate) fn unpack(&self, sums: &[f32], dweight: &mut [f32]) {
        let (ic, oc, row) = (self.in_channels, self.out_channels, self.outer.sums_row);
        dweight
            .par_chunks_exact_mut(ic * 9)
            .enumerate()
            .for_each(|(o, dweight)| {
                for (i, kernel) in dweight.chunks_exact_mut(9).enumerate() {
                    for (k, value) in kernel.iter_mut().enumerate() {
                        let (ky, kx) = (k / 3, k % 3);
                        *value = match self.roles {
                            Roles::Windows => sums[(k * ic + i) * row + o],
                            Roles::FewOutputs => sums[(ky * oc + o) * row + kx * ic + i],
                            Roles::Upsampled => sums[((8 - k) * oc + o) * row + i],
                        };
                    }
                }
            });
    }
}
