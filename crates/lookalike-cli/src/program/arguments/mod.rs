//! What can be typed. Meanings are made of it in each command's file.

use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, RangedU64ValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lookalike::autoencoder::{
    Architecture, AugmentationChoice, DeviceChoice, Effort, Loss, Objective, Optimiser,
    PrecisionChoice, Schedule,
};
use lookalike::gallery::{Filter, Rerank};
use lookalike::images::{Fit, Region};
use lookalike::neighbours::Metric;
use lookalike::outliers::RankBy;
use lookalike::{Pool, PretrainedOptions};

use crate::program::layout::LayoutArguments;
use crate::program::reading::ReadingArguments;

mod gallery;
mod serve;
mod values;

pub use gallery::*;
pub use serve::{LogArgument, ServeArguments};

use values::{finite, not_negative, positive, seconds, share, size, threads};

/// Find images that look alike, with an autoencoder that learns from your own images.
#[derive(Parser)]
#[command(
    version,
    after_help = "Start with `lookalike demo`: the whole story on handwritten digits, in minutes.\nA SOURCE is a folder, an archive (zip, tar, tar.gz, tar.zst), a table (parquet, csv, tsv, jsonl), a pattern of many\n('shards/{000..127}.tar'), an address (s3://, gs://, az://, https://), an IDX file, mnist:train or mnist:test.\nAn IMAGE is a picture file, one image of a source (mnist:test#7, photos.zip#a/b.jpg), or a source of many."
)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Whether the command trains a model.
    pub fn trains(&self) -> bool {
        matches!(self.command, Command::Train(_) | Command::Demo(_))
    }
}

/// Options that every command has, with the same meaning.
#[derive(Args)]
pub struct Common {
    /// Print machine-readable JSON, and nothing else, on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Which processor computes: auto, cpu, cuda, vulkan or metal
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Threads to compute with [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = threads())]
    pub threads: Option<usize>,
}

#[derive(Subcommand)]
pub enum Command {
    /// The article, start to end, on MNIST
    Demo(DemoArguments),
    /// Learn an autoencoder from images, without labels
    Train(Box<TrainArguments>),
    /// Encode images into a gallery
    Index(Box<IndexArguments>),
    /// Find the images of a gallery that look like a given one
    Search(Box<SearchArguments>),
    /// Score a model's answers by labels and, without any, by finding the originals of distorted
    /// copies
    Eval(Box<EvalArguments>),
    /// Show images beside what the autoencoder makes of them
    Reconstruct(Box<ReconstructArguments>),
    /// Find pictures that a gallery holds more than once, exactly or nearly; nothing is deleted
    Duplicates(DuplicatesArguments),
    /// Find pictures that are unlike the rest of a gallery
    Outliers(OutliersArguments),
    /// Write a gallery for other programs: NumPy, lines of JSON, Parquet; or its encoder, as ONNX
    Export(ExportArguments),
    /// Answer over HTTP: an API, and a web page to search with
    Serve(Box<ServeArguments>),
    /// Copy a gallery to another place; name and remove galleries on a cluster
    #[command(subcommand)]
    Gallery(GalleryCommand),
    /// Say what a model or a gallery is
    Info(InfoArguments),
}

impl Command {
    /// What is typed for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Train(_) => "train",
            Self::Index(_) => "index",
            Self::Search(_) => "search",
            Self::Eval(_) => "eval",
            Self::Reconstruct(_) => "reconstruct",
            Self::Duplicates(_) => "duplicates",
            Self::Outliers(_) => "outliers",
            Self::Export(_) => "export",
            Self::Serve(_) => "serve",
            Self::Gallery(_) => "gallery",
            Self::Info(_) => "info",
        }
    }
}

#[derive(Args)]
pub struct DemoArguments {
    /// Folder for the models, the gallery and the pictures
    #[arg(long, default_value = "lookalike-demo", value_name = "FOLDER")]
    pub out: PathBuf,
    /// Use only the first N training and the first N test images: faster, with worse answers
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(100..))]
    pub limit: Option<usize>,
    /// Epochs of our autoencoder's first stage [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub epochs: Option<usize>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
}

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
    /// How long to learn: quick (an eighth of the time), default or best (four times as long); in
    /// place of --epochs
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
    /// is f32 until bf16 has been shown to find as well; encoding is always f32
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

