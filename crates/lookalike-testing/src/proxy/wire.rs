//! Requests and replies, whole, as they go over the wire.

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::{request, response};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Bytes before each message: a flag and the length.
const PREFIX: usize = 5;
/// No message begins so: there are no fields of this kind.
const NO_FIELD: u8 = 0x07;

/// A request that has come in whole.
#[derive(Clone)]
pub(super) struct Call {
    head: request::Parts,
    pub body: Bytes,
}

impl Call {
    pub async fn read(request: Request<Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { head, body })
    }

    /// `Points/Upsert`, say.
    pub fn method(&self) -> &str {
        crate::server::method(self.head.uri.path())
    }
}

/// A reply, whole.
pub(super) struct Reply {
    head: response::Parts,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Reply {
    /// A refusal in the protocol's terms.
    pub fn status(code: Code, retry_after: u32) -> Self {
        let mut metadata = MetadataMap::new();
        if code == Code::ResourceExhausted {
            metadata.insert("retry-after", retry_after.into());
        }
        let status = Status::with_metadata(code, "by the proxy for tests", metadata);
        Self::refusal(status)
    }

    pub fn refusal(status: Status) -> Self {
        let (head, ()) = status.into_http().into_parts();
        Self {
            head,
            body: Bytes::new(),
            trailers: None,
        }
    }

    /// Of the same length, but no message.
    pub fn garbled(self) -> Self {
        let length = self.body.len().saturating_sub(PREFIX).max(1);
        let mut body = vec![0];
        // Replies are read from memory; none has 4 GiB.
        body.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        body.resize(PREFIX + length, NO_FIELD);
        Self {
            body: body.into(),
            ..self.fine()
        }
    }

    /// Without its second half, and without the word that it is whole.
    pub fn truncated(self) -> Self {
        let half = match self.body.len() {
            0 => Bytes::from_static(&[0; PREFIX / 2]),
            length => self.body.slice(..length / 2),
        };
        Self {
            body: half,
            trailers: None,
            ..self.fine()
        }
    }

    /// As if all had gone well.
    fn fine(mut self) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.head.headers = headers;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        self.trailers = Some(trailers);
        self
    }

    pub fn write(mut self) -> Response<Body> {
        self.head.headers.remove(CONTENT_LENGTH);
        let body = Full::new(self.body);
        let body = match self.trailers {
            None => body.boxed_unsync(),
            Some(trailers) => {
                let trailers = std::future::ready(Some(Ok(trailers)));
                body.with_trailers(trailers).boxed_unsync()
            }
        };
        Response::from_parts(self.head, body)
    }
}

/// Where requests are passed on to.
pub(super) struct Upstream {
    address: SocketAddr,
    /// Kept as long as it is good.
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Upstream {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: Mutex::new(None),
        }
    }

    /// Passes a request on. What fails on the way is a reply too: the server is not available.
    pub async fn pass_on(&self, call: &Call) -> Reply {
        match self.ask(call).await {
            Ok(reply) => reply,
            Err(error) => Reply::refusal(Status::unavailable(format!(
                "the proxy for tests cannot ask {}: {error}",
                self.address
            ))),
        }
    }

    async fn ask(&self, call: &Call) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let path = call.head.uri.path();
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.head.method.clone();
        *request.uri_mut() = Uri::builder()
            .scheme("http")
            .authority(self.address.to_string())
            .path_and_query(path)
            .build()?;
        *request.headers_mut() = call.head.headers.clone();
        let response = self.connect().await?.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        Ok(Reply {
            head,
            trailers: body.trailers().cloned(),
            body: body.to_bytes(),
        })
    }

    async fn connect(
        &self,
    ) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &mut *kept
            && connection.ready().await.is_ok()
        {
            return Ok(connection.clone());
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Its end shows when something is sent.
        tokio::spawn(connection);
        Ok(kept.insert(send).clone())
    }
}
