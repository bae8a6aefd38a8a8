//! What an embedded gallery promises of tiles.

use std::path::Path;

use lookalike_gallery::{
    Answer, CodeSpec, EmbeddedGallery, Filter, Gallery, GalleryError, GalleryOptions, Mmr, Point,
    Points, Rectangle, Rerank, SearchRequest, TileInfo, Tiles,
};
use lookalike_neighbours::Metric;

use crate::place::folder;
use crate::suite::samples::{Random, point};

const DIMS: usize = 16;
const POINTS: usize = 40;

fn open(path: &Path) -> EmbeddedGallery {
    EmbeddedGallery::open_or_create(
        path,
        &CodeSpec::new(Metric::Cosine, DIMS, b"model"),
        &GalleryOptions::new(),
    )
    .unwrap()
}

fn code(seed: usize) -> Vec<f32> {
    Random(seed as u64).code(DIMS)
}

/// Every content has three tiles; that of a point has the number of its key.
fn tiles(content: usize) -> Tiles {
    let region = |x| Rectangle {
        x,
        y: 1,
        width: 10,
        height: 8,
    };
    Tiles {
        regions: vec![region(0), region(5), region(10)],
        codes: (1..=3)
            .flat_map(|tile| code(1_000 * tile + content))
            .collect(),
    }
}

/// The code of the second tile of a content.
fn part(content: usize) -> Vec<f32> {
    code(2_000 + content)
}

fn put(gallery: &EmbeddedGallery, contents: impl IntoIterator<Item = usize>) {
    let all: Vec<_> = contents
        .into_iter()
        .map(|c| (format!("{c:064x}"), tiles(c)))
        .collect();
    let all: Vec<_> = all
        .iter()
        .map(|(hash, tiles)| (hash.as_str(), tiles))
        .collect();
    gallery.put_tiles(&all).unwrap();
}

fn sample(number: usize) -> Point {
    point(number, code(number))
}

fn filled(path: &Path) -> EmbeddedGallery {
    let gallery = open(path);
    put(&gallery, 0..POINTS);
    gallery
        .upsert(&(0..POINTS).map(sample).collect::<Vec<_>>())
        .unwrap();
    gallery
}

fn search(gallery: &EmbeddedGallery, code: Vec<f32>) -> Answer {
    gallery.search_tiles(&SearchRequest::new(code, 3)).unwrap()
}

/// Key and left edge of the region of the first.
fn first(answer: &Answer) -> (&str, Option<u32>) {
    let first = &answer.neighbours[0];
    (&first.payload.key, first.region.map(|region| region.x))
}

#[test]
fn parts_and_wholes_are_found_and_each_image_once() {
    let folder = folder();
    let path = folder.path().join("g");
    let gallery = filled(&path);
    for _ in 0..2 {
        let answer = search(&gallery, part(7));
        assert_eq!(first(&answer), ("7", Some(5)));
        assert!(answer.neighbours[0].distance < 1e-3, "{answer:?}");
        assert!(answer.notes.is_empty(), "{answer:?}");
        let whole = search(&gallery, code(7));
        assert_eq!(first(&whole), ("7", None));
        assert!(whole.neighbours[0].distance.abs() < 1e-6, "{whole:?}");
        let all = gallery
            .search_tiles(&SearchRequest::new(part(3), 1_000))
            .unwrap();
        let mut keys: Vec<_> = all.neighbours.iter().map(|hit| &hit.payload.key).collect();
        assert!(all.neighbours.is_sorted_by(|a, b| a.distance <= b.distance));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), POINTS);
    }
    // Points are what they were, and so is whatever goes through them.
    assert_eq!(gallery.describe().unwrap().points, POINTS);
    assert_eq!(Points::new(&gallery, None).count(), POINTS);
    drop(gallery);
    let gallery = open(&path);
    assert_eq!(first(&search(&gallery, part(7))), ("7", Some(5)));
    // All as with every tile compared by hand.
    for seed in 0..20 {
        let query = code(90_000 + seed);
        let answer = gallery
            .search_tiles(&SearchRequest::new(query.clone(), 5))
            .unwrap();
        let best = |content: usize| {
            let tiles = tiles(content);
            let codes = tiles
                .codes
                .chunks(DIMS)
                .map(<[f32]>::to_vec)
                .chain([code(content)]);
            codes
                .map(|code| Metric::Cosine.distance(&query, &code))
                .fold(f32::MAX, f32::min)
        };
        let mut expected: Vec<_> = (0..POINTS).map(best).collect();
        expected.sort_by(f32::total_cmp);
        for (hit, expected) in answer.neighbours.iter().zip(expected) {
            assert!((hit.distance - expected).abs() < 0.01, "{seed}: {hit:?}");
        }
    }
}

