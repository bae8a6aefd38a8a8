//! Exact neighbours, the k-nearest-neighbour graph, and ranking by diffusion on it.
//!
//! Everything works on plain slices of `f32` and knows nothing of images, networks or files.
//!
//! - [`Codes`] is a matrix of vectors, [`Metric`] says how far apart two of them are.
//! - [`nearest`] and [`nearest_others`] give exact neighbours by blocked matrix products or, where
//!   many are asked for, by [`Quantised`]; [`Exact`] does so for who asks in parts;
//!   [`map_distances`] hands out whole rows of distances for measures over complete rankings.
//! - [`Cells`] gives nearly all neighbours of very many codes, in far less time.
//! - [`Quantised`] keeps leading coordinates of codes in 8 bits and finds candidates among which
//!   the exact neighbours are, one query at a time, at a fraction of the cost.
//! - [`KnnGraph`] joins every code to its nearest, and [`map_diffused`] ranks along that graph.
//! - [`DiffusionRows`] is the same ranking computed ahead for every code, so that a query costs
//!   a merge of a few short rows.
//! - [`Communities`] divides codes into groups by how they hang together; [`farthest_first`]
//!   chooses
//!   a few that cover all.
//! - [`examples`] says what to search with for what is like some codes and unlike others.
//! - [`Pca`] finds the directions in which codes vary most, [`spectral_embedding`] the slowest
//!   waves of the neighbour graph, which tell its clusters apart; [`align`] turns one embedding to
//!   another.
//!
//! ```
//! use lookalike_neighbours::{Codes, Metric, nearest, nearest_others};
//!
//! let data = [0.0, 0.0, 1.0, 0.0, 5.0, 5.0];
//! let gallery = Codes::new(&data, 2)?;
//! let answers = nearest(gallery, Codes::new(&[0.9, 0.0], 2)?, Metric::Euclidean, 2);
//! assert_eq!((answers[0][0].index, answers[0][1].index), (1, 0));
//!
//! let others = nearest_others(gallery, Metric::Euclidean, 1);
//! assert_eq!(others[0][0].index, 1);
//! # Ok::<(), lookalike_neighbours::CodesError>(())
//! ```

mod cells;
mod codes;
mod communities;
mod cover;
mod diffusion;
mod eigen;
mod exact;
pub mod examples;
mod graph;
mod matrix;
mod metric;
mod offline;
mod pairwise;
mod pca;
mod quantised;
mod screen;
mod shortlist;
mod spectral;

pub use cells::Cells;
pub use codes::{Codes, CodesError};
pub use communities::Communities;
pub use cover::{central, farthest_first};
pub use diffusion::{DiffusionConfig, map_diffused};
pub use exact::{Exact, Neighbour, map_distances, nearest, nearest_others};
pub use graph::{GraphError, GraphParts, KnnGraph};
pub use metric::{Metric, MetricError};
pub use offline::DiffusionRows;
pub use pca::Pca;
pub use quantised::Quantised;
pub use spectral::{SpectralConfig, align, spectral_embedding};
