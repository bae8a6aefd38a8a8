//! The second of the two primitives: sums of outer products, for the gradients of weights.
//!
//! A weight's gradient is the sum, over all pixels of all images, of an input float times an output
//! gradient. The left-hand factor of a pixel is its window (segments of consecutive floats, as in
//! [`correlate`](crate::correlate)), the right-hand one a run of consecutive floats. A tile keeps
//! up to 14 floats of the window times one or two vectors of the right-hand side in registers while
//! it walks over every pixel of a group of images: per pixel it loads two vectors and 14 broadcasts
//! for 28 multiply-adds, and memory sees the sums only once per group.
//!
//! In bf16 every number is a pair of them, of two images: see [`factors`](crate::factors). All
//! sizes are then in pairs, and `images` counts pairs of images.

// The tiles' loops count registers, in arrays that the compiler takes apart; iterators hide that.
#![allow(clippy::needless_range_loop)]

use crate::factors::{Factor, Factors, Kernel};
use crate::vector::Vector;

/// Distances in floats from one pixel to the next, to the one below, and to the next image's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strides {
    pub(crate) pixel: usize,
    pub(crate) row: usize,
    pub(crate) image: usize,
}

/// Which pixels are summed over, and how large the factors are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer {
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) left: Strides,
    /// Segments of the left-hand factor.
    pub(crate) segments: usize,
    /// Floats in a segment.
    pub(crate) segment_len: usize,
    /// From a segment to the next one.
    pub(crate) segment_stride: usize,
    pub(crate) right: Strides,
    /// Floats of the right-hand factor, rounded up to whole vectors by [`Factor::lanes`].
    pub(crate) right_len: usize,
    /// From a row of sums to the next; there is one row per float of the left-hand factor.
    pub(crate) sums_row: usize,
}

impl Outer {
    /// Floats from the first pixel's to the last pixel's.
    fn reach(&self, strides: &Strides) -> usize {
        (self.images - 1) * strides.image
            + (self.height - 1) * strides.row
            + (self.width - 1) * strides.pixel
    }

    /// Adds the outer products of `left` and `right` over all pixels to `sums`.
    ///
    /// `right` must be readable up to `right_len` floats from its last pixel on: floats beyond the
    /// real ones may be anything, their sums are to be ignored.
    pub(crate) fn add_to<T: Factor>(
        &self,
        set: T::Set,
        left: &[T::Lane],
        right: &[T::Lane],
        sums: &mut [f32],
    ) {
        if self.images * self.height * self.width == 0 {
            return;
        }
        self.check(T::lanes(set), left.len(), right.len(), sums.len());
        let outer = *self;
        T::run(
            set,
            AddTo::<T> {
                outer,
                left,
                right,
                sums,
            },
        );
    }

    /// The lengths of both factors and of the sums, where there is at least one pixel.
    fn check(&self, lanes: usize, left: usize, right: usize, sums: usize) {
        let window = (self.segments - 1) * self.segment_stride + self.segment_len;
        let rows = self.segments * self.segment_len;
        assert_eq!(
            self.right_len % lanes,
            0,
            "outer products: the right-hand length in whole vectors"
        );
        assert!(
            left >= self.reach(&self.left) + window,
            "outer products: the left-hand side is too short"
        );
        assert!(
            right >= self.reach(&self.right) + self.right_len,
            "outer products: the right-hand side is too short"
        );
        assert!(
            sums >= (rows - 1) * self.sums_row + self.right_len,
            "outer products: too few sums"
        );
    }

    /// How many segments a tile takes of which each is short, so that there are sums enough to hide
    /// the latency: `vectors` sums for each float, at most `most`.
    #[inline(always)]
    fn together(&self, vectors: usize, most: usize) -> usize {
        match self.segments {
            _ if self.segment_len > 4 => 1,
            segments if segments % 3 == 0 && 3 * self.segment_len * vectors <= most => 3,
            segments if segments % 2 == 0 && 2 * self.segment_len * vectors <= most => 2,
            _ => 1,
        }
    }
}

/// [`Outer::add_to`], which has checked the lengths.
struct AddTo<'a, T: Factor> {
    outer: Outer,
    left: &'a [T::Lane],
    right: &'a [T::Lane],
    sums: &'a mut [f32],
}

impl<T: Factor> Kernel<T> for AddTo<'_, T> {
    #[inline(always)]
    unsafe fn run<F: Factors<T>>(self) {
        let Self {
            outer,
            left,
            right,
            sums,
        } = self;
        let lanes = F::Sums::LANES;
        let mut column = 0;
        while column < outer.right_len {
            let vectors = if outer.right_len - column > lanes {
                2
            } else {
                1
            };
            // SAFETY: the caller has the set; `add_to` has checked all three lengths; `column` plus
            // the vectors is at most `right_len`.
            unsafe {
                let (right, sums) = (right.as_ptr().add(column), sums.as_mut_ptr().add(column));
                if vectors == 2 {
                    column_of_tiles::<T, F, 2>(&outer, left.as_ptr(), right, sums);
                } else {
                    column_of_tiles::<T, F, 1>(&outer, left.as_ptr(), right, sums);
                }
            }
            column += vectors * lanes;
        }
    }
}

