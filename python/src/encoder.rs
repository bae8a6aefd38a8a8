//! Encoders: trained, read from files, and used.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lookalike::autoencoder::{
    Autoencoder, Checkpointing, DeviceChoice, Observer, TrainConfig, Verdict, train,
};
use lookalike::files::replace_file;
use lookalike::images::{Decoded, Pixels};
use lookalike::{
    Encoder, EncoderFiles, Error, Phase, PretrainedEncoder, PretrainedOptions, TrainOptions,
    augments, compare_while, load_encoder, most_train_images, teach, teacher_record,
};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes};
use serde::Deserialize;

use crate::errors::{exception, raise};
use crate::gallery::read;
use crate::inputs::Input;
use crate::memory::KeptMemory;
use crate::neighbours::{byte_array, bytes_of, float_bytes};
use crate::watch::{refuse_forked, unwatched, watched};

/// How often a checkpoint is written, besides at every epoch's end.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// What a forked process cannot use.
const ANOTHER_ENCODER: &str = "an encoder that others have trained";

/// Images that are reconstructed before signals are heard.
const RECONSTRUCTED_AT_ONCE: usize = 256;

/// How a model is trained: what the library is asked for, and what is particular to this call.
#[derive(Deserialize)]
struct Wishes {
    device: String,
    /// Learn from a fair sample of so many images.
    sample: Option<usize>,
    checkpoint: PathBuf,
    resume: bool,
    /// Judge the model beside simple descriptors when it has learned.
    compare: bool,
    options: TrainOptions,
}

/// An encoder: an autoencoder, or one that others have trained.
#[pyclass(module = "lookalike._lookalike", frozen)]
pub struct Model {
    encoder: Arc<dyn Encoder>,
}

#[pymethods]
impl Model {
    /// Trains an autoencoder on the images of `input` by `wishes`, JSON, to give the codes of
    /// `teacher` if there is one. `observer` hears of it.
    #[staticmethod]
    fn train(
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        wishes: &str,
        observer: &Bound<'_, PyAny>,
        teacher: Option<&Bound<'_, Self>>,
    ) -> PyResult<Self> {
        let wishes: Wishes = read(py, wishes)?;
        let device = device_of(py, &wishes.device)?;
        let input = Input::of(input)?;
        if let Some(teacher) = teacher {
            teacher.get().check_process(py)?;
        }
        let teacher = teacher.map(|teacher| teacher.get().encoder.clone());
        let model = watched(py, Some(observer), |mut teller| -> Result<_, Error> {
            let _kept = KeptMemory::begin();
            let seed = wishes.options.seed;
            let listing = teller.clone();
            let open = || -> Result<_, Error> {
                let stream = input.watched(&listing, None)?;
                Ok(match wishes.sample {
                    Some(sample) => stream.sampled(sample, seed),
                    None => stream,
                })
            };
            let stream = open()?;
            let skips = stream.skips().clone();
            let images = wishes.options.load(stream, || teller.goes_on())?;
            // Of a part of the images nothing is learned, and no checkpoint is kept.
            if !teller.goes_on() || input.has_failed() {
                let source_name = images.collection.name().to_owned();
                return Err(Error::Stopped { source_name });
            }
            input.judge(&skips, &teller)?;
            if images.is_sample && wishes.sample.is_none() {
                teller.note(&format!(
                    "learning from a random sample of at most {} images; Encoder(sample=N) asks for another number",
                    images.collection.len()
                ));
            }
            let (collection, grey_range) = (Arc::new(images.collection), images.grey_range);
            let stopped = || Error::Stopped {
                source_name: collection.name().to_owned(),
            };
            let choose = {
                let (options, collection) = (wishes.options.clone(), collection.clone());
                move |go_on: &dyn Fn() -> bool| options.config_while(&collection, device, go_on)
            };
            let config = match augments(wishes.options.objective()) {
                true => teller.stage("choosing changes", || teller.apart(choose)),
                false => Some(choose(&|| true)),
            };
            let mut config: TrainConfig = config.ok_or_else(stopped)??;
            config.teacher = teacher.as_deref().map(teacher_record);
            let checkpointing = Checkpointing {
                path: wishes.checkpoint,
                every: CHECKPOINT_EVERY,
                resume: wishes.resume,
            };
            let kept = Some(&checkpointing);
            let model = match teacher.as_deref() {
                Some(teacher) => {
                    // Another look at the same images, before they were brought to one shape.
                    let stream = open()?.with_grey_range(grey_range);
                    let stream = stream.sampled(most_train_images(collection.shape()), seed);
                    teach(
                        teacher,
                        &stream,
                        &collection,
                        &config,
                        device,
                        kept,
                        &mut teller,
                    )?
                }
                None => train(&collection, &config, device, kept, &mut teller)?,
            };
            let model = model.with_grey_range(grey_range);
            if !wishes.compare {
                return Ok(model);
            }
            let compare = {
                let collection = collection.clone();
                move |go_on: &dyn Fn() -> bool| -> Result<_, Error> {
                    let comparison = compare_while(&model, &collection, go_on)?;
                    Ok(match comparison {
                        Some(comparison) => model.with_comparison(comparison),
                        None => model,
                    })
                }
            };
            let compared = teller.stage("judging", || teller.apart(compare));
            compared.ok_or_else(stopped)?
        });
        input.check()?;
        let model = model?.map_err(|error| exception(py, error))?;
        Ok(Self::sharing(Arc::new(model)))
    }

