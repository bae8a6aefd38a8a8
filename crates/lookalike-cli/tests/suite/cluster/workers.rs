//! Workers that fill one collection, and what becomes of them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use lookalike_testing::{Faults, Proxy, Qdrant};
use serde_json::Value;

use crate::cluster::support::{Owned, becomes, contents, count, fails, on, place_with_photos};
use crate::common::stderr;

#[test]
fn workers_side_by_side_make_what_one_would() {
    const IMAGES: u64 = 300;
    const WORKERS: usize = 4;
    let (place, server) = (place_with_photos(IMAGES as usize), Qdrant::start());
    let gallery = on(server.address(), "photos");
    let line = |part| format!("index photos --part {part}/{WORKERS} --model m --gallery {gallery}");
    // None has made the collection: who comes first does.
    let workers: Vec<_> = (1..=WORKERS)
        .map(|part| {
            let mut command = place.command(&format!("{} --json", line(part)));
            let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut images = 0;
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            count(&report, "added"),
            count(&report, "images"),
            "{report}"
        );
        assert_eq!(count(&report, "not_stored"), 0);
        assert!(count(&report, "images") > 20, "{report}");
        images += count(&report, "images");
    }
    assert_eq!(images, IMAGES);

    place.json("index photos --model m --gallery whole --no-diffusion");
    let whole = contents(&place, "whole");
    assert_eq!(whole.len() as u64, IMAGES);
    assert!(whole.values().all(|(_, _, thumbnail)| thumbnail.is_some()));
    assert_eq!(contents(&place, &gallery), whole);
    let made = server.collection("photos").unwrap();
    assert_eq!(made.points().len() as u64, IMAGES);
    for field in ["source", "label", "blake3", "key", "location", "width"] {
        assert!(made.indexes().contains_key(field), "{field}");
    }

    // What is there is passed over.
    for part in 1..=WORKERS {
        let upserts = server.requests_of("Points/Upsert");
        let report = place.json(&line(part));
        assert_eq!(count(&report, "unchanged"), count(&report, "images"));
        assert_eq!(count(&report, "encoded"), 0);
        assert_eq!(count(&report, "points"), IMAGES);
        assert_eq!(server.requests_of("Points/Upsert"), upserts);
    }
}

#[test]
fn contents_are_looked_up_many_at_a_time() {
    const IMAGES: u64 = 300;
    let (place, server) = (place_with_photos(IMAGES as usize), Qdrant::start());
    let gallery = on(server.address(), "photos");
    let half = place.json(&format!(
        "index photos --part 1/2 --model m --gallery {gallery}"
    ));
    let known = count(&half, "added");
    fs::rename(place.path("photos"), place.path("moved")).unwrap();
    let before: u64 = server.requests().iter().map(|(_, count)| count).sum();
    let report = place.json(&format!("index moved --model m --gallery {gallery}"));
    let after: u64 = server.requests().iter().map(|(_, count)| count).sum();
    assert_eq!(count(&report, "added"), IMAGES);
    assert_eq!(count(&report, "encoded"), IMAGES - known);
    assert!(
        after - before < IMAGES / 5,
        "{} requests: {:?}",
        after - before,
        server.requests()
    );

    // With the same codes and thumbnails as if nothing had been known.
    place.json("index moved --model m --gallery whole --no-diffusion");
    let mut stored = contents(&place, &gallery);
    let whole = contents(&place, "whole");
    stored.retain(|key, _| whole.contains_key(key));
    assert_eq!(stored, whole);
}

#[test]
fn a_worker_that_is_killed_is_started_again() {
    const IMAGES: usize = 1600;
    let (place, server) = (place_with_photos(IMAGES), Qdrant::start());
    // Slow enough to be killed on the way.
    let slow = Faults {
        delay: 1.0,
        max_delay: Duration::from_millis(300),
        ..Faults::none()
    };
    let proxy = Proxy::start(server.address(), slow.only(&["Points/Upsert"]));
    let gallery = on(proxy.address(), "photos");
    let stored = || {
        let collection = server.collection("photos");
        collection.map_or_else(BTreeSet::new, |collection| {
            collection.points().keys().copied().collect()
        })
    };
    let mut killed = 0;
    for part in 1..=2 {
        let line = format!("index photos --part {part}/2 --model m --gallery {gallery}");
        for _ in 0..20 {
            let before = stored();
            let mut worker = Owned::silent(&place, &line);
            assert!(becomes(
                || worker.has_ended() || stored().len() > before.len()
            ));
            let ended = worker.has_ended();
            drop(worker);
            assert!(stored().is_superset(&before), "something is lost");
            if ended {
                break;
            }
            killed += 1;
        }
        // A part that is done is done.
        let report = place.json(&line);
        assert_eq!(count(&report, "unchanged"), count(&report, "images"));
        assert_eq!(count(&report, "encoded"), 0);
    }
    assert!(killed >= 4, "only {killed} were killed on their way");
    assert_eq!(stored().len(), IMAGES);
    place.json("index photos --model m --gallery whole --no-diffusion");
    assert_eq!(contents(&place, &gallery), contents(&place, "whole"));
}

