//! Whether two pictures are copies of each other, told by the pictures themselves.
//!
//! Codes say what looks alike; a copy is more: the same picture, changed by what happens to files.
//! So pictures that are near by their codes, or by where they are bright, are compared as they are,
//! small: the thumbnails that the gallery keeps, at 32x32 pixels. That does not depend on what was
//! learned, and noise, other sizes, compression and brightness are gone at that size.

use std::collections::{HashMap, HashSet};

use lookalike_gallery::Gallery;
use lookalike_images::Turn;
use lookalike_neighbours::{Codes, Metric, Neighbour};
use rayon::prelude::*;
use uuid::Uuid;

use super::Placed;
use super::across::{Parts, add};
use super::border::{Border, Pair};
use super::miniature::{Differences, LAYOUT, Miniature, differences};
use crate::contents::{Contents, visit_others};
use crate::{Error, Phase, Progress};

/// The largest [difference](super::Member::difference) of a near duplicate from its representative.
pub const MAX_DIFFERENCE: f32 = 0.05;
/// The same, as a share of the difference between a picture and its surroundings: the twelfth of
/// 16, from the most alike on, of what its code is nearest to. Where all pictures are much alike,
/// as handwritten digits are, copies must be more so.
const MAX_SHARE: f32 = 0.1;
const SURROUNDINGS: usize = CANDIDATES * 3 / 4;
/// What counts as the difference from the surroundings at least, as a share of the usual one: those
/// of a picture with dozens of copies are copies.
const MIN_SURROUNDINGS: f32 = 0.25;
/// Pairs that differ by so many times as much are noted as examples of what is not a copy.
const NOTED: f32 = 2.0;
/// Neighbours by code that a picture is compared with. One that has more copies is compared with
/// all.
const CANDIDATES: usize = 16;
/// Neighbours by where pictures are bright that it is compared with as well: noise and darkening
/// can move a copy's code further than other pictures' codes are away.
const BRIGHTNESS_CANDIDATES: usize = 8;
/// Pictures that are read, or compared, between two looks at the progress.
const PAGE: usize = 2048;

/// A copy of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Match {
    pub other: u32,
    /// How much it differs.
    pub difference: f32,
    /// How the picture must be turned to be the other one.
    pub turn: Turn,
}

/// The pictures of a gallery beside each other.
pub(super) struct Pictures {
    miniatures: Vec<Option<Miniature>>,
    /// The largest difference of luma between each and a copy of it.
    limits: Vec<f32>,
    /// Which others are copies of each; of its candidates alone.
    copies: Vec<Vec<Match>>,
    /// Those whose candidates are all copies.
    crowded: Vec<bool>,
    border: Border,
}

impl Pictures {
    /// Compares each picture with those that its code is near to; none if the gallery has
    /// thumbnails of less than half of them. `points` has one of each content. `progress` hears of
    /// all of them twice: for codes, and for pictures.
    pub fn compare(
        gallery: &dyn Gallery,
        contents: &Contents,
        points: &[Uuid],
        mut progress: impl FnMut(Progress),
    ) -> Result<Option<Self>, Error> {
        let miniatures = read(gallery, points)?;
        let missing = miniatures.iter().filter(|one| one.is_none()).count();
        if 2 * missing >= contents.count {
            return Ok(None);
        }
        let mut candidates: Vec<Vec<u32>> = Vec::with_capacity(contents.count);
        contents.neighbours(
            CANDIDATES,
            |_, others| candidates.push(others.iter().map(|other| other.index as u32).collect()),
            &mut progress,
        )?;
        let more = near_by_brightness(&miniatures)?;
        Ok(Some(Self::of(miniatures, &candidates, &more, progress)))
    }

