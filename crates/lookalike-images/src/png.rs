//! Pictures as PNG files.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::error::ImageError;
use crate::pixels::Pixels;

impl Pixels {
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

#[cfg(test)]
mod tests {
    use crate::{DecodeOptions, Pixels, decode, decode_file};

    #[test]
    fn what_is_written_is_read_back() {
        for channels in [1, 3] {
            let pixels = Pixels::new(5, 2, channels, (0..10 * channels as u8).collect()).unwrap();
            let read = decode(&pixels.to_png().unwrap(), &DecodeOptions::default()).unwrap();
            assert_eq!(read.pixels, pixels);
        }
    }

    #[test]
    fn files_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixels = Pixels::new(1, 1, 1, vec![7]).unwrap();
        std::fs::write(&path, b"old").unwrap();
        pixels.write_png(&path).unwrap();
        let read = decode_file(&path, &DecodeOptions::default()).unwrap();
        assert_eq!(read.pixels, pixels);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        let error = pixels
            .write_png(folder.path().join("none/a.png"))
            .unwrap_err();
        assert!(error.to_string().contains("none/a.png"), "{error}");
    }
}
