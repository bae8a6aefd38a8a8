//! A bounded place to compute in, so that a flood of requests waits or is turned away, and memory
//! is bounded.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::ThreadPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Runs blocking work on other threads than those that serve connections: so much at a time, so
/// much waiting.
pub(crate) struct Workers {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Workers {
    /// As [`run`](Self::run), but on the spot. For what takes well below a millisecond: to hand
    /// that over to another thread and back takes about as long as the work.
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
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
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

/// Counts one waiting request; dropping it removes it from the count.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    pub fn new(at_once: usize, max_waiting: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(at_once.max(1))),
            waiting: AtomicUsize::new(0),
            max_waiting,
        }
    }

    /// Requests that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs `work` when it is its turn. When the future is dropped, because the client has left or
    /// its time is over, work that has not begun never does, and [`stop_if_abandoned`] fails in
    /// work that has. It holds its place until it returns.
    ///
    /// # Errors
    ///
    /// 503 when too many wait already, 500 when it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.turn().await?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon = AbandonOnDrop(abandoned.clone());
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            if abandoned.load(Ordering::Relaxed) {
                return None;
            }
            let _current = Current::set(abandoned);
            Some(work())
        });
        let result = result.await.map_err(Problem::internal)?;
        result.ok_or_else(abandoned_work)
    }
}

/// Marks work as abandoned when dropped.
struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    /// Whether the work that runs on this thread is abandoned.
    static ABANDONED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Sets what [`stop_if_abandoned`] looks at, until it is dropped, also by a panic.
struct Current;

impl Current {
    fn set(abandoned: Arc<AtomicBool>) -> Self {
        ABANDONED.with(|current| *current.borrow_mut() = Some(abandoned));
        Self
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        ABANDONED.with(|current| *current.borrow_mut() = None);
    }
}

/// Ends work on this thread whose client has left; to be called between its steps.
///
/// # Errors
///
/// When the client is gone.
pub(crate) fn stop_if_abandoned() -> Result<(), Problem> {
    let abandoned = ABANDONED.with(|current| {
        let current = current.borrow();
        current
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    });
    match abandoned {
        true => Err(abandoned_work()),
        false => Ok(()),
    }
}

/// Nobody reads this: the client has left.
fn abandoned_work() -> Problem {
    Problem::busy("the client left before the answer was there")
}

/// Where what takes long is computed beside requests, in a pool of threads of its own: a search
/// that compares with every image runs on rayon's global pool, and would wait there for seconds
/// behind the neighbour graph, as would the code of its picture behind a batch that is encoded.
pub(crate) struct Background {
    turn: Mutex<()>,
    pool: ThreadPool,
}

impl Default for Background {
    /// With as many threads as compute elsewhere: the system shares the cores out.
    fn default() -> Self {
        Self {
            turn: Mutex::default(),
            pool: lookalike::kernels::pool(lookalike::kernels::set_threads(None)),
        }
    }
}

impl Background {
    /// Waits for a turn: while it is held, no other work begins.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the pool once what came before is done, and waits for it.
    ///
    /// One at a time: a thread of the pool that waits for others takes up whatever else the pool
    /// was given. Such work would wait for the gallery's lock for ever where its own thread holds
    /// that already, further up its stack.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let _turn = self.turn();
        self.pool.install(work)
    }
}

/// Room for what many requests at a time hold in memory: bodies that arrive, or answers that are
/// sent.
pub(crate) struct Room {
    units: Arc<Semaphore>,
    all: usize,
}

/// What room is given out in; whoever holds no more needs none.
const UNIT: usize = 64 << 10;

/// The room that one request has taken. It is given back when this is dropped.
#[derive(Default)]
pub(crate) struct Held {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

/// All room for large requests is taken.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("too many large requests are being worked on: try again in a moment")]
pub(crate) struct NoRoom;

impl From<NoRoom> for Problem {
    fn from(full: NoRoom) -> Self {
        Self::busy(full.to_string())
    }
}

impl Room {
    pub fn new(bytes: usize) -> Self {
        let all = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            units: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// Takes room for `more` bytes beside those that are held.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn grow(&self, held: &mut Held, more: usize) -> Result<(), NoRoom> {
        let bytes = held.bytes.saturating_add(more);
        let wanted = match bytes <= UNIT {
            true => 0,
            // One that is alone always has room.
            false => bytes.div_ceil(UNIT).min(self.all),
        };
        let had = held
            .permit
            .as_ref()
            .map_or(0, |permit| permit.num_permits());
        if wanted > had {
            let taken = self.units.clone();
            let taken = taken.try_acquire_many_owned((wanted - had) as u32);
            let taken = taken.map_err(|_| NoRoom)?;
            match &mut held.permit {
                Some(permit) => permit.merge(taken),
                none => *none = Some(taken),
            }
        }
        held.bytes = bytes;
        Ok(())
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

    #[tokio::test]
    async fn work_is_told_that_its_client_left() {
        let workers = Arc::new(Workers::new(1, 8));
        let (begun, started) = channel();
        let (ended, end) = channel();
        let run = tokio::spawn({
            let workers = workers.clone();
            async move {
                workers
                    .run(move || {
                        begun.send(()).unwrap();
                        while stop_if_abandoned().is_ok() {
                            std::thread::yield_now();
                        }
                        ended.send(()).unwrap();
                    })
                    .await
            }
        });
        tokio::task::spawn_blocking(move || started.recv().unwrap())
            .await
            .unwrap();
        assert!(stop_if_abandoned().is_ok(), "other threads go on");
        run.abort();
        tokio::task::spawn_blocking(move || end.recv().unwrap())
            .await
            .unwrap();
        workers
            .run(|| assert!(stop_if_abandoned().is_ok(), "the next work is another's"))
            .await
            .unwrap();
    }

    #[test]
    fn what_computes_in_the_background_leaves_the_global_pool_alone() {
        let background = Background::default();
        let threads = rayon::current_num_threads();
        let (begin, started) = channel::<()>();
        let (end, ended) = channel::<()>();
        let ended = Mutex::new(ended);
        std::thread::scope(|scope| {
            // As many as there are threads in either pool, none of which returns before the end.
            scope.spawn(|| {
                background.run(|| {
                    rayon::broadcast(|_| {
                        begin.send(()).unwrap();
                        let _ = ended.lock().unwrap().recv();
                    });
                });
            });
            started.recv().unwrap();
            let sum: usize = rayon::broadcast(|context| context.index()).iter().sum();
            assert_eq!(sum, threads * (threads - 1) / 2);
            drop(end);
        });
    }

    #[test]
    fn what_is_held_takes_room_as_it_grows() {
        let room = Room::new(10 * UNIT);
        let (mut first, mut second) = (Held::default(), Held::default());
        room.grow(&mut first, UNIT).unwrap();
        assert_eq!(room.units.available_permits(), 10, "a small one takes none");
        room.grow(&mut first, 5 * UNIT).unwrap();
        room.grow(&mut second, 4 * UNIT - 5).unwrap();
        assert!(room.grow(&mut second, UNIT).is_err());
        room.grow(&mut second, 5).unwrap();
        drop(first);
        room.grow(&mut second, UNIT).unwrap();
        room.grow(&mut second, 1_000 * UNIT).unwrap();
        drop(second);
        assert_eq!(room.units.available_permits(), 10);
    }
}
