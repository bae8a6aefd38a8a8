//! What can be typed behind `lookalike duplicates`, `outliers` and `check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lookalike::duplicates::KeepRule;
use lookalike::gallery::Filter;
use lookalike::outliers::RankBy;

use super::values::{not_negative, positive};

#[derive(Args)]
#[command(
    after_help = "Exact duplicates have the same content, byte for byte; near ones are the same picture recompressed, in another size, brighter or darker, noisy or slightly cut: pictures with near codes are compared themselves, by their thumbnails. Each group has a representative, the largest picture, and all others in it are copies of that one.\n\nlookalike duplicates --gallery g                                  copies, exact and near\nlookalike duplicates --gallery g --exact-only --csv copies.csv    copies, for a spreadsheet\nlookalike duplicates --gallery g --threshold 0.001 --sheet near.png\nlookalike duplicates --gallery g --across train test              what a test set shares with a training set\nlookalike duplicates --gallery g --keep resolution,format --script move.sh --move-to copies\n\nNothing is ever deleted or changed. --script writes a script for sh that says what it will do, does it when you run it, and leaves alone what has changed since; MOVE-undo.sh beside it puts all back. Without --script, the same is only told. Only exact copies move, unless --near. A member of kind same-file is not a copy but the same file under another name: a link, or a file that was indexed twice. One of kind gone is in the gallery, but its file is not there any more."
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
    /// Mirrored and rotated copies too: seven more encodings for each picture
    #[arg(long, conflicts_with_all = ["threshold", "exact_only"])]
    pub turned: bool,
    /// With --turned, the model that the gallery was made with, for one that keeps none
    #[arg(long, value_name = "MODEL", requires = "turned")]
    pub model: Option<PathBuf>,
    /// With --turned, where the gallery's pretrained encoder is, if it has moved
    #[arg(long, value_name = "ENCODER", requires = "turned")]
    pub encoder: Option<PathBuf>,
    /// Only copies between two parts of the gallery, each a source or a condition such as
    /// split=test: leaks from one to the other, which are counted
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "within_folder")]
    pub across: Vec<String>,
    /// Only copies of pictures that lie in the same folder
    #[arg(long)]
    pub within_folder: bool,
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
    #[command(flatten)]
    pub keep: KeepArguments,
}

/// What is to be done with copies.
#[derive(Args)]
pub struct KeepArguments {
    /// Say which copy of each is kept, by these rules in their order: resolution (the most pixels),
    /// sharpness (the most detail at one size), format (what loses nothing first), bytes (the
    /// most), folder (as --prefer says), oldest, newest [default, where something is to be done:
    /// resolution,format,bytes,oldest]
    #[arg(long, value_name = "RULES", value_delimiter = ',', value_parser = str::parse::<KeepRule>)]
    pub keep: Vec<KeepRule>,
    /// Rather keep what lies in this folder; repeatable, the most preferred first. Without --keep
    /// it is the first rule
    #[arg(long, value_name = "FOLDER")]
    pub prefer: Vec<PathBuf>,
    /// Let near copies give way too: one picture of each group is kept. Otherwise one of each
    /// content
    #[arg(long, conflicts_with_all = ["exact_only", "hard_link"])]
    pub near: bool,
    /// Move copies to this folder, each to SOURCE/KEY in it
    #[arg(long, value_name = "FOLDER", conflicts_with = "hard_link")]
    pub move_to: Option<PathBuf>,
    /// Replace exact copies by hard links to what is kept
    #[arg(long)]
    pub hard_link: bool,
    /// Write what is to be done there, as a script for sh, and beside it what undoes it
    #[arg(long, value_name = "SH")]
    pub script: Option<PathBuf>,
}

impl KeepArguments {
    /// Whether anything was asked about what is kept.
    pub fn is_asked(&self) -> bool {
        self.is_planned() || self.near || !self.keep.is_empty() || !self.prefer.is_empty()
    }

    /// Whether it was said what is to be done with copies.
    pub fn is_planned(&self) -> bool {
        self.hard_link || self.move_to.is_some()
    }
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

#[derive(Args)]
#[command(
    after_help = "Pictures are judged by what was found out about them while they were indexed; what counts as a fault follows from the collection. --where knows the same measures: brightness and contrast (of luma), sharpness, entropy (bits), colourfulness, flat_bottom and undecoded (shares of the rows).\n\nlookalike check --gallery g                               what is wrong, and how the measures are distributed\nlookalike check --gallery g --csv faults.csv --sheet faults.png\nlookalike check --gallery g --where source=photos         what is usual there\nlookalike search a.jpg --gallery g --where \"sharpness>=0.5\""
)]
pub struct CheckArguments {
    /// Where to look
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// Give the N worst pictures of each fault only [default: 10; for --csv all]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub limit: Option<usize>,
    /// Only pictures whose payload passes, judged by what is usual among them; repeatable, all must
    /// hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::condition)]
    pub filters: Vec<Filter>,
    /// Write them there, a fault of a picture a line
    #[arg(long, value_name = "CSV")]
    pub csv: Option<PathBuf>,
    /// Draw the worst of each fault there, a row each (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
}
