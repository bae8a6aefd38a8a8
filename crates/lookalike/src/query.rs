//! What a search is asked with.

use std::path::PathBuf;

use lookalike_gallery::{Example, Point};
use lookalike_images::{Image, Pixels, Region};
use uuid::Uuid;

use crate::QueryImage;

/// What to search with: a picture, however it is at hand, or a region of it; a point of the
/// gallery; a code; words; or examples.
///
/// ```
/// use lookalike::Query;
/// use lookalike::images::Region;
///
/// let file = Query::path("photos/cat.jpg");
/// let region: Region = "10,20,100,80".parse()?;
/// let face = Query::path("photos/cat.jpg").region(region);
/// let dog = Query::path("photos/dog.jpg");
/// let cats = Query::examples([file, Query::text("a cat asleep")], [dog]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) subject: Subject,
    pub(crate) region: Option<Region>,
    /// Which point it is.
    pub(crate) own: Own,
}

/// Which point of the gallery a query is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Own {
    /// Not looked up yet.
    Unknown,
    /// This one, or none.
    Known(Option<Uuid>),
}

/// What a [`Query`] is made of.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Path(PathBuf),
    Bytes(Vec<u8>),
    Image(Box<QueryImage>),
    Id(Uuid),
    Code(Vec<f32>),
    Text(String),
    Examples {
        like: Vec<Query>,
        unlike: Vec<Query>,
    },
}

impl Query {
    fn of(subject: Subject) -> Self {
        Self {
            subject,
            region: None,
            own: Own::Unknown,
        }
    }

    /// A picture file, or one image of a source as `SOURCE#KEY`. It is read as the gallery's
    /// pictures are.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self::of(Subject::Path(path.into()))
    }

    /// The bytes of a picture file. They are read as the gallery's pictures are.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Subject::Bytes(bytes.into()))
    }

    /// A picture in memory.
    pub fn pixels(pixels: Pixels) -> Self {
        Self::image(QueryImage::from(pixels))
    }

    /// An image that was read already, from a source or from memory.
    pub fn image(image: impl Into<QueryImage>) -> Self {
        Self::of(Subject::Image(Box::new(image.into())))
    }

    /// A point of the gallery, by the code that is kept there: its original is needed for a
    /// [region](Self::region) alone.
    pub fn id(id: Uuid) -> Self {
        Self::of(Subject::Id(id))
    }

    /// A code of the gallery's encoder.
    pub fn code(code: impl Into<Vec<f32>>) -> Self {
        Self::of(Subject::Code(code.into()))
    }

    /// Words, where the encoder [knows some](crate::Encoder::has_text).
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Subject::Text(text.into()))
    }

    /// What is like some and unlike others, each of them a query of any other kind; at least one
    /// must be liked. Examples that are points of the gallery are never among the answers.
    pub fn examples(
        like: impl IntoIterator<Item = Query>,
        unlike: impl IntoIterator<Item = Query>,
    ) -> Self {
        Self::of(Subject::Examples {
            like: like.into_iter().collect(),
            unlike: unlike.into_iter().collect(),
        })
    }

    /// Looks at a region alone, in pixels of the whole picture, upright. It stays the same image:
    /// [`exclude_self`](crate::SearchOptions::exclude_self) leaves that one out.
    #[must_use]
    pub fn region(mut self, region: impl Into<Option<Region>>) -> Self {
        self.region = region.into();
        self
    }

    /// Says which point of the gallery this is, or that it is none, so that it need not be looked
    /// up for [`exclude_self`](crate::SearchOptions::exclude_self); a code knows none by itself.
    #[must_use]
    pub fn of_point(mut self, id: impl Into<Option<Uuid>>) -> Self {
        self.own = Own::Known(id.into());
        self
    }
}

impl From<QueryImage> for Query {
    fn from(image: QueryImage) -> Self {
        Self::image(image)
    }
}

impl From<Image> for Query {
    fn from(image: Image) -> Self {
        Self::image(image)
    }
}

impl From<Pixels> for Query {
    fn from(pixels: Pixels) -> Self {
        Self::pixels(pixels)
    }
}

impl From<Uuid> for Query {
    fn from(id: Uuid) -> Self {
        Self::id(id)
    }
}

impl From<&Point> for Query {
    /// By its code, which is not read again.
    fn from(point: &Point) -> Self {
        Self::code(point.code.clone()).of_point(point.id)
    }
}

impl From<Example> for Query {
    fn from(example: Example) -> Self {
        match example {
            Example::Id(id) => Self::id(id),
            Example::Code(code) => Self::code(code),
        }
    }
}
