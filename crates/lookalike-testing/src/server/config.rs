//! How collections are made, and how that is changed later.

use qdrant_client::qdrant::max_optimization_threads::{Setting, Variant};
use qdrant_client::qdrant::{
    CollectionConfig, CollectionParams, CollectionParamsDiff, CreateCollection, HnswConfigDiff,
    MaxOptimizationThreads, OptimizersConfigDiff, WalConfigDiff,
};

/// Sets in the first what the second has.
macro_rules! merge {
    ($into:expr, $from:expr, $($field:ident),+ $(,)?) => {
        $(if $from.$field.is_some() {
            $into.$field = $from.$field;
        })+
    };
}

/// What a collection is like that is made so, on a cluster of so many nodes; without its metadata.
#[expect(deprecated, reason = "Qdrant still tells these, and clients set them")]
pub(super) fn created(request: CreateCollection, nodes: usize) -> CollectionConfig {
    let mut config = CollectionConfig {
        params: Some(CollectionParams {
            shard_number: request
                .shard_number
                .unwrap_or_else(|| u32::try_from(nodes).unwrap_or(u32::MAX)),
            on_disk_payload: request.on_disk_payload.unwrap_or(true),
            vectors_config: request.vectors_config,
            replication_factor: Some(request.replication_factor.unwrap_or(1)),
            write_consistency_factor: Some(request.write_consistency_factor.unwrap_or(1)),
            sharding_method: request.sharding_method,
            payload: request.payload,
            id_tracker: request.id_tracker,
            ..CollectionParams::default()
        }),
        hnsw_config: Some(HnswConfigDiff {
            m: Some(16),
            ef_construct: Some(100),
            full_scan_threshold: Some(10_000),
            max_indexing_threads: Some(0),
            on_disk: Some(false),
            ..HnswConfigDiff::default()
        }),
        optimizer_config: Some(OptimizersConfigDiff {
            deleted_threshold: Some(0.2),
            vacuum_min_vector_number: Some(1000),
            default_segment_number: Some(0),
            indexing_threshold: Some(10_000),
            flush_interval_sec: Some(5),
            max_optimization_threads: Some(MaxOptimizationThreads {
                variant: Some(Variant::Setting(Setting::Auto.into())),
            }),
            ..OptimizersConfigDiff::default()
        }),
        wal_config: Some(WalConfigDiff {
            wal_capacity_mb: Some(32),
            wal_segments_ahead: Some(0),
            wal_retain_closed: Some(1),
        }),
        quantization_config: request.quantization_config,
        strict_mode_config: request.strict_mode_config,
        ..CollectionConfig::default()
    };
    merge_hnsw(&mut config, request.hnsw_config);
    merge_optimizers(&mut config, request.optimizers_config);
    if let (Some(into), Some(from)) = (&mut config.wal_config, request.wal_config) {
        merge!(
            into,
            from,
            wal_capacity_mb,
            wal_segments_ahead,
            wal_retain_closed
        );
    }
    config
}

#[expect(deprecated, reason = "clients set it")]
pub(super) fn merge_params(config: &mut CollectionConfig, from: Option<CollectionParamsDiff>) {
    let (Some(into), Some(from)) = (&mut config.params, from) else {
        return;
    };
    if let Some(on_disk) = from.on_disk_payload {
        into.on_disk_payload = on_disk;
    }
    merge!(
        into,
        from,
        replication_factor,
        write_consistency_factor,
        read_fan_out_factor,
        read_fan_out_delay_ms,
        payload,
        id_tracker,
    );
}

#[expect(deprecated, reason = "clients set it")]
pub(super) fn merge_hnsw(config: &mut CollectionConfig, from: Option<HnswConfigDiff>) {
    let (Some(into), Some(from)) = (&mut config.hnsw_config, from) else {
        return;
    };
    merge!(
        into,
        from,
        m,
        ef_construct,
        full_scan_threshold,
        max_indexing_threads,
        on_disk,
        payload_m,
        inline_storage,
        memory,
    );
}

pub(super) fn merge_optimizers(config: &mut CollectionConfig, from: Option<OptimizersConfigDiff>) {
    let (Some(into), Some(from)) = (&mut config.optimizer_config, from) else {
        return;
    };
    merge!(
        into,
        from,
        deleted_threshold,
        vacuum_min_vector_number,
        default_segment_number,
        max_segment_size,
        memmap_threshold,
        indexing_threshold,
        flush_interval_sec,
        max_optimization_threads,
        prevent_unoptimized,
    );
}
