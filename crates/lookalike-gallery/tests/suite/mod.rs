//! The contract of `Gallery`, for any implementation: each case takes a function that gives a new,
//! empty gallery and whatever keeps it alive. `diffusing` is for those that diffuse.

use lookalike_gallery::{
    Answer, DiffusionState, Filter, Gallery, GalleryError, Point, Points, SearchRequest, Upserted,
    point_id,
};
use lookalike_neighbours::Metric;
use uuid::Uuid;

/// The model that galleries under test are made with.
pub const MODEL: &[u8] = b"a model";

/// A gallery under test, and what must live as long as it.
pub struct Subject {
    pub gallery: Box<dyn Gallery>,
    pub _keep: Box<dyn std::any::Any>,
}

pub type Factory = fn(Metric, usize) -> Subject;

/// Hands the names of all cases that hold for every gallery to a macro.
macro_rules! with_cases {
    ($callback:ident) => {
        $callback! {
            describes_itself, keeps_what_it_is_given, upserting_again_changes_nothing,
            a_changed_point_replaces_the_old, finds_the_nearest_by_every_metric, any_k_is_answered,
            thresholds_hold, filters_agree_with_the_payloads, a_point_can_be_excluded,
            bad_codes_are_refused, an_empty_gallery_answers, what_is_deleted_is_gone,
            scrolls_in_order, works_from_several_threads, zero_codes_are_points_too,
            equal_codes_come_in_the_order_of_ids, contents_are_looked_up,
            a_source_is_listed_without_codes, many_are_deleted_at_once, thumbnails_are_kept,
            thumbnails_go_with_the_last_point_that_needs_them, bad_thumbnails_are_refused,
            recommends_by_examples, learns_from_examples, senseless_recommendations_are_refused,
            diverse_neighbours_differ, senseless_diversity_is_refused, values_are_counted
        }
    };
}
pub(crate) use with_cases;

pub mod asking;
pub mod content;
pub mod samples;
pub mod thumbnails;

pub use asking::*;
pub use content::*;
pub use thumbnails::*;

use samples::{Random, point, points};

pub const DIMS: usize = 12;

pub fn filled(factory: Factory, metric: Metric, points: &[Point]) -> Subject {
    let subject = factory(metric, points[0].code.len());
    subject.gallery.upsert(points).unwrap();
    subject
}

pub fn ids(answer: &Answer) -> Vec<Uuid> {
    answer.neighbours.iter().map(|hit| hit.id).collect()
}

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-4 * a.abs().max(b.abs()) + 1e-7
}

/// What the right answer is, by the metric's own definition.
fn truth(points: &[Point], request: &SearchRequest, metric: Metric) -> Vec<(Uuid, f32)> {
    let mut found: Vec<_> = points
        .iter()
        .filter(|p| Some(p.id) != request.exclude)
        .filter(|p| {
            request
                .filter
                .as_ref()
                .is_none_or(|f| f.matches(&p.payload))
        })
        .map(|p| (p.id, metric.distance(&request.code, &p.code)))
        .filter(|(_, d)| request.max_distance.is_none_or(|max| *d <= max))
        .collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    found.truncate(request.k);
    found
}

fn assert_true(points: &[Point], gallery: &dyn Gallery, request: &SearchRequest, metric: Metric) {
    let answer = gallery.search(request).unwrap();
    let truth = truth(points, request, metric);
    assert_eq!(
        ids(&answer),
        truth.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        "{metric}: {request:?}"
    );
    for (hit, (_, distance)) in answer.neighbours.iter().zip(truth) {
        assert!(close(hit.distance, distance), "{metric}: {hit:?}");
    }
    assert_eq!(answer.metric, metric);
    assert!(answer.exact);
}

pub fn describes_itself(factory: Factory) {
    let subject = factory(Metric::Euclidean, DIMS);
    let info = subject.gallery.describe().unwrap();
    assert_eq!((info.metric, info.dims), (Metric::Euclidean, DIMS));
    assert_eq!((info.points, info.indexed), (0, 0));
    assert_eq!(
        info.model_fingerprint,
        lookalike_gallery::model_fingerprint(MODEL)
    );
    let diffuses = subject.gallery.as_embedded().is_some();
    let state = match diffuses {
        true => DiffusionState::Absent,
        false => DiffusionState::Unavailable,
    };
    assert_eq!(info.diffusion, state);
    assert!(info.created > 1_500_000_000);
    if let Some(model) = subject.gallery.model().unwrap() {
        assert_eq!(model, MODEL);
    }
    subject.gallery.upsert(&points(30, DIMS, 1)).unwrap();
    assert_eq!(subject.gallery.describe().unwrap().points, 30);
}

