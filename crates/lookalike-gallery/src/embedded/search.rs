//! Answering a search: by the codes in memory, by the engine, by comparing with every code, and by
//! diffusion.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use lookalike_neighbours::Metric;
use qdrant_edge::{NamedQuery, QueryEnum, RecommendQuery, VectorInternal};
use uuid::Uuid;

use super::EmbeddedGallery;
use super::diffusion::DiffusionFile;
use super::settings::CODE;
use super::shard::nearest_to;
use crate::answering::{Candidate, Examples, SLACK, Scan, Store, Wanted, hit, plain};
use crate::{Answer, DiffusionState, Filter, GalleryError, Point, SearchRequest};

/// Codes read at a time for a full scan.
const PAGE: usize = 10_000;
/// Candidates of diffusion looked up at a time, at least.
const CANDIDATES: usize = 64;

impl Store for EmbeddedGallery {
    fn metric(&self) -> Metric {
        self.manifest.metric
    }

    fn dims(&self) -> usize {
        self.manifest.dims
    }

    fn near(&self, wanted: &Wanted, k: usize) -> Result<(Vec<Point>, bool), GalleryError> {
        if let Some(near) = self.screened(wanted, k)? {
            return Ok((near, true));
        }
        self.read(|shard| {
            let size = shard.size()?;
            let limit = k.saturating_add(SLACK).min(size.points.max(1));
            let near = shard.nearest(
                nearest_to(wanted.code),
                limit,
                wanted.filter,
                wanted.exclude,
                wanted.exact,
            )?;
            let mut near: Vec<_> = near
                .into_iter()
                .map(|(id, code)| (wanted.metric.distance(wanted.code, &code), id))
                .collect();
            near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            // Payloads are read of those alone that are wanted.
            let ids: Vec<_> = near.into_iter().take(k).map(|(_, id)| id).collect();
            Ok((shard.retrieve(&ids)?, wanted.exact || size.built == 0))
        })
    }

    /// The points of best score by the engine's index and reckoning, and those nearest to each
    /// liked example: the engine's scores hardly tell points apart that are far from all.
    fn near_examples(
        &self,
        wanted: &Wanted,
        examples: &Examples,
        k: usize,
    ) -> Result<Option<Vec<Candidate>>, GalleryError> {
        let vectors = |codes: &[Vec<f32>]| -> Vec<_> {
            codes.iter().cloned().map(VectorInternal::Dense).collect()
        };
        let query = RecommendQuery::new(vectors(&examples.like), vectors(&examples.unlike));
        let query = QueryEnum::RecommendBestScore(NamedQuery::new(query, CODE));
        let queries = examples.like.iter().map(|code| nearest_to(code));
        let queries: Vec<_> = queries.chain([query]).collect();
        self.read(|shard| {
            let size = shard.size()?;
            if size.built == 0 {
                return Ok(None);
            }
            let limit = k.saturating_add(SLACK).min(size.points.max(1));
            let mut near = HashMap::new();
            for query in queries {
                let found = shard.nearest(query, limit, wanted.filter, wanted.exclude, false)?;
                near.extend(found);
            }
            let near = near
                .into_iter()
                .map(|(id, code)| (examples.between(&code, wanted.metric), id));
            Ok(Some(near.collect()))
        })
    }

    fn scan(&self, filter: Option<&Filter>) -> Result<Arc<Scan>, GalleryError> {
        let scan = self.all_codes()?;
        match filter {
            Some(filter) => self.subset(&scan, filter),
            None => Ok(scan),
        }
    }

    fn first_codes(&self, count: usize) -> Result<Vec<(Uuid, Vec<f32>)>, GalleryError> {
        self.read(|shard| shard.scroll_codes(None, count))
    }

