//! Zip archives, read by the directory at their end.
//!
//! Listing reads the directory only, in pieces and from any record on. A member is read when it is
//! asked for, in one read by position, so that threads share a handle and a remote archive is asked
//! once. What the directory says is checked against the member's own header, its neighbours and its
//! checksum.

use std::collections::BTreeMap;
use std::sync::Arc;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::blob::{Blob, Stream, read_at, read_exactly_at};
use crate::entry::{Content, Entry, Lazy, Stamp};
use crate::error::SourceError;
use crate::index::Index;
use crate::limits::Limits;
use crate::names::{is_image, key_of_member};
use crate::samples::{Member, Samples, Side};
use crate::seen::Seen;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::{Entries, Source, SourceOptions};

mod directory;

use directory::{Directory, Record};

/// A zip archive.
#[derive(Clone)]
pub(crate) struct Zip {
    name: String,
    blob: Arc<dyn Blob>,
    directory: Directory,
    options: SourceOptions,
    index: Arc<Index>,
}

impl Zip {
    pub(crate) fn open(
        name: String,
        blob: Arc<dyn Blob>,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let directory = Directory::find(blob.as_ref()).map_err(|why| SourceError::Container {
            name: name.clone(),
            format: "a zip archive",
            reason: why.reason,
        })?;
        Ok(Self {
            name,
            blob,
            directory,
            options: options.clone(),
            index: Arc::default(),
        })
    }

    /// The items from a place in the directory on, each with the place at which its sample begins.
    fn from(&self, place: u64) -> Samples<Members> {
        let members = Members {
            zip: self.clone(),
            records: Stream::new(Arc::clone(&self.blob), place, self.directory.end),
            whole: place == self.directory.begin,
            count: 0,
            unpacked: 0,
            seen: Seen::default(),
            taken: Taken::default(),
            ended: false,
        };
        Samples::new(members, self.options.label.clone())
    }
}

impl Source for Zip {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        Some(self.directory.count)
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        let items = self.from(self.directory.begin);
        Ok(Box::new(items.map(|(_, item)| item)))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        let begin = self.directory.begin;
        self.index
            .get(&self.name, key, begin, |place| Ok(self.from(place)))
    }
}

/// The members that matter, in the directory's order.
struct Members {
    zip: Zip,
    records: Stream,
    /// Whether the directory is read from its start, so that its count can be checked.
    whole: bool,
    count: u64,
    unpacked: u64,
    seen: Seen,
    taken: Taken,
    ended: bool,
}

impl Iterator for Members {
    type Item = (u64, Member);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let place = self.records.position();
            let record = match Record::read(&mut self.records) {
                Ok(Some(mut record)) => {
                    let before = self.zip.directory.before;
                    record.header_at = record.header_at.saturating_add(before);
                    record
                }
                Ok(None) => {
                    self.ended = true;
                    let promised = self.zip.directory.count;
                    if !self.whole || self.count == promised {
                        return None;
                    }
                    let reason = format!(
                        "its directory says it has {promised} members, and lists {}; pack the \
                         archive again",
                        self.count
                    );
                    return Some(self.stop(place, SkipReason::new(SkipKind::Damaged, reason)));
                }
                Err(why) => return Some(self.stop(place, why)),
            };
            self.count += 1;
            if let Err(why) = self.zip.options.limits.check_members(self.count) {
                return Some(self.stop(place, why));
            }
            if let Some(member) = self.member(&record) {
                return Some((place, member));
            }
        }
        None
    }
}

impl Members {
    /// Ends the archive: nothing can be read from here on.
    fn stop(&mut self, place: u64, why: SkipReason) -> (u64, Member) {
        self.ended = true;
        (
            place,
            Member::Skipped(Skipped::new("", &self.zip.name, why)),
        )
    }

    fn member(&mut self, record: &Record) -> Option<Member> {
        // Old versions of Windows write backslashes.
        let name = record.name.replace_backslashes();
        let (image, side) = (is_image(&name), Side::is(&String::from_utf8_lossy(&name)));
        if !image && !side {
            return None;
        }
        let lossy = String::from_utf8_lossy(&name).into_owned();
        let location = format!("{}!{lossy}", self.zip.name);
        let checked = key_of_member(&name).and_then(|key| {
            record.check_kind()?;
            let limits = if side {
                &Side::LIMITS
            } else {
                &self.zip.options.limits
            };
            limits.check_item(record.unpacked)?;
            let packed = self.zip.blob.stamp().bytes;
            self.unpacked = self.unpacked.saturating_add(record.unpacked);
            self.zip.options.limits.check_ratio(packed, self.unpacked)?;
            // Labels and payloads are not images: their names may repeat.
            if image {
                self.seen.check(&key)?;
                self.taken.claim(record, self.zip.directory.begin)?;
            }
            Ok(key)
        });
        if matches!(&checked, Err(why) if why.kind == SkipKind::Bomb) {
            self.ended = true;
        }
        let found = match checked {
            // The label may never be read, but the end of the archive has to be reported.
            Err(why) if side && self.ended => {
                return Some(Member::Skipped(Skipped::new("", &self.zip.name, why)));
            }
            checked => checked.map(|key| {
                let content = Content::Lazy(Arc::new(ZipMember {
                    blob: Arc::clone(&self.zip.blob),
                    end: self.zip.directory.begin,
                    record: record.clone(),
                }));
                (key, content)
            }),
        };
        let stamp = Stamp {
            bytes: record.unpacked,
            modified: record.modified,
            changed: None,
        };
        Some(Member::new(lossy, location, side, stamp, found))
    }
}

