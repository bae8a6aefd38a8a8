//! What is done with copies: which are kept, and scripts that move the others, run with sh.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{Workplace, stderr};
use lookalike::images::{Collection, InputShape, Pixels, Turn, fit, thumbnail};
use lookalike::open;
use serde_json::Value;

const DIGITS: usize = 60;

/// A place with the folder `photos`, in its folder `keep` some digits as PNG files.
struct Copies {
    place: Workplace,
    digits: Collection,
}

impl Copies {
    fn new() -> Self {
        let copies = Self {
            place: Workplace::new(1),
            digits: open("mnist:test")
                .unwrap()
                .load(None, Some(DIGITS))
                .unwrap(),
        };
        for index in 0..DIGITS {
            copies.write(&format!("keep/{index}.png"), &copies.digits.picture(index));
        }
        copies
            .place
            .json("train photos --out m --epochs 1 --batch 32");
        copies
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path("photos").canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, pixels: &Pixels) {
        let path = self.place.path("photos").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        pixels.write_png(path).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        let to = self.at(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(self.at(from), to).unwrap();
    }

    fn index(&self) {
        self.place
            .json("index photos --model m --gallery g --no-diffusion");
    }

    /// All files of this place's folder of that name, and what is in them.
    fn files(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => walk(&path, found),
                    false => drop(found.insert(path.clone(), fs::read(path).unwrap())),
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.place.path(folder), &mut found);
        found
    }