pub fn keeps_what_it_is_given(factory: Factory) {
    for metric in Metric::ALL {
        let points = points(50, DIMS, 2);
        let subject = filled(factory, metric, &points);
        let mut ids: Vec<_> = points.iter().rev().map(|p| p.id).collect();
        ids.insert(7, point_id("nowhere", "nothing"));
        let mut expected = points.clone();
        expected.reverse();
        // Bit for bit, also where the index wants the code normalised.
        assert_eq!(subject.gallery.retrieve(&ids).unwrap(), expected);
        let existing = subject.gallery.existing(&ids).unwrap();
        assert_eq!(existing.len(), points.len());
        assert!(points.iter().all(|p| existing[&p.id] == p.payload.blake3));
    }
}

pub fn upserting_again_changes_nothing(factory: Factory) {
    let points = points(60, DIMS, 3);
    let subject = factory(Metric::Cosine, DIMS);
    let upserted = |added, changed, unchanged| Upserted {
        added,
        changed,
        unchanged,
    };
    let gallery = &subject.gallery;
    assert_eq!(gallery.upsert(&points[..40]).unwrap(), upserted(40, 0, 0));
    assert_eq!(gallery.upsert(&points).unwrap(), upserted(20, 0, 40));
    assert_eq!(gallery.upsert(&points).unwrap(), upserted(0, 0, 60));
    assert_eq!(gallery.upsert(&[]).unwrap(), upserted(0, 0, 0));
    assert_eq!(gallery.count(None).unwrap(), 60);
}

pub fn a_changed_point_replaces_the_old(factory: Factory) {
    let mut points = points(30, DIMS, 4);
    let subject = filled(factory, Metric::Euclidean, &points);
    points[3].code = vec![100.0; DIMS];
    points[4].payload.label = Some("new".into());
    points[5].payload.extra.clear();
    // Of two points with one id the last counts.
    let mut batch = vec![point(3, vec![-100.0; DIMS])];
    batch.extend(points.clone());
    let upserted = subject.gallery.upsert(&batch).unwrap();
    assert_eq!(upserted.added, 0);
    assert_eq!(upserted.changed, 2);
    assert_eq!(subject.gallery.count(None).unwrap(), 30);
    let request = SearchRequest::new(vec![100.0; DIMS], 1);
    let answer = subject.gallery.search(&request).unwrap();
    assert_eq!(
        (answer.neighbours[0].id, answer.neighbours[0].distance),
        (points[3].id, 0.0)
    );
    let stored = subject.gallery.retrieve(&[points[4].id]).unwrap();
    assert_eq!(stored[0], points[4]);
}

pub fn finds_the_nearest_by_every_metric(factory: Factory) {
    let points = points(400, DIMS, 5);
    let mut random = Random(55);
    for of_gallery in Metric::ALL {
        let subject = filled(factory, of_gallery, &points);
        for metric in Metric::ALL {
            for exact in [false, true] {
                let request = SearchRequest {
                    metric: Some(metric),
                    exact,
                    ..SearchRequest::new(random.code(DIMS), 10)
                };
                assert_true(&points, &*subject.gallery, &request, metric);
                let answer = subject.gallery.search(&request).unwrap();
                let says_so = answer.notes.iter().any(|n| n.contains(metric.name()));
                assert_eq!(says_so, metric != of_gallery, "{:?}", answer.notes);
            }
        }
    }
}

pub fn any_k_is_answered(factory: Factory) {
    let points = points(25, DIMS, 6);
    let subject = filled(factory, Metric::Cosine, &points);
    for k in [0, 1, 24, 25, 26, 1_000, usize::MAX] {
        for metric in [Metric::Cosine, Metric::Manhattan] {
            let request = SearchRequest {
                metric: Some(metric),
                ..SearchRequest::new(points[0].code.clone(), k)
            };
            let answer = subject.gallery.search(&request).unwrap();
            assert_eq!(answer.neighbours.len(), k.min(25), "k {k} by {metric}");
        }
    }
}

pub fn thresholds_hold(factory: Factory) {
    let points = points(200, DIMS, 7);
    for metric in Metric::ALL {
        let subject = filled(factory, metric, &points);
        let code = points[9].code.clone();
        let mut distances: Vec<_> = points
            .iter()
            .map(|p| metric.distance(&code, &p.code))
            .collect();
        distances.sort_by(f32::total_cmp);
        for asked in Metric::ALL {
            let request = SearchRequest {
                metric: Some(asked),
                max_distance: Some(distances[20]),
                ..SearchRequest::new(code.clone(), 50)
            };
            assert_true(&points, &*subject.gallery, &request, asked);
        }
        let nothing = SearchRequest {
            max_distance: Some(distances[0] - 1.0),
            ..SearchRequest::new(code.clone(), 5)
        };
        assert!(
            subject
                .gallery
                .search(&nothing)
                .unwrap()
                .neighbours
                .is_empty()
        );
        let senseless = SearchRequest {
            max_distance: Some(f32::NAN),
            ..nothing
        };
        let error = subject.gallery.search(&senseless).unwrap_err();
        assert!(matches!(error, GalleryError::BadRequest(_)), "{error}");
    }
}

