//! The web page: files in the program, so that it needs nothing else.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use crate::pictures::{has_version, not_modified};

/// A file of the page.
struct Asset {
    path: &'static str,
    media_type: &'static str,
    content: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $media_type:literal) => {
        Asset {
            path: concat!("/assets/", $name),
            media_type: $media_type,
            content: include_bytes!(concat!("../web/", $name)),
        }
    };
}

const PAGE: &[u8] = include_bytes!("../web/index.html");

/// Where the page is: each address shows another part of it.
const PLACES: [&str; 10] = [
    "/",
    "/map",
    "/groups",
    "/duplicates",
    "/outliers",
    "/sample",
    "/quality",
    "/labels",
    "/gallery",
    "/api",
];

const ASSETS: &[Asset] = &[
    asset!("adding.js", "text/javascript; charset=utf-8"),
    asset!("api.js", "text/javascript; charset=utf-8"),
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("base.js", "text/javascript; charset=utf-8"),
    asset!("cloud.js", "text/javascript; charset=utf-8"),
    asset!("colouring.js", "text/javascript; charset=utf-8"),
    asset!("controls.js", "text/javascript; charset=utf-8"),
    asset!("curve.js", "text/javascript; charset=utf-8"),
    asset!("dom.js", "text/javascript; charset=utf-8"),
    asset!("examples.js", "text/javascript; charset=utf-8"),
    asset!("filters.js", "text/javascript; charset=utf-8"),
    asset!("gallery.js", "text/javascript; charset=utf-8"),
    asset!("gestures.js", "text/javascript; charset=utf-8"),
    asset!("groups.js", "text/javascript; charset=utf-8"),
    asset!("heat.js", "text/javascript; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("intake.js", "text/javascript; charset=utf-8"),
    asset!("labels.js", "text/javascript; charset=utf-8"),
    asset!("map.js", "text/javascript; charset=utf-8"),
    asset!("painter.js", "text/javascript; charset=utf-8"),
    asset!("histogram.js", "text/javascript; charset=utf-8"),
    asset!("progress.js", "text/javascript; charset=utf-8"),
    asset!("quality.js", "text/javascript; charset=utf-8"),
    asset!("ranging.js", "text/javascript; charset=utf-8"),
    asset!("reference.js", "text/javascript; charset=utf-8"),
    asset!("region.js", "text/javascript; charset=utf-8"),
    asset!("results.js", "text/javascript; charset=utf-8"),
    asset!("review.js", "text/javascript; charset=utf-8"),
    asset!("saved.js", "text/javascript; charset=utf-8"),
    asset!("scripts.js", "text/javascript; charset=utf-8"),
    asset!("search.js", "text/javascript; charset=utf-8"),
    asset!("selection.js", "text/javascript; charset=utf-8"),
    asset!("session.js", "text/javascript; charset=utf-8"),
    asset!("start.js", "text/javascript; charset=utf-8"),
    asset!("state.js", "text/javascript; charset=utf-8"),
    asset!("style.css", "text/css; charset=utf-8"),
    asset!("thumbnails.js", "text/javascript; charset=utf-8"),
    asset!("tidy.js", "text/javascript; charset=utf-8"),
    asset!("tiles.js", "text/javascript; charset=utf-8"),
    asset!("why.js", "text/javascript; charset=utf-8"),
];

/// The page and its files.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let page = served(PAGE, "text/html; charset=utf-8");
    let places = PLACES.iter().map(|&place| (place, page.clone()));
    let file = |asset: &Asset| (asset.path, served(asset.content, asset.media_type));
    places
        .chain(ASSETS.iter().map(file))
        .fold(Router::new(), |router, (path, answered)| {
            router.route(path, answered)
        })
}

/// Answers with a file, and knows its version from the start.
fn served<S: Clone + Send + Sync + 'static>(
    content: &'static [u8],
    media_type: &'static str,
) -> MethodRouter<S> {
    let tag: Arc<str> = tag(content).into();
    get(move |headers: HeaderMap| ready(answer(content, media_type, &tag, &headers)))
}

fn tag(content: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(content).to_hex()[..32])
}

fn answer(
    content: &'static [u8],
    media_type: &'static str,
    tag: &str,
    headers: &HeaderMap,
) -> Response {
    if has_version(headers, tag) {
        return not_modified(tag, false);
    }
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_page_names_nothing_by_an_absolute_path() {
        let page = std::str::from_utf8(PAGE).unwrap();
        for absolute in ["href=\"/", "src=\"/"] {
            assert!(!page.contains(absolute), "{absolute}");
        }
        for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
            // What makes a path relative may be given an absolute one.
            let script = std::str::from_utf8(asset.content)
                .unwrap()
                .replace("pagePath('/", "");
            for absolute in [
                "'/api/",
                "`/api/",
                "'/assets/",
                "href: '/",
                "go('/",
                "go(`/",
            ] {
                assert!(!script.contains(absolute), "{absolute} in {}", asset.path);
            }
        }
    }

    #[test]
    fn every_file_of_the_page_is_in_the_program() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html" && name != "README.md")
            .collect();
        let listed = ASSETS
            .iter()
            .map(|asset| asset.path.trim_start_matches("/assets/"));
        assert_eq!(there, listed.map(str::to_owned).collect());
    }
}
