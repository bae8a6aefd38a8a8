//! Ranking by diffusion on the neighbour graph.
//!
//! Weight put on a query flows along the graph's links, `f ← α S f + (1 - α) y`, and codes are
//! ranked by how much arrives (Zhou, Weston, Gretton, Bousquet and Schölkopf, *Ranking on data
//! manifolds*, 2004; for image retrieval Iscen, Tolias, Avrithis, Furon and Chum, *Efficient
//! diffusion on region manifolds*, 2017). A code that is far from the query, but joined to it by a
//! chain of like ones, comes before a nearer one across a gap.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::graph::SparseRows;
use crate::{GraphError, KnnGraph};

/// How to build the graph and how far to let weight flow on it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionConfig {
    /// Nearest codes that each code, and each query, is joined with.
    pub neighbours: usize,
    /// Share of the weight that flows on at every step, between 0 and 1; the rest starts again
    /// from the query.
    pub alpha: f32,
    /// Number of steps, which is also how many links weight can travel.
    pub steps: usize,
    /// Power of the affinity: larger trusts the nearest more. The same value suits every metric
    /// (the exponent of the Euclidean affinity takes a third of it).
    pub gamma: f32,
    /// Codes kept in each row of [`DiffusionRows`](crate::DiffusionRows).
    pub kept: usize,
    /// Codes around each that take part when its row is computed.
    pub truncate: usize,
}

impl Default for DiffusionConfig {
    fn default() -> Self {
        Self {
            neighbours: 20,
            alpha: 0.99,
            steps: 30,
            gamma: 6.0,
            kept: 256,
            truncate: 1024,
        }
    }
}

impl DiffusionConfig {
    /// Checks that a diffusion can run so.
    ///
    /// # Errors
    /// [`GraphError::Config`] with the first setting that is out of range.
    pub fn validate(&self) -> Result<(), GraphError> {
        let counts = [
            ("neighbours", self.neighbours),
            ("steps", self.steps),
            ("kept", self.kept),
            ("truncate", self.truncate),
        ];
        let check = |setting, value: f64, good, expected| match good {
            true => Ok(()),
            false => Err(GraphError::Config {
                setting,
                value,
                expected,
            }),
        };
        for (setting, value) in counts {
            check(setting, value as f64, value > 0, "give at least 1")?;
        }
        let open = self.alpha > 0.0 && self.alpha < 1.0;
        check("alpha", self.alpha.into(), open, "give 0 < alpha < 1")?;
        let positive = self.gamma.is_finite() && self.gamma > 0.0;
        let expected = "give a positive number";
        check("gamma", self.gamma.into(), positive, expected)
    }
}

/// Queries that flow through the graph side by side: one row of values per code, two cache lines,
/// whose sums fit the registers.
const SIDE_BY_SIDE: usize = 32;

/// Diffuses `queries` starts through the whole graph and calls `visit(query, scores)` with one
/// score for every code, 0 where nothing arrived; returns what it returns, in order.
///
/// `start(query)` gives the codes where a query's weight starts: `[(query, 1.0)]` for a code of
/// the graph itself, [`KnnGraph::start`] for a query from outside. The result is linear in it.
/// Several threads call `start` and `visit` at once.
///
/// # Errors
/// If `config` is not [valid](DiffusionConfig::validate).
///
/// # Panics
/// If a start names a code that the graph does not have.
pub fn map_diffused<T: Send>(
    graph: &KnnGraph,
    config: &DiffusionConfig,
    queries: usize,
    start: impl Fn(usize) -> Vec<(usize, f32)> + Sync,
    visit: impl Fn(usize, &[f32]) -> T + Sync,
) -> Result<Vec<T>, GraphError> {
    config.validate()?;
    let ordered = Ordered::new(graph);
    let firsts: Vec<usize> = (0..queries).step_by(SIDE_BY_SIDE).collect();
    let blocks: Vec<Vec<T>> = firsts
        .into_par_iter()
        .map(|first| {
            let columns = SIDE_BY_SIDE.min(queries - first);
            let starts: Vec<_> = (first..first + columns).map(&start).collect();
            let scores = ordered.diffuse(config, &starts);
            let mut row = vec![0.0; graph.len()];
            (0..columns)
                .map(|column| {
                    for (&code, scores) in ordered.codes.iter().zip(&scores) {
                        row[code as usize] = scores[column];
                    }
                    visit(first + column, &row)
                })
                .collect()
        })
        .collect();
    Ok(blocks.into_iter().flatten().collect())
}

/// One value for each of the queries that flow side by side.
type Side = [f32; SIDE_BY_SIDE];

/// A graph whose rows stand in the order in which a walk along its links meets them first (Cuthill
/// and McKee, *Reducing the bandwidth of sparse symmetric matrices*, 1969), so that linked codes
/// lie near each other in memory.
struct Ordered {
    /// The code at each place.
    codes: Vec<u32>,
    /// The place of each code.
    places: Vec<u32>,
    /// Links between places, in the order of the codes.
    links: SparseRows,
}

impl Ordered {
    fn new(graph: &KnnGraph) -> Self {
        const UNSEEN: u32 = u32::MAX;
        let mut codes: Vec<u32> = Vec::with_capacity(graph.len());
        let mut places = vec![UNSEEN; graph.len()];
        let mut entries = 0;
        for first in 0..graph.len() {
            if places[first] != UNSEEN {
                continue;
            }
            let mut walked = codes.len();
            places[first] = walked as u32;
            codes.push(first as u32);
            while let Some(&code) = codes.get(walked) {
                let (links, _) = graph.row(code as usize);
                entries += links.len();
                for &link in links {
                    if places[link as usize] == UNSEEN {
                        places[link as usize] = codes.len() as u32;
                        codes.push(link);
                    }
                }
                walked += 1;
            }
        }
        let mut links = SparseRows::with_capacity(graph.len(), entries);
        for &code in &codes {
            let (row, weights) = graph.row(code as usize);
            for (&link, &weight) in row.iter().zip(weights) {
                links.push(places[link as usize], weight);
            }
            links.end_row();
        }
        Self {
            codes,
            places,
            links,
        }
    }

    /// Scores by place.
    fn diffuse(&self, config: &DiffusionConfig, starts: &[Vec<(usize, f32)>]) -> Vec<Side> {
        let mut from: Vec<Side> = vec![[0.0; SIDE_BY_SIDE]; self.codes.len()];
        for (column, start) in starts.iter().enumerate() {
            for &(index, weight) in start {
                from[self.places[index] as usize][column] += weight;
            }
        }
        let mut to = from.clone();
        for _ in 0..config.steps {
            for (place, sums) in to.iter_mut().enumerate() {
                let mut flow = [0.0; SIDE_BY_SIDE];
                let (links, weights) = self.links.row(place);
                for (&link, &weight) in links.iter().zip(weights) {
                    for (sum, value) in flow.iter_mut().zip(&from[link as usize]) {
                        *sum += weight * value;
                    }
                }
                for (sum, value) in sums.iter_mut().zip(flow) {
                    *sum = config.alpha * value;
                }
            }
            for (column, start) in starts.iter().enumerate() {
                for &(index, weight) in start {
                    to[self.places[index] as usize][column] += (1.0 - config.alpha) * weight;
                }
            }
            std::mem::swap(&mut from, &mut to);
        }
        from
    }
}
