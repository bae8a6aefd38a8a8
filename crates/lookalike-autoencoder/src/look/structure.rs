//! Which local structures an image has, and roughly where.

use lookalike_images::{InputShape, LocalGradients};
use lookalike_neighbours::{Codes, Pca};
use rayon::prelude::*;

/// Components of a local block that are kept.
const COMPONENTS: usize = 24;
/// Kinds of blocks that are told apart.
const KINDS: usize = 32;
/// Rounds of clustering.
const ROUNDS: usize = 15;
/// Blocks that the kinds are found on, and images that they are taken from, at most.
const BLOCKS: usize = 60_000;
/// The image as a whole, and its quarters.
const REGIONS: usize = 5;
/// Length of a quarter's values beside the whole's.
const QUARTER_WEIGHT: f32 = 0.5;

/// Local blocks of gradients, summed up by kind.
///
/// A vector of locally aggregated descriptors (Jégou, Douze, Schmid and Pérez, CVPR 2010): blocks
/// ([`LocalGradients`]) are brought to half-whitened principal components and told apart by k-means;
/// of every kind, the differences of its blocks from the kind's mean are added up. Square roots keep
/// one repeated structure from outweighing all others (Perronnin, Sánchez and Mensink, ECCV 2010).
/// That is done for the whole image and for its quarters (Lazebnik, Schmid and Ponce, CVPR 2006).
pub(super) struct Structure {
    blocks: LocalGradients,
    contrast: f32,
    pca: Pca,
    /// The kinds' means, one a row.
    means: Vec<f32>,
}

/// Pixels between coarse blocks: a sixteenth of the longer side, and few enough that a block fits.
pub(super) fn coarse_step(shape: InputShape) -> usize {
    let (longer, shorter) = (
        shape.height.max(shape.width),
        shape.height.min(shape.width),
    );
    ((longer + 8) / 16).min(shorter / 4).max(1)
}

impl Structure {
    /// Finds the kinds of blocks, `step` pixels apart, that images have.
    pub fn fit(shape: InputShape, step: usize, contrast: f32, images: &[&[u8]]) -> Self {
        let blocks = LocalGradients::new(shape, step);
        let each = BLOCKS.div_ceil(images.len().max(1));
        let of_image = blocks.len() / LocalGradients::BLOCK;
        let chosen: Vec<f32> = images
            .par_iter()
            .enumerate()
            .flat_map_iter(|(image, pixels)| {
                let mut all = vec![0.0; blocks.len()];
                blocks.describe(pixels, contrast, &mut all);
                let count = each.min(of_image);
                // Spread over the image, elsewhere in each.
                (0..count)
                    .flat_map(|i| {
                        let at = (i * of_image / count + image * 7) % of_image;
                        all[at * LocalGradients::BLOCK..][..LocalGradients::BLOCK].to_vec()
                    })
                    .collect::<Vec<f32>>()
            })
            .collect();
        let codes = Codes::new(&chosen, LocalGradients::BLOCK).expect("blocks are finite");
        let pca = Pca::fit(codes, COMPONENTS);
        let means = cluster(&pca.project_half_whitened(codes), pca.components());
        Self {
            blocks,
            contrast,
            pca,
            means,
        }
    }

    /// Floats of a description.
    pub fn len(&self) -> usize {
        REGIONS * self.means.len()
    }

    /// Writes the description of an image.
    pub fn describe(&self, pixels: &[u8], out: &mut [f32]) {
        let mut blocks = vec![0.0; self.blocks.len()];
        self.blocks.describe(pixels, self.contrast, &mut blocks);
        let codes = Codes::new(&blocks, LocalGradients::BLOCK).expect("blocks are finite");
        let components = self.pca.project_half_whitened(codes);
        let dims = self.pca.components();
        let [down, across] = self.blocks.grid();
        out.fill(0.0);
        let (whole, quarters) = out.split_at_mut(self.means.len());
        for (at, block) in components.chunks_exact(dims).enumerate() {
            let kind = nearest(&self.means, block);
            let quarter = 2 * usize::from(2 * (at / across) >= down)
                + usize::from(2 * (at % across) >= across);
            let mean = &self.means[kind * dims..][..dims];
            let sums = &mut quarters[quarter * self.means.len() + kind * dims..][..dims];
            for ((sum, value), mean) in sums.iter_mut().zip(block).zip(mean) {
                *sum += value - mean;
            }
        }
        for quarter in quarters.chunks_exact_mut(self.means.len()) {
            for (sum, value) in whole.iter_mut().zip(quarter.iter()) {
                *sum += value;
            }
            normalise(quarter, QUARTER_WEIGHT);
        }
        normalise(whole, 1.0);
    }
}

/// Square roots with their signs, brought to a length.
fn normalise(values: &mut [f32], length: f32) {
    let mut square = 0.0;
    for value in values.iter_mut() {
        square += value.abs();
        *value = value.abs().sqrt().copysign(*value);
    }
    if square > 0.0 {
        let scale = length / square.sqrt();
        values.iter_mut().for_each(|value| *value *= scale);
    }
}

/// The nearest of the means; the first of equals.
fn nearest(means: &[f32], block: &[f32]) -> usize {
    let mut best = (f32::INFINITY, 0);
    for (kind, mean) in means.chunks_exact(block.len()).enumerate() {
        let distance: f32 = mean
            .iter()
            .zip(block)
            .map(|(mean, value)| (mean - value) * (mean - value))
            .sum();
        if distance < best.0 {
            best = (distance, kind);
        }
    }
    best.1
}

/// Lloyd's k-means, from blocks at even steps. Sums are made in a fixed order, so that the means
/// are the same on any number of threads.
fn cluster(blocks: &[f32], dims: usize) -> Vec<f32> {
    let count = blocks.len() / dims;
    let kinds = KINDS.min(count);
    let mut means: Vec<f32> = (0..kinds)
        .flat_map(|kind| &blocks[kind * count / kinds * dims..][..dims])
        .copied()
        .collect();
    for _ in 0..ROUNDS {
        let chosen: Vec<usize> = blocks
            .par_chunks_exact(dims)
            .with_min_len(512)
            .map(|block| nearest(&means, block))
            .collect();
        let mut sums = vec![0.0f64; means.len()];
        let mut counts = vec![0usize; kinds];
        for (block, &kind) in blocks.chunks_exact(dims).zip(&chosen) {
            counts[kind] += 1;
            for (sum, &value) in sums[kind * dims..][..dims].iter_mut().zip(block) {
                *sum += f64::from(value);
            }
        }
        for (kind, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            for at in kind * dims..(kind + 1) * dims {
                means[at] = (sums[at] / count as f64) as f32;
            }
        }
    }
    means
}
