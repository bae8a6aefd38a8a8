//! From how near to each other pictures are, to how near is suspicious.

use serde::Serialize;

/// The neighbour whose distance is a picture's surroundings, if there are pictures enough.
pub(super) const SURROUNDINGS: usize = 16;
/// Of fewer pictures nothing is suggested.
const MIN_PICTURES: usize = 40;
/// Of the pictures said to stand out, the share that would do so by chance in a collection without
/// near duplicates.
const CHANCE: f64 = 0.01;
/// Of the pictures with a neighbour within the threshold, the share that need not stand out.
const ORDINARY: f64 = 0.05;

/// How near a picture's nearest others are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearness {
    /// Distance of the nearest.
    pub first: f32,
    /// Distance of the middle one of those that are looked at.
    pub middle: f32,
    /// Distance of the last one that is looked at: the size of its surroundings.
    pub last: f32,
}

impl Nearness {
    /// Of a picture that nothing was looked up for.
    pub(super) const NONE: Self = Self {
        first: f32::INFINITY,
        middle: f32::INFINITY,
        last: f32::INFINITY,
    };
}

/// A threshold found in the data, and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The largest distance at which pictures are near duplicates; none if no near duplicates stand
    /// out.
    pub threshold: Option<f32>,
    /// Different pictures that were compared.
    pub pictures: usize,
    /// Pictures whose nearest other is much nearer than their surroundings lead to expect.
    pub standing_out: usize,
    /// Neighbours that count as surroundings.
    pub surroundings: usize,
    /// In how many directions pictures differ, as far as distances tell; none if they do not.
    pub dimension: Option<f64>,
    /// The median distance to the nearest other.
    pub usual: Option<f32>,
    /// The result in words.
    pub reason: String,
}

/// How many neighbours of each picture are looked at to suggest a threshold for `pictures`
/// pictures; none if they are too few for one.
pub(super) fn looked_at(pictures: usize) -> Option<usize> {
    (pictures >= MIN_PICTURES).then_some(SURROUNDINGS)
}

/// Suggests a threshold for near duplicates, or says that none stand out.
///
/// A picture is compared with its own surroundings, because collections are dense in some places
/// (handwritten ones) and thin in others (eights), so that no distance is near everywhere. Where
/// pictures lie by chance, the number within a distance `r` grows as `r^m`, and of a picture's `k`
/// nearest, the first at `d1` and the last at `dk`, the ratio `d1 / dk` falls below `x` with
/// probability `1 - (1 - x^m)^(k - 1)`. The dimension `m` is estimated from the middle neighbour,
/// `m = ln(1/2) / ln median(d(k/2) / dk)`, which near duplicates do not touch unless a picture has
/// more than `k/2`; the smallest twentieth of `dk` count as the twentieth's quantile, so that
/// larger bursts are seen as well. So each picture gets the probability that its nearest is that
/// near by chance, and those stand out that pass the procedure of Benjamini and Hochberg (1995) at
/// one in a hundred: in a collection without near duplicates none do, except in one of a hundred
/// such collections.
///
/// The threshold is the largest distance of a picture standing out to its nearest at which 19 in 20
/// of all pictures with a neighbour that near stand out. Where standing out and ordinary pictures
/// are mixed at all distances, there is none.
pub fn suggest(nearness: &[Nearness], surroundings: usize) -> Suggestion {
    let pictures = nearness.len();
    let mut suggestion = Suggestion {
        threshold: None,
        pictures,
        standing_out: 0,
        surroundings,
        dimension: None,
        usual: quantile(nearness.iter().map(|near| near.first), 0.5)
            .filter(|usual| usual.is_finite()),
        reason: String::new(),
    };
    if pictures < MIN_PICTURES || surroundings < 4 {
        suggestion.reason = format!(
            "{pictures} different pictures are too few to tell what is remarkably near ({MIN_PICTURES} are needed)"
        );
        return suggestion;
    }
    let floor = quantile(nearness.iter().map(|near| near.last), 0.05).unwrap_or(0.0);
    let ratio = |distance: f32, near: &Nearness| match near.last.max(floor) {
        0.0 => 1.0,
        last => f64::from(distance / last).clamp(0.0, 1.0),
    };
    let halfway = nearness.iter().map(|near| match near.last > 0.0 {
        true => near.middle / near.last,
        false => 1.0,
    });
    let halfway = f64::from(quantile(halfway, 0.5).unwrap_or(1.0));
    // Nothing (all are alike) or no growth at all (copies by the dozen of everything).
    if !(1e-6..1.0 - 1e-6).contains(&halfway) {
        suggestion.reason =
            "most pictures have many others at the very same distance, so that none is unusually near".into();
        return suggestion;
    }
    let dimension = 0.5_f64.ln() / halfway.ln();
    suggestion.dimension = Some(dimension);
    let others = (surroundings - 1) as f64;
    let chance = |ratio: f64| -(others * (-ratio.powf(dimension)).ln_1p()).exp_m1();

    let mut by_chance: Vec<(f64, f32)> = nearness
        .iter()
        .map(|near| (chance(ratio(near.first, near)), near.first))
        .collect();
    by_chance.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let passes = |at: usize| by_chance[at].0 <= CHANCE * (at + 1) as f64 / pictures as f64;
    let standing_out = (0..pictures)
        .rev()
        .find(|&at| passes(at))
        .map_or(0, |at| at + 1);
    suggestion.standing_out = standing_out;
    if standing_out == 0 {
        suggestion.reason =
            "no near duplicates stand out: no picture is nearer to another than its surroundings lead to expect".into();
        return suggestion;
    }

    let mut by_distance: Vec<(f32, bool)> = by_chance
        .iter()
        .enumerate()
        .map(|(at, &(_, first))| (first, at < standing_out))
        .collect();
    by_distance.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut within, mut remarkable) = (0, 0);
    // Of equal distances all are within the threshold, or none.
    for equals in by_distance.chunk_by(|a, b| a.0 == b.0) {
        let stand_out = equals.iter().filter(|(_, stands_out)| *stands_out).count();
        within += equals.len();
        remarkable += stand_out;
        if stand_out > 0 && (within - remarkable) as f64 <= ORDINARY * within as f64 {
            suggestion.threshold = Some(equals[0].0);
        }
    }
    suggestion.reason = match suggestion.threshold {
        Some(threshold) => format!(
            "{standing_out} of {pictures} different pictures have another much nearer than their surroundings lead to expect; suggested from them: {threshold:.3e}"
        ),
        None => format!(
            "no near duplicates stand out: {standing_out} of {pictures} different pictures have another unusually near, but ordinary pictures are as near as those"
        ),
    };
    suggestion
}

