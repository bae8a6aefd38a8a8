//! Folders and archives of pictures, as users have them: read whatever is in them, and kept in
//! step.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::{Workplace, read_png, stderr};
use lookalike::gallery::Points;
use lookalike::open;
use serde_json::Value;

/// A place with the folder `photos`: the first `count` test images as PNG files, in a folder for
/// each digit, and a model `m` that knows a little of them.
fn place_with_photos(count: usize) -> Workplace {
    let place = Workplace::new(1);
    let source = open("mnist:test").unwrap();
    let digits = source.load(None, Some(count)).unwrap();
    for index in 0..digits.len() {
        let folder = place.path("photos").join(digits.label(index).unwrap());
        fs::create_dir_all(&folder).unwrap();
        let picture = digits.picture(index);
        picture
            .write_png(folder.join(format!("{index}.png")))
            .unwrap();
    }
    let trained = place.json("train photos --out m --epochs 1 --limit 128 --batch 32");
    assert_eq!(trained["images"], 128.min(count));
    place
}

fn count(report: &Value, field: &str) -> u64 {
    report[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} of {report}"))
}

#[test]
fn a_folder_of_pictures_goes_all_the_way() {
    let place = place_with_photos(300);
    let photos = place.path("photos");
    fs::write(photos.join("empty.png"), b"").unwrap();
    fs::write(photos.join("text.jpg"), b"this is no picture at all").unwrap();
    let whole = fs::read(photos.join("7/0.png")).unwrap();
    fs::write(photos.join("half.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(
        photos.join("notes.txt"),
        b"not an image, and nobody says so",
    )
    .unwrap();

    let index = "index photos --model m --gallery g";
    let report = place.json(&format!("{index} --skipped skipped.jsonl"));
    assert_eq!(
        ["images", "added", "encoded", "points", "skipped"].map(|field| count(&report, field)),
        [300, 300, 300, 300, 3]
    );
    let lines = fs::read_to_string(place.path("skipped.jsonl")).unwrap();
    let mut kinds: Vec<(String, String)> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            assert!(line["reason"].as_str().unwrap().len() > 10, "{line}");
            let word = |field: &str| line[field].as_str().unwrap().to_owned();
            (word("key"), word("kind"))
        })
        .collect();
    kinds.sort();
    let expected = [
        ("empty.png", "empty"),
        ("half.png", "damaged"),
        ("text.jpg", "unsupported"),
    ];
    assert_eq!(
        kinds,
        expected.map(|(key, kind)| (key.to_owned(), kind.to_owned()))
    );

    // Passed over is no failure, unless it shall be.
    let output = place.run(index);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("passed over"),
        "{}",
        stderr(&output)
    );
    let output = place.run(&format!("{index} --strict"));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("passed over"),
        "{}",
        stderr(&output)
    );

    // A picture finds itself, in its place; a folder is as many queries.
    let answer = place.json("search photos/7/0.png --gallery g -k 3 --include-self");
    let first = &answer["neighbours"][0];
    assert_eq!(first["payload"]["key"], "7/0.png");
    assert_eq!(first["payload"]["label"], "7");
    let location = first["payload"]["location"].as_str().unwrap();
    assert_eq!(fs::read(location).unwrap(), whole);
    let others = place.json("search photos/7/0.png --gallery g -k 2");
    assert_eq!(
        others["neighbours"][0]["payload"],
        answer["neighbours"][1]["payload"]
    );
    let output =
        place.run("search photos/9 --gallery g -k 1 --include-self --json --sheet sheet.png");
    assert!(output.status.success(), "{}", stderr(&output));
    let nines = fs::read_dir(photos.join("9")).unwrap().count();
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), nines);
    for answer in answers.lines() {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let location = answer["neighbours"][0]["payload"]["location"]
            .as_str()
            .unwrap();
        assert_eq!(answer["query"], location);
    }
    assert!(
        fs::read(place.path("sheet.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    let output = place.run("search photos/half.png --gallery g");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("half.png"), "{}", stderr(&output));

    let scores = place.json("eval photos --model m");
    assert_eq!(count(&scores, "images"), 300);
    assert!(scores["precision_at_1"].as_f64().unwrap() > 0.3, "{scores}");
    place.json("reconstruct photos --model m --sheet pairs.png");
}

#[test]
fn a_gallery_stays_in_step_with_its_folder() {
    let place = place_with_photos(200);
    let photos = place.path("photos");
    let index = "index photos --model m --gallery g";
    let fields = [
        "encoded",
        "added",
        "changed",
        "unchanged",
        "removed",
        "points",
    ];
    let run = |line: &str| {
        let report = place.json(line);
        fields.map(|field| count(&report, field))
    };
    assert_eq!(run(index), [200, 200, 0, 0, 0, 200]);
    assert_eq!(run(index), [0, 0, 0, 200, 0, 200]);

    // Written again with the same bytes: read, but not encoded.
    let one = photos.join("7/0.png");
    let bytes = fs::read(&one).unwrap();
    sleep(Duration::from_millis(20));
    fs::write(&one, &bytes).unwrap();
    assert_eq!(run(index), [0, 0, 1, 199, 0, 200]);
    // Renamed, and copied: their codes are known.
    fs::rename(photos.join("2/1.png"), photos.join("2/renamed.png")).unwrap();
    fs::copy(photos.join("1/2.png"), photos.join("copy of 2.png")).unwrap();
    assert_eq!(run(index), [0, 2, 0, 199, 0, 202]);
    // Another picture under an old name.
    fs::copy(photos.join("7/0.png"), photos.join("0/3.png")).unwrap();
    let mut changed = read_png(photos.join("4/4.png")).into_data();
    changed.reverse();
    let changed = lookalike::images::Pixels::new(28, 28, 1, changed).unwrap();
    changed.write_png(photos.join("4/4.png")).unwrap();
    assert_eq!(run(index), [1, 0, 2, 199, 0, 202]);
    let answer = place.json("search photos/0/3.png --gallery g -k 2 --include-self");
    for hit in answer["neighbours"].as_array().unwrap() {
        assert!(hit["distance"].as_f64().unwrap() < 1e-5, "{hit}");
    }

    // What is gone stays, until it is to go.
    for gone in ["7/0.png", "copy of 2.png"] {
        fs::remove_file(photos.join(gone)).unwrap();
    }
    assert_eq!(run(index), [0, 0, 0, 199, 0, 202]);
    let prune = format!("{index} --prune");
    // Three are gone: the old name of the renamed one is the third.
    assert_eq!(run(&prune), [0, 0, 0, 199, 3, 199]);
    assert_eq!(run(&prune), [0, 0, 0, 199, 0, 199]);
}

#[test]
fn archives_and_parts_hold_the_same_as_the_folder() {
    let place = place_with_photos(120);
    for (archive, flags) in [("photos.tar", "-cf"), ("photos.tar.gz", "-czf")] {
        let status = Command::new("tar")
            .args([flags, archive, "photos"])
            .current_dir(place.path(""))
            .status()
            .unwrap();
        assert!(status.success());
    }
    let nearest = |gallery: &str| -> Vec<(String, f64)> {
        let answer = place.json(&format!(
            "search mnist:test#7 --gallery {gallery} -k 20 --exact --include-self"
        ));
        let hits = answer["neighbours"].as_array().unwrap().iter();
        hits.map(|hit| {
            let key = hit["payload"]["key"].as_str().unwrap();
            let name = key.rsplit('/').next().unwrap().to_owned();
            (name, hit["distance"].as_f64().unwrap())
        })
        .collect()
    };
    place.json("index photos --model m --gallery whole");
    let expected = nearest("whole");
    for source in [
        "photos.tar",
        "photos.tar.gz",
        "photos/{0..9}",
        "photos/**/*.png",
    ] {
        let index = format!("index {source} --model m --gallery g");
        assert_eq!(count(&place.json(&index), "added"), 120, "{source}");
        let again = place.json(&index);
        assert_eq!(count(&again, "unchanged"), 120, "{source}");
        assert_eq!(count(&again, "encoded"), 0, "{source}");
        assert_eq!(nearest("g"), expected, "{source}");
        fs::remove_dir_all(place.path("g")).unwrap();
    }
    let mut points = 0;
    for part in 1..=3 {
        let line = format!("index photos --model m --gallery parts --part {part}/3");
        let report = place.json(&line);
        assert_eq!(count(&report, "added"), count(&report, "images"));
        assert!(count(&report, "added") > 10);
        points += count(&report, "added");
        assert_eq!(count(&report, "points"), points);
    }
    assert_eq!(points, 120);
    assert_eq!(nearest("parts"), expected);
}

#[test]
fn a_sample_of_a_stream_is_that_of_the_folder() {
    let place = place_with_photos(150);
    let status = Command::new("tar")
        .args(["-czf", "../photos.tar.gz", "."])
        .current_dir(place.path("photos"))
        .status()
        .unwrap();
    assert!(status.success());
    // Keys are the same in both, and so are the images that are drawn: the losses say so.
    let losses = |source: &str| {
        let report = place.json(&format!(
            "train {source} --out other --epochs 1 --batch 16 --sample 40 --seed 3"
        ));
        assert_eq!(count(&report, "images"), 40);
        report["epochs"][0]["loss"].as_f64().unwrap()
    };
    assert_eq!(losses("photos"), losses("photos.tar.gz"));

    // Data sets of pixels are sampled and divided as well.
    let report = place.json("index mnist:test --model m --gallery third --part 1/3 --no-diffusion");
    let third = count(&report, "points");
    assert!((3200..3470).contains(&third), "{third}");
    let sampled = |seed: u32| {
        place.json(&format!(
            "train mnist:test --out s{seed} --objective augment --epochs 1 --sample 64 --seed {seed} --batch 16"
        ))
    };
    let (one, two) = (sampled(1), sampled(2));
    assert_eq!([count(&one, "images"), count(&two, "images")], [64, 64]);
    assert_ne!(one["mean_image_loss"], two["mean_image_loss"]);
    let output = place.run("index photos --model m --gallery g --sample 10");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--part"), "{}", stderr(&output));
}

#[test]
fn a_killed_index_of_a_folder_is_completed_by_the_next() {
    const IMAGES: u64 = 2000;
    let place = place_with_photos(IMAGES as usize);
    let line = "index photos --model m --gallery g --no-diffusion";
    let start = Instant::now();
    assert_eq!(
        count(&place.json(&line.replace(" g ", " whole ")), "added"),
        IMAGES
    );
    let time = start.elapsed();
    let mut points = 0;
    let mut killed = 0;
    for attempt in 1_u32.. {
        if killed == 50 {
            break;
        }
        let mut child = place
            .command(line)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(time.mul_f64(0.9 * f64::from(attempt * 7919 % 101) / 101.0));
        let ended = child.try_wait().unwrap().is_some();
        if !ended {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
        if place.path("g").exists() {
            let now = count(&place.json("info g"), "points");
            assert!(now >= points, "{now} points of {points} are left");
            points = now;
        }
        if ended {
            assert_eq!(points, IMAGES);
            fs::remove_dir_all(place.path("g")).unwrap();
            points = 0;
        }
    }
    let report = place.json(line);
    assert_eq!(count(&report, "points"), IMAGES);
    let export = |gallery: &str| {
        place.json(&format!("export --gallery {gallery} --codes codes.npy"));
        fs::read(place.path("codes.npy")).unwrap()
    };
    assert_eq!(export("g"), export("whole"));
}

#[test]
fn what_is_indexed_can_be_asked_for_in_every_way() {
    let place = place_with_photos(200);
    place.json("index photos --model m --gallery g");
    let photos = place.path("photos");
    let keys = |answer: &Value| -> Vec<String> {
        let hits = answer["neighbours"].as_array().unwrap().iter();
        hits.map(|hit| hit["payload"]["key"].as_str().unwrap().to_owned())
            .collect()
    };
    // Every image has its thumbnail, under its content.
    let gallery = lookalike::open_gallery(place.path("g")).unwrap();
    for point in Points::new(&*gallery, None) {
        let kept = gallery.thumbnail(&point.unwrap().payload.blake3).unwrap();
        assert!(kept.is_some_and(|bytes| bytes.starts_with(b"\xff\xd8\xff")));
    }
    drop(gallery);

    // By its file, by its place, by its source and key, by its id; also when the original is gone.
    let whole = place.json("search photos/7/0.png --gallery g --include-self");
    assert_eq!(whole["neighbours"][0]["distance"].as_f64().unwrap(), 0.0);
    let id = whole["neighbours"][0]["id"].as_str().unwrap().to_owned();
    let location = whole["neighbours"][0]["payload"]["location"]
        .as_str()
        .unwrap();
    assert_eq!(
        keys(&place.json(&format!("search {id} --gallery g --include-self"))),
        keys(&whole)
    );
    fs::rename(photos.join("7/0.png"), place.path("elsewhere.png")).unwrap();
    for spec in [&id, location, "photos#7/0.png"] {
        let answer = place.json(&format!("search {spec} --gallery g --include-self"));
        assert_eq!(keys(&answer), keys(&whole), "{spec}");
        let others = place.json(&format!("search {spec} --gallery g -k 4"));
        assert_eq!(keys(&others), keys(&whole)[1..], "{spec}");
    }
    let output = place.run("search photos/7/none.png --gallery g");
    assert_eq!(output.status.code(), Some(1));
    let output = place.run(&format!("search {id} --gallery g --region 0,0,9,9"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("original"), "{}", stderr(&output));

    // A region of a picture of two is as good as the picture.
    let one = read_png(place.path("elsewhere.png"));
    let two: Vec<u8> = one
        .data()
        .chunks_exact(28)
        .flat_map(|row| [[255; 28].as_slice(), row].concat())
        .collect();
    let two = lookalike::images::Pixels::new(56, 28, 1, two).unwrap();
    two.write_png(place.path("two.png")).unwrap();
    let region = place.json("search two.png --gallery g --region 28,0,28,28");
    assert_eq!(keys(&region), keys(&whole));
    assert_ne!(
        keys(&place.json("search two.png --gallery g")),
        keys(&whole)
    );
    let output = place.run("search two.png --gallery g --region 28,0,29,28");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("56 x 28"), "{}", stderr(&output));

    // Like these, unlike those: no example is an answer, and the dislike matters.
    let liked = place.json("search --like photos/1/2.png --like photos/1/5.png --gallery g -k 20");
    let names = keys(&liked);
    assert_eq!(names.len(), 20);
    assert!(!names.contains(&"1/2.png".to_owned()) && !names.contains(&"1/5.png".to_owned()));
    let disliked = format!("photos/{}", names[0]);
    let unlike = place.json(&format!(
        "search --like photos/1/2.png --like photos/1/5.png --unlike {disliked} --gallery g -k 20"
    ));
    assert_ne!(keys(&unlike)[0], names[0]);

    // Diverse answers are among the near ones, the nearest first, and farther in all.
    let sum = |answer: &Value| -> f64 {
        let hits = answer["neighbours"].as_array().unwrap().iter();
        hits.map(|hit| hit["distance"].as_f64().unwrap()).sum()
    };
    let plain = place.json("search photos/1/2.png --gallery g -k 10");
    let diverse = place.json("search photos/1/2.png --gallery g -k 10 --diverse=0.3");
    assert_eq!(keys(&diverse)[0], keys(&plain)[0]);
    assert!(sum(&diverse) > sum(&plain));
    let all = place.json("search photos/1/2.png --gallery g -k 10 --diverse=1");
    assert_eq!(keys(&all), keys(&plain));
}

#[test]
fn a_followed_folder_is_in_the_gallery_moments_later() {
    let place = place_with_photos(50);
    let photos = place.path("photos");
    let mut child = place
        .command("index photos --model m --gallery photos/g --watch --prune --no-diffusion")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Between changes the gallery can be asked by anybody, and somebody asks nearly all the time.
    let gallery = place.path("photos/g");
    let becomes = |points: usize| {
        let start = Instant::now();
        loop {
            if let Ok(gallery) = lookalike::open_gallery(gallery.to_str().unwrap()) {
                if gallery.describe().unwrap().points == points {
                    return true;
                }
                sleep(Duration::from_millis(400));
            }
            if start.elapsed() > Duration::from_secs(60) {
                return false;
            }
            sleep(Duration::from_millis(50));
        }
    };
    assert!(becomes(50));
    fs::create_dir(photos.join("new")).unwrap();
    fs::copy(photos.join("7/0.png"), photos.join("new/a.png")).unwrap();
    fs::copy(photos.join("7/0.png"), photos.join("new/b.png")).unwrap();
    assert!(becomes(52));
    fs::remove_file(photos.join("new/a.png")).unwrap();
    assert!(becomes(51));
    // A request to end is followed in order.
    // SAFETY: a signal to a child of ours that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_damaged_file_is_reported_and_none_is_fatal() {
    let place = place_with_photos(64);
    let folder = place.path("mixed");
    fs::create_dir_all(folder.join("good")).unwrap();
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lookalike-images/tests/pictures");
    let mut good = 0;
    for file in fs::read_dir(&pictures).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending != "py") {
            fs::copy(&path, folder.join("good").join(path.file_name().unwrap())).unwrap();
            good += 1;
        }
    }
    assert!(good > 30);
    let mut bad = Vec::new();
    let mut add = |name: String, bytes: &[u8]| {
        let path = folder.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        bad.push(name);
    };
    for name in [
        "grey.jpg",
        "rgb.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "palette.gif",
        "rgb.bmp",
        "palette.png",
        "grey16.png",
        "interlaced.png",
        "lossless.webp",
        "lossy.webp",
        "rgb-plain.tif",
    ] {
        let bytes = fs::read(pictures.join(name)).unwrap();
        add(format!("empty/{name}"), b"");
        add(format!("begun/{name}"), &bytes[..10]);
        add(format!("third/{name}"), &bytes[..bytes.len() / 3]);
        add(format!("half/{name}"), &bytes[..bytes.len() / 2]);
        add(format!("zeros/{name}"), &vec![0; bytes.len()]);
        add(
            format!("text/{name}"),
            b"<html><body>404 Not Found</body></html>",
        );
    }
    let mut bomb = fs::read(pictures.join("rgb.bmp")).unwrap();
    bomb[18..26].copy_from_slice(&[0, 0, 1, 0, 0, 0, 1, 0]);
    add("bomb.bmp".to_owned(), &bomb);
    add(
        "film.png".to_owned(),
        b"\0\0\0\x18ftypisom\0\0\0\0mif1 and so on",
    );
    assert!(bad.len() > 60);
    bad.sort();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        // A circle of links, a link to nothing, a name that is no text, a pipe that nobody writes
        // to.
        std::os::unix::fs::symlink("..", folder.join("good/circle")).unwrap();
        let name = std::ffi::OsStr::from_bytes(b"good/caf\xe9.png");
        fs::copy(pictures.join("rgb.png"), folder.join(name)).unwrap_or_default();
    }

    let line = "index mixed --model m --gallery g --skipped skipped.jsonl --no-diffusion";
    let report = place.json(line);
    // What of the bad was listed, each with a reason.
    let listed = |report: &str, prefix: &str| -> Vec<String> {
        let lines = fs::read_to_string(place.path(report)).unwrap();
        let mut keys = Vec::new();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let reason = line["reason"].as_str().unwrap();
            assert!(reason.len() > 10 && !reason.contains("panicked"), "{line}");
            let key = line["key"].as_str().unwrap();
            let key = key.strip_prefix(prefix).unwrap_or(key).to_owned();
            keys.extend((!key.starts_with("good/")).then_some(key));
        }
        keys.sort();
        keys
    };
    assert_eq!(listed("skipped.jsonl", ""), bad);
    assert!(count(&report, "points") >= good, "{report}");
    assert_eq!(count(&report, "points"), count(&report, "images"));
    // The same from an archive.
    let status = Command::new("tar")
        .args(["-cf", "mixed.tar", "--exclude=circle", "mixed"])
        .current_dir(place.path(""))
        .status()
        .unwrap();
    assert!(status.success());
    let line = "index mixed.tar --model m --gallery packed --skipped packed.jsonl --no-diffusion";
    let packed = place.json(line);
    assert_eq!(count(&packed, "points"), count(&report, "points"));
    assert_eq!(listed("packed.jsonl", "mixed/"), bad);
}

