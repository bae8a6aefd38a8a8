//! Judging all kinds of codes beside each other and beside simple descriptors, without labels.

use std::collections::{HashMap, HashSet};

use lookalike_autoencoder::{Augmenter, Judgement, colours_weight};
use lookalike_images::{Collection, Decoded, InputShape, Pixels};
use lookalike_neighbours::Metric;
use serde::Serialize;

use super::AdaptedEncoder;
use super::pair::Pair;
use crate::judging::{COPIES, Judge, MAX_IMAGES, MIN_IMAGES, copying};
use crate::{Encoded, Encoder, Error, ImageStream, judging};

/// Images of which distorted copies are encoded: pretrained encoders take long.
const COPIED: usize = 250;

/// What the label-free judge says of several encoders on the same images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contest {
    /// Images that were looked at.
    pub images: usize,
    /// How much colours count beside structure.
    pub colours_weight: f32,
    /// The encoders, by the [keys](super::CodeKind::key) of their kinds.
    pub encoders: Vec<Judgement>,
    /// Simple descriptors.
    pub simple: Vec<Judgement>,
}

impl Contest {
    /// The number by which codes are ranked, as of
    /// [`Comparison`](lookalike_autoencoder::Comparison::score).
    pub fn score(&self, judged: &Judgement) -> f32 {
        judged.score(self.colours_weight)
    }
}

impl AdaptedEncoder {
    /// Judges all [kinds](Self::kinds) of codes without labels: `encoded` are codes of the pair, of
    /// images of `source`, and `images` their pixels at a small size. Up to 250 distorted copies
    /// are encoded for it. `None` for fewer than 30 images.
    ///
    /// # Errors
    ///
    /// When the source cannot be read, or an encoder fails.
    pub fn judge(
        &self,
        source: &ImageStream,
        images: &Collection,
        encoded: &Encoded,
    ) -> Result<Option<Contest>, Error> {
        let Some((images, encoded)) = judged_on(images, encoded)? else {
            return Ok(None);
        };
        let judge = Judge::new(&images);
        let count = images.len().min(COPIED);
        let copied: HashMap<&str, usize> = (0..count)
            .map(|i| i * images.len() / count)
            .map(|at| (images.key(at), at))
            .collect();
        let wanted: HashSet<&str> = copied.keys().copied().collect();
        let copies = source.encode_some(&Copying(&self.pair), &wanted)?;
        let originals: Vec<usize> = copies.keys.iter().map(|key| copied[key.as_str()]).collect();
        let judged = self.kinds().into_iter().map(|kind| {
            let [codes, copies] = [&encoded, &copies].map(|codes| self.codes_of(kind, codes));
            let metric = self.metric_of(kind);
            judge.judge(kind.key(), metric, &codes.codes, &copies.codes, &originals)
        });
        Ok(Some(Contest {
            images: images.len(),
            encoders: judged.collect(),
            simple: judge.simple(),
            colours_weight: match self.pair.model() {
                Some(model) => judging::colours_weight(model),
                None => colours_weight(&images),
            },
        }))
    }
}

/// At most [`MAX_IMAGES`] images, at even steps through those of which there are both pixels and
/// codes; none where they are too few.
fn judged_on(
    images: &Collection,
    encoded: &Encoded,
) -> Result<Option<(Collection, Encoded)>, Error> {
    let at: HashMap<&str, usize> = (0..images.len()).map(|i| (images.key(i), i)).collect();
    let rows = encoded.keys.iter().enumerate();
    let both: Vec<(usize, usize)> = rows
        .filter_map(|(row, key)| Some((row, *at.get(key.as_str())?)))
        .collect();
    if both.len() < MIN_IMAGES {
        return Ok(None);
    }
    let count = both.len().min(MAX_IMAGES);
    let chosen: Vec<(usize, usize)> = (0..count).map(|i| both[i * both.len() / count]).collect();
    let mut some = Encoded {
        dims: encoded.dims,
        ..Encoded::default()
    };
    let mut pixels = Vec::with_capacity(count * images.shape().values());
    for &(row, image) in &chosen {
        some.keys.push(encoded.keys[row].clone());
        some.labels.push(None);
        some.codes
            .extend_from_slice(&encoded.codes[row * encoded.dims..][..encoded.dims]);
        pixels.extend_from_slice(images.image(image));
    }
    let (keys, labels) = (some.keys.clone(), some.labels.clone());
    let images = Collection::from_parts(images.name(), images.shape(), keys, labels, pixels)?;
    Ok(Some((images, some)))
}

/// A pair that sees a distorted copy of every picture: both of its encoders the same distortion.
struct Copying<'a>(&'a Pair);

impl Encoder for Copying<'_> {
    fn shape(&self) -> InputShape {
        self.0.shape()
    }

    fn decode_sides(&self) -> (usize, usize) {
        self.0.decode_sides()
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, Error> {
        let shape = self.shape();
        let mut sheet = self.0.prepare(picture)?.into_data();
        let hash = blake3::hash(&sheet);
        let (first, _) = hash.as_bytes().as_chunks::<8>();
        let seed = COPIES ^ u64::from_le_bytes(first[0]);
        let mut rest = sheet.as_mut_slice();
        for shape in self.0.shapes() {
            let (input, behind) = rest.split_at_mut(shape.values());
            let mut floats = vec![0.0; input.len()];
            Augmenter::new(&copying(), shape).apply(input, seed, &mut floats);
            for (byte, value) in input.iter_mut().zip(floats) {
                *byte = (value * 255.0).round() as u8;
            }
            rest = behind;
        }
        Ok(Pixels::new(shape.width, shape.height, 1, sheet)?)
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, Error> {
        self.0.encode(inputs)
    }

    fn code_dim(&self) -> usize {
        self.0.code_dim()
    }

    fn default_metric(&self) -> Metric {
        self.0.default_metric()
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn name(&self) -> String {
        self.0.name()
    }
}