    fn sh(&self, shell: &str, script: &str) -> Output {
        let mut command = Command::new(shell);
        command.arg(script).current_dir(self.place.path("."));
        command.output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The keys that are kept, by group.
fn kept(report: &Value) -> Vec<String> {
    let members: BTreeMap<&str, &str> = report["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["members"].as_array().unwrap())
        .map(|member| {
            (
                member["id"].as_str().unwrap(),
                member["key"].as_str().unwrap(),
            )
        })
        .collect();
    let verdicts = report["verdicts"].as_array().unwrap().iter();
    verdicts
        .map(|verdict| members[verdict["kept"].as_str().unwrap()].to_owned())
        .collect()
}

#[test]
fn scripts_move_files_of_any_name_and_back() {
    let copies = Copies::new();
    let names = [
        "it's.png",
        "new\nline.png",
        "-n.png",
        "$(touch pwned).png",
        "`touch pwned`.png",
        "a \"quote\"; touch pwned.png",
        "back\\slash'.png",
        "*?[a].png",
        "tab\t\u{1b}[31m.png",
        "gr\u{f6}\u{df}e \u{1f600}.png",
    ];
    for (index, name) in names.iter().enumerate() {
        copies.copy(&format!("keep/{index}.png"), &format!("other/{name}"));
    }
    copies.index();
    let before = copies.files("photos");
    let told = copies
        .place
        .json("duplicates --gallery g --prefer photos/keep --move-to aside");
    assert_eq!(told["plan"]["steps"].as_array().unwrap().len(), names.len());
    assert!(
        kept(&told).iter().all(|key| key.starts_with("keep/")),
        "{told}"
    );
    assert!(!copies.place.path("aside").exists());

    let line = "duplicates --gallery g --prefer photos/keep --move-to aside --script move.sh";
    let output = copies.place.run(line);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("nothing was done: read move.sh"),
        "{}",
        stdout(&output)
    );
    assert_eq!(copies.files("photos"), before);
    // The script of a former run may be needed to undo it.
    let again = copies.place.run(line);
    assert!(
        stderr(&again).contains("move.sh is there already"),
        "{}",
        stderr(&again)
    );

    let aside: BTreeMap<PathBuf, Vec<u8>> = before
        .iter()
        .filter_map(|(path, bytes)| {
            let key = path.strip_prefix(copies.place.path("photos")).unwrap();
            let moved = copies.place.path("aside/photos").join(key);
            key.starts_with("other").then(|| (moved, bytes.clone()))
        })
        .collect();
    let stay: BTreeMap<_, _> = before
        .clone()
        .into_iter()
        .filter(|(path, _)| path.to_string_lossy().contains("/keep/"))
        .collect();
    for shell in ["sh", "bash"] {
        if Command::new(shell).arg("-c").arg(":").output().is_err() {
            continue;
        }
        for said in ["10 moved, 0 were so already", "0 moved, 10 were so already"] {
            let output = copies.sh(shell, "move.sh");
            assert!(output.status.success(), "{}", stderr(&output));
            assert!(stdout(&output).contains(said), "{}", stdout(&output));
            assert_eq!(copies.files("aside"), aside);
            assert_eq!(copies.files("photos"), stay);
        }
        for said in ["10 moved back, 0 were", "0 moved back, 10 were"] {
            let output = copies.sh(shell, "move-undo.sh");
            assert!(output.status.success(), "{}", stderr(&output));
            assert!(stdout(&output).contains(said), "{}", stdout(&output));
            assert_eq!(copies.files("photos"), before);
            assert!(copies.files("aside").is_empty());
        }
    }
    let pwned = copies
        .files(".")
        .into_keys()
        .any(|path| path.ends_with("pwned"));
    assert!(!pwned, "a name was run as a command");
}

#[test]
fn what_changed_is_left_alone() {
    let copies = Copies::new();
    for index in 0..6 {
        copies.copy(&format!("keep/{index}.png"), &format!("other/{index}.png"));
    }
    // As near copies, which are not moved unless that is asked for.
    for index in 20..23 {
        let jpeg = thumbnail(&copies.digits.picture(index), 28).unwrap();
        fs::write(copies.at(&format!("other/{index}.jpg")), jpeg).unwrap();
    }
    copies.index();
    let exact = copies
        .place
        .json("duplicates --gallery g --prefer photos/keep --move-to aside");
    assert_eq!(
        exact["plan"]["steps"].as_array().unwrap().len(),
        6,
        "{exact}"
    );
    let left = exact["plan"]["left"].as_array().unwrap();
    assert_eq!(left.len(), 3, "{exact}");
    assert!(left.iter().all(|left| left["because"] == "near"), "{exact}");
    let report = copies.place.json(
        "duplicates --gallery g --near --prefer photos/keep --move-to aside --script near.sh",
    );
    assert_eq!(
        report["plan"]["steps"].as_array().unwrap().len(),
        9,
        "{report}"
    );

    let other = |name: &str| copies.at(&format!("other/{name}"));
    // The same length, another byte.
    let flip = |path: PathBuf| {
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    };
    flip(other("0.png"));
    flip(copies.at("keep/1.png"));
    fs::remove_file(copies.at("keep/2.png")).unwrap();
    fs::remove_file(other("3.png")).unwrap();
    symlink(copies.at("keep/3.png"), other("3.png")).unwrap();
    let taken = copies.place.path("aside/photos/other/4.png");
    fs::create_dir_all(taken.parent().unwrap()).unwrap();
    fs::write(&taken, "mine").unwrap();
    flip(other("20.jpg"));
    flip(copies.at("keep/21.png"));
    let before = copies.files("photos");

    let output = copies.sh("sh", "near.sh");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("2 moved, 0 were so already, 7 left alone"),
        "{}",
        stdout(&output)
    );
    let said = stderr(&output);
    for (name, reason) in [
        ("0.png", "byte for byte"),
        ("1.png", "byte for byte"),
        ("2.png", "kept for it is not there"),
        ("3.png", "not a regular file"),
        ("4.png", "something already"),
        ("20.jpg", "it has changed"),
        ("21.jpg", "kept for it has changed"),
    ] {
        let line = said
            .lines()
            .find(|line| line.contains(&format!("/{name}:")));
        assert!(
            line.is_some_and(|line| line.contains(reason)),
            "{name}: {said}"
        );
    }
    let mut expected = before.clone();
    expected.retain(|path, _| !path.ends_with("other/5.png") && !path.ends_with("other/22.jpg"));
    assert_eq!(copies.files("photos"), expected);
    assert_eq!(fs::read(&taken).unwrap(), b"mine");

    // What changed since it was moved stays where it is.
    let moved = copies.place.path("aside/photos/other/5.png");
    fs::write(&moved, "longer or shorter").unwrap();
    let output = copies.sh("sh", "near-undo.sh");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("changed since it was moved"),
        "{}",
        stderr(&output)
    );
    assert!(moved.exists());
    assert!(other("22.jpg").exists());
    // Planned anew, what changed since it was indexed is not even in a script.
    let output = copies
        .place
        .run("duplicates --gallery g --prefer photos/keep --move-to new");
    assert!(
        stdout(&output).contains("changed since they were indexed"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn copies_become_links_and_files_again() {
    let copies = Copies::new();
    copies.copy("keep/0.png", "other/a.png");
    copies.copy("keep/0.png", "other/b.png");
    copies.copy("keep/1.png", "other/it's.png");
    copies.index();
    let before = copies.files("photos");
    copies.place.json(
        "duplicates --gallery g --exact-only --prefer photos/keep --hard-link --script link.sh",
    );
    let inode = |name: &str| fs::metadata(copies.at(name)).unwrap().ino();
    for said in ["3 replaced by links, 0 were", "0 replaced by links, 3 were"] {
        let output = copies.sh("sh", "link.sh");
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains(said), "{}", stdout(&output));
        assert_eq!(copies.files("photos"), before);
        assert_eq!(inode("other/a.png"), inode("keep/0.png"));
        assert_eq!(inode("other/b.png"), inode("keep/0.png"));
        assert_eq!(inode("other/it's.png"), inode("keep/1.png"));
    }
    let output = copies.sh("sh", "link-undo.sh");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(copies.files("photos"), before);
    assert_ne!(inode("other/a.png"), inode("keep/0.png"));
    assert_ne!(inode("other/b.png"), inode("other/a.png"));
    // A copy that has become another picture is not replaced.
    let path = copies.at("other/b.png");
    fs::copy(copies.at("keep/9.png"), &path).unwrap();
    let output = copies.sh("sh", "link.sh");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        fs::read(path).unwrap(),
        before[&copies.place.path("photos/keep/9.png")]
    );
}

#[test]
fn what_a_script_cannot_move_safely_it_does_not_move() {
    let copies = Copies::new();
    for index in 0..3 {
        copies.copy(&format!("keep/{index}.png"), &format!("other/{index}.png"));
    }
    // A second name of a copy, and a link to one outside.
    fs::hard_link(copies.at("other/0.png"), copies.at("other/hard.png")).unwrap();
    fs::copy(copies.at("keep/1.png"), copies.place.path("outside.png")).unwrap();
    symlink(
        copies.place.path("outside.png"),
        copies.at("other/link.png"),
    )
    .unwrap();
    // A member of an archive.
    let tar = fs::File::create(copies.place.path("more.tar")).unwrap();
    let mut tar = tar::Builder::new(tar);
    tar.append_path_with_name(copies.at("keep/2.png"), "2.png")
        .unwrap();
    tar.finish().unwrap();
    copies.index();
    copies
        .place
        .json("index more.tar --model m --gallery g --no-diffusion");

    let report = copies
        .place
        .json("duplicates --gallery g --prefer photos/keep --move-to aside");
    let reasons: BTreeMap<String, String> = report["plan"]["left"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| {
            let place = left["place"].as_str().unwrap();
            let name = place.rsplit('/').next().unwrap();
            (
                name.to_owned(),
                left["because"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [
        ("0.png", "same-file"),
        ("hard.png", "same-file"),
        ("link.png", "link"),
        ("more.tar!2.png", "member"),
    ];
    assert_eq!(
        reasons,
        expected
            .map(|(name, why)| (name.to_owned(), why.to_owned()))
            .into()
    );
    let steps = report["plan"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2, "{report}");

    // What is preferred is kept only if a script can look at it.
    let report = copies
        .place
        .json("duplicates --gallery g --prefer more.tar");
    let tarred = report["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|verdict| {
            verdict["copies"].as_array().unwrap().len() == 2
                && kept(&report).contains(&"keep/2.png".to_owned())
        });
    assert!(tarred.is_some(), "{report}");
    for folder in ["photos", "photos/keep/aside"] {
        let output = copies
            .place
            .run(&format!("duplicates --gallery g --move-to {folder}"));
        assert!(
            stderr(&output).contains("would be indexed again"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn copies_are_looked_for_across_sources_and_within_folders() {
    let copies = Copies::new();
    let digit = |index: usize| copies.digits.picture(index);
    // In the test set: two copies of one digit, a near copy of another, and one of its own.
    let test = copies.place.path("test");
    fs::create_dir(&test).unwrap();
    for name in ["a.png", "b.png"] {
        digit(3).write_png(test.join(name)).unwrap();
    }
    fs::write(test.join("c.jpg"), thumbnail(&digit(20), 28).unwrap()).unwrap();
    digit(7).write_png(copies.place.path("own.png")).unwrap();
    let own = fs::read(copies.place.path("own.png")).unwrap();
    for name in ["d.png", "e.png"] {
        // Not in the training set, and there twice.
        fs::write(test.join(name), &own).unwrap();
    }
    fs::remove_file(copies.at("keep/7.png")).unwrap();
    copies.copy("keep/5.png", "keep/again.png");
    copies.copy("keep/5.png", "other/again.png");
    copies.index();
    copies
        .place
        .json("index test --model m --gallery g --no-diffusion");

    let all = copies.place.json("duplicates --gallery g");
    assert_eq!(
        (&all["group_count"], &all["overlap"]),
        (&4.into(), &Value::Null),
        "{all}"
    );
    let across = copies
        .place
        .json("duplicates --gallery g --across photos test");
    assert_eq!(across["group_count"], 2, "{across}");
    assert_eq!(
        across["overlap"]["points"],
        serde_json::json!([DIGITS + 1, 5])
    );
    assert_eq!(across["overlap"]["copied"], serde_json::json!([2, 3]));
    let said = stdout(
        &copies
            .place
            .run("duplicates --gallery g --across photos test"),
    );
    assert!(said.contains("3 of the 5 pictures of source="), "{said}");
    // By conditions: labels are the names of folders.
    let across = copies
        .place
        .json("duplicates --gallery g --across label=keep label=other");
    assert_eq!(
        across["overlap"]["copied"],
        serde_json::json!([2, 1]),
        "{across}"
    );
    let wrong = copies
        .place
        .run("duplicates --gallery g --across photos nothing");
    assert!(
        stderr(&wrong).contains("neither a source"),
        "{}",
        stderr(&wrong)
    );

    let within = copies.place.json("duplicates --gallery g --within-folder");
    let keys = |group: &Value| -> Vec<String> {
        let members = group["members"].as_array().unwrap().iter();
        let mut keys: Vec<_> = members
            .map(|m| m["key"].as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys
    };
    let mut groups: Vec<_> = within["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(keys)
        .collect();
    groups.sort();
    let expected = [
        ["a.png", "b.png"],
        ["d.png", "e.png"],
        ["keep/5.png", "keep/again.png"],
    ];
    assert_eq!(groups, expected, "{within}");
}

#[test]
fn turned_copies_are_found_where_they_are_asked_for() {
    let copies = Copies::new();
    // A seven, a two, fours, a nine, a five and a six: none looks like itself when it is turned.
    let turns: Vec<_> = [0, 1, 4, 6, 7, 8, 11]
        .into_iter()
        .zip(&Turn::ALL[1..])
        .collect();
    for &(index, turn) in &turns {
        let turned = enlarged(&copies.digits.picture(index).turned(*turn));
        copies.write(&format!("other/{index} {turn}.png"), &turned);
    }
    copies.index();
    assert_eq!(copies.place.json("duplicates --gallery g")["near"], 0);
    let found = copies.place.json("duplicates --gallery g --turned");
    let groups = found["groups"].as_array().unwrap();
    for &(index, turn) in &turns {
        let original = format!("keep/{index}.png");
        let group = groups
            .iter()
            .find(|group| group["members"][1]["key"] == original);
        let group = group.unwrap_or_else(|| panic!("{turn}: {found}"));
        // The representative is the larger one, and must be turned back.
        assert_eq!(
            group["members"][1]["turned"],
            turn.inverse().name(),
            "{group}"
        );
        assert_eq!(group["members"][0]["turned"], Value::Null, "{group}");
    }
    assert_eq!(groups.len(), turns.len(), "{found}");
    let output = copies
        .place
        .run("duplicates --gallery g --turned --exact-only");
    assert!(
        stderr(&output).contains("cannot be used with"),
        "{}",
        stderr(&output)
    );
}

/// Every pixel to a square of two by two.
fn enlarged(pixels: &Pixels) -> Pixels {
    let (width, height) = (2 * pixels.width(), 2 * pixels.height());
    let from = |at: usize| at / width / 2 * pixels.width() + at % width / 2;
    let data = (0..width * height).map(|at| pixels.data()[from(at)]);
    Pixels::new(width, height, 1, data.collect()).unwrap()
}

#[test]
fn rules_say_which_copy_is_kept() {
    let copies = Copies::new();
    let digit = copies.digits.picture(8);
    let shape = |side| InputShape {
        channels: 1,
        height: side,
        width: side,
    };
    let large = fit(&digit, shape(56));
    let larger = fit(&fit(&digit, shape(20)), shape(84));
    copies.write("blurred/8 larger.png", &larger);
    copies.write("large/8 large.png", &large);
    fs::write(copies.at("large/8.jpg"), thumbnail(&large, 56).unwrap()).unwrap();
    let seconds = |name: &str, seconds: u64| {
        let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options()
            .write(true)
            .open(copies.at(name))
            .unwrap()
            .set_modified(at)
            .unwrap();
    };
    seconds("large/8.jpg", 1_000_000_000);
    seconds("blurred/8 larger.png", 1_000_000_001);
    seconds("large/8 large.png", 2_000_000_000);
    seconds("keep/8.png", 1_500_000_000);
    copies.index();
    fs::create_dir(copies.place.path("empty")).unwrap();
    let by = |rules: &str| {
        let report = copies
            .place
            .json(&format!("duplicates --gallery g --near {rules}"));
        let verdict = &report["verdicts"][0];
        assert_eq!(verdict["copies"].as_array().unwrap().len(), 3, "{report}");
        let rule = verdict["rule"].as_str().unwrap_or_default().to_owned();
        (
            kept(&report)[0].clone(),
            rule,
            verdict["reason"].as_str().unwrap().to_owned(),
        )
    };
    for (rules, key, rule, reason) in [
        (
            "--keep resolution",
            "blurred/8 larger.png",
            "resolution",
            "84x84, the next 56x56",
        ),
        ("--keep sharpness", "keep/8.png", "sharpness", "the next"),
        (
            "--keep oldest",
            "large/8.jpg",
            "oldest",
            "2001-09-09T01:46:40Z, the next 2001-09-09T01:46:41Z",
        ),
        ("--keep newest", "large/8 large.png", "newest", "2033-05-18"),
        (
            "--keep format,newest",
            "large/8 large.png",
            "newest",
            "2033-05-18",
        ),
        (
            "--keep folder,format --prefer photos/large",
            "large/8 large.png",
            "format",
            "PNG, the next JPEG",
        ),
        ("--keep format", "blurred/8 larger.png", "", "first by path"),
        // A folder that has no copies is no mistake.
        (
            "--keep folder,oldest --prefer empty",
            "large/8.jpg",
            "oldest",
            "2001-09-09",
        ),
    ] {
        let found = by(rules);
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            (key, rule),
            "{rules}: {}",
            found.2
        );
        assert!(found.2.contains(reason), "{rules}: {}", found.2);
    }
    for (line, complaint) in [
        ("--keep folder", "name the folders"),
        (
            "--keep oldest --prefer photos",
            "put it among those of --keep",
        ),
        ("--prefer photos/larg --move-to aside", "no such folder"),
        ("--keep largest", "expected some of resolution"),
        ("--script a.sh", "say what it shall do"),
        ("--near --hard-link", "cannot be used with"),
    ] {
        let output = copies.place.run(&format!("duplicates --gallery g {line}"));
        assert!(!output.status.success(), "{line}");
        assert!(
            stderr(&output).contains(complaint),
            "{line}: {}",
            stderr(&output)
        );
    }
}
