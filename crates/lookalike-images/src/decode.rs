//! Pictures of any common format.

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::codecs::webp::WebPDecoder;
use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits};

use crate::error::ImageError;
use crate::fit::{Fit, InputShape, fit_part};
use crate::grey_range::GreyRange;
use crate::jpeg;
use crate::pixels::{MAX_SIDE, Pixels};
use crate::resample::{Part, whole};

mod flatten;
mod jxl;
mod orientation;
mod profile;
mod tiff;

pub(crate) use flatten::flatten;
use orientation::{turns, upright, upright_part};

/// The formats that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JPEG: grey, YCbCr, RGB, CMYK and YCCK; sequential and progressive; 8 bits.
    Jpeg,
    /// PNG, all kinds; of an animated one the still picture.
    Png,
    /// WebP, lossy and lossless; of an animated one the first frame.
    WebP,
    /// GIF, the first frame on its logical screen.
    Gif,
    /// Windows and OS/2 bitmaps.
    Bmp,
    /// TIFF, the first page: grey, RGB, CMYK, palette; 1 to 16 bits, RGB also as 32-bit floats,
    /// grey as integers and floats of up to 64 bits.
    Tiff,
    /// JPEG XL: grey and RGB; of an animated one the first frame.
    JpegXl,
}

impl Format {
    /// The format that a file's first bytes show; names do not matter.
    ///
    /// # Errors
    ///
    /// [`ImageError::Unsupported`] for formats that are known but not decoded (AVIF, HEIC), and
    /// [`ImageError::Unknown`] for all else.
    pub fn of(bytes: &[u8]) -> Result<Self, ImageError> {
        let unsupported = |format| Err(ImageError::Unsupported { format });
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Self::Tiff),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.get(..4) {
                Some(b"avif" | b"avis") => unsupported("AVIF"),
                Some(
                    b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1",
                ) => unsupported("HEIC"),
                _ => unsupported("video"),
            },
            [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Ok(Self::JpegXl),
            _ => Err(ImageError::Unknown {
                start: bytes[..bytes.len().min(8)].to_vec(),
            }),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::JpegXl => "JPEG XL",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        })
    }
}

/// How pictures are decoded, and how large they may be.
///
/// The limits are checked against what the file's header promises before there is room made for it.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeOptions {
    /// Width and height that the picture will be brought to. The picture may then come smaller than
    /// it is, but not below twice these sides, so that scaling it down from there is as sharp as
    /// from the whole. Only JPEG makes use of it. Without, pictures come whole.
    pub target: Option<(usize, usize)>,
    /// What transparent pictures are laid over: red, green, blue.
    pub background: [u8; 3],
    /// The most pixels a picture may have, width x height.
    pub max_pixels: u64,
    /// The most bytes a file may have.
    pub max_bytes: u64,
    /// The most bytes that may be allocated for one picture, beside the file's own. Tables of fixed
    /// size come on top, below 1 MiB; for TIFF and JPEG XL, whose headers are read first, below 32
    /// MiB.
    pub max_memory: u64,
    /// Which values of grey pictures with more than 8 bits are black and white. Without, integers
    /// are taken from 0 to the highest that their bits can write, and floats from 0 to 1.
    pub grey_range: Option<GreyRange>,
}

impl Default for DecodeOptions {
    /// Whole pictures over white; at most 2^27 pixels (134 megapixels), files of 512 MiB, and the
    /// memory that pictures of so many pixels take in every format: 4 GiB.
    fn default() -> Self {
        Self {
            target: None,
            background: [255; 3],
            max_pixels: 1 << 27,
            max_bytes: 1 << 29,
            max_memory: 1 << 32,
            grey_range: None,
        }
    }
}

/// A decoded picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Upright, without transparency, perhaps smaller than the file's picture (see
    /// [`DecodeOptions::target`]); then [`Decoded::fit`] scales it further.
    pub pixels: Pixels,
    /// Width of the whole picture, upright, in pixels.
    pub width: usize,
    /// Height of the whole picture, upright, in pixels.
    pub height: usize,
    /// The file's format; none of pixels that came without a file.
    pub format: Option<Format>,
    /// What of the pixels is picture: a reduced one's last pixels may reach beyond its edge.
    part: Part,
}

