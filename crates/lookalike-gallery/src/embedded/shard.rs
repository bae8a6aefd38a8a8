//! The engine: a thin layer over qdrant-edge that speaks of codes, payloads and distances, and that
//! turns the engine's panics into errors.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lookalike_neighbours::Metric;
use qdrant_edge::{
    CountRequest, CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard,
    EdgeVectorParams, FieldIndexOperations, HnswIndexConfig, NamedQuery, OperationResult,
    PayloadFieldSchema, PayloadSchemaType, PayloadSelector, PayloadSelectorInclude, PointId,
    PointInsertOperations, PointOperations, PointStructPersisted, QueryEnum, QueryRequest, Record,
    ScoringQuery, ScrollRequest, SearchParams, UpdateOperation, VectorInternal, VectorPersisted,
    VectorStructInternal, VectorStructPersisted, WalOptions, WithPayloadInterface, WithVector,
};
use uuid::Uuid;

use super::query;
use crate::{Filter, GalleryError, Payload, Point};

/// The vector that is searched.
const CODE: &str = "code";
/// For the cosine metric the engine keeps `CODE` normalised, so the code as it was given is kept beside
/// it, on disk and without an index. That costs 4 bytes per dimension, and buys codes that come back bit
/// for bit, and exact answers under every metric.
const RAW: &str = "raw";

/// From how many points on an index is built; fewer are compared with one by one, in under a
/// millisecond.
const INDEX_FROM: usize = 10_000;
/// The engine's own limits, in kibibytes of vectors, for the same: a little lower, so that rounding does
/// not put the two at odds. A filter that leaves fewer points is answered by comparing with each of them;
/// for label values of more points the engine builds an index each.
const INDEX_FROM_IN_ENGINE: usize = 9_000;
/// How many segments may stand side by side before they are merged. More than one, so that adding a few
/// points to a large gallery does not build its index again.
const SEGMENTS: usize = 4;
/// Edges per node, and width of the beam while building and while searching (HNSW, Malkov and Yashunin
/// 2018).
const HNSW_M: usize = 16;
const HNSW_EF_CONSTRUCT: usize = 128;
const HNSW_EF: usize = 128;
/// The engine's log grows in files of this size.
const LOG_FILE: usize = 8 << 20;
/// Floats per operation; a batch is cut so that its log entry stays far below [`LOG_FILE`].
const FLOATS_PER_OPERATION: usize = 1 << 18;
const POINTS_PER_OPERATION: usize = 1_000;

/// An open shard of the engine.
#[derive(Debug)]
pub(super) struct Shard {
    /// None only after the engine panicked: then it is left alone, also when dropped.
    edge: Option<EdgeShard>,
    /// The folder around the shard's, for messages.
    gallery: PathBuf,
    metric: Metric,
    dims: usize,
}

/// What the engine found.
pub(super) struct Found {
    pub(super) id: Uuid,
    pub(super) code: Vec<f32>,
    pub(super) payload: Payload,
}

/// The size of a shard.
pub(super) struct Size {
    pub(super) segments: usize,
    /// One that lies in two segments counts twice.
    pub(super) points: usize,
    pub(super) indexed: usize,
}

impl Shard {
    /// Makes an empty shard in the folder `path`, which must exist.
    pub(super) fn create(path: &Path, metric: Metric, dims: usize) -> Result<Self, GalleryError> {
        let edge = guarded("making the shard", &gallery_of(path), || {
            let edge = EdgeShard::new(path, config(metric, dims))?;
            edge.update(UpdateOperation::FieldIndexOperation(
                FieldIndexOperations::CreateIndex(CreateIndex {
                    field_name: query::json_path("label"),
                    field_schema: Some(PayloadFieldSchema::FieldType(PayloadSchemaType::Keyword)),
                }),
            ))?;
            edge.flush();
            Ok(edge)
        })?;
        Ok(Shard {
            edge: Some(edge),
            gallery: gallery_of(path),
            metric,
            dims,
        })
    }

    /// Opens the shard in the folder `path`.
    pub(super) fn open(path: &Path, metric: Metric, dims: usize) -> Result<Self, GalleryError> {
        let edge = guarded("opening the shard", &gallery_of(path), || {
            EdgeShard::load(path, Some(config(metric, dims)))
        })?;
        Ok(Shard {
            edge: Some(edge),
            gallery: gallery_of(path),
            metric,
            dims,
        })
    }

    /// Runs `action` on the engine. After a panic the shard answers nothing any more: what it holds in
    /// memory can no longer be relied on, what it has on disk can.
    fn with<T>(
        &self,
        doing: &str,
        action: impl FnOnce(&EdgeShard) -> OperationResult<T>,
    ) -> Result<T, GalleryError> {
        let edge = self.edge.as_ref().ok_or_else(|| GalleryError::Closed {
            path: self.gallery.clone(),
        })?;
        guarded(doing, &self.gallery, || action(edge))
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
        let ids = ids.iter().copied().map(PointId::Uuid).collect();
        self.with("deleting points", |edge| {
            edge.update(UpdateOperation::PointOperation(
                PointOperations::DeletePoints { ids },
            ))
        })
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
        self.with("building the index", EdgeShard::optimize)
    }

