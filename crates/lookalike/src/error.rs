//! Any part's error, and those of joining the parts.

use lookalike_autoencoder::AutoencoderError;
use lookalike_eval::EvalError;
use lookalike_gallery::GalleryError;
use lookalike_images::{CollectionError, ImageError};
use lookalike_neighbours::CodesError;
use lookalike_pretrained::PretrainedError;
use lookalike_sources::SourceError;
use uuid::Uuid;

/// Why one of the crate's steps failed.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source could not be opened or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Images do not make a collection.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// A picture could not be decoded, drawn or written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A model could not be trained, read or used.
    #[error(transparent)]
    Autoencoder(#[from] AutoencoderError),
    /// An encoder that others have trained could not be opened or used.
    #[error(transparent)]
    Pretrained(#[from] PretrainedError),
    /// A gallery could not be opened, changed or searched.
    #[error(transparent)]
    Gallery(#[from] GalleryError),
    /// Codes could not be scored.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// An encoder gave codes that cannot be compared.
    #[error(transparent)]
    Codes(#[from] CodesError),
    /// A file of the program's own could not be written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// "write", "make the folder" and the like.
        action: &'static str,
        /// The file or folder.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file could not be written because the disk is full.
    #[error(
        "cannot write {path}: the disk is full ({source}); make room, or write to another disk. What was there before is as it was"
    )]
    Full {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Nothing was pruned, because folders list nothing any more that had images.
    #[error(
        "nothing was pruned: {source_name} has images in the gallery, and now lists none in {}, as a folder does whose disk is not mounted; mount it, or say that it is meant and prune what is empty as well",
        listed(folders)
    )]
    Emptied {
        /// The source.
        source_name: String,
        /// The outermost folders that list nothing, each with how many images of it are in the
        /// gallery.
        folders: Vec<(String, usize)>,
    },
    /// Indexing was told to stop.
    #[error(
        "indexing {source_name} was stopped; run it again to complete it, what was stored stays stored"
    )]
    Stopped {
        /// The source.
        source_name: String,
    },
    /// The gallery has no point with this id.
    #[error("the gallery has no image with the id {id}")]
    NoSuchImage {
        /// The id.
        id: Uuid,
    },
    /// A region of a point was to be looked at, and neither its original nor a thumbnail is there.
    #[error(
        "the original of {key} is gone, and no thumbnail was kept: search with the whole image, by its code"
    )]
    OriginalGone {
        /// The point's key.
        key: String,
    },
    /// What was asked for cannot be done because of what is there; the message says what is in the
    /// way.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for cannot be done; the message says what can.
    #[error("{0}")]
    Unusable(String),
}

/// Folders that are named in a message.
const NAMED: usize = 5;

fn listed(folders: &[(String, usize)]) -> String {
    let mut named: Vec<String> = folders
        .iter()
        .take(NAMED)
        .map(|(folder, images)| format!("{folder} ({images} in the gallery)"))
        .collect();
    if folders.len() > NAMED {
        named.push(format!("{} more folders", folders.len() - NAMED));
    }
    named.join(", ")
}

impl Error {
    /// For a failed file operation.
    pub fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// For a file that could not be written: a full disk is called that, with what to do about it.
    pub fn unwritten(path: &std::path::Path, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => Self::Full {
                path: path.display().to_string(),
                source: error,
            },
            _ => Self::io("write", path)(error),
        }
    }
}
