//! Which small patches of pixels an image has, and where.

use lookalike_images::{InputShape, LUMA};
use lookalike_kernels::{Precision, linear_forward};
use lookalike_neighbours::{Codes, Pca};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::container::{Container, Named};
use crate::kinds::{Means, cluster};
use crate::structure::spread;

/// Side of a patch, in pixels of the reduced image, at most; of small images half the shorter side.
const MAX_SIDE: usize = 6;
/// Images are reduced by whole numbers until their longer side is about as long.
const REDUCED: usize = 32;
/// Components of a patch that are kept.
const COMPONENTS: usize = 24;
/// Kinds of patches that are told apart, at most.
const KINDS: usize = 128;
/// Patches that the kinds are found on, at most.
const SAMPLE: usize = 60_000;
/// Added to the variance of a patch's pixels (0 to 255), so that noise in plain areas stays small.
pub(crate) const MIN_VARIANCE: f32 = 10.0;
/// Added to the variances of components, in which patches have one of about 1.
const NOISE: f64 = 0.1;
/// How far a patch must lie towards a kind to have any of it.
pub(crate) const THRESHOLD: f32 = 1.0;
/// Cells along each side of the image that patches are summed up in.
const CELLS: usize = 4;
/// Added to means before their square roots are taken, and its root taken away again.
pub(crate) const FLOOR: f32 = 1e-3;

/// Small patches of brightness, summed up by kind and place.
///
/// Single-layer feature learning by k-means (Coates, Ng and Lee, AISTATS 2011, and the thresholds
/// of Coates and Ng, ICML 2011): each patch of the reduced image is brought to a mean of 0 and a
/// deviation of 1, then to whitened components. The kinds are directions there, the means of
/// k-means on patches of length 1; a patch has as much of a kind as it reaches beyond a threshold
/// along it. What is said of the image are the square roots of the means in each cell of a grid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Patches {
    pub grid: Grid,
    /// For each pixel of a patch, its share in every component.
    pub axes: Vec<f32>,
    /// Added to the components: those of the mean patch, taken away.
    pub offsets: Vec<f32>,
    /// For each component, its share in every kind.
    pub kinds: Vec<f32>,
}

/// What a model's record says of patches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchesRecord {
    /// Pixels along each side of the image that become one.
    pub reduction: usize,
    /// Sides of a patch in the reduced image.
    pub side: usize,
    /// Components of a patch.
    pub components: usize,
    /// Kinds of patches.
    pub kinds: usize,
}

/// Where the patches of an image lie: at every pixel of the reduced image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grid {
    /// The image's, before it is reduced.
    pub shape: InputShape,
    pub reduction: usize,
    /// Sides of a patch.
    pub side: usize,
}

/// Along one side of the image, the cell that a patch is counted to.
pub(crate) fn cell_along(at: usize, patches: usize, cells: usize) -> usize {
    at * cells / patches
}

impl Grid {
    fn suited(shape: InputShape) -> Self {
        let (longer, shorter) = (shape.height.max(shape.width), shape.height.min(shape.width));
        let reduction = ((longer + REDUCED / 2) / REDUCED).clamp(1, shorter);
        let side = (shorter / reduction / 2).clamp(1, MAX_SIDE);
        Self {
            shape,
            reduction,
            side,
        }
    }

    /// Rows and columns of the reduced image.
    pub fn reduced(&self) -> [usize; 2] {
        [self.shape.height, self.shape.width].map(|pixels| pixels / self.reduction)
    }

    /// Rows and columns of patches.
    pub fn patches(&self) -> [usize; 2] {
        self.reduced().map(|pixels| pixels - self.side + 1)
    }

    /// Pixels of a patch.
    pub fn pixels(&self) -> usize {
        self.side * self.side
    }

    /// Rows and columns of cells.
    pub fn cells(&self) -> [usize; 2] {
        self.patches().map(|patches| patches.min(CELLS))
    }

