//! After a process was killed, a point that was being replaced may lie in two segments: the engine
//! writes the new place before it clears the old one.

use super::shard::Shard;
use crate::{GalleryError, Point};

const PAGE: usize = 1_000;

/// Removes older copies of points that lie in several segments.
pub(super) fn remove_doubles(shard: &Shard) -> Result<(), GalleryError> {
    if shard.size()?.segments < 2 {
        return Ok(());
    }
    let mut last = None;
    loop {
        let ids = shard.scroll_ids(last, PAGE, None)?;
        if shard.copies(&ids)? > ids.len() {
            // Storing a point again as it is now, in its newest copy, removes the other copies.
            let points: Vec<Point> = shard
                .retrieve(&ids)?
                .into_iter()
                .map(|found| Point {
                    id: found.id,
                    code: found.code,
                    payload: found.payload,
                })
                .collect();
            shard.upsert(&points.iter().collect::<Vec<_>>())?;
        }
        last = ids.last().copied();
        if ids.len() < PAGE {
            return shard.flush();
        }
    }
}
