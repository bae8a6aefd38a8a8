//! Exact neighbours by comparing with every code, kept in memory in 8 bits a float.
//!
//! Up to some hundred thousand points that is quicker than walking the engine's graph, and right:
//! every neighbour is found, with any filter, and new points at once. What is kept is made of the
//! engine's points once a gallery has been asked a few times, follows every change, and is only
//! ever a way to find ids: answers are read from the engine.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use lookalike_neighbours::{Codes, Metric, Quantised};
use uuid::Uuid;

use super::EmbeddedGallery;
use super::shard::Shard;
use crate::answering::{Store, Wanted};
use crate::{Filter, GalleryError, Point};

/// Floats of all codes up to which they are kept, by default: 24 MB to be read for every search,
/// which takes about as long as the engine's graph does, and some 80 MB of memory.
const DEFAULT_LIMIT: usize = 24 << 20;
/// Searches that a gallery answers without: a program that asks once does not read all codes.
const MIN_SEARCHES: usize = 8;
/// Codes, and ids that pass a filter, read at a time.
const PAGE: usize = 10_000;
/// Candidates beyond those wanted whose payloads are read with them.
const MAX_SPARE: usize = 16;
/// More candidates than this many times those wanted, and [`MAX_EQUAL`], are left to the engine:
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

    /// The rows whose payloads pass, as the engine's index of payloads knows them.
    fn admitted(&self, shard: &Shard, filter: &Filter) -> Result<Arc<Admitted>, GalleryError> {
        let filters = || self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, admitted)) = filters().iter().find(|(known, _)| known == filter) {
            return Ok(Arc::clone(admitted));
        }
        let mut admitted = vec![0u64; self.ids.len().div_ceil(64)];
        let mut last = None;
        loop {
            let page = shard.scroll_ids(last, PAGE, Some(filter))?;
            last = page.last().copied();
            for row in page.iter().filter_map(|id| self.rows.get(id)) {
                admitted[row / 64] |= 1 << (row % 64);
            }
            if page.len() < PAGE {
                break;
            }
        }
        let admitted = Arc::new(admitted);
        let mut filters = filters();
        filters.push_front((filter.clone(), Arc::clone(&admitted)));
        filters.truncate(MAX_FILTERS);
        Ok(admitted)
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            kept: RwLock::default(),
            limit: AtomicUsize::new(DEFAULT_LIMIT),
            searches: AtomicUsize::new(0),
        }
    }
}

impl Screen {
    fn fits(&self, points: usize, dims: usize) -> bool {
        points.saturating_mul(dims) <= self.limit.load(Ordering::Relaxed)
    }

    fn kept(&self) -> RwLockReadGuard<'_, Option<Kept>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_mut(&self) -> RwLockWriteGuard<'_, Option<Kept>> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a change of the engine's points.
    pub(super) fn follow(&self, upserted: &[&Point], removed: &[Uuid]) {
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
        }
    }

    /// Forgets all codes, after a change of which nobody knows how far it went.
    pub(super) fn forget(&self) {
        *self.kept_mut() = None;
        self.searches.store(0, Ordering::Relaxed);
    }
}

impl EmbeddedGallery {
    /// Limits the memory for codes. Galleries of up to this many floats (points times floats of a
    /// code; 25 million by default) keep them in memory, in some three bytes each, once they have
    /// been asked a few times: answers are then exact, and faster than by the index. 0 keeps none.
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
        self.keep_codes_when_asked_often()?;
        let kept = self.screen.kept();
        let Some(kept) = &*kept else {
            return Ok(None);
        };
        self.read(|shard| {
            let admitted = match wanted.filter {
                Some(filter) => Some(kept.admitted(shard, filter)?),
                None => None,
            };
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
            // One that another thread has just removed: another may be in its place.
            Ok((points.len() == ids.len()).then_some(points))
        })
    }

    /// Begins to keep the codes if they are few enough, and the gallery has been asked a few times.
    fn keep_codes_when_asked_often(&self) -> Result<(), GalleryError> {
        let (metric, dims) = (self.metric(), self.dims());
        if metric == Metric::Manhattan || self.screen.kept().is_some() || !self.screen.fits(1, dims)
        {
            return Ok(());
        }
        if self.screen.searches.fetch_add(1, Ordering::Relaxed) < MIN_SEARCHES {
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
        let kept = self.read(|shard| {
            if !self.screen.fits(shard.size()?.points, dims) {
                return Ok(None);
            }
            keep(shard, metric, dims)
        })?;
        if kept.is_none() {
            // Looked at again after some more searches.
            self.screen.searches.store(0, Ordering::Relaxed);
        }
        *self.screen.kept_mut() = kept;
        Ok(())
    }
}

/// Reads all codes.
fn keep(shard: &Shard, metric: Metric, dims: usize) -> Result<Option<Kept>, GalleryError> {
    let mut kept: Option<Kept> = None;
    let mut last = None;
    loop {
        let page = shard.scroll_codes(last, PAGE)?;
        last = page.last().map(|(id, _)| *id);
        if kept.is_none() {
            // Ids are hashes, so the first of them are a sample of all.
            let sample: Vec<f32> = page.iter().flat_map(|(_, code)| code).copied().collect();
            let sample = Codes::new(&sample, dims);
            let sample = sample.map_err(|e| shard.strange(&e))?;
            let Some(codes) = Quantised::new(sample, metric) else {
                return Ok(None);
            };
            kept = Some(Kept {
                codes,
                ids: Vec::new(),
                rows: HashMap::new(),
                filters: Mutex::default(),
            });
        }
        if let Some(kept) = &mut kept {
            page.iter().for_each(|(id, code)| kept.upsert(*id, code));
        }
        if page.len() < PAGE {
            return Ok(kept.filter(|kept| kept.codes.is_apt()));
        }
    }
}
