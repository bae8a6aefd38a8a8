//! A gallery's pictures in groups of what looks alike, found without labels.
//!
//! Groups are communities of the graph of nearest neighbours ([`Communities`]); how many there are
//! follows from the pictures, unless a number is asked for. Pictures that hang together with fewer
//! others than a group must have are in none. Contents count once, however many copies of a picture
//! there are; copies are in the group of their content.
//!
//! Every member has a score of how typical it is, 1 to 0: the share of its links that stay in the
//! group, times how near its nearest neighbours in the group are, compared with what is usual there
//! (1 for what is as near or nearer). Members are listed the most typical first, so that a group's
//! outliers are last.

use std::collections::{BTreeMap, HashMap};

use lookalike_gallery::{Filter, Gallery, Point, Points};
use lookalike_neighbours::{Codes, Communities, Metric};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::contents::{Contents, NO_LABEL};
use crate::indexing::bring_up_to_date;
use crate::{Error, Phase, Progress};

mod typical;

use typical::Members;

/// The extra field in which groups are kept, see [`keep`].
pub const GROUP_FIELD: &str = "group";
/// Members with a score below this are outliers of their group.
pub const OUTLIER_SCORE: f32 = 0.3;

/// Neighbours by which pictures hang together.
const NEIGHBOURS: usize = 15;
/// A label names a group if it has this share of all members.
const MIN_NAMING_SHARE: f64 = 0.5;
/// Labels that are listed of a group, the most frequent ones.
const MAX_LABELS: usize = 5;
/// Points that are stored at a time.
const BATCH: usize = 1_000;

/// How groups are found.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupOptions {
    /// How many there are to be; without it, as many as stand out.
    pub count: Option<usize>,
    /// Different pictures that a group has at least.
    pub min_size: usize,
    /// Only the points that pass are looked at.
    pub filter: Option<Filter>,
}

impl Default for GroupOptions {
    /// As many groups as stand out, of 5 different pictures and more.
    fn default() -> Self {
        Self {
            count: None,
            min_size: 5,
            filter: None,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Groups {
    /// Points that were looked at.
    pub points: usize,
    /// Different contents among them.
    pub contents: usize,
    /// What codes were compared by.
    pub metric: Metric,
    /// The most groups that can be asked for.
    pub max_count: usize,
    /// Points that are in no group.
    pub ungrouped: usize,
    /// The largest first.
    pub groups: Vec<Group>,
}

/// Pictures that look alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// From 1 on, the group with the most different pictures first.
    pub number: usize,
    /// Its points.
    pub size: usize,
    /// The label of most of its points, where there is one.
    pub name: Option<String>,
    /// The most frequent labels, the most frequent first.
    pub labels: Vec<LabelShare>,
    /// A few typical pictures that differ from each other: first the one in the middle.
    pub typical: Vec<Uuid>,
    /// How many of the members are outliers, the last ones.
    pub outliers: usize,
    /// All of its points, the most typical first.
    pub members: Vec<Member>,
}

/// How often a label occurs in a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelShare {
    /// The label.
    pub label: String,
    /// Points of the group that have it.
    pub count: usize,
    /// The same as a share of all points of the group.
    pub share: f64,
}

/// A point of a group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Member {
    /// The point's id.
    pub id: Uuid,
    /// How typical it is, 1 to 0.
    pub score: f32,
}

/// Finds the groups of a gallery.
///
/// Needs its codes in memory, and takes about as long as comparing all of them.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn find(
    gallery: &dyn Gallery,
    options: &GroupOptions,
    progress: impl FnMut(Progress),
) -> Result<Groups, Error> {
    find_and_visit(gallery, options, |_| {}, progress)
}

/// As [`find`]; `visit` is given every point that passes the filter, in the order of the ids, so
/// that a caller who needs more of them than their groups need not read the gallery again.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn find_and_visit(
    gallery: &dyn Gallery,
    options: &GroupOptions,
    visit: impl FnMut(&Point),
    mut progress: impl FnMut(Progress),
) -> Result<Groups, Error> {
    let filter = options.filter.as_ref();
    let contents = Contents::read_and_visit(gallery, filter, true, visit, &mut progress)?;
    let mut neighbours: Vec<Vec<u32>> = Vec::with_capacity(contents.count);
    let mut distances: Vec<Vec<f32>> = Vec::with_capacity(contents.count);
    if contents.count > 0 {
        let visit = |_, others: &[lookalike_neighbours::Neighbour]| {
            neighbours.push(others.iter().map(|other| other.index as u32).collect());
            distances.push(others.iter().map(|other| other.distance).collect());
        };
        contents.neighbours(NEIGHBOURS, visit, &mut progress)?;
    }
    progress(Progress::new(Phase::Grouping, 0, contents.count));
    let communities = Communities::new(&neighbours, options.min_size);
    let of = match options.count {
        Some(count) => communities.divided(count),
        None => communities.natural(),
    };
    let belonging = communities.belonging(&of);
    let scores = typical::scores(&of, &belonging, &neighbours, &distances);
    progress(Progress::new(
        Phase::Grouping,
        contents.count,
        contents.count,
    ));
    let count = of
        .iter()
        .flatten()
        .max()
        .map_or(0, |&last| last as usize + 1);
    let mut members: Vec<Members> = vec![Members::default(); count];
    for (row, group) in of.iter().enumerate() {
        if let Some(group) = group {
            members[*group as usize].push(row as u32, scores[row]);
        }
    }
    let mut points: Vec<Vec<(Member, u32)>> = vec![Vec::new(); count];
    for point in &contents.points {
        let row = point.content as usize;
        if let Some(group) = of[row] {
            let member = Member {
                id: point.id,
                score: scores[row],
            };
            points[group as usize].push((member, point.label));
        }
    }
    let ids = contents.ids();
    let codes = match contents.count {
        0 => None,
        _ => Some(contents.codes()?),
    };
    let grouped: usize = points.iter().map(Vec::len).sum();
    let groups = points.into_iter().zip(members).zip(1..);
    Ok(Groups {
        points: contents.points.len(),
        contents: contents.count,
        metric: contents.metric,
        max_count: communities.max_count(),
        ungrouped: contents.points.len() - grouped,
        groups: groups
            .map(|((points, members), number)| {
                let rows = codes.map_or_else(Vec::new, |codes: Codes| {
                    members.typical(codes, contents.metric)
                });
                let typical = rows.into_iter().map(|row| ids[row as usize]).collect();
                group(number, points, typical, &contents.labels)
            })
            .collect(),
    })
}

