//! The files of an embedded gallery that are ours: the manifest, the model, the lock, and how a
//! folder comes into being whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lookalike_files::Replacement;

use crate::manifest::{DIMS, FORMAT, Manifest};
use crate::{GalleryError, Holder, model_fingerprint};

pub(super) const SHARD: &str = "shard";
pub(super) const DIFFUSION: &str = "diffusion.bin";
pub(super) const DIFFUSION_STALE: &str = "diffusion.stale";
pub(super) const UNCLEAN: &str = "unclean";
const MANIFEST: &str = "gallery.json";
const MODEL: &str = "model.safetensors";
const RULES: &str = "reading.json";
pub(super) const LOCK: &str = "lock";
/// The most that is read of a lock file.
const MAX_LOCK_BYTES: u64 = 1_024;

impl Manifest {
    pub(super) fn read(gallery: &Path) -> Result<Self, GalleryError> {
        let damaged = |detail: String| GalleryError::Damaged {
            path: gallery.to_path_buf(),
            detail,
        };
        let not_a_gallery = |reason: &str| GalleryError::NotAGallery {
            path: gallery.to_path_buf(),
            reason: reason.to_string(),
        };
        match fs::metadata(gallery) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(GalleryError::NotFound {
                    path: gallery.to_path_buf(),
                });
            }
            Err(e) => return Err(GalleryError::io("opening the gallery", gallery)(e)),
            Ok(metadata) if !metadata.is_dir() => {
                return Err(not_a_gallery("it is a file, and a gallery is a folder"));
            }
            Ok(_) => {}
        }
        let path = gallery.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(not_a_gallery("it has no gallery.json"));
            }
            Err(e) => return Err(GalleryError::io("reading", &path)(e)),
        };
        // The format first: another one may look different in everything else.
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|e| damaged(format!("gallery.json is not JSON ({e})")))?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(FORMAT) => {}
            Some(found) => {
                return Err(GalleryError::Version {
                    path: gallery.to_path_buf(),
                    found,
                    supported: FORMAT,
                });
            }
            None => return Err(damaged("gallery.json does not say its format".into())),
        }
        let manifest: Manifest = serde_json::from_value(value)
            .map_err(|e| damaged(format!("gallery.json cannot be understood ({e})")))?;
        if !DIMS.contains(&manifest.dims) {
            return Err(damaged(format!(
                "gallery.json says that codes have {} dimensions, there can be {} to {}",
                manifest.dims,
                DIMS.start(),
                DIMS.end()
            )));
        }
        Ok(manifest)
    }
}

/// Puts the manifest and the model into the folder of a gallery that is being made.
pub(super) fn write_identity(
    gallery: &Path,
    manifest: &Manifest,
    model: &[u8],
) -> Result<(), GalleryError> {
    write_whole(&gallery.join(MODEL), model)?;
    let path = gallery.join(MANIFEST);
    let text = serde_json::to_vec_pretty(manifest)
        .map_err(|e| GalleryError::io("writing", &path)(e.into()))?;
    write_whole(&path, &text)
}

/// The model file, checked against its fingerprint.
pub(super) fn read_model(gallery: &Path, manifest: &Manifest) -> Result<Vec<u8>, GalleryError> {
    let path = gallery.join(MODEL);
    let model = fs::read(&path).map_err(GalleryError::io("reading the model", &path))?;
    let found = model_fingerprint(&model);
    if found != manifest.model_fingerprint {
        return Err(GalleryError::Damaged {
            path: gallery.to_path_buf(),
            detail: format!(
                "{MODEL} has fingerprint {found}, the gallery was made with {}",
                manifest.model_fingerprint
            ),
        });
    }
    Ok(model)
}

/// How the gallery's images are read, if that is kept.
pub(super) fn read_rules(gallery: &Path) -> Result<Option<String>, GalleryError> {
    let path = gallery.join(RULES);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some).map_err(GalleryError::io("reading", &path)),
    }
}

pub(super) fn write_rules(gallery: &Path, rules: &str) -> Result<(), GalleryError> {
    write_whole(&gallery.join(RULES), rules.as_bytes())
}

