//! What can go wrong between images and codes.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Why an autoencoder could not be configured, trained, saved or loaded.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum AutoencoderError {
    /// A name that nothing has; the message lists those that there are.
    #[error("{0}")]
    Unknown(String),
    /// A setting that cannot work; the message says which would.
    #[error("{message}")]
    Setting {
        /// The field of [`TrainConfig`](crate::TrainConfig), or "shape" for that of the images.
        setting: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The collection cannot be trained on or encoded.
    #[error("{0}")]
    Data(String),
    /// The loss left the numbers.
    #[error(
        "training diverged: the loss became {loss} in epoch {epoch}, step {step}; try a lower learning rate (it was {learning_rate})"
    )]
    Diverged {
        /// What the loss was.
        loss: f64,
        /// The epoch, from 1.
        epoch: usize,
        /// The step within the epoch, from 1.
        step: usize,
        /// The learning rate of the step.
        learning_rate: f64,
    },
    /// The caller's observer asked training to stop; the checkpoint, if one is kept, holds it.
    #[error("training was stopped in epoch {epoch}, step {step}")]
    Stopped {
        /// The epoch, from 1.
        epoch: usize,
        /// The step within the epoch, from 1.
        step: usize,
    },
    /// Bytes that are no model file of this version.
    #[error("{what} is not a usable Lookalike model: {why}")]
    Model {
        /// The file, or "the model" for bytes in memory.
        what: String,
        /// What was expected and found.
        why: String,
    },
    /// A checkpoint that does not belong to the run.
    #[error("cannot resume from {path}: {why}")]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        why: String,
    },
    /// Reading or writing a file failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A device that this build or this machine does not have.
    #[error("{0}")]
    Device(String),
    /// A precision that the device or this machine does not have.
    #[error("cannot train in bf16: {0}; train in f32")]
    Precision(&'static str),
}

impl AutoencoderError {
    /// "unknown architecture 'x': expected one of …".
    pub(crate) fn unknown<T: Display>(what: &str, name: &str, known: &[T]) -> Self {
        let known: Vec<String> = known.iter().map(T::to_string).collect();
        Self::Unknown(format!(
            "unknown {what} '{name}': expected one of {}",
            known.join(", ")
        ))
    }

    /// A setting that cannot work.
    pub(crate) fn setting(setting: &'static str, message: String) -> Self {
        Self::Setting { setting, message }
    }

    /// One of a setting's numbers outside its range: "scale must be 0 to 0.9, not 2".
    pub(crate) fn range(setting: &'static str, name: &str, expected: &str, found: f32) -> Self {
        Self::setting(setting, format!("{name} must be {expected}, not {found}"))
    }

    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action: "read",
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action: "write",
            path: path.to_owned(),
            source,
        }
    }
}
