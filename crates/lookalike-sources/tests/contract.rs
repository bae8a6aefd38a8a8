//! The promises of all sources, tested with every kind of source.

mod support;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lookalike_sources::{
    LabelFrom, Limits, Part, PartNumber, Source, SourceError, SourceOptions, sample,
};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use support::{
    all, gzip, member, open, open_spec, parquet, pictures, read, tar, tar_member, zip, zstandard,
};

/// Checks a source against the keys and the bytes that it must have, in order.
fn check(source: &dyn Source, expected: &[(String, Vec<u8>)]) {
    let name = source.name().to_owned();
    assert!(Path::new(&name).is_absolute(), "{name}");
    let (entries, skipped) = all(source);
    assert_eq!(skipped, [], "{name}");
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    let expected_keys: Vec<_> = expected.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, expected_keys, "{name}");
    if let Some(hint) = source.len_hint() {
        assert_eq!(hint, keys.len() as u64);
    }

    // The order is stable and keys are unique.
    let (again, _) = all(source);
    assert!(
        again
            .iter()
            .map(|entry| &entry.key)
            .eq(keys.iter().copied())
    );
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());

    // Stamps tell sizes without reading.
    for (entry, (_, bytes)) in entries.iter().zip(expected) {
        assert_eq!(entry.stamp.unwrap().bytes, bytes.len() as u64);
        assert!(entry.stamp.unwrap().modified.is_some());
        assert!(entry.location.starts_with('/'), "{}", entry.location);
    }

    // Threads that read at once get the right bytes.
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(entry) = entries.get(next.fetch_add(7, Ordering::Relaxed) % 67) {
                    let (_, bytes) = expected.iter().find(|(key, _)| *key == entry.key).unwrap();
                    assert_eq!(&read(entry), bytes, "{name} {}", entry.key);
                }
            });
        }
    });
    for (entry, (_, bytes)) in entries.iter().zip(expected) {
        assert_eq!(&read(entry), bytes);
        let small = Limits {
            item_bytes: bytes.len() as u64 - 1,
            ..Limits::default()
        };
        entry.read(&small).unwrap_err();
    }

    // The same entries come by key, to several threads at once.
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (entries, wrong) = (&entries, &wrong);
            scope.spawn(move || {
                for entry in entries.iter().skip(half).step_by(13) {
                    let got = source.get(&entry.key).unwrap();
                    let same = got.label == entry.label
                        && got.extra == entry.extra
                        && got.location == entry.location
                        && got.stamp == entry.stamp
                        && read(&got) == read(entry);
                    if !same {
                        wrong.lock().unwrap().push((got, entry.clone()));
                    }
                }
            });
        }
    });
    assert!(wrong.lock().unwrap().is_empty(), "{wrong:?}");
    for key in ["", "no such.jpg", "/", "cats", "../x", "007", "+1"] {
        let error = source.get(key).unwrap_err();
        assert!(
            matches!(error, SourceError::NoSuchImage { .. }),
            "{key:?}: {error}"
        );
    }

    // Parts are disjoint and complete.
    let mut parts = BTreeMap::new();
    for number in 1..=3 {
        let part = PartNumber::new(number, 3).unwrap();
        let part = Part::new(Borrowed(source), part);
        assert_eq!(part.name(), source.name());
        for entry in all(&part).0 {
            assert!(part.get(&entry.key).is_ok());
            assert_eq!(parts.insert(entry.key, number), None);
        }
    }
    assert!(
        parts.keys().map(String::as_str).eq(keys
            .iter()
            .copied()
            .collect::<std::collections::BTreeSet<_>>())
    );
    assert!(parts.values().collect::<HashSet<_>>().len() == 3);

    // A sample is a few of them, and reads nothing that can be read later.
    let few = sample(source.entries().unwrap(), 5, 9, |_| {});
    assert_eq!(few.len(), 5);
    for entry in few {
        let (_, bytes) = expected.iter().find(|(key, _)| *key == entry.key).unwrap();
        assert_eq!(&read(&entry), bytes);
    }
}

