//! Cubic interpolation of constants, which the runtime does not have: it would interpolate linearly
//! without a word.
//!
//! Exporters leave such a `Resize` where position embeddings were learned for another image size.
//! It is computed here, once, and the node replaced by its result.

use std::collections::{HashMap, HashSet};

use super::{Attribute, Node, Tensor, elements, integers};

/// Numbers of all results of a file, at most: position embeddings have a few million.
const MAX_RESULTS: u64 = 1 << 24;
/// How many times more numbers a result may have than what it is made of: 16 along each side.
const MAX_GROWTH: u64 = 256;
/// The longest side of a result: each of its places costs memory before anything is computed.
const MAX_SIDE: usize = 1 << 14;
/// The message of ONNX's `Model` has its graph, and a graph its nodes and constants, in these
/// fields.
const GRAPH: u64 = 7;
const NODE: u64 = 1;
const INITIALIZER: u64 = 5;

/// A node that was computed.
#[derive(Debug)]
pub(crate) struct Computed {
    /// Its place among the graph's nodes.
    node: usize,
    /// The constant that takes its place, as a message.
    constant: Vec<u8>,
    /// Numbers of the constant.
    len: u64,
}

/// How the places of a result lie among those of what is resized.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// What a node asks for.
#[derive(Clone, Copy, Debug)]
struct Cubic {
    coordinates: Coordinates,
    /// The free number of the interpolation, the slope at distance 1.
    a: f32,
    /// Whether values beyond the edge count nothing, or repeat the edge.
    excludes_outside: bool,
}

/// Computes a cubic `Resize`, the graph's node at `place`. The error says why it cannot be;
/// one reason is that too much was computed `before`.
pub(super) fn compute(
    node: &Node,
    place: usize,
    constants: &HashMap<&str, &Tensor>,
    before: &[Computed],
) -> Result<Computed, String> {
    let cubic = Cubic::of(node)?;
    let input = |index: usize| node.inputs.get(index).filter(|name| !name.is_empty());
    let constant = |index: usize, what: &str| match input(index) {
        None => Ok(None),
        Some(name) => match constants.get(name.as_str()) {
            Some(tensor) => Ok(Some(*tensor)),
            None => Err(format!("its {what} is computed, not constant")),
        },
    };
    let source = constant(0, "input")?.ok_or("it has no input")?;
    let values = floats(source).ok_or("its input is not float32 inside the file")?;
    let dims: Vec<usize> = source
        .dims
        .iter()
        .map(|&dim| usize::try_from(dim).ok().filter(|&dim| dim > 0))
        .collect::<Option<_>>()
        .ok_or("its input is empty")?;
    let wanted = match (constant(2, "scales")?, constant(3, "size")?) {
        (_, Some(sizes)) => by_sizes(&dims, integers(sizes))?,
        (Some(scales), None) => by_scales(&dims, floats(scales))?,
        (None, None) => return Err("it has neither scales nor a size".to_owned()),
    };
    // One side after another is resized, so that a larger one may come before a smaller one.
    let sides = wanted.iter().zip(&dims);
    let made = sides
        .map(|((size, _), dim)| *size.max(dim) as u64)
        .try_fold(1, u64::checked_mul);
    let taken: u64 = before.iter().map(|computed| computed.len).sum();
    let most = (MAX_GROWTH * values.len() as u64).min(MAX_RESULTS - taken);
    let Some(len) = made.filter(|&made| made <= most) else {
        return Err(format!("its result would have more than {most} numbers"));
    };
    let (mut values, mut sizes) = (values, dims.clone());
    for (axis, &(size, scale)) in wanted.iter().enumerate() {
        if size != dims[axis] || scale != 1.0 {
            values = cubic.resize(&values, &sizes, axis, size, scale);
            sizes[axis] = size;
        }
    }
    let [output] = node.outputs.as_slice() else {
        return Err("it has no single output".to_owned());
    };
    let tensor = Tensor {
        dims: sizes.iter().map(|&size| size as i64).collect(),
        data_type: 1,
        name: output.clone(),
        raw: Some(
            values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
                .into(),
        ),
        ..Tensor::default()
    };
    Ok(Computed {
        node: place,
        constant: prost::Message::encode_to_vec(&tensor),
        len,
    })
}

