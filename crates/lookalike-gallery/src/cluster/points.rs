//! Points as the cluster keeps them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lookalike_neighbours::Metric;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    DenseVector, NamedVectors, PayloadExcludeSelector, PayloadIncludeSelector, PointId,
    PointStruct, RetrievedPoint, ScoredPoint, Value, Vector, Vectors, VectorsOutput,
    VectorsSelector, WithPayloadSelector, WithVectorsSelector, vector, vector_output,
    vectors_output, with_payload_selector, with_vectors_selector,
};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::collection::{CODE, RAW};
use crate::{Payload, Point};

/// The payload's field that has the thumbnail, in base64.
pub(super) const THUMBNAIL: &str = "thumbnail";
/// The payload's field that has all of it as JSON text, where the cluster's own numbers would not
/// be exact.
pub(super) const EXACT: &str = "exact";

/// The vector that has codes as they were given.
pub(super) fn exact_vector(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => RAW,
        _ => CODE,
    }
}

/// A point as it is sent.
pub(super) fn sent(point: &Point, metric: Metric, thumbnail: Option<&[u8]>) -> PointStruct {
    let dense = || Vector {
        vector: Some(vector::Vector::Dense(DenseVector {
            data: point.code.clone(),
        })),
        ..Vector::default()
    };
    let mut vectors = HashMap::from([(CODE.to_owned(), dense())]);
    if metric == Metric::Cosine {
        vectors.insert(RAW.to_owned(), dense());
    }
    let mut payload = fields(&point.payload);
    if let Some(thumbnail) = thumbnail {
        let text = STANDARD.encode(thumbnail);
        payload.insert(THUMBNAIL.to_owned(), text.into());
    }
    PointStruct {
        id: Some(PointId::from(point.id)),
        payload,
        vectors: Some(Vectors {
            vectors_options: Some(VectorsOptions::Vectors(NamedVectors { vectors })),
        }),
    }
}

/// A payload in the cluster's values.
fn fields(payload: &Payload) -> HashMap<String, Value> {
    let json = match serde_json::to_value(payload) {
        Ok(Json::Object(json)) => json,
        // Payloads are structs of plain fields.
        _ => Map::new(),
    };
    let mut fields: HashMap<String, Value> = json
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.clone())))
        .collect();
    let same = json
        .iter()
        .all(|(name, value)| Json::from(fields[name].clone()) == *value);
    if !same {
        let text = Json::Object(json).to_string();
        fields.insert(EXACT.to_owned(), text.into());
    }
    fields
}

/// A payload as it was given, or what is wrong with it.
pub(super) fn payload(mut fields: HashMap<String, Value>) -> Result<Payload, String> {
    fields.remove(THUMBNAIL);
    let read = match text(&mut fields, EXACT) {
        Some(text) => serde_json::from_str(&text),
        None => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, Json::from(value)));
            serde_json::from_value(Json::Object(fields.collect()))
        }
    };
    read.map_err(|error| format!("a payload cannot be understood: {error}"))
}

/// A field's text, taken out of a payload.
pub(super) fn text(fields: &mut HashMap<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name)?.kind? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The thumbnail of a payload.
pub(super) fn thumbnail(fields: &mut HashMap<String, Value>) -> Option<Vec<u8>> {
    STANDARD.decode(text(fields, THUMBNAIL)?).ok()
}

pub(super) fn id(id: Option<PointId>) -> Result<Uuid, String> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Uuid(text)) => text
            .parse()
            .map_err(|_| format!("an id is no UUID: {text}")),
        other => Err(format!("an id is no UUID: {other:?}")),
    }
}

/// A code that was asked for.
pub(super) fn code(vectors: Option<VectorsOutput>, name: &str) -> Result<Vec<f32>, String> {
    let Some(vectors_output::VectorsOptions::Vectors(mut named)) =
        vectors.and_then(|vectors| vectors.vectors_options)
    else {
        return Err("a point has no named vectors".into());
    };
    match named
        .vectors
        .remove(name)
        .map(|vector| vector.into_vector())
    {
        Some(vector_output::Vector::Dense(dense)) => Ok(dense.data),
        _ => Err(format!("a point has no vector {name}")),
    }
}

/// A whole point.
pub(super) fn point(found: RetrievedPoint, metric: Metric) -> Result<Point, String> {
    Ok(Point {
        id: id(found.id)?,
        code: code(found.vectors, exact_vector(metric))?,
        payload: payload(found.payload)?,
    })
}

/// A whole point that was found by its code.
pub(super) fn scored(found: ScoredPoint, metric: Metric) -> Result<Point, String> {
    Ok(Point {
        id: id(found.id)?,
        code: code(found.vectors, exact_vector(metric))?,
        payload: payload(found.payload)?,
    })
}

/// Asks for payloads without their thumbnails.
pub(super) fn without_thumbnails() -> Option<WithPayloadSelector> {
    let exclude = PayloadExcludeSelector {
        fields: vec![THUMBNAIL.to_owned()],
    };
    Some(with_payload_selector::SelectorOptions::Exclude(exclude).into())
}

/// Asks for some fields alone.
pub(super) fn only(fields: &[&str]) -> Option<WithPayloadSelector> {
    let include = PayloadIncludeSelector {
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    Some(with_payload_selector::SelectorOptions::Include(include).into())
}

/// Asks for no payload.
pub(super) fn no_payload() -> Option<WithPayloadSelector> {
    Some(with_payload_selector::SelectorOptions::Enable(false).into())
}

/// Asks for codes as they were given.
pub(super) fn with_codes(metric: Metric) -> Option<WithVectorsSelector> {
    let names = VectorsSelector {
        names: vec![exact_vector(metric).to_owned()],
    };
    Some(with_vectors_selector::SelectorOptions::Include(names).into())
}

/// Asks for no codes.
pub(super) fn no_codes() -> Option<WithVectorsSelector> {
    Some(with_vectors_selector::SelectorOptions::Enable(false).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(payload: &Payload) -> Payload {
        super::payload(fields(payload)).unwrap()
    }

    #[test]
    fn payloads_come_back_exactly() {
        let extra = serde_json::json!({
            "text": "a", "whole": 3, "ratio": 3.0, "small": -0.5e-300, "list": [1, "b", null, true], "deep": {"x": {}},
        });
        let mut payload = Payload {
            source: "s".into(),
            key: "k\u{0}\u{1F600}".into(),
            bytes: Some(9_007_199_254_740_993),
            modified: Some(-1),
            extra: extra.as_object().unwrap().clone(),
            ..Payload::default()
        };
        assert!(!fields(&payload).contains_key(EXACT));
        assert_eq!(back(&payload), payload);
        // Beyond what the cluster's whole numbers hold.
        payload.bytes = Some(u64::MAX - 7);
        assert!(fields(&payload).contains_key(EXACT));
        assert_eq!(back(&payload), payload);
    }

    #[test]
    fn what_is_no_point_of_ours_is_said() {
        let mut foreign = fields(&Payload::default());
        foreign.remove("source");
        assert!(super::payload(foreign).unwrap_err().contains("source"));
        assert!(id(Some(PointId::from(7))).unwrap_err().contains("UUID"));
        assert!(code(None, CODE).is_err());
    }
}
