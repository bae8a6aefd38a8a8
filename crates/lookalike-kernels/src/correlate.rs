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
//!
//! The loops are written once over the kind of factors. What is said of floats here goes for `f32`;
//! for bf16 a step through the window takes two elements: see [`factors`](crate::factors).

// The tiles' loops count registers, in arrays that the compiler takes apart; iterators hide that.
#![allow(clippy::needless_range_loop)]

use crate::factors::{Buffer, Factor, Factors, Kernel};
use crate::scratch::{Lines, Scratch};
use crate::vector::Vector;

/// Where windows and outputs lie: windows in elements of the input, outputs in floats.
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
    /// Elements in a segment.
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
    /// Lanes in a segment.
    fn segment_lanes<T: Factor>(&self) -> usize {
        self.segment_len.div_ceil(T::PER_LANE)
    }

    /// Lanes in a window.
    #[inline(always)]
    fn depth<T: Factor>(&self) -> usize {
        self.segments * self.segment_lanes::<T>()
    }

    /// Runs of lanes that lie one behind the other in a window. There is one for each segment, and one
    /// more for the last element of a segment that is not whole lanes.
    #[inline(always)]
    fn runs<T: Factor>(&self) -> usize {
        self.segments << (self.segment_len % T::PER_LANE)
    }

    /// Where run `index` of the window begins, in elements, and how many lanes it has.
    #[inline(always)]
    fn run<T: Factor>(&self, index: usize) -> (usize, usize) {
        let odd = self.segment_len % T::PER_LANE;
        let begin = (index >> odd) * self.segment_stride;
        if index & odd == 0 {
            (begin, self.segment_len / T::PER_LANE)
        } else {
            // The last element once more with the one before it, if there is one.
            (begin + self.segment_len.saturating_sub(2), 1)
        }
    }

    /// Which elements of the segment its lane number `lane` counts.
    fn lane_elements<T: Factor>(&self, lane: usize) -> [Option<usize>; 2] {
        let first = T::PER_LANE * lane;
        match self.segment_len - first {
            _ if T::PER_LANE == 1 => [Some(first), None],
            1 if first == 0 => [Some(0), None],
            1 => [None, Some(first)],
            _ => [Some(first), Some(first + 1)],
        }
    }

    /// Elements that the input must have.
    pub(crate) fn input_len<T: Factor>(&self) -> usize {
        (self.height - 1) * self.input_row
            + (self.width - 1) * self.input_pixel
            + (self.segments - 1) * self.segment_stride
            + self.segment_len.max(T::PER_LANE)
    }

    /// Floats that the output must have.
    pub(crate) fn output_len(&self) -> usize {
        (self.height - 1) * self.output_row + (self.width - 1) * self.output_pixel + self.channels
    }
}

/// A geometry with its weights packed for an instruction set, to be applied to many images.
pub(crate) struct Filter<T: Factor> {
    set: T::Set,
    geometry: Geometry,
    /// Lanes along the window rather than along the output channels.
    narrow: bool,
    /// Narrow: (channels, lanes of the window). Else: blocks of two vectors of channels (the last may be
    /// of one), each (lanes of the window, channels of the block), missing channels zero.
    weights: Buffer<T::Lane, Lines>,
    /// Channels rounded up to whole vectors.
    bias: Lines,
    floor: f32,
}

/// Output channels up to which the lanes lie along the window.
const NARROW: usize = 4;