    /// Compares each with its candidates, of which those by code are its surroundings, and with
    /// `more`.
    fn of(
        miniatures: Vec<Option<Miniature>>,
        candidates: &[Vec<u32>],
        more: &[Vec<u32>],
        mut progress: impl FnMut(Progress),
    ) -> Self {
        let count = miniatures.len();
        let mut surroundings = Vec::with_capacity(count);
        let mut alike: Vec<Vec<(u32, Differences)>> = Vec::with_capacity(count);
        for page in (0..count).collect::<Vec<_>>().chunks(PAGE) {
            let compare = |&content: &usize| {
                let Some(own) = &miniatures[content] else {
                    return (0.0, Vec::new());
                };
                let own = own.views();
                let compare = |&other: &u32| {
                    let views = miniatures[other as usize].as_ref()?.views();
                    Some((other, differences(&own, &views)))
                };
                let candidates = &candidates[content];
                let mut others: Vec<_> = candidates.iter().filter_map(compare).collect();
                let mut by_luma: Vec<f32> = others.iter().map(|(_, of)| of.luma).collect();
                by_luma.sort_by(f32::total_cmp);
                let around = by_luma.get(SURROUNDINGS - 1).or(by_luma.last());
                let around = around.copied().unwrap_or(0.0);
                let new = more[content].iter().filter(|o| !candidates.contains(o));
                others.extend(new.filter_map(compare));
                let near = |(_, of): &(u32, Differences)| of.all <= NOTED * MAX_DIFFERENCE;
                (around, others.into_iter().filter(near).collect())
            };
            let compared: Vec<_> = page.par_iter().map(compare).collect();
            for (around, near) in compared {
                surroundings.push(around);
                alike.push(near);
            }
            progress(Progress::new(Phase::Comparing, alike.len(), count));
        }

        let mut usual: Vec<f32> = surroundings.iter().copied().filter(|&s| s > 0.0).collect();
        let middle = usual.len() / 2;
        let usual = match usual.is_empty() {
            true => 0.0,
            false => *usual.select_nth_unstable_by(middle, f32::total_cmp).1,
        };
        // Of so few pictures there is nothing usual.
        let limit = |around: &f32| match count <= CANDIDATES {
            true => MAX_DIFFERENCE,
            false => MAX_SHARE * around.max(MIN_SURROUNDINGS * usual),
        };
        let limits: Vec<f32> = surroundings.iter().map(limit).collect();
        let mut pictures = Self {
            copies: vec![Vec::new(); count],
            crowded: vec![false; count],
            limits,
            miniatures,
            border: Border::default(),
        };
        for (content, others) in alike.into_iter().enumerate() {
            let mut copies = 0;
            for (other, of) in others {
                let share = pictures.share(content, other as usize, of);
                pictures.border.note(Pair {
                    contents: [content as u32, other],
                    share,
                    difference: Some(of.all),
                });
                if share <= 1.0 {
                    copies += 1;
                    let (difference, turn) = (of.all, Turn::None);
                    let found = Match {
                        other,
                        difference,
                        turn,
                    };
                    pictures.note(content, found);
                }
            }
            pictures.crowded[content] = copies >= CANDIDATES;
        }
        pictures.settle();
        pictures
    }

    /// Notes that two pictures are copies of each other; to be [settled](Self::settle).
    pub fn note(&mut self, content: usize, found: Match) {
        self.copies[content].push(found);
        self.copies[found.other as usize].push(Match {
            other: content as u32,
            turn: found.turn.inverse(),
            ..found
        });
    }

    /// Keeps one match of each two: one that is not turned, or that differs least.
    pub fn settle(&mut self) {
        for copies in &mut self.copies {
            settle(copies);
        }
    }

    pub fn miniature(&self, content: usize) -> Option<&Miniature> {
        self.miniatures[content].as_ref()
    }

    pub fn is_copy(&self, one: usize, other: usize, differences: Differences) -> bool {
        self.share(one, other, differences) <= 1.0
    }

    /// How much two differ, as a share of what copies may at most.
    fn share(&self, one: usize, other: usize, differences: Differences) -> f32 {
        let limit = self.limits[one].min(self.limits[other]);
        let by_luma = match (differences.luma <= limit, limit > 0.0) {
            // With a limit of 0, only identical luma counts as a copy.
            (true, false) => 0.0,
            (false, false) => f32::INFINITY,
            (_, true) => differences.luma / limit,
        };
        by_luma.max(differences.all / MAX_DIFFERENCE)
    }

    /// The pairs around the border between copies and others.
    pub fn take_border(&mut self) -> Border {
        std::mem::take(&mut self.border)
    }

    /// The contents that are a copy of another.
    pub fn copied(&self) -> impl Iterator<Item = u32> {
        (0..)
            .zip(&self.copies)
            .filter(|(_, copies)| !copies.is_empty())
            .map(|(content, _)| content)
    }

    /// Pictures without a thumbnail, which were compared with nothing.
    pub fn missing(&self) -> usize {
        self.miniatures.iter().filter(|one| one.is_none()).count()
    }

    /// Which of two parts have pictures of the contents that each is a copy of.
    pub fn beside(&self, parts: &Parts) -> Parts {
        let beside = parts.keys().map(|&content| {
            let mut near = [false; 2];
            for found in &self.copies[content as usize] {
                add(
                    &mut near,
                    parts.get(&found.other).copied().unwrap_or_default(),
                );
            }
            (content, near)
        });
        beside.collect()
    }

