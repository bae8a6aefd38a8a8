//! PNG in and out.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::codecs::png::{PngDecoder, PngEncoder};
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, Limits};

use crate::decode::{Format, flatten};
use crate::error::ImageError;
use crate::pixels::Pixels;

/// The most pixels a picture may have: 64 megapixels, more than any camera of a collection's
/// pictures, and little enough that a small file cannot fill the memory.
const MAX_PIXELS: u64 = 1 << 26;

/// The most bytes the decoder may hold beside them.
const MAX_BYTES: u64 = 1 << 30;

impl Pixels {
    /// Decodes a PNG: 1 to 16 bits, grey, colour or palette. Transparency is laid over white. Grey
    /// pictures get 1 channel, all others 3.
    ///
    /// # Errors
    ///
    /// When the bytes are not a PNG, are damaged, or hold more than 64 megapixels.
    pub fn from_png(bytes: &[u8]) -> Result<Self, ImageError> {
        decode(Cursor::new(bytes))
    }

    /// Reads a PNG file; see [`Pixels::from_png`].
    ///
    /// # Errors
    ///
    /// Those of [`Pixels::from_png`], and when the file cannot be read.
    pub fn read_png(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| ImageError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        decode(BufReader::new(file))
    }

    /// The image as the bytes of a PNG file, grey or colour, 8 bits.
    ///
    /// # Errors
    ///
    /// Only when memory runs out inside the encoder.
    pub fn to_png(&self) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let colour = match self.channels() {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        PngEncoder::new(&mut bytes)
            .write_image(
                self.data(),
                self.width() as u32,
                self.height() as u32,
                colour,
            )
            .map_err(|error| ImageError::Encode {
                reason: error.to_string(),
            })?;
        Ok(bytes)
    }

    /// Writes a PNG file; what was at `path` is replaced only once the whole file is written.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_png(&self, path: impl AsRef<Path>) -> Result<(), ImageError> {
        let path = path.as_ref();
        let bytes = self.to_png()?;
        lookalike_files::replace_file(path, &bytes).map_err(|source| ImageError::Io {
            doing: "write",
            path: path.to_owned(),
            source,
        })
    }
}

fn decode(reader: impl BufRead + Seek) -> Result<Pixels, ImageError> {
    let damaged = |error: image::ImageError| ImageError::Decode {
        format: Format::Png,
        reason: error.to_string(),
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    let decoder = PngDecoder::with_limits(reader, limits).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(ImageError::TooLarge {
            width,
            height,
            limit: MAX_PIXELS,
        });
    }
    let picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    flatten(picture, [255; 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageBuffer;

    fn encoded(picture: DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        bytes.into_inner()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for channels in [1, 3] {
            let pixels = Pixels::new(5, 2, channels, (0..10 * channels as u8).collect()).unwrap();
            assert_eq!(Pixels::from_png(&pixels.to_png().unwrap()).unwrap(), pixels);
        }
    }

    #[test]
    fn files_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixels = Pixels::new(1, 1, 1, vec![7]).unwrap();
        std::fs::write(&path, b"old").unwrap();
        pixels.write_png(&path).unwrap();
        assert_eq!(Pixels::read_png(&path).unwrap(), pixels);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        let error = pixels
            .write_png(folder.path().join("none/a.png"))
            .unwrap_err();
        assert!(error.to_string().contains("none/a.png"), "{error}");
    }

    #[test]
    fn transparency_lies_over_white() {
        let picture =
            ImageBuffer::from_raw(3, 1, vec![10u8, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128])
                .unwrap();
        let pixels = Pixels::from_png(&encoded(DynamicImage::ImageRgba8(picture))).unwrap();
        assert_eq!(pixels.data(), [10, 20, 30, 255, 255, 255, 127, 127, 127]);

        let picture = ImageBuffer::from_raw(2, 1, vec![40u8, 255, 40, 0]).unwrap();
        let pixels = Pixels::from_png(&encoded(DynamicImage::ImageLumaA8(picture))).unwrap();
        assert_eq!((pixels.channels(), pixels.data()), (1, &[40, 255][..]));
    }

    #[test]
    fn sixteen_bits_become_eight() {
        let picture = ImageBuffer::from_raw(3, 1, vec![0u16, 0x8080, 0xffff]).unwrap();
        let pixels = Pixels::from_png(&encoded(DynamicImage::ImageLuma16(picture))).unwrap();
        assert_eq!((pixels.channels(), pixels.data()), (1, &[0, 128, 255][..]));

        let picture = ImageBuffer::from_raw(1, 1, vec![0x0101u16, 0x0202, 0xfefe]).unwrap();
        let pixels = Pixels::from_png(&encoded(DynamicImage::ImageRgb16(picture))).unwrap();
        assert_eq!((pixels.channels(), pixels.data()), (3, &[1, 2, 254][..]));
    }

    #[test]
    fn bad_files_are_errors() {
        assert!(matches!(
            Pixels::from_png(b"GIF89a"),
            Err(ImageError::Decode { .. })
        ));
        let good = Pixels::new(9, 9, 1, (0..81).collect())
            .unwrap()
            .to_png()
            .unwrap();
        // Without its last chunk (12 bytes) a PNG still has all its pixels.
        for length in 0..good.len() - 13 {
            assert!(Pixels::from_png(&good[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        // 60,000 x 60,000 in a header whose checksum is right.
        let mut bytes = Pixels::new(1, 1, 1, vec![0]).unwrap().to_png().unwrap();
        bytes[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let error = Pixels::from_png(&bytes).unwrap_err();
        assert!(
            matches!(error, ImageError::TooLarge { width: 60_000, .. }),
            "{error}"
        );
    }
}
