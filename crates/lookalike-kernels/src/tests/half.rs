//! The layers on factors of bf16, against plain loops in f64 on factors that were rounded before: then
//! every product is exact in f32, and only the sums' rounding is left to tolerate.

use super::convolution::{Case, convolutions, products, square};
use super::{Sum, check, numbers, with_threads};
use crate::convolution::{backward, forward};
use crate::half::{round, round_pairs, rounded, widened};
use crate::linear;
use crate::precision::PairSet;
use crate::{Convolution, Padding, Precision};
use proptest::prelude::*;
use proptest::sample::select;

/// What the layers make of a factor.
fn cut(values: &[f32]) -> Vec<f32> {
    values
        .iter()
        .map(|&value| widened(rounded(value)))
        .collect()
}

/// By the definition, in f64: of the two bf16 around the value the nearer one, or the even one.
fn nearest(value: f32) -> f32 {
    let below = f32::from_bits(value.to_bits() & 0xFFFF_0000);
    let above = f32::from_bits((value.to_bits() & 0xFFFF_0000).wrapping_add(0x1_0000));
    let step = f64::from(above) - f64::from(below);
    if above.is_infinite() {
        // The step to where the next number would be.
        let last = f32::from_bits((below.to_bits()).wrapping_sub(0x1_0000));
        let step = f64::from(below) - f64::from(last);
        let middle = f64::from(below) + step / 2.0;
        return if f64::from(value).abs() < middle.abs() {
            below
        } else {
            above
        };
    }
    let part = (f64::from(value) - f64::from(below)) / step;
    let odd = below.to_bits() >> 16 & 1 == 1;
    if part > 0.5 || part == 0.5 && odd {
        above
    } else {
        below
    }
}

/// Floats of every kind, most of them near a tie.
fn awkward() -> Vec<f32> {
    let mut values = vec![
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        f32::from_bits(0x7F80_0001),
        f32::from_bits(0xFFFF_FFFF),
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x007F_FFFF),
        f32::from_bits(0x8000_0001),
        f32::from_bits(0x807F_FFFF),
        f32::from_bits(0x7F7F_7FFF),
        f32::from_bits(0x7F7F_8000),
        f32::from_bits(0xFF7F_8000),
    ];
    for (index, seed) in numbers(1, 400).into_iter().enumerate() {
        let upper = (seed * 32768.0) as i32 as u32 & 0xFFFF;
        let lower = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF][index % 6];
        values.push(f32::from_bits(upper << 16 | lower));
    }
    values
}

#[test]
fn rounds_to_the_nearest_and_to_even() {
    for (value, want) in [
        (1.0, 0x3F80),
        // Halfway between 1 and the next bf16, 1 + 1/128, and between that and 1 + 2/128.
        (1.0 + 1.0 / 256.0, 0x3F80),
        (1.0 + 3.0 / 256.0, 0x3F82),
        (1.0 + 1.0 / 256.0 + 1.0 / 65536.0, 0x3F81),
        (-1.0 - 3.0 / 256.0, 0xBF82),
        (f32::MAX, 0x7F80),
        (f32::INFINITY, 0x7F80),
        (f32::NEG_INFINITY, 0xFF80),
        (f32::MIN_POSITIVE, 0x0080),
        (f32::MIN_POSITIVE / 2.0, 0),
        (-f32::MIN_POSITIVE / 2.0, 0x8000),
        (-0.0, 0x8000),
    ] {
        assert_eq!(rounded(value), want, "{value:e}");
    }
    for value in awkward() {
        let got = widened(rounded(value));
        if value.is_nan() {
            assert!(got.is_nan());
        } else if value.is_normal() {
            assert_eq!(got, nearest(value), "{value:e}");
        } else {
            assert_eq!(got, if value.is_infinite() { value } else { 0.0 });
        }
        assert_eq!(got.is_sign_negative(), value.is_sign_negative());
    }
}

#[test]
fn every_set_rounds_the_same() {
    let values = awkward();
    for set in PairSet::available() {
        for len in [0, 1, 5, 15, 16, 17, 40, values.len()] {
            let (first, second) = (&values[..len], &values[values.len() - len..]);
            let mut halves = vec![0; len];
            round(set, first, &mut halves);
            let want: Vec<u16> = first.iter().map(|&value| rounded(value)).collect();
            assert_eq!(halves, want, "{set:?}");
            let mut pairs = vec![0; len];
            round_pairs(set, first, second, &mut pairs);
            for ((pair, first), &second) in pairs.into_iter().zip(want).zip(second) {
                let pair: [u16; 2] = if cfg!(target_endian = "little") {
                    [pair as u16, (pair >> 16) as u16]
                } else {
                    [(pair >> 16) as u16, pair as u16]
                };
                assert_eq!(pair, [first, rounded(second)], "{set:?}");
            }
        }
    }
}

