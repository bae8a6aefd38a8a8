//! How many copies of photographs `lookalike duplicates` finds: copies of many kinds are made, and
//! its report is scored.
//!
//! ```sh
//! copies make photos.tar copied --count 500
//! lookalike train copied --out model && lookalike index copied --model model --gallery g
//! lookalike duplicates --gallery g --turned --json > report.json
//! copies score report.json
//! ```
//!
//! A folder for each photograph holds it and its copies, so that the folder says what belongs
//! together.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use jpeg_encoder::{ColorType, Encoder};
use lookalike::images::{DecodeOptions, InputShape, Pixels, Region, Turn, decode, fit};
use serde_json::Value;

/// JPEG quality of all but what is compressed on purpose.
const QUALITY: u8 = 90;
const LOW_QUALITY: u8 = 40;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write photographs of a source and copies of each to a folder
    Make {
        source: String,
        folder: PathBuf,
        /// So many photographs, evenly chosen
        #[arg(long, default_value_t = 500)]
        count: usize,
    },
    /// Recall for each kind of copy, and precision, of a report of `duplicates --json`
    Score { report: PathBuf },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Make {
            source,
            folder,
            count,
        } => make(&source, &folder, count),
        Command::Score { report } => score(&report),
    }
}

const KINDS: [&str; 11] = [
    "recompressed",
    "half",
    "noisy",
    "darkened",
    "cropped-5",
    "cropped-10",
    "mirrored",
    "rotated-90",
    "rotated-180",
    "cropped-5-mirrored",
    "half-rotated-90",
];

fn copy(original: &Pixels, kind: &str, seed: u64) -> Result<(Pixels, u8), Box<dyn Error>> {
    let pixels = match kind {
        "recompressed" => return Ok((original.clone(), LOW_QUALITY)),
        "half" => half(original),
        "noisy" => noisy(original, seed),
        "darkened" => changed(original, |_, value| value * 0.7),
        "cropped-5" => cropped(original, 0.05)?,
        "cropped-10" => cropped(original, 0.1)?,
        "mirrored" => original.turned(Turn::Mirrored),
        "rotated-90" => original.turned(Turn::Rotated90),
        "rotated-180" => original.turned(Turn::Rotated180),
        "cropped-5-mirrored" => cropped(original, 0.05)?.turned(Turn::Mirrored),
        _ => half(original).turned(Turn::Rotated90),
    };
    Ok((pixels, QUALITY))
}

fn half(pixels: &Pixels) -> Pixels {
    let shape = InputShape {
        channels: pixels.channels(),
        height: (pixels.height() / 2).max(1),
        width: (pixels.width() / 2).max(1),
    };
    fit(pixels, shape)
}

/// That share of each side less, half of it at either end.
fn cropped(pixels: &Pixels, share: f64) -> Result<Pixels, Box<dyn Error>> {
    let rest = |side: usize| ((side as f64 * (1.0 - share)).round() as usize).max(1);
    let (width, height) = (rest(pixels.width()), rest(pixels.height()));
    Ok(pixels.crop(Region {
        x: (pixels.width() - width) / 2,
        y: (pixels.height() - height) / 2,
        width,
        height,
    })?)
}

/// Noise of standard deviation 8, nearly normal: the sum of four uniform numbers.
fn noisy(pixels: &Pixels, seed: u64) -> Pixels {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let deviation = (4.0_f32 / 12.0).sqrt();
    changed(pixels, move |_, value| {
        let sum = next() + next() + next() + next();
        value + 8.0 * sum / deviation
    })
}

fn changed(pixels: &Pixels, mut change: impl FnMut(usize, f32) -> f32) -> Pixels {
    let data = pixels.data().iter().enumerate();
    let data =
        data.map(|(at, &value)| change(at, f32::from(value)).round().clamp(0.0, 255.0) as u8);
    Pixels::new(
        pixels.width(),
        pixels.height(),
        pixels.channels(),
        data.collect(),
    )
    .expect("it has as many pixels as before")
}

fn write(pixels: &Pixels, quality: u8, path: &Path) -> Result<(), Box<dyn Error>> {
    let colour = match pixels.channels() {
        1 => ColorType::Luma,
        _ => ColorType::Rgb,
    };
    let (width, height) = (pixels.width().try_into()?, pixels.height().try_into()?);
    Encoder::new_file(path, quality)?.encode(pixels.data(), width, height, colour)?;
    Ok(())
}

fn make(source: &str, folder: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let stream = lookalike::open(source)?;
    let keys: Vec<String> = stream
        .source()
        .entries()?
        .filter_map(|entry| entry.ok().map(|entry| entry.key))
        .collect();
    let count = count.min(keys.len());
    for number in 0..count {
        let entry = stream.source().get(&keys[number * keys.len() / count])?;
        let bytes = entry.into_bytes(&Default::default());
        let bytes = bytes.map_err(|why| why.to_string())?;
        let original = decode(&bytes, &DecodeOptions::default())?.pixels;
        let own = folder.join(format!("{number:04}"));
        fs::create_dir_all(&own)?;
        write(&original, QUALITY, &own.join("original.jpg"))?;
        for kind in KINDS {
            let (pixels, quality) = copy(&original, kind, number as u64 + 1)?;
            write(&pixels, quality, &own.join(format!("{kind}.jpg")))?;
        }
    }
    println!("{count} photographs, each with {} copies", KINDS.len());
    Ok(())
}

fn score(report: &Path) -> Result<(), Box<dyn Error>> {
    let report: Value = serde_json::from_slice(&fs::read(report)?)?;
    let groups = report["groups"].as_array().ok_or("it is no report")?;
    let (mut found, mut right, mut pairs) = (BTreeMap::<String, usize>::new(), 0, 0);
    let mut photographs = 0;
    for group in groups {
        let members = group["members"].as_array().ok_or("a group has members")?;
        let keys = members.iter().filter_map(|member| member["key"].as_str());
        let names: Vec<(&str, &str)> = keys.filter_map(|key| key.split_once('/')).collect();
        for (at, (photograph, kind)) in names.iter().enumerate() {
            for (other, _) in &names[at + 1..] {
                pairs += 1;
                right += usize::from(photograph == other);
            }
            if *kind == "original.jpg" {
                photographs += 1;
            }
            if names.contains(&(*photograph, "original.jpg")) {
                let kind = kind.strip_suffix(".jpg").unwrap_or(kind);
                *found.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }
    // Each photograph has a folder of its own, with as many files.
    let points = report["points"].as_u64().ok_or("it counts points")? as usize;
    let all = points / (KINDS.len() + 1);
    println!("{photographs} of {all} photographs are in groups");
    for kind in KINDS {
        let found = found.get(kind).copied().unwrap_or(0);
        println!("recall of {kind}: {:.3}", found as f64 / all as f64);
    }
    println!(
        "precision of pairs: {:.3} of {pairs}",
        right as f64 / pairs.max(1) as f64
    );
    Ok(())
}
