//! Encoders that others have trained: ONNX models of images, and of text, as people download them.
//!
//! # Overview
//!
//! [`Pretrained::open`] takes a folder (Hugging Face and optimum, open_clip, Immich, timm) or one
//! `.onnx` file, finds the models in it and how images are preprocessed, and refuses what it does
//! not understand: it never guesses a normalisation. [`Pretrained::encode`] makes codes of length 1
//! of images, and [`Pretrained::encode_text`] of words, where the folder has a text model: both
//! kinds of codes are compared with each other.
//!
//! Models run on `rten`, on the processor, or, with the feature `ort` and where its shared library
//! is found, on ONNX Runtime ([`Runtime`]). Which files are used, and in which order they are
//! looked for, is in `docs/encoders.md`.
//!
//! # Example
//!
//! ```
//! use lookalike_images::Pixels;
//! use lookalike_pretrained::{Pretrained, PretrainedOptions};
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-clip");
//! let encoder = Pretrained::open(folder.as_ref(), &PretrainedOptions::default())?;
//! let grey = Pixels::new(28, 28, 1, vec![128; 28 * 28])?;
//! let code = encoder.encode(&[grey])?;
//! assert_eq!(code.len(), encoder.dims());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod exported;
mod files;
mod onnx;
mod preprocessing;
mod runtime;
#[cfg(feature = "text")]
mod text;
mod tower;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lookalike_images::Pixels;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use files::Files;
use onnx::{FLOATS, Port, Size, element};
use preprocessing::{Asked, GraphInput, MAX_SIDE};
use runtime::{Engine, Input, Numbers};
#[cfg(feature = "text")]
use text::TextTower;
use tower::{File, Tower};

pub use error::PretrainedError;
pub use exported::Exported;
pub use preprocessing::{Crop, Layout, Middle, Preprocessing, Resize, Values};
pub use runtime::Runtime;
pub use tower::Pool;

/// Images that go through a model together, where it takes any number.
const BATCH: usize = 8;
/// The largest batch that a graph may ask for.
const MAX_BATCH: usize = 256;
/// More threads than any machine has.
const MAX_THREADS: usize = 1024;

/// Outputs of an image model that are known to be its code, in order.
const IMAGE_OUTPUTS: [&str; 3] = ["image_embeds", "embedding", "pooler_output"];
/// Outputs of a text model that are known to be its code, in order.
#[cfg(feature = "text")]
const TEXT_OUTPUTS: [&str; 3] = ["text_embeds", "embedding", "pooler_output"];

/// What the files of an encoder do not say, or what is to be used instead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PretrainedOptions {
    /// The mean of each channel, of values from 0 to 1; one number stands for all channels.
    pub mean: Option<Vec<f32>>,
    /// The standard deviation of each channel.
    pub std: Option<Vec<f32>>,
    /// The side of the model's images in pixels, where neither its graph nor a file says it.
    pub size: Option<usize>,
    /// The output that is the code.
    pub output: Option<String>,
    /// How one code is made of those of patches or tokens.
    pub pool: Option<Pool>,
    /// Threads to run the models on; as many as there are cores by default.
    #[serde(skip)]
    pub threads: Option<usize>,
    /// What runs the models: by default ONNX Runtime in builds with the feature `ort`, where its
    /// library is found, and rten otherwise. Codes differ by rounding alone.
    #[serde(skip)]
    pub runtime: Option<Runtime>,
    /// Whether ONNX Runtime computes on an NVIDIA GPU; rten cannot.
    #[serde(skip)]
    pub cuda: bool,
}

/// An encoder that others have trained, ready to use.
pub struct Pretrained {
    files: Mutex<Files>,
    tower: Tower,
    input: Port,
    preprocessing: Preprocessing,
    dims: usize,
    fingerprint: String,
    engine: Engine,
    has_text: bool,
    exported: Option<Exported>,
    /// The text model, loaded when it is first used.
    #[cfg(feature = "text")]
    text: Mutex<Option<Arc<TextTower>>>,
}

