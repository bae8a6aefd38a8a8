//! The API, version 1: a file for each group of requests, and the document that describes them.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::service::Service;

mod facts;
mod findings;
mod health;
mod images;
mod map;
mod named;
mod searching;
mod session;

pub(crate) use findings::{Finding, Found};

/// What is done for a request, before it is known whether it can be.
type Answered<T> = Result<T, Problem>;
/// What all handlers share.
type Shared = axum::extract::State<Arc<Service>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lookalike",
        description = "Search a collection of images by their look. Errors are problem details (RFC 9457) that say what to do.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "search", description = "What looks like this?"),
        (name = "images", description = "The gallery's images: reading, adding, deleting. Whatever was answered as stored is on disk."),
        (name = "gallery", description = "Facts about the whole gallery. What takes a while answers 202 until it is done."),
        (name = "session", description = "Signing in, for browsers; programs send the token itself."),
        (name = "health", description = "For those who run the server.")
    ),
    components(schemas(Problem)),
    modifiers(&Security)
)]
struct Document;

/// How the token is sent.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", bearer);
    }
}

/// A status that a request can be answered with, besides those of success.
const REFUSALS: [(&str, &str); 12] = [
    ("400", "The request cannot be read"),
    ("401", "The token is missing or wrong"),
    (
        "403",
        "Not for this host name, or for a page of another site",
    ),
    ("404", "Not found"),
    ("408", "The body did not come in time"),
    ("409", "The gallery is in no state for it"),
    ("413", "More than this server takes at a time"),
    ("415", "No kind of content that is known here"),
    ("422", "It can be read, but means nothing that can be done"),
    ("429", "This client asks for too much: try again later"),
    ("503", "Too much to do: try again in a moment"),
    ("507", "The disk is full"),
];

fn refusals(statuses: &[&str]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let of = |&(status, description): &(&str, &str)| {
        let schema = Ref::from_schema_name(Problem::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content);
        (status.to_owned(), RefOr::T(response.build()))
    };
    let chosen = REFUSALS
        .iter()
        .filter(|(status, _)| statuses.contains(status));
    chosen.map(of).collect()
}

/// How any request can be refused.
struct Refused;
/// How a request for a computation over the whole gallery can be refused.
struct RefusedWork;
/// How a request about one image can be refused.
struct RefusedOne;
/// How a request with a body can be refused.
struct RefusedBody;
/// How a request that changes the gallery can be refused.
struct RefusedWrite;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        refusals(&["400", "401", "403", "422", "503"])
    }
}

impl IntoResponses for RefusedWork {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        refusals(&["400", "401", "403", "422", "429", "503"])
    }
}

impl IntoResponses for RefusedOne {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        refusals(&["400", "401", "403", "404", "503"])
    }
}

impl IntoResponses for RefusedBody {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        refusals(&[
            "400", "401", "403", "404", "408", "409", "413", "415", "422", "503",
        ])
    }
}

impl IntoResponses for RefusedWrite {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        refusals(&[
            "400", "401", "403", "404", "408", "409", "413", "415", "422", "503", "507",
        ])
    }
}

/// All of the API, and its document.
fn routes() -> OpenApiRouter<Arc<Service>> {
    let versioned = OpenApiRouter::new()
        .routes(routes!(searching::search))
        .routes(routes!(searching::send))
        .routes(routes!(searching::sent))
        .routes(routes!(searching::sent_reconstruction))
        .routes(routes!(searching::encode))
        .routes(routes!(searching::reconstruct))
        .routes(routes!(searching::explain))
        .routes(routes!(images::list, images::add))
        .routes(routes!(images::get, images::replace, images::delete))
        .routes(routes!(images::delete_many))
        .routes(routes!(images::thumbnail))
        .routes(routes!(images::original))
        .routes(routes!(images::reconstruction))
        .routes(routes!(facts::gallery))
        .routes(routes!(facts::facets))
        .routes(routes!(findings::duplicates::duplicates))
        .routes(routes!(findings::copies::decide))
        .routes(routes!(findings::copies::details))
        .routes(routes!(findings::copies::script))
        .routes(routes!(findings::outliers::outliers))
        .routes(routes!(findings::sample::sample))
        .routes(routes!(findings::groups::groups))
        .routes(routes!(findings::groups::keep_groups))
        .routes(routes!(findings::quality::quality))
        .routes(routes!(findings::check::check))
        .routes(routes!(findings::labels::mistakes))
        .routes(routes!(findings::labels::suggestions))
        .routes(routes!(named::list))
        .routes(routes!(named::save, named::delete))
        .routes(routes!(named::rename))
        .routes(routes!(map::map))
        .routes(routes!(map::points))
        .routes(routes!(map::groups))
        .routes(routes!(map::values))
        .routes(routes!(session::sign_in, session::sign_out));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", versioned)
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// The document that describes the API, OpenAPI 3.1.
pub fn document() -> Value {
    described(routes().into_openapi())
}

/// Adds what derived schemas cannot say: which fields exclude each other.
fn described(document: utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("a document serialises");
    let one_of = |fields: &[&str]| -> Value {
        let each = fields.iter().map(|field| json!({ "required": [field] }));
        each.collect()
    };
    let schemas = &mut document["components"]["schemas"];
    schemas["Reference"]["oneOf"] = one_of(&["id", "upload", "code", "url"]);
    document
}

/// All of the API.
pub(crate) fn router(body_bytes: usize) -> Router<Arc<Service>> {
    let (router, document) = routes().split_for_parts();
    let document = Bytes::from(described(document).to_string());
    let described = move || ready(([(CONTENT_TYPE, "application/json")], document));
    router
        .route("/api/v1/openapi.json", get(described))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(body_bytes))
}

async fn nothing() -> Response {
    Problem::not_found("there is nothing here: the API's requests are listed at /api")
        .into_response()
}

async fn wrong_method() -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take requests of that method: see the header Allow, and /api",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_described_with_its_refusals() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() >= 20, "{:?}", paths.keys());
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap();
                assert!(
                    responses.keys().any(|status| status.starts_with('2')),
                    "{method} {path}"
                );
                assert!(
                    operation["summary"].is_string(),
                    "{method} {path} says what it does"
                );
                assert!(operation["tags"].is_array(), "{method} {path}");
                if path.starts_with("/api/") {
                    assert!(responses.contains_key("401"), "{method} {path}");
                }
            }
        }
        // References lead somewhere.
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1) {
            let name = name.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name}"
            );
        }
    }
}
