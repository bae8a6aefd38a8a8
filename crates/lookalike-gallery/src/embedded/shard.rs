//! The engine: a thin layer over qdrant-edge that speaks of codes, payloads and distances, and that
//! turns the engine's panics into errors.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lookalike_neighbours::Metric;
use qdrant_edge::{
    AcornSearchParams, CountRequest, EdgeShard, NamedQuery, OperationResult, PayloadSelector,
    PayloadSelectorInclude, PointId, PointInsertOperations, PointOperations, PointStructPersisted,
    QueryEnum, QueryRequest, Record, ScoringQuery, ScrollRequest, SearchParams, UpdateOperation,
    VectorInternal, VectorPersisted, VectorStructInternal, VectorStructPersisted,
    WithPayloadInterface, WithVector,
};
use uuid::Uuid;

use super::settings::{CODE, HNSW_EF, HNSW_EF_FILTERED, INDEX_FROM, RAW, SEGMENTS, config};
use super::{query, segments};
use crate::{Filter, GalleryError, Point};

/// What the engine says where its log is locked. The gallery's own lock keeps other programs away,
/// so that is a process which another thread of this one has just started: until it runs its own
/// program, it has all files open that were, those of a shard that has been closed since as well.
const LOCKED: &str = "WouldBlock";
/// How often opening is tried again then.
const MAX_TRIES: usize = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
/// Floats per operation; a batch is cut so that its log entry stays far below
/// [`LOG_FILE`](super::settings::LOG_FILE).
const FLOATS_PER_OPERATION: usize = 1 << 18;
const POINTS_PER_OPERATION: usize = 1_000;
/// The same for operations that name points by their ids alone.
pub(super) const IDS_PER_OPERATION: usize = 10_000;

/// An open shard of the engine.
#[derive(Debug)]
pub(super) struct Shard {
    /// None only while it is dropped.
    edge: Option<EdgeShard>,
    /// Whether the engine has panicked. What it holds in memory can no longer be relied on then, so
    /// it is asked for nothing more. It is still closed in the usual way: its log stays locked
    /// otherwise, and the gallery could not be opened again in this process.
    panicked: AtomicBool,
    /// The shard's folder.
    path: PathBuf,
    /// The folder around the shard's, for messages.
    gallery: PathBuf,
    metric: Metric,
    dims: usize,
}

/// The size of a shard.
#[derive(PartialEq)]
pub(super) struct Size {
    pub(super) segments: usize,
    /// One that lies in two segments counts twice.
    pub(super) points: usize,
    /// The points that its indexes were built over, whether they are still there or not.
    pub(super) built: usize,
}

/// How the points stand to the indexes.
pub(super) struct Coverage {
    /// Points that an index covers.
    pub(super) indexed: usize,
    /// Points that an index was built over, and that have been deleted or changed since.
    pub(super) gone: usize,
}

impl Shard {
    /// Makes an empty shard in the folder `path`, which must exist.
    pub(super) fn create(path: &Path, metric: Metric, dims: usize) -> Result<Self, GalleryError> {
        let edge = guarded(|| EdgeShard::new(path, config(metric, dims)))
            .map_err(|failure| failure.while_doing("making the shard", &gallery_of(path)))?;
        let shard = Self::holding(edge, path, metric, dims);
        shard.index_fields()?;
        Ok(shard)
    }

    /// Opens the shard in the folder `path`.
    pub(super) fn open(path: &Path, metric: Metric, dims: usize) -> Result<Self, GalleryError> {
        let mut tries = 0;
        let edge = loop {
            match guarded(|| EdgeShard::load(path, Some(config(metric, dims)))) {
                Err(failure) if failure.detail.contains(LOCKED) && tries < MAX_TRIES => {
                    tries += 1;
                    std::thread::sleep(BETWEEN_TRIES);
                }
                opened => break opened,
            }
        };
        let edge =
            edge.map_err(|failure| failure.while_doing("opening the shard", &gallery_of(path)))?;
        Ok(Self::holding(edge, path, metric, dims))
    }

