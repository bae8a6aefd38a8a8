//! What the neighbour graph promises, and that damaged parts are refused.

use lookalike_neighbours::{
    Codes, DiffusionConfig, DiffusionRows, GraphError, GraphParts, KnnGraph, Metric, Neighbour,
};
use proptest::prelude::*;

fn config(neighbours: usize) -> DiffusionConfig {
    DiffusionConfig {
        neighbours,
        ..DiffusionConfig::default()
    }
}

fn codes() -> Vec<f32> {
    (0..120 * 3)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0)
        .collect()
}

#[test]
fn symmetric_and_no_eigenvalue_above_one() {
    let data = codes();
    let codes = Codes::new(&data, 3).unwrap();
    for metric in Metric::ALL {
        let graph = KnnGraph::build(codes, metric, &config(6)).unwrap();
        assert_eq!(graph.len(), 120);
        assert!(graph.links() >= 120, "{metric}");
        for from in 0..graph.len() {
            let (links, weights) = graph.row(from);
            assert!(links.is_sorted() && !links.contains(&(from as u32)));
            for (&to, &weight) in links.iter().zip(weights) {
                let (back, same) = graph.row(to as usize);
                let at = back.binary_search(&(from as u32)).unwrap();
                assert_eq!(same[at], weight, "{metric} {from} {to}");
            }
        }
        // Power iteration: the growth of a vector tends to the largest eigenvalue.
        let mut vector = vec![1.0f64; graph.len()];
        let mut growth = 0.0;
        for _ in 0..500 {
            let product: Vec<f64> = (0..graph.len())
                .map(|row| {
                    let (links, weights) = graph.row(row);
                    let terms = links.iter().zip(weights);
                    terms
                        .map(|(&to, &w)| f64::from(w) * vector[to as usize])
                        .sum()
                })
                .collect();
            growth = product.iter().map(|v| v * v).sum::<f64>().sqrt();
            vector = product.iter().map(|v| v / growth).collect();
        }
        assert!((growth - 1.0).abs() < 1e-5, "{metric}: {growth}");
    }
}

#[test]
fn either_ones_neighbours_are_joined_and_both_ones_twice_as_much() {
    // On a line of equal steps but the last: 3 names 2 and 1, which name 1 and 3, 0 and 2.
    let data = [0.0f32, 1.0, 2.0, 5.0];
    let codes = Codes::new(&data, 1).unwrap();
    let graph = KnnGraph::build(codes, Metric::Dot, &config(1)).unwrap();
    // By product everybody names 3 but 3, which names 2; 0 is like no other.
    let links: Vec<&[u32]> = (0..4).map(|row| graph.row(row).0).collect();
    assert_eq!(links, [&[][..], &[3], &[3], &[1, 2]]);
    // Before normalisation 2-3 weighs 10 (both name it) and 1-3 weighs 5 / 2.
    let power = |product: f32| product.powf(config(1).gamma);
    let (one_sided, mutual) = (power(5.0) / 2.0, power(10.0));
    let (_, weights) = graph.row(3);
    let expected = [
        one_sided / (one_sided * (one_sided + mutual)).sqrt(),
        mutual / (mutual * (one_sided + mutual)).sqrt(),
    ];
    for (weight, expected) in weights.iter().zip(expected) {
        assert!((weight - expected).abs() < 1e-6, "{weights:?} {expected}");
    }
}

#[test]
fn parts_go_both_ways() {
    let data = codes();
    let codes = Codes::new(&data, 3).unwrap();
    for metric in Metric::ALL {
        let graph = KnnGraph::build(codes, metric, &config(5)).unwrap();
        assert_eq!(KnnGraph::from_parts(graph.to_parts()).unwrap(), graph);
        let rows = DiffusionRows::build(&graph, &config(5)).unwrap();
        let (offsets, indices, scores) = rows.parts();
        let again = DiffusionRows::from_parts(offsets.into(), indices.into(), scores.into());
        assert_eq!(again.unwrap(), rows);
    }
    let none = KnnGraph::from_neighbours(&[], Metric::Cosine, &config(5)).unwrap();
    assert!(none.is_empty());
    assert!(DiffusionRows::build(&none, &config(5)).unwrap().is_empty());
}

