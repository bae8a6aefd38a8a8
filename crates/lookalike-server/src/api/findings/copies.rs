//! What becomes of copies: which are kept, what a person decides, and scripts that deal with the
//! others. Nothing is done here but keeping decisions.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use lookalike::duplicates::{
    self, Action, Decided, Decisions, Group, KeepOptions, KeepRule, Verdict,
};
use lookalike::gallery::Payload;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::wanted::Wanted;
use super::{Computed, Finding, OnProgress, What, answer, mismatch, points};
use crate::access::Client;
use crate::api::{Answered, Refused, RefusedWork, RefusedWrite, Shared};
use crate::body::{self, InQuery};
use crate::problem::Problem;
use crate::service::Service;
use crate::types::Working;

/// The most decisions of a request.
const MAX_DECISIONS: usize = 1_000;
/// The most images that are compared in detail at once: their originals are read.
const MAX_DETAILS: usize = 12;
/// The most images of a listing that are judged by how sharp they are.
const MAX_SHARP: usize = 200;

/// How it is chosen which copies are kept.
pub(super) struct Keeping {
    rules: Vec<KeepRule>,
    prefer: Vec<String>,
    near: bool,
}

impl Keeping {
    /// As a request has it: rules joined by commas, folders one a line.
    pub fn read(keep: Option<&str>, prefer: Option<&str>, near: bool) -> Answered<Self> {
        let rules = match keep {
            None | Some("") => KeepRule::DEFAULT.to_vec(),
            Some(text) => text
                .split(',')
                .map(|rule| rule.trim().parse())
                .collect::<Result<_, String>>()
                .map_err(|expected| Problem::unusable(format!("keep: {expected}")))?,
        };
        let lines = prefer.unwrap_or_default().lines().map(str::trim);
        let prefer: Vec<String> = lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        if rules.contains(&KeepRule::Folder) && prefer.is_empty() {
            return Err(Problem::unusable(
                "the rule 'folder' needs 'prefer': folders, one a line, the most preferred first",
            ));
        }
        Ok(Self {
            rules,
            prefer,
            near,
        })
    }

    fn options(self, service: &Service, groups: &[Group]) -> Answered<KeepOptions> {
        Ok(KeepOptions {
            decided: match decisions(service) {
                Some(decisions) => decisions.about(groups)?,
                None => Default::default(),
            },
            rules: self.rules,
            prefer: self.prefer,
            near: self.near,
        })
    }

    /// Which members of groups are kept, and what was decided about them.
    pub fn decide(
        self,
        service: &Service,
        groups: &[Group],
    ) -> Answered<(Vec<Verdict>, KeepOptions)> {
        let members: usize = groups.iter().map(|group| group.members.len()).sum();
        if self.rules.contains(&KeepRule::Sharpness) && members > MAX_SHARP {
            return Err(Problem::unusable(format!(
                "{members} originals would have to be read to see which are sharp: ask for fewer groups, {MAX_SHARP} images at a time"
            )));
        }
        let options = self.options(service, groups)?;
        let verdicts = duplicates::decide(service.gallery(), groups, &options)?;
        Ok((verdicts, options))
    }
}

/// What a person decided, of a gallery that has a folder to keep it in.
fn decisions(service: &Service) -> Option<&Decisions> {
    (!service.options.on_cluster).then_some(&service.decisions)
}

/// Decisions about copies.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionsForm {
    decisions: Vec<DecisionForm>,
}

/// A decision about one image.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DecisionForm {
    id: Uuid,
    /// Whether it is kept; null forgets what was decided.
    keep: Option<bool>,
}

/// How many decisions were kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecisionsKept {
    kept: usize,
}

