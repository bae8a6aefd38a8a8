//! The parts of a description: how each is computed, and its components over a collection.

use lookalike_images::{FINE_COLOURS, Gradients, InputShape, fine_colours, gradient_energy};
use lookalike_neighbours::{Codes, Metric, Pca, nearest_others};
use rayon::prelude::*;

use super::{COLOURS, Part, SAMPLE};
use crate::patches::Patches;
use crate::structure::{Structure, coarse_step};
use crate::symmetry::Symmetry;

/// Principal components of each part.
const PART_COMPONENTS: usize = 128;
/// Every second image of a large sample is enough to find the components of a part.
const COMPONENTS_EACH: usize = 2;
/// Cells along each side of the layouts that confirm.
const LAYOUT_CELLS: usize = 16;

/// What a part looks at; those of one kind do not confirm each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Shape,
    Structure,
    Colours,
    Layout,
    /// Codes of an encoder, which are no part of a description.
    Codes(usize),
}

/// How a part is computed.
pub(super) enum Describe {
    Shape {
        gradients: Gradients,
        contrast: f32,
    },
    Structure(Structure),
    /// Of the exact look alone.
    Patches(Patches),
    Colours,
    Layout(InputShape),
}

impl Describe {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Shape { .. } => Kind::Shape,
            Self::Structure(_) | Self::Patches(_) => Kind::Structure,
            Self::Colours => Kind::Colours,
            Self::Layout(_) => Kind::Layout,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Shape { gradients, .. } => gradients.len(),
            Self::Structure(structure) => structure.len(),
            Self::Patches(patches) => patches.len(),
            Self::Colours => FINE_COLOURS,
            Self::Layout(shape) => LAYOUT_CELLS * LAYOUT_CELLS * shape.channels,
        }
    }

    /// What the record calls it, after those that are recorded; layouts are no part.
    pub fn name(&self, before: &[Part]) -> Option<&'static str> {
        match self.kind() {
            Kind::Shape => Some("shape"),
            Kind::Structure if before.len() == 1 => Some("coarse structure"),
            Kind::Structure => Some("fine structure"),
            Kind::Colours => Some(COLOURS),
            Kind::Layout | Kind::Codes(_) => None,
        }
    }

    fn write(&self, pixels: &[u8], symmetry: Symmetry, out: &mut [f32]) {
        let average = |shape, out: &mut [f32], write: &dyn Fn(&[u8], &mut [f32])| {
            symmetry.average(pixels, shape, out, write);
        };
        match self {
            Self::Shape {
                gradients,
                contrast,
            } => average(gradients.shape(), out, &|pixels, out| {
                gradients.describe_softly(pixels, *contrast, out);
            }),
            Self::Structure(structure) => average(structure.blocks.shape(), out, &|pixels, out| {
                structure.describe(pixels, out);
            }),
            Self::Patches(patches) => average(patches.grid.shape, out, &|pixels, out| {
                patches.describe(pixels, out);
            }),
            // The same however an image lies.
            Self::Colours => fine_colours(pixels, out),
            Self::Layout(shape) => average(*shape, out, &|pixels, out| layout(pixels, *shape, out)),
        }
    }
}

/// A part made ready for a collection.
pub(super) struct Fitted {
    pub describe: Describe,
    pub symmetry: Symmetry,
    pub pca: Pca,
    /// What makes the mean squared length of its components 1, times its weight.
    pub scale: f32,
}

impl Fitted {
    pub fn new(describe: Describe, symmetry: Symmetry, images: &[&[u8]]) -> Self {
        let raw = raw(&describe, symmetry, images);
        let some: Vec<f32> = match images.len() >= SAMPLE / 2 {
            true => raw
                .chunks_exact(describe.len())
                .step_by(COMPONENTS_EACH)
                .flatten()
                .copied()
                .collect(),
            false => raw.clone(),
        };
        let pca = Pca::fit(rows(&some, describe.len()), PART_COMPONENTS);
        drop(some);
        let mut fitted = Self {
            describe,
            symmetry,
            pca,
            scale: 1.0,
        };
        let components = fitted.project(&raw);
        fitted.scale = unit_scale(&components, images.len());
        fitted
    }

    pub fn dims(&self) -> usize {
        self.pca.components()
    }

    fn project(&self, raw: &[f32]) -> Vec<f32> {
        let raw = rows(raw, self.describe.len());
        match self.is_whitened() {
            true => self.pca.project_half_whitened(raw),
            false => self.pca.project(raw),
        }
    }

    /// Patches, which are half-whitened: a few of their components, of how much there is in each
    /// cell, would outweigh all others.
    fn is_whitened(&self) -> bool {
        matches!(self.describe, Describe::Patches(_))
    }

    /// What each component is multiplied by.
    pub fn factors(&self) -> Vec<f32> {
        let factors = match self.is_whitened() {
            true => self.pca.half_whitening(),
            false => vec![1.0; self.dims()],
        };
        factors.iter().map(|factor| factor * self.scale).collect()
    }

