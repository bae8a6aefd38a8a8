//! Where a run stands, on disk: weights, moments and position, enough to go on exactly.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lookalike_images::InputShape;
use serde::{Deserialize, Serialize};

use crate::architecture::Plan;
use crate::config::TrainConfig;
use crate::container::{self, Container, Named};
use crate::error::AutoencoderError;
use crate::network::Weights;
use crate::optimiser::AdamState;
use crate::record::{DataRecord, EpochRecord};
use crate::stage::Stage;

/// Of this module's format; another one is refused.
const FORMAT: u32 = 4;

/// Keeping and resuming from a checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpointing {
    /// The checkpoint's file.
    pub path: PathBuf,
    /// Write one when this long has passed since the last, besides at every epoch's end.
    pub every: Duration,
    /// Go on from the file if it is there. If not, a file that is there is replaced.
    pub resume: bool,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Epochs of the finished stages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Vec<EpochRecord>>,
    /// Finished epochs of the stage under way.
    pub epochs: Vec<EpochRecord>,
    /// Finished steps of the epoch under way.
    pub step: usize,
    /// Sum of their losses, weighted by images.
    pub loss_sum: f64,
    /// Time spent in the epoch under way.
    pub seconds: f64,
}

impl Position {
    /// Finished epochs of all stages.
    pub fn finished_epochs(&self) -> usize {
        self.earlier.iter().map(Vec::len).sum::<usize>() + self.epochs.len()
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    checkpoint_format: u32,
    config: TrainConfig,
    shape: InputShape,
    data: DataRecord,
    position: Position,
    steps: u32,
}

/// Everything that a run needs to go on.
pub(crate) struct State {
    pub weights: Weights,
    pub adam: AdamState,
    pub position: Position,
    /// Targets of a stage that keeps them ([`Stage::keeps_targets`]); else empty.
    pub targets: Vec<f32>,
}

/// Name of the targets' tensor.
const TARGETS: &str = "targets";
/// Characters of a setting that are shown.
const MAX_SHOWN: usize = 60;
const MOMENTS: [&str; 2] = ["adam.first", "adam.second"];

/// Names and shapes of a plan's tensors, learned ones first, with their values in `weights`.
pub(crate) fn model_tensors<'a>(plan: &Plan, weights: &'a Weights) -> Vec<Named<'a>> {
    let mut tensors: Vec<Named> = plan
        .parameters
        .iter()
        .zip(&weights.parameters)
        .map(|(parameter, values)| Named {
            name: parameter.name.clone(),
            shape: parameter.shape.clone(),
            values,
        })
        .collect();
    let statistics = plan
        .statistics
        .iter()
        .zip(weights.means.iter().zip(&weights.variances));
    for ((name, channels), (mean, variance)) in statistics {
        for (kind, values) in [("running_mean", mean), ("running_var", variance)] {
            tensors.push(Named {
                name: format!("{name}.{kind}"),
                shape: vec![*channels],
                values,
            });
        }
    }
    tensors
}

/// Reads what [`model_tensors`] named.
pub(crate) fn read_weights(plan: &Plan, container: &Container) -> Result<Weights, String> {
    let parameters = plan
        .parameters
        .iter()
        .map(|p| container.tensor(&p.name, &p.shape))
        .collect::<Result<_, _>>()?;
    let statistics = |kind: &str| {
        plan.statistics
            .iter()
            .map(|(name, channels)| container.tensor(&format!("{name}.{kind}"), &[*channels]))
            .collect::<Result<Vec<_>, _>>()
    };
    let means = statistics("running_mean")?;
    let variances = statistics("running_var")?;
    if variances.iter().flatten().any(|&v| v < 0.0) {
        return Err("a running variance is negative".to_owned());
    }
    Ok(Weights {
        parameters,
        means,
        variances,
    })
}