struct Borrowed<'a>(&'a dyn Source);

impl Source for Borrowed<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len_hint(&self) -> Option<u64> {
        self.0.len_hint()
    }

    fn entries(&self) -> Result<lookalike_sources::Entries, SourceError> {
        self.0.entries()
    }

    fn get(&self, key: &str) -> Result<lookalike_sources::Entry, SourceError> {
        self.0.get(key)
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn check_labels(source: &dyn Source) {
    for entry in all(source).0 {
        let label = entry.label.unwrap();
        assert!(
            ["cats", "dogs", "owls"].contains(&label.as_str()),
            "{label}"
        );
    }
}

#[test]
fn a_folder() {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in pictures().iter().rev() {
        write(&root.path().join(name), bytes);
    }
    write(&root.path().join("cats/about.txt"), b"not an image");
    let source = open(root.path());
    check(source.as_ref(), &pictures());
    check_labels(source.as_ref());
    let none = SourceOptions {
        label: LabelFrom::None,
        ..SourceOptions::default()
    };
    let source = open_spec(root.path().to_str().unwrap(), &none);
    assert!(
        all(source.as_ref())
            .0
            .iter()
            .all(|entry| entry.label.is_none())
    );
}

#[test]
fn zip_archives() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.zip");
    for method in [0, 8, 93] {
        let members: Vec<_> = pictures()
            .iter()
            .map(|(name, bytes)| support::ZipMember {
                method,
                ..member(name, bytes)
            })
            .collect();
        let archive = zip(&members);
        write(&path, &archive);
        let source = open(&path);
        check(source.as_ref(), &pictures());
        check_labels(source.as_ref());
        assert!(
            all(source.as_ref())
                .0
                .iter()
                .all(|entry| entry.content.is_lazy())
        );
        // Other bytes may come first, as in an archive that unpacks itself.
        write(&path, &[&b"#!/bin/sh\nexit\n"[..], &archive].concat());
        check(open(&path).as_ref(), &pictures());
    }
}

fn tarball() -> Vec<u8> {
    let members: Vec<_> = pictures()
        .iter()
        .map(|(name, bytes)| tar_member(name, bytes))
        .collect();
    tar(&members)
}

#[test]
fn tar_archives() {
    let root = tempfile::tempdir().unwrap();
    let archives = [
        ("a.tar", tarball()),
        ("a.tar.gz", gzip(&tarball())),
        (
            "a.tgz",
            [gzip(&tarball()[..5000]), gzip(&tarball()[5000..])].concat(),
        ),
        ("a.tar.zst", zstandard(&tarball())),
    ];
    for (name, bytes) in archives {
        let path = root.path().join(name);
        write(&path, &bytes);
        let source = open(&path);
        check(source.as_ref(), &pictures());
        check_labels(source.as_ref());
        let lazy = name == "a.tar";
        assert!(
            all(source.as_ref())
                .0
                .iter()
                .all(|entry| entry.content.is_lazy() == lazy)
        );
    }
}

#[test]
fn parquet_files() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.parquet");
    let expected: Vec<_> = (0..)
        .map(|row: usize| row.to_string())
        .zip(pictures())
        .map(|(row, (_, bytes))| (row, bytes))
        .collect();
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
    ] {
        for (version, dictionary) in [
            (WriterVersion::PARQUET_1_0, true),
            (WriterVersion::PARQUET_1_0, false),
            (WriterVersion::PARQUET_2_0, true),
            (WriterVersion::PARQUET_2_0, false),
        ] {
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_writer_version(version)
                .set_dictionary_enabled(dictionary)
                .set_data_page_size_limit(2000)
                .set_write_batch_size(2)
                .build();
            write(&path, &parquet(&pictures(), properties));
            let source = open(&path);
            check(source.as_ref(), &expected);
            check_labels(source.as_ref());
            let entry = source.get("8").unwrap();
            assert_eq!(entry.extra["path"], "cats/008.jpg");
            assert_eq!(entry.extra.get("note"), None);
            assert_eq!(source.get("7").unwrap().extra["note"], "first");
        }
    }
}

