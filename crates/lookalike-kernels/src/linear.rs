//! Linear layers.

/// y = x·w + b; x (rows, inputs), w (inputs, outputs), y (rows, outputs).
pub fn linear_forward(
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    use rayon::prelude::*;
    assert_eq!(x.len(), rows * inputs, "linear: length of x");
    y.par_chunks_mut(outputs)
        .zip(x.par_chunks(inputs))
        .for_each(|(y, x)| {
            match b {
                Some(b) => y.copy_from_slice(b),
                None => y.fill(0.0),
            }
            for (x, w) in x.iter().zip(w.chunks_exact(outputs)) {
                for (y, w) in y.iter_mut().zip(w) {
                    *y += x * w;
                }
            }
            if relu {
                y.iter_mut().for_each(|y| *y = y.max(0.0));
            }
        });
}

/// The gradient of [`linear_forward`].
pub fn linear_backward(
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    w: &[f32],
    y: &[f32],
    relu: bool,
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dw: &mut [f32],
    db: Option<&mut [f32]>,
) {
    use rayon::prelude::*;
    let slope = |i: usize| if !relu || y[i] > 0.0 { dy[i] } else { 0.0 };
    if let Some(db) = db {
        db.fill(0.0);
        for i in 0..dy.len() {
            db[i % outputs] += slope(i);
        }
    }
    dw.par_chunks_mut(outputs).enumerate().for_each(|(i, dw)| {
        dw.fill(0.0);
        for row in 0..rows {
            for (o, dw) in dw.iter_mut().enumerate() {
                *dw += x[row * inputs + i] * slope(row * outputs + o);
            }
        }
    });
    if let Some(dx) = dx {
        dx.par_chunks_mut(inputs).enumerate().for_each(|(row, dx)| {
            for (i, dx) in dx.iter_mut().enumerate() {
                *dx = (0..outputs)
                    .map(|o| slope(row * outputs + o) * w[i * outputs + o])
                    .sum();
            }
        });
    }
}
