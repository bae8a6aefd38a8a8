//! The extension module behind the Python package `lookalike`.
//!
//! It is the border alone: everything that Python's users see, and how their inputs and answers
//! look, is in the package's own files (`python/lookalike`). Across the border go bytes, names,
//! JSON and batches of images; nothing that Python may change is read while the interpreter's lock
//! is free.

mod encoder;
mod errors;
mod findings;
mod gallery;
mod inputs;
mod memory;
mod neighbours;
mod query;
mod searches;
mod watch;

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the program `lookalike` and gives its exit code.
#[pyfunction]
fn run_program(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    watch::refuse_forked(py, "the program")?;
    Ok(py.detach(|| lookalike_cli::run(arguments)))
}

/// Says how many threads compute; gives how many do.
#[pyfunction]
fn set_threads(py: Python<'_>, threads: Option<usize>) -> PyResult<usize> {
    watch::set_threads(py, threads)
}

/// The module.
#[pymodule]
fn _lookalike(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<encoder::Model>()?;
    module.add_class::<gallery::Store>()?;
    module.add_function(wrap_pyfunction!(findings::find_duplicates, module)?)?;
    module.add_function(wrap_pyfunction!(findings::rank_outliers, module)?)?;
    module.add_function(wrap_pyfunction!(findings::lay_out_map, module)?)?;
    module.add_function(wrap_pyfunction!(findings::find_groups, module)?)?;
    module.add_function(wrap_pyfunction!(findings::check_pictures, module)?)?;
    module.add_function(wrap_pyfunction!(findings::choose_sample, module)?)?;
    module.add_function(wrap_pyfunction!(findings::suggest_labels, module)?)?;
    module.add_function(wrap_pyfunction!(searches::named_searches, module)?)?;
    module.add_function(wrap_pyfunction!(searches::save_search, module)?)?;
    module.add_function(wrap_pyfunction!(searches::rename_search, module)?)?;
    module.add_function(wrap_pyfunction!(searches::delete_search, module)?)?;
    module.add_function(wrap_pyfunction!(neighbours::nearest_neighbours, module)?)?;
    module.add_function(wrap_pyfunction!(neighbours::room_for_floats, module)?)?;
    module.add_function(wrap_pyfunction!(inputs::load_images, module)?)?;
    module.add_function(wrap_pyfunction!(run_program, module)?)?;
    module.add_function(wrap_pyfunction!(set_threads, module)?)?;
    Ok(())
}
