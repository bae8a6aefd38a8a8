//! A pretrained encoder joined with a model, in a collection: its metadata says how.

use lookalike::images::{DecodeOptions, decode};
use lookalike_testing::Qdrant;
use serde_json::json;

use crate::cluster::support::{Served, count, fails, neighbours, on, place_with_digits, png};

#[test]
fn a_collection_knows_how_encoders_are_joined() {
    let (place, server) = (place_with_digits(150), Qdrant::start());
    place.add_tiny_clip();
    let (images, gallery) = (place.images(), on(server.address(), "digits"));
    let both = format!("index {images} --encoder clip --model m --reduce 12 --gallery {gallery}");
    assert_eq!(count(&place.json(&both), "added"), 150);
    let info = place.json(&format!("info {gallery}"));
    assert_eq!(info["adapted"]["reduced"][1], 12, "{info}");
    assert!(
        info["adapted"]["encoder_length"].as_f64().unwrap() > 0.09,
        "{info}"
    );

    // The model is to be named, the encoder is where it was.
    let search = format!("search {images}#7 --gallery {gallery} --include-self -k 5");
    assert!(fails(&place, &search).contains("keeps only its model"));
    let there = place.json(&format!("{search} --model m"));
    assert!(neighbours(&there)[0].1 < 1e-5, "{there}");
    // Another worker takes what the collection says.
    assert_eq!(count(&place.json(&both), "unchanged"), 150);
    let part = format!("{both} --part 1/2");
    assert!(count(&place.json(&part), "unchanged") < 150);

    let served = Served::start(
        &place,
        &format!("--gallery {gallery} --model m --state state"),
    );
    let found = served.search(&png(7), 5);
    assert_eq!(neighbours(&found).len(), 5);
    assert!(neighbours(&found)[0].1 < 1e-5, "{found}");
    let by_words = served.post("/search", &json!({"query": {"text": "a seven"}, "k": 5}));
    let labels: Vec<_> = by_words["neighbours"].as_array().unwrap().iter().collect();
    let sevens = labels
        .iter()
        .filter(|hit| hit.to_string().contains("\"label\":\"7\""))
        .count();
    assert!(sevens >= 4, "{by_words}");
    let ids = neighbours(&found);
    let [a, b] = [&ids[0].0, &ids[1].0].map(|id| json!({ "id": id }));
    let explained = served.post("/explain", &json!({"query": a, "with": b}));
    assert_eq!(explained["method"], "occlusion", "{explained}");
    assert_eq!(served.get("/gallery")["model"]["joined_with"], "clip");
    // The digit is the same whether its file is sent or it is named.
    let one = json!({ "query": a }).to_string();
    let named = served.ask("POST", "/reconstruct", "application/json", one.as_bytes());
    let sent = served.ask_with("/reconstruct", "7.png", &png(7));
    assert_eq!((named.0, sent.0), (200, 200));
    let [named, sent] = [named.1, sent.1].map(|png| {
        let decoded = decode(&png, &DecodeOptions::default()).unwrap();
        decoded.pixels
    });
    assert_eq!(named.data().len(), sent.data().len());
    let pixels = named.data().iter().zip(sent.data());
    let apart: u32 = pixels.map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
    assert!(apart as usize <= 2 * named.data().len(), "{apart}");
    drop(served);

    // To a folder, which keeps the model, and from there to another collection.
    assert!(
        fails(&place, &format!("gallery copy {gallery} back")).contains("keeps only its model")
    );
    place.json(&format!("gallery copy {gallery} back --model m"));
    let back = place.json(&format!(
        "search {images}#7 --gallery back --include-self -k 5"
    ));
    assert_eq!(neighbours(&back), neighbours(&there));
    let other = on(server.address(), "other");
    place.json(&format!("gallery copy back {other}"));
    let search = format!("search {images}#7 --gallery {other} --model m --include-self -k 5");
    assert_eq!(neighbours(&place.json(&search)), neighbours(&there));
}
