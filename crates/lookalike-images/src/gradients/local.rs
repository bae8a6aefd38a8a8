//! Gradients around many places of an image.

use super::row::{Row, direction};
use super::soften;
use crate::fit::InputShape;

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
    /// Directions that the gradients of a cell vote for.
    pub const DIRECTIONS: usize = DIRECTIONS;
    /// Floats of a block: those of its upper left cell, upper right, lower left and lower right.
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

    /// The shape of the images.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// Pixels from one block to the next.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Blocks down and across, each four steps long.
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
    /// [`Gradients::describe_softly`](super::Gradients::describe_softly) does it.
    ///
    /// # Panics
    ///
    /// When `pixels` is not of the shape's length or `out` not of [`len`](Self::len).
    pub fn describe(&self, pixels: &[u8], contrast: f32, out: &mut [f32]) {
        assert_eq!(pixels.len(), self.shape.values(), "pixels of another shape");
        assert_eq!(out.len(), self.len(), "out of another length");
        let (down, across) = (self.shape.height / self.step, self.shape.width / self.step);
        let steps = self.votes(pixels);
        // Sums of 2 x 2 steps, at every step.
        let cells_across = across - 1;
        let scale = 1.0 / (255 * 4 * self.step * self.step) as f32;
        let mut cells = vec![[0.0f32; DIRECTIONS]; (down - 1) * cells_across];
        for (at, cell) in cells.iter_mut().enumerate() {
            let (y, x) = (at / cells_across, at % cells_across);
            for (y, x) in [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)] {
                for (sum, vote) in cell.iter_mut().zip(&steps[y * across + x]) {
                    *sum += vote;
                }
            }
            cell.iter_mut().for_each(|sum| *sum *= scale);
        }
        let [_, across] = self.grid();
        for (at, block) in out.chunks_exact_mut(Self::BLOCK).enumerate() {
            let (y, x) = (at / across, at % across);
            let corners = [(y, x), (y, x + 2), (y + 2, x), (y + 2, x + 2)];
            for (to, (y, x)) in block.chunks_exact_mut(DIRECTIONS).zip(corners) {
                to.copy_from_slice(&cells[y * cells_across + x]);
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
                let turn = direction(x, y, DIRECTIONS);
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
