//! From a stream of images to their codes.

use std::collections::HashSet;

use lookalike_images::Image;
use lookalike_sources::{Entry, SkipKind, SkipReason, Skipped};
use rayon::prelude::*;

use super::raw::decode_entry;
use super::{Held, ImageStream};
use crate::encoder::encode_all;
use crate::{DEFAULT_THUMBNAIL_SIDE, Encoder, Error, decode_target};

/// Images and their codes, in the stream's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// The key of each image.
    pub keys: Vec<String>,
    /// The label of each image, if it has one.
    pub labels: Vec<Option<String>>,
    /// The codes, one after another.
    pub codes: Vec<f32>,
    /// Floats of a code.
    pub dims: usize,
}

/// Hears how many images are encoded; its error ends the encoding.
pub type Follow<'a> = &'a mut dyn FnMut(usize) -> Result<(), Error>;

impl ImageStream {
    /// Encodes up to `limit` images, some at a time: only their codes stay in memory. What cannot
    /// be read goes to the [skips](Self::skips).
    ///
    /// # Errors
    ///
    /// When nothing of the source can be read, or the encoder fails.
    pub fn encode(&self, encoder: &dyn Encoder, limit: Option<usize>) -> Result<Encoded, Error> {
        self.encode_chosen(encoder, limit, &|_| true, None)
    }

    /// As [`encode`](Self::encode), a few images at a time: `follow` hears how many are encoded,
    /// and can end it.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), and what `follow` gives.
    pub fn encode_followed(
        &self,
        encoder: &dyn Encoder,
        limit: Option<usize>,
        follow: Follow,
    ) -> Result<Encoded, Error> {
        self.encode_chosen(encoder, limit, &|_| true, Some(follow))
    }

    /// Encodes the images of these keys, as [`encode`](Self::encode).
    pub(crate) fn encode_some(
        &self,
        encoder: &dyn Encoder,
        keys: &HashSet<&str>,
    ) -> Result<Encoded, Error> {
        let wanted = |key: &str| keys.contains(key);
        self.encode_chosen(encoder, Some(keys.len()), &wanted, None)
    }

    /// Encodes up to `limit` images of those keys that are `wanted`.
    fn encode_chosen(
        &self,
        encoder: &dyn Encoder,
        limit: Option<usize>,
        wanted: &dyn Fn(&str) -> bool,
        mut follow: Option<Follow>,
    ) -> Result<Encoded, Error> {
        let mut encoded = Encoded {
            dims: encoder.code_dim(),
            ..Encoded::default()
        };
        let mut reading = self.reading.clone();
        let target = decode_target(encoder, DEFAULT_THUMBNAIL_SIDE);
        reading.decode.target.get_or_insert(target);
        let prepare = |entry: Entry| {
            let (_, picture) = decode_entry(&entry, &reading)?;
            let pixels = encoder.prepare(&picture).map_err(|error| {
                entry.skipped(SkipReason {
                    kind: SkipKind::Unsupported,
                    reason: error.to_string(),
                })
            })?;
            Ok(Image {
                key: entry.key,
                label: entry.label,
                pixels,
            })
        };
        let most = match follow {
            Some(_) => FOLLOWED_AT_ONCE,
            None => ENCODED_AT_ONCE,
        };
        let most = (ENCODED_BYTES / encoder.shape().values().max(1)).clamp(1, most);
        let mut held = self.chosen(&prepare)?;
        loop {
            let left = limit.map_or(most, |limit| (limit - encoded.keys.len()).min(most));
            let (mut items, mut bytes) = (Vec::new(), 0);
            while items.len() < left && bytes < ENCODED_BYTES {
                let Some(item) = held.next() else {
                    break;
                };
                bytes += match &item {
                    Ok(Held::Entry(entry)) if !wanted(&entry.key) => continue,
                    Ok(Held::Image(image)) if !wanted(&image.key) => continue,
                    Ok(Held::Entry(entry)) => entry.content.held(),
                    _ => 0,
                };
                items.push(item);
            }
            if items.is_empty() {
                return Ok(encoded);
            }
            let prepared: Vec<Result<Image, Skipped>> = items
                .into_par_iter()
                .map(|item| match item? {
                    Held::Image(image) => Ok(image),
                    Held::Entry(entry) => prepare(entry),
                })
                .collect();
            let (mut inputs, before) = (Vec::new(), encoded.keys.len());
            for image in prepared {
                match image {
                    Ok(image) => {
                        inputs.extend_from_slice(image.pixels.data());
                        encoded.keys.push(image.key);
                        encoded.labels.push(image.label);
                    }
                    Err(skipped) => self.skips.add(skipped),
                }
            }
            let count = encoded.keys.len() - before;
            encoded.codes.extend(encode_all(encoder, &inputs, count)?);
            if let Some(follow) = &mut follow {
                follow(encoded.keys.len())?;
            }
        }
    }
}

/// Images that [`ImageStream::encode`] holds at a time, and the bytes that their files and their
/// pixels may take.
const ENCODED_AT_ONCE: usize = 1024;
/// The same, where somebody follows: few enough for the slowest encoders to answer within seconds.
const FOLLOWED_AT_ONCE: usize = 32;
const ENCODED_BYTES: usize = 64 << 20;
