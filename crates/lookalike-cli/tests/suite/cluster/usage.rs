//! What is typed wrongly, and what the program says to it.

use std::fs;

use lookalike_testing::{Options, Qdrant};

use crate::cluster::support::{fails, model, on, place_with_photos};
use crate::common::stderr;

#[test]
fn what_cannot_be_is_refused_with_a_way_out() {
    let (place, server) = (place_with_photos(20), Qdrant::start());
    fs::write(place.path("other"), model(1)).unwrap();
    let gallery = on(server.address(), "photos");
    place.json(&format!("index photos --model m --gallery {gallery}"));
    place.json("index photos --model m --gallery g --no-diffusion");
    let before = server.requests_of("Points/Upsert");
    for address in [
        "qdrant://",
        "qdrant://host",
        "qdrant://host/",
        "qdrant:///photos",
        "qdrant://host:99999/photos",
        "qdrant://host:port/photos",
        "qdrant://host,/photos",
        "qdrant://host/a/b",
        "qdrant://host/..",
        "qdrants://ho?st/photos",
    ] {
        for line in [
            format!("index photos --model m --gallery {address}"),
            format!("search photos/7/0.png --gallery {address} --model m"),
            format!("info {address}"),
            format!("gallery copy g {address}"),
            format!("gallery copy {address} new --model m"),
            format!("gallery remove {address} --yes"),
            format!("serve --gallery {address} --model m --state s --listen 127.0.0.1:0"),
        ] {
            let said = fails(&place, &line);
            assert!(said.contains("write it as qdrant://"), "{line}: {said}");
        }
    }
    for (line, words) in [
        // Not the scheme that it is.
        (
            format!("info http://{}/photos", server.address()),
            &["neither qdrant:// nor", "write it as"][..],
        ),
        // On a cluster, not in a folder; and with what only one on a cluster needs.
        (
            "gallery alias g photos".to_owned(),
            &["g is a folder", "qdrant://"],
        ),
        (
            "gallery remove g --yes".to_owned(),
            &["g is a folder", "qdrant://"],
        ),
        (
            format!("serve --gallery {gallery} --model m --listen 127.0.0.1:0"),
            &["--state", "on a cluster"],
        ),
        (
            format!("serve --gallery {gallery} --state s --listen 127.0.0.1:0"),
            &["--model", "keeps only its model"],
        ),
        (
            format!("serve --gallery {gallery} --model other --state s --listen 127.0.0.1:0"),
            &["was made with model", "other is"],
        ),
        (
            format!("search photos/7/0.png --gallery {gallery}"),
            &["--model", "keeps only its model"],
        ),
        (
            format!("search photos/7/0.png --gallery {gallery} --model other"),
            &["was made with model", "other is"],
        ),
        (
            format!("index photos --model other --gallery {gallery}"),
            &["does not fit", "model"],
        ),
        (
            format!("index photos --model m --gallery {gallery} --metric euclidean"),
            &["does not fit", "metric"],
        ),
        (
            format!("search photos/7/0.png --gallery {gallery} --model m --rerank diffusion"),
            &["on a cluster", "diffusion"],
        ),
        (
            format!("index photos --gallery {gallery}"),
            &["keeps only its model", "--model"],
        ),
        (
            format!("info {}", on(server.address(), "none")),
            &["there is no gallery", "none"],
        ),
        (
            format!(
                "search a.png --gallery {} --model m",
                on(server.address(), "none")
            ),
            &["there is no gallery", "none"],
        ),
    ] {
        let said = fails(&place, &line);
        for word in words {
            assert!(said.contains(word), "{line}: {word:?} is not in {said}");
        }
    }
    assert_eq!(server.requests_of("Points/Upsert"), before);
    // Usage that the command line itself refuses.
    for line in [
        format!("index photos --model m --gallery {gallery} --shards 0"),
        format!("index photos --model m --gallery {gallery} --quantize much"),
        format!("index photos --model m --gallery {gallery} --payload-index year"),
        format!("index photos --model m --gallery {gallery} --payload-index label=keyword"),
        format!("gallery copy {gallery}"),
        format!("gallery alias {gallery}"),
        "gallery remove --yes".to_owned(),
    ] {
        let output = place.run(&line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
    }
}

#[test]
fn a_cluster_that_cannot_be_used_is_named() {
    let old = Qdrant::with(Options {
        version: "1.15.4".to_owned(),
        ..Options::default()
    });
    let place = place_with_photos(20);
    let gallery = on(old.address(), "photos");
    for line in [
        format!("index photos --model m --gallery {gallery}"),
        format!("info {gallery}"),
    ] {
        let said = fails(&place, &line);
        assert!(said.contains("1.15.4") && said.contains("1.16"), "{said}");
    }
    assert!(old.collection("photos").is_none());
    // Nobody listens there.
    let mut gone = Qdrant::start();
    gone.stop();
    let said = fails(&place, &format!("info {}", on(gone.address(), "photos")));
    assert!(said.contains("could not be reached"), "{said}");
    // One of two nodes is enough.
    let server = Qdrant::start();
    let both = on(format!("{},{}", gone.address(), server.address()), "photos");
    let report = place.json(&format!(
        "index photos --model m --gallery {both} --replicas 1"
    ));
    assert_eq!(report["added"], 20);
}
