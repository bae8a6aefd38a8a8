//! Images in groups of what looks alike.

use axum::extract::State;
use axum::response::Response;
use lookalike::groups::{self, GROUP_FIELD, GroupOptions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Computed, Finding, OnProgress, What, answer, mismatch, points};
use crate::access::Client;
use crate::api::images::{MAX_LISTED, check_limit};
use crate::api::{Answered, RefusedWork, Shared};
use crate::body::InQuery;
use crate::problem::Problem;
use crate::service::Service;
use crate::types::{Image, Working};

/// Groups without facts about their images.
pub(super) struct FoundGroups(groups::Groups);

/// Into how many groups the gallery is divided.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Division {
    /// How many groups; without it, as many as stand out.
    #[param(minimum = 1, maximum = 1000)]
    count: Option<usize>,
}

/// Which groups, and how many of their members are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GroupsOf {
    /// How many groups; without it, as many as stand out.
    #[param(minimum = 1, maximum = 1000)]
    count: Option<usize>,
    /// How many of them are listed, the largest first; 1 to 1,000.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
    /// How many are passed over.
    #[serde(default)]
    #[param(minimum = 0, default = 0)]
    offset: usize,
    /// How many members of each are listed, the most typical first; up to 1,000.
    #[serde(default)]
    #[param(minimum = 0, maximum = 1000, default = 0)]
    members: usize,
    /// How many members are passed over.
    #[serde(default)]
    #[param(minimum = 0, default = 0)]
    members_offset: usize,
}

fn default_limit() -> usize {
    100
}

/// Images in groups of what looks alike.
#[derive(Serialize, ToSchema)]
pub(crate) struct Groups {
    #[serde(flatten)]
    computed: Computed,
    /// Images that were looked at.
    points: usize,
    /// Different contents among them.
    contents: usize,
    /// Images that are in no group.
    ungrouped: usize,
    /// How many groups there are in all.
    group_count: usize,
    /// The most groups that can be asked for.
    max_count: usize,
    /// The largest first.
    groups: Vec<AlikeGroup>,
}

/// Images that look alike.
#[derive(Serialize, ToSchema)]
struct AlikeGroup {
    /// From 1 on.
    number: usize,
    /// Its images.
    size: usize,
    /// The label of most of its images, where there is one.
    name: Option<String>,
    /// The most frequent labels, the most frequent first.
    labels: Vec<LabelShare>,
    /// How many of the members are outliers, the last ones.
    outliers: usize,
    /// Whether its typical images have its number as their field `group`, so that a filter finds
    /// it.
    kept: bool,
    /// A few typical images that differ from each other: first the one in the middle.
    typical: Vec<Image>,
    /// Some of its images, the most typical first.
    members: Vec<GroupMember>,
}

/// How often a label occurs in a group.
#[derive(Serialize, ToSchema)]
struct LabelShare {
    label: String,
    /// Images of the group that have it.
    count: usize,
    /// The same as a share of all images of the group.
    share: f64,
}

#[derive(Serialize, ToSchema)]
struct GroupMember {
    image: Image,
    /// How typical it is of its group, 1 to 0.
    score: f32,
}

/// What keeping groups did.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub(crate) struct KeptGroups {
    /// Images whose group is new, another, or gone.
    changed: usize,
    /// Images that are in a group.
    grouped: usize,
}

/// Divides the whole gallery.
pub(super) fn find(
    service: &Service,
    count: Option<usize>,
    on_progress: OnProgress<'_>,
) -> Answered<FoundGroups> {
    let options = GroupOptions {
        count,
        ..GroupOptions::default()
    };
    Ok(FoundGroups(groups::find(
        service.gallery(),
        &options,
        on_progress,
    )?))
}

/// Divides the whole gallery, and keeps the groups in it.
pub(super) fn keep(
    service: &Service,
    count: Option<usize>,
    on_progress: OnProgress<'_>,
) -> Answered<KeptGroups> {
    let FoundGroups(found) = find(service, count, on_progress)?;
    let kept = groups::keep(service.gallery(), &found, on_progress)?;
    if kept.changed > 0 {
        service.note_change();
    }
    Ok(KeptGroups {
        changed: kept.changed,
        grouped: kept.grouped,
    })
}

