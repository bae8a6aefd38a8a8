//! A server that speaks Qdrant's protocol and keeps everything in memory.

mod aliases;
mod catalogue;
mod collection;
mod config;
mod error;
mod field;
mod filter;
mod id;
mod index;
mod json;
mod path;
mod points;
mod query;
mod services;
mod space;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::QdrantServer;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::util::MapRequestLayer;

pub use collection::{Collection, Point};
pub use id::Id;

use services::{Service, lock};
use store::Store;

use crate::thread::{Port, Running};

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What clients must send to be let in; only health is told to everybody.
    pub api_key: Option<String>,
    /// How many nodes the cluster says it has, at least 1.
    pub nodes: usize,
    /// The version it says it is.
    pub version: String,
    /// The port to listen on; any free one for `None`.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_key: None,
            nodes: 1,
            version: "1.18.3".to_owned(),
            port: None,
        }
    }
}

/// A server that speaks Qdrant's protocol (gRPC, cleartext), on this machine only. Stops when it is
/// dropped.
pub struct Qdrant {
    options: Options,
    port: Port,
    store: Arc<Mutex<Store>>,
    requests: Requests,
    running: Option<Running>,
}

type Requests = Arc<Mutex<BTreeMap<String, u64>>>;

impl Qdrant {
    /// Starts an empty server on a free port.
    ///
    /// # Panics
    ///
    /// As do all of these, if the server cannot be started.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts an empty server.
    ///
    /// # Panics
    ///
    /// Also if there are to be no nodes.
    pub fn with(options: Options) -> Self {
        assert!(options.nodes > 0, "a cluster has at least one node");
        let store = Arc::new(Mutex::new(Store::new(options.nodes)));
        Self::over(store, options)
    }

    /// Starts another node of the same cluster on a free port: it has the same collections.
    pub fn join(&self) -> Self {
        let options = Options {
            port: None,
            ..self.options.clone()
        };
        Self::over(self.store.clone(), options)
    }

    fn over(store: Arc<Mutex<Store>>, options: Options) -> Self {
        let mut server = Self {
            port: Port::take(options.port),
            options,
            store,
            requests: Requests::default(),
            running: None,
        };
        server.start_again();
        server
    }

    /// Where it listens, or would.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Cuts all connections and refuses new ones, as a node that is lost. What is stored stays.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Listens on the same port again, with what was stored. Nothing happens if it has not been
    /// stopped.
    pub fn start_again(&mut self) {
        if self.running.is_some() {
            return;
        }
        let service = Service {
            store: self.store.clone(),
            version: self.options.version.clone(),
        };
        let requests = self.requests.clone();
        let guard = Guard {
            key: self.options.api_key.clone(),
        };
        self.running = Some(Running::start("qdrant", &self.port, move |listener| {
            serve(listener, service, guard, requests)
        }));
    }

    /// A collection, by its name or an alias, as it is now.
    pub fn collection(&self, name: &str) -> Option<Collection> {
        lock(&self.store).resolve(name).ok().cloned()
    }

    /// Aliases, and the collections that they stand for.
    pub fn aliases(&self) -> BTreeMap<String, String> {
        lock(&self.store).aliases.clone()
    }

    /// How many requests came in, by method (`Points/Upsert`), whatever the answer was.
    pub fn requests(&self) -> Vec<(String, u64)> {
        let requests = lock(&self.requests);
        requests
            .iter()
            .map(|(name, n)| (name.clone(), *n))
            .collect()
    }

    /// How many requests came in for one method, such as `Points/Upsert`.
    pub fn requests_of(&self, method: &str) -> u64 {
        lock(&self.requests).get(method).copied().unwrap_or(0)
    }
}

/// Methods without the name of the package: `Points/Upsert`.
pub(crate) fn method(path: &str) -> &str {
    let path = path.trim_start_matches('/');
    path.strip_prefix("qdrant.").unwrap_or(path)
}

async fn serve(listener: TcpListener, service: Service, guard: Guard, requests: Requests) {
    let count = move |request: http::Request<Body>| {
        let name = method(request.uri().path()).to_owned();
        *lock(&requests).entry(name).or_default() += 1;
        request
    };
    // Qdrant limits messages no more than this.
    let collections = CollectionsServer::new(service.clone()).max_decoding_message_size(usize::MAX);
    let points = PointsServer::new(service.clone()).max_decoding_message_size(usize::MAX);
    let served = Server::builder()
        .layer(MapRequestLayer::new(count))
        .add_service(QdrantServer::new(service))
        .add_service(InterceptedService::new(collections, guard.clone()))
        .add_service(InterceptedService::new(points, guard))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await;
    if let Err(error) = served {
        panic!("the server cannot go on: {error}");
    }
}

/// Lets in those who have the key.
#[derive(Clone)]
struct Guard {
    key: Option<String>,
}

impl tonic::service::Interceptor for Guard {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let Some(key) = &self.key else {
            return Ok(request);
        };
        let header = |name: &str| request.metadata().get(name)?.to_str().ok();
        let bearer = || header("authorization")?.strip_prefix("Bearer ");
        match header("api-key").or_else(bearer) {
            None => Err(Status::unauthenticated(
                "Must provide an API key or an Authorization bearer token",
            )),
            Some(sent) if sent == key => Ok(request),
            Some(_) => Err(Status::unauthenticated("Invalid API key or JWT")),
        }
    }
}
