//! `kill -9` at any moment, and a full disk.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use lookalike_gallery::{
    CodeSpec, EmbeddedGallery, Gallery, GalleryError, GalleryOptions, Point, Points, SearchRequest,
};
use lookalike_neighbours::Metric;

use crate::place::folder;
use crate::suite::samples::{Random, point, points};

const FOLDER: &str = "LOOKALIKE_TEST_KILLED_GALLERY";
pub const ROUND: &str = "LOOKALIKE_TEST_KILLED_ROUND";
/// Before each line that counts: the test harness prints lines of its own.
pub const REPORT: &str = "report: ";
const KILLS: usize = 26;
const BATCHES: usize = 11;
const BATCH: usize = 1_000;
const DIMS: usize = 6;

fn open(path: &Path) -> EmbeddedGallery {
    EmbeddedGallery::open_or_create(
        path,
        &CodeSpec::new(Metric::Cosine, DIMS, b"model"),
        &GalleryOptions::new(),
    )
    .unwrap()
}

/// A batch of points as a round writes it: every round changes every point, code and payload.
fn batch(number: usize, round: usize) -> Vec<Point> {
    (number * BATCH..(number + 1) * BATCH)
        .map(|i| {
            let mut point = point(i, Random((i * 1_000 + round) as u64).code(DIMS));
            point.payload.label = Some(round.to_string());
            point
        })
        .collect()
}

/// Not a test of its own: the process that gets killed. It says what it has been told is done.
#[test]
fn indexing_until_killed() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else {
        return;
    };
    let gallery = open(Path::new(&folder));
    println!("\n{REPORT}opened");
    for number in 0..BATCHES {
        gallery
            .upsert(&batch(number, round.parse().unwrap()))
            .unwrap();
        println!("\n{REPORT}stored {number}");
    }
    gallery.optimise().unwrap();
    println!("\n{REPORT}finished");
}

/// When to kill the process: so many reports of its, and a little later.
pub struct Kill {
    pub reports: usize,
    pub later: Duration,
}

/// Runs the process above; see [`run_test`].
fn run(folder: &Path, round: usize, kill: Option<Kill>) -> Vec<String> {
    run_test("crash::indexing_until_killed", FOLDER, folder, round, kill)
}

/// Runs a test in a process of its own, told the folder and the round by variables, until it is
/// killed or, without a kill, to its end; gives what it reported.
pub fn run_test(
    test: &str,
    variable: &str,
    folder: &Path,
    round: usize,
    kill: Option<Kill>,
) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let reports = lines
            .map_while(Result::ok)
            .filter_map(|line| Some(line.strip_prefix(REPORT)?.to_string()));
        // The receiver only counts, and only until it has enough.
        reports
            .inspect(|_| {
                let _ = sender.send(());
            })
            .collect::<Vec<_>>()
    });
    match kill {
        Some(kill) => {
            assert_eq!(receiver.iter().take(kill.reports).count(), kill.reports);
            std::thread::sleep(kill.later);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        None => assert!(child.wait().unwrap().success()),
    }
    reader.join().unwrap()
}

#[test]
fn nothing_is_lost_or_doubled_by_kill_9() {
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let mut random = Random(41);
    // Per batch the last round that was reported stored.
    let mut reported: HashMap<usize, usize> = HashMap::new();
    for round in 0..KILLS {
        // From before the gallery is open (or made) to while the index is built.
        let kill = Kill {
            reports: round % (BATCHES + 2),
            later: Duration::from_micros(random.next() % 60_000),
        };
        let reports = run(&path, round, Some(kill));
        let stored = reports
            .iter()
            .filter_map(|report| report.strip_prefix("stored "));
        reported.extend(stored.map(|number| (number.parse().unwrap(), round)));
        let gallery = open(&path);
        let mut seen: HashMap<String, (usize, Vec<f32>)> = HashMap::new();
        for point in Points::new(&gallery, None) {
            let point = point.unwrap();
            let label = point.payload.label.unwrap().parse().unwrap();
            let twice = seen.insert(point.payload.key, (label, point.code));
            assert!(twice.is_none(), "round {round}: a point is doubled");
        }
        assert_eq!(gallery.count(None).unwrap(), seen.len(), "round {round}");
        for number in 0..BATCHES {
            let Some(&since) = reported.get(&number) else {
                continue;
            };
            for point in batch(number, since) {
                let (label, code) = seen.get(&point.payload.key).expect("a point was lost");
                assert!(
                    (since..=round).contains(label),
                    "round {round}: an old payload"
                );
                if since == round {
                    assert_eq!(*code, point.code, "round {round}: an old code");
                }
            }
        }
        let answer = gallery
            .search(&SearchRequest::new(vec![1.0; DIMS], 20))
            .unwrap();
        assert_eq!(answer.neighbours.len(), seen.len().min(20));
    }
    assert_eq!(reported.len(), BATCHES);
    let reports = run(&path, KILLS, None);
    assert_eq!(reports.len(), BATCHES + 2);
    let gallery = open(&path);
    assert_eq!(gallery.count(None).unwrap(), BATCHES * BATCH);
    for number in 0..BATCHES {
        let expected = batch(number, KILLS);
        let ids: Vec<_> = expected.iter().map(|point| point.id).collect();
        assert_eq!(gallery.retrieve(&ids).unwrap(), expected);
    }
    drop(gallery);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "something is left behind: {names:?}");
}

/// A file system of 112 MiB, taken away again when dropped.
pub struct SmallDisk(pub tempfile::TempDir);

impl SmallDisk {
    pub fn mount() -> Option<Self> {
        let folder = folder();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=112m", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_the_gallery_still_opens() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: a small file system cannot be mounted here (needs root)");
        return;
    };
    let path = disk.0.path().join("test.gallery");
    let points = points(60_000, 128, 42);
    let gallery = EmbeddedGallery::create(
        &path,
        &CodeSpec::new(Metric::Cosine, 128, b"model"),
        &GalleryOptions::new(),
    )
    .unwrap();
    let mut stored = 0;
    let error = loop {
        match gallery.upsert(&points[stored..stored + 1_000]) {
            Ok(_) => stored += 1_000,
            Err(error) => break error,
        }
    };
    assert!(stored >= 1_000, "{error}");
    assert!(matches!(error, GalleryError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("make room"), "{error}");
    let request = SearchRequest::new(points[7].code.clone(), 5);
    let before = gallery.search(&request).unwrap();
    drop(gallery);
    let open = EmbeddedGallery::open(&path).unwrap();
    assert_eq!(open.count(None).unwrap(), stored);
    assert_eq!(open.search(&request).unwrap(), before);
    drop(open);
    // Now to the last byte.
    let filler = disk.0.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write(&[1; 4_096]).is_ok_and(|written| written > 0) {}
    drop(file);
    let error = EmbeddedGallery::open(&path).unwrap_err();
    assert!(matches!(error, GalleryError::DiskFull { .. }), "{error}");
    let error = EmbeddedGallery::create(
        disk.0.path().join("b"),
        &CodeSpec::new(Metric::Dot, 2, b""),
        &GalleryOptions::new(),
    )
    .unwrap_err();
    assert!(matches!(error, GalleryError::DiskFull { .. }), "{error}");
    std::fs::remove_file(&filler).unwrap();
    let gallery = EmbeddedGallery::open(&path).unwrap();
    assert_eq!(gallery.count(None).unwrap(), stored);
    assert_eq!(gallery.upsert(&points[..stored]).unwrap().unchanged, stored);
}
