use proptest::prelude::*;

use super::*;
use crate::{Codes, Neighbour, nearest};

/// What the caller does with candidates: exact distances, the best `k`, the lower row first. Row
/// `i` of the quantised ones is row `order[i]` of the codes.
fn answer(
    quantised: &Quantised,
    order: &[usize],
    codes: Codes,
    query: &[f32],
    k: usize,
    admitted: Option<&[u64]>,
) -> Vec<Neighbour> {
    let admitted = admitted.map(|admitted| {
        let mut permuted = vec![0; admitted.len()];
        for (row, &from) in order.iter().enumerate() {
            permuted[row / 64] |= (admitted[from / 64] >> (from % 64) & 1) << (row % 64);
        }
        permuted
    });
    let candidates = quantised.candidates(query, k, admitted.as_deref());
    let mut found: Vec<_> = candidates
        .into_iter()
        .map(|row| order[row])
        .map(|index| Neighbour {
            index,
            distance: quantised.frame.metric.distance(codes.row(index), query),
        })
        .collect();
    found.sort_by(Neighbour::order);
    found.truncate(k);
    found
}

/// All codes, in steps that suit the first of them.
fn filled(codes: Codes, sample: usize, metric: Metric) -> Quantised {
    let mut quantised = Quantised::new(codes.rows(0, sample), metric).unwrap();
    for row in 0..codes.len() {
        quantised.push(codes.row(row));
    }
    quantised
}

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Euclidean, Metric::Dot];

/// Values far apart, near each other and equal, and rows that are copies or nearly.
fn rows(count: usize, dims: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![-1.0f32..1.0, 0.9f32..0.9001, Just(0.0), -300.0f32..300.0];
    let kinds = proptest::collection::vec(0u8..6, count);
    (proptest::collection::vec(value, count * dims), kinds).prop_map(move |(mut values, kinds)| {
        for (row, kind) in kinds.into_iter().enumerate().skip(1) {
            let (earlier, own) = values.split_at_mut(row * dims);
            let (first, own) = (&earlier[..dims], &mut own[..dims]);
            match kind {
                0 => own.copy_from_slice(first),
                1 => own
                    .iter_mut()
                    .zip(first)
                    .for_each(|(v, f)| *v = f * 1.000_001),
                2 => own.fill(0.0),
                _ => {}
            }
        }
        values
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The nearest are always among the candidates, ties included, of all rows and of some.
    #[test]
    fn answers_are_exact(
        (dims, values) in (1usize..20).prop_flat_map(|dims| (Just(dims), rows(150, dims))),
        k in 1usize..12,
        seed in any::<u64>(),
    ) {
        let codes = Codes::new(&values, dims).unwrap();
        let admitted: Vec<u64> = (1..=3).map(|i| seed.wrapping_mul(i * 0x9e37_79b9)).collect();
        let some: Vec<usize> =
            (0..codes.len()).filter(|i| admitted[i / 64] >> (i % 64) & 1 == 1).collect();
        let chosen: Vec<f32> = some.iter().flat_map(|&i| codes.row(i)).copied().collect();
        for (metric, is_sorted) in METRICS.into_iter().flat_map(|m| [(m, false), (m, true)]) {
            let mut quantised = filled(codes, 20, metric);
            let order: Vec<usize> = match is_sorted {
                true => quantised.sort(),
                false => (0..codes.len()).collect(),
            };
            for query in 0..4 {
                let query = codes.row(query);
                let one = Codes::new(query, dims).unwrap();
                let truth = &nearest(codes, one, metric, k)[0];
                prop_assert_eq!(&answer(&quantised, &order, codes, query, k, None), truth);
                let mut truth = nearest(Codes::new(&chosen, dims).unwrap(), one, metric, k).remove(0);
                truth.iter_mut().for_each(|n| n.index = some[n.index]);
                let found = answer(&quantised, &order, codes, query, k, Some(&admitted));
                prop_assert_eq!(found, truth);
            }
        }
    }

    /// Rows that come, change, go and are sorted leave what was pushed from the start.
    #[test]
    fn changes_keep_answers_exact(
        values in rows(120, 5),
        changes in proptest::collection::vec((0usize..200, 0usize..120, 0u8..24), 1..150),
    ) {
        let codes = Codes::new(&values, 5).unwrap();
        for metric in METRICS {
            let mut quantised = Quantised::new(codes.rows(0, 7), metric).unwrap();
            let mut kept: Vec<f32> = Vec::new();
            for &(row, from, kind) in &changes {
                let (code, len) = (codes.row(from), kept.len() / 5);
                match kind {
                    0 => {
                        let rows = quantised.sort();
                        let sorted = rows.into_iter().flat_map(|row| &kept[row * 5..][..5]);
                        kept = sorted.copied().collect();
                    }
                    1..=7 if len > 0 => {
                        quantised.set(row % len, code);
                        kept[row % len * 5..][..5].copy_from_slice(code);
                    }
                    8..=15 if len > 0 => {
                        quantised.swap_remove(row % len);
                        kept.copy_within((len - 1) * 5.., row % len * 5);
                        kept.truncate((len - 1) * 5);
                    }
                    _ => {
                        quantised.push(code);
                        kept.extend_from_slice(code);
                    }
                }
            }
            prop_assert_eq!(quantised.len(), kept.len() / 5);
            let kept = Codes::new(&kept, 5).unwrap();
            let order: Vec<usize> = (0..kept.len()).collect();
            for query in [3, 50] {
                let query = codes.row(query);
                let truth = nearest(kept, Codes::new(query, 5).unwrap(), metric, 4).remove(0);
                prop_assert_eq!(answer(&quantised, &order, kept, query, 4, None), truth);
            }
        }
    }
}

/// Of many codes, too, the nearest are found, and few others are candidates: a screen that screens
/// nothing out would be right as well.
#[test]
fn few_rows_are_candidates() {
    let mut state = 1u64;
    let mut value = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 40) as f32 / 8_388_608.0) - 1.0
    };
    // With few dimensions nearly all blocks are passed over, with many none.
    for dims in [4, 64] {
        let values: Vec<f32> = (0..5_000 * dims).map(|_| value()).collect();
        let codes = Codes::new(&values, dims).unwrap();
        for metric in METRICS {
            let mut quantised = filled(codes, 1_000, metric);
            assert!(quantised.is_apt());
            assert_eq!(quantised.is_scattered(), metric != Metric::Dot);
            let order = quantised.sort();
            assert!(!quantised.is_scattered());
            let queries = codes.rows(100, 150);
            let truth = nearest(codes, queries, metric, 6);
            let mut found = 0;
            for (query, truth) in truth.iter().enumerate() {
                let query = queries.row(query);
                assert_eq!(&answer(&quantised, &order, codes, query, 6, None), truth);
                found += quantised.candidates(query, 6, None).len();
            }
            assert!(
                found < 50 * 10,
                "{metric}, {dims}: {found} candidates of 50 queries"
            );
        }
    }
}

