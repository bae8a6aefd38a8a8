//! Images to search with, by what was typed.

use std::path::Path;
use std::sync::Arc;

use lookalike_images::{DecodeOptions, Decoded, Image, Pixels, decode};
use lookalike_sources::{Entry, Skipped, existing};

use super::raw::decode_entry;
use super::{ImageStream, Reading};
use crate::{Error, Skips};

/// Opens images to search with and hands them to `ask` one by one, with a name to show: a picture
/// file, one image of a source as `SOURCE#KEY`, or all images of a folder, an archive or a table.
///
/// # Errors
///
/// When there is no such image, or the only one asked for cannot be decoded; what cannot be decoded
/// among many goes to `skips`. And those of `ask`.
pub fn open_queries<E: From<Error>>(
    spec: &str,
    reading: &Reading,
    skips: &Arc<Skips>,
    mut ask: impl FnMut(&str, QueryImage) -> Result<(), E>,
) -> Result<(), E> {
    if existing(Path::new(spec)).is_none() && spec.contains('#') {
        return ask(spec, divided(spec, reading, skips)?);
    }
    let stream = ImageStream::open(spec, reading.clone(), skips.clone())?;
    let mut asked = 0_usize;
    let mut entries = stream.entries()?.peekable();
    if matches!(entries.peek(), Some(Ok(first)) if first.pixels().is_some()) {
        return Err(Error::NotOneImage {
            spec: spec.to_owned(),
            key: "7".to_owned(),
        }
        .into());
    }
    let mut last = None;
    while let Some(item) = entries.next() {
        let alone = asked == 0 && entries.peek().is_none();
        let found = item.and_then(|entry| Ok((stream.query_of(&entry)?, entry)));
        match found {
            Ok((query, entry)) => {
                asked += 1;
                let name = if alone { spec } else { &entry.location };
                ask(name, query)?;
            }
            Err(skipped) => {
                last = Some(skipped.clone());
                skips.add(skipped);
            }
        }
    }
    match asked {
        0 => Err(match last {
            Some(skipped) => Error::Unreadable(Box::new(skipped)),
            None => no_image(spec),
        }
        .into()),
        _ => Ok(()),
    }
}

fn no_image(spec: &str) -> Error {
    Error::NoImage {
        spec: spec.to_owned(),
    }
}

/// The image that `SOURCE#KEY` names. Names of sources and keys may hold the sign as well: the
/// first that divides them into a source and a key of it does.
fn divided(spec: &str, reading: &Reading, skips: &Arc<Skips>) -> Result<QueryImage, Error> {
    let mut failed = None;
    for (at, _) in spec.match_indices('#') {
        let (source, key) = (&spec[..at], &spec[at + 1..]);
        let found = ImageStream::open(source, reading.clone(), skips.clone())
            .and_then(|stream| stream.query(key));
        match found {
            Ok(found) => return Ok(found),
            Err(error) => {
                // Of several, what a source that exists says tells most.
                let exists = source.starts_with("mnist:") || existing(Path::new(source)).is_some();
                if failed.is_none() || exists {
                    failed = Some(error);
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| no_image(spec)))
}

/// An image to search with.
#[derive(Clone, Debug)]
pub struct QueryImage {
    /// The name of its source; none of an image that came without one.
    pub source: Option<String>,
    /// Its key in its source.
    pub key: String,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// What it shows.
    pub picture: Decoded,
    /// BLAKE3 of the original's bytes; of the pixels where there is no file.
    pub blake3: String,
}

impl QueryImage {
    /// The only image that `spec` names, as [`open_queries`] takes it.
    pub(crate) fn open(spec: &str, reading: &Reading) -> Result<Self, Error> {
        let mut found = None;
        open_queries(spec, reading, &Arc::default(), |_, image| {
            match found.replace(image) {
                Some(one) => Err(Error::NotOneImage {
                    spec: spec.to_owned(),
                    key: one.key,
                }),
                None => Ok(()),
            }
        })?;
        // Without any there was an error.
        found.ok_or_else(|| no_image(spec))
    }

    /// A picture file that was read already.
    ///
    /// # Errors
    ///
    /// When it cannot be decoded.
    pub fn from_bytes(bytes: &[u8], options: &DecodeOptions) -> Result<Self, Error> {
        Ok(Self {
            source: None,
            key: String::new(),
            label: None,
            picture: decode(bytes, options)?,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        })
    }
}

impl From<Pixels> for QueryImage {
    fn from(pixels: Pixels) -> Self {
        Self {
            source: None,
            key: String::new(),
            label: None,
            blake3: pixels.blake3(),
            picture: pixels.into(),
        }
    }
}

impl From<Image> for QueryImage {
    fn from(image: Image) -> Self {
        Self {
            key: image.key,
            label: image.label,
            ..image.pixels.into()
        }
    }
}

impl From<QueryImage> for Image {
    fn from(image: QueryImage) -> Self {
        Self {
            key: image.key,
            label: image.label,
            pixels: image.picture.pixels,
        }
    }
}

impl ImageStream {
    /// The image with a key, to search with.
    ///
    /// # Errors
    ///
    /// When there is no such image, or it cannot be decoded.
    pub fn query(&self, key: &str) -> Result<QueryImage, Error> {
        self.query_of(&self.source.get(key)?)
            .map_err(|skipped| Error::Unreadable(Box::new(skipped)))
    }

    fn query_of(&self, entry: &Entry) -> Result<QueryImage, Skipped> {
        let (blake3, picture) = decode_entry(entry, &self.reading)?;
        Ok(QueryImage {
            source: Some(self.name().to_owned()),
            key: entry.key.clone(),
            label: entry.label.clone(),
            picture,
            blake3,
        })
    }
}
