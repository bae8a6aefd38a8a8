//! From an image to its neighbours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lookalike_autoencoder::DeviceChoice;
use lookalike_gallery::{
    Answer, Example, Filter, Gallery, Mmr, Payload, Point, RecommendRequest, Rerank, SearchRequest,
    Strategy, point_id,
};
use lookalike_images::Region;
use lookalike_neighbours::Metric;
use lookalike_sources::existing;
use uuid::Uuid;

use crate::catalogue;
use crate::named::NamedSearch;
use crate::query::{Own, Query, Subject};
use crate::rules::no_tiles_on_cluster;
use crate::{
    DEFAULT_THUMBNAIL_SIDE, Encoder, Error, ImageStream, Originals, QueryImage, Reading,
    decode_target, encoder_of, open_gallery, reading_of,
};

/// What is wanted of a search, besides what is searched with.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
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
    /// How examples are weighed.
    pub strategy: Strategy,
    /// Neighbours that differ among themselves: 0, only different, to 1, only near. None: the
    /// plainly nearest.
    pub diverse: Option<f32>,
    /// Find what the query shows as a part of pictures, too: among the
    /// [tiles](lookalike_gallery::EmbeddedGallery::search_tiles) of a gallery that keeps some, in a
    /// folder. With one query, by the gallery's metric, without re-ranking and diversity.
    pub tiles: bool,
}

/// Diverse neighbours are chosen among so many times as are wanted, and at least
/// [`MIN_CANDIDATES`].
const CANDIDATES: usize = 10;
/// See [`CANDIDATES`].
const MIN_CANDIDATES: usize = 100;

impl SearchOptions {
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

impl Default for SearchOptions {
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
            strategy: Strategy::default(),
            diverse: None,
            tiles: false,
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
    encoder: Arc<dyn Encoder>,
}

impl Searcher {
    /// Of a gallery and its encoder.
    pub fn new(gallery: Box<dyn Gallery>, encoder: Box<dyn Encoder>) -> Self {
        Self::sharing(gallery, encoder.into())
    }

    /// Of a gallery and an encoder that others use as well.
    pub fn sharing(gallery: Box<dyn Gallery>, encoder: Arc<dyn Encoder>) -> Self {
        Self { gallery, encoder }
    }

