use std::any::Any;
use std::collections::HashMap;

use lookalike_neighbours::Metric;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[cfg(feature = "cluster")]
use crate::ClusterGallery;
use crate::{
    ClusterAddress, EmbeddedGallery, Filter, GalleryError, Mmr, Payload, Point, RecommendRequest,
    Rectangle, Stub,
};

/// How many points [`Points`] asks for at a time.
const PAGE: usize = 1_000;
/// How many [`Stubs`] asks for at a time: they are small.
const STUBS: usize = 10_000;

/// A place where codes are kept and searched.
///
/// All methods take `&self`: a gallery can be shared between threads, searches run side by side,
/// changes one after another. What a method has reported done survives the end of the process.
///
/// On a cluster, others may change the gallery at the same time.
///
/// # Errors
/// Every method that reads points fails with [`Engine`](GalleryError::Engine) if the engine does,
/// with [`Damaged`](GalleryError::Damaged) if what it finds cannot be understood, with
/// [`Io`](GalleryError::Io) if a file cannot be read, and with [`Closed`](GalleryError::Closed)
/// once an earlier failure has made the open gallery unreliable; on a cluster with
/// [`Unreachable`](GalleryError::Unreachable) or [`Refused`](GalleryError::Refused), and with
/// [`NotOnCluster`](GalleryError::NotOnCluster) for what would mean to read all of it. The methods
/// say what else can go wrong.
pub trait Gallery: Any + Send + Sync {
    /// What this gallery is, and what it holds.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn describe(&self) -> Result<GalleryInfo, GalleryError>;

    /// The bytes of the model file that the gallery was made with, where the gallery keeps them
    /// (one that only keeps the fingerprint answers `None`).
    ///
    /// # Errors
    /// [`Io`](GalleryError::Io) if the file cannot be read, [`Damaged`](GalleryError::Damaged) if
    /// it is not the one that the gallery was made with.
    fn model(&self) -> Result<Option<Vec<u8>>, GalleryError>;

    /// What [`keep_reading_rules`](Gallery::keep_reading_rules) kept.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn reading_rules(&self) -> Result<Option<String>, GalleryError>;

    /// Keeps with the gallery how its images are read, in the words of whoever fills it; replaces
    /// what was kept.
    ///
    /// # Errors
    /// Those of [`upsert`](Gallery::upsert) about writing.
    fn keep_reading_rules(&self, rules: &str) -> Result<(), GalleryError>;

    /// Stores points, replacing those of the same id. Points that are stored already, exactly so,
    /// are left alone. Each call ends with a write to disk, so some thousands at a time are
    /// quickest. Of several points with one id in `points` the last counts.
    ///
    /// # Errors
    /// [`Dimensions`](GalleryError::Dimensions) or [`BadCode`](GalleryError::BadCode) for a code
    /// that does not fit, and then nothing is stored. [`NotStored`](GalleryError::NotStored) names
    /// the points that a cluster did not take. [`DiskFull`](GalleryError::DiskFull),
    /// [`Engine`](GalleryError::Engine), [`Damaged`](GalleryError::Damaged) or
    /// [`Io`](GalleryError::Io) if storing fails: some of the points may be there then, and storing
    /// all of them again does no harm.
    fn upsert(&self, points: &[Point]) -> Result<Upserted, GalleryError>;

    /// Which of these ids are there, each with the BLAKE3 of its image.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn existing(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, GalleryError>;

    /// For each of these contents (BLAKE3 in hexadecimal, as in [`Payload::blake3`]) a point of it,
    /// where there is one; of several the one with the lowest id.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn with_content(&self, hashes: &[&str]) -> Result<HashMap<String, Point>, GalleryError>;

    /// The points of these ids, in this order; ids that are not there are left out.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn retrieve(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError>;

    /// The points nearest to a code.
    ///
    /// # Errors
    /// [`Dimensions`](GalleryError::Dimensions) or [`BadCode`](GalleryError::BadCode) for a query
    /// that does not fit, [`BadRequest`](GalleryError::BadRequest) for a largest distance that is
    /// no number, a `lambda` that is not from 0 to 1, and diversity together with diffusion; for
    /// [`Rerank::Diffusion`] also [`NoDiffusion`](GalleryError::NoDiffusion) and
    /// [`DamagedDiffusion`](GalleryError::DamagedDiffusion); and those of
    /// [reading](Gallery#errors).
    fn search(&self, request: &SearchRequest) -> Result<Answer, GalleryError>;