pub(crate) fn save(
    path: &Path,
    plan: &Plan,
    config: &TrainConfig,
    data: &DataRecord,
    state: &State,
) -> Result<(), AutoencoderError> {
    let document = Document {
        checkpoint_format: FORMAT,
        config: config.clone(),
        shape: plan.shape,
        data: data.clone(),
        position: state.position.clone(),
        steps: state.adam.steps,
    };
    let document = serde_json::to_string(&document).expect("a checkpoint's document serialises");
    let learning = Stage::all(config)[state.position.earlier.len()].plan(plan);
    let mut tensors = model_tensors(plan, &state.weights);
    for (prefix, moments) in MOMENTS.iter().zip([&state.adam.first, &state.adam.second]) {
        for (parameter, range) in learning.parameters.iter().zip(learning.parameter_ranges()) {
            tensors.push(Named {
                name: format!("{prefix}.{}", parameter.name),
                shape: parameter.shape.clone(),
                values: &moments[range],
            });
        }
    }
    if !state.targets.is_empty() {
        tensors.push(Named {
            name: TARGETS.to_owned(),
            shape: vec![state.targets.len() / plan.code_dim, plan.code_dim],
            values: &state.targets,
        });
    }
    container::write(path, &container::to_bytes(document, &tensors))
}

/// Loads the checkpoint of this very run; a file of another recipe or other images is an error.
pub(crate) fn load(
    path: &Path,
    plan: &Plan,
    config: &TrainConfig,
    data: &DataRecord,
) -> Result<State, AutoencoderError> {
    let fail = |why: String| AutoencoderError::Checkpoint {
        path: path.to_owned(),
        why: format!("{why}; start again without resuming"),
    };
    let bytes = container::read(path)?;
    let container = Container::parse(&bytes).map_err(fail)?;
    let document: Document = serde_json::from_str(&container.document)
        .map_err(|e| fail(format!("its document cannot be read ({e})")))?;
    if document.checkpoint_format != FORMAT {
        return Err(fail(format!(
            "it has format {}, this program writes {FORMAT}",
            document.checkpoint_format
        )));
    }
    if document.config != *config {
        return Err(fail(format!(
            "it belongs to another recipe: {}",
            differences(&document.config, config)
        )));
    }
    if document.data.digest != data.digest || document.shape != plan.shape {
        return Err(fail(format!(
            "it was made from {} images of {}, which are not the {} of {} now",
            document.data.images, document.data.name, data.images, data.name
        )));
    }
    let position = &document.position;
    let stages = Stage::all(config);
    let stage = stages.get(position.earlier.len()).copied();
    let mut finished = stages.iter().zip(&position.earlier);
    if stage.is_none_or(|stage| position.epochs.len() > stage.epochs(config))
        || finished.any(|(stage, epochs)| epochs.len() != stage.epochs(config))
        || position.step > data.images
        || !position.loss_sum.is_finite()
        || document.steps > u32::MAX / 2
    {
        return Err(fail(
            "the position it records does not exist in this run".to_owned(),
        ));
    }
    let stage = Stage::all(config)[position.earlier.len()];
    let learning = stage.plan(plan);
    let expected = plan.parameters.len()
        + 2 * plan.statistics.len()
        + 2 * learning.parameters.len()
        + usize::from(stage.keeps_targets());
    if container.len() != expected {
        return Err(fail(format!(
            "it has {} tensors, the stage that it says it has come to needs {expected}",
            container.len()
        )));
    }
    let read = |prefix: &str| {
        learning
            .parameters
            .iter()
            .map(|p| container.tensor(&format!("{prefix}.{}", p.name), &p.shape))
            .collect::<Result<Vec<_>, _>>()
            .map(|parts| parts.concat())
            .map_err(fail)
    };
    let targets = match stage.keeps_targets() {
        true => {
            let images = stage.images(data.images).len();
            container
                .tensor(TARGETS, &[images, plan.code_dim])
                .map_err(fail)?
        }
        false => Vec::new(),
    };
    Ok(State {
        targets,
        weights: read_weights(plan, &container).map_err(fail)?,
        adam: AdamState {
            first: read(MOMENTS[0])?,
            second: read(MOMENTS[1])?,
            steps: document.steps,
        },
        position: document.position,
    })
}

/// The settings that differ, as `epochs is 3 there and 5 now`.
fn differences(there: &TrainConfig, now: &TrainConfig) -> String {
    let [there, now] = [there, now].map(|config| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => unreachable!("a configuration serialises as an object"),
    });
    let names: BTreeSet<&String> = there.keys().chain(now.keys()).collect();
    let of = |fields: &serde_json::Map<String, serde_json::Value>, name: &str| {
        // Left out where it is as before there was such a choice.
        let Some(value) = fields.get(name) else {
            return "not set".to_owned();
        };
        let text = value.to_string();
        match text.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    names
        .into_iter()
        .filter(|name| there.get(*name) != now.get(*name))
        .map(|name| {
            format!(
                "{name} is {} there and {} now",
                of(&there, name),
                of(&now, name)
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}
