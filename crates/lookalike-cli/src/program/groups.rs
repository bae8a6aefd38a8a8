//! `lookalike groups`.

use std::collections::HashMap;
use std::path::PathBuf;

use lookalike::gallery::{Gallery, Payload};
use lookalike::groups::{Group, GroupOptions, Groups, Kept, find, keep};
use lookalike::open_gallery;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::GroupsArguments;
use super::conditions::filter_of;
use super::console::{Console, show, table};
use super::drawing::{Cell, ContactSheet, Mark, Row};
use super::pictures::{self, Originals, small};
use super::spreadsheet::{self, place};
use super::{Failure, refuse_twice};

/// Groups that a sheet shows, the largest ones.
const SHEET_ROWS: usize = 60;
/// Outliers at the end of a group's row.
const SHEET_OUTLIERS: usize = 2;
/// Points whose payloads are read at a time.
const PAGE: usize = 1_000;

#[derive(Serialize)]
struct GroupsReport<'a> {
    gallery: &'a str,
    #[serde(flatten)]
    found: &'a Groups,
    kept: Option<Kept>,
    csv: Option<String>,
    sheet: Option<String>,
}

pub fn run(arguments: GroupsArguments, console: &Console) -> Result<(), Failure> {
    refuse_twice(&[arguments.csv.as_ref(), arguments.sheet.as_ref()], &[])?;
    let gallery = open_gallery(&arguments.gallery)?;
    let options = GroupOptions {
        count: arguments.count,
        min_size: arguments.min_size,
        filter: filter_of(&*gallery, &arguments.filters, console)?,
    };
    let bar = console.bar(Some(0), "compare");
    let found = find(&*gallery, &options, |progress| show(&bar, progress));
    let kept = found.and_then(|found| {
        let kept = arguments
            .keep
            .then(|| keep(&*gallery, &found, |progress| show(&bar, progress)));
        Ok((found, kept.transpose()?))
    });
    bar.finish_and_clear();
    let (found, kept) = kept?;
    if let Some(path) = &arguments.csv {
        let rows = csv_rows(&*gallery, &found)?;
        spreadsheet::write(path, &["group", "name", "score"], rows)?;
    }
    if let Some(path) = &arguments.sheet {
        let sheet = ContactSheet {
            title: vec![format!("{}: groups", arguments.gallery), summary(&found)],
            rows: sheet_rows(&*gallery, &found.groups)?,
        };
        pictures::write(&sheet.render(), path)?;
        if found.groups.len() > SHEET_ROWS {
            console.note(format!("the sheet shows the {SHEET_ROWS} largest groups"));
        }
    }
    if let Some(count) = arguments.count.filter(|&count| count > found.groups.len()) {
        console.note(format!(
            "the pictures cannot be divided into {count} groups of {} and more, only into {}",
            arguments.min_size, found.max_count
        ));
    }
    print(&*gallery, &found, kept, console)?;
    let shown = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
    console.json(&GroupsReport {
        gallery: &arguments.gallery,
        found: &found,
        kept,
        csv: shown(arguments.csv),
        sheet: shown(arguments.sheet),
    })
}

fn summary(found: &Groups) -> String {
    format!(
        "{} different pictures in {} groups; {} of {} images in none",
        found.contents,
        found.groups.len(),
        found.ungrouped,
        found.points
    )
}

/// What is known of points, by their ids.
fn payloads(gallery: &dyn Gallery, ids: &[Uuid]) -> Result<HashMap<Uuid, Payload>, Failure> {
    let points = gallery.retrieve(ids)?.into_iter();
    Ok(points.map(|point| (point.id, point.payload)).collect())
}

fn print(
    gallery: &dyn Gallery,
    found: &Groups,
    kept: Option<Kept>,
    console: &Console,
) -> Result<(), Failure> {
    let first = |group: &Group| group.typical.first().copied();
    let ids: Vec<Uuid> = found.groups.iter().filter_map(first).collect();
    let known = payloads(gallery, &ids)?;
    let heading = [
        "group",
        "images",
        "outliers",
        "name",
        "labels",
        "typical image",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for group in &found.groups {
        let labels = group.labels.iter().take(3);
        let labels = labels.map(|of| format!("{} {:.0} %", of.label, of.share * 100.0));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let dash = |text: String| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        let typical = first(group).and_then(|id| known.get(&id));
        rows.push(vec![
            group.number.to_string(),
            group.size.to_string(),
            group.outliers.to_string(),
            dash(group.name.clone().unwrap_or_default()),
            dash(labels),
            dash(typical.map(place).unwrap_or_default()),
        ]);
    }
    for line in table(&rows) {
        console.say(line)?;
    }
    console.say(summary(found))?;
    if let Some(kept) = kept {
        console.say(format!(
            "kept in the gallery as the field `group`: {} images have one, {} changed",
            kept.grouped, kept.changed
        ))?;
    }
    Ok(())
}

fn csv_rows(gallery: &dyn Gallery, found: &Groups) -> Result<Vec<Vec<String>>, Failure> {
    let mut rows = Vec::with_capacity(found.points);
    for group in &found.groups {
        for members in group.members.chunks(PAGE) {
            let ids: Vec<Uuid> = members.iter().map(|member| member.id).collect();
            let known = payloads(gallery, &ids)?;
            for member in members {
                let Some(payload) = known.get(&member.id) else {
                    continue;
                };
                let mut row = vec![
                    group.number.to_string(),
                    group.name.clone().unwrap_or_default(),
                    member.score.to_string(),
                ];
                row.extend(spreadsheet::payload(payload));
                row.push(member.id.to_string());
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

/// Typical pictures of each group, and its last ones.
fn sheet_rows(gallery: &dyn Gallery, groups: &[Group]) -> Result<Vec<Row>, Failure> {
    let originals = Originals::of(gallery)?;
    let mut rows = Vec::new();
    for group in groups.iter().take(SHEET_ROWS) {
        let outliers = group
            .members
            .iter()
            .rev()
            .take(group.outliers.min(SHEET_OUTLIERS));
        let outliers = outliers.map(|member| (member.id, true));
        let typical = group.typical.iter().map(|&id| (id, false));
        let shown: Vec<(Uuid, bool)> = typical.chain(outliers).collect();
        let ids: Vec<Uuid> = shown.iter().map(|&(id, _)| id).collect();
        let known = payloads(gallery, &ids)?;
        let mut cells = Vec::new();
        for (at, (id, is_outlier)) in shown.into_iter().enumerate() {
            let Some(payload) = known.get(&id) else {
                continue;
            };
            let title = match &group.name {
                Some(name) => format!("{}. {name}", group.number),
                None => format!("group {}", group.number),
            };
            cells.push(Cell {
                pixels: small(payload, &originals)?,
                caption: match (at, is_outlier) {
                    (0, _) => vec![title, format!("{} images", group.size)],
                    (_, true) => vec!["outlier".to_owned(), String::new()],
                    _ => vec![String::new(), String::new()],
                },
                mark: match is_outlier {
                    true => Mark::Unknown,
                    false => Mark::Plain,
                },
            });
        }
        rows.push(Row::new(cells));
    }
    Ok(rows)
}
