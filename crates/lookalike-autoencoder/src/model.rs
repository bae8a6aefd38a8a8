//! The trained autoencoder and its file.

use std::path::Path as FilePath;
use std::sync::OnceLock;

use lookalike_images::{COLOURS, Collection, Fit, GreyRange, InputShape, colours};
use lookalike_neighbours::Metric;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::architecture::{Architecture, Plan};
use crate::checkpoint::{model_tensors, read_weights};
use crate::config::{MAX_WEIGHT, Objective, TrainConfig};
use crate::container::{self, Container};
use crate::device::{DeviceChoice, Processor};
use crate::direct::Direct;
use crate::error::AutoencoderError;
use crate::network::{Inference, Trunk, Weights};
use crate::progress::{Phase, Progress};
use crate::record::{Comparison, TrainRecord};

/// Version of the model file; another one is refused.
const FORMAT: u32 = 1;
/// Pixels are divided by it.
const DIVISOR: u8 = 255;

/// The JSON document in a model file's metadata.
#[derive(Serialize, Deserialize)]
struct Document {
    model_format: u32,
    program: String,
    parameters: usize,
    code_dim: usize,
    /// Height, width and channels of the code, channels last.
    code_map: [usize; 3],
    preprocessing: Preprocessing,
    config: TrainConfig,
    record: TrainRecord,
}

/// How pixels become the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Preprocessing {
    shape: InputShape,
    /// Order of an image's values.
    layout: Layout,
    /// How another size is brought to the shape.
    fit: Fit,
    /// Pixels 0 to 255 are multiplied by 1 / 255.
    divisor: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Layout {
    #[serde(rename = "height-width-channels")]
    ChannelsLast,
}

/// Beside a padded image.
pub(crate) const WHITE: [u8; 3] = [255; 3];

/// A trained network: encoder, decoder, and all that is known about them.
///
/// Made by [`crate::train`] or read from a file. Encoding is deterministic.
pub struct Autoencoder {
    plan: Plan,
    weights: Weights,
    /// What stands in codes behind what the network says, if anything does.
    direct: Option<Direct>,
    config: TrainConfig,
    record: TrainRecord,
    /// The file's JSON document, as it was written first: another version of this program gives
    /// the same bytes, and so the same fingerprint.
    document: String,
    inference: Inference,
    processor: Processor,
    /// The encoder up to its last layer, once an explanation has asked for it: none if that layer
    /// is not linear.
    trunk: OnceLock<Option<Trunk>>,
}

