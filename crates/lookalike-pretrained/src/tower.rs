//! One model of an encoder, loaded and run.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::PretrainedError;
use crate::files::Files;
use crate::onnx::{External, Inspection, Port, inspect, replace};
use crate::preprocessing::Layout;
use crate::runtime::{Engine, Input, LoadError, Model, Session};

/// How one code is made of the codes of patches or tokens.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The first one, of the class token.
    Cls,
    /// The mean of all.
    Mean,
}

impl std::str::FromStr for Pool {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "cls" => Ok(Self::Cls),
            "mean" => Ok(Self::Mean),
            _ => Err(format!(
                "{name:?} is not a way of pooling; there are cls and mean"
            )),
        }
    }
}

/// A model that has been read but not loaded.
pub(crate) struct File {
    path: PathBuf,
    bytes: Bytes,
    external: Vec<(String, Vec<u8>)>,
    pub(crate) inputs: Vec<Port>,
    outputs: Vec<Port>,
    pub(crate) metadata: Vec<(String, String)>,
}

/// A model ready to run.
pub(crate) struct Tower {
    path: PathBuf,
    session: Box<dyn Session>,
    output: String,
    pool: Option<Pool>,
    /// Where the channels of a map are.
    layout: Layout,
    /// Whether codes keep the length that the model gives them, which is 1 otherwise.
    pub(crate) keeps_lengths: bool,
}

impl File {
    /// Reads a model, and the weights that lie beside it.
    pub(crate) fn read(
        files: &mut Files,
        name: &str,
        engine: &Engine,
    ) -> Result<Self, PretrainedError> {
        let path = files.path(name);
        let (file, external) = Self::parse(files.read(name)?, path.clone(), engine)?;
        let mut weights: Vec<(String, Vec<u8>)> = Vec::new();
        for part in external {
            let location = &part.location;
            let wrong = |reason: &str| PretrainedError::ExternalData {
                path: path.clone(),
                location: location.clone(),
                reason: reason.to_owned(),
            };
            let place = match weights.iter().position(|(read, _)| read == location) {
                Some(place) => place,
                None => {
                    // What the runtime allows, too; it gets the bytes alone and opens nothing.
                    let mut parts = Path::new(location).components();
                    let plain = matches!(
                        (parts.next(), parts.next()),
                        (Some(Component::Normal(_)), None)
                    );
                    if !plain || location.contains('\\') {
                        return Err(wrong(
                            "only files beside the model, inside its folder, are read; export the model again, with \
                             its weights beside it",
                        ));
                    }
                    let extension = Path::new(location)
                        .extension()
                        .unwrap_or_default()
                        .to_string_lossy();
                    if !extension.starts_with("data") && !extension.starts_with("onnx_data") {
                        return Err(wrong(
                            "only files named *.data or *.onnx_data hold weights; export the model again",
                        ));
                    }
                    let beside = match name.rsplit_once('/') {
                        Some((folder, _)) => format!("{folder}/{location}"),
                        None => location.clone(),
                    };
                    if !files.has(&beside) {
                        return Err(wrong("that file is missing; put it beside the model"));
                    }
                    weights.push((location.clone(), files.read(&beside)?));
                    weights.len() - 1
                }
            };
            if part
                .end()
                .is_none_or(|end| end > weights[place].1.len() as u64)
            {
                return Err(wrong("that file is too short; download or export it again"));
            }
        }
        Ok(Self {
            external: weights,
            ..file
        })
    }

