//! The mean image: the best answer that ignores its input, and the bar for every model.

use lookalike_images::Collection;
use rayon::prelude::*;

use crate::config::Loss;

/// Loss of answering every image of `collection` with their mean.
///
/// For MSE that is the variance of each value, for BCE the entropy-like cross term
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

fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}
