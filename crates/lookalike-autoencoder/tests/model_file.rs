//! The model file: what is written is read, and nothing else is.

mod common;

use std::collections::HashMap;

use common::{GREY, shapes};
use lookalike_autoencoder::{
    Architecture, Autoencoder, DeviceChoice, Objective, Symmetry, TrainConfig, train,
};
use lookalike_images::{COLOURS, Collection, InputShape, Turn, colours};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

const CPU: DeviceChoice = DeviceChoice::Cpu;

fn small_model() -> Autoencoder {
    small_model_of(Objective::Augment)
}

fn small_model_of(objective: Objective) -> Autoencoder {
    let config = TrainConfig {
        epochs: 1,
        batch: 16,
        ..TrainConfig::with_objective(Architecture::Bottleneck, objective)
    };
    train(&shapes(32, GREY), &config, CPU, None, &mut ()).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    Autoencoder::from_bytes(bytes, "m.safetensors", CPU)
        .unwrap_err()
        .to_string()
}

/// The file taken apart, changed and put together again.
fn changed(
    bytes: &[u8],
    change: impl FnOnce(&mut serde_json::Value, &mut Vec<(String, Vec<usize>, Vec<u8>)>),
) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let document = &header.metadata().as_ref().unwrap()["lookalike"];
    let mut document = serde_json::from_str(document).unwrap();
    let mut tensors: Vec<_> = SafeTensors::deserialize(bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    change(&mut document, &mut tensors);
    let views = tensors.iter().map(|(name, shape, data)| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    let metadata = HashMap::from([("lookalike".to_owned(), document.to_string())]);
    serialize(views, Some(metadata)).unwrap()
}

#[test]
fn a_model_survives_its_file() {
    for objective in Objective::ALL
        .into_iter()
        .filter(|&o| o != Objective::Distil)
    {
        survives(&small_model_of(objective));
    }
}

fn survives(model: &Autoencoder) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    model.save(&path).unwrap();
    let again = Autoencoder::load(&path, CPU).unwrap();
    assert_eq!(again.config(), model.config());
    assert_eq!(again.record(), model.record());
    assert_eq!(again.to_bytes(), model.to_bytes());
    let collection = shapes(20, model.shape());
    assert_eq!(
        again.encode(collection.pixels()).unwrap(),
        model.encode(collection.pixels()).unwrap()
    );
    // Nothing is left beside the file.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn another_versions_model_keeps_its_bytes() {
    let bytes = changed(&small_model().to_bytes(), |d, _| {
        d["program"] = "lookalike 7.8.9".into();
        d["something_new"] = 1.into();
    });
    let model = Autoencoder::from_bytes(&bytes, "m", CPU).unwrap();
    assert_eq!(model.to_bytes(), bytes);
}

#[test]
fn encoding_does_not_depend_on_the_batch() {
    let model = small_model();
    let collection = shapes(300, GREY);
    let together = model.encode(collection.pixels()).unwrap();
    let dim = model.code_dim();
    for i in [0, 1, 255, 256, 299] {
        let alone = model.encode(collection.image(i)).unwrap();
        assert_eq!(alone, together[i * dim..(i + 1) * dim]);
    }
    assert!(model.encode(&collection.pixels()[..100]).is_err());
    assert!(model.encode(&[]).unwrap().is_empty());

    let mut room = vec![0.0; 2 * dim];
    let two = [collection.image(7), collection.image(8)].concat();
    model.encode_into(&two, &mut room).unwrap();
    assert_eq!(room, together[7 * dim..9 * dim]);
    let error = model.encode_into(&two, &mut room[1..]).unwrap_err();
    let expected = format!("2 codes of {dim} floats to {} floats", 2 * dim - 1);
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(model.encode_into(&two[..100], &mut room).is_err());
}

