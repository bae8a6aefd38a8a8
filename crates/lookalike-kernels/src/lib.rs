//! Convolutions and friends on slices of `f32`: SIMD and threads, nothing else.
//!
//! This is the hot path of training and encoding on the CPU. It knows no tensors, no autodiff and
//! no images: a caller brings slices and sizes and gets slices filled. Start at [`Convolution`];
//! call [`set_threads`] once before.
//!
//! ```
//! use lookalike_kernels::{Convolution, Padding, Precision, conv_forward};
//!
//! let layer = Convolution {
//!     height: 28, width: 28, in_channels: 1, out_channels: 32,
//!     stride: 1, padding: Padding::same(), upsample: false, relu: true,
//! };
//! let (images, weight) = (vec![0.5; layer.input_len(2)], vec![0.1; layer.weight_len()]);
//! let mut y = vec![0.0; layer.output_len(2)];
//! conv_forward(Precision::F32, &layer, 2, &images, &weight, None, &mut y);
//! assert!((y[29 * 32] - 9.0 * 0.5 * 0.1).abs() < 1e-6);
//! ```
//!
//! # Layout
//!
//! Activations are (batch, height, width, channels), weights of convolutions (out, in, 3, 3), of
//! linear layers (inputs, outputs); all contiguous. Channels last, because then the three taps of a
//! kernel row are 3·channels consecutive floats, and because a pixel's output channels fill
//! vectors. Weights are packed by each call: they are small (at most 0.3 MiB in these networks)
//! against the batch.
//!
//! # Two primitives
//!
//! All layers with weights come down to two loops, each written once over the instruction set and
//! over what is multiplied (`factors`: floats, or pairs of bf16):
//!
//! * `correlate`: output pixel = window · matrix. Forward passes, gradients of inputs, linear
//!   layers.
//! * `outer`: sum over pixels of window ⊗ vector. Gradients of weights.
//!
//! `taps` says which windows: a convolution of stride 2 has a gradient that splits into four phases
//! of 1, 2, 2 and 4 taps; and a convolution after nearest-neighbour upsampling comes down to the
//! gradient of one with stride 2, whose neighbouring outputs are then added: 9 multiply-adds for
//! 36, for its gradients too, and the large input is never made.
//!
//! An image is copied once into a frame of zeros as large as its windows reach, so no inner loop
//! knows borders. For AVX-512 a tile is 14 pixels (or 14 floats of the window) by 2 vectors: 28
//! sums in registers, 28 multiply-adds for 16 loads; for AVX2, 6 by 2, 12 for 8. Per multiply-add
//! that is 0.6 to 0.7 loads where processors do 1 and more, so registers and not the caches set the
//! pace.
//!
//! # Whole networks
//!
//! [`Network`] runs layers in a row. What stands between convolutions (bias, ReLU, pooling, batch
//! norm, the loss) is done in the copies that convolutions make anyway, so that it costs no pass
//! over memory of its own, and a few images go through as many layers as they can while they are in
//! the cache. Its module has the details.
//!
//! # Instruction sets
//!
//! [`InstructionSet`]: AVX-512, AVX2 with FMA, NEON, or plain Rust; found out once, at the first
//! call. Loops over single elements (pooling, normalisation, losses, Adam) are plain Rust that is
//! compiled once per set. Results differ between sets by rounding.
//!
//! # Precision
//!
//! [`Network::in_precision`], [`conv_forward`] and its like take a [`Precision`]: with
//! [`Precision::Bf16`] the factors of all products are rounded to bf16 after the copy into the
//! frames; their sums are `f32`. AVX512-BF16 does two multiply-adds in one ([`has_bf16`]);
//! elsewhere the same sums take twice the instructions. All that lies between products stays `f32`:
//! outputs, batch norm, pooling, losses, Adam and the weights that it changes. The module `factors`
//! has the layouts.
//!
//! # Threads
//!
//! Networks run in a pool of our own ([`in_pool`]), whose workers flush denormals; single layers in
//! rayon's current pool. Work is split by image or by piece. Sums over a batch are made in a fixed
//! number of parts that are added up in order, so a result has the same bits on any number of
//! threads. Working memory belongs to the [`Workspace`] and to the threads and is used again: a
//! step allocates nothing once warm (`tests/allocations.rs`).
//!
//! # Arithmetic
//!
//! Per image: MFLOP of the plain definition and those really done (forward; each gradient takes
//! about as many); KB that the forward pass must at least move if nothing stays in a cache; then
//! the rate of the work done as a share of the core's multiply-add peak, on a Zen 3 with AVX2 (104
//! GFLOP/s), one thread, `examples/layers.rs`, batch 64. dx is the time of both gradients less that
//! of dw. Framing, the ReLU's mask, the boxes of upsampling and the bias's gradient are part of the
//! times.
//!
//! | layer | MFLOP | done | KB | forward | dx | dw | bound by |
//! |---|---|---|---|---|---|---|---|
//! | 28x28, 1 → 32 | 0.45 | 0.45 | 104 | 56 | | 32 | 9 multiply-adds a sum; memory |
//! | 28x28 /2, 1 → 32 | 0.11 | 0.11 | 28 | 55 | | 36 | the same |
//! | 14x14, 32 → 32 | 3.61 | 3.61 | 50 | 94 | 90 | 83 | multiply-adds |
//! | 7x7, 32 → 32 | 0.90 | 0.90 | 13 | 90 | 93 | 84 | multiply-adds |
//! | 7x7 up, 32 → 32 | 3.61 | 1.08 | 31 | 79 | 90 | 69 | multiply-adds, boxes |
//! | 14x14 up, 32 → 1 | 0.45 | 0.12 | 28 | 18 | 60 | 26 | 8 multiply-adds a sum of lanes |
//! | 14x14 /2, 32 → 64 | 1.81 | 1.81 | 38 | 88 | 82 | 80 | multiply-adds |
//! | 7x7 /2, 64 → 128 | 2.36 | 2.36 | 21 | 82 | 114 | 63 | the second cache, in dw |
//! | 4x4 up, 128 → 64 | 7.23 | 2.36 | 21 | 82 | 114 | 80 | multiply-adds |
//! | 7x7 up, 64 → 32 | 7.23 | 2.17 | 38 | 84 | 86 | 73 | multiply-adds, boxes |
//! | 14x14 up, 32 → 16 | 7.23 | 1.98 | 75 | 74 | 81 | 65 | boxes of 50 KB |
//! | 28x28, 16 → 1 | 0.23 | 0.23 | 53 | 38 | 53 | 21 | 4 multiply-adds a sum of lanes |
//! | linear, 2048 → 64 | 0.26 | 0.26 | 8 | 78 | 49 | 66 | 512 KB of weights, the second cache |
//!
//! (A share beyond 100 comes of the plain definition, which counts the taps that fall on the
//! padding; the gradient's phases leave some of them out. Done is counted forward, after upsampling
//! on a grid that is one longer than the output.)
//!
//! The first layers read and write 104 KB for 0.45 MFLOP, 4 FLOP a byte: alone they run at the
//! speed of the memory as soon as a batch no longer fits the last cache. In a network their output
//! is pooled in the first cache and never written, and what is left is that a sum has only 9
//! products, so that bias, ReLU and stores weigh a third. Layers with one output channel add up
//! lanes every 4 or 8 multiply-adds; together they are 3% of a step's work. After upsampling the
//! products are a quarter of the plain ones, and then adding up the boxes, a pass over the large
//! image, weighs up to a quarter.
//!
//! A whole step of the default network (34 MFLOP done an image, of 80 by the plain definition)
//! spends 75% of its time in the two primitives, at 70% of the cores' peak; 12% in the copies into
//! frames and the boxes, batch norm among them; 2.5% in the sums of batch norm; 1.6% in distortions
//! (`perf`, Zen 3, two threads, both fully busy).
//!
//! # Unsafe code
//!
//! It is in the vector types (`arch`, `factors`), in the two primitives, whose entrances check
//! every length before a pointer is made, in the working memory's alignment and its use for bf16,
//! in setting the control register, and in the buffers that a network's threads share
//! (`network::plane`): each takes the rows of its own images.

// A kernel's arguments are its operands and their sizes: a struct per call would only repeat them.
#![allow(clippy::too_many_arguments)]

mod adam;
mod arch;
mod convolution;
mod correlate;
mod dispatch;
mod factors;
mod filters;
mod frame;
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
pub use convolution::{Convolution, Padding, conv_backward, conv_forward};
pub use dispatch::InstructionSet;
pub use linear::{linear_backward, linear_forward};
pub use loss::{Loss, sigmoid};
pub use network::{BatchNorm, Example, Gradient, Input, Layer, Network, Workspace};
pub use precision::{Precision, bf16_pays, has_bf16};
pub use threads::{FlushedDenormals, in_pool, pool, set_threads};