impl<T: Factor> Filter<T> {
    /// Weights and bias are zero until [`pack`](Self::pack) is called.
    pub(crate) fn new(set: T::Set, geometry: Geometry, relu: bool) -> Self {
        let (depth, channels, lanes) = (geometry.depth::<T>(), geometry.channels, T::lanes(set));
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

    /// `fill(k, row)` writes what element `k` of the window counts for each output channel.
    pub(crate) fn pack(&mut self, fill: impl Fn(usize, &mut [f32]), bias: Option<&[f32]>) {
        let (geometry, lanes) = (&self.geometry, T::lanes(self.set));
        let (depth, channels) = (geometry.depth::<T>(), geometry.channels);
        let padded = channels.next_multiple_of(lanes);
        let segment_lanes = geometry.segment_lanes::<T>();
        let mut rows = [Scratch::zeroed(padded), Scratch::zeroed(padded)];
        for k in 0..depth {
            let (segment, lane) = (k / segment_lanes, k % segment_lanes);
            let elements = geometry.lane_elements::<T>(lane).into_iter();
            for (row, element) in rows.iter_mut().zip(elements).take(T::PER_LANE) {
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
                    self.weights[o * depth + k] = T::lane([first[o], second[o]]);
                }
            } else {
                let blocks = first.chunks(2 * lanes).zip(second.chunks(2 * lanes));
                for (block, (first, second)) in blocks.enumerate() {
                    let at = block * 2 * lanes * depth + k * first.len();
                    let to = &mut self.weights[at..][..first.len()];
                    T::join(self.set, [first, second], to);
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
    /// If segments are shorter than a lane (one element of bf16), the element behind each of them is
    /// read and counts zero: the input must go on for one element, and where that is infinite or not a
    /// number the output is not a number. (In a frame it is the next pixel's or a zero.) So it is for
    /// rows.
    pub(crate) fn apply(&self, input: &[T::Element], output: &mut [f32]) {
        self.apply_to(self.geometry, input, output);
    }

    /// Writes `rows` rows of output pixels; `input` and `output` begin with what belongs to the first.
    pub(crate) fn apply_rows(&self, rows: usize, input: &[T::Element], output: &mut [f32]) {
        let geometry = Geometry {
            height: rows,
            ..self.geometry
        };
        self.apply_to(geometry, input, output);
    }

    /// [`apply`](Self::apply) for an image of one row that has `width` pixels.
    pub(crate) fn apply_row(&self, width: usize, input: &[T::Element], output: &mut [f32]) {
        let geometry = Geometry {
            height: 1,
            width,
            ..self.geometry
        };
        self.apply_to(geometry, input, output);
    }

    /// From the window of an output pixel to that of the pixel below.
    pub(crate) fn input_row(&self) -> usize {
        self.geometry.input_row
    }

    fn apply_to(&self, geometry: Geometry, input: &[T::Element], output: &mut [f32]) {
        if geometry.height == 0 || geometry.width == 0 {
            return;
        }
        assert!(
            input.len() >= geometry.input_len::<T>(),
            "correlation: the input is too short"
        );
        assert!(
            output.len() >= geometry.output_len(),
            "correlation: the output is too short"
        );
        let operands = Operands {
            geometry,
            input,
            weights: &self.weights,
            bias: &self.bias,
            floor: self.floor,
            output,
        };
        if self.narrow {
            T::run(self.set, Narrow(operands));
        } else {
            T::run(self.set, Wide(operands));
        }
    }
}

/// What a filter is applied to. The lengths have been checked against the geometry.
struct Operands<'a, T: Factor> {
    geometry: Geometry,
    input: &'a [T::Element],
    weights: &'a [T::Lane],
    bias: &'a [f32],
    floor: f32,
    output: &'a mut [f32],
}

/// With the lanes along the output channels.
struct Wide<'a, T: Factor>(Operands<'a, T>);

/// With the lanes along the window.
struct Narrow<'a, T: Factor>(Operands<'a, T>);

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
            // SAFETY: the caller has the set. `weights` and `bias` cover the channels rounded up to whole
            // vectors, so the block at `first` is inside both; the input's and the output's lengths have
            // been checked against the geometry, and a block writes only channels below `channels`.
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
/// The processor has the set of `F`; `input` and `output` must be good for the geometry's lengths, and
/// `block` for `N` vectors.
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
/// The processor has the set of `F`; of each pair in `runs`, the first must be good for the windows of
/// `RUN` pixels and the second for their outputs; `block` must be good for `N` vectors of channels.
#[inline(always)]
unsafe fn tile<T: Factor, F: Factors<T>, const N: usize, const RUN: usize, const GROUPS: usize>(
    geometry: &Geometry,
    runs: &[(*const T::Element, *mut f32); GROUPS],
    block: Block<T::Element>,
) {
    // SAFETY: every read and write below is inside what the caller vouches for: the lanes of each of the
    // RUN windows, as many rows of N vectors of weights, N vectors of bias, and N vectors of output per
    // pixel, the last one cut to `last` channels.
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
        // SAFETY: the caller has the set. The lengths have been checked against the geometry; the weights
        // are `channels` rows of a window's length.
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
/// The processor has the set of `F`; the pointers must be good for the geometry's lengths, `weights` for
/// `C` windows.
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
    // SAFETY: reads the lanes of each window and of each channel's weights, the tail of a run by a partial
    // load; writes `C` floats per pixel.
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
        // Eight totals at a time cost a third of eight on their own. (A full tile has six to eight.)
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
