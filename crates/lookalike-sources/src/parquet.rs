//! Parquet as Hugging Face lays image data sets out.
//!
//! A column (`image`, or another) is a struct of `bytes` and `path`; the label is a column of its
//! own, whose numbers have names in the file's metadata. Rows are read group by group, a few at a
//! time; memory is taken for one page of each column. An image's key is the number of its row, from
//! 0.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use serde_json::{Map, Value};

use crate::blob::{Blob, read_exactly_at};
use crate::entry::{Content, Entry, Stamp};
use crate::error::SourceError;
use crate::names::parent;
use crate::samples::label_of;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{Entries, LabelFrom, Source, SourceOptions};

mod cells;
mod columns;
mod header;
mod pages;

use cells::{Cell, Cells};
use columns::Columns;

/// The most bytes that a file's metadata may have.
const MAX_METADATA: u64 = 64 << 20;

/// A Parquet file of images.
#[derive(Clone)]
pub(crate) struct Parquet {
    name: String,
    blob: Arc<dyn Blob>,
    metadata: Arc<ParquetMetaData>,
    columns: Arc<Columns>,
    /// The number of the first row of each group, and at the end the number of rows.
    starts: Arc<[u64]>,
    options: SourceOptions,
}

impl Parquet {
    pub(crate) fn open(
        name: String,
        blob: Arc<dyn Blob>,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let refuse = |why: SkipReason| SourceError::Container {
            name: name.clone(),
            format: "a Parquet file",
            reason: why.reason,
        };
        let metadata = guarded(|| read_metadata(&blob)).map_err(refuse)?;
        let columns = guarded(|| Columns::find(&metadata, &options.label)).map_err(refuse)?;
        let mut starts = vec![0_u64];
        for group in metadata.row_groups() {
            let end = u64::try_from(group.num_rows())
                .ok()
                .and_then(|rows| starts[starts.len() - 1].checked_add(rows));
            let lies = || {
                let reason = "its metadata give an impossible number of rows; download it again";
                refuse(SkipReason::new(SkipKind::Damaged, reason))
            };
            starts.push(end.ok_or_else(lies)?);
        }
        Ok(Self {
            name,
            blob,
            metadata: Arc::new(metadata),
            columns: Arc::new(columns),
            starts: starts.into(),
            options: options.clone(),
        })
    }

    fn group(self: &Arc<Self>, group: usize) -> Result<Group, SkipReason> {
        let rows = self.starts[group]..self.starts[group + 1];
        let cells = |leaf: usize| {
            let metadata = self.metadata.row_group(group);
            guarded(|| Cells::open(&self.blob, metadata, leaf, self.options.limits))
        };
        let leaf = |leaf: Option<usize>| leaf.map(cells).transpose();
        let extra = self.columns.extra.iter().map(|(_, leaf)| cells(*leaf));
        Ok(Group {
            file: Arc::clone(self),
            rows,
            bytes: cells(self.columns.bytes)?,
            path: leaf(self.columns.path)?,
            label: leaf(self.columns.label.as_ref().map(|label| label.leaf))?,
            extra: extra.collect::<Result<_, _>>()?,
        })
    }

    fn place(&self, row: u64) -> String {
        format!("{}#{row}", self.name)
    }

    /// Reports that a group's remaining rows cannot be read.
    fn lost(&self, rows: &Range<u64>, why: SkipReason) -> Skipped {
        let last = rows.end.saturating_sub(1);
        let why = SkipReason {
            reason: format!(
                "rows {} to {last} cannot be read: {}",
                rows.start, why.reason
            ),
            ..why
        };
        Skipped::new("", self.place(rows.start), why)
    }
}

impl Source for Parquet {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        self.starts.last().copied()
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        Ok(Box::new(Rows {
            file: Arc::new(self.clone()),
            next_group: 0,
            group: None,
        }))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        let absent = || SourceError::NoSuchImage {
            name: self.name.clone(),
            key: key.to_owned(),
            hint: match self.len_hint() {
                None | Some(0) => "it has no rows".to_owned(),
                Some(rows) => format!("its images are numbered 0 to {}", rows - 1),
            },
        };
        let row: u64 = key.parse().map_err(|_| absent())?;
        // "+7" and "007" parse too, but a key has one spelling.
        if row.to_string() != key {
            return Err(absent());
        }
        let group = self.starts.partition_point(|&start| start <= row) - 1;
        if group >= self.metadata.num_row_groups() {
            return Err(absent());
        }
        let lost = |why| SourceError::Skipped(Skipped::new(key, self.place(row), why));
        let mut rows = Arc::new(self.clone()).group(group).map_err(lost)?;
        rows.skip_to(row).map_err(lost)?;
        rows.next().map_err(lost)?.map_err(SourceError::Skipped)
    }
}

struct Rows {
    file: Arc<Parquet>,
    next_group: usize,
    group: Option<Group>,
}

impl Iterator for Rows {
    type Item = Result<Entry, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(group) = &mut self.group {
                if group.rows.is_empty() {
                    self.group = None;
                    continue;
                }
                let rest = group.rows.clone();
                return Some(group.next().unwrap_or_else(|why| {
                    self.group = None;
                    Err(self.file.lost(&rest, why))
                }));
            }
            if self.next_group == self.file.metadata.num_row_groups() {
                return None;
            }
            let number = self.next_group;
            self.next_group += 1;
            match self.file.group(number) {
                Ok(group) => self.group = Some(group),
                Err(why) => {
                    let rows = self.file.starts[number]..self.file.starts[number + 1];
                    return Some(Err(self.file.lost(&rows, why)));
                }
            }
        }
    }
}

