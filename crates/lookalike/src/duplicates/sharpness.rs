//! How sharp pictures are, to compare copies of one picture with each other.
//!
//! This is not the fact `sharpness` ([`Measures`](lookalike_images::Measures)), which compares
//! different pictures, at a scale of 256 to 511 pixels, by the share of changes that blurring takes
//! away. Copies are brought to the size of the smallest, and what a larger one shows beyond that
//! counts as well, because it is what tells an enlarged copy from a picture that was taken at its
//! size; and the measure is an energy of detail, which says nothing when pictures show different
//! things. Neither could be the other: a test holds that.

use lookalike_images::{Filter, InputShape, Pixels, fit, resize};

/// The longer side, in pixels, at which pictures are compared at most.
const MAX_SIDE: usize = 1024;
/// Larger pictures are brought to this longer side before what they show beyond that is measured.
const MAX_FINE_SIDE: usize = 2 * MAX_SIDE;
/// Variance of luma, in squared levels, below which a picture shows nothing that could be sharp.
const MIN_VARIANCE: f32 = 1.0;
/// What detail beyond the smallest copy counts. Of 63 photographs, enlarged 1.25 to 2 times by any
/// usual filter, with and without JPEG, 9 in 10 count less than what they were enlarged from, and
/// reduced as much by area 100 in 100, by Lanczos' filter twice 99, by 1.25, which sharpens, 63.
const FINE_WEIGHT: f32 = 8.0;
/// Of copies that show as much the smaller counts more, by this power of their sides.
const SIZE_POWER: f32 = 0.03;

/// How much detail a picture shows, to be compared among copies of which the smallest has a longer
/// side of `side` pixels.
///
/// The variance of the Laplacian of its luma at that size (Pech-Pacheco and others, "Diatom
/// autofocusing in brightfield microscopy", ICPR 2000), and the variance of what is lost by
/// reducing it to that size, both as shares of the variance of the luma itself, so that neither
/// brightness nor contrast counts. Noise counts as detail. 0 for a picture in which nothing is to
/// be seen.
pub(super) fn sharpness(pixels: &Pixels, side: usize) -> f32 {
    let longest = pixels.width().max(pixels.height());
    let common = side.clamp(1, MAX_SIDE);
    // As many times as large as the smallest, or nearly.
    let own = (longest * common / side.max(1)).clamp(common, MAX_FINE_SIDE);
    let own = brought_to(pixels, own.min(longest.max(common)));
    let variance_of_luma = variance(luma(&own).into_iter());
    if variance_of_luma < MIN_VARIANCE {
        return 0.0;
    }
    let reduced = brought_to(&own, common);
    let blocks = luma(&reduced);
    let (width, height) = (reduced.width(), reduced.height());
    let inner = (1..height.saturating_sub(1)).flat_map(|y| {
        let luma = &blocks;
        (1..width.saturating_sub(1)).map(move |x| {
            let at = y * width + x;
            luma[at - width] + luma[at + width] + luma[at - 1] + luma[at + 1] - 4.0 * luma[at]
        })
    });
    let coarse = variance(inner) / variance(blocks.iter().copied()).max(MIN_VARIANCE);
    let fine = lost(&own, &reduced) / variance_of_luma;
    let times = own.width().max(own.height()) as f32 / common as f32;
    (coarse + FINE_WEIGHT * fine) / times.powf(SIZE_POWER)
}

/// The mean square of what a picture has that its reduced copy has not, whether smooth or in
/// squares, as pixels are that were only repeated.
fn lost(pixels: &Pixels, reduced: &Pixels) -> f32 {
    let (width, height) = (pixels.width(), pixels.height());
    if (width, height) == (reduced.width(), reduced.height()) {
        return 0.0;
    }
    let own = luma(pixels);
    let whole = [0.0, 0.0, reduced.width() as f64, reduced.height() as f64];
    let smooth = luma(&resize(reduced, whole, width, height, Filter::Bicubic));
    let squared = own.iter().zip(&smooth).map(|(a, b)| (a - b).powi(2));
    let smooth = squared.sum::<f32>() / own.len() as f32;
    let square = |at: usize| {
        let (x, y) = (at % width, at / width);
        y * reduced.height() / height * reduced.width() + x * reduced.width() / width
    };
    let mut means = vec![(0.0f32, 0.0f32); reduced.width() * reduced.height()];
    for (at, value) in own.iter().enumerate() {
        let (sum, count) = &mut means[square(at)];
        *sum += value;
        *count += 1.0;
    }
    let squared = own.iter().enumerate().map(|(at, value)| {
        let (sum, count) = means[square(at)];
        (value - sum / count).powi(2)
    });
    smooth.min(squared.sum::<f32>() / own.len() as f32)
}

