//! Lookalike over HTTP: an API and a web page on a gallery.
//!
//! [`Server`] binds, then runs until it is told to stop. A request goes through these rooms:
//!
//! ```text
//! listen ──► observe ──► access ──► api ──► work ──► gallery
//! TCP, TLS,  ids, log,   host,      what    bounded
//! limits     time limit  token      it says blocking
//! ```
//!
//! - `listen` accepts connections, bounds how many and how slow they may be, and ends gracefully.
//! - `observe` gives each request an id, a log line and a count, and each problem its form.
//! - `access` knows tokens, sessions and host names; [`ServeOptions`] has what it is to allow.
//! - `api` has the requests and their document ([`openapi`]), `body` reads what they bring, `types`
//!   is what they mean, `problem` what can be wrong with them. `page` is the web page in `web/`.
//! - `work` bounds what is computed at a time. `jobs` is for what takes longer than a request,
//!   `layout` for the map.
//! - `current` is what answers now, and goes over to another gallery when an alias is switched.
//! - `watched` follows folders, so that the gallery has what is in them.
//! - `service` is what all requests share. `references` finds the images that requests name,
//!   `search` answers searches, and `upkeep` brings index and neighbour graph up to date after
//!   changes.
//! - `queries` keeps images that were sent to search with, `fetch` fetches images.
//!
//! ```no_run
//! use lookalike::Searcher;
//! use lookalike::autoencoder::DeviceChoice;
//! use lookalike_server::{ServeOptions, Server};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let searcher = Searcher::open("photos.gallery", &[], DeviceChoice::Auto)?;
//! let server = Server::bind(searcher, ServeOptions::new("photos.gallery")).await?;
//! println!("listening on {}", server.url());
//! server.run(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
//! # Ok(())
//! # }
//! ```

mod access;
mod api;
mod body;
mod current;
mod fetch;
mod jobs;
mod layout;
mod listen;
mod metrics;
mod observe;
mod options;
mod page;
mod pictures;
mod problem;
mod queries;
mod references;
mod search;
mod service;
mod types;
mod upkeep;
mod watched;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use lookalike::{Error, Searcher};
use tokio::task::JoinError;
use tokio::time::error::Elapsed;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use access::{MIN_TOKEN_LEN, Network, Token};
pub use api::document as openapi;
pub use listen::StartError;
pub use options::{Limits, OptionNames, ServeOptions, TlsFiles};

use current::Current;
use listen::Listener;
use service::Service;
use watched::{Following, Watched};

/// How long the server waits when it stops: for watched folders, for what is being written, and for
/// computations over the whole gallery, each.
const MAX_SHUTDOWN_WAIT: Duration = Duration::from_secs(5);
/// How often the server checks whether upkeep is due.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A server that has its address already.
pub struct Server {
    listener: Listener,
    address: SocketAddr,
    service: Arc<Service>,
    reopen: Option<current::Reopen>,
    watched: Vec<Watched>,
}

impl Server {
    /// Takes the address to listen on. Connections wait from here on until [`run`](Self::run)
    /// accepts them.
    ///
    /// # Errors
    ///
    /// When the address cannot be taken, an option cannot be used, the TLS files cannot be read, or
    /// a folder cannot be watched.
    pub async fn bind(searcher: Searcher, options: ServeOptions) -> Result<Self, StartError> {
        for origin in &options.origins {
            if !is_origin(origin) {
                let why =
                    "is not an origin: give the beginning of an address, as https://example.org";
                return Err(Error::Unusable(format!("'{origin}' {why}")).into());
            }
        }
        let listener = Listener::bind(options.listen, options.tls.as_ref()).await?;
        let address = listener.address();
        let watched = Watched::all(&options)?;
        let service = Service::new(searcher, options, address.port())?;
        Ok(Self {
            watched,
            listener,
            address,
            service,
            reopen: None,
        })
    }

    /// When the gallery's name comes to mean another gallery ([`lookalike::has_moved`]), an alias
    /// on a cluster that is switched, goes over to what `reopen` opens, within seconds. Requests
    /// that have begun are answered from the gallery before; if the other cannot be opened, all
    /// are, and the log says why.
    pub fn following(
        mut self,
        reopen: impl Fn() -> Result<Searcher, Error> + Send + Sync + 'static,
    ) -> Self {
        self.reopen = Some(Box::new(reopen));
        self
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its page is.
    pub fn url(&self) -> String {
        let scheme = match self.service.options.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}/", self.address)
    }

