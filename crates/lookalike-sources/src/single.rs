//! A single image file, with its pages.

use crate::entry::Entry;
use crate::error::SourceError;
use crate::limits::Limits;
use crate::skipped::Skipped;
use crate::source::{Entries, Source, find};
use crate::tiff_pages::further;

/// A source of one file: an image, or the pages of one.
pub(crate) struct Single {
    name: String,
    items: Vec<Result<Entry, Skipped>>,
}

impl Single {
    pub(crate) fn new(name: String, item: Result<Entry, Skipped>, limits: &Limits) -> Self {
        let pages = item
            .as_ref()
            .map(|entry| further(entry, limits))
            .unwrap_or_default();
        let items = std::iter::once(item).chain(pages).collect();
        Self { name, items }
    }
}

impl Source for Single {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        Some(self.items.len() as u64)
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        Ok(Box::new(self.items.clone().into_iter()))
    }

    /// A page may be asked for by its number alone: `scan.tif#2` names the page 2 of the source
    /// `scan.tif`.
    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        let page = |item: &&Result<Entry, Skipped>| {
            let own = item.as_ref().ok().map(|entry| entry.key.as_str());
            own.and_then(crate::tiff_pages::page_of)
                .is_some_and(|(_, number)| key == number.to_string())
        };
        match self.items.iter().find(page) {
            Some(Ok(entry)) => Ok(entry.clone()),
            _ => find(&self.name, self.items.clone().into_iter(), key),
        }
    }
}
