//! The part of the contract that is about diffusion.

use std::collections::HashSet;

use lookalike_gallery::{
    Answer, DiffusionState, Filter, Gallery, GalleryError, Payload, Point, Rerank, SearchRequest,
};
use lookalike_neighbours::{DiffusionConfig, Metric};

use crate::suite::samples::points;
use crate::suite::{DIMS, Factory, filled, ids};

fn build(gallery: &dyn Gallery, config: &DiffusionConfig) -> Result<(), GalleryError> {
    gallery.as_embedded().unwrap().build_diffusion(config)
}

fn diffusing(code: Vec<f32>, k: usize) -> SearchRequest {
    SearchRequest {
        rerank: Rerank::Diffusion,
        ..SearchRequest::new(code, k)
    }
}

/// Two arcs that lie back to back: the far end of a query's own arc is farther than the other arc.
fn arcs() -> Vec<Point> {
    (0..160)
        .map(|i| {
            let (arc, at) = (i / 80, (i % 80) as f32 / 79.0);
            let angle = std::f32::consts::PI * at;
            let code = match arc {
                0 => vec![angle.cos(), angle.sin()],
                _ => vec![angle.cos(), 0.5 - angle.sin() - 1.0],
            };
            let payload = Payload {
                source: "arcs".into(),
                key: i.to_string(),
                label: Some(arc.to_string()),
                ..Payload::default()
            };
            Point::new(code, payload)
        })
        .collect()
}

fn arc_config() -> DiffusionConfig {
    DiffusionConfig {
        neighbours: 4,
        steps: 200,
        ..DiffusionConfig::default()
    }
}

pub fn diffusion_needs_its_graph(factory: Factory) {
    let points = points(30, DIMS, 14);
    let subject = filled(factory, Metric::Cosine, &points);
    let error = subject
        .gallery
        .search(&diffusing(vec![1.0; DIMS], 3))
        .unwrap_err();
    assert!(matches!(error, GalleryError::NoDiffusion { .. }), "{error}");
    let config = DiffusionConfig {
        alpha: 1.5,
        ..DiffusionConfig::default()
    };
    let error = build(&*subject.gallery, &config).unwrap_err();
    assert!(error.to_string().contains("alpha"), "{error}");
}

pub fn diffusion_follows_the_chain(factory: Factory) {
    let points = arcs();
    let subject = filled(factory, Metric::Euclidean, &points);
    build(&*subject.gallery, &arc_config()).unwrap();
    assert_eq!(
        subject.gallery.describe().unwrap().diffusion,
        DiffusionState::Fresh
    );
    let right = |answer: &Answer| {
        let labels = answer.neighbours.iter().map(|hit| &hit.payload.label);
        labels.filter(|label| label.as_deref() == Some("0")).count()
    };
    let query = points[0].code.clone();
    let plain = subject
        .gallery
        .search(&SearchRequest::new(query.clone(), 80))
        .unwrap();
    assert!(right(&plain) < 70, "the arcs lie so that distance is wrong");
    // The query in the gallery, just beside a point of it, and itself left out.
    let beside = vec![query[0] + 1e-3, query[1]];
    for code in [query.clone(), beside] {
        let answer = subject.gallery.search(&diffusing(code, 80)).unwrap();
        assert_eq!(right(&answer), 80);
        let scores: Vec<_> = answer.neighbours.iter().map(|h| h.score.unwrap()).collect();
        // The query itself comes first, whatever flows back to it.
        assert!(scores[1..].is_sorted_by(|a, b| a >= b), "{scores:?}");
        assert!(answer.notes.is_empty());
        assert!(!answer.exact, "diffusion looks no farther than it reaches");
        for hit in &answer.neighbours {
            let point = points.iter().find(|p| p.id == hit.id).unwrap();
            assert_eq!(hit.payload, point.payload);
        }
    }
    let first = subject
        .gallery
        .search(&diffusing(query.clone(), 1))
        .unwrap();
    assert_eq!(ids(&first), [points[0].id]);
    let without = SearchRequest {
        exclude: Some(points[0].id),
        ..diffusing(query, 79)
    };
    let answer = subject.gallery.search(&without).unwrap();
    assert_eq!(right(&answer), 79);
    assert!(answer.neighbours.iter().all(|hit| hit.id != points[0].id));
}

