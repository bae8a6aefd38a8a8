//! What servers say, as lines that can be compared.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::fmt::Write as _;

use qdrant_client::qdrant::vectors_output::VectorsOptions;
use qdrant_client::qdrant::{
    PointId, ScoredPoint, Value, VectorsOutput, VectorsSelector, vector_output,
};
use qdrant_client::{Qdrant as Client, QdrantError};

/// What a server has said.
pub struct Told {
    pub client: Client,
    /// Of the collection.
    pub name: String,
    pub lines: Vec<String>,
}

impl Told {
    pub fn line<T>(
        &mut self,
        what: impl Debug,
        said: Result<T, QdrantError>,
        tell: impl FnOnce(T) -> String,
    ) {
        let said = match said {
            Ok(answer) => tell(answer),
            Err(QdrantError::ResponseError { status }) => {
                format!("{:?}: {}", status.code(), status.message())
            }
            Err(error) => format!("{error:?}"),
        };
        self.lines.push(format!("{what:?}: {said}"));
    }
}

/// A payload as JSON, with names in order at every level.
pub fn json_of(payload: HashMap<String, Value>) -> String {
    fn sorted(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(object) => {
                let fields: BTreeMap<_, _> = object.into_iter().collect();
                let fields = fields.into_iter();
                fields.map(|(name, value)| (name, sorted(value))).collect()
            }
            serde_json::Value::Array(values) => values.into_iter().map(sorted).collect(),
            value => value,
        }
    }
    let fields = payload.into_iter();
    let fields = fields.map(|(name, value)| (name, value.into_json()));
    sorted(fields.collect()).to_string()
}

pub fn vectors_of(vectors: Option<VectorsOutput>) -> String {
    match vectors.and_then(|vectors| vectors.vectors_options) {
        None => "none".to_owned(),
        Some(VectorsOptions::Vector(vector)) => format!("{:?}", vector.into_vector()),
        Some(VectorsOptions::Vectors(named)) => {
            let mut told = BTreeMap::new();
            for (name, vector) in named.vectors {
                let vector_output::Vector::Dense(dense) = vector.into_vector() else {
                    panic!("{name} is not dense");
                };
                let rounded = dense.data.iter().map(|x| format!("{x:.5}"));
                told.insert(name, rounded.collect::<Vec<_>>());
            }
            format!("{told:?}")
        }
    }
}

pub fn id_of(id: Option<PointId>) -> String {
    format!("{:?}", id.and_then(|id| id.point_id_options))
}

pub fn scored(points: Vec<ScoredPoint>) -> String {
    let mut told = String::new();
    for point in points {
        let (id, vectors) = (id_of(point.id), vectors_of(point.vectors));
        let fields = json_of(point.payload);
        write!(told, "[{id} {:.5} {fields} {vectors}]", point.score).unwrap();
    }
    told
}

pub fn only(vector: &str) -> VectorsSelector {
    VectorsSelector {
        names: vec![vector.to_owned()],
    }
}
