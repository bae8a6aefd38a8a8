//! The blobs of one kind of a gallery, opened when they are first asked for: whoever only searches
//! does without.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::segment::HEAD;
use super::segment::Hash;
use super::table::{Key, Place};
use super::{Kind, Read, Store, key};
use crate::GalleryError;
use crate::embedded::folder::{forbids_writing, lower_flag, raise_flag};
use crate::embedded::room::check_room;
use crate::thumbnail;

/// Room for the index and the file system's own needs, beside the blobs.
const BESIDE: u64 = 64;

#[derive(Debug)]
pub(in crate::embedded) struct Keeper {
    kind: &'static Kind,
    gallery: PathBuf,
    store: RwLock<Option<Store>>,
    /// Put or [held](Keeper::hold) since the gallery was opened, and no point stored for them yet:
    /// they are needed soon.
    awaited: Mutex<HashSet<Key>>,
}

impl Keeper {
    pub(in crate::embedded) fn new(gallery: &Path, kind: &'static Kind) -> Self {
        Keeper {
            kind,
            gallery: gallery.to_path_buf(),
            store: RwLock::new(None),
            awaited: Mutex::new(HashSet::new()),
        }
    }

    fn folder(&self) -> PathBuf {
        self.gallery.join(self.kind.folder)
    }

    fn unswept(&self) -> PathBuf {
        self.gallery.join(self.kind.unswept)
    }

