//! 3x3 convolutions, forward and backward.

use crate::dispatch::InstructionSet;
use crate::filters::{Filters, taps_first};
use crate::frame::{Frame, channel_sums};
use crate::scratch::Scratch;
use crate::taps::Axis;
use crate::weight_gradient::WeightGradient;
use rayon::prelude::*;

/// Zero padding in pixels on each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows of zeros above the image.
    pub top: usize,
    /// Columns of zeros to its left.
    pub left: usize,
    /// Rows of zeros below it.
    pub bottom: usize,
    /// Columns of zeros to its right.
    pub right: usize,
}

impl Padding {
    /// One pixel all around: with stride 1 the output has the input's sides.
    pub const fn same() -> Self {
        Self {
            top: 1,
            left: 1,
            bottom: 1,
            right: 1,
        }
    }

    /// None: with stride 1 the output's sides are two shorter than the input's.
    pub const fn valid() -> Self {
        Self {
            top: 0,
            left: 0,
            bottom: 0,
            right: 0,
        }
    }
}

/// A 3x3 convolution: its sizes and what is fused with it.
///
/// Images are (batch, height, width, channels); the weight is (out_channels, in_channels, 3, 3) and,
/// as everywhere in the field, is correlated with the image, not flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Rows of the input image, before any upsampling.
    pub height: usize,
    /// Columns of the input image, before any upsampling.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Zeros around the (upsampled) image.
    pub padding: Padding,
    /// Doubles both sides by nearest neighbour before the convolution; `stride` must then be 1.
    pub upsample: bool,
    /// ReLU after the bias.
    pub relu: bool,
}

impl Convolution {
    fn scale(&self) -> usize {
        if self.upsample { 2 } else { 1 }
    }

    /// Rows of the output.
    ///
    /// # Panics
    ///
    /// If the padded image is smaller than the kernel.
    pub fn output_height(&self) -> usize {
        let padded = self.height * self.scale() + self.padding.top + self.padding.bottom;
        assert!(
            padded >= 3,
            "convolution: {padded} padded rows are fewer than the kernel's 3"
        );
        (padded - 3) / self.stride + 1
    }

    /// Columns of the output.
    ///
    /// # Panics
    ///
    /// If the padded image is smaller than the kernel.
    pub fn output_width(&self) -> usize {
        let padded = self.width * self.scale() + self.padding.left + self.padding.right;
        assert!(
            padded >= 3,
            "convolution: {padded} padded columns are fewer than the kernel's 3"
        );
        (padded - 3) / self.stride + 1
    }

    /// Floats in the input of `batch` images.
    pub fn input_len(&self, batch: usize) -> usize {
        batch * self.height * self.width * self.in_channels
    }

    /// Floats in the output of `batch` images.
    pub fn output_len(&self, batch: usize) -> usize {
        batch * self.output_height() * self.output_width() * self.out_channels
    }

    /// Floats in the weight.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * 9
    }

    /// Floating-point operations per image by the plain definition: nine taps for every output pixel,
    /// a multiply-add counting as two. Each of the two gradients takes as many again.
    pub fn flops(&self) -> u64 {
        2 * self.output_len(1) as u64 * self.in_channels as u64 * 9
    }

    fn check(&self, batch: usize, x: usize, weight: usize, y: usize) {
        assert!(
            matches!(self.stride, 1 | 2),
            "convolution: the stride is 1 or 2, not {}",
            self.stride
        );
        assert!(
            self.stride == 1 || !self.upsample,
            "convolution: after upsampling the stride is 1"
        );
        assert!(
            self.in_channels > 0 && self.out_channels > 0,
            "convolution: no channels"
        );
        assert!(
            self.height > 0 && self.width > 0,
            "convolution: an empty image"
        );
        assert_eq!(x, self.input_len(batch), "convolution: length of the input");
        assert_eq!(
            y,
            self.output_len(batch),
            "convolution: length of the output"
        );
        assert_eq!(
            weight,
            self.weight_len(),
            "convolution: length of the weight"
        );
    }
}

