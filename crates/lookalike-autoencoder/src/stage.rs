//! The stages of a training run: what is learned, from which inputs and towards which targets.
//!
//! The article's objectives have one stage, the whole network at once. [`Objective::Look`] has
//! four: the encoder learns to describe images; then also to point where the eigenvectors of their
//! neighbour graph do; then the same by the better graph of these codes, once or more often; then
//! the decoder learns to draw images from the finished codes. At the end coordinates are weighed
//! beside descriptions.
//! [`Objective::Distil`] has two: the encoder learns a teacher's codes, then the decoder learns.

use lookalike_images::Collection;
use lookalike_kernels::{Loss, Precision};
use lookalike_neighbours::{
    Codes, DiffusionConfig, KnnGraph, Metric, SpectralConfig, align, spectral_embedding,
};
use rayon::prelude::*;

use crate::architecture::Plan;
use crate::augment::Augmenter;
use crate::batch::{Batch, image_seed, normalise, prepare, smallest_batch, steps, to_floats};
use crate::config::{Objective, TrainConfig};
use crate::device::Processor;
use crate::error::AutoencoderError;
use crate::look::Look;
use crate::network::{Inference, Weights};
use crate::sample::evenly_spaced;

/// Images that the neighbour graph is made of, and that the later stages learn from, at most:
/// the exact graph costs their number squared.
pub(crate) const MAX_GRAPH_IMAGES: usize = 60_000;
/// Neighbours of each image in the graph, the power of their similarity, and how far values travel.
const NEIGHBOURS: usize = 20;
const GAMMA: f32 = 3.0;
const ALPHA: f64 = 0.99;
/// Passes of the later stages, as shares of the first stage's.
const REFINE_SHARE: f64 = 0.4;
const DECODE_SHARE: f64 = 0.1;
/// Share of the highest learning rate with which a trained encoder goes on.
const REFINE_RATE: f64 = 0.5;

/// Finished coordinates become up to this many times as long beside descriptions: where at least
/// the second of these shares of the neighbours of descriptions are confirmed. Where no more than
/// the first are, they stay as they are.
const MAX_COORDINATES: f32 = 2.0;
const CONFIRMED: [f32; 2] = [0.4, 0.5];

/// What a stage learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Encoder and decoder together, as the objective says.
    Whole,
    /// The encoder: descriptions of undistorted images.
    Look,
    /// The encoder: a teacher's codes of undistorted images.
    Distil,
    /// The encoder: descriptions, and coordinates along the neighbour graph of its descriptions.
    Refine,
    /// The encoder: the same, along the neighbour graph of the codes that it gives by then.
    RefineAgain,
    /// The decoder: images from codes.
    Decode,
}

impl Stage {
    /// The stages of a recipe, in order.
    pub fn all(config: &TrainConfig) -> Vec<Self> {
        match config.objective {
            Objective::Look => {
                let mut stages = vec![Self::Look, Self::Refine];
                stages.resize(1 + config.rounds, Self::RefineAgain);
                stages.push(Self::Decode);
                stages
            }
            Objective::Distil => vec![Self::Distil, Self::Decode],
            _ => vec![Self::Whole],
        }
    }

