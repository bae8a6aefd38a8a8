//! The noise of the denoising autoencoder.

use lookalike_images::InputShape;
use serde::{Deserialize, Serialize};

use super::random::Random;
use crate::error::AutoencoderError;

/// Noise that the denoising autoencoder must see through (Vincent et al., "Stacked Denoising
/// Autoencoders", 2010).
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Standard deviation of the Gaussian noise added to every value; black to white is 1.
    pub gaussian: f32,
    /// Fraction of the pixels that are set to zero, all channels together.
    pub mask: f32,
}

impl Default for Noise {
    /// Gaussian 0.2, a quarter of the pixels masked.
    fn default() -> Self {
        Self {
            gaussian: 0.2,
            mask: 0.25,
        }
    }
}

impl Noise {
    /// Checks that both settings make sense.
    ///
    /// # Errors
    ///
    /// `gaussian` outside 0 to 10 or `mask` outside 0 to 1.
    pub fn check(&self) -> Result<(), AutoencoderError> {
        let settings = [
            ("gaussian", self.gaussian, 10.0, "0 to 10"),
            ("mask", self.mask, 1.0, "0 to 1"),
        ];
        for (setting, found, most, expected) in settings {
            if !(0.0..=most).contains(&found) {
                return Err(AutoencoderError::range("noise", setting, expected, found));
            }
        }
        Ok(())
    }

    /// Adds noise to one image: `source` and `out` are height x width x channels, bytes in and 0 to
    /// 1 out. The same seed gives the same noise. A setting that is not finite counts as 0.
    ///
    /// # Panics
    ///
    /// When `source` or `out` are not of the shape's length.
    pub fn apply(&self, source: &[u8], shape: InputShape, seed: u64, out: &mut [f32]) {
        assert_eq!(source.len(), shape.values(), "source of another shape");
        assert_eq!(out.len(), shape.values(), "output of another shape");
        for (out, &value) in out.iter_mut().zip(source) {
            *out = f32::from(value) / 255.0;
        }
        let mut random = Random::new(seed);
        if self.gaussian.is_finite() && self.gaussian > 0.0 {
            for pair in out.chunks_mut(2) {
                for (value, noise) in pair.iter_mut().zip(random.normal_pair()) {
                    *value = (*value + self.gaussian * noise).clamp(0.0, 1.0);
                }
            }
        }
        if self.mask > 0.0 {
            for pixel in out.chunks_exact_mut(shape.channels.max(1)) {
                if random.fraction() < self.mask {
                    pixel.fill(0.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: InputShape = InputShape {
        channels: 3,
        height: 40,
        width: 50,
    };

    fn noisy(gaussian: f32, mask: f32, seed: u64) -> Vec<f32> {
        let mut out = vec![0.0; SHAPE.values()];
        Noise { gaussian, mask }.apply(&vec![127; SHAPE.values()], SHAPE, seed, &mut out);
        out
    }

    #[test]
    fn without_noise_nothing_changes() {
        assert!(noisy(0.0, 0.0, 1).iter().all(|&v| v == 127.0 / 255.0));
    }

    #[test]
    fn the_gaussian_has_its_deviation() {
        let out = noisy(0.1, 0.0, 3);
        let count = out.len() as f32;
        let mean = out.iter().sum::<f32>() / count;
        let deviation = (out.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt();
        assert!((mean - 127.0 / 255.0).abs() < 0.01, "{mean}");
        assert!((deviation - 0.1).abs() < 0.005, "{deviation}");
    }

    #[test]
    fn whole_pixels_are_masked() {
        let out = noisy(0.0, 0.25, 4);
        let masked = |pixel: &[f32]| pixel.iter().all(|&v| v == 0.0);
        let count = out.chunks(3).filter(|pixel| masked(pixel)).count();
        assert!(
            out.chunks(3)
                .all(|p| masked(p) || p.iter().all(|&v| v > 0.0))
        );
        assert!((400..600).contains(&count), "{count} of 2000");
    }

    #[test]
    fn settings_are_checked() {
        assert!(Noise::default().check().is_ok());
        for (gaussian, mask) in [(-0.1, 0.0), (f32::NAN, 0.0), (0.0, 1.1)] {
            assert!(Noise { gaussian, mask }.check().is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn noise_is_bounded_and_the_same_for_a_seed(gaussian in 0f32..3.0, mask in 0f32..1.0, seed: u64) {
            let out = noisy(gaussian, mask, seed);
            prop_assert!(out.iter().all(|v| (0.0..=1.0).contains(v)));
            prop_assert_eq!(out, noisy(gaussian, mask, seed));
        }
    }
}
