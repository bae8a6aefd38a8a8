//! The part of the contract that is about thumbnails, and what the embedded gallery promises of them.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use lookalike_gallery::{EmbeddedGallery, Gallery, GalleryError, Point};
use lookalike_neighbours::Metric;

use crate::crash::{Kill, REPORT, ROUND, SmallDisk, run_test};
use crate::samples::{Random, folder, point, points};
use crate::suite::{DIMS, Factory, Subject, filled};

/// The thumbnail of a point: some bytes that only it has.
fn thumbnail(point: &Point) -> Vec<u8> {
    let number: u64 = point.payload.key.parse().unwrap();
    let mut random = Random(number);
    (0..number % 400).map(|_| random.next() as u8).collect()
}

fn put(gallery: &dyn Gallery, points: &[Point]) -> Result<(), GalleryError> {
    let bytes: Vec<_> = points.iter().map(thumbnail).collect();
    let hashes = points.iter().map(|point| point.payload.blake3.as_str());
    let pairs: Vec<_> = hashes.zip(bytes.iter().map(Vec::as_slice)).collect();
    gallery.put_thumbnails(&pairs)
}

fn get(gallery: &dyn Gallery, point: &Point) -> Option<Vec<u8>> {
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
    assert!(gallery.optimise().unwrap());
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

const FOLDER: &str = "LOOKALIKE_TEST_KILLED_THUMBNAILS";
const BATCHES: usize = 40;
const BATCH: usize = 250;

fn batch(number: usize) -> Vec<Point> {
    let numbers = number * BATCH..(number + 1) * BATCH;
    numbers.map(|i| point(i, vec![i as f32, 1.0])).collect()
}

fn open(path: &Path) -> EmbeddedGallery {
    EmbeddedGallery::open_or_create(path, Metric::Euclidean, 2, b"model").unwrap()
}

/// Not a test of its own: the process that gets killed. It says what it has been told is done. Every
/// round deletes some points, so that thumbnails are also being copied when it is killed.
#[test]
fn putting_until_killed() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else {
        return;
    };
    let round: usize = round.parse().unwrap();
    let gallery = open(Path::new(&folder));
    println!("\n{REPORT}opened");
    for number in 0..BATCHES {
        let points = batch(number);
        put(&gallery, &points).unwrap();
        println!("\n{REPORT}put {number}");
        gallery.upsert(&points).unwrap();
        println!("\n{REPORT}stored {number}");
        if number % 8 == round % 8 {
            let ids: Vec<_> = points.iter().map(|point| point.id).collect();
            gallery.delete(&ids).unwrap();
            gallery.optimise().unwrap();
            println!("\n{REPORT}swept {number}");
        }
    }
    println!("\n{REPORT}finished");
}

#[test]
fn no_thumbnail_is_lost_by_kill_9() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let mut random = Random(74);
    // Per batch whether its points were reported stored and, since, not deleted. Of one that was put and
    // not stored, the next process may drop the thumbnails.
    let mut kept: HashMap<usize, bool> = HashMap::new();
    for round in 0..20 {
        let kill = Kill {
            reports: (random.next() % (2 * BATCHES as u64 + 5)) as usize,
            later: Duration::from_micros(random.next() % 8_000),
        };
        let test = "thumbnails::putting_until_killed";
        let reports = run_test(test, FOLDER, &path, round, Some(kill));
        // One that was about to be deleted may be there or not.
        (0..BATCHES)
            .filter(|number| number % 8 == round % 8)
            .for_each(|number| {
                kept.insert(number, false);
            });
        for report in &reports {
            if let Some(number) = report.strip_prefix("stored ") {
                let number = number.parse::<usize>().unwrap();
                kept.insert(number, number % 8 != round % 8);
            }
        }
        let gallery = open(&path);
        for number in 0..BATCHES {
            for point in batch(number) {
                match get(&gallery, &point) {
                    Some(found) => assert_eq!(found, thumbnail(&point), "round {round}"),
                    None => assert_ne!(kept.get(&number), Some(&true), "round {round}: lost"),
                }
            }
        }
    }
    // And all is well when nobody is killed any more.
    let gallery = open(&path);
    for number in 0..BATCHES {
        put(&gallery, &batch(number)).unwrap();
        gallery.upsert(&batch(number)).unwrap();
    }
    gallery.optimise().unwrap();
    drop(gallery);
    let gallery = open(&path);
    for point in (0..BATCHES).flat_map(batch) {
        assert_eq!(get(&gallery, &point), Some(thumbnail(&point)));
    }
}

#[test]
fn a_full_disk_is_an_error_and_thumbnails_stay() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: a small file system cannot be mounted here (needs root)");
        return;
    };
    let path = disk.0.path().join("test.gallery");
    let gallery = open(&path);
    let bytes = |number: usize| vec![number as u8; 1 << 20];
    let hash = |number: usize| format!("{number:064x}");
    let mut stored = 0;
    let error = loop {
        match gallery.put_thumbnails(&[(&hash(stored), &bytes(stored))]) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(stored > 5, "{stored}: {error}");
    assert!(matches!(error, GalleryError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("storing thumbnails"), "{error}");
    drop(gallery);
    let gallery = open(&path);
    for number in 0..stored {
        assert_eq!(
            gallery.thumbnail(&hash(number)).unwrap(),
            Some(bytes(number))
        );
    }
    assert_eq!(gallery.thumbnail(&hash(stored)).unwrap(), None);
}
