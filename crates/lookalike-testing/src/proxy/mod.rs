//! A proxy that does harm to what passes through it.

mod faults;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Code;

pub use faults::{Fault, Faults};

use faults::Fates;
use wire::{Body, Call, Reply, Upstream};

use crate::thread::{Port, Running};

/// Until a reply that was handed over has been sent.
const SENDING: Duration = Duration::from_millis(2);

/// Stands before a server that speaks gRPC in cleartext, and does harm to the calls that pass.
/// Stops when it is dropped.
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
    _running: Running,
}

/// What was done to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Handled {
    /// Without the name of the package, as `Points/Upsert`.
    pub method: String,
    /// In the order in which it was done; nothing if it just passed.
    pub faults: Vec<Fault>,
}

struct Shared {
    upstream: Upstream,
    fates: Mutex<Fates>,
    log: Mutex<Vec<Handled>>,
    /// The number of the latest request whose reply has gone out.
    replied: watch::Sender<usize>,
    /// Requests that have come and are not done with, late duplicates among them.
    under_way: AtomicUsize,
}

/// A request that is not done with, for as long as it lives.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.under_way.fetch_add(1, Ordering::SeqCst);
        Self(shared.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Proxy {
    /// Starts before the server at `upstream`, which may come later.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(upstream: SocketAddr, faults: Faults) -> Self {
        let port = Port::take(None);
        let shared = Arc::new(Shared {
            upstream: Upstream::new(upstream),
            fates: Mutex::new(Fates::new(faults)),
            log: Mutex::default(),
            replied: watch::Sender::new(0),
            under_way: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        let running = Running::start("proxy", &port, |listener| accept(listener, serving));
        Self {
            port,
            shared,
            _running: running,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Does this from now on; the generator starts from its seed, and faults are counted anew.
    pub fn set(&self, faults: Faults) {
        *lock(&self.shared.fates) = Fates::new(faults);
    }

    /// What was done to each request so far, in the order of their coming.
    pub fn log(&self) -> Vec<Handled> {
        lock(&self.shared.log).clone()
    }

    /// Waits until nothing that has come is under way any more, late duplicates included.
    ///
    /// # Panics
    ///
    /// If that takes longer than half a minute.
    pub fn settle(&self) {
        let began = Instant::now();
        while self.shared.under_way.load(Ordering::SeqCst) > 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "no end of it");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, shared.clone()));
            }
            Err(error) => panic!("the proxy cannot go on: {error}"),
        }
    }
}

/// How a connection is.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    /// To be cut at once.
    Cut,
    Closed,
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Without it replies would only wait longer.
    let _ = stream.set_nodelay(true);
    let state = Arc::new(watch::Sender::new(State::Open));
    let mut cut = state.subscribe();
    let service = {
        let state = state.clone();
        service_fn(move |request| handle(request, shared.clone(), state.clone()))
    };
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Clients leave as they like.
        _ = connection => {}
        // The connection is dropped here, and with it the stream.
        _ = cut.wait_for(|state| *state == State::Cut) => {}
    }
    state.send_replace(State::Closed);
}

/// Ends only when the connection is closed, so that nothing else is said on it.
async fn cut(state: &watch::Sender<State>) -> Reply {
    let mut closed = state.subscribe();
    state.send_if_modified(|state| {
        let open = *state == State::Open;
        if open {
            *state = State::Cut;
        }
        open
    });
    // The sender is ours: it cannot fail.
    let _ = closed.wait_for(|state| *state == State::Closed).await;
    Reply::status(Code::Unavailable, 0)
}

async fn handle(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    state: Arc<watch::Sender<State>>,
) -> Result<Response<Body>, hyper::Error> {
    let _under_way = UnderWay::begin(&shared);
    let call = Call::read(request).await?;
    let (number, faults) = shared.decide(&call);
    let reply = shared.apply_faults(&call, number, &faults, &state).await;
    shared.replied.send_if_modified(|latest| {
        let later = number > *latest;
        *latest = number.max(*latest);
        later
    });
    Ok(reply.write())
}

impl Shared {
    /// The number of a request, from 1, and what is done to it.
    fn decide(&self, call: &Call) -> (usize, Vec<Fault>) {
        // Both at once, so that numbers go with fates.
        let mut fates = lock(&self.fates);
        let mut log = lock(&self.log);
        let faults = fates.next(call.method(), &call.body);
        log.push(Handled {
            method: call.method().to_owned(),
            faults: faults.clone(),
        });
        (log.len(), faults)
    }

    /// Does to a request what was decided; `state` is that of its connection.
    async fn apply_faults(
        self: &Arc<Self>,
        call: &Call,
        number: usize,
        faults: &[Fault],
        state: &watch::Sender<State>,
    ) -> Reply {
        let (retry_after, hold) = {
            let fates = lock(&self.fates);
            (fates.faults.retry_after, fates.faults.max_hold)
        };
        for fault in faults {
            match fault {
                Fault::Delayed(time) => sleep(*time).await,
                Fault::Poisoned => return Reply::status(Code::InvalidArgument, retry_after),
                Fault::Refused(code) => return Reply::status(*code, retry_after),
                Fault::CutBefore => return cut(state).await,
                _ => {}
            }
        }
        let mut reply = self.upstream.pass_on(call).await;
        for fault in faults {
            match fault {
                Fault::Duplicated => {
                    // Whatever it says, the first has been answered.
                    self.upstream.pass_on(call).await;
                }
                Fault::DuplicatedLate(time) => {
                    let (under_way, call, time) = (UnderWay::begin(self), call.clone(), *time);
                    tokio::spawn(async move {
                        sleep(time).await;
                        under_way.0.upstream.pass_on(&call).await;
                    });
                }
                Fault::ReplyDelayed(time) => sleep(*time).await,
                Fault::ReplyLost(code) => return Reply::status(*code, retry_after),
                Fault::CutAfter => return cut(state).await,
                Fault::Reordered => {
                    let mut replied = self.replied.subscribe();
                    let later = replied.wait_for(|latest| *latest > number);
                    // If no later one comes, it has waited for nothing.
                    let came = timeout(hold, later).await.is_ok();
                    if came {
                        sleep(SENDING).await;
                    }
                }
                Fault::Garbled => reply = reply.garbled(),
                Fault::Truncated => reply = reply.truncated(),
                Fault::Poisoned | Fault::Delayed(_) | Fault::Refused(_) | Fault::CutBefore => {}
            }
        }
        reply
    }
}
