//! Facts about the whole gallery.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lookalike::duplicates::{self, DuplicateOptions};
use lookalike::gallery::{GalleryInfo, point_id};
use lookalike::outliers::{self, By, OutlierOptions};
use lookalike::quality;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::images::{MOST_LISTED, check_limit};
use super::{Answered, Refused, RefusedOne, Shared};
use crate::access::{Shown, shown};
use crate::body::InQuery;
use crate::jobs::{Outcome, Standing};
use crate::pictures;
use crate::problem::Problem;
use crate::service::{self, Service};
use crate::types::{Facet, Facets, FacetsOf, Image, Working};

/// Images that are looked at for the names of what their source said about them.
const LOOKED_AT: usize = 64;
/// Queries by which a gallery's quality is judged.
const QUALITY_QUERIES: usize = 2_000;
/// Seconds after which to ask again for what is being computed.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("1");

/// What this server is, what it holds, and what it allows.
#[derive(Serialize, ToSchema)]
pub(super) struct Gallery {
    program: Program,
    gallery: Holdings,
    model: Model,
    access: Access,
    /// Whether images may be named by their URL.
    fetch_urls: bool,
    limits: MostOf,
    /// Facts about images that can be filtered by and counted.
    fields: Vec<String>,
    /// An image to try.
    example: Option<Uuid>,
}

#[derive(Serialize, ToSchema)]
struct Program {
    #[schema(example = "lookalike")]
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Holdings {
    name: String,
    /// What codes are compared by.
    #[schema(value_type = String, example = "cosine")]
    metric: lookalike::neighbours::Metric,
    /// Length of the codes.
    dims: usize,
    /// Number of images.
    points: usize,
    /// Number of images that the index covers; the others are compared one by one.
    indexed: usize,
    /// When it was made, in seconds since 1970-01-01 00:00 UTC.
    created: u64,
    /// Whether diffusion is possible: `absent`, `fresh`, or `stale` where images have changed since.
    #[schema(value_type = String, example = "fresh")]
    diffusion: lookalike::gallery::DiffusionState,
    /// BLAKE3 of the model's file.
    model_fingerprint: String,
}

#[derive(Serialize, ToSchema)]
struct Model {
    #[schema(example = "bottleneck")]
    architecture: String,
    #[schema(example = "augment")]
    objective: String,
    /// Learned numbers in all.
    parameters: usize,
    /// What it takes; other images are brought to this.
    shape: Shape,
    code_dim: usize,
    /// What it was trained on.
    data_set: String,
    /// How many images that were.
    images: usize,
    /// How long training took.
    seconds: f64,
    #[schema(example = "bce")]
    loss: String,
    epochs: Vec<Epoch>,
    /// The loss of always answering with the mean image.
    mean_image_loss: f64,
}

#[derive(Serialize, ToSchema)]
struct Shape {
    channels: usize,
    height: usize,
    width: usize,
}

#[derive(Serialize, ToSchema)]
struct Epoch {
    loss: f64,
    seconds: f64,
}

#[derive(Serialize, ToSchema)]
struct Access {
    /// Whether reading needs the token as well as writing.
    reads_need_token: bool,
    /// Whether this request showed the token, or a session.
    signed_in: bool,
}

/// What a request may cost.
#[derive(Serialize, ToSchema)]
struct MostOf {
    /// The most bytes of a body.
    body_bytes: usize,
    /// The most pixels of an image.
    pixels: u64,
    /// The most neighbours of one answer.
    most_k: usize,
    /// How far one can page into a ranking.
    most_results: usize,
    /// The most files of one request.
    most_files: usize,
}

/// What this server is, what it holds, and what it allows.
#[utoipa::path(
    get, path = "/gallery", tag = "gallery",
    responses((status = 200, description = "The facts", body = Gallery), Refused)
)]
pub(super) async fn gallery(State(service): Shared, headers: HeaderMap) -> Answered<Json<Gallery>> {
    let signed_in = matches!(shown(&service, &headers), Shown::Token | Shown::Session);
    let facts = service.run(move |service| facts(service, signed_in));
    Ok(Json(facts.await?))
}

