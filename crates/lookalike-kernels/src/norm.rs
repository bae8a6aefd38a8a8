//! Batch normalisation (Ioffe and Szegedy, 2015) over rows of channels.

use crate::dispatch::{InstructionSet, per_instruction_set};
use crate::scratch::Scratch;
use rayon::prelude::*;

/// Batch normalisation in training: y = (x - mean) / √(variance + ε) · γ + β per channel, with ReLU
/// after it if asked. `mean` and `variance` (biased: divided by `rows`) are written, for
/// [`batch_norm_backward`] and for the caller's running averages.
///
/// x and y are (rows, channels); rows = batch · height · width.
///
/// # Panics
///
/// If a slice's length does not fit the sizes.
pub fn batch_norm_forward(
    rows: usize,
    channels: usize,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    relu: bool,
    y: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    forward(
        InstructionSet::in_use(),
        rows,
        channels,
        x,
        gamma,
        beta,
        epsilon,
        relu,
        y,
        mean,
        variance,
    );
}

/// The gradient of [`batch_norm_forward`] through the batch's own mean and variance. `y` is the
/// forward's output and may be empty without ReLU; `dx`, `dgamma` and `dbeta` are overwritten.
///
/// # Panics
///
/// If a slice's length does not fit the sizes.
pub fn batch_norm_backward(
    rows: usize,
    channels: usize,
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    relu: bool,
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let set = InstructionSet::in_use();
    backward(
        set, rows, channels, x, gamma, mean, variance, epsilon, relu, y, dy, dx, dgamma, dbeta,
    );
}

/// y = x · scale + shift per channel, with ReLU after it if asked: batch normalisation at inference,
/// once the running averages are folded into a scale and a shift.
///
/// # Panics
///
/// If a slice's length does not fit the sizes.
pub fn scale_shift(
    rows: usize,
    channels: usize,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    relu: bool,
    y: &mut [f32],
) {
    apply(
        InstructionSet::in_use(),
        rows,
        channels,
        x,
        scale,
        shift,
        relu,
        y,
    );
}

/// Floats in a piece of work: small enough that the second pass over it finds it in the first cache.
const PIECE: usize = 4096;

/// Rows in a piece: at most 256, so that sums in f32 stay exact enough.
fn piece_rows(channels: usize) -> usize {
    (PIECE / channels).clamp(1, 256)
}

fn check(channels: usize, slices: &[(&str, usize)]) {
    for &(name, len) in slices {
        assert_eq!(
            len, channels,
            "batch normalisation: length of `{name}`, one per channel"
        );
    }
}

pub(crate) fn forward(
    set: InstructionSet,
    rows: usize,
    channels: usize,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    relu: bool,
    y: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    check(
        channels,
        &[
            ("gamma", gamma.len()),
            ("beta", beta.len()),
            ("mean", mean.len()),
            ("variance", variance.len()),
        ],
    );
    assert_eq!(x.len(), rows * channels, "batch normalisation: length of x");
    if x.is_empty() {
        return;
    }
    let piece = piece_rows(channels) * channels;
    // Each piece's mean and its sum of squares around that mean, then one after the other in f64 (Chan
    // et al., 1979): no cancellation however large the mean, and the same whatever the threads.
    let mut moments = Scratch::new(x.len().div_ceil(piece) * 2 * channels);
    moments
        .par_chunks_exact_mut(2 * channels)
        .zip(x.par_chunks(piece))
        .for_each(|(moments, x)| piece_moments(set, channels, x, moments));
    for c in 0..channels {
        let (mut count, mut average, mut squares) = (0.0f64, 0.0f64, 0.0f64);
        for (moments, x) in moments.chunks_exact(2 * channels).zip(x.chunks(piece)) {
            let more = (x.len() / channels) as f64;
            let delta = f64::from(moments[c]) - average;
            average += delta * more / (count + more);
            squares +=
                f64::from(moments[channels + c]) + delta * delta * count * more / (count + more);
            count += more;
        }
        mean[c] = average as f32;
        variance[c] = (squares / count) as f32;
    }
    let mut factors = Scratch::new(2 * channels);
    let (scale, shift) = factors.split_at_mut(channels);
    for c in 0..channels {
        scale[c] = gamma[c] / (variance[c] + epsilon).sqrt();
        shift[c] = beta[c] - mean[c] * scale[c];
    }
    apply(set, rows, channels, x, scale, shift, relu, y);
}

