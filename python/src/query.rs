//! What a gallery is asked, as `lookalike/_queries.py` says it.

use lookalike::gallery::{Rerank, Strategy};
use lookalike::images::{Pixels, Region};
use lookalike::{Query, SearchOptions};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use serde::Deserialize;

use crate::errors::{exception, raise};
use crate::gallery::{filter_of, id_of};
use crate::neighbours::{floats_of, metric_of};

/// What is wanted besides the query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    k: usize,
    metric: Option<String>,
    exact: bool,
    max_distance: Option<f32>,
    filter: Option<String>,
    exclude_self: bool,
    rerank: Option<Rerank>,
    diverse: Option<f32>,
    pub strategy: Option<Strategy>,
    tiles: bool,
    /// The search that is kept and asked again.
    pub named: Option<String>,
}

impl Asked {
    /// The same as the library takes it.
    pub fn options(&self, py: Python<'_>) -> PyResult<SearchOptions> {
        let metric = self.metric.as_deref();
        let metric = metric.map(|name| metric_of(py, name)).transpose()?;
        Ok(SearchOptions {
            k: self.k,
            metric,
            exact: self.exact,
            max_distance: self.max_distance,
            filter: filter_of(py, self.filter.as_deref())?,
            exclude_self: self.exclude_self,
            rerank: self.rerank.unwrap_or_default(),
            strategy: self.strategy.unwrap_or_default(),
            diverse: self.diverse,
            tiles: self.tiles,
        })
    }
}

/// A query: a tuple of its kind, what it consists of, and a region or `None`.
pub fn query_of(query: &Bound<'_, PyAny>) -> PyResult<Query> {
    let py = query.py();
    let asked = query.cast::<PyTuple>()?;
    let kind: String = asked.get_item(0)?.extract()?;
    let subject = asked.get_item(1)?;
    let region: Option<[usize; 4]> = asked.get_item(2)?.extract()?;
    let query = match kind.as_str() {
        "path" => Query::path(subject.extract::<String>()?),
        "bytes" => Query::bytes(subject.cast::<PyBytes>()?.as_bytes()),
        "pixels" => {
            let (data, [height, width, channels]): (Bound<'_, PyBytes>, [usize; 3]) =
                subject.extract()?;
            let pixels = Pixels::new(width, height, channels, data.as_bytes().to_vec());
            Query::pixels(pixels.map_err(|error| exception(py, error))?)
        }
        "id" => Query::id(id_of(py, &subject.extract::<String>()?)?),
        "code" => Query::code(floats_of(subject.cast::<PyBytes>()?.as_bytes())),
        "text" => Query::text(subject.extract::<String>()?),
        "examples" => {
            let (like, unlike) = examples_of(query)?;
            Query::examples(like, unlike)
        }
        other => return Err(raise(py, "QueryError", format!("unknown query {other}"))),
    };
    let region = region.map(|[x, y, width, height]| Region {
        x,
        y,
        width,
        height,
    });
    Ok(query.region(region))
}

/// The examples of a query by examples, what is wanted and what is not.
pub fn examples_of(query: &Bound<'_, PyAny>) -> PyResult<(Vec<Query>, Vec<Query>)> {
    let subject = query.cast::<PyTuple>()?.get_item(1)?;
    let (like, unlike): (Bound<'_, PyList>, Bound<'_, PyList>) = subject.extract()?;
    let all = |examples: Bound<'_, PyList>| -> PyResult<Vec<Query>> {
        examples.iter().map(|example| query_of(&example)).collect()
    };
    Ok((all(like)?, all(unlike)?))
}
