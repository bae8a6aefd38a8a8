//! Computations over the whole gallery: one at a time, their results kept.
//!
//! A request that asks for one does not wait for it. It starts it, and is told how far it is (202)
//! until there is a result. Results outlive changes of the gallery for a while, so that under
//! constant change there is an answer too.

use lookalike::Progress;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::problem::Problem;
use crate::work::Background;

/// How long a result counts although the gallery has changed since: ten times as long as it took to
/// compute, within these bounds.
const STALE_FOR: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(60);
/// The most computations that wait or run of those that clients can ask for in ever new ways.
const MAX_OPEN: usize = 4;
/// The most of these for one client.
const MAX_OPEN_PER_CLIENT: usize = 2;
/// How many of these one client may start at once, and after what time one more.
const BURST: NonZeroU32 = NonZeroU32::new(6).unwrap();
const REFILL: Duration = Duration::from_secs(5);
/// The number of clients from which on those are forgotten that have started nothing for a while.
const MAX_CLIENTS_KEPT: usize = 1_000;
/// The most results that are kept, and their bytes.
const MAX_KEPT: usize = 16;
const MAX_KEPT_BYTES: usize = 64 << 20;

/// A result that knows how much memory it takes.
pub(crate) trait Weigh {
    /// Bytes, roughly.
    fn bytes(&self) -> usize {
        0
    }
}

impl Weigh for () {}

/// How far a computation is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// What it is at.
    pub doing: &'static str,
    pub done: usize,
    /// 0 while that is unknown.
    pub of: usize,
}

impl From<Progress> for Standing {
    fn from(progress: Progress) -> Self {
        Self {
            doing: progress.phase.as_str(),
            done: progress.done,
            of: progress.total.unwrap_or(0),
        }
    }
}

/// A computation as seen from outside.
pub(crate) enum Outcome<T> {
    Done(Arc<T>),
    Working(Standing),
}

enum State<T> {
    Working(Standing),
    Done(Arc<T>),
    Failed(Problem),
}

struct Entry<T> {
    state: State<T>,
    /// The gallery's generation when it began.
    generation: u64,
    changed: Instant,
    /// How long it took to compute.
    took: Duration,
    /// Whose it is, if how many it starts is limited.
    client: Option<IpAddr>,
}

/// Computations and their results, by what was asked.
pub(crate) struct Jobs<K, T> {
    entries: Mutex<HashMap<K, Entry<T>>>,
    /// One at a time: each takes all cores, and much memory.
    background: Arc<Background>,
    /// How many each client has started lately.
    started: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
}

impl<K, T> Jobs<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Weigh + Send + Sync + 'static,
{
    /// `background` is shared by all that must not run at the same time.
    pub fn new(background: Arc<Background>) -> Self {
        Self {
            entries: Mutex::new(HashMap::new()),
            background,
            started: RateLimiter::hashmap(
                Quota::with_period(REFILL)
                    .expect("it is longer than nothing")
                    .allow_burst(BURST),
            ),
        }
    }

