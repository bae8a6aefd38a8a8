//! From votes to how likely they are right.

/// So few answers tell nothing.
const MIN_ANSWERS: usize = 20;
/// Steps of Newton's method; it converges in far fewer.
const STEPS: usize = 50;
/// Keeps coefficients finite where all answers are right: as if each had been measured as 0 with
/// this weight.
const RIDGE: f64 = 0.1;
/// Shares and confidences keep this far from 0 and 1.
const MARGIN: f64 = 1e-3;

/// A logistic function of a vote's share (as log odds) and of how far the voters are (as the
/// logarithm of the distance over the median).
#[derive(Clone, Debug)]
pub(super) struct Calibration {
    coefficients: [f64; 3],
    median: f64,
}

impl Calibration {
    /// Fits to votes whose answer is known: share, mean distance, and whether it was right. None if
    /// there are too few.
    pub fn fit(known: &[(f32, f32, bool)]) -> Option<Self> {
        if known.len() < MIN_ANSWERS {
            return None;
        }
        let mut distances: Vec<f32> = known.iter().map(|&(_, distance, _)| distance).collect();
        let middle = distances.len() / 2;
        let median = *distances.select_nth_unstable_by(middle, f32::total_cmp).1;
        let mut fitted = Self {
            coefficients: [0.0, 1.0, 0.0],
            median: f64::from(median),
        };
        for _ in 0..STEPS {
            let mut gradient = [0.0; 3];
            let mut curvature = [[0.0; 3]; 3];
            for i in 0..3 {
                gradient[i] = -RIDGE * fitted.coefficients[i];
                curvature[i][i] = RIDGE;
            }
            for &(share, distance, right) in known {
                let features = fitted.features(share, distance);
                let likely = fitted.probability(features);
                let target = if right { 1.0 } else { 0.0 };
                for i in 0..3 {
                    gradient[i] += (target - likely) * features[i];
                    for j in 0..3 {
                        curvature[i][j] += likely * (1.0 - likely) * features[i] * features[j];
                    }
                }
            }
            let step = solve(curvature, gradient)?;
            for (coefficient, step) in fitted.coefficients.iter_mut().zip(step) {
                // A long step may lead away from the answer.
                *coefficient += step.clamp(-1.0, 1.0);
            }
            if step.iter().all(|step| step.abs() < 1e-9) {
                break;
            }
        }
        Some(fitted)
    }

    /// How likely a vote is right.
    pub fn confidence(&self, share: f32, distance: f32) -> f32 {
        let likely = self.probability(self.features(share, distance));
        likely.clamp(MARGIN, 1.0 - MARGIN) as f32
    }

    fn features(&self, share: f32, distance: f32) -> [f64; 3] {
        let share = f64::from(share).clamp(MARGIN, 1.0 - MARGIN);
        let farther = match self.median > 0.0 {
            // What is there, or ten times as far as usual, is as near or far as can be told.
            true => (f64::from(distance) / self.median).clamp(0.1, 10.0).ln(),
            false => 0.0,
        };
        [1.0, (share / (1.0 - share)).ln(), farther]
    }

    fn probability(&self, features: [f64; 3]) -> f64 {
        let terms = self.coefficients.iter().zip(features);
        let odds: f64 = terms
            .map(|(coefficient, feature)| coefficient * feature)
            .sum();
        1.0 / (1.0 + (-odds).exp())
    }
}

/// Solves a positive definite system by Gaussian elimination.
fn solve(mut matrix: [[f64; 3]; 3], mut values: [f64; 3]) -> Option<[f64; 3]> {
    for i in 0..3 {
        let pivot = matrix[i];
        if pivot[i].abs() < 1e-12 {
            return None;
        }
        for j in i + 1..3 {
            let factor = matrix[j][i] / pivot[i];
            for (value, &above) in matrix[j].iter_mut().zip(&pivot) {
                *value -= factor * above;
            }
            values[j] -= factor * values[i];
        }
    }
    for i in (0..3).rev() {
        for j in i + 1..3 {
            values[i] -= matrix[i][j] * values[j];
        }
        values[i] /= matrix[i][i];
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_how_often_votes_are_right() {
        // Of votes with a share of .6 half are right, with .9 nine of ten; far away fewer are.
        let mut known = Vec::new();
        for i in 0..1000 {
            known.push((0.6, 1.0, i % 2 == 0));
            known.push((0.9, 1.0, i % 10 != 0));
            known.push((0.9, 4.0, i % 10 < 6));
        }
        let fitted = Calibration::fit(&known).unwrap();
        for (share, distance, right) in [(0.6, 1.0, 0.5), (0.9, 1.0, 0.9), (0.9, 4.0, 0.6)] {
            let found = fitted.confidence(share, distance);
            assert!(
                (found - right).abs() < 0.01,
                "{share} at {distance}: {found}"
            );
        }
    }

    #[test]
    fn what_tells_nothing_is_not_fitted_and_what_is_always_right_stays_finite() {
        assert!(Calibration::fit(&[(0.9, 1.0, true); 5]).is_none());
        let sure = Calibration::fit(&[(0.9, 0.0, true); 500]).unwrap();
        let found = sure.confidence(0.9, 0.0);
        assert!(found > 0.95 && found < 1.0, "{found}");
    }
}
