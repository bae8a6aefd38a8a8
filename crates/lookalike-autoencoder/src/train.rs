//! The training loop.

use std::ops::ControlFlow;
use std::time::Instant;

use lookalike_images::Collection;
use lookalike_kernels::{Example, FlushedDenormals};

use crate::architecture::Plan;
use crate::baseline::{mean_image_loss, perfect_loss};
use crate::batch::{normal, order, smallest_batch, steps};
use crate::checkpoint::{self, Checkpointing, Position, State};
use crate::config::{Objective, Optimiser, TrainConfig};
use crate::device::DeviceChoice;
use crate::direct::Direct;
use crate::error::AutoencoderError;
use crate::look::Look;
use crate::model::Autoencoder;
use crate::network::{Trainable, Weights, mean_pixel};
use crate::optimiser::AdamState;
use crate::progress::{Phase, Progress};
use crate::record::{DataRecord, EpochRecord, StageRecord, TrainRecord};
use crate::stage::{Extent, Stage, StageContext, Task, look_dim};
use crate::symmetry::Symmetry;
use crate::teacher::mean_squared_length;

/// What training has come to after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainStep {
    /// How far the run is: steps of all its epochs.
    pub progress: Progress,
    /// The epoch under way, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Images a second in this epoch so far.
    pub images_per_second: f64,
    /// Seconds to the end of the run at that rate.
    pub seconds_left: f64,
}

/// Who follows a training run; every method has a default that does nothing.
pub trait Observer {
    /// After every step; `Break` stops the run, keeping a checkpoint if one is asked for.
    fn step(&mut self, _step: &TrainStep) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// After every epoch, `number` from 1.
    fn epoch(&mut self, _number: usize, _epoch: &EpochRecord) {}

    /// A word to the user, such as where the run goes on from.
    fn note(&mut self, _message: &str) {}
}

/// Nobody follows.
impl Observer for () {}

/// Trains an autoencoder on `collection` by `config`; labels are never read.
///
/// With `checkpointing`, the run can be stopped anywhere and resumed exactly: the same seed
/// gives the same losses and weights as an unbroken run, on the CPU bit by bit and on any number
/// of threads. The finished checkpoint is left for the caller to delete once the model is safe.
///
/// Until it returns, the calling thread and the workers of its rayon pool take denormal numbers
/// (below 1.2e-38) as zero.
///
/// # Errors
///
/// A configuration that cannot work, a precision that this machine lacks, a collection that is too
/// small, a loss that is no longer a number, a checkpoint of another run or one that cannot be
/// written, and [`AutoencoderError::Stopped`] when the observer says so.
pub fn train(
    collection: &Collection,
    config: &TrainConfig,
    device: DeviceChoice,
    checkpointing: Option<&Checkpointing>,
    observer: &mut dyn Observer,
) -> Result<Autoencoder, AutoencoderError> {
    if config.objective == Objective::Distil {
        let message = "the objective distil needs a teacher's codes of the images: use `distil`";
        return Err(AutoencoderError::setting("objective", message.to_owned()));
    }
    run(
        collection,
        config,
        device,
        checkpointing,
        observer,
        &mut || unreachable!("only distillation asks for codes"),
    )
}

/// Trains an autoencoder whose encoder gives a teacher's codes of `collection`, reduced to their
/// first principal components and to length 1, and behind these, of at most 60,000 images, their
/// coordinates along the leading eigenvectors of their neighbour graph: five eighths and three of
/// [`TrainConfig::code_dim`] floats. Otherwise it does as [`train`].
///
/// `config` has [`Objective::Distil`] and says in [`TrainConfig::teacher`] whose codes they are.
/// `codes` gives them, as many floats for each image as the teacher's record says. It is called
/// once at most, and not at all by a resumed run whose checkpoint has them already.
///
/// # Errors
///
/// As [`train`], codes that are not as many as the images, and whatever `codes` says.
pub fn distil<E: From<AutoencoderError>>(
    collection: &Collection,
    config: &TrainConfig,
    codes: impl FnOnce() -> Result<Vec<f32>, E>,
    device: DeviceChoice,
    checkpointing: Option<&Checkpointing>,
    observer: &mut dyn Observer,
) -> Result<Autoencoder, E> {
    if config.objective != Objective::Distil {
        let message = format!(
            "the objective {} has no teacher: use `train`",
            config.objective
        );
        return Err(AutoencoderError::setting("objective", message).into());
    }
    let mut codes = Some(codes);
    let mut failure = None;
    let mut ask = || {
        let codes = codes.take().expect("asked once")();
        codes.map_err(|error| {
            failure = Some(error);
            AutoencoderError::Data("the teacher's codes are not there".to_owned())
        })
    };
    let trained = run(
        collection,
        config,
        device,
        checkpointing,
        observer,
        &mut ask,
    );
    trained.map_err(|error| failure.unwrap_or_else(|| error.into()))
}

