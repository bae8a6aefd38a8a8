//! What an entry holds, read, and decoded.

use lookalike_images::{DecodeOptions, Decoded, Exif, ImageError, Pixels, decode};
use lookalike_sources::{Entry, SkipKind, SkipReason, Skipped};

use super::Reading;

/// What an entry holds, read and not decoded.
pub(crate) enum Raw {
    /// The bytes of a picture file.
    File(Vec<u8>),
    /// Pixels as the data set has them.
    Pixels(Pixels),
}

impl Raw {
    /// Reads an entry.
    pub(crate) fn read(entry: &Entry, reading: &Reading) -> Result<Self, Skipped> {
        let skipped = |kind, reason: String| entry.skipped(SkipReason { kind, reason });
        match entry.pixels() {
            Some(raw) => Pixels::new(raw.width, raw.height, raw.channels, raw.data.to_vec())
                .map(Self::Pixels)
                .map_err(|error| skipped(kind_of(&error), error.to_string())),
            None => entry
                .read(&reading.source.limits)
                .map(Self::File)
                .map_err(|why| entry.skipped(why)),
        }
    }

    /// BLAKE3 of a file's bytes, or of pixels with their shape.
    pub(crate) fn blake3(&self) -> String {
        match self {
            Self::File(bytes) => blake3::hash(bytes).to_hex().to_string(),
            Self::Pixels(pixels) => pixels.blake3(),
        }
    }

    /// What a camera wrote into a file.
    pub(crate) fn exif(&self) -> Exif {
        match self {
            Self::File(bytes) => Exif::of_file(bytes),
            Self::Pixels(_) => Exif::default(),
        }
    }

    /// Decodes what was read of `entry`.
    pub(crate) fn decode(
        &self,
        entry: &Entry,
        options: &DecodeOptions,
    ) -> Result<Decoded, Skipped> {
        match self {
            Self::Pixels(pixels) => Ok(pixels.clone().into()),
            Self::File(bytes) => decode(bytes, options).map_err(|error| {
                entry.skipped(SkipReason {
                    kind: kind_of(&error),
                    reason: error.to_string(),
                })
            }),
        }
    }
}

/// Reads and decodes an entry: the content's BLAKE3 and the picture.
pub(super) fn decode_entry(entry: &Entry, reading: &Reading) -> Result<(String, Decoded), Skipped> {
    let raw = Raw::read(entry, reading)?;
    Ok((raw.blake3(), raw.decode(entry, &reading.decode)?))
}

/// The sort of trouble that a picture gives.
fn kind_of(error: &ImageError) -> SkipKind {
    match error {
        ImageError::TooLarge { .. }
        | ImageError::Sides { .. }
        | ImageError::FileTooLarge { .. }
        | ImageError::Memory { .. } => SkipKind::TooLarge,
        ImageError::Unsupported { .. }
        | ImageError::UnsupportedKind { .. }
        | ImageError::Unknown { .. } => SkipKind::Unsupported,
        _ => SkipKind::Damaged,
    }
}
