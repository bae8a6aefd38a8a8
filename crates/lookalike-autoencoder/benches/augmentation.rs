//! How many images a second one thread augments: `cargo bench -p lookalike-autoencoder`.

use std::hint::black_box;
use std::time::Instant;

use lookalike_autoencoder::{Augmentation, Augmenter, Noise};
use lookalike_images::InputShape;

fn main() {
    for (channels, side, images) in [(1, 28, 60_000), (3, 64, 6_000), (3, 224, 500)] {
        let shape = InputShape {
            channels,
            height: side,
            width: side,
        };
        let source: Vec<u8> = (0..shape.values()).map(|i| (i * 7 % 256) as u8).collect();
        let mut out = vec![0.0; shape.values()];
        let mut augmenter = Augmenter::new(&Augmentation::strength(1.0), shape);
        rate(&format!("augmentation {shape}"), images, |seed| {
            augmenter.apply(black_box(&source), seed, &mut out);
            black_box(&out);
        });
        rate(&format!("noise {shape}"), images, |seed| {
            Noise::default().apply(black_box(&source), shape, seed, &mut out);
            black_box(&out);
        });
    }
}

fn rate(name: &str, images: u64, mut work: impl FnMut(u64)) {
    let start = Instant::now();
    (0..images).for_each(&mut work);
    let rate = images as f64 / start.elapsed().as_secs_f64();
    println!("{name}: {rate:.0} images/s");
}
