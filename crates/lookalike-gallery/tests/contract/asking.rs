//! Recommendations and counts of an embedded gallery that has an index.

use lookalike_gallery::{
    CodeSpec, EmbeddedGallery, Example, Gallery, GalleryOptions, RecommendRequest, Strategy,
};
use lookalike_neighbours::Metric;

use crate::place::folder;
use crate::suite::asking::{assert_counts, varied};
use crate::suite::ids;
use crate::suite::samples::point;

/// With an index, and with points that were deleted from it and changed within it.
#[test]
fn an_indexed_gallery_counts_and_recommends() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let mut points = varied(12_000);
    let gallery = EmbeddedGallery::create(
        path,
        &CodeSpec::new(Metric::Euclidean, 2, b""),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.set_screen_limit(0);
    gallery.upsert(&points).unwrap();
    assert!(gallery.optimise().unwrap());
    assert_counts(&gallery, &points);
    let gone: Vec<_> = points.drain(..500).map(|point| point.id).collect();
    gallery.delete(&gone).unwrap();
    for point in &mut points[..700] {
        point.payload.label = Some("changed".into());
    }
    gallery.upsert(&points).unwrap();
    assert_counts(&gallery, &points);
    for strategy in [Strategy::Average, Strategy::BestScore, Strategy::Learned] {
        let mut found = 0;
        for at in 0..50 {
            let example = |at: usize| Example::Id(points[at * 31].id);
            let request = RecommendRequest {
                unlike: vec![example(at + 5)],
                strategy,
                ..RecommendRequest::new(vec![example(at), example(at + 50)], 10)
            };
            let by_index = gallery.recommend(&request).unwrap();
            let exact = RecommendRequest {
                exact: true,
                ..request
            };
            let exact = gallery.recommend(&exact).unwrap();
            assert_eq!((by_index.exact, exact.exact), (false, true));
            found += ids(&by_index)
                .iter()
                .filter(|id| ids(&exact).contains(id))
                .count();
        }
        println!("{strategy:?}: {found} of 500 found by the index");
        assert!(found >= 475, "{strategy:?}: {found} of 500");
    }
    // What was said of a point that is not there any more.
    let request = RecommendRequest::new(vec![Example::Id(point(0, vec![0.0; 2]).id)], 1);
    assert!(gallery.recommend(&request).is_err());
}
