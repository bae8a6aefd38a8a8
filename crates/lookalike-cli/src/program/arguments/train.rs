//! What can be typed behind `lookalike train`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use lookalike::autoencoder::{
    Architecture, AugmentationChoice, Effort, Loss, Objective, Optimiser, PrecisionChoice, Schedule,
};
use lookalike::images::Fit;

use super::PretrainedArguments;
use super::values::{positive, seconds, size};
use crate::program::reading::ReadingArguments;

#[derive(Args)]
pub struct TrainArguments {
    /// Images to learn from
    pub source: String,
    /// The model file to write
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
    /// Network: bottleneck, conv (the article's) or compact (its notebook's)
    #[arg(long, default_value = "bottleneck", value_name = "NAME")]
    pub arch: Architecture,
    /// What to learn: look (to describe what distorted images show), augment (to give back
    /// distorted images undistorted), reconstruct, denoise, variational, or distil (to give the
    /// codes of --teacher) [default: look; the article's networks: reconstruct]
    #[arg(long, value_name = "NAME")]
    pub objective: Option<Objective>,
    /// Learn to give the codes of this encoder, a folder or .onnx file of one that others have
    /// trained: nearly what it gives, many times as fast. It sees every image once
    #[arg(long, value_name = "ENCODER")]
    pub teacher: Option<PathBuf>,
    #[command(flatten)]
    pub pretrained: PretrainedArguments,
    /// How long to learn: quick (an eighth of the time), default or best (half as long again, for
    /// twice the rounds of refining; with other objectives than look four times as long); in place
    /// of --epochs
    #[arg(
        long,
        default_value = "default",
        value_name = "NAME",
        conflicts_with = "epochs"
    )]
    pub effort: Effort,
    /// Floats that a code learns (bottleneck only); with objective look 48 of shape and, of colour
    /// images, 48 of colours stand behind them [default: 128; 64 for objectives other than look and
    /// distil]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub code_dim: Option<usize>,
    /// mse or bce [default: bce; the article's networks: mse]
    #[arg(long, value_name = "NAME")]
    pub loss: Option<Loss>,
    /// adam or adamw [default: adamw; the article's networks: adam]
    #[arg(long, value_name = "NAME")]
    pub optimiser: Option<Optimiser>,
    /// Learning rate over the run: onecycle or constant [default: onecycle; the article's networks:
    /// constant]
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<Schedule>,
    /// Highest learning rate
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Decoupled weight decay of adamw
    #[arg(long, value_name = "RATE")]
    pub weight_decay: Option<f64>,
    /// Images of a step [default: 256, fewer where images are few; the article's networks: 128 and
    /// 32]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub batch: Option<usize>,
    /// Passes over the images [default: 6, up to 200 where images are few, down to 3 where they are
    /// many and large; the article's networks: 3 and 2]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub epochs: Option<usize>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Numbers that training multiplies: f32, bf16 (only on a CPU with AVX512-BF16) or auto, which
    /// is bf16 where the CPU is faster in it; encoding is always f32
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub precision: PrecisionChoice,
    /// Distortions of objectives look, distil and augment: auto (those that make nothing which the
    /// collection does not have itself: found from the images in seconds, kind by kind, and kept in
    /// the model), none, mild (strength .3) or strong (1: handwriting, few images of many things)
    /// [default: auto]
    #[arg(long, value_name = "NAME", conflicts_with = "strength")]
    pub distort: Option<AugmentationChoice>,
    /// Strength of the geometric distortions in place of --distort: 1 suits handwriting, .3 images
    /// whose pose and proportions matter
    #[arg(long, value_name = "S")]
    pub strength: Option<f32>,
    /// Whether the distortions mirror images left to right [default: what auto finds, otherwise
    /// false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub mirror: Option<bool>,
    /// Whether which way round an image lies means nothing, as on surfaces and under a microscope:
    /// the distortions turn images by quarters, and codes are means over them [default: what auto
    /// finds, otherwise false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub turn: Option<bool>,
    /// Strength of the distortions' changes of colour, 0 for none [default: what auto finds; mild
    /// .3 and strong 1 for colour images; with --strength 0]
    #[arg(long, value_name = "S")]
    pub distort_colour: Option<f32>,
    /// Weight in a code of the image's colours, beside 1 for what was learned; 0 leaves them out
    /// (bottleneck and colour images only, and not objectives look and distil, whose codes are
    /// whole) [default: 1.2 there]
    #[arg(long, value_name = "W")]
    pub colour_weight: Option<f32>,
    /// Gaussian noise of objective denoise, standard deviation (pixels are 0 to 1)
    #[arg(long, value_name = "S")]
    pub noise: Option<f32>,
    /// Share of pixels that objective denoise blackens
    #[arg(long, value_name = "P")]
    pub mask: Option<f32>,
    /// Bring images to this size, as WIDTHxHEIGHT [default: that of the images if they are small
    /// and all alike, else 64x64]
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub size: Option<(usize, usize)>,
    /// Channels of the network's input: 1 (grey) or 3 [default: 3 if the first images have colour]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=3))]
    pub channels: Option<usize>,
    /// How images of other proportions are brought to that size: stretch, crop (the middle) or pad
    /// (with white)
    #[arg(long, default_value = "stretch", value_name = "HOW")]
    pub fit: Fit,
    /// Learn from the first N images only
    #[arg(long, value_name = "N", value_parser = positive())]
    pub limit: Option<usize>,
    /// Go on from the checkpoint of a run that was stopped
    #[arg(long, conflicts_with = "restart")]
    pub resume: bool,
    /// Begin again, discarding the checkpoint of a run that was stopped
    #[arg(long)]
    pub restart: bool,
    /// Where the run's checkpoint is kept until it ends [default: MODEL.checkpoint]
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Seconds between checkpoints, besides those after each epoch
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS", value_parser = seconds)]
    pub checkpoint_every: f64,
    /// Draw the loss curve there (PNG)
    #[arg(long, value_name = "PNG")]
    pub curve: Option<PathBuf>,
    /// Draw images beside their reconstructions there (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
    #[command(flatten)]
    pub reading: ReadingArguments,
}
