//! What to search with for what is like some codes and unlike others.

mod learned;

use crate::Metric;
use crate::metric::dot;

pub use learned::{BACKGROUND, learned};

/// The code `p + (p - n)`, where `p` is the mean of the liked codes and `n` that of the others;
/// `p`, if there are no others. By cosine, the means are of codes of length 1. `like` must not be
/// empty, and all codes have the same dimensions.
pub fn average(like: &[Vec<f32>], unlike: &[Vec<f32>], metric: Metric) -> Vec<f32> {
    let like = mean(like, metric);
    let code = if unlike.is_empty() {
        like
    } else {
        let unlike = mean(unlike, metric);
        let pairs = like.iter().zip(unlike);
        pairs.map(|(like, unlike)| like + (like - unlike)).collect()
    };
    code.into_iter().map(|x| x as f32).collect()
}

fn mean(codes: &[Vec<f32>], metric: Metric) -> Vec<f64> {
    let mut mean = vec![0.0; codes.first().map_or(0, Vec::len)];
    for code in codes {
        let length = match metric {
            Metric::Cosine => dot(code, code).sqrt(),
            _ => 1.0,
        };
        // A code of zeros has no direction, and adds none.
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        for (sum, &x) in mean.iter_mut().zip(code) {
            *sum += f64::from(x) * scale;
        }
    }
    mean.iter_mut().for_each(|sum| *sum /= codes.len() as f64);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_leans_away_from_what_is_not_liked() {
        let like = [vec![1.0, 0.0], vec![3.0, 2.0]];
        let unlike = [vec![0.0, 4.0]];
        assert_eq!(average(&like, &[], Metric::Euclidean), [2.0, 1.0]);
        assert_eq!(average(&like, &unlike, Metric::Euclidean), [4.0, -2.0]);
        // Only directions count here.
        let long = [vec![100.0, 0.0], vec![0.0, 0.5]];
        assert_eq!(average(&long, &[], Metric::Cosine), [0.5, 0.5]);
        let none = average(&[vec![0.0, 0.0]], &unlike, Metric::Cosine);
        assert_eq!(none, [0.0, -1.0]);
    }
}
