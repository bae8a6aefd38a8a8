//! The API's contract: what each request answers, and what survives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Form, IMAGES, Running, SEVEN, TOKEN, digit, finished, keys, new_digit};
use lookalike_server::{ServeOptions, Token};
use serde_json::{Value, json};

#[test]
fn words_need_an_encoder_that_knows_them() {
    let server = Running::new();
    let said = server.post_json("/api/v1/search", &json!({"query": {"text": "a seven"}}));
    let problem = said.problem(422);
    assert!(problem.contains("pictures alone"), "{problem}");
    let nothing = json!({"query": {"text": " "}});
    let problem = server.post_json("/api/v1/search", &nothing).problem(422);
    assert!(problem.contains("1 to 1000"), "{problem}");
    for query in [
        json!({"text": "a", "id": SEVEN}),
        json!({"text": "a", "region": {"x": 0, "y": 0, "width": 1, "height": 1}}),
    ] {
        let said = server.post_json("/api/v1/search", &json!({"query": query}));
        let problem = said.problem(422);
        assert!(problem.contains("exactly one of"), "{problem}");
    }
}

#[test]
fn searches_of_every_kind_agree() {
    let server = Running::new();
    let by_id = server
        .post_json("/api/v1/search", &json!({"query": {"id": SEVEN}, "k": 5}))
        .ok();
    assert_eq!(by_id["neighbours"].as_array().unwrap().len(), 5);
    assert!(
        !keys(&by_id).contains(&"7".to_owned()),
        "the query itself is left out"
    );
    let distances: Vec<f64> = by_id["neighbours"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["distance"].as_f64().unwrap())
        .collect();
    assert!(distances.is_sorted());

    // The same by its code, by sending it, and by sending it beforehand; the file is not the
    // gallery's content, so that it finds itself first.
    let code = server
        .post_json("/api/v1/encode", &json!({"query": {"id": SEVEN}}))
        .ok();
    assert_eq!(code["metric"], "cosine");
    let by_code = json!({"query": {"code": code["code"]}, "k": 6});
    let by_code = server.post_json("/api/v1/search", &by_code).ok();
    let seven = digit(7);
    let form = Form::new()
        .file("image", "7.png", &seven)
        .text("search", r#"{"k": 6}"#);
    let by_image = server.send("POST", "/api/v1/search", &form).ok();
    let sent = server
        .send(
            "POST",
            "/api/v1/queries",
            &Form::new().file("image", "7.png", &seven),
        )
        .ok();
    assert_eq!((&sent["width"], &sent["height"]), (&json!(28), &json!(28)));
    let by_upload = json!({"query": {"upload": sent["upload"]}, "k": 6});
    let by_upload = server.post_json("/api/v1/search", &by_upload).ok();
    let expected: Vec<String> = [vec!["7".to_owned()], keys(&by_id)].concat();
    for answer in [by_code, by_image, by_upload] {
        assert_eq!(keys(&answer), expected);
    }

    // Regions: all of it is it, a part of it is not.
    let region =
        |width| json!({"id": SEVEN, "region": {"x": 0, "y": 0, "width": width, "height": 28}});
    let whole = server
        .post_json("/api/v1/search", &json!({"query": region(28), "k": 5}))
        .ok();
    assert_eq!(keys(&whole), keys(&by_id));
    let half = server
        .post_json("/api/v1/search", &json!({"query": region(14), "k": 5}))
        .ok();
    assert_ne!(keys(&half), keys(&by_id));

    // Page by page it is the same ranking.
    let page = |offset| json!({"query": {"id": SEVEN}, "k": 2, "offset": offset, "exact": true});
    let pages: Vec<String> = (0..4)
        .step_by(2)
        .flat_map(|offset| keys(&server.post_json("/api/v1/search", &page(offset)).ok()))
        .collect();
    assert_eq!(pages[..], keys(&by_id)[..4]);
}

#[test]
fn searches_can_be_narrowed() {
    let server = Running::new();
    let search = |extra: Value| {
        let mut body = json!({"query": {"id": SEVEN}, "k": 300});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        server.post_json("/api/v1/search", &body).ok()
    };
    let all = search(json!({}));
    assert_eq!(all["neighbours"].as_array().unwrap().len(), IMAGES - 1);
    assert_eq!(all["more"], false);
    let near = search(json!({"max_distance": all["neighbours"][9]["distance"]}));
    assert_eq!(keys(&near), keys(&all)[..10]);
    let threes = search(json!({"filter": "label=3"}));
    let labels = threes["neighbours"].as_array().unwrap().iter();
    assert!(labels.clone().count() > 5);
    assert!(labels.clone().all(|n| n["image"]["label"] == "3"));
    let itself = search(json!({"exclude_self": false, "k": 1}));
    assert_eq!(keys(&itself), ["7"]);
    let euclidean = search(json!({"metric": "euclidean", "k": 3}));
    assert_eq!(
        (&euclidean["metric"], &euclidean["exact"]),
        (&json!("euclidean"), &json!(true))
    );
    let diffused = search(json!({"rerank": "diffusion", "k": 3}));
    assert!(diffused["neighbours"][0]["score"].is_number());
    let diverse = search(json!({"diverse": 0.0, "k": 5}));
    assert_ne!(keys(&diverse), keys(&all)[..5]);
    assert_eq!(diverse["more"], false);

    let like = json!({"like": [{"id": SEVEN}], "unlike": [{"id": all["neighbours"][0]["image"]["id"]}], "k": 5});
    let like = server.post_json("/api/v1/search", &like).ok();
    let found = keys(&like);
    assert!(!found.contains(&"7".to_owned()) && !found.contains(&keys(&all)[0]));

    let facets = server
        .get("/api/v1/facets?field=label&filter=width%3E%3D10")
        .ok();
    let counts = facets["facets"].as_array().unwrap();
    let sum: u64 = counts
        .iter()
        .map(|facet| facet["count"].as_u64().unwrap())
        .sum();
    assert_eq!((counts.len(), sum), (10, IMAGES as u64));
}

#[test]
fn parts_of_images_are_found_where_tiles_are_kept() {
    let server = Running::tiled();
    let facts = server.get("/api/v1/gallery").ok();
    assert_eq!(facts["gallery"]["tiles"], 30);
    // The third digit of the fourth picture: on the left, below.
    let form = || Form::new().file("image", "14.png", &digit(14));
    let ask = |search: &str| server.send("POST", "/api/v1/search", &form().text("search", search));
    let found = ask(r#"{"tiles": true, "k": 5}"#).ok();
    assert_eq!(keys(&found)[0], "3.png");
    let region = &found["neighbours"][0]["region"];
    assert_eq!(region, &json!({"x": 0, "y": 28, "width": 28, "height": 28}));
    let more = ask(r#"{"tiles": true, "k": 5, "offset": 5}"#).ok();
    let (first, next) = (keys(&found), keys(&more));
    assert!(next.len() == 5 && next.iter().all(|key| !first.contains(key)));
    // A region of an image of the gallery, which may be found itself.
    let id = found["neighbours"][0]["image"]["id"].clone();
    let part = json!({"id": id, "region": {"x": 28, "y": 28, "width": 28, "height": 28}});
    let search = json!({"query": part, "tiles": true, "k": 1, "exclude_self": false});
    let part = server.post_json("/api/v1/search", &search).ok();
    assert_eq!(part["neighbours"][0]["region"]["x"], 28);
    // Without, there are no parts.
    let whole = ask(r#"{"k": 5}"#).ok();
    assert!(whole["neighbours"][0].get("region").is_none());
    let refused = ask(r#"{"tiles": true, "diverse": 0.5}"#);
    assert_eq!(refused.status, 422);
    let like = json!({"like": [{"id": id}], "tiles": true});
    assert_eq!(server.post_json("/api/v1/search", &like).status, 422);
    let plain = Running::new();
    assert!(
        plain.get("/api/v1/gallery").ok()["gallery"]
            .get("tiles")
            .is_none()
    );
    let body = json!({"query": {"id": SEVEN}, "tiles": true});
    let refused = plain.post_json("/api/v1/search", &body);
    assert_eq!(refused.status, 422);
}

#[test]
fn pictures_are_answered_with_versions() {
    let server = Running::new();
    let image = server.get(&format!("/api/v1/images/{SEVEN}")).ok();
    assert_eq!((&image["key"], &image["label"]), (&json!("7"), &json!("9")));
    for kind in ["thumbnail", "original", "reconstruction"] {
        let path = format!("/api/v1/images/{SEVEN}/{kind}");
        let first = server.get(&path);
        assert_eq!(first.status, 200, "{kind}");
        assert_eq!(first.header("content-type"), Some("image/png"));
        assert_eq!(first.header("x-content-type-options"), Some("nosniff"));
        assert!(first.body.starts_with(b"\x89PNG"));
        assert_eq!(first.header("cache-control"), Some("private, no-cache"));
        let tag = first.header("etag").unwrap().to_owned();
        let again = server.ask("GET", &path, &[("If-None-Match", &tag)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{kind}");
        let version = &image["blake3"].as_str().unwrap()[..16];
        let by_version = server.get(&format!("{path}?v={version}"));
        assert!(
            by_version
                .header("cache-control")
                .unwrap()
                .contains("immutable")
        );
        let by_other = server.get(&format!("{path}?v=0000000000000000"));
        assert_eq!(by_other.header("cache-control"), Some("private, no-cache"));
    }
    let sent = server
        .send(
            "POST",
            "/api/v1/queries",
            &Form::new().file("image", "x", &digit(3)),
        )
        .ok();
    let upload = sent["upload"].as_str().unwrap();
    for path in [
        format!("/api/v1/queries/{upload}"),
        format!("/api/v1/queries/{upload}/reconstruction"),
    ] {
        assert!(server.get(&path).body.starts_with(b"\x89PNG"), "{path}");
    }
    let made = server.post_json("/api/v1/reconstruct", &json!({"query": {"id": SEVEN}}));
    assert_eq!(made.status, 200);
    assert_eq!(
        made.body,
        server
            .get(&format!("/api/v1/images/{SEVEN}/reconstruction"))
            .body
    );
}

#[test]
fn a_likeness_is_explained_by_parts_that_add_up() {
    let server = Running::new();
    let other = lookalike::gallery::point_id("mnist:test", "9").to_string();
    let body = json!({"query": {"id": SEVEN}, "with": {"id": other}});
    let why = server.post_json("/api/v1/explain", &body).ok();
    assert_eq!(why["method"], "shares");
    let similarity = why["similarity"].as_f64().unwrap();
    assert!((1.0 - similarity - why["distance"].as_f64().unwrap()).abs() < 1e-4);
    for side in ["query", "with"] {
        let cells = &why[side];
        let values = cells["values"].as_array().unwrap();
        let (rows, columns) = (&cells["rows"], &cells["columns"]);
        assert_eq!(
            values.len() as u64,
            rows.as_u64().unwrap() * columns.as_u64().unwrap()
        );
        let sum: f64 = values.iter().map(|value| value.as_f64().unwrap()).sum();
        let sum = sum + why["colour_share"].as_f64().unwrap();
        assert!(
            (sum - similarity).abs() < 1e-3,
            "{side}: {sum} and {similarity}"
        );
    }
}

#[test]
fn a_likeness_to_a_pretrained_encoder_is_explained_by_what_covering_costs() {
    let server = Running::pretrained();
    let other = lookalike::gallery::point_id("mnist:test", "9").to_string();
    let body = json!({"query": {"id": SEVEN}, "with": {"id": other}});
    let why = server.post_json("/api/v1/explain", &body).ok();
    assert_eq!(why["method"], "occlusion");
    assert_eq!(why["fit"], "stretch");
    assert_eq!(why["colour_share"], 0.0);
    let similarity = why["similarity"].as_f64().unwrap();
    assert!((1.0 - similarity - why["distance"].as_f64().unwrap()).abs() < 1e-4);
    for side in ["query", "with"] {
        assert_eq!(
            (&why[side]["rows"], &why[side]["columns"]),
            (&json!(7), &json!(7))
        );
        let values = why[side]["values"].as_array().unwrap();
        assert_eq!(values.len(), 49);
        let value = |cell: usize| values[cell].as_f64().unwrap().abs();
        // Digits lie in the middle; to cover a black corner changes less.
        let corner = [0, 6, 42, 48].map(value).into_iter().fold(0.0, f64::max);
        let most = (0..49).map(value).fold(0.0, f64::max);
        assert!(most > 2.0 * corner, "{side}: {values:?}");
    }
    // The other way round it is the same.
    let turned = json!({"query": body["with"], "with": body["query"]});
    let turned = server.post_json("/api/v1/explain", &turned).ok();
    assert_eq!(turned["query"], why["with"]);
    let rebuilt = server.post_json("/api/v1/reconstruct", &json!({"query": {"id": SEVEN}}));
    let said = rebuilt.problem(422);
    assert!(said.contains("cannot rebuild images"), "{said}");
}

#[test]
fn what_takes_long_is_answered_when_it_is_done() {
    let server = Running::new();
    let outliers = finished(&server, "/api/v1/outliers?count=3");
    assert_eq!(outliers["outliers"].as_array().unwrap().len(), 3);
    assert!(outliers["outliers"][0]["error"].is_number());
    let sample = finished(&server, "/api/v1/sample?count=4");
    let chosen = sample["sample"].as_array().unwrap();
    assert_eq!(chosen.len(), 4);
    assert!(chosen[0]["distance"].is_null());
    let distances = chosen[1..]
        .iter()
        .map(|one| one["distance"].as_f64().unwrap());
    let radius = sample["radius"].as_f64().unwrap();
    let falling: Vec<f64> = distances.chain([radius]).collect();
    assert!(falling.is_sorted_by(|a, b| a >= b), "{falling:?}");
    // Fewer are its beginning, and the next one tells how well these cover.
    let fewer = finished(&server, "/api/v1/sample?count=2");
    assert_eq!(fewer["sample"].as_array().unwrap()[..], chosen[..2]);
    assert_eq!(fewer["radius"], chosen[2]["distance"]);
    let duplicates = finished(&server, "/api/v1/duplicates?threshold=0.5&limit=2");
    assert!(duplicates["groups"].as_array().unwrap().len() <= 2);
    assert_eq!(
        duplicates["groups"][0]["members"][0]["kind"],
        "representative"
    );
    let checked = finished(&server, "/api/v1/check?limit=2");
    assert_eq!(
        (&checked["points"], &checked["unmeasured"]),
        (&IMAGES.into(), &0.into())
    );
    assert_eq!(checked["findings"].as_array().unwrap().len(), 10);
    let dark = finished(&server, "/api/v1/check?fault=dark");
    let dark = dark["findings"].as_array().unwrap();
    assert_eq!((dark.len(), &dark[0]["measure"]), (1, &"brightness".into()));
    let bars = dark[0]["histogram"]["counts"].as_array().unwrap().iter();
    assert_eq!(
        bars.map(|bar| bar.as_u64().unwrap()).sum::<u64>(),
        IMAGES as u64
    );
    server.get("/api/v1/check?fault=ugly").problem(400);
    server.get("/api/v1/check?limit=0").problem(422);
    let quality = finished(&server, "/api/v1/quality");
    assert_eq!(quality["labelled"], true);
    assert!(quality["precision_at_1"].as_f64().unwrap() > 0.3);

    let map = finished(&server, "/api/v1/map");
    assert_eq!(map["count"], IMAGES);
    let version = map["version"].as_str().unwrap();
    let points = server.get(&format!("/api/v1/map/points?version={version}"));
    assert_eq!((points.status, points.body.len()), (200, IMAGES * 28));
    let mut ids = BTreeSet::new();
    for record in points.body.chunks_exact(28) {
        ids.insert(uuid::Uuid::from_slice(&record[..16]).unwrap().to_string());
        for place in [&record[16..20], &record[20..24]] {
            let place = f32::from_le_bytes(place.try_into().unwrap());
            assert!((0.0..=1.0).contains(&place), "{place}");
        }
        let label = u32::from_le_bytes(record[24..].try_into().unwrap());
        assert!((label as usize) < map["labels"].as_array().unwrap().len());
    }
    assert_eq!(ids.len(), IMAGES);
    assert!(ids.contains(SEVEN));
    server.get("/api/v1/map/points?version=other").problem(404);

    // Kept for the next time.
    let file = server.gallery_path().join("map.bin");
    let written = std::fs::read(&file).unwrap();
    let again = Running::on(server.stop(), |_| {});
    assert_eq!(finished(&again, "/api/v1/map")["version"], version);
    assert_eq!(
        std::fs::read(again.gallery_path().join("map.bin")).unwrap(),
        written
    );
    // And made anew where it is damaged.
    let folder = again.stop();
    std::fs::write(folder.path().join("g/map.bin"), b"no map").unwrap();
    let mended = Running::on(folder, |_| {});
    assert_eq!(finished(&mended, "/api/v1/map")["version"], version);
}

#[test]
fn images_are_added_replaced_and_deleted() {
    let server = Running::new();
    let (first, second, third) = (new_digit(300), new_digit(301), new_digit(302));
    let form = Form::new()
        .text("label", "new")
        .file("image", "a.png", &first)
        .file("image", "a.png", &second)
        .file("image", "again.png", &first)
        .file("image", "notes.txt", b"no picture");
    let added = server.send("POST", "/api/v1/images", &form).ok();
    let statuses: Vec<&str> = added["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["added", "added", "unchanged", "failed"]);
    assert_eq!((&added["added"], &added["failed"]), (&json!(2), &json!(1)));
    assert!(
        added["items"][3]["detail"]
            .as_str()
            .unwrap()
            .contains("not a picture")
    );
    let ids: Vec<&str> = (0..3)
        .map(|i| added["items"][i]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids[0], ids[2]);
    assert_ne!(ids[0], ids[1]);

    // Found at once, as themselves, with their label, picture and file.
    let search = || {
        let form = Form::new()
            .file("image", "q", &first)
            .text("search", r#"{"k": 1, "exclude_self": false}"#);
        server.send("POST", "/api/v1/search", &form).ok()
    };
    let found = search();
    let file = found["neighbours"][0]["image"]["location"].as_str();
    let file = file.unwrap().to_owned();
    assert_eq!(found["neighbours"][0]["gone"], Value::Null);
    assert_eq!(found["already_in_gallery"]["id"], ids[0]);
    std::fs::rename(&file, format!("{file}.away")).unwrap();
    assert_eq!(search()["neighbours"][0]["gone"], true);
    std::fs::rename(format!("{file}.away"), &file).unwrap();
    assert_eq!(found["neighbours"][0]["image"]["id"], ids[0]);
    assert_eq!(found["neighbours"][0]["image"]["label"], "new");
    assert!(found["neighbours"][0]["distance"].as_f64().unwrap() < 1e-6);
    let without = server
        .send(
            "POST",
            "/api/v1/search",
            &Form::new()
                .file("image", "q", &first)
                .text("search", r#"{"k": 5}"#),
        )
        .ok();
    assert!(
        without["neighbours"]
            .as_array()
            .unwrap()
            .iter()
            .all(|n| n["image"]["id"] != ids[0])
    );
    let own = &without["already_in_gallery"];
    assert_eq!(
        (&own["id"], &own["source"]),
        (&json!(ids[0]), &json!("uploads"))
    );
    let note = without["notes"][0].as_str().unwrap();
    assert!(note.starts_with("already in the gallery: new/"), "{note}");
    assert!(note.ends_with("which is left out"), "{note}");
    let form = Form::new().file("image", "q", &new_digit(IMAGES + 90));
    let unknown = server.send("POST", "/api/v1/search", &form).ok();
    assert_eq!(unknown["already_in_gallery"], Value::Null);
    assert_eq!(
        server
            .get(&format!("/api/v1/images/{}/original", ids[0]))
            .body,
        first
    );
    assert_eq!(
        server.get("/api/v1/facets?field=source").ok()["facets"][1]["count"],
        2
    );

    // Replaced under the same id, and never by what is none.
    let path = format!("/api/v1/images/{}", ids[0]);
    let refused = server.send(
        "PUT",
        &path,
        &Form::new().file("image", "x", b"GIF89a, or not"),
    );
    refused.problem(415);
    assert_eq!(server.get(&format!("{path}/original")).body, first);
    let replaced = server
        .send("PUT", &path, &Form::new().file("image", "x.png", &third))
        .ok();
    assert_eq!(
        (&replaced["status"], &replaced["id"]),
        (&json!("changed"), &json!(ids[0]))
    );
    assert_eq!(server.get(&format!("{path}/original")).body, third);
    let other = server.send(
        "PUT",
        &format!("/api/v1/images/{SEVEN}"),
        &Form::new().file("image", "x", &third),
    );
    assert!(other.problem(409).contains("mnist:test"));

    // All of it is there after a restart.
    let server = Running::on(server.stop(), |_| {});
    assert_eq!(server.get(&format!("{path}/original")).body, third);
    assert_eq!(
        server.get(&format!("/api/v1/images/{}", ids[1])).ok()["label"],
        "new"
    );

    assert_eq!(server.write("DELETE", &path).status, 204);
    server.write("DELETE", &path).problem(404);
    server.get(&path).problem(404);
    let body = json!({"ids": [ids[1], ids[0], SEVEN]}).to_string();
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", &*format!("Bearer {TOKEN}")),
    ];
    let gone = server
        .ask("POST", "/api/v1/images/delete", &headers, body.as_bytes())
        .ok();
    assert_eq!(gone["deleted"], 2);
    let delete = |count: usize| {
        let body = json!({"ids": vec![ids[0]; count]}).to_string();
        server.ask("POST", "/api/v1/images/delete", &headers, body.as_bytes())
    };
    assert_eq!(delete(1_000).ok()["deleted"], 0);
    let detail = delete(1_001).problem(422);
    assert!(detail.contains("at most 1000"), "{detail}");
    let files = std::fs::read_dir(server.gallery_path().join("uploads/new")).unwrap();
    assert_eq!(files.count(), 0, "the files went with their points");
}

#[test]
fn a_label_that_is_a_file_is_a_conflict() {
    let server = Running::new();
    let send = |label: Option<&str>, number: usize| {
        let form = label.map_or_else(Form::new, |label| Form::new().text("label", label));
        let form = form.file("image", "cat.png", &new_digit(number));
        server.send("POST", "/api/v1/images", &form)
    };
    let id = send(None, 300).ok()["items"][0]["id"].clone();
    let image = server.get(&format!("/api/v1/images/{}", id.as_str().unwrap()));
    let name = image.ok()["key"].as_str().unwrap().to_owned();
    let detail = send(Some(&name), 301).problem(409);
    assert!(detail.contains("choose another"), "{detail}");
    assert_eq!(send(Some("cat"), 301).ok()["added"], 1);
}

#[test]
fn images_of_one_name_keep_ids_of_their_own() {
    let server = Running::new();
    let send = |number: usize| {
        let form = Form::new().file("image", "cat.png", &new_digit(number));
        let added = server.send("POST", "/api/v1/images", &form).ok();
        added["items"][0]["id"].as_str().unwrap().to_owned()
    };
    let original = |id: &str| server.get(&format!("/api/v1/images/{id}/original")).body;
    let (one, two) = (send(300), send(301));
    assert_ne!(one, two);
    // Another image takes the place of the first; that, sent once more, does not take it back.
    let form = Form::new().file("image", "x", &new_digit(302));
    let put = server.send("PUT", &format!("/api/v1/images/{one}"), &form);
    assert_eq!(put.ok()["status"], "changed");
    let again = send(300);
    assert!(again != one && again != two);
    for (id, number) in [(&one, 302), (&two, 301), (&again, 300)] {
        assert!(original(id) == new_digit(number), "{number}");
    }
}

#[test]
fn files_without_a_point_are_swept_at_the_start() {
    let server = Running::new();
    let form = Form::new()
        .text("label", "x")
        .file("image", "a.png", &new_digit(300));
    assert_eq!(
        server.send("POST", "/api/v1/images", &form).ok()["added"],
        1
    );
    let folder = server.stop();
    let uploads = folder.path().join("g/uploads");
    let list = || {
        let files = std::fs::read_dir(uploads.join("x")).unwrap();
        files
            .map(|file| file.unwrap().file_name())
            .collect::<BTreeSet<_>>()
    };
    let before = list();
    // What a server that was killed leaves behind, and what somebody else put there.
    let name = before.first().unwrap().to_str().unwrap().to_owned();
    let hash = &name["a-".len()..name.len() - ".png".len()];
    std::fs::write(uploads.join(format!("x/b-{hash}.png")), b"half a picture").unwrap();
    std::fs::write(uploads.join(format!("x/b-{hash}.png.part")), b"half").unwrap();
    std::fs::write(uploads.join("x/mine.txt"), b"mine").unwrap();
    let server = Running::on(folder, |_| {});
    let swept = || list().len() == 2;
    let end = Instant::now() + Duration::from_secs(30);
    while !swept() {
        assert!(Instant::now() < end, "{:?}", list());
        std::thread::yield_now();
    }
    assert!(
        list().is_superset(&before) && list().contains("mine.txt".as_ref() as &std::ffi::OsStr)
    );
    drop(server);
}

#[test]
fn findings_leave_out_what_is_gone() {
    let server = Running::new();
    let path = "/api/v1/duplicates?threshold=0.3&members=1000";
    let found = finished(&server, path);
    assert_eq!(found["stale"], false);
    let members = found["groups"][0]["members"].as_array().unwrap();
    assert!(members.len() >= 3, "{found}");
    assert_eq!(found["groups"][0]["size"], members.len());
    let first = members[0]["image"]["id"].as_str().unwrap();
    assert_eq!(
        server
            .write("DELETE", &format!("/api/v1/images/{first}"))
            .status,
        204
    );
    // At once from what was found before, or, where that was quick, soon from what is found anew.
    let without = finished(&server, path);
    assert!(!without.to_string().contains(first), "{without}");
    for group in without["groups"].as_array().unwrap() {
        let members = group["members"].as_array().unwrap();
        assert!(members.len() >= 2);
        assert_eq!(members[0]["kind"], "representative");
        assert!(
            members[1..]
                .iter()
                .all(|one| one["kind"] != "representative")
        );
    }

    let outliers = finished(&server, "/api/v1/outliers?count=3");
    let odd = outliers["outliers"][0]["image"]["id"].as_str().unwrap();
    assert_eq!(
        server
            .write("DELETE", &format!("/api/v1/images/{odd}"))
            .status,
        204
    );
    let without = finished(&server, "/api/v1/outliers?count=3");
    assert_eq!(without["outliers"].as_array().unwrap().len(), 3);
    assert!(!without.to_string().contains(odd), "{without}");
}

#[test]
fn groups_are_listed_and_kept_for_filters() {
    let server = Running::new();
    let found = finished(&server, "/api/v1/groups?members=1000");
    let groups = found["groups"].as_array().unwrap();
    assert_eq!(found["points"], IMAGES);
    assert!(groups.len() >= 2, "{found}");
    let sizes: Vec<u64> = groups.iter().map(|g| g["size"].as_u64().unwrap()).collect();
    let grouped: u64 = sizes.iter().sum();
    assert_eq!(
        grouped + found["ungrouped"].as_u64().unwrap(),
        IMAGES as u64
    );
    for (group, number) in groups.iter().zip(1..) {
        assert_eq!(
            (&group["number"], &group["kept"]),
            (&json!(number), &json!(false))
        );
        assert_eq!(
            group["members"].as_array().unwrap().len() as u64,
            group["size"]
        );
        assert!(group["typical"].as_array().unwrap().len() >= 2);
    }
    let page = server
        .get("/api/v1/groups?limit=1&offset=1&members=2&members_offset=3")
        .ok();
    assert_eq!(page["groups"].as_array().unwrap().len(), 1);
    let expected = &groups[1]["members"].as_array().unwrap()[3..5];
    assert_eq!(page["groups"][0]["members"], json!(expected));
    let three = finished(&server, "/api/v1/groups?count=3");
    assert_eq!(three["group_count"], 3);
    server.get("/api/v1/groups?count=0").problem(422);
    server.get("/api/v1/groups?members=1001").problem(422);

    server
        .ask("PUT", "/api/v1/groups/kept", &[], b"")
        .problem(401);
    let keep = |path: &str| loop {
        let answer = server.write("PUT", path);
        if answer.status != 202 {
            break answer.ok();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let kept = keep("/api/v1/groups/kept");
    assert_eq!(
        (&kept["changed"], &kept["grouped"]),
        (&json!(grouped), &json!(grouped))
    );
    let facets = server.get("/api/v1/facets?field=group&limit=1").ok();
    assert_eq!(
        facets["facets"][0],
        json!({ "value": 1, "count": sizes[0] })
    );
    let body = json!({ "query": { "id": SEVEN }, "k": 100, "filter": "group=2" });
    let answer = server.post_json("/api/v1/search", &body).ok();
    let hits = answer["neighbours"].as_array().unwrap();
    assert!(hits.len() as u64 >= sizes[1].min(100) - 1, "{}", hits.len());
    assert!(hits.iter().all(|hit| hit["image"]["extra"]["group"] == 2));
    let found = finished(&server, "/api/v1/groups");
    assert!(
        found["groups"]
            .as_array()
            .unwrap()
            .iter()
            .all(|group| group["kept"] == true)
    );
    assert!(
        server.get("/api/v1/gallery").ok()["fields"]
            .to_string()
            .contains("group")
    );
    // Other groups and these again: the field has what was asked for last.
    let numbers = || {
        let facets = server.get("/api/v1/facets?field=group&limit=1000").ok();
        facets["facets"].as_array().unwrap().len()
    };
    let other = if groups.len() == 3 { 2 } else { 3 };
    keep(&format!("/api/v1/groups/kept?count={other}"));
    assert_eq!(numbers(), other);
    keep("/api/v1/groups/kept");
    assert_eq!(numbers(), groups.len());
}

#[test]
fn members_of_groups_are_listed_page_by_page() {
    let server = Running::new();
    let all = finished(&server, "/api/v1/duplicates?threshold=0.3&members=1000");
    let group = &all["groups"][0];
    let size = group["size"].as_u64().unwrap();
    assert!(size >= 3, "{all}");
    let mut pages = Vec::new();
    for offset in (0..size).step_by(50) {
        let path =
            format!("/api/v1/duplicates?threshold=0.3&limit=1&members=50&members_offset={offset}");
        let page = server.get(&path).ok();
        assert_eq!(page["groups"][0]["size"], size);
        pages.extend(page["groups"][0]["members"].as_array().unwrap().clone());
    }
    assert_eq!(Value::from(pages), group["members"]);
    let second = server
        .get("/api/v1/duplicates?threshold=0.3&members=1000&limit=1&offset=1")
        .ok();
    assert_eq!(second["groups"][0], all["groups"][1]);
    server.get("/api/v1/duplicates?members=0").problem(422);
}

#[test]
fn a_moved_gallery_keeps_its_uploads() {
    let server = Running::new();
    let added = server
        .send(
            "POST",
            "/api/v1/images",
            &Form::new().file("image", "a", &new_digit(305)),
        )
        .ok();
    let id = added["items"][0]["id"].as_str().unwrap().to_owned();
    let folder = server.stop();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(folder.path().join("g"), elsewhere.path().join("g")).unwrap();
    let server = Running::on(elsewhere, |_| {});
    assert_eq!(
        server.get(&format!("/api/v1/images/{id}/original")).body,
        new_digit(305)
    );
    assert_eq!(
        server
            .write("DELETE", &format!("/api/v1/images/{id}"))
            .status,
        204
    );
}

#[test]
fn searches_go_on_while_images_are_added() {
    let server = Arc::new(Running::new());
    let done = Arc::new(AtomicBool::new(false));
    let searching = std::thread::spawn({
        let (server, done) = (server.clone(), done.clone());
        move || {
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) || asked < 5 {
                let body = json!({"query": {"id": SEVEN}, "k": 5});
                let answer = server.post_json("/api/v1/search", &body).ok();
                assert_eq!(answer["neighbours"].as_array().unwrap().len(), 5);
                asked += 1;
            }
            asked
        }
    });
    for number in 310..325 {
        let form = Form::new().file("image", "same-name.png", &new_digit(number));
        assert_eq!(
            server.send("POST", "/api/v1/images", &form).ok()["added"],
            1
        );
    }
    done.store(true, Ordering::Relaxed);
    assert!(searching.join().unwrap() >= 5);
    let facts = server.get("/api/v1/gallery").ok();
    assert_eq!(facts["gallery"]["points"], IMAGES + 15);
}

#[test]
fn images_are_listed_page_by_page() {
    let server = Running::new();
    let (mut seen, mut after) = (BTreeSet::new(), String::new());
    loop {
        let page = server.get(&format!("/api/v1/images?limit=128{after}")).ok();
        for image in page["images"].as_array().unwrap() {
            assert!(seen.insert(image["id"].as_str().unwrap().to_owned()));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), IMAGES);
    let threes = server.get("/api/v1/images?filter=label%3D3").ok();
    assert!(
        threes["images"]
            .as_array()
            .unwrap()
            .iter()
            .all(|image| image["label"] == "3")
    );
}

#[test]
fn writes_need_the_token_and_reads_do_if_wished() {
    let server = Running::new();
    let form = Form::new().file("image", "a", &new_digit(330)).bytes();
    let with = |headers: &[(&str, &str)]| {
        let headers = [headers, &[("Content-Type", Form::TYPE)]].concat();
        server.ask("POST", "/api/v1/images", &headers, &form)
    };
    let refused = with(&[]);
    assert!(refused.problem(401).contains("token"));
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer realm=\"lookalike\"")
    );
    for wrong in [
        "Bearer a-token-for-test",
        "Bearer ",
        "Basic abc",
        "Bearer a-token-for-testss",
        TOKEN,
    ] {
        with(&[("Authorization", wrong)]).problem(401);
    }
    server
        .ask("DELETE", &format!("/api/v1/images/{SEVEN}"), &[], b"")
        .problem(401);
    server.get("/api/v1/images").ok();

    // A browser signs in for a cookie that scripts cannot read.
    server
        .post_json(
            "/api/v1/session",
            &json!({"token": "something-else-entirely"}),
        )
        .problem(401);
    let session = server.post_json("/api/v1/session", &json!({"token": TOKEN}));
    assert_eq!(session.status, 204);
    let cookie = session.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
    assert!(!cookie.contains(TOKEN));
    let cookie = cookie.split(';').next().unwrap();
    let host = server.address.to_string();
    let foreign = with(&[("Cookie", cookie), ("Origin", "https://evil.example")]);
    foreign.problem(403);
    let own = with(&[("Cookie", cookie), ("Origin", &format!("http://{host}"))]);
    assert_eq!(own.ok()["added"], 1);
    let name = cookie.split('=').next().unwrap();
    with(&[("Cookie", &format!("{name}=0123456789abcdef"))]).problem(401);

    let closed = Running::with(|options| options.token_for_reads = true);
    for path in [
        "/api/v1/gallery",
        "/api/v1/images",
        "/metrics",
        &format!("/api/v1/images/{SEVEN}/thumbnail"),
    ] {
        closed.get(path).problem(401);
        assert_eq!(closed.write("GET", path).status, 200, "{path}");
    }
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/assets/app.js",
        "/api/v1/openapi.json",
    ] {
        assert_eq!(closed.get(path).status, 200, "{path}");
    }
}

#[test]
fn on_loopback_it_answers_to_its_own_names_only() {
    let server = Running::new();
    let port = server.address.port();
    let under = |host: &str| server.ask("GET", "/api/v1/gallery", &[("Host", host)], b"");
    for own in ["localhost", "127.0.0.1", "[::1]"] {
        under(&format!("{own}:{port}")).ok();
    }
    assert!(
        under(&format!("evil.example:{port}"))
            .problem(403)
            .contains("the option `hosts`")
    );
    let named = Running::with(|options| {
        options.hosts = vec!["images.example".to_owned()];
        options.names.hosts = "--host NAME";
    });
    named
        .ask("GET", "/api/v1/gallery", &[("Host", "images.example")], b"")
        .ok();
    assert!(
        named
            .ask("GET", "/api/v1/gallery", &[("Host", "other.example")], b"")
            .problem(403)
            .contains("--host NAME")
    );
    assert_eq!(
        named
            .ask("GET", "/livez", &[("Host", "10.0.0.7")], b"")
            .status,
        200
    );
}

#[test]
fn pages_of_named_origins_may_read_and_no_others() {
    let asked = |server: &Running| {
        server.ask(
            "GET",
            "/api/v1/gallery",
            &[("Origin", "https://shop.example")],
            b"",
        )
    };
    assert_eq!(
        asked(&Running::new()).header("access-control-allow-origin"),
        None
    );
    let open = Running::with(|options| options.origins = vec!["https://shop.example".to_owned()]);
    let answer = asked(&open);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://shop.example")
    );
    let other = open.ask(
        "GET",
        "/api/v1/gallery",
        &[("Origin", "https://evil.example")],
        b"",
    );
    assert_eq!(other.header("access-control-allow-origin"), None);
    let preflight = [
        ("Origin", "https://shop.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    assert_eq!(
        open.ask("OPTIONS", "/api/v1/search", &preflight, b"")
            .status,
        200
    );
}

#[test]
fn answers_are_compressed_for_those_who_ask() {
    let server = Running::new();
    let plain = server.get("/api/v1/images");
    let packed = server.ask("GET", "/api/v1/images", &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() * 2 < plain.body.len());
    let picture = format!("/api/v1/images/{SEVEN}/thumbnail");
    let picture = server.ask("GET", &picture, &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(picture.header("content-encoding"), None);
}

#[test]
fn the_page_and_its_files_are_strictly_served() {
    let server = Running::new();
    for path in [
        "/",
        "/map",
        "/groups",
        "/duplicates",
        "/outliers",
        "/sample",
        "/quality",
        "/labels",
        "/gallery",
        "/api",
    ] {
        let page = server.get(path);
        assert_eq!(page.status, 200);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        let tag = page.header("etag").unwrap();
        assert_eq!(
            server
                .ask("GET", path, &[("If-None-Match", tag)], b"")
                .status,
            304
        );
        let text = String::from_utf8(page.body).unwrap();
        assert!(
            !text.contains("style=\"") && !text.contains("onclick"),
            "{path}"
        );
        for file in text.split("\"/assets/").skip(1) {
            let file = file.split('"').next().unwrap();
            assert_eq!(server.get(&format!("/assets/{file}")).status, 200, "{file}");
        }
    }
}

#[test]
fn health_and_metrics_are_there() {
    let server = Running::new();
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    server
        .post_json("/api/v1/search", &json!({"query": {"id": SEVEN}}))
        .ok();
    let metrics = server.get("/metrics");
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [
        "lookalike_requests_total{method=\"POST\",route=\"/api/v1/search\",status=\"200\"} 1",
        "lookalike_images 300",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let id = server.ask("GET", "/livez", &[("X-Request-Id", "mine-1")], b"");
    assert_eq!(id.header("x-request-id"), Some("mine-1"));
}

#[test]
fn requests_that_have_begun_are_finished_at_the_end() {
    use std::io::{Read as _, Write as _};
    let server = Running::new();
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    let body = json!({"query": {"id": SEVEN}, "k": 3}).to_string();
    let head = format!(
        "POST /api/v1/search HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        server.address,
        body.len()
    );
    // It has begun when the server asks for the body; half of that, then the server is told to
    // stop, then the rest.
    stream.write_all(head.as_bytes()).unwrap();
    let mut begun = [0; 25];
    stream.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body.as_bytes()[..5]).unwrap();
    let address = server.address;
    let stopping = std::thread::spawn(move || server.stop());
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(&body.as_bytes()[5..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"neighbours\""));
    stopping.join().unwrap();
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn it_speaks_tls() {
    use rustls::pki_types::{CertificateDer, ServerName};
    use std::io::{Read as _, Write as _};
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("c.pem"), files.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Running::with(|options: &mut ServeOptions| {
        options.tls = Some(lookalike_server::TlsFiles { certificate, key });
    });
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from(made.cert.der().to_vec()))
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    let mut tls = rustls::Stream::new(&mut client, &mut stream);
    let request = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n",
        server.address.port()
    );
    tls.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = tls.read_to_end(&mut answer);
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    // Who speaks no TLS gets no answer, and the server goes on.
    let plain =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.get("/livez").status));
    assert_ne!(plain.ok(), Some(200));
}

#[test]
fn tokens_that_are_made_differ() {
    assert_ne!(
        Token::random().generated_text(),
        Token::random().generated_text()
    );
}

#[test]
fn what_comes_into_a_watched_folder_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("first.png"), new_digit(IMAGES)).unwrap();
    crate::support::gallery(&folder.path().join("g"));
    let server = Running::on(folder, |options| {
        options.watched = vec![photos.clone()];
        options.prune = true;
    });
    let find = |number: usize| {
        let form = Form::new().file("image", "q", &new_digit(number));
        server.send("POST", "/api/v1/search", &form).ok()["already_in_gallery"].take()
    };
    let becomes = |number: usize, key: Value| {
        let end = Instant::now() + Duration::from_secs(60);
        while find(number)["key"] != key {
            assert!(Instant::now() < end, "{key} does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // What was there before, what comes, what is no picture, and what goes.
    becomes(IMAGES, json!("first.png"));
    std::fs::write(photos.join("broken.png"), b"no picture").unwrap();
    std::fs::write(photos.join("second.png"), new_digit(IMAGES + 1)).unwrap();
    becomes(IMAGES + 1, json!("second.png"));
    std::fs::remove_file(photos.join("first.png")).unwrap();
    becomes(IMAGES, Value::Null);
    // Counted a moment after it can be seen.
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
        let has = |line: &str| metrics.lines().any(|other| other == line);
        if has("lookalike_images_added_total 2") && has("lookalike_images_deleted_total 1") {
            break;
        }
        assert!(Instant::now() < end, "{metrics}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let folder = server.stop();
    let gallery = lookalike::open_gallery(folder.path().join("g").to_str().unwrap()).unwrap();
    assert_eq!(gallery.count(None).unwrap(), IMAGES + 1);
}
