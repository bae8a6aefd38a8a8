//! A few pictures that cover a gallery, for instance to be labelled first.
//!
//! The first is the most central one; every other is the one least like all before
//! ([`farthest_first`]). So the first of them cover as well as so few can, whatever their number,
//! and each adds what was missing most: rare kinds come early, and so do misfits.

use lookalike_gallery::{Filter, Gallery, Payload};
use lookalike_neighbours::{Metric, central, farthest_first};
use serde::Serialize;
use uuid::Uuid;

use crate::contents::Contents;
use crate::{Error, Progress};

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Points that were chosen among.
    pub points: usize,
    /// Different contents among them.
    pub contents: usize,
    /// What codes were compared by.
    pub metric: Metric,
    /// How far the picture that is least like those chosen is from the nearest of them.
    pub radius: f32,
    /// In the order in which they were chosen.
    pub chosen: Vec<Chosen>,
}

/// A picture of a sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chosen {
    /// The point's id; of several points of one content the lowest.
    pub id: Uuid,
    /// How far it is from the nearest of those before: how well those cover the gallery. None for
    /// the first.
    pub distance: Option<f32>,
    /// What is known about it.
    #[serde(flatten)]
    pub payload: Payload,
}

/// Chooses `count` different pictures of a gallery, or of the points that pass a filter, that cover
/// it best; fewer where all others equal one of these.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn cover(
    gallery: &dyn Gallery,
    count: usize,
    filter: Option<&Filter>,
    mut progress: impl FnMut(Progress),
) -> Result<Sample, Error> {
    let contents = Contents::read(gallery, filter, true, &mut progress)?;
    let mut sample = Sample {
        points: contents.points.len(),
        contents: contents.count,
        metric: contents.metric,
        radius: 0.0,
        chosen: Vec::new(),
    };
    if contents.count == 0 {
        return Ok(sample);
    }
    let codes = contents.codes()?;
    let rows: Vec<u32> = (0..contents.count as u32).collect();
    let first = central(codes, contents.metric, &rows).expect("there are codes");
    // One more than are wanted: it tells how well these cover.
    let mut found = farthest_first(
        codes,
        contents.metric,
        &rows,
        first,
        count.saturating_add(1),
    );
    if let Some(&(_, distance)) = found.get(count) {
        sample.radius = distance;
        found.truncate(count);
    }
    let ids = contents.ids();
    let chosen: Vec<Uuid> = found.iter().map(|&(row, _)| ids[row as usize]).collect();
    let points = gallery.retrieve(&chosen)?;
    let mut points = points.into_iter().peekable();
    for (id, (_, distance)) in chosen.into_iter().zip(found) {
        // A point may have gone meanwhile.
        if let Some(point) = points.next_if(|point| point.id == id) {
            sample.chosen.push(Chosen {
                id,
                distance: distance.is_finite().then_some(distance),
                payload: point.payload,
            });
        }
    }
    Ok(sample)
}