#[test]
fn files_that_are_no_models_are_refused_with_the_reason() {
    let bytes = small_model().to_bytes();
    let identity = changed(&bytes, |_, _| {});
    Autoencoder::from_bytes(&identity, "m", CPU).unwrap();

    assert!(refusal(b"").contains("not a safetensors file"));
    assert!(refusal(b"PK\x03\x04 something else").contains("not a safetensors file"));
    assert!(refusal(&bytes[..bytes.len() / 2]).contains("not a safetensors file"));
    let version = changed(&bytes, |d, _| d["model_format"] = 2.into());
    assert!(
        refusal(&version).contains("model format 2"),
        "{}",
        refusal(&version)
    );
    let none = changed(&bytes, |d, _| {
        d.as_object_mut().unwrap().remove("model_format");
    });
    assert!(refusal(&none).contains("not a finished model"));
    let missing = changed(&bytes, |_, t| {
        t.retain(|(n, _, _)| n != "encoder.conv1.weight")
    });
    assert!(
        refusal(&missing).contains("tensors"),
        "{}",
        refusal(&missing)
    );
    let renamed = changed(&bytes, |_, t| t[0].0 = "surprise".to_owned());
    assert!(
        refusal(&renamed).contains("is missing"),
        "{}",
        refusal(&renamed)
    );
    let misshapen = changed(&bytes, |_, t| {
        let tensor = t.iter_mut().find(|t| t.0 == "encoder.linear1.weight");
        tensor.unwrap().1.reverse();
    });
    assert!(
        refusal(&misshapen).contains("of shape"),
        "{}",
        refusal(&misshapen)
    );
    let infinite = changed(&bytes, |_, t| {
        let tensor = t.iter_mut().find(|t| t.0 == "decoder.conv1.weight");
        tensor.unwrap().2[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(refusal(&infinite).contains("NaN"), "{}", refusal(&infinite));
    let shape = changed(&bytes, |d, _| {
        d["preprocessing"]["shape"]["height"] = 1_000_000_000u64.into();
    });
    assert!(refusal(&shape).contains("sides"), "{}", refusal(&shape));
    let divisor = changed(&bytes, |d, _| d["preprocessing"]["divisor"] = 128.into());
    assert!(refusal(&divisor).contains("divided by 128"));
    let count = changed(&bytes, |d, _| d["parameters"] = 7.into());
    assert!(refusal(&count).contains("7 parameters"));
    let dims = changed(&bytes, |d, _| d["config"]["code_dim"] = u64::MAX.into());
    assert!(refusal(&dims).contains("1 to 4096"), "{}", refusal(&dims));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Damage of the header gives an error or, where it does not matter, a model; never a panic.
    #[test]
    fn damaged_bytes_never_panic(at in 0usize..6000, value: u8, cut in 0usize..2_000_000) {
        use std::sync::OnceLock;
        static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
        let bytes = BYTES.get_or_init(|| small_model().to_bytes());
        let mut damaged = bytes.clone();
        let at = at % damaged.len();
        damaged[at] = value;
        let _ = Autoencoder::from_bytes(&damaged, "m", CPU);
        damaged.truncate(cut % bytes.len());
        let _ = Autoencoder::from_bytes(&damaged, "m", CPU);
    }
}

#[test]
fn colours_are_joined_to_codes_and_to_nothing_else() {
    let shape = InputShape {
        channels: 3,
        ..GREY
    };
    let images = shapes(32, shape);
    let config = TrainConfig {
        epochs: 1,
        batch: 16,
        colour_weight: 0.5,
        ..TrainConfig::with_objective(Architecture::Bottleneck, Objective::Augment)
    };
    let learn = |config: &TrainConfig| train(&images, config, CPU, None, &mut ()).unwrap();
    let joined = learn(&config);
    let plain = learn(&TrainConfig {
        colour_weight: 0.0,
        ..config
    });
    let (dim, latent_dim) = (joined.code_dim(), joined.latent_dim());
    assert_eq!((latent_dim, dim), (plain.code_dim(), 64 + COLOURS));
    assert_eq!(joined.code_map(), [1, 1, dim]);
    let codes = joined.encode(images.pixels()).unwrap();
    let latents = plain.encode(images.pixels()).unwrap();
    for (image, (code, latent)) in codes
        .chunks(dim)
        .zip(latents.chunks(latent_dim))
        .enumerate()
    {
        let length = latent.iter().map(|v| v * v).sum::<f32>().sqrt();
        let (learned, seen) = code.split_at(latent_dim);
        assert!(
            learned
                .iter()
                .zip(latent)
                .all(|(a, b)| (a * length - b).abs() < 1e-4 * length)
        );
        let expected = colours(images.image(image));
        assert!(
            seen.iter()
                .zip(expected)
                .all(|(a, b)| (a - 0.5 * b).abs() < 1e-6)
        );
        assert_eq!(joined.encode(images.image(image)).unwrap(), code);
    }
    // The decoder knows nothing of them, and the file everything.
    let some = &images.pixels()[..3 * shape.values()];
    assert_eq!(
        joined.reconstruct(some).unwrap(),
        plain.reconstruct(some).unwrap()
    );
    let again = Autoencoder::from_bytes(&joined.to_bytes(), "m", CPU).unwrap();
    assert_eq!(again.encode(images.pixels()).unwrap(), codes);
    assert_eq!(again.code_dim(), dim);
    for weight in [-1.0, 1e9] {
        let said = refusal(&changed(&joined.to_bytes(), |d, _| {
            d["config"]["colour_weight"] = weight.into();
        }));
        assert!(said.contains("colours"), "{said}");
    }
    // A model without colours says nothing of them, as models did before there were any.
    let before = changed(&plain.to_bytes(), |d, _| {
        assert!(d["config"].get("colour_weight").is_none());
    });
    assert_eq!(
        Autoencoder::from_bytes(&before, "m", CPU)
            .unwrap()
            .code_dim(),
        64
    );
    let grey = train(&shapes(32, GREY), joined.config(), CPU, None, &mut ());
    assert!(grey.unwrap_err().to_string().contains("use weight 0"));
}

#[test]
fn shape_and_colours_stand_behind_what_was_learned() {
    let coloured = InputShape {
        channels: 3,
        ..GREY
    };
    for (shape, parts) in [(GREY, 1), (coloured, 2)] {
        let images = shapes(48, shape);
        let config = TrainConfig {
            epochs: 1,
            batch: 16,
            ..TrainConfig::with_objective(Architecture::Bottleneck, Objective::Look)
        };
        let model = train(&images, &config, CPU, None, &mut ()).unwrap();
        let direct = model.record().direct.clone().unwrap();
        let lengths: Vec<_> = [Some(direct.shape), direct.colours]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(lengths.len(), parts);
        let (dim, latent_dim) = (model.code_dim(), model.latent_dim());
        assert_eq!(
            dim,
            latent_dim + lengths.iter().map(|part| part.dims).sum::<usize>()
        );
        let codes = model.encode(images.pixels()).unwrap();
        let length = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
        for (image, code) in codes.chunks(dim).enumerate() {
            let (learned, mut rest) = code.split_at(latent_dim);
            assert!((length(learned) - 1.0).abs() < 1e-4);
            for part in &lengths {
                let (own, others) = rest.split_at(part.dims);
                assert!((length(own) - part.length).abs() < 1e-4, "{part:?}");
                rest = others;
            }
            assert_eq!(model.encode(images.image(image)).unwrap(), code);
        }
        survives(&model);
    }
}

/// A model whose codes have structures and patches: descriptions of noise do not agree.
fn structured_model() -> Autoencoder {
    let model = noise_model(|_| {});
    let structures = &model.record().direct.as_ref().unwrap().structures;
    assert_eq!(structures.len(), 2, "{structures:?}");
    assert!(model.record().direct.as_ref().unwrap().patches.is_some());
    model
}

fn noise_model(change: impl FnOnce(&mut TrainConfig)) -> Autoencoder {
    let mut bits = 1u64;
    let noise = (0..40 * GREY.values()).map(|_| {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (bits >> 56) as u8
    });
    let keys = (0..40).map(|i| i.to_string()).collect();
    let images = Collection::from_parts("noise", GREY, keys, vec![None; 40], noise.collect());
    let mut config = TrainConfig {
        epochs: 1,
        batch: 16,
        ..TrainConfig::with_objective(Architecture::Bottleneck, Objective::Look)
    };
    change(&mut config);
    train(&images.unwrap(), &config, CPU, None, &mut ()).unwrap()
}

#[test]
fn structures_survive_a_models_file() {
    survives(&structured_model());
}

#[test]
fn what_is_exact_in_symmetric_codes_does_not_depend_on_how_images_lie() {
    let model = noise_model(|config| {
        config.augmentation.turn = true;
        config.augmentation.mirror = true;
    });
    let direct = model.record().direct.as_ref().unwrap();
    assert_eq!(direct.symmetry, Symmetry::TurnsAndMirror);
    survives(&model);
    let images = shapes(4, GREY);
    let exact = |pixels: &[u8]| model.encode(pixels).unwrap()[model.latent_dim()..].to_vec();
    for image in 0..4 {
        let expected = exact(images.image(image));
        for turn in Turn::ALL {
            let turned = turn.apply(images.image(image), (GREY.width, GREY.height), 1);
            for (a, b) in exact(&turned).iter().zip(&expected) {
                assert!((a - b).abs() < 1e-4, "{turn}: {a} and {b}");
            }
        }
    }
    // A model that was written before says nothing of it.
    let json = serde_json::to_value(structured_model().record()).unwrap();
    assert!(json["direct"].get("symmetry").is_none());
}

#[test]
fn a_damaged_direct_part_is_refused_with_the_reason() {
    let bytes = small_model_of(Objective::Look).to_bytes();
    let said = |change: &dyn Fn(&mut serde_json::Value)| {
        refusal(&changed(&bytes, |d, _| change(&mut d["record"]["direct"])))
    };
    for (path, value) in [
        ("dims", serde_json::json!(0)),
        ("dims", 10_000.into()),
        ("length", 0.into()),
        ("length", 1e9.into()),
    ] {
        let why = said(&|direct| direct["shape"][path] = value.clone());
        assert!(why.contains("its shape should have"), "{why}");
    }
    assert!(said(&|direct| direct["shape"]["dims"] = 7.into()).contains("of shape"));
    assert!(said(&|direct| direct["contrast"] = (-1).into()).contains("gradient"));
    let why = said(&|direct| direct["colours"] = direct["shape"].clone());
    assert!(why.contains("have none"), "{why}");
    assert!(said(&|direct| *direct = serde_json::Value::Null).contains("tensors"));
    let structured = structured_model().to_bytes();
    let said = |change: &dyn Fn(&mut serde_json::Value)| {
        let change = |d: &mut serde_json::Value| change(&mut d["record"]["direct"]["structures"]);
        refusal(&changed(&structured, |d, _| change(d)))
    };
    for (path, value) in [
        ("step", serde_json::json!(0)),
        ("step", 8.into()),
        ("components", 0.into()),
        ("components", 25.into()),
        ("kinds", 33.into()),
        ("margin", 0.into()),
    ] {
        let why = said(&|structures| structures[0][path] = value.clone());
        assert!(why.contains("its local blocks"), "{path}: {why}");
    }
    assert!(said(&|structures| structures[0]["kinds"] = 3.into()).contains("of shape"));
    let three = |structures: &mut serde_json::Value| {
        let one = structures[0].clone();
        *structures = vec![one; 3].into();
    };
    assert!(said(&three).contains("3 kinds of structures"));
    assert!(said(&|structures| *structures = serde_json::json!([])).contains("of shape"));
    let said = |change: &dyn Fn(&mut serde_json::Value)| {
        let change = |d: &mut serde_json::Value| change(&mut d["record"]["direct"]["patches"]);
        refusal(&changed(&structured, |d, _| change(d)))
    };
    for (path, value) in [
        ("side", serde_json::json!(0)),
        ("side", 7.into()),
        ("reduction", 0.into()),
        ("reduction", 1_000_000.into()),
        ("components", 0.into()),
        ("components", 37.into()),
        ("kinds", 129.into()),
    ] {
        let why = said(&|patches| patches[path] = value.clone());
        assert!(why.contains("its patches"), "{path}: {why}");
    }
    assert!(said(&|patches| patches["kinds"] = 3.into()).contains("of shape"));
    assert!(said(&|patches| *patches = serde_json::Value::Null).contains("of shape"));
    let missing = changed(&bytes, |_, t| {
        t.retain(|(name, _, _)| name != "direct.shape.axes")
    });
    assert!(
        refusal(&missing).contains("is missing"),
        "{}",
        refusal(&missing)
    );
    let other = changed(&bytes, |d, _| d["config"]["objective"] = "augment".into());
    assert!(refusal(&other).contains("objective"), "{}", refusal(&other));
}