pub fn diffusion_respects_the_request(factory: Factory) {
    let points = points(120, DIMS, 15);
    let subject = filled(factory, Metric::Cosine, &points);
    // Rows so short that plain neighbours must fill the answer.
    let config = DiffusionConfig {
        neighbours: 5,
        kept: 6,
        ..DiffusionConfig::default()
    };
    build(&*subject.gallery, &config).unwrap();
    for code in [points[3].code.clone(), vec![0.5; DIMS]] {
        for k in [0, 1, 5, 40, 120, 500] {
            let answer = subject.gallery.search(&diffusing(code.clone(), k)).unwrap();
            assert_eq!(answer.neighbours.len(), k.min(120));
            let distinct: HashSet<_> = ids(&answer).into_iter().collect();
            assert_eq!(distinct.len(), k.min(120));
        }
        let filter: Filter = "label=3".parse().unwrap();
        let admitted = SearchRequest {
            filter: Some(filter.clone()),
            max_distance: Some(0.9),
            metric: Some(Metric::Cosine),
            ..diffusing(code.clone(), 120)
        };
        let answer = subject.gallery.search(&admitted).unwrap();
        let plain = SearchRequest {
            rerank: Rerank::None,
            ..admitted
        };
        let plain = subject.gallery.search(&plain).unwrap();
        let set = |answer: &Answer| ids(answer).into_iter().collect::<HashSet<_>>();
        assert_eq!(set(&answer), set(&plain));
        // Another metric measures the distances, the order stays that of diffusion.
        let measured = SearchRequest {
            metric: Some(Metric::Manhattan),
            ..diffusing(code.clone(), 5)
        };
        let answer = subject.gallery.search(&measured).unwrap();
        let [note] = &answer.notes[..] else {
            panic!("one note, about the metric: {:?}", answer.notes);
        };
        assert!(
            note.contains("cosine") && note.contains("manhattan"),
            "{note}"
        );
        assert!(!note.contains("every point"), "{note}");
        assert!(!answer.exact);
        let by_cosine = subject.gallery.search(&diffusing(code.clone(), 5)).unwrap();
        assert_eq!(ids(&answer), ids(&by_cosine));
        for hit in &answer.neighbours {
            let point = points.iter().find(|p| p.id == hit.id).unwrap();
            assert_eq!(hit.distance, Metric::Manhattan.distance(&code, &point.code));
        }
    }
}

pub fn changes_make_the_graph_stale(factory: Factory) {
    let points = points(60, DIMS, 16);
    let subject = filled(factory, Metric::Cosine, &points[..50]);
    let gallery = &subject.gallery;
    let state = || gallery.describe().unwrap().diffusion;
    let build = || build(&**gallery, &DiffusionConfig::default()).unwrap();
    build();
    assert_eq!(state(), DiffusionState::Fresh);
    gallery.upsert(&points[..50]).unwrap();
    gallery.delete(&[points[55].id]).unwrap();
    assert_eq!(state(), DiffusionState::Fresh, "nothing has changed");
    gallery.upsert(&points[50..]).unwrap();
    assert_eq!(state(), DiffusionState::Stale);
    let answer = gallery
        .search(&diffusing(points[57].code.clone(), 60))
        .unwrap();
    assert_eq!(
        answer.neighbours.len(),
        60,
        "new points are found by distance"
    );
    assert!(
        answer
            .notes
            .iter()
            .any(|note| note.contains("build it again"))
    );
    // As the note says: new ones come last, by distance.
    let old: HashSet<_> = points[..50].iter().map(|p| p.id).collect();
    let diffused = answer.neighbours.iter().take_while(|h| h.score.is_some());
    assert!(diffused.clone().all(|hit| old.contains(&hit.id)));
    let rest = &answer.neighbours[diffused.count()..];
    assert!(rest.iter().all(|hit| hit.score.is_none()));
    assert!(rest.is_sorted_by_key(|hit| hit.distance));
    assert!(
        points[50..]
            .iter()
            .all(|p| rest.iter().any(|h| h.id == p.id))
    );
    build();
    assert_eq!(state(), DiffusionState::Fresh);
    gallery.delete(&[points[0].id]).unwrap();
    assert_eq!(state(), DiffusionState::Stale);
    let answer = gallery
        .search(&diffusing(points[1].code.clone(), 60))
        .unwrap();
    assert_eq!(answer.neighbours.len(), 59);
    assert!(!ids(&answer).contains(&points[0].id));
}

pub fn an_empty_gallery_diffuses(factory: Factory) {
    let subject = factory(Metric::Cosine, DIMS);
    let gallery = &subject.gallery;
    build(&**gallery, &DiffusionConfig::default()).unwrap();
    let answer = gallery.search(&diffusing(vec![1.0; DIMS], 5)).unwrap();
    assert!(answer.neighbours.is_empty());
}
