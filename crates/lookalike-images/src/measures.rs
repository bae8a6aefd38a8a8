//! What a picture is like as a picture: how bright, how sharp, how colourful; and whether its lower
//! part is missing.
//!
//! Everything is found in a few passes over few pixels: a picture whose shorter side has 512 pixels
//! or more is first reduced, by the mean of squares of pixels, until that side has 256 to 511. What
//! comes smaller is looked at as it is. So a picture that was decoded at a fraction of its size
//! (see [`DecodeOptions::target`](crate::DecodeOptions::target)) and the same picture decoded whole
//! are seen at much the same scale; what is finer than that scale is not seen at all.

use std::borrow::Cow;

use crate::fit::to_grey;
use crate::pixels::Pixels;

/// Measures of one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// Mean luma (Rec. 709, of the values as stored): 0 is black, 1 white.
    pub brightness: f32,
    /// Standard deviation of luma: 0 for a single grey, 0.5 for as much black as white.
    pub contrast: f32,
    /// How much of the change between neighbouring pixels would be lost by blurring the picture: 1
    /// less the blur effect of Crete, Dolmiere, Ladret and Nicolas, "The blur effect: perception
    /// and estimation with a new no-reference perceptual blur metric" (2007), with their mean of 9
    /// pixels. What is blurred already loses little by being blurred again. From 0; sharp
    /// photographs have 0.5 to 0.8. It does not depend on contrast; noise counts as sharp. 0 where
    /// nothing changes.
    ///
    /// It compares different pictures. For copies of one picture it will not do: it is a share of
    /// what changes, and at the scale of this look an enlarged copy and the sharper original that
    /// it came from have much the same one.
    pub sharpness: f32,
    /// Entropy of luma in bits: 0 for a single grey, 8 where all 256 values are equally frequent.
    pub entropy: f32,
    /// Colourfulness by Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003),
    /// their third metric: 0 is grey, 15 slightly, 45 averagely and 82 highly colourful.
    pub colourfulness: f32,
    /// Share of the rows, from the lowest up, that have one and the same colour throughout.
    pub flat_bottom: f32,
    /// The same, if that colour is the grey that decoders leave where a file ends early (128, as
    /// libjpeg does); otherwise 0.
    pub undecoded: f32,
}

/// The shorter side that pictures are reduced to, at the least.
const SHORTER_SIDE: usize = 256;
/// How far on either side of a pixel the mean reaches that sharpness is judged by; and its length.
const REACH: usize = 4;
const LENGTH: u32 = 2 * REACH as u32 + 1;
/// By how much values of a flat part may differ: JPEG leaves flat colours flat.
const FLAT_TOLERANCE: u8 = 2;
/// What decoders leave where data are missing, and how far from it counts as it: a colour profile
/// may have shifted it.
const UNDECODED: u8 = 128;
const UNDECODED_TOLERANCE: u8 = 3;

/// Measures a picture.
pub fn measure(pixels: &Pixels) -> Measures {
    let seen = reduced(pixels);
    let luma = match seen.channels() {
        1 => Cow::Borrowed(&*seen),
        _ => Cow::Owned(to_grey(&seen)),
    };
    let counts = histogram(luma.data());
    let (brightness, contrast) = mean_and_deviation(&counts);
    let (flat_bottom, is_undecoded) = flat_bottom(pixels);
    Measures {
        brightness,
        contrast,
        sharpness: sharpness(&luma),
        entropy: entropy(&counts),
        colourfulness: colourfulness(&seen),
        flat_bottom,
        undecoded: if is_undecoded { flat_bottom } else { 0.0 },
    }
}

