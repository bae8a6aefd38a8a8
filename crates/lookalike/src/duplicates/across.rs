//! Copies that lie on both sides of two parts of a gallery.

use std::collections::{BTreeMap, BTreeSet};

use super::classes::{Classes, Gathered};
use super::near::Near;
use super::scope::{ACROSS, Sides};
use crate::Error;
use crate::contents::Contents;

/// Which of two parts have pictures of each content.
pub(super) type Parts = BTreeMap<u32, [bool; 2]>;

/// What two parts have in common.
pub(super) struct Across {
    /// The groups with pictures of both parts.
    pub groups: Vec<Gathered>,
    /// The pictures of each part that have a copy in the other.
    pub copied: [usize; 2],
}

impl Across {
    /// Of these contents and their groups. Pictures are counted by what each is near to, for a
    /// representative may take one half of a pair and leave the other alone.
    pub fn of(
        contents: &Contents,
        classes: &Classes,
        near: Option<&Near>,
        copied: &BTreeSet<u32>,
        mut groups: Vec<Gathered>,
    ) -> Result<Self, Error> {
        let sides = copied
            .iter()
            .map(|&content| (content, classes.sides([content as usize])));
        let sides: BTreeMap<u32, Sides> = sides.collect();
        let parts: Parts = sides
            .iter()
            .map(|(&content, sides)| (content, sides.parts()))
            .collect();
        let mut beside = match near {
            Some(near) => near.beside(&parts, contents)?,
            None => Parts::new(),
        };
        // A representative with many copies was compared with more than its neighbours.
        for group in &groups {
            let rows: Vec<u32> = group.placed.iter().map(|at| at.row as u32).collect();
            for &row in &rows[1..] {
                for (one, other) in [(rows[0], row), (row, rows[0])] {
                    add(beside.entry(one).or_default(), parts[&other]);
                }
            }
        }
        let mut total = [0; 2];
        let mut rest = BTreeSet::new();
        for (&content, sides) in &sides {
            let near = beside.get(&content).copied().unwrap_or_default();
            let own = sides.copied(near);
            total = [total[0] + own[0], total[1] + own[1]];
            if own != [0, 0] {
                rest.insert(content);
            }
        }
        let is_across = |group: &Gathered| {
            let rows = group.placed.iter().map(|at| at.row);
            classes.sides(rows).copied([false; 2]) != [0, 0]
        };
        groups.retain(is_across);
        for at in groups.iter().flat_map(|group| &group.placed) {
            rest.remove(&(at.row as u32));
        }
        // What was left alone, or went with a representative that has no copy in the other part,
        // is grouped once more.
        if let Some(near) = near {
            let order = classes.in_order(rest, Some(ACROSS));
            let within = Some(ACROSS);
            let placed = near.group(&order, contents)?.into_iter();
            let more = placed.map(|placed| Gathered { placed, within });
            groups.extend(more.filter(is_across));
        }
        Ok(Self {
            groups,
            copied: total,
        })
    }
}

/// Adds the parts that have pictures of one content to those of others.
pub(super) fn add(to: &mut [bool; 2], parts: [bool; 2]) {
    *to = [to[0] || parts[0], to[1] || parts[1]];
}

#[cfg(test)]
mod tests {
    use lookalike_gallery::{
        CodeSpec, EmbeddedGallery, Filter, Gallery, GalleryOptions, Payload, Point,
    };
    use lookalike_neighbours::Metric;
    use uuid::Uuid;

    use super::super::{DuplicateOptions, Scope, find};

    /// The pictures of each part that have a copy in the other, and the numbers of those in each
    /// group, from 1. A picture is near to those beside it on a line; the first are the largest.
    fn found(pictures: &[(&str, u8)]) -> ([usize; 2], Vec<Vec<u128>>) {
        let folder = tempfile::tempdir().unwrap();
        let gallery = EmbeddedGallery::create(
            folder.path().join("g"),
            &CodeSpec::new(Metric::Euclidean, 2, b"a model"),
            &GalleryOptions::new(),
        )
        .unwrap();
        let points = pictures.iter().zip(1_u8..);
        let points: Vec<Point> = points
            .map(|(&(source, place), number)| Point {
                id: Uuid::from_u128(u128::from(number)),
                code: vec![f32::from(place), 1.0],
                payload: Payload {
                    source: source.to_owned(),
                    key: number.to_string(),
                    width: 100 - u32::from(number),
                    height: 1,
                    blake3: format!("content {place}"),
                    ..Payload::default()
                },
            })
            .collect();
        gallery.upsert(&points).unwrap();
        let options = DuplicateOptions {
            threshold: Some(1.5),
            scope: Scope::Across(Filter::of_source("train"), Filter::of_source("test")),
            ..DuplicateOptions::default()
        };
        let found = find(&gallery, &options, |_| {}).unwrap();
        let numbers = found.groups.iter().map(|group| {
            let members = group.members.iter();
            members.map(|member| member.id.as_u128()).collect()
        });
        (found.overlap.unwrap().copied, numbers.collect())
    }

    #[test]
    fn a_copy_of_what_another_takes_is_a_leak() {
        // The first takes the second, of which alone the third is a copy.
        let chain = [("train", 0), ("train", 1), ("test", 2)];
        assert_eq!(found(&chain), ([1, 1], vec![vec![2, 3]]));
        // Where the second stays in a group, the third is counted nevertheless.
        let chain = [("train", 0), ("train", 1), ("test", 2), ("test", 0)];
        let (copied, groups) = found(&chain);
        assert_eq!(copied, [2, 2]);
        assert_eq!(groups, [[1, 4, 2]]);
    }

    #[test]
    fn copies_within_one_part_are_no_leaks() {
        let within = [
            ("train", 0),
            ("train", 1),
            ("train", 1),
            ("test", 5),
            ("x", 2),
        ];
        assert_eq!(found(&within), ([0, 0], Vec::new()));
        let both = [("train", 0), ("test", 0), ("test", 0), ("train", 9)];
        assert_eq!(found(&both), ([1, 2], vec![vec![1, 2, 3]]));
    }
}
