//! What is found by comparing everything with everything: duplicates, outliers, the quality of codes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lookalike::duplicates::{self, DuplicateOptions};
use lookalike::outliers::{self, By, OutlierOptions};
use lookalike::quality;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::images::{MOST_LISTED, check_limit};
use super::{Answered, Refused, Shared};
use crate::body::InQuery;
use crate::jobs::{Outcome, Standing};
use crate::problem::Problem;
use crate::service::Service;
use crate::types::{Image, Working};

/// Queries by which a gallery's quality is judged.
const QUALITY_QUERIES: usize = 2_000;
/// Seconds after which to ask again for what is being computed.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("1");

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
            Outcome::Done(found) => Json(shortened(&found, list, limit)).into_response(),
            Outcome::Working(standing) => working(standing),
        },
    )
}

/// A finding with only the first `limit` of the list called `list`; the rest, which may be long, is not copied.
fn shortened(found: &Value, list: &str, limit: usize) -> Value {
    let Value::Object(fields) = found else {
        return found.clone();
    };
    let short = |(name, value): (&String, &Value)| match value {
        Value::Array(all) if name == list => {
            (name.clone(), all.iter().take(limit).cloned().collect())
        }
        other => (name.clone(), other.clone()),
    };
    fields.iter().map(short).collect()
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
                threshold: threshold.map(f32::from_bits).filter(|_| !exact_only),
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
    /// `representative`, `exact`, `near`, `same-file` or `gone`.
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

/// 202: how far a computation is.
pub(super) fn working(standing: Standing) -> Response {
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
