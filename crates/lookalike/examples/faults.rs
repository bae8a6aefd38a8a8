//! How many made faults `check` finds in a collection of sound images, and how many sound ones it
//! calls faulty: the table in docs/quality-findings.md.
//!
//! ```sh
//! cargo run --release -p lookalike --example faults -- signs
//! ```
//!
//! For each row, every 20th image is replaced by one with a fault, saved as JPEG (quality 80), and
//! the whole is indexed anew and checked. *Found* is the share of those with the fault that is
//! named;
//! *alarms* are sound images with that fault, of the first row sound images with any.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use lookalike::check::{CheckOptions, Fault, check};
use lookalike::images::{DecodeOptions, Decoded, Fit, InputShape, Pixels, decode, fit, thumbnail};
use lookalike::neighbours::Metric;
use lookalike::sources::{Content, Entry, InMemory, Limits};
use lookalike::{
    Encoder, GalleryOptions, ImageStream, IndexOptions, PADDING, Reading, Skips, create_gallery,
    index, open,
};

/// Every so many-th image gets a fault.
const EVERY: usize = 20;

/// The mean grey: what images are encoded as does not matter here.
struct MeanGrey;

const SHAPE: InputShape = InputShape {
    channels: 1,
    height: 1,
    width: 1,
};

impl Encoder for MeanGrey {
    fn shape(&self) -> InputShape {
        SHAPE
    }

    fn prepare(&self, picture: &Decoded) -> Result<Pixels, lookalike::Error> {
        Ok(picture.fit(SHAPE, Fit::Stretch, PADDING))
    }

    fn encode(&self, inputs: &[u8]) -> Result<Vec<f32>, lookalike::Error> {
        Ok(inputs.iter().map(|&byte| f32::from(byte)).collect())
    }

    fn code_dim(&self) -> usize {
        1
    }

    fn default_metric(&self) -> Metric {
        Metric::Euclidean
    }

    fn name(&self) -> String {
        "the mean grey".to_owned()
    }

    fn to_bytes(&self) -> Vec<u8> {
        b"the mean grey".to_vec()
    }
}

/// Every value by itself.
fn each(pixels: &Pixels, change: impl Fn(f64) -> f64) -> Pixels {
    let data = pixels
        .data()
        .iter()
        .map(|&value| change(value.into()) as u8);
    of(pixels, data.collect())
}

fn of(like: &Pixels, data: Vec<u8>) -> Pixels {
    Pixels::new(like.width(), like.height(), like.channels(), data).expect("the same shape")
}

