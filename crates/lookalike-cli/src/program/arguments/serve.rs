//! What can be typed behind `lookalike serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use lookalike_server::{Network, ServeOptions, Token};

use super::values::positive;

#[derive(Args)]
#[command(
    after_help = "lookalike serve --gallery g                                     on this machine only; adding images needs the token that it prints\nlookalike serve --gallery g --watch photos                      and what is added to the folder is found moments later\nlookalike serve --gallery g --listen 0.0.0.0:8787 --token-file t --host images.example.org\n\nThe API is described at /api on the server, and in docs/server.md."
)]
pub struct ServeArguments {
    /// What to serve
    #[arg(long, value_name = "GALLERY")]
    pub gallery: String,
    /// Follow this folder: what is added to it or changed is in the gallery, and found, moments
    /// later; repeatable
    #[arg(long, value_name = "FOLDER")]
    pub watch: Vec<PathBuf>,
    /// Remove from the gallery what watched folders no longer have
    #[arg(long, requires = "watch")]
    pub prune: bool,
    /// The model that the gallery was made with; needed for one on a cluster, which keeps none. Of
    /// several, the gallery's own is taken, also when an alias is switched to a collection of
    /// another of them
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Where the gallery's pretrained encoder is, if it has moved; repeatable as --model is
    #[arg(long = "encoder", value_name = "ENCODER")]
    pub encoders: Vec<PathBuf>,
    /// Where added images and the map are kept; needed for a gallery on a cluster [default: beside
    /// the gallery]
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from(([127, 0, 0, 1], ServeOptions::DEFAULT_PORT)))]
    pub listen: SocketAddr,
    /// What adding and deleting images needs; others on this machine can see what is typed here:
    /// --token-file is safer [default: one made for this run]
    #[arg(long, value_name = "TOKEN", value_parser = Token::new, conflicts_with = "token_file")]
    pub token: Option<Token>,
    /// A file with the token in its first line
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Reading needs the token as well
    #[arg(long)]
    pub token_for_reads: bool,
    /// Listen beyond this machine without a token of your own: whoever can reach it can search it
    #[arg(long)]
    pub open: bool,
    /// Answer under this host name only, as behind a proxy; repeatable
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Believe this proxy's X-Forwarded-For, which says for which client it asks; an address, or a
    /// network as in 10.0.0.0/8; one on this machine always is believed; repeatable
    #[arg(long = "proxy", value_name = "ADDRESS")]
    pub proxies: Vec<Network>,
    /// Let pages of this origin (https://example.org) read answers; repeatable
    #[arg(long = "cors", value_name = "ORIGIN")]
    pub origins: Vec<String>,
    /// Let images be named by their URL; addresses in private networks are refused
    #[arg(long)]
    pub fetch_urls: bool,
    /// Speak TLS, with this certificate chain (PEM)
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "PEM", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// The most megabytes of a request
    #[arg(long, alias = "most-megabytes", default_value_t = 32, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    pub max_megabytes: usize,
    /// The most megapixels of an image
    #[arg(long, alias = "most-megapixels", default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub max_megapixels: u64,
    /// Searches and other computations that run at a time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub at_once: Option<usize>,
    /// Requests that may wait for that; more are turned away
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub waiting: usize,
    /// Connections that are open at a time; more wait
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = positive())]
    pub connections: usize,
    /// Seconds that a request may take
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// What is logged on standard error, a line a request: text, json, or errors only
    #[arg(long, value_enum, default_value = "text")]
    pub log: LogArgument,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogArgument {
    /// For people
    Text,
    /// A JSON object a line
    Json,
    /// Warnings and errors only, for people
    Errors,
}
