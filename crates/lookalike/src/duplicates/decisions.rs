//! What a person decided about copies, kept in the gallery's folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lookalike_files::replace_file;
use lookalike_gallery::GalleryInfo;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Group;
use crate::Error;

/// The name of the file in a gallery's folder.
const FILE: &str = "decisions.json";
const FORMAT: u32 = 1;

/// What a person decided about copies: which images are kept, and which give way, whatever rules
/// say. A decision is about an image with the content that was seen; where that changes, it means
/// nothing any more.
///
/// They are kept in `decisions.json` in the folder of a gallery, which is read for every question
/// and replaced whole by every change, so that programs that use a gallery one after another agree.
pub struct Decisions {
    path: PathBuf,
    changing: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    decisions_format: u32,
    images: BTreeMap<Uuid, Decision>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    keep: bool,
    /// Of the content that was seen.
    blake3: String,
}

/// What is decided about an image, to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The image.
    pub id: Uuid,
    /// The BLAKE3 of its content, as its payload has it.
    pub blake3: String,
    /// Whether it is kept; none forgets what was decided.
    pub keep: Option<bool>,
}

impl Decisions {
    /// Those of the gallery in a folder; whether there are any is not looked at yet.
    pub fn in_folder(gallery: &Path) -> Self {
        Self {
            path: gallery.join(FILE),
            changing: Mutex::default(),
        }
    }

    /// Those of a gallery; none for one on a cluster, which has no folder.
    pub fn of(gallery: &GalleryInfo) -> Option<Self> {
        (!gallery.is_on_cluster()).then(|| Self::in_folder(Path::new(&gallery.name)))
    }

    /// What was decided about the members of groups: whether each is kept.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is damaged or of another version.
    pub fn about(&self, groups: &[Group]) -> Result<BTreeMap<Uuid, bool>, Error> {
        let images = self.read()?;
        let members = groups.iter().flat_map(|group| &group.members);
        let decided = members.filter_map(|member| {
            let decision = images.get(&member.id)?;
            (decision.blake3 == member.payload.blake3).then_some((member.id, decision.keep))
        });
        Ok(decided.collect())
    }

    /// A hash of all decisions: another one when any has changed.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn fingerprint(&self) -> Result<String, Error> {
        let text = self.bytes()?.unwrap_or_default();
        Ok(blake3::hash(&text).to_hex().to_string())
    }

    /// Keeps decisions, replacing earlier ones about the same images.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written; then it is as it was.
    pub fn keep(&self, decided: impl IntoIterator<Item = Decided>) -> Result<(), Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut images = self.read()?;
        for Decided { id, blake3, keep } in decided {
            match keep {
                Some(keep) => drop(images.insert(id, Decision { keep, blake3 })),
                None => drop(images.remove(&id)),
            }
        }
        let kept = Kept {
            decisions_format: FORMAT,
            images,
        };
        let text = serde_json::to_string_pretty(&kept).expect("decisions serialise");
        replace_file(&self.path, text.as_bytes())
            .map_err(|error| Error::unwritten(&self.path, error))
    }

    fn read(&self) -> Result<BTreeMap<Uuid, Decision>, Error> {
        let Some(text) = self.bytes()? else {
            return Ok(BTreeMap::new());
        };
        let damaged = |reason: String| {
            Error::Unusable(format!(
                "{} cannot be read as decisions about copies: {reason}; restore it, or remove it to decide anew",
                self.path.display()
            ))
        };
        let kept: Kept =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        match kept.decisions_format {
            FORMAT => Ok(kept.images),
            other => Err(damaged(format!(
                "it has format {other}, this program reads {FORMAT}"
            ))),
        }
    }

    /// What the file holds, if there is one.
    fn bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        match fs::read(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &self.path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use lookalike_gallery::Payload;

    use super::super::{Kind, Member};
    use super::*;

    fn group(contents: &[&str]) -> Group {
        let members = (1..).zip(contents).map(|(id, blake3)| Member {
            id: Uuid::from_u128(id),
            kind: Kind::Near,
            distance: 0.0,
            difference: None,
            turned: None,
            payload: Payload {
                blake3: (*blake3).to_owned(),
                ..Payload::default()
            },
        });
        Group {
            members: members.collect(),
        }
    }

    #[test]
    fn decisions_hold_for_the_content_that_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let decisions = Decisions::in_folder(folder.path());
        assert!(decisions.about(&[group(&["a", "b"])]).unwrap().is_empty());
        let decided = |id: u128, blake3: &str, keep| Decided {
            id: Uuid::from_u128(id),
            blake3: blake3.to_owned(),
            keep,
        };
        decisions
            .keep([decided(1, "a", Some(true)), decided(2, "b", Some(false))])
            .unwrap();
        let about = |contents: &[&str]| -> Vec<(u128, bool)> {
            // As another process would read it.
            let decisions = Decisions::in_folder(folder.path());
            let about = decisions.about(&[group(contents)]).unwrap();
            about
                .into_iter()
                .map(|(id, keep)| (id.as_u128(), keep))
                .collect()
        };
        assert_eq!(about(&["a", "b", "c"]), [(1, true), (2, false)]);
        assert_eq!(about(&["a", "changed"]), [(1, true)]);
        decisions.keep([decided(1, "a", None)]).unwrap();
        assert_eq!(about(&["a", "b"]), [(2, false)]);

        for text in ["{", "{\"decisions_format\":2,\"images\":{}}"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = decisions.keep([decided(1, "a", Some(true))]).unwrap_err();
            assert!(error.to_string().contains("restore it"), "{error}");
            assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
        }
    }
}
