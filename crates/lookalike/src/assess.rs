//! How good a model's answers are: by labels, and, where there are none, by finding the originals
//! of changed copies.

use lookalike_autoencoder::{Augmentation, Augmenter, Autoencoder};
use lookalike_eval::{
    Baselines, EvalError, Labelled, Options, Scores, SelfScores, baselines, evaluate,
    evaluate_half_whitened, self_retrieval,
};
use lookalike_images::{Collection, Gradients, Pixels, histogram};
use lookalike_neighbours::{Codes, DiffusionConfig, Metric};
use rayon::prelude::*;
use serde::Serialize;

use crate::{Encoded, Error};

/// How codes are scored.
#[derive(Clone, Debug, PartialEq)]
pub struct AssessOptions {
    /// What they are compared by.
    pub metric: Metric,
    /// Ranks answers by diffusion.
    pub rerank: Option<DiffusionConfig>,
}

impl AssessOptions {
    /// By a metric alone.
    pub fn new(metric: Metric) -> Self {
        Self {
            metric,
            rerank: None,
        }
    }

    fn of_eval(&self) -> Options {
        Options {
            rerank: self.rerank,
        }
    }
}

/// Asks the collection's codes with each of its images (left out of its own answer), or with each
/// image of `queries`, and scores the answers by label. Labels are read for nothing else.
///
/// # Errors
///
/// When a collection has no labels or another shape than the model.
pub fn assess(
    model: &Autoencoder,
    collection: &Collection,
    queries: Option<&Collection>,
    options: &AssessOptions,
) -> Result<Scores, Error> {
    let codes = model.encode_collection(collection, |_| {})?;
    let asked = queries
        .map(|q| model.encode_collection(q, |_| {}))
        .transpose()?;
    let dims = model.code_dim();
    let (metric, options) = (options.metric, options.of_eval());
    with_labels(
        collection,
        &codes,
        dims,
        queries,
        asked.as_deref(),
        |g, q| evaluate(g, q, metric, &options),
    )
}

/// The same for codes that are there already, of any encoder.
///
/// # Errors
///
/// When an image has no label, or codes cannot be compared.
pub fn assess_codes(
    images: &Encoded,
    queries: Option<&Encoded>,
    options: &AssessOptions,
) -> Result<Scores, Error> {
    let (metric, options) = (options.metric, options.of_eval());
    let labels = labels_of(images)?;
    let gallery = Labelled::new(Codes::new(&images.codes, images.dims)?, &labels)?;
    let Some(queries) = queries else {
        return Ok(evaluate(gallery, None, metric, &options)?);
    };
    let labels = labels_of(queries)?;
    let queries = Labelled::new(Codes::new(&queries.codes, queries.dims)?, &labels)?;
    Ok(evaluate(gallery, Some(queries), metric, &options)?)
}

fn labels_of(images: &Encoded) -> Result<Vec<&str>, Error> {
    let labelled = images.keys.iter().zip(&images.labels);
    labelled
        .map(|(key, label)| {
            label.as_deref().ok_or_else(|| Error::Unlabelled {
                collection: None,
                image: key.clone(),
            })
        })
        .collect()
}

/// The same for what can be made of pixels without training: raw pixels, pixels less their mean,
/// and principal components.
///
/// # Errors
///
/// When a collection has no labels.
fn assess_baselines(
    collection: &Collection,
    queries: Option<&Collection>,
) -> Result<Baselines, Error> {
    let gallery_labels = labels(collection)?;
    let query_labels = queries.map(labels).transpose()?;
    let asked = queries.map(pixel_vectors).zip(query_labels.as_deref());
    let dims = collection.shape().values();
    let gallery = (pixel_vectors(collection), &gallery_labels[..]);
    Ok(baselines(dims, gallery, asked)?)
}

/// The same for raw pixels alone.
///
/// # Errors
///
/// When a collection has no labels.
pub fn assess_pixels(
    collection: &Collection,
    queries: Option<&Collection>,
    metric: Metric,
) -> Result<Scores, Error> {
    with_pixels(collection, queries, |g, q| {
        evaluate(g, q, metric, &Options::default())
    })
}

/// The same for colour histograms ([`histogram`], cosine distance); `None` for grey images.
///
/// # Errors
///
/// When a collection has no labels.
fn assess_histogram(
    collection: &Collection,
    queries: Option<&Collection>,
) -> Result<Option<Scores>, Error> {
    if collection.shape().channels < 3 {
        return Ok(None);
    }
    let codes = histogram_vectors(collection);
    let asked = queries.map(histogram_vectors);
    let dims = codes.len() / collection.len();
    let options = Options::default();
    with_labels(
        collection,
        &codes,
        dims,
        queries,
        asked.as_deref(),
        |g, q| evaluate(g, q, Metric::Cosine, &options),
    )
    .map(Some)
}