impl Pretrained {
    /// Opens a folder, or one ONNX file and what lies beside it.
    ///
    /// All files are read, and the image model is run once; the text model is loaded when it is
    /// first used.
    ///
    /// # Errors
    ///
    /// When no image model, or more than one, could be meant; when a file is damaged, or says
    /// something that is not understood; when nothing says how images are preprocessed and the
    /// options do not either.
    pub fn open(path: &Path, options: &PretrainedOptions) -> Result<Self, PretrainedError> {
        let mut files = Files::find(path)?;
        let image = files.image.clone();
        let count = options
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        if !(1..=MAX_THREADS).contains(&count) {
            return Err(PretrainedError::Option {
                option: "threads",
                path: files.path(&image),
                reason: format!("there can be 1 to {MAX_THREADS}"),
            });
        }
        let engine = Engine::open(options.runtime, options.cuda, count, &files.path(&image))?;
        let file = File::read(&mut files, &image, &engine)?;
        let input = image_input(&file)?;
        let graph = graph_input(&file, &input)?;
        let asked = Asked {
            mean: options.mean.as_deref(),
            std: options.std.as_deref(),
            size: options.size,
        };
        let exported = Exported::read(&file.metadata, &files.path(&image))?;
        let preprocessing = match &exported {
            Some(exported) => {
                // A text model beside it belongs to another one.
                files.text = None;
                exported.preprocessing(graph, asked, &files.path(&image))?
            }
            None => Preprocessing::resolve(&mut files, graph, asked)?,
        };
        let output = options.output.as_deref();
        let mut tower = file.load(
            output,
            &IMAGE_OUTPUTS,
            options.pool,
            preprocessing.layout,
            &engine,
        )?;
        tower.keeps_lengths = exported.is_some();
        #[cfg(feature = "text")]
        text::read_all(&mut files, &engine)?;
        let has_text = has_text(&files);
        let mut encoder = Self {
            fingerprint: fingerprint(&files, &preprocessing, tower.output(), options.pool),
            files: Mutex::new(files),
            tower,
            input,
            preprocessing,
            dims: 0,
            engine,
            has_text,
            exported,
            #[cfg(feature = "text")]
            text: Mutex::new(None),
        };
        // A picture without contrast would do for the shape of a code, but some models give nothing
        // for it.
        let picture = (0..64 * 64 * 3).map(|i| (i * 7 % 251) as u8).collect();
        if let Ok(picture) = Pixels::new(64, 64, 3, picture) {
            let (width, height) = (encoder.preprocessing.width, encoder.preprocessing.height);
            let picture = lookalike_images::resize(
                &picture,
                [0.0, 0.0, 64.0, 64.0],
                width,
                height,
                encoder.preprocessing.interpolation,
            );
            let code = encoder.encode(&[picture])?;
            encoder.tower.check_direction(&code)?;
            encoder.dims = code.len();
        }
        Ok(encoder)
    }

    /// What the model says of itself if Lookalike has exported it. The codes of such a model have
    /// the lengths that it gives them.
    pub fn exported(&self) -> Option<&Exported> {
        self.exported.as_ref()
    }

    /// How images are brought to what the model takes.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// How many numbers a code has.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// The BLAKE3 hash, in hex, of all files that are used, the preprocessing and the choice of
    /// output: it changes when codes may.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// One line for people: the model, its codes and its images.
    pub fn describe(&self) -> String {
        let Preprocessing {
            width,
            height,
            channels,
            ..
        } = self.preprocessing;
        let files = self.files();
        let colour = if channels == 1 { ", grey" } else { "" };
        let text = match &files.text {
            Some(text) if self.has_text => format!(", text by {text}"),
            _ => String::new(),
        };
        let name = files.path(&files.image);
        format!(
            "{}: {} floats ({}) of {width}x{height} pixels{colour}{text}",
            name.display(),
            self.dims,
            self.tower.output()
        )
    }

    /// What runs the models, in words: `rten`, or ONNX Runtime and its library. Where that was
    /// looked for and cannot be used, the reason is said, too.
    pub fn runtime(&self) -> String {
        self.engine.describe()
    }

    /// The codes of images, one after another, each of [`dims`](Self::dims) floats and of length 1
    /// (but for [`exported`](Self::exported) models), or of length 0 where the model gives nothing
    /// for a picture.
    ///
    /// # Errors
    ///
    /// When the model cannot be run, or gives codes that are not numbers; when it takes images of
    /// one size alone and its preprocessing does not resize.
    pub fn encode(&self, images: &[Pixels]) -> Result<Vec<f32>, PretrainedError> {
        let batch = self.input.fixed(0).unwrap_or(BATCH);
        let mut codes = Vec::with_capacity(images.len() * self.dims);
        for images in images.chunks(batch) {
            let prepared: Vec<Result<Pixels, PretrainedError>> = self
                .engine
                .spread(|| images.par_iter().map(|image| self.prepare(image)).collect());
            let prepared: Vec<Pixels> = prepared.into_iter().collect::<Result<_, _>>()?;
            codes.append(&mut self.encode_prepared(&prepared)?);
        }
        Ok(codes)
    }

