//! The tiles of all contents in memory, and comparing a query with all of them.
//!
//! Codes stay in 8 bits a float, as they are on disk. One pass gives each content its best tile,
//! and needs no second, finer copy of the codes: a third of the memory of
//! [`Quantised`](lookalike_neighbours::Quantised), which answers with the nearest codes, of which
//! one content may have many. Keys are inner products of whole numbers, exact but for the query,
//! which is rounded to 16 bits; contents that may be among the nearest by that are compared again
//! by the metric itself.

use std::collections::HashSet;

use lookalike_neighbours::Metric;
use rayon::prelude::*;

use crate::Rectangle;
use crate::tiles::Packed;

/// A content's BLAKE3.
pub(super) type Hash = [u8; 32];

/// Contents that a thread compares at a time.
const CHUNK: usize = 64;
/// The largest number of a code.
const LARGEST: f64 = 127.0;

/// The tiles of all contents.
#[derive(Debug)]
pub(super) struct Kept {
    metric: Metric,
    dims: usize,
    /// The codes in steps, one after another.
    numbers: Vec<i8>,
    tiles: Vec<Tile>,
    contents: Vec<Content>,
    hashes: HashSet<Hash>,
    /// Upper bound of the length of all codes.
    longest: f64,
}

#[derive(Clone, Copy, Debug)]
struct Tile {
    region: Rectangle,
    step: f32,
    /// Length of the code, in steps.
    length: f32,
}

#[derive(Debug)]
struct Content {
    hash: Hash,
    /// The first of its tiles.
    first: usize,
    count: usize,
}

/// A content and the best of its tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Best {
    pub(super) hash: Hash,
    pub(super) distance: f32,
    pub(super) region: Rectangle,
}

/// Bytes of memory that a tile takes beside its code, and that a content takes beside its tiles:
/// its hash, once more in a table that may be half empty.
pub(super) const BYTES_PER_TILE: usize = size_of::<Tile>();
pub(super) const BYTES_PER_CONTENT: usize = size_of::<Content>() + 2 * size_of::<Hash>();

/// A query in whole numbers.
struct Query {
    numbers: Vec<i16>,
    /// What one of them stands for.
    unit: f32,
    /// How far the keys may be from the truth.
    error: f32,
}

impl Kept {
    pub(super) fn new(metric: Metric, dims: usize) -> Self {
        Kept {
            metric,
            dims,
            numbers: Vec::new(),
            tiles: Vec::new(),
            contents: Vec::new(),
            hashes: HashSet::new(),
            longest: 0.0,
        }
    }

