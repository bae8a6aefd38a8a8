//! Windows times a matrix with the lanes along the output channels.

// The tiles' loops count registers, in arrays that the compiler takes apart; iterators hide that.
#![allow(clippy::needless_range_loop)]

use super::{Geometry, Operands};
use crate::factors::{Factor, Factors, Kernel};
use crate::vector::Vector;

/// Applies a filter with the lanes along the output channels.
pub(super) struct Wide<'a, T: Factor>(pub Operands<'a, T>);

/// One tile's place: where its weights, bias and output channels begin and how many there are.
#[derive(Clone, Copy)]
struct Block<E> {
    weights: *const E,
    bias: *const f32,
    floor: f32,
    /// Channels in the last vector of the block.
    last: usize,
}

impl<T: Factor> Kernel<T> for Wide<'_, T> {
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
        let lanes = F::Sums::LANES;
        let depth = geometry.depth::<T>();
        let mut first = 0;
        while first < geometry.channels {
            let left = geometry.channels - first;
            let vectors = if left > lanes { 2 } else { 1 };
            let last = (left - (vectors - 1) * lanes).min(lanes);
            // SAFETY: the caller has the set. `weights` and `bias` cover the channels rounded up to
            // whole vectors, so the block at `first` is inside both; the input's and the output's
            // lengths have been checked against the geometry, and a block writes only channels
            // below `channels`.
            unsafe {
                let block = Block {
                    weights: weights.as_ptr().add(first * depth).cast(),
                    bias: bias.as_ptr().add(first),
                    floor,
                    last,
                };
                let output = output.as_mut_ptr().add(first);
                if vectors == 2 {
                    image::<T, F, 2>(&geometry, input.as_ptr(), block, output);
                } else {
                    image::<T, F, 1>(&geometry, input.as_ptr(), block, output);
                }
            }
            first += vectors * lanes;
        }
    }
}

/// All pixels of an image for one block of `N` vectors of channels.
///
/// # Safety
///
/// The processor has the set of `F`; `input` and `output` must be good for the geometry's lengths,
/// and `block` for `N` vectors.
#[inline(always)]
unsafe fn image<T: Factor, F: Factors<T>, const N: usize>(
    geometry: &Geometry,
    input: *const T::Element,
    block: Block<T::Element>,
    output: *mut f32,
) {
    // At most 14 pixels a tile: beyond that the window's addresses no longer fit the registers.
    let most = (F::Sums::SUMS / N).min(14);
    let longest = most.min(7);
    // A row is cut into runs as even as can be: `longer` runs of `short + 1` pixels, then those of
    // `short`.
    let parts = geometry.width.div_ceil(longest);
    let (short, longer) = (geometry.width / parts, geometry.width % parts);
    for (run, start, count) in [
        (short + 1, 0, longer),
        (short, longer * (short + 1), parts - longer),
    ] {
        let runs = count * geometry.height;
        if runs == 0 {
            continue;
        }
        // The runs are dealt out to tiles as evenly as can be, too.
        let tiles = runs.div_ceil((most / run).min(max_groups(run)));
        let (groups, more) = (runs / tiles, runs % tiles);
        let mut cursor = Cursor {
            row: input.wrapping_add(start * geometry.input_pixel),
            output_row: output.wrapping_add(start * geometry.output_pixel),
            part: 0,
            parts: count,
        };
        // SAFETY: the cursor walks over `count` runs of `run` pixels in each row, from column
        // `start` on, which with `run` more is inside the row.
        unsafe {
            pick_tiles::<T, F, N>(run, groups + 1, more, geometry, &mut cursor, block);
            pick_tiles::<T, F, N>(run, groups, tiles - more, geometry, &mut cursor, block);
        }
    }
}

/// Which run of pixels is next.
struct Cursor<E> {
    /// Where the row's first run begins.
    row: *const E,
    output_row: *mut f32,
    part: usize,
    /// Runs in a row.
    parts: usize,
}

impl<E> Cursor<E> {
    #[inline(always)]
    fn next(&mut self, run: usize, geometry: &Geometry) -> (*const E, *mut f32) {
        let column = self.part * run;
        let at = (
            self.row.wrapping_add(column * geometry.input_pixel),
            self.output_row.wrapping_add(column * geometry.output_pixel),
        );
        self.part += 1;
        if self.part == self.parts {
            self.part = 0;
            self.row = self.row.wrapping_add(geometry.input_row);
            self.output_row = self.output_row.wrapping_add(geometry.output_row);
        }
        at
    }
}