impl std::fmt::Debug for Autoencoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Autoencoder")
            .field("config", &self.config)
            .field("shape", &self.plan.shape)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl Autoencoder {
    /// Of what training gave.
    pub(crate) fn new(
        plan: Plan,
        weights: Weights,
        direct: Option<Direct>,
        config: TrainConfig,
        record: TrainRecord,
        device: DeviceChoice,
    ) -> Result<Self, AutoencoderError> {
        let document = Document {
            model_format: FORMAT,
            program: concat!("lookalike ", env!("CARGO_PKG_VERSION")).to_owned(),
            parameters: plan.parameter_count(),
            code_dim: code_dim(&plan, &config, direct.as_ref()),
            code_map: code_map(&plan, &config, direct.as_ref()),
            preprocessing: Preprocessing {
                shape: plan.shape,
                layout: Layout::ChannelsLast,
                fit: config.fit,
                divisor: DIVISOR,
            },
            config,
            record,
        };
        let text = serde_json::to_string(&document).expect("a model's document serialises");
        Self::of_document(plan, weights, direct, document, text, device)
    }

    fn of_document(
        plan: Plan,
        weights: Weights,
        direct: Option<Direct>,
        document: Document,
        text: String,
        device: DeviceChoice,
    ) -> Result<Self, AutoencoderError> {
        let processor = device.open()?;
        Ok(Self {
            inference: Inference::new(
                &plan,
                &weights,
                &processor,
                document.config.normalises_input(),
            ),
            plan,
            weights,
            direct,
            config: document.config,
            record: document.record,
            document: text,
            processor,
            trunk: OnceLock::new(),
        })
    }

    /// Of the networks with a linear code, what comes before it.
    pub(crate) fn trunk(&self) -> Option<&Trunk> {
        let normalises = self.config.normalises_input();
        let make = || Trunk::new(&self.plan, &self.weights, &self.processor, normalises);
        self.trunk.get_or_init(make).as_ref()
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// A parameter's numbers, by its index in the plan.
    pub(crate) fn parameter(&self, index: usize) -> &[f32] {
        &self.weights.parameters[index]
    }

    /// What the network alone says of images that have the model's shape, [`Self::latent_dim`]
    /// floats for each.
    pub(crate) fn latents(&self, pixels: &[u8]) -> Vec<f32> {
        let mut latents = vec![0.0; pixels.len() / self.plan.input_len() * self.latent_dim()];
        self.inference.encode(pixels, &mut latents);
        latents
    }

    /// The recipe it was trained by.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Keeps with the model how it compares with simple descriptors.
    #[must_use]
    pub fn with_comparison(self, comparison: Comparison) -> Self {
        self.with_record(|record| record.comparison = Some(comparison))
    }

    /// Keeps with the model which values of grey pictures with more than 8 bits were black and
    /// white.
    #[must_use]
    pub fn with_grey_range(self, range: Option<GreyRange>) -> Self {
        self.with_record(|record| record.grey_range = range)
    }

    fn with_record(mut self, change: impl FnOnce(&mut TrainRecord)) -> Self {
        let mut document: Document =
            serde_json::from_str(&self.document).expect("a model's document reads");
        change(&mut document.record);
        self.record.clone_from(&document.record);
        self.document = serde_json::to_string(&document).expect("a model's document serialises");
        self
    }

    /// How its training went.
    pub fn record(&self) -> &TrainRecord {
        &self.record
    }

    /// The images it takes; others are brought to this shape.
    pub fn shape(&self) -> InputShape {
        self.plan.shape
    }

    /// Floats of a code: those that the network gives, and behind them those that are computed from
    /// the pixels themselves, if there are any.
    pub fn code_dim(&self) -> usize {
        code_dim(&self.plan, &self.config, self.direct())
    }

    /// Floats that the network gives, which the decoder makes images of: the first of a code, or
    /// all of it.
    pub fn latent_dim(&self) -> usize {
        self.plan.code_dim
    }

    /// Height, width and channels of the code where it is a map, channels last; 1, 1 and
    /// [`Self::code_dim`] where it is a vector.
    pub fn code_map(&self) -> [usize; 3] {
        code_map(&self.plan, &self.config, self.direct())
    }

    /// The metric that suits its codes: cosine for the linear bottleneck, Euclidean for the
    /// article's networks.
    pub fn metric(&self) -> Metric {
        match self.config.architecture {
            Architecture::Bottleneck => Metric::Cosine,
            Architecture::Conv | Architecture::Compact => Metric::Euclidean,
        }
    }

    /// Learned numbers in all.
    pub fn parameters(&self) -> usize {
        self.plan.parameter_count()
    }

    /// Encodes images that have the model's shape already: any number of
    /// height x width x channels bytes, one after another. Gives [`Self::code_dim`] floats for
    /// each.
    ///
    /// # Errors
    ///
    /// When `pixels` is no whole number of images.
    pub fn encode(&self, pixels: &[u8]) -> Result<Vec<f32>, AutoencoderError> {
        let mut codes = vec![0.0; pixels.len() / self.plan.input_len() * self.code_dim()];
        self.encode_into(pixels, &mut codes)?;
        Ok(codes)
    }

    /// [`encode`](Self::encode) to memory that the caller has: a code after the other.
    ///
    /// # Errors
    ///
    /// When `pixels` is no whole number of images, or `codes` has room for more or fewer codes.
    pub fn encode_into(&self, pixels: &[u8], codes: &mut [f32]) -> Result<(), AutoencoderError> {
        self.check_whole(pixels)?;
        let count = pixels.len() / self.plan.input_len();
        if codes.len() != count * self.code_dim() {
            return Err(AutoencoderError::Data(format!(
                "cannot write {count} codes of {} floats to {} floats",
                self.code_dim(),
                codes.len()
            )));
        }
        self.encode_batches(pixels, codes, |_| {});
        Ok(())
    }

    /// How images of other proportions are brought to the model's shape.
    pub fn fit(&self) -> Fit {
        self.config.fit
    }

    /// Encodes a whole collection; `progress` hears of it after each batch.
    ///
    /// # Errors
    ///
    /// When the collection has another shape than the model.
    pub fn encode_collection(
        &self,
        collection: &Collection,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<f32>, AutoencoderError> {
        self.check_shape(collection)?;
        let mut codes = vec![0.0; collection.len() * self.code_dim()];
        let total = collection.len();
        self.encode_batches(collection.pixels(), &mut codes, |done| {
            progress(Progress::new(Phase::Encoding, done, total));
        });
        Ok(codes)
    }

    /// Encodes batch by batch; `progress` hears how many images are done.
    fn encode_batches(&self, pixels: &[u8], codes: &mut [f32], mut progress: impl FnMut(usize)) {
        let (batch, len, dim) = (self.batch(), self.plan.input_len(), self.code_dim());
        let batches = pixels.chunks(batch * len);
        for (index, (pixels, codes)) in batches.zip(codes.chunks_mut(batch * dim)).enumerate() {
            self.encode_batch(pixels, codes);
            progress(index * batch + codes.len() / dim);
        }
    }

    pub(crate) fn direct(&self) -> Option<&Direct> {
        self.direct.as_ref()
    }

    /// Encodes images that fit into memory at once.
    fn encode_batch(&self, pixels: &[u8], codes: &mut [f32]) {
        if self.code_dim() == self.latent_dim() {
            return self.inference.encode(pixels, codes);
        }
        let (len, dim, latent_dim) = (self.plan.input_len(), self.code_dim(), self.latent_dim());
        let mut latents = vec![0.0; codes.len() / dim * latent_dim];
        self.inference.encode(pixels, &mut latents);
        codes
            .par_chunks_exact_mut(dim)
            .zip(latents.par_chunks_exact(latent_dim))
            .zip(pixels.par_chunks_exact(len))
            .for_each(|((code, latent), pixels)| {
                let (learned, seen) = code.split_at_mut(latent_dim);
                to_unit_length(latent, learned);
                self.write_seen(pixels, seen);
            });
    }

    /// What stands in a code behind what the network says.
    fn write_seen(&self, pixels: &[u8], seen: &mut [f32]) {
        match &self.direct {
            Some(direct) => direct.write(pixels, seen),
            None => {
                for (to, value) in seen.iter_mut().zip(colours(pixels)) {
                    *to = value * self.config.colour_weight;
                }
            }
        }
    }

    /// [`Self::write_seen`] to a vector of its own, empty for most recipes.
    pub(crate) fn seen(&self, pixels: &[u8]) -> Vec<f32> {
        let mut seen = vec![0.0; self.code_dim() - self.latent_dim()];
        if !seen.is_empty() {
            self.write_seen(pixels, &mut seen);
        }
        seen
    }

    /// Sends images (as for [`Self::encode`]) through encoder and decoder.
    ///
    /// # Errors
    ///
    /// When `pixels` is no whole number of images.
    pub fn reconstruct(&self, pixels: &[u8]) -> Result<Vec<u8>, AutoencoderError> {
        self.check_whole(pixels)?;
        let mut answer = Vec::with_capacity(pixels.len());
        for batch in pixels.chunks(self.batch() * self.plan.input_len()) {
            let mut latents = vec![0.0; batch.len() / self.plan.input_len() * self.latent_dim()];
            self.inference.encode(batch, &mut latents);
            let output = self.inference.decode(&latents);
            answer.extend(output.iter().map(|v| (v * 255.0).round() as u8));
        }
        Ok(answer)
    }

    /// The model file's bytes: those that it was read from, if it was.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut tensors = model_tensors(&self.plan, &self.weights);
        tensors.extend(self.direct.iter().flat_map(Direct::tensors));
        container::to_bytes(self.document.clone(), &tensors)
    }

    /// Reads a model file's bytes; `what` names them in errors.
    ///
    /// # Errors
    ///
    /// When they are no model file of this version: damaged, of another program, with missing,
    /// misshapen or further tensors, or with numbers that are not finite.
    pub fn from_bytes(
        bytes: &[u8],
        what: &str,
        device: DeviceChoice,
    ) -> Result<Self, AutoencoderError> {
        let (plan, weights, direct, document, text) =
            parse(bytes).map_err(|why| AutoencoderError::Model {
                what: what.to_owned(),
                why,
            })?;
        Self::of_document(plan, weights, direct, document, text, device)
    }

    /// Writes the model file: all of it or, on failure, what was there before.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: &FilePath) -> Result<(), AutoencoderError> {
        container::write(path, &self.to_bytes())
    }

    /// Reads a model file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, and as [`Self::from_bytes`].
    pub fn load(path: &FilePath, device: DeviceChoice) -> Result<Self, AutoencoderError> {
        Self::from_bytes(&container::read(path)?, &path.display().to_string(), device)
    }

    /// Images to encode at a time.
    fn batch(&self) -> usize {
        self.plan.images_together()
    }

    fn check_whole(&self, pixels: &[u8]) -> Result<(), AutoencoderError> {
        let len = self.plan.input_len();
        if !pixels.len().is_multiple_of(len) {
            return Err(AutoencoderError::Data(format!(
                "cannot encode {} bytes: an image of this model has {len}",
                pixels.len()
            )));
        }
        Ok(())
    }

    fn check_shape(&self, collection: &Collection) -> Result<(), AutoencoderError> {
        if collection.shape() != self.shape() {
            return Err(AutoencoderError::Data(format!(
                "cannot encode {}: its images were loaded as {:?}, the model takes {:?}",
                collection.name(),
                collection.shape(),
                self.shape()
            )));
        }
        Ok(())
    }
}

