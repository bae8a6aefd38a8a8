//! Searches by examples that are kept under names, in the gallery's folder, to be asked again.
//!
//! Of every example its code is kept, so that a search outlives pictures that were only sent, and
//! images that are gone. Of an image that is still in the gallery its code there counts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lookalike_files::replace_file;
use lookalike_gallery::{Example, Filter, Gallery, GalleryInfo, Strategy};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Query};

/// The most characters of a name.
pub const MAX_NAME: usize = 100;
/// The most searches that are kept.
pub const MAX_SEARCHES: usize = 1_000;
/// The most examples of one search.
pub const MAX_EXAMPLES: usize = 1_000;

/// The name of the file in a gallery's folder.
const FILE: &str = "searches.json";
const FORMAT: u32 = 1;

/// A search by examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedSearch {
    /// What is wanted; at least one.
    pub like: Vec<NamedExample>,
    /// What is not.
    #[serde(default)]
    pub unlike: Vec<NamedExample>,
    /// Only images whose payload passes, as [`Filter`] reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How the examples are weighed.
    pub strategy: Strategy,
}

/// An example of a [`NamedSearch`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedExample {
    /// The image of the gallery that it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Its code when the search was kept.
    pub code: Vec<f32>,
}

impl NamedSearch {
    /// Of resolved examples. Images must be in the gallery.
    ///
    /// # Errors
    ///
    /// When an image is not in the gallery, there is no example of what is wanted, or there are
    /// more than [`MAX_EXAMPLES`].
    pub fn new(
        gallery: &dyn Gallery,
        like: &[Example],
        unlike: &[Example],
        filter: Option<&Filter>,
        strategy: Strategy,
    ) -> Result<Self, Error> {
        if like.is_empty() {
            return Err(Error::Unusable(
                "a search is kept by its examples: give at least one of what is wanted".to_owned(),
            ));
        }
        if like.len() + unlike.len() > MAX_EXAMPLES {
            return Err(Error::Unusable(format!(
                "{} examples are too many for a search that is kept: give at most {MAX_EXAMPLES}",
                like.len() + unlike.len()
            )));
        }
        let kept = |example: &Example| match example {
            Example::Code(code) => Ok(NamedExample {
                id: None,
                code: code.clone(),
            }),
            Example::Id(id) => {
                let point = gallery.retrieve(&[*id])?.pop();
                let point = point.ok_or(Error::NoSuchImage { id: *id })?;
                Ok(NamedExample {
                    id: Some(*id),
                    code: point.code,
                })
            }
        };
        Ok(Self {
            like: like.iter().map(kept).collect::<Result<_, Error>>()?,
            unlike: unlike.iter().map(kept).collect::<Result<_, Error>>()?,
            filter: filter.map(Filter::to_string),
            strategy,
        })
    }

    /// What to ask a gallery with.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read.
    pub fn asked(&self, gallery: &dyn Gallery) -> Result<AskedAgain, Error> {
        let ids: Vec<Uuid> = self
            .like
            .iter()
            .chain(&self.unlike)
            .filter_map(|e| e.id)
            .collect();
        let there = gallery.existing(&ids)?;
        let mut gone = Vec::new();
        let mut queries = |examples: &[NamedExample]| -> Vec<Query> {
            let query = |example: &NamedExample| match example.id {
                Some(id) if there.contains_key(&id) => Query::id(id),
                id => {
                    gone.extend(id);
                    Query::code(example.code.clone())
                }
            };
            examples.iter().map(query).collect()
        };
        Ok(AskedAgain {
            like: queries(&self.like),
            unlike: queries(&self.unlike),
            gone,
        })
    }

    /// The images that must pass the search's own filter and another.
    ///
    /// # Errors
    ///
    /// When the filter that was kept cannot be read, or both have too many conditions.
    pub fn filter(&self, other: Option<Filter>) -> Result<Option<Filter>, Error> {
        let own: Option<Filter> = self.filter.as_deref().map(str::parse).transpose()?;
        Ok(Filter::all(own.into_iter().chain(other))?)
    }
}

