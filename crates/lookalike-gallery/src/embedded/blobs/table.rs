//! Where each blob lies: 28 bytes an image in one sorted row, and a few new ones beside it.

use std::collections::HashMap;

/// A content's BLAKE3, its halves folded into one. Two contents that share it would have to be
/// searched for on purpose, among 2^64; the record has the whole, so that even then no wrong
/// blob is shown.
pub(super) type Key = [u8; 16];

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) segment: u32,
    /// Of the record's first byte.
    pub(super) offset: u32,
    /// Bytes of the blob.
    pub(super) length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) place: Place,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    /// Ascending by key, none twice.
    sorted: Vec<Entry>,
    /// Those that came since, none of them in `sorted`.
    recent: HashMap<Key, Place>,
}

impl Table {
    /// Of entries that ascend by key.
    pub(super) fn from_sorted(sorted: Vec<Entry>) -> Self {
        Table {
            sorted,
            recent: HashMap::new(),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Place> {
        match self.sorted.binary_search_by_key(key, |entry| entry.key) {
            Ok(at) => Some(self.sorted[at].place),
            Err(_) => self.recent.get(key).copied(),
        }
    }

    pub(super) fn insert(&mut self, key: Key, place: Place) {
        match self.sorted.binary_search_by_key(&key, |entry| entry.key) {
            Ok(at) => self.sorted[at].place = place,
            Err(_) => {
                self.recent.insert(key, place);
                // Rarely enough that merging costs little, often enough that the rest takes little
                // room.
                if self.recent.len() > 1_024.max(self.sorted.len() / 16) {
                    self.merge();
                }
            }
        }
    }

    /// Keeps those that pass; says how many did not.
    pub(super) fn retain(&mut self, mut passes: impl FnMut(&Key) -> bool) -> usize {
        let before = self.sorted.len() + self.recent.len();
        self.sorted.retain(|entry| passes(&entry.key));
        self.recent.retain(|key, _| passes(key));
        before - self.sorted.len() - self.recent.len()
    }

    /// All of them, ascending by key.
    pub(super) fn entries(&mut self) -> &[Entry] {
        self.merge();
        &self.sorted
    }

    fn merge(&mut self) {
        let recent = self.recent.drain();
        let mut new: Vec<_> = recent.map(|(key, place)| Entry { key, place }).collect();
        new.sort_unstable_by_key(|entry| entry.key);
        let (mut old, mut left) = (self.sorted.len(), new.len());
        self.sorted.reserve_exact(new.len());
        self.sorted.extend_from_slice(&new);
        // From the back, so that nothing is overwritten before it has moved.
        while left > 0 {
            let take_old = old > 0 && self.sorted[old - 1].key > new[left - 1].key;
            let to = old + left - 1;
            if take_old {
                old -= 1;
                self.sorted[to] = self.sorted[old];
            } else {
                left -= 1;
                self.sorted[to] = new[left];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(number: u32) -> Place {
        Place {
            segment: 1,
            offset: number,
            length: 2,
        }
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 28);
    }

    proptest::proptest! {
        #[test]
        fn it_is_a_map(keys in proptest::collection::vec(0u16..3_000, 0..6_000), modulus in 1u16..5) {
            let mut table = Table::default();
            let mut map = BTreeMap::new();
            for (at, key) in keys.iter().enumerate() {
                let mut long = [0; 16];
                long[3..5].copy_from_slice(&key.to_be_bytes());
                table.insert(long, place(at as u32));
                map.insert(long, place(at as u32));
            }
            let passes = |key: &Key| u16::from_be_bytes([key[3], key[4]]).is_multiple_of(modulus);
            let all = map.len();
            for (key, place) in &map {
                proptest::prop_assert_eq!(table.get(key), Some(*place));
            }
            map.retain(|key, _| passes(key));
            proptest::prop_assert_eq!(table.retain(passes), all - map.len());
            let expected: Vec<_> = map.iter().map(|(&key, &place)| Entry { key, place }).collect();
            proptest::prop_assert_eq!(table.entries(), &expected[..]);
            proptest::prop_assert_eq!(table.get(&[9; 16]), None);
        }
    }
}
