//! Images that are there more than once, or nearly.

use axum::extract::State;
use axum::response::Response;
use lookalike::duplicates;
use lookalike::gallery::Point;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::border::{Examples, FoundBorder};
use super::copies::Keeping;
use super::wanted::Wanted;
use super::{Computed, Finding, What, answer, mismatch, points};
use crate::access::Client;
use crate::api::images::check_limit;
use crate::api::{Answered, RefusedWork, Shared};
use crate::body::InQuery;
use crate::problem::Problem;
use crate::service::Service;
use crate::types::{Image, Working};

/// The most members of one answer.
const MAX_MEMBERS: usize = 10_000;

/// Duplicates without facts about their images.
pub(super) struct FoundDuplicates {
    totals: Totals,
    overlap: Option<duplicates::Overlap>,
    border: Option<FoundBorder>,
    groups: Vec<Vec<FoundMember>>,
}

#[derive(Clone, Copy)]
struct FoundMember {
    id: Uuid,
    kind: duplicates::Kind,
    distance: f32,
    difference: Option<f32>,
    turned: Option<&'static str>,
}

/// Which duplicates to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DuplicatesOf {
    /// The largest distance of a near duplicate, rounded to three digits; none: one that the
    /// collection suggests.
    #[param(minimum = 0)]
    threshold: Option<f32>,
    /// Only the same content.
    #[serde(default)]
    exact_only: bool,
    /// Mirrored and rotated copies too, which takes seven encodings of each image; not with
    /// `threshold` or `exact_only`.
    #[serde(default)]
    turned: bool,
    /// Only groups with images of both of two parts of the gallery, one a line, each a source or a
    /// condition.
    #[param(example = "split=train\nsplit=test")]
    across: Option<String>,
    /// Only copies of images that lie in the same folder.
    #[serde(default)]
    within_folder: bool,
    /// How many groups, the largest first; 1 to 1,000.
    #[serde(default = "default_groups")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
    /// How many groups to pass over; their order stays while `computed` does.
    #[serde(default)]
    offset: usize,
    /// How many members of each group; 1 to 1,000, and 10,000 in all groups together.
    #[serde(default = "default_members")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    members: usize,
    /// How many members of each group to pass over, to see more of large ones.
    #[serde(default)]
    members_offset: usize,
    /// Also say which members are kept, of groups that are listed whole, by these rules in their
    /// order, joined by commas: `resolution`, `sharpness` (of at most 200 images), `format`,
    /// `bytes`, `folder`, `oldest`, `newest`.
    #[param(example = "resolution,format,bytes,oldest")]
    keep: Option<String>,
    /// Folders to keep images in, one a line, the most preferred first, for the rule `folder`.
    prefer: Option<String>,
    /// One image of each group is kept, and near copies give way; otherwise one of each content.
    #[serde(default)]
    near: bool,
}

fn default_groups() -> usize {
    100
}

fn default_members() -> usize {
    100
}

/// Images that are there more than once, or nearly.
#[derive(Serialize, ToSchema)]
pub(crate) struct Duplicates {
    #[serde(flatten)]
    computed: Computed,
    #[serde(flatten)]
    totals: Totals,
    /// How the two parts overlap, where groups across both were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<Overlap>,
    /// Images that are just near to each other, and such as are just not; absent if no near ones
    /// were looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    examples: Option<Examples>,
    groups: Vec<Group>,
}

