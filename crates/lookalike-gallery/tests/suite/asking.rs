//! The part of the contract that is about other questions than what is nearest to one code:
//! recommendations, diversity, counts.

use std::collections::{BTreeMap, HashSet};

use lookalike_gallery::{
    Answer, Example, Facet, Filter, Gallery, GalleryError, Mmr, Point, RecommendRequest, Rerank,
    SearchRequest, Strategy, point_id,
};
use lookalike_neighbours::Metric;
use serde_json::{Value, json};
use uuid::Uuid;

use super::samples::{Random, points};
use super::{DIMS, Factory, filled, ids};

/// The mean of codes, by the metric's own idea of it.
fn mean(codes: &[&[f32]], metric: Metric) -> Vec<f64> {
    let scale = |code: &[f32]| match metric {
        Metric::Cosine => code.iter().map(|&x| f64::from(x * x)).sum::<f64>().sqrt(),
        _ => 1.0,
    };
    let sum = |at: usize| -> f64 { codes.iter().map(|c| f64::from(c[at]) / scale(c)).sum() };
    (0..DIMS).map(|at| sum(at) / codes.len() as f64).collect()
}

/// The distances from `points` that a request admits, best first by the strategy's definition.
fn truth(points: &[Point], request: &RecommendRequest, metric: Metric) -> Vec<(Uuid, f32)> {
    let code = |example: &Example| match example {
        Example::Code(code) => code.clone(),
        Example::Id(id) => points.iter().find(|p| p.id == *id).unwrap().code.clone(),
    };
    let like: Vec<_> = request.like.iter().map(code).collect();
    let unlike: Vec<_> = request.unlike.iter().map(code).collect();
    let slices =
        |codes: &[Vec<f32>]| mean(&codes.iter().map(Vec::as_slice).collect::<Vec<_>>(), metric);
    let target: Vec<f32> = match unlike.is_empty() {
        true => slices(&like).into_iter().map(|x| x as f32).collect(),
        false => {
            let pairs = slices(&like).into_iter().zip(slices(&unlike));
            pairs.map(|(p, n)| (p + (p - n)) as f32).collect()
        }
    };
    let nearest = |examples: &[Vec<f32>], code: &[f32]| {
        let distances = examples.iter().map(|e| metric.distance(e, code));
        distances.min_by(f32::total_cmp)
    };
    let is_example = |id: &Uuid| {
        let all = request.like.iter().chain(&request.unlike);
        all.into_iter().any(|example| *example == Example::Id(*id))
    };
    let mut found: Vec<_> = points
        .iter()
        .filter(|p| !is_example(&p.id))
        .filter(|p| {
            request
                .filter
                .as_ref()
                .is_none_or(|f| f.matches(&p.payload))
        })
        .map(|p| match request.strategy {
            Strategy::Average => (
                0,
                metric.distance(&target, &p.code),
                metric.distance(&target, &p.code),
                p.id,
            ),
            Strategy::BestScore => {
                let liked = nearest(&like, &p.code).unwrap();
                match nearest(&unlike, &p.code) {
                    Some(unliked) if unliked <= liked => (1, -unliked, liked, p.id),
                    _ => (0, liked, liked, p.id),
                }
            }
            Strategy::Learned => unreachable!("it has a test of its own"),
        })
        .filter(|(_, _, distance, _)| request.max_distance.is_none_or(|max| *distance <= max))
        .collect();
    found.sort_by_key(|found| (found.0, found.3));
    found.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    found.truncate(request.k);
    found
        .into_iter()
        .map(|(_, _, distance, id)| (id, distance))
        .collect()
}

fn requests(points: &[Point], strategy: Strategy) -> Vec<RecommendRequest> {
    let id = |at: usize| Example::Id(points[at].id);
    let code = Example::Code(Random(9).code(DIMS));
    let base = RecommendRequest {
        strategy,
        ..RecommendRequest::new(vec![id(3), id(14)], 12)
    };
    let mut requests = vec![base.clone()];
    let unlike = RecommendRequest {
        unlike: vec![id(5), id(6), id(7)],
        ..base.clone()
    };
    requests.push(RecommendRequest {
        like: vec![code.clone()],
        ..base
    });
    requests.push(RecommendRequest {
        filter: Some("label!=3".parse().unwrap()),
        ..unlike.clone()
    });
    requests.push(RecommendRequest {
        unlike: vec![code, id(8)],
        k: 1_000,
        ..unlike.clone()
    });
    requests.push(unlike);
    requests
}

