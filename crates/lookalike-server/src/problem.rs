//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lookalike::Error;
use lookalike::gallery::GalleryError;
use lookalike::images::ImageError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::excerpt;

/// What went wrong with a request, and what to do about it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Unprocessable Entity")]
    title: &'static str,
    /// The status.
    #[schema(example = 422)]
    status: u16,
    /// What was wrong, and what to do, for people.
    detail: String,
    /// What the server's log calls this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// What went wrong within the server, for its log alone.
    #[serde(skip)]
    cause: Option<String>,
}

pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Seconds after which one who was turned away may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The most characters of a detail.
const MAX_DETAIL: usize = 1_000;

/// The same for one who asks for too much.
const RETRY_LATER: HeaderValue = HeaderValue::from_static("5");

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            // It goes to the log as well, and may have been made of what was sent.
            detail: excerpt(&detail.into(), MAX_DETAIL),
            request_id: None,
            cause: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 422: the request can be read, but means nothing that can be done.
    pub fn unusable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 503, with word of when to come again.
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 429: this client asks for too much, with word of when to come again.
    pub fn too_many(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    /// 500: the fault is ours. The cause goes to the log, not to the client, who can do nothing
    /// about it.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server failed at this request; its log says more under the request's id",
        )
        .caused_by(cause)
    }

    /// The same problem with its cause, which is logged under the id of the request that it answers
    /// and not told.
    pub fn caused_by(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).expect("it was made of one")
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The same problem as a response that names the request.
    pub fn respond(mut self, request_id: &str) -> Response {
        self.request_id = Some(request_id.to_owned());
        let status = self.status();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, RETRY_LATER);
            }
            StatusCode::UNAUTHORIZED => {
                let bearer = HeaderValue::from_static("Bearer realm=\"lookalike\"");
                headers.insert(header::WWW_AUTHENTICATE, bearer);
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Bare: the outermost layer, which knows the request's id, makes the document.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<GalleryError> for Problem {
    fn from(error: GalleryError) -> Self {
        use GalleryError::{
            BadCode, BadRequest, DamagedDiffusion, Dimensions, DiskFull, NoDiffusion, NotOnCluster,
            Unreachable,
        };
        let status = match &error {
            BadCode { .. } | BadRequest(_) | Dimensions { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            NoDiffusion { .. } | DamagedDiffusion { .. } | NotOnCluster { .. } => {
                StatusCode::CONFLICT
            }
            DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Unreachable { .. } => {
                return Self::busy("the gallery's cluster does not answer: try again later")
                    .caused_by(error);
            }
            _ => return Self::internal(error),
        };
        Self::new(status, error.to_string())
    }
}

impl From<ImageError> for Problem {
    fn from(error: ImageError) -> Self {
        let status = match &error {
            ImageError::Io { .. } | ImageError::Encode { .. } => return Self::internal(error),
            ImageError::Unsupported { .. } | ImageError::Unknown { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            ImageError::TooLarge { .. }
            | ImageError::FileTooLarge { .. }
            | ImageError::Memory { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        use Error::{
            BadLabel, FewLabels, Full, Gallery, Image, LabelTaken, NoAutoencoder, NoImage,
            NoOriginals, NoSuchImage, NoSuchSearch, NoText, NotAnUpload, NotOneImage, OriginalGone,
            OtherReading, OwnGroups, SearchNameTaken, TooManyOnCluster, TooManyPictures,
            UnknownSource, Unlabelled, Unreadable, Unusable,
        };
        let status = match error {
            Gallery(error) => return error.into(),
            Image(error) => return error.into(),
            NoSuchImage { .. } | NoSuchSearch { .. } | OriginalGone { .. } => StatusCode::NOT_FOUND,
            LabelTaken { .. } | SearchNameTaken { .. } => StatusCode::CONFLICT,
            Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            // What the client asked for, or what the gallery can do.
            BadLabel { .. }
            | FewLabels { .. }
            | NoAutoencoder
            | NoImage { .. }
            | NoOriginals { .. }
            | NoText
            | NotAnUpload { .. }
            | NotOneImage { .. }
            | OtherReading { .. }
            | TooManyOnCluster { .. }
            | OwnGroups { .. }
            | TooManyPictures { .. }
            | UnknownSource { .. }
            | Unlabelled { .. }
            | Unreadable(_)
            | Unusable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            // What only the operator can mend goes to the log.
            other => return Self::internal(other),
        };
        Self::new(status, error.to_string())
    }
}
