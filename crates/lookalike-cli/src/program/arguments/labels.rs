//! What can be typed behind `lookalike sample` and `lookalike suggest`.

use std::path::PathBuf;

use clap::Args;
use lookalike::gallery::Filter;

use super::values::positive;

#[derive(Args)]
#[command(
    after_help = "The first picture is the most central one, every other the one least like all before (k-centre, greedily), so that the first N cover the gallery well for any N. Rare kinds come early, and so do misfits.\n\nlookalike sample --cover 200 --gallery g --csv to-label.csv\nlookalike sample --cover 40 --gallery g --where group=3 --sheet kinds.png"
)]
pub struct SampleArguments {
    /// How many pictures shall cover the gallery
    #[arg(long, value_name = "N", value_parser = positive())]
    pub cover: usize,
    /// Where to choose
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// Only among pictures whose payload passes; repeatable, all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::condition)]
    pub filters: Vec<Filter>,
    /// Write them there, a picture a line, in the order in which they were chosen
    #[arg(long, value_name = "CSV")]
    pub csv: Option<PathBuf>,
    /// Draw them there (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
}

#[derive(Args)]
#[command(
    after_help = "The nearest labelled pictures vote. Confidences are fitted to the labels that are there: of those at 0.9, nine of ten are right. Where the neighbours contradict a picture's own label with a confidence of 0.8 and more, that is suspected to be a mistake.\n\nlookalike suggest --gallery g --csv suggested.csv                       by the gallery's own labels\nlookalike suggest --gallery g --labels labels.csv --csv suggested.csv   and by those of a table: key,label\nlookalike suggest --gallery g --sheet mistakes.png                      labels that may be wrong\n\nNothing is changed: correct the labels where they come from, and index again."
)]
pub struct SuggestArguments {
    /// Where to look
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// Labels that count before the gallery's own: a CSV file with the columns id (or key) and
    /// label
    #[arg(long, value_name = "CSV")]
    pub labels: Option<PathBuf>,
    /// Labelled neighbours that vote
    #[arg(short, default_value_t = 10, value_name = "N", value_parser = positive())]
    pub k: usize,
    /// Show so many of each
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = positive())]
    pub count: usize,
    /// Only pictures whose payload passes, compared among themselves; repeatable, all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::condition)]
    pub filters: Vec<Filter>,
    /// Write all suggestions and suspected mistakes there, a picture a line
    #[arg(long, value_name = "CSV")]
    pub csv: Option<PathBuf>,
    /// Draw suspected mistakes there, each beside the nearest picture with the label that is
    /// suggested (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
}
