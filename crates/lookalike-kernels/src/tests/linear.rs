use super::{Sum, check, factors, numbers, with_threads};
use crate::Precision;
use crate::linear::{backward, forward};
use crate::precision::Arithmetic;
use proptest::prelude::*;

fn gradients(
    arithmetic: Arithmetic,
    (rows, inputs, outputs): (usize, usize, usize),
    x: &[f32],
    w: &[f32],
    y: &[f32],
    relu: bool,
    dy: &[f32],
) -> [Vec<f32>; 3] {
    let [mut dx, mut dw, mut db] =
        [rows * inputs, inputs * outputs, outputs].map(|len| vec![f32::NAN; len]);
    backward(
        arithmetic,
        rows,
        inputs,
        outputs,
        x,
        w,
        y,
        relu,
        dy,
        Some(&mut dx),
        &mut dw,
        Some(&mut db),
    );
    [dx, dw, db]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_definition(
        (rows, inputs, outputs) in (1usize..80, 1usize..150, 1usize..150),
        one in any::<bool>(),
        relu in any::<bool>(),
        seed in 0u64..1000,
    ) {
        // A single input is a segment of one element.
        let inputs = if one { inputs % 2 + 1 } else { inputs };
        let (x, w) = (numbers(seed, rows * inputs), numbers(seed + 1, inputs * outputs));
        let (b, dy) = (numbers(seed + 2, outputs), numbers(seed + 3, rows * outputs));
        for arithmetic in Arithmetic::available() {
            let mut y = vec![f32::NAN; rows * outputs];
            forward(arithmetic, rows, inputs, outputs, &x, &w, Some(&b), relu, &mut y);
            let got = gradients(arithmetic, (rows, inputs, outputs), &x, &w, &y, relu, &dy);
            let [x, w, rounded] = [&x, &w, &dy].map(|values| factors(arithmetic, values));
            let mut want = vec![Sum::default(); rows * outputs];
            let [mut dx, mut dw, mut db] =
                [rows * inputs, inputs * outputs, outputs].map(|len| vec![Sum::default(); len]);
            for (at, want) in want.iter_mut().enumerate() {
                let (row, o) = (at / outputs, at % outputs);
                let passed = f64::from(u8::from(!relu || y[at] > 0.0));
                let slope = passed * f64::from(rounded[at]);
                want.add(b[o].into());
                // A sum of gradients as they came.
                db[o].add(passed * f64::from(dy[at]));
                for i in 0..inputs {
                    let (x, w) = (f64::from(x[row * inputs + i]), f64::from(w[i * outputs + o]));
                    want.add(x * w);
                    dx[row * inputs + i].add(slope * w);
                    dw[i * outputs + o].add(slope * x);
                }
                *want = want.relu(relu);
            }
            check("y", arithmetic, &y, &want);
            for ((name, got), want) in ["dx", "dw", "db"].iter().zip(&got).zip([dx, dw, db]) {
                check(name, arithmetic, got, &want);
            }
        }
    }
}

#[test]
fn the_same_bits_on_one_thread_and_on_two() {
    for rows in [100, 101] {
        let shape @ (_, inputs, outputs) = (rows, 300, 70);
        let (x, w) = (numbers(1, rows * inputs), numbers(2, inputs * outputs));
        let dy = numbers(3, rows * outputs);
        for precision in [Precision::F32, Precision::Bf16] {
            let arithmetic = Arithmetic::in_use(precision);
            let run = || gradients(arithmetic, shape, &x, &w, &[], false, &dy);
            assert!(with_threads(1, run) == with_threads(2, run));
        }
    }
}
