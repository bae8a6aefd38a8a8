//! The layers with weights on factors of bf16: half the bytes, two multiply-adds in one.
//!
//! A bf16 is the upper half of an `f32`. The instruction that this is for (`vdpbf16ps`, AVX512-BF16)
//! multiplies *pairs* of them and adds both products to an `f32`:
//!
//! ```text
//! sum[lane] += left[lane].first · right[lane].first + left[lane].second · right[lane].second
//! ```
//!
//! The products are exact (8 bits by 8 bits of significand in 24), so with the factors rounded the sums
//! are as good as those in `f32`. Where the instruction is missing, [`Split`] does the same in two
//! multiply-adds on the two halves of every 32-bit lane. So every processor can run and test it; only
//! [`has_bf16`](crate::has_bf16) says whether it pays.
//!
//! # Who makes a pair
//!
//! The sums stay where they are in `f32`; it is the loop that is summed over that goes in twos.
//!
//! * [`correlate`] sums over the window. Its segments are consecutive floats of an image, so in an image
//!   of bf16 elements k and k + 1 of a segment are a pair as they lie: a broadcast of 32 bits for one of
//!   `f32`, against weights packed as (pairs, channels, 2). A segment of odd length has its last element
//!   paired with the one before, which counts zero this time. Nothing outside the window is read, with
//!   one exception: a segment of a single element (see `HalfFilter::apply`).
//! * [`outer`] sums over pixels, and a pixel's neighbour in memory is its next channel, not the next
//!   pixel. Pairs are therefore made of the frames of two images, and of the same pixel of *both*:
//!   element e of the frame is 32 bits, the one image's element e and the other's. To the loop that is an
//!   image whose elements are pairs, so windows, strides, phases and taps are those of `f32`, number by
//!   number. (Pairs of neighbouring pixels would need two alignments of the left-hand frame for the even
//!   and the odd taps of a kernel's row, and more for stride 2.) An odd image is paired with zeros; a
//!   linear layer pairs its rows the same way. A sum over n pixels of a pair of images takes n instructions
//!   for the 2n multiply-adds of `f32`; the frame of both is as large as the `f32` frame of one.
//!
//! # Rounding
//!
//! To nearest, ties to even, as the processor's own conversion does it: denormals become zero, NaN stays
//! NaN ([`rounded`]). An operand goes into a frame of `f32` first, with whatever happens to it on the way
//! ([`Load`](crate::frame::Load)), and is rounded from there while it is in the cache. Weights are rounded
//! as they are packed. After upsampling, neighbours of the gradient are added in `f32` before it is rounded,
//! and neighbours of the output after the products. The bias is added in `f32`, and its gradient is a sum of gradients that were not rounded.

mod buffer;
mod correlate;
pub(crate) mod linear;
mod outer;
mod pairs;
mod round;

pub(crate) use buffer::Buffer;
pub(crate) use correlate::HalfFilter;
pub(crate) use pairs::{Pairs, Split, SplitPairs, widened};
pub(crate) use round::{round, round_pairs, rounded};
