//! Once warm, a training step and an encoding allocate nothing, on any thread.

use lookalike_kernels::{
    AdamStep, BatchNorm, Convolution, Example, Gradient, Input, Layer, Loss, Network, Padding,
    Workspace, adam, in_pool,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn convolution(
    side: usize,
    channels: (usize, usize),
    stride: usize,
    upsample: bool,
) -> Convolution {
    Convolution {
        height: side,
        width: side,
        in_channels: channels.0,
        out_channels: channels.1,
        stride,
        padding: Padding::same(),
        upsample,
        relu: true,
    }
}

/// A layer of every kind; gives the number of parameters too.
fn layers() -> (Vec<Layer>, usize) {
    let mut end = 0;
    let mut take = |len: usize| {
        end += len;
        end - len
    };
    let mut layers = Vec::new();
    let plain = |c: Convolution, take: &mut dyn FnMut(usize) -> usize| Layer::Convolution {
        geometry: c,
        weight: take(c.weight_len()),
        bias: Some(take(c.out_channels)),
        norm: None,
    };
    layers.push(plain(convolution(16, (1, 8), 1, false), &mut take));
    layers.push(Layer::MaxPool);
    let second = convolution(8, (8, 12), 2, false);
    layers.push(Layer::Convolution {
        geometry: second,
        weight: take(second.weight_len()),
        bias: None,
        norm: Some(BatchNorm {
            gamma: take(12),
            beta: take(12),
            statistics: 0,
            epsilon: 1e-5,
            relu: true,
        }),
    });
    for (inputs, outputs) in [(192, 10), (10, 192)] {
        layers.push(Layer::Linear {
            inputs,
            outputs,
            weight: take(inputs * outputs),
            bias: take(outputs),
            relu: true,
        });
    }
    layers.push(plain(convolution(4, (12, 6), 1, true), &mut take));
    let mut last = convolution(8, (6, 1), 1, true);
    last.relu = false;
    layers.push(plain(last, &mut take));
    (layers, end)
}

/// The fewest allocations of several runs: rayon's queues are themselves allowed a new block now
/// and then.
fn fewest(mut work: impl FnMut()) -> usize {
    (0..20)
        .map(|_| {
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            work();
            ALLOCATIONS.load(Ordering::SeqCst) - before
        })
        .min()
        .expect("twenty runs")
}

#[test]
fn a_warm_step_allocates_nothing() {
    let (layers, parameter_len) = layers();
    let batch = 24;
    let mut parameters = vec![0.01; parameter_len];
    let (mut first, mut second) = (parameters.clone(), parameters.clone());
    let mut gradient = parameters.clone();
    let (mut means, mut variances) = (vec![0.0; 12], vec![0.0; 12]);
    let inputs = vec![0.5; batch * 256];
    let mut network = Network::new(&layers, true);
    let mut workspace = Workspace::new(&network);
    let mut step = || {
        network.load(&parameters);
        let example = Example {
            inputs: &inputs,
            targets: &inputs,
            loss: Loss::BinaryCrossEntropy,
            noise: &[],
            divergence_weight: 0.0,
        };
        let mut to = Gradient {
            parameters: &mut gradient,
            means: &mut means,
            variances: &mut variances,
        };
        let loss = network.gradient(&mut workspace, batch, &example, &mut to);
        assert!(loss.is_finite());
        let adam_step = AdamStep {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            step: 1,
        };
        adam(
            &adam_step,
            &mut parameters,
            &gradient,
            &mut first,
            &mut second,
        );
    };
    // On a thread of the pool, as everything but the first call of a program is.
    in_pool(|| {
        (0..50).for_each(|_| step());
        assert_eq!(fewest(&mut step), 0, "a training step");
    });

    let encoder: Vec<Layer> = layers[..2].to_vec();
    let mut network = Network::new(&encoder, false);
    network.load(&parameters);
    let mut workspace = Workspace::new(&network);
    let bytes = vec![7u8; batch * 256];
    let mut codes = vec![0.0; batch * network.output_len()];
    let mut encode = || network.forward(&mut workspace, batch, Input::Bytes(&bytes), &mut codes);
    in_pool(|| {
        (0..50).for_each(|_| encode());
        assert_eq!(fewest(&mut encode), 0, "an encoding");
    });
}
