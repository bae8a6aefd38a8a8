//! Exact nearest neighbours among codes, whatever made them.

use std::borrow::Cow;

use lookalike::Error;
use lookalike::neighbours::{Codes, Exact, Metric};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyByteArray;
use pyo3::{PyErr, ffi};

use crate::errors::{exception, raise};
use crate::watch::watched;

/// Queries that are answered before signals are heard.
const QUERIES_AT_ONCE: usize = 1 << 14;
/// From so many bytes on, the interpreter's lock is free while they are copied.
const MANY_BYTES: usize = 1 << 20;

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
    let found = watched(py, None, |teller| -> Result<_, Error> {
        let codes = as_floats(&codes);
        let codes = Codes::new(&codes, dims)?;
        let queries = queries.as_deref().map(as_floats);
        let queries = queries.as_deref().map(|some| Codes::new(some, dims));
        let queries = queries.transpose()?;
        let count = queries.unwrap_or(codes).len();
        let exact = Exact::new(codes, metric, count);
        let mut found = Vec::with_capacity(count);
        for start in (0..count).step_by(QUERIES_AT_ONCE) {
            let end = (start + QUERIES_AT_ONCE).min(count);
            found.extend(match queries {
                Some(queries) => exact.nearest(queries.rows(start, end), k),
                None => exact.nearest_others_of(start..end, k),
            });
            teller.end_if_told();
        }
        let all = || found.iter().flatten();
        let distances: Vec<f32> = all().map(|neighbour| neighbour.distance).collect();
        let indices: Vec<u8> = all()
            .flat_map(|neighbour| (neighbour.index as i64).to_ne_bytes())
            .collect();
        Ok((distances, indices))
    })?;
    let (distances, indices) = found.map_err(|error| exception(py, error))?;
    Ok((float_bytes(py, &distances)?, byte_array(py, &indices)?))
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
pub fn float_bytes<'py>(py: Python<'py>, values: &[f32]) -> PyResult<Bound<'py, PyByteArray>> {
    byte_array(py, bytes_of(values))
}

/// Bytes as Python's own. Other threads of Python run while many are copied.
pub fn byte_array<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
    if bytes.len() < MANY_BYTES {
        return Ok(PyByteArray::new(py, bytes));
    }
    let array = unwritten_array(py, bytes.len())?;
    let target = array.data() as usize;
    py.detach(|| {
        // SAFETY: the array has as much room, and nobody else knows of it yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target as *mut u8, bytes.len()) };
    });
    Ok(array)
}

/// Room for so many floats, to be written to. Its memory is not touched: the system gives it page
/// by page to whoever writes there first.
#[pyfunction]
pub fn room_for_floats(py: Python<'_>, count: usize) -> PyResult<Bound<'_, PyByteArray>> {
    let len = count.checked_mul(size_of::<f32>());
    unwritten_array(py, len.unwrap_or(usize::MAX))
}

/// An array whose bytes are yet to be written.
fn unwritten_array(py: Python<'_>, len: usize) -> PyResult<Bound<'_, PyByteArray>> {
    let len = isize::try_from(len).map_err(PyErr::from)?;
    // SAFETY: with no bytes to copy, the array has room for `len` bytes, which nobody has written
    // yet; what comes back is a new reference to it, or null with an exception set.
    unsafe {
        let array = ffi::PyByteArray_FromStringAndSize(std::ptr::null(), len);
        Ok(Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked::<PyByteArray>())
    }
}

/// The bytes that these floats are.
pub fn bytes_of(values: &[f32]) -> &[u8] {
    let len = size_of_val(values);
    // SAFETY: floats have no padding and every one of their bytes may be read; the slice covers
    // just the memory of `values` and lives no longer.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), len) }
}
