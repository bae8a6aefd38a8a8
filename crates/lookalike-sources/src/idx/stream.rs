//! The bytes of an IDX file, one after another, whether packed or not.

use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

use super::IdxError;

/// A file's content, unpacked if need be.
enum Content<R: Read> {
    Plain(io::Chain<Cursor<Vec<u8>>, R>),
    Gzip(Box<MultiGzDecoder<io::Chain<Cursor<Vec<u8>>, R>>>),
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
        }
    }
}

/// A content that knows where it is.
pub(super) struct Stream<R: Read> {
    file: String,
    /// Whether the content is packed with gzip.
    pub(super) unpacked: bool,
    /// Bytes of the content that were taken.
    pub(super) offset: u64,
    reader: BufReader<Content<R>>,
}

impl<R: Read> Stream<R> {
    pub(super) fn new(mut reader: R, file: &str) -> Result<Self, IdxError> {
        let mut start = Vec::with_capacity(2);
        let read = reader.by_ref().take(2).read_to_end(&mut start);
        let unpacked = start == [0x1f, 0x8b];
        let whole = Cursor::new(start).chain(reader);
        let content = match unpacked {
            true => Content::Gzip(Box::new(MultiGzDecoder::new(whole))),
            false => Content::Plain(whole),
        };
        let stream = Self {
            file: file.to_owned(),
            unpacked,
            offset: 0,
            reader: BufReader::with_capacity(1 << 16, content),
        };
        match read {
            Ok(_) => Ok(stream),
            Err(error) => Err(stream.error_at(0, "an IDX file", error)),
        }
    }

    pub(super) fn error_at(
        &self,
        offset: u64,
        expected: impl ToString,
        found: impl ToString,
    ) -> IdxError {
        IdxError {
            file: self.file.clone(),
            offset,
            unpacked: self.unpacked,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(super) fn magic(&mut self, expected: &str) -> Result<[u8; 4], IdxError> {
        self.array(|| expected.to_owned())
    }

    /// A size of the header: 1 to `most`.
    pub(super) fn dimension(&mut self, what: &str, most: u32) -> Result<u32, IdxError> {
        let at = self.offset;
        let size = u32::from_be_bytes(self.array(|| what.to_owned())?);
        if (1..=most).contains(&size) {
            return Ok(size);
        }
        Err(self.error_at(at, format!("{what}, 1 to {most}"), size))
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: impl Fn() -> String,
    ) -> Result<[u8; N], IdxError> {
        let mut bytes = [0; N];
        let mut come = 0;
        while come < N {
            match self.reader.read(&mut bytes[come..]) {
                Ok(0) => return Err(self.missing(N as u64, come as u64, what, None)),
                Ok(more) => come += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.missing(N as u64, come as u64, what, Some(error))),
            }
        }
        self.offset += N as u64;
        Ok(bytes)
    }

    /// `length` bytes; memory grows with what comes.
    pub(super) fn block(
        &mut self,
        length: usize,
        what: impl Fn() -> String,
    ) -> Result<Vec<u8>, IdxError> {
        let mut bytes = Vec::with_capacity(length.min(1 << 16));
        let read = self
            .reader
            .by_ref()
            .take(length as u64)
            .read_to_end(&mut bytes);
        if bytes.len() < length {
            return Err(self.missing(length as u64, bytes.len() as u64, what, read.err()));
        }
        self.offset += length as u64;
        Ok(bytes)
    }

    pub(super) fn pass(&mut self, length: u64, what: &str) -> Result<(), IdxError> {
        // Copying into the sink may fail half-way, so it is done in blocks of which each is
        // counted.
        let mut left = length;
        while left > 0 {
            let next = left.min(1 << 16);
            let copied = io::copy(&mut self.reader.by_ref().take(next), &mut io::sink());
            match copied {
                Ok(come) if come == next => self.offset += come,
                Ok(come) => return Err(self.missing(left, come, || what.to_owned(), None)),
                Err(error) => return Err(self.missing(left, 0, || what.to_owned(), Some(error))),
            }
            left -= next;
        }
        Ok(())
    }

    /// The error for a content that ends, or breaks, after `come` of `length` bytes.
    fn missing(
        &self,
        length: u64,
        come: u64,
        what: impl Fn() -> String,
        error: Option<io::Error>,
    ) -> IdxError {
        let bytes = if length == 1 { "byte" } else { "bytes" };
        let expected = format!("{length} {bytes} ({})", what());
        let found = match error {
            None => format!("the end after {come}"),
            Some(error) => format!("a fault after {come}: {error}"),
        };
        self.error_at(self.offset + come, expected, found)
    }

    /// Checks that nothing follows. For a packed file this also checks the packer's own checksum.
    pub(super) fn end(&mut self, of: &str) -> Result<(), IdxError> {
        let mut byte = [0];
        loop {
            let found = match self.reader.read(&mut byte) {
                Ok(0) => return Ok(()),
                Ok(_) => "more bytes".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => format!("a fault: {error}"),
            };
            let expected = format!("the end, after all the {of} that the header promises");
            return Err(self.error_at(self.offset, expected, found));
        }
    }
}
