//! The measures against their definitions.

use lookalike_eval::{
    EvalError, Labelled, Options, Scores, baselines, evaluate, evaluate_half_whitened,
    evaluate_rows,
};
use lookalike_neighbours::{Codes, DiffusionConfig, Metric};
use proptest::prelude::*;

/// Leave-one-out scores by sorting everything, query by query.
fn naive(codes: Codes, labels: &[u8], metric: Metric) -> [f64; 4] {
    let n = codes.len();
    let (mut p1, mut p5, mut all, mut aps) = (0.0, 0.0, 0.0, Vec::new());
    for query in 0..n {
        let mut order: Vec<usize> = (0..n).filter(|&index| index != query).collect();
        let distance = |index: usize| metric.distance(codes.row(index), codes.row(query));
        order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        let right: Vec<bool> = order.iter().map(|&i| labels[i] == labels[query]).collect();
        let five = right.iter().take(5).filter(|&&r| r).count();
        p1 += f64::from(u8::from(right[0]));
        p5 += five as f64 / 5.0;
        all += f64::from(u8::from(five == 5));
        let places: Vec<usize> = (0..n - 1).filter(|&place| right[place]).collect();
        if !places.is_empty() {
            let terms = places.iter().enumerate();
            let sum: f64 = terms.map(|(i, &at)| (i + 1) as f64 / (at + 1) as f64).sum();
            aps.push(sum / places.len() as f64);
        }
    }
    let map = aps.iter().sum::<f64>() / aps.len().max(1) as f64;
    let n = n as f64;
    [p1 / n, p5 / n, all / n, map]
}

fn figures(scores: Scores) -> [f64; 4] {
    [
        scores.precision_at_1,
        scores.precision_at_5,
        scores.all_5,
        scores.map,
    ]
}

