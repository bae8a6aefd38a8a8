//! What has to be known of an ONNX file before it is run.
//!
//! The messages below are those of `onnx.proto` with only the fields that are needed; the rest is
//! skipped, and weights are not copied. Nesting is limited by the decoder.

mod cubic;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use bytes::Bytes;
use prost::Message;

use crate::PretrainedError;
pub(crate) use cubic::{Computed, replace};

/// Elements of a tensor that a model makes by a constant shape; beyond it the file is taken to be
/// damaged.
const MAX_MADE: u64 = 1 << 28;

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "14")]
    metadata: Vec<Entry>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

/// Nodes under a name, which other nodes can have as their operator.
#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "11")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "15")]
    sparse: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    outputs: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    operator: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    float: f32,
    #[prost(int64, tag = "3")]
    integer: i64,
    #[prost(bytes = "bytes", tag = "4")]
    text: Bytes,
    #[prost(message, optional, tag = "5")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    sparse: Option<SparseTensor>,
    #[prost(message, repeated, tag = "23")]
    sparses: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct SparseTensor {
    #[prost(message, optional, tag = "1")]
    values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    // Not packed when it is written: the runtime does not read that.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    floats: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    int32s: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    int64s: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "bytes", optional, tag = "9")]
    raw: Option<Bytes>,
    #[prost(double, repeated, tag = "10")]
    doubles: Vec<f64>,
    #[prost(message, repeated, tag = "13")]
    external: Vec<Entry>,
    #[prost(int32, tag = "14")]
    location: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dims: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

/// ONNX's numbers for the types of elements that inputs of images and texts have.
pub(crate) mod element {
    pub(crate) const FLOAT: i32 = 1;
    pub(crate) const UINT8: i32 = 2;
    pub(crate) const INT32: i32 = 6;
    pub(crate) const INT64: i32 = 7;
    pub(crate) const FLOAT16: i32 = 10;
    pub(crate) const DOUBLE: i32 = 11;
}
/// The types that hold numbers of any size.
pub(crate) const FLOATS: [i32; 3] = [element::FLOAT, element::FLOAT16, element::DOUBLE];
/// The types of tokens.
#[cfg(feature = "text")]
pub(crate) const INTEGERS: [i32; 2] = [element::INT32, element::INT64];

/// An input or output of a model.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    /// ONNX's number of the element type, 0 where it is not given.
    pub(crate) element: i32,
    /// Its dimensions, where they are given.
    pub(crate) shape: Option<Vec<Size>>,
}

/// One dimension of a shape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Size {
    Fixed(usize),
    /// A name, possibly empty.
    Open(String),
}

impl Port {
    pub(crate) fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// A dimension that is given as a number.
    pub(crate) fn fixed(&self, dimension: usize) -> Option<usize> {
        match self.shape.as_ref()?.get(dimension)? {
            Size::Fixed(size) => Some(*size),
            Size::Open(_) => None,
        }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(shape) = &self.shape {
            let dims: Vec<String> = shape
                .iter()
                .map(|size| match size {
                    Size::Fixed(size) => size.to_string(),
                    Size::Open(name) if name.is_empty() => "?".to_owned(),
                    Size::Open(name) => name.clone(),
                })
                .collect();
            write!(f, " [{}]", dims.join(", "))?;
        }
        Ok(())
    }
}

/// Weights in another file.
pub(crate) struct External {
    pub(crate) location: String,
    offset: u64,
    length: u64,
}

impl External {
    /// Where the weights end in the other file.
    pub(crate) fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }
}

/// What a file says of its model.
pub(crate) struct Inspection {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    /// Weights that lie in other files, inside the model's folder.
    pub(crate) external: Vec<External>,
    /// What else its makers say of it: keys and values.
    pub(crate) metadata: Vec<(String, String)>,
    /// Nodes that the runtime would compute wrongly, and what they give.
    pub(crate) computed: Vec<Computed>,
}