    fn awaited(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> RwLockReadGuard<'_, Option<Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store, opened if it is not open.
    fn opened(&self) -> Result<RwLockWriteGuard<'_, Option<Store>>, GalleryError> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        if store.is_none() {
            let opened = Store::open(&self.folder(), self.kind)?;
            if opened.rescanned {
                match raise_flag(&self.unswept()) {
                    // A process that can write it will find and mark the same.
                    Err(GalleryError::Io { source, .. }) if forbids_writing(&source) => {}
                    raised => raised?,
                }
            }
            *store = Some(opened);
        }
        Ok(store)
    }

    pub(in crate::embedded) fn get(&self, hash: &str) -> Result<Option<Vec<u8>>, GalleryError> {
        let Some(hash) = thumbnail::content(hash) else {
            return Ok(None);
        };
        if self.open().is_none() {
            drop(self.opened()?);
        }
        let reading = GalleryError::io(self.kind.reading, &self.folder());
        let read = self.open().as_ref().map(|store| store.get(&hash));
        match read.transpose().map_err(reading)? {
            Some(Read::Whole(blob)) => Ok(Some(blob)),
            Some(Read::Damaged) => {
                if let Some(store) = &mut *self.opened()? {
                    store.forget(&hash);
                }
                Ok(None)
            }
            Some(Read::Absent) | None => Ok(None),
        }
    }

    /// Whether a content has a blob, as far as is known without reading it.
    pub(in crate::embedded) fn contains(&self, hash: &str) -> Result<bool, GalleryError> {
        let Some(hash) = thumbnail::content(hash) else {
            return Ok(false);
        };
        if self.open().is_none() {
            drop(self.opened()?);
        }
        let open = self.open();
        Ok(open.as_ref().is_some_and(|store| store.contains(&hash)))
    }

    /// As [`contains`](Keeper::contains), for whoever is about to store a point of the content: a
    /// blob that is there is awaited, as if it had just been put.
    pub(in crate::embedded) fn hold(&self, hash: &str) -> Result<bool, GalleryError> {
        let Some(hash) = thumbnail::content(hash) else {
            return Ok(false);
        };
        // No sweep comes in between, as it needs the store as well.
        let store = self.opened()?;
        let there = store.as_ref().is_some_and(|store| store.contains(&hash));
        if there {
            self.awaited().insert(key(&hash));
        }
        Ok(there)
    }

    /// Visits the lengths of all blobs.
    pub(in crate::embedded) fn each_length(
        &self,
        mut visit: impl FnMut(usize),
    ) -> Result<(), GalleryError> {
        for place in self.places()? {
            visit(place.length as usize);
        }
        Ok(())
    }

    /// Visits all blobs that are whole, file by file. Others count as missing from then on.
    pub(in crate::embedded) fn each(
        &self,
        mut visit: impl FnMut(&Hash, &[u8]),
    ) -> Result<(), GalleryError> {
        let reading = || GalleryError::io(self.kind.reading, &self.folder());
        let mut damaged = HashSet::new();
        for place in self.places()? {
            let open = self.open();
            let read = open.as_ref().map(|store| store.read(place));
            match read.transpose().map_err(reading())?.flatten() {
                Some((hash, blob)) => visit(&hash, &blob),
                None => {
                    damaged.insert(place);
                }
            }
        }
        if !damaged.is_empty()
            && let Some(store) = &mut *self.opened()?
        {
            store.forget_at(&damaged);
        }
        Ok(())
    }

    /// Where all blobs lie, file by file.
    fn places(&self) -> Result<Vec<Place>, GalleryError> {
        let mut store = self.opened()?;
        let mut places = store.as_mut().map_or_else(Vec::new, Store::places);
        places.sort_unstable_by_key(|place| (place.segment, place.offset));
        Ok(places)
    }

    /// Drops all of them.
    pub(in crate::embedded) fn clear(&self) -> Result<(), GalleryError> {
        self.awaited().clear();
        self.sweep(&Needed::new()).map(drop)
    }

    pub(in crate::embedded) fn put(&self, blobs: &[(&str, &[u8])]) -> Result<(), GalleryError> {
        let blobs: Vec<_> = blobs
            .iter()
            .map(|(hash, bytes)| Ok((thumbnail::checked(self.kind.one, hash, bytes)?, *bytes)))
            .collect::<Result<_, _>>()?;
        let mut store = self.opened()?;
        let Some(open) = &mut *store else {
            return Ok(());
        };
        let missing = open.missing(&blobs);
        let needed = missing.iter().map(|(_, bytes)| bytes.len() + HEAD);
        let needed = needed.sum::<usize>() as u64 + missing.len() as u64 * BESIDE;
        if !missing.is_empty() {
            check_room(&self.gallery, self.kind.storing, needed)?;
        }
        // Also those that are there: their points may have gone, and a sweep may be under way.
        self.awaited()
            .extend(blobs.iter().map(|(hash, _)| key(hash)));
        open.put(&missing).map_err(|e| self.full(e, needed))
    }

    /// Points of these contents are stored now.
    pub(in crate::embedded) fn stored<'a>(&self, hashes: impl Iterator<Item = &'a str>) {
        let mut awaited = self.awaited();
        if !awaited.is_empty() {
            hashes.filter_map(thumbnail::content).for_each(|hash| {
                awaited.remove(&key(&hash));
            });
        }
    }

    /// Points are about to go, and with them the need for their blobs.
    pub(in crate::embedded) fn points_go(&self) -> Result<(), GalleryError> {
        let (folder, unswept) = (self.folder(), self.unswept());
        if folder.exists() && !unswept.exists() {
            raise_flag(&unswept)?;
        }
        Ok(())
    }

    /// Whether [`Keeper::sweep`] has anything to do.
    pub(in crate::embedded) fn is_unswept(&self) -> bool {
        self.unswept().exists()
    }

    /// Drops what none of `needed`, the contents of all points, and none that was just put needs;
    /// says whether that was anything.
    pub(in crate::embedded) fn sweep(&self, needed: &Needed) -> Result<bool, GalleryError> {
        let mut store = self.opened()?;
        let Some(open) = &mut *store else {
            return Ok(false);
        };
        let awaited = self.awaited().clone();
        let mut some_await = false;
        let dropped = open.drop_all_but(|key| {
            if needed.0.binary_search(key).is_ok() {
                return true;
            }
            let awaited = awaited.contains(key);
            some_await |= awaited;
            awaited
        });
        let result = if dropped.worth.is_empty() {
            open.save()
        } else {
            check_room(&self.gallery, self.kind.copying, dropped.room).and_then(|()| {
                open.compact(&dropped.worth)
                    .map_err(|e| self.full(e, dropped.room))
            })
        };
        if result.is_err() {
            // To be opened anew, from what is on disk.
            *store = None;
        }
        result?;
        if !some_await {
            lower_flag(&self.unswept())?;
        }
        Ok(dropped.gone > 0 || !dropped.worth.is_empty())
    }

    /// Brings the index on disk up to date.
    pub(in crate::embedded) fn save(&self) -> Result<(), GalleryError> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        store.as_mut().map_or(Ok(()), Store::save)
    }

    /// Says of a full disk that it is full.
    fn full(&self, error: GalleryError, needed: u64) -> GalleryError {
        match error {
            GalleryError::Io { source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                ) =>
            {
                GalleryError::DiskFull {
                    doing: self.kind.storing,
                    path: self.gallery.clone(),
                    needed,
                    free: fs4::available_space(&self.gallery).unwrap_or(0),
                }
            }
            error => error,
        }
    }
}

/// The contents of all points: 16 bytes each.
pub(in crate::embedded) struct Needed(Vec<Key>);

impl Needed {
    pub(in crate::embedded) fn new() -> Self {
        Needed(Vec::new())
    }

    pub(in crate::embedded) fn add(&mut self, hash: &str) {
        self.0
            .extend(thumbnail::content(hash).map(|hash| key(&hash)));
    }

    /// To be called after the last was added.
    pub(in crate::embedded) fn sorted(mut self) -> Self {
        self.0.sort_unstable();
        self.0.dedup();
        self
    }
}
