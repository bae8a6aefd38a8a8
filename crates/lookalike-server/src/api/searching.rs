//! What looks like this?

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Multipart, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use lookalike::autoencoder::Autoencoder;
use lookalike::images::{Decoded, Fit, Pixels};
use lookalike::{Encoder as _, occlude};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answered, RefusedBody, RefusedOne, Shared};
use crate::body::{self, Body, InPath};
use crate::pictures;
use crate::problem::Problem;
use crate::references::Asked;
use crate::service::Service;
use crate::types::{
    Address, Answer, Code, ImageForm, Kept, OneImage, Pair, Reference, Search, SearchForm,
};
use crate::work::{Held, stop_if_abandoned};

/// Finds the images most like one, or like some examples.
///
/// The query is named in JSON, or sent in a form.
#[utoipa::path(
    post, path = "/search", tag = "search",
    request_body(content((Search = "application/json"), (SearchForm = "multipart/form-data"))),
    responses((status = 200, description = "The neighbours", body = Answer), RefusedBody)
)]
pub(super) async fn search(State(service): Shared, request: Request) -> Answered<Json<Answer>> {
    let (search, image) = match body::read::<Search>(request, service.limits()).await? {
        Body::Json(search) => (search, None),
        Body::Parts(parts) => {
            let (search, image) = search_form(parts, &service).await?;
            (search, Some(image))
        }
    };
    if image.is_none() && search.query.is_none() && search.named.is_none() && search.like.is_empty()
    {
        return Err(Problem::unusable(
            "a search needs a 'query', a 'named' search, or at least one example in 'like'",
        ));
    }
    let Some(bytes) = image else {
        let search = fetched(&service, search).await?;
        let is_short = search.is_short();
        let work = move |service: &Service| service.search(&search, None);
        return Ok(Json(match is_short {
            true => service.run_short(work).await?,
            false => service.run(work).await?,
        }));
    };
    let answer = service.run(move |service| {
        let hash = blake3::hash(&bytes).to_hex();
        let code = service.encoded(&bytes)?;
        let asked = Asked::sent(code, service.known(&hash)?);
        service.search(&search, Some(asked))
    });
    Ok(Json(answer.await?))
}

/// Reads a form with an image and how to search with it.
async fn search_form(mut parts: Multipart, service: &Service) -> Answered<(Search, Bytes)> {
    let limits = service.limits();
    let (mut search, mut image) = (Search::default(), None);
    while let Some(part) = body::next_part(&mut parts, limits).await? {
        match part.name() {
            Some("image") if image.is_none() => {
                image = Some(body::part_bytes(part, limits).await?);
            }
            Some("search") => {
                let text = body::part_text(part, limits).await?;
                search = body::parse(text.as_bytes(), "the part 'search'")
                    .map_err(|problem| Problem::unusable(problem.detail()))?;
            }
            other => return Err(unexpected(other)),
        }
    }
    let has_examples = !search.like.is_empty() || !search.unlike.is_empty();
    if search.query.is_some() || search.named.is_some() || has_examples {
        return Err(Problem::unusable(
            "the image in the form is the query: leave 'query', 'named', 'like' and 'unlike' out",
        ));
    }
    Ok((search, image.ok_or_else(no_image)?))
}

fn unexpected(name: Option<&str>) -> Problem {
    Problem::malformed(format!(
        "the form has a part '{}' that means nothing here, or has it twice",
        name.unwrap_or_default()
            .escape_debug()
            .take(60)
            .collect::<String>()
    ))
}

fn no_image() -> Problem {
    Problem::malformed("the form has no part 'image' with a picture file")
}

/// Reads a form with one image.
async fn image_form(mut parts: Multipart, service: &Service) -> Answered<Bytes> {
    let limits = service.limits();
    let mut image = None;
    while let Some(part) = body::next_part(&mut parts, limits).await? {
        match part.name() {
            Some("image") if image.is_none() => {
                image = Some(body::part_bytes(part, limits).await?);
            }
            other => return Err(unexpected(other)),
        }
    }
    image.ok_or_else(no_image)
}

/// The same search with images that were named by their URL fetched and kept.
async fn fetched(service: &Arc<Service>, mut search: Search) -> Answered<Search> {
    // Before anything is fetched: there may be too many.
    service.check_search(&search)?;
    let examples = search.like.iter_mut().chain(&mut search.unlike);
    for reference in examples.chain(search.query.as_mut()) {
        fetch(service, reference).await?;
    }
    Ok(search)
}

