//! Every kernel against plain loops in f64, on every instruction set that this processor has.
//!
//! In bf16 the factors are rounded before: then every product is exact in f32, and only the sums'
//! rounding is left to tolerate.
//!
//! A sum of n products in f32 may differ from the exact one by a few roundings of its partial sums,
//! so values are compared relative to the sum of the products' absolute values: see [`TOLERANCE`].

mod bf16;
mod convolution;
mod elementwise;
mod linear;
mod network;

use crate::factors::{rounded, widened};
use crate::precision::Arithmetic;
use std::fmt::Debug;

/// 32 units in the last place of the sum of absolute products.
const TOLERANCE: f64 = 4e-6;

/// A value that was summed up in f64, with the sum of the absolute values of its terms.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    absolute: f64,
}

impl Sum {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.absolute += term.abs();
    }

    fn relu(self, relu: bool) -> Self {
        Self {
            value: if relu {
                self.value.max(0.0)
            } else {
                self.value
            },
            ..self
        }
    }
}

fn check(what: &str, set: impl Debug, got: &[f32], want: &[Sum]) {
    assert_eq!(got.len(), want.len());
    for (index, (&got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want.value).abs();
        assert!(
            error <= TOLERANCE * want.absolute,
            "{what} on {set:?}: element {index} is {got}, not {}: off by {error:e}, terms sum up to {}",
            want.value,
            want.absolute,
        );
    }
}

/// What the layers make of factors.
fn factors(arithmetic: Arithmetic, values: &[f32]) -> Vec<f32> {
    let round = |&value: &f32| match arithmetic {
        Arithmetic::F32(_) => value,
        Arithmetic::Bf16(_) => widened(rounded(value)),
    };
    values.iter().map(round).collect()
}

/// Numbers from -1 to 1 that depend on nothing but the seed (SplitMix64).
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Runs `work` in a pool of its own with that many threads.
fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    crate::pool(threads).install(work)
}
