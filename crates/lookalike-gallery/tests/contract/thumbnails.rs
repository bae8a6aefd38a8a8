//! What an embedded gallery promises of thumbnails beyond the contract.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use lookalike_gallery::{CodeSpec, EmbeddedGallery, Gallery, GalleryError, GalleryOptions, Point};
use lookalike_neighbours::Metric;

use crate::crash::{Kill, REPORT, ROUND, SmallDisk, run_test};
use crate::place::folder;
use crate::suite::samples::{Random, point};
use crate::suite::thumbnails::{get, put, thumbnail};

const FOLDER: &str = "LOOKALIKE_TEST_KILLED_THUMBNAILS";
const BATCHES: usize = 40;
const BATCH: usize = 250;

fn batch(number: usize) -> Vec<Point> {
    let numbers = number * BATCH..(number + 1) * BATCH;
    numbers.map(|i| point(i, vec![i as f32, 1.0])).collect()
}

fn open(path: &Path) -> EmbeddedGallery {
    EmbeddedGallery::open_or_create(
        path,
        &CodeSpec::new(Metric::Euclidean, 2, b"model"),
        &GalleryOptions::new(),
    )
    .unwrap()
}

/// Not a test of its own: the process that gets killed. It says what it has been told is done.
/// Every round deletes some points, so that thumbnails are also being copied when it is killed.
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
    // Per batch whether its points were reported stored and, since, not deleted. Of one that was
    // put and not stored, the next process may drop the thumbnails.
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
fn a_thumbnail_that_was_there_when_it_was_put_outlasts_the_next_sweep() {
    let folder = folder();
    let gallery = open(&folder.path().join("test.gallery"));
    let points = batch(0);
    put(&gallery, &points).unwrap();
    gallery.upsert(&points).unwrap();
    let ids: Vec<_> = points.iter().map(|point| point.id).collect();
    gallery.delete(&ids).unwrap();
    // One of them comes again before its thumbnail is swept away.
    put(&gallery, &points[..1]).unwrap();
    gallery.optimise().unwrap();
    assert_eq!(get(&gallery, &points[0]), Some(thumbnail(&points[0])));
    assert_eq!(get(&gallery, &points[1]), None);
    gallery.upsert(&points[..1]).unwrap();
    gallery.optimise().unwrap();
    assert_eq!(get(&gallery, &points[0]), Some(thumbnail(&points[0])));
    // And when its point goes for good, so does it.
    gallery.delete(&ids[..1]).unwrap();
    gallery.optimise().unwrap();
    assert_eq!(get(&gallery, &points[0]), None);
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
