//! From an image to its neighbours.

use lookalike_autoencoder::{Autoencoder, DeviceChoice};
use lookalike_gallery::{Answer, Filter, Gallery, Rerank, SearchRequest, point_id};
use lookalike_images::Image;
use lookalike_neighbours::Metric;

use crate::{Error, open_gallery};

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
    /// Leave the query itself out: the point of the same source and key, or else one point of
    /// the same pixels.
    pub exclude_self: bool,
    /// How the neighbours are put in order.
    pub rerank: Rerank,
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
        }
    }
}

/// A gallery and the model that its codes come from, together answering images.
pub struct Searcher {
    gallery: Box<dyn Gallery>,
    model: Autoencoder,
}

impl Searcher {
    /// Of a gallery and its model.
    pub fn new(gallery: Box<dyn Gallery>, model: Autoencoder) -> Self {
        Self { gallery, model }
    }

    /// Opens the gallery `name` with the model that it keeps.
    ///
    /// # Errors
    ///
    /// When the gallery or its model cannot be opened.
    pub fn open(name: &str, device: DeviceChoice) -> Result<Self, Error> {
        let gallery = open_gallery(name)?;
        let bytes = gallery.model()?.ok_or_else(|| {
            Error::Unusable(format!("the gallery {name} does not keep its model"))
        })?;
        let model = Autoencoder::from_bytes(&bytes, &format!("the model of {name}"), device)?;
        Ok(Self::new(Box::new(gallery), model))
    }

    /// The gallery.
    pub fn gallery(&self) -> &dyn Gallery {
        &*self.gallery
    }

    /// The model.
    pub fn model(&self) -> &Autoencoder {
        &self.model
    }

    /// Finds the images most like `image`; `source` is the name of the source that it belongs to.
    ///
    /// # Errors
    ///
    /// When the question cannot be answered, e.g. diffusion without a graph.
    pub fn search(
        &self,
        source: &str,
        image: &Image,
        question: &Question,
    ) -> Result<Answer, Error> {
        let id = point_id(source, &image.key);
        let there = question.exclude_self && !self.gallery.existing(&[id])?.is_empty();
        // Not there under its own name, the query may still be there under another: one more is
        // asked for, and the first of the same pixels is dropped.
        let drop_twin = question.exclude_self && !there;
        let request = SearchRequest {
            code: self.model.encode_image(&image.pixels),
            k: question.k.saturating_add(usize::from(drop_twin)),
            metric: question.metric,
            exact: question.exact,
            max_distance: question.max_distance,
            filter: question.filter.clone(),
            exclude: there.then_some(id),
            rerank: question.rerank,
            diverse: None,
        };
        let mut answer = self.gallery.search(&request)?;
        if drop_twin {
            let pixels = image.pixels.blake3();
            let twin = answer
                .neighbours
                .iter()
                .position(|hit| hit.payload.blake3 == pixels);
            if let Some(twin) = twin {
                answer.neighbours.remove(twin);
            }
            answer.neighbours.truncate(question.k);
        }
        Ok(answer)
    }
}