/// Latents that something stands behind have length 1.
fn to_unit_length(latent: &[f32], learned: &mut [f32]) {
    let length = latent.iter().map(|v| v * v).sum::<f32>().sqrt();
    // A latent of nothing but zeros has no direction, and stays.
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    for (to, value) in learned.iter_mut().zip(latent) {
        *to = value * scale;
    }
}

fn code_dim(plan: &Plan, config: &TrainConfig, direct: Option<&Direct>) -> usize {
    let colours = if config.colour_weight > 0.0 {
        COLOURS
    } else {
        0
    };
    plan.code_dim + colours + direct.map_or(0, Direct::dims)
}

fn code_map(plan: &Plan, config: &TrainConfig, direct: Option<&Direct>) -> [usize; 3] {
    match code_dim(plan, config, direct) {
        dims if dims > plan.code_dim => [1, 1, dims],
        _ => plan.code_map,
    }
}

type Parsed = (Plan, Weights, Option<Direct>, Document, String);

fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    #[derive(Deserialize)]
    struct Version {
        model_format: Option<u32>,
    }
    let container = Container::parse(bytes)?;
    let unreadable = |e| format!("its metadata cannot be read ({e})");
    let version: Version = serde_json::from_str(&container.document).map_err(unreadable)?;
    match version.model_format {
        Some(FORMAT) => {}
        Some(other) => {
            return Err(format!(
                "it has model format {other}, this program reads {FORMAT}"
            ));
        }
        None => return Err("it is a checkpoint or another file, not a finished model".to_owned()),
    }
    let document: Document = serde_json::from_str(&container.document).map_err(unreadable)?;
    let config = &document.config;
    let plan = Plan::new(
        config.architecture,
        document.preprocessing.shape,
        config.code_dim,
        config.objective == Objective::Variational,
    )
    .map_err(|e| e.to_string())?;
    let direct = match &document.record.direct {
        Some(_) if config.objective != Objective::Look => {
            return Err("its codes have parts that its objective does not know".to_owned());
        }
        Some(record) => Some(Direct::read(record, plan.shape, &container)?),
        None => None,
    };
    let expected = plan.parameters.len()
        + 2 * plan.statistics.len()
        + direct.as_ref().map_or(0, |direct| direct.tensors().len());
    if container.len() != expected {
        return Err(format!(
            "it has {} tensors, its architecture needs {expected}",
            container.len()
        ));
    }
    let weights = read_weights(&plan, &container)?;
    let joins = config.colour_weight != 0.0;
    let can_join = plan.shape.channels == 3
        && config.architecture == Architecture::Bottleneck
        && direct.is_none();
    if joins && !(can_join && (0.0..=MAX_WEIGHT).contains(&config.colour_weight)) {
        return Err(format!(
            "it joins colours to its codes with weight {}, which its network or its images do not allow",
            config.colour_weight
        ));
    }
    let (code_dim, code_map) = (
        code_dim(&plan, config, direct.as_ref()),
        code_map(&plan, config, direct.as_ref()),
    );
    if (document.code_dim, document.code_map) != (code_dim, code_map)
        || document.parameters != plan.parameter_count()
    {
        return Err(format!(
            "it says that it has {} parameters and codes of {} floats, its architecture has {} and {code_dim}",
            document.parameters,
            document.code_dim,
            plan.parameter_count()
        ));
    }
    if document.preprocessing.divisor != DIVISOR {
        return Err(format!(
            "its pixels are divided by {}, this program divides by {DIVISOR}",
            document.preprocessing.divisor
        ));
    }
    Ok((plan, weights, direct, document, container.document))
}