    /// The points that are like some examples and unlike others.
    ///
    /// # Errors
    /// [`BadRequest`](GalleryError::BadRequest) without an example of what is liked, for one that
    /// is not in the gallery, and for a largest distance that is no number;
    /// [`Dimensions`](GalleryError::Dimensions) or [`BadCode`](GalleryError::BadCode) for an
    /// example that does not fit; and those of [reading](Gallery#errors).
    fn recommend(&self, request: &RecommendRequest) -> Result<Answer, GalleryError>;

    /// The next `limit` points in the order of their ids, beginning after `after`. [`Points`] goes
    /// through all of them.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn scroll(
        &self,
        after: Option<Uuid>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Point>, GalleryError>;

    /// The next `limit` points of a source in the order of their ids, beginning after `after`,
    /// without their codes. [`Stubs`] goes through all of them.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn stubs(
        &self,
        source: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Stub>, GalleryError>;

    /// The number of points, or of those that pass the filter.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn count(&self, filter: Option<&Filter>) -> Result<usize, GalleryError>;

    /// How many points (that pass the filter) have each value of a payload field: the `limit` most
    /// frequent values, the most frequent first, of equals the one whose JSON sorts first. `field`
    /// is a name as in a [`Filter`]. Points without the field are not counted; one whose field is
    /// an array counts for each of its values.
    ///
    /// # Errors
    /// [`BadRequest`](GalleryError::BadRequest) if `field` can be no name; and those of
    /// [reading](Gallery#errors).
    fn facets(
        &self,
        field: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, GalleryError>;

    /// Removes points, however many; says how many of them were there.
    ///
    /// # Errors
    /// As [`upsert`](Gallery::upsert) if it fails: some of the points may be gone then, and
    /// deleting all of them again does no harm.
    fn delete(&self, ids: &[Uuid]) -> Result<usize, GalleryError>;

    /// Keeps thumbnails, each under the BLAKE3 of its content (64 hexadecimal digits, as in
    /// [`Payload::blake3`]). The bytes are any, at most 16 MiB; where a content has a thumbnail
    /// already, that one stays. Thumbnails are to be put before the points that need them are
    /// stored, so that no point is ever without: until then, they are kept as long as the gallery
    /// is open. They are there for good when this returns or, on a cluster, when those points are
    /// stored; one that no point needs is removed by [`optimise`](Gallery::optimise).
    ///
    /// # Errors
    /// [`BadRequest`](GalleryError::BadRequest) for what is no BLAKE3 or too long, and then nothing
    /// is kept. [`DiskFull`](GalleryError::DiskFull) or [`Io`](GalleryError::Io) if writing fails:
    /// some may be kept then, and putting all of them again does no harm.
    fn put_thumbnails(&self, thumbnails: &[(&str, &[u8])]) -> Result<(), GalleryError>;

    /// The thumbnail of a content, if there is one. One that has been damaged on disk counts as
    /// missing, and can be put again.
    ///
    /// # Errors
    /// [`Io`](GalleryError::Io) if its file cannot be read.
    fn thumbnail(&self, blake3: &str) -> Result<Option<Vec<u8>>, GalleryError>;

    /// The thumbnails of many contents, those that have one; on a cluster in few requests.
    ///
    /// # Errors
    /// As [`thumbnail`](Gallery::thumbnail).
    fn thumbnails(&self, hashes: &[&str]) -> Result<HashMap<String, Vec<u8>>, GalleryError> {
        let mut found = HashMap::new();
        for hash in hashes {
            if let Some(bytes) = self.thumbnail(hash)? {
                found.insert((*hash).to_owned(), bytes);
            }
        }
        Ok(found)
    }

    /// Brings the index up to date with the points, so that searches are fast, and removes
    /// thumbnails that no point needs. To be called after many changes; says whether there was
    /// anything to do. Searches go on meanwhile. A cluster builds its index by itself; there, this
    /// waits until it is built, for some minutes at the most.
    ///
    /// # Errors
    /// [`DiskFull`](GalleryError::DiskFull) without room to build the index beside the old one, and
    /// [`Engine`](GalleryError::Engine) or [`Io`](GalleryError::Io) if that fails: the points are
    /// as they were. Those of [reading](Gallery#errors) as well.
    fn optimise(&self) -> Result<bool, GalleryError>;

    /// Writes everything to disk. What was upserted or deleted is there already; this is for
    /// engines that have more to write.
    ///
    /// # Errors
    /// [`Engine`](GalleryError::Engine) if writing fails, [`Closed`](GalleryError::Closed) after an
    /// earlier failure.
    fn flush(&self) -> Result<(), GalleryError>;
}

/// What only some galleries can do is a method of their own types.
impl dyn Gallery {
    /// The gallery in a folder that this is, if it is one.
    pub fn as_embedded(&self) -> Option<&EmbeddedGallery> {
        (self as &dyn Any).downcast_ref()
    }

