//! What stands in a code behind what the network says, as ONNX operators: the shape, structures,
//! patches and the colours, as [`Gradients::describe_softly`], [`Structure::describe`],
//! [`Patches::describe`] and [`fine_colours`](lookalike_images::fine_colours) compute them.

use lookalike_images::{CHROMA_RANGE, Gradients, InputShape, LUMA, LocalGradients, Turn};

use super::graph::{Attribute, Graph, Value};
use super::network::transpose;
use crate::direct::{Direct, MIN_LENGTH, Projection};
use crate::patches::{self, Patches, cell_along};
use crate::structure::{self, FLOOR, QUARTER_WEIGHT, Structure};

/// Cells of a block: 2 x 2.
const BLOCK_CELLS: usize = 4;

/// The gradient of each pixel: its two components and its length, images x 1 x height x width.
struct Steepest {
    across: Value,
    down: Value,
    length: Value,
}

/// The components of where edges run, of structures and of patches. `planes` are images x channels
/// x height x width, 0 to 255.
pub fn look(graph: &mut Graph, planes: &Value, direct: &Direct) -> Value {
    let (gradients, contrast) = (&direct.gradients, direct.contrast);
    let shape = gradients.shape();
    let turns = direct.symmetry.turns(shape);
    // Behind one another as if they were so many times as many images.
    let turned = turns.iter().map(|&turn| turned(graph, planes, shape, turn));
    let turned: Vec<Value> = turned.collect();
    let planes = match &turned[..] {
        [only] => only.clone(),
        all => {
            let all: Vec<&Value> = all.iter().collect();
            graph.node_with("Concat", &all, &[Attribute::Integer("axis", 0)])
        }
    };
    let steepest = steepest(graph, &planes, shape);
    let mut parts = vec![edges(graph, &steepest, gradients, contrast)];
    for of_blocks in &direct.structures {
        parts.push(structure(graph, &steepest, of_blocks));
    }
    if let Some(patches) = &direct.patches {
        parts.push(summed_patches(graph, &planes, patches));
    }
    let mut description = match &parts[..] {
        [only] => only.clone(),
        several => {
            let several: Vec<&Value> = several.iter().collect();
            graph.node_with("Concat", &several, &[Attribute::Integer("axis", 1)])
        }
    };
    if turns.len() > 1 {
        let rows = graph.integers(&[turns.len() as i64, -1, direct.shape.mean.len() as i64]);
        let turned = graph.node("Reshape", &[&description, &rows]);
        let mean = graph.node_with(
            "ReduceMean",
            &[&turned],
            &[Attribute::Integers("axes", &[0])],
        );
        let rows = graph.integers(&[-1, direct.shape.mean.len() as i64]);
        description = graph.node("Reshape", &[&mean, &rows]);
    }
    // Here the values of a block of the shape are not beside each other but one map of blocks after
    // another.
    let projection = &direct.shape;
    let [rows, columns] = gradients.blocks();
    let (count, dims) = (rows * columns, projection.part.dims);
    let block = gradients.len() / count;
    let places: Vec<usize> = (0..gradients.len())
        .map(|index| index % count * block + index / count)
        .chain(gradients.len()..projection.mean.len())
        .collect();
    let moved = Projection {
        mean: places.iter().map(|&place| projection.mean[place]).collect(),
        axes: places
            .iter()
            .flat_map(|place| &projection.axes[place * dims..][..dims])
            .copied()
            .collect(),
        part: projection.part,
    };
    project(graph, &description, &moved)
}

/// Planes of images, turned.
fn turned(graph: &mut Graph, planes: &Value, shape: InputShape, turn: Turn) -> Value {
    // Exchanges rows and columns first, then left and right, then top and bottom.
    let (exchanged, mirrored, flipped) = match turn {
        Turn::None => return planes.clone(),
        Turn::Mirrored => (false, true, false),
        Turn::Rotated90 => (true, true, false),
        Turn::Rotated180 => (false, true, true),
        Turn::Rotated270 => (true, false, true),
        Turn::Flipped => (false, false, true),
        Turn::Transposed => (true, false, false),
        Turn::Transversed => (true, true, true),
    };
    let mut turned = planes.clone();
    if exchanged {
        turned = transpose(graph, &turned, &[0, 1, 3, 2]);
    }
    // Sides are exchanged only where they are equal.
    for (reverses, axis, side) in [(mirrored, 3, shape.width), (flipped, 2, shape.height)] {
        if reverses {
            let places: Vec<i64> = (0..side as i64).rev().collect();
            let places = graph.integers(&places);
            let axis = [Attribute::Integer("axis", axis)];
            turned = graph.node_with("Gather", &[&turned, &places], &axis);
        }
    }
    turned
}