fn group(
    number: usize,
    mut points: Vec<(Member, u32)>,
    typical: Vec<Uuid>,
    names: &[String],
) -> Group {
    points.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    let size = points.len();
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for &(_, label) in points.iter().filter(|&&(_, label)| label != NO_LABEL) {
        *counts.entry(label).or_default() += 1;
    }
    let mut labels: Vec<LabelShare> = counts
        .into_iter()
        .map(|(label, count)| LabelShare {
            label: names[label as usize].clone(),
            count,
            share: count as f64 / size as f64,
        })
        .collect();
    labels.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.label.cmp(&b.label)));
    labels.truncate(MAX_LABELS);
    let first = labels
        .first()
        .filter(|first| first.share > MIN_NAMING_SHARE);
    Group {
        number,
        size,
        name: first.map(|first| first.label.clone()),
        labels,
        typical,
        outliers: points
            .iter()
            .filter(|(member, _)| member.score < OUTLIER_SCORE)
            .count(),
        members: points.into_iter().map(|(member, _)| member).collect(),
    }
}

/// What keeping groups did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Points whose group is new, another, or gone.
    pub changed: usize,
    /// Points that are in a group.
    pub grouped: usize,
}

/// Keeps groups in the gallery: the number of each member's group becomes its extra field
/// [`GROUP_FIELD`], which filters and facets know (`group=3`). A point in none of these groups has
/// none any more. Indexing the images again leaves that as it is; an image that has changed, or is
/// new, is in no group.
///
/// # Errors
///
/// When the gallery cannot be written, or images have a field of that name from their source.
pub fn keep(
    gallery: &dyn Gallery,
    groups: &Groups,
    mut progress: impl FnMut(Progress),
) -> Result<Kept, Error> {
    let mut numbers: Vec<(Uuid, usize)> = groups
        .groups
        .iter()
        .flat_map(|group| group.members.iter().map(|member| (member.id, group.number)))
        .collect();
    numbers.sort_unstable();
    let number = |id: Uuid| {
        let at = numbers.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Some(Value::from(numbers[at].1))
    };
    // Refused before anything changes.
    for point in Points::new(gallery, None) {
        let mut point = point?;
        if number(point.id).is_some_and(|number| !point.payload.keep(GROUP_FIELD, Some(number))) {
            return Err(Error::OwnGroups {
                gallery: gallery.describe()?.name,
                image: point.payload.key,
            });
        }
    }
    let mut kept = Kept {
        grouped: numbers.len(),
        ..Kept::default()
    };
    let mut batch: Vec<Point> = Vec::new();
    let mut store = |batch: &mut Vec<Point>| -> Result<(), Error> {
        // Since these were read, others may have deleted images, which must not come back, or
        // changed them.
        let ids: Vec<Uuid> = batch.iter().map(|point| point.id).collect();
        let seen = batch
            .drain(..)
            .map(|point| (point.id, point.payload.blake3));
        let seen: HashMap<Uuid, String> = seen.collect();
        let mut there = gallery.retrieve(&ids)?;
        there.retain(|point| seen.get(&point.id) == Some(&point.payload.blake3));
        for point in &mut there {
            point.payload.keep(GROUP_FIELD, number(point.id));
        }
        kept.changed += gallery.upsert(&there)?.changed;
        Ok(())
    };
    for (point, done) in Points::new(gallery, None).zip(1..) {
        let mut point = point?;
        let before = point.payload.extra.get(GROUP_FIELD).cloned();
        point.payload.keep(GROUP_FIELD, number(point.id));
        if point.payload.extra.get(GROUP_FIELD) != before.as_ref() {
            batch.push(point);
        }
        if batch.len() == BATCH {
            store(&mut batch)?;
            progress(Progress::new(Phase::Storing, done, groups.points));
        }
    }
    store(&mut batch)?;
    bring_up_to_date(gallery, false)?;
    Ok(kept)
}
