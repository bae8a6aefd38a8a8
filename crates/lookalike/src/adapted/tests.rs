use std::path::Path;

use lookalike_autoencoder::{Architecture, Autoencoder, DeviceChoice, TrainConfig, train};
use lookalike_images::Collection;

use super::*;
use crate::export::export_encoder;
use crate::{
    ImageStream, IndexOptions, PretrainedEncoder, create_gallery, encoder_of, index, open,
};

fn digits(count: usize) -> Collection {
    let source = open("mnist:test").unwrap();
    source.load(None, Some(count)).unwrap()
}

fn clip() -> PretrainedEncoder {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../lookalike-pretrained/tests/fixtures/tiny-clip"
    );
    PretrainedEncoder::open(Path::new(folder), Default::default()).unwrap()
}

fn model(images: &Collection) -> Autoencoder {
    let config = TrainConfig {
        epochs: 1,
        ..TrainConfig::new(Architecture::Bottleneck)
    };
    train(images, &config, DeviceChoice::Cpu, None, &mut ()).unwrap()
}

fn length(values: &[f32]) -> f32 {
    values.iter().map(|v| v * v).sum::<f32>().sqrt()
}

#[test]
fn parts_have_their_lengths_and_texts_one_part() {
    let images = digits(80);
    let pair = Pair::new(clip(), Some(model(&images)));
    let (own, whole) = (pair.model_dims(), pair.code_dim());
    let stream = ImageStream::of_collection(&images);
    let encoded = stream.encode(&pair, None).unwrap();
    assert_eq!((encoded.dims, encoded.keys.len()), (whole, 80));
    let (first, second) = pair.split(&encoded);
    let first = first.unwrap();
    assert_eq!((first.dims, second.dims), (own, whole - own));
    assert_eq!(first.codes[own..2 * own], encoded.codes[whole..][..own]);
    assert_eq!(second.codes[..second.dims], encoded.codes[own..whole]);

    let adapted = pair.adapt_by(&images, &encoded, Some(10)).unwrap();
    let joined = adapted.adaptation().joined().unwrap();
    assert_eq!(adapted.code_dim(), own + 10);
    let codes = adapted.combine(&encoded.codes);
    for code in codes.chunks(own + 10) {
        assert!((length(&code[..own]) - joined.model_length).abs() < 1e-4);
        assert!((length(&code[own..]) - joined.encoder_length).abs() < 1e-4);
    }
    // Encoded by itself it gives the same.
    let again = stream.encode(&adapted, None).unwrap();
    let apart = again.codes.iter().zip(&codes).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-5);
    let text = adapted.encode_text("a seven").unwrap();
    assert!(text[..own].iter().all(|&value| value == 0.0));
    assert!((length(&text) - 1.0).abs() < 1e-4);
    assert!(adapted.name().contains("to 10 floats"));
    let kinds = [
        CodeKind::Model,
        CodeKind::Encoder,
        CodeKind::Reduced,
        CodeKind::Both,
    ];
    assert_eq!(adapted.kinds(), kinds);
    assert_eq!(adapted.codes_of(CodeKind::Both, &encoded).codes, codes);
    let judged = adapted.judge(&stream, &images, &encoded).unwrap().unwrap();
    assert_eq!((judged.images, judged.encoders.len()), (80, 4));
    assert!(
        judged.encoders.iter().all(|one| one.copies > 0.6),
        "{judged:?}"
    );
}

#[test]
fn a_gallery_gives_back_its_encoder() {
    let images = digits(60);
    let pair = Pair::new(clip(), Some(model(&images)));
    let encoder = pair
        .adapt(ImageStream::of_collection(&images), None)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let gallery = create_gallery(folder.path().join("g"), &encoder, &Default::default()).unwrap();
    let stream = ImageStream::of_collection(&images);
    index(stream, &encoder, &*gallery, IndexOptions::default()).unwrap();
    let again = encoder_of(&*gallery, &[], DeviceChoice::Cpu).unwrap();
    assert_eq!(again.to_bytes(), encoder.to_bytes());
    assert!(again.autoencoder().is_some() && again.has_text());
    let kept = adaptation_of(&*gallery).unwrap().unwrap();
    assert_eq!(&kept, encoder.adaptation());
    let file = folder.path().join("encoder.onnx");
    let error = export_encoder(&encoder, &file).err().unwrap().to_string();
    assert!(error.contains("joined or reduced"), "{error}");
    assert!(!file.exists());
}

#[test]
fn a_reduced_encoder_passes_over_models_of_other_galleries() {
    let images = digits(60);
    let encoder = Pair::new(clip(), None)
        .adapt(ImageStream::of_collection(&images), Some(8))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let gallery = create_gallery(folder.path().join("g"), &encoder, &Default::default()).unwrap();
    let stream = ImageStream::of_collection(&images);
    index(stream, &encoder, &*gallery, IndexOptions::default()).unwrap();
    let file = folder.path().join("m");
    model(&images).save(&file).unwrap();
    let again = encoder_of(&*gallery, &[file], DeviceChoice::Cpu).unwrap();
    assert_eq!(again.to_bytes(), encoder.to_bytes());
    assert!(again.autoencoder().is_none());
}

#[test]
fn an_exported_encoder_keeps_its_metric_and_range_of_grey() {
    let images = digits(60);
    let config = TrainConfig {
        epochs: 1,
        ..TrainConfig::new(Architecture::Conv)
    };
    let model = train(&images, &config, DeviceChoice::Cpu, None, &mut ()).unwrap();
    let range = Some(GreyRange::new(10.0, 3000.0).unwrap());
    let model = model.with_grey_range(range);
    assert_eq!(model.metric(), Metric::Euclidean);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.onnx");
    export_encoder(&model, &file).unwrap();
    let pretrained = PretrainedEncoder::open(&file, Default::default()).unwrap();
    let pair = Pair::new(pretrained, None);
    assert_eq!(pair.grey_range(), range);
    let encoded = ImageStream::of_collection(&images)
        .encode(&pair, None)
        .unwrap();
    let adapted = pair.adapt_by(&images, &encoded, Some(8)).unwrap();
    assert_eq!(adapted.metric_of(CodeKind::Encoder), Metric::Euclidean);
    assert_eq!(adapted.metric_of(CodeKind::Reduced), Metric::Cosine);
}

#[test]
fn little_is_adapted_to_few_images() {
    let images = digits(12);
    let pair = Pair::new(clip(), Some(model(&digits(40))));
    let encoder = pair
        .adapt(ImageStream::of_collection(&images), None)
        .unwrap();
    let joined = encoder.adaptation().joined().unwrap();
    assert_eq!(joined.model_length, joined.encoder_length);
    let few = Pair::new(clip(), None).adapt(ImageStream::of_collection(&images), Some(12));
    let error = few.err().unwrap().to_string();
    assert!(error.contains("12 images"), "{error}");
    let nothing = Pair::new(clip(), None).adapt(ImageStream::of_collection(&images), None);
    assert!(
        nothing
            .err()
            .unwrap()
            .to_string()
            .contains("nothing to adapt")
    );
}
