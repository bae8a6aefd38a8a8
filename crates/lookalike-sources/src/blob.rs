//! Bytes that can be read anywhere, by several threads: a local file, a remote object, memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use crate::entry::Stamp;

/// Bytes that can be read anywhere, by several threads at once.
pub(crate) trait Blob: Send + Sync {
    /// The size, and when it last changed.
    fn stamp(&self) -> Stamp;

    /// Begins to read `length` bytes from `offset`, a range within the blob. Fewer come only if the
    /// blob became shorter meanwhile.
    fn fetch(&self, offset: u64, length: usize) -> Fetch;

    /// How much to read at once when all of it is wanted, and whether to fetch the next piece
    /// meanwhile.
    fn stride(&self) -> (usize, bool);
}

/// The result of a read, or a channel on which it arrives.
pub(crate) enum Fetch {
    Here(io::Result<Bytes>),
    #[cfg_attr(
        not(feature = "remote"),
        expect(dead_code, reason = "only remote objects take time")
    )]
    Coming(Receiver<io::Result<Bytes>>),
}

impl Fetch {
    pub(crate) fn wait(self) -> io::Result<Bytes> {
        match self {
            Self::Here(bytes) => bytes,
            Self::Coming(bytes) => bytes
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("the read was cancelled"))),
        }
    }
}

/// At most `length` bytes from `offset`; fewer at the end.
pub(crate) fn read_at(blob: &dyn Blob, offset: u64, length: u64) -> io::Result<Bytes> {
    let length = length.min(blob.stamp().bytes.saturating_sub(offset));
    match usize::try_from(length) {
        Ok(0) => Ok(Bytes::new()),
        Ok(length) => blob.fetch(offset, length).wait(),
        Err(_) => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// Exactly `length` bytes from `offset`, or an error.
pub(crate) fn read_exactly_at(blob: &dyn Blob, offset: u64, length: u64) -> io::Result<Bytes> {
    let bytes = read_at(blob, offset, length)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A local file, read by position so that threads share the handle.
pub(crate) struct LocalFile {
    file: File,
    stamp: Stamp,
}

impl LocalFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let about = fs::metadata(path)?;
        if !about.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let file = File::open(path)?;
        let stamp = file_stamp(&file.metadata()?);
        Ok(Self { file, stamp })
    }
}

impl Blob for LocalFile {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn fetch(&self, offset: u64, length: usize) -> Fetch {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match lookalike_files::read_at(&self.file, &mut bytes[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Fetch::Here(Err(error)),
            }
        }
        bytes.truncate(filled);
        Fetch::Here(Ok(bytes.into()))
    }

    fn stride(&self) -> (usize, bool) {
        (1 << 18, false)
    }
}

/// What a file's metadata say.
pub(crate) fn file_stamp(about: &fs::Metadata) -> Stamp {
    let modified = about
        .modified()
        .ok()
        .and_then(|time| match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).ok(),
            Err(before) => i64::try_from(before.duration().as_nanos())
                .ok()
                .map(|nanos| -nanos),
        });
    Stamp {
        bytes: about.len(),
        modified,
        changed: changed(about),
    }
}

#[cfg(unix)]
fn changed(about: &fs::Metadata) -> Option<i64> {
    use std::os::unix::fs::MetadataExt;
    let seconds = about.ctime().checked_mul(1_000_000_000)?;
    seconds.checked_add(about.ctime_nsec())
}

#[cfg(not(unix))]
fn changed(_about: &fs::Metadata) -> Option<i64> {
    None
}

impl Blob for Bytes {
    fn stamp(&self) -> Stamp {
        Stamp {
            bytes: self.len() as u64,
            modified: None,
            changed: None,
        }
    }

    fn fetch(&self, offset: u64, length: usize) -> Fetch {
        let offset = offset as usize;
        Fetch::Here(Ok(self.slice(offset..offset + length)))
    }

