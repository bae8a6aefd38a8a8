//! Where in an archive each key is, so that one image is found without going through the others.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::OnceLock;

use crate::entry::Entry;
use crate::error::SourceError;
use crate::seen::{First, digest};
use crate::skipped::Skipped;
use crate::source::{find, no_such_image};

/// Where each key's sample begins, by the key's digest; `None` if the item is passed over.
type Places = HashMap<u128, Option<u64>, BuildHasherDefault<First>>;

/// The places of an archive's keys, listed when a key is first asked for.
#[derive(Default)]
pub(crate) struct Index(OnceLock<Places>);

impl Index {
    /// The image with a key in the archive `name`, whose items begin at `begin`. `list` gives the
    /// items from a place on, each with the place at which its sample begins.
    pub(crate) fn get<I>(
        &self,
        name: &str,
        key: &str,
        begin: u64,
        list: impl Fn(u64) -> Result<I, SourceError>,
    ) -> Result<Entry, SourceError>
    where
        I: Iterator<Item = (u64, Result<Entry, Skipped>)>,
    {
        let places = match self.0.get() {
            Some(places) => places,
            None => {
                let mut places = Places::default();
                for (place, item) in list(begin)? {
                    let (key, place) = match item {
                        Ok(entry) => (entry.key, Some(place)),
                        Err(skipped) => (skipped.key, None),
                    };
                    let known = places.entry(digest(&key)).or_insert(None);
                    *known = known.or(place);
                }
                self.0.get_or_init(|| places)
            }
        };
        let from = match places.get(&digest(key)) {
            None => return Err(no_such_image(name, key)),
            Some(&Some(place)) => place,
            // Why it is passed over may depend on the items before it.
            Some(None) => begin,
        };
        find(name, list(from)?.map(|(_, item)| item), key)
    }
}
