//! Precision and mean average precision.

use std::collections::HashMap;
use std::hash::Hash;

use lookalike_neighbours::{
    Codes, CodesError, DiffusionConfig, GraphError, KnnGraph, Metric, map_diffused, map_distances,
    nearest,
};
use serde::Serialize;
use thiserror::Error;

/// Why an evaluation could not be made.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum EvalError {
    /// Labels and codes do not go together.
    #[error("{labels} labels were given for {codes} codes: there must be one for each")]
    Labels {
        /// Number of labels.
        labels: usize,
        /// Number of codes.
        codes: usize,
    },
    /// Queries of another model than the gallery.
    #[error(
        "the queries have {queries} dimensions and the gallery {gallery}: \
         encode both with the same model"
    )]
    Dims {
        /// Dimensions of the queries.
        queries: usize,
        /// Dimensions of the gallery.
        gallery: usize,
    },
    /// Nothing to answer with, or nothing to ask.
    #[error("evaluating needs a query and at least one other image, got {images} images")]
    TooFew {
        /// Images in the gallery.
        images: usize,
    },
    /// Vectors that have no distances.
    #[error("the codes cannot be compared: {0}")]
    Codes(#[from] CodesError),
    /// The re-ranking could not be set up.
    #[error("re-ranking failed: {0}")]
    Graph(#[from] GraphError),
}

/// Codes and the label of each.
#[derive(Debug)]
pub struct Labelled<'a, L> {
    codes: Codes<'a>,
    labels: &'a [L],
}

impl<L> Clone for Labelled<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Labelled<'_, L> {}

impl<'a, L> Labelled<'a, L> {
    /// Puts `codes` and `labels` together.
    ///
    /// # Errors
    /// If their numbers differ.
    pub fn new(codes: Codes<'a>, labels: &'a [L]) -> Result<Self, EvalError> {
        match codes.len() == labels.len() {
            true => Ok(Self { codes, labels }),
            false => Err(EvalError::Labels {
                labels: labels.len(),
                codes: codes.len(),
            }),
        }
    }

    /// The codes.
    pub fn codes(&self) -> Codes<'a> {
        self.codes
    }

    /// One label for each code.
    pub fn labels(&self) -> &'a [L] {
        self.labels
    }
}

/// How to evaluate.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Options {
    /// Rank by diffusion on the gallery's neighbour graph instead of by distance.
    pub rerank: Option<DiffusionConfig>,
}

/// What came out. Shares and means lie between 0 and 1.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Scores {
    /// Images in the gallery.
    pub images: usize,
    /// Queries asked.
    pub queries: usize,
    /// Dimensions of a code.
    pub dims: usize,
    /// Share of queries whose first answer is right.
    pub precision_at_1: f64,
    /// Share of right answers among the first five.
    pub precision_at_5: f64,
    /// Share of queries whose first five answers are all right.
    pub all_5: f64,
    /// Mean average precision over the whole ranking, of the queries that have a right answer.
    pub map: f64,
}

/// Asks with every query and scores the answers: an answer is right when its label equals the
/// query's.
///
/// Without `queries`, the gallery asks itself: each code is a query against all others (leave one
/// out). Precision is over the exact neighbours, and average precision (the mean, over the right
/// answers, of the precision down to each) over the ranking of the whole gallery. A query whose
/// class has no other member counts as wrong in the precisions, and is left out of the mean
/// average precision, where it has no value; if that leaves no query, `map` is 0.
///
/// With [`Options::rerank`], codes are ranked by what diffusion from the query brings them, and
/// those it does not reach follow by distance.
///
/// # Errors
/// If there is nothing to ask or to answer with, if dimensions differ, or if the settings of the
/// re-ranking cannot work.
pub fn evaluate<L: Eq + Hash + Sync>(
    gallery: Labelled<L>,
    queries: Option<Labelled<L>>,
    metric: Metric,
    options: &Options,
) -> Result<Scores, EvalError> {
    let asked = queries.unwrap_or(gallery);
    if asked.codes.dims() != gallery.codes.dims() {
        return Err(EvalError::Dims {
            queries: asked.codes.dims(),
            gallery: gallery.codes.dims(),
        });
    }
    let others = gallery.codes.len() - usize::from(queries.is_none()).min(gallery.codes.len());
    if others == 0 || asked.codes.is_empty() {
        return Err(EvalError::TooFew {
            images: gallery.codes.len(),
        });
    }
    let own = queries
        .is_none()
        .then(|| (0..gallery.codes.len()).collect());
    let task = Task::new(gallery, asked, own, metric);
    let judged = match options.rerank {
        None => task.by_distance(asked.codes.len(), |_| {}),
        Some(config) => task.by_diffusion(&config)?,
    };
    Ok(summary(&judged, gallery.codes, asked.codes.len()))
}