impl Decoded {
    /// Brings the picture to a shape, as [`fit_with`](crate::fit_with) does its pixels, but
    /// exactly: the pixels at the edge of a reduced picture may be picture only in part, and count
    /// as much.
    pub fn fit(&self, shape: InputShape, how: Fit, background: [u8; 3]) -> Pixels {
        fit_part(&self.pixels, self.part, shape, how, background)
    }
}

impl From<Pixels> for Decoded {
    /// Pixels that a data set holds, or a program made.
    fn from(pixels: Pixels) -> Self {
        Self {
            width: pixels.width(),
            height: pixels.height(),
            format: None,
            part: whole(&pixels),
            pixels,
        }
    }
}

/// Decodes a picture from the bytes of its file.
///
/// - The [`Format`] is told from the content.
/// - The picture comes upright: the orientation that EXIF or TIFF gives is applied.
/// - Transparency is laid over [`DecodeOptions::background`].
/// - Grey pictures have 1 channel, unless they are transparent over a coloured background; all
///   others 3.
/// - Colours are brought to sRGB by the picture's colour profile (ICC), if it has one that can be
///   used; of CMYK, no profile is used.
/// - 16 bits are rounded to 8. Of grey pictures with more than 8 bits,
///   [`DecodeOptions::grey_range`] says which values are black and white.
/// - A file that ends before its last row is refused, in every format: half a picture would be
///   compared as if it were all. A JPEG or PNG that lacks only its end marker has all rows and is
///   accepted; of a progressive JPEG all bits of all coefficients must be there.
/// - A reduced JPEG (see [`DecodeOptions::target`]) is checked less closely: damage in what its
///   pixels do not depend on may go unnoticed.
///
/// # Errors
///
/// When the bytes are not a picture of a supported [`Format`], are damaged, or exceed a limit.
/// Nothing that the bytes say makes it panic: should a decoder do so, that is an error too (the
/// message of the panic is still printed, as the program's panic hook does).
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded, ImageError> {
    let budget = Budget { options };
    budget.file(bytes.len() as u64)?;
    let format = Format::of(bytes)?;
    let work = || match format {
        Format::Jpeg => decode_jpeg(bytes, &budget),
        _ => decode_whole(bytes, format, &budget),
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(ImageError::Decode {
            format,
            reason: format!(
                "the decoder failed on it: {}",
                message.unwrap_or("it panicked")
            ),
        })
    })
}

/// Some of a picture's values, at most `most`, evenly drawn, if it is grey with more than 8 bits:
/// what a range is chosen by ([`GreyRange::of_values`]). None for every other picture.
///
/// # Errors
///
/// As [`decode`].
pub fn deep_values(
    bytes: &[u8],
    options: &DecodeOptions,
    most: usize,
) -> Result<Option<Vec<f32>>, ImageError> {
    let budget = Budget { options };
    budget.file(bytes.len() as u64)?;
    match Format::of(bytes)? {
        Format::Tiff => {
            let work = || tiff::sampled(bytes, &budget, most);
            catch_unwind(AssertUnwindSafe(work)).unwrap_or(Ok(None))
        }
        // The byte that says how deep it is, and the one that says whether it is grey.
        Format::Png if bytes.get(24..26) == Some(&[16, 0]) => {
            let work = || read_png(bytes, &budget);
            let picture =
                catch_unwind(AssertUnwindSafe(work)).map(|read| read.map(|(grey, ..)| grey));
            let grey = match picture {
                Ok(Ok(DynamicImage::ImageLuma16(grey))) => grey,
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) | Err(_) => return Ok(None),
            };
            let step = grey.len().div_ceil(most.max(1)).max(1);
            Ok(Some(grey.iter().step_by(step).map(|&v| v.into()).collect()))
        }
        _ => Ok(None),
    }
}