/// The picture, reduced by a whole number if it is much larger than needed.
fn reduced(pixels: &Pixels) -> Cow<'_, Pixels> {
    let (width, height, channels) = (pixels.width(), pixels.height(), pixels.channels());
    let by = width.min(height) / SHORTER_SIDE;
    if by < 2 {
        return Cow::Borrowed(pixels);
    }
    let (to_width, to_height) = (width / by, height / by);
    let row = width * channels;
    let mut data = Vec::with_capacity(to_width * to_height * channels);
    // Sides are at most 65,535, so that at most 255 rows are added: no sum overflows.
    let mut sums = vec![0u16; row];
    let square = (by * by) as u32;
    for rows in pixels.data().chunks_exact(by * row).take(to_height) {
        sums.fill(0);
        for row in rows.chunks_exact(row) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += u16::from(value);
            }
        }
        for block in sums.chunks_exact(by * channels).take(to_width) {
            for channel in 0..channels {
                let values = block.iter().skip(channel).step_by(channels);
                let sum: u32 = values.map(|&sum| u32::from(sum)).sum();
                data.push(((sum + square / 2) / square) as u8);
            }
        }
    }
    Cow::Owned(Pixels::trusted(to_width, to_height, channels, data))
}

/// How often each value is there.
fn histogram(values: &[u8]) -> [u32; 256] {
    // Neighbours are often equal, and counting into one table would wait for itself.
    let mut tables = [[0u32; 256]; 4];
    let fours = values.chunks_exact(4);
    for &value in fours.remainder() {
        tables[0][usize::from(value)] += 1;
    }
    for four in fours {
        for (table, &value) in tables.iter_mut().zip(four) {
            table[usize::from(value)] += 1;
        }
    }
    std::array::from_fn(|value| tables.iter().map(|table| table[value]).sum())
}

fn mean_and_deviation(counts: &[u32; 256]) -> (f32, f32) {
    let (mut number, mut sum, mut squares) = (0u64, 0u64, 0u64);
    for (value, &count) in (0u64..).zip(counts) {
        let count = u64::from(count);
        number += count;
        sum += count * value;
        squares += count * value * value;
    }
    let mean = sum as f64 / number as f64;
    let variance = (squares as f64 / number as f64 - mean * mean).max(0.0);
    ((mean / 255.0) as f32, (variance.sqrt() / 255.0) as f32)
}

fn entropy(counts: &[u32; 256]) -> f32 {
    let number: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let there = counts.iter().filter(|&&count| count > 0);
    let bits = there.map(|&count| {
        let share = f64::from(count) / number;
        -share * share.log2()
    });
    bits.sum::<f64>() as f32
}

/// What changes between neighbours in one direction.
#[derive(Default)]
struct Changes {
    /// Times the mean's length.
    all: u64,
    /// What of it blurring would take away, times the mean's length.
    lost: u64,
}

impl Changes {
    /// Adds the changes from each of `these` pixels to its `next`. The mean over a pixel's
    /// surroundings, and that over its neighbour's, differ by what leaves them and what enters.
    fn add(&mut self, these: &[u8], next: &[u8], leaving: &[u8], entering: &[u8]) {
        let near = these.iter().zip(next);
        let far = leaving.iter().zip(entering);
        let (mut all, mut lost) = (0u32, 0u32);
        for ((&a, &b), (&c, &d)) in near.zip(far) {
            let change = LENGTH * u32::from(a.abs_diff(b));
            all += change;
            lost += change.saturating_sub(u32::from(c.abs_diff(d)));
        }
        self.all += u64::from(all);
        self.lost += u64::from(lost);
    }

    fn share_lost(&self) -> Option<f32> {
        (self.all > 0).then(|| (self.lost as f64 / self.all as f64) as f32)
    }
}

/// Of the two directions the blurred one counts, as motion blurs but one. What is beyond the
/// picture is as its edge.
fn sharpness(luma: &Pixels) -> f32 {
    let (width, height) = (luma.width(), luma.height());
    let row = |y: usize| &luma.data()[y * width..][..width];
    let (mut across, mut along) = (Changes::default(), Changes::default());
    let mut wide = vec![0; width + 2 * REACH + 1];
    for y in 0..height {
        let this = row(y);
        wide[..REACH].fill(this[0]);
        wide[REACH..][..width].copy_from_slice(this);
        wide[REACH + width..].fill(this[width - 1]);
        across.add(
            &this[..width - 1],
            &this[1..],
            &wide,
            &wide[2 * REACH + 1..],
        );
        if y + 1 < height {
            let leaving = row(y.saturating_sub(REACH));
            let entering = row((y + REACH + 1).min(height - 1));
            along.add(this, row(y + 1), leaving, entering);
        }
    }
    match (across.share_lost(), along.share_lost()) {
        (Some(across), Some(along)) => across.min(along),
        (across, along) => across.or(along).unwrap_or(0.0),
    }
}

