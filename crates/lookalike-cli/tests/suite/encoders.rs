//! Encoders that others have trained, alone and joined with a model: indexed, searched by image and
//! by words, scored, moved.

use crate::common::{Workplace, stderr};
use serde_json::Value;

/// The labels of what was found.
fn labels(answer: &Value) -> Vec<&str> {
    let neighbours = answer["neighbours"].as_array().unwrap().iter();
    neighbours
        .map(|hit| hit["payload"]["label"].as_str().unwrap())
        .collect()
}

#[test]
fn words_find_images() {
    let place = Workplace::new(300);
    place.add_tiny_clip();
    let images = place.images();
    let indexed = place.json(&format!("index {images} --encoder clip --gallery g"));
    assert_eq!(indexed["added"], 300);

    let mut command = place.command("search --gallery g --json --text");
    let output = command.arg("a seven").output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
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
    assert!(info["runtime"].is_string(), "{info}");
    // Once more without a word of the encoder: the gallery knows where it is.
    let again = place.json(&format!("index {images} --gallery g"));
    assert_eq!(again["unchanged"], 300);
}

#[test]
fn an_encoder_that_has_moved_is_named_anew() {
    let place = Workplace::new(40);
    place.add_tiny_clip();
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
    let said = stderr(&place.run("info g"));
    assert!(
        said.contains("not there any more") && !said.contains("--encoder"),
        "{said}"
    );
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
    place.add_tiny_clip();
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
    // Codes of the one are compared by the angle, those of the other by the distance.
    for arch in ["bottleneck", "conv"] {
        is_exported_and_used_again(arch);
    }
}

fn is_exported_and_used_again(arch: &str) {
    let place = Workplace::new(200);
    let images = place.images();
    place.json(&format!(
        "train {images} --out m --arch {arch} --epochs 1 --batch 16"
    ));
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
    assert_eq!(ours["metric"], theirs["metric"]);
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
    let model = read("m");
    for twice in [
        "export --model m --onnx m",
        "export --gallery own --codes x --parquet x",
        "export --gallery own --onnx x --parquet x",
    ] {
        refused(&place, twice, "named twice");
    }
    assert_eq!(read("m"), model);
    assert!(!place.path("x").exists());
    for wrong in [
        "export --onnx a.onnx",
        "export --model m --codes a.npy",
        "export --model m",
        "export --gallery own --onnx a.onnx --where label=3",
    ] {
        assert_eq!(place.run(wrong).status.code(), Some(2), "{wrong}");
    }
}

/// A place with digits, a tiny encoder, and the model `m` of some of them.
fn place_with_both(count: usize) -> Workplace {
    let place = Workplace::new(count);
    place.add_tiny_clip();
    let images = place.images();
    place.json(&format!("train {images} --out m --epochs 1 --batch 32"));
    place
}

/// How many of the five nearest to words have a label.
fn found_by_words(place: &Workplace, gallery: &str, words: &str, label: &str) -> usize {
    let mut command = place.command(&format!("search --gallery {gallery} --json --text"));
    let output = command.arg(words).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    labels(&answer)
        .iter()
        .filter(|found| **found == label)
        .count()
}

fn nearest_distance(place: &Workplace, line: &str) -> f64 {
    let answer = place.json(&format!("search {line} --include-self -k 1"));
    answer["neighbours"][0]["distance"].as_f64().unwrap()
}

fn refused(place: &Workplace, line: &str, why: &str) {
    let output = place.run(line);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{line}: {said}");
    assert!(said.contains(why), "{line}: {said}");
}

