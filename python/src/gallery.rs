//! Galleries: made, filled, asked and looked through.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use lookalike::autoencoder::Autoencoder;
use lookalike::gallery::{Filter, Payload, Point, Points};
use lookalike::images::{Pixels, thumbnail};
use lookalike::{
    Encoder, Error, GalleryOptions, IndexOptions, Originals, RuleOverrides, Searcher, Skips,
    create_gallery, export, forget_source, load_encoder, sources_in,
};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};
use serde::{Deserialize, Serialize};
use serde_path_to_error::Segment;
use uuid::Uuid;

use crate::encoder::{Model, device_of};
use crate::errors::{exception, raise};
use crate::inputs::Input;
use crate::neighbours::{bytes_of, float_bytes, metric_of};
use crate::query::{Asked, examples_of, query_of};
use crate::searches::kept;
use crate::watch::{refuse_forked, unwatched, watched};

/// Pictures up to this side are shown as they are, larger ones as JPEG.
const SMALL: usize = 64;

/// What a forked process cannot use.
const A_GALLERY: &str = "a gallery";

/// A gallery and its encoder, until it is closed.
#[pyclass(module = "lookalike._lookalike", frozen)]
pub struct Store {
    name: String,
    searcher: RwLock<Option<Arc<Searcher>>>,
    /// The process that opened it.
    process: u32,
}

/// How a gallery is filled.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filling {
    prune: bool,
    prune_emptied: bool,
    reread: bool,
    diffusion: bool,
    thumbnail: usize,
    /// Tiles that are kept of each image, from now on; as before if none is given.
    tiles: Option<usize>,
    /// Whether what cameras wrote is kept, from now on; as before if it is not said.
    exif: Option<bool>,
}

/// A point as Python reads it.
#[derive(Serialize)]
struct Record<'a> {
    id: Uuid,
    #[serde(flatten)]
    payload: &'a Payload,
}

impl<'a> Record<'a> {
    fn of(point: &'a Point) -> Self {
        Self {
            id: point.id,
            payload: &point.payload,
        }
    }
}

/// A JSON array, written element by element.
struct JsonArray {
    text: Vec<u8>,
}

impl JsonArray {
    fn new() -> Self {
        Self { text: vec![b'['] }
    }

    fn push(&mut self, element: &impl Serialize) {
        if self.text.len() > 1 {
            self.text.push(b',');
        }
        serde_json::to_writer(&mut self.text, element).expect("answers serialise");
    }

    fn finish(mut self) -> String {
        self.text.push(b']');
        String::from_utf8(self.text).expect("JSON is UTF-8")
    }
}

#[pymethods]
impl Store {
    /// Makes an empty gallery for an encoder.
    #[staticmethod]
    fn create(
        py: Python<'_>,
        path: PathBuf,
        model: &Model,
        metric: Option<&str>,
        device: &str,
    ) -> PyResult<Self> {
        refuse_forked(py, A_GALLERY)?;
        let device = device_of(py, device)?;
        let metric = metric.map(|name| metric_of(py, name)).transpose()?;
        let options = GalleryOptions::new().metric(metric);
        let searcher = unwatched(py, || -> Result<_, Error> {
            // Before there is a gallery, so that none is left behind where it cannot be opened.
            let encoder: Arc<dyn Encoder> = match (model.files(), model.own()) {
                (Some(files), _) => load_encoder(&files.path, &files.options, device)?.into(),
                (_, Some(own)) => Arc::new(Autoencoder::from_bytes(
                    &own.to_bytes(),
                    "the model",
                    device,
                )?),
                _ => {
                    return Err(Error::Unusable(format!(
                        "cannot make a gallery for {}: its adaptation is kept in the gallery that it was made for; create this one with the program `lookalike`",
                        model.encoder().name()
                    )));
                }
            };
            // Its files may have changed since.
            if encoder.fingerprint() != model.encoder().fingerprint() {
                return Err(Error::EncoderChanged {
                    gallery: path.display().to_string(),
                    encoder: encoder.name(),
                });
            }
            let gallery = create_gallery(&path, &*encoder, &options)?;
            Ok(Searcher::sharing(gallery, encoder))
        })?;
        Self::of(py, searcher)
    }

