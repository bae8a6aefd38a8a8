//! How much parts of a description, and codes of different encoders, count beside each other.

use lookalike_images::Collection;
use lookalike_neighbours::Codes;

use crate::symmetry::Symmetry;

use super::parts::{Fitted, Kind, contrast, descriptions, neighbours};
use super::{NEIGHBOURS, NEIGHBOURS_SHARE};

/// Power of the agreement in a part's weight: a part that is confirmed half as often as another
/// counts a sixteenth.
const AGREEMENT_POWER: i32 = 4;
/// What colours' agreement counts beside that of parts made of edges.
const COLOURS_FACTOR: f32 = 2.0;
/// A part of less weight is left out.
const MIN_WEIGHT: f32 = 0.05;

/// How much one encoder's codes count beside those of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodesWeight {
    /// Their length, when codes are joined; that of the codes that count most is 1.
    pub weight: f32,
    /// Share of their nearest neighbours that descriptions of the images and the other codes
    /// confirm, beyond what chance gives.
    pub agreement: f32,
}

/// Weighs codes of the same images by the rule by which the parts of a description are weighed: by
/// the fourth power of how often the 40 nearest neighbours are confirmed by other kinds of part,
/// beside the codes that are confirmed most often. Beside each codes stands what their agreement
/// counts. Takes seconds for a thousand images.
///
/// # Panics
///
/// If there are not as many codes as images.
pub fn weigh_codes(images: &Collection, codes: &[(Codes, f32)]) -> Vec<CodesWeight> {
    assert!(codes.iter().all(|(codes, _)| codes.len() == images.len()));
    let (mut kinds, mut found) = parts_of(images);
    let count = neighbour_count(images);
    let parts = kinds.len();
    for (at, (codes, _)) in codes.iter().enumerate() {
        kinds.push(Kind::Codes(at));
        found.push(neighbours(codes.data(), codes.dims(), count));
    }
    let agreements = &agreements(&kinds, &found)[parts..];
    let counted = agreements.iter().zip(codes);
    let counted: Vec<f32> = counted
        .map(|(agreement, (_, factor))| agreement * factor)
        .collect();
    let best = counted.iter().copied().fold(0.0, f32::max);
    let weigh = |(&counted, &agreement): (&f32, &f32)| CodesWeight {
        weight: match best < 1e-3 {
            // Too few images, or all alike: nothing tells the codes apart.
            true => 1.0,
            false => weight(counted, best),
        },
        agreement,
    };
    counted.iter().zip(agreements).map(weigh).collect()
}

/// How much colours count in a description of the images, beside the part that counts most: what
/// training finds for its own images. 0 for grey images.
pub fn colours_weight(images: &Collection) -> f32 {
    let (kinds, found) = parts_of(images);
    let agreements = agreements(&kinds, &found);
    let best = agreements.iter().copied().fold(1e-6, f32::max);
    let colours = kinds.iter().position(|&kind| kind == Kind::Colours);
    colours.map_or(0.0, |at| part_weight(kinds[at], agreements[at], best))
}

/// Neighbours that are compared.
fn neighbour_count(images: &Collection) -> usize {
    NEIGHBOURS.min(images.len() / NEIGHBOURS_SHARE).max(1)
}

/// The kinds of the parts that descriptions of the images have, layouts included, and the nearest
/// neighbours of each image by each part.
fn parts_of(images: &Collection) -> (Vec<Kind>, Vec<Vec<Vec<usize>>>) {
    let pixels: Vec<&[u8]> = (0..images.len()).map(|i| images.image(i)).collect();
    let shape = images.shape();
    let count = neighbour_count(images);
    let contrast = contrast(&pixels, shape);
    let parts = descriptions(shape, contrast, &pixels).into_iter();
    parts
        .map(|describe| {
            let kind = describe.kind();
            (
                kind,
                Fitted::new(describe, Symmetry::None, &pixels).neighbours(&pixels, count),
            )
        })
        .unzip()
}

/// How much a part of a description counts; one that counts too little is left out.
pub(super) fn part_weight(kind: Kind, agreement: f32, best: f32) -> f32 {
    let weight = match kind {
        Kind::Layout | Kind::Codes(_) => 0.0,
        // Too few images, or all alike: nothing tells the parts apart.
        _ if best < 1e-3 => 1.0,
        Kind::Colours => weight(COLOURS_FACTOR * agreement, best),
        _ => weight(agreement, best),
    };
    if weight < MIN_WEIGHT { 0.0 } else { weight }
}

