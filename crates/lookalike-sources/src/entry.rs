//! One image as a source gives it, not decoded.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::blob::file_stamp;
use crate::limits::Limits;
use crate::skipped::{SkipKind, SkipReason, Skipped};

/// One image as a source gives it, not decoded.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Unique and stable within the source: the path relative to the folder or inside the archive,
    /// with `/` between the parts; in a list the path as its row has it; in a Parquet file the
    /// number of the row. In a set of shards the shard's name and a `/` come first.
    pub key: String,
    /// What the image shows, if the source says so; see [`LabelFrom`](crate::LabelFrom).
    pub label: Option<String>,
    /// The WebDataset sample that the image is of, if its label or its payload lie beside it: the
    /// path up to the first dot of the name, and in a set of shards the shard's name and a `/`
    /// before it. All images of a sample are in one [`Part`](crate::Part).
    pub sample: Option<String>,
    /// What else the source says about the image: the other columns of a table, a sample's JSON.
    pub extra: Map<String, Value>,
    /// Where a person finds the original: an absolute path, `archive.zip!inner/path`,
    /// `s3://bucket/key`.
    pub location: String,
    /// Tells without reading that nothing changed; `None` when the container does not say.
    pub stamp: Option<Stamp>,
    /// The bytes, or how to get them.
    pub content: Content,
}

impl Entry {
    /// Reads the image's bytes. Several threads may read entries of one source at once.
    ///
    /// # Errors
    ///
    /// When the bytes cannot be had, are damaged, or are more than [`Limits::item_bytes`]; of
    /// [raw pixels](Entry::pixels) there is no file.
    pub fn read(&self, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
        self.content.clone().into_bytes(limits)
    }

    /// As [`Entry::read`], without a copy when the bytes are at hand already.
    ///
    /// # Errors
    ///
    /// As [`Entry::read`].
    pub fn into_bytes(self, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
        self.content.into_bytes(limits)
    }

    /// The pixels of an image that is no file but a part of a data set of pixels, such as MNIST.
    pub fn pixels(&self) -> Option<&RawPixels> {
        match &self.content {
            Content::Pixels(pixels) => Some(pixels),
            _ => None,
        }
    }

    /// That this entry was passed over.
    pub fn skipped(&self, why: SkipReason) -> Skipped {
        Skipped::new(&self.key, &self.location, why)
    }
}

/// What tells without reading that an item is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Size in bytes, unpacked.
    pub bytes: u64,
    /// Nanoseconds since 1970, UTC; in archives as exact as their format, down to two seconds of
    /// local time.
    pub modified: Option<i64>,
    /// When the file system last changed anything about the file, where it says so: unlike
    /// `modified`, programs cannot set it. In the same unit.
    pub changed: Option<i64>,
}

/// An image's bytes, or how to get them.
#[derive(Clone)]
#[non_exhaustive]
pub enum Content {
    /// They had to be read on the way past: a stream cannot go back.
    Bytes(Bytes),
    /// All of a file.
    File(PathBuf),
    /// A member of an archive, or a remote object; read when asked for.
    Lazy(Arc<dyn Lazy>),
    /// No file: the container holds pixels, which were read on the way past.
    Pixels(RawPixels),
}

/// Pixels as a container holds them, not encoded in any format: 8 bits a channel, height x width x
/// channels.
#[derive(Clone, PartialEq, Eq)]
pub struct RawPixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `height * width * channels` bytes, rows from top to bottom.
    pub data: Bytes,
}

/// Content that is read when it is asked for, by any thread.
pub trait Lazy: Send + Sync {
    /// Reads all of it.
    ///
    /// # Errors
    ///
    /// As [`Entry::read`].
    fn read(&self, limits: &Limits) -> Result<Vec<u8>, SkipReason>;

    /// Reads at most `length` bytes from `offset`, where that costs less than reading all of it;
    /// otherwise none.
    fn read_at(&self, _offset: u64, _length: usize) -> Option<io::Result<Bytes>> {
        None
    }

    /// Bytes that are in memory for it already.
    fn held(&self) -> usize {
        0
    }
}

impl Content {
    /// Whether reading is still to come; such an entry holds no bytes.
    pub fn is_lazy(&self) -> bool {
        self.held() == 0
    }

    /// Bytes that are held already.
    pub fn held(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pixels(pixels) => pixels.data.len(),
            Self::Lazy(lazy) => lazy.held(),
            Self::File(_) => 0,
        }
    }

    pub(crate) fn into_bytes(self, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
        match self {
            Self::Bytes(bytes) => {
                limits.check_item(bytes.len() as u64)?;
                Ok(bytes.into())
            }
            Self::File(path) => read_file(&path, limits),
            Self::Lazy(lazy) => lazy.read(limits),
            Self::Pixels(_) => Err(SkipReason::new(
                SkipKind::Unsupported,
                "it is pixels in a data set and no file; take its pixels",
            )),
        }
    }
}

impl fmt::Debug for RawPixels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} x {} x {}", self.width, self.height, self.channels)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(out, "Bytes({} bytes)", bytes.len()),
            Self::File(path) => write!(out, "File({path:?})"),
            Self::Lazy(_) => out.write_str("Lazy"),
            Self::Pixels(pixels) => write!(out, "Pixels({pixels:?})"),
        }
    }
}

/// Size and time of a regular file; everything else is refused, for opening a pipe waits for ever.
pub(crate) fn regular_file(path: &Path) -> Result<Stamp, SkipReason> {
    let about =
        fs::metadata(path).map_err(|error| SkipReason::from_io(&error, "look at the file"))?;
    if about.is_file() {
        return Ok(file_stamp(&about));
    }
    let what = match about.is_dir() {
        true => "a folder",
        false => "a device, pipe or socket",
    };
    Err(SkipReason::new(
        SkipKind::Special,
        format!("it is {what} and not a file; remove it from the source"),
    ))
}

pub(crate) fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
    let stamp = regular_file(path)?;
    limits.check_item(stamp.bytes)?;
    let doing = "read the file";
    let file = fs::File::open(path).map_err(|error| SkipReason::from_io(&error, doing))?;
    limits.read_item(file, stamp.bytes.saturating_add(1), doing)
}
