//! What the gallery is, and how often facts about its images are there.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use lookalike::autoencoder::Comparison;
use lookalike::gallery::{GalleryInfo, Payload, point_id};
use lookalike::{Encoder, ReadingRules};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::images::check_limit;
use super::{Answered, Refused, Shared};
use crate::access::{Shown, shown};
use crate::body::InQuery;
use crate::search;
use crate::service::Service;
use crate::types::{Facet, Facets, FacetsOf};

/// Images that are looked at for the names of what their source said about them.
const INSPECTED_IMAGES: usize = 64;

/// What this server is, what it holds, and what it allows.
#[derive(Serialize, ToSchema)]
pub(super) struct Gallery {
    program: Program,
    gallery: Holdings,
    model: Model,
    access: Access,
    /// Whether images may be named by their URL.
    fetch_urls: bool,
    limits: RequestLimits,
    /// Facts about images that can be filtered by and counted.
    fields: Vec<String>,
    /// An image to try.
    example: Option<Uuid>,
}

#[derive(Serialize, ToSchema)]
struct Program {
    #[schema(example = "lookalike")]
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Holdings {
    name: String,
    /// What codes are compared by.
    #[schema(value_type = String, example = "cosine")]
    metric: lookalike::neighbours::Metric,
    /// Length of the codes.
    dims: usize,
    /// Number of images.
    points: usize,
    /// Number of images that the index covers; the others are compared one by one.
    indexed: usize,
    /// When it was made, in seconds since 1970-01-01 00:00 UTC.
    created: u64,
    /// Whether diffusion is possible: `absent`, `fresh`, or `stale` where images have changed
    /// since.
    #[schema(value_type = String, example = "fresh")]
    diffusion: lookalike::gallery::DiffusionState,
    /// How many tiles of each image are kept at the most, so that a search can find parts of
    /// images; absent where none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    tiles: Option<usize>,
    /// BLAKE3 of the model's file.
    model_fingerprint: String,
}

/// The encoder. Facts about training are given for an autoencoder only.
#[derive(Default, Serialize, ToSchema)]
struct Model {
    /// What it takes; other images are brought to this.
    shape: Shape,
    code_dim: usize,
    /// Whether it can be asked with words.
    text: bool,
    /// The encoder that others have trained with which the model is joined, if it is.
    #[schema(example = "clip-vit-b-32")]
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_with: Option<String>,
    #[schema(example = "bottleneck")]
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[schema(example = "augment")]
    #[serde(skip_serializing_if = "Option::is_none")]
    objective: Option<String>,
    /// Learned numbers in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<usize>,
    /// What it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_set: Option<String>,
    /// How many images that were.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<usize>,
    /// How long training took.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[schema(example = "bce")]
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<String>,
    epochs: Vec<Epoch>,
    /// The loss of always answering with the mean image.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_image_loss: Option<f64>,
    /// Whether ranking by diffusion can be expected to help, judged without labels when the model
    /// was trained; absent where it was not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    diffusion_may_help: Option<bool>,
}

#[derive(Default, Serialize, ToSchema)]
struct Shape {
    channels: usize,
    height: usize,
    width: usize,
}

#[derive(Serialize, ToSchema)]
struct Epoch {
    loss: f64,
    seconds: f64,
}

#[derive(Serialize, ToSchema)]
struct Access {
    /// Whether reading needs the token as well as writing.
    reads_need_token: bool,
    /// Whether this request showed the token, or a session.
    signed_in: bool,
}

/// What a request may cost.
#[derive(Serialize, ToSchema)]
struct RequestLimits {
    /// The most bytes of a body.
    body_bytes: usize,
    /// The most pixels of an image.
    pixels: u64,
    /// The most neighbours of one answer.
    #[serde(rename = "most_k")]
    max_k: usize,
    /// How far one can page into a ranking.
    #[serde(rename = "most_results")]
    max_results: usize,
    /// The most files of one request.
    #[serde(rename = "most_files")]
    max_files: usize,
}

/// What this server is, what it holds, and what it allows.
#[utoipa::path(
    get, path = "/gallery", tag = "gallery",
    responses((status = 200, description = "The facts", body = Gallery), Refused)
)]
pub(super) async fn gallery(State(service): Shared, headers: HeaderMap) -> Answered<Json<Gallery>> {
    let signed_in = matches!(shown(&service, &headers), Shown::Token | Shown::Session);
    let facts = service.run(move |service| facts(service, signed_in));
    Ok(Json(facts.await?))
}

