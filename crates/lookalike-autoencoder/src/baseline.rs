//! The bars for every model: the mean image, which is the best answer that ignores its input, and
//! the perfect reconstruction.

use lookalike_images::Collection;
use rayon::prelude::*;

use crate::config::Loss;

/// Loss of answering every image of `collection` with their mean.
///
/// For MSE that is the variance of each value, for BCE the entropy
/// -(m ln m + (1 - m) ln(1 - m)) of its mean m; both averaged over the image.
pub(crate) fn mean_image_loss(collection: &Collection, loss: Loss) -> f64 {
    let shape = collection.shape();
    let len = shape.channels * shape.height * shape.width;
    let images = collection.len();
    // Exact integer sums: no order of addition can change them.
    let (sums, squares) = collection
        .pixels()
        .par_chunks(len * 1024)
        .map(|chunk| {
            let mut sums = vec![0u64; len];
            let mut squares = vec![0u64; len];
            for image in chunk.chunks_exact(len) {
                for ((sum, square), &pixel) in sums.iter_mut().zip(&mut squares).zip(image) {
                    let pixel = u64::from(pixel);
                    *sum += pixel;
                    *square += pixel * pixel;
                }
            }
            (sums, squares)
        })
        .reduce(
            || (vec![0; len], vec![0; len]),
            |mut a, b| {
                a.0.iter_mut().zip(b.0).for_each(|(x, y)| *x += y);
                a.1.iter_mut().zip(b.1).for_each(|(x, y)| *x += y);
                a
            },
        );
    let count = images.max(1) as f64;
    let total: f64 = sums
        .iter()
        .zip(&squares)
        .map(|(&sum, &square)| {
            let mean = sum as f64 / count / 255.0;
            match loss {
                Loss::Mse => square as f64 / count / (255.0 * 255.0) - mean * mean,
                Loss::Bce => entropy(mean),
            }
        })
        .sum();
    total / len as f64
}

/// Loss of answering every image of `collection` with itself.
pub(crate) fn perfect_loss(collection: &Collection, loss: Loss) -> f64 {
    if loss == Loss::Mse {
        return 0.0;
    }
    let mut counts = [0u64; 256];
    for &pixel in collection.pixels() {
        counts[usize::from(pixel)] += 1;
    }
    let total: f64 = counts
        .iter()
        .enumerate()
        .map(|(pixel, &count)| count as f64 * entropy(pixel as f64 / 255.0))
        .sum();
    total / collection.pixels().len() as f64
}

fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}

#[cfg(test)]
mod tests {
    use lookalike_images::InputShape;

    use super::*;

    fn collection(pixels: Vec<u8>) -> Collection {
        let shape = InputShape {
            channels: 1,
            height: 1,
            width: 2,
        };
        let count = pixels.len() / 2;
        let keys = (0..count).map(|i| i.to_string()).collect();
        Collection::from_parts("pixels", shape, keys, vec![None; count], pixels).unwrap()
    }

    #[test]
    fn bars_by_hand() {
        // Means 1/2 and 1; variances 1/4 and 0.
        let black_and_white = collection(vec![0, 255, 255, 255]);
        assert_eq!(mean_image_loss(&black_and_white, Loss::Mse), 0.125);
        let ln2 = std::f64::consts::LN_2;
        assert!((mean_image_loss(&black_and_white, Loss::Bce) - ln2 / 2.0).abs() < 1e-12);
        assert_eq!(perfect_loss(&black_and_white, Loss::Bce), 0.0);
        assert_eq!(perfect_loss(&black_and_white, Loss::Mse), 0.0);
        // Where all images are the same, nobody can beat their mean.
        let grey = collection(vec![51, 102, 51, 102]);
        let (mean, perfect) = (
            mean_image_loss(&grey, Loss::Bce),
            perfect_loss(&grey, Loss::Bce),
        );
        assert!(perfect > 0.5 && (mean - perfect).abs() < 1e-12);
    }
}
