//! A folder, with the folders in it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lookalike_files::canonicalize;

use crate::entry::{Content, Entry, regular_file};
use crate::error::SourceError;
use crate::names::{extension, is_image, key_of_member, parent};
use crate::paths::spelled_key;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{Entries, LabelFrom, Source, SourceOptions, Wanted, no_such_image};
use crate::tiff_pages::{further, may_have_pages, page_of};

/// The images of a folder and of the folders in it, by the bytes of their names.
///
/// A folder's files and folders are sorted together: all of the folder `a` comes before `a.jpg`.
/// Names that begin with a dot are left out unless [`SourceOptions::hidden`]. Links to files are
/// followed. Links to folders are followed once each, and only out of the source: what lies inside
/// is read anyway.
#[derive(Clone)]
pub(crate) struct Folder {
    name: String,
    root: PathBuf,
    options: SourceOptions,
}

impl Folder {
    pub(crate) fn open(path: &Path, options: &SourceOptions) -> Result<Self, SourceError> {
        let root = canonical(path)?;
        // An unreadable folder is an error now, not a source without images.
        fs::read_dir(&root).map_err(|source| SourceError::Io {
            doing: "list",
            path: root.clone(),
            source,
        })?;
        Ok(Self {
            name: utf8(&root)?,
            root,
            options: options.clone(),
        })
    }

    fn entry(&self, key: String, path: PathBuf) -> Result<Entry, SkipReason> {
        let stamp = regular_file(&path)?;
        self.options.limits.check_item(stamp.bytes)?;
        Ok(Entry {
            label: match self.options.label {
                LabelFrom::Default | LabelFrom::Parent => parent(&key),
                LabelFrom::Column(_) | LabelFrom::None => None,
            },
            sample: None,
            extra: Default::default(),
            location: path.to_string_lossy().into_owned(),
            stamp: Some(stamp),
            content: Content::File(path),
            key,
        })
    }

    fn hides(&self, name: &[u8]) -> bool {
        !self.options.hidden && name.starts_with(b".")
    }
}

impl Source for Folder {
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
        let mut walk = Walk {
            folder: self.clone(),
            wanted,
            open: Vec::new(),
            outside: HashSet::new(),
            pages: Vec::new().into_iter(),
        };
        let names = list(&self.root).map_err(|source| SourceError::Io {
            doing: "list",
            path: self.root.clone(),
            source,
        })?;
        walk.open.push(Level {
            path: self.root.clone(),
            key: String::new(),
            names: names.into_iter(),
            outside: false,
        });
        Ok(Box::new(walk))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        let absent = || no_such_image(&self.name, key);
        // A key has one spelling, and names only what a listing would show.
        let clean = key_of_member(key.as_bytes()).is_ok_and(|clean| clean == key);
        let hidden = key.split('/').any(|part| self.hides(part.as_bytes()));
        let path = self.root.join(key);
        if let Some((file, _)) = page_of(key)
            && fs::symlink_metadata(&path).is_err()
        {
            let first = self.get(file)?;
            // The file's name may have another Unicode normal form than the key.
            let wanted = format!("{}{}", first.key, &key[file.len()..]);
            let mut pages = further(&first, &self.options.limits).into_iter().flatten();
            let page = pages.find(|page| page.key == wanted);
            return page.ok_or_else(absent);
        }
        if !clean || hidden || !is_image(key.as_bytes()) {
            return Err(absent());
        }
        if fs::symlink_metadata(&path).is_err() {
            let spelled = spelled_key(&self.root, key).filter(|spelled| spelled != key);
            return self.get(&spelled.ok_or_else(absent)?);
        }
        let location = path.to_string_lossy().into_owned();
        self.entry(key.to_owned(), path)
            .map_err(|why| SourceError::Skipped(Skipped::new(key, location, why)))
    }
}

/// A folder that is being walked.
struct Level {
    path: PathBuf,
    key: String,
    names: std::vec::IntoIter<OsString>,
    /// Whether it was reached through a link out of the source.
    outside: bool,
}

struct Walk {
    folder: Folder,
    wanted: Wanted,
    open: Vec<Level>,
    /// The folders outside the source that were entered.
    outside: HashSet<Identity>,
    /// The other pages of the file that came last.
    pages: std::vec::IntoIter<Result<Entry, Skipped>>,
}

