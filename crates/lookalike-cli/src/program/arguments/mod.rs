//! What can be typed. Meanings are made of it in each command's file.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use lookalike::autoencoder::DeviceChoice;
use lookalike::gallery::Filter;
use lookalike::neighbours::Metric;

use crate::program::cluster_options::ClusterOptions;
use crate::program::reading::ReadingArguments;

mod encoders;
mod findings;
mod gallery;
mod groups;
mod labels;
mod search;
mod serve;
mod train;
mod values;

pub use encoders::{PretrainedArguments, named};
pub use findings::{
    CheckArguments, DuplicatesArguments, KeepArguments, OutliersArguments, ReportArguments,
};
pub use gallery::*;
pub use groups::GroupsArguments;
pub use labels::{SampleArguments, SuggestArguments};
pub use search::{RerankArgument, SearchArguments};
pub use serve::{LogArgument, ServeArguments};
pub use train::TrainArguments;

use values::{positive, threads, tiles};

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
    /// Divide a gallery's pictures into groups of what looks alike
    Groups(GroupsArguments),
    /// Choose pictures that cover a gallery, for instance to label them
    Sample(SampleArguments),
    /// Suggest labels by the nearest labelled pictures, and find labels that may be mistakes
    Suggest(SuggestArguments),
    /// Find pictures with something wrong: blank, dark, blurred, half-decoded and the like
    Check(CheckArguments),
    /// Write a gallery for other programs: NumPy, lines of JSON, Parquet; or its encoder, as ONNX
    Export(ExportArguments),
    /// Write a gallery's map, groups, some answers, copies, outliers and quality as one HTML file
    Report(ReportArguments),
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
            Self::Groups(_) => "groups",
            Self::Sample(_) => "sample",
            Self::Suggest(_) => "suggest",
            Self::Check(_) => "check",
            Self::Export(_) => "export",
            Self::Report(_) => "report",
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
    /// Keep codes of parts as well, at most N of each image, to find with `search --tiles` what is
    /// only a part of a picture; 4 to 1000, 0 for none any more. Later runs keep them by themselves
    /// [default: 30]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "30", require_equals = true, value_parser = tiles)]
    pub tiles: Option<usize>,
    /// Do not keep what cameras wrote about photographs (EXIF: when, with which camera and lens,
    /// where), and forget it of the images that are gone through; this holds for the gallery
    #[arg(long)]
    pub no_exif: bool,
    /// Keep it again, in a gallery for which --no-exif held; of what is there already with --reread
    #[arg(long, conflicts_with = "no_exif")]
    pub exif: bool,
    /// Then go on following the folder: what is added, changed or (with --prune) removed is so in
    /// the gallery moments later
    #[arg(long, conflicts_with_all = ["part", "sample"])]
    pub watch: bool,
    #[command(flatten)]
    pub cluster: ClusterOptions,
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
    group = clap::ArgGroup::new("files").required(true).multiple(true).args(["codes", "payload", "parquet", "onnx"]),
    group = clap::ArgGroup::new("points").multiple(true).args(["codes", "payload", "parquet"]).requires("gallery"),
    after_help = "All files of points hold the same points in the same order, that of their ids.\nThe ONNX file takes bytes (images x height x width x channels) and gives the codes.\n\nlookalike export --gallery g --parquet g.parquet                    for pandas, Polars, DuckDB\nlookalike export --gallery g --parquet g.parquet --map --neighbours 15    for Embedding Atlas\nlookalike export --gallery g --codes g.npy --payload g.jsonl        for NumPy\nlookalike export --gallery g --parquet threes.parquet --where label=3\nlookalike export --gallery g --onnx encoder.onnx                    for ONNX Runtime, and --encoder\nlookalike export --model m.safetensors --onnx encoder.onnx"
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
    /// Lay out the map, and write where each picture is on it to the Parquet file: x and y, 0 to 1
    #[arg(long, requires = "parquet")]
    pub map: bool,
    /// Write the K nearest others of each picture to the Parquet file: numbers of rows, and
    /// distances
    #[arg(long, value_name = "K", requires = "parquet", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    pub neighbours: Option<usize>,
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
    fn the_mirror_and_turns_are_flags_or_choices() {
        for (said, mirror, turn) in [
            ("", None, None),
            ("--mirror --turn=false", Some(true), Some(false)),
            ("--mirror=false --turn", Some(false), Some(true)),
        ] {
            let line = format!("lookalike train {said} photos --out m");
            let parsed = Arguments::try_parse_from(line.split_whitespace()).unwrap();
            let Command::Train(train) = parsed.command else {
                panic!("{line} is no training");
            };
            assert_eq!((train.mirror, train.turn), (mirror, turn));
            assert_eq!(train.source, "photos");
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
            "lookalike index photos --model m --gallery g --exif --no-exif",
            "lookalike search --gallery g",
            "lookalike search a.png --gallery g -k 0",
            "lookalike search a.png --gallery g --region 1,2,3",
            "lookalike search a.png --gallery g --diverse=2",
            "lookalike search --like a.png --gallery g --tiles",
            "lookalike index photos --model m --gallery g --tiles=3",
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
            "lookalike groups --gallery g --count 0",
            "lookalike sample --gallery g",
            "lookalike suggest --gallery g -k 0",
            "lookalike check",
            "lookalike check --gallery g --limit 0",
            "lookalike export --gallery g",
            "lookalike export --gallery g --codes c.npy --map",
            "lookalike export --gallery g --parquet p --neighbours 0",
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
