//! Images that Python gives: a source's name, or batches that `lookalike/_inputs.py` makes of
//! whatever a caller has.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lookalike::images::{Fit, InputShape};
use lookalike::{Error, ImageStream, Phase, Progress, Reading, Skips};
use lookalike_sources::{
    Content, Entries, Entry, RawPixels, SkipKind, SkipReason, Skipped, Source, SourceError,
    SourceOptions,
};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyIterator, PyString};

use crate::errors::exception;
use crate::neighbours::byte_array;
use crate::watch::{Teller, refuse_forked, watched};

/// What a call works on.
pub enum Input {
    /// A source by its name: a folder, an archive, `mnist:train` …
    Named(String),
    /// Batches that Python gives.
    Given(Given),
}

/// An object of Python with `name`, `length` and `batches()`, see `lookalike/_inputs.py`.
#[derive(Clone)]
pub struct Given {
    name: String,
    length: Option<u64>,
    batches: Arc<Py<PyAny>>,
    /// What Python raised while it gave batches.
    failure: Arc<Mutex<Option<PyErr>>>,
}

impl Input {
    /// Reads what Python passed: a `str`, or an object that gives batches.
    pub fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(name) = value.cast::<PyString>() {
            let name = name.to_string();
            if name.contains("://") {
                refuse_forked(value.py(), "an address")?;
            }
            return Ok(Self::Named(name));
        }
        Ok(Self::Given(Given {
            name: value.getattr("name")?.extract()?,
            length: value.getattr("length")?.extract()?,
            batches: Arc::new(value.clone().unbind()),
            failure: Arc::default(),
        }))
    }

    /// A stream of its images whose listing ends when the work is to stop, and which tells how many
    /// images were listed, if `phase` says as what.
    pub fn watched(&self, teller: &Teller, phase: Option<Phase>) -> Result<ImageStream, Error> {
        let source: Box<dyn Source> = match self {
            Self::Named(name) => lookalike_sources::open(name, &SourceOptions::default())?,
            Self::Given(given) => Box::new(given.clone()),
        };
        let watched = Watched {
            source,
            stop: teller.stop(),
            tells: phase.map(|phase| (teller.clone(), phase)),
        };
        let stream = ImageStream::of(Box::new(watched), Reading::default(), Arc::default());
        Ok(stream)
    }

    /// A stream of its images as the library opens it.
    pub fn stream(&self, skips: Arc<Skips>) -> Result<ImageStream, Error> {
        match self {
            Self::Named(name) => ImageStream::open(name, Reading::default(), skips),
            Self::Given(given) => Ok(ImageStream::of(
                Box::new(given.clone()),
                Reading::default(),
                skips,
            )),
        }
    }

    /// Refuses what was passed over of a list, where every row counts, and warns of what was passed
    /// over of a source.
    pub fn judge(&self, skips: &Skips, teller: &Teller) -> Result<(), Error> {
        let Some(first) = skips.first() else {
            return Ok(());
        };
        match self {
            // What Python raised says more.
            Self::Given(_) if self.has_failed() => Ok(()),
            Self::Given(_) => Err(Error::Unreadable(Box::new(first))),
            Self::Named(_) => {
                teller.warn(format!(
                    "{} images were passed over; the first, {}: {}",
                    skips.total(),
                    first.location,
                    first.reason
                ));
                Ok(())
            }
        }
    }

    /// Whether Python raised something while it gave batches.
    pub fn has_failed(&self) -> bool {
        let Self::Given(given) = self else {
            return false;
        };
        let failure = given.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What Python raised while it gave batches; it says more than what the library made of it.
    pub fn check(&self) -> PyResult<()> {
        let Self::Given(given) = self else {
            return Ok(());
        };
        let failure = given.failure.lock();
        match failure.unwrap_or_else(PoisonError::into_inner).take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

impl Given {
    fn fail(&self, error: PyErr) {
        let failure = self.failure.lock();
        failure
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }
}

impl Source for Given {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_hint(&self) -> Option<u64> {
        self.length
    }

    fn is_transient(&self) -> bool {
        true
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        let iterator = Python::attach(|py| {
            let batches = self.batches.bind(py).call_method0("batches")?;
            Ok::<_, PyErr>(batches.try_iter()?.unbind())
        });
        match iterator {
            Ok(iterator) => Ok(Box::new(GivenEntries {
                given: self.clone(),
                iterator,
                ready: Vec::new().into_iter(),
                ended: false,
            })),
            Err(error) => {
                let reason = error.to_string();
                self.fail(error);
                Err(SourceError::Spec {
                    spec: self.name.clone(),
                    reason,
                })
            }
        }
    }
}

/// Goes through batches, one at a time in memory.
struct GivenEntries {
    given: Given,
    iterator: Py<PyIterator>,
    ready: std::vec::IntoIter<Entry>,
    ended: bool,
}

impl Iterator for GivenEntries {
    type Item = Result<Entry, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(Ok(entry));
            }
            if self.ended {
                return None;
            }
            let batch = Python::attach(|py| -> PyResult<Option<Vec<Entry>>> {
                match self.iterator.bind(py).clone().next() {
                    Some(batch) => Ok(Some(entries_of(&batch?, &self.given.name)?)),
                    None => Ok(None),
                }
            });
            match batch {
                Ok(Some(entries)) => self.ready = entries.into_iter(),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    let reason = error.to_string();
                    self.given.fail(error);
                    // Without a key: the rest could not be listed, and is not gone.
                    let kind = SkipKind::Unreadable;
                    let name = self.given.name.clone();
                    return Some(Err(Skipped::new("", name, SkipReason { kind, reason })));
                }
            }
        }
    }
}

