//! What the tests of the program on a cluster share.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lookalike::gallery::{Gallery, Payload, Points};
use lookalike::open;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::common::{Workplace, stderr};

/// The type of [forms](form).
const FORM: &str = "multipart/form-data; boundary=B";

/// A form with a picture and further parts.
fn form(name: &str, picture: &[u8], more: &str) -> Vec<u8> {
    let head = format!(
        "--B\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\r\n"
    );
    [head.as_bytes(), picture, more.as_bytes(), b"\r\n--B--\r\n"].concat()
}

/// A gallery's address on a server.
pub fn on(server: impl Display, name: &str) -> String {
    format!("qdrant://{server}/{name}")
}

/// Models that know a little of digits, from two seeds; each is trained once for all tests.
pub fn model(seed: usize) -> &'static [u8] {
    static MODELS: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
    MODELS[seed].get_or_init(|| {
        let place = Workplace::new(256);
        let images = place.images();
        place.json(&format!(
            "train {images} --out m --epochs 1 --batch 64 --seed {seed}"
        ));
        fs::read(place.path("m")).unwrap()
    })
}

/// A place with `count` test images as an IDX file, and the model `m`.
pub fn place_with_digits(count: usize) -> Workplace {
    let place = Workplace::new(count);
    fs::write(place.path("m"), model(0)).unwrap();
    place
}

/// A place with the folder `photos`: the first `count` test images as PNG files, in a folder for
/// each digit; and the model `m`.
pub fn place_with_photos(count: usize) -> Workplace {
    let place = place_with_digits(1);
    let source = open("mnist:test").unwrap();
    let digits = source.load(None, Some(count)).unwrap();
    for index in 0..digits.len() {
        let folder = place.path("photos").join(digits.label(index).unwrap());
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{index}.png"));
        digits.picture(index).write_png(file).unwrap();
    }
    place
}

/// Some test image as a PNG file.
pub fn png(index: usize) -> Vec<u8> {
    let source = open("mnist:test").unwrap();
    let digits = source.load(None, Some(index + 1)).unwrap();
    digits.picture(index).to_png().unwrap()
}

/// A number that a report must have.
pub fn count(report: &Value, field: &str) -> u64 {
    report[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} of {report}"))
}

/// Runs a command line that must fail with 1 and say something; gives what it said.
pub fn fails(place: &Workplace, line: &str) -> String {
    let output = place.run(line);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{line}: {said}");
    assert!(!said.contains("panicked"), "{line}: {said}");
    assert!(said.starts_with("lookalike: "), "{line}: {said}");
    said
}

/// A gallery by its name in this place: a folder, or an address on a cluster.
pub fn open_in(place: &Workplace, name: &str) -> Box<dyn Gallery> {
    let name = match name.contains("://") {
        true => name.to_owned(),
        false => place.path(name).display().to_string(),
    };
    lookalike::open_gallery(&name).unwrap()
}

/// A point's code bit for bit, its payload and its thumbnail.
pub type Kept = (Vec<u32>, Payload, Option<Vec<u8>>);

/// All that a gallery has of each point: its code bit for bit, its payload and its thumbnail.
pub fn contents(place: &Workplace, name: &str) -> BTreeMap<String, Kept> {
    let gallery = open_in(place, name);
    Points::new(&*gallery, None)
        .map(|point| {
            let point = point.unwrap();
            let bits = point.code.iter().map(|value| value.to_bits()).collect();
            let thumbnail = gallery.thumbnail(&point.payload.blake3).unwrap();
            (point.id.to_string(), (bits, point.payload, thumbnail))
        })
        .collect()
}

