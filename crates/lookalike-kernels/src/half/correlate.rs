//! Windows times a matrix on images of bf16; see [`correlate`](crate::correlate) and [`half`](super).

// The tiles' loops count registers, in arrays that the compiler takes apart; iterators hide that.
#![allow(clippy::needless_range_loop)]

use super::buffer::Buffer;
use super::pairs::{Pairs, pair};
use super::round::{round_pairs, rounded};
use crate::correlate::{Correlation, Geometry, NARROW};
use crate::precision::{PairSet, per_pair_set};
use crate::scratch::{Lines, Scratch};
use crate::vector::Vector;

/// The pairs of a window, as runs that lie one behind the other.
#[derive(Clone, Copy)]
struct Runs {
    segments: usize,
    segment_len: usize,
    segment_stride: usize,
}

impl Runs {
    fn of(geometry: &Geometry) -> Self {
        Self {
            segments: geometry.segments,
            segment_len: geometry.segment_len,
            segment_stride: geometry.segment_stride,
        }
    }

    /// Runs in a window: a segment of odd length ends in a run of its own.
    #[inline(always)]
    fn count(self) -> usize {
        self.segments << (self.segment_len & 1)
    }

    /// Where run `index` of the window begins, in elements, and how many pairs it has.
    #[inline(always)]
    fn run(self, index: usize) -> (usize, usize) {
        let odd = self.segment_len & 1;
        let begin = (index >> odd) * self.segment_stride;
        if index & odd == 0 {
            (begin, self.segment_len / 2)
        } else {
            // The last element once more with the one before it, if there is one.
            (begin + self.segment_len.saturating_sub(2), 1)
        }
    }

    /// Pairs in a segment.
    fn pairs(self) -> usize {
        self.segment_len.div_ceil(2)
    }

    /// Which elements of the segment its pair number `number` counts.
    fn elements(self, number: usize) -> [Option<usize>; 2] {
        let first = 2 * number;
        match self.segment_len - first {
            1 if first == 0 => [Some(0), None],
            1 => [None, Some(first)],
            _ => [Some(first), Some(first + 1)],
        }
    }
}

/// A geometry, in bf16 elements, with its weights packed for an instruction set.
pub(crate) struct HalfFilter {
    set: PairSet,
    geometry: Geometry,
    /// Lanes along the window rather than along the output channels.
    narrow: bool,
    /// Narrow: (channels, pairs of the window). Else: blocks of two vectors of channels (the last may be
    /// of one), each (pairs of the window, channels of the block), missing channels zero.
    weights: Buffer<u32, Lines>,
    /// Channels rounded up to whole vectors.
    bias: Lines,
    floor: f32,
}

impl Correlation for HalfFilter {
    type Set = PairSet;
    type Element = u16;

    fn new(set: PairSet, geometry: Geometry, relu: bool) -> Self {
        let (channels, lanes) = (geometry.channels, set.lanes());
        let depth = geometry.segments * Runs::of(&geometry).pairs();
        let padded = channels.next_multiple_of(lanes);
        let narrow = channels <= NARROW && geometry.segment_len >= lanes;
        Self {
            set,
            geometry,
            narrow,
            weights: Buffer::kept(depth * if narrow { channels } else { padded }),
            bias: Lines::zeroed(padded),
            floor: if relu { 0.0 } else { f32::NEG_INFINITY },
        }
    }

    fn pack(&mut self, fill: impl Fn(usize, &mut [f32]), bias: Option<&[f32]>) {
        let (geometry, lanes) = (&self.geometry, self.set.lanes());
        let channels = geometry.channels;
        let runs = Runs::of(geometry);
        let depth = geometry.segments * runs.pairs();
        let padded = channels.next_multiple_of(lanes);
        let mut rows = [Scratch::zeroed(padded), Scratch::zeroed(padded)];
        for k in 0..depth {
            let (segment, number) = (k / runs.pairs(), k % runs.pairs());
            for (row, element) in rows.iter_mut().zip(runs.elements(number)) {
                match element {
                    Some(element) => fill(
                        segment * geometry.segment_len + element,
                        &mut row[..channels],
                    ),
                    None => row.fill(0.0),
                }
            }
            let [first, second] = &rows;
            if self.narrow {
                for o in 0..channels {
                    self.weights[o * depth + k] = pair(rounded(first[o]), rounded(second[o]));
                }
            } else {
                let blocks = first.chunks(2 * lanes).zip(second.chunks(2 * lanes));
                for (block, (first, second)) in blocks.enumerate() {
                    let at = block * 2 * lanes * depth + k * first.len();
                    let to = &mut self.weights[at..][..first.len()];
                    round_pairs(self.set, first, second, to);
                }
            }
        }
        match bias {
            Some(bias) => self.bias[..channels].copy_from_slice(bias),
            None => self.bias.fill(0.0),
        }
    }

