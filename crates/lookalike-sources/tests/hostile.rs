//! Containers that are damaged, or made to do harm: each trouble has its kind, and what can be read is read.

mod support;

use std::fs;

use lookalike_sources::{Limits, SkipKind, SourceOptions};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use support::{
    ZipMember, gzip, member, parquet, sign, tar, tar_block, tar_header, tar_member, zip, zstandard,
};

/// Small, so that hostile containers can be.
const LIMITS: Limits = Limits {
    item_bytes: 100_000,
    members: 20,
    ratio: 5,
};

/// One container with what must come of it.
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

/// Or what must be in the words with which the whole is refused.
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

fn record(change: fn(&mut [u8])) -> ZipMember {
    ZipMember {
        record: change,
        ..member("x.jpg", b"a few bytes")
    }
}

fn own(change: fn(&mut Vec<u8>)) -> ZipMember {
    ZipMember {
        member: change,
        ..member("x.jpg", b"a few bytes")
    }
}

fn with(middle: ZipMember) -> Vec<u8> {
    zip(&[member("a.jpg", b"first"), middle, member("z.jpg", b"last")])
}

/// Both neighbours of the bad member are read.
fn zip_case(name: &'static str, middle: ZipMember, key: &'static str, kind: SkipKind) -> Case {
    case(
        name,
        "zip",
        with(middle),
        &["a.jpg", "z.jpg"],
        &[(key, kind)],
    )
}

fn stored(name: &str, method: u16) -> ZipMember {
    ZipMember {
        method,
        ..member(name, b"bytes that stay as they are")
    }
}