/// All rows of sums for `N` vectors of the right-hand side.
///
/// # Safety
///
/// The processor has the set of `F`; the pointers must be good for the lengths that
/// [`Outer::add_to`] checks.
#[inline(always)]
unsafe fn column_of_tiles<T: Factor, F: Factors<T>, const N: usize>(
    outer: &Outer,
    left: *const T::Lane,
    right: *const T::Lane,
    sums: *mut f32,
) {
    let together = outer.together(N, F::Sums::SUMS);
    let parts = outer.segment_len.div_ceil((F::Sums::SUMS / N).min(14));
    for segment in (0..outer.segments).step_by(together) {
        for part in 0..parts {
            let (first, end) = (
                outer.segment_len * part / parts,
                outer.segment_len * (part + 1) / parts,
            );
            // SAFETY: the tile takes floats `first..end` of `together` segments from `segment` on,
            // all below `segments`, and the rows of sums that belong to them.
            unsafe {
                let left = left.add(segment * outer.segment_stride + first);
                let sums = sums.add((segment * outer.segment_len + first) * outer.sums_row);
                pick_tile::<T, F, N>(together, end - first, outer, left, right, sums);
            }
        }
    }
}

/// Calls the tile compiled for `floats` floats of each of `segments` segments.
///
/// # Safety
///
/// As for [`tile`].
#[inline(always)]
unsafe fn pick_tile<T: Factor, F: Factors<T>, const N: usize>(
    segments: usize,
    floats: usize,
    outer: &Outer,
    left: *const T::Lane,
    right: *const T::Lane,
    sums: *mut f32,
) {
    macro_rules! pick {
        ($($segments:literal x $floats:literal),*) => {
            match (segments, floats) {
                $(($segments, $floats) if $segments * $floats * N <= F::Sums::SUMS => {
                    // SAFETY: the caller's promise, for this many segments and floats.
                    unsafe { tile::<T, F, N, $segments, $floats>(outer, left, right, sums) }
                })*
                _ => unreachable!("no tile of {segments} segments of {floats} floats"),
            }
        };
    }
    pick!(
        1 x 1, 1 x 2, 1 x 3, 1 x 4, 1 x 5, 1 x 6, 1 x 7, 1 x 8, 1 x 9, 1 x 10, 1 x 11, 1 x 12, 1 x 13,
        1 x 14, 2 x 1, 2 x 2, 2 x 3, 2 x 4, 3 x 1, 3 x 2, 3 x 3, 3 x 4
    );
}

/// `FLOATS` floats of each of `SEGMENTS` segments times `N` vectors, summed over every pixel.
///
/// # Safety
///
/// `left` and `right` must be good for every pixel's factors, `sums` for the rows that belong to
/// them.
#[inline(always)]
unsafe fn tile<
    T: Factor,
    F: Factors<T>,
    const N: usize,
    const SEGMENTS: usize,
    const FLOATS: usize,
>(
    outer: &Outer,
    left: *const T::Lane,
    right: *const T::Lane,
    sums: *mut f32,
) {
    // SAFETY: per pixel, reads FLOATS floats of SEGMENTS segments and N vectors, and at the end
    // reads and writes N vectors of each of their rows of sums: what the caller vouches for.
    unsafe {
        let lanes = F::Sums::LANES;
        let mut total = [[[F::Sums::splat(0.0); N]; FLOATS]; SEGMENTS];
        for image in 0..outer.images {
            for row in 0..outer.height {
                let mut left = left.add(image * outer.left.image + row * outer.left.row);
                let mut right = right.add(image * outer.right.image + row * outer.right.row);
                for _ in 0..outer.width {
                    let r: [F; N] = std::array::from_fn(|n| F::load(right.add(n * lanes).cast()));
                    for s in 0..SEGMENTS {
                        for f in 0..FLOATS {
                            let l = F::broadcast(left.add(s * outer.segment_stride + f).cast());
                            for n in 0..N {
                                total[s][f][n] = l.multiply_add(r[n], total[s][f][n]);
                            }
                        }
                    }
                    left = left.add(outer.left.pixel);
                    right = right.add(outer.right.pixel);
                }
            }
        }
        for s in 0..SEGMENTS {
            for f in 0..FLOATS {
                let to = sums.add((s * outer.segment_len + f) * outer.sums_row);
                for n in 0..N {
                    let to = to.add(n * lanes);
                    F::Sums::load(to).add(total[s][f][n]).store(to);
                }
            }
        }
    }
}
