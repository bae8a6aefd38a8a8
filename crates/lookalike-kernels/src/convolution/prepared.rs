//! A convolution made ready for images: what it reads and writes is in frames, its weight is
//! packed.

use super::Convolution;
use crate::dispatch::InstructionSet;
use crate::factors::{Bf16, Buffer, F32, Factor};
use crate::filters::Filters;
use crate::frame::{Frame, Load, channel_sums, sum_boxes};
use crate::pool::{pool_rows, pool_rows_only};
use crate::precision::{Arithmetic, Products, Ways};
use crate::scratch::{Lines, Scratch};
use crate::taps::{Axis, Phases};
use crate::weight_gradient::WeightGradient;
use rayon::prelude::*;
use std::ops::Range;

/// Pixels for which the weight gradient's sums stay in registers before they are written back: a
/// tile touches one or two cache lines of each, and these should all stay in the first cache.
const PIXELS_PER_GROUP: usize = 64;

/// Floats in a strip of rows: half a first cache.
const FLOATS_PER_STRIP: usize = 4096;

/// A convolution, perhaps with max pooling after it, made ready for a precision and an instruction
/// set; the weight is packed whenever it has changed, and then images are taken one by one, on any
/// thread.
pub(crate) struct Prepared {
    pub(crate) c: Convolution,
    set: InstructionSet,
    pooled: bool,
    inputs: Frame,
    outputs: Frame,
    products: Products<Filters<F32>, Filters<Bf16>>,
    gradient: WeightGradient,
    /// Added after the boxes, where the image is upsampled.
    bias: Lines,
    /// Output rows taken at a time in the backward pass.
    strip: usize,
}

/// What the backward pass of some images reads and where it writes; images are counted from 0.
pub(crate) trait Backward {
    /// The image that the forward pass read.
    fn input(&self, image: usize) -> Load<'_>;
    /// The gradient of those rows of the convolution's output (before pooling).
    fn slopes(&self, image: usize, rows: Range<usize>) -> Load<'_>;
    /// Where the gradient of the input goes, if it is wanted.
    fn dx(&mut self, image: usize) -> &mut [f32];
    /// The gradient of that image's input has just been written.
    fn wrote(&mut self, image: usize);
}

impl<T: Factor> Ways<Filters<T>> {
    /// The phases of either direction are those of the vertical axis, then of the horizontal one.
    fn convolution(
        set: T::Set,
        c: &Convolution,
        forward: [&Phases; 2],
        inputs: &Frame,
        backward: [&Phases; 2],
        outputs: &Frame,
        dx: bool,
    ) -> Self {
        Self {
            forward: Filters::forward(set, c, forward[0], forward[1], inputs),
            backward: dx.then(|| Filters::backward(set, c, backward[0], backward[1], outputs)),
        }
    }
}

impl Prepared {
    /// `pooled`: 2x2 max pooling after it; `dx`: the input's gradient will be asked for.
    pub(crate) fn new(arithmetic: Arithmetic, c: &Convolution, pooled: bool, dx: bool) -> Self {
        let (down, across) = (Axis::vertical(c).forward(), Axis::horizontal(c).forward());
        let around = Some((&down, &across));
        let inputs = Frame::new(c.height, c.width, c.in_channels, around);
        let forward = [&down, &across];

        let (vertical, horizontal) = (Axis::vertical(c).backward(), Axis::horizontal(c).backward());
        // Without upsampling, only the input's gradient needs zeros around dy.
        let around = (dx || c.upsample).then_some((&vertical, &horizontal));
        let outputs = Frame::new(c.output_height(), c.output_width(), c.out_channels, around);
        // dy alone, without zeros around it, is taken in strips of rows that stay in the first
        // cache.
        let strip = match around {
            None => {
                let rows = FLOATS_PER_STRIP / (outputs.width * outputs.channels);
                // Pooling pairs the rows.
                let rows = if pooled { rows / 2 * 2 } else { rows };
                rows.clamp(1 + usize::from(pooled), outputs.height.max(2))
            }
            Some(_) => outputs.height,
        };
        let backward = [&vertical, &horizontal];
        let products = match arithmetic {
            Arithmetic::F32(set) => {
                let ways = Ways::convolution(set, c, forward, &inputs, backward, &outputs, dx);
                Products::F32(ways)
            }
            Arithmetic::Bf16(set) => {
                let ways = Ways::convolution(set, c, forward, &inputs, backward, &outputs, dx);
                Products::Bf16(set, ways)
            }
        };
        let set = arithmetic.set();
        Self {
            c: *c,
            set,
            pooled,
            inputs,
            outputs,
            products,
            gradient: WeightGradient::new(set, c, &vertical, &horizontal, outputs),
            bias: Lines::zeroed(c.out_channels),
            strip: strip.min(outputs.height),
        }
    }

