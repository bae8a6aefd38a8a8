//! The gallery's images: reading, adding, deleting.

use std::io::{Read as _, Seek as _};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use lookalike::gallery::Payload;
use lookalike::images::decode;
use lookalike::{Stored, Upload, reduced};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{Answered, Refused, RefusedOne, RefusedWrite, Shared};
use crate::body::{self, InPath, InQuery};
use crate::pictures;
use crate::problem::Problem;
use crate::references;
use crate::search;
use crate::service::Service;
use crate::types::{
    Added, Deleted, Ids, Image, ImageForm, Images, ImagesForm, Item, ItemStatus, Page,
};

/// The most images of a page.
pub(super) const MAX_LISTED: usize = 1_000;
/// The most images that one request deletes.
const MAX_DELETED: usize = 1_000;
/// The longer side of a thumbnail that is made because none was kept, in pixels.
const SMALL: usize = 128;
/// Bytes of a file by which its format is known.
const HEAD: u64 = 64;

/// The gallery's images in the order of their ids.
#[utoipa::path(
    get, path = "/images", tag = "images", params(Page),
    responses((status = 200, description = "Some of them", body = Images), Refused)
)]
pub(super) async fn list(
    State(service): Shared,
    InQuery(page): InQuery<Page>,
) -> Answered<Json<Images>> {
    check_limit(page.limit)?;
    let images = service.run(move |service| {
        let filter = search::filter(page.filter.as_deref())?;
        let points = service
            .gallery()
            .scroll(page.after, page.limit, filter.as_ref())?;
        let next = points.last().filter(|_| points.len() == page.limit);
        Ok(Images {
            next: next.map(|point| point.id),
            images: points
                .into_iter()
                .map(|point| Image::new(point.id, point.payload))
                .collect(),
        })
    });
    Ok(Json(images.await?))
}

/// Refuses counts that nobody could want.
pub(super) fn check_limit(limit: usize) -> Answered<()> {
    match (1..=MAX_LISTED).contains(&limit) {
        true => Ok(()),
        false => Err(Problem::unusable(format!(
            "the limit is {limit}: ask for 1 to {MAX_LISTED} at a time"
        ))),
    }
}

/// What is known about an image.
#[utoipa::path(
    get, path = "/images/{id}", tag = "images", params(("id" = Uuid, Path)),
    responses((status = 200, description = "It", body = Image), RefusedOne)
)]
pub(super) async fn get(State(service): Shared, InPath(id): InPath<Uuid>) -> Answered<Json<Image>> {
    let point = service.run_short(move |service| service.point(id)).await?;
    Ok(Json(Image::new(id, point.payload)))
}

/// The version of a picture that is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Version {
    /// The first digits of the image's `blake3`: with it the answer may be cached for ever.
    v: Option<String>,
}

impl Version {
    /// Whether it names this content.
    fn is(&self, payload: &Payload) -> bool {
        let version = self.v.as_deref();
        version.is_some_and(|v| v.len() >= 8 && payload.blake3.starts_with(v))
    }
}

/// A small picture of an image, at most 128 pixels each way.
#[utoipa::path(
    get, path = "/images/{id}/thumbnail", tag = "images", params(("id" = Uuid, Path), Version),
    responses(
        (status = 200, description = "The picture", content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"))),
        (status = 304, description = "It is as it was"), RefusedOne
    )
)]
pub(super) async fn thumbnail(
    State(service): Shared,
    InPath(id): InPath<Uuid>,
    InQuery(version): InQuery<Version>,
    headers: HeaderMap,
) -> Answered<Response> {
    picture(
        &service,
        id,
        version,
        headers,
        "thumbnail",
        |service, payload| {
            if let Some(kept) = service.gallery().thumbnail(&payload.blake3)? {
                return Ok(kept);
            }
            let pixels = service
                .originals
                .pixels(payload)
                .ok_or_else(|| gone(payload))?;
            pictures::png(&reduced(pixels, SMALL))
        },
    )
    .await
}

