//! Models on ONNX Runtime, whose shared library is loaded when the first model needs it.

use std::env;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use half::f16;
use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::ep::{CUDA, ExecutionProvider as _};
use ort::logging::LogLevel;
use ort::session::builder::SessionBuilder;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session as OrtSession, SessionInputValue,
};
use ort::value::{DynValue, Tensor};

use super::{Input, LoadError, Model, Numbers, Output, Session};
use crate::onnx::element;

/// Names the library, as other programs that load it know.
const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// The library and the environment that it wants, of which a process has one.
struct Library {
    environment: Environment,
    /// As it was found.
    name: String,
}

/// How models are run.
#[derive(Clone)]
pub(super) struct Settings {
    library: &'static Library,
    cuda: bool,
    threads: usize,
}

struct LoadedModel {
    /// The session, which runs one batch at a time on its own threads, and what asks it for the
    /// output alone.
    session: Mutex<(OrtSession, RunOptions<HasSelectedOutputs>)>,
    output: String,
}

/// Loads the library, once in the life of a process.
fn library() -> Result<&'static Library, String> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    let found = LIBRARY.get_or_init(|| match env::var_os(LIBRARY_VARIABLE) {
        Some(path) if !path.is_empty() => {
            open(Path::new(&path)).map_err(|reason| format!("{reason} ({LIBRARY_VARIABLE})"))
        }
        _ => {
            let usual = file_name("onnxruntime");
            // Distributions keep the name without a version for those who build with it.
            open(Path::new(&usual)).or_else(|reason| {
                open(Path::new(&format!("{usual}.1"))).map_err(|_| {
                    format!("{reason}; install it, or name its file with {LIBRARY_VARIABLE}")
                })
            })
        }
    });
    found.as_ref().map_err(Clone::clone)
}

fn file_name(name: &str) -> String {
    format!(
        "{}{name}{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    )
}

fn open(path: &Path) -> Result<Library, String> {
    let builder = ort::init_from(path).map_err(|error| match error {
        LoadDynamicError::BadVersion { version_str, path } => format!(
            "{} is version {version_str}, and 1.{} or newer is needed",
            path.display(),
            ort::MINOR_VERSION
        ),
        LoadDynamicError::MissingApi { path } => {
            format!("{} is not ONNX Runtime", path.display())
        }
        other => format!("its library cannot be loaded: {other}"),
    })?;
    let environment = builder
        .with_name("lookalike")
        .with_telemetry(false)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Library {
        environment,
        name: path.display().to_string(),
    })
}

impl Settings {
    pub(super) fn new(cuda: bool, threads: usize) -> Result<Self, String> {
        Ok(Self {
            library: library()?,
            cuda,
            threads,
        })
    }

    pub(super) fn describe(&self) -> String {
        let device = if self.cuda { ", CUDA" } else { "" };
        format!("ONNX Runtime ({}{device})", self.library.name)
    }

    pub(super) fn load(&self, model: Model<'_>) -> Result<Box<dyn Session>, LoadError> {
        let builder = self.builder().map_err(LoadError::Unsupported)?;
        let unsupported = |error: ort::Error| {
            LoadError::Unsupported(format!(
                "ONNX Runtime cannot load it: {error}; export it again with plain ONNX operators, or use rten"
            ))
        };
        let mut builder = builder;
        for (location, bytes) in model.external {
            let added = builder.with_external_initializer_file_in_memory(location, bytes.into());
            builder = added.map_err(|error| unsupported(error.into()))?;
        }
        let session = builder
            .commit_from_memory(&model.bytes)
            .map_err(unsupported)?;
        let output = model.output.to_owned();
        if !session.outputs().iter().any(|port| port.name() == output) {
            return Err(LoadError::Damaged(format!(
                "its output {output:?} is not computed"
            )));
        }
        let options = RunOptions::new().map_err(unsupported)?;
        let options = options.with_outputs(OutputSelector::no_default().with(&*output));
        Ok(Box::new(LoadedModel {
            session: Mutex::new((session, options)),
            output,
        }))
    }