    /// Groups contents, which come in the order in which they would represent: the first takes
    /// every copy of it, the first of the remaining takes of those that remain, and so on.
    pub fn group(&self, order: &[u32], contents: &Contents) -> Result<Vec<Vec<Placed>>, Error> {
        let codes = contents.codes()?;
        let mut free: HashSet<u32> = order.iter().copied().collect();
        let mut groups = Vec::new();
        for &leader in order {
            if !free.remove(&leader) {
                continue;
            }
            let leader = leader as usize;
            let mut copies = self.copies[leader].clone();
            if self.crowded[leader] {
                copies.extend(self.copies_among(leader, order, &free));
                settle(&mut copies);
            }
            let mut members: Vec<Placed> = copies
                .into_iter()
                .filter(|found| free.remove(&found.other))
                .map(|found| Placed {
                    row: found.other as usize,
                    distance: contents
                        .metric
                        .distance(codes.row(found.other as usize), codes.row(leader)),
                    difference: Some(found.difference),
                    turn: found.turn,
                })
                .collect();
            members.sort_by(|a, b| {
                let by_difference = a.difference.partial_cmp(&b.difference);
                by_difference
                    .expect("differences are numbers")
                    .then(a.row.cmp(&b.row))
            });
            members.insert(0, Placed::first(leader));
            groups.push(members);
        }
        Ok(groups)
    }

    /// The copies of one picture among all that are free.
    fn copies_among(&self, leader: usize, order: &[u32], free: &HashSet<u32>) -> Vec<Match> {
        let Some(own) = &self.miniatures[leader] else {
            return Vec::new();
        };
        let own = own.views();
        order
            .par_iter()
            .filter(|other| free.contains(other))
            .filter_map(|&other| {
                let views = self.miniatures[other as usize].as_ref()?.views();
                let of = differences(&own, &views);
                self.is_copy(leader, other as usize, of).then_some(Match {
                    other,
                    difference: of.all,
                    turn: Turn::None,
                })
            })
            .collect()
    }
}

/// Keeps one match of each other picture: one that is not turned, or that differs least.
fn settle(copies: &mut Vec<Match>) {
    copies.sort_by(|a, b| {
        let key = |found: &Match| (found.other, found.turn != Turn::None);
        let by_difference = || a.difference.total_cmp(&b.difference);
        key(a).cmp(&key(b)).then_with(by_difference)
    });
    copies.dedup_by_key(|found| found.other);
}

/// The nearest others of each picture by where it is bright.
fn near_by_brightness(miniatures: &[Option<Miniature>]) -> Result<Vec<Vec<u32>>, Error> {
    let layout = |miniature: &Option<Miniature>| match miniature {
        Some(miniature) => miniature.layout(),
        None => [0.0; LAYOUT],
    };
    let layouts: Vec<f32> = miniatures.iter().flat_map(layout).collect();
    let mut found = Vec::with_capacity(miniatures.len());
    let visit = |_, others: &[Neighbour]| {
        found.push(others.iter().map(|other| other.index as u32).collect());
    };
    let codes = Codes::new(&layouts, LAYOUT)?;
    visit_others(codes, Metric::Cosine, BRIGHTNESS_CANDIDATES, visit, |_| {});
    Ok(found)
}

/// The small pictures of points, of those that have a thumbnail.
fn read(gallery: &dyn Gallery, points: &[Uuid]) -> Result<Vec<Option<Miniature>>, Error> {
    let mut miniatures = Vec::with_capacity(points.len());
    for page in points.chunks(PAGE) {
        let kept = thumbnails(gallery, page)?;
        let decoded = kept
            .par_iter()
            .map(|kept| Miniature::decode(kept.as_ref()?));
        miniatures.extend(decoded.collect::<Vec<_>>());
    }
    Ok(miniatures)
}

