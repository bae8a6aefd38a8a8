//! What a gallery says of itself, by comparing all its images with each other.
//!
//! Functions take the gallery, what is wanted as JSON, a filter as it is written and who watches;
//! they give JSON.

use std::collections::BTreeMap;

use lookalike::check::{self, CheckOptions};
use lookalike::duplicates::{self, DuplicateOptions, Scope};
use lookalike::gallery::{Payload, Point};
use lookalike::groups::{self, GroupOptions, Groups, Kept};
use lookalike::outliers::{self, OutlierOptions, RankBy};
use lookalike::suggest::{self, SuggestOptions, Suggestion, Suggestions};
use lookalike::{Error, Progress, Searcher, map, sample};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::errors::exception;
use crate::gallery::{Store, filter_of, json, read};
use crate::neighbours::float_bytes;
use crate::watch::watched;

/// What copies are looked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DuplicateWishes {
    threshold: Option<f32>,
    exact_only: bool,
    turned: bool,
    within_folder: bool,
    across: Option<[String; 2]>,
}

/// Copies and near copies.
#[pyfunction]
pub fn find_duplicates(
    store: &Bound<'_, Store>,
    wishes: &str,
    filter: Option<&str>,
    observer: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let py = store.py();
    let wishes: DuplicateWishes = read(py, wishes)?;
    let filter = filter_of(py, filter)?;
    compute(store, observer, |searcher, tell| {
        let gallery = searcher.gallery();
        let options = DuplicateOptions {
            threshold: wishes.threshold,
            exact_only: wishes.exact_only,
            filter,
            scope: match (wishes.within_folder, &wishes.across) {
                (true, _) => Scope::WithinFolder,
                (false, Some([one, other])) => Scope::across(gallery, [one, other])?,
                (false, None) => Scope::All,
            },
            ..DuplicateOptions::default()
        };
        let found = match wishes.turned {
            true => duplicates::find_turned(gallery, &options, searcher.encoder(), tell),
            false => duplicates::find(gallery, &options, tell),
        };
        Ok(json(&found?))
    })
}

/// What outliers are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutlierWishes {
    k: usize,
    by: RankBy,
    count: usize,
}

/// Pictures unlike the rest.
#[pyfunction]
pub fn rank_outliers(
    store: &Bound<'_, Store>,
    wishes: &str,
    filter: Option<&str>,
    observer: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let py = store.py();
    let wishes: OutlierWishes = read(py, wishes)?;
    let options = OutlierOptions {
        k: wishes.k,
        by: wishes.by,
        count: wishes.count,
        filter: filter_of(py, filter)?,
    };
    compute(store, observer, |searcher, tell| {
        let model = searcher.encoder().autoencoder();
        let found = outliers::rank(searcher.gallery(), model, &options, tell)?;
        Ok(json(&found))
    })
}

/// What is shown of a point beside its id.
#[derive(Clone, Debug)]
struct Caption {
    id: Uuid,
    key: String,
    label: Option<String>,
}

impl Caption {
    fn of(point: &Point) -> Self {
        Self {
            id: point.id,
            key: point.payload.key.clone(),
            label: point.payload.label.clone(),
        }
    }
}

/// The map of the gallery: ids, keys and labels, and x and y one after another.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "a tuple that Python takes apart")]
pub fn lay_out_map<'py>(
    store: &Bound<'py, Store>,
    observer: &Bound<'py, PyAny>,
) -> PyResult<(
    Vec<String>,
    Vec<String>,
    Vec<Option<String>>,
    Bound<'py, PyByteArray>,
)> {
    let (captions, places) = compute(store, observer, |searcher, tell| {
        let mut captions = Vec::new();
        let visit = |point: &Point| captions.push(Caption::of(point));
        let map = map::lay_out_and_visit(searcher.gallery(), visit, tell)?;
        let places: Vec<f32> = map.points().iter().flat_map(|p| [p.x, p.y]).collect();
        Ok((captions, places))
    })?;
    let ids = captions.iter().map(|caption| caption.id.to_string());
    let ids = ids.collect();
    let (keys, labels) = captions.into_iter().map(|c| (c.key, c.label)).unzip();
    Ok((ids, keys, labels, float_bytes(store.py(), &places)?))
}

/// What groups are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupWishes {
    count: Option<usize>,
    min_size: usize,
    keep: bool,
}

/// Groups, and what keeping them did.
#[derive(Serialize)]
struct FoundGroups<'a> {
    #[serde(flatten)]
    groups: &'a Groups,
    kept: Option<Kept>,
    /// Of the members, group by group.
    keys: Vec<&'a str>,
    /// Of the members, group by group.
    labels: Vec<Option<&'a str>>,
}

