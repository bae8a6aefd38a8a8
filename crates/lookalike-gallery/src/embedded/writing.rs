//! Changes: what is on disk before one begins and when it has ended, the log, and the index.

use std::collections::HashMap;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::folder::{self, DIFFUSION_STALE, SHARD, UNCLEAN};
use super::room::check_room;
use super::shard::{self, Shard};
use super::{EmbeddedGallery, blobs, open_shard, optimise};
use crate::{DiffusionState, GalleryError, Point, Upserted};

/// Points that are compared with what is stored at a time.
const PAGE: usize = 1_000;
/// Hashes that are read at a time.
const HASHES: usize = 10_000;
/// Bytes that a point may need beside its code's: payload, ids, log.
const BYTES_PER_POINT: u64 = 2_048;
/// Bytes per float of a code: stored twice, logged twice in five bytes each, and rounded up.
const BYTES_PER_FLOAT: u64 = 32;
/// When about this much has gone into the engine's log, the shard is closed and opened again so
/// that the log can be shortened.
pub(super) const LOG_LIMIT: u64 = 256 << 20;
/// Bytes of an id in the log, and what deleting it costs elsewhere.
const ID_BYTES: u64 = 256;

#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Whether the folder says that changes have begun.
    pub(super) unclean: bool,
    /// About how much this process has written to the engine's log.
    pub(super) logged: u64,
}