#[test]
fn a_model_and_an_encoder_make_one_code() {
    let place = place_with_both(300);
    let images = place.images();
    let both = format!("index {images} --encoder clip --model m --gallery g");
    let output = place.run(&both);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    // One line of advice: a model that has seen 300 images for a moment is not worth much.
    assert_eq!(said.matches("lookalike eval").count(), 1, "{said}");
    assert!(said.contains("% of likeness"), "{said}");
    let info = place.json("info g");
    assert_eq!(info["points"], 300);
    let number = |field: &str| info["adapted"][field].as_f64().unwrap();
    let lengths = [number("model_length"), number("encoder_length")];
    let square = lengths[0].powi(2) + lengths[1].powi(2);
    assert!((square - 1.0).abs() < 1e-4, "{info}");
    assert!(lengths.iter().all(|length| *length > 0.09), "{info}");
    assert!(number("encoder_agreement") > 0.05, "{info}");
    assert_eq!(info["adapted"]["images"], 300);
    let model = place.json("info m");
    assert_eq!(info["adapted"]["model"], model["fingerprint"]);
    let [dims, own] = [&info["dims"], &model["code_dim"]].map(|dims| dims.as_u64().unwrap());
    assert!(dims > own, "{info}");
    assert!(
        info["pretrained"]
            .as_str()
            .unwrap()
            .contains("vision_model.onnx")
    );

    assert!(nearest_distance(&place, &format!("{images}#7 --gallery g")) < 1e-5);
    assert!(found_by_words(&place, "g", "a seven", "7") >= 4);
    // The gallery knows all of it, and what is named again must be it.
    for line in [
        format!("index {images} --gallery g"),
        format!("index {images} --gallery g --model m"),
        both.clone(),
    ] {
        assert_eq!(place.json(&line)["unchanged"], 300, "{line}");
    }
    place.json("outliers --gallery g --by reconstruction --count 3");
    place.json(&format!(
        "train {images} --out other --epochs 1 --batch 32 --seed 9"
    ));
    refused(
        &place,
        &format!("search {images}#7 --gallery g --model other"),
        "use its model",
    );
    refused(&place, &format!("{both} --reduce 8"), "not reduced");
    place.json(&format!("index {images} --encoder clip --gallery alone"));
    let joined = format!("index {images} --encoder clip --model m --gallery alone");
    refused(&place, &joined, "new gallery");
    refused(
        &place,
        "export --gallery g --onnx g.onnx",
        "joined or reduced",
    );
    assert!(!place.path("g.onnx").exists());
    refused(
        &place,
        &format!("index {images} --model m --encoder m --gallery new"),
        "two models",
    );
    assert!(!place.path("new").exists());
    // A copy is the same gallery.
    place.json("gallery copy g copy");
    assert!(found_by_words(&place, "copy", "a seven", "7") >= 4);

    std::fs::rename(place.path("clip"), place.path("elsewhere")).unwrap();
    refused(
        &place,
        &format!("search {images}#7 --gallery g"),
        "not there any more",
    );
    let moved = format!("{images}#7 --gallery g --encoder elsewhere");
    assert!(nearest_distance(&place, &moved) < 1e-5);
    let config = place.path("elsewhere/preprocessor_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + " ").unwrap();
    refused(&place, &format!("search {moved}"), "use its encoder");
}

#[test]
fn codes_are_reduced_as_the_gallery_knows() {
    let place = Workplace::new(200);
    place.add_tiny_clip();
    let images = place.images();
    let line = format!("index {images} --encoder clip --gallery g");
    refused(&place, &format!("{line} --reduce 5000"), "choose 1 to");
    assert!(!place.path("g").exists());
    place.json(&format!("{line} --reduce 12"));
    let info = place.json("info g");
    assert_eq!(
        (&info["dims"], &info["adapted"]["reduced"][1]),
        (&12.into(), &12.into())
    );
    assert!(info["adapted"]["model"].is_null(), "{info}");
    assert!(nearest_distance(&place, &format!("{images}#7 --gallery g")) < 1e-5);
    assert!(found_by_words(&place, "g", "a seven", "7") >= 4);
    for again in [format!("{line} --reduce 12"), line.clone()] {
        assert_eq!(place.json(&again)["unchanged"], 200);
    }
    refused(
        &place,
        &format!("{line} --reduce 13"),
        "reduced to 12 floats",
    );
    refused(
        &place,
        &format!("index {images} --model m --gallery h --reduce 9"),
        "--encoder",
    );
    refused(
        &place,
        &format!("{line} --model m"),
        "a pretrained encoder alone",
    );
    // Few images have no more directions than there are of them.
    place.write_idx(10);
    refused(
        &place,
        &format!("index {images} --encoder clip --gallery h --reduce 12"),
        "10 images",
    );
}

#[test]
fn encoders_are_scored_beside_each_other() {
    let place = place_with_both(200);
    let images = place.images();
    let line = "--encoder clip --model m --reduce 12";
    let report = place.json(&format!("eval {images} {line}"));
    let encoders = report["encoders"].as_array().unwrap();
    let names: Vec<&str> = encoders
        .iter()
        .map(|one| one["encoder"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["model", "encoder", "reduced", "both"]);
    assert_eq!(encoders[2]["dims"], 12);
    for one in encoders {
        let precision = one["scores"]["precision_at_5"].as_f64().unwrap();
        assert!((0.3..=1.0).contains(&precision), "{one}");
    }
    assert_eq!(
        report["precision_at_5"],
        encoders[3]["scores"]["precision_at_5"]
    );
    assert!(report["baselines"]["hog"].is_object() && report["contest"].is_null());
    let said = place.run(&format!("eval {images} {line} --no-baselines"));
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("joined with lengths") && said.contains("encoder, reduced"),
        "{said}"
    );

    // Without labels the judge has its say.
    std::fs::remove_file(place.path("digits-labels-idx1-ubyte")).unwrap();
    let report = place.json(&format!("eval {images} {line}"));
    assert!(report["precision_at_5"].is_null(), "{report}");
    let judged = report["contest"]["encoders"].as_array().unwrap();
    assert_eq!(judged.len(), 4);
    let judged_names: Vec<&str> = judged
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(judged_names, names);
    for one in judged {
        assert!(one["copies"].as_f64().unwrap() > 0.6, "{one}");
        assert!(one["structure"].as_f64().unwrap() > 0.02, "{one}");
    }
    let alone = place.json(&format!("eval {images} --encoder clip"));
    assert_eq!(alone["contest"]["encoders"].as_array().unwrap().len(), 1);
    refused(
        &place,
        &format!("eval {images} --model m --reduce 9"),
        "--encoder",
    );
}

#[test]
fn a_small_encoder_learns_from_a_teacher() {
    let place = Workplace::new(200);
    place.add_tiny_clip();
    let images = place.images();
    let output = place.run(&format!("train {images} --out m --objective distil"));
    assert!(!output.status.success());
    assert!(stderr(&output).contains("--teacher"), "{}", stderr(&output));

    let onto_itself = "--teacher clip/vision_model.onnx --out clip/vision_model.onnx";
    refused(
        &place,
        &format!("train {images} {onto_itself}"),
        "named twice",
    );
    let taught = "--teacher clip --epochs 8 --batch 16";
    let trained = place.json(&format!("train {images} {taught} --out m"));
    assert_eq!(trained["objective"], "distil");
    let info = place.json("info m");
    let teacher = &info["config"]["teacher"];
    assert_eq!(teacher["name"], "clip");
    assert!(teacher["dims"].as_u64().unwrap() > 0);
    let said = String::from_utf8(place.run("info m").stdout).unwrap();
    assert!(said.contains("teacher      clip ("), "{said}");

    // Its codes are those of any model of ours, and it knows digits from digits.
    let scores = place.json(&format!("eval {images} --model m"));
    assert!(scores["precision_at_5"].as_f64().unwrap() > 0.5, "{scores}");
    place.json(&format!("index {images} --model m --gallery g"));
    let found = place.json(&format!(
        "search {images}#7 --gallery g --include-self -k 1"
    ));
    assert!(found["neighbours"][0]["distance"].as_f64().unwrap() < 1e-5);

    // The same run again is finished; that of another teacher is another run.
    let again = place.run(&format!("train {images} {taught} --out m --resume"));
    assert!(
        stderr(&again).contains("nothing to resume"),
        "{}",
        stderr(&again)
    );
    assert!(again.status.success());
}
