//! Pictures that a gallery holds more than once: byte for byte, or nearly.
//!
//! *Exact* duplicates have the same content (BLAKE3). *Near* ones are told in one of two ways
//! ([`Measure`]): pictures whose codes are near are compared themselves, small, by the thumbnails
//! that the gallery keeps; or, where a threshold is given or there are no thumbnails, those with
//! codes within a threshold of each other, given or [suggested](suggest) by the data, are near.
//!
//! Each group has a representative, the largest picture by pixels, then by bytes, then the one with
//! the lowest id, and [every other](group) is near to it: nothing is in a group because it is like
//! something that is like something. What that leaves alone beside a group is counted
//! ([`Duplicates::left_alone`]).
//!
//! Nothing is ever deleted or changed: this is a report. Two points may also be one and the same
//! file, under two names or indexed under two sources; such members are [marked](Kind::SameFile),
//! for deleting one would delete both. Files that are not there any more are [marked](Kind::Gone)
//! as well: they never represent a group, and a group of which only one file is left is not
//! reported.
//!
//! All different contents are compared with each other, exactly, so time grows with the square of
//! their number: see `docs/quality.md`. Memory holds their codes, and some tens of bytes a point.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use lookalike_gallery::{Filter, Gallery, Payload};
use lookalike_neighbours::{Codes, Metric};
use serde::Serialize;
use uuid::Uuid;

use crate::contents::{Contents, Known};
use crate::presence::{FileId, Presence, Presences};
use crate::{Error, Progress};
use pictures::Pictures;

mod grouping;
mod pictures;
mod threshold;

pub use grouping::{Placed, group};
pub use pictures::MAX_DIFFERENCE;
pub use threshold::{Nearness, Suggestion, suggest};

/// Points whose payloads are read at a time.
const PAGE: usize = 1000;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuplicateOptions {
    /// The largest distance of the code of a near duplicate from that of its representative. None:
    /// pictures are compared themselves or, without thumbnails, by a threshold as
    /// [suggested](suggest).
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
    /// It is nearly the representative.
    Near,
    /// It is the file of an earlier member of the group: a link, or one file that was indexed
    /// twice.
    SameFile,
    /// Its file is not there any more.
    Gone,
}

impl Kind {
    /// The name in JSON and CSV: `representative`, `exact`, `near`, `same-file`, `gone`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Representative => "representative",
            Self::Exact => "exact",
            Self::Near => "near",
            Self::SameFile => "same-file",
            Self::Gone => "gone",
        }
    }
}

/// How near duplicates were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Pictures were compared with each other, at 32x32 pixels: a near duplicate differs by at most
    /// [`MAX_DIFFERENCE`], and much less than what else its code is near to.
    Pictures,
    /// By the distance between codes alone.
    Codes,
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
    /// How much a near duplicate differs from the representative, where pictures were compared: 1
    /// less the correlation of the two, and half of how their colours differ. 0 is the same
    /// picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f32>,
    /// What is known about it: source, key, location, size.
    #[serde(flatten)]
    pub payload: Payload,
}

