//! Searches that a gallery keeps under names.

use lookalike::gallery::Strategy;
use lookalike::named::NamedSearches;
use lookalike::{Error, Searcher};
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};

use crate::gallery::{Store, filter_of, json, read};
use crate::query::examples_of;

/// What is said of a search that is kept.
#[derive(Serialize)]
struct Entry {
    name: String,
    like: usize,
    unlike: usize,
    filter: Option<String>,
    strategy: Strategy,
}

/// The searches that are kept, as JSON.
#[pyfunction]
pub fn named_searches(store: &Bound<'_, Store>) -> PyResult<String> {
    store.get().ask(store.py(), |searcher| {
        let all = kept(searcher)?.all()?;
        let entries = all.into_iter().map(|(name, search)| Entry {
            name,
            like: search.like.len(),
            unlike: search.unlike.len(),
            filter: search.filter,
            strategy: search.strategy,
        });
        Ok(json(&entries.collect::<Vec<_>>()))
    })
}

/// How a search is kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keeping {
    filter: Option<String>,
    strategy: Option<Strategy>,
}

/// Keeps a search by examples; says whether another of that name gave way.
#[pyfunction]
pub fn save_search(
    store: &Bound<'_, Store>,
    name: &str,
    examples: &Bound<'_, PyAny>,
    keeping: &str,
) -> PyResult<bool> {
    let py = store.py();
    let (like, unlike) = examples_of(examples)?;
    let keeping: Keeping = read(py, keeping)?;
    let filter = filter_of(py, keeping.filter.as_deref())?;
    let strategy = keeping.strategy.unwrap_or_default();
    store.get().ask(py, |searcher| {
        let search = searcher.named(like, unlike, filter.as_ref(), strategy)?;
        kept(searcher)?.save(name, search)
    })
}

/// Gives a search another name.
#[pyfunction]
pub fn rename_search(store: &Bound<'_, Store>, name: &str, to: &str) -> PyResult<()> {
    let rename = |searcher: &Searcher| kept(searcher)?.rename(name, to);
    store.get().ask(store.py(), rename)
}

/// Forgets a search.
#[pyfunction]
pub fn delete_search(store: &Bound<'_, Store>, name: &str) -> PyResult<()> {
    let delete = |searcher: &Searcher| kept(searcher)?.delete(name);
    store.get().ask(store.py(), delete)
}

/// The searches that a gallery keeps.
pub fn kept(searcher: &Searcher) -> Result<NamedSearches, Error> {
    NamedSearches::of(&searcher.gallery().describe()?)
}