/// The exclusive right to a gallery, given back when dropped or when the process ends, however it
/// ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// Whether the file has this process's name.
    is_named: bool,
}

impl Lock {
    pub(super) fn acquire(gallery: &Path) -> Result<Self, GalleryError> {
        let path = gallery.join(LOCK);
        let failed = |e| GalleryError::io("locking", &path)(e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(in_use(gallery, &file));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        // A gallery on a full disk must still open to be searched, so a failure to write the name
        // is ignored.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(Holder::this_process().written().as_bytes()));
        Ok(Lock {
            file,
            is_named: true,
        })
    }

    /// Whether the file that is locked is the one in a folder, and was not removed meanwhile.
    fn is_in(&self, gallery: &Path) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let there = fs::metadata(gallery.join(LOCK));
            let (Ok(own), Ok(there)) = (self.file.metadata(), there) else {
                return false;
            };
            (own.dev(), own.ino()) == (there.dev(), there.ino())
        }
        // Elsewhere no open file is removed.
        #[cfg(not(unix))]
        gallery.join(LOCK).exists()
    }

    /// The right to read a gallery that cannot be written, beside others who only read it. None
    /// where there is no lock file, or it cannot be opened.
    pub(super) fn shared(gallery: &Path) -> Result<Option<Self>, GalleryError> {
        let Ok(file) = File::open(gallery.join(LOCK)) else {
            return Ok(None);
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Lock {
                file,
                is_named: false,
            })),
            Err(TryLockError::WouldBlock) => Err(in_use(gallery, &file)),
            // Some file systems know no locks.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }
}

/// What to say of a gallery whose lock file another process has locked.
fn in_use(gallery: &Path, lock: &File) -> GalleryError {
    let mut text = Vec::new();
    // The name only makes the message better, so a failure to read it is none.
    let _ = lock.take(MAX_LOCK_BYTES).read_to_end(&mut text);
    GalleryError::InUse {
        path: gallery.to_path_buf(),
        holder: Holder::read(&String::from_utf8_lossy(&text)),
    }
}

/// Whether a file system refused because nothing can be written there.
pub(super) fn forbids_writing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied
    )
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_named {
            // The name of one who has left would be taken for that of the next who only reads.
            let _ = self.file.set_len(0);
        }
        // Closing the file is not enough: a child that this process is just starting has it as
        // well, until it becomes its own program.
        let _ = self.file.unlock();
    }
}

/// How often a new folder is made, if others clear it away before it is locked.
const ATTEMPTS: usize = 100;

