use super::{Sum, check, factors, numbers, with_threads};
use crate::convolution::{backward, forward};
use crate::precision::Arithmetic;
use crate::{Convolution, Padding, Precision};
use proptest::prelude::*;

/// The input as the 3x3 kernel sees it: doubled if asked, with zeros around it. Gives every pixel
/// of that image with the index of the input pixel it came from.
fn seen(c: &Convolution) -> (usize, Vec<Option<usize>>) {
    let scale = if c.upsample { 2 } else { 1 };
    let width = c.width * scale + c.padding.left + c.padding.right;
    let height = c.height * scale + c.padding.top + c.padding.bottom;
    let mut pixels = vec![None; width * height];
    for row in 0..c.height * scale {
        for column in 0..c.width * scale {
            pixels[(row + c.padding.top) * width + column + c.padding.left] =
                Some(row / scale * c.width + column / scale);
        }
    }
    (width, pixels)
}

/// Calls `each` with the indices in y, x and weight of every product of the definition.
fn products(c: &Convolution, batch: usize, mut each: impl FnMut(usize, usize, usize)) {
    let (width, pixels) = seen(c);
    let (rows, columns) = (c.output_height(), c.output_width());
    for image in 0..batch {
        for pixel in 0..rows * columns {
            let corner = pixel / columns * c.stride * width + pixel % columns * c.stride;
            for k in 0..9 {
                let Some(source) = pixels[corner + k / 3 * width + k % 3] else {
                    continue;
                };
                for o in 0..c.out_channels {
                    for i in 0..c.in_channels {
                        let y = (image * rows * columns + pixel) * c.out_channels + o;
                        let x = (image * c.height * c.width + source) * c.in_channels + i;
                        each(y, x, (o * c.in_channels + i) * 9 + k);
                    }
                }
            }
        }
    }
}

#[derive(Clone)]
pub(super) struct Case {
    pub(super) x: Vec<f32>,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) dy: Vec<f32>,
}

impl Case {
    pub(super) fn new(c: &Convolution, batch: usize, seed: u64) -> Self {
        Self {
            x: numbers(seed, c.input_len(batch)),
            weight: numbers(seed + 1, c.weight_len()),
            bias: numbers(seed + 2, c.out_channels),
            dy: numbers(seed + 3, c.output_len(batch)),
        }
    }

    /// What `forward` should give.
    pub(super) fn output(&self, c: &Convolution, batch: usize) -> Vec<Sum> {
        let mut y = vec![Sum::default(); c.output_len(batch)];
        y.iter_mut()
            .zip(self.bias.iter().cycle())
            .for_each(|(y, &bias)| y.add(bias.into()));
        products(c, batch, |out, input, k| {
            y[out].add(f64::from(self.x[input]) * f64::from(self.weight[k]))
        });
        y.into_iter().map(|y| y.relu(c.relu)).collect()
    }

    pub(super) fn forward(
        &self,
        arithmetic: Arithmetic,
        c: &Convolution,
        batch: usize,
    ) -> Vec<f32> {
        let mut y = vec![f32::NAN; c.output_len(batch)];
        forward(
            arithmetic,
            c,
            batch,
            &self.x,
            &self.weight,
            Some(&self.bias),
            &mut y,
        );
        y
    }

    /// dx, dweight and dbias.
    fn backward(
        &self,
        arithmetic: Arithmetic,
        c: &Convolution,
        batch: usize,
        y: &[f32],
    ) -> [Vec<f32>; 3] {
        let mut dx = vec![f32::NAN; self.x.len()];
        let mut dweight = vec![f32::NAN; self.weight.len()];
        let mut dbias = vec![f32::NAN; self.bias.len()];
        let (x, weight) = (&self.x, &self.weight);
        backward(
            arithmetic,
            c,
            batch,
            x,
            weight,
            y,
            &self.dy,
            Some(&mut dx),
            &mut dweight,
            Some(&mut dbias),
        );
        [dx, dweight, dbias]
    }
}

/// A case, and what it is made of where its factors are rounded.
fn cases(arithmetic: Arithmetic, c: &Convolution, batch: usize, seed: u64) -> (Case, Case) {
    let mut case = Case::new(c, batch, seed);
    if c.upsample && matches!(arithmetic, Arithmetic::Bf16(_)) {
        // There, sums of up to four gradients are rounded: of such, all are bf16 already.
        case.dy
            .iter_mut()
            .for_each(|dy| *dy = (*dy * 8.0).round() / 8.0);
    }
    let rounded = Case {
        x: factors(arithmetic, &case.x),
        weight: factors(arithmetic, &case.weight),
        bias: case.bias.clone(),
        dy: factors(arithmetic, &case.dy),
    };
    (case, rounded)
}