/// Principal components of histograms of oriented gradients that are scored.
const HOG_COMPONENTS: usize = 128;

/// Scores of histograms of gradients.
struct HogScores {
    hog: Scores,
    hog_128_half_whitened: Scores,
}

/// The same for histograms of oriented gradients.
///
/// # Errors
///
/// When a collection has no labels, or `queries` has images of another shape.
fn assess_hog(collection: &Collection, queries: Option<&Collection>) -> Result<HogScores, Error> {
    let describe = |collection: &Collection| {
        let gradients = Gradients::suited(collection.shape());
        gradients.describe_all(collection)
    };
    let dims = Gradients::suited(collection.shape()).len();
    let (vectors, asked) = (describe(collection), queries.map(describe));
    with_labels(
        collection,
        &vectors,
        dims,
        queries,
        asked.as_deref(),
        |g, q| {
            Ok(HogScores {
                hog: evaluate(g, q, Metric::Cosine, &Options::default())?,
                hog_128_half_whitened: evaluate_half_whitened(g, q, HOG_COMPONENTS)?,
            })
        },
    )
}

/// The scores of every simple descriptor: what a model must beat to be worth its training.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct SimpleScores {
    /// See [`Baselines::pixels_euclidean`].
    pub pixels_euclidean: Scores,
    /// See [`Baselines::pixels_cosine`].
    pub pixels_cosine: Scores,
    /// See [`Baselines::pixels_centred`].
    pub pixels_centred: Scores,
    /// See [`Baselines::pca_64`].
    pub pca_64: Scores,
    /// See [`Baselines::pca_64_half_whitened`].
    pub pca_64_half_whitened: Scores,
    /// Colour histograms ([`histogram`]), cosine distance; only of colour images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Scores>,
    /// Histograms of oriented gradients ([`Gradients::suited`]), cosine distance.
    pub hog: Scores,
    /// Their first 128 principal components, half whitened
    /// ([`Pca::project_half_whitened`](lookalike_neighbours::Pca::project_half_whitened)), cosine
    /// distance.
    pub hog_128_half_whitened: Scores,
}

impl SimpleScores {
    /// Each descriptor's name, as `eval` shows it, and its scores; the simplest first.
    pub fn named(&self) -> Vec<(&'static str, Scores)> {
        let histogram = self.histogram.map(|s| ("colour histogram, cosine", s));
        let all = [
            Some(("pixels, euclidean", self.pixels_euclidean)),
            Some(("pixels, cosine", self.pixels_cosine)),
            Some(("pixels less their mean, cosine", self.pixels_centred)),
            Some(("PCA, cosine", self.pca_64)),
            Some(("PCA half whitened, cosine", self.pca_64_half_whitened)),
            histogram,
            Some(("HOG, cosine", self.hog)),
            Some(("HOG half whitened, cosine", self.hog_128_half_whitened)),
        ];
        all.into_iter().flatten().collect()
    }

    /// The descriptor with the highest precision at 5, by its [name](Self::named); of equals, the
    /// simplest.
    pub fn best(&self) -> (&'static str, Scores) {
        self.best_by(|scores| scores.precision_at_5)
    }

    /// The descriptor with the highest mean average precision, by its [name](Self::named); of
    /// equals, the simplest.
    #[cfg(test)]
    fn best_by_map(&self) -> (&'static str, Scores) {
        self.best_by(|scores| scores.map)
    }

    fn best_by(&self, measure: impl Fn(&Scores) -> f64) -> (&'static str, Scores) {
        let named = self.named();
        let mut best = named[0];
        for next in named {
            if measure(&next.1) > measure(&best.1) {
                best = next;
            }
        }
        best
    }
}

/// The same for every simple descriptor: what can be made of pixels without training, the colour
/// histogram, and histograms of gradients.
///
/// # Errors
///
/// When a collection has no labels, or `queries` has images of another shape.
pub fn assess_simple(
    collection: &Collection,
    queries: Option<&Collection>,
) -> Result<SimpleScores, Error> {
    let pixels = assess_baselines(collection, queries)?;
    let gradients = assess_hog(collection, queries)?;
    Ok(SimpleScores {
        pixels_euclidean: pixels.pixels_euclidean,
        pixels_cosine: pixels.pixels_cosine,
        pixels_centred: pixels.pixels_centred,
        pca_64: pixels.pca_64,
        pca_64_half_whitened: pixels.pca_64_half_whitened,
        histogram: assess_histogram(collection, queries)?,
        hog: gradients.hog,
        hog_128_half_whitened: gradients.hog_128_half_whitened,
    })
}

/// How well changed copies of images find their originals: what [`assess_self`] found.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct SelfAssessment {
    /// How the copies were changed.
    pub distortion: Augmentation,
    /// The model's codes.
    pub model: SelfScores,
    /// Raw pixels, cosine distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels_cosine: Option<SelfScores>,
    /// Colour histograms, cosine distance; only of colour images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<SelfScores>,
}