/// What the files of a pretrained encoder do not say.
#[derive(Args)]
pub struct PretrainedArguments {
    /// The mean of each channel, 0 to 1, where no file beside the encoder says it
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    pub encoder_mean: Vec<f32>,
    /// The standard deviation of each channel
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    pub encoder_std: Vec<f32>,
    /// The side of its images in pixels
    #[arg(long, value_name = "N")]
    pub encoder_size: Option<usize>,
    /// The output that is the code
    #[arg(long, value_name = "NAME")]
    pub encoder_output: Option<String>,
    /// How one code is made of those of patches: cls or mean
    #[arg(long, value_name = "HOW")]
    pub encoder_pool: Option<Pool>,
}

impl PretrainedArguments {
    pub fn options(&self) -> PretrainedOptions {
        let given = |numbers: &[f32]| (!numbers.is_empty()).then(|| numbers.to_vec());
        PretrainedOptions {
            mean: given(&self.encoder_mean),
            std: given(&self.encoder_std),
            size: self.encoder_size,
            output: self.encoder_output.clone(),
            pool: self.encoder_pool,
            ..PretrainedOptions::default()
        }
    }
}

/// The files and folders of encoders that were named.
pub fn named(model: &Option<PathBuf>, encoder: &Option<PathBuf>) -> Vec<PathBuf> {
    model.iter().chain(encoder).cloned().collect()
}

#[derive(Args)]
pub struct IndexArguments {
    /// Images to encode
    pub source: String,
    /// The model to encode with; a gallery that is there already knows it, unless it is on a
    /// cluster
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// A folder or .onnx file of an encoder that others have trained; with --model codes of both
    /// are joined, each counting as much as the images say
    #[arg(long, value_name = "ENCODER")]
    pub encoder: Option<PathBuf>,
    /// Reduce the codes of the pretrained encoder to N floats: their principal components over
    /// these images
    #[arg(long, value_name = "N", value_parser = positive())]
    pub reduce: Option<usize>,
    #[command(flatten)]
    pub pretrained: PretrainedArguments,
    /// The gallery to make or to bring up to date
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// cosine, euclidean, dot or manhattan, fixed when the gallery is made [default: cosine; the
    /// article's networks: euclidean]
    #[arg(long, value_name = "NAME")]
    pub metric: Option<Metric>,
    /// Do not build the neighbour graph that `search --rerank diffusion` needs
    #[arg(long)]
    pub no_diffusion: bool,
    /// Remove from the gallery what the source no longer has
    #[arg(long, conflicts_with_all = ["part", "sample"])]
    pub prune: bool,
    /// As --prune, also where a folder that had images lists none now, or the whole source: without
    /// this, that is taken for a disk that is not mounted
    #[arg(long, conflicts_with_all = ["part", "sample"])]
    pub prune_emptied: bool,
    /// Read every image again, also those whose size and times are as they were
    #[arg(long)]
    pub reread: bool,
    /// The longer side in pixels of the thumbnail kept of each image; 0: none is kept
    #[arg(long, default_value_t = lookalike::DEFAULT_THUMBNAIL_SIDE, value_name = "PIXELS", value_parser = RangedU64ValueParser::<usize>::new().range(0..=2048))]
    pub thumbnail: usize,
    /// Then go on following the folder: what is added, changed or (with --prune) removed is so in
    /// the gallery moments later
    #[arg(long, conflicts_with_all = ["part", "sample"])]
    pub watch: bool,
    #[command(flatten)]
    pub layout: LayoutArguments,
    #[command(flatten)]
    pub reading: ReadingArguments,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum RerankArgument {
    /// Rank by diffusion on the gallery's neighbour graph
    Diffusion,
    /// Rank by distance
    None,
}

impl From<RerankArgument> for Rerank {
    fn from(argument: RerankArgument) -> Self {
        match argument {
            RerankArgument::Diffusion => Rerank::Diffusion,
            RerankArgument::None => Rerank::None,
        }
    }
}

#[derive(Args)]
pub struct SearchArguments {
    /// Query images, or sources of many; also images of the gallery, by id or place, whose
    /// originals are gone
    #[arg(required_unless_present_any = ["like", "text"], value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Ask once for what is like all of these; repeatable
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["images", "include_self"])]
    pub like: Vec<String>,
    /// And unlike these; repeatable
    #[arg(
        long,
        value_name = "IMAGE",
        requires = "like",
        conflicts_with = "images"
    )]
    pub unlike: Vec<String>,
    /// Ask in words, of a gallery whose encoder has learned words too; with --like and --unlike it
    /// is one example more
    #[arg(long, value_name = "WORDS", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = ["images", "region"])]
    pub text: Option<String>,
    /// Look only at this part of the query, as X,Y,WIDTH,HEIGHT in its pixels
    #[arg(long, value_name = "X,Y,W,H")]
    pub region: Option<Region>,
    /// Where to search
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// The model that the gallery was made with; needed for one on a cluster, which keeps none
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Where the gallery's pretrained encoder is, if it has moved
    #[arg(long, value_name = "ENCODER")]
    pub encoder: Option<PathBuf>,
    /// How many neighbours
    #[arg(short, default_value_t = 5, value_name = "N", value_parser = positive())]
    pub k: usize,
    /// Another metric than the gallery's: answered exactly, by comparing with every point
    #[arg(long, value_name = "NAME")]
    pub metric: Option<Metric>,
    /// Compare with every point instead of trusting the index
    #[arg(long)]
    pub exact: bool,
    /// Only neighbours at this distance or nearer
    #[arg(long, value_name = "D", allow_negative_numbers = true, value_parser = finite)]
    pub max_distance: Option<f32>,
    /// Only neighbours whose payload passes, as in label=3 or, in quotes for the shell,
    /// "width>=100"; repeatable, all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::condition)]
    pub filters: Vec<Filter>,
    /// Let a query that the gallery has already be among its own answers; otherwise it is left out
    #[arg(long)]
    pub include_self: bool,
    /// What is done anyway; for scripts that asked for it when it was not
    #[arg(long = "exclude-self", hide = true, conflicts_with = "include_self")]
    pub _exclude_self: bool,
    /// Order of the neighbours
    #[arg(long, value_enum, default_value = "none")]
    pub rerank: RerankArgument,
    /// Neighbours that differ among themselves (maximal marginal relevance): 0, only different, to
    /// 1, only near
    #[arg(long, value_name = "LAMBDA", num_args = 0..=1, default_missing_value = "0.5", require_equals = true, value_parser = share, conflicts_with = "like")]
    pub diverse: Option<f32>,
    /// Draw queries and neighbours there (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
    #[command(flatten)]
    pub reading: ReadingArguments,
}

