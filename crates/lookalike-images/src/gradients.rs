//! Histograms of oriented gradients: which way edges run in each part of an image, whatever its
//! colours.

use std::ops::Range;

use rayon::prelude::*;

use crate::collection::Collection;
use crate::fit::InputShape;

/// Orientations, 20 degrees apart; an edge and its negative have the same one.
const ORIENTATIONS: usize = 9;
/// Cells of a block, and its floats.
const BLOCK_CELLS: usize = 4;
const BLOCK: usize = BLOCK_CELLS * ORIENTATIONS;
/// Added, squared, to the squared length of a block before it is divided by it, so that a block
/// almost without gradients stays short. Values of pixels are 0 to 1.
const EPSILON: f32 = 1e-3;
/// Upper bound of a float of a block of length 1, so that one strong edge does not decide alone.
const CLIP: f32 = 0.2;
/// Cells along the longer side that [`Gradients::suited`] aims for, and the fewest pixels it gives
/// a cell.
const SUITED_CELLS: usize = 8;
const MIN_SUITED_CELL: usize = 2;
/// Cells along either side, at least: one block.
const MIN_CELLS: usize = 2;

/// Histograms of oriented gradients of images of one shape (Dalal and Triggs, "Histograms of
/// Oriented Gradients for Human Detection", CVPR 2005).
///
/// The gradient of a pixel is the difference of its neighbours, right minus left and lower minus
/// upper, where pixels beyond the edge repeat the edge. Of the channels of a colour image the one
/// with the longest gradient counts, the first of equals. The gradient votes with its length for
/// the two nearest of 9 orientations (0, 20, ... 160 degrees), shared linearly. A cell has the mean
/// of its pixels' votes. A block is 2 x 2 cells, and blocks overlap: their stride is one cell. It
/// is brought to length 1, clipped at 0.2 and brought to length 1 again (L2-Hys). A block without
/// gradients is all zero.
///
/// A side is divided into as many cells of equal size as are nearest to the wanted size, at least
/// 2. Where cells do not end between pixels, a pixel's votes are shared by the parts of it that lie
/// in each cell. So any shape has at least one block, and no pixel is left out.
///
/// ```
/// use lookalike_images::{Gradients, InputShape};
///
/// let shape = InputShape { channels: 3, height: 64, width: 64 };
/// let gradients = Gradients::suited(shape);
/// assert_eq!(gradients.len(), 7 * 7 * 36);
/// let mut code = vec![0.0; gradients.len()];
/// gradients.describe(&[128; 64 * 64 * 3], &mut code);
/// assert!(code.iter().all(|&value| value == 0.0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gradients {
    shape: InputShape,
    cells_down: usize,
    cells_across: usize,
}

impl Gradients {
    /// For images of `shape`, with cells of about `cell` x `cell` pixels.
    ///
    /// # Panics
    ///
    /// When `cell` or a side is 0, or there are neither 1 nor 3 channels.
    pub fn new(shape: InputShape, cell: usize) -> Self {
        assert!(cell > 0, "a cell has at least 1 pixel");
        assert!(
            matches!(shape.channels, 1 | 3) && shape.height > 0 && shape.width > 0,
            "no image has the shape {shape}"
        );
        let cells = |side: usize| ((2 * side + cell) / (2 * cell)).max(MIN_CELLS);
        Self {
            shape,
            cells_down: cells(shape.height),
            cells_across: cells(shape.width),
        }
    }

    /// [`new`](Self::new) with cells of an eighth of the longer side, in whole pixels: 4 for a side
    /// of 28 or 32, 8 for 64, 13 for 100. So that side has 7 to 10 cells. Cells are never smaller
    /// than 2 pixels, so images of less than 13 pixels have fewer of them.
    ///
    /// # Panics
    ///
    /// When a side is 0, or there are neither 1 nor 3 channels.
    pub fn suited(shape: InputShape) -> Self {
        let longer = shape.height.max(shape.width);
        let cell = (longer + SUITED_CELLS / 2) / SUITED_CELLS;
        Self::new(shape, cell.max(MIN_SUITED_CELL))
    }

