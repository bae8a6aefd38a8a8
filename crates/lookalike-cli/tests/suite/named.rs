//! Searches by examples, and those that are kept under names.

use crate::common::{Workplace, stderr};
use serde_json::Value;

fn keys(report: &Value) -> Vec<String> {
    let neighbours = report["neighbours"].as_array().unwrap().iter();
    neighbours
        .map(|hit| hit["payload"]["key"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn examples_are_kept_and_asked_again() {
    let place = Workplace::new(300);
    let images = place.images();
    place.json(&format!("train {images} --out m --epochs 1 --batch 32"));
    place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion"
    ));
    let example = |number: usize| format!("{images}#{number}");
    let (one, two, three) = (example(3), example(17), example(26));
    let examples = format!("--like {one} --like {two} --unlike {three}");
    let asked = |line: &str| place.json(&format!("search --gallery g -k 20 {line}"));

    let learned = asked(&examples);
    assert_eq!(
        keys(&learned),
        keys(&asked(&format!("{examples} --strategy learned")))
    );
    let average = asked(&format!("{examples} --strategy average"));
    let best = asked(&format!("{examples} --strategy best-score"));
    assert_ne!(keys(&best), keys(&average));

    let first = best["neighbours"][0]["payload"]["label"].as_str().unwrap();
    let other = format!("--where label!={first}");
    // The condition and the strategy are kept as well.
    let saved = asked(&format!(
        "{examples} --strategy best-score {other} --save kept"
    ));
    let again = asked("--named kept");
    assert_eq!(keys(&again), keys(&saved));
    assert_ne!(keys(&again), keys(&best), "they have other labels");
    assert_eq!(again["query"], "kept");
    let by_average = asked("--named kept --strategy average");
    assert_eq!(
        keys(&by_average),
        keys(&asked(&format!("{examples} --strategy average {other}")))
    );
    // More examples.
    let more = asked(&format!("--named kept --like {}", example(40)));
    let all = format!(
        "{examples} --like {} --strategy best-score {other}",
        example(40)
    );
    assert_eq!(keys(&more), keys(&asked(&all)));

    // It outlives indexing again without some of the examples, and says so.
    place.write_idx(20);
    place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion --prune-emptied"
    ));
    let after = asked("--named kept");
    let notes = after["notes"].to_string();
    assert!(notes.contains("not in the gallery any more"), "{notes}");
    assert!(!keys(&after).is_empty());

    for (line, word) in [
        ("--named nothing", "kept are: kept"),
        ("--save x", "required"),
        ("--unlike a", "required"),
        ("--named kept --save \u{7}", "name"),
    ] {
        let output = place.run(&format!("search --gallery g {line}"));
        assert!(!output.status.success(), "{line}");
        assert!(
            stderr(&output).contains(word),
            "{line}: {}",
            stderr(&output)
        );
    }
}
