//! The headers of tar: POSIX, GNU's long names, and the attributes (pax) before a member.
//!
//! Blocks are read by the crate `tar`. Its archives are not used: they read a long name or
//! attributes of any size into memory. Nor are its attributes: it divides them at line breaks,
//! which may be in them (in names, and in the binary values that `SCHILY.xattr` has).

use tar::EntryType;

use crate::skipped::{SkipKind, SkipReason};

pub(super) const BLOCK: usize = 512;

/// A size filled up to whole blocks.
pub(super) fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK as u64)
        .unwrap_or(u64::MAX)
}

/// Whether a block is empty, as the two at an archive's end.
pub(super) fn is_end(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

fn damaged(what: &str) -> SkipReason {
    SkipReason::new(
        SkipKind::Damaged,
        format!("{what}; the rest of the archive is not read; copy or download it again"),
    )
}

/// What a header describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    Device,
    Sparse,
    Other(u8),
    /// Says something about the members after it.
    Attributes,
}

/// One header, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: Option<i64>,
    pub(super) kind: Kind,
    entry_type: EntryType,
}

/// Where a header has a member's size, and its time of change.
const SIZE: std::ops::Range<usize> = 124..136;
const MODIFIED: std::ops::Range<usize> = 136..148;

/// Whether a number is not written at all, which some packers do for 0; the crate takes that for
/// damage.
fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|byte| matches!(byte, 0 | b' '))
}

/// The name, with its prefix also where the format's version is not written as POSIX has it.
fn name_of(header: &tar::Header, block: &[u8; BLOCK]) -> Vec<u8> {
    let name = header.path_bytes().into_owned();
    let is_versionless = block[257..].starts_with(b"ustar\0") && header.as_ustar().is_none();
    let prefix = &block[345..500];
    let length = prefix
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(prefix.len());
    match is_versionless && length > 0 {
        true => [&prefix[..length], b"/", &name].concat(),
        false => name,
    }
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, SkipReason> {
        let header = tar::Header::from_byte_slice(block);
        let sum = |add: fn(u8) -> i64| {
            let places = block.iter().enumerate();
            let byte = |(place, &byte)| match place {
                148..156 => i64::from(b' '),
                _ => add(byte),
            };
            places.map(byte).sum::<i64>()
        };
        // Some old packers summed signed bytes.
        let sums = [sum(i64::from), sum(|byte| i64::from(byte as i8))];
        if !header
            .cksum()
            .is_ok_and(|expected| sums.contains(&expected.into()))
        {
            return Err(damaged(
                "a member's header has a wrong checksum, or this is not a tar archive",
            ));
        }
        let name = name_of(header, block);
        let kind = match header.entry_type() {
            EntryType::XHeader
            | EntryType::XGlobalHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink => Kind::Attributes,
            EntryType::Directory => Kind::Folder,
            // Before POSIX, folders were told by their names.
            EntryType::Regular if name.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Link | EntryType::Symlink => Kind::Link,
            EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Device,
            EntryType::GNUSparse => Kind::Sparse,
            other => Kind::Other(other.as_byte()),
        };
        // Links and devices have no content, whatever size they say.
        let size = match kind {
            Kind::Link | Kind::Device | Kind::Folder => 0,
            _ if is_blank(&block[SIZE]) => 0,
            _ => header
                .entry_size()
                .map_err(|_| damaged("a member's header has no readable size"))?,
        };
        Ok(Self {
            name,
            size,
            modified: match is_blank(&block[MODIFIED]) {
                true => Some(0),
                false => header.mtime().ok(),
            }
            .and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1_000_000_000)),
            kind,
            entry_type: header.entry_type(),
        })
    }

    /// Applies what the headers before it say.
    pub(super) fn extend(&mut self, attributes: Attributes) {
        if let Some(name) = attributes.name {
            self.name = name;
        }
        if let Some(size) = attributes.size
            && matches!(self.kind, Kind::File | Kind::Sparse | Kind::Other(_))
        {
            self.size = size;
        }
        self.modified = attributes.modified.or(self.modified);
        if attributes.sparse && self.kind == Kind::File {
            self.kind = Kind::Sparse;
        }
    }

    /// Refuses members that do not hold a file's bytes as they are.
    pub(super) fn check_kind(&self) -> Result<(), SkipReason> {
        let (kind, reason) = match self.kind {
            Kind::File | Kind::Folder | Kind::Attributes => return Ok(()),
            Kind::Link => (
                SkipKind::Link,
                "it is a link, which is not followed; pack the file itself".to_owned(),
            ),
            Kind::Device => (
                SkipKind::Special,
                "it is a device or a pipe, and not a file".to_owned(),
            ),
            Kind::Sparse => (
                SkipKind::Unsupported,
                "it is packed as a sparse file; pack it without that option".to_owned(),
            ),
            Kind::Other(letter) => (
                SkipKind::Unsupported,
                format!(
                    "it is a member of the unknown kind {:?}; pack it again",
                    char::from(letter)
                ),
            ),
        };
        Err(SkipReason::new(kind, reason))
    }
}

