//! The first of the two primitives: every output pixel is a window of the input times a matrix.
//!
//! In a padded NHWC image the taps of one kernel row are neighbours in memory, so a window is a few
//! *segments* of consecutive floats (three of 3·channels for a 3x3 kernel), and a convolution is a
//! matrix product whose left-hand rows overlap. Nothing is gathered or copied to make them.
//!
//! A tile keeps `GROUPS` runs of `RUN` pixels times one or two vectors of output channels in
//! registers, walks the window float by float, broadcasts each pixel's float and multiplies it with
//! the weights that belong to it. The runs of a tile may lie in different rows, so that images four or
//! seven pixels wide still fill the registers. AVX-512: 14 pixels x 2 vectors, 28 independent sums; 16
//! loads for 28 multiply-adds.
//!
//! With four output channels or fewer most lanes would be idle. Then the lanes lie along the window
//! instead, and are added up at its end.

// The tiles' loops count registers, in arrays that the compiler takes apart; iterators hide that.
#![allow(clippy::needless_range_loop)]

use crate::dispatch::{InstructionSet, per_instruction_set};
use crate::scratch::{Lines, Scratch};
use crate::vector::Vector;

/// Where windows and outputs lie, in floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Rows of output pixels.
    pub(crate) height: usize,
    /// Columns of output pixels.
    pub(crate) width: usize,
    /// From a pixel's window to its right neighbour's.
    pub(crate) input_pixel: usize,
    /// From a pixel's window to that of the pixel below.
    pub(crate) input_row: usize,
    /// Segments in a window.
    pub(crate) segments: usize,
    /// Floats in a segment.
    pub(crate) segment_len: usize,
    /// From a segment to the next one of the same window.
    pub(crate) segment_stride: usize,
    /// From an output pixel to its right neighbour.
    pub(crate) output_pixel: usize,
    /// From an output pixel to the one below.
    pub(crate) output_row: usize,
    /// Output channels.
    pub(crate) channels: usize,
}

impl Geometry {
    /// Floats in a window.
    fn depth(&self) -> usize {
        self.segments * self.segment_len
    }

    /// Floats that the input must have.
    pub(crate) fn input_len(&self) -> usize {
        (self.height - 1) * self.input_row
            + (self.width - 1) * self.input_pixel
            + (self.segments - 1) * self.segment_stride
            + self.segment_len
    }

    /// Floats that the output must have.
    pub(crate) fn output_len(&self) -> usize {
        (self.height - 1) * self.output_row + (self.width - 1) * self.output_pixel + self.channels
    }
}

/// A geometry with its weights packed for an instruction set, to be applied to many images.
pub(crate) struct Filter {
    set: InstructionSet,
    geometry: Geometry,
    /// Lanes along the window rather than along the output channels.
    narrow: bool,
    /// Narrow: (channels, depth). Else: blocks of two vectors of channels (the last may be of one),
    /// each (depth, channels of the block), missing channels zero.
    weights: Lines,
    /// Channels rounded up to whole vectors.
    bias: Lines,
    floor: f32,
}

/// Output channels up to which the lanes lie along the window.
pub(crate) const NARROW: usize = 4;

impl Correlation for Filter {
    type Set = InstructionSet;
    type Element = f32;

    fn new(set: InstructionSet, geometry: Geometry, relu: bool) -> Self {
        let (depth, channels, lanes) = (geometry.depth(), geometry.channels, set.lanes());
        let padded = channels.next_multiple_of(lanes);
        let narrow = channels <= NARROW && geometry.segment_len >= lanes;
        Self {
            set,
            geometry,
            narrow,
            weights: Lines::zeroed(depth * if narrow { channels } else { padded }),
            bias: Lines::zeroed(padded),
            floor: if relu { 0.0 } else { f32::NEG_INFINITY },
        }
    }

