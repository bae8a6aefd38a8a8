//! Memory for factors of either kind.

use crate::scratch::{Lines, Scratch};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A number that is at most as large and as aligned as a float, and for which every pattern of bits
/// is valid.
///
/// # Safety
///
/// Both must hold.
pub(crate) unsafe trait Number: Copy + Default + Send + Sync + 'static {}

// SAFETY: it is a float.
unsafe impl Number for f32 {}
// SAFETY: an integer (a bf16) of 2 bytes.
unsafe impl Number for u16 {}
// SAFETY: an integer (a pair of bf16) of 4 bytes.
unsafe impl Number for u32 {}

/// `len` numbers in memory made for floats: a thread's working memory, or [`Lines`] to keep.
pub(crate) struct Buffer<T, S = Scratch> {
    floats: S,
    len: usize,
    numbers: PhantomData<T>,
}

fn floats<T>(len: usize) -> usize {
    (len * size_of::<T>()).div_ceil(size_of::<f32>())
}

impl<T: Number> Buffer<T> {
    /// With whatever an earlier use left in them.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            floats: Scratch::new(floats::<T>(len)),
            len,
            numbers: PhantomData,
        }
    }
}

impl<T: Number> Buffer<T, Lines> {
    /// Zeros.
    pub(crate) fn kept(len: usize) -> Self {
        Self {
            floats: Lines::zeroed(floats::<T>(len)),
            len,
            numbers: PhantomData,
        }
    }
}

impl<T: Number, S: Deref<Target = [f32]>> Deref for Buffer<T, S> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let floats = &*self.floats;
        // `Scratch` and `Lines` keep their length: this cannot fail, and costs nothing to be sure
        // of.
        assert!(size_of_val(floats) >= self.len * size_of::<T>());
        // SAFETY: the floats are initialised, at least as large as `len` numbers (just checked) and
        // aligned to 4 bytes; a `Number` has no invalid patterns and no larger alignment.
        unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), self.len) }
    }
}

impl<T: Number, S: DerefMut<Target = [f32]>> DerefMut for Buffer<T, S> {
    fn deref_mut(&mut self) -> &mut [T] {
        let floats = &mut *self.floats;
        assert!(size_of_val(floats) >= self.len * size_of::<T>());
        // SAFETY: as for `deref`, and every pattern of bits is a float; the floats are borrowed for
        // as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), self.len) }
    }
}
