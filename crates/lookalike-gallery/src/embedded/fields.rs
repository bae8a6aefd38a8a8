//! The payload fields that the engine keeps an index of, so that it need not read every payload to
//! find a content or the images of a source.

use std::fs;
use std::io;
use std::path::Path;

use qdrant_edge::{
    CreateIndex, FieldIndexOperations, KeywordIndexParams, PayloadFieldSchema, PayloadSchemaParams,
    UpdateOperation,
};
use serde_json::Value;

use super::query;
use super::shard::Shard;
use crate::GalleryError;

/// Below this many points an index that is missing is made when the gallery is opened, which takes
/// less than a second; for more it is made with the next optimisation, on the copy.
const AT_OPENING: usize = 10_000;

/// The fields, and how each is indexed.
fn fields() -> [(&'static str, PayloadFieldSchema); 3] {
    // None has graphs of its own, one for each frequent value: they take as long to build as the
    // index itself, and searches that are filtered find their way through that (see
    // `shard::best_request`).
    let keyword = |on_disk| {
        PayloadFieldSchema::FieldParams(PayloadSchemaParams::Keyword(KeywordIndexParams {
            on_disk: Some(on_disk),
            enable_hnsw: Some(false),
            ..KeywordIndexParams::default()
        }))
    };
    [
        ("label", keyword(false)),
        ("source", keyword(false)),
        // Nearly every image has a content of its own: kept on disk the index takes no memory for
        // that.
        ("blake3", keyword(true)),
    ]
}

/// Whether the engine keeps an index of this field.
pub(super) fn is_indexed(path: &str) -> bool {
    fields().iter().any(|(name, _)| *name == path)
}

impl Shard {
    /// Whether a part of the shard lacks one of the indexes: an older program made it without, or
    /// the engine began a new segment, which it does without any.
    pub(super) fn lacks_fields(&self) -> bool {
        // What cannot be read counts as missing: making an index that is there does nothing.
        lacks(self.path()).unwrap_or(true)
    }

    /// Makes the indexes that are missing, and writes them to disk.
    pub(super) fn index_fields(&self) -> Result<(), GalleryError> {
        for (name, schema) in fields() {
            let create = FieldIndexOperations::CreateIndex(CreateIndex {
                field_name: query::json_path(name),
                field_schema: Some(schema),
            });
            self.with("indexing the payloads", |edge| {
                edge.update(UpdateOperation::FieldIndexOperation(create))
            })?;
        }
        self.flush()
    }

    /// As [`Shard::index_fields`], where that is quick and something is missing.
    pub(super) fn index_few_fields(&self) -> Result<(), GalleryError> {
        if self.lacks_fields() && self.without_fields()? < AT_OPENING {
            self.index_fields()?;
        }
        Ok(())
    }

    /// About how many points no index of the content covers.
    fn without_fields(&self) -> Result<usize, GalleryError> {
        self.with("measuring the shard", |edge| {
            let info = edge.info();
            // Every point has a content and a source; labels may be missing.
            let covered = ["source", "blake3"].map(|name| {
                let covered = info.payload_schema.get(&query::json_path(name));
                covered.map_or(0, |index| index.points)
            });
            let covered = covered.into_iter().min().unwrap_or(0);
            Ok(info.points_count.saturating_sub(covered))
        })
    }
}

/// What the engine's folders say and its interface does not: which segment has which index.
fn lacks(shard: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(shard.join("segments"))? {
        let segment = entry?.path();
        if !segment.join("segment.json").exists() {
            continue;
        }
        let indexes = fs::read(segment.join("payload_index/config.json"))?;
        let indexes: Value = serde_json::from_slice(&indexes)?;
        let has = |name: &str| !indexes["indexed_fields"][name].is_null();
        if !fields().iter().all(|(name, _)| has(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}