fn zip_cases() -> Vec<Case> {
    use SkipKind::*;
    let mut not_utf8 = member("x.jpg", b"b");
    not_utf8.name[0] = 0xff;
    let mut lying_count = zip(&[member("a.jpg", b"first")]);
    let count = lying_count.len() - 22 + 10;
    lying_count[count] = 9;
    let mut damaged_directory = zip(&[member("a.jpg", b"first"), member("z.jpg", b"last")]);
    let last = damaged_directory.len() - 22 - 51;
    damaged_directory[last] = b'X';
    let many: Vec<_> = (0..25)
        .map(|number| member(&format!("{number:02}.jpg"), b"x"))
        .collect();
    let mut many_keys: Vec<&'static str> = Vec::new();
    for number in 0..20 {
        many_keys.push(Box::leak(format!("{number:02}.jpg").into_boxed_str()));
    }
    let bomb: Vec<_> = (0..5)
        .map(|number| member(&format!("{number}.jpg"), &[0; 90_000]))
        .collect();
    let nested = zip(&[
        member("inner.zip", &zip(&[member("x.jpg", &[0; 90_000])])),
        member("a.jpg", b"first"),
    ]);
    let overlap = ZipMember {
        overlap: true,
        ..member("x.jpg", b"first")
    };
    vec![
        zip_case(
            "absolute",
            member("/etc/x.jpg", b"b"),
            "/etc/x.jpg",
            UnsafePath,
        ),
        zip_case("parent", member("../x.jpg", b"b"), "../x.jpg", UnsafePath),
        zip_case(
            "inner parent",
            member("q/../../x.jpg", b"b"),
            "q/../../x.jpg",
            UnsafePath,
        ),
        zip_case(
            "backslashes",
            member("..\\..\\x.jpg", b"b"),
            "../../x.jpg",
            UnsafePath,
        ),
        zip_case("drive", member("C:\\x.jpg", b"b"), "C:/x.jpg", UnsafePath),
        zip_case("zero byte", member("x\0.jpg", b"b"), "x\0.jpg", UnsafePath),
        zip_case("not UTF-8", not_utf8, "\u{fffd}.jpg", NotUtf8),
        zip_case("twice", member("a.jpg", b"again"), "a.jpg", Duplicate),
        case(
            "twice in a sample",
            "zip",
            zip(&[member("a.jpg", b"first"), member("a.jpg", b"again")]),
            &["a.jpg"],
            &[("a.jpg", Duplicate)],
        ),
        zip_case(
            "twice by spelling",
            member("./a.jpg", b"again"),
            "./a.jpg",
            Duplicate,
        ),
        zip_case("empty", member("x.jpg", b""), "x.jpg", Empty),
        zip_case(
            "too large",
            member("x.jpg", &[1; 100_001]),
            "x.jpg",
            TooLarge,
        ),
        zip_case(
            "link",
            record(|record| record[38..42].copy_from_slice(&(0o120_777_u32 << 16).to_le_bytes())),
            "x.jpg",
            Link,
        ),
        zip_case(
            "device",
            record(|record| record[38..42].copy_from_slice(&(0o020_666_u32 << 16).to_le_bytes())),
            "x.jpg",
            Special,
        ),
        zip_case(
            "pipe",
            record(|record| record[38..42].copy_from_slice(&(0o010_666_u32 << 16).to_le_bytes())),
            "x.jpg",
            Special,
        ),
        zip_case(
            "encrypted",
            record(|record| record[8] |= 1),
            "x.jpg",
            Encrypted,
        ),
        zip_case("AES", stored("x.jpg", 99), "x.jpg", Encrypted),
        zip_case("bzip2", stored("x.jpg", 12), "x.jpg", Unsupported),
        zip_case("LZMA", stored("x.jpg", 14), "x.jpg", Unsupported),
        zip_case("Deflate64", stored("x.jpg", 9), "x.jpg", Unsupported),
        zip_case(
            "more than it says",
            record(|record| record[24] -= 2),
            "x.jpg",
            Damaged,
        ),
        zip_case(
            "less than it says",
            record(|record| record[24] += 2),
            "x.jpg",
            Damaged,
        ),
        zip_case(
            "gigabytes promised",
            record(|record| record[24..28].fill(0xfe)),
            "x.jpg",
            TooLarge,
        ),
        zip_case(
            "packed beyond the end",
            record(|record| record[20..24].fill(0x7f)),
            "x.jpg",
            Damaged,
        ),
        zip_case(
            "header beyond the end",
            record(|record| record[42..46].fill(0x7f)),
            "x.jpg",
            Damaged,
        ),
        zip_case(
            "checksum",
            record(|record| record[16] ^= 1),
            "x.jpg",
            Damaged,
        ),
        zip_case("another name", own(|own| own[30] = b'y'), "x.jpg", Damaged),
        zip_case("another method", own(|own| own[8] = 0), "x.jpg", Damaged),
        zip_case("no header", own(|own| own[0] = 0), "x.jpg", Damaged),
        zip_case(
            "damaged stream",
            own(|own| own[35..].fill(0xff)),
            "x.jpg",
            Damaged,
        ),
        zip_case("overlapping", overlap, "x.jpg", Damaged),
        case(
            "lying count",
            "zip",
            lying_count,
            &["a.jpg"],
            &[("", Damaged)],
        ),
        case(
            "damaged directory",
            "zip",
            damaged_directory,
            &["a.jpg"],
            &[("", Damaged)],
        ),
        case(
            "many members",
            "zip",
            zip(&many),
            &many_keys,
            &[("", TooMany)],
        ),
        case("bomb", "zip", zip(&bomb), &["0.jpg"], &[("1.jpg", Bomb)]),
        case("an archive inside", "zip", nested, &["a.jpg"], &[]),
    ]
}

fn tar_with(middle: Vec<u8>) -> Vec<u8> {
    tar(&[
        tar_member("a.jpg", b"first"),
        middle,
        tar_member("z.jpg", b"last"),
    ])
}

fn tar_case(name: &'static str, middle: Vec<u8>, key: &'static str, kind: SkipKind) -> Case {
    case(
        name,
        "tar",
        tar_with(middle),
        &["a.jpg", "z.jpg"],
        &[(key, kind)],
    )
}

/// Nothing after the bad member can be read.
fn tar_end(name: &'static str, middle: Vec<u8>, kind: SkipKind) -> Case {
    case(name, "tar", tar_with(middle), &["a.jpg"], &[("", kind)])
}

