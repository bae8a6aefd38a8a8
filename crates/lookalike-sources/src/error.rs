//! What makes a whole source unreadable.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::idx::IdxError;
use crate::skipped::Skipped;

/// What makes a whole source unreadable, or one asked-for image of it unobtainable.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The text that should name a source names none.
    #[error("cannot open {spec:?}: {reason}")]
    Spec {
        /// The source as it was typed.
        spec: String,
        /// Why it cannot be opened, and what can.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done: "open", "list".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
    /// A container of which nothing can be read.
    #[error("cannot read {name} as {format}: {reason}")]
    Container {
        /// The container's name.
        name: String,
        /// What it should be, with its article: "a zip archive".
        format: &'static str,
        /// What is wrong with it, and what to do next.
        reason: String,
    },
    /// An object store refused.
    #[error("cannot {doing} {name}: {reason}")]
    Remote {
        /// What was being done: "reach", "list", "look at".
        doing: &'static str,
        /// The address.
        name: String,
        /// The store's answer, and what to do next.
        reason: String,
    },
    /// The source has no image with that key.
    #[error("{name} has no image {key:?}: {hint}")]
    NoSuchImage {
        /// The source's name.
        name: String,
        /// The key that was asked for.
        key: String,
        /// What keys there are.
        hint: String,
    },
    /// Two images of one source have the same key.
    #[error("{name} has two images with the key {key:?}; keys must be unique: rename one")]
    DuplicateKey {
        /// The source's name.
        name: String,
        /// The key that came twice.
        key: String,
    },
    /// The source has an item with that key, but it is passed over.
    #[error("cannot read the image {:?}: {}: {}", .0.key, .0.location, .0.reason)]
    Skipped(Skipped),
    /// A part that does not exist.
    #[error("there is no part {given:?}: write it as 1/4, the first of four, up to 4/4")]
    Part {
        /// What was given.
        given: String,
    },
    /// An IDX file is damaged, truncated or lies about its size.
    #[error(transparent)]
    Idx(#[from] IdxError),
    /// No mirror gave a good copy of a file.
    #[error(
        "cannot download {file}; every mirror failed: {}; put the file into a folder yourself and set LOOKALIKE_DATA to \
         that folder",
        failures.join("; ")
    )]
    Download {
        /// The file's name.
        file: String,
        /// For each mirror its address and what went wrong.
        failures: Vec<String>,
    },
    /// There is no folder to keep a download in.
    #[error(
        "{file} is not on this machine and there is no cache folder to download it to; set LOOKALIKE_DATA to a folder that holds it"
    )]
    NoCacheFolder {
        /// The file's name.
        file: String,
    },
}
