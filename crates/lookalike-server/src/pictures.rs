//! Pictures as answers.

use std::fs::File;
use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lookalike::images::{Format, Pixels};
use tokio::io::AsyncReadExt as _;

use crate::problem::Problem;

/// For what is named by the hash of its content, which never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// May be cached, but must be revalidated each time.
const REVALIDATED: HeaderValue = HeaderValue::from_static("private, no-cache");
/// For picture files: a script hidden in one does not run.
const PICTURE_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// Bytes of a file that are read at a time.
const CHUNK: usize = 64 << 10;

/// The media type of a picture that a browser shows, by its content; none for another.
pub(crate) fn media_type(bytes: &[u8]) -> Option<&'static str> {
    Some(match Format::of(bytes).ok()? {
        Format::Jpeg => "image/jpeg",
        Format::Png => "image/png",
        Format::WebP => "image/webp",
        Format::Gif => "image/gif",
        Format::Bmp => "image/bmp",
        // TIFF, which browsers do not show.
        _ => return None,
    })
}

/// A picture's entity tag: what it is (a thumbnail, an original …) and the hash of its content.
pub(crate) fn entity_tag(kind: &str, hash: &str) -> String {
    format!("\"{kind}-{hash}\"")
}

/// Whether the client has the present version, so that 304 is the answer.
pub(crate) fn has_version(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).into_iter();
    tags.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == tag || one == "*")
}

/// A picture that may be cached under `tag`: for ever if it was asked for by its content.
pub(crate) fn cached(
    bytes: impl Into<Bytes>,
    media_type: &'static str,
    tag: &str,
    for_ever: bool,
) -> Response {
    labelled(bytes.into().into_response(), media_type, tag, for_ever)
}

/// As [`cached`], for a file that is read as it is sent: however slow its client, little of it is
/// in memory.
pub(crate) fn streamed(
    file: File,
    length: u64,
    media_type: &'static str,
    tag: &str,
    for_ever: bool,
) -> Response {
    let file = tokio::fs::File::from_std(file).take(length);
    let chunks = futures_util::stream::try_unfold(file, |mut file| async {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = file.read_buf(&mut chunk).await?;
        Ok::<_, io::Error>((read > 0).then(|| (Bytes::from(chunk), file)))
    });
    let mut response = labelled(
        Body::from_stream(chunks).into_response(),
        media_type,
        tag,
        for_ever,
    );
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length.into());
    response
}

fn labelled(
    mut response: Response,
    media_type: &'static str,
    tag: &str,
    for_ever: bool,
) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, PICTURE_POLICY);
    tagged(headers, tag, for_ever);
    response
}

/// 304.
pub(crate) fn not_modified(tag: &str, for_ever: bool) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    tagged(response.headers_mut(), tag, for_ever);
    response
}

fn tagged(headers: &mut HeaderMap, tag: &str, for_ever: bool) {
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    let control = if for_ever { IMMUTABLE } else { REVALIDATED };
    headers.insert(header::CACHE_CONTROL, control);
}

/// Pixels as a PNG.
pub(crate) fn png(pixels: &Pixels) -> Result<Vec<u8>, Problem> {
    pixels.to_png().map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_http_does() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            has_version(&headers, "\"a\"")
        };
        assert!(with("\"a\""));
        assert!(with("W/\"a\""));
        assert!(with("\"b\", \"a\""));
        assert!(with("*"));
        assert!(!with("\"b\""));
        assert!(!with("a"));
        assert!(!has_version(&HeaderMap::new(), "\"a\""));
    }
}
