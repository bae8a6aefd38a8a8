//! Labels that nearest neighbours suggest: for pictures that have none, and for those whose own
//! label their neighbours contradict, which may be a mistake.
//!
//! A picture's nearest labelled others vote, each weighted by how near it is. How often such a vote
//! is right follows from those that have a label: each is asked what the others would suggest for
//! it, and a logistic function fitted to the answers makes a confidence of every vote
//! (`calibration`; Platt, *Probabilistic outputs for support vector machines*, 1999). Labels that
//! are contradicted most clearly have no vote in a second round, so that mistakes do not confirm
//! each other.
//!
//! Contents count once. Of a content whose copies have different labels the label of the lowest id
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use lookalike_gallery::{Filter, Gallery, Payload, point_id};
use lookalike_neighbours::{Codes, Metric};
use rayon::prelude::*;
use serde::Serialize;
use uuid::Uuid;

use crate::contents::{Contents, MAX_EXACT, NO_LABEL, QUERIES, nearest_of};
use crate::{Error, Phase, Progress};

mod calibration;

use calibration::Calibration;

/// Own labels that the neighbours contradict with this confidence are suspected mistakes.
pub const SUSPECT_CONFIDENCE: f32 = 0.8;
/// Labels contradicted with this confidence have no vote in the second round.
const UNTRUSTED_CONFIDENCE: f32 = 0.5;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SuggestOptions {
    /// Labelled neighbours that vote.
    pub k: usize,
    /// Labels by the key or the id of their images, which count before those of the gallery.
    pub given: BTreeMap<String, String>,
    /// Whether labels of the gallery count where none is given.
    pub own: bool,
    /// Only the points that pass are looked at.
    pub filter: Option<Filter>,
}

impl Default for SuggestOptions {
    /// 10 neighbours, by the gallery's own labels.
    fn default() -> Self {
        Self {
            k: 10,
            given: BTreeMap::new(),
            own: true,
            filter: None,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestions {
    /// Points that were looked at.
    pub points: usize,
    /// Different contents among them.
    pub contents: usize,
    /// Contents that have a label.
    pub labelled: usize,
    /// Different labels.
    pub labels: usize,
    /// Neighbours that voted.
    pub k: usize,
    /// What codes were compared by.
    pub metric: Metric,
    /// Share of the labelled contents for which the others suggest their own label.
    pub agreement: Option<f64>,
    /// Whether confidences were fitted to the labels; with few labels they are shares of the votes.
    pub calibrated: bool,
    /// Given labels of which no image was found.
    pub unknown: usize,
    /// Given labels that are nobody's, since their key is that of different images in several
    /// sources.
    pub ambiguous: usize,
    /// For contents without a label, the most confident first.
    pub suggestions: Vec<Suggestion>,
    /// For contents whose label may be a mistake, the most confident first.
    pub mistakes: Vec<Suggestion>,
}

/// A label that neighbours suggest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The point's id; of several points of one content the lowest.
    pub id: Uuid,
    /// The label that counts for it, if there is one.
    pub own: Option<String>,
    /// The label that is suggested.
    pub suggested: String,
    /// How likely that is right, 0 to 1.
    pub confidence: f32,
    /// The nearest image with the suggested label.
    pub because_of: Uuid,
}

/// Asks the neighbours of every picture for its label.
///
/// # Errors
///
/// When the gallery cannot be read, or fewer than two different pictures have a label.
pub fn find(
    gallery: &dyn Gallery,
    options: &SuggestOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Suggestions, Error> {
    let filter = options.filter.as_ref();
    let contents = Contents::read(gallery, filter, true, &mut progress)?;
    let (labels, unknown, ambiguous) = Labels::of(&contents, options);
    if labels.rows.len() < 2 {
        return Err(Error::FewLabels {
            gallery: gallery.describe()?.name,
        });
    }
    let codes = contents.codes()?;
    let k = options.k.min(labels.rows.len() - 1).max(1);
    let voters = labels.voters(codes, contents.metric, k, |done| {
        progress(Progress::new(Phase::Comparing, done, contents.count));
    });
    let everybody = vec![true; contents.count];
    let first = Round::new(&labels, &voters, &everybody);
    let trusted: Vec<bool> = (0..contents.count)
        .map(|row| !first.contradicts(&labels, row, UNTRUSTED_CONFIDENCE))
        .collect();
    let round = Round::new(&labels, &voters, &trusted);
    let ids = contents.ids();
    let suggestion = |row: usize| {
        let vote = round.votes[row]?;
        Some(Suggestion {
            id: ids[row],
            own: labels.name(row).cloned(),
            suggested: labels.names[vote.label as usize].clone(),
            confidence: round.confidences[row],
            because_of: ids[vote.nearest as usize],
        })
    };
    let sorted = |rows: &mut dyn Iterator<Item = usize>| {
        let mut found: Vec<Suggestion> = rows.filter_map(suggestion).collect();
        found.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.id.cmp(&b.id)));
        found
    };
    let agreeing = labels.rows.iter().filter(|&&row| {
        round.votes[row as usize].is_some_and(|vote| vote.label == labels.of[row as usize])
    });
    Ok(Suggestions {
        points: contents.points.len(),
        contents: contents.count,
        labelled: labels.rows.len(),
        labels: labels.names.len(),
        k,
        metric: contents.metric,
        agreement: Some(agreeing.count() as f64 / labels.rows.len() as f64),
        calibrated: round.calibrated,
        unknown,
        ambiguous,
        suggestions: sorted(&mut (0..contents.count).filter(|&row| labels.of[row] == NO_LABEL)),
        mistakes: sorted(
            &mut (0..contents.count)
                .filter(|&row| round.contradicts(&labels, row, SUSPECT_CONFIDENCE)),
        ),
    })
}

/// What is known about the images of suggestions, in their order; those that are gone are left out.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn payloads<'a>(
    gallery: &dyn Gallery,
    suggestions: &'a [Suggestion],
) -> Result<Vec<(&'a Suggestion, Payload)>, Error> {
    let mut known = Vec::with_capacity(suggestions.len());
    for some in suggestions.chunks(QUERIES) {
        let ids: Vec<Uuid> = some.iter().map(|one| one.id).collect();
        let mut points = gallery.retrieve(&ids)?.into_iter().peekable();
        for one in some {
            if let Some(point) = points.next_if(|point| point.id == one.id) {
                known.push((one, point.payload));
            }
        }
    }
    Ok(known)
}

