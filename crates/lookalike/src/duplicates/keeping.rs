//! Which of several copies is kept: by rules, one after another, and by what a person decided.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use lookalike_gallery::{Gallery, Payload};
use lookalike_images::Format;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sharpness::sharpness;
use super::{Group, Kind, Member};
use crate::presence::{Presence, Presences};
use crate::uploads::UPLOADS_SOURCE;
use crate::{Error, Originals};

/// What makes one of several copies the one to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepRule {
    /// The most pixels.
    Resolution,
    /// The most detail when all are brought to one size: an enlarged copy loses to its original. A
    /// noisy copy wins, because noise cannot be told from detail.
    Sharpness,
    /// Formats that lose nothing (TIFF, PNG, BMP) before JPEG XL and WebP, these before JPEG, and
    /// JPEG before GIF.
    Format,
    /// The most bytes: of two copies of one size and format, that of the higher quality.
    Bytes,
    /// In the first of the folders that are preferred.
    Folder,
    /// Changed the longest ago.
    Oldest,
    /// Changed last.
    Newest,
}

impl KeepRule {
    /// All rules.
    pub const ALL: [Self; 7] = [
        Self::Resolution,
        Self::Sharpness,
        Self::Format,
        Self::Bytes,
        Self::Folder,
        Self::Oldest,
        Self::Newest,
    ];

    /// The rules that apply where none are given, in their order.
    pub const DEFAULT: [Self; 4] = [Self::Resolution, Self::Format, Self::Bytes, Self::Oldest];

    /// The name in JSON and on command lines, as `resolution`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolution => "resolution",
            Self::Sharpness => "sharpness",
            Self::Format => "format",
            Self::Bytes => "bytes",
            Self::Folder => "folder",
            Self::Oldest => "oldest",
            Self::Newest => "newest",
        }
    }
}

impl fmt::Display for KeepRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeepRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("expected some of {names}, joined by commas")
        })
    }
}

/// How it is decided which copies are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepOptions {
    /// The rules in their order: each decides among those that the one before left equal. Of what
    /// all of them leave equal, the first by path is kept.
    pub rules: Vec<KeepRule>,
    /// Folders, by absolute paths, the most preferred first; what [`KeepRule::Folder`] goes by.
    /// See [`lies_in`].
    pub prefer: Vec<String>,
    /// Whether one is kept of every group, so that near copies give way too; otherwise one is kept
    /// of every content, and only exact copies give way.
    pub near: bool,
    /// What a person decided: whether an image is kept, whatever the rules say.
    pub decided: BTreeMap<Uuid, bool>,
}

impl Default for KeepOptions {
    fn default() -> Self {
        Self {
            rules: KeepRule::DEFAULT.to_vec(),
            prefer: Vec::new(),
            near: false,
            decided: BTreeMap::new(),
        }
    }
}

/// Which of some copies are kept, which give way, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The number of the group, from 1.
    pub group: usize,
    /// The image that is kept.
    pub kept: Uuid,
    /// Others that are kept as well, because a person decided so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_too: Vec<Uuid>,
    /// Those that give way, in the group's order.
    pub copies: Vec<Uuid>,
    /// The rule that decided; none where a person did, or the path.
    pub rule: Option<KeepRule>,
    /// Why this one is kept, in words: "resolution: 4000x3000, the next 1600x1200".
    pub reason: String,
}

/// Decides for each group which of its members are kept. Files that are gone take no part. What
/// can be checked later, a file of its own on this machine, is kept rather than a member of an
/// archive, an object in a bucket, or an upload in the gallery's own folder. Verdicts come in the
/// order of the groups.
///
/// Originals are read where pixels have to be compared, for [`KeepRule::Sharpness`] alone.
///
/// # Errors
///
/// When the gallery cannot be read.
pub fn decide(
    gallery: &dyn Gallery,
    groups: &[Group],
    options: &KeepOptions,
) -> Result<Vec<Verdict>, Error> {
    let presences = Presences::of(&gallery.describe()?);
    let originals = match options.rules.contains(&KeepRule::Sharpness) {
        true => Some(Originals::of(gallery)?),
        false => None,
    };
    let judge = Judge {
        gallery,
        originals,
        options,
    };
    let mut verdicts = Vec::new();
    for (group, number) in groups.iter().zip(1..) {
        for members in sets(group, options.near) {
            verdicts.extend(judge.verdict(number, &members, &presences));
        }
    }
    Ok(verdicts)
}