    /// The shape of the images.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// Floats of a descriptor: blocks down x blocks across x 4 cells x 9 orientations.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a descriptor has at least one block"
    )]
    pub fn len(&self) -> usize {
        (self.cells_down - 1) * (self.cells_across - 1) * BLOCK
    }

    /// Blocks from top to bottom and from left to right. Each is two cells long, and each begins
    /// one cell after the one before.
    pub fn blocks(&self) -> [usize; 2] {
        [self.cells_down - 1, self.cells_across - 1]
    }

    /// Writes the descriptor of one image to `out`: blocks row by row, of each block the cells
    /// upper left, upper right, lower left and lower right, of each cell the orientations. Values
    /// are 0 to 1. `pixels` are height x width x channels. Runs on the calling thread.
    ///
    /// # Panics
    ///
    /// When `pixels` is not of the shape's length or `out` not of [`len`](Self::len).
    pub fn describe(&self, pixels: &[u8], out: &mut [f32]) {
        self.write_blocks(pixels, out, |block| {
            normalise(block);
            block.iter_mut().for_each(|value| *value = value.min(CLIP));
            normalise(block);
        });
    }

    /// Writes the blocks of cells to `out`, each as `finish` leaves it.
    fn write_blocks(&self, pixels: &[u8], out: &mut [f32], finish: impl Fn(&mut [f32; BLOCK])) {
        assert_eq!(pixels.len(), self.shape.values(), "pixels of another shape");
        assert_eq!(out.len(), self.len(), "out of another length");
        let cells = self.cells(pixels);
        let stride = self.cells_across * ORIENTATIONS;
        let (blocks, _) = out.as_chunks_mut::<BLOCK>();
        for (down, row) in blocks.chunks_exact_mut(self.cells_across - 1).enumerate() {
            for (across, block) in row.iter_mut().enumerate() {
                let upper = down * stride + across * ORIENTATIONS;
                let lower = upper + stride;
                // Two cells beside each other lie one after the other.
                let (top, bottom) = block.split_at_mut(BLOCK / 2);
                top.copy_from_slice(&cells[upper..upper + BLOCK / 2]);
                bottom.copy_from_slice(&cells[lower..lower + BLOCK / 2]);
                finish(block);
            }
        }
    }

    /// [`describe`](Self::describe) with another normalisation, which keeps how strong edges are:
    /// a block `b` becomes the square roots of `b / sqrt(|b|² + contrast²)`, and is not clipped.
    /// Blocks weaker than `contrast` (of values 0 to 1, as [`gradient_energy`] is) stay small.
    ///
    /// # Panics
    ///
    /// As [`describe`](Self::describe).
    pub fn describe_softly(&self, pixels: &[u8], contrast: f32, out: &mut [f32]) {
        self.write_blocks(pixels, out, |block| soften(block, contrast));
    }

    /// The descriptors of all images of a collection, images x [`len`](Self::len) floats. All
    /// threads of the current rayon pool take part.
    ///
    /// # Panics
    ///
    /// When the collection has another shape.
    pub fn describe_all(&self, collection: &Collection) -> Vec<f32> {
        assert_eq!(collection.shape(), self.shape, "images of another shape");
        let mut all = vec![0.0; collection.len() * self.len()];
        all.par_chunks_exact_mut(self.len())
            .zip(collection.pixels().par_chunks_exact(self.shape.values()))
            .for_each(|(out, pixels)| self.describe(pixels, out));
        all
    }

    /// The mean votes of each cell, cells down x cells across x orientations.
    fn cells(&self, pixels: &[u8]) -> Vec<f32> {
        let InputShape { height, width, .. } = self.shape;
        let mut cells = vec![0.0; self.cells_down * self.cells_across * ORIENTATIONS];
        let mut row = Row::new(self.shape);
        let mut votes = vec![0.0; VOTES * width];
        let pixels_per_cell =
            (height * width) as f32 / (self.cells_down * self.cells_across) as f32;
        let scale = 1.0 / (255.0 * pixels_per_cell);
        let rows = cells.chunks_exact_mut(self.cells_across * ORIENTATIONS);
        for (down, cells) in rows.enumerate() {
            // Each column has sums of its own: neighbouring pixels often have the same orientation,
            // and adding to the sum that was just written means waiting for it.
            votes.fill(0.0);
            let span = Span::new(down, self.cells_down, height);
            for y in span.pixels() {
                row.read(pixels, self.shape, y);
                row.vote(span.share(y), &mut votes);
            }
            let (columns, _) = votes.as_chunks::<VOTES>();
            let (cells, _) = cells.as_chunks_mut::<ORIENTATIONS>();
            for (across, cell) in cells.iter_mut().enumerate() {
                let span = Span::new(across, self.cells_across, width);
                let mut sums = [0.0f32; VOTES];
                for x in span.pixels() {
                    let share = span.share(x);
                    for (sum, vote) in sums.iter_mut().zip(&columns[x]) {
                        *sum += vote * share;
                    }
                }
                sums[0] += sums[ORIENTATIONS];
                for (value, sum) in cell.iter_mut().zip(sums) {
                    *value = sum * scale;
                }
            }
        }
        cells
    }
}

/// The part of a side that a cell takes, in pixels.
struct Span {
    start: f64,
    end: f64,
}

impl Span {
    /// Cell `index` of `cells` on a side of `side` pixels.
    fn new(index: usize, cells: usize, side: usize) -> Self {
        // In `f64` a quotient that is a whole number is exact, so cells of whole pixels share none.
        let bound = |index: usize| (index * side) as f64 / cells as f64;
        Self {
            start: bound(index),
            end: bound(index + 1),
        }
    }

