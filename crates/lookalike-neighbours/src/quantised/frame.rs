//! The coordinates that codes are compared in: how many of them are enough, and their steps.

use super::dots::WIDTH;
use super::{FINE_STEPS, STEPS, boxes, scale_of};
use crate::eigen::dot;
use crate::pca::leading_directions;
use crate::{Codes, Metric};

/// Codes that directions and steps are found from, at most.
pub(super) const SAMPLE: usize = 2048;
/// … where codes have more dimensions than [`MAX_SOLVED`].
const SMALL_SAMPLE: usize = 512;
/// Up to this many dimensions all directions are found; beyond, that is too much work.
const MAX_SOLVED: usize = 512;
/// Directions that are found of codes with more dimensions.
const MAX_LEADING: usize = 128;
/// Codes of the sample that stand for queries when the number of directions is chosen.
const TRIALS: usize = 64;
/// What a row costs beside its leading coordinates, and what comparing one again costs, alone and
/// for every dimension: in the time that one more leading coordinate takes where two thirds of the
/// blocks are passed over. Measured at 60,000 codes with AVX-512.
const COST_ROW: f64 = 8.0;
const COST_AGAIN: f64 = 2700.0;
const COST_DIMENSION: f64 = 12.0;
/// That time where no blocks are passed over, in cycles of the processor.
const MAX_CYCLES: f64 = 0.1;
/// How much wider than in the sample the ranges of values are taken to be.
const LEADING_MARGIN: f64 = 1.25;
const FINE_MARGIN: f64 = 2.0;
/// The narrowest range of a dimension, as a share of the widest.
const MIN_RANGE: f64 = 1e-3;

/// Where codes are measured from, along which directions and in which steps.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) metric: Metric,
    /// The mean of the sample.
    pub(super) centre: Vec<f64>,
    /// For each dimension of codes, its share in every leading coordinate.
    axes: Vec<f64>,
    /// Leading coordinates: a multiple of [`WIDTH`].
    pub(super) leading: usize,
    /// Of leading coordinates, in 8 bits.
    pub(super) leading_steps: Vec<f64>,
    /// Of the codes' own dimensions, in 16 bits.
    pub(super) fine_steps: Vec<f64>,
    /// Of boxes ([`boxes::steps`]).
    pub(super) box_steps: Vec<f64>,
    /// Cycles of the processor that a search takes for each row at most, as far as the sample can
    /// tell.
    pub(super) max_cycles: f64,
}

/// A code as the frame sees it.
pub(super) struct Seen {
    /// Relative to the centre, in the codes' own dimensions.
    pub(super) from_centre: Vec<f64>,
    pub(super) leading: Vec<f64>,
    /// Squared length of `from_centre`.
    pub(super) square: f64,
    /// At least the length of what the leading coordinates leave out.
    pub(super) rest: f64,
}

impl Frame {
    /// None for the Manhattan metric, which is no inner product, and for a sample of nothing or of
    /// what is not finite.
    pub(super) fn fit(sample: Codes, metric: Metric) -> Option<Self> {
        let dims = sample.dims();
        let is_finite = sample.data().iter().all(|value| value.is_finite());
        if metric == Metric::Manhattan || sample.is_empty() || !is_finite {
            return None;
        }
        let most = match dims <= MAX_SOLVED {
            true => SAMPLE,
            false => SMALL_SAMPLE,
        };
        let count = sample.len().min(most);
        let rows: Vec<f32> = (0..count)
            .flat_map(|i| {
                let code = sample.row(i * sample.len() / count);
                let scale = scale_of(code, metric);
                code.iter().map(move |&v| (f64::from(v) * scale) as f32)
            })
            .collect();
        let rows = Codes::from_rows(&rows, dims);
        let wanted = match dims <= MAX_SOLVED {
            true => dims,
            false => MAX_LEADING,
        };
        let (centre, directions) = leading_directions(rows, wanted, MAX_SOLVED);
        let leading = wanted.next_multiple_of(WIDTH);
        let mut axes = vec![0.0; dims * leading];
        for (at, direction) in directions.chunks_exact(dims).enumerate() {
            for (dim, &share) in direction.iter().enumerate() {
                axes[dim * leading + at] = share;
            }
        }
        let mut frame = Self {
            metric,
            centre,
            axes,
            leading,
            leading_steps: Vec::new(),
            fine_steps: Vec::new(),
            box_steps: Vec::new(),
            max_cycles: 0.0,
        };
        let seen: Vec<Seen> = (0..count).map(|i| frame.see(rows.row(i))).collect();
        let (leading, cost) = frame.enough(&seen);
        frame.keep_leading(leading);
        frame.max_cycles = cost * MAX_CYCLES;
        let range = |of: fn(&Seen) -> &[f64], dims: usize| {
            let largest = |dim: usize| seen.iter().map(|s| of(s)[dim].abs()).fold(0.0, f64::max);
            (0..dims).map(largest).collect::<Vec<f64>>()
        };
        let leading_ranges = range(|s| &s.leading, frame.leading);
        frame.leading_steps = steps(&leading_ranges, LEADING_MARGIN / STEPS);
        let rests = seen
            .iter()
            .map(|s| (s.square - squared_length(&s.leading[..leading])).max(0.0));
        let rest = rests.fold(0.0, f64::max).sqrt();
        frame.box_steps = boxes::steps(&leading_ranges, rest);
        let ranges = range(|s| &s.from_centre, dims);
        frame.fine_steps = steps(&ranges, FINE_MARGIN / FINE_STEPS);
        Some(frame)
    }

