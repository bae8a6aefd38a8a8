//! A bounded place to compute in, so that a flood of requests waits or is turned away, and memory is bounded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Runs blocking work on other threads than those that serve connections: so much at a time, so much waiting.
pub(crate) struct Workers {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Workers {
    /// As [`run`](Self::run), but on the spot. For what takes well below a millisecond: to hand that over to another
    /// thread and back takes about as long as the work.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_short<T>(&self, work: impl FnOnce() -> T) -> Result<T, Problem> {
        let _permit = self.turn().await?;
        std::panic::catch_unwind(AssertUnwindSafe(work))
            .map_err(|_| Problem::internal("a computation panicked"))
    }

    /// Waits until it is one's turn.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most_waiting {
            drop(Waiting(&self.waiting));
            return Err(Problem::busy(
                "too many requests wait already: try again in a moment",
            ));
        }
        let _waiting = Waiting(&self.waiting);
        let permit = self.permits.clone().acquire_owned().await;
        Ok(permit.expect("the semaphore is never closed"))
    }
}

/// One that waits; no more when it is dropped, whether its turn came or its client left.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    pub fn new(at_once: usize, most_waiting: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(at_once.max(1))),
            waiting: AtomicUsize::new(0),
            most_waiting,
        }
    }

    /// Requests that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs `work` when it is its turn. Work that has begun goes on to its end, even if nobody waits for it any more,
    /// and holds its place until then.
    ///
    /// # Errors
    ///
    /// 503 when too many wait already, 500 when it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.turn().await?;
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        result.await.map_err(Problem::internal)
    }
}

/// Room for the bodies of requests, so that many large ones at a time cannot fill the memory.
pub(crate) struct Room {
    units: Arc<Semaphore>,
    all: usize,
}

/// What room is given out in, and the size of a body that takes none.
const UNIT: usize = 64 << 10;

impl Room {
    pub fn new(bytes: usize) -> Self {
        let all = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            units: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// Takes room for a body of so many bytes, until what is given is dropped.
    ///
    /// # Errors
    ///
    /// 503 when there is none.
    pub fn take(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if bytes <= UNIT {
            return Ok(None);
        }
        // One that is alone always has room.
        let units = bytes.div_ceil(UNIT).min(self.all) as u32;
        let taken = self.units.clone().try_acquire_many_owned(units);
        taken.map(Some).map_err(|_| {
            Problem::busy("too many large requests are being worked on: try again in a moment")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_too_much_is_turned_away_and_room_comes_back() {
        let workers = Arc::new(Workers::new(1, 1));
        let (release, held) = channel::<()>();
        let first = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(move || held.recv().is_ok()).await }
        });
        while workers.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(|| 2).await }
        });
        while workers.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let third = workers.run(|| 3).await.unwrap_err();
        assert_eq!(third.status(), axum::http::StatusCode::SERVICE_UNAVAILABLE);
        release.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert_eq!(second.await.unwrap().unwrap(), 2);
        assert_eq!(workers.waiting(), 0);
        assert_eq!(workers.run(|| 4).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn one_who_leaves_waits_no_longer() {
        let workers = Arc::new(Workers::new(1, 8));
        let held = workers.permits.clone().acquire_owned().await.unwrap();
        {
            let run = workers.run(|| ());
            let timeout = tokio::time::timeout(std::time::Duration::from_millis(5), run);
            assert!(timeout.await.is_err());
        }
        assert_eq!(workers.waiting(), 0);
        drop(held);
        workers.run(|| ()).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_costs_no_place() {
        let workers = Workers::new(1, 0);
        let failed: [Result<(), _>; 2] = [
            workers.run(|| panic!("on purpose")).await,
            workers.run_short(|| panic!("on purpose")).await,
        ];
        for failed in failed {
            assert_eq!(failed.unwrap_err().status(), 500);
        }
        assert_eq!(workers.run(|| 1).await.unwrap(), 1);
    }

    #[test]
    fn large_bodies_take_room_and_small_ones_none() {
        let room = Room::new(10 * UNIT);
        assert!(room.take(UNIT).unwrap().is_none());
        let first = room.take(6 * UNIT).unwrap();
        assert_eq!(room.take(5 * UNIT).unwrap_err().status(), 503);
        let second = room.take(4 * UNIT - 5).unwrap();
        drop(first);
        assert!(room.take(6 * UNIT).unwrap().is_some());
        drop(second);
        assert!(
            room.take(1_000 * UNIT).unwrap().is_some(),
            "alone, whatever it is"
        );
    }
}
