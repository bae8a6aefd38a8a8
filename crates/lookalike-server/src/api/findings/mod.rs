//! What is found by comparing everything with everything: duplicates, outliers, groups, labels
//! that may be mistakes, samples, the quality of codes. Each is computed once, kept, and listed
//! from what is kept.

use lookalike::Progress;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lookalike::gallery::Point;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Answered;
use crate::jobs::{Outcome, Standing, Weigh};
use crate::problem::Problem;
use crate::service::Service;
use crate::types::Working;

mod border;
pub(super) mod check;
pub(super) mod copies;
pub(super) mod duplicates;
pub(super) mod groups;
pub(super) mod labels;
pub(super) mod outliers;
pub(super) mod quality;
pub(super) mod sample;
mod wanted;

use check::FoundFaults;
use copies::{PlanOf, Scripts};
use duplicates::FoundDuplicates;
use groups::{FoundGroups, KeptGroups};
use labels::FoundLabels;
use outliers::{FoundOutliers, Measure};
use sample::FoundSample;
use wanted::Wanted;

/// Seconds after which to ask again for what is being computed.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("1");

/// Is told what is being done, how much of it is done, and of how much (0 where that is not known).
type OnProgress<'a> = &'a dyn Fn(Progress);

/// What is computed over the whole gallery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Finding {
    Duplicates(Wanted),
    Outliers { by: Measure },
    Groups { count: Option<usize> },
    KeptGroups { count: Option<usize> },
    Quality,
    Scripts(Box<PlanOf>),
    Check,
    Labels,
    Sample,
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
    Groups(FoundGroups),
    KeptGroups(KeptGroups),
    Quality(lookalike::quality::Quality),
    Scripts(Scripts),
    Faults(FoundFaults),
    Labels(FoundLabels),
    Sample(FoundSample),
}

impl Weigh for Found {
    fn bytes(&self) -> usize {
        match &self.what {
            What::Duplicates(found) => found.bytes(),
            What::Outliers(found) => found.bytes(),
            What::Groups(found) => found.bytes(),
            What::KeptGroups(_) | What::Quality(_) => 0,
            What::Scripts(scripts) => scripts.bytes(),
            What::Faults(found) => found.bytes(),
            What::Labels(found) => found.bytes(),
            What::Sample(found) => found.bytes(),
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
    let (shared, wanted) = (service.clone(), finding.clone());
    let compute = move |report: &dyn Fn(Standing)| {
        let generation = shared.generation();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Ok(Found {
            generation,
            computed: now.map_or(0, |now| now.as_secs()),
            what: compute(&shared, wanted, report)?,
        })
    };
    let generation = service.generation();
    let findings = &service.findings;
    let asked = match finding {
        Finding::KeptGroups { .. } => {
            // The gallery has one field for all of them.
            let rivals = |other: &Finding| matches!(other, Finding::KeptGroups { .. });
            findings.ask_once(&finding, generation, client, rivals, compute)
        }
        _ => findings.ask(&finding, generation, client, compute),
    };
    let found = match asked? {
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
    let on_progress = &|progress: Progress| report(progress.into());
    Ok(match finding {
        Finding::Duplicates(wanted) => What::Duplicates(wanted.find(service, on_progress)?.into()),
        Finding::Outliers { by } => What::Outliers(outliers::find(service, by, on_progress)?),
        Finding::Groups { count } => What::Groups(groups::find(service, count, on_progress)?),
        Finding::KeptGroups { count } => {
            What::KeptGroups(groups::keep(service, count, on_progress)?)
        }
        Finding::Quality => What::Quality(quality::find(service, on_progress)?),
        Finding::Scripts(of) => What::Scripts(Scripts::write(service, *of, on_progress)?),
        Finding::Check => What::Faults(check::find(service, on_progress)?),
        Finding::Labels => What::Labels(labels::find(service, on_progress)?),
        Finding::Sample => What::Sample(sample::find(service, on_progress)?),
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
