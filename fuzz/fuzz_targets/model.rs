//! Any bytes as a model file: an error or a model that writes itself as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lookalike_autoencoder::{Autoencoder, DeviceChoice};

fuzz_target!(|data: &[u8]| {
    if let Ok(model) = Autoencoder::from_bytes(data, "the input", DeviceChoice::Cpu) {
        let bytes = model.to_bytes();
        let again = Autoencoder::from_bytes(&bytes, "the output", DeviceChoice::Cpu);
        assert_eq!(again.expect("what was written is read").to_bytes(), bytes);
    }
});
