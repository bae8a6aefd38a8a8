//! The examples of docs/server.md, run as they are printed. They need bash, curl 7.82 or newer, and
//! Python 3.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::common::Workplace;
use lookalike::open;
use serde_json::Value;

/// Images that are indexed; those behind them are new to the gallery.
const INDEXED: usize = 300;
const TOKEN: &str = "for-the-examples-only";

/// A server that ends with the test, whatever becomes of it.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The fenced blocks of a language, one after the other.
fn blocks(text: &str, language: &str) -> (usize, String) {
    let (mut count, mut inside, mut found) = (0, false, String::new());
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(name) => {
                inside = name == language;
                count += usize::from(inside);
            }
            None if inside => {
                found.push_str(line);
                found.push('\n');
            }
            None => {}
        }
    }
    (count, found)
}

/// Runs a script that is handed over on standard input.
fn run(place: &Workplace, url: &str, command: &[&str], script: &str) -> Output {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .current_dir(place.path("work"))
        .env("LOOKALIKE", url)
        .env("TOKEN", TOKEN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} is needed: {error}", command[0]));
    let mut input = child.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}: {}\n{}",
        command[0],
        String::from_utf8_lossy(&output.stdout),
        crate::common::stderr(&output)
    );
    output
}

#[test]
fn the_documentations_examples_work() {
    let place = Workplace::new(INDEXED);
    let images = place.images();
    place.json(&format!("train {images} --out m --epochs 1 --batch 64"));
    place.json(&format!("index {images} --model m --gallery g"));
    let digits = open("mnist:test")
        .unwrap()
        .load(None, Some(INDEXED + 4))
        .unwrap();
    fs::create_dir_all(place.path("work/more")).unwrap();
    let write = |index: usize, name: &str| {
        let picture = digits.picture(index);
        picture.write_png(place.path("work").join(name)).unwrap();
    };
    write(INDEXED, "query.png");
    for new in 1..4 {
        write(INDEXED + new, &format!("more/{new}.png"));
    }

    let mut serving = Serving(
        place
            .command("serve --gallery g --listen 127.0.0.1:0 --json --log errors --token")
            .arg(TOKEN)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut told = String::new();
    let mut output = BufReader::new(serving.0.stdout.take().unwrap());
    output.read_line(&mut told).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let url = told["url"].as_str().unwrap().trim_end_matches('/');

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/server.md");
    let text = fs::read_to_string(path).unwrap();
    let (count, script) = blocks(&text, "sh");
    assert!(count >= 8, "{count}");
    let output = run(&place, url, &["bash", "-euo", "pipefail"], &script);
    // What is piped away does not end bash: that the answers mean something is seen here.
    let output = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.matches("\"neighbours\":[{").count(), 5, "{output}");
    assert!(output.contains("\"added\":3,"), "{output}");
    assert!(output.contains("\"status\":\"changed\""), "{output}");
    assert!(place.path("work/thumbnail").metadata().unwrap().len() > 0);

    let (count, script) = blocks(&text, "python");
    assert!(count >= 7, "{count}");
    let output = run(&place, url, &["python3", "-"], &script);
    let output = String::from_utf8(output.stdout).unwrap();
    // Two of the three are there from before; the first was replaced and deleted there.
    assert!(output.contains("1 deleted"), "{output}");
    assert!(
        output.contains(&format!("{} images", INDEXED + 2)),
        "{output}"
    );
}
