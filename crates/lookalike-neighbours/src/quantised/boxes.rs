//! The boxes that blocks lie in, and how near to a query something in a box can be at least.
//!
//! A box has a lowest and a highest value for each leading coordinate of its block's rows and for
//! the length of what these leave out, which is one coordinate more: rows `(h, t)` and a query
//! `(g, u)` are at least as far apart as these. Coordinates are counted in steps, 256 of them for
//! the range of four coordinates that vary about as much, and lows are rounded down, highs up. So
//! whole blocks are passed over where rows next to each other are alike (Friedman, Bentley and
//! Finkel, *An algorithm for finding best matches in logarithmic expected time*, 1977).

use super::dots::ROWS;
use super::frame::Frame;

/// Coordinates whose distances are summed up in one go.
pub(super) const QUAD: usize = 4;
/// Bytes of the lows, and of the highs, of a quad of coordinates of a group of blocks.
pub(super) const SIDE: usize = QUAD * ROWS;
/// A distance of more steps than this counts as this many.
pub(super) const MAX_GAP: u8 = i8::MAX as u8;
/// Where the middle of leading coordinates lies, in steps from the lowest.
const MIDDLE: f64 = 127.5;
/// What rounding may add to a coordinate, in steps, and to a length, as a share of the longest.
const MARGIN: f64 = 1e-3;
const LENGTH_MARGIN: f64 = 2e-6;
/// Makes up for the rounding of sums.
const SUM_MARGIN: f64 = 1.0 - 1e-5;

#[derive(Debug)]
pub(super) struct Boxes {
    /// For each quad the width of a step; the last is that of what leading coordinates leave out.
    steps: Vec<f64>,
    /// For each group of [`ROWS`] blocks and each quad the lows of the first block, those of the
    /// second, and so on, and then the highs.
    sides: Vec<u8>,
}

/// A query's part in the distances of a quad.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quad {
    /// The query rounded down and up.
    pub down: [u8; QUAD],
    pub up: [u8; QUAD],
    /// What half a squared step stands for.
    pub weight: f32,
}

impl Boxes {
    pub fn new(frame: &Frame) -> Self {
        Self {
            steps: frame.box_steps.clone(),
            sides: Vec::new(),
        }
    }

    /// Makes room for this many blocks; new ones are empty.
    pub fn resize(&mut self, blocks: usize) {
        let len = blocks.div_ceil(ROWS) * self.group();
        let had = self.sides.len().min(len);
        self.sides.resize(len, 0);
        for sides in self.sides[had..].chunks_exact_mut(2 * SIDE) {
            sides[..SIDE].fill(u8::MAX);
        }
    }

    /// Makes a block's box take in a row: its leading coordinates, each somewhere between the two
    /// values, and the length of what they leave out. The longest row has the length `longest`.
    pub fn take_in(
        &mut self,
        block: usize,
        leading: impl Iterator<Item = (f64, f64)>,
        rest: f64,
        longest: f64,
    ) {
        let start = block / ROWS * self.group() + block % ROWS * QUAD;
        let last = self.steps.len() - 1;
        let rest = (rest - LENGTH_MARGIN * longest, rest);
        for (at, (low, high)) in leading.chain([rest; QUAD]).enumerate() {
            let quad = at / QUAD;
            let place = start + quad * 2 * SIDE + at % QUAD;
            let low = in_steps(low, self.steps[quad], quad == last) - MARGIN;
            let high = in_steps(high, self.steps[quad], quad == last) + MARGIN;
            let (low, high) = (low.floor() as u8, high.ceil() as u8);
            self.sides[place] = self.sides[place].min(low);
            self.sides[place + SIDE] = self.sides[place + SIDE].max(high);
        }
    }

    /// Makes a block's box take in everything.
    pub fn open(&mut self, block: usize) {
        let start = block / ROWS * self.group() + block % ROWS * QUAD;
        for quad in 0..self.steps.len() {
            let place = start + quad * 2 * SIDE;
            self.sides[place..place + QUAD].fill(0);
            self.sides[place + SIDE..place + SIDE + QUAD].fill(u8::MAX);
        }
    }