/// Size and scale of each dimension where a node says the sizes.
fn by_sizes(dims: &[usize], sizes: Option<Vec<i64>>) -> Result<Vec<(usize, f32)>, String> {
    let sizes = sizes.filter(|sizes| sizes.len() == dims.len());
    let sizes = sizes.ok_or("its size is not one int64 for each dimension")?;
    let pair = |(&dim, size): (&usize, i64)| match usize::try_from(size) {
        Ok(size) if (1..=MAX_SIDE).contains(&size) => Ok((size, size as f32 / dim as f32)),
        _ => Err(format!("a side of {size} cannot be made")),
    };
    dims.iter().zip(sizes).map(pair).collect()
}

/// The same where it says the scales.
fn by_scales(dims: &[usize], scales: Option<Vec<f32>>) -> Result<Vec<(usize, f32)>, String> {
    let scales = scales.filter(|scales| scales.len() == dims.len());
    let scales = scales.ok_or("its scales are not one float for each dimension")?;
    let pair = |(&dim, scale): (&usize, f32)| {
        let size = (dim as f32 * scale).floor();
        match size >= 1.0 && size <= MAX_SIDE as f32 {
            true => Ok((size as usize, scale)),
            false => Err(format!(
                "a scale of {scale} cannot be applied to a side of {dim}"
            )),
        }
    };
    dims.iter().zip(scales).map(pair).collect()
}

impl Cubic {
    fn of(node: &Node) -> Result<Self, String> {
        if node.operator != "Resize" || node.inputs.len() < 3 {
            return Err(format!(
                "{} in its form before opset 11 is not supported",
                node.operator
            ));
        }
        let named = |name: &str| node.attributes.iter().find(|a| a.name == name);
        let text = |name: &str| named(name).map(|attribute| attribute.text.as_ref());
        let flag = |name: &str| named(name).is_some_and(|attribute| attribute.integer != 0);
        let coordinates = match text("coordinate_transformation_mode") {
            None | Some(b"half_pixel") => Coordinates::HalfPixel,
            Some(b"pytorch_half_pixel") => Coordinates::PytorchHalfPixel,
            Some(b"align_corners") => Coordinates::AlignCorners,
            Some(b"asymmetric") => Coordinates::Asymmetric,
            Some(other) => {
                let other = String::from_utf8_lossy(&other[..other.len().min(60)]);
                return Err(format!(
                    "its coordinate_transformation_mode {other:?} is not supported"
                ));
            }
        };
        if flag("antialias") {
            return Err("its attribute antialias is not supported".to_owned());
        }
        if named("axes").is_some() {
            return Err("its attribute axes is not supported".to_owned());
        }
        let stretches = text("keep_aspect_ratio_policy").is_none_or(|policy| policy == b"stretch");
        if !stretches {
            return Err("its keep_aspect_ratio_policy is not supported".to_owned());
        }
        Ok(Self {
            coordinates,
            a: named("cubic_coeff_a").map_or(-0.75, |attribute: &Attribute| attribute.float),
            excludes_outside: flag("exclude_outside"),
        })
    }

    /// Resizes one dimension of a tensor.
    fn resize(
        self,
        values: &[f32],
        dims: &[usize],
        axis: usize,
        size: usize,
        scale: f32,
    ) -> Vec<f32> {
        let side = dims[axis];
        let inner: usize = dims[axis + 1..].iter().product();
        let taps: Vec<[(usize, f32); 4]> = (0..size)
            .map(|place| self.taps(place, side, size, scale))
            .collect();
        let mut out = Vec::with_capacity(values.len() / side * size);
        for block in values.chunks_exact(side * inner) {
            for taps in &taps {
                out.extend((0..inner).map(|at| {
                    let parts = taps.map(|(from, weight)| block[from * inner + at] * weight);
                    parts.iter().sum::<f32>()
                }));
            }
        }
        out
    }