/// All ids of a gallery, with codes and keys.
fn points(place: &Workplace, gallery: &str) -> Vec<(String, Vec<f32>, String)> {
    let gallery = lookalike::open_gallery(place.path(gallery)).unwrap();
    Points::new(&*gallery, None)
        .map(|point| {
            let point = point.unwrap();
            (point.id.to_string(), point.code, point.payload.key)
        })
        .collect()
}

#[test]
fn a_source_that_was_moved_keeps_its_points() {
    let place = place_with_photos(40);
    place.json("index photos --model m --gallery g");
    let before = points(&place, "g");
    fs::rename(place.path("photos"), place.path("pictures")).unwrap();
    let old = place.path("photos").canonicalize();
    assert!(old.is_err());

    let output = place.run("index photos --model m --gallery g --prune");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("gallery move") && said.contains("gallery forget"),
        "{said}"
    );

    let moved = place.json("gallery move g photos pictures");
    assert_eq!(moved["moved"], 40);
    assert_eq!(points(&place, "g"), before);
    let report = place.json("index pictures --model m --gallery g --prune");
    let counts =
        ["added", "changed", "encoded", "removed", "points"].map(|field| count(&report, field));
    // Renaming changes when the folder changed, and not the files.
    assert_eq!(counts, [0, 0, 0, 0, 40]);
    assert_eq!(points(&place, "g"), before);
    assert_eq!(place.json("info g")["diffusion"], "fresh");
    let sources = place.json("gallery sources g");
    assert_eq!(sources["sources"].as_array().unwrap().len(), 1, "{sources}");
    assert_eq!(sources["sources"][0]["images"], 40);
    let answer = place.json("search pictures/7/0.png --gallery g -k 1");
    assert_ne!(answer["neighbours"][0]["payload"]["key"], "7/0.png");
    assert!(answer["neighbours"][0].get("gone").is_none(), "{answer}");

    // Another folder at the old path takes nothing away.
    fs::create_dir_all(place.path("photos/7")).unwrap();
    fs::copy(place.path("pictures/7/0.png"), place.path("photos/7/0.png")).unwrap();
    let report = place.json("index photos --model m --gallery g --prune");
    assert_eq!([count(&report, "added"), count(&report, "points")], [1, 41]);
    assert_eq!(place.json("gallery forget g photos")["removed"], 1);
    assert_eq!(points(&place, "g"), before);
    let output = place.run("gallery forget g photos");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("its sources are"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_folder_that_lists_nothing_is_pruned_only_if_that_is_meant() {
    let place = place_with_photos(60);
    place.json("index photos --model m --gallery g");
    let seven = place.path("photos/7");
    let sevens = fs::read_dir(&seven).unwrap().count() as u64;
    fs::rename(&seven, place.path("away")).unwrap();
    fs::create_dir(&seven).unwrap();
    fs::remove_file(place.path("photos/2/1.png")).unwrap();

    let output = place.run("index photos --model m --gallery g --prune");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains(&format!("7 ({sevens} in the gallery)")),
        "{said}"
    );
    assert!(said.contains("--prune-emptied"), "{said}");
    assert_eq!(count(&place.json("info g"), "points"), 60);

    // A folder with another name holds the same: nothing is lost.
    fs::remove_dir(&seven).unwrap();
    fs::rename(place.path("away"), place.path("photos/sevens")).unwrap();
    let report = place.json("index photos --model m --gallery g --prune");
    assert_eq!(
        [count(&report, "removed"), count(&report, "points")],
        [sevens + 1, 59]
    );

    fs::remove_dir_all(place.path("photos/sevens")).unwrap();
    assert!(
        !place
            .run("index photos --model m --gallery g --prune")
            .status
            .success()
    );
    let report = place.json("index photos --model m --gallery g --prune-emptied");
    assert_eq!(count(&report, "removed"), sevens);

    // So with all of it.
    fs::remove_dir_all(place.path("photos")).unwrap();
    fs::create_dir(place.path("photos")).unwrap();
    assert!(
        !place
            .run("index photos --model m --gallery g --prune")
            .status
            .success()
    );
    let report = place.json("index photos --model m --gallery g --prune-emptied");
    assert_eq!(count(&report, "points"), 0);
}

