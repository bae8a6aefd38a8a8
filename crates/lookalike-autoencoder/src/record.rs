//! What is remembered of a training run, in the model file and in `train --json`.

use lookalike_images::Collection;
use serde::{Deserialize, Serialize};

use crate::look::Part;

/// One pass over the collection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Mean training loss of the epoch's images.
    pub loss: f64,
    /// Wall-clock time, without checkpoints.
    pub seconds: f64,
}

/// A later stage of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecord {
    /// `refine`: the encoder, with coordinates along the neighbour graph as further targets;
    /// `decode`: the decoder, from finished codes.
    pub name: String,
    /// Its epochs in order; losses of different stages cannot be compared.
    pub epochs: Vec<EpochRecord>,
}

impl DataRecord {
    /// Of a collection.
    pub fn of(collection: &Collection) -> Self {
        Self {
            name: without_folders(collection.name()).to_owned(),
            images: collection.len(),
            digest: blake3::hash(collection.pixels()).to_hex().to_string(),
        }
    }
}

/// The last part of a path; any other name as it is.
fn without_folders(name: &str) -> &str {
    let path = std::path::Path::new(name);
    let last = path.file_name().and_then(|last| last.to_str());
    last.filter(|_| path.is_absolute()).unwrap_or(name)
}

/// Which images a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// The source's name, such as `mnist:train`; of a path the last part, for models are given to others.
    pub name: String,
    /// How many images.
    pub images: usize,
    /// BLAKE3 of all pixels, hexadecimal.
    pub digest: String,
}

/// The history of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainRecord {
    /// The images.
    pub data: DataRecord,
    /// Every epoch of the first stage, in order; most recipes have no other.
    pub epochs: Vec<EpochRecord>,
    /// The stages after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<StageRecord>,
    /// What the images were described by, where the objective is to describe them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Loss in the first stage of the best answer that ignores its input, the mean image or the mean
    /// description.
    pub mean_image_loss: f64,
    /// Loss of a perfect reconstruction: 0 for MSE; for BCE the mean entropy of the pixels, which
    /// is large where they are grey.
    pub perfect_loss: f64,
}

/// A model that removes less than this part of what the mean image gets wrong has learned nothing.
const LEAST_GAIN: f64 = 0.02;

impl TrainRecord {
    /// Loss of the last epoch.
    pub fn final_loss(&self) -> f64 {
        self.epochs.last().map_or(f64::INFINITY, |e| e.loss)
    }

    /// Whether the model is no better than always answering with the mean image.
    ///
    /// A collapsed autoencoder's codes hold nothing about the images; the article's published
    /// weights are such a model.
    pub fn collapsed(&self) -> bool {
        let room = self.mean_image_loss - self.perfect_loss;
        self.mean_image_loss - self.final_loss() <= LEAST_GAIN * room
    }

    /// Wall-clock time of all stages' epochs, in seconds.
    pub fn seconds(&self) -> f64 {
        let later = self.later.iter().flat_map(|stage| &stage.epochs);
        self.epochs.iter().chain(later).map(|e| e.seconds).sum()
    }

    /// Images a second in the last epoch of the first stage.
    pub fn images_per_second(&self) -> f64 {
        self.epochs
            .last()
            .map_or(0.0, |e| self.data.images as f64 / e.seconds.max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_names_and_not_paths() {
        let folder = std::env::temp_dir().join("holiday");
        assert_eq!(without_folders(&folder.display().to_string()), "holiday");
        assert_eq!(without_folders("mnist:train"), "mnist:train");
        assert_eq!(without_folders("s3://bucket/photos"), "s3://bucket/photos");
    }
}