    /// Which four values make the one at `place`, and how much each counts.
    fn taps(self, place: usize, side: usize, size: usize, scale: f32) -> [(usize, f32); 4] {
        let place = place as f32;
        let at = match self.coordinates {
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if size == 1 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (place + 0.5) / scale - 0.5,
            Coordinates::AlignCorners => place * (side - 1) as f32 / (size - 1) as f32,
            Coordinates::Asymmetric => place / scale,
        };
        let lower = at.floor();
        let weights = self.weights(at - lower);
        let last = (side - 1) as f32;
        let mut taps = [0, 1, 2, 3].map(|tap: usize| {
            let from = lower + tap as f32 - 1.0;
            let outside = !(0.0..=last).contains(&from);
            let weight = match outside && self.excludes_outside {
                true => 0.0,
                false => weights[tap],
            };
            (from.clamp(0.0, last) as usize, weight)
        });
        if self.excludes_outside {
            let sum: f32 = taps.iter().map(|(_, weight)| weight).sum();
            taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        taps
    }

    /// How much the values at -1, 0, 1 and 2 count for one at `part` (Keys 1981).
    fn weights(self, part: f32) -> [f32; 4] {
        let a = self.a;
        let near = |x: f32| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
        let far = |x: f32| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
        [
            far(part + 1.0),
            near(part),
            near(1.0 - part),
            far(2.0 - part),
        ]
    }
}

/// The numbers of a `float32` tensor that lie in the file; as many as it declares.
fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    if tensor.data_type != 1 || tensor.location == 1 {
        return None;
    }
    let values = match &tensor.raw {
        Some(raw) => raw
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect(),
        None => tensor.floats.clone(),
    };
    (elements(&tensor.dims) == Some(values.len() as u64)).then_some(values)
}

/// The bytes of a model in which nodes that were computed are constants. All else is as it was.
pub(crate) fn replace(bytes: &[u8], computed: &[Computed]) -> Vec<u8> {
    let nodes: HashSet<usize> = computed.iter().map(|computed| computed.node).collect();
    let mut model = Vec::with_capacity(bytes.len());
    let mut seen = 0;
    let mut constants = Some(computed);
    for field in Fields(bytes) {
        let (GRAPH, Some(graph)) = (field.tag, field.content) else {
            model.extend_from_slice(field.whole);
            continue;
        };
        let mut kept = Vec::with_capacity(graph.len());
        // A message may come in parts, which count as one: constants go into the first.
        for computed in constants.take().into_iter().flatten() {
            write_field(&mut kept, INITIALIZER, &computed.constant);
        }
        for field in Fields(graph) {
            if field.tag == NODE {
                seen += 1;
                if nodes.contains(&(seen - 1)) {
                    continue;
                }
            }
            kept.extend_from_slice(field.whole);
        }
        write_field(&mut model, GRAPH, &kept);
    }
    model
}

fn write_field(out: &mut Vec<u8>, tag: u64, content: &[u8]) {
    prost::encoding::encode_varint(tag << 3 | 2, out);
    prost::encoding::encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// The fields of a message that was decoded before, one after another.
struct Fields<'a>(&'a [u8]);

