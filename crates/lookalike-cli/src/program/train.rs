//! `lookalike train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lookalike::autoencoder::{
    Architecture, Autoencoder, AutoencoderError, Checkpointing, ChosenAugmentation, Comparison,
    DataRecord, DeviceChoice, EpochRecord, Objective, Optimiser, TrainConfig, TrainRecord, Verdict,
    train,
};
use lookalike::images::{Collection, GreyRange};
use lookalike::{
    Encoder, Error, ImageStream, PretrainedOptions, Skips, TrainImages, TrainOptions, augments,
    compare, load_encoder, most_train_images, teach, teacher_record,
};
use serde::Serialize;

use super::arguments::TrainArguments;
use super::console::{Console, duration};
use super::{Failure, pictures, refuse_twice};

/// Images on `--sheet`.
const SHEET_IMAGES: usize = 20;

/// What `train --json` prints.
#[derive(Serialize)]
pub struct TrainReport {
    pub architecture: String,
    pub objective: String,
    pub parameters: usize,
    pub images: usize,
    pub epochs: Vec<EpochRecord>,
    /// Of the last epoch.
    pub images_per_second: f64,
    pub model: String,
    pub code_dim: usize,
    /// How the distortions were chosen, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<ChosenAugmentation>,
    pub mean_image_loss: f64,
    pub collapsed: bool,
    /// Beside simple descriptors, judged without labels; absent for very few images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

pub fn run(
    arguments: TrainArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    check(&arguments)?;
    let checkpointing = checkpointing(&arguments)?;
    let TrainImages {
        collection,
        grey_range,
        ..
    } = load(&arguments, console)?;
    let teacher = teacher(&arguments, device)?;
    let mut config = options(&arguments).config(&collection, device);
    config.teacher = teacher.as_deref().map(teacher_record);
    if let Some(chosen) = &config.chosen {
        console.note(format!("distortions, {chosen}"));
    }
    if arguments.resume
        && !checkpointing.path.exists()
        && let Some(model) = finished(&arguments, &config, &collection, device)
    {
        console.note(format!(
            "{} is finished: there is nothing to resume",
            arguments.out.display()
        ));
        return conclude(&arguments, &model, &collection, console);
    }
    console.note(format!("training on {}", device.describe()?));
    let mut view = console.training();
    let model = match teacher.as_deref() {
        Some(teacher) => {
            // Another look at the same images, before they are brought to the network's shape.
            let stream = stream(&arguments, grey_range, &Arc::default())?;
            let stream = match arguments.limit {
                Some(_) => stream,
                None => stream.sampled(most_train_images(collection.shape()), arguments.seed),
            };
            let checkpointing = Some(&checkpointing);
            teach(
                teacher,
                &stream,
                &collection,
                &config,
                device,
                checkpointing,
                &mut view,
            )
        }
        None => train(
            &collection,
            &config,
            device,
            Some(&checkpointing),
            &mut view,
        )
        .map_err(Error::from),
    }
    .map_err(|e| hint_at_resuming(e, &arguments))?;
    drop(view);
    let model = model.with_grey_range(grey_range);
    let model = match compare(&model, &collection)? {
        Some(comparison) => model.with_comparison(comparison),
        None => model,
    };
    model.save(&arguments.out)?;
    // The model is safe on the disk: the checkpoint has done its work.
    remove(&checkpointing.path)?;
    conclude(&arguments, &model, &collection, console)
}

/// Draws what was asked for and says what came out.
fn conclude(
    arguments: &TrainArguments,
    model: &Autoencoder,
    collection: &Collection,
    console: &Console,
) -> Result<(), Failure> {
    draw(arguments, model, collection)?;
    let report = report(model, &arguments.out);
    if let Some(warning) = collapse_warning(model.record()) {
        console.note(warning);
    }
    console.say(format!(
        "{}: {} parameters learned from {} images in {}, loss {:.5}",
        report.model,
        report.parameters,
        report.images,
        duration(model.record().seconds()),
        model.record().final_loss(),
    ))?;
    if let Some(comparison) = &report.comparison {
        console.say(comparison_line(comparison))?;
    }
    console.json(&report)
}

/// What a label-free judge says of a model beside simple descriptors, and what to do.
pub fn comparison_line(comparison: &Comparison) -> String {
    let model = comparison.score(&comparison.model);
    let Some(best) = comparison.best() else {
        return format!("judged without labels: {model:.2}");
    };
    let (name, score) = (&best.name, comparison.score(best));
    match comparison.verdict() {
        Verdict::Better => format!(
            "judged without labels, its codes are better than any simple descriptor: {model:.2}, the best of those {score:.2} ({name})"
        ),
        Verdict::Even => format!(
            "judged without labels, its codes are about as good as the best simple descriptor: {model:.2}, and {score:.2} by {name}"
        ),
        Verdict::Worse => format!(
            "warning: judged without labels, its codes are worse than a simple descriptor: {model:.2}, but {score:.2} by {name}. Try more images, or another --strength; with labels, eval measures it."
        ),
    }
}

/// Removes a file that may be gone already.
pub fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// The model that `--out` holds, if it is the result of this very run.
fn finished(
    a: &TrainArguments,
    config: &TrainConfig,
    collection: &Collection,
    device: DeviceChoice,
) -> Option<Autoencoder> {
    let model = Autoencoder::load(&a.out, device).ok()?;
    let same = model.config() == config
        && model.shape() == collection.shape()
        && model.record().data.digest == DataRecord::of(collection).digest;
    same.then_some(model)
}

/// What will be learned.
fn objective(a: &TrainArguments) -> Objective {
    if a.teacher.is_some() {
        return Objective::Distil;
    }
    a.objective.unwrap_or(TrainConfig::new(a.arch).objective)
}

/// Refuses, before images are read, options that would change nothing.
fn check(a: &TrainArguments) -> Result<(), Error> {
    if a.teacher.is_some() != (a.objective.unwrap_or(objective(a)) == Objective::Distil) {
        return Err(Error::Unusable(
            "--objective distil and --teacher ENCODER go together: give no other --objective with --teacher, and a --teacher with that one".to_owned(),
        ));
    }
    let augments = augments(objective(a));
    let distorts =
        a.strength.is_some() || a.distort.is_some() || a.mirror.is_some() || a.turn.is_some();
    let denoises = objective(a) == Objective::Denoise;
    let optimiser = a.optimiser.unwrap_or(TrainConfig::new(a.arch).optimiser);
    for (given, works, option, needs) in [
        (
            a.code_dim.is_some(),
            a.arch == Architecture::Bottleneck,
            "--code-dim",
            "--arch bottleneck",
        ),
        (
            a.colour_weight.is_some(),
            a.arch == Architecture::Bottleneck
                && !matches!(objective(a), Objective::Look | Objective::Distil),
            "--colour-weight",
            "--arch bottleneck with another objective than look and distil",
        ),
        (
            a.pretrained.options() != PretrainedOptions::default(),
            a.teacher.is_some(),
            "--encoder-mean and what else says how an encoder is read",
            "--teacher",
        ),
        (
            distorts || a.distort_colour.is_some(),
            augments,
            "--distort, --strength, --mirror, --turn and --distort-colour",
            "--objective look, distil or augment",
        ),
        (
            a.noise.is_some() || a.mask.is_some(),
            denoises,
            "--noise and --mask",
            "--objective denoise",
        ),
        (
            a.weight_decay.is_some(),
            optimiser == Optimiser::AdamW,
            "--weight-decay",
            "--optimiser adamw",
        ),
    ] {
        if given && !works {
            return Err(Error::Unusable(format!(
                "{option} would change nothing here: only {needs} reads it"
            )));
        }
    }
    Ok(())
}

/// The encoder whose codes are to be learned.
fn teacher(a: &TrainArguments, device: DeviceChoice) -> Result<Option<Box<dyn Encoder>>, Error> {
    let Some(path) = &a.teacher else {
        return Ok(None);
    };
    load_encoder(path, &a.pretrained.options(), device).map(Some)
}

/// What was typed, as the library understands it.
fn options(a: &TrainArguments) -> TrainOptions {
    TrainOptions {
        architecture: a.arch,
        objective: Some(objective(a)),
        effort: a.effort,
        seed: a.seed,
        precision: a.precision,
        size: a.size,
        channels: a.channels,
        fit: a.fit,
        limit: a.limit,
        code_dim: a.code_dim,
        loss: a.loss,
        optimiser: a.optimiser,
        schedule: a.schedule,
        learning_rate: a.learning_rate,
        weight_decay: a.weight_decay,
        batch: a.batch,
        epochs: a.epochs,
        colour_weight: a.colour_weight,
        augmentation: a.distort,
        strength: a.strength,
        mirror: a.mirror,
        turn: a.turn,
        colour_strength: a.distort_colour,
        noise: a.noise,
        mask: a.mask,
    }
}

fn checkpointing(a: &TrainArguments) -> Result<Checkpointing, Error> {
    let path = a.checkpoint.clone().unwrap_or_else(|| {
        let mut name = a.out.clone().into_os_string();
        name.push(".checkpoint");
        PathBuf::from(name)
    });
    if path.exists() && !a.resume && !a.restart {
        return Err(Error::Unusable(format!(
            "{} holds a run that was stopped: add --resume to go on with it, or --restart to discard it",
            path.display()
        )));
    }
    // Found out now, not after an hour of training.
    for file in [&a.out, &path] {
        if let Some(folder) = file.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        }
    }
    let written = [
        Some(&a.out),
        Some(&path),
        a.sheet.as_ref(),
        a.curve.as_ref(),
        a.reading.report(),
    ];
    let source = PathBuf::from(&a.source);
    refuse_twice(&written, &[Some(&source), a.teacher.as_ref()])?;
    if a.out.is_dir() {
        return Err(Error::Unusable(format!(
            "cannot write a model to {}: it is a folder; name a file in it",
            a.out.display()
        )));
    }
    Ok(Checkpointing {
        path,
        every: Duration::from_secs_f64(a.checkpoint_every),
        resume: a.resume,
    })
}