/// The convolution of `batch` images: y = w ∗ x + bias, with ReLU after it if `c.relu`.
///
/// # Panics
///
/// If a slice's length does not fit the sizes, or the sizes contradict each other.
pub fn conv_forward(
    c: &Convolution,
    batch: usize,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    forward(InstructionSet::in_use(), c, batch, x, weight, bias, y);
}

/// The gradients of [`conv_forward`].
///
/// `dy` is the gradient of the forward's output `y`, which masks it if `c.relu` (`y` may be empty
/// otherwise). `dx`, `dweight` and `dbias` are overwritten; leave `dx` out for a network's first
/// layer.
///
/// # Panics
///
/// If a slice's length does not fit the sizes, or the sizes contradict each other.
pub fn conv_backward(
    c: &Convolution,
    batch: usize,
    x: &[f32],
    weight: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dweight: &mut [f32],
    dbias: Option<&mut [f32]>,
) {
    backward(
        InstructionSet::in_use(),
        c,
        batch,
        x,
        weight,
        y,
        dy,
        dx,
        dweight,
        dbias,
    );
}

pub(crate) fn forward(
    set: InstructionSet,
    c: &Convolution,
    batch: usize,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    c.check(batch, x.len(), weight.len(), y.len());
    if let Some(bias) = bias {
        assert_eq!(
            bias.len(),
            c.out_channels,
            "convolution: length of the bias"
        );
    }
    let (vertical, horizontal) = (Axis::vertical(c).forward(), Axis::horizontal(c).forward());
    let frame = Frame::new(
        c.height,
        c.width,
        c.in_channels,
        Some((&vertical, &horizontal)),
    );
    let taps = taps_first(c, weight, c.in_channels, c.out_channels, |input, output| {
        (output, input)
    });
    let target = (c.output_width(), c.out_channels);
    let filters = Filters::new(
        set,
        &vertical,
        &horizontal,
        &frame,
        target,
        &taps,
        bias,
        c.relu,
    );
    y.par_chunks_exact_mut(c.output_len(1))
        .zip(x.par_chunks_exact(c.input_len(1)))
        .for_each(|(y, x)| {
            let mut padded = Scratch::new(frame.len());
            frame.put(set, x, &[], &mut padded);
            filters.apply(&padded, y);
        });
}

/// Sums over a batch are made in this many parts, whatever the threads, and added up in order: the same
/// batch gives the same bits on any number of threads.
fn parts(weights: usize) -> usize {
    // Every part has a weight gradient of its own to clear and to add up.
    if weights > 16 * 1024 { 8 } else { 16 }
}

/// Pixels for which the weight gradient's sums should stay in registers before they are written back.
const PIXELS_PER_GROUP: usize = 256;

/// Floats of dy in a strip of rows: half a first cache.
const FLOATS_PER_STRIP: usize = 4096;

