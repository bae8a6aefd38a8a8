//! How quickly an embedded gallery finds points without their codes.

use std::time::{Duration, Instant};

use lookalike_gallery::{CodeSpec, EmbeddedGallery, Filter, Gallery, GalleryOptions, Stubs};
use lookalike_neighbours::Metric;

use crate::place::folder;
use crate::suite::samples::points;

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
    let gallery = EmbeddedGallery::create(
        path,
        &CodeSpec::new(Metric::Euclidean, 4, b""),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.upsert(&points).unwrap();
    let step = points.len() / 100;
    let hashes: Vec<_> = points.iter().step_by(step).take(100).collect();
    let hashes: Vec<_> = hashes.iter().map(|p| p.payload.blake3.as_str()).collect();
    // The best of some: whatever else the machine does only adds to it.
    let timed = |what: &dyn Fn()| {
        let once = |_| {
            let start = Instant::now();
            what();
            start.elapsed()
        };
        (0..5).map(once).min().unwrap()
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