    /// The shard's folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn holding(edge: EdgeShard, path: &Path, metric: Metric, dims: usize) -> Self {
        Shard {
            edge: Some(edge),
            panicked: AtomicBool::new(false),
            path: path.to_path_buf(),
            gallery: gallery_of(path),
            metric,
            dims,
        }
    }

    /// Runs `action` on the engine. After a panic the shard answers nothing any more: what it holds
    /// in memory can no longer be relied on, what it has on disk can.
    pub(super) fn with<T>(
        &self,
        doing: &str,
        action: impl FnOnce(&EdgeShard) -> OperationResult<T>,
    ) -> Result<T, GalleryError> {
        let edge = self.edge.as_ref();
        let edge = edge.filter(|_| !self.panicked.load(Ordering::SeqCst));
        let edge = edge.ok_or_else(|| GalleryError::Closed {
            path: self.gallery.clone(),
        })?;
        guarded(|| action(edge)).map_err(|failure| {
            if failure.panicked {
                self.panicked.store(true, Ordering::SeqCst);
            }
            failure.while_doing(doing, &self.gallery)
        })
    }

    /// Stores points; after [`Shard::flush`] they are there for good.
    pub(super) fn upsert(&self, points: &[&Point]) -> Result<(), GalleryError> {
        let per_operation = (FLOATS_PER_OPERATION / self.dims).clamp(1, POINTS_PER_OPERATION);
        for points in points.chunks(per_operation) {
            let points = points
                .iter()
                .map(|point| self.persisted(point))
                .collect::<Result<Vec<_>, _>>()?;
            let operation =
                PointOperations::UpsertPoints(PointInsertOperations::PointsList(points));
            self.with("storing points", |edge| {
                edge.update(UpdateOperation::PointOperation(operation))
            })?;
        }
        Ok(())
    }

    pub(super) fn delete(&self, ids: &[Uuid]) -> Result<(), GalleryError> {
        for ids in ids.chunks(IDS_PER_OPERATION) {
            let ids = ids.iter().copied().map(PointId::Uuid).collect();
            self.with("deleting points", |edge| {
                edge.update(UpdateOperation::PointOperation(
                    PointOperations::DeletePoints { ids },
                ))
            })?;
        }
        Ok(())
    }

    /// Writes log and segments to disk.
    pub(super) fn flush(&self) -> Result<(), GalleryError> {
        self.with("writing points to disk", |edge| {
            edge.flush();
            Ok(())
        })
    }

    /// The engine's index building, in place. Not safe against a crash: see `optimise.rs`.
    pub(super) fn optimise(&self) -> Result<bool, GalleryError> {
        let before = self.size()?;
        let built = self.with("building the index", EdgeShard::optimize)?;
        // The engine says no where it only took segments away whose points are all gone.
        Ok(built || self.size()? != before)
    }

    pub(super) fn size(&self) -> Result<Size, GalleryError> {
        self.with("measuring the shard", |edge| {
            let info = edge.info();
            Ok(Size {
                segments: info.segments_count,
                points: info.points_count,
                // The engine counts every vector of an indexed segment, those without an index,
                // too.
                built: info.indexed_vectors_count / self.vector_names().len(),
            })
        })
    }

    /// As of the last [`Shard::flush`].
    pub(super) fn coverage(&self) -> Result<Coverage, GalleryError> {
        let built = self.size()?.built;
        let gone = match built {
            0 => 0,
            _ => segments::gone_from_index(&self.path, CODE)
                .map_err(GalleryError::io("reading the segments of", &self.path))?,
        };
        Ok(Coverage {
            indexed: built.saturating_sub(gone),
            gone,
        })
    }

    /// Counts points; one that lies in two segments counts twice.
    pub(super) fn count(&self, filter: Option<qdrant_edge::Filter>) -> Result<usize, GalleryError> {
        self.with("counting points", |edge| {
            edge.count(CountRequest {
                filter,
                exact: true,
            })
        })
    }

    /// The `limit` best points by the engine's reckoning, in no order that could be relied on: ids
    /// and exact codes. Payloads cost as much as the search: ask for those that are wanted.
    pub(super) fn nearest(
        &self,
        query: QueryEnum,
        limit: usize,
        filter: Option<&Filter>,
        exclude: &[Uuid],
        exact: bool,
    ) -> Result<Vec<(Uuid, Vec<f32>)>, GalleryError> {
        let request = QueryRequest {
            filter: query::admitted(filter, exclude),
            with_vector: self.with_code(),
            ..best_request(query, limit, exact, filter.is_some())
        };
        let found = self.with("searching", |edge| edge.query(request))?;
        found
            .into_iter()
            .map(|point| Ok((self.id(point.id)?, self.code(point.vector)?)))
            .collect()
    }

    /// As [`Shard::nearest`], ids only, by the index.
    pub(super) fn nearest_ids(
        &self,
        code: &[f32],
        limit: usize,
    ) -> Result<Vec<Uuid>, GalleryError> {
        let request = best_request(nearest_to(code), limit, false, false);
        let found = self.with("searching", |edge| edge.query(request))?;
        found.into_iter().map(|point| self.id(point.id)).collect()
    }

    /// How many copies of these points there are, over all segments.
    pub(super) fn copies(&self, ids: &[Uuid]) -> Result<usize, GalleryError> {
        self.count(Some(query::with_ids(ids)))
    }

    pub(super) fn all_found(&self, records: Vec<Record>) -> Result<Vec<Point>, GalleryError> {
        records
            .into_iter()
            .map(|record| self.found(record.id, record.payload, record.vector))
            .collect()
    }

    /// The name of the vector that holds codes as they were given.
    fn code_name(&self) -> &'static str {
        match self.metric {
            Metric::Cosine => RAW,
            _ => CODE,
        }
    }

    fn vector_names(&self) -> HashSet<&'static str> {
        [CODE, self.code_name()].into()
    }

    pub(super) fn with_code(&self) -> WithVector {
        WithVector::Selector(vec![self.code_name().into()])
    }

    fn persisted(&self, point: &Point) -> Result<PointStructPersisted, GalleryError> {
        let vectors = self
            .vector_names()
            .into_iter()
            .map(|name| (name.into(), VectorPersisted::Dense(point.code.clone())))
            .collect();
        let payload = serde_json::to_value(&point.payload).map_err(|e| self.strange(&e))?;
        let serde_json::Value::Object(payload) = payload else {
            return Err(self.strange(&"a payload is not a JSON object"));
        };
        Ok(PointStructPersisted {
            id: PointId::Uuid(point.id),
            vector: VectorStructPersisted::Named(vectors),
            payload: Some(qdrant_edge::Payload(payload)),
        })
    }

    fn found(
        &self,
        id: PointId,
        payload: Option<qdrant_edge::Payload>,
        vector: Option<VectorStructInternal>,
    ) -> Result<Point, GalleryError> {
        let payload = serde_json::Value::Object(payload.map(|p| p.0).unwrap_or_default());
        Ok(Point {
            id: self.id(id)?,
            code: self.code(vector)?,
            payload: serde_json::from_value(payload).map_err(|e| self.strange(&e))?,
        })
    }

    pub(super) fn id(&self, id: PointId) -> Result<Uuid, GalleryError> {
        match id {
            PointId::Uuid(id) => Ok(id),
            PointId::NumId(id) => {
                Err(self.strange(&format!("a point has the number {id} as its id")))
            }
        }
    }

    pub(super) fn code(
        &self,
        vector: Option<VectorStructInternal>,
    ) -> Result<Vec<f32>, GalleryError> {
        if let Some(VectorStructInternal::Named(mut vectors)) = vector
            && let Some(VectorInternal::Dense(code)) = vectors.remove(self.code_name())
            && code.len() == self.dims
        {
            return Ok(code);
        }
        Err(self.strange(&"a point has no code of the gallery's length"))
    }

    pub(super) fn strange(&self, detail: &dyn std::fmt::Display) -> GalleryError {
        GalleryError::Damaged {
            path: self.gallery.clone(),
            detail: detail.to_string(),
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        if let Some(edge) = self.edge.take() {
            // Dropping flushes, and panics when that fails. What was acknowledged is on disk
            // already.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(edge)));
        }
    }
}

