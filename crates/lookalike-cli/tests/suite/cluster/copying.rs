//! `lookalike gallery copy`, both ways, stopped and gone on with.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lookalike::gallery::{Payload, Point};
use lookalike_testing::Qdrant;
use serde_json::Value;

use crate::cluster::support::{
    Owned, contents, count, fails, model, neighbours, on, open_in, place_with_digits,
    place_with_photos,
};
use crate::common::{Workplace, stderr};

/// The answers of a gallery to each photo of another place.
fn answers(
    place: &Workplace,
    asking: &Workplace,
    gallery: &str,
    more: &str,
) -> Vec<Vec<(String, f64)>> {
    let queries = asking.path("photos").display().to_string();
    let line = format!("search {queries} --gallery {gallery} --model m -k 10 {more} --json");
    let output = place.run(&line);
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let answers = text.lines().map(|line| {
        let answer: Value = serde_json::from_str(line).unwrap();
        neighbours(&answer)
    });
    answers.collect()
}

fn checksum(report: &Value) -> String {
    let checksum = report["checksum"].as_str().unwrap();
    assert_eq!(checksum.len(), 64, "{report}");
    checksum.to_owned()
}

#[test]
fn a_gallery_goes_to_a_cluster_and_back() {
    const IMAGES: u64 = 1500;
    let (place, server) = (place_with_digits(IMAGES as usize), Qdrant::start());
    let (images, gallery) = (place.images(), on(server.address(), "digits"));
    place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion"
    ));
    let there = place.json(&format!("gallery copy g {gallery}"));
    assert_eq!(
        [count(&there, "points"), count(&there, "copied")],
        [IMAGES; 2]
    );
    let back = place.json(&format!("gallery copy {gallery} back --model m"));
    assert_eq!(
        [count(&back, "points"), count(&back, "copied")],
        [IMAGES; 2]
    );
    assert_eq!(checksum(&there), checksum(&back));
    for gallery in [&gallery, "back"] {
        assert_eq!(
            count(&place.json(&format!("info {gallery}")), "points"),
            IMAGES
        );
    }
    let asking = place_with_photos(200);
    let expected = answers(&place, &asking, "g", "--exact");
    assert_eq!(expected.len(), 200);
    for gallery in [&gallery, "back"] {
        assert_eq!(answers(&place, &asking, gallery, "--exact"), expected);
    }
    // What is there is not copied again.
    let again = place.json(&format!("gallery copy g {gallery}"));
    assert_eq!([count(&again, "copied"), count(&again, "removed")], [0, 0]);
    assert_eq!(checksum(&again), checksum(&there));
    // Indexing goes on with the copy.
    let report = place.json(&format!("index {images} --model m --gallery {gallery}"));
    assert_eq!(
        [count(&report, "unchanged"), count(&report, "encoded")],
        [IMAGES, 0]
    );
    // The whole of it is said for people as well.
    let output = place.run(&format!("gallery copy g {gallery}"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("1500 points") && said.contains(&checksum(&there)[..12]),
        "{said}"
    );
}

