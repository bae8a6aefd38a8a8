//! Which pictures may be in one group.

use std::collections::{BTreeMap, HashMap};

use lookalike_gallery::{Filter, Gallery, Payload, Point};
use serde::Serialize;
use uuid::Uuid;

use super::{Group, Kind};
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
        Ok(Self::Across(part(parts[0])?, part(parts[1])?))
    }
}

/// How two parts of a gallery overlap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overlap {
    /// The conditions of the two parts.
    pub parts: [String; 2],
    /// Pictures in each.
    pub points: [usize; 2],
    /// Those of each part that are in a group with another picture of the other part. Files that
    /// are gone do not count.
    pub copied: [usize; 2],
}

/// A part of the gallery whose pictures may be in groups together.
pub(super) type Compartment = u32;

/// Which compartment each point is in, of those that may be in groups.
#[derive(Default)]
pub(super) struct Compartments {
    scope: Scope,
    folders: HashMap<String, Compartment>,
    of: HashMap<Uuid, Compartment>,
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
                (one.matches(&point.payload) || other.matches(&point.payload)).then_some(0)
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

/// Whether a group has different pictures of both parts.
pub(super) fn is_across(group: &Group, one: &Filter, other: &Filter) -> bool {
    let mut copied = [0; 2];
    count(group, [one, other], &mut copied);
    copied[0] > 0
}

/// Adds the pictures of each part that have another of the other part in their group.
pub(super) fn count(group: &Group, parts: [&Filter; 2], copied: &mut [usize; 2]) {
    let there = group.members.iter().filter(|m| m.kind != Kind::Gone);
    let sides: Vec<[bool; 2]> = there
        .map(|member| parts.map(|part| part.matches(&member.payload)))
        .collect();
    let in_part = |part: usize| sides.iter().filter(|sides| sides[part]).count();
    let totals = [in_part(0), in_part(1)];
    for side in &sides {
        for part in 0..2 {
            let other = 1 - part;
            // One in both parts is no copy of itself.
            let others = totals[other] - usize::from(side[other]);
            copied[part] += usize::from(side[part] && others > 0);
        }
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
    use super::super::Member;
    use super::*;

    fn member(source: &str, kind: Kind) -> Member {
        Member {
            id: Uuid::nil(),
            kind,
            distance: 0.0,
            difference: None,
            turned: None,
            payload: Payload {
                source: source.to_owned(),
                ..Payload::default()
            },
        }
    }

    #[test]
    fn a_leak_is_two_pictures() {
        let [train, test] = ["train", "test"].map(Filter::of_source);
        let counted = |members: &[(&str, Kind)], parts: [&Filter; 2]| {
            let members = members.iter().map(|&(source, kind)| member(source, kind));
            let mut copied = [0; 2];
            count(
                &Group {
                    members: members.collect(),
                },
                parts,
                &mut copied,
            );
            copied
        };
        let (near, gone) = (Kind::Near, Kind::Gone);
        let both = [&train, &test];
        assert_eq!(
            counted(&[("train", near), ("test", near), ("test", near)], both),
            [1, 2]
        );
        assert_eq!(
            counted(&[("train", near), ("train", near), ("x", near)], both),
            [0, 0]
        );
        assert_eq!(counted(&[("train", near), ("test", gone)], both), [0, 0]);
        // A picture that is in both parts is a leak of another, and not of itself.
        let any: Filter = "width<9".parse().unwrap();
        assert_eq!(
            counted(&[("train", near), ("x", near)], [&train, &any]),
            [1, 1]
        );
        assert_eq!(counted(&[("train", near)], [&train, &any]), [0, 0]);
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
