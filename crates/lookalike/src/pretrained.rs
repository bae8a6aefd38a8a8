//! Encoders that others have trained, as encoders of galleries.

use std::path::{Path, PathBuf};

use lookalike_autoencoder::DeviceChoice;
use lookalike_files::canonicalize;
use lookalike_gallery::Gallery;
use lookalike_images::{Decoded, GreyRange, InputShape, Pixels};
use lookalike_neighbours::Metric;
use lookalike_pretrained::{Exported, Pretrained, PretrainedOptions, Resize, Runtime};
use serde::{Deserialize, Serialize};

use crate::rules::ReadingRules;
use crate::{Encoder, Error};

/// Says which runtime runs pretrained encoders, by its [name](Runtime), where the options do not.
pub const RUNTIME_VARIABLE: &str = "LOOKALIKE_RUNTIME";

/// An encoder that others have trained: a folder or a file in ONNX format.
pub struct PretrainedEncoder {
    encoder: Pretrained,
    files: EncoderFiles,
    metric: Metric,
}

/// What a gallery keeps in place of a model's file, which may have hundreds of megabytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// See [`Pretrained::fingerprint`].
    pretrained: String,
}

/// Where an encoder's files are, and what they do not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderFiles {
    /// The folder or file.
    pub path: PathBuf,
    /// What was said of it.
    #[serde(default)]
    pub options: PretrainedOptions,
}

impl PretrainedEncoder {
    /// Opens what [`Pretrained::open`] takes, on the processor. Where the options name no runtime,
    /// [`RUNTIME_VARIABLE`] may.
    ///
    /// # Errors
    ///
    /// As [`Pretrained::open`], and for a model whose images are not resized: what it sees of a
    /// picture would depend on the picture's size.
    pub fn open(path: &Path, options: PretrainedOptions) -> Result<Self, Error> {
        Self::open_on(path, options, DeviceChoice::Cpu)
    }

    /// As [`open`](Self::open), on a device: [`DeviceChoice::Cuda`] is for ONNX Runtime, every
    /// other one leaves it on the processor, as does rten.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and when ONNX Runtime cannot use the GPU.
    pub fn open_on(
        path: &Path,
        options: PretrainedOptions,
        device: DeviceChoice,
    ) -> Result<Self, Error> {
        let here = PretrainedOptions {
            // As many as compute everything else; where that was said before, it stays.
            threads: options
                .threads
                .or(Some(lookalike_kernels::set_threads(None))),
            runtime: match options.runtime {
                Some(runtime) => Some(runtime),
                None => named_runtime()?,
            },
            cuda: options.cuda || device == DeviceChoice::Cuda,
            ..options.clone()
        };
        let encoder = Pretrained::open(path, &here)?;
        let preprocessing = encoder.preprocessing();
        if preprocessing.resize == Resize::None {
            return Err(Error::Unusable(format!(
                "cannot encode with {}: its preprocessing does not resize images, and it takes {} x {} pixels; say how they are resized in its preprocessing file",
                path.display(),
                preprocessing.width,
                preprocessing.height
            )));
        }
        let metric = match encoder.exported() {
            Some(exported) => metric_of(exported, path)?,
            None => Metric::Cosine,
        };
        let path = canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self {
            encoder,
            files: EncoderFiles { path, options },
            metric,
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

    /// Opens the encoder of a gallery from where it was when the gallery was last indexed; none
    /// where the gallery knows of none.
    ///
    /// # Errors
    ///
    /// When it is not there any more, and as [`open`](Self::open).
    pub(crate) fn of_gallery(
        gallery: &dyn Gallery,
        device: DeviceChoice,
    ) -> Result<Option<Self>, Error> {
        let files = files_of(gallery)?;
        files.map(|files| Self::at(&files, device)).transpose()
    }

    /// Opens the encoder of a gallery from where the gallery knows it.
    pub(crate) fn at(files: &EncoderFiles, device: DeviceChoice) -> Result<Self, Error> {
        let path = &files.path;
        if !path.exists() {
            return Err(Error::EncoderGone { path: path.clone() });
        }
        Self::open_on(path, files.options.clone(), device)
    }

    /// See [`Pretrained::fingerprint`].
    pub(crate) fn files_fingerprint(&self) -> &str {
        self.encoder.fingerprint()
    }

    /// Whether what a gallery keeps describes an encoder of others.
    pub(crate) fn is_description(bytes: &[u8]) -> bool {
        serde_json::from_slice::<Description>(bytes).is_ok()
    }
}

/// The runtime that the environment names, if it names one.
fn named_runtime() -> Result<Option<Runtime>, Error> {
    match std::env::var(RUNTIME_VARIABLE) {
        Ok(name) if !name.is_empty() => match name.parse() {
            Ok(runtime) => Ok(Some(runtime)),
            Err(reason) => Err(Error::Unusable(format!(
                "cannot open a pretrained encoder: {RUNTIME_VARIABLE} is set, and {reason}"
            ))),
        },
        _ => Ok(None),
    }
}

/// The metric that an exported model names.
fn metric_of(exported: &Exported, path: &Path) -> Result<Metric, Error> {
    let known = Metric::ALL.map(Metric::name);
    let named = Metric::ALL
        .into_iter()
        .find(|metric| metric.name() == exported.metric);
    let expected = format!("one of {}", known.join(", "));
    Ok(named.ok_or_else(|| Exported::wrong(path, "metric", &exported.metric, &expected))?)
}

/// What a gallery knows of the files of its pretrained encoder.
pub(crate) fn files_of(gallery: &dyn Gallery) -> Result<Option<EncoderFiles>, Error> {
    Ok(ReadingRules::of(gallery)?.and_then(|rules| rules.encoder))
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

    fn decode_sides(&self) -> (usize, usize) {
        let shape = self.shape();
        let (width, height) = match self.encoder.preprocessing().resize {
            Resize::None => (shape.width, shape.height),
            Resize::Shortest { side } => (side, side),
            Resize::Squash { height, width }
            | Resize::Cover { height, width }
            | Resize::Contain { height, width }
            | Resize::Fitted { height, width, .. } => (width, height),
        };
        (width.max(shape.width), height.max(shape.height))
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error> {
        match self.encoder.exported() {
            // Exactly as the autoencoder that it was.
            Some(Exported {
                fit, background, ..
            }) => Ok(picture.fit(self.shape(), *fit, *background)),
            None => Ok(self.encoder.prepare(&picture.pixels)?),
        }
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error> {
        let shape = self.shape();
        if !inputs.len().is_multiple_of(shape.values()) {
            return Err(Error::Unusable(format!(
                "cannot encode {} bytes: they are not a whole number of images of {shape}",
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
        self.metric
    }

    fn grey_range(&self) -> Option<GreyRange> {
        self.encoder.exported()?.grey_range
    }

    fn to_bytes(&self) -> Vec<u8> {
        let description = Description {
            pretrained: self.encoder.fingerprint().to_owned(),
        };
        serde_json::to_vec(&description).expect("a description serialises")
    }

    fn name(&self) -> String {
        self.encoder.describe()
    }

    fn files(&self) -> Option<&EncoderFiles> {
        Some(&self.files)
    }

    fn runtime(&self) -> Option<String> {
        Some(self.encoder.runtime())
    }

    fn has_text(&self) -> bool {
        self.encoder.has_text()
    }

    fn encode_text(&self, text: &str) -> Result<Vec<f32>, Error> {
        Ok(self.encoder.encode_text(text)?)
    }
}
