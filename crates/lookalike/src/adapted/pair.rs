//! A pretrained encoder and, perhaps, a model beside it: both see every picture.

use lookalike_autoencoder::Autoencoder;
use lookalike_images::{Decoded, GreyRange, InputShape, Pixels};
use lookalike_neighbours::Metric;

use crate::{Encoded, Encoder, EncoderFiles, Error, PretrainedEncoder};

/// A pretrained encoder with a model that learned from the images themselves, or without one. Its
/// codes are those of both as they are, side by side, the model's first;
/// [`adapt`](Self::adapt) makes one kind of code of them that can be compared.
pub struct Pair {
    model: Option<Autoencoder>,
    pretrained: PretrainedEncoder,
}

/// Width of the sheet on which the inputs of both are laid one after another.
const SHEET_WIDTH: usize = 256;

impl Pair {
    /// Of a pretrained encoder and, if there is one, a model.
    pub fn new(pretrained: PretrainedEncoder, model: Option<Autoencoder>) -> Self {
        Self { model, pretrained }
    }

    /// The model.
    pub fn model(&self) -> Option<&Autoencoder> {
        self.model.as_ref()
    }

    /// The pretrained encoder.
    pub fn pretrained(&self) -> &PretrainedEncoder {
        &self.pretrained
    }

    /// Floats of the model's part.
    pub(super) fn model_dims(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.code_dim())
    }

    /// Divides codes of the pair into those of the model, if there is one, and those of the
    /// pretrained encoder.
    pub fn split(&self, encoded: &Encoded) -> (Option<Encoded>, Encoded) {
        let (dims, first) = (self.code_dim(), self.model_dims());
        let part = |from: usize, to: usize| Encoded {
            keys: encoded.keys.clone(),
            labels: encoded.labels.clone(),
            codes: columns(&encoded.codes, dims, from, to),
            dims: to - from,
        };
        (
            self.model.is_some().then(|| part(0, first)),
            part(first, dims),
        )
    }

    /// The shapes of what is seen of a picture, in the order in which they are laid on the sheet.
    pub(super) fn shapes(&self) -> Vec<InputShape> {
        let model = self.model.as_ref().map(|model| model.shape());
        model.into_iter().chain([self.pretrained.shape()]).collect()
    }
}

/// The columns `from..to` of rows of `dims` values.
fn columns(rows: &[f32], dims: usize, from: usize, to: usize) -> Vec<f32> {
    let rows = rows.chunks_exact(dims);
    rows.flat_map(|row| &row[from..to]).copied().collect()
}

impl Encoder for Pair {
    /// A grey sheet, which has the bytes of both inputs: the model's, the pretrained encoder's, and
    /// zeros up to its end.
    fn shape(&self) -> InputShape {
        let bytes: usize = self.shapes().iter().map(|shape| shape.values()).sum();
        InputShape {
            channels: 1,
            height: bytes.div_ceil(SHEET_WIDTH),
            width: SHEET_WIDTH,
        }
    }

    fn decode_sides(&self) -> (usize, usize) {
        let (width, height) = self.pretrained.decode_sides();
        let model = self.model.as_ref().map(Encoder::decode_sides);
        model.map_or((width, height), |(w, h)| (w.max(width), h.max(height)))
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error> {
        let shape = self.shape();
        let mut sheet = Vec::with_capacity(shape.values());
        if let Some(model) = &self.model {
            sheet.extend_from_slice(model.prepare(picture)?.data());
        }
        sheet.extend_from_slice(self.pretrained.prepare(picture)?.data());
        sheet.resize(shape.values(), 0);
        Ok(Pixels::new(shape.width, shape.height, 1, sheet)?)
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error> {
        let size = self.shape().values();
        let first = self
            .model
            .as_ref()
            .map_or(0, |model| model.shape().values());
        let second = self.pretrained.shape().values();
        if !inputs.len().is_multiple_of(size) {
            return Err(Error::Unusable(format!(
                "cannot encode {} bytes: they are not a whole number of prepared pictures of {size} bytes",
                inputs.len()
            )));
        }
        let part = |from: usize, len: usize| -> Vec<u8> {
            let sheets = inputs.chunks_exact(size);
            let bytes = sheets.flat_map(|sheet| &sheet[from..from + len]);
            bytes.copied().collect()
        };
        let Some(model) = &self.model else {
            return self.pretrained.encode(&part(0, second));
        };
        let model = Encoder::encode(model, &part(0, first))?;
        let pretrained = self.pretrained.encode(&part(first, second))?;
        let rows = model
            .chunks_exact(self.model_dims())
            .zip(pretrained.chunks_exact(self.pretrained.code_dim()));
        Ok(rows.flat_map(|(a, b)| a.iter().chain(b)).copied().collect())
    }

    fn code_dim(&self) -> usize {
        self.model_dims() + self.pretrained.code_dim()
    }

    fn default_metric(&self) -> Metric {
        Metric::Cosine
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.pretrained.to_bytes();
        bytes.extend(self.model.iter().flat_map(|model| model.to_bytes()));
        bytes
    }

    fn grey_range(&self) -> Option<GreyRange> {
        let model = self.model.as_ref().and_then(Encoder::grey_range);
        model.or_else(|| self.pretrained.grey_range())
    }

    fn autoencoder(&self) -> Option<&Autoencoder> {
        self.model.as_ref()
    }

    fn name(&self) -> String {
        match &self.model {
            Some(model) => format!("{}, and {}", model.name(), self.pretrained.name()),
            None => self.pretrained.name(),
        }
    }

    fn files(&self) -> Option<&EncoderFiles> {
        self.pretrained.files()
    }

    fn runtime(&self) -> Option<String> {
        self.pretrained.runtime()
    }
}
