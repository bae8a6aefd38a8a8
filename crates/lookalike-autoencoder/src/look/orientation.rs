//! Whether images of a collection lie any way round.

use lookalike_images::Collection;
use lookalike_neighbours::{Metric, nearest_others};

use super::parts::{Describe, Fitted, Kind, contrast, descriptions, rows};
use crate::sample::evenly_spaced;
use crate::symmetry::Symmetry;

/// Images that are looked at, at most.
const MAX_IMAGES: usize = 1000;
/// Of fewer, what is found means too little.
const MIN_IMAGES: usize = 200;
/// Neighbours of each that are counted: few, because the nearest are what tells best.
const NEIGHBOURS: usize = 5;

/// Where no more of an image's neighbours lie as it does, which way round images lie means nothing.
/// By the part that tells best it is 51 % of 1,000 surfaces of steel that were turned at random;
/// where images lie one way, from 58 % on clip art to 100 % on photographs of hands.
pub(crate) const MAX_TOLD: f32 = 0.53;

/// How well images are told from turned ones: among the images and a turned copy of each, the share
/// of the nearest neighbours of either that lie as it does. Half of them where the collection has
/// images any way round, more where it has not, up to 1. By the part, shape or one of the
/// structures, that tells them apart best; `None` of too few images, and where no part tells any
/// two apart.
///
/// A test of whether two samples have one distribution, by nearest neighbours (Schilling, JASA
/// 1986; Henze, Annals of Statistics 1988). An image and its own copy do not count as neighbours.
pub(crate) fn told_from_turned(collection: &Collection) -> Option<f32> {
    let sample = evenly_spaced(collection.len(), MAX_IMAGES);
    if sample.len() < MIN_IMAGES {
        return None;
    }
    let shape = collection.shape();
    let turns = &Symmetry::Turns.turns(shape)[1..];
    let images: Vec<&[u8]> = sample.iter().map(|&i| collection.image(i)).collect();
    let copies: Vec<Vec<u8>> = images
        .iter()
        .enumerate()
        .map(|(at, image)| {
            // In no order that a collection's could follow.
            let turn = turns[(at * 7 + at / 5) % turns.len()];
            turn.apply(image, (shape.width, shape.height), shape.channels)
        })
        .collect();
    let copies: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
    let contrast = contrast(&images, shape);
    let shares = descriptions(shape, contrast, &images)
        .into_iter()
        .filter(|part| matches!(part.kind(), Kind::Shape | Kind::Structure))
        .filter_map(|part| told_by(part, &images, &copies));
    shares.reduce(f32::max)
}

/// What does not change what a collection's images show.
pub(super) fn symmetry(collection: &Collection) -> Symmetry {
    match told_from_turned(collection) {
        Some(share) if share <= MAX_TOLD => Symmetry::Turns,
        _ => Symmetry::None,
    }
}

/// What one part tells.
fn told_by(part: Describe, images: &[&[u8]], copies: &[&[u8]]) -> Option<f32> {
    let part = Fitted::new(part, Symmetry::None, images);
    if part.scale == 0.0 {
        return None;
    }
    let mut all = part.components(images);
    all.extend(part.components(copies));
    let count = images.len();
    let near = nearest_others(rows(&all, part.dims()), Metric::Cosine, NEIGHBOURS + 1);
    let (mut same, mut counted) = (0usize, 0usize);
    for (at, near) in near.iter().enumerate() {
        let others = near
            .iter()
            .filter(|other| other.index % count != at % count);
        for other in others.take(NEIGHBOURS) {
            same += usize::from((other.index < count) == (at < count));
            counted += 1;
        }
    }
    Some(same as f32 / counted.max(1) as f32)
}

#[cfg(test)]
mod tests {
    use lookalike_images::{InputShape, Turn};

    use super::*;

    /// Stripes of several widths and places, all lying alike or any way round.
    fn stripes(count: usize, any_way: bool) -> Collection {
        let shape = InputShape {
            channels: 1,
            height: 24,
            width: 24,
        };
        let image = |at: usize| {
            let width = 2.0 + (at * 37 % 101) as f32 / 25.0;
            let shift = (at * 53 % 97) as f32 / 10.0;
            let pixels: Vec<u8> = (0..shape.values())
                .map(|pixel| {
                    let (x, y) = ((pixel % 24) as f32, (pixel / 24) as f32);
                    // Brighter to one side, so that no turn is another.
                    (127.0 + 60.0 * ((x + shift) / width).sin() + 2.0 * x + y) as u8
                })
                .collect();
            let turn = match any_way {
                true => Symmetry::Turns.turns(shape)[at * 29 % 31 % 4],
                false => Turn::None,
            };
            turn.apply(&pixels, (24, 24), 1)
        };
        let keys = (0..count).map(|at| at.to_string()).collect();
        let pixels = (0..count).flat_map(image).collect();
        Collection::from_parts("stripes", shape, keys, vec![None; count], pixels).unwrap()
    }

    #[test]
    fn images_that_lie_alike_are_told_from_turned_ones() {
        let told = told_from_turned(&stripes(MIN_IMAGES, false)).unwrap();
        assert!(told > 0.95, "{told}");
        let told = told_from_turned(&stripes(MIN_IMAGES, true)).unwrap();
        assert!((told - 0.5).abs() < 0.1, "{told}");
    }

    #[test]
    fn too_little_tells_nothing() {
        assert_eq!(told_from_turned(&stripes(MIN_IMAGES - 1, false)), None);
        let shape = InputShape {
            channels: 1,
            height: 8,
            width: 8,
        };
        let count = MIN_IMAGES;
        let keys = (0..count).map(|at| at.to_string()).collect();
        let grey = vec![9; count * shape.values()];
        let grey = Collection::from_parts("grey", shape, keys, vec![None; count], grey).unwrap();
        assert_eq!(told_from_turned(&grey), None);
    }
}