#[derive(Args)]
pub struct EvalArguments {
    /// Images: if they have labels, each is a query against all others, right when the labels
    /// agree; for a model alone, labelled or not, distorted copies (up to 2,000) look for their
    /// originals; with --encoder, images without labels are judged by simple descriptions
    pub source: String,
    /// The model to score
    #[arg(long, value_name = "MODEL", required_unless_present = "encoder")]
    pub model: Option<PathBuf>,
    /// A folder or .onnx file of an encoder that others have trained, to score; with --model each
    /// alone, and both joined
    #[arg(long, value_name = "ENCODER")]
    pub encoder: Option<PathBuf>,
    /// Score the codes of the pretrained encoder reduced to N floats as well; those are joined then
    #[arg(long, value_name = "N", value_parser = positive())]
    pub reduce: Option<usize>,
    #[command(flatten)]
    pub pretrained: PretrainedArguments,
    /// Ask with these labelled images instead
    #[arg(long, value_name = "SOURCE")]
    pub queries: Option<String>,
    /// cosine, euclidean, dot or manhattan [default: each encoder's]
    #[arg(long, value_name = "NAME")]
    pub metric: Option<Metric>,
    /// Order of the neighbours
    #[arg(long, value_enum, default_value = "none")]
    pub rerank: RerankArgument,
    /// Use the first N images only
    #[arg(long, value_name = "N", value_parser = positive())]
    pub limit: Option<usize>,
    /// Do not score raw pixels, PCA and colour histograms
    #[arg(long)]
    pub no_baselines: bool,
    #[command(flatten)]
    pub reading: ReadingArguments,
}

