//! ONNX files written field by field, so that tests can also write wrong ones, and folders to put
//! them in.

use std::fs;
use std::path::{Path, PathBuf};

use lookalike_images::{Image, Pixels};
use lookalike_sources::Source as _;

/// `float`, `uint8`, `int8` and `int64` in ONNX.
pub const FLOAT: i64 = 1;
pub const UINT8: i64 = 2;
#[cfg(feature = "ort")]
pub const INT8: i64 = 3;
pub const INT64: i64 = 7;

/// A field with a number.
pub fn number(tag: u64, value: i64) -> Vec<u8> {
    let mut bytes = varint(tag << 3);
    bytes.extend(varint(value as u64));
    bytes
}

/// A field with bytes, a text or a message.
pub fn bytes(tag: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [
        varint(tag << 3 | 2),
        varint(value.len() as u64),
        value.to_vec(),
    ]
    .concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// An input or output; a size of 0 is open.
pub fn port(name: &str, element: i64, sizes: &[i64]) -> Vec<u8> {
    let dims = sizes.iter().map(|&size| match size {
        0 => bytes(1, bytes(2, "n")),
        size => bytes(1, number(1, size)),
    });
    let shape = bytes(2, dims.collect::<Vec<_>>().concat());
    let tensor = bytes(1, [number(1, element), shape].concat());
    [bytes(1, name), bytes(2, tensor)].concat()
}

pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut node = Vec::new();
    inputs.iter().for_each(|name| node.extend(bytes(1, name)));
    outputs.iter().for_each(|name| node.extend(bytes(2, name)));
    // No two nodes of a graph may have the same name.
    let output = outputs.first().unwrap_or(&"");
    node.extend(bytes(3, format!("{operator} for {output}")));
    node.extend(bytes(4, operator));
    attributes
        .iter()
        .for_each(|attribute| node.extend(bytes(5, attribute)));
    node
}

pub fn integer_attribute(name: &str, value: i64) -> Vec<u8> {
    [bytes(1, name), number(3, value), number(20, 2)].concat()
}

/// Pixels of any type as floats, and these as a code.
pub fn cast_and_flattened(pixels: &str, code: &str) -> Vec<Vec<u8>> {
    let to_floats = [integer_attribute("to", FLOAT)];
    vec![
        node("Cast", &[pixels], &["floats"], &to_floats),
        node("Flatten", &["floats"], &[code], &[]),
    ]
}

pub fn text_attribute(name: &str, value: &str) -> Vec<u8> {
    [bytes(1, name), bytes(4, value), number(20, 3)].concat()
}

/// A constant tensor of `int64`.
pub fn integers(name: &str, dims: &[i64], values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    [
        shape_of(dims),
        number(2, INT64),
        bytes(8, name),
        bytes(9, raw),
    ]
    .concat()
}

/// A constant tensor of floats.
pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    [
        shape_of(dims),
        number(2, FLOAT),
        bytes(8, name),
        bytes(9, raw),
    ]
    .concat()
}

/// A constant tensor of floats in another file.
pub fn external(name: &str, dims: &[i64], location: &str, length: i64) -> Vec<u8> {
    let entry = |key: &str, value: &str| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    [
        shape_of(dims),
        number(2, FLOAT),
        bytes(8, name),
        entry("location", location),
        entry("offset", "0"),
        entry("length", &length.to_string()),
        number(14, 1),
    ]
    .concat()
}

fn shape_of(dims: &[i64]) -> Vec<u8> {
    dims.iter()
        .map(|&dim| number(1, dim))
        .collect::<Vec<_>>()
        .concat()
}

/// A model of nodes, constants, inputs and outputs.
#[derive(Default, Clone)]
pub struct Model {
    pub nodes: Vec<Vec<u8>>,
    pub constants: Vec<Vec<u8>>,
    pub inputs: Vec<Vec<u8>>,
    pub outputs: Vec<Vec<u8>>,
    pub metadata: Vec<(String, String)>,
}

impl Model {
    /// A model whose code is the pixels themselves, three channels first, 4 x 4.
    pub fn flat() -> Self {
        Self {
            nodes: vec![node("Flatten", &["pixels"], &["code"], &[])],
            inputs: vec![port("pixels", FLOAT, &[0, 3, 4, 4])],
            outputs: vec![port("code", FLOAT, &[0, 48])],
            ..Self::default()
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let field = |tag, messages: &[Vec<u8>]| {
            messages
                .iter()
                .flat_map(|m| bytes(tag, m))
                .collect::<Vec<u8>>()
        };
        let graph = [
            field(1, &self.nodes),
            bytes(2, "graph"),
            field(5, &self.constants),
            field(11, &self.inputs),
            field(12, &self.outputs),
        ];
        let metadata = self.metadata.iter().flat_map(|(key, value)| {
            let entry = [bytes(1, key), bytes(2, value)].concat();
            bytes(14, entry)
        });
        [
            number(1, 8),
            bytes(7, graph.concat()),
            bytes(8, number(2, 17)),
            metadata.collect(),
        ]
        .concat()
    }

    /// The model alone in a folder.
    pub fn folder(&self) -> tempfile::TempDir {
        folder(&[("model.onnx", &self.bytes())])
    }
}

pub fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A copy of the tiny model of digits and their names, to change.
pub fn tiny_clip() -> tempfile::TempDir {
    let names = [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "onnx/vision_model.onnx",
        "onnx/text_model.onnx",
    ];
    let read = names.map(|name| fs::read(fixtures().join("tiny-clip").join(name)).unwrap());
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .copied()
        .zip(read.iter().map(Vec::as_slice))
        .collect();
    folder(&files)
}

/// The first test images of MNIST.
pub fn digits(count: usize) -> Vec<Image> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../datasets/mnist/t10k-images-idx3-ubyte.gz");
    let source = lookalike_sources::idx::Idx::open(path).unwrap();
    let entries = source.entries().unwrap().take(count).map(Result::unwrap);
    let image = |entry: lookalike_sources::Entry| {
        let raw = entry.pixels().unwrap();
        Image {
            pixels: Pixels::new(raw.width, raw.height, raw.channels, raw.data.to_vec()).unwrap(),
            key: entry.key,
            label: entry.label,
        }
    };
    entries.map(image).collect()
}

/// An image without any pattern.
pub fn picture(width: usize, height: usize, channels: usize) -> Pixels {
    let data = (0..width * height * channels)
        .map(|i| (i * 37 % 251) as u8)
        .collect();
    Pixels::new(width, height, channels, data).unwrap()
}
