//! What a script would do with copies: every step, and every file that is left alone, with its
//! reason. Planning changes nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use lookalike_files::canonicalize;
use lookalike_gallery::{Gallery, GalleryInfo, Payload};
use lookalike_sources::has_further_pages;
use serde::Serialize;
use uuid::Uuid;

use super::files::{about, about_kept, checksums, on_one_file_system};
use super::keeping::{is_plain_file, verdicts_on};
use super::{Group, KeepOptions, KeepRule, Kind, Member, Verdict};
use crate::Error;
use crate::presence::{Presence, Presences};
use crate::uploads::UPLOADS_SOURCE;

/// What is done with the copies that give way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// They are moved to a folder, where each gets the path `SOURCE/KEY`.
    MoveTo(String),
    /// Exact copies are replaced by hard links to the file that is kept: the names stay, and the
    /// content is on disk once.
    HardLink,
}

/// How a script finds out that nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The copy is compared with the file that is kept, byte for byte.
    Same,
    /// Both must have the checksums that they had when this was planned.
    Checksums {
        /// Of the copy.
        copy: u32,
        /// Of the file that is kept.
        kept: u32,
        /// Bytes of the file that is kept.
        kept_bytes: u64,
    },
}

/// A file that gives way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The number of the group, from 1.
    pub group: usize,
    /// The image.
    pub id: Uuid,
    /// Its file.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// The file that is kept for it.
    pub kept: String,
    /// What is looked at before anything is done.
    pub check: Check,
    /// Where it moves to; none where it is replaced by a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Why a copy is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftBecause {
    /// It is only nearly the same, and only exact copies were asked for, or can be replaced by
    /// links.
    Near,
    /// It has another name in its group: a link, or a file that was indexed twice.
    SameFile,
    /// Its path leads through a link.
    Link,
    /// It is no file of its own: a member of an archive or a table, or a page.
    Member,
    /// It is not on this machine, or cannot be looked at.
    NotHere,
    /// It belongs to the gallery, in whose folder it lies.
    Upload,
    /// The file has further pages, which are other pictures.
    Pages,
    /// The file has changed since it was indexed.
    Changed,
    /// The file cannot be read.
    Unreadable,
    /// What would be kept for it is no file that a script could look at.
    KeptUnchecked,
    /// It is on another file system than the file that is kept.
    OtherFileSystem,
}

impl LeftBecause {
    /// The reason in words, to stand behind "12 are left alone: ".
    pub fn words(self) -> &'static str {
        match self {
            Self::Near => "they are only nearly the same",
            Self::SameFile => "they are files with another name in the same group",
            Self::Link => "their paths lead through links",
            Self::Member => "they lie in archives or tables, or are pages",
            Self::NotHere => "they are not on this machine, or cannot be looked at",
            Self::Upload => "they lie in the gallery's own folder",
            Self::Pages => "their files have further pages",
            Self::Changed => "they have changed since they were indexed; index them again",
            Self::Unreadable => "they cannot be read",
            Self::KeptUnchecked => "what would be kept is not a file of its own on this machine",
            Self::OtherFileSystem => "they are on another file system than what is kept",
        }
    }
}

/// A copy that is left alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Left {
    /// The number of the group, from 1.
    pub group: usize,
    /// The image.
    pub id: Uuid,
    /// Where it is.
    pub place: String,
    /// Why.
    pub because: LeftBecause,
}

/// What a [script](Plan::script) would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The gallery.
    pub gallery: String,
    /// What is done with each copy that gives way.
    pub action: Action,
    /// By what it was decided which copies are kept.
    pub rules: Vec<KeepRule>,
    /// The files that give way.
    pub steps: Vec<Step>,
    /// Their bytes.
    pub bytes: u64,
    /// The copies that are left alone.
    pub left: Vec<Left>,
}

impl Plan {
    /// How many copies are left alone for each reason.
    pub fn left_by_reason(&self) -> BTreeMap<LeftBecause, usize> {
        let mut counts = BTreeMap::new();
        for left in &self.left {
            *counts.entry(left.because).or_default() += 1;
        }
        counts
    }
}

