//! What an image looks like, in numbers that need no learning: the targets of
//! [`Objective::Look`](crate::Objective::Look).
//!
//! A description has up to four parts: where edges run (shape), which local structures there are,
//! coarse and fine ([`Structure`]), and which colours. Each part is brought to its principal
//! components over the collection and to a mean squared length of 1, and enters with a weight. The
//! principal components of all of them together are the description. None is whitened: on each of
//! eight collections half-whitened codes had a lower mean average precision.
//!
//! A part's weight follows from the collection. A neighbour that another part finds as well is
//! confirmed, and a part counts by the fourth power of how often its neighbours are, beyond chance,
//! beside the part that is confirmed most often. Small brightness layouts confirm too, but are not
//! a part. Colours have nothing in common with how the other parts are made, so that theirs count
//! twice: on photographs of hands colours follow the person and nobody confirms them; in textures
//! they are what everybody but shape confirms. Coarse and fine structure, which are of one kind, do
//! not confirm each other.

mod orientation;
mod parts;
mod weighing;

use lookalike_images::{Collection, Gradients};
use lookalike_neighbours::{Codes, Pca};
use serde::{Deserialize, Serialize};

use crate::direct::{self, Direct, Exact};
use crate::patches::Patches;
use crate::sample::evenly_spaced;
use crate::structure::{Structure, coarse_step};
use crate::symmetry::Symmetry;

pub(crate) use orientation::{MAX_TOLD, told_from_turned};
use parts::{
    Describe, Fitted, Kind, contrast, descriptions, join, nearest, neighbours, rows, unit_scale,
};
pub use weighing::{CodesWeight, colours_weight, overlap, weigh_codes};
use weighing::{agreements, part_weight};

/// One part of a description, and how much it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// `shape`, `coarse structure`, `fine structure` or `colours`.
    pub name: String,
    /// Its length in the description; that of the part that counts most is 1.
    pub weight: f32,
    /// Share of its nearest neighbours that are also among the nearest by another kind of part,
    /// beyond what chance gives, on average over those.
    pub agreement: f32,
}

/// What the record calls the part of colours.
pub const COLOURS: &str = "colours";

/// Images that components, clusters and weights are found on, at even steps.
const SAMPLE: usize = 2000;
/// Images described at a time, which bounds memory.
const TOGETHER: usize = 256;
/// Neighbours that parts are compared by: as many as a class of a collection has, not the few that
/// are nearly the same picture; of few images, at most this share.
const NEIGHBOURS: usize = 40;
const NEIGHBOURS_SHARE: usize = 8;
/// Length of patches beside that of shape and structures together. From .6 to .8 is the same but on
/// photographs, which gain; 1 costs pieces of pictures.
const PATCHES_LENGTH: f32 = 0.7;

/// Describes the images of one collection.
pub(crate) struct Look {
    parts: Vec<Fitted>,
    pca: Pca,
    scale: f32,
    /// The parts and their weights, for the record.
    pub record: Vec<Part>,
    /// What stands in codes behind what the network says.
    pub direct: Direct,
    /// Places in the collection of the images that all of this was found on.
    pub sample: Vec<usize>,
    /// Their nearest neighbours by shape, and by coarse structure.
    confirming: [Vec<Vec<usize>>; 2],
}

