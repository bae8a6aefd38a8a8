//! Keeping and searching codes.
//!
//! A [`Gallery`] holds [`Point`]s (a code and what is known about its image) and answers
//! [`SearchRequest`]s. [`EmbeddedGallery`] is one in a folder of this machine, with the Qdrant
//! engine inside; [`ClusterGallery`] is one on a Qdrant cluster. Both answer alike.
//!
//! ```
//! use lookalike_gallery::{
//!     CodeSpec, EmbeddedGallery, Gallery, GalleryOptions, Payload, Point, SearchRequest,
//! };
//! use lookalike_neighbours::Metric;
//!
//! let folder = tempfile::tempdir()?;
//! let codes = CodeSpec::new(Metric::Cosine, 2, b"the model");
//! let path = folder.path().join("digits.gallery");
//! let gallery = EmbeddedGallery::create(path, &codes, &GalleryOptions::new())?;
//! let image = |key: &str, code| {
//!     let payload = Payload { source: "digits".into(), key: key.into(), ..Payload::default() };
//!     Point::new(code, payload)
//! };
//! gallery.upsert(&[image("seven", vec![1.0, 0.0]), image("one", vec![0.9, 0.1]), image("eight",
//! vec![0.0, 1.0])])?;
//!
//! let answer = gallery.search(&SearchRequest::new(vec![1.0, 0.01], 2))?;
//! let keys: Vec<_> = answer.neighbours.iter().map(|hit| hit.payload.key.as_str()).collect();
//! assert_eq!(keys, ["seven", "one"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What can be asked
//!
//! - [`search`](Gallery::search): the points nearest to a code, exactly or by the index, those that
//!   pass a [`Filter`], in the order of distances or of diffusion, or [chosen to differ](Mmr).
//! - [`recommend`](Gallery::recommend): the points that are like some examples and unlike others.
//! - [`with_content`](Gallery::with_content) and [`stubs`](Gallery::stubs): which contents are
//!   there, and what a source has, without comparing codes. Contents and sources are indexed.
//! - [`facets`](Gallery::facets): how often each value of a field is there.
//! - [`thumbnail`](Gallery::thumbnail): a small picture of a content, kept beside the points.
//!
//! # What is promised
//!
//! - **Distances** are those of [`Metric::distance`](lookalike_neighbours::Metric::distance),
//!   computed on the codes as they were given, whichever path found the neighbour. Another metric
//!   than the gallery's is answered by comparing with every point, and the [`Answer`] says so.
//! - **Durability**: what [`upsert`](Gallery::upsert) or [`delete`](Gallery::delete) reported done
//!   is on disk. A process killed at any moment leaves a gallery that opens, and storing the same
//!   points again completes it: ids follow from source and key ([`point_id`]), so nothing is
//!   doubled.
//! - **Thumbnails** are on disk when [`put_thumbnails`](Gallery::put_thumbnails) returns, once a
//!   content, and stay as long as a point needs them. They take some 35 bytes of memory each.
//!   Tiles ([`EmbeddedGallery::put_tiles`]) are kept alike.
//! - **One process** at a time has an embedded gallery open; the next gets an error that names it.
//!   Any number may have one on a cluster open, read it and fill it.
//! - **Errors, not panics**: damaged files, full disks and codes that hold NaN give a
//!   [`GalleryError`].
//!
//! # Features
//!
//! `cluster` (default) has [`ClusterGallery`], and with it the crate `qdrant-client`. Addresses and
//! options are there without it.

mod address;
mod answering;
#[cfg(feature = "cluster")]
mod cluster;
mod diversity;
mod embedded;
mod error;
mod facts;
mod filter;
mod gallery;
mod holder;
mod manifest;
mod options;
mod point;
mod recommendation;
mod spec;
mod thumbnail;
mod tiles;

pub use address::ClusterAddress;
#[cfg(feature = "cluster")]
pub use cluster::{ClusterGallery, remove_collection, switch_alias};
pub use diversity::Mmr;
pub use embedded::{EmbeddedGallery, disk_usage};
pub use error::GalleryError;
pub use facts::Facts;
pub use filter::Filter;
pub use gallery::{
    Answer, DiffusionState, Facet, Gallery, GalleryInfo, Hit, Points, Rerank, SearchRequest, Stubs,
    Upserted, model_fingerprint,
};
pub use holder::Holder;
pub use options::{
    ClusterInfo, ClusterOptions, CollectionLayout, IndexKind, PayloadIndex, Quantization, Retries,
};
pub use point::{Payload, Point, Stub, point_id};
pub use recommendation::{Example, RecommendRequest, Strategy};
pub use spec::{CodeSpec, GalleryOptions};
pub use tiles::{MAX_TILES, Rectangle, TileInfo, Tiles};
