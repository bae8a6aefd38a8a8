//! What can go wrong with one image.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::decode::Format;
use crate::pixels::Region;

/// What can go wrong with one image.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Neither grey nor colour.
    #[error("an image has 1 channel (grey) or 3 (red, green, blue), not {channels}")]
    Channels {
        /// The number of channels that was asked for.
        channels: usize,
    },
    /// A side is zero or beyond what an image may have.
    #[error(
        "an image of {width} x {height} pixels cannot be held: each side is 1 to 65,535 pixels"
    )]
    Sides {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// A region that is not within its image.
    #[error(
        "the region {region} is not within the image of {width} x {height} pixels: give X,Y,WIDTH,HEIGHT within it"
    )]
    Region {
        /// What was asked for.
        region: Region,
        /// Width of the image in pixels.
        width: usize,
        /// Height of the image in pixels.
        height: usize,
    },
    /// The data do not fill the image, or overflow it.
    #[error(
        "an image of {width} x {height} pixels with {channels} channels takes \
         {expected} bytes, but {found} were given"
    )]
    DataLength {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Channels, 1 or 3.
        channels: usize,
        /// Bytes that such an image takes.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// A picture file that holds more pixels than any picture we accept.
    #[error(
        "the picture says it is {width} x {height} pixels; at most {limit} pixels are accepted: scale it down first, or \
         raise the limit of pixels"
    )]
    TooLarge {
        /// Width in pixels, as the file says.
        width: u32,
        /// Height in pixels, as the file says.
        height: u32,
        /// The most pixels accepted.
        limit: u64,
    },
    /// A picture of a kind that its format's decoder does not know; nothing says that it is
    /// damaged.
    #[error("it is a kind of {format} that is not supported: {reason}")]
    UnsupportedKind {
        /// What its first bytes say that it is.
        format: Format,
        /// Which kind, and what to do about it.
        reason: String,
    },
    /// A damaged picture.
    #[error(
        "cannot decode the picture as {format}: {reason}; \
         save it anew from its original, or leave it out"
    )]
    Decode {
        /// What its first bytes say that it is.
        format: Format,
        /// What the decoder found.
        reason: String,
    },
    /// A picture in a format that is known but not decoded.
    #[error("it is {format}, which is not supported; convert it to JPEG, PNG or WebP")]
    Unsupported {
        /// The format.
        format: &'static str,
    },
    /// Not a picture in any format that is known.
    #[error(
        "it is not a picture: it {}; JPEG, PNG, WebP, GIF, BMP, TIFF and JPEG XL are supported, whatever \
         the file is called",
        match start.is_empty() {
            true => "is empty".to_owned(),
            false => format!("begins with the bytes {start:02x?}"),
        }
    )]
    Unknown {
        /// The first bytes, at most 8.
        start: Vec<u8>,
    },
    /// A file that is longer than any we accept.
    #[error(
        "the file has {bytes} bytes; at most {limit} are accepted: scale the picture down first, or raise the limit of \
         a file's bytes"
    )]
    FileTooLarge {
        /// The file's length.
        bytes: u64,
        /// The most bytes accepted.
        limit: u64,
    },
    /// A picture that takes more memory to decode than is allowed.
    #[error(
        "decoding the picture takes up to {bytes} bytes of memory; at most {limit} are allowed: scale it down first, \
         save it with 8 bits a channel, or raise the limit of memory"
    )]
    Memory {
        /// The bytes it would take.
        bytes: u64,
        /// The most bytes allowed.
        limit: u64,
    },
    /// A picture could not be turned into a file.
    #[error("cannot encode the picture: {reason}")]
    Encode {
        /// What the encoder found.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done: "read", "write".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
}