#[test]
fn damaged_parts_are_refused() {
    let data = codes();
    let graph = KnnGraph::build(Codes::new(&data, 3).unwrap(), Metric::Cosine, &config(5)).unwrap();
    let damages: [fn(&mut GraphParts); 12] = [
        |parts| parts.offsets.clear(),
        |parts| parts.offsets[0] = 1,
        |parts| parts.offsets[3] = u64::MAX,
        |parts| *parts.offsets.last_mut().unwrap() += 1,
        |parts| parts.indices[4] = 120,
        |parts| parts.indices.truncate(9),
        |parts| parts.weights[4] = f32::NAN,
        |parts| parts.weights[4] = 1.5,
        |parts| parts.scales.truncate(9),
        |parts| parts.scales[1] = f32::INFINITY,
        |parts| parts.reaches[1] = f32::NAN,
        |parts| parts.gamma = -1.0,
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let mut parts = graph.to_parts();
        damage(&mut parts);
        let error = KnnGraph::from_parts(parts).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{number}: {error}");
    }
}

#[test]
fn impossible_neighbours_and_settings_are_refused() {
    for index in [0, 2] {
        let lists = [
            vec![Neighbour {
                index,
                distance: 0.5,
            }],
            vec![],
        ];
        let error = KnnGraph::from_neighbours(&lists, Metric::Cosine, &config(3)).unwrap_err();
        let codes = 2;
        let neighbour = index;
        assert_eq!(
            error,
            GraphError::Neighbour {
                row: 0,
                neighbour,
                codes
            }
        );
    }
    let good = DiffusionConfig::default();
    assert_eq!(good.validate(), Ok(()));
    for bad in [
        DiffusionConfig {
            neighbours: 0,
            ..good
        },
        DiffusionConfig { steps: 0, ..good },
        DiffusionConfig { kept: 0, ..good },
        DiffusionConfig {
            truncate: 0,
            ..good
        },
        DiffusionConfig { alpha: 1.0, ..good },
        DiffusionConfig {
            alpha: f32::NAN,
            ..good
        },
        DiffusionConfig { gamma: 0.0, ..good },
        DiffusionConfig {
            gamma: f32::INFINITY,
            ..good
        },
    ] {
        assert!(
            matches!(bad.validate(), Err(GraphError::Config { .. })),
            "{bad:?}"
        );
    }
}

#[test]
fn duplicates_and_zeros_make_a_sound_graph() {
    let mut data = vec![0.0f32; 40 * 4];
    data[..20 * 4].fill(1.0);
    data[0] = 2.0;
    let codes = Codes::new(&data, 4).unwrap();
    for metric in Metric::ALL {
        let graph = KnnGraph::build(codes, metric, &config(5)).unwrap();
        KnnGraph::from_parts(graph.to_parts()).unwrap();
        let rows = DiffusionRows::build(&graph, &config(5)).unwrap();
        assert_eq!(rows.len(), 40);
    }
}

proptest! {
    #[test]
    fn hostile_parts_never_panic(
        offsets in prop::collection::vec(prop_oneof![0u64..12, Just(u64::MAX)], 0..6),
        indices in prop::collection::vec(0u32..6, 0..12),
        scores in prop::collection::vec(prop_oneof![0.0f32..1.0, Just(f32::NAN)], 0..12),
    ) {
        if let Ok(rows) = DiffusionRows::from_parts(offsets, indices, scores) {
            for index in 0..rows.len() {
                let (indices, scores) = rows.row(index);
                prop_assert_eq!(indices.len(), scores.len());
            }
            rows.rank(&[(0, 1.0), (usize::MAX, 1.0)], 3);
        }
    }
}
