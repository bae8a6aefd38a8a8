use super::{numbers, with_threads};
use crate::frame::{Frame, Load};
use crate::loss;
use crate::pool::pool_rows;
use crate::*;
use proptest::prelude::*;
use proptest::sample::select;

fn sigmoid_loss(kind: Loss, logits: &[f32], targets: &[f32], grad: &mut [f32]) -> f64 {
    loss::loss(InstructionSet::in_use(), kind, logits, targets, grad)
}

const LOSSES: [Loss; 3] = [
    Loss::MeanSquaredError,
    Loss::BinaryCrossEntropy,
    Loss::LinearSquaredError,
];

fn close(got: f32, want: f64, tolerance: f64) -> bool {
    (f64::from(got) - want).abs() <= tolerance * (1.0 + want.abs())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pooling_takes_the_largest_and_gives_it_the_gradient(
        (height, width, channels, batch) in (1usize..20, 1usize..20, 1usize..70, 1usize..4),
        seed in 0u64..1000,
        set in select(InstructionSet::available()),
    ) {
        // Few different values, so that there are ties.
        let x: Vec<f32> = numbers(seed, batch * height * width * channels).iter().map(|x| (x * 4.0).round()).collect();
        let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
        let small = batch * rows * columns * channels;
        let (mut y, mut choice) = (vec![f32::NAN; small], vec![9; small]);
        let dy = numbers(seed + 1, small);
        let mut dx = vec![f32::NAN; x.len()];
        let frame = Frame::new(height, width, channels, None);
        let images = x.chunks_exact(frame.len()).zip(dx.chunks_exact_mut(frame.len()));
        let len = rows * columns * channels;
        for (image, (x, dx)) in images.enumerate() {
            let range = image * len..(image + 1) * len;
            let (y, choice) = (&mut y[range.clone()], &mut choice[range.clone()]);
            pool_rows(set, height, width, channels, x, y, choice);
            let slopes = &dy[range];
            frame.put(set, &Load::Unpooled { slopes, outputs: y, choice, relu: false, rows: height }, dx);
        }
        let mut want = vec![0.0; x.len()];
        for (at, &y) in y.iter().enumerate() {
            let (pixel, c) = (at / channels, at % channels);
            let (image, row, column) = (pixel / (rows * columns), pixel / columns % rows, pixel % columns);
            let window = (0..4)
                .map(|k| (2 * row + k / 2, 2 * column + k % 2))
                .filter(|&(row, column)| row < height && column < width)
                .map(|(row, column)| ((image * height + row) * width + column) * channels + c);
            // `max_by` gives the last of equals, and the first is wanted.
            let best = window.rev().max_by(|&a, &b| x[a].partial_cmp(&x[b]).expect("no NaN")).expect("a window is never empty");
            prop_assert_eq!(y, x[best]);
            want[best] = dy[at];
        }
        prop_assert_eq!(dx, want);
    }

    #[test]
    fn losses_and_their_gradients_agree_with_the_definition(
        logits in proptest::collection::vec(-120.0f32..120.0, 1..300),
        narrow in any::<bool>(),
        seed in 0u64..1000,
        set in select(InstructionSet::available()),
    ) {
        let logits: Vec<f32> = logits.iter().map(|x| if narrow { x / 20.0 } else { *x }).collect();
        let targets: Vec<f32> = numbers(seed, logits.len()).iter().map(|t| t.abs()).collect();
        let count = logits.len() as f64;
        let mut grad = vec![f32::NAN; logits.len()];
        let mut out = grad.clone();
        loss::activate(set, &logits, &mut out);
        for kind in LOSSES {
            let got = loss::loss(set, kind, &logits, &targets, &mut grad);
            let mut want = 0.0;
            for ((&x, &t), (&slope, &out)) in logits.iter().zip(&targets).zip(grad.iter().zip(&out)) {
                let (x, t) = (f64::from(x), f64::from(t));
                let s = 1.0 / (1.0 + (-x).exp());
                prop_assert!((f64::from(out) - s).abs() <= 3e-7 * s + 1e-37);
                let (loss, gradient) = match kind {
                    Loss::MeanSquaredError => ((s - t).powi(2), 2.0 * (s - t) * s * (1.0 / (1.0 + x.exp()))),
                    Loss::BinaryCrossEntropy => (x.max(0.0) - x * t + (-x.abs()).exp().ln_1p(), s - t),
                    Loss::LinearSquaredError => ((x - t).powi(2), 2.0 * (x - t)),
                };
                want += loss / count;
                let tolerance = 1e-6 * (1.0 + gradient.abs());
                prop_assert!((f64::from(slope) * count - gradient).abs() < tolerance, "{kind:?} at {x}: {slope}");
            }
            prop_assert!((got - want).abs() <= 2e-6 * want + 1e-9, "{kind:?}: {got} for {want}");
        }
    }
}

