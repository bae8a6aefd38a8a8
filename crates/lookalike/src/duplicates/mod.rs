//! Pictures that a gallery holds more than once: byte for byte, or nearly.
//!
//! *Exact* duplicates have the same content (BLAKE3). *Near* ones have codes within a threshold of each other, given or
//! [suggested](suggest) by the data. Each group has a representative, the largest picture by pixels, then by
//! bytes, then the one with the lowest id, and [every other](group) is within the threshold of it: nothing is
//! in a group because it is like something that is like something. What that leaves alone beside a group is counted
//! ([`Duplicates::left_alone`]).
//!
//! Nothing is ever deleted or changed: this is a report. Two points may also be one and the same file, indexed under
//! two sources; such members are [marked](Kind::SameFile), for deleting one would delete both.
//!
//! All different contents are compared with each other, exactly, so time grows with the square of their number: see
//! `docs/quality.md`. Memory holds their codes, and some tens of bytes a point.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use lookalike_gallery::{Filter, Gallery, Payload};
use lookalike_neighbours::{Codes, Metric};
use serde::Serialize;
use uuid::Uuid;

use crate::Error;
use crate::contents::{Contents, Known};

mod grouping;
mod threshold;

pub use grouping::{Placed, group};
pub use threshold::{Nearness, Suggestion, suggest};

/// Points whose payloads are read at a time.
const PAGE: usize = 1000;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuplicateOptions {
    /// The largest distance of a near duplicate from its representative; none: as [suggested](suggest).
    pub threshold: Option<f32>,
    /// Only exact duplicates; codes are not read then.
    pub exact_only: bool,
    /// Only among the points that pass.
    pub filter: Option<Filter>,
    /// Return the largest groups only, so many; all are counted.
    pub limit: Option<usize>,
}

/// Why a picture is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It represents the group.
    Representative,
    /// Its content is the representative's, byte for byte.
    Exact,
    /// Its code is within the threshold of the representative's.
    Near,
    /// It lies where an earlier member of the group lies: one file, indexed twice.
    SameFile,
}

impl Kind {
    /// The name in JSON and CSV: `representative`, `exact`, `near`, `same-file`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Representative => "representative",
            Self::Exact => "exact",
            Self::Near => "near",
            Self::SameFile => "same-file",
        }
    }
}

/// A picture in a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// The point's id.
    pub id: Uuid,
    /// Why it is in the group.
    pub kind: Kind,
    /// Distance of its code from the representative's; 0 for the same content.
    pub distance: f32,
    /// What is known about it: source, key, location, size.
    #[serde(flatten)]
    pub payload: Payload,
}

/// Pictures that are one, or nearly: the representative, its exact copies, then the others, nearest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// At least two, the representative first.
    pub members: Vec<Member>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Duplicates {
    /// Points that were looked at.
    pub points: usize,
    /// Different contents among them.
    pub contents: usize,
    /// What codes were compared by: the gallery's metric, or cosine where that is the inner product, of which a
    /// picture with itself says nothing.
    pub metric: Metric,
    /// The threshold for near duplicates; none if only exact ones were looked for, or no near ones stand out.
    pub threshold: Option<f32>,
    /// How the threshold was found; none if it was given, or only exact duplicates were looked for.
    pub suggestion: Option<Suggestion>,
    /// How many groups there are.
    pub group_count: usize,
    /// Points in groups, besides the representatives, of the representative's content.
    pub exact: usize,
    /// Points in groups, besides the representatives, of other content.
    pub near: usize,
    /// Contents within the threshold of some picture in a group, but not of its representative, and in no group.
    pub left_alone: usize,
    /// The groups, the largest first (of equals, that of the lowest id of a representative), as many as asked for.
    pub groups: Vec<Group>,
}

/// What finding duplicates is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many points have been read.
    Read(usize),
    /// So many contents have been compared with all others.
    Compared {
        /// So many.
        done: usize,
        /// Of so many.
        of: usize,
    },
}

