//! What is remembered of a training run, in the model file and in `train --json`.

use lookalike_images::Collection;
use serde::{Deserialize, Serialize};

/// One pass over the collection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Mean training loss of the epoch's images.
    pub loss: f64,
    /// Wall-clock time, without checkpoints.
    pub seconds: f64,
}

impl DataRecord {
    /// Of a collection.
    pub fn of(collection: &Collection) -> Self {
        Self {
            name: collection.name().to_owned(),
            images: collection.len(),
            digest: blake3::hash(collection.pixels()).to_hex().to_string(),
        }
    }
}

/// Which images a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// The source's name, such as `mnist:train`.
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
    /// Every epoch in order.
    pub epochs: Vec<EpochRecord>,
    /// Loss of the best answer that ignores its input, the mean image.
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

    /// Images a second in the last epoch.
    pub fn images_per_second(&self) -> f64 {
        self.epochs
            .last()
            .map_or(0.0, |e| self.data.images as f64 / e.seconds.max(1e-9))
    }
}