/// Gaussian blur; sigma as a share of the longer side.
fn blurred(pixels: &Pixels, share: f64) -> Pixels {
    let (width, height, channels) = (pixels.width(), pixels.height(), pixels.channels());
    let sigma = share * width.max(height) as f64;
    let reach = (3.0 * sigma).ceil() as isize;
    let weights: Vec<f64> = (-reach..=reach)
        .map(|at| (-0.5 * (at as f64 / sigma).powi(2)).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let pass = |from: &[f64], along: bool| -> Vec<f64> {
        let mut to = vec![0.0; from.len()];
        for y in 0..height {
            for x in 0..width {
                for (by, weight) in (-reach..=reach).zip(&weights) {
                    let moved = |at: usize, side: usize| {
                        (at as isize + by).clamp(0, side as isize - 1) as usize
                    };
                    let (x0, y0) = match along {
                        true => (x, moved(y, height)),
                        false => (moved(x, width), y),
                    };
                    for channel in 0..channels {
                        to[(y * width + x) * channels + channel] +=
                            weight / total * from[(y0 * width + x0) * channels + channel];
                    }
                }
            }
        }
        to
    };
    let values: Vec<f64> = pixels.data().iter().map(|&value| value.into()).collect();
    let values = pass(&pass(&values, false), true);
    of(
        pixels,
        values.iter().map(|value| value.round() as u8).collect(),
    )
}

/// The rows from `share` of the height on in one colour.
fn cut_off(pixels: &Pixels, share: f64, value: u8) -> Pixels {
    let row = pixels.width() * pixels.channels();
    let from = (share * pixels.height() as f64) as usize * row;
    let mut data = pixels.data().to_vec();
    data[from..].fill(value);
    of(pixels, data)
}

fn grey(pixels: &Pixels) -> Pixels {
    let channels = pixels.channels();
    let mean = |pixel: &[u8]| {
        let sum: u32 = pixel.iter().map(|&value| u32::from(value)).sum();
        vec![(sum / channels as u32) as u8; channels]
    };
    of(
        pixels,
        pixels
            .data()
            .chunks_exact(channels)
            .flat_map(mean)
            .collect(),
    )
}

/// A band of a quarter of the height.
fn band(pixels: &Pixels) -> Pixels {
    let row = pixels.width() * pixels.channels();
    let high = (pixels.height() / 4).max(1);
    let data = pixels.data()[pixels.height() / 3 * row..][..high * row].to_vec();
    Pixels::new(pixels.width(), high, pixels.channels(), data).expect("a part of it")
}

fn shrunk(pixels: &Pixels) -> Pixels {
    let less = |side: usize| (side / 8).max(1);
    let shape = InputShape {
        channels: pixels.channels(),
        height: less(pixels.height()),
        width: less(pixels.width()),
    };
    fit(pixels, shape)
}

/// What is done to an image.
type Change = Box<dyn Fn(&Pixels) -> Pixels>;

fn changes() -> Vec<(&'static str, Fault, Change)> {
    let mut all: Vec<(&'static str, Fault, Change)> = Vec::new();
    let mut add = |name, fault, change: Change| all.push((name, fault, change));
    add("one colour", Fault::Blank, Box::new(|p| each(p, |_| 90.0)));
    add(
        "contrast x 0.05",
        Fault::Uniform,
        Box::new(|p| each(p, |v| 120.0 + 0.05 * (v - 128.0))),
    );
    for (name, share) in [
        ("blur, sigma 0.5% of the side", 0.005),
        ("blur, sigma 1%", 0.01),
        ("blur, sigma 2%", 0.02),
        ("blur, sigma 4%", 0.04),
    ] {
        add(name, Fault::Blurred, Box::new(move |p| blurred(p, share)));
    }
    for (name, by) in [("values x 0.3", 0.3), ("values x 0.1", 0.1)] {
        add(name, Fault::Dark, Box::new(move |p| each(p, |v| by * v)));
    }
    for (name, by) in [
        ("distance to white x 0.3", 0.3),
        ("distance to white x 0.1", 0.1),
    ] {
        let change = move |p: &Pixels| each(p, |v| 255.0 - by * (255.0 - v));
        add(name, Fault::Bright, Box::new(change));
    }
    for (name, share, value) in [
        ("lower 10% missing, grey", 0.9, 128),
        ("lower 50% missing, grey", 0.5, 128),
        ("lower 30% missing, black", 0.7, 0),
    ] {
        let change = move |p: &Pixels| cut_off(p, share, value);
        add(name, Fault::HalfDecoded, Box::new(change));
    }
    add(
        "two greys",
        Fault::LowInformation,
        Box::new(|p| each(p, |v| if v < 128.0 { 60.0 } else { 190.0 })),
    );
    add("grey", Fault::Grey, Box::new(grey));
    add(
        "a band of it, 1/4 high",
        Fault::OddProportions,
        Box::new(band),
    );
    add("side / 8", Fault::Tiny, Box::new(shrunk));
    all
}

/// As a JPEG file of its own size.
fn jpeg(pixels: &Pixels) -> Bytes {
    let side = pixels.width().max(pixels.height());
    thumbnail(pixels, side).expect("pixels encode").into()
}

/// The faults of each image by its number, and how many images were passed over.
type Found = (Vec<Vec<Fault>>, u64);

/// What `check` says of a collection whose every 20th file is replaced by what `replace` makes of
/// it.
fn faults_of(files: &[Bytes], replace: &dyn Fn(&Bytes) -> Bytes) -> Result<Found, Box<dyn Error>> {
    let entries = files.iter().enumerate().map(|(at, file)| Entry {
        key: at.to_string(),
        label: None,
        sample: None,
        extra: Default::default(),
        location: at.to_string(),
        stamp: None,
        content: Content::Bytes(match at % EVERY {
            0 => replace(file),
            _ => file.clone(),
        }),
    });
    let source = InMemory::new("made", entries.collect())?;
    let skips = Arc::new(Skips::default());
    let stream = ImageStream::of(Box::new(source), Reading::default(), skips.clone());
    let place = tempfile::tempdir()?;
    let gallery = create_gallery(place.path().join("g"), &MeanGrey, &GalleryOptions::new())?;
    index(stream, &MeanGrey, &*gallery, IndexOptions::default())?;
    let options = CheckOptions {
        limit: usize::MAX,
        ..CheckOptions::default()
    };
    let mut faults = vec![Vec::new(); files.len()];
    for finding in check(&*gallery, &options, |_| {})?.findings {
        for image in finding.images {
            faults[image.payload.key.parse::<usize>()?].push(finding.fault);
        }
    }
    Ok((faults, skips.total()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source] = &arguments[..] else {
        return Err("usage: faults SOURCE".into());
    };
    let limits = Limits::default();
    let mut files: Vec<Bytes> = Vec::new();
    for entry in open(source)?.source().entries()? {
        let Ok(entry) = entry else {
            continue;
        };
        files.push(match entry.pixels() {
            Some(raw) => {
                let data = raw.data.to_vec();
                jpeg(&Pixels::new(raw.width, raw.height, raw.channels, data)?)
            }
            None => entry.read(&limits)?.into(),
        });
    }
    let made = files.len().div_ceil(EVERY);
    let sound = files.len() - made;
    println!(
        "{source}: {} images, {made} of them with a fault\n",
        files.len()
    );
    println!("| fault | is | found | alarms |\n|---|---|---|---|");
    let (faults, _) = faults_of(&files, &Bytes::clone)?;
    let any = faults.iter().filter(|faults| !faults.is_empty()).count();
    println!("| none | | | {any} of {} |", files.len());
    let (_, skipped) = faults_of(&files, &|file| file.slice(..file.len() * 6 / 10))?;
    println!("| file cut at 60% | passed over by `index` | {skipped} of {made} | |");
    for (name, fault, change) in changes() {
        let replaced = |file: &Bytes| match decode(file, &DecodeOptions::default()) {
            Ok(decoded) => jpeg(&change(&decoded.pixels)),
            Err(_) => file.clone(),
        };
        let (faults, _) = faults_of(&files, &replaced)?;
        let with = |odd: bool| {
            let of = faults.iter().enumerate();
            let of = of.filter(|(at, _)| at.is_multiple_of(EVERY) == odd);
            of.filter(|(_, faults)| faults.contains(&fault)).count()
        };
        let (found, alarms) = (with(true), with(false));
        println!("| {name} | {fault} | {found} of {made} | {alarms} of {sound} |");
    }
    Ok(())
}
