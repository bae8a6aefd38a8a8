//! Pictures with something wrong: blank, blurred, half-decoded and the like.
//!
//! They are judged by what was found out about them while they were indexed, the
//! [`Facts`](lookalike_gallery::Facts) of their payloads, and by their sides: no picture is read
//! again. What counts as a fault follows from the collection: its median and the median absolute
//! deviation from it say what is usual, and only what lies far outside of that and beyond a bound
//! that no sound picture reaches is called wrong. So a collection of dark scans is not all dark,
//! and the darkest percent of sound photographs are not wrong. Nothing depends on the collection
//! for pictures that are blank, tiny, or end in the grey of missing data.

use std::collections::HashMap;

use lookalike_gallery::{Filter, Gallery, Payload, Points};
use serde::Serialize;
use uuid::Uuid;

use crate::contents::info_to_read;
use crate::{Error, Phase, Progress};

mod distribution;
mod faults;

pub use distribution::Histogram;
pub use faults::{Fault, Side};

use distribution::Usual;
use faults::{MIN_UNDECODED, Measure, Measured};

/// What is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOptions {
    /// Only the points that pass are looked at, and only they say what is usual.
    pub filter: Option<Filter>,
    /// How many pictures are given for each fault, the worst first.
    pub limit: usize,
}

impl Default for CheckOptions {
    /// All points, and the 20 worst of each fault.
    fn default() -> Self {
        Self {
            filter: None,
            limit: 20,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Points that were looked at.
    pub points: usize,
    /// Those that were never measured: indexed before pictures were. Only their sides are judged.
    pub unmeasured: usize,
    /// Points with at least one fault.
    pub faulty: usize,
    /// Every fault, whether a picture has it or not.
    pub findings: Vec<Finding>,
}

/// One fault and the pictures that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The fault.
    pub fault: Fault,
    /// What it is judged by: the name of a fact, `elongation` (the longer side over the shorter) or
    /// `side` (of a square of as many pixels).
    pub measure: &'static str,
    /// Which values are the fault.
    pub side: Side,
    /// From where on; none where the collection has none that would be one.
    pub threshold: Option<f64>,
    /// The median of all pictures; none where none was measured.
    pub median: Option<f64>,
    /// How many pictures have it.
    pub count: usize,
    /// How the measure is distributed.
    pub histogram: Histogram,
    /// The worst of them.
    pub images: Vec<FaultyImage>,
}

/// A picture with a fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultyImage {
    /// The point's id.
    pub id: Uuid,
    /// Its value of the finding's measure.
    pub value: f64,
    /// All faults that it has.
    pub faults: Vec<Fault>,
    /// What is known about it.
    #[serde(flatten)]
    pub payload: Payload,
}