    /// What the record calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Look => "look",
            Self::Distil => "distil",
            Self::Refine => "refine",
            Self::RefineAgain => "refine again",
            Self::Decode => "decode",
        }
    }

    /// How many images it learns from, of `count`.
    pub fn image_count(self, count: usize) -> usize {
        match self {
            Self::Whole | Self::Look | Self::Distil => count,
            Self::Refine | Self::RefineAgain | Self::Decode => count.min(MAX_GRAPH_IMAGES),
        }
    }

    /// Places of the images that it learns from, among `count`.
    pub fn images(self, count: usize) -> Vec<u32> {
        evenly_spaced(count, self.image_count(count))
            .into_iter()
            .map(|image| image as u32)
            .collect()
    }

    /// Whether a checkpoint has the targets: they follow from weights that are gone, or from a
    /// teacher that is slow.
    pub fn keeps_targets(self) -> bool {
        matches!(self, Self::Distil | Self::Refine | Self::RefineAgain)
    }

    /// Passes over the stage's images.
    pub fn epochs(self, config: &TrainConfig) -> usize {
        let share = |share: f64| ((config.epochs as f64 * share).ceil() as usize).max(1);
        match self {
            Self::Whole | Self::Look | Self::Distil => config.epochs,
            Self::Refine | Self::RefineAgain => share(REFINE_SHARE),
            Self::Decode => share(DECODE_SHARE),
        }
    }

    /// The highest learning rate.
    pub fn learning_rate(self, config: &TrainConfig) -> f64 {
        match self {
            Self::Refine | Self::RefineAgain => config.learning_rate * REFINE_RATE,
            _ => config.learning_rate,
        }
    }

    /// What the output is compared with its target by.
    pub fn loss(self, config: &TrainConfig) -> Loss {
        match self {
            Self::Whole | Self::Decode => config.loss.kernel(),
            Self::Look | Self::Distil | Self::Refine | Self::RefineAgain => {
                Loss::LinearSquaredError
            }
        }
    }

    /// The part of the plan that learns.
    pub fn plan(self, plan: &Plan) -> Plan {
        match self {
            Self::Whole => plan.clone(),
            Self::Look | Self::Distil | Self::Refine | Self::RefineAgain => plan.encoder_alone(),
            Self::Decode => plan.decoder_alone(),
        }
    }

    /// That part of the weights.
    pub fn weights(self, plan: &Plan, weights: &Weights) -> Weights {
        let (parameters, statistics) = plan.encoder_ends();
        match self {
            Self::Whole => weights.clone(),
            Self::Look | Self::Distil | Self::Refine | Self::RefineAgain => Weights {
                parameters: weights.parameters[..parameters].to_vec(),
                means: weights.means[..statistics].to_vec(),
                variances: weights.variances[..statistics].to_vec(),
            },
            Self::Decode => Weights {
                parameters: weights.parameters[parameters..].to_vec(),
                means: weights.means[statistics..].to_vec(),
                variances: weights.variances[statistics..].to_vec(),
            },
        }
    }

    /// All weights, with what this stage learned put in its place.
    pub fn put(self, plan: &Plan, all: &Weights, learned: Weights) -> Weights {
        let (parameters, statistics) = plan.encoder_ends();
        let (parameters, statistics) = match self {
            Self::Whole => return learned,
            Self::Look | Self::Distil | Self::Refine | Self::RefineAgain => {
                (0..parameters, 0..statistics)
            }
            Self::Decode => (
                parameters..all.parameters.len(),
                statistics..all.means.len(),
            ),
        };
        let mut all = all.clone();
        all.parameters.splice(parameters, learned.parameters);
        all.means.splice(statistics.clone(), learned.means);
        all.variances.splice(statistics, learned.variances);
        all
    }
}

/// How much there is to do in some stages. They learn from different numbers of images where there
/// are many.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Extent {
    pub epochs: usize,
    pub steps: usize,
    /// Images of all steps.
    pub images: usize,
}

impl Extent {
    /// Of stages that learn from a collection of `count` images.
    pub fn of(stages: &[Stage], config: &TrainConfig, count: usize) -> Self {
        let smallest = smallest_batch(config.architecture);
        stages.iter().fold(Self::default(), |sum, stage| {
            let (epochs, images) = (stage.epochs(config), stage.image_count(count));
            Self {
                epochs: sum.epochs + epochs,
                steps: sum.steps + epochs * steps(images, config.batch, smallest).len(),
                images: sum.images + epochs * images,
            }
        })
    }
}

/// A stage made ready: its images, and what the network sees and must answer for each.
pub(crate) struct Task {
    pub stage: Stage,
    /// Places in the collection.
    pub images: Vec<u32>,
    /// Codes to decode, for [`Stage::Decode`], a row for each of `images`.
    codes: Vec<f32>,
    /// Targets of the stages in which the encoder learns alone, a row for each of `images`.
    pub targets: Vec<f32>,
    width: usize,
}

/// What tasks are made from.
pub(crate) struct StageContext<'a> {
    pub collection: &'a Collection,
    pub config: &'a TrainConfig,
    pub plan: &'a Plan,
    pub processor: &'a Processor,
    pub precision: Precision,
}

