//! Many containers as one source.

use std::collections::HashSet;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::SourceError;
use crate::names::parent;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{Entries, LabelFrom, Source, SourceOptions, Wanted, no_such_image};

/// Opens shards, which are named relative to the folder where their pattern begins.
pub(crate) trait Opener: Send + Sync {
    fn source(&self, shard: &str) -> Result<Box<dyn Source>, SourceError>;

    /// The shard as an image of its own, with its name as the key.
    fn image(&self, shard: &str) -> Result<Entry, Skipped>;

    fn is_image(&self, shard: &str) -> bool;

    fn is_folder(&self, shard: &str) -> bool;

    fn location(&self, shard: &str) -> String;

    /// Why there is no such shard, if there is none.
    fn missing(&self, shard: &str) -> Option<SkipReason>;
}

/// Many containers as one source, opened one at a time. A container that cannot be opened is passed
/// over.
#[derive(Clone)]
pub(crate) struct Shards {
    name: String,
    shards: Arc<[String]>,
    opener: Arc<dyn Opener>,
    label: LabelFrom,
}

impl Shards {
    pub(crate) fn new(
        name: String,
        mut shards: Vec<String>,
        opener: Arc<dyn Opener>,
        options: &SourceOptions,
    ) -> Self {
        let mut seen = HashSet::new();
        shards.retain(|shard| seen.insert(shard.clone()));
        Self {
            name,
            shards: shards.into(),
            opener,
            label: options.label.clone(),
        }
    }

    fn open(&self, shard: &str, wanted: &Wanted) -> Result<Entries, SkipReason> {
        if let Some(why) = self.opener.missing(shard) {
            return Err(why);
        }
        let source = self.opener.source(shard).map_err(as_reason)?;
        let (shard, wanted) = (shard.to_owned(), Arc::clone(wanted));
        let within = move |key: &str| wanted(&of_shard(&shard, key));
        source.entries_wanted(Arc::new(within)).map_err(as_reason)
    }

    /// An item of a shard, as an item of the set.
    fn adopt(&self, shard: &str, item: Result<Entry, Skipped>) -> Result<Entry, Skipped> {
        match item {
            Ok(mut entry) => {
                entry.key = of_shard(shard, &entry.key);
                entry.sample = entry.sample.map(|sample| of_shard(shard, &sample));
                let parents = matches!(self.label, LabelFrom::Default | LabelFrom::Parent);
                // A folder that is a shard is the parent folder of the images in it.
                if parents && entry.label.is_none() && self.opener.is_folder(shard) {
                    entry.label = parent(&entry.key);
                }
                Ok(entry)
            }
            Err(mut skipped) => {
                skipped.key = of_shard(shard, &skipped.key);
                Err(skipped)
            }
        }
    }
}

/// A shard's key as a key of the set; an empty key means the shard itself.
fn of_shard(shard: &str, key: &str) -> String {
    match key {
        "" => shard.to_owned(),
        key => format!("{shard}/{key}"),
    }
}

fn as_reason(error: SourceError) -> SkipReason {
    let kind = match &error {
        SourceError::Io { source, .. } => SkipReason::from_io(source, "open it").kind,
        SourceError::Remote { .. } => SkipKind::Unreadable,
        // Its name tells nothing, or this program was built without its kind.
        SourceError::Spec { .. } => SkipKind::Unsupported,
        _ => SkipKind::Damaged,
    };
    SkipReason::new(kind, error.to_string())
}

impl Source for Shards {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        None
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        self.entries_wanted(Arc::new(|_| true))
    }

    fn entries_wanted(&self, wanted: Wanted) -> Result<Entries, SourceError> {
        Ok(Box::new(Walk {
            shards: self.clone(),
            wanted,
            next: 0,
            current: None,
        }))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        let absent = || no_such_image(&self.name, key);
        for shard in self.shards.iter() {
            if shard == key && self.opener.is_image(shard) {
                return self.opener.image(shard).map_err(SourceError::Skipped);
            }
            let inner = key
                .strip_prefix(shard.as_str())
                .and_then(|rest| rest.strip_prefix('/'));
            // One shard's name may be the beginning of another's.
            if let Some(inner) = inner
                && !self.opener.is_image(shard)
            {
                let found = self.opener.source(shard)?.get(inner);
                match found {
                    Ok(entry) => return self.adopt(shard, Ok(entry)).map_err(SourceError::Skipped),
                    Err(SourceError::NoSuchImage { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Err(absent())
    }
}

struct Walk {
    shards: Shards,
    wanted: Wanted,
    next: usize,
    current: Option<(String, Entries)>,
}

impl Iterator for Walk {
    type Item = Result<Entry, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((shard, entries)) = &mut self.current {
                if let Some(item) = entries.next() {
                    return Some(self.shards.adopt(shard, item));
                }
                self.current = None;
            }
            let shard = self.shards.shards.get(self.next)?.clone();
            self.next += 1;
            if self.shards.opener.is_image(&shard) {
                match (self.wanted)(&shard) {
                    true => return Some(self.shards.opener.image(&shard)),
                    false => continue,
                }
            }
            match self.shards.open(&shard, &self.wanted) {
                Ok(entries) => self.current = Some((shard, entries)),
                Err(why) => {
                    let location = self.shards.opener.location(&shard);
                    return Some(Err(Skipped::new(shard, location, why)));
                }
            }
        }
    }
}