fn facts(service: &Service, signed_in: bool) -> Answered<Gallery> {
    let (options, limits) = (&service.options, service.limits());
    let info = service.gallery().describe()?;
    let first = service.gallery().scroll(None, LOOKED_AT, None)?;
    let mut fields: Vec<String> = ["label", "source", "width", "height", "bytes"]
        .map(str::to_owned)
        .into();
    for name in first.iter().flat_map(|point| point.payload.extra.keys()) {
        if !fields.contains(name) {
            fields.push(name.clone());
        }
    }
    // The query of the article that it all began with, where it is there.
    let classic = point_id("mnist:test", "7");
    let example = match service.gallery().existing(&[classic])?.is_empty() {
        true => first.first().map(|point| point.id),
        false => Some(classic),
    };
    Ok(Gallery {
        program: Program {
            name: "lookalike",
            version: env!("CARGO_PKG_VERSION"),
        },
        gallery: holdings(info),
        model: model(service.searcher.model()),
        access: Access {
            reads_need_token: options.token_for_reads,
            signed_in,
        },
        fetch_urls: service.fetcher.is_some(),
        limits: MostOf {
            body_bytes: limits.body_bytes,
            pixels: limits.pixels,
            most_k: limits.k,
            most_results: limits.results,
            most_files: limits.files,
        },
        fields,
        example,
    })
}

fn holdings(info: GalleryInfo) -> Holdings {
    Holdings {
        name: last_part(&info.name),
        metric: info.metric,
        dims: info.dims,
        points: info.points,
        indexed: info.indexed,
        created: info.created,
        diffusion: info.diffusion,
        model_fingerprint: info.model_fingerprint,
    }
}

/// The last part of a path: where the others lead is nobody's business.
fn last_part(name: &str) -> String {
    let last = Path::new(name).file_name().and_then(|part| part.to_str());
    last.unwrap_or(name).to_owned()
}

fn model(model: &lookalike::autoencoder::Autoencoder) -> Model {
    let (config, record, shape) = (model.config(), model.record(), model.shape());
    Model {
        architecture: config.architecture.to_string(),
        objective: config.objective.to_string(),
        parameters: model.parameters(),
        shape: Shape {
            channels: shape.channels,
            height: shape.height,
            width: shape.width,
        },
        code_dim: model.code_dim(),
        data_set: last_part(&record.data.name),
        images: record.data.images,
        seconds: record.epochs.iter().map(|epoch| epoch.seconds).sum(),
        loss: config.loss.to_string(),
        epochs: record
            .epochs
            .iter()
            .map(|epoch| Epoch {
                loss: epoch.loss,
                seconds: epoch.seconds,
            })
            .collect(),
        mean_image_loss: record.mean_image_loss,
    }
}

/// How often each value of a fact about images is there.
#[utoipa::path(
    get, path = "/facets", tag = "gallery", params(FacetsOf),
    responses((status = 200, description = "The values, the most frequent first", body = Facets), Refused)
)]
pub(super) async fn facets(
    State(service): Shared,
    InQuery(of): InQuery<FacetsOf>,
) -> Answered<Json<Facets>> {
    check_limit(of.limit)?;
    let facets = service.run(move |service| {
        let filter = service::filter(of.filter.as_deref())?;
        let found = service
            .gallery()
            .facets(&of.field, filter.as_ref(), of.limit)?;
        let facets = found.into_iter().map(|facet| Facet {
            value: facet.value,
            count: facet.count,
        });
        Ok(Facets {
            field: of.field,
            facets: facets.collect(),
        })
    });
    Ok(Json(facets.await?))
}

/// What is computed over the whole gallery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Finding {
    Duplicates {
        /// The bits of the threshold.
        threshold: Option<u32>,
        exact_only: bool,
    },
    Outliers {
        by: Measure,
    },
    Quality,
}

/// Answers with a finding, or with how far it is; of the list called `list` only the first `limit`. All that anybody
/// may ask for is computed at once, so that every limit is answered from one computation.
async fn answer(
    service: &Arc<Service>,
    finding: Finding,
    (list, limit): (&str, usize),
) -> Answered<Response> {
    let shared = service.clone();
    let compute = move |report: &dyn Fn(Standing)| compute(&shared, finding, report);
    Ok(
        match service
            .findings
            .ask(&finding, service.generation(), compute)?
        {
            Outcome::Done(found) => {
                let mut found = Value::clone(&found);
                if let Some(all) = found.get_mut(list).and_then(Value::as_array_mut) {
                    all.truncate(limit);
                }
                Json(found).into_response()
            }
            Outcome::Working(standing) => working(standing),
        },
    )
}

fn working(standing: Standing) -> Response {
    let body = Json(Working {
        state: "working",
        doing: standing.doing.to_owned(),
        done: standing.done,
        of: standing.of,
    });
    (
        StatusCode::ACCEPTED,
        [(header::RETRY_AFTER, ASK_AGAIN)],
        body,
    )
        .into_response()
}