impl StageContext<'_> {
    /// Makes a stage ready. `look` describes the collection (absent only where nothing is
    /// described); `targets` are those of a stage that is resumed or that learns from a teacher, or
    /// empty; `earlier` are those of the stage before.
    pub fn task(
        &self,
        stage: Stage,
        weights: &Weights,
        look: Option<&Look>,
        targets: Vec<f32>,
        earlier: Vec<f32>,
    ) -> Result<Task, AutoencoderError> {
        let mut task = Task {
            stage,
            images: stage.images(self.collection.len()),
            codes: Vec::new(),
            targets,
            width: self.plan.code_dim,
        };
        match (stage, look) {
            (Stage::Look, Some(look)) => {
                task.targets = look.describe(self.collection, self.plan.code_dim);
            }
            (Stage::Refine, _) if task.targets.is_empty() => {
                let width = task.width;
                let row = |&image: &u32| &earlier[image as usize * width..][..width];
                let described = task.images.iter().flat_map(row).copied().collect();
                task.targets = self.refined(&task.images, weights, described, false)?;
            }
            // Of the same images.
            (Stage::RefineAgain, _) if task.targets.is_empty() => {
                task.targets = self.refined(&task.images, weights, earlier, true)?;
            }
            (Stage::Decode, _) => task.codes = self.codes(&task.images, weights),
            _ => {}
        }
        Ok(task)
    }

    /// `targets` that begin with descriptions, and behind them the spectral coordinates of the
    /// descriptions in the encoder's codes, or of these and the coordinates that the codes have
    /// already.
    fn refined(
        &self,
        images: &[u32],
        weights: &Weights,
        mut targets: Vec<f32>,
        again: bool,
    ) -> Result<Vec<f32>, AutoencoderError> {
        let width = self.plan.code_dim;
        let codes = self.codes(images, weights);
        let mut taken = Vec::new();
        for code in codes.chunks_exact(width) {
            let (description, coordinates) = code.split_at(look_dim(width));
            let parts: &[&[f32]] = match again {
                true => &[description, coordinates],
                false => &[description],
            };
            for part in parts {
                // One counts as much as the other, however short the network leaves it.
                let length = part.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
                taken.extend(part.iter().map(|value| value / length));
            }
        }
        let dims = taken.len() / images.len();
        let known = again.then_some(&codes[..]);
        put_coordinates(&taken, dims, known, &mut targets, width)?;
        Ok(targets)
    }

    /// Lengthens the coordinates in the codes of a refined encoder where the neighbour graph that
    /// they follow is mostly right: where most neighbours by what the encoder describes are
    /// confirmed by shape and by structure themselves. Gives the factor.
    ///
    /// There classes are where the graph is dense, and coordinates tell more of them than
    /// descriptions do; elsewhere they spread what wrong links say.
    pub fn weigh_coordinates(
        &self,
        weights: &mut Weights,
        look: &Look,
    ) -> Result<Option<f32>, AutoencoderError> {
        let (width, described) = (self.plan.code_dim, look_dim(self.plan.code_dim));
        if described == width {
            return Ok(None);
        }
        let sample: Vec<u32> = look.sample.iter().map(|&image| image as u32).collect();
        let codes = self.codes(&sample, weights);
        let codes = codes.chunks_exact(width);
        let descriptions: Vec<f32> = codes.flat_map(|code| &code[..described]).copied().collect();
        let descriptions = codes_of(&descriptions, described)?;
        let factor = coordinates_factor(look.confirmed(descriptions));
        weights.lengthen_codes(self.plan, described, factor);
        Ok(Some(factor))
    }

    /// The encoder's codes of undistorted images.
    fn codes(&self, images: &[u32], weights: &Weights) -> Vec<f32> {
        let inference = Inference::new(
            self.plan,
            weights,
            self.processor,
            self.config.normalises_input(),
        );
        let width = self.plan.code_dim;
        let mut codes = vec![0.0; images.len() * width];
        let together = self.plan.images_together();
        for (images, codes) in images
            .chunks(together)
            .zip(codes.chunks_mut(together * width))
        {
            let pixels: Vec<u8> = images
                .iter()
                .flat_map(|&image| self.collection.image(image as usize))
                .copied()
                .collect();
            inference.encode(&pixels, codes);
        }
        codes
    }
}

impl Task {
    /// Inputs and targets of one step: places among [`Self::images`], in `epoch` of the whole run.
    pub fn batch(
        &self,
        collection: &Collection,
        places: &[u32],
        config: &TrainConfig,
        epoch: usize,
    ) -> Batch {
        let images: Vec<u32> = places.iter().map(|&p| self.images[p as usize]).collect();
        match self.stage {
            Stage::Whole => prepare(collection, &images, config, epoch),
            Stage::Look | Stage::Distil | Stage::Refine | Stage::RefineAgain => Batch {
                inputs: views(collection, &images, config, epoch),
                targets: Some(self.learned(places)),
            },
            Stage::Decode => {
                let len = collection.shape().values();
                let mut pixels = vec![0.0; images.len() * len];
                for (out, &image) in pixels.chunks_exact_mut(len).zip(&images) {
                    to_floats(collection.image(image as usize), out);
                }
                Batch {
                    inputs: self.rows(&self.codes, places).copied().collect(),
                    targets: Some(pixels),
                }
            }
        }
    }

    /// The rows of some of [`Self::images`].
    fn rows<'a>(&self, of: &'a [f32], places: &'a [u32]) -> impl Iterator<Item = &'a f32> {
        let width = self.width;
        let row = move |&place: &u32| &of[place as usize * width..][..width];
        places.iter().flat_map(row)
    }

