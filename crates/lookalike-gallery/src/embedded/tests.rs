//! What only shows from within: failures between the steps of a change.

use std::fs;
use std::path::PathBuf;

use lookalike_neighbours::Metric;

use super::writing::LOG_LIMIT;
use super::*;
use crate::{CodeSpec, DiffusionState, GalleryOptions, Payload};

fn points(from: usize, to: usize) -> Vec<Point> {
    let point = |i: usize| {
        let payload = Payload {
            source: "numbers".into(),
            key: i.to_string(),
            ..Payload::default()
        };
        Point::new(vec![(i % 97) as f32, (i % 89) as f32], payload)
    };
    (from..to).map(point).collect()
}

fn gallery() -> (tempfile::TempDir, PathBuf, EmbeddedGallery) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.gallery");
    let gallery = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Euclidean, 2, b"model"),
        &GalleryOptions::new(),
    )
    .unwrap();
    (folder, path, gallery)
}

#[test]
fn a_long_log_is_shortened_before_the_next_change() {
    let (_folder, path, gallery) = gallery();
    gallery.upsert(&points(0, 10)).unwrap();
    gallery.writer().logged = LOG_LIMIT + 1;
    let (log, away) = (path.join("shard/wal"), path.join("away"));
    fs::rename(&log, &away).unwrap();
    let error = gallery.upsert(&points(10, 20)).unwrap_err();
    assert!(matches!(error, GalleryError::Damaged { .. }), "{error}");
    fs::rename(&away, &log).unwrap();
    // The next change tries again, and finds everything that was reported stored.
    assert_eq!(gallery.upsert(&points(0, 20)).unwrap().added, 10);
    assert!(gallery.writer().logged < LOG_LIMIT);
    assert_eq!(gallery.delete(&[points(3, 4)[0].id]).unwrap(), 1);
    assert_eq!(gallery.count(None).unwrap(), 19);
}

#[test]
fn a_failed_index_leaves_the_gallery_open() {
    let (_folder, path, gallery) = gallery();
    gallery.upsert(&points(0, 10_000)).unwrap();
    let in_the_way = path.join("shard.previous");
    fs::write(&in_the_way, "a file where a folder should be").unwrap();
    assert!(gallery.optimise().is_err());
    assert_eq!(gallery.count(None).unwrap(), 10_000);
    gallery.upsert(&points(10_000, 10_001)).unwrap();
    fs::remove_file(&in_the_way).unwrap();
    assert!(gallery.optimise().unwrap());
    assert_eq!(gallery.describe().unwrap().indexed, 10_001);
}

/// Takes the indexes of the payloads away, as galleries of older programs have none but the
/// labels'.
fn make_old(gallery: &EmbeddedGallery) {
    let without = |shard: &Shard| {
        for name in ["source", "blake3"] {
            let delete = qdrant_edge::FieldIndexOperations::DeleteIndex(query::json_path(name));
            shard.with("testing", |edge| {
                edge.update(qdrant_edge::UpdateOperation::FieldIndexOperation(delete))
            })?;
        }
        shard.flush()
    };
    gallery.read(without).unwrap();
    assert!(gallery.read(|shard| Ok(shard.lacks_fields())).unwrap());
}

fn lacks(gallery: &EmbeddedGallery) -> bool {
    gallery.read(|shard| Ok(shard.lacks_fields())).unwrap()
}