    /// The cell that a patch is counted to.
    pub fn cell(&self, at: usize) -> usize {
        let [[down, across], [rows, columns]] = [self.patches(), self.cells()];
        cell_along(at / across, down, rows) * columns + cell_along(at % across, across, columns)
    }

    /// How many patches are counted to each cell.
    pub fn counts(&self) -> Vec<usize> {
        let ([down, across], [rows, columns]) = (self.patches(), self.cells());
        let mut counts = vec![0; rows * columns];
        (0..down * across).for_each(|at| counts[self.cell(at)] += 1);
        counts
    }

    /// The brightness of the reduced image, 0 to 255.
    fn reduce(&self, image: &[u8]) -> Vec<f32> {
        let [height, width] = self.reduced();
        let (channels, reduction) = (self.shape.channels, self.reduction);
        let mut reduced = vec![0.0f32; height * width];
        for y in 0..height * reduction {
            let row = &image[y * self.shape.width * channels..];
            let sums = &mut reduced[y / reduction * width..][..width];
            for (sum, pixels) in sums.iter_mut().zip(row.chunks(reduction * channels)) {
                *sum += match channels {
                    3 => pixels.chunks_exact(3).map(luma).sum::<f32>(),
                    _ => pixels.iter().map(|&value| f32::from(value)).sum(),
                };
            }
        }
        let share = 1.0 / (reduction * reduction) as f32;
        reduced.iter_mut().for_each(|value| *value *= share);
        reduced
    }

    /// All patches of an image, one a row, each with a mean of 0 and a deviation of about 1.
    fn cut(&self, image: &[u8]) -> Vec<f32> {
        let reduced = self.reduce(image);
        let [_, width] = self.reduced();
        let [down, across] = self.patches();
        let mut patches = vec![0.0f32; down * across * self.pixels()];
        for (at, patch) in patches.chunks_exact_mut(self.pixels()).enumerate() {
            let (top, left) = (at / across, at % across);
            for (row, out) in patch.chunks_exact_mut(self.side).enumerate() {
                out.copy_from_slice(&reduced[(top + row) * width + left..][..self.side]);
            }
            let count = patch.len() as f32;
            let mean = patch.iter().sum::<f32>() / count;
            patch.iter_mut().for_each(|value| *value -= mean);
            let variance = patch.iter().map(|value| value * value).sum::<f32>() / count;
            let scale = (variance + MIN_VARIANCE).sqrt().recip();
            patch.iter_mut().for_each(|value| *value *= scale);
        }
        patches
    }
}

fn luma(pixel: &[u8]) -> f32 {
    let channels = pixel.iter().zip(LUMA);
    channels
        .map(|(&value, share)| share * f32::from(value))
        .sum()
}

impl Patches {
    /// Finds the kinds of patches that images have.
    pub fn fit(shape: InputShape, images: &[&[u8]]) -> Self {
        let grid = Grid::suited(shape);
        let len = grid.pixels();
        let of_image = grid.patches().iter().product::<usize>();
        let each = SAMPLE.div_ceil(images.len().max(1)).min(of_image);
        let chosen: Vec<f32> = images
            .par_iter()
            .enumerate()
            .flat_map_iter(|(image, pixels)| {
                let all = grid.cut(pixels);
                // Spread over the image, elsewhere in each.
                let places = (0..each).map(move |i| (i * of_image / each + image * 7) % of_image);
                places
                    .flat_map(|at| all[at * len..][..len].to_vec())
                    .collect::<Vec<f32>>()
            })
            .collect();
        let pca = Pca::fit(
            Codes::new(&chosen, len).expect("patches are finite"),
            COMPONENTS,
        );
        let variances = pca.variances().iter();
        let whitening = variances.map(|variance| (variance + NOISE).sqrt().recip() as f32);
        let directions = pca.directions().chunks_exact(len);
        let rows: Vec<(&[f32], f32)> = directions.zip(whitening).collect();
        let axes = (0..len)
            .flat_map(|pixel| rows.iter().map(move |(row, factor)| row[pixel] * factor))
            .collect();
        let along = |(row, factor): &(&[f32], f32)| {
            let products = row.iter().zip(pca.mean()).map(|(axis, mean)| axis * mean);
            -factor * products.sum::<f32>()
        };
        let mut patches = Self {
            grid,
            axes,
            offsets: rows.iter().map(along).collect(),
            kinds: Vec::new(),
        };
        let components = patches.offsets.len();
        let mut found = patches.components(&chosen);
        found.chunks_exact_mut(components).for_each(shorten);
        let (means, _): (Means<KINDS>, f32) = cluster(&found, components);
        let mut means = means.rows;
        means.chunks_exact_mut(components).for_each(shorten);
        let kinds = means.len() / components;
        patches.kinds = (0..means.len())
            .map(|at| means[at % kinds * components + at / kinds])
            .collect();
        patches
    }