pub fn recommends_by_examples(factory: Factory) {
    let points = points(300, DIMS, 81);
    for of_gallery in Metric::ALL {
        let subject = filled(factory, of_gallery, &points);
        for strategy in [Strategy::Average, Strategy::BestScore] {
            for mut request in requests(&points, strategy) {
                for metric in Metric::ALL {
                    request.metric = Some(metric);
                    request.max_distance = None;
                    let truth = check(&points, &*subject.gallery, &request, metric);
                    // And no farther than about half of them.
                    request.max_distance = truth.get(truth.len() / 2).map(|(_, d)| *d);
                    check(&points, &*subject.gallery, &request, metric);
                    request.exact = !request.exact;
                }
            }
        }
    }
}

fn check(
    points: &[Point],
    gallery: &dyn Gallery,
    request: &RecommendRequest,
    metric: Metric,
) -> Vec<(Uuid, f32)> {
    let truth = truth(points, request, metric);
    let answer = gallery.recommend(request).unwrap();
    assert_eq!((answer.metric, answer.exact), (metric, true));
    let expected: Vec<_> = truth.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids(&answer), expected, "{metric}: {request:?}");
    for (hit, (_, distance)) in answer.neighbours.iter().zip(&truth) {
        let most = 1e-4 * distance.abs() + 1e-6;
        assert!((hit.distance - distance).abs() <= most, "{metric}: {hit:?}");
        assert_eq!(hit.score.is_some(), request.strategy == Strategy::BestScore);
    }
    let scores = answer.neighbours.iter().filter_map(|hit| hit.score);
    assert!(scores.is_sorted_by(|a, b| a >= b));
    truth
}

/// What tells the examples apart is one direction of the codes, in which they differ least.
pub fn learns_from_examples(factory: Factory) {
    let mut points = points(300, DIMS, 84);
    let is_right = |at: usize| at.is_multiple_of(2);
    for (at, point) in points.iter_mut().enumerate() {
        point.code.iter_mut().for_each(|x| *x += 2.0);
        point.code[0] = if is_right(at) { 0.4 } else { -0.4 };
        point.payload.label = Some(if at < 200 { "asked" } else { "other" }.into());
    }
    let id = |at: usize| Example::Id(points[at].id);
    let some = |right: bool, count: usize| -> Vec<Example> {
        let all = (0..points.len()).filter(|at| is_right(*at) == right);
        all.take(count).map(id).collect()
    };
    for of_gallery in Metric::ALL {
        let subject = filled(factory, of_gallery, &points);
        let ask = |request: &RecommendRequest| subject.gallery.recommend(request).unwrap();
        let like = |count: usize, strategy: Strategy| RecommendRequest {
            unlike: some(false, count),
            strategy,
            filter: Some("label=asked".parse().unwrap()),
            ..RecommendRequest::new(some(true, count), 60)
        };
        for metric in Metric::ALL {
            let asked = |count: usize, strategy: Strategy| {
                ask(&RecommendRequest {
                    metric: Some(metric),
                    ..like(count, strategy)
                })
            };
            let right = |answer: &Answer| {
                let found: HashSet<Uuid> = ids(answer).into_iter().collect();
                let right = (0..200).filter(|at| is_right(*at) && found.contains(&points[*at].id));
                right.count()
            };
            let (average, learned) = (asked(30, Strategy::Average), asked(30, Strategy::Learned));
            assert!(
                right(&learned) > right(&average),
                "{of_gallery}, {metric}: {} and {}",
                right(&learned),
                right(&average)
            );
            // Examples are not among the answers, and all others pass the filter.
            assert_eq!(learned.neighbours.len(), 60);
            for hit in &learned.neighbours {
                assert_eq!(hit.payload.label.as_deref(), Some("asked"));
                assert!(points[60..200].iter().any(|point| point.id == hit.id));
            }
            let distances = learned.neighbours.iter().map(|hit| hit.distance);
            assert!(distances.is_sorted());
            // The same once more, and no farther than so far.
            let near = ask(&RecommendRequest {
                metric: Some(metric),
                max_distance: Some(learned.neighbours[19].distance),
                exact: true,
                ..like(30, Strategy::Learned)
            });
            assert_eq!(ids(&near), ids(&learned)[..20], "{of_gallery}, {metric}");
        }
        let one = |strategy| {
            ask(&RecommendRequest {
                strategy,
                ..RecommendRequest::new(some(true, 1), 20)
            })
        };
        let (average, learned) = (one(Strategy::Average), one(Strategy::Learned));
        assert_eq!(ids(&average), ids(&learned), "{of_gallery}");
    }
}

