//! The library's errors as exceptions. Their classes are Python's own (`lookalike/errors.py`), so
//! that each can also be what Python calls such an error: a `ValueError`, a `FileNotFoundError`.

use std::io::ErrorKind;

use lookalike::autoencoder::AutoencoderError;
use lookalike::gallery::GalleryError;
use lookalike::sources::SourceError;
use lookalike::{Error, PretrainedError};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// An exception of one of the classes of `lookalike.errors`.
pub fn raise(py: Python<'_>, class: &str, message: impl Into<String>) -> PyErr {
    let message = message.into();
    let found = py
        .import("lookalike.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| Ok(class.cast_into::<PyType>()?));
    match found {
        Ok(class) => PyErr::from_type(class, message),
        // Only where the package is broken; the message still says what happened.
        Err(_) => PyRuntimeError::new_err(message),
    }
}

/// The exception that an error of the library is.
pub fn exception(py: Python<'_>, error: impl Into<Error>) -> PyErr {
    let error = error.into();
    raise(py, class_of(&error), error.to_string())
}

fn class_of(error: &Error) -> &'static str {
    match error {
        Error::Source(error) if is_missing(error) => "SourceNotFoundError",
        Error::Source(_)
        | Error::Collection(_)
        | Error::NoneReadable { .. }
        | Error::PartlyListed { .. }
        | Error::Emptied { .. } => "SourceError",
        Error::Image(_) | Error::Unreadable(_) => "ImageError",
        Error::Autoencoder(error) => class_of_autoencoder(error),
        Error::Pretrained(PretrainedError::Read { source, .. })
            if source.kind() == ErrorKind::NotFound =>
        {
            "ModelNotFoundError"
        }
        Error::Pretrained(_) | Error::BadEncoder { .. } => "ModelError",
        Error::Gallery(error) => class_of_gallery(error),
        Error::WrongModel { .. }
        | Error::ModelNotKept { .. }
        | Error::EncoderUnknown { .. }
        | Error::EncoderGone { .. }
        | Error::EncoderChanged { .. }
        | Error::OtherReading { .. } => "GalleryMismatchError",
        Error::NoSuchImage { .. } => "NoSuchImageError",
        Error::NoImage { .. }
        | Error::NotOneImage { .. }
        | Error::NoText
        | Error::OriginalGone { .. }
        | Error::NoSuchSearch { .. }
        | Error::Unusable(_) => "QueryError",
        Error::UnknownSource { .. }
        | Error::CannotMove { .. }
        | Error::SearchNameTaken { .. }
        | Error::FewLabels { .. }
        | Error::OwnGroups { .. }
        | Error::NoAutoencoder
        | Error::NoOriginals { .. }
        | Error::TooManyOnCluster { .. }
        | Error::TooManyPictures { .. }
        | Error::DamagedRules { .. }
        | Error::DamagedMap { .. } => "GalleryError",
        Error::Io { .. } | Error::Full { .. } => "FileError",
        _ => "LookalikeError",
    }
}

/// Whether there is no file or folder of a source's name.
fn is_missing(error: &SourceError) -> bool {
    match error {
        SourceError::Spec { reason, .. } => reason.starts_with("there is no such file or folder"),
        SourceError::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

fn class_of_autoencoder(error: &AutoencoderError) -> &'static str {
    match error {
        AutoencoderError::Unknown(_)
        | AutoencoderError::Setting { .. }
        | AutoencoderError::Device(_)
        | AutoencoderError::Precision(_) => "ParameterError",
        AutoencoderError::Data(_) => "SourceError",
        AutoencoderError::Model { .. } => "ModelError",
        AutoencoderError::Checkpoint { .. } => "CheckpointError",
        AutoencoderError::Diverged { .. } | AutoencoderError::Stopped { .. } => "TrainingError",
        AutoencoderError::Io { action, source, .. }
            if *action == "read" && source.kind() == ErrorKind::NotFound =>
        {
            "ModelNotFoundError"
        }
        AutoencoderError::Io { .. } => "FileError",
        _ => "LookalikeError",
    }
}

fn class_of_gallery(error: &GalleryError) -> &'static str {
    match error {
        GalleryError::NotFound { .. } => "GalleryNotFoundError",
        GalleryError::AlreadyExists { .. } => "GalleryExistsError",
        GalleryError::InUse { .. } => "GalleryInUseError",
        GalleryError::Mismatch { .. } => "GalleryMismatchError",
        GalleryError::ReadOnly { .. } => "GalleryReadOnlyError",
        GalleryError::DiskFull { .. } | GalleryError::Io { .. } => "GalleryFileError",
        GalleryError::BadRequest(_)
        | GalleryError::Dimensions { .. }
        | GalleryError::BadCode { .. } => "QueryError",
        _ => "GalleryError",
    }
}
