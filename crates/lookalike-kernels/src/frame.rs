//! An image with the zeros around it that windows reach into, and what is done to it on the way in.
//!
//! Every convolution copies its operand into a frame once. Whatever else has to happen to the
//! operand element by element happens in that copy, and so costs no pass over memory of its own:
//! see [`Load`].

// Loops over registers' worth of floats, in arrays that the compiler takes apart.
#![allow(clippy::needless_range_loop)]

use crate::dispatch::{InstructionSet, per_instruction_set};
use crate::outer::Strides;
use crate::scratch::Scratch;
use crate::taps::Phases;

/// An image with room for the zeros around it.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    top: usize,
    left: usize,
    padded_height: usize,
    padded_width: usize,
}

/// Whole rows of an image, with what becomes of them in the frame.
pub(crate) enum Load<'a> {
    /// As they are.
    Plain(&'a [f32]),
    /// Divided by 255.
    Bytes(&'a [u8]),
    /// The gradient of a ReLU: `slopes` where `outputs` is positive.
    Rectified {
        slopes: &'a [f32],
        outputs: &'a [f32],
    },
    /// Batch norm: value · scale + shift per channel.
    Normalised { values: &'a [f32], by: Scaling<'a> },
    /// The gradient of batch norm by its input `values`: see [`NormSlopes`].
    NormSlopes {
        slopes: &'a [f32],
        values: &'a [f32],
        by: NormSlopes<'a>,
    },
    /// The gradient of max pooling, with a ReLU before it: each pooled slope goes to the pixel that
    /// won, if the output is positive. The rows begin with an even one.
    Unpooled {
        slopes: &'a [f32],
        outputs: &'a [f32],
        choice: &'a [u8],
        relu: bool,
        /// Rows of the large image.
        rows: usize,
    },
}

/// Batch norm as a scale and a shift per channel, perhaps with ReLU after it.
#[derive(Clone, Copy)]
pub(crate) struct Scaling<'a> {
    pub(crate) scale: &'a [f32],
    pub(crate) shift: &'a [f32],
    pub(crate) relu: bool,
}

/// Batch norm's gradient as three factors per channel: slope · a + value · b + d, where the slope
/// counts only if it passed the ReLU.
#[derive(Clone, Copy)]
pub(crate) struct NormSlopes<'a> {
    pub(crate) forward: Scaling<'a>,
    pub(crate) a: &'a [f32],
    pub(crate) b: &'a [f32],
    pub(crate) d: &'a [f32],
}

impl Frame {
    /// With the zeros that the phases of both axes reach into.
    pub(crate) fn new(
        height: usize,
        width: usize,
        channels: usize,
        phases: Option<(&Phases, &Phases)>,
    ) -> Self {
        let (top, padded_height) =
            phases.map_or((0, height), |(vertical, _)| vertical.padded(height));
        let (left, padded_width) =
            phases.map_or((0, width), |(_, horizontal)| horizontal.padded(width));
        Self {
            height,
            width,
            channels,
            top,
            left,
            padded_height,
            padded_width,
        }
    }

    pub(crate) fn row(&self) -> usize {
        self.padded_width * self.channels
    }

    pub(crate) fn len(&self) -> usize {
        self.padded_height * self.row()
    }

    /// Where the pixel is that has this place in the image without the zeros.
    pub(crate) fn at(&self, row: isize, column: isize) -> usize {
        (self.top as isize + row) as usize * self.row()
            + (self.left as isize + column) as usize * self.channels
    }

    pub(crate) fn strides(&self) -> Strides {
        Strides {
            pixel: self.channels,
            row: self.row(),
            image: self.len(),
        }
    }

    /// Adds to every pixel its neighbours to the right, below, and between the two: what
    /// nearest-neighbour upsampling does to a gradient. Beyond the frame are zeros.
    pub(crate) fn add_neighbours(&self, set: InstructionSet, padded: &mut [f32]) {
        add_neighbours(set, self.row(), self.channels, padded);
    }