    pub(super) fn size(&self) -> Result<Size, GalleryError> {
        self.with("measuring the shard", |edge| {
            let info = edge.info();
            Ok(Size {
                segments: info.segments_count,
                points: info.points_count,
                indexed: info.indexed_vectors_count,
            })
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

    /// The `limit` points nearest to `code` by the engine's reckoning, in no order that could be relied
    /// on, with exact codes.
    pub(super) fn nearest(
        &self,
        code: &[f32],
        limit: usize,
        filter: Option<&Filter>,
        exclude: Option<Uuid>,
        exact: bool,
    ) -> Result<Vec<Found>, GalleryError> {
        let request = QueryRequest {
            filter: query::admitted(filter, exclude),
            with_vector: self.with_code(),
            with_payload: WithPayloadInterface::Bool(true),
            ..nearest_request(code, limit, exact)
        };
        let found = self.with("searching", |edge| edge.query(request))?;
        found
            .into_iter()
            .map(|point| self.found(point.id, point.payload, point.vector))
            .collect()
    }

    /// As [`Shard::nearest`], ids only, by the index.
    pub(super) fn nearest_ids(
        &self,
        code: &[f32],
        limit: usize,
    ) -> Result<Vec<Uuid>, GalleryError> {
        let request = nearest_request(code, limit, false);
        let found = self.with("searching", |edge| edge.query(request))?;
        found.into_iter().map(|point| self.id(point.id)).collect()
    }

    /// The points of these ids, in this order.
    pub(super) fn retrieve(&self, ids: &[Uuid]) -> Result<Vec<Found>, GalleryError> {
        let ids: Vec<_> = ids.iter().copied().map(PointId::Uuid).collect();
        let records = self.with("reading points", |edge| {
            edge.retrieve(
                &ids,
                Some(WithPayloadInterface::Bool(true)),
                Some(self.with_code()),
            )
        })?;
        self.all_found(records)
    }

    /// The hash in the payload of each of these points.
    pub(super) fn hashes(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, GalleryError> {
        let ids: Vec<_> = ids.iter().copied().map(PointId::Uuid).collect();
        let only_hash =
            PayloadSelector::Include(PayloadSelectorInclude::new(vec![query::json_path(
                "blake3",
            )]));
        let records = self.with("reading points", |edge| {
            edge.retrieve(
                &ids,
                Some(WithPayloadInterface::Selector(only_hash)),
                Some(WithVector::Bool(false)),
            )
        })?;
        records
            .into_iter()
            .map(|record| {
                let hash = record.payload.as_ref().and_then(|p| p.0.get("blake3"));
                let hash = hash.and_then(|hash| hash.as_str()).unwrap_or_default();
                Ok((self.id(record.id)?, hash.to_string()))
            })
            .collect()
    }

    /// The next points after `after`, in the order of their ids.
    pub(super) fn scroll(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Found>, GalleryError> {
        let Some(request) = scroll_request(after, limit, filter) else {
            return Ok(Vec::new());
        };
        let request = ScrollRequest {
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: self.with_code(),
            ..request
        };
        let (records, _) = self.with("reading points", |edge| edge.scroll(request))?;
        self.all_found(records)
    }

    /// As [`Shard::scroll`], ids and codes only.
    pub(super) fn scroll_codes(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<(Uuid, Vec<f32>)>, GalleryError> {
        let Some(request) = scroll_request(after, limit, None) else {
            return Ok(Vec::new());
        };
        let request = ScrollRequest {
            with_vector: self.with_code(),
            ..request
        };
        let (records, _) = self.with("reading codes", |edge| edge.scroll(request))?;
        records
            .into_iter()
            .map(|record| Ok((self.id(record.id)?, self.code(record.vector)?)))
            .collect()
    }

    /// As [`Shard::scroll`], ids only.
    pub(super) fn scroll_ids(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Uuid>, GalleryError> {
        let Some(request) = scroll_request(after, limit, filter) else {
            return Ok(Vec::new());
        };
        let (records, _) = self.with("reading ids", |edge| edge.scroll(request))?;
        records
            .into_iter()
            .map(|record| self.id(record.id))
            .collect()
    }

    /// How many copies of these points there are, over all segments.
    pub(super) fn copies(&self, ids: &[Uuid]) -> Result<usize, GalleryError> {
        self.count(Some(query::with_ids(ids)))
    }

    fn all_found(&self, records: Vec<Record>) -> Result<Vec<Found>, GalleryError> {
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

    fn with_code(&self) -> WithVector {
        WithVector::Selector(vec![self.code_name().into()])
    }

    fn persisted(&self, point: &Point) -> Result<PointStructPersisted, GalleryError> {
        let names: HashSet<_> = [CODE, self.code_name()].into();
        let vectors = names
            .into_iter()
            .map(|name| (name.into(), VectorPersisted::Dense(point.code.clone())))
            .collect();
        let payload = serde_json::to_value(&point.payload).map_err(|e| self.strange(&e))?;
        let serde_json::Value::Object(payload) = payload else {
            return Err(self.strange(&"a payload is no object"));
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
    ) -> Result<Found, GalleryError> {
        let payload = serde_json::Value::Object(payload.map(|p| p.0).unwrap_or_default());
        Ok(Found {
            id: self.id(id)?,
            code: self.code(vector)?,
            payload: serde_json::from_value(payload).map_err(|e| self.strange(&e))?,
        })
    }

    fn id(&self, id: PointId) -> Result<Uuid, GalleryError> {
        match id {
            PointId::Uuid(id) => Ok(id),
            PointId::NumId(id) => {
                Err(self.strange(&format!("a point has the number {id} as its id")))
            }
        }
    }

    fn code(&self, vector: Option<VectorStructInternal>) -> Result<Vec<f32>, GalleryError> {
        if let Some(VectorStructInternal::Named(mut vectors)) = vector
            && let Some(VectorInternal::Dense(code)) = vectors.remove(self.code_name())
            && code.len() == self.dims
        {
            return Ok(code);
        }
        Err(self.strange(&"a point has no code of the gallery's length"))
    }

    fn strange(&self, detail: &dyn std::fmt::Display) -> GalleryError {
        GalleryError::Damaged {
            path: self.gallery.clone(),
            detail: detail.to_string(),
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        if let Some(edge) = self.edge.take() {
            // Dropping flushes, and panics when that fails. What was acknowledged is on disk already.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(edge)));
        }
    }
}

fn nearest_request(code: &[f32], limit: usize, exact: bool) -> QueryRequest {
    QueryRequest {
        prefetches: Vec::new(),
        query: Some(ScoringQuery::Vector(QueryEnum::Nearest(NamedQuery::new(
            VectorInternal::Dense(code.to_vec()),
            CODE,
        )))),
        filter: None,
        score_threshold: None,
        limit,
        offset: 0,
        params: Some(SearchParams {
            hnsw_ef: Some(HNSW_EF.max(2 * limit)),
            exact,
            ..SearchParams::default()
        }),
        with_vector: WithVector::Bool(false),
        with_payload: WithPayloadInterface::Bool(false),
    }
}

fn scroll_request(
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

fn config(metric: Metric, dims: usize) -> EdgeConfig {
    let kib = |points: usize| (points * dims * size_of::<f32>()).div_ceil(1024);
    let hnsw = HnswIndexConfig {
        m: HNSW_M,
        ef_construct: HNSW_EF_CONSTRUCT,
        full_scan_threshold: kib(INDEX_FROM_IN_ENGINE),
        max_indexing_threads: 0,
        on_disk: None,
        payload_m: None,
        inline_storage: None,
    };
    let distance = match metric {
        Metric::Cosine => Distance::Cosine,
        Metric::Euclidean => Distance::Euclid,
        Metric::Dot => Distance::Dot,
        Metric::Manhattan => Distance::Manhattan,
    };
    let mut builder = EdgeConfig::builder()
        .on_disk_payload(true)
        .vector(CODE, EdgeVectorParams::builder(dims, distance).build())
        .hnsw_config(hnsw)
        .optimizers(EdgeOptimizersConfig {
            default_segment_number: Some(SEGMENTS),
            max_segment_size: Some(kib(usize::MAX >> 40)),
            indexing_threshold: Some(kib(INDEX_FROM_IN_ENGINE)),
            ..EdgeOptimizersConfig::default()
        })
        .wal_options(WalOptions {
            segment_capacity: LOG_FILE,
            segment_queue_len: 0,
            retain_closed: NonZeroUsize::MIN,
        });
    if metric == Metric::Cosine {
        let no_index = HnswIndexConfig { m: 0, ..hnsw };
        let raw = EdgeVectorParams::builder(dims, Distance::Dot)
            .on_disk(true)
            .hnsw_config(no_index)
            .build();
        builder = builder.vector(RAW, raw);
    }
    builder.build()
}

/// Whether building the index could change anything.
pub(super) fn worth_optimising(size: &Size, points: usize) -> bool {
    points.saturating_sub(size.indexed) >= INDEX_FROM || size.segments > SEGMENTS + 1
}

fn gallery_of(shard: &Path) -> PathBuf {
    shard.parent().unwrap_or(shard).to_path_buf()
}

/// Runs the engine, and makes an error of its errors and of its panics: it panics on some damaged files
/// and on a full disk.
fn guarded<T>(
    doing: &str,
    gallery: &Path,
    action: impl FnOnce() -> OperationResult<T>,
) -> Result<T, GalleryError> {
    let detail = match catch_unwind(AssertUnwindSafe(action)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (_, Some(text)) => text.to_string(),
            _ => "the engine stopped without saying why".into(),
        },
    };
    Err(GalleryError::Engine {
        doing: doing.to_string(),
        path: gallery.to_path_buf(),
        detail,
    })
}
