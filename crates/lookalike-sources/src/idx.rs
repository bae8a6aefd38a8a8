//! IDX, the format of MNIST and its relatives.
//!
//! A file is a magic number `00 00 08 d` (unsigned bytes, `d` dimensions), `d` big-endian `u32`
//! sizes and the bytes, the last dimension varying fastest; often the whole is packed with gzip,
//! which is seen from the content and not from the name. Images have three dimensions (count x
//! height x width) or four (count x height x width x channels), labels one.
//!
//! [`IdxImages`] and [`IdxLabels`] parse any [`Read`] as a stream: memory is taken for bytes that
//! have come, never for bytes that a header promises. [`Idx`] is the two files of a data set as a
//! [`Source`].

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::entry::{Content, Entry, RawPixels};
use crate::error::SourceError;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{Entries, LabelFrom, Source};

mod stream;

use stream::Stream;

/// The longest side of an image, in pixels.
const MAX_SIDE: u32 = 65_535;
/// The most bytes one image may have: 64 Mi, so that a small packed file cannot fill the memory.
const MAX_BYTES: u64 = 1 << 26;

/// A file that is not the IDX file it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{file}: at byte {offset}{}: expected {expected}, found {found}",
    if *.unpacked { " of the unpacked content" } else { "" }
)]
pub struct IdxError {
    /// The file.
    pub file: String,
    /// Where in its content; after unpacking, if it is packed.
    pub offset: u64,
    /// Whether the content was packed with gzip.
    pub unpacked: bool,
    /// What should have been there.
    pub expected: String,
    /// What was there.
    pub found: String,
}

/// The images of an IDX file, one after another.
///
/// After the last image the iterator checks that nothing follows it. After an error it is at its
/// end.
pub struct IdxImages<R: Read> {
    stream: Stream<R>,
    count: usize,
    shape: IdxShape,
    left: usize,
    ended: bool,
}

/// The shape of every image of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdxShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
}

impl IdxShape {
    /// Bytes of one image.
    pub fn bytes(self) -> usize {
        self.height * self.width * self.channels
    }
}

impl<R: Read> IdxImages<R> {
    /// Reads the header; `file` is the name for errors.
    ///
    /// # Errors
    ///
    /// When it is not an IDX file of unsigned bytes with three or four dimensions, when a dimension
    /// is zero, or when the sizes overflow.
    pub fn new(reader: R, file: &str) -> Result<Self, IdxError> {
        let mut stream = Stream::new(reader, file)?;
        let expected = "the magic number 00 00 08 03 or 00 00 08 04 of IDX images";
        let magic = stream.magic(expected)?;
        let channels_follow = match magic {
            [0, 0, 8, 3] => false,
            [0, 0, 8, 4] => true,
            _ => return Err(stream.error_at(0, expected, describe_magic(magic))),
        };
        let count = stream.dimension("the number of images", u32::MAX)?;
        let height = stream.dimension("the height", MAX_SIDE)?;
        let width = stream.dimension("the width", MAX_SIDE)?;
        let channels = match channels_follow {
            true => stream.dimension("the number of channels", u32::MAX)?,
            false => 1,
        };
        if channels != 1 && channels != 3 {
            return Err(stream.error_at(16, "1 or 3 channels", channels));
        }
        // Sides are at most 65,535, so this cannot overflow.
        let bytes = u64::from(height) * u64::from(width) * u64::from(channels);
        if bytes > MAX_BYTES {
            return Err(stream.error_at(
                8,
                format!("images of at most {MAX_BYTES} bytes"),
                format!("{height} x {width} x {channels} = {bytes} bytes"),
            ));
        }
        if bytes
            .checked_mul(u64::from(count))
            .is_none_or(|all| all > i64::MAX as u64)
        {
            return Err(stream.error_at(
                4,
                "a size that a file can have",
                format!("{count} x {bytes} bytes"),
            ));
        }
        Ok(Self {
            stream,
            count: count as usize,
            shape: IdxShape {
                height: height as usize,
                width: width as usize,
                channels: channels as usize,
            },
            left: count as usize,
            ended: false,
        })
    }