    /// Takes over weight and bias for the forward pass.
    pub(crate) fn pack_forward(&mut self, weight: &[f32], mut bias: Option<&[f32]>) {
        if self.c.upsample
            && let Some(bias) = bias.take()
        {
            self.bias.copy_from_slice(bias);
        }
        match &mut self.products {
            Products::F32(ways) => ways.forward.pack(weight, bias),
            Products::Bf16(_, ways) => ways.forward.pack(weight, bias),
        }
    }

    /// Takes over the weight for the input's gradient.
    pub(crate) fn pack_backward(&mut self, weight: &[f32]) {
        match &mut self.products {
            Products::F32(ways) => ways.backward.iter_mut().for_each(|f| f.pack(weight, None)),
            Products::Bf16(_, ways) => {
                ways.backward.iter_mut().for_each(|f| f.pack(weight, None));
            }
        }
    }

    /// One image; `y` is pooled if the convolution is, and `choice`, as long as it, then keeps
    /// which pixels won, for a way back.
    pub(crate) fn forward_image(&self, load: &Load, y: &mut [f32], choice: Option<&mut [u8]>) {
        let mut padded = Scratch::new(self.inputs.len());
        self.inputs.put(self.set, load, &mut padded);
        match &self.products {
            Products::F32(ways) => self.forward_framed(&ways.forward, &padded, y, choice),
            Products::Bf16(set, ways) => {
                let padded = Bf16::elements(*set, &padded);
                self.forward_framed(&ways.forward, &padded, y, choice);
            }
        }
    }

    fn forward_framed<T: Factor>(
        &self,
        forward: &Filters<T>,
        padded: &[T::Element],
        y: &mut [f32],
        mut choice: Option<&mut [u8]>,
    ) {
        if !self.pooled {
            self.apply_whole(forward, padded, y);
            return;
        }
        // Rows are pooled while they are in the first cache, and the large image is never kept.
        let (height, width) = (self.outputs.height, self.outputs.width);
        let channels = self.outputs.channels;
        let strip = match forward.by_rows() {
            true => (FLOATS_PER_STRIP / (width * channels) / 2 * 2).clamp(2, height.max(2)),
            false => height,
        };
        let mut rows = Scratch::new(strip.min(height) * width * channels);
        let pooled_row = width.div_ceil(2) * channels;
        for top in (0..height).step_by(strip) {
            let count = strip.min(height - top);
            let rows = &mut rows[..count * width * channels];
            match forward.by_rows() {
                true => forward.apply_rows(top, count, padded, rows),
                false => self.apply_whole(forward, padded, rows),
            }
            let pooled = top / 2 * pooled_row..(top + count).div_ceil(2) * pooled_row;
            let y = &mut y[pooled.clone()];
            match &mut choice {
                Some(choice) => {
                    let choice = &mut choice[pooled];
                    pool_rows(self.set, count, width, channels, rows, y, choice);
                }
                None => pool_rows_only(self.set, count, width, channels, rows, y),
            }
        }
    }

    /// All rows of the output, before pooling.
    fn apply_whole<T: Factor>(&self, forward: &Filters<T>, padded: &[T::Element], y: &mut [f32]) {
        if !self.c.upsample {
            forward.apply(padded, y);
            return;
        }
        let (height, width) = (self.outputs.height, self.outputs.width);
        let mut grid = Scratch::new((height + 1) * (width + 1) * self.outputs.channels);
        forward.apply(padded, &mut grid);
        let floor = if self.c.relu { 0.0 } else { f32::NEG_INFINITY };
        sum_boxes(self.set, &grid, width, &self.bias, floor, y);
    }