/// The verdicts on one group, by its number, of those that [`decide`] gave, which come in the order
/// of their groups.
pub fn verdicts_on(verdicts: &[Verdict], group: usize) -> &[Verdict] {
    let start = verdicts.partition_point(|verdict| verdict.group < group);
    let own = &verdicts[start..];
    &own[..own.partition_point(|verdict| verdict.group == group)]
}

/// What is told of a picture beside its copies.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// The format of its file, if it is known.
    pub format: Option<Format>,
    /// How sharp it is at the size of the largest of those that it is told with, as
    /// [`KeepRule::Sharpness`] compares; none where neither the original nor a thumbnail can be
    /// read.
    pub sharpness: Option<f32>,
}

/// Format and sharpness of some copies, in their order. Their originals are read.
pub fn details(gallery: &dyn Gallery, originals: &Originals, copies: &[&Payload]) -> Vec<Detail> {
    let side = common_side(copies.iter().copied());
    let detail = |payload: &&Payload| Detail {
        format: format_of(payload),
        sharpness: sharpness_of(gallery, originals, payload, side),
    };
    copies.iter().map(detail).collect()
}

/// The longer side of the smallest picture.
fn common_side<'a>(copies: impl Iterator<Item = &'a Payload>) -> usize {
    let shortest = copies
        .map(|payload| payload.width.max(payload.height))
        .min();
    (shortest.unwrap_or(1) as usize).max(1)
}

fn sharpness_of(
    gallery: &dyn Gallery,
    originals: &Originals,
    payload: &Payload,
    side: usize,
) -> Option<f32> {
    Some(sharpness(&originals.picture(gallery, payload)?, side))
}

/// The members of which one is to be kept: all of a group, or those of each content.
fn sets(group: &Group, near: bool) -> Vec<Vec<&Member>> {
    let there = group.members.iter().filter(|m| m.kind != Kind::Gone);
    let mut sets: Vec<Vec<&Member>> = Vec::new();
    if near {
        sets.push(there.collect());
    } else {
        let mut of_content: HashMap<&str, usize> = HashMap::new();
        // An unknown content is like no other.
        for member in there.filter(|m| !m.payload.blake3.is_empty()) {
            let set = of_content.entry(&member.payload.blake3);
            let set = *set.or_insert(sets.len());
            if set == sets.len() {
                sets.push(Vec::new());
            }
            sets[set].push(member);
        }
    }
    sets.retain(|set| set.len() > 1);
    sets
}

/// Whether a picture is a file of its own on this machine, under its own name.
pub(super) fn is_plain_file(presence: &Presence) -> bool {
    matches!(presence, Presence::Here(file) if file.file.1.is_empty() && !file.linked)
}

struct Judge<'a> {
    gallery: &'a dyn Gallery,
    originals: Option<Originals>,
    options: &'a KeepOptions,
}