pub fn senseless_recommendations_are_refused(factory: Factory) {
    let points = points(5, DIMS, 82);
    let subject = filled(factory, Metric::Cosine, &points);
    let gallery = &*subject.gallery;
    let like = |like: Vec<Example>| RecommendRequest::new(like, 3);
    let refused = |request: RecommendRequest| {
        [Strategy::Average, Strategy::BestScore, Strategy::Learned].map(|strategy| {
            let request = RecommendRequest {
                strategy,
                ..request.clone()
            };
            gallery.recommend(&request).unwrap_err()
        })
    };
    for error in refused(like(vec![])) {
        assert!(error.to_string().contains("give one"), "{error}");
    }
    let missing = point_id("nowhere", "nothing");
    for error in refused(like(vec![Example::Id(missing)])) {
        assert!(error.to_string().contains(&missing.to_string()), "{error}");
    }
    for error in refused(like(vec![Example::Code(vec![1.0; DIMS + 1])])) {
        assert!(matches!(error, GalleryError::Dimensions { .. }), "{error}");
    }
    let unlike = vec![Example::Code(vec![f32::NAN; DIMS])];
    let request = like(vec![Example::Id(points[0].id)]);
    for error in refused(RecommendRequest {
        unlike,
        ..request.clone()
    }) {
        assert!(matches!(error, GalleryError::BadCode { .. }), "{error}");
    }
    for error in refused(RecommendRequest {
        max_distance: Some(f32::NAN),
        ..request.clone()
    }) {
        assert!(matches!(error, GalleryError::BadRequest(_)), "{error}");
    }
    let none = RecommendRequest { k: 0, ..request };
    assert!(gallery.recommend(&none).unwrap().neighbours.is_empty());
}

pub fn diverse_neighbours_differ(factory: Factory) {
    let mut points = points(200, DIMS, 83);
    // Five of each code.
    for at in 0..points.len() {
        points[at].code = points[at - at % 5].code.clone();
    }
    for metric in Metric::ALL {
        let subject = filled(factory, Metric::Euclidean, &points);
        let gallery = &*subject.gallery;
        let ask = |k: usize, diverse: Option<Mmr>| -> Answer {
            let request = SearchRequest {
                metric: Some(metric),
                exclude: Some(points[0].id),
                diverse,
                ..SearchRequest::new(points[0].code.clone(), k)
            };
            gallery.search(&request).unwrap()
        };
        let mmr = |lambda: f32, candidates: usize| Some(Mmr { lambda, candidates });
        let plain = ask(40, None);
        assert_eq!(ask(40, mmr(1.0, 0)), plain);
        assert_eq!(ask(40, mmr(1.0, 150)), plain);
        let first = ids(&plain);
        for lambda in [0.0, 0.3, 0.7] {
            let diverse = ids(&ask(10, mmr(lambda, 40)));
            assert_eq!(diverse[0], first[0], "the nearest comes first");
            let distinct: HashSet<_> = diverse.iter().collect();
            assert_eq!((distinct.len(), diverse.len()), (10, 10));
            assert!(
                diverse.iter().all(|id| first.contains(id)),
                "of the 40 nearest"
            );
            assert_eq!(
                ids(&ask(10, mmr(lambda, 40))),
                diverse,
                "every time the same"
            );
        }
        let codes = |answer: &Answer| -> usize {
            let code = |id: &Uuid| gallery.retrieve(&[*id]).unwrap().remove(0).code;
            let codes: HashSet<Vec<u32>> = ids(answer)
                .iter()
                .map(|id| code(id).iter().map(|x| x.to_bits()).collect())
                .collect();
            codes.len()
        };
        if metric != Metric::Dot {
            assert!(codes(&ask(10, None)) <= 4);
            assert!(codes(&ask(10, mmr(0.2, 200))) >= 8, "{metric}");
        }
        assert_eq!(ask(300, mmr(0.5, 3)).neighbours.len(), 199);
    }
}

