//! What can be typed of encoders that others have trained.

use std::path::PathBuf;

use clap::Args;
use lookalike::{Pool, PretrainedOptions};

/// What the files of a pretrained encoder do not say.
#[derive(Args)]
pub struct PretrainedArguments {
    /// The mean of each channel, 0 to 1, where no file beside the encoder says it
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    pub encoder_mean: Vec<f32>,
    /// The standard deviation of each channel
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    pub encoder_std: Vec<f32>,
    /// The side of its images in pixels
    #[arg(long, value_name = "N")]
    pub encoder_size: Option<usize>,
    /// The output that is the code
    #[arg(long, value_name = "NAME")]
    pub encoder_output: Option<String>,
    /// How one code is made of those of patches: cls or mean
    #[arg(long, value_name = "HOW")]
    pub encoder_pool: Option<Pool>,
}

impl PretrainedArguments {
    pub fn options(&self) -> PretrainedOptions {
        let given = |numbers: &[f32]| (!numbers.is_empty()).then(|| numbers.to_vec());
        PretrainedOptions {
            mean: given(&self.encoder_mean),
            std: given(&self.encoder_std),
            size: self.encoder_size,
            output: self.encoder_output.clone(),
            pool: self.encoder_pool,
            ..PretrainedOptions::default()
        }
    }
}

/// The files and folders of encoders that were named.
pub fn named(model: &Option<PathBuf>, encoder: &Option<PathBuf>) -> Vec<PathBuf> {
    model.iter().chain(encoder).cloned().collect()
}
