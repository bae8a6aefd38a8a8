//! What is found out about a picture while it is read and decoded anyway.

use lookalike_gallery::Facts;
use lookalike_images::{Exif, Pixels, measure};

/// Adds the measures of a picture, as decoded for an encoder, in as many digits as say something:
/// few different values can be counted, and take little room.
pub(super) fn add_measures(facts: &mut Facts, pixels: &Pixels) {
    let found = measure(pixels);
    // Minus zero becomes zero.
    let rounded = |value: f32, scale: f64| Some((f64::from(value) * scale).round() / scale + 0.0);
    facts.brightness = rounded(found.brightness, 1e3);
    facts.contrast = rounded(found.contrast, 1e4);
    facts.sharpness = rounded(found.sharpness, 1e3);
    facts.entropy = rounded(found.entropy, 1e2);
    facts.colourfulness = rounded(found.colourfulness, 1e1);
    facts.flat_bottom = rounded(found.flat_bottom, 1e3);
    facts.undecoded = rounded(found.undecoded, 1e3);
}

/// Sets what a camera wrote.
pub(super) fn set_exif(facts: &mut Facts, exif: Exif) {
    facts.taken = exif.taken;
    facts.camera = exif.camera;
    facts.lens = exif.lens;
    facts.latitude = exif.latitude;
    facts.longitude = exif.longitude;
    facts.orientation = exif.orientation;
}
