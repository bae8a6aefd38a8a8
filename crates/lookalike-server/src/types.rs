//! What the API takes and gives, as its document describes it.

mod examples;

use lookalike::gallery::{Facts, Hit, Payload, Strategy};
use lookalike::images::Region;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

#[cfg(test)]
pub(crate) use examples::MAX_EXAMPLES;
pub(crate) use examples::examples;

/// An image of the gallery.
#[derive(Serialize, ToSchema)]
pub(crate) struct Image {
    /// Its identity, the same as long as it has the same source and key.
    pub id: Uuid,
    /// Where it came from.
    pub source: String,
    /// Its name within its source.
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Width of the original, upright, in pixels.
    pub width: u32,
    /// Height of the original, upright, in pixels.
    pub height: u32,
    /// BLAKE3 of its content, in hexadecimal.
    pub blake3: String,
    /// Where a person finds the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Length of the original, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When the original was last changed, in nanoseconds since 1970-01-01 00:00 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<i64>,
    /// What was found out about the picture itself while it was indexed: `brightness`, `contrast`,
    /// `sharpness`, `entropy`, `colourfulness`, `flat_bottom`, `undecoded`; and what a camera
    /// wrote:
    /// `taken`, `camera`, `lens`, `latitude`, `longitude`, `orientation`.
    #[serde(skip_serializing_if = "Facts::is_empty")]
    #[schema(value_type = Object)]
    pub facts: Facts,
    /// Whatever else the source said about it.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Image {
    pub fn new(id: Uuid, payload: Payload) -> Self {
        Self {
            id,
            source: payload.source,
            key: payload.key,
            label: payload.label,
            width: payload.width,
            height: payload.height,
            blake3: payload.blake3,
            location: payload.location,
            bytes: payload.bytes,
            modified: payload.modified,
            facts: payload.facts,
            extra: payload.extra,
        }
    }
}

/// A rectangle, in pixels of the upright original.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rectangle {
    /// Its left edge.
    pub x: u32,
    /// Its upper edge.
    pub y: u32,
    #[schema(minimum = 1)]
    pub width: u32,
    #[schema(minimum = 1)]
    pub height: u32,
}

impl Rectangle {
    pub fn region(self) -> Region {
        Region {
            x: self.x as usize,
            y: self.y as usize,
            width: self.width as usize,
            height: self.height as usize,
        }
    }
}

impl From<lookalike::gallery::Rectangle> for Rectangle {
    fn from(of: lookalike::gallery::Rectangle) -> Self {
        Self {
            x: of.x,
            y: of.y,
            width: of.width,
            height: of.height,
        }
    }
}

/// What to ask with: exactly one of `id`, `upload`, `code`, `url` and `text`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reference {
    /// An image of the gallery.
    pub id: Option<Uuid>,
    /// An image that was sent to `/queries`, by the name that the answer gave it.
    pub upload: Option<String>,
    /// A code, as `/encode` gives it.
    pub code: Option<Vec<f32>>,
    /// Where an image is on the web; only if this server fetches (see `fetch_urls` in `/gallery`).
    pub url: Option<String>,
    /// Words, where the gallery's encoder has learned words too (see `text` in `/gallery`).
    #[schema(max_length = 1000)]
    pub text: Option<String>,
    /// Only this part of the image; not with a code or words.
    pub region: Option<Rectangle>,
}

/// How distances are measured.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MetricName {
    Cosine,
    Euclidean,
    Dot,
    Manhattan,
}

/// How neighbours are put in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RerankName {
    /// By distance.
    #[default]
    None,
    /// By how well they are connected to the query through the gallery's own neighbour graph.
    Diffusion,
}

/// How examples are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StrategyName {
    /// By what tells those that are wanted from those that are not: the average, corrected by a
    /// linear classifier that counts the more, the more examples there are of both.
    Learned,
    /// By their mean, away from the mean of those that are not wanted.
    Average,
    /// By the nearest example alone.
    BestScore,
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Self {
        match name {
            StrategyName::Learned => Self::Learned,
            StrategyName::Average => Self::Average,
            StrategyName::BestScore => Self::BestScore,
        }
    }
}

impl From<Strategy> for StrategyName {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Learned => Self::Learned,
            Strategy::Average => Self::Average,
            Strategy::BestScore => Self::BestScore,
        }
    }
}

