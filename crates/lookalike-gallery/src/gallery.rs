use std::collections::HashMap;

use lookalike_neighbours::{DiffusionConfig, Metric};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Filter, GalleryError, Payload, Point};

/// How many points [`Points`] asks for at a time.
const PAGE: usize = 1_000;

/// A place where codes are kept and searched.
///
/// All methods take `&self`: a gallery can be shared between threads, searches run side by side, changes
/// one after another. What a method has reported done survives the end of the process.
///
/// # Errors
/// Every method that reads points fails with [`Engine`](GalleryError::Engine) if the engine does, with
/// [`Damaged`](GalleryError::Damaged) if what it finds cannot be understood, with
/// [`Io`](GalleryError::Io) if a file cannot be read, and with [`Closed`](GalleryError::Closed) once an
/// earlier failure has made the open gallery unreliable. The methods say what else can go wrong.
pub trait Gallery: Send + Sync {
    /// What this gallery is, and what it holds.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn describe(&self) -> Result<GalleryInfo, GalleryError>;

    /// The bytes of the model file that the gallery was made with, where the gallery keeps them (one
    /// that only keeps the fingerprint answers `None`).
    ///
    /// # Errors
    /// [`Io`](GalleryError::Io) if the file cannot be read, [`Damaged`](GalleryError::Damaged) if it is
    /// not the one that the gallery was made with.
    fn model(&self) -> Result<Option<Vec<u8>>, GalleryError>;

    /// Stores points, replacing those of the same id. Points that are stored already, exactly so, are
    /// left alone. Each call ends with a write to disk, so some thousands at a time are quickest. Of
    /// several points with one id in `points` the last counts.
    ///
    /// # Errors
    /// [`Dimensions`](GalleryError::Dimensions) or [`BadCode`](GalleryError::BadCode) for a code that does
    /// not fit, and then nothing is stored. [`DiskFull`](GalleryError::DiskFull),
    /// [`Engine`](GalleryError::Engine), [`Damaged`](GalleryError::Damaged) or [`Io`](GalleryError::Io) if
    /// storing fails: some of the points may be there then, and storing all of them again does no harm.
    fn upsert(&self, points: &[Point]) -> Result<Upserted, GalleryError>;

    /// Which of these ids are there, each with the BLAKE3 of its image.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn existing(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, GalleryError>;

    /// The points of these ids, in this order; ids that are not there are left out.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn retrieve(&self, ids: &[Uuid]) -> Result<Vec<Point>, GalleryError>;

    /// The points nearest to a code.
    ///
    /// # Errors
    /// [`Dimensions`](GalleryError::Dimensions) or [`BadCode`](GalleryError::BadCode) for a query that
    /// does not fit, [`BadRequest`](GalleryError::BadRequest) for a largest distance that is no number;
    /// for [`Rerank::Diffusion`] also [`NoDiffusion`](GalleryError::NoDiffusion) and
    /// [`DamagedDiffusion`](GalleryError::DamagedDiffusion); and those of [reading](Gallery#errors).
    fn search(&self, request: &SearchRequest) -> Result<Answer, GalleryError>;

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

    /// The number of points, or of those that pass the filter.
    ///
    /// # Errors
    /// Those of [reading](Gallery#errors).
    fn count(&self, filter: Option<&Filter>) -> Result<usize, GalleryError>;

    /// Removes points; says how many of them were there.
    ///
    /// # Errors
    /// As [`upsert`](Gallery::upsert) if it fails: some of the points may be gone then, and deleting all of
    /// them again does no harm.
    fn delete(&self, ids: &[Uuid]) -> Result<usize, GalleryError>;

    /// Brings the index up to date with the points, so that searches are fast. To be called after many
    /// changes; says whether there was anything to do. Searches go on meanwhile.
    ///
    /// # Errors
    /// [`DiskFull`](GalleryError::DiskFull) without room to build the index beside the old one, and
    /// [`Engine`](GalleryError::Engine) or [`Io`](GalleryError::Io) if that fails: the points are as they
    /// were. Those of [reading](Gallery#errors) as well.
    fn optimise(&self) -> Result<bool, GalleryError>;

    /// Writes everything to disk. What was upserted or deleted is there already; this is for engines
    /// that have more to write.
    ///
    /// # Errors
    /// [`Engine`](GalleryError::Engine) if writing fails, [`Closed`](GalleryError::Closed) after an earlier
    /// failure.
    fn flush(&self) -> Result<(), GalleryError>;

    /// Computes the neighbour graph of all codes and what [`Rerank::Diffusion`] needs of it.
    ///
    /// # Errors
    /// [`BadRequest`](GalleryError::BadRequest) if `config` is not
    /// [valid](DiffusionConfig::validate) or there are more points than a graph can hold;
    /// [`DiskFull`](GalleryError::DiskFull) or [`Io`](GalleryError::Io) if the graph cannot be stored, and
    /// then an earlier one stays; and those of [reading](Gallery#errors).
    fn build_diffusion(&self, config: &DiffusionConfig) -> Result<(), GalleryError>;
}

/// All points of a gallery (that pass a filter) in the order of their ids, read page by page. Points that
/// are added or removed meanwhile may or may not be seen; no other is missed or seen twice.
pub struct Points<'a> {
    gallery: &'a dyn Gallery,
    filter: Option<Filter>,
    page: std::vec::IntoIter<Point>,
    last: Option<Uuid>,
    done: bool,
}

impl<'a> Points<'a> {
    /// Begins with the first.
    pub fn new(gallery: &'a dyn Gallery, filter: Option<Filter>) -> Self {
        Points {
            gallery,
            filter,
            page: Vec::new().into_iter(),
            last: None,
            done: false,
        }
    }
}

impl Iterator for Points<'_> {
    type Item = Result<Point, GalleryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.done {
            match self.gallery.scroll(self.last, PAGE, self.filter.as_ref()) {
                Ok(page) => {
                    self.done = page.len() < PAGE;
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        let point = self.page.next()?;
        self.last = Some(point.id);
        Some(Ok(point))
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
    /// Number of points that the index covers, as they are now; the others, those that were added or
    /// changed since it was built, are compared one by one.
    pub indexed: usize,
    /// BLAKE3 of the model file whose codes these are, see [`model_fingerprint`].
    pub model_fingerprint: String,
    /// When the gallery was made, in seconds since 1970-01-01 00:00 UTC.
    pub created: u64,
    /// Whether diffusion is possible.
    pub diffusion: DiffusionState,
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
    /// By diffusion on the gallery's neighbour graph; see [`Gallery::build_diffusion`].
    Diffusion,
}

/// A gallery's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// What was found, best first: by distance, or by diffusion score.
    pub neighbours: Vec<Hit>,
    /// The metric of the distances.
    pub metric: Metric,
    /// Whether every point was compared with; otherwise the index was trusted, and a neighbour may have
    /// been missed. Never so with [`Rerank::Diffusion`], which looks no farther than it reaches.
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
    /// Its diffusion score, larger is better. None where the order is by distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// What is known about it.
    pub payload: Payload,
}