/// Copies that ask, at most.
const MAX_COPIES: usize = 2000;
/// Makes the copies' draws others than those of any training.
const COPIES: u64 = 0x636f_7069_6573;

/// The change of [`assess_self`]'s copies: a crop to 85 % to 100 % of each side, half of
/// [`Augmentation::strength`]'s range (rotation 8.5°, scale 7.5 %, shear 0.1, shift 5 %, elastic
/// 0.1), and for colour images half of [`Augmentation::with_colour`]'s (brightness, contrast and
/// saturation 10 %, hue 3°, gamma 0.075).
pub fn copying(channels: usize) -> Augmentation {
    let places = Augmentation::strength(0.5).with_crop(0.15);
    match channels {
        3 => places.with_colour(0.5),
        _ => places,
    }
}

/// Asks with a changed copy ([`copying`]) of each image, or of 2,000 at even steps through a larger
/// collection, and looks for its original among all images. No label is read. `with_baselines` asks
/// raw pixels and, of colour images, histograms as well. The copies are the same at every call.
///
/// # Errors
///
/// When the collection has another shape than the model, or fewer than two images.
pub fn assess_self(
    model: &Autoencoder,
    collection: &Collection,
    metric: Metric,
    with_baselines: bool,
) -> Result<SelfAssessment, Error> {
    let shape = collection.shape();
    let distortion = copying(shape.channels);
    let asked = collection.len().min(MAX_COPIES);
    let originals: Vec<usize> = (0..asked).map(|i| i * collection.len() / asked).collect();
    let copies = distorted(collection, &originals, &distortion, COPIES);
    let score = |gallery: &[f32], queries: &[f32], metric| -> Result<SelfScores, Error> {
        let gallery = Codes::new(gallery, gallery.len() / collection.len())?;
        let queries = Codes::new(queries, gallery.dims())?;
        Ok(self_retrieval(gallery, queries, &originals, metric)?)
    };
    let codes = model.encode_collection(collection, |_| {})?;
    let model = score(&codes, &model.encode(&copies)?, metric)?;
    drop(codes);
    let (mut pixels_cosine, mut of_histograms) = (None, None);
    if with_baselines {
        let floats = floats(&copies);
        pixels_cosine = Some(score(&pixel_vectors(collection), &floats, Metric::Cosine)?);
        if shape.channels == 3 {
            let histograms: Vec<f32> = copies
                .chunks_exact(shape.values())
                .flat_map(|copy| histogram_vector(shape.width, shape.height, copy))
                .collect();
            let gallery = histogram_vectors(collection);
            of_histograms = Some(score(&gallery, &histograms, Metric::Cosine)?);
        }
    }
    Ok(SelfAssessment {
        distortion,
        model,
        pixels_cosine,
        histogram: of_histograms,
    })
}

/// A distorted copy of each of these images, one after another; `seed` decides what is drawn.
pub(crate) fn distorted(
    collection: &Collection,
    originals: &[usize],
    augmentation: &Augmentation,
    seed: u64,
) -> Vec<u8> {
    let shape = collection.shape();
    let mut copies = vec![0; originals.len() * shape.values()];
    copies
        .par_chunks_exact_mut(shape.values())
        .zip(originals)
        .for_each_init(
            || {
                (
                    Augmenter::new(augmentation, shape),
                    vec![0.0; shape.values()],
                )
            },
            |(augmenter, floats), (copy, &original)| {
                augmenter.apply(collection.image(original), seed ^ original as u64, floats);
                for (byte, &value) in copy.iter_mut().zip(floats.iter()) {
                    *byte = (value * 255.0).round() as u8;
                }
            },
        );
    copies
}

fn histogram_vectors(collection: &Collection) -> Vec<f32> {
    let shape = collection.shape();
    (0..collection.len())
        .flat_map(|i| histogram_vector(shape.width, shape.height, collection.image(i)))
        .collect()
}

pub(crate) fn histogram_vector(width: usize, height: usize, colours: &[u8]) -> [f32; 64] {
    let pixels = Pixels::new(width, height, 3, colours.to_vec());
    histogram(&pixels.expect("an image of a collection has its shape"))
}

pub(crate) fn floats(pixels: &[u8]) -> Vec<f32> {
    pixels.iter().map(|&p| f32::from(p) / 255.0).collect()
}

/// A collection's pixels as vectors, 0 to 1, one image after another.
pub fn pixel_vectors(collection: &Collection) -> Vec<f32> {
    floats(collection.pixels())
}

