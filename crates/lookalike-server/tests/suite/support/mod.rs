//! A server on a small gallery, in this process, and a client that sends whatever bytes a test
//! wants.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lookalike::autoencoder::{Architecture, Autoencoder, DeviceChoice, TrainConfig, train};
use lookalike::images::{Collection, Pixels};
use lookalike::{
    DEFAULT_TILES, ImageStream, IndexOptions, PretrainedEncoder, PretrainedOptions, RuleOverrides,
    Searcher, create_gallery, index, open,
};
use lookalike_server::{ServeOptions, Server, Token};
use serde_json::Value;
use tokio::sync::oneshot;

pub const TOKEN: &str = "a-token-for-tests";
/// Images in the gallery: the first of MNIST's test images.
pub const IMAGES: usize = 300;
/// Pictures in the gallery of pictures of four digits.
pub const MOSAICS: usize = 40;
/// The id of `mnist:test#7`, the article's query.
pub const SEVEN: &str = "94226bf5-46a4-5ce7-ae48-dce1e14c41de";

/// The first test images.
pub fn digits(count: usize) -> Collection {
    let source = open("mnist:test").unwrap();
    source.load(None, Some(count)).unwrap()
}

/// A model, quickly trained, once.
fn model_bytes() -> &'static [u8] {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    MODEL.get_or_init(|| {
        let config = TrainConfig {
            epochs: 1,
            batch: 64,
            ..TrainConfig::new(Architecture::Bottleneck)
        };
        let model = train(&digits(IMAGES), &config, DeviceChoice::Cpu, None, &mut ());
        model.unwrap().to_bytes()
    })
}

pub fn model() -> Autoencoder {
    Autoencoder::from_bytes(model_bytes(), "the tests' model", DeviceChoice::Cpu).unwrap()
}

/// A server that runs until this is dropped.
pub struct Running {
    pub address: SocketAddr,
    pub folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes a gallery of [`IMAGES`] digits.
pub fn gallery(path: &Path) {
    let (digits, model) = (digits(IMAGES), model());
    let gallery = create_gallery(path, &model, &Default::default()).unwrap();
    let options = IndexOptions {
        diffusion: true,
        ..IndexOptions::default()
    };
    let stream = ImageStream::of_collection(&digits);
    index(stream, &model, &*gallery, options).unwrap();
}

impl Running {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With options of its own.
    pub fn with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        gallery(&folder.path().join("g"));
        Self::on(folder, change)
    }

    /// On a gallery of the first 60 digits, encoded by the tiny pretrained model of digits.
    pub fn pretrained() -> Self {
        let clip = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../lookalike-pretrained/tests/fixtures/tiny-clip"
        );
        let encoder = PretrainedEncoder::open(clip.as_ref(), PretrainedOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("g");
        let gallery = create_gallery(name, &encoder, &Default::default()).unwrap();
        let stream = ImageStream::of_collection(&digits(60));
        index(stream, &encoder, &*gallery, IndexOptions::default()).unwrap();
        drop(gallery);
        Self::on(folder, |_| {})
    }

    /// On a gallery of pictures of four digits each, in two rows, of which tiles are kept.
    pub fn tiled() -> Self {
        let (model, digits) = (model(), digits(4 * MOSAICS));
        let folder = tempfile::tempdir().unwrap();
        let photos = folder.path().join("photos");
        std::fs::create_dir(&photos).unwrap();
        for (number, four) in digits.pixels().chunks_exact(4 * 28 * 28).enumerate() {
            let mut data = Vec::new();
            for two in four.chunks_exact(2 * 28 * 28) {
                let (left, right) = two.split_at(28 * 28);
                let rows = left.chunks_exact(28).zip(right.chunks_exact(28));
                rows.for_each(|(left, right)| data.extend([left, right].concat()));
            }
            let picture = Pixels::new(56, 56, 1, data).unwrap();
            picture
                .write_png(photos.join(format!("{number}.png")))
                .unwrap();
        }
        let gallery = create_gallery(folder.path().join("g"), &model, &Default::default()).unwrap();
        let options = IndexOptions {
            rules: RuleOverrides {
                tiles: Some(DEFAULT_TILES),
                ..RuleOverrides::default()
            },
            ..IndexOptions::default()
        };
        let stream = open(photos.to_str().unwrap()).unwrap();
        index(stream, &model, &*gallery, options).unwrap();
        drop(gallery);
        Self::on(folder, |_| {})
    }

