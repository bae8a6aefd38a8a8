//! What the files of each layout say, and what is not understood.

use crate::support::{FLOAT, Model, UINT8, cast_and_flattened, folder, node, picture, port};
use lookalike_images::Filter;
use lookalike_pretrained::{
    Crop, Layout, Middle, Preprocessing, Pretrained, PretrainedOptions, Resize, Values,
};
use serde_json::{Value, json};

/// A model of any size whose code is the mean colour.
fn open_sizes() -> Model {
    Model {
        nodes: vec![node("GlobalAveragePool", &["pixel_values"], &["map"], &[])],
        inputs: vec![port("pixel_values", FLOAT, &[0, 0, 0, 0])],
        outputs: vec![port("map", FLOAT, &[0, 3, 1, 1])],
        ..Model::default()
    }
}

fn resolve(file: &str, document: &Value) -> Result<Preprocessing, String> {
    let folder = folder(&[
        ("model.onnx", &open_sizes().bytes()),
        (file, document.to_string().as_bytes()),
    ]);
    let opened = Pretrained::open(folder.path(), &PretrainedOptions::default());
    opened
        .map(|encoder| encoder.preprocessing().clone())
        .map_err(|error| error.to_string())
}

fn changed(document: &Value, key: &str, value: Value) -> Value {
    let mut document = document.clone();
    match value {
        Value::Null => drop(document.as_object_mut().unwrap().remove(key)),
        value => document[key] = value,
    }
    document
}

/// As CLIP ViT-B/32 has it.
fn clip() -> Value {
    json!({
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true,
        "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.48, 0.45, 0.40],
        "image_processor_type": "CLIPImageProcessor", "image_std": [0.26, 0.26, 0.27], "resample": 3,
        "rescale_factor": 1.0 / 255.0, "size": {"shortest_edge": 224},
    })
}

#[test]
fn transformers() {
    const FILE: &str = "preprocessor_config.json";
    let found = resolve(FILE, &clip()).unwrap();
    let crop = |side| {
        Some(Crop {
            height: side,
            width: side,
            middle: Middle::Down,
            fill: [0; 3],
        })
    };
    let expected = Preprocessing {
        resize: Resize::Shortest { side: 224 },
        interpolation: Filter::Bicubic,
        crop: crop(224),
        height: 224,
        width: 224,
        channels: 3,
        layout: Layout::ChannelsFirst,
        values: Values::Normalised {
            rescale: 1.0 / 255.0,
            mean: vec![0.48, 0.45, 0.40],
            std: vec![0.26, 0.26, 0.27],
        },
    };
    assert_eq!(found, expected);
    // The first version of the same file.
    let old = changed(
        &changed(&clip(), "size", json!(224)),
        "crop_size",
        json!(224),
    );
    let old = changed(
        &changed(&old, "do_rescale", Value::Null),
        "rescale_factor",
        Value::Null,
    );
    assert_eq!(resolve(FILE, &old).unwrap(), expected);
    // DINOv2 cuts 224 from 256; SigLIP and ViT squash; a number means that to them, too.
    let dino = changed(&clip(), "size", json!({"shortest_edge": 256}));
    assert_eq!(
        resolve(FILE, &dino).unwrap().resize,
        Resize::Shortest { side: 256 }
    );
    let siglip = changed(
        &changed(&clip(), "size", json!({"height": 224, "width": 224})),
        "do_center_crop",
        json!(false),
    );
    let found = resolve(FILE, &siglip).unwrap();
    assert_eq!(
        (found.resize, found.crop),
        (
            Resize::Squash {
                height: 224,
                width: 224
            },
            None
        )
    );
    let vit = changed(
        &changed(&siglip, "size", json!(224)),
        "image_processor_type",
        json!("ViTImageProcessor"),
    );
    assert_eq!(resolve(FILE, &vit).unwrap(), found);
    // ConvNext.
    let convnext = json!({
        "crop_pct": 0.875, "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ConvNextImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 2,
        "size": {"shortest_edge": 224},
    });
    let found = resolve(FILE, &convnext).unwrap();
    assert_eq!(
        (found.resize, found.crop),
        (Resize::Shortest { side: 256 }, crop(224))
    );
    let large = changed(&convnext, "size", json!({"shortest_edge": 384}));
    let found = resolve(FILE, &large).unwrap();
    assert_eq!(
        (found.resize, found.crop),
        (
            Resize::Squash {
                height: 384,
                width: 384
            },
            None
        )
    );
    // Values as they are.
    let raw = changed(
        &changed(&clip(), "do_rescale", json!(false)),
        "do_normalize",
        json!(false),
    );
    let found = resolve(FILE, &raw).unwrap();
    assert_eq!(
        found.values,
        Values::Normalised {
            rescale: 1.0,
            mean: vec![0.0; 3],
            std: vec![1.0; 3]
        }
    );
}

