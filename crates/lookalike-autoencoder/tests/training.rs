//! What a training run promises: it learns, it repeats, it resumes, it ends clearly.

mod common;

use std::ops::ControlFlow;
use std::time::Duration;

use common::{GREY, shapes};
use lookalike_autoencoder::{
    Architecture, Autoencoder, AutoencoderError, Checkpointing, DeviceChoice, EpochRecord,
    Objective, Observer, Progress, TrainConfig, train,
};
use lookalike_images::InputShape;

const CPU: DeviceChoice = DeviceChoice::Cpu;

fn config(architecture: Architecture, objective: Objective, epochs: usize) -> TrainConfig {
    TrainConfig {
        objective,
        epochs,
        batch: 16,
        seed: 3,
        ..TrainConfig::new(architecture)
    }
}

/// The history without what the clock says.
fn losses(model: &Autoencoder) -> Vec<f64> {
    model.record().epochs.iter().map(|e| e.loss).collect()
}

#[test]
fn every_network_and_objective_beats_the_mean_image() {
    let collection = shapes(384, GREY);
    let mut cases = vec![
        (Architecture::Conv, Objective::Reconstruct, 4),
        (Architecture::Conv, Objective::Denoise, 4),
        (Architecture::Compact, Objective::Reconstruct, 8),
    ];
    cases.extend(Objective::ALL.map(|o| (Architecture::Bottleneck, o, 8)));
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
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let model = pool
            .unwrap()
            .install(|| train(&collection, config, CPU, None, &mut ()).unwrap());
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
    fn step(&mut self, progress: &Progress) -> ControlFlow<()> {
        assert!(progress.loss.is_finite() && progress.seconds_left >= 0.0);
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
    assert!(error.to_string().contains("--learning-rate"), "{error}");
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
