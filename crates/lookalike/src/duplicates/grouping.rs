//! From distances to groups that do not chain.

use lookalike_images::Turn;
use lookalike_neighbours::{Codes, Exact, Metric};
use rayon::prelude::*;

/// Pictures asked about at a time.
const LEADERS: usize = 1024;
/// Neighbours that each is asked for; whoever has more within the threshold is compared with all.
const NEIGHBOURS: usize = 16;

/// A picture in a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    /// Row of the codes.
    pub row: usize,
    /// Distance of its code to that of the group's representative; 0 for itself.
    pub distance: f32,
    /// How much it differs from the representative, where pictures were compared; see
    /// [`MAX_DIFFERENCE`](super::MAX_DIFFERENCE).
    pub difference: Option<f32>,
    /// How the representative must be turned to be this one.
    pub turn: Turn,
}

impl Placed {
    /// The representative of a group.
    pub(super) fn first(row: usize) -> Self {
        Self {
            row,
            distance: 0.0,
            difference: None,
            turn: Turn::None,
        }
    }

    fn near(row: usize, distance: f32) -> Self {
        Self {
            row,
            distance,
            difference: None,
            turn: Turn::None,
        }
    }
}

/// Groups codes around representatives: the first, of all in the order of their rows, takes every
/// other within
/// `threshold` of it; the first of the remaining takes of those that remain; and so on.
///
/// So every code is in exactly one group, comes first in it or is within the threshold of the one
/// that does, and the first ones are farther than the threshold from each other. A chain of
/// pictures, each near to the next, falls apart where it leads away from its representative;
/// joining whatever is near would make one group of it, whose ends may have nothing in common.
///
/// Groups come in the order of their representatives, the others in a group nearest first. Groups
/// of one are groups as well. Distances are exact.
pub fn group(codes: Codes, metric: Metric, threshold: f32) -> Vec<Vec<Placed>> {
    let count = codes.len();
    let mut taken = vec![false; count];
    let mut groups = Vec::new();
    let mut start = 0;
    let exact = Exact::new(codes, metric, count);
    while start < count {
        // As many as are certainly not taken yet.
        let mut block = Vec::new();
        while start < count && block.len() < LEADERS {
            if !taken[start] {
                block.push(start);
            }
            start += 1;
        }
        let rows: Vec<f32> = block
            .iter()
            .flat_map(|&row| codes.row(row))
            .copied()
            .collect();
        let queries = Codes::new(&rows, codes.dims()).expect("they are rows of codes");
        let found = exact.nearest(queries, NEIGHBOURS + 1);
        for (leader, mut others) in block.into_iter().zip(found) {
            if taken[leader] {
                continue;
            }
            taken[leader] = true;
            others.retain(|other| other.distance <= threshold);
            let mut members: Vec<Placed> = match others.len() > NEIGHBOURS {
                false => others
                    .into_iter()
                    .filter(|other| !taken[other.index])
                    .map(|other| Placed::near(other.index, other.distance))
                    .collect(),
                true => (0..count)
                    .into_par_iter()
                    .filter(|&row| !taken[row])
                    .map(|row| {
                        Placed::near(row, metric.distance(codes.row(row), codes.row(leader)))
                    })
                    .filter(|other| other.distance <= threshold)
                    .collect(),
            };
            members.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
            for member in &members {
                taken[member.row] = true;
            }
            members.insert(0, Placed::first(leader));
            groups.push(members);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grouped(codes: &[f32], dims: usize, threshold: f32) -> Vec<Vec<usize>> {
        let groups = group(
            Codes::new(codes, dims).unwrap(),
            Metric::Euclidean,
            threshold,
        );
        let rows = |group: &Vec<Placed>| group.iter().map(|placed| placed.row).collect();
        groups.iter().map(rows).collect()
    }

    #[test]
    fn chains_fall_apart() {
        let line: Vec<f32> = (0..7).map(|i| i as f32).collect();
        assert_eq!(
            grouped(&line, 1, 1.0),
            [vec![0, 1], vec![2, 3], vec![4, 5], vec![6]]
        );
        assert_eq!(grouped(&line, 1, 0.5).len(), 7);
        assert_eq!(grouped(&line, 1, 9.0).len(), 1);
        assert!(grouped(&[], 1, 9.0).is_empty());
    }

    #[test]
    fn a_crowd_larger_than_a_list_is_one_group() {
        let mut codes: Vec<f32> = (0..3000).map(|i| i as f32 * 1e-6).collect();
        codes.extend([5.0, 5.0, 9.0]);
        let groups = grouped(&codes, 1, 0.1);
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0], (0..3000).collect::<Vec<_>>());
        assert_eq!(groups[1], [3000, 3001]);
    }

    proptest! {
        /// A partition around representatives, as said, and the same as by comparing one with all.
        #[test]
        fn groups_partition(
            codes in prop::collection::vec(0u8..12, 0..120),
            threshold in 0u8..8,
            metric in prop::sample::select(vec![Metric::Euclidean, Metric::Manhattan, Metric::Cosine]),
        ) {
            let codes: Vec<f32> = codes.chunks_exact(2).flatten().map(|&v| f32::from(v)).collect();
            let codes = Codes::new(&codes, 2).unwrap();
            let threshold = match metric {
                Metric::Cosine => f32::from(threshold) / 100.0,
                _ => f32::from(threshold),
            };
            let groups = group(codes, metric, threshold);
            let mut rows: Vec<usize> = groups.iter().flatten().map(|placed| placed.row).collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..codes.len()).collect::<Vec<_>>());
            let between = |a: usize, b: usize| metric.distance(codes.row(a), codes.row(b));
            let mut taken = vec![false; codes.len()];
            for members in &groups {
                let leader = members[0].row;
                prop_assert_eq!(Some(leader), taken.iter().position(|&taken| !taken));
                for (at, member) in members.iter().enumerate() {
                    prop_assert!(at == 0 || member.distance == between(leader, member.row));
                    prop_assert!(member.distance <= threshold);
                    taken[member.row] = true;
                }
                for (row, &taken) in taken.iter().enumerate() {
                    prop_assert!(taken || between(leader, row) > threshold);
                }
            }
        }

        /// Which of two is the representative does not matter to whether they are together.
        #[test]
        fn two_are_together_either_way(a in prop::array::uniform3(-9i8..9), b in prop::array::uniform3(-9i8..9)) {
            let codes = |first: [i8; 3], second: [i8; 3]| -> Vec<f32> {
                first.into_iter().chain(second).map(f32::from).collect()
            };
            prop_assert_eq!(grouped(&codes(a, b), 3, 4.0), grouped(&codes(b, a), 3, 4.0));
        }
    }
}