fn compute(service: &Service, finding: Finding, report: &dyn Fn(Standing)) -> Answered<Value> {
    let gallery = service.gallery();
    let said = |doing, done, of| report(Standing { doing, done, of });
    let json = match finding {
        Finding::Duplicates {
            threshold,
            exact_only,
        } => {
            let options = DuplicateOptions {
                threshold: threshold.map(f32::from_bits),
                exact_only,
                filter: None,
                limit: Some(MOST_LISTED),
            };
            let found = duplicates::find(gallery, &options, |progress| match progress {
                duplicates::Progress::Read(done) => said("reading codes", done, 0),
                duplicates::Progress::Compared { done, of } => said("comparing codes", done, of),
            })?;
            serde_json::to_value(Duplicates::from(found))
        }
        Finding::Outliers { by } => {
            let options = OutlierOptions {
                count: MOST_LISTED,
                by: by.into(),
                ..OutlierOptions::default()
            };
            let model = Some(service.searcher.model());
            let found = outliers::rank(gallery, model, &options, |progress| match progress {
                outliers::Progress::Read(done) => said("reading codes", done, 0),
                outliers::Progress::Compared { done, of } => said("comparing codes", done, of),
                outliers::Progress::Reconstructed { done, of } => {
                    said("reconstructing originals", done, of);
                }
            })?;
            serde_json::to_value(Outliers::from(found))
        }
        Finding::Quality => {
            let found = quality::quality(gallery, QUALITY_QUERIES, |progress| match progress {
                quality::Progress::Read(done) => said("reading codes", done, 0),
                quality::Progress::Asked { done, of } => said("asking", done, of),
            })?;
            serde_json::to_value(Quality {
                labelled: found.labelled,
                queries: found.queries,
                precision_at_1: found.precision_at_1,
                precision_at_5: found.precision_at_5,
                all_5: found.all_5,
                mean_average_precision: found.mean_average_precision,
            })
        }
    };
    json.map_err(Problem::internal)
}

/// Which duplicates to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DuplicatesOf {
    /// The largest distance of a near duplicate; none: one that the collection suggests.
    #[param(minimum = 0)]
    threshold: Option<f32>,
    /// Only the same content.
    #[serde(default)]
    exact_only: bool,
    /// How many groups, the largest first; 1 to 1,000.
    #[serde(default = "usual_groups")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
}

fn usual_groups() -> usize {
    100
}

/// Images that are there more than once, or nearly.
#[derive(Serialize, ToSchema)]
pub(super) struct Duplicates {
    /// Images that were looked at.
    points: usize,
    /// Different contents among them.
    contents: usize,
    #[schema(value_type = String, example = "cosine")]
    metric: lookalike::neighbours::Metric,
    /// The largest distance of a near duplicate; null if no near ones stand out, or none were looked for.
    threshold: Option<f32>,
    group_count: usize,
    /// Images in groups, besides the representatives, of the same content.
    exact: usize,
    /// Images in groups, besides the representatives, of other content.
    near: usize,
    /// Contents near to some image of a group but not to its representative.
    left_alone: usize,
    groups: Vec<Group>,
}

#[derive(Serialize, ToSchema)]
struct Group {
    /// The representative first.
    members: Vec<Member>,
}

#[derive(Serialize, ToSchema)]
struct Member {
    image: Image,
    /// `representative`, `exact`, `near` or `same-file`.
    #[schema(value_type = String, example = "near")]
    kind: duplicates::Kind,
    /// From the representative.
    distance: f32,
}

impl From<duplicates::Duplicates> for Duplicates {
    fn from(found: duplicates::Duplicates) -> Self {
        let member = |member: duplicates::Member| Member {
            image: Image::new(member.id, member.payload),
            kind: member.kind,
            distance: member.distance,
        };
        let group = |group: duplicates::Group| Group {
            members: group.members.into_iter().map(member).collect(),
        };
        Self {
            points: found.points,
            contents: found.contents,
            metric: found.metric,
            threshold: found.threshold,
            group_count: found.group_count,
            exact: found.exact,
            near: found.near,
            left_alone: found.left_alone,
            groups: found.groups.into_iter().map(group).collect(),
        }
    }
}

/// Images that are there more than once, or nearly.
#[utoipa::path(
    get, path = "/duplicates", tag = "gallery", params(DuplicatesOf),
    responses(
        (status = 200, description = "The groups", body = Duplicates),
        (status = 202, description = "They are being looked for: ask again", body = Working), Refused
    )
)]
pub(super) async fn duplicates(
    State(service): Shared,
    InQuery(of): InQuery<DuplicatesOf>,
) -> Answered<Response> {
    check_limit(of.limit)?;
    if of
        .threshold
        .is_some_and(|threshold| threshold.is_nan() || threshold < 0.0)
    {
        return Err(Problem::unusable(
            "the threshold is a distance: give a number of at least 0",
        ));
    }
    let finding = Finding::Duplicates {
        // Minus zero is zero, and one computation.
        threshold: of.threshold.map(|threshold| (threshold + 0.0).to_bits()),
        exact_only: of.exact_only,
    };
    answer(&service, finding, ("groups", of.limit)).await
}

