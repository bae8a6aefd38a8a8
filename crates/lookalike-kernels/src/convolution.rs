//! 3x3 convolutions, forward and backward.

mod prepared;

pub(crate) use prepared::{Backward, Prepared};

use crate::frame::Load;
use crate::precision::{Arithmetic, Precision};
use crate::scratch::Scratch;
use rayon::prelude::*;
use std::ops::Range;

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
/// Images are (batch, height, width, channels); the weight is (out_channels, in_channels, 3, 3)
/// and, as everywhere in the field, is correlated with the image, not flipped.
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

    /// Floating-point operations per image by the plain definition: nine taps for every output
    /// pixel, a multiply-add counting as two. Each of the two gradients takes as many again.
    pub fn flops(&self) -> u64 {
        2 * self.output_len(1) as u64 * self.in_channels as u64 * 9
    }

    pub(crate) fn check(&self, batch: usize, x: usize, weight: usize, y: usize) {
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
    precision: Precision,
    c: &Convolution,
    batch: usize,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    forward(Arithmetic::in_use(precision), c, batch, x, weight, bias, y);
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
    precision: Precision,
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
    let arithmetic = Arithmetic::in_use(precision);
    backward(arithmetic, c, batch, x, weight, y, dy, dx, dweight, dbias);
}

pub(crate) fn forward(
    arithmetic: impl Into<Arithmetic>,
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
    let mut prepared = Prepared::new(arithmetic.into(), c, false, false);
    prepared.pack_forward(weight, bias);
    y.par_chunks_exact_mut(c.output_len(1))
        .zip(x.par_chunks_exact(c.input_len(1)))
        .for_each(|(y, x)| prepared.forward_image(&Load::Plain(x), y, None));
}

/// Sums over a batch are made in at most this many parts, whatever the threads, and added up in
/// order: the same batch gives the same bits on any number of threads.
const PARTS: usize = 16;

/// Images of a part, at least four: a part has sums of its own to clear and to add up.
pub(crate) fn images_per_part(batch: usize) -> usize {
    batch.div_ceil(PARTS).max(4)
}

/// The backward pass of a part of a batch, from plain slices.
struct PlainBackward<'a> {
    c: &'a Convolution,
    x: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Backward for PlainBackward<'_> {
    fn input(&self, image: usize) -> Load<'_> {
        let len = self.c.input_len(1);
        Load::Plain(&self.x[image * len..][..len])
    }

    fn slopes(&self, image: usize, rows: Range<usize>) -> Load<'_> {
        let row = self.c.output_width() * self.c.out_channels;
        let at = image * self.c.output_len(1);
        let range = at + rows.start * row..at + rows.end * row;
        let slopes = &self.dy[range.clone()];
        match self.c.relu {
            true => Load::Rectified {
                slopes,
                outputs: &self.y[range],
            },
            false => Load::Plain(slopes),
        }
    }

    fn dx(&mut self, image: usize) -> &mut [f32] {
        let len = self.c.input_len(1);
        &mut self.dx[image * len..][..len]
    }

    fn wrote(&mut self, _image: usize) {}
}

pub(crate) fn backward(
    arithmetic: impl Into<Arithmetic>,
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
    let mut prepared = Prepared::new(arithmetic.into(), c, false, dx.is_some());
    prepared.pack_backward(weight);
    let per_part = images_per_part(batch);
    let mut sums = Scratch::zeroed(batch.div_ceil(per_part) * prepared.sums_len());
    let part = |index: usize, sums: &mut [f32], dx: &mut [f32]| {
        let (first, end) = (index * per_part, ((index + 1) * per_part).min(batch));
        let outputs = first * c.output_len(1)..end * c.output_len(1);
        let mut what = PlainBackward {
            c,
            x: &x[first * c.input_len(1)..end * c.input_len(1)],
            y: if c.relu { &y[outputs.clone()] } else { &[] },
            dy: &dy[outputs],
            dx,
        };
        prepared.backward_images(end - first, &mut what, sums);
    };
    let parts = sums.par_chunks_exact_mut(prepared.sums_len());
    match dx {
        Some(dx) => parts
            .zip(dx.par_chunks_mut(per_part * c.input_len(1)))
            .enumerate()
            .for_each(|(index, (sums, dx))| part(index, sums, dx)),
        None => parts
            .enumerate()
            .for_each(|(index, sums)| part(index, sums, &mut [])),
    }
    prepared.finish(&mut sums, dweight, dbias);
}