fn facts(service: &Service, signed_in: bool) -> Answered<Gallery> {
    let (options, limits) = (&service.options, service.limits());
    let info = service.gallery().describe()?;
    let first = service.gallery().scroll(None, INSPECTED_IMAGES, None)?;
    let mut fields: Vec<String> = ["label", "source", "width", "height", "bytes"]
        .map(str::to_owned)
        .into();
    let known = |payload: &Payload| {
        let facts = payload.facts.known().map(str::to_owned);
        let extra = payload.extra.keys().cloned();
        facts.chain(extra).collect::<Vec<String>>()
    };
    for name in first.iter().flat_map(|point| known(&point.payload)) {
        if !fields.contains(&name) {
            fields.push(name);
        }
    }
    // The query of the article that it all began with, where it is there.
    let classic = point_id("mnist:test", "7");
    let example = match service.gallery().existing(&[classic])?.is_empty() {
        true => first.first().map(|point| point.id),
        false => Some(classic),
    };
    let tiles = ReadingRules::of(service.gallery())?.and_then(|rules| rules.tiles);
    Ok(Gallery {
        program: Program {
            name: "lookalike",
            version: env!("CARGO_PKG_VERSION"),
        },
        gallery: holdings(info, tiles),
        model: model(service.searcher.encoder()),
        access: Access {
            reads_need_token: options.token_for_reads,
            signed_in,
        },
        fetch_urls: service.fetcher.is_some(),
        limits: RequestLimits {
            body_bytes: limits.body_bytes,
            pixels: limits.pixels,
            max_k: limits.k,
            max_results: limits.results,
            max_files: limits.files,
        },
        fields,
        example,
    })
}

fn holdings(info: GalleryInfo, tiles: Option<usize>) -> Holdings {
    Holdings {
        name: last_part(&info.name),
        metric: info.metric,
        dims: info.dims,
        points: info.points,
        indexed: info.indexed,
        created: info.created,
        diffusion: info.diffusion,
        tiles,
        model_fingerprint: info.model_fingerprint,
    }
}

/// The last part of a path, which hides the folders above it.
fn last_part(name: &str) -> String {
    let last = Path::new(name).file_name().and_then(|part| part.to_str());
    last.unwrap_or(name).to_owned()
}

fn model(encoder: &dyn Encoder) -> Model {
    // What both of a joined pair see is no picture.
    let shape = match encoder.adapted() {
        Some(adapted) => adapted.pair().pretrained().shape(),
        None => encoder.shape(),
    };
    let any = Model {
        shape: Shape {
            channels: shape.channels,
            height: shape.height,
            width: shape.width,
        },
        code_dim: encoder.code_dim(),
        text: encoder.has_text(),
        joined_with: joined_with(encoder),
        ..Model::default()
    };
    let Some(model) = encoder.autoencoder() else {
        return any;
    };
    let (config, record) = (model.config(), model.record());
    let epochs = record.epochs.iter().map(|epoch| Epoch {
        loss: epoch.loss,
        seconds: epoch.seconds,
    });
    Model {
        architecture: Some(config.architecture.to_string()),
        objective: Some(config.objective.to_string()),
        parameters: Some(model.parameters()),
        data_set: Some(last_part(&record.data.name)),
        images: Some(record.data.images),
        seconds: Some(record.seconds()),
        loss: Some(config.loss.to_string()),
        epochs: epochs.collect(),
        mean_image_loss: Some(record.mean_image_loss),
        diffusion_may_help: record
            .comparison
            .as_ref()
            // It was judged alone.
            .filter(|_| encoder.adapted().is_none())
            .map(Comparison::diffusion_may_help),
        ..any
    }
}

/// The name of the pretrained encoder with which a model is joined.
fn joined_with(encoder: &dyn Encoder) -> Option<String> {
    let adapted = encoder.adapted()?;
    adapted.adaptation().joined()?;
    let files = adapted.pair().pretrained().files()?;
    Some(last_part(&files.path.to_string_lossy()))
}

/// How often each value of a fact about images is there.
#[utoipa::path(
    get, path = "/facets", tag = "gallery", params(FacetsOf),
    responses((status = 200, description = "The values, the most frequent first", body = Facets), Refused)
)]
pub(super) async fn facets(
    State(service): Shared,
    InQuery(of): InQuery<FacetsOf>,
) -> Answered<Json<Facets>> {
    check_limit(of.limit)?;
    let facets = service.run(move |service| {
        let filter = search::filter(of.filter.as_deref())?;
        let found = service
            .gallery()
            .facets(&of.field, filter.as_ref(), of.limit)?;
        let facets = found.into_iter().map(|facet| Facet {
            value: facet.value,
            count: facet.count,
        });
        Ok(Facets {
            field: of.field,
            facets: facets.collect(),
        })
    });
    Ok(Json(facets.await?))
}
