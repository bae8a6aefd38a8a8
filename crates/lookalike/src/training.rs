//! What a training run needs beside the loop itself: the images, brought to one shape, and the
//! recipe that suits them.

use lookalike_autoencoder::{
    Architecture, Augmentation, AugmentationChoice, DeviceChoice, Effort, Loss, Objective,
    Optimiser, PrecisionChoice, Schedule, TrainConfig, choose_augmentation_while,
};
use lookalike_images::{Collection, Fit, GreyRange, Image, InputShape};
use serde::{Deserialize, Serialize};

use crate::{Error, ImageStream};

/// Bytes of pixels that are learned from unless somebody asks for more: a fair sample of larger
/// collections.
const MAX_PIXELS: usize = 1 << 30;

/// Images of a shape that are learned from, at most, where no other number is asked for.
pub fn most_train_images(shape: InputShape) -> usize {
    (MAX_PIXELS / shape.values().max(1)).max(1)
}

/// What is asked for of a training run. What is not said follows from the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// Which network.
    pub architecture: Architecture,
    /// What it learns; none: what suits the network.
    pub objective: Option<Objective>,
    /// How long it learns.
    pub effort: Effort,
    /// Decides everything random.
    pub seed: u64,
    /// What products are made of.
    pub precision: PrecisionChoice,
    /// Width and height of the network's input; none: what suits the images.
    pub size: Option<(usize, usize)>,
    /// Channels of the network's input, 1 or 3; none: what suits the images.
    pub channels: Option<usize>,
    /// How images of other proportions are brought to that shape.
    pub fit: Fit,
    /// Learn from the first so many images; none: from all, or from a fair sample of at most
    /// [`most_train_images`].
    pub limit: Option<usize>,
    /// As in [`TrainConfig`], and so are the next ones.
    pub code_dim: Option<usize>,
    /// See [`TrainConfig`].
    pub loss: Option<Loss>,
    /// See [`TrainConfig`].
    pub optimiser: Option<Optimiser>,
    /// See [`TrainConfig`].
    pub schedule: Option<Schedule>,
    /// See [`TrainConfig`].
    pub learning_rate: Option<f64>,
    /// See [`TrainConfig`].
    pub weight_decay: Option<f64>,
    /// See [`TrainConfig`].
    pub batch: Option<usize>,
    /// See [`TrainConfig`]; none: as many as suit the images and the effort.
    pub epochs: Option<usize>,
    /// See [`TrainConfig`].
    pub colour_weight: Option<f32>,
    /// The augmentation by its name, unless [`strength`](Self::strength) says how strong it is.
    pub augmentation: Option<AugmentationChoice>,
    /// How strong the augmentation is.
    pub strength: Option<f32>,
    /// Whether images may be mirrored, whatever else was chosen.
    pub mirror: Option<bool>,
    /// Whether images may be turned by quarters, whatever else was chosen.
    pub turn: Option<bool>,
    /// How much colours are changed, whatever else was chosen.
    pub colour_strength: Option<f32>,
    /// Standard deviation of the noise of [`Objective::Denoise`].
    pub noise: Option<f32>,
    /// Share of the pixels that [`Objective::Denoise`] blacks out.
    pub mask: Option<f32>,
}

impl Default for TrainOptions {
    /// The bottleneck network, and all else as it suits the images; seed 0.
    fn default() -> Self {
        Self {
            architecture: Architecture::Bottleneck,
            objective: None,
            effort: Effort::Default,
            seed: 0,
            precision: PrecisionChoice::default(),
            size: None,
            channels: None,
            fit: Fit::default(),
            limit: None,
            code_dim: None,
            loss: None,
            optimiser: None,
            schedule: None,
            learning_rate: None,
            weight_decay: None,
            batch: None,
            epochs: None,
            colour_weight: None,
            augmentation: None,
            strength: None,
            mirror: None,
            turn: None,
            colour_strength: None,
            noise: None,
            mask: None,
        }
    }
}

