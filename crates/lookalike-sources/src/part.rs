//! One of several parts of a source, so that several machines share the work.

use std::fmt;
use std::str::FromStr;

use crate::entry::Entry;
use crate::error::SourceError;
use crate::skipped::Skipped;
use crate::source::{Entries, Source, no_such_image};

/// The i-th of n parts, written `i/n` from `1/n` to `n/n`.
///
/// An item's part follows from its key alone, by BLAKE3: parts are disjoint, together they are the whole, and
/// about equally large; an item stays in its part when others come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartNumber {
    number: u32,
    of: u32,
}

impl PartNumber {
    /// Part `number`, counted from 1, of `of`; `None` if there is no such part.
    pub fn new(number: u32, of: u32) -> Option<Self> {
        (1..=of).contains(&number).then_some(Self { number, of })
    }

    /// Whether the item with a key belongs to this part.
    pub fn has(self, key: &str) -> bool {
        let hash = blake3::hash(key.as_bytes());
        let (start, _) = hash.as_bytes().split_at(8);
        let value = u64::from_le_bytes(start.try_into().expect("8 of 32 bytes"));
        value % u64::from(self.of) == u64::from(self.number - 1)
    }
}

impl FromStr for PartNumber {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let parse = || {
            let (number, of) = text.split_once('/')?;
            Self::new(number.parse().ok()?, of.parse().ok()?)
        };
        parse().ok_or_else(|| SourceError::Part {
            given: text.to_owned(),
        })
    }
}

impl fmt::Display for PartNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.number, self.of)
    }
}

/// A part of a source, with the whole source's name: an image is the same image in every division.
///
/// What was passed over is in the part of its key too, so that exactly one part reports it. The items of other
/// parts are not read, except on the way past in a stream.
pub struct Part<S> {
    source: S,
    part: PartNumber,
}

impl<S: Source> Part<S> {
    /// The part of `source` with a number.
    pub fn new(source: S, part: PartNumber) -> Self {
        Self { source, part }
    }
}

impl<S: Source> Source for Part<S> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len_hint(&self) -> Option<u64> {
        self.source
            .len_hint()
            .map(|whole| whole.div_ceil(u64::from(self.part.of)))
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        let part = self.part;
        let belongs = move |item: &Result<Entry, Skipped>| match item {
            Ok(entry) => part.has(&entry.key),
            Err(skipped) => part.has(&skipped.key),
        };
        Ok(Box::new(self.source.entries()?.filter(belongs)))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        match self.part.has(key) {
            true => self.source.get(key),
            false => Err(no_such_image(self.source.name(), key)),
        }
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn len_hint(&self) -> Option<u64> {
        (**self).len_hint()
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        (**self).entries()
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        (**self).get(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_written_from_1_to_n() {
        let part: PartNumber = "3/4".parse().unwrap();
        assert_eq!(
            (part.to_string().as_str(), PartNumber::new(3, 4)),
            ("3/4", Some(part))
        );
        for text in ["0/4", "5/4", "1/0", "1", "/", "a/b", "1/2/3", "-1/2", ""] {
            let error = text.parse::<PartNumber>().unwrap_err().to_string();
            assert!(error.contains("1/4, the first of four"), "{error}");
        }
    }

    /// The mapping must never change: several machines may run several versions.
    #[test]
    fn the_part_of_a_key_is_fixed() {
        let part = |key: &str| (1..=8).find(|&number| PartNumber::new(number, 8).unwrap().has(key));
        let parts = ["", "a.jpg", "é/1.png"].map(part);
        assert_eq!(parts, [Some(8), Some(3), Some(8)]);
    }

    proptest! {
        #[test]
        fn every_key_is_in_exactly_one_part(key in ".*", of in 1_u32..65) {
            let parts = (1..=of).filter(|&number| PartNumber::new(number, of).unwrap().has(&key));
            prop_assert_eq!(parts.count(), 1);
        }
    }

    #[test]
    fn parts_are_about_equally_large() {
        // The spread of a part of m items is about sqrt(m): 20,000 items a part stay within 5% by seven spreads.
        for of in [1, 2, 3, 7, 16, 33, 64] {
            let items = 20_000 * u64::from(of);
            let mut counts = vec![0_u64; of as usize];
            for item in 0..items {
                let hash = blake3::hash(format!("images/{item:07}.jpg").as_bytes());
                let start = hash.as_bytes()[..8].try_into().unwrap();
                counts[(u64::from_le_bytes(start) % u64::from(of)) as usize] += 1;
            }
            assert!(
                counts.iter().all(|&count| count.abs_diff(20_000) < 1_000),
                "{of}: {counts:?}"
            );
            let part = PartNumber::new(of, of).unwrap();
            let own = (0..items).filter(|item| part.has(&format!("images/{item:07}.jpg")));
            assert_eq!(own.count() as u64, counts[of as usize - 1]);
        }
    }
}
