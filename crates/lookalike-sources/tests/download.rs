//! The contract of downloads: a good file or a clear error, and nothing else left behind.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use lookalike_sources::mnist::{Part, Places};
use lookalike_sources::{Source, SourceError};

/// What a mirror answers to each request.
#[derive(Clone, Copy)]
enum Answer {
    /// The file.
    Good,
    /// The file, without saying how long it is.
    GoodOfUnknownLength,
    /// The file with one byte changed in its middle.
    Changed,
    /// Another file that is gzip too.
    Other,
    /// Half of the file, then the end of the connection.
    Half,
    /// As `Half`, without saying how long it should have been.
    HalfOfUnknownLength,
    /// Zeroes without end.
    Endless,
    /// Status 404.
    Missing,
    /// Not HTTP.
    Rubbish,
}

/// A mirror on this machine: its address, and a count of its requests.
fn mirror(answer: Answer) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/mnist/", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            count.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                while lines
                    .next()
                    .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                {}
                let file = first
                    .split(' ')
                    .nth(1)
                    .unwrap()
                    .strip_prefix("/mnist/")
                    .unwrap()
                    .to_owned();
                // The client hangs up when it has seen enough; so writing may fail.
                let _ = stream.write_all(&response(answer, &file));
                if matches!(answer, Answer::Endless) {
                    while stream.write_all(&[0; 1 << 16]).is_ok() {}
                }
            });
        }
    });
    (address, requests)
}

fn response(answer: Answer, file: &str) -> Vec<u8> {
    let content = |file: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/mnist");
        std::fs::read(folder.join(file)).unwrap()
    };
    let with_length = |length: usize, body: &[u8]| {
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .into_bytes();
        bytes.extend(body);
        bytes
    };
    let without_length = |body: &[u8]| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        bytes.extend(body);
        bytes
    };
    let good = content(file);
    let half = &good[..good.len() / 2];
    match answer {
        Answer::Good => with_length(good.len(), &good),
        Answer::GoodOfUnknownLength => without_length(&good),
        Answer::Changed => {
            let mut changed = good.clone();
            changed[good.len() / 2] ^= 1;
            with_length(changed.len(), &changed)
        }
        Answer::Other => {
            let other = content("train-labels-idx1-ubyte.gz");
            with_length(other.len(), &other)
        }
        Answer::Half => with_length(good.len(), half),
        Answer::HalfOfUnknownLength => without_length(half),
        Answer::Endless => without_length(&[]),
        Answer::Missing => b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_vec(),
        Answer::Rubbish => b"220 ftp ready\r\n".to_vec(),
    }
}

fn places(cache: &Path, mirrors: &[&str]) -> Places {
    Places {
        folders: vec![],
        cache: Some(cache.join("deep/mnist")),
        mirrors: mirrors.iter().map(|mirror| mirror.to_string()).collect(),
    }
}

fn files(cache: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(cache.join("deep/mnist"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const BOTH: [&str; 2] = ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"];

#[test]
fn a_download_is_kept_and_tells_how_far_it_is() {
    for answer in [Answer::Good, Answer::GoodOfUnknownLength] {
        let (address, requests) = mirror(answer);
        let cache = tempfile::tempdir().unwrap();
        let places = places(cache.path(), &[&address]);
        let mut steps = Vec::new();
        let source = places
            .open(Part::Test, &mut |progress| {
                steps.push((progress.file.to_owned(), progress.received, progress.total));
            })
            .unwrap();
        assert_eq!(
            source
                .entries()
                .unwrap()
                .filter(|item| item.is_ok())
                .count(),
            10_000
        );
        assert_eq!(files(cache.path()), BOTH);
        assert!(
            steps
                .windows(2)
                .all(|pair| pair[0].0 != pair[1].0 || pair[0].1 <= pair[1].1)
        );
        let (file, received, total) = steps.last().unwrap();
        assert_eq!((file.as_str(), *received), (BOTH[1], 4517));
        assert_eq!(total.is_some(), matches!(answer, Answer::Good));

        // The second time nothing is asked for.
        places
            .open(Part::Test, &mut |_| panic!("no download"))
            .unwrap();
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn a_bad_copy_is_an_error_and_leaves_nothing() {
    for (answer, words) in [
        (Answer::Changed, ""),
        (Answer::Other, "7840016 bytes"),
        (Answer::Half, "broken off"),
        (Answer::HalfOfUnknownLength, "gzip"),
        (Answer::Endless, "not the file"),
        (Answer::Missing, "404"),
        (Answer::Rubbish, ""),
    ] {
        let (address, _) = mirror(answer);
        let cache = tempfile::tempdir().unwrap();
        let error = places(cache.path(), &[&address])
            .open(Part::Test, &mut |_| {})
            .unwrap_err();
        let SourceError::Download { file, failures } = &error else {
            panic!("{error}");
        };
        assert_eq!((file.as_str(), failures.len()), (BOTH[0], 1));
        assert!(
            failures[0].starts_with(&address) && failures[0].contains(words),
            "{error}"
        );
        assert!(error.to_string().contains("LOOKALIKE_DATA"), "{error}");
        assert!(files(cache.path()).is_empty(), "{:?}", files(cache.path()));
    }
}

#[test]
fn a_wrong_checksum_says_both() {
    // The same length once unpacked: only the checksum tells.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&vec![0; 7_840_016]).unwrap();
        let body = packer.finish().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
    });
    let cache = tempfile::tempdir().unwrap();
    let error = places(cache.path(), &[&address])
        .open(Part::Test, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected the SHA-256 0fa7898d"), "{error}");
    assert!(files(cache.path()).is_empty());
}

#[test]
fn the_second_mirror_saves_the_day() {
    let (good, requests) = mirror(Answer::Good);
    let broken = [Answer::Half, Answer::Missing, Answer::Changed].map(|answer| mirror(answer).0);
    // A port on which nobody listens any more.
    let closed = format!(
        "http://{}",
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    );
    for first in broken.iter().chain([&closed]) {
        let cache = tempfile::tempdir().unwrap();
        places(cache.path(), &[first, &good])
            .open(Part::Test, &mut |_| {})
            .unwrap();
        assert_eq!(files(cache.path()), BOTH);
    }
    assert_eq!(requests.load(Ordering::SeqCst), 8);

    let cache = tempfile::tempdir().unwrap();
    let mirrors: Vec<_> = broken.iter().map(String::as_str).collect();
    let error = places(cache.path(), &mirrors)
        .open(Part::Test, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        broken
            .iter()
            .all(|address| error.contains(address.as_str())),
        "{error}"
    );
}

#[test]
fn downloads_at_once_do_no_harm() {
    let (address, _) = mirror(Answer::Good);
    let cache = tempfile::tempdir().unwrap();
    let places = places(cache.path(), &[&address]);
    let counts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let source = places.open(Part::Test, &mut |_| {}).unwrap();
                let count = source
                    .entries()
                    .unwrap()
                    .filter(|item| item.is_ok())
                    .count();
                counts.lock().unwrap().push(count);
            });
        }
    });
    assert_eq!(counts.into_inner().unwrap(), [10_000; 4]);
    assert_eq!(files(cache.path()), BOTH);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("deep"), b"a file").unwrap();
    let error = places(folder.path(), &[])
        .open(Part::Test, &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, SourceError::Io { .. }), "{error}");
}
