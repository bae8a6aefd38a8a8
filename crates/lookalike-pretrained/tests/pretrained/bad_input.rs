//! Files that are not what they should be: each is an error that says what to do.

use std::fs;
use std::path::Path;

use crate::support::{
    self, FLOAT, INT64, Model, bytes, external, fixtures, floats, folder, integer_attribute,
    integers, node, number, picture, port, text_attribute, tiny_clip,
};
use lookalike_images::Pixels;
use lookalike_pretrained::{Pool, Pretrained, PretrainedError, PretrainedOptions, Runtime};

fn options() -> PretrainedOptions {
    PretrainedOptions {
        mean: Some(vec![0.5]),
        std: Some(vec![0.5]),
        ..PretrainedOptions::default()
    }
}

/// What the runtime that every build has makes of it.
fn on_rten() -> PretrainedOptions {
    PretrainedOptions {
        runtime: Some(Runtime::Rten),
        ..options()
    }
}

fn error_on_rten(model: &Model) -> String {
    let folder = model.folder();
    let error = Pretrained::open(folder.path(), &on_rten()).err();
    error.expect("an error").to_string()
}

fn error_at(path: &Path) -> String {
    Pretrained::open(path, &options())
        .err()
        .expect("an error")
        .to_string()
}

fn error(model: &Model) -> String {
    error_at(model.folder().path())
}

/// `expected` are parts of the message.
fn says(message: &str, expected: &[&str]) {
    for part in expected {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn the_plain_model_works() {
    // What the others change.
    let folder = Model::flat().folder();
    let encoder = Pretrained::open(folder.path(), &options()).unwrap();
    assert_eq!(encoder.dims(), 48);
    assert_eq!(
        encoder.encode(&vec![picture(9, 5, 3); 20]).unwrap().len(),
        20 * 48
    );
    assert!(encoder.encode(&[]).unwrap().is_empty());
}

#[test]
fn files_that_are_not_onnx() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "no graph"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
            "Git LFS",
        ),
        (b"<!DOCTYPE html><html></html>", "not a complete ONNX file"),
        (&[0; 100], "not a complete ONNX file"),
        (&[255; 100], "not a complete ONNX file"),
    ];
    for (bytes, expected) in cases {
        let folder = folder(&[("model.onnx", bytes)]);
        says(
            &error_at(folder.path()),
            &[expected, "model.onnx", "download or export it again"],
        );
    }
    let missing = folder(&[]);
    says(
        &error_at(&missing.path().join("none.onnx")),
        &["cannot read", "none.onnx"],
    );
}

#[test]
fn truncated_files() {
    let whole = fs::read(fixtures().join("tiny-clip/onnx/vision_model.onnx")).unwrap();
    for part in 0..40 {
        let copy = tiny_clip();
        let length = whole.len() * part / 40;
        fs::write(copy.path().join("onnx/vision_model.onnx"), &whole[..length]).unwrap();
        says(&error_at(copy.path()), &["not a complete ONNX file"]);
    }
}

#[test]
fn operators_that_are_not_there_are_named() {
    let mut model = Model::flat();
    model.nodes = vec![node("FlattenBeautifully", &["pixels"], &["code"], &[])];
    says(
        &error(&model),
        &["cannot use", "FlattenBeautifully", "export it again"],
    );
}

#[test]
fn cubic_resizing_of_what_is_not_constant_is_refused() {
    let resize = |mode: &str| Model {
        nodes: vec![
            node(
                "Resize",
                &["pixels", "", "", "sizes"],
                &["resized"],
                &[text_attribute("mode", mode)],
            ),
            node("Flatten", &["resized"], &["code"], &[]),
        ],
        constants: vec![integers("sizes", &[4], &[1, 3, 2, 2])],
        outputs: vec![port("code", FLOAT, &[0, 12])],
        ..Model::flat()
    };
    says(
        &error_on_rten(&resize("cubic")),
        &[
            "\"Resize for resized\"",
            "cubic",
            "its input is computed, not constant",
            "export the model for one image size",
        ],
    );
    Pretrained::open(resize("linear").folder().path(), &options()).unwrap();
}

