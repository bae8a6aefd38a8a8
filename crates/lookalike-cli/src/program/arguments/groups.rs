//! What can be typed behind `lookalike groups`.

use std::path::PathBuf;

use clap::Args;
use lookalike::gallery::Filter;

use super::values::positive;

#[derive(Args)]
#[command(
    after_help = "Groups are communities of the graph of nearest neighbours; no label is looked at, except to name them. How many there are follows from the pictures. Scores say how typical a picture is of its group, 1 to 0.\n\nlookalike groups --gallery g --sheet groups.png             a row of pictures for each group\nlookalike groups --gallery g --count 20 --csv groups.csv    20 groups, for a spreadsheet\nlookalike groups --gallery g --keep                         then: search --where group=3, export --where group=3\n\nKept groups stay when the pictures are indexed again; pictures that are new have none until groups are kept again."
)]
pub struct GroupsArguments {
    /// Where to look
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// Divide into N groups [default: as many as stand out]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub count: Option<usize>,
    /// Different pictures that a group has at least; what is left is in none
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = positive())]
    pub min_size: usize,
    /// Only pictures whose payload passes; repeatable, all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::condition)]
    pub filters: Vec<Filter>,
    /// Keep the number of each picture's group in the gallery, as its field `group`; with --where,
    /// other pictures lose theirs
    #[arg(long)]
    pub keep: bool,
    /// Write the pictures of all groups there, a picture a line
    #[arg(long, value_name = "CSV")]
    pub csv: Option<PathBuf>,
    /// Draw typical pictures of the groups there, a row each, and at its end outliers (PNG)
    #[arg(long, value_name = "PNG")]
    pub sheet: Option<PathBuf>,
}
