//! Answering a question by examples.

use std::collections::HashMap;

use qdrant_edge::{NamedQuery, QueryEnum, RecommendQuery, VectorInternal};
use rayon::prelude::*;
use uuid::Uuid;

use super::EmbeddedGallery;
use super::search::{SLACK, Wanted, hit, other_metric};
use super::settings::CODE;
use super::shard::{Found, nearest_to};
use crate::point::check_code;
use crate::recommendation::{Between, average};
use crate::{Answer, Example, GalleryError, Hit, RecommendRequest, Strategy};

/// The examples' codes, and the ids of those that are points.
struct Examples {
    like: Vec<Vec<f32>>,
    unlike: Vec<Vec<f32>>,
    ids: Vec<Uuid>,
}

impl EmbeddedGallery {
    pub(super) fn recommended(&self, request: &RecommendRequest) -> Result<Answer, GalleryError> {
        super::search::check_distance(request.max_distance)?;
        if request.like.is_empty() {
            return Err(GalleryError::BadRequest(
                "a recommendation was asked for without an example of what is liked; give one"
                    .into(),
            ));
        }
        let own = self.manifest.metric;
        let metric = request.metric.unwrap_or(own);
        let examples = self.examples(request)?;
        let average = match request.strategy {
            Strategy::Average => average(&examples.like, &examples.unlike, metric),
            Strategy::BestScore => Vec::new(),
        };
        let wanted = Wanted {
            code: &average,
            metric,
            exact: request.exact,
            max_distance: request.max_distance,
            filter: request.filter.as_ref(),
            exclude: &examples.ids,
        };
        let (neighbours, exact) = match request.strategy {
            Strategy::Average => {
                check_code(&average, self.manifest.dims, || {
                    "the mean of the examples".into()
                })?;
                let plain = self.plain(&wanted, request.k)?;
                let hits = plain.found.into_iter().map(|found| hit(found, None));
                (hits.collect(), plain.exact)
            }
            Strategy::BestScore => self.best_scores(&wanted, &examples, request.k)?,
        };
        let notes = (metric != own).then(|| other_metric(own, metric));
        Ok(Answer {
            neighbours,
            metric,
            exact,
            notes: notes.into_iter().collect(),
        })
    }

    fn examples(&self, request: &RecommendRequest) -> Result<Examples, GalleryError> {
        let mut ids = Vec::new();
        let mut codes = |examples: &[Example]| {
            let code = |example: &Example| match example {
                Example::Code(code) => {
                    check_code(code, self.manifest.dims, || "the code of an example".into())?;
                    Ok(code.clone())
                }
                Example::Id(id) => {
                    ids.push(*id);
                    let found = self.read(|shard| shard.retrieve(&[*id]))?.pop();
                    found.map(|found| found.code).ok_or_else(|| {
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

    fn best_scores(
        &self,
        wanted: &Wanted,
        examples: &Examples,
        k: usize,
    ) -> Result<(Vec<Hit>, bool), GalleryError> {
        if k == 0 {
            return Ok((Vec::new(), true));
        }
        let metric = wanted.metric;
        let between = |code: &[f32]| Between::new(code, &examples.like, &examples.unlike, metric);
        // The engine's scores are rounded so that far points are all equal, and it knows no largest
        // distance from the liked ones: it will do where the index is trusted, and nowhere else.
        let by_index = !wanted.exact
            && metric == self.manifest.metric
            && wanted.max_distance.is_none()
            && self.read(|shard| shard.size())?.built > 0;
        let mut near = if by_index {
            self.near_examples(wanted, examples, k)?
        } else {
            let scan = self.scan_of(wanted.filter)?;
            let codes = scan.codes(self.manifest.dims)?;
            let all = (0..codes.len()).into_par_iter();
            all.map(|index| (between(codes.row(index)), scan.ids[index]))
                .filter(|(_, id)| !wanted.exclude.contains(id))
                .filter(|(between, _)| wanted.max_distance.is_none_or(|max| between.liked <= max))
                .collect()
        };
        near.sort_by(|a, b| a.0.order(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(k);
        let ids: Vec<_> = near.into_iter().map(|(_, id)| id).collect();
        let found = self.read(|shard| shard.retrieve(&ids))?;
        let mut found: Vec<(Between, Found)> =
            found.into_iter().map(|f| (between(&f.code), f)).collect();
        // A point may have changed since.
        found.sort_by(|a, b| a.0.order(&b.0).then(a.1.id.cmp(&b.1.id)));
        let hits = found
            .into_iter()
            .map(|(between, found)| hit((found, between.liked), Some(between.score())));
        Ok((hits.collect(), !by_index))
    }

    /// The points of best score by the engine's index and reckoning, and those nearest to each liked
    /// example: the engine's scores hardly tell points apart that are far from all.
    fn near_examples(
        &self,
        wanted: &Wanted,
        examples: &Examples,
        k: usize,
    ) -> Result<Vec<(Between, Uuid)>, GalleryError> {
        let (like, unlike) = (&examples.like, &examples.unlike);
        let vectors = |codes: &[Vec<f32>]| -> Vec<_> {
            codes.iter().cloned().map(VectorInternal::Dense).collect()
        };
        let query = RecommendQuery::new(vectors(like), vectors(unlike));
        let query = QueryEnum::RecommendBestScore(NamedQuery::new(query, CODE));
        let queries = like.iter().map(|code| nearest_to(code));
        let queries: Vec<_> = queries.chain([query]).collect();
        self.read(|shard| {
            let limit = k.saturating_add(SLACK).min(shard.size()?.points.max(1));
            let mut near = HashMap::new();
            for query in queries {
                let found = shard.nearest(query, limit, wanted.filter, wanted.exclude, false)?;
                near.extend(found);
            }
            let near = near
                .into_iter()
                .map(|(id, code)| (Between::new(&code, like, unlike, wanted.metric), id));
            Ok(near.collect())
        })
    }
}
