//! The layout of UMAP: points in the plane that follow a graph.

use rayon::prelude::*;

use super::fuzzy_graph::FuzzyGraph;

/// Rounds of moving every point: many for few points, which are quick, and learn little from each.
const EPOCHS: usize = 200;
const EPOCHS_OF_FEW: usize = 500;
/// So many are few.
const FEW: usize = 10_000;
/// Points that each is pushed from whenever it is pulled to a neighbour.
const PUSHES: usize = 5;
/// Moves are not longer than this, times the epoch's rate.
const MAX_STEP: f32 = 4.0;

/// Moves points until neighbours in the graph are near each other and others are not; `progress`
/// hears the epochs that are done, and of how many.
///
/// An edge pulls in as many epochs as its membership is a share of the largest; every pull comes
/// with pushes from points drawn at random. All points move at once, from where the others were
/// before the epoch, so that neither the order nor the number of threads matters.
pub(super) fn optimise(
    graph: &FuzzyGraph,
    places: &mut Vec<[f32; 2]>,
    mut progress: impl FnMut(usize, usize),
) {
    let largest = graph.largest().max(f32::MIN_POSITIVE);
    let epochs = match places.len() <= FEW {
        true => EPOCHS_OF_FEW,
        false => EPOCHS,
    };
    let mut before = places.clone();
    for epoch in 0..epochs {
        let rate = 1.0 - epoch as f32 / epochs as f32;
        std::mem::swap(&mut before, places);
        places
            .par_iter_mut()
            .enumerate()
            .with_min_len(256)
            .for_each(|(point, place)| {
                *place = before[point];
                let mut random = Random::new(epoch, point);
                for (other, membership) in graph.edges(point) {
                    let share = f64::from(membership / largest);
                    let times = |epochs: usize| (epochs as f64 * share).floor();
                    if times(epoch + 1) <= times(epoch) {
                        continue;
                    }
                    // The edge is there both ways, and moves both its ends each time.
                    let other = before[other];
                    for _ in 0..2 {
                        CURVE.pull(place, other, rate);
                    }
                    for _ in 0..PUSHES {
                        let other = random.below(before.len());
                        if other != point {
                            CURVE.push(place, before[other], rate);
                        }
                    }
                }
            });
        progress(epoch + 1, epochs);
    }
}

/// Likeness in the plane: 1 / (1 + a d^2b) at the distance d.
struct Curve {
    a: f32,
    b: f32,
}

/// The curve of this form nearest to UMAP's usual likeness, 1 up to a distance of 0.1 and exp(0.1 -
/// d) beyond it, by least squares over distances of 0 to 3.
const CURVE: Curve = Curve {
    a: 1.5769,
    b: 0.8951,
};

impl Curve {
    /// Towards `other`, along the gradient of the logarithm of the likeness.
    fn pull(&self, place: &mut [f32; 2], other: [f32; 2], rate: f32) {
        let square = square(*place, other);
        if square > 0.0 {
            let power = square.powf(self.b);
            let by = -2.0 * self.a * self.b * power / (square * (1.0 + self.a * power));
            step(place, other, by, rate);
        }
    }

    /// Away from `other`, along the gradient of the logarithm of what is missing to 1.
    fn push(&self, place: &mut [f32; 2], other: [f32; 2], rate: f32) {
        let square = square(*place, other);
        if square > 0.0 {
            let power = square.powf(self.b);
            // What is added keeps the step of nearly equal places finite.
            let by = 2.0 * self.b / ((0.001 + square) * (1.0 + self.a * power));
            step(place, other, by, rate);
        }
    }
}

fn square(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

fn step(place: &mut [f32; 2], other: [f32; 2], by: f32, rate: f32) {
    for (value, other) in place.iter_mut().zip(other) {
        *value += (by * (*value - other)).clamp(-MAX_STEP, MAX_STEP) * rate;
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014), of an epoch and a point.
struct Random(u64);

impl Random {
    fn new(epoch: usize, point: usize) -> Self {
        let mut random = Self(((epoch as u64) << 40) ^ point as u64);
        // Neighbouring states are spread.
        random.0 = random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Below `count`, which is below 2^32.
    fn below(&mut self, count: usize) -> usize {
        (((self.next() >> 32) * count as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_the_nearest_of_its_form() {
        let error = |a: f64, b: f64| -> f64 {
            let at = |i: i32| f64::from(i) * 3.0 / 299.0;
            let off = |d: f64| 1.0 / (1.0 + a * d.powf(2.0 * b)) - (0.1 - d).exp().min(1.0);
            (0..300).map(|i| off(at(i)).powi(2)).sum()
        };
        let (a, b) = (f64::from(CURVE.a), f64::from(CURVE.b));
        let least = error(a, b);
        for (da, db) in [(0.001, 0.0), (-0.001, 0.0), (0.0, 0.001), (0.0, -0.001)] {
            assert!(error(a + da, b + db) > least, "{da} {db}");
        }
    }
}
