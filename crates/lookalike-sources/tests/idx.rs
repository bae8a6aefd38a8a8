//! The contract of IDX: whatever bytes come, a good file is read whole and a bad one is an error
//! that says where.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use lookalike_sources::idx::{Idx, IdxError, IdxImages, IdxLabels};
use lookalike_sources::{Entry, LabelFrom, SkipKind, Source, SourceError, SourceOptions, open};
use proptest::prelude::*;

fn header(kind: u8, sizes: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, kind];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes
}

/// Three images of 2 rows and 4 columns, bytes 0 to 23.
fn images() -> Vec<u8> {
    let mut bytes = header(3, &[3, 2, 4]);
    bytes.extend(0..24);
    bytes
}

fn labels() -> Vec<u8> {
    let mut bytes = header(1, &[3]);
    bytes.extend([7, 0, 9]);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read_images(bytes: &[u8]) -> Result<Vec<Vec<u8>>, IdxError> {
    IdxImages::new(bytes, "test")?
        .map(|pixels| Ok(pixels?.data.into()))
        .collect()
}

fn read_labels(bytes: &[u8]) -> Result<Vec<u8>, IdxError> {
    IdxLabels::new(bytes, "test")?.collect()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn good_files_are_read_whole() {
    let rows: Vec<Vec<u8>> = vec![(0..8).collect(), (8..16).collect(), (16..24).collect()];
    assert_eq!(read_images(&images()).unwrap(), rows);
    assert_eq!(read_images(&gzip(&images())).unwrap(), rows);
    assert_eq!(read_labels(&labels()).unwrap(), [7, 0, 9]);
    assert_eq!(read_labels(&gzip(&labels())).unwrap(), [7, 0, 9]);

    let mut colour = header(4, &[1, 2, 1, 3]);
    colour.extend([1, 2, 3, 4, 5, 6]);
    let images = IdxImages::new(&colour[..], "test").unwrap();
    let shape = images.shape();
    assert_eq!((shape.height, shape.width, shape.channels), (2, 1, 3));
    assert_eq!(read_images(&colour).unwrap(), [[1, 2, 3, 4, 5, 6]]);
}

#[test]
fn gzip_in_several_members_is_one_content() {
    let whole = images();
    let mut packed = gzip(&whole[..20]);
    packed.extend(gzip(&whole[20..]));
    assert_eq!(read_images(&packed).unwrap().len(), 3);
}

#[test]
fn every_truncation_is_an_error_that_says_where() {
    let whole = images();
    for length in 0..whole.len() {
        let error = read_images(&whole[..length]).unwrap_err();
        assert_eq!(
            (error.offset, error.unpacked),
            (length as u64, false),
            "{error}"
        );
    }
    let whole = labels();
    for length in 0..whole.len() {
        assert_eq!(
            read_labels(&whole[..length]).unwrap_err().offset,
            length as u64
        );
    }
    // Packed, the last bytes are a checksum and a length, whose loss is noticed too.
    for length in 0..gzip(&images()).len() {
        assert!(read_images(&gzip(&images())[..length]).is_err(), "{length}");
        let error = read_images(&gzip(&images()[..length.min(39)])).unwrap_err();
        assert_eq!(
            (error.offset, error.unpacked),
            (length.min(39) as u64, true),
            "{error}"
        );
    }
}

#[test]
fn every_broken_byte_of_a_packed_file_is_noticed_or_harmless() {
    let good = gzip(&images());
    let expected = read_images(&good).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        // A gzip header has a time and flags that say nothing about the content.
        if let Ok(found) = read_images(&bytes) {
            assert_eq!(found, expected, "byte {at}");
        }
    }
}

#[test]
fn bytes_left_over_are_an_error() {
    let mut bytes = images();
    bytes.push(0);
    let error = read_images(&bytes).unwrap_err();
    assert_eq!(
        (error.offset, error.found.as_str()),
        (40, "more bytes"),
        "{error}"
    );
    assert!(read_images(&gzip(&bytes)).is_err());
    let mut bytes = labels();
    bytes.push(0);
    assert_eq!(read_labels(&bytes).unwrap_err().offset, 11);
}

#[test]
fn headers_that_cannot_be_are_errors_at_their_offset() {
    let huge = u32::MAX;
    for (bytes, offset) in [
        (header(1, &[3]), 0),
        (header(2, &[3, 3]), 0),
        (b"\x00\x00\x0d\x03\x00\x00\x00\x01".to_vec(), 0),
        (b"\x89PNG\r\n\x1a\n".to_vec(), 0),
        (header(3, &[0, 2, 4]), 4),
        (header(3, &[3, 0, 4]), 8),
        (header(3, &[3, 2, 0]), 12),
        (header(3, &[3, huge, 4]), 8),
        (header(3, &[3, 2, huge]), 12),
        (header(4, &[3, 2, 4, 0]), 16),
        (header(4, &[3, 2, 4, 2]), 16),
        (header(4, &[huge, huge, huge, huge]), 8),
        // Sides that exist, but an image of 4 GiB.
        (header(3, &[1, 65_535, 65_535]), 8),
    ] {
        let error = IdxImages::new(&bytes[..], "test").err().unwrap();
        assert_eq!(error.offset, offset, "{error}");
        assert!(error.to_string().starts_with("test: at byte"), "{error}");
    }
    assert_eq!(read_labels(&header(3, &[3, 2, 4])).unwrap_err().offset, 0);
    assert_eq!(read_labels(&header(1, &[0])).unwrap_err().offset, 4);
}

#[test]
fn a_promise_takes_no_memory() {
    // 4 billion images of 64 MiB, of which the first byte is there.
    let mut bytes = header(3, &[u32::MAX, 8192, 8192]);
    bytes.push(1);
    let error = read_images(&bytes).unwrap_err();
    assert_eq!(error.offset, 17);
    assert_eq!(error.found, "the end after 1");
}

fn opened(path: &Path) -> Box<dyn Source> {
    open(path.to_str().unwrap(), &SourceOptions::default()).unwrap()
}

fn entries(source: &dyn Source) -> Vec<Entry> {
    source.entries().unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_data_set_has_keys_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x-images-idx3-ubyte", &images());
    write(folder.path(), "x-labels-idx1-ubyte.gz", &gzip(&labels()));
    let source = opened(&path);
    assert_eq!(
        source.name(),
        path.canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(source.len_hint(), Some(3));
    let all = entries(&*source);
    let found: Vec<_> = all
        .iter()
        .map(|entry| (entry.key.as_str(), entry.label.as_deref()))
        .collect();
    assert_eq!(
        found,
        [("0", Some("7")), ("1", Some("0")), ("2", Some("9"))]
    );
    for (number, entry) in all.iter().enumerate() {
        let pixels = entry.pixels().unwrap();
        assert_eq!((pixels.height, pixels.width, pixels.channels), (2, 4, 1));
        let first = 8 * number as u8;
        assert_eq!(pixels.data, (first..first + 8).collect::<Vec<u8>>());
        let why = entry.read(&Default::default()).unwrap_err();
        assert_eq!(why.kind, SkipKind::Unsupported, "{why}");
    }
    let options = SourceOptions {
        label: LabelFrom::None,
        ..SourceOptions::default()
    };
    let without = open(path.to_str().unwrap(), &options).unwrap();
    assert!(entries(&*without).iter().all(|entry| entry.label.is_none()));
}

#[test]
fn one_image_is_got_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x-images-idx3-ubyte.gz", &gzip(&images()));
    let source = opened(&path);
    let entry = source.get("2").unwrap();
    assert_eq!(
        (
            entry.key.as_str(),
            &entry.label,
            entry.pixels().unwrap().data[0]
        ),
        ("2", &None, 16)
    );
    for key in ["3", "-1", "+1", "01", "", "x", "99999999999999999999"] {
        let error = source.get(key).unwrap_err();
        assert!(matches!(error, SourceError::NoSuchImage { .. }), "{error}");
    }
}

#[test]
fn a_file_that_breaks_off_gives_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.idx.gz", &gzip(&images()[..39]));
    let items: Vec<_> = opened(&path).entries().unwrap().collect();
    assert_eq!(items.len(), 3);
    assert!(items[..2].iter().all(Result::is_ok));
    let skipped = items[2].as_ref().unwrap_err();
    assert_eq!(
        (skipped.key.as_str(), skipped.kind),
        ("", SkipKind::Damaged)
    );
    assert!(skipped.reason.contains("at byte 39"), "{skipped}");
}

