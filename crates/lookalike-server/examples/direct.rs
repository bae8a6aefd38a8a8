//! What the server's searches by id cost without a server: the same calls of the engine, made by
//! threads of this process. `bench/serve` runs it beside the server.
//!
//! `cargo run --release --example direct -- photos.gallery 10 1 8 64` asks for 10 seconds each with
//! 1, 8 and 64 threads. Each prints a JSON object: `threads`, `searches`, `seconds`, `p50_ms`,
//! `p99_ms`, and `cpu_seconds`, the processor time of this process (null where the system has no
//! /proc).

use std::error::Error;
use std::time::{Duration, Instant};

use lookalike::autoencoder::DeviceChoice;
use lookalike::gallery::Gallery;
use lookalike::{SearchOptions, Searcher};
use serde_json::json;
use uuid::Uuid;

/// Points that are read at a time, for their ids.
const PAGE: usize = 1_000;
/// A second of processor time in /proc, on every Linux.
const TICKS: f64 = 100.0;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "give a gallery, seconds, and numbers of threads";
    let gallery = arguments.next().ok_or(usage)?;
    let time = Duration::from_secs(arguments.next().ok_or(usage)?.parse()?);
    let searcher = Searcher::open(&gallery, &[], DeviceChoice::Cpu)?;
    let ids = ids(searcher.gallery())?;
    if ids.is_empty() {
        return Err(format!("{gallery} is empty: index something first").into());
    }
    // The first searches read the codes into memory.
    measure(&searcher, &ids, 2, Duration::from_secs(1))?;
    for threads in arguments {
        let threads = threads.parse()?;
        let cpu = cpu_seconds();
        let began = Instant::now();
        let mut times = measure(&searcher, &ids, threads, time)?;
        let seconds = began.elapsed().as_secs_f64();
        let cpu = cpu.and_then(|before| Some(cpu_seconds()? - before));
        times.sort_unstable();
        let percentile = |part: f64| {
            let at = (part * (times.len() - 1) as f64).round() as usize;
            times[at].as_secs_f64() * 1e3
        };
        println!(
            "{}",
            json!({
                "threads": threads,
                "searches": times.len(),
                "seconds": seconds,
                "p50_ms": percentile(0.5),
                "p99_ms": percentile(0.99),
                "cpu_seconds": cpu,
            })
        );
    }
    Ok(())
}

fn ids(gallery: &dyn Gallery) -> Outcome<Vec<Uuid>> {
    let mut ids = Vec::new();
    loop {
        let page = gallery.scroll(ids.last().copied(), PAGE, None)?;
        ids.extend(page.iter().map(|point| point.id));
        if page.len() < PAGE {
            return Ok(ids);
        }
    }
}

/// Searches from `threads` threads for so long; how long each search took.
fn measure(
    searcher: &Searcher,
    ids: &[Uuid],
    threads: usize,
    time: Duration,
) -> Outcome<Vec<Duration>> {
    let options = SearchOptions {
        k: 5,
        exclude_self: true,
        ..SearchOptions::default()
    };
    let ask = |thread: usize| -> Outcome<Vec<Duration>> {
        let mut random = Random(thread as u64);
        let mut times = Vec::new();
        let end = Instant::now() + time;
        loop {
            let began = Instant::now();
            if began >= end {
                return Ok(times);
            }
            let id = ids[random.below(ids.len())];
            let answer = searcher.search(id, &options)?;
            if answer.neighbours.is_empty() {
                return Err("a search found nothing".into());
            }
            times.push(began.elapsed());
        }
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || ask(thread)))
            .collect();
        let mut all = Vec::new();
        for one in asking {
            all.extend(one.join().expect("a thread panicked")?);
        }
        Ok(all)
    })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// Processor time of this process so far, in all its threads.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |at: usize| rest.split_whitespace().nth(at)?.parse::<f64>().ok();
    Some((field(11)? + field(12)?) / TICKS)
}
