//! Answering a search: by the engine, by comparing with every code, and by diffusion.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use lookalike_neighbours::{Codes, Metric, nearest};
use uuid::Uuid;

use super::EmbeddedGallery;
use super::diffusion::DiffusionFile;
use super::shard::{Found, nearest_to};
use crate::point::check_code;
use crate::{Answer, DiffusionState, Filter, GalleryError, Hit, Mmr, Rerank, SearchRequest};

/// Points asked of the engine beyond those wanted: its distances are rounded, so among points almost
/// equally far it may be wrong about the last.
pub(super) const SLACK: usize = 16;
/// Codes read at a time for a full scan.
const PAGE: usize = 10_000;
/// Candidates of diffusion looked up at a time, at least.
const CANDIDATES: usize = 64;

/// All codes of a gallery, in the order of their ids.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) ids: Vec<Uuid>,
    codes: Vec<f32>,
}

impl Scan {
    pub(super) fn codes(&self, dims: usize) -> Result<Codes<'_>, GalleryError> {
        Codes::new(&self.codes, dims).map_err(|e| GalleryError::BadRequest(e.to_string()))
    }
}

/// Points and their distances, nearest first, and whether every point was compared with.
pub(super) struct Plain {
    pub(super) found: Vec<(Found, f32)>,
    pub(super) exact: bool,
}

/// What neighbours are wanted of a code.
pub(super) struct Wanted<'a> {
    pub(super) code: &'a [f32],
    pub(super) metric: Metric,
    pub(super) exact: bool,
    pub(super) max_distance: Option<f32>,
    pub(super) filter: Option<&'a Filter>,
    pub(super) exclude: &'a [Uuid],
}

