//! Random changes of training images (augmentation), which the code must see through.
//!
//! The encoder sees a distorted view and must describe, or the decoder give back, the undistorted
//! image: so the code keeps what the image shows and drops how it stands (Sundermeyer et al.,
//! "Implicit 3D Orientation Learning for 6D Object Detection from RGB Images", 2018).
//!
//! [`Augmentation`] says which changes, and how strong; [`choose_augmentation`] finds those that
//! suit a collection. An [`Augmenter`] applies them to images of one shape. [`Noise`] is that of
//! the denoising autoencoder. What is drawn for an image follows from its seed alone.

mod augmenter;
mod choose;
mod colour;
mod noise;
mod random;
mod view;

pub use augmenter::Augmenter;
pub use choose::{
    AugmentationChoice, AugmentationKind, AugmentationTrial, ChosenAugmentation,
    choose_augmentation, choose_augmentation_while,
};
pub use noise::Noise;

use lookalike_images::InputShape;
use serde::{Deserialize, Serialize};

use crate::error::AutoencoderError;

/// Most points along a side of the grid of elastic displacements.
const MAX_GRID: usize = 32;

/// Random changes of the input that should not change the code.
///
/// Every change is drawn evenly from minus to plus its range, all are composed into one map from
/// the output's pixels to places in the input, and the input is sampled there once, linearly. What
/// lies outside of the input has the mean colour of its border. Changes of colour come after; they
/// are off unless set, and are drawn on their own, so that they leave the others as they were.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Rotation, in degrees to either side.
    pub rotation_degrees: f32,
    /// Scale: 0.15 is 85 % to 115 %.
    pub scale: f32,
    /// Shear: columns shifted per row.
    pub shear: f32,
    /// Shift, as a fraction of the side, in each direction.
    pub shift: f32,
    /// Elastic displacement of the grid's points, as a fraction of half the side, in each
    /// direction. Between the points it is interpolated by cubics, which may overshoot by up to 0.9
    /// times.
    pub elastic: f32,
    /// Points along each side of the elastic grid, 1 to 32.
    pub elastic_grid: usize,
    /// Whether every second image is mirrored left to right.
    pub mirror: bool,
    /// Whether images are turned by 0, 90, 180 or 270 degrees, each as often; those that are not
    /// square by 0 or 180. It is drawn on its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub turn: bool,
    /// Crop: 0.2 keeps a window of 80 % to 100 % of each side, anywhere in the image. It is drawn
    /// on its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crop: f32,
    /// Brightness: 0.2 multiplies every value by 0.8 to 1.2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub brightness: f32,
    /// Contrast: 0.2 draws values towards the mean of the image's luma, or away from it, by up to a
    /// fifth.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub contrast: f32,
    /// Saturation: 0.2 draws colours towards the pixel's luma, or away from it, by up to a fifth.
    /// Grey images have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub saturation: f32,
    /// Hue: turned by up to so many degrees about the grey axis. Grey images have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hue_degrees: f32,
    /// Gamma: 0.2 raises values to a power of 1 / 1.2 to 1.2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gamma: f32,
}

/// Whether a range that was added later is unused; then files read as they did before it.
fn is_zero(range: &f32) -> bool {
    *range == 0.0
}

impl Augmentation {
    /// A multiple of the range that suits handwriting; 0 leaves every image as it is.
    ///
    /// At 1: rotation 17°, scale 15 %, shear 0.2, shift 10 %, elastic 0.2 on a 4 x 4 grid, no
    /// mirror.
    pub fn strength(strength: f32) -> Self {
        Self {
            rotation_degrees: 17.0 * strength,
            scale: 0.15 * strength,
            shear: 0.2 * strength,
            shift: 0.10 * strength,
            elastic: 0.2 * strength,
            elastic_grid: 4,
            mirror: false,
            turn: false,
            crop: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue_degrees: 0.0,
            gamma: 0.0,
        }
    }

    /// The same, with changes of colour that suit photographs, times `strength`.
    ///
    /// At 1: brightness, contrast and saturation 20 %, hue 6°, gamma 0.15. Camera and light change
    /// no more from one picture of a thing to the next; what is wider begins to make other things
    /// of it.
    pub fn with_colour(self, strength: f32) -> Self {
        Self {
            brightness: 0.2 * strength,
            contrast: 0.2 * strength,
            saturation: 0.2 * strength,
            hue_degrees: 6.0 * strength,
            gamma: 0.15 * strength,
            ..self
        }
    }

    /// The same, with crops of up to `crop` of each side.
    pub fn with_crop(self, crop: f32) -> Self {
        Self { crop, ..self }
    }

    /// Whether it leaves every image as it is.
    pub fn is_identity(&self) -> bool {
        self.keeps_places() && self.keeps_colours()
    }

    /// Whether no pixel moves.
    pub(super) fn keeps_places(&self) -> bool {
        let ranges = [
            self.rotation_degrees,
            self.scale,
            self.shear,
            self.shift,
            self.elastic,
            self.crop,
        ];
        !self.mirror && !self.turn && ranges.iter().all(|&range| range == 0.0)
    }

    /// Whether no colour changes.
    pub(super) fn keeps_colours(&self) -> bool {
        let ranges = [
            self.brightness,
            self.contrast,
            self.saturation,
            self.hue_degrees,
            self.gamma,
        ];
        ranges.iter().all(|&range| range == 0.0)
    }

    /// Checks that every range makes sense.
    ///
    /// # Errors
    ///
    /// A range that is negative, not finite, or too wide for an image to be left, and a grid
    /// without points or finer than 32.
    pub fn check(&self) -> Result<(), AutoencoderError> {
        let ranges = [
            (
                "rotation_degrees",
                self.rotation_degrees,
                180.0,
                "0 to 180 degrees",
            ),
            ("scale", self.scale, 0.9, "0 to 0.9"),
            ("shear", self.shear, 10.0, "0 to 10"),
            ("shift", self.shift, 1.0, "0 to 1"),
            ("elastic", self.elastic, 2.0, "0 to 2"),
            ("crop", self.crop, 0.9, "0 to 0.9"),
            ("brightness", self.brightness, 1.0, "0 to 1"),
            ("contrast", self.contrast, 1.0, "0 to 1"),
            ("saturation", self.saturation, 1.0, "0 to 1"),
            ("hue_degrees", self.hue_degrees, 180.0, "0 to 180 degrees"),
            ("gamma", self.gamma, 2.0, "0 to 2"),
        ];
        for (setting, found, most, expected) in ranges {
            if !(0.0..=most).contains(&found) {
                return Err(AutoencoderError::range(
                    "augmentation",
                    setting,
                    expected,
                    found,
                ));
            }
        }
        if !(1..=MAX_GRID).contains(&self.elastic_grid) {
            let found = self.elastic_grid as f32;
            return Err(AutoencoderError::range(
                "augmentation",
                "elastic_grid",
                "1 to 32 points",
                found,
            ));
        }
        Ok(())
    }

    /// Changes one image at random; the same seed changes it in the same way.
    ///
    /// For many images make a [`Augmenter`] once.
    ///
    /// # Panics
    ///
    /// As [`Augmenter::apply`].
    pub fn apply(&self, source: &[u8], shape: InputShape, seed: u64, out: &mut [f32]) {
        Augmenter::new(self, shape).apply(source, seed, out);
    }
}
