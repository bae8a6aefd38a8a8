//! Reading what a request brings, within its limits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody as _};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::options::Limits;
use crate::problem::Problem;
use crate::service::Service;
use crate::work::{Held, NoRoom};

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

/// Bytes a second that a body must come with on average, once it has taken longer than a request
/// may.
const SLOWEST: f64 = 256.0;

/// How the body of a request arrives, and the room that it takes.
pub(crate) struct Arrival {
    began: Instant,
    state: Mutex<ArrivalState>,
}

struct ArrivalState {
    last: Instant,
    bytes: usize,
    held: Held,
}

impl Arrival {
    fn new() -> Self {
        let began = Instant::now();
        Self {
            began,
            state: Mutex::new(ArrivalState {
                last: began,
                bytes: 0,
                held: Held::default(),
            }),
        }
    }

    /// When bytes of the body came last; when the request came if it has none.
    pub fn last(&self) -> Instant {
        self.lock().last
    }

    /// Gives back the room.
    pub fn release(&self) {
        self.lock().held = Held::default();
    }

    /// Counts bytes that have come.
    fn add(&self, bytes: usize, service: &Service) -> Result<(), BrokenOff> {
        let limits = service.limits();
        let mut state = self.lock();
        state.last = Instant::now();
        state.bytes += bytes;
        let late = (state.last - self.began).saturating_sub(limits.request);
        if (state.bytes as f64) < late.as_secs_f64() * SLOWEST {
            return Err(BrokenOff::TooSlow);
        }
        service.room.grow(&mut state.held, bytes)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, ArrivalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the server reads no more of a body.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(
        "the body came too slowly, with fewer than {SLOWEST} bytes a second: send it over a faster connection"
    )]
    TooSlow,
}

impl BrokenOff {
    /// The problem that an error is caused by, if it is one of these.
    fn problem_in(error: &(dyn std::error::Error + 'static)) -> Option<Problem> {
        match error.downcast_ref::<Self>() {
            Some(Self::NoRoom(full)) => Some((*full).into()),
            Some(slow @ Self::TooSlow) => {
                Some(Problem::new(StatusCode::REQUEST_TIMEOUT, slow.to_string()))
            }
            None => Self::problem_in(error.source()?),
        }
    }
}

/// A request whose body is counted as it arrives, and what counts it.
pub(crate) fn watched(request: Request, service: &Arc<Service>) -> (Request, Arc<Arrival>) {
    let arrival = Arc::new(Arrival::new());
    let (service, counting) = (service.clone(), arrival.clone());
    let request = request.map(|inner| {
        if inner.is_end_stream() {
            return inner;
        }
        axum::body::Body::new(Watched {
            inner,
            service,
            arrival: counting,
        })
    });
    (request, arrival)
}

struct Watched {
    inner: axum::body::Body,
    service: Arc<Service>,
    arrival: Arc<Arrival>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref()
            && let Err(broken) = self.arrival.add(bytes.len(), &self.service)
        {
            return Poll::Ready(Some(Err(axum::Error::new(broken))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Makes room for an answer that is in memory until its client has taken it; answers that are read
/// as they are sent need none.
pub(crate) async fn make_room(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let Some(bytes) = response.body().size_hint().exact() else {
        return response;
    };
    let mut held = Held::default();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if service.sending.grow(&mut held, bytes).is_err() {
        return Problem::busy(
            "too many large answers are being sent: try again in a moment, or ask for less",
        )
        .into_response();
    }
    response.map(|inner| axum::body::Body::new(Holding { inner, _held: held }))
}

/// A body, and the room that it takes.
struct Holding {
    inner: axum::body::Body,
    _held: Held,
}

impl hyper::body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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

/// Reads JSON; `what` names it in problems, which say what is wrong at which place without
/// repeating long or secret values: they go to the log as well.
///
/// # Errors
///
/// 400 for what is no JSON, 422 for JSON of another kind.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let (error, path) = match parsed {
        Ok(value) => match reader.end() {
            Ok(()) => return Ok(value),
            Err(error) => (error, String::new()),
        },
        Err(error) => {
            let path = error.path().to_string();
            (error.into_inner(), path)
        }
    };
    if error.classify() != serde_json::error::Category::Data {
        return Err(Problem::malformed(format!(
            "{what} is no JSON that can be read: {}",
            excerpt(&error.to_string(), 100)
        )));
    }
    let place = match path.as_str() {
        "" | "." => String::new(),
        path => format!("'{}': ", excerpt(path, 60)),
    };
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    let message = message.strip_suffix(&position).unwrap_or(&message);
    Err(Problem::unusable(format!(
        "{what} is not what this takes: {place}{}",
        explained(message)
    )))
}

/// What serde says of a wrong value, in words that a client knows. Text is never repeated: it may
/// be a picture or a token in the wrong place.
fn explained(message: &str) -> String {
    let wrong = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    // What is expected is of our types' words, and comes last.
    if let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        let found = match found.split(['"', '`']).next().unwrap_or_default().trim() {
            "string" => "text".to_owned(),
            "map" => "an object".to_owned(),
            "sequence" => "an array".to_owned(),
            _ => excerpt(&found.replace('`', ""), 60),
        };
        return format!("found {found}, expected {}", in_words(expected));
    }
    for (unknown, name) in [("unknown field `", "field"), ("unknown variant `", "value")] {
        if let Some(rest) = message.strip_prefix(unknown) {
            let (found, expected) = rest
                .rsplit_once("`, expected ")
                .or_else(|| rest.rsplit_once("`, there are no "))
                .unwrap_or((rest, "another"));
            return format!(
                "there is no {name} '{}', expected {}",
                excerpt(&found.escape_debug().to_string(), 60),
                excerpt(expected, 400)
            );
        }
    }
    excerpt(message, 100)
}

/// The types of Rust in the words of JSON.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a string" => "text".to_owned(),
        structure if structure.starts_with("struct ") => "an object".to_owned(),
        other => excerpt(other, 100),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Search, SignIn};