/// The query for the points nearest to a code.
pub(super) fn nearest_to(code: &[f32]) -> QueryEnum {
    let code = VectorInternal::Dense(code.to_vec());
    QueryEnum::Nearest(NamedQuery::new(code, CODE))
}

fn best_request(query: QueryEnum, limit: usize, exact: bool, filtered: bool) -> QueryRequest {
    let beam = if filtered { HNSW_EF_FILTERED } else { HNSW_EF };
    QueryRequest {
        prefetches: Vec::new(),
        query: Some(ScoringQuery::Vector(query)),
        filter: None,
        score_threshold: None,
        limit,
        offset: 0,
        params: Some(SearchParams {
            hnsw_ef: Some(beam.max(2 * limit)),
            exact,
            // A filter that leaves few points leaves the graph in pieces: then neighbours of
            // neighbours are looked at as well (ACORN, Patel et al. 2024).
            acorn: Some(AcornSearchParams {
                enable: true,
                max_selectivity: None,
            }),
            ..SearchParams::default()
        }),
        with_vector: WithVector::Bool(false),
        with_payload: WithPayloadInterface::Bool(false),
    }
}

/// The payload's fields of these names, and nothing else of it.
pub(super) fn only_fields(names: &[&str]) -> WithPayloadInterface {
    let names = names.iter().map(|name| query::json_path(name)).collect();
    WithPayloadInterface::Selector(PayloadSelector::Include(PayloadSelectorInclude::new(names)))
}

