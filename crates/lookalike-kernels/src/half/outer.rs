//! Sums of outer products over pairs of images; see [`outer`](crate::outer) and [`half`](super).

// The tiles' loops count registers, in arrays that the compiler takes apart; iterators hide that.
#![allow(clippy::needless_range_loop)]

use super::pairs::Pairs;
use crate::outer::{Factor, Outer};
use crate::precision::{PairSet, per_pair_set};
use crate::vector::Vector;

/// All sizes are in pairs; `images` counts pairs of images.
impl Factor for u32 {
    type Set = PairSet;

    fn add(outer: &Outer, set: PairSet, left: &[u32], right: &[u32], sums: &mut [f32]) {
        if outer.images * outer.height * outer.width == 0 {
            return;
        }
        outer.check(set.lanes(), left.len(), right.len(), sums.len());
        run(set, outer, left, right, sums);
    }
}

per_pair_set! {
    fn run<P>(outer: &Outer, left: &[u32], right: &[u32], sums: &mut [f32]) {
        let mut column = 0;
        while column < outer.right_len {
            let vectors = if outer.right_len - column > P::Sums::LANES { 2 } else { 1 };
            // SAFETY: `add` has checked all three lengths; `column` plus the vectors is at most
            // `right_len`.
            unsafe {
                let (right, sums) = (right.as_ptr().add(column), sums.as_mut_ptr().add(column));
                if vectors == 2 {
                    column_of_tiles::<P, 2>(outer, left.as_ptr(), right, sums);
                } else {
                    column_of_tiles::<P, 1>(outer, left.as_ptr(), right, sums);
                }
            }
            column += vectors * P::Sums::LANES;
        }
    }
}

/// All rows of sums for `N` vectors of the right-hand side.
///
/// # Safety
///
/// The pointers must be good for the lengths that [`Outer::check`] asks for.
#[inline(always)]
unsafe fn column_of_tiles<P: Pairs, const N: usize>(
    outer: &Outer,
    left: *const u32,
    right: *const u32,
    sums: *mut f32,
) {
    let together = outer.together(N, P::Sums::SUMS);
    let parts = outer.segment_len.div_ceil((P::Sums::SUMS / N).min(14));
    for segment in (0..outer.segments).step_by(together) {
        for part in 0..parts {
            let (first, end) = (
                outer.segment_len * part / parts,
                outer.segment_len * (part + 1) / parts,
            );
            // SAFETY: the tile takes pairs `first..end` of `together` segments from `segment` on, all
            // below `segments`, and the rows of sums that belong to them.
            unsafe {
                let left = left.add(segment * outer.segment_stride + first);
                let sums = sums.add((segment * outer.segment_len + first) * outer.sums_row);
                pick_tile::<P, N>(together, end - first, outer, left, right, sums);
            }
        }
    }
}

/// Calls the tile compiled for `count` pairs of each of `segments` segments.
///
/// # Safety
///
/// As for [`tile`].
#[inline(always)]
unsafe fn pick_tile<P: Pairs, const N: usize>(
    segments: usize,
    count: usize,
    outer: &Outer,
    left: *const u32,
    right: *const u32,
    sums: *mut f32,
) {
    macro_rules! pick {
        ($($segments:literal x $count:literal),*) => {
            match (segments, count) {
                $(($segments, $count) if $segments * $count * N <= P::Sums::SUMS => {
                    // SAFETY: the caller's promise, for this many segments and pairs.
                    unsafe { tile::<P, N, $segments, $count>(outer, left, right, sums) }
                })*
                _ => unreachable!("no tile of {segments} segments of {count} pairs"),
            }
        };
    }
    pick!(
        1 x 1, 1 x 2, 1 x 3, 1 x 4, 1 x 5, 1 x 6, 1 x 7, 1 x 8, 1 x 9, 1 x 10, 1 x 11, 1 x 12, 1 x 13,
        1 x 14, 2 x 1, 2 x 2, 2 x 3, 2 x 4, 3 x 1, 3 x 2, 3 x 3, 3 x 4
    );
}

/// `COUNT` pairs of each of `SEGMENTS` segments times `N` vectors, summed over every pixel of every
/// pair of images.
///
/// # Safety
///
/// `left` and `right` must be good for every pixel's factors, `sums` for the rows that belong to them.
#[inline(always)]
unsafe fn tile<P: Pairs, const N: usize, const SEGMENTS: usize, const COUNT: usize>(
    outer: &Outer,
    left: *const u32,
    right: *const u32,
    sums: *mut f32,
) {
    // SAFETY: per pixel, reads COUNT pairs of SEGMENTS segments and N vectors, and at the end reads and
    // writes N vectors of each of their rows of sums: what the caller vouches for.
    unsafe {
        let lanes = P::Sums::LANES;
        let mut total = [[[P::Sums::splat(0.0); N]; COUNT]; SEGMENTS];
        for image in 0..outer.images {
            for row in 0..outer.height {
                let mut left = left.add(image * outer.left.image + row * outer.left.row);
                let mut right = right.add(image * outer.right.image + row * outer.right.row);
                for _ in 0..outer.width {
                    let r: [P; N] = std::array::from_fn(|n| P::load(right.add(n * lanes).cast()));
                    for s in 0..SEGMENTS {
                        for f in 0..COUNT {
                            let l = P::splat(left.add(s * outer.segment_stride + f).cast());
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
            for f in 0..COUNT {
                let to = sums.add((s * outer.segment_len + f) * outer.sums_row);
                for n in 0..N {
                    let to = to.add(n * lanes);
                    P::Sums::load(to).add(total[s][f][n]).store(to);
                }
            }
        }
    }
}