/// Decides which copies are kept, whatever rules say. Decisions are kept in the gallery's folder;
/// each holds as long as the image has the content that it has now. No file is touched.
#[utoipa::path(
    put, path = "/duplicates/decisions", tag = "gallery", request_body = DecisionsForm, security(("token" = [])),
    responses((status = 200, description = "They are kept", body = DecisionsKept), RefusedWrite)
)]
pub(crate) async fn decide(
    State(service): Shared,
    request: Request,
) -> Answered<Json<DecisionsKept>> {
    let form: DecisionsForm = body::read_json(request, service.limits()).await?;
    let wanted = form.decisions;
    if wanted.len() > MAX_DECISIONS {
        return Err(Problem::unusable(format!(
            "{} decisions are too many: send at most {MAX_DECISIONS} at a time",
            wanted.len()
        )));
    }
    let kept = service.run(move |service| {
        let decisions = decisions(service).ok_or_else(|| {
            Problem::new(
                StatusCode::CONFLICT,
                "a gallery on a cluster has no folder to keep decisions in: let rules decide, with 'keep'",
            )
        })?;
        let there = points(service, wanted.iter().map(|decision| decision.id))?;
        let decided = wanted.iter().filter_map(|decision| {
            let blake3 = there.get(&decision.id)?.payload.blake3.clone();
            Some(Decided {
                id: decision.id,
                blake3,
                keep: decision.keep,
            })
        });
        let decided: Vec<Decided> = decided.collect();
        let kept = decided.len();
        decisions.keep(decided)?;
        Ok(kept)
    });
    Ok(Json(DecisionsKept { kept: kept.await? }))
}

/// Which images to tell details of.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DetailsOf {
    /// Their ids, joined by commas; at most 12.
    ids: String,
}

/// What is told of images beside each other.
#[derive(Serialize, ToSchema)]
pub(crate) struct Details {
    images: Vec<Detail>,
}

#[derive(Serialize, ToSchema)]
struct Detail {
    id: Uuid,
    /// The format of the file, if it is known.
    #[schema(example = "JPEG")]
    format: Option<String>,
    /// How sharp it is at the size of the largest of these images; larger is sharper, and noise
    /// counts as detail.
    sharpness: Option<f32>,
}

/// Format and sharpness of a few images, as they compare with each other. Originals are read.
#[utoipa::path(
    get, path = "/duplicates/details", tag = "gallery", params(DetailsOf),
    responses((status = 200, description = "Those that are there", body = Details), Refused)
)]
pub(crate) async fn details(
    State(service): Shared,
    InQuery(of): InQuery<DetailsOf>,
) -> Answered<Json<Details>> {
    let ids = of.ids.split(',').map(|id| id.trim().parse());
    let ids: Vec<Uuid> = ids
        .collect::<Result<_, _>>()
        .map_err(|_| Problem::unusable("ids: give ids of images, joined by commas"))?;
    if ids.len() > MAX_DETAILS {
        return Err(Problem::unusable(format!(
            "{} images are too many: ask for at most {MAX_DETAILS} at a time",
            ids.len()
        )));
    }
    let images = service.run(move |service| {
        let points = service.gallery().retrieve(&ids)?;
        let payloads: Vec<&Payload> = points.iter().map(|point| &point.payload).collect();
        let details = duplicates::details(service.gallery(), &service.originals, &payloads);
        let images = points.iter().zip(details).map(|(point, detail)| Detail {
            id: point.id,
            format: detail.format.map(|format| format.to_string()),
            sharpness: detail.sharpness,
        });
        Ok(images.collect())
    });
    Ok(Json(Details {
        images: images.await?,
    }))
}

/// What a script shall do.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScriptOf {
    /// As for `/duplicates`.
    #[param(minimum = 0)]
    threshold: Option<f32>,
    /// As for `/duplicates`.
    #[serde(default)]
    exact_only: bool,
    /// As for `/duplicates`.
    #[serde(default)]
    turned: bool,
    /// As for `/duplicates`.
    across: Option<String>,
    /// As for `/duplicates`.
    #[serde(default)]
    within_folder: bool,
    /// As for `/duplicates`.
    keep: Option<String>,
    /// As for `/duplicates`.
    prefer: Option<String>,
    /// As for `/duplicates`.
    #[serde(default)]
    near: bool,
    /// The folder, on the server's machine, that copies are moved to: an absolute path. Without it
    /// exact copies are replaced by hard links.
    move_to: Option<String>,
}

/// What a script is made of; another whenever decisions are others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlanOf {
    wanted: Wanted,
    rules: Vec<KeepRule>,
    prefer: Vec<String>,
    near: bool,
    action: Action,
    decisions: String,
}

