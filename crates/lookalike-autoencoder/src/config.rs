//! Everything that decides how a model is trained, in one place that the model file carries.

mod choices;
mod schedule;

use lookalike_images::{Fit, InputShape};
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::augment::{Augmentation, ChosenAugmentation, Noise};
use crate::error::AutoencoderError;
use crate::precision::Precision;
use crate::teacher::TeacherRecord;
pub use choices::{Effort, Loss, Objective, Optimiser};
pub use schedule::Schedule;

/// A whole training recipe. Two runs with equal configurations, data and devices give equal
/// models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Which network.
    pub architecture: Architecture,
    /// What it must learn.
    pub objective: Objective,
    /// Whose codes are learned, with [`Objective::Distil`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherRecord>,
    /// Floats of a code; only the bottleneck network reads it.
    pub code_dim: usize,
    /// How reconstructions are judged.
    pub loss: Loss,
    /// Who takes the steps.
    pub optimiser: Optimiser,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// The (highest) learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW, per unit of learning rate.
    pub weight_decay: f64,
    /// Images of a step.
    pub batch: usize,
    /// Passes over the collection.
    pub epochs: usize,
    /// How often [`Objective::Look`] refines codes, each time along the neighbour graph of the
    /// codes by then; 1 to [`MAX_ROUNDS`].
    #[serde(default = "default_rounds", skip_serializing_if = "is_default_rounds")]
    pub rounds: usize,
    /// Decides the initial weights, the order of the images and every random change.
    pub seed: u64,
    /// The distorted views of [`Objective::Look`] and [`Objective::Augment`].
    #[serde(rename = "distortion")]
    pub augmentation: Augmentation,
    /// How the augmentation was chosen, where it was; training reads [`Self::augmentation`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<ChosenAugmentation>,
    /// Weight of the image's colours ([`lookalike_images::colours`]) behind the code, which then
    /// has length 1 and the colours this length: the cosine of two codes is that of what was
    /// learned and this weight squared times that of the colours, over their sum. 0: codes are what
    /// was learned alone. Only for colour images and the bottleneck.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub colour_weight: f32,
    /// The noise of [`Objective::Denoise`].
    pub noise: Noise,
    /// Weight of the divergence from the standard normal in [`Objective::Variational`], relative
    /// to the reconstruction loss summed over an image's values.
    pub divergence_weight: f64,
    /// What products are made of; files from before there was a choice say nothing, and are `f32`.
    #[serde(default)]
    pub precision: Precision,
    /// How images of other proportions are brought to the network's shape, in training and in every
    /// use of the model.
    #[serde(default)]
    pub fit: Fit,
}

/// Whether a number that was added later is unused; then files read as they did before it.
fn is_zero(number: &f32) -> bool {
    *number == 0.0
}

fn default_rounds() -> usize {
    DEFAULT_ROUNDS
}

fn is_default_rounds(rounds: &usize) -> bool {
    *rounds == DEFAULT_ROUNDS
}

/// [`TrainConfig::rounds`] of every recipe, and of files from before there was a choice.
pub const DEFAULT_ROUNDS: usize = 2;

/// [`TrainConfig::rounds`], at most.
pub const MAX_ROUNDS: usize = 16;

/// Rounds of [`Effort::Best`].
const BEST_ROUNDS: usize = 4;

/// [`TrainConfig::colour_weight`] of colour images.
pub const DEFAULT_COLOUR_WEIGHT: f32 = 1.2;

/// More, and what was learned would drown.
pub(crate) const MAX_WEIGHT: f32 = 100.0;

/// Passes over a small collection, at most.
const MAX_EPOCHS: usize = 200;

/// Pixels that the first stage of [`Objective::Look`] sees by default (six epochs on MNIST), and
/// images at least.
const LOOK_PIXELS_SEEN: usize = 6 * 60_000 * 28 * 28;
const MIN_VIEWS: usize = 40_000;

/// Pixels of the images that twelve epochs on MNIST see: what a training run may cost by default,
/// some two minutes on two cores.
const PIXELS_SEEN: usize = 12 * 60_000 * 28 * 28;