/// A model whose code is its pixels times what a `Resize` makes of a constant, 4 x 4.
fn with_positions(attributes: &[Vec<u8>], sizes: &[i64]) -> Model {
    let ramp = [0.5, 1.0, 4.0, 2.0];
    Model {
        nodes: vec![
            node(
                "Resize",
                &["positions", "", "", "sizes"],
                &["resized"],
                &[vec![text_attribute("mode", "cubic")], attributes.to_vec()].concat(),
            ),
            node("Mul", &["pixels", "resized"], &["product"], &[]),
            node("Flatten", &["product"], &["code"], &[]),
        ],
        constants: vec![
            floats("positions", &[1, 1, 2, 2], &ramp),
            integers("sizes", &[sizes.len() as i64], sizes),
        ],
        ..Model::flat()
    }
}

#[test]
fn cubic_resizing_of_constants_is_computed() {
    let folder = with_positions(&[], &[1, 1, 4, 4]).folder();
    let encoder = Pretrained::open(folder.path(), &options()).unwrap();
    let white = Pixels::new(4, 4, 3, vec![255; 48]).unwrap();
    let code = encoder.encode(&[white]).unwrap();
    // From ONNX Runtime, brought to length 1.
    let expected = [
        0.0032281, 0.0194961, 0.0462904, 0.0625583, 0.0834030, 0.0819883, 0.0796584, 0.0782438,
        0.2154556, 0.1849168, 0.1346175, 0.1040787, 0.2956304, 0.247409, 0.1679856, 0.1197642,
    ];
    for (value, expected) in code.iter().zip(expected.iter().cycle()) {
        assert!((value - expected).abs() < 1e-5, "{code:?}");
    }
    for (attributes, sizes, reason) in [
        (vec![], vec![1, 1, 1 << 30, 4], "1073741824 cannot be made"),
        (vec![], vec![1, 1, 1 << 13, 1 << 13], "more than"),
        (vec![], vec![1, 1, -4, 4], "-4 cannot be made"),
        (vec![], vec![1, 1, 4], "for each dimension"),
        (
            vec![integer_attribute("antialias", 1)],
            vec![1, 1, 4, 4],
            "antialias",
        ),
    ] {
        let message = error_on_rten(&with_positions(&attributes, &sizes));
        says(
            &message,
            &[
                "\"Resize for resized\"",
                "cubic",
                reason,
                "export the model",
            ],
        );
    }
}

#[test]
fn models_of_text_or_of_both() {
    let mut model = Model::flat();
    model.inputs.push(port("input_ids", INT64, &[0, 0]));
    says(
        &error(&model),
        &[
            "images and text at once",
            "export the image tower and the text tower apart",
        ],
    );
    model.inputs.remove(0);
    says(&error(&model), &["text model", "name the image model"]);
    model.inputs = vec![
        port("a", FLOAT, &[0, 3, 4, 4]),
        port("b", FLOAT, &[0, 3, 4, 4]),
    ];
    says(
        &error(&model),
        &[
            "a [n, 3, 4, 4], b [n, 3, 4, 4]",
            "export the image tower alone",
        ],
    );
}

#[test]
fn inputs_that_are_not_understood() {
    let with = |element, sizes: &[i64]| Model {
        inputs: vec![port("pixels", element, sizes)],
        ..Model::flat()
    };
    says(
        &error(&with(FLOAT, &[0, 0, 0, 0])),
        &["where the 1 or 3 channels are", "export it"],
    );
    says(
        &error(&with(FLOAT, &[0, 3, 4, 3])),
        &["where the 1 or 3 channels are"],
    );
    says(&error(&with(FLOAT, &[0, 3, 0, 0])), &["a size is required"]);
    says(
        &error(&with(INT64, &[0, 3, 4, 4])),
        &["neither floats nor bytes", "float32 or uint8"],
    );
    says(
        &error(&with(FLOAT, &[0, 48])),
        &["export the image tower alone"],
    );
    says(
        &error(&with(FLOAT, &[0, 3, 1 << 40, 1 << 40])),
        &["more than 4096 pixels"],
    );
    says(
        &error(&with(FLOAT, &[1 << 40, 3, 4, 4])),
        &["dynamic batch"],
    );
    // A size that is negative is as good as none.
    says(
        &error(&with(FLOAT, &[0, 3, -1, 4])),
        &["a size is required"],
    );
}

