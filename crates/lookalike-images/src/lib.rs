//! Pictures for Lookalike: decoded, fitted and described.
//!
//! # Overview
//!
//! - [`decode`] makes [`Pixels`] of the bytes of a picture file (JPEG, PNG, WebP, GIF, BMP, TIFF,
//!   JPEG XL), and [`thumbnail`] a small JPEG of pixels.
//! - [`fit`] brings an image to the [`InputShape`] of a network ([`fit_with`] crops or pads), and a
//!   [`Collection`] holds many images of one shape in memory.
//! - [`histogram`] is the plainest code of an image: its colours; [`colours`] the same, smoothed,
//!   as a part of better codes. [`Gradients`] describes its edges.
//! - [`measure`] says what a picture is like: how bright, how sharp, how colourful. [`Exif`] is
//!   what a camera wrote beside it.
//!
//! # Example
//!
//! ```
//! use lookalike_images::{Collection, InputShape, fit};
//!
//! let shape = InputShape { channels: 1, height: 2, width: 2 };
//! let collection = Collection::from_parts(
//!     "two",
//!     shape,
//!     vec!["a".into(), "b".into()],
//!     vec![Some("dark".into()), None],
//!     vec![0, 0, 0, 0, 255, 255, 255, 255],
//! )?;
//! assert_eq!(collection.label(0), Some("dark"));
//! let colour = fit(&collection.picture(1), InputShape { channels: 3, ..shape });
//! assert_eq!(colour.channels(), 3);
//! # Ok::<(), lookalike_images::CollectionError>(())
//! ```

mod collection;
mod decode;
mod error;
mod exif;
mod fit;
mod gradients;
mod grey_range;
mod histogram;
mod jpeg;
mod measures;
mod pixels;
mod png;
mod resample;
mod thumbnail;
mod turn;

pub use collection::{Collection, CollectionError};
pub use decode::{DecodeOptions, Decoded, Format, decode, decode_file, deep_values};
pub use error::ImageError;
pub use exif::Exif;
pub use fit::{Fit, InputShape, fit, fit_with};
pub use gradients::{Gradients, LocalGradients, gradient_energy};
pub use grey_range::GreyRange;
pub use histogram::{
    CHROMA_RANGE, COLOUR_BINS, COLOURS, FINE_COLOUR_BINS, FINE_COLOURS, LUMA, colours,
    fine_colours, histogram,
};
pub use measures::{Measures, measure};
pub use pixels::{Image, Pixels, Region};
pub use resample::{Filter, resize};
pub use thumbnail::thumbnail;
pub use turn::Turn;
