//! Files that are missing, cut short, damaged or made up.

use std::fs;
use std::path::Path;

use super::segment::HEAD;
use super::*;

const COUNT: usize = 30;

fn hash(number: usize) -> Hash {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn bytes(number: usize) -> Vec<u8> {
    vec![number as u8; number * 7 % 50]
}

fn put(store: &mut Store, numbers: impl Iterator<Item = usize>) {
    let all: Vec<_> = numbers.map(|n| (hash(n), bytes(n))).collect();
    let all: Vec<_> = all.iter().map(|(h, b)| (*h, b.as_slice())).collect();
    let missing = store.missing(&all);
    store.put(&missing).unwrap();
}

fn get(store: &Store, number: usize) -> Option<Vec<u8>> {
    match store.get(&hash(number)).unwrap() {
        Read::Whole(bytes) => Some(bytes),
        _ => None,
    }
}

/// How many are there; those that are must be whole.
fn whole(store: &Store) -> usize {
    let there = (0..COUNT).filter_map(|n| Some((n, get(store, n)?)));
    there
        .inspect(|(n, found)| assert_eq!(*found, bytes(*n)))
        .count()
}

/// A folder with two files of blobs and an index.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    store.full = 1_100;
    put(&mut store, 0..COUNT / 2);
    put(&mut store, COUNT / 3..COUNT);
    assert_eq!(store.segments.len(), 2);
    assert_eq!(whole(&store), COUNT);
    store.save().unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_index_that_is_missing_or_behind_is_made_anew() {
    let folder = filled();
    let index = folder.path().join(INDEX);
    let store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    assert!(!store.rescanned && !store.dirty, "the index says all");
    assert_eq!(whole(&store), COUNT);
    let before = fs::read(&index).unwrap();
    let mut store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    put(&mut store, COUNT..COUNT + 5);
    drop(store);
    let mut store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    assert!(store.rescanned);
    assert!((COUNT..COUNT + 5).all(|n| get(&store, n) == Some(bytes(n))));
    store.save().unwrap();
    assert_ne!(fs::read(&index).unwrap(), before);
    let saved = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    let mut store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    assert_eq!(whole(&store), COUNT);
    store.save().unwrap();
    assert_eq!(fs::read(&index).unwrap(), saved);
}

#[test]
fn every_changed_byte_of_the_index_is_noticed() {
    let folder = filled();
    let index = folder.path().join(INDEX);
    let good = fs::read(&index).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x11;
        fs::write(&index, changed).unwrap();
        let store = Store::open(folder.path(), &THUMBNAILS).unwrap();
        assert!(store.rescanned, "byte {at}");
        assert_eq!(whole(&store), COUNT, "byte {at}");
        fs::write(&index, &good[..at]).unwrap();
        let store = Store::open(folder.path(), &THUMBNAILS).unwrap();
        assert!(store.rescanned && whole(&store) == COUNT, "cut to {at}");
    }
}