impl Iterator for Walk {
    type Item = Result<Entry, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(page) = self.pages.next() {
                match &page {
                    Ok(page) if !(self.wanted)(&page.key) => continue,
                    _ => return Some(page),
                }
            }
            let level = self.open.last_mut()?;
            let Some(name) = level.names.next() else {
                self.open.pop();
                continue;
            };
            let (path, outside) = (level.path.join(&name), level.outside);
            let lossy = match level.key.is_empty() {
                true => name.to_string_lossy().into_owned(),
                false => format!("{}/{}", level.key, name.to_string_lossy()),
            };
            if self.folder.hides(name.as_encoded_bytes()) {
                continue;
            }
            let place = Place {
                name: &name,
                key: lossy,
                path,
                outside,
            };
            if let Some(item) = self.visit(place) {
                return Some(item);
            }
        }
    }
}

/// Something in a folder; `key` has replacement characters if the name is not UTF-8.
struct Place<'a> {
    name: &'a OsString,
    key: String,
    path: PathBuf,
    outside: bool,
}

impl Place<'_> {
    fn skip(self, why: SkipReason) -> Option<Result<Entry, Skipped>> {
        let location = self.path.to_string_lossy().into_owned();
        Some(Err(Skipped::new(self.key, location, why)))
    }
}

impl Walk {
    fn visit(&mut self, place: Place<'_>) -> Option<Result<Entry, Skipped>> {
        let image = is_image(place.name.as_encoded_bytes());
        // Each page has a part of its own.
        let paged = may_have_pages(&place.key);
        let wanted = (self.wanted)(&place.key);
        let about = match fs::symlink_metadata(&place.path) {
            Ok(about) if about.is_symlink() => fs::metadata(&place.path).map(|to| (to, true)),
            about => about.map(|about| (about, false)),
        };
        let (about, linked) = match about {
            Ok(found) => found,
            // Not an image; but a name without an ending may be a folder with images below it.
            Err(_) if !image && extension(place.name.as_encoded_bytes()).is_some() => return None,
            Err(_) if image && !wanted => return None,
            Err(error) => {
                let why = SkipReason::from_io(&error, "look at the file");
                return place.skip(why);
            }
        };
        if !(about.is_dir() || image && (wanted || paged)) {
            return None;
        }
        if place.name.to_str().is_none() {
            let reason = "its name is not UTF-8; rename it";
            return place.skip(SkipReason::new(SkipKind::NotUtf8, reason));
        }
        if about.is_dir() {
            return match self.enter(&place, &about, linked) {
                Ok(()) => None,
                Err(why) => place.skip(why),
            };
        }
        match self.folder.entry(place.key.clone(), place.path.clone()) {
            Ok(entry) => {
                if paged {
                    self.pages = further(&entry, &self.folder.options.limits).into_iter();
                }
                wanted.then_some(Ok(entry))
            }
            Err(_) if !wanted => None,
            Err(why) => place.skip(why),
        }
    }

    fn enter(
        &mut self,
        place: &Place<'_>,
        about: &Metadata,
        linked: bool,
    ) -> Result<(), SkipReason> {
        let doing = "list the folder";
        let outside = linked || place.outside;
        if outside {
            let real =
                canonicalize(&place.path).map_err(|error| SkipReason::from_io(&error, doing))?;
            let root = &self.folder.root;
            if real.starts_with(root) || root.starts_with(&real) {
                let reason = format!(
                    "it leads back to {}, which is read as a part of the source",
                    real.display()
                );
                return Err(SkipReason::new(SkipKind::Link, reason));
            }
            if !self.outside.insert(identity(about, &real)) {
                let reason = format!("{} was read through another link", real.display());
                return Err(SkipReason::new(SkipKind::Link, reason));
            }
        }
        let names = list(&place.path).map_err(|error| SkipReason::from_io(&error, doing))?;
        self.open.push(Level {
            path: place.path.clone(),
            key: place.key.clone(),
            names: names.into_iter(),
            outside,
        });
        Ok(())
    }
}

#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(about: &Metadata, _: &Path) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (about.dev(), about.ino())
}

#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(not(unix))]
fn identity(_: &Metadata, real: &Path) -> Identity {
    real.to_owned()
}

