//! Which pictures may be in one group.

use std::collections::{BTreeMap, HashMap};

use lookalike_gallery::{Filter, Gallery, Payload, Point};
use serde::Serialize;
use uuid::Uuid;

use crate::{Error, find_source};

/// Which pictures may be in one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Scope {
    /// All of them.
    #[default]
    All,
    /// Those whose files lie in one folder.
    WithinFolder,
    /// Those that pass one of two filters, and only in groups with pictures of both: leaks between
    /// what one learns from and what one tests with.
    Across(Filter, Filter),
}

impl Scope {
    /// Across two parts of a gallery, each the name of a source or a condition (`split=test`).
    ///
    /// # Errors
    ///
    /// When one of them is neither, or the gallery cannot be read.
    pub fn across(gallery: &dyn Gallery, parts: [&str; 2]) -> Result<Self, Error> {
        let part = |text: &str| {
            if let Some(source) = find_source(gallery, text)? {
                return Ok(Filter::of_source(&source));
            }
            Filter::condition(text).map_err(|_| {
                Error::Unusable(format!(
                    "{text} is neither a source of the gallery nor a condition such as label=3"
                ))
            })
        };
        let (one, other) = (part(parts[0])?, part(parts[1])?);
        if one == other {
            return Err(Error::Unusable(format!(
                "cannot compare {} with itself; name two parts of the gallery",
                parts[0]
            )));
        }
        Ok(Self::Across(one, other))
    }
}

/// How two parts of a gallery overlap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overlap {
    /// The conditions of the two parts.
    pub parts: [String; 2],
    /// Pictures in each.
    pub points: [usize; 2],
    /// Those of each part that have a copy in the other part: another picture of the same content,
    /// or of one that is near, be they in one group or not. Files that are gone do not count.
    pub copied: [usize; 2],
}

/// A part of the gallery whose pictures may be in groups together.
pub(super) type Compartment = u32;

/// The compartment of what is in one of two parts.
pub(super) const ACROSS: Compartment = 0;

/// Which compartment each point is in, of those that may be in groups.
#[derive(Default)]
pub(super) struct Compartments {
    scope: Scope,
    folders: HashMap<String, Compartment>,
    of: HashMap<Uuid, Compartment>,
    /// In which of two parts each point is.
    sides: HashMap<Uuid, [bool; 2]>,
}

impl Compartments {
    pub fn new(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            ..Self::default()
        }
    }

    /// Notes where a point belongs.
    pub fn note(&mut self, point: &Point) {
        let compartment = match &self.scope {
            Scope::All => return,
            Scope::WithinFolder => {
                let next = self.folders.len() as Compartment;
                let folder = folder(&point.payload);
                Some(*self.folders.entry(folder).or_insert(next))
            }
            Scope::Across(one, other) => {
                let sides = [one, other].map(|part| part.matches(&point.payload));
                self.sides.insert(point.id, sides);
                (sides != [false; 2]).then_some(ACROSS)
            }
        };
        if let Some(compartment) = compartment {
            self.of.insert(point.id, compartment);
        }
    }

    /// Whether a point is in a compartment; none stands for all.
    pub fn has(&self, point: Uuid, within: Option<Compartment>) -> bool {
        within.is_none_or(|within| self.of.get(&point) == Some(&within))
    }

    /// In which of two parts a point is.
    pub fn sides(&self, point: Uuid) -> [bool; 2] {
        self.sides.get(&point).copied().unwrap_or_default()
    }

    /// The contents in each compartment; `points` gives the points of a content.
    pub fn divide<'a, P: Iterator<Item = Uuid>>(
        &self,
        contents: impl Iterator<Item = &'a u32>,
        points: impl Fn(u32) -> P,
    ) -> Vec<(Option<Compartment>, Vec<u32>)> {
        if self.scope == Scope::All {
            return vec![(None, contents.copied().collect())];
        }
        let mut divided: BTreeMap<Compartment, Vec<u32>> = BTreeMap::new();
        for &content in contents {
            for point in points(content) {
                let Some(&compartment) = self.of.get(&point) else {
                    continue;
                };
                let own = divided.entry(compartment).or_default();
                // Contents come one after another.
                if own.last() != Some(&content) {
                    own.push(content);
                }
            }
        }
        let divided = divided.into_iter();
        divided
            .map(|(compartment, contents)| (Some(compartment), contents))
            .collect()
    }
}

