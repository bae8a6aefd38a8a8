//! Computations over the whole gallery: one at a time, their results kept.
//!
//! A request that asks for one does not wait for it. It starts it, and is told how far it is (202) until there is a
//! result. Results outlive changes of the gallery for a while, so that under constant change there is an answer too.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::problem::Problem;

/// How long a result counts although the gallery has changed since.
const STALE: Duration = Duration::from_secs(60);
/// The most computations that wait or run.
const MOST_OPEN: usize = 8;
/// The most results that are kept.
const MOST_KEPT: usize = 16;

/// How far a computation is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// What it is at.
    pub doing: &'static str,
    pub done: usize,
    /// 0 while that is unknown.
    pub of: usize,
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
}

/// Computations and their results, by what was asked.
pub(crate) struct Jobs<K, T> {
    entries: Mutex<HashMap<K, Entry<T>>>,
    /// One at a time: each takes all cores, and much memory.
    turn: Arc<Mutex<()>>,
}

impl<K, T> Jobs<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// `turn` is shared by all that must not run at the same time.
    pub fn new(turn: Arc<Mutex<()>>) -> Self {
        Self {
            entries: Mutex::new(HashMap::new()),
            turn,
        }
    }

    /// The result for `key`, or how far it is. Starts `compute` on a thread if there is neither; it is handed a way to
    /// say how far it is.
    ///
    /// # Errors
    ///
    /// When the computation failed (asked again, it begins anew), or too many wait already.
    pub fn ask(
        self: &Arc<Self>,
        key: &K,
        generation: u64,
        compute: impl FnOnce(&dyn Fn(Standing)) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Outcome<T>, Problem> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get(key) {
            let fresh = entry.generation == generation || entry.changed.elapsed() < STALE;
            match &entry.state {
                State::Working(standing) => return Ok(Outcome::Working(standing.clone())),
                State::Done(result) if fresh => return Ok(Outcome::Done(result.clone())),
                State::Done(_) => {}
                State::Failed(problem) => {
                    let problem = problem.clone();
                    entries.remove(key);
                    return Err(problem);
                }
            }
        }
        let open = entries
            .values()
            .filter(|entry| matches!(entry.state, State::Working(_)));
        if open.count() >= MOST_OPEN {
            return Err(Problem::busy(
                "too many computations over the whole gallery wait already: try again in a while",
            ));
        }
        make_room(&mut entries);
        let standing = Standing {
            doing: "waiting",
            ..Standing::default()
        };
        let entry = Entry {
            state: State::Working(standing.clone()),
            generation,
            changed: Instant::now(),
        };
        entries.insert(key.clone(), entry);
        drop(entries);
        let (jobs, own) = (self.clone(), key.clone());
        // Not one of the runtime's threads: the process may end while it computes.
        std::thread::spawn(move || jobs.compute(&own, compute));
        Ok(Outcome::Working(standing))
    }

    fn compute(&self, key: &K, compute: impl FnOnce(&dyn Fn(Standing)) -> Result<T, Problem>) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let report = |standing| self.set(key, State::Working(standing));
        let work = std::panic::AssertUnwindSafe(|| compute(&report));
        let result = std::panic::catch_unwind(work)
            .unwrap_or_else(|_| Err(Problem::internal("a computation panicked")));
        drop(turn);
        self.set(
            key,
            match result {
                Ok(result) => State::Done(Arc::new(result)),
                Err(problem) => State::Failed(problem),
            },
        );
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

/// Forgets the oldest result if there are too many.
fn make_room<K: Clone + Eq + Hash, T>(entries: &mut HashMap<K, Entry<T>>) {
    if entries.len() < MOST_KEPT {
        return;
    }
    let oldest = entries
        .iter()
        .filter(|(_, entry)| !matches!(entry.state, State::Working(_)))
        .min_by_key(|(_, entry)| entry.changed)
        .map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        entries.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    type Test = Arc<Jobs<u32, u32>>;

    fn finished(jobs: &Test, key: u32, generation: u64) -> Result<u32, Problem> {
        loop {
            let never = |_: &dyn Fn(Standing)| Err(Problem::internal("it was started twice"));
            match jobs.ask(&key, generation, never)? {
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
        assert!(matches!(jobs.ask(&1, 0, compute), Ok(Outcome::Working(_))));
        started.recv().unwrap();
        let again = jobs.ask(&1, 0, |_| panic!("it runs already"));
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
            assert!(jobs.ask(&1, 0, compute).is_ok());
            assert_eq!(finished(&jobs, 1, 0).is_err(), fails);
        }
    }

    #[test]
    fn too_many_are_turned_away() {
        let turn = Arc::new(Mutex::new(()));
        let jobs: Test = Arc::new(Jobs::new(turn.clone()));
        let held = turn.lock().unwrap();
        for key in 0..MOST_OPEN as u32 {
            assert!(jobs.ask(&key, 0, |_| Ok(0)).is_ok());
        }
        let refused = jobs.ask(&99, 0, |_| Ok(0)).map(|_| ()).unwrap_err();
        assert_eq!(refused.status(), 503);
        drop(held);
        assert_eq!(finished(&jobs, 0, 0).unwrap(), 0);
    }
}