#[test]
fn rows_without_an_image_are_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.parquet");
    let mut rows = pictures();
    rows[10].1.clear();
    write(&path, &parquet(&rows, WriterProperties::default()));
    let (entries, skipped) = all(open(&path).as_ref());
    assert_eq!((entries.len(), skipped.len()), (59, 1));
    assert_eq!(skipped[0].key, "10");
    assert!(skipped[0].reason.contains("cats/010.jpg"), "{}", skipped[0]);
    assert_eq!(read(&entries[10]), rows[11].1);
}

#[test]
fn lists() {
    let root = tempfile::tempdir().unwrap();
    let (mut csv, mut tsv, mut json) = (
        "\u{feff}note,path,label,price\n".to_owned(),
        "file_name\tlabel\n".to_owned(),
        String::new(),
    );
    for (name, bytes) in pictures() {
        write(&root.path().join(&name), &bytes);
        let label = name.split('/').next().unwrap();
        csv += &format!("\"a, \"\"b\"\"\",{name},{label},007\n");
        tsv += &format!("{name}\t{label}\n");
        json += &format!("{{\"price\": 1.5, \"image\": {name:?}, \"label\": {label:?}}}\n\n");
    }
    for (name, text) in [("a.csv", csv), ("a.tsv", tsv), ("a.jsonl", json)] {
        let path = root.path().join(name);
        write(&path, text.as_bytes());
        let source = open(&path);
        check(source.as_ref(), &pictures());
        check_labels(source.as_ref());
    }
    let entry = open(&root.path().join("a.csv"))
        .get("owls/050.jpg")
        .unwrap();
    assert_eq!(entry.extra["note"], "a, \"b\"");
    assert_eq!(entry.extra["price"], "007");
    let entry = open(&root.path().join("a.jsonl"))
        .get("owls/050.jpg")
        .unwrap();
    assert_eq!(entry.extra["price"], 1.5);
    let by_price = SourceOptions {
        label: LabelFrom::Column("price".into()),
        ..SourceOptions::default()
    };
    let source = open_spec(root.path().join("a.jsonl").to_str().unwrap(), &by_price);
    let entry = source.get("cats/000.jpg").unwrap();
    assert_eq!(entry.label.as_deref(), Some("1.5"));
    assert_eq!(entry.extra["label"], "cats");
}

#[test]
fn shards() {
    let root = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (number, pictures) in pictures().chunks(20).enumerate() {
        let members: Vec<_> = pictures
            .iter()
            .map(|(name, bytes)| tar_member(name, bytes))
            .collect();
        let shard = format!("{number:03}.tar.zst");
        write(
            &root.path().join("s").join(&shard),
            &zstandard(&tar(&members)),
        );
        expected.extend(
            pictures
                .iter()
                .map(|(name, bytes)| (format!("{shard}/{name}"), bytes.clone())),
        );
    }
    write(&root.path().join("s/README.md"), b"ignored");
    for pattern in [
        "s/{000..002}.tar.zst",
        "s/*",
        "s/*.tar.zst",
        "s/00[0-2].tar.???",
    ] {
        let source = open_spec(
            root.path().join(pattern).to_str().unwrap(),
            &SourceOptions::default(),
        );
        check(source.as_ref(), &expected);
        check_labels(source.as_ref());
    }
    // A missing shard is reported, and the others are read.
    let spec = root.path().join("s/{001..003}.tar.zst");
    let (entries, skipped) = all(open(&spec).as_ref());
    assert_eq!((entries.len(), skipped.len()), (40, 1));
    assert_eq!(skipped[0].key, "003.tar.zst");
    assert_eq!(skipped[0].kind, lookalike_sources::SkipKind::Missing);
    // A pattern that matches nothing is an error.
    for pattern in ["s/*.zip", "s/{7..9}.tar"] {
        let spec = root.path().join(pattern);
        let error = lookalike_sources::open(spec.to_str().unwrap(), &SourceOptions::default());
        assert!(
            error
                .err()
                .unwrap()
                .to_string()
                .contains("fits the pattern")
        );
    }
}

