//! The gallery in two dimensions.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::findings::working;
use super::{Answered, Refused, RefusedOne, Shared};
use crate::body::InQuery;
use crate::jobs::Outcome;
use crate::pictures;
use crate::problem::Problem;
use crate::types::Working;

/// The gallery in two dimensions.
#[derive(Serialize, ToSchema)]
pub(super) struct MapFacts {
    /// Names this map; another one has another version.
    version: String,
    /// How many points it has.
    count: usize,
    /// What the points' last number means: the label at this place.
    labels: Vec<String>,
    /// Whether images have changed since.
    stale: bool,
}

/// The gallery in two dimensions (UMAP).
///
/// Its points come apart from it, see `/map/points`.
#[utoipa::path(
    get, path = "/map", tag = "gallery",
    responses(
        (status = 200, description = "The map", body = MapFacts),
        (status = 202, description = "It is being laid out: ask again", body = Working), Refused
    )
)]
pub(super) async fn map(State(service): Shared) -> Answered<Response> {
    Ok(match service.layout.ask(&service)? {
        Outcome::Done(map) => Json(MapFacts {
            version: map.version().to_owned(),
            count: map.points().len(),
            labels: map.labels().to_vec(),
            stale: service.layout.is_stale(&service),
        })
        .into_response(),
        Outcome::Working(standing) => working(standing),
    })
}

/// Which map.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionOfMap {
    /// As `/map` gave it.
    version: String,
}

/// The points of the map.
///
/// For each 28 bytes, little endian: the id as 16 bytes in their usual order; x and y as `f32`, 0
/// to 1; the label as `u32`, an index into the map's labels, or 4294967295 for none.
#[utoipa::path(
    get, path = "/map/points", tag = "gallery", params(VersionOfMap),
    responses(
        (status = 200, description = "The points", content_type = "application/octet-stream"),
        (status = 304, description = "They are as they were"), RefusedOne
    )
)]
pub(super) async fn points(
    State(service): Shared,
    InQuery(VersionOfMap { version }): InQuery<VersionOfMap>,
    headers: HeaderMap,
) -> Answered<Response> {
    let map = service.layout.kept().filter(|map| map.version() == version);
    let map = map.ok_or_else(|| {
        Problem::not_found("there is no map of this version any more: ask for /map again")
    })?;
    let tag = pictures::entity_tag("map", &version);
    if pictures::has_version(&headers, &tag) {
        return Ok(pictures::not_modified(&tag, true));
    }
    let records = service.run(move |_| Ok(map.records())).await?;
    Ok(pictures::cached(
        records,
        "application/octet-stream",
        &tag,
        true,
    ))
}
