//! Samples that are the same every time.

/// Up to `most` of `count` indices, evenly spaced.
pub(crate) fn evenly_spaced(count: usize, most: usize) -> Vec<usize> {
    let taken = count.min(most);
    (0..taken).map(|i| i * count / taken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_few_and_every_so_many_of_many() {
        assert_eq!(evenly_spaced(3, 5), [0, 1, 2]);
        assert_eq!(evenly_spaced(10, 4), [0, 2, 5, 7]);
        assert!(evenly_spaced(0, 4).is_empty());
    }
}