/// The folder that a picture lies in, in an archive as well.
fn folder(payload: &Payload) -> String {
    let place = match &payload.location {
        Some(location) => location.clone(),
        None => format!("{}/{}", payload.source, payload.key),
    };
    let end = place.rfind(['/', '!', std::path::MAIN_SEPARATOR]);
    place[..end.unwrap_or(0)].to_owned()
}

/// How many pictures there are in two parts: in one alone, and in both.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sides {
    only: [usize; 2],
    both: usize,
}

impl Sides {
    /// Counts a picture, by the parts that it is in.
    pub fn add(&mut self, parts: [bool; 2]) {
        match parts {
            [true, true] => self.both += 1,
            [true, false] => self.only[0] += 1,
            [false, true] => self.only[1] += 1,
            [false, false] => {}
        }
    }

    /// Whether each part has any.
    pub fn parts(&self) -> [bool; 2] {
        self.only.map(|only| only + self.both > 0)
    }

    /// The pictures of each part that have another one in the other part: one of these, or one of
    /// those beside them, if `beside` says that the part has such.
    pub fn copied(&self, beside: [bool; 2]) -> [usize; 2] {
        [0, 1].map(|part| {
            let other = 1 - part;
            let there = self.only[other] + self.both;
            let counted = |pictures, has_other| if has_other { pictures } else { 0 };
            // One in both parts is no copy of itself.
            counted(self.only[part], beside[other] || there > 0)
                + counted(self.both, beside[other] || there > 1)
        })
    }
}

/// How many pictures there are in each of two parts, of those that pass a filter.
pub(super) fn points(
    gallery: &dyn Gallery,
    filter: Option<&Filter>,
    parts: [&Filter; 2],
) -> Result<[usize; 2], Error> {
    let mut points = [0; 2];
    for (points, part) in points.iter_mut().zip(parts) {
        let both = Filter::all(filter.into_iter().chain([part]).cloned())?;
        *points = gallery.count(both.as_ref())?;
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_two_pictures() {
        let copied = |pictures: &[[bool; 2]], beside| {
            let mut sides = Sides::default();
            pictures.iter().for_each(|&parts| sides.add(parts));
            sides.copied(beside)
        };
        let (train, test, both) = ([true, false], [false, true], [true, true]);
        let none = [false; 2];
        assert_eq!(copied(&[train, test, test], none), [1, 2]);
        assert_eq!(copied(&[train, train, none], none), [0, 0]);
        // A picture that is in both parts is a leak of another, and not of itself.
        assert_eq!(copied(&[train, both], none), [1, 1]);
        assert_eq!(copied(&[both], none), [0, 0]);
        assert_eq!(copied(&[both, both], none), [2, 2]);
        // What is near counts where it is in the other part.
        assert_eq!(copied(&[train, train], test), [2, 0]);
        assert_eq!(copied(&[train, train], train), [0, 0]);
        assert_eq!(copied(&[both], train), [0, 1]);
    }

    #[test]
    fn folders_are_those_of_files_and_of_members() {
        let at = |location: &str| {
            folder(&Payload {
                location: Some(location.to_owned()),
                ..Payload::default()
            })
        };
        assert_eq!(at("/a/b/c.jpg"), "/a/b");
        assert_eq!(at("/a/b.zip!c.jpg"), "/a/b.zip");
        assert_eq!(at("/a/b.zip!c/d.jpg"), "/a/b.zip!c");
    }
}
