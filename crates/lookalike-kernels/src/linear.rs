//! Linear layers: matrix products on the two primitives of the convolutions.

use crate::correlate::{Filter, Geometry};
use crate::dispatch::{InstructionSet, per_instruction_set};
use crate::factors::{Bf16, Buffer, F32, Factor};
use crate::outer::{Outer, Strides};
use crate::precision::{Arithmetic, Precision, Products, Ways};
use crate::scratch::Scratch;
use rayon::prelude::*;
use std::ops::Range;

/// y = x · w + b, with ReLU after it if asked; x is (rows, inputs), w (inputs, outputs), y (rows,
/// outputs).
///
/// # Panics
///
/// If a slice's length does not fit the sizes.
pub fn linear_forward(
    precision: Precision,
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let arithmetic = Arithmetic::in_use(precision);
    forward(arithmetic, rows, inputs, outputs, x, w, b, relu, y);
}

/// The gradients of [`linear_forward`]. `dy` is the gradient of its output `y`, which masks it with
/// ReLU (`y` may be empty otherwise); `dx`, `dw` and `db` are overwritten.
///
/// # Panics
///
/// If a slice's length does not fit the sizes.
pub fn linear_backward(
    precision: Precision,
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
    let arithmetic = Arithmetic::in_use(precision);
    backward(
        arithmetic, rows, inputs, outputs, x, w, y, relu, dy, dx, dw, db,
    );
}

/// Rows in a piece of work: two of the largest tiles.
const ROWS: usize = 28;

fn check(rows: usize, inputs: usize, outputs: usize, x: usize, w: usize, y: usize) {
    assert!(
        inputs > 0 && outputs > 0,
        "linear layer: no inputs or no outputs"
    );
    assert_eq!(x, rows * inputs, "linear layer: length of the input");
    assert_eq!(w, inputs * outputs, "linear layer: length of the weight");
    assert_eq!(y, rows * outputs, "linear layer: length of the output");
}

/// `rows` rows of `from` floats to rows of `to`.
fn product(rows: usize, from: usize, to: usize) -> Geometry {
    Geometry {
        height: 1,
        width: rows,
        input_pixel: from,
        input_row: 0,
        segments: 1,
        segment_len: from,
        segment_stride: 0,
        output_pixel: to,
        output_row: 0,
        channels: to,
    }
}

/// Rows of `from` floats to rows of `to`.
fn apply<T: Factor>(
    set: T::Set,
    filter: &Filter<T>,
    from: usize,
    to: usize,
    x: &[f32],
    y: &mut [f32],
) {
    x.par_chunks(ROWS * from)
        .zip(y.par_chunks_mut(ROWS * to))
        .for_each(|(x, y)| filter.apply_row(x.len() / from, &T::elements(set, x), y));
}

/// A linear layer made ready for a precision and an instruction set; the weight is packed whenever
/// it has changed.
pub(crate) struct Prepared {
    set: InstructionSet,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) relu: bool,
    products: Products<Filter<F32>, Filter<Bf16>>,
}

impl<T: Factor> Ways<Filter<T>> {
    fn linear(set: T::Set, inputs: usize, outputs: usize, relu: bool, dx: bool) -> Self {
        Self {
            forward: Filter::new(set, product(ROWS, inputs, outputs), relu),
            backward: dx.then(|| Filter::new(set, product(ROWS, outputs, inputs), false)),
        }
    }
}

impl Prepared {
    /// `dx`: the input's gradient will be asked for.
    pub(crate) fn new(
        arithmetic: Arithmetic,
        inputs: usize,
        outputs: usize,
        relu: bool,
        dx: bool,
    ) -> Self {
        assert!(
            inputs > 0 && outputs > 0,
            "linear layer: no inputs or no outputs"
        );
        Self {
            set: arithmetic.set(),
            inputs,
            outputs,
            relu,
            products: match arithmetic {
                Arithmetic::F32(set) => Products::F32(Ways::linear(set, inputs, outputs, relu, dx)),
                Arithmetic::Bf16(set) => {
                    Products::Bf16(set, Ways::linear(set, inputs, outputs, relu, dx))
                }
            },
        }
    }

    /// Takes over weight and bias for the forward pass.
    pub(crate) fn pack_forward(&mut self, w: &[f32], b: Option<&[f32]>) {
        let outputs = self.outputs;
        let fill = |k: usize, row: &mut [f32]| row.copy_from_slice(&w[k * outputs..][..outputs]);
        match &mut self.products {
            Products::F32(ways) => ways.forward.pack(fill, b),
            Products::Bf16(_, ways) => ways.forward.pack(fill, b),
        }
    }