impl TrainConfig {
    /// The recipe of [`Self::with_objective`] made to fit a collection of `images` of `shape`.
    ///
    /// The article's networks keep their recipe. The bottleneck takes smaller batches and more
    /// epochs where images are few, so that there are steps enough to learn from them, and fewer
    /// epochs, three at least, where twelve would take long. What it may cost is counted in pixels
    /// seen, the same for images of any size. Colour images get their colours behind their codes,
    /// unless colours are part of what the code learns.
    pub fn suited(
        architecture: Architecture,
        objective: Objective,
        images: usize,
        shape: InputShape,
    ) -> Self {
        let recipe = Self::with_objective(architecture, objective);
        if architecture != Architecture::Bottleneck {
            return recipe;
        }
        let images = images.max(1);
        let pixels = (shape.height * shape.width).max(1);
        let batch = match images {
            ..2_500 => 64,
            2_500..20_000 => 128,
            _ => recipe.batch,
        };
        if matches!(objective, Objective::Look | Objective::Distil) {
            // No decoder learns along, so that more can be seen in the same time.
            let views = (LOOK_PIXELS_SEEN / pixels).max(MIN_VIEWS);
            return Self {
                batch,
                epochs: views.div_ceil(images).clamp(3, MAX_EPOCHS),
                // The noise of a batch's gradient grows with the root of how small it is.
                learning_rate: recipe.learning_rate * (batch as f64 / recipe.batch as f64).sqrt(),
                ..recipe
            };
        }
        let min_seen = (PIXELS_SEEN / 4 / pixels).clamp(20_000, 250_000);
        let least = min_seen.div_ceil(images).min(MAX_EPOCHS);
        let usual = (PIXELS_SEEN / pixels / images).clamp(3, recipe.epochs);
        Self {
            batch,
            epochs: usual.max(least),
            colour_weight: if shape.channels == 3 {
                DEFAULT_COLOUR_WEIGHT
            } else {
                0.0
            },
            ..recipe
        }
    }

    /// The recipe that suits `architecture`: the article's for its two networks, the description of
    /// images for the bottleneck.
    pub fn new(architecture: Architecture) -> Self {
        let objective = match architecture {
            Architecture::Bottleneck => Objective::Look,
            Architecture::Conv | Architecture::Compact => Objective::Reconstruct,
        };
        Self::with_objective(architecture, objective)
    }

    /// The recipe that suits `architecture` with this objective.
    pub fn with_objective(architecture: Architecture, objective: Objective) -> Self {
        let article = Self {
            architecture,
            objective,
            teacher: None,
            code_dim: 0,
            loss: Loss::Mse,
            optimiser: Optimiser::Adam,
            schedule: Schedule::Constant,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            batch: 128,
            epochs: 3,
            rounds: DEFAULT_ROUNDS,
            seed: 0,
            augmentation: Augmentation::strength(1.0),
            chosen: None,
            colour_weight: 0.0,
            noise: Noise::default(),
            divergence_weight: 1.0,
            precision: Precision::F32,
            fit: Fit::Stretch,
        };
        match architecture {
            Architecture::Conv => article,
            Architecture::Compact => Self {
                batch: 32,
                epochs: 2,
                ..article
            },
            Architecture::Bottleneck => Self {
                code_dim: match objective {
                    Objective::Look | Objective::Distil => 128,
                    _ => 64,
                },
                loss: Loss::Bce,
                optimiser: Optimiser::AdamW,
                schedule: Schedule::OneCycle,
                learning_rate: 4e-3,
                weight_decay: 0.01,
                batch: 256,
                epochs: match objective {
                    Objective::Look | Objective::Distil => 6,
                    _ => 12,
                },
                ..article
            },
        }
    }

    /// The same recipe with more or fewer epochs, or more rounds of refining.
    pub fn with_effort(self, effort: Effort) -> Self {
        let (epochs, rounds) = match effort {
            Effort::Quick => (self.epochs.div_ceil(8), self.rounds),
            Effort::Default => (self.epochs, self.rounds),
            // Longer stages are better on some collections and far worse on others.
            Effort::Best if self.objective == Objective::Look => (self.epochs, BEST_ROUNDS),
            Effort::Best => (4 * self.epochs, self.rounds),
        };
        Self {
            epochs,
            rounds,
            ..self
        }
    }