    fn complaint<T: DeserializeOwned>(text: &str) -> String {
        let problem = parse::<T>(text.as_bytes(), "the body").map(|_| ());
        problem.unwrap_err().detail().to_owned()
    }

    #[test]
    fn wrong_json_is_explained_without_its_values() {
        for (text, expected) in [
            (
                r#"{"k": "secret-secret"}"#,
                "'k': found text, expected a whole number of at least 0",
            ),
            (
                r#"{"k": -1}"#,
                "'k': found integer -1, expected a whole number of at least 0",
            ),
            (
                r#"{"query": "data:image/png;base64,secret"}"#,
                "'query': found text, expected an object",
            ),
            (
                r#"{"query": {"code": [1, "secret, expected u8"]}}"#,
                "'query.code[1]': found text, expected a number",
            ),
            (
                r#"{"kk": 5}"#,
                "there is no field 'kk', expected one of `query`",
            ),
            (
                r#"{"metric": "hamming"}"#,
                "'metric': there is no value 'hamming', expected one of",
            ),
            (
                r#"{"like": 7}"#,
                "'like': found integer 7, expected an array",
            ),
            (r#""secret""#, "takes: found text, expected an object"),
            (
                r#"{"query": {"id": "secret"}}"#,
                "'query.id': UUID parsing failed",
            ),
        ] {
            let detail = complaint::<Search>(text);
            assert!(detail.contains(expected), "{text}: {detail}");
            assert!(!detail.contains("secret"), "{text}: {detail}");
        }
    }

    #[test]
    fn long_values_make_short_complaints() {
        let long = "x".repeat(2 << 20);
        for text in [
            format!("\"{long}\""),
            format!("{{\"{long}\": 1}}"),
            format!("{{\"metric\": \"{long}\"}}"),
            format!("{{\"k\": {}}}", "9".repeat(100_000)),
            format!("{{\"query\": {{\"id\": \"{long}\"}}}}"),
            long.clone(),
        ] {
            let detail = complaint::<Search>(&text);
            assert!(
                detail.len() < 700,
                "{} bytes: {}",
                detail.len(),
                excerpt(&detail, 200)
            );
        }
        assert!(complaint::<SignIn>(&format!("\"{long}\"")).len() < 200);
    }
}
