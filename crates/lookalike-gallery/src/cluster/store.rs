//! Reading and changing points on the cluster.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use prost::Message as _;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::{
    CountPoints, DeletePoints, FacetCounts, Filter as ClusterFilter, GetPoints, PointId,
    PointStruct, PointsIdsList, PointsSelector, RetrievedPoint, ScrollPoints, UpsertPoints,
    WithPayloadSelector, WithVectorsSelector, facet_value,
};
use serde_json::Value as Json;
use uuid::Uuid;

use super::ClusterGallery;
use super::connection::{is_passing, is_refusal};
use super::{points, query};
use crate::filter::Field;
use crate::{Facet, Filter, GalleryError, Point, Stub, Upserted};

/// Ids that are looked up at a time, also with their codes.
const LOOKED_UP: usize = 1_000;
/// Points that are sent at a time, and the bytes that they may have together.
const SENT: usize = 256;
const SENT_BYTES: usize = 4 << 20;
/// Ids that are deleted at a time, and payloads that are read at a time.
const PAGE: usize = 10_000;
/// Values that are asked for at a time: fewer would do, but those that are equally frequent could
/// be the wrong ones.
const VALUES: u64 = 1 << 20;

/// Points that go together, and what to send for each.
type Batch = Vec<(Uuid, PointStruct)>;

impl ClusterGallery {
    /// The points of these ids, as the cluster gives them.
    fn get(
        &self,
        ids: &[Uuid],
        with_payload: Option<WithPayloadSelector>,
        with_vectors: Option<WithVectorsSelector>,
    ) -> Result<Vec<RetrievedPoint>, GalleryError> {
        let request = GetPoints {
            collection_name: self.collection_name().to_owned(),
            ids: ids.iter().copied().map(PointId::from).collect(),
            with_payload,
            with_vectors,
            ..GetPoints::default()
        };
        let found = self.connection.read("looking up points", move |client| {
            let request = request.clone();
            async move { client.get_points(request).await }
        })?;
        Ok(found.result)
    }

