//! `lookalike export`.

use std::path::PathBuf;

use lookalike::autoencoder::DeviceChoice;
use lookalike::export::{ExportFiles, export, export_encoder};
use lookalike::gallery::Gallery;
use lookalike::{Encoder, Error, PretrainedOptions, encoder_of, load_encoder, open_gallery};
use serde::Serialize;

use super::arguments::{ExportArguments, named};
use super::conditions::filter_of;
use super::console::{Console, show};
use super::{Failure, refuse_twice};

#[derive(Serialize)]
struct ExportReport {
    /// Absent where only an encoder was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<usize>,
    dims: usize,
    codes: Option<String>,
    payload: Option<String>,
    parquet: Option<String>,
    onnx: Option<String>,
}

pub fn run(
    arguments: ExportArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let written = [
        &arguments.codes,
        &arguments.payload,
        &arguments.parquet,
        &arguments.onnx,
    ];
    let read = [&arguments.model, &arguments.encoder];
    refuse_twice(&written.map(Option::as_ref), &read.map(Option::as_ref))?;
    let gallery = arguments.gallery.as_deref().map(open_gallery).transpose()?;
    let encoder = encoder(&arguments, gallery.as_deref(), device)?;
    // Before the points are read: an encoder that cannot be written is known at once.
    if let (Some(encoder), Some(path)) = (&encoder, &arguments.onnx) {
        export_encoder(&**encoder, path)?;
    }
    let with_points = [&arguments.codes, &arguments.payload, &arguments.parquet]
        .iter()
        .any(|path| path.is_some());
    let points = match &gallery {
        Some(gallery) if with_points => Some(write_points(&arguments, &**gallery, console)?),
        _ => None,
    };
    let dims = match (&encoder, &gallery) {
        (Some(encoder), _) => encoder.code_dim(),
        (None, Some(gallery)) => gallery.describe()?.dims,
        (None, None) => 0,
    };
    let shown = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
    let report = ExportReport {
        points,
        dims,
        codes: shown(arguments.codes),
        payload: shown(arguments.payload),
        parquet: shown(arguments.parquet),
        onnx: shown(arguments.onnx),
    };
    let points = points.unwrap_or_default();
    if let Some(path) = &report.codes {
        console.say(format!("{path}: {points} codes of {dims} floats"))?;
    }
    if let Some(path) = &report.payload {
        console.say(format!("{path}: {points} lines"))?;
    }
    if let Some(path) = &report.parquet {
        console.say(format!("{path}: {points} rows with codes of {dims} floats"))?;
    }
    if let (Some(path), Some(encoder)) = (&report.onnx, &encoder) {
        let shape = encoder.shape();
        console.say(format!(
            "{path}: uint8 images (n x {} x {} x {}) to codes of {dims} floats",
            shape.height, shape.width, shape.channels
        ))?;
    }
    console.json(&report)
}

/// What is written as ONNX, if anything is: the gallery's encoder, or a model's.
fn encoder(
    arguments: &ExportArguments,
    gallery: Option<&dyn Gallery>,
    device: DeviceChoice,
) -> Result<Option<Box<dyn Encoder>>, Error> {
    if arguments.onnx.is_none() {
        return Ok(None);
    }
    let paths = named(&arguments.model, &arguments.encoder);
    match (gallery, paths.as_slice()) {
        (Some(gallery), paths) => encoder_of(gallery, paths, device),
        (None, [path]) => load_encoder(path, &PretrainedOptions::default(), device),
        (None, []) => Err(Error::Unusable(
            "nothing to export: name a gallery or a model".to_owned(),
        )),
        (None, _) => Err(Error::Unusable(
            "two encoders cannot be exported to one file: name one of them".to_owned(),
        )),
    }
    .map(Some)
}

fn write_points(
    arguments: &ExportArguments,
    gallery: &dyn Gallery,
    console: &Console,
) -> Result<usize, Failure> {
    let info = gallery.describe()?;
    let filter = filter_of(gallery, &arguments.filters, console)?;
    let files = ExportFiles {
        codes: arguments.codes.as_deref(),
        payload: arguments.payload.as_deref(),
        parquet: arguments.parquet.as_deref(),
        map: arguments.map,
        neighbours: arguments.neighbours.unwrap_or(0),
    };
    let bar = console.bar(filter.is_none().then_some(info.points), "export");
    let points = export(gallery, filter.as_ref(), &files, |progress| {
        show(&bar, progress);
    });
    bar.finish_and_clear();
    Ok(points?)
}
