//! Kinds of local blocks and patches: their means, found by k-means, and how much of each kind a
//! block has.

use rayon::prelude::*;

/// Rounds of clustering.
const ROUNDS: usize = 15;

/// The means of kinds of blocks, up to `KINDS`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Means<const KINDS: usize> {
    pub dims: usize,
    /// One a row.
    pub rows: Vec<f32>,
    /// The same by dimension, a value for each kind, so that all are compared with a block at once.
    /// Kinds that there are none of are infinitely far away.
    columns: Vec<[f32; KINDS]>,
}

impl<const KINDS: usize> Means<KINDS> {
    pub fn new(rows: Vec<f32>, dims: usize) -> Self {
        let mut columns = vec![[f32::INFINITY; KINDS]; dims];
        for (kind, mean) in rows.chunks_exact(dims).enumerate() {
            for (column, &value) in columns.iter_mut().zip(mean) {
                column[kind] = value;
            }
        }
        Self {
            dims,
            rows,
            columns,
        }
    }

    /// Floats of all means.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn row(&self, kind: usize) -> &[f32] {
        &self.rows[kind * self.dims..][..self.dims]
    }

    /// Squared distances of a block from the means.
    fn distances(&self, block: &[f32]) -> [f32; KINDS] {
        let mut distances = [0.0f32; KINDS];
        for (column, value) in self.columns.iter().zip(block) {
            for (distance, mean) in distances.iter_mut().zip(column) {
                *distance += (mean - value) * (mean - value);
            }
        }
        distances
    }

    /// The kinds' shares in a block, which add up to 1: they fall with the squared distance beyond
    /// that of the nearest kind, to 0 at the margin. There they are flat, because square roots of
    /// sums of shares are taken.
    pub fn shares(&self, block: &[f32], margin: f32) -> [f32; KINDS] {
        let distances = self.distances(block);
        let least = distances.iter().copied().fold(f32::INFINITY, f32::min);
        let mut shares = distances.map(|distance| {
            let nearness = (1.0 - (distance - least) / margin).max(0.0);
            nearness * nearness
        });
        let total: f32 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= total);
        shares
    }

    /// The kind whose mean is nearest to a block, the first of equals, and its squared distance.
    fn nearest(&self, block: &[f32]) -> (usize, f32) {
        let mut best = (0, f32::INFINITY);
        for (kind, distance) in self.distances(block).into_iter().enumerate() {
            if distance < best.1 {
                best = (kind, distance);
            }
        }
        best
    }
}

/// Lloyd's k-means, from blocks at even steps, and the mean squared distance of blocks from the
/// nearest mean, by the means of the last round but one. Sums are made in a fixed order, so that
/// these are the same on any number of threads.
pub(crate) fn cluster<const KINDS: usize>(blocks: &[f32], dims: usize) -> (Means<KINDS>, f32) {
    let count = blocks.len() / dims;
    let kinds = KINDS.min(count);
    let first = (0..kinds).flat_map(|kind| &blocks[kind * count / kinds * dims..][..dims]);
    let mut means = Means::new(first.copied().collect(), dims);
    let mut spread = 0.0;
    for _ in 0..ROUNDS {
        let chosen: Vec<(usize, f32)> = blocks
            .par_chunks_exact(dims)
            .with_min_len(512)
            .map(|block| means.nearest(block))
            .collect();
        let mut sums = vec![0.0f64; means.len()];
        let mut counts = vec![0usize; kinds];
        for (block, &(kind, _)) in blocks.chunks_exact(dims).zip(&chosen) {
            counts[kind] += 1;
            for (sum, &value) in sums[kind * dims..][..dims].iter_mut().zip(block) {
                *sum += f64::from(value);
            }
        }
        let mut rows = means.rows;
        for (kind, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            for at in kind * dims..(kind + 1) * dims {
                rows[at] = (sums[at] / count as f64) as f32;
            }
        }
        means = Means::new(rows, dims);
        let squares: f64 = chosen.iter().map(|(_, square)| f64::from(*square)).sum();
        spread = (squares / count.max(1) as f64) as f32;
    }
    (means, spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::tests::noise;

    const KINDS: usize = 32;

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
        let (means, _) = cluster::<KINDS>(&blocks, 2);
        assert_eq!(means.len(), 2 * KINDS);
        for (block, values) in blocks.chunks(2).enumerate() {
            let mean = means.row(means.nearest(values).0);
            assert!(distance(mean, &centres[group(block)]) < 1.5, "{mean:?}");
            let least = means.rows.chunks(2).map(|mean| distance(mean, values));
            assert_eq!(least.fold(f32::INFINITY, f32::min), distance(mean, values));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        assert_eq!(
            pool.unwrap().install(|| cluster::<KINDS>(&blocks, 2)).0,
            means
        );
    }

    #[test]
    fn few_blocks_are_kinds_of_their_own() {
        for count in [1, 5, KINDS] {
            let blocks: Vec<f32> = (0..3 * count).map(noise).collect();
            let (means, spread) = cluster::<KINDS>(&blocks, 3);
            assert_eq!(spread, 0.0);
            assert_eq!(means.rows, blocks);
        }
        // All alike: the first kind has them all, and none is lost.
        assert_eq!(cluster::<KINDS>(&[7.0; 300], 3).0.rows, [7.0; 3 * KINDS]);
    }

    #[test]
    fn the_first_of_equal_means_is_the_nearest() {
        let means = Means::<KINDS>::new(vec![1.0, -1.0, 0.5, -0.5], 1);
        assert_eq!(means.nearest(&[0.0]), (2, 0.25));
        let means = Means::<KINDS>::new(vec![1.0, 1.0, 0.0, 0.0, 0.0, 0.0], 2);
        assert_eq!(means.nearest(&[0.1, 0.0]).0, 1);
    }

    #[test]
    fn blocks_between_kinds_are_shared() {
        let means = Means::<KINDS>::new(vec![0.0, 1.0, 5.0], 1);
        let of = |at: f32| means.shares(&[at], 0.25);
        assert_eq!(of(0.0)[..3], [1.0, 0.0, 0.0]);
        assert_eq!(of(0.5)[..3], [0.5, 0.5, 0.0]);
        assert_eq!(of(0.8)[..3], [0.0, 1.0, 0.0]);
        let mut before = of(0.0);
        for step in 1..=1000 {
            let now = of(step as f32 / 1000.0);
            assert!((now.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let moved = now.iter().zip(&before).map(|(a, b)| (a - b).abs());
            assert!(moved.fold(0.0, f32::max) < 0.01, "at {step}");
            before = now;
        }
        assert_eq!(before[1], 1.0);
    }
}
