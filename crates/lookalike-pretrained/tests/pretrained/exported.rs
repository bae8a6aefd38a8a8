//! Files that Lookalike has exported: their metadata says how pictures are brought to them, and is
//! not trusted.

use lookalike_images::{Fit, GreyRange, Pixels};
use lookalike_pretrained::{Pretrained, PretrainedError, PretrainedOptions};

use crate::support::{FLOAT, Model, UINT8, cast_and_flattened, picture, port, tiny_clip};

const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A model whose code is the pixels themselves, as an export describes itself.
fn exported() -> Model {
    let metadata = [
        ("format", "1"),
        ("fit", "pad"),
        ("background", "255,0,128"),
        ("grey_range", "-3.5,4095"),
        ("metric", "euclidean"),
        ("model", HASH),
        ("recipe", "{}"),
    ];
    let named = |(key, value): (&str, &str)| (format!("lookalike.{key}"), value.to_owned());
    Model {
        nodes: cast_and_flattened("images", "codes"),
        inputs: vec![port("images", UINT8, &[0, 4, 6, 3])],
        outputs: vec![port("codes", FLOAT, &[0, 72])],
        metadata: metadata.into_iter().map(named).collect(),
        ..Model::default()
    }
}

fn open(model: &Model, options: &PretrainedOptions) -> Result<Pretrained, PretrainedError> {
    Pretrained::open(model.folder().path(), options)
}

fn error(model: &Model) -> String {
    let opened = open(model, &PretrainedOptions::default());
    opened.err().expect("an error").to_string()
}

#[test]
fn an_export_says_how_pictures_are_prepared() {
    let encoder = open(&exported(), &PretrainedOptions::default()).unwrap();
    let about = encoder.exported().unwrap();
    assert_eq!((about.fit, about.background), (Fit::Pad, [255, 0, 128]));
    assert_eq!(about.grey_range, GreyRange::new(-3.5, 4095.0));
    assert_eq!(
        (about.metric.as_str(), about.model.as_str()),
        ("euclidean", HASH)
    );

    // Beside a narrow picture is the background, and codes keep their length.
    let narrow = Pixels::new(2, 4, 3, vec![7; 24]).unwrap();
    let code = encoder.encode(&[narrow]).unwrap();
    assert_eq!(
        code[..9],
        [255.0, 0.0, 128.0, 255.0, 0.0, 128.0, 7.0, 7.0, 7.0]
    );
    // A code of zeros is one.
    let black = Pixels::new(6, 4, 3, vec![0; 72]).unwrap();
    assert_eq!(encoder.encode(&[black]).unwrap(), [0.0; 72]);
}

#[test]
fn without_its_metadata_it_is_any_model() {
    let mut model = exported();
    model.metadata = vec![("author".into(), "somebody".into())];
    let encoder = open(&model, &PretrainedOptions::default()).unwrap();
    assert!(encoder.exported().is_none());
    let code = encoder.encode(&[picture(6, 4, 3)]).unwrap();
    let length: f32 = code.iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
}

#[test]
fn values_that_make_no_sense_are_named() {
    let long = "x".repeat(100_000);
    for (key, value, expected) in [
        ("format", "2", "1, the format of this version"),
        ("format", "one", "1, the format of this version"),
        ("fit", "sideways", "stretch, crop or pad"),
        ("fit", long.as_str(), "stretch, crop or pad"),
        ("background", "255,255", "three numbers from 0 to 255"),
        ("background", "255,255,256", "three numbers from 0 to 255"),
        ("background", "-1,0,0", "three numbers from 0 to 255"),
        ("background", "", "three numbers from 0 to 255"),
        ("grey_range", "9,3", "the lower first"),
        ("grey_range", "0,inf", "the lower first"),
        ("grey_range", "NaN,1", "the lower first"),
        ("model", "abc", "a BLAKE3 hash"),
        ("model", "\u{0}\u{1b}[31m", "a BLAKE3 hash"),
    ] {
        let mut model = exported();
        let key = format!("lookalike.{key}");
        let entry = model.metadata.iter_mut().find(|(name, _)| *name == key);
        entry.unwrap().1 = value.to_owned();
        let message = error(&model);
        let shown: String = value.chars().take(20).filter(|c| !c.is_control()).collect();
        for part in ["model.onnx", &key, &shown, expected] {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
        assert!(message.len() < 500, "{} bytes", message.len());
        assert!(!message.contains('\u{1b}'));
    }
}

#[test]
fn what_is_missing_or_there_twice_is_named() {
    for key in ["format", "fit", "background", "metric", "model"] {
        let key = format!("lookalike.{key}");
        let mut model = exported();
        model.metadata.retain(|(name, _)| *name != key);
        let message = error(&model);
        assert!(
            message.contains(&key) && message.contains("missing"),
            "{message}"
        );

        let mut model = exported();
        let entry = model.metadata.iter().find(|(name, _)| *name == key);
        model.metadata.push(entry.unwrap().clone());
        let message = error(&model);
        assert!(
            message.contains(&key) && message.contains("there are two"),
            "{message}"
        );
    }
    let mut model = exported();
    model
        .metadata
        .retain(|(name, _)| name != "lookalike.grey_range");
    let encoder = open(&model, &PretrainedOptions::default()).unwrap();
    assert_eq!(encoder.exported().unwrap().grey_range, None);
}

#[test]
fn a_graph_that_does_not_suit_its_metadata_is_refused() {
    let open_size = port("images", UINT8, &[0, 0, 0, 3]);
    let floats = port("images", FLOAT, &[0, 4, 6, 3]);
    let planes = port("images", UINT8, &[0, 3, 4, 6]);
    for input in [open_size, floats, planes] {
        let mut model = exported();
        model.inputs = vec![input];
        let message = error(&model);
        assert!(message.contains("export it again"), "{message}");
    }
}

#[test]
fn options_that_contradict_it_are_refused() {
    let refused = |options: PretrainedOptions, named: &str| {
        let message = open(&exported(), &options).err().unwrap().to_string();
        assert!(message.starts_with(named), "{message}");
    };
    let mean = Some(vec![0.5]);
    refused(
        PretrainedOptions {
            mean: mean.clone(),
            ..Default::default()
        },
        "mean",
    );
    refused(
        PretrainedOptions {
            std: mean,
            ..Default::default()
        },
        "std",
    );
    refused(
        PretrainedOptions {
            size: Some(4),
            ..Default::default()
        },
        "size",
    );
}

#[test]
fn files_beside_it_belong_to_others() {
    let folder = tiny_clip();
    let path = folder.path().join("vision.onnx");
    std::fs::write(&path, exported().bytes()).unwrap();
    let encoder = Pretrained::open(&path, &PretrainedOptions::default()).unwrap();
    assert_eq!(encoder.exported().unwrap().fit, Fit::Pad);
    assert!(!encoder.has_text());
}
