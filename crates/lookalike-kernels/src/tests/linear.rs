use super::{Sum, check, numbers, with_threads};
use crate::InstructionSet;
use crate::linear::{backward, forward};
use proptest::prelude::*;

fn gradients(
    set: InstructionSet,
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
        set,
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
        relu in any::<bool>(),
        seed in 0u64..1000,
    ) {
        let (x, w) = (numbers(seed, rows * inputs), numbers(seed + 1, inputs * outputs));
        let (b, dy) = (numbers(seed + 2, outputs), numbers(seed + 3, rows * outputs));
        let mut want = vec![Sum::default(); rows * outputs];
        for (at, want) in want.iter_mut().enumerate() {
            let (row, o) = (at / outputs, at % outputs);
            want.add(b[o].into());
            (0..inputs).for_each(|i| want.add(f64::from(x[row * inputs + i]) * f64::from(w[i * outputs + o])));
            *want = want.relu(relu);
        }
        for set in InstructionSet::available() {
            let mut y = vec![f32::NAN; rows * outputs];
            forward(set, rows, inputs, outputs, &x, &w, Some(&b), relu, &mut y);
            check("y", set, &y, &want);
            let [mut dx, mut dw, mut db] = [rows * inputs, inputs * outputs, outputs].map(|len| vec![Sum::default(); len]);
            for at in 0..rows * outputs {
                let (row, o) = (at / outputs, at % outputs);
                let slope = if !relu || y[at] > 0.0 { f64::from(dy[at]) } else { 0.0 };
                db[o].add(slope);
                for i in 0..inputs {
                    dx[row * inputs + i].add(slope * f64::from(w[i * outputs + o]));
                    dw[i * outputs + o].add(slope * f64::from(x[row * inputs + i]));
                }
            }
            let got = gradients(set, (rows, inputs, outputs), &x, &w, &y, relu, &dy);
            for ((name, got), want) in ["dx", "dw", "db"].iter().zip(&got).zip([dx, dw, db]) {
                check(name, set, got, &want);
            }
        }
    }
}

#[test]
fn the_same_bits_on_one_thread_and_on_two() {
    let shape @ (rows, inputs, outputs) = (100, 300, 70);
    let (x, w) = (numbers(1, rows * inputs), numbers(2, inputs * outputs));
    let dy = numbers(3, rows * outputs);
    let run = || gradients(InstructionSet::in_use(), shape, &x, &w, &[], false, &dy);
    assert!(with_threads(1, run) == with_threads(2, run));
}