#[derive(Args)]
pub struct ReconstructArguments {
    /// Images to send through the autoencoder
    pub source: String,
    /// The model
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Draw images beside their reconstructions there (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: PathBuf,
    /// How many of the first images
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    pub count: usize,
    #[command(flatten)]
    pub reading: ReadingArguments,
}

#[derive(Args)]
#[command(
    after_help = "Exact duplicates have the same content, byte for byte; near ones are the same picture recompressed, in another size, brighter or darker, noisy or slightly cut: pictures with near codes are compared themselves, by their thumbnails. Each group has a representative, the largest picture, and all others in it are copies of that one.\n\nlookalike duplicates --gallery g                                  copies, exact and near\nlookalike duplicates --gallery g --exact-only --csv copies.csv    copies, for a spreadsheet\nlookalike duplicates --gallery g --threshold 0.001 --sheet near.png\n\nNothing is ever deleted. A member of kind same-file is not a copy but the same file under another name: a link, or a file that was indexed twice. One of kind gone is in the gallery, but its file is not there any more."
)]
pub struct DuplicatesArguments {
    /// Where to look
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// Take pictures for near duplicates whose codes are within this distance [default: pictures
    /// are compared themselves; where the gallery has no thumbnails, a distance that the data
    /// suggests]
    #[arg(long, value_name = "D", allow_negative_numbers = true, value_parser = not_negative, conflicts_with = "exact_only")]
    pub threshold: Option<f32>,
    /// Only pictures with the same content, byte for byte
    #[arg(long)]
    pub exact_only: bool,
    /// Show the N largest groups only
    #[arg(long, value_name = "N", value_parser = positive())]
    pub limit: Option<usize>,
    /// Only among pictures whose payload passes, as in source=photos or, in quotes for the shell,
    /// "width>=100"; repeatable, all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::condition)]
    pub filters: Vec<Filter>,
    /// Write the groups there, a picture a line
    #[arg(long, value_name = "CSV")]
    pub csv: Option<PathBuf>,
    /// Draw the groups there, a row each (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ByArgument {
    /// The mean distance to the nearest others
    Neighbours,
    /// How badly the gallery's model gives the picture back
    Reconstruction,
    /// Both, as far as originals can be read
    Both,
}

impl From<ByArgument> for RankBy {
    fn from(argument: ByArgument) -> Self {
        match argument {
            ByArgument::Neighbours => Self::Neighbours,
            ByArgument::Reconstruction => Self::Reconstruction,
            ByArgument::Both => Self::Both,
        }
    }
}

#[derive(Args)]
#[command(
    after_help = "Scores are robust standard deviations from what is usual in the gallery; those of 3 or less are nothing remarkable.\n\nlookalike outliers --gallery g --sheet odd.png           the 20 oddest pictures\nlookalike outliers --gallery g --by neighbours -k 5      by codes alone, without reading originals\nlookalike outliers --gallery g --where label=3           what is odd among threes"
)]
pub struct OutliersArguments {
    /// Where to look
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// The model that the gallery was made with; needed for one on a cluster, which keeps none,
    /// unless --by neighbours
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Where the gallery's pretrained encoder is, if it has moved
    #[arg(long, value_name = "ENCODER")]
    pub encoder: Option<PathBuf>,
    /// Neighbours that a picture is compared with
    #[arg(short, default_value_t = 10, value_name = "N", value_parser = positive())]
    pub k: usize,
    /// What makes an outlier
    #[arg(long, value_enum, default_value = "both")]
    pub by: ByArgument,
    /// Show so many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = positive())]
    pub count: usize,
    /// Only pictures whose payload passes, compared among themselves; repeatable, all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::condition)]
    pub filters: Vec<Filter>,
    /// Write them there, a picture a line
    #[arg(long, value_name = "CSV")]
    pub csv: Option<PathBuf>,
    /// Draw them there (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
}

#[derive(Args)]
#[command(
    group = clap::ArgGroup::new("files").required(true).multiple(true).args(["codes", "payload", "parquet", "onnx"]),
    group = clap::ArgGroup::new("points").multiple(true).args(["codes", "payload", "parquet"]).requires("gallery"),
    after_help = "All files of points hold the same points in the same order, that of their ids.\nThe ONNX file takes bytes (images x height x width x channels) and gives the codes.\n\nlookalike export --gallery g --parquet g.parquet                    for pandas, Polars, DuckDB\nlookalike export --gallery g --codes g.npy --payload g.jsonl        for NumPy\nlookalike export --gallery g --parquet threes.parquet --where label=3\nlookalike export --gallery g --onnx encoder.onnx                    for ONNX Runtime, and --encoder\nlookalike export --model m.safetensors --onnx encoder.onnx"
)]
pub struct ExportArguments {
    /// The gallery whose points or encoder are written
    #[arg(long, value_name = "GALLERY", required_unless_present_any = ["model", "encoder"])]
    pub gallery: Option<String>,
    /// The model whose encoder is written; beside a gallery it must be the gallery's, and is needed
    /// for one on a cluster, which keeps none
    #[arg(long, value_name = "MODEL", requires = "onnx")]
    pub model: Option<PathBuf>,
    /// Where the gallery's pretrained encoder is now, to say whether it can be written
    #[arg(long, value_name = "ENCODER", requires = "onnx")]
    pub encoder: Option<PathBuf>,
    /// Where to write the codes: a NumPy array of points x dimensions, in the order of ids
    #[arg(long, value_name = "NPY")]
    pub codes: Option<PathBuf>,
    /// Where to write what is known of each point, one JSON object a line in the same order
    #[arg(long, value_name = "JSONL")]
    pub payload: Option<PathBuf>,
    /// Where to write all of it: Parquet, with a list of floats for the code, in the same order
    #[arg(long, value_name = "PARQUET")]
    pub parquet: Option<PathBuf>,
    /// Where to write the encoder: ONNX, with all that happens to the pixels inside
    #[arg(long, value_name = "ONNX")]
    pub onnx: Option<PathBuf>,
    /// Only points whose payload passes; repeatable, all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::condition, requires = "points")]
    pub filters: Vec<Filter>,
}