/// The picture file that an image was indexed from, where it can be read and is still the same.
#[utoipa::path(
    get, path = "/images/{id}/original", tag = "images", params(("id" = Uuid, Path), Version),
    responses(
        (status = 200, description = "The file; what browsers do not show, as PNG", content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"), (Vec<u8> = "image/gif"), (Vec<u8> = "image/bmp"))),
        (status = 304, description = "It is as it was"), RefusedOne
    )
)]
pub(super) async fn original(
    State(service): Shared,
    InPath(id): InPath<Uuid>,
    InQuery(version): InQuery<Version>,
    headers: HeaderMap,
) -> Answered<Response> {
    service
        .run(move |service| {
            let payload = service.point(id)?.payload;
            let tag = pictures::entity_tag("original", &payload.blake3);
            let for_ever = version.is(&payload);
            if pictures::has_version(&headers, &tag) {
                return Ok(pictures::not_modified(&tag, for_ever));
            }
            if let Some((mut file, length)) = service.originals.open(&payload) {
                let mut head = Vec::new();
                let read = (&mut file).take(HEAD).read_to_end(&mut head);
                read.and_then(|_| file.rewind())
                    .map_err(Problem::internal)?;
                if let Some(media_type) = pictures::media_type(&head) {
                    return Ok(pictures::streamed(file, length, media_type, &tag, for_ever));
                }
            }
            let file = service.originals.file(&payload);
            let file = file.ok_or_else(|| gone(&payload))?;
            Ok(match pictures::media_type(&file) {
                Some(media_type) => pictures::cached(file, media_type, &tag, for_ever),
                None => {
                    let options = service.decode_options(None);
                    let png = pictures::png(&decode(&file, &options)?.pixels)?;
                    pictures::cached(png, "image/png", &tag, for_ever)
                }
            })
        })
        .await
}

/// What the model makes of an image: the picture that its code still holds.
#[utoipa::path(
    get, path = "/images/{id}/reconstruction", tag = "images", params(("id" = Uuid, Path), Version),
    responses(
        (status = 200, description = "The picture, as large as the model sees images", content_type = "image/png"),
        (status = 304, description = "It is as it was"), RefusedOne
    )
)]
pub(super) async fn reconstruction(
    State(service): Shared,
    InPath(id): InPath<Uuid>,
    InQuery(version): InQuery<Version>,
    headers: HeaderMap,
) -> Answered<Response> {
    picture(
        &service,
        id,
        version,
        headers,
        "reconstruction",
        |service, payload| {
            let picture = service.originals.picture(service.gallery(), payload);
            super::searching::reconstruction(service, &picture.ok_or_else(|| gone(payload))?.into())
        },
    )
    .await
}

/// Answers with a picture of an image, unless the client has it.
async fn picture(
    service: &std::sync::Arc<Service>,
    id: Uuid,
    version: Version,
    headers: HeaderMap,
    kind: &'static str,
    make: impl FnOnce(&Service, &Payload) -> Answered<Vec<u8>> + Send + 'static,
) -> Answered<Response> {
    service
        .run(move |service| {
            let payload = service.point(id)?.payload;
            let tag = pictures::entity_tag(kind, &payload.blake3);
            let for_ever = version.is(&payload);
            if pictures::has_version(&headers, &tag) {
                return Ok(pictures::not_modified(&tag, for_ever));
            }
            let bytes = make(service, &payload)?;
            let media_type = pictures::media_type(&bytes).unwrap_or("application/octet-stream");
            Ok(pictures::cached(bytes, media_type, &tag, for_ever))
        })
        .await
}

fn gone(payload: &Payload) -> Problem {
    Problem::not_found(format!(
        "the original of {} cannot be read, or is another picture now, and no thumbnail was kept",
        payload.key
    ))
}

/// An image as it came.
struct Sent {
    name: String,
    bytes: Bytes,
}

/// Adds images.
///
/// Each is answered for by itself. Those that are there when this answers are there for good, and
/// are found by every search from then on. Content that the gallery has already is not added again.
/// A part `label` labels all of them.
#[utoipa::path(
    post, path = "/images", tag = "images", security(("token" = [])),
    request_body(content = ImagesForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "What became of each", body = Added), RefusedWrite)
)]
pub(super) async fn add(State(service): Shared, request: Request) -> Answered<Json<Added>> {
    let parts = body::read_parts(request).await?;
    let (label, sent) = images_form(parts, &service).await?;
    let items = service.write(move |service| {
        let uploads: Vec<Upload> = sent
            .iter()
            .map(|sent| Upload {
                name: &sent.name,
                label: label.as_deref(),
                bytes: &sent.bytes,
            })
            .collect();
        let stored =
            service
                .uploads
                .add(service.gallery(), service.searcher.encoder(), &uploads)?;
        let items: Vec<Item> = sent
            .into_iter()
            .zip(stored)
            .map(|(sent, stored)| item(sent.name, stored))
            .collect();
        let added = items.iter().filter(|item| item.status == ItemStatus::Added);
        let added = added.count();
        if added > 0 {
            service.note_change();
            service.metrics.added.inc_by(added as u64);
        }
        Ok(items)
    });
    Ok(Json(Added::new(items.await?)))
}

