//! What cameras write into files, in each container that it is read from.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lookalike_images::Exif;

fuzz_target!(|data: &[u8]| {
    let _ = Exif::of_file(data);
    // The block alone, in a container that is right.
    let length = u16::try_from(data.len() + 8).unwrap_or(u16::MAX);
    let mut file = b"\xff\xd8\xff\xe1".to_vec();
    file.extend(length.to_be_bytes());
    file.extend(b"Exif\0\0");
    file.extend(data);
    let found = Exif::of_file(&file);
    assert!(found.latitude.is_none_or(|degrees| degrees.abs() <= 90.0));
    assert!(found.longitude.is_none_or(|degrees| degrees.abs() <= 180.0));
    assert!(found.taken.is_none_or(|taken| taken.len() == 19));
});
