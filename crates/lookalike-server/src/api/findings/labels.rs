//! Labels that neighbours suggest: for images that have none, and where they contradict the one
//! that an image has, which may be a mistake.

use std::sync::Arc;

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

/// Suggested labels, without facts about the images.
pub(super) struct FoundLabels {
    totals: Totals,
    /// Of each kind the most confident, as many as may be listed.
    mistakes: Vec<Suggestion>,
    suggestions: Vec<Suggestion>,
}

/// How many suggestions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LabelsOf {
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
    mistakes: Vec<SuggestedLabel>,
}

/// Images without a label, and the one that their neighbours suggest.
#[derive(Serialize, ToSchema)]
pub(crate) struct LabelSuggestions {
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    totals: Totals,
    /// The most confident first.
    suggestions: Vec<SuggestedLabel>,
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
    /// For how many different contents without a label one is suggested.
    suggestion_count: usize,
}

#[derive(Serialize, ToSchema)]
struct SuggestedLabel {
    image: Image,
    /// The label that its neighbours suggest.
    suggested: String,
    /// How likely that is right, 0 to 1.
    confidence: f32,
    /// The nearest image with the suggested label.
    because_of: Option<Image>,
}

/// Asks the neighbours of every image.
pub(super) fn find(service: &Service, on_progress: OnProgress<'_>) -> Answered<FoundLabels> {
    Ok(suggest::find(service.gallery(), &SuggestOptions::default(), on_progress)?.into())
}

impl From<Suggestions> for FoundLabels {
    fn from(found: Suggestions) -> Self {
        let totals = Totals {
            points: found.points,
            labelled: found.labelled,
            labels: found.labels,
            agreement: found.agreement,
            calibrated: found.calibrated,
            mistake_count: found.mistakes.len(),
            suggestion_count: found.suggestions.len(),
        };
        let (mut mistakes, mut suggestions) = (found.mistakes, found.suggestions);
        mistakes.truncate(MAX_LISTED);
        suggestions.truncate(MAX_LISTED);
        Self {
            totals,
            mistakes,
            suggestions,
        }
    }
}

impl FoundLabels {
    pub(super) fn bytes(&self) -> usize {
        let all = || self.mistakes.iter().chain(&self.suggestions);
        let text = |of: &Suggestion| of.suggested.len() + of.own.as_ref().map_or(0, String::len);
        all().count() * size_of::<Suggestion>() + all().map(text).sum::<usize>()
    }
}

/// The first so many of those that are there, and still have that label or none.
fn listed(service: &Service, found: &[Suggestion], limit: usize) -> Answered<Vec<SuggestedLabel>> {
    let points = points(service, found.iter().flat_map(|of| [of.id, of.because_of]))?;
    let image = |id: &Uuid| {
        let point = points.get(id)?;
        Some(Image::new(point.id, point.payload.clone()))
    };
    let there = found.iter().filter_map(|of| {
        let image_of = image(&of.id).filter(|image| image.label == of.own)?;
        Some(SuggestedLabel {
            image: image_of,
            suggested: of.suggested.clone(),
            confidence: of.confidence,
            because_of: image(&of.because_of),
        })
    });
    Ok(there.take(limit).collect())
}

/// Answers with what is made of the labels that were found.
async fn answer_of<T: Serialize + Send + 'static>(
    service: &Arc<Service>,
    of: &LabelsOf,
    make: impl FnOnce(&Service, &FoundLabels, Computed) -> Answered<T> + Send + 'static,
) -> Answered<Response> {
    check_limit(of.limit)?;
    answer(
        service,
        Finding::Labels,
        None,
        move |service, what, computed| match what {
            What::Labels(found) => make(service, found, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}

/// Labelled images whose neighbours disagree: their labels may be mistakes.
#[utoipa::path(
    get, path = "/labels/mistakes", tag = "gallery", params(LabelsOf),
    responses(
        (status = 200, description = "The suspected mistakes", body = Mistakes),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn mistakes(
    State(service): Shared,
    InQuery(of): InQuery<LabelsOf>,
) -> Answered<Response> {
    answer_of(&service, &of, move |service, found, computed| {
        Ok(Mistakes {
            computed,
            totals: found.totals,
            mistakes: listed(service, &found.mistakes, of.limit)?,
        })
    })
    .await
}

/// Labels that neighbours suggest for images without one.
#[utoipa::path(
    get, path = "/labels/suggestions", tag = "gallery", params(LabelsOf),
    responses(
        (status = 200, description = "The suggested labels", body = LabelSuggestions),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn suggestions(
    State(service): Shared,
    InQuery(of): InQuery<LabelsOf>,
) -> Answered<Response> {
    answer_of(&service, &of, move |service, found, computed| {
        Ok(LabelSuggestions {
            computed,
            totals: found.totals,
            suggestions: listed(service, &found.suggestions, of.limit)?,
        })
    })
    .await
}
