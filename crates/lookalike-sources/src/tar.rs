//! Tar archives, plain or packed with gzip or Zstandard.
//!
//! A plain archive on a local disk is walked header by header, and its members are read when they
//! are asked for. A packed or remote one is a stream: members are read as they pass, one at a time.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::blob::{Blob, Stream, read_at, read_exactly_at};
use crate::entry::{Content, Entry, Lazy, Stamp};
use crate::error::SourceError;
use crate::index::Index;
use crate::limits::{Counted, Limits, RatioLimited};
use crate::names::{is_image, key_of_member};
use crate::samples::{Member, Samples, Side};
use crate::seen::Seen;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{Entries, Source, SourceOptions, find};

mod header;

use header::{BLOCK, Header, Kind, padded};

/// How a tar archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstandard,
}

/// A tar archive.
#[derive(Clone)]
pub(crate) struct Tar {
    name: String,
    blob: Arc<dyn Blob>,
    packing: Packing,
    /// Whether it is plain and can be read at any position for the same cost.
    lazy: bool,
    options: SourceOptions,
    index: Arc<Index>,
}

impl Tar {
    /// `local`: reading by position costs no more than reading in order.
    pub(crate) fn open(
        name: String,
        blob: Arc<dyn Blob>,
        packing: Packing,
        local: bool,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let tar = Self {
            name,
            blob,
            packing,
            lazy: local && packing == Packing::Plain,
            options: options.clone(),
            index: Arc::default(),
        };
        tar.look()?;
        Ok(tar)
    }

    /// Refuses a file that does not begin as an archive; later it could only be skipped as damaged.
    fn look(&self) -> Result<(), SourceError> {
        let refuse = |reason: String| SourceError::Container {
            name: self.name.clone(),
            format: match self.packing {
                Packing::Plain => "a tar archive",
                Packing::Gzip => "a tar archive packed with gzip",
                Packing::Zstandard => "a tar archive packed with Zstandard",
            },
            reason,
        };
        let mut first = [0; BLOCK];
        let read = self
            .stream(0)
            .and_then(|mut stream| stream.read_exact(&mut first));
        match read {
            Ok(()) if header::is_end(&first) => Ok(()),
            Ok(()) => Header::parse(&first)
                .map(drop)
                .map_err(|why| refuse(why.reason)),
            Err(error) => Err(refuse(
                SkipReason::from_io(&error, "read its beginning").reason,
            )),
        }
    }

    fn stream(&self, from: u64) -> io::Result<Unpacked> {
        let packed = Stream::new(Arc::clone(&self.blob), from, self.blob.stamp().bytes);
        if self.packing == Packing::Plain {
            return Ok(Unpacked::Plain(packed));
        }
        let count = Arc::new(AtomicU64::new(0));
        let packed = Counted {
            inner: packed,
            count: Arc::clone(&count),
        };
        let decoder: Box<dyn Read + Send> = match self.packing {
            Packing::Zstandard => Box::new(zstd::stream::read::Decoder::new(packed)?),
            _ => Box::new(MultiGzDecoder::new(BufReader::with_capacity(
                1 << 16,
                packed,
            ))),
        };
        Ok(Unpacked::Packed(RatioLimited::new(
            decoder,
            self.options.limits,
            count,
        )))
    }

    /// The items from a place on, each with the place at which its sample begins.
    fn from(&self, place: u64) -> Result<Samples<Members>, SourceError> {
        let stream = self.stream(place).map_err(|error| SourceError::Container {
            name: self.name.clone(),
            format: "a tar archive",
            reason: SkipReason::from_io(&error, "begin unpacking it").reason,
        })?;
        let members = Members {
            tar: self.clone(),
            stream,
            at: place,
            count: 0,
            seen: Seen::default(),
            ended: false,
        };
        Ok(Samples::new(members, self.options.label.clone()))
    }
}

impl Source for Tar {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        None
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        Ok(Box::new(self.from(0)?.map(|(_, item)| item)))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        if !self.lazy {
            return find(&self.name, self.entries()?, key);
        }
        self.index.get(&self.name, key, 0, |place| self.from(place))
    }
}

/// The archive's own bytes.
enum Unpacked {
    Plain(Stream),
    Packed(RatioLimited<Box<dyn Read + Send>>),
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Packed(stream) => stream.read(buffer),
        }
    }
}

impl Unpacked {
    /// Skips bytes, and returns how many there were.
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        match self {
            Self::Plain(stream) => {
                let bytes = bytes.min(stream.remaining());
                stream.skip(bytes);
                Ok(bytes)
            }
            Self::Packed(stream) => io::copy(&mut stream.take(bytes), &mut io::sink()),
        }
    }

    /// Fills the buffer as far as there are bytes.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// The members that matter, in the archive's order.
struct Members {
    tar: Tar,
    stream: Unpacked,
    /// The position in the unpacked archive.
    at: u64,
    count: u64,
    seen: Seen,
    ended: bool,
}

impl Iterator for Members {
    type Item = (u64, Member);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let place = self.at;
            let step = self.header().and_then(|header| match header {
                None => {
                    self.ended = true;
                    Ok(None)
                }
                Some(header) => self.member(header),
            });
            match step {
                Ok(Some(member)) => return Some((place, member)),
                Ok(None) => {}
                Err(why) => {
                    self.ended = true;
                    let skipped = Skipped::new("", &self.tar.name, why);
                    return Some((place, Member::Skipped(skipped)));
                }
            }
        }
        None
    }
}

