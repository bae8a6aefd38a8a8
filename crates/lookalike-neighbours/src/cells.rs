//! Nearly all nearest neighbours, in time that grows little faster than the number of codes.
//!
//! Codes are divided into cells around means (k-means on a sample; the inverted file of Jégou,
//! Douze and Schmid, *Product quantization for nearest neighbor search*, 2011): as many cells as a
//! cell has codes on average. A query is compared with the codes of those cells whose means are
//! nearest to it. Queries of one cell go together, so that comparing them is a matrix product.
//! Distances are exact; a neighbour is missed only if none of these cells holds it.

use std::ops::Range;

use rayon::prelude::*;

use crate::exact::{best, compare, nearest};
use crate::metric::dot;
use crate::screen::Screen;
use crate::shortlist::Shortlist;
use crate::{Codes, Metric, Neighbour};

/// Cells that a query asks for.
const WANTED: usize = 16;
/// Cells that queries are compared with together, at most.
const MAX_VISITED: usize = 48;
/// Queries that are compared together, at most.
const MAX_TOGETHER: usize = 128;
/// Codes of the sample that means are found from, for each cell.
const SAMPLE: usize = 32;
/// How often means are moved to the middle of their codes.
const ROUNDS: usize = 5;
/// Codes that are put into cells, or asked for, at a time.
const CHUNK: usize = 16_384;
/// Neighbours of a code whose neighbours are looked at, at least.
const MIN_LINKS: usize = 8;
/// How many times the average a cell may be long and still be compared as a whole. Codes of a
/// longer one are so much alike that those beside a query are as near as any.
const MAX_LENGTH: usize = 16;

/// Codes, divided into cells.
pub struct Cells<'a> {
    codes: Codes<'a>,
    metric: Metric,
    /// By what codes belong to means.
    measure: Metric,
    /// One row for each cell.
    means: Vec<f32>,
    /// The rows of the codes, cell after cell.
    order: Vec<u32>,
    /// Where each row stands in `order`.
    places: Vec<u32>,
    /// Where each cell begins in `order`, and where the last one ends.
    starts: Vec<usize>,
    /// The codes in that order.
    screen: Screen<'static>,
}

impl<'a> Cells<'a> {
    /// Divides codes.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` of them.
    pub fn new(codes: Codes<'a>, metric: Metric) -> Self {
        assert!(
            u32::try_from(codes.len()).is_ok(),
            "codes are counted in 32 bits"
        );
        // Means minimise squares, and codes that are near by one metric are near by another.
        let measure = match metric {
            Metric::Cosine => Metric::Cosine,
            _ => Metric::Euclidean,
        };
        let mut means = means(codes, measure, codes.len().isqrt().max(1));
        let mut homes = nearest_means(&means, codes, measure, 1);
        leave_out_empty(&mut means, &mut homes, codes.dims());
        let cells = means.len() / codes.dims();
        let (order, starts) = by_cell(homes.iter().map(|home| home[0]), cells);
        let mut places = vec![0; codes.len()];
        for (place, &row) in order.iter().enumerate() {
            places[row as usize] = place as u32;
        }
        let rows = order.iter().flat_map(|&row| codes.row(row as usize));
        let rows: Vec<f32> = rows.copied().collect();
        Self {
            codes,
            metric,
            measure,
            means,
            order,
            places,
            starts,
            screen: Screen::of_rows(rows, codes.dims(), metric),
        }
    }

    /// Nearly the `k` nearest codes of every query, by [`Metric::distance`], nearest first; `k` of
    /// them if there are as many codes. All threads of the current rayon pool take part.
    ///
    /// # Panics
    /// If the dimensions differ.
    pub fn nearest(&self, queries: Codes, k: usize) -> Vec<Vec<Neighbour>> {
        self.search(queries, k, |_| None)
    }

