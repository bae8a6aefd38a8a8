//! What is kept of contents beside the shard, their thumbnails and their tiles: one blob a content
//! of either [`Kind`], in files that are only ever added to.
//!
//! `00000001.thumbs` and so on hold the blobs ([`segment`]), `index.bin` says where each is
//! ([`index`]) and is made anew from them when it is missing or behind. What is put is on disk when
//! the call returns; a process killed in between leaves a record cut short at the end of the newest
//! file, which the next opening cuts off. Blobs that no point needs are dropped by copying the
//! rest ([`sweep`]). Bytes are checked whenever they are read, and a damaged blob counts as
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
const INDEX: &str = "index.bin";

/// What blobs are of, and how their files are called.
#[derive(Debug)]
pub(super) struct Kind {
    /// The folder in the gallery's own.
    folder: &'static str,
    /// In the gallery's folder while blobs may be there that no point needs.
    unswept: &'static str,
    /// What the names of files end with.
    suffix: &'static str,
    /// What files begin with.
    magic: &'static [u8; 8],
    /// One of them, in words.
    pub(super) one: &'static str,
    reading: &'static str,
    writing: &'static str,
    storing: &'static str,
    copying: &'static str,
}

pub(super) static THUMBNAILS: Kind = Kind {
    folder: "thumbnails",
    unswept: "thumbnails.unswept",
    suffix: "thumbs",
    magic: b"lookthmb",
    one: "a thumbnail",
    reading: "reading the thumbnails in",
    writing: "writing thumbnails to",
    storing: "storing thumbnails",
    copying: "copying thumbnails",
};

pub(super) static TILES: Kind = Kind {
    folder: "tiles",
    unswept: "tiles.unswept",
    suffix: "tiles",
    magic: b"looktile",
    one: "a set of tiles",
    reading: "reading the tiles in",
    writing: "writing tiles to",
    storing: "storing tiles",
    copying: "copying tiles",
};

/// The blobs of a folder.
#[derive(Debug)]
struct Store {
    kind: &'static Kind,
    folder: PathBuf,
    /// By their numbers, which rise with time.
    segments: BTreeMap<u32, Segment>,
    /// The highest number that is taken, also by files that are not ours.
    highest: u32,
    table: Table,
    /// Whether the index on disk does not say what the table says.
    dirty: bool,
    /// Whether the index was behind: blobs may be there whose points were never stored.
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
    /// Opens the blobs of a folder, which need not exist.
    fn open(folder: &Path, kind: &'static Kind) -> Result<Self, GalleryError> {
        let mut store = Store {
            kind,
            folder: folder.to_path_buf(),
            segments: BTreeMap::new(),
            highest: 0,
            table: Table::default(),
            dirty: false,
            rescanned: false,
            full: MAX_FILE_BYTES,
        };
        let reading = || GalleryError::io(kind.reading, folder);
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
            let Some(number) = number_of(&path, kind.suffix) else {
                continue;
            };
            store.highest = store.highest.max(number);
            if let Some(segment) = Segment::open(&path, kind.magic).map_err(reading())? {
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
            Some((found, blob)) if found == *hash => Read::Whole(blob),
            // Two contents with one key, of which this is not the one that was put.
            Some((found, _)) if key(&found) == key(hash) => Read::Absent,
            _ => Read::Damaged,
        })
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.table.get(&key(hash)).is_some()
    }

    /// Where all blobs lie.
    fn places(&mut self) -> Vec<Place> {
        self.table
            .entries()
            .iter()
            .map(|entry| entry.place)
            .collect()
    }

    /// The blob at a place, and its content; none if none is there, whole.
    fn read(&self, place: Place) -> io::Result<Option<(Hash, Vec<u8>)>> {
        match self.segments.get(&place.segment) {
            Some(segment) => segment.read(place.offset.into()),
            None => Ok(None),
        }
    }

    /// Forgets a blob that was found damaged.
    fn forget(&mut self, hash: &Hash) {
        let gone = key(hash);
        self.table.retain(|key| *key != gone);
        self.dirty = true;
    }

    /// Forgets the blobs at these places, which were found damaged.
    fn forget_at(&mut self, places: &HashSet<Place>) {
        let entries = self.table.entries().iter();
        let gone: HashSet<Key> = entries
            .filter(|entry| places.contains(&entry.place))
            .map(|entry| entry.key)
            .collect();
        self.dirty |= self.table.retain(|key| !gone.contains(key)) > 0;
    }

    /// Those of these that are not there, each once.
    fn missing<'a>(&self, blobs: &[(Hash, &'a [u8])]) -> Vec<(Hash, &'a [u8])> {
        let mut seen = HashSet::new();
        let wanted = blobs.iter().filter(|(hash, _)| {
            let key = key(hash);
            self.table.get(&key).is_none() && seen.insert(key)
        });
        wanted.copied().collect()
    }

    /// Adds blobs that are [`missing`](Store::missing). They are on disk, all or, after an
    /// error, some of them, and none counts that is not.
    fn put(&mut self, blobs: &[(Hash, &[u8])]) -> Result<(), GalleryError> {
        let mut rest = blobs;
        while !rest.is_empty() {
            let writing = GalleryError::io(self.kind.writing, &self.folder);
            let (number, mut segment) = self.newest()?;
            let start = segment.length();
            let (mut bytes, mut places) = (Vec::new(), Vec::new());
            for (hash, blob) in rest {
                let offset = start + bytes.len() as u64;
                if !places.is_empty() && (bytes.len() >= CHUNK || offset >= self.full) {
                    break;
                }
                places.extend(place(number, offset, blob.len()).map(|p| (key(hash), p)));
                write_record(&mut bytes, hash, blob);
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
        let segment = Segment::create(&path, self.kind.magic).map_err(making())?;
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
        self.folder
            .join(format!("{number:08}.{}", self.kind.suffix))
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

/// What became of reading a blob.
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

fn number_of(path: &Path, suffix: &str) -> Option<u32> {
    let ours = path.extension()? == suffix;
    let name = path.file_stem()?.to_str()?;
    let digits = name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_digit());
    (ours && digits).then(|| name.parse().ok()).flatten()
}
