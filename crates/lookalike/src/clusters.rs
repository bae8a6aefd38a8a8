//! What is particular to galleries on clusters. `without_clusters` stands in for it in builds that
//! leave the feature `cluster` out.

use lookalike_gallery::{
    ClusterAddress, ClusterGallery, ClusterInfo, ClusterOptions, CodeSpec, Gallery, GalleryInfo,
    GalleryOptions,
};

use crate::Error;

pub(crate) fn create(
    address: &str,
    codes: &CodeSpec,
    options: &GalleryOptions,
) -> Result<Box<dyn Gallery>, Error> {
    let gallery = ClusterGallery::create(&address.parse()?, codes, options)?;
    Ok(Box::new(gallery))
}

pub(crate) fn open(address: &str, options: &GalleryOptions) -> Result<Box<dyn Gallery>, Error> {
    Ok(Box::new(ClusterGallery::open(&address.parse()?, options)?))
}

pub(crate) fn open_or_create(
    address: &str,
    codes: &CodeSpec,
    options: &GalleryOptions,
) -> Result<Box<dyn Gallery>, Error> {
    let gallery = ClusterGallery::open_or_create(&address.parse()?, codes, options)?;
    Ok(Box::new(gallery))
}

/// Where a gallery is: an alias is the collection that it means.
pub(crate) fn place(gallery: &dyn Gallery, info: &GalleryInfo) -> String {
    match gallery.as_cluster() {
        Some(cluster) => cluster.collection_address().to_string(),
        None => info.name.clone(),
    }
}

/// Where and how a gallery is kept, if that is on a cluster.
///
/// # Errors
///
/// When the cluster does not answer.
pub fn cluster_info(gallery: &dyn Gallery) -> Result<Option<ClusterInfo>, Error> {
    let cluster = gallery.as_cluster();
    Ok(cluster.map(ClusterGallery::cluster_info).transpose()?)
}

/// Whether the name that a gallery was opened by means another one by now: an alias was switched.
///
/// # Errors
///
/// When the cluster does not answer.
pub fn has_moved(gallery: &dyn Gallery) -> Result<bool, Error> {
    let moved = gallery.as_cluster().map(ClusterGallery::has_moved);
    Ok(moved.transpose()?.unwrap_or(false))
}

/// Makes an alias mean a collection, whatever it meant before, in one step. The cluster's key comes
/// from the environment.
///
/// # Errors
///
/// When there is no such collection of ours, the alias is a collection's own name, or the cluster
/// does not answer.
pub fn switch_alias(alias: &ClusterAddress, collection: &str) -> Result<(), Error> {
    let options = ClusterOptions::from_environment()?;
    Ok(lookalike_gallery::switch_alias(alias, collection, options)?)
}

/// Removes a collection with all its points, for good. The cluster's key comes from the
/// environment.
///
/// # Errors
///
/// When there is no such collection of ours, the name is an alias, or the cluster does not answer.
pub fn remove_collection(address: &ClusterAddress) -> Result<(), Error> {
    let options = ClusterOptions::from_environment()?;
    Ok(lookalike_gallery::remove_collection(address, options)?)
}