/// How two parts of the gallery overlap.
#[derive(Serialize, ToSchema)]
struct Overlap {
    /// The conditions of the two parts.
    parts: Vec<String>,
    /// Images in each.
    points: Vec<usize>,
    /// Those of each part that are in a group with another image of the other part.
    copied: Vec<usize>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Totals {
    /// Images that were looked at.
    points: usize,
    /// Different contents among them.
    contents: usize,
    #[schema(value_type = String, example = "cosine")]
    metric: lookalike::neighbours::Metric,
    /// How near duplicates were told: `pictures` (compared themselves, small) or `codes` (within
    /// the threshold); null if none were looked for.
    #[schema(value_type = Option<String>, example = "pictures")]
    measure: Option<duplicates::Measure>,
    /// The largest distance of the code of a near duplicate; null if they were told otherwise, no
    /// near ones stand out, or none were looked for.
    threshold: Option<f32>,
    /// Different contents that were compared with no other, for want of a thumbnail.
    not_compared: usize,
    group_count: usize,
    /// Images in groups, besides the representatives, of the same content.
    exact: usize,
    /// Images in groups, besides the representatives, of other content.
    near: usize,
    /// Contents near to some image of a group but not to its representative.
    left_alone: usize,
}

#[derive(Serialize, ToSchema)]
struct Group {
    /// How many members were found; `members` may be only some of them.
    size: usize,
    /// The representative first.
    members: Vec<Member>,
    /// Which members are kept, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept: Vec<Kept>,
}

/// Of some copies, which is kept and why.
#[derive(Serialize, ToSchema)]
struct Kept {
    /// The image that is kept.
    kept: Uuid,
    /// Others that are kept as well, by decision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept_too: Vec<Uuid>,
    /// Those that give way.
    copies: Vec<Uuid>,
    /// Why this one is kept, in words.
    reason: String,
}

#[derive(Serialize, ToSchema)]
struct Member {
    image: Image,
    /// `representative`, `exact`, `near`, `same-file` or `gone`.
    #[schema(value_type = String, example = "near")]
    kind: duplicates::Kind,
    /// Of its code from the representative's.
    distance: f32,
    /// How much a near duplicate differs from the representative, where pictures were compared: 0
    /// is the same picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<f32>,
    /// How the representative must be turned to be this one, where it must.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "rotated-90")]
    turned: Option<&'static str>,
    /// Whether a person decided that it is kept, where it was asked what is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided: Option<bool>,
}

impl From<duplicates::Duplicates> for FoundDuplicates {
    fn from(found: duplicates::Duplicates) -> Self {
        let member = |member: duplicates::Member| FoundMember {
            id: member.id,
            kind: member.kind,
            distance: member.distance,
            difference: member.difference,
            turned: member.turned,
        };
        let group =
            |group: duplicates::Group| group.members.into_iter().map(member).collect::<Vec<_>>();
        Self {
            totals: Totals {
                points: found.points,
                contents: found.contents,
                metric: found.metric,
                measure: found.measure,
                threshold: found.threshold,
                not_compared: found.not_compared,
                group_count: found.group_count,
                exact: found.exact,
                near: found.near,
                left_alone: found.left_alone,
            },
            overlap: found.overlap,
            border: found.examples.map(Into::into),
            groups: found.groups.into_iter().map(group).collect(),
        }
    }
}

impl FoundDuplicates {
    pub(super) fn bytes(&self) -> usize {
        let group = |group: &Vec<FoundMember>| size_of_val(group) + size_of_val(&group[..]);
        self.groups.iter().map(group).sum()
    }