/// A batch as Python gives it: keys, labels, and either the pixels of all images one after another,
/// of one shape, or for each image a path or the bytes of its file.
fn entries_of(batch: &Bound<'_, PyAny>, source: &str) -> PyResult<Vec<Entry>> {
    type Parts<'py> = (
        Vec<String>,
        Vec<Option<String>>,
        Bound<'py, PyAny>,
        Option<[usize; 3]>,
    );
    let (keys, labels, content, shape): Parts<'_> = batch.extract()?;
    let named = keys.into_iter().zip(labels);
    let Some([height, width, channels]) = shape else {
        let contents = content.try_iter()?;
        return named
            .zip(contents)
            .map(|((key, label), content)| Ok(entry(source, key, label, content_of(&content?)?)))
            .collect();
    };
    let pixels = kept_bytes(content.cast::<PyBytes>()?);
    let len = height * width * channels;
    Ok(named
        .enumerate()
        .map(|(at, (key, label))| {
            let pixels = RawPixels {
                width,
                height,
                channels,
                data: pixels.slice(at * len..(at + 1) * len),
            };
            entry(source, key, label, Content::Pixels(pixels))
        })
        .collect())
}

fn entry(source: &str, key: String, label: Option<String>, content: Content) -> Entry {
    let location = match &content {
        Content::File(path) => path.display().to_string(),
        _ => format!("{source}#{key}"),
    };
    Entry {
        key,
        label,
        sample: None,
        extra: Default::default(),
        location,
        stamp: None,
        content,
    }
}

fn content_of(content: &Bound<'_, PyAny>) -> PyResult<Content> {
    if let Ok(bytes) = content.cast::<PyBytes>() {
        return Ok(Content::Bytes(kept_bytes(bytes)));
    }
    Ok(Content::File(content.extract::<PathBuf>()?))
}

/// Python's bytes, which never change, without a copy.
fn kept_bytes(bytes: &Bound<'_, PyBytes>) -> Bytes {
    Bytes::from_owner(pyo3::pybacked::PyBackedBytes::from(bytes.clone()))
}

/// A source whose listing ends when the work is to stop.
struct Watched {
    source: Box<dyn Source>,
    stop: Arc<AtomicBool>,
    tells: Option<(Teller, Phase)>,
}

impl Source for Watched {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len_hint(&self) -> Option<u64> {
        self.source.len_hint()
    }

    fn is_transient(&self) -> bool {
        self.source.is_transient()
    }

    fn get(&self, key: &str) -> Result<Entry, SourceError> {
        self.source.get(key)
    }

    fn entries(&self) -> Result<Entries, SourceError> {
        let total = self.len_hint().and_then(|len| usize::try_from(len).ok());
        let (stop, tells) = (self.stop.clone(), self.tells.clone());
        let listed = AtomicUsize::new(0);
        let entries = self.source.entries()?;
        let going_on = entries.take_while(move |_| !stop.load(Ordering::Relaxed));
        Ok(Box::new(going_on.inspect(move |_| {
            let listed = listed.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some((teller, phase)) = &tells {
                teller.progress(Progress::new(*phase, listed, total));
            }
        })))
    }
}

/// The first images of a source in memory, brought to one shape: their pixels, height, width and
/// channels, keys and labels.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "a tuple that Python takes apart")]
pub fn load_images<'py>(
    py: Python<'py>,
    source: &Bound<'py, PyAny>,
    shape: Option<[usize; 3]>,
    limit: Option<usize>,
) -> PyResult<(
    Bound<'py, PyByteArray>,
    [usize; 3],
    Vec<String>,
    Vec<Option<String>>,
)> {
    let input = Input::of(source)?;
    let shape = shape.map(|[height, width, channels]| InputShape {
        channels,
        height,
        width,
    });
    let loaded = watched(py, None, |teller| -> Result<_, Error> {
        let mut stream = input.watched(&teller, None)?;
        if let Some(shape) = shape {
            stream = stream.fitted(shape, Fit::Stretch);
        }
        let loaded = stream.load(shape, limit)?;
        input.judge(stream.skips(), &teller)?;
        Ok(loaded)
    });
    input.check()?;
    let loaded = loaded?.map_err(|error| exception(py, error))?;
    let shape = loaded.shape();
    let count = 0..loaded.len();
    Ok((
        byte_array(py, loaded.pixels())?,
        [shape.height, shape.width, shape.channels],
        count.clone().map(|at| loaded.key(at).to_owned()).collect(),
        count
            .map(|at| loaded.label(at).map(str::to_owned))
            .collect(),
    ))
}
