use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::{Holder, Upserted};

/// Whatever can go wrong with a gallery. Every message says what was being done to what, and what
/// to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GalleryError {
    /// There is nothing at this place.
    #[error("there is no gallery at {}; create one, or check the name", path.display())]
    NotFound {
        /// The place that was asked for.
        path: PathBuf,
    },
    /// Something is there, but it is no gallery.
    #[error("{} is not a gallery: {reason}", path.display())]
    NotAGallery {
        /// The place that was asked for.
        path: PathBuf,
        /// What was found or missing.
        reason: String,
    },
    /// A new gallery was to be made where something already is.
    #[error(
        "cannot make a new gallery at {}: something is already there; open it, or choose another name",
        path.display()
    )]
    AlreadyExists {
        /// The place that is taken.
        path: PathBuf,
    },
    /// The gallery was written in a format that this version does not know.
    #[error(
        "the gallery {} has format {found}, this version of lookalike reads format {supported}; \
         use the version that wrote it, or index the collection anew",
        path.display()
    )]
    Version {
        /// The gallery.
        path: PathBuf,
        /// The format it says it has.
        found: u64,
        /// The format that is read here.
        supported: u64,
    },
    /// A file of the gallery cannot be understood.
    #[error(
        "the gallery {} is damaged: {detail}; restore it from a backup, or delete the folder and index \
         the collection anew",
        path.display()
    )]
    Damaged {
        /// The gallery.
        path: PathBuf,
        /// Which part, and what is wrong with it.
        detail: String,
    },
    /// Another process has the gallery open.
    #[error(
        "the gallery {} is in use by {}; wait until it has finished, or stop it",
        path.display(),
        holder.as_ref().map_or_else(|| "another process".to_owned(), Holder::to_string)
    )]
    InUse {
        /// The gallery.
        path: PathBuf,
        /// Who holds it, where it left its name.
        holder: Option<Holder>,
    },
    /// The gallery was to be changed, and is on a disk or in a folder that cannot be written.
    #[error(
        "the gallery {} can only be read: {doing} needs a folder that can be written; allow writing there, or copy the \
         gallery to another place",
        path.display()
    )]
    ReadOnly {
        /// What was being done.
        doing: &'static str,
        /// The gallery.
        path: PathBuf,
    },
    /// The gallery was made for something else than what it is now asked to hold.
    #[error(
        "the gallery {} does not fit: {differences}; use the model it was made with, or make a gallery \
         under another name",
        path.display()
    )]
    Mismatch {
        /// The gallery.
        path: PathBuf,
        /// Every difference, both sides named.
        differences: String,
    },
    /// A code has another length than the gallery's codes.
    #[error(
        "{what} has {found} dimensions, the codes of this gallery have {expected}; was it encoded with \
         another model?"
    )]
    Dimensions {
        /// Which code.
        what: String,
        /// Its length.
        found: usize,
        /// The length of the gallery's codes.
        expected: usize,
    },
    /// A code holds values that cannot be compared.
    #[error(
        "{what} holds {value} at position {position}, which cannot be compared; the model that made it \
         has probably diverged"
    )]
    BadCode {
        /// Which code.
        what: String,
        /// Where in the code.
        position: usize,
        /// The value found there.
        value: f32,
    },
    /// A request that makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The disk has no room for what was to be written.
    #[error(
        "the disk is full: {doing} in {} needs about {needed} bytes, {free} are free; make room and \
         try again: what was stored already is kept",
        path.display()
    )]
    DiskFull {
        /// What was being done.
        doing: &'static str,
        /// The gallery.
        path: PathBuf,
        /// An estimate of the bytes needed.
        needed: u64,
        /// The bytes that are free.
        free: u64,
    },
    /// Diffusion was asked for, and the gallery has no graph.
    #[error(
        "the gallery {name} has no neighbour graph to diffuse on; build one, or search without re-ranking"
    )]
    NoDiffusion {
        /// The gallery.
        name: String,
    },
    /// The neighbour graph of the gallery cannot be used. The points are not concerned.
    #[error(
        "the neighbour graph {} is damaged: {detail}; build it again, or search without re-ranking",
        path.display()
    )]
    DamagedDiffusion {
        /// The graph's file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The engine behind the gallery failed.
    #[error("{doing} in the gallery {}: {detail}", path.display())]
    Engine {
        /// What was being done.
        doing: String,
        /// The gallery.
        path: PathBuf,
        /// The engine's own words.
        detail: String,
    },
    /// The nodes of a cluster did not answer, or only that they cannot now, however often they were
    /// asked.
    #[error(
        "the cluster of the gallery {} could not be reached for {doing}, {attempts} times: {detail}; check that \
         its nodes run and try again: what was stored already is kept",
        path.display()
    )]
    Unreachable {
        /// What was being done.
        doing: String,
        /// The gallery.
        path: PathBuf,
        /// How often it was tried.
        attempts: usize,
        /// The last answer.
        detail: String,
    },
    /// A cluster wants a key, or another one.
    #[error(
        "the cluster of the gallery {} refuses: {detail}; give its API key in LOOKALIKE_QDRANT_API_KEY, or a file's \
         name in LOOKALIKE_QDRANT_API_KEY_FILE",
        path.display()
    )]
    Refused {
        /// The gallery.
        path: PathBuf,
        /// The cluster's own words.
        detail: String,
    },
    /// Something that a gallery on a cluster cannot do.
    #[error("the gallery {name} is on a cluster: {detail}")]
    NotOnCluster {
        /// The gallery.
        name: String,
        /// What cannot be done, and what can be done instead.
        detail: String,
    },
    /// A gallery on a cluster, asked of a build that leaves clusters out.
    #[error(
        "the gallery {name} is on a cluster, and this build of lookalike knows only folders; use one that was built with \
         the feature `cluster`"
    )]
    WithoutClusters {
        /// The gallery.
        name: String,
    },
    /// A cluster did not take some points, however often it was asked. The others are stored.
    #[error(
        "{} of {of} points could not be stored in the gallery {}: {}; try again: only what is missing is stored",
        failed.len(),
        path.display(),
        failed.first().map_or("", |(_, why)| why)
    )]
    NotStored {
        /// The gallery.
        path: PathBuf,
        /// How many were to be stored.
        of: usize,
        /// Those that were not, each with the reason.
        failed: Vec<(Uuid, String)>,
        /// What was done to the others.
        stored: Upserted,
    },
    /// An earlier failure has left the open gallery in a state that cannot be relied on.
    #[error(
        "the gallery {} was closed after an earlier error; open it again, what was stored is kept",
        path.display()
    )]
    Closed {
        /// The gallery.
        path: PathBuf,
    },
    /// Reading or writing a file failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl GalleryError {
    /// For `map_err` on file operations.
    pub(crate) fn io(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| GalleryError::Io {
            doing,
            path,
            source,
        }
    }
}
