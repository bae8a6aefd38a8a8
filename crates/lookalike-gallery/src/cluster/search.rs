//! Asking the cluster for neighbours.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lookalike_neighbours::Metric;
use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::{
    DenseVector, QuantizationSearchParams, Query, QueryPoints, RecommendInput, RecommendStrategy,
    RetrievedPoint, SearchParams, VectorInput, vector_input,
};
use uuid::Uuid;

use super::ClusterGallery;
use super::collection::{CODE, is_quantised};
use super::{points, query};
use crate::answering::{Candidate, Examples, SLACK, Scan, Store, Wanted};
use crate::{Answer, Filter, GalleryError, Point, SearchRequest};

/// How many points are read, at the most, to be compared or counted here.
pub(super) const MAX_READ: usize = 100_000;
/// Codes read at a time for a full scan.
const PAGE: usize = 10_000;
/// From so many neighbours on it is asked first how many there are: the cluster makes room for as
/// many as are wanted.
const MANY: usize = 10_000;
/// Width of the beam while searching, and where a filter may have left the graph thin; as in a
/// folder.
const HNSW_EF: usize = 64;
const HNSW_EF_FILTERED: usize = 192;
/// How many times as many as are wanted are taken by quantised codes, to be ranked by the codes as
/// they are.
const OVERSAMPLING: f64 = 4.0;

impl Store for ClusterGallery {
    fn metric(&self) -> Metric {
        self.manifest.metric
    }

    fn dims(&self) -> usize {
        self.manifest.dims
    }

    fn near(&self, wanted: &Wanted, k: usize) -> Result<(Vec<Point>, bool), GalleryError> {
        let exact = wanted.exact || !self.is_indexed()?;
        let query = Variant::Nearest(dense(wanted.code));
        let found = self.query(query, wanted, k)?;
        Ok((found, exact))
    }

    fn near_examples(
        &self,
        wanted: &Wanted,
        examples: &Examples,
        k: usize,
    ) -> Result<Option<Vec<Candidate>>, GalleryError> {
        // Few are better compared with one by one.
        if !self.is_indexed()? && self.passing(wanted.filter)? <= MAX_READ {
            return Ok(None);
        }
        let inputs = |codes: &[Vec<f32>]| codes.iter().map(|code| dense(code)).collect();
        let best = Variant::Recommend(RecommendInput {
            positive: inputs(&examples.like),
            negative: inputs(&examples.unlike),
            strategy: Some(RecommendStrategy::BestScore.into()),
        });
        // Those nearest to each liked example as well: the cluster's scores hardly tell points
        // apart that are far from all.
        let queries = examples
            .like
            .iter()
            .map(|code| Variant::Nearest(dense(code)));
        let mut near = HashMap::new();
        for query in queries.chain([best]) {
            let found = self.query(query, wanted, k)?;
            near.extend(found.into_iter().map(|point| (point.id, point.code)));
        }
        let near = near
            .into_iter()
            .map(|(id, code)| (examples.between(&code, wanted.metric), id));
        Ok(Some(near.collect()))
    }

    fn scan(&self, filter: Option<&Filter>) -> Result<Arc<Scan>, GalleryError> {
        self.check_readable(filter, "compared with one by one")?;
        let mut scan = Scan::default();
        loop {
            let last = scan.ids.last().copied();
            let page = self.page_of_codes(last, PAGE, filter)?;
            let is_last = page.len() < PAGE;
            page.iter().for_each(|(id, code)| scan.push(*id, code));
            if is_last {
                return Ok(Arc::new(scan));
            }
        }
    }

    fn first_codes(&self, count: usize) -> Result<Vec<(Uuid, Vec<f32>)>, GalleryError> {
        self.page_of_codes(None, count, None)
    }

