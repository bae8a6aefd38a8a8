//! Indexes over fields of the payloads, and the facets that need them.

use std::collections::{BTreeMap, BTreeSet};

use qdrant_client::qdrant::facet_value::Variant;
use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::{
    CreateFieldIndexCollection, DeleteFieldIndexCollection, FacetCounts, FacetHit, FacetResponse,
    FacetValue, FieldType, PointsOperationResponse,
};
use serde_json::Value;
use tonic::Status;
use uuid::Uuid;

use super::collection::Index;
use super::filter::Filter;
use super::path::Path;
use super::store::Store;
use super::{Point, error, points};

/// Facets that are told if nothing is said.
const FACETS: u64 = 10;

impl Store {
    pub fn create_index(
        &mut self,
        request: CreateFieldIndexCollection,
    ) -> Result<PointsOperationResponse, Status> {
        let collection = self.resolve_mut(&request.collection_name)?;
        let path = Path::parse(&request.field_name)?;
        let kind = request
            .field_type
            .ok_or_else(|| Status::invalid_argument("cannot convert field_type"))?;
        let kind = FieldType::try_from(kind)
            .map_err(|_| Status::invalid_argument("field type is missing"))?;
        let params = request
            .field_index_params
            .filter(|params| params.index_params.is_some());
        if let Some(params) = params
            .as_ref()
            .and_then(|params| params.index_params.as_ref())
            && kind_of(params) != kind
        {
            return Err(Status::invalid_argument(format!(
                "field_type ({kind:?}) and field_index_params do not match"
            )));
        }
        let index = Index { path, kind, params };
        collection.indexes.insert(request.field_name, index);
        Ok(points::written(collection, request.wait))
    }

    pub fn delete_index(
        &mut self,
        request: DeleteFieldIndexCollection,
    ) -> Result<PointsOperationResponse, Status> {
        let collection = self.resolve_mut(&request.collection_name)?;
        Path::parse(&request.field_name)?;
        collection.indexes.remove(&request.field_name);
        Ok(points::written(collection, request.wait))
    }

    pub fn facet(&mut self, request: FacetCounts) -> Result<FacetResponse, Status> {
        let collection = self.resolve(&request.collection_name)?;
        Path::parse(&request.key)?;
        let filter = Filter::read(request.filter)?;
        let index = collection.indexes.get(&request.key);
        let index = index.filter(|index| index.has_facets()).ok_or_else(|| {
            error::bad_input(format_args!(
                "No appropriate index for faceting: `{}`. Please create one to facet on this field. Check \
                 https://qdrant.tech/documentation/concepts/indexing/#payload-index to see which payload schemas \
                 support Match conditions",
                request.key
            ))
        })?;
        let mut counts: BTreeMap<Facet, u64> = BTreeMap::new();
        for (id, point) in &collection.points {
            if filter.admits(*id, point) {
                for facet in index.facets(point) {
                    *counts.entry(facet).or_default() += 1;
                }
            }
        }
        let mut hits: Vec<_> = counts.into_iter().collect();
        // Most first; equal ones stay in the order of their values.
        hits.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let limit = request.limit.unwrap_or(FACETS);
        hits.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(FacetResponse {
            hits: hits
                .into_iter()
                .map(|(facet, count)| FacetHit {
                    value: Some(FacetValue {
                        variant: Some(facet.write()),
                    }),
                    count,
                })
                .collect(),
            ..FacetResponse::default()
        })
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Facet {
    Keyword(String),
    Integer(i64),
    Uuid(Uuid),
    Bool(bool),
}

impl Facet {
    fn write(self) -> Variant {
        match self {
            Self::Keyword(text) => Variant::StringValue(text),
            Self::Integer(number) => Variant::IntegerValue(number),
            Self::Uuid(uuid) => Variant::StringValue(uuid.to_string()),
            Self::Bool(yes) => Variant::BoolValue(yes),
        }
    }
}

impl Index {
    fn has_facets(&self) -> bool {
        matches!(
            self.kind,
            FieldType::Keyword | FieldType::Integer | FieldType::Uuid | FieldType::Bool
        )
    }

    /// What of a point goes into the index: the field's values, or the elements where it is an
    /// array.
    fn values<'a>(&'a self, point: &'a Point) -> impl Iterator<Item = &'a Value> {
        let values = self.path.find(&point.payload).into_iter();
        values.flat_map(|value| match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        })
    }

    fn facets(&self, point: &Point) -> BTreeSet<Facet> {
        self.values(point)
            .filter_map(|value| match self.kind {
                FieldType::Keyword => value.as_str().map(|text| Facet::Keyword(text.to_owned())),
                FieldType::Integer => value.as_i64().map(Facet::Integer),
                FieldType::Bool => value.as_bool().map(Facet::Bool),
                FieldType::Uuid => value
                    .as_str()
                    .and_then(|text| Uuid::parse_str(text).ok())
                    .map(Facet::Uuid),
                _ => None,
            })
            .collect()
    }

    /// Whether a point has something to index.
    pub(super) fn has(&self, point: &Point) -> bool {
        if self.has_facets() {
            return !self.facets(point).is_empty();
        }
        self.values(point).any(|value| match self.kind {
            FieldType::Float => value.is_number(),
            FieldType::Geo => value.is_object(),
            _ => value.is_string(),
        })
    }
}

fn kind_of(params: &IndexParams) -> FieldType {
    match params {
        IndexParams::KeywordIndexParams(_) => FieldType::Keyword,
        IndexParams::IntegerIndexParams(_) => FieldType::Integer,
        IndexParams::FloatIndexParams(_) => FieldType::Float,
        IndexParams::GeoIndexParams(_) => FieldType::Geo,
        IndexParams::TextIndexParams(_) => FieldType::Text,
        IndexParams::BoolIndexParams(_) => FieldType::Bool,
        IndexParams::DatetimeIndexParams(_) => FieldType::Datetime,
        IndexParams::UuidIndexParams(_) => FieldType::Uuid,
    }
}
