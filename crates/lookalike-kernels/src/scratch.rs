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
    static FREE: RefCell<Vec<Lines>> = const { RefCell::new(Vec::new()) };
}

/// Floats that begin on a cache line.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    len: usize,
}

impl Lines {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self {
            lines: vec![Line([0.0; Line::FLOATS]); len.div_ceil(Line::FLOATS)],
            len,
        }
    }

    /// Makes it `len` floats long; what they are is left open. Memory is kept when it shrinks.
    pub(crate) fn resize(&mut self, len: usize) {
        let count = len.div_ceil(Line::FLOATS);
        if self.lines.len() < count {
            self.lines.resize(count, Line([0.0; Line::FLOATS]));
        }
        self.len = len;
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is `repr(C)` over 16 floats with no padding (64 bytes, aligned to 64), so
        // the lines are one run of initialised floats, of which there are at least `len`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`; the vector is borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// `len` floats with whatever an earlier use left in them, given back to the thread when dropped.
///
/// To be dropped on the thread that made it: elsewhere its memory would pile up.
pub(crate) struct Scratch(Lines);

impl Scratch {
    pub(crate) fn new(len: usize) -> Self {
        let count = len.div_ceil(Line::FLOATS);
        let mut lines = FREE.with_borrow_mut(|free| {
            // The smallest that is large enough, else the largest: it grows.
            let fit = (0..free.len())
                .filter(|&i| free[i].lines.len() >= count)
                .min_by_key(|&i| free[i].lines.len())
                .or_else(|| (0..free.len()).max_by_key(|&i| free[i].lines.len()));
            fit.map(|i| free.swap_remove(i)).unwrap_or_default()
        });
        lines.resize(len);
        Self(lines)
    }

    pub(crate) fn zeroed(len: usize) -> Self {
        let mut scratch = Self::new(len);
        scratch.fill(0.0);
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0);
        // At the end of a thread its list may be gone already; the buffer is then simply freed.
        let _ = FREE.try_with(|free| free.borrow_mut().push(lines));
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
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
