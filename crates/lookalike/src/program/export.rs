//! `lookalike export`.

use std::path::Path;

use lookalike::eval::npy;
use lookalike::gallery::{Gallery, Points};
use lookalike::images::replace_file;
use lookalike::{Error, open_gallery};
use serde::Serialize;

use super::Failure;
use super::arguments::ExportArguments;
use super::console::Console;

#[derive(Serialize)]
struct ExportReport {
    points: usize,
    dims: usize,
    codes: String,
    payload: Option<String>,
}

pub fn run(arguments: ExportArguments, console: &Console) -> Result<(), Failure> {
    let gallery = open_gallery(&arguments.gallery)?;
    let dims = gallery.describe()?.dims;
    let mut codes = Vec::new();
    let mut lines = Vec::new();
    for point in Points::new(&gallery, None) {
        let point = point?;
        codes.extend(point.code);
        if arguments.payload.is_some() {
            let mut value = serde_json::json!({ "id": point.id });
            let payload = serde_json::to_value(&point.payload)
                .expect("a payload, which came from JSON, goes back to it");
            if let (Some(object), serde_json::Value::Object(fields)) =
                (value.as_object_mut(), payload)
            {
                object.extend(fields);
            }
            lines.push(value.to_string());
        }
    }
    let unwritable = |e: npy::NpyError| {
        Error::Unusable(format!("cannot write {}: {e}", arguments.codes.display()))
    };
    let mut array = Vec::new();
    npy::write(&mut array, &codes, dims).map_err(unwritable)?;
    write(&arguments.codes, &array)?;
    if let Some(path) = &arguments.payload {
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        write(path, text.as_bytes())?;
    }
    let report = ExportReport {
        points: codes.len() / dims,
        dims,
        codes: arguments.codes.display().to_string(),
        payload: arguments.payload.map(|p| p.display().to_string()),
    };
    console.say(format!(
        "{}: {} codes of {} floats",
        report.codes, report.points, report.dims
    ))?;
    console.json(&report)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_file(path, bytes).map_err(Error::io("write", path))
}