    /// The `count` nearest of each image by this part; none where the part tells no two apart.
    pub fn neighbours(&self, images: &[&[u8]], count: usize) -> Vec<Vec<usize>> {
        match self.scale > 0.0 {
            true => neighbours(&self.components(images), self.dims(), count),
            false => vec![Vec::new(); images.len()],
        }
    }

    /// The weighted components of images.
    pub fn components(&self, images: &[&[u8]]) -> Vec<f32> {
        let raw = raw(&self.describe, self.symmetry, images);
        let mut components = self.project(&raw);
        components.iter_mut().for_each(|v| *v *= self.scale);
        components
    }
}

/// The mean gradient of images, which tells edges from noise.
pub(super) fn contrast(images: &[&[u8]], shape: InputShape) -> f32 {
    let energies: Vec<f64> = images
        .par_iter()
        .map(|image| gradient_energy(image, shape))
        .collect();
    let mean = energies.iter().sum::<f64>() / images.len().max(1) as f64;
    mean.sqrt() as f32
}

/// The parts that images of a shape can have, in the order of the record, and layouts.
pub(super) fn descriptions(shape: InputShape, contrast: f32, images: &[&[u8]]) -> Vec<Describe> {
    let coarse = coarse_step(shape);
    let structure = |step| Describe::Structure(Structure::fit(shape, step, contrast, images));
    let gradients = Gradients::suited(shape);
    let mut parts = vec![
        Describe::Shape {
            gradients,
            contrast,
        },
        structure(coarse),
    ];
    if coarse >= 2 {
        parts.push(structure(coarse / 2));
    }
    if shape.channels == 3 {
        parts.push(Describe::Colours);
    }
    parts.push(Describe::Layout(shape));
    parts
}

/// Means of the pixels in each cell of a grid, less the image's mean.
pub(super) fn layout(pixels: &[u8], shape: InputShape, out: &mut [f32]) {
    let cells = |side: usize, at: usize| {
        let start = at * side / LAYOUT_CELLS;
        start..((at + 1) * side / LAYOUT_CELLS).max(start + 1)
    };
    for (at, cell) in out.chunks_exact_mut(shape.channels).enumerate() {
        let rows = cells(shape.height, at / LAYOUT_CELLS);
        let columns = cells(shape.width, at % LAYOUT_CELLS);
        let count = (rows.len() * columns.len() * 255) as f32;
        for (channel, value) in cell.iter_mut().enumerate() {
            let sum: u32 = rows
                .clone()
                .flat_map(|y| columns.clone().map(move |x| y * shape.width + x))
                .map(|pixel| u32::from(pixels[pixel * shape.channels + channel]))
                .sum();
            *value = sum as f32 / count;
        }
    }
    // So exactly that nothing is left of images of one colour.
    let sum: f64 = out.iter().copied().map(f64::from).sum();
    let mean = (sum / out.len() as f64) as f32;
    out.iter_mut().for_each(|value| *value -= mean);
}

pub(super) fn raw(describe: &Describe, symmetry: Symmetry, images: &[&[u8]]) -> Vec<f32> {
    let len = describe.len();
    let mut raw = vec![0.0; images.len() * len];
    raw.par_chunks_exact_mut(len)
        .zip(images)
        .for_each(|(out, image)| describe.write(image, symmetry, out));
    raw
}

/// The components of all parts, side by side.
pub(super) fn join(parts: &[&Fitted], images: &[&[u8]]) -> Vec<f32> {
    let width: usize = parts.iter().map(|part| part.dims()).sum();
    let mut joined = vec![0.0; images.len() * width];
    let mut at = 0;
    for part in parts {
        let components = part.components(images);
        let dims = part.dims();
        for (to, from) in joined
            .chunks_exact_mut(width)
            .zip(components.chunks_exact(dims))
        {
            to[at..at + dims].copy_from_slice(from);
        }
        at += dims;
    }
    joined
}

/// What brings rows of these values to a mean squared length of 1.
pub(super) fn unit_scale(values: &[f32], rows: usize) -> f32 {
    let squares: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
    let mean = squares / rows.max(1) as f64;
    if mean > 1e-20 {
        mean.sqrt().recip() as f32
    } else {
        0.0
    }
}

pub(super) fn rows(values: &[f32], dims: usize) -> Codes<'_> {
    Codes::new(values, dims).expect("descriptions are finite")
}

pub(super) fn neighbours(components: &[f32], dims: usize, count: usize) -> Vec<Vec<usize>> {
    nearest(rows(components, dims), count)
}

/// The `count` nearest of each by cosine, itself left out.
pub(super) fn nearest(codes: Codes, count: usize) -> Vec<Vec<usize>> {
    nearest_others(codes, Metric::Cosine, count)
        .into_iter()
        .map(|row| row.into_iter().map(|near| near.index).collect())
        .collect()
}
