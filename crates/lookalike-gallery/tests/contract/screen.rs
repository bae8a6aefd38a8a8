//! Answers from the codes in memory, against comparing with every point.

use std::collections::BTreeMap;

use lookalike_gallery::{
    CodeSpec, EmbeddedGallery, Filter, Gallery, GalleryOptions, Point, SearchRequest,
};
use lookalike_neighbours::Metric;
use uuid::Uuid;

use crate::place::folder;
use crate::suite::samples::{Random, point, points};

const DIMS: usize = 12;
/// More than a gallery answers before it keeps its codes.
const SEARCHES: usize = 12;

fn spec(metric: Metric) -> CodeSpec<'static> {
    CodeSpec::new(metric, DIMS, b"")
}

/// What should be there.
type Known = BTreeMap<Uuid, Point>;

fn truth(known: &Known, request: &SearchRequest, metric: Metric) -> Vec<(Uuid, f32)> {
    let passes = |point: &&Point| {
        let filter = request.filter.as_ref();
        request.exclude != Some(point.id) && filter.is_none_or(|f| f.matches(&point.payload))
    };
    let mut all: Vec<_> = known
        .values()
        .filter(passes)
        .map(|point| (point.id, metric.distance(&request.code, &point.code)))
        .collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(request.k);
    all
}

fn check(gallery: &EmbeddedGallery, known: &Known, metric: Metric, what: &str) {
    let filters = [
        None,
        Some("label=3"),
        Some("width>40"),
        Some("label=nothing"),
    ];
    let filters = filters.map(|filter| filter.map(|f| f.parse::<Filter>().unwrap()));
    let mut random = Random(5);
    for (number, asked) in known.values().step_by(known.len() / SEARCHES).enumerate() {
        let code: Vec<f32> = asked
            .code
            .iter()
            .map(|x| x + 0.01 * random.float())
            .collect();
        let request = SearchRequest {
            filter: filters[number % filters.len()].clone(),
            exclude: (number % 2 == 0).then_some(asked.id),
            ..SearchRequest::new(code, 7)
        };
        let answer = gallery.search(&request).unwrap();
        let found = answer.neighbours.iter().map(|hit| (hit.id, hit.distance));
        let found: Vec<_> = found.collect();
        assert_eq!(found, truth(known, &request, metric), "{metric}, {what}");
        assert!(answer.exact, "{metric}, {what}");
    }
}

#[test]
fn codes_in_memory_follow_every_change() {
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
        let folder = folder();
        let path = folder.path().join("test.gallery");
        let gallery = EmbeddedGallery::create(path, &spec(metric), &GalleryOptions::new()).unwrap();
        let mut stored = points(1_200, DIMS, 3);
        // Copies of one code: which of them are found depends on their ids.
        for i in 0..20 {
            stored[10 * i].code = stored[0].code.clone();
        }
        gallery.upsert(&stored).unwrap();
        let mut known: Known = stored.iter().map(|p| (p.id, p.clone())).collect();
        for _ in 0..2 {
            check(&gallery, &known, metric, "as stored");
        }
        let mut random = Random(8);
        // So many that all are put in order again.
        let added: Vec<_> = (1_200..2_700)
            .map(|i| point(i, random.code(DIMS)))
            .collect();
        let mut changed: Vec<_> = stored[100..200].to_vec();
        for point in &mut changed {
            point.code = random.code(DIMS);
            point.payload.label = Some("3".to_owned());
        }
        for some in [added, changed] {
            gallery.upsert(&some).unwrap();
            known.extend(some.into_iter().map(|point| (point.id, point)));
            check(&gallery, &known, metric, "after storing");
        }
        let gone: Vec<_> = stored.iter().step_by(3).map(|point| point.id).collect();
        assert_eq!(gallery.delete(&gone).unwrap(), gone.len());
        gone.iter().for_each(|id| drop(known.remove(id)));
        check(&gallery, &known, metric, "after deleting");
        // Codes a hundred times as long as any before.
        let mut long = points(300, DIMS, 9);
        for point in &mut long {
            point.code.iter_mut().for_each(|x| *x *= 100.0);
        }
        gallery.upsert(&long).unwrap();
        known.extend(long.into_iter().map(|point| (point.id, point)));
        for _ in 0..2 {
            check(&gallery, &known, metric, "after storing long codes");
        }
        gallery
            .delete(&known.keys().copied().collect::<Vec<_>>())
            .unwrap();
        let request = SearchRequest::new(vec![1.0; DIMS], 3);
        assert!(gallery.search(&request).unwrap().neighbours.is_empty());
    }
}

/// Only the index is asked where no memory is to be spent on codes.
#[test]
fn codes_are_not_kept_beyond_the_limit() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let gallery =
        EmbeddedGallery::create(path, &spec(Metric::Cosine), &GalleryOptions::new()).unwrap();
    gallery.upsert(&points(10_000, DIMS, 3)).unwrap();
    assert!(gallery.optimise().unwrap());
    gallery.set_screen_limit(10_000 * (DIMS + 24) - 1);
    let request = SearchRequest::new(vec![1.0; DIMS], 3);
    let exact = |count: usize| {
        let answers = (0..count).map(|_| gallery.search(&request).unwrap().exact);
        answers.collect::<Vec<_>>()
    };
    assert!(!exact(2 * SEARCHES).contains(&true));
    gallery.set_screen_limit(10_000 * (DIMS + 24));
    assert!(exact(SEARCHES).ends_with(&[true]));
    gallery.set_screen_limit(0);
    assert!(!exact(SEARCHES).contains(&true));
}