impl Judge<'_> {
    fn verdict(&self, group: usize, members: &[&Member], presences: &Presences) -> Option<Verdict> {
        let decided = |member: &Member| self.options.decided.get(&member.id).copied();
        let chosen: Vec<&Member> = members
            .iter()
            .copied()
            .filter(|member| decided(member) == Some(true))
            .collect();
        let checkable = |member: &Member| {
            member.payload.source != UPLOADS_SOURCE
                && is_plain_file(&presences.look(&member.payload))
        };
        let by_hand = !chosen.is_empty();
        let mut candidates: Vec<&Member> = match by_hand {
            true => chosen.clone(),
            // What a person wants to give way is kept only if nothing else could be.
            false => members
                .iter()
                .copied()
                .filter(|member| decided(member) != Some(false))
                .collect(),
        };
        if candidates.is_empty() {
            candidates = members.to_vec();
        }
        if candidates.iter().any(|member| checkable(member)) {
            candidates.retain(|member| checkable(member));
        }
        let (kept, rule, reason) = self.best(candidates);
        let (rule, reason) = match by_hand {
            true => (None, "decided by hand".to_owned()),
            false => (rule, reason),
        };
        let kept_too: Vec<Uuid> = chosen
            .iter()
            .map(|member| member.id)
            .filter(|&id| id != kept.id)
            .collect();
        let copies: Vec<Uuid> = members
            .iter()
            .map(|member| member.id)
            .filter(|id| *id != kept.id && !kept_too.contains(id))
            .collect();
        (!copies.is_empty()).then_some(Verdict {
            group,
            kept: kept.id,
            kept_too,
            copies,
            rule,
            reason,
        })
    }

    /// The best of some, the rule that told it from the last others, and that rule in words.
    fn best<'a>(&self, mut left: Vec<&'a Member>) -> (&'a Member, Option<KeepRule>, String) {
        for &rule in &self.options.rules {
            if left.len() == 1 {
                break;
            }
            let scores = self.scores(rule, &left);
            let best = scores
                .iter()
                .map(|(score, _)| *score)
                .max_by(f64::total_cmp)
                .expect("there is more than one");
            let next = scores
                .iter()
                .filter(|(score, _)| *score < best)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let Some((_, next)) = next else {
                continue;
            };
            let won = scores.iter().find(|(score, _)| *score == best);
            let (_, won) = won.expect("the best is one of them");
            let reason = format!("{rule}: {won}, the next {next}");
            left = left
                .into_iter()
                .zip(&scores)
                .filter(|(_, (score, _))| *score == best)
                .map(|(member, _)| member)
                .collect();
            if left.len() == 1 {
                return (left[0], Some(rule), reason);
            }
        }
        let by_path =
            |a: &&Member, b: &&Member| -> Ordering { path(&a.payload).cmp(path(&b.payload)) };
        let first = left.iter().copied().min_by(|a, b| by_path(a, b));
        let reason = match left.len() {
            1 => "the only one that can be kept".to_owned(),
            _ => "the first by path, as the rules leave several equal".to_owned(),
        };
        (first.expect("a set has members"), None, reason)
    }

    /// How well each fares by a rule, the larger the better, and that in words; unknown is worst.
    fn scores(&self, rule: KeepRule, members: &[&Member]) -> Vec<(f64, String)> {
        let unknown = || (f64::NEG_INFINITY, "unknown".to_owned());
        let side = common_side(members.iter().map(|member| &member.payload));
        let score = |member: &&Member| {
            let payload = &member.payload;
            match rule {
                KeepRule::Resolution => (
                    f64::from(payload.width) * f64::from(payload.height),
                    format!("{}x{}", payload.width, payload.height),
                ),
                KeepRule::Bytes => payload
                    .bytes
                    .map_or_else(unknown, |bytes| (bytes as f64, format!("{bytes} bytes"))),
                KeepRule::Oldest | KeepRule::Newest => {
                    payload.modified.map_or_else(unknown, |at| {
                        let sign = if rule == KeepRule::Newest { 1.0 } else { -1.0 };
                        (sign * at as f64, time(at))
                    })
                }
                KeepRule::Folder => {
                    let within = |folder: &String| lies_in(payload, folder);
                    let at = self.options.prefer.iter().position(within);
                    at.map_or_else(
                        || (f64::NEG_INFINITY, "in no preferred folder".to_owned()),
                        |at| (-(at as f64), self.options.prefer[at].clone()),
                    )
                }
                KeepRule::Format => format_of(payload)
                    .map_or_else(unknown, |format| (rank(format), format.to_string())),
                KeepRule::Sharpness => self
                    .originals
                    .as_ref()
                    .and_then(|originals| sharpness_of(self.gallery, originals, payload, side))
                    .map_or_else(unknown, |value| (f64::from(value), format!("{value:.4}"))),
            }
        };
        members.iter().map(score).collect()
    }
}

/// Whether a picture lies in a folder, which may also be an archive or a table, a folder in one, or
/// an address in an object store.
pub fn lies_in(payload: &Payload, folder: &str) -> bool {
    let path = path(payload);
    let member = path.strip_prefix(folder);
    Path::new(path).starts_with(folder) || member.is_some_and(|rest| rest.starts_with(['!', '#']))
}

/// A time in nanoseconds since 1970, to the second.
fn time(nanoseconds: i64) -> String {
    let since = u64::try_from(nanoseconds).ok().map(Duration::from_nanos);
    let at = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    at.map_or_else(
        || "before 1970".to_owned(),
        |at| humantime::format_rfc3339_seconds(at).to_string(),
    )
}

