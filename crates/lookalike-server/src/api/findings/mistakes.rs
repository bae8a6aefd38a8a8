//! Labels that may be mistakes.

use axum::extract::State;
use axum::response::Response;
use lookalike::suggest::{self, SuggestOptions, Suggestion, Suggestions};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Computed, Finding, OnProgress, What, answer, mismatch, points};
use crate::api::images::{MAX_LISTED, check_limit};
use crate::api::{Answered, RefusedWork, Shared};
use crate::body::InQuery;
use crate::service::Service;
use crate::types::{Image, Working};

/// Suspected mistakes, without facts about their images.
pub(super) struct FoundMistakes {
    totals: Totals,
    /// The most confident, as many as may be listed.
    mistakes: Vec<Suggestion>,
}

/// How many suspected mistakes to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MistakesOf {
    /// How many, the most confident first; 1 to 1,000.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 1000, default = 40)]
    limit: usize,
}

fn default_limit() -> usize {
    40
}

/// Images whose neighbours contradict their label.
#[derive(Serialize, ToSchema)]
pub(crate) struct Mistakes {
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    totals: Totals,
    /// The most confident first.
    mistakes: Vec<Mistake>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Totals {
    /// Images that were looked at.
    points: usize,
    /// Different contents among them that have a label.
    labelled: usize,
    /// Different labels.
    labels: usize,
    /// Share of the labelled contents for which the neighbours suggest their own label.
    agreement: Option<f64>,
    /// Whether confidences were fitted to the labels; with few labels they are shares of the votes.
    calibrated: bool,
    /// How many labels may be mistakes.
    mistake_count: usize,
}

#[derive(Serialize, ToSchema)]
struct Mistake {
    image: Image,
    /// The label that its neighbours suggest instead.
    suggested: String,
    /// How likely that is right, 0 to 1.
    confidence: f32,
    /// The nearest image with the suggested label.
    because_of: Option<Image>,
}

/// Asks the neighbours of every labelled image.
pub(super) fn find(service: &Service, on_progress: OnProgress<'_>) -> Answered<FoundMistakes> {
    Ok(suggest::find(service.gallery(), &SuggestOptions::default(), on_progress)?.into())
}

impl From<Suggestions> for FoundMistakes {
    fn from(found: Suggestions) -> Self {
        let totals = Totals {
            points: found.points,
            labelled: found.labelled,
            labels: found.labels,
            agreement: found.agreement,
            calibrated: found.calibrated,
            mistake_count: found.mistakes.len(),
        };
        let mut mistakes = found.mistakes;
        mistakes.truncate(MAX_LISTED);
        Self { totals, mistakes }
    }
}

impl FoundMistakes {
    pub(super) fn bytes(&self) -> usize {
        let text = |of: &Suggestion| of.suggested.len() + of.own.as_ref().map_or(0, String::len);
        size_of_val(&self.mistakes[..]) + self.mistakes.iter().map(text).sum::<usize>()
    }

    /// The first so many of those that are there, and still have that label.
    fn listed(&self, service: &Service, limit: usize, computed: Computed) -> Answered<Mistakes> {
        let ids = self.mistakes.iter().flat_map(|of| [of.id, of.because_of]);
        let points = points(service, ids)?;
        let image = |id: &Uuid| {
            let point = points.get(id)?;
            Some(Image::new(point.id, point.payload.clone()))
        };
        let mistakes = self.mistakes.iter().filter_map(|of| {
            let image_of = image(&of.id).filter(|image| image.label == of.own)?;
            Some(Mistake {
                image: image_of,
                suggested: of.suggested.clone(),
                confidence: of.confidence,
                because_of: image(&of.because_of),
            })
        });
        Ok(Mistakes {
            computed,
            totals: self.totals,
            mistakes: mistakes.take(limit).collect(),
        })
    }
}

/// Labelled images whose neighbours disagree: their labels may be mistakes.
#[utoipa::path(
    get, path = "/labels/mistakes", tag = "gallery", params(MistakesOf),
    responses(
        (status = 200, description = "The suspected mistakes", body = Mistakes),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn mistakes(
    State(service): Shared,
    InQuery(of): InQuery<MistakesOf>,
) -> Answered<Response> {
    check_limit(of.limit)?;
    answer(
        &service,
        Finding::Mistakes,
        None,
        move |service, what, computed| match what {
            What::Mistakes(found) => found.listed(service, of.limit, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}
