//! The program as a server: what it says to others that want its gallery, and its log.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::common::{Workplace, stderr};
use lookalike::open;
use serde_json::Value;

/// A server that ends with the test, whatever becomes of it.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    /// Nobody reads its standard error until somebody takes it.
    fn new(place: &Workplace, arguments: &str) -> Self {
        let mut child = place
            .command(&format!(
                "serve --gallery g --listen 127.0.0.1:0 --json {arguments}"
            ))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut told).unwrap();
        let told: Value = serde_json::from_str(&told).unwrap();
        let url = told["url"].as_str().unwrap();
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        Self {
            address: address.to_owned(),
            child,
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        // One that is held up for ever is an error, not a wait without end.
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to end.
    fn terminate(&self) {
        // SAFETY: a signal to a child of ours that has not been waited for.
        let sent = unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        assert_eq!(sent, 0);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn place_with_gallery() -> Workplace {
    let place = Workplace::new(1);
    let digits = open("mnist:test").unwrap().load(None, Some(40)).unwrap();
    fs::create_dir(place.path("photos")).unwrap();
    for index in 0..digits.len() {
        let picture = digits.picture(index);
        picture
            .write_png(place.path(&format!("photos/{index}.png")))
            .unwrap();
    }
    place.json("train photos --out m --epochs 1 --batch 32");
    place.json("index photos --model m --gallery g");
    place
}

#[test]
fn who_holds_a_gallery_is_named_and_can_follow_a_folder() {
    let place = place_with_gallery();
    let served = Serving::new(&place, "--log errors --watch photos");
    let holder = format!("in use by lookalike serve (pid {})", served.child.id());
    for (line, advice) in [
        ("search photos/0.png --gallery g", ""),
        (
            "index photos --model m --gallery g",
            "lookalike serve --gallery 'g' --watch 'photos'",
        ),
        (
            "index photos --gallery g",
            "lookalike serve --gallery 'g' --watch 'photos'",
        ),
    ] {
        let output = place.run(line);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(
            said.contains(&holder) && said.contains(advice),
            "{line}: {said}"
        );
    }
    // And when it has ended, nobody does.
    served.terminate();
    let mut served = served;
    assert!(served.child.wait().unwrap().success());
    place.json("search photos/0.png --gallery g");
    assert_eq!(fs::read_to_string(place.path("g/lock")).unwrap(), "");
}

#[test]
fn an_address_in_use_is_named_with_the_option_that_changes_it() {
    let place = place_with_gallery();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = place.run(&format!("serve --gallery g --listen {address}"));
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains(&format!(
            "cannot listen on {address}: the address is in use already"
        )) && said.contains("choose another address with --listen"),
        "{said}"
    );
}

#[test]
fn only_a_folder_can_be_watched() {
    let place = place_with_gallery();
    let output = place.run("serve --gallery g --listen 127.0.0.1:0 --watch photos/0.png");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("photos/0.png") && said.contains("folder"),
        "{said}"
    );
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_request_and_is_whole_in_the_end() {
    const REQUESTS: usize = 600;
    let place = place_with_gallery();
    let mut served = Serving::new(&place, "--log json");
    // Several times what a pipe holds.
    let path = format!("/nothing-{}", "x".repeat(400));
    for _ in 0..REQUESTS {
        let answer = served.get(&path);
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    served.terminate();
    let mut log = String::new();
    let mut lines = served.child.stderr.take().unwrap();
    lines.read_to_string(&mut log).unwrap();
    assert!(served.child.wait().unwrap().success());
    assert!(log.len() > 2 << 16, "{} bytes would fit", log.len());
    let answered = |line: &&str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["message"] == "answered"
    };
    assert_eq!(log.lines().filter(answered).count(), REQUESTS);
    assert!(log.lines().last().unwrap().contains("stopped"));
}