pub(super) fn scroll_request(
    after: Option<Uuid>,
    limit: usize,
    filter: Option<&Filter>,
) -> Option<ScrollRequest> {
    let offset = match after {
        // The engine begins at the offset, not after it.
        Some(after) => Some(Uuid::from_u128(after.as_u128().checked_add(1)?)),
        None => None,
    };
    (limit > 0).then(|| ScrollRequest {
        offset: offset.map(PointId::Uuid),
        limit: Some(limit),
        filter: filter.map(query::filter),
        with_payload: Some(WithPayloadInterface::Bool(false)),
        with_vector: WithVector::Bool(false),
        order_by: None,
    })
}

/// Whether building the index could change anything: there is enough beside it, enough of it is
/// gone (a fifth, the engine's own measure), or the points lie scattered.
pub(super) fn worth_optimising(size: &Size, coverage: &Coverage, points: usize) -> bool {
    points.saturating_sub(coverage.indexed) >= INDEX_FROM
        || (coverage.gone >= INDEX_FROM && coverage.gone > size.built / 5)
        || size.segments > SEGMENTS + 1
}

fn gallery_of(shard: &Path) -> PathBuf {
    shard.parent().unwrap_or(shard).to_path_buf()
}

/// What the engine said, or how it panicked.
struct Failure {
    detail: String,
    panicked: bool,
}

impl Failure {
    fn while_doing(self, doing: &str, gallery: &Path) -> GalleryError {
        GalleryError::Engine {
            doing: doing.to_string(),
            path: gallery.to_path_buf(),
            detail: self.detail,
        }
    }
}

/// Runs the engine, and makes a failure of its errors and of its panics: it panics on some damaged
/// files and on a full disk.
fn guarded<T>(action: impl FnOnce() -> OperationResult<T>) -> Result<T, Failure> {
    let (detail, panicked) = match catch_unwind(AssertUnwindSafe(action)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => (error.to_string(), false),
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => (text.clone(), true),
            (_, Some(text)) => (text.to_string(), true),
            _ => ("the engine stopped without saying why".into(), true),
        },
    };
    Err(Failure { detail, panicked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_panic_it_answers_nothing_and_can_be_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let shard = Shard::create(folder.path(), Metric::Cosine, 2).unwrap();
        let refused = shard.with("testing", |_| {
            Err::<(), _>(qdrant_edge::OperationError::service_error("no"))
        });
        assert!(matches!(refused, Err(GalleryError::Engine { .. })));
        assert_eq!(
            shard.count(None).unwrap(),
            0,
            "an error alone closes nothing"
        );
        let panicked = shard.with("testing", |_| -> OperationResult<()> {
            panic!("a test's panic")
        });
        let message = panicked.unwrap_err().to_string();
        assert!(message.contains("a test's panic"), "{message}");
        assert!(matches!(
            shard.count(None),
            Err(GalleryError::Closed { .. })
        ));
        assert!(matches!(shard.flush(), Err(GalleryError::Closed { .. })));
        drop(shard);
        let shard = Shard::open(folder.path(), Metric::Cosine, 2).unwrap();
        assert_eq!(shard.count(None).unwrap(), 0);
    }
}