/// Groups of what looks alike.
#[pyfunction]
pub fn find_groups(
    store: &Bound<'_, Store>,
    wishes: &str,
    filter: Option<&str>,
    observer: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let py = store.py();
    let wishes: GroupWishes = read(py, wishes)?;
    let options = GroupOptions {
        count: wishes.count,
        min_size: wishes.min_size,
        filter: filter_of(py, filter)?,
    };
    compute(store, observer, |searcher, tell| {
        let gallery = searcher.gallery();
        // In the order of their ids.
        let mut captions = Vec::new();
        let visit = |point: &Point| captions.push(Caption::of(point));
        let groups = groups::find_and_visit(gallery, &options, visit, tell)?;
        let kept = match wishes.keep {
            true => Some(groups::keep(gallery, &groups, tell)?),
            false => None,
        };
        let members = groups.groups.iter().flat_map(|group| &group.members);
        let captions = members.filter_map(|member| {
            let at = captions.binary_search_by_key(&member.id, |caption| caption.id);
            Some(&captions[at.ok()?])
        });
        let (keys, labels) = captions
            .map(|caption| (caption.key.as_str(), caption.label.as_deref()))
            .unzip();
        Ok(json(&FoundGroups {
            groups: &groups,
            kept,
            keys,
            labels,
        }))
    })
}

/// Pictures with something wrong.
#[pyfunction]
pub fn check_pictures(
    store: &Bound<'_, Store>,
    limit: usize,
    filter: Option<&str>,
    observer: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let filter = filter_of(store.py(), filter)?;
    let options = CheckOptions { filter, limit };
    compute(store, observer, |searcher, tell| {
        Ok(json(&check::check(searcher.gallery(), &options, tell)?))
    })
}

/// Pictures that cover the gallery.
#[pyfunction]
pub fn choose_sample(
    store: &Bound<'_, Store>,
    count: usize,
    filter: Option<&str>,
    observer: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let filter = filter_of(store.py(), filter)?;
    compute(store, observer, |searcher, tell| {
        let chosen = sample::cover(searcher.gallery(), count, filter.as_ref(), tell)?;
        Ok(json(&chosen))
    })
}

/// What labels are suggested by.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuggestWishes {
    k: usize,
    own: bool,
    given: BTreeMap<String, String>,
    /// Labels that may be mistakes, instead of labels for images without one.
    mistakes: bool,
}

/// A suggestion with what is known of its image.
#[derive(Serialize)]
struct Suggested<'a> {
    #[serde(flatten)]
    suggestion: &'a Suggestion,
    #[serde(flatten)]
    payload: Payload,
}

#[derive(Serialize)]
struct FoundLabels<'a> {
    about: &'a Suggestions,
    found: Vec<Suggested<'a>>,
}

/// Labels that neighbours suggest, and labels that they contradict.
#[pyfunction]
pub fn suggest_labels(
    store: &Bound<'_, Store>,
    wishes: &str,
    filter: Option<&str>,
    observer: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let py = store.py();
    let wishes: SuggestWishes = read(py, wishes)?;
    let options = SuggestOptions {
        k: wishes.k,
        given: wishes.given,
        own: wishes.own,
        filter: filter_of(py, filter)?,
    };
    compute(store, observer, |searcher, tell| {
        let gallery = searcher.gallery();
        let mut found = suggest::find(gallery, &options, tell)?;
        let suggestions = std::mem::take(&mut found.suggestions);
        let mistakes = std::mem::take(&mut found.mistakes);
        let asked_for = if wishes.mistakes {
            mistakes
        } else {
            suggestions
        };
        let known = suggest::payloads(gallery, &asked_for)?;
        let joined = known.into_iter().map(|(suggestion, payload)| Suggested {
            suggestion,
            payload,
        });
        Ok(json(&FoundLabels {
            about: &found,
            found: joined.collect(),
        }))
    })
}

/// Does something long with a gallery, without the interpreter's lock, and hears Ctrl-C.
fn compute<T: Send>(
    store: &Bound<'_, Store>,
    observer: &Bound<'_, PyAny>,
    work: impl FnOnce(&Searcher, &dyn Fn(Progress)) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let py = store.py();
    let searcher = store.get().searcher(py)?;
    let done = watched(py, Some(observer), |teller| {
        work(&searcher, &|progress| teller.progress_or_end(progress))
    })?;
    done.map_err(|error| exception(py, error))
}
