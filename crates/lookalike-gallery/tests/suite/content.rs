//! The part of the contract that is about finding points without their codes.

use lookalike_gallery::{Filter, Payload, Point, Stub, Stubs};
use lookalike_neighbours::Metric;
use uuid::Uuid;

use super::samples::points;
use super::{DIMS, Factory, filled};

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
