//! What systems do differently with files. Writing one so that it is there whole or not at all:
//! [`replace_file`] at once, [`Replacement`] as it is written. Reading and writing at a place
//! without moving to it: [`read_at`], [`read_exact_at`], [`write_all_at`]. Making names durable:
//! [`sync_folder`]. Real paths that people can read: [`canonicalize`].

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The path from the root, through no links: [`Path::canonicalize`], but on Windows as it is typed
/// (`C:\photos`, not `\\?\C:\photos`), where it can be.
pub use dunce::canonicalize;

/// Replaces the file at `path` by one that holds `bytes`, as [`Replacement`] does.
///
/// # Errors
///
/// When the file cannot be written, or `path` is something else than a file, such as a device;
/// then it is as it was.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut replacement = Replacement::new(path)?;
    replacement.write_all(bytes)?;
    replacement.commit()
}

/// A file that is written bit by bit, and replaces another when it is complete.
///
/// The bytes go to `PATH.part`; [`commit`](Self::commit) flushes them to the disk and renames:
/// whenever the process ends, `path` holds all of the old or all of the new. What a killed process
/// leaves in `PATH.part` the next write takes over; of two processes that write at once the second
/// gets an error. A link is followed: what it points to is replaced. Dropped without a commit, it
/// leaves nothing behind, and `path` as it was. Writes are not gathered: wrap it where they are
/// small.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    aside: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl Replacement {
    /// Begins a replacement of `path`, with nothing in it.
    ///
    /// # Errors
    ///
    /// When there is no place for it, or `path` is something else than a file, such as a device.
    pub fn new(path: &Path) -> io::Result<Self> {
        let message = "there is something there that is not a regular file";
        let not_a_file = || Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        let (target, permissions) = match fs::metadata(path) {
            Ok(there) if !there.is_file() => return not_a_file(),
            Ok(there) => (path.canonicalize()?, Some(there.permissions())),
            Err(_) => (path.to_owned(), None),
        };
        let mut aside = target.as_os_str().to_owned();
        aside.push(".part");
        let aside = PathBuf::from(aside);
        // Through a link another file would be emptied.
        if fs::symlink_metadata(&aside).is_ok_and(|there| !there.is_file()) {
            return not_a_file();
        }
        let file = claim(&aside)?;
        // Who may read what is replaced, and nobody else, may read what replaces it.
        if let Some(permissions) = permissions.filter(|p| !p.readonly()) {
            file.set_permissions(permissions)?;
        }
        let replacement = Self {
            file,
            aside,
            target,
            committed: false,
        };
        replacement.file.set_len(0)?;
        Ok(replacement)
    }

    /// Puts what was written in its place.
    ///
    /// # Errors
    ///
    /// When it cannot be flushed or renamed; then what was there is there still.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.aside, &self.target)?;
        self.committed = true;
        // The rename is durable once its folder is; not every file system can flush a folder.
        let folder = self.target.parent().filter(|p| !p.as_os_str().is_empty());
        let _ = sync_folder(folder.unwrap_or(Path::new(".")));
        Ok(())
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Replacement {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            // There is a first error that matters more, or nobody wants the file any more.
            let _ = fs::remove_file(&self.aside);
        }
    }
}

/// Makes the names in a folder durable: files that were made, renamed or removed in it are so after
/// a loss of power. On Windows, which cannot flush a folder, it does nothing.
///
/// # Errors
///
/// When the folder cannot be opened or flushed.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    File::open(path)?.sync_all()
}

/// Reads from a place in a file as much as it gives at once, and says how much; nothing at its end.
/// The file's cursor does not matter; on Windows it moves.
///
/// # Errors
///
/// When the file cannot be read.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, buffer, offset);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_read(file, buffer, offset);
}

/// Fills `buffer` from a place in a file, as [`read_at`] reads.
///
/// # Errors
///
/// When the file cannot be read, or ends before the buffer is full: then
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes` to a place in a file. Its cursor does not matter; on Windows it moves.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match write_at(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_at(file, bytes, offset);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_write(file, bytes, offset);
}

/// Opens the file aside and locks it, so that nobody else writes to it.
fn claim(aside: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(aside)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process is writing {}", aside.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
            }
            // Not every file system has locks; then renaming alone must do.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
        // Between opening and locking, its former owner may have renamed it: then it is no longer
        // aside but the finished file.
        if is_at(&file, aside) {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |m: fs::Metadata| (m.dev(), m.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(path)) => identity(file) == identity(path),
        _ => false,
    }
}

/// Elsewhere an open file cannot be renamed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        replace_file(&path, b"first, and longer").unwrap();
        // Left by a process that was killed.
        fs::write(folder.path().join("f.part"), [7; 1000]).unwrap();
        replace_file(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace_file(&folder.path().join("no/such"), b"x").is_err());
        assert!(replace_file(folder.path(), b"x").is_err());
    }

    #[test]
    fn places_are_read_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(folder.path().join("f")).unwrap();
        write_all_at(&file, b"cdef", 2).unwrap();
        write_all_at(&file, b"ab", 0).unwrap();
        let mut three = [0; 3];
        read_exact_at(&file, &mut three, 1).unwrap();
        assert_eq!(&three, b"bcd");
        assert_eq!(read_at(&file, &mut three, 6).unwrap(), 0);
        let beyond = read_exact_at(&file, &mut three, 4).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        sync_folder(folder.path()).unwrap();
    }

    #[test]
    fn what_is_not_committed_never_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        replace_file(&path, b"old").unwrap();
        let mut dropped = Replacement::new(&path).unwrap();
        dropped.write_all(b"half of the n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(dropped);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let mut kept = Replacement::new(&path).unwrap();
        kept.write_all(b"..new").unwrap();
        kept.rewind().unwrap();
        kept.write_all(b"a ").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        kept.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("f"), folder.path().join("link"));
        replace_file(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_aside_is_refused_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let other = folder.path().join("other");
        fs::write(&other, b"of somebody else").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join("f.part")).unwrap();
        assert!(replace_file(&path, b"new").is_err());
        assert_eq!(fs::read(&other).unwrap(), b"of somebody else");
        fs::remove_file(folder.path().join("f.part")).unwrap();
        replace_file(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        replace_file(&path, b"new").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn the_second_writer_is_refused_and_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        replace_file(&path, b"old").unwrap();
        let first = claim(&folder.path().join("f.part")).unwrap();
        let error = replace_file(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(first);
        replace_file(&path, b"new").unwrap();
    }
}
