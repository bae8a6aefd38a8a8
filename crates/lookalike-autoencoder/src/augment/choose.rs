//! Which augmentation suits a collection, found without labels and before training.
//!
//! A distortion helps where it makes of an image what could be another image of the collection:
//! handwriting leans every way, and a code that forgets how a digit leans finds more of the same
//! digit. It harms where it makes what the collection never has, because then pose tells things
//! apart: clothes laid straight, icons on a common grid. So a distorted copy is held against the
//! collection: how far is its nearest *other* image, and how far is that of its original? If copies
//! lie no further out than their originals, the collection has such poses itself.
//!
//! Quarter turns ask for more, because few images are near any other, turned or not, in a small
//! collection: there the turned copies must not be told from the images
//! ([`told_from_turned`]).

use std::fmt;
use std::str::FromStr;

use lookalike_images::{Collection, Turn};
use lookalike_neighbours::{Codes, Metric, nearest};
use serde::{Deserialize, Serialize};

use super::view::View;
use super::{Augmentation, Augmenter};
use crate::error::AutoencoderError;
use crate::look::{MAX_TOLD, told_from_turned};
use crate::sample::evenly_spaced;

/// An augmentation by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AugmentationChoice {
    /// Whatever [`choose_augmentation`] finds to suit the collection.
    Auto,
    /// None: the objective becomes plain reconstruction.
    None,
    /// [`Augmentation::strength`] 0.3, and colours 0.3.
    Mild,
    /// [`Augmentation::strength`] 1, and colours 1.
    Strong,
}

impl AugmentationChoice {
    /// Every one, in the order of the command line's help.
    pub const ALL: [AugmentationChoice; 4] = [Self::Auto, Self::None, Self::Mild, Self::Strong];
}

impl fmt::Display for AugmentationChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Mild => "mild",
            Self::Strong => "strong",
        })
    }
}

impl FromStr for AugmentationChoice {
    type Err = AutoencoderError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL
            .into_iter()
            .find(|known| known.to_string() == name);
        named.ok_or_else(|| AutoencoderError::unknown("distortion", name, &Self::ALL))
    }
}

/// What is tried, each kind on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AugmentationKind {
    /// Rotation and shear. They decide on scale, shift and elastic fields as well, which take every
    /// image out of a collection whose images fill their frames, whether they help or not.
    Places,
    /// Mirroring left to right.
    Mirror,
    /// Brightness, contrast, saturation, hue and gamma.
    Colours,
    /// Quarter turns; of images that are not square, half turns.
    Turn,
}

/// One kind of change tried on a collection, at one strength.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentationTrial {
    /// Of what.
    pub kind: AugmentationKind,
    /// How strong; 1 for the mirror and turns.
    pub strength: f32,
    /// How much further than its original a copy is from the nearest other image: 1.05 is 5 %. The
    /// geometric mean, with each image's share held to a factor of 4.5. Of turns: how many more of
    /// the neighbours of images, and of turned ones, lie as they do than half of them.
    pub ratio: f32,
}

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenAugmentation {
    /// Who chose.
    pub by: AugmentationChoice,
    /// Multiple of [`Augmentation::strength`].
    pub strength: f32,
    /// Whether every second image is mirrored.
    pub mirror: bool,
    /// Whether images are turned by quarters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub turn: bool,
    /// Multiple of [`Augmentation::with_colour`].
    pub colour_strength: f32,
    /// What [`AugmentationChoice::Auto`] tried, in order: each kind until one strength went too
    /// far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<AugmentationTrial>,
}

impl ChosenAugmentation {
    /// The augmentation.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            mirror: self.mirror,
            turn: self.turn,
            ..Augmentation::strength(self.strength).with_colour(self.colour_strength)
        }
    }
}