#[test]
fn files_that_disagree_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x-images-idx3-ubyte", &images());
    let mut two = header(1, &[2]);
    two.extend([1, 2]);
    let labels_path = write(folder.path(), "x-labels-idx1-ubyte", &two);
    let error = Idx::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("3 labels") && error.contains("found 2"),
        "{error}"
    );
    assert!(error.contains("x-labels"), "{error}");

    // A labels file that ends early is found when it is opened if plain, when it is read if packed.
    std::fs::write(&labels_path, &labels()[..10]).unwrap();
    assert!(Idx::open(&path).is_err());
    std::fs::write(&labels_path, gzip(&labels()[..10])).unwrap();
    let source = Idx::open(&path).unwrap();
    let found: Vec<_> = source.entries().unwrap().map(|item| item.is_ok()).collect();
    assert_eq!(found, [true, true, false]);

    // And one with more than it promises, after the last image.
    let mut longer = labels();
    longer.push(1);
    std::fs::write(&labels_path, gzip(&longer)).unwrap();
    let source = Idx::open(&path).unwrap();
    let found: Vec<_> = source.entries().unwrap().map(|item| item.is_ok()).collect();
    assert_eq!(found, [true, true, true, false]);
}

#[test]
fn a_plain_file_of_another_length_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for length in [39, 41] {
        let mut bytes = images();
        bytes.resize(length, 0);
        let path = write(folder.path(), "digits.idx", &bytes);
        let error = Idx::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("40 bytes") && error.contains(&format!("{length} bytes")),
            "{error}"
        );
    }
}

