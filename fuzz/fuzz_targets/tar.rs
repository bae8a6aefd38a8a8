//! Any bytes as a tar archive, packed as they begin: an error, or members that keep the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod containers;

fuzz_target!(|data: &[u8]| {
    let name = match data {
        [0x1f, 0x8b, ..] => "fuzz.tar.gz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "fuzz.tar.zst",
        _ => "fuzz.tar",
    };
    containers::check(name, data);
});
