//! The library's errors as exceptions. Their classes are Python's own (`lookalike/errors.py`), so
//! that each can also be what Python calls such an error: a `ValueError`, a `FileNotFoundError`.

use lookalike::Error;
use lookalike::autoencoder::AutoencoderError;
use lookalike::gallery::GalleryError;
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
        Error::Source(_)
        | Error::Collection(_)
        | Error::NoneReadable { .. }
        | Error::PartlyListed { .. }
        | Error::Emptied { .. } => "SourceError",
        Error::Image(_) | Error::Unreadable(_) => "ImageError",
        Error::Autoencoder(error) => class_of_autoencoder(error),
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
        | Error::OwnGroups { .. } => "GalleryError",
        _ => "LookalikeError",
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
        AutoencoderError::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::NotFound => "ModelNotFoundError",
            _ => "LookalikeError",
        },
        _ => "LookalikeError",
    }
}

fn class_of_gallery(error: &GalleryError) -> &'static str {
    match error {
        GalleryError::NotFound { .. } => "GalleryNotFoundError",
        GalleryError::AlreadyExists { .. } => "GalleryExistsError",
        GalleryError::InUse { .. } => "GalleryInUseError",
        GalleryError::Mismatch { .. } => "GalleryMismatchError",
        GalleryError::BadRequest(_)
        | GalleryError::Dimensions { .. }
        | GalleryError::BadCode { .. } => "QueryError",
        _ => "GalleryError",
    }
}
