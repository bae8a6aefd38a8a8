//! Makes a large collection: MNIST under fresh distortions, as tar archives of PNG files.
//!
//! ```sh
//! cargo run --release -p lookalike --example shards -- shards 1000000
//! ```
//!
//! writes `shards/000.tar` and so on, of 10,000 images each; `lookalike index
//! 'shards/{000..099}.tar'` reads them. Image `i` is training image `i mod 60,000`, distorted with
//! seed `i`, so that a larger collection begins with the images of a smaller one. Keys are
//! `DIGIT/NUMBER.png`. The third argument is the number of the first image, if it is not 0.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use lookalike::autoencoder::{Augmentation, Augmenter};
use lookalike::images::{Collection, Pixels};
use rayon::prelude::*;

/// Images of an archive.
const SHARD: usize = 10_000;
/// Weaker than training's: the digits stay what they are, and no two images are the same.
const STRENGTH: f32 = 0.6;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, numbers) = arguments
        .split_first()
        .ok_or("usage: shards FOLDER COUNT [FIRST]")?;
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|n| n.parse())
        .collect::<Result<_, _>>()?;
    let (count, first) = match numbers[..] {
        [count] => (count, 0),
        [count, first] => (count, first),
        _ => return Err("usage: shards FOLDER COUNT [FIRST]".into()),
    };
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;
    let digits = lookalike::open("mnist:train")?.load(None, None)?;
    for shard in 0..count.div_ceil(SHARD) {
        let from = first + shard * SHARD;
        let to = (from + SHARD).min(first + count);
        let pictures: Vec<(String, Vec<u8>)> = (from..to)
            .into_par_iter()
            .map_init(
                || Augmenter::new(&Augmentation::strength(STRENGTH), digits.shape()),
                |augmenter, number| picture(&digits, augmenter, number),
            )
            .collect();
        let path = folder.join(format!("{:03}.tar", from / SHARD));
        // An interrupted run must not leave an archive that looks complete.
        let part = path.with_extension("part");
        let mut archive = tar::Builder::new(BufWriter::new(File::create(&part)?));
        for (key, bytes) in pictures {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // The same file every time.
            header.set_mtime(1_000_000_000);
            archive.append_data(&mut header, key, &bytes[..])?;
        }
        archive.into_inner()?.flush()?;
        fs::rename(part, path)?;
        println!("{to} of {}", first + count);
    }
    Ok(())
}

/// An image of the collection: its key, and its PNG file.
fn picture(digits: &Collection, augmenter: &mut Augmenter, number: usize) -> (String, Vec<u8>) {
    let index = number % digits.len();
    let shape = digits.shape();
    let mut distorted = vec![0.0; shape.values()];
    augmenter.apply(digits.image(index), number as u64, &mut distorted);
    let data = distorted.iter().map(|value| (255.0 * value).round() as u8);
    let pixels = Pixels::new(shape.width, shape.height, shape.channels, data.collect());
    let png = pixels.and_then(|pixels| pixels.to_png());
    let label = digits.label(index).expect("MNIST has labels");
    (
        format!("{label}/{number:08}.png"),
        png.expect("28 x 28 bytes can be written"),
    )
}