    /// Puts an image, or some of its rows if the frame has no zeros above, where it belongs.
    pub(crate) fn put(&self, set: InstructionSet, load: &Load, padded: &mut [f32]) {
        let (row, channels) = (self.width * self.channels, self.channels);
        let rows = match load {
            Load::Plain(values) => values.len() / row,
            Load::Bytes(values) => values.len() / row,
            Load::Rectified { slopes, .. } | Load::NormSlopes { slopes, .. } => slopes.len() / row,
            Load::Normalised { values, .. } => values.len() / row,
            Load::Unpooled { rows, .. } => *rows,
        };
        let (above, rest) = padded.split_at_mut(self.top * self.row());
        let (inside, below) = rest.split_at_mut(rows * self.row());
        above.fill(0.0);
        below.fill(0.0);
        let inside = Inside {
            padded: inside,
            padded_row: self.row(),
            before: self.left * channels,
            row,
        };
        match *load {
            Load::Plain(values) => plain(set, values, inside),
            Load::Bytes(values) => bytes(set, values, inside),
            Load::Rectified { slopes, outputs } => rectified(set, slopes, outputs, inside),
            Load::Normalised { values, by } => normalised(set, values, by, inside),
            Load::NormSlopes { slopes, values, by } => {
                norm_slopes(set, slopes, values, by, inside);
            }
            Load::Unpooled {
                slopes,
                outputs,
                choice,
                relu,
                ..
            } => unpooled(
                set, slopes, outputs, choice, relu, self.width, channels, inside,
            ),
        }
    }
}

/// The rows of a frame between the zeros above and below.
struct Inside<'a> {
    padded: &'a mut [f32],
    padded_row: usize,
    /// Floats of zeros before each row.
    before: usize,
    row: usize,
}

impl Inside<'_> {
    /// Has every row filled, and the zeros on both sides.
    #[inline(always)]
    fn fill(self, mut fill: impl FnMut(usize, &mut [f32])) {
        for (index, padded) in self.padded.chunks_exact_mut(self.padded_row).enumerate() {
            let (zeros, rest) = padded.split_at_mut(self.before);
            let (pixels, more_zeros) = rest.split_at_mut(self.row);
            zeros.fill(0.0);
            more_zeros.fill(0.0);
            fill(index, pixels);
        }
    }
}

per_instruction_set! {
    fn plain<V>(values: &[f32], inside: Inside) {
        let row = inside.row;
        inside.fill(|index, pixels| pixels.copy_from_slice(&values[index * row..][..row]));
    }
}

per_instruction_set! {
    fn bytes<V>(values: &[u8], inside: Inside) {
        let row = inside.row;
        inside.fill(|index, pixels| {
            for (pixel, &byte) in pixels.iter_mut().zip(&values[index * row..][..row]) {
                *pixel = f32::from(byte) * (1.0 / 255.0);
            }
        });
    }
}

per_instruction_set! {
    fn rectified<V>(slopes: &[f32], outputs: &[f32], inside: Inside) {
        let row = inside.row;
        inside.fill(|index, pixels| {
            let (slopes, outputs) = (&slopes[index * row..][..row], &outputs[index * row..][..row]);
            for ((pixel, &slope), &output) in pixels.iter_mut().zip(slopes).zip(outputs) {
                *pixel = if output > 0.0 { slope } else { 0.0 };
            }
        });
    }
}

/// Channels taken together: what belongs to them stays in registers while the pixels go by. (Left
/// to itself the compiler checks, pixel by pixel, whether half a dozen slices overlap.)
const TOGETHER: usize = 16;

/// `TOGETHER` floats from `start` on, or as many as there are.
#[inline(always)]
fn take(floats: &[f32], start: usize) -> [f32; TOGETHER] {
    if let Some(all) = floats[start..].first_chunk() {
        return *all;
    }
    let mut taken = [0.0; TOGETHER];
    for (taken, &float) in taken.iter_mut().zip(&floats[start..]) {
        *taken = float;
    }
    taken
}

/// Writes to `floats` from `start` on, as far as it goes.
#[inline(always)]
fn give(values: &[f32; TOGETHER], floats: &mut [f32], start: usize) {
    if let Some(all) = floats[start..].first_chunk_mut() {
        *all = *values;
        return;
    }
    for (float, &value) in floats[start..].iter_mut().zip(values) {
        *float = value;
    }
}

