//! Exact neighbours.
//!
//! Keys from blocked matrix products, or from codes in 8 bits where enough is asked to be worth
//! making these, screen the gallery; every code that the keys cannot rule out, given the bound on
//! their error, gets its exact distance. So the answer is that of a direct comparison of all pairs,
//! near-duplicates and ties included, at the speed of a matrix product or several times that.

use std::cmp::Ordering;
use std::ops::Range;

use rayon::prelude::*;
use serde::Serialize;

use crate::screen::{Rows, Screen, TOGETHER};
use crate::shortlist::Shortlist;
use crate::{Codes, Metric, Quantised};

/// One answer: which code of the gallery, and how far it is from the query.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Neighbour {
    /// Row of the gallery.
    pub index: usize,
    /// Distance to the query; smaller is nearer.
    pub distance: f32,
}

impl Neighbour {
    /// Nearer first; at equal distance, the lower index first.
    pub fn order(&self, other: &Self) -> Ordering {
        self.distance
            .total_cmp(&other.distance)
            .then(self.index.cmp(&other.index))
    }
}

/// Queries that share one matrix product.
const QUERIES: usize = 128;
/// Gallery codes that share one matrix product.
const GALLERY: usize = 2048;
/// From this many queries on, preparing the gallery for products pays.
const SCREENED: usize = 6;
/// What a code costs a query by matrix products, alone and for every dimension, and what it costs
/// to quantise a code, for each of its numbers, and to find out how, for the cube of the
/// dimensions: in cycles of the processor, measured with AVX-512.
const CYCLES_A_KEY: f64 = 6.0;
const CYCLES_A_DIMENSION: f64 = 0.05;
const CYCLES_A_NUMBER: f64 = 130.0;
const CYCLES_OF_FRAME: f64 = 40.0;
/// Products must take this many times as long as preparing before that is worth while.
const WORTH: f64 = 1.5;
/// With fewer codes than this for each neighbour that is wanted, most have to be compared exactly
/// whatever is kept of them.
const MIN_ROWS_A_NEIGHBOUR: usize = 64;

/// The `k` nearest gallery codes of every query, exact, sorted by distance and then index.
///
/// Distances are those of [`Metric::distance`]. A gallery of fewer than `k` codes is returned
/// whole. All threads of the current rayon pool take part. To ask the same gallery several times,
/// make it ready once: [`Exact`].
///
/// # Panics
/// If the dimensions of `gallery` and `queries` differ.
pub fn nearest(gallery: Codes, queries: Codes, metric: Metric, k: usize) -> Vec<Vec<Neighbour>> {
    Exact::new(gallery, metric, queries.len()).nearest(queries, k)
}

/// [`nearest`] with the gallery as queries, each code left out of its own answer.
pub fn nearest_others(gallery: Codes, metric: Metric, k: usize) -> Vec<Vec<Neighbour>> {
    Exact::new(gallery, metric, gallery.len()).nearest_others_of(0..gallery.len(), k)
}

/// A gallery made ready to be asked for exact neighbours.
///
/// For many queries most codes are ruled out by what is kept of them in 8 bits
/// ([`Quantised`](crate::Quantised)), for fewer by matrix products; a few are compared with all
/// codes. Answers are the same.
pub struct Exact<'a> {
    gallery: Codes<'a>,
    metric: Metric,
    way: Way<'a>,
}

enum Way<'a> {
    Direct,
    Products(Screen<'a>),
    /// With the row of the gallery for each of the quantised.
    Quantised(Box<Quantised>, Vec<usize>),
}

impl<'a> Exact<'a> {
    /// `queries` says about how many will ask, which is what making ready has to be worth.
    pub fn new(gallery: Codes<'a>, metric: Metric, queries: usize) -> Self {
        let way = if queries < SCREENED || gallery.is_empty() {
            Way::Direct
        } else if let Some((quantised, rows)) = quantised(gallery, metric, queries) {
            Way::Quantised(Box::new(quantised), rows)
        } else {
            Way::Products(Screen::new(gallery, metric))
        };
        Self {
            gallery,
            metric,
            way,
        }
    }

    /// The `k` nearest codes of every query: [`nearest`].
    ///
    /// # Panics
    /// If the queries have other dimensions.
    pub fn nearest(&self, queries: Codes, k: usize) -> Vec<Vec<Neighbour>> {
        self.search(queries, k, None)
    }

