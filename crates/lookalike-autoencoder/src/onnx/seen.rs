//! What stands in a code behind what the network says, as ONNX operators: the shape and the
//! colours, as [`Gradients::describe_softly`] and [`fine_colours`](lookalike_images::fine_colours)
//! compute them.

use lookalike_images::{CHROMA_RANGE, Gradients, InputShape, LUMA};

use super::graph::{Attribute, Graph, Value};
use crate::direct::{MIN_LENGTH, Projection};

/// Cells of a block: 2 x 2.
const BLOCK_CELLS: usize = 4;

/// The components of where edges run. `planes` are images x channels x height x width, 0 to 255.
pub fn shape(
    graph: &mut Graph,
    planes: &Value,
    gradients: &Gradients,
    contrast: f32,
    projection: &Projection,
) -> Value {
    let InputShape {
        channels,
        height,
        width,
    } = gradients.shape();
    let (across, down, length) = steepest(graph, planes, channels, [height, width]);
    let orientation = orientation(graph, &across, &down);
    let votes = hats(
        graph,
        &orientation,
        // 180 degrees are 0 degrees, and are added to them below.
        &[1, Gradients::ORIENTATIONS + 1, 1, 1],
    );
    let votes = graph.node("Mul", &[&votes, &length]);
    let cells = cells(graph, &votes, gradients);
    let blocks = blocks(graph, &cells);

    let squares = graph.node_with(
        "ReduceSumSquare",
        &[&blocks],
        &[Attribute::Integers("axes", &[1])],
    );
    let weakest = graph.number(contrast * contrast);
    let squares = graph.node("Add", &[&squares, &weakest]);
    let lengths = graph.node("Sqrt", &[&squares]);
    let smallest = graph.number(f32::MIN_POSITIVE);
    let lengths = graph.node("Max", &[&lengths, &smallest]);
    let blocks = graph.node("Div", &[&blocks, &lengths]);
    let blocks = graph.node("Relu", &[&blocks]);
    let description = graph.node("Sqrt", &[&blocks]);
    let description = graph.node_with("Flatten", &[&description], &[Attribute::Integer("axis", 1)]);

    // Here the values of a block are not beside each other but one map of blocks after another.
    let [rows, columns] = gradients.blocks();
    let (count, dims) = (rows * columns, projection.part.dims);
    let block = gradients.len() / count;
    let place = |index: usize| index % count * block + index / count;
    let moved = Projection {
        mean: (0..gradients.len())
            .map(|index| projection.mean[place(index)])
            .collect(),
        axes: (0..gradients.len())
            .flat_map(|index| &projection.axes[place(index) * dims..][..dims])
            .copied()
            .collect(),
        part: projection.part,
    };
    project(graph, &description, &moved)
}

/// The gradient of each pixel, of the channel where it is longest: its two components and its
/// length, images x 1 x height x width.
fn steepest(
    graph: &mut Graph,
    planes: &Value,
    channels: usize,
    [height, width]: [usize; 2],
) -> (Value, Value, Value) {
    let pads = graph.integers(&[0, 0, 1, 1, 0, 0, 1, 1]);
    let padded = graph.node_with("Pad", &[planes, &pads], &[Attribute::Text("mode", "edge")]);
    let axes = graph.integers(&[2, 3]);
    let shifted = |graph: &mut Graph, top: usize, left: usize| {
        let starts = graph.integers(&[top as i64, left as i64]);
        let ends = graph.integers(&[(top + height) as i64, (left + width) as i64]);
        graph.node("Slice", &[&padded, &starts, &ends, &axes])
    };
    let (right, left) = (shifted(graph, 1, 2), shifted(graph, 1, 0));
    let (lower, upper) = (shifted(graph, 2, 1), shifted(graph, 0, 1));
    let across = graph.node("Sub", &[&right, &left]);
    let down = graph.node("Sub", &[&lower, &upper]);
    let squares = [&across, &down].map(|part| graph.node("Mul", &[part, part]));
    let squares = graph.node("Add", &[&squares[0], &squares[1]]);
    if channels == 1 {
        let length = graph.node("Sqrt", &[&squares]);
        return (across, down, length);
    }
    let of = |graph: &mut Graph, channel| {
        [&across, &down, &squares].map(|value| slice(graph, value, channel))
    };
    // The first of equals: differences of bytes are whole numbers, so equal is equal.
    let mut longest = of(graph, 0);
    for channel in 1..channels {
        let other = of(graph, channel);
        let longer = graph.node("Greater", &[&other[2], &longest[2]]);
        let parts = [0, 1].map(|part| [&longer, &other[part], &longest[part]]);
        let [across, down] = parts.map(|inputs| graph.node("Where", &inputs));
        let square = graph.node("Max", &[&longest[2], &other[2]]);
        longest = [across, down, square];
    }
    let [across, down, square] = longest;
    let length = graph.node("Sqrt", &[&square]);
    (across, down, length)
}

