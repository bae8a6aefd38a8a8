//! How a server is run.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::{Network, Token};

/// How a server is run. [`ServeOptions::new`] is safe: loopback only, writes with a token, nothing
/// fetched.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What writes need.
    pub token: Token,
    /// Whether reads need it too.
    pub token_for_reads: bool,
    /// Host names under which the server may be asked for. Empty: on loopback only its own names,
    /// so that no web page can reach it under a name of its own (DNS rebinding); elsewhere any.
    pub hosts: Vec<String>,
    /// Origins (`https://example.org`) whose pages may read answers (CORS). Empty: none.
    pub origins: Vec<String>,
    /// Proxies whose header `X-Forwarded-For` says for which client they ask, where that counts
    /// for a limit. Proxies on loopback always may.
    pub proxies: Vec<Network>,
    /// Folders that are followed: their images are in the gallery moments after they are in the
    /// folder, read by the gallery's rules.
    pub watched: Vec<PathBuf>,
    /// Whether images whose files are gone from a watched folder are removed from the gallery.
    pub prune: bool,
    /// Whether images may be fetched by their URL.
    pub fetch_urls: bool,
    /// Certificate chain and private key; none: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Where added images, and the map, are kept; made when needed.
    pub folder: PathBuf,
    /// Whether the gallery is on a cluster: then waiting for it leaves a thread's other requests to
    /// another thread.
    pub on_cluster: bool,
    /// What a request may cost.
    pub limits: Limits,
    /// What these options are called where the server was started.
    pub names: OptionNames,
}

/// What options are called where the server was started, for problems that say how they are
/// changed: the fields of [`ServeOptions`] unless set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionNames {
    /// [`ServeOptions::hosts`].
    pub hosts: &'static str,
    /// [`ServeOptions::fetch_urls`].
    pub fetch_urls: &'static str,
}

impl Default for OptionNames {
    fn default() -> Self {
        Self {
            hosts: "the option `hosts`",
            fetch_urls: "the option `fetch_urls`",
        }
    }
}

/// The two files that TLS needs, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a request may cost. Beyond a limit, the answer is a 4xx or 503 that names it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most bytes of a body. 32 MiB unless set.
    pub body_bytes: usize,
    /// The most bytes of all bodies together that have come and are being read or worked on; small
    /// ones do not count. 256 MiB unless set, and at least one body's.
    pub bodies_bytes: usize,
    /// The most bytes of all answers together that are kept in memory until clients have taken
    /// them; small ones, and files that are read as they are sent, do not count. 256 MiB unless
    /// set, and at least one answer's.
    pub answers_bytes: usize,
    /// The most pixels of an image, width x height. 50 million unless set.
    pub pixels: u64,
    /// The most files of one request, and the most examples of a search, of which never more than
    /// 10,000 of a kind are read. 100 unless set.
    pub files: usize,
    /// The most neighbours of one answer. 1,000 unless set.
    pub k: usize,
    /// How far into a ranking one can page. 10,000 unless set.
    pub results: usize,
    /// Searches and other computations that run at a time. As many as the machine has cores unless
    /// set.
    pub at_once: usize,
    /// Requests that may wait for that; more are turned away with 503. 256 unless set.
    pub waiting: usize,
    /// Connections that are open at a time; more wait to be accepted. 1,024 unless set.
    pub connections: usize,
    /// How long a client may take to send the next bytes of a request's body, or to take some of
    /// the answer. 30 s unless set.
    pub transfer: Duration,
    /// How long a request may take, from when the last bytes of its body came. 60 s unless set.
    pub request: Duration,
    /// How long requests may go on after the server was told to stop. 30 s unless set.
    pub stop: Duration,
    /// Bytes of query images that are kept for further searches. 256 MiB unless set.
    pub query_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            body_bytes: 32 << 20,
            bodies_bytes: 256 << 20,
            answers_bytes: 256 << 20,
            pixels: 50_000_000,
            files: 100,
            k: 1_000,
            results: 10_000,
            at_once: cores,
            waiting: 256,
            connections: 1_024,
            transfer: Duration::from_secs(30),
            request: Duration::from_secs(60),
            stop: Duration::from_secs(30),
            query_bytes: 256 << 20,
        }
    }
}

impl ServeOptions {
    /// The port that [`ServeOptions::new`] listens on.
    pub const DEFAULT_PORT: u16 = 8787;

    /// On loopback, port [`DEFAULT_PORT`](Self::DEFAULT_PORT), with a token made for this run;
    /// `folder` is where added images and the map are kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Self::DEFAULT_PORT),
            token: Token::random(),
            token_for_reads: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            proxies: Vec::new(),
            watched: Vec::new(),
            prune: false,
            fetch_urls: false,
            tls: None,
            folder: folder.into(),
            on_cluster: false,
            limits: Limits::default(),
            names: OptionNames::default(),
        }
    }
}
