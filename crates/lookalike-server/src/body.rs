//! Reading what a request brings, within its limits.

use std::sync::Arc;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::options::Limits;
use crate::problem::Problem;
use crate::service::Service;

/// The parameters of a path.
pub(crate) struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::malformed(rejection.body_text())),
        }
    }
}

/// The parameters behind the question mark.
pub(crate) struct InQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::malformed(rejection.body_text())),
        }
    }
}

/// Lets a request in once there is room for its body, as long as it says that it is, or as long as it may be.
pub(crate) async fn make_room(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let most = service.limits().body_bytes;
    let bytes = match request.body().is_end_stream() {
        true => 0,
        false => declared(request.headers()).unwrap_or(most).min(most),
    };
    match service.room.take(bytes) {
        Ok(_room) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// How many bytes a body is said to have.
fn declared(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
}

/// A body of JSON or of parts: what the API takes.
pub(crate) enum Body<T> {
    Json(T),
    Parts(Multipart),
}

/// What a body says it is.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim()
}

/// Reads a body of JSON, or opens one of parts.
///
/// # Errors
///
/// 400 for what is no JSON, 408, 413, 415 for what is neither, 422 for JSON that means nothing here.
pub(crate) async fn read<T: DeserializeOwned>(
    request: Request,
    limits: &Limits,
) -> Result<Body<T>, Problem> {
    match media_type(request.headers()) {
        "application/json" => Ok(Body::Json(json(request, limits).await?)),
        "multipart/form-data" => Ok(Body::Parts(parts(request).await?)),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON (Content-Type: application/json) or a form with a part 'image' (multipart/form-data)",
        )),
    }
}

/// Reads a body of JSON.
///
/// # Errors
///
/// As [`read`].
pub(crate) async fn read_json<T: DeserializeOwned>(
    request: Request,
    limits: &Limits,
) -> Result<T, Problem> {
    match media_type(request.headers()) {
        "application/json" => json(request, limits).await,
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON, with 'Content-Type: application/json'",
        )),
    }
}

/// Opens a body of parts.
///
/// # Errors
///
/// As [`read`].
pub(crate) async fn read_parts(request: Request) -> Result<Multipart, Problem> {
    match media_type(request.headers()) {
        "multipart/form-data" => parts(request).await,
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send a form with parts 'image' (multipart/form-data), as curl -F image=@photo.jpg does",
        )),
    }
}

async fn parts(request: Request) -> Result<Multipart, Problem> {
    // The length of the whole body is limited by a layer, see `api::router`.
    Multipart::from_request(request, &())
        .await
        .map_err(|rejection| {
            Problem::malformed(format!(
                "the form cannot be read: {}",
                rejection.body_text()
            ))
        })
}

async fn json<T: DeserializeOwned>(request: Request, limits: &Limits) -> Result<T, Problem> {
    let bytes = whole(request, limits).await?;
    serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Problem::unusable(format!("the JSON is not what this takes: {error}"))
        }
        _ => Problem::malformed(format!("the body is no JSON that can be read: {error}")),
    })
}

async fn whole(request: Request, limits: &Limits) -> Result<Bytes, Problem> {
    let declared = declared(request.headers());
    if declared.is_some_and(|bytes| bytes > limits.body_bytes) {
        return Err(too_long(limits));
    }
    let mut stream = request.into_body().into_data_stream();
    let mut body = Vec::with_capacity(declared.unwrap_or(0).min(1 << 20));
    while let Some(chunk) = in_time(limits, stream.next()).await? {
        let chunk = chunk.map_err(|error| match is_too_long(&error) {
            true => too_long(limits),
            false => Problem::malformed(format!("the body broke off: {error}")),
        })?;
        if body.len() + chunk.len() > limits.body_bytes {
            return Err(too_long(limits));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Whether an error is the length limit's, somewhere down its causes.
fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("length limit") || error.source().is_some_and(is_too_long)
}

/// The next part of a form.
///
/// # Errors
///
/// 400 for a form that is damaged, 408, 413.
pub(crate) async fn next_part<'a>(
    parts: &'a mut Multipart,
    limits: &Limits,
) -> Result<Option<Field<'a>>, Problem> {
    in_time(limits, parts.next_field())
        .await?
        .map_err(|error| broken(&error, limits))
}

/// All of a part.
///
/// # Errors
///
/// As [`next_part`].
pub(crate) async fn part_bytes(field: Field<'_>, limits: &Limits) -> Result<Bytes, Problem> {
    in_time(limits, field.bytes())
        .await?
        .map_err(|error| broken(&error, limits))
}

/// All of a part that is text.
///
/// # Errors
///
/// As [`next_part`], and 400 for what is no UTF-8.
pub(crate) async fn part_text(field: Field<'_>, limits: &Limits) -> Result<String, Problem> {
    let name = field.name().unwrap_or_default().to_owned();
    let bytes = part_bytes(field, limits).await?;
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Problem::malformed(format!("the part '{name}' is no UTF-8 text")))
}

fn broken(error: &MultipartError, limits: &Limits) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_long(limits),
        _ => Problem::malformed(format!("the form cannot be read: {}", error.body_text())),
    }
}

fn too_long(limits: &Limits) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "the request is longer than {} bytes, the most that this server takes: send less at a time",
            limits.body_bytes
        ),
    )
}

async fn in_time<T>(limits: &Limits, reading: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(limits.transfer, reading)
        .await
        .map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                format!(
                    "nothing of the body came for {} seconds: send it again",
                    limits.transfer.as_secs()
                ),
            )
        })
}
