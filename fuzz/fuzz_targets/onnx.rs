//! Any bytes as an ONNX file: an error that says something, or a model that can be loaded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lookalike_pretrained::load_bytes;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = load_bytes(data.to_vec()) {
        assert!(!error.to_string().is_empty());
    }
});