#[derive(Args)]
pub struct InfoArguments {
    /// A model file or a gallery
    pub what: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_mirror_is_a_flag_or_a_choice() {
        for (said, meant) in [
            ("", None),
            ("--mirror", Some(true)),
            ("--mirror=false", Some(false)),
        ] {
            let line = format!("lookalike train {said} photos --out m");
            let parsed = Arguments::try_parse_from(line.split_whitespace()).unwrap();
            let Command::Train(train) = parsed.command else {
                panic!("{line} is no training");
            };
            assert_eq!((train.mirror, train.source.as_str()), (meant, "photos"));
        }
    }

    #[test]
    fn impossible_values_are_usage_errors() {
        for line in [
            "lookalike train mnist:train",
            "lookalike train mnist:train --out m --arch resnet",
            "lookalike train mnist:train --out m --size 28",
            "lookalike train mnist:train --out m --resume --restart",
            "lookalike train photos --out m --channels 0",
            "lookalike train photos --out m --fit squeeze",
            "lookalike train photos --out m --distort some",
            "lookalike train photos --out m --distort mild --strength .5",
            "lookalike train photos --out m --mirror=perhaps",
            "lookalike train photos --out m --part 3/2",
            "lookalike index photos --model m --gallery g --prune --part 1/2",
            "lookalike index photos --model m --gallery g --prune-emptied --part 1/2",
            "lookalike gallery move g a",
            "lookalike index photos --model m --gallery g --background white",
            "lookalike search --gallery g",
            "lookalike search a.png --gallery g -k 0",
            "lookalike search a.png --gallery g --region 1,2,3",
            "lookalike search a.png --gallery g --diverse=2",
            "lookalike search a.png --gallery g --unlike b.png",
            "lookalike search a.png --gallery g --like b.png",
            "lookalike search --like b.png --gallery g --include-self",
            "lookalike index photos --model m --gallery g --watch --sample 10",
            "lookalike search a.png --gallery g --max-distance NaN",
            "lookalike search a.png --gallery g --where label",
            "lookalike eval photos",
            "lookalike eval photos --encoder e --reduce 0",
            "lookalike info x --threads 0",
            "lookalike duplicates",
            "lookalike duplicates --gallery g --threshold -1",
            "lookalike duplicates --gallery g --threshold 0.1 --exact-only",
            "lookalike duplicates --gallery g --limit 0",
            "lookalike outliers --gallery g -k 0",
            "lookalike outliers --gallery g --by looks",
            "lookalike export --gallery g",
            "lookalike serve",
            "lookalike gallery",
            "lookalike gallery copy a",
            "lookalike gallery copy a b --shards 0",
            "lookalike gallery copy a b --quantize much",
            "lookalike gallery copy a b --payload-index label=keyword",
            "lookalike gallery alias qdrant://h/a",
            "lookalike serve --gallery g --token short",
            "lookalike serve --gallery g --token a-long-enough-token --token-file t",
            "lookalike serve --gallery g --listen everywhere",
            "lookalike serve --gallery g --tls-key k.pem",
            "lookalike serve --gallery g --prune",
            "lookalike serve --gallery g --proxy nginx",
            "lookalike serve --gallery g --log loud",
            "lookalike serve --gallery g --timeout 0",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' '));
            assert!(parsed.is_err(), "{line}");
        }
    }
}
