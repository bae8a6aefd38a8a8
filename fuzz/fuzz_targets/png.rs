//! Any bytes as a PNG file: an error or a picture whose data has the length of its sides.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lookalike_images::Pixels;

fuzz_target!(|data: &[u8]| {
    if let Ok(pixels) = Pixels::from_png(data) {
        let values = pixels.width() * pixels.height() * pixels.channels();
        assert_eq!(pixels.data().len(), values);
    }
});