/// Reads what a file says of its model, and refuses what would be run wrongly by a runtime that has
/// cubic interpolation or has not.
pub(crate) fn inspect(
    bytes: &Bytes,
    path: &Path,
    has_cubic: bool,
) -> Result<Inspection, PretrainedError> {
    let not_onnx = |reason: String| PretrainedError::NotOnnx {
        path: path.to_owned(),
        reason,
    };
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(not_onnx("it is a pointer to a Git LFS file".to_owned()));
    }
    let model = Model::decode(bytes.clone()).map_err(|error| not_onnx(error.to_string()))?;
    let metadata = model.metadata.into_iter();
    let metadata = metadata.map(|entry| (entry.key, entry.value)).collect();
    let graph = model.graph.filter(|graph| !graph.nodes.is_empty());
    let graph = graph.ok_or_else(|| not_onnx("it has no graph".to_owned()))?;
    let mut inspection = Inspection {
        inputs: Vec::new(),
        outputs: graph.outputs.iter().map(port).collect(),
        external: Vec::new(),
        metadata,
        computed: Vec::new(),
    };
    let external = &mut inspection.external;
    inspection.computed = check_graph(&graph, path, has_cubic, external)?;
    for function in model.functions {
        let attributes = function.attributes.iter();
        let attributes = attributes.chain(function.nodes.iter().flat_map(|node| &node.attributes));
        for attribute in attributes {
            check_attribute(attribute, path, has_cubic, external)?;
        }
    }
    // Old files list their weights among the inputs.
    let weights: BTreeSet<&str> = graph
        .initializers
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs = graph
        .inputs
        .iter()
        .filter(|input| !weights.contains(input.name.as_str()));
    inspection.inputs = inputs.map(port).collect();
    if inspection.inputs.is_empty() || inspection.outputs.is_empty() {
        return Err(not_onnx("its graph has no inputs or no outputs".to_owned()));
    }
    Ok(inspection)
}

fn port(value: &ValueInfo) -> Port {
    let tensor = value.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let size = |dim: &Dim| match dim.value.and_then(|size| usize::try_from(size).ok()) {
        Some(size) if size > 0 => Size::Fixed(size),
        _ => Size::Open(dim.name.clone().unwrap_or_default()),
    };
    Port {
        name: value.name.clone(),
        element: tensor.map_or(0, |tensor| tensor.element),
        shape: tensor
            .and_then(|tensor| tensor.shape.as_ref())
            .map(|shape| shape.dims.iter().map(size).collect()),
    }
}

/// Refuses what would be run wrongly, but for what can be computed here, which it gives.
fn check_graph(
    graph: &Graph,
    path: &Path,
    has_cubic: bool,
    external: &mut Vec<External>,
) -> Result<Vec<Computed>, PretrainedError> {
    let unsupported = |reason: String| PretrainedError::Unsupported {
        path: path.to_owned(),
        reason,
    };
    let mut computed = Vec::new();
    let attribute =
        |node: &'_ Node, name: &str| node.attributes.iter().position(|a| a.name == name);
    // Shapes given as constants.
    let mut constants: HashMap<&str, &Tensor> = HashMap::new();
    for tensor in &graph.initializers {
        check_tensor(tensor, path, external)?;
        constants.insert(&tensor.name, tensor);
    }
    for sparse in &graph.sparse {
        check_sparse(sparse, path, external)?;
    }
    for node in &graph.nodes {
        for attribute in &node.attributes {
            if check_attribute(attribute, path, has_cubic, external)? {
                let reason = "it is inside a branch or a loop";
                return Err(unsupported(cubic_refusal(node, reason)));
            }
        }
        if node.operator == "Constant"
            && let Some(place) = attribute(node, "value")
            && let (Some(tensor), [output]) =
                (&node.attributes[place].tensor, node.outputs.as_slice())
        {
            constants.insert(output, tensor);
        }
    }
    for (place, node) in graph.nodes.iter().enumerate() {
        match node.operator.as_str() {
            // The runtime would take a linear one instead, without a word.
            "Resize" | "Upsample" if !has_cubic => {
                let cubic = |place: usize| {
                    let mode = &node.attributes[place].text;
                    mode.as_ref() == b"cubic" || mode.as_ref() == b"bicubic"
                };
                if attribute(node, "mode").is_some_and(cubic) {
                    let result = cubic::compute(node, place, &constants, &computed);
                    let refused = |reason: String| unsupported(cubic_refusal(node, &reason));
                    computed.push(result.map_err(refused)?);
                }
            }
            // Both are computed while the model is loaded.
            "ConstantOfShape" | "Expand" => {
                let shape = node
                    .inputs
                    .last()
                    .and_then(|input| constants.get(input.as_str()));
                if let Some(shape) = shape.and_then(|tensor| integers(tensor))
                    && elements(&shape).is_none_or(|elements| elements > MAX_MADE)
                {
                    return Err(unsupported(format!(
                        "its node {:?} makes a tensor of the shape {shape:?}; the file may be damaged: download or \
                         export it again",
                        node.name
                    )));
                }
            }
            _ => {}
        }
    }
    Ok(computed)
}

