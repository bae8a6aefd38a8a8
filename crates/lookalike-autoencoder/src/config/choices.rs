//! What a recipe chooses among, each by a name.

use std::fmt;
use std::str::FromStr;

use lookalike_kernels::Loss as LossKernel;
use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::error::AutoencoderError;

/// What the network sees and what it must give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// A distorted view in, a description of the undistorted image out: where its edges run, of
    /// which local structures it is made, which colours it has. Then the code learns to point where
    /// the eigenvectors of the images' neighbour graph do, and last the decoder learns to draw
    /// images from codes.
    Look,
    /// A distorted view in, a teacher's code of the undistorted image out, for [`crate::distil`].
    Distil,
    /// A distorted view in, the undistorted image out: the code must leave out how the image was
    /// distorted (the augmented autoencoder, Sundermeyer et al. 2018).
    Augment,
    /// The image in, the image out, as in the article.
    Reconstruct,
    /// Gaussian and masking noise in, the clean image out (Vincent et al. 2008).
    Denoise,
    /// The variational autoencoder (Kingma and Welling 2014); the code is the mean.
    Variational,
}

impl Objective {
    /// Every objective, in the order of the command line's help.
    pub const ALL: [Objective; 6] = [
        Self::Look,
        Self::Distil,
        Self::Augment,
        Self::Reconstruct,
        Self::Denoise,
        Self::Variational,
    ];
}

/// Distance between the reconstruction and the image, averaged over all their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Mean squared error.
    Mse,
    /// Binary cross-entropy, pixels taken as probabilities.
    Bce,
}

impl Loss {
    /// Every loss.
    pub const ALL: [Loss; 2] = [Self::Mse, Self::Bce];

    pub(crate) fn kernel(self) -> LossKernel {
        match self {
            Self::Mse => LossKernel::MeanSquaredError,
            Self::Bce => LossKernel::BinaryCrossEntropy,
        }
    }
}

/// Which optimiser takes the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// Adam (Kingma and Ba 2015).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW,
}

impl Optimiser {
    /// Every optimiser.
    pub const ALL: [Optimiser; 2] = [Self::Adam, Self::AdamW];
}

/// How long to learn, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// An eighth of the usual epochs.
    Quick,
    /// The recipe as it is.
    #[default]
    Default,
    /// Twice the rounds of refining or, of objectives without rounds, four times the usual epochs.
    Best,
}

impl Effort {
    /// Every effort.
    pub const ALL: [Effort; 3] = [Self::Quick, Self::Default, Self::Best];
}

macro_rules! named {
    ($type:ident, $what:literal, $($variant:ident => $name:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = AutoencoderError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(AutoencoderError::unknown($what, name, &Self::ALL)),
                }
            }
        }
    };
}

named!(Objective, "objective", Look => "look", Distil => "distil", Augment => "augment", Reconstruct => "reconstruct", Denoise => "denoise", Variational => "variational");
named!(Effort, "effort", Quick => "quick", Default => "default", Best => "best");
named!(Loss, "loss", Mse => "mse", Bce => "bce");
named!(Optimiser, "optimiser", Adam => "adam", AdamW => "adamw");
named!(Schedule, "schedule", Constant => "constant", OneCycle => "onecycle");