    /// Reads a model file, or the folder or file of an encoder that others have trained.
    #[staticmethod]
    pub fn load(py: Python<'_>, path: PathBuf, device: &str) -> PyResult<Self> {
        if PretrainedEncoder::is_at(&path) {
            refuse_forked(py, ANOTHER_ENCODER)?;
        }
        let device = device_of(py, device)?;
        let options = PretrainedOptions::default();
        let encoder = unwatched(py, || load_encoder(&path, &options, device))?;
        let encoder = encoder.map_err(|error| exception(py, error))?;
        Ok(Self::sharing(encoder.into()))
    }

    /// Reads a model file's bytes.
    #[staticmethod]
    pub fn from_bytes(py: Python<'_>, bytes: PyBackedBytes, device: &str) -> PyResult<Self> {
        let device = device_of(py, device)?;
        let model = unwatched(py, || Autoencoder::from_bytes(&bytes, "the model", device))?;
        let model = model.map_err(|error| exception(py, error))?;
        Ok(Self::sharing(Arc::new(model)))
    }

    /// The model file's bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let autoencoder = self.autoencoder(py)?;
        let file = unwatched(py, || autoencoder.to_bytes())?;
        Ok(PyBytes::new(py, &file))
    }

    /// Writes the model file, all of it or nothing.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let autoencoder = self.autoencoder(py)?;
        let saved = unwatched(py, || autoencoder.save(&path))?;
        saved.map_err(|error| exception(py, error))
    }

    /// The encoder as the bytes of an ONNX file.
    fn to_onnx<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let autoencoder = self.autoencoder(py)?;
        let file = unwatched(py, || autoencoder.to_onnx())?;
        Ok(PyBytes::new(py, &file))
    }

    /// Writes that file, all of it or nothing, and gives its bytes.
    fn save_onnx<'py>(&self, py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyBytes>> {
        let autoencoder = self.autoencoder(py)?;
        let saved = unwatched(py, || -> Result<_, Error> {
            let file = autoencoder.to_onnx();
            replace_file(&path, &file).map_err(|error| Error::unwritten(&path, error))?;
            Ok(file)
        })?;
        let file = saved.map_err(|error| exception(py, error))?;
        Ok(PyBytes::new(py, &file))
    }

    /// Codes of all images of `input`, as bytes of `float32`; their keys and labels; how many were
    /// passed over, and why the first of them was.
    #[expect(clippy::type_complexity, reason = "a tuple that Python takes apart")]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        input: &Bound<'py, PyAny>,
        observer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(
        Bound<'py, PyByteArray>,
        Vec<String>,
        Vec<Option<String>>,
        Option<(u64, String)>,
    )> {
        self.check_process(py)?;
        let input = Input::of(input)?;
        let encoder = &*self.encoder;
        let encoded = watched(py, observer, |teller| -> Result<_, Error> {
            let stream = input.watched(&teller, Some(Phase::Encoding))?;
            let range = match encoder.grey_range() {
                None => stream.suitable_grey_range()?,
                known => known,
            };
            let stream = stream.with_grey_range(range);
            let mut follow = |_: usize| match teller.goes_on() {
                true => Ok(()),
                false => {
                    let source_name = stream.name().to_owned();
                    Err(Error::Stopped { source_name })
                }
            };
            // Ours are fast enough to be stopped between the many images that suit them.
            let encoded = match encoder.files() {
                Some(_) => stream.encode_followed(encoder, None, &mut follow)?,
                None => stream.encode(encoder, None)?,
            };
            let skips = stream.skips();
            let skipped = skips.first().map(|first| {
                let why = format!("{}: {}", first.location, first.reason);
                (skips.total(), why)
            });
            Ok((encoded, skipped))
        });
        input.check()?;
        let (encoded, skipped) = encoded?.map_err(|error| exception(py, error))?;
        let codes = float_bytes(py, &encoded.codes)?;
        Ok((codes, encoded.keys, encoded.labels, skipped))
    }

    /// Writes the codes of images that have the encoder's shape to `codes`, from `offset` on. The
    /// caller got `codes` from [`room_for_floats`] for this alone.
    fn encode_fitting(
        &self,
        py: Python<'_>,
        pixels: PyBackedBytes,
        codes: &Bound<'_, PyByteArray>,
        offset: usize,
    ) -> PyResult<()> {
        self.check_process(py)?;
        let (image, code) = (self.encoder.shape().values(), 4 * self.encoder.code_dim());
        let end = offset + pixels.len() / image * code;
        // SAFETY: the package makes the array for a call of `Encoder.encode` and shows it to nobody
        // before that has its codes, so that nothing else reads, writes or resizes it meanwhile.
        let all = unsafe { codes.as_bytes_mut() };
        let Some(target) = all.get_mut(offset..end) else {
            let message = format!("there is no room for codes from {offset} to {end}");
            return Err(raise(py, "LookalikeError", message));
        };
        let written = watched(py, None, |_| -> Result<_, Error> {
            // SAFETY: every four bytes are a float, and every float is four bytes.
            let floats = unsafe { target.align_to_mut::<f32>() };
            match (self.own(), floats) {
                // All cores write their codes there themselves.
                (Some(model), ([], floats, [])) => model.encode_into(&pixels, floats)?,
                _ => target.copy_from_slice(bytes_of(&self.encode_pixels(&pixels)?)),
            }
            Ok(())
        })?;
        written.map_err(|error| exception(py, error))
    }

    /// What the autoencoder makes of all images of `input`, brought to its shape as before they are
    /// encoded: bytes, one image after another.
    fn reconstruct<'py>(
        &self,
        py: Python<'py>,
        input: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        let autoencoder = self.autoencoder(py)?;
        let input = Input::of(input)?;
        let made = watched(py, None, |teller| -> Result<_, Error> {
            let stream = input.watched(&teller, None)?;
            let range = match autoencoder.record().grey_range {
                None => stream.suitable_grey_range()?,
                known => known,
            };
            let shape = autoencoder.shape();
            let stream = stream
                .with_grey_range(range)
                .fitted(shape, autoencoder.fit());
            let images = stream.load(Some(shape), None)?;
            input.judge(stream.skips(), &teller)?;
            let mut made = Vec::with_capacity(images.pixels().len());
            for pixels in images
                .pixels()
                .chunks(RECONSTRUCTED_AT_ONCE * shape.values())
            {
                teller.end_if_told();
                made.extend(autoencoder.reconstruct(pixels)?);
            }
            Ok(made)
        });
        input.check()?;
        byte_array(py, &made?.map_err(|error| exception(py, error))?)
    }

    /// The code of words.
    fn encode_text<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyByteArray>> {
        self.check_process(py)?;
        let code = unwatched(py, || self.encoder.encode_text(text))?;
        float_bytes(py, &code.map_err(|error| exception(py, error))?)
    }

    /// Height, width and channels of its input.
    #[getter]
    fn shape(&self) -> (usize, usize, usize) {
        let shape = self.encoder.shape();
        (shape.height, shape.width, shape.channels)
    }

    /// Floats of a code.
    #[getter]
    fn dims(&self) -> usize {
        self.encoder.code_dim()
    }

    /// The metric that suits its codes.
    #[getter]
    fn metric(&self) -> &'static str {
        self.encoder.default_metric().name()
    }

    /// BLAKE3 of its file, by which galleries know it.
    #[getter]
    fn fingerprint(&self, py: Python<'_>) -> PyResult<String> {
        unwatched(py, || self.encoder.fingerprint())
    }

    /// What it is, in a line.
    #[getter]
    fn description(&self) -> String {
        self.encoder.name()
    }

    /// The path of an encoder that others have trained, if that is all one needs to open it again.
    #[getter]
    fn path(&self) -> Option<&OsStr> {
        let files = self.files()?;
        let is_all = files.options == PretrainedOptions::default();
        is_all.then(|| files.path.as_os_str())
    }

    /// Learned numbers of an autoencoder.
    #[getter]
    fn parameters(&self) -> Option<usize> {
        self.own().map(Autoencoder::parameters)
    }

    /// The recipe and the history of an autoencoder, as JSON.
    #[getter]
    fn about(&self) -> Option<(String, String)> {
        let autoencoder = self.own()?;
        let recipe = serde_json::to_string(autoencoder.config()).ok()?;
        let record = serde_json::to_string(autoencoder.record()).ok()?;
        Some((recipe, record))
    }

    /// What was found without labels: "better", "even" or "worse" than the best simple descriptor,
    /// the score of its codes, and the name and the score of that.
    #[getter]
    fn judged(&self) -> Option<(&'static str, f32, String, f32)> {
        let comparison = self.own()?.record().comparison.as_ref()?;
        let best = comparison.best()?;
        let verdict = match comparison.verdict() {
            Verdict::Better => "better",
            Verdict::Even => "even",
            Verdict::Worse => "worse",
        };
        let score = comparison.score(&comparison.model);
        Some((verdict, score, best.name.clone(), comparison.score(best)))
    }

    /// Whether it is no better than answering with the mean image.
    #[getter]
    fn collapsed(&self) -> bool {
        self.own().is_some_and(|model| model.record().collapsed())
    }
}