/// The most bytes of a long name or of a header's attributes.
const MAX_HEADER_BYTES: u64 = 1 << 20;

impl Members {
    fn failed(error: &io::Error) -> SkipReason {
        SkipReason::from_io(error, "read the archive further")
    }

    /// The next member's header, with what the headers before it add; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>, SkipReason> {
        let mut attributes = header::Attributes::default();
        loop {
            let mut block = [0; BLOCK];
            let read = self
                .stream
                .fill(&mut block)
                .map_err(|error| Self::failed(&error))?;
            self.at += read as u64;
            // Some packers leave out the empty blocks at the end.
            if read == 0 || (read == BLOCK && header::is_end(&block)) {
                self.finish()?;
                return Ok(None);
            }
            if read < BLOCK {
                return Err(Self::failed(&io::ErrorKind::UnexpectedEof.into()));
            }
            self.count += 1;
            self.tar.options.limits.check_members(self.count)?;
            let mut header = Header::parse(&block)?;
            if header.kind != Kind::Attributes {
                header.extend(attributes);
                return Ok(Some(header));
            }
            if header.size > MAX_HEADER_BYTES {
                let reason = format!(
                    "a member's name or attributes take {} bytes; the rest of the archive is not \
                     read; pack it again",
                    header.size
                );
                return Err(SkipReason::new(SkipKind::Damaged, reason));
            }
            let bytes = self.content(header.size)?;
            attributes.add(&header, &bytes)?;
        }
    }

    /// Reads a packed archive to its end, where its checksum is.
    fn finish(&mut self) -> Result<(), SkipReason> {
        let Unpacked::Packed(stream) = &mut self.stream else {
            return Ok(());
        };
        io::copy(stream, &mut io::sink()).map(drop).map_err(|error| {
            let why = Self::failed(&error);
            let reason = format!(
                "the archive as a whole is not what was packed, and images from it may be damaged: {}",
                why.reason
            );
            SkipReason { reason, ..why }
        })
    }

    /// Reads a member's content and the padding of its last block. Memory grows with what arrives.
    fn content(&mut self, size: u64) -> Result<Vec<u8>, SkipReason> {
        let mut bytes = Vec::new();
        (&mut self.stream)
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|error| Self::failed(&error))?;
        self.at += bytes.len() as u64;
        if (bytes.len() as u64) < size {
            return Err(Self::failed(&io::ErrorKind::UnexpectedEof.into()));
        }
        self.pass(padded(size) - size)?;
        Ok(bytes)
    }

    fn pass(&mut self, bytes: u64) -> Result<(), SkipReason> {
        let passed = self
            .stream
            .skip(bytes)
            .map_err(|error| Self::failed(&error))?;
        self.at += passed;
        Ok(())
    }

    /// A member that matters; an error ends the archive.
    fn member(&mut self, header: Header) -> Result<Option<Member>, SkipReason> {
        let size = header.size;
        let lossy = String::from_utf8_lossy(&header.name).into_owned();
        let (image, side) = (is_image(&header.name), Side::is(&lossy));
        if header.kind == Kind::Folder || !(image || side) {
            self.pass(padded(size))?;
            return Ok(None);
        }
        let location = format!("{}!{lossy}", self.tar.name);
        let limits = if side {
            Side::LIMITS
        } else {
            self.tar.options.limits
        };
        let checked = header.check_kind().and_then(|()| {
            let key = key_of_member(&header.name)?;
            // Labels and payloads are not images: their names may repeat.
            if image {
                self.seen.check(&key)?;
            }
            limits.check_item(size)?;
            Ok(key)
        });
        let found = match checked {
            Ok(key) => {
                let content = self.take(size);
                self.ended |= content.is_err();
                content.map(|content| (key, content))
            }
            Err(why) => {
                self.pass(padded(size))?;
                Err(why)
            }
        };
        if side && self.ended {
            // The label may never be read, but the end of the archive has to be reported.
            return found.map(|_| None);
        }
        let stamp = Stamp {
            bytes: size,
            modified: header.modified,
            changed: None,
        };
        Ok(Some(Member::new(lossy, location, side, stamp, found)))
    }

    /// A member's content, or where it is; an error if the archive ends before it does.
    fn take(&mut self, size: u64) -> Result<Content, SkipReason> {
        let begin = self.at;
        if !self.tar.lazy {
            return Ok(Content::Bytes(Bytes::from(self.content(size)?)));
        }
        self.pass(padded(size))?;
        if self.at < begin.saturating_add(size) {
            return Err(Self::failed(&io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Content::Lazy(Arc::new(Section {
            blob: Arc::clone(&self.tar.blob),
            offset: begin,
            length: size,
        })))
    }
}

/// A range of a plain archive.
struct Section {
    blob: Arc<dyn Blob>,
    offset: u64,
    length: u64,
}

impl Lazy for Section {
    fn read(&self, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
        limits.check_item(self.length)?;
        read_exactly_at(self.blob.as_ref(), self.offset, self.length)
            .map(Vec::from)
            .map_err(|error| SkipReason::from_io(&error, "read it from the archive"))
    }

    fn read_at(&self, offset: u64, length: usize) -> Option<io::Result<Bytes>> {
        let left = self.length.saturating_sub(offset);
        let at = self.offset.saturating_add(offset);
        Some(read_at(self.blob.as_ref(), at, left.min(length as u64)))
    }
}