#[test]
fn an_index_that_lies_does_no_harm() {
    let folder = filled();
    let index = folder.path().join(INDEX);
    let good = fs::read(&index).unwrap();
    let body = good.len() - 32;
    // Every number of the file, with a checksum that fits.
    for at in (8..body).step_by(4) {
        for lie in [0, 1, 2, 15, 17, 0x7fff_ffff, u32::MAX] {
            let mut changed = good[..body].to_vec();
            changed[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            let check = blake3::hash(&changed);
            changed.extend(check.as_bytes());
            fs::write(&index, changed).unwrap();
            // Blobs that it hides or misplaces are missing, those that are given are right.
            whole(&Store::open(folder.path(), &THUMBNAILS).unwrap());
        }
    }
}

/// The same files in another folder.
fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in names(folder) {
        fs::copy(folder.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

#[test]
fn a_torn_tail_is_cut_off() {
    let folder = filled();
    fs::remove_file(folder.path().join(INDEX)).unwrap();
    let good = fs::read(folder.path().join("00000002.thumbs")).unwrap();
    let mut before = COUNT;
    for length in (0..good.len()).rev() {
        let torn = copied(folder.path());
        fs::write(torn.path().join("00000002.thumbs"), &good[..length]).unwrap();
        let mut store = Store::open(torn.path(), &THUMBNAILS).unwrap();
        let now = whole(&store);
        assert!(
            now == before || now + 1 == before,
            "at {length} {now} of {before}"
        );
        before = now;
        // What was cut off can be put again, and is found by the next opening.
        put(&mut store, 0..COUNT);
        assert_eq!(whole(&store), COUNT, "cut to {length}");
        drop(store);
        let store = Store::open(torn.path(), &THUMBNAILS).unwrap();
        assert_eq!(whole(&store), COUNT, "cut to {length}");
    }
    assert!(before < COUNT);
}

#[test]
fn damaged_bytes_are_missing_and_nothing_else() {
    let folder = filled();
    let good = fs::read(folder.path().join("00000001.thumbs")).unwrap();
    for (at, with_index) in (0..good.len()).flat_map(|at| [(at, true), (at, false)]) {
        let damaged = copied(folder.path());
        let mut changed = good.clone();
        changed[at] ^= 0x21;
        fs::write(damaged.path().join("00000001.thumbs"), &changed).unwrap();
        if !with_index {
            fs::remove_file(damaged.path().join(INDEX)).unwrap();
        }
        let mut store = Store::open(damaged.path(), &THUMBNAILS).unwrap();
        let found = whole(&store);
        if with_index && at >= HEADER as usize {
            assert_eq!(found, COUNT - 1, "byte {at}");
        }
        assert!(found < COUNT, "byte {at}");
        // As the gallery does when it is asked for one of them.
        let missing: Vec<_> = (0..COUNT).filter(|&n| get(&store, n).is_none()).collect();
        missing.iter().for_each(|&n| store.forget(&hash(n)));
        put(&mut store, 0..COUNT);
        assert_eq!(whole(&store), COUNT, "byte {at}");
        drop(store);
        assert_eq!(
            whole(&Store::open(damaged.path(), &THUMBNAILS).unwrap()),
            COUNT,
            "byte {at}"
        );
    }
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let folder = filled();
    for (name, content) in [
        ("notes.txt", "mine"),
        ("00000009.thumbs", "not blobs at all, but long enough"),
        ("00000010.thumbs", ""),
        ("7.thumbs", "x"),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    fs::write(folder.path().join("00000003.partial"), "left behind").unwrap();
    let mut store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    assert_eq!(whole(&store), COUNT);
    store.full = 0;
    put(&mut store, COUNT..COUNT + 1);
    drop(store);
    assert_eq!(
        names(folder.path()),
        [
            "00000001.thumbs",
            "00000002.thumbs",
            "00000009.thumbs",
            "00000010.thumbs",
            "00000011.thumbs",
            "7.thumbs",
            INDEX,
            "notes.txt"
        ]
    );
    fs::write(folder.path().join("4294967295.thumbs"), "").unwrap();
    let mut store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    store.full = 0;
    let error = store.put(&[(hash(99), b"99")]).unwrap_err();
    assert!(error.to_string().contains("highest number"), "{error}");
}

#[test]
fn a_sweep_copies_what_is_needed_and_survives_any_end() {
    let folder = filled();
    let needed = |key: &Key| (0..COUNT).any(|n| n % 3 == 0 && super::key(&hash(n)) == *key);
    let there = |store: &Store| -> Vec<_> {
        (0..COUNT)
            .filter(|&n| get(store, n) == Some(bytes(n)))
            .collect()
    };
    let expected: Vec<_> = (0..COUNT).filter(|n| n % 3 == 0).collect();
    // As left by a process killed before the old files were removed.
    let killed = copied(folder.path());
    let mut store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    let dropped = store.drop_all_but(needed);
    assert_eq!((dropped.gone, &dropped.worth[..]), (20, &[1, 2][..]));
    assert_eq!(there(&store), expected);
    store.compact(&dropped.worth).unwrap();
    assert_eq!(there(&store), expected);
    assert!(!store.dirty);
    let length = fs::metadata(folder.path().join("00000003.thumbs"))
        .unwrap()
        .len();
    assert_eq!(length, dropped.room - HEADER, "one header for two");
    drop(store);
    assert_eq!(names(folder.path()), ["00000003.thumbs", INDEX]);
    let store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    assert!(!store.rescanned);
    assert_eq!(there(&store), expected);
    drop(store);
    for name in ["00000003.thumbs", INDEX] {
        fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
        let store = Store::open(killed.path(), &THUMBNAILS).unwrap();
        assert!(expected.iter().all(|n| there(&store).contains(n)), "{name}");
    }
    let mut store = Store::open(killed.path(), &THUMBNAILS).unwrap();
    let dropped = store.drop_all_but(needed);
    store.compact(&dropped.worth).unwrap();
    assert_eq!(there(&store), expected);
    // Nothing more to do, and nothing left of what no point needs.
    let dropped = store.drop_all_but(needed);
    assert_eq!((dropped.gone, dropped.worth.len()), (0, 0));
    let dropped = store.drop_all_but(|_| false);
    store.compact(&dropped.worth).unwrap();
    assert_eq!(names(killed.path()), [INDEX]);
}

#[test]
fn many_damaged_blobs_are_forgotten_at_once() {
    // So many that going through all places for each of them takes very long.
    const MANY: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("00000001.thumbs");
    let mut store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    let hashes: Vec<_> = (0..MANY).map(hash).collect();
    let all: Vec<_> = hashes.iter().map(|hash| (*hash, &b"blob"[..])).collect();
    store.put(&all).unwrap();
    // The first byte of each blob is changed, but for every hundredth.
    let record = HEADER as usize + HEAD..;
    let mut content = fs::read(&file).unwrap();
    for (number, byte) in content[record].iter_mut().step_by(HEAD + 4).enumerate() {
        *byte ^= u8::from(number % 100 != 0);
    }
    fs::write(&file, content).unwrap();
    store.save().unwrap();
    let there = |store: &Store| hashes.iter().filter(|hash| store.contains(hash)).count();

    let copy = copied(folder.path());
    let mut forgetful = Store::open(copy.path(), &THUMBNAILS).unwrap();
    let places = forgetful.places();
    let damaged = places
        .into_iter()
        .filter(|place| forgetful.read(*place).unwrap().is_none())
        .collect();
    forgetful.forget_at(&damaged);
    assert_eq!(there(&forgetful), MANY / 100);

    store.compact(&[1]).unwrap();
    assert_eq!(there(&store), MANY / 100);
    drop(store);
    let store = Store::open(folder.path(), &THUMBNAILS).unwrap();
    assert_eq!((there(&store), store.rescanned), (MANY / 100, false));
    assert_eq!(names(folder.path()), ["00000002.thumbs", INDEX]);
}