    /// The components of patches, each a row of normalised pixels.
    fn components(&self, patches: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.grid.pixels(), self.offsets.len());
        let rows = patches.len() / inputs;
        let mut components = vec![0.0; rows * outputs];
        let offsets = Some(&self.offsets[..]);
        linear_forward(
            Precision::F32,
            rows,
            inputs,
            outputs,
            patches,
            &self.axes,
            offsets,
            false,
            &mut components,
        );
        components
    }

    /// How much of each kind the patches of an image have, one patch a row.
    fn shares(&self, image: &[u8]) -> Vec<f32> {
        let components = self.components(&self.grid.cut(image));
        let (inputs, outputs) = (self.offsets.len(), self.kinds());
        let rows = components.len() / inputs;
        let mut shares = vec![0.0; rows * outputs];
        let beyond = vec![-THRESHOLD; outputs];
        linear_forward(
            Precision::F32,
            rows,
            inputs,
            outputs,
            &components,
            &self.kinds,
            Some(&beyond),
            true,
            &mut shares,
        );
        shares
    }

    /// Kinds of patches.
    pub fn kinds(&self) -> usize {
        self.kinds.len() / self.offsets.len()
    }

    /// Floats of a description.
    pub fn len(&self) -> usize {
        self.grid.cells().iter().product::<usize>() * self.kinds()
    }

    /// Writes the description of an image.
    pub fn describe(&self, image: &[u8], out: &mut [f32]) {
        out.fill(0.0);
        let kinds = self.kinds();
        for (at, shares) in self.shares(image).chunks_exact(kinds).enumerate() {
            let cell = &mut out[self.grid.cell(at) * kinds..][..kinds];
            for (sum, share) in cell.iter_mut().zip(shares) {
                *sum += share;
            }
        }
        for (cell, count) in out.chunks_exact_mut(kinds).zip(self.grid.counts()) {
            let scale = 1.0 / count as f32;
            for value in cell {
                *value = (*value * scale + FLOOR).sqrt() - FLOOR.sqrt();
            }
        }
    }

    /// What each place of a grid of `rows` x `columns` over the image adds to a sum over its
    /// description, of which `values` are the terms. The term of a kind in a cell is divided among
    /// the patches there that have some of it, and that of one that none has among all of the cell.
    pub fn add_shares(&self, image: &[u8], values: &[f64], rows: usize, shares: &mut [f64]) {
        let columns = shares.len() / rows;
        let kinds = self.kinds();
        let found = self.shares(image);
        let mut sums = vec![0.0f64; self.len()];
        for (at, found) in found.chunks_exact(kinds).enumerate() {
            let cell = &mut sums[self.grid.cell(at) * kinds..][..kinds];
            for (sum, share) in cell.iter_mut().zip(found) {
                *sum += f64::from(*share);
            }
        }
        let counts = self.grid.counts();
        let [_, across] = self.grid.patches();
        let [height, width] = self.grid.reduced();
        let sides = |at: usize, pixels: usize, places: usize| {
            let bounds = [at, at + self.grid.side].map(|end| end as f64 / pixels as f64);
            spread(bounds, places)
        };
        for (at, found) in found.chunks_exact(kinds).enumerate() {
            let cell = self.grid.cell(at);
            let own = cell * kinds..(cell + 1) * kinds;
            let terms = values[own.clone()].iter().zip(&sums[own]).zip(found);
            let patch: f64 = terms
                .map(|((term, &sum), &share)| match sum > 0.0 {
                    true => term * f64::from(share) / sum,
                    false => term / counts[cell] as f64,
                })
                .sum();
            let vertical = sides(at / across, height, rows);
            let horizontal = sides(at % across, width, columns);
            for (shares, part) in shares.chunks_exact_mut(columns).zip(vertical) {
                for (share, of) in shares.iter_mut().zip(&horizontal) {
                    *share += patch * part * of;
                }
            }
        }
    }

    /// What a model's record says of it.
    pub fn record(&self) -> PatchesRecord {
        PatchesRecord {
            reduction: self.grid.reduction,
            side: self.grid.side,
            components: self.offsets.len(),
            kinds: self.kinds(),
        }
    }

    /// Tensors of a model file, whose names begin with `name`.
    pub fn tensors(&self, name: &str) -> [Named<'_>; 3] {
        let components = self.offsets.len();
        [
            ("axes", vec![self.grid.pixels(), components], &self.axes),
            ("offsets", vec![components], &self.offsets),
            ("kinds", vec![components, self.kinds()], &self.kinds),
        ]
        .map(|(kind, shape, values)| Named {
            name: format!("{name}.{kind}"),
            shape,
            values,
        })
    }

    /// Reads what [`tensors`](Self::tensors) named.
    pub fn read(
        record: PatchesRecord,
        name: &str,
        shape: InputShape,
        container: &Container,
    ) -> Result<Self, String> {
        let PatchesRecord {
            reduction,
            side,
            components,
            kinds,
        } = record;
        let shorter = shape.height.min(shape.width);
        let possible = (1..=shorter).contains(&reduction)
            && (1..=(shorter / reduction).min(MAX_SIDE)).contains(&side)
            && (1..=COMPONENTS.min(side * side)).contains(&components)
            && (1..=KINDS).contains(&kinds);
        if !possible {
            return Err(format!(
                "its patches have sides of {side} pixels after a reduction by {reduction}, {components} components and {kinds} kinds; of images of {shape} they have at most {MAX_SIDE}, {shorter}, {COMPONENTS} and {KINDS}"
            ));
        }
        let grid = Grid {
            shape,
            reduction,
            side,
        };
        let tensor =
            |kind: &str, shape: &[usize]| container.tensor(&format!("{name}.{kind}"), shape);
        Ok(Self {
            grid,
            axes: tensor("axes", &[grid.pixels(), components])?,
            offsets: tensor("offsets", &[components])?,
            kinds: tensor("kinds", &[components, kinds])?,
        })
    }
}