#[test]
fn the_library_prunes_by_whole_sources_only() {
    use lookalike::sources::PartNumber;
    use lookalike::{ImageStream, IndexOptions, Reading, index};

    let place = place_with_photos(20);
    place.json("index photos --model m --gallery g");
    let device = lookalike::autoencoder::DeviceChoice::Cpu;
    let model = lookalike::autoencoder::Autoencoder::load(&place.path("m"), device).unwrap();
    let gallery = lookalike::open_gallery(place.path("g")).unwrap();
    let prune = IndexOptions {
        prune: true,
        ..IndexOptions::default()
    };
    let part: PartNumber = "1/2".parse().unwrap();
    for (reading, options, why) in [
        (
            Reading {
                part: Some(part),
                ..Reading::default()
            },
            prune.clone(),
            "part",
        ),
        (
            Reading {
                sample: Some((5, 0)),
                ..Reading::default()
            },
            prune,
            "sample",
        ),
        (
            Reading {
                sample: Some((5, 0)),
                ..Reading::default()
            },
            IndexOptions::default(),
            "sample",
        ),
    ] {
        let photos = place.path("photos").display().to_string();
        let source = ImageStream::open(&photos, reading, Default::default()).unwrap();
        let error = index(source, &model, &*gallery, options).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(gallery.count(None).unwrap(), 20);
    }
}

