//! Exact nearest neighbours among codes, whatever made them.

use lookalike::Error;
use lookalike::neighbours::{Codes, Metric, nearest, nearest_others};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use crate::errors::{exception, raise};
use crate::watch::watched;

/// Distances and indices of the `k` nearest codes of each query, as bytes of `float32` and `int64`;
/// without queries, of each code among the others.
#[pyfunction]
#[pyo3(signature = (codes, queries, dims, metric, k, /))]
pub fn nearest_neighbours<'py>(
    py: Python<'py>,
    codes: &Bound<'py, PyBytes>,
    queries: Option<&Bound<'py, PyBytes>>,
    dims: usize,
    metric: &str,
    k: usize,
) -> PyResult<(Bound<'py, PyByteArray>, Bound<'py, PyByteArray>)> {
    let metric = metric_of(py, metric)?;
    let (codes, queries) = (floats(codes), queries.map(floats));
    let found = watched(py, None, |_| -> Result<_, Error> {
        let codes = Codes::new(&codes, dims)?;
        let found = match &queries {
            Some(queries) => nearest(codes, Codes::new(queries, dims)?, metric, k),
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

/// A metric by its name.
pub fn metric_of(py: Python<'_>, name: &str) -> PyResult<Metric> {
    name.parse()
        .map_err(|error| raise(py, "ParameterError", format!("{error}")))
}

/// The floats that these bytes are.
pub fn floats(bytes: &Bound<'_, PyBytes>) -> Vec<f32> {
    let values = bytes.as_bytes().chunks_exact(4);
    values
        .map(|value| f32::from_ne_bytes(value.try_into().expect("four bytes")))
        .collect()
}

/// Floats as bytes that NumPy takes without a copy, and may write to.
pub fn float_bytes<'py>(py: Python<'py>, values: &[f32]) -> Bound<'py, PyByteArray> {
    let len = size_of_val(values);
    // SAFETY: floats have no padding and every one of their bytes may be read; the slice covers just
    // the memory of `values` and lives no longer.
    let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), len) };
    PyByteArray::new(py, bytes)
}
