//! Containers of images for Lookalike: from a name to bytes, one image at a time.
//!
//! # Overview
//!
//! [`open`] makes a [`Source`] from what a user typed: a folder, an archive (zip, tar, tar.gz,
//! tar.zst), a table (Parquet, CSV, TSV, JSON lines), a pattern of many, an address in an object
//! store, or a data set of pixels ([IDX](idx), [MNIST](mnist)). A source lists [`Entry`]s: keys,
//! labels, payload, and either the bytes of a picture file, which are read when they are asked for,
//! by any thread, or [raw pixels](RawPixels). Decoding is another crate's business.
//!
//! Nothing is unpacked to disk, and no container is held in memory. What cannot be read is a
//! [`Skipped`] with a [`SkipKind`], and the reading goes on; only what makes all of a source
//! unreadable is a [`SourceError`]. Bytes from outside never panic and never make memory be taken
//! that they merely promise; [`Limits`] bound what they can cost.
//!
//! | source | key | read when asked | stamp |
//! |---|---|---|---|
//! | folder | path in the folder; `#2` behind it for the second page of a TIFF file | yes | size, time |
//! | zip | path in the archive | yes | size, time |
//! | tar on this machine | path in the archive | yes | size, time |
//! | tar packed or remote | path in the archive | no: on the way past | size, time |
//! | Parquet | number of the row, from 0 | no: a page at a time | size, the file's time |
//! | IDX, MNIST | number of the image, from 0 | no: pixels, on the way past | none |
//! | CSV, TSV, JSON lines | the row's path | yes | size, time; none if remote |
//! | object store | path below the address | yes, a few ahead | size, time |
//! | many by a pattern | the shard's name, `/`, the key in it | as the shard | as the shard |
//!
//! Which files are images is told by their names (jpg, jpeg, jpe, jfif, png, webp, gif, bmp, tif,
//! tiff, avif, heic, heif, jxl, in any case); others are ignored, except in lists, where the list
//! decides. In archives `000017.cls` and `000017.json` beside `000017.jpg` are its label and its
//! payload, as in WebDataset.
//!
//! [`Part`] divides any source among machines, [`sample`] chooses fairly from one whose length
//! nobody knows.
//!
//! The Cargo features `parquet` and `remote` (addresses), both on by default, bring these kinds of
//! sources. Without its feature, such a source is an error that names it.
//!
//! # Example
//!
//! ```
//! use lookalike_sources::{Limits, SourceOptions, open};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! std::fs::create_dir(folder.join("cats"))?;
//! std::fs::write(folder.join("cats/tom.jpg"), b"not decoded here")?;
//! std::fs::write(folder.join("cats/none.png"), b"")?;
//!
//! let source = open(folder.to_str().unwrap(), &SourceOptions::default())?;
//! let (entries, skipped): (Vec<_>, Vec<_>) = source.entries()?.partition(Result::is_ok);
//! let entry = entries.into_iter().flatten().next().unwrap();
//! assert_eq!(entry.key, "cats/tom.jpg");
//! assert_eq!(entry.label.as_deref(), Some("cats"));
//! assert_eq!(entry.read(&Limits::default())?, b"not decoded here");
//! assert_eq!(skipped.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blob;
mod download;
mod entry;
mod error;
mod folder;
mod glob;
pub mod idx;
mod in_memory;
mod index;
mod limits;
pub mod mnist;
mod names;
mod open;
#[cfg(feature = "parquet")]
mod parquet;
mod part;
mod paths;
#[cfg(feature = "remote")]
mod remote;
mod sample;
mod samples;
mod seen;
mod shards;
mod single;
mod skipped;
mod source;
mod table;
mod tar;
mod tiff_pages;
mod zip;

pub use download::DownloadProgress;
pub use entry::{Content, Entry, Lazy, RawPixels, Stamp};
pub use error::SourceError;
pub use in_memory::InMemory;
pub use limits::Limits;
pub use names::is_image_name;
pub use open::{SOURCES, open, open_bytes};
pub use part::{Part, PartNumber};
pub use paths::existing;
pub use sample::{Drawing, Rank, sample};
pub use skipped::{SkipKind, SkipReason, Skipped};
pub use source::{Entries, LabelFrom, Source, SourceOptions, Wanted};
pub use tiff_pages::has_further_pages;