/// A case and the one with its factors rounded.
fn cases(c: &Convolution, batch: usize, seed: u64) -> (Case, Case) {
    let mut case = Case::new(c, batch, seed);
    if c.upsample {
        // There, sums of up to four gradients are rounded: of such, all are bf16 already.
        case.dy
            .iter_mut()
            .for_each(|dy| *dy = (*dy * 8.0).round() / 8.0);
    }
    let cut = Case {
        x: cut(&case.x),
        weight: cut(&case.weight),
        bias: case.bias.clone(),
        dy: cut(&case.dy),
    };
    (case, cut)
}

fn run(set: PairSet, c: &Convolution, batch: usize, case: &Case) -> (Vec<f32>, [Vec<f32>; 3]) {
    let mut y = vec![f32::NAN; c.output_len(batch)];
    forward(
        set,
        c,
        batch,
        &case.x,
        &case.weight,
        Some(&case.bias),
        &mut y,
    );
    let mut dx = vec![f32::NAN; case.x.len()];
    let mut dweight = vec![f32::NAN; case.weight.len()];
    let mut dbias = vec![f32::NAN; case.bias.len()];
    backward(
        set,
        c,
        batch,
        &case.x,
        &case.weight,
        if c.relu { &y } else { &[] },
        &case.dy,
        Some(&mut dx),
        &mut dweight,
        Some(&mut dbias),
    );
    (y, [dx, dweight, dbias])
}