/// Reads a picture's file and decodes it; see [`decode`].
///
/// # Errors
///
/// Those of [`decode`], and when the file cannot be read. A file that is too long is not read.
pub fn decode_file(path: impl AsRef<Path>, options: &DecodeOptions) -> Result<Decoded, ImageError> {
    let path = path.as_ref();
    let failed = |source| ImageError::Io {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Budget { options }.file(length)?;
    let mut bytes = Vec::with_capacity(length as usize);
    // One byte more than is allowed, should the file have grown: decoding then refuses it.
    let most = options.max_bytes.saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    decode(&bytes, options)
}

/// The most bytes that the chunks of a PNG may take beside the picture: a profile unpacks a
/// thousandfold.
const MAX_PNG_HEADER: u64 = 16 << 20;

/// The limits, and what is said when they are passed.
pub(crate) struct Budget<'a> {
    options: &'a DecodeOptions,
}

impl Budget<'_> {
    fn file(&self, bytes: u64) -> Result<(), ImageError> {
        match bytes > self.options.max_bytes {
            true => Err(ImageError::FileTooLarge {
                bytes,
                limit: self.options.max_bytes,
            }),
            false => Ok(()),
        }
    }

    /// The limits of the crate `image`.
    fn limits(&self) -> Limits {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(self.options.max_memory);
        limits
    }

    /// Checks the sides of a picture.
    pub(crate) fn sides(&self, width: usize, height: usize) -> Result<(), ImageError> {
        let side = 1..=MAX_SIDE;
        if !side.contains(&width) || !side.contains(&height) {
            return Err(ImageError::Sides { width, height });
        }
        if width as u64 * height as u64 > self.options.max_pixels {
            return Err(ImageError::TooLarge {
                width: width as u32,
                height: height as u32,
                limit: self.options.max_pixels,
            });
        }
        Ok(())
    }

    /// Checks how much will be allocated, at most, at one time.
    pub(crate) fn memory(&self, bytes: u64) -> Result<(), ImageError> {
        match bytes > self.options.max_memory {
            true => Err(ImageError::Memory {
                bytes,
                limit: self.options.max_memory,
            }),
            false => Ok(()),
        }
    }
}

fn decode_jpeg(bytes: &[u8], budget: &Budget) -> Result<Decoded, ImageError> {
    let orientation = |exif: Option<&[u8]>| {
        exif.and_then(Orientation::from_exif_chunk)
            .unwrap_or(Orientation::NoTransforms)
    };
    let picture = jpeg::decode(bytes, budget, &|exif| {
        let (width, height) = budget.options.target?;
        let needed = (width.saturating_mul(2), height.saturating_mul(2));
        Some(match turns(orientation(exif)) {
            true => (needed.1, needed.0),
            false => needed,
        })
    })?;
    let orientation = orientation(picture.exif);
    let (width, height) = match turns(orientation) {
        true => (picture.height, picture.width),
        false => (picture.width, picture.height),
    };
    let part = upright_part(picture.part, &picture.pixels, orientation);
    let pixels = profile::to_srgb(picture.pixels, picture.profile.as_deref());
    Ok(Decoded {
        pixels: upright(pixels, orientation),
        width,
        height,
        format: Some(Format::Jpeg),
        part,
    })
}