/// One channel, the second dimension, of a value.
fn slice(graph: &mut Graph, value: &Value, channel: usize) -> Value {
    let [start, end, axis] = [channel, channel + 1, 1].map(|at| graph.integers(&[at as i64]));
    graph.node("Slice", &[value, &start, &end, &axis])
}

/// The orientation of gradients, 0 to 9 from 0 to 180 degrees, opposite directions alike.
fn orientation(graph: &mut Graph, across: &Value, down: &Value) -> Value {
    let all = Gradients::ORIENTATIONS as f32;
    let [one, zero, quarter, half, whole] =
        [1.0, 0.0, all / std::f32::consts::PI, all / 2.0, all].map(|number| graph.number(number));
    let [width, height] = [across, down].map(|part| graph.node("Abs", &[part]));
    let shorter = graph.node("Min", &[&width, &height]);
    // Whole numbers, so that 1 changes only what would be 0 / 0.
    let longer = graph.node("Max", &[&width, &height, &one]);
    let tangent = graph.node("Div", &[&shorter, &longer]);
    let angle = graph.node("Atan", &[&tangent]);
    let within_45 = graph.node("Mul", &[&angle, &quarter]);
    let steep = graph.node("Greater", &[&height, &width]);
    let beyond = graph.node("Sub", &[&half, &within_45]);
    let within_90 = graph.node("Where", &[&steep, &beyond, &within_45]);
    let product = graph.node("Mul", &[across, down]);
    let falling = graph.node("Less", &[&product, &zero]);
    let beyond = graph.node("Sub", &[&whole, &within_90]);
    graph.node("Where", &[&falling, &beyond, &within_90])
}

/// How near a value is to each of 0, 1, 2, ...: 1 where it is that number, falling to 0 at the next
/// ones. `dims` are those of the constant of these numbers, all 1 but one.
fn hats(graph: &mut Graph, value: &Value, dims: &[usize]) -> Value {
    let numbers: Vec<f32> = (0..dims.iter().product())
        .map(|at: usize| at as f32)
        .collect();
    let numbers = graph.floats(dims, &numbers);
    let one = graph.number(1.0);
    let away = graph.node("Sub", &[value, &numbers]);
    let away = graph.node("Abs", &[&away]);
    let near = graph.node("Sub", &[&one, &away]);
    graph.node("Relu", &[&near])
}

/// The mean votes of each cell, images x votes x cells down x cells across.
fn cells(graph: &mut Graph, votes: &Value, gradients: &Gradients) -> Value {
    let InputShape { height, width, .. } = gradients.shape();
    let [mut rows, columns] = gradients.cell_shares();
    let (down, across) = (rows.len() / height, columns.len() / width);
    let pixels_per_cell = (height * width) as f32 / (down * across) as f32;
    let scale = 1.0 / (255.0 * pixels_per_cell);
    rows.iter_mut().for_each(|share| *share *= scale);
    let columns: Vec<f32> = (0..width * across)
        .map(|at| columns[at % across * width + at / across])
        .collect();
    let columns = graph.floats(&[width, across], &columns);
    let rows = graph.floats(&[down, height], &rows);
    let votes = graph.node("MatMul", &[votes, &columns]);
    graph.node("MatMul", &[&rows, &votes])
}

/// The cells of each block: a convolution that copies.
fn blocks(graph: &mut Graph, cells: &Value) -> Value {
    let (orientations, votes) = (Gradients::ORIENTATIONS, Gradients::ORIENTATIONS + 1);
    let mut weights = vec![0.0; BLOCK_CELLS * orientations * votes * BLOCK_CELLS];
    for cell in 0..BLOCK_CELLS {
        for orientation in 0..orientations {
            let row = (cell * orientations + orientation) * votes;
            weights[(row + orientation) * BLOCK_CELLS + cell] = 1.0;
            if orientation == 0 {
                weights[(row + orientations) * BLOCK_CELLS + cell] = 1.0;
            }
        }
    }
    let dims = [BLOCK_CELLS * orientations, votes, 2, 2];
    let weights = graph.floats(&dims, &weights);
    let kernel = Attribute::Integers("kernel_shape", &[2, 2]);
    graph.node_with("Conv", &[cells, &weights], &[kernel])
}

/// The components of a description, images x values, brought to their length.
pub fn project(graph: &mut Graph, description: &Value, projection: &Projection) -> Value {
    let (len, dims) = (projection.mean.len(), projection.part.dims);
    let mean = graph.floats(&[len], &projection.mean);
    let axes = graph.floats(&[len, dims], &projection.axes);
    let centred = graph.node("Sub", &[description, &mean]);
    let components = graph.node("MatMul", &[&centred, &axes]);
    let length = length(graph, &components);
    let [shortest, wanted, zero] =
        [MIN_LENGTH, projection.part.length, 0.0].map(|number| graph.number(number));
    let directed = graph.node("Greater", &[&length, &shortest]);
    let divisor = graph.node("Max", &[&length, &shortest]);
    let scale = graph.node("Div", &[&wanted, &divisor]);
    let scale = graph.node("Where", &[&directed, &scale, &zero]);
    graph.node("Mul", &[&components, &scale])
}