/// A group of rows that is being read.
struct Group {
    file: Arc<Parquet>,
    /// The rows that are left.
    rows: Range<u64>,
    bytes: Cells,
    path: Option<Cells>,
    label: Option<Cells>,
    extra: Vec<Cells>,
}

impl Group {
    fn skip_to(&mut self, row: u64) -> Result<(), SkipReason> {
        let rows = (row - self.rows.start) as usize;
        self.rows.start = row;
        let others = [&mut self.bytes]
            .into_iter()
            .chain(&mut self.path)
            .chain(&mut self.label);
        others
            .chain(&mut self.extra)
            .try_for_each(|cells| guarded(|| cells.skip(rows)))
    }

    /// The next row. The outer error ends the group.
    fn next(&mut self) -> Result<Result<Entry, Skipped>, SkipReason> {
        let row = self.rows.start;
        self.rows.start += 1;
        let bytes = guarded(|| self.bytes.next())?;
        let cell = |cells: &mut Option<Cells>| match cells {
            Some(cells) => guarded(|| cells.next()),
            None => Ok(Cell::Null),
        };
        let path = cell(&mut self.path)?.into_value();
        let label = cell(&mut self.label)?.into_value();
        let mut extra = Map::new();
        for (cells, (name, _)) in self.extra.iter_mut().zip(&self.file.columns.extra) {
            match guarded(|| cells.next())?.into_value() {
                Value::Null => {}
                value => {
                    extra.insert(name.clone(), value);
                }
            }
        }
        let (key, location) = (row.to_string(), self.file.place(row));
        let bytes = match bytes {
            Cell::Bytes(bytes) => bytes,
            _ => {
                let reason = match &path {
                    Value::String(path) => format!(
                        "the row has no bytes, only the path {path:?}; write the data set with its \
                         images inside"
                    ),
                    _ => "the row has no image".to_owned(),
                };
                let why = SkipReason::new(SkipKind::Missing, reason);
                return Ok(Err(Skipped::new(key, location, why)));
            }
        };
        if let Err(why) = self.file.options.limits.check_item(bytes.len() as u64) {
            return Ok(Err(Skipped::new(key, location, why)));
        }
        let label = match (&self.file.options.label, &path) {
            (LabelFrom::Parent, Value::String(path)) => parent(path),
            _ => self.name_of(label),
        };
        if path != Value::Null {
            extra.insert("path".to_owned(), path);
        }
        Ok(Ok(Entry {
            key,
            label,
            sample: None,
            extra,
            location,
            stamp: Some(Stamp {
                bytes: bytes.len() as u64,
                modified: self.file.blob.stamp().modified,
                changed: self.file.blob.stamp().changed,
            }),
            content: Content::Bytes(bytes),
        }))
    }

    /// A label in words, where the file gives its numbers names.
    fn name_of(&self, label: Value) -> Option<String> {
        let names = &self.file.columns.label.as_ref()?.names;
        let name = label
            .as_u64()
            .and_then(|number| names.get(usize::try_from(number).ok()?));
        name.cloned().or_else(|| label_of(label))
    }
}

fn read_metadata(blob: &Arc<dyn Blob>) -> Result<ParquetMetaData, SkipReason> {
    let doing = "read its metadata at the end";
    let failed = |error: std::io::Error| SkipReason::from_io(&error, doing);
    let length = blob.stamp().bytes;
    let end = read_exactly_at(blob.as_ref(), length.saturating_sub(8), 8).map_err(failed)?;
    let size = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    if &end[4..] == b"PARE" {
        let reason = "its metadata are encrypted; write it without encryption";
        return Err(SkipReason::new(SkipKind::Encrypted, reason));
    }
    if &end[4..] != b"PAR1" || size > MAX_METADATA || size + 8 > length {
        let reason = "the metadata at its end are missing: it is cut off, or not a Parquet \
                      file; download it again";
        return Err(SkipReason::new(SkipKind::Damaged, reason));
    }
    let bytes = read_exactly_at(blob.as_ref(), length - 8 - size, size).map_err(failed)?;
    let metadata =
        ParquetMetaDataReader::decode_metadata(&bytes).map_err(|error| reason_of(error, doing))?;
    Ok(metadata)
}

/// An error of the Parquet reader as a reason.
fn reason_of(error: ParquetError, doing: &str) -> SkipReason {
    match error {
        ParquetError::External(error) => match error.downcast::<SkipReason>() {
            Ok(own) => *own,
            Err(error) => match error.downcast::<std::io::Error>() {
                Ok(error) => SkipReason::from_io(&error, doing),
                Err(error) => SkipReason::new(
                    SkipKind::Damaged,
                    format!("cannot {doing}: {error}; download it again"),
                ),
            },
        },
        ParquetError::NYI(what) => SkipReason::new(
            SkipKind::Unsupported,
            format!("cannot {doing}: {what}; write it with another encoding"),
        ),
        error => SkipReason::new(
            SkipKind::Damaged,
            format!("cannot {doing}: {error}; download it again"),
        ),
    }
}

/// Runs the Parquet reader, which panics at some damage.
fn guarded<T>(read: impl FnOnce() -> Result<T, SkipReason>) -> Result<T, SkipReason> {
    // After a panic the group is given up, so that no half-changed state is used.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let reason = "the file contradicts itself; download it again";
        Err(SkipReason::new(SkipKind::Damaged, reason))
    })
}