#[test]
fn tensors_that_promise_more_than_there_is() {
    for dims in [&[1 << 40, 1 << 40][..], &[1 << 40], &[-1], &[3]] {
        let mut model = Model::flat();
        model.constants = vec![integers("weights", dims, &[1, 2])];
        says(
            &error(&model),
            &["\"weights\"", "16 bytes", "download or export it again"],
        );
    }
    // Made from a shape while the model is loaded.
    let model = Model {
        nodes: vec![
            node("ConstantOfShape", &["shape"], &["huge"], &[]),
            node("Flatten", &["pixels"], &["code"], &[]),
        ],
        constants: vec![integers("shape", &[2], &[1 << 20, 1 << 20])],
        ..Model::flat()
    };
    says(&error(&model), &["\"ConstantOfShape for huge\"", "damaged"]);
    // A length that reaches beyond the file, and messages inside of messages without end.
    let folder = folder(&[(
        "model.onnx",
        &[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    )]);
    says(&error_at(folder.path()), &["not a complete ONNX file"]);
    let mut nested = Vec::new();
    for _ in 0..5_000 {
        nested = bytes(1, bytes(5, bytes(6, nested)));
    }
    let folder = support::folder(&[("model.onnx", &bytes(7, nested))]);
    says(&error_at(folder.path()), &["not a complete ONNX file"]);
}

#[test]
fn weights_in_other_files() {
    let model = |location: &str, length: i64| Model {
        nodes: vec![
            node("Add", &["pixels", "weight"], &["sum"], &[]),
            node("Flatten", &["sum"], &["code"], &[]),
        ],
        constants: vec![external("weight", &[1], location, length)],
        ..Model::flat()
    };
    let weights = 3f32.to_le_bytes();
    let with = |location: &str, length: i64| {
        folder(&[
            ("outside.data", &weights),
            ("folder/model.onnx", &model(location, length).bytes()),
            ("folder/model.data", &weights),
            ("folder/model.onnx_data", &weights),
            ("folder/weights.bin", &weights),
        ])
    };
    for location in ["model.data", "model.onnx_data"] {
        let folder = with(location, 4);
        let encoder = Pretrained::open(&folder.path().join("folder"), &options()).unwrap();
        let fingerprint = encoder.fingerprint().to_owned();
        let changed = folder.path().join("folder").join(location);
        fs::write(changed, 4f32.to_le_bytes()).unwrap();
        let encoder = Pretrained::open(&folder.path().join("folder"), &options()).unwrap();
        assert_ne!(encoder.fingerprint(), fingerprint);
    }
    let bad = |location: &str, length: i64| error_at(&with(location, length).path().join("folder"));
    for location in [
        "../outside.data",
        "/etc/hostname",
        "a/../../outside.data",
        "",
        "..\\outside.data",
    ] {
        says(
            &bad(location, 4),
            &["inside its folder", "export the model again"],
        );
    }
    says(
        &bad("weights.bin", 4),
        &["*.data or *.onnx_data", "export the model again"],
    );
    says(
        &bad("none.data", 4),
        &["\"none.data\"", "missing", "put it beside the model"],
    );
    says(
        &bad("model.data", 1 << 50),
        &["\"weight\"", "download or export it again"],
    );
    let short = with("model.data", 4);
    fs::write(short.path().join("folder/model.data"), b"abc").unwrap();
    says(
        &error_at(&short.path().join("folder")),
        &["too short", "download or export it again"],
    );
}

#[test]
fn outputs() {
    let tokens = Model {
        nodes: vec![node(
            "Reshape",
            &["pixels", "shape"],
            &["last_hidden_state"],
            &[],
        )],
        constants: vec![integers("shape", &[3], &[0, 4, 12])],
        outputs: vec![port("last_hidden_state", FLOAT, &[0, 4, 12])],
        ..Model::flat()
    };
    says(
        &error(&tokens),
        &["last_hidden_state", "\"cls\"", "\"mean\""],
    );
    let open = |model: &Model, options: &PretrainedOptions| {
        let folder = model.folder();
        Pretrained::open(folder.path(), options).map_err(|error| error.to_string())
    };
    let code = |model: &Model, options: &PretrainedOptions| {
        open(model, options)
            .unwrap()
            .encode(&[picture(4, 4, 3)])
            .unwrap()
    };
    let pooled = |pool| PretrainedOptions {
        pool: Some(pool),
        ..options()
    };
    let whole = code(&Model::flat(), &options());
    let scaled = |mut code: Vec<f32>| {
        let length = code.iter().map(|v| v * v).sum::<f32>().sqrt();
        code.iter_mut().for_each(|v| *v /= length);
        code
    };
    let near = |a: &[f32], b: &[f32]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
    };
    let first = scaled(whole[..12].to_vec());
    assert!(near(&code(&tokens, &pooled(Pool::Cls)), &first));
    let mean = scaled(
        (0..12)
            .map(|i| (0..4).map(|token| whole[token * 12 + i]).sum())
            .collect(),
    );
    assert!(near(&code(&tokens, &pooled(Pool::Mean)), &mean));
    // A map is averaged over its places.
    let map = Model {
        nodes: vec![node("Identity", &["pixels"], &["map"], &[])],
        outputs: vec![port("map", FLOAT, &[0, 3, 4, 4])],
        ..Model::flat()
    };
    let mean = scaled(whole.chunks(16).map(|plane| plane.iter().sum()).collect());
    assert!(near(&code(&map, &options()), &mean));
    // Known names come first, then the only one of two dimensions; a name that is asked for, before
    // all.
    let mut several = Model::flat();
    several
        .nodes
        .push(node("Flatten", &["pixels"], &["pooler_output"], &[]));
    several
        .nodes
        .push(node("Neg", &["code"], &["negative"], &[]));
    several.outputs.push(port("negative", FLOAT, &[0, 48]));
    let message = error(&several);
    says(
        &message,
        &[
            "code [n, 48], negative [n, 48]",
            "name the one that is the code",
        ],
    );
    let named = |output: &str| PretrainedOptions {
        output: Some(output.to_owned()),
        ..options()
    };
    let negative: Vec<f32> = whole.iter().map(|v| -v).collect();
    assert!(near(&code(&several, &named("negative")), &negative));
    let message = open(&several, &named("none")).err().unwrap();
    says(&message, &["\"none\"", "code [n, 48], negative [n, 48]"]);
    several.outputs.push(port("pooler_output", FLOAT, &[0, 48]));
    assert!(near(&code(&several, &options()), &whole));
    let message = open(&Model::flat(), &pooled(Pool::Cls)).err().unwrap();
    says(&message, &["one code already", "leave the pooling out"]);
    // An output that no node computes.
    let mut lost = Model::flat();
    lost.outputs = vec![port("lost", FLOAT, &[0, 48])];
    says(&error(&lost), &["model.onnx"]);
}