/// By what images are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Measure {
    /// The mean distance to the nearest others.
    Neighbours,
    /// The error of the reconstruction.
    Reconstruction,
    #[default]
    Both,
}

impl From<Measure> for By {
    fn from(measure: Measure) -> Self {
        match measure {
            Measure::Neighbours => Self::Neighbours,
            Measure::Reconstruction => Self::Reconstruction,
            Measure::Both => Self::Both,
        }
    }
}

/// Which outliers to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OutliersOf {
    /// How many, the most remarkable first; 1 to 1,000.
    #[serde(default = "usual_outliers")]
    #[param(minimum = 1, maximum = 1000, default = 20)]
    count: usize,
    #[serde(default)]
    #[param(inline)]
    by: Measure,
}

fn usual_outliers() -> usize {
    20
}

/// Images that are unlike the rest.
#[derive(Serialize, ToSchema)]
pub(super) struct Outliers {
    /// Images that were looked at.
    points: usize,
    /// Different contents among them.
    contents: usize,
    /// Median of the mean distances to the nearest others.
    usual_distance: Option<f64>,
    /// Median of the reconstructions' errors.
    usual_error: Option<f64>,
    /// Images whose original could not be read.
    unreadable: usize,
    /// The most remarkable first.
    outliers: Vec<Outlier>,
}

#[derive(Serialize, ToSchema)]
struct Outlier {
    image: Image,
    /// The mean of its standard scores; 3 or less is nothing remarkable.
    score: f64,
    /// Mean distance to its nearest others.
    distance: Option<f64>,
    distance_score: Option<f64>,
    /// Mean squared error of its reconstruction.
    error: Option<f64>,
    error_score: Option<f64>,
}

impl From<outliers::Outliers> for Outliers {
    fn from(found: outliers::Outliers) -> Self {
        let outlier = |outlier: outliers::Outlier| Outlier {
            image: Image::new(outlier.id, outlier.payload),
            score: outlier.score,
            distance: outlier.distance,
            distance_score: outlier.distance_score,
            error: outlier.error,
            error_score: outlier.error_score,
        };
        Self {
            points: found.points,
            contents: found.contents,
            usual_distance: found.usual_distance,
            usual_error: found.usual_error,
            unreadable: found.unreadable,
            outliers: found.outliers.into_iter().map(outlier).collect(),
        }
    }
}

/// Images that are unlike the rest: broken, misplaced or rare.
#[utoipa::path(
    get, path = "/outliers", tag = "gallery", params(OutliersOf),
    responses(
        (status = 200, description = "The most remarkable", body = Outliers),
        (status = 202, description = "They are being looked for: ask again", body = Working), Refused
    )
)]
pub(super) async fn outliers(
    State(service): Shared,
    InQuery(of): InQuery<OutliersOf>,
) -> Answered<Response> {
    check_limit(of.count)?;
    answer(
        &service,
        Finding::Outliers { by: of.by },
        ("outliers", of.count),
    )
    .await
}

/// How well codes find images of the same label; labels are used for nothing else.
#[derive(Serialize, ToSchema)]
pub(super) struct Quality {
    /// Whether there are labels to judge by.
    labelled: bool,
    /// Images that were asked with.
    queries: usize,
    /// Share of queries whose nearest has their label.
    precision_at_1: Option<f64>,
    /// Share of the five nearest that have their query's label.
    precision_at_5: Option<f64>,
    /// Share of queries whose five nearest all have their label.
    all_5: Option<f64>,
    /// Mean average precision over the whole ranking.
    mean_average_precision: Option<f64>,
}

/// How well codes find images of the same label.
#[utoipa::path(
    get, path = "/quality", tag = "gallery",
    responses(
        (status = 200, description = "The figures", body = Quality),
        (status = 202, description = "They are being computed: ask again", body = Working), Refused
    )
)]
pub(super) async fn quality(State(service): Shared) -> Answered<Response> {
    answer(&service, Finding::Quality, ("", 0)).await
}

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
/// For each 28 bytes, little endian: the id as 16 bytes in their usual order; x and y as `f32`, 0 to 1; the label as
/// `u32`, an index into the map's labels, or 4294967295 for none.
#[utoipa::path(
    get, path = "/map/points", tag = "gallery", params(VersionOfMap),
    responses(
        (status = 200, description = "The points", content_type = "application/octet-stream"),
        (status = 304, description = "They are as they were"), RefusedOne
    )
)]
pub(super) async fn map_points(
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
