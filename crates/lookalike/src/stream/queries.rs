//! Images to ask with, by what was typed.

use std::path::Path;
use std::sync::Arc;

use lookalike_images::{Decoded, Image, Region};
use lookalike_sources::{Entry, Skipped, existing};

use super::raw::decode_entry;
use super::{ImageStream, Reading};
use crate::{Error, Skips};

/// Opens queries and hands them to `ask` one by one, with the source's name and a name to show: a
/// picture file, one image of a source as `SOURCE#KEY`, or all images of a folder, an archive or a
/// table.
///
/// # Errors
///
/// When there is no such image, or the only one asked for cannot be decoded; what cannot be decoded
/// among many goes to `skips`. And those of `ask`.
pub fn open_queries<E: From<Error>>(
    spec: &str,
    reading: &Reading,
    skips: &Arc<Skips>,
    mut ask: impl FnMut(&str, &str, Query) -> Result<(), E>,
) -> Result<(), E> {
    if existing(Path::new(spec)).is_none() && spec.contains('#') {
        let (source, query) = divided(spec, reading, skips)?;
        return ask(&source, spec, query);
    }
    let stream = ImageStream::open(spec, reading.clone(), skips.clone())?;
    let mut asked = 0_usize;
    let mut entries = stream.entries()?.peekable();
    if matches!(entries.peek(), Some(Ok(first)) if first.pixels().is_some()) {
        return Err(Error::Unusable(format!(
            "{spec} is a whole collection; name one image of it: {spec}#7"
        ))
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
                ask(stream.name(), name, query)?;
            }
            Err(skipped) => {
                last = Some(skipped.to_string());
                skips.add(skipped);
            }
        }
    }
    match asked {
        0 => Err(Error::Unusable(last.unwrap_or_else(|| format!("{spec} holds no image"))).into()),
        _ => Ok(()),
    }
}

/// The image that `SOURCE#KEY` names, and its source's name. Names of sources and keys may hold the
/// sign as well: the first that divides them into a source and a key of it does.
fn divided(spec: &str, reading: &Reading, skips: &Arc<Skips>) -> Result<(String, Query), Error> {
    let mut failed = None;
    for (at, _) in spec.match_indices('#') {
        let (source, key) = (&spec[..at], &spec[at + 1..]);
        let found = ImageStream::open(source, reading.clone(), skips.clone()).and_then(|stream| {
            let query = stream.query(key)?;
            Ok((stream.name().to_owned(), query))
        });
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
    Err(failed.unwrap_or_else(|| Error::Unusable(format!("{spec} names no image"))))
}

/// An image to ask with.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its key in its source.
    pub key: String,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// What it shows.
    pub picture: Decoded,
    /// BLAKE3 of the original's bytes; of the pixels where there is no file.
    pub blake3: String,
}

impl Query {
    /// A region of it, in pixels of the whole picture, upright. It stays the same image: only what
    /// is looked at is less.
    ///
    /// # Errors
    ///
    /// When the region is not within the image. It must have been read whole, without
    /// [`DecodeOptions::target`](lookalike_images::DecodeOptions::target).
    pub fn region(mut self, region: Region) -> Result<Self, Error> {
        self.picture = self.picture.pixels.crop(region)?.into();
        Ok(self)
    }
}

impl From<Image> for Query {
    fn from(image: Image) -> Self {
        Self {
            key: image.key,
            label: image.label,
            blake3: image.pixels.blake3(),
            picture: image.pixels.into(),
        }
    }
}

impl From<Query> for Image {
    fn from(query: Query) -> Self {
        Self {
            key: query.key,
            label: query.label,
            pixels: query.picture.pixels,
        }
    }
}

impl ImageStream {
    /// The image with a key, to ask with.
    ///
    /// # Errors
    ///
    /// When there is no such image, or it cannot be decoded.
    pub fn query(&self, key: &str) -> Result<Query, Error> {
        self.query_of(&self.source.get(key)?)
            .map_err(|skipped| Error::Unusable(skipped.to_string()))
    }

    fn query_of(&self, entry: &Entry) -> Result<Query, Skipped> {
        let (blake3, picture) = decode_entry(entry, &self.reading)?;
        Ok(Query {
            key: entry.key.clone(),
            label: entry.label.clone(),
            picture,
            blake3,
        })
    }
}