/// The length of each row.
pub fn length(graph: &mut Graph, rows: &Value) -> Value {
    graph.node_with("ReduceL2", &[rows], &[Attribute::Integers("axes", &[1])])
}

/// The square roots of the share of pixels in each bin of colours, images x bins. `images` are
/// images x height x width x 3, 0 to 255.
///
/// Each step is one operator of its own, in the order of
/// [`colours`](lookalike_images::colours): grey pixels lie where the square root of a difference
/// makes much of the last bit. For the same reason divisors are no single numbers, by whose
/// reciprocals some runtimes multiply instead.
pub fn colour_shares(
    graph: &mut Graph,
    images: &Value,
    pixels: usize,
    [levels, blues, reds]: [usize; 3],
) -> Value {
    let flat = graph.integers(&[-1, pixels as i64, 3]);
    let flat = graph.node("Reshape", &[images, &flat]);
    let most = graph.floats(&[3], &[255.0; 3]);
    let flat = graph.node("Div", &[&flat, &most]);
    let axis = graph.integers(&[2]);
    let column = |graph: &mut Graph, value: &Value, at: i64| {
        let [start, end] = [at, at + 1].map(|at| graph.integers(&[at]));
        graph.node("Slice", &[value, &start, &end, &axis])
    };
    let [r, g, b] = [0, 1, 2].map(|channel| column(graph, &flat, channel));
    let parts = [(&r, LUMA[0]), (&g, LUMA[1]), (&b, LUMA[2])].map(|(channel, weight)| {
        let weight = graph.number(weight);
        graph.node("Mul", &[&weight, channel])
    });
    let luma = graph.node("Add", &[&parts[0], &parts[1]]);
    let luma = graph.node("Add", &[&luma, &parts[2]]);
    let chroma = chroma(graph, [&b, &r], &luma);

    let last = [levels, blues, reds].map(|count| (count - 1) as f32);
    let luma = places(graph, &luma, &last[..1]);
    let chroma = places(graph, &chroma, &last[1..]);
    let [blue, red] = [0, 1].map(|at| column(graph, &chroma, at));
    let luma = hats(graph, &luma, &[1, 1, levels]);
    let red = hats(graph, &red, &[1, 1, reds]);
    let across = graph.integers(&[-1, 1, pixels as i64]);
    let blue = graph.node("Reshape", &[&blue, &across]);
    let blue = hats(graph, &blue, &[1, blues, 1]);
    // One level after another: all pairs of levels and blues at once would be many floats a pixel.
    let of_levels: Vec<Value> = (0..levels as i64)
        .map(|level| {
            let weight = column(graph, &luma, level);
            let red = graph.node("Mul", &[&red, &weight]);
            graph.node("MatMul", &[&blue, &red])
        })
        .collect();
    let all: Vec<&Value> = of_levels.iter().collect();
    let sums = graph.node_with("Concat", &all, &[Attribute::Integer("axis", 1)]);
    let sums = graph.node_with("Flatten", &[&sums], &[Attribute::Integer("axis", 1)]);
    let count = graph.number(pixels as f32);
    let shares = graph.node("Div", &[&sums, &count]);
    graph.node("Sqrt", &[&shares])
}

/// The differences of blue and red from the luma as 0 to 1, images x pixels x 2, with finer steps
/// near grey.
fn chroma(graph: &mut Graph, ends: [&Value; 2], luma: &Value) -> Value {
    let half = graph.number(0.5);
    let range = graph.floats(&[2], &CHROMA_RANGE);
    let ends = graph.node_with("Concat", &ends, &[Attribute::Integer("axis", 2)]);
    let difference = graph.node("Sub", &[&ends, luma]);
    let difference = graph.node("Div", &[&difference, &range]);
    let size = graph.node("Abs", &[&difference]);
    let root = graph.node("Sqrt", &[&size]);
    let root = graph.node("Mul", &[&half, &root]);
    let sign = graph.node("Sign", &[&difference]);
    let root = graph.node("Mul", &[&root, &sign]);
    graph.node("Add", &[&half, &root])
}

/// Where values of 0 to 1 lie among evenly spaced bins, by the number of the last one.
fn places(graph: &mut Graph, value: &Value, last: &[f32]) -> Value {
    let [zero, one] = [0.0, 1.0].map(|number| graph.number(number));
    let last = graph.floats(&[last.len()], last);
    let value = graph.node("Clip", &[value, &zero, &one]);
    graph.node("Mul", &[&value, &last])
}
