//! A few codes that stand for many.

use rayon::prelude::*;

use crate::{Codes, Metric};

/// The one of some rows of the codes that is nearest to their mean (by cosine the mean of codes
/// brought to length 1), of equal ones the first; none of no rows.
pub fn central(codes: Codes, metric: Metric, rows: &[u32]) -> Option<u32> {
    let middle = mean(codes, metric, rows);
    let distance = |&row: &u32| (metric.distance(&middle, codes.row(row as usize)), row);
    let distances = rows.par_iter().map(distance);
    let nearest = distances.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    nearest.map(|(_, row)| row)
}

fn mean(codes: Codes, metric: Metric, rows: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0f64; codes.dims()];
    for &row in rows {
        let code = codes.row(row as usize);
        let length = match metric {
            Metric::Cosine => code
                .iter()
                .map(|&v| f64::from(v).powi(2))
                .sum::<f64>()
                .sqrt(),
            _ => 1.0,
        };
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        for (sum, &value) in sum.iter_mut().zip(code) {
            *sum += scale * f64::from(value);
        }
    }
    let count = rows.len().max(1) as f64;
    sum.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// Up to `count` of some rows of the codes: `first`, then always the one farthest from all before,
/// of equal ones the first; each with how far that is, infinite for the first. Ends where all that
/// is left equals one of those chosen. The inner product is no distance: codes that are compared by
/// it are measured by Euclid's. By cosine codes of length 0 are equal.
///
/// After any number of them, no row is farther from the nearest of those chosen than twice what so
/// many rows can do at best, if the triangle inequality holds (Gonzalez, *Clustering to minimize
/// the maximum intercluster distance*, 1985). The next one's distance is how far the farthest is.
pub fn farthest_first(
    codes: Codes,
    metric: Metric,
    rows: &[u32],
    first: u32,
    count: usize,
) -> Vec<(u32, f32)> {
    let metric = match metric {
        Metric::Dot => Metric::Euclidean,
        metric => metric,
    };
    let distance = |a: &[f32], b: &[f32]| match metric.distance(a, b) {
        1.0 if metric == Metric::Cosine && is_zero(a) && is_zero(b) => 0.0,
        distance => distance,
    };
    let mut chosen = Vec::new();
    let mut distances = vec![f32::INFINITY; rows.len()];
    let mut next = (first, f32::INFINITY);
    while chosen.len() < count && next.1 > 0.0 {
        chosen.push(next);
        let newest = codes.row(next.0 as usize);
        distances
            .par_iter_mut()
            .zip(rows)
            .for_each(|(least, &row)| {
                *least = least.min(distance(newest, codes.row(row as usize)));
            });
        let farthest = rows.iter().zip(&distances);
        let farthest = farthest.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)));
        let Some((&row, &least)) = farthest else {
            break;
        };
        next = (row, least);
    }
    chosen
}

fn is_zero(code: &[f32]) -> bool {
    code.iter().all(|&value| value == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_the_farthest_from_those_before() {
        let data = [0.0, 4.0, 5.0, 5.0, 10.0];
        let codes = Codes::new(&data, 1).unwrap();
        let rows = [0, 1, 2, 3, 4];
        let middle = mean(codes, Metric::Euclidean, &rows);
        assert!((middle[0] - 4.8).abs() < 1e-6);
        let first = central(codes, Metric::Euclidean, &rows).unwrap();
        let found = farthest_first(codes, Metric::Euclidean, &rows, first, 9);
        let infinity = f32::INFINITY;
        // 3 equals 2.
        assert_eq!(found, [(2, infinity), (0, 5.0), (4, 5.0), (1, 1.0)]);
        // Larger products are no shorter distances.
        let found = farthest_first(codes, Metric::Dot, &rows, first, 9);
        assert_eq!(found, [(2, infinity), (0, 5.0), (4, 5.0), (1, 1.0)]);
    }

    #[test]
    fn none_is_chosen_twice() {
        // Two codes of length 0, and two that point the same way.
        let data = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0, -1.0, 0.0];
        let codes = Codes::new(&data, 2).unwrap();
        for first in 0..5 {
            let found = farthest_first(codes, Metric::Cosine, &[0, 1, 2, 3, 4], first, 9);
            let rows: Vec<u32> = found.iter().map(|&(row, _)| row).collect();
            assert_eq!(rows.len(), 3, "{rows:?}");
            for alike in [[0, 2], [1, 3]] {
                let of = rows.iter().filter(|row| alike.contains(row));
                assert_eq!(of.count(), 1, "{rows:?}");
            }
        }
    }
}