fn compare(c: &Convolution, batch: usize, seed: u64) {
    for arithmetic in Arithmetic::available() {
        let (case, rounded) = cases(arithmetic, c, batch, seed);
        let y = case.forward(arithmetic, c, batch);
        check("y", arithmetic, &y, &rounded.output(c, batch));

        let mut dx = vec![Sum::default(); case.x.len()];
        let mut dweight = vec![Sum::default(); case.weight.len()];
        let mut dbias = vec![Sum::default(); case.bias.len()];
        let passes = |out: usize| !c.relu || y[out] > 0.0;
        let slope = |out: usize| match passes(out) {
            true => f64::from(rounded.dy[out]),
            false => 0.0,
        };
        products(c, batch, |out, input, k| {
            dx[input].add(slope(out) * f64::from(rounded.weight[k]));
            dweight[k].add(slope(out) * f64::from(rounded.x[input]));
        });
        // That of the bias is a sum of gradients as they came.
        for (out, &dy) in case.dy.iter().enumerate() {
            let passed = if passes(out) { dy.into() } else { 0.0 };
            dbias[out % c.out_channels].add(passed);
        }
        let got = case.backward(arithmetic, c, batch, if c.relu { &y } else { &[] });
        for ((name, got), want) in ["dx", "dweight", "dbias"]
            .iter()
            .zip(&got)
            .zip([&dx, &dweight, &dbias])
        {
            check(name, arithmetic, got, want);
        }

        // Without dx, dy is taken in strips.
        let mut again = vec![f32::NAN; case.weight.len()];
        backward(
            arithmetic,
            c,
            batch,
            &case.x,
            &case.weight,
            &y,
            &case.dy,
            None,
            &mut again,
            None,
        );
        check("dweight without dx", arithmetic, &again, &dweight);
    }
}