    /// The number of images that the header promises.
    pub fn promised(&self) -> usize {
        self.count
    }

    /// The shape of every image.
    pub fn shape(&self) -> IdxShape {
        self.shape
    }

    /// Passes over up to `images` images.
    ///
    /// # Errors
    ///
    /// When the file ends before.
    pub fn pass(&mut self, images: usize) -> Result<(), IdxError> {
        let images = images.min(self.left);
        self.left -= images;
        let what = "the bytes of the images that the header promises";
        self.stream
            .pass(images as u64 * self.shape.bytes() as u64, what)
    }

    fn bytes_in_all(&self) -> u64 {
        self.stream.offset + self.count as u64 * self.shape.bytes() as u64
    }
}

impl<R: Read> Iterator for IdxImages<R> {
    type Item = Result<RawPixels, IdxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let shape = self.shape;
        let answer = match self.left.checked_sub(1) {
            None => self.stream.end("images").err().map(Err),
            Some(left) => {
                let number = self.count - self.left;
                self.left = left;
                Some(self.stream.block(shape.bytes(), || {
                    format!("image {number} of {}", self.count)
                }))
            }
        };
        self.ended = !matches!(answer, Some(Ok(_)));
        Some(answer?.map(|data| RawPixels {
            width: shape.width,
            height: shape.height,
            channels: shape.channels,
            data: data.into(),
        }))
    }
}

/// The labels of an IDX file, one after another; checks at the end as [`IdxImages`] does.
pub struct IdxLabels<R: Read> {
    stream: Stream<R>,
    count: usize,
    left: usize,
    ended: bool,
}

impl<R: Read> IdxLabels<R> {
    /// Reads the header; `file` is the name for errors.
    ///
    /// # Errors
    ///
    /// When it is not an IDX file of unsigned bytes with one dimension, or has no labels.
    pub fn new(reader: R, file: &str) -> Result<Self, IdxError> {
        let mut stream = Stream::new(reader, file)?;
        let expected = "the magic number 00 00 08 01 of IDX labels";
        let magic = stream.magic(expected)?;
        if magic != [0, 0, 8, 1] {
            return Err(stream.error_at(0, expected, describe_magic(magic)));
        }
        let count = stream.dimension("the number of labels", u32::MAX)? as usize;
        Ok(Self {
            stream,
            count,
            left: count,
            ended: false,
        })
    }

    /// The number of labels that the header promises.
    pub fn promised(&self) -> usize {
        self.count
    }

    /// Passes over up to `labels` labels.
    ///
    /// # Errors
    ///
    /// When the file ends before.
    pub fn pass(&mut self, labels: usize) -> Result<(), IdxError> {
        let labels = labels.min(self.left);
        self.left -= labels;
        self.stream
            .pass(labels as u64, "the labels that the header promises")
    }
}

impl<R: Read> Iterator for IdxLabels<R> {
    type Item = Result<u8, IdxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let answer = match self.left.checked_sub(1) {
            None => self.stream.end("labels").err().map(Err),
            Some(left) => {
                let number = self.count - self.left;
                self.left = left;
                Some(
                    self.stream
                        .array(|| format!("label {number} of {}", self.count)),
                )
            }
        };
        self.ended = !matches!(answer, Some(Ok(_)));
        Some(answer?.map(|[label]| label))
    }
}

/// An IDX file of images, with the labels file beside it if there is one.
///
/// The labels file has the same name with `labels` for `images` and `idx1` for `idx3` (or `idx4`),
/// packed or not. Keys are the images' places in the file, counted from 0. A file that breaks off
/// gives the images before, and its rest as passed over.
#[derive(Debug, Clone)]
pub struct Idx {
    name: String,
    images: PathBuf,
    labels: Option<PathBuf>,
    count: usize,
    is_labelled: bool,
}