    /// See [`Gallery::retrieve`](crate::Gallery::retrieve).
    pub(super) fn whole_points(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError> {
        let metric = self.manifest.metric;
        let pages: Vec<_> = ids.chunks(LOOKED_UP).collect();
        let pages = self.connection.each(pages, |ids| {
            let codes = points::with_codes(metric);
            self.get(ids, points::without_thumbnails(), codes)?
                .into_iter()
                .map(|found| points::point(found, metric).map_err(|why| self.strange(why)))
                .collect::<Result<Vec<_>, _>>()
        });
        let mut found = HashMap::new();
        for page in pages {
            found.extend(page?.into_iter().map(|point| (point.id, point)));
        }
        Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    /// See [`Gallery::existing`](crate::Gallery::existing).
    pub(super) fn hashes(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, GalleryError> {
        let pages = self.connection.each(ids.chunks(PAGE).collect(), |ids| {
            self.get(ids, points::only(&["blake3"]), points::no_codes())
        });
        let mut hashes = HashMap::new();
        for page in pages {
            for mut found in page? {
                let id = points::id(found.id).map_err(|why| self.strange(why))?;
                let hash = points::text(&mut found.payload, "blake3");
                let hash = hash.ok_or_else(|| self.strange("a point has no blake3".into()))?;
                hashes.insert(id, hash);
            }
        }
        Ok(hashes)
    }

    /// The next points in the order of their ids, as the cluster gives them.
    pub(super) fn page(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<ClusterFilter>,
        with_payload: Option<WithPayloadSelector>,
        with_vectors: Option<WithVectorsSelector>,
    ) -> Result<Vec<RetrievedPoint>, GalleryError> {
        // The cluster begins at the offset, not after it.
        let offset = match after.map(|after| after.as_u128().checked_add(1)) {
            Some(None) => return Ok(Vec::new()),
            Some(Some(next)) => Some(PointId::from(Uuid::from_u128(next))),
            None => None,
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let request = ScrollPoints {
            collection_name: self.collection_name().to_owned(),
            filter,
            offset,
            limit: Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            with_payload,
            with_vectors,
            ..ScrollPoints::default()
        };
        let found = self.connection.read("reading points", move |client| {
            let request = request.clone();
            async move { client.scroll(request).await }
        })?;
        Ok(found.result)
    }

    /// See [`Gallery::scroll`](crate::Gallery::scroll).
    pub(super) fn next_points(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<ClusterFilter>,
    ) -> Result<Vec<Point>, GalleryError> {
        let metric = self.manifest.metric;
        let codes = points::with_codes(metric);
        self.page(after, limit, filter, points::without_thumbnails(), codes)?
            .into_iter()
            .map(|found| points::point(found, metric).map_err(|why| self.strange(why)))
            .collect()
    }

    /// See [`Gallery::stubs`](crate::Gallery::stubs).
    pub(super) fn next_stubs(
        &self,
        source: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Stub>, GalleryError> {
        let of_source = query::filter(&Filter::of_source(source));
        let fields = [
            "source",
            "key",
            "width",
            "height",
            "blake3",
            "bytes",
            "modified",
            points::EXACT,
        ];
        let page = self.page(
            after,
            limit,
            Some(of_source),
            points::only(&fields),
            points::no_codes(),
        )?;
        let stub = |found: RetrievedPoint| {
            let id = points::id(found.id)?;
            let payload = points::payload(found.payload)?;
            Ok(Stub {
                id,
                key: payload.key,
                blake3: payload.blake3,
                bytes: payload.bytes,
                modified: payload.modified,
            })
        };
        page.into_iter()
            .map(|found| stub(found).map_err(|why| self.strange(why)))
            .collect()
    }

    /// See [`Gallery::with_content`](crate::Gallery::with_content).
    pub(super) fn of_contents(
        &self,
        hashes: &[&str],
    ) -> Result<HashMap<String, Point>, GalleryError> {
        let mut found: HashMap<String, Point> = HashMap::new();
        for hashes in hashes.chunks(LOOKED_UP) {
            // The lowest ids come first. Where one content has very many points, the others are
            // looked up on their own.
            let filter = query::with_contents(hashes);
            let page = self.next_points(None, 2 * LOOKED_UP, Some(filter))?;
            let is_all = page.len() < 2 * LOOKED_UP;
            for point in page {
                found.entry(point.payload.blake3.clone()).or_insert(point);
            }
            if is_all {
                continue;
            }
            for hash in hashes {
                if !found.contains_key(*hash) {
                    let filter = query::with_contents(&[hash]);
                    let first = self.next_points(None, 1, Some(filter))?.pop();
                    found.extend(first.map(|point| ((*hash).to_owned(), point)));
                }
            }
        }
        Ok(found)
    }

    /// How many points pass.
    pub(super) fn passing(&self, filter: Option<&Filter>) -> Result<usize, GalleryError> {
        let request = CountPoints {
            collection_name: self.collection_name().to_owned(),
            filter: filter.map(query::filter),
            exact: Some(true),
            ..CountPoints::default()
        };
        let counted = self.connection.read("counting points", move |client| {
            let request = request.clone();
            async move { client.count(request).await }
        })?;
        Ok(counted.result.unwrap_or_default().count as usize)
    }

    /// See [`Gallery::facets`](crate::Gallery::facets).
    pub(super) fn values(
        &self,
        field: &Field,
        filter: Option<&Filter>,
    ) -> Result<Vec<Facet>, GalleryError> {
        match field {
            Field::Source | Field::Label | Field::Blake3 | Field::Key | Field::Location => {
                self.indexed_values(field, filter)
            }
            _ => self.read_values(field, filter),
        }
    }

    fn indexed_values(
        &self,
        field: &Field,
        filter: Option<&Filter>,
    ) -> Result<Vec<Facet>, GalleryError> {
        let request = FacetCounts {
            collection_name: self.collection_name().to_owned(),
            key: field.path(),
            filter: filter.map(query::filter),
            limit: Some(VALUES),
            exact: Some(true),
            ..FacetCounts::default()
        };
        let counted = self.connection.read("counting values", move |client| {
            let request = request.clone();
            async move { client.facet(request).await }
        })?;
        let facet = |hit: qdrant_client::qdrant::FacetHit| match hit
            .value
            .and_then(|value| value.variant)
        {
            Some(facet_value::Variant::StringValue(text)) => Ok(Facet {
                value: Json::String(text),
                count: hit.count as usize,
            }),
            other => Err(self.strange(format!("a text field has the value {other:?}"))),
        };
        // An index on disk still names values that no point has any more.
        let there = counted.hits.into_iter().filter(|hit| hit.count > 0);
        there.map(facet).collect()
    }

    /// Counts here: the cluster counts the values of a field that it has an index of, and those of
    /// one kind alone.
    fn read_values(
        &self,
        field: &Field,
        filter: Option<&Filter>,
    ) -> Result<Vec<Facet>, GalleryError> {
        self.check_readable(filter, "counted")?;
        let paths: Vec<String> = [field.path()]
            .into_iter()
            .chain(field.path_before())
            .collect();
        let fields: Vec<&str> = paths.iter().map(String::as_str).collect();
        // By their JSON: values themselves can be no keys.
        let mut counts: BTreeMap<String, Facet> = BTreeMap::new();
        let mut last = None;
        loop {
            let page = self.page(
                last,
                PAGE,
                filter.map(query::filter),
                points::only(&fields),
                points::no_codes(),
            )?;
            let is_last = page.len() < PAGE;
            for found in page {
                last = Some(points::id(found.id).map_err(|why| self.strange(why))?);
                let payload = found.payload.into_iter();
                let payload = payload.map(|(name, value)| (name, Json::from(value)));
                for (name, value) in field.values(&payload.collect()) {
                    let facet = counts.entry(name).or_insert(Facet { value, count: 0 });
                    facet.count += 1;
                }
            }
            if is_last {
                return Ok(counts.into_values().collect());
            }
        }
    }

    /// See [`Gallery::upsert`](crate::Gallery::upsert).
    pub(super) fn store(&self, points: &[Point]) -> Result<Upserted, GalleryError> {
        let last: HashMap<Uuid, &Point> = points.iter().map(|point| (point.id, point)).collect();
        let mut ids: Vec<Uuid> = last.keys().copied().collect();
        ids.sort();
        let parts = self.connection.each(ids.chunks(SENT).collect(), |ids| {
            let wanted: Vec<&Point> = ids.iter().map(|id| last[id]).collect();
            self.store_some(&wanted)
        });
        let mut stored = Upserted::default();
        let mut failed = Vec::new();
        for part in parts {
            let (upserted, not_stored) = part?;
            stored.added += upserted.added;
            stored.changed += upserted.changed;
            stored.unchanged += upserted.unchanged;
            failed.extend(not_stored);
        }
        match failed.is_empty() {
            true => Ok(stored),
            false => Err(GalleryError::NotStored {
                path: self.path(),
                of: ids.len(),
                failed,
                stored,
            }),
        }
    }

    /// Stores points of different ids: what was done, and those that could not be stored.
    ///
    /// # Errors
    ///
    /// [`GalleryError::Refused`]: what one request may not do, no other may.
    fn store_some(
        &self,
        wanted: &[&Point],
    ) -> Result<(Upserted, Vec<(Uuid, String)>), GalleryError> {
        let mut upserted = Upserted::default();
        let mut failed = Vec::new();
        let prepared = self.prepared(wanted, &mut upserted);
        let (batches, was_there) = match prepared {
            Ok(prepared) => prepared,
            Err(error @ GalleryError::Refused { .. }) => return Err(error),
            Err(error) => {
                let why = error.to_string();
                failed.extend(wanted.iter().map(|point| (point.id, why.clone())));
                return Ok((upserted, failed));
            }
        };
        for batch in batches {
            let ids: Vec<_> = batch.iter().map(|(id, _)| *id).collect();
            let not_stored = self.send(batch)?;
            let lost: HashSet<_> = not_stored.iter().map(|(id, _)| *id).collect();
            for id in ids.iter().filter(|id| !lost.contains(id)) {
                match was_there.contains(id) {
                    true => upserted.changed += 1,
                    false => upserted.added += 1,
                }
            }
            failed.extend(not_stored);
        }
        Ok((upserted, failed))
    }

    /// What is to be sent of these points, those left out that are there already, and which of them
    /// replace others.
    fn prepared(
        &self,
        wanted: &[&Point],
        upserted: &mut Upserted,
    ) -> Result<(Vec<Batch>, HashSet<Uuid>), GalleryError> {
        let ids: Vec<_> = wanted.iter().map(|point| point.id).collect();
        let there = self.whole_points(&ids)?;
        let there: HashMap<Uuid, Point> = there.into_iter().map(|p| (p.id, p)).collect();
        let wanted: Vec<&Point> = wanted
            .iter()
            .filter(|point| !there.get(&point.id).is_some_and(|there| there.is(point)))
            .copied()
            .collect();
        upserted.unchanged += ids.len() - wanted.len();
        let thumbnails = self.thumbnails_for(&wanted)?;
        let mut batches: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        for point in &wanted {
            let thumbnail = thumbnails.get(point.payload.blake3.as_str());
            let sent = points::sent(point, self.manifest.metric, thumbnail.map(Vec::as_slice));
            bytes += sent.encoded_len();
            match batches.last_mut() {
                Some(batch) if batch.len() < SENT && bytes <= SENT_BYTES => {
                    batch.push((point.id, sent));
                }
                _ => {
                    bytes = sent.encoded_len();
                    batches.push(vec![(point.id, sent)]);
                }
            }
        }
        Ok((batches, there.into_keys().collect()))
    }

    /// The thumbnails that these points need: those that were put, else those that points of the
    /// same content have.
    fn thumbnails_for(&self, wanted: &[&Point]) -> Result<HashMap<String, Vec<u8>>, GalleryError> {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        {
            let waiting = self.waiting_thumbnails();
            for point in wanted {
                let hash = point.payload.blake3.as_str();
                match waiting.get(hash) {
                    Some(bytes) => drop(found.insert(hash.to_owned(), bytes.clone())),
                    None => missing.push(hash),
                }
            }
        }
        found.extend(self.stored_thumbnails(missing)?);
        Ok(found)
    }

    /// The thumbnails that points of these contents have.
    pub(super) fn stored_thumbnails(
        &self,
        hashes: Vec<&str>,
    ) -> Result<HashMap<String, Vec<u8>>, GalleryError> {
        let mut found = HashMap::new();
        let mut missing = hashes;
        missing.sort_unstable();
        missing.dedup();
        let mut last = None;
        while !missing.is_empty() {
            let filter = query::with_thumbnails(&missing);
            let fields = ["blake3", points::THUMBNAIL];
            // A few at a time: they may be large.
            let page = self.page(
                last,
                SENT,
                Some(filter),
                points::only(&fields),
                points::no_codes(),
            )?;
            let is_last = page.len() < SENT;
            for mut point in page {
                last = Some(points::id(point.id).map_err(|why| self.strange(why))?);
                let hash = points::text(&mut point.payload, "blake3");
                let bytes = points::thumbnail(&mut point.payload);
                found.extend(hash.zip(bytes));
            }
            missing.retain(|hash| !found.contains_key(*hash));
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// Thumbnails that wait for their points.
    pub(super) fn waiting_thumbnails(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.thumbnails
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends points: those that could not be stored. Where the cluster does not take some of them,
    /// the others are still stored.
    ///
    /// # Errors
    ///
    /// [`GalleryError::Refused`], when the cluster wants another key: dividing the points would not
    /// help.
    fn send(&self, batch: Batch) -> Result<Vec<(Uuid, String)>, GalleryError> {
        let request = UpsertPoints {
            collection_name: self.collection_name().to_owned(),
            wait: Some(true),
            points: batch.iter().map(|(_, point)| point.clone()).collect(),
            ..UpsertPoints::default()
        };
        let sent = {
            let _turn = self.turns.take();
            self.connection
                .ask(self.connection.options.writing, move |client| {
                    let request = request.clone();
                    async move { client.upsert_points(request).await }
                })
        };
        let Err(failure) = sent else {
            return Ok(Vec::new());
        };
        if is_refusal(failure.code) {
            return Err(self.connection.failed("storing points", failure));
        }
        if !is_passing(failure.code) && batch.len() > 1 {
            let mut first = batch;
            let second = first.split_off(first.len() / 2);
            let mut failed = self.send(first)?;
            failed.extend(self.send(second)?);
            return Ok(failed);
        }
        let why = self
            .connection
            .failed("storing points", failure)
            .to_string();
        Ok(batch.into_iter().map(|(id, _)| (id, why.clone())).collect())
    }

    /// See [`Gallery::delete`](crate::Gallery::delete).
    pub(super) fn remove(&self, ids: &[Uuid]) -> Result<usize, GalleryError> {
        let mut there: Vec<Uuid> = self.hashes(ids)?.into_keys().collect();
        there.sort();
        let pages = self.connection.each(there.chunks(PAGE).collect(), |ids| {
            let ids = ids.iter().copied().map(PointId::from).collect();
            let request = DeletePoints {
                collection_name: self.collection_name().to_owned(),
                wait: Some(true),
                points: Some(PointsSelector {
                    points_selector_one_of: Some(PointsSelectorOneOf::Points(PointsIdsList {
                        ids,
                    })),
                }),
                ..DeletePoints::default()
            };
            let _turn = self.turns.take();
            self.connection.write("deleting points", move |client| {
                let request = request.clone();
                async move { client.delete_points(request).await }
            })
        });
        pages.into_iter().try_for_each(|page| page.map(drop))?;
        Ok(there.len())
    }
}