pub(crate) fn backward(
    set: InstructionSet,
    rows: usize,
    channels: usize,
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    relu: bool,
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    check(
        channels,
        &[
            ("gamma", gamma.len()),
            ("mean", mean.len()),
            ("variance", variance.len()),
        ],
    );
    check(
        channels,
        &[("dgamma", dgamma.len()), ("dbeta", dbeta.len())],
    );
    for (name, len) in [("x", x.len()), ("dy", dy.len()), ("dx", dx.len())] {
        assert_eq!(
            len,
            rows * channels,
            "batch normalisation, backward: length of {name}"
        );
    }
    assert!(
        !relu || y.len() == x.len(),
        "batch normalisation, backward: length of y"
    );
    if x.is_empty() {
        return;
    }
    let y = if relu { y } else { dy };
    let mut inverse = Scratch::new(channels);
    for c in 0..channels {
        inverse[c] = 1.0 / (variance[c] + epsilon).sqrt();
    }
    let piece = piece_rows(channels) * channels;
    let mut sums = Scratch::zeroed(x.len().div_ceil(piece) * 2 * channels);
    let (factor, mean_in) = (&*inverse, mean);
    sums.par_chunks_exact_mut(2 * channels)
        .zip(x.par_chunks(piece))
        .zip(y.par_chunks(piece).zip(dy.par_chunks(piece)))
        .for_each(|((sums, x), (y, dy))| {
            gradient_sums(set, channels, mean_in, factor, relu, x, y, dy, sums)
        });
    for c in 0..channels {
        let total = |at: usize| {
            sums.chunks_exact(2 * channels)
                .map(|sums| f64::from(sums[at]))
                .sum::<f64>() as f32
        };
        dbeta[c] = total(c);
        dgamma[c] = total(channels + c);
    }
    // dx = γ/√(variance + ε) · (dy - mean(dy) - x̂ · mean(dy · x̂)), as dy · a + x · b + d per channel.
    let mut factors = Scratch::new(3 * channels);
    let (a, rest) = factors.split_at_mut(channels);
    let (b, d) = rest.split_at_mut(channels);
    for c in 0..channels {
        a[c] = gamma[c] * inverse[c];
        b[c] = -a[c] * inverse[c] * dgamma[c] / rows as f32;
        d[c] = -a[c] * dbeta[c] / rows as f32 - b[c] * mean[c];
    }
    let (a, b, d) = (&*a, &*b, &*d);
    dx.par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .zip(y.par_chunks(piece).zip(dy.par_chunks(piece)))
        .for_each(|((dx, x), (y, dy))| input_gradient(set, channels, a, b, d, relu, x, y, dy, dx));
}

fn apply(
    set: InstructionSet,
    rows: usize,
    channels: usize,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    relu: bool,
    y: &mut [f32],
) {
    check(channels, &[("scale", scale.len()), ("shift", shift.len())]);
    assert_eq!(x.len(), rows * channels, "scale and shift: length of x");
    assert_eq!(y.len(), rows * channels, "scale and shift: length of y");
    if x.is_empty() {
        return;
    }
    let piece = piece_rows(channels) * channels;
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    x.par_chunks(piece)
        .zip(y.par_chunks_mut(piece))
        .for_each(|(x, y)| apply_piece(set, channels, scale, shift, floor, x, y));
}

per_instruction_set! {
    fn piece_moments<V>(channels: usize, x: &[f32], moments: &mut [f32]) {
        let (mean, squares) = moments.split_at_mut(channels);
        mean.fill(0.0);
        squares.fill(0.0);
        for row in x.chunks_exact(channels) {
            for (mean, x) in mean.iter_mut().zip(row) {
                *mean += x;
            }
        }
        let share = 1.0 / (x.len() / channels) as f32;
        for mean in mean.iter_mut() {
            *mean *= share;
        }
        for row in x.chunks_exact(channels) {
            for ((squares, mean), x) in squares.iter_mut().zip(mean.iter()).zip(row) {
                *squares += (x - mean) * (x - mean);
            }
        }
    }
}

per_instruction_set! {
    fn apply_piece<V>(channels: usize, scale: &[f32], shift: &[f32], floor: f32, x: &[f32], y: &mut [f32]) {
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                let value = x * scale + shift;
                *y = if value > floor { value } else { floor };
            }
        }
    }
}

/// The gradient that passed the ReLU: dy where its output was positive.
#[inline(always)]
fn passed(relu: bool, y: f32, dy: f32) -> f32 {
    if !relu || y > 0.0 { dy } else { 0.0 }
}

per_instruction_set! {
    fn gradient_sums<V>(
        channels: usize,
        mean: &[f32],
        inverse: &[f32],
        relu: bool,
        x: &[f32],
        y: &[f32],
        dy: &[f32],
        sums: &mut [f32],
    ) {
        let (beta, gamma) = sums.split_at_mut(channels);
        let mean = &mean[..channels];
        let rows = x.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(dy.chunks_exact(channels));
        for ((x, y), dy) in rows {
            for c in 0..channels {
                let slope = passed(relu, y[c], dy[c]);
                beta[c] += slope;
                gamma[c] += slope * (x[c] - mean[c]);
            }
        }
        for (gamma, inverse) in gamma.iter_mut().zip(inverse) {
            *gamma *= inverse;
        }
    }
}

per_instruction_set! {
    fn input_gradient<V>(
        channels: usize,
        a: &[f32],
        b: &[f32],
        d: &[f32],
        relu: bool,
        x: &[f32],
        y: &[f32],
        dy: &[f32],
        dx: &mut [f32],
    ) {
        let (a, b, d) = (&a[..channels], &b[..channels], &d[..channels]);
        let rows = x.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(dy.chunks_exact(channels));
        for (((x, y), dy), dx) in rows.zip(dx.chunks_exact_mut(channels)) {
            for c in 0..channels {
                dx[c] = passed(relu, y[c], dy[c]) * a[c] + x[c] * b[c] + d[c];
            }
        }
    }
}
