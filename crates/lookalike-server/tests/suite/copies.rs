//! What the server and the page do about copies: what is kept, decisions, details and scripts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::browser::Page;
use crate::support::{Answer, Running, TOKEN, digit, digits, finished, gallery, model};
use lookalike::images::{InputShape, Turn, fit};
use lookalike::{IndexOptions, create_gallery, index, open, open_gallery};
use serde_json::{Value, json};

/// A folder `photos` in `folder`: some digits in `keep`, the first two of them in `other` too, and
/// digit 9 once more, larger and blurred.
fn write_photos(folder: &Path) -> PathBuf {
    let photos = folder.join("photos");
    for part in ["keep", "other"] {
        fs::create_dir_all(photos.join(part)).unwrap();
    }
    for number in 0..12 {
        fs::write(photos.join(format!("keep/{number}.png")), digit(number)).unwrap();
    }
    for number in 0..2 {
        fs::write(photos.join(format!("other/{number}.png")), digit(number)).unwrap();
    }
    let shape = |side| InputShape {
        channels: 1,
        height: side,
        width: side,
    };
    let blurred = fit(&fit(&digits(10).picture(9), shape(24)), shape(56));
    blurred.write_png(photos.join("other/9 large.png")).unwrap();
    for (part, seconds) in [("keep", 1_600_000_000), ("other", 1_700_000_000)] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for file in fs::read_dir(photos.join(part)).unwrap() {
            let file = File::options().write(true).open(file.unwrap().path());
            file.unwrap().set_modified(time).unwrap();
        }
    }
    photos
}

/// A server on a gallery of digits and the folder of photos.
fn server() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("g");
    gallery(&name);
    let photos = write_photos(folder.path());
    let gallery = open_gallery(&name).unwrap();
    let source = open(photos.to_str().unwrap()).unwrap();
    index(source, &model(), &*gallery, IndexOptions::default()).unwrap();
    drop(gallery);
    Running::on(folder, |_| {})
}

/// A server on the folder of photos alone, all of which have thumbnails, with more digits, one of
/// them mirrored, and digit 8 enlarged in place of digit 9.
fn server_of_files() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let photos = write_photos(folder.path());
    for number in 12..80 {
        fs::write(photos.join(format!("keep/{number}.png")), digit(number)).unwrap();
    }
    fs::remove_file(photos.join("other/9 large.png")).unwrap();
    let large = InputShape {
        channels: 1,
        height: 56,
        width: 56,
    };
    let large = fit(&digits(10).picture(8), large);
    large.write_png(photos.join("other/8 large.png")).unwrap();
    let mirrored = digits(10).picture(6).turned(Turn::Mirrored);
    mirrored
        .write_png(photos.join("other/6 mirrored.png"))
        .unwrap();
    let model = model();
    let gallery = create_gallery(folder.path().join("g"), &model, &Default::default()).unwrap();
    let source = open(photos.to_str().unwrap()).unwrap();
    index(source, &model, &*gallery, IndexOptions::default()).unwrap();
    drop(gallery);
    Running::on(folder, |_| {})
}

fn photos(server: &Running) -> PathBuf {
    let folder = server.folder.path().join("photos");
    folder.canonicalize().unwrap()
}

fn put(server: &Running, body: &Value, authorization: &str) -> Answer {
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", authorization),
    ];
    let path = "/api/v1/duplicates/decisions";
    server.ask("PUT", path, &headers, body.to_string().as_bytes())
}

fn signed_in() -> String {
    format!("Bearer {TOKEN}")
}

/// The group with this key, and the key that it keeps.
fn group<'a>(found: &'a Value, key: &str) -> (&'a Value, String) {
    let has = |group: &&Value| {
        let mut members = group["members"].as_array().unwrap().iter();
        members.any(|member| member["image"]["key"] == key)
    };
    let groups = found["groups"].as_array().unwrap();
    let group = groups.iter().find(has).unwrap_or_else(|| panic!("{found}"));
    let kept = &group["kept"][0]["kept"];
    let members = group["members"].as_array().unwrap();
    let kept = members.iter().find(|member| member["image"]["id"] == *kept);
    let kept = kept.map_or_else(String::new, |kept| {
        kept["image"]["key"].as_str().unwrap().to_owned()
    });
    (group, kept)
}

fn id(group: &Value, key: &str) -> Value {
    let members = group["members"].as_array().unwrap();
    let member = members.iter().find(|member| member["image"]["key"] == key);
    member.unwrap()["image"]["id"].clone()
}