    /// The gallery on a cluster that this is, if it is one.
    #[cfg(feature = "cluster")]
    pub fn as_cluster(&self) -> Option<&ClusterGallery> {
        (self as &dyn Any).downcast_ref()
    }
}

/// All points of a gallery (that pass a filter) in the order of their ids, read page by page.
/// Points that are added or removed meanwhile may or may not be seen; no other is missed or seen
/// twice.
pub struct Points<'a> {
    gallery: &'a dyn Gallery,
    filter: Option<Filter>,
    pages: Pages<Point>,
}

impl<'a> Points<'a> {
    /// Begins with the first.
    pub fn new(gallery: &'a dyn Gallery, filter: Option<Filter>) -> Self {
        Points {
            gallery,
            filter,
            pages: Pages::new(PAGE),
        }
    }
}

impl Iterator for Points<'_> {
    type Item = Result<Point, GalleryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = |after, limit| self.gallery.scroll(after, limit, self.filter.as_ref());
        self.pages.next(read, |point| point.id)
    }
}

/// All points of a source as [`Stub`]s in the order of their ids, read page by page, as [`Points`]
/// does.
pub struct Stubs<'a> {
    gallery: &'a dyn Gallery,
    source: String,
    pages: Pages<Stub>,
}

impl<'a> Stubs<'a> {
    /// Begins with the first.
    pub fn new(gallery: &'a dyn Gallery, source: impl Into<String>) -> Self {
        Stubs {
            gallery,
            source: source.into(),
            pages: Pages::new(STUBS),
        }
    }
}

impl Iterator for Stubs<'_> {
    type Item = Result<Stub, GalleryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = |after, limit| self.gallery.stubs(&self.source, after, limit);
        self.pages.next(read, |stub| stub.id)
    }
}

/// Where an iterator stands that reads page by page.
struct Pages<T> {
    size: usize,
    page: std::vec::IntoIter<T>,
    last: Option<Uuid>,
    done: bool,
}

impl<T> Pages<T> {
    fn new(size: usize) -> Self {
        Pages {
            size,
            page: Vec::new().into_iter(),
            last: None,
            done: false,
        }
    }

