//! The rows of a list, one at a time.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::{Format, PATHS, take_path};
use crate::blob::Stream;
use crate::skipped::{SkipKind, SkipReason};

/// The most bytes of one row, so that a quote that is never closed does not read the rest of the
/// file.
const MAX_BYTES: u64 = 1 << 20;

/// One row of a list.
pub(super) struct Row {
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    pub(super) path: Option<String>,
    pub(super) fields: Map<String, Value>,
}

/// A row that cannot be read.
pub(super) struct Bad {
    pub(super) line: u64,
    pub(super) why: SkipReason,
    /// Whether the rest of the list cannot be read either.
    pub(super) last: bool,
}

/// The rows; a bad one comes with its line.
pub(super) struct Rows {
    reader: Reader,
    ended: bool,
}

enum Reader {
    Csv {
        reader: Box<csv::Reader<Bounded<Stream>>>,
        columns: Vec<String>,
    },
    JsonLines {
        reader: BufReader<Stream>,
        line: u64,
    },
}

impl Rows {
    pub(super) fn read(stream: Stream, format: Format) -> Result<Self, SkipReason> {
        let reader = match format {
            Format::JsonLines => Reader::JsonLines {
                reader: BufReader::new(stream),
                line: 0,
            },
            Format::Csv | Format::Tsv => {
                let delimiter = if format == Format::Tsv { b'\t' } else { b',' };
                let mut reader = csv::ReaderBuilder::new()
                    .delimiter(delimiter)
                    .flexible(true)
                    .from_reader(Bounded::new(stream));
                let header = reader.byte_headers().map_err(refuse)?;
                let column = |name: &[u8]| {
                    std::str::from_utf8(name)
                        .map(|name| name.trim().to_owned())
                        .map_err(|_| {
                            let reason = "its first line is not UTF-8; save the list as UTF-8";
                            SkipReason::new(SkipKind::NotUtf8, reason)
                        })
                };
                let columns = header.iter().map(column).collect::<Result<Vec<_>, _>>()?;
                if !columns
                    .iter()
                    .any(|column| PATHS.contains(&column.as_str()))
                {
                    let reason = format!(
                        "its first line must name the columns, one of them {}; it reads {:?}",
                        PATHS.join(", "),
                        columns.join(", ").chars().take(200).collect::<String>()
                    );
                    return Err(SkipReason::new(SkipKind::Damaged, reason));
                }
                reader.get_mut().begin();
                Reader::Csv {
                    reader: Box::new(reader),
                    columns,
                }
            }
        };
        Ok(Self {
            reader,
            ended: false,
        })
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = match &mut self.reader {
            Reader::Csv { reader, columns } => next_record(reader, columns),
            Reader::JsonLines { reader, line } => next_line(reader, line),
        };
        match row {
            Ok(Some(row)) => Some(row.map_err(|(line, why)| Bad {
                line,
                why,
                last: false,
            })),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err((line, why)) => {
                self.ended = true;
                Some(Err(Bad {
                    line,
                    why,
                    last: true,
                }))
            }
        }
    }
}

/// The outer error ends the list.
type Next = Result<Option<Result<Row, (u64, SkipReason)>>, (u64, SkipReason)>;

fn next_record(reader: &mut csv::Reader<Bounded<Stream>>, columns: &[String]) -> Next {
    let mut record = csv::ByteRecord::new();
    let read = reader.read_byte_record(&mut record);
    let line = record.position().map_or(0, csv::Position::line);
    match read {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err((reader.position().line(), refuse(error))),
    }
    reader.get_mut().begin();
    if record.len() != columns.len() {
        let reason = format!(
            "the line has {} fields, and the first line names {} columns; correct the line",
            record.len(),
            columns.len()
        );
        return Ok(Some(Err((
            line,
            SkipReason::new(SkipKind::Damaged, reason),
        ))));
    }
    let mut fields = Map::new();
    for (column, field) in columns.iter().zip(record.iter()) {
        let Ok(text) = std::str::from_utf8(field) else {
            let reason = "the line is not UTF-8; save the list as UTF-8";
            return Ok(Some(Err((
                line,
                SkipReason::new(SkipKind::NotUtf8, reason),
            ))));
        };
        if !text.is_empty() {
            let value = match PATHS.contains(&column.as_str()) {
                true => Value::from(text),
                false => typed(text),
            };
            fields.insert(column.clone(), value);
        }
    }
    let path = take_path(&mut fields);
    Ok(Some(Ok(Row { line, path, fields })))
}

/// Numbers as JSON writes them are numbers; "007" and "1_000" are text.
fn typed(text: &str) -> Value {
    match text.as_bytes()[0] {
        b'-' | b'0'..=b'9' => serde_json::from_str::<serde_json::Number>(text)
            .map_or_else(|_| Value::from(text), Value::Number),
        _ => Value::from(text),
    }
}

fn next_line(reader: &mut BufReader<Stream>, line: &mut u64) -> Next {
    loop {
        *line += 1;
        let mut bytes = Vec::new();
        reader
            .by_ref()
            .take(MAX_BYTES + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| (*line, SkipReason::from_io(&error, "read the list further")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err((*line, too_long()));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut text = bytes.trim_ascii();
        if *line == 1 {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        if text.is_empty() {
            continue;
        }
        return Ok(Some(match serde_json::from_slice::<Map<_, _>>(text) {
            Ok(mut fields) => {
                let path = take_path(&mut fields);
                Ok(Row {
                    line: *line,
                    path,
                    fields,
                })
            }
            Err(error) => {
                let reason =
                    format!("cannot read the line as a JSON object: {error}; correct the line");
                Err((*line, SkipReason::new(SkipKind::Damaged, reason)))
            }
        }));
    }
}

fn refuse(error: csv::Error) -> SkipReason {
    let text = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => SkipReason::from_io(&error, "read the list further"),
        _ => SkipReason::new(
            SkipKind::Damaged,
            format!("cannot read the list further: {text}"),
        ),
    }
}

fn too_long() -> SkipReason {
    SkipReason::new(
        SkipKind::Damaged,
        format!(
            "the line has more than {MAX_BYTES} bytes, perhaps for a quote that is not closed; the \
             rest of the list is not read"
        ),
    )
}

/// Fails once a row is too long.
struct Bounded<R> {
    inner: R,
    since: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R) -> Self {
        Self { inner, since: 0 }
    }

    /// A row begins here.
    fn begin(&mut self) {
        self.since = 0;
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since > MAX_BYTES {
            return Err(too_long().into());
        }
        let read = self.inner.read(buffer)?;
        self.since += read as u64;
        Ok(read)
    }
}