#[test]
fn an_older_gallery_gets_the_indexes_that_it_lacks() {
    let hashed = |from: usize, to: usize| -> Vec<Point> {
        let mut points = points(from, to);
        for (i, point) in points.iter_mut().enumerate() {
            point.payload.blake3 = format!("{:064x}", from + i);
        }
        points
    };
    let found = |gallery: &EmbeddedGallery, i: usize| {
        let hash = format!("{i:064x}");
        let found = gallery.with_content(&[&hash]).unwrap();
        assert_eq!(found[&hash].payload.key, i.to_string());
        let of_source = Filter::of_source("numbers");
        gallery.count(Some(&of_source)).unwrap()
    };
    let (_folder, path, gallery) = gallery();
    gallery.upsert(&hashed(0, 500)).unwrap();
    assert!(!lacks(&gallery));
    make_old(&gallery);
    assert_eq!(found(&gallery, 77), 500, "slowly, but found");
    drop(gallery);
    // A small one when it is opened.
    let gallery = EmbeddedGallery::open(&path).unwrap();
    assert!(!lacks(&gallery));
    assert_eq!(found(&gallery, 77), 500);
    // A large one when it is next optimised, though its index is up to date.
    gallery.upsert(&hashed(500, 12_000)).unwrap();
    assert!(gallery.optimise().unwrap());
    assert!(!gallery.optimise().unwrap());
    make_old(&gallery);
    drop(gallery);
    let gallery = EmbeddedGallery::open(&path).unwrap();
    assert!(lacks(&gallery));
    assert_eq!(found(&gallery, 11_111), 12_000);
    assert!(gallery.optimise().unwrap());
    assert!(!lacks(&gallery));
    assert_eq!(found(&gallery, 11_111), 12_000);
    assert!(!gallery.optimise().unwrap());
    gallery.upsert(&hashed(12_000, 12_100)).unwrap();
    assert_eq!(found(&gallery, 12_050), 12_100);
    assert!(!lacks(&gallery), "nor does what was added since");
}

/// Every file below a folder with what is in it.
fn files(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

#[test]
fn what_cannot_be_written_is_read_by_many() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g");
    let hash = "ab".repeat(32);
    let stored: Vec<Point> = (0..20)
        .map(|number| {
            let payload = crate::Payload {
                source: "s".into(),
                key: number.to_string(),
                blake3: hash.clone(),
                ..Default::default()
            };
            Point::new(vec![number as f32, 1.0], payload)
        })
        .collect();
    let gallery = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Euclidean, 2, b"model"),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.put_thumbnails(&[(&hash, b"small")]).unwrap();
    gallery.upsert(&stored).unwrap();
    gallery
        .build_diffusion(&DiffusionConfig::default())
        .unwrap();

    let to_read = || EmbeddedGallery::open_to_read(&path, Manifest::read(&path).unwrap());
    // Not beside one that writes.
    let error = to_read().unwrap_err();
    assert!(
        matches!(
            error,
            GalleryError::InUse {
                holder: Some(_),
                ..
            }
        ),
        "{error}"
    );
    drop(gallery);

    let before = files(&path);
    let (one, two) = (to_read().unwrap(), to_read().unwrap());
    for gallery in [&one, &two] {
        assert_eq!(gallery.count(None).unwrap(), 20);
        assert_eq!(gallery.model().unwrap().unwrap(), b"model");
        assert_eq!(gallery.thumbnail(&hash).unwrap().unwrap(), b"small");
        assert_eq!(gallery.describe().unwrap().diffusion, DiffusionState::Fresh);
        let mut request = SearchRequest::new(vec![7.2, 1.0], 3);
        let key = |request: &SearchRequest| {
            gallery.search(request).unwrap().neighbours[0]
                .payload
                .key
                .clone()
        };
        assert_eq!(key(&request), "7");
        request.rerank = crate::Rerank::Diffusion;
        assert!(!key(&request).is_empty());
        let changes: [(&str, Result<(), GalleryError>); 5] = [
            (
                "upsert",
                gallery
                    .upsert(&[Point::new(vec![0.0, 0.0], stored[0].payload.clone())])
                    .map(drop),
            ),
            ("delete", gallery.delete(&[stored[0].id]).map(drop)),
            ("thumbnails", gallery.put_thumbnails(&[(&hash, b"other")])),
            ("optimise", gallery.optimise().map(drop)),
            (
                "diffusion",
                gallery.build_diffusion(&DiffusionConfig::default()),
            ),
        ];
        for (what, changed) in changes {
            let error = changed.unwrap_err();
            assert!(
                matches!(error, GalleryError::ReadOnly { .. }),
                "{what}: {error}"
            );
        }
    }
    // Who can write waits until they have finished.
    let error = EmbeddedGallery::open(&path).unwrap_err();
    assert!(matches!(error, GalleryError::InUse { .. }), "{error}");
    drop((one, two));
    assert_eq!(files(&path), before);
    assert_eq!(
        EmbeddedGallery::open(&path).unwrap().count(None).unwrap(),
        20
    );
}
