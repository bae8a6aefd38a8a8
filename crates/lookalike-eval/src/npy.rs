//! NumPy's `.npy` files, for two-dimensional arrays of `f32` and `i64`.
//!
//! Format version 1.0: a magic number, the length of a header, the header (a Python dictionary as
//! text, padded so that the values start at a multiple of 64 bytes), and the values, little-endian
//! and row after row.
//!
//! The crate `npyz` would add 11 crates, a parser generator among them, cannot write rows before
//! they are counted, and takes memory for a header of up to 4 GiB before it is there.

use std::io::{self, Read, Seek, Write};
use std::marker::PhantomData;

use thiserror::Error;

/// Why an array could not be written or read.
#[derive(Debug, Error)]
pub enum NpyError {
    /// The disk or pipe failed.
    #[error("reading or writing the array failed: {0}")]
    Io(#[from] io::Error),
    /// The values do not make whole rows.
    #[error("{values} values are not a whole number of rows of {columns}")]
    Ragged {
        /// Number of values.
        values: usize,
        /// Values per row.
        columns: usize,
    },
    /// The file is not such an array.
    #[error("not a readable .npy array: {problem}")]
    Format {
        /// What is wrong with it.
        problem: String,
    },
}

/// What an array can hold.
pub trait Element: Copy + sealed::Sealed {
    /// NumPy's name of the type.
    const DESCR: &'static str;
    /// Appends the little-endian bytes.
    fn push_bytes(self, bytes: &mut Vec<u8>);
    /// Reads `size_of::<Self>()` little-endian bytes.
    fn from_bytes(bytes: &[u8]) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i64 {}
}

macro_rules! element {
    ($type:ty, $descr:literal) => {
        impl Element for $type {
            const DESCR: &'static str = $descr;
            fn push_bytes(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn from_bytes(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$type>()];
                array.copy_from_slice(bytes);
                <$type>::from_le_bytes(array)
            }
        }
    };
}

element!(f32, "<f4");
element!(i64, "<i8");

/// A two-dimensional array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// Number of rows.
    pub rows: usize,
    /// Values per row.
    pub columns: usize,
    /// The values, row after row.
    pub data: Vec<T>,
}

const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";
/// Bytes before the header's text: the magic number and the text's length.
const PREFIX: usize = MAGIC.len() + 2;
/// Values that are turned to bytes at a time.
const CHUNK: usize = 1 << 16;

/// Writes `data` as rows of `columns` values.
///
/// # Errors
/// If the values are not whole rows, or writing fails.
pub fn write<T: Element>(mut to: impl Write, data: &[T], columns: usize) -> Result<(), NpyError> {
    let rows = whole_rows(data.len(), columns)?;
    to.write_all(&header::<T>(rows, columns))?;
    write_values(&mut to, data, &mut Vec::new())?;
    Ok(to.flush()?)
}

/// How many rows of `columns` there are in `values`.
fn whole_rows(values: usize, columns: usize) -> Result<usize, NpyError> {
    match columns > 0 && values.is_multiple_of(columns) {
        true => Ok(values / columns),
        false => Err(NpyError::Ragged { values, columns }),
    }
}

fn write_values<T: Element>(
    to: &mut impl Write,
    values: &[T],
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    for chunk in values.chunks(CHUNK) {
        bytes.clear();
        chunk.iter().for_each(|value| value.push_bytes(bytes));
        to.write_all(bytes)?;
    }
    Ok(())
}

