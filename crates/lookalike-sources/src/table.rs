//! Lists of images: CSV, TSV and JSON lines.
//!
//! One column names the files, relative to the list's own folder; the others are payload. Unlike an
//! archive, a list is the user's own, so that absolute paths and `..` are allowed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::blob::{Blob, Stream};
use crate::entry::{Content, Entry, Stamp, regular_file};
use crate::error::SourceError;
use crate::limits::Limits;
use crate::names::parent;
use crate::samples::label_of;
use crate::seen::Seen;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{Entries, LabelFrom, Source, SourceOptions, Wanted, no_such_image};

mod rows;

use rows::{Row, Rows};

/// The columns that may name the file, the best first.
const PATHS: [&str; 4] = ["path", "file", "file_name", "image"];

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Tsv,
    JsonLines,
}

/// A list's own folder, to which its paths are relative.
pub(crate) trait Beside: Send + Sync {
    /// The file at a path.
    fn find(&self, path: &str, limits: &Limits) -> Result<Found, SkipReason>;

    /// The location of a path, as people read it.
    fn location(&self, path: &str) -> String;
}

/// The file that a path leads to.
pub(crate) struct Found {
    pub(crate) stamp: Option<Stamp>,
    pub(crate) content: Content,
}

/// A folder on this machine.
pub(crate) struct LocalFolder(pub(crate) PathBuf);

impl Beside for LocalFolder {
    fn find(&self, path: &str, limits: &Limits) -> Result<Found, SkipReason> {
        let path = self.0.join(path);
        let stamp = regular_file(&path)?;
        limits.check_item(stamp.bytes)?;
        Ok(Found {
            stamp: Some(stamp),
            content: Content::File(path),
        })
    }

    fn location(&self, path: &str) -> String {
        self.0.join(Path::new(path)).to_string_lossy().into_owned()
    }
}

/// A list of images.
#[derive(Clone)]
pub(crate) struct Table {
    name: String,
    blob: Arc<dyn Blob>,
    format: Format,
    beside: Arc<dyn Beside>,
    options: SourceOptions,
}

impl Table {
    pub(crate) fn open(
        name: String,
        blob: Arc<dyn Blob>,
        format: Format,
        beside: Arc<dyn Beside>,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let table = Self {
            name,
            blob,
            format,
            beside,
            options: options.clone(),
        };
        // A list without a path in its header or in its first line has none at all.
        match table.rows()?.next() {
            Some(Ok(Row { path: None, fields, .. })) => Err(table.refuse(format!(
                "it has the columns {}, and none of {}, which would name the files; rename the column \
                 that does",
                fields.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
                PATHS.join(", ")
            ))),
            _ => Ok(table),
        }
    }

    fn rows(&self) -> Result<Rows, SourceError> {
        let stream = Stream::all(Arc::clone(&self.blob));
        Rows::read(stream, self.format).map_err(|why| self.refuse(why.reason))
    }

    fn refuse(&self, reason: String) -> SourceError {
        SourceError::Container {
            name: self.name.clone(),
            format: match self.format {
                Format::Csv => "a list of images with commas (CSV)",
                Format::Tsv => "a list of images with tabs (TSV)",
                Format::JsonLines => "a list of images in JSON lines",
            },
            reason,
        }
    }

    fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.name)
    }

    fn entry(&self, row: Row) -> Result<Entry, Skipped> {
        let Some(path) = row.path else {
            let reason = format!("none of its columns {} names a file", PATHS.join(", "));
            let why = SkipReason::new(SkipKind::Missing, reason);
            return Err(Skipped::new(
                key_of_line(row.line),
                self.place(row.line),
                why,
            ));
        };
        let location = self.beside.location(&path);
        let found = if path.contains("://") {
            let reason = "it is an address, and lists name files beside them; give the address itself \
                          as a source";
            Err(SkipReason::new(SkipKind::Unsupported, reason))
        } else if path.contains('\0') {
            let reason = "its path has a zero byte in it; correct the list";
            Err(SkipReason::new(SkipKind::UnsafePath, reason))
        } else {
            self.beside.find(&path, &self.options.limits)
        };
        let found = match found {
            Ok(found) => found,
            Err(why) => return Err(Skipped::new(path, location, why)),
        };
        let mut extra = row.fields;
        let label = match &self.options.label {
            LabelFrom::Default => extra.shift_remove("label").and_then(label_of),
            LabelFrom::Column(name) => extra.shift_remove(name).and_then(label_of),
            LabelFrom::Parent => parent(&path),
            LabelFrom::None => None,
        };
        Ok(Entry {
            key: path,
            label,
            sample: None,
            extra,
            location,
            stamp: found.stamp,
            content: found.content,
        })
    }
}

impl Source for Table {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        None
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        self.entries_wanted(Arc::new(|_| true))
    }

    fn entries_wanted(&self, wanted: Wanted) -> Result<Entries, SourceError> {
        let mut seen = Seen::default();
        let table = self.clone();
        let items = self.rows()?.filter_map(move |row| {
            let row = match row {
                Ok(row) => row,
                Err(bad) => {
                    let place = table.place(bad.line);
                    let key = match bad.last {
                        true => String::new(),
                        false => key_of_line(bad.line),
                    };
                    let wanted = bad.last || wanted(&key);
                    return wanted.then(|| Err(Skipped::new(key, place, bad.why)));
                }
            };
            let key = row.path.clone().unwrap_or_else(|| key_of_line(row.line));
            if !wanted(&key) {
                return None;
            }
            if row.path.is_some()
                && let Err(why) = seen.check(&key)
            {
                return Some(Err(Skipped::new(key, table.place(row.line), why)));
            }
            Some(table.entry(row))
        });
        Ok(Box::new(items))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        // Does not look at the files of the rows before.
        let own = |row: &Row| row.path.as_deref() == Some(key);
        match self.rows()?.flatten().find(own) {
            Some(row) => self.entry(row).map_err(SourceError::Skipped),
            None => Err(no_such_image(&self.name, key)),
        }
    }
}

/// The key of a row that names no file.
fn key_of_line(line: u64) -> String {
    format!("line {line}")
}

/// Takes the path out of a row's fields.
fn take_path(fields: &mut Map<String, Value>) -> Option<String> {
    let name = PATHS
        .iter()
        .find(|name| matches!(fields.get(**name), Some(Value::String(_))))?;
    match fields.shift_remove(*name) {
        Some(Value::String(path)) if !path.is_empty() => Some(path),
        _ => None,
    }
}