/// Codes outside the sample's range are found all the same, and said not to suit.
#[test]
fn what_the_sample_did_not_show_is_found() {
    let mut values = vec![0.5f32; 40];
    values[7] = 0.25;
    let mut quantised = Quantised::new(Codes::new(&values, 4).unwrap(), Metric::Euclidean).unwrap();
    values.extend((0..400).map(|i| 1e30 * (i % 7) as f32));
    let codes = Codes::new(&values, 4).unwrap();
    for row in 0..codes.len() {
        quantised.push(codes.row(row));
    }
    assert!(!quantised.is_apt());
    let mut order: Vec<usize> = (0..codes.len()).collect();
    for is_sorted in [false, true] {
        if is_sorted {
            order = quantised.sort();
        }
        for query in [[0.5f32; 4], [1e30; 4], [f32::MAX; 4], [0.0; 4]] {
            let one = Codes::new(&query, 4).unwrap();
            let truth = nearest(codes, one, Metric::Euclidean, 5).remove(0);
            assert_eq!(answer(&quantised, &order, codes, &query, 5, None), truth);
        }
    }
}

/// Codes are found that are far shorter than those of the sample.
#[test]
fn a_sample_of_long_codes_hides_no_others() {
    let mut values: Vec<f32> = (0..40).map(|i| 1e25 * (i % 9) as f32).collect();
    values.extend((0..400).map(|i| (i * 37 % 101) as f32));
    let codes = Codes::new(&values, 4).unwrap();
    for metric in METRICS {
        let mut quantised = filled(codes, 10, metric);
        let order = quantised.sort();
        let query = codes.row(50);
        let truth = nearest(codes, Codes::new(query, 4).unwrap(), metric, 5).remove(0);
        assert_eq!(answer(&quantised, &order, codes, query, 5, None), truth);
    }
}

#[test]
fn what_it_cannot_do_it_does_not_begin() {
    let codes = Codes::new(&[1.0, 2.0], 2).unwrap();
    assert!(Quantised::new(codes, Metric::Manhattan).is_none());
    assert!(Quantised::new(codes.rows(0, 0), Metric::Dot).is_none());
    let infinite = Codes::from_rows(&[f32::INFINITY, 0.0], 2);
    assert!(Quantised::new(infinite, Metric::Dot).is_none());
    let empty = Quantised::new(codes, Metric::Dot).unwrap();
    assert!(empty.is_empty() && empty.candidates(&[1.0, 1.0], 3, None).is_empty());
}
