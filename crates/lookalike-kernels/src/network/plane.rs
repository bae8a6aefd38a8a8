//! Buffers that several threads fill at once, each its own rows.

use crate::scratch::Lines;
use std::ops::{DerefMut, Range};

/// A buffer whose elements are handed out by ranges, through a shared reference.
///
/// A pass over a network takes images in parallel, and for each image reads and writes a dozen
/// buffers: too many to be split beforehand. Whoever asks for a range vouches that nobody else has
/// it.
pub(crate) struct Plane<S: DerefMut<Target = [T]>, T> {
    /// Keeps the memory; not looked at while ranges are handed out.
    owner: S,
    start: *mut T,
    len: usize,
}

/// Floats on cache lines.
pub(crate) type Floats = Plane<Lines, f32>;
/// Bytes.
pub(crate) type Bytes = Plane<Vec<u8>, u8>;
/// Sums in double precision.
pub(crate) type Doubles = Plane<Vec<f64>, f64>;

// SAFETY: a plane owns its memory; what is done through `range` and `range_mut` from several
// threads is vouched for by their callers.
unsafe impl<S: DerefMut<Target = [T]> + Send, T: Send> Send for Plane<S, T> {}
// SAFETY: as above.
unsafe impl<S: DerefMut<Target = [T]> + Sync, T: Sync + Send> Sync for Plane<S, T> {}

impl<S: DerefMut<Target = [T]> + Default, T> Default for Plane<S, T> {
    fn default() -> Self {
        Self::of(S::default())
    }
}

impl<S: DerefMut<Target = [T]>, T> Plane<S, T> {
    fn of(mut owner: S) -> Self {
        let (start, len) = (owner.as_mut_ptr(), owner.len());
        Self { owner, start, len }
    }

    /// All of it.
    pub(crate) fn all(&mut self) -> &mut [T] {
        // SAFETY: `start` and `len` are the owner's, and the plane is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// # Safety
    ///
    /// Nobody writes the range while the slice lives.
    pub(crate) unsafe fn range(&self, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the owner's memory; the caller vouches that it is not written.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }

    /// # Safety
    ///
    /// Nobody else reads or writes the range while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range_mut(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the owner's memory; the caller vouches that it is theirs alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

impl Floats {
    /// Makes room for `len` floats; what they are is left open.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.len < len {
            let mut owner = std::mem::take(&mut self.owner);
            owner.resize(len);
            *self = Self::of(owner);
        }
    }
}

impl<T: Clone + Default> Plane<Vec<T>, T> {
    /// Makes room for `len` elements; what they are is left open.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.len < len {
            let mut owner = std::mem::take(&mut self.owner);
            owner.resize(len, T::default());
            *self = Self::of(owner);
        }
    }
}