/// The value below which a share of the values lies.
fn quantile(values: impl Iterator<Item = f32>, share: f64) -> Option<f32> {
    let mut values: Vec<f32> = values.collect();
    let at = (values.len().checked_sub(1)? as f64 * share).round() as usize;
    Some(*values.select_nth_unstable_by(at, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use lookalike_neighbours::{Codes, Metric, nearest_others};

    use super::*;

    /// Numbers from 0 to 1, the same in every run.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        (0..count).map(|_| next()).collect()
    }

    fn suggested(codes: &[f32], dims: usize) -> Suggestion {
        let codes = Codes::new(codes, dims).unwrap();
        let near = nearest_others(codes, Metric::Euclidean, SURROUNDINGS);
        let near: Vec<_> = near
            .iter()
            .map(|others| Nearness {
                first: others[0].distance,
                middle: others[SURROUNDINGS / 2 - 1].distance,
                last: others[SURROUNDINGS - 1].distance,
            })
            .collect();
        suggest(&near, SURROUNDINGS)
    }

    /// Points in a cube; every third in a corner of it that is ten times as dense.
    fn uneven(count: usize, dims: usize, seed: u64) -> Vec<f32> {
        let mut codes = numbers(count * dims, seed);
        for code in codes.chunks_exact_mut(dims).step_by(3) {
            code.iter_mut().for_each(|value| *value *= 0.1);
        }
        codes
    }

    #[test]
    fn nothing_stands_out_by_chance() {
        for (dims, seed) in [(2, 1), (4, 2), (8, 3), (8, 4), (16, 5)] {
            let found = suggested(&uneven(1500, dims, seed), dims);
            assert_eq!(found.threshold, None, "{dims} dimensions: {found:?}");
            assert!(found.reason.contains("no near duplicates stand out"));
        }
    }

    #[test]
    fn the_dimension_is_that_of_the_data() {
        for dims in [2, 4] {
            let found = suggested(&uneven(3000, dims, 7), dims).dimension.unwrap();
            assert!(
                (found / dims as f64 - 1.0).abs() < 0.2,
                "{found} for {dims}"
            );
        }
    }

    #[test]
    fn shaken_copies_stand_out_however_many() {
        let dims = 8;
        for copies in [5, 100, 1400] {
            let mut codes = uneven(1500, dims, 11);
            let shaken: Vec<f32> = codes[..copies * dims]
                .iter()
                .zip(numbers(copies * dims, 12))
                .map(|(value, noise)| value + 1e-4 * (noise - 0.5))
                .collect();
            codes.extend(shaken);
            let found = suggested(&codes, dims);
            assert_eq!(found.standing_out, 2 * copies, "{copies}: {found:?}");
            let threshold = found.threshold.unwrap();
            assert!((1e-5..1e-3).contains(&threshold), "{copies}: {found:?}");
        }
    }

    #[test]
    fn copies_at_no_distance_are_found() {
        let dims = 4;
        let mut codes = uneven(400, dims, 21);
        let same = codes[..20 * dims].to_vec();
        codes.extend(same);
        assert_eq!(suggested(&codes, dims).threshold, Some(0.0));
        let all_alike = suggested(&vec![1.0; 100 * dims], dims);
        assert_eq!(all_alike.threshold, None);
        assert!(!all_alike.reason.is_empty());
    }

    #[test]
    fn few_pictures_are_too_few() {
        let found = suggest(&[], SURROUNDINGS);
        assert_eq!((found.threshold, found.usual), (None, None));
        assert!(found.reason.contains("too few"), "{}", found.reason);
        assert_eq!((looked_at(39), looked_at(40)), (None, Some(SURROUNDINGS)));
    }
}
