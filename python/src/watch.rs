//! Long work: on a thread of its own, while the caller's thread hears of its progress, tells Python
//! of it, and looks for signals, as Ctrl-C. The interpreter's lock is free all the while.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use lookalike::autoencoder::{EpochRecord, Observer, TrainStep};
use lookalike::{Progress, TeachingObserver};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::raise;

/// How often signals are looked for, and how often progress is told at most.
const PAUSE: Duration = Duration::from_millis(100);
/// The stack of the thread that works: as a program's first thread has it.
const STACK: usize = 8 << 20;

/// What the caller hears.
pub enum Event {
    Progress(Progress),
    Step(TrainStep),
    /// The worker waits until this is dropped.
    Epoch(
        usize,
        EpochRecord,
        #[expect(dead_code, reason = "dropped alone")] Sender<()>,
    ),
    Note(String),
    Warning(String),
    /// Work whose end cannot be foreseen has begun, or has ended.
    Stage(&'static str, bool),
}

/// The end of work that was told to stop, by unwinding.
struct Ended;

impl Event {
    /// Whether a later one of its kind replaces it.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Progress(_) | Self::Step(_))
    }

    /// Calls the observer's method for it, or warns.
    fn tell(&self, py: Python<'_>, observer: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        if let Self::Warning(message) = self {
            return warn(py, message);
        }
        let Some(observer) = observer else {
            return Ok(());
        };
        match self {
            Self::Progress(progress) => {
                let phase = progress.phase.as_str();
                observer.call_method1("progress", (phase, progress.done, progress.total))?;
            }
            Self::Step(step) => {
                let about = PyDict::new(py);
                about.set_item("epoch", step.epoch)?;
                about.set_item("epochs", step.epochs)?;
                about.set_item("loss", step.loss)?;
                about.set_item("images_per_second", step.images_per_second)?;
                about.set_item("seconds_left", step.seconds_left)?;
                let (done, total) = (step.progress.done, step.progress.total);
                observer.call_method1("step", (done, total, about))?;
            }
            Self::Epoch(number, record, _) => {
                observer.call_method1("epoch", (number, record.loss, record.seconds))?;
            }
            Self::Note(message) => {
                observer.call_method1("note", (message,))?;
            }
            Self::Stage(what, ended) => {
                observer.call_method1("progress", (what, usize::from(*ended), 1))?;
            }
            Self::Warning(_) => {}
        }
        Ok(())
    }
}

/// What the work tells its caller by, and is told to stop by.
#[derive(Clone)]
pub struct Teller {
    events: Sender<Event>,
    stop: Arc<AtomicBool>,
}

impl Teller {
    /// The flag that says that the work should stop.
    pub fn stop(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Whether the work may go on.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Tells how far the work is.
    pub fn progress(&self, progress: Progress) {
        self.send(Event::Progress(progress));
    }

    /// Tells how far the work is, and ends it if it should stop. This unwinds to [`watched`], for
    /// work that asks nobody whether to go on. What it was writing is given up as after an error.
    pub fn progress_or_end(&self, progress: Progress) {
        self.progress(progress);
        self.end_if_told();
    }

    /// Ends the work if it should stop, as [`progress_or_end`](Self::progress_or_end).
    pub fn end_if_told(&self) {
        if !self.goes_on() {
            resume_unwind(Box::new(Ended));
        }
    }

    /// Has a warning given where the package's user called, now and not when the work has ended.
    pub fn warn(&self, message: String) {
        self.send(Event::Warning(message));
    }

    /// Does work whose end cannot be foreseen, and tells when it begins and when it has ended.
    pub fn stage<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> T {
        self.send(Event::Stage(what, false));
        let done = work();
        self.send(Event::Stage(what, true));
        done
    }

    /// Does work whose steps take seconds on a thread that is left to itself where all is to stop,
    /// so that nobody waits for a step: then there is no answer. The work is handed what says
    /// whether to go on, and ends soon.
    pub fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, answer) = channel();
        // Not what it tells by: the caller hears until the last of those is dropped.
        let (stop, running) = (self.stop(), Running::another());
        let worker = thread::Builder::new()
            .name("lookalike-apart".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let _running = running;
                // Nobody waits for it any more where all is to stop.
                let _ = done.send(with_threads(|| work(&|| !stop.load(Ordering::Relaxed))));
            })
            .expect("threads can be started");
        while self.goes_on() {
            match answer.recv_timeout(PAUSE) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => match worker.join() {
                    Err(panic) => resume_unwind(panic),
                    Ok(()) => return None,
                },
            }
        }
        None
    }

    fn flow(&self) -> ControlFlow<()> {
        match self.goes_on() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    fn send(&self, event: Event) {
        // The caller hears until the work has ended.
        let _ = self.events.send(event);
    }
}