/// y = x · scale + shift with ReLU if asked, for whole pixels.
#[inline(always)]
fn scale_pixels(x: &[f32], by: &Scaling, y: &mut [f32]) {
    let channels = by.scale.len();
    let floor = if by.relu { 0.0 } else { f32::NEG_INFINITY };
    for start in (0..channels).step_by(TOGETHER) {
        let (scale, shift) = (take(by.scale, start), take(by.shift, start));
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            let x = take(x, start);
            let mut out = [0.0; TOGETHER];
            for c in 0..TOGETHER {
                let value = x[c] * scale[c] + shift[c];
                // In this order a NaN stays one.
                out[c] = if value < floor { floor } else { value };
            }
            give(&out, y, start);
        }
    }
}

per_instruction_set! {
    fn normalised<V>(values: &[f32], by: Scaling, inside: Inside) {
        let row = inside.row;
        inside.fill(|index, pixels| scale_pixels(&values[index * row..][..row], &by, pixels));
    }
}

per_instruction_set! {
    /// The same without a frame: whole pixels to whole pixels.
    pub(crate) fn normalise<V>(values: &[f32], by: Scaling, out: &mut [f32]) {
        scale_pixels(values, &by, out);
    }
}

per_instruction_set! {
    fn norm_slopes<V>(slopes: &[f32], values: &[f32], by: NormSlopes, inside: Inside) {
        let (row, channels) = (inside.row, by.a.len());
        // Without ReLU everything passes, a NaN too.
        let threshold = if by.forward.relu { 0.0 } else { f32::NEG_INFINITY };
        inside.fill(|index, pixels| {
            let (slopes, values) = (&slopes[index * row..][..row], &values[index * row..][..row]);
            for start in (0..channels).step_by(TOGETHER) {
                let (scale, shift) = (take(by.forward.scale, start), take(by.forward.shift, start));
                let (a, b, d) = (take(by.a, start), take(by.b, start), take(by.d, start));
                let both = slopes.chunks_exact(channels).zip(values.chunks_exact(channels));
                for ((slope, x), pixel) in both.zip(pixels.chunks_exact_mut(channels)) {
                    let (slope, x) = (take(slope, start), take(x, start));
                    let mut out = [0.0; TOGETHER];
                    for c in 0..TOGETHER {
                        let passed = if x[c] * scale[c] + shift[c] <= threshold { 0.0 } else { slope[c] };
                        out[c] = passed * a[c] + x[c] * b[c] + d[c];
                    }
                    give(&out, pixel, start);
                }
            }
        });
    }
}

per_instruction_set! {
    fn unpooled<V>(
        slopes: &[f32],
        outputs: &[f32],
        choice: &[u8],
        relu: bool,
        width: usize,
        channels: usize,
        inside: Inside,
    ) {
        let pooled_width = width.div_ceil(2);
        let threshold = if relu { 0.0 } else { f32::NEG_INFINITY };
        inside.fill(|index, pixels| {
            let at = index / 2 * pooled_width * channels;
            let upper = index % 2 * 2;
            for window in 0..pooled_width {
                let at = at + window * channels;
                let (slopes, outputs) = (&slopes[at..][..channels], &outputs[at..][..channels]);
                let choice = &choice[at..][..channels];
                let pixels = &mut pixels[2 * window * channels..];
                let both = pixels.len().min(2 * channels);
                for (side, out) in pixels[..both].chunks_exact_mut(channels).enumerate() {
                    let which = (upper + side) as u8;
                    for c in 0..channels {
                        let won = choice[c] == which && outputs[c] > threshold;
                        out[c] = if won { slopes[c] } else { 0.0 };
                    }
                }
            }
        });
    }
}

per_instruction_set! {
    fn add_neighbours<V>(row: usize, channels: usize, padded: &mut [f32]) {
        for row in padded.chunks_exact_mut(row) {
            // Ascending and in place: what is read has not been written yet.
            let end = row.len().saturating_sub(channels);
            let whole = end / V::LANES * V::LANES;
            for at in (0..whole).step_by(V::LANES) {
                // SAFETY: this has been compiled for the set in use; `at` plus the lanes is at most
                // `end`, behind which the row has `channels` more floats.
                unsafe {
                    let left = row.as_mut_ptr().add(at);
                    V::load(left).add(V::load(left.add(channels))).store(left);
                }
            }
            for at in whole..end {
                row[at] += row[at + channels];
            }
        }
        let rows = padded.len() / row;
        for index in 1..rows {
            let (above, below) = padded[(index - 1) * row..].split_at_mut(row);
            for (above, below) in above.iter_mut().zip(below.iter()) {
                *above += below;
            }
        }
    }
}