    /// A query's leading coordinates, and the length of what they leave out.
    pub fn query(&self, leading: &[f64], rest: f64, longest: f64) -> Vec<Quad> {
        let last = self.steps.len() - 1;
        let margin = LENGTH_MARGIN * longest;
        let mut quads: Vec<Quad> = Vec::with_capacity(self.steps.len());
        for (at, values) in leading.chunks_exact(QUAD).enumerate() {
            let mut quad = Quad::default();
            for (of, &value) in values.iter().enumerate() {
                let value = in_steps(value, self.steps[at], false);
                quad.down[of] = (value - MARGIN).floor() as u8;
                quad.up[of] = (value + MARGIN).ceil() as u8;
            }
            quads.push(quad);
        }
        // The four values of the last quad are the same one: all rows have it four times.
        quads.push(Quad {
            down: [(in_steps(rest - margin, self.steps[last], true) - MARGIN).floor() as u8; QUAD],
            up: [(in_steps(rest, self.steps[last], true) + MARGIN).ceil() as u8; QUAD],
            weight: 0.0,
        });
        for (quad, step) in quads.iter_mut().zip(&self.steps) {
            let weight = (step * step / 2.0 * SUM_MARGIN) as f32;
            // Of a sample with codes that are too long to be found by blocks.
            quad.weight = if weight.is_finite() { weight } else { 0.0 };
        }
        quads[last].weight /= QUAD as f32;
        quads
    }

    /// The boxes of [`ROWS`] blocks.
    pub fn of_group(&self, group: usize) -> &[u8] {
        &self.sides[group * self.group()..][..self.group()]
    }

    fn group(&self) -> usize {
        self.steps.len() * 2 * SIDE
    }
}

/// Widths of the steps for leading coordinates of these ranges, and for what they leave out.
pub(super) fn steps(leading: &[f64], rest: f64) -> Vec<f64> {
    let ranges = leading.chunks(QUAD);
    let widest = |ranges: &[f64]| ranges.iter().copied().fold(0.0, f64::max);
    let step = |range: f64| range.max(f64::from(f32::MIN_POSITIVE)) / MIDDLE;
    ranges
        .map(|ranges| step(widest(ranges)))
        .chain([step(rest) / 2.0])
        .collect()
}

/// Where a value lies among the 256 steps, from 0 to 255.
fn in_steps(value: f64, step: f64, is_length: bool) -> f64 {
    let from = if is_length { 0.0 } else { MIDDLE };
    (value / step + from).clamp(0.0, 255.0)
}

#[cfg(test)]
mod tests {
    use super::super::dots::{Dots, Portable};
    use super::*;

    /// A box is never said to be farther away than what lies in it, and far ones not to be near.
    #[test]
    fn boxes_are_at_most_as_far_as_their_rows() {
        let mut state = 7u64;
        let mut value = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64 / 8_388_608.0 - 1.0
        };
        let ranges = [1.0, 0.8, 0.7, 0.7, 0.4, 0.3, 0.2, 0.1];
        let mut boxes = Boxes {
            steps: steps(&ranges, 0.5),
            sides: Vec::new(),
        };
        boxes.resize(20);
        let mut rows: Vec<(usize, Vec<f64>, f64)> = Vec::new();
        for block in 0..20 {
            let middle: Vec<f64> = ranges.iter().map(|range| range * value()).collect();
            for _ in 0..ROWS {
                // Some are outside the ranges of the steps.
                let leading: Vec<f64> = middle.iter().map(|m| 1.2 * m + 0.02 * value()).collect();
                let rest = value().abs();
                let near = leading.iter().map(|v| (v - 1e-3, v + 1e-3));
                boxes.take_in(block, near, rest, 2.0);
                rows.push((block, leading, rest));
            }
        }
        let (mut found_sum, mut true_sum) = (0.0, 0.0);
        for _ in 0..50 {
            let query: Vec<f64> = ranges.iter().map(|range| 1.2 * range * value()).collect();
            let rest = value().abs();
            let quads = boxes.query(&query, rest, 2.0);
            let mut nearest = [f64::INFINITY; 20];
            for (block, leading, row_rest) in &rows {
                let square: f64 = leading
                    .iter()
                    .zip(&query)
                    .map(|(a, b)| (a - b).powi(2))
                    .sum();
                let half = (square + (rest - row_rest).powi(2)) / 2.0;
                nearest[*block] = nearest[*block].min(half);
            }
            for (block, &nearest) in nearest.iter().enumerate() {
                // SAFETY: any processor has what this needs.
                let gaps = unsafe { Portable::half_gaps(boxes.of_group(block / ROWS), &quads) };
                let found = f64::from(gaps[block % ROWS]);
                assert!(found <= nearest, "{block}: {found}, {nearest}");
                found_sum += found;
                true_sum += nearest;
            }
            boxes.open(3);
            // SAFETY: as above.
            let gaps = unsafe { Portable::half_gaps(boxes.of_group(0), &quads) };
            assert_eq!(gaps[3], 0.0);
        }
        assert!(found_sum > 0.5 * true_sum, "{found_sum}, {true_sum}");
    }
}