/// What headers say about the member after them.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<i64>,
    sparse: bool,
}

impl Attributes {
    pub(super) fn add(&mut self, header: &Header, bytes: &[u8]) -> Result<(), SkipReason> {
        match header.entry_type {
            EntryType::GNULongName => {
                self.name = bytes.split(|&byte| byte == 0).next().map(<[u8]>::to_vec);
            }
            EntryType::XHeader => self.add_records(bytes)?,
            // A link's target, and attributes of all members, which are neither names nor sizes.
            _ => {}
        }
        Ok(())
    }

    /// Records read "length key=value\n".
    fn add_records(&mut self, mut bytes: &[u8]) -> Result<(), SkipReason> {
        let lost = || damaged("a member's attributes are damaged");
        while !bytes.is_empty() {
            let space = bytes
                .iter()
                .position(|&byte| byte == b' ')
                .ok_or_else(lost)?;
            let length: usize = std::str::from_utf8(&bytes[..space])
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(lost)?;
            let record = bytes.get(space + 1..length).ok_or_else(lost)?;
            bytes = &bytes[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(lost)?;
            let equals = record
                .iter()
                .position(|&byte| byte == b'=')
                .ok_or_else(lost)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let digits = || std::str::from_utf8(value).map_err(|_| lost());
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"size" => self.size = Some(digits()?.parse().map_err(|_| lost())?),
                b"mtime" => self.modified = nanoseconds(digits()?),
                _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// "1700000000.25" in nanoseconds.
fn nanoseconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: i64 = digits.parse().ok()?;
    let nanos = if whole.starts_with('-') {
        -nanos
    } else {
        nanos
    };
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions() {
        assert_eq!(nanoseconds("12.25"), Some(12_250_000_000));
        assert_eq!(nanoseconds("-1.5"), Some(-1_500_000_000));
        assert_eq!(nanoseconds("7"), Some(7_000_000_000));
        assert_eq!(nanoseconds("1.1234567891"), Some(1_123_456_789));
        assert_eq!(nanoseconds("99999999999999"), None);
        assert_eq!(nanoseconds("x"), None);
    }

    #[test]
    fn attributes_that_lie_about_their_length_are_refused() {
        for records in [
            "9 path=a\n",
            "99 path=a\n",
            "path=a\n",
            "0 path=a\n",
            "10 path=a",
            "7 path\n",
        ] {
            let added = Attributes::default().add_records(records.as_bytes());
            // "9 path=a\n" is the only one that is right.
            assert_eq!(added.is_ok(), records.starts_with("9 "), "{records:?}");
        }
    }

    #[test]
    fn attributes_may_have_line_breaks() {
        let mut attributes = Attributes::default();
        let records = b"22 SCHILY.xattr.a=\n=\n\n14 path=a\nb.j\n";
        attributes.add_records(records).unwrap();
        assert_eq!(attributes.name.as_deref(), Some(&b"a\nb.j"[..]));
    }
}