/// Where a picture is, as a path to order by.
fn path(payload: &Payload) -> &str {
    payload.location.as_deref().unwrap_or(&payload.key)
}

/// The format by the first bytes of a file, or else by a name's ending.
fn format_of(payload: &Payload) -> Option<Format> {
    let path = path(payload);
    let mut start = Vec::new();
    // A pipe would be waited for.
    if Path::new(path).is_file()
        && let Ok(file) = File::open(path)
        && file.take(32).read_to_end(&mut start).is_ok()
        && let Ok(format) = Format::of(&start)
    {
        return Some(format);
    }
    let (_, ending) = payload.key.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "jpe" | "jfif" => Format::Jpeg,
        "png" => Format::Png,
        "webp" => Format::WebP,
        "gif" => Format::Gif,
        "bmp" => Format::Bmp,
        "tif" | "tiff" => Format::Tiff,
        "jxl" => Format::JpegXl,
        _ => return None,
    })
}

/// The larger the less is lost in this format.
fn rank(format: Format) -> f64 {
    match format {
        Format::Tiff | Format::Png | Format::Bmp => 3.0,
        Format::JpegXl | Format::WebP => 2.0,
        Format::Jpeg => 1.0,
        _ => 0.0,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A member of a group, of this content.
    pub fn member(number: u128, kind: Kind, content: &str) -> Member {
        Member {
            id: Uuid::from_u128(number),
            kind,
            distance: 0.0,
            difference: None,
            turned: None,
            payload: Payload {
                blake3: content.to_owned(),
                ..Payload::default()
            },
        }
    }

    #[test]
    fn one_is_kept_of_a_group_or_of_each_known_content() {
        let near = Kind::Near;
        let members = vec![
            member(1, Kind::Representative, "a"),
            member(2, near, "b"),
            member(3, near, ""),
            member(4, Kind::Exact, "a"),
            member(5, near, ""),
            member(6, near, "c"),
            member(7, near, "b"),
            member(8, Kind::Gone, "c"),
        ];
        let group = Group { members };
        let numbers = |near| -> Vec<Vec<u128>> {
            let sets = sets(&group, near);
            let numbers = |set: &Vec<&Member>| set.iter().map(|m| m.id.as_u128()).collect();
            sets.iter().map(numbers).collect()
        };
        assert_eq!(numbers(false), [[1, 4], [2, 7]]);
        assert_eq!(numbers(true), [[1, 2, 3, 4, 5, 6, 7]]);
    }

    #[test]
    fn every_group_has_its_own_verdicts() {
        let verdict = |(group, kept)| Verdict {
            group,
            kept: Uuid::from_u128(kept),
            kept_too: Vec::new(),
            copies: Vec::new(),
            rule: None,
            reason: String::new(),
        };
        let verdicts = [(1, 10), (1, 11), (3, 12), (4, 13), (4, 14)].map(verdict);
        let on = |group| -> Vec<u128> {
            let own = verdicts_on(&verdicts, group).iter();
            own.map(|verdict| verdict.kept.as_u128()).collect()
        };
        assert_eq!([1, 2, 3].map(on), [vec![10, 11], vec![], vec![12]]);
        assert_eq!([4, 5].map(on), [vec![13, 14], vec![]]);
    }

    #[test]
    fn pictures_lie_in_folders_archives_and_buckets() {
        let lies = |location: &str, folder: &str| {
            let payload = Payload {
                location: Some(location.to_owned()),
                ..Payload::default()
            };
            lies_in(&payload, folder)
        };
        assert!(lies("/a/b/c.jpg", "/a/b"));
        assert!(!lies("/a/bc/c.jpg", "/a/b"));
        assert!(lies("/a/b.zip!c/d.jpg", "/a/b.zip"));
        assert!(lies("/a/b.zip!c/d.jpg", "/a/b.zip!c"));
        assert!(!lies("/a/b.zip!c/d.jpg", "/a/b"));
        assert!(lies("/a/b.parquet#7", "/a/b.parquet"));
        assert!(lies("s3://bucket/a/b.jpg", "s3://bucket/a"));
        assert!(!lies("s3://bucket/ab/b.jpg", "s3://bucket/a"));
    }
}
