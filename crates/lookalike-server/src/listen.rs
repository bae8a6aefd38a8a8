//! Connections: accepting them, TLS, their limits, and a graceful end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use lookalike::Error;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::access::client_of;
use crate::options::TlsFiles;
use crate::service::Service;

/// How long a client may take to send the head of a request, the first time and after each answer,
/// and for the TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// The most bytes that are read ahead.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// How long to wait after a failed accept, as with too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}; choose another address", why(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// An option cannot be used, or a file or folder that it names.
    #[error(transparent)]
    Options(#[from] Error),
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use already".to_owned(),
        _ => error.to_string(),
    }
}

/// A place to accept connections at.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    pub async fn bind(address: SocketAddr, tls: Option<&TlsFiles>) -> Result<Self, StartError> {
        let tls = tls.map(acceptor).transpose()?;
        let refused = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self {
            listener,
            address,
            tls,
        })
    }

    /// Where it listens: the port is never 0.
    pub fn address(&self) -> SocketAddr {
        self.address
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
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
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

/// A connection that counts as open until this is dropped.
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
        let Ok(peer) = stream.peer_addr() else {
            return;
        };
        let peer = peer.ip();
        let stream = Paced::new(stream, transfer);
        match self.tls.clone() {
            None => self.serve_http(stream, peer).await,
            Some(tls) => match tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.serve_http(stream, peer).await,
                // A client without TLS, or of another version, could not read an answer.
                Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
                Err(_) => tracing::debug!("no TLS in time"),
            },
        }
    }

    async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: IpAddr,
    ) {
        let (router, server) = (self.router, self.open.service.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let client = client_of(peer, request.headers(), &server.options.proxies);
            request.extensions_mut().insert(client);
            router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_BUFFER_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self.watcher.watch(connection).await {
            // Clients may close a connection at any time.
            tracing::debug!(%error, "a connection ended");
        }
        drop(self.open);
    }
}

/// The bytes a second that a client must take on average of an answer that waits for it.
const MIN_SEND_RATE: f64 = 1_024.0;

/// A stream that ends with an error when what is written is taken too slowly: in each stretch of
/// `period` during which something waits to be sent, [`MIN_SEND_RATE`] bytes a second must go out.
struct Paced<S> {
    stream: S,
    period: Duration,
    /// The end of the present stretch, and the bytes that went out in it; none while nothing waits.
    stretch: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Paced<S> {
    fn new(stream: S, period: Duration) -> Self {
        Self {
            stream,
            period,
            stretch: None,
        }
    }

    /// Called when nothing can be written just now: fails if too little could in the stretch that
    /// ends.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let period = self.period;
        let (end, sent) = self
            .stretch
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(period)), 0));
        loop {
            ready!(end.as_mut().poll(context));
            if (*sent as f64) < MIN_SEND_RATE * period.as_secs_f64() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            *sent = 0;
            end.as_mut().reset(Instant::now() + period);
        }
    }
}

impl<S: AsyncWrite + Unpin> Paced<S> {
    fn write(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match write(Pin::new(&mut self.stream), context) {
            Poll::Pending => self.wait(context).map(Err),
            Poll::Ready(written) => {
                if let (Ok(written), Some((_, sent))) = (&written, &mut self.stretch) {
                    *sent += written;
                }
                Poll::Ready(written)
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| {
            stream.poll_write_vectored(context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.wait(context).map(Err),
            Poll::Ready(flushed) => {
                // All of it was taken: nothing waits any more.
                self.stretch = None;
                Poll::Ready(flushed)
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Writes 64 KB to a client that takes `bytes` bytes at a time, in stretches of 100 ms.
    async fn written_to_one_who_takes(bytes: usize) -> io::Result<()> {
        let (server, mut client) = tokio::io::duplex(64);
        let mut paced = Paced::new(server, Duration::from_millis(100));
        let reading = async {
            let mut some = vec![0; bytes];
            while client.read_exact(&mut some).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let writing = async {
            paced.write_all(&[0; 64 << 10]).await?;
            paced.flush().await
        };
        tokio::select! {
            written = writing => written,
            () = reading => unreachable!("the stream stays open"),
        }
    }

    #[tokio::test]
    async fn one_who_takes_too_little_is_left() {
        let left = written_to_one_who_takes(1).await.unwrap_err();
        assert_eq!(left.kind(), io::ErrorKind::TimedOut);
        written_to_one_who_takes(8 << 10).await.unwrap();
    }

    #[tokio::test]
    async fn time_in_which_nothing_is_to_be_sent_does_not_count() {
        let (server, mut client) = tokio::io::duplex(64);
        let mut paced = Paced::new(server, Duration::from_millis(100));
        for _ in 0..3 {
            let mut taken = [0; 100];
            let (written, _) = tokio::join!(
                async {
                    paced.write_all(&[0; 100]).await?;
                    paced.flush().await
                },
                client.read_exact(&mut taken)
            );
            written.unwrap();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
}
