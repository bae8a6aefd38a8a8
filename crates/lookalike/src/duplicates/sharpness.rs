//! How sharp pictures are, to compare copies of one picture with each other.
//!
//! This is not the fact `sharpness` ([`Measures`](lookalike_images::Measures)), which compares
//! different pictures, at a scale of 256 to 511 pixels, by the share of changes that blurring takes
//! away. Copies are brought to one size here, the largest that matters, because what tells an
//! enlarged copy from its original is finer than that scale; and the measure is the energy of fine
//! detail, which says nothing when pictures show different things. Neither could be the other: a
//! test holds that.

use lookalike_images::{InputShape, Pixels, fit};

/// The longer side, in pixels, at which pictures are compared at most.
pub(super) const MAX_SIDE: usize = 1024;
/// Variance of luma, in squared levels, below which a picture shows nothing that could be sharp.
const MIN_VARIANCE: f32 = 1.0;

/// The variance of the Laplacian of a picture's luma (Pech-Pacheco and others, "Diatom autofocusing
/// in brightfield microscopy", ICPR 2000), as a share of the variance of the luma itself, so that
/// neither brightness nor contrast counts. The picture is brought to a longer side of `side` pixels
/// first, so that one that was only enlarged is not as sharp as one that was taken at that size.
/// Noise counts as detail. 0 for a picture in which nothing is to be seen.
pub(super) fn sharpness(pixels: &Pixels, side: usize) -> f32 {
    let longest = pixels.width().max(pixels.height());
    let scaled = |length: usize| ((length * side + longest / 2) / longest).max(1);
    let (width, height) = (scaled(pixels.width()), scaled(pixels.height()));
    let shape = InputShape {
        channels: 1,
        height,
        width,
    };
    let luma = fit(pixels, shape);
    let luma: Vec<f32> = luma.data().iter().map(|&value| f32::from(value)).collect();
    let own = variance(luma.iter().copied());
    if own < MIN_VARIANCE {
        return 0.0;
    }
    let inner = (1..height.saturating_sub(1)).flat_map(|y| {
        let luma = &luma;
        (1..width.saturating_sub(1)).map(move |x| {
            let at = y * width + x;
            luma[at - width] + luma[at + width] + luma[at - 1] + luma[at + 1] - 4.0 * luma[at]
        })
    });
    variance(inner) / own
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
        let reduced = |side| InputShape {
            channels: 1,
            height: side,
            width: side,
        };
        let enlarged = fit(&fit(&sharp, reduced(48)), reduced(128));
        let of = |pixels: &Pixels| sharpness(pixels, 128);
        assert!(of(&enlarged) < 0.5 * of(&sharp), "{}", of(&enlarged));
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
        let of = |pixels: &Pixels| sharpness(pixels, 1024);
        // The sharper copy wins, be it the larger or the smaller one.
        assert!(of(&sharp) > 1.5 * of(&enlarged), "{}", of(&enlarged));
        assert!(of(&small) > 1.5 * of(&blurred), "{}", of(&blurred));
        // The fact of single pictures does not see what the enlarged copy lacks.
        let fact = |pixels: &Pixels| measure(pixels).sharpness;
        let (own, other) = (fact(&small), fact(&sharp));
        assert!(own > 0.95 * other, "{own} {other}");
    }
}