impl Idx {
    /// Opens the file, reads both headers and compares them with each other and, for a file that is
    /// not packed, with its length.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or is not what it should be, or when there are more or fewer
    /// labels than images.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = path.as_ref();
        let canonical = lookalike_files::canonicalize(path).map_err(|source| SourceError::Io {
            doing: "open",
            path: path.to_owned(),
            source,
        })?;
        let name = canonical.to_string_lossy().into_owned();
        let labels = labels_beside(&canonical);
        Self::open_named(&name, canonical, labels)
    }

    /// Opens two files under the name of a built-in collection.
    pub(crate) fn open_named(
        name: &str,
        images: PathBuf,
        labels: Option<PathBuf>,
    ) -> Result<Self, SourceError> {
        let header = open_images(&images)?;
        let count = header.promised();
        check_length(&images, header.stream.unpacked, header.bytes_in_all())?;
        if let Some(path) = &labels {
            let header = open_labels(path)?;
            check_length(
                path,
                header.stream.unpacked,
                header.stream.offset + header.count as u64,
            )?;
            if header.promised() != count {
                let expected =
                    format!("{count} labels, one for each image of {}", images.display());
                return Err(header
                    .stream
                    .error_at(4, expected, header.promised())
                    .into());
            }
        }
        Ok(Self {
            name: name.to_owned(),
            images,
            labels,
            count,
            is_labelled: true,
        })
    }

    /// Gives images their labels unless they are to have none.
    #[must_use]
    pub fn label_from(self, label: &LabelFrom) -> Self {
        Self {
            is_labelled: *label != LabelFrom::None,
            ..self
        }
    }

    fn read_from(&self, first: usize) -> Result<LabelledImages, SourceError> {
        let mut images = open_images(&self.images)?;
        images.pass(first)?;
        let labels = match &self.labels {
            None => None,
            Some(path) => {
                let mut labels = open_labels(path)?;
                labels.pass(first)?;
                Some(labels)
            }
        };
        Ok(LabelledImages {
            name: self.name.clone(),
            images,
            labels,
            is_labelled: self.is_labelled,
            next: first,
        })
    }
}

impl Source for Idx {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        Some(self.count as u64)
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        Ok(Box::new(self.read_from(0)?))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        let absent = || SourceError::NoSuchImage {
            name: self.name.clone(),
            key: key.to_owned(),
            hint: format!("its images are numbered 0 to {}", self.count - 1),
        };
        let number: usize = key.parse().map_err(|_| absent())?;
        // "+7" and "007" parse too, but a key has one spelling.
        if number >= self.count || number.to_string() != key {
            return Err(absent());
        }
        let entry = self.read_from(number)?.next().ok_or_else(absent)?;
        entry.map_err(SourceError::Skipped)
    }
}

/// Images and labels read in step.
struct LabelledImages {
    name: String,
    images: IdxImages<File>,
    labels: Option<IdxLabels<File>>,
    /// Whether the labels are given to the images; they are read in any case, to be checked.
    is_labelled: bool,
    next: usize,
}

impl Iterator for LabelledImages {
    type Item = Result<Entry, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        // Both are asked at the end too, so that bytes left over in either file are seen.
        let pixels = self.images.next();
        let label = self.labels.as_mut().and_then(Iterator::next).transpose();
        let label = match label {
            Ok(label) => label,
            Err(error) => {
                self.images.ended = true;
                return Some(Err(self.damaged(&error)));
            }
        };
        let pixels = match pixels? {
            Ok(pixels) => pixels,
            Err(error) => return Some(Err(self.damaged(&error))),
        };
        let key = self.next.to_string();
        self.next += 1;
        let label = label.filter(|_| self.is_labelled);
        Some(Ok(Entry {
            location: format!("{}#{key}", self.name),
            key,
            label: label.map(|label| label.to_string()),
            sample: None,
            extra: Default::default(),
            stamp: None,
            content: Content::Pixels(pixels),
        }))
    }
}