    /// Opens a gallery, with the encoder that it keeps or else the one of `models` that is its own.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, models: Vec<PathBuf>, device: &str) -> PyResult<Self> {
        refuse_forked(py, A_GALLERY)?;
        let device = device_of(py, device)?;
        let searcher = unwatched(py, || Searcher::open(&path, &models, device))?;
        Self::of(py, searcher)
    }

    /// Closes it: others may open it as soon as what runs on it has ended.
    fn close(&self) {
        if self.process == std::process::id() {
            let searcher = self.searcher.write();
            *searcher.unwrap_or_else(PoisonError::into_inner) = None;
            return;
        }
        // In a forked process a thread that held the lock is not there any more.
        let searcher = match self.searcher.try_write() {
            Ok(mut searcher) => searcher.take(),
            Err(_) => None,
        };
        std::mem::forget(searcher);
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.get().is_none()
    }

    /// What it is and holds, as JSON.
    fn describe(&self, py: Python<'_>) -> PyResult<String> {
        self.ask(py, |searcher| Ok(json(&searcher.gallery().describe()?)))
    }

    /// Brings it in step with a source. Gives what was done as JSON, and why something was passed
    /// over.
    fn index(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        filling: &str,
        observer: &Bound<'_, PyAny>,
    ) -> PyResult<(String, Option<String>)> {
        let filling: Filling = read(py, filling)?;
        let searcher = self.searcher(py)?;
        let input = Input::of(input)?;
        let skips: Arc<Skips> = Arc::default();
        let summary = watched(py, Some(observer), |teller| {
            let progress = |progress| teller.progress(progress);
            let options = IndexOptions {
                diffusion: filling.diffusion,
                prune: filling.prune || filling.prune_emptied,
                prune_emptied: filling.prune_emptied,
                reread: filling.reread,
                thumbnail: filling.thumbnail,
                rules: RuleOverrides {
                    tiles: filling.tiles,
                    no_exif: filling.exif.map(|exif| !exif),
                    ..RuleOverrides::default()
                },
                stop: Some(teller.stop()),
                progress: Some(&progress),
            };
            let stream = input.stream(skips.clone())?;
            lookalike::index(stream, searcher.encoder(), searcher.gallery(), options)
        });
        input.check()?;
        let summary = summary?.map_err(|error| exception(py, error))?;
        let first = skips.first();
        let why = first.map(|first| format!("{}: {}", first.location, first.reason));
        Ok((json(&summary), why))
    }

    /// The answer to a query, as JSON. `asked` is JSON, see [`Asked`].
    fn search(&self, py: Python<'_>, query: &Bound<'_, PyAny>, asked: &str) -> PyResult<String> {
        let asked: Asked = read(py, asked)?;
        let mut options = asked.options(py)?;
        let Some(name) = asked.named else {
            let query = query_of(query)?;
            return self.ask(py, |searcher| Ok(json(&searcher.search(query, &options)?)));
        };
        let (like, unlike) = examples_of(query)?;
        self.ask(py, |searcher| {
            let search = kept(searcher)?.get(&name)?;
            options.strategy = asked.strategy.unwrap_or(search.strategy);
            Ok(json(
                &searcher.search_again(&search, like, unlike, options)?,
            ))
        })
    }

    /// The id of the point that a user's words name: an id, a path, `SOURCE#KEY`, a key.
    fn find(&self, py: Python<'_>, name: &str) -> PyResult<Option<String>> {
        self.ask(py, |searcher| {
            let point = searcher.find_point(name)?;
            Ok(point.map(|point| point.id.to_string()))
        })
    }

    /// How many points there are, or pass the filter.
    fn count(&self, py: Python<'_>, filter: Option<&str>) -> PyResult<usize> {
        let filter = filter_of(py, filter)?;
        self.ask(py, |searcher| {
            Ok(searcher.gallery().count(filter.as_ref())?)
        })
    }

    /// The next points after an id: their payloads as a JSON array, and their codes.
    fn page<'py>(
        &self,
        py: Python<'py>,
        after: Option<&str>,
        limit: usize,
        filter: Option<&str>,
    ) -> PyResult<(String, Bound<'py, PyByteArray>)> {
        let after = after.map(|id| id_of(py, id)).transpose()?;
        let filter = filter_of(py, filter)?;
        let records = self.ask(py, |searcher| {
            let points = searcher.gallery().scroll(after, limit, filter.as_ref())?;
            Ok(Records::of(&points))
        })?;
        records.into_python(py)
    }

    /// The points of these ids, as [`page`](Self::page) gives them; ids that are not there are left
    /// out.
    fn retrieve<'py>(
        &self,
        py: Python<'py>,
        ids: Vec<String>,
    ) -> PyResult<(String, Bound<'py, PyByteArray>)> {
        let ids = ids_of(py, &ids)?;
        let records = self.ask(py, |searcher| {
            Ok(Records::of(&searcher.gallery().retrieve(&ids)?))
        })?;
        records.into_python(py)
    }

    /// All points, as [`page`](Self::page) gives them.
    fn points<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&str>,
    ) -> PyResult<(String, Bound<'py, PyByteArray>)> {
        let mut payloads = JsonArray::new();
        let codes = self.read_all(py, filter, |point| payloads.push(&Record::of(point)))?;
        Ok((payloads.finish(), codes))
    }

    /// The codes of all points.
    fn codes<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&str>,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        self.read_all(py, filter, |_| {})
    }

    /// The payloads of all points, as a JSON array.
    fn payloads(&self, py: Python<'_>, filter: Option<&str>) -> PyResult<String> {
        let filter = filter_of(py, filter)?;
        self.ask(py, |searcher| {
            let mut payloads = JsonArray::new();
            for point in Points::new(searcher.gallery(), filter) {
                payloads.push(&Record::of(&point?));
            }
            Ok(payloads.finish())
        })
    }

    /// Removes points; says how many were there.
    fn delete(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<usize> {
        let ids = ids_of(py, &ids)?;
        self.ask(py, |searcher| {
            let gallery = searcher.gallery();
            let removed = gallery.delete(&ids)?;
            gallery.flush()?;
            Ok(removed)
        })
    }

    /// The sources and how many images each has, as JSON.
    fn sources(&self, py: Python<'_>) -> PyResult<String> {
        self.ask(py, |searcher| Ok(json(&sources_in(searcher.gallery())?)))
    }

    /// Removes all points of a source; says how many.
    fn forget(&self, py: Python<'_>, source: &str) -> PyResult<usize> {
        self.ask(py, |searcher| forget_source(searcher.gallery(), source))
    }

    /// Small pictures of points, as the bytes of PNG or JPEG files; none where nothing is left.
    fn pictures<'py>(
        &self,
        py: Python<'py>,
        ids: Vec<String>,
        side: usize,
    ) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        let ids = ids_of(py, &ids)?;
        let pictures = self.ask(py, |searcher| {
            let gallery = searcher.gallery();
            let originals = Originals::of(gallery)?;
            let points = gallery.retrieve(&ids)?;
            let picture = |id: &Uuid| -> Result<Option<Vec<u8>>, Error> {
                let Some(point) = points.iter().find(|point| point.id == *id) else {
                    return Ok(None);
                };
                if let Some(kept) = gallery.thumbnail(&point.payload.blake3)? {
                    return Ok(Some(kept));
                }
                let pixels = originals.picture(gallery, &point.payload);
                pixels.map(|pixels| small(&pixels, side)).transpose()
            };
            ids.iter().map(picture).collect::<Result<Vec<_>, _>>()
        })?;
        let bytes = |picture: Option<Vec<u8>>| picture.map(|bytes| PyBytes::new(py, &bytes));
        Ok(pictures.into_iter().map(bytes).collect())
    }

    /// Writes all points to a Parquet file, with their places on the map and so many neighbours if
    /// wanted; says how many.
    fn to_parquet(
        &self,
        py: Python<'_>,
        path: PathBuf,
        filter: Option<&str>,
        map: bool,
        neighbours: usize,
        observer: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let filter = filter_of(py, filter)?;
        let searcher = self.searcher(py)?;
        let written = watched(py, Some(observer), |teller| {
            let files = export::ExportFiles {
                parquet: Some(&path),
                map,
                neighbours,
                ..export::ExportFiles::default()
            };
            let tell = |progress| teller.progress_or_end(progress);
            export::export(searcher.gallery(), filter.as_ref(), &files, tell)
        })?;
        written.map_err(|error| exception(py, error))
    }

    /// The encoder of the gallery's codes.
    fn model(&self, py: Python<'_>) -> PyResult<Model> {
        Ok(Model::sharing(self.searcher(py)?.shared_encoder()))
    }
}

