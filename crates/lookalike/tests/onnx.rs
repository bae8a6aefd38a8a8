//! Autoencoders exported as ONNX, and opened again by the runtime that runs encoders of others:
//! the same codes, the same preparation of pictures, the same neighbours.

use std::path::{Path, PathBuf};

use lookalike::autoencoder::{
    Architecture, Autoencoder, AutoencoderError, DeviceChoice, Objective, TeacherRecord,
    TrainConfig, distil, train,
};
use lookalike::export::export_encoder;
use lookalike::images::{Collection, Fit, GreyRange, InputShape, Pixels};
use lookalike::neighbours::Metric;
use lookalike::{Encoder, PretrainedEncoder, PretrainedOptions, load_encoder};
use tempfile::TempDir;

/// The largest difference that codes of length 1 may have.
const TOLERANCE: f32 = 1e-4;
/// How many times as much codes of blank images may differ: all their blocks are the same, so that
/// rounding errors add up.
const BLANK_FACTOR: f32 = 2.0;

const fn shape(channels: usize, height: usize, width: usize) -> InputShape {
    InputShape {
        channels,
        height,
        width,
    }
}

/// Numbers without a pattern, always the same.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

/// Patches and stripes of random colours, then images that are extreme: blank, saturated, noise,
/// one pixel alone, grey in colour.
fn images(shape: InputShape, count: usize) -> Vec<u8> {
    let mut random = random(7);
    let InputShape {
        channels,
        height,
        width,
    } = shape;
    let mut all = Vec::new();
    for index in 0..count {
        let colours: [[u8; 3]; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| random(256) as u8));
        let (top, left) = (random(height / 2), random(width / 2));
        let (tall, wide) = (2 + random(height / 2), 2 + random(width / 2));
        let slope = random(5);
        for y in 0..height {
            for x in 0..width {
                let inside = match index % 2 {
                    0 => (top..top + tall).contains(&y) && (left..left + wide).contains(&x),
                    _ => ((y * slope + x) / 3).is_multiple_of(2),
                };
                all.extend(&colours[usize::from(inside)][..channels]);
            }
        }
    }
    for grey in [0, 1, 127, 128, 255] {
        all.extend(vec![grey; shape.values()]);
    }
    for colour in [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 255, 0],
        [9, 10, 9],
    ] {
        all.extend(colour[..channels].repeat(height * width));
    }
    all.extend((0..shape.values()).map(|_| random(256) as u8));
    // Black and white, the strongest gradients there are.
    all.extend((0..shape.values()).map(|_| 255 * random(2) as u8));
    let mut point = vec![0; shape.values()];
    point[shape.values() / 2] = 1;
    all.extend(point);
    let ramp = |at: usize| (at / channels % width * 255 / (width - 1)) as u8;
    all.extend((0..shape.values()).map(ramp));
    all
}

fn collection(shape: InputShape, count: usize) -> Collection {
    let pixels = images(shape, count);
    let keys: Vec<String> = (0..pixels.len() / shape.values())
        .map(|key| key.to_string())
        .collect();
    let labels = vec![None; keys.len()];
    Collection::from_parts("patches", shape, keys, labels, pixels).unwrap()
}

fn trained(architecture: Architecture, objective: Objective, shape: InputShape) -> Autoencoder {
    trained_with(architecture, objective, shape, |_| {})
}

fn trained_with(
    architecture: Architecture,
    objective: Objective,
    shape: InputShape,
    change: impl FnOnce(&mut TrainConfig),
) -> Autoencoder {
    let mut config = TrainConfig {
        epochs: 1,
        batch: 16,
        ..TrainConfig::with_objective(architecture, objective)
    };
    change(&mut config);
    let images = collection(shape, 50);
    if objective != Objective::Distil {
        return train(&images, &config, DeviceChoice::Cpu, None, &mut ()).unwrap();
    }
    const DIMS: usize = 12;
    config.teacher = Some(TeacherRecord {
        name: "a teacher".to_owned(),
        fingerprint: "0".repeat(64),
        dims: DIMS,
    });
    // Whatever they are: the graph of what has learned them is tested.
    let codes = (0..images.len() * DIMS).map(|i| ((i * 7919) % 101) as f32 - 50.0);
    let codes = || Ok::<_, AutoencoderError>(codes.collect());
    distil(&images, &config, codes, DeviceChoice::Cpu, None, &mut ()).unwrap()
}

