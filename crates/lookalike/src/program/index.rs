//! `lookalike index`.

use std::time::Instant;

use lookalike::autoencoder::{Autoencoder, DeviceChoice};
use lookalike::gallery::{DiffusionState, Gallery};
use lookalike::images::Source as _;
use lookalike::{IndexOptions, index_source, open_or_create_gallery};
use serde::Serialize;

use super::Failure;
use super::arguments::IndexArguments;
use super::console::{Console, duration};

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
    let skips = arguments.reading.skips()?;
    let source = arguments.reading.open(&arguments.source, 0, &skips)?;
    let model = Autoencoder::load(&arguments.model, device)?;
    let gallery = open_or_create_gallery(&arguments.gallery, &model, arguments.metric)?;
    let bar = console.bar(source.len(), "index");
    let options = IndexOptions {
        diffusion: !arguments.no_diffusion,
        prune: arguments.prune,
    };
    let start = Instant::now();
    let result = index_source(&source, &model, &gallery, options, |progress| {
        let seconds = start.elapsed().as_secs_f64();
        let left = progress.expected.map_or(0, |n| n.saturating_sub(progress.images));
        let rate = progress.images as f64 / seconds;
        bar.set_position(progress.images as u64);
        bar.set_message(format!(
            "{} stored  {} passed over  {rate:.0} images/s  {} left",
            progress.stored,
            progress.skipped,
            duration(left as f64 / rate)
        ));
    });
    bar.finish_and_clear();
    let summary = match result {
        Ok(summary) => summary,
        Err(error) => {
            // Whatever was passed over may say why.
            skips.finish()?;
            return Err(error.into());
        }
    };
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
        "{}: {} images, {} added, {} changed, {} unchanged, {} removed; {} points, metric {}",
        report.gallery,
        summary.images,
        summary.added,
        summary.changed,
        summary.unchanged,
        summary.removed,
        summary.points,
        report.metric
    ))?;
    console.json(&report)?;
    arguments.reading.conclude(&skips, console)
}
