//! Containers for the tests, valid and otherwise.

#![allow(dead_code, reason = "each test uses a part")]

pub mod stores;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use lookalike_sources::{Entry, Limits, Skipped, Source, SourceOptions};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Opens a source that must exist.
pub fn open(path: &Path) -> Box<dyn Source> {
    open_spec(path.to_str().unwrap(), &SourceOptions::default())
}

pub fn open_spec(spec: &str, options: &SourceOptions) -> Box<dyn Source> {
    lookalike_sources::open(spec, options).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

/// All items of a source, the entries and the skipped.
pub fn all(source: &dyn Source) -> (Vec<Entry>, Vec<Skipped>) {
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    for item in source.entries().unwrap() {
        match item {
            Ok(entry) => entries.push(entry),
            Err(skip) => skipped.push(skip),
        }
    }
    (entries, skipped)
}

pub fn read(entry: &Entry) -> Vec<u8> {
    let read = entry.read(&Limits::default());
    read.unwrap_or_else(|why| panic!("{}: {why}", entry.location))
}

/// Names and contents of some images, by the bytes of their names, in three folders.
pub fn pictures() -> Vec<(String, Vec<u8>)> {
    let folders = ["cats", "dogs", "owls"];
    let picture = |number: usize| {
        let name = format!("{}/{number:03}.jpg", folders[number / 20]);
        // Compressible, and all different.
        let bytes = format!("picture {number} ").repeat(20 + number);
        (name, bytes.into_bytes())
    };
    (0..60).map(picture).collect()
}

/// A member of a zip archive, which may be made invalid.
#[derive(Clone)]
pub struct ZipMember {
    pub name: Vec<u8>,
    pub bytes: Vec<u8>,
    pub method: u16,
    /// Changes the record in the directory before it is written.
    pub record: fn(&mut [u8]),
    /// Changes the member's own header and content.
    pub member: fn(&mut Vec<u8>),
    /// Whether its record points to the member before it.
    pub overlap: bool,
}

pub fn member(name: &str, bytes: &[u8]) -> ZipMember {
    ZipMember {
        name: name.as_bytes().to_vec(),
        bytes: bytes.to_vec(),
        method: 8,
        record: |_| {},
        member: |_| {},
        overlap: false,
    }
}

fn put(to: &mut Vec<u8>, bytes: usize, value: u64) {
    to.extend_from_slice(&value.to_le_bytes()[..bytes]);
}

fn crc(bytes: &[u8]) -> u64 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    u64::from(crc.sum())
}

pub fn zip(members: &[ZipMember]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    let mut last = 0;
    for member in members {
        let packed = match member.method {
            8 => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&member.bytes).unwrap();
                encoder.finish().unwrap()
            }
            93 => zstd::bulk::compress(&member.bytes, 3).unwrap(),
            _ => member.bytes.clone(),
        };
        let at = if member.overlap { last } else { archive.len() };
        last = at;
        let mut own = Vec::new();
        put(&mut own, 4, 0x0403_4b50);
        for (bytes, value) in [
            (2, 20),
            (2, 0x800),
            (2, u64::from(member.method)),
            (4, 0x5a21_6000),
        ] {
            put(&mut own, bytes, value);
        }
        put(&mut own, 4, crc(&member.bytes));
        put(&mut own, 4, packed.len() as u64);
        put(&mut own, 4, member.bytes.len() as u64);
        put(&mut own, 2, member.name.len() as u64);
        put(&mut own, 2, 0);
        own.extend_from_slice(&member.name);
        own.extend_from_slice(&packed);
        (member.member)(&mut own);
        if !member.overlap {
            archive.extend_from_slice(&own);
        }
        let mut record = Vec::new();
        put(&mut record, 4, 0x0201_4b50);
        for (bytes, value) in [
            (2, 0x314),
            (2, 20),
            (2, 0x800),
            (2, u64::from(member.method)),
            (4, 0x5a21_6000),
        ] {
            put(&mut record, bytes, value);
        }
        put(&mut record, 4, crc(&member.bytes));
        put(&mut record, 4, packed.len() as u64);
        put(&mut record, 4, member.bytes.len() as u64);
        put(&mut record, 2, member.name.len() as u64);
        for (bytes, value) in [(2, 0), (2, 0), (2, 0), (2, 0), (4, 0o100_644 << 16)] {
            put(&mut record, bytes, value);
        }
        put(&mut record, 4, at as u64);
        record.extend_from_slice(&member.name);
        (member.record)(&mut record);
        directory.extend_from_slice(&record);
    }
    let at = archive.len();
    archive.extend_from_slice(&directory);
    put(&mut archive, 4, 0x0605_4b50);
    put(&mut archive, 4, 0);
    put(&mut archive, 2, members.len() as u64);
    put(&mut archive, 2, members.len() as u64);
    put(&mut archive, 4, directory.len() as u64);
    put(&mut archive, 4, at as u64);
    put(&mut archive, 2, 0);
    archive
}

