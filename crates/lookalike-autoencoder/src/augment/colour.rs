//! Random changes of colour.

use super::Augmentation;
use super::random::Random;

/// Makes a stream of its own from an image's seed, so that changes of colour do not depend on
/// whether places are changed.
const STREAM: u64 = 0x6c6f_6f6b_616c_696b;

/// The luma of Rec. 709.
const LUMA: [f32; 3] = [0.2126, 0.7152, 0.0722];

/// One draw of the changes of colour.
pub(super) struct ColourChange {
    brightness: f32,
    contrast: f32,
    /// Red, green and blue of the new pixel, each from those of the old: saturation and hue.
    mixed: [[f32; 3]; 3],
    power: f32,
}

impl ColourChange {
    /// Draws one; always the same draws in the same order.
    pub(super) fn draw(augmentation: &Augmentation, channels: usize, seed: u64) -> Self {
        let mut random = Random::new(seed ^ STREAM);
        let mut within = |range: f32| range * random.signed();
        let brightness = (1.0 + within(augmentation.brightness)).max(0.0);
        let contrast = (1.0 + within(augmentation.contrast)).max(0.0);
        let saturation = (1.0 + within(augmentation.saturation)).max(0.0);
        let (sin, cos) = within(augmentation.hue_degrees).to_radians().sin_cos();
        // Evenly up and down in powers: 1.2 as often as 1 / 1.2.
        let gamma = random.signed();
        let power = (1.0 + augmentation.gamma.max(0.0)).powf(gamma);
        // A turn about the axis of greys (Rodrigues), which leaves grey as it is.
        let third = (1.0 - cos) / 3.0;
        let side = sin / 3f32.sqrt();
        let turn = |row: usize, column: usize| match (column + 3 - row) % 3 {
            0 => cos + third,
            1 => third - side,
            _ => third + side,
        };
        let mut mixed = [[0.0; 3]; 3];
        for (row, mixed) in mixed.iter_mut().enumerate() {
            for (column, mixed) in mixed.iter_mut().enumerate() {
                // The turned pixel, drawn towards the luma of the pixel as it was.
                *mixed = saturation * turn(row, column) + (1.0 - saturation) * LUMA[column];
            }
        }
        if channels < 3 {
            mixed = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        }
        Self {
            brightness,
            contrast,
            mixed,
            power,
        }
    }

    /// Changes values of 0 to 1, in pixels of 1 or 3 channels.
    pub(super) fn apply(&self, values: &mut [f32], channels: usize) {
        let luma = |pixel: &[f32]| match *pixel {
            [r, g, b] => r * LUMA[0] + g * LUMA[1] + b * LUMA[2],
            _ => pixel[0],
        };
        let pixels = values.len() / channels;
        let sum: f64 = values
            .chunks_exact(channels)
            .map(|pixel| f64::from(luma(pixel)))
            .sum();
        let mean = (sum / pixels as f64) as f32;
        // Brightness, then contrast about the brighter mean.
        let factor = self.brightness * self.contrast;
        let offset = self.brightness * mean * (1.0 - self.contrast);
        for pixel in values.chunks_exact_mut(channels) {
            if let [r, g, b] = *pixel {
                for (value, row) in pixel.iter_mut().zip(&self.mixed) {
                    *value = row[0] * r + row[1] * g + row[2] * b;
                }
            }
            for value in pixel {
                let moved = (*value * factor + offset).clamp(0.0, 1.0);
                *value = if self.power == 1.0 {
                    moved
                } else {
                    moved.powf(self.power)
                };
            }
        }
    }
}
