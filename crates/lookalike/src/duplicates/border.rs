//! Pictures around the border between copies and others: what a limit means, by examples.

use lookalike_gallery::{Gallery, Payload};
use serde::Serialize;
use uuid::Uuid;

use super::classes::Classes;
use crate::Error;
use crate::contents::Contents;

/// Pairs that are shown of either side.
const SHOWN: usize = 6;
/// Pairs of either side that are noted before those farthest from the border are forgotten, and
/// that are kept then.
const MAX_NOTED: usize = 4096;
const KEPT: usize = 256;

/// Two pictures near the border between copies and others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// The two.
    pub ids: [Uuid; 2],
    /// What is known of them.
    pub pictures: [Payload; 2],
    /// How far apart they are, as a share of what copies may be at most: 1 is the border.
    pub share: f32,
    /// How much they differ, where pictures were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f32>,
    /// The distance between their codes.
    pub distance: f32,
}

/// Pairs of pictures on both sides of the border between copies and others, those nearest to it
/// first; no picture is shown twice on one side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Examples {
    /// Pairs just within the limit.
    pub inside: Vec<Example>,
    /// Pairs just beyond it.
    pub outside: Vec<Example>,
}

/// Two contents, and how far apart they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    pub contents: [u32; 2],
    /// As in [`Example`].
    pub share: f32,
    /// As in [`Example`].
    pub difference: Option<f32>,
}

/// The pairs nearest to the border.
#[derive(Default)]
pub(super) struct Border {
    inside: Vec<Pair>,
    outside: Vec<Pair>,
}

impl Border {
    pub fn note(&mut self, pair: Pair) {
        let side = match pair.share <= 1.0 {
            true => &mut self.inside,
            false => &mut self.outside,
        };
        side.push(pair);
        if side.len() > MAX_NOTED {
            sort(side);
            side.truncate(KEPT);
        }
    }

    /// The pairs that are shown, with what is known of their pictures.
    pub fn examples(
        self,
        gallery: &dyn Gallery,
        contents: &Contents,
        classes: &Classes,
    ) -> Result<Examples, Error> {
        let described = |pairs: Vec<Pair>| -> Result<Vec<Example>, Error> {
            let codes = contents.codes()?;
            let mut examples = Vec::new();
            for pair in shown(pairs) {
                let ids = pair
                    .contents
                    .map(|content| classes.of(content as usize)[0].id);
                let points = gallery.retrieve(&ids)?;
                // Points may have gone since they were read.
                let Ok([one, other]) = <[_; 2]>::try_from(points) else {
                    continue;
                };
                let [a, b] = pair.contents.map(|content| codes.row(content as usize));
                examples.push(Example {
                    ids,
                    pictures: [one.payload, other.payload],
                    share: pair.share,
                    difference: pair.difference,
                    distance: contents.metric.distance(a, b),
                });
            }
            Ok(examples)
        };
        Ok(Examples {
            inside: described(self.inside)?,
            outside: described(self.outside)?,
        })
    }
}

/// Those nearest to the border first.
fn sort(pairs: &mut [Pair]) {
    pairs.sort_by(|a, b| {
        let far = |pair: &Pair| (pair.share - 1.0).abs();
        let by_contents = || a.contents.cmp(&b.contents);
        far(a).total_cmp(&far(b)).then_with(by_contents)
    });
}

/// The nearest to the border, each content once.
fn shown(mut pairs: Vec<Pair>) -> Vec<Pair> {
    sort(&mut pairs);
    let mut shown: Vec<Pair> = Vec::new();
    for pair in pairs {
        let is_new = |content| !shown.iter().any(|other| other.contents.contains(content));
        if pair.contents.iter().all(is_new) {
            shown.push(pair);
        }
        if shown.len() == SHOWN {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_to_the_border_are_shown_once() {
        let mut border = Border::default();
        let pair = |one, other, share| Pair {
            contents: [one, other],
            share,
            difference: None,
        };
        for number in 0..2 * MAX_NOTED as u32 {
            let share = number as f32 / (2 * MAX_NOTED) as f32;
            border.note(pair(2 * number + 10, 2 * number + 11, share));
        }
        for (one, other, share) in [
            (0, 1, 1.0),
            (1, 0, 1.0),
            (1, 2, 0.999),
            (3, 4, 1.5),
            (5, 6, 1.2),
        ] {
            border.note(pair(one, other, share));
        }
        let inside = shown(border.inside);
        assert_eq!(inside.len(), SHOWN);
        assert_eq!(inside[0].contents, [0, 1]);
        assert!(
            inside[1..]
                .iter()
                .all(|pair| pair.contents[0] > 10 && pair.share > 0.99)
        );
        let outside = shown(border.outside);
        assert_eq!(outside, [pair(5, 6, 1.2), pair(3, 4, 1.5)]);
    }
}