    /// The next of all, where `read` gives so many after an id.
    fn next(
        &mut self,
        read: impl FnOnce(Option<Uuid>, usize) -> Result<Vec<T>, GalleryError>,
        id: impl FnOnce(&T) -> Uuid,
    ) -> Option<Result<T, GalleryError>> {
        if self.page.len() == 0 && !self.done {
            match read(self.last, self.size) {
                Ok(page) => {
                    self.done = page.len() < self.size;
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        let next = self.page.next()?;
        self.last = Some(id(&next));
        Some(Ok(next))
    }
}

/// The facts about a gallery.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GalleryInfo {
    /// The gallery's name: its path, or its address.
    pub name: String,
    /// The metric that the index is built for, fixed when the gallery was made.
    pub metric: Metric,
    /// Length of the codes.
    pub dims: usize,
    /// Number of points.
    pub points: usize,
    /// Number of points that the index covers, as they are now; the others, those that were added
    /// or changed since it was built, are compared one by one.
    pub indexed: usize,
    /// BLAKE3 of the model file whose codes these are, see [`model_fingerprint`].
    pub model_fingerprint: String,
    /// When the gallery was made, in seconds since 1970-01-01 00:00 UTC.
    pub created: u64,
    /// Whether diffusion is possible.
    pub diffusion: DiffusionState,
}

impl GalleryInfo {
    /// Whether the gallery is on a cluster.
    pub fn is_on_cluster(&self) -> bool {
        ClusterAddress::is_address(&self.name)
    }
}

/// The name of a model: the BLAKE3 of its file, in hexadecimal.
pub fn model_fingerprint(model: &[u8]) -> String {
    blake3::hash(model).to_hex().to_string()
}

/// Whether a gallery has what [`Rerank::Diffusion`] needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiffusionState {
    /// Nothing was built, or what was built is damaged and must be built anew.
    Absent,
    /// Built from exactly the points that are there.
    Fresh,
    /// Points have changed since it was built, or part of it was found damaged.
    Stale,
    /// The gallery is kept where there is no diffusion: on a cluster.
    Unavailable,
}

/// What [`Gallery::upsert`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Upserted {
    /// Points that were not there.
    pub added: usize,
    /// Points that were there with another code or payload.
    pub changed: usize,
    /// Points that were there already, exactly so.
    pub unchanged: usize,
}

/// A question to a gallery.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchRequest {
    /// The code whose neighbours are wanted.
    pub code: Vec<f32>,
    /// How many are wanted.
    pub k: usize,
    /// The metric to measure with; none means the gallery's. Another than the gallery's is answered
    /// exactly, by comparing with every point.
    pub metric: Option<Metric>,
    /// Compare with every point instead of trusting the index.
    pub exact: bool,
    /// Only points at this distance or nearer.
    pub max_distance: Option<f32>,
    /// Only points that pass this filter.
    pub filter: Option<Filter>,
    /// All points but this one, e.g. the query itself.
    pub exclude: Option<Uuid>,
    /// How the neighbours are put in order.
    pub rerank: Rerank,
    /// Neighbours that differ among themselves instead of the plainly nearest; not with
    /// [`Rerank::Diffusion`].
    pub diverse: Option<Mmr>,
}

impl SearchRequest {
    /// The `k` nearest to `code`, plainly.
    pub fn new(code: Vec<f32>, k: usize) -> Self {
        SearchRequest {
            code,
            k,
            metric: None,
            exact: false,
            max_distance: None,
            filter: None,
            exclude: None,
            rerank: Rerank::None,
            diverse: None,
        }
    }
}

/// How neighbours are put in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rerank {
    /// By distance.
    #[default]
    None,
    /// By diffusion on the gallery's neighbour graph; see [`EmbeddedGallery::build_diffusion`].
    Diffusion,
}

/// How often a value of a payload field is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facet {
    /// The value: text, a number or a truth value.
    pub value: serde_json::Value,
    /// Number of points that have it.
    pub count: usize,
}

impl Facet {
    /// The more frequent first.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let frequent = other.count.cmp(&self.count);
        frequent.then_with(|| self.value.to_string().cmp(&other.value.to_string()))
    }
}

/// A gallery's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// What was found, best first: by distance, by score, or as diversity has it.
    pub neighbours: Vec<Hit>,
    /// The metric of the distances.
    pub metric: Metric,
    /// Whether every point was compared with; otherwise the index was trusted, and a neighbour may
    /// have been missed. Never so with [`Rerank::Diffusion`], which looks no farther than it
    /// reaches.
    pub exact: bool,
    /// What the asker should know about this answer, in plain words.
    pub notes: Vec<String>,
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// The point's id.
    pub id: Uuid,
    /// Its distance from the query, smaller is nearer, exactly as [`Metric::distance`] gives it.
    pub distance: f32,
    /// Its score, larger is better: of diffusion, or of
    /// [`Strategy::BestScore`](crate::Strategy::BestScore). None where the order is by distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// The part of the picture that is so near, where that was asked for and is not the whole
    /// ([`EmbeddedGallery::search_tiles`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Rectangle>,
    /// What is known about it.
    pub payload: Payload,
}
