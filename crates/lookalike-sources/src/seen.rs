//! The keys that came before, in 16 bytes each because sources have millions.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::skipped::{SkipKind, SkipReason};

/// 128 bits of BLAKE3. Two of a thousand million keys collide with a probability of 10^-21.
pub(crate) fn digest(key: &str) -> u128 {
    let hash = blake3::hash(key.as_bytes());
    let (half, _) = hash.as_bytes().split_at(16);
    u128::from_le_bytes(half.try_into().expect("half of 32 bytes"))
}

/// The keys that came before.
#[derive(Default)]
pub(crate) struct Seen(HashSet<u128, BuildHasherDefault<First>>);

impl Seen {
    /// Refuses a key that came before.
    pub(crate) fn check(&mut self, key: &str) -> Result<(), SkipReason> {
        if self.0.insert(digest(key)) {
            return Ok(());
        }
        Err(SkipReason::new(
            SkipKind::Duplicate,
            "an item before it has the same name; rename one of them",
        ))
    }
}

/// Digests are hashes already.
#[derive(Default)]
pub(crate) struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for (byte, place) in bytes.iter().zip((0..64).step_by(8)) {
            self.0 ^= u64::from(*byte) << place;
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused() {
        let mut seen = Seen::default();
        seen.check("a").unwrap();
        seen.check("b").unwrap();
        assert_eq!(seen.check("a").unwrap_err().kind, SkipKind::Duplicate);
    }
}
