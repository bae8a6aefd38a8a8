//! Whether the files behind a gallery's points are still there, and which points are one and the
//! same file.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lookalike_files::canonicalize;
use lookalike_gallery::{GalleryInfo, Payload};

use crate::uploads::{self, UPLOADS_SOURCE};

/// What is known of the original of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Its file is there, or the archive that holds it.
    Here(Identity),
    /// Its file is not there any more.
    Gone,
    /// It cannot be told from here: the original is not a file of this machine, or cannot be looked
    /// at.
    Unknown,
}

/// Which file it is, whatever the file is called: two points of one identity are one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file, and within an archive or a table the member.
    pub(crate) file: (FileId, String),
    /// Whether the path leads there through a symbolic link.
    pub(crate) linked: bool,
}

/// A file's device and inode.
#[cfg(unix)]
pub(crate) type FileId = (u64, u64);

/// A file's real path.
#[cfg(not(unix))]
pub(crate) type FileId = PathBuf;

/// Looks at the files behind points. It can be asked by many threads, and reads no file's contents.
pub struct Presences {
    gallery: String,
    /// Sources of a gallery on a cluster may lie on other machines.
    on_cluster: bool,
    /// Whether anything of a source is on this machine.
    sources: Mutex<HashMap<String, bool>>,
}

impl Presences {
    /// For the points of a gallery.
    pub fn of(gallery: &GalleryInfo) -> Self {
        Self {
            gallery: gallery.name.clone(),
            on_cluster: gallery.is_on_cluster(),
            sources: Mutex::default(),
        }
    }

    /// Looks at the file behind a point.
    pub fn look(&self, payload: &Payload) -> Presence {
        let Some(location) = payload.location.as_deref() else {
            return Presence::Unknown;
        };
        if !Path::new(location).is_absolute() {
            // An address in an object store.
            return Presence::Unknown;
        }
        match find(location) {
            Ok(Some(identity)) => Presence::Here(identity),
            Ok(None) if payload.source == UPLOADS_SOURCE => self.upload(&payload.key),
            Ok(None) if self.on_cluster && !self.is_here(&payload.source) => Presence::Unknown,
            Ok(None) => Presence::Gone,
            Err(_) => Presence::Unknown,
        }
    }

    /// Uploads lie in the gallery's folder, which may have been moved.
    fn upload(&self, key: &str) -> Presence {
        let folder = PathBuf::from(uploads::place(&self.gallery, UPLOADS_SOURCE));
        match find(&folder.join(key).to_string_lossy()) {
            Ok(Some(identity)) => Presence::Here(identity),
            Ok(None) if folder.is_dir() => Presence::Gone,
            _ => Presence::Unknown,
        }
    }

    fn is_here(&self, source: &str) -> bool {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&here) = sources.get(source) {
            return here;
        }
        let here = Path::new(source).exists();
        sources.insert(source.to_owned(), here);
        here
    }
}

/// The file at a location, which may be a member of an archive (`a.zip!b.jpg`) or of a table
/// (`a.parquet#7`); none where there is no such file.
fn find(location: &str) -> io::Result<Option<Identity>> {
    let path = Path::new(location);
    if let Some(about) = look_at(path)? {
        return Ok(Some(identity(path, &about, "")));
    }
    for (at, _) in location.match_indices(['!', '#']) {
        let container = Path::new(&location[..at]);
        if let Some(about) = look_at(container)?.filter(Metadata::is_file) {
            return Ok(Some(identity(container, &about, &location[at..])));
        }
    }
    Ok(None)
}

/// A file's metadata, links followed; none where there is nothing.
fn look_at(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(about) => Ok(Some(about)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

fn identity(path: &Path, about: &Metadata, member: &str) -> Identity {
    let real = canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    Identity {
        linked: real != path,
        file: (file_id(about, real), member.to_owned()),
    }
}

#[cfg(unix)]
fn file_id(about: &Metadata, _real: PathBuf) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (about.dev(), about.ino())
}

#[cfg(not(unix))]
fn file_id(_about: &Metadata, real: PathBuf) -> FileId {
    real
}

#[cfg(test)]
pub(crate) mod tests {
    use lookalike_gallery::{DiffusionState, GalleryInfo};
    use lookalike_neighbours::Metric;

    use super::*;

    /// What describes an empty gallery in a folder.
    pub fn info() -> GalleryInfo {
        GalleryInfo {
            name: "g".into(),
            metric: Metric::Cosine,
            dims: 1,
            points: 0,
            indexed: 0,
            model_fingerprint: String::new(),
            created: 0,
            diffusion: DiffusionState::Absent,
        }
    }

    fn presences() -> Presences {
        Presences::of(&info())
    }

    fn at(location: impl AsRef<Path>) -> Payload {
        Payload {
            location: Some(location.as_ref().display().to_string()),
            ..Payload::default()
        }
    }

    #[test]
    fn files_are_told_apart_by_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (file, other) = (folder.join("a.jpg"), folder.join("b.jpg"));
        fs::write(&file, "a").unwrap();
        fs::write(&other, "a").unwrap();
        fs::hard_link(&file, folder.join("hard.jpg")).unwrap();
        let look = |path: &Path| match presences().look(&at(path)) {
            Presence::Here(identity) => identity,
            other => panic!("{other:?}"),
        };
        assert_eq!(look(&file), look(&folder.join("hard.jpg")));
        assert_ne!(look(&file).file, look(&other).file);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("a.jpg", folder.join("link.jpg")).unwrap();
            let link = look(&folder.join("link.jpg"));
            assert_eq!(link.file, look(&file).file);
            assert!(link.linked && !look(&file).linked);
        }
        // Members of one archive are different files, and there as long as the archive is.
        let archive = |member: &str| folder.join(format!("a.jpg!{member}"));
        assert_ne!(look(&archive("1.png")).file, look(&archive("2.png")).file);
    }

    #[test]
    fn what_is_gone_is_told_from_what_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let look = |payload: &Payload| presences().look(payload);
        assert_eq!(look(&at(folder.path().join("no.jpg"))), Presence::Gone);
        assert_eq!(
            look(&at(folder.path().join("no.zip!a.jpg"))),
            Presence::Gone
        );
        assert_eq!(look(&at("s3://bucket/a.jpg")), Presence::Unknown);
        assert_eq!(look(&Payload::default()), Presence::Unknown);
    }
}
