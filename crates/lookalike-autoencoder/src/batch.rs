//! What a step sees: the order of an epoch, and a batch's inputs and targets.
//!
//! Everything random is a function of the seed, the epoch and the image, never of what was drawn
//! before: that makes a resumed run equal to an unbroken one, on any number of threads.

use lookalike_images::Collection;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::architecture::Architecture;
use crate::augment::Augmenter;
use crate::config::{Objective, TrainConfig};

/// Streams of randomness that must not meet.
#[derive(Clone, Copy)]
enum Stream {
    Order = 1,
    Image = 2,
    Code = 3,
}

/// A seed of its own for every (run, stream, epoch, item): splitmix64 over the four.
fn derive(seed: u64, stream: Stream, epoch: usize, item: usize) -> u64 {
    let mut state = seed;
    for part in [stream as u64, epoch as u64, item as u64] {
        state = state.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state = z ^ (z >> 31);
    }
    state
}

/// The order of the collection's images in `epoch`.
pub(crate) fn order(len: usize, seed: u64, epoch: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len as u32).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(derive(
        seed,
        Stream::Order,
        epoch,
        0,
    )));
    order
}

/// Batch norm cannot take one image: its variance would be 0.
pub(crate) fn smallest_batch(architecture: Architecture) -> usize {
    match architecture {
        Architecture::Bottleneck => 2,
        Architecture::Conv | Architecture::Compact => 1,
    }
}

/// Where each step of an epoch starts and ends in its order. The last batch may be short, but
/// never a single image where `smallest` forbids it: that one joins the batch before it.
pub(crate) fn steps(len: usize, batch: usize, smallest: usize) -> Vec<std::ops::Range<usize>> {
    let mut steps: Vec<_> = (0..len)
        .step_by(batch)
        .map(|start| start..(start + batch).min(len))
        .collect();
    if steps.len() > 1 && steps[steps.len() - 1].len() < smallest {
        steps.pop();
        let last = steps.len() - 1;
        steps[last].end = len;
    }
    steps
}

/// Inputs and targets of one step, each `images x input_len` floats 0 to 1.
pub(crate) struct Batch {
    pub inputs: Vec<f32>,
    /// `None` where the input itself is the target.
    pub targets: Option<Vec<f32>>,
}

/// Makes the batch of `images` for `epoch` (from 0).
pub(crate) fn prepare(
    collection: &Collection,
    images: &[u32],
    config: &TrainConfig,
    epoch: usize,
) -> Batch {
    let shape = collection.shape();
    let len = shape.channels * shape.height * shape.width;
    let mut clean = vec![0.0; images.len() * len];
    clean
        .par_chunks_exact_mut(len)
        .zip(images)
        .with_min_len(16)
        .for_each(|(out, &image)| to_floats(collection.image(image as usize), out));
    let seed = |image: u32| image_seed(config.seed, epoch, image);
    let mut changed = match config.objective {
        Objective::Reconstruct | Objective::Variational => {
            return Batch {
                inputs: clean,
                targets: None,
            };
        }
        Objective::Augment | Objective::Denoise | Objective::Look | Objective::Distil => {
            vec![0.0; clean.len()]
        }
    };
    let rows = changed
        .par_chunks_exact_mut(len)
        .zip(images)
        .with_min_len(16);
    match config.objective {
        Objective::Denoise => rows.for_each(|(out, &image)| {
            let source = collection.image(image as usize);
            config.noise.apply(source, shape, seed(image), out);
        }),
        _ => rows.for_each_init(
            || Augmenter::new(&config.augmentation, shape),
            |augmenter, (out, &image)| {
                augmenter.apply(collection.image(image as usize), seed(image), out);
            },
        ),
    }
    Batch {
        inputs: changed,
        targets: Some(clean),
    }
}

/// The seed of an image's random changes in an epoch.
pub(crate) fn image_seed(seed: u64, epoch: usize, image: u32) -> u64 {
    derive(seed, Stream::Image, epoch, image as usize)
}

/// A standard deviation below this is noise, and is not stretched any further.
pub(crate) const MIN_DEVIATION: f32 = 0.02;

/// Brings an image's values (0 to 1) to mean 0 and standard deviation 1.
pub(crate) fn normalise(values: &mut [f32]) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares = values.iter().map(|&v| (f64::from(v) - mean).powi(2));
    let deviation = (squares.sum::<f64>() / count).sqrt() as f32;
    let (mean, scale) = (mean as f32, 1.0 / deviation.max(MIN_DEVIATION));
    for value in values {
        *value = (*value - mean) * scale;
    }
}

/// 8-bit pixels as floats 0 to 1.
pub(crate) fn to_floats(pixels: &[u8], out: &mut [f32]) {
    for (float, &pixel) in out.iter_mut().zip(pixels) {
        *float = f32::from(pixel) * (1.0 / 255.0);
    }
}

/// Standard normal numbers for a variational step's codes, by Box and Muller's transform.
pub(crate) fn normal(len: usize, seed: u64, epoch: usize, step: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(derive(seed, Stream::Code, epoch, step));
    let mut numbers = Vec::with_capacity(len + 1);
    while numbers.len() < len {
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * random.random::<f64>()).sin_cos();
        numbers.push((radius * cosine) as f32);
        numbers.push((radius * sine) as f32);
    }
    numbers.truncate(len);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation_of_its_own_epoch() {
        let (a, b) = (order(1000, 3, 0), order(1000, 3, 1));
        assert_ne!(a, b);
        assert_eq!(a, order(1000, 3, 0));
        let mut sorted = b;
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(i, &x)| i as u32 == x));
    }

    #[test]
    fn steps_cover_everything_once() {
        for (len, batch, smallest) in [(10, 3, 1), (10, 3, 2), (9, 4, 2), (1, 4, 2), (8, 4, 2)] {
            let steps = steps(len, batch, smallest);
            let covered: Vec<usize> = steps.iter().cloned().flatten().collect();
            assert_eq!(covered, (0..len).collect::<Vec<_>>());
            assert!(len < smallest || steps.iter().all(|s| s.len() >= smallest));
        }
    }

    #[test]
    fn seeds_of_different_items_differ() {
        let mut seen = std::collections::HashSet::new();
        for stream in [Stream::Order, Stream::Image, Stream::Code] {
            for epoch in 0..20 {
                for item in 0..50 {
                    assert!(seen.insert(derive(7, stream, epoch, item)));
                }
            }
        }
    }

    #[test]
    fn normal_numbers_are_standard() {
        let numbers = normal(20_001, 1, 2, 3);
        assert_eq!(numbers.len(), 20_001);
        let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / 20_001.0;
        let variance = numbers.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 20_001.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05);
    }
}
