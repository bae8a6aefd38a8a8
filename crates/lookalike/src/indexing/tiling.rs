//! Tiles: which windows of a picture are encoded beside the whole of it.

use lookalike_gallery::{EmbeddedGallery, Gallery, Rectangle, Tiles};
use lookalike_images::{DecodeOptions, Decoded, Region};
use lookalike_sources::{Entry, Skipped};

use crate::stream::Raw;
use crate::{Encoder, Error, ReadingRules};

/// The most tiles of an image, unless another number is asked for.
pub const DEFAULT_TILES: usize = 30;
/// The fewest tiles that can be asked for: four quarters.
pub const MIN_TILES: usize = 4;

/// Sides of windows, as parts of the picture's: a half, a third and a fifth.
const DIVISORS: [usize; 3] = [2, 3, 5];
/// Windows below this side in pixels are not worth a code.
const MIN_SIDE: usize = 16;
/// How many times longer than the other a window's longer side may be.
const MAX_RATIO: usize = 2;
/// How far apart windows of a size are, in parts of their side: half overlapping, and less where
/// there would be too many.
const STEPS: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Makes the tiles of a gallery's images.
pub(super) struct Tiling<'a> {
    most: usize,
    encoder: &'a dyn Encoder,
    gallery: &'a EmbeddedGallery,
}

/// Windows of a picture, ready to be encoded.
pub(super) struct Windows {
    pub regions: Vec<Rectangle>,
    /// Inputs of the encoder, one after another.
    pub pixels: Vec<u8>,
}

impl Windows {
    /// The tiles, of the codes.
    pub fn with_codes(self, codes: &[f32]) -> Tiles {
        Tiles {
            regions: self.regions,
            codes: codes.to_vec(),
        }
    }
}

impl<'a> Tiling<'a> {
    /// As the gallery's rules say; none for a gallery that keeps no tiles.
    pub fn of(gallery: &'a dyn Gallery, encoder: &'a dyn Encoder) -> Result<Option<Self>, Error> {
        let Some(embedded) = gallery.as_embedded() else {
            return Ok(None);
        };
        let most = ReadingRules::of(gallery)?.and_then(|rules| rules.tiles);
        Ok(most.map(|most| Self {
            most,
            encoder,
            gallery: embedded,
        }))
    }

    /// The most tiles of an image.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether a content has no tiles yet.
    pub fn lacks(&self, blake3: &str) -> Result<bool, Error> {
        Ok(!self.gallery.has_tiles(blake3)?)
    }

    /// As [`lacks`](Self::lacks), of an image that is about to be stored: tiles that are there
    /// stay until it is.
    pub fn lacks_or_holds(&self, blake3: &str) -> Result<bool, Error> {
        Ok(!self.gallery.hold_tiles(blake3)?)
    }

    /// The windows of a picture, which is decoded once more where `decoded` was reduced: windows
    /// need more of its pixels.
    ///
    /// None that the encoder has no use for.
    pub fn windows(
        &self,
        raw: &Raw,
        entry: &Entry,
        options: &DecodeOptions,
        decoded: Option<&Decoded>,
    ) -> Result<Windows, Skipped> {
        let is_whole = |picture: &&Decoded| picture.pixels.width() == picture.width;
        let larger;
        let picture = match decoded.filter(is_whole) {
            Some(picture) => picture,
            None => {
                let (width, height) = self.encoder.decode_sides();
                let most = smallest(self.most);
                let options = DecodeOptions {
                    target: Some((width * most, height * most)),
                    ..options.clone()
                };
                larger = raw.decode(entry, &options)?;
                &larger
            }
        };
        let mut windows = Windows {
            regions: Vec::new(),
            pixels: Vec::new(),
        };
        let whole = (picture.width, picture.height);
        for region in grid(picture.width, picture.height, self.most) {
            let part = picture.pixels.crop_of(region, whole).map(Decoded::from);
            let input = part.map(|part| self.encoder.prepare(&part));
            // What it has no use for as a whole is told elsewhere.
            if let Ok(Ok(input)) = input {
                windows.regions.push(rectangle(region));
                windows.pixels.extend(input.data());
            }
        }
        Ok(windows)
    }
}

fn rectangle(region: Region) -> Rectangle {
    // A side beyond u32 would be an image of more than 16 TiB.
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    Rectangle {
        x: side(region.x),
        y: side(region.y),
        width: side(region.width),
        height: side(region.height),
    }
}

/// By which number the sides of the smallest windows of a square picture are divided.
fn smallest(most: usize) -> usize {
    // Larger than any window needs to be encoded.
    const SIDE: usize = 10_000;
    let windows = grid(SIDE, SIDE, most).into_iter();
    windows
        .map(|window| SIDE.div_ceil(window.width))
        .max()
        .unwrap_or(1)
}