impl<'a> Wanted<'a> {
    fn of(request: &'a SearchRequest, metric: Metric) -> Self {
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

impl EmbeddedGallery {
    pub(super) fn answer(&self, request: &SearchRequest) -> Result<Answer, GalleryError> {
        check_code(&request.code, self.manifest.dims, || "the query".into())?;
        check_distance(request.max_distance)?;
        if let Some(diverse) = &request.diverse {
            diverse.check()?;
            if request.rerank == Rerank::Diffusion {
                return Err(GalleryError::BadRequest(
                    "diversity weighs distances, and diffusion puts another order in their place; ask \
                     for one of the two"
                        .into(),
                ));
            }
        }
        let metric = request.metric.unwrap_or(self.manifest.metric);
        let mut answer = Answer {
            neighbours: Vec::new(),
            metric,
            exact: true,
            notes: Vec::new(),
        };
        if metric != self.manifest.metric {
            let own = self.manifest.metric;
            answer.notes.push(match request.rerank {
                Rerank::None => other_metric(own, metric),
                Rerank::Diffusion => format!(
                    "diffusion follows the gallery's {own} metric; {metric} only measures the distances, \
                     and orders what diffusion does not reach"
                ),
            });
        }
        if request.rerank == Rerank::Diffusion {
            self.diffuse(request, metric, &mut answer)?;
        } else {
            let wanted = Wanted::of(request, metric);
            let mut plain = match &request.diverse {
                Some(diverse) => self.plain(&wanted, request.k.max(diverse.candidates))?,
                None => self.plain(&wanted, request.k)?,
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
    pub(super) fn plain(&self, wanted: &Wanted, k: usize) -> Result<Plain, GalleryError> {
        let metric = wanted.metric;
        if k == 0 {
            return Ok(Plain {
                found: Vec::new(),
                exact: true,
            });
        }
        let (found, exact) = if metric == self.manifest.metric {
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
                    .map(|(id, code)| (metric.distance(wanted.code, &code), id))
                    .collect();
                near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let ids: Vec<_> = near.into_iter().take(k).map(|(_, id)| id).collect();
                Ok((shard.retrieve(&ids)?, wanted.exact || size.built == 0))
            })?
        } else {
            (self.scanned(wanted, k)?, true)
        };
        let mut found: Vec<_> = found
            .into_iter()
            .map(|f| (metric.distance(wanted.code, &f.code), f))
            .filter(|(distance, _)| wanted.max_distance.is_none_or(|max| *distance <= max))
            .map(|(distance, f)| (f, distance))
            .collect();
        found.sort_by(|(a, a_distance), (b, b_distance)| {
            a_distance.total_cmp(b_distance).then(a.id.cmp(&b.id))
        });
        found.truncate(k);
        Ok(Plain { found, exact })
    }

    /// The `k` nearest that are wanted, by comparing with every code.
    fn scanned(&self, wanted: &Wanted, k: usize) -> Result<Vec<Found>, GalleryError> {
        let dims = self.manifest.dims;
        let scan = self.scan_of(wanted.filter)?;
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
        self.read(|shard| shard.retrieve(&ids))
    }

    /// All codes whose payloads pass.
    pub(super) fn scan_of(&self, filter: Option<&Filter>) -> Result<Arc<Scan>, GalleryError> {
        let scan = self.scan()?;
        match filter {
            Some(filter) => self.subset(&scan, filter),
            None => Ok(scan),
        }
    }

    /// All codes, read once and kept until something changes.
    pub(super) fn scan(&self) -> Result<Arc<Scan>, GalleryError> {
        let mut kept = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation.load(Ordering::SeqCst);
        if let Some((of, scan)) = &*kept
            && *of == generation
        {
            return Ok(Arc::clone(scan));
        }
        // The old one goes before the new one comes: each may be large.
        *kept = None;
        let mut scan = Scan {
            ids: Vec::new(),
            codes: Vec::new(),
        };
        loop {
            let last = scan.ids.last().copied();
            let page = self.read(|shard| shard.scroll_codes(last, PAGE))?;
            let is_last = page.len() < PAGE;
            for (id, code) in page {
                scan.ids.push(id);
                scan.codes.extend(code);
            }
            if is_last {
                break;
            }
        }
        let scan = Arc::new(scan);
        *kept = Some((generation, Arc::clone(&scan)));
        Ok(scan)
    }

    /// The codes whose payloads pass a filter.
    fn subset(&self, scan: &Scan, filter: &Filter) -> Result<Arc<Scan>, GalleryError> {
        let codes = scan.codes(self.manifest.dims)?;
        let mut subset = Scan {
            ids: Vec::new(),
            codes: Vec::new(),
        };
        let mut last = None;
        loop {
            let page = self.read(|shard| shard.scroll_ids(last, PAGE, Some(filter)))?;
            // Of the page, not of the subset: points may have been added since the scan.
            last = page.last().copied();
            for id in &page {
                if let Ok(index) = scan.ids.binary_search(id) {
                    subset.ids.push(*id);
                    subset.codes.extend(codes.row(index));
                }
            }
            if page.len() < PAGE {
                return Ok(Arc::new(subset));
            }
        }
    }

    /// Ranks by diffusion: from the query's own row where it is in the gallery, else from its nearest
    /// points; what diffusion does not reach follows by distance.
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
        let start = self.plain(&Wanted::of(&start, self.manifest.metric), start.k)?;
        let ranked = self
            .ranked(&file, request, &start.found)
            .inspect_err(|error| self.noticed(error))?;
        self.admit(request, metric, &ranked, answer)?;
        let missing = request.k - answer.neighbours.len();
        if missing > 0 {
            let have: HashSet<Uuid> = answer.neighbours.iter().map(|hit| hit.id).collect();
            let wanted = Wanted::of(request, metric);
            let rest = self.plain(&wanted, request.k.saturating_add(have.len()))?;
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

    fn ranked(
        &self,
        file: &DiffusionFile,
        request: &SearchRequest,
        nearest: &[(Found, f32)],
    ) -> Result<Vec<(Uuid, f32)>, GalleryError> {
        let excluded = match request.exclude {
            Some(id) => self.read(|shard| shard.retrieve(&[id]))?,
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
            let found = self.read(|shard| shard.retrieve(&ids))?;
            let mut scores = page.iter();
            for found in found {
                // Points that were deleted since are missing from `found`, otherwise the order is one.
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

pub(super) fn check_distance(max: Option<f32>) -> Result<(), GalleryError> {
    match max.is_some_and(f32::is_nan) {
        true => Err(GalleryError::BadRequest(
            "the largest distance is not a number; give one, or leave it out".into(),
        )),
        false => Ok(()),
    }
}

/// What is said of an answer by another metric than the gallery's.
pub(super) fn other_metric(own: Metric, metric: Metric) -> String {
    format!(
        "the gallery's index is for the {own} metric; for {metric} every point was compared with"
    )
}

/// The `k` of these, nearest first, that differ most among themselves.
fn diversified(
    found: Vec<(Found, f32)>,
    diverse: &Mmr,
    metric: Metric,
    k: usize,
) -> Vec<(Found, f32)> {
    let candidates: Vec<_> = found.iter().map(|(f, d)| (f.code.as_slice(), *d)).collect();
    let chosen = diverse.choose(&candidates, metric, k);
    let mut found: Vec<_> = found.into_iter().map(Some).collect();
    chosen
        .into_iter()
        .filter_map(|index| found[index].take())
        .collect()
}

pub(super) fn hit((found, distance): (Found, f32), score: Option<f32>) -> Hit {
    Hit {
        id: found.id,
        distance,
        score,
        payload: found.payload,
    }
}