    /// Opens the gallery `name` with the model that it keeps or, if some are given, the one of
    /// `models` that is its own: a gallery on a cluster keeps none.
    ///
    /// # Errors
    ///
    /// When the gallery or its model cannot be opened.
    pub fn open(
        name: impl AsRef<Path>,
        models: &[PathBuf],
        device: DeviceChoice,
    ) -> Result<Self, Error> {
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

    /// The encoder, for whoever needs it longer than the gallery.
    pub fn shared_encoder(&self) -> Arc<dyn Encoder> {
        self.encoder.clone()
    }

    /// Finds the images most like `query`, whatever that is: a file, bytes, pixels, a point, a
    /// code, words, a region, or examples.
    ///
    /// # Errors
    ///
    /// When the query cannot be read, names no point of the gallery, or has words that the encoder
    /// does not know; and when the options cannot be met: diffusion without a graph, and
    /// diffusion or diversity with examples.
    pub fn search(
        &self,
        query: impl Into<Query>,
        options: &SearchOptions,
    ) -> Result<Answer, Error> {
        let Query {
            subject,
            region,
            own,
        } = query.into();
        if let Subject::Examples { like, unlike } = subject {
            refuse_region(region)?;
            return self.recommend(like, unlike, options);
        }
        let wants_own = options.exclude_self;
        let (code, found) = self.code(subject, region, wants_own && own == Own::Unknown)?;
        let own = match own {
            Own::Known(known) => known,
            Own::Unknown => found,
        };
        let request = SearchRequest {
            exclude: own.filter(|_| wants_own),
            ..options.request(code)
        };
        match options.tiles {
            true => match self.gallery.as_embedded() {
                Some(folder) => Ok(folder.search_tiles(&request)?),
                None => Err(no_tiles_on_cluster(&*self.gallery)?),
            },
            false => Ok(self.gallery.search(&request)?),
        }
    }

    /// The code of a query that is not examples; also, if it `wants_own`, which point it is.
    fn code(
        &self,
        subject: Subject,
        region: Option<Region>,
        wants_own: bool,
    ) -> Result<(Vec<f32>, Option<Uuid>), Error> {
        match subject {
            Subject::Id(id) => {
                let point = self.point(id)?;
                let code = match region {
                    Some(region) => self.code_of_region(&point.payload, region)?,
                    None => point.code,
                };
                Ok((code, Some(id)))
            }
            Subject::Code(code) => refuse_region(region).map(|()| (code, None)),
            Subject::Text(text) => {
                refuse_region(region)?;
                Ok((self.encoder.encode_text(&text)?, None))
            }
            Subject::Examples { .. } => Err(Error::Unusable(
                "examples cannot be made of examples: give each of them by itself".to_owned(),
            )),
            picture => {
                let image = self.image(picture, region)?;
                let own = match wants_own {
                    true => self.own_point(&image)?.map(|point| point.id),
                    false => None,
                };
                Ok((self.encode(&image, region)?, own))
            }
        }
    }

    /// The point with an id.
    fn point(&self, id: Uuid) -> Result<Point, Error> {
        let point = self.gallery.retrieve(&[id])?.pop();
        point.ok_or(Error::NoSuchImage { id })
    }

    /// Reads a picture as the gallery's are read; a region is of the whole picture.
    fn image(&self, subject: Subject, region: Option<Region>) -> Result<QueryImage, Error> {
        let reading = || -> Result<Reading, Error> {
            let mut reading = reading_of(&*self.gallery)?;
            if region.is_none() {
                reading.decode.target = Some(decode_target(&*self.encoder, DEFAULT_THUMBNAIL_SIDE));
            }
            Ok(reading)
        };
        match subject {
            Subject::Image(image) => Ok(*image),
            Subject::Bytes(bytes) => QueryImage::from_bytes(&bytes, &reading()?.decode),
            Subject::Path(path) => match path.to_str() {
                Some(spec) => QueryImage::open(spec, &reading()?),
                None => Err(Error::Unusable(format!(
                    "{} cannot be searched with: its name is not UTF-8; give its bytes",
                    path.display()
                ))),
            },
            _ => unreachable!("only pictures are read"),
        }
    }

    fn encode(&self, image: &QueryImage, region: Option<Region>) -> Result<Vec<f32>, Error> {
        match region {
            Some(region) => {
                let picture = &image.picture;
                let whole = (picture.width, picture.height);
                let part = picture.pixels.crop_of(region, whole)?;
                self.encoder.encode_picture(&part.into())
            }
            None => self.encoder.encode_picture(&image.picture),
        }
    }

    /// The code of a region of a point's picture.
    fn code_of_region(&self, payload: &Payload, region: Region) -> Result<Vec<f32>, Error> {
        let originals = Originals::of(&*self.gallery)?;
        let pixels = originals.picture(&*self.gallery, payload);
        let pixels = pixels.ok_or_else(|| Error::OriginalGone {
            key: payload.key.clone(),
        })?;
        let whole = (payload.width as usize, payload.height as usize);
        let part = pixels.crop_of(region, whole)?;
        self.encoder.encode_picture(&part.into())
    }

    /// The point that an image is, if the gallery has it: that of the same source and key, or else
    /// one of the same content.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn own_point(&self, image: &QueryImage) -> Result<Option<Point>, Error> {
        if let Some(id) = self.id_of(image)?
            && let Some(point) = self.gallery.retrieve(&[id])?.pop()
        {
            return Ok(Some(point));
        }
        let hash = image.blake3.as_str();
        Ok(self.gallery.with_content(&[hash])?.remove(hash))
    }