/// A model and the file that it was exported to.
struct Pair {
    model: Autoencoder,
    exported: PretrainedEncoder,
    path: PathBuf,
    _folder: TempDir,
}

impl Pair {
    fn new(model: Autoencoder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("encoder.onnx");
        let bytes = export_encoder(&model, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), bytes);
        let exported = PretrainedEncoder::open(&path, PretrainedOptions::default()).unwrap();
        Self {
            model,
            exported,
            path,
            _folder: folder,
        }
    }

    /// The largest difference of a float, of codes brought to length 1, and the image's number;
    /// those of blank images count less by [`BLANK_FACTOR`].
    fn difference(&self, pixels: &[u8]) -> (f32, usize) {
        let ours = self.model.encode(pixels).unwrap();
        let theirs = self.exported.encode(pixels).unwrap();
        assert_eq!(ours.len(), theirs.len());
        let dims = self.model.code_dim();
        let mut worst = (0.0f32, 0);
        let codes = ours.chunks_exact(dims).zip(theirs.chunks_exact(dims));
        for (image, (ours, theirs)) in codes.enumerate() {
            let length = ours.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
            let shape = self.model.shape();
            let image_pixels = &pixels[image * shape.values()..][..shape.values()];
            let mut each = image_pixels.chunks_exact(shape.channels);
            let factor = match each.all(|pixel| pixel == &image_pixels[..shape.channels]) {
                true => BLANK_FACTOR,
                false => 1.0,
            };
            for (a, b) in ours.iter().zip(theirs) {
                let difference = (a - b).abs() / length / factor;
                if difference > worst.0 {
                    worst = (difference, image);
                }
            }
        }
        worst
    }
}

fn assert_same_codes(name: &str, model: Autoencoder) -> Pair {
    let pair = Pair::new(model);
    let model = &pair.model;
    assert_eq!(pair.exported.code_dim(), model.code_dim(), "{name}");
    assert_eq!(Encoder::shape(&pair.exported), model.shape(), "{name}");
    assert_eq!(pair.exported.default_metric(), model.metric());
    let (worst, image) = pair.difference(&images(model.shape(), 24));
    println!("{name}: {worst:.2e} of image {image}");
    assert!(worst <= TOLERANCE, "{name}: {worst} of image {image}");
    pair
}

#[test]
fn the_articles_networks_give_the_same_codes() {
    for (architecture, shape) in [
        (Architecture::Conv, shape(1, 28, 28)),
        (Architecture::Conv, shape(3, 17, 22)),
        (Architecture::Compact, shape(1, 28, 28)),
        (Architecture::Compact, shape(3, 12, 20)),
    ] {
        for objective in [Objective::Reconstruct, Objective::Augment] {
            let name = format!("{architecture} {objective} {shape}");
            assert_same_codes(&name, trained(architecture, objective, shape));
        }
    }
}

#[test]
fn every_recipe_of_the_bottleneck_gives_the_same_codes() {
    for objective in Objective::ALL {
        for shape in [shape(1, 28, 28), shape(3, 24, 31)] {
            let model = trained(Architecture::Bottleneck, objective, shape);
            let name = format!("bottleneck {objective} {shape}");
            let direct = model.record().direct.is_some();
            assert_eq!(direct, objective == Objective::Look, "{name}");
            assert_same_codes(&name, model);
        }
    }
}

#[test]
fn exact_colours_give_the_same_codes() {
    let colour = shape(3, 32, 32);
    // The second is reduced before patches are taken.
    for shape in [colour, shape(3, 40, 64)] {
        let look = trained(Architecture::Bottleneck, Objective::Look, shape);
        let direct = look.record().direct.as_ref().unwrap();
        assert!(direct.colours.is_some() && direct.patches.is_some());
        assert_same_codes(&format!("look with colours, {shape}"), look);
    }
    let joined = trained_with(
        Architecture::Bottleneck,
        Objective::Augment,
        colour,
        |config| config.colour_weight = 0.7,
    );
    assert!(joined.code_dim() > joined.latent_dim());
    assert_same_codes("augment with colours", joined);
}

