//! `lookalike gallery`: galleries as wholes.

use std::time::Instant;

use lookalike::gallery::{ClusterAddress, ClusterOptions, remove_collection, switch_alias};
use lookalike::{CopyOptions, CopySummary, Error, copy_gallery, open_copy, open_gallery};
use serde::Serialize;

use super::Failure;
use super::arguments::{AliasArguments, CopyArguments, GalleryCommand, RemoveArguments};
use super::console::{Console, duration};

#[derive(Serialize)]
struct CopyReport<'a> {
    from: &'a str,
    to: &'a str,
    seconds: f64,
    #[serde(flatten)]
    summary: CopySummary,
}

#[derive(Serialize)]
struct AliasReport<'a> {
    alias: &'a str,
    collection: &'a str,
}

#[derive(Serialize)]
struct RemoveReport<'a> {
    removed: &'a str,
}

pub fn run(command: GalleryCommand, console: &Console) -> Result<(), Failure> {
    match command {
        GalleryCommand::Copy(arguments) => copy(*arguments, console),
        GalleryCommand::Alias(arguments) => alias(&arguments, console),
        GalleryCommand::Remove(arguments) => remove(&arguments, console),
    }
}

fn copy(arguments: CopyArguments, console: &Console) -> Result<(), Failure> {
    let from = open_gallery(&arguments.from)?;
    let layout = arguments.layout.layout();
    let (to, whole) = open_copy(&*from, &arguments.to, arguments.model.as_ref(), &layout)?;
    let options = CopyOptions {
        whole,
        prune: arguments.prune,
        diffusion: !arguments.no_diffusion,
    };
    let began = Instant::now();
    let bar = console.bar(Some(from.describe()?.points), "copy");
    let copied = copy_gallery(&*from, &*to, options, |progress| {
        bar.set_position(progress.points as u64);
        bar.set_message(if progress.verifying { "verifying" } else { "" });
    });
    bar.finish_and_clear();
    let report = CopyReport {
        from: &arguments.from,
        to: &arguments.to,
        seconds: began.elapsed().as_secs_f64(),
        summary: copied?,
    };
    console.say(format!(
        "{}: {} points, {} copied, {} removed; the same as {} by count and checksum {}; {}",
        report.to,
        report.summary.points,
        report.summary.copied,
        report.summary.removed,
        report.from,
        &report.summary.checksum[..12],
        duration(report.seconds)
    ))?;
    console.json(&report)
}

fn alias(arguments: &AliasArguments, console: &Console) -> Result<(), Failure> {
    let address = on_cluster(&arguments.alias, "an alias")?;
    switch_alias(
        &address,
        &arguments.collection,
        ClusterOptions::from_environment()?,
    )?;
    console.say(format!("{address} means {} now", arguments.collection))?;
    console.json(&AliasReport {
        alias: &arguments.alias,
        collection: &arguments.collection,
    })
}

fn remove(arguments: &RemoveArguments, console: &Console) -> Result<(), Failure> {
    let address = on_cluster(&arguments.gallery, "what is removed")?;
    if !arguments.yes {
        return Err(Error::Unusable(format!(
            "{address} would be removed with all its points, for good: say --yes"
        ))
        .into());
    }
    remove_collection(&address, ClusterOptions::from_environment()?)?;
    console.say(format!("{address} is removed"))?;
    console.json(&RemoveReport {
        removed: &arguments.gallery,
    })
}

fn on_cluster(name: &str, what: &str) -> Result<ClusterAddress, Error> {
    if !ClusterAddress::is_meant_by(name) {
        return Err(Error::Unusable(format!(
            "{name} is a folder, and {what} is on a cluster: write it as qdrant://host:6334/name"
        )));
    }
    Ok(name.parse()?)
}
