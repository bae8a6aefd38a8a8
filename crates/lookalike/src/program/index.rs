//! `lookalike index`.

use lookalike::autoencoder::{Autoencoder, DeviceChoice};
use lookalike::gallery::{DiffusionState, Gallery};
use lookalike::images::open;
use lookalike::{index, open_or_create_gallery};
use serde::Serialize;

use super::Failure;
use super::arguments::IndexArguments;
use super::console::Console;

#[derive(Serialize)]
struct IndexReport {
    gallery: String,
    metric: String,
    #[serde(flatten)]
    summary: lookalike::IndexSummary,
}

pub fn run(
    arguments: IndexArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let source = open(&arguments.source)?;
    let model = Autoencoder::load(&arguments.model, device)?;
    let gallery = open_or_create_gallery(&arguments.gallery, &model, arguments.metric)?;
    let bar = console.bar(source.len(), "index");
    let summary = index(
        &*source,
        &model,
        &gallery,
        !arguments.no_diffusion,
        |progress| {
            bar.set_position(progress.images as u64);
            bar.set_message(format!("{} stored", progress.stored));
        },
    )?;
    bar.finish_and_clear();
    let info = gallery.describe()?;
    if info.diffusion == DiffusionState::Stale {
        console.note(
            "the neighbour graph was left as it was, older than the gallery: index without --no-diffusion to bring it up to date",
        );
    }
    let report = IndexReport {
        gallery: arguments.gallery,
        metric: info.metric.to_string(),
        summary,
    };
    console.say(format!(
        "{}: {} images read, {} added, {} changed, {} unchanged; {} points, metric {}",
        report.gallery,
        summary.images,
        summary.added,
        summary.changed,
        summary.unchanged,
        summary.points,
        report.metric
    ))?;
    console.json(&report)
}
