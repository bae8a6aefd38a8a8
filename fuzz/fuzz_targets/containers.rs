//! What holds for a container of any bytes; shared by the targets.

use std::collections::HashSet;

use lookalike_sources::{Limits, SourceError, SourceOptions, open_bytes};

/// Small, so that bombs are found to be bombs.
const LIMITS: Limits = Limits {
    item_bytes: 1 << 16,
    members: 100,
    ratio: 100,
};

/// Keys are unique, contents are within the limit, and what is listed can be asked for.
pub fn check(name: &str, bytes: &[u8]) {
    let options = SourceOptions {
        limits: LIMITS,
        ..SourceOptions::default()
    };
    let source = match open_bytes(name, bytes.to_vec(), &options) {
        Ok(source) => source,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let Ok(entries) = source.entries() else {
        return;
    };
    let mut keys = HashSet::new();
    for item in entries.take(1000) {
        match item {
            Ok(entry) => {
                assert!(keys.insert(entry.key.clone()), "{} came twice", entry.key);
                if keys.len() <= 4 {
                    let same = source.get(&entry.key).expect("what is listed is there");
                    assert_eq!((&same.label, &same.extra), (&entry.label, &entry.extra));
                }
                if let Ok(bytes) = entry.read(&LIMITS) {
                    assert!((1..=LIMITS.item_bytes as usize).contains(&bytes.len()));
                }
            }
            Err(skipped) => assert!(!skipped.reason.is_empty()),
        }
    }
    let absent = source.get("no such key, certainly");
    assert!(matches!(absent, Err(SourceError::NoSuchImage { .. } | SourceError::Skipped(_))));
}
