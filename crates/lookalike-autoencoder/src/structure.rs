//! Which local structures an image has, and roughly where.

use lookalike_images::{InputShape, LocalGradients};
use lookalike_neighbours::{Codes, Pca};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::container::{Container, Named};
use crate::kinds::{Means, cluster};

/// Kinds of blocks that are told apart, at most.
const KINDS: usize = 32;
/// Components of a local block that are kept.
const COMPONENTS: usize = 24;
/// Blocks that the kinds are found on, and images that they are taken from, at most.
const BLOCKS: usize = 60_000;
/// Kinds are shared up to this part of the mean squared distance of blocks from their kind.
const MARGIN: f32 = 0.15;
/// Added to sums before their square roots are taken, and its root taken away again.
pub(crate) const FLOOR: f32 = 1e-2;
/// Its square is added to the squared length of a region's values before they are brought to their
/// length: of images of one colour these are nothing but rounding errors, which must not become as
/// long as the values of any other image.
pub(crate) const MIN_LENGTH: f32 = 0.1;
/// The image as a whole, and its quarters.
pub(crate) const REGIONS: usize = 5;
/// Length of a quarter's values beside the whole's.
pub(crate) const QUARTER_WEIGHT: f32 = 0.5;

/// Local blocks of gradients, summed up by kind.
///
/// A vector of locally aggregated descriptors (Jégou, Douze, Schmid and Pérez, CVPR 2010): blocks
/// ([`LocalGradients`]) are brought to half-whitened principal components and told apart by
/// k-means; of every kind, the differences of its blocks from the kind's mean are added up. A block
/// that is nearly as near to other kinds is shared with them, so that a rounding error moves no
/// block from one kind to another. Square roots keep one repeated structure from outweighing all
/// others (Perronnin, Sánchez and Mensink, ECCV 2010). That is done for the whole image and for its
/// quarters (Lazebnik, Schmid and Ponce, CVPR 2006).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Structure {
    pub blocks: LocalGradients,
    pub contrast: f32,
    /// The mean block.
    pub mean: Vec<f32>,
    /// For each value of a block, its share in every component.
    pub axes: Vec<f32>,
    pub means: Means<KINDS>,
    /// A kind whose squared distance from a block is greater than the least by this has no share.
    pub margin: f32,
}

/// What a model's record says of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructureRecord {
    /// Pixels from one local block to the next.
    pub step: usize,
    /// Components of a block.
    pub components: usize,
    /// Kinds of blocks.
    pub kinds: usize,
    /// A kind whose squared distance from a block is greater than the least by this has no share
    /// in it.
    pub margin: f32,
}