    /// Takes over the weight for the input's gradient.
    pub(crate) fn pack_backward(&mut self, w: &[f32]) {
        if !self.gives_dx() {
            return;
        }
        let inputs = self.inputs;
        let transposed = transposed(w, inputs, self.outputs);
        let fill =
            |k: usize, row: &mut [f32]| row.copy_from_slice(&transposed[k * inputs..][..inputs]);
        match &mut self.products {
            Products::F32(ways) => ways.backward.iter_mut().for_each(|f| f.pack(fill, None)),
            Products::Bf16(_, ways) => ways.backward.iter_mut().for_each(|f| f.pack(fill, None)),
        }
    }

    fn gives_dx(&self) -> bool {
        match &self.products {
            Products::F32(ways) => ways.backward.is_some(),
            Products::Bf16(_, ways) => ways.backward.is_some(),
        }
    }

    /// y = x · w + b, rectified if asked.
    pub(crate) fn forward(&self, x: &[f32], y: &mut [f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        match &self.products {
            Products::F32(ways) => apply(self.set, &ways.forward, inputs, outputs, x, y),
            Products::Bf16(set, ways) => apply(*set, &ways.forward, inputs, outputs, x, y),
        }
    }

    /// Overwrites `dx` (left alone if it was not prepared for), `dw` and `db`.
    pub(crate) fn backward(
        &self,
        x: &[f32],
        y: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let mut rectified = Scratch::new(if self.relu { dy.len() } else { 0 });
        if self.relu {
            rectified
                .par_chunks_mut(PIECE)
                .zip(dy.par_chunks(PIECE).zip(y.par_chunks(PIECE)))
                .for_each(|(to, (dy, y))| rectify(self.set, dy, y, to));
        }
        let dy = if self.relu { &*rectified } else { dy };
        if let Some(db) = db {
            db.fill(0.0);
            for row in dy.chunks_exact(outputs) {
                for (db, dy) in db.iter_mut().zip(row) {
                    *db += dy;
                }
            }
        }
        let rows = dy.len() / outputs;
        match &self.products {
            Products::F32(ways) => {
                let sizes = (rows, inputs, outputs);
                backward_factors(self.set, ways.backward.as_ref(), sizes, x, dy, dx, dw);
            }
            Products::Bf16(set, ways) => {
                let sizes = (rows, inputs, outputs);
                backward_factors(*set, ways.backward.as_ref(), sizes, x, dy, dx, dw);
            }
        }
    }
}

fn backward_factors<T: Factor>(
    set: T::Set,
    backward: Option<&Filter<T>>,
    (rows, inputs, outputs): (usize, usize, usize),
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
) {
    weight_gradient::<T>(set, rows, inputs, outputs, x, dy, dw);
    if let Some(backward) = backward {
        apply(set, backward, outputs, inputs, dy, dx);
    }
}

/// Floats in a piece of elementwise work.
const PIECE: usize = 16 * 1024;

per_instruction_set! {
    fn rectify<V>(dy: &[f32], y: &[f32], to: &mut [f32]) {
        for ((to, &dy), &y) in to.iter_mut().zip(dy).zip(y) {
            *to = if y > 0.0 { dy } else { 0.0 };
        }
    }
}

pub(crate) fn forward(
    arithmetic: impl Into<Arithmetic>,
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    check(rows, inputs, outputs, x.len(), w.len(), y.len());
    if let Some(b) = b {
        assert_eq!(b.len(), outputs, "linear layer: length of the bias");
    }
    let mut prepared = Prepared::new(arithmetic.into(), inputs, outputs, relu, false);
    prepared.pack_forward(w, b);
    prepared.forward(x, y);
}

pub(crate) fn backward(
    arithmetic: impl Into<Arithmetic>,
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
    check(rows, inputs, outputs, x.len(), w.len(), dy.len());
    assert!(
        !relu || y.len() == dy.len(),
        "linear layer, backward: length of y"
    );
    assert_eq!(
        dw.len(),
        w.len(),
        "linear layer, backward: length of the weight's gradient"
    );
    if let Some(db) = &db {
        assert_eq!(
            db.len(),
            outputs,
            "linear layer, backward: length of the bias's gradient"
        );
    }
    if let Some(dx) = &dx {
        assert_eq!(
            dx.len(),
            x.len(),
            "linear layer, backward: length of the input's gradient"
        );
    }
    let mut prepared = Prepared::new(arithmetic.into(), inputs, outputs, relu, dx.is_some());
    prepared.pack_backward(w);
    prepared.backward(x, y, dy, dx.unwrap_or_default(), dw, db);
}

/// dw = xᵀ · dy. Split by rows of dw, not by rows of x, so that nothing has to be added up
/// afterwards.
///
/// The sum is over rows of x and dy: as many of them are joined as a lane has elements.
fn weight_gradient<T: Factor>(
    set: T::Set,
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let joined = rows.div_ceil(T::PER_LANE);
    let width = 2 * T::lanes(set);
    let padded = outputs.next_multiple_of(width);
    let zeros = Scratch::zeroed(width.max(inputs));
    let zeros = &*zeros;
    // A tile walks down two vectors of dy: in panels that wide they are one run of memory, where
    // rows of a few thousand numbers would all meet in the same few sets of the cache.
    let mut panels = Buffer::<T::Lane>::new(padded * joined);
    for (panel, to) in panels.chunks_exact_mut((width * joined).max(1)).enumerate() {
        let columns = panel * width..((panel + 1) * width).min(outputs);
        for (i, to) in to.chunks_exact_mut(width).enumerate() {
            let (to, rest) = to.split_at_mut(columns.len());
            rest.fill(T::Lane::default());
            join_rows::<T>(set, dy, outputs, columns.clone(), zeros, i, to);
        }
    }
    let panels = &*panels;
    let strip = inputs.div_ceil(8).clamp(7, 56);
    dw.par_chunks_mut(strip * outputs)
        .enumerate()
        .for_each(|(index, dw)| {
            let (first, count) = (index * strip, dw.len() / outputs);
            let mut left = Buffer::<T::Lane>::new(joined * count);
            for (i, left) in left.chunks_exact_mut(count).enumerate() {
                join_rows::<T>(set, x, inputs, first..first + count, zeros, i, left);
            }
            let outer = Outer {
                images: 1,
                height: 1,
                width: joined,
                left: Strides {
                    pixel: count,
                    row: 0,
                    image: 0,
                },
                segments: 1,
                segment_len: count,
                segment_stride: 0,
                right: Strides {
                    pixel: width,
                    row: 0,
                    image: 0,
                },
                right_len: width,
                sums_row: width,
            };
            let mut sums = Scratch::new(count * width);
            for panel in 0..padded / width {
                sums.fill(0.0);
                let right = &panels[panel * width * joined..][..width * joined];
                outer.add_to::<T>(set, &left, right, &mut sums);
                let (first, end) = (panel * width, ((panel + 1) * width).min(outputs));
                for (dw, sums) in dw.chunks_exact_mut(outputs).zip(sums.chunks_exact(width)) {
                    dw[first..end].copy_from_slice(&sums[..end - first]);
                }
            }
        });
}

/// Some columns of a matrix with rows of `width` floats: the rows of lane `i`, joined. Where the
/// matrix has too few, zeros are joined to them.
fn join_rows<T: Factor>(
    set: T::Set,
    matrix: &[f32],
    width: usize,
    columns: Range<usize>,
    zeros: &[f32],
    i: usize,
    to: &mut [T::Lane],
) {
    let mut rows = matrix[T::PER_LANE * i * width..].chunks_exact(width);
    let mut next = || {
        rows.next()
            .map_or(&zeros[..columns.len()], |row| &row[columns.clone()])
    };
    T::join(set, [next(), next()], to);
}

/// w as (outputs, inputs).
fn transposed(w: &[f32], inputs: usize, outputs: usize) -> Scratch {
    /// A block of 16 x 16 floats touches each cache line once, on either side.
    const SIDE: usize = 16;
    let mut transposed = Scratch::new(w.len());
    transposed
        .par_chunks_mut(SIDE * inputs)
        .enumerate()
        .for_each(|(block, to)| {
            let first = block * SIDE;
            let count = to.len() / inputs;
            for from in (0..inputs).step_by(SIDE) {
                for i in from..(from + SIDE).min(inputs) {
                    for (o, value) in w[i * outputs + first..][..count].iter().enumerate() {
                        to[o * inputs + i] = *value;
                    }
                }
            }
        });
    transposed
}
