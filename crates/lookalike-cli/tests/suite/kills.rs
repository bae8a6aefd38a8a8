//! `kill -9` at random moments: nothing lost, nothing doubled.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::Workplace;
use lookalike::open;
use serde_json::Value;

/// Starts `line` and kills it after `delay`; whether it had ended by itself before.
fn run_and_kill(place: &Workplace, line: &str, delay: Duration) -> bool {
    let mut child = place
        .command(line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sleep(delay);
    let ended = child.try_wait().unwrap().is_some();
    if !ended {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    ended
}

/// Fractions of a whole run, unevenly spread over 0 to 0.9.
fn fractions() -> impl Iterator<Item = f64> {
    (1u32..).map(|i| 0.9 * f64::from(i * 7919 % 101) / 101.0)
}

#[test]
fn a_killed_index_is_completed_by_the_next() {
    const IMAGES: u64 = 5000;
    let place = Workplace::new(IMAGES as usize);
    let images = place.images();
    place.json(&format!(
        "train {images} --out m --epochs 1 --limit 256 --batch 64"
    ));
    let start = Instant::now();
    place.json(&format!("index {images} --model m --gallery whole"));
    let whole = start.elapsed();
    let export = |gallery: &str| {
        let (codes, payload) = (format!("{gallery}.npy"), format!("{gallery}.jsonl"));
        place.json(&format!(
            "export --gallery {gallery} --codes {codes} --payload {payload}"
        ));
        [codes, payload].map(|name| std::fs::read(place.path(&name)).unwrap())
    };
    let expected = export("whole");

    // Twenty kills, over as many galleries as get finished meanwhile.
    let line = format!("index {images} --model m --gallery g");
    let mut fractions = fractions();
    let (mut killed, mut points) = (0, 0);
    while killed < 20 {
        let ended = run_and_kill(&place, &line, whole.mul_f64(fractions.next().unwrap()));
        killed += u32::from(!ended);
        // Whatever is there opens, or is not there yet; what was there is still there.
        if place.path("g").exists() {
            let now = place.json("info g")["points"].as_u64().unwrap();
            assert!(now >= points, "{now} points of {points} are left");
            points = now;
        }
        if ended {
            assert_eq!(export("g"), expected);
            std::fs::remove_dir_all(place.path("g")).unwrap();
            points = 0;
        }
    }
    assert_eq!(place.json(&line)["points"], IMAGES);
    // The same codes and the same answers as in one go.
    assert_eq!(export("g"), expected);
    let ask = |gallery: &str| {
        let mut answer = place.json(&format!(
            "search {images}#7 --gallery {gallery} --exact --include-self"
        ));
        answer["neighbours"].take()
    };
    assert_eq!(ask("g"), ask("whole"));
}

#[test]
fn a_killed_training_run_resumes_to_the_same_model() {
    let place = Workplace::new(1000);
    let images = place.images();
    let mut fractions = fractions();
    let mut killed = 0;
    for seed in 0.. {
        if killed >= 20 {
            break;
        }
        let line = format!(
            "train {images} --epochs 3 --batch 32 --seed {seed} --checkpoint-every 0.02 --resume"
        );
        let start = Instant::now();
        let whole = place.json(&format!("{line} --out whole"));
        let time = start.elapsed();
        let parts = format!("{line} --out parts");
        while !place.path("parts").exists() {
            let delay = time.mul_f64(fractions.next().unwrap());
            killed += u32::from(!run_and_kill(&place, &parts, delay));
        }
        // The finished run once more, which finds that there is nothing to do.
        let parts = place.json(&parts);
        let losses = |report: &serde_json::Value| -> Vec<f64> {
            let epochs = report["epochs"].as_array().unwrap();
            epochs.iter().map(|e| e["loss"].as_f64().unwrap()).collect()
        };
        assert_eq!(losses(&parts), losses(&whole));
        let codes = |model: &str| {
            place.json(&format!(
                "index {images} --model {model} --gallery g --no-diffusion"
            ));
            place.json("export --gallery g --codes codes.npy");
            std::fs::remove_dir_all(place.path("g")).unwrap();
            std::fs::read(place.path("codes.npy")).unwrap()
        };
        assert_eq!(codes("parts"), codes("whole"));
        for file in ["parts", "whole"] {
            std::fs::remove_file(place.path(file)).unwrap();
        }
    }
}

const TOKEN: &str = "a-token-for-tests";

/// A process that does not outlive its test.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on the gallery `g`, and where it listens.
fn serve(place: &Workplace) -> (Owned, String) {
    let line =
        format!("serve --gallery g --listen 127.0.0.1:0 --token {TOKEN} --log errors --json");
    let child = place.command(&line).stdout(Stdio::piped()).spawn();
    let mut server = Owned(child.unwrap());
    let mut said = String::new();
    let mut output = BufReader::new(server.0.stdout.take().unwrap());
    output.read_line(&mut said).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let url = said["url"].as_str().unwrap();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    (server, address.to_owned())
}

/// One request; its status and JSON, or none if the server is gone.
fn ask(address: &str, method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

/// Adds an image; its id, if that was acknowledged.
fn add(address: &str, name: usize, png: &[u8]) -> Option<String> {
    let head = format!(
        "--B\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}.png\"\r\n\r\n"
    );
    let body = [head.as_bytes(), png, b"\r\n--B--\r\n"].concat();
    let (status, answer) = ask(address, "POST", "/api/v1/images", &body)?;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["failed"], 0, "{answer}");
    Some(answer["items"][0]["id"].as_str()?.to_owned())
}

#[test]
fn a_killed_server_keeps_what_it_acknowledged() {
    const THERE: usize = 200;
    let place = Workplace::new(THERE);
    let images = place.images();
    place.json(&format!("train {images} --out m --epochs 1 --batch 64"));
    place.json(&format!(
        "index {images} --model m --gallery g --no-diffusion"
    ));
    let digits = open("mnist:test")
        .unwrap()
        .load(None, Some(THERE + 600))
        .unwrap();
    let png = |number: usize| digits.picture(number).to_png().unwrap();

    let (mut kept, mut gone) = (Vec::<String>::new(), Vec::<String>::new());
    let mut next = THERE;
    for round in 0..5 {
        let (server, address) = serve(&place);
        // Whatever was acknowledged before is there, and what was deleted is not.
        for id in &kept {
            let (status, _) = ask(
                &address,
                "GET",
                &format!("/api/v1/images/{id}/original"),
                b"",
            )
            .unwrap();
            assert_eq!(status, 200, "round {round}: {id} is lost");
        }
        for id in &gone {
            let (status, _) = ask(&address, "GET", &format!("/api/v1/images/{id}"), b"").unwrap();
            assert_eq!(status, 404, "round {round}: {id} is back");
        }
        // Killed from aside, in the middle of whatever it does after so many were acknowledged.
        let pid = server.0.id();
        let (acknowledged, enough) = mpsc::channel();
        let killer = std::thread::spawn(move || {
            let _ = enough.iter().take(8 + 8 * round).count();
            sleep(Duration::from_millis(7 * round as u64));
            // SAFETY: the process is ours, and is not waited for before this thread has ended.
            unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
        });
        while next < THERE + 600 {
            let Some(id) = add(&address, next, &png(next)) else {
                break;
            };
            kept.push(id);
            // Once it has enough, nobody counts.
            let _ = acknowledged.send(());
            next += 1;
            if next.is_multiple_of(7) {
                let id = kept.swap_remove(kept.len() / 2);
                match ask(&address, "DELETE", &format!("/api/v1/images/{id}"), b"") {
                    Some((204, _)) => gone.push(id),
                    // Not acknowledged: it may be there or not.
                    None => break,
                    Some((status, answer)) => panic!("{status} {answer}"),
                }
            }
        }
        drop(acknowledged);
        killer.join().unwrap();
        drop(server);
        // That one may be stored without a word of it: it is not asked after.
        next += 1;
    }
    assert!(kept.len() >= 80, "only {} were kept", kept.len());
    assert!(gone.len() >= 8, "only {} were removed", gone.len());
}