prop_compose! {
    /// Shapes of every kind whose plain definition stays below a few million products.
    fn convolutions()(
        (height, width, in_channels, out_channels) in (1usize..20, 1usize..20, 1usize..130, 1usize..130),
        batch in 1usize..40,
        (kind, relu) in (0usize..3, any::<bool>()),
        (top, left, bottom, right) in (0usize..4, 0usize..4, 0usize..4, 0usize..4),
        usual in any::<bool>(),
        shrink in 0..4,
    ) -> (Convolution, usize) {
        let padding = if usual { Padding::same() } else { Padding { top, left, bottom, right } };
        let (stride, upsample) = [(1, false), (2, false), (1, true)][kind];
        // At least one pixel must come out.
        let scale = 1 + usize::from(upsample);
        let height = height.max(3usize.saturating_sub(padding.top + padding.bottom).div_ceil(scale));
        let width = width.max(3usize.saturating_sub(padding.left + padding.right).div_ceil(scale));
        // Few channels are as interesting as many.
        let in_channels = if shrink & 1 == 1 { in_channels % 5 + 1 } else { in_channels };
        let out_channels = if shrink & 2 == 2 { out_channels % 5 + 1 } else { out_channels };
        let c = Convolution { height, width, in_channels, out_channels, stride, padding, upsample, relu };
        let affordable = (4_000_000 / c.flops().max(1)) as usize;
        (c, batch.min(affordable).max(1))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_definition((c, batch) in convolutions(), seed in any::<u32>()) {
        compare(&c, batch, seed.into());
    }
}

pub(super) fn square(side: usize, in_channels: usize, out_channels: usize) -> Convolution {
    Convolution {
        height: side,
        width: side,
        in_channels,
        out_channels,
        stride: 1,
        padding: Padding::same(),
        upsample: false,
        relu: true,
    }
}

#[test]
fn agrees_with_the_definition_on_the_networks_layers() {
    let up = |c: Convolution| Convolution {
        upsample: true,
        relu: false,
        ..c
    };
    let halve = |c: Convolution| Convolution { stride: 2, ..c };
    for c in [
        square(28, 1, 32),
        square(14, 32, 32),
        square(7, 32, 32),
        up(square(14, 32, 1)),
        halve(square(28, 1, 32)),
        halve(square(14, 32, 64)),
        halve(square(7, 64, 128)),
        Convolution {
            padding: Padding::valid(),
            ..up(square(8, 8, 16))
        },
        Convolution {
            padding: Padding {
                top: 1,
                left: 1,
                bottom: 0,
                right: 0,
            },
            ..up(square(4, 128, 64))
        },
        square(9, 3, 20),
        // Odd segments in the narrow form, and segments of one element.
        square(9, 21, 3),
        up(square(14, 16, 1)),
        halve(square(9, 20, 1)),
        halve(square(37, 3, 40)),
    ] {
        compare(&c, 3, 7);
    }
}

#[test]
fn the_same_bits_on_one_thread_and_on_two() {
    for c in [
        square(14, 32, 32),
        Convolution {
            upsample: true,
            ..square(7, 20, 3)
        },
        Convolution {
            stride: 2,
            ..square(9, 50, 130)
        },
    ] {
        let case = Case::new(&c, 37, 1);
        for precision in [Precision::F32, Precision::Bf16] {
            let arithmetic = Arithmetic::in_use(precision);
            let run = || {
                let y = case.forward(arithmetic, &c, 37);
                let gradients = case.backward(arithmetic, &c, 37, &y);
                (y, gradients)
            };
            assert!(with_threads(1, run) == with_threads(2, run), "{c:?}");
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_forward_pass() {
    for c in [
        Convolution {
            stride: 2,
            ..square(6, 3, 4)
        },
        Convolution {
            upsample: true,
            padding: Padding {
                top: 2,
                left: 0,
                bottom: 1,
                right: 3,
            },
            ..square(3, 2, 3)
        },
    ] {
        let case = Case::new(&c, 2, 5);
        let arithmetic = Arithmetic::in_use(Precision::F32);
        let y = case.forward(arithmetic, &c, 2);
        let [dx, dweight, dbias] = case.backward(arithmetic, &c, 2, &y);
        // Σ dy · y in f64, with one number nudged.
        let loss = |nudge: &dyn Fn(&mut Case)| {
            let mut case = case.clone();
            nudge(&mut case);
            let y = case.output(&c, 2);
            y.iter()
                .zip(&numbers(5 + 3, y.len()))
                .map(|(y, &dy)| y.value * f64::from(dy))
                .sum::<f64>()
        };
        const STEP: f32 = 1.0 / 4096.0;
        let slope = |nudge: &dyn Fn(&mut Case, f32)| {
            (loss(&|case| nudge(case, STEP)) - loss(&|case| nudge(case, -STEP)))
                / f64::from(2.0 * STEP)
        };
        // Nudging may carry a sum across the ReLU's corner, which is no fault of the gradient: such
        // elements are few.
        let agree = |got: &[f32], nudge: &dyn Fn(&mut Case, usize, f32)| {
            let off = (0..got.len())
                .filter(|&at| {
                    (slope(&|case, step| nudge(case, at, step)) - f64::from(got[at])).abs() > 1e-3
                })
                .count();
            assert!(
                off * 20 <= got.len(),
                "{off} of {} slopes are off for {c:?}",
                got.len()
            );
        };
        agree(&dx, &|case, at, step| case.x[at] += step);
        agree(&dweight, &|case, at, step| case.weight[at] += step);
        agree(&dbias, &|case, at, step| case.bias[at] += step);
    }
}

#[test]
fn an_empty_batch_has_no_gradient() {
    let c = square(4, 2, 3);
    let weight = numbers(1, 54);
    for precision in [Precision::F32, Precision::Bf16] {
        let mut dweight = vec![f32::NAN; c.weight_len()];
        let mut dbias = [f32::NAN; 3];
        let dx: Option<&mut [f32]> = Some(&mut []);
        crate::conv_forward(precision, &c, 0, &[], &weight, None, &mut []);
        crate::conv_backward(
            precision,
            &c,
            0,
            &[],
            &weight,
            &[],
            &[],
            dx,
            &mut dweight,
            Some(&mut dbias),
        );
        assert!(dweight.iter().chain(&dbias).all(|&d| d == 0.0));
    }
}

#[test]
#[should_panic(expected = "length of the input")]
fn an_input_of_the_wrong_length_is_named() {
    let (c, weight) = (square(4, 2, 3), numbers(1, 54));
    crate::conv_forward(
        Precision::F32,
        &c,
        1,
        &[0.0; 3],
        &weight,
        None,
        &mut [0.0; 48],
    );
}

#[test]
#[should_panic(expected = "length of the bias's gradient")]
fn a_gradient_of_the_wrong_length_is_named() {
    let c = Convolution {
        relu: false,
        ..square(4, 2, 3)
    };
    crate::conv_backward(
        Precision::Bf16,
        &c,
        1,
        &[0.0; 32],
        &numbers(1, 54),
        &[],
        &[0.0; 48],
        None,
        &mut [0.0; 54],
        Some(&mut [0.0; 2]),
    );
}