#[test]
fn conditions_apply_to_the_points() {
    let folder = folder();
    let gallery = filled(&folder.path().join("g"));
    let ask = |change: fn(&mut SearchRequest)| {
        let mut request = SearchRequest::new(part(7), 3);
        change(&mut request);
        gallery.search_tiles(&request)
    };
    let other = ask(|request| request.filter = Some(Filter::condition("label=8").unwrap()));
    let other = other.unwrap();
    assert_eq!(other.neighbours.len(), 3);
    let labels = other
        .neighbours
        .iter()
        .map(|hit| hit.payload.label.as_deref());
    assert!(labels.into_iter().all(|label| label == Some("8")));
    let near = ask(|request| request.max_distance = Some(0.01)).unwrap();
    assert_eq!((near.neighbours.len(), first(&near)), (1, ("7", Some(5))));
    let excluded = ask(|request| request.exclude = Some(sample(7).id)).unwrap();
    assert_ne!(first(&excluded).0, "7");
    // Another point of the same content is found beside it.
    let mut twin = sample(999);
    twin.payload.blake3 = sample(7).payload.blake3;
    gallery.upsert(&[twin]).unwrap();
    let both = search(&gallery, part(7));
    let mut keys: Vec<_> = both.neighbours[..2]
        .iter()
        .map(|hit| &hit.payload.key)
        .collect();
    keys.sort();
    assert_eq!(keys, ["7", "999"]);
    assert_eq!(both.neighbours[1].region.unwrap().x, 5);
    for refused in [
        ask(|request| request.metric = Some(Metric::Euclidean)),
        ask(|request| request.rerank = Rerank::Diffusion),
        ask(|request| {
            request.diverse = Some(Mmr {
                lambda: 0.5,
                candidates: 10,
            });
        }),
        ask(|request| request.code.truncate(3)),
        ask(|request| request.code[0] = f32::NAN),
    ] {
        assert!(refused.is_err());
    }
}

#[test]
fn tiles_follow_what_is_stored_and_removed() {
    let folder = folder();
    let path = folder.path().join("g");
    let gallery = filled(&path);
    search(&gallery, part(1));
    // Stored since they were read.
    put(&gallery, [100]);
    gallery.upsert(&[sample(100)]).unwrap();
    assert_eq!(first(&search(&gallery, part(100))), ("100", Some(5)));
    // A point whose tiles nobody made.
    gallery.upsert(&[sample(101)]).unwrap();
    let info = gallery.tile_info().unwrap();
    assert_eq!(
        (info.images, info.missing, info.tiles),
        (POINTS + 1, 1, 3 * (POINTS + 1))
    );
    assert!(!gallery.has_tiles(&sample(101).payload.blake3).unwrap());
    drop(gallery);
    let gallery = open(&path);
    let notes = search(&gallery, part(101)).notes;
    assert!(notes[0].contains("1 images have no tiles"), "{notes:?}");
    put(&gallery, [101]);
    let found = search(&gallery, part(101));
    assert_eq!((first(&found), found.notes.len()), (("101", Some(5)), 0));
    // Of points that are gone nothing is found, before and after their tiles went.
    let gone: Vec<_> = (0..20).map(|number| sample(number).id).collect();
    gallery.delete(&gone).unwrap();
    assert_ne!(first(&search(&gallery, part(7))).0, "7");
    assert_eq!(search(&gallery, part(7)).neighbours.len(), 3);
    gallery.optimise().unwrap();
    assert_eq!(gallery.tile_info().unwrap().images, POINTS + 2 - 20);
    assert_ne!(first(&search(&gallery, part(7))).0, "7");
    assert_eq!(first(&search(&gallery, part(30))), ("30", Some(5)));
    // A copy has them, whole or one by one.
    let copy = folder.path().join("copy");
    assert!(gallery.copy_whole(&copy).unwrap());
    assert_eq!(first(&search(&open(&copy), part(30))), ("30", Some(5)));
    let other = open(&folder.path().join("other"));
    let point = sample(30);
    gallery
        .copy_tiles(&other, &[&point.payload.blake3, "no hash"])
        .unwrap();
    other.upsert(&[point]).unwrap();
    assert_eq!(first(&search(&other, part(30))), ("30", Some(5)));
    gallery.drop_tiles().unwrap();
    assert_eq!(gallery.tile_info().unwrap().images, 0);
    let error = gallery
        .search_tiles(&SearchRequest::new(part(1), 1))
        .unwrap_err();
    assert!(error.to_string().contains("keeps no tiles"), "{error}");
}