#[test]
fn means_over_turns_give_the_same_codes() {
    for (shape, mirror) in [
        (shape(1, 28, 28), true),
        (shape(3, 32, 32), false),
        (shape(1, 24, 31), true),
    ] {
        let model = trained_with(Architecture::Bottleneck, Objective::Look, shape, |config| {
            config.augmentation.turn = true;
            config.augmentation.mirror = mirror;
        });
        assert!(!model.record().direct.as_ref().unwrap().symmetry.is_none());
        assert_same_codes(&format!("turned {shape}, mirror {mirror}"), model);
    }
}

#[test]
fn the_same_model_gives_the_same_file() {
    let model = trained(Architecture::Compact, Objective::Augment, shape(1, 12, 12));
    let bytes = model.to_onnx();
    assert_eq!(bytes, model.to_onnx());
    let again = Autoencoder::from_bytes(&model.to_bytes(), "m", DeviceChoice::Cpu).unwrap();
    assert_eq!(bytes, again.to_onnx());
}

/// Pictures of other sizes, proportions and channels than the model's.
fn pictures() -> Vec<Pixels> {
    let mut random = random(3);
    [
        (40, 20, 3),
        (9, 31, 1),
        (16, 16, 3),
        (200, 90, 3),
        (1, 1, 1),
    ]
    .into_iter()
    .map(|(width, height, channels)| {
        let data = (0..width * height * channels).map(|_| random(256) as u8);
        Pixels::new(width, height, channels, data.collect()).unwrap()
    })
    .collect()
}

#[test]
fn pictures_are_prepared_as_by_the_model() {
    let range = GreyRange::new(-3.5, 4095.25);
    for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
        for channels in [1, 3] {
            let model = trained_with(
                Architecture::Compact,
                Objective::Augment,
                shape(channels, 12, 20),
                |config| config.fit = fit,
            );
            let Pair {
                model,
                exported,
                path,
                _folder,
            } = Pair::new(model.with_grey_range(range));
            assert_eq!(exported.grey_range(), range);
            assert_eq!(exported.decode_sides(), Encoder::decode_sides(&model));
            let plain = lookalike_pretrained(&path);
            for picture in pictures() {
                let prepared = exported.prepare(&picture.clone().into()).unwrap();
                let expected = Encoder::prepare(&model, &picture.clone().into()).unwrap();
                assert_eq!(prepared, expected, "{fit} {channels}");
                // The crate alone prepares pictures in the same way.
                assert_eq!(plain.prepare(&picture.into()).unwrap(), expected);
            }
        }
    }
}

fn lookalike_pretrained(path: &Path) -> Box<dyn Encoder> {
    load_encoder(path, &PretrainedOptions::default(), DeviceChoice::Cpu).unwrap()
}

#[test]
fn neighbours_are_the_same() {
    for (architecture, metric) in [
        (Architecture::Bottleneck, Metric::Cosine),
        (Architecture::Conv, Metric::Euclidean),
    ] {
        let objective = match architecture {
            Architecture::Bottleneck => Objective::Look,
            _ => Objective::Augment,
        };
        let shape = shape(3, 16, 16);
        let pair = Pair::new(trained(architecture, objective, shape));
        assert_eq!(pair.exported.default_metric(), metric);
        let pixels = images(shape, 80);
        let (ours, theirs) = (
            pair.model.encode(&pixels).unwrap(),
            pair.exported.encode(&pixels).unwrap(),
        );
        let dims = pair.model.code_dim();
        let nearest = |codes: &[f32]| -> Vec<Vec<usize>> {
            let rows: Vec<&[f32]> = codes.chunks_exact(dims).collect();
            rows.iter()
                .map(|code| {
                    let distance = |other: usize| metric.distance(code, rows[other]);
                    let mut order: Vec<usize> = (0..80).collect();
                    order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
                    order.truncate(5);
                    order
                })
                .collect()
        };
        assert_eq!(nearest(&ours), nearest(&theirs), "{architecture}");
    }
}

#[test]
fn an_encoder_of_others_is_not_exported() {
    let model = trained(Architecture::Compact, Objective::Augment, shape(1, 12, 12));
    let pair = Pair::new(model);
    let copy = pair.path.with_file_name("copy.onnx");
    let error = export_encoder(&pair.exported, &copy).unwrap_err();
    assert!(error.to_string().contains("ONNX already"), "{error}");
    assert!(!copy.exists());
    let nowhere = pair.path.join("inside-a-file.onnx");
    let error = export_encoder(&pair.model, &nowhere).unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
}