/// Where edges run, one map of blocks after another.
fn edges(graph: &mut Graph, steepest: &Steepest, gradients: &Gradients, contrast: f32) -> Value {
    let orientation = orientation(graph, steepest);
    let votes = hats(
        graph,
        &orientation,
        // 180 degrees are 0 degrees, and are added to them below.
        &[1, Gradients::ORIENTATIONS + 1, 1, 1],
    );
    let votes = graph.node("Mul", &[&votes, &steepest.length]);
    let cells = cells(graph, &votes, gradients);
    let blocks = blocks(graph, &cells);
    let description = soften(graph, &blocks, contrast);
    let description = graph.node("Sqrt", &[&description]);
    graph.node_with("Flatten", &[&description], &[Attribute::Integer("axis", 1)])
}

/// Blocks, images x values x down x across, brought to a length that strong ones share.
fn soften(graph: &mut Graph, blocks: &Value, contrast: f32) -> Value {
    let squares = graph.node_with(
        "ReduceSumSquare",
        &[blocks],
        &[Attribute::Integers("axes", &[1])],
    );
    let weakest = graph.number(contrast * contrast);
    let squares = graph.node("Add", &[&squares, &weakest]);
    let lengths = graph.node("Sqrt", &[&squares]);
    let smallest = graph.number(f32::MIN_POSITIVE);
    let lengths = graph.node("Max", &[&lengths, &smallest]);
    let blocks = graph.node("Div", &[blocks, &lengths]);
    graph.node("Relu", &[&blocks])
}

/// The description by local structures, images x values.
fn structure(graph: &mut Graph, steepest: &Steepest, structure: &Structure) -> Value {
    let [down, across] = structure.blocks.grid();
    let (count, means) = (down * across, &structure.means);
    let (dims, kinds) = (means.dims, means.rows.len() / means.dims);
    let blocks = local_blocks(graph, steepest, &structure.blocks);
    let blocks = soften(graph, &blocks, structure.contrast);
    let blocks = graph.node("Sqrt", &[&blocks]);
    let rows = graph.integers(&[-1, LocalGradients::BLOCK as i64, count as i64]);
    let blocks = graph.node("Reshape", &[&blocks, &rows]);
    let blocks = transpose(graph, &blocks, &[0, 2, 1]);
    let mean = graph.floats(&[LocalGradients::BLOCK], &structure.mean);
    let axes = graph.floats(&[LocalGradients::BLOCK, dims], &structure.axes);
    let blocks = graph.node("Sub", &[&blocks, &mean]);
    let components = graph.node("MatMul", &[&blocks, &axes]);

    // Squared distances from the kinds' means, less what all kinds have in common.
    let towards: Vec<f32> = (0..dims * kinds)
        .map(|at| -2.0 * means.rows[at % kinds * dims + at / kinds])
        .collect();
    let towards = graph.floats(&[dims, kinds], &towards);
    let squares: Vec<f32> = means.rows.chunks_exact(dims).map(square).collect();
    let squares = graph.floats(&[kinds], &squares);
    let distances = graph.node("MatMul", &[&components, &towards]);
    let distances = graph.node("Add", &[&distances, &squares]);
    let last = [Attribute::Integers("axes", &[2])];
    let least = graph.node_with("ReduceMin", &[&distances], &last);
    let beyond = graph.node("Sub", &[&distances, &least]);
    let [one, margin] = [1.0, structure.margin].map(|number| graph.number(number));
    let beyond = graph.node("Div", &[&beyond, &margin]);
    let shares = graph.node("Sub", &[&one, &beyond]);
    let shares = graph.node("Relu", &[&shares]);
    let shares = graph.node("Mul", &[&shares, &shares]);
    let total = sum_last(graph, &shares, kinds);
    let shares = graph.node("Div", &[&shares, &total]);
    let shares = transpose(graph, &shares, &[0, 2, 1]);

    let means = graph.floats(&[kinds, dims], &means.rows);
    let quarters = [0, 1, 2, 3].map(|quarter| {
        let inside: Vec<f32> = (0..count)
            .map(|at| f32::from(u8::from(structure.quarter(at) == quarter)))
            .collect();
        let inside = graph.floats(&[count], &inside);
        let shares = graph.node("Mul", &[&shares, &inside]);
        let sums = graph.node("MatMul", &[&shares, &components]);
        let counts = sum_last(graph, &shares, count);
        let expected = graph.node("Mul", &[&counts, &means]);
        graph.node("Sub", &[&sums, &expected])
    });
    let whole = quarters[1..]
        .iter()
        .fold(quarters[0].clone(), |sum, quarter| {
            graph.node("Add", &[&sum, quarter])
        });
    let mut regions = vec![region(graph, &whole, 1.0)];
    for quarter in &quarters {
        regions.push(region(graph, quarter, QUARTER_WEIGHT));
    }
    let regions: Vec<&Value> = regions.iter().collect();
    graph.node_with("Concat", &regions, &[Attribute::Integer("axis", 1)])
}