/// The ranges of the archive that members take. No two may share a byte: thousands of members that
/// unpack the same bytes are a bomb.
#[derive(Default)]
struct Taken {
    /// Most archives have their members in the directory's order.
    last: u64,
    ranges: BTreeMap<u64, u64>,
}

impl Taken {
    fn claim(&mut self, record: &Record, data_end: u64) -> Result<(), SkipReason> {
        let damaged = |what: &str| {
            let reason = format!("{what}; pack the archive again");
            Err(SkipReason::new(SkipKind::Damaged, reason))
        };
        let begin = record.header_at;
        let end = begin.saturating_add(record.min_bytes());
        if end > data_end {
            return damaged("the directory puts it beyond the end of the archive");
        }
        if begin < self.last {
            let before = self.ranges.range(..end).next_back();
            if before.is_some_and(|(_, &until)| until > begin) {
                return damaged("it shares bytes with another member");
            }
        }
        self.ranges.insert(begin, end);
        self.last = self.last.max(end);
        Ok(())
    }
}

/// One member, read when it is asked for.
struct ZipMember {
    blob: Arc<dyn Blob>,
    /// Where the directory begins.
    end: u64,
    record: Record,
}

/// Room for the extra fields of a member's own header, so that one read does.
const EXTRA: u64 = 128;

impl Lazy for ZipMember {
    fn read(&self, limits: &Limits) -> Result<Vec<u8>, SkipReason> {
        let record = &self.record;
        let doing = "unpack it";
        limits.check_item(record.unpacked)?;
        // Data that does not shrink when packed may grow a little.
        if record.packed
            > limits
                .item_bytes
                .saturating_add(limits.item_bytes / 16 + 1024)
        {
            limits.check_item(record.packed)?;
        }
        let expected = record.min_bytes() + EXTRA;
        let length = expected.min(self.end.saturating_sub(record.header_at));
        let bytes = read_at(self.blob.as_ref(), record.header_at, length)
            .map_err(|error| SkipReason::from_io(&error, doing))?;
        let skip = record.check_header(&bytes)?;
        let packed = match bytes.get(skip as usize..(skip + record.packed) as usize) {
            Some(packed) => bytes.slice_ref(packed),
            None => read_exactly_at(self.blob.as_ref(), record.header_at + skip, record.packed)
                .map_err(|error| SkipReason::from_io(&error, doing))?,
        };
        // Never more than the directory says: that size counts for the archive's ratio.
        let strict = Limits {
            item_bytes: record.unpacked,
            ..*limits
        };
        let unpacked = match record.method {
            directory::STORED => strict.read_item(&packed[..], record.unpacked, doing),
            directory::DEFLATED => {
                strict.read_item(DeflateDecoder::new(&packed[..]), record.unpacked, doing)
            }
            _ => zstd::stream::read::Decoder::new(&packed[..])
                .map_err(|error| SkipReason::from_io(&error, doing))
                .and_then(|decoder| strict.read_item(decoder, record.unpacked, doing)),
        };
        let damaged = |what: String| {
            let reason = format!("{what}; pack the archive again");
            SkipReason::new(SkipKind::Damaged, reason)
        };
        let unpacked = unpacked.map_err(|why| match why.kind {
            SkipKind::TooLarge | SkipKind::Empty => damaged(format!(
                "it does not unpack to the {} bytes that the directory says",
                record.unpacked
            )),
            _ => damaged(why.reason.clone()),
        })?;
        if unpacked.len() as u64 != record.unpacked {
            return Err(damaged(format!(
                "it unpacks to {} bytes, not to the {} that the directory says",
                unpacked.len(),
                record.unpacked
            )));
        }
        let mut checksum = Crc::new();
        checksum.update(&unpacked);
        match checksum.sum() == record.checksum {
            true => Ok(unpacked),
            false => Err(damaged(
                "its bytes do not have the checksum that the directory says".into(),
            )),
        }
    }
}