/// Asks a gallery with some of its own codes, given as their `rows`, each left out of its own
/// answer. The figures mean what those of [`evaluate`] mean; they are the same if the rows are all
/// there are. `progress` hears how many queries have been scored.
///
/// # Errors
/// If there is nothing to ask or to answer with.
///
/// # Panics
/// If the gallery has no such row.
pub fn evaluate_rows<L: Eq + Hash + Sync>(
    gallery: Labelled<L>,
    rows: &[usize],
    metric: Metric,
    progress: impl FnMut(usize),
) -> Result<Scores, EvalError> {
    if gallery.codes.len() < 2 || rows.is_empty() {
        return Err(EvalError::TooFew {
            images: gallery.codes.len(),
        });
    }
    let codes = rows.iter().flat_map(|&row| gallery.codes.row(row));
    let codes: Vec<f32> = codes.copied().collect();
    let labels: Vec<&L> = rows.iter().map(|&row| &gallery.labels[row]).collect();
    let all: Vec<&L> = gallery.labels.iter().collect();
    let codes = Codes::new(&codes, gallery.codes.dims())?;
    let task = Task::new(
        Labelled::new(gallery.codes, &all)?,
        Labelled::new(codes, &labels)?,
        Some(rows.to_vec()),
        metric,
    );
    let judged = task.by_distance(QUERIES, progress);
    Ok(summary(&judged, gallery.codes, rows.len()))
}

/// How well one query was answered.
struct QueryScore {
    /// Which of the first five answers are right.
    right: [bool; 5],
    average_precision: Option<f64>,
}

struct Task<'a> {
    gallery: Codes<'a>,
    queries: Codes<'a>,
    /// Where the gallery has each query, if they are its own: those are left out of their answers.
    own: Option<Vec<usize>>,
    metric: Metric,
    /// Numbers in place of labels.
    gallery_classes: Vec<usize>,
    query_classes: Vec<usize>,
}

/// Scores held at a time while re-ranking, in floats.
const SCORES: usize = 16 << 20;
/// Queries answered between two looks at the progress, where anybody looks.
const QUERIES: usize = 1024;

impl<'a> Task<'a> {
    fn new<L: Eq + Hash>(
        gallery: Labelled<'a, L>,
        queries: Labelled<'a, L>,
        own: Option<Vec<usize>>,
        metric: Metric,
    ) -> Self {
        let mut numbers = HashMap::new();
        let mut number = |label| {
            let next = numbers.len();
            *numbers.entry(label).or_insert(next)
        };
        Self {
            gallery: gallery.codes,
            queries: queries.codes,
            own,
            metric,
            gallery_classes: gallery.labels.iter().map(&mut number).collect(),
            query_classes: queries.labels.iter().map(&mut number).collect(),
        }
    }

    /// So many queries `together`, at least 1; then `progress` hears how many are done.
    fn by_distance(&self, together: usize, mut progress: impl FnMut(usize)) -> Vec<QueryScore> {
        let mut judged = Vec::with_capacity(self.queries.len());
        for start in (0..self.queries.len()).step_by(together) {
            let end = (start + together).min(self.queries.len());
            let queries = self.queries.rows(start, end);
            // One more where the query itself will be among them.
            let k = 5 + usize::from(self.own.is_some());
            let answers = nearest(self.gallery, queries, self.metric, k);
            judged.extend(map_distances(
                self.gallery,
                queries,
                self.metric,
                |at, row| {
                    let query = start + at;
                    let order = self.order(query, |index| ascending(row[index]));
                    let mut judged = self.judge(query, &order);
                    // The first five are told apart exactly, the rest of the ranking almost so.
                    let first = answers[at].iter().map(|n| n.index);
                    let first = first.filter(|&index| !self.is_own(query, index));
                    let first: Vec<u32> = first.map(|index| index as u32).collect();
                    judged.right = self.right(query, &first);
                    judged
                },
            ));
            progress(end);
        }
        judged
    }