impl LabelledImages {
    /// The rest of the file, which cannot be read.
    fn damaged(&self, error: &IdxError) -> Skipped {
        let reason = format!("{error}; copy or download it again");
        Skipped::new("", &self.name, SkipReason::new(SkipKind::Damaged, reason))
    }
}

/// Whether a file is IDX by its name, as MNIST's files are called, or by its beginning: two zeros
/// and the type of its numbers.
pub(crate) fn is_idx(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    let endings = ["-ubyte", "-ubyte.gz", ".idx", ".idx.gz"];
    path.is_file() && (endings.iter().any(|ending| name.ends_with(ending)) || begins_as_idx(path))
}

fn begins_as_idx(path: &Path) -> bool {
    let mut start = [0xff; 3];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == [0, 0, 8]
}

fn open_file(path: &Path) -> Result<File, SourceError> {
    File::open(path).map_err(|source| SourceError::Io {
        doing: "open",
        path: path.to_owned(),
        source,
    })
}

fn open_images(path: &Path) -> Result<IdxImages<File>, SourceError> {
    Ok(IdxImages::new(open_file(path)?, &path.to_string_lossy())?)
}

fn open_labels(path: &Path) -> Result<IdxLabels<File>, SourceError> {
    Ok(IdxLabels::new(open_file(path)?, &path.to_string_lossy())?)
}

/// A file that is not packed tells its length before it is read.
fn check_length(path: &Path, unpacked: bool, expected: u64) -> Result<(), SourceError> {
    let length = match path.metadata() {
        Ok(about) if about.is_file() && !unpacked => about.len(),
        _ => return Ok(()),
    };
    if length == expected {
        return Ok(());
    }
    Err(IdxError {
        file: path.to_string_lossy().into_owned(),
        offset: length.min(expected),
        unpacked,
        expected: format!("{expected} bytes in all, as the header says"),
        found: format!("{length} bytes"),
    }
    .into())
}

/// The labels file that belongs to an images file, if it exists.
fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    if !name.contains("images") {
        return None;
    }
    let name = name
        .replace("images", "labels")
        .replace("idx3", "idx1")
        .replace("idx4", "idx1");
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    [name.clone(), plain.to_owned(), format!("{plain}.gz")]
        .into_iter()
        .map(|name| images.with_file_name(name))
        .find(|path| path.is_file())
}

fn describe_magic(magic: [u8; 4]) -> String {
    let [a, b, c, d] = magic;
    let meaning = match magic {
        [0, 0, 8, 1] => " (IDX labels)",
        [0, 0, 8, 3 | 4] => " (IDX images)",
        [0, 0, 8..=14, _] => " (IDX with values of another type or number of dimensions)",
        [0x89, b'P', b'N', b'G'] => " (a PNG picture)",
        [b'P', b'K', ..] => " (a zip archive)",
        _ => "",
    };
    format!("{a:02x} {b:02x} {c:02x} {d:02x}{meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_files_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (images, labels) in [
            ("a-images-idx3-ubyte", "a-labels-idx1-ubyte.gz"),
            ("b-images-idx4-ubyte.gz", "b-labels-idx1-ubyte"),
            ("c-images.idx3-ubyte", "c-labels.idx1-ubyte"),
        ] {
            assert_eq!(labels_beside(&path(images)), None);
            std::fs::write(path(labels), b"").unwrap();
            assert_eq!(labels_beside(&path(images)), Some(path(labels)));
        }
        assert_eq!(labels_beside(&path("digits.idx")), None);
    }

    #[test]
    fn passing_over_counts_what_is_there() {
        let bytes: Vec<u8> = [
            0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6,
        ]
        .into();
        let mut images = IdxImages::new(&bytes[..], "a").unwrap();
        images.pass(2).unwrap();
        assert_eq!(images.next().unwrap().unwrap().data, [5_u8, 6][..]);
        assert!(images.next().is_none());

        let mut images = IdxImages::new(&bytes[..19], "a").unwrap();
        let error = images.pass(2).unwrap_err();
        assert_eq!(error.offset, 19, "{error}");
    }
}