impl EmbeddedGallery {
    /// Refuses a change where nothing can be written.
    pub(super) fn check_writable(&self, doing: &'static str) -> Result<(), GalleryError> {
        match self.read_only {
            Some(_) => Err(GalleryError::ReadOnly {
                doing,
                path: self.path.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Runs a change on the shard. Before it can be seen, the folder says that changes have begun
    /// and, if `codes` change, that the neighbour graph is stale; when this returns, it is on disk,
    /// and what is kept in memory has yet to [follow](super::screen::Screen::follow) it.
    fn change(
        &self,
        writer: &mut Writer,
        bytes: u64,
        codes: bool,
        action: impl FnOnce(&Shard) -> Result<(), GalleryError>,
    ) -> Result<(), GalleryError> {
        check_room(&self.path, "storing points", bytes)?;
        if !writer.unclean {
            folder::raise_flag(&self.path.join(UNCLEAN))?;
            writer.unclean = true;
        }
        if codes && self.diffusion_flags() == DiffusionState::Fresh {
            folder::raise_flag(&self.path.join(DIFFUSION_STALE))?;
        }
        self.screen.begin_change();
        let done = self.read(|shard| {
            action(shard)?;
            shard.flush()
        });
        self.generation.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = done {
            self.screen.give_up();
            if matches!(error, GalleryError::Engine { .. }) {
                *self.shard_mut() = None;
                // It stays closed, also if the log is long.
                writer.logged = 0;
            }
            return Err(error);
        }
        writer.logged += bytes;
        Ok(())
    }

    /// The right to change the gallery. If earlier changes have filled the log, it is shortened
    /// first: now and not after them, so that a failure is not taken for theirs. The next change
    /// tries again.
    pub(super) fn begin_change(&self) -> Result<MutexGuard<'_, Writer>, GalleryError> {
        self.check_writable("storing or removing points")?;
        let mut writer = self.writer();
        if writer.logged > LOG_LIMIT {
            let mut shard = self.shard_mut();
            *shard = None;
            *shard = Some(open_shard(&self.path, &self.manifest)?);
            writer.logged = 0;
        }
        Ok(writer)
    }

    /// Stores points whose codes are known to fit.
    pub(super) fn store(&self, points: &[Point]) -> Result<Upserted, GalleryError> {
        let last: HashMap<Uuid, &Point> = points.iter().map(|point| (point.id, point)).collect();
        let mut ids: Vec<Uuid> = last.keys().copied().collect();
        ids.sort();
        let mut writer = self.begin_change()?;
        let mut result = Upserted::default();
        let mut wanted: Vec<&Point> = Vec::new();
        let mut changed: Vec<Uuid> = Vec::new();
        let mut codes_change = false;
        for ids in ids.chunks(PAGE) {
            let stored = self.read(|shard| shard.retrieve(ids))?;
            let stored: HashMap<Uuid, Point> = stored.into_iter().map(|f| (f.id, f)).collect();
            for id in ids {
                match stored.get(id) {
                    Some(found) if found.is(last[id]) => result.unchanged += 1,
                    Some(found) => {
                        result.changed += 1;
                        codes_change |= !found.has_code_of(last[id]);
                        wanted.push(last[id]);
                        changed.push(*id);
                    }
                    None => {
                        result.added += 1;
                        codes_change = true;
                        wanted.push(last[id]);
                    }
                }
            }
        }
        if wanted.is_empty() {
            return Ok(result);
        }
        if !changed.is_empty() {
            self.blobs_may_go()?;
        }
        let per_point = BYTES_PER_POINT + self.manifest.dims as u64 * BYTES_PER_FLOAT;
        let bytes = wanted.len() as u64 * per_point;
        self.change(&mut writer, bytes, codes_change, |shard| {
            shard.upsert(&wanted)
        })?;
        self.screen.follow(&wanted, &[]);
        for ids in changed.chunks(PAGE) {
            let stored = self.read(|shard| shard.retrieve(ids))?;
            if stored.len() != ids.len() || !stored.iter().all(|found| found.is(last[&found.id])) {
                return Err(self.change_was_ignored());
            }
        }
        Ok(result)
    }

    /// Removes those of these points that are there; says how many.
    pub(super) fn remove(&self, ids: &[Uuid]) -> Result<usize, GalleryError> {
        let mut writer = self.begin_change()?;
        let mut stored = self.read(|shard| shard.present(ids))?;
        stored.sort();
        stored.dedup();
        if stored.is_empty() {
            return Ok(0);
        }
        self.blobs_may_go()?;
        let bytes = stored.len() as u64 * ID_BYTES;
        self.change(&mut writer, bytes, true, |shard| shard.delete(&stored))?;
        self.screen.follow(&[], &stored);
        if !self.read(|shard| shard.present(&stored))?.is_empty() {
            return Err(self.change_was_ignored());
        }
        Ok(stored.len())
    }

    /// Brings the engine's indexes up to date.
    pub(super) fn build_index(&self, writer: &mut Writer) -> Result<bool, GalleryError> {
        let (size, coverage, count, lacking) = self.read(|shard| {
            shard.flush()?;
            let (size, coverage) = (shard.size()?, shard.coverage()?);
            Ok((size, coverage, shard.count(None)?, shard.lacks_fields()))
        })?;
        if !lacking && !shard::worth_optimising(&size, &coverage, count) {
            return Ok(false);
        }
        // Once for the copy, once for what the engine builds beside it.
        let room = 2 * optimise::disk_usage(&self.path.join(SHARD));
        check_room(&self.path, "building the index", room)?;
        optimise::copy(&self.path)?;
        let built = (|| {
            let next = optimise::next(&self.path);
            let next = Shard::open(&next, self.manifest.metric, self.manifest.dims)?;
            if lacking {
                next.index_fields()?;
            }
            let built = next.optimise()?;
            next.flush()?;
            Ok((built || lacking) && next.count(None)? == count)
        })();
        if !matches!(built, Ok(true)) {
            // What stays behind is removed with the next copy or opening.
            let _ = optimise::discard(&self.path);
            return built;
        }
        // All that can be done while searches go on: only the exchange itself keeps them waiting.
        optimise::sync(&self.path)?;
        self.read(Shard::flush)?;
        {
            let mut shard = self.shard_mut();
            *shard = None;
            let exchanged = optimise::exchange(&self.path);
            // Whichever of the two is in place now.
            let opened = open_shard(&self.path, &self.manifest);
            let opened = opened.map(|opened| *shard = Some(opened));
            exchanged.and(opened)?;
        }
        optimise::remove_previous(&self.path);
        writer.logged = 0;
        Ok(true)
    }

    /// Points are about to go, and with them the need for thumbnails and tiles.
    fn blobs_may_go(&self) -> Result<(), GalleryError> {
        self.thumbnails.points_go()?;
        self.tiles.keeper.points_go()
    }

    /// Drops thumbnails and tiles that no point needs; says whether there were any. Nobody may
    /// change the points meanwhile.
    pub(super) fn sweep_blobs(&self) -> Result<bool, GalleryError> {
        let thumbnails = self.thumbnails.is_unswept();
        let tiles = self.tiles.keeper.is_unswept();
        if !thumbnails && !tiles {
            return Ok(false);
        }
        let mut needed = blobs::Needed::new();
        let mut last = None;
        loop {
            let page = self.read(|shard| shard.scroll_hashes(last, HASHES, None))?;
            page.iter().for_each(|(_, hash)| needed.add(hash));
            last = page.last().map(|(id, _)| *id);
            if page.len() < HASHES {
                let needed = needed.sorted();
                let mut any = thumbnails && self.thumbnails.sweep(&needed)?;
                if tiles && self.tiles.keeper.sweep(&needed)? {
                    self.tiles.forget();
                    any = true;
                }
                return Ok(any);
            }
        }
    }

    /// The engine numbers its changes, and passes over those that look older than what is stored.
    /// That cannot happen unless its log was tampered with; then it must not pass unseen.
    fn change_was_ignored(&self) -> GalleryError {
        self.screen.forget();
        GalleryError::Damaged {
            path: self.path.clone(),
            detail: "its log does not fit its points, so changes have no effect".into(),
        }
    }
}