impl Look {
    /// Finds out what tells the images of `collection` apart, other than how they lie, if they are
    /// symmetric; descriptions have `dims` floats.
    pub fn fit(collection: &Collection, symmetry: Symmetry, dims: usize) -> Self {
        let sample = evenly_spaced(collection.len(), SAMPLE);
        let images: Vec<&[u8]> = sample.iter().map(|&i| collection.image(i)).collect();
        let shape = collection.shape();
        let contrast = contrast(&images, shape);
        let count = NEIGHBOURS.min(images.len() / NEIGHBOURS_SHARE).max(1);
        let mut parts: Vec<Fitted> = Vec::new();
        let mut found = Vec::new();
        for describe in descriptions(shape, contrast, &images) {
            let part = Fitted::new(describe, symmetry, &images);
            found.push(part.neighbours(&images, count));
            parts.push(part);
        }
        let kinds: Vec<Kind> = parts.iter().map(|part| part.describe.kind()).collect();
        let agreements = agreements(&kinds, &found);
        let best = agreements.iter().copied().fold(1e-6, f32::max);
        let mut record: Vec<Part> = Vec::new();
        for (part, &agreement) in parts.iter_mut().zip(&agreements) {
            let weight = part_weight(part.describe.kind(), agreement, best);
            part.scale *= weight;
            if let Some(name) = part.describe.name(&record) {
                record.push(Part {
                    name: name.to_owned(),
                    weight,
                    agreement,
                });
            }
        }
        let direct = direct_part(&parts, &record, contrast, best, &images);
        parts.retain(|part| part.scale > 0.0);
        if parts.is_empty() {
            // Images that are all alike have nothing to describe, but still a description.
            parts.push(Fitted::new(Describe::Layout(shape), symmetry, &images));
        }
        let joined = join(&parts.iter().collect::<Vec<_>>(), &images);
        let width = parts.iter().map(Fitted::dims).sum();
        let pca = Pca::fit(rows(&joined, width), dims);
        let described = pca.project(rows(&joined, width));
        let mut found = found.into_iter();
        let confirming = [(); 2].map(|()| found.next().expect("shape and coarse structure"));
        Self {
            scale: unit_scale(&described, images.len()),
            parts,
            pca,
            record,
            direct,
            sample,
            confirming,
        }
    }

    /// Share of the nearest neighbours of [`sample`](Self::sample), by codes of its images, that
    /// are also neighbours by shape, or by coarse structure: the smaller of the two, beyond chance.
    pub fn confirmed(&self, codes: Codes) -> f32 {
        let count = self.confirming[0].first().map_or(0, Vec::len);
        let found = nearest(codes, count.max(1));
        let shares = self.confirming.iter().map(|by| overlap(&found, by));
        shares.fold(1.0, f32::min)
    }

    /// Descriptions of all images of the collection, `width` floats each: the first are the
    /// description, of mean squared length 1, and what is left is 0.
    pub fn describe(&self, collection: &Collection, width: usize) -> Vec<f32> {
        let mut all = vec![0.0; collection.len() * width];
        let parts: Vec<&Fitted> = self.parts.iter().collect();
        let joined_width = parts.iter().map(|part| part.dims()).sum();
        for (start, out) in all.chunks_mut(TOGETHER * width).enumerate() {
            let first = start * TOGETHER;
            let images: Vec<&[u8]> = (first..first + out.len() / width)
                .map(|i| collection.image(i))
                .collect();
            let joined = join(&parts, &images);
            let described = self.pca.project(rows(&joined, joined_width));
            let dims = self.pca.components();
            for (out, row) in out
                .chunks_exact_mut(width)
                .zip(described.chunks_exact(dims))
            {
                for (to, value) in out.iter_mut().zip(row) {
                    *to = value * self.scale;
                }
            }
        }
        all
    }
}

/// The nearest neighbours of images by two parts of their descriptions, for judging codes by how
/// many of them they share.
pub struct PartNeighbours {
    /// By where edges run.
    pub shape: Vec<Vec<usize>>,
    /// By which coarse local structures there are.
    pub structure: Vec<Vec<usize>>,
    /// By colours, of colour images.
    pub colours: Option<Vec<Vec<usize>>>,
}

