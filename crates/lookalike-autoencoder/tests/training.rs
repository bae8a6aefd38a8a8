//! What a training run promises: it learns, it repeats, it resumes, it ends clearly.

mod common;

use std::ops::ControlFlow;
use std::time::Duration;

use common::{GREY, shapes};
use lookalike_autoencoder::{
    Architecture, Autoencoder, AutoencoderError, Checkpointing, DeviceChoice, EpochRecord,
    Objective, Observer, TrainConfig, TrainStep, train,
};
use lookalike_images::{Collection, InputShape};

const CPU: DeviceChoice = DeviceChoice::Cpu;

fn config(architecture: Architecture, objective: Objective, epochs: usize) -> TrainConfig {
    TrainConfig {
        epochs,
        batch: 16,
        seed: 3,
        ..TrainConfig::with_objective(architecture, objective)
    }
}

/// The history of all stages without what the clock says.
fn losses(model: &Autoencoder) -> Vec<f64> {
    let record = model.record();
    let later = record.later.iter().flat_map(|stage| &stage.epochs);
    record.epochs.iter().chain(later).map(|e| e.loss).collect()
}

/// The bytes of a model's tensors, which are all of its file but what the clock says.
fn tensors(model: &Autoencoder) -> Vec<u8> {
    let bytes = model.to_bytes();
    bytes[header(&bytes)].to_vec()
}

/// Where the tensors begin behind the header of a file.
fn header(bytes: &[u8]) -> std::ops::RangeFrom<usize> {
    let (length, _) = bytes.split_first_chunk::<8>().unwrap();
    8 + u64::from_le_bytes(*length) as usize..
}

#[test]
fn every_network_and_objective_beats_the_mean_image() {
    let collection = shapes(384, GREY);
    let mut cases = vec![
        (Architecture::Conv, Objective::Reconstruct, 4),
        (Architecture::Conv, Objective::Denoise, 4),
        (Architecture::Compact, Objective::Reconstruct, 8),
    ];
    // Distillation has tests of its own.
    let alone = Objective::ALL
        .into_iter()
        .filter(|&o| o != Objective::Distil);
    cases.extend(alone.map(|o| (Architecture::Bottleneck, o, 8)));
    for (architecture, objective, epochs) in cases {
        let config = config(architecture, objective, epochs);
        let model = train(&collection, &config, CPU, None, &mut ()).unwrap();
        let record = model.record();
        assert!(
            !record.collapsed() && record.final_loss() < 0.9 * record.mean_image_loss,
            "{architecture} {objective}: {:?} against {}",
            losses(&model),
            record.mean_image_loss
        );
        let codes = model.encode_collection(&collection, |_| {}).unwrap();
        assert_eq!(codes.len(), collection.len() * model.code_dim());
        assert!(codes.iter().all(|c| c.is_finite()));
    }
}

#[test]
fn a_model_that_learned_nothing_is_known_as_such() {
    let collection = shapes(64, GREY);
    let config = TrainConfig {
        learning_rate: 1e-9,
        ..config(Architecture::Conv, Objective::Reconstruct, 1)
    };
    let model = train(&collection, &config, CPU, None, &mut ()).unwrap();
    assert!(model.record().collapsed(), "{:?}", model.record());
}

#[test]
fn colour_and_odd_sizes_train() {
    for (channels, height, width) in [(3, 16, 16), (1, 17, 40), (3, 33, 21)] {
        let shape = InputShape {
            channels,
            height,
            width,
        };
        let collection = shapes(40, shape);
        let config = config(Architecture::Bottleneck, Objective::Augment, 2);
        let model = train(&collection, &config, CPU, None, &mut ()).unwrap();
        let outputs = model.reconstruct(collection.pixels()).unwrap();
        assert_eq!(outputs.len(), collection.pixels().len());
    }
}

#[test]
fn the_same_seed_gives_the_same_model_on_any_number_of_threads() {
    let collection = shapes(150, GREY);
    let config = config(Architecture::Bottleneck, Objective::Augment, 2);
    let run = |threads: usize, config: &TrainConfig| {
        let pool = lookalike_kernels::pool(threads);
        let model = pool.install(|| train(&collection, config, CPU, None, &mut ()).unwrap());
        let codes = model.encode_collection(&collection, |_| {}).unwrap();
        (losses(&model), codes)
    };
    let one = run(1, &config);
    assert_eq!(one, run(2, &config));
    assert_ne!(one, run(1, &TrainConfig { seed: 4, ..config }));
}

