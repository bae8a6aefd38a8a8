//! How often each colour occurs: the plainest code of an image, to measure others by.

use crate::pixels::Pixels;

/// Bins of one channel.
const BINS: usize = 4;

/// The colour histogram of an image: 4 x 4 x 4 bins (red slowest, blue fastest), the square root of
/// each bin's share of the pixels.
///
/// It has length 1, and the product of two is the Bhattacharyya coefficient of their shares, so the
/// Euclidean and the cosine distance both rank by it. The image may have any size; a grey one
/// counts as colour.
pub fn histogram(pixels: &Pixels) -> [f32; BINS * BINS * BINS] {
    let mut counts = [0u64; BINS * BINS * BINS];
    let bin = |value: u8| usize::from(value) * BINS / 256;
    for pixel in pixels.data().chunks_exact(pixels.channels()) {
        let [r, g, b] = match *pixel {
            [r, g, b] => [r, g, b],
            _ => [pixel[0]; 3],
        };
        counts[(bin(r) * BINS + bin(g)) * BINS + bin(b)] += 1;
    }
    let all = (pixels.width() * pixels.height()) as f64;
    counts.map(|count| (count as f64 / all).sqrt() as f32)
}

/// Levels of luma, and steps of each difference of colour, in [`colours`].
const LEVELS: usize = 4;
const STEPS: usize = 5;
/// The same in [`fine_colours`].
const FINE_LEVELS: usize = 8;
const FINE_STEPS: usize = 10;

/// Levels of luma, steps from yellow to blue and steps from cyan to red of [`colours`].
pub const COLOUR_BINS: [usize; 3] = [LEVELS, STEPS, STEPS];
/// The same of [`fine_colours`].
pub const FINE_COLOUR_BINS: [usize; 3] = [FINE_LEVELS, FINE_STEPS, FINE_STEPS];
/// How much red, green and blue count in the luma of [`colours`].
pub const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
/// The largest difference of blue, and that of red, from the luma; values are 0 to 1.
pub const CHROMA_RANGE: [f32; 2] = [0.886, 0.701];

/// Floats of [`colours`].
pub const COLOURS: usize = LEVELS * STEPS * STEPS;
/// Floats of [`fine_colours`].
pub const FINE_COLOURS: usize = FINE_LEVELS * FINE_STEPS * FINE_STEPS;

/// Which colours an image has, as a code of length 1 that changes little when colours change
/// little.
///
/// Like [`histogram`] it is the square root of each bin's share of the pixels, but a pixel counts
/// in the bins around its colour by how near they are (linearly, in three dimensions), and bins
/// follow the eye: 4 levels of luma (slowest), 5 steps from yellow to blue, 5 from cyan to red
/// (fastest). Steps are finer near grey (the square root of the difference). `pixels` are red,
/// green and blue, one after another.
///
/// # Panics
///
/// When `pixels` is empty or no whole number of pixels of 3 channels.
pub fn colours(pixels: &[u8]) -> [f32; COLOURS] {
    let mut shares = [0.0; COLOURS];
    write_colours(pixels, [LEVELS, STEPS], &mut shares);
    shares
}

/// [`colours`] with 8 levels and 10 steps, to find principal components of.
///
/// # Panics
///
/// When `pixels` is empty or no whole number of pixels of 3 channels, or `out` has not
/// [`FINE_COLOURS`] floats.
pub fn fine_colours(pixels: &[u8], out: &mut [f32]) {
    write_colours(pixels, [FINE_LEVELS, FINE_STEPS], out);
}

