//! Whatever bytes come, the IDX parser neither panics nor reads more images than a header promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lookalike_sources::idx::{IdxImages, IdxLabels};

/// Some promises are kept by gzip for a very long time; the first images show whether all is well.
const ENOUGH: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut images) = IdxImages::new(bytes, "fuzz") {
        let (promised, shape) = (images.promised(), images.shape());
        let mut read = 0;
        let mut failed = false;
        for image in images.by_ref().take(ENOUGH) {
            match image {
                Ok(pixels) => {
                    assert_eq!(pixels.data.len(), shape.bytes());
                    read += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    failed = true;
                }
            }
        }
        assert!(read <= promised);
        assert!(failed || read == promised.min(ENOUGH));
    }
    if let Ok(mut images) = IdxImages::new(bytes, "fuzz") {
        let _ = images.pass(2);
        let _ = images.next();
    }
    if let Ok(labels) = IdxLabels::new(bytes, "fuzz") {
        let promised = labels.promised();
        assert!(labels.filter(Result::is_ok).count() <= promised);
    }
});
