//! Matrix products.

use gemm::Parallelism;

/// A matrix as it lies in memory: `rows x columns` values, and how far apart neighbours lie.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Row after row. The data must be whole rows.
    pub(crate) fn new(data: &'a [T], columns: usize) -> Self {
        assert!(columns > 0 && data.len().is_multiple_of(columns));
        Self {
            data,
            rows: data.len() / columns,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Adds `left · right` to `out`, which lies row after row.
pub(crate) fn add_product<T: Number>(left: Matrix<T>, right: Matrix<T>, out: &mut [T]) {
    assert_eq!(left.columns, right.rows);
    assert_eq!(out.len(), left.rows * right.columns);
    debug_assert_eq!(left.data.len(), left.rows * left.columns);
    // SAFETY: a `Matrix` is built only from a slice of rows x columns values, and transposing
    // swaps the strides together with the sizes, so every value that is read lies in its slice.
    // `out` has rows x columns of the product, and is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            right.columns as isize,
            true,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}

/// What can be multiplied.
pub(crate) trait Number: Copy + 'static {
    const ONE: Self;
}

impl Number for f32 {
    const ONE: f32 = 1.0;
}

impl Number for f64 {
    const ONE: f64 = 1.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_transposes() {
        let a = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut out = [10.0; 4];
        add_product(
            Matrix::new(&a, 3),
            Matrix::new(&a, 3).transposed(),
            &mut out,
        );
        assert_eq!(out, [24.0, 42.0, 42.0, 87.0]);
        let mut out = [0.0f32; 9];
        let a = a.map(|value| value as f32);
        add_product(
            Matrix::new(&a, 3).transposed(),
            Matrix::new(&a, 3),
            &mut out,
        );
        assert_eq!(out, [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]);
    }
}