impl PartNeighbours {
    /// The `count` nearest of each image, itself left out, by cosine. Where images cannot be told
    /// from turned ones, they are compared by means over turns, as they are in codes.
    pub fn find(collection: &Collection, count: usize) -> Self {
        let images: Vec<&[u8]> = (0..collection.len()).map(|i| collection.image(i)).collect();
        let shape = collection.shape();
        let contrast = contrast(&images, shape);
        let symmetry = orientation::symmetry(collection);
        let near = |describe| {
            let part = Fitted::new(describe, symmetry, &images);
            neighbours(&part.components(&images), part.dims(), count)
        };
        let gradients = Gradients::suited(shape);
        let step = coarse_step(shape);
        Self {
            shape: near(Describe::Shape {
                gradients,
                contrast,
            }),
            structure: near(Describe::Structure(Structure::fit(
                shape, step, contrast, &images,
            ))),
            colours: (shape.channels == 3).then(|| near(Describe::Colours)),
        }
    }
}

/// What stands in codes exactly: the shape and the colours of the parts, whose scales have their
/// weights by now, and where the look is structured, the structures that have a weight in the
/// record, and patches.
fn direct_part(
    parts: &[Fitted],
    record: &[Part],
    contrast: f32,
    agreement: f32,
    images: &[&[u8]],
) -> Direct {
    let Describe::Shape { gradients, .. } = parts[0].describe else {
        unreachable!("shape is the first part");
    };
    let mut look = vec![&parts[0]];
    let mut squares = record[0].weight.powi(2);
    if direct::is_structured(agreement) {
        for (part, found) in parts.iter().zip(record) {
            if part.describe.kind() == Kind::Structure && part.scale > 0.0 {
                look.push(part);
                squares += found.weight.powi(2);
            }
        }
    }
    let patches = (look.len() > 1).then(|| {
        let describe = Describe::Patches(Patches::fit(gradients.shape(), images));
        let mut part = Fitted::new(describe, parts[0].symmetry, images);
        part.scale *= PATCHES_LENGTH * squares.sqrt();
        part
    });
    look.extend(&patches);
    let colours = parts.iter().zip(record);
    let colours = colours.filter(|(_, part)| part.name == COLOURS);
    let exact = Exact {
        gradients,
        contrast,
        symmetry: parts[0].symmetry,
        structures: look
            .iter()
            .filter_map(|part| match &part.describe {
                Describe::Structure(structure) => Some(structure),
                _ => None,
            })
            .collect(),
        patches: look.iter().find_map(|part| match &part.describe {
            Describe::Patches(patches) => Some(patches),
            _ => None,
        }),
        look: look
            .iter()
            .map(|part| (&part.pca, part.factors()))
            .collect(),
        colours: colours
            .map(|(part, found)| (&part.pca, found.weight))
            .next(),
        agreement,
    };
    Direct::new(&exact, || {
        let joined = join(&look, images);
        let width = look.iter().map(|part| part.dims()).sum();
        Pca::fit(rows(&joined, width), direct::COMPONENTS)
    })
}

#[cfg(test)]
mod tests {
    use lookalike_images::InputShape;
    use lookalike_neighbours::{Metric, nearest_others};

    use super::*;