/// The thumbnails of points, of those that have one.
pub(super) fn thumbnails(
    gallery: &dyn Gallery,
    points: &[Uuid],
) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let found = gallery.retrieve(points)?;
    let hashes: HashMap<Uuid, &str> = found
        .iter()
        .map(|point| (point.id, point.payload.blake3.as_str()))
        .collect();
    let wanted: Vec<&str> = hashes.values().copied().filter(|h| !h.is_empty()).collect();
    let mut kept = gallery.thumbnails(&wanted)?;
    // Different contents have different thumbnails.
    let of = |id: &Uuid| kept.remove(*hashes.get(id)?);
    Ok(points.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use lookalike_images::{InputShape, Pixels, fit, thumbnail};

    use super::*;

    const LARGE: usize = 96;

    /// A picture of soft blots of colour, another for each seed.
    fn picture(seed: u64) -> Vec<[f32; 3]> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let blots: Vec<[f32; 6]> = (0..30).map(|_| std::array::from_fn(|_| next())).collect();
        let place = |at: usize| (at as f32 + 0.5) / LARGE as f32;
        (0..LARGE * LARGE)
            .map(|at| {
                let (x, y) = (place(at % LARGE), place(at / LARGE));
                let mut colour = [70.0; 3];
                for [left, top, size, red, green, blue] in &blots {
                    let distance = (x - left).powi(2) + (y - top).powi(2);
                    let strength = (-distance / (0.001 + 0.01 * size)).exp();
                    for (value, towards) in colour.iter_mut().zip([red, green, blue]) {
                        *value += strength * (255.0 * towards - *value);
                    }
                }
                colour
            })
            .collect()
    }

    fn changed(
        picture: &[[f32; 3]],
        mut change: impl FnMut(usize, [f32; 3]) -> [f32; 3],
    ) -> Pixels {
        let data = picture.iter().enumerate();
        let data = data.flat_map(|(at, &colour)| change(at, colour).map(|value| value as u8));
        Pixels::new(LARGE, LARGE, 3, data.collect()).unwrap()
    }

    fn miniature(pixels: &Pixels) -> Miniature {
        Miniature::decode(&thumbnail(pixels, 96).unwrap()).unwrap()
    }

    /// The same noise for the same place.
    fn noise(at: usize, seed: usize) -> f32 {
        let hash = (at * 31 + seed * 7919 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((hash >> 40) & 31) as f32 - 15.5
    }

    #[test]
    fn copies_differ_little_and_others_much() {
        for seed in 1..20 {
            let original = picture(seed);
            let plain = changed(&original, |_, colour| colour);
            let of = |pixels: &Pixels| {
                differences(&miniature(&plain).views(), &miniature(pixels).views()).all
            };
            let shape = |side: usize| InputShape {
                channels: 3,
                height: side,
                width: side,
            };
            let cut = lookalike_images::Region {
                x: 2,
                y: 2,
                width: LARGE - 5,
                height: LARGE - 5,
            };
            let copies = [
                ("smaller", fit(&plain, shape(40))),
                ("larger", fit(&plain, shape(200))),
                (
                    "darker",
                    changed(&original, |_, colour| colour.map(|v| v * 0.7)),
                ),
                (
                    "paler",
                    changed(&original, |_, colour| colour.map(|v| v * 0.8 + 40.0)),
                ),
                (
                    "noisy",
                    changed(&original, |at, colour| colour.map(|v| v + noise(at, 0))),
                ),
                ("cut", plain.crop(cut).unwrap()),
            ];
            for (how, copy) in copies {
                let difference = of(&copy);
                assert!(difference <= MAX_DIFFERENCE, "{how} {seed}: {difference}");
            }
            let others = [
                ("another", changed(&picture(seed + 100), |_, colour| colour)),
                (
                    "recoloured",
                    changed(&original, |_, [red, green, blue]| [blue, red, green]),
                ),
                ("blank", changed(&original, |_, _| [200.0; 3])),
            ];
            for (how, other) in others {
                let difference = of(&other);
                assert!(
                    difference > 2.0 * MAX_DIFFERENCE,
                    "{how} {seed}: {difference}"
                );
            }
        }
        let blank = miniature(&changed(&picture(1), |_, _| [9.0; 3])).views();
        assert_eq!(differences(&blank, &blank).luma, 1.0, "nothing to be seen");
    }

    #[test]
    fn small_pictures_turn_as_large_ones_do() {
        let plain = changed(&picture(5), |_, colour| colour);
        for turn in Turn::ALL {
            let large = miniature(&plain.turned(turn)).views();
            let small = miniature(&plain).turned(turn).views();
            let difference = differences(&large, &small).all;
            assert!(difference <= 0.01, "{turn}: {difference}");
            let difference = differences(&large, &miniature(&plain).views()).all;
            assert!(
                turn == Turn::None || difference > MAX_DIFFERENCE,
                "{turn}: {difference}"
            );
        }
    }

    #[test]
    fn one_that_is_not_turned_is_preferred() {
        let found = |other, difference, turn| Match {
            other,
            difference,
            turn,
        };
        let mut copies = vec![
            found(2, 0.01, Turn::Mirrored),
            found(1, 0.02, Turn::Flipped),
            found(2, 0.03, Turn::None),
            found(1, 0.01, Turn::Rotated90),
        ];
        settle(&mut copies);
        let expected = [found(1, 0.01, Turn::Rotated90), found(2, 0.03, Turn::None)];
        assert_eq!(copies, expected);
    }

    #[test]
    fn parts_are_those_of_the_copies_of_each() {
        let to = |other| Match {
            other,
            difference: 0.01,
            turn: Turn::None,
        };
        // A chain, and one that has no copy.
        let pictures = Pictures {
            miniatures: Vec::new(),
            limits: Vec::new(),
            copies: vec![vec![to(1)], vec![to(0), to(2)], vec![to(1)], Vec::new()],
            crowded: vec![false; 4],
            border: Border::default(),
        };
        let (train, test) = ([true, false], [false, true]);
        let parts = Parts::from([(0, train), (1, train), (2, test), (3, test)]);
        let expected = [(0, train), (1, [true; 2]), (2, train), (3, [false; 2])];
        assert_eq!(pictures.beside(&parts), Parts::from(expected));
    }

    #[test]
    fn copies_are_near_by_brightness_whatever_their_codes() {
        let shots: Vec<Pixels> = (0..60)
            .map(|seed| changed(&picture(seed), |_, c| c))
            .collect();
        let noisy = |at, colour: [f32; 3]| colour.map(|v| 0.7 * v + noise(at, 1));
        let noisy = changed(&picture(7), noisy);
        let pixels = shots.iter().chain([&noisy]);
        let miniatures: Vec<_> = pixels.map(|pixels| Some(miniature(pixels))).collect();
        let near = near_by_brightness(&miniatures).unwrap();
        assert!(near.iter().all(|near| near.len() == BRIGHTNESS_CANDIDATES));
        assert_eq!((near[7][0], near[60][0]), (60, 7));
        // By their codes neither is near the other.
        let candidates: Vec<Vec<u32>> = (0..61u32)
            .map(|own| (1..=16).map(|step| (own + step) % 53).collect())
            .collect();
        let pictures = Pictures::of(miniatures, &candidates, &near, |_| {});
        assert_eq!(pictures.copied().collect::<Vec<_>>(), [7, 60]);
    }

    /// Each compared with those that come after it, as codes might say.
    fn compared(pixels: &[Pixels]) -> Pictures {
        let miniatures: Vec<_> = pixels
            .iter()
            .map(|pixels| Some(miniature(pixels)))
            .collect();
        let count = pixels.len() as u32;
        let candidates: Vec<Vec<u32>> = (0..count)
            .map(|own| {
                (1..=CANDIDATES as u32)
                    .map(|step| (own + step) % count)
                    .collect()
            })
            .collect();
        Pictures::of(
            miniatures,
            &candidates,
            &vec![Vec::new(); count as usize],
            |_| {},
        )
    }

    #[test]
    fn a_crowd_larger_than_its_candidates_is_seen() {
        let shot = picture(7);
        let noisy = |seed| changed(&shot, |at, colour| colour.map(|v| v + noise(at, seed)));
        let others = (200..260).map(|seed| changed(&picture(seed), |_, colour| colour));
        let pixels: Vec<Pixels> = (0..40).map(noisy).chain(others).collect();
        let pictures = compared(&pixels);
        assert_eq!(
            pictures.copied().collect::<Vec<_>>(),
            (0..40).collect::<Vec<_>>()
        );
        assert!(pictures.crowded[0] && !pictures.crowded[39]);
        let order: Vec<u32> = (0..40).collect();
        let mut copies = pictures.copies_among(0, &order, &(0..100).collect());
        copies.sort_by_key(|found| found.other);
        let copies: Vec<u32> = copies.into_iter().map(|found| found.other).collect();
        assert_eq!(copies, order);
    }

    #[test]
    fn nothing_is_a_copy_where_all_are_alike() {
        // Steps between one picture and another, each as far from the next as that from its next.
        let (from, to) = (picture(3), picture(4));
        let step = |step: usize| {
            let share = step as f32 / 99.0;
            changed(&from, |at, colour| {
                std::array::from_fn(|c| colour[c] + share * (to[at][c] - colour[c]))
            })
        };
        let pictures = compared(&(0..100).map(step).collect::<Vec<_>>());
        // The last ones have no 16 after them.
        for own in 0..80 {
            let view = |at: usize| pictures.miniatures[at].as_ref().unwrap().views();
            let of = differences(&view(own), &view(own + 5));
            assert!(of.all <= MAX_DIFFERENCE, "{own}: {}", of.all);
            assert!(!pictures.is_copy(own, own + 5, of), "{own}");
        }
    }
}
