//! The gallery in two dimensions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use lookalike::map::{Map, ValueKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::findings::working;
use super::{Answered, Refused, RefusedOne, Shared};
use crate::body::InQuery;
use crate::jobs::Outcome;
use crate::pictures;
use crate::problem::Problem;
use crate::service::Service;
use crate::types::Working;

/// The most images that are read while a client waits.
const MAX_GROUPED: usize = 200_000;

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

/// Which map, and which fact about its points.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GroupsOf {
    /// As `/map` gave it.
    version: String,
    /// A fact about images, as in filters.
    #[param(example = "width")]
    field: String,
}

/// The map's points in groups, at most 20.
#[derive(Serialize, ToSchema)]
pub(super) struct MapGroups {
    /// What each is called: a value, a range of numbers, a year or a month.
    names: Vec<String>,
    /// Whether they are in an order that means something; otherwise the most frequent come first.
    ordered: bool,
    /// For each point, in the order of `/map/points`, the index of its group; null where it has no
    /// value, or a rare one.
    groups: Vec<Option<u32>>,
}

/// The points of the map in groups by any fact about their images, to be coloured by.
#[utoipa::path(
    get, path = "/map/groups", tag = "gallery", params(GroupsOf),
    responses(
        (status = 200, description = "The groups", body = MapGroups),
        (status = 422, description = "It has too many images", body = Problem, content_type = "application/problem+json"),
        RefusedOne
    )
)]
pub(super) async fn groups(
    State(service): Shared,
    InQuery(GroupsOf { version, field }): InQuery<GroupsOf>,
) -> Answered<Json<MapGroups>> {
    let map = of_version(&service, &version)?;
    check_size(&map)?;
    let groups = service.run(move |service| Ok(map.groups(service.gallery(), &field)?));
    let groups = groups.await?;
    Ok(Json(MapGroups {
        names: groups.names,
        ordered: groups.ordered,
        groups: groups.of,
    }))
}

/// What a fact is of each point of the map.
#[derive(Serialize, ToSchema)]
pub(super) struct MapValues {
    /// Whether they are numbers (`number`) or times (`time`), texts like `2024-06-01T12:30:00`.
    #[schema(value_type = String, example = "time")]
    kind: ValueKind,
    /// For each point, in the order of `/map/points`, its value; null where it has none.
    values: Vec<Option<serde_json::Value>>,
}

/// What a fact is of each point of the map, to choose a range of it: numbers, or when images were
/// taken.
#[utoipa::path(
    get, path = "/map/values", tag = "gallery", params(GroupsOf),
    responses(
        (status = 200, description = "The values", body = MapValues),
        (status = 422, description = "The values have no order, or it has too many images", body = Problem, content_type = "application/problem+json"),
        RefusedOne
    )
)]
pub(super) async fn values(
    State(service): Shared,
    InQuery(GroupsOf { version, field }): InQuery<GroupsOf>,
) -> Answered<Json<MapValues>> {
    let map = of_version(&service, &version)?;
    check_size(&map)?;
    let values = service.run(move |service| Ok(map.values(service.gallery(), &field)?));
    let values = values.await?;
    Ok(Json(MapValues {
        kind: values.kind,
        values: values.of,
    }))
}

/// Refuses to read all images while a client waits, where they are many.
fn check_size(map: &Map) -> Answered<()> {
    match map.points().len() > MAX_GROUPED {
        true => Err(Problem::unusable(format!(
            "the map has more than {MAX_GROUPED} images, too many to be read while one waits"
        ))),
        false => Ok(()),
    }
}

/// The map, if it is that one still.
fn of_version(service: &Service, version: &str) -> Answered<Arc<Map>> {
    let map = service.layout.kept().filter(|map| map.version() == version);
    map.ok_or_else(|| {
        Problem::not_found("there is no map of this version any more: ask for /map again")
    })
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
    let map = of_version(&service, &version)?;
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
