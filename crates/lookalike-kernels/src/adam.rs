//! Adam and AdamW.

use crate::dispatch::{InstructionSet, per_instruction_set};
use rayon::prelude::*;

/// One step of Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter,
/// 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// The step's length.
    pub learning_rate: f32,
    /// How much of the gradient's running mean is kept.
    pub beta1: f32,
    /// How much of the squared gradient's running mean is kept.
    pub beta2: f32,
    /// Added to the root of the squared gradient's mean.
    pub epsilon: f32,
    /// Decoupled decay: the parameter shrinks by `learning_rate · weight_decay` of itself. 0 is
    /// Adam.
    pub weight_decay: f32,
    /// Which step this is, from 1: early steps are corrected for the running means' start at zero.
    pub step: u32,
}

/// Takes one step on one parameter, in place. `first` and `second` are the running means of the
/// gradient and of its square; they start at zero.
///
/// # Panics
///
/// If the slices differ in length, or if `step` is 0.
pub fn adam(
    s: &AdamStep,
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    run(
        InstructionSet::in_use(),
        s,
        parameter,
        gradient,
        first,
        second,
    );
}

/// Floats in a piece of work: below this, a second thread costs more than it brings.
const PIECE: usize = 16 * 1024;

pub(crate) fn run(
    set: InstructionSet,
    s: &AdamStep,
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    assert!(s.step > 0, "Adam: steps count from 1");
    assert_eq!(
        gradient.len(),
        parameter.len(),
        "Adam: length of the gradient"
    );
    assert_eq!(
        first.len(),
        parameter.len(),
        "Adam: length of the first moment"
    );
    assert_eq!(
        second.len(),
        parameter.len(),
        "Adam: length of the second moment"
    );
    // Powers of numbers close to 1, and small differences of them: in f64.
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(f64::from(s.step));
    let rate = (f64::from(s.learning_rate) / correction(s.beta1)) as f32;
    let root = (1.0 / correction(s.beta2).sqrt()) as f32;
    let keep = 1.0 - s.learning_rate * s.weight_decay;
    parameter
        .par_chunks_mut(PIECE)
        .zip(gradient.par_chunks(PIECE))
        .zip(
            first
                .par_chunks_mut(PIECE)
                .zip(second.par_chunks_mut(PIECE)),
        )
        .for_each(|((parameter, gradient), (first, second))| {
            piece(set, s, rate, root, keep, parameter, gradient, first, second);
        });
}

per_instruction_set! {
    fn piece<V>(
        s: &AdamStep,
        rate: f32,
        root: f32,
        keep: f32,
        parameter: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let AdamStep { beta1, beta2, epsilon, .. } = *s;
        for (((p, g), m), v) in parameter.iter_mut().zip(gradient).zip(first).zip(second) {
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *p = *p * keep - rate * *m / (v.sqrt() * root + epsilon);
        }
    }
}