#[test]
fn rules_and_decisions_say_what_is_kept() {
    let server = server();
    let keep = photos(&server).join("keep");
    let by_folder = format!(
        "/api/v1/duplicates?exact_only=true&keep=folder&prefer={}",
        keep.display()
    );
    let found = finished(&server, &by_folder);
    assert_eq!(found["group_count"], 2);
    let (copies, kept) = group(&found, "other/1.png");
    assert_eq!(kept, "keep/1.png");
    let reason = copies["kept"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("folder: "), "{reason}");
    assert!(copies["members"][0].get("decided").is_none());
    // Nothing is said that was not asked for.
    let plain = finished(&server, "/api/v1/duplicates?exact_only=true");
    assert!(plain["groups"][0].get("kept").is_none(), "{plain}");
    let large = "/api/v1/duplicates?near=true&keep=";
    let largest = finished(&server, &format!("{large}resolution"));
    assert_eq!(group(&largest, "keep/9.png").1, "other/9 large.png");
    let sharpest = finished(&server, &format!("{large}sharpness&limit=20&members=10"));
    assert_eq!(group(&sharpest, "keep/9.png").1, "keep/9.png");
    for (query, complaint) in [
        ("keep=largest", "expected some of resolution"),
        ("keep=folder", "needs 'prefer'"),
    ] {
        let said = server
            .get(&format!("/api/v1/duplicates?{query}"))
            .problem(422);
        assert!(said.contains(complaint), "{said}");
    }

    let (kept, other) = (id(copies, "keep/1.png"), id(copies, "other/1.png"));
    let decisions =
        json!({"decisions": [{"id": other, "keep": true}, {"id": kept, "keep": false}]});
    put(&server, &decisions, "Bearer wrong").problem(401);
    assert_eq!(put(&server, &decisions, &signed_in()).ok()["kept"], 2);
    let found = finished(&server, &by_folder);
    let (copies, kept) = group(&found, "other/1.png");
    assert_eq!(kept, "other/1.png");
    assert_eq!(copies["kept"][0]["reason"], "decided by hand");
    let decided: Vec<&Value> = copies["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["decided"])
        .collect();
    assert!(decided.contains(&&json!(true)) && decided.contains(&&json!(false)));
    // They are in the gallery, and can be forgotten.
    assert!(server.gallery_path().join("decisions.json").is_file());
    let server = Running::on(server.stop(), |_| {});
    assert_eq!(
        group(&finished(&server, &by_folder), "other/1.png").1,
        "other/1.png"
    );
    let forget = json!({"decisions": [{"id": other, "keep": null}, {"id": id(copies, "keep/1.png"), "keep": null}]});
    put(&server, &forget, &signed_in()).ok();
    assert_eq!(
        group(&finished(&server, &by_folder), "other/1.png").1,
        "keep/1.png"
    );
    let wrong = json!({"decisions": [{"id": "seven", "keep": true}]});
    put(&server, &wrong, &signed_in()).problem(422);

    let ids = format!(
        "{},{}",
        id(copies, "keep/1.png").as_str().unwrap(),
        other.as_str().unwrap()
    );
    let details = server
        .get(&format!("/api/v1/duplicates/details?ids={ids}"))
        .ok();
    assert_eq!(details["images"][0]["format"], "PNG");
    assert_eq!(
        details["images"][0]["sharpness"],
        details["images"][1]["sharpness"]
    );
    assert!(details["images"][0]["sharpness"].as_f64().unwrap() > 0.0);
    server
        .get("/api/v1/duplicates/details?ids=seven")
        .problem(422);
}

#[cfg(unix)]
#[test]
fn scripts_do_what_was_decided() {
    let server = server();
    let photos = photos(&server);
    let aside = server.folder.path().join("aside");
    let path = format!(
        "/api/v1/duplicates/script?exact_only=true&keep=folder&prefer={}&move_to={}",
        photos.join("keep").display(),
        aside.display()
    );
    let written = finished(&server, &path);
    assert_eq!(written["files"], 2, "{written}");
    // Decided otherwise, the script is another.
    let found = finished(&server, "/api/v1/duplicates?exact_only=true");
    let (copies, _) = group(&found, "other/0.png");
    let decisions = json!({"decisions": [{"id": id(copies, "other/0.png"), "keep": true}]});
    put(&server, &decisions, &signed_in()).ok();
    let written = finished(&server, &path);
    for (name, text) in [("move.sh", "script"), ("undo.sh", "undo")] {
        fs::write(
            server.folder.path().join(name),
            written[text].as_str().unwrap(),
        )
        .unwrap();
    }
    let run = |name: &str| {
        let mut command = Command::new("sh");
        let output = command
            .arg(server.folder.path().join(name))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run("move.sh");
    let moved = |key: &str| aside.join("photos").join(key).is_file() && !photos.join(key).exists();
    assert!(moved("keep/0.png") && moved("other/1.png"));
    assert!(photos.join("other/0.png").is_file() && photos.join("keep/1.png").is_file());
    run("undo.sh");
    for key in ["keep/0.png", "keep/1.png", "other/0.png", "other/1.png"] {
        assert!(photos.join(key).is_file(), "{key}");
    }
    let said = server
        .get("/api/v1/duplicates/script?move_to=aside")
        .problem(422);
    assert!(said.contains("from the root"), "{said}");
    let inside = format!(
        "/api/v1/duplicates/script?exact_only=true&move_to={}",
        photos.display()
    );
    let said = loop {
        let answer = server.get(&inside);
        if answer.status != 202 {
            break answer.problem(422);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(said.contains("indexed again"), "{said}");
}

/// How members of the groups that have this key are turned.
fn turns(found: &Value, key: &str) -> Vec<Value> {
    let groups = found["groups"].as_array().unwrap().iter();
    let groups = groups.map(|group| group["members"].as_array().unwrap());
    let groups = groups.filter(|members| members.iter().any(|m| m["image"]["key"] == key));
    groups
        .flat_map(|members| members.iter().map(|member| member["turned"].clone()))
        .collect()
}

#[test]
fn copies_are_looked_for_turned_across_and_within() {
    let server = server_of_files();
    let plain = finished(&server, "/api/v1/duplicates?limit=1000");
    assert!(turns(&plain, "other/6 mirrored.png").is_empty());
    let turned = finished(&server, "/api/v1/duplicates?limit=1000&turned=true");
    let turns = turns(&turned, "other/6 mirrored.png");
    assert!(turns.contains(&json!("mirrored")), "{turns:?}");

    // Pairs on both sides of the limit, those nearest to it first.
    let shares = |side: &str| -> Vec<f64> {
        let pairs = plain["examples"][side].as_array().unwrap().iter();
        pairs
            .inspect(|pair| assert_eq!(pair["images"].as_array().unwrap().len(), 2))
            .map(|pair| pair["share"].as_f64().unwrap())
            .collect()
    };
    let (inside, outside) = (shares("inside"), shares("outside"));
    assert!(!inside.is_empty() && inside.iter().all(|&share| share <= 1.0));
    assert!(!outside.is_empty() && outside.iter().all(|&share| share > 1.0));
    assert!(inside.is_sorted_by(|a, b| a >= b) && outside.is_sorted());

    let across = "/api/v1/duplicates?across=width%3D28%0Awidth%3D56";
    let found = finished(&server, across);
    assert_eq!(found["group_count"], 1, "{found}");
    assert_eq!(found["overlap"]["parts"], json!(["width=28", "width=56"]));
    assert_eq!(found["overlap"]["points"][1], 1);
    assert_eq!(found["overlap"]["copied"][1], 1);
    let exact = "/api/v1/duplicates?exact_only=true";
    let exact_found = finished(&server, exact);
    assert_eq!(exact_found["group_count"], 2);
    assert!(exact_found.get("examples").is_none());
    let within = finished(&server, &format!("{exact}&within_folder=true"));
    assert_eq!(within["group_count"], 0, "the copies lie in two folders");
    // A script deals with what is listed.
    let script = "/api/v1/duplicates/script?exact_only=true";
    assert_eq!(finished(&server, script)["files"], 2);
    let within = finished(&server, &format!("{script}&within_folder=true"));
    assert_eq!(within["files"], 0);

    for (query, complaint) in [
        ("turned=true&exact_only=true", "by comparing pictures"),
        ("turned=true&threshold=0.1", "by comparing pictures"),
        ("across=width%3D28", "1 lines"),
        ("across=a%0Ab&within_folder=true", "leave out one of"),
        ("across=nowhere%0Awidth%3D56", "neither a source"),
    ] {
        let said = server
            .get(&format!("/api/v1/duplicates?{query}"))
            .problem(422);
        assert!(said.contains(complaint), "{said}");
    }
}

#[test]
fn the_page_looks_for_turned_copies_and_across_parts() {
    let server = server_of_files();
    let page = Page::new(format!("http://{}", server.address));
    page.open("/duplicates");
    page.wait_for(".group");
    page.click("#turned");
    page.wait_address("turned=1");
    page.wait("[...document.querySelectorAll('.group .turned')].some((one) => one.textContent === 'mirrored')");
    assert_eq!(page.eval("document.querySelector('#near').disabled"), true);
    // What the limit means.
    page.click("#border summary");
    page.wait("document.querySelectorAll('#border section').length === 2");
    page.wait(
        "/^[0-9.]+ % of the limit/.test(document.querySelector('#border .example p').textContent)",
    );
    page.check_accessible("examples around the limit");
    page.check_width("examples around the limit");
    page.screenshot("limit");

    page.open("/duplicates?where=across&part=width%3D28&other=width%3D56");
    page.wait("document.querySelectorAll('.group').length === 1");
    page.wait("document.querySelector('#status').textContent.includes('Of 1 image of width=56, 1 has a copy in the other part.')");
    page.eval("(() => { const place = document.querySelector('#where'); place.value = 'folder'; place.dispatchEvent(new Event('change', { bubbles: true })); })()");
    page.wait_address("where=folder");
    page.wait("document.querySelector('#part').offsetParent === null");
}

#[test]
fn copies_are_reviewed_on_the_page() {
    let server = server();
    let page = Page::new(format!("http://{}", server.address));
    page.open(&format!("/#token={TOKEN}"));
    page.wait("location.hash === ''");
    page.open("/duplicates?exact=1");
    page.wait("document.querySelectorAll('.group').length === 2");
    page.wait("document.querySelectorAll('.keeps').length === 2 && document.querySelectorAll('.gives-way').length === 2");
    assert!(
        page.text(".keeps").contains("oldest: 2020-09-13"),
        "{}",
        page.text(".keeps")
    );

    page.click(".group .compare");
    page.wait_for("dialog#review[open] .stage");
    page.wait("[...document.querySelectorAll('#review .over img')].every((one) => one.complete && one.naturalWidth === 28)");
    page.wait("document.querySelector('#review table').textContent.includes('PNG')");
    page.check_accessible("reviewing copies");
    page.screenshot("review");
    // The slider uncovers the one picture and covers the other.
    let cut = "getComputedStyle(document.querySelector('#review .upper')).clipPath";
    let before = page.eval(cut);
    page.eval("(() => { const cut = document.querySelector('#cut'); cut.value = 80; cut.dispatchEvent(new Event('input')); })()");
    page.wait(&format!("{cut}.includes('80%') && {cut} !== {before}"));
    // At full size both have their own pixels.
    page.click("#full");
    page.wait(
        "Math.round(document.querySelector('#review .under').getBoundingClientRect().width) === 28",
    );

    let kept = page.text(".group .tile:has(.keeps) .place:last-child");
    page.click("#review .keep-right");
    page.wait("!document.querySelector('dialog#review').open");
    page.wait("document.querySelector('.keeps')?.textContent === 'kept (you decided)'");
    assert_ne!(
        page.text(".group .tile:has(.keeps) .place:last-child"),
        kept
    );
    page.open("/duplicates?exact=1");
    page.wait("document.querySelector('.keeps')?.textContent === 'kept (you decided)'");
    page.click(".group .compare");
    page.click("#review .forget");
    page.wait("document.querySelector('.keeps')?.textContent.includes('oldest: 2020-09-13')");

    // The rule can be changed, and is in the address.
    page.eval("(() => { const keep = document.querySelector('#keep'); keep.value = 'newest'; keep.dispatchEvent(new Event('change', { bubbles: true })); })()");
    page.wait_address("keep=newest");
    page.wait("document.querySelectorAll('.keeps').length === 2");

    page.click("#script summary");
    page.click("#move-to");
    let aside = server.folder.path().join("aside");
    page.type_in(&aside.display().to_string());
    page.click("#script .write");
    page.wait(
        "document.querySelector('#script .written')?.textContent.includes('It deals with 2 files')",
    );
    page.wait(
        "document.querySelector('#script pre').textContent.includes('This script moves 2 copies')",
    );
    let links = page
        .eval("[...document.querySelectorAll('#script a[download]')].map((one) => one.download)");
    assert_eq!(links, json!(["move.sh", "move-undo.sh"]));
    page.check_accessible("a script was written");
    page.check_width("a script was written");
    assert!(!Path::new(&aside).exists());
}
