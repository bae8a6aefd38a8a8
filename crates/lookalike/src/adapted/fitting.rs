//! Adapting a pair to a collection, on a sample of it, without labels.

use std::collections::HashMap;

use lookalike_autoencoder::{Autoencoder, weigh_codes};
use lookalike_gallery::model_fingerprint;
use lookalike_images::Collection;
use lookalike_neighbours::Codes;

use super::AdaptedEncoder;
use super::adaptation::{Adaptation, Joined};
use super::pair::Pair;
use super::projection::Projection;
use crate::{Encoded, Encoder, Error, ImageStream};

/// Images that [`Pair::adapt`] looks at, at most.
pub const MAX_ADAPTATION_IMAGES: usize = 1200;
/// Fewer images say nothing about how much each part should count: then both count alike.
const MIN_WEIGHED: usize = 30;
/// What agreement counts of a model's codes. The model learned from the descriptions that confirm
/// them, which confirm it half as often again as a pretrained encoder that is as good: on four
/// collections (docs/encoders.md) the pretrained encoder's share of the model's agreement was .63
/// where the model was much better, and .72 where it was worse.
const MODEL_FACTOR: f32 = 0.65;
/// A part's length beside the other's, at least: what only one part can do, as being found by
/// words, stays possible. A longer part that is not confirmed costs answers.
const MIN_LENGTH: f32 = 0.1;

impl Pair {
    /// Adapts the pair to a source, by a fair sample of at most [`MAX_ADAPTATION_IMAGES`] of its
    /// images: finds how much each part counts and, with `reduce`, onto which directions the
    /// pretrained encoder's codes are brought, as many as it says. No label is read.
    ///
    /// # Errors
    ///
    /// When nothing of the source can be read or encoded, when it has too few images or codes have
    /// too few floats for as many directions, and when there is neither a model to join nor
    /// anything to reduce.
    pub fn adapt(
        self,
        source: ImageStream,
        reduce: Option<usize>,
    ) -> Result<AdaptedEncoder, Error> {
        self.check(reduce)?;
        if self.model().is_none() && reduce.is_none() {
            return Err(Error::Unusable(
                "there is nothing to adapt: give a model to join, or how many floats are to be left of a code".to_owned(),
            ));
        }
        let range = match self.grey_range() {
            None => source.suitable_grey_range()?,
            known => known,
        };
        let source = source
            .with_grey_range(range)
            .sampled(MAX_ADAPTATION_IMAGES, 0);
        let encoded = source.encode(&self, None)?;
        let images = match self.model() {
            Some(model) => {
                let source = source.fitted(model.shape(), model.fit());
                Some(source.load(Some(model.shape()), None)?)
            }
            None => None,
        };
        let adaptation = self.adaptation(images.as_ref(), &encoded, reduce)?;
        AdaptedEncoder::new(self, adaptation)
    }

    /// As [`adapt`](Self::adapt), from the pair's codes of some images (`encoded`) and the pixels
    /// of the same images, brought to the model's shape (`images`); what is in only one of them
    /// does not count for the lengths. At most [`MAX_ADAPTATION_IMAGES`] of the codes are looked
    /// at, at even steps. Without a model and without `reduce`, only the mean is taken off the
    /// pretrained encoder's codes.
    ///
    /// # Errors
    ///
    /// As [`adapt`](Self::adapt).
    pub fn adapt_by(
        self,
        images: &Collection,
        encoded: &Encoded,
        reduce: Option<usize>,
    ) -> Result<AdaptedEncoder, Error> {
        self.check(reduce)?;
        let count = encoded.keys.len().min(MAX_ADAPTATION_IMAGES);
        let mut some = Encoded {
            dims: encoded.dims,
            ..Encoded::default()
        };
        for at in (0..count).map(|i| i * encoded.keys.len() / count) {
            some.keys.push(encoded.keys[at].clone());
            some.labels.push(None);
            let code = &encoded.codes[at * encoded.dims..][..encoded.dims];
            some.codes.extend_from_slice(code);
        }
        let adaptation = self.adaptation(Some(images), &some, reduce)?;
        AdaptedEncoder::new(self, adaptation)
    }