    /// Writes every output pixel of one image.
    ///
    /// If segments have a single element, the element behind each of them is read and counts zero: the
    /// input must go on for one element, and where that is infinite or not a number the output is not a
    /// number. (In a frame it is the next pixel's or a zero.) So it is for rows.
    fn apply(&self, input: &[u16], output: &mut [f32]) {
        self.apply_to(&self.geometry, input, output);
    }

    fn apply_rows(&self, rows: usize, input: &[u16], output: &mut [f32]) {
        self.apply_to(
            &Geometry {
                height: rows,
                ..self.geometry
            },
            input,
            output,
        );
    }

    fn apply_row(&self, width: usize, input: &[u16], output: &mut [f32]) {
        self.apply_to(
            &Geometry {
                height: 1,
                width,
                ..self.geometry
            },
            input,
            output,
        );
    }

    fn input_row(&self) -> usize {
        self.geometry.input_row
    }
}

impl HalfFilter {
    fn apply_to(&self, geometry: &Geometry, input: &[u16], output: &mut [f32]) {
        if geometry.height == 0 || geometry.width == 0 {
            return;
        }
        let behind = usize::from(geometry.segment_len == 1);
        assert!(
            input.len() >= geometry.input_len() + behind,
            "bf16 correlation: the input is too short"
        );
        assert!(
            output.len() >= geometry.output_len(),
            "bf16 correlation: the output is too short"
        );
        let apply = if self.narrow {
            apply_narrow
        } else {
            apply_wide
        };
        apply(
            self.set,
            geometry,
            input,
            &self.weights,
            &self.bias,
            self.floor,
            output,
        );
    }
}

/// One tile's place: where its weights, bias and output channels begin and how many there are.
#[derive(Clone, Copy)]
struct Block {
    weights: *const u32,
    bias: *const f32,
    floor: f32,
    /// Channels in the last vector of the block.
    last: usize,
}

