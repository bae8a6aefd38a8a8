//! Bringing the index and the neighbour graph up to date after changes: when, and how.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lookalike::gallery::{DiffusionState, GalleryError};
use lookalike::neighbours::DiffusionConfig;

use crate::service::Service;

/// How long a gallery must be left alone before it is brought up to date.
const IDLE_DELAY: Duration = Duration::from_secs(10);
/// How long the index waits for that at the most while changes go on: what is not in it is compared
/// one by one.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// How long after a failure it is tried again; each further failure doubles it, up to
/// [`MAX_RETRY_DELAY`].
const RETRY_DELAY: Duration = Duration::from_secs(30);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(3_600);
/// The most points whose neighbour graph is built anew by the server: that takes seconds.
const MAX_DIFFUSION_POINTS: usize = 20_000;

/// What has changed since index and neighbour graph were brought up to date. Times are handed in.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// The first change that the index may lack.
    index: Option<Instant>,
    /// The first change that the neighbour graph may lack.
    diffusion: Option<Instant>,
    last: Option<Instant>,
    failures: u32,
    /// Not before this.
    retry: Option<Instant>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub index: bool,
    /// The neighbour graph: only when changes have paused, for each makes it stale again.
    pub diffusion: bool,
    began: Instant,
}

impl Upkeep {
    pub fn note_change(&mut self, now: Instant) {
        self.index.get_or_insert(now);
        self.diffusion.get_or_insert(now);
        self.last = Some(now);
    }

    /// What is to be done now; it stays due until it is [finished](Self::finished).
    pub fn due(&self, now: Instant) -> Option<Work> {
        if self.retry.is_some_and(|retry| now < retry) {
            return None;
        }
        let is_idle = now.saturating_duration_since(self.last?) >= IDLE_DELAY;
        let is_overdue = |first: Instant| now.saturating_duration_since(first) >= MAX_DELAY;
        let work = Work {
            index: self.index.is_some_and(|first| is_idle || is_overdue(first)),
            diffusion: self.diffusion.is_some() && is_idle,
            began: now,
        };
        (work.index || work.diffusion).then_some(work)
    }

    /// Notes that work ended. What changed meanwhile, or could not be done, is still to do.
    pub fn finished(&mut self, work: Work, succeeded: bool, now: Instant) {
        if !succeeded {
            let delay = RETRY_DELAY * 2_u32.saturating_pow(self.failures.min(16));
            self.failures += 1;
            self.retry = Some(now + delay.min(MAX_RETRY_DELAY));
            return;
        }
        (self.failures, self.retry) = (0, None);
        let changed = self.last.filter(|last| *last >= work.began);
        if work.index {
            self.index = changed;
        }
        if work.diffusion {
            self.diffusion = changed;
        }
    }
}

impl Service {
    /// Notes that the gallery was changed.
    pub fn note_change(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.upkeep().note_change(Instant::now());
    }

    /// Brings index and diffusion up to date if that is due; to be called now and then. It blocks.
    pub fn maintain(&self) {
        let Some(work) = self.upkeep().due(Instant::now()) else {
            return;
        };
        let done = self.background.run(|| self.bring_up_to_date(work));
        if let Err(error) = &done {
            tracing::error!(%error, "the index could not be brought up to date; it is tried again later");
        }
        self.upkeep().finished(work, done.is_ok(), Instant::now());
    }

    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bring_up_to_date(&self, work: Work) -> Result<(), GalleryError> {
        let gallery = self.gallery();
        let began = Instant::now();
        if work.index {
            gallery.optimise()?;
        }
        let info = gallery.describe()?;
        let stale = info.diffusion == DiffusionState::Stale;
        let few = (2..=MAX_DIFFUSION_POINTS).contains(&info.points);
        let folder = gallery
            .as_embedded()
            .filter(|_| work.diffusion && stale && few);
        if let Some(folder) = folder {
            folder.build_diffusion(&DiffusionConfig::default())?;
        }
        let diffused = folder.is_some();
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(seconds, diffused, "the index was brought up to date");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What is due, as (index, diffusion).
    fn due(upkeep: &Upkeep, now: Instant) -> Option<(bool, bool)> {
        upkeep.due(now).map(|work| (work.index, work.diffusion))
    }

    #[test]
    fn an_idle_gallery_is_brought_up_to_date_once() {
        let (mut upkeep, start) = (Upkeep::default(), Instant::now());
        assert_eq!(upkeep.due(start), None);
        upkeep.note_change(start);
        assert_eq!(upkeep.due(start + 9 * SECOND), None);
        let work = upkeep.due(start + 10 * SECOND).unwrap();
        assert!(work.index && work.diffusion);
        upkeep.finished(work, true, start + 11 * SECOND);
        assert_eq!(upkeep.due(start + 1_000 * SECOND), None);
    }

    #[test]
    fn what_was_left_out_while_changes_went_on_is_done_when_they_stop() {
        let (mut upkeep, start) = (Upkeep::default(), Instant::now());
        for second in 0..=60 {
            upkeep.note_change(start + second * SECOND);
        }
        let work = upkeep.due(start + 60 * SECOND).unwrap();
        assert!(work.index && !work.diffusion, "{work:?}");
        upkeep.finished(work, true, start + 60 * SECOND);
        // The last change came as the work began: it may not be in the index either.
        assert_eq!(due(&upkeep, start + 69 * SECOND), None);
        let work = upkeep.due(start + 70 * SECOND).unwrap();
        assert!(work.index && work.diffusion, "{work:?}");
        upkeep.finished(work, true, start + 70 * SECOND);
        assert_eq!(upkeep.due(start + 1_000 * SECOND), None);
    }

    #[test]
    fn a_graph_that_the_index_left_behind_is_still_built() {
        let (mut upkeep, start) = (Upkeep::default(), Instant::now());
        upkeep.note_change(start);
        upkeep.note_change(start + 59 * SECOND);
        let work = upkeep.due(start + 60 * SECOND).unwrap();
        upkeep.finished(work, true, start + 61 * SECOND);
        assert_eq!(due(&upkeep, start + 69 * SECOND), Some((false, true)));
    }

    #[test]
    fn what_failed_is_tried_again() {
        let (mut upkeep, start) = (Upkeep::default(), Instant::now());
        upkeep.note_change(start);
        let mut now = start + 10 * SECOND;
        for delay in [30, 60, 120] {
            let work = upkeep.due(now).unwrap();
            upkeep.finished(work, false, now);
            assert_eq!(upkeep.due(now + (delay - 1) * SECOND), None);
            now += delay * SECOND;
        }
        let work = upkeep.due(now).unwrap();
        assert!(work.index && work.diffusion);
        upkeep.finished(work, true, now);
        assert_eq!(upkeep.due(now + 1_000 * SECOND), None);
        upkeep.note_change(now);
        assert!(
            upkeep.due(now + 10 * SECOND).is_some(),
            "without a delay again"
        );
    }
}
