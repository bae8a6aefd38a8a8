//! Dropping blobs that no point needs. The table forgets them at once; their bytes go when
//! they are a fifth of a file (the engine's measure for points), by copying the rest to a new file.
//!
//! The new file gets its name when it is whole, then the index speaks of it, then the old ones go:
//! a process killed in between leaves blobs twice, and the next sweep removes the older copy.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;

use super::index;
use super::segment::{HEAD, HEADER, Segment, write_record};
use super::table::{Key, Place};
use super::{CHUNK, INDEX, Store, place};
use crate::GalleryError;
use crate::embedded::folder::sync_folder;

/// A part of a file, one in so many, that makes it worth copying the rest.
const WORTH: u64 = 5;

impl Store {
    /// Forgets all that does not pass.
    pub(super) fn drop_all_but(&mut self, passes: impl FnMut(&Key) -> bool) -> Dropped {
        let gone = self.table.retain(passes);
        self.dirty |= gone > 0;
        let mut needed: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in self.table.entries() {
            let record = HEAD as u64 + u64::from(entry.place.length);
            *needed.entry(entry.place.segment).or_default() += record;
        }
        let mut dropped = Dropped {
            gone,
            worth: Vec::new(),
            room: 0,
        };
        for (number, segment) in &self.segments {
            let records = segment.length() - HEADER;
            let needed = needed.get(number).copied().unwrap_or(0);
            let spare = records.saturating_sub(needed);
            if spare > 0 && spare >= records / WORTH {
                dropped.worth.push(*number);
                dropped.room += HEADER + needed;
            }
        }
        dropped
    }

    /// Copies what is needed of these files to new ones, and removes them. After an error the store
    /// must be opened anew; all blobs are there then.
    pub(super) fn compact(&mut self, numbers: &[u32]) -> Result<(), GalleryError> {
        let mut copy: Option<Copy> = None;
        let mut damaged = HashSet::new();
        for &number in numbers {
            let of_file = |place: &Place| place.segment == number;
            let entries = self.table.entries().iter();
            let mut places: Vec<Place> = entries.map(|e| e.place).filter(of_file).collect();
            places.sort_unstable_by_key(|place| place.offset);
            for from in places {
                if !self.copy_record(from, &mut copy)? {
                    damaged.insert(from);
                }
            }
        }
        if !damaged.is_empty() {
            self.forget_at(&damaged);
        }
        if let Some(copy) = copy {
            self.finish(copy)?;
        }
        for number in numbers {
            self.segments.remove(number);
        }
        let index = self.folder.join(INDEX);
        index::write(&index, &mut self.table, &self.segments)?;
        self.dirty = false;
        for &number in numbers {
            let path = self.path_of(number);
            fs::remove_file(&path).map_err(GalleryError::io("removing", &path))?;
        }
        sync_folder(&self.folder)
    }

    /// Says no if the record is damaged: then it is not copied, and to be forgotten.
    fn copy_record(&mut self, from: Place, copy: &mut Option<Copy>) -> Result<bool, GalleryError> {
        let reading = GalleryError::io(self.kind.reading, &self.folder);
        let segment = self.segments.get(&from.segment);
        let record = segment.map(|segment| segment.read(from.offset.into()));
        let Some((hash, blob)) = record.transpose().map_err(reading)?.flatten() else {
            return Ok(false);
        };
        if copy.as_ref().is_some_and(|copy| copy.length() >= self.full)
            && let Some(full) = copy.take()
        {
            self.finish(full)?;
        }
        let copy = match copy {
            Some(copy) => copy,
            None => copy.insert(Copy::begin(self)?),
        };
        if let Some(to) = place(copy.number, copy.length(), blob.len()) {
            self.table.insert(super::key(&hash), to);
        }
        write_record(&mut copy.waiting, &hash, &blob);
        if copy.waiting.len() >= CHUNK {
            copy.write()?;
        }
        Ok(true)
    }

    fn finish(&mut self, mut copy: Copy) -> Result<(), GalleryError> {
        copy.write()?;
        let path = self.path_of(copy.number);
        let writing = || GalleryError::io(self.kind.writing, &path);
        copy.segment.sync().map_err(writing())?;
        fs::rename(&copy.path, &path).map_err(writing())?;
        sync_folder(&self.folder)?;
        self.segments.insert(copy.number, copy.segment);
        Ok(())
    }
}

/// What [`Store::drop_all_but`] did, and what is left to do.
pub(super) struct Dropped {
    /// Blobs that were forgotten.
    pub(super) gone: usize,
    /// Files that are worth copying.
    pub(super) worth: Vec<u32>,
    /// The bytes of the copies.
    pub(super) room: u64,
}

/// A new file that is being filled with copies.
struct Copy {
    number: u32,
    path: PathBuf,
    segment: Segment,
    waiting: Vec<u8>,
    /// What is being done, for errors.
    writing: &'static str,
}

impl Copy {
    fn begin(store: &mut Store) -> Result<Self, GalleryError> {
        let number = store.next_number()?;
        let path = store.path_of(number).with_extension("partial");
        // Left by an earlier attempt of this process that failed.
        let _ = fs::remove_file(&path);
        let segment =
            Segment::create(&path, store.kind.magic).map_err(GalleryError::io("making", &path))?;
        store.highest = number;
        Ok(Copy {
            number,
            path,
            segment,
            waiting: Vec::new(),
            writing: store.kind.writing,
        })
    }

    /// Where the next record goes.
    fn length(&self) -> u64 {
        self.segment.length() + self.waiting.len() as u64
    }

    fn write(&mut self) -> Result<(), GalleryError> {
        let written = self.segment.append(&self.waiting);
        self.waiting.clear();
        written.map_err(GalleryError::io(self.writing, &self.path))
    }
}
