//! How questions are answered, the same over every kind of store: what a store must be able to do
//! for that, and the steps that do not depend on it.

use std::sync::Arc;

use lookalike_neighbours::examples::{BACKGROUND, average, learned};
use lookalike_neighbours::{Codes, Metric, nearest};
use rayon::prelude::*;
use uuid::Uuid;

use crate::point::check_code;
use crate::recommendation::Between;
use crate::{
    Answer, Example, Filter, GalleryError, Hit, Mmr, Point, RecommendRequest, Rerank,
    SearchRequest, Strategy,
};

/// Points asked of an engine beyond those wanted: its distances are rounded, so among points almost
/// equally far it may be wrong about the last.
pub(crate) const SLACK: usize = 16;

/// What an engine is asked for.
pub(crate) trait Store {
    /// The metric that the index is built for.
    fn metric(&self) -> Metric;

    /// Length of the codes.
    fn dims(&self) -> usize;

    /// The `k` points nearest by the store's own metric, and whether every point was compared with.
    /// The order does not matter, and neither does `max_distance`.
    fn near(&self, wanted: &Wanted, k: usize) -> Result<(Vec<Point>, bool), GalleryError>;

    /// What of the whole an index gives that comes nearest to some examples and stays far from
    /// others, as candidates of [`Strategy::BestScore`]; nothing, if there is no index to trust.
    fn near_examples(
        &self,
        wanted: &Wanted,
        examples: &Examples,
        k: usize,
    ) -> Result<Option<Vec<Candidate>>, GalleryError>;

    /// All codes whose payloads pass.
    fn scan(&self, filter: Option<&Filter>) -> Result<Arc<Scan>, GalleryError>;

    /// The codes of the first points in the order of their ids, at most so many. Ids are hashes, so
    /// this is a fair sample.
    fn first_codes(&self, count: usize) -> Result<Vec<(Uuid, Vec<f32>)>, GalleryError>;

    /// The points of these ids that are there, in this order.
    fn points(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError>;

    /// Answers by diffusion.
    fn diffuse(
        &self,
        request: &SearchRequest,
        metric: Metric,
        answer: &mut Answer,
    ) -> Result<(), GalleryError>;
}

/// A point's distances from examples, and its id.
pub(crate) type Candidate = (Between, Uuid);

/// Codes of a gallery, in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) ids: Vec<Uuid>,
    codes: Vec<f32>,
}

impl Scan {
    pub(crate) fn push(&mut self, id: Uuid, code: &[f32]) {
        self.ids.push(id);
        self.codes.extend_from_slice(code);
    }

    pub(crate) fn codes(&self, dims: usize) -> Result<Codes<'_>, GalleryError> {
        Codes::new(&self.codes, dims).map_err(|e| GalleryError::BadRequest(e.to_string()))
    }
}

/// Points and their distances, nearest first, and whether every point was compared with.
pub(crate) struct Plain {
    pub(crate) found: Vec<(Point, f32)>,
    pub(crate) exact: bool,
}

/// What neighbours are wanted of a code.
pub(crate) struct Wanted<'a> {
    pub(crate) code: &'a [f32],
    pub(crate) metric: Metric,
    pub(crate) exact: bool,
    pub(crate) max_distance: Option<f32>,
    pub(crate) filter: Option<&'a Filter>,
    pub(crate) exclude: &'a [Uuid],
}

impl<'a> Wanted<'a> {
    pub(crate) fn of(request: &'a SearchRequest, metric: Metric) -> Self {
        Wanted {
            code: &request.code,
            metric,
            exact: request.exact,
            max_distance: request.max_distance,
            filter: request.filter.as_ref(),
            exclude: request.exclude.as_slice(),
        }
    }
}

