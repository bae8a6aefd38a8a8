//! What can be typed behind `lookalike duplicates` and `lookalike outliers`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lookalike::gallery::Filter;
use lookalike::outliers::RankBy;

use super::values::{not_negative, positive};

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
    after_help = "The file holds small pictures and loads nothing from elsewhere: it can be sent to anybody who may see them.\n\nlookalike report --gallery g --out report.html"
)]
pub struct ReportArguments {
    /// What is reported of
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// Where to write it (HTML)
    #[arg(long, value_name = "HTML")]
    pub out: PathBuf,
}