/// Turns a URL into an image that is kept.
pub(super) async fn fetch(service: &Arc<Service>, reference: &mut Reference) -> Answered<()> {
    let others = (&reference.id, &reference.upload, &reference.code);
    let (Some(url), (None, None, None)) = (&reference.url, others) else {
        return Ok(());
    };
    let (bytes, held) = fetch_url(service, url).await?;
    let keep = move |service: &Service| {
        let _held = held;
        service.keep(&bytes)
    };
    let (hash, _) = service.run(keep).await?;
    reference.url = None;
    reference.upload = Some(hash);
    Ok(())
}

async fn fetch_url(service: &Service, url: &str) -> Answered<(Vec<u8>, Held)> {
    match &service.fetcher {
        Some(fetcher) => fetcher.fetch(url, &service.room).await,
        None => Err(Problem::unusable(format!(
            "this server fetches nothing by URL: send the image itself (whoever runs the server can allow it with {})",
            service.options.names.fetch_urls
        ))),
    }
}

/// Sends an image to search with.
///
/// It is kept for a while, so that one can search with it, and with regions of it, without sending
/// it again.
#[utoipa::path(
    post, path = "/queries", tag = "search",
    request_body(content((ImageForm = "multipart/form-data"), (Address = "application/json"))),
    responses((status = 200, description = "It is kept", body = Kept), RefusedBody)
)]
pub(super) async fn send(State(service): Shared, request: Request) -> Answered<Json<Kept>> {
    let (bytes, held) = match body::read::<Address>(request, service.limits()).await? {
        Body::Json(address) => {
            let (bytes, held) = fetch_url(&service, &address.url).await?;
            (bytes.into(), held)
        }
        Body::Parts(parts) => (image_form(parts, &service).await?, Held::default()),
    };
    let kept = service.run(move |service| {
        let _held = held;
        let (upload, sent) = service.keep(&bytes)?;
        Ok(Kept {
            width: sent.width,
            height: sent.height,
            known: service.known(&upload)?.map(|point| point.id),
            upload,
        })
    });
    Ok(Json(kept.await?))
}

/// An image that was sent to search with, reduced to 1,536 pixels.
#[utoipa::path(
    get, path = "/queries/{upload}", tag = "search",
    params(("upload" = String, Path, description = "Its name, as /queries gave it")),
    responses((status = 200, description = "The picture", content_type = "image/png"), (status = 304, description = "It is as it was"), RefusedOne)
)]
pub(super) async fn sent(
    State(service): Shared,
    InPath(upload): InPath<String>,
    headers: HeaderMap,
) -> Answered<Response> {
    let sent = service.kept(&upload)?;
    let tag = pictures::entity_tag("query", &upload);
    if pictures::has_version(&headers, &tag) {
        return Ok(pictures::not_modified(&tag, true));
    }
    let png = service.run(move |_| pictures::png(&sent.pixels)).await?;
    Ok(pictures::cached(png, "image/png", &tag, true))
}

/// What the model makes of an image that was sent.
#[utoipa::path(
    get, path = "/queries/{upload}/reconstruction", tag = "search",
    params(("upload" = String, Path, description = "Its name, as /queries gave it")),
    responses((status = 200, description = "The reconstruction", content_type = "image/png"), RefusedOne)
)]
pub(super) async fn sent_reconstruction(
    State(service): Shared,
    InPath(upload): InPath<String>,
) -> Answered<Response> {
    let sent = service.kept(&upload)?;
    let png = service.run(move |service| reconstruction(service, &sent.pixels.clone().into()));
    Ok(([(header::CONTENT_TYPE, "image/png")], png.await?).into_response())
}

/// The code of an image.
#[utoipa::path(
    post, path = "/encode", tag = "search",
    request_body(content((OneImage = "application/json"), (ImageForm = "multipart/form-data"))),
    responses((status = 200, description = "Its code", body = Code), RefusedBody)
)]
pub(super) async fn encode(State(service): Shared, request: Request) -> Answered<Json<Code>> {
    let code = match one(&service, request).await? {
        One::Sent(bytes) => service.run(move |service| service.encoded(&bytes)).await?,
        One::Named(reference) => {
            let asked = service.run(move |service| service.asked(&reference));
            asked.await?.code
        }
    };
    let metric = service.gallery().describe()?.metric;
    Ok(Json(Code { code, metric }))
}

/// What the model makes of an image: the picture that its code still holds.
#[utoipa::path(
    post, path = "/reconstruct", tag = "search",
    request_body(content((OneImage = "application/json"), (ImageForm = "multipart/form-data"))),
    responses((status = 200, description = "The reconstruction, as large as the model sees images", content_type = "image/png"), RefusedBody)
)]
pub(super) async fn reconstruct(State(service): Shared, request: Request) -> Answered<Response> {
    let one = one(&service, request).await?;
    let png = service.run(move |service| {
        let picture = match one {
            One::Sent(bytes) => service.decoded(&bytes)?,
            One::Named(reference) => service.pixels(&reference)?.into(),
        };
        reconstruction(service, &picture)
    });
    Ok(([(header::CONTENT_TYPE, "image/png")], png.await?).into_response())
}