    /// Nearly the `k` nearest others of every code, nearest first. More of them are right than
    /// those of [`nearest`](Self::nearest): what is near to a code's neighbours is compared with it
    /// as well (Dong, Moses and Li, *Efficient k-nearest neighbor graph construction for generic
    /// similarity measures*, 2011). `progress` hears how many codes have been compared.
    pub fn nearest_others(&self, k: usize, mut progress: impl FnMut(usize)) -> Vec<Vec<Neighbour>> {
        let mut found = Vec::with_capacity(self.codes.len());
        for start in (0..self.codes.len()).step_by(CHUNK) {
            let end = (start + CHUNK).min(self.codes.len());
            let own = |query: usize| Some(self.places[start + query] as usize);
            // Enough to lead on.
            let each = if k == 0 { 0 } else { k.max(MIN_LINKS) };
            found.extend(self.search(self.codes.rows(start, end), each, own));
            progress(end);
        }
        let refined = (0..found.len()).into_par_iter().map(|row| {
            let near = &found[row];
            let farther = near.iter().flat_map(|other| &found[other.index]);
            let mut rows: Vec<usize> = farther.chain(near).map(|other| other.index).collect();
            rows.sort_unstable();
            rows.dedup();
            let others = rows.into_iter().filter(|&other| other != row);
            best(self.codes, self.codes.row(row), self.metric, k, others)
        });
        refined.collect()
    }

    fn search(
        &self,
        queries: Codes,
        k: usize,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Vec<Vec<Neighbour>> {
        if k == 0 || self.codes.is_empty() {
            return vec![Vec::new(); queries.len()];
        }
        let wanted = nearest_means(&self.means, queries, self.measure, WANTED);
        let homes = wanted.iter().map(|cells| cells[0]);
        let (order, _) = by_cell(homes, self.starts.len() - 1);
        let answers: Vec<Vec<Vec<Neighbour>>> = blocks(&order, &wanted, self.starts.len() - 1)
            .par_iter()
            .map(|block| self.search_block(queries, block, k, &own))
            .collect();
        let mut found = vec![Vec::new(); queries.len()];
        for (&query, neighbours) in order.iter().zip(answers.into_iter().flatten()) {
            found[query as usize] = neighbours;
        }
        found
    }

    /// The answers of the queries of a block, by the codes of some cells.
    fn search_block(
        &self,
        queries: Codes,
        block: &Block,
        k: usize,
        own: &impl Fn(usize) -> Option<usize>,
    ) -> Vec<Vec<Neighbour>> {
        let own = |at: usize| own(block.queries[at] as usize);
        let rows = block
            .queries
            .iter()
            .flat_map(|&query| queries.row(query as usize));
        let rows: Vec<f32> = rows.copied().collect();
        let rows = Codes::from_rows(&rows, queries.dims());
        let prepared = self.screen.prepare(rows);
        let mut lists: Vec<_> = block.queries.iter().map(|_| Shortlist::new(k)).collect();
        for &cell in &block.cells {
            let cell = self.starts[cell as usize]..self.starts[cell as usize + 1];
            let range = self.part_of(cell, own(0));
            compare(&self.screen, &prepared, range, own, &mut lists);
        }
        let answer = |(at, list): (usize, Shortlist)| {
            let query = queries.row(block.queries[at] as usize);
            let near = list
                .into_candidates()
                .map(|place| self.order[place] as usize);
            let found = best(self.codes, query, self.metric, k, near);
            let own = own(at).map(|place| self.order[place] as usize);
            if found.len() >= k.min(self.codes.len() - usize::from(own.is_some())) {
                return found;
            }
            // Cells of very few codes.
            let all = (0..self.codes.len()).filter(|&row| own != Some(row));
            best(self.codes, query, self.metric, k, all)
        };
        lists.into_iter().enumerate().map(answer).collect()
    }

    /// All of a cell or, if it is far longer than others, what lies around a place.
    fn part_of(&self, cell: Range<usize>, place: Option<usize>) -> Range<usize> {
        let most = MAX_LENGTH * self.order.len().div_ceil(self.starts.len() - 1);
        if cell.len() <= most {
            return cell;
        }
        let middle = place.unwrap_or(cell.start).saturating_sub(most / 2);
        let start = middle.clamp(cell.start, cell.end - most);
        start..start + most
    }
}

/// Queries that are compared together, and with which cells: all that any of them asks for.
struct Block<'a> {
    queries: &'a [u32],
    cells: Vec<u32>,
}