    /// On a gallery that is there, as `g` in `folder`.
    pub fn on(folder: tempfile::TempDir, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let path = folder.path().join("g");
        let mut options = ServeOptions::new(&path);
        options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        options.token = Token::new(TOKEN).unwrap();
        change(&mut options);
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        let name = path.to_str().unwrap().to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let searcher = Searcher::open(&name, &[], DeviceChoice::Cpu).unwrap();
                let server = Server::bind(searcher, options).await.unwrap();
                bound.send(server.address()).unwrap();
                let stop = async {
                    let _ = stopped.await;
                };
                server.run(stop).await;
            });
        });
        Self {
            address: address.recv().unwrap(),
            folder,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn gallery_path(&self) -> PathBuf {
        self.folder.path().join("g")
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) -> tempfile::TempDir {
        self.end();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the server panicked"
            );
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.ask(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    }

    /// A form, with the token.
    pub fn send(&self, method: &str, path: &str, form: &Form) -> Answer {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [
            ("Content-Type", Form::TYPE),
            ("Authorization", &authorization),
        ];
        self.ask(method, path, &headers, &form.bytes())
    }

    pub fn write(&self, method: &str, path: &str) -> Answer {
        let authorization = format!("Bearer {TOKEN}");
        self.ask(method, path, &[("Authorization", &authorization)], b"")
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method != "GET" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        self.raw(&[head.as_bytes(), body].concat())
    }

    /// Whatever bytes; what comes back until the server hangs up.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        // The server may hang up before it has all of it.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::parse(&answer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// 0 if nothing came.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            assert!(
                bytes.is_empty(),
                "half an answer: {}",
                String::from_utf8_lossy(bytes)
            );
            return Self {
                status: 0,
                headers: Vec::new(),
                body: Vec::new(),
            };
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        });
        Self {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&self.body)))
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The detail of a problem with a status.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        assert!(problem["title"].is_string());
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// A form being filled in.
#[derive(Default)]
pub struct Form(Vec<u8>);

impl Form {
    pub const TYPE: &str = "multipart/form-data; boundary=BORDER";

    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(mut self, name: &str, text: &str) -> Self {
        let part = format!(
            "--BORDER\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"
        );
        self.0.extend(part.into_bytes());
        self
    }

    pub fn file(mut self, name: &str, file: &str, bytes: &[u8]) -> Self {
        let head = format!(
            "--BORDER\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        self.0.extend(head.into_bytes());
        self.0.extend(bytes);
        self.0.extend(b"\r\n");
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        [&self.0, &b"--BORDER--\r\n"[..]].concat()
    }
}

/// A digit that is not in the gallery, as a PNG.
pub fn new_digit(number: usize) -> Vec<u8> {
    assert!(number >= IMAGES);
    let all = digits(number + 1);
    all.picture(number).to_png().unwrap()
}

/// A digit of the gallery, as a PNG.
pub fn digit(number: usize) -> Vec<u8> {
    digits(number + 1).picture(number).to_png().unwrap()
}

/// The keys of an answer's neighbours.
pub fn keys(answer: &Value) -> Vec<String> {
    let neighbours = answer["neighbours"].as_array().unwrap();
    let key = |neighbour: &Value| neighbour["image"]["key"].as_str().unwrap().to_owned();
    neighbours.iter().map(key).collect()
}

/// What is computed over the whole gallery: asks until it is done.
#[track_caller]
pub fn finished(server: &Running, path: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = server.get(path);
        if answer.status != 202 {
            return answer.ok();
        }
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json()["state"], "working");
        assert!(Instant::now() < end, "{path} is never done");
        std::thread::sleep(Duration::from_millis(20));
    }
}
