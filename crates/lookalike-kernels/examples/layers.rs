//! How fast each layer of the networks runs, beside the core's measured peak.
//!
//! `cargo run --release -p lookalike-kernels --example layers [batch] [bf16]`; `LOOKALIKE_SIMD`
//! picks the instruction set. Rates count the operations of the plain definition (9 taps), so a
//! layer after upsampling, which takes a quarter of them, can pass the peak.
//!
//! With `bf16`, the layers run a second time on factors of bf16, beside the same peak of `f32`:
//! worth a look where the processor multiplies them itself, and slower than `f32` elsewhere.

use lookalike_kernels::{
    Convolution, FlushedDenormals, InstructionSet, Padding, Precision, conv_backward, conv_forward,
    has_bf16, linear_backward, linear_forward,
};
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let bf16 = arguments.iter().any(|argument| argument == "bf16");
    arguments.retain(|argument| argument != "bf16");
    let batch = arguments
        .first()
        .map_or(128, |batch| batch.parse().expect("the batch is a number"));
    let precisions: &[Precision] = match bf16 {
        true => &[Precision::F32, Precision::Bf16],
        false => &[Precision::F32],
    };
    let _flushed = FlushedDenormals::begin();
    println!(
        "instruction set: {}{}, batch {batch}",
        InstructionSet::in_use().name(),
        if has_bf16() { " with bf16" } else { "" }
    );
    for threads in [1, 2] {
        let pool = lookalike_kernels::pool(threads);
        for &precision in precisions {
            pool.install(|| table(threads, batch, precision));
        }
    }
}

fn table(threads: usize, batch: usize, precision: Precision) {
    let peak: f64 = rayon::broadcast(|_| peak()).iter().sum();
    println!("\n{threads} thread(s), {precision:?}, multiply-add peak {peak:.0} GFLOP/s");
    println!(
        "{:<34}{:>10}{:>10}{:>10}   GFLOP/s (of peak)",
        "layer", "forward", "dx", "dw"
    );
    for (name, c) in layers() {
        let x = vec![0.5; c.input_len(batch)];
        let weight = vec![0.01; c.weight_len()];
        let bias = vec![0.0; c.out_channels];
        let mut y = vec![0.0; c.output_len(batch)];
        let dy = y.clone();
        let (mut dx, mut dweight, mut dbias) = (x.clone(), weight.clone(), bias.clone());
        let forward =
            fastest(|| conv_forward(precision, &c, batch, &x, &weight, Some(&bias), &mut y));
        let dw = fastest(|| {
            conv_backward(
                precision,
                &c,
                batch,
                &x,
                &weight,
                &y,
                &dy,
                None,
                &mut dweight,
                Some(&mut dbias),
            )
        });
        let both = fastest(|| {
            conv_backward(
                precision,
                &c,
                batch,
                &x,
                &weight,
                &y,
                &dy,
                Some(&mut dx),
                &mut dweight,
                Some(&mut dbias),
            );
        });
        line(
            &name,
            peak,
            c.flops() as f64 * batch as f64,
            [forward, both - dw, dw],
        );
    }
    for (inputs, outputs) in [(2048, 32), (32, 2048), (1152, 64)] {
        let x = vec![0.5; batch * inputs];
        let w = vec![0.01; inputs * outputs];
        let mut y = vec![0.0; batch * outputs];
        let dy = y.clone();
        let (mut dx, mut dw) = (x.clone(), w.clone());
        let forward = fastest(|| {
            linear_forward(
                precision, batch, inputs, outputs, &x, &w, None, false, &mut y,
            )
        });
        let weights = fastest(|| {
            linear_backward(
                precision, batch, inputs, outputs, &x, &w, &y, false, &dy, None, &mut dw, None,
            );
        });
        let both = fastest(|| {
            linear_backward(
                precision,
                batch,
                inputs,
                outputs,
                &x,
                &w,
                &y,
                false,
                &dy,
                Some(&mut dx),
                &mut dw,
                None,
            );
        });
        let flops = 2.0 * (batch * inputs * outputs) as f64;
        line(
            &format!("linear {inputs} -> {outputs}"),
            peak,
            flops,
            [forward, both - weights, weights],
        );
    }
}

fn line(name: &str, peak: f64, flops: f64, seconds: [f64; 3]) {
    let rates = seconds.map(|seconds| flops / seconds / 1e9);
    let shares = rates.map(|rate| format!("{:.0}%", 100.0 * rate / peak));
    println!(
        "{name:<34}{:>10.1}{:>10.1}{:>10.1}   {}",
        rates[0],
        rates[1],
        rates[2],
        shares.join(" ")
    );
}

fn layers() -> Vec<(String, Convolution)> {
    let layer = |side, in_channels, out_channels, stride, upsample| {
        let c = Convolution {
            height: side,
            width: side,
            in_channels,
            out_channels,
            stride,
            padding: Padding::same(),
            upsample,
            relu: !upsample,
        };
        let kind = if upsample {
            " up"
        } else if stride == 2 {
            " /2"
        } else {
            ""
        };
        (
            format!("conv {side}x{side} {in_channels} -> {out_channels}{kind}"),
            c,
        )
    };
    vec![
        layer(28, 1, 32, 1, false),
        layer(14, 32, 32, 1, false),
        layer(7, 32, 32, 1, false),
        layer(7, 32, 32, 1, true),
        layer(14, 32, 1, 1, true),
        layer(28, 1, 32, 2, false),
        layer(14, 32, 64, 2, false),
        layer(7, 64, 128, 2, false),
        layer(4, 128, 64, 1, true),
        layer(7, 64, 32, 1, true),
        layer(14, 32, 16, 1, true),
        layer(14, 16, 1, 1, true),
        layer(28, 16, 1, 1, false),
        layer(64, 3, 32, 2, false),
    ]
}

/// Seconds of the fastest of several runs.
fn fastest(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let start = Instant::now();
    let mut runs = 0;
    while runs < 10 || start.elapsed().as_millis() < 400 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// GFLOP/s of one thread that does nothing but independent multiply-adds in registers.
fn peak() -> f64 {
    const ROUNDS: usize = 100_000;
    let mut floats = 0;
    let seconds = (0..100)
        .map(|_| {
            let start = Instant::now();
            floats = match InstructionSet::in_use() {
                // SAFETY: a set that is in use is one that this processor has.
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => unsafe { x86::avx512(ROUNDS) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => unsafe { x86::avx2(ROUNDS) },
                _ => plain(ROUNDS),
            };
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    2.0 * (ROUNDS * floats) as f64 / seconds / 1e9
}

/// Returns the multiply-adds in a round.
fn plain(rounds: usize) -> usize {
    let mut sums = black_box([0.0f32; 32]);
    let factor = black_box(0.5f32);
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = *sum * factor + factor;
        }
    }
    black_box(sums).len()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Returns the multiply-adds in a round.
    #[target_feature(enable = "avx512f")]
    pub fn avx512(rounds: usize) -> usize {
        let factor = _mm512_set1_ps(black_box(0.5));
        let mut sums = [_mm512_set1_ps(black_box(1.0)); 16];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums).len() * 16
    }

    /// Returns the multiply-adds in a round.
    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(rounds: usize) -> usize {
        let factor = _mm256_set1_ps(black_box(0.5));
        let mut sums = [_mm256_set1_ps(black_box(1.0)); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums).len() * 8
    }
}