/// The description by patches, images x values.
fn summed_patches(graph: &mut Graph, planes: &Value, patches: &Patches) -> Value {
    let grid = &patches.grid;
    let (side, reduction, channels) = (grid.side, grid.reduction, grid.shape.channels);
    let (components, kinds) = (patches.offsets.len(), patches.kinds());
    // Brightness, reduced; about 0, so that differences of squares below stay exact.
    let share = 1.0 / (reduction * reduction) as f32;
    let channel = |channel: usize| match channels {
        3 => share * LUMA[channel],
        _ => share,
    };
    let weights: Vec<f32> = (0..channels)
        .flat_map(|at| vec![channel(at); reduction * reduction])
        .collect();
    let weights = graph.floats(&[1, channels, reduction, reduction], &weights);
    let middle = graph.floats(&[1], &[-127.5]);
    let window = Attribute::Integers("kernel_shape", &[reduction, reduction]);
    let strides = Attribute::Integers("strides", &[reduction, reduction]);
    let reduced = graph.node_with("Conv", &[planes, &weights, &middle], &[window, strides]);

    let mean = vec![1.0 / grid.pixels() as f32; grid.pixels()];
    let mean = graph.floats(&[1, 1, side, side], &mean);
    let window = [Attribute::Integers("kernel_shape", &[side, side])];
    let means = graph.node_with("Conv", &[&reduced, &mean], &window);
    let squares = graph.node("Mul", &[&reduced, &reduced]);
    let squares = graph.node_with("Conv", &[&squares, &mean], &window);
    let squared = graph.node("Mul", &[&means, &means]);
    let variance = graph.node("Sub", &[&squares, &squared]);
    let variance = graph.node("Relu", &[&variance]);
    let least = graph.number(patches::MIN_VARIANCE);
    let variance = graph.node("Add", &[&variance, &least]);
    let deviation = graph.node("Sqrt", &[&variance]);

    // Each axis less its mean, so that the patch's mean does not count.
    let mut axes = Vec::with_capacity(patches.axes.len());
    for component in 0..components {
        let axis = patches.axes.iter().skip(component).step_by(components);
        let mean = axis.clone().sum::<f32>() / grid.pixels() as f32;
        axes.extend(axis.map(|value| value - mean));
    }
    let axes = graph.floats(&[components, 1, side, side], &axes);
    let offsets = graph.floats(&[components, 1, 1], &patches.offsets);
    let found = graph.node_with("Conv", &[&reduced, &axes], &window);
    let found = graph.node("Div", &[&found, &deviation]);
    let found = graph.node("Add", &[&found, &offsets]);
    let towards: Vec<f32> = (0..kinds)
        .flat_map(|kind| patches.kinds.iter().skip(kind).step_by(kinds))
        .copied()
        .collect();
    let towards = graph.floats(&[kinds, components, 1, 1], &towards);
    let beyond = graph.floats(&[kinds], &vec![-patches::THRESHOLD; kinds]);
    let window = [Attribute::Integers("kernel_shape", &[1, 1])];
    let shares = graph.node_with("Conv", &[&found, &towards, &beyond], &window);
    let shares = graph.node("Relu", &[&shares]);

    let [down, across] = grid.patches();
    let [rows, columns] = grid.cells();
    let left = cell_shares(down, rows);
    let shares_across = cell_shares(across, columns);
    let right: Vec<f32> = (0..across * columns)
        .map(|at| shares_across[at % columns * across + at / columns])
        .collect();
    let right = graph.floats(&[across, columns], &right);
    let left = graph.floats(&[rows, down], &left);
    let means = graph.node("MatMul", &[&shares, &right]);
    let means = graph.node("MatMul", &[&left, &means]);
    let [floor, root] = [patches::FLOOR, patches::FLOOR.sqrt()].map(|number| graph.number(number));
    let means = graph.node("Add", &[&means, &floor]);
    let roots = graph.node("Sqrt", &[&means]);
    let roots = graph.node("Sub", &[&roots, &root]);
    let roots = transpose(graph, &roots, &[0, 2, 3, 1]);
    graph.node_with("Flatten", &[&roots], &[Attribute::Integer("axis", 1)])
}