    /// A session's settings, before the model is known.
    fn builder(&self) -> Result<SessionBuilder, String> {
        let configured = || -> Result<SessionBuilder, ort::Error> {
            Ok(OrtSession::builder(&self.library.environment)?
                .with_intra_threads(self.threads)?
                .with_inter_threads(1)?
                // Images are decoded on the same cores meanwhile.
                .with_intra_op_spinning(false)?
                .with_log_level(LogLevel::Fatal)?)
        };
        let mut builder = configured().map_err(|error| error.to_string())?;
        if self.cuda {
            let no_cuda = |reason: String| {
                format!(
                    "ONNX Runtime ({}) cannot use CUDA: {reason}; install its build for GPUs, or use the processor",
                    self.library.name
                )
            };
            // TF32 would change the third digit of codes.
            let cuda = CUDA::default().with_tf32(false);
            if !CUDA::is_available().unwrap_or(false) {
                return Err(no_cuda("it was built without".to_owned()));
            }
            cuda.register(&mut builder)
                .map_err(|error| no_cuda(error.to_string()))?;
        }
        Ok(builder)
    }
}

impl Session for LoadedModel {
    fn run(&self, inputs: Vec<Input<'_>>) -> Result<Output, String> {
        let values: Vec<(&str, SessionInputValue<'_>)> = inputs
            .into_iter()
            .map(|input| Ok((input.port.name.as_str(), tensor(input)?)))
            .collect::<Result<_, ort::Error>>()
            .map_err(|error| error.to_string())?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let (session, options) = &mut *session;
        let outputs = session
            .run_with_options(values, options)
            .map_err(|error| error.to_string())?;
        let value = outputs.get(&*self.output);
        let found = value.and_then(floats);
        found.ok_or_else(|| format!("its output {:?} has no floats", self.output))
    }
}

/// An input in the type that the model takes.
fn tensor(input: Input<'_>) -> Result<SessionInputValue<'static>, ort::Error> {
    let Input {
        port,
        shape,
        numbers,
    } = input;
    Ok(match (numbers, port.element) {
        (Numbers::Bytes(bytes), _) => Tensor::from_array((shape, bytes))?.into(),
        (Numbers::Floats(floats), element::FLOAT16) => {
            let halves: Vec<f16> = floats.into_iter().map(f16::from_f32).collect();
            Tensor::from_array((shape, halves))?.into()
        }
        (Numbers::Floats(floats), element::DOUBLE) => {
            let doubles: Vec<f64> = floats.into_iter().map(f64::from).collect();
            Tensor::from_array((shape, doubles))?.into()
        }
        (Numbers::Floats(floats), _) => Tensor::from_array((shape, floats))?.into(),
        #[cfg(feature = "text")]
        (Numbers::Integers(integers), element::INT64) => {
            let longs: Vec<i64> = integers.into_iter().map(i64::from).collect();
            Tensor::from_array((shape, longs))?.into()
        }
        #[cfg(feature = "text")]
        (Numbers::Integers(integers), _) => Tensor::from_array((shape, integers))?.into(),
    })
}

/// The numbers of an output, if they are floats of any size.
fn floats(value: &DynValue) -> Option<Output> {
    let (shape, numbers) = if let Ok((shape, floats)) = value.try_extract_tensor::<f32>() {
        (shape, floats.to_vec())
    } else if let Ok((shape, halves)) = value.try_extract_tensor::<f16>() {
        (shape, halves.iter().map(|half| half.to_f32()).collect())
    } else {
        let (shape, doubles) = value.try_extract_tensor::<f64>().ok()?;
        (shape, doubles.iter().map(|&double| double as f32).collect())
    };
    let size = |&size: &i64| usize::try_from(size).ok();
    Some(Output {
        shape: shape.iter().map(size).collect::<Option<_>>()?,
        numbers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        let reason = |path: &Path| open(path).err().unwrap();
        let missing = reason(&path);
        assert!(missing.contains("cannot be loaded"), "{missing}");
        assert!(missing.contains("libonnxruntime.so"), "{missing}");
        std::fs::write(&path, "not a library").unwrap();
        let damaged = reason(&path);
        assert!(damaged.contains("libonnxruntime.so"), "{damaged}");
        // A library, and another one.
        #[cfg(target_os = "linux")]
        {
            let other = reason(Path::new("libm.so.6"));
            assert!(other.contains("libm.so.6 is not ONNX Runtime"), "{other}");
        }
    }
}
