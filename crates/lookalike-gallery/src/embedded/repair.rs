//! What a killed process may leave behind in the engine's files.
//!
//! A point that was being replaced may lie in two segments: the engine writes the new place before
//! it clears the old one.
//!
//! And a pointer may be half written. The engine keeps where each payload and each indexed value
//! lies in a table of 16 bytes an entry that is mapped into memory and starts at byte 4 of its
//! file, so that every 256th entry lies across two pages. A process that is killed when it touches
//! the second page leaves an entry that says "used" and has a length of 0, which no value has; the
//! engine panics on it when it opens. Such an entry was never acknowledged: the log still has the
//! point.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::shard::Shard;
use crate::{GalleryError, Point};

/// The engine's name of a table of pointers.
const POINTERS: &str = "tracker.dat";
const POINTERS_HEADER: usize = 4;
/// An entry: whether it is used, page, block, and the value's length in bytes, each of 4 bytes.
const POINTER: usize = 16;
const POINTER_LENGTH: usize = 12;

/// Clears half-written pointers in the files of the shard at `shard`, which must not be open. The
/// indexes of a segment with such a pointer are removed as a whole; the engine builds them from the
/// payloads when it opens the segment.
pub(super) fn clear_torn_pointers(shard: &Path) -> io::Result<()> {
    for segment in folders(&shard.join("segments"))? {
        let segment = segment?;
        clear_torn(&segment.join("payload_storage"))?;
        let mut torn = false;
        let indexes = segment.join("payload_index");
        if indexes.is_dir() {
            for index in folders(&indexes)? {
                torn |= clear_torn(&index?)?;
            }
        }
        if torn {
            for index in folders(&indexes)? {
                fs::remove_dir_all(index?)?;
            }
        }
    }
    Ok(())
}

fn folders(parent: &Path) -> io::Result<impl Iterator<Item = io::Result<PathBuf>> + use<>> {
    Ok(fs::read_dir(parent)?.filter_map(|entry| {
        let path = entry.map(|entry| entry.path());
        path.map_or_else(|e| Some(Err(e)), |path| path.is_dir().then_some(Ok(path)))
    }))
}

/// Whether there were any in the table of the folder `storage`.
fn clear_torn(storage: &Path) -> io::Result<bool> {
    let path = storage.join(POINTERS);
    let table = match fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        table => table?,
    };
    let entries = table.get(POINTERS_HEADER..).unwrap_or_default();
    let torn: Vec<usize> = entries
        .chunks_exact(POINTER)
        .enumerate()
        .filter(|(_, entry)| entry[0] != 0 && entry[POINTER_LENGTH..] == [0; 4])
        .map(|(i, _)| POINTERS_HEADER + i * POINTER)
        .collect();
    if torn.is_empty() {
        return Ok(false);
    }
    let mut file = File::options().write(true).open(&path)?;
    for at in torn {
        file.seek(SeekFrom::Start(at as u64))?;
        file.write_all(&[0; POINTER])?;
    }
    file.sync_all()?;
    Ok(true)
}

const PAGE: usize = 1_000;

/// Removes older copies of points that lie in several segments.
pub(super) fn remove_doubles(shard: &Shard) -> Result<(), GalleryError> {
    if shard.size()?.segments < 2 {
        return Ok(());
    }
    let mut last = None;
    loop {
        let ids = shard.scroll_ids(last, PAGE, None)?;
        if shard.copies(&ids)? > ids.len() {
            // Storing a point again as it is now, in its newest copy, removes the other copies.
            let points: Vec<Point> = shard
                .retrieve(&ids)?
                .into_iter()
                .map(|found| Point {
                    id: found.id,
                    code: found.code,
                    payload: found.payload,
                })
                .collect();
            shard.upsert(&points.iter().collect::<Vec<_>>())?;
        }
        last = ids.last().copied();
        if ids.len() < PAGE {
            return shard.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use lookalike_neighbours::Metric;
    use uuid::Uuid;

    use super::super::query;
    use super::*;
    use crate::{Filter, Payload};

    const POINTS: usize = 600;

    fn label(i: usize) -> String {
        format!("label{}", i % 7)
    }

    fn filled(path: &Path) {
        let shard = Shard::create(path, Metric::Cosine, 2).unwrap();
        let points: Vec<Point> = (0..POINTS)
            .map(|i| Point {
                id: Uuid::from_u128(i as u128),
                code: vec![1.0, i as f32],
                payload: Payload {
                    label: Some(label(i)),
                    ..Payload::default()
                },
            })
            .collect();
        shard.upsert(&points.iter().collect::<Vec<_>>()).unwrap();
        shard.flush().unwrap();
    }

    /// Tears the entry that lies across the first two pages as a killed process does.
    fn tear(table: &Path) {
        const ACROSS: u64 = (POINTERS_HEADER + 255 * POINTER) as u64;
        let mut file = File::options().write(true).open(table).unwrap();
        file.seek(SeekFrom::Start(ACROSS + 8)).unwrap();
        file.write_all(&[0; 8]).unwrap();
    }

    #[test]
    fn a_shard_with_torn_pointers_opens_and_finds_every_point() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        filled(path);
        let segment = folders(&path.join("segments")).unwrap().next();
        let segment = segment.unwrap().unwrap();
        let indexes: Vec<_> = folders(&segment.join("payload_index")).unwrap().collect();
        let tables: Vec<_> = indexes
            .into_iter()
            .map(|index| index.unwrap().join(POINTERS))
            .filter(|table| table.exists())
            .collect();
        assert!(!tables.is_empty());
        tables.iter().for_each(|table| tear(table));
        assert!(
            Shard::open(path, Metric::Cosine, 2).is_err(),
            "the engine reads them itself by now, and this repair can go"
        );
        clear_torn_pointers(path).unwrap();
        let shard = Shard::open(path, Metric::Cosine, 2).unwrap();
        for i in 0..7 {
            let filter = format!("label={}", label(i)).parse::<Filter>().unwrap();
            let count = shard.count(Some(query::filter(&filter))).unwrap();
            assert_eq!(count, (POINTS - i).div_ceil(7), "{}", label(i));
        }
    }

    #[test]
    fn whole_pointers_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let segment = folders(&folder.path().join("segments")).unwrap().next();
        let table = segment
            .unwrap()
            .unwrap()
            .join("payload_storage")
            .join(POINTERS);
        let before = fs::read(&table).unwrap();
        clear_torn_pointers(folder.path()).unwrap();
        assert_eq!(fs::read(&table).unwrap(), before);
        tear(&table);
        clear_torn_pointers(folder.path()).unwrap();
        let after = fs::read(&table).unwrap();
        let at = POINTERS_HEADER + 255 * POINTER;
        assert_eq!(after[at..at + POINTER], [0; POINTER]);
        assert_eq!(after[..at], before[..at]);
        assert_eq!(after[at + POINTER..], before[at + POINTER..]);
    }
}
