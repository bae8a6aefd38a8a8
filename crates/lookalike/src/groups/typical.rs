//! Which members of a group are typical of it.

use lookalike_neighbours::{Codes, Metric, central, farthest_first};

/// Typical pictures of a group, at most.
const TYPICAL: usize = 8;

/// How typical each row is of its group; 0 for those in none.
///
/// `belonging` is the share of its links within the group; `neighbours` and their `distances` are
/// its nearest others.
pub(super) fn scores(
    groups: &[Option<u32>],
    belonging: &[f32],
    neighbours: &[Vec<u32>],
    distances: &[Vec<f32>],
) -> Vec<f32> {
    // The mean distance to those of the nearest that are in the same group.
    let reach = |row: usize| {
        let own = groups[row]?;
        let near = neighbours[row].iter().zip(&distances[row]);
        let fellows = near.filter(|&(&other, _)| groups[other as usize] == Some(own));
        let fellows: Vec<f64> = fellows.map(|(_, &distance)| f64::from(distance)).collect();
        (!fellows.is_empty()).then(|| fellows.iter().sum::<f64>() / fellows.len() as f64)
    };
    let reaches: Vec<Option<f64>> = (0..groups.len()).map(reach).collect();
    let count = groups
        .iter()
        .flatten()
        .max()
        .map_or(0, |&last| last as usize + 1);
    let mut of_groups: Vec<Vec<f64>> = vec![Vec::new(); count];
    for (group, reach) in groups.iter().zip(&reaches) {
        if let (Some(group), Some(reach)) = (group, reach) {
            of_groups[*group as usize].push(*reach);
        }
    }
    let medians: Vec<f64> = of_groups
        .iter_mut()
        .map(|reaches| median(reaches))
        .collect();
    let score = |row: usize| match (groups[row], reaches[row]) {
        (Some(group), Some(reach)) => {
            let usual = medians[group as usize];
            let near = if reach > usual { usual / reach } else { 1.0 };
            belonging[row] * near as f32
        }
        _ => 0.0,
    };
    (0..groups.len()).map(score).collect()
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    match values.is_empty() {
        true => 0.0,
        false => *values.select_nth_unstable_by(middle, f64::total_cmp).1,
    }
}

/// The rows of a group.
#[derive(Clone, Default)]
pub(super) struct Members {
    rows: Vec<u32>,
    scores: Vec<f32>,
}

impl Members {
    pub fn push(&mut self, row: u32, score: f32) {
        self.rows.push(row);
        self.scores.push(score);
    }

    /// A few of them: the one nearest to the middle of all, then always the one farthest from those
    /// chosen before, among the more typical half.
    pub fn typical(&self, codes: Codes, metric: Metric) -> Vec<u32> {
        let Some(first) = central(codes, metric, &self.rows) else {
            return Vec::new();
        };
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by(|&a, &b| self.scores[b].total_cmp(&self.scores[a]).then(a.cmp(&b)));
        order.truncate((self.rows.len() / 2).max(TYPICAL));
        let candidates: Vec<u32> = order.into_iter().map(|at| self.rows[at]).collect();
        farthest_first(codes, metric, &candidates, first, TYPICAL)
            .into_iter()
            .map(|(row, _)| row)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_apart_is_less_typical() {
        // On a line: 0, 1 and 2 together, 3 far away, 4 in another group.
        let neighbours = [vec![1, 2], vec![0, 2], vec![1, 0], vec![2, 4], vec![3, 2]];
        let distances = [
            vec![1.0, 2.0],
            vec![1.0, 1.0],
            vec![1.0, 2.0],
            vec![6.0, 9.0],
            vec![9.0, 9.0],
        ];
        let groups = [Some(0), Some(0), Some(0), Some(0), None];
        let found = scores(&groups, &[1.0, 1.0, 1.0, 0.5, 0.0], &neighbours, &distances);
        assert_eq!(found, [1.0, 1.0, 1.0, 0.125, 0.0]);
    }
}
