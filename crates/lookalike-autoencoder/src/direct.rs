//! The part of a code that is computed from the pixels themselves, without the network.
//!
//! What a network of this size learns in minutes generalises better than what it is told to
//! describe, but describes it less exactly: of 106 textures it finds .89 right answers among five,
//! where the colours' components alone find .97. So an image's shape and its colours stand in its
//! code once more, exactly: their leading principal components over the collection, each brought to
//! a length of its own behind what was learned, which has length 1. docs/quality-tried.md
//! has the figures.

use lookalike_images::{FINE_COLOURS, Gradients, InputShape, fine_colours};
use lookalike_neighbours::Pca;
use serde::{Deserialize, Serialize};

use crate::container::{Container, Named};

/// Components of each part. More find hardly more: 96 gain at most .007 in P@5 on ten collections.
const COMPONENTS: usize = 48;
/// Length of the shape at most, and what it falls to where descriptions agree: this factor times
/// the squared share of neighbours that they do not share. Where they agree, the neighbour graph
/// that the code was refined along is right, and what is exact adds little.
const MAX_SHAPE: f32 = 0.7;
const SHAPE_FACTOR: f32 = 1.4;
/// Length of colours that count fully among the parts of a description.
const COLOURS: f32 = 0.85;
/// Lengths beyond this are no model's.
const MAX_LENGTH: f32 = 10.0;

/// What is computed from the pixels themselves, in a model's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectRecord {
    /// The collection's mean gradient; values of pixels are 0 to 1.
    pub contrast: f32,
    /// Where edges run.
    pub shape: DirectPart,
    /// Which colours there are, where they count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colours: Option<DirectPart>,
}

/// Floats of a code that one kind of description fills, and their length beside what was learned,
/// which has length 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectPart {
    /// How many floats.
    pub dims: usize,
    /// Their length.
    pub length: f32,
}

/// Components shorter than this have no direction, and become zeros.
pub(crate) const MIN_LENGTH: f32 = 1e-12;

/// Principal components of a description, and how long they become.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Projection {
    pub mean: Vec<f32>,
    /// One row of [`DirectPart::dims`] values for each value of the description.
    pub axes: Vec<f32>,
    pub part: DirectPart,
}

impl Projection {
    fn new(pca: &Pca, length: f32) -> Self {
        let dims = pca.components().min(COMPONENTS);
        let mean = pca.mean().to_vec();
        let directions = pca.directions();
        let axes = (0..mean.len())
            .flat_map(|value| (0..dims).map(move |row| directions[row * pca.mean().len() + value]))
            .collect();
        Self {
            mean,
            axes,
            part: DirectPart { dims, length },
        }
    }

    /// The components of a description, not yet brought to a length.
    fn components(&self, description: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        let rows = self.axes.chunks_exact(self.part.dims);
        for ((value, mean), row) in description.iter().zip(&self.mean).zip(rows) {
            let value = value - mean;
            for (sum, axis) in out.iter_mut().zip(row) {
                *sum += value * axis;
            }
        }
    }

    /// What brings components to their length; 0 for components of nothing but zeros.
    fn scale(&self, components: &[f32]) -> f32 {
        let length = components.iter().map(|v| v * v).sum::<f32>().sqrt();
        match length > MIN_LENGTH {
            true => self.part.length / length,
            false => 0.0,
        }
    }

    fn write(&self, description: &[f32], out: &mut [f32]) {
        self.components(description, out);
        let scale = self.scale(out);
        out.iter_mut().for_each(|value| *value *= scale);
    }

    fn tensors<'a>(&'a self, name: &str) -> [Named<'a>; 2] {
        let named = |kind: &str, shape, values| Named {
            name: format!("direct.{name}.{kind}"),
            shape,
            values,
        };
        [
            named("mean", vec![self.mean.len()], &self.mean),
            named("axes", vec![self.mean.len(), self.part.dims], &self.axes),
        ]
    }

    fn read(
        container: &Container,
        name: &str,
        len: usize,
        part: DirectPart,
    ) -> Result<Self, String> {
        let possible = (1..=len.min(COMPONENTS)).contains(&part.dims)
            && part.length > 0.0
            && part.length <= MAX_LENGTH;
        if !possible {
            return Err(format!(
                "its {name} should have {} floats of length {}",
                part.dims, part.length
            ));
        }
        let tensor =
            |kind: &str, shape: &[usize]| container.tensor(&format!("direct.{name}.{kind}"), shape);
        Ok(Self {
            mean: tensor("mean", &[len])?,
            axes: tensor("axes", &[len, part.dims])?,
            part,
        })
    }
}

/// Computes the direct part of codes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Direct {
    pub gradients: Gradients,
    pub contrast: f32,
    pub shape: Projection,
    pub colours: Option<Projection>,
}