fn write_colours(pixels: &[u8], [levels, steps]: [usize; 2], out: &mut [f32]) {
    assert!(
        !pixels.is_empty() && pixels.len().is_multiple_of(3),
        "colours are of pixels of 3 channels"
    );
    assert_eq!(out.len(), levels * steps * steps, "a float for each colour");
    let mut sums = vec![0.0f64; out.len()];
    for pixel in pixels.chunks_exact(3) {
        let [r, g, b] = [0, 1, 2].map(|channel| f32::from(pixel[channel]) / 255.0);
        let luma = LUMA[0] * r + LUMA[1] * g + LUMA[2] * b;
        // Each difference is -1 to 1.
        let finer = |difference: f32| 0.5 + 0.5 * difference.abs().sqrt().copysign(difference);
        let (level, level_part) = bins(luma, levels);
        let (blue, blue_part) = bins(finer((b - luma) / CHROMA_RANGE[0]), steps);
        let (red, red_part) = bins(finer((r - luma) / CHROMA_RANGE[1]), steps);
        for corner in 0..8 {
            let [l, b, r] = [corner >> 2, corner >> 1 & 1, corner & 1];
            let share = |at: usize, part: f32| if at == 1 { part } else { 1.0 - part };
            let weight = share(l, level_part) * share(b, blue_part) * share(r, red_part);
            sums[((level + l) * steps + blue + b) * steps + red + r] += f64::from(weight);
        }
    }
    let all = (pixels.len() / 3) as f64;
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = (sum / all).sqrt() as f32;
    }
}

/// The lower of the two of `count` evenly spaced bins that a value of 0 to 1 lies between, and how
/// far it is on the way to the upper.
fn bins(value: f32, count: usize) -> (usize, f32) {
    let place = value.clamp(0.0, 1.0) * (count - 1) as f32;
    let lower = (place as usize).min(count - 2);
    (lower, place - lower as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_square_roots() {
        let pixels = Pixels::new(4, 1, 3, vec![0, 0, 0, 63, 0, 63, 255, 0, 0, 64, 128, 192]);
        let code = histogram(&pixels.unwrap());
        assert_eq!(code[0], 0.5f32.sqrt());
        assert_eq!((code[3 * 16], code[16 + 2 * 4 + 3]), (0.5, 0.5));
        assert_eq!(code.iter().filter(|&&v| v > 0.0).count(), 3);
        let length: f32 = code.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-6);
    }

    #[test]
    fn grey_is_a_colour() {
        let code = histogram(&Pixels::new(1, 2, 1, vec![10, 250]).unwrap());
        assert_eq!((code[0], code[63]), (0.5f32.sqrt(), 0.5f32.sqrt()));
    }

    fn likeness(a: [f32; COLOURS], b: [f32; COLOURS]) -> f32 {
        a.iter().zip(&b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn fine_colours_tell_more_apart() {
        let fine = |colour: [u8; 3]| {
            let mut out = vec![f32::NAN; FINE_COLOURS];
            fine_colours(&colour.repeat(5), &mut out);
            let length: f32 = out.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-6);
            out
        };
        let (a, b) = ([120, 90, 60], [120, 105, 60]);
        let likeness_of_fine: f32 = fine(a).iter().zip(fine(b)).map(|(a, b)| a * b).sum();
        let coarse = likeness(colours(&a.repeat(5)), colours(&b.repeat(5)));
        assert!(
            likeness_of_fine < coarse - 0.05,
            "{likeness_of_fine} and {coarse}"
        );
    }

    #[test]
    fn colours_have_length_one_and_their_places() {
        let black = colours(&[0; 6]);
        // Between the middle steps of both differences there is none: grey is a step of its own.
        assert_eq!(
            (
                black[2 * STEPS + 2],
                black.iter().filter(|&&v| v > 0.0).count()
            ),
            (1.0, 1)
        );
        let mixed = colours(&[255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 7, 99, 180]);
        assert!((likeness(mixed, mixed) - 1.0).abs() < 1e-5);
        assert!(likeness(colours(&[255, 0, 0]), colours(&[0, 0, 255])) < 0.1);
    }

    #[test]
    fn a_small_change_of_colour_changes_the_code_little() {
        let image: Vec<u8> = (0..300).map(|i| (i * 37 % 200) as u8).collect();
        let brighter: Vec<u8> = image.iter().map(|&v| v + 3).collect();
        assert!(likeness(colours(&image), colours(&brighter)) > 0.99);
        let darker: Vec<u8> = image.iter().map(|&v| v / 4).collect();
        assert!(likeness(colours(&image), colours(&darker)) < 0.9);
    }
}