    /// Whether every image is brought to mean 0 and standard deviation 1 before the encoder sees
    /// it.
    pub(crate) fn normalises_input(&self) -> bool {
        matches!(self.objective, Objective::Look | Objective::Distil)
    }

    /// Refuses what cannot work, saying what would.
    pub(crate) fn check(&self) -> Result<(), AutoencoderError> {
        let fail = |setting, message| Err(AutoencoderError::setting(setting, message));
        if self.batch == 0 || self.batch > 65_536 {
            return fail(
                "batch",
                format!("batch {}: it must be 1 to 65536", self.batch),
            );
        }
        if self.batch == 1 && self.architecture == Architecture::Bottleneck {
            let message = "batch 1: batch norm needs at least 2 images; use a batch of 2 or more";
            return fail("batch", message.to_owned());
        }
        if self.epochs == 0 || self.epochs > 100_000 {
            return fail(
                "epochs",
                format!("{} epochs: it must be 1 to 100000", self.epochs),
            );
        }
        if !(1..=MAX_ROUNDS).contains(&self.rounds) {
            return fail(
                "rounds",
                format!(
                    "{} rounds of refining: it must be 1 to {MAX_ROUNDS}",
                    self.rounds
                ),
            );
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 10.0) {
            return fail(
                "learning_rate",
                format!(
                    "learning rate {}: it must be above 0 and at most 10",
                    self.learning_rate
                ),
            );
        }
        for (setting, name, value) in [
            ("weight_decay", "weight decay", self.weight_decay),
            (
                "divergence_weight",
                "divergence weight",
                self.divergence_weight,
            ),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return fail(setting, format!("{name} {value}: it must be 0 or more"));
            }
        }
        let weight = self.colour_weight;
        if !(0.0..=MAX_WEIGHT).contains(&weight) {
            return fail(
                "colour_weight",
                format!("colour weight {weight}: it must be 0 to {MAX_WEIGHT}"),
            );
        }
        if weight > 0.0 && self.architecture != Architecture::Bottleneck {
            return fail(
                "colour_weight",
                format!(
                    "colour weight {weight}: the codes of {} are not joined with colours; use the network bottleneck, or weight 0",
                    self.architecture
                ),
            );
        }
        let describes = matches!(self.objective, Objective::Look | Objective::Distil);
        if describes && self.architecture != Architecture::Bottleneck {
            return fail(
                "architecture",
                format!(
                    "the objective {} needs the bottleneck network, not {}: its code is a vector",
                    self.objective, self.architecture
                ),
            );
        }
        if describes && weight > 0.0 {
            return fail(
                "colour_weight",
                format!(
                    "colour weight {weight}: colours are not joined to codes of objective {}; use weight 0",
                    self.objective
                ),
            );
        }
        if self.teacher.is_some() != (self.objective == Objective::Distil) {
            return fail(
                "teacher",
                format!(
                    "objective {} and {} teacher: the objective distil needs one, no other takes one",
                    self.objective,
                    if self.teacher.is_some() { "a" } else { "no" }
                ),
            );
        }
        self.augmentation.check()?;
        self.noise.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_unknown_ones_list_the_known() {
        for objective in Objective::ALL {
            assert_eq!(
                objective.to_string().parse::<Objective>().unwrap(),
                objective
            );
        }
        let error = "agument".parse::<Objective>().unwrap_err().to_string();
        assert!(error.contains("augment, reconstruct"), "{error}");
    }

    #[test]
    fn a_recipe_from_before_precision_was_a_choice_is_f32() {
        let config = TrainConfig {
            precision: Precision::Bf16,
            fit: Fit::Stretch,
            ..TrainConfig::new(Architecture::Conv)
        };
        let mut document = serde_json::to_value(&config).unwrap();
        let again: TrainConfig = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(again, config);
        document.as_object_mut().unwrap().remove("precision");
        let before: TrainConfig = serde_json::from_value(document).unwrap();
        assert_eq!(before, TrainConfig::new(Architecture::Conv));
    }

