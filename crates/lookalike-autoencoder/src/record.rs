//! What is remembered of a training run, in the model file and in `train --json`.

use lookalike_images::{Collection, GreyRange};
use serde::{Deserialize, Serialize};

use crate::direct::DirectRecord;
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
    /// `refine again`: the same, along the graph of the codes by then; `decode`: the decoder, from
    /// finished codes.
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
    /// The source's name, such as `mnist:train`; of a path the last part, for models are given to
    /// others.
    pub name: String,
    /// How many images.
    pub images: usize,
    /// BLAKE3 of all pixels, hexadecimal.
    pub digest: String,
}

/// What can be said of codes without labels: a guess, not a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// `model`, or a simple descriptor's name.
    pub name: String,
    /// Share of an image's ten nearest neighbours that are also among its ten nearest by coarse
    /// structure, beyond chance.
    pub structure: f32,
    /// The same by shape.
    pub shape: f32,
    /// The same by colours, of colour images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colours: Option<f32>,
    /// Share of other images that are farther from a distorted copy than its original is.
    pub copies: f32,
}

/// A model beside simple descriptors, judged without labels on images that it learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Images that were looked at.
    pub images: usize,
    /// The model's codes.
    pub model: Judgement,
    /// Simple descriptors, at least one.
    pub simple: Vec<Judgement>,
    /// How much colours count beside structure: their weight in the description that the model
    /// learned, 0 where it learned none.
    #[serde(default)]
    pub colours_weight: f32,
}

impl Judgement {
    /// See [`Comparison::score`]; colours count as much as this beside structure.
    pub fn score(&self, colours_weight: f32) -> f32 {
        let neighbours = match self.colours {
            Some(colours) => (self.structure + colours_weight * colours) / (1.0 + colours_weight),
            None => self.structure,
        };
        neighbours + self.copies
    }
}

impl Comparison {
    /// One number, by which codes are ranked: structure, with colours as far as they count, and
    /// copies. Shape does not count: gradient histograms would be praised for being like
    /// themselves.
    pub fn score(&self, judged: &Judgement) -> f32 {
        judged.score(self.colours_weight)
    }

    /// The simple descriptor that is judged best.
    pub fn best(&self) -> Option<&Judgement> {
        self.simple
            .iter()
            .max_by(|a, b| self.score(a).total_cmp(&self.score(b)))
    }

    /// Whether ranking by diffusion can be expected to help. It carries weight along the links of
    /// the neighbour graph, and so spreads what wrong links say (docs/quality.md has what it
    /// gives).
    pub fn diffusion_may_help(&self) -> bool {
        self.model.shape.min(self.model.structure) >= MIN_SHARED_TO_DIFFUSE
    }

    /// How the model stands beside the best simple descriptor. Scores that are closer than .03 say
    /// nothing: so far apart are judgements of codes that labels find alike.
    pub fn verdict(&self) -> Verdict {
        let best = self
            .best()
            .map_or(f32::NEG_INFINITY, |best| self.score(best));
        match self.score(&self.model) - best {
            gain if gain >= MIN_DIFFERENCE => Verdict::Better,
            gain if gain <= -MIN_DIFFERENCE => Verdict::Worse,
            _ => Verdict::Even,
        }
    }
}

/// Scores of judgements that are less apart say nothing.
const MIN_DIFFERENCE: f32 = 0.03;

/// What a [`Comparison`] comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The model is better than every simple descriptor.
    Better,
    /// One of them is about as good.
    Even,
    /// One of them is better.
    Worse,
}

/// Codes share at least this part of their neighbours with shape, and with coarse structure, where
/// diffusion can be expected to help: links of the graph are then mostly right.
const MIN_SHARED_TO_DIFFUSE: f32 = 0.44;

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
    /// How many times as long as they were learned coordinates along the neighbour graph are beside
    /// descriptions, where there are both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<f32>,
    /// What of the codes is computed from the pixels themselves, behind what the network says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectRecord>,
    /// Which values of grey pictures with more than 8 bits were black and white to it, where it
    /// learned from such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grey_range: Option<GreyRange>,
    /// How the model compares with simple descriptors, where that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Loss in the first stage of the best answer that ignores its input, the mean image or the
    /// mean description.
    pub mean_image_loss: f64,
    /// Loss of a perfect reconstruction: 0 for MSE; for BCE the mean entropy of the pixels, which
    /// is large where they are grey.
    pub perfect_loss: f64,
}

/// A model that removes less than this part of what the mean image gets wrong has learned nothing.
const MIN_GAIN: f64 = 0.02;

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
        self.mean_image_loss - self.final_loss() <= MIN_GAIN * room
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

    fn judged(name: &str, structure: f32, shape: f32, copies: f32) -> Judgement {
        Judgement {
            name: name.to_owned(),
            structure,
            shape,
            colours: None,
            copies,
        }
    }

    #[test]
    fn a_model_is_best_only_above_every_descriptor() {
        let mut comparison = Comparison {
            images: 100,
            model: judged("model", 0.5, 0.4, 0.9),
            simple: vec![
                judged("pixels", 0.1, 0.2, 0.6),
                judged("HOG", 0.3, 0.8, 0.8),
            ],
            colours_weight: 0.0,
        };
        assert_eq!(comparison.best().unwrap().name, "HOG");
        assert_eq!(comparison.verdict(), Verdict::Better);
        assert!(!comparison.diffusion_may_help());
        comparison.model.shape = 0.6;
        assert!(comparison.diffusion_may_help());
        comparison.model.shape = 0.4;
        comparison.model.structure = 0.22;
        assert_eq!(comparison.verdict(), Verdict::Even);
        comparison.model.structure = 0.1;
        assert_eq!(comparison.verdict(), Verdict::Worse);
        comparison.model.structure = 0.3;
        comparison.model.colours = Some(0.5);
        comparison.simple[1].colours = Some(0.1);
        assert_eq!(comparison.verdict(), Verdict::Better);
        comparison.colours_weight = 1.0;
        let gain = comparison.score(&comparison.model) - comparison.score(&comparison.simple[1]);
        assert!((gain - (0.4 + 0.9 - 0.2 - 0.8)).abs() < 1e-6, "{gain}");
        comparison.simple.clear();
        assert_eq!(comparison.verdict(), Verdict::Better);
    }

    #[test]
    fn records_keep_names_and_not_paths() {
        let folder = std::env::temp_dir().join("holiday");
        assert_eq!(without_folders(&folder.display().to_string()), "holiday");
        assert_eq!(without_folders("mnist:train"), "mnist:train");
        assert_eq!(without_folders("s3://bucket/photos"), "s3://bucket/photos");
    }
}