/// Answers [`Gallery::search`](crate::Gallery::search).
pub(crate) fn search(store: &impl Store, request: &SearchRequest) -> Result<Answer, GalleryError> {
    check_code(&request.code, store.dims(), || "the query".into())?;
    check_distance(request.max_distance)?;
    if let Some(diverse) = &request.diverse {
        diverse.check()?;
        if request.rerank == Rerank::Diffusion {
            return Err(GalleryError::BadRequest(
                "diversity weighs distances, and diffusion puts another order in their place; ask for one of the two"
                    .into(),
            ));
        }
    }
    let own = store.metric();
    let metric = request.metric.unwrap_or(own);
    let mut answer = Answer {
        neighbours: Vec::new(),
        metric,
        exact: true,
        notes: Vec::new(),
    };
    if metric != own {
        answer.notes.push(match request.rerank {
            Rerank::None => other_metric(own, metric),
            Rerank::Diffusion => format!(
                "diffusion follows the gallery's {own} metric; {metric} only measures the distances, and orders what \
                 diffusion does not reach"
            ),
        });
    }
    if request.rerank == Rerank::Diffusion {
        store.diffuse(request, metric, &mut answer)?;
    } else {
        let wanted = Wanted::of(request, metric);
        let mut plain = match &request.diverse {
            Some(diverse) => plain(store, &wanted, request.k.max(diverse.candidates))?,
            None => plain(store, &wanted, request.k)?,
        };
        if let Some(diverse) = &request.diverse {
            plain.found = diversified(plain.found, diverse, metric, request.k);
        }
        answer.exact = plain.exact;
        answer.neighbours = plain.found.into_iter().map(|f| hit(f, None)).collect();
    }
    Ok(answer)
}

/// The `k` nearest that are wanted.
pub(crate) fn plain(store: &impl Store, wanted: &Wanted, k: usize) -> Result<Plain, GalleryError> {
    if k == 0 {
        return Ok(Plain {
            found: Vec::new(),
            exact: true,
        });
    }
    let (points, exact) = match wanted.metric == store.metric() {
        true => store.near(wanted, k)?,
        false => (scanned(store, wanted, k)?, true),
    };
    let mut found: Vec<_> = points
        .into_iter()
        .map(|point| (wanted.metric.distance(wanted.code, &point.code), point))
        .filter(|(distance, _)| wanted.max_distance.is_none_or(|max| *distance <= max))
        .map(|(distance, point)| (point, distance))
        .collect();
    found.sort_by(|(a, a_distance), (b, b_distance)| {
        a_distance.total_cmp(b_distance).then(a.id.cmp(&b.id))
    });
    found.truncate(k);
    Ok(Plain { found, exact })
}

/// The `k` nearest that are wanted, by comparing with every code.
fn scanned(store: &impl Store, wanted: &Wanted, k: usize) -> Result<Vec<Point>, GalleryError> {
    let dims = store.dims();
    let scan = store.scan(wanted.filter)?;
    let query =
        Codes::new(wanted.code, dims).map_err(|e| GalleryError::BadRequest(e.to_string()))?;
    let more = k.saturating_add(wanted.exclude.len());
    let nearest = nearest(scan.codes(dims)?, query, wanted.metric, more);
    let ids: Vec<_> = nearest
        .into_iter()
        .flatten()
        .map(|neighbour| scan.ids[neighbour.index])
        .filter(|id| !wanted.exclude.contains(id))
        .take(k)
        .collect();
    store.points(&ids)
}

/// The examples' codes, and the ids of those that are points.
pub(crate) struct Examples {
    pub(crate) like: Vec<Vec<f32>>,
    pub(crate) unlike: Vec<Vec<f32>>,
    ids: Vec<Uuid>,
}

impl Examples {
    fn of(store: &impl Store, request: &RecommendRequest) -> Result<Self, GalleryError> {
        let mut ids = Vec::new();
        let mut codes = |examples: &[Example]| {
            let code = |example: &Example| match example {
                Example::Code(code) => {
                    check_code(code, store.dims(), || "the code of an example".into())?;
                    Ok(code.clone())
                }
                Example::Id(id) => {
                    ids.push(*id);
                    let point = store.points(&[*id])?.pop();
                    point.map(|point| point.code).ok_or_else(|| {
                        GalleryError::BadRequest(format!(
                            "the example {id} is not in the gallery; give one that is, or its code"
                        ))
                    })
                }
            };
            examples.iter().map(code).collect::<Result<Vec<_>, _>>()
        };
        let like = codes(&request.like)?;
        let unlike = codes(&request.unlike)?;
        Ok(Examples { like, unlike, ids })
    }

    pub(crate) fn between(&self, code: &[f32], metric: Metric) -> Between {
        Between::new(code, &self.like, &self.unlike, metric)
    }
}

