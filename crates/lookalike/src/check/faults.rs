//! What can be wrong with a picture, and from where on it is.

use std::fmt;

use lookalike_gallery::Payload;
use serde::{Deserialize, Serialize};

use super::distribution::{Scale, Usual};

/// Something that is wrong with a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing but one colour.
    Blank,
    /// Nearly one colour.
    Uniform,
    /// Its lower part is missing: the grey of missing data or, where that is rare in the
    /// collection, any one colour.
    HalfDecoded,
    /// Much darker than the others.
    Dark,
    /// Much brighter than the others.
    Bright,
    /// Much less sharp than the others.
    Blurred,
    /// It could be told in very few bits.
    LowInformation,
    /// Nearly grey, in a collection in colour.
    Grey,
    /// Much longer than wide, or wider than long.
    OddProportions,
    /// Very few pixels.
    Tiny,
}

impl Fault {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 10] = [
        Self::Blank,
        Self::Uniform,
        Self::HalfDecoded,
        Self::Dark,
        Self::Bright,
        Self::Blurred,
        Self::LowInformation,
        Self::Grey,
        Self::OddProportions,
        Self::Tiny,
    ];

    /// In words, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Uniform => "uniform",
            Self::HalfDecoded => "half-decoded",
            Self::Dark => "dark",
            Self::Bright => "bright",
            Self::Blurred => "blurred",
            Self::LowInformation => "low-information",
            Self::Grey => "grey",
            Self::OddProportions => "odd-proportions",
            Self::Tiny => "tiny",
        }
    }

    /// What it is judged by.
    pub(super) fn rule(self) -> &'static Rule {
        &RULES[self as usize]
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number that pictures are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Brightness,
    Contrast,
    Sharpness,
    Entropy,
    Colourfulness,
    FlatBottom,
    Undecoded,
    /// The longer side over the shorter one.
    Elongation,
    /// The side in pixels of a square of as many pixels.
    Side,
}

/// How many measures there are.
pub(super) const MEASURES: usize = 9;

/// Below this shorter side in pixels sharpness says nothing: what it compares reaches as far.
const MIN_SIDE_FOR_SHARPNESS: u32 = 16;

impl Measure {
    /// Its name, which is that of the fact where it is one.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::Sharpness => "sharpness",
            Self::Entropy => "entropy",
            Self::Colourfulness => "colourfulness",
            Self::FlatBottom => "flat_bottom",
            Self::Undecoded => "undecoded",
            Self::Elongation => "elongation",
            Self::Side => "side",
        }
    }

    fn of(self, payload: &Payload) -> Option<f64> {
        let facts = &payload.facts;
        let (width, height) = (payload.width, payload.height);
        let (long, short) = (width.max(height), width.min(height));
        match self {
            Self::Brightness => facts.brightness,
            Self::Contrast => facts.contrast,
            Self::Sharpness => facts.sharpness.filter(|_| short >= MIN_SIDE_FOR_SHARPNESS),
            Self::Entropy => facts.entropy,
            Self::Colourfulness => facts.colourfulness,
            Self::FlatBottom => facts.flat_bottom,
            Self::Undecoded => facts.undecoded,
            Self::Elongation => (short > 0).then(|| f64::from(long) / f64::from(short)),
            Self::Side => (short > 0).then(|| (f64::from(long) * f64::from(short)).sqrt()),
        }
    }
}

/// What is known about one picture: each measure at its place, NaN where it is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured(pub(super) [f32; MEASURES]);

impl Measured {
    pub(super) fn of(payload: &Payload) -> Self {
        use Measure::*;
        let all = [
            Brightness,
            Contrast,
            Sharpness,
            Entropy,
            Colourfulness,
            FlatBottom,
            Undecoded,
            Elongation,
            Side,
        ];
        Self(all.map(|measure| measure.of(payload).map_or(f32::NAN, |value| value as f32)))
    }

    pub(super) fn get(&self, measure: Measure) -> Option<f64> {
        let value = self.0[measure as usize];
        (!value.is_nan()).then_some(f64::from(value))
    }

