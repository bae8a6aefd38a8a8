//! Diffusion computed ahead, row by row.

use rayon::prelude::*;

use crate::graph::SparseRows;
use crate::{DiffusionConfig, GraphError, KnnGraph};

/// For every code of a graph, the codes that diffusion from it reaches first, and their scores.
///
/// Diffusion is linear: what a query from outside would reach is the weighted sum of the rows of
/// its nearest codes, so a query costs a merge of short rows instead of a walk through the graph
/// (Yang, Hinami, Matsui, Ly and Satoh, *Efficient image retrieval via decoupling diffusion into
/// online and offline processing*, 2019). A row is computed on the part of the graph around its
/// code, so all of them cost time and space linear in the number of codes.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffusionRows {
    rows: SparseRows,
}

impl DiffusionRows {
    /// Diffuses from every code, within the `config.truncate` codes around it, and keeps the
    /// `config.kept` best of each row.
    ///
    /// # Errors
    /// If `config` is not [valid](DiffusionConfig::validate).
    pub fn build(graph: &KnnGraph, config: &DiffusionConfig) -> Result<Self, GraphError> {
        config.validate()?;
        let rows: Vec<Vec<(u32, f32)>> = (0..graph.len())
            .into_par_iter()
            .with_min_len(64)
            .map_init(
                || Local::new(graph.len()),
                |local, code| local.diffuse(graph, config, code),
            )
            .collect();
        let mut sparse = SparseRows::with_capacity(rows.len(), rows.iter().map(Vec::len).sum());
        for row in rows {
            for (index, score) in row {
                sparse.push(index, score);
            }
            sparse.end_row();
        }
        Ok(Self { rows: sparse })
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The codes that diffusion from code `index` reaches, best first, and their scores.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn row(&self, index: usize) -> (&[u32], &[f32]) {
        self.rows.row(index)
    }

    /// Codes ranked for a query whose weight starts at `start` ([`KnnGraph::start`]): at most
    /// `limit` of them, best first, ties by index, with their scores. Codes that no row reaches
    /// are absent. Entries of `start` that are not codes of this gallery are passed over.
    pub fn rank(&self, start: &[(usize, f32)], limit: usize) -> Vec<(usize, f32)> {
        let mut found: Vec<(u32, f32)> = Vec::new();
        for &(code, weight) in start.iter().filter(|(code, _)| *code < self.len()) {
            let (indices, scores) = self.row(code);
            let weighted = scores.iter().map(|score| weight * score);
            found.extend(indices.iter().copied().zip(weighted));
        }
        // A stable sort keeps the terms of each sum in the order of `start`.
        found.sort_by_key(|&(index, _)| index);
        found.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            if same {
                sum.1 += next.1;
            }
            same
        });
        best_first(&mut found, limit);
        let wide = |(index, score)| (index as usize, score);
        found.into_iter().map(wide).collect()
    }

    /// Plain numbers to store: where each row starts and the last one ends, the codes, the scores.
    pub fn parts(&self) -> (&[u64], &[u32], &[f32]) {
        let rows = &self.rows;
        (&rows.offsets, &rows.indices, &rows.values)
    }

    /// Rows from their stored numbers.
    ///
    /// # Errors
    /// If the parts do not fit together: lengths, order, indices or values out of range.
    pub fn from_parts(
        offsets: Vec<u64>,
        indices: Vec<u32>,
        scores: Vec<f32>,
    ) -> Result<Self, GraphError> {
        SparseRows::from_parts("set of diffusion rows", offsets, indices, scores)
            .map(|rows| Self { rows })
    }
}

fn best_first(found: &mut Vec<(u32, f32)>, limit: usize) {
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if found.len() > limit {
        found.select_nth_unstable_by(limit, order);
        found.truncate(limit);
    }
    found.sort_unstable_by(order);
}

/// What one thread needs to diffuse around one code after another. The two arrays of the size of
/// the gallery are touched only where a code's surroundings lie, and cleared after it.
struct Local {
    /// Weight that has arrived at each code while looking for the surroundings.
    arrived: Vec<f32>,
    /// Weight that the present wave has brought to each code.
    flowing: Vec<f32>,
    /// Codes that the present wave has come to.
    reached: Vec<u32>,
    /// Place of each code within `codes`, or `OUTSIDE`.
    place: Vec<u32>,
    /// The surroundings: first the code itself.
    codes: Vec<u32>,
    /// The graph between them, with places for indices.
    links: SparseRows,
}

