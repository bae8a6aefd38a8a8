//! From an image to its neighbours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lookalike_autoencoder::DeviceChoice;
use lookalike_gallery::{
    Answer, Example, Filter, Gallery, Mmr, Payload, Point, RecommendRequest, Rerank, SearchRequest,
    point_id,
};
use lookalike_neighbours::Metric;
use lookalike_sources::existing;
use uuid::Uuid;

use crate::catalogue;
use crate::{Encoder, Error, ImageStream, Query, Reading, encoder_of, open_gallery};

/// What is wanted of a search, besides the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// How many neighbours.
    pub k: usize,
    /// Another metric than the gallery's; answered exactly.
    pub metric: Option<Metric>,
    /// Compare with every point instead of trusting the index.
    pub exact: bool,
    /// Only neighbours at this distance or nearer.
    pub max_distance: Option<f32>,
    /// Only neighbours whose payload passes.
    pub filter: Option<Filter>,
    /// Leave the query itself out, where the gallery has it: its
    /// [own point](Searcher::own_point).
    pub exclude_self: bool,
    /// How the neighbours are put in order.
    pub rerank: Rerank,
    /// Neighbours that differ among themselves: 0, only different, to 1, only near. None: the
    /// plainly nearest.
    pub diverse: Option<f32>,
}

/// Diverse neighbours are chosen among so many times as are wanted, and at least
/// [`MIN_CANDIDATES`].
const CANDIDATES: usize = 10;
/// See [`CANDIDATES`].
const MIN_CANDIDATES: usize = 100;

impl Question {
    fn request(&self, code: Vec<f32>) -> SearchRequest {
        SearchRequest {
            code,
            k: self.k,
            metric: self.metric,
            exact: self.exact,
            max_distance: self.max_distance,
            filter: self.filter.clone(),
            exclude: None,
            rerank: self.rerank,
            diverse: self.diverse.map(|lambda| Mmr {
                lambda,
                candidates: self.k.saturating_mul(CANDIDATES).max(MIN_CANDIDATES),
            }),
        }
    }
}

impl Default for Question {
    /// The 5 nearest, plainly.
    fn default() -> Self {
        Self {
            k: 5,
            metric: None,
            exact: false,
            max_distance: None,
            filter: None,
            exclude_self: false,
            rerank: Rerank::None,
            diverse: None,
        }
    }
}

/// What a person should know about the answer for an image that the gallery has already, as this
/// point: whether it is among its own neighbours.
pub fn already_in_gallery(own: &Payload, is_left_out: bool) -> String {
    let left_out = match is_left_out {
        true => ", which is left out",
        false => "",
    };
    format!("already in the gallery: {}{left_out}", own.key)
}

/// A gallery and the encoder that its codes come from, together answering images.
pub struct Searcher {
    gallery: Box<dyn Gallery>,
    encoder: Box<dyn Encoder>,
}

impl Searcher {
    /// Of a gallery and its encoder.
    pub fn new(gallery: Box<dyn Gallery>, encoder: Box<dyn Encoder>) -> Self {
        Self { gallery, encoder }
    }

    /// Opens the gallery `name` with the model that it keeps or, if some are given, the one of
    /// `models` that is its own: a gallery on a cluster keeps none.
    ///
    /// # Errors
    ///
    /// When the gallery or its model cannot be opened.
    pub fn open(name: &str, models: &[PathBuf], device: DeviceChoice) -> Result<Self, Error> {
        let gallery = open_gallery(name)?;
        let encoder = encoder_of(&*gallery, models, device)?;
        Ok(Self::new(gallery, encoder))
    }

    /// The gallery.
    pub fn gallery(&self) -> &dyn Gallery {
        &*self.gallery
    }

    /// The encoder.
    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// Finds the images most like `query`; `source` is the name of the source that it belongs to.
    ///
    /// # Errors
    ///
    /// When the question cannot be answered, e.g. diffusion without a graph.
    pub fn search(
        &self,
        source: &str,
        query: &Query,
        question: &Question,
    ) -> Result<Answer, Error> {
        let own = match question.exclude_self {
            true => self.own_point(source, query)?,
            false => None,
        };
        let code = self.encoder.encode_picture(&query.picture)?;
        self.ask_code(code, own.map(|point| point.id), question)
    }

