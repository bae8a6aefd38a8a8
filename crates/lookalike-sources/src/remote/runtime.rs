//! The small asynchronous runtime behind object stores; nothing outside of this crate sees it.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};

use tokio::runtime::{Builder, Runtime};

/// Two threads wait for the network; decoding has threads of its own.
const WORKERS: usize = 2;

fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("object-store")
        .enable_all()
        .build()?;
    // Another thread may have been quicker; then its runtime is taken. This one has no work, and goes quietly.
    if let Err(other) = RUNTIME.set(runtime) {
        other.shutdown_background();
    }
    RUNTIME
        .get()
        .ok_or_else(|| io::Error::other("there is no runtime"))
}

/// Begins some work, whose outcome can be waited for on any thread, asynchronous ones too.
pub(super) fn begin<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<Receiver<T>> {
    let (sender, receiver) = sync_channel(1);
    runtime()?.spawn(async move {
        // Nobody may wait any more.
        let _ = sender.send(work.await);
    });
    Ok(receiver)
}

/// Does some work and waits for it.
pub(super) fn finish<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    begin(work)?
        .recv()
        .map_err(|_| io::Error::other("the reading was given up"))
}
