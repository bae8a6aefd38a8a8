//! Parquet files that lie, are damaged or unpack to too much.

use lookalike_sources::{Limits, SkipKind};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::support::parquet;
use crate::{Case, LIMITS, case, incompressible, run};

pub fn rows(count: usize, bytes: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|row| (format!("{row}.jpg"), incompressible(bytes + row)))
        .collect()
}

pub fn parquet_with(compression: Compression, images: &[(String, Vec<u8>)]) -> Vec<u8> {
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

#[test]
fn hostile_parquet_files() {
    parquet_cases().iter().for_each(run);
}