#[test]
fn what_transformers_says_and_is_not_known_is_an_error() {
    let cases = [
        (
            "resample",
            json!(0),
            "resample is 0, expected 1 (lanczos), 2 (bilinear) or 3 (bicubic)",
        ),
        ("resample", Value::Null, "resample is missing"),
        (
            "size",
            json!({"longest_edge": 224}),
            "size is {\"longest_edge\":224}",
        ),
        (
            "size",
            json!({"shortest_edge": 0}),
            "size.shortest_edge is 0",
        ),
        (
            "size",
            json!({"shortest_edge": 1e12}),
            "size.shortest_edge is 1000000000000.0",
        ),
        ("size", Value::Null, "size is missing"),
        ("crop_size", Value::Null, "crop_size is missing"),
        (
            "do_resize",
            json!("yes"),
            "do_resize is \"yes\", expected true or false",
        ),
        ("do_pad", json!(true), "do_pad is true"),
        ("image_mean", Value::Null, "image_mean is missing"),
        ("image_mean", json!([1, 2]), "image_mean is [1,2]"),
        (
            "image_std",
            json!([0.2, 0.0, 0.2]),
            "image_std is [0.2,0.0,0.2]",
        ),
        ("rescale_factor", json!(0), "rescale_factor is 0"),
        ("crop_pct", json!(0), "crop_pct is 0"),
    ];
    for (key, value, expected) in cases {
        let found = resolve("preprocessor_config.json", &changed(&clip(), key, value));
        let error = found.unwrap_err();
        assert!(
            error.contains(expected) && error.contains("preprocessor_config.json"),
            "{key}: {error}"
        );
    }
    let number = changed(
        &changed(&clip(), "size", json!(224)),
        "image_processor_type",
        json!("NewImageProcessor"),
    );
    let error = resolve("preprocessor_config.json", &number).unwrap_err();
    assert!(error.contains("size is 224"), "{error}");
    let error = resolve("preprocessor_config.json", &json!([1])).unwrap_err();
    assert!(error.contains("the document is [1]"), "{error}");
}

#[test]
fn open_clip_and_immich() {
    let config = json!({
        "size": [224, 224], "mode": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic",
        "resize_mode": "shortest", "fill_color": 0,
    });
    let found = resolve("preprocess_cfg.json", &config).unwrap();
    let crop = Crop {
        height: 224,
        width: 224,
        middle: Middle::Even,
        fill: [0; 3],
    };
    assert_eq!(
        (found.resize, found.crop),
        (Resize::Shortest { side: 224 }, Some(crop))
    );
    let whole = json!({
        "model_cfg": {"vision_cfg": {"image_size": 224}},
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    });
    assert_eq!(resolve("open_clip_config.json", &whole).unwrap(), found);
    let squash = resolve(
        "preprocess_cfg.json",
        &changed(&config, "resize_mode", json!("squash")),
    )
    .unwrap();
    assert_eq!(
        (squash.resize, squash.crop),
        (
            Resize::Squash {
                height: 224,
                width: 224
            },
            None
        )
    );
    let longest = changed(
        &changed(&config, "resize_mode", json!("longest")),
        "fill_color",
        json!([1, 2, 3]),
    );
    let longest = resolve("preprocess_cfg.json", &longest).unwrap();
    assert_eq!(
        longest.resize,
        Resize::Contain {
            height: 224,
            width: 224
        }
    );
    assert_eq!(
        longest.crop,
        Some(Crop {
            fill: [1, 2, 3],
            ..crop
        })
    );
    for (key, value) in [
        ("resize_mode", json!("crop")),
        ("interpolation", json!("random")),
        ("mode", json!("L")),
        ("fill_color", json!(300)),
        ("mean", Value::Null),
        ("size", json!("large")),
    ] {
        let error = resolve("preprocess_cfg.json", &changed(&config, key, value)).unwrap_err();
        assert!(
            error.contains(&format!("preprocess_cfg.json: {key} is ")),
            "{error}"
        );
    }
}

