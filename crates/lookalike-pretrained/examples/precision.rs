//! How well an encoder finds images of the same label: precision at 5, each image asking for the
//! others.
//!
//! ```text
//! cargo run --release -p lookalike-pretrained --example precision -- ENCODER IMAGES
//! ```
//!
//! `ENCODER` is a folder or an ONNX file that says how images are preprocessed, `IMAGES` a folder
//! whose folders are the labels.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lookalike_images::{DecodeOptions, Pixels, decode_file};
use lookalike_pretrained::{Pretrained, PretrainedOptions};

const NEAREST: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, images] = arguments.as_slice() else {
        return Err("expected an encoder and a folder of images".into());
    };
    let encoder = Pretrained::open(Path::new(encoder), &PretrainedOptions::default())?;
    println!("{}", encoder.describe());

    let mut labels: Vec<usize> = Vec::new();
    let mut codes: Vec<f32> = Vec::new();
    let mut encoding = 0.0;
    for (label, folder) in entries(Path::new(images))?.iter().enumerate() {
        for files in entries(folder)?.chunks(64) {
            let read = |file: &PathBuf| decode_file(file, &DecodeOptions::default());
            let pixels: Vec<Pixels> = files
                .iter()
                .filter_map(|file| read(file).ok())
                .map(|decoded| decoded.pixels)
                .collect();
            let start = Instant::now();
            codes.extend(encoder.encode(&pixels)?);
            encoding += start.elapsed().as_secs_f64();
            labels.extend(pixels.iter().map(|_| label));
        }
    }
    println!(
        "{} images, {:.1} a second without decoding",
        labels.len(),
        labels.len() as f64 / encoding
    );

    let codes: Vec<&[f32]> = codes.chunks_exact(encoder.dims()).collect();
    let mut right = 0;
    for (query, code) in codes.iter().enumerate() {
        let similarity = |other: &[f32]| code.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        let others = codes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != query);
        let mut scored: Vec<(f32, usize)> = others
            .map(|(other, code)| (similarity(code), other))
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        right += scored
            .iter()
            .take(NEAREST)
            .filter(|(_, other)| labels[*other] == labels[query])
            .count();
    }
    println!(
        "P@{NEAREST} {:.3}",
        right as f64 / (codes.len() * NEAREST) as f64
    );
    Ok(())
}

/// What is in a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    Ok(paths)
}
