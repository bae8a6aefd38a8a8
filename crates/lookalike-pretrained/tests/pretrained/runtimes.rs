//! Which runtime runs models, and that codes do not depend on it.

use lookalike_pretrained::{Pretrained, PretrainedOptions, Runtime};

use crate::support::fixtures;

fn on(runtime: Runtime) -> PretrainedOptions {
    PretrainedOptions {
        runtime: Some(runtime),
        threads: Some(2),
        ..PretrainedOptions::default()
    }
}

#[test]
fn rten_is_there_always() {
    let encoder = Pretrained::open(&fixtures().join("tiny-clip"), &on(Runtime::Rten)).unwrap();
    assert_eq!(encoder.runtime(), "rten");
    assert_eq!("onnxruntime".parse(), Ok(Runtime::OnnxRuntime));
    assert!("tract".parse::<Runtime>().unwrap_err().contains("rten"));
}

#[cfg(not(feature = "ort"))]
#[test]
fn a_runtime_that_was_not_built_in_is_refused() {
    let tiny = fixtures().join("tiny-clip");
    let error = Pretrained::open(&tiny, &on(Runtime::OnnxRuntime)).err();
    let message = error.unwrap().to_string();
    for words in [
        "tiny-clip",
        "ONNX Runtime",
        "use rten",
        "the feature \"ort\"",
    ] {
        assert!(message.contains(words), "{message}");
    }
    let encoder = Pretrained::open(&tiny, &PretrainedOptions::default()).unwrap();
    assert_eq!(encoder.runtime(), "rten");
}

/// With ONNX Runtime's library, which `ORT_DYLIB_PATH` names or the system has.
#[cfg(feature = "ort")]
mod onnx_runtime {
    use lookalike_images::Pixels;

    use super::*;
    use crate::support::{
        FLOAT, INT8, Model, UINT8, bytes, cast_and_flattened, digits, external, floats, folder,
        integers, node, number, picture, port, text_attribute,
    };

    /// How far two codes of length 1 may differ in each float.
    const TOLERANCE: f32 = 1e-4;

    fn options(runtime: Runtime) -> PretrainedOptions {
        PretrainedOptions {
            mean: Some(vec![0.5]),
            std: Some(vec![0.25]),
            ..on(runtime)
        }
    }

    fn near(one: &[f32], other: &[f32]) {
        assert_eq!(one.len(), other.len());
        for (one, other) in one.iter().zip(other) {
            assert!((one - other).abs() < TOLERANCE, "{one} and {other}");
        }
    }