fn with_pixels<T>(
    collection: &Collection,
    queries: Option<&Collection>,
    score: impl FnOnce(Labelled<&str>, Option<Labelled<&str>>) -> Result<T, EvalError>,
) -> Result<T, Error> {
    let pixels = pixel_vectors(collection);
    let asked = queries.map(pixel_vectors);
    let dims = collection.shape().values();
    with_labels(collection, &pixels, dims, queries, asked.as_deref(), score)
}

/// Joins vectors with their collections' labels and hands both to `score`.
fn with_labels<T>(
    collection: &Collection,
    vectors: &[f32],
    dims: usize,
    queries: Option<&Collection>,
    asked: Option<&[f32]>,
    score: impl FnOnce(Labelled<&str>, Option<Labelled<&str>>) -> Result<T, EvalError>,
) -> Result<T, Error> {
    let gallery_labels = labels(collection)?;
    let gallery = Labelled::new(Codes::new(vectors, dims)?, &gallery_labels)?;
    match (queries, asked) {
        (Some(queries), Some(asked)) => {
            let query_labels = labels(queries)?;
            let queries = Labelled::new(Codes::new(asked, dims)?, &query_labels)?;
            Ok(score(gallery, Some(queries))?)
        }
        _ => Ok(score(gallery, None)?),
    }
}

fn labels(collection: &Collection) -> Result<Vec<&str>, Error> {
    (0..collection.len())
        .map(|i| {
            collection.label(i).ok_or_else(|| Error::Unlabelled {
                collection: Some(collection.name().to_owned()),
                image: collection.key(i).to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use lookalike_images::InputShape;

    use super::*;

    /// Stripes of two directions, the label; of any colour, place and brightness.
    fn stripes(channels: usize, count: usize, first: usize) -> Collection {
        const SIDE: usize = 8;
        let shape = InputShape {
            channels,
            height: SIDE,
            width: SIDE,
        };
        let mut pixels = Vec::new();
        for i in first..first + count {
            for at in 0..SIDE * SIDE {
                let (y, x) = (at / SIDE, at % SIDE);
                let along = if i % 2 == 0 { x } else { y };
                let bright = (along + i * 7 % 5) % 6 < 3;
                let dark = i * 31 % 90;
                let light = dark + 40 + i * 17 % 100;
                for channel in 0..channels {
                    let tint = (i + channel) * 11 % 23;
                    pixels.push((if bright { light } else { dark } + tint) as u8);
                }
            }
        }
        let keys = (first..first + count).map(|i| i.to_string()).collect();
        let labels = (first..first + count).map(|i| Some((i % 2).to_string()));
        Collection::from_parts("stripes", shape, keys, labels.collect(), pixels).unwrap()
    }

    #[test]
    fn edges_find_stripes_of_any_colour() {
        for channels in [1, 3] {
            let (gallery, queries) = (stripes(channels, 60, 0), stripes(channels, 20, 60));
            for queries in [None, Some(&queries)] {
                let found = assess_simple(&gallery, queries).unwrap();
                let asked = queries.map_or(60, Collection::len);
                assert_eq!((found.hog.images, found.hog.queries), (60, asked));
                assert_eq!(found.hog.dims, Gradients::suited(gallery.shape()).len());
                assert_eq!(found.hog_128_half_whitened.dims, 128);
                assert_eq!(found.pca_64_half_whitened.dims, 64);
                assert_eq!(found.hog.precision_at_5, 1.0);
                assert_eq!(found.histogram.is_some(), channels == 3);
                assert_eq!(found.named().len(), 7 + channels / 3);
                assert_eq!(found.best().1.precision_at_5, 1.0);
                let highest = found.named().iter().map(|(_, s)| s.map).fold(0.0, f64::max);
                assert_eq!(found.best_by_map().1.map, highest);
            }
        }
    }

    #[test]
    fn the_best_is_the_simplest_of_equals() {
        let scores = |precision_at_5: f64, map: f64| Scores {
            images: 9,
            queries: 9,
            dims: 4,
            precision_at_1: 0.5,
            precision_at_5,
            all_5: 0.1,
            map,
        };
        let mut found = SimpleScores {
            pixels_euclidean: scores(0.3, 0.2),
            pixels_cosine: scores(0.4, 0.2),
            pixels_centred: scores(0.4, 0.1),
            pca_64: scores(0.4, 0.5),
            pca_64_half_whitened: scores(0.2, 0.1),
            histogram: None,
            hog: scores(0.4, 0.5),
            hog_128_half_whitened: scores(0.4, 0.4),
        };
        assert_eq!(found.best(), ("pixels, cosine", found.pixels_cosine));
        assert_eq!(found.best_by_map(), ("PCA, cosine", found.pca_64));
        found.histogram = Some(scores(0.7, 0.1));
        assert_eq!(found.best().0, "colour histogram, cosine");
        found.hog_128_half_whitened.precision_at_5 = 0.8;
        assert_eq!(found.best().0, "HOG half whitened, cosine");
    }
}
