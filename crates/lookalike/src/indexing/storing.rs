//! Storing points where some of them may not be taken.

use lookalike_gallery::{Gallery, GalleryError, Point, Upserted};
use lookalike_sources::{SkipKind, Skipped};

use crate::{Error, Skips};

/// After so many calls in a row of which nothing was stored, storing is given up: the cluster is
/// gone, and every further call would only wait for it.
const LOST_CALLS: usize = 3;

/// Stores points; those that a cluster does not take are listed, and storing goes on.
pub(super) struct Storing<'a> {
    gallery: &'a dyn Gallery,
    /// Where they are listed.
    skips: &'a Skips,
    /// Calls in a row of which nothing was stored.
    lost: usize,
}

impl<'a> Storing<'a> {
    pub fn new(gallery: &'a dyn Gallery, skips: &'a Skips) -> Self {
        Self {
            gallery,
            skips,
            lost: 0,
        }
    }

    /// Stores points: what that did, and how many were not taken.
    pub fn store(&mut self, points: &[Point]) -> Result<(Upserted, usize), Error> {
        let error = match self.gallery.upsert(points) {
            Ok(upserted) => {
                self.lost = 0;
                return Ok((upserted, 0));
            }
            Err(error) => error,
        };
        let GalleryError::NotStored {
            failed, stored, of, ..
        } = &error
        else {
            return Err(error.into());
        };
        let (stored, count) = (*stored, failed.len());
        for (id, why) in failed {
            let Some(point) = points.iter().rfind(|point| point.id == *id) else {
                continue;
            };
            let payload = &point.payload;
            self.skips.add(Skipped {
                key: payload.key.clone(),
                location: payload.location.as_ref().unwrap_or(&payload.key).clone(),
                kind: SkipKind::NotStored,
                reason: why.clone(),
            });
        }
        self.lost = if count == *of { self.lost + 1 } else { 0 };
        match self.lost < LOST_CALLS {
            true => Ok((stored, count)),
            false => Err(error.into()),
        }
    }
}