impl TeachingObserver for Teller {
    fn encoding(&mut self, progress: Progress) -> ControlFlow<()> {
        self.progress(progress);
        self.flow()
    }
}

impl Observer for Teller {
    fn step(&mut self, step: &TrainStep) -> ControlFlow<()> {
        self.send(Event::Step(*step));
        self.flow()
    }

    fn epoch(&mut self, number: usize, epoch: &EpochRecord) {
        let (told, heard) = channel();
        self.send(Event::Epoch(number, *epoch, told));
        // So that what a callback raises stops the run before it goes on. Nobody sends: the other
        // end is dropped when the callbacks have returned.
        let _ = heard.recv();
    }

    fn note(&mut self, message: &str) {
        self.send(Event::Note(message.to_owned()));
    }
}

/// Does the work on a thread of its own. What the observer's methods raise, and signals, stop it
/// where it can be stopped, and are raised when it has ended.
pub fn watched<T: Send>(
    py: Python<'_>,
    observer: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Teller) -> T + Send,
) -> PyResult<T> {
    let _running = Running::begin(py)?;
    let observer = observer.map(|observer| observer.clone().unbind());
    let (events, receiver) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let teller = Teller {
        events,
        stop: stop.clone(),
    };
    // The receiver goes along: only one thread may hear.
    let (outcome, failure) = py.detach(move || {
        thread::scope(|scope| {
            let worker = thread::Builder::new()
                .name("lookalike".to_owned())
                .stack_size(STACK)
                .spawn_scoped(scope, || with_threads(|| work(teller)));
            let failure = hear(&receiver, observer.as_ref(), &stop);
            (worker.map(|worker| worker.join()), failure)
        })
    });
    let outcome = outcome.map_err(|error| {
        let message = format!("cannot start a thread: {error}; end what else runs");
        raise(py, "LookalikeError", message)
    })?;
    match (outcome, failure) {
        (Err(panic), Some(failure)) if panic.is::<Ended>() => Err(failure),
        (Err(panic), _) => resume_unwind(panic),
        (Ok(_), Some(failure)) => Err(failure),
        (Ok(outcome), None) => Ok(outcome),
    }
}

/// Hears all events until the work ends. The first failure of telling them stops the work.
fn hear(
    receiver: &Receiver<Event>,
    observer: Option<&Py<PyAny>>,
    stop: &AtomicBool,
) -> Option<PyErr> {
    let mut failure = None;
    let mut passing: Option<Event> = None;
    let mut told = Instant::now();
    loop {
        let event = receiver.recv_timeout(PAUSE.saturating_sub(told.elapsed()));
        let ended = matches!(event, Err(RecvTimeoutError::Disconnected));
        let lasting = match event {
            Ok(event) if event.is_passing() => {
                passing = Some(event);
                None
            }
            Ok(event) => Some(event),
            Err(_) => None,
        };
        if lasting.is_none() && told.elapsed() < PAUSE && !ended {
            continue;
        }
        if failure.is_none() {
            let events = [passing.take(), lasting];
            failure = Python::attach(|py| tell(py, observer, &events)).err();
            if failure.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
            // The events are dropped after that: who waits for them sees that it should stop.
        }
        told = Instant::now();
        if ended {
            return failure;
        }
    }
}