fn cubic_refusal(node: &Node, reason: &str) -> String {
    format!(
        "its node {:?} resizes by cubic interpolation, which rten does not have, and cannot be computed \
         beforehand: {reason}; export the model for one image size, with constant folding, so that position \
         embeddings are constant, or use ONNX Runtime",
        node.name
    )
}

/// The numbers of a constant `int64` tensor.
fn integers(tensor: &Tensor) -> Option<Vec<i64>> {
    match (&tensor.raw, tensor.data_type) {
        (Some(raw), 7) => Some(
            raw.as_chunks::<8>()
                .0
                .iter()
                .map(|&bytes| i64::from_le_bytes(bytes))
                .collect(),
        ),
        (None, 7) => Some(tensor.int64s.clone()),
        _ => None,
    }
}

fn elements(dims: &[i64]) -> Option<u64> {
    dims.iter().try_fold(1u64, |product, &dim| {
        product.checked_mul(u64::try_from(dim).ok()?)
    })
}

/// Checks the tensors and graphs of an attribute, and says whether one of the graphs has nodes that
/// would have to be computed beforehand.
fn check_attribute(
    attribute: &Attribute,
    path: &Path,
    has_cubic: bool,
    external: &mut Vec<External>,
) -> Result<bool, PretrainedError> {
    for tensor in attribute.tensor.iter().chain(&attribute.tensors) {
        check_tensor(tensor, path, external)?;
    }
    for sparse in attribute.sparse.iter().chain(&attribute.sparses) {
        check_sparse(sparse, path, external)?;
    }
    let mut computes = false;
    for graph in attribute.graph.iter().chain(&attribute.graphs) {
        computes |= !check_graph(graph, path, has_cubic, external)?.is_empty();
    }
    Ok(computes)
}

fn check_sparse(
    sparse: &SparseTensor,
    path: &Path,
    external: &mut Vec<External>,
) -> Result<(), PretrainedError> {
    for tensor in sparse.values.iter().chain(&sparse.indices) {
        check_tensor(tensor, path, external)?;
    }
    Ok(())
}

/// Whether a tensor has as many numbers as it declares.
fn check_tensor(
    tensor: &Tensor,
    path: &Path,
    external: &mut Vec<External>,
) -> Result<(), PretrainedError> {
    let not_onnx = |found: String| PretrainedError::NotOnnx {
        path: path.to_owned(),
        reason: format!(
            "its tensor {:?} declares the shape {:?}, but has {found}",
            tensor.name, tensor.dims
        ),
    };
    let width = match tensor.data_type {
        2 | 3 | 9 => 1,
        4 | 5 | 10 | 16 => 2,
        1 | 6 | 12 => 4,
        7 | 11 | 13 => 8,
        // Not read by the runtime, which names the type.
        _ => return Ok(()),
    };
    let declared = elements(&tensor.dims);
    let bytes = declared.and_then(|elements| elements.checked_mul(width));
    if tensor.location == 1 {
        let entry = |key: &str| {
            tensor
                .external
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| entry.value.as_str())
        };
        let location = entry("location").unwrap_or_default().to_owned();
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => {
                text.parse::<u64>()
                    .map(Some)
                    .map_err(|_| PretrainedError::ExternalData {
                        path: path.to_owned(),
                        location: location.clone(),
                        reason: format!(
                            "its {key} is {text:?}, expected a number; export the model again"
                        ),
                    })
            }
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.or(bytes));
        return match (length, bytes) {
            (Some(length), Some(bytes)) if length == bytes => {
                external.push(External {
                    location,
                    offset,
                    length,
                });
                Ok(())
            }
            _ => Err(not_onnx(format!(
                "{} bytes in {location:?}",
                length.unwrap_or(0)
            ))),
        };
    }
    if let Some(raw) = &tensor.raw {
        return match bytes == Some(raw.len() as u64) {
            true => Ok(()),
            false => Err(not_onnx(format!("{} bytes", raw.len()))),
        };
    }
    let found = match tensor.data_type {
        1 => tensor.floats.len(),
        7 => tensor.int64s.len(),
        11 => tensor.doubles.len(),
        12 | 13 => return Ok(()),
        _ => tensor.int32s.len(),
    };
    match declared == Some(found as u64) {
        true => Ok(()),
        false => Err(not_onnx(format!("{found} numbers"))),
    }
}
