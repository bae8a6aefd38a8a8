//! What was passed over, and why.

use std::fmt;
use std::io;

use thiserror::Error;

/// An item that a source passed over; reading goes on after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The key that the item would have had. Empty when it is the container itself, of which the
    /// rest cannot be read; in a set of shards it is then the shard's name.
    pub key: String,
    /// Where to find it.
    pub location: String,
    /// The kind of problem.
    pub kind: SkipKind,
    /// The problem in words, and what to do about it.
    pub reason: String,
}

impl Skipped {
    /// The item that a reason is about.
    pub fn new(key: impl Into<String>, location: impl Into<String>, why: SkipReason) -> Self {
        Self {
            key: key.into(),
            location: location.into(),
            kind: why.kind,
            reason: why.reason,
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "skipped {}: {}", self.location, self.reason)
    }
}

/// Why an item was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct SkipReason {
    /// The kind of problem.
    pub kind: SkipKind,
    /// The problem in words, and what to do about it.
    pub reason: String,
}

impl SkipReason {
    pub(crate) fn new(kind: SkipKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }

    /// What an error of reading means for the item that was read; `doing` reads as in "cannot
    /// {doing}".
    pub(crate) fn from_io(error: &io::Error, doing: &str) -> Self {
        // Our own readers send their reasons through `io::Error`.
        if let Some(inner) = error.get_ref() {
            if let Some(own) = inner.downcast_ref() {
                return Self::clone(own);
            }
            if let Some(error) = inner.downcast_ref() {
                return Self::from_io(error, doing);
            }
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::new(
                SkipKind::Missing,
                format!("cannot {doing}: there is no such file; it was moved or deleted"),
            ),
            io::ErrorKind::UnexpectedEof => Self::new(
                SkipKind::Truncated,
                format!("cannot {doing}: it ends too early; copy or download it again"),
            ),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::new(
                SkipKind::Damaged,
                format!("cannot {doing}: {error}; copy or download it again"),
            ),
            io::ErrorKind::PermissionDenied => Self::new(
                SkipKind::Unreadable,
                format!("cannot {doing}: {error}; allow reading it"),
            ),
            _ => Self::new(
                SkipKind::Unreadable,
                format!("cannot {doing}: {error}; try again"),
            ),
        }
    }
}

impl From<SkipReason> for io::Error {
    fn from(why: SkipReason) -> Self {
        io::Error::other(why)
    }
}

/// The kinds of problems, for counting and filtering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SkipKind {
    /// The file system or the store refused: no permission, an error of the device or the network.
    Unreadable,
    /// Something that was named or linked does not exist.
    Missing,
    /// A name that is not UTF-8, so that it cannot be a key.
    NotUtf8,
    /// A device, pipe or socket.
    Special,
    /// A link that is not followed: inside an archive, or in a folder one that leads back.
    Link,
    /// An image of no bytes.
    Empty,
    /// More bytes than the limit for one item.
    TooLarge,
    /// A second item with the same key.
    Duplicate,
    /// A name in an archive that leads out of it: absolute, or with `..`.
    UnsafePath,
    /// Encrypted content.
    Encrypted,
    /// A compression, encoding or kind of member that is not understood.
    Unsupported,
    /// Content that contradicts itself: wrong checksums, sizes that lie, overlapping members.
    Damaged,
    /// The file ends before its content does.
    Truncated,
    /// Content that unpacks to far more than its packed size.
    Bomb,
    /// More members than the limit.
    TooMany,
    /// An image that was read and could not be stored.
    NotStored,
}

impl SkipKind {
    /// The word for it in `skipped.jsonl`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Missing => "missing",
            Self::NotUtf8 => "not-utf8",
            Self::Special => "special",
            Self::Link => "link",
            Self::Empty => "empty",
            Self::TooLarge => "too-large",
            Self::Duplicate => "duplicate",
            Self::UnsafePath => "unsafe-path",
            Self::Encrypted => "encrypted",
            Self::Unsupported => "unsupported",
            Self::Damaged => "damaged",
            Self::Truncated => "truncated",
            Self::Bomb => "bomb",
            Self::TooMany => "too-many",
            Self::NotStored => "not-stored",
        }
    }
}

impl fmt::Display for SkipKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