/// Images to learn from.
#[derive(Clone, Debug)]
pub struct TrainImages {
    /// All of them, in one shape.
    pub collection: Collection,
    /// Which values of grey pictures with more than 8 bits are black and white, for
    /// [`Autoencoder::with_grey_range`](lookalike_autoencoder::Autoencoder::with_grey_range).
    pub grey_range: Option<GreyRange>,
    /// Whether they are a fair sample of more, because more are not learned from unless that is
    /// asked for.
    pub is_sample: bool,
}

impl TrainOptions {
    /// What is learned.
    pub fn objective(&self) -> Objective {
        self.objective
            .unwrap_or(TrainConfig::new(self.architecture).objective)
    }

    /// Reads the images to learn from; `go_on` is asked before each and ends the reading where it
    /// says no.
    ///
    /// # Errors
    ///
    /// When the source cannot be read, or none of its images can.
    pub fn load(
        &self,
        source: ImageStream,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<TrainImages, Error> {
        let range = source.suitable_grey_range()?;
        let source = source.with_grey_range(range);
        let grey_range = source.reading().decode.grey_range;
        let shape = self.shape(&source)?;
        let most = most_train_images(shape);
        let mut source = source.fitted(shape, self.fit);
        if self.limit.is_none() {
            source = source.sampled(most, self.seed);
        }
        let images = source.images()?.take(self.limit.unwrap_or(usize::MAX));
        let images = images.take_while(|_: &Image| go_on());
        let collection = Collection::of(source.name(), Some(shape), images)?;
        Ok(TrainImages {
            is_sample: self.limit.is_none() && collection.len() == most,
            collection,
            grey_range,
        })
    }

    /// The shape asked for, or else the one that suits the source.
    fn shape(&self, source: &ImageStream) -> Result<InputShape, Error> {
        let channels = self.channels.map(|count| if count == 1 { 1 } else { 3 });
        if let (Some((width, height)), Some(channels)) = (self.size, channels) {
            return Ok(InputShape {
                channels,
                height,
                width,
            });
        }
        let found = source.suitable_shape()?;
        let (width, height) = self.size.unwrap_or((found.width, found.height));
        Ok(InputShape {
            channels: channels.unwrap_or(found.channels),
            height,
            width,
        })
    }

    /// The recipe that suits these images and the device, with the changes asked for.
    pub fn config(&self, collection: &Collection, device: DeviceChoice) -> TrainConfig {
        self.config_while(collection, device, &|| true)
            .expect("nothing ends it")
    }

    /// As [`config`](Self::config); `go_on` is asked before each trial of an augmentation, and ends
    /// them where it says no.
    ///
    /// # Errors
    ///
    /// When `go_on` ended it.
    pub fn config_while(
        &self,
        collection: &Collection,
        device: DeviceChoice,
        go_on: &dyn Fn() -> bool,
    ) -> Result<TrainConfig, Error> {
        let mut config = TrainConfig::suited(
            self.architecture,
            self.objective(),
            collection.len(),
            collection.shape(),
        )
        .with_effort(self.effort);
        config.seed = self.seed;
        config.precision = self.precision.resolve(device);
        config.fit = self.fit;
        macro_rules! change {
            ($($field:ident),+) => { $(if let Some(value) = self.$field { config.$field = value; })+ };
        }
        change!(
            code_dim,
            loss,
            optimiser,
            schedule,
            learning_rate,
            weight_decay,
            batch,
            epochs,
            colour_weight
        );
        if augments(config.objective) {
            self.augment(collection, &mut config, go_on)?;
        }
        if let Some(gaussian) = self.noise {
            config.noise.gaussian = gaussian;
        }
        if let Some(mask) = self.mask {
            config.noise.mask = mask;
        }
        Ok(config)
    }

    /// The augmentation asked for, or chosen by the images.
    fn augment(
        &self,
        collection: &Collection,
        config: &mut TrainConfig,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        match self.strength {
            Some(strength) => config.augmentation = Augmentation::strength(strength),
            None => {
                let choice = self.augmentation.unwrap_or(AugmentationChoice::Auto);
                let chosen = choose_augmentation_while(choice, collection, self.seed, go_on);
                let chosen = chosen.ok_or_else(|| Error::ChoosingStopped {
                    source_name: collection.name().to_owned(),
                })?;
                config.augmentation = chosen.augmentation();
                config.chosen = Some(chosen);
            }
        }
        // What is asked for is what is recorded, whatever was chosen.
        if let Some(mirror) = self.mirror {
            config.augmentation.mirror = mirror;
            if let Some(chosen) = &mut config.chosen {
                chosen.mirror = mirror;
            }
        }
        if let Some(turn) = self.turn {
            config.augmentation.turn = turn;
            if let Some(chosen) = &mut config.chosen {
                chosen.turn = turn;
            }
        }
        if let Some(strength) = self.colour_strength {
            config.augmentation = config.augmentation.clone().with_colour(strength);
            if let Some(chosen) = &mut config.chosen {
                chosen.colour_strength = strength;
            }
        }
        Ok(())
    }
}

/// Whether an objective sees augmented images.
pub fn augments(objective: Objective) -> bool {
    matches!(
        objective,
        Objective::Look | Objective::Distil | Objective::Augment
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(images: usize) -> Collection {
        let shape = InputShape {
            channels: 1,
            height: 16,
            width: 16,
        };
        let pixels = (0..images * shape.values()).map(|i| (i * 31 % 251) as u8);
        let keys = (0..images).map(|i| i.to_string()).collect();
        Collection::from_parts("grey", shape, keys, vec![None; images], pixels.collect()).unwrap()
    }

    #[test]
    fn what_is_not_said_suits_the_images() {
        let images = grey(40);
        let stream = ImageStream::of_collection(&images);
        let read = TrainOptions::default().load(stream, || true).unwrap();
        assert_eq!(read.collection.shape(), images.shape());
        assert_eq!(read.collection.pixels(), images.pixels());
        assert!(!read.is_sample);
        let asked = TrainOptions {
            augmentation: Some(AugmentationChoice::Mild),
            mirror: Some(true),
            turn: Some(true),
            epochs: Some(7),
            ..TrainOptions::default()
        };
        let config = asked.config(&images, DeviceChoice::Cpu);
        assert_eq!(config.objective, Objective::Look);
        assert_eq!(config.epochs, 7);
        assert!(config.augmentation.mirror);
        assert!(config.augmentation.turn);
        let chosen = config.chosen.unwrap();
        assert!(chosen.mirror && chosen.turn);
    }

    #[test]
    fn choosing_changes_ends_where_it_is_told_to() {
        let options = TrainOptions::default();
        let chosen = options.config_while(&grey(40), DeviceChoice::Cpu, &|| false);
        assert!(matches!(chosen, Err(Error::ChoosingStopped { .. })));
    }

    #[test]
    fn reading_ends_where_it_is_told_to() {
        let mut left = 10;
        let mut go_on = || {
            left -= 1;
            left >= 0
        };
        let options = TrainOptions {
            size: Some((8, 8)),
            channels: Some(1),
            ..TrainOptions::default()
        };
        let stream = ImageStream::of_collection(&grey(40));
        let read = options.load(stream, &mut go_on).unwrap();
        assert_eq!(read.collection.len(), 10);
        assert_eq!(read.collection.shape().width, 8);
    }

    #[test]
    fn options_are_read_from_json_and_strange_ones_refused() {
        let read = |text: &str| serde_json::from_str::<TrainOptions>(text);
        let options = read(r#"{"architecture": "conv", "epochs": 2}"#).unwrap();
        assert_eq!(options.objective(), Objective::Reconstruct);
        assert!(read(r#"{"epoch": 2}"#).is_err());
        assert!(read(r#"{"architecture": "resnet"}"#).is_err());
    }
}
