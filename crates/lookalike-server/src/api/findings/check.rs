//! Images with something wrong.

use axum::extract::State;
use axum::response::Response;
use lookalike::check::{self, CheckOptions, Fault, Side};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Computed, Finding, OnProgress, What, answer, mismatch, points};
use crate::api::images::{MAX_LISTED, check_limit};
use crate::api::{Answered, RefusedWork, Shared};
use crate::body::InQuery;
use crate::service::Service;
use crate::types::{Image, Working};

/// What is wrong with images, without other facts about them.
pub(super) struct FoundFaults {
    totals: Totals,
    findings: Vec<FoundFault>,
}

struct FoundFault {
    about: About,
    images: Vec<FoundImage>,
}

struct FoundImage {
    id: Uuid,
    value: f64,
    faults: Vec<Fault>,
}

/// Which faults, and how many images of each.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FaultsOf {
    /// Only this fault; otherwise all.
    #[param(value_type = Option<String>, example = "blurred")]
    fault: Option<Fault>,
    /// How many images of each fault, the worst first; 1 to 1,000.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 1000, default = 20)]
    limit: usize,
}

fn default_limit() -> usize {
    20
}

/// Images with something wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct Faults {
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    totals: Totals,
    /// Every fault that was asked for, whether an image has it or not.
    findings: Vec<FaultFound>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Totals {
    /// Images that were looked at.
    points: usize,
    /// Those that were indexed before images were measured; they are judged by their size alone.
    unmeasured: usize,
    /// Images with at least one fault.
    faulty: usize,
}

#[derive(Serialize, ToSchema)]
struct FaultFound {
    #[serde(flatten)]
    about: About,
    /// The worst first.
    images: Vec<FaultyImage>,
}

#[derive(Clone, Serialize, ToSchema)]
struct About {
    /// `blank`, `uniform`, `half-decoded`, `dark`, `bright`, `blurred`, `low-information`, `grey`,
    /// `odd-proportions` or `tiny`.
    #[schema(value_type = String, example = "blurred")]
    fault: Fault,
    /// What it is judged by: the name of a fact, `elongation` or `side` (of a square of as many
    /// pixels).
    #[schema(example = "sharpness")]
    measure: &'static str,
    /// Which values are the fault: those `below` the threshold or those `above` it.
    #[schema(value_type = String, example = "below")]
    side: Side,
    /// From where on; null where no value would be one in this gallery.
    threshold: Option<f64>,
    /// The median of all images.
    median: Option<f64>,
    /// How many images have it.
    count: usize,
    histogram: Histogram,
}

/// How many images have which values.
#[derive(Clone, Serialize, ToSchema)]
struct Histogram {
    /// Where the bars begin, and where the last one ends.
    edges: Vec<f64>,
    /// How many images are in each.
    counts: Vec<usize>,
}

#[derive(Serialize, ToSchema)]
struct FaultyImage {
    image: Image,
    /// What it is judged by.
    value: f64,
    /// All faults that it has.
    #[schema(value_type = Vec<String>)]
    faults: Vec<Fault>,
}

/// Checks the whole gallery.
pub(super) fn find(service: &Service, on_progress: OnProgress<'_>) -> Answered<FoundFaults> {
    let options = CheckOptions {
        filter: None,
        limit: MAX_LISTED,
    };
    Ok(check::check(service.gallery(), &options, on_progress)?.into())
}

impl From<check::Check> for FoundFaults {
    fn from(found: check::Check) -> Self {
        let image = |image: check::FaultyImage| FoundImage {
            id: image.id,
            value: image.value,
            faults: image.faults,
        };
        let findings = found.findings.into_iter().map(|finding| FoundFault {
            about: About {
                fault: finding.fault,
                measure: finding.measure,
                side: finding.side,
                threshold: finding.threshold,
                median: finding.median,
                count: finding.count,
                histogram: Histogram {
                    edges: finding.histogram.edges,
                    counts: finding.histogram.counts,
                },
            },
            images: finding.images.into_iter().map(image).collect(),
        });
        Self {
            totals: Totals {
                points: found.points,
                unmeasured: found.unmeasured,
                faulty: found.faulty,
            },
            findings: findings.collect(),
        }
    }
}

impl FoundFaults {
    pub(super) fn bytes(&self) -> usize {
        let images = |finding: &FoundFault| {
            let faults = finding.images.iter().map(|image| image.faults.len());
            size_of_val(&finding.images[..]) + faults.sum::<usize>()
        };
        self.findings.iter().map(images).sum()
    }

    /// The first so many of those that are there.
    fn listed(&self, service: &Service, of: &FaultsOf, computed: Computed) -> Answered<Faults> {
        let mut findings = Vec::new();
        for finding in &self.findings {
            if of.fault.is_some_and(|fault| fault != finding.about.fault) {
                continue;
            }
            let mut points = points(service, finding.images.iter().map(|image| image.id))?;
            let images = finding.images.iter().filter_map(|found| {
                let point = points.remove(&found.id)?;
                Some(FaultyImage {
                    image: Image::new(point.id, point.payload),
                    value: found.value,
                    faults: found.faults.clone(),
                })
            });
            findings.push(FaultFound {
                about: finding.about.clone(),
                images: images.take(of.limit).collect(),
            });
        }
        Ok(Faults {
            computed,
            totals: self.totals,
            findings,
        })
    }
}

/// Images with something wrong: blank, dark, blurred, half-decoded and the like.
#[utoipa::path(
    get, path = "/check", tag = "gallery", params(FaultsOf),
    responses(
        (status = 200, description = "What is wrong, and with which", body = Faults),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn check(
    State(service): Shared,
    InQuery(of): InQuery<FaultsOf>,
) -> Answered<Response> {
    check_limit(of.limit)?;
    answer(
        &service,
        Finding::Check,
        None,
        move |service, what, computed| match what {
            What::Faults(found) => found.listed(service, &of, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}
