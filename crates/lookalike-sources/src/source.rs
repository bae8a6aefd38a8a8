//! What every source can do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::SourceError;
use crate::limits::Limits;
use crate::skipped::Skipped;

/// The items of a source, one after another: images, and what was passed over. They may outlive the
/// source and move to another thread.
pub type Entries = Box<dyn Iterator<Item = Result<Entry, Skipped>> + Send>;

/// Says of an item whether it is wanted, by its sample if it is of one, and otherwise by its key.
pub type Wanted = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A collection of images, listed one after another.
///
/// Nothing is decoded, and where the container allows nothing is read before [`Entry::read`].
pub trait Source: Send + Sync {
    /// The source's identity: canonical and absolute, so that names and keys together name an image
    /// on this machine.
    fn name(&self) -> &str;

    /// About how many images there are, if that is known without reading. Some may be passed over.
    fn len_hint(&self) -> Option<u64>;

    /// Begins with the first item. The order is the same whenever the source is.
    ///
    /// A bad item comes as [`Skipped`] and the reading goes on; so does the damaged rest of an
    /// archive, once, as the last item.
    ///
    /// # Errors
    ///
    /// When nothing of the source can be read.
    fn entries(&self) -> Result<Entries, SourceError>;

    /// As [`Source::entries`], without the items that are not wanted, which may not even be looked
    /// at. What cannot be listed, be it the rest of an archive or a folder, is told in any case: it
    /// may hide what is wanted.
    ///
    /// # Errors
    ///
    /// As [`Source::entries`].
    fn entries_wanted(&self, wanted: Wanted) -> Result<Entries, SourceError> {
        let entries = self.entries()?;
        Ok(Box::new(entries.filter(move |item| match item {
            Ok(entry) => wanted(entry.sample.as_deref().unwrap_or(&entry.key)),
            Err(skipped) => skipped.key.is_empty() || wanted(&skipped.key),
        })))
    }

    /// Whether the images are gone when the program that holds them ends, so that
    /// [`open`](crate::open) with its name does not give them again. What is to be shown of them
    /// later has to be kept.
    fn is_transient(&self) -> bool {
        false
    }

    /// The image with a key: the first that [`Source::entries`] gives. Goes through the source up
    /// to it, unless there is a shorter way: folders, zip and plain tar archives, Parquet and
    /// object stores have one.
    ///
    /// # Errors
    ///
    /// [`SourceError::NoSuchImage`], [`SourceError::Skipped`], and those of reading.
    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        find(self.name(), self.entries()?, key)
    }
}

/// The item with a key among others. Something that is passed over may come before the image of the
/// same key.
pub(crate) fn find(
    name: &str,
    entries: impl Iterator<Item = Result<Entry, Skipped>>,
    key: &str,
) -> Result<Entry, SourceError> {
    let mut passed_over = None;
    for item in entries {
        match item {
            Ok(entry) if entry.key == key => return Ok(entry),
            Err(skipped) if skipped.key == key && !key.is_empty() => {
                passed_over.get_or_insert(skipped);
            }
            _ => {}
        }
    }
    Err(match passed_over {
        Some(skipped) => SourceError::Skipped(skipped),
        None => no_such_image(name, key),
    })
}

pub(crate) fn no_such_image(name: &str, key: &str) -> SourceError {
    SourceError::NoSuchImage {
        name: name.to_owned(),
        key: key.to_owned(),
        hint: "check the spelling of the key".to_owned(),
    }
}

/// Where labels come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LabelFrom {
    /// What suits the source: a table's column `label`, a WebDataset sample's `.cls`, otherwise the
    /// parent folder.
    #[default]
    Default,
    /// The name of the folder that holds the image; an image at the top of its source has none.
    Parent,
    /// A column of a table, a field of a sample's JSON.
    Column(String),
    /// Nowhere.
    None,
}

/// How to read a source.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// Where labels come from.
    pub label: LabelFrom,
    /// The most that one item and one archive may take.
    pub limits: Limits,
    /// Whether files and folders whose names begin with a dot are read too.
    pub hidden: bool,
    /// The environment in which object stores look for their credentials and settings (`AWS_…`,
    /// `GOOGLE_…`, `AZURE_…`); the process's own unless given.
    pub environment: Option<BTreeMap<String, String>>,
}
