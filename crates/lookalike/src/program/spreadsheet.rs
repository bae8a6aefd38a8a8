//! Tables for spreadsheets.

use std::io;
use std::path::Path;

use lookalike::Error;
use lookalike::images::Replacement;

/// Writes rows as CSV, quoted where they must be, replacing the file whole or not at all.
pub fn write(
    path: &Path,
    heading: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<(), Error> {
    let file = Replacement::new(path).map_err(|error| Error::unwritten(path, error))?;
    let mut table = csv::Writer::from_writer(file);
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

/// A number that may be unknown.
pub fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