/// Brings a row to length 1; one of nothing but zeros stays.
fn shorten(row: &mut [f32]) {
    let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        row.iter_mut().for_each(|value| *value /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::tests::noise;

    const fn square(channels: usize, side: usize) -> InputShape {
        InputShape {
            channels,
            height: side,
            width: side,
        }
    }

    /// Stripes that run across or down, by the number of the image, at places of their own.
    fn stripes(shape: InputShape, image: usize) -> Vec<u8> {
        (0..shape.values())
            .map(|at| {
                let (x, y) = (
                    at / shape.channels % shape.width,
                    at / shape.channels / shape.width,
                );
                let along = if image.is_multiple_of(2) { x } else { y } + image / 2;
                if (along / 2).is_multiple_of(2) {
                    60
                } else {
                    180
                }
            })
            .collect()
    }

    fn described(patches: &Patches, image: &[u8]) -> Vec<f32> {
        let mut out = vec![f32::NAN; patches.len()];
        patches.describe(image, &mut out);
        out
    }

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f32>().sqrt()
    }

    #[test]
    fn grids_suit_every_shape() {
        for (height, width, reduction, side, cells) in [
            (28, 28, 1, 6, [4, 4]),
            (64, 64, 2, 6, [4, 4]),
            (8, 8, 1, 4, [4, 4]),
            (8, 70, 2, 2, [3, 4]),
            (256, 200, 8, 6, [4, 4]),
        ] {
            let grid = Grid::suited(InputShape {
                channels: 1,
                height,
                width,
            });
            assert_eq!((grid.reduction, grid.side), (reduction, side));
            assert_eq!(grid.cells(), cells);
            assert!(grid.counts().iter().all(|&count| count > 0));
        }
    }

    #[test]
    fn what_differs_in_kind_is_told_apart() {
        for shape in [square(1, 28), square(3, 64)] {
            let images: Vec<Vec<u8>> = (0..12).map(|image| stripes(shape, image)).collect();
            let all: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
            let patches = Patches::fit(shape, &all);
            let [first, same, other] = [0, 4, 1].map(|image| described(&patches, &images[image]));
            let (near, far) = (distance(&first, &same), distance(&first, &other));
            assert!(near < far / 3.0, "{shape}: {near} and {far}");
        }
    }

    #[test]
    fn brightness_does_not_count() {
        let shape = square(1, 28);
        let images: Vec<Vec<u8>> = (0..8).map(|image| stripes(shape, image)).collect();
        let all: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let patches = Patches::fit(shape, &all);
        let brighter: Vec<u8> = images[0].iter().map(|value| value + 70).collect();
        let [plain, brighter] = [&images[0], &brighter].map(|image| described(&patches, image));
        assert!(distance(&plain, &brighter) < 1e-4);
        // Images of one colour, whatever the kinds are: no patch reaches any.
        let plain = Patches::fit(shape, &[&[9; 28 * 28], &[200; 28 * 28]]);
        assert_eq!(described(&plain, &[77; 28 * 28]), vec![0.0; plain.len()]);
    }

    #[test]
    fn what_is_in_a_corner_changes_its_cells_only() {
        let shape = square(1, 64);
        let pixels: Vec<u8> = (0..64 * 64)
            .map(|at| (127.0 + 120.0 * noise(at)) as u8)
            .collect();
        let mut changed = pixels.clone();
        for y in 58..64 {
            for x in 0..6 {
                changed[64 * y + x] = 255 - changed[64 * y + x];
            }
        }
        let patches = Patches::fit(shape, &[&pixels, &changed]);
        let [plain, other] = [&pixels, &changed].map(|pixels| described(&patches, pixels));
        let kinds = patches.kinds();
        let differs: Vec<usize> = (0..16)
            .filter(|cell| {
                let own = cell * kinds..(cell + 1) * kinds;
                plain[own.clone()] != other[own]
            })
            .collect();
        // The lower left of 4 x 4.
        assert_eq!(differs, [12]);
    }

    #[test]
    fn terms_are_divided_among_places() {
        let shape = InputShape {
            channels: 3,
            height: 40,
            width: 64,
        };
        let pixels: Vec<u8> = (0..shape.values())
            .map(|at| (127.0 + 120.0 * noise(at)) as u8)
            .collect();
        let patches = Patches::fit(shape, &[&pixels]);
        let values: Vec<f64> = (0..patches.len()).map(|i| f64::from(noise(i))).collect();
        let mut shares = vec![0.0; 5 * 8];
        patches.add_shares(&pixels, &values, 5, &mut shares);
        let sum = |values: &[f64]| values.iter().sum::<f64>();
        assert!((sum(&shares) - sum(&values)).abs() < 1e-6 * patches.len() as f64);
        // Terms of the upper left cell: its places have most of them.
        let kinds = patches.kinds();
        let mut values = vec![0.0; patches.len()];
        values[..kinds].fill(1.0);
        shares.fill(0.0);
        patches.add_shares(&pixels, &values, 5, &mut shares);
        let upper_left = |at: &usize| at / 8 < 3 && at % 8 < 4;
        let inside: f64 = (0..40).filter(upper_left).map(|at| shares[at]).sum();
        assert!(inside > 0.95 * kinds as f64, "{inside} of {kinds}");
    }
}
