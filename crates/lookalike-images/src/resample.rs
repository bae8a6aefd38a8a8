//! Scaling without aliasing, bicubic or by other filters.
//!
//! Of what the SIMD crates for it offer we need little, and the best kept of them
//! (fast_image_resize 6.1.0) read outside of its rows for some small sides; so this is plain, safe
//! Rust, in loops that compilers vectorise. Sums are in a fixed order: the same pixels on every
//! processor.

use serde::{Deserialize, Serialize};

use crate::pixels::{MAX_SIDE, Pixels};

/// What a new pixel is made of when an image is resized.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// A triangle, two pixels wide.
    Bilinear,
    /// Cubic convolution (Keys 1981) with a = -0.5, four pixels wide.
    Bicubic,
    /// A windowed sinc, six pixels wide.
    Lanczos,
}

impl Filter {
    /// How far from its centre the filter reaches.
    fn radius(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => cubic(x),
            Self::Lanczos => lanczos(x),
        }
    }
}

/// Scales a part of an image (left, top, right, bottom, in its pixels) to the sides given.
///
/// This gives what Pillow's `resize` gives with the same filter, within one grey level: the filter
/// is as wide as the larger of the two pixels, and it also sees what lies beside the part. Numbers
/// out of range are clamped.
pub fn resize(
    pixels: &Pixels,
    [left, top, right, bottom]: [f64; 4],
    width: usize,
    height: usize,
    filter: Filter,
) -> Pixels {
    // At least a little of the image has to be seen; `max` also replaces what is not a number.
    let range = |from: f64, to: f64, side: usize| {
        let from = from.max(0.0).min(side as f64 - 1e-3);
        (from, to.max(from + 1e-3).min(side as f64))
    };
    let (left, right) = range(left, right, pixels.width());
    let (top, bottom) = range(top, bottom, pixels.height());
    let (width, height) = (width.clamp(1, MAX_SIDE), height.clamp(1, MAX_SIDE));
    resample_with(pixels, [left, top, right, bottom], width, height, filter)
}

/// A part of a picture in its pixels, not only whole ones: left, top, right, bottom.
pub(crate) type Part = [f64; 4];

/// All of a picture.
pub(crate) fn whole(pixels: &Pixels) -> Part {
    [0.0, 0.0, pixels.width() as f64, pixels.height() as f64]
}

/// What the pixels of one side are made of.
struct Weights {
    /// For each new pixel the first old one, and where its weights are.
    starts: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<f32>,
}

impl Weights {
    /// A filter as wide as the larger of the two pixels, over the part from `from` to `to` of a
    /// side of `old` pixels.
    fn new(old: usize, from: f64, to: f64, new: usize, filter: Filter) -> Self {
        let step = (to - from) / new as f64;
        let spread = step.max(1.0);
        let radius = filter.radius() * spread;
        let mut starts = Vec::with_capacity(new);
        let mut weights = Vec::new();
        for pixel in 0..new {
            let centre = from + (pixel as f64 + 0.5) * step;
            let first = (centre - radius).floor().clamp(0.0, old as f64 - 1.0) as usize;
            let end = (centre + radius).ceil().clamp(1.0, old as f64) as usize;
            let end = end.max(first + 1);
            let place = weights.len();
            let kernel =
                (first..end).map(|old| filter.weight((old as f64 + 0.5 - centre) / spread));
            let kernel: Vec<f64> = kernel.collect();
            // Beyond the picture there is nothing, so what is there weighs more.
            let sum: f64 = kernel.iter().sum();
            weights.extend(kernel.iter().map(|weight| (weight / sum) as f32));
            starts.push((first, place..weights.len()));
        }
        Self { starts, weights }
    }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| match x * std::f64::consts::PI {
        0.0 => 1.0,
        x => x.sin() / x,
    };
    if x.abs() < 3.0 {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

/// Scales a part of a picture to the sides given, at least 1 each. The part must have some extent
/// inside the picture.
pub(crate) fn resample(pixels: &Pixels, part: Part, width: usize, height: usize) -> Pixels {
    resample_with(pixels, part, width, height, Filter::Bicubic)
}

fn resample_with(
    pixels: &Pixels,
    part: Part,
    width: usize,
    height: usize,
    filter: Filter,
) -> Pixels {
    let channels = pixels.channels();
    let [left, top, right, bottom] = part;
    let across = Weights::new(pixels.width(), left, right, width, filter);
    let along = Weights::new(pixels.height(), top, bottom, height, filter);
    let stride = pixels.width() * channels;
    let mut row = vec![0f32; stride];
    let mut data = vec![0; width * height * channels];
    let rows = data.chunks_exact_mut(width * channels);
    // Down first: whole rows are added, then only as many values as there are new rows are left to
    // sum across.
    for (out, (first, places)) in rows.zip(&along.starts) {
        row.fill(0.0);
        let sources = pixels.data()[first * stride..].chunks_exact(stride);
        for (source, &weight) in sources.zip(&along.weights[places.clone()]) {
            for (sum, &value) in row.iter_mut().zip(source) {
                *sum += weight * f32::from(value);
            }
        }
        match channels {
            1 => sum_across::<1>(&row, &across, out),
            _ => sum_across::<3>(&row, &across, out),
        }
    }
    Pixels::trusted(width, height, channels, data)
}

fn sum_across<const CHANNELS: usize>(row: &[f32], across: &Weights, out: &mut [u8]) {
    let (row, _) = row.as_chunks::<CHANNELS>();
    let (out, _) = out.as_chunks_mut::<CHANNELS>();
    for (out, (first, places)) in out.iter_mut().zip(&across.starts) {
        let mut sums = [0.5f32; CHANNELS];
        for (pixel, &weight) in row[*first..].iter().zip(&across.weights[places.clone()]) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += weight * value;
            }
        }
        // Cubics overshoot at edges.
        *out = sums.map(|sum| sum.clamp(0.0, 255.0) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_keys() {
        assert_eq!([0.0, 1.0, 2.0, 3.0].map(cubic), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!([0.5, -1.5].map(cubic), [0.5625, -0.0625]);
    }

    #[test]
    fn any_numbers_are_a_part() {
        let pixels = Pixels::new(3, 2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let all = [0.0, 0.0, 3.0, 2.0];
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            assert_eq!(resize(&pixels, all, 3, 2, filter), pixels);
            for part in [[f64::NAN; 4], [9.0, 9.0, -9.0, -9.0], [f64::INFINITY; 4]] {
                assert_eq!(resize(&pixels, part, 0, 5, filter).data().len(), 5);
            }
        }
    }

    #[test]
    fn slopes_stay_slopes() {
        let data = (0..60 * 40).map(|i| (i % 60 * 4) as u8).collect();
        let slope = Pixels::new(60, 40, 1, data).unwrap();
        let small = resample(&slope, whole(&slope), 15, 7);
        for row in small.data().chunks(15) {
            for (x, &v) in row.iter().enumerate().skip(2).take(11) {
                // The middle of four pixels.
                assert_eq!(v, (16 * x + 6) as u8);
            }
        }
        // The right half alone, whole pixels or not.
        let half = resample(&slope, [30.5, 0.0, 50.5, 40.0], 10, 4);
        for (x, &v) in half.data()[..10].iter().enumerate() {
            assert_eq!(v, (4.0 * (31.5 + 2.0 * x as f32 - 0.5)).round() as u8);
        }
    }
}
