//! Eigenvectors of a symmetric matrix.
//!
//! Householder reflections bring the matrix to tridiagonal form, implicitly shifted QL steps bring
//! that to diagonal form, and the reflections carry the eigenvectors back (Golub and Van Loan,
//! *Matrix Computations*, 8.3). Everything runs along rows, so that inner loops are vectorised.

/// Eigenvalues, largest first, and the eigenvectors of the first `count` of them, one per row of
/// `size` values.
pub(crate) struct Eigen {
    pub(crate) values: Vec<f64>,
    pub(crate) vectors: Vec<f64>,
}

/// Solves for the eigenvectors of the `count` largest eigenvalues of a finite symmetric matrix of
/// `size x size` values.
///
/// Eigenvectors are orthonormal, and their largest component is positive, so that the result does
/// not depend on chance.
pub(crate) fn symmetric(mut matrix: Vec<f64>, size: usize, count: usize) -> Eigen {
    assert_eq!(matrix.len(), size * size);
    let (mut diagonal, mut beside, reflections) = tridiagonal(&mut matrix, size);
    // Row i holds, for every basis vector, its share in eigenvector i: the transposed form.
    let mut rows = matrix;
    rows.fill(0.0);
    for i in 0..size {
        rows[i * size + i] = 1.0;
    }
    diagonalise(&mut diagonal, &mut beside, &mut rows, size);
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]).then(a.cmp(&b)));
    let mut vectors = Vec::with_capacity(count * size);
    for &index in order.iter().take(count) {
        let mut vector = rows[index * size..(index + 1) * size].to_vec();
        for (first, reflection) in reflections.iter().enumerate().rev() {
            reflect(&mut vector[first + 1..], reflection);
        }
        point_up(&mut vector);
        vectors.extend(vector);
    }
    Eigen {
        values: order.iter().map(|&index| diagonal[index]).collect(),
        vectors,
    }
}

/// Turns a vector so that its largest component is positive.
pub(crate) fn point_up(vector: &mut [f64]) {
    let largest = vector
        .iter()
        .copied()
        .fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 {
        vector.iter_mut().for_each(|value| *value = -*value);
    }
}

/// `x ← x - 2 (u·x) u` for a unit vector `u`; nothing for an empty one.
fn reflect(vector: &mut [f64], unit: &[f64]) {
    if !unit.is_empty() {
        let along = 2.0 * dot(vector, unit);
        for (value, u) in vector.iter_mut().zip(unit) {
            *value -= along * u;
        }
    }
}

/// Eight running sums, because a single one could not be vectorised.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Reduces the matrix and returns its diagonal, the `size - 1` values beside it (and one 0), and
/// the unit vectors of the reflections; reflection `k` leaves coordinates up to `k` alone.
fn tridiagonal(matrix: &mut [f64], size: usize) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
    let mut reflections = Vec::new();
    let mut beside = vec![0.0; size];
    for k in 0..size.saturating_sub(1) {
        // The matrix is symmetric, so its column below the diagonal is the row right of it.
        let mut unit = matrix[k * size + k + 1..(k + 1) * size].to_vec();
        let scale = unit.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        // Scaled first, so that squares neither overflow nor vanish.
        if scale > 0.0 {
            unit.iter_mut().for_each(|value| *value /= scale);
        }
        let norm = dot(&unit, &unit).sqrt();
        let onto = if unit[0] > 0.0 { -norm } else { norm };
        beside[k] = onto * scale;
        unit[0] -= onto;
        let length = dot(&unit, &unit).sqrt();
        if length == 0.0 || scale == 0.0 {
            reflections.push(Vec::new());
            continue;
        }
        unit.iter_mut().for_each(|value| *value /= length);
        // A ← A - u wᵀ - w uᵀ with w = 2 (A u - (u·A u) u).
        let row = |i: usize| (k + 1 + i) * size + k + 1..(k + 2 + i) * size;
        let mut push: Vec<f64> = (0..unit.len())
            .map(|i| dot(&matrix[row(i)], &unit))
            .collect();
        let along = dot(&push, &unit);
        for (value, u) in push.iter_mut().zip(&unit) {
            *value = 2.0 * (*value - along * u);
        }
        for i in 0..unit.len() {
            let (u, w) = (unit[i], push[i]);
            for (value, (other_u, other_w)) in matrix[row(i)].iter_mut().zip(unit.iter().zip(&push))
            {
                *value -= u * other_w + w * other_u;
            }
        }
        reflections.push(unit);
    }
    let diagonal = (0..size).map(|i| matrix[i * size + i]).collect();
    (diagonal, beside, reflections)
}

/// QL sweeps for one eigenvalue before giving in to rounding; two or three are usual.
const SWEEPS: usize = 60;

/// Values below this share of the largest count as zero: rotations made of numbers near the
/// smallest that there are would not be orthogonal, and vectors would grow without bound.
const NEGLIGIBLE: f64 = 1e-30;

/// Brings a tridiagonal matrix to diagonal form, applying every rotation to `rows` as well.
fn diagonalise(diagonal: &mut [f64], beside: &mut [f64], rows: &mut [f64], size: usize) {
    let largest = diagonal
        .iter()
        .chain(&*beside)
        .fold(0.0f64, |largest, value| largest.max(value.abs()));
    let floor = (NEGLIGIBLE * largest).max(f64::MIN_POSITIVE / f64::EPSILON);
    for start in 0..size {
        for _ in 0..SWEEPS {
            let negligible = |i: &usize| {
                let near = diagonal[*i].abs() + diagonal[i + 1].abs();
                beside[*i].abs() <= (f64::EPSILON * near).max(floor)
            };
            let end = (start..size - 1).find(negligible).unwrap_or(size - 1);
            if end == start {
                break;
            }
            sweep(diagonal, beside, rows, size, start, end);
        }
    }
}