/// Pictures that are one, or nearly: the representative, its exact copies, then the others, nearest
/// first.
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
    /// What codes were compared by: the gallery's metric, or cosine where that is the inner
    /// product, of which a picture with itself says nothing.
    pub metric: Metric,
    /// How near duplicates were told; none if only exact ones were looked for.
    pub measure: Option<Measure>,
    /// The threshold for near duplicates by their codes; none if they were told otherwise, or no
    /// near ones stand out.
    pub threshold: Option<f32>,
    /// How the threshold was found; none if it was given, or there is none to be found.
    pub suggestion: Option<Suggestion>,
    /// Pictures that were compared with no other, because the gallery has no thumbnail of them.
    pub not_compared: usize,
    /// How many groups there are.
    pub group_count: usize,
    /// Files in groups, besides the representatives, of the representative's content.
    pub exact: usize,
    /// Files in groups, besides the representatives, of other content.
    pub near: usize,
    /// Points in groups that are the file of another member under a second name.
    pub same_file: usize,
    /// Points that would be in groups, and whose files are not there any more.
    pub gone: usize,
    /// Contents near to some picture in a group, but not to its representative, and in no group.
    pub left_alone: usize,
    /// The groups, the largest first (of equals, that of the lowest id of a representative), as
    /// many as asked for.
    pub groups: Vec<Group>,
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
    if options.exact_only && options.threshold.is_some() {
        return Err(Error::Unusable(
            "cannot look for exact duplicates within a distance: give a threshold, or ask for exact ones only".to_owned(),
        ));
    }
    let filter = options.filter.as_ref();
    let mut contents = Contents::read(gallery, filter, !options.exact_only, &mut progress)?;
    let mut classes = Classes::new(std::mem::take(&mut contents.points), contents.count);
    let presences = Presences::of(&gallery.describe()?);
    let mut found = Duplicates {
        points: classes.points.len(),
        contents: contents.count,
        metric: contents.metric,
        measure: None,
        threshold: options.threshold.filter(|_| !options.exact_only),
        suggestion: None,
        not_compared: 0,
        group_count: 0,
        exact: 0,
        near: 0,
        same_file: 0,
        gone: 0,
        left_alone: 0,
        groups: Vec::new(),
    };
    let copied = |classes: &Classes| -> Vec<u32> {
        let copied = |content: &u32| classes.of(*content as usize).len() > 1;
        (0..contents.count as u32).filter(copied).collect()
    };
    let mut copied = copied(&classes);
    // The others of each content that is near to another, or none for all.
    let mut places: Vec<Vec<Placed>> = Vec::new();
    if !options.exact_only {
        let near = match options.threshold {
            Some(threshold) => Near::within(threshold, &contents, &mut progress)?,
            None => Near::told(gallery, &contents, &classes, &mut found, &mut progress)?,
        };
        found.measure = Some(near.measure());
        let mut order = near.contents();
        copied.extend(&order);
        classes.look_at(gallery, &presences, &copied)?;
        order.sort_by_key(|&content| classes.preference(&classes.of(content as usize)[0]));
        places = near.group(&order, &contents)?;
        found.left_alone = places.iter().filter(|group| group.len() == 1).count();
    } else {
        classes.look_at(gallery, &presences, &copied)?;
    }
    // Contents with nothing near them have only their copies.
    let mut placed = vec![false; contents.count];
    places.iter().flatten().for_each(|at| placed[at.row] = true);
    let alone = (0..contents.count).filter(|&row| !placed[row]);
    let alone = alone.map(|row| vec![Placed::first(row)]);
    places.extend(alone.filter(|group| classes.of(group[0].row).len() > 1));
    places.retain(|group| group.len() > 1 || classes.of(group[0].row).len() > 1);
    let rows = |group: &Vec<Placed>| group.iter().map(|at| at.row).collect::<Vec<_>>();
    found.gone = places
        .iter()
        .flat_map(rows)
        .map(|row| classes.of(row).len() - classes.here(row))
        .sum();
    // One that is left of many is a copy of nothing.
    places.retain(|group| group.iter().map(|at| classes.here(at.row)).sum::<usize>() > 1);

    let size =
        |group: &Vec<Placed>| -> usize { group.iter().map(|at| classes.of(at.row).len()).sum() };
    let id = |group: &Vec<Placed>| classes.of(group[0].row)[0].id;
    places.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| id(a).cmp(&id(b))));
    found.group_count = places.len();
    for group in &places {
        for (_, _, kind) in classes.members(group) {
            match kind {
                Kind::Exact => found.exact += 1,
                Kind::Near => found.near += 1,
                Kind::SameFile => found.same_file += 1,
                Kind::Representative | Kind::Gone => {}
            }
        }
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

/// What is near to another, in one of the two ways.
enum Near {
    Pictures(Box<Pictures>),
    /// By codes, within a threshold: the distance of each content to its nearest other.
    Codes {
        nearest: Vec<f32>,
        threshold: Option<f32>,
    },
}

impl Near {
    /// What has codes within a threshold of each other.
    fn within(
        threshold: f32,
        contents: &Contents,
        progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        Ok(Self::Codes {
            nearest: nearest(contents, progress)?,
            threshold: Some(threshold),
        })
    }

    /// What is told to be near without a threshold, and notes in `found` how.
    fn told(
        gallery: &dyn Gallery,
        contents: &Contents,
        classes: &Classes,
        found: &mut Duplicates,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        let points = (0..contents.count).map(|content| classes.of(content)[0].id);
        let points: Vec<Uuid> = points.collect();
        if let Some(pictures) = Pictures::compare(gallery, contents, &points, &mut progress)? {
            found.not_compared = pictures.missing();
            return Ok(Self::Pictures(Box::new(pictures)));
        }
        let (nearest, suggestion) = suggested(contents, progress)?;
        let threshold = suggestion.threshold;
        found.threshold = threshold;
        found.suggestion = Some(suggestion);
        Ok(Self::Codes { nearest, threshold })
    }

    fn measure(&self) -> Measure {
        match self {
            Self::Pictures(_) => Measure::Pictures,
            Self::Codes { .. } => Measure::Codes,
        }
    }

    /// The contents that are near to another.
    fn contents(&self) -> Vec<u32> {
        match self {
            Self::Pictures(pictures) => pictures.copied().collect(),
            Self::Codes { nearest, threshold } => (0..)
                .zip(nearest)
                .filter(|&(_, distance)| threshold.is_some_and(|within| *distance <= within))
                .map(|(content, _)| content)
                .collect(),
        }
    }

    /// Groups these contents, which come in the order in which they would represent.
    fn group(self, order: &[u32], contents: &Contents) -> Result<Vec<Vec<Placed>>, Error> {
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

/// The distance of each content to its nearest other; infinite where there is none.
fn nearest(contents: &Contents, progress: impl FnMut(Progress)) -> Result<Vec<f32>, Error> {
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
    progress: impl FnMut(Progress),
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
    /// What is known of the files of those points that may be in groups.
    files: HashMap<Uuid, Presence>,
    /// Where those are that cannot be looked at.
    places: HashMap<Uuid, String>,
}

impl Classes {
    fn new(mut points: Vec<Known>, contents: usize) -> Self {
        points.sort_unstable_by_key(|point| (point.content, Self::rank(point)));
        let starts = (0..=contents)
            .map(|content| points.partition_point(|point| (point.content as usize) < content));
        Self {
            starts: starts.collect(),
            points,
            files: HashMap::new(),
            places: HashMap::new(),
        }
    }

    /// Smaller for those that rather represent others, as far as their pictures go.
    fn rank(point: &Known) -> (Reverse<u64>, Reverse<u64>, Uuid) {
        (Reverse(point.pixels), Reverse(point.bytes), point.id)
    }

    /// The same, with what is known of files: what is gone comes last, and links come after files.
    fn preference(&self, point: &Known) -> impl Ord + use<> {
        let linked = matches!(self.files.get(&point.id), Some(Presence::Here(file)) if file.linked);
        let (pixels, bytes, id) = Self::rank(point);
        (self.is_gone(point), pixels, bytes, linked, id)
    }

    fn is_gone(&self, point: &Known) -> bool {
        self.files.get(&point.id) == Some(&Presence::Gone)
    }

    /// Looks at the files of these contents' points, and puts the points in order anew.
    fn look_at<'a>(
        &mut self,
        gallery: &dyn Gallery,
        presences: &Presences,
        contents: impl IntoIterator<Item = &'a u32>,
    ) -> Result<(), Error> {
        let contents: BTreeSet<usize> = contents.into_iter().map(|&row| row as usize).collect();
        let ids: Vec<Uuid> = contents
            .iter()
            .flat_map(|&row| self.of(row).iter().map(|point| point.id))
            .collect();
        for page in ids.chunks(PAGE) {
            for point in gallery.retrieve(page)? {
                let presence = presences.look(&point.payload);
                if let (Presence::Unknown, Some(place)) = (&presence, point.payload.location) {
                    self.places.insert(point.id, place);
                }
                self.files.insert(point.id, presence);
            }
        }
        for row in contents {
            let mut points = self.of(row).to_vec();
            points.sort_by_key(|point| self.preference(point));
            self.points[self.starts[row]..self.starts[row + 1]].copy_from_slice(&points);
        }
        Ok(())
    }

    fn of(&self, content: usize) -> &[Known] {
        &self.points[self.starts[content]..self.starts[content + 1]]
    }

    /// How many points of a content have a file.
    fn here(&self, content: usize) -> usize {
        self.of(content)
            .iter()
            .filter(|point| !self.is_gone(point))
            .count()
    }

    /// The points of a group, the representative first, and why each is in it.
    fn members(&self, placed: &[Placed]) -> Vec<(Uuid, Placed, Kind)> {
        let content = placed.first().map(|at| at.row);
        let points = placed
            .iter()
            .flat_map(|&at| self.of(at.row).iter().map(move |point| (point, at)));
        let mut seen = HashSet::new();
        let mut members: Vec<_> = points
            .map(|(point, at)| {
                let first = seen.is_empty();
                // What cannot be looked at is told by its place.
                let place = self.places.get(&point.id).cloned();
                let unknown = (
                    FileId::default(),
                    place.unwrap_or_else(|| point.id.to_string()),
                );
                let kind = match self.files.get(&point.id) {
                    Some(Presence::Gone) => Kind::Gone,
                    file => {
                        let file = match file {
                            Some(Presence::Here(file)) => file.file.clone(),
                            _ => unknown,
                        };
                        match seen.insert(file) {
                            false => Kind::SameFile,
                            true if first => Kind::Representative,
                            true if Some(at.row) == content => Kind::Exact,
                            true => Kind::Near,
                        }
                    }
                };
                (point.id, at, kind)
            })
            .collect();
        // Points whose files are gone are told last.
        members.sort_by_key(|(_, _, kind)| *kind == Kind::Gone);
        members
    }
}

/// A group with what is known of its members.
fn described(gallery: &dyn Gallery, classes: &Classes, placed: &[Placed]) -> Result<Group, Error> {
    let members = classes.members(placed);
    let mut group = Group {
        members: Vec::with_capacity(members.len()),
    };
    for page in members.chunks(PAGE) {
        let ids: Vec<Uuid> = page.iter().map(|(id, _, _)| *id).collect();
        let kinds: HashMap<Uuid, (Placed, Kind)> = page
            .iter()
            .map(|&(id, at, kind)| (id, (at, kind)))
            .collect();
        for point in gallery.retrieve(&ids)? {
            let (at, kind) = kinds[&point.id];
            group.members.push(Member {
                id: point.id,
                kind,
                distance: at.distance,
                difference: at.difference.filter(|_| kind == Kind::Near),
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