fn attributes(records: &str, name: &str) -> Vec<u8> {
    let header = tar_header(b"pax", records.len() as u64, b'x');
    [
        tar_block(header, records.as_bytes()),
        tar_member(name, b"bytes"),
    ]
    .concat()
}

fn tar_cases() -> Vec<Case> {
    use SkipKind::*;
    let linked = |kind: u8| {
        let mut header = tar_header(b"x.jpg", 0, kind);
        header[157..168].copy_from_slice(b"/etc/passwd");
        sign(&mut header);
        header
    };
    let mut wrong_sum = tar_member("x.jpg", b"bytes");
    wrong_sum[148] ^= 1;
    let mut no_size = tar_member("x.jpg", b"bytes");
    no_size[124] = b'z';
    sign(&mut no_size[..512]);
    let mut lying = tar_header(b"x.jpg", 50_000, b'0');
    lying.extend_from_slice(&[0; 512]);
    let mut huge = tar_header(b"x.jpg", 0, b'0');
    huge[124..136].copy_from_slice(&[
        0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ]);
    sign(&mut huge);
    let truncated = tar_with(tar_member("x.jpg", &[7; 5000]));
    let cut_content = truncated[..2048 + 700].to_vec();
    let cut_header = truncated[..1024 + 100].to_vec();
    let long_name = "d/".repeat(80) + "x.jpg";
    let long = [
        tar_block(
            tar_header(b"././@LongLink", 161 + 5, b'L'),
            &[long_name.as_bytes(), b"\0"].concat(),
        ),
        tar_member("d/d", b"bytes"),
    ]
    .concat();
    let long_name: &'static str = Box::leak(long_name.into_boxed_str());
    let too_long = tar_header(b"././@LongLink", 1 << 40, b'L');
    let plain = tar_with(tar_member("x.jpg", b"bytes"));
    let packed = gzip(&tar_with(tar_member("x.jpg", &incompressible(60_000))));
    let mut bad_gzip = packed.clone();
    let middle = packed.len() / 2;
    bad_gzip[middle..middle + 40].fill(0x55);
    let zeros: Vec<_> = (0..10)
        .map(|number| tar_member(&format!("{number}.jpg"), &[0; 90_000]))
        .collect();
    let ignored = tar(&[
        tar_member("zeros.bin", &[0; 3_000_000]),
        tar_member("z.jpg", b"last"),
    ]);
    let many: Vec<_> = (0..25).map(|_| tar_member("x.txt", b"")).collect();
    vec![
        tar_case("absolute", tar_member("/x.jpg", b"b"), "/x.jpg", UnsafePath),
        tar_case(
            "parent",
            tar_member("a/../../x.jpg", b"b"),
            "a/../../x.jpg",
            UnsafePath,
        ),
        tar_case(
            "absolute by attributes",
            attributes("15 path=/q.jpg\n", "x.jpg"),
            "/q.jpg",
            UnsafePath,
        ),
        tar_case(
            "not UTF-8",
            tar_block(tar_header(b"\xff.jpg", 1, b'0'), b"b"),
            "\u{fffd}.jpg",
            NotUtf8,
        ),
        tar_case("twice", tar_member("a.jpg", b"again"), "a.jpg", Duplicate),
        tar_case("symbolic link", linked(b'2'), "x.jpg", Link),
        tar_case("hard link", linked(b'1'), "x.jpg", Link),
        tar_case("character device", linked(b'3'), "x.jpg", Special),
        tar_case("block device", linked(b'4'), "x.jpg", Special),
        tar_case("pipe", linked(b'6'), "x.jpg", Special),
        tar_case(
            "sparse",
            tar_block(tar_header(b"x.jpg", 5, b'S'), b"bytes"),
            "x.jpg",
            Unsupported,
        ),
        tar_case(
            "sparse by attributes",
            attributes("22 GNU.sparse.major=1\n", "x.jpg"),
            "x.jpg",
            Unsupported,
        ),
        tar_case(
            "unknown kind",
            tar_block(tar_header(b"x.jpg", 5, b'Q'), b"bytes"),
            "x.jpg",
            Unsupported,
        ),
        tar_case("empty", tar_member("x.jpg", b""), "x.jpg", Empty),
        tar_case(
            "too large",
            tar_member("x.jpg", &[1; 100_001]),
            "x.jpg",
            TooLarge,
        ),
        tar_end("checksum", wrong_sum, Damaged),
        tar_end("no size", no_size, Damaged),
        tar_end(
            "attributes damaged",
            attributes("99 path=q.jpg\n", "x.jpg"),
            Damaged,
        ),
        tar_end("attributes too long", too_long, Damaged),
        case(
            "lying size",
            "tar",
            tar_with(lying),
            &["a.jpg"],
            &[("x.jpg", Truncated)],
        ),
        case(
            "exabytes promised",
            "tar",
            tar_with(huge),
            &["a.jpg"],
            &[("x.jpg", TooLarge)],
        ),
        case(
            "content cut off",
            "tar",
            cut_content,
            &["a.jpg"],
            &[("x.jpg", Truncated)],
        ),
        case(
            "header cut off",
            "tar",
            cut_header,
            &["a.jpg"],
            &[("", Truncated)],
        ),
        case(
            "no end",
            "tar",
            plain[..plain.len() - 1024].to_vec(),
            &["a.jpg", "x.jpg", "z.jpg"],
            &[],
        ),
        case(
            "long name",
            "tar",
            tar_with(long),
            &["a.jpg", long_name, "z.jpg"],
            &[],
        ),
        case(
            "gzip cut off",
            "tar.gz",
            packed[..packed.len() - 100].to_vec(),
            &["a.jpg"],
            &[("x.jpg", Truncated)],
        ),
        case(
            "gzip damaged",
            "tar.gz",
            bad_gzip,
            &["a.jpg", "x.jpg", "z.jpg"],
            &[("", Damaged)],
        ),
        case(
            "gzip bomb",
            "tar.gz",
            gzip(&tar(&zeros)),
            &["0.jpg"],
            &[("1.jpg", Bomb)],
        ),
        case(
            "Zstandard bomb",
            "tar.zst",
            zstandard(&tar(&zeros)),
            &["0.jpg"],
            &[("1.jpg", Bomb)],
        ),
        case(
            "a bomb that is no image",
            "tar.gz",
            gzip(&ignored),
            &[],
            &[("", Bomb)],
        ),
        case("many members", "tar", tar(&many), &[], &[("", TooMany)]),
    ]
}