/// A search: by one image (`query`), or by examples (`like`, `unlike`).
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    /// The image whose neighbours are wanted.
    pub query: Option<Reference>,
    /// Examples of what is wanted, instead of a query; at least one.
    #[serde(default, deserialize_with = "examples")]
    pub like: Vec<Reference>,
    /// Examples of what is not wanted.
    #[serde(default, deserialize_with = "examples")]
    pub unlike: Vec<Reference>,
    /// A search that is kept under this name (see `/searches`), instead of a query: its examples,
    /// together with those in `like` and `unlike`, and its filter, together with `filter`.
    pub named: Option<String>,
    /// How examples are weighed; `learned`, or as the named search says.
    pub strategy: Option<StrategyName>,
    /// How many neighbours; at least 1.
    #[serde(default = "default_k")]
    #[schema(minimum = 1, default = 20)]
    pub k: usize,
    /// How many of the ranking to pass over, to see more of it.
    #[serde(default)]
    pub offset: usize,
    /// Only neighbours at this distance or nearer.
    pub max_distance: Option<f32>,
    /// Only images whose facts pass, e.g. `label=3 and width>=100`; a value with ` and ` in it
    /// stands in double quotes.
    #[schema(example = "width>=10")]
    pub filter: Option<String>,
    /// Another metric than the gallery's; answered exactly.
    pub metric: Option<MetricName>,
    /// Compare with every image instead of trusting the index.
    #[serde(default)]
    pub exact: bool,
    #[serde(default)]
    pub rerank: RerankName,
    /// Neighbours that differ among themselves: 0, only different, to 1, only near.
    #[schema(minimum = 0, maximum = 1)]
    pub diverse: Option<f32>,
    /// Find the query also as a part of images, where the gallery keeps tiles (see `tiles` in
    /// `/gallery`): each neighbour says in `region` where. With a `query`, by the gallery's metric,
    /// without `rerank` and `diverse`.
    #[serde(default)]
    pub tiles: bool,
    /// Leave the query itself out.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub exclude_self: bool,
}

impl Search {
    /// Whether it takes well below a millisecond, up to a million images: what the index answers at
    /// once, about an image whose code is at hand.
    pub fn is_short(&self) -> bool {
        let at_hand = self.query.as_ref().is_some_and(|query| {
            query.region.is_none() && query.url.is_none() && query.text.is_none()
        });
        let plain = self.filter.is_none()
            && self.metric.is_none()
            && !self.exact
            && self.rerank == RerankName::None
            && self.diverse.is_none()
            && !self.tiles;
        at_hand && plain && self.offset.saturating_add(self.k) <= MAX_SHOWN
    }
}

/// The most neighbours that are found well below a millisecond.
const MAX_SHOWN: usize = 100;

fn default_k() -> usize {
    20
}

fn yes() -> bool {
    true
}

impl Default for Search {
    fn default() -> Self {
        Self {
            query: None,
            like: Vec::new(),
            unlike: Vec::new(),
            named: None,
            strategy: None,
            k: default_k(),
            offset: 0,
            max_distance: None,
            filter: None,
            metric: None,
            exact: false,
            rerank: RerankName::None,
            diverse: None,
            tiles: false,
            exclude_self: true,
        }
    }
}

/// A picture file.
#[derive(Deserialize, ToSchema)]
#[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
#[expect(dead_code, reason = "described here, read part by part")]
pub(crate) struct PictureFile(Vec<u8>);

/// A form that brings an image and, in `search`, how to search with it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "described here, read part by part")]
pub(crate) struct SearchForm {
    /// A picture file.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    image: PictureFile,
    /// The search as JSON, without `query`.
    search: Option<Search>,
}

/// A form that brings an image.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "described here, read part by part")]
pub(crate) struct ImageForm {
    /// A picture file.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    image: PictureFile,
}

/// A form that brings images to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "described here, read part by part")]
pub(crate) struct ImagesForm {
    /// The label of all of them.
    label: Option<String>,
    /// Picture files, each with its name.
    #[schema(inline, min_items = 1)]
    image: Vec<PictureFile>,
}

/// The neighbours that were found.
#[derive(Serialize, ToSchema)]
pub(crate) struct Answer {
    /// The metric of the distances.
    #[schema(value_type = String, example = "cosine")]
    pub metric: lookalike::neighbours::Metric,
    /// Whether every image was compared with; otherwise the index was trusted.
    pub exact: bool,
    /// What the asker should know about this answer.
    pub notes: Vec<String>,
    /// Of an image that was sent, the image that it is itself, if the gallery has it. It is among
    /// the neighbours only if `exclude_self` is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub already_in_gallery: Option<Own>,
    pub k: usize,
    pub offset: usize,
    /// Whether the ranking goes on behind these.
    pub more: bool,
    /// How long the search took in the server, encoding included.
    pub milliseconds: f64,
    /// The best first.
    pub neighbours: Vec<Neighbour>,
}

