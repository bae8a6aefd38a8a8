//! What runs models: one interface, so that nothing else in the crate depends on which runtime it
//! is.

#[cfg(feature = "ort")]
mod onnx_runtime;
mod rten;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::PretrainedError;
use crate::onnx::Port;

/// What can run models.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runtime {
    /// `rten`, which is part of every build.
    Rten,
    /// ONNX Runtime, a shared library that is loaded when it is needed; in builds with the feature
    /// `ort`.
    OnnxRuntime,
}

impl Runtime {
    /// Every runtime, in the order of the documentation.
    pub const ALL: [Runtime; 2] = [Self::Rten, Self::OnnxRuntime];
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rten => "rten",
            Self::OnnxRuntime => "onnxruntime",
        })
    }
}

impl std::str::FromStr for Runtime {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|runtime| runtime.to_string() == name);
        found.ok_or_else(|| {
            format!("{name:?} is not a runtime of models; there are rten and onnxruntime")
        })
    }
}

/// What goes into a model.
pub(crate) struct Input<'a> {
    pub(crate) port: &'a Port,
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Numbers,
}

/// The numbers of an input, which the runtime brings to the type that the model takes.
pub(crate) enum Numbers {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    #[cfg(feature = "text")]
    Integers(Vec<i32>),
}

/// What a model gives.
pub(crate) struct Output {
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Vec<f32>,
}

/// A model's bytes, inspected before, and the weights that lie in files beside it.
pub(crate) struct Model<'a> {
    pub(crate) bytes: Bytes,
    pub(crate) external: Vec<(String, Vec<u8>)>,
    /// The output that is asked for.
    pub(crate) output: &'a str,
}

/// Why a runtime cannot load a model.
pub(crate) enum LoadError {
    /// The model has something that the runtime does not know.
    Unsupported(String),
    /// The file is damaged.
    Damaged(String),
}

/// A model that a runtime has loaded.
pub(crate) trait Session: Send + Sync {
    /// Runs the model once. The error says why it failed.
    fn run(&self, inputs: Vec<Input<'_>>) -> Result<Output, String>;
}

/// A runtime with its threads, which all models of an encoder share.
#[derive(Clone)]
pub(crate) struct Engine {
    kind: Kind,
    threads: Arc<::rten::ThreadPool>,
}

#[derive(Clone)]
enum Kind {
    Rten {
        /// Why it is not the other one, where that was looked for.
        because: Option<String>,
    },
    #[cfg(feature = "ort")]
    OnnxRuntime(onnx_runtime::Settings),
}

impl Engine {
    /// The runtime that was asked for. If none was, ONNX Runtime where this build can use it and
    /// its library is found, and rten otherwise. `model` is named in errors.
    pub(crate) fn open(
        asked: Option<Runtime>,
        cuda: bool,
        threads: usize,
        model: &Path,
    ) -> Result<Self, PretrainedError> {
        let kind = match asked {
            Some(Runtime::Rten) => Kind::Rten { because: None },
            Some(Runtime::OnnxRuntime) => {
                onnx_runtime(cuda, threads).map_err(|reason| PretrainedError::Runtime {
                    path: model.to_owned(),
                    reason,
                })?
            }
            #[cfg(feature = "ort")]
            None => match onnx_runtime(cuda, threads) {
                Ok(kind) => kind,
                Err(because) => Kind::Rten {
                    because: Some(because),
                },
            },
            #[cfg(not(feature = "ort"))]
            None => Kind::Rten { because: None },
        };
        Ok(Self {
            kind,
            threads: Arc::new(::rten::ThreadPool::with_num_threads(threads)),
        })
    }

    /// rten on one thread.
    pub(crate) fn small() -> Self {
        Self {
            kind: Kind::Rten { because: None },
            threads: Arc::new(::rten::ThreadPool::with_num_threads(1)),
        }
    }

    /// Whether the runtime interpolates cubically where a model resizes.
    pub(crate) fn has_cubic(&self) -> bool {
        match self.kind {
            Kind::Rten { .. } => false,
            #[cfg(feature = "ort")]
            Kind::OnnxRuntime(_) => true,
        }
    }

    /// Which runtime it is, in words.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Rten { because: None } => "rten".to_owned(),
            Kind::Rten {
                because: Some(reason),
            } => format!("rten (ONNX Runtime: {reason})"),
            #[cfg(feature = "ort")]
            Kind::OnnxRuntime(settings) => settings.describe(),
        }
    }

    /// Does something on the threads of the encoder, where rayon's iterators spread over them.
    pub(crate) fn spread<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.run(work)
    }

    pub(crate) fn load(&self, model: Model<'_>) -> Result<Box<dyn Session>, LoadError> {
        match &self.kind {
            Kind::Rten { .. } => rten::load(model, Arc::clone(&self.threads)),
            #[cfg(feature = "ort")]
            Kind::OnnxRuntime(settings) => settings.load(model),
        }
    }
}

#[cfg(feature = "ort")]
fn onnx_runtime(cuda: bool, threads: usize) -> Result<Kind, String> {
    onnx_runtime::Settings::new(cuda, threads).map(Kind::OnnxRuntime)
}

#[cfg(not(feature = "ort"))]
fn onnx_runtime(_cuda: bool, _threads: usize) -> Result<Kind, String> {
    Err(
        "this build has no support for ONNX Runtime; use rten, or build with the feature \"ort\""
            .to_owned(),
    )
}
