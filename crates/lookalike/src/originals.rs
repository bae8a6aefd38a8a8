//! The pictures behind a gallery's points.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _};
use std::sync::{Arc, Mutex, PoisonError};

use lookalike_gallery::{Gallery, Payload};
use lookalike_images::{DecodeOptions, InputShape, Pixels, decode, fit};
use lookalike_sources::Content;

use crate::stream::Raw;
use crate::uploads;
use crate::{Error, ImageStream, Reading, Skips, reading_of};

/// A picture whose longer side is at most so many pixels, to be shown: the same if it is no larger.
pub fn reduced(pixels: Pixels, longest: usize) -> Pixels {
    let longer = pixels.width().max(pixels.height());
    if longer <= longest {
        return pixels;
    }
    let reduce = |side: usize| (side * longest / longer).max(1);
    let shape = InputShape {
        channels: pixels.channels(),
        height: reduce(pixels.height()),
        width: reduce(pixels.width()),
    };
    fit(&pixels, shape)
}

/// Finds the pictures behind a gallery's points, opening each source once. Can be asked by many
/// threads.
pub struct Originals {
    gallery: String,
    reading: Reading,
    sources: Mutex<HashMap<String, Arc<ImageStream>>>,
}

impl Originals {
    /// Of the points of a gallery.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn of(gallery: &dyn Gallery) -> Result<Self, Error> {
        let name = gallery.describe()?.name;
        Ok(Self::read_by(&name, reading_of(gallery)?))
    }

    /// Of the points of the gallery of this name, with limits of its own.
    pub fn read_by(name: &str, mut reading: Reading) -> Self {
        // Whatever was indexed may be shown.
        reading.source.hidden = true;
        Self {
            gallery: name.to_owned(),
            reading,
            sources: Mutex::default(),
        }
    }

    /// The point's original as it is, or none where its source is gone or holds another picture
    /// now.
    pub fn pixels(&self, payload: &Payload) -> Option<Pixels> {
        let query = self.source(payload)?.query(&payload.key).ok()?;
        (query.blake3 == payload.blake3).then_some(query.picture.pixels)
    }

    /// The point's original or else, reduced, its thumbnail.
    pub fn picture(&self, gallery: &dyn Gallery, payload: &Payload) -> Option<Pixels> {
        self.pixels(payload).or_else(|| {
            let kept = gallery.thumbnail(&payload.blake3).ok()??;
            Some(decode(&kept, &DecodeOptions::default()).ok()?.pixels)
        })
    }

    /// The bytes of the point's original, a picture file; of a data set of pixels a PNG. None as
    /// [`pixels`](Self::pixels).
    pub fn file(&self, payload: &Payload) -> Option<Vec<u8>> {
        let stream = self.source(payload)?;
        let entry = stream.source().get(&payload.key).ok()?;
        let raw = Raw::read(&entry, &self.reading).ok()?;
        if raw.blake3() != payload.blake3 {
            return None;
        }
        match raw {
            Raw::File(bytes) => Some(bytes),
            Raw::Pixels(pixels) => pixels.to_png().ok(),
        }
    }

    /// The point's original, opened to be read from its start, and its length: where it is a file
    /// of its own on this machine, so that it need not be held in memory. None for all others, and
    /// as [`pixels`](Self::pixels).
    pub fn open(&self, payload: &Payload) -> Option<(File, u64)> {
        let entry = self.source(payload)?.source().get(&payload.key).ok()?;
        let Content::File(path) = &entry.content else {
            return None;
        };
        // Opening a pipe would wait for ever.
        if !std::fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let mut file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        if length > self.reading.source.limits.item_bytes {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut file, &mut hasher).ok()?;
        file.rewind().ok()?;
        (*hasher.finalize().to_hex() == *payload.blake3).then_some((file, length))
    }

    fn source(&self, payload: &Payload) -> Option<Arc<ImageStream>> {
        let name = &payload.source;
        let sources = || self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources().get(name) {
            return Some(source.clone());
        }
        // Without the lock: a bucket may take its time. One that is gone may come back, and is
        // tried again.
        let opened = ImageStream::open(
            &uploads::place(&self.gallery, name),
            self.reading.clone(),
            Arc::new(Skips::default()),
        );
        let opened = Arc::new(opened.ok()?);
        sources().insert(name.clone(), opened.clone());
        Some(opened)
    }
}