/// How much a part counts that is confirmed this often, beside the one that is confirmed most.
fn weight(agreement: f32, best: f32) -> f32 {
    (agreement.max(0.0) / best).min(1.0).powi(AGREEMENT_POWER)
}

/// How often each part's neighbours are confirmed: the mean over the other kinds, and within a kind
/// over its parts.
pub(super) fn agreements(kinds: &[Kind], found: &[Vec<Vec<usize>>]) -> Vec<f32> {
    (0..kinds.len())
        .map(|part| {
            let mut by_kind = Vec::new();
            for kind in distinct(kinds) {
                let overlaps: Vec<f32> = (0..kinds.len())
                    .filter(|&other| kinds[other] == kind && kind != kinds[part])
                    .map(|other| overlap(&found[part], &found[other]))
                    .collect();
                if !overlaps.is_empty() {
                    by_kind.push(overlaps.iter().sum::<f32>() / overlaps.len() as f32);
                }
            }
            by_kind.iter().sum::<f32>() / by_kind.len().max(1) as f32
        })
        .collect()
}

/// Each kind once, in the order in which they come.
fn distinct(kinds: &[Kind]) -> Vec<Kind> {
    let mut found = Vec::new();
    for &kind in kinds {
        if !found.contains(&kind) {
            found.push(kind);
        }
    }
    found
}

/// Share of the neighbours that two descriptions have in common, beyond what chance gives: 1 where
/// they are the same, 0 on average where they are drawn at random.
pub fn overlap(a: &[Vec<usize>], b: &[Vec<usize>]) -> f32 {
    let all: usize = a.iter().map(Vec::len).sum();
    let common: usize = a
        .iter()
        .zip(b)
        .map(|(a, b)| a.iter().filter(|index| b.contains(index)).count())
        .sum();
    let chance = all as f32 / (a.len() * a.len().saturating_sub(1)).max(1) as f32;
    match chance < 1.0 {
        true => (common as f32 / all.max(1) as f32 - chance) / (1.0 - chance),
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use lookalike_images::InputShape;

    use super::*;

    /// Stripes of eight widths, at any place.
    fn stripes(count: usize) -> Collection {
        let shape = InputShape {
            channels: 1,
            height: 16,
            width: 16,
        };
        let pixel = |i: usize, at: usize| {
            let along = (at % 16) as f32 * (0.3 + 0.15 * (i % 8) as f32) + (i * 7 % 13) as f32;
            (128.0 + 100.0 * along.sin()) as u8
        };
        let pixels = (0..count).flat_map(|i| (0..256).map(move |at| pixel(i, at)));
        let keys = (0..count).map(|i| i.to_string()).collect();
        Collection::from_parts("stripes", shape, keys, vec![None; count], pixels.collect()).unwrap()
    }

    #[test]
    fn codes_that_descriptions_confirm_count_most() {
        let images = stripes(96);
        let kind: Vec<f32> = (0..96)
            .flat_map(|i| {
                let angle = (i % 8) as f32 * 0.4;
                [angle.cos(), angle.sin()]
            })
            .collect();
        let noise: Vec<f32> = (0..96)
            .flat_map(|i| {
                let angle = (i * 37 % 101) as f32;
                [angle.cos(), angle.sin()]
            })
            .collect();
        let [kind, noise] = [&kind, &noise].map(|codes| Codes::new(codes, 2).unwrap());
        let found = weigh_codes(&images, &[(noise, 1.0), (kind, 1.0)]);
        assert_eq!(found[1].weight, 1.0);
        assert!(found[0].weight < 0.1, "{found:?}");
        assert!(found[1].agreement > found[0].agreement + 0.1, "{found:?}");
        // What agreement counts can be less.
        let found = weigh_codes(&images, &[(kind, 0.5), (kind, 1.0)]);
        assert!((found[0].weight - 0.0625).abs() < 1e-4, "{found:?}");
        // Nothing tells them apart where all are alike.
        let found = weigh_codes(&images, &[(noise, 0.0), (noise, 0.0)]);
        assert_eq!(found[0].weight, 1.0);
        assert_eq!(colours_weight(&images), 0.0);
    }
}
