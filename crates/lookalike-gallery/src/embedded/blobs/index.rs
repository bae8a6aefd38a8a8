//! `index.bin`: the table as it was, so that opening does not read every blob. It may be
//! missing or behind: what it does not cover is read from the segments.
//!
//! All numbers little-endian: magic, format (u32), number of segments (u32), number of entries
//! (u64); per segment its number (u32) and how far of it is covered (u64); per entry, ascending,
//! the key (16 bytes), segment, offset and length (u32 each); BLAKE3 over all this.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use super::segment::{HEAD, HEADER, Segment};
use super::table::{Entry, Place, Table};
use crate::GalleryError;
use crate::embedded::folder::write_aside;
use crate::thumbnail::MAX_BYTES;

const MAGIC: &[u8; 8] = b"lookthix";
const FORMAT: u32 = 1;
const PREAMBLE: usize = 24;
const COVERED: usize = 12;
const ENTRY: usize = 28;
const HASH: usize = 32;

/// What an index says: the table, and how far it covers which segments.
pub(super) struct Index {
    pub(super) table: Table,
    pub(super) covered: BTreeMap<u32, u64>,
}

pub(super) fn write(
    path: &Path,
    table: &mut Table,
    segments: &BTreeMap<u32, Segment>,
) -> Result<(), GalleryError> {
    let entries = table.entries();
    write_aside(path, |file| {
        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            file.write_all(bytes)
        };
        put(MAGIC)?;
        put(&FORMAT.to_le_bytes())?;
        put(&(segments.len() as u32).to_le_bytes())?;
        put(&(entries.len() as u64).to_le_bytes())?;
        for (number, segment) in segments {
            put(&number.to_le_bytes())?;
            put(&segment.length().to_le_bytes())?;
        }
        for Entry { key, place } in entries {
            let mut bytes = [0; ENTRY];
            bytes[..16].copy_from_slice(key);
            bytes[16..20].copy_from_slice(&place.segment.to_le_bytes());
            bytes[20..24].copy_from_slice(&place.offset.to_le_bytes());
            bytes[24..].copy_from_slice(&place.length.to_le_bytes());
            put(&bytes)?;
        }
        file.write_all(hasher.finalize().as_bytes())
    })
}

/// Reads the index of these segments; none if it is missing, damaged, or speaks of other files.
pub(super) fn read(path: &Path, segments: &BTreeMap<u32, Segment>) -> Option<Index> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut file = Hashed {
        file: BufReader::new(file),
        hasher: blake3::Hasher::new(),
    };
    let preamble: [u8; PREAMBLE] = file.take()?;
    if !preamble.starts_with(MAGIC) || u32_at(&preamble, 8) != FORMAT {
        return None;
    }
    let count = u64_at(&preamble, 16);
    let listed = u64::from(u32_at(&preamble, 12));
    let entries = usize::try_from(count).ok()?;
    // The file is as long as it says, so nothing is allocated that is not there.
    let expected = count
        .checked_mul(ENTRY as u64)?
        .checked_add(listed * COVERED as u64)?
        .checked_add((PREAMBLE + HASH) as u64)?;
    if length != expected {
        return None;
    }
    let mut covered = BTreeMap::new();
    for _ in 0..listed {
        let bytes: [u8; COVERED] = file.take()?;
        let (number, to) = (u32_at(&bytes, 0), u64_at(&bytes, 4));
        if to < HEADER || to > segments.get(&number)?.length() {
            return None;
        }
        covered.insert(number, to);
    }
    let mut sorted: Vec<Entry> = Vec::with_capacity(entries);
    for _ in 0..entries {
        let bytes: [u8; ENTRY] = file.take()?;
        let mut key = [0; 16];
        key.copy_from_slice(&bytes[..16]);
        let place = Place {
            segment: u32_at(&bytes, 16),
            offset: u32_at(&bytes, 20),
            length: u32_at(&bytes, 24),
        };
        let end = u64::from(place.offset) + HEAD as u64 + u64::from(place.length);
        let ascends = sorted.last().is_none_or(|last| last.key < key);
        let inside = u64::from(place.offset) >= HEADER && end <= *covered.get(&place.segment)?;
        if !ascends || !inside || place.length as usize > MAX_BYTES {
            return None;
        }
        sorted.push(Entry { key, place });
    }
    let expected = file.hasher.finalize();
    let found: [u8; HASH] = file.take()?;
    (expected == found).then_some(Index {
        table: Table::from_sorted(sorted),
        covered,
    })
}

/// A file, hashed as it is read.
struct Hashed {
    file: BufReader<File>,
    hasher: blake3::Hasher,
}

impl Hashed {
    /// The next bytes; none if there are not so many.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let read: io::Result<()> = self.file.read_exact(&mut bytes);
        read.ok()?;
        self.hasher.update(&bytes);
        Some(bytes)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
