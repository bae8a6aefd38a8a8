//! Galleries by their names, in folders and on clusters, and the encoders that belong to them.

use std::path::{Path, PathBuf};

use lookalike_autoencoder::{Autoencoder, DeviceChoice};
use lookalike_gallery::{ClusterAddress, CollectionLayout, EmbeddedGallery, Gallery};
use lookalike_neighbours::Metric;

use crate::pretrained::files_of;
use crate::{Encoder, Error, PretrainedEncoder, clusters, load_encoder};

/// Makes an empty gallery for `encoder` in a folder, by `metric` or the encoder's default.
///
/// # Errors
///
/// When something is there already, or the folder cannot be written.
pub fn create_gallery(
    path: impl AsRef<Path>,
    encoder: &dyn Encoder,
    metric: Option<Metric>,
) -> Result<EmbeddedGallery, Error> {
    let metric = metric.unwrap_or_else(|| encoder.default_metric());
    let bytes = encoder.to_bytes();
    Ok(EmbeddedGallery::create(
        path,
        metric,
        encoder.code_dim(),
        &bytes,
    )?)
}

/// Opens the gallery that `name` means: a folder's path, or an address on a cluster as
/// `qdrant://host/name` ([`ClusterAddress`]). The cluster's key comes from the environment
/// ([`ClusterOptions::from_environment`](lookalike_gallery::ClusterOptions::from_environment)).
///
/// # Errors
///
/// When there is none, it is damaged, another process has the folder open, or the cluster does not
/// answer.
pub fn open_gallery(name: &str) -> Result<Box<dyn Gallery>, Error> {
    refuse_half_address(name)?;
    Ok(match ClusterAddress::is_meant_by(name) {
        true => clusters::open(name)?,
        false => Box::new(EmbeddedGallery::open(name)?),
    })
}

/// Opens the gallery `name` if it fits `encoder` and `metric` (none: whatever it has), or makes it;
/// on a cluster as `layout` says.
///
/// # Errors
///
/// When it is there with another model or metric, and as [`open_gallery`].
pub fn open_or_create_gallery(
    name: &str,
    encoder: &dyn Encoder,
    metric: Option<Metric>,
    layout: &CollectionLayout,
) -> Result<Box<dyn Gallery>, Error> {
    refuse_half_address(name)?;
    let (default, dims) = (encoder.default_metric(), encoder.code_dim());
    open_or_create_for(name, &encoder.to_bytes(), metric, default, dims, layout)
}

/// Refuses what was meant as an address: it would be a folder of that name.
fn refuse_half_address(name: &str) -> Result<(), Error> {
    let rest = name
        .split_once(':')
        .filter(|(scheme, rest)| scheme.eq_ignore_ascii_case("qdrant") && !rest.starts_with("//"));
    match rest {
        Some((_, rest)) => Err(Error::Unusable(format!(
            "{name} is no gallery's name: an address on a cluster is written qdrant://HOST:6334/{}, and a folder of that name ./{name}",
            rest.trim_start_matches('/')
        ))),
        None => Ok(()),
    }
}

/// As [`open_or_create_gallery`], by the bytes of the model's file.
pub(crate) fn open_or_create_for(
    name: &str,
    model: &[u8],
    metric: Option<Metric>,
    default: Metric,
    dims: usize,
    layout: &CollectionLayout,
) -> Result<Box<dyn Gallery>, Error> {
    Ok(match ClusterAddress::is_meant_by(name) {
        true => clusters::open_or_create(name, model, metric, default, dims, layout)?,
        false => Box::new(EmbeddedGallery::open_or_create_with(
            name, metric, default, dims, model,
        )?),
    })
}

/// The encoder that a gallery's codes come from: the one of `models` (files) that has its
/// fingerprint or, if none is given, the one that the gallery keeps.
///
/// # Errors
///
/// When none of `models` is the gallery's, none is given for a gallery on a cluster, which keeps
/// none, or a file cannot be read.
pub fn encoder_of(
    gallery: &dyn Gallery,
    models: &[PathBuf],
    device: DeviceChoice,
) -> Result<Box<dyn Encoder>, Error> {
    let info = gallery.describe()?;
    let (name, wanted) = (&info.name, &info.model_fingerprint);
    if models.is_empty() {
        if let Some(encoder) = PretrainedEncoder::of_gallery(gallery)? {
            return fitting(Box::new(encoder), name, wanted);
        }
        let bytes = gallery
            .model()?
            .ok_or_else(|| without_model(name, wanted))?;
        if PretrainedEncoder::is_description(&bytes) {
            return Err(Error::Unusable(format!(
                "the gallery {name} was made for a pretrained encoder and does not know where it is: name its folder or file"
            )));
        }
        let of = format!("the model of {name}");
        return Ok(Box::new(Autoencoder::from_bytes(&bytes, &of, device)?));
    }
    // What an encoder's files do not say, the gallery may know.
    let options = files_of(gallery)?.map(|files| files.options);
    let options = options.unwrap_or_default();
    let mut others = Vec::new();
    for path in models {
        let encoder = load_encoder(path, &options, device)?;
        let fingerprint = encoder.fingerprint();
        if fingerprint == *wanted {
            return Ok(encoder);
        }
        others.push(format!("{} is {}", path.display(), short(&fingerprint)));
    }
    Err(Error::Unusable(format!(
        "the gallery {name} was made with model {}, and {}: use its model",
        short(wanted),
        others.join(", ")
    )))
}

/// That a gallery on a cluster keeps no model.
pub(crate) fn without_model(name: &str, fingerprint: &str) -> Error {
    Error::Unusable(format!(
        "the gallery {name} is on a cluster, which keeps no model, only that it is {}: name its file",
        short(fingerprint)
    ))
}

/// Refuses an encoder whose files are no longer those that the gallery was made with.
fn fitting(encoder: Box<dyn Encoder>, name: &str, wanted: &str) -> Result<Box<dyn Encoder>, Error> {
    match encoder.fingerprint() == wanted {
        true => Ok(encoder),
        false => Err(Error::Unusable(format!(
            "the files of the gallery {name}'s encoder have changed since it was made ({}): restore them, or index into a new gallery",
            encoder.name()
        ))),
    }
}

/// The beginning of a fingerprint, enough to tell models apart.
pub(crate) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_address_is_no_folder() {
        for name in ["qdrant:photos", "Qdrant:/photos"] {
            let error = open_gallery(name).err().unwrap().to_string();
            assert!(error.contains("qdrant://HOST:6334/photos"), "{error}");
        }
        let error = open_gallery("./qdrant:photos").err().unwrap();
        assert!(error.to_string().contains("lookalike train"), "{error}");
    }

    #[cfg(not(feature = "cluster"))]
    #[test]
    fn a_build_without_clusters_says_so() {
        let error = open_gallery("qdrant://host/photos").err().unwrap();
        assert!(
            error.to_string().contains("the feature `cluster`"),
            "{error}"
        );
    }
}
