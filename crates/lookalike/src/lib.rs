//! Content-based image retrieval that learns from your own images, without labels.
//!
//! Lookalike trains an autoencoder on a collection, encodes every image, keeps the codes in a
//! gallery and answers an image with its nearest neighbours. This crate is the front door: it
//! joins the workspace's crates into the three steps below; the program `lookalike` (the crate `lookalike-cli`) does the
//! same from the command line, and `lookalike-server` over HTTP.
//!
//! ```
//! use lookalike::autoencoder::{Architecture, DeviceChoice, TrainConfig, train};
//! use lookalike::images::{Collection, open, open_image_in_source};
//! use lookalike::{Question, Searcher, create_gallery, index};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("digits.gallery");
//! // Learn an autoencoder from the first 2,000 test images.
//! let source = open("mnist:test")?;
//! let collection = Collection::load(&*source, None, Some(2000))?;
//! let config = TrainConfig { epochs: 1, ..TrainConfig::new(Architecture::Bottleneck) };
//! let model = train(&collection, &config, DeviceChoice::Auto, None, &mut ())?;
//!
//! // Encode them into a gallery.
//! let gallery = create_gallery(&path, &model, None)?;
//! index(&collection, &model, &gallery, true, |_| {})?;
//!
//! // Ask for the 5 images most like test image 7, itself left out.
//! let searcher = Searcher::new(Box::new(gallery), model);
//! let (source, query) = open_image_in_source("mnist:test#7")?;
//! let question = Question { k: 5, exclude_self: true, ..Question::default() };
//! let answer = searcher.search(&source, &query, &question)?;
//! assert_eq!(answer.neighbours.len(), 5);
//! println!("nearest: {} at {}", answer.neighbours[0].payload.key, answer.neighbours[0].distance);
//! # Ok(())
//! # }
//! ```
//!
//! [`open_source`] opens folders, archives, tables and object stores as well, and [`index_source`] keeps a
//! gallery in step with one.
//!
//! The parts are usable on their own: [`images`] (decoding, distortions, thumbnails), [`sources`] (where files are),
//! [`autoencoder`] (networks, training, the model file), [`neighbours`] (metrics, exact search,
//! diffusion), [`gallery`] (keeping and searching codes) and [`eval`] (precision, baselines).

mod assess;
mod catalogue;
mod contents;
mod copying;
pub mod duplicates;
mod error;
pub mod export;
mod indexing;
mod judging;
pub mod map;
mod opening;
mod originals;
pub mod outliers;
mod presence;
pub mod quality;
mod rules;
mod searching;
mod skips;
mod source;
mod uploads;
mod watching;

pub use lookalike_autoencoder as autoencoder;
pub use lookalike_eval as eval;
pub use lookalike_gallery as gallery;
pub use lookalike_images as images;
pub use lookalike_kernels as kernels;
pub use lookalike_neighbours as neighbours;
pub use lookalike_sources as sources;

pub use assess::{
    HogScores, SelfAssessment, SimpleScores, assess, assess_baselines, assess_histogram,
    assess_hog, assess_pixels, assess_self, assess_simple, copying, pixel_vectors,
};
pub use catalogue::{SourceCount, forget_source, known_source, move_source, sources_in};
pub use copying::{CopyOptions, CopyProgress, CopySummary, copy_gallery, open_copy};
pub use error::Error;
pub use indexing::{
    IndexOptions, IndexProgress, IndexSummary, MAX_DIFFUSED, THUMBNAIL, decode_target, index,
    index_source,
};
pub use judging::compare;
pub use opening::{create_gallery, default_metric, model_of, open_gallery, open_or_create_gallery};
pub use originals::{Originals, reduced};
pub use presence::{Identity, Presence, Presences};
pub use rules::{AskedRules, ReadingRules, reading_of};
pub use searching::{Question, Searcher, already_in_gallery};
pub use skips::Skips;
pub use source::{
    DEFAULT_SIDE, LOOKED_AT, PADDING, Query, Reading, Source, label_from, open_queries, open_source,
};
pub use uploads::{Stored, UPLOADS, Upload, Uploads};
pub use watching::Watch;
