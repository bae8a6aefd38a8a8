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
            put_coordinates(&codes, dims, None, &mut targets, width)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn teacher(dims: usize) -> TeacherRecord {
        TeacherRecord {
            name: "a teacher".to_owned(),
            fingerprint: "0123".to_owned(),
            dims,
        }
    }

    /// Codes in a plane far from zero, in a space of more dimensions, of many lengths.
    fn codes(count: usize) -> Vec<f32> {
        (0..count)
            .flat_map(|i| {
                let (x, y) = ((i % 7) as f32 / 7.0 - 0.5, (i % 5) as f32 / 9.0 - 0.2);
                let length = 1.0 + (i % 3) as f32;
                [2.0, 2.0 + x, 2.0 - x, 2.0 + y].map(|value| value * length)
            })
            .collect()
    }

    #[test]
    fn targets_are_components_at_length_1_and_coordinates_behind_them() {
        let targets = teacher(4).targets(codes(60), 60, 6).unwrap();
        assert_eq!(targets.len(), 60 * 6);
        for row in targets.chunks_exact(6) {
            let length = row[..4].iter().map(|v| v * v).sum::<f32>();
            assert!((length - 1.0).abs() < 1e-5, "{row:?}");
        }
        let all = targets.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 60.0;
        assert!((all - mean_squared_length(60, 6)).abs() < 0.01, "{all}");
        // Images 0 and 35 have codes that differ in length alone.
        for (one, other) in targets[..4].iter().zip(&targets[35 * 6..]) {
            assert!((one - other).abs() < 1e-4);
        }
        // Their mean is gone: the similarities of all pairs are near 0 on average.
        let mean: Vec<f32> = (0..4)
            .map(|d| targets.iter().skip(d).step_by(6).sum::<f32>() / 60.0)
            .collect();
        assert!(mean.iter().map(|v| v * v).sum::<f32>() < 0.2, "{mean:?}");
    }

    #[test]
    fn codes_that_are_all_alike_have_no_direction() {
        let targets = teacher(3).targets(vec![0.5; 3 * 20], 20, 2).unwrap();
        assert!(targets.iter().all(|value| value.is_finite()));
        assert!(teacher(0).targets(Vec::new(), 20, 2).is_err());
        assert!(teacher(3).targets(vec![0.5; 59], 20, 2).is_err());
    }
}