impl Drop for Store {
    /// A forked process leaves the gallery to the one that opened it: closing writes to its files,
    /// and gives up the lock that both hold.
    fn drop(&mut self) {
        self.close();
    }
}

impl Store {
    fn of(py: Python<'_>, searcher: Result<Searcher, Error>) -> PyResult<Self> {
        let searcher = searcher.map_err(|error| exception(py, error))?;
        let info = searcher.gallery().describe();
        Ok(Self {
            name: info.map_err(|error| exception(py, error))?.name,
            searcher: RwLock::new(Some(Arc::new(searcher))),
            process: std::process::id(),
        })
    }

    fn get(&self) -> Option<Arc<Searcher>> {
        let searcher = self.searcher.read();
        searcher.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The open gallery.
    pub fn searcher(&self, py: Python<'_>) -> PyResult<Arc<Searcher>> {
        refuse_forked(py, A_GALLERY)?;
        self.get().ok_or_else(|| {
            let message = format!("the gallery {} was closed: open it again", self.name);
            raise(py, "GalleryClosedError", message)
        })
    }

    /// Does something short with it, without the interpreter's lock.
    pub fn ask<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Searcher) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let searcher = self.searcher(py)?;
        let done = unwatched(py, move || work(&searcher))?;
        done.map_err(|error| exception(py, error))
    }

    /// Reads all points that pass the filter, hands each to `visit`, and gives their codes, which
    /// are written where Python has them, so that there is only one copy of many.
    fn read_all<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&str>,
        mut visit: impl FnMut(&Point) + Send,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        let filter = filter_of(py, filter)?;
        let room = self.ask(py, |searcher| {
            let gallery = searcher.gallery();
            Ok(gallery.count(filter.as_ref())? * size_of::<f32>() * gallery.describe()?.dims)
        })?;
        let codes = PyByteArray::new_with(py, room, |_| Ok(()))?;
        // SAFETY: the array was made here and nobody else knows of it yet, so that nothing else
        // reads, writes or resizes it meanwhile.
        let target = unsafe { codes.as_bytes_mut() };
        let written = self.ask(py, |searcher| {
            let mut written = 0;
            for point in Points::new(searcher.gallery(), filter) {
                let point = point?;
                let code = bytes_of(&point.code);
                // There is no room for points that were added since they were counted.
                let Some(target) = target.get_mut(written..written + code.len()) else {
                    break;
                };
                target.copy_from_slice(code);
                written += code.len();
                visit(&point);
            }
            Ok(written)
        })?;
        codes.resize(written)?;
        Ok(codes)
    }
}

