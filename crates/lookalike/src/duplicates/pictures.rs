//! Whether two pictures are copies of each other, told by the pictures themselves.
//!
//! Codes say what looks alike; a copy is more: the same picture, changed by what happens to files.
//! So pictures that are near by their codes are compared as they are, small: the thumbnails that
//! the gallery keeps, at 32x32 pixels. That does not depend on what was learned, and noise, other
//! sizes, compression and brightness are gone at that size.

use std::collections::HashMap;

use lookalike_gallery::Gallery;
use lookalike_images::{DecodeOptions, InputShape, decode, fit};
use rayon::prelude::*;
use uuid::Uuid;

use super::Placed;
use crate::contents::Contents;
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
/// Neighbours by code that a picture is compared with. One that has more copies is compared with
/// all.
const CANDIDATES: usize = 16;
/// Sides of a small picture's luma and of its colours.
const SIDE: usize = 32;
const COLOUR_SIDE: usize = 8;
const LUMA: usize = SIDE * SIDE;
const COLOURS: usize = 2 * COLOUR_SIDE * COLOUR_SIDE;
/// Shares of the sides that are compared with all of the other picture, in case that is a part.
const CROPS: [f32; 2] = [0.95, 0.9];
/// What a difference of colours counts beside one of luma.
const DEFAULT_COLOUR_WEIGHT: f32 = 0.5;
/// Standard deviation of luma, in levels, below which a picture shows nothing that could be
/// compared.
const MIN_DEVIATION: f32 = 1.0;
/// The same, below which differences of colour are not measured by it: in nearly uniform pictures
/// they are what compression leaves.
const MIN_COLOUR_DEVIATION: f32 = 4.0;
/// Pictures that are read, or compared, between two looks at the progress.
const PAGE: usize = 2048;

/// A picture at 32x32 pixels: luma, and two differences of colour at 8x8.
struct Miniature {
    luma: [u8; LUMA],
    colours: [i8; COLOURS],
}

impl Miniature {
    /// Of the bytes of a thumbnail; none if they are no picture.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let pixels = decode(bytes, &DecodeOptions::default()).ok()?.pixels;
        let shape = InputShape {
            channels: 3,
            height: SIDE,
            width: SIDE,
        };
        let pixels = fit(&pixels, shape);
        let mut sums = [0.0; COLOURS];
        let mut miniature = Self {
            luma: [0; LUMA],
            colours: [0; COLOURS],
        };
        for (at, pixel) in pixels.data().chunks_exact(3).enumerate() {
            let [red, green, blue] = [0, 1, 2].map(|channel| f32::from(pixel[channel]));
            let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
            miniature.luma[at] = luma.round() as u8;
            let step = SIDE / COLOUR_SIDE;
            let place = at / SIDE / step * COLOUR_SIDE + at % SIDE / step;
            sums[2 * place] += 0.564 * (blue - luma);
            sums[2 * place + 1] += 0.713 * (red - luma);
        }
        let each = (LUMA / (COLOUR_SIDE * COLOUR_SIDE)) as f32;
        for (colour, sum) in miniature.colours.iter_mut().zip(sums) {
            *colour = (sum / each).round() as i8;
        }
        Some(miniature)
    }

    /// The luma of the middle, that share of the sides, at the same number of pixels.
    fn middle(&self, share: f32) -> [f32; LUMA] {
        let side = SIDE as f32;
        let places: [(usize, usize, f32); SIDE] = std::array::from_fn(|at| {
            let place = (at as f32 + 0.5 - side / 2.0) * share + side / 2.0 - 0.5;
            let first = place.max(0.0) as usize;
            (first, (first + 1).min(SIDE - 1), place - first as f32)
        });
        std::array::from_fn(|at| {
            let (top, bottom, down) = places[at / SIDE];
            let (left, right, across) = places[at % SIDE];
            let value = |row: usize, column: usize| f32::from(self.luma[row * SIDE + column]);
            let above = value(top, left) * (1.0 - across) + value(top, right) * across;
            let below = value(bottom, left) * (1.0 - across) + value(bottom, right) * across;
            above * (1.0 - down) + below * down
        })
    }

    fn views(&self) -> Views {
        let whole = self.luma.map(f32::from);
        let deviation = deviation(&whole).max(MIN_COLOUR_DEVIATION);
        Views {
            whole: normalised(whole),
            parts: CROPS.map(|share| normalised(self.middle(share))),
            colours: self.colours.map(|colour| f32::from(colour) / deviation),
        }
    }
}

