//! A collection: its points and how it was made.

use std::collections::{BTreeMap, BTreeSet};

use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionConfig, FieldType, PayloadIndexParams, VectorParams, VectorsConfig,
};
use serde_json::{Map, Value};
use tonic::Status;

use super::path::Path;
use super::space::{Space, UNNAMED};
use super::{Id, error};

/// A point as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Its payload; fields in the order of their names.
    pub payload: Map<String, Value>,
    /// Its vectors by name, with cosine normalised; the one without a name is called "".
    pub vectors: BTreeMap<String, Vec<f32>>,
    /// The number of the operation that wrote it.
    pub version: u64,
}

/// A collection as it was when it was looked at.
#[derive(Clone, Debug)]
pub struct Collection {
    pub(super) config: CollectionConfig,
    pub(super) metadata: Map<String, Value>,
    pub(super) spaces: BTreeMap<String, Space>,
    pub(super) points: BTreeMap<Id, Point>,
    pub(super) indexes: BTreeMap<String, Index>,
    /// How many operations have written to it.
    pub(super) operations: u64,
}

/// An index over a field of the payloads.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub path: Path,
    pub kind: FieldType,
    pub params: Option<PayloadIndexParams>,
}

impl Collection {
    pub(super) fn new(
        config: CollectionConfig,
        metadata: Map<String, Value>,
    ) -> Result<Self, Status> {
        let spaces = vectors(&config)
            .into_iter()
            .map(|(name, params)| Ok((name, Space::read(params)?)))
            .collect::<Result<_, Status>>()?;
        Ok(Self {
            config,
            metadata,
            spaces,
            points: BTreeMap::new(),
            indexes: BTreeMap::new(),
            operations: 0,
        })
    }

    /// All points.
    pub fn points(&self) -> &BTreeMap<Id, Point> {
        &self.points
    }

    /// One point.
    pub fn point(&self, id: impl Into<Id>) -> Option<&Point> {
        self.points.get(&id.into())
    }

    /// How the collection was made, and what was changed since, with Qdrant's defaults; without the
    /// metadata.
    pub fn config(&self) -> &CollectionConfig {
        &self.config
    }

    /// What was said about the collection.
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// Fields that have an index, and of which kind.
    pub fn indexes(&self) -> BTreeMap<String, FieldType> {
        self.indexes
            .iter()
            .map(|(name, index)| (name.clone(), index.kind))
            .collect()
    }

    /// Vectors that points may have, and how they were made.
    pub fn vectors(&self) -> BTreeMap<String, &VectorParams> {
        vectors(&self.config)
    }

    pub(super) fn space(&self, name: &str) -> Result<Space, Status> {
        let space = self.spaces.get(name).copied();
        space.ok_or_else(|| error::no_vector(name))
    }

    /// Points have one vector without a name.
    pub(super) fn is_unnamed(&self) -> bool {
        self.spaces.contains_key(UNNAMED)
    }

    /// Which of the vectors are meant.
    pub(super) fn names(&self, names: Vec<String>) -> Result<BTreeSet<String>, Status> {
        for name in &names {
            self.space(name)?;
        }
        Ok(names.into_iter().collect())
    }
}

fn vectors(config: &CollectionConfig) -> BTreeMap<String, &VectorParams> {
    let params = config.params.as_ref();
    match params.and_then(|params| params.vectors_config.as_ref()) {
        Some(VectorsConfig {
            config: Some(Config::Params(params)),
        }) => BTreeMap::from([(UNNAMED.to_owned(), params)]),
        Some(VectorsConfig {
            config: Some(Config::ParamsMap(map)),
        }) => map.map.iter().map(|(name, p)| (name.clone(), p)).collect(),
        _ => BTreeMap::new(),
    }
}