/// Divides queries, which come in the order of their first cells.
fn blocks<'a>(order: &'a [u32], wanted: &[Vec<u32>], cells: usize) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    // The block in which each cell was last asked for.
    let mut seen = vec![usize::MAX; cells];
    let mut rest = order;
    while !rest.is_empty() {
        let mut visited: Vec<u32> = Vec::new();
        let fits = |query: &&u32| {
            let known = visited.len();
            for &cell in &wanted[**query as usize] {
                if seen[cell as usize] != blocks.len() {
                    seen[cell as usize] = blocks.len();
                    visited.push(cell);
                }
            }
            known == 0 || visited.len() <= MAX_VISITED
        };
        let len = rest.iter().take(MAX_TOGETHER).take_while(fits).count();
        let (queries, others) = rest.split_at(len);
        rest = others;
        visited.truncate(MAX_VISITED);
        blocks.push(Block {
            queries,
            cells: visited,
        });
    }
    blocks
}

/// Items by their cells, those of one cell in order, and where each cell begins among them.
fn by_cell(cells: impl Iterator<Item = u32> + Clone, count: usize) -> (Vec<u32>, Vec<usize>) {
    let mut starts = vec![0; count + 1];
    cells
        .clone()
        .for_each(|cell| starts[cell as usize + 1] += 1);
    for cell in 0..count {
        starts[cell + 1] += starts[cell];
    }
    let mut next = starts.clone();
    let mut order = vec![0; starts[count]];
    for (item, cell) in cells.enumerate() {
        let place = &mut next[cell as usize];
        order[*place] = item as u32;
        *place += 1;
    }
    (order, starts)
}

/// The cells whose means are nearest to each code, nearest first.
fn nearest_means(means: &[f32], codes: Codes, measure: Metric, cells: usize) -> Vec<Vec<u32>> {
    let means = Codes::from_rows(means, codes.dims());
    let found = nearest(means, codes, measure, cells).into_iter();
    let found = found.map(|cells| cells.into_iter().map(|cell| cell.index as u32).collect());
    found.collect()
}

/// Leaves out cells without codes. Where many codes are the same, many cells have that mean and all
/// but the first are empty: a query near it would look into those alone.
fn leave_out_empty(means: &mut Vec<f32>, homes: &mut [Vec<u32>], dims: usize) {
    let mut numbers = vec![u32::MAX; means.len() / dims];
    homes.iter().for_each(|home| numbers[home[0] as usize] = 0);
    let mut kept = 0;
    for (cell, number) in numbers.iter_mut().enumerate() {
        if *number == 0 {
            means.copy_within(cell * dims..(cell + 1) * dims, kept * dims);
            *number = kept as u32;
            kept += 1;
        }
    }
    means.truncate(kept * dims);
    homes
        .iter_mut()
        .for_each(|home| home[0] = numbers[home[0] as usize]);
}