fn colourfulness(pixels: &Pixels) -> f32 {
    if pixels.channels() == 1 {
        return 0.0;
    }
    // Red against green, and twice yellow against blue; a row's sums stay within 32 bits.
    let (mut sums, mut squares) = ([0i64; 2], [0u64; 2]);
    for row in pixels.data().chunks_exact(pixels.width() * 3) {
        for part in row.chunks(3 << 12) {
            let (mut sum, mut square) = ([0i32; 2], [0u32; 2]);
            for pixel in part.chunks_exact(3) {
                let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(i32::from);
                let opponents = [red - green, red + green - 2 * blue];
                for (at, value) in opponents.into_iter().enumerate() {
                    sum[at] += value;
                    square[at] += (value * value) as u32;
                }
            }
            for at in 0..2 {
                sums[at] += i64::from(sum[at]);
                squares[at] += u64::from(square[at]);
            }
        }
    }
    let number = (pixels.width() * pixels.height()) as f64;
    let of = |at: usize, scale: f64| {
        let mean = sums[at] as f64 / number;
        let variance = (squares[at] as f64 / number - mean * mean).max(0.0);
        (mean * scale, variance * scale * scale)
    };
    let ((mean_rg, variance_rg), (mean_yb, variance_yb)) = (of(0, 1.0), of(1, 0.5));
    let spread = (variance_rg + variance_yb).sqrt();
    (spread + 0.3 * mean_rg.hypot(mean_yb)) as f32
}

