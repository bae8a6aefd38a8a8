//! Exact neighbours against a naive comparison of all pairs in `f64`.

use lookalike_neighbours::{
    Codes, Exact, Metric, Neighbour, map_distances, nearest, nearest_others,
};
use proptest::prelude::*;

/// What the metric means, without any care for speed.
fn naive(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
    let dot: f64 = pairs().map(|(x, y)| x * y).sum();
    match metric {
        Metric::Cosine => {
            let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let scale = norm(a) * norm(b);
            if scale == 0.0 { 1.0 } else { 1.0 - dot / scale }
        }
        Metric::Euclidean => pairs().map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt(),
        Metric::Dot => -dot,
        Metric::Manhattan => pairs().map(|(x, y)| (x - y).abs()).sum(),
    }
}

/// Every pair by the metric's own distance: the same answers, index by index.
fn compare(gallery: Codes, queries: Codes, metric: Metric, k: usize, leave_out: bool) {
    let answers = match leave_out {
        true => nearest_others(gallery, metric, k),
        false => nearest(gallery, queries, metric, k),
    };
    assert_eq!(answers.len(), queries.len());
    if leave_out {
        // In two parts.
        let cut = gallery.len() / 3;
        let parts = [0..cut, cut..gallery.len()];
        let exact = Exact::new(gallery, metric, gallery.len());
        let parts = parts.map(|rows| exact.nearest_others_of(rows, k));
        assert_eq!(answers, parts.concat());
    }
    for (query, answer) in answers.iter().enumerate() {
        let mut all: Vec<Neighbour> = (0..gallery.len())
            .filter(|&index| !(leave_out && index == query))
            .map(|index| Neighbour {
                index,
                distance: metric.distance(gallery.row(index), queries.row(query)),
            })
            .collect();
        all.sort_by(Neighbour::order);
        all.truncate(k);
        assert_eq!(answer, &all, "{metric}, query {query}");
    }
}

/// A repeatable stream of numbers between -1 and 1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

fn cloud(seed: u64, rows: usize, dims: usize, middle: f32, spread: f32) -> Vec<f32> {
    let mut next = noise(seed);
    (0..rows * dims).map(|_| middle + spread * next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_brute_force(
        rows in 1usize..300, queries in 0usize..40, dims in 1usize..40, k in 0usize..20,
        seed: u64, grid: bool,
    ) {
        let mut data = cloud(seed, rows, dims, 0.0, 3.0);
        let mut asked = cloud(!seed, queries, dims, 0.0, 3.0);
        if grid {
            // Small whole numbers: many ties, and codes of zeros.
            data.iter_mut().chain(&mut asked).for_each(|value| *value = value.trunc());
        }
        let gallery = Codes::new(&data, dims).unwrap();
        let asked = Codes::new(&asked, dims).unwrap();
        for metric in Metric::ALL {
            compare(gallery, asked, metric, k, false);
            compare(gallery, gallery, metric, k, true);
        }
    }

    #[test]
    fn distances_are_right(dims in 1usize..200, seed: u64) {
        let data = cloud(seed, 2, dims, 0.5, 1.0);
        let (a, b) = data.split_at(dims);
        for metric in Metric::ALL {
            let (found, expected) = (f64::from(metric.distance(a, b)), naive(metric, a, b));
            prop_assert!((found - expected).abs() <= 1e-6 * expected.abs() + 1e-12);
        }
    }

    #[test]
    fn whole_rows_are_right(rows in 1usize..60, dims in 1usize..30, seed: u64) {
        let data = cloud(seed, rows, dims, 0.0, 1.0);
        let codes = Codes::new(&data, dims).unwrap();
        for metric in Metric::ALL {
            let found = map_distances(codes, codes, metric, |query, row| (query, row.to_vec()));
            for (at, (query, row)) in found.iter().enumerate() {
                prop_assert_eq!(at, *query);
                prop_assert_eq!(row.len(), rows);
                for (index, &distance) in row.iter().enumerate() {
                    let expected = naive(metric, codes.row(index), codes.row(at));
                    // Near zero, a root magnifies the rounding of the square.
                    let bound = if metric == Metric::Euclidean { 1e-2 } else { 1e-4 };
                    prop_assert!((f64::from(distance) - expected).abs() < bound);
                }
            }
        }
    }
}

/// Where `|a|² + |b|² - 2 ab` in `f32` has no right digit left.
#[test]
fn near_duplicates_keep_their_order() {
    for (middle, spread) in [(1000.0, 1e-3), (1.0, 1e-6), (0.0, 1e-30), (0.0, 1e25)] {
        let data = cloud(7, 400, 24, middle, spread);
        let gallery = Codes::new(&data, 24).unwrap();
        for metric in Metric::ALL {
            compare(gallery, gallery, metric, 7, true);
            compare(gallery, gallery.rows(0, 50), metric, 7, false);
        }
    }
    // Two far clusters: centring does not help, the error bound must.
    let mut data = cloud(8, 400, 24, 1000.0, 1e-3);
    data[200 * 24..]
        .iter_mut()
        .for_each(|value| *value = -*value);
    let gallery = Codes::new(&data, 24).unwrap();
    compare(gallery, gallery, Metric::Euclidean, 7, true);
}

#[test]
fn ties_go_to_the_lower_index_across_blocks() {
    // More codes than one block holds, all equal but a few.
    let mut data = vec![1.0f32; 5000 * 2];
    for far in [0, 1, 2500, 4999] {
        data[far * 2] = -3.0;
    }
    let gallery = Codes::new(&data, 2).unwrap();
    for metric in [Metric::Euclidean, Metric::Manhattan, Metric::Cosine] {
        for count in [1, 8] {
            let queries = Codes::new(&[1.0; 16][..count * 2], 2).unwrap();
            for answer in nearest(gallery, queries, metric, 4) {
                let indices: Vec<usize> = answer.iter().map(|n| n.index).collect();
                assert_eq!(indices, [2, 3, 4, 5], "{metric}");
            }
        }
    }
}

/// Several blocks of queries and of the gallery, shared out either way.
#[test]
fn blocks_are_joined_right() {
    let data = cloud(3, 4500, 5, 0.0, 1.0);
    let gallery = Codes::new(&data, 5).unwrap();
    for metric in Metric::ALL {
        compare(gallery, gallery.rows(100, 103), metric, 6, false);
        compare(gallery, gallery.rows(0, 300), metric, 6, false);
    }
    let gallery = gallery.rows(0, 1000);
    compare(gallery, gallery, Metric::Cosine, 2000, true);
}

#[test]
fn empty_sides() {
    let none = Codes::new(&[], 3).unwrap();
    let one = Codes::new(&[1.0, 2.0, 3.0], 3).unwrap();
    assert!(nearest(one, none, Metric::Dot, 5).is_empty());
    assert_eq!(nearest(none, one, Metric::Dot, 5), [vec![]]);
    assert_eq!(nearest_others(one, Metric::Dot, 5), [vec![]]);
    assert_eq!(nearest(one, one, Metric::Dot, usize::MAX)[0].len(), 1);
    assert!(map_distances(none, one, Metric::Cosine, |_, row| row.len()) == [0]);
}
