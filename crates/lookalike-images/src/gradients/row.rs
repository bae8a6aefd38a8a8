//! The gradients of a row of pixels, and their votes for orientations.

use super::ORIENTATIONS;
use crate::fit::InputShape;

/// Votes of a column: the orientations, and 180 degrees, which are added to those of 0 in the end.
pub(super) const VOTES: usize = ORIENTATIONS + 1;

/// The gradients of one row of pixels.
pub(super) struct Row {
    channels: usize,
    /// The row with its edges repeated.
    padded: Vec<i16>,
    /// Differences of each channel, one value after the other as the pixels lie.
    across: Vec<i16>,
    down: Vec<i16>,
    /// Of each pixel, see [`polar`]; lengths are 0 to 255 √2. Until then the gradient's two
    /// components.
    pub orientations: Vec<f32>,
    pub lengths: Vec<f32>,
}

impl Row {
    pub fn new(shape: InputShape) -> Self {
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
    pub fn read_components(&mut self, pixels: &[u8], shape: InputShape, y: usize) {
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
    pub fn read(&mut self, pixels: &[u8], shape: InputShape, y: usize) {
        self.read_components(pixels, shape, y);
        for (x, y) in self.orientations.iter_mut().zip(&mut self.lengths) {
            (*x, *y) = polar(*x, *y);
        }
    }

    /// Adds the row's votes, `share` of each, to `votes`: width x [`VOTES`].
    pub fn vote(&self, share: f32, votes: &mut [f32]) {
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
/// below 5e-7.
const ARC_TANGENT: [f32; 8] = [
    2.864_787,
    -0.954_830_5,
    0.571_430_1,
    -0.398_465_9,
    0.276_258,
    -0.160_213_28,
    0.062_655_83,
    -0.011_621_404,
];

/// The angle between a gradient and the row it lies in, in orientations: 0 along it, 4.5 across.
#[inline]
fn within_quarter(x: f32, y: f32) -> f32 {
    let (across, down) = (x.abs(), y.abs());
    // Gradients are whole numbers, so 1 changes only what would be 0 / 0.
    let tangent = across.min(down) / across.max(down).max(1.0);
    let square = tangent * tangent;
    let sum = ARC_TANGENT
        .iter()
        .rev()
        .fold(0.0, |sum, &factor| sum * square + factor);
    let within_45 = sum * tangent;
    if down > across {
        ORIENTATIONS as f32 / 2.0 - within_45
    } else {
        within_45
    }
}

/// The orientation of a gradient, 0 to 9 (from 0 to 180 degrees, opposite directions alike), and
/// its length.
#[inline]
pub(super) fn polar(x: f32, y: f32) -> (f32, f32) {
    let within_90 = within_quarter(x, y);
    let orientation = if x * y < 0.0 {
        ORIENTATIONS as f32 - within_90
    } else {
        within_90
    };
    (orientation, (x * x + y * y).sqrt())
}

/// The direction of a gradient, 0 to `directions` from 0 to 360 degrees. Multiples of 45 degrees
/// are exact: in small cells they leave directions without any vote, and square roots of votes
/// would make much of a rounding error.
#[inline]
pub(super) fn direction(x: f32, y: f32, directions: usize) -> f32 {
    let all = directions as f32;
    let within_90 = if x.abs() == y.abs() && x != 0.0 {
        all / 8.0
    } else {
        within_quarter(x, y) * (all / (2 * ORIENTATIONS) as f32)
    };
    match (x < 0.0, y < 0.0) {
        (false, false) => within_90,
        (true, false) => all / 2.0 - within_90,
        (true, true) => all / 2.0 + within_90,
        (false, true) => all - within_90,
    }
}