    /// The result for `key`, or how far it is. Starts `compute` on a thread if there is neither; it
    /// is handed a way to say how far it is. What clients can ask for in ever new ways is counted
    /// for `client`; what there are few kinds of has none.
    ///
    /// # Errors
    ///
    /// When the computation failed (asked again, it begins anew); 429 when this client has started
    /// too many, 503 when all have.
    pub fn ask(
        self: &Arc<Self>,
        key: &K,
        generation: u64,
        client: Option<IpAddr>,
        compute: impl FnOnce(&dyn Fn(Standing)) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Outcome<T>, Problem> {
        let mut entries = self.lock();
        match look(&mut entries, key, generation) {
            Some(found) => found,
            None => self.start(&mut entries, key, generation, client, compute),
        }
    }

    /// As [`ask`](Self::ask), for what changes the gallery: a result is given once, so that asking
    /// after that changes it again. Results of `rivals`, which change the same, are forgotten when
    /// it starts: they are about to be undone.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn ask_once(
        self: &Arc<Self>,
        key: &K,
        generation: u64,
        client: Option<IpAddr>,
        rivals: impl Fn(&K) -> bool,
        compute: impl FnOnce(&dyn Fn(Standing)) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Outcome<T>, Problem> {
        let mut entries = self.lock();
        if let Some(found) = look(&mut entries, key, generation) {
            if matches!(found, Ok(Outcome::Done(_))) {
                entries.remove(key);
            }
            return found;
        }
        let started = self.start(&mut entries, key, generation, client, compute)?;
        entries.retain(|other, entry| !rivals(other) || matches!(entry.state, State::Working(_)));
        Ok(started)
    }

    /// Starts `compute` on a thread.
    fn start(
        self: &Arc<Self>,
        entries: &mut HashMap<K, Entry<T>>,
        key: &K,
        generation: u64,
        client: Option<IpAddr>,
        compute: impl FnOnce(&dyn Fn(Standing)) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Outcome<T>, Problem> {
        if let Some(client) = client {
            self.admit(client, entries)?;
        }
        make_room(entries);
        let standing = Standing {
            doing: "waiting",
            ..Standing::default()
        };
        let entry = Entry {
            state: State::Working(standing.clone()),
            generation,
            changed: Instant::now(),
            took: Duration::ZERO,
            client,
        };
        entries.insert(key.clone(), entry);
        let (jobs, own) = (self.clone(), key.clone());
        // Not one of the runtime's threads: the process may end while it computes.
        std::thread::spawn(move || jobs.compute(&own, compute));
        Ok(Outcome::Working(standing))
    }

    /// Refuses a client that starts too much.
    fn admit(&self, client: IpAddr, entries: &HashMap<K, Entry<T>>) -> Result<(), Problem> {
        let open = entries
            .values()
            .filter(|entry| entry.client.is_some() && matches!(entry.state, State::Working(_)));
        let own = open.clone().filter(|entry| entry.client == Some(client));
        if own.count() >= MAX_OPEN_PER_CLIENT {
            return Err(Problem::too_many(format!(
                "{MAX_OPEN_PER_CLIENT} computations over the whole gallery that you asked for are still running: try again when one is done"
            )));
        }
        if open.count() >= MAX_OPEN {
            return Err(Problem::busy(
                "too many computations over the whole gallery wait already: try again in a while",
            ));
        }
        if self.started.len() > MAX_CLIENTS_KEPT {
            self.started.retain_recent();
        }
        self.started.check_key(&client).map_err(|_| {
            Problem::too_many(format!(
                "you have started {BURST} computations over the whole gallery, and may start one more every {} seconds: wait, or ask for one that is there",
                REFILL.as_secs()
            ))
        })
    }

    fn compute(
        &self,
        key: &K,
        compute: impl FnOnce(&dyn Fn(Standing)) -> Result<T, Problem> + Send,
    ) {
        let report = |standing| self.set(key, State::Working(standing));
        let mut began = Instant::now();
        let work = || {
            began = Instant::now();
            compute(&report)
        };
        let work = std::panic::AssertUnwindSafe(|| self.background.run(work));
        let result = std::panic::catch_unwind(work)
            .unwrap_or_else(|_| Err(Problem::internal("a computation panicked")));
        // Perhaps nobody asks for it any more.
        if let Err(problem) = &result
            && let Some(cause) = problem.cause()
        {
            tracing::error!(cause, "a computation over the whole gallery failed");
        }
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key) {
            (entry.took, entry.changed) = (began.elapsed(), Instant::now());
            entry.state = match result {
                Ok(result) => State::Done(Arc::new(result)),
                Err(problem) => State::Failed(problem),
            };
        }
        forget_large(&mut entries, key);
    }

    fn set(&self, key: &K, state: State<T>) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.state = state;
            entry.changed = Instant::now();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Entry<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is there for `key`: how far it is, a result that still counts, or, once, why it failed.
fn look<K: Eq + Hash, T>(
    entries: &mut HashMap<K, Entry<T>>,
    key: &K,
    generation: u64,
) -> Option<Result<Outcome<T>, Problem>> {
    let entry = entries.get(key)?;
    let counts = (entry.took * 10).clamp(*STALE_FOR.start(), *STALE_FOR.end());
    let fresh = entry.generation == generation || entry.changed.elapsed() < counts;
    match &entry.state {
        State::Working(standing) => Some(Ok(Outcome::Working(standing.clone()))),
        State::Done(result) if fresh => Some(Ok(Outcome::Done(result.clone()))),
        State::Done(_) => None,
        State::Failed(problem) => {
            let problem = problem.clone();
            entries.remove(key);
            Some(Err(problem))
        }
    }
}

/// Forgets the oldest result if there are too many.
fn make_room<K: Clone + Eq + Hash, T>(entries: &mut HashMap<K, Entry<T>>) {
    if entries.len() >= MAX_KEPT
        && let Some(oldest) = oldest(entries, None)
    {
        entries.remove(&oldest);
    }
}

/// Forgets the oldest results, but not `newest`, until the rest fit in [`MAX_KEPT_BYTES`].
fn forget_large<K: Clone + Eq + Hash, T: Weigh>(entries: &mut HashMap<K, Entry<T>>, newest: &K) {
    let bytes = |entries: &HashMap<K, Entry<T>>| -> usize {
        let of = |entry: &Entry<T>| match &entry.state {
            State::Done(result) => result.bytes(),
            _ => 0,
        };
        entries.values().map(of).sum()
    };
    while bytes(entries) > MAX_KEPT_BYTES
        && let Some(oldest) = oldest(entries, Some(newest))
    {
        entries.remove(&oldest);
    }
}

/// What was done the longest ago.
fn oldest<K: Clone + Eq + Hash, T>(
    entries: &HashMap<K, Entry<T>>,
    except: Option<&K>,
) -> Option<K> {
    entries
        .iter()
        .filter(|(key, entry)| Some(*key) != except && !matches!(entry.state, State::Working(_)))
        .min_by_key(|(_, entry)| entry.changed)
        .map(|(key, _)| key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;

    type Test = Arc<Jobs<u32, u32>>;

    /// As heavy as it says.
    impl Weigh for u32 {
        fn bytes(&self) -> usize {
            *self as usize
        }
    }

    fn client(number: u8) -> Option<IpAddr> {
        Some([10, 0, 0, number].into())
    }

    fn finished(jobs: &Test, key: u32, generation: u64) -> Result<u32, Problem> {
        loop {
            let never = |_: &dyn Fn(Standing)| Err(Problem::internal("it was started twice"));
            match jobs.ask(&key, generation, None, never)? {
                Outcome::Done(result) => return Ok(*result),
                Outcome::Working(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    #[test]
    fn a_computation_runs_once_and_says_how_far_it_is() {
        let jobs: Test = Arc::new(Jobs::new(Arc::default()));
        let (step, wait) = channel::<()>();
        let (begun, started) = channel();
        let compute = move |report: &dyn Fn(Standing)| {
            report(Standing {
                doing: "counting",
                done: 1,
                of: 2,
            });
            begun.send(()).unwrap();
            wait.recv().unwrap();
            Ok(7)
        };
        assert!(matches!(
            jobs.ask(&1, 0, None, compute),
            Ok(Outcome::Working(_))
        ));
        started.recv().unwrap();
        let again = jobs.ask(&1, 0, None, |_| panic!("it runs already"));
        let Ok(Outcome::Working(standing)) = again else {
            panic!("it is not done")
        };
        assert_eq!(
            (standing.doing, standing.done, standing.of),
            ("counting", 1, 2)
        );
        step.send(()).unwrap();
        assert_eq!(finished(&jobs, 1, 0).unwrap(), 7);
        assert_eq!(finished(&jobs, 1, 1).unwrap(), 7, "it counts for a while");
    }

    #[test]
    fn what_failed_is_said_once_and_can_be_tried_again() {
        let jobs: Test = Arc::new(Jobs::new(Arc::default()));
        for fails in [true, false] {
            let compute = move |_: &dyn Fn(Standing)| match fails {
                true => panic!("on purpose"),
                false => Ok(1),
            };
            assert!(jobs.ask(&1, 0, None, compute).is_ok());
            assert_eq!(finished(&jobs, 1, 0).is_err(), fails);
        }
    }

    /// Asks for a change until it is done; says how often that started it.
    fn changed(jobs: &Test, key: u32) -> u32 {
        let starts = Arc::new(AtomicU32::new(0));
        loop {
            let starting = starts.clone();
            let compute = move |_: &dyn Fn(Standing)| Ok(starting.fetch_add(1, Ordering::SeqCst));
            match jobs.ask_once(&key, 0, None, |other| *other < 10, compute) {
                Ok(Outcome::Done(_)) => return starts.load(Ordering::SeqCst),
                Ok(Outcome::Working(_)) => std::thread::yield_now(),
                Err(problem) => panic!("{}", problem.detail()),
            }
        }
    }

    #[test]
    fn a_change_is_made_each_time_that_it_is_asked_for() {
        let jobs: Test = Arc::new(Jobs::new(Arc::default()));
        for key in [1, 2, 1, 1, 2] {
            assert_eq!(changed(&jobs, key), 1, "{key}");
        }
    }

    #[test]
    fn a_change_that_starts_voids_what_its_rivals_did() {
        let jobs: Test = Arc::new(Jobs::new(Arc::default()));
        // The results of 1 and 50 are there, and nobody has asked for them yet.
        for key in [1, 50] {
            jobs.ask(&key, 0, None, |_| Ok(0)).unwrap();
            finished(&jobs, key, 0).unwrap();
        }
        assert_eq!(changed(&jobs, 2), 1);
        assert_eq!(changed(&jobs, 1), 1, "2 has undone it");
        assert_eq!(finished(&jobs, 50, 0).unwrap(), 0, "it is no rival");
    }

    #[test]
    fn clients_start_few_and_block_nobody() {
        let background = Arc::new(Background::default());
        let jobs: Test = Arc::new(Jobs::new(background.clone()));
        let (began, has_begun) = channel();
        let (release, held) = channel::<()>();
        let holds = background.clone();
        let holding = std::thread::spawn(move || {
            holds.run(move || {
                began.send(()).unwrap();
                held.recv().unwrap();
            });
        });
        has_begun.recv().unwrap();
        let ask = |key, client| jobs.ask(&key, 0, client, |_| Ok(0)).map(|_| ());
        for key in [1, 2] {
            ask(key, client(1)).unwrap();
        }
        ask(1, client(1)).unwrap();
        assert_eq!(ask(3, client(1)).unwrap_err().status(), 429);
        ask(1, client(2)).unwrap();
        for key in [3, 4] {
            ask(key, client(2)).unwrap();
        }
        assert_eq!(ask(5, client(3)).unwrap_err().status(), 503);
        for key in 10..20 {
            ask(key, None).unwrap();
        }
        release.send(()).unwrap();
        holding.join().unwrap();
        for key in [1, 2, 3, 4, 10, 19] {
            assert_eq!(finished(&jobs, key, 0).unwrap(), 0);
        }
    }

    #[test]
    fn clients_start_so_many_at_a_time() {
        let jobs: Test = Arc::new(Jobs::new(Arc::default()));
        for key in 0..BURST.get() {
            jobs.ask(&key, 0, client(1), |_| Ok(0)).unwrap();
            finished(&jobs, key, 0).unwrap();
        }
        let more = jobs.ask(&99, 0, client(1), |_| Ok(0)).map(|_| ());
        assert_eq!(more.unwrap_err().status(), 429);
        jobs.ask(&99, 0, client(2), |_| Ok(0)).unwrap();
        // What is there can be asked for without end.
        jobs.ask(&0, 0, client(1), |_| Ok(0)).unwrap();
    }

    #[test]
    fn large_results_make_room_for_each_other() {
        let jobs: Test = Arc::new(Jobs::new(Arc::default()));
        let half = (MAX_KEPT_BYTES / 2) as u32;
        for (key, bytes) in [(1, half), (2, half), (3, 1)] {
            jobs.ask(&key, 0, None, move |_| Ok(bytes)).unwrap();
            assert_eq!(finished(&jobs, key, 0).unwrap(), bytes);
        }
        assert!(matches!(
            jobs.ask(&1, 0, None, |_| Ok(0)),
            Ok(Outcome::Working(_))
        ));
        for key in [2, 3] {
            assert!(matches!(
                jobs.ask(&key, 0, None, |_| Ok(0)),
                Ok(Outcome::Done(_))
            ));
        }
    }
}