    fn stride(&self) -> (usize, bool) {
        (usize::MAX, false)
    }
}

/// A range of a blob, read in order.
pub(crate) struct Stream {
    blob: Arc<dyn Blob>,
    /// Bytes that were fetched and not read yet, from `at` on.
    here: Bytes,
    at: u64,
    end: u64,
    /// The piece after `here`, if it is being fetched.
    next: Option<Fetch>,
}

impl Stream {
    pub(crate) fn new(blob: Arc<dyn Blob>, from: u64, end: u64) -> Self {
        let end = end.min(blob.stamp().bytes);
        Self {
            blob,
            here: Bytes::new(),
            at: from,
            end,
            next: None,
        }
    }

    pub(crate) fn all(blob: Arc<dyn Blob>) -> Self {
        let end = blob.stamp().bytes;
        Self::new(blob, 0, end)
    }

    /// The offset in the blob of the next byte.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// How much is left.
    pub(crate) fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// Skips bytes without fetching them.
    pub(crate) fn skip(&mut self, bytes: u64) {
        let bytes = bytes.min(self.remaining());
        if bytes < self.here.len() as u64 {
            bytes::Buf::advance(&mut self.here, bytes as usize);
        } else if bytes > self.here.len() as u64 {
            self.here = Bytes::new();
            self.next = None;
        } else {
            self.here = Bytes::new();
        }
        self.at += bytes;
    }

    fn begin(&self, from: u64) -> Option<Fetch> {
        let (stride, _) = self.blob.stride();
        let length = (stride as u64).min(self.end.saturating_sub(from)) as usize;
        (length > 0).then(|| self.blob.fetch(from, length))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.here.is_empty() {
            let Some(fetch) = self.next.take().or_else(|| self.begin(self.at)) else {
                return Ok(0);
            };
            self.here = fetch.wait()?;
            if self.blob.stride().1 && !self.here.is_empty() {
                self.next = self.begin(self.at + self.here.len() as u64);
            }
        }
        let read = buffer.len().min(self.here.len());
        buffer[..read].copy_from_slice(&self.here[..read]);
        bytes::Buf::advance(&mut self.here, read);
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob that comes in pieces of seven bytes.
    struct Pieces(Bytes);

    impl Blob for Pieces {
        fn stamp(&self) -> Stamp {
            self.0.stamp()
        }

        fn fetch(&self, offset: u64, length: usize) -> Fetch {
            self.0.fetch(offset, length)
        }

        fn stride(&self) -> (usize, bool) {
            (7, true)
        }
    }

    #[test]
    fn streams_read_and_skip_across_pieces() {
        let bytes: Vec<u8> = (0..100).collect();
        let blob: Arc<dyn Blob> = Arc::new(Pieces(Bytes::from(bytes.clone())));
        for skip in 0..30 {
            let mut stream = Stream::new(Arc::clone(&blob), 5, 95);
            let mut start = [0; 10];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(start, bytes[5..15]);
            stream.skip(skip);
            assert_eq!(stream.position(), 15 + skip);
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, bytes[15 + skip as usize..95]);
            assert_eq!(stream.remaining(), 0);
        }
    }

    #[test]
    fn reading_beyond_the_end_gives_what_there_is() {
        let blob = Bytes::from_static(b"0123456789");
        assert_eq!(read_at(&blob, 8, u64::MAX).unwrap(), "89");
        assert!(read_at(&blob, 80, 1).unwrap().is_empty());
        assert!(read_exactly_at(&blob, 8, 3).is_err());
    }

    #[test]
    fn a_local_file_is_read_by_position() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, b"0123456789").unwrap();
        let file = LocalFile::open(&path).unwrap();
        assert_eq!(read_at(&file, 3, 4).unwrap(), "3456");
        assert!(file.stamp().modified.unwrap() > 0);
        assert!(LocalFile::open(folder.path()).is_err());
    }
}
