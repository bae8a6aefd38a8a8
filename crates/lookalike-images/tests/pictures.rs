//! Pictures of every format and feature, against what Pillow made them of; `pictures/make.py` says
//! how.

use std::path::PathBuf;

use lookalike_images::{
    DecodeOptions, Format, ImageError, Pixels, decode, decode_file, deep_values,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pictures")
}

/// Names and bytes of all pictures.
fn pictures() -> Vec<(String, Vec<u8>)> {
    let mut pictures = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && !name.ends_with(".py") {
            pictures.push((name, std::fs::read(&path).unwrap()));
        }
    }
    pictures.sort();
    assert!(pictures.len() >= 60, "{}", pictures.len());
    pictures
}

fn format(name: &str) -> Format {
    match name.rsplit('.').next().unwrap() {
        "jpg" => Format::Jpeg,
        "png" => Format::Png,
        "webp" => Format::WebP,
        "gif" => Format::Gif,
        "bmp" => Format::Bmp,
        "jxl" => Format::JpegXl,
        "tif" => Format::Tiff,
        other => panic!("no format is called {other}"),
    }
}

/// How far a value may be off: decoders of lossy formats round differently, and mix chroma
/// differently.
fn tolerance(name: &str) -> u8 {
    match format(name) {
        Format::Jpeg => 6,
        // Transparency is of 16 bits there.
        Format::JpegXl => 1,
        Format::WebP if name.contains("lossy") || name.contains("turned") => 6,
        _ => 0,
    }
}

#[test]
fn every_picture_shows_what_it_should() {
    let mut wrong = Vec::new();
    for (name, bytes) in pictures() {
        let expected = folder().join(format!("expected/{name}.png"));
        let expected = decode_file(expected, &DecodeOptions::default())
            .unwrap()
            .pixels;
        let decoded = match decode(&bytes, &DecodeOptions::default()) {
            Ok(decoded) => decoded,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert_eq!(decoded.format, Some(format(&name)), "{name}");
        let sides = |pixels: &Pixels| (pixels.width(), pixels.height(), pixels.channels());
        if sides(&decoded.pixels) != sides(&expected)
            || (decoded.width, decoded.height) != (expected.width(), expected.height())
        {
            let (found, expected) = (sides(&decoded.pixels), sides(&expected));
            wrong.push(format!("{name}: sides {found:?}, not {expected:?}"));
            continue;
        }
        let pairs = || decoded.pixels.data().iter().zip(expected.data());
        let most = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let sum: f64 = pairs().map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        let mean = sum / expected.data().len() as f64;
        if most > tolerance(&name) || mean > 1.0 {
            wrong.push(format!("{name}: off by up to {most}, {mean:.2} on average"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn transparency_lies_over_the_background() {
    let options = DecodeOptions {
        background: [255, 0, 10],
        ..DecodeOptions::default()
    };
    for (name, bytes) in pictures() {
        let pixels = decode(&bytes, &options).unwrap().pixels;
        let white = decode(&bytes, &DecodeOptions::default()).unwrap().pixels;
        let transparent = ["alpha", "transparent", "rgba", "offset"];
        if !transparent.iter().any(|part| name.contains(part)) {
            assert_eq!(pixels, white, "{name}");
            continue;
        }
        assert_eq!(pixels.channels(), 3, "{name}");
        // Red stays, whatever lies over it; green and blue only lose.
        let whites = white.data().chunks_exact(white.channels());
        for (pixel, white) in pixels.data().chunks_exact(3).zip(whites) {
            let white = [
                white[0],
                *white.get(1).unwrap_or(&white[0]),
                *white.last().unwrap(),
            ];
            assert!(
                pixel[0] == white[0] && pixel[1] <= white[1] && pixel[2] <= white[2],
                "{name}"
            );
        }
        assert_ne!(pixels.data(), white.data(), "{name}");
    }
}

#[test]
fn limits_are_checked_before_anything_is_decoded() {
    for (name, bytes) in pictures() {
        let refused = |options: DecodeOptions| decode(&bytes, &options).unwrap_err().to_string();
        let pixels = refused(DecodeOptions {
            max_pixels: 300,
            ..DecodeOptions::default()
        });
        assert!(pixels.contains("at most 300 pixels"), "{name}: {pixels}");
        let length = refused(DecodeOptions {
            max_bytes: bytes.len() as u64 - 1,
            ..DecodeOptions::default()
        });
        assert!(length.contains("bytes; at most"), "{name}: {length}");
        let memory = refused(DecodeOptions {
            max_memory: 600,
            ..DecodeOptions::default()
        });
        assert!(memory.contains("600"), "{name}: {memory}");
    }
}

#[test]
fn values_of_deep_grey_pictures_are_sampled() {
    let read = |name: &str| std::fs::read(folder().join(name)).unwrap();
    let options = DecodeOptions::default();
    for name in ["grey16.png", "grey16.tif"] {
        let bytes = read(name);
        let eight = decode(&bytes, &options).unwrap().pixels;
        let all = deep_values(&bytes, &options, usize::MAX).unwrap().unwrap();
        assert_eq!(all.len(), eight.data().len(), "{name}");
        for (&deep, &byte) in all.iter().zip(eight.data()) {
            assert!((deep / 257.0 - f32::from(byte)).abs() <= 0.5, "{name}");
        }
        let some = deep_values(&bytes, &options, 10).unwrap().unwrap();
        assert!(!some.is_empty() && some.len() <= 10, "{name}");
        assert!(some.iter().all(|value| all.contains(value)), "{name}");
        let half = &bytes[..bytes.len() / 2];
        assert!(deep_values(half, &options, 10).is_err(), "{name}");
        let small = DecodeOptions {
            max_pixels: 9,
            ..options.clone()
        };
        let refused = deep_values(&bytes, &small, 10);
        assert!(
            matches!(refused, Err(ImageError::TooLarge { .. })),
            "{name}"
        );
    }
    assert_eq!(deep_values(&read("grey.png"), &options, 10).unwrap(), None);
}
