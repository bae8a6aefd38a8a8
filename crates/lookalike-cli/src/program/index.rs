//! `lookalike index`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lookalike::autoencoder::DeviceChoice;
use lookalike::gallery::{DiffusionState, Gallery, GalleryError};
use lookalike::{
    Encoder, Error, GalleryOptions, ImageStream, IndexOptions, IndexSummary, MAX_DIFFUSION_POINTS,
    Phase, Progress, RuleOverrides, Watch, find_source, open_or_create_gallery,
};
use serde::Serialize;

use super::arguments::IndexArguments;
use super::console::{Console, Interruption, duration};
use super::encoders::to_index_with;
use super::{Failure, refuse_twice};

/// What a server is called by others that find its gallery in use.
const SERVER: &str = "lookalike serve";

#[derive(Serialize)]
struct IndexReport<'a> {
    gallery: &'a str,
    metric: String,
    /// From opening the source to the last write.
    seconds: f64,
    #[serde(flatten)]
    summary: &'a IndexSummary,
}

/// How long to wait before a gallery that another process holds is opened again, at first and at
/// most. It is short at first, for processes that take turns, and grows so that waiting costs
/// nothing while a server holds the gallery for hours.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(20);
const MAX_RETRY_DELAY: Duration = Duration::from_millis(500);

/// How long it is waited, at most, between two looks of which the first failed.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How often a look that failed is tried again before the next change is waited for.
const ATTEMPTS: usize = 2;

/// The most points whose neighbour graph is built anew after every change that is followed: that
/// takes a second.
const MAX_DIFFUSED_AT_ONCE: usize = 20_000;

pub fn run(
    arguments: IndexArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let instead = "a gallery holds all of a source, or a part of it (--part 1/4)";
    arguments.reading.refuse_sample("index", instead)?;
    // The list of what is passed over is begun before the source is read.
    let source = PathBuf::from(&arguments.source);
    refuse_twice(
        &[arguments.reading.report()],
        &[
            Some(&source),
            arguments.model.as_ref(),
            arguments.encoder.as_ref(),
        ],
    )?;
    bring_in_step(&arguments, device, console).map_err(|failure| match failure {
        Failure::Error(error) => advised(&arguments, error).into(),
        other => other,
    })
}

/// Names a server that has the gallery open as one that can do the same.
fn advised(arguments: &IndexArguments, error: Error) -> Error {
    let Error::Gallery(GalleryError::InUse {
        holder: Some(holder),
        ..
    }) = &error
    else {
        return error;
    };
    match holder.name == SERVER && Path::new(&arguments.source).is_dir() {
        true => Error::Unusable(format!(
            "{error}; or let the server follow the folder: lookalike serve --gallery '{}' --watch '{}'",
            arguments.gallery, arguments.source
        )),
        false => error,
    }
}

fn bring_in_step(
    arguments: &IndexArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let encoder = to_index_with(arguments, device, console)?;
    match arguments.watch {
        true => follow(arguments, &*encoder, console),
        false => look(arguments, &*encoder, console, None),
    }
}

/// Goes on bringing the gallery up to date whenever the folder changes, until it is told to end.
fn follow(
    arguments: &IndexArguments,
    encoder: &dyn Encoder,
    console: &Console,
) -> Result<(), Failure> {
    let mut ours = vec![Path::new(&arguments.gallery)];
    ours.extend(arguments.reading.report().map(PathBuf::as_path));
    // Listening begins before the first look, so that nothing comes between them.
    let watch = Watch::begin(Path::new(&arguments.source), &ours)?;
    look(arguments, encoder, console, None)?;
    let interruption = Interruption::listen();
    console.note(format!("following {}; Ctrl-C ends it", arguments.source));
    while watch.wait(|| interruption.is_requested()) {
        let mut wait = Duration::from_millis(100);
        let mut attempts = 0;
        while !interruption.is_requested() {
            let error = match look(arguments, encoder, console, Some(&interruption)) {
                Err(Failure::Error(error)) => error,
                other => {
                    other?;
                    break;
                }
            };
            match error {
                // In use still when it was told to end; or a cluster that is away, and is waited
                // for.
                Error::Gallery(GalleryError::InUse { .. } | GalleryError::Unreachable { .. }) => {}
                Error::Gallery(_) | Error::Autoencoder(_) => return Err(error.into()),
                // Something was on its way while the folder was listed, or a disk is gone for a
                // while.
                _ if attempts < ATTEMPTS => {
                    attempts += 1;
                    wait = MAX_WAIT;
                }
                error => {
                    console.note(format!("{error}; going on with the next change"));
                    break;
                }
            }
            pause(wait, &interruption);
            wait = (2 * wait).min(MAX_WAIT);
        }
    }
    Ok(())
}

/// Waits, but not longer than until the interruption.
fn pause(wait: Duration, interruption: &Interruption) {
    let start = Instant::now();
    while start.elapsed() < wait && !interruption.is_requested() {
        thread::sleep(Duration::from_millis(50));
    }
}

/// Looks at the whole source once, and tells what was passed over. A gallery that is in use is
/// waited for if there is an `interruption` that ends the waiting.
fn look(
    arguments: &IndexArguments,
    encoder: &dyn Encoder,
    console: &Console,
    interruption: Option<&Interruption>,
) -> Result<(), Failure> {
    let skips = arguments.reading.skips()?;
    // Before the gallery, which is not to be made for a source that is not there.
    let source = match arguments.reading.open(&arguments.source, 0, &skips) {
        Ok(source) => source,
        Err(error) => return Err(explained(arguments, error).into()),
    };
    let gallery = open_gallery(arguments, encoder, interruption)?;
    keep_in_step(arguments, source, encoder, &*gallery, console)?;
    arguments.reading.conclude(&skips, console)
}

