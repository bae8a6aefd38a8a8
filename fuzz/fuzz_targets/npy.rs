//! Any bytes as a NumPy array: an error or as many values as its shape says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lookalike_eval::npy;

fuzz_target!(|data: &[u8]| {
    if let Ok(array) = npy::read::<f32>(data) {
        assert_eq!(array.data.len(), array.rows * array.columns);
    }
});
