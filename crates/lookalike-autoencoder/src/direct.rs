//! The part of a code that is computed from the pixels themselves, without the network.
//!
//! What a network of this size learns in minutes generalises better than what it is told to
//! describe, but describes it less exactly: of 106 textures it finds .89 right answers among five,
//! where the colours' components alone find .97. So what an image looks like and its colours stand
//! in its code once more, exactly: their leading principal components over the collection, each
//! brought to a length of its own behind what was learned, which has length 1. What it looks like
//! is its shape and, where descriptions do not agree much, its local structures, by their weights,
//! and patches as well. docs/quality-tried.md has the figures.

use lookalike_images::{FINE_COLOURS, Gradients, InputShape, Turn, fine_colours};
use lookalike_neighbours::Pca;
use serde::{Deserialize, Serialize};

use crate::container::{Container, Named};
use crate::patches::{Patches, PatchesRecord};
use crate::structure::{Structure, StructureRecord, spread};
use crate::symmetry::Symmetry;

/// Components of each part. More find hardly more: 96 gain at most .007 in P@5 on ten collections.
pub(crate) const COMPONENTS: usize = 48;
/// Length of the look at most, and what it falls to where descriptions agree: this factor times
/// the squared share of neighbours that they do not share. Where they agree, the neighbour graph
/// that the code was refined along is right, and what is exact adds little.
const MAX_LOOK: f32 = 1.0;
const LOOK_FACTOR: f32 = 1.4;
/// A look that is shorter has neither structures nor patches: they take as long to compute as what
/// is learned.
const MIN_STRUCTURED: f32 = 0.5;
/// Length of colours that count fully among the parts of a description.
const COLOURS: f32 = 0.85;
/// Lengths beyond this are no model's.
const MAX_LENGTH: f32 = 10.0;
/// Structures of an image, at most: coarse and fine.
const MAX_STRUCTURES: usize = 2;

/// What is computed from the pixels themselves, in a model's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectRecord {
    /// The collection's mean gradient; values of pixels are 0 to 1.
    pub contrast: f32,
    /// Over which turns of an image the shape's part is a mean.
    #[serde(default, skip_serializing_if = "Symmetry::is_none")]
    pub symmetry: Symmetry,
    /// Where edges run, and which of the structures there are.
    pub shape: DirectPart,
    /// Local structures that the shape's part has as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub structures: Vec<StructureRecord>,
    /// Patches that the shape's part has as well, behind structures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patches: Option<PatchesRecord>,
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

    /// The components of several descriptions together: each is brought to its own components, each
    /// times its factor, and these side by side to those of `joined`.
    fn joined(parts: &[(&Pca, Vec<f32>)], joined: &Pca, length: f32) -> Self {
        let dims = joined.components().min(COMPONENTS);
        let width = joined.mean().len();
        let (mut mean, mut axes) = (Vec::new(), Vec::new());
        let mut before = 0;
        for (pca, factors) in parts {
            let (own, len) = (pca.components(), pca.mean().len());
            mean.extend_from_slice(pca.mean());
            let start = axes.len();
            axes.resize(start + len * dims, 0.0f32);
            let directions = pca.directions().chunks_exact(len).zip(factors);
            for (component, (direction, factor)) in directions.enumerate() {
                let shares: Vec<f32> = (0..dims)
                    .map(|row| joined.directions()[row * width + before + component] * factor)
                    .collect();
                for (row, along) in axes[start..].chunks_exact_mut(dims).zip(direction) {
                    for (axis, share) in row.iter_mut().zip(&shares) {
                        *axis += along * share;
                    }
                }
            }
            before += own;
        }
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
    pub symmetry: Symmetry,
    /// What `shape` is made of beside the gradients.
    pub structures: Vec<Structure>,
    pub patches: Option<Patches>,
    pub shape: Projection,
    pub colours: Option<Projection>,
}

