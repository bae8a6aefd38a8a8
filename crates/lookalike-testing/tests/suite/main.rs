//! The server that stands for Qdrant, and the proxy, as their users see them.
//!
//! One program, because each would be linked with all of the project.

mod collections;
mod common;
mod points;
mod proxy;
mod search;