    /// The point that an image is, if the gallery has it: that of the same source and key, or else
    /// one of the same content.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn own_point(&self, source: &str, query: &Query) -> Result<Option<Point>, Error> {
        let identity = catalogue::identity(&*self.gallery, source)?;
        let id = point_id(&identity, &query.key);
        if let Some(point) = self.gallery.retrieve(&[id])?.pop() {
            return Ok(Some(point));
        }
        let hash = query.blake3.as_str();
        Ok(self.gallery.with_content(&[hash])?.remove(hash))
    }

    /// Finds the images most like one that is in the gallery, by the code that is kept there: its
    /// original is not needed.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn ask_point(&self, point: &Point, question: &Question) -> Result<Answer, Error> {
        let exclude = question.exclude_self.then_some(point.id);
        self.ask_code(point.code.clone(), exclude, question)
    }

    /// Finds the images most like one whose code is known already; `exclude` is left out,
    /// [`exclude_self`](Question::exclude_self) says nothing here.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn ask_code(
        &self,
        code: Vec<f32>,
        exclude: Option<Uuid>,
        question: &Question,
    ) -> Result<Answer, Error> {
        let request = SearchRequest {
            exclude,
            ..question.request(code)
        };
        Ok(self.gallery.search(&request)?)
    }

    /// The point that a user's words name: an id, the place of its original, `SOURCE#KEY`, or the
    /// key alone where no other source has it as well.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn find_point(&self, spec: &str) -> Result<Option<Point>, Error> {
        let mut ids = Vec::new();
        ids.extend(spec.parse::<Uuid>().ok());
        // A key may contain the sign as well.
        for (at, _) in spec.match_indices('#') {
            let (source, key) = (&spec[..at], &spec[at + 1..]);
            ids.push(point_id(&catalogue::identity(&*self.gallery, source)?, key));
            // The same source may be written in many ways; its name is one.
            if existing(Path::new(source)).is_some()
                && let Ok(stream) = ImageStream::open(source, Reading::default(), Arc::default())
            {
                let identity = catalogue::identity(&*self.gallery, stream.name())?;
                ids.push(point_id(&identity, key));
            }
        }
        if let Some(point) = self.gallery.retrieve(&ids)?.into_iter().next() {
            return Ok(Some(point));
        }
        let there = self
            .gallery
            .scroll(None, 1, Some(&Filter::at_location(spec)))?;
        if let Some(point) = there.into_iter().next() {
            return Ok(Some(point));
        }
        // A key names a point as long as it is that of one source only.
        let mut named = self
            .gallery
            .scroll(None, 2, Some(&Filter::with_key(spec)))?;
        Ok(named.pop().filter(|_| named.is_empty()))
    }

    /// An image as an example for [`recommend`](Self::recommend): the point of the same source and
    /// key with the same content, if there is one, or else one of the same content, and otherwise
    /// its code.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn example(&self, source: &str, query: &Query) -> Result<Example, Error> {
        let id = point_id(&catalogue::identity(&*self.gallery, source)?, &query.key);
        if self.gallery.existing(&[id])?.get(&id) == Some(&query.blake3) {
            return Ok(Example::Id(id));
        }
        let hash = query.blake3.as_str();
        Ok(match self.gallery.with_content(&[hash])?.get(hash) {
            Some(twin) => Example::Id(twin.id),
            None => Example::Code(self.encoder.encode_picture(&query.picture)?),
        })
    }

    /// Finds the images that are like some examples and unlike others. Examples that are points are
    /// not among them.
    ///
    /// # Errors
    ///
    /// When nothing is liked, or `question` asks for diffusion or for differences among the
    /// answers, which go with one query only.
    pub fn recommend(
        &self,
        like: Vec<Example>,
        unlike: Vec<Example>,
        question: &Question,
    ) -> Result<Answer, Error> {
        if question.rerank != Rerank::None || question.diverse.is_some() {
            return Err(Error::Unusable(
                "diffusion and diversity go with a single query, not with examples: leave them out, or give one image"
                    .to_owned(),
            ));
        }
        Ok(self.gallery.recommend(&RecommendRequest {
            unlike,
            metric: question.metric,
            exact: question.exact,
            max_distance: question.max_distance,
            filter: question.filter.clone(),
            ..RecommendRequest::new(like, question.k)
        })?)
    }
}