fn tell(py: Python<'_>, observer: Option<&Py<PyAny>>, events: &[Option<Event>]) -> PyResult<()> {
    py.check_signals()?;
    let observer = observer.map(|observer| observer.bind(py));
    for event in events.iter().flatten() {
        event.tell(py, observer)?;
    }
    Ok(())
}

/// A `LookalikeWarning` at the line that called the package's function.
fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    py.import("lookalike._progress")?
        .call_method1("warn", (message,))?;
    Ok(())
}

/// Does something short, without the interpreter's lock.
pub fn unwatched<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let _running = Running::begin(py)?;
    Ok(py.detach(|| with_threads(work)))
}

/// The process that the threads of this library belong to; 0 as long as it has none.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// How much work that process is at.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Whether that process was forked from one that had used the library.
static FORKED: AtomicBool = AtomicBool::new(false);
/// How many threads compute in a forked process: there are many such at once, as a rule one for
/// each core.
static FORKED_THREADS: AtomicUsize = AtomicUsize::new(1);

/// Work of this process, until it is dropped.
struct Running(());

impl Running {
    /// Begins work. In a process that was forked after threads had been started these are not
    /// there, and whoever waited for them would never end: there [`with_threads`] starts others.
    /// What a thread held that was at work meanwhile stays held, so that nothing is begun then.
    fn begin(py: Python<'_>) -> PyResult<Self> {
        // The interpreter's lock is held here, so that no other thread is between these lines.
        if is_forked() && PROCESS.load(Ordering::Relaxed) != std::process::id() {
            if RUNNING.load(Ordering::Relaxed) > 0 {
                let message = "this process was forked while lookalike was at work";
                return Err(left_behind(py, message));
            }
            FORKED.store(true, Ordering::Relaxed);
            PROCESS.store(0, Ordering::Relaxed);
        }
        claim();
        Ok(Self::another())
    }

    /// Begins more work beside some that runs.
    fn another() -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes the threads this process's, if they are nobody's yet.
fn claim() {
    let own = std::process::id();
    let _ = PROCESS.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed);
}

/// Whether this process was forked after the library had been used.
fn is_forked() -> bool {
    let process = PROCESS.load(Ordering::Relaxed);
    FORKED.load(Ordering::Relaxed) || (process != 0 && process != std::process::id())
}

/// Refuses what a forked process cannot do, because threads that `what` needs are not there.
pub fn refuse_forked(py: Python<'_>, what: &str) -> PyResult<()> {
    if is_forked() {
        let message = format!(
            "this process was forked after lookalike had been used, and threads that {what} needs stayed behind"
        );
        return Err(left_behind(py, &message));
    }
    claim();
    Ok(())
}

fn left_behind(py: Python<'_>, what: &str) -> PyErr {
    let message = format!(
        "{what}: start worker processes by \"spawn\" or \"forkserver\", or use lookalike in them alone"
    );
    raise(py, "LookalikeError", message)
}

/// Does work with threads that are there: in a forked process with others than those of the process
/// that it was forked from. They are this work's alone, because work may wait for Python, which may
/// begin other work.
fn with_threads<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match FORKED.load(Ordering::Relaxed) {
        true => lookalike::kernels::pool(FORKED_THREADS.load(Ordering::Relaxed)).install(work),
        false => work(),
    }
}

/// Says how many threads compute: once, before anything is computed, or in a forked process at any
/// time. Gives how many do.
pub fn set_threads(py: Python<'_>, threads: Option<usize>) -> PyResult<usize> {
    let _running = Running::begin(py)?;
    if !FORKED.load(Ordering::Relaxed) {
        return Ok(py.detach(|| lookalike::kernels::set_threads(threads)));
    }
    if let Some(threads) = threads {
        FORKED_THREADS.store(threads, Ordering::Relaxed);
    }
    Ok(FORKED_THREADS.load(Ordering::Relaxed))
}
