//! For those who run the server.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::{Answered, RefusedOne, Shared};
use crate::problem::Problem;

/// Whether the process lives.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Whether the gallery answers.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, description = "It does", body = String, content_type = "text/plain"), RefusedOne))]
pub(super) async fn ready(State(service): Shared) -> Answered<&'static str> {
    let described = service.run(|service| Ok(service.gallery().describe()?));
    match described.await {
        Ok(_) => Ok("ready\n"),
        Err(problem) => {
            let detail = format!("the gallery does not answer: {}", problem.detail());
            let busy = Problem::busy(detail);
            Err(match problem.cause() {
                Some(cause) => busy.caused_by(cause),
                None => busy,
            })
        }
    }
}

/// What is counted, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "The counts, in OpenMetrics' text format", body = String, content_type = "application/openmetrics-text"), RefusedOne))]
pub(super) async fn metrics(State(service): Shared) -> Answered<impl IntoResponse + use<>> {
    let text = service.run(|service| {
        let points = service.gallery().count(None)?;
        let waiting = service.waiting();
        let query_bytes = service.queries().bytes();
        Ok(service.metrics.text(points, waiting, query_bytes))
    });
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text.await?))
}