/// Bytes that do not pack.
fn incompressible(count: usize) -> Vec<u8> {
    let hashes = (0_u64..).flat_map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes());
    hashes.take(count).collect()
}

fn list_cases() -> Vec<Case> {
    use SkipKind::*;
    let long = format!("path,x\nhere.jpg,1\n\"{}", "x".repeat(3 << 20));
    let long_line = format!(
        "{{\"path\": \"here.jpg\"}}\n{{\"path\": \"{}\"}}",
        "x".repeat(3 << 20)
    );
    vec![
        case(
            "missing file",
            "csv",
            b"path\nhere.jpg\nnot.jpg\n".to_vec(),
            &["here.jpg"],
            &[("not.jpg", Missing)],
        ),
        case(
            "twice",
            "csv",
            b"path\nhere.jpg\nhere.jpg\n".to_vec(),
            &["here.jpg"],
            &[("here.jpg", Duplicate)],
        ),
        case(
            "fields",
            "csv",
            b"path,x\nhere.jpg,1\na,b,c\n".to_vec(),
            &["here.jpg"],
            &[("line 3", Damaged)],
        ),
        case(
            "not UTF-8",
            "csv",
            b"path\nhere.jpg\n\xff.jpg\n".to_vec(),
            &["here.jpg"],
            &[("line 3", NotUtf8)],
        ),
        case(
            "no path",
            "csv",
            b"path,x\nhere.jpg,1\n,2\n".to_vec(),
            &["here.jpg"],
            &[("line 3", Missing)],
        ),
        case(
            "a folder",
            "csv",
            b"path\nhere.jpg\n.\n".to_vec(),
            &["here.jpg"],
            &[(".", Special)],
        ),
        case(
            "a device",
            "csv",
            b"path\nhere.jpg\n/dev/zero\n".to_vec(),
            &["here.jpg"],
            &[("/dev/zero", Special)],
        ),
        case(
            "an address",
            "csv",
            b"path\nhere.jpg\nhttp://x/y.jpg\n".to_vec(),
            &["here.jpg"],
            &[("http://x/y.jpg", Unsupported)],
        ),
        case(
            "a quote that is not closed",
            "csv",
            long.into_bytes(),
            &["here.jpg"],
            &[("", Damaged)],
        ),
        case(
            "not JSON",
            "jsonl",
            b"{\"path\": \"here.jpg\"}\n{oh\n".to_vec(),
            &["here.jpg"],
            &[("line 2", Damaged)],
        ),
        case(
            "a number as path",
            "jsonl",
            b"{\"path\": \"here.jpg\"}\n{\"path\": 7}\n".to_vec(),
            &["here.jpg"],
            &[("line 2", Missing)],
        ),
        case(
            "deep",
            "jsonl",
            [
                b"{\"path\": \"here.jpg\"}\n{\"path\":".to_vec(),
                vec![b'['; 9999],
            ]
            .concat(),
            &["here.jpg"],
            &[("line 2", Damaged)],
        ),
        case(
            "an endless line",
            "jsonl",
            long_line.into_bytes(),
            &["here.jpg"],
            &[("", Damaged)],
        ),
    ]
}

