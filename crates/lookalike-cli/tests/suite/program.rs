//! The command line's contract: what each command prints, writes and refuses.

use crate::common::{Workplace, stderr};
use serde_json::Value;

/// Runs a command line that must fail with `code`; gives what it said.
fn fails(place: &Workplace, line: &str, code: i32) -> String {
    let output = place.run(line);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    assert!(!said.contains("panicked"), "{line}: {said}");
    said
}

/// A model of the place's images, quickly trained.
fn train(place: &Workplace, name: &str) {
    let images = place.images();
    place.json(&format!(
        "train {images} --out {name} --epochs 1 --batch 64"
    ));
}

fn keys(hits: &Value) -> Vec<String> {
    let hits = hits["neighbours"].as_array().unwrap();
    let key = |hit: &Value| hit["payload"]["key"].as_str().unwrap().to_owned();
    hits.iter().map(key).collect()
}

#[test]
fn train_index_search_eval_and_the_rest_work_together() {
    let place = Workplace::new(1200);
    let images = place.images();
    let trained = place.json(&format!(
        "train {images} --out m.safetensors --epochs 2 --batch 64 --curve loss.png --sheet pairs.png"
    ));
    assert_eq!(trained["architecture"], "bottleneck");
    assert_eq!(trained["objective"], "look");
    assert_eq!(trained["images"], 1200);
    assert_eq!(trained["model"], "m.safetensors");
    assert_eq!(trained["epochs"].as_array().unwrap().len(), 2);
    for epoch in trained["epochs"].as_array().unwrap() {
        assert!(epoch["loss"].as_f64().unwrap() > 0.0 && epoch["seconds"].as_f64().unwrap() > 0.0);
    }
    assert!(trained["parameters"].as_u64().unwrap() > 10_000);
    // Judged without labels, and kept.
    let judged = &trained["comparison"];
    assert_eq!(judged["images"], 1000);
    assert_eq!(judged["simple"].as_array().unwrap().len(), 5);
    assert!(
        judged["model"]["copies"].as_f64().unwrap() > 0.8,
        "{judged}"
    );
    let info = place.json("info m.safetensors");
    assert_eq!(&info["record"]["comparison"], judged);
    let info = String::from_utf8(place.run("info m.safetensors").stdout).unwrap();
    assert!(info.contains("judged "), "{info}");
    assert!(trained["images_per_second"].as_f64().unwrap() > 0.0);
    for picture in ["loss.png", "pairs.png"] {
        let png = std::fs::read(place.path(picture)).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{picture}");
    }
    assert!(!place.path("m.safetensors.checkpoint").exists());

    let index = format!("index {images} --model m.safetensors --gallery g.gallery");
    let first = place.json(&index);
    assert_eq!(
        (&first["images"], &first["added"]),
        (&1200.into(), &1200.into())
    );
    let second = place.json(&index);
    assert_eq!(second["unchanged"], 1200);
    assert_eq!(
        (&second["added"], &second["changed"]),
        (&0.into(), &0.into())
    );
    assert_eq!(second["points"], 1200);

    // The query itself is left out unless it is asked for, and the answer says so.
    let query = format!("{images}#7");
    let with = place.json(&format!(
        "search {query} --gallery g.gallery -k 4 --include-self"
    ));
    assert_eq!(keys(&with)[0], "7");
    assert!(with["neighbours"][0]["distance"].as_f64().unwrap().abs() < 1e-5);
    assert_eq!(with["notes"][0], "already in the gallery: 7");
    let without = place.json(&format!("search {query} --gallery g.gallery -k 3"));
    assert_eq!(keys(&without), keys(&with)[1..]);
    // The same picture under another name is the query, too.
    let twin = place.json("search mnist:test#7 --gallery g.gallery -k 3");
    assert_eq!(keys(&twin), keys(&without));
    for left_out in [&without, &twin] {
        let note = "already in the gallery: 7, which is left out";
        assert_eq!(left_out["notes"][0], note);
        let own = &left_out["already_in_gallery"];
        assert_eq!(
            (&own["id"], &own["key"]),
            (&with["neighbours"][0]["id"], &"7".into())
        );
    }
    let unknown = place.json("search mnist:test#2000 --gallery g.gallery -k 3");
    assert_eq!(unknown["already_in_gallery"], Value::Null);

    let filtered = place.json(&format!(
        "search {query} --gallery g.gallery -k 50 --where label=9 --exact --sheet answers.png"
    ));
    assert_eq!(filtered["exact"], true);
    for hit in filtered["neighbours"].as_array().unwrap() {
        assert_eq!(hit["payload"]["label"], "9");
    }
    assert!(place.path("answers.png").exists());
    let near = place.json(&format!(
        "search {query} --gallery g.gallery -k 50 --max-distance 0.1 --include-self"
    ));
    for hit in near["neighbours"].as_array().unwrap() {
        assert!(hit["distance"].as_f64().unwrap() <= 0.1);
    }
    let other = place.json(&format!(
        "search {query} --gallery g.gallery --metric manhattan"
    ));
    assert_eq!(
        (&other["metric"], &other["exact"]),
        (&"manhattan".into(), &true.into())
    );
    assert!(!other["notes"].as_array().unwrap().is_empty());
    let diffused = place.json(&format!(
        "search {query} --gallery g.gallery --rerank diffusion"
    ));
    assert_eq!(keys(&diffused).len(), 5);
    assert!(diffused["neighbours"][0]["score"].as_f64().unwrap() > 0.0);

    // Several queries, a line each.
    let output = place.run(&format!(
        "search {query} {images}#8 --gallery g.gallery --json"
    ));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);

    let scores = place.json(&format!("eval {images} --model m.safetensors"));
    for key in [
        "images",
        "dims",
        "precision_at_1",
        "precision_at_5",
        "all_5",
        "map",
    ] {
        assert!(scores[key].is_number(), "{key}: {scores}");
        for baseline in [
            "pixels_euclidean",
            "pixels_cosine",
            "pixels_centred",
            "pca_64",
            "pca_64_half_whitened",
            "hog",
            "hog_128_half_whitened",
        ] {
            assert!(scores["baselines"][baseline][key].is_number());
        }
    }
    let reranked = place.json(&format!(
        "eval {images} --model m.safetensors --rerank diffusion --no-baselines"
    ));
    assert!(reranked["map"].as_f64().unwrap() > scores["map"].as_f64().unwrap());
    let asked = place.json(&format!(
        "eval {images} --queries mnist:train --limit 300 --model m.safetensors --no-baselines"
    ));
    assert_eq!(
        (&asked["images"], &asked["queries"]),
        (&300.into(), &300.into())
    );

    let shown = place.json(&format!(
        "reconstruct {images} --model m.safetensors --sheet r.png --count 9"
    ));
    assert_eq!(shown["images"], 9);
    let exported =
        place.json("export --gallery g.gallery --codes codes.npy --payload payload.jsonl");
    assert_eq!(exported["points"], 1200);
    let payload = std::fs::read_to_string(place.path("payload.jsonl")).unwrap();
    assert_eq!(payload.lines().count(), 1200);
    let model = place.json("info m.safetensors");
    let gallery = place.json("info g.gallery");
    assert_eq!(model["fingerprint"], gallery["model_fingerprint"]);
    assert_eq!(
        (&gallery["points"], &gallery["diffusion"]),
        (&1200.into(), &"fresh".into())
    );
}

