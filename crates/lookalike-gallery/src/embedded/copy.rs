//! A gallery's folder in another place, with its index and its neighbour graph, so that it answers
//! exactly alike: an index that is built anew from the same points may miss other neighbours.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::folder::{LOCK, Lock, parent_of, sync_folder};
use super::optimise::{copy_file, sync_tree};
use crate::GalleryError;

/// Compared at a time.
const BLOCK: usize = 1 << 16;

/// Copies the files of a gallery, which nobody may change meanwhile, to the new folder `to`. It
/// appears at once and complete. What an earlier attempt that was stopped has copied is taken over.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), GalleryError> {
    let aside = aside(to)?;
    fs::create_dir_all(&aside).map_err(GalleryError::io("making the folder", &aside))?;
    let lock = Lock::acquire(&aside)?;
    let copied = bring_in_step(from, &aside, true).and_then(|()| sync_tree(&aside));
    copied.map_err(GalleryError::io("copying the gallery to", &aside))?;
    fs::rename(&aside, to).map_err(GalleryError::io("naming the copy", to))?;
    // Opening the copy takes its own lock.
    drop(lock);
    sync_folder(&parent_of(to))
}

/// Where a copy is until it is complete.
fn aside(to: &Path) -> Result<PathBuf, GalleryError> {
    let name = to.file_name().ok_or_else(|| {
        GalleryError::BadRequest(format!("{} cannot be the name of a gallery", to.display()))
    })?;
    Ok(parent_of(to).join(format!(".{}.copying", name.to_string_lossy())))
}

/// Files that do not belong to a closed gallery: locks, and what an index that is being built or a
/// file that is being written leaves behind when it is interrupted.
fn is_unfinished(name: &str) -> bool {
    name == LOCK
        || name == "shard.next"
        || name == "shard.previous"
        || name.ends_with(".part")
        || name.ends_with(".partial")
}

/// Makes `to` hold what `from` holds.
fn bring_in_step(from: &Path, to: &Path, is_top: bool) -> io::Result<()> {
    let skips = |name: &str| is_top && is_unfinished(name);
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        let name = entry.file_name();
        let was = from.join(&name);
        if skips(&name.to_string_lossy()) {
            continue;
        }
        let is_folder = entry.file_type()?.is_dir();
        if !was.exists() || was.is_dir() != is_folder {
            match is_folder {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if skips(&name.to_string_lossy()) {
            continue;
        }
        let (was, target) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            bring_in_step(&was, &target, false)?;
        } else if !is_same(&was, &target)? {
            copy_file(&was, &target)?;
        }
    }
    Ok(())
}

/// Whether two files hold the same; one that is missing holds nothing.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = match (File::open(one)?, File::open(other)) {
        (one, Ok(other)) => (one, other),
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        (_, Err(error)) => return Err(error),
    };
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut right[..read]) {
            Ok(()) if left[..read] == right[..read] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_copied_before_is_taken_over_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("g"), folder.path().join("copy"));
        fs::create_dir_all(from.join("shard/deep")).unwrap();
        for (name, text) in [
            ("gallery.json", "what it is"),
            ("shard/deep/a", "first"),
            ("shard/b", "second"),
            ("lock", "1"),
            ("diffusion.bin.part", "half"),
        ] {
            fs::write(from.join(name), text).unwrap();
        }
        // Stopped before: one file whole, one half, one that is gone since, one that is a folder
        // now.
        let aside = aside(&to).unwrap();
        fs::create_dir_all(aside.join("shard/gone")).unwrap();
        fs::write(aside.join("gallery.json"), "what it is").unwrap();
        fs::write(aside.join("shard/b"), "sec").unwrap();
        fs::write(aside.join("shard/deep"), "no folder").unwrap();
        fs::write(aside.join("shard/gone/c"), "gone").unwrap();
        let whole = fs::metadata(aside.join("gallery.json"))
            .unwrap()
            .modified()
            .unwrap();
        copy(&from, &to).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(name)).unwrap();
        assert_eq!(read("gallery.json"), "what it is");
        assert_eq!(read("shard/deep/a"), "first");
        assert_eq!(read("shard/b"), "second");
        assert!(!to.join("shard/gone").exists() && !to.join("diffusion.bin.part").exists());
        let now = fs::metadata(to.join("gallery.json"))
            .unwrap()
            .modified()
            .unwrap();
        assert_eq!(now, whole, "not copied again");
        assert!(!aside.exists());
    }
}