pub fn filters_agree_with_the_payloads(factory: Factory) {
    let points = points(300, DIMS, 8);
    let subject = filled(factory, Metric::Euclidean, &points);
    for texts in [
        &["label=3"][..],
        &["label!=3"],
        &["source=samples"],
        &["source!=samples"],
        &["key=17"],
        &["width>=40"],
        &["width<40", "label=1"],
        &["height=28.0"],
        &["width!=30"],
        &["year=1999"],
        &["year!=1999"],
        &["year>2000", "year<=2010"],
        &["city=Basel"],
        &["city!=Basel", "width>20"],
        &["nothing=1"],
        &["sharpness=0.5"],
        &["sharpness!=0.5"],
        &["sharpness<0.5"],
        &["brightness<0.5"],
        &["brightness>=0.5", "brightness<1"],
        &["brightness=0.25"],
        &["brightness!=0.25"],
        &["brightness=low"],
        &["brightness!=high", "label!=3"],
        &["entropy>1"],
        &["entropy!=1"],
        &["taken>=2024-06-01"],
        &["taken>2024-06-01"],
        &["taken<2024-06", "label=3"],
        &["taken<=2024-06"],
        &["taken=2024-03"],
        &["taken!=2024-03"],
        &["taken=2024"],
        &["taken=2024-02-14 12:30"],
        &["taken>2023"],
        &["camera=Leica M3"],
        &["camera!=Leica M3"],
        &["orientation>=5"],
    ] {
        let filter = Filter::all(texts.iter().map(|text| text.parse().unwrap()));
        let filter = filter.unwrap().unwrap();
        let passing = points.iter().filter(|p| filter.matches(&p.payload)).count();
        let count = subject.gallery.count(Some(&filter)).unwrap();
        assert_eq!(count, passing, "{filter}");
        let scrolled = Points::new(&*subject.gallery, Some(filter.clone()));
        assert!(
            scrolled
                .map(Result::unwrap)
                .all(|p| filter.matches(&p.payload))
        );
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let request = SearchRequest {
                metric: Some(metric),
                filter: Some(filter.clone()),
                exclude: Some(points[17].id),
                ..SearchRequest::new(points[17].code.clone(), 12)
            };
            assert_true(&points, &*subject.gallery, &request, metric);
        }
    }
}

pub fn a_point_can_be_excluded(factory: Factory) {
    let points = points(80, DIMS, 9);
    let subject = filled(factory, Metric::Dot, &points);
    for metric in Metric::ALL {
        let mut request = SearchRequest {
            metric: Some(metric),
            ..SearchRequest::new(points[5].code.clone(), 80)
        };
        assert_eq!(
            subject.gallery.search(&request).unwrap().neighbours.len(),
            80
        );
        request.exclude = Some(points[5].id);
        assert_true(&points, &*subject.gallery, &request, metric);
        assert_eq!(
            subject.gallery.search(&request).unwrap().neighbours.len(),
            79
        );
        // One that is not there is no matter.
        request.exclude = Some(point_id("nowhere", "nothing"));
        assert_eq!(
            subject.gallery.search(&request).unwrap().neighbours.len(),
            80
        );
    }
}

pub fn bad_codes_are_refused(factory: Factory) {
    let good = points(3, DIMS, 10);
    let subject = filled(factory, Metric::Cosine, &good);
    let gallery = &subject.gallery;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let mut code = vec![1.0; DIMS];
        code[4] = bad;
        let error = gallery
            .search(&SearchRequest::new(code.clone(), 3))
            .unwrap_err();
        assert!(
            matches!(error, GalleryError::BadCode { position: 4, .. }),
            "{error}"
        );
        // A batch with a bad code is refused whole.
        let error = gallery
            .upsert(&[point(7, vec![1.0; DIMS]), point(8, code)])
            .unwrap_err();
        assert!(matches!(error, GalleryError::BadCode { .. }), "{error}");
    }
    for dims in [0, DIMS - 1, DIMS + 1] {
        let code = vec![1.0; dims];
        let error = gallery
            .search(&SearchRequest::new(code.clone(), 3))
            .unwrap_err();
        assert!(matches!(error, GalleryError::Dimensions { .. }), "{error}");
        let error = gallery.upsert(&[point(7, code)]).unwrap_err();
        assert!(
            error.to_string().contains(&format!("{dims} dimensions")),
            "{error}"
        );
    }
    assert_eq!(gallery.count(None).unwrap(), 3);
}

