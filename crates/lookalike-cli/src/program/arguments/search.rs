//! What can be typed behind `lookalike search`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, ValueEnum};
use lookalike::gallery::{Filter, Rerank, Strategy};
use lookalike::images::Region;
use lookalike::neighbours::Metric;

use super::values::{finite, positive, share};
use crate::program::reading::ReadingArguments;

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

#[derive(Clone, Copy, ValueEnum)]
pub enum StrategyArgument {
    /// By what tells the liked from the others; a few examples count like their mean
    Learned,
    /// By the mean of the liked, away from the mean of the others
    Average,
    /// By the nearest example alone
    BestScore,
}

impl From<StrategyArgument> for Strategy {
    fn from(argument: StrategyArgument) -> Self {
        match argument {
            StrategyArgument::Learned => Strategy::Learned,
            StrategyArgument::Average => Strategy::Average,
            StrategyArgument::BestScore => Strategy::BestScore,
        }
    }
}

#[derive(Args)]
#[command(group(ArgGroup::new("examples").args(["like", "named"]).multiple(true)))]
pub struct SearchArguments {
    /// Query images, or sources of many; also images of the gallery, by id or place, whose
    /// originals are gone
    #[arg(required_unless_present_any = ["like", "named", "text"], value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Ask once for what is like all of these; repeatable
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["images", "include_self"])]
    pub like: Vec<String>,
    /// And unlike these; repeatable
    #[arg(
        long,
        value_name = "IMAGE",
        requires = "examples",
        conflicts_with = "images"
    )]
    pub unlike: Vec<String>,
    /// Ask again with the examples, and the condition, of a search that was kept with --save; with
    /// --like and --unlike these are examples, too
    #[arg(long, value_name = "NAME", conflicts_with_all = ["images", "include_self"])]
    pub named: Option<String>,
    /// Keep the search by these examples in the gallery's folder, to ask again with --named NAME
    #[arg(long, value_name = "NAME", requires = "examples")]
    pub save: Option<String>,
    /// How the examples are weighed [default: learned, or as in the named search]
    #[arg(long, value_enum, requires = "examples")]
    pub strategy: Option<StrategyArgument>,
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
    #[arg(long, value_name = "LAMBDA", num_args = 0..=1, default_missing_value = "0.5", require_equals = true, value_parser = share, conflicts_with = "examples")]
    pub diverse: Option<f32>,
    /// Find the query also as a part of pictures, in a gallery that was indexed with --tiles; says
    /// where
    #[arg(long, conflicts_with_all = ["examples", "metric", "diverse"])]
    pub tiles: bool,
    /// Draw queries and neighbours there (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
    #[command(flatten)]
    pub reading: ReadingArguments,
}
