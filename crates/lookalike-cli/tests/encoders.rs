//! Encoders that others have trained: indexed, searched by image and by words, scored, moved.

mod common;

use common::{Workplace, stderr};

/// A tiny model of digits and their names, as a folder of Hugging Face has them.
fn tiny_clip(place: &Workplace) {
    let from = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../lookalike-pretrained/tests/fixtures/tiny-clip"
    );
    copy(from.as_ref(), &place.path("clip"));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (
            entry.as_ref().unwrap().path(),
            to.join(entry.unwrap().file_name()),
        );
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).unwrap()),
        }
    }
}

/// The labels of what was found.
fn labels(answer: &serde_json::Value) -> Vec<&str> {
    let neighbours = answer["neighbours"].as_array().unwrap().iter();
    neighbours
        .map(|hit| hit["payload"]["label"].as_str().unwrap())
        .collect()
}

#[test]
fn words_find_images() {
    let place = Workplace::new(300);
    tiny_clip(&place);
    let images = place.images();
    let indexed = place.json(&format!("index {images} --encoder clip --gallery g"));
    assert_eq!(indexed["added"], 300);

    let mut command = place.command("search --gallery g --json --text");
    let output = command.arg("a seven").output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = labels(&answer);
    let sevens = found.iter().filter(|&&label| label == "7").count();
    assert!(sevens >= 4, "{found:?}");

    // An image finds its kind, and itself at no distance.
    let answer = place.json(&format!(
        "search {images}#7 --gallery g --include-self -k 1"
    ));
    assert!(
        answer["neighbours"][0]["distance"].as_f64().unwrap() < 1e-5,
        "{answer}"
    );

    let scores = place.json(&format!("eval {images} --encoder clip"));
    assert!(scores["precision_at_5"].as_f64().unwrap() > 0.6, "{scores}");
    assert!(scores["baselines"]["hog"].is_object(), "{scores}");

    let info = place.json("info g");
    assert!(
        info["pretrained"]
            .as_str()
            .unwrap()
            .contains("vision_model.onnx"),
        "{info}"
    );
    // Once more without a word of the encoder: the gallery knows where it is.
    let again = place.json(&format!("index {images} --gallery g"));
    assert_eq!(again["unchanged"], 300);
}

#[test]
fn an_encoder_that_has_moved_is_named_anew() {
    let place = Workplace::new(40);
    tiny_clip(&place);
    let images = place.images();
    place.json(&format!("index {images} --encoder clip --gallery g"));
    std::fs::rename(place.path("clip"), place.path("elsewhere")).unwrap();
    let output = place.run(&format!("search {images}#7 --gallery g"));
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("not there any more"),
        "{}",
        stderr(&output)
    );
    assert!(place.json("info g")["pretrained"].is_null());
    place.json(&format!(
        "search {images}#7 --gallery g --encoder elsewhere"
    ));

    // Other files are another encoder.
    let config = place.path("elsewhere/preprocessor_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let changed = text.replacen("0.5", "0.4", 1);
    let changed = if changed == text { text + " " } else { changed };
    std::fs::write(&config, changed).unwrap();
    let output = place.run(&format!(
        "search {images}#7 --gallery g --encoder elsewhere"
    ));
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("was made with"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_an_encoder_cannot_do_is_said() {
    let place = Workplace::new(60);
    tiny_clip(&place);
    let images = place.images();
    place.json(&format!("train {images} --out m --epochs 1 --batch 16"));
    place.json(&format!("index {images} --model m --gallery own"));
    let mut command = place.command("search --gallery own --text");
    assert_eq!(command.arg("").output().unwrap().status.code(), Some(2));
    let output = place.run("search --gallery own --text seven");
    assert!(
        stderr(&output).contains("pictures alone"),
        "{}",
        stderr(&output)
    );

    std::fs::remove_file(place.path("clip/preprocessor_config.json")).unwrap();
    let output = place.run(&format!("index {images} --encoder clip --gallery g"));
    let said = stderr(&output);
    assert!(!output.status.success());
    assert!(
        said.contains("--encoder-mean") && said.contains("--encoder-std"),
        "{said}"
    );
    assert!(!place.path("g").exists());
}

#[test]
fn what_was_learned_is_exported_and_used_again() {
    let place = Workplace::new(200);
    let images = place.images();
    place.json(&format!("train {images} --out m --epochs 1 --batch 16"));
    place.json(&format!("index {images} --model m --gallery own"));
    let exported = place.json("export --model m --onnx m.onnx");
    assert!(exported["points"].is_null(), "{exported}");
    let with_points = place.json("export --gallery own --onnx g.onnx --codes g.npy");
    assert_eq!(with_points["points"], 200);
    assert_eq!(with_points["dims"], exported["dims"]);
    let read = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert_eq!(read("m.onnx"), read("g.onnx"));

    let scores = |model: &str| place.json(&format!("eval {images} --model {model} --no-baselines"));
    let (ours, theirs) = (scores("m"), scores("m.onnx"));
    for score in ["precision_at_1", "precision_at_5", "map"] {
        let of = |scores: &serde_json::Value| scores[score].as_f64().unwrap();
        assert!((of(&ours) - of(&theirs)).abs() < 1e-3, "{ours} {theirs}");
    }
    place.json(&format!("index {images} --encoder m.onnx --gallery other"));
    let keys = |gallery: &str| -> Vec<String> {
        let answer = place.json(&format!("search {images}#7 --gallery {gallery} --exact"));
        let hits = answer["neighbours"].as_array().unwrap().iter();
        hits.map(|hit| hit["payload"]["key"].to_string()).collect()
    };
    assert_eq!(keys("own"), keys("other"));

    let output = place.run("export --gallery other --onnx again.onnx");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("ONNX already"),
        "{}",
        stderr(&output)
    );
    assert!(!place.path("again.onnx").exists());
    for wrong in [
        "export --onnx a.onnx",
        "export --model m --codes a.npy",
        "export --model m",
        "export --gallery own --onnx a.onnx --where label=3",
    ] {
        assert_eq!(place.run(wrong).status.code(), Some(2), "{wrong}");
    }
}
