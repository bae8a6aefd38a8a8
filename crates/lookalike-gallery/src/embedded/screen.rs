//! Exact neighbours by comparing with every code that bounds do not rule out: a few leading
//! coordinates of all are kept in memory in 8 bits, and the whole in 16 bits a float.
//!
//! Up to some hundred thousand points that is quicker than walking the engine's graph, and right:
//! every neighbour is found, with any filter, and new points at once. What is kept is made of the
//! engine's points once a gallery has been asked a few times, follows every change, and is only
//! ever a way to find ids: answers are read from the engine.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use lookalike_neighbours::{Codes, Metric, Quantised};
use uuid::Uuid;

use super::EmbeddedGallery;
use crate::answering::{Store, Wanted};
use crate::{Filter, GalleryError, Point};

/// Floats of all codes up to which they are kept, by default: some 130 MB of memory. With codes of
/// 176 floats that is 300,000 points, of which a search reads 2 to 5 MB, which takes no longer than
/// the engine's graph.
const DEFAULT_LIMIT: usize = 60 << 20;
/// What a point takes beside its code, in floats of a code: its id, twice, and its place.
const FLOATS_BESIDE: usize = 24;
/// Searches that a gallery answers without, and points for which there is one more: a program that
/// asks once does not read all codes.
const MIN_SEARCHES: usize = 8;
const POINTS_A_SEARCH: usize = 1_000;
/// Candidates beyond those wanted whose payloads are read with them.
const MAX_SPARE: usize = 16;
/// More candidates than `MAX_SURPLUS` times those wanted and `MAX_EQUAL` are left to the engine:
/// codes are then so much alike that comparing them all exactly is no more work.
const MAX_SURPLUS: usize = 4;
const MAX_EQUAL: usize = 1_000;
/// Filters whose points are remembered.
const MAX_FILTERS: usize = 16;

/// The codes of a gallery in memory, if they are kept.
#[derive(Debug)]
pub(super) struct Screen {
    kept: RwLock<Option<Kept>>,
    /// Floats of all codes up to which they are kept.
    limit: AtomicUsize,
    /// Searches since the codes were last kept, or since the gallery was opened.
    searches: AtomicUsize,
    /// As many searches are answered without.
    patience: AtomicUsize,
    /// Rises when a change of the engine's points begins and when the codes have followed it: odd
    /// in between.
    changes: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    codes: Quantised,
    /// Of each row.
    ids: Vec<Uuid>,
    rows: HashMap<Uuid, usize>,
    filters: Mutex<VecDeque<(Filter, Arc<Admitted>)>>,
}

/// A bit for every row.
type Admitted = Vec<u64>;

impl Kept {
    fn upsert(&mut self, id: Uuid, code: &[f32]) {
        match self.rows.get(&id) {
            Some(&row) => self.codes.set(row, code),
            None => {
                self.rows.insert(id, self.ids.len());
                self.ids.push(id);
                self.codes.push(code);
            }
        }
    }

    fn remove(&mut self, id: Uuid) {
        let Some(row) = self.rows.remove(&id) else {
            return;
        };
        self.codes.swap_remove(row);
        self.ids.swap_remove(row);
        if let Some(&moved) = self.ids.get(row) {
            self.rows.insert(moved, row);
        }
    }

    /// Puts near codes next to each other, so that searches pass over most of them.
    fn sort(&mut self) {
        let order = self.codes.sort();
        self.ids = order.into_iter().map(|row| self.ids[row]).collect();
        for (row, &id) in self.ids.iter().enumerate() {
            self.rows.insert(id, row);
        }
    }

    /// What was found for a filter, which is then the last to be forgotten.
    fn remembered(&self, filter: &Filter) -> Option<Arc<Admitted>> {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        let at = filters.iter().position(|(known, _)| known == filter)?;
        let found = filters.remove(at)?;
        let admitted = Arc::clone(&found.1);
        filters.push_front(found);
        Some(admitted)
    }

