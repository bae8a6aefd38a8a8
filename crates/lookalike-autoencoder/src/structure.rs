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
    let (longer, shorter) = (shape.height.max(shape.width), shape.height.min(shape.width));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between -1 and 1 that do not depend on each other.
    fn noise(i: usize) -> f32 {
        let mut bits = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (bits >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f32>().sqrt()
    }

    #[test]
    fn groups_of_blocks_are_told_apart() {
        // Four groups far from each other, in no order.
        let centres = [[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [90.0, 90.0]];
        let group = |block: usize| ((noise(3 * block) + 1.0) * 2.0) as usize % 4;
        let blocks: Vec<f32> = (0..800)
            .flat_map(|block| {
                let [x, y] = centres[group(block)];
                [x + noise(3 * block + 1), y + noise(3 * block + 2)]
            })
            .collect();
        let means = cluster(&blocks, 2);
        assert_eq!(means.len(), 2 * KINDS);
        for (block, values) in blocks.chunks(2).enumerate() {
            let mean = &means[2 * nearest(&means, values)..][..2];
            assert!(distance(mean, &centres[group(block)]) < 1.5, "{mean:?}");
            let least = means.chunks(2).map(|mean| distance(mean, values));
            assert_eq!(least.fold(f32::INFINITY, f32::min), distance(mean, values));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        assert_eq!(pool.unwrap().install(|| cluster(&blocks, 2)), means);
    }

    #[test]
    fn few_blocks_are_kinds_of_their_own() {
        for count in [1, 5, KINDS] {
            let blocks: Vec<f32> = (0..3 * count).map(noise).collect();
            let means = cluster(&blocks, 3);
            assert_eq!(means, blocks);
        }
        // All alike: the first kind has them all, and none is lost.
        assert_eq!(cluster(&[7.0; 300], 3), [7.0; 3 * KINDS]);
    }

    #[test]
    fn the_first_of_equal_means_is_the_nearest() {
        assert_eq!(nearest(&[1.0, -1.0, 0.5, -0.5], &[0.0]), 2);
        assert_eq!(nearest(&[1.0, 1.0, 0.0, 0.0, 0.0, 0.0], &[0.1, 0.0]), 1);
    }

    #[test]
    fn descriptions_have_the_lengths_of_their_regions() {
        for (channels, height, width) in [(1, 28, 28), (3, 33, 20), (1, 8, 70), (3, 64, 64)] {
            let shape = InputShape {
                channels,
                height,
                width,
            };
            let pixels: Vec<Vec<u8>> = (0..6)
                .map(|image| {
                    let value = |at| (127.0 + 120.0 * noise(image * shape.values() + at)) as u8;
                    (0..shape.values()).map(value).collect()
                })
                .collect();
            let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
            let step = coarse_step(shape);
            let structure = Structure::fit(shape, step, 0.1, &images);
            let region = structure.means.len();
            assert_eq!(structure.len(), REGIONS * region);
            assert_eq!(region % structure.pca.components(), 0);
            let [down, across] = structure.blocks.grid();
            for image in images {
                let mut out = vec![f32::NAN; structure.len()];
                structure.describe(image, &mut out);
                let lengths: Vec<f32> = out
                    .chunks(region)
                    .map(|values| values.iter().map(|v| v * v).sum::<f32>().sqrt())
                    .collect();
                assert!((lengths[0] - 1.0).abs() < 1e-4, "{shape}: {lengths:?}");
                for length in &lengths[1..] {
                    // A grid of one row or column leaves quarters empty.
                    let empty = *length == 0.0 && (down == 1 || across == 1);
                    assert!(
                        empty || (length - QUARTER_WEIGHT).abs() < 1e-4,
                        "{shape}: {lengths:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_in_a_quarter_changes_its_values_only() {
        let shape = InputShape {
            channels: 1,
            height: 64,
            width: 64,
        };
        let pixels: Vec<u8> = (0..64 * 64)
            .map(|at| (127.0 + 120.0 * noise(at)) as u8)
            .collect();
        let mut changed = pixels.clone();
        for y in 50..60 {
            for x in 2..12 {
                changed[64 * y + x] = 255 - changed[64 * y + x];
            }
        }
        let structure = Structure::fit(shape, 4, 0.1, &[&pixels, &changed]);
        let described = [&pixels, &changed].map(|pixels| {
            let mut out = vec![0.0; structure.len()];
            structure.describe(pixels, &mut out);
            out
        });
        let region = structure.means.len();
        let [plain, other] = described.each_ref().map(|out| out.chunks(region));
        let same: Vec<bool> = plain.zip(other).map(|(a, b)| a == b).collect();
        // The whole, and of the quarters the lower left one.
        assert_eq!(same, [false, true, true, false, true]);
    }

    #[test]
    fn steps_fit_every_shape() {
        for (height, width, step) in [
            (28, 28, 2),
            (64, 64, 4),
            (8, 8, 1),
            (9, 70, 2),
            (256, 256, 16),
        ] {
            let shape = InputShape {
                channels: 1,
                height,
                width,
            };
            assert_eq!(coarse_step(shape), step, "{shape}");
        }
    }
}
