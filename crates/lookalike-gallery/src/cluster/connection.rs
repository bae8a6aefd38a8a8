//! Requests to the cluster: from any thread, tried again where that can help, on another node where
//! one is lost.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qdrant_client::{Qdrant, QdrantError};
use tokio::runtime::{Builder, Runtime};
use tonic::Code;

use crate::{ClusterAddress, ClusterOptions, GalleryError, Retries};

/// Upper bound for honouring the wait that a cluster asks for.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A cluster that can be asked from any thread, also from one that drives asynchronous work.
pub(super) struct Connection {
    nodes: Arc<Nodes>,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    pub(super) options: ClusterOptions,
    /// For messages.
    path: PathBuf,
}

struct Nodes {
    clients: Vec<Qdrant>,
    /// The one that is asked first.
    current: AtomicUsize,
}

/// Why a request was not answered.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) detail: String,
    pub(super) attempts: usize,
}

impl Connection {
    /// Prepares to speak to the nodes of `address`; nothing is sent yet.
    pub(super) fn new(
        address: &ClusterAddress,
        options: ClusterOptions,
    ) -> Result<Self, GalleryError> {
        let path = PathBuf::from(address.to_string());
        let unusable = |detail: String| GalleryError::Engine {
            doing: "connecting".into(),
            path: path.clone(),
            detail,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("cluster")
            .enable_all()
            .build()
            .map_err(|error| unusable(format!("no thread can be started: {error}")))?;
        let client = |url: String| {
            // The client's own check of versions prints to standard output.
            Qdrant::from_url(&url)
                .api_key(options.api_key.clone())
                .timeout(options.timeout)
                .connect_timeout(options.connect_timeout)
                .skip_compatibility_check()
                .build()
                .map_err(|error| unusable(error.to_string()))
        };
        let clients = address.urls().map(client).collect::<Result<_, _>>()?;
        Ok(Self {
            nodes: Arc::new(Nodes {
                clients,
                current: AtomicUsize::new(0),
            }),
            runtime: Some(runtime),
            options,
            path,
        })
    }

    /// Asks, and asks again where that can help. What is asked must do no harm if it is done twice.
    pub(super) fn ask<T, F, Answer>(&self, retries: Retries, call: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Fn(Qdrant) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<T, QdrantError>> + Send,
    {
        let nodes = self.nodes.clone();
        // Waiting on a channel, and not in the runtime, works on threads of another runtime as
        // well.
        let (send, answer) = sync_channel(1);
        self.runtime().spawn(async move {
            // The receiver may be gone; then nobody waits for it.
            let _ = send.send(nodes.ask(retries, &call).await);
        });
        answer.recv().unwrap_or_else(|_| {
            Err(Failure {
                code: Code::Internal,
                detail: "the client panicked".into(),
                attempts: 1,
            })
        })
    }

    /// As [`ask`](Self::ask), for reading: a failure becomes the gallery's.
    pub(super) fn read<T, F, Answer>(&self, doing: &str, call: F) -> Result<T, GalleryError>
    where
        T: Send + 'static,
        F: Fn(Qdrant) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<T, QdrantError>> + Send,
    {
        self.ask(self.options.reading, call)
            .map_err(|failure| self.failed(doing, failure))
    }

    /// As [`read`](Self::read), for changes.
    pub(super) fn write<T, F, Answer>(&self, doing: &str, call: F) -> Result<T, GalleryError>
    where
        T: Send + 'static,
        F: Fn(Qdrant) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<T, QdrantError>> + Send,
    {
        self.ask(self.options.writing, call)
            .map_err(|failure| self.failed(doing, failure))
    }

    /// Does something with each item, some at a time, and gives what came of it in their order.
    pub(super) fn each<I: Send, T: Send>(
        &self,
        items: Vec<I>,
        act: impl Fn(I) -> T + Sync,
    ) -> Vec<T> {
        if items.len() <= 1 {
            return items.into_iter().map(act).collect();
        }
        let threads = self.options.writers.clamp(1, items.len());
        let mut results: Vec<Option<T>> = items.iter().map(|_| None).collect();
        let queue = Mutex::new(items.into_iter().zip(results.iter_mut()));
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((item, result)) = next() {
                        *result = Some(act(item));
                    }
                });
            }
        });
        drop(queue);
        results.into_iter().flatten().collect()
    }

    /// What a failure means for who asked.
    pub(super) fn failed(&self, doing: &str, failure: Failure) -> GalleryError {
        let path = self.path.clone();
        match failure.code {
            code if is_refusal(code) => GalleryError::Refused {
                path,
                detail: failure.detail,
            },
            code if is_passing(code) => GalleryError::Unreachable {
                doing: doing.to_owned(),
                path,
                attempts: failure.attempts,
                detail: failure.detail,
            },
            _ => GalleryError::Engine {
                doing: doing.to_owned(),
                path,
                detail: failure.detail,
            },
        }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until dropped")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A runtime that is dropped where it may not block would panic.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("path", &self.path)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Nodes {
    async fn ask<T, F, Answer>(&self, retries: Retries, call: &F) -> Result<T, Failure>
    where
        F: Fn(Qdrant) -> Answer,
        Answer: Future<Output = Result<T, QdrantError>>,
    {
        let mut failures = 0;
        loop {
            let current = self.current.load(Ordering::Relaxed);
            let node = current % self.clients.len();
            let error = match call(self.clients[node].clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            let (code, detail, rest) = meaning(&error);
            let wait = retries.wait(failures, rand::random());
            let Some(wait) = wait.filter(|_| is_passing(code)) else {
                return Err(Failure {
                    code,
                    detail,
                    attempts: failures,
                });
            };
            if rest.is_none() {
                // Several that fail at the same time move on by one node, not by several.
                let _ = self.current.compare_exchange(
                    current,
                    current.wrapping_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
            tokio::time::sleep(wait.max(rest.unwrap_or_default())).await;
        }
    }
}

/// Whether the cluster wants a key, or one that may do more: then it refuses every request alike.
pub(super) fn is_refusal(code: Code) -> bool {
    matches!(code, Code::Unauthenticated | Code::PermissionDenied)
}

/// Whether a failure of this kind may be over at the next attempt: a node that is gone or starts
/// again, an election, a limit of rate, an answer that was lost or garbled on its way.
pub(super) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Internal
            | Code::Unknown
    )
}

/// The kind of a failure, its message, and how long the cluster asks to wait.
fn meaning(error: &QdrantError) -> (Code, String, Option<Duration>) {
    match error {
        QdrantError::ResponseError { status } => (status.code(), status.message().to_owned(), None),
        QdrantError::ResourceExhaustedError {
            status,
            retry_after_seconds,
        } => {
            let rest = Duration::from_secs(*retry_after_seconds).min(MAX_BACKOFF);
            (status.code(), status.message().to_owned(), Some(rest))
        }
        QdrantError::Io(error) => (Code::Unavailable, error.to_string(), None),
        // Nothing was sent, and nothing else will be.
        other => (Code::InvalidArgument, other.to_string(), None),
    }
}
