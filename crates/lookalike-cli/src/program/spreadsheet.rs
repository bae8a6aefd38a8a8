//! Tables for spreadsheets.

use std::io;
use std::path::Path;

use lookalike::Error;
use lookalike::files::Replacement;
use lookalike::gallery::Payload;

/// Writes rows as CSV, quoted where they must be, replacing the file whole or not at all. After the
/// columns of `heading` come those of [`payload`] and the id.
pub fn write(
    path: &Path,
    heading: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<(), Error> {
    let file = Replacement::new(path).map_err(|error| Error::unwritten(path, error))?;
    let mut table = csv::Writer::from_writer(file);
    let heading = heading.iter().chain(&PAYLOAD).chain(&["id"]);
    let mut written = table.write_record(heading);
    for row in rows {
        written = written.and_then(|()| table.write_record(&row));
    }
    written
        .map_err(io::Error::from)
        .and_then(|()| table.into_inner().map_err(|error| error.into_error()))
        .and_then(Replacement::commit)
        .map_err(|error| Error::unwritten(path, error))
}

/// Names of the columns that [`payload`] fills.
const PAYLOAD: [&str; 8] = [
    "source", "key", "location", "label", "width", "height", "bytes", "blake3",
];

/// What is known of a picture.
pub fn payload(payload: &Payload) -> [String; 8] {
    [
        payload.source.clone(),
        payload.key.clone(),
        optional(payload.location.as_ref()),
        optional(payload.label.as_ref()),
        payload.width.to_string(),
        payload.height.to_string(),
        optional(payload.bytes),
        payload.blake3.clone(),
    ]
}

/// Where a person finds a picture.
pub fn place(payload: &Payload) -> String {
    match &payload.location {
        Some(location) => location.clone(),
        None => format!("{}#{}", payload.source, payload.key),
    }
}

/// A number that may be unknown.
pub fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