/// Asks for a teacher's codes of all images of the collection.
type Ask<'a> = &'a mut dyn FnMut() -> Result<Vec<f32>, AutoencoderError>;

fn run(
    collection: &Collection,
    config: &TrainConfig,
    device: DeviceChoice,
    checkpointing: Option<&Checkpointing>,
    observer: &mut dyn Observer,
    ask: Ask,
) -> Result<Autoencoder, AutoencoderError> {
    config.check()?;
    let plan = Plan::new(
        config.architecture,
        collection.shape(),
        config.code_dim,
        config.objective == Objective::Variational,
    )?;
    if config.colour_weight > 0.0 && collection.shape().channels != 3 {
        let message = format!(
            "colour weight {}: the images of {} are grey; use weight 0",
            config.colour_weight,
            collection.name()
        );
        return Err(AutoencoderError::setting("colour_weight", message));
    }
    let smallest = smallest_batch(config.architecture);
    if collection.len() < smallest {
        return Err(AutoencoderError::Data(format!(
            "cannot train on {}: it has {} image(s), and at least {} are needed",
            collection.name(),
            collection.len(),
            smallest
        )));
    }
    // Before anything that takes long.
    let processor = device.open()?;
    let precision = config.precision.open(&processor)?;
    let data = DataRecord::of(collection);
    let mut state = first_state(collection, config, &plan, &data, checkpointing, observer)?;
    let stages = Stage::all(config);
    let context = StageContext {
        collection,
        config,
        plan: &plan,
        processor: &processor,
        precision,
    };
    // Found anew by a resumed run, which needs it for the record at least.
    let look = (config.objective == Objective::Look).then(|| {
        let symmetry = Symmetry::of(&config.augmentation);
        Look::fit(collection, symmetry, look_dim(plan.code_dim))
    });
    for (index, &stage) in stages.iter().enumerate().skip(state.position.earlier.len()) {
        let mut targets = std::mem::take(&mut state.targets);
        let mut earlier = Vec::new();
        if index > state.position.earlier.len() {
            earlier = std::mem::take(&mut targets);
            state.enter(stage, &plan);
        }
        if let (Stage::Distil, Some(teacher), true) = (stage, &config.teacher, targets.is_empty()) {
            targets = teacher.targets(ask()?, collection.len(), plan.code_dim)?;
        }
        let task = context.task(stage, &state.weights, look.as_ref(), targets, earlier)?;
        state = Run::start(&context, &data, task, state).go(checkpointing, observer)?;
    }
    let coordinates = match &look {
        Some(look) => context.weigh_coordinates(&mut state.weights, look)?,
        None => None,
    };
    let Position {
        mut earlier,
        epochs,
        ..
    } = state.position;
    earlier.push(epochs);
    let mut all = stages.iter().zip(earlier);
    let epochs = all.next().map_or_else(Vec::new, |(_, epochs)| epochs);
    let later = all.map(|(stage, epochs)| StageRecord {
        name: stage.name().to_owned(),
        epochs,
    });
    let length = match config.teacher {
        Some(_) => mean_squared_length(collection.len(), plan.code_dim),
        None => 1.0,
    };
    let (mean_image_loss, perfect_loss) = match config.normalises_input() {
        // The mean of targets is about 0: what it gets wrong is their mean squared length. They are
        // learned the root of their floats times as long, and the loss is a mean over these.
        true => (length, 0.0),
        false => (
            mean_image_loss(collection, config.loss),
            perfect_loss(collection, config.loss),
        ),
    };
    let (parts, direct) = match look {
        Some(look) => (look.record, Some(look.direct)),
        None => (Vec::new(), None),
    };
    let record = TrainRecord {
        data,
        epochs,
        later: later.collect(),
        parts,
        coordinates,
        direct: direct.as_ref().map(Direct::record),
        comparison: None,
        grey_range: None,
        mean_image_loss,
        perfect_loss,
    };
    Autoencoder::new(plan, state.weights, direct, config.clone(), record, device)
}

