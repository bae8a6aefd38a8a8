//! Pictures that a gallery holds more than once: byte for byte, or nearly.
//!
//! *Exact* duplicates have the same content (BLAKE3). *Near* ones are told in one of two ways
//! ([`Measure`]): pictures whose codes are near are compared themselves, small, by the thumbnails
//! that the gallery keeps; or, where a threshold is given or there are no thumbnails, those with
//! codes within a threshold of each other, given or [suggested](suggest) by the data, are near.
//!
//! Each group has a representative, the largest picture by pixels, then by bytes, then the one with
//! the lowest id, and [every other](group) is near to it: nothing is in a group because it is like
//! something that is like something. What that leaves alone beside a group is counted
//! ([`Duplicates::left_alone`]).
//!
//! Nothing is ever deleted or changed: this is a report. [`decide`] says which copies would be
//! kept, by rules that are given, and [`plan`] what would be done with the others, as a script
//! that a person reads and runs. Two points may also be one and the same
//! file, under two names or indexed under two sources; such members are [marked](Kind::SameFile),
//! for deleting one would delete both. Files that are not there any more are [marked](Kind::Gone)
//! as well: they never represent a group, and a group of which only one file is left is not
//! reported.
//!
//! All different contents are compared with each other, exactly, so time grows with the square of
//! their number: see `docs/quality-findings.md`. Memory holds their codes, and some tens of bytes a
//! point.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use lookalike_gallery::{Filter, Gallery, Payload};
use lookalike_neighbours::Metric;
use serde::Serialize;
use uuid::Uuid;

use crate::contents::Contents;
use crate::presence::Presences;
use crate::{Encoder, Error, Progress};
use across::Across;
use classes::{Classes, Gathered, described};
use near::Near;

mod across;
mod border;
mod classes;
mod decisions;
mod files;
mod grouping;
mod keeping;
mod miniature;
mod near;
mod pictures;
mod plan;
mod scope;
mod script;
mod sharpness;
mod threshold;
mod turned;

pub use border::{Example, Examples};
pub use decisions::{Decided, Decisions};
pub use grouping::{Placed, group};
pub use keeping::{Detail, KeepOptions, KeepRule, Verdict, decide, details, lies_in, verdicts_on};
pub use pictures::MAX_DIFFERENCE;
pub use plan::{Action, Check, Left, LeftBecause, Plan, Step, plan};
pub use scope::{Overlap, Scope};
pub use threshold::{Nearness, Suggestion, suggest};

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuplicateOptions {
    /// The largest distance of the code of a near duplicate from that of its representative. None:
    /// pictures are compared themselves or, without thumbnails, by a threshold as
    /// [suggested](suggest).
    pub threshold: Option<f32>,
    /// Only exact duplicates; codes are not read then.
    pub exact_only: bool,
    /// Only among the points that pass.
    pub filter: Option<Filter>,
    /// Return the largest groups only, so many; all are counted.
    pub limit: Option<usize>,
    /// Which pictures may be in one group.
    pub scope: Scope,
}

/// Why a picture is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It represents the group.
    Representative,
    /// Its content is the representative's, byte for byte.
    Exact,
    /// It is nearly the representative.
    Near,
    /// It is the file of an earlier member of the group: a link, or one file that was indexed
    /// twice.
    SameFile,
    /// Its file is not there any more.
    Gone,
}

impl Kind {
    /// The name in JSON and CSV: `representative`, `exact`, `near`, `same-file`, `gone`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Representative => "representative",
            Self::Exact => "exact",
            Self::Near => "near",
            Self::SameFile => "same-file",
            Self::Gone => "gone",
        }
    }
}

/// How near duplicates were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Pictures were compared with each other, at 32x32 pixels: a near duplicate differs by at most
    /// [`MAX_DIFFERENCE`], and much less than what else its code is near to.
    Pictures,
    /// By the distance between codes alone.
    Codes,
}

