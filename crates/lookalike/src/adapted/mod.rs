//! A pretrained encoder adapted to a collection: its codes reduced to what varies there, and joined
//! with those of a model that learned from the same images.

mod adaptation;
mod contest;
mod fitting;
mod kinds;
mod opening;
mod pair;
mod projection;

use lookalike_autoencoder::Autoencoder;
use lookalike_images::{Decoded, GreyRange, InputShape, Pixels};
use lookalike_neighbours::Metric;

use crate::{Encoder, EncoderFiles, Error};

pub use adaptation::{Adaptation, Joined};
pub use contest::Contest;
pub use fitting::MAX_ADAPTATION_IMAGES;
pub use kinds::CodeKind;
pub use opening::adaptation_of;
pub(crate) use opening::{KeptAdaptation, adaptation_to_keep, open};
pub use pair::Pair;

/// A pretrained encoder, adapted to a collection by [`Pair::adapt`].
///
/// A code has a part of the model's, if one is joined, and one of the pretrained encoder's behind
/// it, less its mean over the collection and perhaps reduced. Each part is brought to a length of
/// its own, so that the cosine of two codes is the weighted sum of the cosines of their parts. A
/// gallery keeps the model, the lengths, the mean and the directions of the reduction; of the
/// pretrained encoder, as always, its fingerprint and where its files are.
///
/// A text has no code by the model: that part of its code is zero. So texts rank images as the
/// pretrained encoder alone ranks them, and no image is nearer to a text than its part's weight
/// allows.
///
/// Images are [reconstructed](Autoencoder::reconstruct) by the model, where one is joined. Which
/// places of two images make them alike is found by covering them
/// ([`occlude`](crate::occlude)), as for a pretrained encoder alone.
pub struct AdaptedEncoder {
    pair: Pair,
    adaptation: Adaptation,
}

impl AdaptedEncoder {
    /// Refuses encoders that are not those of the adaptation.
    pub(crate) fn new(pair: Pair, adaptation: Adaptation) -> Result<Self, Error> {
        let fits = adaptation.projection.from() == pair.pretrained().code_dim();
        if !fits || pair.model().is_some() != adaptation.joined().is_some() {
            return Err(Error::Unusable(format!(
                "what the codes of {} were adapted by is for another encoder: index into a new gallery",
                pair.name()
            )));
        }
        Ok(Self { pair, adaptation })
    }

    /// How it was adapted.
    pub fn adaptation(&self) -> &Adaptation {
        &self.adaptation
    }

    /// What sees the pictures.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// One adapted code for each of the pair's, which [`Pair`] gives.
    pub fn combine(&self, codes: &[f32]) -> Vec<f32> {
        let first = self.pair.model_dims();
        let rows = codes.chunks_exact(self.pair.code_dim());
        let behind: Vec<f32> = rows
            .clone()
            .flat_map(|row| &row[first..])
            .copied()
            .collect();
        let projected = self.adaptation.projection.project(&behind);
        let mut combined = Vec::with_capacity(rows.len() * self.code_dim());
        let (model, encoder) = self.lengths();
        for (row, behind) in rows.zip(projected.chunks_exact(self.encoder_dims())) {
            push_scaled(&mut combined, &row[..first], model);
            push_scaled(&mut combined, behind, encoder);
        }
        combined
    }

    /// Lengths of the parts.
    fn lengths(&self) -> (f32, f32) {
        let joined = self.adaptation.joined();
        joined.map_or((0.0, 1.0), |j| (j.model_length, j.encoder_length))
    }

    /// Floats of the pretrained encoder's part.
    fn encoder_dims(&self) -> usize {
        self.adaptation.projection.dims()
    }
}

/// Adds values at the end, brought to a length; values of nothing but zeros stay zeros.
fn push_scaled(to: &mut Vec<f32>, values: &[f32], length: f32) {
    let own = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    let scale = if own > 1e-12 { length / own } else { 0.0 };
    to.extend(values.iter().map(|v| v * scale));
}

impl Encoder for AdaptedEncoder {
    fn shape(&self) -> InputShape {
        self.pair.shape()
    }

    fn decode_sides(&self) -> (usize, usize) {
        self.pair.decode_sides()
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error> {
        self.pair.prepare(picture)
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error> {
        Ok(self.combine(&self.pair.encode(inputs)?))
    }

    fn code_dim(&self) -> usize {
        self.pair.model_dims() + self.encoder_dims()
    }

    fn default_metric(&self) -> Metric {
        Metric::Cosine
    }

    fn to_bytes(&self) -> Vec<u8> {
        let model = self.pair.model().map(Autoencoder::to_bytes);
        self.adaptation.to_bytes(model.as_deref())
    }

    fn grey_range(&self) -> Option<GreyRange> {
        self.pair.grey_range()
    }

    fn autoencoder(&self) -> Option<&Autoencoder> {
        self.pair.model()
    }

    fn adapted(&self) -> Option<&AdaptedEncoder> {
        Some(self)
    }

    fn name(&self) -> String {
        let mut name = self.pair.pretrained().name();
        if let Some((from, to)) = self.adaptation.reduced() {
            name += &format!(", reduced from {from} to {to} floats");
        }
        if let (Some(model), Some(joined)) = (self.pair.model(), self.adaptation.joined()) {
            name += &format!(
                " ({:.0} % of likeness), joined with {} ({:.0} %)",
                100.0 * joined.encoder_length.powi(2),
                model.name(),
                100.0 * joined.model_length.powi(2)
            );
        }
        name
    }

    fn files(&self) -> Option<&EncoderFiles> {
        self.pair.files()
    }

    fn runtime(&self) -> Option<String> {
        self.pair.runtime()
    }

    fn has_text(&self) -> bool {
        self.pair.pretrained().has_text()
    }

    fn encode_text(&self, text: &str) -> Result<Vec<f32>, Error> {
        let code = self.pair.pretrained().encode_text(text)?;
        let mut whole = vec![0.0; self.pair.model_dims()];
        let code = self.adaptation.projection.project_text(&code);
        push_scaled(&mut whole, &code, 1.0);
        Ok(whole)
    }
}

#[cfg(test)]
mod tests;
