//! Which codes may be among the nearest, as far as inexact keys can tell.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The codes that may be among the `k` nearest, given keys with a known error.
///
/// At least `k` codes are certainly no farther than the k-th smallest upper bound, so a code
/// whose lower bound is above that cannot be among the nearest. Comparisons are written so that
/// NaN, from codes too long for `f32`, rules nothing out.
pub(crate) struct Shortlist {
    k: usize,
    /// The `k` smallest upper bounds, the largest on top.
    uppers: BinaryHeap<Bound>,
    pub(crate) limit: f32,
    candidates: Vec<(f32, usize)>,
    room: usize,
}

impl Shortlist {
    pub(crate) fn new(k: usize) -> Self {
        Self {
            k,
            uppers: BinaryHeap::new(),
            limit: f32::INFINITY,
            candidates: Vec::new(),
            room: k.saturating_mul(2).saturating_add(64),
        }
    }

    /// Offers the codes from `first` on.
    pub(crate) fn offer_all(
        &mut self,
        first: usize,
        keys: &[f32],
        errors: &[f32],
        own: Option<usize>,
    ) {
        for (item, (&key, &error)) in (first..).zip(keys.iter().zip(errors)) {
            self.offer(item, key - error, key + error, own);
        }
    }

    pub(crate) fn offer(&mut self, item: usize, lower: f32, upper: f32, own: Option<usize>) {
        if lower > self.limit || own == Some(item) {
            return;
        }
        self.bound(upper);
        self.candidates.push((lower, item));
        if self.candidates.len() > self.room {
            self.prune();
            self.room = self.room.max(2 * self.candidates.len());
        }
    }

    fn bound(&mut self, upper: f32) {
        if upper < self.limit {
            self.uppers.push(Bound(upper));
            if self.uppers.len() > self.k {
                self.uppers.pop();
            }
            if self.uppers.len() == self.k
                && let Some(largest) = self.uppers.peek()
            {
                self.limit = largest.0;
            }
        }
    }

    fn prune(&mut self) {
        let limit = self.limit;
        #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must be kept")]
        self.candidates.retain(|&(lower, _)| !(lower > limit));
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for Bound(upper) in other.uppers {
            self.bound(upper);
        }
        self.candidates.extend(other.candidates);
        self.prune();
    }

    pub(crate) fn into_candidates(mut self) -> impl Iterator<Item = usize> {
        self.prune();
        self.candidates.into_iter().map(|(_, item)| item)
    }
}

/// A number that is in order.
#[derive(PartialEq)]
pub(crate) struct Bound(pub f32);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
