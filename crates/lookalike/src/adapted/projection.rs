//! What a pretrained encoder's codes are brought to: less their mean over a collection, and perhaps
//! their principal components there.

use lookalike_neighbours::{Codes, Pca};
use rayon::prelude::*;

/// How codes are centred and, perhaps, reduced.
///
/// What all images of a collection have in common tells none of them apart, and yet makes up much
/// of a cosine: so the mean is taken off the codes of images. Texts lie apart from images and have
/// another mean, which is not known; theirs are projected as they are, which ranks images by how
/// far each lies in the text's direction from their mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Projection {
    /// The mean of the codes.
    pub mean: Vec<f32>,
    /// Onto which directions codes are projected; none: they keep all their floats.
    pub directions: Option<Directions>,
}

/// Principal components, each in steps of a 127th of its largest value: a quarter of the bytes,
/// which galleries on clusters keep in the collection's metadata. Codes are projected onto these
/// rounded directions everywhere, so that they are the same everywhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Directions {
    /// What a step is worth, for each direction.
    pub scales: Vec<f32>,
    /// As many steps for each direction as codes have floats.
    pub steps: Vec<i8>,
}

/// Steps from 0 to the largest value.
const STEPS: f32 = 127.0;

impl Projection {
    /// That changes nothing.
    pub fn none(dims: usize) -> Self {
        Self {
            mean: vec![0.0; dims],
            directions: None,
        }
    }

    /// Around the mean of `codes` and, if they are to be reduced, onto as many directions in which
    /// they vary most.
    pub fn fit(codes: Codes, components: Option<usize>) -> Self {
        let pca = Pca::fit(codes, components.unwrap_or(1));
        Self {
            mean: pca.mean().to_vec(),
            directions: components.map(|_| Directions::of(codes, &pca)),
        }
    }

    /// Floats of a code before.
    pub fn from(&self) -> usize {
        self.mean.len()
    }

    /// Floats of a code afterwards.
    pub fn dims(&self) -> usize {
        let directions = self.directions.as_ref();
        directions.map_or(self.from(), |directions| directions.scales.len())
    }

    /// Projects codes of images, of [`from`](Self::from) floats each.
    pub fn project(&self, codes: &[f32]) -> Vec<f32> {
        let rows = codes.chunks_exact(self.from());
        let centred: Vec<f32> = rows
            .flat_map(|row| row.iter().zip(&self.mean).map(|(value, mean)| value - mean))
            .collect();
        self.project_text(&centred)
    }

    /// Projects codes of texts.
    pub fn project_text(&self, codes: &[f32]) -> Vec<f32> {
        match &self.directions {
            Some(directions) => directions.project(codes, self.from()),
            None => codes.to_vec(),
        }
    }
}

impl Directions {
    fn of(codes: Codes, pca: &Pca) -> Self {
        let rows = pca.directions().chunks_exact(codes.dims());
        let scale = |row: &[f32]| row.iter().fold(0.0f32, |most, v| most.max(v.abs())) / STEPS;
        let scales: Vec<f32> = rows.clone().map(scale).collect();
        let steps = rows.zip(&scales).flat_map(|(row, &scale)| {
            // Codes that span fewer directions leave some that are nothing but zeros.
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            row.iter().map(move |v| (v * inverse).round() as i8)
        });
        Self {
            steps: steps.collect(),
            scales,
        }
    }

    fn project(&self, codes: &[f32], from: usize) -> Vec<f32> {
        let mut projected = vec![0.0; codes.len() / from * self.scales.len()];
        projected
            .par_chunks_exact_mut(self.scales.len())
            .zip(codes.par_chunks_exact(from))
            .for_each(|(out, code)| {
                let rows = self.steps.chunks_exact(from).zip(&self.scales);
                for (value, (row, scale)) in out.iter_mut().zip(rows) {
                    let products = row.iter().zip(code).map(|(&step, v)| f32::from(step) * v);
                    *value = products.sum::<f32>() * scale;
                }
            });
        projected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes along a few directions, and a little along all.
    fn codes(count: usize, dims: usize) -> Vec<f32> {
        let value = |i: usize, d: usize| {
            let strong = if d < 4 { 1.0 } else { 0.02 };
            strong * ((i * (d + 3) * 37 % 101) as f32 / 50.0 - 0.9)
        };
        (0..count)
            .flat_map(|i| (0..dims).map(move |d| value(i, d)))
            .collect()
    }

    #[test]
    fn distances_stay_nearly_as_they_are() {
        let (count, dims) = (60, 24);
        let all = codes(count, dims);
        let codes = Codes::new(&all, dims).unwrap();
        let projection = Projection::fit(codes, Some(6));
        assert_eq!((projection.dims(), projection.from()), (6, dims));
        let whole = Projection::fit(codes, None).project(&all);
        assert_eq!(whole.len(), all.len());
        let short = projection.project(&all);
        assert_eq!(short.len(), count * 6);
        let product = |rows: &[f32], dims: usize, a: usize, b: usize| -> f32 {
            let (a, b) = (&rows[a * dims..][..dims], &rows[b * dims..][..dims]);
            a.iter().zip(b).map(|(a, b)| a * b).sum()
        };
        for (a, b) in [(0, 0), (1, 2), (7, 50), (59, 3)] {
            let (whole, part) = (product(&whole, dims, a, b), product(&short, 6, a, b));
            assert!((whole - part).abs() < 0.1, "{whole} and {part}");
        }
        // The same for one code as for many.
        assert_eq!(projection.project(&all[..dims]), short[..6]);
    }

    #[test]
    fn the_mean_is_taken_off_images_alone() {
        let all = [3.0, 4.0, 5.0, 4.0].repeat(5);
        let projection = Projection::fit(Codes::new(&all, 2).unwrap(), Some(1));
        for (code, image, text) in [([3.0, 4.0], -1.0, 3.0), ([5.0, 4.0], 1.0, 5.0)] {
            let found = [projection.project(&code), projection.project_text(&code)].concat();
            assert!((found[0].abs() - 1.0f32).abs() < 0.01, "{found:?}");
            // Directions have no sign of their own.
            assert!(
                (found[0] / found[1] - image / text).abs() < 0.01,
                "{found:?}"
            );
        }
        assert_eq!(Projection::none(2).project(&all), all);
        // All alike: nothing is left of them.
        let alike = Projection::fit(Codes::new(&all[..2].repeat(4), 2).unwrap(), Some(2));
        assert!(alike.project(&all[..2]).iter().all(|v| v.abs() < 1e-6));
    }
}
