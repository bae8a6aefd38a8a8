//! Memory for bf16 and pairs of them.

use crate::scratch::{Lines, Scratch};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A bf16 (`u16`) or a pair of them (`u32`): every pattern of bits is one, and so is a piece of a float.
pub(crate) trait Bits: Copy + Default {}

impl Bits for u16 {}
impl Bits for u32 {}

/// `len` numbers in memory made for floats: a thread's working memory, or [`Lines`] to keep.
pub(crate) struct Buffer<T, S = Scratch> {
    floats: S,
    len: usize,
    numbers: PhantomData<T>,
}

fn floats<T>(len: usize) -> usize {
    (len * size_of::<T>()).div_ceil(size_of::<f32>())
}

impl<T: Bits> Buffer<T> {
    /// With whatever an earlier use left in them.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            floats: Scratch::new(floats::<T>(len)),
            len,
            numbers: PhantomData,
        }
    }
}

impl<T: Bits> Buffer<T, Lines> {
    /// Zeros.
    pub(crate) fn kept(len: usize) -> Self {
        Self {
            floats: Lines::zeroed(floats::<T>(len)),
            len,
            numbers: PhantomData,
        }
    }
}

impl<T: Bits, S: Deref<Target = [f32]>> Deref for Buffer<T, S> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let floats = &*self.floats;
        // `Scratch` and `Lines` keep their length: this cannot fail, and costs nothing to be sure of.
        assert!(size_of_val(floats) >= self.len * size_of::<T>());
        // SAFETY: the floats are initialised, at least as large as `len` numbers (just checked) and
        // aligned to 4 bytes; the types that are `Bits` have no invalid patterns and no larger alignment.
        unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), self.len) }
    }
}

impl<T: Bits, S: DerefMut<Target = [f32]>> DerefMut for Buffer<T, S> {
    fn deref_mut(&mut self) -> &mut [T] {
        let floats = &mut *self.floats;
        assert!(size_of_val(floats) >= self.len * size_of::<T>());
        // SAFETY: as for `deref`, and every pattern of bits is a float; the floats are borrowed for as
        // long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), self.len) }
    }
}