/// Stops after a number of steps.
struct StopAfter(usize);

impl Observer for StopAfter {
    fn step(&mut self, step: &TrainStep) -> ControlFlow<()> {
        assert!(step.loss.is_finite() && step.seconds_left >= 0.0);
        assert!(
            step.progress
                .total
                .is_some_and(|total| step.progress.done <= total)
        );
        self.0 -= 1;
        match self.0 {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn epoch(&mut self, number: usize, epoch: &EpochRecord) {
        assert!(number > 0 && epoch.loss > 0.0);
    }
}

#[test]
fn a_stopped_run_resumes_exactly() {
    let collection = shapes(100, GREY);
    let folder = tempfile::tempdir().unwrap();
    for (architecture, objective) in [
        (Architecture::Bottleneck, Objective::Augment),
        (Architecture::Bottleneck, Objective::Variational),
        (Architecture::Conv, Objective::Denoise),
    ] {
        let config = config(architecture, objective, 3);
        let whole = train(&collection, &config, CPU, None, &mut ()).unwrap();
        let checkpointing = Checkpointing {
            path: folder.path().join(format!("{architecture}-{objective}")),
            every: Duration::from_secs(3600),
            resume: true,
        };
        // 7 steps an epoch: stops inside each epoch, at a border, and goes on.
        for steps in [3, 4, 6] {
            let stopped = train(
                &collection,
                &config,
                CPU,
                Some(&checkpointing),
                &mut StopAfter(steps),
            );
            assert!(
                matches!(stopped, Err(AutoencoderError::Stopped { .. })),
                "{stopped:?}"
            );
        }
        let resumed = train(&collection, &config, CPU, Some(&checkpointing), &mut ()).unwrap();
        assert_eq!(losses(&resumed), losses(&whole));
        let codes = |m: &Autoencoder| m.encode_collection(&collection, |_| {}).unwrap();
        assert_eq!(codes(&resumed), codes(&whole));
    }
}

#[test]
fn a_run_stopped_in_any_of_its_stages_resumes_exactly() {
    let folder = tempfile::tempdir().unwrap();
    for (name, channels, threads) in [("grey", 1, 1), ("colour", 3, 2)] {
        let shape = InputShape { channels, ..GREY };
        let collection = shapes(100, shape);
        let config = TrainConfig {
            rounds: 3,
            ..config(Architecture::Bottleneck, Objective::Look, 3)
        };
        let whole = train(&collection, &config, CPU, None, &mut ()).unwrap();
        let stages: Vec<_> = whole
            .record()
            .later
            .iter()
            .map(|s| s.name.as_str())
            .collect();
        assert_eq!(stages, ["refine", "refine again", "refine again", "decode"]);
        let checkpointing = Checkpointing {
            path: folder.path().join(name),
            every: Duration::from_secs(3600),
            resume: true,
        };
        let pool = lookalike_kernels::pool(threads);
        // Stages of 21, 14, 14, 14 and 7 steps, 7 an epoch: stops within each of the first four and
        // at its last step, and within the fifth.
        for steps in [3, 18, 5, 9, 2, 12, 2, 12, 2] {
            let stopped = pool.install(|| {
                let observer = &mut StopAfter(steps);
                train(&collection, &config, CPU, Some(&checkpointing), observer)
            });
            assert!(
                matches!(stopped, Err(AutoencoderError::Stopped { .. })),
                "{stopped:?}"
            );
        }
        let resumed = train(&collection, &config, CPU, Some(&checkpointing), &mut ()).unwrap();
        assert_eq!(losses(&resumed), losses(&whole));
        assert_eq!(losses(&resumed).len(), 10);
        assert_eq!(resumed.record().parts, whole.record().parts);
        assert!(whole.record().coordinates.is_some());
        assert_eq!(resumed.record().coordinates, whole.record().coordinates);
        assert!(tensors(&resumed) == tensors(&whole));
        let codes = |m: &Autoencoder| m.encode_collection(&collection, |_| {}).unwrap();
        assert_eq!(codes(&resumed), codes(&whole));
    }
}

/// A checkpoint with another place in the run.
fn displaced(bytes: &[u8], displace: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let data = header(bytes);
    let mut head: serde_json::Value = serde_json::from_slice(&bytes[8..data.start]).unwrap();
    let document = &mut head["__metadata__"]["lookalike"];
    let mut inner: serde_json::Value = serde_json::from_str(document.as_str().unwrap()).unwrap();
    displace(&mut inner["position"]);
    *document = inner.to_string().into();
    let head = head.to_string().into_bytes();
    let mut changed = (head.len() as u64).to_le_bytes().to_vec();
    changed.extend(head);
    changed.extend(&bytes[data]);
    changed
}

#[test]
fn places_that_are_not_in_the_run_are_refused() {
    let collection = shapes(100, GREY);
    let config = config(Architecture::Bottleneck, Objective::Look, 3);
    let folder = tempfile::tempdir().unwrap();
    let checkpointing = Checkpointing {
        path: folder.path().join("run"),
        every: Duration::from_secs(3600),
        resume: true,
    };
    let go = |steps| {
        let observer = &mut StopAfter(steps);
        train(&collection, &config, CPU, Some(&checkpointing), observer)
            .unwrap_err()
            .to_string()
    };
    let epoch = || serde_json::json!({"loss": 1.0, "seconds": 1.0});
    let epochs = |count: usize| (0..count).map(|_| epoch()).collect::<Vec<_>>();
    // In each stage in turn: [3, 2, 2, 1] are the epochs of a whole run.
    for (steps, stage) in [(3, 0), (21, 1), (14, 2), (14, 3)] {
        assert!(go(steps).contains("stopped"));
        let bytes = std::fs::read(&checkpointing.path).unwrap();
        let mut places = vec![
            vec![3, 2, 2, 1],
            vec![3, 2, 2, 1, 1],
            vec![3, 2, 2, 1, 0, 0, 0, 0, 0],
            // Those of another stage, to which the tensors do not belong.
            [vec![3], vec![], vec![3, 2, 2], vec![3, 2]][stage].clone(),
        ];
        if stage > 0 {
            places.extend([vec![4, 2], vec![0, 0], vec![2], vec![0]]);
        }
        for place in places {
            let damaged = displaced(&bytes, |position| {
                position["earlier"] = place.iter().map(|&count| epochs(count)).collect();
            });
            std::fs::write(&checkpointing.path, damaged).unwrap();
            let said = go(1000);
            assert!(said.contains("cannot resume"), "{stage}, {place:?}: {said}");
        }
        for (what, value) in [
            ("epochs", epochs(5).into()),
            ("step", 1_000_000.into()),
            ("earlier", "everything".into()),
        ] {
            let damaged = displaced(&bytes, |position| position[what] = value);
            std::fs::write(&checkpointing.path, damaged).unwrap();
            let said = go(1000);
            assert!(said.contains("cannot resume"), "{stage}, {what}: {said}");
        }
        // Taken apart and put together again, it is still the run's.
        std::fs::write(&checkpointing.path, displaced(&bytes, |_| ())).unwrap();
    }
}

#[test]
fn codes_of_descriptions_are_drawn_better_than_the_mean_image() {
    for channels in [1, 3] {
        let collection = shapes(256, InputShape { channels, ..GREY });
        let config = config(Architecture::Bottleneck, Objective::Look, 20);
        let model = train(&collection, &config, CPU, None, &mut ()).unwrap();
        let drawn = model.reconstruct(collection.pixels()).unwrap();
        let len = collection.shape().values();
        let mean: Vec<f64> = (0..len)
            .map(|at| {
                let values = collection.pixels().iter().skip(at).step_by(len);
                values.map(|&v| f64::from(v)).sum::<f64>() / (255.0 * 256.0)
            })
            .collect();
        let error = |guess: &dyn Fn(usize) -> f64| {
            let off = |(at, &v): (usize, &u8)| (guess(at) - f64::from(v) / 255.0).powi(2);
            collection.pixels().iter().enumerate().map(off).sum::<f64>()
        };
        let (drawn, mean) = (
            error(&|at| f64::from(drawn[at]) / 255.0),
            error(&|at| mean[at % len]),
        );
        assert!(
            drawn < 0.8 * mean,
            "{channels} channels: {drawn} against {mean}"
        );
    }
}

/// A step that is too long for what is learned makes a network worse than one that always answers
/// with the mean, and of few images it shows within an epoch.
#[test]
fn few_images_are_learned_without_falling_back() {
    let collection = shapes(96, GREY);
    let config = TrainConfig {
        seed: 3,
        epochs: 40,
        ..TrainConfig::suited(Architecture::Bottleneck, Objective::Look, 96, GREY)
    };
    let model = train(&collection, &config, CPU, None, &mut ()).unwrap();
    let record = model.record();
    let mean = record.mean_image_loss;
    assert!(
        record.epochs.iter().all(|epoch| epoch.loss < 1.2 * mean)
            && record.epochs[0].loss > 0.8 * mean
            && record.final_loss() < 0.7 * mean,
        "{:?} against {mean}",
        losses(&model)
    );
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let checkpointing = Checkpointing {
        path: folder.path().join("run"),
        every: Duration::ZERO,
        resume: true,
    };
    let go = |count: usize, config: &TrainConfig| {
        train(
            &shapes(count, GREY),
            config,
            CPU,
            Some(&checkpointing),
            &mut StopAfter(2),
        )
        .unwrap_err()
        .to_string()
    };
    let config = config(Architecture::Conv, Objective::Reconstruct, 2);
    assert!(go(80, &config).contains("stopped"));
    let other = TrainConfig {
        seed: 99,
        ..config.clone()
    };
    assert!(go(80, &other).contains("another recipe"));
    let rounds = TrainConfig {
        rounds: 3,
        ..config.clone()
    };
    assert!(go(80, &rounds).contains("rounds is not set there and 3 now"));
    assert!(go(60, &config).contains("which are not"));
    std::fs::write(&checkpointing.path, b"nonsense").unwrap();
    assert!(go(80, &config).contains("cannot resume"));
    assert_eq!(std::fs::read(&checkpointing.path).unwrap(), b"nonsense");
}

#[test]
fn divergence_ends_clearly() {
    let config = TrainConfig {
        learning_rate: 10.0,
        weight_decay: 1e38,
        ..config(Architecture::Bottleneck, Objective::Reconstruct, 3)
    };
    let error = train(&shapes(64, GREY), &config, CPU, None, &mut ()).unwrap_err();
    assert!(
        matches!(error, AutoencoderError::Diverged { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("lower learning rate"), "{error}");
}

#[test]
fn weights_that_are_no_numbers_never_reach_a_file() {
    // One step, whose loss is a number: what diverges is what it leaves.
    let config = TrainConfig {
        learning_rate: 10.0,
        weight_decay: 1e300,
        batch: 64,
        ..config(Architecture::Bottleneck, Objective::Reconstruct, 1)
    };
    let folder = tempfile::tempdir().unwrap();
    let checkpointing = Checkpointing {
        path: folder.path().join("run"),
        every: Duration::ZERO,
        resume: false,
    };
    let collection = shapes(64, GREY);
    let error = train(&collection, &config, CPU, Some(&checkpointing), &mut ()).unwrap_err();
    assert!(
        matches!(error, AutoencoderError::Diverged { .. }),
        "{error}"
    );
    assert!(!checkpointing.path.exists());
}

#[test]
fn images_that_show_nothing_are_learned_to_the_end() {
    for value in [0, 255] {
        let keys = (0..40).map(|i| i.to_string()).collect();
        let pixels = vec![value; 40 * 28 * 28];
        let blank = Collection::from_parts("blank", GREY, keys, vec![None; 40], pixels).unwrap();
        let config = config(Architecture::Bottleneck, Objective::Look, 2);
        let model = train(&blank, &config, CPU, None, &mut ()).unwrap();
        assert!(losses(&model).iter().all(|loss| loss.is_finite()));
    }
}

#[test]
fn faint_images_are_learned_and_known_to_be() {
    // Grey on grey: a perfect reconstruction's cross-entropy is close to the mean image's.
    let bright = shapes(384, GREY);
    let faint = bright.pixels().iter().map(|&p| 118 + p / 25).collect();
    let keys = (0..bright.len()).map(|i| i.to_string()).collect();
    let none = vec![None; bright.len()];
    let faint = lookalike_images::Collection::from_parts("faint", GREY, keys, none, faint).unwrap();
    let config = config(Architecture::Bottleneck, Objective::Reconstruct, 8);
    let model = train(&faint, &config, CPU, None, &mut ()).unwrap();
    let record = model.record();
    assert!(
        record.final_loss() > 0.98 * record.mean_image_loss,
        "{record:?}"
    );
    assert!(!record.collapsed(), "{record:?}");
}

#[test]
fn too_few_images_are_refused() {
    let config = config(Architecture::Bottleneck, Objective::Augment, 1);
    let error = train(&shapes(1, GREY), &config, CPU, None, &mut ()).unwrap_err();
    assert!(error.to_string().contains("at least 2"), "{error}");
}