    fn points(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError> {
        self.whole_points(ids)
    }

    fn diffuse(
        &self,
        _request: &SearchRequest,
        _metric: Metric,
        _answer: &mut Answer,
    ) -> Result<(), GalleryError> {
        Err(GalleryError::NotOnCluster {
            name: self.address.to_string(),
            detail: "re-ranking by diffusion needs a neighbour graph, which only galleries in folders have; search without \
                     it, or copy the gallery to a folder"
                .into(),
        })
    }
}

impl ClusterGallery {
    /// The codes of the next points in the order of their ids.
    fn page_of_codes(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<(Uuid, Vec<f32>)>, GalleryError> {
        let metric = self.manifest.metric;
        let page = self.page(
            after,
            limit,
            filter.map(query::filter),
            points::no_payload(),
            points::with_codes(metric),
        )?;
        let code = |found: RetrievedPoint| {
            let id = points::id(found.id)?;
            Ok((
                id,
                points::code(found.vectors, points::exact_vector(metric))?,
            ))
        };
        let codes = page.into_iter().map(code).collect::<Result<_, _>>();
        codes.map_err(|why| self.strange(why))
    }

    /// Refuses to read more points than can be read here.
    pub(super) fn check_readable(
        &self,
        filter: Option<&Filter>,
        doing: &str,
    ) -> Result<(), GalleryError> {
        let passing = self.passing(filter)?;
        match passing <= MAX_READ {
            true => Ok(()),
            false => Err(GalleryError::NotOnCluster {
                name: self.address.to_string(),
                detail: format!(
                    "{passing} points would have to be read to be {doing}, and no more than {MAX_READ} are; search by the \
                     gallery's own {} metric, or let a filter leave fewer",
                    self.manifest.metric
                ),
            }),
        }
    }

    /// Whether the index is trusted when it is not said otherwise: without one, every point is
    /// compared with.
    fn is_indexed(&self) -> Result<bool, GalleryError> {
        // It is hardly ever given up again, and then this is on the safe side.
        if !self.indexed.load(Ordering::Relaxed) {
            let info = self.collection().present()?;
            let indexed = info.indexed_vectors_count.unwrap_or(0) > 0;
            let quantised = is_quantised(&info);
            self.quantised.store(quantised, Ordering::Relaxed);
            self.indexed.store(indexed, Ordering::Relaxed);
        }
        Ok(self.indexed.load(Ordering::Relaxed))
    }

    /// The points that the cluster finds, some more than `k`.
    fn query(&self, query: Variant, wanted: &Wanted, k: usize) -> Result<Vec<Point>, GalleryError> {
        let mut limit = k.saturating_add(SLACK);
        if limit > MANY {
            limit = limit.min(self.passing(wanted.filter)?.max(1));
        }
        let ef = match wanted.filter {
            Some(_) => HNSW_EF_FILTERED,
            None => HNSW_EF,
        };
        let quantization =
            self.quantised
                .load(Ordering::Relaxed)
                .then_some(QuantizationSearchParams {
                    ignore: Some(wanted.exact),
                    rescore: Some(true),
                    oversampling: Some(OVERSAMPLING),
                });
        let request = QueryPoints {
            collection_name: self.collection_name().to_owned(),
            query: Some(Query {
                variant: Some(query),
            }),
            using: Some(CODE.to_owned()),
            filter: query::admitted(wanted.filter, wanted.exclude),
            params: Some(SearchParams {
                hnsw_ef: Some(limit.max(ef) as u64),
                exact: Some(wanted.exact),
                quantization,
                ..SearchParams::default()
            }),
            limit: Some(limit as u64),
            with_payload: points::without_thumbnails(),
            with_vectors: points::with_codes(self.manifest.metric),
            ..QueryPoints::default()
        };
        let found = self.connection.read("searching", move |client| {
            let request = request.clone();
            async move { client.query(request).await }
        })?;
        let found = found.result.into_iter();
        found
            .map(|found| points::scored(found, self.manifest.metric))
            .collect::<Result<_, _>>()
            .map_err(|why| self.strange(why))
    }
}

fn dense(code: &[f32]) -> VectorInput {
    let data = code.to_vec();
    VectorInput {
        variant: Some(vector_input::Variant::Dense(DenseVector { data })),
    }
}