#[test]
fn thumbnails_come_along_and_own_points_are_found_out() {
    let (place, server) = (place_with_photos(60), Qdrant::start());
    let gallery = on(server.address(), "photos");
    place.json("index photos --model m --gallery g --no-diffusion");
    let copy = format!("gallery copy g {gallery}");
    place.json(&copy);
    let all = contents(&place, "g");
    assert!(all.values().all(|(_, _, thumbnail)| thumbnail.is_some()));
    assert_eq!(contents(&place, &gallery), all);
    place.json(&format!("gallery copy {gallery} back --model m"));
    assert_eq!(contents(&place, "back"), all);
    // To another collection, from one to the other.
    let other = on(server.address(), "other");
    let report = place.json(&format!(
        "gallery copy {gallery} {other} --model m --codes-on-disk --hnsw-m 8 --payload-index year=number"
    ));
    assert_eq!(count(&report, "copied"), 60);
    assert_eq!(contents(&place, &other), all);
    let cluster = place.json(&format!("info {other}"))["cluster"].take();
    assert_eq!(
        [&cluster["codes_on_disk"], &cluster["hnsw_m"]],
        [&Value::from(true), &8.into()]
    );
    let fields = cluster["payload_indexes"].as_array().unwrap();
    assert!(
        fields
            .iter()
            .any(|field| field.as_str().unwrap().contains("year")),
        "{cluster}"
    );

    for (target, copy) in [
        (gallery.clone(), copy),
        (
            "back".to_owned(),
            format!("gallery copy {gallery} back --model m"),
        ),
    ] {
        let own = {
            let target = open_in(&place, &target);
            let code = vec![0.5; target.describe().unwrap().dims];
            let payload = Payload {
                source: "elsewhere".into(),
                key: "own".into(),
                blake3: "00".repeat(32),
                ..Payload::default()
            };
            let own = Point::new(code, payload);
            target.upsert(std::slice::from_ref(&own)).unwrap();
            own.id.to_string()
        };
        let said = fails(&place, &copy);
        assert!(said.contains(&own) && said.contains("--prune"), "{said}");
        assert_eq!(contents(&place, &target).len(), 61);
        let report = place.json(&format!("{copy} --prune"));
        assert_eq!(
            [count(&report, "removed"), count(&report, "copied")],
            [1, 0]
        );
        assert_eq!(contents(&place, &target), all);
    }
}

#[test]
fn copies_that_make_no_sense_change_nothing() {
    let (place, server) = (place_with_digits(40), Qdrant::start());
    let (images, gallery) = (place.images(), on(server.address(), "digits"));
    fs::write(place.path("other"), model(1)).unwrap();
    for (model, name) in [("m", "g"), ("other", "of-another")] {
        place.json(&format!(
            "index {images} --model {model} --gallery {name} --no-diffusion"
        ));
    }
    place.json(&format!("gallery copy g {gallery}"));
    place.json(&format!(
        "gallery alias {} digits",
        on(server.address(), "live")
    ));
    let live = on(server.address(), "live");
    let before = server.collection("digits").unwrap().points().clone();
    let writes = || {
        let requests = server.requests().into_iter();
        let requests = requests.filter(|(method, _)| {
            ["Upsert", "Delete", "Create"]
                .iter()
                .any(|word| method.contains(word))
        });
        requests.collect::<Vec<_>>()
    };
    let written = writes();
    for (line, words) in [
        ("gallery copy g g".to_owned(), ["itself", "g"]),
        ("gallery copy g ./g".to_owned(), ["itself", "g"]),
        (
            format!("gallery copy {gallery} {gallery} --model m"),
            ["itself", "digits"],
        ),
        (
            format!("gallery copy {gallery} {live} --model m"),
            ["itself", "digits"],
        ),
        (
            format!("gallery copy of-another {gallery}"),
            ["model", "does not fit"],
        ),
        (
            format!("gallery copy {gallery} of-another --model m"),
            ["model", "does not fit"],
        ),
        (
            format!("gallery copy {gallery} new"),
            ["--model", "keeps only its model"],
        ),
        (
            format!("gallery copy {gallery} new --model other"),
            ["was made with model", "not with"],
        ),
        (
            format!("gallery copy {gallery} new --model none"),
            ["none", "cannot read"],
        ),
        (
            format!("gallery copy g {gallery} --model {images}"),
            ["was made with model", "not with"],
        ),
        (
            "gallery copy none new".to_owned(),
            ["there is no gallery", "none"],
        ),
        (
            format!(
                "gallery copy {} new --model m",
                on(server.address(), "none")
            ),
            ["there is no gallery", "none"],
        ),
    ] {
        let said = fails(&place, &line);
        for word in words {
            assert!(said.contains(word), "{line}: {said}");
        }
        assert!(!place.path("new").exists(), "{line}");
    }
    assert_eq!(writes(), written);
    assert_eq!(server.collection("digits").unwrap().points(), &before);
    for name in ["g", "of-another"] {
        assert_eq!(count(&place.json(&format!("info {name}")), "points"), 40);
    }
}

