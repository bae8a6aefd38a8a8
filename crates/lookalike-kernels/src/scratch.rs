//! Working memory that a thread keeps: nothing is allocated once the first step has been taken.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// One cache line, so that a buffer begins on one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; Line::FLOATS]);

impl Line {
    const FLOATS: usize = 16;
}

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// `len` floats with whatever an earlier use left in them, given back to the thread when dropped.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    len: usize,
}

impl Scratch {
    pub(crate) fn new(len: usize) -> Self {
        let count = len.div_ceil(Line::FLOATS);
        let mut lines = FREE.with_borrow_mut(|free| {
            // The smallest that is large enough, else the largest: it grows.
            let fit = (0..free.len())
                .filter(|&i| free[i].len() >= count)
                .min_by_key(|&i| free[i].len())
                .or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
            fit.map(|i| free.swap_remove(i)).unwrap_or_default()
        });
        if lines.len() < count {
            lines.resize(count, Line([0.0; Line::FLOATS]));
        }
        Self { lines, len }
    }

    pub(crate) fn zeroed(len: usize) -> Self {
        let mut scratch = Self::new(len);
        scratch.fill(0.0);
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // At the end of a thread its list may be gone already; the buffer is then simply freed.
        let _ = FREE.try_with(|free| free.borrow_mut().push(lines));
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is `repr(C)` over 16 floats with no padding (64 bytes, aligned to 64), so the
        // lines are one run of initialised floats, of which there are at least `len`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`; the vector is borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_used_again() {
        let first = Scratch::zeroed(1000).as_ptr();
        assert_eq!(first as usize % 64, 0);
        let again = Scratch::new(900);
        assert_eq!((again.as_ptr(), again.len()), (first, 900));
        assert_ne!(Scratch::new(10).as_ptr(), first);
    }
}
