//! The part of the contract that is about finding points without their codes.

use std::time::{Duration, Instant};

use lookalike_gallery::{EmbeddedGallery, Filter, Gallery, Payload, Point, Stub, Stubs};
use lookalike_neighbours::Metric;
use uuid::Uuid;

use crate::samples::{folder, points};
use crate::suite::{DIMS, Factory, filled};

/// Points of two sources, the name of one a trap for filters; some contents are in both.
fn two_sources() -> Vec<Point> {
    let (first, second) = (points(300, DIMS, 61), points(200, DIMS, 62));
    let second = second.into_iter().map(|point| {
        let payload = Payload {
            source: "cats and dogs".into(),
            location: Some(format!("/pets/{}", point.payload.key)),
            bytes: Some(u64::MAX - 7),
            modified: Some(-1_700_000_000_123_456_789),
            ..point.payload
        };
        Point::new(point.code, payload)
    });
    first.into_iter().chain(second).collect()
}

pub fn contents_are_looked_up(factory: Factory) {
    let points = two_sources();
    let subject = filled(factory, Metric::Cosine, &points);
    let gallery = &subject.gallery;
    let hashes: Vec<String> = (150..350).map(|i| format!("{i:064x}")).collect();
    let asked: Vec<&str> = hashes.iter().map(String::as_str).collect();
    let found = gallery.with_content(&asked).unwrap();
    assert_eq!(found.len(), 150, "those beyond 299 are not there");
    for hash in &asked {
        let first = points
            .iter()
            .filter(|point| point.payload.blake3 == *hash)
            .min_by_key(|point| point.id);
        assert_eq!(found.get(*hash), first, "{hash}");
    }
    assert!(gallery.with_content(&[]).unwrap().is_empty());
    assert!(
        gallery
            .with_content(&["", "nothing", "\"\0"])
            .unwrap()
            .is_empty()
    );
    // Deleted, changed and added contents are followed.
    let ids: Vec<_> = points.iter().map(|point| point.id).collect();
    let has = |hash: &str| !gallery.with_content(&[hash]).unwrap().is_empty();
    gallery.delete(&ids[..1]).unwrap();
    assert!(has(asked[0]) && has(&points[0].payload.blake3));
    gallery.delete(&ids[300..301]).unwrap();
    assert!(!has(&points[0].payload.blake3));
    let mut changed = points[250].clone();
    changed.payload.blake3 = "another".into();
    gallery.upsert(&[changed.clone()]).unwrap();
    assert!(!has(&points[250].payload.blake3));
    assert_eq!(
        gallery.with_content(&["another"]).unwrap()["another"],
        changed
    );
}

fn stub(point: &Point) -> Stub {
    let payload = point.payload.clone();
    Stub {
        id: point.id,
        key: payload.key,
        blake3: payload.blake3,
        bytes: payload.bytes,
        modified: payload.modified,
    }
}

pub fn a_source_is_listed_without_codes(factory: Factory) {
    let points = two_sources();
    let subject = filled(factory, Metric::Euclidean, &points);
    let gallery = &*subject.gallery;
    for source in ["samples", "cats and dogs", "no such source"] {
        let mut expected: Vec<_> = points
            .iter()
            .filter(|point| point.payload.source == source)
            .map(stub)
            .collect();
        expected.sort_by_key(|stub| stub.id);
        let listed: Result<Vec<_>, _> = Stubs::new(gallery, source).collect();
        assert_eq!(listed.unwrap(), expected, "{source}");
        let of_source = Filter::of_source(source);
        assert_eq!(gallery.count(Some(&of_source)).unwrap(), expected.len());
        if let Some(after) = expected.get(9) {
            let page = gallery.stubs(source, Some(after.id), 3).unwrap();
            assert_eq!(page, expected[10..13]);
        }
    }
    assert!(gallery.stubs("samples", None, 0).unwrap().is_empty());
    let last = Some(Uuid::max());
    assert!(gallery.stubs("samples", last, 5).unwrap().is_empty());
}

pub fn many_are_deleted_at_once(factory: Factory) {
    let points = points(25_000, 2, 63);
    let subject = filled(factory, Metric::Euclidean, &points);
    let gallery = &*subject.gallery;
    let mut gone: Vec<_> = points[..24_990].iter().map(|point| point.id).collect();
    gone.extend_from_within(..100);
    gone.push(Uuid::nil());
    assert_eq!(gallery.delete(&gone).unwrap(), 24_990);
    let mut left: Vec<_> = points[24_990..].iter().map(stub).collect();
    left.sort_by_key(|stub| stub.id);
    let listed: Result<Vec<_>, _> = Stubs::new(gallery, "samples").collect();
    assert_eq!(listed.unwrap(), left);
    assert_eq!(gallery.delete(&gone).unwrap(), 0);
}

/// How many points the test below measures with; the figures in the documentation are for 100000.
fn size() -> usize {
    let asked = std::env::var("LOOKALIKE_TEST_POINTS").ok();
    asked.map_or(15_000, |points| points.parse().unwrap())
}

/// Looking up a content does not read every payload, as a filter on a field without an index does.
#[test]
fn looking_up_a_content_is_quick() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let points = points(size(), 4, 64);
    let gallery = EmbeddedGallery::create(path, Metric::Euclidean, 4, b"").unwrap();
    gallery.upsert(&points).unwrap();
    let step = points.len() / 100;
    let hashes: Vec<_> = points.iter().step_by(step).take(100).collect();
    let hashes: Vec<_> = hashes.iter().map(|p| p.payload.blake3.as_str()).collect();
    let timed = |what: &dyn Fn()| {
        let start = Instant::now();
        what();
        start.elapsed()
    };
    let measure = |state: &str| {
        let lookups = timed(&|| {
            assert_eq!(gallery.with_content(&hashes).unwrap().len(), 100);
        });
        let without_index: Filter = "key=17".parse().unwrap();
        let scan = timed(&|| assert_eq!(gallery.count(Some(&without_index)).unwrap(), 1));
        let by_source = Filter::of_source("samples");
        let count = timed(&|| {
            assert_eq!(gallery.count(Some(&by_source)).unwrap(), points.len());
        });
        let list = timed(&|| assert_eq!(Stubs::new(&gallery, "samples").count(), points.len()));
        println!(
            "{state}, {} points: 100 lookups {lookups:?}, one filter without an index {scan:?}, \
             counting a source {count:?}, listing it {list:?}",
            points.len()
        );
        assert!(lookups / 100 * 10 < scan, "{lookups:?} against {scan:?}");
        assert!(lookups < Duration::from_secs(5));
    };
    measure("before the index");
    assert!(gallery.optimise().unwrap());
    measure("after");
}
