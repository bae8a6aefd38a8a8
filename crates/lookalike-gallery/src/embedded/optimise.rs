//! Building the index, safe against a crash. The engine swaps its segments one by one in place, and
//! a process killed in between would leave points doubled; so the work is done on a copy of the
//! shard, which then takes the shard's place by two renames.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::folder::{SHARD, sync_folder};
use crate::GalleryError;

/// The copy that is worked on.
pub(super) fn next(gallery: &Path) -> PathBuf {
    gallery.join("shard.next")
}

/// The shard that was replaced, until it is removed.
fn previous(gallery: &Path) -> PathBuf {
    gallery.join("shard.previous")
}

/// Copies the shard to [`next`]. Remains of earlier attempts that were in the way later are removed
/// before anything is begun.
pub(super) fn copy(gallery: &Path) -> Result<(), GalleryError> {
    let next = next(gallery);
    remove(&previous(gallery))?;
    discard(gallery)?;
    copy_folder(&gallery.join(SHARD), &next)
        .map_err(GalleryError::io("copying the shard to", &next))
}

/// Writes the copy to the disk: before [`exchange`], for this can take seconds, and the shard
/// answers meanwhile.
pub(super) fn sync(gallery: &Path) -> Result<(), GalleryError> {
    let next = next(gallery);
    sync_tree(&next).map_err(GalleryError::io("writing", &next))
}

/// Puts the copy, which is [on the disk](sync), in the shard's place. Neither of the two may be
/// open. After an error one of the two is in that place, if the file system allows it at all.
pub(super) fn exchange(gallery: &Path) -> Result<(), GalleryError> {
    swap(gallery)?;
    sync_folder(gallery)
}

/// Removes the shard that was replaced. What stays behind takes room until the gallery is opened
/// next, and that is all.
pub(super) fn remove_previous(gallery: &Path) {
    let _ = remove(&previous(gallery));
}

fn swap(gallery: &Path) -> Result<(), GalleryError> {
    let (shard, next, previous) = (gallery.join(SHARD), next(gallery), previous(gallery));
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).map_err(GalleryError::io("renaming the shard to", to))
    };
    rename(&shard, &previous)?;
    rename(&next, &shard).inspect_err(|_| {
        // If this fails as well, the next opening tries it again.
        let _ = fs::rename(&previous, &shard);
    })
}

/// Drops the copy.
pub(super) fn discard(gallery: &Path) -> Result<(), GalleryError> {
    remove(&next(gallery))
}

/// Brings the folder in order after a crash at any point of the above.
pub(super) fn recover(gallery: &Path) -> Result<(), GalleryError> {
    let (shard, previous) = (gallery.join(SHARD), previous(gallery));
    if !shard.exists() && previous.exists() {
        fs::rename(&previous, &shard)
            .map_err(GalleryError::io("bringing back the shard at", &shard))?;
        sync_folder(gallery)?;
    }
    // What cannot be removed takes room, but does not keep the gallery from being searched.
    let _ = remove(&previous);
    let _ = discard(gallery);
    Ok(())
}

fn remove(folder: &Path) -> Result<(), GalleryError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(GalleryError::io("removing", folder)(e))
        }
        _ => Ok(()),
    }
}

/// Copies the shard of a gallery that cannot be written to a new folder.
pub(super) fn copy_to(gallery: &Path, to: &Path) -> Result<(), GalleryError> {
    let (shard, previous) = (gallery.join(SHARD), previous(gallery));
    let from = match !shard.exists() && previous.exists() {
        true => previous,
        false => shard,
    };
    copy_folder(&from, to).map_err(GalleryError::io("copying the shard to", to))
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Copies a file, leaving holes where it holds nothing: the engine's files are mostly holes at
/// first.
pub(super) fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    const BLOCK: usize = 1 << 16;
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    loop {
        let read = from.read(&mut block)?;
        if read == 0 {
            return to.set_len(length);
        }
        length += read as u64;
        if block[..read].iter().all(|&byte| byte == 0) {
            to.seek(SeekFrom::Start(length))?;
        } else {
            to.write_all(&block[..read])?;
        }
    }
}

pub(super) fn sync_tree(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_tree(&entry?.path())?;
        }
        return lookalike_files::sync_folder(path);
    }
    // Windows flushes only what is open for writing.
    OpenOptions::new()
        .read(true)
        .write(cfg!(windows))
        .open(path)?
        .sync_all()
}

/// The bytes that a folder takes on disk, its files' holes left out (on Windows counted in); what
/// cannot be looked at counts nothing.
pub fn disk_usage(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else {
        return 0;
    };
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    allocated(&metadata) + inside.map(|entry| disk_usage(&entry.path())).sum::<u64>()
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gallery() -> tempfile::TempDir {
        let gallery = tempfile::tempdir().unwrap();
        fs::create_dir_all(gallery.path().join("shard/segments")).unwrap();
        fs::write(gallery.path().join("shard/segments/a"), "old").unwrap();
        gallery
    }

    fn content(gallery: &Path) -> String {
        fs::read_to_string(gallery.join("shard/segments/a")).unwrap()
    }

    #[test]
    fn a_copy_is_the_same_and_keeps_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; 1 << 20];
        bytes[300_000] = 7;
        fs::write(folder.path().join("a"), &bytes).unwrap();
        copy_file(&folder.path().join("a"), &folder.path().join("b")).unwrap();
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), bytes);
        assert!(disk_usage(&folder.path().join("b")) <= 1 << 17);
    }

    #[test]
    fn the_copy_takes_the_place() {
        let gallery = gallery();
        copy(gallery.path()).unwrap();
        fs::write(next(gallery.path()).join("segments/a"), "new").unwrap();
        assert_eq!(content(gallery.path()), "old");
        sync(gallery.path()).unwrap();
        exchange(gallery.path()).unwrap();
        remove_previous(gallery.path());
        assert_eq!(content(gallery.path()), "new");
        assert_eq!(fs::read_dir(gallery.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_crash_between_the_renames_is_undone() {
        let gallery = gallery();
        let path = gallery.path();
        copy(path).unwrap();
        fs::rename(path.join(SHARD), previous(path)).unwrap();
        recover(path).unwrap();
        assert_eq!(content(path), "old");
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
        // And before the old one was removed.
        copy(path).unwrap();
        fs::rename(path.join(SHARD), previous(path)).unwrap();
        fs::rename(next(path), path.join(SHARD)).unwrap();
        recover(path).unwrap();
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    }

    #[test]
    fn an_exchange_that_fails_leaves_the_shard() {
        let gallery = gallery();
        let path = gallery.path();
        assert!(exchange(path).is_err(), "there is no copy");
        assert_eq!(content(path), "old");
        assert!(swap(path).is_err());
        assert_eq!(
            content(path),
            "old",
            "brought back after the first renaming"
        );
    }

    #[test]
    fn what_cannot_be_removed_does_not_keep_a_gallery_closed() {
        let gallery = gallery();
        let path = gallery.path();
        // A folder would be removed; a file where a folder should be is not ours to remove.
        fs::write(previous(path), "in the way").unwrap();
        assert!(copy(path).is_err());
        recover(path).unwrap();
        assert_eq!(content(path), "old");
    }
}
