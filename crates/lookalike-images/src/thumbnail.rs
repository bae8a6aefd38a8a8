//! Small copies of pictures, to be kept.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::error::ImageError;
use crate::fit::scale;
use crate::pixels::{MAX_SIDE, Pixels};

/// Quality of the JPEG: at 128 pixels differences are hard to see, and a photograph takes about 4
/// KB.
const QUALITY: u8 = 80;

/// A small JPEG of a picture, in its proportions, for showing it where the picture itself is out of
/// reach.
///
/// Its longer side has `max_side` pixels (1 to 65,535; what is outside is read as the nearest);
/// a smaller picture keeps its size. Chroma is halved in both directions.
///
/// # Errors
///
/// Only when the encoder fails.
pub fn thumbnail(pixels: &Pixels, max_side: usize) -> Result<Vec<u8>, ImageError> {
    let max_side = max_side.clamp(1, MAX_SIDE);
    let (width, height) = (pixels.width(), pixels.height());
    let longest = width.max(height);
    let reduce = |side: usize| ((side * max_side + longest / 2) / longest).max(1);
    let small = match longest > max_side {
        true => scale(pixels, reduce(width), reduce(height)),
        false => pixels.clone(),
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    encoder.set_optimized_huffman_tables(true);
    let colour = match small.channels() {
        1 => ColorType::Luma,
        _ => {
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
            ColorType::Rgb
        }
    };
    // Sides are at most 65,535.
    let (width, height) = (small.width() as u16, small.height() as u16);
    encoder
        .encode(small.data(), width, height, colour)
        .map_err(|error| ImageError::Encode {
            reason: error.to_string(),
        })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeOptions, Format, decode};

    #[test]
    fn thumbnails_show_the_picture() {
        for channels in [1, 3] {
            let data = (0..300 * 100 * channels)
                .map(|i| (i / channels % 300 * 255 / 299) as u8)
                .collect();
            let pixels = Pixels::new(300, 100, channels, data).unwrap();
            let bytes = thumbnail(&pixels, 60).unwrap();
            assert!(bytes.len() < 1500, "{}", bytes.len());
            let decoded = decode(&bytes, &DecodeOptions::default()).unwrap();
            assert_eq!(decoded.format, Some(Format::Jpeg));
            assert_eq!((decoded.width, decoded.height), (60, 20));
            assert_eq!(decoded.pixels.channels(), channels);
            let small = scale(&pixels, 60, 20);
            for (a, b) in decoded.pixels.data().iter().zip(small.data()) {
                assert!(a.abs_diff(*b) < 8, "{a} {b}");
            }
        }
    }

    #[test]
    fn small_pictures_keep_their_size_and_extreme_ones_a_pixel() {
        let pixels = Pixels::new(5, 3, 1, vec![77; 15]).unwrap();
        let of = |pixels: &Pixels, side| {
            let bytes = thumbnail(pixels, side).unwrap();
            let pixels = decode(&bytes, &DecodeOptions::default()).unwrap().pixels;
            (pixels.width(), pixels.height())
        };
        assert_eq!(of(&pixels, 100), (5, 3));
        assert_eq!(of(&pixels, 0), (1, 1));
        let long = Pixels::new(2000, 1, 1, vec![77; 2000]).unwrap();
        assert_eq!(of(&long, 50), (50, 1));
    }
}
