//! Any bytes as a picture file of any format, whole and reduced: an error or a picture whose data
//! has the length of its sides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lookalike_images::{DecodeOptions, decode, thumbnail};

fuzz_target!(|bytes: &[u8]| {
    // Limits that keep one input fast.
    let whole = DecodeOptions {
        max_pixels: 1 << 20,
        max_memory: 1 << 26,
        ..DecodeOptions::default()
    };
    for target in [None, Some((3, 3)), Some((17, 9))] {
        let options = DecodeOptions { target, ..whole.clone() };
        match decode(bytes, &options) {
            Ok(decoded) => {
                let pixels = decoded.pixels;
                let values = pixels.width() * pixels.height() * pixels.channels();
                assert_eq!(pixels.data().len(), values);
                assert!(pixels.width() <= decoded.width && pixels.height() <= decoded.height);
                assert!(!thumbnail(&pixels, 16).expect("a JPEG").is_empty());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
