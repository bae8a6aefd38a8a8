//! How well parts of pictures are found, without labels: parts of a gallery's own pictures, moved,
//! scaled and with noise, must find their picture, and the place in it.
//!
//! ```text
//! lookalike index photos --model model --gallery gallery --tiles
//! cargo run --release -p lookalike --example find_parts -- gallery 200
//! ```
//!
//! For each share of a picture's sides, beside each other: how many parts find their picture first
//! and among the first five, by the codes of whole pictures and among tiles; the mean intersection
//! over union of the part and the region that was found, where the picture came first; and how long
//! a search takes, without encoding.

use std::time::Instant;

use lookalike::gallery::{Answer, Payload, Point, Points, Rectangle};
use lookalike::images::{Filter, Pixels, Region, resize};
use lookalike::{Originals, Query, SearchOptions, Searcher};

/// What part of the picture's sides a query shows, in percent.
const SHARES: [usize; 4] = [10, 20, 30, 50];
/// Parts are scaled by this at the least and at the most.
const SCALES: [f64; 2] = [0.7, 1.4];
/// Noise of up to so many grey levels is added.
const NOISE: i32 = 12;
/// Parts below this side in pixels show nothing.
const MIN_SIDE: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let gallery = arguments
        .next()
        .ok_or("give a gallery that was indexed with tiles")?;
    let count: usize = arguments.next().map_or(Ok(200), |count| count.parse())?;
    let searcher = Searcher::open(&gallery, &[], Default::default())?;
    let originals = Originals::of(searcher.gallery())?;
    let mut random = Random(1);
    let mut points: Vec<Point> = Points::new(searcher.gallery(), None).collect::<Result<_, _>>()?;
    // Evenly spread in the order of ids, which is no order at all.
    let step = points.len().div_ceil(count.max(1)).max(1);
    let all = points.len();
    points = points.into_iter().step_by(step).collect();
    println!("{all} images, parts of {}", points.len());
    println!("part    parts  whole@1  whole@5  tiles@1  tiles@5    IoU  whole ms  tiles ms");
    for share in SHARES {
        let (mut whole, mut tiles) = (Scores::default(), Scores::default());
        for point in &points {
            let payload = &point.payload;
            let Some(picture) = originals.pixels(payload) else {
                continue;
            };
            let sides = [picture.width(), picture.height()].map(|side| side * share / 100);
            if sides.iter().any(|&side| side < MIN_SIDE) {
                continue;
            }
            let region = Region {
                x: random.below(picture.width() - sides[0] + 1),
                y: random.below(picture.height() - sides[1] + 1),
                width: sides[0],
                height: sides[1],
            };
            let part = distorted(&picture.crop(region)?, &mut random);
            let code = searcher.encoder().encode_picture(&part.into())?;
            for (scores, tiles) in [(&mut whole, false), (&mut tiles, true)] {
                let options = SearchOptions {
                    tiles,
                    ..SearchOptions::default()
                };
                let start = Instant::now();
                let answer = searcher.search(Query::code(code.clone()), &options)?;
                scores.seconds += start.elapsed().as_secs_f64();
                scores.take(&answer, payload, region);
            }
        }
        let parts = whole.parts.max(1) as f64;
        let percent = |count: usize| 100.0 * count as f64 / parts;
        let milliseconds = |scores: &Scores| 1e3 * scores.seconds / parts;
        println!(
            "{share:3} %  {:6}  {:6.1}%  {:6.1}%  {:6.1}%  {:6.1}%  {:5.2}  {:8.2}  {:8.2}",
            whole.parts,
            percent(whole.first),
            percent(whole.among_five),
            percent(tiles.first),
            percent(tiles.among_five),
            tiles.overlap / tiles.first.max(1) as f64,
            milliseconds(&whole),
            milliseconds(&tiles)
        );
    }
    Ok(())
}

#[derive(Default)]
struct Scores {
    parts: usize,
    first: usize,
    among_five: usize,
    /// Sum over those that came first.
    overlap: f64,
    seconds: f64,
}

impl Scores {
    fn take(&mut self, answer: &Answer, own: &Payload, region: Region) {
        self.parts += 1;
        let rank = answer
            .neighbours
            .iter()
            .position(|hit| hit.payload.blake3 == own.blake3);
        self.among_five += usize::from(rank.is_some_and(|rank| rank < 5));
        if rank == Some(0) {
            self.first += 1;
            self.overlap += overlap(region, answer.neighbours[0].region, own);
        }
    }
}

/// Intersection over union of two regions of a picture; none is all of it.
fn overlap(region: Region, found: Option<Rectangle>, picture: &Payload) -> f64 {
    let found = found.unwrap_or(Rectangle {
        x: 0,
        y: 0,
        width: picture.width,
        height: picture.height,
    });
    let along = |a: usize, a_length: usize, b: u32, b_length: u32| {
        let (b, end) = (b as usize, (b + b_length) as usize);
        (a + a_length).min(end).saturating_sub(a.max(b))
    };
    let common = along(region.x, region.width, found.x, found.width)
        * along(region.y, region.height, found.y, found.height);
    let both = region.width * region.height + found.width as usize * found.height as usize;
    common as f64 / (both - common) as f64
}

/// Scaled, and with noise.
fn distorted(part: &Pixels, random: &mut Random) -> Pixels {
    let scale = SCALES[0] + (SCALES[1] - SCALES[0]) * random.below(1_001) as f64 / 1e3;
    let side = |side: usize| ((side as f64 * scale).round() as usize).max(1);
    let (width, height) = (part.width(), part.height());
    let all = [0.0, 0.0, width as f64, height as f64];
    let scaled = resize(part, all, side(width), side(height), Filter::Bicubic);
    let noisy = scaled.data().iter().map(|&value| {
        let noise = random.below(2 * NOISE as usize + 1) as i32 - NOISE;
        (i32::from(value) + noise).clamp(0, 255) as u8
    });
    let data: Vec<u8> = noisy.collect();
    Pixels::new(scaled.width(), scaled.height(), scaled.channels(), data)
        .expect("as many as there were")
}

/// A small generator of numbers that look random (SplitMix64, Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }
}