impl State {
    /// Goes over from a finished stage to `stage`.
    fn enter(&mut self, stage: Stage, plan: &Plan) {
        let finished = std::mem::take(&mut self.position.epochs);
        self.position.earlier.push(finished);
        self.adam = AdamState::new(stage.plan(plan).parameter_count());
    }
}

fn first_state(
    collection: &Collection,
    config: &TrainConfig,
    plan: &Plan,
    data: &DataRecord,
    checkpointing: Option<&Checkpointing>,
    observer: &mut dyn Observer,
) -> Result<State, AutoencoderError> {
    if let Some(c) = checkpointing.filter(|c| c.resume) {
        if c.path.exists() {
            let state = checkpoint::load(&c.path, plan, config, data)?;
            observer.note(&format!(
                "resuming from {}: epoch {}, step {}",
                c.path.display(),
                state.position.finished_epochs() + 1,
                state.position.step + 1
            ));
            return Ok(state);
        }
        observer.note(&format!(
            "no checkpoint at {}: starting from the beginning",
            c.path.display()
        ));
    }
    let mean = mean_pixel(collection.pixels(), collection.shape());
    Ok(State {
        weights: Weights::initial(plan, &mean, config.seed),
        adam: AdamState::new(Stage::all(config)[0].plan(plan).parameter_count()),
        targets: Vec::new(),
        position: Position {
            earlier: Vec::new(),
            epochs: Vec::new(),
            step: 0,
            loss_sum: 0.0,
            seconds: 0.0,
        },
    })
}

/// A stage under way.
struct Run<'a> {
    collection: &'a Collection,
    config: &'a TrainConfig,
    data: &'a DataRecord,
    plan: &'a Plan,
    /// Of the whole plan, as they were when the stage began.
    weights: Weights,
    task: Task,
    network: Trainable,
    position: Position,
    /// Of the whole run, and of the stages before this one.
    all: Extent,
    before: Extent,
}

impl<'a> Run<'a> {
    fn start(context: &StageContext<'a>, data: &'a DataRecord, task: Task, state: State) -> Self {
        let &StageContext {
            collection,
            config,
            plan,
            processor,
            precision,
        } = context;
        let decay = match config.optimiser {
            Optimiser::Adam => 0.0,
            Optimiser::AdamW => config.weight_decay,
        };
        let stage = task.stage;
        let learning = stage.weights(plan, &state.weights);
        let stages = Stage::all(config);
        let extent = |stages: &[Stage]| Extent::of(stages, config, collection.len());
        Self {
            all: extent(&stages),
            before: extent(&stages[..state.position.earlier.len()]),
            collection,
            config,
            data,
            plan,
            network: Trainable::new(
                stage.plan(plan),
                &learning,
                state.adam,
                decay,
                processor,
                precision,
            ),
            weights: state.weights,
            task,
            position: state.position,
        }
    }

    /// Learns to the stage's end. The state has its targets, whether a checkpoint has them or not:
    /// the next stage may begin with them.
    fn go(
        mut self,
        checkpointing: Option<&Checkpointing>,
        observer: &mut dyn Observer,
    ) -> Result<State, AutoencoderError> {
        // All that compute, or which of them does would decide the result.
        let _flushed = FlushedDenormals::begin();
        let smallest = smallest_batch(self.config.architecture);
        let count = self.task.images.len();
        let steps = steps(count, self.config.batch, smallest);
        let mut saved = Instant::now();
        while self.position.epochs.len() < self.task.stage.epochs(self.config) {
            // Of the whole run, so that no two stages draw the same.
            let epoch = self.position.finished_epochs();
            let order = order(count, self.config.seed, epoch);
            while self.position.step < steps.len() {
                let images = &order[steps[self.position.step].clone()];
                self.step(epoch, images, steps.len())?;
                let stopped = observer.step(&self.last_step(epoch, &steps)).is_break();
                if let Some(c) = checkpointing
                    && (stopped || saved.elapsed() >= c.every)
                {
                    self.save(c)?;
                    saved = Instant::now();
                }
                if stopped {
                    return Err(AutoencoderError::Stopped {
                        epoch: epoch + 1,
                        step: self.position.step,
                    });
                }
            }
            let record = EpochRecord {
                loss: self.position.loss_sum / count as f64,
                seconds: self.position.seconds,
            };
            self.position.epochs.push(record);
            self.position.step = 0;
            self.position.loss_sum = 0.0;
            self.position.seconds = 0.0;
            observer.epoch(epoch + 1, &record);
            if let Some(c) = checkpointing {
                self.save(c)?;
                saved = Instant::now();
            }
        }
        let mut finished = self.state()?;
        finished.targets = self.task.targets;
        Ok(finished)
    }