impl fmt::Display for ChosenAugmentation {
    /// One line, as in `auto: strength 0.3 (copies 1.9 % further out), no mirror (28.8 %), colours
    /// 0.2 (2.6 %)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excess = |kind: AugmentationKind, strength: f32, words: &str| -> String {
            let of = |t: &&AugmentationTrial| t.kind == kind && t.strength == strength;
            match self.trials.iter().find(of) {
                Some(trial) => format!(" ({:+.1} %{words})", 100.0 * (trial.ratio - 1.0)),
                None => String::new(),
            }
        };
        write!(
            f,
            "{}: strength {}{}",
            self.by,
            self.strength,
            excess(
                AugmentationKind::Places,
                self.strength,
                " to the nearest other image"
            )
        )?;
        let mirror = if self.mirror { "mirror" } else { "no mirror" };
        write!(f, ", {mirror}{}", excess(AugmentationKind::Mirror, 1.0, ""))?;
        if self.turn {
            let excess = excess(AugmentationKind::Turn, 1.0, " told apart");
            write!(f, ", turns{excess}")?;
        }
        if self.colour_strength > 0.0
            || self
                .trials
                .iter()
                .any(|t| t.kind == AugmentationKind::Colours)
        {
            let excess = excess(AugmentationKind::Colours, self.colour_strength, "");
            write!(f, ", colours {}{excess}", self.colour_strength)?;
        }
        Ok(())
    }
}

/// A copy may be so much further from the nearest other image than its original.
///
/// At strength 1 rotation and shear take handwriting 4 % out and unrelated stamps 6 %, where they
/// help; flags 13 %, icons and clip art 22 to 24 %, 8 x 8 digits 30 %, clothes 42 %, where they do
/// not, or harm. Icons are harmed a little by strength 0.3 already, at 7 %.
const MAX_RATIO: f32 = 1.03;

/// Images that copies are held against, and copies, at most.
const MAX_IMAGES: usize = 2000;
const MAX_COPIES: usize = 500;

/// Images without a copy of their own that must be there for a trial to mean anything.
const MIN_IMAGES: usize = 20;

/// Chooses an augmentation for a collection of images by name; only [`AugmentationChoice::Auto`]
/// looks at the images.
///
/// `auto` tries each kind on up to 500 images against 2,000, chosen at even steps: rotation and
/// shear, then changes of colour (of colour images), at strengths 0.1, 0.2, … 1, and the mirror.
/// The strongest is taken whose copies, and those of every weaker one, lie no more than 3 % further
/// out than their originals. Collections of fewer than 20 images that differ get `mild`. Images are
/// turned where turned ones cannot be told from them, in collections of 200 and more.
///
/// The same seed and images give the same choice. It takes seconds at most.
pub fn choose_augmentation(
    choice: AugmentationChoice,
    collection: &Collection,
    seed: u64,
) -> ChosenAugmentation {
    choose_augmentation_while(choice, collection, seed, &|| true).expect("nothing ends it")
}

/// As [`choose_augmentation`]; `go_on` is asked before each trial, and ends it where it says no:
/// then nothing is chosen.
pub fn choose_augmentation_while(
    choice: AugmentationChoice,
    collection: &Collection,
    seed: u64,
    go_on: &dyn Fn() -> bool,
) -> Option<ChosenAugmentation> {
    let colour = collection.shape().channels == 3;
    let fixed = |strength: f32| ChosenAugmentation {
        by: choice,
        strength,
        mirror: false,
        turn: false,
        colour_strength: if colour { strength } else { 0.0 },
        trials: Vec::new(),
    };
    match choice {
        AugmentationChoice::None => return Some(fixed(0.0)),
        AugmentationChoice::Mild => return Some(fixed(0.3)),
        AugmentationChoice::Strong => return Some(fixed(1.0)),
        AugmentationChoice::Auto => {}
    }
    let Some(yardstick) = Yardstick::new(collection, seed) else {
        return Some(fixed(0.3));
    };
    let mut chosen = fixed(0.0);
    let places = AugmentationKind::Places;
    chosen.strength = yardstick.strongest(places, &mut chosen.trials, go_on)?;
    let mirror = yardstick.trial(AugmentationKind::Mirror, 1.0);
    chosen.mirror = mirror.ratio <= MAX_RATIO;
    chosen.trials.push(mirror);
    if let Some(share) = told_from_turned(collection) {
        let turn = AugmentationTrial {
            kind: AugmentationKind::Turn,
            strength: 1.0,
            ratio: 2.0 * share,
        };
        chosen.turn = share <= MAX_TOLD;
        chosen.trials.push(turn);
    }
    if colour {
        let colours = AugmentationKind::Colours;
        chosen.colour_strength = yardstick.strongest(colours, &mut chosen.trials, go_on)?;
    }
    Some(chosen)
}

