//! How long searches take while the index of a gallery is built anew beside them.
//!
//! `cargo run --release --workspace --example maintenance -- 10000` prints percentiles in
//! milliseconds: of searches on a gallery that rests, and of those that were asked while points
//! were deleted and the index was brought up to date.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lookalike_gallery::{
    CodeSpec, EmbeddedGallery, Gallery, GalleryOptions, Payload, Point, SearchRequest, point_id,
};
use lookalike_neighbours::Metric;

const DIMS: usize = 256;

/// Numbers from -1 to 1 that only depend on the seed.
fn code(seed: usize) -> Vec<f32> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..DIMS).map(next).collect()
}

fn point(number: usize) -> Point {
    let key = number.to_string();
    Point {
        id: point_id("numbers", &key),
        code: code(number),
        payload: Payload {
            source: "numbers".into(),
            blake3: format!("{number:064x}"),
            key,
            width: 28,
            height: 28,
            ..Payload::default()
        },
    }
}

/// Searches until told to stop; the milliseconds that each took, sorted.
fn searches(gallery: &dyn Gallery, until: impl Fn(usize) -> bool) -> Vec<f64> {
    let mut took = Vec::new();
    while !until(took.len()) {
        let request = SearchRequest::new(code(1_000_000 + took.len()), 20);
        let began = Instant::now();
        gallery.search(&request).expect("it can be searched");
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    took
}

fn report(name: &str, took: &[f64]) {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{name}: {} searches, median {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
        took.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(Ok(10_000), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let gallery = EmbeddedGallery::create(
        folder.path().join("g"),
        &CodeSpec::new(Metric::Cosine, DIMS, b"model"),
        &GalleryOptions::new(),
    )?;
    for numbers in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let points: Vec<Point> = numbers.iter().copied().map(point).collect();
        gallery.upsert(&points)?;
    }
    gallery.optimise()?;
    report("at rest", &searches(&gallery, |done| done == 2_000));
    let done = AtomicBool::new(false);
    let during = std::thread::scope(|scope| -> Result<_, Box<dyn std::error::Error>> {
        let searching = scope.spawn(|| searches(&gallery, |_| done.load(Ordering::Relaxed)));
        // Enough that the index is worth building anew.
        let gone: Vec<_> = (0..count / 3).map(|number| point(number).id).collect();
        let began = Instant::now();
        gallery.delete(&gone)?;
        let built = gallery.optimise()?;
        println!(
            "maintenance: {:.2} s, built anew: {built}",
            began.elapsed().as_secs_f64()
        );
        done.store(true, Ordering::Relaxed);
        Ok(searching.join().expect("searching does not panic"))
    })?;
    report("during maintenance", &during);
    Ok(())
}