#[test]
fn the_demo_tells_the_whole_story() {
    let place = Workplace::new(10);
    let report = place.json("demo --limit 400 --epochs 1 --out d");
    let table = report["table"].as_array().unwrap();
    assert_eq!(table.len(), 4);
    for line in table {
        for key in ["precision_at_5", "all_5", "map", "answering_seconds"] {
            assert!(line[key].is_number(), "{line}");
        }
    }
    for file in [
        "answers.png",
        "more-answers.png",
        "article-reconstructions.png",
        "lookalike-reconstructions.png",
        "loss.png",
        "article.safetensors",
        "lookalike.safetensors",
        "test.gallery",
    ] {
        assert!(place.path("d").join(file).exists(), "{file}");
    }
    // Again, over what is there, and in words.
    let output = place.run("demo --limit 400 --epochs 1 --out d");
    assert!(output.status.success(), "{}", stderr(&output));
    let told = String::from_utf8(output.stdout).unwrap();
    for word in ["ours + diffusion", "P@5", "answers.png", "mnist:test#"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(!told.contains("\\n"), "{told}");
}

#[test]
fn mistakes_are_explained() {
    let place = Workplace::new(200);
    let images = place.images();
    train(&place, "m.safetensors");
    place.json(&format!(
        "index {images} --model m.safetensors --gallery g.gallery --no-diffusion"
    ));

    fails(&place, "train", 2);
    fails(&place, "search x.png", 2);
    fails(&place, &format!("train {images} --out n --arch resnet"), 2);
    let said = fails(&place, "train nowhere --out n", 1);
    assert!(
        said.contains("nowhere") && said.contains("mnist:train"),
        "{said}"
    );
    let said = fails(
        &place,
        &format!("train {images} --out n --arch compact --size 32x32"),
        1,
    );
    assert!(said.contains("28") && said.contains("--size"), "{said}");
    let said = fails(&place, &format!("train {images} --out n --device cuda"), 1);
    assert!(said.contains("--device"), "{said}");
    let said = fails(&place, &format!("train {images} --out n --noise 0.5"), 1);
    assert!(said.contains("--objective denoise"), "{said}");
    let said = fails(&place, &format!("train {images} --out ."), 1);
    assert!(said.contains("folder"), "{said}");

    let said = fails(&place, "search mnist:test#0 --gallery nothing", 1);
    assert!(said.contains("lookalike index"), "{said}");
    let said = fails(&place, "search mnist:test#10000 --gallery g.gallery", 1);
    assert!(said.contains("10000"), "{said}");
    let said = fails(
        &place,
        "search mnist:test#1 --gallery g.gallery --rerank diffusion",
        1,
    );
    assert!(said.contains("neighbour graph"), "{said}");
    let said = fails(
        &place,
        "search mnist:test#1 --gallery qdrant://127.0.0.1:1/g",
        1,
    );
    assert!(said.contains("could not be reached"), "{said}");
    std::fs::write(place.path("broken.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
    fails(&place, "search broken.png --gallery g.gallery", 1);

    // Another model, another metric: the gallery says what it has.
    place.json(&format!(
        "train {images} --out other --epochs 1 --batch 64 --seed 9"
    ));
    let said = fails(
        &place,
        &format!("index {images} --model other --gallery g.gallery"),
        1,
    );
    assert!(said.contains("model"), "{said}");
    let said = fails(
        &place,
        &format!("index {images} --model m.safetensors --gallery g.gallery --metric dot"),
        1,
    );
    assert!(said.contains("cosine") && said.contains("dot"), "{said}");
    fails(&place, "eval mnist:test --model g.gallery", 1);
    std::fs::write(place.path("junk"), vec![7; 5000]).unwrap();
    let said = fails(&place, "eval mnist:test --model junk", 1);
    assert!(said.contains("not a usable Lookalike model"), "{said}");
    fails(&place, "info junk", 1);
    let said = fails(&place, "info nothing", 1);
    assert!(said.contains("model file or a gallery"), "{said}");
    // Nothing of all that has harmed the gallery.
    assert_eq!(place.json("info g.gallery")["points"], 200);
}

#[test]
fn a_stopped_run_is_not_lost_by_forgetting_to_resume() {
    let place = Workplace::new(600);
    let images = place.images();
    let line = format!("train {images} --out m --epochs 50 --batch 16 --checkpoint-every 0");
    let mut child = place.command(&line).spawn().unwrap();
    while !place.path("m.checkpoint").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let checkpoint = std::fs::read(place.path("m.checkpoint")).unwrap();
    let said = fails(&place, &line, 1);
    assert!(
        said.contains("--resume") && said.contains("--restart"),
        "{said}"
    );
    // Another recipe cannot resume from it, and leaves it alone.
    let said = fails(&place, &format!("{line} --resume --seed 8"), 1);
    assert!(said.contains("another recipe"), "{said}");
    assert_eq!(
        std::fs::read(place.path("m.checkpoint")).unwrap(),
        checkpoint
    );
}

#[test]
fn a_changed_source_is_followed() {
    let place = Workplace::new(150);
    train(&place, "m.safetensors");
    let images = place.images();
    let index = format!("index {images} --model m.safetensors --gallery g");
    place.json(&index);
    place.write_idx(200);
    let grown = place.json(&index);
    assert_eq!(
        (&grown["added"], &grown["unchanged"]),
        (&50.into(), &150.into())
    );
    assert_eq!(place.json("info g")["diffusion"], "fresh");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    use std::io::Read;
    use std::process::Stdio;
    let place = Workplace::new(100);
    train(&place, "m");
    let images = place.images();
    place.json(&format!("index {images} --model m --gallery g"));
    let queries: String = (0..60).map(|i| format!("{images}#{i} ")).collect();
    let mut child = place
        .command(&format!("search {queries} --gallery g -k 50"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn bf16_without_its_processor_is_refused() {
    let place = Workplace::new(20);
    let line = format!("train {} --out m --precision bf16", place.images());
    // Without AVX-512 no processor has AVX512-BF16.
    let mut command = place.command(&line);
    let output = command.env("LOOKALIKE_SIMD", "portable").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("AVX512-BF16") && said.contains("--precision f32"),
        "{said}"
    );
    assert!(!place.path("m").exists() && !place.path("m.checkpoint").exists());
    let said = fails(&place, &line.replace("bf16", "f16"), 2);
    assert!(said.contains("auto, f32, bf16"), "{said}");
}

#[test]
fn no_file_is_written_over_another_of_the_same_command() {
    let place = Workplace::new(1);
    std::fs::create_dir(place.path("out")).unwrap();
    for input in ["list.jsonl", "m.safetensors", "query.png"] {
        std::fs::write(place.path(input), input).unwrap();
    }
    for line in [
        "duplicates --gallery g --move-to aside --script a.sh --csv ./a.sh",
        "duplicates --gallery g --move-to aside --script a.sh --csv out/../a-undo.sh",
        "duplicates --gallery g --csv a.png --sheet ./a.png",
        "check --gallery g --csv a.png --sheet ./a.png",
        "outliers --gallery g --csv out/a.png --sheet ./out/a.png",
        "groups --gallery g --csv a.png --sheet ./a.png",
        "index list.jsonl --model m.safetensors --gallery g --skipped ./list.jsonl",
        "index list.jsonl --model m.safetensors --gallery g --skipped ./m.safetensors",
        "train list.jsonl --out m.safetensors --skipped out/../list.jsonl",
        "train list.jsonl --out n.safetensors --skipped ./n.safetensors",
        "eval list.jsonl --model m.safetensors --skipped ./list.jsonl",
        "reconstruct query.png --model m.safetensors --sheet ./query.png",
        "search query.png --gallery g --sheet ./query.png",
        "search --like query.png --gallery g --skipped ./query.png",
    ] {
        let said = stderr(&place.run(line));
        assert!(said.contains("is named twice"), "{line}: {said}");
    }
    for input in ["list.jsonl", "m.safetensors", "query.png"] {
        let content = std::fs::read_to_string(place.path(input)).unwrap();
        assert_eq!(content, input);
    }
}
