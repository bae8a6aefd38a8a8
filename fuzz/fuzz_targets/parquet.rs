//! Any bytes as a Parquet file: an error, or rows that keep the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod containers;

/// Parquet's own reader panics at some damage, which our crate catches; any other panic is a finding.
fn let_parquet_panic() {
    std::panic::set_hook(Box::new(|about| {
        let place = about.location().map_or("", |place| place.file());
        if place.contains("lookalike") || place.contains("fuzz_targets") {
            eprintln!("{about}");
            std::process::abort();
        }
    }));
}

fuzz_target!(init: let_parquet_panic(), |data: &[u8]| containers::check("fuzz.parquet", data));