/// Pixels between coarse blocks: a sixteenth of the longer side, and few enough that a block fits.
pub(crate) fn coarse_step(shape: InputShape) -> usize {
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
        let (means, spread) = cluster(&pca.project_half_whitened(codes), pca.components());
        let directions = pca.directions().chunks_exact(LocalGradients::BLOCK);
        let rows: Vec<(&[f32], f32)> = directions.zip(pca.half_whitening()).collect();
        Self {
            blocks,
            contrast,
            mean: pca.mean().to_vec(),
            axes: (0..LocalGradients::BLOCK)
                .flat_map(|value| rows.iter().map(move |(row, factor)| row[value] * factor))
                .collect(),
            means,
            // Of blocks that are all alike any will do.
            margin: (MARGIN * spread).max(f32::MIN_POSITIVE),
        }
    }

    /// Floats of a description.
    pub fn len(&self) -> usize {
        REGIONS * self.means.len()
    }

    /// Writes the description of an image.
    pub fn describe(&self, pixels: &[u8], out: &mut [f32]) {
        out.fill(0.0);
        let (whole, quarters) = out.split_at_mut(self.means.len());
        self.each_share(pixels, |at, kind, share, block| {
            let quarter = &mut quarters[self.quarter(at) * self.means.len()..];
            let sums = &mut quarter[kind * block.len()..][..block.len()];
            for ((sum, value), mean) in sums.iter_mut().zip(block).zip(self.means.row(kind)) {
                *sum += share * (value - mean);
            }
        });
        for quarter in quarters.chunks_exact_mut(self.means.len()) {
            for (sum, value) in whole.iter_mut().zip(quarter.iter()) {
                *sum += value;
            }
            normalise(quarter, QUARTER_WEIGHT);
        }
        normalise(whole, 1.0);
    }

    /// What each place of a grid of `rows` x `columns` over the image adds to a sum over its
    /// description, of which `values` are the terms. The values of a kind are divided among the
    /// blocks that have a share in it, and those of one that no block has among all, of the region.
    pub fn add_shares(&self, pixels: &[u8], values: &[f64], rows: usize, shares: &mut [f64]) {
        let columns = shares.len() / rows;
        let kinds = self.means.len() / self.means.dims;
        let terms: Vec<f64> = values
            .chunks_exact(self.means.dims)
            .map(|kind| kind.iter().sum())
            .collect();
        let (whole, quarters) = terms.split_at(kinds);
        let mut of_whole = vec![0.0f64; kinds];
        let mut of_quarters = vec![0.0f64; 4 * kinds];
        let mut all = Vec::new();
        self.each_share(pixels, |at, kind, share, _| {
            of_whole[kind] += f64::from(share);
            of_quarters[self.quarter(at) * kinds + kind] += f64::from(share);
            all.push((at, kind, f64::from(share)));
        });
        let [down, across] = self.blocks.grid();
        let mut blocks = vec![0.0f64; down * across];
        for (at, kind, share) in all {
            let quarter = self.quarter(at) * kinds + kind;
            blocks[at] +=
                share * (whole[kind] / of_whole[kind] + quarters[quarter] / of_quarters[quarter]);
        }
        // What no block has a share in.
        let idle = |terms: &[f64], of: &[f64]| -> f64 {
            let idle = terms.iter().zip(of).filter(|(_, of)| **of == 0.0);
            idle.map(|(term, _)| term).sum()
        };
        let mut blocks_of_quarters = [0.0; 4];
        (0..blocks.len()).for_each(|at| blocks_of_quarters[self.quarter(at)] += 1.0);
        let mut everywhere = idle(whole, &of_whole);
        let mut evenly = [0.0; 4];
        for (quarter, evenly) in evenly.iter_mut().enumerate() {
            let own = quarter * kinds..(quarter + 1) * kinds;
            let idle = idle(&quarters[own.clone()], &of_quarters[own]);
            match blocks_of_quarters[quarter] > 0.0 {
                true => *evenly = idle / blocks_of_quarters[quarter],
                false => everywhere += idle,
            }
        }
        let everywhere = everywhere / blocks.len() as f64;
        let shape = self.blocks.shape();
        let step = self.blocks.step();
        let sides = |at: usize, side: usize, places: usize| {
            let bounds = [at * step, (at + 4) * step].map(|end| end as f64 / side as f64);
            spread(bounds, places)
        };
        for (at, block) in blocks.iter().enumerate() {
            let vertical = sides(at / across, shape.height, rows);
            let horizontal = sides(at % across, shape.width, columns);
            let block = block + everywhere + evenly[self.quarter(at)];
            for (shares, part) in shares.chunks_exact_mut(columns).zip(vertical) {
                for (share, of) in shares.iter_mut().zip(&horizontal) {
                    *share += block * part * of;
                }
            }
        }
    }

    /// The quarter of the image that a block is counted to.
    pub fn quarter(&self, at: usize) -> usize {
        let [down, across] = self.blocks.grid();
        2 * usize::from(2 * (at / across) >= down) + usize::from(2 * (at % across) >= across)
    }

    /// Calls `take` for each kind that has a share in a block, with the block's number, the kind,
    /// the share (those of a block add up to 1) and the block's components.
    fn each_share(&self, pixels: &[u8], mut take: impl FnMut(usize, usize, f32, &[f32])) {
        let mut blocks = vec![0.0; self.blocks.len()];
        self.blocks.describe(pixels, self.contrast, &mut blocks);
        let mut components = vec![0.0f32; self.means.dims];
        for (at, block) in blocks.chunks_exact(LocalGradients::BLOCK).enumerate() {
            components.fill(0.0);
            let rows = self.axes.chunks_exact(self.means.dims);
            for ((value, mean), row) in block.iter().zip(&self.mean).zip(rows) {
                let value = value - mean;
                for (sum, axis) in components.iter_mut().zip(row) {
                    *sum += value * axis;
                }
            }
            let shares = self.means.shares(&components, self.margin);
            for (kind, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                take(at, kind, share, &components);
            }
        }
    }

    /// What a model's record says of it.
    pub fn record(&self) -> StructureRecord {
        StructureRecord {
            step: self.blocks.step(),
            components: self.means.dims,
            kinds: self.means.len() / self.means.dims,
            margin: self.margin,
        }
    }

    /// Tensors of a model file, whose names begin with `name`.
    pub fn tensors(&self, name: &str) -> [Named<'_>; 3] {
        let dims = self.means.dims;
        [
            ("mean", vec![self.mean.len()], &self.mean),
            ("axes", vec![self.mean.len(), dims], &self.axes),
            (
                "kinds",
                vec![self.means.len() / dims, dims],
                &self.means.rows,
            ),
        ]
        .map(|(kind, shape, values)| Named {
            name: format!("{name}.{kind}"),
            shape,
            values,
        })
    }

    /// Reads what [`tensors`](Self::tensors) named.
    pub fn read(
        record: StructureRecord,
        name: &str,
        shape: InputShape,
        contrast: f32,
        container: &Container,
    ) -> Result<Self, String> {
        let StructureRecord {
            step,
            components,
            kinds,
            margin,
        } = record;
        let shorter = shape.height.min(shape.width);
        let possible = (1..=shorter / 4).contains(&step)
            && (1..=COMPONENTS).contains(&components)
            && (1..=KINDS).contains(&kinds)
            && margin > 0.0
            && margin.is_finite();
        if !possible {
            return Err(format!(
                "its local blocks, {step} pixels apart, have {components} components and {kinds} kinds, shared up to {margin}; they can be 1 to {} apart, with at most {COMPONENTS} and {KINDS}, shared up to more than 0",
                shorter / 4
            ));
        }
        let block = LocalGradients::BLOCK;
        let tensor =
            |kind: &str, shape: &[usize]| container.tensor(&format!("{name}.{kind}"), shape);
        Ok(Self {
            blocks: LocalGradients::new(shape, step),
            contrast,
            mean: tensor("mean", &[block])?,
            axes: tensor("axes", &[block, components])?,
            means: Means::new(tensor("kinds", &[kinds, components])?, components),
            margin,
        })
    }
}

