//! Content-based image retrieval that learns from your own images, without labels.
//!
//! Lookalike trains an autoencoder on a collection, encodes every image, keeps the codes in a
//! gallery and answers an image with its nearest neighbours. This crate is the front door: it joins
//! the workspace's crates into the three steps below; the program `lookalike` (the crate
//! `lookalike-cli`) does the same from the command line, and `lookalike-server` over HTTP.
//!
//! ```
//! use lookalike::autoencoder::{Architecture, DeviceChoice, TrainConfig, train};
//! use lookalike::{
//!     GalleryOptions, IndexOptions, Query, SearchOptions, Searcher, create_gallery, index, open,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("digits.gallery");
//! // Learn an autoencoder from the first 2,000 images. A folder, an archive or a table do as well.
//! let images = open("mnist:test")?.load(None, Some(2000))?;
//! let config = TrainConfig { epochs: 1, ..TrainConfig::new(Architecture::Bottleneck) };
//! let model = train(&images, &config, DeviceChoice::Auto, None, &mut ())?;
//!
//! // Encode all images into a gallery.
//! let gallery = create_gallery(&path, &model, &GalleryOptions::new())?;
//! index(open("mnist:test")?, &model, &*gallery, IndexOptions::default())?;
//!
//! // Ask for the 5 images most like test image 7, itself left out.
//! let searcher = Searcher::new(gallery, Box::new(model));
//! let options = SearchOptions { k: 5, exclude_self: true, ..SearchOptions::default() };
//! let answer = searcher.search(Query::path("mnist:test#7"), &options)?;
//! assert_eq!(answer.neighbours.len(), 5);
//! println!("nearest: {} at {}", answer.neighbours[0].payload.key, answer.neighbours[0].distance);
//! # Ok(())
//! # }
//! ```
//!
//! [`ImageStream::open`] says how images are read; [`index`] also keeps a gallery in step with a
//! source that changes.
//!
//! The parts are usable on their own: [`images`] (decoding, fitting, thumbnails), [`sources`]
//! (where files are), [`autoencoder`] (networks, training, the model file), [`neighbours`]
//! (metrics, exact search, diffusion), [`gallery`] (keeping and searching codes) and [`eval`]
//! (precision, baselines).
//!
//! # Features
//!
//! - `cluster` (default): galleries on Qdrant clusters. Without it, their addresses give an error.
//! - `map` (default): the map of a gallery in the plane.
//! - `cuda`, `vulkan`, `metal`: training and encoding on GPUs.

mod adapted;
mod assess;
mod catalogue;
pub mod check;
#[cfg_attr(not(feature = "cluster"), path = "without_clusters.rs")]
mod clusters;
mod contents;
mod copying;
pub mod duplicates;
mod encoder;
mod error;
pub mod export;
pub mod groups;
mod indexing;
mod judging;
pub mod map;
pub mod named;
mod occlusion;
mod opening;
mod originals;
pub mod outliers;
mod presence;
mod pretrained;
pub mod quality;
mod query;
pub mod report;
mod rules;
pub mod sample;
mod searching;
mod skips;
mod stream;
pub mod suggest;
mod teaching;
mod training;
mod uploads;
mod watching;

pub use lookalike_autoencoder as autoencoder;
pub use lookalike_eval as eval;
pub use lookalike_files as files;
pub use lookalike_gallery as gallery;
pub use lookalike_images as images;
pub use lookalike_kernels as kernels;
pub use lookalike_neighbours as neighbours;
pub use lookalike_sources as sources;

pub use adapted::{
    Adaptation, AdaptedEncoder, CodeKind, Contest, Joined, MAX_ADAPTATION_IMAGES, Pair,
    adaptation_of,
};
pub use assess::{
    AssessOptions, SelfAssessment, SimpleScores, assess, assess_codes, assess_pixels, assess_self,
    assess_simple, copying, pixel_vectors,
};
pub use catalogue::{SourceCount, find_source, forget_source, move_source, sources_in};
pub use clusters::{cluster_info, has_moved, remove_collection, switch_alias};
pub use copying::{CopyOptions, CopySummary, copy_gallery, open_copy};
pub use encoder::{Encoder, load_encoder};
pub use error::Error;
pub use indexing::{
    DEFAULT_THUMBNAIL_SIDE, DEFAULT_TILES, IndexOptions, IndexSummary, MAX_DIFFUSION_POINTS,
    MIN_TILES, decode_target, index,
};
pub use judging::{compare, compare_while};
pub use lookalike_autoencoder::{Phase, Progress};
pub use lookalike_gallery::GalleryOptions;
pub use lookalike_pretrained::{Pool, PretrainedError, PretrainedOptions, Runtime};
pub use occlusion::{Occlusion, occlude};
pub use opening::{
    create_gallery, encoder_of, open_gallery, open_gallery_with, open_or_create_gallery,
};
pub use originals::{Originals, reduced};
pub use presence::{Identity, Presence, Presences};
pub use pretrained::{EncoderFiles, PretrainedEncoder, RUNTIME_VARIABLE};
pub use query::Query;
pub use rules::{ReadingRules, RuleOverrides, reading_of};
pub use searching::{SearchOptions, Searcher, already_in_gallery};
pub use skips::Skips;
pub use stream::{
    DEFAULT_SIDE, Encoded, Follow, INSPECTED_IMAGES, ImageStream, PADDING, QueryImage, Reading,
    label_from, open_queries,
};
pub use teaching::{TeachingObserver, teach, teacher_record};
pub use training::{TrainImages, TrainOptions, augments, most_train_images};
pub use uploads::{Stored, UPLOADS_SOURCE, Upload, Uploads};
pub use watching::Watch;

/// Opens the images of a source of any kind (a folder, an archive, a table, `mnist:train` …), read
/// as is usual; [`ImageStream::open`] says how else.
///
/// # Errors
///
/// When `spec` names nothing that can be opened.
pub fn open(spec: &str) -> Result<ImageStream, Error> {
    ImageStream::open(spec, Reading::default(), Default::default())
}