/// A picture in a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// The point's id.
    pub id: Uuid,
    /// Why it is in the group.
    pub kind: Kind,
    /// Distance of its code from the representative's; 0 for the same content.
    pub distance: f32,
    /// How much a near duplicate differs from the representative, where pictures were compared: 1
    /// less the correlation of the two, and half of how their colours differ. 0 is the same
    /// picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f32>,
    /// How the representative must be turned to be this one, where it must
    /// ([`Turn::name`](lookalike_images::Turn::name)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turned: Option<&'static str>,
    /// What is known about it: source, key, location, size.
    #[serde(flatten)]
    pub payload: Payload,
}

/// Pictures that are one, or nearly: the representative, its exact copies, then the others, nearest
/// first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// At least two, the representative first.
    pub members: Vec<Member>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Duplicates {
    /// Points that were looked at.
    pub points: usize,
    /// Different contents among them.
    pub contents: usize,
    /// What codes were compared by: the gallery's metric, or cosine where that is the inner
    /// product, of which a picture with itself says nothing.
    pub metric: Metric,
    /// How near duplicates were told; none if only exact ones were looked for.
    pub measure: Option<Measure>,
    /// The threshold for near duplicates by their codes; none if they were told otherwise, or no
    /// near ones stand out.
    pub threshold: Option<f32>,
    /// How the threshold was found; none if it was given, or there is none to be found.
    pub suggestion: Option<Suggestion>,
    /// Pictures that were compared with no other, because the gallery has no thumbnail of them.
    pub not_compared: usize,
    /// How many groups there are.
    pub group_count: usize,
    /// Files in groups, besides the representatives, of the representative's content.
    pub exact: usize,
    /// Files in groups, besides the representatives, of other content.
    pub near: usize,
    /// Points in groups that are the file of another member under a second name.
    pub same_file: usize,
    /// Points that would be in groups, and whose files are not there any more.
    pub gone: usize,
    /// Contents near to some picture in a group, but not to its representative, and in no group;
    /// counted only where all pictures may be in groups together.
    pub left_alone: usize,
    /// How two parts of the gallery overlap, where only groups across both were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// Pictures that are just near to each other, and such as are just not; none if no near ones
    /// were looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<Examples>,
    /// The groups, the largest first (of equals, that of the lowest id of a representative), as
    /// many as asked for.
    pub groups: Vec<Group>,
}

/// Finds the duplicates among the points of a gallery; nothing is changed.
///
/// # Errors
///
/// When the gallery cannot be read, or a given threshold is no number of at least 0.
pub fn find(
    gallery: &dyn Gallery,
    options: &DuplicateOptions,
    progress: impl FnMut(Progress),
) -> Result<Duplicates, Error> {
    find_by(gallery, options, None, progress)
}

/// The same, and mirrored and rotated copies. The thumbnail of every picture is turned in seven
/// ways and encoded with the gallery's encoder: that costs seven encodings for each picture.
///
/// # Errors
///
/// As [`find`]; also where pictures are not compared themselves, because a threshold was given,
/// only exact duplicates are asked for or the gallery has no thumbnails, and when the encoder
/// fails.
pub fn find_turned(
    gallery: &dyn Gallery,
    options: &DuplicateOptions,
    encoder: &dyn Encoder,
    progress: impl FnMut(Progress),
) -> Result<Duplicates, Error> {
    if options.exact_only || options.threshold.is_some() {
        return Err(Error::Unusable(
            "cannot look for turned copies by content or by a distance between codes: they are told by comparing \
             pictures"
                .to_owned(),
        ));
    }
    find_by(gallery, options, Some(encoder), progress)
}