    /// Brings an image to what the model takes, as [`preprocessing`](Self::preprocessing) says, but
    /// for the normalisation of its values.
    ///
    /// # Errors
    ///
    /// When the model takes images of one size alone and its preprocessing does not resize.
    pub fn prepare(&self, image: &Pixels) -> Result<Pixels, PretrainedError> {
        let Preprocessing { width, height, .. } = self.preprocessing;
        self.preprocessing.picture(image).ok_or_else(|| {
            let files = self.files();
            PretrainedError::ImageSize {
                path: files.path(&files.image),
                expected: format!("{width}x{height}"),
                found: format!("{}x{}", image.width(), image.height()),
            }
        })
    }

    /// As [`encode`](Self::encode), of images that [`prepare`](Self::prepare) gave.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_prepared(&self, pictures: &[Pixels]) -> Result<Vec<f32>, PretrainedError> {
        let fixed = self.input.fixed(0);
        let mut codes = Vec::with_capacity(pictures.len() * self.dims);
        for pictures in pictures.chunks(fixed.unwrap_or(BATCH)) {
            // A graph for a fixed number of images gets that many, whatever the last ones are.
            let input = self.input(pictures, fixed.unwrap_or(pictures.len()));
            let (mut found, dims) = self.tower.run(vec![input])?;
            if self.dims != 0 && dims != self.dims {
                return Err(self.tower.run_error(format!(
                    "it gave codes of {dims} floats instead of {}",
                    self.dims
                )));
            }
            found.truncate(dims * pictures.len());
            codes.append(&mut found);
        }
        Ok(codes)
    }

    /// Whether [`encode_text`](Self::encode_text) can be used: the folder has a text model and its
    /// tokenizer.
    pub fn has_text(&self) -> bool {
        self.has_text
    }

    /// The code of a text, to be compared with those of images.
    ///
    /// # Errors
    ///
    /// When the folder has no text model, or one whose codes have another length; when it cannot be
    /// run.
    pub fn encode_text(&self, text: &str) -> Result<Vec<f32>, PretrainedError> {
        #[cfg(not(feature = "text"))]
        {
            let _ = text;
            let files = self.files();
            Err(PretrainedError::Text {
                path: files.path(&files.image),
                reason: "the program was built without it (feature \"text\")".to_owned(),
            })
        }
        #[cfg(feature = "text")]
        {
            let tower = self.text_tower()?;
            let code = tower.encode(text)?;
            if code.len() != self.dims {
                let files = self.files();
                return Err(PretrainedError::Text {
                    path: files.path(files.text.as_ref().unwrap_or(&files.image)),
                    reason: format!(
                        "its codes have {} floats and those of images {}; use two models that were trained together",
                        code.len(),
                        self.dims
                    ),
                });
            }
            Ok(code)
        }
    }

    #[cfg(feature = "text")]
    fn text_tower(&self) -> Result<Arc<TextTower>, PretrainedError> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tower) = &*text {
            return Ok(Arc::clone(tower));
        }
        let load = |file: File| {
            file.load(
                None,
                &TEXT_OUTPUTS,
                None,
                Layout::ChannelsFirst,
                &self.engine,
            )
        };
        let tower = TextTower::load(&mut self.files(), &self.engine, load)?;
        let tower = Arc::new(tower);
        *text = Some(Arc::clone(&tower));
        Ok(tower)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pictures as the model's input, the last one repeated up to `count`.
    fn input(&self, pictures: &[Pixels], count: usize) -> Input<'_> {
        let Preprocessing {
            height,
            width,
            channels,
            layout,
            ..
        } = self.preprocessing;
        let shape = match layout {
            Layout::ChannelsFirst => [count, channels, height, width],
            Layout::ChannelsLast => [count, height, width, channels],
        };
        let last = pictures
            .last()
            .into_iter()
            .cycle()
            .take(count - pictures.len());
        let all = pictures.iter().chain(last);
        let size = count * channels * height * width;
        let numbers = match &self.preprocessing.values {
            Values::Bytes => {
                let mut bytes = Vec::with_capacity(size);
                all.for_each(|picture| {
                    self.preprocessing
                        .arrange(picture, |_, byte| byte, &mut bytes)
                });
                Numbers::Bytes(bytes)
            }
            Values::Normalised { rescale, mean, std } => {
                // Each byte of each channel has one number.
                let number = |channel: usize, byte: u8| {
                    (f32::from(byte) * rescale - mean[channel]) / std[channel]
                };
                let table: Vec<[f32; 256]> = (0..channels)
                    .map(|channel| std::array::from_fn(|byte| number(channel, byte as u8)))
                    .collect();
                let mut numbers = Vec::with_capacity(size);
                let look_up = |channel: usize, byte: u8| table[channel][usize::from(byte)];
                all.for_each(|picture| self.preprocessing.arrange(picture, look_up, &mut numbers));
                Numbers::Floats(numbers)
            }
        };
        Input {
            port: &self.input,
            shape: shape.to_vec(),
            numbers,
        }
    }
}

