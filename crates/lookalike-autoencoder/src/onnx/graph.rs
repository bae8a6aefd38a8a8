//! A graph of ONNX operators, and its bytes: the few messages of `onnx.proto` that it takes.

/// Version of the operators. All that are used have meant the same since.
const OPSET: u64 = 13;
/// Version of the file format, the one that came with these operators.
const FORMAT: u64 = 7;

/// Numbers of element types.
const FLOAT: u64 = 1;
const UINT8: u64 = 2;
const INT64: u64 = 7;

/// What a node or a constant gives, by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Value(String);

/// An attribute of a node.
pub enum Attribute<'a> {
    Integer(&'a str, i64),
    Integers(&'a str, &'a [usize]),
    Text(&'a str, &'a str),
}

struct Node {
    operator: &'static str,
    inputs: Vec<Value>,
    output: Value,
    attributes: Vec<u8>,
}

/// A graph in the making. Nodes are added in the order in which they are computed.
pub struct Graph {
    nodes: Vec<Node>,
    /// Fields of the graph's message, one for each constant.
    constants: Vec<u8>,
    made: usize,
}

/// What a finished graph says of itself.
pub struct About<'a> {
    pub input: &'a str,
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    pub output: &'a str,
    pub dims: usize,
    pub description: &'a str,
    /// Names and values for those who use the model.
    pub metadata: &'a [(String, String)],
}

impl Graph {
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            constants: Vec::new(),
            made: 0,
        }
    }

    /// What the graph takes, by its name.
    pub fn input(&self, name: &str) -> Value {
        Value(name.to_owned())
    }

    fn name(&mut self, kind: &str) -> Value {
        self.made += 1;
        Value(format!("{kind}_{}", self.made))
    }

    /// A constant of floats.
    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> Value {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len());
        let raw = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(dims, FLOAT, raw.collect())
    }

    /// A constant of one float.
    pub fn number(&mut self, value: f32) -> Value {
        self.floats(&[], &[value])
    }

    /// A constant list of whole numbers.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        let raw = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(&[values.len()], INT64, raw.collect())
    }

    fn constant(&mut self, dims: &[usize], kind: u64, raw: Vec<u8>) -> Value {
        let name = self.name("constant");
        let mut tensor = Message::new();
        dims.iter().for_each(|&dim| tensor.number(1, dim as u64));
        tensor.number(2, kind);
        tensor.text(8, &name.0);
        tensor.bytes(9, &raw);
        let mut field = Message(std::mem::take(&mut self.constants));
        field.bytes(5, &tensor.0);
        self.constants = field.0;
        name
    }

    /// Adds a node without attributes.
    pub fn node(&mut self, operator: &'static str, inputs: &[&Value]) -> Value {
        self.node_with(operator, inputs, &[])
    }

    /// Adds a node of one output.
    pub fn node_with(
        &mut self,
        operator: &'static str,
        inputs: &[&Value],
        attributes: &[Attribute],
    ) -> Value {
        let output = self.name(operator);
        let mut message = Message::new();
        for attribute in attributes {
            message.bytes(5, &attribute.message().0);
        }
        self.nodes.push(Node {
            operator,
            inputs: inputs.iter().map(|&input| input.clone()).collect(),
            output: output.clone(),
            attributes: message.0,
        });
        output
    }

    /// The bytes of an ONNX file whose output is `result`.
    pub fn finish(self, result: &Value, about: &About) -> Vec<u8> {
        let named = |value: &Value| match value == result {
            true => about.output.to_owned(),
            false => value.0.clone(),
        };
        let mut graph = Message::new();
        for node in &self.nodes {
            let mut message = Message::new();
            node.inputs
                .iter()
                .for_each(|input| message.text(1, &named(input)));
            message.text(2, &named(&node.output));
            message.text(3, &node.output.0);
            message.text(4, node.operator);
            message.0.extend_from_slice(&node.attributes);
            graph.bytes(1, &message.0);
        }
        graph.text(2, "encoder");
        graph.0.extend_from_slice(&self.constants);
        let [height, width, channels] = about.image;
        let image = port(about.input, UINT8, &[height, width, channels]);
        graph.bytes(11, &image.0);
        graph.bytes(12, &port(about.output, FLOAT, &[about.dims]).0);

        let mut operators = Message::new();
        operators.number(2, OPSET);
        let mut model = Message::new();
        model.number(1, FORMAT);
        model.text(2, "lookalike");
        model.text(3, env!("CARGO_PKG_VERSION"));
        model.text(6, about.description);
        model.bytes(7, &graph.0);
        model.bytes(8, &operators.0);
        for (key, value) in about.metadata {
            let mut entry = Message::new();
            entry.text(1, key);
            entry.text(2, value);
            model.bytes(14, &entry.0);
        }
        model.0
    }
}

/// An input or output: any number of what `sizes` say.
fn port(name: &str, kind: u64, sizes: &[usize]) -> Message {
    let mut shape = Message::new();
    let mut batch = Message::new();
    batch.text(2, "n");
    shape.bytes(1, &batch.0);
    for &size in sizes {
        let mut dim = Message::new();
        dim.number(1, size as u64);
        shape.bytes(1, &dim.0);
    }
    let mut tensor = Message::new();
    tensor.number(1, kind);
    tensor.bytes(2, &shape.0);
    let mut of_type = Message::new();
    of_type.bytes(1, &tensor.0);
    let mut port = Message::new();
    port.text(1, name);
    port.bytes(2, &of_type.0);
    port
}

impl Attribute<'_> {
    fn message(&self) -> Message {
        let mut message = Message::new();
        match *self {
            Self::Integer(name, value) => {
                message.text(1, name);
                message.number(3, value.cast_unsigned());
                message.number(20, 2);
            }
            Self::Integers(name, values) => {
                message.text(1, name);
                values.iter().for_each(|&v| message.number(8, v as u64));
                message.number(20, 7);
            }
            Self::Text(name, value) => {
                message.text(1, name);
                message.text(4, value);
                message.number(20, 3);
            }
        }
        message
    }
}

/// A message of Protocol Buffers, field by field.
struct Message(Vec<u8>);

impl Message {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn text(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_protocol_buffers() {
        let mut message = Message::new();
        message.number(1, 150);
        message.text(2, "testing");
        message.number(20, 2);
        let expected = [
            &[0x08, 0x96, 0x01, 0x12, 0x07][..],
            b"testing",
            &[0xa0, 0x01, 0x02],
        ];
        assert_eq!(message.0, expected.concat());
    }

    #[test]
    fn the_result_gets_the_outputs_name() {
        let mut graph = Graph::new();
        let input = graph.input("images");
        let first = graph.node("Relu", &[&input]);
        let last = graph.node("Neg", &[&first]);
        let about = About {
            input: "images",
            image: [1, 2, 3],
            output: "codes",
            dims: 4,
            description: "",
            metadata: &[],
        };
        let bytes = graph.finish(&last, &about);
        let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        // The node keeps its own name.
        assert!(has(b"\x12\x05codes\x1a\x05Neg_2"));
        assert!(has(b"\x0a\x06Relu_1\x12\x05codes"));
    }
}
