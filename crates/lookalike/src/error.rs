//! Any part's error, and those of joining the parts.

use std::path::PathBuf;

use lookalike_autoencoder::AutoencoderError;
use lookalike_eval::EvalError;
use lookalike_gallery::GalleryError;
use lookalike_images::{CollectionError, ImageError};
use lookalike_neighbours::CodesError;
use lookalike_pretrained::PretrainedError;
use lookalike_sources::{Skipped, SourceError};
use uuid::Uuid;

use crate::opening::short;

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
        "nothing was pruned: {source_name} has images in the gallery, but these folders are empty now: {}; if a disk is not mounted, mount it; if they are meant to be empty, prune emptied folders as well",
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
    /// Choosing the changes that images are learned with was told to stop.
    #[error(
        "training on {source_name} was stopped while it looked which changes suit the images; run it again from the start"
    )]
    ChoosingStopped {
        /// The source.
        source_name: String,
    },
    /// Comparing a model with simple descriptors was told to stop.
    #[error("comparing the model with simple descriptors was stopped; the model is finished")]
    ComparingStopped,
    /// Encoding with a teacher was told to stop.
    #[error(
        "the teacher was stopped when it had encoded {encoded} images of {source_name}, before training began; run it again from the start"
    )]
    TeacherStopped {
        /// The source.
        source_name: String,
        /// Images that it had encoded.
        encoded: usize,
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
    /// An image cannot be read or decoded.
    #[error("{0}")]
    Unreadable(Box<Skipped>),
    /// No image of a source can be read.
    #[error("no image of {source_name} can be read; the first, {}: {}", first.location, first.reason)]
    NoneReadable {
        /// The source.
        source_name: String,
        /// Why the first of them cannot be read.
        first: Box<Skipped>,
    },
    /// What was to be searched with holds or names no image.
    #[error("{spec} {} no image", if spec.contains('#') { "names" } else { "holds" })]
    NoImage {
        /// As it was named.
        spec: String,
    },
    /// What was to be searched with is many images, where one is wanted.
    #[error("{spec} is a whole collection; name one image of it: {spec}#{key}")]
    NotOneImage {
        /// As it was named.
        spec: String,
        /// The key of one of them.
        key: String,
    },
    /// The encoder has learned from pictures alone.
    #[error(
        "this encoder has learned from pictures alone and knows no words: ask with a picture, or use a gallery of a pretrained encoder with a text model"
    )]
    NoText,
    /// What was to be scored by labels has an image without one.
    #[error(
        "cannot score{}: image {image} has no label, and an answer is right when its label is the query's",
        collection.as_ref().map_or_else(String::new, |name| format!(" {name}"))
    )]
    Unlabelled {
        /// The collection, if it has a name.
        collection: Option<String>,
        /// The image's key.
        image: String,
    },
    /// Codes of another model than the gallery's.
    #[error(
        "the gallery {gallery} was made with model {}, {others}: {advice}",
        short(model)
    )]
    WrongModel {
        /// The gallery.
        gallery: String,
        /// The fingerprint of its own model.
        model: String,
        /// What was given instead, in words.
        others: String,
        /// What to do.
        advice: &'static str,
    },
    /// A gallery on a cluster was opened without its model, which it does not keep.
    #[error(
        "the gallery {gallery} is on a cluster and keeps only its model's fingerprint, {}: name its file",
        short(model)
    )]
    ModelNotKept {
        /// The gallery.
        gallery: String,
        /// The model's fingerprint.
        model: String,
    },
    /// A gallery was opened without its pretrained encoder, and does not know where that is.
    #[error(
        "the gallery {gallery} was made for a pretrained encoder and does not know where it is: name its folder or file"
    )]
    EncoderUnknown {
        /// The gallery.
        gallery: String,
    },
    /// The pretrained encoder is no longer where it was.
    #[error(
        "the gallery's pretrained encoder was at {} and is not there any more: name its folder or file",
        path.display()
    )]
    EncoderGone {
        /// Where it was.
        path: PathBuf,
    },
    /// The files of a gallery's pretrained encoder are others now.
    #[error(
        "the files of the gallery {gallery}'s encoder have changed since it was made ({encoder}): restore them, or index into a new gallery"
    )]
    EncoderChanged {
        /// The gallery.
        gallery: String,
        /// The encoder, in words.
        encoder: String,
    },
    /// An encoder gave something else than a code for each picture.
    #[error(
        "the encoder ({encoder}) gave {floats} floats for {pictures} pictures, whose codes have {dims} each: it cannot be used"
    )]
    BadEncoder {
        /// The encoder, in words.
        encoder: String,
        /// What it gave.
        floats: usize,
        /// For so many pictures.
        pictures: usize,
        /// Floats that a code should have.
        dims: usize,
    },
    /// Reconstructions were asked for without an autoencoder.
    #[error(
        "cannot rank by reconstruction: the gallery's encoder is not an autoencoder, or was not given; rank by neighbours"
    )]
    NoAutoencoder,
    /// Reconstructions were asked for, and all originals are gone.
    #[error(
        "cannot rank by reconstruction: not one of {contents} originals can be read ({reason}); put them back, or rank by neighbours"
    )]
    NoOriginals {
        /// Contents whose originals were looked for.
        contents: usize,
        /// Why one of them cannot be read.
        reason: String,
    },
    /// More points of a cluster than are read into memory at once.
    #[error(
        "{points} points of {gallery} would have to be read from the cluster at once, and no more than {max} are: let a filter choose, where one can be given"
    )]
    TooManyOnCluster {
        /// The gallery.
        gallery: String,
        /// Points that it has.
        points: usize,
        /// The most that are read.
        max: usize,
    },
    /// More different pictures than can be compared with each other.
    #[error(
        "the gallery {gallery} has more different pictures than can be compared with each other, {max}: choose some by a filter"
    )]
    TooManyPictures {
        /// The gallery.
        gallery: String,
        /// The most that can be compared.
        max: u32,
    },
    /// Neighbours cannot suggest labels.
    #[error(
        "cannot suggest labels in the gallery {gallery}: fewer than two different images have one; give some, or index \
         images with labels"
    )]
    FewLabels {
        /// The gallery.
        gallery: String,
    },
    /// No search of this name is kept.
    #[error("no search is kept under the name '{name}'; kept are: {kept}")]
    NoSuchSearch {
        /// The name.
        name: String,
        /// The names that there are.
        kept: String,
    },
    /// A search cannot be given a name that another has.
    #[error("a search is kept under the name '{name}' already: choose another, or delete that one")]
    SearchNameTaken {
        /// The name.
        name: String,
    },
    /// Groups cannot be kept where the images' source has a field of that name.
    #[error(
        "cannot keep groups in the gallery {gallery}: {image} has a field `group` from its source, which they would replace; \
         rename it there and index again, or write the groups to a file"
    )]
    OwnGroups {
        /// The gallery.
        gallery: String,
        /// An image with such a field.
        image: String,
    },
    /// The gallery has no images of this source.
    #[error(
        "the gallery {gallery} has no source {source_name}{}",
        match known.is_empty() {
            true => ": it is empty".to_owned(),
            false => format!("; its sources are {}", known.join(", ")),
        }
    )]
    UnknownSource {
        /// The gallery.
        gallery: String,
        /// The source, as it was named.
        source_name: String,
        /// The sources that it has.
        known: Vec<String>,
    },
    /// A source cannot be said to be at another path.
    #[error("cannot move the source {source_name} to {to}: {reason}")]
    CannotMove {
        /// The source.
        source_name: String,
        /// The path.
        to: String,
        /// What is in the way, and what to do.
        reason: String,
    },
    /// Nothing was pruned, because part of the source could not be listed.
    #[error(
        "nothing was pruned: part of {source_name} could not be listed, and what is in it is not gone; see what was passed over, mend it and run again"
    )]
    PartlyListed {
        /// The source.
        source_name: String,
    },
    /// Pictures were to be read in another way than those of the gallery.
    #[error(
        "the pictures of the gallery {gallery} were read with {what} {kept}, asked for is {asked}: pictures that are \
         read otherwise cannot be compared with them; leave it out, or index into a new gallery"
    )]
    OtherReading {
        /// The gallery.
        gallery: String,
        /// The rule.
        what: &'static str,
        /// As the gallery has it.
        kept: String,
        /// As it was asked for.
        asked: String,
    },
    /// What a gallery keeps of how its pictures are read is damaged.
    #[error(
        "what the gallery {gallery} says of how its pictures are read cannot be understood ({reason}): restore it from \
         a backup, or index the collection anew"
    )]
    DamagedRules {
        /// The gallery.
        gallery: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of a map is damaged, of another version, or no map.
    #[error(
        "{file} cannot be read as a map of a gallery: {reason}. Remove it, and lay the gallery out again"
    )]
    DamagedMap {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A gallery was to be copied to itself.
    #[error("cannot copy {gallery} to itself: give another name")]
    CopyToItself {
        /// The gallery.
        gallery: String,
    },
    /// Codes of one gallery do not fit another.
    #[error("cannot copy {from} to {to}: the one has codes of {own}, the other of {other}")]
    CopyMismatch {
        /// The gallery that is copied.
        from: String,
        /// The one that it is copied to.
        to: String,
        /// The codes of the one, in words.
        own: String,
        /// The codes of the other.
        other: String,
    },
    /// A copy has points that what is copied does not have.
    #[error(
        "{to} has {points} points that {from} does not have, {first} among them: prune them, or give another name"
    )]
    CopyHasMore {
        /// The gallery that is copied.
        from: String,
        /// The copy.
        to: String,
        /// Points of its own.
        points: usize,
        /// One of them.
        first: Uuid,
    },
    /// Galleries went on changing while one was copied to the other.
    #[error(
        "{from} and {to} were not the same after {rounds} rounds of copying: others change them meanwhile; run it again when they do not"
    )]
    CopyUnsettled {
        /// The gallery that is copied.
        from: String,
        /// The copy.
        to: String,
        /// How often they were compared.
        rounds: usize,
    },
    /// An image was to be replaced that was not added one by one.
    #[error(
        "{key} belongs to the source {source_name}: change it there and index that again; only images that were added one by one can be replaced one by one"
    )]
    NotAnUpload {
        /// The image's key.
        key: String,
        /// Its source.
        source_name: String,
    },
    /// An image cannot be added under a label, because a file is called so.
    #[error(
        "the label '{label}' cannot be used: an image that was added without a label has this name; choose another"
    )]
    LabelTaken {
        /// The label.
        label: String,
    },
    /// An image cannot be added under a label that is no name of a folder.
    #[error(
        "the label '{label}' cannot be used: a label is 1 to {max} bytes without / \\ : * ? \" < > | and control or direction characters, does not begin or end with a dot or a space, and is no name of a device such as CON"
    )]
    BadLabel {
        /// The label, its beginning.
        label: String,
        /// Bytes that it may have.
        max: usize,
    },
    /// A folder cannot be followed.
    #[error("cannot follow {}: {reason}", folder.display())]
    CannotWatch {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
    /// An argument makes no sense, or two contradict each other; the message says what does.
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
