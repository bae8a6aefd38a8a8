//! Thumbnails beside the shard: one a content, in files that are only ever added to.
//!
//! `00000001.thumbs` and so on hold the thumbnails ([`segment`]), `index.bin` says where each is
//! ([`index`]) and is made anew from them when it is missing or behind. What is put is on disk when
//! the call returns; a process killed in between leaves a record cut short at the end of the newest
//! file, which the next opening cuts off. Thumbnails that no point needs are dropped by copying the
//! rest ([`sweep`]). Bytes are checked whenever they are read, and a damaged thumbnail counts as
//! missing, so that it is put again by whoever has it.

mod index;
mod keeper;
mod segment;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::folder::{forbids_writing, sync_folder};
use crate::GalleryError;
pub(super) use keeper::{Keeper, Needed};
use segment::{HEADER, Hash, Segment, write_record};
use table::{Key, Place, Table};

/// A file of this length or more is finished, and another one begun.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Bytes that are written at a time.
const CHUNK: usize = 8 << 20;
const SUFFIX: &str = "thumbs";
const INDEX: &str = "index.bin";

/// The thumbnails of a folder.
#[derive(Debug)]
struct Store {
    folder: PathBuf,
    /// By their numbers, which rise with time.
    segments: BTreeMap<u32, Segment>,
    /// The highest number that is taken, also by files that are not ours.
    highest: u32,
    table: Table,
    /// Whether the index on disk does not say what the table says.
    dirty: bool,
    /// Whether the index was behind: thumbnails may be there whose points were never stored.
    rescanned: bool,
    /// From which length on a file is finished.
    full: u64,
}

fn key(hash: &Hash) -> Key {
    // One half is turned, so that hashes that repeat themselves, as made-up ones may, differ as
    // well.
    std::array::from_fn(|at| hash[at] ^ hash[at + 16].rotate_left(1))
}

