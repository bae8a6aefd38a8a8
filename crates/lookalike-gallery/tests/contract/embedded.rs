//! The contract, on the embedded gallery, and on one that was closed and opened again.

use lookalike_gallery::{
    CodeSpec, DiffusionState, EmbeddedGallery, Gallery, GalleryError, GalleryOptions, SearchRequest,
};
use lookalike_neighbours::{DiffusionConfig, Metric};

use crate::place::folder;
use crate::suite::samples::points;
use crate::suite::{self, MODEL, Subject, with_cases};

fn fresh(metric: Metric, dims: usize) -> Subject {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let gallery = EmbeddedGallery::create(
        path,
        &CodeSpec::new(metric, dims, MODEL),
        &GalleryOptions::new(),
    )
    .unwrap();
    Subject {
        gallery: Box::new(gallery),
        _keep: Box::new(folder),
    }
}

macro_rules! tests {
    ($($case:ident),*) => {
        $(
            #[test]
            fn $case() {
                suite::$case(fresh);
            }
        )*
    };
}
with_cases!(tests);

macro_rules! diffusing_tests {
    ($($case:ident),*) => {
        $(
            #[test]
            fn $case() {
                crate::diffusing::$case(fresh);
            }
        )*
    };
}
diffusing_tests!(
    diffusion_needs_its_graph,
    diffusion_follows_the_chain,
    diffusion_respects_the_request,
    changes_make_the_graph_stale,
    an_empty_gallery_diffuses
);

#[test]
fn all_is_there_after_opening_again() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let points = points(300, 8, 21);
    let gallery = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Cosine, 8, MODEL),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.upsert(&points).unwrap();
    gallery
        .build_diffusion(&DiffusionConfig::default())
        .unwrap();
    let request = SearchRequest::new(points[0].code.clone(), 30);
    let before = gallery.search(&request).unwrap();
    let info = gallery.describe().unwrap();
    drop(gallery);
    for _ in 0..3 {
        let gallery = EmbeddedGallery::open(&path).unwrap();
        assert_eq!(gallery.search(&request).unwrap(), before);
        assert_eq!(gallery.describe().unwrap(), info);
        assert_eq!(info.diffusion, DiffusionState::Fresh);
    }
    let gallery = EmbeddedGallery::open_or_create(
        &path,
        &CodeSpec::new(Metric::Cosine, 8, MODEL),
        &GalleryOptions::new(),
    )
    .unwrap();
    assert_eq!(gallery.upsert(&points).unwrap().unchanged, 300);
}

#[test]
fn nothing_is_overwritten() {
    let folder = folder();
    let path = folder.path().join("deep/er/test.gallery");
    drop(
        EmbeddedGallery::create(
            &path,
            &CodeSpec::new(Metric::Cosine, 8, MODEL),
            &GalleryOptions::new(),
        )
        .unwrap(),
    );
    let error = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Cosine, 8, MODEL),
        &GalleryOptions::new(),
    )
    .unwrap_err();
    assert!(
        matches!(error, GalleryError::AlreadyExists { .. }),
        "{error}"
    );
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let error = EmbeddedGallery::create(
        &file,
        &CodeSpec::new(Metric::Cosine, 8, MODEL),
        &GalleryOptions::new(),
    )
    .unwrap_err();
    assert!(
        matches!(error, GalleryError::AlreadyExists { .. }),
        "{error}"
    );
    let error = EmbeddedGallery::create(
        folder.path().join("new"),
        &CodeSpec::new(Metric::Dot, 0, MODEL),
        &GalleryOptions::new(),
    );
    assert!(matches!(error.unwrap_err(), GalleryError::BadRequest(_)));
    // Nothing is left beside it either.
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
    assert_eq!(names.count(), 1);
}

#[test]
fn a_gallery_for_something_else_is_refused() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    drop(
        EmbeddedGallery::create(
            &path,
            &CodeSpec::new(Metric::Cosine, 8, MODEL),
            &GalleryOptions::new(),
        )
        .unwrap(),
    );
    let error = EmbeddedGallery::open_or_create(
        &path,
        &CodeSpec::new(Metric::Dot, 9, b"other"),
        &GalleryOptions::new().metric(Metric::Dot),
    )
    .unwrap_err();
    let message = error.to_string();
    for part in ["cosine", "dot", "is 8", "is 9"] {
        assert!(message.contains(part), "{message}");
    }
    for model in [MODEL, b"other"] {
        let fingerprint = lookalike_gallery::model_fingerprint(model);
        assert!(message.contains(&fingerprint), "{message}");
    }
}