/// Plans what to do with the copies in groups, of which `verdicts` say what is kept
/// ([`decide`](super::decide)), by the options that they were decided by. Nothing is changed.
///
/// A file gives way only where the one that is kept for it is there, both are as they were
/// indexed, and each is a file of its own on this machine under its own name. Exact copies are
/// compared by size and time of change, near ones are read.
///
/// # Errors
///
/// When the gallery cannot be read, or the folder that copies would move to cannot be used.
pub fn plan(
    gallery: &dyn Gallery,
    groups: &[Group],
    verdicts: &[Verdict],
    options: &KeepOptions,
    action: &Action,
) -> Result<Plan, Error> {
    plan_in(gallery.describe()?, groups, verdicts, options, action)
}

/// The same for a gallery of which only what describes it is needed: files are looked at
/// themselves.
fn plan_in(
    info: GalleryInfo,
    groups: &[Group],
    verdicts: &[Verdict],
    options: &KeepOptions,
    action: &Action,
) -> Result<Plan, Error> {
    let names = source_names(groups);
    let action = match action {
        Action::MoveTo(folder) => Action::MoveTo(usable_folder(folder, &info.name, &names)?),
        Action::HardLink => Action::HardLink,
    };
    let mut planner = Planner {
        presences: Presences::of(&info),
        names,
        targets: HashSet::new(),
        checksums: HashMap::new(),
        plan: Plan {
            gallery: info.name,
            action,
            rules: options.rules.clone(),
            steps: Vec::new(),
            bytes: 0,
            left: Vec::new(),
        },
    };
    for (group, number) in groups.iter().zip(1..) {
        planner.group(group, number, verdicts_on(verdicts, number));
    }
    Ok(planner.plan)
}

/// The folder as an absolute path. Copies would come to lie in no source of the groups there, and
/// not in the gallery. `names` has the names of the sources' folders in it.
fn usable_folder(
    folder: &str,
    gallery: &str,
    names: &HashMap<String, String>,
) -> Result<String, Error> {
    let refused = |reason: String| {
        Err(Error::Unusable(format!(
            "cannot move copies to {folder}: {reason}"
        )))
    };
    let Ok(absolute) = std::path::absolute(folder) else {
        return refused("name a folder".to_owned());
    };
    if absolute.exists() && !absolute.is_dir() {
        return refused("there is a file of this name; name a folder".to_owned());
    }
    // Its real path, as far as it is there.
    let there = absolute.ancestors().find(|path| path.exists());
    let there = there.unwrap_or(Path::new("/"));
    let real = match (canonicalize(there), absolute.strip_prefix(there)) {
        (Ok(real), Ok(rest)) if rest.as_os_str().is_empty() => real,
        (Ok(real), Ok(rest)) => real.join(rest),
        _ => absolute.clone(),
    };
    if canonicalize(gallery).is_ok_and(|gallery| real.starts_with(gallery)) {
        return refused("it lies in the gallery, and would be removed with it".to_owned());
    }
    let sources: BTreeSet<&String> = names.keys().collect();
    for source in sources {
        let path = Path::new(source);
        let lies_there = |copies: &Path| path.is_dir() && copies.starts_with(path);
        if lies_there(&real) {
            return refused(format!(
                "it lies in {source}, where the copies would be indexed again; name a folder beside it"
            ));
        }
        if let Some(name) = names.values().find(|name| lies_there(&real.join(name))) {
            return refused(format!(
                "they would come to lie in its folder {name}, which is in {source}, where they would be indexed again; \
                 name another folder"
            ));
        }
    }
    match absolute.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => refused("its path is not UTF-8; name another folder".to_owned()),
    }
}

