//! 2x2 max pooling with stride 2.

use crate::dispatch::{InstructionSet, per_instruction_set};
use rayon::prelude::*;

/// The sides after 2x2 pooling: halves, rounded up.
fn pooled(height: usize, width: usize) -> (usize, usize) {
    (height.div_ceil(2), width.div_ceil(2))
}

fn check(
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    large: usize,
    small: usize,
    choice: usize,
) {
    let (pooled_height, pooled_width) = pooled(height, width);
    assert_eq!(
        large,
        batch * height * width * channels,
        "max pooling: length of the image's slice"
    );
    assert_eq!(
        small,
        batch * pooled_height * pooled_width * channels,
        "max pooling: length of the pooled slice"
    );
    assert_eq!(choice, small, "max pooling: length of `choice`");
}

/// 2x2 max pooling, stride 2: y is (batch, ⌈height/2⌉, ⌈width/2⌉, channels); an odd side's last window
/// is narrower. `choice`, as long as y, keeps which of the four won (0 to 3, row by row; the first of
/// equals), for [`max_pool_backward`].
///
/// # Panics
///
/// If a slice's length does not fit the sizes.
pub fn max_pool_forward(
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    x: &[f32],
    y: &mut [f32],
    choice: &mut [u8],
) {
    forward(
        InstructionSet::in_use(),
        batch,
        height,
        width,
        channels,
        x,
        y,
        choice,
    );
}

/// The gradient of [`max_pool_forward`]: each dy goes to the input that won, the other inputs get zero.
///
/// # Panics
///
/// If a slice's length does not fit the sizes.
pub fn max_pool_backward(
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    dy: &[f32],
    choice: &[u8],
    dx: &mut [f32],
) {
    backward(
        InstructionSet::in_use(),
        batch,
        height,
        width,
        channels,
        dy,
        choice,
        dx,
    );
}

pub(crate) fn forward(
    set: InstructionSet,
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    x: &[f32],
    y: &mut [f32],
    choice: &mut [u8],
) {
    check(
        batch,
        height,
        width,
        channels,
        x.len(),
        y.len(),
        choice.len(),
    );
    if y.is_empty() {
        return;
    }
    let small = y.len() / batch;
    x.par_chunks_exact(height * width * channels)
        .zip(y.par_chunks_exact_mut(small))
        .zip(choice.par_chunks_exact_mut(small))
        .for_each(|((x, y), choice)| forward_image(set, height, width, channels, x, y, choice));
}

pub(crate) fn backward(
    set: InstructionSet,
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    dy: &[f32],
    choice: &[u8],
    dx: &mut [f32],
) {
    check(
        batch,
        height,
        width,
        channels,
        dx.len(),
        dy.len(),
        choice.len(),
    );
    if dy.is_empty() {
        return;
    }
    let small = dy.len() / batch;
    dx.par_chunks_exact_mut(height * width * channels)
        .zip(dy.par_chunks_exact(small))
        .zip(choice.par_chunks_exact(small))
        .for_each(|((dx, dy), choice)| {
            backward_image(set, height, width, channels, dy, choice, dx)
        });
}

per_instruction_set! {
    fn forward_image<V>(height: usize, width: usize, channels: usize, x: &[f32], y: &mut [f32], choice: &mut [u8]) {
        let (_, pooled_width) = pooled(height, width);
        for (window, (y, choice)) in
            y.chunks_exact_mut(channels).zip(choice.chunks_exact_mut(channels)).enumerate()
        {
            let (row, column) = (window / pooled_width * 2, window % pooled_width * 2);
            // Beyond the border the inner neighbour stands in: an equal never wins.
            let (below, right) = ((row + 1).min(height - 1), (column + 1).min(width - 1));
            let pixel = |row: usize, column: usize| &x[(row * width + column) * channels..][..channels];
            let (p0, p1) = (pixel(row, column), pixel(row, right));
            let (p2, p3) = (pixel(below, column), pixel(below, right));
            for c in 0..channels {
                let (mut best, mut which) = (p0[c], 0);
                (best, which) = if p1[c] > best { (p1[c], 1) } else { (best, which) };
                (best, which) = if p2[c] > best { (p2[c], 2) } else { (best, which) };
                (best, which) = if p3[c] > best { (p3[c], 3) } else { (best, which) };
                y[c] = best;
                choice[c] = which;
            }
        }
    }
}

per_instruction_set! {
    fn backward_image<V>(height: usize, width: usize, channels: usize, dy: &[f32], choice: &[u8], dx: &mut [f32]) {
        let (_, pooled_width) = pooled(height, width);
        for (window, (dy, choice)) in
            dy.chunks_exact(channels).zip(choice.chunks_exact(channels)).enumerate()
        {
            let (row, column) = (window / pooled_width * 2, window % pooled_width * 2);
            for which in 0..4u8 {
                let (row, column) = (row + usize::from(which / 2), column + usize::from(which % 2));
                if row < height && column < width {
                    let dx = &mut dx[(row * width + column) * channels..][..channels];
                    for c in 0..channels {
                        dx[c] = if choice[c] == which { dy[c] } else { 0.0 };
                    }
                }
            }
        }
    }
}
