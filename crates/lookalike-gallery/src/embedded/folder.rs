//! The files of an embedded gallery that are ours: the manifest, the model, the lock, and how a folder
//! comes into being whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::manifest::{DIMS, FORMAT, Manifest};
use crate::{GalleryError, model_fingerprint};

pub(super) const SHARD: &str = "shard";
pub(super) const DIFFUSION: &str = "diffusion.bin";
pub(super) const DIFFUSION_STALE: &str = "diffusion.stale";
pub(super) const UNCLEAN: &str = "unclean";
const MANIFEST: &str = "gallery.json";
const MODEL: &str = "model.safetensors";
pub(super) const LOCK: &str = "lock";

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

/// The exclusive right to a gallery, given back when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
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
                let mut text = String::new();
                // The number only makes the message better, so a failure to read it is none.
                let _ = file.read_to_string(&mut text);
                return Err(GalleryError::InUse {
                    path: gallery.to_path_buf(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        // Also on a full disk the gallery must open, to be searched, so the number is no condition.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that this process is just starting has it as well, until
        // it becomes its own program.
        let _ = self.file.unlock();
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
                GalleryError::BadRequest(format!("{} is no name for a gallery", target.display()))
            })?
            .to_string_lossy();
        let prefix = format!(".{name}.partial-");
        let parent = parent_of(target);
        fs::create_dir_all(&parent).map_err(GalleryError::io("making the folder", &parent))?;
        for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
            let is_partial = entry.file_name().to_string_lossy().starts_with(&prefix);
            if is_partial && Lock::acquire(&entry.path()).is_ok() {
                // Whatever cannot be removed is only in the way of a tidy folder.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        // The target is part of no other thread's business, so the time only tells threads apart.
        let nonce = SystemTime::now().duration_since(UNIX_EPOCH);
        let nonce = nonce.map_or(0, |since| since.subsec_nanos());
        let path = parent.join(format!("{prefix}{}-{nonce}", std::process::id()));
        fs::create_dir(&path).map_err(GalleryError::io("making the folder", &path))?;
        let lock = Lock::acquire(&path)?;
        Ok(Partial {
            path,
            target: target.to_path_buf(),
            lock: Some(lock),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the gallery its name, all at once, and hands over its lock.
    pub(super) fn finish(mut self) -> Result<Lock, GalleryError> {
        sync_folder(&self.path)?;
        fs::rename(&self.path, &self.target).map_err(|e| match e.kind() {
            // Another process was faster.
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
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
        if self.lock.take().is_some() {
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
    write: impl FnOnce(&mut std::io::BufWriter<&File>) -> std::io::Result<()>,
) -> Result<(), GalleryError> {
    let aside = path.with_extension("partial");
    let attempt = || {
        let file = File::create(&aside)?;
        let mut buffered = std::io::BufWriter::new(&file);
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    attempt().map_err(|e| {
        let _ = fs::remove_file(&aside);
        GalleryError::io("writing", path)(e)
    })?;
    sync_folder(&parent_of(path))
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
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(GalleryError::io("writing the folder", path))
}