#[test]
fn timm() {
    let config = json!({"pretrained_cfg": {
        "input_size": [3, 224, 224], "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }});
    let found = resolve("config.json", &config).unwrap();
    let crop = Crop {
        height: 224,
        width: 224,
        middle: Middle::Even,
        fill: [0; 3],
    };
    assert_eq!(
        (found.resize, found.crop),
        (Resize::Shortest { side: 248 }, Some(crop))
    );
    let inner = |key: &str, value: Value| json!({"pretrained_cfg": changed(&config["pretrained_cfg"], key, value)});
    let squash = resolve("config.json", &inner("crop_mode", json!("squash"))).unwrap();
    assert_eq!(
        squash.resize,
        Resize::Squash {
            height: 248,
            width: 248
        }
    );
    let border = resolve("config.json", &inner("crop_mode", json!("border"))).unwrap();
    assert_eq!(
        border.resize,
        Resize::Contain {
            height: 248,
            width: 248
        }
    );
    assert_eq!(
        border.crop,
        Some(Crop {
            fill: [124, 116, 104],
            ..crop
        })
    );
    for (key, value) in [
        ("input_size", json!([224, 224])),
        ("crop_pct", json!(-1)),
        ("crop_mode", json!("corner")),
        ("interpolation", json!("area")),
        ("std", json!([])),
    ] {
        let error = resolve("config.json", &inner(key, value)).unwrap_err();
        assert!(
            error.contains(&format!("config.json: pretrained_cfg.{key} is ")),
            "{error}"
        );
    }
}

#[test]
fn the_first_file_counts() {
    let model = open_sizes().bytes();
    let text = |value: &Value| value.to_string().into_bytes();
    let open_clip = json!({"size": 32, "mean": [0.5], "std": [0.5]});
    let timm = json!({"pretrained_cfg": {
        "input_size": [3, 64, 64], "interpolation": "bilinear", "mean": [0.5], "std": [0.5]
    }});
    let files = [
        ("preprocessor_config.json", text(&clip()), 224),
        ("preprocess_cfg.json", text(&open_clip), 32),
        ("config.json", text(&timm), 64),
    ];
    for first in 0..files.len() {
        let mut all: Vec<(&str, &[u8])> = vec![("model.onnx", &model)];
        all.extend(
            files[first..]
                .iter()
                .map(|(name, bytes, _)| (*name, bytes.as_slice())),
        );
        let folder = folder(&all);
        let encoder = Pretrained::open(folder.path(), &PretrainedOptions::default()).unwrap();
        assert_eq!(encoder.preprocessing().width, files[first].2);
    }
}

#[test]
fn without_a_file_mean_deviation_and_size_are_required() {
    let folder = open_sizes().folder();
    let open = |mean: Option<f32>, std: Option<f32>, size: Option<usize>| {
        let options = PretrainedOptions {
            mean: mean.map(|m| vec![m]),
            std: std.map(|s| vec![s]),
            size,
            ..PretrainedOptions::default()
        };
        Pretrained::open(folder.path(), &options).map_err(|error| error.to_string())
    };
    let error = |found: Result<Pretrained, String>| found.err().unwrap();
    assert!(error(open(None, None, Some(8))).contains("a mean and a standard deviation"));
    assert!(error(open(Some(0.5), None, Some(8))).contains("a mean and a standard deviation"));
    assert!(error(open(Some(0.5), Some(0.5), None)).contains("a size is required"));
    assert!(error(open(Some(0.5), Some(0.0), Some(8))).contains("std does not suit"));
    assert!(error(open(Some(f32::NAN), Some(0.5), Some(8))).contains("mean does not suit"));
    assert!(error(open(Some(0.5), Some(0.5), Some(1 << 40))).contains("size does not suit"));
    let encoder = open(Some(0.5), Some(0.5), Some(8)).unwrap();
    assert_eq!(encoder.preprocessing().resize, Resize::Shortest { side: 8 });
    // A graph for one size says it itself; another one does not suit it.
    let folder = Model::flat().folder();
    let options = |size| PretrainedOptions {
        mean: Some(vec![0.5; 3]),
        std: Some(vec![0.5; 3]),
        size,
        ..PretrainedOptions::default()
    };
    assert_eq!(
        Pretrained::open(folder.path(), &options(None))
            .unwrap()
            .preprocessing()
            .height,
        4
    );
    let bad = PretrainedOptions {
        mean: Some(vec![0.5; 2]),
        ..options(None)
    };
    assert!(
        Pretrained::open(folder.path(), &bad)
            .err()
            .unwrap()
            .to_string()
            .contains("3 channels")
    );
}

#[test]
fn a_file_and_a_graph_that_disagree_are_an_error() {
    let folder = folder(&[
        ("model.onnx", &Model::flat().bytes()),
        ("preprocessor_config.json", clip().to_string().as_bytes()),
    ]);
    let error = Pretrained::open(folder.path(), &PretrainedOptions::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("takes 4x4 pixels") && error.contains("says 224x224"),
        "{error}"
    );
}

/// What a model gets to see: the code of a model that hands its input on, times its length.
fn seen(model: &Model, document: &Value, image: &lookalike_images::Pixels) -> Vec<f32> {
    let folder = folder(&[
        ("model.onnx", &model.bytes()),
        ("preprocess_cfg.json", document.to_string().as_bytes()),
    ]);
    let encoder = Pretrained::open(folder.path(), &PretrainedOptions::default()).unwrap();
    encoder.encode(std::slice::from_ref(image)).unwrap()
}

fn scaled(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let values: Vec<f32> = values.collect();
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter().map(|v| v / length).collect()
}

fn near(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    assert!(
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5),
        "{a:?} {b:?}"
    );
}

#[test]
fn values_and_layouts_are_those_of_the_graph() {
    let image = picture(4, 4, 3);
    let bytes = image.data();
    let document = json!({"size": 4, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]});
    let value = |i: usize, c: usize| {
        let (mean, std) = ([0.1, 0.2, 0.3][c], [0.5, 0.6, 0.7][c]);
        (f32::from(bytes[i * 3 + c]) / 255.0 - mean) / std
    };
    let first = scaled((0..48).map(|k| value(k % 16, k / 16)));
    near(&seen(&Model::flat(), &document, &image), &first);
    let mut last = Model::flat();
    last.inputs = vec![port("pixels", FLOAT, &[0, 4, 4, 3])];
    let expected = scaled((0..48).map(|k| value(k / 3, k % 3)));
    near(&seen(&last, &document, &image), &expected);
    // Bytes go in as they are, whatever mean a file has.
    let raw = Model {
        nodes: cast_and_flattened("pixels", "code"),
        inputs: vec![port("pixels", UINT8, &[0, 4, 4, 3])],
        ..Model::flat()
    };
    near(
        &seen(&raw, &document, &image),
        &scaled(bytes.iter().map(|&byte| f32::from(byte))),
    );
    near(
        &seen(&raw, &json!({"size": 4}), &image),
        &scaled(bytes.iter().map(|&byte| f32::from(byte))),
    );
    // A grey model sees grey.
    let mut grey = raw.clone();
    grey.inputs = vec![port("pixels", UINT8, &[0, 4, 4, 1])];
    grey.outputs = vec![port("code", FLOAT, &[0, 16])];
    let image = picture(4, 4, 1);
    near(
        &seen(&grey, &json!({"size": 4}), &image),
        &scaled(image.data().iter().map(|&byte| f32::from(byte))),
    );
}

#[test]
fn padding_and_cropping_keep_the_middle() {
    let raw = Model {
        nodes: cast_and_flattened("pixels", "code"),
        inputs: vec![port("pixels", UINT8, &[0, 4, 4, 1])],
        outputs: vec![port("code", FLOAT, &[0, 16])],
        ..Model::default()
    };
    let wide =
        lookalike_images::Pixels::new(8, 4, 1, (0..32).map(|i| i % 8 * 10).collect()).unwrap();
    // The shorter side has the length already.
    let middle = scaled((0..16).map(|i| [20.0, 30.0, 40.0, 50.0][i % 4]));
    near(&seen(&raw, &json!({"size": 4}), &wide), &middle);
    let padded = seen(
        &raw,
        &json!({"size": 4, "resize_mode": "longest", "fill_color": 0}),
        &wide,
    );
    assert!(
        padded[..4].iter().chain(&padded[12..]).all(|&v| v == 0.0) && padded[7] > 0.3,
        "{padded:?}"
    );
    // Extreme proportions cost no more than others.
    let line = picture(60_000, 1, 1);
    assert_eq!(seen(&raw, &json!({"size": 4}), &line).len(), 16);
}