#[test]
fn a_picture_that_the_model_gives_nothing_for_is_no_error() {
    let folder = Model::flat().folder();
    let from_zero = PretrainedOptions {
        mean: Some(vec![0.0]),
        ..options()
    };
    let encoder = Pretrained::open(folder.path(), &from_zero).unwrap();
    let black = Pixels::new(4, 4, 3, vec![0; 48]).unwrap();
    let codes = encoder.encode(&[picture(4, 4, 3), black]).unwrap();
    let length = |code: &[f32]| code.iter().map(|v| v * v).sum::<f32>().sqrt();
    assert!((length(&codes[..48]) - 1.0).abs() < 1e-5);
    assert_eq!(codes[48..], [0.0; 48]);
}

#[test]
fn codes_that_are_not_numbers() {
    let with = |operator: &str, first: &str| Model {
        nodes: vec![
            node(operator, &[first, "pixels"], &["x"], &[]),
            node("Flatten", &["x"], &["code"], &[]),
        ],
        ..Model::flat()
    };
    says(&error(&with("Sub", "pixels")), &["is zero", "damaged"]);
    let mut division = with("Sub", "pixels");
    division
        .nodes
        .insert(1, node("Div", &["x", "x"], &["y"], &[]));
    division.nodes[2] = node("Flatten", &["y"], &["code"], &[]);
    says(&error(&division), &["is not a number", "damaged"]);
}

