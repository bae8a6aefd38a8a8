//! Bodies on their way: how fast they come, and the room that they take until they are dealt with.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::problem::Problem;
use crate::service::Service;
use crate::work::{Held, NoRoom};

/// The bytes a second that must arrive on average once a body has taken longer than a request may.
const MIN_BODY_RATE: f64 = 256.0;

/// How the body of a request arrives, and the room that it takes.
pub(crate) struct Arrival {
    began: Instant,
    state: Mutex<ArrivalState>,
}

struct ArrivalState {
    last: Instant,
    bytes: usize,
    held: Held,
}

impl Arrival {
    fn new() -> Self {
        let began = Instant::now();
        Self {
            began,
            state: Mutex::new(ArrivalState {
                last: began,
                bytes: 0,
                held: Held::default(),
            }),
        }
    }

    /// When bytes of the body came last; when the request came if it has none.
    pub fn last(&self) -> Instant {
        self.lock().last
    }

    /// Gives back the room.
    pub fn release(&self) {
        self.lock().held = Held::default();
    }

    /// Counts bytes that have come.
    fn add(&self, bytes: usize, service: &Service) -> Result<(), BrokenOff> {
        let limits = service.limits();
        let mut state = self.lock();
        state.last = Instant::now();
        state.bytes += bytes;
        let late = (state.last - self.began).saturating_sub(limits.request);
        if (state.bytes as f64) < late.as_secs_f64() * MIN_BODY_RATE {
            return Err(BrokenOff::TooSlow);
        }
        service.room.grow(&mut state.held, bytes)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, ArrivalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the server reads no more of a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenOff {
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(
        "the body came too slowly, with fewer than {MIN_BODY_RATE} bytes a second: send it over a faster connection"
    )]
    TooSlow,
}

impl BrokenOff {
    /// The problem that an error is caused by, if it is one of these.
    pub(super) fn problem_in(error: &(dyn std::error::Error + 'static)) -> Option<Problem> {
        match error.downcast_ref::<Self>() {
            Some(Self::NoRoom(full)) => Some((*full).into()),
            Some(slow @ Self::TooSlow) => {
                Some(Problem::new(StatusCode::REQUEST_TIMEOUT, slow.to_string()))
            }
            None => Self::problem_in(error.source()?),
        }
    }
}

/// A request whose body is counted as it arrives, and what counts it.
pub(crate) fn watched(request: Request, service: &Arc<Service>) -> (Request, Arc<Arrival>) {
    let arrival = Arc::new(Arrival::new());
    let (service, counting) = (service.clone(), arrival.clone());
    let request = request.map(|inner| {
        if inner.is_end_stream() {
            return inner;
        }
        axum::body::Body::new(Watched {
            inner,
            service,
            arrival: counting,
        })
    });
    (request, arrival)
}

struct Watched {
    inner: axum::body::Body,
    service: Arc<Service>,
    arrival: Arc<Arrival>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref()
            && let Err(broken) = self.arrival.add(bytes.len(), &self.service)
        {
            return Poll::Ready(Some(Err(axum::Error::new(broken))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Makes room for an answer that is in memory until its client has taken it; answers that are read
/// as they are sent need none.
pub(crate) async fn make_room(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let Some(bytes) = response.body().size_hint().exact() else {
        return response;
    };
    let mut held = Held::default();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if service.sending.grow(&mut held, bytes).is_err() {
        return Problem::busy(
            "too many large answers are being sent: try again in a moment, or ask for less",
        )
        .into_response();
    }
    response.map(|inner| axum::body::Body::new(Holding { inner, _held: held }))
}

/// A body, and the room that it takes.
struct Holding {
    inner: axum::body::Body,
    _held: Held,
}

impl hyper::body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
