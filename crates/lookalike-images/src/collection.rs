//! A whole collection in memory.

use std::collections::HashSet;

use thiserror::Error;

use crate::fit::{InputShape, fit};
use crate::pixels::{Image, MAX_SIDE, Pixels};

/// Why images do not make a collection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// There is not a single image.
    #[error("{name} has no images; give a source with at least one")]
    Empty {
        /// The collection's name.
        name: String,
    },
    /// Two images have the same key.
    #[error("{name} has two images with the key {key:?}; keys must be unique: rename one")]
    DuplicateKey {
        /// The collection's name.
        name: String,
        /// The key that came twice.
        key: String,
    },
    /// The parts of a collection do not belong together.
    #[error("cannot make the collection {name}: {reason}")]
    Parts {
        /// The collection's name.
        name: String,
        /// Which parts disagree.
        reason: String,
    },
}

/// A whole collection in memory, as bytes of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    name: String,
    shape: InputShape,
    keys: Vec<String>,
    labels: Vec<Option<String>>,
    pixels: Vec<u8>,
}

impl Collection {
    /// A collection of images, each brought to `shape`; without one, to that of the first.
    ///
    /// # Errors
    ///
    /// When there are no images, a key comes twice, or no image has the shape.
    pub fn of(
        name: impl Into<String>,
        shape: Option<InputShape>,
        images: impl IntoIterator<Item = Image>,
    ) -> Result<Self, CollectionError> {
        let name = name.into();
        if let Some(shape) = shape {
            check_shape(&name, shape)?;
        }
        let mut shape = shape;
        let mut keys = Vec::new();
        let mut labels = Vec::new();
        let mut pixels = Vec::new();
        for image in images {
            let shape = *shape.get_or_insert(InputShape::of(&image.pixels));
            match InputShape::of(&image.pixels) == shape {
                true => pixels.extend_from_slice(image.pixels.data()),
                false => pixels.extend_from_slice(fit(&image.pixels, shape).data()),
            }
            keys.push(image.key);
            labels.push(image.label);
        }
        match shape {
            Some(shape) => Self::from_parts(name, shape, keys, labels, pixels),
            None => Err(CollectionError::Empty { name }),
        }
    }

    /// A collection from its parts: for each image a key, a label or none, and the pixels (height x
    /// width x channels) of all images one after another.
    ///
    /// # Errors
    ///
    /// When there are no images, a key comes twice, or the parts are not of one length.
    pub fn from_parts(
        name: impl Into<String>,
        shape: InputShape,
        keys: Vec<String>,
        labels: Vec<Option<String>>,
        pixels: Vec<u8>,
    ) -> Result<Self, CollectionError> {
        let name = name.into();
        if keys.is_empty() {
            return Err(CollectionError::Empty { name });
        }
        check_shape(&name, shape)?;
        if labels.len() != keys.len() {
            let reason = format!("{} keys but {} labels", keys.len(), labels.len());
            return Err(CollectionError::Parts { name, reason });
        }
        if keys.len().checked_mul(shape.values()) != Some(pixels.len()) {
            let reason = format!(
                "{} images of {shape} take {} bytes each, but there are {} bytes",
                keys.len(),
                shape.values(),
                pixels.len()
            );
            return Err(CollectionError::Parts { name, reason });
        }
        let mut seen = HashSet::new();
        if let Some(key) = keys.iter().find(|key| !seen.insert(key.as_str())) {
            let key = key.clone();
            return Err(CollectionError::DuplicateKey { name, key });
        }
        Ok(Self {
            name,
            shape,
            keys,
            labels,
            pixels,
        })
    }

    /// Its name: that of the source that it was loaded from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of images, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a collection is never empty")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The shape of every image.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// The key of image `index`.
    ///
    /// # Panics
    ///
    /// When `index` is not below [`len`](Self::len), as do the other methods that take one.
    pub fn key(&self, index: usize) -> &str {
        &self.keys[index]
    }

    /// The label of image `index`, if it has one.
    pub fn label(&self, index: usize) -> Option<&str> {
        self.labels[index].as_deref()
    }

    /// Whether every image has a label.
    pub fn is_labelled(&self) -> bool {
        self.labels.iter().all(Option::is_some)
    }

    /// The bytes of image `index`: height x width x channels.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.shape.values();
        &self.pixels[index * size..(index + 1) * size]
    }

    /// A copy of image `index`, to be drawn or written.
    pub fn picture(&self, index: usize) -> Pixels {
        let InputShape {
            channels,
            height,
            width,
        } = self.shape;
        Pixels::trusted(width, height, channels, self.image(index).to_vec())
    }

    /// The bytes of all images: images x height x width x channels.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The place of the image with a key. Looks through all keys.
    pub fn position(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|other| other == key)
    }

    /// A copy of image `index` with its key and its label.
    pub fn copy(&self, index: usize) -> Image {
        Image {
            key: self.keys[index].clone(),
            label: self.labels[index].clone(),
            pixels: self.picture(index),
        }
    }
}

/// Refuses a shape before anything is scaled to it.
fn check_shape(name: &str, shape: InputShape) -> Result<(), CollectionError> {
    let sides = 1..=MAX_SIDE;
    let exists = matches!(shape.channels, 1 | 3)
        && sides.contains(&shape.width)
        && sides.contains(&shape.height);
    if exists {
        return Ok(());
    }
    Err(CollectionError::Parts {
        name: name.to_owned(),
        reason: format!(
            "no image has the shape {shape} (channels x height x width): there are 1 or 3 channels \
             and sides of 1 to {MAX_SIDE}"
        ),
    })
}