/// The source, to be read with this range of grey if one is known.
fn stream(
    a: &TrainArguments,
    range: Option<GreyRange>,
    skips: &Arc<Skips>,
) -> Result<ImageStream, Error> {
    let source = a.reading.open(&a.source, a.seed, skips)?;
    Ok(source.with_grey_range(range))
}

/// The images to learn from.
fn load(a: &TrainArguments, console: &Console) -> Result<TrainImages, Failure> {
    let skips = a.reading.skips()?;
    let images = options(a).load(stream(a, None, &skips)?, || true)?;
    if images.is_sample {
        console.note(format!(
            "learning from a random sample of at most {} images; --sample N asks for another number",
            images.collection.len()
        ));
    }
    a.reading.conclude(&skips, console)?;
    Ok(images)
}

fn hint_at_resuming(error: Error, a: &TrainArguments) -> Failure {
    match error {
        Error::Autoencoder(AutoencoderError::Stopped { .. }) => {
            Failure::Error(Error::Unusable(format!(
                "{error}; the same command with --resume goes on to {}",
                a.out.display()
            )))
        }
        other => other.into(),
    }
}

fn draw(a: &TrainArguments, model: &Autoencoder, collection: &Collection) -> Result<(), Error> {
    let record = model.record();
    if let Some(path) = &a.curve {
        let title = format!("{} on {}", a.arch, record.data.name);
        let series = vec![pictures::losses("training loss", &record.epochs)];
        let curve = pictures::loss_curve(&title, series, Some(record.mean_image_loss));
        pictures::write(&curve, path)?;
    }
    if let Some(path) = &a.sheet {
        let title = vec![format!("{}: images and their reconstructions", a.arch)];
        let sheet = pictures::reconstruction_sheet(model, collection, SHEET_IMAGES, title)?;
        pictures::write(&sheet, path)?;
    }
    Ok(())
}

fn report(model: &Autoencoder, out: &Path) -> TrainReport {
    let record = model.record();
    TrainReport {
        architecture: model.config().architecture.to_string(),
        objective: model.config().objective.to_string(),
        parameters: model.parameters(),
        images: record.data.images,
        epochs: record.epochs.clone(),
        images_per_second: record.images_per_second(),
        model: out.display().to_string(),
        code_dim: model.code_dim(),
        chosen: model.config().chosen.clone(),
        mean_image_loss: record.mean_image_loss,
        collapsed: record.collapsed(),
        comparison: record.comparison.clone(),
    }
}

/// Says plainly that a model has learned nothing, if so.
pub fn collapse_warning(record: &TrainRecord) -> Option<String> {
    record.collapsed().then(|| {
        format!(
            "warning: this model has learned nothing: its loss, {:.5}, is no better than that of answering every image with the mean image, {:.5}. Its codes are useless. Try more --epochs, another --learning-rate or another --seed.",
            record.final_loss(),
            record.mean_image_loss
        )
    })
}
