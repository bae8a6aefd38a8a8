//! The tiny model of digits and their names (`scripts/make-tiny-clip`), in the folder layout of
//! Hugging Face: what it finds, and that its codes are those of ONNX Runtime.

use std::fs;

use crate::support::{Model, digits, fixtures, folder, tiny_clip};
use lookalike_images::{Filter, Image, Pixels, resize};
use lookalike_pretrained::{Pretrained, PretrainedError, PretrainedOptions};
use serde_json::Value;

fn open(path: &std::path::Path) -> Result<Pretrained, PretrainedError> {
    Pretrained::open(path, &PretrainedOptions::default())
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixtures().join(name)).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

fn pixels(images: Vec<Image>) -> Vec<Pixels> {
    images.into_iter().map(|image| image.pixels).collect()
}

/// The labels of the images nearest to a text.
fn nearest(encoder: &Pretrained, images: &[Image], text: &str, count: usize) -> Vec<String> {
    let codes = encoder
        .encode(
            &images
                .iter()
                .map(|image| image.pixels.clone())
                .collect::<Vec<_>>(),
        )
        .unwrap();
    let query = encoder.encode_text(text).unwrap();
    let mut scored: Vec<(f32, &Image)> = codes
        .chunks_exact(encoder.dims())
        .zip(images)
        .map(|(code, image)| (code.iter().zip(&query).map(|(a, b)| a * b).sum(), image))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored
        .iter()
        .take(count)
        .map(|(_, image)| image.label.clone().unwrap())
        .collect()
}

#[test]
fn words_find_the_digits_they_name() {
    let encoder = open(&fixtures().join("tiny-clip")).unwrap();
    assert!(encoder.has_text());
    let images = digits(300);
    let names = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    for (digit, name) in names.iter().enumerate() {
        for text in [
            (*name).to_owned(),
            format!("a {name}"),
            format!("The digit  {}", name.to_uppercase()),
        ] {
            let found = nearest(&encoder, &images, &text, 5);
            let right = found
                .iter()
                .filter(|label| **label == digit.to_string())
                .count();
            assert!(right >= 4, "{text}: {found:?}");
        }
    }
}

#[test]
fn codes_are_those_of_onnx_runtime() {
    let golden = json("golden.json");
    let encoder = open(&fixtures().join("tiny-clip")).unwrap();
    assert_eq!(encoder.dims(), 32);
    for (text, code) in golden["texts"].as_object().unwrap() {
        let difference = largest_difference(&encoder.encode_text(text).unwrap(), &floats(code));
        assert!(difference < 1e-4, "{text}: {difference}");
    }
    let images = pixels(digits(4));
    let expected = |key: &str| {
        golden[key]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(floats)
            .collect::<Vec<_>>()
    };
    // Pillow rounds twice: now and then a pixel differs by one.
    let difference = largest_difference(&encoder.encode(&images).unwrap(), &expected("images"));
    assert!(difference < 5e-3, "{difference}");

    let copy = tiny_clip();
    let file = copy.path().join("preprocessor_config.json");
    let text = fs::read_to_string(&file).unwrap();
    let unresized = text.replace("\"do_resize\": true", "\"do_resize\": false");
    assert_ne!(text, unresized);
    fs::write(&file, unresized).unwrap();
    let unresized = open(copy.path()).unwrap();
    assert_ne!(unresized.fingerprint(), encoder.fingerprint());
    let difference =
        largest_difference(&unresized.encode(&images).unwrap(), &expected("unresized"));
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn resizing_is_that_of_pillow() {
    let pillow = json("pillow.json");
    let side = |value: &Value| value.as_u64().unwrap() as usize;
    let (width, height) = (side(&pillow["width"]), side(&pillow["height"]));
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            data.extend((1..=3).map(|c| ((x * x * c + y * 37 + x * y * 5) / 7 % 256) as u8));
        }
    }
    let original = Pixels::new(width, height, 3, data).unwrap();
    for resized in pillow["resized"].as_array().unwrap() {
        let filter: Filter = serde_json::from_value(resized["filter"].clone()).unwrap();
        let all = [0.0, 0.0, width as f64, height as f64];
        let ours = resize(
            &original,
            all,
            side(&resized["width"]),
            side(&resized["height"]),
            filter,
        );
        let theirs = floats(&resized["pixels"]);
        let ours: Vec<f32> = ours.data().iter().map(|&byte| f32::from(byte)).collect();
        let difference = largest_difference(&ours, &theirs);
        assert!(difference <= 1.0, "{filter:?}: {difference}");
    }
}

