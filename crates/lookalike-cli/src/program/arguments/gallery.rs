//! What can be typed behind `lookalike gallery`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::program::cluster_options::ClusterOptions;

#[derive(Subcommand)]
pub enum GalleryCommand {
    /// Copy all points, with their thumbnails, and compare the two; run it again to complete a copy
    /// that was stopped
    Copy(Box<CopyArguments>),
    /// List the sources of a gallery, and how many images of each it holds
    Sources(SourcesArguments),
    /// Remove all images of a source from a gallery; the files are left alone
    Forget(ForgetArguments),
    /// Say that a source is at another path now: its images keep their codes, thumbnails and ids
    Move(MoveArguments),
    /// Make an alias mean a collection, at once, whatever it meant before
    Alias(AliasArguments),
    /// Remove a collection from a cluster, for good
    Remove(RemoveArguments),
}

#[derive(Args)]
#[command(
    after_help = "lookalike gallery copy photos.gallery qdrant://host/photos               to a cluster\nlookalike gallery copy qdrant://host/photos photos.gallery --model m   and back"
)]
pub struct CopyArguments {
    /// The gallery to copy
    pub from: String,
    /// Where to: it is made, if nothing is there
    pub to: String,
    /// The model that the gallery was made with; needed for one on a cluster, which keeps none
    #[arg(long, visible_alias = "encoder", value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Remove points that the copied gallery does not have
    #[arg(long)]
    pub prune: bool,
    /// Do not build the neighbour graph, where the copied gallery has one
    #[arg(long)]
    pub no_diffusion: bool,
    #[command(flatten)]
    pub cluster: ClusterOptions,
}

#[derive(Args)]
#[command(
    after_help = "lookalike gallery alias qdrant://host/photos photos-2      what asks for photos gets photos-2 from now on"
)]
pub struct AliasArguments {
    /// The alias, as qdrant://host/alias
    pub alias: String,
    /// The collection's own name
    pub collection: String,
}

#[derive(Args)]
pub struct SourcesArguments {
    /// The gallery
    pub gallery: String,
}

#[derive(Args)]
#[command(
    after_help = "lookalike gallery forget photos.gallery /home/me/old      images of a folder that is gone, or is not wanted any more"
)]
pub struct ForgetArguments {
    /// The gallery
    pub gallery: String,
    /// The source, as `gallery sources` lists it
    pub source: String,
}

#[derive(Args)]
#[command(
    after_help = "lookalike gallery move photos.gallery /home/me/pictures /mnt/nas/pictures      after the folder was moved there"
)]
pub struct MoveArguments {
    /// The gallery
    pub gallery: String,
    /// The source, as `gallery sources` lists it
    pub source: String,
    /// Where it is now
    pub to: String,
}

#[derive(Args)]
pub struct RemoveArguments {
    /// The collection, as qdrant://host/name
    pub gallery: String,
    /// Confirm that the collection is removed permanently
    #[arg(long)]
    pub yes: bool,
}
