use super::{Sum, check, numbers, with_threads};
use crate::convolution::{backward, forward};
use crate::{Convolution, InstructionSet, Padding};
use proptest::prelude::*;

/// The input as the 3x3 kernel sees it: doubled if asked, with zeros around it. Gives every pixel of
/// that image with the index of the input pixel it came from.
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
pub(super) fn products(c: &Convolution, batch: usize, mut each: impl FnMut(usize, usize, usize)) {
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

    fn forward(&self, set: InstructionSet, c: &Convolution, batch: usize) -> Vec<f32> {
        let mut y = vec![f32::NAN; c.output_len(batch)];
        forward(
            set,
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
        set: InstructionSet,
        c: &Convolution,
        batch: usize,
        y: &[f32],
    ) -> [Vec<f32>; 3] {
        let mut dx = vec![f32::NAN; self.x.len()];
        let mut dweight = vec![f32::NAN; self.weight.len()];
        let mut dbias = vec![f32::NAN; self.bias.len()];
        let (x, weight) = (&self.x, &self.weight);
        backward(
            set,
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

fn compare(c: &Convolution, batch: usize, seed: u64) {
    let case = Case::new(c, batch, seed);
    let want = case.output(c, batch);
    for set in InstructionSet::available() {
        let y = case.forward(set, c, batch);
        check("y", set, &y, &want);

        let mut dx = vec![Sum::default(); case.x.len()];
        let mut dweight = vec![Sum::default(); case.weight.len()];
        let mut dbias = vec![Sum::default(); case.bias.len()];
        let slope = |out: usize| {
            if !c.relu || y[out] > 0.0 {
                f64::from(case.dy[out])
            } else {
                0.0
            }
        };
        products(c, batch, |out, input, k| {
            dx[input].add(slope(out) * f64::from(case.weight[k]));
            dweight[k].add(slope(out) * f64::from(case.x[input]));
        });
        (0..y.len()).for_each(|out| dbias[out % c.out_channels].add(slope(out)));
        let got = case.backward(set, c, batch, if c.relu { &y } else { &[] });
        for ((name, got), want) in ["dx", "dweight", "dbias"]
            .iter()
            .zip(&got)
            .zip([&dx, &dweight, &dbias])
        {
            check(name, set, got, want);
        }

        // Without dx, dy is taken in strips.
        let mut again = vec![f32::NAN; case.weight.len()];
        backward(
            set,
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
        check("dweight without dx", set, &again, &dweight);
    }
}

prop_compose! {
    /// Shapes of every kind whose plain definition stays below a few million products.
    pub(super) fn convolutions()(
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
        square(9, 20, 3),
        Convolution {
            stride: 2,
            ..square(37, 3, 40)
        },
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
        let run = || {
            let y = case.forward(InstructionSet::in_use(), &c, 37);
            let gradients = case.backward(InstructionSet::in_use(), &c, 37, &y);
            (y, gradients)
        };
        assert!(with_threads(1, run) == with_threads(2, run), "{c:?}");
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
        let y = case.forward(InstructionSet::in_use(), &c, 2);
        let [dx, dweight, dbias] = case.backward(InstructionSet::in_use(), &c, 2, &y);
        // Σ dy · y in f64, with one number nudged.
        let loss = |nudge: &dyn Fn(&mut Case)| {
            let mut case = Case {
                x: case.x.clone(),
                weight: case.weight.clone(),
                bias: case.bias.clone(),
                dy: vec![],
            };
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
    let mut dweight = vec![f32::NAN; c.weight_len()];
    let mut dbias = [f32::NAN; 3];
    crate::conv_forward(&c, 0, &[], &numbers(1, 54), None, &mut []);
    crate::conv_backward(
        &c,
        0,
        &[],
        &numbers(1, 54),
        &[],
        &[],
        Some(&mut []),
        &mut dweight,
        Some(&mut dbias),
    );
    assert!(dweight.iter().chain(&dbias).all(|&d| d == 0.0));
}

#[test]
#[should_panic(expected = "length of the input")]
fn a_slice_of_the_wrong_length_is_named() {
    let c = square(4, 2, 3);
    crate::conv_forward(&c, 1, &[0.0; 3], &numbers(1, 54), None, &mut [0.0; 48]);
}