    /// Whether it is nothing but one colour, of which nothing else need be said.
    pub(super) fn is_blank(&self) -> bool {
        let contrast = self.get(Measure::Contrast);
        contrast.is_some_and(|contrast| contrast < BLANK_CONTRAST)
    }
}

/// Which values are the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Those below the threshold.
    Below,
    /// Those above it.
    Above,
}

impl Side {
    pub(super) fn is_beyond(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Below => value < threshold,
            Self::Above => value > threshold,
        }
    }

    /// Of two values the one that fewer are beyond.
    fn stricter(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Below => a.min(b),
            Self::Above => a.max(b),
        }
    }
}

/// From where on a picture has a fault.
///
/// Where a rule has a `deviations`, the collection says: so many robust standard deviations from
/// its median. But however alike its pictures are, what is not beyond `bound` is no fault; and
/// however different they are, what is beyond `always` is one.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) measure: Measure,
    pub(super) side: Side,
    pub(super) scale: Scale,
    always: Option<f64>,
    bound: Bound,
    deviations: Option<f64>,
}

#[derive(Debug)]
enum Bound {
    None,
    At(f64),
    /// A share of the median.
    OfMedian(f64),
}

/// Half a grey out of 255.
const BLANK_CONTRAST: f64 = 0.002;
/// The median colourfulness of a collection in colour, at the least: by Hasler and Süsstrunk, 15 is
/// slightly colourful.
const COLOUR_COLLECTION: f64 = 12.0;
/// Share of missing rows that are a fault whatever the collection is like.
pub(super) const MIN_UNDECODED: f64 = 0.03;
/// The most pictures with a flat lower part for it to be a fault.
const RARE: f64 = 0.02;
/// What pictures are in the collection, at the least, for it to say what is usual.
pub(super) const MIN_PICTURES: usize = 20;

/// By the fault's number. The bounds were set on photographs, scans and drawings (see
/// docs/quality-findings.md).
static RULES: [Rule; 10] = [
    Rule {
        measure: Measure::Contrast,
        side: Side::Below,
        scale: Scale::Logarithmic { least: 1e-3 },
        always: Some(BLANK_CONTRAST),
        bound: Bound::None,
        deviations: None,
    },
    Rule {
        measure: Measure::Contrast,
        side: Side::Below,
        scale: Scale::Logarithmic { least: 1e-3 },
        always: None,
        bound: Bound::At(0.04),
        deviations: Some(4.0),
    },
    Rule {
        measure: Measure::FlatBottom,
        side: Side::Above,
        scale: Scale::Linear,
        always: None,
        bound: Bound::At(0.1),
        deviations: None,
    },
    Rule {
        measure: Measure::Brightness,
        side: Side::Below,
        scale: Scale::Root,
        always: None,
        bound: Bound::At(0.2),
        deviations: Some(3.5),
    },
    Rule {
        measure: Measure::Brightness,
        side: Side::Above,
        scale: Scale::RootOfRest,
        always: None,
        bound: Bound::At(0.9),
        deviations: Some(3.5),
    },
    Rule {
        measure: Measure::Sharpness,
        side: Side::Below,
        scale: Scale::Linear,
        always: None,
        bound: Bound::At(0.6),
        deviations: Some(4.0),
    },
    Rule {
        measure: Measure::Entropy,
        side: Side::Below,
        scale: Scale::Linear,
        always: None,
        bound: Bound::At(3.0),
        deviations: Some(4.0),
    },
    Rule {
        measure: Measure::Colourfulness,
        side: Side::Below,
        scale: Scale::Logarithmic { least: 0.5 },
        always: None,
        bound: Bound::At(4.0),
        deviations: Some(4.0),
    },
    Rule {
        measure: Measure::Elongation,
        side: Side::Above,
        scale: Scale::Logarithmic { least: 1.0 },
        always: None,
        bound: Bound::At(2.5),
        deviations: Some(4.0),
    },
    Rule {
        measure: Measure::Side,
        side: Side::Below,
        scale: Scale::Logarithmic { least: 1.0 },
        always: Some(16.0),
        bound: Bound::OfMedian(0.2),
        deviations: Some(4.0),
    },
];

