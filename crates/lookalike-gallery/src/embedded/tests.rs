//! What only shows from within: failures between the steps of a change.

use std::fs;
use std::path::PathBuf;

use lookalike_neighbours::Metric;

use super::*;
use crate::Payload;

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
    let gallery = EmbeddedGallery::create(&path, Metric::Euclidean, 2, b"model").unwrap();
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