fn close(found: [f64; 4], expected: [f64; 4]) {
    for (a, b) in found.into_iter().zip(expected) {
        assert!((a - b).abs() < 1e-6, "{found:?} is not {expected:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_the_definition(
        (codes, labels) in (2usize..60).prop_flat_map(|n| (
            prop::collection::vec(-1.0f32..1.0, n * 4), prop::collection::vec(0u8..6, n),
        ))
    ) {
        let codes = Codes::new(&codes, 4).unwrap();
        let gallery = Labelled::new(codes, &labels).unwrap();
        for metric in Metric::ALL {
            let scores = evaluate(gallery, None, metric, &Options::default()).unwrap();
            close(figures(scores), naive(codes, &labels, metric));
            let rows: Vec<usize> = (0..codes.len()).collect();
            prop_assert_eq!(evaluate_rows(gallery, &rows, metric, |_| {}).unwrap(), scores);
        }
    }
}

#[test]
fn some_of_a_gallery_are_asked_against_all_of_it() {
    // Five in a row, and one beside the first that has its label.
    let data = [0.0, 1.0, 2.0, 3.0, 4.0, 0.1];
    let codes = Codes::new(&data, 1).unwrap();
    let gallery = Labelled::new(codes, &["a", "b", "b", "b", "b", "a"]).unwrap();
    let mut heard = Vec::new();
    let scores = evaluate_rows(gallery, &[0, 4], Metric::Euclidean, |n| heard.push(n)).unwrap();
    assert_eq!((scores.images, scores.queries, heard), (6, 2, vec![2]));
    // From 0: a b b b b. From 4: b b b a a.
    close(figures(scores), [1.0, 0.4, 0.0, 1.0]);
    let none = evaluate_rows(gallery, &[], Metric::Euclidean, |_| {});
    assert_eq!(none, Err(EvalError::TooFew { images: 6 }));
}

#[test]
fn by_hand() {
    // Seen from 0: 1, 2, 3 and then 10, labelled right, wrong, right, wrong.
    let data = [0.0, 1.0, 2.0, 3.0, 10.0];
    let gallery = Codes::new(&data[1..], 1).unwrap();
    let query = Codes::new(&data[..1], 1).unwrap();
    let gallery = Labelled::new(gallery, &["a", "b", "a", "b"]).unwrap();
    let query = Labelled::new(query, &["a"]).unwrap();
    let scores = evaluate(gallery, Some(query), Metric::Euclidean, &Options::default()).unwrap();
    assert_eq!((scores.images, scores.queries, scores.dims), (4, 1, 1));
    // Two right of five: the fifth answer does not exist.
    close(figures(scores), [1.0, 0.4, 0.0, (1.0 + 2.0 / 3.0) / 2.0]);
}

#[test]
fn a_class_of_one_is_wrong_but_has_no_average_precision() {
    let data = [0.0, 0.1, 0.2, 9.0];
    let codes = Codes::new(&data, 1).unwrap();
    let gallery = Labelled::new(codes, &["a", "a", "a", "alone"]).unwrap();
    let scores = evaluate(gallery, None, Metric::Manhattan, &Options::default()).unwrap();
    close(figures(scores), [0.75, 0.3, 0.0, 1.0]);
    let gallery = Labelled::new(codes, &[1, 2, 3, 4]).unwrap();
    let scores = evaluate(gallery, None, Metric::Manhattan, &Options::default()).unwrap();
    close(figures(scores), [0.0; 4]);
}

/// Two rings, one within the other, that only a walk along them can tell apart.
fn rings() -> (Vec<f32>, Vec<u8>) {
    let at = |i: usize| {
        let angle = (i % 60) as f32 / 60.0 * std::f32::consts::TAU;
        let radius = if i < 60 { 1.0 } else { 1.6 };
        [radius * angle.cos(), radius * angle.sin()]
    };
    let labels = (0..120).map(|i| u8::from(i < 60)).collect();
    ((0..120).flat_map(at).collect(), labels)
}

#[test]
fn diffusion_follows_the_data() {
    let (data, labels) = rings();
    let codes = Codes::new(&data, 2).unwrap();
    let gallery = Labelled::new(codes, &labels).unwrap();
    let diffusion = Options {
        rerank: Some(DiffusionConfig {
            neighbours: 4,
            steps: 400,
            ..DiffusionConfig::default()
        }),
    };
    for queries in [None, Some(gallery)] {
        let map = |options: &Options| {
            let scores = evaluate(gallery, queries, Metric::Euclidean, options);
            scores.unwrap().map
        };
        assert!(map(&Options::default()) < 0.8);
        assert!(map(&diffusion) > 0.99);
    }
}

#[test]
fn what_diffusion_does_not_reach_follows_by_distance() {
    // One step reaches the nearest only.
    let data: Vec<f32> = (0..40).map(|i| (i * i) as f32).collect();
    let labels: Vec<u8> = (0..40).map(|i| u8::from(i < 20)).collect();
    let codes = Codes::new(&data, 1).unwrap();
    let gallery = Labelled::new(codes, &labels).unwrap();
    let one_step = DiffusionConfig {
        neighbours: 1,
        steps: 1,
        ..DiffusionConfig::default()
    };
    let rerank = Some(one_step);
    let plain = evaluate(gallery, None, Metric::Euclidean, &Options::default()).unwrap();
    let reranked = evaluate(gallery, None, Metric::Euclidean, &Options { rerank }).unwrap();
    assert!((plain.map - reranked.map).abs() < 0.05);
    assert!(reranked.map > 0.8);
}

#[test]
fn impossible_tasks_are_refused() {
    let codes = Codes::new(&[1.0, 2.0], 1).unwrap();
    let wide = Codes::new(&[1.0, 2.0], 2).unwrap();
    let error = Labelled::new(codes, &[1]).unwrap_err();
    assert_eq!(
        error,
        EvalError::Labels {
            labels: 1,
            codes: 2
        }
    );
    let ask = |gallery, queries, options: &Options| {
        evaluate::<u8>(gallery, queries, Metric::Cosine, options).unwrap_err()
    };
    let plain = Options::default();
    let (codes, wide) = (
        Labelled::new(codes, &[1, 2]).unwrap(),
        Labelled::new(wide, &[1]).unwrap(),
    );
    let dims = EvalError::Dims {
        queries: 2,
        gallery: 1,
    };
    assert_eq!(ask(codes, Some(wide), &plain), dims);
    assert_eq!(ask(wide, None, &plain), EvalError::TooFew { images: 1 });
    let empty = Labelled::new(Codes::new(&[], 1).unwrap(), &[]).unwrap();
    assert_eq!(ask(empty, None, &plain), EvalError::TooFew { images: 0 });
    assert_eq!(
        ask(codes, Some(empty), &plain),
        EvalError::TooFew { images: 2 }
    );
    let broken = DiffusionConfig {
        steps: 0,
        ..DiffusionConfig::default()
    };
    let rerank = Some(broken);
    assert!(matches!(
        ask(codes, None, &Options { rerank }),
        EvalError::Graph(_)
    ));
}

#[test]
fn baselines_have_their_keys_and_dims() {
    let (data, labels) = rings();
    let queries = Some((data.clone(), &labels[..]));
    let found = baselines(2, (data.clone(), &labels), queries).unwrap();
    assert_eq!(found.pca_64.dims, 2);
    let gallery = Labelled::new(Codes::new(&data, 2).unwrap(), &labels).unwrap();
    let plain = evaluate(gallery, Some(gallery), Metric::Cosine, &Options::default()).unwrap();
    assert_eq!(found.pixels_cosine, plain);
    assert_eq!(found.pixels_euclidean.precision_at_1, 1.0);
    let half_whitened = evaluate_half_whitened(gallery, Some(gallery), 64).unwrap();
    assert_eq!(found.pca_64_half_whitened, half_whitened);
}

#[test]
fn centred_pixels_see_through_brightness() {
    let patterns = [[0.1, -0.1, 0.0, 0.0], [0.0, 0.1, -0.1, 0.0]];
    let labels: Vec<usize> = (0..100).map(|i| i / 3 % 2).collect();
    let pixels: Vec<f32> = (0..100)
        .flat_map(|i| patterns[i / 3 % 2].map(|value| value + 0.2 + i as f32 / 125.0))
        .collect();
    let found = baselines(4, (pixels, &labels), None).unwrap();
    assert!(found.pixels_euclidean.map < 0.7, "{found:?}");
    assert!(found.pixels_cosine.map < 0.98, "{found:?}");
    assert_eq!(found.pixels_centred.map, 1.0);
}

/// What tells the classes apart varies little, beside a large variation that says nothing.
#[test]
fn half_whitening_brings_small_differences_forward() {
    let labels: Vec<usize> = (0..200).map(|i| i % 2).collect();
    let data: Vec<f32> = (0..200)
        .flat_map(|i| {
            let side = if i % 2 == 0 { 1.0 } else { -1.0 };
            [((i * 37) % 101) as f32 / 10.0 - 5.0, side]
        })
        .collect();
    let gallery = Labelled::new(Codes::new(&data, 2).unwrap(), &labels).unwrap();
    let plain = evaluate(gallery, None, Metric::Cosine, &Options::default()).unwrap();
    let whitened = evaluate_half_whitened(gallery, None, 2).unwrap();
    assert!(whitened.map > plain.map, "{whitened:?} {plain:?}");
    let other = Labelled::new(Codes::new(&data, 4).unwrap(), &labels[..100]).unwrap();
    assert_eq!(
        evaluate_half_whitened(gallery, Some(other), 2).unwrap_err(),
        EvalError::Dims {
            queries: 4,
            gallery: 2
        }
    );
}