    fn pack(&mut self, fill: impl Fn(usize, &mut [f32]), bias: Option<&[f32]>) {
        let (depth, channels) = (self.geometry.depth(), self.geometry.channels);
        let lanes = self.set.lanes();
        let mut row = Scratch::zeroed(channels.next_multiple_of(lanes));
        for k in 0..depth {
            fill(k, &mut row[..channels]);
            if self.narrow {
                for (o, &value) in row[..channels].iter().enumerate() {
                    self.weights[o * depth + k] = value;
                }
            } else {
                for (block, row) in row.chunks(2 * lanes).enumerate() {
                    let at = block * 2 * lanes * depth + k * row.len();
                    self.weights[at..at + row.len()].copy_from_slice(row);
                }
            }
        }
        match bias {
            Some(bias) => self.bias[..channels].copy_from_slice(bias),
            None => self.bias.fill(0.0),
        }
    }

    fn apply(&self, input: &[f32], output: &mut [f32]) {
        self.apply_to(&self.geometry, input, output);
    }

    fn apply_rows(&self, rows: usize, input: &[f32], output: &mut [f32]) {
        self.apply_to(
            &Geometry {
                height: rows,
                ..self.geometry
            },
            input,
            output,
        );
    }

    fn input_row(&self) -> usize {
        self.geometry.input_row
    }