    /// The pixels that lie in the cell at least in part.
    fn pixels(&self) -> Range<usize> {
        self.start as usize..self.end.ceil() as usize
    }

    /// How much of one of its pixels lies in the cell.
    fn share(&self, pixel: usize) -> f32 {
        (self.end.min((pixel + 1) as f64) - self.start.max(pixel as f64)) as f32
    }
}

/// Votes of a column: the orientations, and 180 degrees, which are added to those of 0 in the end.
const VOTES: usize = ORIENTATIONS + 1;

/// The gradients of one row of pixels.
struct Row {
    channels: usize,
    /// The row with its edges repeated.
    padded: Vec<i16>,
    /// Differences of each channel, one value after the other as the pixels lie.
    across: Vec<i16>,
    down: Vec<i16>,
    /// Of each pixel, see [`polar`]; lengths are 0 to 255 √2. Until then the gradient's two
    /// components.
    orientations: Vec<f32>,
    lengths: Vec<f32>,
}

impl Row {
    fn new(shape: InputShape) -> Self {
        let values = shape.width * shape.channels;
        Self {
            channels: shape.channels,
            padded: vec![0; values + 2 * shape.channels],
            across: vec![0; values],
            down: vec![0; values],
            orientations: vec![0.0; shape.width],
            lengths: vec![0.0; shape.width],
        }
    }

    /// Takes row `y` of an image, and leaves its gradients as components.
    fn read_components(&mut self, pixels: &[u8], shape: InputShape, y: usize) {
        let values = self.across.len();
        let line = |y: usize| &pixels[y * values..(y + 1) * values];
        let (upper, lower) = (
            line(y.saturating_sub(1)),
            line((y + 1).min(shape.height - 1)),
        );
        for (down, (&lower, &upper)) in self.down.iter_mut().zip(lower.iter().zip(upper)) {
            *down = i16::from(lower) - i16::from(upper);
        }
        let channels = self.channels;
        let middle = &mut self.padded[channels..channels + values];
        for (to, &from) in middle.iter_mut().zip(line(y)) {
            *to = i16::from(from);
        }
        self.padded.copy_within(channels..2 * channels, 0);
        self.padded
            .copy_within(values..values + channels, values + channels);
        let neighbours = self.padded[2 * channels..].iter().zip(&self.padded);
        for (across, (&right, &left)) in self.across.iter_mut().zip(neighbours) {
            *across = right - left;
        }
        match channels {
            3 => {
                let (across, _) = self.across.as_chunks::<3>();
                let (down, _) = self.down.as_chunks::<3>();
                let all = across.iter().zip(down);
                let out = self.orientations.iter_mut().zip(&mut self.lengths);
                for ((x, y), (&across, &down)) in out.zip(all) {
                    (*x, *y) = longest(across, down);
                }
            }
            _ => {
                let all = self.across.iter().zip(&self.down);
                let out = self.orientations.iter_mut().zip(&mut self.lengths);
                for ((x, y), (&across, &down)) in out.zip(all) {
                    (*x, *y) = (f32::from(across), f32::from(down));
                }
            }
        }
    }

    /// Takes row `y` of an image, and turns its gradients into orientations and lengths.
    fn read(&mut self, pixels: &[u8], shape: InputShape, y: usize) {
        self.read_components(pixels, shape, y);
        for (x, y) in self.orientations.iter_mut().zip(&mut self.lengths) {
            (*x, *y) = polar(*x, *y);
        }
    }

    /// Adds the row's votes, `share` of each, to `votes`: width x [`VOTES`].
    fn vote(&self, share: f32, votes: &mut [f32]) {
        let gradients = self.orientations.iter().zip(&self.lengths);
        let (votes, _) = votes.as_chunks_mut::<VOTES>();
        for (votes, (&orientation, &length)) in votes.iter_mut().zip(gradients) {
            let lower = (orientation as i32 as usize).min(ORIENTATIONS - 1);
            let length = length * share;
            let upper_part = (orientation - lower as f32) * length;
            votes[lower] += length - upper_part;
            votes[lower + 1] += upper_part;
        }
    }
}

/// The longest of the gradients of three channels, the first of equals.
#[inline]
fn longest(across: [i16; 3], down: [i16; 3]) -> (f32, f32) {
    let square = |channel: usize| {
        let (x, y) = (i32::from(across[channel]), i32::from(down[channel]));
        x * x + y * y
    };
    let (mut x, mut y, mut longest) = (across[0], down[0], square(0));
    for channel in 1..3 {
        let square = square(channel);
        let longer = square > longest;
        x = if longer { across[channel] } else { x };
        y = if longer { down[channel] } else { y };
        longest = longest.max(square);
    }
    (f32::from(x), f32::from(y))
}

/// The arc tangent of 0 to 1 in orientations (9 / π of it), odd powers from the first; the error is
/// below 1e-6.
const ARC_TANGENT: [f32; 7] = [
    2.864_777_8,
    -0.954_472_3,
    0.567_452_13,
    -0.379_107_3,
    0.228_104_96,
    -0.096_268_95,
    0.019_514_335,
];