/// The share of rows at the bottom of one colour, and whether it is that of missing data.
fn flat_bottom(pixels: &Pixels) -> (f32, bool) {
    let channels = pixels.channels();
    let row = pixels.width() * channels;
    let data = pixels.data();
    let colour = &data[data.len() - channels..];
    let is_flat = |row: &&[u8]| {
        row.chunks_exact(channels).all(|pixel| {
            let mut values = pixel.iter().zip(colour);
            values.all(|(&value, &usual)| value.abs_diff(usual) <= FLAT_TOLERANCE)
        })
    };
    let flat = data.rchunks_exact(row).take_while(is_flat).count();
    let is_undecoded = colour
        .iter()
        .all(|&value| value.abs_diff(UNDECODED) <= UNDECODED_TOLERANCE);
    (flat as f32 / pixels.height() as f32, is_undecoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fit::{scale, to_colour};

    fn grey(width: usize, height: usize, of: impl Fn(usize, usize) -> u8) -> Pixels {
        let at = |i: usize| of(i % width, i / width);
        Pixels::new(width, height, 1, (0..width * height).map(at).collect()).unwrap()
    }

    /// Squares of many sizes, sharp.
    fn scene(width: usize, height: usize) -> Pixels {
        grey(width, height, |x, y| {
            let square = |size: usize| ((x / size + y / size) % 2) as u8;
            40 + 60 * square(7) + 50 * square(19) + 80 * square(31)
        })
    }

    /// Each pixel the mean of a square around it.
    fn blurred(pixels: &Pixels, reach: isize) -> Pixels {
        let (width, height) = (pixels.width() as isize, pixels.height() as isize);
        grey(pixels.width(), pixels.height(), |x, y| {
            let mut sum = 0;
            for dy in -reach..=reach {
                for dx in -reach..=reach {
                    let x = (x as isize + dx).clamp(0, width - 1);
                    let y = (y as isize + dy).clamp(0, height - 1);
                    sum += u32::from(pixels.data()[(y * width + x) as usize]);
                }
            }
            (sum / ((2 * reach + 1) * (2 * reach + 1)) as u32) as u8
        })
    }

    #[test]
    fn brightness_contrast_and_entropy_are_those_of_luma() {
        let half = grey(16, 10, |x, _| if x < 8 { 0 } else { 255 });
        let measures = measure(&half);
        assert_eq!((measures.brightness, measures.contrast), (0.5, 0.5));
        assert_eq!(measures.entropy, 1.0);
        let all = grey(16, 16, |x, y| (16 * y + x) as u8);
        assert_eq!(measure(&all).entropy, 8.0);
        let red = Pixels::new(2, 2, 3, [255, 0, 0].repeat(4)).unwrap();
        assert!((measure(&red).brightness - 54.0 / 255.0).abs() < 1e-6);
        assert_eq!(measure(&to_colour(&half)), measure(&half));
    }

    #[test]
    fn blur_lowers_sharpness_and_contrast_does_not() {
        let sharp = scene(150, 120);
        let faint = grey(150, 120, |x, y| 100 + sharp.data()[y * 150 + x] / 4);
        let at = |pixels: &Pixels| measure(pixels).sharpness;
        assert!(at(&sharp) > 0.8, "{}", at(&sharp));
        assert!((at(&sharp) - at(&faint)).abs() < 0.03, "{}", at(&faint));
        let (little, much) = (at(&blurred(&sharp, 1)), at(&blurred(&sharp, 4)));
        assert!(little < 0.75 && much < 0.4, "{little} {much}");
        // In one direction alone, too: columns fade, rows are sharp.
        let moved = grey(150, 120, |x, y| {
            let sum: u32 = (0..9)
                .map(|by| u32::from(sharp.data()[y * 150 + (x + by).min(149)]))
                .sum();
            (sum / 9) as u8
        });
        assert!(at(&moved) < 0.5, "{}", at(&moved));
    }

    #[test]
    fn the_scale_that_a_picture_comes_at_hardly_matters() {
        let whole = scene(1100, 1030);
        // By 4, as a reduced JPEG is, and what is left over is cut off.
        let small = reduced(&whole).into_owned();
        assert_eq!((small.width(), small.height()), (275, 257));
        let (from_whole, from_small) = (measure(&whole), measure(&small));
        assert_eq!(from_whole.sharpness, from_small.sharpness);
        assert_eq!(from_whole.entropy, from_small.entropy);
        let between = measure(&scale(&whole, 412, 386));
        assert!((between.sharpness - from_whole.sharpness).abs() < 0.12);
        assert!((between.brightness - from_whole.brightness).abs() < 0.01);
    }

    #[test]
    fn colourfulness_is_the_published_one() {
        // Half pure red, half pure blue: rg is 255 or 0, yb 127.5 or -255.
        let data = [[255, 0, 0], [0, 0, 255]].concat().repeat(50);
        let pixels = Pixels::new(10, 10, 3, data).unwrap();
        let spread = f64::hypot(127.5, 191.25);
        let expected = spread + 0.3 * f64::hypot(127.5, 63.75);
        let found = f64::from(measure(&pixels).colourfulness);
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        assert_eq!(measure(&to_colour(&scene(20, 20))).colourfulness, 0.0);
    }

    #[test]
    fn a_flat_bottom_is_measured_and_its_grey_recognised() {
        let cut = |value: u8| grey(40, 50, |x, y| if y < 30 { (x * y) as u8 } else { value });
        for (value, undecoded) in [(128, 0.4), (126, 0.4), (255, 0.0), (0, 0.0)] {
            let measures = measure(&cut(value));
            assert_eq!(measures.flat_bottom, 0.4, "{value}");
            assert_eq!(measures.undecoded, undecoded, "{value}");
        }
        assert_eq!(measure(&scene(40, 50)).flat_bottom, 0.0);
        assert_eq!(measure(&grey(9, 9, |_, _| 7)).flat_bottom, 1.0);
    }

    proptest! {
        #[test]
        fn every_picture_has_measures(width in 1usize..40, height in 1usize..40, colour: bool, seed: u64) {
            let channels = if colour { 3 } else { 1 };
            let data = (0..width * height * channels)
                .map(|i| (seed.wrapping_mul(i as u64 + 1) >> 56) as u8);
            let pixels = Pixels::new(width, height, channels, data.collect()).unwrap();
            let found = measure(&pixels);
            for share in [found.brightness, found.sharpness, found.flat_bottom, found.undecoded] {
                prop_assert!((0.0..=1.0).contains(&share), "{found:?}");
            }
            prop_assert!((0.0..=0.5).contains(&found.contrast), "{found:?}");
            prop_assert!((0.0..=8.0).contains(&found.entropy), "{found:?}");
            prop_assert!((0.0..400.0).contains(&found.colourfulness), "{found:?}");
        }
    }
}
