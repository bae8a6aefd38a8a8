//! The index against the truth.

use std::time::Instant;

use lookalike_gallery::{CodeSpec, EmbeddedGallery, Gallery, GalleryOptions, SearchRequest};
use lookalike_neighbours::Metric;

use crate::place::folder;
use crate::suite::samples::{Random, point};

#[test]
fn the_index_finds_what_is_there() {
    const DIMS: usize = 32;
    const QUERIES: usize = 200;
    const K: usize = 10;
    let mut random = Random(31);
    let centres: Vec<_> = (0..50).map(|_| random.code(DIMS)).collect();
    let mut near = |i: usize| -> Vec<f32> {
        let centre = &centres[i % centres.len()];
        centre.iter().map(|x| x + 0.3 * random.float()).collect()
    };
    let points: Vec<_> = (0..10_000).map(|i| point(i, near(i))).collect();
    let queries: Vec<_> = (0..QUERIES).map(&mut near).collect();
    let folder = folder();
    let path = folder.path().join("test.gallery");
    let gallery = EmbeddedGallery::create(
        path,
        &CodeSpec::new(Metric::Cosine, DIMS, b""),
        &GalleryOptions::new(),
    )
    .unwrap();
    gallery.set_screen_limit(0);
    let start = Instant::now();
    gallery.upsert(&points).unwrap();
    let upserted = start.elapsed();
    let start = Instant::now();
    assert!(gallery.optimise().unwrap());
    let built = start.elapsed();
    let answers = |exact: bool| -> Vec<_> {
        let answer = |code: &Vec<f32>| {
            let request = SearchRequest {
                exact,
                ..SearchRequest::new(code.clone(), K)
            };
            let answer = gallery.search(&request).unwrap();
            assert_eq!(answer.exact, exact);
            answer.neighbours
        };
        queries.iter().map(answer).collect()
    };
    let exact = answers(true);
    let start = Instant::now();
    let indexed = answers(false);
    let each = start.elapsed() / QUERIES as u32;
    let found: usize = exact
        .iter()
        .zip(&indexed)
        .map(|(exact, indexed)| exact.iter().filter(|hit| indexed.contains(hit)).count())
        .sum();
    let recall = found as f64 / (QUERIES * K) as f64;
    println!("upserted in {upserted:?}, index in {built:?}, {each:?} a query, recall {recall}");
    assert!(recall >= 0.999, "recall {recall}");
}