/// Finds the duplicates among the points of a gallery; nothing is changed.
///
/// # Errors
///
/// When the gallery cannot be read, or a given threshold is no number of at least 0.
pub fn find(
    gallery: &dyn Gallery,
    options: &DuplicateOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Duplicates, Error> {
    if let Some(threshold) = options.threshold
        && (threshold.is_nan() || threshold < 0.0)
    {
        return Err(Error::Unusable(format!(
            "cannot look for duplicates within a distance of {threshold}: give a number of at least 0"
        )));
    }
    let read = |points| progress(Progress::Read(points));
    let mut contents = Contents::read(gallery, options.filter.as_ref(), !options.exact_only, read)?;
    let classes = Classes::new(std::mem::take(&mut contents.points), contents.count);
    let mut found = Duplicates {
        points: classes.points.len(),
        contents: contents.count,
        metric: contents.metric,
        threshold: options.threshold.filter(|_| !options.exact_only),
        suggestion: None,
        group_count: 0,
        exact: 0,
        near: 0,
        left_alone: 0,
        groups: Vec::new(),
    };
    // The others of each content that is near to another, or none for all.
    let mut places: Vec<Vec<Placed>> = Vec::new();
    if !options.exact_only {
        let of = contents.count;
        let compared = |done| progress(Progress::Compared { done, of });
        let nearest = match options.threshold {
            Some(_) => nearest(&contents, compared)?,
            None => {
                let (nearest, suggestion) = suggested(&contents, compared)?;
                found.threshold = suggestion.threshold;
                found.suggestion = Some(suggestion);
                nearest
            }
        };
        if let Some(threshold) = found.threshold {
            let mut near: Vec<u32> = (0..)
                .zip(&nearest)
                .filter(|&(_, &distance)| distance <= threshold)
                .map(|(content, _)| content)
                .collect();
            near.sort_by_key(|&content| Classes::preference(&classes.of(content as usize)[0]));
            let codes = contents.codes()?;
            let rows = near.iter().flat_map(|&content| codes.row(content as usize));
            let rows: Vec<f32> = rows.copied().collect();
            // No longer needed, and as large as all the rest together.
            contents.codes = Vec::new();
            places = group(
                Codes::new(&rows, contents.dims)?,
                contents.metric,
                threshold,
            );
            found.left_alone = places.iter().filter(|group| group.len() == 1).count();
            for placed in places.iter_mut().flatten() {
                placed.row = near[placed.row] as usize;
            }
        }
    }

    // Contents with nothing near them have only their copies.
    let mut placed = vec![false; contents.count];
    places.iter().flatten().for_each(|at| placed[at.row] = true);
    let alone = (0..contents.count).filter(|&row| !placed[row]);
    let alone = alone.map(|row| vec![Placed { row, distance: 0.0 }]);
    places.extend(alone.filter(|group| classes.of(group[0].row).len() > 1));
    places.retain(|group| group.len() > 1 || classes.of(group[0].row).len() > 1);

    let size =
        |group: &Vec<Placed>| -> usize { group.iter().map(|at| classes.of(at.row).len()).sum() };
    let id = |group: &Vec<Placed>| classes.of(group[0].row)[0].id;
    places.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| id(a).cmp(&id(b))));
    found.group_count = places.len();
    for group in &places {
        let copies = classes.of(group[0].row).len();
        found.exact += copies - 1;
        found.near += size(group) - copies;
    }
    places.truncate(options.limit.unwrap_or(usize::MAX));
    for group in &places {
        let group = described(gallery, &classes, group)?;
        // Points may have gone since they were read.
        if group.members.len() > 1 {
            found.groups.push(group);
        }
    }
    Ok(found)
}

