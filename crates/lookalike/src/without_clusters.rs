//! What stands in for `clusters` in builds that leave the feature `cluster` out.

use lookalike_gallery::{
    ClusterAddress, ClusterInfo, CodeSpec, Gallery, GalleryError, GalleryInfo, GalleryOptions,
};

use crate::Error;

fn left_out(name: impl Into<String>) -> Error {
    Error::Gallery(GalleryError::WithoutClusters { name: name.into() })
}

pub(crate) fn create(
    address: &str,
    _codes: &CodeSpec,
    _options: &GalleryOptions,
) -> Result<Box<dyn Gallery>, Error> {
    Err(left_out(address))
}

pub(crate) fn open(address: &str, _options: &GalleryOptions) -> Result<Box<dyn Gallery>, Error> {
    Err(left_out(address))
}

pub(crate) fn open_or_create(
    address: &str,
    _codes: &CodeSpec,
    _options: &GalleryOptions,
) -> Result<Box<dyn Gallery>, Error> {
    Err(left_out(address))
}

/// Where a gallery is.
pub(crate) fn place(_gallery: &dyn Gallery, info: &GalleryInfo) -> String {
    info.name.clone()
}

/// Where and how a gallery is kept, if that is on a cluster: in this build none is.
///
/// # Errors
///
/// None in this build.
pub fn cluster_info(_gallery: &dyn Gallery) -> Result<Option<ClusterInfo>, Error> {
    Ok(None)
}

/// Whether the name that a gallery was opened by means another one by now: in this build it never
/// does.
///
/// # Errors
///
/// None in this build.
pub fn has_moved(_gallery: &dyn Gallery) -> Result<bool, Error> {
    Ok(false)
}

/// Makes an alias mean a collection: this build cannot.
///
/// # Errors
///
/// Always.
pub fn switch_alias(alias: &ClusterAddress, _collection: &str) -> Result<(), Error> {
    Err(left_out(alias.to_string()))
}

/// Removes a collection: this build cannot.
///
/// # Errors
///
/// Always.
pub fn remove_collection(address: &ClusterAddress) -> Result<(), Error> {
    Err(left_out(address.to_string()))
}
