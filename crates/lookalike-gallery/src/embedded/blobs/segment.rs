//! `*.thumbs` and `*.tiles`: blobs one after another. Only the newest file grows, none is ever
//! changed.
//!
//! All numbers little-endian: magic of their kind, format (u32), zeros (u32); then records: the
//! content's BLAKE3 (32 bytes), the blob's length (u32), the first 8 bytes of the BLAKE3 over both
//! and the blob, the blob.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use lookalike_files::{read_exact_at, write_all_at};

use crate::embedded::folder::forbids_writing;
use crate::thumbnail::MAX_BYTES;

const FORMAT: u32 = 1;
/// Bytes before the first record.
pub(super) const HEADER: u64 = 16;
const HASH: usize = 32;
const CHECK: usize = 8;
/// Bytes of a record before its blob.
pub(super) const HEAD: usize = HASH + 4 + CHECK;

/// A content's BLAKE3.
pub(super) type Hash = [u8; HASH];

/// An open file of blobs.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// Where the next record goes, and all before it is on disk.
    length: u64,
}

fn header(magic: &[u8; 8]) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..8].copy_from_slice(magic);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header
}

fn check(hash: &[u8], blob: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(hash);
    hasher.update(&(blob.len() as u32).to_le_bytes());
    hasher.update(blob);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
    check
}

/// Adds a record to `bytes`.
pub(super) fn write_record(bytes: &mut Vec<u8>, hash: &Hash, blob: &[u8]) {
    bytes.extend(hash);
    bytes.extend((blob.len() as u32).to_le_bytes());
    bytes.extend(check(hash, blob));
    bytes.extend(blob);
}

impl Segment {
    /// Makes a new one, empty. Its name is on disk once the folder is.
    pub(super) fn create(path: &Path, magic: &[u8; 8]) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        write_all_at(&file, &header(magic), 0)?;
        Ok(Segment {
            file,
            length: HEADER,
        })
    }

    /// Opens one; none if it is no such file.
    pub(super) fn open(path: &Path, magic: &[u8; 8]) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            // Where nothing can be written, what is there can be read.
            Err(error) if forbids_writing(&error) => File::open(path)?,
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let length = metadata.len();
        if !metadata.is_file() || length < HEADER {
            return Ok(None);
        }
        let mut found = [0; HEADER as usize];
        read_exact_at(&file, &mut found, 0)?;
        Ok((found == header(magic)).then_some(Segment { file, length }))
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds records; they are on disk after [`Segment::sync`].
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        write_all_at(&self.file, records, self.length).inspect_err(|_| {
            // If this fails as well, the next opening cuts the remains off.
            let _ = self.file.set_len(self.length);
        })?;
        self.length += records.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Cuts everything off from `length` on.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_all()?;
        self.length = length;
        Ok(())
    }

    /// The record at `offset`: its content and its blob. None if none is there, whole.
    pub(super) fn read(&self, offset: u64) -> io::Result<Option<(Hash, Vec<u8>)>> {
        let Some((head, length)) = self.head(offset)? else {
            return Ok(None);
        };
        let mut blob = vec![0; length];
        if !self.fill(&mut blob, offset + HEAD as u64)? {
            return Ok(None);
        }
        let mut hash = [0; HASH];
        hash.copy_from_slice(&head[..HASH]);
        let whole = check(&hash, &blob) == head[HEAD - CHECK..];
        Ok(whole.then_some((hash, blob)))
    }

    /// The head of a record at `offset`, and the length that it claims, if that can be.
    fn head(&self, offset: u64) -> io::Result<Option<([u8; HEAD], usize)>> {
        let mut head = [0; HEAD];
        if offset + HEAD as u64 > self.length || !self.fill(&mut head, offset)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes([head[32], head[33], head[34], head[35]]) as usize;
        let fits = length <= MAX_BYTES && offset + (HEAD + length) as u64 <= self.length;
        Ok(fits.then_some((head, length)))
    }

    /// Fills the buffer; says no if the file has become shorter.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        match read_exact_at(&self.file, buffer, offset) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Goes through the records from `from` on, checking each. A damaged one is passed over if a
    /// whole one follows it. Gives where the last whole one ends.
    pub(super) fn scan(
        &self,
        from: u64,
        mut each: impl FnMut(&Hash, u64, usize),
    ) -> io::Result<u64> {
        let (mut end, mut at) = (from, from);
        loop {
            if let Some((hash, blob)) = self.read(at)? {
                each(&hash, at, blob.len());
                at += (HEAD + blob.len()) as u64;
                end = at;
                continue;
            }
            let Some((_, length)) = self.head(at)? else {
                return Ok(end);
            };
            at += (HEAD + length) as u64;
            if self.read(at)?.is_none() {
                return Ok(end);
            }
        }
    }
}
