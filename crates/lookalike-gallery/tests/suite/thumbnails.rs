//! The part of the contract that is about thumbnails.

use lookalike_gallery::{Gallery, GalleryError, Point};
use lookalike_neighbours::Metric;

use super::samples::{Random, points};
use super::{DIMS, Factory, Subject, filled};

/// The thumbnail of a point: some bytes that only it has.
pub fn thumbnail(point: &Point) -> Vec<u8> {
    let number: u64 = point.payload.key.parse().unwrap();
    let mut random = Random(number);
    (0..number % 400).map(|_| random.next() as u8).collect()
}

pub fn put(gallery: &dyn Gallery, points: &[Point]) -> Result<(), GalleryError> {
    let bytes: Vec<_> = points.iter().map(thumbnail).collect();
    let hashes = points.iter().map(|point| point.payload.blake3.as_str());
    let pairs: Vec<_> = hashes.zip(bytes.iter().map(Vec::as_slice)).collect();
    gallery.put_thumbnails(&pairs)
}

pub fn get(gallery: &dyn Gallery, point: &Point) -> Option<Vec<u8>> {
    gallery.thumbnail(&point.payload.blake3).unwrap()
}

fn subject(factory: Factory) -> Subject {
    factory(Metric::Euclidean, DIMS)
}

pub fn thumbnails_are_kept(factory: Factory) {
    let subject = subject(factory);
    let gallery = &*subject.gallery;
    let points = points(300, DIMS, 71);
    assert_eq!(get(gallery, &points[7]), None);
    gallery.put_thumbnails(&[]).unwrap();
    put(gallery, &points[..200]).unwrap();
    put(gallery, &points[100..]).unwrap();
    for point in &points {
        assert_eq!(get(gallery, point), Some(thumbnail(point)));
    }
    // Many at a time as one by one; what is no content, or has none, is left out.
    let mut hashes: Vec<_> = points.iter().map(|p| p.payload.blake3.as_str()).collect();
    hashes.extend(["", "12", "no hash", hashes[7]]);
    let none = "ef".repeat(32);
    hashes.push(&none);
    let expected = points
        .iter()
        .map(|p| (p.payload.blake3.clone(), thumbnail(p)));
    assert_eq!(
        gallery.thumbnails(&hashes).unwrap(),
        expected.clone().collect()
    );
    gallery.upsert(&points).unwrap();
    assert_eq!(gallery.thumbnails(&hashes).unwrap(), expected.collect());
    // The first that was put stays, also within one call.
    let hash = "ab".repeat(32);
    let twice: [(&str, &[u8]); 2] = [(&hash, b"first"), (&hash, b"second")];
    gallery.put_thumbnails(&twice).unwrap();
    gallery.put_thumbnails(&[(&hash, b"third")]).unwrap();
    assert_eq!(gallery.thumbnail(&hash).unwrap().unwrap(), b"first");
    assert_eq!(gallery.thumbnail(&"ef".repeat(32)).unwrap(), None);
}

pub fn thumbnails_go_with_the_last_point_that_needs_them(factory: Factory) {
    let mut points = points(200, DIMS, 72);
    // The last two are of one content.
    points[199].payload.blake3 = points[198].payload.blake3.clone();
    let subject = subject(factory);
    let gallery = &*subject.gallery;
    put(gallery, &points[..199]).unwrap();
    gallery.optimise().unwrap();
    let kept = |range: std::ops::Range<usize>| {
        let kept = points[range].iter().filter(|p| get(gallery, p).is_some());
        kept.count()
    };
    assert_eq!(kept(0..199), 199, "their points are about to be stored");
    gallery.upsert(&points).unwrap();
    gallery.optimise().unwrap();
    assert_eq!(kept(0..199), 199);
    let ids: Vec<_> = points.iter().map(|point| point.id).collect();
    gallery.delete(&ids[..100]).unwrap();
    gallery.delete(&ids[198..199]).unwrap();
    let mut changed = points[150].clone();
    changed.payload.blake3 = "cd".repeat(32);
    gallery
        .put_thumbnails(&[(&changed.payload.blake3, b"new")])
        .unwrap();
    gallery.upsert(std::slice::from_ref(&changed)).unwrap();
    gallery.optimise().unwrap();
    assert_eq!(kept(0..100), 0);
    assert_eq!(kept(100..150), 50);
    assert_eq!(kept(150..151), 0, "its content has changed");
    assert_eq!(kept(151..199), 48, "the last is needed by another point");
    assert_eq!(get(gallery, &changed).unwrap(), b"new");
    for point in &points[151..199] {
        assert_eq!(
            get(gallery, point),
            Some(thumbnail(point)),
            "whole after the copy"
        );
    }
    // What went can come back.
    put(gallery, &points[..100]).unwrap();
    assert_eq!(kept(0..100), 100);
}

pub fn bad_thumbnails_are_refused(factory: Factory) {
    let subject = filled(factory, Metric::Euclidean, &points(3, DIMS, 73));
    let gallery = &*subject.gallery;
    let (good, long) = ("12".repeat(32), "12".repeat(33));
    for bad in ["", "12", "../../etc/passwd", &"xy".repeat(32), &long] {
        assert_eq!(gallery.thumbnail(bad).unwrap(), None);
        let error = gallery
            .put_thumbnails(&[(&good, b"a"), (bad, b"b")])
            .unwrap_err();
        assert!(matches!(error, GalleryError::BadRequest(_)), "{error}");
        assert!(
            error.to_string().contains("64 hexadecimal digits"),
            "{error}"
        );
    }
    let huge = vec![0; (16 << 20) + 1];
    let error = gallery.put_thumbnails(&[(&good, &huge)]).unwrap_err();
    assert!(error.to_string().contains("make it smaller"), "{error}");
    assert_eq!(gallery.thumbnail(&good).unwrap(), None, "refused whole");
    gallery
        .put_thumbnails(&[(&good, &huge[1..]), (&"34".repeat(32), b"")])
        .unwrap();
    assert_eq!(gallery.thumbnail(&good).unwrap().unwrap().len(), 16 << 20);
    assert_eq!(gallery.thumbnail(&"34".repeat(32)).unwrap().unwrap(), b"");
}
