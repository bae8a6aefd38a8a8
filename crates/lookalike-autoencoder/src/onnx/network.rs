//! The encoder's layers as ONNX operators, channels first.

use super::graph::{Attribute, Graph, Value};
use crate::architecture::Layer;
use crate::batch::MIN_DEVIATION;
use crate::network::Folded;

/// From images x height x width x channels to images x channels x height x width.
pub const TO_PLANES: [usize; 4] = [0, 3, 1, 2];
/// The way back.
const TO_PIXELS: [usize; 4] = [0, 2, 3, 1];

pub fn transpose(graph: &mut Graph, value: &Value, order: &[usize]) -> Value {
    graph.node_with("Transpose", &[value], &[Attribute::Integers("perm", order)])
}

/// Planes of bytes as the network takes them: 0 to 1 or, if it normalises, every image at mean 0
/// and standard deviation 1.
pub fn input(graph: &mut Graph, planes: &Value, normalises: bool) -> Value {
    if !normalises {
        let scale = graph.number(1.0 / 255.0);
        return graph.node("Mul", &[planes, &scale]);
    }
    let mean = |graph: &mut Graph, value: &Value| {
        graph.node_with(
            "ReduceMean",
            &[value],
            &[Attribute::Integers("axes", &[1, 2, 3])],
        )
    };
    // Twice, because a mean of many numbers is not exact, and images without contrast are
    // stretched a lot.
    let mut centred = planes.clone();
    for _ in 0..2 {
        let mean = mean(graph, &centred);
        centred = graph.node("Sub", &[&centred, &mean]);
    }
    let squares = graph.node("Mul", &[&centred, &centred]);
    let variance = mean(graph, &squares);
    let deviation = graph.node("Sqrt", &[&variance]);
    let least = graph.number(MIN_DEVIATION * 255.0);
    let deviation = graph.node("Max", &[&deviation, &least]);
    graph.node("Div", &[&centred, &deviation])
}

/// What the encoder says of its input, images x `code_dim`: maps height x width x channels.
pub fn encoder(graph: &mut Graph, folded: &Folded, input: &Value) -> Value {
    let Folded { plan, parameters } = folded;
    let mut value = input.clone();
    let mut is_map = true;
    for layer in &plan.encoder {
        match layer {
            Layer::Convolution {
                geometry,
                weight,
                bias,
                ..
            } => {
                debug_assert!(!geometry.upsample, "only decoders upsample");
                let dims = [geometry.out_channels, geometry.in_channels, 3, 3];
                let weight = graph.floats(&dims, &parameters[*weight]);
                let bias = bias.map(|bias| {
                    let values = &parameters[bias];
                    graph.floats(&[values.len()], values)
                });
                let padding = geometry.padding;
                let attributes = [
                    Attribute::Integers("kernel_shape", &[3, 3]),
                    Attribute::Integers("strides", &[geometry.stride; 2]),
                    Attribute::Integers(
                        "pads",
                        &[padding.top, padding.left, padding.bottom, padding.right],
                    ),
                ];
                let inputs: Vec<&Value> = [&value, &weight].into_iter().chain(&bias).collect();
                value = graph.node_with("Conv", &inputs, &attributes);
                if geometry.relu {
                    value = graph.node("Relu", &[&value]);
                }
            }
            Layer::MaxPool { height, width, .. } => {
                let attributes = [
                    Attribute::Integers("kernel_shape", &[2, 2]),
                    Attribute::Integers("strides", &[2, 2]),
                    Attribute::Integers("pads", &[0, 0, height % 2, width % 2]),
                ];
                value = graph.node_with("MaxPool", &[&value], &attributes);
            }
            Layer::Linear {
                outputs,
                weight,
                bias,
                relu,
            } => {
                let (weight, bias) = (&parameters[*weight], &parameters[*bias]);
                let inputs = weight.len() / outputs;
                if is_map {
                    value = flatten(graph, &value, inputs);
                    is_map = false;
                }
                // A variational encoder gives the log-variance behind the mean.
                let kept = match plan.variational {
                    true => plan.code_dim,
                    false => *outputs,
                };
                let rows = weight.chunks_exact(*outputs);
                let weight: Vec<f32> = rows.flat_map(|row| &row[..kept]).copied().collect();
                let weight = graph.floats(&[inputs, kept], &weight);
                let bias = graph.floats(&[kept], &bias[..kept]);
                value = graph.node("Gemm", &[&value, &weight, &bias]);
                if *relu {
                    value = graph.node("Relu", &[&value]);
                }
            }
        }
    }
    match is_map {
        true => flatten(graph, &value, plan.code_dim),
        false => value,
    }
}

/// Maps as rows of `len` floats, the channels of a place beside each other.
fn flatten(graph: &mut Graph, maps: &Value, len: usize) -> Value {
    let pixels = transpose(graph, maps, &TO_PIXELS);
    let dims = graph.integers(&[-1, len as i64]);
    graph.node("Reshape", &[&pixels, &dims])
}