impl FoundGroups {
    pub(super) fn bytes(&self) -> usize {
        let members = |group: &groups::Group| size_of_val(&group.members[..]);
        self.0.groups.iter().map(members).sum()
    }

    /// Some of the groups, with those of their images that are there.
    fn listed(&self, service: &Service, of: &GroupsOf, computed: Computed) -> Answered<Groups> {
        let found = &self.0;
        let chosen = || found.groups.iter().skip(of.offset).take(of.limit);
        let members = |group: &groups::Group| {
            let members = group
                .members
                .iter()
                .skip(of.members_offset)
                .take(of.members);
            members.copied().collect::<Vec<_>>()
        };
        let ids = chosen().flat_map(|group| {
            let members = members(group).into_iter().map(|member| member.id);
            group
                .typical
                .iter()
                .copied()
                .chain(members)
                .collect::<Vec<Uuid>>()
        });
        let points = points(service, ids)?;
        let image = |id: &Uuid| {
            let point = points.get(id)?;
            Some(Image::new(point.id, point.payload.clone()))
        };
        let group = |group: &groups::Group| {
            let typical: Vec<Image> = group.typical.iter().filter_map(image).collect();
            let own = Value::from(group.number);
            AlikeGroup {
                number: group.number,
                size: group.size,
                name: group.name.clone(),
                labels: group
                    .labels
                    .iter()
                    .map(|of| LabelShare {
                        label: of.label.clone(),
                        count: of.count,
                        share: of.share,
                    })
                    .collect(),
                outliers: group.outliers,
                kept: !typical.is_empty()
                    && typical
                        .iter()
                        .all(|image| image.extra.get(GROUP_FIELD) == Some(&own)),
                typical,
                members: members(group)
                    .iter()
                    .filter_map(|member| {
                        Some(GroupMember {
                            image: image(&member.id)?,
                            score: member.score,
                        })
                    })
                    .collect(),
            }
        };
        Ok(Groups {
            computed,
            points: found.points,
            contents: found.contents,
            ungrouped: found.ungrouped,
            group_count: found.groups.len(),
            max_count: found.max_count,
            groups: chosen().map(group).collect(),
        })
    }
}

/// Refuses numbers of groups that nobody could look through.
fn check_count(count: Option<usize>) -> Answered<()> {
    match count {
        Some(count) if !(1..=MAX_LISTED).contains(&count) => Err(Problem::unusable(format!(
            "the count is {count}: ask for 1 to {MAX_LISTED} groups"
        ))),
        _ => Ok(()),
    }
}

/// Images in groups of what looks alike, found without labels.
#[utoipa::path(
    get, path = "/groups", tag = "gallery", params(GroupsOf),
    responses(
        (status = 200, description = "The groups", body = Groups),
        (status = 202, description = "They are being looked for: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn groups(
    State(service): Shared,
    client: Client,
    InQuery(of): InQuery<GroupsOf>,
) -> Answered<Response> {
    check_count(of.count)?;
    check_limit(of.limit)?;
    check_limit(of.members.max(1))?;
    let finding = Finding::Groups { count: of.count };
    // Each number is a computation of its own, so these count towards the limits of a client.
    let client = of.count.map(|_| client.counted());
    answer(
        &service,
        finding,
        client,
        move |service, what, computed| match what {
            What::Groups(found) => found.listed(service, &of, computed),
            _ => Err(mismatch()),
        },
    )
    .await
}

/// Keeps the groups in the gallery: the number of its group becomes the field `group` of each
/// image, for filters such as `group=3`.
#[utoipa::path(
    put, path = "/groups/kept", tag = "gallery", params(Division), security(("token" = [])),
    responses(
        (status = 200, description = "They are kept", body = KeptGroups),
        (status = 202, description = "They are being kept: ask again in the same way", body = Working), RefusedWork
    )
)]
pub(crate) async fn keep_groups(
    State(service): Shared,
    client: Client,
    InQuery(Division { count }): InQuery<Division>,
) -> Answered<Response> {
    check_count(count)?;
    let finding = Finding::KeptGroups { count };
    let client = count.map(|_| client.counted());
    answer(&service, finding, client, move |_, what, _| match what {
        What::KeptGroups(kept) => Ok(*kept),
        _ => Err(mismatch()),
    })
    .await
}
