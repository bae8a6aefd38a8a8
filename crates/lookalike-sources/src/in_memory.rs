//! Images that a program holds itself.

use std::collections::HashSet;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::SourceError;
use crate::source::{Entries, Source};

/// A source of entries in memory, such as pixels that a program made.
#[derive(Debug, Clone)]
pub struct InMemory {
    name: String,
    entries: Arc<[Entry]>,
}

impl InMemory {
    /// A source of this name, which becomes part of its images' ids.
    ///
    /// # Errors
    ///
    /// When two entries have the same key.
    pub fn new(name: impl Into<String>, entries: Vec<Entry>) -> Result<Self, SourceError> {
        let name = name.into();
        let mut seen = HashSet::new();
        if let Some(twice) = entries.iter().find(|entry| !seen.insert(&entry.key)) {
            return Err(SourceError::DuplicateKey {
                key: twice.key.clone(),
                name,
            });
        }
        Ok(Self {
            name,
            entries: entries.into(),
        })
    }
}

impl Source for InMemory {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        Some(self.entries.len() as u64)
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        let entries = Arc::clone(&self.entries);
        Ok(Box::new(
            (0..entries.len()).map(move |at| Ok(entries[at].clone())),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Content, RawPixels};

    fn entry(key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            label: None,
            sample: None,
            extra: Default::default(),
            location: key.to_owned(),
            stamp: None,
            content: Content::Pixels(RawPixels {
                width: 1,
                height: 1,
                channels: 1,
                data: vec![7].into(),
            }),
        }
    }

    #[test]
    fn entries_come_in_order_and_by_key() {
        let source = InMemory::new("mine", vec![entry("b"), entry("a")]).unwrap();
        let keys: Vec<_> = source.entries().unwrap().map(|e| e.unwrap().key).collect();
        assert_eq!(keys, ["b", "a"]);
        assert_eq!(source.len_hint(), Some(2));
        assert_eq!(source.get("a").unwrap().pixels().unwrap().data, [7][..]);
        assert!(source.get("c").is_err());
    }

    #[test]
    fn a_key_names_one_image() {
        let error = InMemory::new("mine", vec![entry("a"), entry("a")]).unwrap_err();
        assert!(matches!(error, SourceError::DuplicateKey { .. }), "{error}");
    }
}
