//! Exact nearest neighbours among codes, whatever made them.

use std::borrow::Cow;

use lookalike::Error;
use lookalike::neighbours::{Codes, Metric, nearest, nearest_others};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyByteArray;

use crate::errors::{exception, raise};
use crate::watch::watched;

/// Distances and indices of the `k` nearest codes of each query, as bytes of `float32` and `int64`;
/// without queries, of each code among the others. Codes are read where they lie.
#[pyfunction]
#[pyo3(signature = (codes, queries, dims, metric, k, /))]
pub fn nearest_neighbours<'py>(
    py: Python<'py>,
    codes: PyBackedBytes,
    queries: Option<PyBackedBytes>,
    dims: usize,
    metric: &str,
    k: usize,
) -> PyResult<(Bound<'py, PyByteArray>, Bound<'py, PyByteArray>)> {
    let metric = metric_of(py, metric)?;
    let found = watched(py, None, |_| -> Result<_, Error> {
        let codes = as_floats(&codes);
        let codes = Codes::new(&codes, dims)?;
        let found = match &queries {
            Some(queries) => nearest(codes, Codes::new(&as_floats(queries), dims)?, metric, k),
            None => nearest_others(codes, metric, k),
        };
        let all = || found.iter().flatten();
        let distances: Vec<f32> = all().map(|neighbour| neighbour.distance).collect();
        let indices: Vec<u8> = all()
            .flat_map(|neighbour| (neighbour.index as i64).to_ne_bytes())
            .collect();
        Ok((distances, indices))
    })?;
    let (distances, indices) = found.map_err(|error| exception(py, error))?;
    Ok((float_bytes(py, &distances), PyByteArray::new(py, &indices)))
}

/// The floats that these bytes are; a copy only where Python put them at an odd place.
fn as_floats(bytes: &[u8]) -> Cow<'_, [f32]> {
    // SAFETY: every four bytes are a float, whatever they are.
    let (before, floats, behind) = unsafe { bytes.align_to::<f32>() };
    match before.is_empty() && behind.is_empty() {
        true => Cow::Borrowed(floats),
        false => Cow::Owned(floats_of(bytes)),
    }
}

/// A metric by its name.
pub fn metric_of(py: Python<'_>, name: &str) -> PyResult<Metric> {
    name.parse()
        .map_err(|error| raise(py, "ParameterError", format!("{error}")))
}

/// A copy of the floats that these bytes are.
pub fn floats_of(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.chunks_exact(4);
    values
        .map(|value| f32::from_ne_bytes(value.try_into().expect("four bytes")))
        .collect()
}

/// Floats as bytes that NumPy takes without a copy, and may write to.
pub fn float_bytes<'py>(py: Python<'py>, values: &[f32]) -> Bound<'py, PyByteArray> {
    PyByteArray::new(py, bytes_of(values))
}

/// The bytes that these floats are.
pub fn bytes_of(values: &[f32]) -> &[u8] {
    let len = size_of_val(values);
    // SAFETY: floats have no padding and every one of their bytes may be read; the slice covers
    // just the memory of `values` and lives no longer.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), len) }
}