pub fn senseless_diversity_is_refused(factory: Factory) {
    let subject = filled(factory, Metric::Cosine, &points(5, DIMS, 84));
    let gallery = &*subject.gallery;
    for lambda in [-0.5, 1.5, f32::NAN] {
        let request = SearchRequest {
            diverse: Some(Mmr {
                lambda,
                candidates: 10,
            }),
            ..SearchRequest::new(vec![1.0; DIMS], 3)
        };
        let error = gallery.search(&request).unwrap_err();
        assert!(error.to_string().contains("lambda"), "{error}");
    }
    let request = SearchRequest {
        diverse: Some(Mmr::default()),
        rerank: Rerank::Diffusion,
        ..SearchRequest::new(vec![1.0; DIMS], 3)
    };
    let error = gallery.search(&request).unwrap_err();
    assert!(error.to_string().contains("one of the two"), "{error}");
}

/// What the counts are, by the payloads.
fn counted(points: &[Point], field: &str, filter: Option<&Filter>, limit: usize) -> Vec<Facet> {
    let mut counts: BTreeMap<String, Facet> = BTreeMap::new();
    for point in points {
        if filter.is_some_and(|filter| !filter.matches(&point.payload)) {
            continue;
        }
        let payload = serde_json::to_value(&point.payload).unwrap();
        let extra = payload["extra"].get(field);
        let given = extra.filter(|value| !value.is_null() && **value != json!([]));
        let value = payload.get(field).or(given);
        let value = value.or_else(|| payload["facts"].get(field));
        let values = match value.cloned() {
            None => vec![],
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
        };
        let values: BTreeMap<_, _> = values.into_iter().map(|v| (v.to_string(), v)).collect();
        for (name, value) in values {
            let facet = counts.entry(name).or_insert(Facet { value, count: 0 });
            facet.count += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    // The map has them in order, and sorting keeps it among equals.
    counts.sort_by_key(|facet| std::cmp::Reverse(facet.count));
    counts.truncate(limit);
    counts
}

/// Points with fields of every kind.
pub fn varied(count: usize) -> Vec<Point> {
    let mut points = points(count, 2, 85);
    for (i, point) in points.iter_mut().enumerate() {
        let source = ["samples", "cats and dogs"][i % 2];
        *point = Point::new(point.code.clone(), {
            let mut payload = point.payload.clone();
            payload.source = source.into();
            payload
                .extra
                .insert("tags".into(), json!(["sea", i % 4, "sea", i % 8 == 0]));
            payload
        });
    }
    points
}

pub fn assert_counts(gallery: &dyn Gallery, points: &[Point]) {
    for filter in [
        None,
        Some("label!=3"),
        Some("width>=40 and city=Basel"),
        Some("key=nobody"),
    ] {
        let filter = filter.map(|text| text.parse::<Filter>().unwrap());
        for field in [
            "label",
            "source",
            "width",
            "year",
            "city",
            "tags",
            "blake3",
            "nothing",
            "brightness",
            "sharpness",
            "entropy",
            "taken",
            "camera",
            "orientation",
        ] {
            for limit in [0, 2, 1_000_000] {
                assert_eq!(
                    gallery.facets(field, filter.as_ref(), limit).unwrap(),
                    counted(points, field, filter.as_ref(), limit),
                    "{field} {filter:?} {limit}"
                );
            }
        }
    }
}

pub fn values_are_counted(factory: Factory) {
    let mut points = varied(250);
    let subject = filled(factory, Metric::Euclidean, &points);
    let gallery = &*subject.gallery;
    assert_counts(gallery, &points);
    // Also after changes.
    let gone: Vec<_> = points.drain(..40).map(|point| point.id).collect();
    gallery.delete(&gone).unwrap();
    for point in &mut points[..30] {
        point.payload.label = Some("changed".into());
    }
    gallery.upsert(&points).unwrap();
    assert_counts(gallery, &points);
    for bad in ["", "a b", "label=3", "extra.\"x\""] {
        let error = gallery.facets(bad, None, 5).unwrap_err();
        assert!(matches!(error, GalleryError::BadRequest(_)), "{error}");
    }
}