#[test]
fn a_collection_that_was_half_made_is_completed() {
    let (place, server) = (place_with_photos(20), Qdrant::start());
    let down = Faults {
        refuse: 1.0,
        ..Faults::none()
    };
    let proxy = Proxy::start(server.address(), down.only(&["Points/CreateFieldIndex"]));
    let gallery = on(proxy.address(), "photos");
    let line = format!("index photos --model m --gallery {gallery}");
    let worker = Owned::silent(&place, &line);
    assert!(becomes(|| server.collection("photos").is_some()));
    drop(worker);
    assert!(server.collection("photos").unwrap().indexes().is_empty());
    proxy.set(Faults::none());
    place.json(&line);
    let indexes = server.collection("photos").unwrap().indexes();
    assert!(
        indexes.contains_key("label") && indexes.contains_key("blake3"),
        "{indexes:?}"
    );
}

#[test]
fn what_is_not_taken_is_listed_and_stored_by_the_next_run() {
    const IMAGES: u64 = 60;
    let (place, server) = (place_with_photos(IMAGES as usize), Qdrant::start());
    let odd: Vec<String> = [0, 1, 2].map(|i| format!("odd-{i}.png")).into();
    for (i, name) in odd.iter().enumerate() {
        let picture = crate::cluster::support::png(100 + i);
        fs::write(place.path("photos").join(name), picture).unwrap();
    }
    let proxy = Proxy::start(
        server.address(),
        Faults::poison("odd-").only(&["Points/Upsert"]),
    );
    let gallery = on(proxy.address(), "photos");
    let line = format!("index photos --model m --gallery {gallery} --skipped list.jsonl");
    let output = place.run(&format!("{line} --json"));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("3 not-stored") && said.contains("list.jsonl"),
        "{said}"
    );
    // What was done is said all the same.
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        ["images", "added", "not_stored", "skipped", "unchanged"]
            .map(|field| count(&report, field)),
        [IMAGES + 3, IMAGES, 3, 3, 0]
    );
    let list = fs::read_to_string(place.path("list.jsonl")).unwrap();
    let mut listed = Vec::new();
    for line in list.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["kind"], "not-stored");
        let key = line["key"].as_str().unwrap();
        assert!(line["location"].as_str().unwrap().ends_with(key), "{line}");
        assert!(line["reason"].as_str().unwrap().len() > 10, "{line}");
        listed.push(key.to_owned());
    }
    listed.sort();
    assert_eq!(listed, odd);
    let made = server.collection("photos").unwrap();
    assert_eq!(made.points().len() as u64, IMAGES);

    // Again without the fault.
    proxy.set(Faults::none());
    let report = place.json(&line);
    assert_eq!(
        ["added", "encoded", "unchanged", "not_stored", "points"]
            .map(|field| count(&report, field)),
        [3, 3, IMAGES, 0, IMAGES + 3]
    );
    assert_eq!(fs::read_to_string(place.path("list.jsonl")).unwrap(), "");
    place.json("index photos --model m --gallery whole --no-diffusion");
    assert_eq!(contents(&place, &gallery), contents(&place, "whole"));
}

#[test]
fn a_cluster_that_is_gone_ends_the_run_and_nothing_is_lost() {
    const IMAGES: usize = 1600;
    let (place, mut server) = (place_with_photos(IMAGES), Qdrant::start());
    let slow = Faults {
        delay: 1.0,
        max_delay: Duration::from_millis(300),
        ..Faults::none()
    };
    let proxy = Proxy::start(server.address(), slow.only(&["Points/Upsert"]));
    let gallery = on(proxy.address(), "photos");
    let line = format!("index photos --model m --gallery {gallery} --skipped list.jsonl");
    let mut command = place.command(&line);
    let worker = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let worker = worker.spawn().unwrap();
    let stored = |server: &Qdrant| {
        let collection = server.collection("photos");
        collection.map_or(0, |collection| collection.points().len())
    };
    assert!(becomes(|| stored(&server) > 0));
    server.stop();
    let there = stored(&server);
    let output = worker.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("could not be reached"), "{said}");
    assert!((1..IMAGES).contains(&there));
    server.start_again();
    assert_eq!(stored(&server), there);
    proxy.set(Faults::none());
    sleep(Duration::from_millis(10));
    let report = place.json(&line);
    assert_eq!(count(&report, "unchanged"), there as u64);
    assert_eq!(count(&report, "points"), IMAGES as u64);
    // To a cluster that is gone from the start.
    server.stop();
    let said = fails(&place, &line);
    assert!(
        said.contains("could not be reached") && said.contains(&gallery),
        "{said}"
    );
}
