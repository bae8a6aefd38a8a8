//! The points of each content, and the files behind them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use lookalike_gallery::Gallery;
use lookalike_images::Turn;
use uuid::Uuid;

use super::scope::{Compartment, Compartments, Sides};
use super::{Group, Kind, Member, Placed, Scope};
use crate::Error;
use crate::contents::Known;
use crate::presence::{FileId, Presence, Presences};

/// Points whose payloads are read at a time.
const PAGE: usize = 1000;

/// The points of each content, the one that would represent it first.
pub(super) struct Classes {
    pub points: Vec<Known>,
    /// Where each content's points begin, and after them where the last one's end.
    starts: Vec<usize>,
    /// What is known of the files of those points that may be in groups.
    files: HashMap<Uuid, Presence>,
    /// Where those are that cannot be looked at.
    places: HashMap<Uuid, String>,
    compartments: Compartments,
}

/// Contents in a group, the one that represents the others first, and the compartment whose points
/// are meant.
pub(super) struct Gathered {
    pub placed: Vec<Placed>,
    pub within: Option<Compartment>,
}

impl Classes {
    pub fn new(mut points: Vec<Known>, contents: usize, scope: &Scope) -> Self {
        points.sort_unstable_by_key(|point| (point.content, Self::rank(point)));
        let starts = (0..=contents)
            .map(|content| points.partition_point(|point| (point.content as usize) < content));
        Self {
            starts: starts.collect(),
            points,
            files: HashMap::new(),
            places: HashMap::new(),
            compartments: Compartments::new(scope),
        }
    }

    /// Smaller for those that rather represent others, as far as their pictures go.
    fn rank(point: &Known) -> (Reverse<u64>, Reverse<u64>, Uuid) {
        (Reverse(point.pixels), Reverse(point.bytes), point.id)
    }

    /// The same, with what is known of files: what is gone comes last, and links come after files.
    pub fn preference(&self, point: &Known) -> impl Ord + use<> {
        let linked = matches!(self.files.get(&point.id), Some(Presence::Here(file)) if file.linked);
        let (pixels, bytes, id) = Self::rank(point);
        (self.is_gone(point), pixels, bytes, linked, id)
    }

    fn is_gone(&self, point: &Known) -> bool {
        self.files.get(&point.id) == Some(&Presence::Gone)
    }

    /// Looks at the files of these contents' points, and puts the points in order anew.
    pub fn look_at<'a>(
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
                self.compartments.note(&point);
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

    pub fn of(&self, content: usize) -> &[Known] {
        &self.points[self.starts[content]..self.starts[content + 1]]
    }

    /// The points of a content in a compartment, the one that would represent it there first.
    pub fn among(
        &self,
        content: usize,
        within: Option<Compartment>,
    ) -> impl Iterator<Item = &Known> {
        let points = self.of(content).iter();
        points.filter(move |point| self.compartments.has(point.id, within))
    }

    /// These contents in each compartment that has points of them.
    pub fn divide<'a>(
        &self,
        contents: impl Iterator<Item = &'a u32>,
    ) -> Vec<(Option<Compartment>, Vec<u32>)> {
        let points = |content: u32| self.of(content as usize).iter().map(|point| point.id);
        self.compartments.divide(contents, points)
    }

    /// Contents in the order in which they would represent.
    pub fn in_order(
        &self,
        contents: impl IntoIterator<Item = u32>,
        within: Option<Compartment>,
    ) -> Vec<u32> {
        let mut order: Vec<u32> = contents.into_iter().collect();
        let first = |content: u32| self.among(content as usize, within).next();
        order.sort_by_key(|&content| first(content).map(|point| self.preference(point)));
        order
    }

    /// How many pictures of some contents there are in each of two parts; files that are gone do
    /// not count.
    pub fn sides(&self, contents: impl IntoIterator<Item = usize>) -> Sides {
        let mut sides = Sides::default();
        let points = contents.into_iter().flat_map(|content| self.of(content));
        for point in points.filter(|point| !self.is_gone(point)) {
            sides.add(self.compartments.sides(point.id));
        }
        sides
    }

    /// How many points a group has.
    pub fn size(&self, group: &Gathered) -> usize {
        let counts = group.placed.iter();
        counts
            .map(|at| self.among(at.row, group.within).count())
            .sum()
    }

    /// The id of the point that represents a group, as far as its pictures go.
    pub fn first(&self, group: &Gathered) -> Option<Uuid> {
        let row = group.placed.first()?.row;
        Some(self.among(row, group.within).next()?.id)
    }

    /// How many points of a group have a file.
    pub fn here(&self, group: &Gathered) -> usize {
        let points = group.placed.iter();
        let points = points.flat_map(|at| self.among(at.row, group.within));
        points.filter(|point| !self.is_gone(point)).count()
    }

    /// The points of a group, the representative first, and why each is in it.
    pub fn members(&self, group: &Gathered) -> Vec<(Uuid, Placed, Kind)> {
        let content = group.placed.first().map(|at| at.row);
        let points = group.placed.iter().flat_map(|&at| {
            self.among(at.row, group.within)
                .map(move |point| (point, at))
        });
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
pub(super) fn described(
    gallery: &dyn Gallery,
    classes: &Classes,
    gathered: &Gathered,
) -> Result<Group, Error> {
    let members = classes.members(gathered);
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
                turned: Some(at.turn)
                    .filter(|&turn| kind == Kind::Near && turn != Turn::None)
                    .map(Turn::name),
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
            label: crate::contents::NO_LABEL,
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
        let classes = Classes::new(points, 2, &Scope::All);
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