#[test]
fn batches_threads_and_places_do_not_change_codes() {
    let encoder = open(&fixtures().join("tiny-clip")).unwrap();
    let images = pixels(digits(21));
    let together = encoder.encode(&images).unwrap();
    let one_by_one: Vec<f32> = images
        .iter()
        .flat_map(|image| encoder.encode(std::slice::from_ref(image)).unwrap())
        .collect();
    assert!(largest_difference(&together, &one_by_one) < 1e-5);
    for code in together.chunks_exact(encoder.dims()) {
        assert!((code.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let copy = tiny_clip();
    let options = PretrainedOptions {
        threads: Some(1),
        ..PretrainedOptions::default()
    };
    let single = Pretrained::open(&copy.path().join("onnx/vision_model.onnx"), &options).unwrap();
    assert!(largest_difference(&together, &single.encode(&images).unwrap()) < 1e-5);
    assert_eq!(single.fingerprint(), encoder.fingerprint());
    assert!(
        single.describe().contains("32 floats"),
        "{}",
        single.describe()
    );
}

#[test]
fn any_changed_file_changes_the_fingerprint() {
    let before = open(&fixtures().join("tiny-clip"))
        .unwrap()
        .fingerprint()
        .to_owned();
    for name in [
        "tokenizer.json",
        "config.json",
        "tokenizer_config.json",
        "preprocessor_config.json",
    ] {
        let copy = tiny_clip();
        let file = copy.path().join(name);
        fs::write(&file, fs::read_to_string(&file).unwrap() + "\n").unwrap();
        assert_ne!(open(copy.path()).unwrap().fingerprint(), before, "{name}");
    }
    // A weight: the model still loads, and its codes are others.
    for name in ["onnx/vision_model.onnx", "onnx/text_model.onnx"] {
        let copy = tiny_clip();
        let file = copy.path().join(name);
        let mut bytes = fs::read(&file).unwrap();
        let place = bytes.len() / 2;
        bytes[place] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_ne!(open(copy.path()).unwrap().fingerprint(), before, "{name}");
    }
}

#[test]
fn a_text_model_that_changes_later_is_not_used() {
    let copy = tiny_clip();
    let encoder = open(copy.path()).unwrap();
    let file = copy.path().join("onnx/text_model.onnx");
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = encoder.encode_text("a seven").unwrap_err();
    assert!(matches!(error, PretrainedError::Changed { .. }), "{error}");
}

#[test]
fn text_needs_a_model_and_a_tokenizer() {
    for name in ["onnx/text_model.onnx", "tokenizer.json"] {
        let copy = tiny_clip();
        fs::remove_file(copy.path().join(name)).unwrap();
        let encoder = open(copy.path()).unwrap();
        assert!(!encoder.has_text(), "{name}");
        let error = encoder.encode_text("a seven").unwrap_err().to_string();
        assert!(
            error.contains(if name.ends_with("onnx") {
                "no text model"
            } else {
                name
            }),
            "{error}"
        );
    }
}

#[test]
fn texts_are_shortened_to_the_context() {
    let encoder = open(&fixtures().join("tiny-clip")).unwrap();
    let long = "a picture of the digit seven ".repeat(50);
    assert_eq!(encoder.encode_text(&long).unwrap().len(), 32);
    // Nothing, and words that the model does not know, are texts too.
    for text in ["", "\u{1f600} \0 łódź"] {
        assert_eq!(encoder.encode_text(text).unwrap().len(), 32);
    }
    let copy = tiny_clip();
    fs::write(copy.path().join("config.json"), "{}").unwrap();
    fs::write(copy.path().join("tokenizer_config.json"), "{}").unwrap();
    let error = open(copy.path())
        .unwrap()
        .encode_text("a seven")
        .unwrap_err()
        .to_string();
    assert!(error.contains("model_max_length"), "{error}");
}

#[test]
fn texts_and_images_of_different_models_do_not_mix() {
    let text = fs::read(fixtures().join("tiny-clip/onnx/text_model.onnx")).unwrap();
    let read = |name: &str| fs::read(fixtures().join("tiny-clip").join(name)).unwrap();
    let mixed = folder(&[
        ("vision_model.onnx", &Model::flat().bytes()),
        ("text_model.onnx", &text),
        ("tokenizer.json", &read("tokenizer.json")),
        ("tokenizer_config.json", &read("tokenizer_config.json")),
    ]);
    let options = PretrainedOptions {
        mean: Some(vec![0.5]),
        std: Some(vec![0.5]),
        ..PretrainedOptions::default()
    };
    let encoder = Pretrained::open(mixed.path(), &options).unwrap();
    let error = encoder.encode_text("a seven").unwrap_err().to_string();
    assert!(
        error.contains("32 floats") && error.contains("48"),
        "{error}"
    );
}

#[test]
fn the_folders_of_open_clip_and_immich_prepare_texts_their_way() {
    // A padded text and one without padding give the same code, as the model has a mask.
    let plain = open(&fixtures().join("tiny-clip"))
        .unwrap()
        .encode_text("a seven")
        .unwrap();
    let read = |name: &str| fs::read(fixtures().join("tiny-clip").join(name)).unwrap();
    let (vision, text, tokenizer) = (
        read("onnx/vision_model.onnx"),
        read("onnx/text_model.onnx"),
        read("tokenizer.json"),
    );
    let preprocessing = r#"{"size": 28, "mean": [0.1], "std": [0.3], "interpolation": "bicubic"}"#;
    let text_cfg =
        r#""text_cfg": {"context_length": 12, "tokenizer_kwargs": {"clean": "canonicalize"}}"#;
    let open_clip = folder(&[
        ("visual.onnx", &vision),
        ("textual.onnx", &text),
        ("tokenizer.json", &tokenizer),
        (
            "open_clip_config.json",
            format!(r#"{{"model_cfg": {{{text_cfg}}}, "preprocess_cfg": {preprocessing}}}"#)
                .as_bytes(),
        ),
    ]);
    let immich = folder(&[
        ("visual/model.onnx", &vision),
        ("visual/preprocess_cfg.json", preprocessing.as_bytes()),
        ("textual/model.onnx", &text),
        ("textual/tokenizer.json", &tokenizer),
        (
            "textual/tokenizer_config.json",
            br#"{"pad_token": {"content": "<pad>"}}"#,
        ),
        ("config.json", format!("{{{text_cfg}}}").as_bytes()),
    ]);
    for folder in [&open_clip, &immich] {
        let encoder = open(folder.path()).unwrap();
        let code = encoder.encode_text("a: SEVEN!").unwrap();
        assert!(largest_difference(&code, &plain) < 1e-5);
    }
    let file = immich.path().join("config.json");
    fs::write(
        &file,
        fs::read_to_string(&file)
            .unwrap()
            .replace("canonicalize", "polish"),
    )
    .unwrap();
    let error = open(immich.path())
        .unwrap()
        .encode_text("a")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("config.json") && error.contains("tokenizer_kwargs.clean is \"polish\""),
        "{error}"
    );
}
