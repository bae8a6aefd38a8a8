//! Exact neighbours.
//!
//! Keys from blocked matrix products screen the gallery; every code that the keys cannot rule out,
//! given the bound on their error, gets its exact distance. So the answer is that of a direct
//! comparison of all pairs, near-duplicates and ties included, at the speed of a matrix product.

use std::cmp::Ordering;
use std::ops::Range;

use rayon::prelude::*;
use serde::Serialize;

use crate::screen::{Rows, Screen, TOGETHER};
use crate::shortlist::Shortlist;
use crate::{Codes, Metric};

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

/// The `k` nearest gallery codes of every query, exact, sorted by distance and then index.
///
/// Distances are those of [`Metric::distance`]. A gallery of fewer than `k` codes is returned
/// whole. All threads of the current rayon pool take part.
///
/// # Panics
/// If the dimensions of `gallery` and `queries` differ.
pub fn nearest(gallery: Codes, queries: Codes, metric: Metric, k: usize) -> Vec<Vec<Neighbour>> {
    search(gallery, queries, metric, k, None)
}

/// [`nearest`] with the gallery as queries, each code left out of its own answer.
pub fn nearest_others(gallery: Codes, metric: Metric, k: usize) -> Vec<Vec<Neighbour>> {
    nearest_others_of(gallery, 0..gallery.len(), metric, k)
}

/// [`nearest_others`] of some rows of the gallery, so that all can be compared a part at a time.
///
/// # Panics
/// If the gallery has no such rows.
pub fn nearest_others_of(
    gallery: Codes,
    rows: Range<usize>,
    metric: Metric,
    k: usize,
) -> Vec<Vec<Neighbour>> {
    let queries = gallery.rows(rows.start, rows.end);
    search(gallery, queries, metric, k, Some(rows.start))
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

/// `own` is the row of the first query in the gallery, where each query is to be left out of its
/// own answer.
fn search(
    gallery: Codes,
    queries: Codes,
    metric: Metric,
    k: usize,
    own: Option<usize>,
) -> Vec<Vec<Neighbour>> {
    check_dims(gallery, queries);
    if k == 0 || gallery.is_empty() {
        return vec![Vec::new(); queries.len()];
    }
    if queries.len() < SCREENED {
        return (0..queries.len())
            .map(|query| {
                let own = own.map(|first| first + query);
                direct(gallery, queries.row(query), metric, k, own)
            })
            .collect();
    }
    let screen = Screen::new(gallery, metric);
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
                    let mut lists: Vec<_> = (0..block.len()).map(|_| Shortlist::new(k)).collect();
                    compare(&screen, &prepared, range, own, &mut lists);
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
                    best(gallery, block.row(query), metric, k, list.into_candidates())
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