    /// The codes of a picture by both runtimes.
    fn both(model: &Model) -> [Vec<f32>; 2] {
        let folder = model.folder();
        [Runtime::Rten, Runtime::OnnxRuntime].map(|runtime| {
            let encoder = Pretrained::open(folder.path(), &options(runtime)).unwrap();
            encoder.encode(&[picture(4, 4, 3)]).unwrap()
        })
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library"]
    fn images_and_texts_have_the_same_codes() {
        let open = |runtime| Pretrained::open(&fixtures().join("tiny-clip"), &on(runtime)).unwrap();
        let (rten, other) = (open(Runtime::Rten), open(Runtime::OnnxRuntime));
        assert!(other.runtime().starts_with("ONNX Runtime ("));
        assert_eq!(rten.fingerprint(), other.fingerprint());
        // More than one batch, and a part of one.
        let images: Vec<Pixels> = digits(19).into_iter().map(|image| image.pixels).collect();
        near(
            &rten.encode(&images).unwrap(),
            &other.encode(&images).unwrap(),
        );
        for text in ["seven", "a photo of the number three", ""] {
            near(
                &rten.encode_text(text).unwrap(),
                &other.encode_text(text).unwrap(),
            );
        }
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library"]
    fn it_is_taken_where_it_is_found() {
        let tiny = fixtures().join("tiny-clip");
        let encoder = Pretrained::open(&tiny, &PretrainedOptions::default()).unwrap();
        assert!(encoder.runtime().starts_with("ONNX Runtime ("));
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library"]
    fn bytes_and_doubles_go_in_as_they_are_wanted() {
        let cast = |element| Model {
            nodes: cast_and_flattened("pixels", "code"),
            inputs: vec![port("pixels", element, &[0, 3, 4, 4])],
            ..Model::flat()
        };
        // 11 is double, 10 float16.
        let [plain, _] = both(&Model::flat());
        for element in [10, 11] {
            let folder = cast(element).folder();
            let encoder = Pretrained::open(folder.path(), &options(Runtime::OnnxRuntime)).unwrap();
            let code = encoder.encode(&[picture(4, 4, 3)]).unwrap();
            let largest = plain.iter().zip(&code).map(|(a, b)| (a - b).abs());
            // What float16 rounds away of numbers up to 2.
            assert!(largest.fold(0.0, f32::max) < 1e-3);
        }
        let [rten, other] = both(&cast(UINT8));
        near(&rten, &other);
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library"]
    fn cubic_resizing_works_and_is_what_we_compute() {
        let resize = |source: &str| {
            node(
                "Resize",
                &[source, "", "", "sizes"],
                &["resized"],
                &[text_attribute("mode", "cubic")],
            )
        };
        let constants = vec![
            floats("positions", &[1, 1, 2, 2], &[0.5, 1.0, 4.0, 2.0]),
            integers("sizes", &[4], &[1, 1, 4, 4]),
        ];
        let constant = Model {
            nodes: vec![
                resize("positions"),
                node("Mul", &["pixels", "resized"], &["product"], &[]),
                node("Flatten", &["product"], &["code"], &[]),
            ],
            constants: constants.clone(),
            ..Model::flat()
        };
        let [rten, other] = both(&constant);
        near(&rten, &other);
        // The same, but that the runtime cannot know beforehand that what is resized is constant.
        let mut computed = Model {
            nodes: vec![
                node("ReduceMax", &["pixels"], &["largest"], &[]),
                node("Sub", &["largest", "largest"], &["nothing"], &[]),
                node("Add", &["positions", "nothing"], &["moved"], &[]),
                resize("moved"),
            ],
            constants,
            ..Model::flat()
        };
        computed.nodes.extend_from_slice(&constant.nodes[1..]);
        let folder = computed.folder();
        let refused = Pretrained::open(folder.path(), &options(Runtime::Rten)).err();
        assert!(refused.unwrap().to_string().contains("use ONNX Runtime"));
        let encoder = Pretrained::open(folder.path(), &options(Runtime::OnnxRuntime)).unwrap();
        near(&rten, &encoder.encode(&[picture(4, 4, 3)]).unwrap());
    }

    /// A model of static quantisation: a convolution of 1 x 1 on bytes, with weights of 8 bits.
    #[test]
    #[ignore = "needs ONNX Runtime's library"]
    fn static_quantisation_works() {
        let scalar = |name: &str, element, value: u8| {
            [number(2, element), bytes(8, name), bytes(9, [value])].concat()
        };
        let weights = [
            [2, 3, 1, 1].map(|dim| number(1, dim)).concat(),
            number(2, INT8),
            bytes(8, "weights"),
            bytes(9, [64u8, 0, 0, 0, 32, 0xE0]),
        ]
        .concat();
        let model = Model {
            nodes: vec![
                node("QuantizeLinear", &["pixels", "fine", "middle"], &["x"], &[]),
                node(
                    "QLinearConv",
                    &[
                        "x", "fine", "middle", "weights", "coarse", "zero", "fine", "middle",
                    ],
                    &["y"],
                    &[],
                ),
                node(
                    "DequantizeLinear",
                    &["y", "fine", "middle"],
                    &["floats"],
                    &[],
                ),
                node("Flatten", &["floats"], &["code"], &[]),
            ],
            constants: vec![
                floats("fine", &[], &[1.0 / 32.0]),
                floats("coarse", &[], &[1.0 / 64.0]),
                scalar("middle", UINT8, 128),
                scalar("zero", INT8, 0),
                weights,
            ],
            outputs: vec![port("code", FLOAT, &[0, 32])],
            ..Model::flat()
        };
        let folder = model.folder();
        let encoder = Pretrained::open(folder.path(), &options(Runtime::OnnxRuntime)).unwrap();
        let picture = picture(4, 4, 3);
        let code = encoder.encode(std::slice::from_ref(&picture)).unwrap();
        // Red, and half of green less half of blue, each in steps of 1 / 32.
        let value = |place: usize, channel: usize| {
            let value = f32::from(picture.data()[3 * place + channel]) / 255.0;
            (((value - 0.5) / 0.25) * 32.0).round().clamp(-128.0, 127.0) / 32.0
        };
        let red = (0..16).map(|place| value(place, 0));
        let rest = (0..16).map(|place| (value(place, 1) - value(place, 2)) / 2.0);
        let expected: Vec<f32> = red.chain(rest).collect();
        let length = expected.iter().map(|v| v * v).sum::<f32>().sqrt();
        for (found, expected) in code.iter().zip(expected) {
            // A step, which rounding a half may be off.
            assert!((found * length - expected).abs() < 1.1 / 32.0);
        }
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library"]
    fn weights_beside_the_model_come_from_there_alone() {
        let weights: Vec<u8> = (0..48)
            .flat_map(|v| (v as f32 / 9.0).to_le_bytes())
            .collect();
        let model = |location: &str| Model {
            nodes: vec![
                node("Mul", &["pixels", "weights"], &["product"], &[]),
                node("Flatten", &["product"], &["code"], &[]),
            ],
            constants: vec![external("weights", &[3, 4, 4], location, 192)],
            ..Model::flat()
        };
        let beside = folder(&[
            ("model.onnx", &model("model.onnx_data").bytes()),
            ("model.onnx_data", &weights),
        ]);
        let codes = [Runtime::Rten, Runtime::OnnxRuntime].map(|runtime| {
            let encoder = Pretrained::open(beside.path(), &options(runtime)).unwrap();
            encoder.encode(&[picture(4, 4, 3)]).unwrap()
        });
        near(&codes[0], &codes[1]);
        // In a function, where rten reads none: the runtime would open the file itself.
        let outside = tempfile::NamedTempFile::new().unwrap();
        let location = outside.path().to_str().unwrap();
        let tensor = external("weights", &[3, 4, 4], location, 192);
        let constant = node(
            "Constant",
            &[],
            &["weights"],
            &[[bytes(1, "value"), bytes(5, tensor), number(20, 4)].concat()],
        );
        let function = [
            bytes(1, "Weights"),
            bytes(5, "weights"),
            bytes(7, constant),
            bytes(9, number(2, 17)),
            bytes(10, "own"),
        ];
        let mut file = model("model.onnx_data").bytes();
        file.extend(bytes(25, function.concat()));
        let beside = folder(&[("model.onnx", &file), ("model.onnx_data", &weights)]);
        let error = Pretrained::open(beside.path(), &options(Runtime::OnnxRuntime)).err();
        assert!(error.unwrap().to_string().contains("inside its folder"));
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library"]
    fn what_it_cannot_run_is_named() {
        let unknown = Model {
            nodes: vec![node("Levitate", &["pixels"], &["code"], &[])],
            ..Model::flat()
        };
        let text = |model: &Model| {
            let folder = model.folder();
            let error = Pretrained::open(folder.path(), &options(Runtime::OnnxRuntime)).err();
            error.unwrap().to_string()
        };
        assert!(text(&unknown).contains("Levitate"));
        // Loads, but takes only one shape.
        let fails = Model {
            nodes: vec![
                node("Add", &["pixels", "odd"], &["sum"], &[]),
                node("Flatten", &["sum"], &["code"], &[]),
            ],
            constants: vec![floats("odd", &[5], &[1.0; 5])],
            ..Model::flat()
        };
        assert!(text(&fails).contains("model.onnx"));
        let without_gpu = PretrainedOptions {
            cuda: true,
            ..options(Runtime::OnnxRuntime)
        };
        let folder = Model::flat().folder();
        // The library for processors alone refuses; the one for GPUs gives the same codes.
        match Pretrained::open(folder.path(), &without_gpu) {
            Ok(encoder) => near(
                &encoder.encode(&[picture(4, 4, 3)]).unwrap(),
                &both(&Model::flat())[0],
            ),
            Err(error) => assert!(error.to_string().contains("cannot use CUDA"), "{error}"),
        }
    }
}