#[test]
fn a_graph_for_a_fixed_number_of_images_gets_that_many() {
    let fixed = Model {
        inputs: vec![port("pixels", FLOAT, &[4, 3, 4, 4])],
        outputs: vec![port("code", FLOAT, &[4, 48])],
        ..Model::flat()
    };
    let images: Vec<_> = (0..7).map(|i| picture(4 + i, 5, 3)).collect();
    let codes = |model: &Model| {
        let folder = model.folder();
        Pretrained::open(folder.path(), &options())
            .unwrap()
            .encode(&images)
            .unwrap()
    };
    assert_eq!(codes(&fixed), codes(&Model::flat()));
}

#[test]
fn sizes_that_a_model_cannot_take() {
    let copy = tiny_clip();
    let file = copy.path().join("preprocessor_config.json");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("\"do_resize\": true", "\"do_resize\": false");
    fs::write(
        &file,
        text.replace("\"do_center_crop\": true", "\"do_center_crop\": false"),
    )
    .unwrap();
    let encoder = Pretrained::open(copy.path(), &PretrainedOptions::default()).unwrap();
    assert_eq!(encoder.encode(&[picture(28, 28, 3)]).unwrap().len(), 32);
    let error = encoder.encode(&[picture(27, 28, 3)]).unwrap_err();
    assert!(matches!(error, PretrainedError::ImageSize { .. }));
    says(&error.to_string(), &["28x28", "27x28", "resize it first"]);
    let none = PretrainedOptions {
        threads: Some(0),
        ..PretrainedOptions::default()
    };
    says(
        &Pretrained::open(copy.path(), &none)
            .err()
            .unwrap()
            .to_string(),
        &["threads"],
    );
}

#[test]
fn damaged_json() {
    for name in [
        "preprocessor_config.json",
        "config.json",
        "tokenizer_config.json",
    ] {
        let copy = tiny_clip();
        fs::write(copy.path().join(name), "{\"size\": ").unwrap();
        says(&error_at(copy.path()), &["cannot read", name]);
    }
    let copy = tiny_clip();
    fs::write(copy.path().join("tokenizer.json"), "{}").unwrap();
    let encoder = Pretrained::open(copy.path(), &PretrainedOptions::default()).unwrap();
    says(
        &encoder.encode_text("a").unwrap_err().to_string(),
        &["tokenizer.json"],
    );
}

#[test]
fn damaged_bytes_never_panic() {
    // Every byte of a small file, changed; and every field, once more.
    let whole = Model::flat().bytes();
    for place in 0..whole.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] ^= change;
            let folder = folder(&[("model.onnx", &bytes)]);
            // Some changes, of names for instance, leave a model that works.
            let _ = Pretrained::open(folder.path(), &options());
        }
    }
    let twice = [whole.clone(), number(9, 1), whole].concat();
    let folder = folder(&[("model.onnx", &twice)]);
    let _ = Pretrained::open(folder.path(), &options());
}
