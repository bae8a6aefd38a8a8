//! What the networks compute.
//!
//! Activations are `[batch, height * width * channels]`, channels last; a network's parameters are
//! one flat list, in the plan's order. On the CPU a whole training step is one operation of
//! `lookalike-kernels` ([`cpu`]). On every other device the network is made layer by layer of
//! Burn's own differentiable operations (`burn`, a Cargo feature, because it costs more to build
//! than all the rest of this crate).

#[cfg(feature = "burn")]
pub(crate) mod burn;
pub(crate) mod cpu;

/// Added to the variance under the root, as everywhere.
pub(crate) const EPSILON: f32 = 1e-5;

/// Share of each batch in the running statistics of batch norm.
pub(crate) const MOMENTUM: f32 = 0.1;

#[cfg(test)]
mod tests;