struct Field<'a> {
    tag: u64,
    /// Bytes that the field holds, if it is of that kind.
    content: Option<&'a [u8]>,
    /// The field with its tag.
    whole: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let mut rest = self.0;
        let key = prost::encoding::decode_varint(&mut rest).ok()?;
        let mut content = None;
        let len = match key & 7 {
            0 => {
                prost::encoding::decode_varint(&mut rest).ok()?;
                0
            }
            1 => 8,
            2 => {
                let len = prost::encoding::decode_varint(&mut rest).ok()?;
                let len = usize::try_from(len).ok()?;
                content = Some(rest.get(..len)?);
                len
            }
            5 => 4,
            _ => return None,
        };
        let rest = rest.get(len..)?;
        let (whole, rest) = self.0.split_at(self.0.len() - rest.len());
        self.0 = rest;
        Some(Field {
            tag: key >> 3,
            content,
            whole,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What ONNX Runtime gives; `scripts/make-cubic-golden` writes it.
    #[derive(Deserialize)]
    struct Golden {
        input: Vec<f32>,
        dims: Vec<usize>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        coordinates: String,
        a: f32,
        exclude_outside: i64,
        scales: Option<Vec<f32>>,
        sizes: Option<Vec<i64>>,
        dims: Vec<i64>,
        output: Vec<f32>,
    }

    fn golden() -> Golden {
        let text = include_str!("../../tests/fixtures/cubic.json");
        serde_json::from_str(text).unwrap()
    }

    fn tensor(dims: &[i64], values: &[f32]) -> Tensor {
        Tensor {
            dims: dims.to_vec(),
            data_type: 1,
            floats: values.to_vec(),
            ..Tensor::default()
        }
    }

    fn text(name: &str, value: &str) -> Attribute {
        Attribute {
            name: name.to_owned(),
            text: value.as_bytes().to_vec().into(),
            ..Attribute::default()
        }
    }

    fn number(name: &str, value: i64) -> Attribute {
        Attribute {
            name: name.to_owned(),
            integer: value,
            ..Attribute::default()
        }
    }

    fn node(attributes: Vec<Attribute>) -> Node {
        Node {
            inputs: ["x", "", "scales", "sizes"].map(str::to_owned).to_vec(),
            outputs: vec!["y".to_owned()],
            operator: "Resize".to_owned(),
            attributes: [vec![text("mode", "cubic")], attributes].concat(),
            ..Node::default()
        }
    }

    #[test]
    fn results_are_those_of_onnx_runtime() {
        let golden = golden();
        assert!(golden.cases.len() > 20);
        let dims: Vec<i64> = golden.dims.iter().map(|&dim| dim as i64).collect();
        let x = tensor(&dims, &golden.input);
        for case in &golden.cases {
            let a = Attribute {
                name: "cubic_coeff_a".to_owned(),
                float: case.a,
                ..Attribute::default()
            };
            let mut node = node(vec![
                text("coordinate_transformation_mode", &case.coordinates),
                number("exclude_outside", case.exclude_outside),
                a,
            ]);
            let scales = case.scales.as_ref().map(|scales| tensor(&[4], scales));
            let sizes = case.sizes.as_ref().map(|sizes| Tensor {
                dims: vec![4],
                data_type: 7,
                int64s: sizes.clone(),
                ..Tensor::default()
            });
            let mut constants = HashMap::from([("x", &x)]);
            match (&scales, &sizes) {
                (Some(scales), _) => {
                    node.inputs.pop();
                    constants.insert("scales", scales);
                }
                (_, sizes) => {
                    node.inputs[2].clear();
                    constants.insert("sizes", sizes.as_ref().unwrap());
                }
            }
            let computed = compute(&node, 3, &constants, &[]).unwrap();
            let made: Tensor = prost::Message::decode(computed.constant.as_slice()).unwrap();
            assert_eq!((computed.node, made.name.as_str()), (3, "y"));
            assert_eq!(made.dims, case.dims);
            let values = floats(&made).unwrap();
            for (value, expected) in values.iter().zip(&case.output) {
                let name = (&case.coordinates, case.a, case.exclude_outside, &case.dims);
                assert!(
                    (value - expected).abs() < 2e-5,
                    "{name:?}: {value} {expected}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_computed_is_said() {
        let x = tensor(&[1, 1, 2, 2], &[0.0, 1.0, 2.0, 3.0]);
        let scales = tensor(&[4], &[1.0, 1.0, 2.0, 2.0]);
        let refusal = |node: &Node, scales: &Tensor| {
            let constants = HashMap::from([("x", &x), ("scales", scales)]);
            compute(node, 0, &constants, &[]).unwrap_err()
        };
        let with = |attribute| {
            let mut node = node(vec![attribute]);
            node.inputs.pop();
            node
        };
        let plain = with(number("exclude_outside", 0));
        for (node, expected) in [
            (with(number("antialias", 1)), "antialias"),
            (with(number("axes", 0)), "attribute axes"),
            (
                with(text("keep_aspect_ratio_policy", "not_larger")),
                "keep_aspect_ratio_policy",
            ),
            (
                with(text("coordinate_transformation_mode", "tf_crop_and_resize")),
                "tf_crop_and_resize",
            ),
            (node(Vec::new()), "its size is computed"),
        ] {
            let message = refusal(&node, &scales);
            assert!(message.contains(expected), "{message}");
        }
        let huge = f32::MAX;
        for numbers in [
            vec![1.0, 1.0, huge, 1.0],
            vec![1.0, 1.0, 1e7, 1e7],
            vec![1.0, 1.0, 0.0, 1.0],
            vec![1.0, 1.0, -1.0, 1.0],
            vec![1.0, 1.0, f32::NAN, 1.0],
            vec![2.0],
        ] {
            refusal(&plain, &tensor(&[numbers.len() as i64], &numbers));
        }
        // One side grows by as much as the other shrinks.
        let seesaw = tensor(&[4], &[1.0, 1.0, 1e3, 0.5]);
        assert!(refusal(&plain, &seesaw).contains("more than"));
        // All of a file's results together.
        let small = tensor(&[4], &[1.0, 1.0, 1.0, 2.0]);
        let constants = HashMap::from([("x", &x), ("scales", &small)]);
        let before = |len| Computed {
            node: 0,
            constant: Vec::new(),
            len,
        };
        compute(&plain, 0, &constants, &[before(MAX_RESULTS - 8)]).unwrap();
        compute(&plain, 0, &constants, &[before(1), before(MAX_RESULTS - 8)]).unwrap_err();
        // More is declared than there is.
        refusal(&plain, &tensor(&[4], &[1.0]));
    }
}
