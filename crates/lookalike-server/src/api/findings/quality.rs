//! How well codes find images of the same label.

use axum::extract::State;
use axum::response::Response;
use lookalike::quality;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Computed, Finding, OnProgress, What, answer, mismatch};
use crate::api::{Answered, RefusedWork, Shared};
use crate::service::Service;
use crate::types::Working;

/// Queries by which a gallery's quality is judged.
const QUALITY_QUERIES: usize = 2_000;

/// Judges the whole gallery.
pub(super) fn find(service: &Service, on_progress: OnProgress<'_>) -> Answered<quality::Quality> {
    Ok(quality::quality(
        service.gallery(),
        QUALITY_QUERIES,
        on_progress,
    )?)
}

/// How well codes find images of the same label; labels are used for nothing else.
#[derive(Serialize, ToSchema)]
pub(crate) struct Quality {
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
pub(crate) async fn quality(State(service): Shared) -> Answered<Response> {
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