/// The names in a folder, by their bytes.
fn list(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(path)?
        .map(|found| found.map(|found| found.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    Ok(names)
}

/// A path as it is, absolute and without links.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, SourceError> {
    canonicalize(path).map_err(|source| SourceError::Io {
        doing: "open",
        path: path.to_owned(),
        source,
    })
}

/// A path as the name of a source.
pub(crate) fn utf8(path: &Path) -> Result<String, SourceError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| SourceError::Spec {
            spec: path.to_string_lossy().into_owned(),
            reason: "the path is not UTF-8; rename the folder or the file".to_owned(),
        })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, name: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    fn open(path: &Path) -> Folder {
        Folder::open(path, &SourceOptions::default()).unwrap()
    }

    fn walk(folder: &Folder) -> (Vec<String>, Vec<(String, SkipKind)>) {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for item in folder.entries().unwrap() {
            match item {
                Ok(entry) => keys.push(entry.key),
                Err(skip) => skipped.push((skip.key, skip.kind)),
            }
        }
        (keys, skipped)
    }

    #[test]
    fn names_come_by_their_bytes_and_other_files_are_ignored() {
        let root = tempfile::tempdir().unwrap();
        let keys = ["B.png", "a/b.jpg", "a/c/d.GIF", "a.jpg", "b.webp", "é.png"];
        for name in keys.iter().rev() {
            write(root.path(), name);
        }
        for name in [
            ".h.png",
            ".git/x.png",
            "notes.txt",
            "a/Thumbs.db",
            "a/b.jpg.txt",
        ] {
            write(root.path(), name);
        }
        let folder = open(root.path());
        assert_eq!(walk(&folder), (keys.map(str::to_owned).to_vec(), vec![]));
        assert_eq!(folder.get("a/c/d.GIF").unwrap().label.as_deref(), Some("c"));
        for key in [
            "no.png",
            "notes.txt",
            ".h.png",
            "a/../a.jpg",
            "./a.jpg",
            "a",
        ] {
            let error = folder.get(key).unwrap_err();
            assert!(matches!(error, SourceError::NoSuchImage { .. }), "{error}");
        }
        let options = SourceOptions {
            hidden: true,
            ..SourceOptions::default()
        };
        let folder = Folder::open(root.path(), &options).unwrap();
        assert_eq!(walk(&folder).0[..2], [".git/x.png", ".h.png"]);
    }

    #[test]
    fn links_that_lead_back_are_skipped_and_others_followed_once() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = root.path();
        write(root, "a/x.png");
        write(other.path(), "sub/y.png");
        symlink(root, root.join("cycle")).unwrap();
        symlink(root.join("a"), root.join("inside")).unwrap();
        symlink("/", root.join("above")).unwrap();
        symlink(other.path(), root.join("out1")).unwrap();
        symlink(other.path(), root.join("out2")).unwrap();
        symlink(other.path(), other.path().join("sub/again")).unwrap();
        symlink(root.join("a"), other.path().join("sub/back")).unwrap();
        symlink(root.join("a/x.png"), root.join("z.png")).unwrap();
        symlink("nowhere", root.join("zz.png")).unwrap();
        let (keys, skipped) = walk(&open(root));
        assert_eq!(keys, ["a/x.png", "out1/sub/y.png", "z.png"]);
        let link = |key: &str| (key.to_owned(), SkipKind::Link);
        let expected = [
            link("above"),
            link("cycle"),
            link("inside"),
            link("out1/sub/again"),
            link("out1/sub/back"),
            link("out2"),
            ("zz.png".to_owned(), SkipKind::Missing),
        ];
        assert_eq!(skipped, expected);
    }

    #[test]
    fn odd_names_empty_files_and_special_files_are_skipped_with_a_reason() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::write(root.join(OsString::from_vec(b"\xff.png".to_vec())), b"x").unwrap();
        fs::write(root.join(OsString::from_vec(b"\xff.txt".to_vec())), b"x").unwrap();
        fs::create_dir(root.join(OsString::from_vec(b"\xfe".to_vec()))).unwrap();
        fs::write(root.join("empty.png"), b"").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket.png")).unwrap();
        let (keys, skipped) = walk(&open(root));
        assert!(keys.is_empty());
        let kinds: Vec<_> = skipped.iter().map(|(_, kind)| *kind).collect();
        use SkipKind::{Empty, NotUtf8, Special};
        assert_eq!(kinds, [Empty, Special, NotUtf8, NotUtf8]);
    }

    #[test]
    fn folders_that_cannot_be_listed_are_skipped() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a/x.png");
        write(root.path(), "b/y.png");
        let closed = root.path().join("a");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let may_all = fs::read_dir(&closed).is_ok();
        let (keys, skipped) = walk(&open(root.path()));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        // The superuser may list everything.
        if may_all {
            assert_eq!(keys, ["a/x.png", "b/y.png"]);
        } else {
            assert_eq!(keys, ["b/y.png"]);
            assert_eq!(skipped, [("a".to_owned(), SkipKind::Unreadable)]);
        }
    }
}