    /// What is asked for of it, of images that are there.
    fn listed(
        &self,
        service: &Service,
        of: &DuplicatesOf,
        computed: Computed,
    ) -> Answered<Duplicates> {
        let mut left = MAX_MEMBERS;
        let mut chosen: Vec<(&[FoundMember], &[FoundMember])> = Vec::new();
        for group in self.groups.iter().skip(of.offset).take(of.limit) {
            let shown = &group[of.members_offset.min(group.len())..];
            let shown = &shown[..shown.len().min(of.members).min(left)];
            left -= shown.len();
            chosen.push((group, shown));
            if left == 0 {
                break;
            }
        }
        // The representative as well, for whether it is still there decides what the others are.
        let ids = chosen
            .iter()
            .flat_map(|(group, shown)| group[..1].iter().chain(*shown));
        let mut points = points(service, ids.map(|member| member.id))?;
        let mut whole: Vec<(usize, duplicates::Group)> = Vec::new();
        let mut listed: Vec<Group> = Vec::new();
        for (group, shown) in chosen {
            let has_representative = points.contains_key(&group[0].id);
            // A point may be asked for by one group only.
            let mut live: Vec<(FoundMember, Point)> = shown
                .iter()
                .filter_map(|member| Some((*member, points.remove(&member.id)?)))
                .collect();
            if !has_representative {
                represent_by_first(&mut live, self.totals.metric);
            }
            let gone = shown.len() - live.len();
            let size = group.len() - gone;
            if size < 2 || live.is_empty() && gone > 0 {
                continue;
            }
            if of.keep.is_some() && live.len() == size {
                let members = live.iter().map(|(member, point)| duplicates::Member {
                    id: point.id,
                    kind: member.kind,
                    distance: member.distance,
                    difference: member.difference,
                    turned: member.turned,
                    payload: point.payload.clone(),
                });
                let members = members.collect();
                whole.push((listed.len(), duplicates::Group { members }));
            }
            listed.push(Group {
                size,
                members: live
                    .into_iter()
                    .map(|(member, point)| Member {
                        image: Image::new(point.id, point.payload),
                        kind: member.kind,
                        distance: member.distance,
                        difference: member.difference,
                        turned: member.turned,
                        decided: None,
                    })
                    .collect(),
                kept: Vec::new(),
            });
        }
        if of.keep.is_some() {
            let keeping = Keeping::read(of.keep.as_deref(), of.prefer.as_deref(), of.near)?;
            judge(service, keeping, whole, &mut listed)?;
        }
        Ok(Duplicates {
            computed,
            totals: self.totals,
            overlap: self.overlap.as_ref().map(|overlap| Overlap {
                parts: overlap.parts.to_vec(),
                points: overlap.points.to_vec(),
                copied: overlap.copied.to_vec(),
            }),
            examples: match &self.border {
                Some(border) => Some(border.listed(service)?),
                None => None,
            },
            groups: listed,
        })
    }
}

/// Says of groups that are listed whole, each with its number among those listed, what is kept.
fn judge(
    service: &Service,
    keeping: Keeping,
    whole: Vec<(usize, duplicates::Group)>,
    listed: &mut [Group],
) -> Answered<()> {
    let (numbers, groups): (Vec<usize>, Vec<duplicates::Group>) = whole.into_iter().unzip();
    let (verdicts, options) = keeping.decide(service, &groups)?;
    for number in &numbers {
        for member in &mut listed[*number].members {
            member.decided = options.decided.get(&member.image.id).copied();
        }
    }
    for verdict in verdicts {
        listed[numbers[verdict.group - 1]].kept.push(Kept {
            kept: verdict.kept,
            kept_too: verdict.kept_too,
            copies: verdict.copies,
            reason: verdict.reason,
        });
    }
    Ok(())
}

/// Lets the first of a group whose representative is gone represent it.
fn represent_by_first(members: &mut [(FoundMember, Point)], metric: lookalike::neighbours::Metric) {
    let Some(((first, by), others)) = members.split_first_mut() else {
        return;
    };
    (first.kind, first.distance) = (duplicates::Kind::Representative, 0.0);
    (first.difference, first.turned) = (None, None);
    for (member, point) in others {
        // How it was turned was said of the one that is gone.
        member.turned = None;
        let is_same = point.payload.blake3 == by.payload.blake3;
        if member.kind != duplicates::Kind::SameFile {
            member.kind = match is_same {
                true => duplicates::Kind::Exact,
                false => duplicates::Kind::Near,
            };
        }
        member.distance = match is_same {
            true => 0.0,
            false => metric.distance(&by.code, &point.code),
        };
    }
}

/// Images that are there more than once, or nearly.
#[utoipa::path(
    get, path = "/duplicates", tag = "gallery", params(DuplicatesOf),
    responses(
        (status = 200, description = "The groups", body = Duplicates),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn duplicates(
    State(service): Shared,
    client: Client,
    InQuery(of): InQuery<DuplicatesOf>,
) -> Answered<Response> {
    check_limit(of.limit)?;
    check_limit(of.members)?;
    // What is kept is asked for in words: whether they mean anything is known at once.
    Keeping::read(of.keep.as_deref(), of.prefer.as_deref(), of.near)?;
    let wanted = Wanted::read(
        of.threshold,
        of.exact_only,
        of.turned,
        of.across.as_deref(),
        of.within_folder,
    )?;
    // Each of these is a computation of its own, so they count towards the limits of a client.
    let client = (!wanted.is_usual()).then(|| client.counted());
    let named = wanted.clone();
    service.run(move |service| named.check(service)).await?;
    let finding = Finding::Duplicates(wanted);
    answer(
        &service,
        finding,
        client,
        move |service, what, computed| match what {
            What::Duplicates(found) => found.listed(service, &of, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}

/// The bits of a threshold as it is looked for by, if any is.
pub(super) fn checked_threshold(threshold: Option<f32>, exact_only: bool) -> Answered<Option<u32>> {
    if threshold.is_some_and(|threshold| !threshold.is_finite() || threshold < 0.0) {
        return Err(Problem::unusable(
            "the threshold is a distance: give a finite number of at least 0",
        ));
    }
    let threshold = threshold.filter(|_| !exact_only);
    Ok(threshold.map(|threshold| rounded(threshold).to_bits()))
}

/// A threshold of three digits: who moves a slider asks for few different ones. Minus zero is zero.
fn rounded(threshold: f32) -> f32 {
    format!("{:.2e}", threshold + 0.0)
        .parse()
        .expect("a number that was written can be read")
}