/// A name for each source, to be that of a folder: the last part of its path, with a number where
/// two have the same.
fn source_names(groups: &[Group]) -> HashMap<String, String> {
    let members = groups.iter().flat_map(|group| &group.members);
    let sources: BTreeSet<&str> = members.map(|m| m.payload.source.as_str()).collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut names = HashMap::new();
    for source in sources {
        let base = Path::new(source).file_name();
        let base = base.map_or("source".into(), |name| name.to_string_lossy());
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let name = std::iter::once(base.to_string())
            .chain(numbered)
            .find(|name| taken.insert(name.to_lowercase()))
            .expect("there are more numbers than sources");
        names.insert(source.to_owned(), name);
    }
    names
}

struct Planner {
    presences: Presences,
    names: HashMap<String, String>,
    targets: HashSet<String>,
    /// BLAKE3, checksum and bytes of files that were read, by their paths; none of those that
    /// cannot be read.
    checksums: HashMap<String, Option<(String, u32, u64)>>,
    plan: Plan,
}

impl Planner {
    fn group(&mut self, group: &Group, number: usize, verdicts: &[Verdict]) {
        let by_id: HashMap<Uuid, &Member> = group.members.iter().map(|m| (m.id, m)).collect();
        let presences: HashMap<Uuid, Presence> = group
            .members
            .iter()
            .map(|member| (member.id, self.presences.look(&member.payload)))
            .collect();
        let mut names: HashMap<&_, usize> = HashMap::new();
        for presence in presences.values() {
            if let Presence::Here(identity) = presence {
                *names.entry(&identity.file).or_default() += 1;
            }
        }
        let has_other_name = |id: &Uuid| match &presences[id] {
            Presence::Here(identity) => names[&identity.file] > 1,
            _ => by_id[id].kind == Kind::SameFile,
        };
        let mut judged: HashSet<Uuid> = HashSet::new();
        for verdict in verdicts {
            judged.insert(verdict.kept);
            judged.extend(&verdict.kept_too);
            judged.extend(&verdict.copies);
            let kept = by_id[&verdict.kept];
            for id in &verdict.copies {
                let copy = by_id[id];
                let because = match has_other_name(id) {
                    true => Some(LeftBecause::SameFile),
                    false => obstacle(copy, kept, &presences[id]),
                };
                let because = match because {
                    None if !is_plain_file(&presences[&kept.id]) => {
                        Some(LeftBecause::KeptUnchecked)
                    }
                    because => because,
                };
                match because {
                    Some(because) => self.leave(number, copy, because),
                    None => self.step(number, copy, kept),
                }
            }
        }
        // Where one of each content is kept, contents of one file are near copies.
        let near = |member: &&Member| member.kind == Kind::Near && !judged.contains(&member.id);
        for member in group.members.iter().filter(near) {
            self.leave(number, member, LeftBecause::Near);
        }
    }

    fn step(&mut self, group: usize, copy: &Member, kept: &Member) {
        let exact = copy.payload.blake3 == kept.payload.blake3;
        if self.plan.action == Action::HardLink && !exact {
            self.leave(group, copy, LeftBecause::Near);
            return;
        }
        let (Some(file), Some(kept_file)) = (location(copy), location(kept)) else {
            self.leave(group, copy, LeftBecause::NotHere);
            return;
        };
        let checked = match exact {
            true => self.unchanged(copy, kept),
            false => self.read(copy).and_then(|(sum, bytes)| {
                let (kept, kept_bytes) = self.read(kept)?;
                let check = Check::Checksums {
                    copy: sum,
                    kept,
                    kept_bytes,
                };
                Ok((check, bytes))
            }),
        };
        let (check, bytes) = match checked {
            Ok(checked) => checked,
            Err(because) => {
                self.leave(group, copy, because);
                return;
            }
        };
        let target = match &self.plan.action {
            Action::HardLink => None,
            Action::MoveTo(folder) => {
                let folder = folder.clone();
                Some(self.target(&folder, &copy.payload))
            }
        };
        self.plan.bytes += bytes;
        self.plan.steps.push(Step {
            group,
            id: copy.id,
            file,
            bytes,
            kept: kept_file,
            check,
            target,
        });
    }