#[test]
fn a_copy_that_is_killed_is_completed_by_the_next() {
    // So many that an index is built, which is not the same twice: it has to come along.
    const IMAGES: u64 = 10_000;
    let place = place_with_digits(IMAGES as usize);
    let images = place.images();
    place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion"
    ));
    let whole = place.json("gallery copy g whole");
    killed_on_the_way(
        &place,
        "copy",
        || bytes_in(&place.path(".copy.copying")),
        // It appears when it is complete.
        || !place.path("copy").exists() && place.path(".copy.copying").exists(),
        || fs::remove_dir_all(place.path("copy")).unwrap(),
    );
    let report = place.json("gallery copy g copy");
    assert_eq!(count(&report, "points"), IMAGES);
    assert_eq!(checksum(&report), checksum(&whole));
    let asking = place_with_photos(1000);
    for more in ["--exact", ""] {
        let expected = answers(&place, &asking, "g", more);
        assert_eq!(expected.len(), 1000);
        assert_eq!(answers(&place, &asking, "copy", more), expected, "{more}");
    }
    assert_eq!(contents(&place, "copy"), contents(&place, "g"));
}

/// The same where points are copied one by one.
#[test]
fn a_copy_to_a_cluster_that_is_killed_is_completed_by_the_next() {
    const IMAGES: u64 = 3000;
    let (place, server) = (place_with_digits(IMAGES as usize), Qdrant::start());
    let (images, gallery) = (place.images(), on(server.address(), "digits"));
    place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion"
    ));
    let whole = place.json("gallery copy g whole");
    let points = std::cell::Cell::new(0);
    let stored = || server.collection("digits").map_or(0, |c| c.points().len());
    killed_on_the_way(
        &place,
        &gallery,
        || stored() as u64,
        || {
            let now = stored();
            assert!(now >= points.replace(now), "nothing is lost");
            (1..IMAGES as usize).contains(&now)
        },
        || {
            points.set(0);
            place.json(&format!("gallery remove {gallery} --yes"));
        },
    );
    let report = place.json(&format!("gallery copy g {gallery}"));
    assert_eq!(count(&report, "points"), IMAGES);
    assert_eq!(checksum(&report), checksum(&whole));
    assert_eq!(contents(&place, &gallery), contents(&place, "g"));
}

/// The size of all that is in a folder, 0 if there is none; what goes away meanwhile does not
/// count.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(facts) if facts.is_dir() => bytes_in(&entry.path()),
            facts => facts.map_or(0, |facts| facts.len()),
        })
        .sum()
}

/// Kills copies of `g` until ten were killed, at least three of them on the way, as `is_on_the_way`
/// says after a kill: every other after some time, the rest as soon as they have written something,
/// which `written` tells. What is complete before is removed by `remove`.
fn killed_on_the_way(
    place: &Workplace,
    to: &str,
    written: impl Fn() -> u64,
    is_on_the_way: impl Fn() -> bool,
    remove: impl Fn(),
) {
    let copy = format!("gallery copy g {to}");
    let began = Instant::now();
    place.json(&copy);
    let time = began.elapsed();
    remove();
    // Fractions of a whole run, unevenly spread.
    let fractions = (1_u32..).map(|i| 0.6 * f64::from(i * 7919 % 101) / 101.0);
    let (mut killed, mut on_the_way) = (0, 0);
    for (attempt, fraction) in fractions.take(80).enumerate() {
        let before = written();
        let mut copying = Owned::silent(place, &copy);
        match attempt % 2 {
            0 => std::thread::sleep(time.mul_f64(fraction)),
            _ => {
                while written() == before && !copying.has_ended() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        let ended = copying.has_ended();
        drop(copying);
        if place.run(&format!("info {to} --json")).status.success() {
            let is_on_the_way = !ended && is_on_the_way();
            killed += usize::from(!ended);
            on_the_way += usize::from(is_on_the_way);
            if !is_on_the_way {
                remove();
            }
        } else if !ended {
            killed += 1;
            on_the_way += usize::from(is_on_the_way());
        }
        if killed >= 10 && on_the_way >= 3 {
            return;
        }
    }
    panic!("only {on_the_way} of {killed} kills were on the way");
}
