//! Judging codes where there are no labels.
//!
//! No criterion tells good codes from bad ones on every kind of image. What ranks models and simple
//! descriptors best of all that was tried (docs/quality-tried.md) is how many neighbours codes
//! share with coarse structure (and with colours, as far as those count in the collection), and how
//! surely a distorted copy is nearer to its original than to others. Neighbours shared with shape
//! are counted too, to say whether diffusion may help.

use std::cell::OnceCell;
use std::convert::Infallible;

use lookalike_autoencoder::{
    Augmentation, Autoencoder, COLOURS, Comparison, Judgement, PartNeighbours, overlap,
};
use lookalike_images::{Collection, Gradients};
use lookalike_neighbours::{Codes, Metric, Pca, map_distances, nearest_others};
use rayon::prelude::*;

use crate::assess::{distorted, floats, histogram_vector};
use crate::{Encoder as _, Error};

/// Images that are looked at, at even steps through the collection.
pub(crate) const MAX_IMAGES: usize = 1000;
/// Fewer than these say nothing.
pub(crate) const MIN_IMAGES: usize = 30;
/// Neighbours that are compared.
const NEIGHBOURS: usize = 10;
/// Components of pixels and of gradients.
const PIXEL_COMPONENTS: usize = 64;
const GRADIENT_COMPONENTS: usize = 128;
/// Makes the copies' draws others than those of any training.
pub(crate) const COPIES: u64 = 0x6a75_6467_6564;

/// What makes codes of images, one after another, that have the collection's shape.
type Describe<'a> = Box<dyn Fn(&[u8]) -> Vec<f32> + 'a>;

/// Judges a model beside simple descriptors on images that it knows, without labels; `None` for
/// fewer than 30 images. Takes seconds.
///
/// # Errors
///
/// When the collection has another shape than the model.
pub fn compare(model: &Autoencoder, collection: &Collection) -> Result<Option<Comparison>, Error> {
    compare_while(model, collection, &|| true)
}

/// As [`compare`]; `go_on` is asked before the model and each descriptor, and ends it where it says
/// no.
///
/// # Errors
///
/// As [`compare`], and when `go_on` ended it.
pub fn compare_while(
    model: &Autoencoder,
    collection: &Collection,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Comparison>, Error> {
    if collection.len() < MIN_IMAGES {
        return Ok(None);
    }
    let check = || match go_on() {
        true => Ok(()),
        false => Err(Error::ComparingStopped),
    };
    check()?;
    let images = sample(collection);
    let judge = Judge::new(&images);
    check()?;
    let codes = model.encode_collection(&images, |_| {})?;
    let copies = model.encode(&judge.copies)?;
    let metric = model.default_metric();
    let all: Vec<usize> = (0..images.len()).collect();
    Ok(Some(Comparison {
        images: images.len(),
        model: judge.judge("model", metric, &codes, &copies, &all),
        simple: judge.simple_while(check)?,
        colours_weight: colours_weight(model),
    }))
}

/// How much colours count in what a model learned.
pub(crate) fn colours_weight(model: &Autoencoder) -> f32 {
    let mut parts = model.record().parts.iter();
    parts
        .find(|part| part.name == COLOURS)
        .map_or(0.0, |part| part.weight)
}

/// At most [`MAX_IMAGES`] of a collection.
fn sample(collection: &Collection) -> Collection {
    let count = collection.len().min(MAX_IMAGES);
    let chosen: Vec<usize> = (0..count).map(|i| i * collection.len() / count).collect();
    let keys = chosen.iter().map(|&i| collection.key(i).to_owned());
    let pixels = chosen.iter().flat_map(|&i| collection.image(i));
    Collection::from_parts(
        collection.name(),
        collection.shape(),
        keys.collect(),
        vec![None; count],
        pixels.copied().collect(),
    )
    .expect("a part of a collection is one")
}

/// The simple descriptors, by the names that `eval` gives them.
fn descriptors(images: &Collection) -> Vec<(&'static str, Describe<'_>)> {
    let shape = images.shape();
    let gradients = move |pixels: &[u8]| {
        let gradients = Gradients::suited(shape);
        let mut out = vec![0.0; pixels.len() / shape.values() * gradients.len()];
        out.par_chunks_exact_mut(gradients.len())
            .zip(pixels.par_chunks_exact(shape.values()))
            .for_each_init(|| gradients, |g, (out, image)| g.describe(image, out));
        out
    };
    let centred = move |pixels: &[u8]| {
        let mut rows = floats(pixels);
        for row in rows.chunks_exact_mut(shape.values()) {
            let mean = row.iter().sum::<f32>() / row.len() as f32;
            row.iter_mut().for_each(|value| *value -= mean);
        }
        rows
    };
    let mut all: Vec<(&'static str, Describe)> = vec![
        ("pixels, cosine", Box::new(floats)),
        ("pixels less their mean, cosine", Box::new(centred)),
        (
            "PCA half whitened, cosine",
            half_whitened(images, PIXEL_COMPONENTS, floats),
        ),
        ("HOG, cosine", Box::new(gradients)),
        (
            "HOG half whitened, cosine",
            half_whitened(images, GRADIENT_COMPONENTS, gradients),
        ),
    ];
    if shape.channels == 3 {
        let histograms = move |pixels: &[u8]| {
            pixels
                .chunks_exact(shape.values())
                .flat_map(|image| histogram_vector(shape.width, shape.height, image))
                .collect()
        };
        all.push(("colour histogram, cosine", Box::new(histograms)));
    }
    all
}

/// A descriptor's first principal components over the images, half whitened. They are found when
/// they are first asked for, which takes seconds.
fn half_whitened<'a>(
    images: &'a Collection,
    components: usize,
    describe: impl Fn(&[u8]) -> Vec<f32> + 'a,
) -> Describe<'a> {
    let found = OnceCell::new();
    Box::new(move |pixels| {
        let (pca, dims) = found.get_or_init(|| {
            let all = describe(images.pixels());
            let dims = all.len() / images.len();
            (Pca::fit(rows(&all, dims), components), dims)
        });
        pca.project_half_whitened(rows(&describe(pixels), *dims))
    })
}