fn find_by(
    gallery: &dyn Gallery,
    options: &DuplicateOptions,
    encoder: Option<&dyn Encoder>,
    mut progress: impl FnMut(Progress),
) -> Result<Duplicates, Error> {
    if let Some(threshold) = options.threshold
        && (threshold.is_nan() || threshold < 0.0)
    {
        return Err(Error::Unusable(format!(
            "cannot look for duplicates within a distance of {threshold}: give a number of at least 0"
        )));
    }
    if options.exact_only && options.threshold.is_some() {
        return Err(Error::Unusable(
            "cannot look for exact duplicates within a distance: give a threshold, or ask for exact ones only".to_owned(),
        ));
    }
    let filter = options.filter.as_ref();
    let mut contents = Contents::read(gallery, filter, !options.exact_only, &mut progress)?;
    let points = std::mem::take(&mut contents.points);
    let mut classes = Classes::new(points, contents.count, &options.scope);
    let presences = Presences::of(&gallery.describe()?);
    let mut found = Duplicates {
        points: classes.points.len(),
        contents: contents.count,
        metric: contents.metric,
        measure: None,
        threshold: options.threshold.filter(|_| !options.exact_only),
        suggestion: None,
        not_compared: 0,
        group_count: 0,
        exact: 0,
        near: 0,
        same_file: 0,
        gone: 0,
        left_alone: 0,
        overlap: None,
        examples: None,
        groups: Vec::new(),
    };
    let mut near = match (options.exact_only, options.threshold) {
        (true, _) => None,
        (false, Some(threshold)) => Some(Near::within(threshold, &contents, &mut progress)?),
        (false, None) => {
            let (found, progress) = (&mut found, &mut progress);
            let told = Near::told(gallery, &contents, &classes, encoder, found, progress)?;
            Some(told)
        }
    };
    found.measure = near.as_ref().map(Near::measure);
    if let Some(near) = &mut near {
        let border = near.take_border();
        found.examples = Some(border.examples(gallery, &contents, &classes)?);
    }
    let is_copied = |content: &u32| classes.of(*content as usize).len() > 1;
    let mut copied: BTreeSet<u32> = (0..contents.count as u32).filter(is_copied).collect();
    let mut is_near = vec![false; contents.count];
    for content in near.iter().flat_map(Near::contents) {
        is_near[content as usize] = true;
        copied.insert(content);
    }
    classes.look_at(gallery, &presences, &copied)?;

    let mut gathered: Vec<Gathered> = Vec::new();
    for (within, contents_within) in classes.divide(copied.iter()) {
        let (order, alone): (Vec<u32>, Vec<u32>) = contents_within
            .into_iter()
            .partition(|&content| is_near[content as usize]);
        let order = classes.in_order(order, within);
        let mut places = match &near {
            Some(near) => near.group(&order, &contents)?,
            None => Vec::new(),
        };
        if options.scope == Scope::All {
            found.left_alone += places.iter().filter(|group| group.len() == 1).count();
        }
        // Contents with nothing near them have only their copies.
        let alone = alone.into_iter();
        places.extend(alone.map(|content| vec![Placed::first(content as usize)]));
        let groups = places.into_iter().map(|placed| Gathered { placed, within });
        gathered.extend(groups.filter(|group| classes.size(group) > 1));
    }
    let mut groups = Vec::new();
    if let Scope::Across(one, other) = &options.scope {
        let across = Across::of(&contents, &classes, near.as_ref(), &copied, gathered)?;
        gathered = across.groups;
        found.overlap = Some(Overlap {
            parts: [one, other].map(Filter::to_string),
            points: scope::points(gallery, filter, [one, other])?,
            copied: across.copied,
        });
    }
    for group in gathered {
        let (size, here) = (classes.size(&group), classes.here(&group));
        found.gone += size - here;
        // Of groups that have lost all but one image, nothing is left to report.
        if here > 1 {
            groups.push((size, classes.first(&group), group));
        }
    }
    groups.sort_by_key(|&(size, first, _)| (Reverse(size), first));
    found.group_count = groups.len();
    for (_, _, group) in &groups {
        for (_, _, kind) in classes.members(group) {
            match kind {
                Kind::Exact => found.exact += 1,
                Kind::Near => found.near += 1,
                Kind::SameFile => found.same_file += 1,
                Kind::Representative | Kind::Gone => {}
            }
        }
    }
    groups.truncate(options.limit.unwrap_or(usize::MAX));
    for (_, _, group) in &groups {
        let group = described(gallery, &classes, group)?;
        // Points may have gone since they were read.
        if group.members.len() > 1 {
            found.groups.push(group);
        }
    }
    Ok(found)
}
