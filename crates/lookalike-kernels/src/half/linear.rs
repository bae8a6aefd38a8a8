//! Linear layers' products in bf16; what there is beside [`linear`](crate::linear).

use super::{Buffer, HalfFilter, round, round_pairs};
use crate::correlate::Correlation;
use crate::linear::ROWS;
use crate::outer::{Factor, Outer, Strides};
use crate::precision::PairSet;
use crate::scratch::Scratch;
use rayon::prelude::*;

/// Rows of `from` floats to rows of `to`.
pub(crate) fn apply(
    set: PairSet,
    filter: &HalfFilter,
    from: usize,
    to: usize,
    x: &[f32],
    y: &mut [f32],
) {
    x.par_chunks(ROWS * from)
        .zip(y.par_chunks_mut(ROWS * to))
        .for_each(|(x, y)| {
            // One more, which a filter may read behind rows of one element.
            let mut halves = Buffer::<u16>::new(x.len() + 1);
            halves[x.len()] = 0;
            round(set, x, &mut halves[..x.len()]);
            filter.apply_row(x.len() / from, &halves, y);
        });
}

/// Columns `first..end` of rows 2i and 2i + 1 of a matrix of rows of `width`, as pairs; a last row without
/// a partner is paired with zeros.
fn interleave(
    set: PairSet,
    matrix: &[f32],
    width: usize,
    (first, end): (usize, usize),
    zeros: &[f32],
    i: usize,
    to: &mut [u32],
) {
    let mut rows = matrix[2 * i * width..].chunks_exact(width);
    let upper = rows.next().map_or(zeros, |row| &row[first..end]);
    let lower = rows.next().map_or(zeros, |row| &row[first..end]);
    round_pairs(
        set,
        &upper[..end - first],
        &lower[..end - first],
        &mut to[..end - first],
    );
}

/// dw = xᵀ · dy, pairs along the rows of x and dy; split by rows of dw as in `f32`.
pub(crate) fn weight_gradient(
    set: PairSet,
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let pairs = rows.div_ceil(2);
    let width = 2 * set.lanes();
    let padded = outputs.next_multiple_of(width);
    let zeros = Scratch::zeroed(width.max(inputs));
    let zeros = &*zeros;
    // A tile walks down two vectors of dy: in panels that wide they are one run of memory, where rows
    // of a few thousand numbers would all meet in the same few sets of the cache.
    let mut panels = Buffer::<u32>::new(padded * pairs);
    for panel in 0..padded / width {
        let to = &mut panels[panel * width * pairs..][..width * pairs];
        let (first, end) = (panel * width, ((panel + 1) * width).min(outputs));
        for (i, to) in to.chunks_exact_mut(width).enumerate() {
            to[end - first..].fill(0);
            interleave(set, dy, outputs, (first, end), zeros, i, to);
        }
    }
    let panels = &*panels;
    let strip = inputs.div_ceil(8).clamp(7, 56);
    dw.par_chunks_mut(strip * outputs)
        .enumerate()
        .for_each(|(index, dw)| {
            let (first, count) = (index * strip, dw.len() / outputs);
            let mut left = Buffer::<u32>::new(pairs * count);
            for (i, left) in left.chunks_exact_mut(count).enumerate() {
                interleave(set, x, inputs, (first, first + count), zeros, i, left);
            }
            let outer = Outer {
                images: 1,
                height: 1,
                width: pairs,
                left: Strides {
                    pixel: count,
                    row: 0,
                    image: 0,
                },
                segments: 1,
                segment_len: count,
                segment_stride: 0,
                right: Strides {
                    pixel: width,
                    row: 0,
                    image: 0,
                },
                right_len: width,
                sums_row: width,
            };
            let mut sums = Scratch::new(count * width);
            for panel in 0..padded / width {
                sums.fill(0.0);
                let right = &panels[panel * width * pairs..][..width * pairs];
                <u32 as Factor>::add(&outer, set, &left, right, &mut sums);
                let (first, end) = (panel * width, ((panel + 1) * width).min(outputs));
                for (dw, sums) in dw.chunks_exact_mut(outputs).zip(sums.chunks_exact(width)) {
                    dw[first..end].copy_from_slice(&sums[..end - first]);
                }
            }
        });
}