/// A header of tar; `kind` is the letter of its type.
pub fn tar_header(name: &[u8], size: u64, kind: u8) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    header[100..108].copy_from_slice(b"0000644\0");
    match format!("{size:011o}\0") {
        octal if octal.len() == 12 => header[124..136].copy_from_slice(octal.as_bytes()),
        _ => {
            header[124] = 0x80;
            header[128..136].copy_from_slice(&size.to_be_bytes());
        }
    }
    header[136..148].copy_from_slice(b"14630000000\0");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    sign(&mut header);
    header
}

/// Writes a header's checksum.
pub fn sign(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A member with its content, filled up to whole blocks.
pub fn tar_member(name: &str, bytes: &[u8]) -> Vec<u8> {
    tar_block(tar_header(name.as_bytes(), bytes.len() as u64, b'0'), bytes)
}

pub fn tar_block(mut header: Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    header.extend_from_slice(bytes);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// Members and the end.
pub fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = members.concat();
    archive.resize(archive.len() + 1024, 0);
    archive
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

/// A Parquet file of the images as Hugging Face writes it, 7 rows a group. Images without bytes are
/// null.
pub fn parquet(images: &[(String, Vec<u8>)], properties: WriterProperties) -> Vec<u8> {
    let schema = "message schema {
        optional group image { optional binary bytes; optional binary path (UTF8); }
        optional int64 label;
        optional binary note (UTF8);
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let features = r#"{"info":{"features":{"image":{"_type":"Image"},
        "label":{"names":["cats","dogs","owls"],"_type":"ClassLabel"}}}}"#;
    let properties = properties
        .into_builder()
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "huggingface".into(),
            features.to_owned(),
        )]))
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for group in images.chunks(7) {
        let mut rows = writer.next_row_group().unwrap();
        let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        let bytes: Vec<_> = group
            .iter()
            .map(|(_, bytes)| ByteArray::from(bytes.clone()))
            .collect();
        let there: Vec<_> = bytes
            .iter()
            .filter(|bytes| !bytes.is_empty())
            .cloned()
            .collect();
        let levels: Vec<i16> = bytes
            .iter()
            .map(|bytes| if bytes.is_empty() { 1 } else { 2 })
            .collect();
        let names: Vec<_> = group.iter().map(|(name, _)| text(name)).collect();
        let mut column = rows.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&there, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&names, Some(&vec![2; group.len()]), None)
            .unwrap();
        column.close().unwrap();
        let label = |(name, _): &(String, _)| match name.split('/').next() {
            Some("cats") => 0,
            Some("dogs") => 1,
            _ => 2,
        };
        let labels: Vec<i64> = group.iter().map(label).collect();
        let mut column = rows.next_column().unwrap().unwrap();
        let typed = column.typed::<Int64Type>();
        typed
            .write_batch(&labels, Some(&vec![1; group.len()]), None)
            .unwrap();
        column.close().unwrap();
        // Every row's note is null but the first of a group.
        let mut levels = vec![0; group.len()];
        levels[0] = 1;
        let mut column = rows.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&[text("first")], Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        rows.close().unwrap();
    }
    writer.into_inner().unwrap()
}
