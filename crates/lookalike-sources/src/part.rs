//! Parts of a source, for machines that share the work.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::SourceError;
use crate::names::{extension, is_image_name};
use crate::source::{Entries, Source, Wanted, no_such_image};

/// The i-th of n parts, written `i/n` from `1/n` to `n/n`.
///
/// An item's part is a function of its own name and of n alone. So parts are disjoint and together
/// the whole without coordination, an item stays in its part when others come and go, and workers
/// that list a source at different times, while files are added to it, miss nothing that was there
/// for all of them. Dividing by position would make parts of exactly equal size, but one file added
/// in the middle between two listings would move all that follow it by one, and images at the
/// borders would be in no worker's part. The same is true of anything else that balances by a
/// listing. A missed image is worse than a worker with a few more images, so names alone decide.
///
/// How equal the parts are then depends on the names:
///
/// - **Numbered names** (`000017.jpg`, `cats/IMG_0042.png`, rows of a table, MNIST): each n
///   consecutive numbers, from a multiple of n on, go to n different parts, in an order rotated by
///   a hash. A sequence without gaps is divided equally except at its two ends: its largest part is
///   within 5% of the mean from 20 images a part on if it begins with 0 or 1, and from 40 on
///   wherever it begins. With gaps, and over many folders, parts vary at most as much as with a
///   hash. Only names that differ in zeros before the number, or in the ending, stay together.
/// - **Other names** (hashes, words): parts vary as with a hash, by about the square root of a
///   part's size; the largest of 64 is within 5% of the mean from about 6,000 images a part on, and
///   within 10% from about 1,500 on.
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

    /// Whether the item with a key belongs to this part; an image of a sample belongs by its
    /// sample, see [`has_entry`](Self::has_entry).
    pub fn has(self, key: &str) -> bool {
        place(key, self.of) == self.number - 1
    }

    /// Whether an image belongs to this part: by its sample, if it is of one.
    pub fn has_entry(self, entry: &Entry) -> bool {
        self.has(entry.sample.as_deref().unwrap_or(&entry.key))
    }
}

/// Which of `of` parts has a key, from 0.
fn place(key: &str, of: u32) -> u32 {
    let (before, number, after) = numbered(key);
    let of = u64::from(of);
    // Within a block of n consecutive numbers the rotation is the same and each number has its own
    // place; over blocks and names rotations are random. Of k names in a block, a place gets one
    // with a probability of k in n, so that the size of a part varies no more than with a hash of
    // each name.
    let mut turn = blake3::Hasher::new();
    turn.update(&(before.len() as u64).to_le_bytes());
    turn.update(before.as_bytes());
    turn.update(after.as_bytes());
    turn.update(&(number / of).to_le_bytes());
    let turn = turn.finalize();
    let (start, _) = turn.as_bytes().split_at(8);
    let turn = u64::from_le_bytes(start.try_into().expect("8 of 32 bytes"));
    let place = (number % of + turn % of) % of;
    u32::try_from(place).expect("less than a u32")
}

/// The most digits of a number in a name that surely fit into 64 bits.
const MAX_DIGITS: usize = 18;