    fn step(&mut self, epoch: usize, images: &[u32], steps: usize) -> Result<(), AutoencoderError> {
        let start = Instant::now();
        let batch = self.task.batch(self.collection, images, self.config, epoch);
        let step = self.position.step;
        let plan = &self.network.plan;
        let noise = match plan.variational {
            true => normal(images.len() * plan.code_dim, self.config.seed, epoch, step),
            false => Vec::new(),
        };
        // The divergence is weighed on the scale of the reconstruction loss: a mean over the
        // image's values.
        let divergence_weight = self.config.divergence_weight / plan.input_len() as f64;
        let example = Example {
            inputs: &batch.inputs,
            targets: batch.targets.as_deref().unwrap_or(&batch.inputs),
            loss: self.task.stage.loss(self.config),
            noise: &noise,
            divergence_weight: divergence_weight as f32,
        };
        let value = self.network.loss(images.len(), &example);
        let stage = self.task.stage;
        let rate = self.config.schedule.rate(
            stage.learning_rate(self.config),
            self.position.epochs.len() * steps + step,
            stage.epochs(self.config) * steps,
        );
        if !value.is_finite() {
            return Err(AutoencoderError::Diverged {
                loss: value,
                epoch: epoch + 1,
                step: step + 1,
                learning_rate: rate,
            });
        }
        self.network.step(rate);
        self.position.loss_sum += value * images.len() as f64;
        self.position.step += 1;
        self.position.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    fn last_step(&self, epoch: usize, steps: &[std::ops::Range<usize>]) -> TrainStep {
        let position = &self.position;
        let done = steps[position.step - 1].end;
        let rate = done as f64 / position.seconds.max(1e-9);
        let (all, before) = (&self.all, &self.before);
        let epochs = position.epochs.len();
        let images = before.images + epochs * self.task.images.len() + done;
        TrainStep {
            progress: Progress::new(
                Phase::Training,
                before.steps + epochs * steps.len() + position.step,
                all.steps,
            ),
            epoch: epoch + 1,
            epochs: all.epochs,
            loss: position.loss_sum / done as f64,
            images_per_second: rate,
            seconds_left: (all.images - images) as f64 / rate,
        }
    }

    /// Where the run stands. A step whose loss was a number may still have left weights that are
    /// none: they never reach a file.
    fn state(&self) -> Result<State, AutoencoderError> {
        let stage = self.task.stage;
        let state = State {
            weights: stage.put(self.plan, &self.weights, self.network.weights()),
            targets: match stage.keeps_targets() {
                true => self.task.targets.clone(),
                false => Vec::new(),
            },
            adam: self.network.adam(),
            position: self.position.clone(),
        };
        let Weights {
            parameters,
            means,
            variances,
        } = &state.weights;
        let learned = parameters.iter().chain(means).chain(variances).flatten();
        let moments = state.adam.first.iter().chain(&state.adam.second);
        if learned.chain(moments).all(|v| v.is_finite()) {
            return Ok(state);
        }
        Err(AutoencoderError::Diverged {
            loss: f64::NAN,
            epoch: self.position.finished_epochs() + 1,
            step: self.position.step,
            learning_rate: stage.learning_rate(self.config),
        })
    }

    fn save(&self, checkpointing: &Checkpointing) -> Result<(), AutoencoderError> {
        checkpoint::save(
            &checkpointing.path,
            self.plan,
            self.config,
            self.data,
            &self.state()?,
        )
    }
}
