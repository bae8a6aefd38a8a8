//! Limits on what a source may cost in memory and time.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::skipped::{SkipKind, SkipReason};

/// The limits on a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of one item, unpacked. 256 MiB unless set.
    pub item_bytes: u64,
    /// The most members of one archive. A hundred million unless set.
    pub members: u64,
    /// The most bytes that an archive may unpack to in all, for each of its own bytes. 250 unless
    /// set; an archive that unpacks to no more than [`Limits::item_bytes`] in all is never refused.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            item_bytes: 256 << 20,
            members: 100_000_000,
            ratio: 250,
        }
    }
}

impl Limits {
    /// Refuses an item of no bytes, and one of too many.
    pub(crate) fn check_item(&self, bytes: u64) -> Result<(), SkipReason> {
        match bytes {
            0 => Err(SkipReason::new(
                SkipKind::Empty,
                "it has no bytes; copy or download it again",
            )),
            bytes if bytes > self.item_bytes => Err(self.too_large(&format!("{bytes} bytes"))),
            _ => Ok(()),
        }
    }

    fn too_large(&self, what: &str) -> SkipReason {
        SkipReason::new(
            SkipKind::TooLarge,
            format!(
                "it has {what}, and at most {} are read; raise the limit of a file's bytes if it is an image",
                self.item_bytes
            ),
        )
    }

    /// Refuses `unpacked` bytes that came out of `packed`, if they are too many.
    pub(crate) fn check_ratio(&self, packed: u64, unpacked: u64) -> Result<(), SkipReason> {
        if unpacked <= self.item_bytes.max(packed.saturating_mul(self.ratio)) {
            return Ok(());
        }
        Err(SkipReason::new(
            SkipKind::Bomb,
            format!(
                "{packed} packed bytes give {unpacked} and more, over {} times as many; the rest of \
                 the archive is not read; raise the limit if you trust it",
                self.ratio
            ),
        ))
    }

    pub(crate) fn check_members(&self, members: u64) -> Result<(), SkipReason> {
        if members <= self.members {
            return Ok(());
        }
        Err(SkipReason::new(
            SkipKind::TooMany,
            format!(
                "the archive has more than {} members; the rest is not read; raise the limit or \
                 divide the archive",
                self.members
            ),
        ))
    }

    /// Reads all of an item. Memory is taken for the bytes that arrive, not for those `expected`.
    pub(crate) fn read_item(
        &self,
        from: impl Read,
        expected: u64,
        doing: &str,
    ) -> Result<Vec<u8>, SkipReason> {
        const AT_ONCE: u64 = 1 << 20;
        let mut bytes = Vec::with_capacity(expected.min(AT_ONCE).min(self.item_bytes) as usize);
        from.take(self.item_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| SkipReason::from_io(&error, doing))?;
        if bytes.len() as u64 > self.item_bytes {
            return Err(self.too_large("more bytes than it says"));
        }
        self.check_item(bytes.len() as u64)?;
        Ok(bytes)
    }
}

/// The output of a decompressor; an error once it is too much for what went in.
pub(crate) struct RatioLimited<R> {
    inner: R,
    limits: Limits,
    packed: Arc<AtomicU64>,
    unpacked: u64,
}

impl<R> RatioLimited<R> {
    /// `packed` is how many bytes the decompressor has read so far; see [`Counted`].
    pub(crate) fn new(inner: R, limits: Limits, packed: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            limits,
            packed,
            unpacked: 0,
        }
    }
}

impl<R: Read> Read for RatioLimited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.unpacked += read as u64;
        self.limits
            .check_ratio(self.packed.load(Ordering::Relaxed), self.unpacked)?;
        Ok(read)
    }
}

/// Counts what is read through it.
pub(crate) struct Counted<R> {
    pub(crate) inner: R,
    pub(crate) count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_up_to_the_limit_and_no_further() {
        let limits = Limits {
            item_bytes: 4,
            ..Limits::default()
        };
        let read = |bytes: &[u8]| limits.read_item(bytes, 1 << 60, "read it");
        assert_eq!(read(b"1234").unwrap(), b"1234");
        assert_eq!(read(b"12345").unwrap_err().kind, SkipKind::TooLarge);
        assert_eq!(read(b"").unwrap_err().kind, SkipKind::Empty);
        let endless = limits.read_item(io::repeat(7), 1, "read it").unwrap_err();
        assert_eq!(endless.kind, SkipKind::TooLarge);
    }

    #[test]
    fn a_bomb_is_stopped_while_it_unpacks() {
        let limits = Limits {
            item_bytes: 10,
            ratio: 3,
            ..Limits::default()
        };
        let mut reader = RatioLimited::new(io::repeat(0), limits, Arc::new(AtomicU64::new(10)));
        let mut buffer = [0; 10];
        for _ in 0..3 {
            reader.read_exact(&mut buffer).unwrap();
        }
        let error = reader.read_exact(&mut buffer).unwrap_err();
        assert_eq!(SkipReason::from_io(&error, "read").kind, SkipKind::Bomb);
    }
}