fn rows(count: usize, bytes: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|row| (format!("{row}.jpg"), incompressible(bytes + row)))
        .collect()
}

fn parquet_with(compression: Compression, images: &[(String, Vec<u8>)]) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(false);
    parquet(images, properties.build())
}

fn parquet_cases() -> Vec<Case> {
    use SkipKind::*;
    let plain = parquet_with(Compression::UNCOMPRESSED, &rows(10, 500));
    // The first page's header: type, then the unpacked and the packed size as zigzag varints.
    let mut lies = plain.clone();
    assert_eq!(lies[4..7], [0x15, 0, 0x15]);
    lies[7..9].copy_from_slice(&[0xff, 0x7f]);
    let mut damaged = plain.clone();
    damaged[4..12].fill(0xff);
    let zeros: Vec<_> = (0..3)
        .map(|row| (format!("{row}.jpg"), vec![0; 90_000]))
        .collect();
    let all: Vec<&'static str> = vec!["0", "1", "2"];
    vec![
        case(
            "a page that lies",
            "parquet",
            lies,
            &["7", "8", "9"],
            &[("", Damaged)],
        ),
        case(
            "a damaged header",
            "parquet",
            damaged,
            &["7", "8", "9"],
            &[("", Damaged)],
        ),
        case(
            "too large",
            "parquet",
            parquet_with(Compression::UNCOMPRESSED, &rows(2, 100_000)),
            &["0"],
            &[("1", TooLarge)],
        ),
        case(
            "a bomb in gzip",
            "parquet",
            parquet_with(Compression::GZIP(GzipLevel::default()), &zeros),
            &[],
            &[("", Bomb)],
        ),
        case(
            "a bomb in Zstandard",
            "parquet",
            parquet_with(Compression::ZSTD(ZstdLevel::default()), &zeros),
            &[],
            &[("", Bomb)],
        ),
        Case {
            limits: Limits {
                ratio: 50,
                ..LIMITS
            },
            ..case(
                "Snappy packs no bombs",
                "parquet",
                parquet_with(Compression::SNAPPY, &zeros),
                &all,
                &[],
            )
        },
    ]
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
fn hostile_zip_archives() {
    zip_cases().iter().for_each(run);
}

#[test]
fn hostile_tar_archives() {
    tar_cases().iter().for_each(run);
}

#[test]
fn hostile_lists() {
    list_cases().iter().for_each(run);
}

#[test]
fn hostile_parquet_files() {
    parquet_cases().iter().for_each(run);
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

/// Every container cut anywhere, and with any byte changed, gives items, skips or an error, and no panic.
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
