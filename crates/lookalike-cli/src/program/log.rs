//! The server's log, on standard error. Whoever reads that may be slow, or gone: lines wait in
//! memory, so many at the most, and a thread writes them, so that no request ever waits for the
//! log.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry};

use super::arguments::LogArgument;

/// The most bytes of lines that wait to be written.
const MAX_WAITING: usize = 4 << 20;
/// How long writing what still waits at the end may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Logs to standard error: what the server says, and nobody else below a warning.
pub fn begin(how: LogArgument) -> Log {
    let own = match how {
        LogArgument::Errors => LevelFilter::WARN,
        LogArgument::Text | LogArgument::Json => LevelFilter::INFO,
    };
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("lookalike", own)
        .with_target("lookalike_server", own);
    let queue = Arc::<Queue>::default();
    let lines = fmt::layer()
        .with_writer(Waiting(queue.clone()))
        .with_ansi(io::stderr().is_terminal());
    match how {
        LogArgument::Json => {
            let lines = lines.json().flatten_event(true);
            registry().with(lines.with_filter(targets)).init();
        }
        LogArgument::Text | LogArgument::Errors => {
            let lines = lines.with_target(false);
            registry().with(lines.with_filter(targets)).init();
        }
    }
    Log::written_to(io::stderr(), queue, |lost| {
        tracing::warn!(
            lines = lost,
            "lines of the log were dropped: nobody reads it, or not fast enough"
        );
    })
}

/// Writes lines of the log on a thread; dropping it writes those still waiting, for at most
/// [`SHUTDOWN_TIMEOUT`].
pub struct Log(Arc<Queue>);

impl Log {
    /// Writes what comes to the queue on a thread; `tell` is called with how many lines there was
    /// no room for.
    fn written_to(
        mut to: impl Write + Send + 'static,
        queue: Arc<Queue>,
        tell: impl Fn(usize) + Send + 'static,
    ) -> Self {
        let own = queue.clone();
        thread::spawn(move || {
            while let Some(lines) = own.take() {
                for line in lines {
                    // There is nowhere else to say that nobody listens.
                    let _ = to.write_all(&line);
                }
                let lost = own.written();
                if lost > 0 {
                    tell(lost);
                }
            }
        });
        Self(queue)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.finish(SHUTDOWN_TIMEOUT);
    }
}

/// Lines that wait to be written.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that there was no room for, and that were not told of.
    lost: usize,
    /// Whether lines that were taken are being written.
    writing: bool,
    ended: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line if there is room.
    fn add(&self, line: &[u8]) {
        let mut state = self.state();
        if state.bytes + line.len() > MAX_WAITING {
            state.lost += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        self.changed.notify_all();
    }

    /// Waits for lines and takes all; none when there will be no more.
    fn take(&self) -> Option<VecDeque<Vec<u8>>> {
        let waits = |state: &mut State| state.lines.is_empty() && !state.ended;
        let state = self.changed.wait_while(self.state(), waits);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.lines.is_empty() {
            return None;
        }
        state.writing = true;
        Some(std::mem::take(&mut state.lines))
    }

    /// Notes that what was taken is written; says how many lines were lost meanwhile.
    fn written(&self) -> usize {
        let mut state = self.state();
        // What was taken took room until now.
        state.bytes = state.lines.iter().map(Vec::len).sum();
        state.writing = false;
        self.changed.notify_all();
        std::mem::take(&mut state.lost)
    }

    /// Waits until all is written, for `patience` at most.
    fn finish(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.state();
        while (state.writing || !state.lines.is_empty()) && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.ended = true;
        self.changed.notify_all();
    }
}

/// Where the log writes to.
struct Waiting(Arc<Queue>);

impl<'a> MakeWriter<'a> for Waiting {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// What is written of one line; the log writes each whole.
struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Hands over what is written, and goes on when it is told to.
    struct Slow {
        written: Sender<Vec<u8>>,
        go_on: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.send(bytes.to_vec()).unwrap();
            // Nobody holds it up any more.
            let _ = self.go_on.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_logs_never_waits_and_what_is_lost_is_counted() {
        let (written, lines) = channel();
        let (release, go_on) = channel();
        let (tell, told) = channel();
        let queue = Arc::<Queue>::default();
        let slow = Slow { written, go_on };
        let log = Log::written_to(slow, queue.clone(), move |lost| tell.send(lost).unwrap());
        queue.add(b"first");
        assert_eq!(lines.recv().unwrap(), b"first", "it is being written");
        // Nothing more can be written until `release`; adding goes on all the same.
        let line = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            queue.add(&line);
        }
        drop(release);
        drop(log);
        // What waited was written before the log ended: as much as there was room for.
        let whole = lines.iter().filter(|written| *written == line).count();
        assert_eq!(whole, 3);
        assert_eq!(told.iter().sum::<usize>(), 7);
    }
}
