//! Finding points by what is known about them, without their codes.

use std::collections::{BTreeMap, HashMap};

use qdrant_edge::{FacetRequest, FacetValue, Record, ScrollRequest, WithPayloadInterface};
use serde_json::Value;
use uuid::Uuid;

use super::shard::{Shard, only_fields, scroll_request};
use super::{fields, query};
use crate::filter::Field;
use crate::{Facet, Filter, GalleryError, Point, Stub};

/// Payloads that are counted at a time.
const PAGE: usize = 10_000;

impl Shard {
    /// The point of lowest id of each of these contents, where there is one.
    pub(super) fn with_content(
        &self,
        hashes: &[&str],
    ) -> Result<HashMap<String, Point>, GalleryError> {
        let mut found = HashMap::new();
        for &hash in hashes {
            if let Some(first) = self.of_content(hash, 1)?.pop() {
                found.insert(hash.to_string(), first);
            }
        }
        Ok(found)
    }

    /// The first points of a content, in the order of their ids.
    pub(super) fn of_content(&self, hash: &str, limit: usize) -> Result<Vec<Point>, GalleryError> {
        let Some(request) = scroll_request(None, limit, None) else {
            return Ok(Vec::new());
        };
        let request = ScrollRequest {
            filter: Some(query::with_content(hash)),
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: self.with_code(),
            ..request
        };
        let (records, _) = self.with("looking up a content", |edge| edge.scroll(request))?;
        self.all_found(records)
    }

    /// As [`Shard::scroll`], without the codes and most of the payload.
    pub(super) fn stubs(
        &self,
        source: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Stub>, GalleryError> {
        let filter = Filter::of_source(source);
        let Some(request) = scroll_request(after, limit, Some(&filter)) else {
            return Ok(Vec::new());
        };
        let request = ScrollRequest {
            with_payload: Some(only_fields(&["key", "blake3", "bytes", "modified"])),
            ..request
        };
        let (records, _) = self.with("reading points", |edge| edge.scroll(request))?;
        records
            .into_iter()
            .map(|record| self.stub(record))
            .collect()
    }

    /// How often each value of a field is there, among points that pass.
    pub(super) fn facets(
        &self,
        field: &Field,
        filter: Option<&Filter>,
    ) -> Result<Vec<Facet>, GalleryError> {
        if fields::is_indexed(&field.path()) && !self.lacks_fields() {
            return self.indexed_facets(field, filter);
        }
        let paths: Vec<String> = [field.path()]
            .into_iter()
            .chain(field.path_before())
            .collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        // By their JSON: values themselves can be no keys.
        let mut counts: BTreeMap<String, Facet> = BTreeMap::new();
        let mut last = None;
        while let Some(request) = scroll_request(last, PAGE, filter) {
            let request = ScrollRequest {
                with_payload: Some(only_fields(&paths)),
                ..request
            };
            let (records, _) = self.with("counting values", |edge| edge.scroll(request))?;
            let is_last = records.len() < PAGE;
            for record in records {
                last = Some(self.id(record.id)?);
                let payload = record.payload.map(|payload| payload.0).unwrap_or_default();
                for (name, value) in field.values(&payload) {
                    let facet = counts.entry(name).or_insert(Facet { value, count: 0 });
                    facet.count += 1;
                }
            }
            if is_last {
                break;
            }
        }
        Ok(counts.into_values().collect())
    }

    fn indexed_facets(
        &self,
        field: &Field,
        filter: Option<&Filter>,
    ) -> Result<Vec<Facet>, GalleryError> {
        let request = FacetRequest {
            key: query::json_path(&field.path()),
            limit: usize::MAX >> 1,
            filter: filter.map(query::filter),
            exact: true,
        };
        let found = self.with("counting values", |edge| edge.facet(request))?;
        let facet = |hit: qdrant_edge::FacetValueHit| match hit.value {
            FacetValue::Keyword(text) => Ok(Facet {
                value: Value::String(text),
                count: hit.count,
            }),
            other => Err(self.strange(&format!("a text field has the value {other:?}"))),
        };
        found.hits.into_iter().map(facet).collect()
    }

    fn stub(&self, record: Record) -> Result<Stub, GalleryError> {
        let payload = record.payload.unwrap_or_default().0;
        let text = |name: &str| {
            let text = payload.get(name).and_then(|value| value.as_str());
            text.map(str::to_string)
                .ok_or_else(|| self.strange(&format!("a payload has no {name}")))
        };
        Ok(Stub {
            id: self.id(record.id)?,
            key: text("key")?,
            blake3: text("blake3")?,
            bytes: payload.get("bytes").and_then(|value| value.as_u64()),
            modified: payload.get("modified").and_then(|value| value.as_i64()),
        })
    }
}
