//! Storing, removing and reading points.

use std::collections::BTreeSet;
use std::ops::Bound;

use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::with_payload_selector::SelectorOptions as PayloadOptions;
use qdrant_client::qdrant::with_vectors_selector::SelectorOptions as VectorOptions;
use qdrant_client::qdrant::{
    CountPoints, CountResponse, CountResult, DeletePoints, GetPoints, GetResponse, PointStruct,
    PointsOperationResponse, RetrievedPoint, ScrollPoints, ScrollResponse, UpdateMode,
    UpdateResult, UpdateStatus, UpsertPoints, VectorsOutput, WithPayloadSelector,
    WithVectorsSelector,
};
use tonic::Status;

use super::filter::Filter;
use super::path::{Part, Path};
use super::store::Store;
use super::{Collection, Id, Point, error, json, space};

/// Points of a page if nothing is said.
const PAGE: usize = 10;

impl Store {
    /// Wrong dimensions are found before anything is stored; the name of a vector that does not
    /// exist only when its point's turn comes. Which of the other points are stored then is not to
    /// be relied on: with Qdrant it depends on shards and segments, here they are those before it.
    /// If the client does not wait, it is not told.
    pub fn upsert(&mut self, request: UpsertPoints) -> Result<PointsOperationResponse, Status> {
        let wait = request.wait;
        let mode = request.update_mode.unwrap_or_default();
        let mode = UpdateMode::try_from(mode).unwrap_or(UpdateMode::Upsert);
        let only_if = Filter::read(request.update_filter)?;
        let points = request
            .points
            .into_iter()
            .map(read)
            .collect::<Result<Vec<_>, _>>()?;
        let collection = self.resolve_mut(&request.collection_name)?;
        for (_, point) in &points {
            for (name, vector) in &point.vectors {
                if let Some(space) = collection.spaces.get(name) {
                    space.check(vector).map_err(|status| named(&status, name))?;
                }
            }
        }
        for (id, mut point) in points {
            let before = collection.points.get(&id);
            let wanted = match mode {
                UpdateMode::Upsert => true,
                UpdateMode::InsertOnly => before.is_none(),
                UpdateMode::UpdateOnly => before.is_some(),
            };
            if !wanted || before.is_some_and(|before| !only_if.admits(id, before)) {
                continue;
            }
            for (name, vector) in &mut point.vectors {
                match collection.space(name) {
                    Ok(space) => *vector = space.stored(std::mem::take(vector)),
                    Err(status) if wait.unwrap_or(false) => return Err(status),
                    Err(_) => return Ok(written(collection, wait)),
                }
            }
            point.version = collection.operations;
            collection.points.insert(id, point);
        }
        Ok(written(collection, wait))
    }

    pub fn delete(&mut self, request: DeletePoints) -> Result<PointsOperationResponse, Status> {
        let selector = request
            .points
            .ok_or_else(|| Status::invalid_argument("PointSelector is missing"))?;
        let collection = self.resolve_mut(&request.collection_name)?;
        match selector.points_selector_one_of {
            Some(PointsSelectorOneOf::Points(list)) => {
                for id in ids(&list.ids)? {
                    collection.points.remove(&id);
                }
            }
            Some(PointsSelectorOneOf::Filter(filter)) => {
                let filter = Filter::read(Some(filter))?;
                collection
                    .points
                    .retain(|id, point| !filter.admits(*id, point));
            }
            None => return Err(Status::invalid_argument("Malformed PointsSelector type")),
        }
        Ok(written(collection, request.wait))
    }

    /// In the order in which they were asked for, each once; those that do not exist are passed
    /// over.
    pub fn get(&mut self, request: GetPoints) -> Result<GetResponse, Status> {
        let collection = self.resolve(&request.collection_name)?;
        let wanted = Wanted::read(
            collection,
            request.with_payload,
            request.with_vectors,
            false,
        )?;
        let mut seen = BTreeSet::new();
        let result = ids(&request.ids)?
            .into_iter()
            .filter(|id| seen.insert(*id))
            .filter_map(|id| Some(wanted.of(id, collection.points.get(&id)?)))
            .collect();
        Ok(GetResponse {
            result,
            ..GetResponse::default()
        })
    }

