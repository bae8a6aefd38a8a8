//! Images for Lookalike: where they come from, and what they look like.
//!
//! # Overview
//!
//! - A [`Source`] is a collection of images read one after another. [`open`] makes one from what a user
//!   typed: `mnist:train`, `mnist:test`, or the path of an [IDX](idx) file. [`open_image`] opens a single
//!   picture: `photo.png`, `mnist:test#7`, `digits-images-idx3-ubyte.gz#7`.
//! - [`decode`] makes [`Pixels`] of the bytes of a picture file (JPEG, PNG, WebP, GIF, BMP, TIFF), and [`thumbnail`]
//!   a small JPEG of pixels. [`histogram`] is the plainest code of an image: its colours; [`colours`] the same, gently, as a part of better codes.
//!   [`Gradients`] describes its edges.
//! - A [`Collection`] holds a whole source in memory, every image brought to one [`InputShape`] by [`fit`]
//!   (or [`fit_with`], to crop or to pad).
//! - [`Distorter`] and [`Noise`] make the inputs of the augmented and the denoising autoencoder.
//!
//! # Example
//!
//! ```
//! use lookalike_images::{Collection, InputShape, Pixels, Source, fit};
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
//!
//! // A collection is a source itself.
//! for image in collection.read()? {
//!     let image = image?;
//!     let colour = fit(&image.pixels, InputShape { channels: 3, ..shape });
//!     assert_eq!(colour.channels(), 3);
//! }
//! # Ok::<(), lookalike_images::SourceError>(())
//! ```

mod collection;
mod decode;
mod distortion;
mod download;
mod error;
mod files;
mod fit;
mod gradients;
mod grey_range;
mod histogram;
pub mod idx;
mod jpeg;
pub mod mnist;
mod noise;
mod pixels;
mod png;
mod random;
mod resample;
mod source;
mod thumbnail;

pub use collection::Collection;
pub use decode::{DecodeOptions, Decoded, Format, decode, decode_file, deep_values};
pub use distortion::{Distorter, Distortion};
pub use download::DownloadProgress;
pub use error::{ImageError, SourceError};
pub use files::{Replacement, replace_file};
pub use fit::{Fit, InputShape, fit, fit_with};
pub use gradients::{Gradients, LocalGradients, gradient_energy};
pub use grey_range::GreyRange;
pub use histogram::{COLOURS, FINE_COLOURS, colours, fine_colours, histogram};
pub use noise::Noise;
pub use pixels::{Image, Pixels, Region};
pub use source::{Images, Source, open, open_image, open_image_in_source};
pub use thumbnail::thumbnail;