#[test]
fn an_index_is_built_and_kept_and_grows() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let points = points(12_000, 8, 22);
    let gallery = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Cosine, 8, MODEL),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.upsert(&points[..1_000]).unwrap();
    assert!(
        !gallery.optimise().unwrap(),
        "small galleries need no index"
    );
    gallery.upsert(&points[..11_500]).unwrap();
    assert!(gallery.optimise().unwrap());
    assert!(!gallery.optimise().unwrap(), "nothing is left to do");
    let info = gallery.describe().unwrap();
    assert_eq!((info.points, info.indexed), (11_500, 11_500));
    let request = SearchRequest::new(points[0].code.clone(), 5);
    assert!(!gallery.search(&request).unwrap().exact);
    // Points beside the index, and points replaced within it.
    gallery.upsert(&points).unwrap();
    let mut changed = points[..100].to_vec();
    for point in &mut changed {
        point.payload.label = Some("changed".into());
    }
    assert_eq!(gallery.upsert(&changed).unwrap().changed, 100);
    assert_eq!(gallery.count(None).unwrap(), 12_000);
    let changed = "label=changed".parse().unwrap();
    assert_eq!(gallery.count(Some(&changed)).unwrap(), 100);
    assert_eq!(gallery.delete(&[points[101].id]).unwrap(), 1);
    drop(gallery);
    let gallery = EmbeddedGallery::open(&path).unwrap();
    assert_eq!(gallery.count(None).unwrap(), 11_999);
    assert_eq!(gallery.count(Some(&changed)).unwrap(), 100);
    // Without those that were changed or deleted.
    assert_eq!(gallery.describe().unwrap().indexed, 11_500 - 101);
    let found = gallery.search(&request).unwrap();
    assert_eq!(found.neighbours[0].id, points[0].id);
}

#[test]
fn a_growing_gallery_is_indexed_again() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let points = points(22_000, 4, 23);
    let gallery = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Cosine, 4, MODEL),
        &GalleryOptions::new(),
    )
    .unwrap();
    let indexed = || {
        let info = gallery.describe().unwrap();
        (info.points, info.indexed)
    };
    gallery.upsert(&points[..11_500]).unwrap();
    assert_eq!(indexed(), (11_500, 0));
    assert!(gallery.optimise().unwrap());
    assert_eq!(indexed(), (11_500, 11_500));
    gallery.upsert(&points[11_500..]).unwrap();
    assert_eq!(indexed(), (22_000, 11_500));
    assert!(gallery.optimise().unwrap());
    assert_eq!(indexed(), (22_000, 22_000));
    assert!(!gallery.optimise().unwrap());
    // Many of them deleted, among them all that one of the indexes covers.
    let ids: Vec<_> = points[11_000..].iter().map(|p| p.id).collect();
    assert_eq!(gallery.delete(&ids).unwrap(), 11_000);
    assert_eq!(indexed(), (11_000, 11_000));
    assert!(gallery.optimise().unwrap());
    assert!(!gallery.optimise().unwrap());
    // All of them replaced: the index covers nothing of what is there.
    let mut replaced = points[..11_000].to_vec();
    replaced.iter_mut().for_each(|p| p.code.rotate_left(1));
    assert_eq!(gallery.upsert(&replaced).unwrap().changed, 11_000);
    assert_eq!(indexed().1, 0);
    assert!(gallery.optimise().unwrap());
    assert_eq!(indexed(), (11_000, 11_000));
    assert!(!gallery.optimise().unwrap());
}

#[test]
fn a_gallery_that_is_there_can_keep_its_metric() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let open = |wanted, default| {
        EmbeddedGallery::open_or_create(
            &path,
            &CodeSpec::new(default, 8, MODEL),
            &GalleryOptions::new().metric(wanted),
        )
        .map(|gallery| gallery.describe().unwrap().metric)
    };
    assert_eq!(open(None, Metric::Dot).unwrap(), Metric::Dot);
    assert_eq!(open(None, Metric::Cosine).unwrap(), Metric::Dot);
    assert_eq!(
        open(Some(Metric::Dot), Metric::Cosine).unwrap(),
        Metric::Dot
    );
    let error = open(Some(Metric::Cosine), Metric::Cosine).unwrap_err();
    assert!(matches!(error, GalleryError::Mismatch { .. }), "{error}");
    let other = folder.path().join("other.gallery");
    let made = EmbeddedGallery::open_or_create(
        other,
        &CodeSpec::new(Metric::Dot, 8, MODEL),
        &GalleryOptions::new().metric(Metric::Cosine),
    );
    assert_eq!(made.unwrap().describe().unwrap().metric, Metric::Cosine);
}

#[test]
fn filtering_by_another_metric_ends_while_points_are_added() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let points = points(24_000, 2, 24);
    let gallery = EmbeddedGallery::create(
        path,
        &CodeSpec::new(Metric::Euclidean, 2, MODEL),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.upsert(&points[..100]).unwrap();
    let request = SearchRequest {
        metric: Some(Metric::Manhattan),
        filter: Some("source=samples".parse().unwrap()),
        ..SearchRequest::new(points[0].code.clone(), 5)
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for some in points.chunks(4_000) {
                gallery.upsert(some).unwrap();
            }
        });
        while !writer.is_finished() {
            assert_eq!(gallery.search(&request).unwrap().neighbours.len(), 5);
        }
    });
    assert_eq!(gallery.search(&request).unwrap().neighbours.len(), 5);
}