fn compare(c: &Convolution, batch: usize, seed: u64) {
    let (case, cut) = cases(c, batch, seed);
    let want = cut.output(c, batch);
    for set in PairSet::available() {
        let (y, got) = run(set, c, batch, &case);
        check("y", set, &y, &want);

        let mut dx = vec![Sum::default(); case.x.len()];
        let mut dweight = vec![Sum::default(); case.weight.len()];
        let mut dbias = vec![Sum::default(); case.bias.len()];
        let slope = |out: usize| {
            if !c.relu || y[out] > 0.0 {
                f64::from(cut.dy[out])
            } else {
                0.0
            }
        };
        products(c, batch, |out, input, k| {
            dx[input].add(slope(out) * f64::from(cut.weight[k]));
            dweight[k].add(slope(out) * f64::from(cut.x[input]));
        });
        // That of the bias is a sum of gradients as they came.
        for (out, &dy) in case.dy.iter().enumerate() {
            let passed = !c.relu || y[out] > 0.0;
            dbias[out % c.out_channels].add(if passed { dy.into() } else { 0.0 });
        }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_definition((c, batch) in convolutions(), seed in any::<u32>()) {
        compare(&c, batch, seed.into());
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
        up(square(14, 16, 1)),
        halve(square(28, 1, 32)),
        halve(square(14, 32, 64)),
        halve(square(7, 64, 128)),
        Convolution {
            padding: Padding::valid(),
            ..up(square(8, 8, 16))
        },
        up(square(4, 128, 64)),
        square(9, 3, 20),
        // Odd segments in the narrow form, and segments of one element.
        square(9, 21, 3),
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
        let run = || run(PairSet::in_use(), &c, 37, &case);
        assert!(with_threads(1, run) == with_threads(2, run), "{c:?}");
    }
}

/// Rounding a factor changes a product by 1 part in 256 at most, two factors by 2 in 256 and a little.
#[test]
fn comes_near_the_layer_in_f32() {
    for c in [
        square(14, 8, 12),
        Convolution {
            upsample: true,
            ..square(7, 5, 3)
        },
    ] {
        let c = Convolution { relu: false, ..c };
        let case = Case::new(&c, 3, 9);
        let mut y = vec![f32::NAN; c.output_len(3)];
        let (x, weight) = (&case.x, &case.weight);
        crate::conv_forward_in(Precision::Bf16, &c, 3, x, weight, Some(&case.bias), &mut y);
        let mut exact = y.clone();
        crate::conv_forward_in(
            Precision::F32,
            &c,
            3,
            x,
            weight,
            Some(&case.bias),
            &mut exact,
        );
        assert_ne!(y, exact);
        let mut worst = 0.0f64;
        for (got, want) in y.iter().zip(case.output(&c, 3)) {
            worst = worst.max((f64::from(*got) - want.value).abs() / want.absolute);
        }
        assert!(worst <= 2.1 / 256.0, "{worst:e}");
    }
}

#[test]
fn an_empty_batch_has_no_gradient() {
    let c = square(4, 2, 3);
    let mut dweight = vec![f32::NAN; c.weight_len()];
    let mut dbias = [f32::NAN; 3];
    let weight = numbers(1, 54);
    crate::conv_forward_in(Precision::Bf16, &c, 0, &[], &weight, None, &mut []);
    crate::conv_backward_in(
        Precision::Bf16,
        &c,
        0,
        &[],
        &weight,
        &[],
        &[],
        Some(&mut []),
        &mut dweight,
        Some(&mut dbias),
    );
    assert!(dweight.iter().chain(&dbias).all(|&d| d == 0.0));
}

#[test]
#[should_panic(expected = "length of the bias's gradient")]
fn a_slice_of_the_wrong_length_is_named() {
    let c = Convolution {
        relu: false,
        ..square(4, 2, 3)
    };
    crate::conv_backward_in(
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

/// A window's neighbours, infinite or not, are not its business.
#[test]
fn nothing_outside_a_window_counts() {
    for channels in [1, 3, 4] {
        let c = Convolution {
            padding: Padding::valid(),
            relu: false,
            ..square(6, channels, 5)
        };
        let mut case = Case::new(&c, 1, 3);
        let clean = run(PairSet::in_use(), &c, 1, &case).0;
        // The last pixel is seen by the last window only.
        case.x[36 * channels - 1] = f32::INFINITY;
        let y = run(PairSet::in_use(), &c, 1, &case).0;
        let last = y.len() - 5;
        assert_eq!(y[..last], clean[..last], "{channels} channels");
        assert!(y[last..].iter().all(|y| !y.is_finite()));
    }
}

fn linear_run(
    set: PairSet,
    (rows, inputs, outputs): (usize, usize, usize),
    [x, w, b, dy]: [&[f32]; 4],
    relu: bool,
) -> [Vec<f32>; 4] {
    let [mut y, mut dx, mut dw, mut db] =
        [rows * outputs, rows * inputs, inputs * outputs, outputs].map(|len| vec![f32::NAN; len]);
    linear::forward(set, rows, inputs, outputs, x, w, Some(b), relu, &mut y);
    linear::backward(
        set,
        rows,
        inputs,
        outputs,
        x,
        w,
        if relu { &y } else { &[] },
        relu,
        dy,
        Some(&mut dx),
        &mut dw,
        Some(&mut db),
    );
    [y, dx, dw, db]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn linear_layers_agree_with_the_definition(
        (rows, inputs, outputs) in (1usize..80, 1usize..150, 1usize..150),
        relu in any::<bool>(),
        one in any::<bool>(),
        seed in 0u64..1000,
        set in select(PairSet::available()),
    ) {
        // A single input is a segment of one element.
        let inputs = if one { inputs % 2 + 1 } else { inputs };
        let (x, w) = (numbers(seed, rows * inputs), numbers(seed + 1, inputs * outputs));
        let (b, dy) = (numbers(seed + 2, outputs), numbers(seed + 3, rows * outputs));
        let [y, dx, dw, db] = linear_run(set, (rows, inputs, outputs), [&x, &w, &b, &dy], relu);
        let exact = dy;
        let (x, w, dy) = (cut(&x), cut(&w), cut(&exact));
        let mut want = vec![Sum::default(); rows * outputs];
        let [mut want_dx, mut want_dw, mut want_db] =
            [rows * inputs, inputs * outputs, outputs].map(|len| vec![Sum::default(); len]);
        for (at, want) in want.iter_mut().enumerate() {
            let (row, o) = (at / outputs, at % outputs);
            let passed = f64::from(u8::from(!relu || y[at] > 0.0));
            let slope = passed * f64::from(dy[at]);
            want.add(b[o].into());
            want_db[o].add(passed * f64::from(exact[at]));
            for i in 0..inputs {
                let (x, w) = (f64::from(x[row * inputs + i]), f64::from(w[i * outputs + o]));
                want.add(x * w);
                want_dx[row * inputs + i].add(slope * w);
                want_dw[i * outputs + o].add(slope * x);
            }
            *want = want.relu(relu);
        }
        for ((name, got), want) in ["y", "dx", "dw", "db"].iter().zip([y, dx, dw, db]).zip([want, want_dx, want_dw, want_db]) {
            check(name, set, &got, &want);
        }
    }
}

#[test]
fn linear_layers_have_the_same_bits_on_one_thread_and_on_two() {
    let shape @ (rows, inputs, outputs) = (101, 300, 70);
    let (x, w) = (numbers(1, rows * inputs), numbers(2, inputs * outputs));
    let (b, dy) = (numbers(3, outputs), numbers(4, rows * outputs));
    let run = || linear_run(PairSet::in_use(), shape, [&x, &w, &b, &dy], false);
    assert!(with_threads(1, run) == with_threads(2, run));
}