const OUTSIDE: u32 = u32::MAX;

/// What flows into a code along its links: four sums, since each waits for its last addition.
fn flow(places: &[u32], weights: &[f32], from: &[f32]) -> f32 {
    let mut sums = [0.0; 4];
    let (places, last_places) = places.as_chunks::<4>();
    let (weights, last_weights) = weights.as_chunks::<4>();
    for (places, weights) in places.iter().zip(weights) {
        for ((sum, &at), weight) in sums.iter_mut().zip(places).zip(weights) {
            *sum += weight * from[at as usize];
        }
    }
    for ((sum, &at), weight) in sums.iter_mut().zip(last_places).zip(last_weights) {
        *sum += weight * from[at as usize];
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

impl Local {
    fn new(len: usize) -> Self {
        Self {
            arrived: vec![0.0; len],
            flowing: vec![0.0; len],
            reached: Vec::new(),
            place: vec![OUTSIDE; len],
            codes: Vec::new(),
            links: SparseRows::with_capacity(0, 0),
        }
    }

    fn diffuse(
        &mut self,
        graph: &KnnGraph,
        config: &DiffusionConfig,
        code: usize,
    ) -> Vec<(u32, f32)> {
        self.surround(graph, config, code);
        self.link(graph);
        let mut from = vec![0.0f32; self.codes.len()];
        from[0] = 1.0;
        let mut to = from.clone();
        for _ in 0..config.steps {
            for (row, value) in to.iter_mut().enumerate() {
                let (places, weights) = self.links.row(row);
                *value = config.alpha * flow(places, weights, &from);
            }
            to[0] += 1.0 - config.alpha;
            std::mem::swap(&mut from, &mut to);
        }
        let scored = self.codes.iter().copied().zip(from);
        let mut found: Vec<(u32, f32)> = scored.filter(|(_, score)| *score > 0.0).collect();
        best_first(&mut found, config.kept);
        for &index in &self.codes {
            self.place[index as usize] = OUTSIDE;
        }
        found
    }

    /// Finds the codes around `code`: weight spreads link by link until it has met
    /// `config.truncate` codes or nothing new, and those that got most of it are chosen.
    fn surround(&mut self, graph: &KnnGraph, config: &DiffusionConfig, code: usize) {
        let mut met: Vec<u32> = vec![code as u32];
        self.place[code] = 0;
        self.arrived[code] = 1.0;
        let mut wave: Vec<(u32, f32)> = vec![(code as u32, 1.0)];
        let mut before = 0;
        while met.len() < config.truncate && met.len() > before {
            before = met.len();
            self.reached.clear();
            for &(index, weight) in &wave {
                let (links, weights) = graph.row(index as usize);
                for (&link, share) in links.iter().zip(weights) {
                    let at = link as usize;
                    if self.place[at] == OUTSIDE {
                        self.place[at] = 0;
                        met.push(link);
                    }
                    if self.flowing[at] == 0.0 {
                        self.reached.push(link);
                    }
                    self.flowing[at] += config.alpha * weight * share;
                }
            }
            wave.clear();
            for &link in &self.reached {
                // A flow too small for a float came to nothing, and would go on as nothing, perhaps
                // more than once.
                let flow = std::mem::take(&mut self.flowing[link as usize]);
                if flow > 0.0 {
                    self.arrived[link as usize] += flow;
                    wave.push((link, flow));
                }
            }
        }
        let mut found: Vec<(u32, f32)> = met[1..]
            .iter()
            .map(|&index| (index, self.arrived[index as usize]))
            .collect();
        for &index in &met {
            self.place[index as usize] = OUTSIDE;
            self.arrived[index as usize] = 0.0;
        }
        best_first(&mut found, config.truncate - 1);
        self.codes.clear();
        self.codes.push(code as u32);
        self.codes.extend(found.iter().map(|&(index, _)| index));
    }

    /// The graph's links among the chosen codes.
    fn link(&mut self, graph: &KnnGraph) {
        for (place, &index) in self.codes.iter().enumerate() {
            self.place[index as usize] = place as u32;
        }
        self.links.clear();
        for &index in &self.codes {
            let (links, weights) = graph.row(index as usize);
            for (&link, &weight) in links.iter().zip(weights) {
                let place = self.place[link as usize];
                if place != OUTSIDE {
                    self.links.push(place, weight);
                }
            }
            self.links.end_row();
        }
    }
}