/// A name's last number, 0 if it has none, and the text before and after it. The ending of an image
/// is left out, so that a sequence may have several, and an image is in the part of its sample.
fn numbered(key: &str) -> (&str, u64, &str) {
    let name = match extension(key.as_bytes()) {
        Some(ending) if is_image_name(key) => &key[..key.len() - ending.len() - 1],
        _ => key,
    };
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let end = name.as_bytes().iter().rposition(is_digit);
    let end = end.map_or(name.len(), |last| last + 1);
    let digits = name.as_bytes()[..end].iter().rev();
    let start = end
        - digits
            .take(MAX_DIGITS)
            .take_while(|&byte| is_digit(byte))
            .count();
    // Only digits, and not too many of them; without digits the number is 0.
    let number = name[start..end].parse().unwrap_or(0);
    (&name[..start], number, &name[end..])
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

/// A part of a source, under the name of the whole source: an image is the same image however the
/// source is divided.
///
/// An item that is passed over is in the part of its key too, so that exactly one part reports it.
/// What cannot be listed (a folder, the rest of an archive, a missing shard) is reported by every
/// part that meets it, since it may hide images of each. Items of other parts are not read, unless
/// a stream has to be read to pass them.
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
        self.source
            .entries_wanted(Arc::new(move |key| part.has(key)))
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        let found = self.source.get(key);
        let belongs = match &found {
            Ok(entry) => self.part.has_entry(entry),
            Err(SourceError::Skipped(skipped)) => self.part.has(&skipped.key),
            Err(_) => true,
        };
        match belongs {
            true => found,
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

    fn entries_wanted(&self, wanted: Wanted) -> Result<Entries, SourceError> {
        (**self).entries_wanted(wanted)
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
        let keys = ["", "a.jpg", "\u{e9}/1.png", "7", "8", "cats/IMG_0042.jpeg"];
        assert_eq!(keys.map(|key| place(key, 8)), [5, 4, 1, 4, 2, 0]);
        assert_eq!(keys.map(|key| place(key, 64)), [37, 52, 1, 44, 45, 54]);
    }

    #[test]
    fn the_last_number_of_a_name_counts() {
        for (key, expected) in [
            ("000017.jpg", ("", 17, "")),
            ("s3/17.seg.PNG", ("s3/", 17, ".seg")),
            ("17", ("", 17, "")),
            (
                "cats/IMG_20240131_0042 (1)b.jpeg",
                ("cats/IMG_20240131_0042 (", 1, ")b"),
            ),
            // Not an image's ending, so that it tells items apart.
            ("scan.0001", ("scan.", 1, "")),
            ("2024/cat.jpg", ("", 2024, "/cat")),
            ("cat.jpg", ("cat", 0, "")),
            (".jpg", (".jpg", 0, "")),
            ("\u{e9}\u{0663}.png", ("\u{e9}\u{0663}", 0, "")),
            ("", ("", 0, "")),
            ("1234567890123456789", ("1", 234_567_890_123_456_789, "")),
            ("999999999999999999.gif", ("", 999_999_999_999_999_999, "")),
        ] {
            assert_eq!(numbered(key), expected, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_key_is_in_exactly_one_part(key in "(.*|[a-z]{0,3}[0-9]{0,25}[./a-z]{0,4}(jpg)?)", of in 1_u32..65) {
            let parts = (1..=of).filter(|&number| PartNumber::new(number, of).unwrap().has(&key));
            prop_assert_eq!(parts.count(), 1);
        }

        /// Only the two ends of a sequence are not whole blocks.
        #[test]
        fn sequences_are_divided_equally(
            name in "[^0-9]{0,8}", first in prop_oneof![0_u64..2, 2_u64..1_000_000], width in 1_usize..12,
            items in 0_u64..4_000, of in 1_u32..65,
        ) {
            let keys = (first..first + items).map(|number| format!("{name}{number:0width$}.jpg"));
            let sizes = sizes(keys, of);
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 2, "{:?}", sizes);
            let enough = if first < 2 { 20 } else { 40 };
            if items >= enough * u64::from(of) {
                prop_assert!(*most as f64 <= 1.05 * items as f64 / f64::from(of), "{:?}", sizes);
            }
        }
    }

    fn sizes(keys: impl IntoIterator<Item = String>, of: u32) -> Vec<u64> {
        let mut sizes = vec![0; of as usize];
        for key in keys {
            sizes[place(&key, of) as usize] += 1;
        }
        sizes
    }

    fn check_spread(what: &str, sizes: &[u64], most: f64) {
        let mean = sizes.iter().sum::<u64>() as f64 / sizes.len() as f64;
        let far = |&size: &u64| (size as f64 - mean).abs() > most * mean;
        assert!(!sizes.iter().any(far), "{what}: {sizes:?}");
    }

    #[test]
    fn names_without_numbers_are_divided_as_by_a_hash() {
        // The spread of a part of m items is about sqrt(m): of 6,250 a part, 5% are four spreads.
        for of in [1, 2, 3, 7, 16, 33, 63, 64] {
            let name = |item: u64| blake3::hash(&item.to_le_bytes()).to_hex()[..20].to_owned();
            let keys = (0..6_250 * u64::from(of)).map(|item| format!("images/{}.jpg", name(item)));
            check_spread("hashes", &sizes(keys, of), 0.05);
        }
    }

    #[test]
    fn gaps_in_a_sequence_do_no_harm() {
        // Every second frame, every tenth, every 64th: dividing by the number alone would leave
        // parts empty.
        for step in [2, 3, 10, 60, 64, 1_000] {
            for of in [2, 10, 60, 64] {
                let items = 6_250 * u64::from(of);
                let keys = (0..items).map(|item| format!("frame_{:08}.png", item * step));
                check_spread(&format!("{step}"), &sizes(keys, of), 0.05);
            }
        }
        // Many folders of few images each.
        let keys = (0..400_000).map(|item| format!("n{:08}/{}.jpg", item / 40, item % 40));
        check_spread("folders", &sizes(keys, 64), 0.05);
    }
}