impl Store {
    /// Opens the thumbnails of a folder, which need not exist.
    fn open(folder: &Path) -> Result<Self, GalleryError> {
        let mut store = Store {
            folder: folder.to_path_buf(),
            segments: BTreeMap::new(),
            highest: 0,
            table: Table::default(),
            dirty: false,
            rescanned: false,
            full: MAX_FILE_BYTES,
        };
        let reading = || GalleryError::io("reading the thumbnails in", folder);
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(store),
            entries => entries.map_err(reading())?,
        };
        for entry in entries {
            let path = entry.map_err(reading())?.path();
            if path.extension().is_some_and(|end| end == "partial") {
                // Left by a process that was killed; what cannot be removed only takes room.
                let _ = fs::remove_file(&path);
            }
            let Some(number) = number_of(&path) else {
                continue;
            };
            store.highest = store.highest.max(number);
            if let Some(segment) = Segment::open(&path).map_err(reading())? {
                store.segments.insert(number, segment);
            }
        }
        let index = index::read(&folder.join(INDEX), &store.segments);
        let (table, covered) = index.map_or_else(Default::default, |i| (i.table, i.covered));
        store.table = table;
        store.catch_up(&covered).map_err(reading())?;
        Ok(store)
    }

    /// Takes what the index does not cover from the segments.
    fn catch_up(&mut self, covered: &BTreeMap<u32, u64>) -> io::Result<()> {
        let newest = self.segments.keys().next_back().copied();
        for (&number, segment) in &mut self.segments {
            let from = covered.get(&number).copied().unwrap_or(HEADER);
            if from == segment.length() && covered.contains_key(&number) {
                continue;
            }
            (self.dirty, self.rescanned) = (true, true);
            let table = &mut self.table;
            let end = segment.scan(from, |hash, offset, length| {
                if let Some(place) = place(number, offset, length) {
                    table.insert(key(hash), place);
                }
            })?;
            // Only the newest was being written to.
            if Some(number) == newest && end < segment.length() {
                match segment.cut(end) {
                    // A process that can write it will cut it.
                    Err(error) if cannot_be_written(&error) => {}
                    cut => cut?,
                }
            }
        }
        Ok(())
    }

    fn get(&self, hash: &Hash) -> io::Result<Read> {
        let Some(place) = self.table.get(&key(hash)) else {
            return Ok(Read::Absent);
        };
        let Some(segment) = self.segments.get(&place.segment) else {
            return Ok(Read::Damaged);
        };
        Ok(match segment.read(place.offset.into())? {
            Some((found, thumbnail)) if found == *hash => Read::Whole(thumbnail),
            // Two contents with one key, of which this is not the one that was put.
            Some((found, _)) if key(&found) == key(hash) => Read::Absent,
            _ => Read::Damaged,
        })
    }

    /// Forgets a thumbnail that was found damaged.
    fn forget(&mut self, hash: &Hash) {
        let gone = key(hash);
        self.table.retain(|key| *key != gone);
        self.dirty = true;
    }

    /// Those of these that are not there, each once.
    fn missing<'a>(&self, thumbnails: &[(Hash, &'a [u8])]) -> Vec<(Hash, &'a [u8])> {
        let mut seen = HashSet::new();
        let wanted = thumbnails.iter().filter(|(hash, _)| {
            let key = key(hash);
            self.table.get(&key).is_none() && seen.insert(key)
        });
        wanted.copied().collect()
    }

    /// Adds thumbnails that are [`missing`](Store::missing). They are on disk, all or, after an
    /// error, some of them, and none counts that is not.
    fn put(&mut self, thumbnails: &[(Hash, &[u8])]) -> Result<(), GalleryError> {
        let mut rest = thumbnails;
        while !rest.is_empty() {
            let writing = GalleryError::io("writing thumbnails to", &self.folder);
            let (number, mut segment) = self.newest()?;
            let start = segment.length();
            let (mut bytes, mut places) = (Vec::new(), Vec::new());
            for (hash, thumbnail) in rest {
                let offset = start + bytes.len() as u64;
                if !places.is_empty() && (bytes.len() >= CHUNK || offset >= self.full) {
                    break;
                }
                places.extend(place(number, offset, thumbnail.len()).map(|p| (key(hash), p)));
                write_record(&mut bytes, hash, thumbnail);
            }
            rest = &rest[places.len()..];
            let written = segment.append(&bytes).and_then(|()| segment.sync());
            if written.is_err() {
                // It may be there or not; what is not known to be there is not counted.
                let _ = segment.cut(start);
            }
            self.segments.insert(number, segment);
            written.map_err(writing)?;
            for (key, place) in places {
                self.table.insert(key, place);
            }
            self.dirty = true;
        }
        Ok(())
    }

    /// The segment that grows, taken out, and its number.
    fn newest(&mut self) -> Result<(u32, Segment), GalleryError> {
        let newest = self.segments.last_entry();
        if let Some(newest) = newest.filter(|newest| newest.get().length() < self.full) {
            return Ok(newest.remove_entry());
        }
        // A finished file is the moment to save what a killed process would have to read again.
        self.save()?;
        self.begin()
    }

    /// A new segment, and its number.
    fn begin(&mut self) -> Result<(u32, Segment), GalleryError> {
        let number = self.next_number()?;
        let path = self.path_of(number);
        let making = || GalleryError::io("making", &path);
        fs::create_dir_all(&self.folder).map_err(making())?;
        let segment = Segment::create(&path).map_err(making())?;
        segment.sync().map_err(making())?;
        sync_folder(&self.folder)?;
        if let Some(gallery) = self.folder.parent() {
            sync_folder(gallery)?;
        }
        self.highest = number;
        Ok((number, segment))
    }

    fn next_number(&self) -> Result<u32, GalleryError> {
        self.highest
            .checked_add(1)
            .ok_or_else(|| GalleryError::Damaged {
                path: self.folder.clone(),
                detail: "a file has the highest number that there is, so no other can follow it"
                    .into(),
            })
    }

    fn path_of(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number:08}.{SUFFIX}"))
    }

    /// Brings the index on disk up to date.
    fn save(&mut self) -> Result<(), GalleryError> {
        if self.dirty {
            index::write(&self.folder.join(INDEX), &mut self.table, &self.segments)?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// Whether a change failed because the file was opened for reading only.
fn cannot_be_written(error: &io::Error) -> bool {
    forbids_writing(error)
        || matches!(
            error.raw_os_error(),
            // EBADF, EINVAL: what the system says of such files.
            Some(9 | 22)
        )
}

/// What became of reading a thumbnail.
enum Read {
    Absent,
    Damaged,
    Whole(Vec<u8>),
}

/// None beyond what a place can say, where no segment of ours reaches.
fn place(segment: u32, offset: u64, length: usize) -> Option<Place> {
    Some(Place {
        segment,
        offset: offset.try_into().ok()?,
        length: length.try_into().ok()?,
    })
}

fn number_of(path: &Path) -> Option<u32> {
    let ours = path.extension()? == SUFFIX;
    let name = path.file_stem()?.to_str()?;
    let digits = name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_digit());
    (ours && digits).then(|| name.parse().ok()).flatten()
}
