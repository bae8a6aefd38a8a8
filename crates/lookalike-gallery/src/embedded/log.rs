//! The engine's write-ahead log. qdrant-edge writes it and numbers its operations by it, but
//! neither replays it when a shard is opened nor ever shortens it. Durability therefore comes from
//! flushing the segments, and the log is shortened here, between closing a shard and opening it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Removes the log's finished files, all but the newest: that one carries the number at which the
/// next operation continues, and points whose version lies above it could not be changed any more.
pub(super) fn shorten(shard: &Path) -> io::Result<()> {
    let mut finished: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(shard.join("wal"))? {
        let path = entry?.path();
        let first_operation = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("closed-")?.parse().ok());
        if let Some(first_operation) = first_operation {
            finished.push((first_operation, path));
        }
    }
    finished.sort();
    finished.pop();
    // Oldest first, so that what remains is without gaps if this is cut short.
    for (_, path) in finished {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Whether the shard has a log at all. Without it the engine would number its operations from zero,
/// and take every change of a stored point for an old one.
pub(super) fn is_present(shard: &Path) -> bool {
    let entries = fs::read_dir(shard.join("wal"));
    entries.into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("open-") || name.starts_with("closed-")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_finished_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let wal = folder.path().join("wal");
        fs::create_dir(&wal).unwrap();
        for name in [
            "closed-0",
            "closed-9",
            "closed-100",
            "open-4",
            "first-index",
        ] {
            fs::write(wal.join(name), "").unwrap();
        }
        shorten(folder.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(&wal)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["closed-100", "first-index", "open-4"]);
        assert!(is_present(folder.path()));
        fs::remove_dir_all(&wal).unwrap();
        assert!(!is_present(folder.path()));
    }
}