/// An image of the gallery that is the one asked with.
#[derive(Serialize, ToSchema)]
pub(crate) struct Own {
    pub id: Uuid,
    /// Where it came from.
    pub source: String,
    /// Its name there.
    pub key: String,
}

/// An image and how near it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Neighbour {
    pub image: Image,
    /// Its distance from the query, smaller is nearer.
    pub distance: f32,
    /// Its score by diffusion, larger is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Of a search with `tiles`, the part of the image that is so near; absent where that is all of
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Rectangle>,
    /// Present, and true, where the original's file is not there any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl Neighbour {
    pub fn new(hit: Hit, gone: bool) -> Self {
        Self {
            gone,
            image: Image::new(hit.id, hit.payload),
            distance: hit.distance,
            score: hit.score,
            region: hit.region.map(Rectangle::from),
        }
    }
}

/// A question about one image.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneImage {
    pub query: Reference,
}

/// Two images whose likeness is to be explained.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    pub query: Reference,
    pub with: Reference,
}

/// An image's code.
#[derive(Serialize, ToSchema)]
pub(crate) struct Code {
    pub code: Vec<f32>,
    /// What the gallery compares codes by.
    #[schema(value_type = String, example = "cosine")]
    pub metric: lookalike::neighbours::Metric,
}

/// Where an image is on the web.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Address {
    /// An `http` or `https` URL.
    pub url: String,
}

/// An image that is kept to search with.
#[derive(Serialize, ToSchema)]
pub(crate) struct Kept {
    /// What to call it in a search: the BLAKE3 of its file.
    pub upload: String,
    /// Width, upright, in pixels.
    pub width: usize,
    /// Height, upright, in pixels.
    pub height: usize,
    /// The gallery's image of the same content.
    pub known: Option<Uuid>,
}

/// Which part of the images to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Those after this one, in the order of their ids.
    pub after: Option<Uuid>,
    /// How many; 1 to 1,000.
    #[serde(default = "default_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: usize,
    /// Only images whose facts pass.
    #[param(example = "width>=10")]
    pub filter: Option<String>,
}

fn default_page() -> usize {
    100
}

/// Some of the gallery's images.
#[derive(Serialize, ToSchema)]
pub(crate) struct Images {
    pub images: Vec<Image>,
    /// What to ask for after these; null at the end.
    pub next: Option<Uuid>,
}

/// Images that are to be deleted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ids {
    /// At most 1,000.
    #[schema(max_items = 1000)]
    pub ids: Vec<Uuid>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deleted {
    /// How many were there.
    pub deleted: usize,
}

/// What became of an image that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ItemStatus {
    Added,
    /// It took the place of another.
    Changed,
    /// The gallery has this content already, as `id`.
    Unchanged,
    /// It could not be added; `detail` says why.
    Failed,
}

/// An image that was sent, and what became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Item {
    /// The file's name as it was sent.
    pub name: String,
    pub status: ItemStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of images that were sent. All that is said to be there is on disk.
#[derive(Serialize, ToSchema)]
pub(crate) struct Added {
    pub added: usize,
    pub changed: usize,
    pub unchanged: usize,
    pub failed: usize,
    /// In the order in which they were sent.
    pub items: Vec<Item>,
}

impl Added {
    pub fn new(items: Vec<Item>) -> Self {
        let count = |status| items.iter().filter(|item| item.status == status).count();
        Self {
            added: count(ItemStatus::Added),
            changed: count(ItemStatus::Changed),
            unchanged: count(ItemStatus::Unchanged),
            failed: count(ItemStatus::Failed),
            items,
        }
    }
}

/// Whose values are to be counted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FacetsOf {
    /// A fact about images: `label`, `source`, `width`, or one that the source gave.
    #[param(example = "label")]
    pub field: String,
    /// Only images whose facts pass.
    #[param(example = "width>=10")]
    pub filter: Option<String>,
    /// How many values; 1 to 1,000.
    #[serde(default = "default_facets")]
    #[param(minimum = 1, maximum = 1000, default = 20)]
    pub limit: usize,
}

fn default_facets() -> usize {
    20
}

/// How often values are there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Facets {
    pub field: String,
    /// The most frequent first.
    pub facets: Vec<Facet>,
}

/// How often a value is there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Facet {
    /// Text, a number or a truth value.
    pub value: serde_json::Value,
    pub count: usize,
}

/// A computation that is not done yet: ask again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Working {
    /// Always `working`.
    #[schema(example = "working")]
    pub state: &'static str,
    /// What it is at.
    pub doing: String,
    pub done: usize,
    /// 0 while that is unknown.
    pub of: usize,
}

/// The token, to sign in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    pub token: String,
}