/// Reads and loads the bytes of an ONNX file as [`Pretrained::open`] does, without the files around
/// it: for fuzzing.
#[doc(hidden)]
pub fn load_bytes(bytes: Vec<u8>) -> Result<(), PretrainedError> {
    let engine = Engine::small();
    let (file, _) = File::parse(bytes, "model.onnx".into(), &engine)?;
    let input = image_input(&file)?;
    let layout = graph_input(&file, &input)?.layout;
    file.load(None, &IMAGE_OUTPUTS, None, layout, &engine)
        .map(|_| ())
}

fn has_text(files: &Files) -> bool {
    #[cfg(feature = "text")]
    return files.text.is_some() && text::tokenizer_file(files).is_some();
    #[cfg(not(feature = "text"))]
    return {
        let _ = files;
        false
    };
}

/// The input that takes images.
fn image_input(file: &File) -> Result<Port, PretrainedError> {
    let takes = |names: &[&str]| {
        file.inputs
            .iter()
            .any(|port| names.contains(&port.name.as_str()))
    };
    let all = file
        .inputs
        .iter()
        .map(Port::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let images: Vec<&Port> = file
        .inputs
        .iter()
        .filter(|port| port.rank().is_none_or(|rank| rank == 4))
        .collect();
    match (takes(&["input_ids", "attention_mask"]), images.as_slice()) {
        (true, [_, ..]) => Err(file.unsupported(
            "it takes images and text at once (input_ids); export the image tower and the text tower apart, as \
             vision_model.onnx and text_model.onnx",
        )),
        (true, []) => Err(file.unsupported("it is a text model (input_ids); name the image model, or its folder")),
        (false, [one]) if file.inputs.len() == 1 => Ok((*one).clone()),
        _ => Err(file.unsupported(format!("it takes {all}, not one batch of images; export the image tower alone"))),
    }
}

fn graph_input(file: &File, input: &Port) -> Result<GraphInput, PretrainedError> {
    if !FLOATS.contains(&input.element) && input.element != element::UINT8 {
        return Err(file.unsupported(format!(
            "its input {input} takes neither floats nor bytes; export it with a float32 or uint8 input"
        )));
    }
    let named = |place: usize| match input.shape.as_ref().and_then(|shape| shape.get(place)) {
        Some(Size::Open(name)) => name.to_lowercase().contains("channel"),
        _ => false,
    };
    let channels = |place: usize| {
        input
            .fixed(place)
            .filter(|channels| matches!(channels, 1 | 3))
    };
    let (layout, channels) = match (channels(1), channels(3)) {
        (Some(channels), None) => (Layout::ChannelsFirst, channels),
        (None, Some(channels)) => (Layout::ChannelsLast, channels),
        // transformers names its input so, and it has channels first.
        (None, None) if named(1) || input.name == "pixel_values" => (Layout::ChannelsFirst, 3),
        (None, None) if named(3) => (Layout::ChannelsLast, 3),
        _ => {
            return Err(file.unsupported(format!(
                "its input {input} does not say where the 1 or 3 channels are; export it with a fixed number of \
                 channels"
            )));
        }
    };
    let (height, width) = match layout {
        Layout::ChannelsFirst => (input.fixed(2), input.fixed(3)),
        Layout::ChannelsLast => (input.fixed(1), input.fixed(2)),
    };
    if [height, width]
        .into_iter()
        .flatten()
        .any(|side| side > MAX_SIDE)
    {
        return Err(file.unsupported(format!(
            "its input {input} has a side of more than {MAX_SIDE} pixels; the file may be damaged"
        )));
    }
    if input.fixed(0).is_some_and(|batch| batch > MAX_BATCH) {
        return Err(file.unsupported(format!(
            "its input {input} takes more than {MAX_BATCH} images at once; export it with a dynamic batch"
        )));
    }
    Ok(GraphInput {
        height,
        width,
        channels,
        layout,
        bytes: input.element == element::UINT8,
    })
}

fn fingerprint(
    files: &Files,
    preprocessing: &Preprocessing,
    output: &str,
    pool: Option<Pool>,
) -> String {
    let hashes: BTreeMap<&str, String> = files
        .hashes()
        .iter()
        .map(|(name, hash)| (name.as_str(), hash.to_hex().to_string()))
        .collect();
    let facts = serde_json::json!({
        "files": hashes,
        "image": files.image,
        "preprocessing": preprocessing,
        "output": output,
        "pool": pool,
    });
    blake3::Hasher::new()
        .update(facts.to_string().as_bytes())
        .finalize()
        .to_hex()
        .to_string()
}