/// The bytes before the values: as many for any number of rows, so that the number can be set
/// later.
fn header<T: Element>(rows: usize, columns: usize) -> Vec<u8> {
    let descr = T::DESCR;
    let mut text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // 57 characters and two numbers of at most 20 digits: too long for 64 bytes in all, never for
    // 128.
    let padded = 2 * 64 - PREFIX;
    text.extend(std::iter::repeat_n(' ', padded - 1 - text.len()));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend((padded as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// Writes an array row by row, without knowing how many rows there will be.
pub struct Writer<T, W> {
    to: W,
    columns: usize,
    rows: usize,
    bytes: Vec<u8>,
    element: PhantomData<T>,
}

impl<T: Element, W: Write + Seek> Writer<T, W> {
    /// Begins an array of `columns` values a row where `to` stands, which must be its start.
    ///
    /// # Errors
    /// If `columns` is 0, or writing fails.
    pub fn new(mut to: W, columns: usize) -> Result<Self, NpyError> {
        whole_rows(0, columns)?;
        to.write_all(&header::<T>(0, columns))?;
        Ok(Self {
            to,
            columns,
            rows: 0,
            bytes: Vec::new(),
            element: PhantomData,
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// If the values are not whole rows, or writing fails.
    pub fn push(&mut self, rows: &[T]) -> Result<(), NpyError> {
        let count = whole_rows(rows.len(), self.columns)?;
        write_values(&mut self.to, rows, &mut self.bytes)?;
        self.rows += count;
        Ok(())
    }

    /// Writes the number of rows into the header, and returns the writer given to [`Writer::new`].
    ///
    /// # Errors
    /// If writing fails.
    pub fn finish(mut self) -> Result<W, NpyError> {
        self.to.rewind()?;
        self.to.write_all(&header::<T>(self.rows, self.columns))?;
        self.to.flush()?;
        Ok(self.to)
    }
}

/// Reads an array to the end of `from`. One dimension is read as one column.
///
/// Memory grows with what is there, not with what the header claims.
///
/// # Errors
/// If reading fails, or the file is not a version 1.0 array of `T` in row order of at most two
/// dimensions with exactly the values that it announces.
pub fn read<T: Element>(mut from: impl Read) -> Result<Array<T>, NpyError> {
    let mut prefix = [0; PREFIX];
    from.read_exact(&mut prefix)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => format_error("it ends within its first 10 bytes"),
            _ => error.into(),
        })?;
    if prefix[..MAGIC.len()] != *MAGIC {
        return Err(format_error(
            "it does not start with the mark of version 1.0",
        ));
    }
    let length = usize::from(u16::from_le_bytes([prefix[8], prefix[9]]));
    let mut header = Vec::new();
    from.by_ref().take(length as u64).read_to_end(&mut header)?;
    if header.len() < length {
        return Err(format_error("it ends within its header"));
    }
    let (rows, columns) = shape::<T>(&header)?;
    let size = rows
        .checked_mul(columns)
        .and_then(|values| values.checked_mul(size_of::<T>()))
        .and_then(|bytes| u64::try_from(bytes).ok()?.checked_add(1))
        .ok_or_else(|| format_error("its shape is larger than any memory"))?
        - 1;
    let mut bytes = Vec::new();
    // One byte more than there should be shows whether there is more.
    from.take(size + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        let found = if (bytes.len() as u64) < size {
            "fewer"
        } else {
            "more"
        };
        let problem =
            format!("a shape of {rows} x {columns} takes {size} bytes, there are {found}");
        return Err(format_error(&problem));
    }
    let values = bytes.chunks_exact(size_of::<T>());
    Ok(Array {
        rows,
        columns,
        data: values.map(T::from_bytes).collect(),
    })
}

fn format_error(problem: &str) -> NpyError {
    NpyError::Format {
        problem: problem.to_owned(),
    }
}

/// Reads rows and columns from the header's text, if all the rest is as it must be.
fn shape<T: Element>(header: &[u8]) -> Result<(usize, usize), NpyError> {
    let text = std::str::from_utf8(header).map_err(|_| format_error("its header is not text"))?;
    let value = |key: &str| {
        let (_, after) = text.split_once(&format!("'{key}':"))?;
        Some(after.trim_start())
    };
    let missing = |key: &str| format_error(&format!("its header has no readable {key}"));
    let descr = value("descr")
        .and_then(|text| text.strip_prefix('\'')?.split('\'').next())
        .ok_or_else(|| missing("descr"))?;
    if descr != T::DESCR {
        let problem = format!("its values are {descr:?}, not {:?}", T::DESCR);
        return Err(format_error(&problem));
    }
    let order = value("fortran_order").ok_or_else(|| missing("fortran_order"))?;
    if !order.starts_with("False") {
        return Err(format_error("it is not stored row after row"));
    }
    let sizes: Option<Vec<usize>> = value("shape")
        .and_then(|text| text.strip_prefix('(')?.split_once(')'))
        .and_then(|(sizes, _)| {
            let sizes = sizes
                .split(',')
                .map(str::trim)
                .filter(|size| !size.is_empty());
            sizes.map(|size| size.parse().ok()).collect()
        });
    match sizes.ok_or_else(|| missing("shape"))?[..] {
        [rows] => Ok((rows, 1)),
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format_error("it does not have one or two dimensions")),
    }
}