    fn remember(&self, filter: &Filter, admitted: &Arc<Admitted>) {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        filters.push_front((filter.clone(), Arc::clone(admitted)));
        filters.truncate(MAX_FILTERS);
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            kept: RwLock::default(),
            limit: AtomicUsize::new(DEFAULT_LIMIT),
            searches: AtomicUsize::new(0),
            patience: AtomicUsize::new(MIN_SEARCHES),
            changes: AtomicU64::new(0),
        }
    }
}

impl Screen {
    fn fits(&self, points: usize, dims: usize) -> bool {
        points.saturating_mul(dims.saturating_add(FLOATS_BESIDE))
            <= self.limit.load(Ordering::Relaxed)
    }

    fn kept(&self) -> RwLockReadGuard<'_, Option<Kept>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_mut(&self) -> RwLockWriteGuard<'_, Option<Kept>> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change of the engine's points begins: until [`follow`](Self::follow) or
    /// [`give_up`](Self::give_up), the engine may know more than the codes here.
    pub(super) fn begin_change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Follows a change of the engine's points that has ended.
    pub(super) fn follow(&self, upserted: &[&Point], removed: &[Uuid]) {
        self.take_over(upserted, removed);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Forgets all codes, as nobody knows how far a change went that has ended.
    pub(super) fn give_up(&self) {
        self.forget();
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn take_over(&self, upserted: &[&Point], removed: &[Uuid]) {
        let mut place = self.kept_mut();
        let Some(kept) = &mut *place else {
            return;
        };
        removed.iter().for_each(|&id| kept.remove(id));
        for point in upserted {
            kept.upsert(point.id, &point.code);
        }
        let mut filters = kept.filters.lock().unwrap_or_else(PoisonError::into_inner);
        filters.clear();
        drop(filters);
        if !self.fits(kept.ids.len(), kept.codes.dims()) || !kept.codes.is_apt() {
            *place = None;
            self.searches.store(0, Ordering::Relaxed);
        } else if kept.codes.is_scattered() {
            kept.sort();
        }
    }

    /// Forgets all codes.
    pub(super) fn forget(&self) {
        *self.kept_mut() = None;
        self.searches.store(0, Ordering::Relaxed);
    }
}

impl EmbeddedGallery {
    /// Limits the memory for codes. Galleries of up to this many floats (for each point those of
    /// its code and 24; 60 million by default) keep their codes in memory, in two bytes a float and
    /// some 45 a code, once they have been asked a few times: searches by the gallery's own metric,
    /// unless that is Manhattan, are then exact, and faster than by the index. 0 keeps none.
    pub fn set_screen_limit(&self, floats: usize) {
        self.screen.limit.store(floats, Ordering::Relaxed);
        let mut kept = self.screen.kept_mut();
        if let Some(found) = &*kept
            && !self.screen.fits(found.ids.len(), self.manifest.dims)
        {
            *kept = None;
        }
    }

    /// The `k` nearest, and those that are as far as the last of them, if the codes are kept and
    /// screening them pays.
    pub(super) fn screened(
        &self,
        wanted: &Wanted,
        k: usize,
    ) -> Result<Option<Vec<Point>>, GalleryError> {
        if self.screen.kept().is_none() {
            self.keep_codes_when_asked_enough()?;
        }
        let kept = self.screen.kept();
        let Some(kept) = &*kept else {
            return Ok(None);
        };
        let changes = || self.screen.changes.load(Ordering::SeqCst);
        let before = changes();
        if before % 2 == 1 {
            return Ok(None);
        }
        let admitted = match wanted.filter {
            Some(filter) => Some(self.admitted(kept, filter)?),
            None => None,
        };
        self.read(|shard| {
            let admitted = admitted.as_ref().map(|admitted| admitted.as_slice());
            let all = k.saturating_add(wanted.exclude.len());
            let candidates = kept.codes.candidates(wanted.code, all, admitted);
            if candidates.len() > all.saturating_mul(MAX_SURPLUS).saturating_add(MAX_EQUAL) {
                return Ok(None);
            }
            let ids = candidates.into_iter().map(|row| kept.ids[row]);
            let mut ids: Vec<Uuid> = ids.filter(|id| !wanted.exclude.contains(id)).collect();
            if ids.len() > k.saturating_add(MAX_SPARE) {
                // Payloads cost more than codes.
                let mut near: Vec<_> = shard
                    .codes_of(&ids)?
                    .into_iter()
                    .map(|(id, code)| (wanted.metric.distance(wanted.code, &code), id))
                    .collect();
                near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                near.truncate(k);
                ids = near.into_iter().map(|(_, id)| id).collect();
            }
            let points = shard.retrieve(&ids)?;
            // Where another thread has begun to change points, codes and payloads may be of two
            // times.
            Ok((changes() == before).then_some(points))
        })
    }

    /// Begins to keep the codes once there have been enough searches for so many points.
    fn keep_codes_when_asked_enough(&self) -> Result<(), GalleryError> {
        let screen = &self.screen;
        let searches = screen.searches.fetch_add(1, Ordering::Relaxed);
        // Points are counted only when the count that was last found enough is reached.
        if searches < screen.patience.load(Ordering::Relaxed) {
            return Ok(());
        }
        let points = self.read(|shard| Ok(shard.size()?.points))?;
        let patience = MIN_SEARCHES.max(points / POINTS_A_SEARCH);
        screen.patience.store(patience, Ordering::Relaxed);
        match searches < patience {
            true => Ok(()),
            false => self.keep_codes(),
        }
    }

    /// The rows whose payloads pass, as the engine's index of payloads knows them.
    fn admitted(&self, kept: &Kept, filter: &Filter) -> Result<Arc<Admitted>, GalleryError> {
        if let Some(admitted) = kept.remembered(filter) {
            return Ok(admitted);
        }
        let mut admitted = vec![0u64; kept.ids.len().div_ceil(64)];
        self.each_passing(filter, |id| {
            if let Some(row) = kept.rows.get(&id) {
                admitted[row / 64] |= 1 << (row % 64);
            }
        })?;
        let admitted = Arc::new(admitted);
        kept.remember(filter, &admitted);
        Ok(admitted)
    }

    /// Begins to keep the codes in memory, if they are few enough and suit that: what happens by
    /// itself when the gallery has been asked a few times. Takes about as long as reading them.
    ///
    /// # Errors
    /// Those of [reading](crate::Gallery#errors).
    pub fn keep_codes(&self) -> Result<(), GalleryError> {
        let (metric, dims) = (self.metric(), self.dims());
        if metric == Metric::Manhattan || self.screen.kept().is_some() || !self.screen.fits(1, dims)
        {
            return Ok(());
        }
        // Nothing changes meanwhile; while something does, there is another search to come.
        let _writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(writer)) => writer.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        if self.screen.kept().is_some() {
            return Ok(());
        }
        let points = self.read(|shard| Ok(shard.size()?.points))?;
        let kept = match self.screen.fits(points, dims) {
            true => self.read_codes()?,
            false => None,
        };
        // Looked at again after some more searches, if it does not fit now.
        self.screen.searches.store(0, Ordering::Relaxed);
        let mut place = self.screen.kept_mut();
        *place = kept.filter(|kept| self.screen.fits(kept.ids.len(), dims));
        Ok(())
    }

    /// Reads all codes, and before a sample of them.
    fn read_codes(&self) -> Result<Option<Kept>, GalleryError> {
        let sample: Vec<f32> = self
            .first_codes(Quantised::SAMPLE)?
            .into_iter()
            .flat_map(|(_, code)| code)
            .collect();
        let sample = Codes::new(&sample, self.dims()).ok();
        let Some(codes) = sample.and_then(|sample| Quantised::new(sample, self.metric())) else {
            return Ok(None);
        };
        let mut kept = Kept {
            codes,
            ids: Vec::new(),
            rows: HashMap::new(),
            filters: Mutex::default(),
        };
        self.each_code(|id, code| kept.upsert(id, code))?;
        if kept.codes.is_scattered() {
            kept.sort();
        }
        Ok(Some(kept))
    }
}