    /// That two exact copies are as they were indexed, as far as size and time tell: the script
    /// compares them. The bytes of the first as well.
    fn unchanged(&self, copy: &Member, kept: &Member) -> Result<(Check, u64), LeftBecause> {
        let about = about(&copy.payload)?;
        let of_kept = about_kept(&kept.payload)?;
        if self.plan.action == Action::HardLink && !on_one_file_system(&about, &of_kept) {
            return Err(LeftBecause::OtherFileSystem);
        }
        Ok((Check::Same, about.len()))
    }

    /// The checksum and the bytes of a file, which must be as it was indexed.
    fn read(&mut self, member: &Member) -> Result<(u32, u64), LeftBecause> {
        let Some(path) = location(member) else {
            return Err(LeftBecause::NotHere);
        };
        let sums = match self.checksums.entry(path) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let sums = checksums(Path::new(unknown.key())).ok();
                unknown.insert(sums)
            }
        };
        // Points of one file may know different contents of it, of which one is there.
        match sums {
            Some((blake3, sum, bytes)) if *blake3 == member.payload.blake3 => Ok((*sum, *bytes)),
            Some(_) => Err(LeftBecause::Changed),
            None => Err(LeftBecause::Unreadable),
        }
    }

    /// A place in the folder that no other copy moves to.
    fn target(&mut self, folder: &str, payload: &Payload) -> String {
        let parts = |path: &str| -> Option<PathBuf> {
            let is_name = |part: &Component| matches!(part, Component::Normal(_));
            let path = Path::new(path);
            (path.components().next().is_some() && path.components().all(|part| is_name(&part)))
                .then(|| path.to_owned())
        };
        // Keys of lists may lead anywhere.
        let key = parts(&payload.key).unwrap_or_else(|| {
            let place = payload.location.as_deref().unwrap_or_default();
            let names = Path::new(place).components();
            names
                .filter(|part| matches!(part, Component::Normal(_)))
                .collect()
        });
        let name = &self.names[&payload.source];
        let path = Path::new(folder).join(name).join(key);
        // Both are texts.
        let path = path.to_string_lossy().into_owned();
        let numbered = (2..).map(|number| format!("{path}-{number}"));
        std::iter::once(path.clone())
            .chain(numbered)
            .find(|path| self.targets.insert(path.clone()))
            .expect("there are more numbers than copies")
    }

    fn leave(&mut self, group: usize, member: &Member, because: LeftBecause) {
        let payload = &member.payload;
        let place = payload
            .location
            .clone()
            .unwrap_or_else(|| format!("{}#{}", payload.source, payload.key));
        self.plan.left.push(Left {
            group,
            id: member.id,
            place,
            because,
        });
    }
}

/// What is in the way of doing anything with a file, for which another one is kept.
fn obstacle(copy: &Member, kept: &Member, presence: &Presence) -> Option<LeftBecause> {
    let payload = &copy.payload;
    if payload.source == UPLOADS_SOURCE {
        return Some(LeftBecause::Upload);
    }
    let identity = match presence {
        Presence::Here(identity) => identity,
        // Gone since the groups were made.
        Presence::Gone => return Some(LeftBecause::Changed),
        Presence::Unknown => return Some(LeftBecause::NotHere),
    };
    if !identity.file.1.is_empty() {
        return Some(LeftBecause::Member);
    }
    if identity.linked {
        return Some(LeftBecause::Link);
    }
    // A file of the same content has the same pages.
    if payload.blake3 == kept.payload.blake3 {
        return None;
    }
    // The gallery may lack pages that could not be read, so the file itself is looked at.
    let path = Path::new(payload.location.as_deref().unwrap_or_default());
    match has_further_pages(path) {
        Ok(false) => None,
        Ok(true) => Some(LeftBecause::Pages),
        Err(_) => Some(LeftBecause::Unreadable),
    }
}

fn location(member: &Member) -> Option<String> {
    let location = member.payload.location.clone()?;
    Path::new(&location).is_absolute().then_some(location)
}

#[cfg(test)]
mod tests;
