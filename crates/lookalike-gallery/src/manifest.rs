//! What a gallery is, wherever it is kept.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use lookalike_neighbours::Metric;
use serde::{Deserialize, Serialize};

use crate::{GalleryError, model_fingerprint};

/// How long codes can be.
pub(crate) const DIMS: RangeInclusive<usize> = 1..=65_536;

/// The version of how galleries are kept. To be raised with any change that an older program would
/// misread.
pub(crate) const FORMAT: u64 = 1;

/// What a gallery is: a folder's `gallery.json`, a collection's metadata. Never changes after the
/// gallery was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u64,
    pub(crate) metric: Metric,
    pub(crate) dims: usize,
    pub(crate) model_fingerprint: String,
    /// Seconds since 1970-01-01 00:00 UTC.
    pub(crate) created: u64,
}

impl Manifest {
    pub(crate) fn new(metric: Metric, dims: usize, model: &[u8]) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Manifest {
            format: FORMAT,
            metric,
            dims,
            model_fingerprint: model_fingerprint(model),
            created: now.map_or(0, |since| since.as_secs()),
        }
    }

    /// Refuses codes that are too long for any gallery.
    pub(crate) fn check_dims(&self) -> Result<(), GalleryError> {
        match DIMS.contains(&self.dims) {
            true => Ok(()),
            false => Err(GalleryError::BadRequest(format!(
                "a gallery for codes of {} dimensions was asked for; give {} to {}",
                self.dims,
                DIMS.start(),
                DIMS.end()
            ))),
        }
    }

    /// Refuses a gallery that was made for something else than `wanted`.
    pub(crate) fn check_fits(&self, wanted: &Manifest, path: PathBuf) -> Result<(), GalleryError> {
        let differences: Vec<_> = [
            ("metric", self.metric.to_string(), wanted.metric.to_string()),
            (
                "length of codes",
                self.dims.to_string(),
                wanted.dims.to_string(),
            ),
            (
                "model",
                self.model_fingerprint.clone(),
                wanted.model_fingerprint.clone(),
            ),
        ]
        .into_iter()
        .filter(|(_, found, wanted)| found != wanted)
        .map(|(what, found, wanted)| format!("its {what} is {found}, asked for is {wanted}"))
        .collect();
        match differences.is_empty() {
            true => Ok(()),
            false => Err(GalleryError::Mismatch {
                path,
                differences: differences.join("; "),
            }),
        }
    }
}