    /// The `k` nearest others of some rows of the gallery: [`nearest_others`].
    ///
    /// # Panics
    /// If the gallery has no such rows.
    pub fn nearest_others_of(&self, rows: Range<usize>, k: usize) -> Vec<Vec<Neighbour>> {
        let queries = self.gallery.rows(rows.start, rows.end);
        self.search(queries, k, Some(rows.start))
    }

    /// `own` is the row of the first query in the gallery, where each query is to be left out of
    /// its own answer.
    fn search(&self, queries: Codes, k: usize, own: Option<usize>) -> Vec<Vec<Neighbour>> {
        check_dims(self.gallery, queries);
        if k == 0 || self.gallery.is_empty() {
            return vec![Vec::new(); queries.len()];
        }
        match &self.way {
            Way::Quantised(quantised, rows) if k <= self.gallery.len() / MIN_ROWS_A_NEIGHBOUR => {
                self.search_quantised(quantised, rows, queries, k, own)
            }
            Way::Products(screen) => self.search_products(screen, queries, k, own),
            Way::Quantised(..) if queries.len() >= SCREENED => {
                let screen = Screen::new(self.gallery, self.metric);
                self.search_products(&screen, queries, k, own)
            }
            _ => (0..queries.len())
                .map(|query| {
                    let own = own.map(|first| first + query);
                    direct(self.gallery, queries.row(query), self.metric, k, own)
                })
                .collect(),
        }
    }

    fn search_quantised(
        &self,
        quantised: &Quantised,
        rows: &[usize],
        queries: Codes,
        k: usize,
        own: Option<usize>,
    ) -> Vec<Vec<Neighbour>> {
        let answer = |query: usize| {
            let own = own.map(|first| first + query);
            let code = queries.row(query);
            let candidates = quantised.candidates(code, k + usize::from(own.is_some()), None);
            let candidates = candidates.into_iter().map(|row| rows[row]);
            let others = candidates.filter(|&row| own != Some(row));
            best(self.gallery, code, self.metric, k, others)
        };
        (0..queries.len()).into_par_iter().map(answer).collect()
    }

    fn search_products(
        &self,
        screen: &Screen,
        queries: Codes,
        k: usize,
        own: Option<usize>,
    ) -> Vec<Vec<Neighbour>> {
        let gallery = self.gallery;
        let threads = rayon::current_num_threads();
        // Few queries cannot keep all threads busy, so then the gallery is shared out as well.
        let parts = match queries.len().div_ceil(QUERIES) {
            blocks if blocks >= 2 * threads => 1,
            _ => (2 * threads).min(gallery.len().div_ceil(GALLERY)),
        };
        let part = gallery.len().div_ceil(parts);
        let blocks: Vec<Vec<Vec<Neighbour>>> = block_starts(queries.len(), QUERIES)
            .into_par_iter()
            .map(|first| {
                let block = queries.rows(first, (first + QUERIES).min(queries.len()));
                let prepared = screen.prepare(block);
                let own = |query: usize| own.map(|row| row + first + query);
                let shortlists = block_starts(gallery.len(), part)
                    .into_par_iter()
                    .map(|start| {
                        let range = start..(start + part).min(gallery.len());
                        let mut lists: Vec<_> =
                            (0..block.len()).map(|_| Shortlist::new(k)).collect();
                        compare(screen, &prepared, range, own, &mut lists);
                        lists
                    })
                    .reduce_with(|mut left, right| {
                        left.iter_mut().zip(right).for_each(|(l, r)| l.merge(r));
                        left
                    })
                    .unwrap_or_default();
                shortlists
                    .into_iter()
                    .enumerate()
                    .map(|(query, list)| {
                        let candidates = list.into_candidates();
                        best(gallery, block.row(query), self.metric, k, candidates)
                    })
                    .collect()
            })
            .collect();
        blocks.into_iter().flatten().collect()
    }
}

/// The gallery in few bits, if that is worth while for so many queries.
fn quantised(gallery: Codes, metric: Metric, queries: usize) -> Option<(Quantised, Vec<usize>)> {
    let (rows, dims) = (gallery.len() as f64, gallery.dims() as f64);
    let product = CYCLES_A_KEY + CYCLES_A_DIMENSION * dims;
    let preparing = CYCLES_A_NUMBER * rows * dims + CYCLES_OF_FRAME * dims.powi(3);
    if queries as f64 * rows * product < WORTH * preparing {
        return None;
    }
    Quantised::of(gallery, metric, product)
}