/// What makes means of cells, a row each, from patches along one side of the image.
fn cell_shares(patches: usize, cells: usize) -> Vec<f32> {
    let mut shares = vec![0.0; cells * patches];
    for (own, row) in shares.chunks_exact_mut(patches).enumerate() {
        let inside = (0..patches).filter(|&at| cell_along(at, patches, cells) == own);
        let count = inside.clone().count() as f32;
        inside.for_each(|at| row[at] = 1.0 / count);
    }
    shares
}

fn square(row: &[f32]) -> f32 {
    row.iter().map(|value| value * value).sum()
}

/// The sums over the last dimension, of so many values, which stays as one.
fn sum_last(graph: &mut Graph, value: &Value, count: usize) -> Value {
    let ones = graph.floats(&[count, 1], &vec![1.0; count]);
    graph.node("MatMul", &[value, &ones])
}

/// Square roots with their signs of a region's values, brought to a length.
fn region(graph: &mut Graph, sums: &Value, wanted: f32) -> Value {
    let flat = graph.node_with("Flatten", &[sums], &[Attribute::Integer("axis", 1)]);
    let sizes = graph.node("Abs", &[&flat]);
    let signs = graph.node("Sign", &[&flat]);
    let least = structure::MIN_LENGTH * structure::MIN_LENGTH;
    let [floor, root, least, wanted] =
        [FLOOR, FLOOR.sqrt(), least, wanted].map(|number| graph.number(number));
    let sizes = graph.node("Add", &[&sizes, &floor]);
    let roots = graph.node("Sqrt", &[&sizes]);
    let roots = graph.node("Sub", &[&roots, &root]);
    let roots = graph.node("Mul", &[&roots, &signs]);
    let square = graph.node_with(
        "ReduceSumSquare",
        &[&roots],
        &[Attribute::Integers("axes", &[1])],
    );
    let square = graph.node("Add", &[&square, &least]);
    let length = graph.node("Sqrt", &[&square]);
    let scale = graph.node("Div", &[&wanted, &length]);
    graph.node("Mul", &[&roots, &scale])
}

/// Local blocks, images x [`LocalGradients::BLOCK`] x down x across.
fn local_blocks(graph: &mut Graph, steepest: &Steepest, local: &LocalGradients) -> Value {
    const DIRECTIONS: usize = LocalGradients::DIRECTIONS;
    let step = local.step();
    let direction = direction(graph, steepest);
    // The whole circle is 0 degrees, and is added to them.
    let votes = hats(graph, &direction, &[1, DIRECTIONS + 1, 1, 1]);
    let votes = graph.node("Mul", &[&votes, &steepest.length]);
    // Cells of 2 x 2 steps, at every step.
    let (side, scale) = (2 * step, 1.0 / (255 * 4 * step * step) as f32);
    let mut weights = vec![0.0; DIRECTIONS * (DIRECTIONS + 1) * side * side];
    for (at, values) in weights.chunks_exact_mut(side * side).enumerate() {
        let (to, from) = (at / (DIRECTIONS + 1), at % (DIRECTIONS + 1));
        if from % DIRECTIONS == to {
            values.fill(scale);
        }
    }
    let weights = graph.floats(&[DIRECTIONS, DIRECTIONS + 1, side, side], &weights);
    let cells = graph.node_with(
        "Conv",
        &[&votes, &weights],
        &[
            Attribute::Integers("kernel_shape", &[side, side]),
            Attribute::Integers("strides", &[step, step]),
        ],
    );
    // The cells of each block, two steps apart: a convolution that copies.
    const CORNERS: [usize; 4] = [0, 2, 6, 8];
    let mut weights = vec![0.0; LocalGradients::BLOCK * DIRECTIONS * 9];
    for (cell, corner) in CORNERS.into_iter().enumerate() {
        for direction in 0..DIRECTIONS {
            let row = (cell * DIRECTIONS + direction) * DIRECTIONS + direction;
            weights[row * 9 + corner] = 1.0;
        }
    }
    let weights = graph.floats(&[LocalGradients::BLOCK, DIRECTIONS, 3, 3], &weights);
    let kernel = Attribute::Integers("kernel_shape", &[3, 3]);
    graph.node_with("Conv", &[&cells, &weights], &[kernel])
}