#[test]
fn the_losses_slope_is_their_finite_difference() {
    let (logits, targets) = (
        numbers(1, 40),
        numbers(2, 40).iter().map(|t| t.abs()).collect::<Vec<_>>(),
    );
    for kind in LOSSES {
        let mut grad = vec![0.0; 40];
        sigmoid_loss(kind, &logits, &targets, &mut grad);
        for at in 0..40 {
            let at_step = |step: f32| {
                let mut nudged = logits.clone();
                nudged[at] += step;
                sigmoid_loss(kind, &nudged, &targets, &mut [0.0; 40])
            };
            let slope = (at_step(0.0625) - at_step(-0.0625)) / 0.125;
            assert!(
                (slope - f64::from(grad[at])).abs() < 3e-5,
                "{kind:?}: {slope} for {}",
                grad[at]
            );
        }
    }
}

#[test]
fn saturated_logits_give_finite_losses() {
    let mut grad = [f32::NAN; 4];
    let loss = sigmoid_loss(
        Loss::BinaryCrossEntropy,
        &[1e30, -1e30, 500.0, -500.0],
        &[1.0, 0.0, 0.0, 1.0],
        &mut grad,
    );
    assert_eq!(loss, 250.0);
    let want = [0.0, 0.0, 0.25, -0.25];
    assert!(
        grad.iter()
            .zip(want)
            .all(|(got, want)| close(*got, want, 1e-37)),
        "{grad:?}"
    );
}

#[test]
fn adam_agrees_with_its_definition_over_many_steps() {
    let len = 20_000;
    let mut parameter = numbers(1, len);
    let (mut first, mut second) = (vec![0.0; len], vec![0.0; len]);
    let mut want: Vec<[f64; 3]> = parameter.iter().map(|&p| [p.into(), 0.0, 0.0]).collect();
    let (rate, beta1, beta2, epsilon, decay) = (1e-2f32, 0.9f32, 0.999f32, 1e-8f32, 0.1f32);
    let [r, b1, b2, e, d] = [rate, beta1, beta2, epsilon, decay].map(f64::from);
    for step in 1..=20u32 {
        let gradient = numbers(step.into(), len);
        let s = AdamStep {
            learning_rate: rate,
            beta1,
            beta2,
            epsilon,
            weight_decay: decay,
            step,
        };
        adam(&s, &mut parameter, &gradient, &mut first, &mut second);
        for ([p, m, v], &g) in want.iter_mut().zip(&gradient) {
            let g = f64::from(g);
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            let (m, v) = (
                *m / (1.0 - b1.powf(step.into())),
                *v / (1.0 - b2.powf(step.into())),
            );
            *p -= r * d * *p + r * m / (v.sqrt() + e);
        }
    }
    for (got, [want, ..]) in parameter.iter().zip(&want) {
        assert!(close(*got, *want, 3e-6), "{got} for {want}");
    }
}

#[test]
fn the_same_bits_on_one_thread_and_on_two() {
    let logits = numbers(1, 120_000);
    let targets: Vec<f32> = numbers(2, logits.len()).iter().map(|t| t.abs()).collect();
    let run = || {
        let mut grad = vec![0.0; logits.len()];
        let loss = sigmoid_loss(Loss::BinaryCrossEntropy, &logits, &targets, &mut grad);
        (loss, grad)
    };
    assert!(with_threads(1, run) == with_threads(2, run));
}
