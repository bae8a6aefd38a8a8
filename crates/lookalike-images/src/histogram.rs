//! How often each colour occurs: the plainest code of an image, to measure others by.

use crate::pixels::Pixels;

/// Bins of one channel.
const BINS: usize = 4;

/// The colour histogram of an image: 4 x 4 x 4 bins (red slowest, blue fastest), the square root of each bin's share
/// of the pixels.
///
/// It has length 1, and the product of two is the Bhattacharyya coefficient of their shares, so the Euclidean and
/// the cosine distance both rank by it. The image may have any size; a grey one counts as colour.
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
}