impl Direct {
    /// Of a collection: the mean gradient of its images, the principal components of their shapes,
    /// those of their colours and how much colours count (0 to 1), and how many of the neighbours
    /// by one description others confirm (0 to 1).
    pub fn new(
        gradients: Gradients,
        contrast: f32,
        shape: &Pca,
        colours: Option<(&Pca, f32)>,
        agreement: f32,
    ) -> Self {
        let doubt = 1.0 - agreement.clamp(0.0, 1.0);
        // Never 0, so that every code has a direction.
        let length = (SHAPE_FACTOR * doubt * doubt).clamp(0.05, MAX_SHAPE);
        let colours = colours.filter(|(_, weight)| *weight > 0.0);
        Self {
            gradients,
            contrast,
            shape: Projection::new(shape, length),
            colours: colours.map(|(pca, weight)| Projection::new(pca, COLOURS * weight)),
        }
    }

    pub fn record(&self) -> DirectRecord {
        DirectRecord {
            contrast: self.contrast,
            shape: self.shape.part,
            colours: self.colours.as_ref().map(|colours| colours.part),
        }
    }

    /// Floats of a code.
    pub fn dims(&self) -> usize {
        self.shape_dims() + self.colours.as_ref().map_or(0, |c| c.part.dims)
    }

    /// Those that belong to the shape, which come first.
    pub fn shape_dims(&self) -> usize {
        self.shape.part.dims
    }

    /// Writes the [`dims`](Self::dims) floats of an image that has the model's shape.
    pub fn write(&self, pixels: &[u8], out: &mut [f32]) {
        let (shape, rest) = out.split_at_mut(self.shape_dims());
        self.shape.write(&self.shape_of(pixels), shape);
        if let Some(colours) = &self.colours {
            let mut description = vec![0.0; FINE_COLOURS];
            fine_colours(pixels, &mut description);
            colours.write(&description, rest);
        }
    }

    fn shape_of(&self, pixels: &[u8]) -> Vec<f32> {
        let mut description = vec![0.0; self.gradients.len()];
        self.gradients
            .describe_softly(pixels, self.contrast, &mut description);
        description
    }

    /// What each place of a grid of `rows` x `columns` over the image adds to the product of its
    /// shape, as it stands in its code, with that of another code, `other`.
    pub fn shape_shares(
        &self,
        pixels: &[u8],
        other: &[f64],
        rows: usize,
        columns: usize,
    ) -> Vec<f64> {
        let description = self.shape_of(pixels);
        let mut components = vec![0.0; self.shape_dims()];
        self.shape.components(&description, &mut components);
        let scale = f64::from(self.shape.scale(&components));
        let along = self.shape.axes.chunks_exact(self.shape_dims());
        let values: Vec<f64> = description
            .iter()
            .zip(&self.shape.mean)
            .zip(along)
            .map(|((value, mean), row)| {
                let towards: f64 = row.iter().zip(other).map(|(&a, o)| f64::from(a) * o).sum();
                f64::from(value - mean) * towards * scale
            })
            .collect();
        let [down, across] = self.gradients.blocks();
        let mut shares = vec![0.0; rows * columns];
        let blocks = values.chunks_exact(values.len() / (down * across));
        for (index, block) in blocks.enumerate() {
            let share: f64 = block.iter().sum();
            let vertical = spread(index / across, down, rows);
            let horizontal = spread(index % across, across, columns);
            for (row, part) in vertical.iter().enumerate() {
                for (column, of) in horizontal.iter().enumerate() {
                    shares[row * columns + column] += share * part * of;
                }
            }
        }
        shares
    }

    pub fn tensors(&self) -> Vec<Named<'_>> {
        let mut tensors: Vec<Named> = self.shape.tensors("shape").into();
        if let Some(colours) = &self.colours {
            tensors.extend(colours.tensors("colours"));
        }
        tensors
    }

    /// Reads what [`tensors`](Self::tensors) named.
    pub fn read(
        record: &DirectRecord,
        input: InputShape,
        container: &Container,
    ) -> Result<Self, String> {
        if !(record.contrast >= 0.0 && record.contrast.is_finite()) {
            return Err(format!("its mean gradient is {}", record.contrast));
        }
        if record.colours.is_some() && input.channels != 3 {
            return Err("its codes have colours, its images have none".to_owned());
        }
        let gradients = Gradients::suited(input);
        let colours = record
            .colours
            .map(|part| Projection::read(container, "colours", FINE_COLOURS, part));
        Ok(Self {
            gradients,
            contrast: record.contrast,
            shape: Projection::read(container, "shape", gradients.len(), record.shape)?,
            colours: colours.transpose()?,
        })
    }
}

/// How block `index` of `blocks`, each two cells long and one cell after the other, lies over
/// `places` of equal size; adds up to 1.
fn spread(index: usize, blocks: usize, places: usize) -> Vec<f64> {
    let cells = (blocks + 1) as f64;
    let (start, end) = (index as f64 / cells, (index + 2) as f64 / cells);
    (0..places)
        .map(|place| {
            let bounds = [place, place + 1].map(|at| at as f64 / places as f64);
            (end.min(bounds[1]) - start.max(bounds[0])).max(0.0) / (end - start)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_spread_over_the_places_that_it_covers() {
        assert_eq!(spread(0, 7, 4), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(spread(1, 7, 4), [0.5, 0.5, 0.0, 0.0]);
        for (blocks, places) in [(1, 1), (6, 7), (7, 16), (3, 2)] {
            for index in 0..blocks {
                let sum: f64 = spread(index, blocks, places).iter().sum();
                assert!((sum - 1.0).abs() < 1e-12);
            }
        }
    }
}