/// Answers [`Gallery::recommend`](crate::Gallery::recommend).
pub(crate) fn recommend(
    store: &impl Store,
    request: &RecommendRequest,
) -> Result<Answer, GalleryError> {
    check_distance(request.max_distance)?;
    if request.like.is_empty() {
        return Err(GalleryError::BadRequest(
            "a recommendation was asked for without an example of what is liked; give one".into(),
        ));
    }
    let own = store.metric();
    let metric = request.metric.unwrap_or(own);
    let examples = Examples::of(store, request)?;
    let code = match request.strategy {
        Strategy::Average => average(&examples.like, &examples.unlike, metric),
        Strategy::Learned => {
            let background = background(store, &examples)?;
            learned(&examples.like, &examples.unlike, &background, metric)
        }
        Strategy::BestScore => Vec::new(),
    };
    let wanted = Wanted {
        code: &code,
        metric,
        exact: request.exact,
        max_distance: request.max_distance,
        filter: request.filter.as_ref(),
        exclude: &examples.ids,
    };
    let (neighbours, exact) = match request.strategy {
        Strategy::Average | Strategy::Learned => {
            check_code(&code, store.dims(), || "the mean of the examples".into())?;
            let plain = plain(store, &wanted, request.k)?;
            let hits = plain.found.into_iter().map(|found| hit(found, None));
            (hits.collect(), plain.exact)
        }
        Strategy::BestScore => best_scores(store, &wanted, &examples, request.k)?,
    };
    let notes = (metric != own).then(|| other_metric(own, metric));
    Ok(Answer {
        neighbours,
        metric,
        exact,
        notes: notes.into_iter().collect(),
    })
}

/// Some of the gallery's codes, none of an example.
fn background(store: &impl Store, examples: &Examples) -> Result<Vec<Vec<f32>>, GalleryError> {
    let sample = store.first_codes(BACKGROUND)?.into_iter();
    let others = sample.filter(|(id, _)| !examples.ids.contains(id));
    Ok(others.map(|(_, code)| code).collect())
}

fn best_scores(
    store: &impl Store,
    wanted: &Wanted,
    examples: &Examples,
    k: usize,
) -> Result<(Vec<Hit>, bool), GalleryError> {
    if k == 0 {
        return Ok((Vec::new(), true));
    }
    let metric = wanted.metric;
    // An engine's scores are rounded so that far points are all equal, and it knows no largest
    // distance from the liked ones: it will do where the index is trusted, and nowhere else.
    let by_index = match wanted.exact || metric != store.metric() || wanted.max_distance.is_some() {
        true => None,
        false => store.near_examples(wanted, examples, k)?,
    };
    let exact = by_index.is_none();
    let mut near = match by_index {
        Some(near) => near,
        None => {
            let scan = store.scan(wanted.filter)?;
            let codes = scan.codes(store.dims())?;
            let all = (0..codes.len()).into_par_iter();
            all.map(|index| (examples.between(codes.row(index), metric), scan.ids[index]))
                .filter(|(_, id)| !wanted.exclude.contains(id))
                .filter(|(between, _)| wanted.max_distance.is_none_or(|max| between.liked <= max))
                .collect()
        }
    };
    near.sort_by(|a, b| a.0.order(&b.0).then(a.1.cmp(&b.1)));
    near.truncate(k);
    let ids: Vec<_> = near.into_iter().map(|(_, id)| id).collect();
    let points = store.points(&ids)?.into_iter();
    let mut found: Vec<(Between, Point)> = points
        .map(|point| (examples.between(&point.code, metric), point))
        .collect();
    // A point may have changed since.
    found.sort_by(|a, b| a.0.order(&b.0).then(a.1.id.cmp(&b.1.id)));
    let hits = found
        .into_iter()
        .map(|(between, point)| hit((point, between.liked), Some(between.score())));
    Ok((hits.collect(), exact))
}

fn check_distance(max: Option<f32>) -> Result<(), GalleryError> {
    match max.is_some_and(f32::is_nan) {
        true => Err(GalleryError::BadRequest(
            "the largest distance is not a number; give one, or leave it out".into(),
        )),
        false => Ok(()),
    }
}

/// What is said of an answer by another metric than the gallery's.
fn other_metric(own: Metric, metric: Metric) -> String {
    format!(
        "the gallery's index is for the {own} metric; for {metric} every point was compared with"
    )
}

/// The `k` of these, nearest first, that differ most among themselves.
fn diversified(
    found: Vec<(Point, f32)>,
    diverse: &Mmr,
    metric: Metric,
    k: usize,
) -> Vec<(Point, f32)> {
    let candidates: Vec<_> = found.iter().map(|(p, d)| (p.code.as_slice(), *d)).collect();
    let chosen = diverse.choose(&candidates, metric, k);
    let mut found: Vec<_> = found.into_iter().map(Some).collect();
    chosen
        .into_iter()
        .filter_map(|index| found[index].take())
        .collect()
}

pub(crate) fn hit((point, distance): (Point, f32), score: Option<f32>) -> Hit {
    Hit {
        id: point.id,
        distance,
        score,
        region: None,
        payload: point.payload,
    }
}