const MAX_GROUPS: usize = 4;

/// Runs in a tile, for which code is generated.
#[inline(always)]
const fn max_groups(run: usize) -> usize {
    match run {
        5.. => 2,
        4 => 3,
        _ => MAX_GROUPS,
    }
}

/// Calls the tile compiled for `groups` runs of `run` pixels, `count` times.
///
/// # Safety
///
/// As for [`tile`], for as many runs as that.
#[inline(always)]
unsafe fn pick_tiles<T: Factor, F: Factors<T>, const N: usize>(
    run: usize,
    groups: usize,
    count: usize,
    geometry: &Geometry,
    cursor: &mut Cursor<T::Element>,
    block: Block<T::Element>,
) {
    if count == 0 {
        return;
    }
    macro_rules! pick {
        ($($run:literal x $groups:literal),*) => {
            match (run, groups) {
                $(($run, $groups) if $run * $groups * N <= F::Sums::SUMS => {
                    for _ in 0..count {
                        let at: [_; $groups] = std::array::from_fn(|_| cursor.next($run, geometry));
                        // SAFETY: the caller's promise, for this many runs of this length.
                        unsafe { tile::<T, F, N, $run, $groups>(geometry, &at, block) }
                    }
                })*
                _ => unreachable!("no tile of {groups} runs of {run} pixels"),
            }
        };
    }
    pick!(
        1 x 1, 1 x 2, 1 x 3, 1 x 4, 2 x 1, 2 x 2, 2 x 3, 2 x 4, 3 x 1, 3 x 2, 3 x 3, 3 x 4,
        4 x 1, 4 x 2, 4 x 3, 5 x 1, 5 x 2, 6 x 1, 6 x 2, 7 x 1, 7 x 2
    );
}

/// `GROUPS` runs of `RUN` pixels times `N` vectors of channels, all in registers.
///
/// # Safety
///
/// The processor has the set of `F`; of each pair in `runs`, the first must be good for the windows
/// of `RUN` pixels and the second for their outputs; `block` must be good for `N` vectors of
/// channels.
#[inline(always)]
unsafe fn tile<T: Factor, F: Factors<T>, const N: usize, const RUN: usize, const GROUPS: usize>(
    geometry: &Geometry,
    runs: &[(*const T::Element, *mut f32); GROUPS],
    block: Block<T::Element>,
) {
    // SAFETY: every read and write below is inside what the caller vouches for: the lanes of each
    // of the RUN windows, as many rows of N vectors of weights, N vectors of bias, and N vectors of
    // output per pixel, the last one cut to `last` channels.
    unsafe {
        let lanes = F::Sums::LANES;
        let bias: [F::Sums; N] = std::array::from_fn(|n| F::Sums::load(block.bias.add(n * lanes)));
        let mut sums = [[bias; RUN]; GROUPS];
        let mut weights = block.weights;
        let pixel = geometry.input_pixel;
        for run in 0..geometry.runs::<T>() {
            let (skip, depth) = geometry.run::<T>(run);
            let mut at: [*const T::Element; GROUPS] = std::array::from_fn(|g| runs[g].0.add(skip));
            for _ in 0..depth {
                let w: [F; N] =
                    std::array::from_fn(|n| F::load(weights.add(n * lanes * T::PER_LANE)));
                for g in 0..GROUPS {
                    for q in 0..RUN {
                        let x = F::broadcast(at[g].add(q * pixel));
                        for n in 0..N {
                            sums[g][q][n] = x.multiply_add(w[n], sums[g][q][n]);
                        }
                    }
                    at[g] = at[g].add(T::PER_LANE);
                }
                weights = weights.add(N * lanes * T::PER_LANE);
            }
        }
        let floor = F::Sums::splat(block.floor);
        for g in 0..GROUPS {
            for q in 0..RUN {
                let out = runs[g].1.add(q * geometry.output_pixel);
                for n in 0..N {
                    // In this order a NaN stays one.
                    let sum = floor.max(sums[g][q][n]);
                    if n + 1 == N && block.last < lanes {
                        sum.store_partial(out.add(n * lanes), block.last);
                    } else {
                        sum.store(out.add(n * lanes));
                    }
                }
            }
        }
    }
}