per_pair_set! {
    fn apply_wide<P>(
        geometry: &Geometry,
        input: &[u16],
        weights: &[u32],
        bias: &[f32],
        floor: f32,
        output: &mut [f32],
    ) {
        let lanes = P::Sums::LANES;
        let depth = geometry.segments * Runs::of(geometry).pairs();
        let mut first = 0;
        while first < geometry.channels {
            let left = geometry.channels - first;
            let vectors = if left > lanes { 2 } else { 1 };
            let last = (left - (vectors - 1) * lanes).min(lanes);
            // SAFETY: `weights` and `bias` cover the channels rounded up to whole vectors, so the block
            // at `first` is inside both; `apply_to` has checked the input's and the output's lengths
            // against the geometry, and a block writes only channels below `channels`.
            unsafe {
                let block = Block {
                    weights: weights.as_ptr().add(first * depth),
                    bias: bias.as_ptr().add(first),
                    floor,
                    last,
                };
                let output = output.as_mut_ptr().add(first);
                if vectors == 2 {
                    image::<P, 2>(geometry, input.as_ptr(), block, output);
                } else {
                    image::<P, 1>(geometry, input.as_ptr(), block, output);
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
/// `input` and `output` must be good for the geometry's lengths (`input` for one more if segments have a
/// single element), and `block` for `N` vectors.
#[inline(always)]
unsafe fn image<P: Pairs, const N: usize>(
    geometry: &Geometry,
    input: *const u16,
    block: Block,
    output: *mut f32,
) {
    // At most 14 pixels a tile: beyond that the window's addresses no longer fit the registers.
    let most = (P::Sums::SUMS / N).min(14);
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
        let tiles = runs.div_ceil((most / run).min(most_groups(run)));
        let (mut row, mut part) = (0, 0);
        for tile in 0..tiles {
            let groups = (runs * (tile + 1)) / tiles - (runs * tile) / tiles;
            let mut from = [input; MAX_GROUPS];
            let mut to = [output; MAX_GROUPS];
            for group in 0..groups {
                let column = start + part * run;
                // SAFETY: row < height and column + run <= width, so both stay inside what the caller
                // vouches for.
                unsafe {
                    from[group] =
                        input.add(row * geometry.input_row + column * geometry.input_pixel);
                    to[group] =
                        output.add(row * geometry.output_row + column * geometry.output_pixel);
                }
                part += 1;
                if part == count {
                    (row, part) = (row + 1, 0);
                }
            }
            // SAFETY: the first `groups` pointers are runs of `run` pixels of the image.
            unsafe { pick_tile::<P, N>(run, groups, geometry, &from, block, &to) };
        }
    }
}

const MAX_GROUPS: usize = 4;

/// Runs in a tile, for which code is generated.
#[inline(always)]
const fn most_groups(run: usize) -> usize {
    match run {
        5.. => 2,
        4 => 3,
        _ => MAX_GROUPS,
    }
}

/// Calls the tile compiled for `groups` runs of `run` pixels.
///
/// # Safety
///
/// As for [`tile`], for the first `groups` pointers.
#[inline(always)]
unsafe fn pick_tile<P: Pairs, const N: usize>(
    run: usize,
    groups: usize,
    geometry: &Geometry,
    from: &[*const u16; MAX_GROUPS],
    block: Block,
    to: &[*mut f32; MAX_GROUPS],
) {
    macro_rules! pick {
        ($($run:literal x $groups:literal),*) => {
            match (run, groups) {
                $(($run, $groups) if $run * $groups * N <= P::Sums::SUMS => {
                    // SAFETY: the caller's promise, for this many runs of this length.
                    unsafe { tile::<P, N, $run, $groups>(geometry, from, block, to) }
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
/// Every pointer in `from` must be good for the windows of `RUN` pixels (and one element more if segments
/// have a single one), every one in `to` for their outputs, and `block` for `N` vectors of channels.
#[inline(always)]
unsafe fn tile<P: Pairs, const N: usize, const RUN: usize, const GROUPS: usize>(
    geometry: &Geometry,
    from: &[*const u16; MAX_GROUPS],
    block: Block,
    to: &[*mut f32; MAX_GROUPS],
) {
    // SAFETY: every read and write below is inside what the caller vouches for: the pairs of `segments`
    // segments of each of the RUN windows, as many rows of N vectors of pairs of weights, N vectors of
    // bias, and N vectors of output per pixel, the last one cut to `last` channels.
    unsafe {
        let lanes = P::Sums::LANES;
        let bias: [P::Sums; N] = std::array::from_fn(|n| P::Sums::load(block.bias.add(n * lanes)));
        let mut sums = [[bias; RUN]; GROUPS];
        let mut weights = block.weights;
        let pixel = geometry.input_pixel;
        let runs = Runs::of(geometry);
        for run in 0..runs.count() {
            let (skip, pairs) = runs.run(run);
            let mut at: [*const u16; GROUPS] = std::array::from_fn(|g| from[g].add(skip));
            for _ in 0..pairs {
                let w: [P; N] = std::array::from_fn(|n| P::load(weights.add(n * lanes).cast()));
                for g in 0..GROUPS {
                    for q in 0..RUN {
                        let x = P::splat(at[g].add(q * pixel));
                        for n in 0..N {
                            sums[g][q][n] = x.multiply_add(w[n], sums[g][q][n]);
                        }
                    }
                    at[g] = at[g].add(2);
                }
                weights = weights.add(N * lanes);
            }
        }
        let floor = P::Sums::splat(block.floor);
        for g in 0..GROUPS {
            for q in 0..RUN {
                let out = to[g].add(q * geometry.output_pixel);
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

per_pair_set! {
    fn apply_narrow<P>(
        geometry: &Geometry,
        input: &[u16],
        weights: &[u32],
        bias: &[f32],
        floor: f32,
        output: &mut [f32],
    ) {
        let (input, weights, output) = (input.as_ptr(), weights.as_ptr(), output.as_mut_ptr());
        // SAFETY: `apply_to` has checked the lengths against the geometry; the weights are `channels`
        // rows of a window's pairs.
        unsafe {
            match geometry.channels {
                1 => narrow_image::<P, 1, 8>(geometry, input, weights, bias, floor, output),
                2 => narrow_image::<P, 2, 4>(geometry, input, weights, bias, floor, output),
                3 => narrow_image::<P, 3, 2>(geometry, input, weights, bias, floor, output),
                _ => narrow_image::<P, 4, 2>(geometry, input, weights, bias, floor, output),
            }
        }
    }
}

/// All pixels of an image with `C` output channels, `Q` pixels at a time.
///
/// # Safety
///
/// The pointers must be good for the geometry's lengths, `weights` for `C` windows; segments have more
/// than one element.
#[inline(always)]
unsafe fn narrow_image<P: Pairs, const C: usize, const Q: usize>(
    geometry: &Geometry,
    input: *const u16,
    weights: *const u32,
    bias: &[f32],
    floor: f32,
    output: *mut f32,
) {
    for row in 0..geometry.height {
        // SAFETY: every pixel named is one of the image's: `column + Q <= width` in the first loop.
        unsafe {
            let input = input.add(row * geometry.input_row);
            let output = output.add(row * geometry.output_row);
            let mut column = 0;
            while column < geometry.width {
                if geometry.width >= Q {
                    // The last tile of a row goes back over pixels done already.
                    column = column.min(geometry.width - Q);
                    narrow_tile::<P, C, Q>(geometry, input, weights, bias, floor, output, column);
                    column += Q;
                } else {
                    narrow_tile::<P, C, 1>(geometry, input, weights, bias, floor, output, column);
                    column += 1;
                }
            }
        }
    }
}

/// `Q` pixels of a row from `column` on.
///
/// # Safety
///
/// As for [`narrow_image`]; `input` and `output` point at the row, which has `column + Q` pixels.
#[inline(always)]
unsafe fn narrow_tile<P: Pairs, const C: usize, const Q: usize>(
    geometry: &Geometry,
    input: *const u16,
    weights: *const u32,
    bias: &[f32],
    floor: f32,
    output: *mut f32,
    column: usize,
) {
    // SAFETY: reads the pairs of `segments` segments of each window and of each channel's weights, the
    // tail of a run by a partial load; writes `C` floats per pixel.
    unsafe {
        let lanes = P::Sums::LANES;
        let runs = Runs::of(geometry);
        let depth = geometry.segments * runs.pairs();
        let mut sums = [[P::Sums::splat(0.0); C]; Q];
        let from: [*const u16; Q] =
            std::array::from_fn(|p| input.add((column + p) * geometry.input_pixel));
        let mut weights = weights;
        for run in 0..runs.count() {
            let (skip, pairs) = runs.run(run);
            let whole = pairs / lanes * lanes;
            let tail = pairs - whole;
            let mut at = 0;
            while at < whole {
                let w: [P; C] =
                    std::array::from_fn(|c| P::load(weights.add(c * depth + at).cast()));
                for p in 0..Q {
                    let x = P::load(from[p].add(skip + 2 * at));
                    for c in 0..C {
                        sums[p][c] = x.multiply_add(w[c], sums[p][c]);
                    }
                }
                at += lanes;
            }
            if tail > 0 {
                let w: [P; C] = std::array::from_fn(|c| {
                    P::load_partial(weights.add(c * depth + at).cast(), tail)
                });
                for p in 0..Q {
                    let x = P::load_partial(from[p].add(skip + 2 * at), tail);
                    for c in 0..C {
                        sums[p][c] = x.multiply_add(w[c], sums[p][c]);
                    }
                }
            }
            weights = weights.add(pairs);
        }
        // Eight totals at a time cost a third of eight on their own. (A full tile has six to eight.)
        let mut eight = [P::Sums::splat(0.0); 8];
        for p in 0..Q {
            for c in 0..C {
                eight[p * C + c] = sums[p][c];
            }
        }
        let totals = P::Sums::totals(eight);
        for p in 0..Q {
            let to = output.add((column + p) * geometry.output_pixel);
            for c in 0..C {
                let sum = totals[p * C + c] + bias[c];
                *to.add(c) = if floor > sum { floor } else { sum };
            }
        }
    }
}
