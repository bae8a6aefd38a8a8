//! The adapted encoder of a gallery: from what the gallery keeps, the pretrained encoder's files
//! and, on a cluster, the model's file.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lookalike_autoencoder::{Autoencoder, DeviceChoice};
use lookalike_gallery::{Gallery, model_fingerprint};

use super::{Adaptation, AdaptedEncoder, Pair};
use crate::opening::{first_with, without_model};
use crate::rules::ReadingRules;
use crate::{Encoder, EncoderFiles, Error, PretrainedEncoder};

/// What a gallery keeps of its adapted encoder.
pub(crate) struct KeptAdaptation {
    adaptation: Adaptation,
    /// The model's file, where the gallery keeps it.
    model: Option<Vec<u8>>,
    /// Where the pretrained encoder was.
    files: Option<EncoderFiles>,
}

impl KeptAdaptation {
    /// Of a gallery; none where its encoder is not an adapted one.
    pub fn of(gallery: &dyn Gallery) -> Result<Option<Self>, Error> {
        let damaged = |why: String| -> Error {
            let name = gallery
                .describe()
                .map_or_else(|_| String::new(), |info| info.name);
            Error::Unusable(format!(
                "what the gallery {name} keeps of its encoder cannot be used: {why}; restore it from a backup, or index into a new gallery"
            ))
        };
        let (bytes, rules) = match gallery.model() {
            Ok(Some(bytes)) if Adaptation::is_at(&bytes) => (bytes, ReadingRules::of(gallery)?),
            // A damaged file is told by whoever needs it.
            Ok(Some(_)) | Err(_) => return Ok(None),
            Ok(None) => {
                let rules = ReadingRules::of(gallery)?;
                let Some(text) = rules.as_ref().and_then(|rules| rules.adaptation.as_ref()) else {
                    return Ok(None);
                };
                let bytes = STANDARD.decode(text);
                (bytes.map_err(|error| damaged(error.to_string()))?, rules)
            }
        };
        let (adaptation, model) = Adaptation::parse(&bytes).map_err(damaged)?;
        Ok(Some(Self {
            adaptation,
            model,
            files: rules.and_then(|rules| rules.encoder),
        }))
    }

    /// The file that a gallery in a folder keeps; the joined model is at `model` or, if none is
    /// given, in the gallery called `name` itself.
    pub fn to_bytes(&self, name: &str, model: Option<&PathBuf>) -> Result<Vec<u8>, Error> {
        let models: Vec<&PathBuf> = model
            .into_iter()
            .filter(|path| !PretrainedEncoder::is_at(path))
            .collect();
        let model = self.model(name, &models, DeviceChoice::Cpu)?;
        let model = model.map(|model| model.to_bytes());
        Ok(self.adaptation.to_bytes(model.as_deref()))
    }

    /// See [`adaptation_to_keep`].
    pub fn to_keep(&self, gallery: &dyn Gallery) -> Option<String> {
        to_keep(&self.adaptation, gallery)
    }

    /// The joined model, of `models` or the gallery itself; none where none is joined.
    fn model(
        &self,
        name: &str,
        models: &[&PathBuf],
        device: DeviceChoice,
    ) -> Result<Option<Autoencoder>, Error> {
        // Models may be named for other galleries.
        let Some(joined) = self.adaptation.joined() else {
            return Ok(None);
        };
        if models.is_empty() {
            let bytes = self.model.as_ref();
            let bytes = bytes.ok_or_else(|| without_model(name, &joined.model))?;
            let of = format!("the model of {name}");
            return Ok(Some(Autoencoder::from_bytes(bytes, &of, device)?));
        }
        let found = first_with(name, &joined.model, models, "use its model", |path| {
            let model = Autoencoder::load(path, device)?;
            let fingerprint = model_fingerprint(&model.to_bytes());
            Ok((model, fingerprint))
        });
        found.map(Some)
    }

    /// The pretrained encoder, at one of `paths` or, if none is given, where it was.
    fn pretrained(
        &self,
        name: &str,
        paths: &[&PathBuf],
        device: DeviceChoice,
    ) -> Result<PretrainedEncoder, Error> {
        let wanted = self.adaptation.pretrained();
        let known = self.files.clone();
        let options = known.as_ref().map(|files| files.options.clone());
        let options = options.unwrap_or_default();
        let Some(_) = paths.first() else {
            let files = known.ok_or_else(|| Error::EncoderUnknown {
                gallery: name.to_owned(),
            })?;
            let encoder = PretrainedEncoder::at(&files, device)?;
            return match encoder.files_fingerprint() == wanted {
                true => Ok(encoder),
                false => Err(Error::EncoderChanged {
                    gallery: name.to_owned(),
                    encoder: encoder.name(),
                }),
            };
        };
        first_with(name, wanted, paths, "use its encoder", |path| {
            let encoder = PretrainedEncoder::open_on(path, options.clone(), device)?;
            let fingerprint = encoder.files_fingerprint().to_owned();
            Ok((encoder, fingerprint))
        })
    }
}

/// How the encoder of a gallery is adapted, if it is.
///
/// # Errors
///
/// When the gallery, or what it keeps of its encoder, cannot be read.
pub fn adaptation_of(gallery: &dyn Gallery) -> Result<Option<Adaptation>, Error> {
    Ok(KeptAdaptation::of(gallery)?.map(|kept| kept.adaptation))
}

/// The adapted encoder of a gallery called `name`, of `models`: files of models, and folders or
/// files of pretrained encoders. What is not among them is as the gallery keeps it.
pub(crate) fn open(
    kept: &KeptAdaptation,
    name: &str,
    models: &[PathBuf],
    device: DeviceChoice,
) -> Result<AdaptedEncoder, Error> {
    let (paths, files): (Vec<&PathBuf>, Vec<&PathBuf>) = models
        .iter()
        .partition(|path| PretrainedEncoder::is_at(path));
    let model = kept.model(name, &files, device)?;
    let pretrained = kept.pretrained(name, &paths, device)?;
    AdaptedEncoder::new(Pair::new(pretrained, model), kept.adaptation.clone())
}

/// What `gallery` keeps of how `encoder` is adapted, besides the model's file: something only where
/// it keeps no such file.
pub(crate) fn adaptation_to_keep(encoder: &dyn Encoder, gallery: &dyn Gallery) -> Option<String> {
    to_keep(encoder.adapted()?.adaptation(), gallery)
}

fn to_keep(adaptation: &Adaptation, gallery: &dyn Gallery) -> Option<String> {
    let keeps_model = gallery.as_embedded().is_some();
    (!keeps_model).then(|| STANDARD.encode(adaptation.to_bytes(None)))
}
