//! How much of the truth an approximate index finds.

use lookalike_neighbours::Neighbour;

/// The share of true neighbours that were found, over all queries; 1 if there are none.
///
/// `truth` comes from an exact search and `found` from an index, for the same queries and the same
/// number of answers. An answer that is not in the truth but no farther than the farthest true
/// one is as true: among equals, which is kept is chance.
pub fn recall(truth: &[Vec<Neighbour>], found: &[Vec<Neighbour>]) -> f64 {
    let wanted: usize = truth.iter().map(Vec::len).sum();
    let right: usize = truth.iter().zip(found).map(|(t, f)| matches(t, f)).sum();
    match wanted {
        0 => 1.0,
        _ => right as f64 / wanted as f64,
    }
}

fn matches(truth: &[Neighbour], found: &[Neighbour]) -> usize {
    let Some(farthest) = truth.last().map(|neighbour| neighbour.distance) else {
        return 0;
    };
    let mut seen: Vec<&Neighbour> = found.iter().collect();
    seen.sort_unstable_by_key(|neighbour| neighbour.index);
    seen.dedup_by_key(|neighbour| neighbour.index);
    let true_index = |index| truth.iter().any(|neighbour| neighbour.index == index);
    let right = seen
        .iter()
        .filter(|answer| answer.distance <= farthest || true_index(answer.index));
    right.count().min(truth.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(pairs: &[(usize, f32)]) -> Vec<Neighbour> {
        let answer = |&(index, distance)| Neighbour { index, distance };
        pairs.iter().map(answer).collect()
    }

    #[test]
    fn counts_true_answers_and_ties_once() {
        let truth = [
            answers(&[(1, 0.1), (2, 0.5)]),
            answers(&[(3, 0.2), (4, 0.3)]),
        ];
        assert_eq!(recall(&truth, &truth), 1.0);
        // 9 ties with the farthest true neighbour; 8 is farther.
        let found = [
            answers(&[(1, 0.1), (9, 0.5)]),
            answers(&[(3, 0.2), (8, 0.4)]),
        ];
        assert_eq!(recall(&truth, &found), 0.75);
        let twice = [answers(&[(1, 0.1), (1, 0.1)]), Vec::new()];
        assert_eq!(recall(&truth, &twice), 0.25);
        assert_eq!(recall(&[], &[]), 1.0);
        assert_eq!(recall(&truth, &[]), 0.0);
    }
}
