//! Reading points, codes, ids and hashes from the engine, by ids and page by page.

use std::collections::HashMap;

use qdrant_edge::{PointId, Record, ScrollRequest, WithPayloadInterface, WithVector};
use uuid::Uuid;

use super::shard::{IDS_PER_OPERATION, Shard, only_fields, scroll_request};
use crate::{Filter, GalleryError, Point};

impl Shard {
    /// What the engine has of those of these points that are there, in this order.
    fn records(
        &self,
        reading: &'static str,
        ids: &[Uuid],
        payload: WithPayloadInterface,
        vector: WithVector,
    ) -> Result<Vec<Record>, GalleryError> {
        let ids: Vec<_> = ids.iter().copied().map(PointId::Uuid).collect();
        self.with(reading, |edge| {
            edge.retrieve(&ids, Some(payload), Some(vector))
        })
    }

    /// The codes of those of these points that are there, in this order.
    pub(super) fn codes_of(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Vec<f32>)>, GalleryError> {
        let nothing = WithPayloadInterface::Bool(false);
        self.all_codes(self.records("reading codes", ids, nothing, self.with_code())?)
    }

    fn all_codes(&self, records: Vec<Record>) -> Result<Vec<(Uuid, Vec<f32>)>, GalleryError> {
        records
            .into_iter()
            .map(|record| Ok((self.id(record.id)?, self.code(record.vector)?)))
            .collect()
    }

    /// The points of these ids, in this order.
    pub(super) fn retrieve(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError> {
        let all = WithPayloadInterface::Bool(true);
        self.all_found(self.records("reading points", ids, all, self.with_code())?)
    }

    /// The hash in the payload of each of these points.
    pub(super) fn hashes(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, GalleryError> {
        let (hash, no_code) = (only_fields(&["blake3"]), WithVector::Bool(false));
        let records = self.records("reading points", ids, hash, no_code)?;
        records
            .into_iter()
            .map(|record| self.hash(record))
            .collect()
    }

    fn hash(&self, record: Record) -> Result<(Uuid, String), GalleryError> {
        let hash = record.payload.as_ref().and_then(|p| p.0.get("blake3"));
        let hash = hash.and_then(|hash| hash.as_str()).unwrap_or_default();
        Ok((self.id(record.id)?, hash.to_string()))
    }

    /// Which of these points are there.
    pub(super) fn present(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, GalleryError> {
        let mut present = Vec::new();
        for ids in ids.chunks(IDS_PER_OPERATION) {
            let (nothing, no_code) = (WithPayloadInterface::Bool(false), WithVector::Bool(false));
            let records = self.records("reading ids", ids, nothing, no_code)?;
            for record in records {
                present.push(self.id(record.id)?);
            }
        }
        Ok(present)
    }

    /// The next points after `after`, in the order of their ids.
    pub(super) fn scroll(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Point>, GalleryError> {
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
        self.all_codes(records)
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

    /// As [`Shard::scroll`], ids and the hashes in the payloads only.
    pub(super) fn scroll_hashes(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<(Uuid, String)>, GalleryError> {
        let Some(request) = scroll_request(after, limit, filter) else {
            return Ok(Vec::new());
        };
        let request = ScrollRequest {
            with_payload: Some(only_fields(&["blake3"])),
            ..request
        };
        let (records, _) = self.with("reading payloads", |edge| edge.scroll(request))?;
        records
            .into_iter()
            .map(|record| self.hash(record))
            .collect()
    }
}
