//! What is found by comparing everything with everything: duplicates, outliers, the quality of
//! codes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lookalike::duplicates::{self, DuplicateOptions};
use lookalike::gallery::Point;
use lookalike::outliers::{self, By, OutlierOptions};
use lookalike::quality;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::images::{MAX_LISTED, check_limit};
use super::{Answered, RefusedWork, Shared};
use crate::access::Client;
use crate::body::InQuery;
use crate::jobs::{Outcome, Standing, Weigh};
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

/// What was computed over the whole gallery, and when. It has no facts about images: these are read
/// when it is answered, so that little is kept, and no image is told of that is gone by then.
pub(crate) struct Found {
    /// The gallery's generation when it began.
    generation: u64,
    /// Seconds since 1970-01-01 00:00 UTC.
    computed: u64,
    what: What,
}

enum What {
    Duplicates(FoundDuplicates),
    Outliers(FoundOutliers),
    Quality(quality::Quality),
}

/// Duplicates without facts about their images.
struct FoundDuplicates {
    totals: Totals,
    groups: Vec<Vec<FoundMember>>,
}

#[derive(Clone, Copy)]
struct FoundMember {
    id: Uuid,
    kind: duplicates::Kind,
    distance: f32,
    difference: Option<f32>,
}

/// Outliers without facts about their images.
struct FoundOutliers {
    usual: Usual,
    outliers: Vec<FoundOutlier>,
}

#[derive(Clone, Copy)]
struct FoundOutlier {
    id: Uuid,
    scores: Scores,
}

impl Weigh for Found {
    fn bytes(&self) -> usize {
        match &self.what {
            What::Duplicates(found) => {
                let group = |group: &Vec<FoundMember>| size_of_val(group) + size_of_val(&group[..]);
                found.groups.iter().map(group).sum()
            }
            What::Outliers(found) => size_of_val(&found.outliers[..]),
            What::Quality(_) => 0,
        }
    }
}

/// Of which state of the gallery something was found.
#[derive(Clone, Copy, Serialize, ToSchema)]
struct Computed {
    /// When it was computed, in seconds since 1970-01-01 00:00 UTC.
    computed: u64,
    /// Whether images have been added, changed or deleted since. Those that are gone are left out
    /// of what is listed, but totals are as they were.
    stale: bool,
}

/// Answers with what `answer` makes of a finding, or with how far it is. All that anybody may ask
/// for is computed at once, so that every limit is answered from one computation.
async fn answer<A: Serialize + 'static>(
    service: &Arc<Service>,
    finding: Finding,
    client: Option<IpAddr>,
    answer: impl FnOnce(&Service, &What, Computed) -> Answered<A> + Send + 'static,
) -> Answered<Response> {
    let shared = service.clone();
    let compute = move |report: &dyn Fn(Standing)| {
        let generation = shared.generation();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Ok(Found {
            generation,
            computed: now.map_or(0, |now| now.as_secs()),
            what: compute(&shared, finding, report)?,
        })
    };
    let generation = service.generation();
    let found = match service
        .findings
        .ask(&finding, generation, client, compute)?
    {
        Outcome::Done(found) => found,
        Outcome::Working(standing) => return Ok(working(standing)),
    };
    // Reading facts and writing JSON may take a while: not on a thread that serves connections.
    let json = service.run(move |service| {
        let computed = Computed {
            computed: found.computed,
            stale: found.generation != service.generation(),
        };
        let answer = answer(service, &found.what, computed)?;
        serde_json::to_vec(&answer).map_err(Problem::internal)
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], json.await?).into_response())
}

