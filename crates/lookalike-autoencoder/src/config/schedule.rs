//! How the learning rate moves.

use serde::{Deserialize, Serialize};

/// How the learning rate moves over the steps of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same all along.
    Constant,
    /// Up to the learning rate over the first 30% of the steps and down to nearly nothing, both
    /// along a half cosine (Smith and Topin 2018).
    OneCycle,
}

impl Schedule {
    /// Every schedule.
    pub const ALL: [Schedule; 2] = [Self::OneCycle, Self::Constant];

    /// Learning rate of `step` (from 0) of `steps`, for a highest rate of `peak`.
    pub(crate) fn rate(self, peak: f64, step: usize, steps: usize) -> f64 {
        const RISE: f64 = 0.3;
        const START: f64 = 1.0 / 25.0;
        const END: f64 = START * 1e-4;
        match self {
            Self::Constant => peak,
            Self::OneCycle => {
                let turn = (RISE * steps as f64 - 1.0).max(1.0);
                let last = (steps as f64 - 1.0).max(turn + 1.0);
                let step = step as f64;
                let half_cosine = |from: f64, to: f64, part: f64| {
                    to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
                };
                peak * if step <= turn {
                    half_cosine(START, 1.0, step / turn)
                } else {
                    half_cosine(1.0, END, ((step - turn) / (last - turn)).min(1.0))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_rises_to_the_peak_and_falls_to_nearly_nothing() {
        let rates: Vec<f64> = (0..100)
            .map(|s| Schedule::OneCycle.rate(4e-3, s, 100))
            .collect();
        assert!((rates[0] - 4e-3 / 25.0).abs() < 1e-12);
        let peak = rates.iter().copied().fold(0.0, f64::max);
        assert!((peak - 4e-3).abs() < 1e-9);
        assert_eq!(rates.iter().position(|&r| r == peak), Some(29));
        assert!(rates[99] < 1e-7);
        for steps in 1..6 {
            for step in 0..steps {
                let rate = Schedule::OneCycle.rate(1.0, step, steps);
                assert!(rate > 0.0 && rate <= 1.0, "step {step} of {steps}: {rate}");
            }
        }
    }
}
