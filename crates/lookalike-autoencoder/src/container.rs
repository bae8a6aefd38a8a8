//! Safetensors with one JSON document in its metadata: the form of model files and checkpoints.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::error::AutoencoderError;

/// Key of the JSON document. A single key keeps the bytes a function of the content: the order
/// of several would not be fixed.
const KEY: &str = "lookalike";
/// No model of this project comes near; more is damage or another program's file.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A named tensor of f32, row-major.
pub(crate) struct Named<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: &'a [f32],
}

/// The bytes of a container.
pub(crate) fn to_bytes(document: String, tensors: &[Named]) -> Vec<u8> {
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&data).map(|(tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)
            .expect("a tensor's shape is that of its values");
        (tensor.name.clone(), view)
    });
    serialize(views, Some(HashMap::from([(KEY.to_owned(), document)])))
        .expect("named f32 tensors of right shapes serialise")
}

/// A container that was read: its document and its bytes' tensors.
pub(crate) struct Container<'a> {
    pub document: String,
    tensors: SafeTensors<'a>,
}

impl<'a> Container<'a> {
    /// Parses untrusted bytes; the error says what is wrong with them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let not_safetensors = |e| format!("it is not a safetensors file ({e})");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
        let document = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(KEY))
            .cloned()
            .ok_or("it is a safetensors file of another program (no 'lookalike' metadata)")?;
        let tensors = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        Ok(Self { document, tensors })
    }

    /// Reads one tensor, which must be f32, of `shape` and finite.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| format!("tensor '{name}' is missing"))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(format!(
                "tensor '{name}' should be F32 of shape {shape:?}, but is {:?} of shape {:?}",
                view.dtype(),
                view.shape()
            ));
        }
        let (floats, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = floats.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(format!("tensor '{name}' holds {} at {at}", values[at]));
        }
        Ok(values)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }
}

/// Reads a whole regular file of at most [`MAX_FILE_BYTES`] bytes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, AutoencoderError> {
    let error = |e| AutoencoderError::read(path, e);
    let about = fs::metadata(path).map_err(error)?;
    let refuse = |why: String| {
        Err(AutoencoderError::Model {
            what: path.display().to_string(),
            why,
        })
    };
    if !about.is_file() {
        return refuse("it is not a regular file".to_owned());
    }
    if about.len() > MAX_FILE_BYTES {
        return refuse(format!(
            "it has {} bytes; models are smaller than {MAX_FILE_BYTES}",
            about.len()
        ));
    }
    fs::read(path).map_err(error)
}

/// Replaces a file whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), AutoencoderError> {
    lookalike_files::replace_file(path, bytes).map_err(|e| AutoencoderError::write(path, e))
}