impl Rule {
    /// The threshold for a collection of which this is usual; none where nothing is a fault.
    pub(super) fn threshold(&self, fault: Fault, usual: &Usual) -> Option<f64> {
        let bound = match self.bound {
            Bound::None => None,
            Bound::At(value) => Some(value),
            Bound::OfMedian(share) => Some(share * usual.median),
        };
        let applies = match fault {
            Fault::Grey => usual.median >= COLOUR_COLLECTION,
            Fault::HalfDecoded => bound.is_some_and(|bound| usual.share_above(bound) <= RARE),
            _ => true,
        };
        let by_collection = match self.deviations {
            _ if usual.count < MIN_PICTURES || !applies => None,
            // What a rule without deviations asks of a collection is above.
            None => bound,
            Some(deviations) => {
                let deviations = match self.side {
                    Side::Below => -deviations,
                    Side::Above => deviations,
                };
                let far = self.scale.value(usual.centre + deviations * usual.spread);
                Some(bound.map_or(far, |bound| self.side.stricter(far, bound)))
            }
        };
        match (by_collection, self.always) {
            (Some(one), Some(other)) => Some(match self.side {
                Side::Below => one.max(other),
                Side::Above => one.min(other),
            }),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_rule_and_its_name() {
        for (at, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, at);
            let written = serde_json::to_value(fault).unwrap();
            assert_eq!(written, fault.name());
        }
        assert_eq!(Fault::Tiny.rule().measure, Measure::Side);
        assert_eq!(Fault::Blank.rule().always, Some(BLANK_CONTRAST));
        assert_eq!(Measure::Side as usize, MEASURES - 1);
    }

    #[test]
    fn thresholds_follow_the_collection_within_bounds() {
        let threshold = |fault: Fault, values: &[f64]| {
            let rule = fault.rule();
            rule.threshold(fault, &Usual::of(values, rule.scale))
        };
        let around = |centre: f64, by: f64| -> Vec<f64> {
            (-50..=50)
                .map(|i| centre + by * f64::from(i) / 50.0)
                .collect()
        };
        // Alike: the bound holds. Different: the collection itself. Dark scans: nothing is dark.
        assert_eq!(threshold(Fault::Dark, &around(0.6, 0.02)), Some(0.2));
        let varied = threshold(Fault::Dark, &around(0.5, 0.3)).unwrap();
        assert!((0.02..0.12).contains(&varied), "{varied}");
        assert!(threshold(Fault::Dark, &around(0.05, 0.03)).unwrap() < 0.02);
        assert_eq!(threshold(Fault::Bright, &around(0.5, 0.05)), Some(0.9));
        assert_eq!(threshold(Fault::Bright, &around(0.95, 0.05)), Some(1.0));
        assert_eq!(threshold(Fault::Grey, &around(5.0, 4.0)), None);
        assert_eq!(threshold(Fault::Grey, &around(30.0, 5.0)), Some(4.0));
        assert_eq!(threshold(Fault::Tiny, &around(1000.0, 1.0)), Some(200.0));
        assert_eq!(threshold(Fault::Tiny, &[28.0; 100]), Some(16.0));
        assert_eq!(threshold(Fault::OddProportions, &[1.5; 100]), Some(2.5));
        // A flat lower part is a fault only where it is rare.
        let mut bottoms = vec![0.0; 100];
        assert_eq!(threshold(Fault::HalfDecoded, &bottoms), Some(0.1));
        bottoms[..10].fill(0.3);
        assert_eq!(threshold(Fault::HalfDecoded, &bottoms), None);
        // A few say nothing about what is usual.
        assert_eq!(threshold(Fault::Dark, &[0.6; 19]), None);
        assert_eq!(threshold(Fault::Tiny, &[600.0; 19]), Some(16.0));
    }
}
