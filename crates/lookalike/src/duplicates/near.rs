//! Which contents are near to another: told by pictures or by codes.

use lookalike_gallery::Gallery;
use lookalike_neighbours::{self as neighbours, Codes, Neighbour};
use uuid::Uuid;

use super::across::Parts;
use super::border::{Border, Pair};
use super::classes::Classes;
use super::grouping::{Placed, group};
use super::pictures::Pictures;
use super::threshold::{self, Nearness, Suggestion, suggest};
use super::{Duplicates, Measure};
use crate::contents::Contents;
use crate::{Encoder, Error, Progress};

/// What is near to another, in one of the two ways.
pub(super) enum Near {
    Pictures(Box<Pictures>),
    /// By codes, within a threshold: the nearest other of each content, and its distance.
    Codes {
        nearest: Vec<(u32, f32)>,
        threshold: Option<f32>,
    },
}

impl Near {
    /// What has codes within a threshold of each other.
    pub fn within(
        threshold: f32,
        contents: &Contents,
        progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        Ok(Self::Codes {
            nearest: nearest(contents, progress)?,
            threshold: Some(threshold),
        })
    }

    /// What is told to be near without a threshold, turned copies too if there is an encoder for
    /// them; notes in `found` how.
    pub fn told(
        gallery: &dyn Gallery,
        contents: &Contents,
        classes: &Classes,
        encoder: Option<&dyn Encoder>,
        found: &mut Duplicates,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        let points = (0..contents.count).map(|content| classes.of(content)[0].id);
        let points: Vec<Uuid> = points.collect();
        let pictures = Pictures::compare(gallery, contents, &points, &mut progress)?;
        if let Some(mut pictures) = pictures {
            found.not_compared = pictures.missing();
            if let Some(encoder) = encoder {
                pictures.add_turned(gallery, contents, &points, encoder, progress)?;
            }
            return Ok(Self::Pictures(Box::new(pictures)));
        }
        if encoder.is_some() {
            return Err(Error::Unusable(format!(
                "cannot look for turned copies in {}: they are told by thumbnails, and it has none of half of its \
                 pictures or more; index them again with thumbnails",
                gallery.describe()?.name
            )));
        }
        let (nearest, suggestion) = suggested(contents, progress)?;
        let threshold = suggestion.threshold;
        found.threshold = threshold;
        found.suggestion = Some(suggestion);
        Ok(Self::Codes { nearest, threshold })
    }

    pub fn measure(&self) -> Measure {
        match self {
            Self::Pictures(_) => Measure::Pictures,
            Self::Codes { .. } => Measure::Codes,
        }
    }

    /// The contents that are near to another.
    pub fn contents(&self) -> Vec<u32> {
        match self {
            Self::Pictures(pictures) => pictures.copied().collect(),
            Self::Codes { nearest, threshold } => (0..)
                .zip(nearest)
                .filter(|&(_, (_, distance))| threshold.is_some_and(|within| *distance <= within))
                .map(|(content, _)| content)
                .collect(),
        }
    }

    /// The pairs around the border between what is near and what is not.
    pub fn take_border(&mut self) -> Border {
        let (nearest, threshold) = match self {
            Self::Pictures(pictures) => return pictures.take_border(),
            Self::Codes { nearest, threshold } => (nearest, *threshold),
        };
        let mut border = Border::default();
        let Some(threshold) = threshold.filter(|threshold| *threshold > 0.0) else {
            return border;
        };
        for (content, &(other, distance)) in (0..).zip(&*nearest) {
            if distance.is_finite() {
                border.note(Pair {
                    contents: [content, other],
                    share: distance / threshold,
                    difference: None,
                });
            }
        }
        border
    }

    /// For contents that have pictures of one part, whether the other part has pictures of another
    /// content that is near.
    pub fn beside(&self, parts: &Parts, contents: &Contents) -> Result<Parts, Error> {
        let threshold = match self {
            Self::Pictures(pictures) => return Ok(pictures.beside(parts)),
            Self::Codes { threshold, .. } => threshold,
        };
        let mut beside = Parts::new();
        let Some(threshold) = *threshold else {
            return Ok(beside);
        };
        let codes = contents.codes()?;
        for part in [0, 1] {
            let of = |part: usize| -> (Vec<u32>, Vec<f32>) {
                let having = parts.iter().filter(|(_, has)| has[part]);
                let having: Vec<u32> = having.map(|(&content, _)| content).collect();
                let rows = having.iter().flat_map(|&row| codes.row(row as usize));
                let rows = rows.copied().collect();
                (having, rows)
            };
            let ((there, gallery), (asking, queries)) = (of(part), of(1 - part));
            if there.is_empty() || asking.is_empty() {
                continue;
            }
            let gallery = Codes::new(&gallery, contents.dims)?;
            let queries = Codes::new(&queries, contents.dims)?;
            // A content of both parts is nearest to itself.
            let found = neighbours::nearest(gallery, queries, contents.metric, 2);
            for (content, found) in asking.into_iter().zip(found) {
                let is_near = |other: &Neighbour| {
                    there[other.index] != content && other.distance <= threshold
                };
                beside.entry(content).or_default()[part] = found.iter().any(is_near);
            }
        }
        Ok(beside)
    }

    /// Groups these contents, which come in the order in which they would represent.
    pub fn group(&self, order: &[u32], contents: &Contents) -> Result<Vec<Vec<Placed>>, Error> {
        let threshold = match self {
            Self::Pictures(pictures) => return pictures.group(order, contents),
            Self::Codes { threshold, .. } => threshold.unwrap_or(0.0),
        };
        let codes = contents.codes()?;
        let rows = order
            .iter()
            .flat_map(|&content| codes.row(content as usize));
        let rows: Vec<f32> = rows.copied().collect();
        let codes = Codes::new(&rows, contents.dims)?;
        let mut places = group(codes, contents.metric, threshold);
        for placed in places.iter_mut().flatten() {
            placed.row = order[placed.row] as usize;
        }
        Ok(places)
    }
}

/// The nearest other of each content; infinitely far where there is none.
fn nearest(contents: &Contents, progress: impl FnMut(Progress)) -> Result<Vec<(u32, f32)>, Error> {
    let mut nearest = Vec::with_capacity(contents.count);
    contents.neighbours(
        1,
        |_, others| nearest.push(others.first().map_or(NOTHING, first)),
        progress,
    )?;
    Ok(nearest)
}

/// Stands for a neighbour where there is none.
const NOTHING: (u32, f32) = (0, f32::INFINITY);

fn first(other: &Neighbour) -> (u32, f32) {
    (other.index as u32, other.distance)
}

/// The same, and the threshold that the distances suggest.
fn suggested(
    contents: &Contents,
    progress: impl FnMut(Progress),
) -> Result<(Vec<(u32, f32)>, Suggestion), Error> {
    let Some(k) = threshold::looked_at(contents.count) else {
        let nothing = suggest(&vec![Nearness::NONE; contents.count], 0);
        return Ok((vec![NOTHING; contents.count], nothing));
    };
    let mut nearness = Vec::with_capacity(contents.count);
    let mut nearest = Vec::with_capacity(contents.count);
    contents.neighbours(
        k,
        |_, others| {
            nearest.push(first(&others[0]));
            nearness.push(Nearness {
                first: others[0].distance,
                middle: others[k / 2 - 1].distance,
                last: others[k - 1].distance,
            });
        },
        progress,
    )?;
    Ok((nearest, suggest(&nearness, k)))
}