/// One QL sweep over the unreduced block `start..=end`: a rotation made from the shift starts a
/// bulge at its end, and the following ones chase it out at its start.
fn sweep(
    diagonal: &mut [f64],
    beside: &mut [f64],
    rows: &mut [f64],
    size: usize,
    start: usize,
    end: usize,
) {
    // Wilkinson's shift: the eigenvalue of the first 2 x 2 block nearer to its first entry.
    let half = (diagonal[start + 1] - diagonal[start]) / (2.0 * beside[start]);
    let root = half.hypot(1.0).copysign(half);
    let shift = diagonal[start] - beside[start] / (half + root);
    let mut lead = diagonal[end] - shift;
    let (mut sine, mut cosine, mut carried) = (1.0, 1.0, 0.0);
    for i in (start..end).rev() {
        let bulge = sine * beside[i];
        let kept = cosine * beside[i];
        let length = bulge.hypot(lead);
        beside[i + 1] = length;
        if length == 0.0 {
            // The block has come apart here; the next sweep takes the smaller one.
            diagonal[i + 1] -= carried;
            beside[end] = 0.0;
            return;
        }
        sine = bulge / length;
        cosine = lead / length;
        let rest = diagonal[i + 1] - carried;
        let mixed = (diagonal[i] - rest) * sine + 2.0 * cosine * kept;
        carried = sine * mixed;
        diagonal[i + 1] = rest + carried;
        lead = cosine * mixed - kept;
        let (above, below) = rows[i * size..(i + 2) * size].split_at_mut(size);
        for (a, b) in above.iter_mut().zip(below) {
            let (old_a, old_b) = (*a, *b);
            *b = sine * old_a + cosine * old_b;
            *a = cosine * old_a - sine * old_b;
        }
    }
    diagonal[start] -= carried;
    beside[start] = lead;
    beside[end] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matrix: Vec<f64>, size: usize) -> Eigen {
        let found = symmetric(matrix.clone(), size, size);
        assert!(found.values.is_sorted_by(|a, b| a >= b));
        let scale = found.values.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
        let rows: Vec<&[f64]> = found.vectors.chunks(size).collect();
        for (i, (vector, value)) in rows.iter().zip(&found.values).enumerate() {
            for (row, component) in matrix.chunks(size).zip(*vector) {
                assert!((dot(row, vector) - value * component).abs() < 1e-11 * scale);
            }
            for (j, other) in rows.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                assert!((dot(vector, other) - expected).abs() < 1e-11);
            }
        }
        found
    }

    #[test]
    fn small_matrices_by_hand() {
        let found = check(vec![2.0, 1.0, 1.0, 2.0], 2);
        assert!((found.values[0] - 3.0).abs() < 1e-15 && (found.values[1] - 1.0).abs() < 1e-15);
        assert_eq!(check(vec![-7.0], 1).values, [-7.0]);
        assert!(symmetric(Vec::new(), 0, 0).values.is_empty());
        let found = check(vec![1.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 2.0], 3);
        assert_eq!(found.values, [3.0, 2.0, 1.0]);
    }

    #[test]
    fn values_near_the_smallest_number_do_no_harm() {
        // Rank 3, and what rounding leaves of the rest so small that squares of it vanish.
        let size = 60;
        for tiny in [1e-308, 1e-310, 1e-320, 5e-324] {
            let mut matrix = vec![0.0; size * size];
            for i in 0..size {
                for j in 0..size {
                    let large = if i == j && i < 3 { 1.0 } else { 0.0 };
                    matrix[i * size + j] = large + tiny * ((i + j) % 7) as f64;
                }
            }
            check(matrix, size);
        }
    }

    /// The path of `size` points has the eigenvalues `2 cos(i π / (size + 1))`.
    #[test]
    fn the_path_has_its_known_values() {
        let size = 50;
        let mut matrix = vec![0.0; size * size];
        for i in 1..size {
            matrix[i * size + i - 1] = 1.0;
            matrix[(i - 1) * size + i] = 1.0;
        }
        for (i, value) in check(matrix, size).values.into_iter().enumerate() {
            let angle = (i + 1) as f64 * std::f64::consts::PI / 51.0;
            assert!((value - 2.0 * angle.cos()).abs() < 1e-13);
        }
    }

    #[test]
    fn dense_singular_and_badly_scaled_matrices() {
        for (size, rank, scale) in [
            (90, 90, 1.0),
            (60, 7, 1.0),
            (40, 40, 1e150),
            (40, 9, 1e-150),
        ] {
            let part = |i: usize| ((i * i * 31 + i * 17) % 1009) as f64 / 500.0 - 1.0;
            let mut matrix = vec![0.0; size * size];
            for i in 0..size {
                for j in 0..size {
                    let dot: f64 = (0..rank)
                        .map(|r| part(i * rank + r) * part(j * rank + r))
                        .sum();
                    matrix[i * size + j] = dot * scale;
                }
            }
            let found = check(matrix, size);
            let largest = found.values[0];
            assert!(found.values.iter().all(|value| *value > -1e-12 * largest));
            if rank < size {
                assert!(found.values[rank] < 1e-12 * largest);
            }
        }
    }
}
