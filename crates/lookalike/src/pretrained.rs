//! Encoders that others have trained, as encoders of galleries.

use std::path::{Path, PathBuf};

use lookalike_gallery::Gallery;
use lookalike_images::{Decoded, InputShape, Pixels};
use lookalike_neighbours::Metric;
use lookalike_pretrained::{Pretrained, PretrainedOptions, Resize};
use serde::{Deserialize, Serialize};

use crate::rules::ReadingRules;
use crate::{Encoder, Error};

/// An encoder that others have trained: a folder or a file in ONNX format.
pub struct PretrainedEncoder {
    encoder: Pretrained,
    path: PathBuf,
    options: PretrainedOptions,
}

/// What a gallery keeps in place of a model's file, which may have hundreds of megabytes.
#[derive(Serialize, Deserialize)]
struct Description {
    /// See [`Pretrained::fingerprint`].
    pretrained: String,
    /// What the files did not say.
    options: PretrainedOptions,
}

impl PretrainedEncoder {
    /// Opens what [`Pretrained::open`] takes.
    ///
    /// # Errors
    ///
    /// As [`Pretrained::open`], and for a model that takes images of one size alone and does not say
    /// how others are brought to it.
    pub fn open(path: &Path, options: PretrainedOptions) -> Result<Self, Error> {
        let encoder = Pretrained::open(path, &options)?;
        let preprocessing = encoder.preprocessing();
        if preprocessing.resize == Resize::None && preprocessing.crop.is_none() {
            return Err(Error::Unusable(format!(
                "cannot encode with {}: its preprocessing neither resizes nor crops, so it takes images of {} x {} pixels alone; add a size to its preprocessing file",
                path.display(),
                preprocessing.width,
                preprocessing.height
            )));
        }
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self {
            encoder,
            path,
            options,
        })
    }

    /// Whether a path names an encoder of others, and no model file of ours: a folder, or an ONNX
    /// file by its name.
    pub fn is_at(path: &Path) -> bool {
        let onnx = path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("onnx"));
        onnx || path.is_dir()
    }

    /// Opens the encoder that a gallery keeps a description of, if it does: from `path` or, without
    /// one, from where it was when the gallery was last indexed.
    pub(crate) fn of_gallery(
        gallery: &dyn Gallery,
        bytes: &[u8],
        path: Option<&Path>,
    ) -> Result<Option<Self>, Error> {
        let Ok(Description { options, .. }) = serde_json::from_slice(bytes) else {
            return Ok(None);
        };
        let kept = || Ok::<_, Error>(ReadingRules::of(gallery)?.and_then(|rules| rules.encoder));
        let path = match path {
            Some(path) => path.to_owned(),
            None => kept()?.map(PathBuf::from).ok_or_else(|| {
                Error::Unusable(format!(
                    "the gallery {} was made with a pretrained encoder and does not know where it is: name its folder or file",
                    gallery.describe().map_or_else(|_| String::new(), |info| info.name)
                ))
            })?,
        };
        if !path.exists() {
            return Err(Error::Unusable(format!(
                "the gallery's pretrained encoder was at {} and is not there any more: name its folder or file",
                path.display()
            )));
        }
        Self::open(&path, options).map(Some)
    }

    /// Whether what a gallery keeps describes an encoder of others.
    pub(crate) fn is_description(bytes: &[u8]) -> bool {
        serde_json::from_slice::<Description>(bytes).is_ok()
    }
}

impl Encoder for PretrainedEncoder {
    fn shape(&self) -> InputShape {
        let preprocessing = self.encoder.preprocessing();
        InputShape {
            channels: preprocessing.channels,
            height: preprocessing.height,
            width: preprocessing.width,
        }
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error> {
        Ok(self.encoder.prepare(&picture.pixels)?)
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error> {
        let shape = self.shape();
        if !inputs.len().is_multiple_of(shape.values()) {
            return Err(Error::Unusable(format!(
                "cannot encode {} bytes: they are no whole number of images of {shape}",
                inputs.len()
            )));
        }
        let pictures = inputs
            .chunks_exact(shape.values())
            .map(|bytes| Pixels::new(shape.width, shape.height, shape.channels, bytes.to_vec()));
        let pictures: Vec<Pixels> = pictures.collect::<Result<_, _>>()?;
        Ok(self.encoder.encode_prepared(&pictures)?)
    }

    fn code_dim(&self) -> usize {
        self.encoder.dims()
    }

    fn default_metric(&self) -> Metric {
        Metric::Cosine
    }

    fn to_bytes(&self) -> Vec<u8> {
        let description = Description {
            pretrained: self.encoder.fingerprint().to_owned(),
            options: self.options.clone(),
        };
        serde_json::to_vec(&description).expect("a description serialises")
    }

    fn name(&self) -> String {
        self.encoder.describe()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn has_text(&self) -> bool {
        self.encoder.has_text()
    }

    fn encode_text(&self, text: &str) -> Result<Vec<f32>, Error> {
        Ok(self.encoder.encode_text(text)?)
    }
}
