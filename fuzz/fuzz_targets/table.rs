//! Any bytes as a list of images: an error, or rows.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod containers;

fuzz_target!(|data: &[u8]| {
    let name = match data.iter().find(|byte| matches!(byte, b'{' | b',' | b'\t')) {
        Some(b'{') => "fuzz.jsonl",
        Some(b'\t') => "fuzz.tsv",
        _ => "fuzz.csv",
    };
    containers::check(name, data);
});