    /// The id that an image has, or would have, in the gallery; none without a source.
    fn id_of(&self, image: &QueryImage) -> Result<Option<Uuid>, Error> {
        let Some(source) = &image.source else {
            return Ok(None);
        };
        let identity = catalogue::identity(&*self.gallery, source)?;
        Ok(Some(point_id(&identity, &image.key)))
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

    /// A query as an example. A picture is the point of the same source and key with the same
    /// content, if there is one, or else one of the same content, and otherwise its code.
    fn example(&self, query: Query) -> Result<Example, Error> {
        let Query {
            subject, region, ..
        } = query;
        match subject {
            Subject::Id(id) if region.is_none() => Ok(Example::Id(id)),
            Subject::Path(_) | Subject::Bytes(_) | Subject::Image(_) if region.is_none() => {
                let image = self.image(subject, None)?;
                if let Some(id) = self.id_of(&image)?
                    && self.gallery.existing(&[id])?.get(&id) == Some(&image.blake3)
                {
                    return Ok(Example::Id(id));
                }
                let hash = image.blake3.as_str();
                Ok(match self.gallery.with_content(&[hash])?.get(hash) {
                    Some(twin) => Example::Id(twin.id),
                    None => Example::Code(self.encoder.encode_picture(&image.picture)?),
                })
            }
            // The image of a region may be among the answers.
            subject => Ok(Example::Code(self.code(subject, region, false)?.0)),
        }
    }

    /// A search by examples, to be [kept](crate::named::NamedSearches) under a name.
    ///
    /// # Errors
    ///
    /// Those of [`search`](Self::search) with these examples, and of [`NamedSearch::new`].
    pub fn named(
        &self,
        like: Vec<Query>,
        unlike: Vec<Query>,
        filter: Option<&Filter>,
        strategy: Strategy,
    ) -> Result<NamedSearch, Error> {
        let (like, unlike) = (self.examples(like)?, self.examples(unlike)?);
        NamedSearch::new(self.gallery(), &like, &unlike, filter, strategy)
    }

    /// Asks with a search that was [kept](crate::named::NamedSearches), and further examples. Its
    /// filter goes with that of `options`, whose strategy counts.
    ///
    /// # Errors
    ///
    /// Those of [`search`](Self::search), and of [`NamedSearch::filter`].
    pub fn search_again(
        &self,
        search: &NamedSearch,
        like: Vec<Query>,
        unlike: Vec<Query>,
        mut options: SearchOptions,
    ) -> Result<Answer, Error> {
        let asked = search.asked(self.gallery())?;
        let note = asked.note();
        options.filter = search.filter(options.filter)?;
        let like: Vec<Query> = asked.like.into_iter().chain(like).collect();
        let unlike: Vec<Query> = asked.unlike.into_iter().chain(unlike).collect();
        let mut answer = self.search(Query::examples(like, unlike), &options)?;
        answer.notes.extend(note);
        Ok(answer)
    }

    fn examples(&self, queries: Vec<Query>) -> Result<Vec<Example>, Error> {
        let each = queries.into_iter().map(|query| self.example(query));
        each.collect()
    }

    /// Finds the images that are like some examples and unlike others.
    fn recommend(
        &self,
        like: Vec<Query>,
        unlike: Vec<Query>,
        options: &SearchOptions,
    ) -> Result<Answer, Error> {
        if options.rerank != Rerank::None || options.diverse.is_some() {
            return Err(Error::Unusable(
                "diffusion and diversity go with a single query, not with examples: leave them out, or give one image"
                    .to_owned(),
            ));
        }
        if options.tiles {
            return Err(Error::Unusable(
                "parts of pictures are found with a single query, not with examples: give one image, or search whole \
                 images"
                    .to_owned(),
            ));
        }
        Ok(self.gallery.recommend(&RecommendRequest {
            unlike: self.examples(unlike)?,
            metric: options.metric,
            exact: options.exact,
            max_distance: options.max_distance,
            filter: options.filter.clone(),
            strategy: options.strategy,
            ..RecommendRequest::new(self.examples(like)?, options.k)
        })?)
    }
}

/// Refuses a region of what is not a picture.
fn refuse_region(region: Option<Region>) -> Result<(), Error> {
    match region {
        Some(region) => Err(Error::Unusable(format!(
            "the region {region} is of no picture: a region goes with a picture or a point, not with a code, words or examples"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
