//! A fair sample of a source whose length is not known.

use std::collections::BinaryHeap;

use crate::entry::Entry;
use crate::skipped::Skipped;

/// Chooses `n` images, every set of `n` with the same probability, as a function of the seed and
/// the keys alone: neither the order of the items nor the number of threads matters. A smaller
/// sample is the beginning of a larger one. A source of at most `n` images gives them all.
///
/// Only keys are looked at. At most `n` entries are held, which costs the bytes of `n` images if
/// the source is a stream (a packed or remote tar archive, Parquet) and next to nothing otherwise.
///
/// What was passed over goes to `on_skipped`.
pub fn sample(
    entries: impl IntoIterator<Item = Result<Entry, Skipped>>,
    n: usize,
    seed: u64,
    mut on_skipped: impl FnMut(Skipped),
) -> Vec<Entry> {
    let mut drawing = Drawing::new(n, seed);
    for item in entries {
        match item {
            Ok(entry) => drawing.offer(drawing.rank(&entry.key), entry),
            Err(skipped) => on_skipped(skipped),
        }
    }
    drawing.into_drawn()
}

/// Draws a sample of anything that has a key: the items whose keys have the lowest hashes, keyed by
/// the seed.
#[derive(Debug)]
pub struct Drawing<T> {
    seed: [u8; 32],
    most: usize,
    lowest: BinaryHeap<Ranked<T>>,
}

/// The hash of a key; the lowest are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank([u8; 32]);

impl<T> Drawing<T> {
    /// Begins to draw at most `most`.
    pub fn new(most: usize, seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            seed: key,
            most,
            lowest: BinaryHeap::new(),
        }
    }

    /// The rank of a key.
    pub fn rank(&self, key: &str) -> Rank {
        Rank(*blake3::keyed_hash(&self.seed, key.as_bytes()).as_bytes())
    }

    /// Whether an item of this rank would be taken now, which is worth asking before it is read.
    pub fn takes(&self, rank: Rank) -> bool {
        let beats = |highest: &Ranked<T>| rank < highest.rank;
        self.lowest.len() < self.most || self.lowest.peek().is_some_and(beats)
    }

    /// Takes the item if its rank is among the lowest so far.
    pub fn offer(&mut self, rank: Rank, item: T) {
        if self.takes(rank) {
            self.lowest.push(Ranked { rank, item });
            if self.lowest.len() > self.most {
                self.lowest.pop();
            }
        }
    }

    /// The drawn items, by rank.
    pub fn into_drawn(self) -> Vec<T> {
        let sorted = self.lowest.into_sorted_vec();
        sorted.into_iter().map(|ranked| ranked.item).collect()
    }
}

#[derive(Debug)]
struct Ranked<T> {
    rank: Rank,
    item: T,
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl<T> Eq for Ranked<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::Content;

    fn entry(number: usize) -> Result<Entry, Skipped> {
        Ok(Entry {
            key: format!("{number}.jpg"),
            label: None,
            sample: None,
            extra: Default::default(),
            location: String::new(),
            stamp: None,
            content: Content::Bytes(Default::default()),
        })
    }

    fn keys(numbers: impl IntoIterator<Item = usize>, n: usize, seed: u64) -> Vec<String> {
        let sample = sample(numbers.into_iter().map(entry), n, seed, |_| {
            panic!("skipped")
        });
        sample.into_iter().map(|entry| entry.key).collect()
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_less_is_a_beginning(
            mut numbers in Just((0..50).collect::<Vec<_>>()).prop_shuffle(), n in 0_usize..60, seed: u64,
        ) {
            let shuffled = keys(numbers.clone(), n, seed);
            numbers.sort_unstable();
            prop_assert_eq!(&shuffled, &keys(numbers.clone(), n, seed));
            prop_assert_eq!(shuffled.len(), n.min(50));
            prop_assert_eq!(&shuffled[..], &keys(numbers, 60, seed)[..n.min(50)]);
        }
    }

    #[test]
    fn every_image_has_the_same_chance() {
        // Each of 20 images is chosen 500 times of 2,000 on average, with a spread of 19.4.
        let mut counts = [0_u32; 20];
        for seed in 0..2_000 {
            for key in keys(0..20, 5, seed) {
                counts[key.trim_end_matches(".jpg").parse::<usize>().unwrap()] += 1;
            }
        }
        assert!(
            counts.iter().all(|count| count.abs_diff(500) < 100),
            "{counts:?}"
        );
    }
}
