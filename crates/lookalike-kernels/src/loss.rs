//! The sigmoid, the two losses behind it, and one without it.

use crate::dispatch::{InstructionSet, per_instruction_set};
#[cfg(test)]
use crate::scratch::Scratch;
use rayon::prelude::*;

/// What the reconstruction is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// (σ(logit) - target)², the article's.
    MeanSquaredError,
    /// -target·ln σ(logit) - (1 - target)·ln(1 - σ(logit)); targets from 0 to 1.
    BinaryCrossEntropy,
    /// (output - target)², without a sigmoid, for targets of any size.
    LinearSquaredError,
}

/// σ(logit) = 1 / (1 + e^-logit), element by element.
///
/// # Panics
///
/// If the slices differ in length.
pub fn sigmoid(logits: &[f32], out: &mut [f32]) {
    activate(InstructionSet::in_use(), logits, out);
}

/// Elements in a piece of work; the pieces' losses are added up in order, whatever the threads.
pub(crate) const PIECE: usize = 4096;
/// Sums kept side by side within a piece, so that the loop is vectorised.
const SUMS: usize = 32;

/// The mean loss of `logits`, through a sigmoid where `kind` has one, against `targets` over all
/// elements; `grad` becomes its gradient with respect to the logits. Networks take it in the same
/// pieces.
///
/// Computed from the logits, so neither infinite nor flat where the sigmoid saturates.
#[cfg(test)]
pub(crate) fn loss(
    set: InstructionSet,
    kind: Loss,
    logits: &[f32],
    targets: &[f32],
    grad: &mut [f32],
) -> f64 {
    assert_eq!(
        targets.len(),
        logits.len(),
        "sigmoid loss: length of the targets"
    );
    assert_eq!(
        grad.len(),
        logits.len(),
        "sigmoid loss: length of the gradient"
    );
    if logits.is_empty() {
        return 0.0;
    }
    let scale = 1.0 / logits.len() as f32;
    let mut sums = Scratch::zeroed(logits.len().div_ceil(PIECE));
    sums.par_iter_mut()
        .zip(logits.par_chunks(PIECE))
        .zip(targets.par_chunks(PIECE).zip(grad.par_chunks_mut(PIECE)))
        .for_each(|((sum, logits), (targets, grad))| {
            *sum = piece(set, kind, scale, logits, targets, grad);
        });
    sums.iter().map(|&sum| f64::from(sum)).sum::<f64>() / logits.len() as f64
}

/// The losses of a few thousand elements added up, on this thread, and their gradients times
/// `scale`.
pub(crate) fn piece(
    set: InstructionSet,
    kind: Loss,
    scale: f32,
    logits: &[f32],
    targets: &[f32],
    grad: &mut [f32],
) -> f32 {
    match kind {
        Loss::MeanSquaredError => squared(set, scale, logits, targets, grad),
        Loss::BinaryCrossEntropy => cross_entropy(set, scale, logits, targets, grad),
        Loss::LinearSquaredError => linear(set, scale, logits, targets, grad),
    }
}

pub(crate) fn activate(set: InstructionSet, logits: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), logits.len(), "sigmoid: length of the output");
    logits
        .par_chunks(PIECE)
        .zip(out.par_chunks_mut(PIECE))
        .for_each(|(logits, out)| activate_piece(set, logits, out));
}

/// e^x for x ≤ 0, relative error below 2e-7; 1.2e-38 below -87.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; a Taylor polynomial of degree 7 for e^r; n goes into the
/// exponent.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    /// Adding 1.5·2²³ leaves the rounded integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts: the first has few bits, so that n times it is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut power = 1.0 / 5040.0;
    power = power * r + 1.0 / 720.0;
    power = power * r + 1.0 / 120.0;
    power = power * r + 1.0 / 24.0;
    power = power * r + 1.0 / 6.0;
    power = power * r + 0.5;
    power = power * r + 1.0;
    power = power * r + 1.0;
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127)
        << 23;
    power * f32::from_bits(exponent)
}

/// ln(1 + e) for e from 0 to 1, relative error below 3e-7: 2·artanh(e / (2 + e)), whose series ends
/// quickly because the argument is at most 1/3.
#[inline(always)]
fn ln_one_plus(e: f32) -> f32 {
    let z = e / (2.0 + e);
    let square = z * z;
    let mut series = 1.0 / 13.0;
    series = series * square + 1.0 / 11.0;
    series = series * square + 1.0 / 9.0;
    series = series * square + 1.0 / 7.0;
    series = series * square + 1.0 / 5.0;
    series = series * square + 1.0 / 3.0;
    series = series * square + 1.0;
    2.0 * z * series
}

/// (e^-|x|, 1 / (1 + e^-|x|), σ(x)).
#[inline(always)]
fn sigmoid_parts(x: f32) -> (f32, f32, f32) {
    let e = exp_of_negative(-x.abs());
    let upper = 1.0 / (1.0 + e);
    (e, upper, if x >= 0.0 { upper } else { e * upper })
}

#[inline(always)]
fn squared_element(scale: f32, x: f32, target: f32) -> (f32, f32) {
    let (e, upper, s) = sigmoid_parts(x);
    let difference = s - target;
    (
        difference * difference,
        2.0 * scale * difference * (e * upper * upper),
    )
}

#[inline(always)]
fn cross_entropy_element(scale: f32, x: f32, target: f32) -> (f32, f32) {
    let (e, _, s) = sigmoid_parts(x);
    let positive = if x > 0.0 { x } else { 0.0 };
    (positive - x * target + ln_one_plus(e), scale * (s - target))
}

#[inline(always)]
fn linear_element(scale: f32, x: f32, target: f32) -> (f32, f32) {
    let difference = x - target;
    (difference * difference, 2.0 * scale * difference)
}

/// Adds up the losses of a piece, `SUMS` side by side, and writes the gradients.
macro_rules! piece {
    ($name:ident, $element:ident) => {
        per_instruction_set! {
            fn $name<V>(scale: f32, logits: &[f32], targets: &[f32], grad: &mut [f32]) -> f32 {
                let mut sums = [0.0f32; SUMS];
                let (logits, logits_rest) = logits.as_chunks::<SUMS>();
                let (targets, targets_rest) = targets.as_chunks::<SUMS>();
                let (grad, grad_rest) = grad.as_chunks_mut::<SUMS>();
                for ((logits, targets), grad) in logits.iter().zip(targets).zip(grad) {
                    for i in 0..SUMS {
                        let (loss, slope) = $element(scale, logits[i], targets[i]);
                        sums[i] += loss;
                        grad[i] = slope;
                    }
                }
                for i in 0..logits_rest.len() {
                    let (loss, slope) = $element(scale, logits_rest[i], targets_rest[i]);
                    sums[i] += loss;
                    grad_rest[i] = slope;
                }
                sums.iter().sum()
            }
        }
    };
}

piece!(squared, squared_element);
piece!(cross_entropy, cross_entropy_element);
piece!(linear, linear_element);

per_instruction_set! {
    fn activate_piece<V>(logits: &[f32], out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(logits) {
            *out = sigmoid_parts(x).2;
        }
    }
}
