//! The eight ways to lay a rectangle onto itself.

use std::fmt;

use crate::pixels::Pixels;

/// A quarter turn, a mirror, or both: the eight symmetries of a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// As it is.
    #[default]
    None,
    /// Left and right exchanged.
    Mirrored,
    /// By 90° clockwise.
    Rotated90,
    /// By 180°.
    Rotated180,
    /// By 270° clockwise.
    Rotated270,
    /// Top and bottom exchanged.
    Flipped,
    /// Rows and columns exchanged: mirrored at the diagonal from the upper left.
    Transposed,
    /// Mirrored at the diagonal from the upper right.
    Transversed,
}

impl Turn {
    /// All of them, that of nothing first.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Mirrored,
        Self::Rotated90,
        Self::Rotated180,
        Self::Rotated270,
        Self::Flipped,
        Self::Transposed,
        Self::Transversed,
    ];

    /// A name for files and command lines: `none`, `mirrored`, `rotated-90`, `rotated-180`,
    /// `rotated-270`, `flipped`, `transposed`, `transversed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mirrored => "mirrored",
            Self::Rotated90 => "rotated-90",
            Self::Rotated180 => "rotated-180",
            Self::Rotated270 => "rotated-270",
            Self::Flipped => "flipped",
            Self::Transposed => "transposed",
            Self::Transversed => "transversed",
        }
    }

    /// What undoes it.
    pub fn inverse(self) -> Self {
        match self {
            Self::Rotated90 => Self::Rotated270,
            Self::Rotated270 => Self::Rotated90,
            own => own,
        }
    }

    /// Whether width becomes height.
    pub fn exchanges_sides(self) -> bool {
        matches!(
            self,
            Self::Rotated90 | Self::Rotated270 | Self::Transposed | Self::Transversed
        )
    }

    /// Values of a picture of this width and height, turned; a pixel's `channels` are beside each
    /// other.
    ///
    /// # Panics
    ///
    /// When there are not as many values as the picture has.
    pub fn apply<T: Copy>(
        self,
        values: &[T],
        (width, height): (usize, usize),
        channels: usize,
    ) -> Vec<T> {
        assert_eq!(values.len(), width * height * channels);
        let (to_width, to_height) = match self.exchanges_sides() {
            true => (height, width),
            false => (width, height),
        };
        let mut turned = Vec::with_capacity(values.len());
        for y in 0..to_height {
            for x in 0..to_width {
                let (x, y) = self.origin((x, y), width, height);
                turned.extend_from_slice(&values[(y * width + x) * channels..][..channels]);
            }
        }
        turned
    }

    /// The column and the row of a picture of this width and height whose pixel comes to stand in
    /// column `x` and row `y`.
    pub fn origin(self, (x, y): (usize, usize), width: usize, height: usize) -> (usize, usize) {
        match self {
            Self::None => (x, y),
            Self::Mirrored => (width - 1 - x, y),
            Self::Rotated180 => (width - 1 - x, height - 1 - y),
            Self::Flipped => (x, height - 1 - y),
            Self::Transposed => (y, x),
            Self::Rotated90 => (y, height - 1 - x),
            Self::Transversed => (width - 1 - y, height - 1 - x),
            Self::Rotated270 => (width - 1 - y, x),
        }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Pixels {
    /// The picture turned.
    pub fn turned(&self, turn: Turn) -> Self {
        let (width, height, channels) = (self.width(), self.height(), self.channels());
        let (to_width, to_height) = match turn.exchanges_sides() {
            true => (height, width),
            false => (width, height),
        };
        let data = turn.apply(self.data(), (width, height), channels);
        Self::trusted(to_width, to_height, channels, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_what_they_are_called() {
        // a b
        // c d
        // e f
        let pixels = Pixels::new(2, 3, 1, b"abcdef".to_vec()).unwrap();
        for (turn, expected) in [
            (Turn::None, "abcdef"),
            (Turn::Mirrored, "badcfe"),
            (Turn::Rotated90, "ecafdb"),
            (Turn::Rotated180, "fedcba"),
            (Turn::Rotated270, "bdface"),
            (Turn::Flipped, "efcdab"),
            (Turn::Transposed, "acebdf"),
            (Turn::Transversed, "fdbeca"),
        ] {
            let turned = pixels.turned(turn);
            assert_eq!(turned.data(), expected.as_bytes(), "{turn}");
            assert_eq!(turned.width() == 3, turn.exchanges_sides(), "{turn}");
            assert_eq!(turned.turned(turn.inverse()), pixels, "{turn}");
        }
    }
}