fn item(name: String, stored: Stored) -> Item {
    let (status, id, detail) = match stored {
        Stored::Added(id) => (ItemStatus::Added, Some(id), None),
        Stored::Changed(id) => (ItemStatus::Changed, Some(id), None),
        Stored::Unchanged(id) => (ItemStatus::Unchanged, Some(id), None),
        Stored::Refused(reason) => (ItemStatus::Failed, None, Some(reason)),
    };
    Item {
        name,
        status,
        id,
        detail,
    }
}

/// Reads a form with images, and their label.
async fn images_form(
    mut parts: Multipart,
    service: &Service,
) -> Answered<(Option<String>, Vec<Sent>)> {
    let limits = service.limits();
    let (mut label, mut sent) = (None, Vec::new());
    while let Some(part) = body::next_part(&mut parts, limits).await? {
        match part.name() {
            Some("label") if label.is_none() => {
                let text = body::part_text(part, limits).await?;
                label = Some(text).filter(|text| !text.is_empty());
            }
            Some("image") => {
                if sent.len() == limits.files {
                    return Err(Problem::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        format!("more than {} images: send fewer at a time", limits.files),
                    ));
                }
                let name = part.file_name().unwrap_or_default().to_owned();
                let bytes = body::part_bytes(part, limits).await?;
                sent.push(Sent { name, bytes });
            }
            other => {
                return Err(Problem::malformed(format!(
                    "the form has a part '{}' that means nothing here: parts are 'label', once, and 'image'",
                    other
                        .unwrap_or_default()
                        .escape_debug()
                        .take(60)
                        .collect::<String>()
                )));
            }
        }
    }
    match sent.is_empty() {
        true => Err(Problem::malformed(
            "the form has no part 'image' with a picture file",
        )),
        false => Ok((label, sent)),
    }
}

/// Puts other content in the place of an image that was added here; its id stays.
#[utoipa::path(
    put, path = "/images/{id}", tag = "images", params(("id" = Uuid, Path)), security(("token" = [])),
    request_body(content = ImageForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "What became of it", body = Item), RefusedWrite)
)]
pub(super) async fn replace(
    State(service): Shared,
    InPath(id): InPath<Uuid>,
    request: Request,
) -> Answered<Json<Item>> {
    let parts = body::read_parts(request).await?;
    let (label, mut sent) = images_form(parts, &service).await?;
    if label.is_some() || sent.len() != 1 {
        return Err(Problem::malformed(
            "replacing an image takes a form with one part 'image'",
        ));
    }
    let sent = sent.pop().expect("there is one");
    let item = service.write(move |service| {
        let point = service.point(id)?;
        let (gallery, encoder) = (service.gallery(), service.searcher.encoder());
        if point.payload.source != lookalike::UPLOADS_SOURCE {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                format!(
                    "{} belongs to the source {}: change it there and index that again; only images that were added here can be replaced here",
                    point.payload.key, point.payload.source
                ),
            ));
        }
        let stored = service.uploads.replace(gallery, encoder, &point, &sent.bytes)?;
        if let Stored::Refused(reason) = stored {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
        let item = item(sent.name, stored);
        if item.status != ItemStatus::Unchanged {
            service.note_change();
            service.metrics.added.inc();
        }
        Ok(item)
    });
    Ok(Json(item.await?))
}

/// Deletes an image from the gallery. Originals of a source stay where they are.
#[utoipa::path(
    delete, path = "/images/{id}", tag = "images", params(("id" = Uuid, Path)), security(("token" = [])),
    responses((status = 204, description = "It is gone"), RefusedWrite)
)]
pub(super) async fn delete(
    State(service): Shared,
    InPath(id): InPath<Uuid>,
) -> Answered<StatusCode> {
    match remove(&service, vec![id]).await? {
        0 => Err(references::no_such_image(id)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Deletes images from the gallery, those of them that are there.
#[utoipa::path(
    post, path = "/images/delete", tag = "images", request_body = Ids, security(("token" = [])),
    responses((status = 200, description = "They are gone", body = Deleted), RefusedWrite)
)]
pub(super) async fn delete_many(
    State(service): Shared,
    request: Request,
) -> Answered<Json<Deleted>> {
    let Ids { ids } = body::read_json(request, service.limits()).await?;
    if ids.len() > MAX_DELETED {
        return Err(Problem::unusable(format!(
            "{} ids are too many: delete at most {MAX_DELETED} images at a time",
            ids.len()
        )));
    }
    let deleted = remove(&service, ids).await?;
    Ok(Json(Deleted { deleted }))
}

async fn remove(service: &std::sync::Arc<Service>, ids: Vec<Uuid>) -> Answered<usize> {
    service
        .write(move |service| {
            let deleted = service.uploads.delete(service.gallery(), &ids)?;
            if deleted > 0 {
                service.note_change();
                service.metrics.deleted.inc_by(deleted as u64);
            }
            Ok(deleted)
        })
        .await
}
