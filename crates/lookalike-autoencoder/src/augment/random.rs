//! Random numbers that are the same for a seed on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers; the seed is the cipher's key, so the stream does not depend on how a
/// library makes keys of seeds.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub(super) fn fraction(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [-1, 1).
    pub(super) fn signed(&mut self) -> f32 {
        self.fraction() * 2.0 - 1.0
    }

    /// Two independent draws of the standard normal distribution (Box and Muller 1958).
    pub(super) fn normal_pair(&mut self) -> [f32; 2] {
        // 1 - [0, 1) is never zero, so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * self.fraction()).sin_cos();
        [radius * cos, radius * sin]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_mean_the_same_for_ever() {
        // The first words of the ChaCha8 key stream for the key zero, as its authors give them.
        let mut random = Random::new(0);
        let expected = [0x2fef_003e_u32, 0xd640_5f89].map(|word| (word >> 8) as f32 / 16_777_216.0);
        assert_eq!([random.fraction(), random.fraction()], expected);
        assert_ne!(Random::new(1).fraction(), expected[0]);
    }
}