    pub fn scroll(&mut self, request: ScrollPoints) -> Result<ScrollResponse, Status> {
        if request.order_by.is_some() {
            return Err(error::unsupported("order but by id"));
        }
        let limit = error::at_least_one("limit", request.limit.map(u64::from))?.unwrap_or(PAGE);
        let filter = Filter::read(request.filter)?;
        let collection = self.resolve(&request.collection_name)?;
        let wanted = Wanted::read(collection, request.with_payload, request.with_vectors, true)?;
        let from = match &request.offset {
            None => Bound::Unbounded,
            offset => Bound::Included(Id::read(offset.as_ref())?),
        };
        let mut points = collection
            .points
            .range((from, Bound::Unbounded))
            .filter(|(id, point)| filter.admits(**id, point));
        let result = points
            .by_ref()
            .take(limit)
            .map(|(id, point)| wanted.of(*id, point))
            .collect();
        Ok(ScrollResponse {
            next_page_offset: points.next().map(|(id, _)| id.write()),
            result,
            ..ScrollResponse::default()
        })
    }

    pub fn count(&mut self, request: CountPoints) -> Result<CountResponse, Status> {
        let filter = Filter::read(request.filter)?;
        let points = self.resolve(&request.collection_name)?.points.iter();
        let count = points
            .filter(|(id, point)| filter.admits(**id, point))
            .count() as u64;
        Ok(CountResponse {
            result: Some(CountResult { count }),
            ..CountResponse::default()
        })
    }
}

/// With the name of the vector, if it has one.
fn named(status: &Status, name: &str) -> Status {
    if name == space::UNNAMED {
        return status.clone();
    }
    let message = format!("{} for vector '{name}'", status.message());
    Status::new(status.code(), message)
}

fn read(sent: PointStruct) -> Result<(Id, Point), Status> {
    let point = Point {
        payload: json::read_object(sent.payload)?,
        vectors: space::read(sent.vectors)?,
        version: 0,
    };
    Ok((Id::read(sent.id.as_ref())?, point))
}

fn ids(ids: &[qdrant_client::qdrant::PointId]) -> Result<Vec<Id>, Status> {
    ids.iter().map(|id| Id::read(Some(id))).collect()
}

/// The answer to an operation that writes, and its number.
pub(super) fn written(collection: &mut Collection, wait: Option<bool>) -> PointsOperationResponse {
    let operation = collection.operations;
    collection.operations += 1;
    let status = if wait.unwrap_or(false) {
        UpdateStatus::Completed
    } else {
        UpdateStatus::Acknowledged
    };
    PointsOperationResponse {
        result: Some(UpdateResult {
            operation_id: Some(operation),
            status: status.into(),
        }),
        ..PointsOperationResponse::default()
    }
}

/// What of a point is wanted in an answer.
pub(super) struct Wanted {
    payload: Part,
    vectors: Option<Names>,
    unnamed: bool,
}

enum Names {
    All,
    These(BTreeSet<String>),
}

impl Wanted {
    /// `payload_unasked`: whether the payload is told if nothing is said of it.
    pub fn read(
        collection: &Collection,
        payload: Option<WithPayloadSelector>,
        vectors: Option<WithVectorsSelector>,
        payload_unasked: bool,
    ) -> Result<Self, Status> {
        let paths = |fields: &[String]| -> Result<Vec<Path>, Status> {
            fields.iter().map(|field| Path::parse(field)).collect()
        };
        let enabled = |enabled| {
            if enabled {
                Part::Everything
            } else {
                Part::Nothing
            }
        };
        let payload = match payload {
            None => enabled(payload_unasked),
            Some(selector) => match selector.selector_options {
                None => return Err(Status::invalid_argument("No PayloadSelector")),
                Some(PayloadOptions::Enable(yes)) => enabled(yes),
                Some(PayloadOptions::Include(only)) => Part::Include(paths(&only.fields)?),
                Some(PayloadOptions::Exclude(but)) => Part::Exclude(paths(&but.fields)?),
            },
        };
        let vectors = match vectors.and_then(|selector| selector.selector_options) {
            None | Some(VectorOptions::Enable(false)) => None,
            Some(VectorOptions::Enable(true)) => Some(Names::All),
            Some(VectorOptions::Include(only)) => Some(Names::These(collection.names(only.names)?)),
        };
        Ok(Self {
            payload,
            vectors,
            unnamed: collection.is_unnamed(),
        })
    }

    pub fn payload(&self, point: &Point) -> json::Object {
        self.payload.of(&point.payload)
    }

    pub fn vectors(&self, point: &Point) -> Option<VectorsOutput> {
        let wanted = self.vectors.as_ref()?;
        let vectors = point.vectors.iter().filter(|(name, _)| match wanted {
            Names::All => true,
            Names::These(names) => names.contains(*name),
        });
        Some(space::write(vectors, self.unnamed))
    }

    fn of(&self, id: Id, point: &Point) -> RetrievedPoint {
        RetrievedPoint {
            id: Some(id.write()),
            payload: json::write_object(self.payload(point)),
            vectors: self.vectors(point),
            ..RetrievedPoint::default()
        }
    }
}