/// The orientation of a gradient, 0 to 9 (from 0 to 180 degrees, opposite directions alike), and
/// its length.
#[inline]
fn polar(x: f32, y: f32) -> (f32, f32) {
    let (across, down) = (x.abs(), y.abs());
    // Gradients are whole numbers, so 1 changes only what would be 0 / 0.
    let tangent = across.min(down) / across.max(down).max(1.0);
    let square = tangent * tangent;
    let sum = ARC_TANGENT
        .iter()
        .rev()
        .fold(0.0, |sum, &factor| sum * square + factor);
    let all = ORIENTATIONS as f32;
    let within_45 = sum * tangent;
    let within_90 = if down > across {
        all / 2.0 - within_45
    } else {
        within_45
    };
    let orientation = if x * y < 0.0 {
        all - within_90
    } else {
        within_90
    };
    (orientation, (x * x + y * y).sqrt())
}

/// Brings a block to length 1, or less if it is nearly zero.
fn normalise(block: &mut [f32; BLOCK]) {
    // Four sums, because a single one could not be vectorised.
    let mut sums = [0.0f32; 4];
    for values in block.as_chunks::<4>().0 {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value * value;
        }
    }
    let square: f32 = sums.iter().sum();
    let scale = 1.0 / (square + EPSILON * EPSILON).sqrt();
    block.iter_mut().for_each(|value| *value *= scale);
}

/// The square roots of the block's values, brought to length 1 first as far as it is strong.
fn soften(block: &mut [f32], contrast: f32) {
    let square: f32 = block.iter().map(|value| value * value).sum();
    let scale = 1.0 / (square + contrast * contrast).sqrt().max(f32::MIN_POSITIVE);
    for value in block {
        *value = (*value * scale).max(0.0).sqrt();
    }
}

/// The mean squared length of an image's gradients, as [`Gradients`] takes them, of values 0 to 1.
///
/// # Panics
///
/// When `pixels` is not of the shape's length.
pub fn gradient_energy(pixels: &[u8], shape: InputShape) -> f64 {
    assert_eq!(pixels.len(), shape.values(), "pixels of another shape");
    let mut row = Row::new(shape);
    let mut sum = 0.0f64;
    for y in 0..shape.height {
        row.read_components(pixels, shape, y);
        let squares = row.orientations.iter().zip(&row.lengths);
        sum += f64::from(squares.map(|(x, y)| x * x + y * y).sum::<f32>());
    }
    sum / (255.0 * 255.0 * (shape.height * shape.width) as f64)
}

/// Directions of [`LocalGradients`], 45 degrees apart; an edge and its negative differ.
const DIRECTIONS: usize = 8;
/// Steps along each side of a local block: two cells of two steps each.
const BLOCK_STEPS: usize = 4;

/// Gradients around many places of an image, wherever they lie: the words of which textures and
/// parts are made (dense SIFT: Lowe 2004; Bosch, Zisserman and Muñoz, ICCV 2007).
///
/// At every step across and down there is a block of 2 x 2 cells of 2 x 2 steps. A cell has the
/// mean of its pixels' votes for 8 directions, shared linearly between the two nearest. Pixels
/// beyond the last whole step are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalGradients {
    shape: InputShape,
    step: usize,
}

impl LocalGradients {
    /// Floats of a block.
    pub const BLOCK: usize = 4 * DIRECTIONS;

    /// Blocks of images of `shape`, `step` pixels apart.
    ///
    /// # Panics
    ///
    /// When no block fits: `step` is 0 or above a quarter of the shorter side.
    pub fn new(shape: InputShape, step: usize) -> Self {
        let shorter = shape.height.min(shape.width);
        assert!(
            step > 0 && BLOCK_STEPS * step <= shorter,
            "no block of step {step} fits into {shape}"
        );
        Self { shape, step }
    }

    /// Blocks down and across.
    pub fn grid(&self) -> [usize; 2] {
        [self.shape.height, self.shape.width].map(|side| side / self.step - BLOCK_STEPS + 1)
    }

    /// Floats of all blocks.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one block")]
    pub fn len(&self) -> usize {
        let [down, across] = self.grid();
        down * across * Self::BLOCK
    }

