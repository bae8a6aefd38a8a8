//! `lookalike gallery`: galleries as wholes.

use std::path::Path;
use std::time::Instant;

use lookalike::gallery::ClusterAddress;
use lookalike::{
    CopyOptions, CopySummary, Error, GalleryOptions, SourceCount, copy_gallery, forget_source,
    move_source, open_copy, open_gallery, remove_collection, sources_in, switch_alias,
};
use serde::Serialize;

use super::Failure;
use super::arguments::{
    AliasArguments, CopyArguments, ForgetArguments, GalleryCommand, MoveArguments, RemoveArguments,
    SourcesArguments,
};
use super::console::{Console, duration, show, table};

#[derive(Serialize)]
struct CopyReport<'a> {
    from: &'a str,
    to: &'a str,
    seconds: f64,
    #[serde(flatten)]
    summary: CopySummary,
}

#[derive(Serialize)]
struct SourcesReport<'a> {
    gallery: &'a str,
    sources: Vec<SourceCount>,
}

#[derive(Serialize)]
struct ForgetReport<'a> {
    gallery: &'a str,
    source: &'a str,
    removed: usize,
}

#[derive(Serialize)]
struct MoveReport<'a> {
    gallery: &'a str,
    source: &'a str,
    to: &'a str,
    moved: usize,
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
        GalleryCommand::Sources(arguments) => sources(&arguments, console),
        GalleryCommand::Forget(arguments) => forget(&arguments, console),
        GalleryCommand::Move(arguments) => move_to(&arguments, console),
        GalleryCommand::Alias(arguments) => alias(&arguments, console),
        GalleryCommand::Remove(arguments) => remove(&arguments, console),
    }
}

fn copy(arguments: CopyArguments, console: &Console) -> Result<(), Failure> {
    let from = open_gallery(&arguments.from)?;
    let made = GalleryOptions::new().layout(arguments.cluster.layout());
    let (to, whole) = open_copy(&*from, &arguments.to, arguments.model.as_ref(), &made)?;
    let options = CopyOptions {
        whole,
        prune: arguments.prune,
        diffusion: !arguments.no_diffusion,
    };
    let began = Instant::now();
    let bar = console.bar(Some(from.describe()?.points), "copy");
    let copied = copy_gallery(&*from, &*to, options, |progress| show(&bar, progress));
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

fn sources(arguments: &SourcesArguments, console: &Console) -> Result<(), Failure> {
    let gallery = open_gallery(&arguments.gallery)?;
    let sources = sources_in(&*gallery)?;
    let mut rows = vec![vec!["source".to_owned(), "images".to_owned()]];
    rows.extend(sources.iter().map(|known| {
        let there = match is_missing(&known.source) {
            true => "  (nothing is there)",
            false => "",
        };
        vec![format!("{}{there}", known.source), known.images.to_string()]
    }));
    for line in table(&rows) {
        console.say(line)?;
    }
    console.json(&SourcesReport {
        gallery: &arguments.gallery,
        sources,
    })
}

/// Whether a source is a path of this machine at which nothing is.
fn is_missing(source: &str) -> bool {
    let path = Path::new(source);
    path.is_absolute() && !source.contains(['*', '?', '{', '[']) && !path.exists()
}

fn forget(arguments: &ForgetArguments, console: &Console) -> Result<(), Failure> {
    let gallery = open_gallery(&arguments.gallery)?;
    let removed = forget_source(&*gallery, &arguments.source)?;
    console.say(format!(
        "{}: {removed} images of {} are removed from the gallery",
        arguments.gallery, arguments.source
    ))?;
    console.json(&ForgetReport {
        gallery: &arguments.gallery,
        source: &arguments.source,
        removed,
    })
}

fn move_to(arguments: &MoveArguments, console: &Console) -> Result<(), Failure> {
    let gallery = open_gallery(&arguments.gallery)?;
    let moved = move_source(&*gallery, &arguments.source, &arguments.to)?;
    console.say(format!(
        "{}: {moved} images of {} are at {} now",
        arguments.gallery, arguments.source, arguments.to
    ))?;
    console.json(&MoveReport {
        gallery: &arguments.gallery,
        source: &arguments.source,
        to: &arguments.to,
        moved,
    })
}

fn alias(arguments: &AliasArguments, console: &Console) -> Result<(), Failure> {
    let address = on_cluster(&arguments.alias, "an alias")?;
    switch_alias(&address, &arguments.collection)?;
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
            "this removes {address} with all its points permanently: confirm it with --yes"
        ))
        .into());
    }
    remove_collection(&address)?;
    console.say(format!("{address} is removed"))?;
    console.json(&RemoveReport {
        removed: &arguments.gallery,
    })
}

fn on_cluster(name: &str, what: &str) -> Result<ClusterAddress, Error> {
    if !ClusterAddress::is_address(name) {
        return Err(Error::Unusable(format!(
            "{name} is a folder, and {what} is on a cluster: write it as qdrant://host:6334/name"
        )));
    }
    Ok(name.parse()?)
}