/// How copies are distorted.
pub(crate) fn copying() -> Augmentation {
    Augmentation::strength(0.5).with_crop(0.15)
}

/// What codes are held against.
pub(crate) struct Judge<'a> {
    images: &'a Collection,
    /// A distorted copy of each image.
    copies: Vec<u8>,
    parts: PartNeighbours,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(images: &'a Collection) -> Self {
        let augmentation = copying();
        let all: Vec<usize> = (0..images.len()).collect();
        let copies = distorted(images, &all, &augmentation, COPIES);
        Self {
            images,
            copies,
            parts: PartNeighbours::find(images, NEIGHBOURS),
        }
    }

    /// Judges the simple descriptors.
    pub(crate) fn simple(&self) -> Vec<Judgement> {
        let simple: Result<_, Infallible> = self.simple_while(|| Ok(()));
        let Ok(simple) = simple;
        simple
    }

    /// Judges the simple descriptors, until `check` gives an error before one of them.
    fn simple_while<E>(&self, check: impl Fn() -> Result<(), E>) -> Result<Vec<Judgement>, E> {
        let all = descriptors(self.images);
        all.iter()
            .map(|(name, describe)| {
                check()?;
                Ok(self.describe(name, describe))
            })
            .collect()
    }

    /// Judges a descriptor, which is compared by cosine.
    fn describe(&self, name: &str, describe: &dyn Fn(&[u8]) -> Vec<f32>) -> Judgement {
        let codes = describe(self.images.pixels());
        let copies = describe(&self.copies);
        let all: Vec<usize> = (0..self.images.len()).collect();
        self.judge(name, Metric::Cosine, &codes, &copies, &all)
    }

    /// Judges codes of the images, and of copies of those that are in `originals`.
    pub(crate) fn judge(
        &self,
        name: &str,
        metric: Metric,
        codes: &[f32],
        copies: &[f32],
        originals: &[usize],
    ) -> Judgement {
        let dims = codes.len() / self.images.len();
        let codes = rows(codes, dims);
        let near: Vec<Vec<usize>> = nearest_others(codes, metric, NEIGHBOURS)
            .into_iter()
            .map(|row| row.into_iter().map(|near| near.index).collect())
            .collect();
        let farther = map_distances(codes, rows(copies, dims), metric, |copy, distances| {
            let own = distances[originals[copy]];
            let nearer = distances.iter().filter(|&&d| d < own).count();
            // The original itself is among those that are as near.
            let alike = distances.iter().filter(|&&d| d == own).count() - 1;
            1.0 - (nearer as f64 + alike as f64 / 2.0) / (distances.len() - 1) as f64
        });
        Judgement {
            name: name.to_owned(),
            structure: overlap(&near, &self.parts.structure),
            shape: overlap(&near, &self.parts.shape),
            colours: self.parts.colours.as_ref().map(|by| overlap(&near, by)),
            copies: (farther.iter().sum::<f64>() / farther.len().max(1) as f64) as f32,
        }
    }
}