    #[test]
    fn few_images_are_seen_more_often() {
        let suited = |objective, images, side, channels| {
            let shape = InputShape {
                channels,
                height: side,
                width: side,
            };
            TrainConfig::suited(Architecture::Bottleneck, objective, images, shape)
        };
        // MNIST keeps the recipes.
        for objective in Objective::ALL {
            assert_eq!(
                suited(objective, 60_000, 28, 1),
                TrainConfig::with_objective(Architecture::Bottleneck, objective)
            );
        }
        let (look, augment) = (Objective::Look, Objective::Augment);
        for (objective, images, side, epochs, batch) in [
            (look, 796, 64, 87, 64),
            (look, 796, 256, 51, 64),
            (look, 10, 64, 200, 64),
            (look, 10_000, 28, 36, 128),
            (look, 1_000_000, 64, 3, 256),
            (look, 0, 1, 200, 64),
            (augment, 796, 64, 44, 64),
            (augment, 10, 64, 200, 64),
            (augment, 10_000, 28, 18, 128),
            (augment, 1_000_000, 64, 3, 256),
            (augment, 0, 1, 200, 64),
        ] {
            let config = suited(objective, images, side, 3);
            assert_eq!(
                (config.epochs, config.batch),
                (epochs, batch),
                "{objective}: {images} of {side}"
            );
            let expected = match objective {
                Objective::Look => (0.0, 128),
                _ => (DEFAULT_COLOUR_WEIGHT, 64),
            };
            assert_eq!((config.colour_weight, config.code_dim), expected);
            assert!(config.check().is_ok());
        }
        let shape = InputShape {
            channels: 3,
            height: 64,
            width: 64,
        };
        let article = TrainConfig::suited(Architecture::Conv, Objective::Reconstruct, 10, shape);
        assert_eq!(article, TrainConfig::new(Architecture::Conv));
        let efforts = [
            (Effort::Quick, 1, 2),
            (Effort::Default, 6, 2),
            (Effort::Best, 6, 4),
        ];
        for (effort, epochs, rounds) in efforts {
            let recipe = TrainConfig::new(Architecture::Bottleneck).with_effort(effort);
            assert_eq!((recipe.epochs, recipe.rounds), (epochs, rounds), "{effort}");
            assert_eq!(effort.to_string().parse::<Effort>().unwrap(), effort);
        }
        let augment = TrainConfig::with_objective(Architecture::Bottleneck, Objective::Augment);
        let best = augment.clone().with_effort(Effort::Best);
        assert_eq!((best.epochs, best.rounds), (4 * augment.epochs, 2));
    }

    #[test]
    fn impossible_settings_are_refused() {
        let good = TrainConfig::new(Architecture::Bottleneck);
        assert!(good.check().is_ok());
        for bad in [
            TrainConfig {
                batch: 0,
                ..good.clone()
            },
            TrainConfig {
                batch: 1,
                ..good.clone()
            },
            TrainConfig {
                epochs: 0,
                ..good.clone()
            },
            TrainConfig {
                rounds: 0,
                ..good.clone()
            },
            TrainConfig {
                rounds: MAX_ROUNDS + 1,
                ..good.clone()
            },
            TrainConfig {
                learning_rate: f64::NAN,
                ..good.clone()
            },
            TrainConfig {
                weight_decay: -1.0,
                ..good.clone()
            },
            TrainConfig {
                colour_weight: -0.1,
                ..good.clone()
            },
            TrainConfig {
                colour_weight: 1.0,
                ..TrainConfig::new(Architecture::Conv)
            },
            TrainConfig {
                colour_weight: 1.0,
                ..good.clone()
            },
            TrainConfig::with_objective(Architecture::Conv, Objective::Look),
            TrainConfig::with_objective(Architecture::Bottleneck, Objective::Distil),
        ] {
            assert!(bad.check().is_err());
        }
    }
}
