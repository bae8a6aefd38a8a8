//! What a model learns from a teacher's codes, and what is refused.

mod common;

use std::ops::ControlFlow;
use std::time::Duration;

use common::{GREY, shapes};
use lookalike_autoencoder::{
    Architecture, Autoencoder, AutoencoderError, Checkpointing, DeviceChoice, Objective, Observer,
    TeacherRecord, TrainConfig, TrainStep, distil, train,
};
use lookalike_images::Collection;

const CPU: DeviceChoice = DeviceChoice::Cpu;
/// Blocks along each side of an image whose means are the teacher's code.
const BLOCKS: usize = 4;

/// A teacher that answers with the means of blocks of pixels: far from zero in every direction, as
/// codes of networks without negative values are.
fn codes(collection: &Collection) -> Vec<f32> {
    let shape = collection.shape();
    let (height, width) = (shape.height / BLOCKS, shape.width / BLOCKS);
    let mean = |image: &[u8], row: usize, column: usize| {
        let sum: u32 = (row * height..(row + 1) * height)
            .flat_map(|y| (column * width..(column + 1) * width).map(move |x| (y, x)))
            .map(|(y, x)| u32::from(image[y * shape.width + x]))
            .sum();
        sum as f32 / (255 * height * width) as f32 + 0.2
    };
    (0..collection.len())
        .flat_map(|index| {
            let image = collection.image(index);
            (0..BLOCKS * BLOCKS).map(move |at| mean(image, at / BLOCKS, at % BLOCKS))
        })
        .collect()
}

fn config(epochs: usize) -> TrainConfig {
    TrainConfig {
        teacher: Some(TeacherRecord {
            name: "block means".to_owned(),
            fingerprint: "0123".to_owned(),
            dims: BLOCKS * BLOCKS,
        }),
        code_dim: 12,
        epochs,
        batch: 16,
        seed: 3,
        ..TrainConfig::with_objective(Architecture::Bottleneck, Objective::Distil)
    }
}

fn taught(collection: &Collection, config: &TrainConfig) -> Autoencoder {
    let ask = || Ok::<_, AutoencoderError>(codes(collection));
    distil(collection, config, ask, CPU, None, &mut ()).unwrap()
}

/// Codes less their mean, at length 1.
fn centred(codes: &[f32], dims: usize) -> Vec<Vec<f64>> {
    let count = (codes.len() / dims) as f64;
    let mean: Vec<f64> = (0..dims)
        .map(|d| {
            codes
                .iter()
                .skip(d)
                .step_by(dims)
                .map(|&v| f64::from(v))
                .sum::<f64>()
                / count
        })
        .collect();
    let unit = |row: &[f32]| {
        let row: Vec<f64> = row
            .iter()
            .zip(&mean)
            .map(|(&v, m)| f64::from(v) - m)
            .collect();
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.into_iter().map(|v| v / length).collect()
    };
    codes.chunks_exact(dims).map(unit).collect()
}

#[test]
fn a_student_finds_alike_what_its_teacher_finds_alike() {
    let collection = shapes(384, GREY);
    let model = taught(&collection, &config(30));
    assert!(!model.record().collapsed());
    assert!(model.record().parts.is_empty());
    let dims = model.latent_dim();
    let learned: Vec<f32> = model
        .encode_collection(&collection, |_| {})
        .unwrap()
        .chunks_exact(model.code_dim())
        .flat_map(|code| code[..dims].to_vec())
        .collect();
    let student = centred(&learned, dims);
    let teacher = centred(&codes(&collection), BLOCKS * BLOCKS);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    // The correlation of the similarities of all pairs.
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for one in 0..collection.len() {
        for other in 0..one {
            a.push(dot(&student[one], &student[other]));
            b.push(dot(&teacher[one], &teacher[other]));
        }
    }
    let less_mean = |values: &mut Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter_mut().for_each(|value| *value -= mean);
    };
    less_mean(&mut a);
    less_mean(&mut b);
    let correlation = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
    assert!(correlation > 0.8, "{correlation}");
}

