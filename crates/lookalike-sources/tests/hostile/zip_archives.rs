//! Zip archives that lie, are damaged or unpack to too much.

use lookalike_sources::SkipKind;

use crate::support::{ZipMember, member, zip};
use crate::{Case, case, run};

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

pub fn with(middle: ZipMember) -> Vec<u8> {
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

#[test]
fn hostile_zip_archives() {
    zip_cases().iter().for_each(run);
}
