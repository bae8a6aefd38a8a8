//! Removing from a gallery what its source no longer has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use lookalike_gallery::{Gallery, Stubs};
use uuid::Uuid;

use crate::Error;
use crate::contents::short;

/// Points removed at a time.
const PAGE: usize = 10_000;

/// What a source lists.
#[derive(Default)]
pub(super) struct Seen {
    ids: HashSet<Uuid>,
    /// The folders of what is listed, and the folders above them.
    folders: HashSet<String>,
}

impl Seen {
    /// Notes an image that is listed, or was passed over.
    pub fn insert(&mut self, id: Uuid, key: &str) {
        self.ids.insert(id);
        for folder in folders(key) {
            // The folders above one that is known are known.
            if !self.folders.contains(folder) {
                self.folders.insert(folder.to_owned());
            } else {
                break;
            }
        }
    }
}

/// The folders that a key lies in, the innermost first.
fn folders(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(key.rsplit_once('/'), |(folder, _)| folder.rsplit_once('/'))
        .map(|(folder, _)| folder)
}

/// Removes the points of a source that are not listed any more, and says how many.
///
/// # Errors
///
/// [`Error::Emptied`] where a folder lists nothing any more, unless that is `meant`: then nothing
/// is removed.
pub(super) fn prune(
    source: &str,
    gallery: &dyn Gallery,
    seen: &Seen,
    meant: bool,
) -> Result<usize, Error> {
    let mut gone = Vec::new();
    let mut left: HashSet<u128> = HashSet::new();
    // What is gone in each folder that lists nothing: the hashes of the contents.
    let mut emptied: HashMap<String, Vec<u128>> = HashMap::new();
    let may_be_away = may_be_away(source);
    for stub in Stubs::new(gallery, source) {
        let stub = stub?;
        let content = short(&stub.blake3);
        if seen.ids.contains(&stub.id) {
            left.insert(content);
            continue;
        }
        gone.push(stub.id);
        let outermost = folders(&stub.key)
            .take_while(|folder| !seen.folders.contains(*folder))
            .last();
        if let Some(folder) = outermost.filter(|_| may_be_away) {
            emptied.entry(folder.to_owned()).or_default().push(content);
        }
    }
    let all_gone = seen.ids.is_empty() && !gone.is_empty();
    if !meant {
        let mut folders = BTreeMap::new();
        match all_gone {
            true => drop(folders.insert(source.to_owned(), gone.len())),
            false => {
                for (folder, contents) in emptied {
                    // A folder that was renamed: nothing of it is lost.
                    if !contents.iter().all(|content| left.contains(content)) {
                        folders.insert(folder, contents.len());
                    }
                }
            }
        }
        if !folders.is_empty() {
            return Err(Error::Emptied {
                source_name: source.to_owned(),
                folders: folders.into_iter().collect(),
            });
        }
    }
    let mut removed = 0;
    for ids in gone.chunks(PAGE) {
        removed += gallery.delete(ids)?;
    }
    Ok(removed)
}

/// Whether folders of a source may be on a disk that is not mounted: not those in an archive, of a
/// list or in an object store.
fn may_be_away(source: &str) -> bool {
    !source.contains("://") && !Path::new(source).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_key_come_from_within() {
        assert_eq!(folders("a/b/c.jpg").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(folders("c.jpg").count(), 0);
        let mut seen = Seen::default();
        seen.insert(Uuid::from_u128(1), "a/b/c.jpg");
        seen.insert(Uuid::from_u128(2), "a/d/e/c.jpg");
        let mut found: Vec<_> = seen.folders.iter().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, ["a", "a/b", "a/d", "a/d/e"]);
    }
}