fn rows(values: &[f32], dims: usize) -> Codes<'_> {
    Codes::new(values, dims).expect("codes are finite")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use lookalike_images::InputShape;

    use super::*;

    const SIDE: usize = 16;

    /// Waves in one of four directions, of any phase, contrast and colour.
    fn waves(channels: usize, count: usize) -> Collection {
        let shape = InputShape {
            channels,
            height: SIDE,
            width: SIDE,
        };
        let mut pixels = Vec::new();
        for i in 0..count {
            let (sin, cos) = (45.0 * (i % 4) as f32).to_radians().sin_cos();
            let (phase, contrast) = ((i * 7 % 11) as f32, 40.0 + (i * 13 % 60) as f32);
            for at in 0..SIDE * SIDE {
                let along = (at % SIDE) as f32 * cos + (at / SIDE) as f32 * sin;
                let value = 128.0 + contrast * (along * 0.9 + phase).sin();
                for channel in 0..channels {
                    pixels.push((value + (i * (channel + 3) % 17) as f32) as u8);
                }
            }
        }
        let keys = (0..count).map(|i| i.to_string()).collect();
        Collection::from_parts("waves", shape, keys, vec![None; count], pixels).unwrap()
    }

    #[test]
    fn descriptors_are_judged_better_than_noise() {
        for channels in [1, 3] {
            let images = waves(channels, 120);
            let judge = Judge::new(&images);
            let noise = |pixels: &[u8]| {
                let hash = |image: &[u8]| {
                    let bytes = image.iter().map(|&b| u32::from(b));
                    bytes.fold(1u32, |h, b| h.wrapping_mul(16_777_619) ^ b)
                };
                pixels
                    .chunks_exact(images.shape().values())
                    .flat_map(|image| (0..8).map(move |i| ((hash(image) >> (4 * i)) % 16) as f32))
                    .collect::<Vec<f32>>()
            };
            let noise = judge.describe("noise", &noise);
            let found: Vec<Judgement> = descriptors(&images)
                .iter()
                .map(|(name, describe)| judge.describe(name, describe))
                .collect();
            assert_eq!(found.len(), 5 + channels / 3);
            for part in [noise.structure, noise.shape] {
                assert!(part.abs() < 0.1, "{noise:?}");
            }
            assert!((noise.copies - 0.5).abs() < 0.1, "{noise:?}");
            for judged in found
                .iter()
                .filter(|judged| !judged.name.contains("histogram"))
            {
                let score = |judged: &Judgement| judged.structure + judged.copies;
                assert!(score(judged) > score(&noise) + 0.5, "{judged:?}");
            }
            // Half whitened or not, gradients know shape best.
            let best = found.iter().max_by(|a, b| a.shape.total_cmp(&b.shape));
            assert!(best.unwrap().name.starts_with("HOG"), "{found:?}");
        }
    }

    #[test]
    fn comparing_ends_where_it_is_told_to() {
        let images = waves(1, 40);
        let judge = Judge::new(&images);
        let left = Cell::new(3);
        let found = judge.simple_while(|| {
            left.set(left.get() - 1);
            if left.get() == 0 {
                Err("enough")
            } else {
                Ok(())
            }
        });
        assert_eq!(found, Err("enough"));
        assert_eq!(left.get(), 0);
    }

    #[test]
    fn codes_that_are_all_alike_find_no_copies() {
        let images = waves(1, 40);
        let constant = |pixels: &[u8]| vec![1.0; pixels.len() / images.shape().values()];
        let judged = Judge::new(&images).describe("constant", &constant);
        assert!((judged.copies - 0.5).abs() < 1e-6, "{judged:?}");
    }

    #[test]
    fn a_sample_goes_through_the_whole_collection() {
        let images = waves(1, 1500);
        let some = sample(&images);
        assert_eq!(some.len(), MAX_IMAGES);
        assert_eq!((some.key(0), some.key(999)), ("0", "1498"));
        assert_eq!(some.image(999), images.image(1498));
        assert_eq!(sample(&some).pixels(), some.pixels());
    }
}
