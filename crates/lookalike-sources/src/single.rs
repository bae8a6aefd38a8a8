//! One image that was named itself.

use crate::entry::Entry;
use crate::error::SourceError;
use crate::skipped::Skipped;
use crate::source::{Entries, Source};

/// A source of one image.
pub(crate) struct Single {
    name: String,
    item: Result<Entry, Skipped>,
}

impl Single {
    pub(crate) fn new(name: String, item: Result<Entry, Skipped>) -> Self {
        Self { name, item }
    }
}

impl Source for Single {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        Some(1)
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        Ok(Box::new(std::iter::once(self.item.clone())))
    }
}
