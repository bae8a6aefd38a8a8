//! `lookalike serve`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lookalike::autoencoder::DeviceChoice;
use lookalike::gallery::ClusterAddress;
use lookalike::{Error, Searcher};
use lookalike_server::{Limits, OptionNames, ServeOptions, Server, StartError, TlsFiles, Token};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use super::arguments::ServeArguments;
use super::console::Console;
use super::{Failure, log};

/// How long the end waits for what is still being computed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Searches that run at a time for each core, where a cluster does the work.
const WAITING_A_CORE: usize = 8;

/// What `serve --json` says once it listens.
#[derive(Serialize)]
struct Listening<'a> {
    gallery: &'a str,
    url: String,
    images: usize,
    /// The token, if it was made for this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

pub fn run(
    arguments: ServeArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let options = options(&arguments)?;
    let _log = log::begin(arguments.log);
    let open = {
        let gallery = arguments.gallery.clone();
        let models = [arguments.models.as_slice(), &arguments.encoders].concat();
        move || Searcher::open(&gallery, &models, device)
    };
    let searcher = open()?;
    let images = searcher.gallery().describe()?.points;
    std::fs::create_dir_all(&options.folder).map_err(Error::io("make", &options.folder))?;
    let runtime = runtime(options.limits.at_once)?;
    let token = options.token.clone();
    let served: Result<(), Failure> = runtime.block_on(async {
        let on_cluster = options.on_cluster;
        let bound = Server::bind(searcher, options).await;
        let mut server = bound.map_err(advised)?;
        if on_cluster {
            server = server.following(open);
        }
        let url = server.url();
        console.json(&Listening {
            gallery: &arguments.gallery,
            url: url.clone(),
            images,
            token: token.generated_text(),
        })?;
        console.say_lines(format!(
            "{images} images at {url}\n{}\nCtrl-C ends it.",
            how_to_write(&url, &token)
        ))?;
        server.run(told_to_stop()).await;
        Ok(())
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    served
}

/// What to type, where a server cannot start.
fn advised(error: StartError) -> Error {
    match error {
        StartError::Options(error) => error,
        error @ StartError::Listen { .. } => Error::Unusable(format!("{error} with --listen")),
        error => Error::Unusable(error.to_string()),
    }
}

fn how_to_write(url: &str, token: &Token) -> String {
    match token.generated_text() {
        Some(text) => format!("To add and delete images, open {url}#token={text}"),
        None => "Adding and deleting images needs the token.".to_owned(),
    }
}

/// What was typed, as the server understands it.
fn options(arguments: &ServeArguments) -> Result<ServeOptions, Error> {
    let own_token = match &arguments.token_file {
        Some(path) => Some(token_of(path)?),
        None => arguments.token.clone(),
    };
    let beyond = !arguments.listen.ip().is_loopback();
    if beyond && own_token.is_none() && !arguments.open {
        return Err(Error::Unusable(format!(
            "{} can be reached from other machines: give a --token-file (and --token-for-reads, if not everybody there may search), or say --open",
            arguments.listen
        )));
    }
    let tls = arguments
        .tls_certificate
        .clone()
        .zip(arguments.tls_key.clone());
    let on_cluster = ClusterAddress::is_address(&arguments.gallery);
    let folder = match (&arguments.state, on_cluster) {
        (Some(folder), _) => folder.clone(),
        (None, false) => PathBuf::from(&arguments.gallery),
        (None, true) => {
            return Err(Error::Unusable(format!(
                "{} is on a cluster, where this server cannot keep added images and the map: name a folder with --state",
                arguments.gallery
            )));
        }
    };
    let mut usual = ServeOptions::new(folder);
    if on_cluster {
        // They wait more than they compute.
        usual.limits.at_once *= WAITING_A_CORE;
    }
    Ok(ServeOptions {
        listen: arguments.listen,
        token: own_token.unwrap_or(usual.token),
        token_for_reads: arguments.token_for_reads,
        hosts: arguments.hosts.clone(),
        origins: arguments.origins.clone(),
        proxies: arguments.proxies.clone(),
        watched: arguments.watch.clone(),
        prune: arguments.prune,
        fetch_urls: arguments.fetch_urls,
        tls: tls.map(|(certificate, key): (PathBuf, PathBuf)| TlsFiles { certificate, key }),
        folder: usual.folder,
        on_cluster,
        limits: Limits {
            body_bytes: arguments.max_megabytes * 1_000_000,
            pixels: arguments.max_megapixels * 1_000_000,
            at_once: arguments.at_once.unwrap_or(usual.limits.at_once),
            waiting: arguments.waiting,
            connections: arguments.connections,
            request: Duration::from_secs(arguments.timeout),
            ..usual.limits
        },
        names: OptionNames {
            hosts: "--host NAME",
            fetch_urls: "--fetch-urls",
        },
    })
}

fn token_of(path: &Path) -> Result<Token, Error> {
    let unusable = |reason: String| {
        Error::Unusable(format!(
            "cannot take the token from {}: {reason}",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    Token::new(line).map_err(unusable)
}

/// With one thread more than compute at a time: short searches run on these, and are not to hold up
/// the rest.
fn runtime(at_once: usize) -> Result<Runtime, Error> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(at_once + 1)
        .enable_all()
        .build();
    runtime.map_err(|error| Error::Unusable(format!("cannot start threads: {error}")))
}

/// Ctrl-C, or a request to end; a second one ends the program at once.
async fn told_to_stop() {
    interruption().await;
    tokio::spawn(async {
        interruption().await;
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn interruption() {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Then a signal ends the program at once, as it does without a handler.
        _ => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn interruption() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
