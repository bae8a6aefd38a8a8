//! `lookalike serve` on a cluster, and several servers on one collection.

use lookalike_testing::{Options, Qdrant};
use serde_json::{Value, json};

use crate::cluster::support::{Served, becomes, count, neighbours, on, place_with_photos, png};

#[test]
fn servers_share_a_collection() {
    const IMAGES: u64 = 120;
    let (place, server) = (place_with_photos(IMAGES as usize), Qdrant::start());
    let gallery = on(server.address(), "photos");
    place.json(&format!("index photos --model m --gallery {gallery}"));
    let serve = |state: &str| {
        Served::start(
            &place,
            &format!("--gallery {gallery} --model m --state {state}"),
        )
    };
    let (one, two) = (serve("state-1"), serve("state-2"));
    let points = |served: &Served| count(&served.get("/gallery")["gallery"], "points");
    assert_eq!([points(&one), points(&two)], [IMAGES; 2]);
    let facts = one.get("/gallery");
    assert_eq!(facts["gallery"]["name"], "photos");
    assert_eq!(facts["gallery"]["diffusion"], "unavailable");

    // By a file, by an upload, by an id: the same answer, and the same as the program's.
    let picture = png(0);
    let expected = neighbours(&place.json(&format!(
        "search photos/7/0.png --gallery {gallery} --model m -k 5 --include-self"
    )));
    let id = expected[0].0.clone();
    let kept = one.send("/queries", "0.png", &picture);
    assert_eq!(kept["known"], id.as_str());
    for query in [json!({"upload": kept["upload"]}), json!({"id": id})] {
        let found = one.post(
            "/search",
            &json!({"query": query, "k": 5, "exclude_self": false}),
        );
        assert_eq!(neighbours(&found), expected, "{query}");
    }
    for served in [&one, &two] {
        let ids = |found: &[(String, f64)]| -> Vec<_> {
            found.iter().map(|(id, _)| id.clone()).collect()
        };
        let found = neighbours(&served.search(&picture, 5));
        assert_eq!(ids(&found), ids(&expected));
    }
    let liked = json!({"like": [{"id": id}], "unlike": [{"id": expected[1].0}], "k": 4});
    assert_eq!(neighbours(&one.post("/search", &liked)).len(), 4);
    let where_ = json!({"query": {"id": id}, "k": 50, "filter": "label=1"});
    let found = one.post("/search", &where_);
    let found = found["neighbours"].as_array().unwrap();
    assert!(found.len() > 5 && found.iter().all(|hit| hit["image"]["label"] == "1"));
    let diffused = json!({"query": {"id": id}, "rerank": "diffusion"}).to_string();
    let (status, said) = one.ask("POST", "/search", "application/json", diffused.as_bytes());
    let said = String::from_utf8(said).unwrap();
    assert!(
        (400..500).contains(&status) && said.contains("cluster"),
        "{status}: {said}"
    );

    // What one adds, the other has at once: it is found, and so is its picture.
    let fresh = png(500);
    let added = one.send("/images", "fresh.png", &fresh);
    assert_eq!(count(&added, "added"), 1, "{added}");
    let new = added["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!([points(&one), points(&two)], [IMAGES + 1; 2]);
    let found = two.search(&fresh, 3);
    assert_eq!(neighbours(&found)[0], (new.clone(), 0.0));
    let thumbnail =
        |served: &Served, id: &str| served.ask("GET", &format!("/images/{id}/thumbnail"), "", b"");
    let (status, small) = thumbnail(&two, &new);
    assert_eq!(status, 200);
    assert!(small.starts_with(b"\xff\xd8\xff"), "no JPEG");
    assert_eq!(thumbnail(&one, &new), (200, small));
    assert_eq!(thumbnail(&two, &id).0, 200);
    // The original is with the one that took it.
    let original = |served: &Served| served.ask("GET", &format!("/images/{new}/original"), "", b"");
    assert_eq!(original(&one), (200, fresh.clone()));
    assert_eq!(original(&two).0, 404);
    // The same again is the same image, whoever is asked.
    let again = two.send("/images", "fresh.png", &fresh);
    assert_eq!(count(&again, "unchanged"), 1, "{again}");
    assert_eq!(again["items"][0]["id"], new.as_str());

    let facets = |served: &Served, field: &str| {
        let facets = served.get(&format!("/facets?field={field}&limit=100"))["facets"].take();
        let facets = facets.as_array().unwrap().clone();
        facets
            .iter()
            .map(|facet| count(facet, "count"))
            .sum::<u64>()
    };
    assert_eq!(facets(&one, "label"), IMAGES);
    assert_eq!(facets(&two, "source"), IMAGES + 1);
    assert_eq!(facets(&two, "width"), IMAGES + 1);

    // The map, of which each keeps its own.
    let mut map = Value::Null;
    assert!(becomes(|| {
        let (status, answer) = two.ask("GET", "/map", "", b"");
        map = serde_json::from_slice(&answer).unwrap();
        status == 200
    }));
    let version = map["version"].as_str().unwrap();
    let (status, records) = two.ask("GET", &format!("/map/points?version={version}"), "", b"");
    assert_eq!(
        (status, records.len() as u64),
        (200, 28 * count(&map, "count"))
    );
    assert!(count(&map, "count") >= IMAGES);

    // What one deletes, the other has no longer.
    let gone = format!("/images/{new}");
    assert_eq!(two.ask("DELETE", &gone, "", b"").0, 204);
    assert_eq!(one.ask("GET", &gone, "", b"").0, 404);
    assert_eq!(two.ask("DELETE", &gone, "", b"").0, 404);
    assert_eq!([points(&one), points(&two)], [IMAGES; 2]);
    for served in [one, two] {
        let log = served.end();
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[test]
fn servers_receive_the_same_name_at_once() {
    const EACH: usize = 8;
    for states in [["state-1", "state-2"], ["state", "state"]] {
        let (place, server) = (place_with_photos(5), Qdrant::start());
        let gallery = on(server.address(), "photos");
        place.json(&format!("index photos --model m --gallery {gallery}"));
        let servers = states.map(|state| {
            Served::start(
                &place,
                &format!("--gallery {gallery} --model m --state {state}"),
            )
        });
        let added: Vec<(usize, Value)> = std::thread::scope(|scope| {
            let sending: Vec<_> = servers
                .iter()
                .enumerate()
                .map(|(at, served)| {
                    scope.spawn(move || -> Vec<(usize, Value)> {
                        let numbers = (0..EACH).map(|number| 500 + at + 2 * number);
                        let send =
                            |number| (number, served.send("/images", "cat.png", &png(number)));
                        numbers.map(send).collect()
                    })
                })
                .collect();
            sending
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        // Whatever was acknowledged as added is there, as itself.
        for (number, added) in &added {
            assert_eq!(count(added, "added"), 1, "{added}");
            let id = added["items"][0]["id"].as_str().unwrap();
            let image = servers[0].get(&format!("/images/{id}"));
            let hash = blake3::hash(&png(*number)).to_hex();
            assert_eq!(image["blake3"], hash.as_str(), "{number}");
        }
        let points = count(&servers[0].get("/gallery")["gallery"], "points");
        assert_eq!(points as usize, 5 + 2 * EACH);
    }
}

#[test]
fn servers_with_one_folder_share_originals() {
    let (place, server) = (place_with_photos(30), Qdrant::start());
    let gallery = on(server.address(), "photos");
    place.json(&format!("index photos --model m --gallery {gallery}"));
    let serve = || {
        Served::start(
            &place,
            &format!("--gallery {gallery} --model m --state state"),
        )
    };
    let (one, two) = (serve(), serve());
    let fresh = png(500);
    let added = one.send("/images", "fresh.png", &fresh);
    let id = added["items"][0]["id"].as_str().unwrap();
    let original = format!("/images/{id}/original");
    assert_eq!(two.ask("GET", &original, "", b""), (200, fresh.clone()));
    // A third one, later, has everything as well.
    drop((one, two));
    let three = serve();
    assert_eq!(three.ask("GET", &original, "", b""), (200, fresh));
}

#[test]
fn a_cluster_that_is_away_for_a_while_is_waited_for() {
    let (place, mut server) = (place_with_photos(30), Qdrant::start());
    let gallery = on(server.address(), "photos");
    place.json(&format!("index photos --model m --gallery {gallery}"));
    let served = Served::start(&place, &format!("--gallery {gallery} --model m --state s"));
    let picture = png(0);
    let before = neighbours(&served.search(&picture, 5));
    server.stop();
    let found = std::thread::scope(|scope| {
        let searching = scope.spawn(|| neighbours(&served.search(&picture, 5)));
        std::thread::sleep(std::time::Duration::from_millis(200));
        server.start_again();
        searching.join().unwrap()
    });
    assert_eq!(found, before);
    // Gone for good: an answer that says so, and no hanging.
    server.stop();
    let (status, said) = served.ask("GET", "/gallery", "", b"");
    let said = String::from_utf8(said).unwrap();
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("does not answer"), "{said}");
    // It is alive, but not ready.
    assert!(!served.is_ready());
    server.start_again();
    assert!(served.is_ready());
    assert_eq!(neighbours(&served.search(&picture, 5)), before);
}

#[test]
fn info_says_how_a_collection_is_kept() {
    let server = Qdrant::with(Options {
        nodes: 3,
        ..Options::default()
    });
    let place = place_with_photos(30);
    let gallery = on(server.address(), "photos");
    place.json(&format!(
        "index photos --model m --gallery {gallery} --shards 6 --replicas 2 --write-consistency 1 --index-on-disk --hnsw-ef-construct 64 --quantize scalar --payload-index camera=keyword"
    ));
    let info = place.json(&format!("info {gallery}"));
    assert_eq!(count(&info, "points"), 30);
    let cluster = &info["cluster"];
    for (field, value) in [
        ("collection", json!("photos")),
        ("status", json!("green")),
        ("nodes", json!(3)),
        ("shards", json!(6)),
        ("replicas", json!(2)),
        ("write_consistency", json!(1)),
        ("inactive_replicas", json!(0)),
        ("codes_on_disk", json!(false)),
        ("index_on_disk", json!(true)),
        ("hnsw_m", json!(16)),
        ("hnsw_ef_construct", json!(64)),
        ("quantization", json!("scalar")),
    ] {
        assert_eq!(cluster[field], value, "{field} of {cluster}");
    }
    assert!(cluster.get("alias").is_none(), "{cluster}");
    let fields = cluster["payload_indexes"].as_array().unwrap();
    assert!(
        fields
            .iter()
            .any(|field| field.as_str().unwrap().contains("camera")),
        "{cluster}"
    );
    let output = place.run(&format!("info {gallery}"));
    let said = String::from_utf8(output.stdout).unwrap();
    for words in [
        "photos, green",
        "6 in",
        "on 3 nodes",
        "2 replicas each",
        "scalar",
        "camera",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // A gallery in a folder has none of that.
    place.json("index photos --model m --gallery g --no-diffusion");
    assert!(
        place
            .json("info g")
            .get("cluster")
            .is_none_or(Value::is_null)
    );
}
