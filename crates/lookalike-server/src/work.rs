//! A bounded place to compute in, so that a flood of requests waits or is turned away, and memory is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::problem::Problem;

/// Runs blocking work on other threads than those that serve connections: so much at a time, so much waiting.
pub(crate) struct Workers {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
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
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most_waiting {
                    drop(Waiting(&self.waiting));
                    return Err(Problem::busy(
                        "too many requests wait already: try again in a moment",
                    ));
                }
                let _waiting = Waiting(&self.waiting);
                let permit = self.permits.clone().acquire_owned().await;
                permit.expect("the semaphore is never closed")
            }
        };
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        result.await.map_err(Problem::internal)
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
        let failed = workers.run(|| panic!("on purpose")).await;
        assert_eq!(failed.unwrap_err().status(), 500);
        assert_eq!(workers.run(|| 1).await.unwrap(), 1);
    }
}