    /// A model without the weights in other files, and where these are.
    pub(crate) fn parse(
        bytes: Vec<u8>,
        path: PathBuf,
        engine: &Engine,
    ) -> Result<(Self, Vec<External>), PretrainedError> {
        let bytes = Bytes::from(bytes);
        let Inspection {
            inputs,
            outputs,
            external,
            metadata,
            computed,
        } = inspect(&bytes, &path, engine.has_cubic())?;
        let bytes = match computed.as_slice() {
            [] => bytes,
            computed => replace(&bytes, computed).into(),
        };
        let file = Self {
            path,
            bytes,
            external: Vec::new(),
            inputs,
            outputs,
            metadata,
        };
        Ok((file, external))
    }

    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> PretrainedError {
        PretrainedError::Unsupported {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }

    /// Makes the model ready to run: its code is the output named, or the first of those known, or
    /// the only one that has one code for an image.
    pub(crate) fn load(
        self,
        output: Option<&str>,
        known: &[&str],
        pool: Option<Pool>,
        layout: Layout,
        engine: &Engine,
    ) -> Result<Tower, PretrainedError> {
        let output = self.choose(output, known, pool)?;
        let Self {
            path,
            bytes,
            external,
            ..
        } = self;
        let model = Model {
            bytes,
            external,
            output: &output,
        };
        let session = match engine.load(model) {
            Ok(session) => session,
            Err(LoadError::Unsupported(reason)) => {
                return Err(PretrainedError::Unsupported { path, reason });
            }
            Err(LoadError::Damaged(reason)) => {
                return Err(PretrainedError::NotOnnx { path, reason });
            }
        };
        Ok(Tower {
            path,
            session,
            output,
            pool,
            layout,
            keeps_lengths: false,
        })
    }

    fn choose(
        &self,
        output: Option<&str>,
        known: &[&str],
        pool: Option<Pool>,
    ) -> Result<String, PretrainedError> {
        let names = || {
            self.outputs
                .iter()
                .map(Port::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let named = |name: &str| self.outputs.iter().find(|port| port.name == name);
        if let Some(name) = output {
            return match named(name) {
                Some(port) => Ok(port.name.clone()),
                None => Err(PretrainedError::Option {
                    option: "output",
                    path: self.path.clone(),
                    reason: format!("there is no {name:?}; there are {}", names()),
                }),
            };
        }
        // To ask for pooling is to ask for the output that needs it.
        if let (Some(port), Some(_)) = (named("last_hidden_state"), pool) {
            return Ok(port.name.clone());
        }
        if let Some(port) = known.iter().find_map(|name| named(name)) {
            return Ok(port.name.clone());
        }
        let mut plain = self.outputs.iter().filter(|port| port.rank() == Some(2));
        if let (Some(port), None) = (plain.next(), plain.next()) {
            return Ok(port.name.clone());
        }
        match (named("last_hidden_state"), self.outputs.as_slice()) {
            (_, [only]) => Ok(only.name.clone()),
            (Some(port), _) => Err(PretrainedError::NoPooling {
                path: self.path.clone(),
                output: port.name.clone(),
            }),
            _ => Err(PretrainedError::SeveralOutputs {
                path: self.path.clone(),
                outputs: names(),
            }),
        }
    }
}

impl Tower {
    pub(crate) fn output(&self) -> &str {
        &self.output
    }

    pub(crate) fn run_error(&self, reason: impl Into<String>) -> PretrainedError {
        PretrainedError::Run {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }

    /// Runs the model on as many items as the first dimension of its inputs says, and gives their
    /// codes, at length 1 or as they are, and how long a code is. Codes of length 0 stay so: some
    /// models give nothing for pictures without contrast.
    pub(crate) fn run(&self, inputs: Vec<Input<'_>>) -> Result<(Vec<f32>, usize), PretrainedError> {
        let failed = |reason: String| self.run_error(reason);
        let items = inputs.first().and_then(|input| input.shape.first());
        let items = items.copied().unwrap_or(0);
        let output = self.session.run(inputs).map_err(failed)?;
        let (shape, data) = (output.shape, output.numbers);
        if items == 0 || shape.first() != Some(&items) || data.is_empty() {
            return Err(failed(format!(
                "its output {:?} has the shape {shape:?} for {items} inputs",
                self.output
            )));
        }
        let mut codes = match (shape.as_slice(), self.layout) {
            (&[_, _], _) if self.pool.is_some() => {
                return Err(PretrainedError::Option {
                    option: "pool",
                    path: self.path.clone(),
                    reason: format!(
                        "its output {:?} is one code already; leave the pooling out",
                        self.output
                    ),
                });
            }
            (&[_, _], _) => data,
            (&[_, tokens, dims], _) => match self.pool {
                Some(Pool::Cls) => data
                    .chunks_exact(tokens * dims)
                    .flat_map(|item| &item[..dims])
                    .copied()
                    .collect(),
                Some(Pool::Mean) => data
                    .chunks_exact(tokens * dims)
                    .flat_map(|item| mean_of_rows(item, dims))
                    .collect(),
                None => {
                    return Err(PretrainedError::NoPooling {
                        path: self.path.clone(),
                        output: self.output.clone(),
                    });
                }
            },
            (&[_, height, width, dims], Layout::ChannelsLast) => data
                .chunks_exact(height * width * dims)
                .flat_map(|item| mean_of_rows(item, dims))
                .collect(),
            (&[_, _, height, width], Layout::ChannelsFirst) => {
                let mean = |plane: &[f32]| plane.iter().sum::<f32>() / plane.len() as f32;
                data.chunks_exact(height * width).map(mean).collect()
            }
            _ => {
                return Err(failed(format!(
                    "its output {:?} has the shape {shape:?}, which is not a code per image; name another output",
                    self.output
                )));
            }
        };
        let dims = codes.len() / items;
        for code in codes.chunks_exact_mut(dims) {
            let length = code
                .iter()
                .map(|&v| f64::from(v) * f64::from(v))
                .sum::<f64>()
                .sqrt();
            if !length.is_finite() {
                return Err(self.wrong_code("is not a number"));
            }
            if self.keeps_lengths {
                continue;
            }
            let scale = if length < 1e-12 { 0.0 } else { 1.0 / length };
            code.iter_mut()
                .for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        Ok((codes, dims))
    }

    /// Refuses a code of length 0 where there is something to encode.
    pub(crate) fn check_direction(&self, code: &[f32]) -> Result<(), PretrainedError> {
        match !self.keeps_lengths && code.iter().all(|&value| value == 0.0) {
            true => Err(self.wrong_code("is zero")),
            false => Ok(()),
        }
    }

    fn wrong_code(&self, reason: &'static str) -> PretrainedError {
        PretrainedError::Code {
            path: self.path.clone(),
            reason,
        }
    }
}

fn mean_of_rows(rows: &[f32], dims: usize) -> Vec<f32> {
    let mut sums = vec![0f32; dims];
    for row in rows.chunks_exact(dims) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += value);
    }
    let count = (rows.len() / dims) as f32;
    sums.iter_mut().for_each(|sum| *sum /= count);
    sums
}