/// Decodes what the crate `image` does, whole.
fn decode_whole(bytes: &[u8], format: Format, budget: &Budget) -> Result<Decoded, ImageError> {
    let damaged = damaged(format, budget);
    let reader = Cursor::new(bytes);
    let limits = budget.limits();
    if format == Format::Tiff
        && let Some((pixels, orientation)) = tiff::deep_grey(bytes, budget)?
    {
        return Ok(whole_picture(pixels, orientation, format));
    }
    let (picture, orientation, profile) = match format {
        Format::Jpeg => unreachable!("it has a decoder of its own"),
        Format::Png => read_png(bytes, budget)?,
        Format::WebP => {
            let decoder = WebPDecoder::new(reader).map_err(damaged)?;
            read(decoder, limits, budget, damaged)?
        }
        Format::Gif => {
            let decoder = GifDecoder::new(reader).map_err(damaged)?;
            read(decoder, limits, budget, damaged)?
        }
        Format::Bmp => {
            let decoder = BmpDecoder::new(reader).map_err(damaged)?;
            read(decoder, limits, budget, damaged)?
        }
        Format::JpegXl => {
            let (picture, profile) = jxl::decode(bytes, budget)?;
            (picture, Orientation::NoTransforms, profile)
        }
        Format::Tiff => match tiff::palette(bytes, budget)? {
            Some((pixels, orientation)) => (DynamicImage::ImageRgb8(pixels), orientation, None),
            None => {
                let decoder = TiffDecoder::new(reader).map_err(damaged)?;
                read(decoder, limits, budget, damaged)?
            }
        },
    };
    let grey = match (&picture, budget.options.grey_range) {
        (DynamicImage::ImageLuma16(grey), Some(range)) => {
            let data = grey.iter().map(|&value| range.byte(value.into())).collect();
            let (width, height) = (grey.width() as usize, grey.height() as usize);
            Some(Pixels::new(width, height, 1, data)?)
        }
        _ => None,
    };
    // A background that shines through is taken as the profile says, too: exact where a picture is
    // opaque.
    let pixels = match grey {
        Some(pixels) => pixels,
        None => profile::to_srgb(
            flatten(picture, budget.options.background)?,
            profile.as_deref(),
        ),
    };
    Ok(whole_picture(pixels, orientation, format))
}

/// A PNG as it is, with all its bits.
fn read_png(
    bytes: &[u8],
    budget: &Budget,
) -> Result<(DynamicImage, Orientation, Option<Vec<u8>>), ImageError> {
    let damaged = damaged(Format::Png, budget);
    // What is read before the picture: texts, profiles and one row.
    let mut header = budget.limits();
    header.max_alloc = Some(budget.options.max_memory.min(MAX_PNG_HEADER));
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), header).map_err(&damaged)?;
    read(decoder, budget.limits(), budget, damaged)
}

/// What an error of the crate `image` is to us.
fn damaged(format: Format, budget: &Budget) -> impl Fn(image::ImageError) -> ImageError + Copy {
    let limit = budget.options.max_memory;
    move |error| match error {
        image::ImageError::Unsupported(error) => ImageError::UnsupportedKind {
            format,
            reason: format!("{error}; save it anew, with 8 bits a channel"),
        },
        image::ImageError::Limits(_) => ImageError::Memory {
            bytes: limit.saturating_add(1),
            limit,
        },
        error => ImageError::Decode {
            format,
            reason: error.to_string(),
        },
    }
}

fn whole_picture(pixels: Pixels, orientation: Orientation, format: Format) -> Decoded {
    let pixels = upright(pixels, orientation);
    Decoded {
        format: Some(format),
        ..pixels.into()
    }
}

fn read(
    mut decoder: impl ImageDecoder,
    limits: Limits,
    budget: &Budget,
    damaged: impl Fn(image::ImageError) -> ImageError,
) -> Result<(DynamicImage, Orientation, Option<Vec<u8>>), ImageError> {
    let (width, height) = decoder.dimensions();
    budget.sides(width as usize, height as usize)?;
    // Decoders hold some rows, or another frame, beside what they give; then it is made 8 bits
    // without transparency, in some cases by way of 16, and perhaps turned.
    let pixels = u64::from(width) * u64::from(height);
    budget.memory(
        decoder
            .total_bytes()
            .saturating_mul(2)
            .saturating_add(11 * pixels),
    )?;
    decoder.set_limits(limits).map_err(&damaged)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    // A profile that cannot be read is none: the picture can be.
    let profile = decoder.icc_profile().ok().flatten();
    let picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok((picture, orientation, profile))
}