#[test]
fn a_model_file_says_who_the_teacher_was() {
    let collection = shapes(64, GREY);
    let model = taught(&collection, &config(2));
    let again = Autoencoder::from_bytes(&model.to_bytes(), "the model", CPU).unwrap();
    assert_eq!(again.config().teacher, config(2).teacher);
    assert_eq!(
        again.encode_collection(&collection, |_| {}).unwrap(),
        model.encode_collection(&collection, |_| {}).unwrap()
    );
    assert!(model.reconstruct(collection.image(0)).is_ok());
    let teacher = serde_json::to_value(model.config()).unwrap()["teacher"].clone();
    assert_eq!(teacher["name"], "block means");
    let before = TrainConfig::new(Architecture::Bottleneck);
    let before = serde_json::to_value(before).unwrap();
    assert!(
        before.get("teacher").is_none(),
        "other recipes read as before"
    );
}

/// Stops a run after some steps.
struct StopAfter(usize);

impl Observer for StopAfter {
    fn step(&mut self, _: &TrainStep) -> ControlFlow<()> {
        self.0 -= 1;
        match self.0 {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_without_asking_again() {
    let collection = shapes(100, GREY);
    let config = config(3);
    let whole = taught(&collection, &config);
    // 7 steps an epoch: in the first stage, and in the second.
    for steps in [9, 23] {
        let folder = tempfile::tempdir().unwrap();
        let checkpointing = Checkpointing {
            path: folder.path().join("run"),
            every: Duration::from_secs(3600),
            resume: true,
        };
        let ask = || Ok::<_, AutoencoderError>(codes(&collection));
        let stopped = distil(
            &collection,
            &config,
            ask,
            CPU,
            Some(&checkpointing),
            &mut StopAfter(steps),
        );
        assert!(matches!(stopped, Err(AutoencoderError::Stopped { .. })));
        let never = || -> Result<Vec<f32>, AutoencoderError> { panic!("the codes are kept") };
        let mut other = config.clone();
        other.teacher.as_mut().unwrap().fingerprint = "4567".to_owned();
        let refused = distil(
            &collection,
            &other,
            never,
            CPU,
            Some(&checkpointing),
            &mut (),
        );
        let said = refused.unwrap_err().to_string();
        assert!(
            said.contains("another recipe") && said.contains("teacher") && said.contains("4567"),
            "{said}"
        );
        let resumed = distil(
            &collection,
            &config,
            never,
            CPU,
            Some(&checkpointing),
            &mut (),
        );
        assert_eq!(
            resumed
                .unwrap()
                .encode_collection(&collection, |_| {})
                .unwrap(),
            whole.encode_collection(&collection, |_| {}).unwrap(),
            "after {steps} steps"
        );
    }
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let collection = shapes(64, GREY);
    let good = config(1);
    let ask = |codes: Vec<f32>| {
        let ask = || Ok::<_, AutoencoderError>(codes);
        let learned = distil(&collection, &good, ask, CPU, None, &mut ());
        learned.unwrap_err().to_string()
    };
    let said = ask(vec![0.5; 63 * BLOCKS * BLOCKS]);
    assert!(
        said.contains("block means") && said.contains("64 images"),
        "{said}"
    );
    let said = ask(vec![f32::NAN; 64 * BLOCKS * BLOCKS]);
    assert!(said.contains("block means"), "{said}");

    // What the teacher says of its failure comes through as it is.
    #[derive(Debug, PartialEq)]
    struct Lost(String);
    impl From<AutoencoderError> for Lost {
        fn from(error: AutoencoderError) -> Self {
            Self(error.to_string())
        }
    }
    let lost = || Err(Lost("the teacher's disk is gone".to_owned()));
    let failed = distil(&collection, &good, lost, CPU, None, &mut ());
    assert_eq!(
        failed.unwrap_err(),
        Lost("the teacher's disk is gone".to_owned())
    );

    let alone = train(&collection, &good, CPU, None, &mut ()).unwrap_err();
    assert!(alone.to_string().contains("teacher"), "{alone}");
    for bad in [
        TrainConfig {
            teacher: None,
            ..good.clone()
        },
        TrainConfig {
            teacher: good.teacher.clone(),
            ..TrainConfig::new(Architecture::Bottleneck)
        },
        TrainConfig {
            architecture: Architecture::Conv,
            ..good.clone()
        },
    ] {
        let never = || -> Result<Vec<f32>, AutoencoderError> { panic!("refused before") };
        assert!(distil(&collection, &bad, never, CPU, None, &mut ()).is_err());
    }
}