/// What is compared of a picture: its luma, whole and its middle, each of mean 0 and length 1, and
/// its colours in units of the luma's standard deviation.
struct Views {
    whole: [f32; LUMA],
    parts: [[f32; LUMA]; CROPS.len()],
    colours: [f32; COLOURS],
}

fn deviation(values: &[f32; LUMA]) -> f32 {
    let mean = values.iter().sum::<f32>() / LUMA as f32;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f32>() / LUMA as f32).sqrt()
}

/// Brought to mean 0 and length 1; all 0 where nothing is to be seen.
fn normalised(mut values: [f32; LUMA]) -> [f32; LUMA] {
    let mean = values.iter().sum::<f32>() / LUMA as f32;
    let deviation = deviation(&values);
    let scale = match deviation >= MIN_DEVIATION {
        true => 1.0 / (deviation * (LUMA as f32).sqrt()),
        false => 0.0,
    };
    for value in &mut values {
        *value = (*value - mean) * scale;
    }
    values
}

fn dot(a: &[f32; LUMA], b: &[f32; LUMA]) -> f32 {
    let mut sums = [0.0; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// How two pictures differ.
#[derive(Clone, Copy)]
struct Differences {
    /// 1 less the correlation of their luma, of the whole pictures or of one and the middle of the
    /// other, whichever is more alike.
    luma: f32,
    /// With their colours.
    all: f32,
}

fn differences(a: &Views, b: &Views) -> Differences {
    let mut alike = dot(&a.whole, &b.whole);
    for part in 0..CROPS.len() {
        alike = alike.max(dot(&a.whole, &b.parts[part]));
        alike = alike.max(dot(&a.parts[part], &b.whole));
    }
    let luma = (1.0 - alike).max(0.0);
    let colours = a.colours.iter().zip(&b.colours);
    let colours: f32 = colours.map(|(a, b)| (a - b).powi(2)).sum();
    // As long as luma would be: half of the squared distance of vectors of length 1.
    let places = (COLOUR_SIDE * COLOUR_SIDE) as f32;
    Differences {
        luma,
        all: luma + DEFAULT_COLOUR_WEIGHT * colours / places / 2.0,
    }
}

/// The pictures of a gallery beside each other.
pub(super) struct Pictures {
    miniatures: Vec<Option<Miniature>>,
    /// The largest difference of luma between each and a copy of it.
    limits: Vec<f32>,
    /// Which others are copies of each, and how much they differ; of its candidates alone.
    copies: Vec<Vec<(u32, f32)>>,
    /// Those whose candidates are all copies.
    crowded: Vec<bool>,
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

        Ok(Some(Self::of(miniatures, &candidates, progress)))
    }

    /// Compares each with its candidates.
    fn of(
        miniatures: Vec<Option<Miniature>>,
        candidates: &[Vec<u32>],
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
                let others = candidates[content].iter().filter_map(|&other| {
                    let views = miniatures[other as usize].as_ref()?.views();
                    Some((other, differences(&own, &views)))
                });
                let others: Vec<(u32, Differences)> = others.collect();
                let mut by_luma: Vec<f32> = others.iter().map(|(_, of)| of.luma).collect();
                by_luma.sort_by(f32::total_cmp);
                let around = by_luma.get(SURROUNDINGS - 1).or(by_luma.last());
                let around = around.copied().unwrap_or(0.0);
                let near = |(_, of): &(u32, Differences)| of.all <= MAX_DIFFERENCE;
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
        };
        for (content, others) in alike.into_iter().enumerate() {
            let mut copies = 0;
            for (other, of) in others {
                if pictures.is_copy(content, other as usize, of) {
                    copies += 1;
                    pictures.copies[content].push((other, of.all));
                    pictures.copies[other as usize].push((content as u32, of.all));
                }
            }
            pictures.crowded[content] = copies == CANDIDATES;
        }
        for copies in &mut pictures.copies {
            copies.sort_by_key(|&(other, _)| other);
            copies.dedup_by_key(|&mut (other, _)| other);
        }
        pictures
    }

    fn is_copy(&self, one: usize, other: usize, differences: Differences) -> bool {
        differences.all <= MAX_DIFFERENCE
            && differences.luma <= self.limits[one].min(self.limits[other])
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

    /// Groups contents, which come in the order in which they would represent: the first takes
    /// every copy of it, the first of the remaining takes of those that remain, and so on.
    pub fn group(&self, order: &[u32], contents: &Contents) -> Result<Vec<Vec<Placed>>, Error> {
        let codes = contents.codes()?;
        let mut free = vec![false; self.copies.len()];
        for &content in order {
            free[content as usize] = true;
        }
        let mut groups = Vec::new();
        for &leader in order {
            let leader = leader as usize;
            if !std::mem::take(&mut free[leader]) {
                continue;
            }
            let copies = match self.crowded[leader] {
                true => self.copies_among(leader, order, &free),
                false => self.copies[leader].clone(),
            };
            let mut members: Vec<Placed> = copies
                .into_iter()
                .filter(|&(other, _)| std::mem::take(&mut free[other as usize]))
                .map(|(other, difference)| Placed {
                    row: other as usize,
                    distance: contents
                        .metric
                        .distance(codes.row(other as usize), codes.row(leader)),
                    difference: Some(difference),
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
    fn copies_among(&self, leader: usize, order: &[u32], free: &[bool]) -> Vec<(u32, f32)> {
        let Some(own) = &self.miniatures[leader] else {
            return Vec::new();
        };
        let own = own.views();
        order
            .par_iter()
            .filter(|&&other| free[other as usize])
            .filter_map(|&other| {
                let views = self.miniatures[other as usize].as_ref()?.views();
                let of = differences(&own, &views);
                self.is_copy(leader, other as usize, of)
                    .then_some((other, of.all))
            })
            .collect()
    }
}

/// The small pictures of points, of those that have a thumbnail.
fn read(gallery: &dyn Gallery, points: &[Uuid]) -> Result<Vec<Option<Miniature>>, Error> {
    let mut miniatures = Vec::with_capacity(points.len());
    for page in points.chunks(PAGE) {
        let points = gallery.retrieve(page)?;
        let hashes: HashMap<Uuid, &str> = points
            .iter()
            .map(|point| (point.id, point.payload.blake3.as_str()))
            .collect();
        let wanted: Vec<&str> = hashes.values().copied().filter(|h| !h.is_empty()).collect();
        let thumbnails = gallery.thumbnails(&wanted)?;
        let decoded = page.par_iter().map(|id| {
            let hash = hashes.get(id)?;
            Miniature::decode(thumbnails.get(*hash)?)
        });
        miniatures.extend(decoded.collect::<Vec<_>>());
    }
    Ok(miniatures)
}

#[cfg(test)]
mod tests {
    use lookalike_images::{Pixels, fit, thumbnail};

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
        Pictures::of(miniatures, &candidates, |_| {})
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
        let mut copies = pictures.copies_among(0, &order, &[true; 100]);
        copies.sort_by_key(|&(other, _)| other);
        let copies: Vec<u32> = copies.into_iter().map(|(other, _)| other).collect();
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
