//! How good are the answers? Retrieval measures, baselines to hold them against, and `.npy` files
//! to check them with other tools.
//!
//! This crate sees only vectors and labels. [`evaluate`] asks with every code and counts an answer
//! as right when its label equals the query's; [`baselines`] does the same with the raw pixels and
//! with their principal components, because a network that is not better than those is not worth
//! its training. [`evaluate_half_whitened`] scores the principal components of any other
//! descriptor. [`self_retrieval`] needs no labels: changed copies of images must find their
//! originals.
//!
//! ```
//! use lookalike_eval::{Labelled, Options, evaluate};
//! use lookalike_neighbours::{Codes, Metric};
//!
//! let data = [0.0, 0.1, 0.2, 5.0, 5.1, 5.2];
//! let codes = Codes::new(&data, 1)?;
//! let labels = ["near", "near", "near", "far", "far", "far"];
//! let gallery = Labelled::new(codes, &labels)?;
//! let scores = evaluate(gallery, None, Metric::Euclidean, &Options::default())?;
//! assert_eq!((scores.precision_at_1, scores.map), (1.0, 1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod baselines;
mod evaluation;
pub mod npy;
mod recall;
mod self_retrieval;

pub use baselines::{Baselines, baselines, evaluate_half_whitened};
pub use evaluation::{EvalError, Labelled, Options, Scores, evaluate, evaluate_rows};
pub use recall::recall;
pub use self_retrieval::{SelfScores, self_retrieval};
