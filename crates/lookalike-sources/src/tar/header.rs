//! The headers of tar: POSIX, GNU's long names, and the attributes (pax) that stand before a member.

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
    letter: u8,
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, SkipReason> {
        let expected = number(&block[148..156]);
        let sum = |add: fn(u8) -> i64| {
            let places = block.iter().enumerate();
            let byte = |(place, &byte)| match place {
                148..156 => i64::from(b' '),
                _ => add(byte),
            };
            places.map(byte).sum::<i64>()
        };
        // Some packers of old summed signed bytes.
        let sums = [sum(i64::from), sum(|byte| i64::from(byte as i8))];
        if !expected.is_some_and(|expected| sums.contains(&(expected as i64))) {
            return Err(damaged(
                "a member's header has a wrong checksum, or this is no tar archive",
            ));
        }
        let letter = block[156];
        let size = number(&block[124..136])
            .ok_or_else(|| damaged("a member's header has no readable size"))?;
        let posix = &block[257..262] == b"ustar";
        let mut name = text(&block[..100]).to_vec();
        // GNU's own format has other things in the place of the prefix.
        if posix && block[262] == 0 && block[345] != 0 {
            name = [text(&block[345..500]), b"/", &name].concat();
        }
        let kind = match letter {
            b'x' | b'g' | b'L' | b'K' => Kind::Attributes,
            b'5' => Kind::Folder,
            // Before POSIX a name told folders.
            0 | b'0' if name.ends_with(b"/") => Kind::Folder,
            0 | b'0' | b'7' => Kind::File,
            b'1' | b'2' => Kind::Link,
            b'3' | b'4' | b'6' => Kind::Device,
            b'S' => Kind::Sparse,
            other => Kind::Other(other),
        };
        // Links and devices have no content, whatever size they say.
        let size = match kind {
            Kind::Link | Kind::Device | Kind::Folder => 0,
            _ => size,
        };
        Ok(Self {
            name,
            size,
            modified: number(&block[136..148])
                .and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1_000_000_000)),
            kind,
            letter,
        })
    }

    /// Puts in what the headers before said.
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

    /// Refuses what is not an image's bytes as they are.
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
        match header.letter {
            b'L' => self.name = Some(text(bytes).to_vec()),
            b'x' => self.add_records(bytes)?,
            // A link's target, and what holds for all members: neither names nor sizes.
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

/// Up to the first zero byte.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Octal digits, or a binary number if the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // Two's complement; below zero neither sizes nor times are taken.
        let first = u64::from(field[0] & 0x7f);
        return field[1..].iter().try_fold(first, |value, &byte| {
            value.checked_mul(256)?.checked_add(u64::from(byte))
        });
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   17 \0\0"), Some(15));
        assert_eq!(number(b"0000009\0"), None);
        assert_eq!(number(&[0; 12]), Some(0));
        assert_eq!(
            number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]),
            Some(2 << 32)
        );
        assert_eq!(number(&[0xff; 12]), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 1]), Some(1));
    }

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
}