    pub(super) fn dims(&self) -> usize {
        self.centre.len()
    }

    /// # Panics
    /// If the code has another number of dimensions.
    #[inline(always)]
    pub(super) fn see(&self, code: &[f32]) -> Seen {
        assert_eq!(
            code.len(),
            self.dims(),
            "a code needs the others' dimensions"
        );
        let scale = scale_of(code, self.metric);
        let from_centre: Vec<f64> = code
            .iter()
            .zip(&self.centre)
            .map(|(&value, middle)| f64::from(value) * scale - middle)
            .collect();
        let mut leading = vec![0.0; self.leading];
        for (value, shares) in from_centre.iter().zip(self.axes.chunks_exact(self.leading)) {
            for (sum, share) in leading.iter_mut().zip(shares) {
                *sum += value * share;
            }
        }
        let square = squared_length(&from_centre);
        let rest = rest(square, squared_length(&leading));
        Seen {
            from_centre,
            leading,
            square,
            rest,
        }
    }

    /// How many leading coordinates make a search the cheapest: with more of them every row takes
    /// longer, with fewer more rows have to be compared again. Each of some codes is asked for
    /// among the others; what is nearer than the nearest by the bounds would be compared again.
    /// Gives what a row costs, too.
    fn enough(&self, seen: &[Seen]) -> (usize, f64) {
        let counts = (1..).map(|i| i * WIDTH).take_while(|&c| c <= self.leading);
        let counts: Vec<usize> = counts.collect();
        let mut again = vec![0usize; counts.len()];
        let trials = TRIALS.min(seen.len());
        for trial in 0..trials {
            let own = trial * seen.len() / trials;
            let query = &seen[own];
            // Squared distances, by the first coordinates and altogether, and what is left.
            let mut parts: Vec<(f64, f64, f64)> = Vec::with_capacity(seen.len());
            let others = seen.iter().enumerate().filter(|(row, _)| *row != own);
            for (_, other) in others {
                let whole = distance(&query.from_centre, &other.from_centre);
                parts.push((0.0, whole, other.square));
            }
            let nearest = parts.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
            let mut query_rest = query.square;
            for (at, count) in counts.iter().enumerate() {
                let new = count - WIDTH..*count;
                query_rest -= squared_length(&query.leading[new.clone()]);
                let others = seen.iter().enumerate().filter(|(row, _)| *row != own);
                for (part, (_, other)) in parts.iter_mut().zip(others) {
                    part.0 += distance(&query.leading[new.clone()], &other.leading[new.clone()]);
                    part.2 -= squared_length(&other.leading[new.clone()]);
                    let rest = query_rest.max(0.0).sqrt() - part.2.max(0.0).sqrt();
                    again[at] += usize::from(part.0 + rest * rest <= nearest);
                }
            }
        }
        let pairs = (trials * seen.len()).max(1) as f64;
        let each = COST_AGAIN + COST_DIMENSION * self.dims() as f64;
        let cost = |at: usize| COST_ROW + counts[at] as f64 + each * again[at] as f64 / pairs;
        let best = (0..counts.len()).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
        best.map_or((WIDTH, 0.0), |at| (counts[at], cost(at)))
    }

    fn keep_leading(&mut self, leading: usize) {
        let axes = self.axes.chunks_exact(self.leading);
        self.axes = axes
            .flat_map(|shares| &shares[..leading])
            .copied()
            .collect();
        self.leading = leading;
    }
}

/// Upper bound of a length, squared, of which a part is known: more than rounding can take away.
fn rest(square: f64, part: f64) -> f64 {
    (square - part).max(0.0).sqrt() + 1e-7 * square.sqrt()
}

fn steps(ranges: &[f64], share: f64) -> Vec<f64> {
    let widest = ranges.iter().copied().fold(0.0, f64::max);
    // Codes that are all alike have no range: any will do.
    let narrowest = match widest * MIN_RANGE {
        narrowest if narrowest > 0.0 => narrowest,
        _ => 1.0,
    };
    let step = |range: &f64| range.max(narrowest) * share;
    ranges.iter().map(step).collect()
}

fn squared_length(values: &[f64]) -> f64 {
    dot(values, values)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