    fn apply_row(&self, width: usize, input: &[f32], output: &mut [f32]) {
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
}

impl Filter {
    fn apply_to(&self, geometry: &Geometry, input: &[f32], output: &mut [f32]) {
        if geometry.height == 0 || geometry.width == 0 {
            return;
        }
        assert!(
            input.len() >= geometry.input_len(),
            "correlation: the input is too short"
        );
        assert!(
            output.len() >= geometry.output_len(),
            "correlation: the output is too short"
        );
        if self.narrow {
            apply_narrow(
                self.set,
                geometry,
                input,
                &self.weights,
                &self.bias,
                self.floor,
                output,
            );
        } else {
            apply_wide(
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
}

/// A geometry with packed weights, whatever they are: what [`Filters`](crate::filters::Filters) are made of.
pub(crate) trait Correlation {
    /// What it is compiled for.
    type Set: Copy;
    /// A number of the input.
    type Element;

    /// Weights and bias are zero until [`pack`](Self::pack) is called.
    fn new(set: Self::Set, geometry: Geometry, relu: bool) -> Self;

    /// `fill(k, row)` writes what element `k` of the window counts for each output channel.
    fn pack(&mut self, fill: impl Fn(usize, &mut [f32]), bias: Option<&[f32]>);

    /// Writes every output pixel of one image.
    fn apply(&self, input: &[Self::Element], output: &mut [f32]);

    /// Writes `rows` rows of output pixels; `input` and `output` begin with what belongs to the first.
    fn apply_rows(&self, rows: usize, input: &[Self::Element], output: &mut [f32]);

    /// [`apply`](Self::apply) for an image of one row that has `width` pixels.
    fn apply_row(&self, width: usize, input: &[Self::Element], output: &mut [f32]);

    /// From the window of an output pixel to that of the pixel below.
    fn input_row(&self) -> usize;
}

/// One tile's place: where its weights, bias and output channels begin and how many there are.
#[derive(Clone, Copy)]
struct Block {
    weights: *const f32,
    bias: *const f32,
    floor: f32,
    /// Channels in the last vector of the block.
    last: usize,
}

per_instruction_set! {
    fn apply_wide<V>(
        geometry: &Geometry,
        input: &[f32],
        weights: &[f32],
        bias: &[f32],
        floor: f32,
        output: &mut [f32],
    ) {
        let depth = geometry.depth();
        let mut first = 0;
        while first < geometry.channels {
            let left = geometry.channels - first;
            let vectors = if left > V::LANES { 2 } else { 1 };
            let last = (left - (vectors - 1) * V::LANES).min(V::LANES);
            // SAFETY: `weights` and `bias` cover the channels rounded up to whole vectors, so the block
            // at `first` is inside both; `Filter::apply` has checked the input's and the output's
            // lengths against the geometry, and a block writes only channels below `channels`.
            unsafe {
                let block = Block {
                    weights: weights.as_ptr().add(first * depth),
                    bias: bias.as_ptr().add(first),
                    floor,
                    last,
                };
                let output = output.as_mut_ptr().add(first);
                if vectors == 2 {
                    image::<V, 2>(geometry, input.as_ptr(), block, output);
                } else {
                    image::<V, 1>(geometry, input.as_ptr(), block, output);
                }
            }
            first += vectors * V::LANES;
        }
    }
}

/// All pixels of an image for one block of `N` vectors of channels.
///
/// # Safety
///
/// `input` and `output` must be good for the geometry's lengths, and `block` for `N` vectors.
#[inline(always)]
unsafe fn image<V: Vector, const N: usize>(
    geometry: &Geometry,
    input: *const f32,
    block: Block,
    output: *mut f32,
) {
    // At most 14 pixels a tile: beyond that the window's addresses no longer fit the registers.
    let most = (V::SUMS / N).min(14);
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
        let tiles = runs.div_ceil((most / run).min(most_groups(run)));
        let (groups, more) = (runs / tiles, runs % tiles);
        let mut cursor = Cursor {
            row: input.wrapping_add(start * geometry.input_pixel),
            output_row: output.wrapping_add(start * geometry.output_pixel),
            part: 0,
            parts: count,
        };
        // SAFETY: the cursor walks over `count` runs of `run` pixels in each row, from column `start`
        // on, which with `run` more is inside the row.
        unsafe {
            pick_tiles::<V, N>(run, groups + 1, more, geometry, &mut cursor, block);
            pick_tiles::<V, N>(run, groups, tiles - more, geometry, &mut cursor, block);
        }
    }
}

/// Which run of pixels is next.
struct Cursor {
    /// Where the row's first run begins.
    row: *const f32,
    output_row: *mut f32,
    part: usize,
    /// Runs in a row.
    parts: usize,
}

impl Cursor {
    #[inline(always)]
    fn next(&mut self, run: usize, geometry: &Geometry) -> (*const f32, *mut f32) {
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
const fn most_groups(run: usize) -> usize {
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
unsafe fn pick_tiles<V: Vector, const N: usize>(
    run: usize,
    groups: usize,
    count: usize,
    geometry: &Geometry,
    cursor: &mut Cursor,
    block: Block,
) {
    if count == 0 {
        return;
    }
    macro_rules! pick {
        ($($run:literal x $groups:literal),*) => {
            match (run, groups) {
                $(($run, $groups) if $run * $groups * N <= V::SUMS => {
                    for _ in 0..count {
                        let at: [_; $groups] = std::array::from_fn(|_| cursor.next($run, geometry));
                        // SAFETY: the caller's promise, for this many runs of this length.
                        unsafe { tile::<V, N, $run, $groups>(geometry, &at, block) }
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
/// Of each pair in `runs`, the first must be good for the windows of `RUN` pixels and the second for
/// their outputs; `block` must be good for `N` vectors of channels.
#[inline(always)]
unsafe fn tile<V: Vector, const N: usize, const RUN: usize, const GROUPS: usize>(
    geometry: &Geometry,
    runs: &[(*const f32, *mut f32); GROUPS],
    block: Block,
) {
    // SAFETY: every read and write below is inside what the caller vouches for: `segments` times
    // `segment_len` floats of each of the RUN windows, as many rows of N vectors of weights, N vectors
    // of bias, and N vectors of output per pixel, the last one cut to `last` channels.
    unsafe {
        let bias: [V; N] = std::array::from_fn(|n| V::load(block.bias.add(n * V::LANES)));
        let mut sums = [[bias; RUN]; GROUPS];
        let mut weights = block.weights;
        let pixel = geometry.input_pixel;
        for segment in 0..geometry.segments {
            let mut at: [*const f32; GROUPS] =
                std::array::from_fn(|g| runs[g].0.add(segment * geometry.segment_stride));
            for _ in 0..geometry.segment_len {
                let w: [V; N] = std::array::from_fn(|n| V::load(weights.add(n * V::LANES)));
                for g in 0..GROUPS {
                    for q in 0..RUN {
                        let x = V::splat(*at[g].add(q * pixel));
                        for n in 0..N {
                            sums[g][q][n] = x.multiply_add(w[n], sums[g][q][n]);
                        }
                    }
                    at[g] = at[g].add(1);
                }
                weights = weights.add(N * V::LANES);
            }
        }
        let floor = V::splat(block.floor);
        for g in 0..GROUPS {
            for q in 0..RUN {
                let out = runs[g].1.add(q * geometry.output_pixel);
                for n in 0..N {
                    // In this order a NaN stays one.
                    let sum = floor.max(sums[g][q][n]);
                    if n + 1 == N && block.last < V::LANES {
                        sum.store_partial(out.add(n * V::LANES), block.last);
                    } else {
                        sum.store(out.add(n * V::LANES));
                    }
                }
            }
        }
    }
}

per_instruction_set! {
    fn apply_narrow<V>(
        geometry: &Geometry,
        input: &[f32],
        weights: &[f32],
        bias: &[f32],
        floor: f32,
        output: &mut [f32],
    ) {
        let (input, weights, output) = (input.as_ptr(), weights.as_ptr(), output.as_mut_ptr());
        // SAFETY: `Filter::apply` has checked the lengths against the geometry; the weights are
        // `channels` rows of a window's length.
        unsafe {
            match geometry.channels {
                1 => narrow_image::<V, 1, 8>(geometry, input, weights, bias, floor, output),
                2 => narrow_image::<V, 2, 4>(geometry, input, weights, bias, floor, output),
                3 => narrow_image::<V, 3, 2>(geometry, input, weights, bias, floor, output),
                _ => narrow_image::<V, 4, 2>(geometry, input, weights, bias, floor, output),
            }
        }
    }
}

/// All pixels of an image with `C` output channels, `P` pixels at a time.
///
/// # Safety
///
/// The pointers must be good for the geometry's lengths, `weights` for `C` windows.
#[inline(always)]
unsafe fn narrow_image<V: Vector, const C: usize, const P: usize>(
    geometry: &Geometry,
    input: *const f32,
    weights: *const f32,
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
                    narrow_tile::<V, C, P>(geometry, input, weights, bias, floor, output, column);
                    column += P;
                } else {
                    narrow_tile::<V, C, 1>(geometry, input, weights, bias, floor, output, column);
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
unsafe fn narrow_tile<V: Vector, const C: usize, const P: usize>(
    geometry: &Geometry,
    input: *const f32,
    weights: *const f32,
    bias: &[f32],
    floor: f32,
    output: *mut f32,
    column: usize,
) {
    // SAFETY: reads `segments` times `segment_len` floats of each window and of each channel's weights,
    // the tail of a segment by a partial load; writes `C` floats per pixel.
    unsafe {
        let mut sums = [[V::splat(0.0); C]; P];
        let from: [*const f32; P] =
            std::array::from_fn(|p| input.add((column + p) * geometry.input_pixel));
        let whole = geometry.segment_len / V::LANES * V::LANES;
        let tail = geometry.segment_len - whole;
        for segment in 0..geometry.segments {
            let skip = segment * geometry.segment_stride;
            let weights = weights.add(segment * geometry.segment_len);
            let mut at = 0;
            while at < whole {
                let w: [V; C] =
                    std::array::from_fn(|c| V::load(weights.add(c * geometry.depth() + at)));
                for p in 0..P {
                    let x = V::load(from[p].add(skip + at));
                    for c in 0..C {
                        sums[p][c] = x.multiply_add(w[c], sums[p][c]);
                    }
                }
                at += V::LANES;
            }
            if tail > 0 {
                let w: [V; C] = std::array::from_fn(|c| {
                    V::load_partial(weights.add(c * geometry.depth() + at), tail)
                });
                for p in 0..P {
                    let x = V::load_partial(from[p].add(skip + at), tail);
                    for c in 0..C {
                        sums[p][c] = x.multiply_add(w[c], sums[p][c]);
                    }
                }
            }
        }
        // Eight totals at a time cost a third of eight on their own. (A full tile has six to eight.)
        let mut eight = [V::splat(0.0); 8];
        for p in 0..P {
            for c in 0..C {
                eight[p * C + c] = sums[p][c];
            }
        }
        let totals = V::totals(eight);
        for p in 0..P {
            let to = output.add((column + p) * geometry.output_pixel);
            for c in 0..C {
                let sum = totals[p * C + c] + bias[c];
                *to.add(c) = if floor > sum { floor } else { sum };
            }
        }
    }
}