/// The gradient of each pixel, of the channel where it is longest.
fn steepest(graph: &mut Graph, planes: &Value, shape: InputShape) -> Steepest {
    let InputShape {
        channels,
        height,
        width,
    } = shape;
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
        return Steepest {
            across,
            down,
            length,
        };
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
    Steepest {
        length: graph.node("Sqrt", &[&square]),
        across,
        down,
    }
}

/// One channel, the second dimension, of a value.
fn slice(graph: &mut Graph, value: &Value, channel: usize) -> Value {
    let [start, end, axis] = [channel, channel + 1, 1].map(|at| graph.integers(&[at as i64]));
    graph.node("Slice", &[value, &start, &end, &axis])
}

/// The angle between gradients and the row they lie in, 0 to `right` from 0 to 90 degrees.
fn within_quarter(graph: &mut Graph, gradient: &Steepest, right: f32) -> Value {
    let (across, down) = (&gradient.across, &gradient.down);
    let [one, scale, right] =
        [1.0, right / std::f32::consts::FRAC_PI_2, right].map(|number| graph.number(number));
    let [width, height] = [across, down].map(|part| graph.node("Abs", &[part]));
    let shorter = graph.node("Min", &[&width, &height]);
    // Whole numbers, so that 1 changes only what would be 0 / 0.
    let longer = graph.node("Max", &[&width, &height, &one]);
    let tangent = graph.node("Div", &[&shorter, &longer]);
    let angle = graph.node("Atan", &[&tangent]);
    let within_45 = graph.node("Mul", &[&angle, &scale]);
    let steep = graph.node("Greater", &[&height, &width]);
    let beyond = graph.node("Sub", &[&right, &within_45]);
    graph.node("Where", &[&steep, &beyond, &within_45])
}

/// The orientation of gradients, 0 to 9 from 0 to 180 degrees, opposite directions alike.
fn orientation(graph: &mut Graph, gradient: &Steepest) -> Value {
    let all = Gradients::ORIENTATIONS as f32;
    let within_90 = within_quarter(graph, gradient, all / 2.0);
    let [zero, whole] = [0.0, all].map(|number| graph.number(number));
    let product = graph.node("Mul", &[&gradient.across, &gradient.down]);
    let falling = graph.node("Less", &[&product, &zero]);
    let beyond = graph.node("Sub", &[&whole, &within_90]);
    graph.node("Where", &[&falling, &beyond, &within_90])
}

/// The direction of gradients, 0 to 8 from 0 to 360 degrees.
fn direction(graph: &mut Graph, gradient: &Steepest) -> Value {
    let all = LocalGradients::DIRECTIONS as f32;
    let within_90 = within_quarter(graph, gradient, all / 4.0);
    let [zero, eighth, half, whole] =
        [0.0, all / 8.0, all / 2.0, all].map(|number| graph.number(number));
    // Exact, as it is there; what has no length votes for nothing.
    let [width, height] = [&gradient.across, &gradient.down].map(|part| graph.node("Abs", &[part]));
    let diagonal = graph.node("Equal", &[&width, &height]);
    let within_90 = graph.node("Where", &[&diagonal, &eighth, &within_90]);
    let leftwards = graph.node("Less", &[&gradient.across, &zero]);
    let upwards = graph.node("Less", &[&gradient.down, &zero]);
    let mirrored = graph.node("Sub", &[&half, &within_90]);
    let lower = graph.node("Where", &[&leftwards, &mirrored, &within_90]);
    let turned = graph.node("Add", &[&half, &within_90]);
    let mirrored = graph.node("Sub", &[&whole, &within_90]);
    let upper = graph.node("Where", &[&leftwards, &turned, &mirrored]);
    graph.node("Where", &[&upwards, &upper, &lower])
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
