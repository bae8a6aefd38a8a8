//! What the factors of a layer's products are: floats as they are, or pairs of bf16.
//!
//! The two primitives, [`correlate`](crate::correlate) and [`outer`](crate::outer), and the layers
//! made of them are written once over [`Factor`]; its loops are written once over [`Factors`], a
//! register of factors. [`F32`] and [`Bf16`] are the two kinds.
//!
//! # Pairs of bf16
//!
//! A bf16 is the upper half of an `f32`. The instruction that this is for (`vdpbf16ps`,
//! AVX512-BF16) multiplies *pairs* of them and adds both products to an `f32`:
//!
//! ```text
//! sum[lane] += left[lane].first · right[lane].first + left[lane].second · right[lane].second
//! ```
//!
//! The products are exact (8 bits by 8 bits of significand in 24), so with the factors rounded the
//! sums are as good as those in `f32`. Where the instruction is missing, `pairs::Split` does the
//! same in two multiply-adds on the two halves of every 32-bit lane. So every processor can run and
//! test it; only [`bf16_pays`](crate::bf16_pays) says whether it pays.
//!
//! # How pairs are formed
//!
//! A sum stays in its lane, as in `f32`; the loop over its products advances two at a time.
//!
//! * [`correlate`](crate::correlate) sums over the window. Its segments are consecutive elements of
//!   an image, so elements k and k + 1 of a segment are a pair as they lie: a broadcast of 32 bits,
//!   against weights packed as (pairs, channels, 2). A segment of odd length has its last element
//!   paired with the one before, which counts zero this time. Nothing outside the window is read,
//!   with one exception: a segment of a single element (see `Filter::apply`).
//! * [`outer`](crate::outer) sums over pixels, and a pixel's neighbour in memory is its next
//!   channel, not the next pixel. Pairs are therefore made of the frames of two images, and of the
//!   same pixel of *both*: element e of the frame is 32 bits, the first image's element e and the
//!   second's. To the loop that is an image whose elements are pairs, so windows, strides, phases
//!   and taps are those of `f32`, number by number. (Pairs of neighbouring pixels would need two
//!   alignments of the left-hand frame for the even and the odd taps of a kernel's row, and more
//!   for stride 2.) An odd image is paired with zeros; a linear layer pairs its rows the same way.
//!   A sum over n pixels of a pair of images takes n instructions for the 2n multiply-adds of
//!   `f32`; the frame of both is as large as the `f32` frame of one.
//!
//! # Rounding
//!
//! To nearest, ties to even, as the processor's own conversion does it: denormals become zero, NaN
//! stays NaN (`round::rounded`). An operand is copied into a frame of `f32` first, with whatever
//! happens to it on the way ([`Load`](crate::frame::Load)), and is rounded from there while it is
//! in the cache. Weights are rounded as they are packed. After upsampling, neighbours of the
//! gradient are added in `f32` before it is rounded, and neighbours of the output after the
//! products. The bias is added in `f32`, and its gradient is a sum of gradients that were not
//! rounded.

mod buffer;
mod floats;
mod pairs;
mod round;

pub(crate) use buffer::{Buffer, Number};
pub(crate) use floats::F32;
pub(crate) use pairs::{Bf16, SplitPairs, widened};
#[cfg(test)]
pub(crate) use round::{round, round_pairs, rounded};

use crate::vector::Vector;
use std::ops::Deref;

/// A kind of factors. The sums of their products are `f32`.
pub(crate) trait Factor: Sized + 'static {
    /// The instruction sets that the loops are compiled for.
    type Set: Copy + Send + Sync;
    /// A number of an image.
    type Element: Number;
    /// The elements that share a lane of a register.
    type Lane: Number;
    /// What [`elements`](Self::elements) gives.
    type Elements<'a>: Deref<Target = [Self::Element]>;

    /// Elements in a lane, 1 or 2: as many products are added to a sum by one multiply-add.
    const PER_LANE: usize;

    /// Lanes in a register.
    fn lanes(set: Self::Set) -> usize;

    /// Runs a kernel compiled for `set`.
    fn run(set: Self::Set, kernel: impl Kernel<Self>);

    /// Floats as elements of an image. Where [`PER_LANE`](Self::PER_LANE) is 2, a zero follows
    /// them.
    fn elements(set: Self::Set, floats: &[f32]) -> Self::Elements<'_>;

    /// A lane of the first [`PER_LANE`](Self::PER_LANE) of two floats.
    fn lane(floats: [f32; 2]) -> Self::Lane;

    /// Lane i of float i of each of the first [`PER_LANE`](Self::PER_LANE) rows; these and `lanes`
    /// are of one length.
    fn join(set: Self::Set, rows: [&[f32]; 2], lanes: &mut [Self::Lane]);

    /// [`join`](Self::join) for rows that `fill(i, row)` writes, `i` below
    /// [`PER_LANE`](Self::PER_LANE). `room` has space for that many rows if there are several.
    fn join_filled(
        set: Self::Set,
        room: &mut [f32],
        lanes: &mut [Self::Lane],
        fill: impl FnMut(usize, &mut [f32]),
    );
}

/// A register full of factors, some to each lane of a register of sums.
///
/// # Safety
///
/// As for [`Vector`]: every method may only be called where the instruction set is there, and they
/// touch the elements that they name and no more.
pub(crate) unsafe trait Factors<T: Factor>: Copy {
    /// The sums' register.
    type Sums: Vector;

    /// All lanes the elements of one lane at `from`, which need only be aligned to an element.
    unsafe fn broadcast(from: *const T::Element) -> Self;
    /// Reads a register's lanes.
    unsafe fn load(from: *const T::Element) -> Self;
    /// Reads `count` lanes, at most a register's; the others are zero.
    unsafe fn load_partial(from: *const T::Element, count: usize) -> Self;
    /// sums + the products of the elements of each lane, the last element's first.
    unsafe fn multiply_add(self, other: Self, sums: Self::Sums) -> Self::Sums;
    /// The elements nearest to sixteen floats.
    unsafe fn rounded(floats: [f32; 16]) -> [T::Element; 16];
}

/// A loop over registers of factors, to be compiled once for each instruction set.
pub(crate) trait Kernel<T: Factor> {
    /// The loop. It is inlined into a function that has the set's features switched on, so it and
    /// everything that it calls on its hot path must be `#[inline(always)]`.
    ///
    /// # Safety
    ///
    /// The processor has the instruction set of `F`.
    unsafe fn run<F: Factors<T>>(self);
}