/// Payloads as a JSON array, and codes.
struct Records {
    payloads: String,
    codes: Vec<f32>,
}

impl Records {
    fn of(points: &[Point]) -> Self {
        let records: Vec<Record<'_>> = points.iter().map(Record::of).collect();
        Self {
            payloads: json(&records),
            codes: points.iter().flat_map(|p| &p.code).copied().collect(),
        }
    }

    fn into_python<'py>(self, py: Python<'py>) -> PyResult<(String, Bound<'py, PyByteArray>)> {
        let codes = float_bytes(py, &self.codes)?;
        Ok((self.payloads, codes))
    }
}

/// A picture's file, small.
fn small(pixels: &Pixels, side: usize) -> Result<Vec<u8>, Error> {
    let is_small = pixels.width().max(pixels.height()) <= SMALL;
    Ok(match is_small {
        true => pixels.to_png()?,
        false => thumbnail(pixels, side)?,
    })
}

/// What Python reads.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("answers serialise")
}

/// What Python wrote.
pub fn read<T: serde::de::DeserializeOwned>(py: Python<'_>, text: &str) -> PyResult<T> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = match error.path().iter().next_back() {
            Some(Segment::Map { key }) => parameter_of(py, key),
            _ => None,
        };
        let mut message = plain(error.inner());
        if let Some(field) = field {
            message = format!("{field}: {message}");
        }
        raise(py, "ParameterError", message)
    })
}

/// What Python calls a field of options.
fn parameter_of(py: Python<'_>, field: &str) -> Option<String> {
    let parameters = py.import("lookalike._parameters").ok()?;
    parameters
        .call_method1("name_of", (field,))
        .ok()?
        .extract()
        .ok()
}

/// What is wrong with options: without the place in a text that nobody has seen, and without the
/// names that Rust has for words.
fn plain(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let end = message.rfind(" at line ").unwrap_or(message.len());
    match message[..end].strip_prefix("unknown variant ") {
        Some(rest) => format!("unknown option {rest}"),
        None => message[..end].to_owned(),
    }
}

/// A filter as it is written: `label=3 and width>=100`.
pub fn filter_of(py: Python<'_>, text: Option<&str>) -> PyResult<Option<Filter>> {
    let filter = text.map(str::parse::<Filter>).transpose();
    filter.map_err(|error| exception(py, error))
}

/// An id as it is written.
pub fn id_of(py: Python<'_>, text: &str) -> PyResult<Uuid> {
    text.parse().map_err(|_| {
        let message =
            format!("{text:?} is not the id of an image: an id is a UUID, as in a hit's `id`");
        raise(py, "QueryError", message)
    })
}

fn ids_of(py: Python<'_>, texts: &[String]) -> PyResult<Vec<Uuid>> {
    texts.iter().map(|text| id_of(py, text)).collect()
}