/// At most so many windows of a picture of these sides, the larger first: of each size they cover
/// the picture, overlapping by half if there may be so many, and have its proportions, unless it is
/// more than twice as long as wide.
fn grid(width: usize, height: usize, most: usize) -> Vec<Region> {
    let mut windows = Vec::new();
    let shorter = width.min(height);
    for divisor in DIVISORS {
        if shorter / divisor < MIN_SIDE {
            break;
        }
        // Rounded up, or the last pixel would need a window of its own.
        let longest = MAX_RATIO * shorter.div_ceil(divisor);
        let sides = [width, height].map(|side| side.div_ceil(divisor).min(longest));
        let left = most - windows.len();
        let counts =
            STEPS.map(|step| [0, 1].map(|axis| count([width, height][axis], sides[axis], step)));
        let fitting = counts
            .into_iter()
            .find(|[columns, rows]| columns * rows <= left);
        if let Some(counts) = fitting {
            windows.extend(spread([width, height], sides, counts));
        }
    }
    if windows.is_empty() && shorter >= MIN_SIDE && width.max(height) > MAX_RATIO * shorter {
        // A band too long for all of these.
        let sides = [width, height].map(|side| side.min(MAX_RATIO * shorter));
        let along = count(width.max(height), MAX_RATIO * shorter, 0.5).min(most);
        let counts = match width > height {
            true => [along, 1],
            false => [1, along],
        };
        windows.extend(spread([width, height], sides, counts));
    }
    windows
}

/// How many windows cover a side, `step` of a window apart at the most.
fn count(side: usize, window: usize, step: f64) -> usize {
    let steps = (side - window) as f64 / (window as f64 * step);
    // Whole numbers of steps are a little more by rounding.
    (steps - 1e-9).ceil().max(0.0) as usize + 1
}

/// Rows of windows, evenly spaced.
fn spread(whole: [usize; 2], sides: [usize; 2], counts: [usize; 2]) -> Vec<Region> {
    let place = |axis: usize, number: usize| {
        let room = whole[axis] - sides[axis];
        match counts[axis] {
            1 => room / 2,
            count => room * number / (count - 1),
        }
    };
    let rows = 0..counts[1];
    rows.flat_map(|row| {
        (0..counts[0]).map(move |column| Region {
            x: place(0, column),
            y: place(1, row),
            width: sides[0],
            height: sides[1],
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_few_enough_and_inside_and_cover_the_picture() {
        for (width, height) in [(100, 100), (640, 480), (3_000, 800), (33, 90), (8_000, 40)] {
            for most in [4, 15, 30, 60, 115, 1_000] {
                let windows = grid(width, height, most);
                let name = format!("{width}x{height}, {most}");
                assert!(
                    (1..=most).contains(&windows.len()),
                    "{name}: {}",
                    windows.len()
                );
                for window in &windows {
                    assert!(window.x + window.width <= width, "{name}: {window}");
                    assert!(window.y + window.height <= height, "{name}: {window}");
                    let (longer, shorter) = match window.width > window.height {
                        true => (window.width, window.height),
                        false => (window.height, window.width),
                    };
                    assert!(shorter >= MIN_SIDE && longer <= MAX_RATIO * shorter + 1);
                }
                // Of the larger windows, unless there are too few for a band.
                let first = (windows[0].width, windows[0].height);
                let largest: Vec<_> = windows
                    .iter()
                    .filter(|window| (window.width, window.height) == first)
                    .collect();
                let covers = |x: usize, y: usize| {
                    largest.iter().any(|window| {
                        // Odd sides leave a pixel at the edge.
                        (window.x..window.x + window.width + 1).contains(&x)
                            && (window.y..window.y + window.height + 1).contains(&y)
                    })
                };
                let is_covered = (0..width)
                    .step_by(7)
                    .all(|x| (0..height).step_by(5).all(|y| covers(x, y)));
                assert!(is_covered || width / height > most, "{name}");
            }
        }
        assert!(grid(28, 28, 30).is_empty());
    }

    #[test]
    fn more_windows_are_smaller_ones() {
        let sides = |most: usize| {
            let windows = grid(1_000, 1_000, most);
            [500, 334, 200].map(|side| windows.iter().filter(|w| w.width == side).count())
        };
        assert_eq!(sides(4), [4, 0, 0]);
        assert_eq!(sides(9), [9, 0, 0]);
        assert_eq!(sides(30), [9, 16, 0]);
        assert_eq!(sides(60), [9, 25, 25]);
        assert_eq!(sides(115), [9, 25, 81]);
        assert_eq!([4, 30, 60].map(smallest), [2, 3, 5]);
    }
}