per_instruction_set! {
    /// Each pixel of `y`, `width` to a row, from the four of a grid one longer and wider that it is
    /// the sum of; with bias and, for a `floor` of 0, ReLU.
    pub(crate) fn sum_boxes<V>(grid: &[f32], width: usize, bias: &[f32], floor: f32, y: &mut [f32]) {
        let channels = bias.len();
        let (row, grid_row) = (width * channels, (width + 1) * channels);
        for (index, y) in y.chunks_exact_mut(row).enumerate() {
            let above = &grid[index * grid_row..][..grid_row];
            let below = &grid[(index + 1) * grid_row..][..grid_row];
            for (column, y) in y.chunks_exact_mut(channels).enumerate() {
                let at = column * channels;
                let (a, b) = (&above[at..][..channels], &above[at + channels..][..channels]);
                let (c, d) = (&below[at..][..channels], &below[at + channels..][..channels]);
                for o in 0..channels {
                    let sum = (a[o] + b[o]) + (c[o] + d[o]) + bias[o];
                    // In this order a NaN stays one.
                    y[o] = if sum < floor { floor } else { sum };
                }
            }
        }
    }
}

per_instruction_set! {
    /// What the gradient of batch norm sums up over its pixels, added to `sums`: the slopes that
    /// passed the ReLU, then those times (value - mean), both per channel.
    pub(crate) fn norm_slope_sums<V>(
        slopes: &[f32],
        values: &[f32],
        by: Scaling,
        mean: &[f32],
        sums: &mut [f32],
    ) {
        let channels = mean.len();
        let threshold = if by.relu { 0.0 } else { f32::NEG_INFINITY };
        let (plain_sums, centred_sums) = sums.split_at_mut(channels);
        for start in (0..channels).step_by(TOGETHER) {
            let (scale, shift, mean) = (take(by.scale, start), take(by.shift, start), take(mean, start));
            let (mut plain, mut centred) = (take(plain_sums, start), take(centred_sums, start));
            for (slope, x) in slopes.chunks_exact(channels).zip(values.chunks_exact(channels)) {
                let (slope, x) = (take(slope, start), take(x, start));
                for c in 0..TOGETHER {
                    let passed = if x[c] * scale[c] + shift[c] <= threshold { 0.0 } else { slope[c] };
                    plain[c] += passed;
                    centred[c] += passed * (x[c] - mean[c]);
                }
            }
            give(&plain, plain_sums, start);
            give(&centred, centred_sums, start);
        }
    }
}

per_instruction_set! {
    /// Each channel's mean over the pixels, then its sum of squares around that mean.
    pub(crate) fn moments<V>(pixels: &[f32], moments: &mut [f32]) {
        let channels = moments.len() / 2;
        let (means, squares) = moments.split_at_mut(channels);
        let share = 1.0 / (pixels.len() / channels) as f32;
        for start in (0..channels).step_by(TOGETHER) {
            let (mut mean, mut square) = ([0.0; TOGETHER], [0.0; TOGETHER]);
            for pixel in pixels.chunks_exact(channels) {
                let x = take(pixel, start);
                for c in 0..TOGETHER {
                    mean[c] += x[c];
                }
            }
            for mean in &mut mean {
                *mean *= share;
            }
            for pixel in pixels.chunks_exact(channels) {
                let x = take(pixel, start);
                for c in 0..TOGETHER {
                    square[c] += (x[c] - mean[c]) * (x[c] - mean[c]);
                }
            }
            give(&mean, means, start);
            give(&square, squares, start);
        }
    }
}

per_instruction_set! {
    /// Adds every channel's sum over the pixels to `sums`.
    pub(crate) fn channel_sums<V>(pixels: &[f32], sums: &mut [f32]) {
        let channels = sums.len();
        // Whole pixels, about 256 floats of them at a time: few channels fill vectors too, and a
        // sum is not needed again before it has been written. At most 32, which have to be added up
        // at the end.
        let period = channels * (256 / channels).clamp(1, 32);
        let mut wide = Scratch::zeroed(period);
        let rows = pixels.chunks_exact(period);
        for row in rows.remainder().chunks_exact(channels) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for row in rows {
            for (sum, value) in wide.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for row in wide.chunks_exact(channels) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}
