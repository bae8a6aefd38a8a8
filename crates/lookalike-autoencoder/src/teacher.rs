//! Learning the codes of another encoder, the teacher: distillation.

use lookalike_neighbours::{Codes, Pca};
use serde::{Deserialize, Serialize};

use crate::error::AutoencoderError;
use crate::sample::evenly_spaced;
use crate::stage::{MAX_GRAPH_IMAGES, look_dim, put_coordinates};

/// Codes that principal components are found on, at even steps.
const SAMPLE: usize = 10_000;

/// Whose codes a model has learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherRecord {
    /// What it is called.
    pub name: String,
    /// Tells it apart from any other encoder.
    pub fingerprint: String,
    /// Floats of its codes.
    pub dims: usize,
}

impl TeacherRecord {
    /// What an encoder must answer for each of `count` images, `width` floats: the teacher's codes
    /// at length 1, brought to their first principal components and to length 1 again (what they
    /// lack in components is 0), and behind them, in the last three eighths, their coordinates
    /// along the leading eigenvectors of their neighbour graph. Of more images than that graph is
    /// made of, all are components.
    pub(crate) fn targets(
        &self,
        mut codes: Vec<f32>,
        count: usize,
        width: usize,
    ) -> Result<Vec<f32>, AutoencoderError> {
        let dims = self.dims;
        let fail = |why: String| {
            let name = &self.name;
            AutoencoderError::Data(format!("cannot learn from the codes of {name}: {why}"))
        };
        if dims == 0 || codes.len() != count * dims {
            return Err(fail(format!(
                "it gave {} floats for {count} images, whose codes have {dims} each",
                codes.len()
            )));
        }
        codes.chunks_exact_mut(dims).for_each(to_unit_length);
        let rows = |codes| Codes::new(codes, dims).map_err(|error| fail(error.to_string()));
        let sample: Vec<f32> = evenly_spaced(count, SAMPLE)
            .into_iter()
            .flat_map(|image| &codes[image * dims..][..dims])
            .copied()
            .collect();
        let joins_graph = joins_graph(count);
        let kept = match joins_graph {
            true => look_dim(width),
            false => width,
        };
        let pca = Pca::fit(rows(&sample)?, kept);
        let reduced = pca.project(rows(&codes)?);
        let mut targets = vec![0.0; count * width];
        let components = reduced.chunks_exact(pca.components());
        for (target, row) in targets.chunks_exact_mut(width).zip(components) {
            target[..row.len()].copy_from_slice(row);
            to_unit_length(target);
        }
        if joins_graph {
            put_coordinates(&codes, dims, &mut targets, width)?;
        }
        Ok(targets)
    }
}

/// Whether targets of so many images have coordinates along their neighbour graph.
fn joins_graph(count: usize) -> bool {
    count <= MAX_GRAPH_IMAGES
}

/// Mean squared length of the targets of so many images: 1 of the components and 1 of coordinates.
pub(crate) fn mean_squared_length(count: usize, width: usize) -> f64 {
    match joins_graph(count) && look_dim(width) < width {
        true => 2.0,
        false => 1.0,
    }
}

/// A row of nothing but zeros has no direction, and stays.
fn to_unit_length(row: &mut [f32]) {
    let squares = row.iter().map(|&v| f64::from(v) * f64::from(v));
    let length = squares.sum::<f64>().sqrt();
    if length > 0.0 {
        for value in row {
            *value = (f64::from(*value) / length) as f32;
        }
    }
}
