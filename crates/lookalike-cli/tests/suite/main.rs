//! The program, as its users see it.
//!
//! One program, because each would be linked with all of the project.

mod check;
mod cluster;
mod collections;
mod common;
mod copies;
mod deploy;
mod distortions;
mod encoders;
mod findings;
mod groups;
mod kills;
mod named;
mod program;
mod serve_docs;
mod serving;
mod tiles;
