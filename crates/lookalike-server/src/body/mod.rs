//! Reading what a request brings, within its limits.

mod arrival;
mod json;

use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::options::Limits;
use crate::problem::Problem;

pub(crate) use arrival::{Arrival, make_room, watched};
pub(crate) use json::parse;

use arrival::BrokenOff;

/// The parameters of a path.
pub(crate) struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::malformed(excerpt(&rejection.body_text(), 300))),
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
            Err(rejection) => Err(Problem::malformed(excerpt(&rejection.body_text(), 300))),
        }
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
/// 400 for what is no JSON, 408, 413, 415 for what is neither, 422 for JSON that means nothing
/// here.
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
                excerpt(&rejection.body_text(), 200)
            ))
        })
}

/// Reads a body of JSON that holds a secret: nothing of it is told, whatever is wrong with it.
/// `takes` says what it should be.
///
/// # Errors
///
/// As [`read`].
pub(crate) async fn read_secret<T: DeserializeOwned>(
    request: Request,
    limits: &Limits,
    takes: &str,
) -> Result<T, Problem> {
    read_json(request, limits).await.map_err(|problem| {
        match [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY]
            .contains(&problem.status())
        {
            true => Problem::new(
                problem.status(),
                format!("the body is not what this takes: {takes}"),
            ),
            false => problem,
        }
    })
}

async fn json<T: DeserializeOwned>(request: Request, limits: &Limits) -> Result<T, Problem> {
    parse(&whole(request, limits).await?, "the body")
}

/// The beginning of a text, of so many characters at most.
pub(crate) fn excerpt(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

async fn whole(request: Request, limits: &Limits) -> Result<Bytes, Problem> {
    let declared = declared(request.headers());
    if declared.is_some_and(|bytes| bytes > limits.body_bytes) {
        return Err(too_long(limits));
    }
    let mut stream = request.into_body().into_data_stream();
    let mut body = Vec::with_capacity(declared.unwrap_or(0).min(1 << 20));
    while let Some(chunk) = in_time(limits, stream.next()).await? {
        let chunk = chunk.map_err(|error| match BrokenOff::problem_in(&error) {
            Some(problem) => problem,
            None if is_too_long(&error) => too_long(limits),
            None => Problem::malformed(format!("the body broke off: {error}")),
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
    // Chunk by chunk: the limit is for the time between bytes, not for the whole.
    let (mut field, mut bytes) = (field, Vec::new());
    while let Some(chunk) = in_time(limits, field.chunk())
        .await?
        .map_err(|error| broken(&error, limits))?
    {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// All of a part that is text.
///
/// # Errors
///
/// As [`next_part`], and 400 for what is no UTF-8.
pub(crate) async fn part_text(field: Field<'_>, limits: &Limits) -> Result<String, Problem> {
    let name = field.name().unwrap_or_default().to_owned();
    let bytes = part_bytes(field, limits).await?;
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        Problem::malformed(format!(
            "the part '{}' is no UTF-8 text",
            excerpt(&name, 60)
        ))
    })
}

fn broken(error: &MultipartError, limits: &Limits) -> Problem {
    if let Some(problem) = BrokenOff::problem_in(error) {
        return problem;
    }
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_long(limits),
        _ => Problem::malformed(format!(
            "the form cannot be read: {}",
            excerpt(&error.body_text(), 200)
        )),
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
