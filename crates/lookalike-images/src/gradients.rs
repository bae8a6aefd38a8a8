//! Histograms of oriented gradients: which way edges run in each part of an image, whatever its
//! colours.

mod local;
mod row;
#[cfg(test)]
mod tests;

pub use local::LocalGradients;

use std::ops::Range;

use rayon::prelude::*;

use self::row::{Row, VOTES};
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
    /// Orientations that the gradients of a cell vote for.
    pub const ORIENTATIONS: usize = ORIENTATIONS;

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

    /// How much of each row of pixels lies in each cell from top to bottom (cells x height), and
    /// how much of each column in each cell from left to right (cells x width): for those who
    /// compute descriptors by other means.
    pub fn cell_shares(&self) -> [Vec<f32>; 2] {
        let InputShape { height, width, .. } = self.shape;
        [(self.cells_down, height), (self.cells_across, width)].map(|(cells, side)| {
            let mut shares = vec![0.0; cells * side];
            for (index, row) in shares.chunks_exact_mut(side).enumerate() {
                let span = Span::new(index, cells, side);
                for pixel in span.pixels() {
                    row[pixel] = span.share(pixel);
                }
            }
            shares
        })
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