    /// Adds a content that is not there yet.
    pub(super) fn add<'a>(&mut self, hash: Hash, tiles: impl Iterator<Item = Packed<'a>>) {
        if !self.hashes.insert(hash) {
            return;
        }
        let first = self.tiles.len();
        for Packed {
            region,
            step,
            numbers,
        } in tiles
        {
            let numbers = numbers.iter().map(|&number| number as i8);
            let square: i64 = numbers.clone().map(|number| i64::from(number).pow(2)).sum();
            let length = (square as f64).sqrt();
            self.longest = self.longest.max(length * f64::from(step));
            self.numbers.extend(numbers);
            self.tiles.push(Tile {
                region,
                step,
                length: length as f32,
            });
        }
        self.contents.push(Content {
            hash,
            first,
            count: self.tiles.len() - first,
        });
    }

    /// Number of contents.
    pub(super) fn contents(&self) -> usize {
        self.contents.len()
    }

    /// Number of tiles.
    pub(super) fn len(&self) -> usize {
        self.tiles.len()
    }

    /// The `most` nearest of the contents that `admits` lets pass, each with its best tile, the
    /// nearest first.
    pub(super) fn nearest(
        &self,
        code: &[f32],
        most: usize,
        admits: impl Fn(&Hash) -> bool + Sync,
    ) -> Vec<Best> {
        let query = self.query(code);
        let mut keys: Vec<(f32, usize)> = self
            .contents
            .par_iter()
            .enumerate()
            .with_min_len(CHUNK)
            .filter(|(_, content)| content.count > 0 && admits(&content.hash))
            .map(|(index, content)| (self.key(query.as_ref(), code, content), index))
            .collect();
        if most == 0 || keys.is_empty() {
            return Vec::new();
        }
        if keys.len() > most {
            let (_, last, _) = keys.select_nth_unstable_by(most - 1, |a, b| a.0.total_cmp(&b.0));
            let limit = last.0 + 2.0 * query.map_or(0.0, |query| query.error);
            // Written so that what is not a number stays.
            keys.retain(|(key, _)| key.partial_cmp(&limit) != Some(std::cmp::Ordering::Greater));
        }
        let mut best: Vec<Best> = keys
            .into_par_iter()
            .filter_map(|(_, index)| self.best(code, &self.contents[index]))
            .collect();
        best.sort_by(|a, b| {
            let nearer = a.distance.total_cmp(&b.distance);
            nearer.then_with(|| a.hash.cmp(&b.hash))
        });
        best.truncate(most);
        best
    }

    /// Whether a content is there.
    pub(super) fn has(&self, hash: &Hash) -> bool {
        self.hashes.contains(hash)
    }

    /// Its distance is that of the code as it is kept. Of equals the first, which is the largest.
    fn best(&self, code: &[f32], content: &Content) -> Option<Best> {
        let mut floats = vec![0.0; self.dims];
        let mut best: Option<Best> = None;
        for tile in content.first..content.first + content.count {
            let distance = self.distance(code, tile, &mut floats);
            if best.is_none_or(|best| distance < best.distance) {
                best = Some(Best {
                    hash: content.hash,
                    distance,
                    region: self.tiles[tile].region,
                });
            }
        }
        best
    }

    /// The distance of a tile's code, which is unpacked to `floats`.
    fn distance(&self, code: &[f32], tile: usize, floats: &mut [f32]) -> f32 {
        let step = self.tiles[tile].step;
        for (float, &number) in floats.iter_mut().zip(self.row(tile)) {
            *float = f32::from(number) * step;
        }
        self.metric.distance(code, floats)
    }

    fn row(&self, tile: usize) -> &[i8] {
        &self.numbers[tile * self.dims..(tile + 1) * self.dims]
    }

    /// Orders contents as the distances of their best tiles do.
    fn key(&self, query: Option<&Query>, code: &[f32], content: &Content) -> f32 {
        let tiles = content.first..content.first + content.count;
        let least = |keys: &mut dyn Iterator<Item = f32>| keys.fold(f32::INFINITY, f32::min);
        let Some(query) = query else {
            let mut floats = vec![0.0; self.dims];
            return least(&mut tiles.map(|tile| self.distance(code, tile, &mut floats)));
        };
        least(&mut tiles.map(|tile| {
            let Tile { step, length, .. } = self.tiles[tile];
            let product = product(self.row(tile), &query.numbers) as f32 * query.unit;
            match self.metric {
                Metric::Cosine if length > 0.0 => -product / length,
                Metric::Cosine => 0.0,
                // Half of the squared distance, without the query's part of it.
                Metric::Euclidean => step * (step * length * length / 2.0 - product),
                _ => -product * step,
            }
        }))
    }

    /// None for a metric that is no inner product, and for numbers that would leave the range of
    /// `f32`.
    fn query(&self, code: &[f32]) -> Option<Query> {
        if self.metric == Metric::Manhattan {
            return None;
        }
        let largest = code
            .iter()
            .fold(0.0f32, |most, value| most.max(value.abs()));
        // So that no sum of products leaves 32 bits.
        let most = (f64::from(i32::MAX) / (LARGEST * self.dims.max(1) as f64)).floor();
        let most = most.clamp(1.0, f64::from(i16::MAX));
        let unit = match (f64::from(largest) / most) as f32 {
            unit if unit.is_normal() => unit,
            _ => return None,
        };
        let length = code
            .iter()
            .map(|&value| f64::from(value).powi(2))
            .sum::<f64>()
            .sqrt();
        let size = match self.metric {
            Metric::Cosine => 1.0,
            _ => self.longest,
        };
        // By Cauchy's inequality, for the query's rounding, and sums of `f32`.
        let rounded = f64::from(unit) * (self.dims as f64).sqrt() / 2.0;
        let sums = 8.0 * f64::from(f32::EPSILON) * (length + size);
        let error = ((rounded + sums) * size * 1.001) as f32;
        (error < 1e30).then(|| Query {
            numbers: code
                .iter()
                .map(|value| (value / unit).round() as i16)
                .collect(),
            unit,
            error,
        })
    }
}

/// In whole numbers, whose sum needs no order and is vectorised.
fn product(numbers: &[i8], query: &[i16]) -> i32 {
    let products = numbers.iter().zip(query);
    products.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}
