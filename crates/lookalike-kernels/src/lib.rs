//! Convolutions and friends on slices of `f32`: SIMD and threads, nothing else.
//!
//! This is the hot path of training and encoding on the CPU. It knows no tensors, no autodiff and no
//! images: a caller brings slices and sizes and gets slices filled. Start at [`Convolution`]; call
//! [`set_threads`] once before.
//!
//! ```
//! use lookalike_kernels::{Convolution, Padding, conv_forward};
//!
//! let layer = Convolution {
//!     height: 28, width: 28, in_channels: 1, out_channels: 32,
//!     stride: 1, padding: Padding::same(), upsample: false, relu: true,
//! };
//! let (images, weight) = (vec![0.5; layer.input_len(2)], vec![0.1; layer.weight_len()]);
//! let mut y = vec![0.0; layer.output_len(2)];
//! conv_forward(&layer, 2, &images, &weight, None, &mut y);
//! assert!((y[29 * 32] - 9.0 * 0.5 * 0.1).abs() < 1e-6);
//! ```
//!
//! # Layout
//!
//! Activations are (batch, height, width, channels), weights of convolutions (out, in, 3, 3), of linear
//! layers (inputs, outputs); all contiguous. Channels last, because then the three taps of a kernel
//! row are 3·channels consecutive floats, and because a pixel's output channels fill vectors. Weights
//! are packed by each call: they are small (at most 0.3 MiB in these networks) against the batch.
//!
//! # Two primitives
//!
//! All layers with weights come down to two loops, each written once over a vector type:
//!
//! * `correlate`: output pixel = window · matrix. Forward passes, gradients of inputs, linear layers.
//! * `outer`: sum over pixels of window ⊗ vector. Gradients of weights.
//!
//! `taps` says which windows: a convolution of stride 2 has a gradient that splits into four phases
//! of 1, 2, 2 and 4 taps, and a convolution after nearest-neighbour upsampling *is* four convolutions
//! of 2x2 taps over the small image, so that it takes 4 multiply-adds for 9 and never makes the large
//! image. Its gradients take 16 for 36.
//!
//! An image is copied once into a frame of zeros as large as its windows reach (the ReLU's mask of dy
//! is applied on the way), so no inner loop knows borders. For AVX-512 a tile is 14 pixels (or 14 floats
//! of the window) by 2 vectors: 28 sums in registers, 28 multiply-adds for 16 loads. Per multiply-add of
//! 16 lanes that is 0.6 loads, so registers and not the caches set the pace: weights come from the
//! second cache at 128 bytes per 28 multiply-adds.
//!
//! # Instruction sets
//!
//! [`InstructionSet`]: AVX-512, AVX2 with FMA, NEON, or plain Rust; found out once, at the first call.
//! Loops over single elements (pooling, normalisation, losses, Adam) are plain Rust that is compiled
//! once per set. Results differ between sets by rounding.
//!
//! # Precision
//!
//! [`Network::in_precision`], [`conv_forward_in`] and its like take a [`Precision`]: with [`Precision::Bf16`]
//! the factors of all products are rounded to bf16 after the copy into the frames, and added up in `f32` as
//! ever. AVX512-BF16 does two multiply-adds in one ([`has_bf16`]); elsewhere the same sums take twice the
//! instructions. All that lies between products stays `f32`: outputs, batch norm, pooling, losses, Adam and
//! the weights that it changes. The module `half` has the layouts.
//!
//! # Threads
//!
//! Work is split by image or by piece in rayon's current pool. Sums over a batch are made in a fixed
//! number of parts that are added up in order, so a result has the same bits on any number of threads.
//! Working memory belongs to the threads and is used again, so that a step allocates nothing once warm.
//!
//! # Arithmetic
//!
//! Per image: MFLOP of the plain definition and those really done (forward; each gradient takes as
//! many); KB that the forward pass must at least move if nothing stays in a cache; then the rate of the
//! work done, in GFLOP/s on one core of a Zen 4 whose multiply-add peak measures 118 (AVX-512, batch
//! 32, `examples/layers.rs`; dx is the time of both gradients less that of dw). Framing, the ReLU's mask
//! and the bias's gradient are part of the times.
//!
//! | layer | MFLOP | done | KB | forward | dx | dw | bound by |
//! |---|---|---|---|---|---|---|---|
//! | 28x28, 1 → 32 | 0.45 | 0.45 | 104 | 86 | | 51 | memory: 4 FLOP a byte |
//! | 28x28 /2, 1 → 32 | 0.11 | 0.11 | 28 | 79 | | 48 | memory: 4 FLOP a byte |
//! | 14x14, 32 → 32 | 3.61 | 3.61 | 50 | 111 | 102 | 106 | multiply-adds |
//! | 7x7, 32 → 32 | 0.90 | 0.90 | 13 | 104 | 110 | 97 | multiply-adds |
//! | 7x7 up, 32 → 32 | 3.61 | 1.61 | 31 | 105 | 110 | 90 | multiply-adds |
//! | 14x14 up, 32 → 1 | 0.45 | 0.20 | 28 | 43 | 98 | 72 | 8 multiply-adds a sum of lanes |
//! | 14x14 /2, 32 → 64 | 1.81 | 1.81 | 38 | 102 | 108 | 100 | multiply-adds |
//! | 7x7 /2, 64 → 128 | 2.36 | 2.36 | 21 | 89 | 130 | 87 | multiply-adds, packing the weights |
//! | 7x7 up, 64 → 32 | 7.23 | 3.21 | 38 | 106 | 107 | 95 | multiply-adds |
//! | 14x14 up, 32 → 16 | 7.23 | 3.21 | 75 | 111 | 111 | 102 | multiply-adds |
//! | 14x14 up, 16 → 1 | 0.23 | 0.10 | 16 | 35 | 100 | 65 | 4 multiply-adds a sum of lanes |
//!
//! (130 passes the peak because the plain definition counts the taps that fall on the padding, and the
//! gradient's phases leave some of them out.) At batch 128 the first layers' outputs no longer fit the
//! last cache, and the gradient of the first weight, which reads y and dy once and nothing else of any
//! size, falls to half: 200 KB an image at the speed of the memory.
//!
//! # Unsafe code
//!
//! It is in the vector types (`arch`), in the two primitives and their forms in `half`, whose entrances
//! check every length before a pointer is made, in the working memory's alignment and its use for bf16, and
//! in setting the control register.

// A kernel's arguments are its operands and their sizes: a struct per call would only repeat them.
#![allow(clippy::too_many_arguments)]

mod adam;
mod arch;
mod convolution;
mod correlate;
mod dispatch;
mod filters;
mod frame;
mod half;
mod linear;
mod loss;
mod network;
mod outer;
mod pool;
mod precision;
mod scratch;
mod taps;
#[cfg(test)]
mod tests;
mod threads;
mod vector;
mod weight_gradient;

pub use adam::{AdamStep, adam};
pub use convolution::{
    Convolution, Padding, conv_backward, conv_backward_in, conv_forward, conv_forward_in,
};
pub use dispatch::InstructionSet;
pub use linear::{linear_backward, linear_backward_in, linear_forward, linear_forward_in};
pub use loss::{Loss, sigmoid, sigmoid_loss};
pub use network::{BatchNorm, Example, Gradient, Input, Layer, Network, Workspace};
pub use precision::{Precision, has_bf16};
pub use threads::{flush_denormals, set_threads};
