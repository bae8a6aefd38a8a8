//! Connections: accepting them, TLS, their limits, and a graceful end.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use lookalike::Error;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use crate::options::TlsFiles;
use crate::service::Service;

/// How long a client may take to say what it wants, the first time and after each answer, and to agree on TLS.
const GREETING: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD: usize = 32 << 10;
/// Bytes that are read ahead.
const BUFFER: usize = 64 << 10;
/// After an error of the system, such as too many open files: for it to pass.
const AFTER_TROUBLE: Duration = Duration::from_millis(100);

/// A place to accept connections at.
pub(crate) struct Listener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    pub async fn bind(address: SocketAddr, tls: Option<&TlsFiles>) -> Result<Self, Error> {
        let tls = tls.map(acceptor).transpose()?;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::Unusable(match error.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "cannot listen on {address}: something else does already; choose another with --listen"
                ),
                _ => format!("cannot listen on {address}: {error}; choose another with --listen"),
            })
        })?;
        Ok(Self { listener, tls })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves connections until `stop` comes true; then lets requests finish, for a while.
    pub async fn serve(
        self,
        router: Router,
        service: &Arc<Service>,
        stop: impl Future<Output = ()>,
    ) {
        let limits = service.limits();
        let places = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await;
                let place = place.expect("the semaphore is never closed");
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = Connection {
                        tls: self.tls.clone(),
                        router: router.clone(),
                        watcher: graceful.watcher(),
                        open: Open::new(service.clone(), place),
                    };
                    tokio::spawn(connection.serve(stream, limits.transfer));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(AFTER_TROUBLE).await;
                }
            }
        }
        // No new ones from here on.
        drop(self.listener);
        tracing::info!(connections = graceful.count(), "stopping");
        if tokio::time::timeout(limits.stop, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(
                "some requests did not finish within {} seconds",
                limits.stop.as_secs()
            );
        }
    }
}

/// One that is open, as long as this lives.
struct Open {
    service: Arc<Service>,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(service: Arc<Service>, place: OwnedSemaphorePermit) -> Self {
        service.metrics.connections.inc();
        Self {
            service,
            _place: place,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.service.metrics.connections.dec();
    }
}

struct Connection {
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
    open: Open,
}

impl Connection {
    async fn serve(self, stream: TcpStream, transfer: Duration) {
        // Answers are written whole; waiting to gather more would only delay them.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(transfer));
        let stream = Box::pin(stream);
        match self.tls.clone() {
            None => self.speak(stream).await,
            Some(tls) => match tokio::time::timeout(GREETING, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.speak(stream).await,
                // Somebody who speaks no TLS, or none that we speak: nothing can be answered.
                Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
                Err(_) => tracing::debug!("no TLS in time"),
            },
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = TowerToHyperService::new(self.router);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(GREETING)
            .max_buf_size(BUFFER)
            .max_header_size(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self.watcher.watch(connection).await {
            // Clients leave as they like.
            tracing::debug!(%error, "a connection ended");
        }
        drop(self.open);
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, Error> {
    let unreadable = |what: &str, path: &Path, error: rustls::pki_types::pem::Error| {
        Error::Unusable(format!(
            "cannot read the {what} {}: {error}; give a file in PEM",
            path.display()
        ))
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable("certificate", &files.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable("private key", &files.key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Unusable(format!("cannot use TLS: {error}")))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            Error::Unusable(format!(
                "the certificate {} and the key {} cannot be used together: {error}",
                files.certificate.display(),
                files.key.display()
            ))
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