    /// Targets as the encoder learns them: so long that the mean square of their floats is about 1,
    /// and 2 where coordinates stand behind descriptions.
    ///
    /// Steps of Adam are about as long as the learning rate, however small gradients are. The last
    /// layer sums up thousands of values: where its answers have to be small, one step changes them
    /// by many times their size.
    fn learned(&self, places: &[u32]) -> Vec<f32> {
        let scale = (self.width as f32).sqrt();
        let rows = self.rows(&self.targets, places);
        rows.map(|value| scale * value).collect()
    }
}

/// Puts the coordinates of `codes` of `dims` floats, along the leading eigenvectors of their
/// neighbour graph, behind the first [`look_dim`] floats of targets of `width` floats. Eigenvectors
/// have no sign, and those of about one eigenvalue any direction: where an encoder gives
/// coordinates already, as in its `known` codes of `width` floats, they are turned to these.
pub(crate) fn put_coordinates(
    codes: &[f32],
    dims: usize,
    known: Option<&[f32]>,
    targets: &mut [f32],
    width: usize,
) -> Result<(), AutoencoderError> {
    let described = look_dim(width);
    let spectral = SpectralConfig {
        dims: width - described,
        alpha: ALPHA,
    };
    if spectral.dims == 0 {
        return Ok(());
    }
    let codes = codes_of(codes, dims)?;
    let graph = KnnGraph::build(
        codes,
        Metric::Cosine,
        &DiffusionConfig {
            neighbours: NEIGHBOURS,
            gamma: GAMMA,
            ..DiffusionConfig::default()
        },
    )
    .map_err(cannot_refine)?;
    let mut coordinates = spectral_embedding(&graph, codes, &spectral);
    if let Some(known) = known {
        let known = known.chunks_exact(width);
        let known: Vec<f32> = known.flat_map(|code| &code[described..]).copied().collect();
        coordinates = align(&coordinates, &known, spectral.dims);
    }
    let rows = coordinates.chunks_exact(spectral.dims);
    for (target, row) in targets.chunks_exact_mut(width).zip(rows) {
        target[described..].copy_from_slice(row);
    }
    Ok(())
}

fn codes_of(values: &[f32], dims: usize) -> Result<Codes<'_>, AutoencoderError> {
    Codes::new(values, dims).map_err(cannot_refine)
}

fn cannot_refine(why: impl std::fmt::Display) -> AutoencoderError {
    AutoencoderError::Data(format!("cannot refine codes: {why}"))
}

/// Distorted views of images, each normalised.
fn views(collection: &Collection, images: &[u32], config: &TrainConfig, epoch: usize) -> Vec<f32> {
    let shape = collection.shape();
    let mut views = vec![0.0; images.len() * shape.values()];
    views
        .par_chunks_exact_mut(shape.values())
        .zip(images)
        .with_min_len(16)
        .for_each_init(
            || Augmenter::new(&config.augmentation, shape),
            |augmenter, (view, &image)| {
                let seed = image_seed(config.seed, epoch, image);
                augmenter.apply(collection.image(image as usize), seed, view);
                normalise(view);
            },
        );
    views
}

/// How many times as long coordinates become where this share of neighbours is confirmed.
fn coordinates_factor(confirmed: f32) -> f32 {
    let [none, all] = CONFIRMED;
    let share = ((confirmed - none) / (all - none)).clamp(0.0, 1.0);
    1.0 + share * (MAX_COORDINATES - 1.0)
}

/// Floats of a code that describe the image; those behind them are spectral coordinates.
pub(crate) fn look_dim(code_dim: usize) -> usize {
    code_dim - code_dim * 3 / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;

    #[test]
    fn coordinates_are_longer_the_surer_their_graph_is() {
        let factors = [-0.1, 0.4, 0.45, 0.5, 1.0].map(coordinates_factor);
        for (factor, expected) in factors.iter().zip([1.0, 1.0, 1.5, 2.0, 2.0]) {
            assert!((factor - expected).abs() < 1e-5, "{factors:?}");
        }
    }

    #[test]
    fn stages_of_fewer_images_have_fewer_steps() {
        let config = TrainConfig {
            batch: 1000,
            epochs: 10,
            ..TrainConfig::new(Architecture::Bottleneck)
        };
        let stages = Stage::all(&config);
        let expected = [
            Stage::Look,
            Stage::Refine,
            Stage::RefineAgain,
            Stage::Decode,
        ];
        assert_eq!(stages, expected);
        // 10, 4, 4 and 1 epochs: of all images, then of 60,000.
        let extent = Extent::of(&stages, &config, 200_000);
        let expected = Extent {
            epochs: 19,
            steps: 10 * 200 + 9 * 60,
            images: 10 * 200_000 + 9 * 60_000,
        };
        assert_eq!(extent, expected);
        assert_eq!(Extent::of(&[], &config, 200_000), Extent::default());
    }
}