#[test]
fn names_of_nothing_are_errors_that_help() {
    for (spec, help) in [
        ("mnist:validation", "mnist:train and mnist:test"),
        ("no/such/file", "an IDX file, mnist:train or mnist:test"),
        ("", "there is no such file"),
    ] {
        let error = open(spec, &SourceOptions::default()).err().unwrap();
        let error = error.to_string();
        assert!(error.contains("cannot open"), "{error}");
        assert!(error.contains(help), "{error}");
    }
}

#[test]
fn mnist_is_built_in() {
    let source = open("mnist:test", &SourceOptions::default()).unwrap();
    let entry = source.get("7").unwrap();
    assert_eq!(
        (entry.key.as_str(), entry.label.as_deref()),
        ("7", Some("9"))
    );
    let all = entries(&*source);
    let labels: Vec<_> = all[..5]
        .iter()
        .map(|entry| entry.label.as_deref())
        .collect();
    assert_eq!(labels, ["7", "2", "1", "0", "4"].map(Some));
    assert_eq!(all.len(), 10_000);
}

#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
    Repeat(usize),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, value)| Change::Set(at, value)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, value)| Change::Insert(at, value)),
        any::<usize>().prop_map(Change::Remove),
        any::<usize>().prop_map(Change::Cut),
        any::<usize>().prop_map(Change::Repeat),
    ]
}

fn change(bytes: &mut Vec<u8>, change: &Change) {
    let length = bytes.len().max(1);
    match *change {
        Change::Set(at, value) => {
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte = value;
            }
        }
        Change::Insert(at, value) => bytes.insert(at % (bytes.len() + 1), value),
        Change::Remove(at) if !bytes.is_empty() => drop(bytes.remove(at % length)),
        Change::Remove(_) => {}
        Change::Cut(at) => bytes.truncate(at % length),
        Change::Repeat(at) => bytes.extend_from_within(at % length.min(bytes.len() + 1)..),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_files_are_read_whole_or_refused(
        changes in proptest::collection::vec(any_change(), 1..6), packed: bool, after: bool,
    ) {
        let mut bytes = images();
        if packed && !after {
            bytes = gzip(&bytes);
        }
        changes.iter().for_each(|it| change(&mut bytes, it));
        if packed && after {
            bytes = gzip(&bytes);
        }
        if let Ok(mut parser) = IdxImages::new(&bytes[..], "test") {
            let (promised, size) = (parser.promised(), parser.shape().bytes());
            let mut read = 0;
            let mut failed = false;
            for image in parser.by_ref() {
                match image {
                    Ok(image) => {
                        prop_assert_eq!(image.data.len(), size);
                        read += 1;
                    }
                    Err(_) => failed = true,
                }
            }
            prop_assert!(failed || read == promised);
            prop_assert!(parser.next().is_none());
        }
        let _ = read_labels(&bytes);
    }
}
