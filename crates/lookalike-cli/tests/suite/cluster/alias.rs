//! `lookalike gallery alias` and `remove`: going over to another model while everything runs.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lookalike_testing::Qdrant;
use serde_json::json;

use crate::cluster::support::{
    Served, becomes, count, fails, model, neighbours, on, place_with_photos, png,
};
use crate::common::Workplace;

/// Photos in the collections `old` and `new`, of the models `m` and `new-m`, and the alias `live`
/// of the old one.
fn place_with_two(server: &Qdrant) -> Workplace {
    let place = place_with_photos(80);
    fs::write(place.path("new-m"), model(1)).unwrap();
    for (model, name) in [("m", "old"), ("new-m", "new")] {
        let gallery = on(server.address(), name);
        place.json(&format!("index photos --model {model} --gallery {gallery}"));
    }
    switch(&place, server, "old");
    place
}

fn switch(place: &Workplace, server: &Qdrant, name: &str) {
    let live = on(server.address(), "live");
    let report = place.json(&format!("gallery alias {live} {name}"));
    assert_eq!(report, json!({"alias": live, "collection": name}));
}

fn fingerprint(place: &Workplace, model: &str) -> String {
    let report = place.json(&format!("info {model}"));
    report["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn an_alias_is_switched_and_models_are_never_mixed() {
    let server = Qdrant::start();
    let place = place_with_two(&server);
    let live = on(server.address(), "live");
    let search = |model: &str| {
        format!("search photos/7/0.png --gallery {live} --model {model} --include-self")
    };
    assert_eq!(neighbours(&place.json(&search("m")))[0].1, 0.0);
    let cluster = place.json(&format!("info {live}"))["cluster"].take();
    assert_eq!([&cluster["collection"], &cluster["alias"]], ["old", "live"]);
    // Indexing by the alias goes to what it means.
    let report = place.json(&format!("index photos --model m --gallery {live}"));
    assert_eq!(count(&report, "unchanged"), 80);

    switch(&place, &server, "new");
    assert_eq!(server.aliases()["live"], "new");
    let said = fails(&place, &search("m"));
    for model in ["m", "new-m"] {
        let fingerprint = fingerprint(&place, model);
        assert!(said.contains(&fingerprint[..12]), "{model}: {said}");
    }
    assert_eq!(neighbours(&place.json(&search("new-m")))[0].1, 0.0);
    let said = fails(&place, &format!("index photos --model m --gallery {live}"));
    assert!(said.contains("does not fit"), "{said}");

    // What cannot be an alias, and what it cannot mean.
    for (line, words) in [
        (
            format!("gallery alias {live} none"),
            ["there is no gallery", "none"],
        ),
        (
            format!("gallery alias {} new", on(server.address(), "old")),
            ["already there", "old"],
        ),
        (format!("gallery alias {live} a/b"), ["a/b", "name"]),
        ("gallery alias live new".to_owned(), ["folder", "qdrant://"]),
    ] {
        let said = fails(&place, &line);
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{line}: {said}"
        );
    }
    assert_eq!(server.aliases()["live"], "new");

    // Removing is for good, so it is asked for twice, and never through an alias.
    let old = on(server.address(), "old");
    let said = fails(&place, &format!("gallery remove {old}"));
    assert!(said.contains("--yes") && said.contains(&old), "{said}");
    let said = fails(&place, &format!("gallery remove {live} --yes"));
    assert!(said.contains("alias") && said.contains("new"), "{said}");
    let said = fails(&place, "gallery remove photos --yes");
    assert!(said.contains("folder"), "{said}");
    for name in ["old", "new"] {
        assert_eq!(server.collection(name).unwrap().points().len(), 80);
    }
    assert_eq!(
        place.json(&format!("gallery remove {old} --yes")),
        json!({"removed": old})
    );
    assert!(server.collection("old").is_none());
    assert_eq!(server.collection("new").unwrap().points().len(), 80);
    let said = fails(&place, &format!("gallery remove {old} --yes"));
    assert!(said.contains("there is no gallery"), "{said}");
}

#[test]
fn servers_follow_an_alias_if_they_have_the_model() {
    let server = Qdrant::start();
    let place = place_with_two(&server);
    let live = on(server.address(), "live");
    let serve = |models: &str, state: &str| {
        let arguments = format!("--gallery {live} {models} --state {state}");
        Served::start(&place, &arguments)
    };
    let both = serve("--model m --model new-m", "state-1");
    let old_alone = serve("--model m", "state-2");
    let [old, new] = ["m", "new-m"].map(|model| fingerprint(&place, model));
    let model_of = |served: &Served| {
        let facts = served.get("/gallery");
        facts["gallery"]["model_fingerprint"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        [model_of(&both), model_of(&old_alone)],
        [old.clone(), old.clone()]
    );
    let picture = png(0);
    let id = {
        let found = both.search(&picture, 1);
        neighbours(&found)[0].0.clone()
    };

    // Whoever searches meanwhile notices nothing.
    let done = AtomicBool::new(false);
    let searches = thread::scope(|scope| {
        let searching: Vec<_> = [&both, &old_alone]
            .into_iter()
            .map(|served| {
                let (done, picture, id) = (&done, &picture, &id);
                scope.spawn(move || {
                    let mut searches = 0;
                    while !done.load(Ordering::Relaxed) {
                        // The image is in both collections, at no distance of itself by its own
                        // model.
                        let found = served.search(picture, 3);
                        assert_eq!(neighbours(&found)[0], (id.clone(), 0.0));
                        let query = json!({"query": {"id": id}, "k": 3, "exclude_self": false});
                        let found = served.post("/search", &query);
                        assert_eq!(neighbours(&found)[0].0, *id);
                        searches += 2;
                    }
                    searches
                })
            })
            .collect();
        switch(&place, &server, "new");
        let followed = becomes(|| model_of(&both) == new);
        // The other looks as well, and says that it can't.
        let told = becomes(|| old_alone.log().contains("served on"));
        let stayed = model_of(&old_alone);
        // Back again, and forth.
        switch(&place, &server, "old");
        let back = becomes(|| model_of(&both) == old);
        done.store(true, Ordering::Relaxed);
        assert!(followed && told && back);
        assert_eq!(stayed, old);
        let searches = searching.into_iter().map(|thread| thread.join().unwrap());
        searches.collect::<Vec<u32>>()
    });
    assert!(
        searches.iter().all(|searches| *searches > 10),
        "{searches:?}"
    );
    let log = old_alone.end();
    assert!(
        log.contains("served on") && log.contains(&new[..12]),
        "{log}"
    );
    let log = both.end();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
