//! `lookalike export`.

use std::path::PathBuf;

use lookalike::export::{ExportFiles, export};
use lookalike::gallery::Filter;
use lookalike::open_gallery;
use serde::Serialize;

use super::Failure;
use super::arguments::ExportArguments;
use super::console::{Console, show};

#[derive(Serialize)]
struct ExportReport {
    points: usize,
    dims: usize,
    codes: Option<String>,
    payload: Option<String>,
    parquet: Option<String>,
}

pub fn run(arguments: ExportArguments, console: &Console) -> Result<(), Failure> {
    let gallery = open_gallery(&arguments.gallery)?;
    let info = gallery.describe()?;
    let filter = Filter::all(arguments.filters)?;
    let files = ExportFiles {
        codes: arguments.codes.as_deref(),
        payload: arguments.payload.as_deref(),
        parquet: arguments.parquet.as_deref(),
    };
    let bar = console.bar(filter.is_none().then_some(info.points), "export");
    let points = export(&*gallery, filter.as_ref(), &files, |progress| {
        show(&bar, progress);
    });
    bar.finish_and_clear();
    let shown = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
    let report = ExportReport {
        points: points?,
        dims: info.dims,
        codes: shown(arguments.codes),
        payload: shown(arguments.payload),
        parquet: shown(arguments.parquet),
    };
    let (points, dims) = (report.points, report.dims);
    if let Some(path) = &report.codes {
        console.say(format!("{path}: {points} codes of {dims} floats"))?;
    }
    if let Some(path) = &report.payload {
        console.say(format!("{path}: {points} lines"))?;
    }
    if let Some(path) = &report.parquet {
        console.say(format!("{path}: {points} rows with codes of {dims} floats"))?;
    }
    console.json(&report)
}
