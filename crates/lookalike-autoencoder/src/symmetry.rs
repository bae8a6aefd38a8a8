//! Collections whose images lie any way round: surfaces, microscopy, pictures from above.

use lookalike_images::{InputShape, Turn};
use serde::{Deserialize, Serialize};

use crate::augment::Augmentation;

/// Ways to lay an image onto itself that do not change what is computed from its pixels exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Symmetry {
    /// None: which way round an image lies tells it from others.
    #[default]
    None,
    /// Quarter turns; of images that are not square, half turns.
    Turns,
    /// Turns, and mirrored left to right.
    TurnsAndMirror,
}

impl Symmetry {
    /// That of an augmentation. An image is mirrored without being turned in many collections where
    /// its sides differ all the same: the mirror alone is none.
    pub(crate) fn of(augmentation: &Augmentation) -> Self {
        match (augmentation.turn, augmentation.mirror) {
            (false, _) => Self::None,
            (true, false) => Self::Turns,
            (true, true) => Self::TurnsAndMirror,
        }
    }

    /// Whether it is [`None`](Self::None).
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The turns of images of this shape, that of nothing first.
    pub(crate) fn turns(self, shape: InputShape) -> &'static [Turn] {
        use Turn::{Flipped, Mirrored, Rotated90, Rotated180, Rotated270};
        let is_square = shape.width == shape.height;
        match (self, is_square) {
            (Self::None, _) => &[Turn::None],
            (Self::Turns, true) => &[Turn::None, Rotated90, Rotated180, Rotated270],
            (Self::Turns, false) => &[Turn::None, Rotated180],
            (Self::TurnsAndMirror, true) => &Turn::ALL,
            (Self::TurnsAndMirror, false) => &[Turn::None, Mirrored, Rotated180, Flipped],
        }
    }

    /// Writes the mean of what `write` says of the image turned in each of these ways.
    pub(crate) fn average(
        self,
        pixels: &[u8],
        shape: InputShape,
        out: &mut [f32],
        write: impl Fn(&[u8], &mut [f32]),
    ) {
        write(pixels, out);
        let turns = self.turns(shape);
        if turns.len() == 1 {
            return;
        }
        let mut one = vec![0.0; out.len()];
        for turn in &turns[1..] {
            let turned = turn.apply(pixels, (shape.width, shape.height), shape.channels);
            write(&turned, &mut one);
            for (sum, value) in out.iter_mut().zip(&one) {
                *sum += value;
            }
        }
        let share = (turns.len() as f32).recip();
        out.iter_mut().for_each(|value| *value *= share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_over_turns_is_the_same_for_each_of_them() {
        for (width, height) in [(4, 4), (4, 2)] {
            let shape = InputShape {
                channels: 1,
                height,
                width,
            };
            let mut pixels: Vec<u8> = (0..shape.values()).map(|i| (i * i) as u8).collect();
            // No quarter turn of which is its mirror image.
            pixels[1] = 200;
            let mean = |symmetry: Symmetry, pixels: &[u8]| {
                let mut out = vec![0.0; shape.values()];
                symmetry.average(pixels, shape, &mut out, |pixels, out| {
                    for (out, &pixel) in out.iter_mut().zip(pixels) {
                        *out = f32::from(pixel);
                    }
                });
                out
            };
            for symmetry in [Symmetry::None, Symmetry::Turns, Symmetry::TurnsAndMirror] {
                let expected = mean(symmetry, &pixels);
                for turn in symmetry.turns(shape) {
                    let turned = turn.apply(&pixels, (width, height), 1);
                    assert_eq!(mean(symmetry, &turned), expected, "{symmetry:?}, {turn}");
                }
            }
            let mirrored = Turn::Mirrored.apply(&pixels, (width, height), 1);
            let turns = Symmetry::Turns;
            assert_ne!(mean(turns, &mirrored), mean(turns, &pixels));
        }
    }
}
