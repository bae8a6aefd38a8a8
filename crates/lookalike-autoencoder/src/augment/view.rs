//! How images are looked at when copies are held against a collection.

use lookalike_images::InputShape;
use rayon::prelude::*;

/// Longest side of a view.
const VIEW_SIDE: usize = 32;

/// How images are looked at to be compared: at most 32 pixels a side, and blurred by a 28th of it,
/// so that half a pixel more or less of sharpness, which every distortion costs, makes no
/// difference.
pub(super) struct View {
    shape: InputShape,
    /// Pixels that become one, in each direction.
    block: usize,
    width: usize,
    height: usize,
    /// Of the blur, from the middle outwards.
    across: Vec<f32>,
    along: Vec<f32>,
}

impl View {
    pub fn new(shape: InputShape) -> Self {
        let block = shape.width.max(shape.height).div_ceil(VIEW_SIDE);
        let (width, height) = (shape.width.div_ceil(block), shape.height.div_ceil(block));
        Self {
            shape,
            block,
            width,
            height,
            across: gaussian(width as f32 / 28.0),
            along: gaussian(height as f32 / 28.0),
        }
    }

    pub fn values(&self) -> usize {
        self.width * self.height * self.shape.channels
    }

    /// Views of what `draw` makes of each item, at the collection's shape.
    pub fn of<T: Sync>(&self, items: &[T], draw: impl Fn(&T, &mut [f32]) + Sync) -> Vec<f32> {
        let mut views = vec![0.0; items.len() * self.values()];
        views
            .par_chunks_exact_mut(self.values())
            .zip(items)
            .for_each_init(
                || vec![0.0; self.shape.values()],
                |floats, (view, item)| {
                    draw(item, floats);
                    self.look(floats, view);
                },
            );
        views
    }

    fn look(&self, image: &[f32], view: &mut [f32]) {
        let channels = self.shape.channels;
        for (y, row) in view.chunks_exact_mut(self.width * channels).enumerate() {
            let rows = y * self.block..((y + 1) * self.block).min(self.shape.height);
            for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                let columns = x * self.block..((x + 1) * self.block).min(self.shape.width);
                let count = (rows.len() * columns.len()) as f32;
                for (channel, value) in pixel.iter_mut().enumerate() {
                    let mut sum = 0.0;
                    for y in rows.clone() {
                        for x in columns.clone() {
                            sum += image[(y * self.shape.width + x) * channels + channel];
                        }
                    }
                    *value = sum / count;
                }
            }
        }
        let stride = self.width * channels;
        let mut line = vec![0.0; self.width.max(self.height)];
        for start in (0..self.height).flat_map(|y| (0..channels).map(move |c| y * stride + c)) {
            blur(view, start, channels, &mut line[..self.width], &self.across);
        }
        for start in 0..stride {
            blur(view, start, stride, &mut line[..self.height], &self.along);
        }
    }
}

/// Blurs every `step`th value from `start` on, as many as `line` has room for; the ends go on
/// beyond the edges.
fn blur(values: &mut [f32], start: usize, step: usize, line: &mut [f32], kernel: &[f32]) {
    for (i, value) in line.iter_mut().enumerate() {
        *value = values[start + i * step];
    }
    let last = line.len() - 1;
    for i in 0..line.len() {
        let mut sum = kernel[0] * line[i];
        for (distance, weight) in kernel.iter().enumerate().skip(1) {
            sum += weight * (line[i.saturating_sub(distance)] + line[(i + distance).min(last)]);
        }
        values[start + i * step] = sum;
    }
}

/// Half a Gaussian of this standard deviation in pixels, from its middle outwards; the whole sums
/// to 1.
fn gaussian(deviation: f32) -> Vec<f32> {
    let reach = (3.0 * deviation).ceil() as usize;
    let weight = |i: usize| (-0.5 * (i as f32 / deviation).powi(2)).exp();
    let half: Vec<f32> = (0..=reach).map(weight).collect();
    let sum = 2.0 * half.iter().sum::<f32>() - half[0];
    half.iter().map(|w| w / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_keeps_what_is_even_and_its_sum() {
        let shape = InputShape {
            channels: 3,
            height: 70,
            width: 50,
        };
        let view = View::new(shape);
        assert_eq!((view.width, view.height), (17, 24));
        let even = view.of(&[0.25f32], |&value, floats| floats.fill(value));
        assert!(even.iter().all(|v| (v - 0.25).abs() < 1e-5));
        assert!(gaussian(0.29).len() > 1 && (gaussian(2.0)[0] - 0.1995).abs() < 1e-3);
    }
}