/// Calls `visit(query, distances)` with the distances of each query to the whole gallery and
/// returns what it returns, in the order of the queries. Several threads call at once.
///
/// The distances come from matrix products and carry their rounding error (relative to the
/// lengths of the codes, some 1e-6): right for measures over a whole ranking, while [`nearest`]
/// is exact. `visit` may use the row as scratch space.
///
/// # Panics
/// If the dimensions of `gallery` and `queries` differ.
pub fn map_distances<T: Send>(
    gallery: Codes,
    queries: Codes,
    metric: Metric,
    visit: impl Fn(usize, &mut [f32]) -> T + Sync,
) -> Vec<T> {
    check_dims(gallery, queries);
    let screen = Screen::new(gallery, metric);
    // 16 MiB of keys at a time and thread, but enough rows for the product to be worth packing.
    let rows = (4_194_304 / screen.len().max(1)).clamp(8, QUERIES);
    let blocks: Vec<Vec<T>> = block_starts(queries.len(), rows)
        .into_par_iter()
        .map(|start| {
            let block = queries.rows(start, (start + rows).min(queries.len()));
            let prepared = screen.prepare(block);
            let mut keys = vec![0.0; block.len() * screen.len()];
            screen.keys(&prepared, 0, screen.len(), &mut keys);
            (0..block.len())
                .map(|query| {
                    let row = &mut keys[query * screen.len()..(query + 1) * screen.len()];
                    row.iter_mut().for_each(|key| *key = screen.distance(*key));
                    visit(start + query, row)
                })
                .collect()
        })
        .collect();
    blocks.into_iter().flatten().collect()
}

/// The nearest of one query by comparing it with every code.
fn direct(
    gallery: Codes,
    query: &[f32],
    metric: Metric,
    k: usize,
    own: Option<usize>,
) -> Vec<Neighbour> {
    let found: Vec<Vec<Neighbour>> = block_starts(gallery.len(), GALLERY)
        .into_par_iter()
        .map(|start| {
            let block = start..(start + GALLERY).min(gallery.len());
            best(gallery, query, metric, k, block.filter(|&i| own != Some(i)))
        })
        .collect();
    first(found.concat(), k)
}

fn check_dims(gallery: Codes, queries: Codes) {
    assert_eq!(
        gallery.dims(),
        queries.dims(),
        "queries must have the dimensions of the gallery"
    );
}

fn block_starts(len: usize, block: usize) -> Vec<usize> {
    (0..len).step_by(block).collect()
}

/// Offers to the list of each query the gallery codes of a range that may be among its nearest.
pub(crate) fn compare(
    screen: &Screen,
    queries: &Rows,
    range: Range<usize>,
    own: impl Fn(usize) -> Option<usize>,
    lists: &mut [Shortlist],
) {
    let mut keys = vec![0.0; lists.len() * GALLERY.min(range.len())];
    for from in range.clone().step_by(GALLERY) {
        let to = (from + GALLERY).min(range.end);
        let width = to - from;
        let keys = &mut keys[..lists.len() * width];
        screen.keys(queries, from, to, keys);
        for (query, (list, row)) in lists.iter_mut().zip(keys.chunks_exact(width)).enumerate() {
            scan(screen, queries.norm(query), from, row, own(query), list);
        }
    }
}

