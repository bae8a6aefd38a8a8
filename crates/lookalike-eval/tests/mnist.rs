//! The protocol, proven on the real MNIST test images.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use lookalike_eval::{Scores, baselines};

#[test]
fn pixels_score_as_published() {
    let pixels: Vec<f32> = values("t10k-images-idx3-ubyte.gz", 16)
        .into_iter()
        .map(|value| f32::from(value) / 255.0)
        .collect();
    let labels = values("t10k-labels-idx1-ubyte.gz", 8);
    let found = baselines(784, (pixels, &labels), None).unwrap();
    near(found.pixels_euclidean, 784, [0.9558, 0.9305, 0.832, 0.435]);
    near(found.pixels_cosine, 784, [0.9614, 0.9408, 0.854, 0.446]);
    near(found.pca_64, 64, [0.9631, 0.9396, 0.854, 0.473]);
    // These two by PyTorch.
    near(found.pixels_centred, 784, [0.9618, 0.9411, 0.8545, 0.4535]);
    let half_whitened = [0.9594, 0.9354, 0.8379, 0.4103];
    near(found.pca_64_half_whitened, 64, half_whitened);
}

fn near(scores: Scores, dims: usize, expected: [f64; 4]) {
    assert_eq!(
        (scores.images, scores.queries, scores.dims),
        (10_000, 10_000, dims)
    );
    let found = [
        scores.precision_at_1,
        scores.precision_at_5,
        scores.all_5,
        scores.map,
    ];
    for (found, expected) in found.into_iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 0.001,
            "{scores:?}: expected {expected}"
        );
    }
}

/// The bytes of an IDX file after its header.
fn values(name: &str, header: usize) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/mnist");
    let file = File::open(folder.join(name)).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes.split_off(header)
}