#[test]
fn the_library_reads_by_the_rules_of_the_gallery() {
    use lookalike::sources::LabelFrom;
    use lookalike::{ImageStream, IndexOptions, Reading, ReadingRules, RuleOverrides, index};

    let place = place_with_photos(20);
    place.json("index photos --model m --gallery g --background 102030 --label none");
    let photos = place.path("photos");
    fs::copy(photos.join("7/0.png"), photos.join("new.png")).unwrap();
    let device = lookalike::autoencoder::DeviceChoice::Cpu;
    let model = lookalike::autoencoder::Autoencoder::load(&place.path("m"), device).unwrap();
    let gallery = lookalike::open_gallery(place.path("g")).unwrap();
    let rules = ReadingRules::of(&*gallery).unwrap().unwrap();
    assert_eq!(rules.background, [0x10, 0x20, 0x30]);
    let photos = photos.display().to_string();
    // Opened over black, with labels: the gallery's rules hold, and stay as they are.
    let open = || {
        let mut reading = Reading::default();
        reading.decode.background = [0; 3];
        reading.source.label = LabelFrom::Parent;
        ImageStream::open(&photos, reading, Default::default()).unwrap()
    };
    let options = IndexOptions::default();
    let summary = index(open(), &model, &*gallery, options).unwrap();
    assert_eq!((summary.points, summary.changed), (21, 0));
    assert!(summary.notes.is_empty(), "{:?}", summary.notes);
    let kept = ReadingRules::of(&*gallery).unwrap().unwrap();
    assert_eq!(
        (kept.background, &kept.labels),
        (rules.background, &rules.labels)
    );
    let labelled = gallery.facets("label", None, 10).unwrap();
    assert!(labelled.is_empty(), "{labelled:?}");
    let options = IndexOptions {
        rules: RuleOverrides {
            background: Some([255; 3]),
            ..RuleOverrides::default()
        },
        ..IndexOptions::default()
    };
    let error = index(open(), &model, &*gallery, options).unwrap_err();
    assert!(error.to_string().contains("asked for is ffffff"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_changed_file_is_read_whatever_its_time_says() {
    let place = place_with_photos(20);
    let index = "index photos --model m --gallery g --no-diffusion";
    place.json(index);
    let path = place.path("photos/7/0.png");
    let about = fs::metadata(&path).unwrap();
    // As long as before, and with its old time.
    let mut other = fs::read(place.path("photos/2/1.png")).unwrap();
    let end = other.len().min(about.len() as usize);
    let longer = other.len() > about.len() as usize;
    other.resize(about.len() as usize, 0);
    if longer {
        other = fs::read(&path).unwrap();
        other[end - 1] ^= 1;
    }
    fs::write(&path, &other).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(about.modified().unwrap()).unwrap();
    drop(file);
    let report = place.json(index);
    assert_eq!(
        count(&report, "changed") + count(&report, "skipped"),
        1,
        "{report}"
    );

    // What is read again and is the same changes nothing.
    let report = place.json(&format!("{index} --reread"));
    assert_eq!(
        [count(&report, "changed"), count(&report, "encoded")],
        [0, 0]
    );
}

#[test]
fn empty_answers_say_why() {
    let place = place_with_photos(20);
    place.json("index photos --model m --gallery g");
    let said = |line: &str| stderr(&place.run(line));
    let search = "search photos/7/0.png --gallery g";
    let text = said(&format!("{search} --where wdth=100"));
    assert!(text.contains("has a field wdth"), "{text}");
    let text = said(&format!("{search} --where label=Seven"));
    assert!(
        text.contains("values of label are") && text.contains("\"7\""),
        "{text}"
    );
    assert!(!said(search).contains("nothing was found"));

    fs::create_dir(place.path("texts")).unwrap();
    fs::write(place.path("texts/a.txt"), "no picture").unwrap();
    let text = said("index texts --model m --gallery empty");
    assert!(text.contains("holds no image"), "{text}");
    let text = said("search photos/7/0.png --gallery empty");
    assert!(text.contains("is empty"), "{text}");

    let output = place.run(&format!("{search} --sheet x.txt"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("x.png"), "{}", stderr(&output));
    assert!(!place.path("x.txt").exists());
    let info = String::from_utf8(place.run("info g").stdout).unwrap();
    for words in ["searched exactly", "source       ", "labels       "] {
        assert!(info.contains(words), "{info}");
    }
}

#[test]
fn images_of_any_name_can_be_asked_for_and_are_printed_in_one_line() {
    let place = place_with_photos(40);
    let photos = place.path("photos");
    let forged = "x\n  1  0.00000  forged\u{1b}[31m.png";
    for (from, to) in [
        ("7/0.png", "page #11 recto.png"),
        ("2/1.png", "[2020] Trip/a.png"),
        ("1/2.png", "Salt and Pepper/b.png"),
        ("0/3.png", "Caf\u{e9}/c.png"),
        ("4/4.png", forged),
    ] {
        fs::create_dir_all(photos.join(to).parent().unwrap()).unwrap();
        fs::rename(photos.join(from), photos.join(to)).unwrap();
    }
    place.json("index photos --model m --gallery g");
    let ask = |arguments: &[&str]| {
        let mut command = place.command("search --gallery g -k 1 --include-self");
        let output = command.args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let ends = |arguments: &[&str], end: &str| {
        let said = ask(arguments);
        assert!(said.trim_end().ends_with(end), "{arguments:?}: {said}");
    };
    ends(&["photos#page #11 recto.png"], "page #11 recto.png");
    ends(&["photos/[2020] Trip/*.png"], "[2020] Trip/a.png");
    ends(&["photos/Cafe\u{301}/c.png"], "Caf\u{e9}/c.png");
    ends(&["photos#Cafe\u{301}/c.png"], "Caf\u{e9}/c.png");
    for condition in [
        "label=Salt and Pepper",
        "label=\"Salt and Pepper\"",
        "label=\"Salt and Pepper\" and width=28",
    ] {
        let arguments = ["photos/[2020] Trip/a.png", "--where", condition];
        ends(&arguments, "Salt and Pepper/b.png");
    }
    let decomposed = ["photos/[2020] Trip/a.png", "--where", "label=Cafe\u{301}"];
    ends(&decomposed, "Caf\u{e9}/c.png");

    // A name forges no line and no colour; machines get it as it is.
    let name = photos.join(forged);
    let said = ask(&[name.to_str().unwrap()]);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
    assert!(
        said.contains("x\\n  1  0.00000  forged\\u{1b}[31m.png"),
        "{said}"
    );
    let mut command = place.command("search --gallery g -k 1 --include-self --json");
    let output = command.arg(&name).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["neighbours"][0]["payload"]["key"], forged);
}

/// A page of 16 x 16 pixels of a TIFF file: bits a sample, and the samples of each pixel.
struct Page<'a> {
    bits: u16,
    samples: usize,
    value: &'a dyn Fn(usize) -> Vec<u32>,
}

/// An uncompressed TIFF file.
fn tiff(pages: &[Page]) -> Vec<u8> {
    let mut file = b"II\x2a\0".to_vec();
    let mut pointer = 4;
    file.extend([0; 4]);
    for page in pages {
        let data = file.len() as u32;
        for value in (0..256).flat_map(page.value) {
            file.extend(&value.to_le_bytes()[..usize::from(page.bits) / 8]);
        }
        let bits = file.len() as u32;
        file.extend(page.bits.to_le_bytes().repeat(4));
        let here = (file.len() as u32).to_le_bytes();
        file[pointer..pointer + 4].copy_from_slice(&here);
        let count = page.samples as u32;
        let entries: Vec<(u16, u16, u32, u32)> = [
            (256, 4, 1, 16),
            (257, 4, 1, 16),
            (
                258,
                3,
                count,
                if count > 2 { bits } else { page.bits.into() },
            ),
            (259, 3, 1, 1),
            (262, 3, 1, if count > 1 { 2 } else { 1 }),
            (273, 4, 1, data),
            (277, 3, 1, count),
            (278, 4, 1, 16),
            (279, 4, 1, bits - data),
            (338, 3, 1, 2),
        ]
        .into_iter()
        .filter(|entry| entry.0 != 338 || count == 4)
        .collect();
        file.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            file.extend(tag.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(count.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        pointer = file.len();
        file.extend([0; 4]);
    }
    file
}

#[test]
fn how_pictures_are_read_stays_with_the_gallery() {
    let place = place_with_photos(40);
    fs::create_dir(place.path("icons")).unwrap();
    // White drawings on transparent ground, and one of all colours.
    for icon in 0..4 {
        let drawing = |at: usize| match (at % 16 / 4 + icon) % 4 == at / 64 {
            true => vec![255; 4],
            false => vec![255, 255, 255, 0],
        };
        let page = Page {
            bits: 8,
            samples: 4,
            value: &drawing,
        };
        fs::write(place.path(&format!("icons/{icon}.tif")), tiff(&[page])).unwrap();
    }
    let output = place.run("index icons --model m --gallery white");
    assert!(stderr(&output).contains("4 of the images are nothing but the background"));
    place.json("index icons --model m --gallery black --background 000000");
    // The gallery knows, as it knows its model; nobody need say it again.
    for line in [
        "search icons/2.tif --gallery black -k 1 --include-self",
        "search icons/2.tif --gallery black -k 1 --include-self --background 000000",
    ] {
        let found = place.json(line);
        let first = &found["neighbours"][0];
        assert_eq!(first["payload"]["key"], "2.tif");
        assert!(first["distance"].as_f64().unwrap() < 1e-5, "{first}");
    }
    assert_eq!(
        count(
            &place.json("index icons --gallery black --reread"),
            "unchanged"
        ),
        4
    );
    for line in [
        "search icons/2.tif --gallery black -k 1 --background ffffff",
        "index icons --model m --gallery black --background ffffff",
    ] {
        let output = place.run(line);
        assert!(!output.status.success());
        let said = stderr(&output);
        assert!(
            said.contains("background 000000, asked for is ffffff"),
            "{said}"
        );
    }
    // Where labels come from is kept for each source.
    place.json("index photos --model m --gallery black --label none");
    let labelled = |filter: &str| {
        let line = format!("export --gallery black --payload p.jsonl --where {filter}");
        place.run(&line);
        fs::read_to_string(place.path("p.jsonl"))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!(labelled("label=7"), 0);
    assert_eq!(
        count(
            &place.json("index photos --model m --gallery black"),
            "unchanged"
        ),
        40
    );
    let output = place.run("index photos --model m --gallery black --label parent");
    assert!(
        stderr(&output).contains("came from none so far"),
        "{}",
        stderr(&output)
    );
    assert!(labelled("label=7") > 0);
}

#[test]
fn deep_grey_pictures_are_seen_in_full() {
    let place = place_with_photos(40);
    fs::create_dir(place.path("cells")).unwrap();
    // 12 bits in 16: nearly black, if all 16 counted.
    for cell in 0..4_u32 {
        let value = |at: usize| vec![40 + 1_000 * ((at as u32 / 16 * (cell + 1) + at as u32) % 5)];
        let page = Page {
            bits: 16,
            samples: 1,
            value: &value,
        };
        fs::write(place.path(&format!("cells/{cell}.tif")), tiff(&[page])).unwrap();
    }
    place.json("index cells --model m --gallery g");
    let apart = |gallery: &str| {
        let found = place.json(&format!(
            "search cells/0.tif --gallery {gallery} -k 4 --include-self"
        ));
        assert_eq!(found["neighbours"][0]["payload"]["key"], "0.tif");
        found["neighbours"][1]["distance"].as_f64().unwrap()
    };
    place.json("index cells --model m --gallery dark --grey-range 0,65535");
    assert_ne!(apart("g"), apart("dark"));
    let rules =
        |gallery: &str| fs::read_to_string(place.path(&format!("{gallery}/reading.json"))).unwrap();
    assert!(rules("g").contains("[40.0,4040.0]"), "{}", rules("g"));
    assert!(rules("dark").contains("[0.0,65535.0]"), "{}", rules("dark"));
    let output = place.run("search cells/0.tif --gallery g -k 1 --grey-range 0,99");
    assert!(
        stderr(&output).contains("the range of grey 40,4040"),
        "{}",
        stderr(&output)
    );
    // A model that learned from such pictures knows, and so does a gallery of its own.
    let trained = place.run("train cells --out deep --epochs 1 --batch 4");
    assert!(trained.status.success(), "{}", stderr(&trained));
    place.json("index cells --model deep --gallery h");
    assert!(rules("h").contains("[40.0,4040.0]"), "{}", rules("h"));
}

#[test]
fn each_page_of_a_scan_is_an_image() {
    let place = place_with_photos(40);
    fs::create_dir(place.path("scans")).unwrap();
    let values: [&dyn Fn(usize) -> Vec<u32>; 3] = [
        &|at| vec![at as u32],
        &|at| vec![(at % 16 * 16) as u32],
        &|at| vec![(at / 16 * 16) as u32],
    ];
    let page = |at: usize| Page {
        bits: 8,
        samples: 1,
        value: values[at],
    };
    let bytes = tiff(&[page(0), page(1), page(2)]);
    fs::write(place.path("scans/fax.tif"), bytes).unwrap();
    fs::write(place.path("third.tif"), tiff(&[page(2)])).unwrap();
    let report = place.json("index scans --model m --gallery g");
    assert_eq!(count(&report, "images"), 3);
    for line in ["third.tif", "scans/fax.tif#3", "scans#fax.tif#3"] {
        let found = place.json(&format!("search {line} --gallery g -k 1 --include-self"));
        assert_eq!(
            found["neighbours"][0]["payload"]["key"], "fax.tif#3",
            "{line}"
        );
        assert_eq!(found["neighbours"][0]["gone"], Value::Null, "{line}");
    }
    assert_eq!(
        count(
            &place.json("index scans --model m --gallery g --prune"),
            "unchanged"
        ),
        3
    );
    fs::write(place.path("scans/fax.tif"), tiff(&[page(0)])).unwrap();
    assert_eq!(
        count(
            &place.json("index scans --model m --gallery g --prune"),
            "removed"
        ),
        2
    );
}