impl Model {
    /// Of an encoder that others may use as well.
    pub fn sharing(encoder: Arc<dyn Encoder>) -> Self {
        Self { encoder }
    }

    /// Refuses an encoder that others have trained in a forked process: what runs it has threads of
    /// its own, and some for all of its kind.
    fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        match self.encoder.files() {
            Some(_) => refuse_forked(py, ANOTHER_ENCODER),
            None => Ok(()),
        }
    }

    /// The encoder.
    pub fn encoder(&self) -> &Arc<dyn Encoder> {
        &self.encoder
    }

    /// The files of an encoder that others have trained and nobody has adapted.
    pub fn files(&self) -> Option<&EncoderFiles> {
        let is_adapted = self.encoder.adapted().is_some();
        self.encoder.files().filter(|_| !is_adapted)
    }

    /// The autoencoder that all of it is. That of an adapted encoder makes only a part of a code.
    pub fn own(&self) -> Option<&Autoencoder> {
        let is_adapted = self.encoder.adapted().is_some();
        self.encoder.autoencoder().filter(|_| !is_adapted)
    }

    fn autoencoder(&self, py: Python<'_>) -> PyResult<&Autoencoder> {
        self.own().ok_or_else(|| {
            let advice = match self.encoder.adapted() {
                Some(_) => "open its gallery, which alone knows how it was adapted",
                None => "use its own files",
            };
            let name = self.encoder.name();
            raise(
                py,
                "ModelError",
                format!("{name} is not an autoencoder of ours: {advice}"),
            )
        })
    }

    /// Codes of images of its shape. Other encoders than ours see more in a picture than its pixels
    /// in that shape, so that they prepare it themselves.
    fn encode_pixels(&self, pixels: &[u8]) -> Result<Vec<f32>, Error> {
        if self.own().is_some() {
            return self.encoder.encode(pixels);
        }
        let shape = self.encoder.shape();
        let mut inputs = Vec::new();
        for image in pixels.chunks_exact(shape.values()) {
            let pixels = Pixels::new(shape.width, shape.height, shape.channels, image.to_vec())?;
            inputs.extend_from_slice(self.encoder.prepare(&Decoded::from(pixels))?.data());
        }
        self.encoder.encode(&inputs)
    }
}

/// A device by its name.
pub fn device_of(py: Python<'_>, name: &str) -> PyResult<DeviceChoice> {
    name.parse().map_err(|error| {
        let error: lookalike::autoencoder::AutoencoderError = error;
        exception(py, error)
    })
}