    /// Floats of a part's sums: see [`backward_images`](Self::backward_images).
    pub(crate) fn sums_len(&self) -> usize {
        self.gradient.sums_len() + self.c.out_channels
    }

    /// Adds the gradients of weight and bias by `images` images to `sums`, and writes their inputs'
    /// gradients.
    pub(crate) fn backward_images(
        &self,
        images: usize,
        what: &mut impl Backward,
        sums: &mut [f32],
    ) {
        match &self.products {
            Products::F32(ways) => {
                self.backward_factors(self.set, ways.backward.as_ref(), images, what, sums);
            }
            Products::Bf16(set, ways) => {
                self.backward_factors(*set, ways.backward.as_ref(), images, what, sums);
            }
        }
    }

    /// The gradient of the weight is summed over as many images at a time as a lane has elements:
    /// see [`factors`](crate::factors). Those images are a *bundle*.
    fn backward_factors<T: Factor>(
        &self,
        set: T::Set,
        backward: Option<&Filters<T>>,
        images: usize,
        what: &mut impl Backward,
        sums: &mut [f32],
    ) {
        let (weight_sums, bias_sums) = sums.split_at_mut(self.gradient.sums_len());
        let (inputs, outputs) = (&self.gradient.inputs, &self.outputs);
        let whole = self.strip == outputs.height;
        // Bundles taken together.
        let group = match whole {
            true => PIXELS_PER_GROUP
                .div_ceil(outputs.height * outputs.width)
                .min(images.div_ceil(T::PER_LANE)),
            false => 1,
        };
        let slack = self.set.lanes() * 2;
        let mut slopes = Buffer::<T::Lane>::new(group * outputs.len() + slack);
        let mut framed = Buffer::<T::Lane>::new(group * inputs.len() + slack);
        // The images of a bundle, before they are joined.
        let mut room = Scratch::new(match T::PER_LANE {
            1 => 0,
            several => several * inputs.len().max(outputs.len()),
        });
        for first in (0..images).step_by(T::PER_LANE * group) {
            let end = (first + T::PER_LANE * group).min(images);
            let bundles = (end - first).div_ceil(T::PER_LANE);
            for bundle in 0..bundles {
                let to = &mut framed[bundle * inputs.len()..][..inputs.len()];
                T::join_filled(set, &mut room, to, |which, frame| {
                    let image = first + bundle * T::PER_LANE + which;
                    match image < end {
                        true => inputs.put(self.set, &what.input(image), frame),
                        false => frame.fill(0.0),
                    }
                });
            }
            for top in (0..outputs.height).step_by(self.strip) {
                let rows = top..(top + self.strip).min(outputs.height);
                let len = if whole {
                    outputs.len()
                } else {
                    rows.len() * outputs.row()
                };
                for bundle in 0..bundles {
                    let to = &mut slopes[bundle * len..][..len];
                    T::join_filled(set, &mut room, to, |which, slopes| {
                        let image = first + bundle * T::PER_LANE + which;
                        if image >= end {
                            slopes.fill(0.0);
                            return;
                        }
                        outputs.put(self.set, &what.slopes(image, rows.clone()), slopes);
                        channel_sums(self.set, slopes, bias_sums);
                        if self.c.upsample {
                            outputs.add_neighbours(self.set, slopes);
                        }
                        if let Some(backward) = backward {
                            backward.apply(&T::elements(set, slopes), what.dx(image));
                            what.wrote(image);
                        }
                    });
                }
                self.gradient
                    .add_to::<T>(set, bundles, rows, &framed, &slopes, weight_sums);
            }
        }
    }

    /// Adds up the parts' sums, into the first, and puts them where they belong.
    pub(crate) fn finish(&self, sums: &mut [f32], dweight: &mut [f32], dbias: Option<&mut [f32]>) {
        let (total, rest) = sums.split_at_mut(self.sums_len());
        add_parts(total, rest);
        self.gradient
            .unpack(&total[..self.gradient.sums_len()], dweight);
        if let Some(dbias) = dbias {
            dbias.copy_from_slice(&total[self.gradient.sums_len()..]);
        }
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