    /// Serves until `stop` is done. Requests that have begun are finished then, for as long as
    /// [`Limits::stop`] allows; what was written is on disk.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self {
            listener,
            service,
            reopen,
            watched,
            ..
        } = self;
        lay_out(&service);
        let current = Arc::new(Current::new(service.clone(), reopen));
        let resting = tokio::spawn(look_after(current.clone()));
        let following = Following::begin(watched, &current);
        listener.serve(current.router(), &service, stop).await;
        resting.abort();
        let ended = within(MAX_SHUTDOWN_WAIT, move || following.end());
        if ended.await.is_err() {
            tracing::warn!("a watched folder is still being read; what was stored stays stored");
        }
        drop(service);
        let service = current.service();
        drop(current);
        let flushing = service.clone();
        let flushed = within(MAX_SHUTDOWN_WAIT, move || flushing.gallery().flush());
        match flushed.await {
            Ok(Ok(Err(error))) => tracing::error!(%error, "the gallery could not be flushed"),
            Ok(_) => {}
            Err(_) => {
                tracing::warn!("the gallery is still being changed; what was stored stays stored");
            }
        }
        // A computation still holds the gallery open, and the next process would find it in use.
        let last = tokio::time::Instant::now() + MAX_SHUTDOWN_WAIT;
        while Arc::strong_count(&service) > 1 && tokio::time::Instant::now() < last {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tracing::info!("stopped");
    }
}

/// Runs `work`, which may block, and waits for it for `limit` at most.
async fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Result<T, JoinError>, Elapsed> {
    tokio::time::timeout(limit, tokio::task::spawn_blocking(work)).await
}

/// So that the map is there when it is asked for.
fn lay_out(service: &Arc<Service>) {
    if let Err(problem) = service.layout.ask(service) {
        tracing::warn!(problem = problem.detail(), "the map is not laid out");
    }
}

/// Now and then, brings the index up to date, and goes over to another gallery if the name means
/// one.
async fn look_after(current: Arc<Current>) {
    let service = current.service();
    // On a cluster another server may be adding images to the same folder just now.
    if !service.options.on_cluster {
        let swept = tokio::task::spawn_blocking(move || service.uploads.sweep(service.gallery()));
        match swept.await {
            Ok(Ok(0)) => {}
            Ok(Ok(files)) => tracing::info!(files, "removed files of images that were not added"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not remove files of images that were not added")
            }
            Err(_) => tracing::error!("looking for files of images that were not added panicked"),
        }
    }
    let service = current.service();
    let kept = tokio::task::spawn_blocking(move || match service.gallery().as_embedded() {
        // Else one of the first searches would wait for it.
        Some(gallery) => gallery.keep_codes(),
        None => Ok(()),
    });
    match kept.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "codes are not kept in memory yet"),
        Err(_) => tracing::error!("reading the codes panicked"),
    }
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        let current = current.clone();
        let looked = tokio::task::spawn_blocking(move || {
            current.service().maintain();
            if current.follow() {
                lay_out(&current.service());
            }
        });
        if looked.await.is_err() {
            tracing::error!("looking after the gallery panicked");
        }
    }
}

fn router(service: &Arc<Service>) -> Router {
    // From the innermost layer to the outermost.
    api::router(service.limits().body_bytes)
        .merge(page::router())
        .layer(from_fn_with_state(service.clone(), body::make_room))
        .layer(CompressionLayer::new().gzip(true))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(service.clone(), access::guard))
        .layer(tower::util::option_layer(cors(&service.options.origins)))
        .layer(from_fn_with_state(service.clone(), observe::observe))
        .with_state(service.clone())
}

/// Lets pages of some origins read answers; of none, unless they are named.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = origins
        .iter()
        .filter_map(|origin| HeaderValue::try_from(origin).ok());
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
            .expose_headers([HeaderName::from_static("x-request-id")])
            .max_age(Duration::from_secs(600)),
    )
}

fn is_origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains('/') && host.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_blocks_is_waited_for_no_longer_than_it_may_be() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let stuck = within(Duration::from_millis(1), move || released.recv()).await;
        assert!(stuck.is_err());
        drop(release);
        let done = within(MAX_SHUTDOWN_WAIT, || 7).await;
        assert_eq!(done.unwrap().unwrap(), 7);
    }
}