/// The examples of a [`NamedSearch`] as they are asked with.
#[derive(Clone, Debug)]
pub struct AskedAgain {
    /// What is wanted.
    pub like: Vec<Query>,
    /// What is not.
    pub unlike: Vec<Query>,
    /// The images that are not in the gallery any more; the codes kept of them count.
    pub gone: Vec<Uuid>,
}

impl AskedAgain {
    /// What a person should know about examples that are gone.
    pub fn note(&self) -> Option<String> {
        match self.gone.len() {
            0 => None,
            1 => Some(
                "an example of this search is not in the gallery any more; its code was kept and counts"
                    .to_owned(),
            ),
            count => Some(format!(
                "{count} examples of this search are not in the gallery any more; their codes were kept and count"
            )),
        }
    }
}

/// The named searches of a gallery, in `searches.json` in its folder, which is read for every
/// question and replaced whole by every change.
pub struct NamedSearches {
    path: PathBuf,
    changing: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    searches_format: u32,
    searches: BTreeMap<String, NamedSearch>,
}

impl NamedSearches {
    /// Those of the gallery in a folder; whether there are any is not looked at yet.
    pub fn in_folder(gallery: &Path) -> Self {
        Self {
            path: gallery.join(FILE),
            changing: Mutex::default(),
        }
    }

    /// Those of a gallery.
    ///
    /// # Errors
    ///
    /// For a gallery on a cluster, which has no folder.
    pub fn of(gallery: &GalleryInfo) -> Result<Self, Error> {
        match gallery.is_on_cluster() {
            false => Ok(Self::in_folder(Path::new(&gallery.name))),
            true => Err(Error::Unusable(format!(
                "named searches are kept in a gallery's folder, and {} is on a cluster: give the examples themselves",
                gallery.name
            ))),
        }
    }

    /// All of them, by their names.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is damaged or of another version.
    pub fn all(&self) -> Result<BTreeMap<String, NamedSearch>, Error> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(Error::io("read", &self.path)(error)),
        };
        let damaged = |reason: String| {
            Error::Unusable(format!(
                "{} cannot be read as named searches: {reason}; restore it, or remove it to begin anew",
                self.path.display()
            ))
        };
        let kept: Kept =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        match kept.searches_format {
            FORMAT => Ok(kept.searches),
            other => Err(damaged(format!(
                "it has format {other}, this program reads {FORMAT}"
            ))),
        }
    }

    /// The search of a name.
    ///
    /// # Errors
    ///
    /// [`NoSuchSearch`](Error::NoSuchSearch), and those of [`all`](Self::all).
    pub fn get(&self, name: &str) -> Result<NamedSearch, Error> {
        let mut all = self.all()?;
        all.remove(name).ok_or_else(|| missing(name, &all))
    }

    /// Keeps a search, in the place of another of the same name. Says whether there was one.
    ///
    /// # Errors
    ///
    /// When the name is empty, longer than [`MAX_NAME`] or has control characters, there are
    /// [`MAX_SEARCHES`] already, or the file cannot be read or written; then it is as it was.
    pub fn save(&self, name: &str, search: NamedSearch) -> Result<bool, Error> {
        check_name(name)?;
        self.change(|all| {
            if all.len() >= MAX_SEARCHES && !all.contains_key(name) {
                return Err(Error::Unusable(format!(
                    "{MAX_SEARCHES} searches are kept already: delete one first"
                )));
            }
            Ok(all.insert(name.to_owned(), search).is_some())
        })
    }

    /// Gives a search another name.
    ///
    /// # Errors
    ///
    /// [`NoSuchSearch`](Error::NoSuchSearch), [`SearchNameTaken`](Error::SearchNameTaken), and
    /// those of [`save`](Self::save).
    pub fn rename(&self, name: &str, to: &str) -> Result<(), Error> {
        check_name(to)?;
        self.change(|all| {
            if name != to && all.contains_key(to) {
                return Err(Error::SearchNameTaken {
                    name: to.to_owned(),
                });
            }
            let search = all.remove(name).ok_or_else(|| missing(name, all))?;
            all.insert(to.to_owned(), search);
            Ok(())
        })
    }

    /// Forgets a search.
    ///
    /// # Errors
    ///
    /// [`NoSuchSearch`](Error::NoSuchSearch), and when the file cannot be read or written.
    pub fn delete(&self, name: &str) -> Result<(), Error> {
        self.change(|all| match all.remove(name) {
            Some(_) => Ok(()),
            None => Err(missing(name, all)),
        })
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, NamedSearch>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut searches = self.all()?;
        let changed = change(&mut searches)?;
        let kept = Kept {
            searches_format: FORMAT,
            searches,
        };
        let text = serde_json::to_string(&kept).expect("searches serialise");
        replace_file(&self.path, text.as_bytes())
            .map_err(|error| Error::unwritten(&self.path, error))?;
        Ok(changed)
    }
}

