//! An S3 server and a web server on loopback.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, thread};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use lookalike_sources::SourceOptions;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

/// Starts an S3 server of the folders in `root` as buckets; it ends with the test's process.
pub fn s3(root: &Path) -> SourceOptions {
    let files = s3s_fs::FileSystem::new(root).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let mut builder = S3ServiceBuilder::new(files);
            builder.set_auth(SimpleAuth::from_single("key", "secret"));
            let service = builder.build();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
    });
    options(&[
        ("AWS_ENDPOINT", &format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ])
}

pub fn options(environment: &[(&str, &str)]) -> SourceOptions {
    let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
    SourceOptions {
        environment: Some(environment.iter().map(own).collect::<BTreeMap<_, _>>()),
        ..SourceOptions::default()
    }
}

/// A web server that supports ranges, and a count of its answers with content.
pub fn web(root: PathBuf) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let given = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&given);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // Without this the content waits until the headers were acknowledged.
            socket.set_nodelay(true).unwrap();
            let (root, counter) = (root.clone(), Arc::clone(&counter));
            thread::spawn(move || serve(socket, &root, &counter));
        }
    });
    (address, given)
}

fn serve(mut socket: TcpStream, root: &Path, given: &AtomicU64) -> Option<()> {
    let mut lines = BufReader::new(socket.try_clone().ok()?).lines();
    loop {
        let request = lines.next()?.ok()?;
        let mut words = request.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut range = None;
        loop {
            let header = lines.next()?.ok()?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(bytes) = header.strip_prefix("range: bytes=") {
                let (from, to) = bytes.split_once('-')?;
                range = Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?));
            }
        }
        let date = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
        let Ok(content) = fs::read(root.join(path.trim_start_matches('/'))) else {
            write!(
                socket,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            )
            .ok()?;
            continue;
        };
        let (status, extra, body) = match range {
            Some((from, to)) => {
                let to = to.min(content.len() - 1);
                let extra = format!("Content-Range: bytes {from}-{to}/{}\r\n", content.len());
                ("206 Partial Content", extra, &content[from..=to])
            }
            None => ("200 OK", String::new(), &content[..]),
        };
        let length = body.len();
        write!(
            socket,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{date}{extra}\r\n"
        )
        .ok()?;
        if method != "HEAD" {
            given.fetch_add(1, Ordering::Relaxed);
            socket.write_all(body).ok()?;
        }
    }
}
