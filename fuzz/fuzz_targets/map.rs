//! Any bytes as a gallery's map, as they are and with a checksum that is right: an error or a map that writes itself as
//! it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lookalike::map::Map;

fuzz_target!(|data: &[u8]| {
    let mut sealed = data.to_vec();
    sealed.extend(blake3::hash(data).as_bytes());
    for bytes in [data, &sealed] {
        match Map::from_bytes(bytes, "the input") {
            Ok(map) => assert_eq!(map.to_bytes(), bytes),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