#[test]
fn patterns_of_images_and_of_folders() {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in pictures() {
        write(&root.path().join(name), &bytes);
    }
    for pattern in ["*/*.jpg", "**/*.jpg", "{cats,dogs,owls}", "*"] {
        let source = open_spec(
            root.path().join(pattern).to_str().unwrap(),
            &SourceOptions::default(),
        );
        check(source.as_ref(), &pictures());
        check_labels(source.as_ref());
    }
}

#[test]
fn one_image() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.jpg");
    write(&path, b"x");
    let source = open(&path);
    let (entries, _) = all(source.as_ref());
    assert_eq!(
        (entries[0].key.as_str(), entries[0].label.as_deref()),
        ("a.jpg", None)
    );
    assert_eq!(read(&source.get("a.jpg").unwrap()), b"x");
}

#[test]
fn webdataset() {
    let root = tempfile::tempdir().unwrap();
    let mut members = Vec::new();
    for number in 0..10 {
        members.push((format!("{number:06}.cls"), number.to_string()));
        members.push((format!("{number:06}.jpg"), format!("picture {number}")));
        members.push((
            format!("{number:06}.json"),
            format!("{{\"price\": {number}}}"),
        ));
    }
    let tarball = tar(&members
        .iter()
        .map(|(name, text)| tar_member(name, text.as_bytes()))
        .collect::<Vec<_>>());
    let zipped = zip(&members
        .iter()
        .map(|(name, text)| member(name, text.as_bytes()))
        .collect::<Vec<_>>());
    for (name, bytes) in [
        ("a.tar", tarball.clone()),
        ("a.tar.gz", gzip(&tarball)),
        ("a.zip", zipped),
    ] {
        let path = root.path().join(name);
        write(&path, &bytes);
        let source = open(&path);
        let (entries, skipped) = all(source.as_ref());
        assert_eq!((entries.len(), skipped), (10, vec![]));
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(entry.label, Some(number.to_string()));
            assert_eq!(entry.extra["price"], number);
            let same = source.get(&entry.key).unwrap();
            assert_eq!(
                (same.label, same.extra),
                (entry.label.clone(), entry.extra.clone())
            );
        }
    }
}

#[test]
fn what_is_no_source_is_refused_with_a_way_out() {
    let root = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        write(&path, bytes);
        let error = lookalike_sources::open(path.to_str().unwrap(), &SourceOptions::default());
        error
            .err()
            .unwrap_or_else(|| panic!("{name} was opened"))
            .to_string()
    };
    assert!(refused("a.txt", b"x").contains("does not tell"));
    assert!(refused("a.zip", b"not a zip").contains("directory at its end is missing"));
    assert!(refused("a.tar", &[7; 2000]).contains("checksum"));
    assert!(refused("b.tar", b"short").contains("ends too early"));
    assert!(refused("a.tar.gz", b"not gzip, but long enough for its header").contains("gzip"));
    assert!(refused("a.tar.zst", b"not zstd either").contains("Zstandard"));
    assert!(refused("a.parquet", b"PAR1 and no more").contains("metadata"));
    assert!(refused("a.csv", b"x,y\n1,2\n").contains("path, file, file_name, image"));
    assert!(refused("a.jsonl", b"{\"x\": 1}\n").contains("path, file, file_name, image"));
    let error = lookalike_sources::open("/no/such/folder", &SourceOptions::default())
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("there is no such file or folder")
    );
}