/// An image, sent or named.
enum One {
    Sent(Bytes),
    Named(Reference),
}

async fn one(service: &Arc<Service>, request: Request) -> Answered<One> {
    Ok(
        match body::read::<OneImage>(request, service.limits()).await? {
            Body::Json(mut one) => {
                fetch(service, &mut one.query).await?;
                One::Named(one.query)
            }
            Body::Parts(parts) => One::Sent(image_form(parts, service).await?),
        },
    )
}

/// What the model makes of a picture, as a PNG.
pub(super) fn reconstruction(service: &Service, picture: &Decoded) -> Answered<Vec<u8>> {
    let model = autoencoder(service)?;
    let shape = model.shape();
    let prepared = model.prepare(picture)?;
    let output = model
        .reconstruct(prepared.data())
        .map_err(Problem::internal)?;
    let output = Pixels::new(shape.width, shape.height, shape.channels, output)?;
    pictures::png(&output)
}

/// The gallery's autoencoder, for what only one can do.
fn autoencoder(service: &Service) -> Answered<&Autoencoder> {
    service.searcher.encoder().autoencoder().ok_or_else(|| {
        Problem::unusable(
            "the gallery's encoder was trained by others and has no decoder: it cannot rebuild images",
        )
    })
}

/// How much each part of two images adds to their likeness.
#[derive(Serialize, ToSchema)]
pub(super) struct Explanation {
    method: Method,
    /// How far apart they are, by the gallery's metric.
    distance: f32,
    #[schema(value_type = String, example = "cosine")]
    metric: lookalike::neighbours::Metric,
    /// The cosine of the angle between their codes, -1 to 1.
    similarity: f32,
    /// What of the similarity comes from the colours as such, if the model joins colours to its
    /// codes.
    colour_share: f32,
    /// How the cells below lie over a picture: evenly over all of it (`stretch`), over the middle
    /// that the model sees (`crop`), or over more than there is, where it pads (`pad`).
    fit: &'static str,
    query: Cells,
    with: Cells,
}

/// How it is found what a cell adds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// By the codes: with the share of the colours, the cells of a picture add up to the
    /// similarity. For autoencoders.
    Shares,
    /// By covering one cell after another with the picture's mean colour: what the similarity
    /// loses. For all other encoders.
    Occlusion,
}

/// What each cell of a picture adds to the similarity, row by row from the top; what it takes away
/// is negative.
#[derive(Serialize, ToSchema)]
struct Cells {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl From<lookalike::autoencoder::Contributions> for Cells {
    fn from(of: lookalike::autoencoder::Contributions) -> Self {
        Self {
            rows: of.rows,
            columns: of.columns,
            values: of.values,
        }
    }
}

/// Why two images are alike: what each part of them adds to the similarity. Where parts are
/// covered to find out (`occlusion`), this takes about a hundred encodings.
#[utoipa::path(
    post, path = "/explain", tag = "search", request_body = Pair,
    responses((status = 200, description = "The parts", body = Explanation), RefusedBody)
)]
pub(super) async fn explain(
    State(service): Shared,
    request: Request,
) -> Answered<Json<Explanation>> {
    let mut pair: Pair = body::read_json(request, service.limits()).await?;
    fetch(&service, &mut pair.query).await?;
    fetch(&service, &mut pair.with).await?;
    let explanation = service.run(move |service| {
        let (query, with) = (service.pixels(&pair.query)?, service.pixels(&pair.with)?);
        stop_if_abandoned()?;
        let metric = service.gallery().describe()?.metric;
        let (a, b) = (
            service.asked(&pair.query)?.code,
            service.asked(&pair.with)?.code,
        );
        let distance = metric.distance(&a, &b);
        let encoder = service.searcher.encoder();
        // Of joined codes a model explains its own part alone.
        let model = match encoder.adapted() {
            Some(_) => None,
            None => encoder.autoencoder(),
        };
        let Some(model) = model else {
            let found = occlude(encoder, &query, &with, stop_if_abandoned)?;
            return Ok(Explanation {
                method: Method::Occlusion,
                distance,
                metric,
                similarity: found.similarity,
                colour_share: 0.0,
                fit: "stretch",
                query: found.a.into(),
                with: found.b.into(),
            });
        };
        let explained = model.explain(&query, &with);
        Ok(Explanation {
            method: Method::Shares,
            distance,
            metric,
            similarity: explained.similarity,
            colour_share: explained.colours,
            fit: match model.fit() {
                Fit::Stretch => "stretch",
                Fit::Crop => "crop",
                Fit::Pad => "pad",
            },
            query: explained.a.into(),
            with: explained.b.into(),
        })
    });
    Ok(Json(explanation.await?))
}