    fn check(&self, reduce: Option<usize>) -> Result<(), Error> {
        let dims = self.pretrained().code_dim();
        match reduce {
            Some(floats) if !(1..dims).contains(&floats) => Err(Error::Unusable(format!(
                "cannot reduce codes of {dims} floats to {floats}: choose 1 to {} ({})",
                dims - 1,
                self.pretrained().name()
            ))),
            _ => Ok(()),
        }
    }

    fn adaptation(
        &self,
        images: Option<&Collection>,
        encoded: &Encoded,
        reduce: Option<usize>,
    ) -> Result<Adaptation, Error> {
        let (model_codes, encoder_codes) = self.split(encoded);
        let count = encoded.keys.len();
        let mut behind = encoder_codes.codes;
        let mut dims = encoder_codes.dims;
        if let Some(floats) = reduce.filter(|&floats| count <= floats) {
            return Err(Error::Unusable(format!(
                "cannot find the {floats} directions in which codes vary most by {count} images: reduce to fewer floats, or index more images at first"
            )));
        }
        let codes = Codes::new(&behind, dims)?;
        let projection = match reduce {
            // The mean of few images is near each of them.
            None if count < MIN_WEIGHED => Projection::none(dims),
            _ => Projection::fit(codes, reduce),
        };
        (behind, dims) = (projection.project(&behind), projection.dims());
        let joined = match (self.model(), model_codes, images) {
            (Some(model), Some(codes), Some(images)) => {
                let behind = Encoded {
                    codes: behind,
                    dims,
                    ..encoded.clone()
                };
                Some(joined(model, images, &codes, &behind)?)
            }
            _ => None,
        };
        let pretrained = self.pretrained().files_fingerprint().to_owned();
        Ok(Adaptation::new(pretrained, count, joined, projection))
    }
}

/// How much the codes of the model and of the encoder count, of images that are in the collection.
fn joined(
    model: &Autoencoder,
    images: &Collection,
    model_codes: &Encoded,
    encoder_codes: &Encoded,
) -> Result<Joined, Error> {
    let at: HashMap<&str, usize> = (0..images.len()).map(|i| (images.key(i), i)).collect();
    let (mut keys, mut pixels) = (Vec::new(), Vec::new());
    let mut codes = [Vec::new(), Vec::new()];
    for (row, key) in model_codes.keys.iter().enumerate() {
        let Some(&image) = at.get(key.as_str()) else {
            continue;
        };
        keys.push(key.clone());
        pixels.extend_from_slice(images.image(image));
        for (to, from) in codes.iter_mut().zip([model_codes, encoder_codes]) {
            to.extend_from_slice(&from.codes[row * from.dims..][..from.dims]);
        }
    }
    let count = keys.len();
    let [mut first, mut second] = [(1.0, 0.0), (1.0, 0.0)];
    if count >= MIN_WEIGHED {
        let labels = vec![None; count];
        let images = Collection::from_parts(images.name(), images.shape(), keys, labels, pixels)?;
        let rows = [
            (Codes::new(&codes[0], model_codes.dims)?, MODEL_FACTOR),
            (Codes::new(&codes[1], encoder_codes.dims)?, 1.0),
        ];
        let found = weigh_codes(&images, &rows);
        [first, second] =
            [found[0], found[1]].map(|one| (one.weight.max(MIN_LENGTH), one.agreement));
        // Agreement does not tell how much better an encoder is: on digits, where it is far worse,
        // it would be the longer by half. Of equal length it never cost much (docs/encoders.md).
        second.0 = second.0.min(first.0);
    }
    let whole = (first.0 * first.0 + second.0 * second.0).sqrt();
    Ok(Joined {
        model: model_fingerprint(&model.to_bytes()),
        model_length: first.0 / whole,
        encoder_length: second.0 / whole,
        model_agreement: first.1,
        encoder_agreement: second.1,
    })
}