    /// Bars at one of four angles, in a colour of their own or of their angle.
    fn bars(count: usize, coloured_by_angle: bool, side: usize) -> Collection {
        let shape = InputShape {
            channels: 3,
            height: side,
            width: side,
        };
        let mut pixels = Vec::new();
        for image in 0..count {
            let (sin, cos) = (45.0 * (image % 4) as f32 + 3.0 * (image % 3) as f32)
                .to_radians()
                .sin_cos();
            let hue = if coloured_by_angle {
                image % 4
            } else {
                image * 7 % 11
            };
            let colour = [(hue * 53 % 200) as f32, (hue * 97 % 200) as f32, 200.0];
            let shift = (image % 5) as f32 - 2.0;
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                let (x, y) = (x as f32 - side as f32 / 2.0, y as f32 - side as f32 / 2.0);
                let across = x * cos + y * sin + shift;
                let ink = (-(across / (side as f32 / 10.0)).powi(2)).exp();
                pixels.extend(colour.map(|c| (c + (255.0 - c) * ink) as u8));
            }
        }
        let keys = (0..count).map(|i| i.to_string()).collect();
        Collection::from_parts("bars", shape, keys, vec![None; count], pixels).unwrap()
    }

    #[test]
    fn descriptions_tell_shapes_apart() {
        let images = bars(80, false, 32);
        let look = Look::fit(&images, Symmetry::None, 16);
        let described = look.describe(&images, 20);
        assert_eq!(described.len(), 80 * 20);
        let codes = rows(&described, 20);
        let right: usize = nearest_others(codes, Metric::Cosine, 5)
            .iter()
            .enumerate()
            .map(|(i, near)| near.iter().filter(|n| n.index % 4 == i % 4).count())
            .sum();
        assert!(right > 380, "{right} of 400");
        assert!(described.chunks(20).all(|row| row[16..] == [0.0; 4]));
        let mean: f32 = described.iter().map(|v| v * v).sum::<f32>() / 80.0;
        assert!((mean - 1.0).abs() < 1e-3, "{mean}");
        let names: Vec<&str> = look.record.iter().map(|part| part.name.as_str()).collect();
        let expected = ["shape", "coarse structure", "fine structure", "colours"];
        assert_eq!(names, expected);
    }

    #[test]
    fn parts_without_anything_confirm_nothing() {
        let shape = InputShape {
            channels: 3,
            height: 16,
            width: 16,
        };
        // Plain colours have no edges, and so neither shape nor structure.
        let colour = |i: usize| [i * 40 % 256, i * 90 % 256, i * 150 % 256].map(|v| v as u8);
        let pixels = (0..60).flat_map(|i| colour(i / 3).repeat(256)).collect();
        let keys = (0..60).map(|i| i.to_string()).collect();
        let plain = Collection::from_parts("plain", shape, keys, vec![None; 60], pixels).unwrap();
        let look = Look::fit(&plain, Symmetry::None, 16);
        for part in &look.record {
            match part.name.as_str() {
                "colours" => assert_eq!(part.weight, 1.0),
                edges => assert!(part.agreement <= 0.0, "{edges}: {}", part.agreement),
            }
        }
        assert!(look.record.iter().any(|part| part.name == "colours"));
        let described = look.describe(&plain, 16);
        let near = nearest(rows(&described, 16), 2);
        assert!(
            near.iter()
                .enumerate()
                .all(|(i, near)| near.iter().all(|n| n / 3 == i / 3))
        );
    }

    #[test]
    fn colours_count_where_they_follow_shape() {
        let weight =
            |by_angle| Look::fit(&bars(80, by_angle, 32), Symmetry::None, 16).record[3].weight;
        let (same, other) = (weight(true), weight(false));
        assert!(same > 0.3 && other < same / 2.0, "{same} and {other}");
    }

    #[test]
    fn neighbours_by_what_images_show_are_confirmed() {
        let images = bars(80, false, 32);
        let look = Look::fit(&images, Symmetry::None, 16);
        assert_eq!(look.sample.len(), 80);
        let described = look.describe(&images, 16);
        let own = look.confirmed(rows(&described, 16));
        // Images that follow one another show other angles.
        let order: Vec<f32> = (0..80).flat_map(|i| [1.0, i as f32 / 80.0]).collect();
        let other = look.confirmed(rows(&order, 2));
        assert!(own > 0.5 && other < 0.2, "{own} and {other}");
    }

    #[test]
    fn any_collection_can_be_described() {
        for (count, side) in [(1, 8), (2, 9), (5, 17), (3, 33)] {
            let images = bars(count, true, side);
            let described = Look::fit(&images, Symmetry::None, 8).describe(&images, 8);
            assert!(described.iter().all(|v| v.is_finite()));
        }
        let shape = InputShape {
            channels: 1,
            height: 9,
            width: 70,
        };
        let keys = (0..30).map(|i| i.to_string()).collect();
        let black = Collection::from_parts("black", shape, keys, vec![None; 30], vec![0; 30 * 630])
            .unwrap();
        let described = Look::fit(&black, Symmetry::None, 8).describe(&black, 8);
        assert!(described.iter().all(|&v| v == 0.0));
    }
}