/// The labels that count.
struct Labels {
    names: Vec<String>,
    /// Of each content, an index of the names or [`NO_LABEL`].
    of: Vec<u32>,
    /// Contents that have one.
    rows: Vec<u32>,
}

impl Labels {
    /// The labels of contents, and how many of those given belong to no image, and to several.
    fn of(contents: &Contents, options: &SuggestOptions) -> (Self, usize, usize) {
        let mut given: Vec<Option<&str>> = vec![None; contents.count];
        let (mut unknown, mut ambiguous) = (0, 0);
        for (image, label) in &options.given {
            let ids = contents
                .sources
                .values()
                .map(|identity| point_id(identity, image));
            let ids = ids.chain(image.parse().ok());
            let at = |id: Uuid| {
                contents
                    .points
                    .binary_search_by_key(&id, |point| point.id)
                    .ok()
            };
            let found = ids.filter_map(at).map(|at| contents.points[at].content);
            let found: BTreeSet<u32> = found.collect();
            match found.len() {
                0 => unknown += 1,
                1 => found.into_iter().for_each(|content| {
                    given[content as usize].get_or_insert(label);
                }),
                _ => ambiguous += 1,
            }
        }
        if options.own {
            for point in contents
                .points
                .iter()
                .filter(|point| point.label != NO_LABEL)
            {
                let own = &contents.labels[point.label as usize];
                given[point.content as usize].get_or_insert(own);
            }
        }
        let names: BTreeSet<&str> = given.iter().copied().flatten().collect();
        let names: BTreeMap<&str, u32> = names.into_iter().zip(0..).collect();
        let of: Vec<u32> = given
            .iter()
            .map(|label| label.map_or(NO_LABEL, |label| names[label]))
            .collect();
        let rows = (0..).zip(&of).filter(|&(_, &label)| label != NO_LABEL);
        let labels = Self {
            rows: rows.map(|(row, _)| row).collect(),
            names: names.into_keys().map(str::to_owned).collect(),
            of,
        };
        (labels, unknown, ambiguous)
    }

    fn name(&self, row: usize) -> Option<&String> {
        self.names.get(self.of[row] as usize)
    }

