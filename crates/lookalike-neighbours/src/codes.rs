//! A matrix of codes.

use thiserror::Error;

/// Why a slice is not a matrix of codes.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CodesError {
    /// Codes of no dimensions say nothing.
    #[error("codes need at least 1 dimension, got 0")]
    NoDimensions,
    /// The slice does not end at a row's end.
    #[error("{values} values are not a whole number of codes of {dims} dimensions")]
    Ragged {
        /// Values in the slice.
        values: usize,
        /// Values per code.
        dims: usize,
    },
    /// A value is infinite or not a number, so it has no distance to anything.
    #[error(
        "code {row} has a value at dimension {dim} that is not finite; \
         encode again with a sound model"
    )]
    NotFinite {
        /// Which code.
        row: usize,
        /// Which of its dimensions.
        dim: usize,
    },
}

/// `len` codes of `dims` finite floats, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    data: &'a [f32],
    dims: usize,
}

impl<'a> Codes<'a> {
    /// Reads `data` as rows of `dims` values.
    ///
    /// # Errors
    /// If `dims` is 0, if `data` is not a whole number of rows, or if a value is not finite.
    pub fn new(data: &'a [f32], dims: usize) -> Result<Self, CodesError> {
        if dims == 0 {
            return Err(CodesError::NoDimensions);
        }
        if !data.len().is_multiple_of(dims) {
            return Err(CodesError::Ragged {
                values: data.len(),
                dims,
            });
        }
        match data.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(CodesError::NotFinite {
                row: at / dims,
                dim: at % dims,
            }),
            None => Ok(Self { data, dims }),
        }
    }

    /// Rows that need no check: values may have left the range of `f32` on the way.
    pub(crate) fn from_rows(data: &'a [f32], dims: usize) -> Self {
        debug_assert!(dims > 0 && data.len().is_multiple_of(dims));
        Self { data, dims }
    }

    /// The mean code; zeros if there are no codes.
    pub(crate) fn mean(self) -> Vec<f64> {
        let mut sums = vec![0.0f64; self.dims];
        for row in self.data.chunks_exact(self.dims) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let count = self.len().max(1) as f64;
        sums.iter_mut().for_each(|sum| *sum /= count);
        sums
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.data.len() / self.dims
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Values per code; at least 1.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// One code.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.data[index * self.dims..(index + 1) * self.dims]
    }

    /// The codes from `start` up to, but without, `end`.
    ///
    /// # Panics
    /// If `start..end` is not a range within `0..len`.
    pub fn rows(&self, start: usize, end: usize) -> Codes<'a> {
        Codes {
            data: &self.data[start * self.dims..end * self.dims],
            dims: self.dims,
        }
    }

    /// All values, row after row.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_where_they_should() {
        let codes = Codes::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2).unwrap();
        assert_eq!((codes.len(), codes.dims()), (3, 2));
        assert_eq!(codes.row(1), [3.0, 4.0]);
        assert_eq!(codes.rows(1, 3).data(), [3.0, 4.0, 5.0, 6.0]);
        assert!(Codes::new(&[], 7).unwrap().is_empty());
    }

    #[test]
    fn bad_slices_are_refused() {
        assert_eq!(Codes::new(&[], 0).unwrap_err(), CodesError::NoDimensions);
        assert_eq!(
            Codes::new(&[1.0; 5], 2).unwrap_err(),
            CodesError::Ragged { values: 5, dims: 2 }
        );
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(
                Codes::new(&[0.0, 0.0, 0.0, bad], 2).unwrap_err(),
                CodesError::NotFinite { row: 1, dim: 1 }
            );
        }
    }
}