/// Looks for pictures with something wrong.
///
/// # Errors
///
/// When the gallery cannot be read, or is on a cluster and has too many points to be.
pub fn check(
    gallery: &dyn Gallery,
    options: &CheckOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Check, Error> {
    let info = info_to_read(gallery, options.filter.as_ref())?;
    let total = options.filter.is_none().then_some(info.points);
    let mut pictures: Vec<(Uuid, Measured)> = Vec::new();
    let mut unmeasured = 0;
    for point in Points::new(gallery, options.filter.clone()) {
        let point = point?;
        unmeasured += usize::from(!point.payload.facts.is_measured());
        pictures.push((point.id, Measured::of(&point.payload)));
        progress(Progress::new(Phase::Reading, pictures.len(), total));
    }
    let judged: Vec<(Fault, FaultMatches)> = Fault::ALL
        .into_iter()
        .map(|fault| (fault, judge(fault, &pictures)))
        .collect();
    let mut faults: HashMap<Uuid, Vec<Fault>> = HashMap::new();
    for (fault, judged) in &judged {
        for &(id, _) in &judged.pictures {
            faults.entry(id).or_default().push(*fault);
        }
    }
    let mut findings = Vec::new();
    for (fault, mut judged) in judged {
        let count = judged.pictures.len();
        judged.pictures.truncate(options.limit);
        let ids: Vec<Uuid> = judged.pictures.iter().map(|&(id, _)| id).collect();
        let points = gallery.retrieve(&ids)?.into_iter();
        let mut payloads: HashMap<Uuid, Payload> =
            points.map(|point| (point.id, point.payload)).collect();
        let images = judged.pictures.into_iter().filter_map(|(id, value)| {
            Some(FaultyImage {
                id,
                value,
                faults: faults[&id].clone(),
                // A point may have gone since it was read.
                payload: payloads.remove(&id)?,
            })
        });
        findings.push(Finding {
            fault,
            measure: fault.rule().measure.name(),
            side: fault.rule().side,
            threshold: judged.threshold,
            median: judged.median,
            count,
            histogram: judged.histogram,
            images: images.collect(),
        });
    }
    Ok(Check {
        points: pictures.len(),
        unmeasured,
        faulty: faults.len(),
        findings,
    })
}

/// What is found of one fault.
struct FaultMatches {
    threshold: Option<f64>,
    median: Option<f64>,
    histogram: Histogram,
    /// The worst first, each with its value.
    pictures: Vec<(Uuid, f64)>,
}

fn judge(fault: Fault, pictures: &[(Uuid, Measured)]) -> FaultMatches {
    let rule = fault.rule();
    // Of a picture that is blank nothing else need be said than its size, and it says nothing about
    // what is usual.
    let of_blank =
        matches!(rule.measure, Measure::Elongation | Measure::Side) || fault == Fault::Blank;
    let judged = || {
        let all = pictures
            .iter()
            .filter(|(_, one)| of_blank || !one.is_blank());
        all.filter_map(|(id, one)| Some((*id, one, one.get(rule.measure)?)))
    };
    let values: Vec<f64> = judged().map(|(_, _, value)| value).collect();
    let usual = Usual::of(&values, rule.scale);
    let threshold = rule.threshold(fault, &usual);
    let is_faulty = |one: &Measured, value: f64| {
        let undecoded = one.get(Measure::Undecoded);
        threshold.is_some_and(|threshold| rule.side.is_beyond(value, threshold))
            || fault == Fault::HalfDecoded && undecoded.is_some_and(|share| share >= MIN_UNDECODED)
    };
    let mut faulty: Vec<(Uuid, f64)> = judged()
        .filter(|(_, one, value)| is_faulty(one, *value))
        .map(|(id, _, value)| (id, value))
        .collect();
    faulty.sort_by(|a, b| {
        let order = match rule.side {
            Side::Below => a.1.total_cmp(&b.1),
            Side::Above => b.1.total_cmp(&a.1),
        };
        order.then(a.0.cmp(&b.0))
    });
    FaultMatches {
        threshold,
        median: (usual.count > 0).then_some(usual.median),
        histogram: usual.histogram(rule.scale, threshold),
        pictures: faulty,
    }
}

#[cfg(test)]
mod tests {
    use lookalike_gallery::Facts;

    use super::*;

    fn picture(at: usize, change: impl Fn(&mut Payload)) -> (Uuid, Measured) {
        let wave = |by: usize| (at % by) as f64 / by as f64;
        let mut payload = Payload {
            width: 640,
            height: 480,
            facts: Facts {
                brightness: Some(0.4 + 0.2 * wave(7)),
                contrast: Some(0.15 + 0.1 * wave(5)),
                sharpness: Some(0.6 + 0.1 * wave(11)),
                entropy: Some(6.5 + wave(13)),
                colourfulness: Some(25.0 + 20.0 * wave(17)),
                flat_bottom: Some(0.0),
                undecoded: Some(0.0),
                ..Facts::default()
            },
            ..Payload::default()
        };
        change(&mut payload);
        (Uuid::from_u128(at as u128), Measured::of(&payload))
    }

    /// The faults of a picture among a hundred sound ones, and how many faults those have.
    fn among_sound(change: impl Fn(&mut Payload)) -> (Vec<Fault>, usize) {
        let mut pictures: Vec<_> = (0..100).map(|at| picture(at, |_| {})).collect();
        pictures.push(picture(100, change));
        let odd = pictures[100].0;
        let (mut faults, mut alarms) = (Vec::new(), 0);
        for fault in Fault::ALL {
            for (id, _) in judge(fault, &pictures).pictures {
                match id == odd {
                    true => faults.push(fault),
                    false => alarms += 1,
                }
            }
        }
        (faults, alarms)
    }

    #[test]
    fn each_fault_is_found_and_nothing_else() {
        use Fault::*;
        let facts = |set: &'static dyn Fn(&mut Facts)| {
            among_sound(move |payload: &mut Payload| set(&mut payload.facts))
        };
        assert_eq!(among_sound(|_| {}), (vec![], 0));
        assert_eq!(facts(&|f| f.brightness = Some(0.05)), (vec![Dark], 0));
        assert_eq!(facts(&|f| f.brightness = Some(0.96)), (vec![Bright], 0));
        assert_eq!(facts(&|f| f.sharpness = Some(0.3)), (vec![Blurred], 0));
        assert_eq!(facts(&|f| f.contrast = Some(0.01)), (vec![Uniform], 0));
        assert_eq!(facts(&|f| f.entropy = Some(1.0)), (vec![LowInformation], 0));
        assert_eq!(facts(&|f| f.colourfulness = Some(1.0)), (vec![Grey], 0));
        assert_eq!(facts(&|f| f.undecoded = Some(0.05)), (vec![HalfDecoded], 0));
        assert_eq!(
            facts(&|f| f.flat_bottom = Some(0.4)),
            (vec![HalfDecoded], 0)
        );
        // Of a blank picture it is said that it is blank.
        let blank = Facts {
            brightness: Some(0.0),
            contrast: Some(0.0),
            sharpness: Some(0.0),
            entropy: Some(0.0),
            colourfulness: Some(0.0),
            flat_bottom: Some(1.0),
            undecoded: Some(0.0),
            ..Facts::default()
        };
        let blank = among_sound(|payload| payload.facts = blank.clone());
        assert_eq!(blank, (vec![Blank], 0));
        assert_eq!(among_sound(|p| p.width = 3000), (vec![OddProportions], 0));
        let tiny = among_sound(|p| (p.width, p.height) = (80, 60));
        assert_eq!(tiny, (vec![Tiny], 0));
        // One that was never measured is judged by its sides.
        assert_eq!(among_sound(|p| p.facts = Facts::default()), (vec![], 0));
    }

    #[test]
    fn the_worst_come_first() {
        let sharpness = [0.3, 0.1, 0.2];
        let pictures: Vec<_> = (0..103_usize)
            .map(|at| match at.checked_sub(100) {
                None => picture(at, |_| {}),
                Some(odd) => picture(at, |p| p.facts.sharpness = Some(sharpness[odd])),
            })
            .collect();
        let found = judge(Fault::Blurred, &pictures).pictures;
        let order: Vec<u128> = found.iter().map(|(id, _)| id.as_u128()).collect();
        assert_eq!(order, [101, 102, 100]);
        assert!((found[0].1 - 0.1).abs() < 1e-6);
    }
}