    fn points(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError> {
        self.read(|shard| shard.retrieve(ids))
    }

    /// Ranks by diffusion: from the query's own row where it is in the gallery, else from its
    /// nearest points; what diffusion does not reach follows by distance.
    fn diffuse(
        &self,
        request: &SearchRequest,
        metric: Metric,
        answer: &mut Answer,
    ) -> Result<(), GalleryError> {
        // Rows are cut off, so there is always a point that was never compared with.
        answer.exact = false;
        let file = self.diffusion_file()?;
        if self.diffusion_flags() == DiffusionState::Stale {
            answer.notes.push(
                "points have changed since the neighbour graph was built: new ones follow, by distance, \
                 after those that diffusion reaches, and changed ones keep their old neighbours; build \
                 it again for the best order"
                    .into(),
            );
        }
        let start = SearchRequest {
            exact: request.exact,
            ..SearchRequest::new(request.code.clone(), file.config().neighbours)
        };
        let start = plain(self, &Wanted::of(&start, self.manifest.metric), start.k)?;
        let ranked = self
            .ranked(&file, request, &start.found)
            .inspect_err(|error| self.noticed(error))?;
        self.admit(request, metric, &ranked, answer)?;
        let missing = request.k - answer.neighbours.len();
        if missing > 0 {
            let have: HashSet<Uuid> = answer.neighbours.iter().map(|hit| hit.id).collect();
            let wanted = Wanted::of(request, metric);
            let rest = plain(self, &wanted, request.k.saturating_add(have.len()))?;
            let rest = rest
                .found
                .into_iter()
                .filter(|(f, _)| !have.contains(&f.id));
            answer
                .neighbours
                .extend(rest.take(missing).map(|f| hit(f, None)));
        }
        Ok(())
    }
}

impl EmbeddedGallery {
    /// All codes, read once and kept until something changes.
    pub(super) fn all_codes(&self) -> Result<Arc<Scan>, GalleryError> {
        let mut kept = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation.load(Ordering::SeqCst);
        if let Some((of, scan)) = &*kept
            && *of == generation
        {
            return Ok(Arc::clone(scan));
        }
        // The old one goes before the new one comes: each may be large.
        *kept = None;
        let mut scan = Scan::default();
        self.each_code(|id, code| scan.push(id, code))?;
        let scan = Arc::new(scan);
        *kept = Some((generation, Arc::clone(&scan)));
        Ok(scan)
    }

    /// The codes whose payloads pass a filter.
    fn subset(&self, scan: &Scan, filter: &Filter) -> Result<Arc<Scan>, GalleryError> {
        let codes = scan.codes(self.manifest.dims)?;
        let mut subset = Scan::default();
        // Points may have been added since the scan.
        self.each_passing(filter, |id| {
            if let Ok(index) = scan.ids.binary_search(&id) {
                subset.push(id, codes.row(index));
            }
        })?;
        Ok(Arc::new(subset))
    }

    /// Visits all codes, in the order of their ids.
    pub(super) fn each_code(
        &self,
        mut visit: impl FnMut(Uuid, &[f32]),
    ) -> Result<(), GalleryError> {
        let mut last = None;
        loop {
            let page = self.read(|shard| shard.scroll_codes(last, PAGE))?;
            last = page.last().map(|(id, _)| *id);
            page.iter().for_each(|(id, code)| visit(*id, code));
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Visits the ids of all points whose payloads pass a filter, in their order.
    pub(super) fn each_passing(
        &self,
        filter: &Filter,
        mut visit: impl FnMut(Uuid),
    ) -> Result<(), GalleryError> {
        let mut last = None;
        loop {
            let page = self.read(|shard| shard.scroll_ids(last, PAGE, Some(filter)))?;
            last = page.last().copied();
            page.iter().for_each(|id| visit(*id));
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    fn ranked(
        &self,
        file: &DiffusionFile,
        request: &SearchRequest,
        nearest: &[(Point, f32)],
    ) -> Result<Vec<(Uuid, f32)>, GalleryError> {
        let excluded = match request.exclude {
            Some(id) => self.points(&[id])?,
            None => Vec::new(),
        };
        let own = excluded
            .iter()
            .chain(nearest.iter().map(|(found, _)| found))
            .filter(|found| found.code == request.code)
            .find_map(|found| file.index(found.id));
        if let Some(own) = own {
            return file.reached_from_point(own);
        }
        let nearest: Vec<_> = nearest
            .iter()
            .filter_map(|(found, distance)| Some((file.index(found.id)?, *distance)))
            .collect();
        file.reached_from_outside(&nearest)
    }

    /// Fills the answer with the first `k` of `ranked` that the request admits.
    fn admit(
        &self,
        request: &SearchRequest,
        metric: Metric,
        ranked: &[(Uuid, f32)],
        answer: &mut Answer,
    ) -> Result<(), GalleryError> {
        for page in ranked.chunks(request.k.saturating_mul(2).max(CANDIDATES)) {
            let ids: Vec<_> = page.iter().map(|(id, _)| *id).collect();
            let found = self.points(&ids)?;
            let mut scores = page.iter();
            for found in found {
                // Points that were deleted since are missing from `found`, otherwise the order is
                // one.
                let score = scores
                    .find(|(id, _)| *id == found.id)
                    .map(|(_, score)| *score);
                let distance = metric.distance(&request.code, &found.code);
                let admitted = request.exclude != Some(found.id)
                    && request.max_distance.is_none_or(|max| distance <= max)
                    && request
                        .filter
                        .as_ref()
                        .is_none_or(|filter| filter.matches(&found.payload));
                if answer.neighbours.len() == request.k {
                    return Ok(());
                }
                if admitted {
                    answer.neighbours.push(hit((found, distance), score));
                }
            }
        }
        Ok(())
    }
}
