//! Windows times a matrix with the lanes along the window.

// The tiles' loops count registers, in arrays that the compiler takes apart; iterators hide that.
#![allow(clippy::needless_range_loop)]

use super::{Geometry, Operands};
use crate::factors::{Factor, Factors, Kernel};
use crate::vector::Vector;

/// Applies a filter of few output channels, with the lanes along the window.
pub(super) struct Narrow<'a, T: Factor>(pub Operands<'a, T>);

impl<T: Factor> Kernel<T> for Narrow<'_, T> {
    #[inline(always)]
    unsafe fn run<F: Factors<T>>(self) {
        let Operands {
            geometry,
            input,
            weights,
            bias,
            floor,
            output,
        } = self.0;
        let (input, output) = (input.as_ptr(), output.as_mut_ptr());
        let weights = weights.as_ptr().cast();
        let geometry = &geometry;
        // SAFETY: the caller has the set. The lengths have been checked against the geometry; the
        // weights are `channels` rows of a window's length.
        unsafe {
            match geometry.channels {
                1 => narrow_image::<T, F, 1, 8>(geometry, input, weights, bias, floor, output),
                2 => narrow_image::<T, F, 2, 4>(geometry, input, weights, bias, floor, output),
                3 => narrow_image::<T, F, 3, 2>(geometry, input, weights, bias, floor, output),
                _ => narrow_image::<T, F, 4, 2>(geometry, input, weights, bias, floor, output),
            }
        }
    }
}

/// All pixels of an image with `C` output channels, `P` pixels at a time.
///
/// # Safety
///
/// The processor has the set of `F`; the pointers must be good for the geometry's lengths,
/// `weights` for `C` windows.
#[inline(always)]
unsafe fn narrow_image<T: Factor, F: Factors<T>, const C: usize, const P: usize>(
    geometry: &Geometry,
    input: *const T::Element,
    weights: *const T::Element,
    bias: &[f32],
    floor: f32,
    output: *mut f32,
) {
    for row in 0..geometry.height {
        // SAFETY: every pixel named is one of the image's: `column + P <= width` in the first loop.
        unsafe {
            let input = input.add(row * geometry.input_row);
            let output = output.add(row * geometry.output_row);
            let mut column = 0;
            while column < geometry.width {
                if geometry.width >= P {
                    // The last tile of a row goes back over pixels done already.
                    column = column.min(geometry.width - P);
                    narrow_tile::<T, F, C, P>(
                        geometry, input, weights, bias, floor, output, column,
                    );
                    column += P;
                } else {
                    narrow_tile::<T, F, C, 1>(
                        geometry, input, weights, bias, floor, output, column,
                    );
                    column += 1;
                }
            }
        }
    }
}

/// `P` pixels of a row from `column` on.
///
/// # Safety
///
/// As for [`narrow_image`]; `input` and `output` point at the row, which has `column + P` pixels.
#[inline(always)]
unsafe fn narrow_tile<T: Factor, F: Factors<T>, const C: usize, const P: usize>(
    geometry: &Geometry,
    input: *const T::Element,
    weights: *const T::Element,
    bias: &[f32],
    floor: f32,
    output: *mut f32,
    column: usize,
) {
    // SAFETY: reads the lanes of each window and of each channel's weights, the tail of a run by a
    // partial load; writes `C` floats per pixel.
    unsafe {
        let lanes = F::Sums::LANES;
        let window = geometry.depth::<T>() * T::PER_LANE;
        let mut sums = [[F::Sums::splat(0.0); C]; P];
        let from: [*const T::Element; P] =
            std::array::from_fn(|p| input.add((column + p) * geometry.input_pixel));
        let mut weights = weights;
        for run in 0..geometry.runs::<T>() {
            let (skip, depth) = geometry.run::<T>(run);
            let whole = depth / lanes * lanes;
            let tail = depth - whole;
            let mut at = 0;
            while at < whole {
                let w: [F; C] =
                    std::array::from_fn(|c| F::load(weights.add(c * window + at * T::PER_LANE)));
                for p in 0..P {
                    let x = F::load(from[p].add(skip + at * T::PER_LANE));
                    for c in 0..C {
                        sums[p][c] = x.multiply_add(w[c], sums[p][c]);
                    }
                }
                at += lanes;
            }
            if tail > 0 {
                let w: [F; C] = std::array::from_fn(|c| {
                    F::load_partial(weights.add(c * window + at * T::PER_LANE), tail)
                });
                for p in 0..P {
                    let x = F::load_partial(from[p].add(skip + at * T::PER_LANE), tail);
                    for c in 0..C {
                        sums[p][c] = x.multiply_add(w[c], sums[p][c]);
                    }
                }
            }
            weights = weights.add(depth * T::PER_LANE);
        }
        // Eight totals at a time cost a third of eight on their own. (A full tile has six to
        // eight.)
        let mut eight = [F::Sums::splat(0.0); 8];
        for p in 0..P {
            for c in 0..C {
                eight[p * C + c] = sums[p][c];
            }
        }
        let totals = F::Sums::totals(eight);
        for p in 0..P {
            let to = output.add((column + p) * geometry.output_pixel);
            for c in 0..C {
                let sum = totals[p * C + c] + bias[c];
                *to.add(c) = if floor > sum { floor } else { sum };
            }
        }
    }
}
