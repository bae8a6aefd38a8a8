//! Any bytes as a zip archive: an error, or members that keep the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod containers;

fuzz_target!(|data: &[u8]| containers::check("fuzz.zip", data));