pub fn an_empty_gallery_answers(factory: Factory) {
    let subject = factory(Metric::Cosine, DIMS);
    let gallery = &subject.gallery;
    let mut request = SearchRequest::new(vec![1.0; DIMS], 5);
    for metric in Metric::ALL {
        request.metric = Some(metric);
        assert!(gallery.search(&request).unwrap().neighbours.is_empty());
    }
    assert_eq!(gallery.count(None).unwrap(), 0);
    assert_eq!(Points::new(&**gallery, None).count(), 0);
    assert_eq!(gallery.delete(&[point_id("a", "b")]).unwrap(), 0);
    assert!(gallery.existing(&[point_id("a", "b")]).unwrap().is_empty());
    assert!(!gallery.optimise().unwrap());
    gallery.flush().unwrap();
}

pub fn what_is_deleted_is_gone(factory: Factory) {
    let points = points(50, DIMS, 11);
    let subject = filled(factory, Metric::Euclidean, &points);
    let gallery = &subject.gallery;
    let gone: Vec<_> = points[..20].iter().map(|p| p.id).collect();
    assert_eq!(gallery.delete(&gone).unwrap(), 20);
    assert_eq!(gallery.delete(&gone).unwrap(), 0);
    assert_eq!(gallery.count(None).unwrap(), 30);
    assert!(gallery.retrieve(&gone).unwrap().is_empty());
    for metric in [Metric::Euclidean, Metric::Manhattan] {
        let request = SearchRequest {
            metric: Some(metric),
            ..SearchRequest::new(points[0].code.clone(), 50)
        };
        assert_true(&points[20..], &**gallery, &request, metric);
    }
    // And can come back.
    assert_eq!(gallery.upsert(&points).unwrap().added, 20);
    let request = SearchRequest::new(points[0].code.clone(), 50);
    assert_true(&points, &**gallery, &request, Metric::Euclidean);
}

pub fn scrolls_in_order(factory: Factory) {
    let points = points(2_500, 4, 12);
    let subject = filled(factory, Metric::Euclidean, &points);
    let gallery = &subject.gallery;
    let mut expected: Vec<_> = points.iter().map(|p| p.id).collect();
    expected.sort();
    let seen: Vec<_> = Points::new(&**gallery, None)
        .map(|p| p.unwrap().id)
        .collect();
    assert_eq!(seen, expected);
    let page = gallery.scroll(Some(expected[9]), 3, None).unwrap();
    assert_eq!(
        page.iter().map(|p| p.id).collect::<Vec<_>>(),
        expected[10..13]
    );
    assert!(
        gallery
            .scroll(expected.last().copied(), 3, None)
            .unwrap()
            .is_empty()
    );
    assert!(
        gallery
            .scroll(Some(Uuid::max()), 3, None)
            .unwrap()
            .is_empty()
    );
    assert!(gallery.scroll(None, 0, None).unwrap().is_empty());
}

pub fn works_from_several_threads(factory: Factory) {
    let points = points(400, DIMS, 13);
    let subject = filled(factory, Metric::Cosine, &points[..200]);
    let gallery = &*subject.gallery;
    std::thread::scope(|scope| {
        for part in points[200..].chunks(50) {
            scope.spawn(move || {
                for point in part.chunks(10) {
                    gallery.upsert(point).unwrap();
                }
            });
        }
        for metric in Metric::ALL {
            let points = &points;
            scope.spawn(move || {
                for point in &points[..100] {
                    let request = SearchRequest {
                        metric: Some(metric),
                        ..SearchRequest::new(point.code.clone(), 3)
                    };
                    assert_eq!(gallery.search(&request).unwrap().neighbours.len(), 3);
                }
            });
        }
    });
    for metric in Metric::ALL {
        let request = SearchRequest {
            metric: Some(metric),
            ..SearchRequest::new(points[399].code.clone(), 400)
        };
        assert_true(&points, gallery, &request, metric);
    }
}

pub fn zero_codes_are_points_too(factory: Factory) {
    let mut points = points(20, DIMS, 17);
    points[4].code = vec![0.0; DIMS];
    points[5].code = vec![1e-20; DIMS];
    for metric in Metric::ALL {
        let subject = filled(factory, metric, &points);
        for code in [vec![0.0; DIMS], vec![-0.0; DIMS], vec![1.0; DIMS]] {
            let request = SearchRequest::new(code, 20);
            assert_true(&points, &*subject.gallery, &request, metric);
        }
    }
}

pub fn equal_codes_come_in_the_order_of_ids(factory: Factory) {
    let points: Vec<_> = (0..12).map(|i| point(i, vec![1.0, 2.0])).collect();
    for metric in Metric::ALL {
        let subject = filled(factory, metric, &points);
        assert_true(
            &points,
            &*subject.gallery,
            &SearchRequest::new(vec![2.0, 1.0], 4),
            metric,
        );
    }
}