fn compute(service: &Service, finding: Finding, report: &dyn Fn(Standing)) -> Answered<What> {
    let gallery = service.gallery();
    let said = |doing, done, of| report(Standing { doing, done, of });
    Ok(match finding {
        Finding::Duplicates {
            threshold,
            exact_only,
        } => {
            let options = DuplicateOptions {
                threshold: threshold.map(f32::from_bits).filter(|_| !exact_only),
                exact_only,
                filter: None,
                limit: Some(MAX_LISTED),
            };
            let found = duplicates::find(gallery, &options, |progress| match progress {
                duplicates::Progress::Read(done) => said("reading codes", done, 0),
                duplicates::Progress::Compared { done, of } => said("comparing codes", done, of),
            })?;
            What::Duplicates(found.into())
        }
        Finding::Outliers { by } => {
            let options = OutlierOptions {
                count: MAX_LISTED,
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
            What::Outliers(found.into())
        }
        Finding::Quality => {
            let found = quality::quality(gallery, QUALITY_QUERIES, |progress| match progress {
                quality::Progress::Read(done) => said("reading codes", done, 0),
                quality::Progress::Asked { done, of } => said("asking", done, of),
            })?;
            What::Quality(found)
        }
    })
}

/// The facts about those of the images that are there.
fn points(service: &Service, ids: impl Iterator<Item = Uuid>) -> Answered<HashMap<Uuid, Point>> {
    let ids: Vec<Uuid> = ids.collect();
    let points = service.gallery().retrieve(&ids)?;
    Ok(points.into_iter().map(|point| (point.id, point)).collect())
}

/// There is one kind of answer for each kind of finding.
fn mismatch() -> Problem {
    Problem::internal("a computation gave the result of another")
}

/// Which duplicates to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DuplicatesOf {
    /// The largest distance of a near duplicate, rounded to three digits; none: one that the
    /// collection suggests.
    #[param(minimum = 0)]
    threshold: Option<f32>,
    /// Only the same content.
    #[serde(default)]
    exact_only: bool,
    /// How many groups, the largest first; 1 to 1,000.
    #[serde(default = "usual_groups")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
    /// How many groups to pass over; their order stays while `computed` does.
    #[serde(default)]
    offset: usize,
    /// How many members of each group; 1 to 1,000, and 10,000 in all groups together.
    #[serde(default = "usual_members")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    members: usize,
    /// How many members of each group to pass over, to see more of large ones.
    #[serde(default)]
    members_offset: usize,
}

fn usual_groups() -> usize {
    100
}

fn usual_members() -> usize {
    100
}

/// The most members of one answer.
const MAX_MEMBERS: usize = 10_000;

