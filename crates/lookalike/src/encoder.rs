//! The trait of encoders: pictures in, codes out.

use std::path::Path;

use lookalike_autoencoder::{Autoencoder, DeviceChoice};
use lookalike_gallery::model_fingerprint;
use lookalike_images::{Decoded, GreyRange, InputShape, Pixels};
use lookalike_neighbours::Metric;
use lookalike_pretrained::PretrainedOptions;

use crate::Error;
use crate::adapted::AdaptedEncoder;
use crate::pretrained::{EncoderFiles, PretrainedEncoder};
use crate::stream::PADDING;

/// What makes codes of images: an [`Autoencoder`], a [`PretrainedEncoder`], an [`AdaptedEncoder`]
/// that joins both, or one of one's own.
///
/// Indexing, searching and serving see nothing else. An encoder owns how a picture is brought to
/// its input ([`prepare`](Self::prepare)), so that no two callers need to agree on it.
pub trait Encoder: Send + Sync {
    /// The shape of its input.
    fn shape(&self) -> InputShape;

    /// The width and height to which a picture may be reduced while it is decoded, before it is
    /// prepared: no less than preparing makes use of.
    fn decode_sides(&self) -> (usize, usize) {
        let shape = self.shape();
        (shape.width, shape.height)
    }

    /// Brings a picture to the encoder's input: its [`shape`](Self::shape), 8 bits a channel.
    ///
    /// # Errors
    ///
    /// When the encoder has no use for such a picture.
    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error>;

    /// Encodes prepared pictures, any number of height x width x channels bytes one after another:
    /// [`code_dim`](Self::code_dim) floats for each.
    ///
    /// # Errors
    ///
    /// When `inputs` is no whole number of pictures, or the encoder fails.
    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error>;

    /// Floats of a code.
    fn code_dim(&self) -> usize;

    /// The metric that suits its codes.
    fn default_metric(&self) -> Metric;

    /// What a gallery keeps of the encoder. Equal bytes mean equal codes.
    fn to_bytes(&self) -> Vec<u8>;

    /// Tells encoders apart: codes of two with the same fingerprint can be compared.
    fn fingerprint(&self) -> String {
        model_fingerprint(&self.to_bytes())
    }

    /// Which values of grey pictures with more than 8 bits are black and white to it, if it knows.
    fn grey_range(&self) -> Option<GreyRange> {
        None
    }

    /// The autoencoder that it is, which can also [reconstruct](Autoencoder::reconstruct) images
    /// and [explain](Autoencoder::explain) likeness exactly; none for other encoders, whose
    /// likeness [`occlude`](crate::occlude) explains. Where it is joined with a pretrained encoder
    /// ([`adapted`](Self::adapted)), it reconstructs by its own part alone.
    fn autoencoder(&self) -> Option<&Autoencoder> {
        None
    }

    /// The adapted encoder that it is.
    fn adapted(&self) -> Option<&AdaptedEncoder> {
        None
    }

    /// What it is, in a line for people.
    fn name(&self) -> String;

    /// Where its files are, for an encoder that a gallery does not keep itself.
    fn files(&self) -> Option<&EncoderFiles> {
        None
    }

    /// What runs it, in words, where that is not this library.
    fn runtime(&self) -> Option<String> {
        None
    }

    /// Whether it can [encode text](Self::encode_text).
    fn has_text(&self) -> bool {
        false
    }

    /// The code of a text, to be compared with those of pictures.
    ///
    /// # Errors
    ///
    /// When the encoder was trained on pictures alone, or fails.
    fn encode_text(&self, _text: &str) -> Result<Vec<f32>, Error> {
        Err(Error::NoText)
    }

    /// Prepares and encodes one picture.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    fn encode_picture(&self, picture: &Decoded) -> Result<Vec<f32>, Error> {
        self.encode(self.prepare(picture)?.data())
    }
}

impl Encoder for Autoencoder {
    fn shape(&self) -> InputShape {
        self.shape()
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error> {
        Ok(picture.fit(self.shape(), self.fit(), PADDING))
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error> {
        Ok(self.encode(inputs)?)
    }

    fn code_dim(&self) -> usize {
        self.code_dim()
    }

    fn default_metric(&self) -> Metric {
        self.metric()
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn grey_range(&self) -> Option<GreyRange> {
        self.record().grey_range
    }

    fn autoencoder(&self) -> Option<&Autoencoder> {
        Some(self)
    }

    fn name(&self) -> String {
        format!("an autoencoder ({})", self.config().architecture)
    }
}

/// Encodes prepared pictures, and checks that there is one code for each.
pub(crate) fn encode_all(
    encoder: &dyn Encoder,
    inputs: &[u8],
    count: usize,
) -> Result<Vec<f32>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (codes, dims) = (encoder.encode(inputs)?, encoder.code_dim());
    match dims > 0 && codes.len() == count * dims {
        true => Ok(codes),
        false => Err(Error::BadEncoder {
            encoder: encoder.name(),
            floats: codes.len(),
            pictures: count,
            dims,
        }),
    }
}

/// Opens an encoder by the path of its files: a model file of ours, or a folder or ONNX file of an
/// encoder that others have trained, of which `options` say what its files do not
/// ([`PretrainedEncoder::open_on`]).
///
/// # Errors
///
/// When it cannot be read, or not be used on the device.
pub fn load_encoder(
    path: &Path,
    options: &PretrainedOptions,
    device: DeviceChoice,
) -> Result<Box<dyn Encoder>, Error> {
    Ok(match PretrainedEncoder::is_at(path) {
        true => Box::new(PretrainedEncoder::open_on(path, options.clone(), device)?),
        false => Box::new(Autoencoder::load(path, device)?),
    })
}
