//! `kill -9` at random moments: nothing lost, nothing doubled.

mod common;

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Workplace;

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
        let mut answer = place.json(&format!("search {images}#7 --gallery {gallery} --exact"));
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