/// Images that are there more than once, or nearly.
#[derive(Serialize, ToSchema)]
pub(super) struct Duplicates {
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    totals: Totals,
    groups: Vec<Group>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Totals {
    /// Images that were looked at.
    points: usize,
    /// Different contents among them.
    contents: usize,
    #[schema(value_type = String, example = "cosine")]
    metric: lookalike::neighbours::Metric,
    /// How near duplicates were told: `pictures` (compared themselves, small) or `codes` (within
    /// the threshold); null if none were looked for.
    #[schema(value_type = Option<String>, example = "pictures")]
    measure: Option<duplicates::Measure>,
    /// The largest distance of the code of a near duplicate; null if they were told otherwise, no
    /// near ones stand out, or none were looked for.
    threshold: Option<f32>,
    /// Different contents that were compared with no other, for want of a thumbnail.
    not_compared: usize,
    group_count: usize,
    /// Images in groups, besides the representatives, of the same content.
    exact: usize,
    /// Images in groups, besides the representatives, of other content.
    near: usize,
    /// Contents near to some image of a group but not to its representative.
    left_alone: usize,
}

#[derive(Serialize, ToSchema)]
struct Group {
    /// How many members were found; `members` may be only some of them.
    size: usize,
    /// The representative first.
    members: Vec<Member>,
}

#[derive(Serialize, ToSchema)]
struct Member {
    image: Image,
    /// `representative`, `exact`, `near`, `same-file` or `gone`.
    #[schema(value_type = String, example = "near")]
    kind: duplicates::Kind,
    /// Of its code from the representative's.
    distance: f32,
    /// How much a near duplicate differs from the representative, where pictures were compared: 0
    /// is the same picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<f32>,
}

impl From<duplicates::Duplicates> for FoundDuplicates {
    fn from(found: duplicates::Duplicates) -> Self {
        let member = |member: duplicates::Member| FoundMember {
            id: member.id,
            kind: member.kind,
            distance: member.distance,
            difference: member.difference,
        };
        let group =
            |group: duplicates::Group| group.members.into_iter().map(member).collect::<Vec<_>>();
        Self {
            totals: Totals {
                points: found.points,
                contents: found.contents,
                metric: found.metric,
                measure: found.measure,
                threshold: found.threshold,
                not_compared: found.not_compared,
                group_count: found.group_count,
                exact: found.exact,
                near: found.near,
                left_alone: found.left_alone,
            },
            groups: found.groups.into_iter().map(group).collect(),
        }
    }
}

impl FoundDuplicates {
    /// What is asked for of it, of images that are there.
    fn listed(
        &self,
        service: &Service,
        of: &DuplicatesOf,
        computed: Computed,
    ) -> Answered<Duplicates> {
        let mut left = MAX_MEMBERS;
        let mut chosen: Vec<(&[FoundMember], &[FoundMember])> = Vec::new();
        for group in self.groups.iter().skip(of.offset).take(of.limit) {
            let shown = &group[of.members_offset.min(group.len())..];
            let shown = &shown[..shown.len().min(of.members).min(left)];
            left -= shown.len();
            chosen.push((group, shown));
            if left == 0 {
                break;
            }
        }
        // The representative as well, for whether it is still there decides what the others are.
        let ids = chosen
            .iter()
            .flat_map(|(group, shown)| group[..1].iter().chain(*shown));
        let mut points = points(service, ids.map(|member| member.id))?;
        let groups = chosen.into_iter().filter_map(|(group, shown)| {
            let has_representative = points.contains_key(&group[0].id);
            // A point may be asked for by one group only.
            let mut live: Vec<(FoundMember, Point)> = shown
                .iter()
                .filter_map(|member| Some((*member, points.remove(&member.id)?)))
                .collect();
            if !has_representative {
                represent_by_first(&mut live, self.totals.metric);
            }
            let gone = shown.len() - live.len();
            let size = group.len() - gone;
            (size > 1 && (!live.is_empty() || gone == 0)).then(|| Group {
                size,
                members: live
                    .into_iter()
                    .map(|(member, point)| Member {
                        image: Image::new(point.id, point.payload),
                        kind: member.kind,
                        distance: member.distance,
                        difference: member.difference,
                    })
                    .collect(),
            })
        });
        Ok(Duplicates {
            computed,
            totals: self.totals,
            groups: groups.collect(),
        })
    }
}

/// Lets the first of a group whose representative is gone represent it.
fn represent_by_first(members: &mut [(FoundMember, Point)], metric: lookalike::neighbours::Metric) {
    let Some(((first, by), others)) = members.split_first_mut() else {
        return;
    };
    (first.kind, first.distance) = (duplicates::Kind::Representative, 0.0);
    first.difference = None;
    for (member, point) in others {
        let is_same = point.payload.blake3 == by.payload.blake3;
        if member.kind != duplicates::Kind::SameFile {
            member.kind = match is_same {
                true => duplicates::Kind::Exact,
                false => duplicates::Kind::Near,
            };
        }
        member.distance = match is_same {
            true => 0.0,
            false => metric.distance(&by.code, &point.code),
        };
    }
}

/// Images that are there more than once, or nearly.
#[utoipa::path(
    get, path = "/duplicates", tag = "gallery", params(DuplicatesOf),
    responses(
        (status = 200, description = "The groups", body = Duplicates),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(super) async fn duplicates(
    State(service): Shared,
    client: Client,
    InQuery(of): InQuery<DuplicatesOf>,
) -> Answered<Response> {
    check_limit(of.limit)?;
    check_limit(of.members)?;
    if of
        .threshold
        .is_some_and(|threshold| threshold.is_nan() || threshold < 0.0)
    {
        return Err(Problem::unusable(
            "the threshold is a distance: give a number of at least 0",
        ));
    }
    let finding = Finding::Duplicates {
        threshold: of
            .threshold
            .filter(|_| !of.exact_only)
            .map(|threshold| rounded(threshold).to_bits()),
        exact_only: of.exact_only,
    };
    // There is no end of thresholds.
    let client = of.threshold.map(|_| client.counted());
    answer(
        &service,
        finding,
        client,
        move |service, what, computed| match what {
            What::Duplicates(found) => found.listed(service, &of, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}

/// A threshold of three digits: who moves a slider asks for few different ones. Minus zero is zero.
fn rounded(threshold: f32) -> f32 {
    format!("{:.2e}", threshold + 0.0)
        .parse()
        .expect("a number that was written can be read")
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
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    usual: Usual,
    /// The most remarkable first.
    outliers: Vec<Outlier>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Usual {
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
}

#[derive(Serialize, ToSchema)]
struct Outlier {
    image: Image,
    #[serde(flatten)]
    scores: Scores,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Scores {
    /// The mean of its standard scores; 3 or less is nothing remarkable.
    score: f64,
    /// Mean distance to its nearest others.
    distance: Option<f64>,
    distance_score: Option<f64>,
    /// Mean squared error of its reconstruction.
    error: Option<f64>,
    error_score: Option<f64>,
}

impl From<outliers::Outliers> for FoundOutliers {
    fn from(found: outliers::Outliers) -> Self {
        let outlier = |outlier: outliers::Outlier| FoundOutlier {
            id: outlier.id,
            scores: Scores {
                score: outlier.score,
                distance: outlier.distance,
                distance_score: outlier.distance_score,
                error: outlier.error,
                error_score: outlier.error_score,
            },
        };
        Self {
            usual: Usual {
                points: found.points,
                contents: found.contents,
                usual_distance: found.usual_distance,
                usual_error: found.usual_error,
                unreadable: found.unreadable,
            },
            outliers: found.outliers.into_iter().map(outlier).collect(),
        }
    }
}

impl FoundOutliers {
    /// The first so many of those that are there.
    fn listed(&self, service: &Service, count: usize, computed: Computed) -> Answered<Outliers> {
        let mut points = points(service, self.outliers.iter().map(|outlier| outlier.id))?;
        let outliers = self.outliers.iter().filter_map(|outlier| {
            let point = points.remove(&outlier.id)?;
            Some(Outlier {
                image: Image::new(point.id, point.payload),
                scores: outlier.scores,
            })
        });
        Ok(Outliers {
            computed,
            usual: self.usual,
            outliers: outliers.take(count).collect(),
        })
    }
}

/// Images that are unlike the rest: broken, misplaced or rare.
#[utoipa::path(
    get, path = "/outliers", tag = "gallery", params(OutliersOf),
    responses(
        (status = 200, description = "The most remarkable", body = Outliers),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(super) async fn outliers(
    State(service): Shared,
    InQuery(of): InQuery<OutliersOf>,
) -> Answered<Response> {
    check_limit(of.count)?;
    let finding = Finding::Outliers { by: of.by };
    answer(
        &service,
        finding,
        None,
        move |service, what, computed| match what {
            What::Outliers(found) => found.listed(service, of.count, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}

/// How well codes find images of the same label; labels are used for nothing else.
#[derive(Serialize, ToSchema)]
pub(super) struct Quality {
    #[serde(flatten)]
    computed: Computed,
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
        (status = 202, description = "They are being computed: ask again", body = Working), RefusedWork
    )
)]
pub(super) async fn quality(State(service): Shared) -> Answered<Response> {
    answer(
        &service,
        Finding::Quality,
        None,
        |_, what, computed| match what {
            What::Quality(found) => Ok(Quality {
                computed,
                labelled: found.labelled,
                queries: found.queries,
                precision_at_1: found.precision_at_1,
                precision_at_5: found.precision_at_5,
                all_5: found.all_5,
                mean_average_precision: found.mean_average_precision,
            }),
            _ => Err(mismatch()),
        },
    )
    .await
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