/// Parts of a collection's description that a code has exactly.
pub(crate) struct Exact<'a> {
    pub gradients: Gradients,
    pub contrast: f32,
    pub symmetry: Symmetry,
    pub structures: Vec<&'a Structure>,
    pub patches: Option<&'a Patches>,
    /// The principal components of the shape, the structures and the patches, and what each
    /// component is multiplied by.
    pub look: Vec<(&'a Pca, Vec<f32>)>,
    /// Principal components of colours, and the colours' weight.
    pub colours: Option<(&'a Pca, f32)>,
    /// How many of the neighbours by one description others confirm (0 to 1).
    pub agreement: f32,
}

/// How long the look is in codes, by how many of the neighbours by one description others confirm.
fn look_length(agreement: f32) -> f32 {
    let doubt = 1.0 - agreement.clamp(0.0, 1.0);
    // Never 0, so that every code has a direction.
    (LOOK_FACTOR * doubt * doubt).clamp(0.05, MAX_LOOK)
}

/// Whether the look has structures and patches as well as the shape.
pub(crate) fn is_structured(agreement: f32) -> bool {
    look_length(agreement) >= MIN_STRUCTURED
}

impl Direct {
    /// Of a collection. `join` finds the principal components of the parts of the look side by
    /// side, where it has several.
    pub fn new(exact: &Exact, join: impl FnOnce() -> Pca) -> Self {
        let length = look_length(exact.agreement);
        let colours = exact.colours.filter(|(_, weight)| *weight > 0.0);
        let shape = match &exact.look[..] {
            [(shape, _)] => Projection::new(shape, length),
            several => Projection::joined(several, &join(), length),
        };
        Self {
            gradients: exact.gradients,
            contrast: exact.contrast,
            symmetry: exact.symmetry,
            structures: exact.structures.iter().copied().cloned().collect(),
            patches: exact.patches.cloned(),
            shape,
            colours: colours.map(|(pca, weight)| Projection::new(pca, COLOURS * weight)),
        }
    }

    pub fn record(&self) -> DirectRecord {
        DirectRecord {
            contrast: self.contrast,
            symmetry: self.symmetry,
            shape: self.shape.part,
            structures: self.structures.iter().map(Structure::record).collect(),
            patches: self.patches.as_ref().map(Patches::record),
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
        let mut look = vec![0.0; self.shape.mean.len()];
        let input = self.gradients.shape();
        let describe = |pixels: &[u8], out: &mut [f32]| self.describe(pixels, out);
        self.symmetry.average(pixels, input, &mut look, describe);
        self.shape.write(&look, shape);
        if let Some(colours) = &self.colours {
            let mut description = vec![0.0; FINE_COLOURS];
            fine_colours(pixels, &mut description);
            colours.write(&description, rest);
        }
    }

    /// Writes the shape of an image as it lies, and behind it its structures and patches.
    fn describe(&self, pixels: &[u8], out: &mut [f32]) {
        let (shape, mut rest) = out.split_at_mut(self.gradients.len());
        self.gradients.describe_softly(pixels, self.contrast, shape);
        for structure in &self.structures {
            let (out, others) = rest.split_at_mut(structure.len());
            structure.describe(pixels, out);
            rest = others;
        }
        if let Some(patches) = &self.patches {
            patches.describe(pixels, rest);
        }
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
        let input = self.gradients.shape();
        let turns = self.symmetry.turns(input);
        let sides = (input.width, input.height);
        let turned = turns.iter().map(|turn| {
            let pixels = turn.apply(pixels, sides, input.channels);
            let mut description = vec![0.0; self.shape.mean.len()];
            self.describe(&pixels, &mut description);
            (turn, pixels, description)
        });
        let turned: Vec<(&Turn, Vec<u8>, Vec<f32>)> = turned.collect();
        let mut look = vec![0.0; self.shape.mean.len()];
        for (_, _, description) in &turned {
            for (sum, value) in look.iter_mut().zip(description) {
                *sum += value / turns.len() as f32;
            }
        }
        let mut components = vec![0.0; self.shape_dims()];
        self.shape.components(&look, &mut components);
        let scale = f64::from(self.shape.scale(&components)) / turns.len() as f64;
        let along = self.shape.axes.chunks_exact(self.shape_dims());
        let towards: Vec<f64> = along
            .map(|row| row.iter().zip(other).map(|(&a, o)| f64::from(a) * o).sum())
            .collect();
        let mut shares = vec![0.0; rows * columns];
        for (turn, pixels, description) in turned {
            let values: Vec<f64> = description
                .iter()
                .zip(&self.shape.mean)
                .zip(&towards)
                .map(|((value, mean), towards)| f64::from(value - mean) * towards * scale)
                .collect();
            let (rows, columns) = match turn.exchanges_sides() {
                true => (columns, rows),
                false => (rows, columns),
            };
            let own = self.shares_of(&pixels, &values, rows, columns);
            let back = turn.inverse().apply(&own, (columns, rows), 1);
            for (sum, share) in shares.iter_mut().zip(back) {
                *sum += share;
            }
        }
        shares
    }

    /// How the values of an image's description, as it lies, are spread over a grid of `rows` x
    /// `columns`.
    fn shares_of(&self, pixels: &[u8], values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        let [down, across] = self.gradients.blocks();
        let mut shares = vec![0.0; rows * columns];
        let (values, mut rest) = values.split_at(self.gradients.len());
        for structure in &self.structures {
            let (own, others) = rest.split_at(structure.len());
            structure.add_shares(pixels, own, rows, &mut shares);
            rest = others;
        }
        if let Some(patches) = &self.patches {
            patches.add_shares(pixels, rest, rows, &mut shares);
        }
        let blocks = values.chunks_exact(values.len() / (down * across));
        // Block `at` of so many, each two cells long and one cell after the other.
        let sides = |at: usize, blocks: usize, places: usize| {
            let cells = (blocks + 1) as f64;
            spread([at as f64 / cells, (at + 2) as f64 / cells], places)
        };
        for (index, block) in blocks.enumerate() {
            let share: f64 = block.iter().sum();
            let vertical = sides(index / across, down, rows);
            let horizontal = sides(index % across, across, columns);
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
        for (number, structure) in self.structures.iter().enumerate() {
            tensors.extend(structure.tensors(&structure_name(number)));
        }
        if let Some(patches) = &self.patches {
            tensors.extend(patches.tensors(PATCHES));
        }
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
        if record.structures.len() > MAX_STRUCTURES {
            return Err(format!(
                "it has {} kinds of structures",
                record.structures.len()
            ));
        }
        let structures = record.structures.iter().enumerate();
        let structures: Vec<Structure> = structures
            .map(|(number, &structure)| {
                let name = structure_name(number);
                Structure::read(structure, &name, input, record.contrast, container)
            })
            .collect::<Result<_, _>>()?;
        let patches = record
            .patches
            .map(|patches| Patches::read(patches, PATCHES, input, container))
            .transpose()?;
        let len = gradients.len()
            + structures.iter().map(Structure::len).sum::<usize>()
            + patches.as_ref().map_or(0, Patches::len);
        let colours = record
            .colours
            .map(|part| Projection::read(container, "colours", FINE_COLOURS, part));
        Ok(Self {
            gradients,
            contrast: record.contrast,
            symmetry: record.symmetry,
            structures,
            patches,
            shape: Projection::read(container, "shape", len, record.shape)?,
            colours: colours.transpose()?,
        })
    }
}

/// What the tensors of patches begin with.
const PATCHES: &str = "direct.patches";

/// What the tensors of a structure begin with.
fn structure_name(number: usize) -> String {
    format!("direct.structure{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_spread_over_the_places_that_it_covers() {
        assert_eq!(spread([0.0, 0.25], 4), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(spread([0.125, 0.375], 4), [0.5, 0.5, 0.0, 0.0]);
        for (bounds, places) in [([0.0, 1.0], 1), ([0.3, 0.9], 7), ([0.5, 0.51], 16)] {
            let sum: f64 = spread(bounds, places).iter().sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
    }
}
