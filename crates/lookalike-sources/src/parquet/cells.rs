//! One column of a group of rows, cell by cell.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::ReaderProperties;
use parquet::file::serialized_reader::SerializedPageReader;
use serde_json::Value;

use super::pages::{CheckedPages, Chunks};
use super::reason_of;
use crate::blob::Blob;
use crate::limits::Limits;
use crate::skipped::{SkipKind, SkipReason};

/// Rows read at a time; images are large, and a page of them is in memory anyway.
const AT_ONCE: usize = 16;

/// A value of a row.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Null,
    Bytes(Bytes),
    Value(Value),
}

impl Cell {
    /// As payload; bytes are text, or else nothing.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Value(value) => value,
            Self::Bytes(bytes) => std::str::from_utf8(&bytes).map_or(Value::Null, Value::from),
        }
    }
}

/// The cells of one column in one group.
pub(super) struct Cells {
    reader: ColumnReader,
    /// The level at which a value is there.
    present: i16,
    unsigned: bool,
    ready: VecDeque<Cell>,
}

impl Cells {
    pub(super) fn open(
        blob: &Arc<dyn Blob>,
        group: &RowGroupMetaData,
        leaf: usize,
        limits: Limits,
    ) -> Result<Self, SkipReason> {
        let chunk = group.column(leaf);
        let lies = || {
            let reason = "its metadata put a column outside of the file; download it again";
            SkipReason::new(SkipKind::Damaged, reason)
        };
        let offset = chunk
            .dictionary_page_offset()
            .unwrap_or(chunk.data_page_offset());
        let begin = u64::try_from(offset).map_err(|_| lies())?;
        let length = u64::try_from(chunk.compressed_size()).map_err(|_| lies())?;
        let end = begin.checked_add(length).ok_or_else(lies)?;
        if end > blob.stamp().bytes {
            return Err(lies());
        }
        if let Compression::BROTLI(_) | Compression::LZO = chunk.compression() {
            let reason = format!(
                "it is packed with {}; write it with Snappy or Zstandard",
                chunk.compression()
            );
            return Err(SkipReason::new(SkipKind::Unsupported, reason));
        }
        let properties = ReaderProperties::builder()
            // The frames of an old writer unpack without a limit.
            .set_backward_compatible_lz4(false)
            .build();
        let rows = usize::try_from(group.num_rows()).map_err(|_| lies())?;
        let chunks = Arc::new(Chunks::new(
            Arc::clone(blob),
            end,
            chunk.compression(),
            limits,
        ));
        let pages = SerializedPageReader::new_with_properties(
            chunks,
            chunk,
            rows,
            None,
            Arc::new(properties),
        )
        .map_err(failed)?;
        let descriptor = chunk.column_descr_ptr();
        let present = descriptor.max_def_level();
        let pages = CheckedPages::new(pages, present > 0);
        let unsigned = matches!(
            descriptor.logical_type_ref(),
            Some(LogicalType::Integer(integer)) if !integer.is_signed
        );
        Ok(Self {
            present,
            reader: get_column_reader(descriptor, Box::new(pages)),
            unsigned,
            ready: VecDeque::new(),
        })
    }

    /// The next cell.
    pub(super) fn next(&mut self) -> Result<Cell, SkipReason> {
        if self.ready.is_empty() {
            self.fill()?;
        }
        self.ready.pop_front().ok_or_else(|| {
            let reason = "a column has fewer rows than the metadata say; download it again";
            SkipReason::new(SkipKind::Truncated, reason)
        })
    }

    /// Passes over rows, of which none was read yet.
    pub(super) fn skip(&mut self, rows: usize) -> Result<(), SkipReason> {
        let skipped = match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int32ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int64ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int96ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::FloatColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::DoubleColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => reader.skip_records(rows),
        };
        skipped.map(drop).map_err(failed)
    }

    fn fill(&mut self) -> Result<(), SkipReason> {
        let (present, unsigned, ready) = (self.present, self.unsigned, &mut self.ready);
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => {
                read(reader, present, ready, |&value| Cell::Value(value.into()))
            }
            ColumnReader::Int32ColumnReader(reader) => read(reader, present, ready, |&value| {
                Cell::Value(if unsigned {
                    (value as u32).into()
                } else {
                    value.into()
                })
            }),
            ColumnReader::Int64ColumnReader(reader) => read(reader, present, ready, |&value| {
                Cell::Value(if unsigned {
                    (value as u64).into()
                } else {
                    value.into()
                })
            }),
            ColumnReader::FloatColumnReader(reader) => {
                read(reader, present, ready, |&value| Cell::Value(value.into()))
            }
            ColumnReader::DoubleColumnReader(reader) => {
                read(reader, present, ready, |&value| Cell::Value(value.into()))
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                read(reader, present, ready, |value: &ByteArray| {
                    Cell::Bytes(Bytes::copy_from_slice(value.data()))
                })
            }
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                Err(failed(ParquetError::NYI("this type of column".to_owned())))
            }
        }
    }
}

fn failed(error: ParquetError) -> SkipReason {
    reason_of(error, "read a column")
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    present: i16,
    ready: &mut VecDeque<Cell>,
    cell: impl Fn(&T::T) -> Cell,
) -> Result<(), SkipReason> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (records, _, _) = reader
        .read_records(AT_ONCE, Some(&mut levels), None, &mut values)
        .map_err(failed)?;
    let mut values = values.iter();
    for record in 0..records {
        // Required columns have no levels.
        let there = present == 0 || levels.get(record).is_some_and(|&level| level == present);
        ready.push_back(match there {
            true => values.next().map_or(Cell::Null, &cell),
            false => Cell::Null,
        });
    }
    Ok(())
}
