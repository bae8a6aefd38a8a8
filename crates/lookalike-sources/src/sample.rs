//! A fair sample of a source whose length nobody knows.

use std::collections::BinaryHeap;

use crate::entry::Entry;
use crate::skipped::Skipped;

/// Chooses `n` images of all, every set of `n` with the same chance, as a function of the seed and the keys:
/// neither the order of the items nor the number of threads before matters. The sample of fewer is the beginning
/// of the sample of more. Sources with no more than `n` images give them all.
///
/// Only keys are looked at. At most `n` entries are held, which costs the bytes of `n` images if the source is a
/// stream (a packed or remote tar archive, Parquet) and next to nothing otherwise.
///
/// What was passed over goes to `on_skipped`.
pub fn sample(
    entries: impl IntoIterator<Item = Result<Entry, Skipped>>,
    n: usize,
    seed: u64,
    mut on_skipped: impl FnMut(Skipped),
) -> Vec<Entry> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut lowest = BinaryHeap::new();
    for item in entries {
        let entry = match item {
            Ok(entry) => entry,
            Err(skipped) => {
                on_skipped(skipped);
                continue;
            }
        };
        let rank = *blake3::keyed_hash(&key, entry.key.as_bytes()).as_bytes();
        let ranked = Ranked { rank, entry };
        if lowest.len() < n {
            lowest.push(ranked);
        } else if let Some(mut highest) = lowest.peek_mut()
            && ranked < *highest
        {
            *highest = ranked;
        }
    }
    let sorted = lowest.into_sorted_vec();
    sorted.into_iter().map(|ranked| ranked.entry).collect()
}

struct Ranked {
    rank: [u8; 32],
    entry: Entry,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::Content;

    fn entry(number: usize) -> Result<Entry, Skipped> {
        Ok(Entry {
            key: format!("{number}.jpg"),
            label: None,
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
