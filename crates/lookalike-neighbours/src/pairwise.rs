//! The two inner loops: all inner products, and all L1 distances, between two sets of rows.

use gemm::Parallelism;

use crate::Codes;

/// Writes the inner products of every query with every gallery code to `out`, one row of
/// `gallery.len()` per query. Runs on the calling thread.
pub(crate) fn inner_products(queries: Codes, gallery: Codes, out: &mut [f32]) {
    let (rows, columns, depth) = (queries.len(), gallery.len(), queries.dims());
    assert_eq!(depth, gallery.dims());
    assert_eq!(out.len(), rows * columns);
    // SAFETY: the three slices hold exactly the rows x depth, depth x columns and rows x columns
    // values that the strides address (the asserts above, and `Codes` being whole rows), and
    // `out` is borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            columns as isize,
            false,
            queries.data().as_ptr(),
            1,
            depth as isize,
            gallery.data().as_ptr(),
            depth as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Writes the L1 distances of every query to every gallery code to `out`, laid out as in
/// [`inner_products`]. Runs on the calling thread.
pub(crate) fn absolute_differences(queries: Codes, gallery: Codes, out: &mut [f32]) {
    assert_eq!(queries.dims(), gallery.dims());
    assert_eq!(out.len(), queries.len() * gallery.len());
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, checked on the line above.
            return unsafe { absolute_differences_avx512(queries, gallery, out) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, checked on the line above.
            return unsafe { absolute_differences_avx2(queries, gallery, out) };
        }
    }
    absolute_differences_any(queries, gallery, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn absolute_differences_avx512(queries: Codes, gallery: Codes, out: &mut [f32]) {
    absolute_differences_any(queries, gallery, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn absolute_differences_avx2(queries: Codes, gallery: Codes, out: &mut [f32]) {
    absolute_differences_any(queries, gallery, out);
}

/// Gallery rows that are compared with one query at a time: enough independent sums to hide the
/// latency of an addition.
const TOGETHER: usize = 4;

/// Floats of the gallery that are kept near the processor while all queries pass by.
const TILE: usize = 8192;

#[inline(always)]
fn absolute_differences_any(queries: Codes, gallery: Codes, out: &mut [f32]) {
    let columns = gallery.len();
    let tile = (TILE / gallery.dims()).max(1).next_multiple_of(TOGETHER);
    for start in (0..columns).step_by(tile) {
        let end = (start + tile).min(columns);
        for query in 0..queries.len() {
            let row = &mut out[query * columns + start..query * columns + end];
            let query = queries.row(query);
            let (groups, rest) = row.as_chunks_mut::<TOGETHER>();
            let mut at = start;
            for group in groups {
                *group = l1([0, 1, 2, 3].map(|next| gallery.row(at + next)), query);
                at += TOGETHER;
            }
            for value in rest {
                [*value] = l1([gallery.row(at)], query);
                at += 1;
            }
        }
    }
}

/// The L1 distances of `N` rows to one query.
#[inline(always)]
fn l1<const N: usize>(rows: [&[f32]; N], query: &[f32]) -> [f32; N] {
    const LANES: usize = 16;
    let mut lanes = [[0.0f32; LANES]; N];
    let (query_chunks, query_rest) = query.as_chunks::<LANES>();
    let chunks = rows.map(|row| row.as_chunks::<LANES>());
    for (at, x) in query_chunks.iter().enumerate() {
        for (sums, (row, _)) in lanes.iter_mut().zip(&chunks) {
            let y = &row[at];
            for lane in 0..LANES {
                sums[lane] += (x[lane] - y[lane]).abs();
            }
        }
    }
    let mut totals = lanes.map(|sums| sums.iter().sum::<f32>());
    for (total, (_, rest)) in totals.iter_mut().zip(&chunks) {
        for (x, y) in query_rest.iter().zip(*rest) {
            *total += (x - y).abs();
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every path through the tiles: more rows than a tile, a rest of rows, a rest of lanes.
    #[test]
    fn blocks_agree_with_single_pairs() {
        for (rows, dims) in [(1, 1), (7, 3), (1030, 37), (9, 9000)] {
            let value = |i: usize| ((i * 7919) % 1013) as f32 / 64.0 - 8.0;
            let data: Vec<f32> = (0..rows * dims).map(value).collect();
            let gallery = Codes::new(&data, dims).unwrap();
            let queries = gallery.rows(0, rows.min(3));
            let mut l1 = vec![f32::NAN; queries.len() * rows];
            let mut products = l1.clone();
            absolute_differences(queries, gallery, &mut l1);
            inner_products(queries, gallery, &mut products);
            for q in 0..queries.len() {
                for g in 0..rows {
                    let pairs = || queries.row(q).iter().zip(gallery.row(g));
                    let expected: f64 = pairs().map(|(x, y)| f64::from((x - y).abs())).sum();
                    let error = (f64::from(l1[q * rows + g]) - expected).abs();
                    assert!(error <= 1e-5 * expected, "{rows} {dims} {q} {g}");
                    let expected: f64 = pairs().map(|(x, y)| f64::from(x * y)).sum();
                    let size: f64 = pairs().map(|(x, y)| f64::from((x * y).abs())).sum();
                    let error = (f64::from(products[q * rows + g]) - expected).abs();
                    assert!(error <= 1e-5 * size, "{rows} {dims} {q} {g}");
                }
            }
        }
    }
}