#[test]
fn tiles_that_are_put_again_or_held_outlast_the_next_sweep() {
    let folder = folder();
    let gallery = filled(&folder.path().join("g"));
    let has = |number: usize| gallery.has_tiles(&sample(number).payload.blake3).unwrap();
    let hold = |number: usize| gallery.hold_tiles(&sample(number).payload.blake3).unwrap();
    let gone: Vec<_> = (0..20).map(|number| sample(number).id).collect();
    gallery.delete(&gone).unwrap();
    assert!(hold(1));
    put(&gallery, [2]);
    gallery.optimise().unwrap();
    assert_eq!([1, 2, 3].map(has), [true, true, false]);
    assert!(!hold(3));
    gallery.upsert(&[sample(1), sample(2)]).unwrap();
    gallery.optimise().unwrap();
    assert_eq!([1, 2, 30].map(has), [true; 3]);
    // They are held no longer.
    gallery.delete(&gone).unwrap();
    gallery.optimise().unwrap();
    assert_eq!([1, 2, 30].map(has), [false, false, true]);
}

#[test]
fn tiles_that_are_added_count_towards_the_memory() {
    let folder = folder();
    let gallery = filled(&folder.path().join("g"));
    let ask = || gallery.search_tiles(&SearchRequest::new(part(1), 1));
    let before = gallery.tile_info().unwrap().memory;
    gallery.set_tile_limit(before);
    ask().unwrap();
    put(&gallery, [100]);
    let error = ask().unwrap_err().to_string();
    assert!(error.contains("bytes of memory"), "{error}");
    // Up to the limit they are added to those that were read.
    gallery.set_tile_limit(gallery.tile_info().unwrap().memory);
    ask().unwrap();
    put(&gallery, [100]);
    ask().unwrap();
}

#[test]
fn memory_is_bounded_and_damage_is_missing() {
    let folder = folder();
    let path = folder.path().join("g");
    let gallery = filled(&path);
    let TileInfo { memory, bytes, .. } = gallery.tile_info().unwrap();
    assert!(
        bytes >= (POINTS * 3 * DIMS) as u64 && memory > bytes / 2,
        "{memory}, {bytes}"
    );
    gallery.set_tile_limit(memory - 1);
    let error = gallery
        .search_tiles(&SearchRequest::new(part(1), 1))
        .unwrap_err();
    assert!(error.to_string().contains("bytes of memory"), "{error}");
    gallery.set_tile_limit(memory);
    search(&gallery, part(1));
    drop(gallery);
    // One byte of the last code.
    let file = path.join("tiles/00000001.tiles");
    let mut content = std::fs::read(&file).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&file, content).unwrap();
    let gallery = open(&path);
    let answer = search(&gallery, part(1));
    assert_eq!(first(&answer), ("1", Some(5)));
    assert_eq!(answer.notes.len(), 1, "{answer:?}");
    let bad = Tiles {
        codes: vec![0.0; 5],
        ..tiles(1)
    };
    let error = gallery
        .put_tiles(&[(&format!("{:064x}", 7), &bad)])
        .unwrap_err();
    assert!(matches!(error, GalleryError::BadRequest(_)), "{error}");
}