/// Why a source cannot be opened; one that the gallery knows may have been moved.
fn explained(arguments: &IndexArguments, error: Error) -> Error {
    let (gallery, source) = (&arguments.gallery, &arguments.source);
    if Path::new(source).exists() {
        return error;
    }
    let known = lookalike::open_gallery(gallery)
        .and_then(|gallery| find_source(&*gallery, source))
        .ok()
        .flatten();
    match known {
        Some(known) => Error::Unusable(format!(
            "there is nothing at {source}, but the gallery {gallery} has images of it; if it was moved, say where it is now: lookalike gallery move '{gallery}' '{known}' NEW-PATH; if it is gone for good: lookalike gallery forget '{gallery}' '{known}'"
        )),
        None => error,
    }
}

/// Opens the gallery or makes it. Who follows a folder has it open only while it changes: others
/// can search it in between, and are waited for.
fn open_gallery(
    arguments: &IndexArguments,
    encoder: &dyn Encoder,
    interruption: Option<&Interruption>,
) -> Result<Box<dyn Gallery>, Error> {
    let options = GalleryOptions::new()
        .metric(arguments.metric)
        .layout(arguments.cluster.layout());
    let mut delay = MIN_RETRY_DELAY;
    loop {
        let opened = open_or_create_gallery(&arguments.gallery, encoder, &options);
        match (opened, interruption) {
            (Err(Error::Gallery(GalleryError::InUse { .. })), Some(interruption))
                if !interruption.is_requested() =>
            {
                thread::sleep(delay);
                delay = delay.mul_f64(1.05).min(MAX_RETRY_DELAY);
            }
            (opened, _) => return opened,
        }
    }
}

/// Brings the gallery up to date, and says what was done.
fn keep_in_step(
    arguments: &IndexArguments,
    stream: ImageStream,
    encoder: &dyn Encoder,
    gallery: &dyn Gallery,
    console: &Console,
) -> Result<(), Failure> {
    let (name, skips) = (stream.name().to_owned(), stream.skips().clone());
    let bar = console.bar(stream.len_hint(), "index");
    let (start, stored) = (Instant::now(), AtomicUsize::new(0));
    let progress = |progress: Progress| {
        if progress.phase == Phase::Storing {
            return stored.store(progress.done, Ordering::Relaxed);
        }
        let rate = progress.done as f64 / start.elapsed().as_secs_f64();
        let left = progress
            .total
            .map_or(0, |n| n.saturating_sub(progress.done));
        bar.set_position(progress.done as u64);
        bar.set_message(format!(
            "{} stored  {} passed over  {rate:.0} images/s  {} left",
            stored.load(Ordering::Relaxed),
            skips.total(),
            duration(left as f64 / rate)
        ));
    };
    let options = IndexOptions {
        diffusion: !arguments.no_diffusion
            && (!arguments.watch || gallery.describe()?.points <= MAX_DIFFUSED_AT_ONCE),
        prune: arguments.prune || arguments.prune_emptied,
        prune_emptied: arguments.prune_emptied,
        reread: arguments.reread,
        thumbnail: arguments.thumbnail,
        rules: RuleOverrides {
            tiles: arguments.tiles,
            no_exif: (arguments.exif || arguments.no_exif).then_some(arguments.no_exif),
            ..arguments.reading.asked()
        },
        stop: None,
        progress: Some(&progress),
    };
    let result = lookalike::index(stream, encoder, gallery, options);
    bar.finish_and_clear();
    let summary = match result {
        Ok(summary) => summary,
        Err(error) => {
            // Whatever was passed over may say why.
            skips.finish()?;
            return Err(match error {
                error @ Error::Emptied { .. } => {
                    Error::Unusable(format!("{error} (--prune-emptied)"))
                }
                error => error,
            }
            .into());
        }
    };
    summary.notes.iter().for_each(|note| console.note(note));
    let info = gallery.describe()?;
    if info.diffusion == DiffusionState::Stale {
        console.note(match info.points > MAX_DIFFUSION_POINTS {
            true => format!(
                "the neighbour graph was left as it was, older than the gallery: it is not built for more than {MAX_DIFFUSION_POINTS} points"
            ),
            false => "the neighbour graph was left as it was, older than the gallery: index without --no-diffusion and --watch to bring it up to date".to_owned(),
        });
    }
    if summary.flat > 0 {
        console.note(format!(
            "{} of the images are nothing but the background: drawings of its colour on transparent ground look so; a \
             new gallery with another --background shows them",
            summary.flat
        ));
    }
    if summary.points == 0 {
        console.note(format!(
            "the gallery {} is empty: {} holds no image that could be read (jpg, png, webp, gif, bmp, tif, jxl by their names)",
            arguments.gallery, name
        ));
    }
    if summary.tiled > 0 {
        console.note(format!(
            "parts of {} images were encoded as well; search --tiles finds them",
            summary.tiled
        ));
    }
    let report = IndexReport {
        gallery: &arguments.gallery,
        metric: info.metric.to_string(),
        seconds: start.elapsed().as_secs_f64(),
        summary: &summary,
    };
    console.say(format!(
        "{}: {} images, {} added, {} changed, {} unchanged, {} removed; {} points, metric {}; {}",
        report.gallery,
        summary.images,
        summary.added,
        summary.changed,
        summary.unchanged,
        summary.removed,
        summary.points,
        report.metric,
        duration(report.seconds)
    ))?;
    console.json(&report)
}
