//! How the engine is set up: its vectors, its index, its log.

use std::num::NonZeroUsize;

use lookalike_neighbours::Metric;
use qdrant_edge::{
    Distance, EdgeConfig, EdgeOptimizersConfig, EdgeVectorParams, HnswIndexConfig, WalOptions,
};

/// The vector that is searched.
pub(super) const CODE: &str = "code";
/// For the cosine metric the engine keeps `CODE` normalised, so the code as it was given is kept
/// beside it, on disk and without an index. That costs 4 bytes per dimension, and buys codes that
/// come back bit for bit, and exact answers under every metric.
pub(super) const RAW: &str = "raw";

/// From how many points on an index is built; fewer are compared with one by one, in under a
/// millisecond.
pub(super) const INDEX_FROM: usize = 10_000;
/// The engine's own limits, in kibibytes of vectors, for the same: a little lower, so that rounding
/// does not put the two at odds. A filter that leaves fewer points is answered by comparing with
/// each of them.
const INDEX_FROM_IN_ENGINE: usize = 9_000;
/// How many segments may stand side by side before they are merged. More than one, so that adding a
/// few points to a large gallery does not build its index again.
pub(super) const SEGMENTS: usize = 4;
/// Edges per node, and width of the beam while building and while searching (HNSW, Malkov and
/// Yashunin 2018).
const HNSW_M: usize = 16;
const HNSW_EF_CONSTRUCT: usize = 100;
pub(super) const HNSW_EF: usize = 64;
/// Where a filter may have left the graph thin.
pub(super) const HNSW_EF_FILTERED: usize = 192;
/// The engine's log grows in files of this size.
pub(super) const LOG_FILE: usize = 8 << 20;

/// The settings of a shard for codes of length `dims`.
pub(super) fn config(metric: Metric, dims: usize) -> EdgeConfig {
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