/// Locks a folder that was just made; none if another process took it for the remains of an earlier
/// attempt, and clears it away: it is not locked between its making and now.
fn hold(path: &Path) -> Result<Option<Lock>, GalleryError> {
    match Lock::acquire(path) {
        // Others remove a folder only while they hold its lock, so a lock file that is still in its
        // place after it was locked stays there.
        Ok(lock) if lock.is_in(path) => Ok(Some(lock)),
        Ok(_) | Err(GalleryError::InUse { .. }) => Ok(None),
        Err(GalleryError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The folder in which a gallery is prepared before it gets its name.
pub(super) struct Partial {
    path: PathBuf,
    target: PathBuf,
    lock: Option<Lock>,
}

impl Partial {
    /// Starts a new gallery that shall be named `target`; remains of earlier attempts whose process
    /// has ended are cleared away.
    pub(super) fn start(target: &Path) -> Result<Self, GalleryError> {
        if target.symlink_metadata().is_ok() {
            return Err(GalleryError::AlreadyExists {
                path: target.to_path_buf(),
            });
        }
        let name = target
            .file_name()
            .ok_or_else(|| {
                GalleryError::BadRequest(format!(
                    "{} cannot be the name of a gallery",
                    target.display()
                ))
            })?
            .to_string_lossy();
        let prefix = format!(".{name}.partial-");
        let parent = parent_of(target);
        fs::create_dir_all(&parent).map_err(GalleryError::io("making the folder", &parent))?;
        for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
            let is_partial = entry.file_name().to_string_lossy().starts_with(&prefix);
            if !is_partial {
                continue;
            }
            // Held until the folder is gone: a new gallery's would else be taken between.
            let Ok(_lock) = Lock::acquire(&entry.path()) else {
                continue;
            };
            // Whatever cannot be removed is only in the way of a tidy folder.
            let _ = fs::remove_dir_all(entry.path());
        }
        for attempt in 0..ATTEMPTS {
            // The time tells threads of this process apart.
            let nonce = SystemTime::now().duration_since(UNIX_EPOCH);
            let nonce = nonce.map_or(0, |since| since.subsec_nanos());
            let path = parent.join(format!("{prefix}{}-{nonce}-{attempt}", std::process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.map_err(GalleryError::io("making the folder", &path))?,
            }
            if let Some(lock) = hold(&path)? {
                return Ok(Partial {
                    path,
                    target: target.to_path_buf(),
                    lock: Some(lock),
                });
            }
        }
        Err(GalleryError::InUse {
            path: target.to_path_buf(),
            holder: None,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the gallery its name, all at once, and hands over its lock.
    pub(super) fn finish(mut self) -> Result<Lock, GalleryError> {
        sync_folder(&self.path)?;
        // Windows renames no folder in which a file is open.
        if cfg!(windows) {
            self.lock = None;
        }
        fs::rename(&self.path, &self.target).map_err(|e| match e.kind() {
            // Another process was faster.
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                GalleryError::AlreadyExists {
                    path: self.target.clone(),
                }
            }
            // What Windows says of that.
            ErrorKind::PermissionDenied if cfg!(windows) && self.target.exists() => {
                GalleryError::AlreadyExists {
                    path: self.target.clone(),
                }
            }
            _ => GalleryError::io("naming the new gallery", &self.target)(e),
        })?;
        sync_folder(&parent_of(&self.target))?;
        match self.lock.take() {
            Some(lock) => Ok(lock),
            None => Lock::acquire(&self.target),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Still holding the lock means that the gallery never got its name.
        if let Some(_lock) = self.lock.take() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

pub(super) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Writes a file so that after a crash it is there whole, or as it was before.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), GalleryError> {
    write_aside(path, |file| file.write_all(bytes))
}

/// As [`write_whole`], for a file that is written piece by piece.
pub(super) fn write_aside(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<Replacement>) -> std::io::Result<()>,
) -> Result<(), GalleryError> {
    let attempt = || {
        let mut buffered = BufWriter::new(Replacement::new(path)?);
        write(&mut buffered)?;
        buffered.into_inner()?.commit()
    };
    attempt().map_err(GalleryError::io("writing", path))
}

/// Puts an empty file in place, durably.
pub(super) fn raise_flag(path: &Path) -> Result<(), GalleryError> {
    File::create(path)
        .and_then(|file| file.sync_all())
        .map_err(GalleryError::io("writing", path))?;
    sync_folder(&parent_of(path))
}

/// Removes what [`raise_flag`] put in place, if it is there.
pub(super) fn lower_flag(path: &Path) -> Result<(), GalleryError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(GalleryError::io("removing", path)(e)),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), GalleryError> {
    lookalike_files::sync_folder(path).map_err(GalleryError::io("writing the folder", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_cleared_away_is_not_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".g.partial-1");
        // Removed before it was locked.
        assert!(hold(&path).unwrap().is_none());
        // Locked by whoever clears it away.
        fs::create_dir(&path).unwrap();
        let other = Lock::acquire(&path).unwrap();
        assert!(hold(&path).unwrap().is_none());
        drop(other);
        // Removed, and made again, between its locking and the look.
        let lock = Lock::acquire(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert!(!lock.is_in(&path));
        fs::create_dir(&path).unwrap();
        fs::write(path.join(LOCK), "").unwrap();
        assert!(!lock.is_in(&path));
        assert!(hold(&path).unwrap().is_some());
    }

    #[test]
    fn new_galleries_survive_the_clearing_of_others() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let target = folder.path().join("g");
                scope.spawn(move || {
                    for _ in 0..50 {
                        let partial = Partial::start(&target).unwrap();
                        fs::write(partial.path().join("model"), number.to_string()).unwrap();
                    }
                });
            }
        });
        drop(Partial::start(&folder.path().join("g")).unwrap());
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0);
    }
}
