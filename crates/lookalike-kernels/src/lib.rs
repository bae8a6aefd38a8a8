//! Convolutions and friends on slices of f32: SIMD and threads
#![allow(clippy::too_many_arguments)]

mod adam;
mod arch;
mod convolution;
mod dispatch;
mod linear;
mod loss;
mod norm;
mod pool;
mod scratch;
mod threads;
mod vector;

pub use adam::{AdamStep, adam};
pub use convolution::{Convolution, Padding, conv_backward, conv_forward};
pub use dispatch::InstructionSet;
pub use linear::{linear_backward, linear_forward};
pub use loss::{Loss, sigmoid, sigmoid_loss};
pub use norm::{batch_norm_backward, batch_norm_forward, scale_shift};
pub use pool::{max_pool_backward, max_pool_forward};
pub use threads::{flush_denormals, set_threads};
