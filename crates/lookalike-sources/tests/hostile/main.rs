//! Containers that are damaged, or made to do harm: each problem is reported with its kind, and
//! what can be read is read.

#[path = "../support/mod.rs"]
mod support;

mod lists;
mod parquet_files;
mod tar_archives;
mod zip_archives;

use std::fs;

use lookalike_sources::{Limits, SkipKind, SourceOptions};
use parquet::basic::Compression;
use parquet_files::{parquet_with, rows};
use support::{gzip, member, tar_member, zip, zstandard};
use tar_archives::{attributes, tar_with};
use zip_archives::with;

/// Small, so that hostile containers can be.
const LIMITS: Limits = Limits {
    item_bytes: 100_000,
    members: 20,
    ratio: 5,
};

/// One container, and what reading it must give.
struct Case {
    name: &'static str,
    /// The file's ending.
    ending: &'static str,
    bytes: Vec<u8>,
    limits: Limits,
    /// The keys that are read.
    good: Vec<&'static str>,
    /// The keys that are passed over, in listing or in reading, by kind.
    skipped: Vec<(&'static str, SkipKind)>,
}

/// One container that cannot be opened, and words that the error must have.
struct Refused {
    name: &'static str,
    ending: &'static str,
    bytes: Vec<u8>,
    words: &'static str,
}

fn case(
    name: &'static str,
    ending: &'static str,
    bytes: Vec<u8>,
    good: &[&'static str],
    skipped: &[(&'static str, SkipKind)],
) -> Case {
    Case {
        name,
        ending,
        bytes,
        limits: LIMITS,
        good: good.to_vec(),
        skipped: skipped.to_vec(),
    }
}

/// Bytes that do not pack.
fn incompressible(count: usize) -> Vec<u8> {
    let hashes = (0_u64..).flat_map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes());
    hashes.take(count).collect()
}

fn run(case: &Case) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("here.jpg"), b"here").unwrap();
    let path = root.path().join(format!("case.{}", case.ending));
    fs::write(&path, &case.bytes).unwrap();
    let options = SourceOptions {
        limits: case.limits,
        ..SourceOptions::default()
    };
    let source = lookalike_sources::open(path.to_str().unwrap(), &options)
        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let (mut good, mut skipped) = (Vec::new(), Vec::new());
    for item in source.entries().unwrap() {
        let read = item.and_then(|entry| match entry.read(&case.limits) {
            Ok(bytes) => {
                assert!(!bytes.is_empty());
                Ok(entry.key)
            }
            Err(why) => Err(entry.skipped(why)),
        });
        match read {
            Ok(key) => good.push(key),
            Err(skip) => {
                assert!(
                    skip.location.contains("case.") || case.ending == "csv",
                    "{skip}"
                );
                assert!(skip.reason.len() > 20, "{skip}");
                skipped.push((skip.key, skip.kind));
            }
        }
    }
    assert_eq!(
        good, case.good,
        "{} ({}): {skipped:?}",
        case.name, case.ending
    );
    let expected: Vec<_> = case
        .skipped
        .iter()
        .map(|(key, kind)| ((*key).to_owned(), *kind))
        .collect();
    assert_eq!(skipped, expected, "{} ({})", case.name, case.ending);
    // Asking by key is no way around.
    for (key, kind) in &case.skipped {
        let got = source.get(key).map(|entry| entry.read(&case.limits));
        // Of two with the same name the first can be had, even if the second comes right after it.
        let duplicate = *kind == SkipKind::Duplicate;
        let honest = key.trim_start_matches("./");
        assert!(
            !duplicate || source.get(honest).is_ok(),
            "{} ({})",
            case.name,
            case.ending
        );
        assert!(
            duplicate || !matches!(got, Ok(Ok(_))),
            "{} ({}): {key}",
            case.name,
            case.ending
        );
    }
}

#[test]
fn containers_without_a_readable_byte_are_refused() {
    let archive = zip(&[member("a.jpg", b"first")]);
    let mut beyond = archive.clone();
    let offset = beyond.len() - 22 + 16;
    beyond[offset..offset + 4].fill(0x7f);
    let file = parquet_with(Compression::SNAPPY, &rows(3, 100));
    let mut metadata = file.clone();
    let end = metadata.len();
    metadata[end - 60..end - 8].fill(0xff);
    let mut endless = file.clone();
    endless[end - 8..end - 4].fill(0xff);
    let cut = |bytes: &[u8], by: usize| bytes[..bytes.len() - by].to_vec();
    let refused = |name, ending, bytes, words| Refused {
        name,
        ending,
        bytes,
        words,
    };
    let cases = [
        refused("cut zip", "zip", cut(&archive, 5), "cut off"),
        refused("directory outside", "zip", beyond, "outside"),
        refused("cut Parquet", "parquet", cut(&file, 9), "cut off"),
        refused("metadata", "parquet", metadata, "metadata"),
        refused("endless metadata", "parquet", endless, "cut off"),
    ];
    for case in cases {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(format!("case.{}", case.ending));
        fs::write(&path, &case.bytes).unwrap();
        let opened = lookalike_sources::open(path.to_str().unwrap(), &SourceOptions::default());
        let error = opened
            .err()
            .unwrap_or_else(|| panic!("{} was opened", case.name))
            .to_string();
        assert!(error.contains(case.words), "{}: {error}", case.name);
    }
}

/// Every container cut anywhere, and with any byte changed, gives items, skips or an error, and
/// never a panic.
#[test]
fn damage_anywhere_is_survived() {
    let honest = [
        ("zip", with(member("x.jpg", b"a few bytes"))),
        ("tar", tar_with(attributes("11 mtime=1\n", "x.jpg"))),
        ("tar.gz", gzip(&tar_with(tar_member("x.cls", b"1")))),
        ("tar.zst", zstandard(&tar_with(tar_member("x.json", b"{}")))),
        ("parquet", parquet_with(Compression::SNAPPY, &rows(3, 20))),
        ("csv", b"path,x\nhere.jpg,\"1\"\n".to_vec()),
        ("jsonl", b"{\"path\": \"here.jpg\"}\n".to_vec()),
    ];
    // The Parquet reader's panics are caught; they need not be printed a thousand times.
    std::panic::set_hook(Box::new(|about| {
        if !about
            .location()
            .is_some_and(|place| place.file().contains("parquet"))
        {
            eprintln!("{about}");
        }
    }));
    let root = tempfile::tempdir().unwrap();
    let limits = Limits {
        item_bytes: 10_000,
        members: 20,
        ratio: 20,
    };
    let options = SourceOptions {
        limits,
        ..SourceOptions::default()
    };
    for (ending, bytes) in honest {
        let path = root.path().join(format!("case.{ending}"));
        let cuts = (0..bytes.len())
            .step_by(1 + bytes.len() / 300)
            .map(|cut| bytes[..cut].to_vec());
        let changes = (0..bytes.len())
            .step_by(1 + bytes.len() / 600)
            .flat_map(|place| {
                [0x00, 0x7f, 0x80, 0xff].map(|value| {
                    let mut changed = bytes.clone();
                    changed[place] = value;
                    changed
                })
            });
        for damaged in cuts.chain(changes) {
            let opened = match ending {
                // A list needs a folder.
                "csv" | "jsonl" => {
                    fs::write(&path, &damaged).unwrap();
                    lookalike_sources::open(path.to_str().unwrap(), &options)
                }
                _ => lookalike_sources::open_bytes(path.to_str().unwrap(), damaged, &options),
            };
            if let Ok(source) = opened {
                for entry in source.entries().unwrap().take(100).flatten() {
                    let _ = entry.read(&limits);
                }
                let _ = source.get("x.jpg");
            }
        }
    }
}
