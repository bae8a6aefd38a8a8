//! What the networks compute, on two paths that mean the same.
//!
//! Activations are `[batch, height * width * channels]`, channels last; a network's parameters are
//! one flat tensor, in the plan's order. On the CPU ([`Path::Kernels`]) a whole training step is one
//! operation of `lookalike-kernels`, joined to Burn's runtime dispatch as a backend extension with a
//! hand-written backward pass ([`engine`]). On every other device, and as the reference in tests
//! ([`Path::Burn`]), the network is made layer by layer of Burn's own differentiable operations
//! ([`reference`]).

pub(crate) mod engine;
pub(crate) mod reference;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `lookalike-kernels`: tensors of Burn's Flex backend only.
    Kernels,
    /// Burn's own operations: any backend.
    #[cfg_attr(
        not(any(test, feature = "cuda", feature = "vulkan", feature = "metal")),
        expect(dead_code, reason = "a build for the CPU alone needs it in tests only")
    )]
    Burn,
}

/// Added to the variance under the root, as everywhere.
pub(crate) const EPSILON: f32 = 1e-5;

#[cfg(test)]
mod tests;