/// The part of an augmentation that is tried.
fn tried(kind: AugmentationKind, strength: f32) -> Augmentation {
    let still = Augmentation::strength(0.0);
    let full = Augmentation::strength(strength);
    match kind {
        AugmentationKind::Places => Augmentation {
            rotation_degrees: full.rotation_degrees,
            shear: full.shear,
            ..still
        },
        // Mirrored by `trial`; turns have a test of their own.
        AugmentationKind::Mirror | AugmentationKind::Turn => still,
        AugmentationKind::Colours => still.with_colour(strength),
    }
}

/// A collection to hold copies against.
struct Yardstick<'a> {
    collection: &'a Collection,
    seed: u64,
    view: View,
    /// Views of the images that copies are held against.
    images: Vec<f32>,
    /// For each copy the place of its original among `images`, that in the collection, and the
    /// original's distance to its nearest other.
    copies: Vec<(usize, usize, f32)>,
}

impl<'a> Yardstick<'a> {
    /// `None` where too few images differ.
    fn new(collection: &'a Collection, seed: u64) -> Option<Self> {
        let view = View::new(collection.shape());
        let images = evenly_spaced(collection.len(), MAX_IMAGES);
        let asked = evenly_spaced(images.len(), MAX_COPIES);
        let mut yardstick = Self {
            collection,
            seed,
            images: view.of(&images, |&image, floats| {
                for (float, &byte) in floats.iter_mut().zip(collection.image(image)) {
                    *float = f32::from(byte) / 255.0;
                }
            }),
            view,
            copies: asked
                .iter()
                .map(|&place| (place, images[place], 0.0))
                .collect(),
        };
        if images.len() < MIN_IMAGES {
            return None;
        }
        let len = yardstick.view.values();
        let originals: Vec<f32> = asked
            .iter()
            .flat_map(|&place| &yardstick.images[place * len..(place + 1) * len])
            .copied()
            .collect();
        let distances = yardstick.nearest_others(&originals);
        for (copy, distance) in yardstick.copies.iter_mut().zip(distances) {
            copy.2 = distance;
        }
        // What is there twice is near whatever is done to it, and would only hide what is done to
        // the others.
        let length = |place: usize| {
            let image = &yardstick.images[place * len..(place + 1) * len];
            image.iter().map(|v| v * v).sum::<f32>().sqrt()
        };
        let distinct = |copy: &(usize, usize, f32)| copy.2 > 1e-3 * length(copy.0);
        let distinct: Vec<_> = yardstick.copies.iter().copied().filter(distinct).collect();
        yardstick.copies = distinct;
        (yardstick.copies.len() >= MIN_IMAGES).then_some(yardstick)
    }

    /// The strongest of a kind that does not go too far; `None` where `go_on` ended the trials.
    fn strongest(
        &self,
        kind: AugmentationKind,
        trials: &mut Vec<AugmentationTrial>,
        go_on: &dyn Fn() -> bool,
    ) -> Option<f32> {
        let mut strongest = 0.0;
        for tenth in 1..=10 {
            if !go_on() {
                return None;
            }
            let trial = self.trial(kind, tenth as f32 / 10.0);
            trials.push(trial);
            if trial.ratio > MAX_RATIO {
                break;
            }
            strongest = trial.strength;
        }
        Some(strongest)
    }