/// Waits until something is so, for a minute at the most; whether it came to be.
pub fn becomes(mut so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > Duration::from_secs(60) {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}

/// A process that does not outlive its test.
pub struct Owned(pub Child);

impl Owned {
    /// Starts a command line of which nobody hears anything.
    pub fn silent(place: &Workplace, line: &str) -> Self {
        let mut command = place.command(line);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Owned {
    /// With SIGKILL.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TOKEN: &str = "a-token-for-tests";

/// `lookalike serve`, as its clients see it.
pub struct Served {
    process: Owned,
    log: NamedTempFile,
    pub address: String,
}

impl Served {
    /// Starts a server with these arguments.
    pub fn start(place: &Workplace, arguments: &str) -> Self {
        Self::with_key(place, arguments, None)
    }

    /// The same with a key for the cluster.
    pub fn with_key(place: &Workplace, arguments: &str, key: Option<&str>) -> Self {
        let line =
            format!("serve {arguments} --listen 127.0.0.1:0 --token {TOKEN} --log errors --json");
        let mut command = place.command(&line);
        let log = NamedTempFile::new().unwrap();
        command.stdout(Stdio::piped()).stderr(log.reopen().unwrap());
        if let Some(key) = key {
            command.env("LOOKALIKE_QDRANT_API_KEY", key);
        }
        let mut process = Owned(command.spawn().unwrap());
        let mut said = String::new();
        let mut output = BufReader::new(process.0.stdout.take().unwrap());
        output.read_line(&mut said).unwrap();
        let Ok(listening) = serde_json::from_str::<Value>(&said) else {
            // It has closed its output: what it had to say is said.
            let log = std::fs::read_to_string(log.path()).unwrap();
            panic!("{arguments}: {said}{log}");
        };
        let url = listening["url"].as_str().unwrap();
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        Self {
            address: address.to_owned(),
            process,
            log,
        }
    }

    /// One request to the API: its status and its body.
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.request(method, &format!("/api/v1{path}"), kind, body)
    }

    /// Whether it says that it can answer.
    pub fn is_ready(&self) -> bool {
        self.request("GET", "/readyz", "", b"").0 == 200
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let address = &self.address;
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("{method} {path}: {}", String::from_utf8_lossy(&answer)));
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_off(end + 4))
    }

    /// The JSON at a path.
    pub fn get(&self, path: &str) -> Value {
        self.expect("GET", path, "", b"")
    }

    /// A request in JSON, and its answer.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.expect(
            "POST",
            path,
            "application/json",
            body.to_string().as_bytes(),
        )
    }

    /// Sends a picture in a form, and gives the answer.
    pub fn send(&self, path: &str, name: &str, picture: &[u8]) -> Value {
        self.form(path, name, picture, "")
    }

    /// What is nearest to a picture, the same picture included.
    pub fn search(&self, picture: &[u8], k: usize) -> Value {
        let how = format!(
            "\r\n--B\r\nContent-Disposition: form-data; name=\"search\"\r\n\r\n{{\"k\": {k}, \"exclude_self\": false}}"
        );
        self.form("/search", "query.png", picture, &how)
    }

    /// A form with a picture and further parts.
    fn form(&self, path: &str, name: &str, picture: &[u8], more: &str) -> Value {
        self.expect("POST", path, FORM, &form(name, picture, more))
    }

    /// Sends a picture in a form: the status and the body of the answer.
    pub fn ask_with(&self, path: &str, name: &str, picture: &[u8]) -> (u16, Vec<u8>) {
        self.ask("POST", path, FORM, &form(name, picture, ""))
    }

    fn expect(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Value {
        let (status, answer) = self.ask(method, path, kind, body);
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "{method} {path}: {text}");
        serde_json::from_slice(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// Ends the server; gives what it logged.
    pub fn end(self) -> String {
        let Self { process, log, .. } = self;
        drop(process);
        std::fs::read_to_string(log.path()).unwrap()
    }
}

/// The ids and distances of an answer, of the program or of a server.
pub fn neighbours(answer: &Value) -> Vec<(String, f64)> {
    let hits = answer["neighbours"].as_array().unwrap().iter();
    hits.map(|hit| {
        let id = hit["id"].as_str().or(hit["image"]["id"].as_str()).unwrap();
        (id.to_owned(), hit["distance"].as_f64().unwrap())
    })
    .collect()
}