    /// Writes the blocks of an image to `out`, row by row, normalised as
    /// [`Gradients::describe_softly`] does it.
    ///
    /// # Panics
    ///
    /// When `pixels` is not of the shape's length or `out` not of [`len`](Self::len).
    pub fn describe(&self, pixels: &[u8], contrast: f32, out: &mut [f32]) {
        assert_eq!(pixels.len(), self.shape.values(), "pixels of another shape");
        assert_eq!(out.len(), self.len(), "out of another length");
        let steps_across = self.shape.width / self.step;
        let steps = self.votes(pixels);
        // Sums of 2 x 2 steps, at every step.
        let cell = |y: usize, x: usize| {
            let mut sums = [0.0f32; DIRECTIONS];
            for (y, x) in [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)] {
                for (sum, vote) in sums.iter_mut().zip(&steps[y * steps_across + x]) {
                    *sum += vote;
                }
            }
            sums
        };
        let [_, across] = self.grid();
        let scale = 1.0 / (255 * 4 * self.step * self.step) as f32;
        for (at, block) in out.chunks_exact_mut(Self::BLOCK).enumerate() {
            let (y, x) = (at / across, at % across);
            let cells = [(y, x), (y, x + 2), (y + 2, x), (y + 2, x + 2)];
            for (to, (y, x)) in block.chunks_exact_mut(DIRECTIONS).zip(cells) {
                for (to, sum) in to.iter_mut().zip(cell(y, x)) {
                    *to = sum * scale;
                }
            }
            soften(block, contrast);
        }
    }

    /// The sums of votes of each step.
    fn votes(&self, pixels: &[u8]) -> Vec<[f32; DIRECTIONS]> {
        let (down, across) = (self.shape.height / self.step, self.shape.width / self.step);
        let mut steps = vec![[0.0f32; DIRECTIONS]; down * across];
        let mut row = Row::new(self.shape);
        for y in 0..down * self.step {
            row.read_components(pixels, self.shape, y);
            let steps = &mut steps[y / self.step * across..][..across];
            let gradients = row.orientations.iter().zip(&row.lengths);
            for (column, (&x, &y)) in gradients.take(across * self.step).enumerate() {
                let length = (x * x + y * y).sqrt();
                let turn = y.atan2(x) * (DIRECTIONS as f32 / std::f32::consts::TAU);
                let turn = if turn < 0.0 {
                    turn + DIRECTIONS as f32
                } else {
                    turn
                };
                let lower = turn as usize;
                let upper_part = length * (turn - lower as f32);
                let votes = &mut steps[column / self.step];
                votes[lower % DIRECTIONS] += length - upper_part;
                votes[(lower + 1) % DIRECTIONS] += upper_part;
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use proptest::prelude::*;

    use super::*;

    fn shape(channels: usize, height: usize, width: usize) -> InputShape {
        InputShape {
            channels,
            height,
            width,
        }
    }

    fn described(gradients: Gradients, pixels: &[u8]) -> Vec<f32> {
        let mut out = vec![f32::NAN; gradients.len()];
        gradients.describe(pixels, &mut out);
        out
    }

    fn noise(values: usize, seed: u64) -> Vec<u8> {
        let byte = |i: usize| {
            let bits = (i as u64 + 1 + (seed << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
        };
        (0..values).map(byte).collect()
    }

    /// The gradient of a pixel, of the channel where it is longest.
    fn gradient(shape: InputShape, pixels: &[u8], y: usize, x: usize) -> (f64, f64) {
        let InputShape {
            channels,
            height,
            width,
        } = shape;
        let value =
            |y: usize, x: usize, c: usize| f64::from(pixels[(y * width + x) * channels + c]);
        let mut longest = (0.0, 0.0);
        for c in 0..channels {
            let dx = value(y, (x + 1).min(width - 1), c) - value(y, x.saturating_sub(1), c);
            let dy = value((y + 1).min(height - 1), x, c) - value(y.saturating_sub(1), x, c);
            if dx * dx + dy * dy > longest.0 * longest.0 + longest.1 * longest.1 {
                longest = (dx, dy);
            }
        }
        longest
    }

    /// The same as directly as it can be written, in `f64`.
    fn reference(shape: InputShape, cells: [usize; 2], pixels: &[u8]) -> Vec<f64> {
        let mut out = Vec::new();
        for mut block in reference_blocks(shape, cells, pixels) {
            for clip in [0.2, 1.0] {
                let length = block.iter().map(|v| v * v).sum::<f64>() + 1e-6;
                block
                    .iter_mut()
                    .for_each(|v| *v = (*v / length.sqrt()).min(clip));
            }
            out.extend(block);
        }
        out
    }

    /// The squares of a block's soft values.
    fn softened(block: Vec<f64>, contrast: f64) -> impl Iterator<Item = f64> {
        let length = block.iter().map(|v| v * v).sum::<f64>() + contrast * contrast;
        let length = length.sqrt().max(1e-300);
        block.into_iter().map(move |v| v / length)
    }

    /// Blocks as they are before they are normalised.
    fn reference_blocks(shape: InputShape, cells: [usize; 2], pixels: &[u8]) -> Vec<Vec<f64>> {
        let InputShape { height, width, .. } = shape;
        let overlap = |cell: usize, cells: usize, side: usize, at: usize| {
            let [start, end] = [cell, cell + 1].map(|cell| (cell * side) as f64 / cells as f64);
            (end.min(at as f64 + 1.0) - start.max(at as f64)).max(0.0)
        };
        let [down, across] = cells;
        let mut means = vec![vec![[0.0; ORIENTATIONS]; across]; down];
        for y in 0..height {
            for x in 0..width {
                let (dx, dy) = gradient(shape, pixels, y, x);
                let place = dy.atan2(dx).rem_euclid(PI) / PI * ORIENTATIONS as f64;
                let part = place - place.floor();
                for (row, means) in means.iter_mut().enumerate() {
                    for (column, mean) in means.iter_mut().enumerate() {
                        let weight = overlap(row, down, height, y)
                            * overlap(column, across, width, x)
                            * (dx.hypot(dy) / 255.0)
                            * (down * across) as f64
                            / (height * width) as f64;
                        mean[place as usize % ORIENTATIONS] += weight * (1.0 - part);
                        mean[(place as usize + 1) % ORIENTATIONS] += weight * part;
                    }
                }
            }
        }
        let mut out = Vec::new();
        for row in 0..down - 1 {
            for column in 0..across - 1 {
                let block = [(0, 0), (0, 1), (1, 0), (1, 1)]
                    .map(|(y, x)| means[row + y][column + x])
                    .concat();
                out.push(block);
            }
        }
        out
    }

    /// [`LocalGradients`] as directly as they can be written: the squares of their values.
    fn local_reference(shape: InputShape, step: usize, contrast: f64, pixels: &[u8]) -> Vec<f64> {
        let mut out = Vec::new();
        for top in (0..)
            .map(|i| i * step)
            .take_while(|top| top + 4 * step <= shape.height)
        {
            for left in (0..)
                .map(|i| i * step)
                .take_while(|left| left + 4 * step <= shape.width)
            {
                let mut block = vec![0.0; 32];
                for y in top..top + 4 * step {
                    for x in left..left + 4 * step {
                        let (dx, dy) = gradient(shape, pixels, y, x);
                        let place = dy.atan2(dx).rem_euclid(2.0 * PI) / (2.0 * PI) * 8.0;
                        let part = place - place.floor();
                        let length = dx.hypot(dy) / 255.0 / (4 * step * step) as f64;
                        let cell = 2 * ((y - top) / (2 * step)) + (x - left) / (2 * step);
                        block[8 * cell + place as usize % 8] += length * (1.0 - part);
                        block[8 * cell + (place as usize + 1) % 8] += length * part;
                    }
                }
                out.extend(softened(block, contrast));
            }
        }
        out
    }

    /// Roots are compared by their squares, for near 0 they multiply every error.
    fn squares_agree(found: &[f32], expected: &[f64]) -> bool {
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(&found, expected)| {
                found >= 0.0 && (f64::from(found).powi(2) - expected).abs() < 1e-5
            })
    }

    #[test]
    fn an_edge_points_one_way_and_its_negative_the_other() {
        let shape = shape(1, 4, 4);
        let blocks = LocalGradients::new(shape, 1);
        assert_eq!(
            (blocks.grid(), blocks.len()),
            ([1, 1], LocalGradients::BLOCK)
        );
        // From the first column to the last, brighter by the same.
        let brighter: Vec<u8> = (0..16).map(|i| 10 * (i % 4)).collect();
        let darker: Vec<u8> = brighter.iter().map(|value| 255 - value).collect();
        for (pixels, direction) in [(brighter, 0), (darker, 4)] {
            let mut out = vec![f32::NAN; LocalGradients::BLOCK];
            blocks.describe(&pixels, 0.0, &mut out);
            for (at, value) in out.iter().enumerate() {
                assert_eq!(*value > 0.5, at % 8 == direction, "{out:?}");
            }
        }
    }

    #[test]
    fn only_steps_that_fit_are_taken() {
        for (height, width, step) in [(3, 40, 1), (40, 7, 2), (8, 8, 0), (0, 8, 1)] {
            let shape = shape(1, height, width);
            assert!(std::panic::catch_unwind(|| LocalGradients::new(shape, step)).is_err());
        }
        let blocks = LocalGradients::new(shape(3, 35, 64), 8);
        assert_eq!(blocks.grid(), [1, 5]);
    }

    /// Computed by PyTorch, in another way: `atan2` and `scatter_add`.
    #[test]
    fn values_are_those_of_pytorch() {
        let grey: [f32; 36] = [
            0.04513, 0.19768, 0.21278, 0.16087, 0.22135, 0.18631, 0.15913, 0.17461, 0.14281,
            0.15712, 0.20816, 0.17220, 0.02610, 0.22314, 0.22314, 0.03908, 0.22314, 0.09438,
            0.12788, 0.22314, 0.20244, 0.20441, 0.09738, 0.22314, 0.19777, 0.05652, 0.02349,
            0.07041, 0.11847, 0.07470, 0.22314, 0.11514, 0.17230, 0.22314, 0.19015, 0.12390,
        ];
        let colour: [f32; 72] = [
            0.21042, 0.21939, 0.10305, 0.21275, 0.06898, 0.06024, 0.19284, 0.21939, 0.09584,
            0.17213, 0.17048, 0.13823, 0.21939, 0.03806, 0.11735, 0.21939, 0.21939, 0.14152,
            0.06765, 0.13534, 0.19822, 0.17691, 0.15603, 0.16862, 0.12865, 0.14712, 0.21939,
            0.15157, 0.21939, 0.19672, 0.13497, 0.17199, 0.05660, 0.10837, 0.19652, 0.21820,
            0.16266, 0.16111, 0.13063, 0.23034, 0.03597, 0.11090, 0.22301, 0.23577, 0.13374,
            0.09038, 0.07614, 0.14577, 0.10822, 0.11653, 0.15536, 0.23577, 0.23577, 0.16992,
            0.14323, 0.23366, 0.18591, 0.12755, 0.16254, 0.05349, 0.10241, 0.18572, 0.20620,
            0.22354, 0.23577, 0.23577, 0.23577, 0.00000, 0.00000, 0.05879, 0.22984, 0.01466,
        ];
        for (shape, expected) in [(shape(1, 8, 8), &grey[..]), (shape(3, 8, 12), &colour[..])] {
            let pixels: Vec<u8> = (0..shape.values())
                .map(|i| ((i * i * 31 + i * 17) % 251) as u8)
                .collect();
            let found = described(Gradients::new(shape, 4), &pixels);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
            }
        }
    }

    #[test]
    fn cells_suit_the_shape() {
        for (side, cells) in [
            (64, 8),
            (32, 8),
            (28, 7),
            (100, 8),
            (128, 8),
            (16, 8),
            (8, 4),
            (1, 2),
        ] {
            let gradients = Gradients::suited(shape(1, side, side));
            assert_eq!(
                (gradients.cells_down, gradients.cells_across),
                (cells, cells),
                "{side}"
            );
            assert_eq!(gradients.len(), (cells - 1) * (cells - 1) * 36);
        }
        let wide = Gradients::suited(shape(3, 8, 1024));
        assert_eq!((wide.cells_down, wide.cells_across), (2, 8));
        for side in 8..=1024 {
            let gradients = Gradients::suited(shape(1, side, side));
            let expected = if side < 13 { 4..=6 } else { 7..=10 };
            assert!(expected.contains(&gradients.cells_down), "{side}");
        }
    }

    #[test]
    fn orientations_are_exact_enough() {
        for x in -255i32..=255 {
            for y in -255i32..=255 {
                let (orientation, length) = polar(x as f32, y as f32);
                let (x, y) = (f64::from(x), f64::from(y));
                let expected = y.atan2(x).rem_euclid(PI) / PI * 9.0;
                let away = (f64::from(orientation) - expected).abs();
                assert!(away < 2e-6, "{x} {y}: {orientation}, not {expected}");
                assert!((f64::from(length) - x.hypot(y)).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn flat_images_are_zero() {
        for channels in [1, 3] {
            let gradients = Gradients::suited(shape(channels, 20, 30));
            let flat = vec![200; gradients.shape().values()];
            assert!(
                described(gradients, &flat)
                    .iter()
                    .all(|&value| value == 0.0)
            );
            assert_eq!(gradient_energy(&flat, gradients.shape()), 0.0);
            for contrast in [0.0, 0.1] {
                let mut soft = vec![f32::NAN; gradients.len()];
                gradients.describe_softly(&flat, contrast, &mut soft);
                assert!(soft.iter().all(|&value| value == 0.0));
                let blocks = LocalGradients::new(gradients.shape(), 3);
                let mut local = vec![f32::NAN; blocks.len()];
                blocks.describe(&flat, contrast, &mut local);
                assert!(local.iter().all(|&value| value == 0.0));
            }
        }
    }

    #[test]
    fn a_collection_is_described_image_by_image() {
        let gradients = Gradients::suited(shape(3, 11, 16));
        let pixels = noise(5 * gradients.shape().values(), 3);
        let keys = (0..5).map(|i| i.to_string()).collect();
        let collection =
            Collection::from_parts("five", gradients.shape(), keys, vec![None; 5], pixels).unwrap();
        let all = gradients.describe_all(&collection);
        let single = (0..5).flat_map(|i| described(gradients, collection.image(i)));
        assert_eq!(all, single.collect::<Vec<f32>>());
    }

    proptest! {
        #[test]
        fn any_shape_has_the_values_of_the_reference(
            height in 1usize..40,
            width in 1usize..40,
            cell in 1usize..14,
            channels in prop::sample::select(vec![1, 3]),
            seed in 0u64..1000,
        ) {
            let shape = shape(channels, height, width);
            let gradients = Gradients::new(shape, cell);
            let pixels = noise(shape.values(), seed);
            let cells = [gradients.cells_down, gradients.cells_across];
            let expected = reference(shape, cells, &pixels);
            let found = described(gradients, &pixels);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
        }

        #[test]
        fn soft_and_local_blocks_have_the_values_of_the_reference(
            height in 1usize..40,
            width in 1usize..40,
            size in 1usize..14,
            channels in prop::sample::select(vec![1, 3]),
            contrast in prop::sample::select(vec![0.0f32, 1e-3, 0.05, 1.0]),
            shades in 1u8..=255,
            seed in 0u64..1000,
        ) {
            let shape = shape(channels, height, width);
            let mut pixels = noise(shape.values(), seed);
            pixels.iter_mut().for_each(|value| *value %= shades);
            let contrast_wide = f64::from(contrast);

            let gradients = Gradients::new(shape, size);
            let cells = [gradients.cells_down, gradients.cells_across];
            let expected: Vec<f64> = reference_blocks(shape, cells, &pixels)
                .into_iter()
                .flat_map(|block| softened(block, contrast_wide))
                .collect();
            let mut found = vec![f32::NAN; gradients.len()];
            gradients.describe_softly(&pixels, contrast, &mut found);
            prop_assert!(squares_agree(&found, &expected));

            if 4 * size <= height.min(width) {
                let blocks = LocalGradients::new(shape, size);
                let expected = local_reference(shape, size, contrast_wide, &pixels);
                let mut found = vec![f32::NAN; blocks.len()];
                blocks.describe(&pixels, contrast, &mut found);
                prop_assert!(squares_agree(&found, &expected));
            }

            let squares = (0..height * width).map(|at| {
                let (dx, dy) = gradient(shape, &pixels, at / width, at % width);
                (dx * dx + dy * dy) / (255.0 * 255.0)
            });
            let expected = squares.sum::<f64>() / (height * width) as f64;
            let found = gradient_energy(&pixels, shape);
            prop_assert!((found - expected).abs() <= 1e-6 * expected, "{} {}", found, expected);
        }

        #[test]
        fn blocks_have_length_one_or_zero(
            height in 8usize..90,
            width in 8usize..90,
            seed in 0u64..1000,
            flat in 0usize..90,
        ) {
            let shape = shape(1, height, width);
            let mut pixels = noise(shape.values(), seed);
            pixels[..flat.min(height) * width].fill(90);
            for block in described(Gradients::suited(shape), &pixels).as_chunks::<BLOCK>().0 {
                let length = block.iter().map(|v| v * v).sum::<f32>().sqrt();
                prop_assert!(length == 0.0 || (length - 1.0).abs() < 1e-3, "{}", length);
                prop_assert!(block.iter().all(|v| (0.0..=1.0).contains(v)));
            }
        }

        #[test]
        fn brightness_and_negatives_change_nothing(seed in 0u64..1000, shift in 0u8..=55) {
            let gradients = Gradients::suited(shape(3, 24, 17));
            let mut pixels = noise(gradients.shape().values(), seed);
            pixels.iter_mut().for_each(|value| *value = (*value).min(200));
            let plain = described(gradients, &pixels);
            let brighter: Vec<u8> = pixels.iter().map(|value| value + shift).collect();
            prop_assert_eq!(&described(gradients, &brighter), &plain);
            let negative: Vec<u8> = pixels.iter().map(|value| 255 - value).collect();
            prop_assert_eq!(&described(gradients, &negative), &plain);
        }

        #[test]
        fn grey_as_colour_is_grey(height in 1usize..40, width in 1usize..40, seed in 0u64..1000) {
            let grey = noise(height * width, seed);
            let colour: Vec<u8> = grey.iter().flat_map(|&value| [value; 3]).collect();
            prop_assert_eq!(
                described(Gradients::suited(shape(1, height, width)), &grey),
                described(Gradients::suited(shape(3, height, width)), &colour)
            );
        }

        /// Mirrored from left to right, blocks and cells change places, and an orientation `a`
        /// becomes `180° - a`.
        #[test]
        fn mirrors_permute(height in 8usize..40, width in 8usize..40, seed in 0u64..1000) {
            let gradients = Gradients::suited(shape(1, height, width));
            let pixels = noise(height * width, seed);
            let mirrored: Vec<u8> = pixels
                .chunks_exact(width)
                .flat_map(|row| row.iter().rev().copied())
                .collect();
            let (plain, mirrored) = (described(gradients, &pixels), described(gradients, &mirrored));
            let across = gradients.cells_across - 1;
            for (at, &value) in plain.iter().enumerate() {
                let (block, cell, orientation) = (at / BLOCK, at % BLOCK / 9, at % 9);
                let (row, column) = (block / across, block % across);
                let to = ((row * across + across - 1 - column) * 4 + (cell ^ 1)) * 9
                    + (9 - orientation) % 9;
                prop_assert!((mirrored[to] - value).abs() < 1e-5);
            }
        }
    }
}
