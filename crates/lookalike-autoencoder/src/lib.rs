//! Autoencoders that learn a collection's look without labels.
//!
//! [`train`] takes a [`Collection`](lookalike_images::Collection) and a [`TrainConfig`] and gives
//! an [`Autoencoder`]; its encoder turns images into codes, vectors of f32 whose distances follow
//! the images' likeness. A model lives in one safetensors file that carries its recipe, its
//! preprocessing and its history.
//!
//! The networks are data (`architecture`); `network` runs them by this project's kernels on the CPU
//! and by Burn elsewhere.
//!
//! ```
//! use lookalike_autoencoder::{Architecture, Autoencoder, DeviceChoice, TrainConfig, train};
//! use lookalike_images::{Collection, InputShape};
//!
//! let shape = InputShape { channels: 1, height: 16, width: 16 };
//! let pixels: Vec<u8> = (0..64 * 256).map(|i| (i * 7 % 251) as u8).collect();
//! let keys = (0..64).map(|i| i.to_string()).collect();
//! let collection = Collection::from_parts("noise", shape, keys, vec![None; 64], pixels)?;
//!
//! let config = TrainConfig { epochs: 1, ..TrainConfig::new(Architecture::Bottleneck) };
//! let model = train(&collection, &config, DeviceChoice::Auto, None, &mut ())?;
//! let codes = model.encode_collection(&collection, |_| {})?;
//! assert_eq!(codes.len(), 64 * model.code_dim());
//!
//! let again = Autoencoder::from_bytes(&model.to_bytes(), "the model", DeviceChoice::Auto)?;
//! assert_eq!(again.encode_collection(&collection, |_| {})?, codes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod architecture;
mod augment;
mod baseline;
mod batch;
mod checkpoint;
mod config;
mod container;
mod device;
mod direct;
mod error;
mod explain;
mod kinds;
mod look;
mod model;
mod network;
mod onnx;
mod ops;
mod optimiser;
mod patches;
mod precision;
mod progress;
mod record;
mod sample;
mod stage;
mod structure;
mod symmetry;
mod teacher;
mod train;

pub use architecture::Architecture;
pub use augment::{
    Augmentation, AugmentationChoice, AugmentationKind, AugmentationTrial, Augmenter,
    ChosenAugmentation, Noise, choose_augmentation, choose_augmentation_while,
};
pub use checkpoint::Checkpointing;
pub use config::{
    DEFAULT_COLOUR_WEIGHT, DEFAULT_ROUNDS, Effort, Loss, MAX_ROUNDS, Objective, Optimiser,
    Schedule, TrainConfig,
};
pub use device::DeviceChoice;
pub use direct::{DirectPart, DirectRecord};
pub use error::AutoencoderError;
pub use explain::{Contributions, Explanation};
pub use look::{COLOURS, CodesWeight, Part, PartNeighbours, colours_weight, overlap, weigh_codes};
pub use model::Autoencoder;
pub use patches::PatchesRecord;
pub use precision::{Precision, PrecisionChoice};
pub use progress::{Phase, Progress};
pub use record::{
    Comparison, DataRecord, EpochRecord, Judgement, StageRecord, TrainRecord, Verdict,
};
pub use structure::StructureRecord;
pub use symmetry::Symmetry;
pub use teacher::TeacherRecord;
pub use train::{Observer, TrainStep, distil, train};