/// Means of `cells` parts of the codes (Lloyd's algorithm on a sample, from codes at equal
/// distances).
fn means(codes: Codes, measure: Metric, cells: usize) -> Vec<f32> {
    let dims = codes.dims();
    let every = |count: usize| {
        let count = count.min(codes.len());
        let rows = (0..count).flat_map(move |i| codes.row(i * codes.len() / count));
        rows.copied().collect::<Vec<f32>>()
    };
    let mut means = every(cells);
    let sample = every(cells * SAMPLE);
    let sample = Codes::from_rows(&sample, dims);
    for _ in 0..ROUNDS {
        let homes = nearest_means(&means, sample, measure, 1);
        let mut sums = vec![0.0f64; means.len()];
        for (row, home) in homes.iter().enumerate() {
            let code = sample.row(row);
            let scale = match measure {
                Metric::Cosine => 1.0 / dot(code, code).sqrt().max(f64::MIN_POSITIVE),
                _ => 1.0,
            };
            let sum = &mut sums[home[0] as usize * dims..][..dims];
            sum.iter_mut()
                .zip(code)
                .for_each(|(sum, &value)| *sum += f64::from(value) * scale);
        }
        let mut counts = vec![0u32; means.len() / dims];
        homes.iter().for_each(|home| counts[home[0] as usize] += 1);
        let sums = sums.chunks_exact(dims).zip(counts);
        for (mean, (sum, count)) in means.chunks_exact_mut(dims).zip(sums) {
            // What no code belongs to stays where it is.
            if count > 0 {
                let scale = f64::from(count).recip();
                mean.iter_mut()
                    .zip(sum)
                    .for_each(|(mean, sum)| *mean = (sum * scale) as f32);
            }
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Euclidean, Metric::Manhattan];

    /// Codes around `kinds` middles, as those of pictures are.
    fn codes(count: usize, dims: usize, kinds: usize) -> Vec<f32> {
        let mut state = 7u64;
        let mut value = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            ((state >> 40) as f32 / 8_388_608.0) - 1.0
        };
        let middles: Vec<f32> = (0..kinds * dims).map(|_| value()).collect();
        let near = |i: usize| middles[i / dims % kinds * dims + i % dims] + 0.6 * value();
        (0..count * dims).map(near).collect()
    }

    fn recall(found: &[Vec<Neighbour>], truth: &[Vec<Neighbour>]) -> f64 {
        let right = found.iter().zip(truth).map(|(found, truth)| {
            let is_found = |n: &&Neighbour| found.contains(n);
            truth.iter().filter(is_found).count()
        });
        let all: usize = truth.iter().map(Vec::len).sum();
        right.sum::<usize>() as f64 / all as f64
    }

    #[test]
    fn nearly_all_neighbours_are_found_with_their_exact_distances() {
        let values = codes(4_000, 16, 12);
        let codes = Codes::new(&values, 16).unwrap();
        for metric in METRICS {
            let cells = Cells::new(codes, metric);
            let truth = crate::nearest_others(codes, metric, 10);
            let mut compared = 0;
            let found = cells.nearest_others(10, |now| compared = now);
            assert_eq!(compared, codes.len());
            let others = recall(&found, &truth);
            assert!(others > 0.97, "{metric}: {others}");
            let queries = codes.rows(100, 300);
            let found = recall(
                &cells.nearest(queries, 5),
                &nearest(codes, queries, metric, 5),
            );
            assert!(found > 0.97, "{metric}: {found}");
        }
    }

    /// Pairs of nearly equal codes: what duplicates are.
    #[test]
    fn the_nearest_is_hardly_ever_missed() {
        let mut values = codes(3_000, 16, 40);
        let copies: Vec<f32> = values[..800 * 16]
            .iter()
            .map(|v| v * 1.001 + 1e-3)
            .collect();
        values.extend(copies);
        let codes = Codes::new(&values, 16).unwrap();
        let found = Cells::new(codes, Metric::Euclidean).nearest_others(1, |_| ());
        let right = (0..800)
            .filter(|&row| found[row][0].index == 3_000 + row)
            .count();
        assert!(right >= 798, "{right}");
    }

    #[test]
    fn few_codes_and_equal_ones_are_answered() {
        for (count, k) in [(1, 3), (2, 5), (3, 2), (2_000, 4)] {
            let values = vec![0.5f32; count * 3];
            let codes = Codes::new(&values, 3).unwrap();
            for metric in METRICS {
                let cells = Cells::new(codes, metric);
                let found = cells.nearest_others(k, |_| ());
                for (row, others) in found.iter().enumerate() {
                    assert_eq!(others.len(), k.min(count - 1), "{count}");
                    assert!(others.iter().all(|other| other.index != row));
                }
                assert_eq!(cells.nearest(codes, k)[0].len(), k.min(count));
            }
        }
        let none = Codes::new(&[], 3).unwrap();
        assert!(
            Cells::new(none, Metric::Cosine)
                .nearest_others(3, |_| ())
                .is_empty()
        );
    }
}