/// A script and what undoes it.
pub(super) struct Scripts {
    script: String,
    undo: String,
    files: usize,
    bytes: u64,
    left: Vec<LeftAlone>,
}

#[derive(Clone, Serialize, ToSchema)]
struct LeftAlone {
    count: usize,
    #[schema(value_type = String, example = "near")]
    because: duplicates::LeftBecause,
    /// The same in words.
    words: &'static str,
}

/// A script for sh that deals with copies on the server's machine, of the 1,000 largest groups.
#[derive(Serialize, ToSchema)]
pub(crate) struct Script {
    #[serde(flatten)]
    computed: Computed,
    /// To be run as `sh move.sh` after it was read.
    script: String,
    /// To be kept beside it as `move-undo.sh`.
    undo: String,
    /// Files that it deals with.
    files: usize,
    /// Their bytes.
    bytes: u64,
    /// Copies that it leaves alone.
    left: Vec<LeftAlone>,
}

impl Scripts {
    pub fn bytes(&self) -> usize {
        self.script.len() + self.undo.len()
    }

    /// Looks for copies and plans what to do with them.
    pub fn write(service: &Service, of: PlanOf, on_progress: OnProgress<'_>) -> Answered<Self> {
        let gallery = service.gallery();
        let groups = of.wanted.find(service, on_progress)?.groups;
        let keeping = Keeping {
            rules: of.rules,
            prefer: of.prefer,
            near: of.near,
        };
        let options = keeping.options(service, &groups)?;
        let verdicts = duplicates::decide(gallery, &groups, &options)?;
        let plan = duplicates::plan(gallery, &groups, &verdicts, &options, &of.action)?;
        let undo = match of.action {
            Action::MoveTo(_) => "move-undo.sh",
            Action::HardLink => "link-undo.sh",
        };
        let left = plan.left_by_reason().into_iter();
        Ok(Self {
            script: plan.script(undo),
            undo: plan.undo_script(),
            files: plan.steps.len(),
            bytes: plan.bytes,
            left: left
                .map(|(because, count)| LeftAlone {
                    count,
                    because,
                    words: because.words(),
                })
                .collect(),
        })
    }

    fn answer(&self, computed: Computed) -> Script {
        Script {
            computed,
            script: self.script.clone(),
            undo: self.undo.clone(),
            files: self.files,
            bytes: self.bytes,
            left: self.left.clone(),
        }
    }
}

/// A script that moves copies to a folder or replaces them by links, and one that undoes it. It
/// looks at every file before it touches it, deletes nothing, and is run by a person.
#[utoipa::path(
    get, path = "/duplicates/script", tag = "gallery", params(ScriptOf),
    responses(
        (status = 200, description = "The scripts", body = Script),
        (status = 202, description = "They are being written: ask again", body = Working), RefusedWork
    )
)]
pub(crate) async fn script(
    State(service): Shared,
    client: Client,
    InQuery(of): InQuery<ScriptOf>,
) -> Answered<Response> {
    let keeping = Keeping::read(of.keep.as_deref(), of.prefer.as_deref(), of.near)?;
    let action = match of.move_to {
        Some(folder) if std::path::Path::new(&folder).is_absolute() => Action::MoveTo(folder),
        Some(_) => {
            return Err(Problem::unusable(
                "move_to is a folder on the server's machine: give its path from the root",
            ));
        }
        None => Action::HardLink,
    };
    let plan = PlanOf {
        wanted: Wanted::read(
            of.threshold,
            of.exact_only,
            of.turned,
            of.across.as_deref(),
            of.within_folder,
        )?,
        rules: keeping.rules,
        prefer: keeping.prefer,
        near: keeping.near,
        action,
        decisions: match decisions(&service) {
            Some(decisions) => decisions.fingerprint()?,
            None => String::new(),
        },
    };
    // Each folder is a computation of its own, so these count towards the limits of a client.
    let client = Some(client.counted());
    let finding = Finding::Scripts(Box::new(plan));
    answer(&service, finding, client, |_, what, computed| match what {
        What::Scripts(scripts) => Ok(scripts.answer(computed)),
        _ => Err(mismatch()),
    })
    .await
}
