//! The asynchronous runtime for object stores, private to this crate.

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
    // Another thread may have been quicker; then its runtime is used, and this one, without work,
    // ends.
    if let Err(other) = RUNTIME.set(runtime) {
        other.shutdown_background();
    }
    RUNTIME
        .get()
        .ok_or_else(|| io::Error::other("there is no runtime"))
}

/// Begins some work. Its result can be awaited on any thread, also on an asynchronous runtime's.
pub(super) fn begin<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<Receiver<T>> {
    let (sender, receiver) = sync_channel(1);
    runtime()?.spawn(async move {
        // The receiver may have been dropped.
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
        .map_err(|_| io::Error::other("the read was cancelled"))
}