/// How what lies between two bounds, as shares of a side, is spread over `places` of equal size;
/// adds up to 1.
pub(crate) fn spread([start, end]: [f64; 2], places: usize) -> Vec<f64> {
    (0..places)
        .map(|place| {
            let bounds = [place, place + 1].map(|at| at as f64 / places as f64);
            (end.min(bounds[1]) - start.max(bounds[0])).max(0.0) / (end - start)
        })
        .collect()
}

/// Square roots with their signs, brought to a length. Those of what is nearly 0 are flat, so that
/// rounding errors of sums stay small.
fn normalise(values: &mut [f32], length: f32) {
    let mut square = MIN_LENGTH * MIN_LENGTH;
    for value in values.iter_mut() {
        let root = (value.abs() + FLOOR).sqrt() - FLOOR.sqrt();
        square += root * root;
        *value = root.copysign(*value);
    }
    let scale = length / square.sqrt();
    values.iter_mut().for_each(|value| *value *= scale);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Numbers between -1 and 1 that do not depend on each other.
    pub(crate) fn noise(i: usize) -> f32 {
        let mut bits = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (bits >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    #[test]
    fn terms_are_divided_among_places() {
        let shape = InputShape {
            channels: 1,
            height: 40,
            width: 64,
        };
        let pixels: Vec<u8> = (0..shape.values())
            .map(|at| (127.0 + 120.0 * noise(at)) as u8)
            .collect();
        let structure = Structure::fit(shape, 4, 0.1, &[&pixels]);
        let region = structure.means.len();
        let mut values: Vec<f64> = (0..structure.len()).map(|i| f64::from(noise(i))).collect();
        let mut shares = vec![0.0; 5 * 8];
        structure.add_shares(&pixels, &values, 5, &mut shares);
        let sum = |values: &[f64]| values.iter().sum::<f64>();
        assert!((sum(&shares) - sum(&values)).abs() < 1e-6 * region as f64);
        // Terms of the upper left quarter: its places have most of them.
        values.fill(0.0);
        values[region..2 * region].fill(1.0);
        shares.fill(0.0);
        structure.add_shares(&pixels, &values, 5, &mut shares);
        let upper_left = |at: &usize| at / 8 < 3 && at % 8 < 5;
        let inside: f64 = (0..40).filter(upper_left).map(|at| shares[at]).sum();
        assert!(inside > 0.9 * region as f64, "{inside} of {region}");
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
            assert_eq!(region % structure.means.dims, 0);
            let [down, across] = structure.blocks.grid();
            for image in images {
                let mut out = vec![f32::NAN; structure.len()];
                structure.describe(image, &mut out);
                let lengths: Vec<f32> = out
                    .chunks(region)
                    .map(|values| values.iter().map(|v| v * v).sum::<f32>().sqrt())
                    .collect();
                assert!((lengths[0] - 1.0).abs() < 1e-3, "{shape}: {lengths:?}");
                for length in &lengths[1..] {
                    // A grid of one row or column leaves quarters empty.
                    let empty = *length == 0.0 && (down == 1 || across == 1);
                    assert!(
                        empty || (length - QUARTER_WEIGHT).abs() < 1e-3,
                        "{shape}: {lengths:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn images_of_one_colour_have_next_to_no_structure() {
        let shape = InputShape {
            channels: 1,
            height: 64,
            width: 64,
        };
        let noisy: Vec<u8> = (0..64 * 64)
            .map(|at| (127.0 + 120.0 * noise(at)) as u8)
            .collect();
        let plain = [vec![9; 64 * 64], vec![200; 64 * 64]];
        let structure = Structure::fit(shape, 4, 0.1, &[&noisy, &plain[0], &plain[1]]);
        for image in &plain {
            let mut out = vec![f32::NAN; structure.len()];
            structure.describe(image, &mut out);
            let length = out.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!(length < 0.05, "{length}");
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
