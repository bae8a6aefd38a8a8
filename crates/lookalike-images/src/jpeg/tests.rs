use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::decode::{DecodeOptions, decode};
use crate::fit::{Fit, InputShape};
use crate::pixels::Pixels;

const WIDTH: usize = 203;
const HEIGHT: usize = 149;

/// Waves of several lengths in all channels, and an edge.
fn picture(channels: usize) -> Pixels {
    let mut data = Vec::new();
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            for channel in 0..channels {
                let (x, y) = (x as f32, y as f32);
                let wave = (x / 17.0 + channel as f32).sin() * 50.0
                    + (y / 9.0 - x / 31.0).cos() * 30.0
                    + (x / 3.1 + y / 2.3).sin() * 12.0;
                let edge = if x + 2.0 * y > 250.0 { 40.0 } else { 0.0 };
                data.push((100.0 + wave + edge) as u8);
            }
        }
    }
    Pixels::new(WIDTH, HEIGHT, channels, data).unwrap()
}

/// Every way the encoder has to write a picture.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for sampling in [
        SamplingFactor::F_1_1,
        SamplingFactor::F_2_1,
        SamplingFactor::F_1_2,
        SamplingFactor::F_2_2,
        SamplingFactor::F_4_1,
        SamplingFactor::F_4_2,
    ] {
        // One scan with and without restarts, one a component, and many. (Restarts in several scans
        // are among the pictures of tests/pictures; this encoder does not write them right.)
        for way in ["plain", "restarts", "scans", "progressive"] {
            for (kind, channels) in [(ColorType::Rgb, 3), (ColorType::Luma, 1)] {
                let mut bytes = Vec::new();
                let mut encoder = Encoder::new(&mut bytes, 90);
                encoder.set_sampling_factor(sampling);
                encoder.set_progressive(way == "progressive");
                encoder.set_restart_interval(if way == "restarts" { 3 } else { 0 });
                encoder.set_optimized_huffman_tables(way == "scans");
                let (width, height) = (WIDTH as u16, HEIGHT as u16);
                (encoder.encode(picture(channels).data(), width, height, kind)).unwrap();
                files.push((format!("{sampling:?} {way} {channels}"), bytes));
            }
        }
    }
    files
}

/// The greatest and the mean difference.
fn difference(a: &Pixels, b: &Pixels) -> (u8, f64) {
    assert_eq!(
        (a.width(), a.height(), a.channels()),
        (b.width(), b.height(), b.channels())
    );
    let pairs = || a.data().iter().zip(b.data());
    let most = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    let sum: f64 = pairs().map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    (most, sum / a.data().len() as f64)
}

#[test]
fn whole_pictures_are_those_of_another_decoder() {
    let mut plain = None;
    for (name, bytes) in files() {
        let ours = decode(&bytes, &DecodeOptions::default()).unwrap().pixels;
        // The same coefficients, however they are written; the other decoder does not know every
        // division.
        if !name.contains("plain") {
            let plain: &[Pixels; 2] = plain.as_ref().unwrap();
            assert!(plain.contains(&ours), "{name}");
            continue;
        }
        let colours = match ours.channels() {
            1 => ColorSpace::Luma,
            _ => ColorSpace::RGB,
        };
        if !name.contains("F_4_2") {
            let options = DecoderOptions::default().jpeg_set_out_colorspace(colours);
            let mut other = JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
            let other = Pixels::new(WIDTH, HEIGHT, ours.channels(), other.decode().unwrap());
            let (most, mean) = difference(&ours, &other.unwrap());
            assert!(most <= 3 && mean < 0.1, "{name}: {most} {mean}");
        }
        plain = match (plain, ours.channels()) {
            (Some([colour, _]), 1) => Some([colour, ours]),
            _ => Some([ours.clone(), ours]),
        };
    }
}

#[test]
fn reduced_pictures_look_like_whole_ones_scaled() {
    for (name, bytes) in files() {
        let whole = decode(&bytes, &DecodeOptions::default()).unwrap();
        for (side, samples) in [(9, 1), (18, 2), (36, 4), (72, 8)] {
            let options = DecodeOptions {
                target: Some((side, side)),
                ..DecodeOptions::default()
            };
            let reduced = decode(&bytes, &options).unwrap();
            assert_eq!((reduced.width, reduced.height), (WIDTH, HEIGHT));
            let reduce = |side: usize| (side * samples).div_ceil(8);
            let (width, height) = (reduce(WIDTH), reduce(HEIGHT));
            assert_eq!(
                (reduced.pixels.width(), reduced.pixels.height()),
                (width, height),
                "{name}"
            );
            assert!(width >= 2 * side && height >= 2 * side);
            // What follows is scaled further; there they must agree.
            let shape = InputShape {
                channels: whole.pixels.channels(),
                height: side,
                width: side,
            };
            let [a, b] = [&reduced, &whole].map(|d| d.fit(shape, Fit::Stretch, [0; 3]));
            let (most, mean) = difference(&a, &b);
            assert!(most <= 16 && mean < 2.0, "{name} {samples}: {most} {mean}");
        }
    }
}

#[test]
fn only_the_end_marker_may_be_missing() {
    for (name, bytes) in files() {
        let options = DecodeOptions::default();
        let cut = decode(&bytes[..bytes.len() - 2], &options).unwrap();
        assert_eq!(cut, decode(&bytes, &options).unwrap(), "{name}");
        for part in 1..20 {
            let cut = &bytes[..(bytes.len() - 4) * part / 20];
            let error = decode(cut, &options).unwrap_err().to_string();
            assert!(error.contains("ends before"), "{name} {part}: {error}");
        }
    }
}

#[test]
fn a_progressive_file_that_ends_between_two_scans_is_refused() {
    for (name, bytes) in files() {
        if !name.contains("progressive") {
            continue;
        }
        let scans: Vec<usize> = memchr::memmem::find_iter(&bytes, b"\xff\xda").collect();
        assert!(scans.len() > 2, "{name}");
        for target in [None, Some((9, 9))] {
            let options = DecodeOptions {
                target,
                ..DecodeOptions::default()
            };
            // The last scan is not read for a small picture, and must be whole nevertheless.
            let last = scans[scans.len() - 1];
            let half = (last + bytes.len()) / 2;
            for &end in scans[1..].iter().chain(&[half]) {
                let error = decode(&bytes[..end], &options).unwrap_err().to_string();
                assert!(error.contains("ends before"), "{name} {end}: {error}");
            }
            let cut = decode(&bytes[..bytes.len() - 2], &options).unwrap();
            assert_eq!(cut, decode(&bytes, &options).unwrap(), "{name}");
        }
    }
}

/// libjpeg refines low and high coefficients in one scan, which can be read only by what the scans
/// before it left of both: also where no pixel of a reduced picture depends on the high ones. The
/// files are of `cjpeg -quality 85 -sample 1x1`, and the same coefficients by `jpegtran
/// -progressive`.
#[test]
fn a_refined_file_reduces_to_the_same_pixels_as_a_sequential_one() {
    let sequential = include_bytes!("../../tests/jpeg/refined.jpg");
    let progressive = include_bytes!("../../tests/jpeg/refined-progressive.jpg");
    for target in [
        None,
        Some((36, 28)),
        Some((18, 14)),
        Some((9, 7)),
        Some((4, 3)),
    ] {
        let options = DecodeOptions {
            target,
            ..DecodeOptions::default()
        };
        let expected = decode(sequential, &options).unwrap();
        assert_eq!(
            decode(progressive, &options).unwrap(),
            expected,
            "{target:?}"
        );
    }
}
