//! Around every request: its id, its log line, its count, the headers of its answer, and the form
//! of its problems.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use crate::body::{self, Arrival};
use crate::problem::Problem;
use crate::service::Service;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a proxy.
const MAX_ID_LEN: usize = 64;

/// The most characters of a path that are logged.
const MAX_PATH: usize = 200;

/// The page loads only files of this server, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every answer has, unless it says otherwise itself.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// The outermost layer.
pub(crate) async fn observe(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let method = name(request.method());
    let path = body::excerpt(request.uri().path(), MAX_PATH);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let limit = service.limits().request;
    let (request, arrival) = body::watched(request, &service);
    let answered = within(limit, &arrival, next.run(request)).await;
    arrival.release();
    let mut response = answered.unwrap_or_else(|| {
        Problem::busy(format!(
            "this took longer than {} seconds, and was given up: try again, or ask for less",
            limit.as_secs()
        ))
        .into_response()
    });
    let mut problem = None;
    if let Some(found) = response.extensions_mut().remove::<Problem>() {
        problem = Some(found.detail().to_owned());
        log_cause(&id, &found);
        let mut headers = std::mem::take(response.headers_mut());
        response = found.respond(&id);
        // What layers between have added, such as CORS.
        headers.remove(header::CONTENT_LENGTH);
        headers.extend(std::mem::take(response.headers_mut()));
        *response.headers_mut() = headers;
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    if let Ok(value) = HeaderValue::try_from(&id) {
        headers.insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let took = began.elapsed();
    service.metrics.answered(method, &route, status, took);
    let milliseconds = (took.as_secs_f64() * 1e5).round() / 1e2;
    match problem {
        Some(problem) => {
            tracing::info!(
                request_id = id,
                method,
                path,
                status,
                milliseconds,
                problem,
                "answered"
            );
        }
        None => tracing::info!(
            request_id = id,
            method,
            path,
            status,
            milliseconds,
            "answered"
        ),
    }
    response
}

/// Logs what went wrong within the server, under the id that the answer names.
fn log_cause(request_id: &str, problem: &Problem) {
    if let Some(cause) = problem.cause() {
        tracing::error!(request_id, cause, "a request failed");
    }
}

/// The answer, unless it takes longer than `limit`, counted from when bytes of the body came last.
async fn within(
    limit: Duration,
    arrival: &Arrival,
    answer: impl Future<Output = Response>,
) -> Option<Response> {
    let mut answer = pin!(answer);
    loop {
        let end = arrival.last() + limit;
        match tokio::time::timeout_at(end, &mut answer).await {
            Ok(response) => return Some(response),
            Err(_) if arrival.last() + limit > end => {}
            Err(_) => return None,
        }
    }
}

/// A problem for a panic: the fault is ours, and the service goes on.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    Problem::internal("a handler panicked").into_response()
}

/// The id that a proxy gave the request, if it is a plain one, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let plain = |id: &&str| {
        let sign = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !id.is_empty() && id.len() <= MAX_ID_LEN && id.bytes().all(sign)
    };
    match given.filter(plain) {
        Some(id) => id.to_owned(),
        None => new_id(),
    }
}

/// An id that no other request has: of this run of the server, and a number.
fn new_id() -> String {
    static RUN: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().simple().to_string());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{:x}", &RUN[..12], NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A method that counts; whatever else somebody invents is one.
fn name(method: &Method) -> &'static str {
    const KNOWN: [Method; 6] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ];
    const NAMES: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
    match KNOWN.iter().position(|known| known == method) {
        Some(at) => NAMES[at],
        None => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write as _};
    use std::sync::Mutex;

    use tracing::field::Field;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Keeps the fields of what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn event(&self, event: &Event<'_>) {
            let mut text = self.0.lock().unwrap();
            event.record(&mut |field: &Field, value: &dyn Debug| {
                write!(text, "{field}={value:?} ").unwrap();
            });
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn why_a_request_failed_is_logged_under_its_id_and_not_told() {
        let log = Log::default();
        let problem = Problem::internal("the disk is on fire");
        tracing::subscriber::with_default(log.clone(), || {
            log_cause("request-7", &Problem::not_found("no such image"));
            assert_eq!(*log.0.lock().unwrap(), "", "nothing failed");
            log_cause("request-7", &problem);
        });
        let logged = log.0.lock().unwrap();
        for part in ["request_id=\"request-7\"", "the disk is on fire"] {
            assert!(logged.contains(part), "{logged}");
        }
        let told = serde_json::to_string(&problem).unwrap();
        assert!(!told.contains("fire") && !told.contains("cause"), "{told}");
    }

    #[test]
    fn ids_of_proxies_are_kept_if_they_are_plain() {
        let with = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(id));
            request_id(&headers)
        };
        assert_eq!(with("abc-123_x.y"), "abc-123_x.y");
        for odd in ["", "two words", "<script>", "a\"b"] {
            assert_ne!(with(odd), odd);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn methods_that_nobody_knows_are_one() {
        assert_eq!(name(&Method::GET), "GET");
        assert_eq!(name(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