    fn is_own(&self, query: usize, index: usize) -> bool {
        self.own.as_ref().is_some_and(|own| own[query] == index)
    }

    fn by_diffusion(&self, config: &DiffusionConfig) -> Result<Vec<QueryScore>, EvalError> {
        let graph = KnnGraph::build(self.gallery, self.metric, config)?;
        let mut judged = Vec::with_capacity(self.queries.len());
        let block = (SCORES / self.gallery.len()).max(64);
        for first in (0..self.queries.len()).step_by(block) {
            let end = (first + block).min(self.queries.len());
            let queries = self.queries.rows(first, end);
            let starts: Vec<Vec<(usize, f32)>> = match &self.own {
                Some(own) => own[first..end].iter().map(|&at| vec![(at, 1.0)]).collect(),
                None => nearest(self.gallery, queries, self.metric, config.neighbours)
                    .iter()
                    .map(|neighbours| graph.start(neighbours))
                    .collect(),
            };
            let scores = map_diffused(
                &graph,
                config,
                queries.len(),
                |query| starts[query].clone(),
                |_, scores| scores.to_vec(),
            )?;
            judged.extend(map_distances(
                self.gallery,
                queries,
                self.metric,
                |query, row| {
                    let scores = &scores[query];
                    let order = self.order(first + query, |index| match scores[index] > 0.0 {
                        true => ascending(-scores[index]),
                        false => u64::from(u32::MAX) + 1 + ascending(row[index]),
                    });
                    self.judge(first + query, &order)
                },
            ));
        }
        Ok(judged)
    }

    /// The gallery without the query itself, by `key` (below 2^33) and then index.
    fn order(&self, query: usize, key: impl Fn(usize) -> u64) -> Vec<u32> {
        let mut keyed: Vec<u64> = (0..self.gallery.len())
            .filter(|&index| !self.is_own(query, index))
            .map(|index| key(index) << 31 | index as u64)
            .collect();
        keyed.sort_unstable();
        let index = |keyed: u64| (keyed & 0x7fff_ffff) as u32;
        keyed.into_iter().map(index).collect()
    }

    fn judge(&self, query: usize, order: &[u32]) -> QueryScore {
        let class = self.query_classes[query];
        let (mut right, mut sum) = (0usize, 0.0);
        for (place, &index) in order.iter().enumerate() {
            if self.gallery_classes[index as usize] == class {
                right += 1;
                sum += right as f64 / (place + 1) as f64;
            }
        }
        QueryScore {
            right: self.right(query, order),
            average_precision: (right > 0).then(|| sum / right as f64),
        }
    }

    fn right(&self, query: usize, order: &[u32]) -> [bool; 5] {
        let mut right = [false; 5];
        for (right, &index) in right.iter_mut().zip(order) {
            *right = self.gallery_classes[index as usize] == self.query_classes[query];
        }
        right
    }
}

/// Bits that order as unsigned numbers as the floats do.
fn ascending(value: f32) -> u64 {
    // Zero has two signs but one place.
    let bits = (value + 0.0).to_bits();
    let flip = if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
    u64::from(bits ^ flip)
}

fn summary(judged: &[QueryScore], gallery: Codes, queries: usize) -> Scores {
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let rights = |verdict: &QueryScore| verdict.right.iter().filter(|&&right| right).count();
    let precisions: Vec<f64> = judged.iter().filter_map(|v| v.average_precision).collect();
    Scores {
        images: gallery.len(),
        queries,
        dims: gallery.dims(),
        precision_at_1: share(judged.iter().filter(|v| v.right[0]).count(), queries),
        precision_at_5: share(judged.iter().map(rights).sum(), 5 * queries),
        all_5: share(judged.iter().filter(|v| rights(v) == 5).count(), queries),
        // The sum of nothing is -0, which would show.
        map: (0.0 + precisions.iter().sum::<f64>()) / precisions.len().max(1) as f64,
    }
}