/// The most names that an error lists.
const MAX_LISTED: usize = 10;

fn missing(name: &str, all: &BTreeMap<String, NamedSearch>) -> Error {
    let listed: Vec<&str> = all.keys().take(MAX_LISTED).map(String::as_str).collect();
    let more = if all.len() > MAX_LISTED { ", …" } else { "" };
    Error::NoSuchSearch {
        name: name.to_owned(),
        kept: match listed.is_empty() {
            true => "none".to_owned(),
            false => format!("{}{more}", listed.join(", ")),
        },
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let length = name.chars().count();
    let is_plain = name.trim() == name && !name.chars().any(char::is_control);
    match (1..=MAX_NAME).contains(&length) && is_plain {
        true => Ok(()),
        false => Err(Error::Unusable(format!(
            "a search's name has 1 to {MAX_NAME} characters, no line breaks, and no spaces around it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(first: f32) -> NamedSearch {
        NamedSearch {
            like: vec![NamedExample {
                id: Some(Uuid::from_u128(7)),
                code: vec![first, 0.1],
            }],
            unlike: Vec::new(),
            filter: Some("label=3".to_owned()),
            strategy: Strategy::BestScore,
        }
    }

    #[test]
    fn searches_are_kept_renamed_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let searches = NamedSearches::in_folder(folder.path());
        assert!(searches.all().unwrap().is_empty());
        assert!(!searches.save("a", search(1.0)).unwrap());
        assert!(searches.save("a", search(2.0)).unwrap());
        assert!(!searches.save("b ü/?", search(3.0)).unwrap());
        // As another process would read it.
        let again = NamedSearches::in_folder(folder.path());
        assert_eq!(again.get("a").unwrap(), search(2.0));
        let taken = again.rename("a", "b ü/?").unwrap_err();
        assert!(matches!(taken, Error::SearchNameTaken { .. }), "{taken}");
        again.rename("a", "c").unwrap();
        let missing = searches.get("a").unwrap_err();
        assert!(missing.to_string().contains("b ü/?, c"), "{missing}");
        searches.delete("c").unwrap();
        assert!(searches.delete("c").is_err());
        assert_eq!(searches.all().unwrap().len(), 1);
        for name in ["", " a", "a\nb", &"a".repeat(MAX_NAME + 1)] {
            assert!(searches.save(name, search(1.0)).is_err(), "{name:?}");
            assert!(searches.rename("b ü/?", name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let searches = NamedSearches::in_folder(folder.path());
        for text in ["{", "{\"searches_format\":2,\"searches\":{}}"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = searches.save("a", search(1.0)).unwrap_err();
            assert!(error.to_string().contains("restore it"), "{error}");
            assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
        }
    }
}
