//! Galleries by their names, in folders and on clusters, and the encoders that belong to them.

use std::path::{Path, PathBuf};

use lookalike_autoencoder::{Autoencoder, DeviceChoice};
use lookalike_gallery::{ClusterAddress, CodeSpec, EmbeddedGallery, Gallery, GalleryOptions};

use crate::adapted::{self, KeptAdaptation};
use crate::pretrained::files_of;
use crate::{Encoder, Error, PretrainedEncoder, clusters, load_encoder};

/// Makes an empty gallery for `encoder`, in a folder or on a cluster as [`open_gallery`] names it.
///
/// # Errors
///
/// When something is there already, or it cannot be written.
pub fn create_gallery(
    name: impl AsRef<Path>,
    encoder: &dyn Encoder,
    options: &GalleryOptions,
) -> Result<Box<dyn Gallery>, Error> {
    let (model, name) = (encoder.to_bytes(), name.as_ref());
    let codes = codes_of(encoder, &model);
    Ok(match cluster_address(name)? {
        Some(address) => clusters::create(address, &codes, options)?,
        None => Box::new(EmbeddedGallery::create(name, &codes, options)?),
    })
}

/// Opens the gallery that `name` means: a folder's path, or an address on a cluster as
/// `qdrant://host/name` ([`ClusterAddress`]). The cluster's key comes from the environment
/// ([`ClusterOptions::from_environment`](lookalike_gallery::ClusterOptions::from_environment));
/// [`open_gallery_with`] takes another.
///
/// # Errors
///
/// When there is none, it is damaged, another process has the folder open, or the cluster does not
/// answer.
pub fn open_gallery(name: impl AsRef<Path>) -> Result<Box<dyn Gallery>, Error> {
    open_gallery_with(name, &GalleryOptions::new())
}

/// As [`open_gallery`], with the cluster's options given. What `options` say of new galleries
/// means nothing here.
///
/// # Errors
///
/// As [`open_gallery`].
pub fn open_gallery_with(
    name: impl AsRef<Path>,
    options: &GalleryOptions,
) -> Result<Box<dyn Gallery>, Error> {
    let name = name.as_ref();
    Ok(match cluster_address(name)? {
        Some(address) => clusters::open(address, options)?,
        None => Box::new(EmbeddedGallery::open(name)?),
    })
}

/// Opens the gallery `name` if it fits `encoder` and `options`, or makes it.
///
/// # Errors
///
/// When it is there with another model or metric, and as [`open_gallery`].
pub fn open_or_create_gallery(
    name: impl AsRef<Path>,
    encoder: &dyn Encoder,
    options: &GalleryOptions,
) -> Result<Box<dyn Gallery>, Error> {
    let model = encoder.to_bytes();
    open_or_create_for(name.as_ref(), &codes_of(encoder, &model), options)
}

/// As [`open_or_create_gallery`], for the codes of a model's file.
pub(crate) fn open_or_create_for(
    name: &Path,
    codes: &CodeSpec,
    options: &GalleryOptions,
) -> Result<Box<dyn Gallery>, Error> {
    Ok(match cluster_address(name)? {
        Some(address) => clusters::open_or_create(address, codes, options)?,
        None => Box::new(EmbeddedGallery::open_or_create(name, codes, options)?),
    })
}

/// The codes of an encoder whose file is `model`.
fn codes_of<'a>(encoder: &dyn Encoder, model: &'a [u8]) -> CodeSpec<'a> {
    CodeSpec::new(encoder.default_metric(), encoder.code_dim(), model)
}

/// The address on a cluster that `name` is, if it is one. Refuses what was meant as an address and
/// would be a folder of that name.
fn cluster_address(name: &Path) -> Result<Option<&str>, Error> {
    let Some(name) = name.to_str() else {
        return Ok(None);
    };
    let rest = name
        .split_once(':')
        .filter(|(scheme, rest)| scheme.eq_ignore_ascii_case("qdrant") && !rest.starts_with("//"));
    match rest {
        Some((_, rest)) => Err(Error::Unusable(format!(
            "{name} is not a gallery's name: an address on a cluster is written qdrant://HOST:6334/{}, and a folder of that name ./{name}",
            rest.trim_start_matches('/')
        ))),
        None => Ok(Some(name).filter(|name| ClusterAddress::is_address(name))),
    }
}

/// The encoder that a gallery's codes come from: the one of `models` (files) that has its
/// fingerprint or, if none is given, the one that the gallery keeps. A gallery of an
/// [adapted encoder](crate::AdaptedEncoder) knows how it is adapted; `models` are then where the
/// pretrained encoder is and, on a cluster, the model that is joined with it.
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
    if let Some(kept) = KeptAdaptation::of(gallery)? {
        let encoder = adapted::open(&kept, name, models, device)?;
        return fitting(Box::new(encoder), name, wanted);
    }
    if models.is_empty() {
        if let Some(encoder) = PretrainedEncoder::of_gallery(gallery, device)? {
            return fitting(Box::new(encoder), name, wanted);
        }
        let bytes = gallery
            .model()?
            .ok_or_else(|| without_model(name, wanted))?;
        if PretrainedEncoder::is_description(&bytes) {
            return Err(Error::EncoderUnknown {
                gallery: name.clone(),
            });
        }
        let of = format!("the model of {name}");
        return Ok(Box::new(Autoencoder::from_bytes(&bytes, &of, device)?));
    }
    // What an encoder's files do not say, the gallery may know.
    let options = files_of(gallery)?.map(|files| files.options);
    let options = options.unwrap_or_default();
    first_with(name, wanted, models, "use its model", |path| {
        let encoder = load_encoder(path, &options, device)?;
        let fingerprint = encoder.fingerprint();
        Ok((encoder, fingerprint))
    })
}

/// What `load` makes of the first of `paths` where it finds the fingerprint that a gallery wants.
pub(crate) fn first_with<T>(
    gallery: &str,
    wanted: &str,
    paths: impl IntoIterator<Item = impl AsRef<Path>>,
    advice: &'static str,
    load: impl Fn(&Path) -> Result<(T, String), Error>,
) -> Result<T, Error> {
    let mut others = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let (found, fingerprint) = load(path)?;
        if fingerprint == wanted {
            return Ok(found);
        }
        others.push(format!("{} is {}", path.display(), short(&fingerprint)));
    }
    Err(Error::WrongModel {
        gallery: gallery.to_owned(),
        model: wanted.to_owned(),
        others: format!("and {}", others.join(", ")),
        advice,
    })
}

/// That a gallery on a cluster keeps no model.
pub(crate) fn without_model(name: &str, fingerprint: &str) -> Error {
    Error::ModelNotKept {
        gallery: name.to_owned(),
        model: fingerprint.to_owned(),
    }
}

/// Refuses an encoder whose files are no longer those that the gallery was made with.
fn fitting(encoder: Box<dyn Encoder>, name: &str, wanted: &str) -> Result<Box<dyn Encoder>, Error> {
    match encoder.fingerprint() == wanted {
        true => Ok(encoder),
        false => Err(Error::EncoderChanged {
            gallery: name.to_owned(),
            encoder: encoder.name(),
        }),
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
        assert!(error.to_string().contains("there is no gallery"), "{error}");
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