    fn trial(&self, kind: AugmentationKind, strength: f32) -> AugmentationTrial {
        let augmentation = tried(kind, strength);
        let shape = self.collection.shape();
        let augmenter = Augmenter::new(&augmentation, shape);
        let copies = self.view.of(&self.copies, |&(_, image, _), floats| {
            // Neighbouring images, and neighbouring seeds, are far apart.
            let seed = self.seed ^ (image as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            augmenter
                .clone()
                .apply(self.collection.image(image), seed, floats);
            if kind == AugmentationKind::Mirror {
                let sides = (shape.width, shape.height);
                floats.copy_from_slice(&Turn::Mirrored.apply(floats, sides, shape.channels));
            }
        });
        let distances = self.nearest_others(&copies);
        let excesses = self
            .copies
            .iter()
            .zip(distances)
            .map(|(&(_, _, original), copy)| {
                // One image far from all others must not decide alone.
                f64::from((copy.max(1e-9) / original).ln().clamp(-1.5, 1.5))
            });
        let ratio = (excesses.sum::<f64>() / self.copies.len() as f64).exp() as f32;
        AugmentationTrial {
            kind,
            strength,
            ratio,
        }
    }

    /// How far each copy is from the nearest image that is not its original.
    fn nearest_others(&self, copies: &[f32]) -> Vec<f32> {
        let codes = |floats| Codes::new(floats, self.view.values()).expect("views are finite");
        let answers = nearest(codes(&self.images), codes(copies), Metric::Euclidean, 2);
        let originals = self.copies.iter().map(|&(original, _, _)| original);
        answers
            .iter()
            .zip(originals)
            .map(|(answer, original)| {
                let other = answer.iter().find(|n| n.index != original);
                other.map_or(0.0, |n| n.distance)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use lookalike_images::InputShape;

    use super::*;

    const SHAPE: InputShape = InputShape {
        channels: 1,
        height: 28,
        width: 28,
    };

    /// Bars through the middle, at angles (in degrees) that `angle` gives for each image, each with
    /// a blot somewhere.
    fn bars(count: usize, angle: impl Fn(usize) -> f32) -> Collection {
        let mut pixels = Vec::new();
        for image in 0..count {
            let (sin, cos) = angle(image).to_radians().sin_cos();
            let blot = (
                (image * 7 % 23) as f32 - 11.0,
                (image * 11 % 19) as f32 - 9.0,
            );
            for (y, x) in (0..28).flat_map(|y| (0..28).map(move |x| (y, x))) {
                let (x, y) = (x as f32 - 13.5, y as f32 - 13.5);
                let (across, along) = (x * cos + y * sin, y * cos - x * sin);
                let bar = (-(across / 1.5).powi(2) - (along / 9.0).powi(6)).exp();
                let blot = (-((x - blot.0).powi(2) + (y - blot.1).powi(2)) / 8.0).exp();
                pixels.push((255.0 * (bar + 0.3 * blot).min(1.0)) as u8);
            }
        }
        let keys = (0..count).map(|i| i.to_string()).collect();
        Collection::from_parts("bars", SHAPE, keys, vec![None; count], pixels).unwrap()
    }

    /// Spread evenly over `range` degrees, in no order.
    fn spread(image: usize, range: f32) -> f32 {
        ((image * 37 % 101) as f32 / 50.0 - 1.0) * range
    }

    #[test]
    fn augmentations_follow_the_data() {
        let leaning =
            choose_augmentation(AugmentationChoice::Auto, &bars(300, |i| spread(i, 40.0)), 0);
        let upright = choose_augmentation(AugmentationChoice::Auto, &bars(300, |_| 0.0), 0);
        assert!(leaning.strength >= 0.8, "{leaning}");
        assert!(upright.strength <= 0.2, "{upright}");
        assert_eq!(leaning.by, AugmentationChoice::Auto);
        assert!(
            leaning.mirror,
            "what leans both ways may be mirrored: {leaning}"
        );
        let one_way = choose_augmentation(
            AugmentationChoice::Auto,
            &bars(300, |i| 40.0 + spread(i, 10.0)),
            0,
        );
        assert!(!one_way.mirror, "{one_way}");
        assert_eq!(
            leaning.augmentation().rotation_degrees,
            17.0 * leaning.strength
        );
        assert_eq!(leaning.colour_strength, 0.0);
        assert!(leaning.to_string().contains("auto: strength"), "{leaning}");
    }

    #[test]
    fn what_lies_any_way_round_is_turned() {
        // Bars at all angles, with a blot that makes each turn another picture, and leaning ones.
        let choose = |range| {
            let images = bars(400, |i| spread(i, range));
            choose_augmentation(AugmentationChoice::Auto, &images, 0)
        };
        let (any, leaning) = (choose(180.0), choose(20.0));
        assert!(any.turn && any.augmentation().turn, "{any}");
        assert!(any.to_string().contains(", turns ("), "{any}");
        assert!(!leaning.turn && !leaning.augmentation().turn, "{leaning}");
        let told = |chosen: &ChosenAugmentation| {
            let of = |trial: &&AugmentationTrial| trial.kind == AugmentationKind::Turn;
            chosen.trials.iter().find(of).expect("tried").ratio
        };
        assert!(told(&leaning) > 1.2 && told(&any) < 1.06);
    }

    #[test]
    fn the_same_seed_chooses_the_same() {
        let images = bars(100, |i| spread(i, 20.0));
        assert_eq!(
            choose_augmentation(AugmentationChoice::Auto, &images, 7),
            choose_augmentation(AugmentationChoice::Auto, &images, 7)
        );
    }

    #[test]
    fn colours_follow_the_data_too() {
        let plain = |colour: &dyn Fn(usize) -> [u8; 3]| {
            let shape = InputShape {
                channels: 3,
                height: 8,
                width: 8,
            };
            let pixels = (0..200).flat_map(|i| [colour(i); 64]).flatten().collect();
            let keys = (0..200).map(|i| i.to_string()).collect();
            let images = Collection::from_parts("plain", shape, keys, vec![None; 200], pixels);
            choose_augmentation(AugmentationChoice::Auto, &images.unwrap(), 0)
        };
        // Of every colour, or of one that has its shades but is never more or less brown.
        let any = plain(&|i| [37, 61, 89].map(|step| (60 + i * step % 139) as u8));
        let brown = plain(&|i| [40 + i as u8, 20 + i as u8 / 2, 10 + i as u8 / 4]);
        assert!(any.colour_strength >= 0.3, "{any}");
        assert_eq!(brown.colour_strength, 0.0, "{brown}");
    }

    #[test]
    fn names_need_no_images() {
        let images = bars(3, |_| 0.0);
        assert!(
            choose_augmentation(AugmentationChoice::None, &images, 0)
                .augmentation()
                .is_identity()
        );
        assert_eq!(
            choose_augmentation(AugmentationChoice::Strong, &images, 0).augmentation(),
            Augmentation::strength(1.0)
        );
        // Nothing to hold copies against.
        assert_eq!(
            choose_augmentation(AugmentationChoice::Auto, &images, 0).strength,
            0.3
        );
        let alike = Collection::from_parts(
            "black",
            SHAPE,
            (0..50).map(|i| i.to_string()).collect(),
            vec![None; 50],
            vec![0; 50 * 784],
        );
        assert_eq!(
            choose_augmentation(AugmentationChoice::Auto, &alike.unwrap(), 0).strength,
            0.3
        );
        for choice in AugmentationChoice::ALL {
            assert_eq!(
                choice.to_string().parse::<AugmentationChoice>().unwrap(),
                choice
            );
        }
        assert!("some".parse::<AugmentationChoice>().is_err());
    }
}
