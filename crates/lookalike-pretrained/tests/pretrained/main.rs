//! The contract of encoders that others have trained.

mod bad_input;
mod exported;
mod preprocessing;
mod runtimes;
mod support;
mod tiny_clip;