/// Grey, with this longer side.
fn brought_to(pixels: &Pixels, side: usize) -> Pixels {
    let longest = pixels.width().max(pixels.height());
    let scaled = |length: usize| ((length * side + longest / 2) / longest).max(1);
    let shape = InputShape {
        channels: 1,
        height: scaled(pixels.height()),
        width: scaled(pixels.width()),
    };
    fit(pixels, shape)
}

fn luma(pixels: &Pixels) -> Vec<f32> {
    pixels
        .data()
        .iter()
        .map(|&value| f32::from(value))
        .collect()
}

fn variance(values: impl Iterator<Item = f32>) -> f32 {
    let (mut count, mut sum, mut squares) = (0.0_f64, 0.0, 0.0);
    for value in values {
        let value = f64::from(value);
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    match count > 0.0 {
        true => (squares / count - (sum / count).powi(2)).max(0.0) as f32,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use lookalike_images::measure;

    use super::*;

    /// Stripes and dots of several sizes.
    fn picture(side: usize) -> Pixels {
        let data = (0..side * side).map(|at| {
            let (x, y) = (at % side, at / side);
            ((x * x / 9 + y * 7) % 200 + 20 * (x / 3 % 2) + 30 * (y / 5 % 2)) as u8
        });
        Pixels::new(side, side, 1, data.collect()).unwrap()
    }

    fn changed(pixels: &Pixels, change: impl Fn(u8) -> u8) -> Pixels {
        let data = pixels.data().iter().map(|&value| change(value)).collect();
        Pixels::new(pixels.width(), pixels.height(), 1, data).unwrap()
    }

    #[test]
    fn enlarged_pictures_are_less_sharp_and_darker_ones_are_not() {
        let sharp = picture(128);
        let of = |pixels: &Pixels| sharpness(pixels, 128);
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            for side in [160, 200, 256] {
                let enlarged = resize(&sharp, [0.0, 0.0, 128.0, 128.0], side, side, filter);
                let found = (of(&enlarged), of(&sharp));
                assert!(found.0 < found.1, "{filter:?} {side}: {found:?}");
                // What was reduced lacks detail that the whole has.
                let reduced = resize(&sharp, [0.0, 0.0, 128.0, 128.0], 64, 64, filter);
                let found = (sharpness(&reduced, 64), sharpness(&sharp, 64));
                assert!(found.0 < found.1, "{filter:?}: {found:?}");
            }
        }
        // Every pixel twice.
        let twice = (0..256 * 256).map(|at| sharp.data()[at / 512 * 128 + at % 256 / 2]);
        let twice = Pixels::new(256, 256, 1, twice.collect()).unwrap();
        assert!(of(&twice) < of(&sharp), "{}", of(&twice));
        let dark = changed(&sharp, |value| value / 2);
        assert!((of(&dark) / of(&sharp) - 1.0).abs() < 0.1, "{}", of(&dark));
        assert_eq!(of(&changed(&sharp, |_| 7)), 0.0);
        // Pictures without an inside have no Laplacian.
        assert_eq!(of(&Pixels::new(1, 9, 1, vec![5; 9]).unwrap()), 0.0);
    }

    #[test]
    fn only_this_measure_tells_copies_of_other_sizes_apart() {
        let shape = |side| InputShape {
            channels: 1,
            height: side,
            width: side,
        };
        let sharp = picture(1024);
        let small = fit(&sharp, shape(400));
        let enlarged = fit(&small, shape(1024));
        let blurred = fit(&fit(&sharp, shape(96)), shape(1024));
        // The sharper copy wins, be it the larger or the smaller one.
        let of = |pixels: &Pixels| sharpness(pixels, 1024);
        assert!(of(&sharp) > 1.5 * of(&enlarged), "{}", of(&enlarged));
        let of = |pixels: &Pixels| sharpness(pixels, 400);
        assert!(of(&small) > 1.5 * of(&blurred), "{}", of(&blurred));
        // The fact of single pictures does not see what the enlarged copy lacks.
        let fact = |pixels: &Pixels| measure(pixels).sharpness;
        let (own, other) = (fact(&small), fact(&sharp));
        assert!(own > 0.95 * other, "{own} {other}");
    }
}