    /// Of each code the `k` nearest labelled others, nearest first. `compared` hears how many have
    /// been compared.
    fn voters(
        &self,
        codes: Codes,
        metric: Metric,
        k: usize,
        mut compared: impl FnMut(usize),
    ) -> Vec<Vec<(u32, f32)>> {
        let labelled: Vec<f32> = self
            .rows
            .iter()
            .flat_map(|&row| codes.row(row as usize))
            .copied()
            .collect();
        let labelled = Codes::new(&labelled, codes.dims()).expect("they are some of the codes");
        // One more, for each that is labelled is among its own nearest.
        let by_cells = labelled.len() > MAX_EXACT;
        let nearest = nearest_of(labelled, metric, k + 1, codes.len(), by_cells);
        let mut voters = Vec::with_capacity(codes.len());
        for start in (0..codes.len()).step_by(QUERIES) {
            let end = (start + QUERIES).min(codes.len());
            let queries = codes.rows(start, end);
            voters.extend((start..).zip(nearest(queries)).map(|(row, near)| {
                let near = near
                    .into_iter()
                    .map(|near| (self.rows[near.index], near.distance));
                let others = near.filter(|&(other, _)| other as usize != row);
                others.take(k).collect()
            }));
            compared(end);
        }
        voters
    }
}

/// What the neighbours of a picture say.
#[derive(Clone, Copy)]
struct Vote {
    /// The label with the most weight.
    label: u32,
    /// Its share of all weight, with half a vote more for each other one.
    share: f32,
    /// How far the voters are, on average.
    distance: f32,
    /// The nearest voter for this label.
    nearest: u32,
}

impl Vote {
    fn of(labels: &Labels, voters: &[(u32, f32)], trusted: &[bool]) -> Option<Self> {
        let voters = || voters.iter().filter(|&&(row, _)| trusted[row as usize]);
        let farthest = voters()
            .map(|&(_, distance)| distance)
            .fold(0.0f32, f32::max);
        let mut weights: Vec<(u32, f32, u32)> = Vec::new();
        let (mut all, mut sum, mut count) = (0.0, 0.0, 0);
        for &(row, distance) in voters() {
            // From 1 for what is there to an eighth for the farthest.
            let near = if farthest > 0.0 {
                distance / farthest
            } else {
                0.0
            };
            let weight = (-2.0 * near * near).exp();
            let label = labels.of[row as usize];
            match weights.iter_mut().find(|(known, ..)| *known == label) {
                Some((_, known, _)) => *known += weight,
                None => weights.push((label, weight, row)),
            }
            all += weight;
            sum += distance;
            count += 1;
        }
        // Of equal ones that of the nearest voter.
        let best = weights.into_iter().rev().max_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(label, weight, nearest)| Self {
            label,
            share: weight / (all + 0.5),
            distance: sum / count as f32,
            nearest,
        })
    }
}

/// Votes about all, and what they are worth.
struct Round {
    votes: Vec<Option<Vote>>,
    confidences: Vec<f32>,
    calibrated: bool,
}

impl Round {
    /// Lets those vote who are trusted.
    fn new(labels: &Labels, voters: &[Vec<(u32, f32)>], trusted: &[bool]) -> Self {
        let votes: Vec<Option<Vote>> = voters
            .par_iter()
            .map(|voters| Vote::of(labels, voters, trusted))
            .collect();
        let known = labels.rows.iter().filter_map(|&row| {
            let vote = votes[row as usize]?;
            Some((
                vote.share,
                vote.distance,
                vote.label == labels.of[row as usize],
            ))
        });
        let calibration = Calibration::fit(&known.collect::<Vec<_>>());
        let confidence = |vote: &Option<Vote>| match (vote, &calibration) {
            (None, _) => 0.0,
            (Some(vote), Some(fitted)) => fitted.confidence(vote.share, vote.distance),
            (Some(vote), None) => vote.share,
        };
        Self {
            confidences: votes.iter().map(confidence).collect(),
            calibrated: calibration.is_some(),
            votes,
        }
    }

    /// Whether the neighbours are so confident that a label is another.
    fn contradicts(&self, labels: &Labels, row: usize, confidence: f32) -> bool {
        let own = labels.of[row];
        let other = self.votes[row].is_some_and(|vote| vote.label != own);
        own != NO_LABEL && other && self.confidences[row] >= confidence
    }
}