pub(crate) fn backward(
    set: InstructionSet,
    c: &Convolution,
    batch: usize,
    x: &[f32],
    weight: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dweight: &mut [f32],
    dbias: Option<&mut [f32]>,
) {
    c.check(batch, x.len(), weight.len(), dy.len());
    assert_eq!(
        dweight.len(),
        weight.len(),
        "convolution, backward: length of the weight's gradient"
    );
    assert!(
        !c.relu || y.len() == dy.len(),
        "convolution, backward: length of y"
    );
    if let Some(dx) = &dx {
        assert_eq!(
            dx.len(),
            x.len(),
            "convolution, backward: length of the input's gradient"
        );
    }
    if let Some(dbias) = &dbias {
        assert_eq!(
            dbias.len(),
            c.out_channels,
            "convolution, backward: length of the bias's gradient"
        );
    }
    if batch == 0 {
        dweight.fill(0.0);
        if let Some(dbias) = dbias {
            dbias.fill(0.0);
        }
        return;
    }

    let (vertical, horizontal) = (Axis::vertical(c).backward(), Axis::horizontal(c).backward());
    // Without upsampling, only the input's gradient needs zeros around dy.
    let around = (dx.is_some() || c.upsample).then_some((&vertical, &horizontal));
    let outputs = Frame::new(c.output_height(), c.output_width(), c.out_channels, around);
    let filters = dx.as_ref().map(|_| {
        let taps = taps_first(c, weight, c.out_channels, c.in_channels, |output, input| {
            (output, input)
        });
        Filters::new(
            set,
            &vertical,
            &horizontal,
            &outputs,
            (c.width, c.in_channels),
            &taps,
            None,
            false,
        )
    });
    let gradient = WeightGradient::new(set, c, &vertical, &horizontal, outputs);

    let per_part = batch.div_ceil(parts(weight.len()));
    let count = batch.div_ceil(per_part);
    let part_len = gradient.sums_len() + c.out_channels;
    let mut sums = Scratch::new(count * part_len);
    let row = c.output_width() * c.out_channels;
    // dy alone, without zeros around it, is taken in strips of rows that stay in the first cache.
    let strip = if around.is_none() {
        (FLOATS_PER_STRIP / row).clamp(1, outputs.height)
    } else {
        outputs.height
    };
    let group = match strip == outputs.height {
        true => PIXELS_PER_GROUP
            .div_ceil(c.output_height() * c.output_width())
            .min(per_part),
        false => 1,
    };
    let slack = set.lanes() * 2;
    let part = |index: usize, sums: &mut [f32], mut dx: Option<&mut [f32]>| {
        sums.fill(0.0);
        let (weight_sums, bias_sums) = sums.split_at_mut(gradient.sums_len());
        let (first, end) = (index * per_part, ((index + 1) * per_part).min(batch));
        let mut slopes = Scratch::new(group * outputs.len() + slack);
        let mut inputs = Scratch::new(group * gradient.inputs.len() + slack);
        for from in (first..end).step_by(group) {
            let images = group.min(end - from);
            for image in 0..images {
                let x = &x[(from + image) * c.input_len(1)..][..c.input_len(1)];
                gradient.inputs.put(
                    set,
                    x,
                    &[],
                    &mut inputs[image * gradient.inputs.len()..][..gradient.inputs.len()],
                );
            }
            for top in (0..outputs.height).step_by(strip) {
                let rows = top..(top + strip).min(outputs.height);
                let framed = if strip < outputs.height {
                    rows.len() * outputs.row()
                } else {
                    outputs.len()
                };
                for image in 0..images {
                    let at = (from + image) * c.output_len(1) + top * row;
                    let range = at..at + rows.len() * row;
                    let mask = if c.relu { &y[range.clone()] } else { &[] };
                    let slopes = &mut slopes[image * framed..][..framed];
                    outputs.put(set, &dy[range], mask, slopes);
                    if let (Some(filters), Some(dx)) = (&filters, &mut dx) {
                        let len = c.input_len(1);
                        filters.apply(slopes, &mut dx[(from - first + image) * len..][..len]);
                    }
                }
                gradient.add_to(set, images, rows, &inputs, &slopes, weight_sums);
                channel_sums(set, &slopes[..images * framed], bias_sums);
            }
        }
    };
    match dx {
        Some(dx) => sums
            .par_chunks_exact_mut(part_len)
            .zip(dx.par_chunks_mut(per_part * c.input_len(1)))
            .enumerate()
            .for_each(|(index, (sums, dx))| part(index, sums, Some(dx))),
        None => sums
            .par_chunks_exact_mut(part_len)
            .enumerate()
            .for_each(|(index, sums)| part(index, sums, None)),
    }

    let (total, rest) = sums.split_at_mut(part_len);
    add_parts(total, rest);
    gradient.unpack(&total[..gradient.sums_len()], dweight);
    if let Some(dbias) = dbias {
        dbias.copy_from_slice(&total[gradient.sums_len()..]);
    }
}

/// Adds the parts in `rest` to `total`, one after the other.
fn add_parts(total: &mut [f32], rest: &[f32]) {
    const PIECE: usize = 4096;
    let len = total.len();
    total
        .par_chunks_mut(PIECE)
        .enumerate()
        .for_each(|(piece, total)| {
            for part in rest.chunks_exact(len) {
                for (total, value) in total.iter_mut().zip(&part[piece * PIECE..]) {
                    *total += value;
                }
            }
        });
}