/// Offers to `list` the keys of a query that may be among its nearest; the first belongs to code
/// `from`.
fn scan(
    screen: &Screen,
    norm: f32,
    from: usize,
    keys: &[f32],
    own: Option<usize>,
    list: &mut Shortlist,
) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, checked on the line above.
            return unsafe { scan_avx512(screen, norm, from, keys, own, list) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, checked on the line above.
            return unsafe { scan_avx2(screen, norm, from, keys, own, list) };
        }
    }
    scan_any(screen, norm, from, keys, own, list);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn scan_avx512(
    screen: &Screen,
    norm: f32,
    from: usize,
    keys: &[f32],
    own: Option<usize>,
    list: &mut Shortlist,
) {
    scan_any(screen, norm, from, keys, own, list);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scan_avx2(
    screen: &Screen,
    norm: f32,
    from: usize,
    keys: &[f32],
    own: Option<usize>,
    list: &mut Shortlist,
) {
    scan_any(screen, norm, from, keys, own, list);
}

#[inline(always)]
fn scan_any(
    screen: &Screen,
    norm: f32,
    from: usize,
    keys: &[f32],
    own: Option<usize>,
    list: &mut Shortlist,
) {
    let (whole, rest) = keys.as_chunks::<TOGETHER>();
    let mut first = from;
    for keys in whole {
        let errors = screen.errors(norm, first, keys);
        // One look at all of them, because most codes are far from most queries.
        #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must be kept")]
        let may: [bool; TOGETHER] = std::array::from_fn(|at| !(keys[at] - errors[at] > list.limit));
        if may.iter().fold(false, |any, &may| any | may) {
            list.offer_all(first, keys, &errors, own);
        }
        first += TOGETHER;
    }
    let errors = screen.errors(norm, first, rest);
    list.offer_all(first, rest, &errors, own);
}

/// Exact distances of the candidates, the best `k` of them in order.
pub(crate) fn best(
    gallery: Codes,
    query: &[f32],
    metric: Metric,
    k: usize,
    candidates: impl Iterator<Item = usize>,
) -> Vec<Neighbour> {
    let found = candidates.map(|index| Neighbour {
        index,
        distance: metric.distance(gallery.row(index), query),
    });
    first(found.collect(), k)
}

/// The first `k` in order.
fn first(mut found: Vec<Neighbour>, k: usize) -> Vec<Neighbour> {
    if found.len() > k {
        found.select_nth_unstable_by(k, Neighbour::order);
        found.truncate(k);
    }
    found.sort_unstable_by(Neighbour::order);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of which some are equal, some nearly, and some far away from all others.
    fn codes(rows: usize, dims: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let mut data: Vec<f32> = (0..rows * dims)
            .map(|at| next() / (1 + at % dims) as f32)
            .collect();
        for row in 1..rows {
            let (before, own) = data.split_at_mut(row * dims);
            let other = &before[(row / 2) * dims..(row / 2 + 1) * dims];
            match row % 9 {
                0 => own[..dims].copy_from_slice(other),
                1 => own[..dims]
                    .iter_mut()
                    .zip(other)
                    .for_each(|(own, &other)| *own = other * 1.000_001),
                2 if row % 7 == 0 => own[..dims].iter_mut().for_each(|own| *own *= 1e6),
                _ => {}
            }
        }
        data
    }

    #[test]
    fn every_way_gives_the_same_answers() {
        for (rows, dims) in [(1, 1), (17, 3), (700, 5), (3000, 24), (900, 130)] {
            let data = codes(rows, dims, rows as u64);
            let gallery = Codes::new(&data, dims).unwrap();
            let asking = codes(40, dims, 99);
            let asking = Codes::new(&asking, dims).unwrap();
            for metric in Metric::ALL {
                let mut ways = vec![Way::Direct, Way::Products(Screen::new(gallery, metric))];
                if let Some((codes, rows)) = Quantised::of(gallery, metric, f64::INFINITY) {
                    ways.push(Way::Quantised(Box::new(codes), rows));
                }
                assert_eq!(ways.len() == 2, metric == Metric::Manhattan);
                let answers = ways.into_iter().map(|way| {
                    let exact = Exact {
                        gallery,
                        metric,
                        way,
                    };
                    let others = exact.nearest_others_of(rows / 3..rows.min(rows / 3 + 50), 6);
                    // Too many for the few rows there are.
                    (exact.nearest(asking, 5), others, exact.nearest(asking, 400))
                });
                let answers: Vec<_> = answers.collect();
                assert!(
                    answers.iter().all(|answer| *answer == answers[0]),
                    "{metric} {dims}"
                );
            }
        }
    }

    #[test]
    fn the_way_follows_from_the_work() {
        let data = codes(20_000, 16, 5);
        let gallery = Codes::new(&data, 16).unwrap();
        let way = |queries| Exact::new(gallery, Metric::Euclidean, queries).way;
        assert!(matches!(way(5), Way::Direct));
        assert!(matches!(way(50), Way::Products(_)));
        assert!(matches!(way(20_000), Way::Quantised(..)));
    }
}
