//! Tar archives, plain and packed, that lie, are damaged or unpack to too much.

use lookalike_sources::SkipKind;

use crate::support::{gzip, sign, tar, tar_block, tar_header, tar_member, zstandard};
use crate::{Case, case, incompressible, run};

pub fn tar_with(middle: Vec<u8>) -> Vec<u8> {
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

pub fn attributes(records: &str, name: &str) -> Vec<u8> {
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

#[test]
fn hostile_tar_archives() {
    tar_cases().iter().for_each(run);
}