/// The distance of each content to its nearest other; infinite where there is none.
fn nearest(contents: &Contents, progress: impl FnMut(usize)) -> Result<Vec<f32>, Error> {
    let mut nearest = Vec::with_capacity(contents.count);
    contents.neighbours(
        1,
        |_, others| nearest.push(others.first().map_or(f32::INFINITY, |other| other.distance)),
        progress,
    )?;
    Ok(nearest)
}

/// The same, and the threshold that the distances suggest.
fn suggested(
    contents: &Contents,
    progress: impl FnMut(usize),
) -> Result<(Vec<f32>, Suggestion), Error> {
    let Some(k) = threshold::looked_at(contents.count) else {
        let nothing = suggest(&vec![Nearness::NONE; contents.count], 0);
        return Ok((vec![f32::INFINITY; contents.count], nothing));
    };
    let mut nearness = Vec::with_capacity(contents.count);
    contents.neighbours(
        k,
        |_, others| {
            nearness.push(Nearness {
                first: others[0].distance,
                middle: others[k / 2 - 1].distance,
                last: others[k - 1].distance,
            });
        },
        progress,
    )?;
    let suggestion = suggest(&nearness, k);
    Ok((nearness.iter().map(|near| near.first).collect(), suggestion))
}

/// The points of each content, the one that would represent it first.
struct Classes {
    points: Vec<Known>,
    /// Where each content's points begin, and after them where the last one's end.
    starts: Vec<usize>,
}

impl Classes {
    fn new(mut points: Vec<Known>, contents: usize) -> Self {
        points.sort_unstable_by_key(|point| (point.content, Self::preference(point)));
        let starts = (0..=contents)
            .map(|content| points.partition_point(|point| (point.content as usize) < content));
        Self {
            starts: starts.collect(),
            points,
        }
    }

    /// Smaller for those that rather represent others.
    fn preference(point: &Known) -> impl Ord + use<> {
        (Reverse(point.pixels), Reverse(point.bytes), point.id)
    }

    fn of(&self, content: usize) -> &[Known] {
        &self.points[self.starts[content]..self.starts[content + 1]]
    }
}

/// A group with what is known of its members.
fn described(gallery: &dyn Gallery, classes: &Classes, placed: &[Placed]) -> Result<Group, Error> {
    let members: Vec<(Uuid, Placed)> = placed
        .iter()
        .flat_map(|&at| classes.of(at.row).iter().map(move |point| (point.id, at)))
        .collect();
    let content = placed[0].row;
    let mut group = Group {
        members: Vec::with_capacity(members.len()),
    };
    let mut locations = HashSet::new();
    for page in members.chunks(PAGE) {
        let ids: Vec<Uuid> = page.iter().map(|&(id, _)| id).collect();
        let places: HashMap<Uuid, Placed> = page.iter().copied().collect();
        for point in gallery.retrieve(&ids)? {
            let at = places[&point.id];
            let here_already = match &point.payload.location {
                Some(location) => !locations.insert(location.clone()),
                None => false,
            };
            group.members.push(Member {
                id: point.id,
                kind: match at.row == content {
                    _ if group.members.is_empty() => Kind::Representative,
                    _ if here_already => Kind::SameFile,
                    true => Kind::Exact,
                    false => Kind::Near,
                },
                distance: at.distance,
                payload: point.payload,
            });
        }
    }
    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(content: u32, pixels: u64, bytes: u64, id: u128) -> Known {
        Known {
            id: Uuid::from_u128(id),
            content,
            pixels,
            bytes,
        }
    }

    #[test]
    fn the_largest_represents() {
        let points = vec![
            known(1, 10, 5, 1),
            known(0, 10, 5, 2),
            known(0, 99, 4, 3),
            known(0, 99, 6, 5),
            known(0, 99, 6, 4),
        ];
        let classes = Classes::new(points, 2);
        let ids = |content| -> Vec<u128> {
            classes
                .of(content)
                .iter()
                .map(|point| point.id.as_u128())
                .collect()
        };
        assert_eq!(ids(0), [4, 5, 3, 2]);
        assert_eq!(ids(1), [1]);
    }
}
