//! Distortions that follow the images, codes that know colours, and scores that need no labels.

use crate::common::{Workplace, stderr};
use lookalike::images::Pixels;
use serde_json::Value;

/// Writes `count` pictures of a coloured disc somewhere on white, their colours in folders, or all
/// in one.
fn write_discs(place: &Workplace, folder: &str, count: usize, labelled: bool) {
    let colours = [[200, 30, 40], [30, 160, 60], [40, 60, 210]];
    for image in 0..count {
        let class = image % colours.len();
        let (cx, cy) = (8.0 + (image * 7 % 9) as f32, 8.0 + (image * 5 % 8) as f32);
        let radius = 3.0 + (image * 3 % 5) as f32;
        let mut data = Vec::new();
        for (y, x) in (0..24).flat_map(|y| (0..24).map(move |x| (y as f32, x as f32))) {
            let inside = (x - cx).hypot((y - cy) * (1.0 + 0.1 * (image % 4) as f32)) < radius;
            data.extend(if inside { colours[class] } else { [255; 3] });
        }
        let to = match labelled {
            true => place.path(folder).join(format!("colour{class}")),
            false => place.path(folder),
        };
        std::fs::create_dir_all(&to).unwrap();
        let picture = Pixels::new(24, 24, 3, data).unwrap();
        picture.write_png(to.join(format!("{image}.png"))).unwrap();
    }
}

fn share(value: &Value) -> f64 {
    let share = value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no share"));
    assert!((0.0..=1.0).contains(&share), "{share}");
    share
}

#[test]
fn images_without_labels_are_scored_by_their_copies() {
    let place = Workplace::new(400);
    std::fs::remove_file(place.path("digits-labels-idx1-ubyte")).unwrap();
    let images = place.images();
    let trained = place.json(&format!("train {images} --out m --epochs 4 --batch 32"));
    // Handwriting leans every way, and is not mirrored.
    assert_eq!(trained["chosen"]["by"], "auto");
    assert!(
        trained["chosen"]["strength"].as_f64().unwrap() > 0.5,
        "{trained}"
    );
    assert_eq!(trained["chosen"]["mirror"], false);

    let scores = place.json(&format!("eval {images} --model m"));
    assert!(
        scores["precision_at_1"].is_null() && scores["baselines"].is_null(),
        "{scores}"
    );
    let found = &scores["self_retrieval"];
    assert_eq!(found["distortion"]["crop"], 0.15f32);
    assert!(found["histogram"].is_null());
    for codes in ["model", "pixels_cosine"] {
        let scores = &found[codes];
        assert_eq!(
            (&scores["images"], &scores["queries"]),
            (&400.into(), &400.into())
        );
        assert!(share(&scores["recall_at_1"]) <= share(&scores["recall_at_5"]));
        assert!(share(&scores["recall_at_1"]) <= share(&scores["mrr"]));
    }
    assert!(share(&found["model"]["recall_at_5"]) > 0.3, "{found}");
    assert_eq!(scores, place.json(&format!("eval {images} --model m")));
    let output = place.run(&format!("eval {images} --model m --no-baselines"));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("recall@1") && told.contains("no labels"),
        "{told}"
    );
    assert!(!told.contains("pixels"), "{told}");
    // Who brings queries wants them scored by label.
    let output = place.run(&format!(
        "eval {images} --queries mnist:test --limit 50 --model m"
    ));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no label"), "{}", stderr(&output));
}

#[test]
fn codes_know_colours() {
    let place = Workplace::new(1);
    write_discs(&place, "discs", 90, true);
    let train = "train discs --objective augment --epochs 3 --batch 16";
    let with = place.json(&format!("{train} --out with"));
    let without = place.json(&format!("{train} --out without --colour-weight 0"));
    assert_eq!(
        (&with["code_dim"], &without["code_dim"]),
        (&164.into(), &64.into())
    );

    let scores = place.json("eval discs --model with");
    assert_eq!(scores["dims"], 164);
    // The colour is the label here.
    assert!(share(&scores["precision_at_5"]) > 0.99, "{scores}");
    assert!(
        share(&scores["baselines"]["histogram"]["precision_at_5"]) > 0.9,
        "{scores}"
    );
    assert!(scores["baselines"]["pixels_cosine"]["map"].is_number());
    for codes in ["model", "pixels_cosine", "histogram"] {
        share(&scores["self_retrieval"][codes]["mrr"]);
    }

    // Every use of the model knows its codes.
    let indexed = place.json("index discs --model with --gallery g");
    assert_eq!(indexed["points"], 90);
    let gallery = place.json("info g");
    assert_eq!(
        (&gallery["dims"], &gallery["metric"]),
        (&164.into(), &"cosine".into())
    );
    let answer = place.json("search discs/colour1/1.png --gallery g -k 8");
    for hit in answer["neighbours"].as_array().unwrap() {
        assert_eq!(hit["payload"]["label"], "colour1");
    }
    place.json("reconstruct discs --model with --sheet r.png");
    let output = place.run("info with");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("164 floats: 64 learned"), "{told}");
    assert!(told.contains("auto: strength"), "{told}");
    let model = place.json("info with");
    assert_eq!(model["config"]["chosen"], with["chosen"]);
}

#[test]
fn distortions_are_asked_for_by_name_or_number() {
    let place = Workplace::new(1);
    write_discs(&place, "discs", 24, false);
    let distortion = |options: &str| {
        place.json(&format!(
            "train discs --out m --epochs 1 --batch 8 {options}"
        ));
        place.json("info m")["config"]["distortion"].clone()
    };
    let none = distortion("--distort none");
    assert_eq!(
        (&none["rotation_degrees"], &none["mirror"]),
        (&0.0.into(), &false.into())
    );
    let mild = distortion("--distort mild --mirror");
    assert!((mild["rotation_degrees"].as_f64().unwrap() - 5.1).abs() < 1e-5);
    assert!(
        mild["mirror"] == true && mild["brightness"].is_number(),
        "{mild}"
    );
    let strong = distortion("--distort strong --distort-colour 0");
    assert!(
        strong["rotation_degrees"] == 17.0 && strong["brightness"].is_null(),
        "{strong}"
    );
    let numbered = distortion("--strength 0.5 --distort-colour 0.5");
    assert!(numbered["rotation_degrees"] == 8.5 && numbered["mirror"] == false);
    assert!((numbered["brightness"].as_f64().unwrap() - 0.1).abs() < 1e-6);

    for (line, said) in [
        (
            "train discs --out n --objective reconstruct --distort mild",
            "--objective look, distil or augment",
        ),
        (
            "train discs --out n --arch conv --colour-weight 1",
            "--arch bottleneck",
        ),
        (
            "train discs --out n --colour-weight 1",
            "another objective than look",
        ),
        (
            "train discs --out n --objective augment --channels 1 --colour-weight 1 --epochs 1",
            "use weight 0 (--colour-weight)",
        ),
        (
            "train discs --out n --objective augment --colour-weight=-1 --epochs 1",
            "colour weight",
        ),
    ] {
        let output = place.run(line);
        let told = stderr(&output);
        assert_ne!(output.status.code(), Some(0), "{line}");
        assert!(
            told.contains(said) && !told.contains("panicked"),
            "{line}: {told}"
        );
    }
}
