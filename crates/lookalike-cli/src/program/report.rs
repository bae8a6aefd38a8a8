//! `lookalike report`.

use lookalike::files::replace_file;
use lookalike::report::report;
use lookalike::{Error, open_gallery};
use serde::Serialize;

use super::Failure;
use super::arguments::ReportArguments;
use super::console::{Console, show};

#[derive(Serialize)]
struct Report<'a> {
    gallery: &'a str,
    points: usize,
    out: String,
    bytes: usize,
}

pub fn run(arguments: ReportArguments, console: &Console) -> Result<(), Failure> {
    let gallery = open_gallery(&arguments.gallery)?;
    let bar = console.bar(Some(0), "report");
    let html = report(&*gallery, |progress| show(&bar, progress));
    bar.finish_and_clear();
    let html = html?;
    replace_file(&arguments.out, html.as_bytes())
        .map_err(|error| Error::unwritten(&arguments.out, error))?;
    let written = Report {
        gallery: &arguments.gallery,
        points: gallery.describe()?.points,
        out: arguments.out.display().to_string(),
        bytes: html.len(),
    };
    console.say(format!(
        "{}: {} images, {} kB",
        written.out,
        written.points,
        written.bytes / 1000
    ))?;
    console.json(&written)
}
